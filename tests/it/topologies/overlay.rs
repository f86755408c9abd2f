//! A VXLAN network between two hosts, routed by one of them.

use super::{
    Case, Closed, apply, between, cases, check, check_blocked, check_none, closed, closed_by_family, each,
    each_to, from_source, ip, is_answered, of, packet, program, udp,
};
use crate::lab::build::custom::mac_text;
use crate::lab::packet::{Forged, Kind};
use crate::lab::{Family, Lab, in_namespace};

const TOPOLOGY: &str = include_str!("../../../fixtures/overlay/topology.toml");

/// IANA's port of VXLAN, RFC 7348.
const VXLAN: u16 = 4789;
/// The host's hardware address in the overlay, and the instance's at the other end of it.
const GATEWAY: [u8; 6] = [2, 0, 0, 0x42, 0, 1];
const INSTANCE: [u8; 6] = [2, 0, 0, 0x42, 0, 5];

fn host() -> std::io::Result<Lab> {
    let mut lab = Lab::start_empty()?;
    lab.add_bridge("docker0", &["172.17.0.1/16", "fd17::1/64"])?;
    lab.add_container("web", "docker0", &["172.17.0.2/16", "fd17::2/64"])?;
    // Lets a container send from the host's own address, which the kernel refuses by default over IPv4.
    lab.host().sysctl("net/ipv4/conf/docker0/accept_local", "1")?;
    let peer = ["192.168.56.5/24", "fd56::5/64"];
    lab.add_nic("eth0", "peer", &["192.168.56.10/24", "fd56::10/64"], &peer)?;
    let storage = ["192.168.57.5/24", "fd57::5/64"];
    lab.add_nic("eth1", "storage", &["192.168.57.10/24", "fd57::10/64"], &storage)?;
    // The other host bridges an instance onto the overlay.
    lab.add_unplugged("instance")?;
    let vxlan = |mac, local, remote| {
        let mac = mac_text(mac);
        format!(
            "link add vxlan42 address {mac} type vxlan id 42 dev eth0 local {local} remote {remote} \
             dstport {VXLAN}\n"
        )
    };
    lab.node("peer").ip(&format!(
        "{}link add br42 type bridge mcast_snooping 0\nlink set br42 addrgenmode none up\n\
         link set vxlan42 addrgenmode none master br42 up\n\
         link add v-instance type veth peer name eth0 address {} netns instance\n\
         link set v-instance addrgenmode none master br42 up\n",
        vxlan([2, 0, 0, 0x42, 0, 2], "192.168.56.5", "192.168.56.10"),
        mac_text(INSTANCE),
    ))?;
    lab.host().ip(&format!(
        "{}link set vxlan42 addrgenmode none up\n",
        vxlan(GATEWAY, "192.168.56.10", "192.168.56.5")
    ))?;
    lab.add_interfaces("vxlan42", &["10.42.0.1/16", "fd42::1/64"])?;
    lab.node("instance").ip("link set lo up\nlink set eth0 addrgenmode none up\n")?;
    lab.settle_in("instance", "vxlan42", &["10.42.0.5/16", "fd42::5/64"])?;
    Ok(lab)
}

/// A packet of the overlay, encapsulated by a node that is no part of it and sent to an address.
fn injected<'a>(
    lab: &'a Lab,
    (from, at): (&str, &str),
    source: &str,
    outer: &str,
    (hardware, inner): ([u8; 6], &str),
) -> Case<'a> {
    let (source, outer, inner) = (ip(source), ip(outer), ip(inner));
    let family = Family::of(inner);
    let what = format!("VXLAN by {outer} from {source}, {inner} inside");
    packet(lab, &what, (from, at), family, move |from, payload| {
        let packet = Forged {
            kind: Kind::Udp,
            source: ip(of(family, "10.42.0.66", "fd42::66")),
            source_port: 4000,
            destination: inner,
            destination_port: 9000,
            payload,
        };
        // Flags with a valid network identifier, and the identifier, RFC 7348, section 5.
        let header = [8, 0, 0, 0, 0, 0, 42, 0];
        let ether_type: u16 = if inner.is_ipv4() { 0x0800 } else { 0x86dd };
        let frame = [&hardware[..], &[2, 0, 0, 0x42, 0, 0x66], &ether_type.to_be_bytes()].concat();
        let payload = [&header[..], &frame[..], &packet.to_bytes()?[..]].concat();
        let outer = Forged {
            kind: Kind::Udp,
            source,
            source_port: 4000,
            destination: outer,
            destination_port: VXLAN,
            payload: &payload,
        };
        outer.send(from)
    })
}

#[test]
fn the_overlay_works_and_nobody_gets_into_it() {
    in_namespace(|| {
        let lab = host().expect("build the lab");
        let isoplan = program(TOPOLOGY);
        let inside = |family| of(family, "10.42.0.5", "fd42::5");
        let at_host = |family| of(family, "10.42.0.1", "fd42::1");
        let storage = |family| of(family, "192.168.57.5", "fd57::5");

        // To the other end, with the container's address and with the host's.
        let mut to_remote = Vec::new();
        // To this end, by any address of the host; into the host, and through it.
        let mut to_own = Vec::new();
        for family in Family::BOTH {
            for source in ["172.17.0.2", "192.168.56.10"] {
                let inner = (INSTANCE, inside(family));
                to_remote.push(injected(&lab, ("web", "instance"), source, "192.168.56.5", inner));
            }
            for (from, source, outer) in [
                ("web", "172.17.0.2", "192.168.56.10"),
                ("web", "172.17.0.2", "172.17.0.1"),
                ("web", "192.168.56.5", "192.168.56.10"),
                ("storage", "192.168.57.5", "192.168.57.10"),
                ("storage", "192.168.56.5", "192.168.56.10"),
            ] {
                to_own.push(injected(&lab, (from, "host"), source, outer, (GATEWAY, at_host(family))));
                let inner = (GATEWAY, storage(family));
                to_own.push(injected(&lab, (from, "storage"), source, outer, inner));
            }
        }
        // With the overlay over IPv6, had it one.
        to_remote.extend(cases([udp(&lab, "web", "peer", "fd56::5", VXLAN).one_way()]));
        // The answer of a kernel without a server there is an error, and no packet to wait for.
        let mut shut = vec![
            Closed { rule: "N3", cases: to_remote },
            Closed { rule: "I2", cases: to_own },
            closed("F3", between(&lab, &[("instance", "storage"), ("web", "storage"), ("peer", "storage")])),
            closed("F4", between(&lab, &[("storage", "instance")])),
            closed("R2", between(&lab, &[("instance", "web")])),
            closed("T8", between(&lab, &[("peer", "web")])),
        ];
        shut.extend(closed_by_family(["H1", "H2"], |family| {
            each_to(&lab, "instance", "host", of(family, "192.168.57.10", "fd57::10"))
        }));
        let mut open = cases(between(
            &lab,
            &[("host", "instance"), ("host", "peer"), ("host", "storage"), ("web", "instance")],
        ));
        for family in Family::BOTH {
            open.extend(cases(each_to(&lab, "instance", "host", at_host(family))));
            open.extend(cases(each_to(&lab, "instance", "host", of(family, "192.168.56.10", "fd56::10"))));
        }
        check_none(&shut);
        check("without isoplan", &open, is_answered);
        apply(&isoplan);
        check_blocked(&lab, &shut);
        check("after apply", &open, is_answered);
        for (family, source) in Family::BOTH.into_iter().zip(["172.17.0.2", "fd17::2"]) {
            check("into the overlay", &cases(each(&lab, family, "web", "instance")), from_source(source));
        }
    });
}
