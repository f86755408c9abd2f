//! From a [`HostSpec`] to namespaces, links, addresses, servers and captures.
//!
//! The host is the namespace that the process itself is in; every container and server has one of its own.
//! Nothing is waited for: links are veth pairs, addresses skip duplicate address detection, and the servers'
//! neighbours are written down.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::{self, Read as _, Write as _};
use std::net::{IpAddr, TcpListener, UdpSocket};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use nix::sched::{CpuSet, sched_getaffinity, sched_setaffinity};
use nix::unistd::Pid;

pub(crate) mod custom;

use super::PORT;
use super::capture::{self, Journal, Seen, What};
use super::isolate;
use super::node::Node;
use super::packet;
use super::probe::Tag;
use super::spec::{Family, HostSpec, Masquerade};

/// The host's number on a NIC's network, and its server's.
const HOST: u8 = 10;
const SERVER: u8 = 5;
/// The host's number on a bridge, and the first container's.
const GATEWAY: u8 = 1;
const FIRST_CONTAINER: u8 = 2;
/// The node on the network behind a server; the server itself is the gateway there.
const BEHIND: u8 = 7;

/// A host with its containers and servers, alive.
pub(crate) struct Lab {
    pub(crate) spec: HostSpec,
    pub(crate) journal: Arc<Journal>,
    /// The CPU that all of it runs on.
    pub(crate) cpu: usize,
    nodes: Vec<Node>,
    by_name: BTreeMap<String, usize>,
    /// The host's addresses, by link.
    host_addresses: BTreeMap<(String, Family), IpAddr>,
}

impl Lab {
    /// Builds it in the namespaces that this process is in; see [`super::isolate`].
    pub(crate) fn start(spec: HostSpec) -> io::Result<Self> {
        isolate::require();
        let cpu = pin_to_one_cpu()?;
        let mut lab = Self {
            spec: spec.clone(),
            journal: Arc::default(),
            cpu,
            nodes: vec![Node::own("host")],
            by_name: BTreeMap::from([("host".to_owned(), 0)]),
            host_addresses: BTreeMap::new(),
        };
        lab.write_defaults(0)?;
        let mut host = String::from("link set lo up\n");
        let mut inside: BTreeMap<usize, String> = BTreeMap::new();
        for (number, bridge) in (0_u8..).zip(&spec.bridges) {
            let name = bridge.name;
            say(
                &mut host,
                format!("link add {name} address 02:00:00:00:{number:02x}:fe type bridge mcast_snooping 0"),
            );
            say(&mut host, format!("link set {name} up"));
            for family in Family::BOTH {
                lab.add_host_address(
                    &mut host,
                    name,
                    bridge.net.interface(family, GATEWAY),
                    bridge.net.address(family, GATEWAY),
                );
            }
            for (place, container) in (FIRST_CONTAINER..).zip(&bridge.containers) {
                let node = lab.add_node(container)?;
                say(&mut host, format!("link add v-{container} type veth peer name eth0 netns {container}"));
                say(&mut host, format!("link set v-{container} master {name} up"));
                let batch = inside.entry(node).or_default();
                say(batch, "link set eth0 up".to_owned());
                for family in Family::BOTH {
                    say(
                        batch,
                        format!(
                            "address add {} dev eth0{}",
                            bridge.net.interface(family, place),
                            nodad(family)
                        ),
                    );
                    say(batch, format!("route add default via {}", bridge.net.address(family, GATEWAY)));
                    lab.nodes[node].addresses.push(bridge.net.address(family, place));
                    lab.nodes[node].partners.push(bridge.net.address(family, GATEWAY));
                }
            }
        }
        for (number, nic) in (0x10_u8..).zip(&spec.nics) {
            let (name, role) = (nic.name, nic.role);
            let server = lab.add_node(role)?;
            let [near, far] = [1, 2].map(|end| format!("02:00:00:00:{number:02x}:{end:02x}"));
            say(
                &mut host,
                format!("link add {name} address {near} type veth peer name eth0 address {far} netns {role}"),
            );
            say(&mut host, format!("link set {name} up"));
            let batch = inside.entry(server).or_default();
            say(batch, "link set eth0 up".to_owned());
            for family in Family::BOTH {
                let (here, there) = (nic.net.address(family, HOST), nic.net.address(family, SERVER));
                lab.add_host_address(&mut host, name, nic.net.interface(family, HOST), here);
                say(&mut host, format!("neigh add {there} lladdr {far} dev {name} nud permanent"));
                say(
                    batch,
                    format!("address add {} dev eth0{}", nic.net.interface(family, SERVER), nodad(family)),
                );
                say(batch, format!("neigh add {here} lladdr {near} dev eth0 nud permanent"));
                say(batch, format!("route add default via {here}"));
                lab.nodes[server].addresses.push(there);
                lab.nodes[server].partners.push(here);
                lab.nodes[0].partners.push(there);
                if nic.is_default {
                    say(&mut host, format!("route add default via {there}"));
                }
            }
            if let Some(net) = nic.behind {
                let behind = lab.add_node(&format!("{role}-behind"))?;
                lab.forward(server, true)?;
                let batch = inside.entry(server).or_default();
                say(batch, format!("link add behind type veth peer name eth0 netns {role}-behind"));
                say(batch, "link set behind up".to_owned());
                for family in Family::BOTH {
                    say(
                        batch,
                        format!("address add {} dev behind{}", net.interface(family, GATEWAY), nodad(family)),
                    );
                    let via = nic.net.address(family, SERVER);
                    say(&mut host, format!("route add {} via {via}", net.prefix(family)));
                }
                let batch = inside.entry(behind).or_default();
                say(batch, "link set eth0 up".to_owned());
                for family in Family::BOTH {
                    say(
                        batch,
                        format!("address add {} dev eth0{}", net.interface(family, BEHIND), nodad(family)),
                    );
                    say(batch, format!("route add default via {}", net.address(family, GATEWAY)));
                    lab.nodes[behind].addresses.push(net.address(family, BEHIND));
                    lab.nodes[behind].partners.push(nic.net.address(family, HOST));
                }
            }
        }
        lab.host().ip(&host)?;
        for (node, batch) in inside {
            lab.nodes[node].ip(&format!("link set lo up\n{batch}"))?;
        }
        for bridge in &spec.bridges {
            // Lets a container send from the host's own address, which the kernel refuses by default over IPv4
            // and never does over IPv6.
            lab.host().sysctl(&format!("net/ipv4/conf/{}/accept_local", bridge.name), "1")?;
        }
        lab.forward(0, spec.forwards)?;
        if spec.masquerade == Masquerade::LikeDocker {
            lab.host().nft_load(&masquerade_like_docker(&spec))?;
        }
        for node in &lab.nodes {
            capture::start(node, &lab.journal)?;
            serve(node, &lab.journal)?;
        }
        lab.wait_until_ready()?;
        Ok(lab)
    }

