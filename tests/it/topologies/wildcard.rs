//! Bridges that a pattern names, made after the rules; and frames within one bridge, which pass the forward
//! hook when bridge-nf-call-iptables is on.

use std::net::IpAddr;

use super::{
    Case, apply, between, cases, check, check_blocked, check_none, closed, closed_by_family, each_to,
    forget_neighbours, frame, from_source, ip, is_answered, of, program, remove, set_bridge_netfilter,
};
use crate::lab::packet::{Forged, Kind};
use crate::lab::{Family, Lab, Outcome, in_namespace};

const TOPOLOGY: &str = r#"
[[bridge]]
name = "docker0"
subnets = ["172.17.0.0/16", "fd17::/64"]

[[bridge]]
name = "br-*"

[[nic]]
name = "eth0"
role = "service"
subnets = ["192.168.56.0/24", "fd56::/64"]

[[nic]]
name = "eth1"
role = "storage"
subnets = ["192.168.57.0/24", "fd57::/64"]
"#;

fn host() -> std::io::Result<Lab> {
    let mut lab = Lab::start_empty()?;
    let service = ["192.168.56.5/24", "fd56::5/64"];
    lab.add_nic("eth0", "service", &["192.168.56.10/24", "fd56::10/64"], &service)?;
    let storage = ["192.168.57.5/24", "fd57::5/64"];
    lab.add_nic("eth1", "storage", &["192.168.57.10/24", "fd57::10/64"], &storage)?;
    // What goes anywhere else, such as multicast, has a route, as on any host.
    lab.host().ip("route add default via 192.168.56.5\nroute add default via fd56::5\n")?;
    Ok(lab)
}

fn add_bridges(lab: &mut Lab) -> std::io::Result<()> {
    for (bridge, prefix, containers) in
        [("docker0", 17, ["web", "db"]), ("br-aaa", 18, ["a1", "a2"]), ("br-bbb", 19, ["b1", "b2"])]
    {
        lab.add_bridge(bridge, &[&format!("172.{prefix}.0.1/16"), &format!("fd{prefix}::1/64")])?;
        for (place, container) in (2..).zip(containers) {
            let own = [format!("172.{prefix}.0.{place}/16"), format!("fd{prefix}::{place}/64")];
            lab.add_container(container, bridge, &[&own[0], &own[1]])?;
        }
    }
    Ok(())
}

/// Within one bridge, by pattern and by name.
const WITHIN: [(&str, &str); 4] = [("a1", "a2"), ("a2", "a1"), ("b1", "b2"), ("web", "db")];

/// A packet to every node of a link, or to a group, from one container; its neighbour on the bridge gets it.
fn to_group<'a>(lab: &'a Lab, from: &'a str, at: &'a str, group: &'a str) -> Case<'a> {
    let destination = ip(group);
    let family = Family::of(destination);
    let source = lab.node(from).address(family);
    let sender = lab.mac(from);
    frame(lab, &format!("UDP to {group}"), (from, at), family, move |payload| {
        let (mac, ether_type): ([u8; 6], u16) = match destination {
            IpAddr::V4(group) if group.is_multicast() => {
                let [_, b, c, d] = group.octets();
                ([1, 0, 0x5e, b & 0x7f, c, d], 0x0800)
            }
            IpAddr::V4(_) => ([0xff; 6], 0x0800),
            IpAddr::V6(group) => {
                let [.., a, b, c, d] = group.octets();
                ([0x33, 0x33, a, b, c, d], 0x86dd)
            }
        };
        let packet = Forged {
            kind: Kind::Udp,
            source,
            source_port: 5353,
            destination,
            destination_port: 5353,
            payload,
        };
        let packet = packet.to_bytes().expect("build a packet");
        [&mac[..], &sender[..], &ether_type.to_be_bytes()[..], &packet[..]].concat()
    })
}

fn groups(lab: &Lab) -> Vec<Case<'_>> {
    let mut cases = Vec::new();
    for group in ["224.0.0.251", "255.255.255.255", "ff02::fb"] {
        cases.extend([("a1", "a2"), ("web", "db")].map(|(from, at)| to_group(lab, from, at, group)));
    }
    cases.push(to_group(lab, "a1", "a2", "172.18.255.255"));
    cases
}

