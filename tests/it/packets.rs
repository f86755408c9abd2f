//! What packets show, on a host with containers, storage, a network behind storage, and management.
//!
//! Every probe that is to be blocked is first seen to arrive without isoplan, on the same lab: silence alone
//! proves nothing. Silence itself is proven by what was sent afterwards, see `lab::probe`.

use std::net::IpAddr;

use crate::lab::packet::Kind;
use crate::lab::probe::Probe;
use crate::lab::program::dropped;
use crate::lab::{Family, HostSpec, Lab, Outcome, in_namespace};
use crate::{check, is_answered, is_blocked, start};

const KINDS: [Kind; 3] = [Kind::Icmp, Kind::Udp, Kind::Tcp];

/// Every kind of packet of every family, by `make`.
fn each<'a>(make: impl Fn(Kind, Family) -> Vec<Probe<'a>>) -> Vec<Probe<'a>> {
    let cases = KINDS.into_iter().flat_map(|kind| Family::BOTH.map(|family| (kind, family)));
    cases.flat_map(|(kind, family)| make(kind, family)).collect()
}

/// An address of the text of its family.
fn address(family: Family, v4: &str, v6: &str) -> IpAddr {
    let text = if family == Family::V4 { v4 } else { v6 };
    text.parse().expect("an address")
}

/// What must not pass between a container and a guarded NIC's network, or through the host to it.
fn guarded<'a>(lab: &'a Lab, container: &str, role: &str, link: &str) -> Vec<Probe<'a>> {
    each(|kind, family| {
        let own = lab.host_address(link, family);
        vec![
            lab.probe(kind, family, container, role),
            lab.probe(kind, family, role, container),
            lab.probe(kind, family, "service", role),
            lab.probe(kind, family, role, "service"),
            lab.probe(kind, family, container, "host").addressed_to(own),
            lab.probe(kind, family, "service", "host").addressed_to(own),
        ]
    })
}

/// The same for the network behind the storage server.
fn behind(lab: &Lab) -> Vec<Probe<'_>> {
    each(|kind, family| {
        vec![
            lab.probe(kind, family, "web", "storage-behind"),
            lab.probe(kind, family, "storage-behind", "web"),
            lab.probe(kind, family, "service", "storage-behind"),
        ]
    })
}

/// A container that lies about its address.
fn forged(lab: &Lab) -> Vec<Probe<'_>> {
    each(|kind, family| {
        let sources = [
            ("another bridge's", "172.18.0.9", "fd18::9"),
            ("one of storage", "192.168.57.77", "fd57::77"),
            ("the host's own on storage", "192.168.57.10", "fd57::a"),
            ("one of service", "192.168.56.77", "fd56::77"),
            ("nobody's", "203.0.113.9", "2001:db8::9"),
        ];
        sources
            .into_iter()
            .flat_map(|(_whose, v4, v6)| {
                let source = address(family, v4, v6);
                let own = lab.host_address("eth1", family);
                let to_storage = lab.probe(kind, family, "web", "storage").forging(source);
                let to_host = lab.probe(kind, family, "web", "host").addressed_to(own).forging(source);
                let to_behind = lab.probe(kind, family, "web", "storage-behind").forging(source);
                [to_storage, to_host, to_behind]
            })
            .collect()
    })
}

/// The broadcast address of the storage network, which the host takes as its own.
fn broadcast(lab: &Lab) -> Vec<Probe<'_>> {
    let to = address(Family::V4, "192.168.57.255", "::");
    vec![lab.probe(Kind::Udp, Family::V4, "web", "host").addressed_to(to).one_way()]
}

/// What must go on working.
fn controls(lab: &Lab) -> Vec<Probe<'_>> {
    each(|kind, family| {
        vec![
            lab.probe(kind, family, "web", "service"),
            lab.probe(kind, family, "db", "service"),
            lab.probe(kind, family, "web", "db"),
            lab.probe(kind, family, "web", "host").addressed_to(lab.host_address("docker0", family)),
            lab.probe(kind, family, "host", "web"),
            lab.probe(kind, family, "host", "service"),
            lab.probe(kind, family, "service", "host").addressed_to(lab.host_address("eth0", family)),
            lab.probe(kind, family, "host", "storage"),
            lab.probe(kind, family, "host", "storage-behind"),
            lab.probe(kind, family, "storage", "host").addressed_to(lab.host_address("eth1", family)),
            lab.probe(kind, family, "storage-behind", "host").addressed_to(lab.host_address("eth1", family)),
        ]
    })
}