    /// The host.
    pub(crate) fn host(&self) -> &Node {
        &self.nodes[0]
    }

    /// A node by its name: `host`, a container, a server's role, or `<role>-behind`.
    pub(crate) fn node(&self, name: &str) -> &Node {
        let index = self.by_name.get(name).unwrap_or_else(|| panic!("no node `{name}` in this lab"));
        &self.nodes[*index]
    }

    /// The host's own address on a link.
    pub(crate) fn host_address(&self, link: &str, family: Family) -> IpAddr {
        self.host_addresses[&(link.to_owned(), family)]
    }

    /// Switches forwarding on the host, both families.
    pub(crate) fn set_forwarding(&self, on: bool) -> io::Result<()> {
        self.forward(0, on)
    }

    /// The rules that a container engine on this host makes.
    pub(crate) fn masquerade_of_engine(&self) -> String {
        masquerade_like_docker(&self.spec)
    }

    /// Waits until every node and the host can talk: the kernel lets nothing through a link until it has dealt
    /// with its carrier, a little after the link was made.
    fn wait_until_ready(&self) -> io::Result<()> {
        for node in self.nodes.iter().filter(|node| !node.is_host()) {
            for family in Family::BOTH {
                self.wait_for_echo(node, node.partner(family))?;
                self.wait_for_echo(self.host(), node.address(family))?;
            }
        }
        Ok(())
    }

    pub(crate) fn wait_for_echo(&self, from: &Node, to: IpAddr) -> io::Result<()> {
        let deadline = Instant::now() + Duration::from_secs(10);
        while Instant::now() < deadline {
            let (mark, tag) = (self.journal.mark(), Tag::unique());
            packet::send_echo(from, to, 1, tag.bytes())?;
            let is_answer = |seen: &Seen| seen.node == from.index && tag.is_answered_by(seen);
            if self.journal.wait(mark, Duration::from_millis(20), is_answer).is_some() {
                return Ok(());
            }
        }
        Err(io::Error::other(format!("the lab does not come up: {} gets no echo from {to}", from.name)))
    }

    fn forward(&self, node: usize, on: bool) -> io::Result<()> {
        let value = if on { "1" } else { "0" };
        self.nodes[node].sysctl("net/ipv4/ip_forward", value)?;
        self.nodes[node].sysctl("net/ipv6/conf/all/forwarding", value)
    }

