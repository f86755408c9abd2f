//! A host with two containers on one bridge and a server on each NIC, in namespaces of its own.
//!
//! ```text
//! container --v-container--+                        +--eth0-- service
//!                          +--bridge-- the host ----+--eth1-- storage
//!  attacker --v-attacker---+                        +--eth2-- storage
//! ```
//!
//! Of all networks in the rules this one exists: the last. A list of rules is passed from its beginning to there.

use std::fs::{self, File};
use std::io;
use std::net::{IpAddr, Ipv4Addr, UdpSocket};
use std::os::unix::fs::FileExt as _;
use std::time::{Duration, Instant};

use nix::mount::{MntFlags, MsFlags, mount, umount2};
use nix::sched::{CloneFlags, unshare};

use super::super::super::Result;
use super::super::super::lab::node::Node;
use super::super::super::measure::Bench;
use super::contender::Contender;
use super::cores::Cores;
use super::sender::{Flow, Sender};

/// What is sent to these ports of a server is counted and dropped there before it costs anything more.
pub(super) const SINK: std::ops::RangeInclusive<u16> = 20_000..=29_999;
/// Where a server answers (RFC 862).
pub(super) const ECHO: u16 = 7;

pub(super) const SERVICE: Ipv4Addr = Ipv4Addr::new(192, 168, 0, 5);
pub(super) const STORAGE: Ipv4Addr = Ipv4Addr::new(192, 168, 1, 5);
/// The host's own address on the service network.
const HOST: Ipv4Addr = Ipv4Addr::new(192, 168, 0, 10);

const BRIDGE_MAC: [u8; 6] = [2, 0, 0, 0, 0, 0xfe];
const CONTAINER_MAC: [u8; 6] = [2, 0, 0, 0, 0, 2];
const ATTACKER_MAC: [u8; 6] = [2, 0, 0, 0, 0, 3];

/// Such a host, with a contender's rules.
pub(super) struct Site {
    pub(super) who: Contender,
    host: Node,
    pub(super) container: Node,
    attacker: Node,
    pub(super) service: Node,
    storage: Node,
    /// The third number of the bridge's subnet, and the second.
    net: (u8, u8),
    /// What arrived at the servers.
    pub(super) at_service: Counter,
    pub(super) at_storage: Counter,
    /// Files that say on which core the host deals with what comes in on a link (RPS). Empty where the kernel does
    /// not let it be said.
    steering: Vec<File>,
}

impl Site {
    /// The `place`th of those that there are at a time.
    pub(super) fn build(bench: &Bench, who: Contender, place: usize, networks: usize) -> Result<Self> {
        let node = |name: &str| Node::create(&format!("{name}-{place}"), place);
        let [host, container, attacker] = [node("host")?, node("container")?, node("attacker")?];
        let [service, storage] = [node("service")?, node("storage")?];
        let last = networks - 1;
        let net = (u8::try_from(last / 256)?, u8::try_from(last % 256)?);
        wire(&host, &[&container, &attacker, &service, &storage], last, net)?;
        for node in [&host, &container, &attacker, &service, &storage] {
            for scope in ["all", "default"] {
                node.sysctl(&format!("net/ipv4/conf/{scope}/rp_filter"), "0")?;
            }
        }
        for (server, links) in [(&service, ["eth0"].as_slice()), (&storage, &["eth1", "eth2"])] {
            server.nft_load(&sink(links))?;
        }
        for node in [&container, &attacker, &service, &storage] {
            // Whose asking for routers would count as packets that arrive.
            node.sysctl("net/ipv6/conf/all/disable_ipv6", "1")?;
        }
        // What a host with Docker has; a kernel without has no such key.
        let _ = host.sysctl("net/bridge/bridge-nf-call-iptables", "1");
        who.set_up(bench, &host, networks)?;
        let [at_service, at_storage] = [Counter::open(&service, "eth0")?, Counter::open(&storage, "eth1")?];
        let steering = steering(&host).unwrap_or_default();
        Ok(Self { who, host, container, attacker, service, storage, net, at_service, at_storage, steering })
    }

    /// Whether [`Self::steer`] does anything.
    pub(super) const fn can_steer(&self) -> bool {
        !self.steering.is_empty()
    }

    /// Has the host forward on a core of its own, or, as is the default, on that of whoever sends.
    pub(super) fn steer(&self, to: Option<Cores>) -> Result<()> {
        let mask = to.map_or_else(|| "0".to_owned(), Cores::host_mask);
        for file in &self.steering {
            file.write_all_at(mask.as_bytes(), 0)?;
        }
        Ok(())
    }

