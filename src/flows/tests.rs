//! Flows with NAT, exceptions and publishing, and what is kept of them.

use std::net::IpAddr;

use super::keep::Kept;
use super::{Cuts, Flow, Judge, Tuple};
use crate::approach::{desired, keep};
use crate::diff::LiveState;
use crate::host::{Address, Host, Link, Route};
use crate::intent::Intent;
use crate::plan::Plan;
use crate::ruleset::Family;
use crate::topology::{Topology, parse};

const FILE: &str = r#"
[[bridge]]
name = "docker0"
subnets = ["172.17.0.0/16", "fd17::/64"]

[[nic]]
name = "eth0"
role = "service"
subnets = ["192.168.56.0/24", "fd56::/64"]

[[nic]]
name = "eth1"
role = "storage"
subnets = ["192.168.57.0/24", "fd57::/64"]

[[allow]]
from = "docker0"
to = "192.168.57.9"
protocol = "tcp"
ports = [2049]

[isolation]
masquerade = false
"#;

fn topology(file: &str) -> Topology {
    parse("topology.toml", file.as_bytes()).unwrap()
}

fn host() -> Host {
    let mut host = Host::default();
    let links = [
        ("lo", "127.0.0.1/8"),
        ("eth0", "192.168.56.10/24"),
        ("eth1", "192.168.57.10/24"),
        ("docker0", "172.17.0.1/16"),
    ];
    for (index, (name, address)) in (1..).zip(links) {
        let link = Link { index, name: name.to_owned(), is_loopback: name == "lo", ..Link::default() };
        host.links.insert(index, link);
        let mut own = vec![address.to_owned()];
        own.extend(name.strip_prefix("eth").map(|n| format!("fd5{}::a/64", n.parse::<u8>().unwrap() + 6)));
        own.extend((name == "docker0").then(|| "fd17::1/64".to_owned()));
        for address in own {
            let address: ipnet::IpNet = address.parse().unwrap();
            host.addresses.push(Address { link: index, address });
            host.routes.push(Route { to: address.trunc(), via: None, link: index, protocol: 2 });
        }
    }
    host.routes.push(Route { to: "0.0.0.0/0".parse().unwrap(), via: None, link: 2, protocol: 3 });
    host
}

const ASSURED: u32 = 0b110;
const DNAT: u32 = 1 << 5;

/// A TCP flow, from and to, as it is answered: with NAT the answer is from and to others.
fn flow(from: &str, to: &str, answer_from: &str, answer_to: &str, status: u32) -> Flow {
    let end = |text: &str| -> (IpAddr, u16) {
        let socket: std::net::SocketAddr = text.parse().unwrap();
        (socket.ip(), socket.port())
    };
    let tuple = |from: &str, to: &str| Tuple {
        source: end(from).0,
        destination: end(to).0,
        source_port: end(from).1,
        destination_port: end(to).1,
        icmp_type: 0,
    };
    let (original, reply) = (tuple(from, to), tuple(answer_from, answer_to));
    Flow { protocol: 6, original, reply, status, is_closed: false }
}

fn plain(from: &str, to: &str) -> Flow {
    flow(from, to, to, from, ASSURED)
}

fn cuts(topology: &Topology, live: &LiveState, flows: &[Flow]) -> Cuts {
    let intent = Intent::new(topology);
    let desired = desired(&intent);
    let host = host();
    let mut judge = Judge::new(&intent, &desired, live, &host, true);
    flows.iter().for_each(|flow| judge.see(flow));
    judge.finish()
}

#[track_caller]
fn check(flow: Flow, expected: Option<&str>) {
    let cuts = cuts(&topology(FILE), &LiveState::default(), &[flow]);
    assert_eq!(cuts.text("Cuts").as_deref(), expected, "{flow:?}");
}

#[test]
fn by_pair_and_service() {
    let to_storage = "Cuts 1 open connection: docker0 -> eth1 (storage) 1 (tcp 2049: 1).";
    check(plain("172.17.0.2:40000", "192.168.57.5:2049"), Some(to_storage));
    check(plain("[fd17::2]:40000", "[fd57::5]:2049"), Some(to_storage));
    // Masqueraded: what answers is addressed to the host.
    let masqueraded =
        flow("172.17.0.2:40000", "192.168.57.5:2049", "192.168.57.5:2049", "192.168.57.10:40000", ASSURED);
    check(masqueraded, Some(to_storage));
    // The exception, and one beside it.
    check(plain("172.17.0.2:40000", "192.168.57.9:2049"), None);
    let beside = "Cuts 1 open connection: docker0 -> eth1 (storage) 1 (tcp 2050: 1).";
    check(plain("172.17.0.2:40000", "192.168.57.9:2050"), Some(beside));
    // Open pairs, and what is published.
    check(plain("172.17.0.2:40000", "192.168.56.5:443"), None);
    check(plain("172.17.0.2:40000", "8.8.8.8:443"), None);
    let published = "172.17.0.2:80";
    check(
        flow("192.168.56.7:5000", "192.168.56.10:8080", published, "192.168.56.7:5000", ASSURED | DNAT),
        None,
    );
    let direct = "Cuts 1 open connection: eth0 (service) -> docker0 1 (tcp 80: 1).";
    check(plain("192.168.56.7:5000", "172.17.0.2:80"), Some(direct));
    let from_storage = "Cuts 1 open connection: eth1 (storage) -> docker0 1 (tcp 80: 1).";
    check(
        flow("192.168.57.7:5000", "192.168.57.10:8080", published, "192.168.57.7:5000", ASSURED | DNAT),
        Some(from_storage),
    );
    // The host's own, and to the host.
    check(plain("192.168.57.10:700", "192.168.57.5:2049"), None);
    check(plain("172.17.0.1:700", "172.17.0.2:80"), None);
    let to_host = "Cuts 1 open connection: docker0 -> this host on eth1 (storage) 1 (tcp 22: 1).";
    check(plain("172.17.0.2:40000", "192.168.57.10:22"), Some(to_host));
    check(plain("172.17.0.2:40000", "192.168.56.10:22"), None);
    check(Flow { is_closed: true, ..plain("172.17.0.2:40000", "192.168.57.5:2049") }, None);
}

