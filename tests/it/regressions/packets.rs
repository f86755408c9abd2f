//! What packets show. Whatever is blocked arrives without isoplan, and is counted by the rule that drops it.

use std::collections::BTreeSet;
use std::io;
use std::net::IpAddr;

use serde_json::{Value, json};

use crate::lab::build::custom::Cable;
use crate::lab::packet::Kind;
use crate::lab::probe::Probe;
use crate::lab::program::drop_counters;
use crate::lab::{Family, Lab, Outcome, Program, in_namespace};
use crate::{ISOPLAN, check, is_answered, is_blocked};

fn program(topology: &str) -> Program {
    let isoplan = Program::new(ISOPLAN).expect("make a directory");
    isoplan.write("topology.toml", topology).expect("write the topology");
    isoplan
}

/// Applies it, and sees that plan and status have nothing to say afterwards.
#[track_caller]
fn apply(isoplan: &Program) {
    isoplan.run(&["apply", "topology.toml", "--yes"]).ok();
    let plan = isoplan.run(&["plan", "topology.toml", "--detailed-exitcode"]);
    assert_eq!(plan.code, Some(0), "{plan}");
}

fn ip(text: &str) -> IpAddr {
    text.parse().expect("an address")
}

/// Every kind of packet of every family that both have.
fn each<'a>(lab: &'a Lab, from: &str, to: &str) -> Vec<Probe<'a>> {
    let has = |node: &str, family| lab.node(node).addresses.iter().any(|own| Family::of(*own) == family);
    let families = Family::BOTH.into_iter().filter(|family| has(from, *family) && has(to, *family));
    let kinds = [Kind::Icmp, Kind::Udp, Kind::Tcp];
    let probes: Vec<_> =
        families.flat_map(|family| kinds.map(|kind| lab.probe(kind, family, from, to))).collect();
    assert!(!probes.is_empty(), "no probes from {from} to {to}");
    probes
}

/// To one port, over each family.
fn on_port<'a>(lab: &'a Lab, kind: Kind, from: &str, to: &str, port: u16) -> [Probe<'a>; 2] {
    Family::BOTH.map(|family| lab.probe(kind, family, from, to).on_port(port))
}

