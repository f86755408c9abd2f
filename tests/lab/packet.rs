//! Building packets whose source is not the sender's own, and sending them.

use std::io;
use std::net::{IpAddr, SocketAddr};

use etherparse::PacketBuilder;
use socket2::{Domain, Protocol, Socket, Type};

use super::node::Node;

/// The protocol of a probe.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Kind {
    Icmp,
    Udp,
    Tcp,
}

/// A packet to be sent with a header of our own.
#[derive(Debug, Clone)]
pub(crate) struct Forged<'a> {
    pub(crate) kind: Kind,
    pub(crate) source: IpAddr,
    pub(crate) source_port: u16,
    pub(crate) destination: IpAddr,
    pub(crate) destination_port: u16,
    pub(crate) payload: &'a [u8],
}

impl Forged<'_> {
    /// The whole packet from its IP header on. TCP is a SYN.
    pub(crate) fn to_bytes(&self) -> io::Result<Vec<u8>> {
        const HOPS: u8 = 64;
        let ip = match (self.source, self.destination) {
            (IpAddr::V4(source), IpAddr::V4(destination)) => {
                PacketBuilder::ipv4(source.octets(), destination.octets(), HOPS)
            }
            (IpAddr::V6(source), IpAddr::V6(destination)) => {
                PacketBuilder::ipv6(source.octets(), destination.octets(), HOPS)
            }
            _ => return Err(io::Error::other("source and destination are of two families")),
        };
        let mut bytes = Vec::new();
        let built = match self.kind {
            Kind::Udp => ip.udp(self.source_port, self.destination_port).write(&mut bytes, self.payload),
            Kind::Tcp => {
                ip.tcp(self.source_port, self.destination_port, 1, 64_240).syn().write(&mut bytes, &[])
            }
            Kind::Icmp if self.source.is_ipv4() => {
                ip.icmpv4_echo_request(self.source_port, 1).write(&mut bytes, self.payload)
            }
            Kind::Icmp => ip.icmpv6_echo_request(self.source_port, 1).write(&mut bytes, self.payload),
        };
        built.map_err(io::Error::other)?;
        Ok(bytes)
    }

    /// Sends it from a node.
    pub(crate) fn send(&self, node: &Node) -> io::Result<()> {
        send_bytes(node, self.destination, &self.to_bytes()?)
    }
}

/// Sends a whole packet, IP header and all. Over IPv4 the kernel writes its length and checksum.
pub(crate) fn send_bytes(node: &Node, destination: IpAddr, bytes: &[u8]) -> io::Result<()> {
    let to = SocketAddr::new(destination, 0);
    // IPPROTO_RAW: the IP header is ours, raw(7).
    let socket = node.enter(|| Socket::new(Domain::for_address(to), Type::RAW, Some(Protocol::from(255))))?;
    socket.send_to(bytes, &to.into()).map(drop)
}

/// Sends an ICMP echo request from the node's own address.
pub(crate) fn send_echo(node: &Node, destination: IpAddr, identifier: u16, payload: &[u8]) -> io::Result<()> {
    let to = SocketAddr::new(destination, 0);
    let protocol = if destination.is_ipv4() { Protocol::ICMPV4 } else { Protocol::ICMPV6 };
    let socket = node.enter(|| Socket::new(Domain::for_address(to), Type::RAW, Some(protocol)))?;
    // For ICMPv6 the kernel writes the checksum, RFC 3542, section 3.1.
    let bytes = if destination.is_ipv4() {
        let echo = etherparse::IcmpEchoHeader { id: identifier, seq: 1 };
        let mut bytes =
            etherparse::Icmpv4Header::with_checksum(etherparse::Icmpv4Type::EchoRequest(echo), payload)
                .to_bytes()
                .to_vec();
        bytes.extend_from_slice(payload);
        bytes
    } else {
        const ECHO_REQUEST: u8 = 128;
        let [high, low] = identifier.to_be_bytes();
        let mut bytes = vec![ECHO_REQUEST, 0, 0, 0, high, low, 0, 1];
        bytes.extend_from_slice(payload);
        bytes
    };
    socket.send_to(&bytes, &to.into()).map(drop)
}
