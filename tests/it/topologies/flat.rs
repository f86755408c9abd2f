//! Instances bridged onto a NIC's own subnet.

use std::net::IpAddr;

use super::{
    Case, Closed, apply, between, cases, check, check_blocked, check_none, closed, closed_by_family, each,
    each_to, forget_neighbours, frame, from_source, ip, is_answered, of, program, remove,
    set_bridge_netfilter,
};
use crate::lab::build::custom::{Cable, mac_text};
use crate::lab::packet::{Forged, Kind};
use crate::lab::{Family, Lab, in_namespace};

const TOPOLOGY: &str = include_str!("../../../fixtures/flat/topology.toml");

fn host() -> std::io::Result<Lab> {
    let mut lab = Lab::start_empty()?;
    lab.add_bridge("br-flat", &["192.168.56.10/24", "fd56::10/64"])?;
    let cable = |link, node| Cable { link, bridge: Some("br-flat"), node };
    lab.add_cable(cable("eth0", "service"), &["192.168.56.5/24", "fd56::5/64"])?;
    lab.add_cable(cable("v-vm1", "vm1"), &["192.168.56.21/24", "fd56::21/64"])?;
    lab.add_cable(cable("v-vm2", "vm2"), &["192.168.56.22/24", "fd56::22/64"])?;

    // A node does not ask who has an address with a source that is not its own, and these links have no
    // link-local address to ask with.
    let neighbour =
        format!("neigh replace fd56::21 lladdr {} dev eth0 nud permanent\n", mac_text(lab.mac("vm1")));
    lab.node("service").ip(&neighbour)?;

    lab.add_bridge("br-quarantine", &["192.168.59.10/24", "fd59::10/64"])?;
    let cable = |link, node| Cable { link, bridge: Some("br-quarantine"), node };
    lab.add_cable(cable("eth3", "guests"), &["192.168.59.5/24", "fd59::5/64"])?;
    lab.add_cable(cable("v-q1", "q1"), &["192.168.59.21/24", "fd59::21/64"])?;
    lab.add_cable(cable("v-q2", "q2"), &["192.168.59.22/24", "fd59::22/64"])?;

    let storage = ["192.168.57.5/24", "fd57::5/64"];
    lab.add_nic("eth1", "storage", &["192.168.57.10/24", "fd57::10/64"], &storage)?;
    Ok(lab)
}

const IPV4: u16 = 0x0800;
const ARP: u16 = 0x0806;
const IPV6: u16 = 0x86dd;
/// IEEE 802.1Q and 802.1ad.
const TAG: u16 = 0x8100;
const OUTER_TAG: u16 = 0x88a8;

/// A packet from one address to another in a frame from one node to another, behind these tags.
fn bridged<'a>(
    lab: &'a Lab,
    pair: (&'a str, &'a str),
    (source, destination): (&str, &str),
    tags: &'a [u16],
    kind: Kind,
) -> Case<'a> {
    let (source, destination) = (ip(source), ip(destination));
    let family = Family::of(destination);
    let (from, to) = (lab.mac(pair.0), lab.mac(pair.1));
    let what = format!("{kind:?} {source} to {destination} by {}, tags {tags:x?}", pair.1);
    frame(lab, &what, pair, family, move |payload| {
        let packet = Forged { kind, source, source_port: 4000, destination, destination_port: 9000, payload };
        let mut frame = [to, from].concat();
        for tag in tags {
            frame.extend([tag.to_be_bytes(), 7_u16.to_be_bytes()].concat());
        }
        frame.extend(of_family(family).to_be_bytes());
        frame.extend(packet.to_bytes().expect("build a packet"));
        frame
    })
}

fn of_family(family: Family) -> u16 {
    if family == Family::V4 { IPV4 } else { IPV6 }
}