/// That none of them arrives, and that the rules with these ids have dropped them.
#[track_caller]
fn check_dropped(lab: &Lab, rules: &[&str], probes: &[Probe<'_>]) {
    let count = || -> u64 {
        let counters = drop_counters(lab.host(), "isoplan").expect("read the counters");
        let of_rules = counters
            .iter()
            .filter(|counter| counter.comment.split(' ').next().is_some_and(|id| rules.contains(&id)));
        of_rules.map(|counter| counter.packets).sum()
    };
    let before = count();
    check("after apply", probes, is_blocked);
    let dropped = count() - before;
    assert!(dropped >= probes.len() as u64, "{rules:?} dropped {dropped} of {}", probes.len());
}

/// Whether it was answered and arrived with that source.
fn from_source(source: &str) -> impl Fn(&Outcome) -> bool {
    let source = ip(source);
    move |outcome| *outcome == Outcome::Answered { source }
}

/// What the matrix of `isoplan check` says about a pair.
#[track_caller]
fn way(isoplan: &Program, from: &str, to: &str) -> (Value, Value) {
    let found = isoplan.run(&["check", "topology.toml", "--json"]).json();
    let pairs = found["matrix"].as_array().expect("a list of pairs");
    let pair = pairs.iter().find(|pair| pair["from"] == from && pair["to"] == to);
    let pair = pair.unwrap_or_else(|| panic!("no {from} -> {to}: {found:#}"));
    (pair["ipv4"].clone(), pair["ipv6"].clone())
}

/// The chains of bridges that reach nothing were called `nothing`, as those of a role with that name: the rules
/// of both were in one chain, and the closed bridge reached what the other one may.
#[test]
fn a_role_named_nothing_opens_nothing_to_a_closed_bridge() {
    in_namespace(|| {
        let mut lab = Lab::start_empty().expect("build the lab");
        for (bridge, node, number) in [("docker0", "web", 17), ("br-shut", "app", 18)] {
            let own = [format!("172.{number}.0.1/16"), format!("fd{number}::1/64")];
            lab.add_bridge(bridge, &[&own[0], &own[1]]).expect("add a bridge");
            let inside = [format!("172.{number}.0.2/16"), format!("fd{number}::2/64")];
            lab.add_container(node, bridge, &[&inside[0], &inside[1]]).expect("add a container");
        }
        lab.add_nic(
            "eth0",
            "server",
            &["192.168.56.10/24", "fd56::10/64"],
            &["192.168.56.5/24", "fd56::5/64"],
        )
        .expect("add a NIC");
        let isoplan = program(
            r#"
            [[bridge]]
            name = "docker0"
            subnets = ["172.17.0.0/16", "fd17::/64"]
            reach = ["nothing"]
            [[bridge]]
            name = "br-shut"
            subnets = ["172.18.0.0/16", "fd18::/64"]
            reach = []
            [[nic]]
            name = "eth0"
            role = "nothing"
            subnets = ["192.168.56.0/24", "fd56::/64"]
            "#,
        );
        let blocked = (json!("blocked"), json!("blocked"));
        for to in ["eth0 (nothing)", "docker0", "host on eth0"] {
            assert_eq!(way(&isoplan, "br-shut", to), blocked, "to {to}");
        }
        assert_eq!(way(&isoplan, "docker0", "eth0 (nothing)"), (json!("open"), json!("open")));
        let desired = isoplan.run(&["render", "topology.toml", "--format", "json"]).json();
        let chains = desired["tables"][0]["chains"].as_array().expect("a list of chains");
        let names: BTreeSet<_> = chains.iter().filter_map(|chain| chain["name"].as_str()).collect();
        assert_eq!(names.len(), chains.len(), "two chains of one name");
        for kind in ["from_", "to_", "host_from_"] {
            let of_kind = names.iter().filter(|name| name.starts_with(kind)).count();
            assert_eq!(of_kind, 2, "{kind}: {names:?}");
        }

        let mut to_host = Vec::new();
        for address in ["192.168.56.10", "fd56::10"] {
            let address = ip(address);
            let probe = lab.probe(Kind::Udp, Family::of(address), "app", "host");
            to_host.push(probe.addressed_to(address));
        }
        let shut = [each(&lab, "app", "server"), each(&lab, "app", "web")].concat();
        check("without isoplan", &shut, is_answered);
        check("without isoplan", &to_host, is_answered);
        apply(&isoplan);
        check_dropped(&lab, &["N1", "N2", "N8"], &shut);
        check_dropped(&lab, &["H3", "H4", "H11"], &to_host);
        check("the other bridge", &each(&lab, "web", "server"), is_answered);
    });
}

/// An exception from one NIC to another took the place of the answers that were on that way anyway: the hosts
/// of the second could open connections to the first and got nothing back.
#[test]
fn an_exception_against_a_reach_leaves_the_answers() {
    in_namespace(|| {
        let mut lab = Lab::start_empty().expect("build the lab");
        for (nic, node, number) in [("eth0", "service", 56), ("lan0", "lan", 60)] {
            let own = [format!("192.168.{number}.10/24"), format!("fd{number}::10/64")];
            let server = [format!("192.168.{number}.5/24"), format!("fd{number}::5/64")];
            lab.add_nic(nic, node, &[&own[0], &own[1]], &[&server[0], &server[1]]).expect("add a NIC");
        }
        for port in [22, 23] {
            lab.serve_port("lan", port).expect("serve a port");
        }
        let isoplan = program(
            r#"
            [[nic]]
            name = "eth0"
            role = "service"
            subnets = ["192.168.56.0/24", "fd56::/64"]
            [[nic]]
            name = "lan0"
            role = "lan"
            subnets = ["192.168.60.0/24", "fd60::/64"]
            reach = ["service"]
            [[allow]]
            from = "eth0"
            to = "192.168.60.5"
            protocol = "tcp"
            ports = [22]
            [[allow]]
            from = "eth0"
            to = "fd60::5"
            protocol = "tcp"
            ports = [22]
            "#,
        );
        let both = |word: &str| (json!(word), json!(word));
        assert_eq!(way(&isoplan, "eth0 (service)", "lan0 (lan)"), both("answers, exceptions"));
        assert_eq!(way(&isoplan, "lan0 (lan)", "eth0 (service)"), both("open"));
        let shut = [
            Vec::from(on_port(&lab, Kind::Tcp, "service", "lan", 23)),
            Vec::from(on_port(&lab, Kind::Udp, "service", "lan", 22)),
            each(&lab, "service", "lan"),
        ]
        .concat();
        check("without isoplan", &shut, is_answered);
        apply(&isoplan);
        check_dropped(&lab, &["R2"], &shut);
        check("the reach", &each(&lab, "lan", "service"), is_answered);
        check("the exception", &on_port(&lab, Kind::Tcp, "service", "lan", 22), is_answered);
    });
}

/// An exception from a NIC was for packets that come in on the NIC: with the NIC a port of a flat, they come in
/// on the flat, and the exception let nothing through.
#[test]
fn an_exception_from_a_nic_holds_on_its_flat() {
    in_namespace(|| {
        let mut lab = Lab::start_empty().expect("build the lab");
        lab.add_bridge("br-flat", &["192.168.56.10/24", "fd56::10/64"]).expect("add a bridge");
        let ports = [("eth0", "service", 5), ("v-vm", "vm", 21)];
        for (link, node, number) in ports {
            let own = [format!("192.168.56.{number}/24"), format!("fd56::{number}/64")];
            lab.add_cable(Cable { link, bridge: Some("br-flat"), node }, &[&own[0], &own[1]])
                .expect("add a port");
        }
        let storage = ["192.168.57.5/24", "fd57::5/64"];
        lab.add_nic("eth1", "storage", &["192.168.57.10/24", "fd57::10/64"], &storage).expect("add a NIC");
        for port in [2049, 2050] {
            lab.serve_port("storage", port).expect("serve a port");
        }
        let isoplan = program(
            r#"
            [[flat]]
            name = "br-flat"
            nic = "eth0"
            [[nic]]
            name = "eth0"
            role = "service"
            subnets = ["192.168.56.0/24", "fd56::/64"]
            [[nic]]
            name = "eth1"
            role = "storage"
            subnets = ["192.168.57.0/24", "fd57::/64"]
            [[allow]]
            from = "eth0"
            to = "192.168.57.5"
            protocol = "tcp"
            ports = [2049]
            [[allow]]
            from = "eth0"
            to = "fd57::5"
            protocol = "tcp"
            ports = [2049]
            "#,
        );
        let senders = ["vm", "service"];
        let shut: Vec<_> = senders
            .iter()
            .flat_map(|from| {
                [
                    on_port(&lab, Kind::Tcp, from, "storage", 2050),
                    on_port(&lab, Kind::Udp, from, "storage", 2049),
                ]
            })
            .flatten()
            .collect();
        let open: Vec<_> =
            senders.iter().flat_map(|from| on_port(&lab, Kind::Tcp, from, "storage", 2049)).collect();
        check("without isoplan", &shut, is_answered);
        apply(&isoplan);
        check("the exception", &open, is_answered);
        check_dropped(&lab, &["F3"], &shut);
    });
}

/// A node on a bridge that has two subnets, in the second of them.
fn add_in_second_subnet(
    lab: &mut Lab,
    bridge: &str,
    node: &str,
    interface: &str,
    gateway: &str,
) -> io::Result<()> {
    let link = format!("v-{node}");
    lab.plug(Cable { link: &link, bridge: Some(bridge), node })?;
    // By a link without an address: it has no gateway yet.
    lab.settle_in(node, &link, &[interface])?;
    lab.node(node).ip(&format!("route add default via {gateway}\n"))?;
    lab.set_partner(node, ip(gateway));
    lab.wait_for_echo(lab.node(node), ip(gateway))
}

/// Links that are masqueraded from and to were two sets: what was routed within the link of a gateway's NIC, from
/// one subnet of it to another, got this host's address as soon as anything else could reach that NIC.
#[test]
fn a_gateway_does_not_masquerade_within_its_own_link() {
    in_namespace(|| {
        let mut lab = Lab::start_empty().expect("build the lab");
        lab.add_bridge("docker0", &["172.17.0.1/16"]).expect("add a bridge");
        lab.add_container("web", "docker0", &["172.17.0.2/16"]).expect("add a container");
        lab.add_nic("wan0", "wan", &["203.0.113.10/24"], &["203.0.113.99/24"]).expect("add a NIC");
        // A bridge, so that two hosts are on it.
        lab.add_bridge("lan0", &["10.0.1.1/24", "10.0.3.1/24"]).expect("add the LAN");
        lab.add_container("one", "lan0", &["10.0.1.5/24"]).expect("add a host");
        add_in_second_subnet(&mut lab, "lan0", "three", "10.0.3.5/24", "10.0.3.1").expect("add a host");
        for link in ["all", "lan0"] {
            lab.host().sysctl(&format!("net/ipv4/conf/{link}/send_redirects"), "0").expect("write a sysctl");
        }
        let isoplan = program(
            r#"
            [[bridge]]
            name = "docker0"
            subnets = ["172.17.0.0/16"]
            reach = ["wan", "lan"]
            [[nic]]
            name = "wan0"
            role = "wan"
            subnets = ["203.0.113.0/24"]
            [[nic]]
            name = "lan0"
            role = "lan"
            subnets = ["10.0.1.0/24", "10.0.3.0/24"]
            reach = ["wan"]
            masquerade = true
            "#,
        );
        apply(&isoplan);
        check("within the link", &each(&lab, "one", "three"), from_source("10.0.1.5"));
        check("within the link", &each(&lab, "three", "one"), from_source("10.0.3.5"));
        for from in ["one", "three", "web"] {
            check("out of the link", &each(&lab, from, "wan"), from_source("203.0.113.10"));
        }
        check("into the link", &each(&lab, "web", "one"), from_source("10.0.1.1"));
    });
}

/// What two containers of one bridge said to each other on the port of an overlay was taken for an injection where
/// frames within a bridge pass the forward hook.
#[test]
fn containers_of_one_bridge_may_use_the_port_of_an_overlay() {
    in_namespace(|| {
        let mut lab = Lab::start_empty().expect("build the lab");
        lab.add_bridge("docker0", &["172.17.0.1/16", "fd17::1/64"]).expect("add a bridge");
        for (node, number) in [("web", 2), ("db", 3)] {
            let own = [format!("172.17.0.{number}/16"), format!("fd17::{number}/64")];
            lab.add_container(node, "docker0", &[&own[0], &own[1]]).expect("add a container");
        }
        lab.add_nic("eth0", "peer", &["192.168.56.10/24", "fd56::10/64"], &["192.168.56.5/24", "fd56::5/64"])
            .expect("add a NIC");
        let isoplan = program(
            r#"
            [[overlay]]
            name = "vxlan42"
            underlay = "eth0"
            vni = 42
            subnets = ["10.42.0.0/16", "fd42::/64"]
            [[bridge]]
            name = "docker0"
            subnets = ["172.17.0.0/16", "fd17::/64"]
            [[nic]]
            name = "eth0"
            role = "service"
            subnets = ["192.168.56.0/24", "fd56::/64"]
            "#,
        );
        const VXLAN: u16 = 4789;
        for node in ["db", "peer", "host"] {
            lab.serve_port(node, VXLAN).expect("serve a port");
        }
        for key in ["bridge-nf-call-iptables", "bridge-nf-call-ip6tables"] {
            lab.host().sysctl(&format!("net/bridge/{key}"), "1").expect("write a sysctl");
        }
        let within = on_port(&lab, Kind::Udp, "web", "db", VXLAN);
        let injected = on_port(&lab, Kind::Udp, "web", "peer", VXLAN);
        // The host's first addresses are those on the bridge.
        let to_host = on_port(&lab, Kind::Udp, "web", "host", VXLAN);
        for probes in [&within, &injected, &to_host] {
            check("without isoplan", probes, is_answered);
        }
        // Tells that frames within the bridge do pass the hook.
        lab.host()
            .nft_load(
                "table inet seen { chain forward { type filter hook forward priority -300;
                 iifname docker0 oifname docker0 udp dport 4789 counter; }; }",
            )
            .expect("load a table");
        apply(&isoplan);
        check("within the bridge", &within, is_answered);
        let seen = lab.host().nft(&["list", "table", "inet", "seen"]).expect("list a table");
        assert!(seen.contains("counter packets 2 "), "{seen}");
        check_dropped(&lab, &["N3"], &injected);
        check_dropped(&lab, &["I2"], &to_host);
        check("another port", &each(&lab, "web", "peer"), is_answered);
    });
}

