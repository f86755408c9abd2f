//! What happens to a host after the rules came: NICs and routes that change, and packets that bring their
//! own route.

use etherparse::{IpNumber, Ipv4Header, Ipv4Options, UdpHeader};
use socket2::{Domain, Protocol, Socket, Type};

use super::{
    Case, Closed, apply, between, cases, check, check_blocked, check_none, closed, closed_by_family,
    counters, each, each_to, host_ip, ip, is_answered, of, packet, program, remove,
};
use crate::lab::build::custom::{Cable, mac_text};
use crate::lab::probe::Probe;
use crate::lab::{Family, Lab, in_namespace};

const TOPOLOGY: &str = include_str!("../../../fixtures/service-instance/topology.toml");

const ETH1: Cable<'_> = Cable { link: "eth1", bridge: None, node: "storage" };

fn host() -> std::io::Result<Lab> {
    let mut lab = Lab::start_empty()?;
    lab.add_bridge("docker0", &["172.17.0.1/16", "fd17::1/64"])?;
    lab.add_container("web", "docker0", &["172.17.0.2/16", "fd17::2/64"])?;
    let service = ["192.168.56.5/24", "fd56::5/64"];
    lab.add_nic("eth0", "service", &["192.168.56.10/24", "fd56::10/64"], &service)?;
    lab.add_nic("eth1", "storage", &["192.168.57.10/24", "fd57::10/64"], &["192.168.57.5/24", "fd57::5/64"])?;
    lab.host().ip("route add default via 192.168.56.5\nroute add default via fd56::5\n")?;
    Ok(lab)
}

fn own(family: Family) -> &'static str {
    of(family, "192.168.57.10", "fd57::10")
}

/// What works whatever happened.
fn open(lab: &Lab) -> Vec<Case<'_>> {
    cases(between(lab, &[("host", "storage"), ("host", "service"), ("web", "service")]))
}

/// Packets of one kind of each, to an address or from one that no NIC of the file has.
fn elsewhere(family: Family) -> std::net::IpAddr {
    ip(of(family, "198.51.100.9", "2001:db8:9::9"))
}

fn to_elsewhere<'a>(lab: &'a Lab, from: &str, at: &str) -> Vec<Probe<'a>> {
    let probes = |family| {
        let probes = each(lab, family, from, at).into_iter();
        probes.map(move |probe| probe.addressed_to(elsewhere(family)))
    };
    Family::BOTH.into_iter().flat_map(probes).collect()
}

fn from_elsewhere<'a>(lab: &'a Lab, from: &str, at: &str) -> Vec<Probe<'a>> {
    let probes = |family| {
        let probes = each(lab, family, from, at).into_iter();
        probes.map(move |probe| probe.forging(elsewhere(family)))
    };
    Family::BOTH.into_iter().flat_map(probes).collect()
}

/// Gives the storage NIC another name, as udev does, and what the kernel took away meanwhile.
fn rename(lab: &mut Lab) {
    host_ip(
        lab,
        "link set eth1 down\nlink set eth1 name stor1\nlink set stor1 up\n\
         address add fd57::10/64 dev stor1 nodad\n\
         address add 10.55.0.10/24 dev stor1\naddress add fd55::10/64 dev stor1 nodad\n\
         route add 198.51.100.0/24 via 192.168.57.5\nroute add 2001:db8:9::/64 via fd57::5\n",
    );
    let own = "address add 10.55.0.5/24 dev eth0\naddress add fd55::5/64 dev eth0 nodad\n";
    lab.node("storage").ip(own).expect("add addresses");
    // A new connection to the storage address does not come in by a link that nobody knows. That one can be
    // pinged, so that what was sent before is known to have passed.
    for partner in ["10.55.0.10", "fd55::10"] {
        lab.set_partner("storage", ip(partner));
        lab.wait_for_echo(lab.node("storage"), ip(partner)).expect("the link comes up");
    }
}

