//! A [`Packet`] as bytes.
//!
//! Everything is written here, from the link's header on, so that nothing of it is the kernel's choice. Lengths
//! and checksums are right: a packet that is dropped is dropped for what it is, not for being broken.

use std::net::IpAddr;

use crate::verify::packet::{Packet, Pieces, Tag, To};
use crate::verify::world::Mac;

mod body;
mod ip;
pub mod mark;
#[cfg(test)]
mod tests;

/// What every packet of a probe carries, so that it is known wherever it is seen: in the payload, or as the
/// sequence number of a TCP segment without payload. Survives NAT.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Id(pub u32);

/// IEEE's local experimental EtherType 1: what sentinels have. No kernel takes it for anything.
pub const SENTINEL_ETHERTYPE: u16 = 0x88b5;

/// Everyone on the link.
pub const BROADCAST: Mac = [0xff; 6];

/// The least that an Ethernet frame has, without its check sequence: IEEE 802.3, clause 3.2.7.
const FRAME_MIN: usize = 60;

/// The first piece of [`Pieces::Tiny`]: the least that a fragment can hold, RFC 791, section 3.2.
const TINY: usize = 8;

/// The frames of a packet, in the order of sending; more than one where it is cut. None where there is no such
/// packet: addresses of two families, or an option that the family does not have.
///
/// `from` is the sender's link-layer address, `host` the host's on the same link. `source_port` is the identifier
/// of an echo request.
pub fn frames(packet: &Packet, id: Id, from: Mac, host: Mac, source_port: u16) -> Vec<Vec<u8>> {
    let Some(header) = ip::Header::of(packet, id) else { return Vec::new() };
    let Some((protocol, whole)) = body::bytes(packet, id, source_port) else { return Vec::new() };
    let link = link_header(packet, from, host);
    let cut = match packet.pieces {
        Pieces::One => None,
        // Both have a mark: the marks are at the end.
        Pieces::Two => Some(whole.len().saturating_sub(mark::LENGTH * mark::TIMES / 2) / 8 * 8),
        Pieces::Tiny => Some(TINY),
    };
    let frame = |piece: ip::Piece, bytes: &[u8]| pad([&link, &header.bytes(protocol, piece, bytes)]);
    match cut {
        Some(at) if at < whole.len() => {
            let (head, tail) = whole.split_at(at);
            vec![
                frame(ip::Piece { offset: 0, is_last: false }, head),
                frame(ip::Piece { offset: at, is_last: true }, tail),
            ]
        }
        _ => vec![frame(ip::Piece::WHOLE, &whole)],
    }
}

/// A sentinel: no kernel answers it or passes it on, but for a bridge.
pub fn sentinel(to: Mac, from: Mac, id: Id) -> Vec<u8> {
    let ethertype = SENTINEL_ETHERTYPE.to_be_bytes();
    pad([&[&to[..], &from, &ethertype].concat(), &mark::payload(mark::Mark::Sentinel, id)])
}

/// Destination, source, tags and EtherType.
fn link_header(packet: &Packet, from: Mac, host: Mac) -> Vec<u8> {
    let to = match packet.to {
        To::Host => host,
        To::Broadcast => BROADCAST,
        To::Group => group(packet.destination),
        To::Mac(mac) => mac,
    };
    let ethertype =
        if packet.source.is_ipv4() { etherparse::EtherType::IPV4 } else { etherparse::EtherType::IPV6 };
    let mut bytes = [to, from].concat();
    for Tag { ethertype, vlan } in &packet.tags {
        // Priority 0 and not drop eligible: the upper four bits, IEEE 802.1Q, clause 9.6.
        bytes.extend(ethertype.to_be_bytes());
        bytes.extend((vlan & 0x0fff).to_be_bytes());
    }
    bytes.extend(ethertype.0.to_be_bytes());
    bytes
}

/// The link-layer group of an address; everyone, where the address is no group.
fn group(address: IpAddr) -> Mac {
    match address {
        // RFC 1112, section 6.4: the low 23 bits.
        IpAddr::V4(address) if address.is_multicast() => {
            let [_, b, c, d] = address.octets();
            [0x01, 0x00, 0x5e, b & 0x7f, c, d]
        }
        // RFC 2464, section 7: the low 32 bits.
        IpAddr::V6(address) if address.is_multicast() => {
            let [.., a, b, c, d] = address.octets();
            [0x33, 0x33, a, b, c, d]
        }
        _ => BROADCAST,
    }
}

fn pad(parts: [&[u8]; 2]) -> Vec<u8> {
    let mut bytes = parts.concat();
    bytes.resize(bytes.len().max(FRAME_MIN), 0);
    bytes
}