    pub(super) fn container_address(&self) -> Ipv4Addr {
        Ipv4Addr::new(10, self.net.0, self.net.1, 2)
    }

    fn attacker_address(&self) -> Ipv4Addr {
        Ipv4Addr::new(10, self.net.0, self.net.1, 3)
    }

    /// Sends from the container to the service server.
    pub(super) fn sender(&self) -> Result<Sender> {
        let flow = Flow {
            macs: (CONTAINER_MAC, BRIDGE_MAC),
            from: self.container_address(),
            to: SERVICE,
            port: *SINK.start(),
        };
        Sender::open(&self.container, "eth0", flow)
    }

    /// Sends from the attacker to the storage server.
    pub(super) fn attack(&self) -> Result<Sender> {
        let flow = Flow {
            macs: (ATTACKER_MAC, BRIDGE_MAC),
            from: self.attacker_address(),
            to: STORAGE,
            port: *SINK.start(),
        };
        Sender::open(&self.attacker, "eth0", flow)
    }

    /// Forgets all connections, so that the next that begins is new.
    pub(super) fn forget_connections(&self) -> Result<()> {
        Ok(self.host.enter(super::conntrack::flush)?)
    }

    /// How many connections the host knows.
    pub(super) fn connections(&self) -> Result<u64> {
        Ok(self.host.read_sysctl("net/netfilter/nf_conntrack_count")?.parse()?)
    }

    /// How many it can know at a time.
    pub(super) fn room_for_connections(&self) -> Result<u64> {
        Ok(self.host.read_sysctl("net/netfilter/nf_conntrack_max")?.parse()?)
    }

    /// Shows that the contender does what it is measured for.
    pub(super) fn check(&self) -> Result<()> {
        let who = self.who.name();
        let Some(source) = self.probe(&self.container, (&self.service, SERVICE), Duration::from_secs(5))?
        else {
            return Err(format!("{who}: nothing from the container arrives at the service server").into());
        };
        let right = if self.who.translates() { HOST } else { self.container_address() };
        if source != right {
            return Err(format!("{who}: arrives at the service server from {source}, not {right}").into());
        }
        let storage = (&self.storage, STORAGE);
        // The control: the server is there.
        if self.probe(&self.host, storage, Duration::from_secs(5))?.is_none() {
            return Err(format!("{who}: nothing from the host arrives at the storage server").into());
        }
        let Some(isolates) = self.who.isolates() else { return Ok(()) };
        for container in [&self.container, &self.attacker] {
            let patience = Duration::from_millis(if isolates { 100 } else { 5000 });
            let arrives = self.probe(container, storage, patience)?.is_some();
            if arrives == isolates {
                let what = if arrives { "arrives" } else { "does not arrive" };
                return Err(
                    format!("{who}: what {} sends {what} at the storage server", container.name).into()
                );
            }
        }
        Ok(())
    }

    /// Sends to a server until something arrives, and says from which address it seems to come.
    fn probe(&self, from: &Node, to: (&Node, Ipv4Addr), patience: Duration) -> Result<Option<IpAddr>> {
        let (node, address) = to;
        let server = node.enter(|| UdpSocket::bind((address, ECHO)))?;
        server.set_read_timeout(Some(Duration::from_millis(20)))?;
        let client = from.enter(|| UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)))?;
        let deadline = Instant::now() + patience;
        while Instant::now() < deadline {
            // What cannot be sent yet can be a little later.
            let _ = client.send_to(b"probe", (address, ECHO));
            let mut buffer = [0; 64];
            if let Ok((_, source)) = server.recv_from(&mut buffer) {
                return Ok(Some(source.ip()));
            }
        }
        Ok(None)
    }
}

impl Drop for Site {
    fn drop(&mut self) {
        for node in [&self.host, &self.container, &self.attacker, &self.service, &self.storage] {
            // The namespace ends with the last that holds it.
            let path = format!("/run/netns/{}", node.name);
            let _ = umount2(path.as_str(), MntFlags::MNT_DETACH);
            let _ = fs::remove_file(path);
        }
    }
}

