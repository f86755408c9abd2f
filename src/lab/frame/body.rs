//! What comes behind the IP headers.

use std::net::IpAddr;

use etherparse::icmpv4::DestUnreachableHeader;
use etherparse::icmpv6::DestUnreachableCode;
use etherparse::{
    IcmpEchoHeader, Icmpv4Header, Icmpv4Type, Icmpv6Header, Icmpv6Type, IpNumber, PacketBuilder, TcpHeader,
    UdpHeader,
};

use super::Id;
use super::mark::{self, Mark};
use crate::verify::packet::{Body, Packet, Pieces};

/// The protocol's number, and header and payload. None where there is no such packet.
pub(super) fn bytes(packet: &Packet, id: Id, source_port: u16) -> Option<(u8, Vec<u8>)> {
    let ends = (packet.source, packet.destination);
    let payload = mark::payload(Mark::Probe, id);
    // A segment has to be cut somewhere.
    let data = if packet.pieces == Pieces::One { &[][..] } else { &payload };
    let segment = |port, flags: &dyn Fn(&mut TcpHeader)| {
        let mut header = TcpHeader::new(source_port, port, id.0, 64_240);
        flags(&mut header);
        Some((IpNumber::TCP.0, tcp(ends, header, data)?))
    };
    match packet.body {
        Body::Echo => echo(ends, source_port, &payload),
        Body::Udp { port } => Some((IpNumber::UDP.0, udp(ends, source_port, port, &payload)?)),
        Body::TcpSyn { port } => segment(port, &|tcp| tcp.syn = true),
        Body::TcpAck { port } => segment(port, &|tcp| tcp.ack = true),
        Body::TcpInvalid { port } => segment(port, &|tcp| (tcp.syn, tcp.fin, tcp.rst) = (true, true, true)),
        Body::Sctp { port } => Some((IpNumber::SCTP.0, sctp(source_port, port, id, &payload))),
        Body::Protocol(number) => Some((number, other(number, id, &payload))),
        Body::Unreachable { source, destination } => {
            unreachable(ends, &quoted(source, destination, &mark::payload(Mark::Error, id))?)
        }
    }
}

fn echo(ends: (IpAddr, IpAddr), id: u16, payload: &[u8]) -> Option<(u8, Vec<u8>)> {
    let echo = IcmpEchoHeader { id, seq: 1 };
    icmp(ends, Icmpv4Type::EchoRequest(echo), Icmpv6Type::EchoRequest(echo), payload)
}

fn unreachable(ends: (IpAddr, IpAddr), about: &[u8]) -> Option<(u8, Vec<u8>)> {
    let v4 = Icmpv4Type::DestinationUnreachable(DestUnreachableHeader::Port);
    let v6 = Icmpv6Type::DestinationUnreachable(DestUnreachableCode::Port);
    icmp(ends, v4, v6, about)
}

fn icmp(ends: (IpAddr, IpAddr), v4: Icmpv4Type, v6: Icmpv6Type, payload: &[u8]) -> Option<(u8, Vec<u8>)> {
    match ends {
        (IpAddr::V4(_), IpAddr::V4(_)) => {
            let header = Icmpv4Header::with_checksum(v4, payload).to_bytes();
            Some((IpNumber::ICMP.0, [&header, payload].concat()))
        }
        (IpAddr::V6(source), IpAddr::V6(destination)) => {
            let header = Icmpv6Header::with_checksum(v6, source.octets(), destination.octets(), payload);
            Some((IpNumber::IPV6_ICMP.0, [&header.ok()?.to_bytes(), payload].concat()))
        }
        _ => None,
    }
}

fn udp(ends: (IpAddr, IpAddr), source_port: u16, port: u16, payload: &[u8]) -> Option<Vec<u8>> {
    let mut header = UdpHeader::without_ipv4_checksum(source_port, port, payload.len()).ok()?;
    header.checksum = match ends {
        (IpAddr::V4(source), IpAddr::V4(destination)) => {
            header.calc_checksum_ipv4_raw(source.octets(), destination.octets(), payload)
        }
        (IpAddr::V6(source), IpAddr::V6(destination)) => {
            header.calc_checksum_ipv6_raw(source.octets(), destination.octets(), payload)
        }
        _ => return None,
    }
    .ok()?;
    Some([&header.to_bytes(), payload].concat())
}