/// A packet without an ethertype: IEEE 802.3 with LLC and SNAP, RFC 1042.
fn snap<'a>(lab: &'a Lab, pair: (&'a str, &'a str)) -> Case<'a> {
    let (from, to) = (lab.mac(pair.0), lab.mac(pair.1));
    frame(lab, "SNAP", pair, Family::V4, move |payload| {
        let packet = Forged {
            kind: Kind::Udp,
            source: ip("192.168.56.21"),
            source_port: 4000,
            destination: ip("192.168.57.5"),
            destination_port: 9000,
            payload,
        };
        let packet = packet.to_bytes().expect("build a packet");
        let length = u16::try_from(packet.len() + 8).expect("a short packet");
        let header = [&[0xaa, 0xaa, 3, 0, 0, 0][..], &IPV4.to_be_bytes()].concat();
        [&to[..], &from[..], &length.to_be_bytes()[..], &header[..], &packet[..]].concat()
    })
}

/// "Who has that address?"
fn arp<'a>(lab: &'a Lab, pair: (&'a str, &'a str), sender: &str, target: &str) -> Case<'a> {
    let from = lab.mac(pair.0);
    let [sender, target] = [sender, target].map(|address| match ip(address) {
        IpAddr::V4(address) => address.octets(),
        IpAddr::V6(_) => panic!("ARP is for IPv4"),
    });
    frame(lab, &format!("ARP for {target:?}"), pair, Family::V4, move |payload| {
        const REQUEST: [u8; 8] = [0, 1, 8, 0, 6, 4, 0, 1];
        let mut frame = [&[0xff; 6][..], &from[..], &ARP.to_be_bytes()[..], &REQUEST[..]].concat();
        frame.extend([&from[..], &sender[..], &[0; 6][..], &target[..]].concat());
        // The padding of a short frame: what the frame is known by.
        frame.extend(payload);
        frame
    })
}

/// An instance of the open flat to storage, past the host and by it.
fn closed_on_open_flat(lab: &Lab) -> Vec<Closed<'_>> {
    let to_service = ("vm1", "service");
    let storage = |family| of(family, "192.168.57.5", "fd57::5");
    let own = |family| of(family, "192.168.56.21", "fd56::21");
    let server = |family| of(family, "192.168.56.5", "fd56::5");
    let by_nic = |family| {
        [Kind::Icmp, Kind::Udp, Kind::Tcp].map(|kind| {
            // A SYN has no text to know it by: the whole of it does.
            bridged(lab, to_service, (own(family), storage(family)), &[], kind)
        })
    };
    let from_nic = |family| {
        let probes = each(lab, family, "service", "vm1").into_iter();
        probes.map(move |probe| probe.forging(ip(storage(family))))
    };
    let mut shut = vec![
        // Routed by the host.
        closed("F3", between(lab, &[("vm1", "storage"), ("service", "storage")])),
        closed("F4", between(lab, &[("storage", "vm1"), ("storage", "service")])),
        // Past it.
        Closed { rule: "B5", cases: by_nic(Family::V4).into() },
        Closed { rule: "B8", cases: by_nic(Family::V6).into() },
        Closed { rule: "B7", cases: vec![arp(lab, to_service, "192.168.56.21", "192.168.57.5")] },
    ];
    shut.extend(closed_by_family(["I6", "I7"], |family| {
        each_to(lab, "vm1", "host", of(family, "192.168.57.10", "fd57::10"))
    }));
    shut.extend(closed_by_family(["B6", "B9"], from_nic));
    // Tags hide what is behind them.
    for (rule, pair) in [("B3", to_service), ("B4", ("service", "vm1"))] {
        let mut cases = Vec::new();
        for family in Family::BOTH {
            let addresses = if rule == "B3" {
                [(own(family), storage(family)), (own(family), server(family))]
            } else {
                [(storage(family), own(family)), (server(family), own(family))]
            };
            for addresses in addresses {
                const TAGS: [&[u16]; 4] = [&[TAG], &[OUTER_TAG], &[TAG, TAG], &[OUTER_TAG, TAG]];
                cases.extend(TAGS.map(|tags| bridged(lab, pair, addresses, tags, Kind::Udp)));
            }
        }
        cases.push(snap(lab, pair));
        shut.push(Closed { rule, cases });
    }
    shut
}