/// Containers reach the service network, and look like the host there.
#[track_caller]
fn check_masquerade(lab: &Lab) {
    for family in Family::BOTH {
        let source = lab.host_address("eth0", family);
        let probes = each(|kind, _| vec![lab.probe(kind, family, "web", "service")]);
        check("masqueraded", &probes, |outcome| *outcome == Outcome::Answered { source });
    }
}

/// Forgets who has which link address, so that it has to be asked for again.
fn forget_neighbours(lab: &Lab) {
    for node in ["host", "web", "db"] {
        lab.node(node).ip("neigh flush all\n").expect("flush the neighbours");
    }
}

/// Applies the lab's topology, and sees that all of `closed` is closed and the rest works.
#[track_caller]
fn check_apply(lab: &Lab, isoplan: &crate::Program, closed: &[Probe<'_>]) {
    isoplan.run(&["apply", "topology.toml", "--yes"]).ok();
    let before = dropped(lab.host(), "isoplan").expect("read the counters");
    check("after apply, to be blocked", closed, is_blocked);
    let after = dropped(lab.host(), "isoplan").expect("read the counters");
    let count = u64::try_from(closed.len()).expect("a small number");
    assert!(after - before >= count, "{count} packets were blocked, and only {} counted", after - before);
    check("after apply, to go on working", &controls(lab), is_answered);
    check_masquerade(lab);
    forget_neighbours(lab);
    check("after apply, with neighbours to be found", &controls(lab), is_answered);
}

#[test]
fn storage_is_closed_beside_docker() {
    in_namespace(|| {
        let (lab, isoplan) = start(HostSpec::service_instance());
        let closed =
            [guarded(&lab, "web", "storage", "eth1"), behind(&lab), forged(&lab), broadcast(&lab)].concat();
        check("without isoplan", &closed, Outcome::is_delivered);
        check("without isoplan", &controls(&lab), is_answered);
        check_apply(&lab, &isoplan, &closed);
    });
}

#[test]
fn storage_is_closed_on_a_host_that_did_not_forward() {
    in_namespace(|| {
        let (lab, isoplan) = start(HostSpec::service_instance().bare());
        let closed =
            [guarded(&lab, "web", "storage", "eth1"), behind(&lab), forged(&lab), broadcast(&lab)].concat();
        // Without forwarding nothing would pass anyway; the control is with it.
        lab.set_forwarding(true).expect("switch forwarding on");
        check("forwarding, without isoplan", &closed, Outcome::is_delivered);
        lab.set_forwarding(false).expect("switch forwarding off");
        let to_service = each(|kind, family| vec![lab.probe(kind, family, "web", "service")]);
        check("not forwarding", &to_service, is_blocked);
        check_apply(&lab, &isoplan, &closed);
    });
}

#[test]
fn management_and_the_other_bridge_are_closed() {
    in_namespace(|| {
        let (lab, isoplan) = start(HostSpec::three_nics());
        let mut closed = guarded(&lab, "web", "management", "eth2");
        closed.extend(guarded(&lab, "app", "storage", "eth1"));
        closed.extend(each(|kind, family| {
            vec![
                lab.probe(kind, family, "management", "storage"),
                lab.probe(kind, family, "storage", "management"),
                lab.probe(kind, family, "management", "host").addressed_to(lab.host_address("eth1", family)),
                lab.probe(kind, family, "web", "app"),
                lab.probe(kind, family, "app", "web"),
            ]
        }));
        check("without isoplan", &closed, Outcome::is_delivered);
        check_apply(&lab, &isoplan, &closed);
        let management = each(|kind, family| {
            vec![
                lab.probe(kind, family, "management", "host").addressed_to(lab.host_address("eth2", family)),
                lab.probe(kind, family, "host", "management"),
                lab.probe(kind, family, "app", "service"),
                lab.probe(kind, family, "app", "cache"),
            ]
        });
        check("after apply, to go on working", &management, is_answered);
    });
}

/// A port of the host that leads to a container, as an engine publishes it.
const PUBLISHED: &str = "
table ip published {
  chain prerouting {
    type nat hook prerouting priority dstnat;
    iifname != docker0 tcp dport 8080 dnat to 172.17.0.2:9000
  }
}
table ip6 published {
  chain prerouting {
    type nat hook prerouting priority dstnat;
    iifname != docker0 tcp dport 8080 dnat to [fd17::2]:9000
  }
}
";

#[test]
fn published_ports_are_open_to_service_only() {
    in_namespace(|| {
        let (lab, isoplan) = start(HostSpec::service_instance());
        lab.host().nft_load(PUBLISHED).expect("publish a port");
        let published = |from: &str, link: &str, family| {
            lab.probe(Kind::Tcp, family, from, "web")
                .addressed_to(lab.host_address(link, family))
                .on_port(8080)
        };
        let from_service = Family::BOTH.map(|family| published("service", "eth0", family));
        let closed: Vec<Probe<'_>> = Family::BOTH
            .into_iter()
            .flat_map(|family| {
                vec![
                    published("storage", "eth1", family),
                    published("storage-behind", "eth1", family),
                    published("storage", "eth0", family),
                ]
            })
            .chain(each(|kind, family| vec![lab.probe(kind, family, "service", "web")]))
            .collect();
        check("without isoplan", &closed, is_answered);
        check("without isoplan", &from_service, is_answered);
        isoplan.run(&["apply", "topology.toml", "--yes"]).ok();
        check("after apply", &closed, is_blocked);
        check("after apply", &from_service, is_answered);
    });
}

#[test]
fn established_udp_flows_are_cut() {
    in_namespace(|| {
        let (lab, isoplan) = start(HostSpec::service_instance());
        let mut closed = Vec::new();
        for (family, port) in Family::BOTH.into_iter().zip([4444, 4446]) {
            // A container's flow, and the answer to it from the server's own port: translated back to the
            // container by the flow.
            let there = lab.probe(Kind::Udp, family, "web", "storage").with_source_port(port);
            let outcome = there.run();
            let source = outcome.source().unwrap_or_else(|| panic!("{there}: {outcome:?}"));
            let back = lab
                .probe(Kind::Udp, family, "storage", "web")
                .forging(lab.node("storage").address(family))
                .with_source_port(crate::lab::PORT)
                .addressed_to(source)
                .on_port(port);
            // A flow that storage began.
            let other = lab.probe(Kind::Udp, family, "storage", "web").with_source_port(port + 1);
            closed.extend([there, back, other]);
        }
        check("without isoplan", &closed, Outcome::is_delivered);
        isoplan.run(&["apply", "topology.toml", "--yes"]).ok();
        check("after apply", &closed, is_blocked);
    });
}

#[test]
fn established_tcp_sessions_are_cut_where_guarded_and_kept_elsewhere() {
    in_namespace(|| {
        let (lab, isoplan) = start(HostSpec::service_instance());
        let open = |pairs: &[(&str, &str)]| -> Vec<_> {
            let cases = pairs.iter().flat_map(|pair| Family::BOTH.map(|family| (family, pair)));
            cases
                .map(|(family, (from, to))| {
                    let session = lab.connect_session(family, from, to).expect("connect");
                    (format!("{from} -> {to}, {family}"), session)
                })
                .collect()
        };
        let mut cut = open(&[
            ("web", "storage"),
            ("storage", "web"),
            ("web", "storage-behind"),
            ("service", "storage"),
        ]);
        let mut kept =
            open(&[("host", "storage"), ("host", "storage-behind"), ("web", "service"), ("web", "db")]);
        for (_, session) in cut.iter_mut().chain(&mut kept) {
            session.exchange().expect("exchange before apply");
            assert!(session.send_there().is_delivered() && session.send_back().is_delivered());
        }
        isoplan.run(&["apply", "topology.toml", "--yes"]).ok();
        for (name, session) in &mut cut {
            assert_eq!(session.send_there(), Outcome::Blocked, "{name}, there");
            assert_eq!(session.send_back(), Outcome::Blocked, "{name}, back");
        }
        for (name, session) in &mut kept {
            session.skip().expect("read what was sent before");
            session.exchange().unwrap_or_else(|error| panic!("{name}: {error}"));
        }
    });
}
