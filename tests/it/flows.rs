//! Connections that are open before an apply: what plan says of them, and what packets show.

use std::collections::BTreeMap;
use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{IpAddr, Shutdown, SocketAddr, TcpStream, UdpSocket};
use std::time::{Duration, Instant};

use isoplan::netlink::conntrack::{Conntrack, Flow, FlowKey};
use serde_json::Value;

use crate::lab::node::Node;
use crate::lab::packet::Kind;
use crate::lab::{Family, HostSpec, Lab, PORT, Program, in_namespace};
use crate::{is_blocked, start};

/// How long an answer may take: a lost TCP segment is sent again after 200 ms.
const PATIENCE: Duration = Duration::from_secs(3);
const NODES: [&str; 7] = ["web", "app", "service", "storage", "management", "storage-behind", "host"];

enum Socket {
    Tcp(TcpStream),
    Udp(UdpSocket),
}

/// An open connection.
struct Open {
    name: String,
    /// What plan calls its ends.
    pair: (String, String),
    source: SocketAddr,
    target: SocketAddr,
    socket: Socket,
}

impl Open {
    /// Sends a byte.
    fn send(&mut self, byte: u8) {
        let _ = match &mut self.socket {
            Socket::Tcp(stream) => stream.write_all(&[byte]),
            Socket::Udp(socket) => socket.send(&[byte]).map(drop),
        };
    }

    /// Whether that byte comes back before a deadline.
    fn comes_back(&mut self, byte: u8, deadline: Instant) -> bool {
        let mut buffer = [0; 64];
        loop {
            let left = deadline.saturating_duration_since(Instant::now()).max(Duration::from_millis(1));
            let read = match &mut self.socket {
                Socket::Tcp(stream) => {
                    stream.set_read_timeout(Some(left)).expect("set a timeout");
                    stream.read(&mut buffer)
                }
                Socket::Udp(socket) => {
                    socket.set_read_timeout(Some(left)).expect("set a timeout");
                    socket.recv(&mut buffer)
                }
            };
            match read {
                Ok(0) => return false,
                Ok(length) if buffer[..length].contains(&byte) => return true,
                Ok(_) => {}
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(_) => return false,
            }
        }
    }

    fn protocol(&self) -> u8 {
        match self.socket {
            Socket::Tcp(_) => 6,
            Socket::Udp(_) => 17,
        }
    }

    /// As conntrack has it.
    fn flow(&self) -> Flow {
        let key = FlowKey::Ports(self.source.port(), self.target.port());
        Flow { source: self.source.ip(), destination: self.target.ip(), protocol: self.protocol(), key }
    }
}

/// What plan calls the place of a node, and of an address of the host.
fn title(node: &str) -> String {
    match node {
        "web" => "docker0",
        "app" => "br-app",
        "service" => "eth0 (service)",
        "storage" | "storage-behind" => "eth1 (storage)",
        "management" => "eth2 (management)",
        _ => "this host",
    }
    .to_owned()
}