#[test]
fn a_storage_nic_with_another_name_stays_closed() {
    in_namespace(|| {
        let mut lab = host().expect("build the lab");
        let isoplan = program(TOPOLOGY);
        apply(&isoplan);
        rename(&mut lab);
        let lab = lab;
        // Whether it can be asked for is another test.
        let known = format!(
            "neigh replace fd57::5 lladdr {} dev stor1 nud permanent\n",
            mac_text(lab.mac("storage"))
        );
        host_ip(&lab, &known);
        let mut shut = Vec::new();
        shut.extend(closed_by_family(["F5", "F6"], |family| {
            [each(&lab, family, "web", "storage"), each(&lab, family, "service", "storage")].concat()
        }));
        shut.extend(closed_by_family(["F7", "F8"], |family| {
            let probes = ["web", "service"].into_iter().flat_map(|to| each(&lab, family, "storage", to));
            // Its other address would be the first choice on the way to the host.
            let storage = ip(of(family, "192.168.57.5", "fd57::5"));
            probes.map(|probe| probe.forging(storage)).collect::<Vec<_>>()
        }));
        shut.extend(closed_by_family(["H1", "H2"], |family| each_to(&lab, "web", "host", own(family))));
        shut.extend(closed_by_family(["I6", "I7"], |family| {
            [each_to(&lab, "service", "host", own(family)), each_to(&lab, "storage", "host", own(family))]
                .concat()
        }));
        // A network behind it that the file does not list.
        shut.push(closed("N8", to_elsewhere(&lab, "web", "storage")));
        shut.push(closed("T8", from_elsewhere(&lab, "storage", "web")));
        check_blocked(&lab, &shut);
        check("renamed", &open(&lab), is_answered);
        remove(&isoplan);
        check_none(&shut);
    });
}

/// The host has to ask who has the storage server's address. Over IPv6 the answer is a packet to its own
/// storage address, by a link that the file does not know, and it belongs to no connection.
#[test]
fn the_host_finds_its_storage_behind_a_nic_with_another_name() {
    in_namespace(|| {
        let mut lab = host().expect("build the lab");
        let isoplan = program(TOPOLOGY);
        apply(&isoplan);
        rename(&mut lab);
        for (family, storage) in [(Family::V4, "192.168.57.5"), (Family::V6, "fd57::5")] {
            let before = counters(lab.host()).expect("read the counters");
            host_ip(&lab, "neigh flush all\n");
            let found = lab.wait_for_echo(lab.host(), ip(storage));
            let after = counters(lab.host()).expect("read the counters");
            let rose: Vec<_> = after.iter().filter(|(id, count)| before.get(*id) != Some(count)).collect();
            assert!(found.is_ok(), "{family}: the host does not reach its storage; dropped by {rose:?}");
        }
    });
}

#[test]
fn a_storage_nic_that_goes_and_comes_back_stays_closed() {
    in_namespace(|| {
        let mut lab = host().expect("build the lab");
        let isoplan = program(TOPOLOGY);
        apply(&isoplan);
        host_ip(&lab, "link del eth1\n");
        {
            // The packet leaves by the default route.
            let storage = |family| of(family, "192.168.57.5", "fd57::5");
            let gone =
                closed_by_family(["F5", "F6"], |family| each_to(&lab, "web", "service", storage(family)));
            check_blocked(&lab, &gone);
            remove(&isoplan);
            check_none(&gone);
            apply(&isoplan);
        }
        lab.plug(ETH1).expect("make the NIC again");
        host_ip(&lab, "address add 192.168.57.10/24 dev eth1\naddress add fd57::10/64 dev eth1 nodad\n");
        lab.node("storage")
            .ip("address add 192.168.57.5/24 dev eth0\naddress add fd57::5/64 dev eth0 nodad\n\
                 route add default via 192.168.57.10\nroute add default via fd57::10\n")
            .expect("give storage its addresses again");
        lab.wait_for_echo(lab.host(), ip("192.168.57.5")).expect("the link comes up");
        let mut shut = vec![
            closed("F3", between(&lab, &[("web", "storage"), ("service", "storage")])),
            closed("F4", between(&lab, &[("storage", "web"), ("storage", "service")])),
        ];
        shut.extend(closed_by_family(["H1", "H2"], |family| each_to(&lab, "web", "host", own(family))));
        shut.extend(closed_by_family(["I6", "I7"], |family| each_to(&lab, "service", "host", own(family))));
        let from_storage =
            cases(Family::BOTH.into_iter().flat_map(|family| each_to(&lab, "storage", "host", own(family))));
        check_blocked(&lab, &shut);
        check("made again", &open(&lab), is_answered);
        check("made again", &from_storage, is_answered);
        remove(&isoplan);
        check_none(&shut);
    });
}