#[test]
fn what_is_in_place_cuts_nothing() {
    let topology = topology(FILE);
    let plan = Plan::new(&topology, &LiveState::default());
    let live = LiveState { ruleset: plan.desired.ruleset, ..LiveState::default() };
    let flow = plain("172.17.0.2:40000", "192.168.57.5:2049");
    assert_eq!(cuts(&topology, &live, &[flow]).connections(), 0);
}

#[test]
fn the_sysctl_approach_cuts_what_comes_back() {
    let allow = FILE.find("[[allow]]").unwrap();
    let file = format!("{}[isolation]\napproach = \"sysctl\"\n", &FILE[..allow]);
    let topology = topology(&file);
    let to_storage = plain("172.17.0.2:40000", "192.168.57.5:2049");
    let over_ipv6 = plain("[fd17::2]:40000", "[fd57::5]:2049");
    let found = cuts(&topology, &LiveState::default(), &[to_storage, over_ipv6]);
    assert_eq!(found.connections(), 1, "IPv6 is not gated by that key");
}

#[test]
fn what_is_kept_reads_back_and_saves_those_flows_alone() {
    let topology = topology(FILE);
    let kept_flows = [
        flow("172.17.0.2:40000", "192.168.57.5:2049", "192.168.57.5:2049", "192.168.57.10:40000", ASSURED),
        plain("[fd17::2]:40000", "[fd57::5]:2049"),
        plain("172.17.0.2:40001", "192.168.57.10:22"),
    ];
    let one_way = Flow { status: 0, ..plain("172.17.0.2:40009", "192.168.57.5:2049") };
    let found = cuts(&topology, &LiveState::default(), &[&kept_flows[..], &[one_way]].concat());
    assert_eq!((found.connections(), found.one_way, found.kept.connections()), (4, 1, 3));
    let plan = Plan::with_kept(&topology, &LiveState::default(), found.kept.clone());
    assert_eq!(Kept::live(&plan.desired.ruleset), found.kept);

    // The same table as what is planned and as what is there.
    let live =
        LiveState { ruleset: plan.desired.ruleset.clone(), kept: found.kept.clone(), ..LiveState::default() };
    let again = Plan::new(&topology, &live);
    assert_eq!(again.desired.ruleset, plan.desired.ruleset);
    // What is not on the list is nobody's: neither an element more, nor all of it.
    let mut fewer = live.clone();
    let one = *fewer.kept.tuples.iter().next().expect("a tuple");
    fewer.kept.tuples.remove(&one);
    assert!(!Plan::new(&topology, &fewer).kept.tuples.contains(&one));
    fewer.kept = Kept::default();
    assert_eq!(Plan::new(&topology, &fewer).kept, Kept::default());
    let intent = Intent::new(&topology);
    let host = host();
    let nothing = LiveState::default();
    let mut judge = Judge::new(&intent, &plan.desired, &nothing, &host, false);
    kept_flows.iter().for_each(|flow| judge.see(flow));
    judge.see(&Flow { status: 0, ..kept_flows[0] });
    let other = plain("172.17.0.2:40002", "192.168.57.5:2049");
    judge.see(&other);
    assert_eq!(judge.finish().connections(), 2, "one that is new, and one with another port");
    // A plain apply cuts them.
    assert_eq!(cuts(&topology, &live, &kept_flows).connections(), 3);

    // In front are source routing and the loopback; nothing is added where nothing is kept.
    let mut bare = desired(&intent);
    let before = bare.clone();
    keep(&mut bare, &Kept::default());
    assert_eq!(bare, before);
    let ids = |chain: &str| -> Vec<String> {
        let chain = &plan.desired.ruleset[&Family::Inet].chains[chain];
        chain.rules.iter().take(5).filter_map(|rule| rule.id()).map(|id| id.0).collect()
    };
    assert_eq!(ids("forward")[..4], ["F1", "F2", "K1", "K2"]);
    assert_eq!(ids("input")[..3], ["I1", "K3", "K4"]);
}
