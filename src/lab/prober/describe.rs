//! What was sent, in words: `172.17.0.2:12001 -> 192.168.57.5:9000, UDP (forged source)`.

use std::fmt::Write as _;
use std::net::{IpAddr, SocketAddr};

use crate::verify::packet::{Body, IpExtra, Packet, Pieces, Tag, To};
use crate::verify::probe::Transport;
use crate::verify::world::Node;

/// A packet of our own.
pub(super) fn packet(packet: &Packet, source_port: u16, sender: &Node) -> String {
    let (what, port) = match packet.body {
        Body::Echo => ("ICMP echo request".to_owned(), None),
        Body::Udp { port } => ("UDP".to_owned(), Some(port)),
        Body::TcpSyn { port } => ("TCP SYN".to_owned(), Some(port)),
        Body::TcpAck { port } => ("TCP ACK of no connection".to_owned(), Some(port)),
        Body::TcpInvalid { port } => ("TCP SYN, FIN and RST".to_owned(), Some(port)),
        Body::Sctp { port } => ("SCTP INIT".to_owned(), Some(port)),
        Body::Protocol(number) => (protocol(number), None),
        Body::Unreachable { source, destination } => {
            let about = ends(source.0, Some(source.1), destination.0, Some(destination.1));
            (format!("ICMP port unreachable about {about}"), None)
        }
    };
    let mut text = ends(packet.source, port.map(|_| source_port), packet.destination, port);
    let _ = write!(text, ", {what}");
    let is_own = sender.addresses.iter().map(ipnet::IpNet::addr).chain(sender.behind_listed.iter().copied());
    if !is_own.chain(sender.behind_unlisted.iter().copied()).any(|own| own == packet.source) {
        text += " (forged source)";
    }
    match packet.extra {
        IpExtra::None => {}
        IpExtra::RecordRoute => text += ", option record route",
        IpExtra::Timestamp => text += ", option timestamp",
        IpExtra::LooseSourceRoute { via } => {
            let _ = write!(text, ", loose source route by {via}");
        }
        IpExtra::StrictSourceRoute { via } => {
            let _ = write!(text, ", strict source route by {via}");
        }
        IpExtra::HopByHop => text += ", hop-by-hop options",
        IpExtra::DestinationOptions => text += ", destination options",
        IpExtra::SegmentRouting { via } => {
            let _ = write!(text, ", segment routing by {via}");
        }
    }
    match packet.pieces {
        Pieces::One => {}
        Pieces::Two => text += ", in two fragments",
        Pieces::Tiny => text += ", in two fragments, the first of 8 bytes",
    }
    for Tag { ethertype, vlan } in &packet.tags {
        let kind = if *ethertype == 0x88a8 { "802.1ad" } else { "802.1Q" };
        let _ = write!(text, ", {kind} tag {vlan}");
    }
    match packet.to {
        To::Host => {}
        To::Broadcast => text += ", to the link's broadcast address",
        To::Group => text += ", to a group of the link",
        To::Mac(mac) => {
            let mac: Vec<String> = mac.iter().map(|byte| format!("{byte:02x}")).collect();
            let _ = write!(text, ", to {} on the link", mac.join(":"));
        }
    }
    text
}

/// A packet of a socket.
pub(super) fn socket(transport: Transport, source: Option<IpAddr>, port: u16, to: SocketAddr) -> String {
    let (what, port, to_port) = match transport {
        Transport::Icmp => ("ICMP echo request", None, None),
        Transport::Udp => ("UDP", Some(port), Some(to.port())),
        Transport::Tcp => ("TCP SYN", Some(port), Some(to.port())),
    };
    match source {
        Some(source) => format!("{}, {what}", ends(source, port, to.ip(), to_port)),
        None => format!("-> {}, {what}", end(to.ip(), to_port)),
    }
}

/// The addresses of a packet.
pub(super) fn ends(source: IpAddr, source_port: Option<u16>, to: IpAddr, port: Option<u16>) -> String {
    format!("{} -> {}", end(source, source_port), end(to, port))
}

fn end(address: IpAddr, port: Option<u16>) -> String {
    port.map_or_else(|| address.to_string(), |port| SocketAddr::new(address, port).to_string())
}

fn protocol(number: u8) -> String {
    match number {
        4 => "IP in IP".to_owned(),
        41 => "IPv6 in IP".to_owned(),
        47 => "GRE".to_owned(),
        50 => "ESP".to_owned(),
        51 => "AH".to_owned(),
        number => format!("IP protocol {number}"),
    }
}