fn tcp(ends: (IpAddr, IpAddr), mut header: TcpHeader, payload: &[u8]) -> Option<Vec<u8>> {
    header.checksum = match ends {
        (IpAddr::V4(source), IpAddr::V4(destination)) => {
            header.calc_checksum_ipv4_raw(source.octets(), destination.octets(), payload)
        }
        (IpAddr::V6(source), IpAddr::V6(destination)) => {
            header.calc_checksum_ipv6_raw(source.octets(), destination.octets(), payload)
        }
        _ => return None,
    }
    .ok()?;
    Some([&header.to_bytes(), payload].concat())
}

/// The packet that an error is about: UDP with this payload.
fn quoted(source: (IpAddr, u16), destination: (IpAddr, u16), payload: &[u8]) -> Option<Vec<u8>> {
    const HOPS: u8 = 64;
    let ip = match (source.0, destination.0) {
        (IpAddr::V4(source), IpAddr::V4(destination)) => {
            PacketBuilder::ipv4(source.octets(), destination.octets(), HOPS)
        }
        (IpAddr::V6(source), IpAddr::V6(destination)) => {
            PacketBuilder::ipv6(source.octets(), destination.octets(), HOPS)
        }
        _ => return None,
    };
    let mut bytes = Vec::new();
    ip.udp(source.1, destination.1).write(&mut bytes, payload).ok()?;
    Some(bytes)
}

/// A packet of another protocol, with the least of a header that makes conntrack take it for one.
fn other(number: u8, id: Id, payload: &[u8]) -> Vec<u8> {
    match IpNumber(number) {
        // RFC 2784: no flags, and the type of what is inside.
        IpNumber::GRE => [&[0, 0], &super::SENTINEL_ETHERTYPE.to_be_bytes()[..], payload].concat(),
        // RFC 4303: security parameters index and sequence number.
        IpNumber::ENCAPSULATING_SECURITY_PAYLOAD => [&id.0.to_be_bytes(), &[0, 0, 0, 1], payload].concat(),
        _ => payload.to_vec(),
    }
}

/// An INIT with a padding parameter: RFC 9260, sections 3.1 and 3.3.2; RFC 4820, section 4.
fn sctp(source_port: u16, port: u16, id: Id, payload: &[u8]) -> Vec<u8> {
    const INIT: u8 = 1;
    const PADDING: u16 = 0x8005;
    let length = |bytes: usize| u16::try_from(bytes).unwrap_or(u16::MAX).to_be_bytes();
    let streams = 1_u16.to_be_bytes();
    let window = 65_536_u32.to_be_bytes();
    let tag = id.0.to_be_bytes();
    let parameter = [&PADDING.to_be_bytes(), &length(4 + payload.len()), payload].concat();
    let chunk = [
        &[INIT, 0],
        &length(20 + parameter.len())[..],
        &tag,
        &window,
        &streams,
        &streams,
        &tag,
        parameter.as_slice(),
    ]
    .concat();
    // A verification tag of 0 goes with an INIT, section 8.5.1.
    let ports = [source_port.to_be_bytes(), port.to_be_bytes()].concat();
    let without = [ports.as_slice(), &[0; 8], &chunk].concat();
    // The one checksum on the wire that is little endian, appendix A.
    let checksum = crc32c(&without).to_le_bytes();
    [ports.as_slice(), &[0; 4], &checksum, &chunk].concat()
}

/// RFC 9260, appendix A: polynomial 0x1EDC6F41, reflected.
pub(super) fn crc32c(bytes: &[u8]) -> u32 {
    const REFLECTED: u32 = 0x82f6_3b78;
    let sum = bytes.iter().fold(u32::MAX, |sum, byte| {
        (0..8)
            .fold(sum ^ u32::from(*byte), |sum, _| if sum & 1 == 1 { sum >> 1 ^ REFLECTED } else { sum >> 1 })
    });
    !sum
}