/// Between instances of the other flat and its NIC.
fn closed_on_closed_flat(lab: &Lab) -> Vec<Closed<'_>> {
    let nothing = |pair, [sender, target]: [&str; 2]| {
        [
            bridged(lab, pair, ("192.168.59.21", "192.168.59.5"), &[], Kind::Udp),
            bridged(lab, pair, ("192.168.59.21", "192.168.59.5"), &[TAG], Kind::Udp),
            bridged(lab, pair, ("fd59::21", "fd59::5"), &[OUTER_TAG, TAG], Kind::Udp),
            bridged(lab, pair, ("192.168.59.21", "192.168.57.5"), &[], Kind::Udp),
            arp(lab, pair, sender, target),
            snap(lab, pair),
        ]
    };
    let mut to = cases(between(lab, &[("q1", "guests")]));
    to.extend(nothing(("q1", "guests"), ["192.168.59.21", "192.168.59.5"]));
    let mut from = cases(between(lab, &[("guests", "q1")]));
    from.extend(nothing(("guests", "q1"), ["192.168.59.5", "192.168.59.21"]));
    vec![
        Closed { rule: "B1", cases: to },
        Closed { rule: "B2", cases: from },
        closed("F3", between(lab, &[("q1", "storage")])),
        closed(
            "F14|F21|F22",
            between(lab, &[("q1", "service"), ("q1", "vm1"), ("vm1", "q1"), ("guests", "vm1")]),
        ),
    ]
}

#[test]
fn instances_reach_their_nic_and_not_storage() {
    in_namespace(|| {
        let lab = host().expect("build the lab");
        let isoplan = program(TOPOLOGY);
        let mut open = cases(between(
            &lab,
            &[
                ("vm1", "vm2"),
                ("vm2", "vm1"),
                ("vm1", "host"),
                ("host", "vm1"),
                ("host", "service"),
                ("service", "host"),
                ("host", "storage"),
            ],
        ));
        for family in Family::BOTH {
            open.extend(cases(each_to(&lab, "storage", "host", of(family, "192.168.57.10", "fd57::10"))));
        }
        let bridged: Vec<_> = Family::BOTH
            .into_iter()
            .flat_map(|family| {
                [
                    (of(family, "192.168.56.21", "fd56::21"), cases(each(&lab, family, "vm1", "service"))),
                    (of(family, "192.168.56.5", "fd56::5"), cases(each(&lab, family, "service", "vm1"))),
                ]
            })
            .collect();
        for value in ["0", "1"] {
            set_bridge_netfilter(&lab, value);
            let shut = closed_on_open_flat(&lab);
            check_none(&shut);
            apply(&isoplan);
            check_blocked(&lab, &shut);
            forget_neighbours(&lab, &["vm1", "vm2", "service"]);
            check(&format!("bridge-nf-call {value}"), &open, is_answered);
            for (source, cases) in &bridged {
                check(&format!("bridge-nf-call {value}"), cases, from_source(source));
            }
            remove(&isoplan);
        }
    });
}

#[test]
fn instances_of_a_closed_flat_are_among_themselves() {
    in_namespace(|| {
        let lab = host().expect("build the lab");
        let isoplan = program(TOPOLOGY);
        let mut open =
            cases(between(&lab, &[("q1", "q2"), ("q2", "q1"), ("host", "guests"), ("host", "q1")]));
        open.extend(cases(each_to(&lab, "guests", "host", "192.168.59.10")));
        open.extend(cases(each_to(&lab, "q1", "host", "192.168.59.10")));
        for value in ["0", "1"] {
            set_bridge_netfilter(&lab, value);
            let shut = closed_on_closed_flat(&lab);
            check_none(&shut);
            apply(&isoplan);
            check_blocked(&lab, &shut);
            forget_neighbours(&lab, &["q1", "q2", "guests"]);
            check(&format!("bridge-nf-call {value}"), &open, is_answered);
            remove(&isoplan);
        }
    });
}

