//! Which of the packets that were traced belong to a probe.

use std::net::{IpAddr, SocketAddr};

use ipnet::IpNet;

use super::event::Header;
use super::story::Packet;
use crate::verify::packet::{Body, IpExtra, Packet as Sent};
use crate::verify::probe::{Probe, Sending, Transport};
use crate::verify::world::World;

/// How the packet of a probe is known among all that were traced.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Wanted {
    /// Any of these; all where it is empty.
    pub sources: Vec<IpAddr>,
    /// Any of these.
    pub destinations: Vec<IpAddr>,
    /// The protocol number, where the header shows it in one place.
    pub protocol: Option<u8>,
    /// The source port, where it is known.
    pub source_port: Option<u16>,
    /// The destination port, where it is known.
    pub destination_port: Option<u16>,
}

impl Wanted {
    /// The packet of a probe as it comes to the host; `sent` is what the observation says of it, with the source
    /// that it had. Late packets of earlier probes go to the same places.
    pub fn of(world: &World, probe: &Probe, sent: &str) -> Self {
        let mut wanted = Self::of_probe(world, probe);
        let source = sent.split(" -> ").next().unwrap_or_default();
        if let Ok(source) = source.parse::<SocketAddr>() {
            (wanted.sources, wanted.source_port) = (vec![source.ip()], Some(source.port()));
        } else if let Ok(source) = source.parse() {
            wanted.sources = vec![source];
        } else if wanted.sources.is_empty() {
            wanted.sources = world.node(probe.sender).addresses.iter().map(IpNet::addr).collect();
        }
        wanted
    }

    fn of_probe(world: &World, probe: &Probe) -> Self {
        let protocol = |transport: Transport, destination: IpAddr| match (transport, destination) {
            (Transport::Udp, _) => 17,
            (Transport::Tcp, _) => 6,
            (Transport::Icmp, IpAddr::V4(_)) => 1,
            (Transport::Icmp, IpAddr::V6(_)) => 58,
        };
        let to = |transport: Transport, destination: IpAddr, port: u16| Self {
            destinations: vec![destination],
            protocol: Some(protocol(transport, destination)),
            destination_port: (transport != Transport::Icmp).then_some(port),
            ..Self::default()
        };
        match &probe.sending {
            Sending::Frame(packet) => Self::of_packet(packet),
            Sending::Socket { protocol, destination, port } => to(*protocol, *destination, *port),
            Sending::Session { destination, port } => to(Transport::Tcp, *destination, *port),
            Sending::Established { protocol: transport, opener, destination, port, .. }
                if *opener == probe.sender =>
            {
                to(*transport, *destination, *port)
            }
            Sending::Established { protocol: transport, destination, port, .. } => Self {
                sources: world.node(probe.sender).addresses.iter().map(IpNet::addr).collect(),
                protocol: Some(protocol(*transport, *destination)),
                source_port: Some(*port),
                ..Self::default()
            },
            Sending::RelatedError { destination, .. } => to(Transport::Icmp, *destination, 0),
            Sending::Relay { proxy, port, .. } => to(Transport::Tcp, *proxy, *port),
        }
    }

    fn of_packet(packet: &Sent) -> Self {
        let mut destinations = vec![packet.destination];
        let mut plain = true;
        match packet.extra {
            IpExtra::LooseSourceRoute { via } | IpExtra::StrictSourceRoute { via } => destinations.push(via),
            IpExtra::SegmentRouting { via } => {
                destinations.push(via);
                plain = false;
            }
            IpExtra::HopByHop | IpExtra::DestinationOptions => plain = false,
            IpExtra::None | IpExtra::RecordRoute | IpExtra::Timestamp => {}
        }
        let (protocol, destination_port) = match packet.body {
            Body::Echo | Body::Unreachable { .. } => (if packet.source.is_ipv4() { 1 } else { 58 }, None),
            Body::Udp { port } => (17, Some(port)),
            Body::TcpSyn { port } | Body::TcpAck { port } | Body::TcpInvalid { port } => (6, Some(port)),
            Body::Sctp { port } => (132, Some(port)),
            Body::Protocol(number) => (number, None),
        };
        Self {
            sources: vec![packet.source],
            destinations,
            // A fragment of IPv6 has a header of its own in front.
            protocol: Some(protocol).filter(|_| plain && (packet.source.is_ipv4())),
            source_port: None,
            destination_port,
        }
    }

    fn matches(&self, header: &Header) -> bool {
        let is = |list: &[IpAddr], address| list.is_empty() || list.contains(&address);
        let port = |wanted: Option<u16>, port: Option<u16>| match (wanted, port) {
            (Some(wanted), Some(port)) => wanted == port,
            _ => true,
        };
        is(&self.sources, header.source)
            && is(&self.destinations, header.destination)
            && self.protocol.is_none_or(|protocol| protocol == header.protocol)
            && port(self.source_port, header.source_port)
            && port(self.destination_port, header.destination_port)
    }
}

/// The packets of a story.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Selected<'p> {
    /// The packet itself.
    pub request: Option<&'p Packet>,
    /// The answer to it.
    pub answer: Option<&'p Packet>,
    /// What the host itself sent back because of it.
    pub refusal: Option<&'p Packet>,
}

/// Finds the packet of a probe and what came back. The first that matches, but for fragments that wait for
/// others: the last one is told as the packet that they make.
pub fn select<'p>(packets: &'p [Packet], wanted: &Wanted) -> Selected<'p> {
    let mut matching = packets.iter().enumerate().filter(|(_, packet)| wanted.matches(packet.first()));
    let request = matching.clone().find(|(_, packet)| !packet.is_held()).or_else(|| matching.next());
    let Some((at, request)) = request else { return Selected::default() };
    let mut selected = Selected { request: Some(request), answer: None, refusal: None };
    for packet in &packets[at + 1..] {
        let is_error = packet.first().is_icmp_error();
        if is_error && packet.is_own() && packet.first().destination == request.first().source {
            selected.refusal.get_or_insert(packet);
        } else if !is_error && request.passages.iter().any(|passage| answers(packet.first(), &passage.header))
        {
            selected.answer.get_or_insert(packet);
        }
    }
    selected
}

/// Whether one is what the receiver of the other would send back.
fn answers(answer: &Header, header: &Header) -> bool {
    let port = |a: Option<u16>, b: Option<u16>| a.is_none() || b.is_none() || a == b;
    (answer.source, answer.destination, answer.protocol)
        == (header.destination, header.source, header.protocol)
        && port(answer.source_port, header.destination_port)
        && port(answer.destination_port, header.source_port)
}
