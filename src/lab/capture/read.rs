//! A received packet, as far as it matters. Nothing in it is trusted: what is cut short or makes no sense ends
//! the reading, and what was read until then is kept.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::super::frame::mark::{self, Mark};
use super::super::frame::{Id, SENTINEL_ETHERTYPE};
use crate::verify::world::Mac;

/// EtherTypes and IP protocols of IANA's registries.
const IPV4: u16 = 0x0800;
const IPV6: u16 = 0x86dd;
const VLAN: [u16; 2] = [0x8100, 0x88a8];
const ICMP: u8 = 1;
const TCP: u8 = 6;
const UDP: u8 = 17;
const ICMPV6: u8 = 58;
/// IPv6 extension headers.
const HOP_BY_HOP: u8 = 0;
const ROUTING: u8 = 43;
const FRAGMENT: u8 = 44;
const AUTHENTICATION: u8 = 51;
const DESTINATION_OPTIONS: u8 = 60;

/// What a frame or a packet is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Read {
    /// A sentinel, on the link or in a packet.
    Sentinel(Id),
    /// An IP packet.
    Packet(Seen),
}

/// What is known of an IP packet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Seen {
    /// Who sent the frame; unknown at the host's raw sockets.
    pub from: Option<Mac>,
    /// Source address.
    pub source: IpAddr,
    /// Destination address.
    pub destination: Option<IpAddr>,
    /// Source port, where the protocol has one and this piece shows it.
    pub source_port: Option<u16>,
    /// Destination port, likewise.
    pub destination_port: Option<u16>,
    /// What it holds.
    pub what: What,
    /// The first mark anywhere in it.
    pub mark: Option<(Mark, Id)>,
}

/// What an IP packet holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum What {
    /// An echo request of either ICMP.
    EchoRequest,
    /// An echo reply of either ICMP.
    EchoReply,
    /// Any other message of either ICMP.
    Icmp,
    /// UDP.
    Udp,
    /// UDP with a frame in it: VXLAN, RFC 7348. What is inside arrives again, by itself.
    Tunnel,
    /// TCP.
    Tcp {
        /// Sequence number.
        seq: u32,
        /// Acknowledgement number; 0 where this piece does not show it.
        ack: u32,
        /// The flags, as `TCP_*`; 0 where this piece does not show them.
        flags: u8,
    },
    /// Another protocol, or a later fragment.
    Other,
}

/// TCP flags: RFC 9293, section 3.1.
pub(super) const TCP_SYN: u8 = 0x02;
pub(super) const TCP_ACK: u8 = 0x10;

/// Reads an Ethernet frame; none where it is neither a sentinel nor IP.
pub fn frame(bytes: &[u8]) -> Option<Read> {
    let from: Mac = bytes.get(6..12)?.try_into().ok()?;
    let mut at = 12;
    let mut ethertype = be16(bytes, at)?;
    while VLAN.contains(&ethertype) {
        at += 4;
        ethertype = be16(bytes, at)?;
    }
    let rest = bytes.get(at + 2..)?;
    match ethertype {
        SENTINEL_ETHERTYPE => sentinel(mark::find(rest)),
        IPV4 | IPV6 => ip(rest).map(|read| match read {
            Read::Packet(seen) => Read::Packet(Seen { from: Some(from), ..seen }),
            sentinel @ Read::Sentinel(_) => sentinel,
        }),
        _ => None,
    }
}

/// Reads a packet from its IP header on.
pub(super) fn ip(bytes: &[u8]) -> Option<Read> {
    match bytes.first()? >> 4 {
        4 => {
            let header = bytes.get(..20)?;
            let length = usize::from(header[0] & 0x0f) * 4;
            let address = |at: usize| {
                let octets: [u8; 4] = header[at..at + 4].try_into().ok()?;
                Some(IpAddr::V4(Ipv4Addr::from(octets)))
            };
            // Frames are padded; what is behind the packet is none of it.
            let end = bytes.len().min(usize::from(be16(header, 2)?));
            let payload = bytes.get(length..end).unwrap_or_default();
            let is_later = be16(header, 6)? & 0x1fff != 0;
            Some(packet(address(12)?, address(16), header[9], is_later, payload))
        }
        6 => {
            let header = bytes.get(..40)?;
            let address = |at: usize| {
                let octets: [u8; 16] = header[at..at + 16].try_into().ok()?;
                Some(IpAddr::V6(Ipv6Addr::from(octets)))
            };
            let end = bytes.len().min(40 + usize::from(be16(header, 4)?));
            let rest = bytes.get(40..end).unwrap_or_default();
            let (protocol, is_later, payload) = skip_extensions(header[6], rest);
            Some(packet(address(8)?, address(24), protocol, is_later, payload))
        }
        _ => None,
    }
}