/// Connections of both kinds and families from every node to every other, and to each address of the host; those
/// that answer.
fn open_all(lab: &Lab) -> Vec<Open> {
    let mut open = Vec::new();
    for from in NODES {
        let sender = if from == "host" { lab.host() } else { lab.node(from) };
        let mut targets: Vec<(String, String, IpAddr)> = Vec::new();
        for to in NODES.into_iter().filter(|to| *to != from) {
            if to == "host" {
                for link in ["docker0", "br-app", "eth0", "eth1", "eth2"] {
                    let title = match link {
                        "eth0" => "eth0 (service)",
                        "eth1" => "eth1 (storage)",
                        "eth2" => "eth2 (management)",
                        other => other,
                    };
                    for family in Family::BOTH {
                        let address = lab.host_address(link, family);
                        targets.push((format!("host on {link}"), format!("this host on {title}"), address));
                    }
                }
            } else {
                let node: &Node = lab.node(to);
                targets.extend(node.addresses.iter().map(|address| (to.to_owned(), title(to), *address)));
            }
        }
        for (to, to_title, address) in targets {
            let target = SocketAddr::new(address, PORT);
            let sockets = sender.enter(|| {
                let tcp = TcpStream::connect_timeout(&target, Duration::from_millis(700)).ok();
                let any: IpAddr =
                    if address.is_ipv4() { [0; 4].into() } else { std::net::Ipv6Addr::UNSPECIFIED.into() };
                let udp =
                    UdpSocket::bind((any, 0)).and_then(|socket| socket.connect(target).map(|()| socket)).ok();
                (tcp, udp)
            });
            for socket in [sockets.0.map(Socket::Tcp), sockets.1.map(Socket::Udp)].into_iter().flatten() {
                let (kind, source) = match &socket {
                    Socket::Tcp(stream) => ("TCP", stream.local_addr()),
                    Socket::Udp(socket) => ("UDP", socket.local_addr()),
                };
                let source = source.expect("an address");
                let name = format!("{kind} from {from} to {to} ({address})");
                open.push(Open { name, pair: (title(from), to_title.clone()), source, target, socket });
            }
        }
    }
    let alive = alive(&mut open, 1);
    let mut alive = alive.into_iter();
    open.retain(|_| alive.next().unwrap_or(false));
    open
}

/// Which of them answer, asked all at once.
fn alive(open: &mut [Open], byte: u8) -> Vec<bool> {
    for connection in open.iter_mut() {
        connection.send(byte);
    }
    let deadline = Instant::now() + PATIENCE;
    open.iter_mut().map(|connection| connection.comes_back(byte, deadline)).collect()
}

/// How many there are of each pair, as plan says it.
fn planned(plan: &Value) -> BTreeMap<(String, String), u64> {
    let pairs = plan["cuts"]["pairs"].as_array().unwrap_or_else(|| panic!("no cuts in {plan}"));
    let text = |value: &Value| value.as_str().expect("a text").to_owned();
    pairs
        .iter()
        .map(|pair| {
            ((text(&pair["from"]), text(&pair["to"])), pair["connections"].as_u64().expect("a number"))
        })
        .collect()
}

fn lab() -> (Lab, Program, Vec<Open>) {
    let (lab, isoplan) = start(HostSpec::three_nics());
    // What the lab itself has sent until now is no connection of these.
    Conntrack::open().and_then(|mut conntrack| conntrack.flush()).expect("forget all flows");
    let open = open_all(&lab);
    assert!(open.len() > 80, "{} connections", open.len());
    (lab, isoplan, open)
}

#[test]
fn what_plan_counts_is_what_apply_cuts() {
    in_namespace(|| {
        let (_lab, isoplan, mut open) = lab();
        let said = isoplan.run(&["plan", "topology.toml", "--json"]).json();
        let text = isoplan.run(&["plan", "topology.toml"]).ok();
        let flat = text.split_whitespace().collect::<Vec<_>>().join(" ");
        assert!(flat.contains("open connections: ") && flat.contains("(tcp 9000: "), "{text}");
        isoplan.run(&["apply", "topology.toml", "--yes"]).ok();
        let alive = alive(&mut open, 2);
        let mut cut: BTreeMap<(String, String), u64> = BTreeMap::new();
        for (connection, _) in open.iter().zip(&alive).filter(|(_, alive)| !**alive) {
            *cut.entry(connection.pair.clone()).or_default() += 1;
        }
        assert!(alive.iter().filter(|alive| **alive).count() > 20, "what is open stays so");
        assert!(cut.len() > 5);
        assert_eq!(planned(&said), cut);
        assert_eq!(said["cuts"]["connections"].as_u64(), Some(cut.values().sum()));
        // They have been cut, so nothing is left to cut.
        let again = isoplan.run(&["plan", "topology.toml", "--json"]).json();
        assert_eq!(again["cuts"]["connections"], 0);
    });
}