#[test]
fn a_default_route_over_storage_opens_nothing() {
    in_namespace(|| {
        let lab = host().expect("build the lab");
        let isoplan = program(TOPOLOGY);
        apply(&isoplan);
        host_ip(&lab, "route replace default via 192.168.57.5\nroute replace default via fd57::5\n");
        let shut = [
            closed("N10", to_elsewhere(&lab, "web", "storage")),
            closed("F26", to_elsewhere(&lab, "service", "storage")),
            closed("F3", between(&lab, &[("web", "storage")])),
            closed("F27", from_elsewhere(&lab, "storage", "web")),
        ];
        check_blocked(&lab, &shut);
        check("with another default route", &open(&lab), is_answered);
        remove(&isoplan);
        check_none(&shut);
    });
}

/// A packet to an address of the host that names the one to go to from there, RFC 791, section 3.1.
fn source_routed<'a>(
    lab: &'a Lab,
    (from, at): (&str, &str),
    [source, by, to]: [[u8; 4]; 3],
    option: u8,
) -> Case<'a> {
    let what = format!("IP option {option} by {by:?} to {to:?}");
    packet(lab, &what, (from, at), Family::V4, move |from, payload| {
        // Type, length, pointer to the next address, the address, and an end.
        let [a, b, c, d] = to;
        let options = [option, 7, 4, a, b, c, d, 0];
        let length = u16::try_from(UdpHeader::LEN + payload.len()).expect("a short packet");
        let mut ip = Ipv4Header::new(length, 64, IpNumber::UDP, source, by).expect("a short packet");
        ip.options = Ipv4Options::from(options);
        ip.header_checksum = ip.calc_header_checksum();
        let udp = UdpHeader { source_port: 4000, destination_port: 9000, length, checksum: 0 };
        let bytes = [&ip.to_bytes()[..], &udp.to_bytes()[..], payload].concat();
        // IPPROTO_RAW: the IP header is ours, raw(7).
        let socket = from.enter(|| Socket::new(Domain::IPV4, Type::RAW, Some(Protocol::from(255))))?;
        socket.send_to(&bytes, &std::net::SocketAddr::from((by, 0)).into()).map(drop)
    })
}

#[test]
fn a_packet_with_a_route_of_its_own_is_dropped() {
    in_namespace(|| {
        let lab = host().expect("build the lab");
        let isoplan = program(TOPOLOGY);
        for link in ["all", "docker0", "eth0", "eth1"] {
            let key = format!("net/ipv4/conf/{link}/accept_source_route");
            lab.host().sysctl(&key, "1").expect("write a sysctl");
        }
        const WEB: [u8; 4] = [172, 17, 0, 2];
        const GATEWAY: [u8; 4] = [172, 17, 0, 1];
        const SERVICE: [u8; 4] = [192, 168, 56, 5];
        const STORAGE: [u8; 4] = [192, 168, 57, 5];
        let routed = |option| {
            vec![
                source_routed(&lab, ("web", "storage"), [WEB, GATEWAY, STORAGE], option),
                source_routed(&lab, ("web", "service"), [WEB, GATEWAY, SERVICE], option),
                source_routed(&lab, ("service", "storage"), [SERVICE, [192, 168, 56, 10], STORAGE], option),
                source_routed(&lab, ("storage", "web"), [STORAGE, [192, 168, 57, 10], WEB], option),
            ]
        };
        // Loose and strict.
        let shut = [Closed { rule: "F1", cases: routed(131) }, Closed { rule: "F2", cases: routed(137) }];
        check_none(&shut);
        apply(&isoplan);
        check_blocked(&lab, &shut);
        check("after apply", &open(&lab), is_answered);
    });
}