#[test]
fn bridges_of_a_pattern_are_covered_when_they_come() {
    in_namespace(|| {
        let mut lab = host().expect("build the lab");
        let isoplan = program(TOPOLOGY);
        apply(&isoplan);
        add_bridges(&mut lab).expect("add bridges");
        let lab = lab;

        let own = |family| of(family, "192.168.57.10", "fd57::10");
        let mut shut = vec![
            closed("F3", between(&lab, &[("a1", "storage"), ("b1", "storage"), ("web", "storage")])),
            closed("F4", between(&lab, &[("storage", "a1"), ("storage", "b1")])),
            closed("S4", between(&lab, &[("a1", "b1"), ("b2", "a2")])),
            closed("N8", between(&lab, &[("a1", "web"), ("web", "b1")])),
            closed("T8", between(&lab, &[("service", "a1"), ("service", "b1")])),
        ];
        shut.extend(closed_by_family(["H1", "H2"], |family| {
            ["a1", "b1"]
                .into_iter()
                .flat_map(|from| each_to(&lab, from, "host", own(family)))
                .collect::<Vec<_>>()
        }));
        // The host's address on the other bridge.
        shut.push(closed(
            "H11",
            Family::BOTH
                .into_iter()
                .flat_map(|family| each_to(&lab, "a1", "host", of(family, "172.19.0.1", "fd19::1"))),
        ));
        let mut open = cases(between(
            &lab,
            &[("b1", "service"), ("web", "service"), ("host", "a1"), ("host", "b1"), ("host", "storage")],
        ));
        open.extend(cases(between(&lab, &WITHIN)));
        for value in ["0", "1"] {
            set_bridge_netfilter(&lab, value);
            check_blocked(&lab, &shut);
            check(&format!("bridge-nf-call {value}"), &open, is_answered);
            for family in Family::BOTH {
                let source = of(family, "192.168.56.10", "fd56::10");
                let probes = cases(super::each(&lab, family, "a1", "service"));
                check("masqueraded", &probes, from_source(source));
            }
        }
        remove(&isoplan);
        check_none(&shut);
    });
}

#[test]
fn containers_of_one_bridge_talk_to_each_other() {
    in_namespace(|| {
        let mut lab = host().expect("build the lab");
        add_bridges(&mut lab).expect("add bridges");
        let lab = lab;
        let isoplan = program(TOPOLOGY);
        let open = cases(between(&lab, &WITHIN));
        let groups = groups(&lab);
        let nodes = ["a1", "a2", "b1", "b2", "web", "db"];
        for value in ["0", "1"] {
            set_bridge_netfilter(&lab, value);
            check("without isoplan", &open, is_answered);
            check("without isoplan", &groups, Outcome::is_delivered);
            apply(&isoplan);
            check(&format!("bridge-nf-call {value}"), &open, is_answered);
            // ARP and neighbour discovery.
            forget_neighbours(&lab, &nodes);
            check(&format!("bridge-nf-call {value}, neighbours to be found"), &open, is_answered);
            check(&format!("bridge-nf-call {value}"), &groups, Outcome::is_delivered);
            remove(&isoplan);
        }
    });
}

/// What the host would never route, or has no route for, stays on the bridge all the same. But for one thing
/// that `docs/security.md` tells of: with bridge-nf-call on, a subnet that the host has no route for does not
/// pass within a bridge that only a wildcard names.
#[test]
fn within_one_bridge_it_does_not_matter_what_the_host_routes() {
    in_namespace(|| {
        let mut lab = host().expect("build the lab");
        add_bridges(&mut lab).expect("add bridges");
        let lab = lab;
        let isoplan = program(TOPOLOGY);
        let (mut open, mut unrouted) = (Vec::new(), Vec::new());
        for (from, at) in [("a1", "a2"), ("web", "db")] {
            let by_wildcard = from == "a1";
            // Multicast of more than the link.
            open.extend(["239.255.255.250", "ff05::c"].map(|group| to_group(&lab, from, at, group)));
            // A subnet that the host has no address in.
            for (node, number) in [(from, 1), (at, 2)] {
                let own = format!(
                    "address add 10.99.0.{number}/24 dev eth0\naddress add fd99::{number}/64 dev eth0 nodad\n"
                );
                lab.node(node).ip(&own).expect("add addresses");
            }
            let of_subnet = if by_wildcard { &mut unrouted } else { &mut open };
            of_subnet.extend(Family::BOTH.into_iter().flat_map(|family| {
                let probes = each_to(&lab, from, at, of(family, "10.99.0.2", "fd99::2")).into_iter();
                probes.map(move |probe| probe.forging(ip(of(family, "10.99.0.1", "fd99::1"))).into())
            }));
        }
        for value in ["0", "1"] {
            set_bridge_netfilter(&lab, value);
            check("without isoplan", &open, Outcome::is_delivered);
            check("without isoplan", &unrouted, Outcome::is_delivered);
            apply(&isoplan);
            check(&format!("bridge-nf-call {value}"), &open, Outcome::is_delivered);
            let passes = value == "0";
            check(&format!("bridge-nf-call {value}"), &unrouted, |outcome| outcome.is_delivered() == passes);
            remove(&isoplan);
        }
    });
}