/// The protocol behind extension headers, whether this is a later fragment of it, and the payload. RFC 8200,
/// section 4.
fn skip_extensions(mut protocol: u8, mut rest: &[u8]) -> (u8, bool, &[u8]) {
    let mut is_later = false;
    while let Some((next, length)) = rest.first().zip(rest.get(1)) {
        let length = match protocol {
            HOP_BY_HOP | ROUTING | DESTINATION_OPTIONS => (usize::from(*length) + 1) * 8,
            // RFC 4302, section 2.2: in words of 4 bytes, less 2.
            AUTHENTICATION => (usize::from(*length) + 2) * 4,
            FRAGMENT => 8,
            _ => break,
        };
        if protocol == FRAGMENT {
            is_later |= be16(rest, 2).is_some_and(|offset| offset & 0xfff8 != 0);
        }
        protocol = *next;
        rest = rest.get(length..).unwrap_or_default();
        if is_later {
            break;
        }
    }
    (protocol, is_later, rest)
}

/// Reads what comes behind the IP headers.
pub(super) fn packet(
    source: IpAddr,
    destination: Option<IpAddr>,
    protocol: u8,
    is_later: bool,
    payload: &[u8],
) -> Read {
    let mark = mark::find(payload);
    let is_tunnel = protocol == UDP && !is_later && is_tunnel(payload);
    if let Some(Read::Sentinel(id)) = sentinel(mark).filter(|_| !is_tunnel) {
        return Read::Sentinel(id);
    }
    let mut seen = Seen {
        from: None,
        source,
        destination,
        source_port: None,
        destination_port: None,
        what: What::Other,
        mark,
    };
    if is_later {
        return Read::Packet(seen);
    }
    seen.what = match protocol {
        ICMP | ICMPV6 => match (protocol, payload.first()) {
            (ICMP, Some(8)) | (ICMPV6, Some(128)) => What::EchoRequest,
            (ICMP, Some(0)) | (ICMPV6, Some(129)) => What::EchoReply,
            _ => What::Icmp,
        },
        UDP if is_tunnel => What::Tunnel,
        UDP => What::Udp,
        TCP => match be32(payload, 4) {
            Some(seq) => {
                let ack = be32(payload, 8).unwrap_or_default();
                let flags = payload.get(13).copied().unwrap_or_default();
                What::Tcp { seq, ack, flags }
            }
            None => What::Other,
        },
        _ => What::Other,
    };
    // SCTP too has its ports in front.
    if matches!(protocol, TCP | UDP | 132) {
        seen.source_port = be16(payload, 0);
        seen.destination_port = be16(payload, 2);
    }
    Read::Packet(seen)
}

/// Whether a UDP datagram holds a frame. A mark has another first byte.
fn is_tunnel(datagram: &[u8]) -> bool {
    const HEADER: usize = 8;
    /// The one flag that a VXLAN header has set, and reserved bits: RFC 7348, section 5.
    const VXLAN: [u8; 4] = [8, 0, 0, 0];
    datagram.get(HEADER..HEADER + 4) == Some(&VXLAN)
}

fn sentinel(mark: Option<(Mark, Id)>) -> Option<Read> {
    mark.filter(|(mark, _)| *mark == Mark::Sentinel).map(|(_, id)| Read::Sentinel(id))
}

fn be16(bytes: &[u8], at: usize) -> Option<u16> {
    bytes.get(at..at + 2)?.try_into().ok().map(u16::from_be_bytes)
}

fn be32(bytes: &[u8], at: usize) -> Option<u32> {
    bytes.get(at..at + 4)?.try_into().ok().map(u32::from_be_bytes)
}