/// Without a bridge in the file every NIC counted as reached by all bridges: a link that the file does not know
/// was let through to a NIC that nobody reaches.
#[test]
fn an_unknown_link_does_not_reach_a_router_s_lan() {
    in_namespace(|| {
        let mut lab = Lab::start_empty().expect("build the lab");
        for (nic, node, number) in [("eth0", "service", 56), ("lan0", "lan", 60), ("tun0", "vpn", 70)] {
            let own = [format!("192.168.{number}.10/24"), format!("fd{number}::10/64")];
            let server = [format!("192.168.{number}.5/24"), format!("fd{number}::5/64")];
            lab.add_nic(nic, node, &[&own[0], &own[1]], &[&server[0], &server[1]]).expect("add a NIC");
        }
        let isoplan = program(
            r#"
            [[nic]]
            name = "eth0"
            role = "service"
            subnets = ["192.168.56.0/24", "fd56::/64"]
            [[nic]]
            name = "lan0"
            role = "lan"
            subnets = ["192.168.60.0/24", "fd60::/64"]
            reach = ["service"]
            "#,
        );
        let (to_lan, from_lan) = (each(&lab, "vpn", "lan"), each(&lab, "lan", "vpn"));
        check("without isoplan", &[to_lan.clone(), from_lan.clone()].concat(), is_answered);
        apply(&isoplan);
        check_dropped(&lab, &["F15"], &to_lan);
        check_dropped(&lab, &["F16"], &from_lan);
        check("after apply", &each(&lab, "vpn", "service"), is_answered);
        check("after apply", &each(&lab, "service", "vpn"), is_answered);
        check("after apply", &each(&lab, "lan", "service"), is_answered);
    });
}
