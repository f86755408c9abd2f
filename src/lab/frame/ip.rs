//! IP headers, with their options and extension headers.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use etherparse::{IpFragOffset, IpNumber, Ipv4Header, Ipv6FragmentHeader, Ipv6Header};

use super::Id;
use crate::verify::packet::{IpExtra, Packet};

/// Which part of a packet.
#[derive(Debug, Clone, Copy)]
pub(super) struct Piece {
    /// In bytes, a multiple of 8.
    pub(super) offset: usize,
    /// Whether nothing follows.
    pub(super) is_last: bool,
}

impl Piece {
    /// All of it.
    pub(super) const WHOLE: Self = Self { offset: 0, is_last: true };

    fn is_whole(self) -> bool {
        self.offset == 0 && self.is_last
    }

    /// In units of 8 bytes.
    fn units(self) -> IpFragOffset {
        let units = u16::try_from(self.offset / 8).unwrap_or(u16::MAX);
        IpFragOffset::try_new(units).unwrap_or_default()
    }
}

/// What every piece of a packet has in front.
#[derive(Debug)]
pub(super) enum Header {
    V4 {
        header: Ipv4Header,
    },
    V6 {
        header: Ipv6Header,
        /// What comes before a fragment header, with its number.
        extension: Option<(IpNumber, Extension)>,
        id: u32,
    },
}

/// An IPv6 extension header without its first byte, which names the next one.
type Extension = Vec<u8>;

impl Header {
    /// None where there is no such packet.
    pub(super) fn of(packet: &Packet, id: Id) -> Option<Self> {
        match (packet.source, packet.destination) {
            (IpAddr::V4(source), IpAddr::V4(destination)) => Self::v4(packet, id, source, destination),
            (IpAddr::V6(source), IpAddr::V6(destination)) => Self::v6(packet, id, source, destination),
            _ => None,
        }
    }

    fn v4(packet: &Packet, id: Id, source: Ipv4Addr, destination: Ipv4Addr) -> Option<Self> {
        let mut to = destination;
        let options = match packet.extra {
            IpExtra::None => Vec::new(),
            // RFC 791, section 3.1: type, length, pointer, room for one address; end of options.
            IpExtra::RecordRoute => vec![7, 7, 4, 0, 0, 0, 0, 0],
            // Type, length, pointer, flags 0 (timestamps only), room for one.
            IpExtra::Timestamp => vec![68, 8, 5, 0, 0, 0, 0, 0],
            IpExtra::LooseSourceRoute { via: IpAddr::V4(via) } => {
                to = via;
                source_route(131, destination)
            }
            IpExtra::StrictSourceRoute { via: IpAddr::V4(via) } => {
                to = via;
                source_route(137, destination)
            }
            _ => return None,
        };
        let mut header = Ipv4Header::new(0, packet.hops, IpNumber(0), source.octets(), to.octets()).ok()?;
        header.options = options.as_slice().try_into().ok()?;
        header.dont_fragment = false;
        // Ids of probes differ in all bits, so that any 16 of them tell packets apart for long enough.
        header.identification = (id.0 >> 16) as u16 ^ id.0 as u16;
        Some(Self::V4 { header })
    }

    fn v6(packet: &Packet, id: Id, source: Ipv6Addr, destination: Ipv6Addr) -> Option<Self> {
        // Six bytes of padding (PadN, RFC 8200, section 4.2) behind next header and length.
        let padding = || vec![0, 1, 4, 0, 0, 0, 0];
        let mut to = destination;
        let extension = match packet.extra {
            IpExtra::None => None,
            IpExtra::HopByHop => Some((IpNumber::IPV6_HEADER_HOP_BY_HOP, padding())),
            IpExtra::DestinationOptions => Some((IpNumber::IPV6_DESTINATION_OPTIONS, padding())),
            IpExtra::SegmentRouting { via: IpAddr::V6(via) } => {
                to = via;
                Some((IpNumber::IPV6_ROUTE_HEADER, segments(via, destination)))
            }
            _ => return None,
        };
        let header = Ipv6Header {
            hop_limit: packet.hops,
            source: source.octets(),
            destination: to.octets(),
            ..Ipv6Header::default()
        };
        Some(Self::V6 { header, extension, id: id.0 })
    }

    /// The packet with this in it.
    pub(super) fn bytes(&self, protocol: u8, piece: Piece, payload: &[u8]) -> Vec<u8> {
        match self {
            Self::V4 { header } => {
                let mut header = header.clone();
                header.protocol = IpNumber(protocol);
                header.more_fragments = !piece.is_last;
                header.fragment_offset = piece.units();
                header.total_len = length(header.header_len() + payload.len());
                header.header_checksum = header.calc_header_checksum();
                [&header.to_bytes(), payload].concat()
            }
            Self::V6 { header, extension, id } => {
                let mut next = IpNumber(protocol);
                let mut rest = Vec::new();
                if !piece.is_whole() {
                    let fragment = Ipv6FragmentHeader::new(next, piece.units(), !piece.is_last, *id);
                    rest.extend(fragment.to_bytes());
                    next = IpNumber::IPV6_FRAGMENTATION_HEADER;
                }
                if let Some((number, extension)) = extension {
                    rest = [&[next.0], extension.as_slice(), &rest].concat();
                    next = *number;
                }
                rest.extend(payload);
                let mut header = header.clone();
                header.next_header = next;
                header.payload_length = length(rest.len());
                [&header.to_bytes(), rest.as_slice()].concat()
            }
        }
    }
}

/// All packets here are short.
fn length(bytes: usize) -> u16 {
    u16::try_from(bytes).unwrap_or(u16::MAX)
}

/// Type, length, pointer, one address; end of options.
fn source_route(kind: u8, destination: Ipv4Addr) -> Vec<u8> {
    [&[kind, 7, 4], &destination.octets()[..], &[0]].concat()
}

/// RFC 8754, section 2: two segments, the last one first; one is left.
fn segments(via: Ipv6Addr, destination: Ipv6Addr) -> Extension {
    const SEGMENT_ROUTING: u8 = 4;
    // Length in units of 8 bytes without the first, type, segments left, last entry, flags, tag.
    [&[4, SEGMENT_ROUTING, 1, 1, 0, 0, 0], &destination.octets()[..], &via.octets()[..]].concat()
}