/// Links, addresses, routes and neighbours. Nothing has to be asked for on the way of a packet.
fn wire(host: &Node, others: &[&Node; 4], last: usize, net: (u8, u8)) -> Result<()> {
    let [container, attacker, service, storage] = others;
    let bridge = format!("br-{last:05}");
    let subnet = format!("10.{}.{}", net.0, net.1);
    let mut batch = format!(
        "link set lo up\n\
         link add {bridge} address {} type bridge mcast_snooping 0\n\
         link set {bridge} up\n\
         address add {subnet}.1/24 dev {bridge}\n",
        text(BRIDGE_MAC)
    );
    for (node, link, number, mac) in
        [(container, "v-container", 2, CONTAINER_MAC), (attacker, "v-attacker", 3, ATTACKER_MAC)]
    {
        let (name, mac) = (&node.name, text(mac));
        batch += &format!(
            "link add {link} type veth peer name eth0 address {mac} netns {name}\n\
             link set {link} master {bridge} up\n\
             neigh add {subnet}.{number} lladdr {mac} dev {bridge} nud permanent\n"
        );
    }
    for (number, server) in [(0, service), (1, storage), (2, storage)] {
        batch += &format!(
            "link add eth{number} address 02:00:00:00:1{number}:01 type veth \
             peer name eth{number} address 02:00:00:00:1{number}:02 netns {}\n\
             link set eth{number} up\n\
             address add 192.168.{number}.10/24 dev eth{number}\n\
             neigh add 192.168.{number}.5 lladdr 02:00:00:00:1{number}:02 dev eth{number} nud permanent\n",
            server.name
        );
    }
    batch += &format!("route add default via {SERVICE}\n");
    host.ip(&batch)?;
    for (node, number) in [(container, 2), (attacker, 3)] {
        node.ip(&format!(
            "link set lo up\nlink set eth0 up\n\
             address add {subnet}.{number}/24 dev eth0\n\
             neigh add {subnet}.1 lladdr {} dev eth0 nud permanent\n\
             route add default via {subnet}.1\n",
            text(BRIDGE_MAC)
        ))?;
    }
    for (number, server) in [(0, service), (1, storage), (2, storage)] {
        server.ip(&format!(
            "link set lo up\nlink set eth{number} up\n\
             address add 192.168.{number}.5/24 dev eth{number}\n\
             neigh add 192.168.{number}.10 lladdr 02:00:00:00:1{number}:01 dev eth{number} nud permanent\n"
        ))?;
    }
    service.ip(&format!("route add default via {HOST}\n"))?;
    storage.ip("route add default via 192.168.1.10\n")?;
    Ok(())
}

fn text(mac: [u8; 6]) -> String {
    mac.map(|byte| format!("{byte:02x}")).join(":")
}

/// Drops what is for [`SINK`] as soon as it has come in.
fn sink(links: &[&str]) -> String {
    let mut rules = String::from("table netdev sink {\n");
    for link in links {
        rules += &format!(
            "chain {link} {{ type filter hook ingress device {link} priority 0;\n\
             udp dport {}-{} drop\n}}\n",
            SINK.start(),
            SINK.end()
        );
    }
    rules + "}\n"
}

/// Opens the RPS files of the links that packets come in on. They belong to the namespace of a mount of sysfs.
fn steering(host: &Node) -> Result<Vec<File>> {
    let open = || -> io::Result<Vec<File>> {
        unshare(CloneFlags::CLONE_NEWNS)?;
        mount(Some("sysfs"), "/sys", Some("sysfs"), MsFlags::empty(), None::<&str>)?;
        let links = ["v-container", "v-attacker", "eth0"];
        let open =
            |link| File::options().write(true).open(format!("/sys/class/net/{link}/queues/rx-0/rps_cpus"));
        let files: Vec<File> = links.into_iter().map(open).collect::<io::Result<_>>()?;
        // Who may open them may not always write.
        files.iter().try_for_each(|file| file.write_all_at(b"0", 0))?;
        Ok(files)
    };
    Ok(host.enter(open)?)
}

/// What came in on a link, by its own counter.
pub(super) struct Counter {
    file: File,
    link: String,
}

impl Counter {
    fn open(node: &Node, link: &str) -> Result<Self> {
        let file = node.enter(|| File::open("/proc/thread-self/net/dev"))?;
        Ok(Self { file, link: format!("{link}:") })
    }

    /// Packets since the link was made.
    pub(super) fn read(&self) -> Result<u64> {
        let mut buffer = [0; 2048];
        let length = self.file.read_at(&mut buffer, 0)?;
        let text = std::str::from_utf8(&buffer[..length])?;
        let line = text.lines().find_map(|line| line.trim_start().strip_prefix(self.link.as_str()));
        // rx bytes, rx packets, ...
        let packets = line.and_then(|line| line.split_whitespace().nth(1)?.parse().ok());
        Ok(packets.ok_or("the kernel does not say what came in")?)
    }
}