    fn add_node(&mut self, name: &str) -> io::Result<usize> {
        let index = self.nodes.len();
        self.nodes.push(Node::create(name, index)?);
        self.by_name.insert(name.to_owned(), index);
        self.write_defaults(index)?;
        Ok(index)
    }

    fn add_host_address(&mut self, batch: &mut String, link: &str, interface: String, address: IpAddr) {
        let family = Family::of(address);
        say(batch, format!("address add {interface} dev {link}{}", nodad(family)));
        self.host_addresses.insert((link.to_owned(), family), address);
        self.nodes[0].addresses.push(address);
    }

    /// What a new namespace may have taken over from the machine: nothing is to be dropped by its source but by
    /// rules under test.
    fn write_defaults(&self, node: usize) -> io::Result<()> {
        for scope in ["all", "default"] {
            self.nodes[node].sysctl(&format!("net/ipv4/conf/{scope}/rp_filter"), "0")?;
            self.nodes[node].sysctl(&format!("net/ipv6/conf/{scope}/disable_ipv6"), "0")?;
            // Link-local addresses are there at once, and no link asks for routers that there are not.
            self.nodes[node].sysctl(&format!("net/ipv6/conf/{scope}/accept_dad"), "0")?;
            self.nodes[node].sysctl(&format!("net/ipv6/conf/{scope}/router_solicitations"), "0")?;
        }
        Ok(())
    }
}

fn say(batch: &mut String, line: String) {
    writeln!(batch, "{line}").expect("write to a string");
}

fn nodad(family: Family) -> &'static str {
    match family {
        Family::V4 => "",
        Family::V6 => " nodad",
    }
}

fn masquerade_like_docker(spec: &HostSpec) -> String {
    let mut text = String::new();
    for (table, family) in [("ip", Family::V4), ("ip6", Family::V6)] {
        say(&mut text, format!("table {table} engine {{ chain postrouting {{"));
        say(&mut text, "type nat hook postrouting priority srcnat;".to_owned());
        for bridge in &spec.bridges {
            let prefix = bridge.net.prefix(family);
            say(&mut text, format!("{table} saddr {prefix} oifname != \"{}\" masquerade", bridge.name));
        }
        say(&mut text, "}\n}".to_owned());
    }
    text
}

/// Keeps the process on one CPU, so that packets keep their order; see [`super::probe`].
fn pin_to_one_cpu() -> io::Result<usize> {
    let allowed = sched_getaffinity(Pid::from_raw(0))?;
    let cpus: Vec<usize> = (0..CpuSet::count()).filter(|cpu| allowed.is_set(*cpu).unwrap_or(false)).collect();
    // Any will do; tests that run at the same time should not all take the same.
    let spread = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |now| now.subsec_micros());
    let cpu = cpus[spread as usize % cpus.len()];
    pin_thread(cpu)?;
    Ok(cpu)
}

/// Keeps this thread, and those that it starts, on a CPU.
pub(crate) fn pin_thread(cpu: usize) -> io::Result<()> {
    let mut set = CpuSet::new();
    set.set(cpu)?;
    Ok(sched_setaffinity(Pid::from_raw(0), &set)?)
}

/// Answers on [`PORT`] at every address of a node, with what was sent.
fn serve(node: &Node, journal: &Arc<Journal>) -> io::Result<()> {
    for address in &node.addresses {
        let fault = |error| io::Error::other(format!("serve {address} at {}: {error}", node.name));
        let (udp, tcp) = node
            .enter(|| {
                io::Result::Ok((UdpSocket::bind((*address, PORT))?, TcpListener::bind((*address, PORT))?))
            })
            .map_err(fault)?;
        let (index, address, journal) = (node.index, *address, Arc::clone(journal));
        thread::spawn(move || answer_udp(&udp, index, address, &journal));
        thread::spawn(move || answer_tcp(&tcp));
    }
    Ok(())
}

fn answer_udp(socket: &UdpSocket, node: usize, address: IpAddr, journal: &Journal) {
    let mut buffer = vec![0_u8; 2048];
    loop {
        // An error is what an ICMP message about an earlier answer said; the next call is free of it.
        let Ok((length, peer)) = socket.recv_from(&mut buffer) else { continue };
        let _ = socket.send_to(&buffer[..length], peer);
        let payload = buffer[..length].to_vec();
        journal.push(Seen { node, source: address, destination: peer.ip(), what: What::Answer, payload });
    }
}

fn answer_tcp(listener: &TcpListener) {
    for stream in listener.incoming() {
        let Ok(mut stream) = stream else { continue };
        thread::spawn(move || {
            let mut buffer = vec![0_u8; 2048];
            while let Ok(length @ 1..) = stream.read(&mut buffer) {
                if stream.write_all(&buffer[..length]).is_err() {
                    break;
                }
            }
        });
    }
}
