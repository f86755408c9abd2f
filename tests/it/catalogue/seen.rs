//! What the host sees of a probe: the packet at its hooks, worked out from the layout of the lab.

use std::net::IpAddr;

use isoplan::intent::IpFamily;
use isoplan::verify::packet::{Body, IpExtra, Packet as Frame, To};
use isoplan::verify::probe::{Probe, Sending, Transport};
use isoplan::verify::world::{Node, NodeRole, Place, World};

use super::ends;
use super::rules::Packet;

/// The ports of the host's bridge that a frame passes, where it is bridged.
pub(super) fn bridged(probe: &Probe, world: &World) -> Option<[String; 2]> {
    let (from, to) = (world.node(probe.sender), world.node(probe.vantage[0]));
    let is_by_host = matches!(&probe.sending, Sending::Frame(Frame { to: To::Host, .. }));
    if probe.sender == Place::HOST
        || probe.vantage[0] == Place::HOST
        || from.host_link != to.host_link
        || is_by_host
    {
        return None;
    }
    let port = |node: &Node| match node.role {
        NodeRole::Upstream => None,
        NodeRole::Server(nic) | NodeRole::Router(nic) => world.nic_link(nic).map(|link| link.name.clone()),
        _ => Some(node.port.1.clone()),
    };
    Some([port(from)?, port(to)?])
}

/// What the host sees of a probe.
pub(super) fn packet(probe: &Probe, world: &World) -> Packet {
    const EPHEMERAL: u16 = 40_000;
    let sender = world.node(probe.sender);
    let at = probe.vantage[0];
    let link = |place: Place| world.host_links[world.node(place).host_link].name.clone();
    let local = world.host_links.iter().flat_map(|link| link.addresses.iter().map(move |net| (link, net)));
    let of_host = |address: IpAddr| {
        local
            .clone()
            .find(|(_, net)| net.addr() == address || net.broadcast() == address)
            .map(|(link, _)| link.name.clone())
    };
    let (sent_to, forged) = ends(probe);
    let own = || sender.address(probe.family);
    let (iif, oif) = if probe.sender == Place::HOST {
        (String::new(), link(at))
    } else {
        (link(probe.sender), if at == Place::HOST { String::new() } else { link(at) })
    };
    let icmp = if probe.family == IpFamily::V4 { 1 } else { 58 };
    let of = |transport| match transport {
        Transport::Icmp => icmp,
        Transport::Udp => 17,
        Transport::Tcp => 6,
    };
    let (protocol, port) = match &probe.sending {
        Sending::Frame(packet) => match packet.body {
            Body::Echo | Body::Unreachable { .. } => (icmp, 0),
            Body::Udp { port } => (17, port),
            Body::TcpSyn { port } | Body::TcpAck { port } | Body::TcpInvalid { port } => (6, port),
            Body::Sctp { port } => (132, port),
            Body::Protocol(number) => (number, 0),
        },
        Sending::Socket { protocol, port, .. } | Sending::Established { protocol, port, .. } => {
            (of(*protocol), *port)
        }
        Sending::Session { port, .. } | Sending::Relay { port, .. } => (6, *port),
        Sending::RelatedError { .. } => (icmp, 0),
    };
    let mut packet = Packet {
        iif,
        oif,
        source: forged.or_else(own).or_else(|| host_address(world, at, probe.family)).unwrap_or(sent_to),
        destination: sent_to,
        protocol,
        source_port: EPHEMERAL,
        destination_port: port,
        is_reply: false,
        is_published: false,
        option: None,
        is_tagged: false,
        type_on_iif: 1,
        stays: false,
    };
    if probe.sender == Place::HOST {
        packet.source = host_address(world, at, probe.family).expect("the host has an address there");
    }
    if let Sending::Established { opener, listener, .. } = &probe.sending
        && probe.sender == *listener
    {
        packet.is_reply = true;
        (packet.source, packet.destination) =
            (sent_to, world.node(*opener).address(probe.family).expect("it has opened a flow"));
        (packet.source_port, packet.destination_port) = (port, EPHEMERAL);
    }
    // A published port: what the packet is behind the DNAT.
    let published =
        world.published.iter().find(|published| published.container == at && published.host_port == port);
    if let (Some(published), Some(_)) = (published, of_host(sent_to)) {
        packet.is_published = true;
        packet.destination = world.node(at).address(probe.family).expect("a container with a published port");
        packet.destination_port = published.port;
    }
    if let Sending::Frame(frame) = &probe.sending {
        packet.is_tagged = !frame.tags.is_empty();
        packet.option = match frame.extra {
            IpExtra::LooseSourceRoute { .. } => Some(131),
            IpExtra::StrictSourceRoute { .. } => Some(137),
            _ => None,
        };
    }
    packet.stays = packet.iif == packet.oif;
    // RTN_LOCAL, RTN_BROADCAST, RTN_MULTICAST; else RTN_UNICAST.
    packet.type_on_iif = match packet.destination {
        address if address.is_multicast() => 5,
        address if of_host(address).as_ref() != Some(&packet.iif) => 1,
        address if local.clone().any(|(_, net)| net.addr() == address) => 2,
        _ => 3,
    };
    packet
}

/// With which address the host sends to a node.
pub(super) fn host_address(world: &World, to: Place, family: IpFamily) -> Option<IpAddr> {
    world.host_links[world.node(to).host_link].address(family)
}