/// The NIC of containers is a port of a bridge, as on a host with instances as well.
#[test]
fn containers_leave_by_the_flat_that_stands_for_their_nic() {
    in_namespace(|| {
        let mut lab = host().expect("build the lab");
        lab.add_bridge("docker0", &["172.17.0.1/16", "fd17::1/64"]).expect("add a bridge");
        lab.add_container("web", "docker0", &["172.17.0.2/16", "fd17::2/64"]).expect("add a container");
        let lab = lab;
        let docker = "[[bridge]]\nname = \"docker0\"\nsubnets = [\"172.17.0.0/16\", \"fd17::/64\"]\n\n";
        let isoplan = program(&format!("{docker}{TOPOLOGY}"));
        for value in ["0", "1"] {
            set_bridge_netfilter(&lab, value);
            let mut shut = vec![
                closed("T8", between(&lab, &[("service", "web"), ("vm1", "web")])),
                closed("N1|N2|N8", between(&lab, &[("web", "guests"), ("web", "q1")])),
                closed("T1|T2|T8", between(&lab, &[("guests", "web"), ("q1", "web")])),
                closed("F3", between(&lab, &[("web", "storage"), ("vm1", "storage")])),
                closed("F4", between(&lab, &[("storage", "web")])),
            ];
            shut.extend(closed_on_open_flat(&lab).into_iter().filter(|shut| shut.rule.starts_with('B')));
            let open = cases(between(
                &lab,
                &[("host", "web"), ("vm1", "vm2"), ("vm1", "service"), ("host", "guests")],
            ));
            check_none(&shut);
            apply(&isoplan);
            check_blocked(&lab, &shut);
            check(&format!("bridge-nf-call {value}"), &open, is_answered);
            for (family, source) in Family::BOTH.into_iter().zip(["192.168.56.10", "fd56::10"]) {
                let probes =
                    [each(&lab, family, "web", "service"), each(&lab, family, "web", "vm1")].concat();
                check(&format!("bridge-nf-call {value}"), &cases(probes), from_source(source));
            }
            remove(&isoplan);
        }
    });
}

/// Storage is open to a bridge, and its prefix leads out of the flat's own NIC: an instance gets there neither
/// by the bridge nor by way of this host.
#[test]
fn instances_do_not_reach_partly_guarded_storage_by_a_detour() {
    in_namespace(|| {
        let mut lab = host().expect("build the lab");
        lab.add_bridge("br-backup", &["172.20.0.1/24", "fd20::1/64"]).expect("add a bridge");
        lab.add_container("backup", "br-backup", &["172.20.0.2/24", "fd20::2/64"]).expect("add a container");
        let lab = lab;
        let backup = "[[bridge]]\nname = \"br-backup\"\nsubnets = [\"172.20.0.0/24\", \"fd20::/64\"]\n\
                      reach = [\"storage\"]\n\n";
        let isoplan = program(&format!("{backup}{TOPOLOGY}"));
        let direct = [
            closed("F14|F21|F22", between(&lab, &[("vm1", "storage"), ("storage", "vm1")])),
            Closed {
                rule: "B5",
                cases: vec![bridged(
                    &lab,
                    ("vm1", "service"),
                    ("192.168.56.21", "192.168.57.5"),
                    &[],
                    Kind::Udp,
                )],
            },
        ];
        check_none(&direct);
        super::host_ip(
            &lab,
            "route del 192.168.57.0/24 dev eth1\nroute add 192.168.57.0/24 via 192.168.56.5\n\
             route del fd57::/64 dev eth1\nroute add fd57::/64 via fd56::5\n",
        );
        let to = |family| each_to(&lab, "vm1", "service", of(family, "192.168.57.77", "fd57::77"));
        let detour = closed_by_family(["F21", "F22"], to);
        check_none(&detour);
        super::host_ip(&lab, "route replace 192.168.57.0/24 dev eth1\nroute replace fd57::/64 dev eth1\n");
        apply(&isoplan);
        check_blocked(&lab, &direct);
        super::host_ip(
            &lab,
            "route replace 192.168.57.0/24 via 192.168.56.5\nroute del fd57::/64 dev eth1\n\
             route replace fd57::/64 via fd56::5\n",
        );
        check_blocked(&lab, &detour);
    });
}