#[test]
fn what_is_kept_stays_open_and_nothing_else_gets_in() {
    in_namespace(|| {
        let (lab, isoplan, mut open) = lab();
        let applied = isoplan.run(&["apply", "topology.toml", "--yes", "--json", "--keep-established"]);
        assert_eq!(applied.code, Some(0), "{applied}");
        let applied = applied.json();
        let kept = applied["plan"]["kept_connections"].as_u64().expect("a number");
        assert!(kept > 20 && Some(kept) == applied["plan"]["cuts"]["connections"].as_u64(), "{kept} kept");
        let after = alive(&mut open, 2);
        let lost: Vec<&str> = open
            .iter()
            .zip(&after)
            .filter(|(_, alive)| !**alive)
            .map(|(open, _)| open.name.as_str())
            .collect();
        assert!(lost.is_empty(), "lost: {lost:#?}");
        // A new connection of the same pairs does not get in, and it is all in place.
        for kind in [Kind::Tcp, Kind::Udp, Kind::Icmp] {
            for family in Family::BOTH {
                let probe = lab.probe(kind, family, "web", "storage").one_way();
                assert!(is_blocked(&probe.run()), "{probe}");
            }
        }
        assert_eq!(isoplan.run(&["status", "topology.toml"]).code, Some(0));
        let plan = isoplan.run(&["plan", "topology.toml"]).ok();
        let flat = plan.split_whitespace().collect::<Vec<_>>().join(" ");
        assert!(flat.contains(&format!("{kept} connections that were open before are kept")), "{plan}");

        // One more in the same set is none that isoplan kept.
        let more = "element inet isoplan kept_v4 { 172.17.0.2 . 192.168.57.5 . tcp . 9 . 9 }";
        lab.host().nft_load(&format!("add {more}")).expect("add an element");
        assert_eq!(isoplan.run(&["status", "topology.toml"]).code, Some(2));
        lab.host().nft_load(&format!("delete {more}")).expect("delete it");
        assert_eq!(isoplan.run(&["status", "topology.toml"]).code, Some(0));
        let state = std::fs::read_dir(isoplan.directory().join("state")).expect("list the state");
        let list = state.flatten().next().expect("a directory").path().join("kept.json");
        assert!(list.exists());

        // A flow that has ended does not come back with the same addresses and ports.
        let mut conntrack = Conntrack::open().expect("open conntrack");
        let to_storage: Vec<usize> = (0..open.len())
            .filter(|at| open[*at].pair == ("docker0".to_owned(), "eth1 (storage)".to_owned()))
            .collect();
        assert!(to_storage.len() >= 4, "both kinds in both families");
        for at in &to_storage {
            let flow = open[*at].flow();
            let is_udp = matches!(open[*at].socket, Socket::Udp(_));
            if is_udp {
                let host = lab.node("web").address(Family::of(flow.source));
                let flow = Flow { source: host, ..flow };
                assert!(conntrack.forget(&flow).expect("forget"), "{}", open[*at].name);
            } else {
                assert!(conntrack.forget(&flow).expect("forget"), "{}", open[*at].name);
            }
        }
        let after = alive(&mut open, 3);
        for at in &to_storage {
            assert!(!after[*at], "{} came back", open[*at].name);
        }
        let others = (0..open.len()).filter(|at| !to_storage.contains(at));
        let lost: Vec<&str> = others.filter(|at| !after[*at]).map(|at| open[at].name.as_str()).collect();
        assert!(lost.is_empty(), "lost: {lost:#?}");

        // A plain apply ends what is kept, and says so before.
        let plain = isoplan.run(&["apply", "topology.toml", "--dry-run", "--json"]).json();
        let cuts = planned(&plain["plan"]);
        isoplan.run(&["apply", "topology.toml", "--yes"]).ok();
        assert!(!list.exists());
        let after = alive(&mut open, 4);
        let mut cut: BTreeMap<(String, String), u64> = BTreeMap::new();
        for at in (0..open.len()).filter(|at| !after[*at] && !to_storage.contains(at)) {
            *cut.entry(open[at].pair.clone()).or_default() += 1;
        }
        assert_eq!(cuts, cut);
        for connection in &open {
            if let Socket::Tcp(stream) = &connection.socket {
                let _ = stream.shutdown(Shutdown::Both);
            }
        }
    });
}