const REACH: &str = r#"
[[bridge]]
name = "docker0"
subnets = ["172.17.0.0/16", "fd17::/64"]
reach = ["service", "cni-*"]

[[bridge]]
name = "br-*"
subnets = ["172.18.0.0/16", "172.19.0.0/16", "fd18::/64"]
reach = ["service", "docker0"]

[[bridge]]
name = "cni-*"
subnets = ["172.21.0.0/16"]
reach = ["cni-*"]

[[nic]]
name = "eth0"
role = "service"
subnets = ["192.168.56.0/24", "fd56::/64"]

[[nic]]
name = "eth1"
role = "storage"
subnets = ["192.168.57.0/24", "fd57::/64"]

[[allow]]
from = "cni-*"
to = "172.19.0.2"
protocol = "tcp"
ports = [9000]
"#;

/// Patterns in `reach`, on either side, and on both sides of an exception.
#[test]
fn patterns_reach_and_are_reached() {
    in_namespace(|| {
        let mut lab = host().expect("build the lab");
        add_bridges(&mut lab).expect("add bridges");
        for (bridge, container, prefix) in [("cni-x", "x", 21), ("cni-y", "y", 22), ("br-ccc", "c1", 23)] {
            let own = [format!("172.{prefix}.0.1/16"), format!("fd{prefix}::1/64")];
            lab.add_bridge(bridge, &[&own[0], &own[1]]).expect("add a bridge");
            let own = [format!("172.{prefix}.0.2/16"), format!("fd{prefix}::2/64")];
            lab.add_container(container, bridge, &[&own[0], &own[1]]).expect("add a container");
        }
        let lab = lab;
        let isoplan = program(REACH);
        let shut = [
            closed("R2", between(&lab, &[("web", "a1"), ("web", "b1"), ("x", "web")])),
            closed("S4", between(&lab, &[("a1", "c1"), ("c1", "a1"), ("a1", "b1"), ("b1", "a1")])),
            closed("N8|S4", between(&lab, &[("a1", "x"), ("x", "a1"), ("y", "a1")])),
            closed("N8|N1|N2", between(&lab, &[("x", "service"), ("y", "service")])),
            closed(
                "N8|S4",
                [
                    super::tcp(&lab, "x", "b1", "172.19.0.9", 9000),
                    super::udp(&lab, "x", "b1", "172.19.0.2", 9000),
                    super::tcp(&lab, "y", "b1", "172.19.0.2", 9000),
                    super::tcp(&lab, "a1", "b1", "172.19.0.2", 9000),
                    super::tcp(&lab, "x", "b1", "172.19.0.2", 9000).forging(ip("172.22.0.9")),
                ],
            ),
            closed("F3", between(&lab, &[("x", "storage"), ("b1", "storage"), ("a1", "storage")])),
        ];
        add_other_address(&lab);
        let open = [
            ("a1", "web"),
            ("b1", "web"),
            ("c1", "web"),
            ("web", "x"),
            ("web", "y"),
            ("x", "y"),
            ("y", "x"),
            ("a1", "a2"),
            ("b1", "b2"),
            ("a1", "service"),
            ("web", "service"),
        ];
        let mut open = cases(between(&lab, &open));
        open.extend(cases([super::tcp(&lab, "x", "b1", "172.19.0.2", 9000)]));
        for value in ["0", "1"] {
            set_bridge_netfilter(&lab, value);
            check_none(&shut);
            check("without isoplan", &open, is_answered);
            apply(&isoplan);
            check_blocked(&lab, &shut);
            check(&format!("bridge-nf-call {value}"), &open, is_answered);
            remove(&isoplan);
        }
    });
}

/// One more address of a container, which no exception names.
fn add_other_address(lab: &Lab) {
    lab.node("b1").ip("address add 172.19.0.9/16 dev eth0\n").expect("add an address");
}
