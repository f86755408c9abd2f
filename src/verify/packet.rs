//! What a probe puts on the wire, as values; `lab::frame` makes bytes of it.

use std::net::IpAddr;

use super::world::Mac;

/// Where a frame is sent to on its link.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum To {
    /// The host's link-layer address there, so that the host routes or takes it.
    Host,
    /// Everyone, ff:ff:ff:ff:ff:ff.
    Broadcast,
    /// The group that the destination address maps to (RFC 1112, RFC 2464).
    Group,
    /// This one.
    Mac(Mac),
}

/// A VLAN tag (IEEE 802.1Q, or 802.1ad for the outer one of two).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Tag {
    /// 0x8100 or 0x88a8.
    pub ethertype: u16,
    /// 0 is a priority tag.
    pub vlan: u16,
}

/// What an IP header carries besides the usual.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum IpExtra {
    /// Nothing.
    None,
    /// IPv4 option record route (7).
    RecordRoute,
    /// IPv4 option timestamp (68).
    Timestamp,
    /// IPv4 option loose source route (131): the packet is addressed to `via` first, then to its destination.
    LooseSourceRoute {
        /// The first hop.
        via: IpAddr,
    },
    /// IPv4 option strict source route (137), likewise.
    StrictSourceRoute {
        /// The first hop.
        via: IpAddr,
    },
    /// IPv6 hop-by-hop options header with a PadN.
    HopByHop,
    /// IPv6 destination options header with a PadN.
    DestinationOptions,
    /// IPv6 segment routing header (RFC 8754): addressed to `via` first.
    SegmentRouting {
        /// The first segment.
        via: IpAddr,
    },
}

/// What the IP packet holds. Every one has the probe's id in it: in the payload, or in the sequence number of
/// TCP without payload.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Body {
    /// ICMP or ICMPv6 echo request.
    Echo,
    /// UDP.
    Udp {
        /// In host order, as all ports here.
        port: u16,
    },
    /// A TCP segment without payload but SYN.
    TcpSyn {
        /// Destination.
        port: u16,
    },
    /// A TCP segment with ACK alone, of no connection.
    TcpAck {
        /// Destination.
        port: u16,
    },
    /// A TCP segment that conntrack calls INVALID: SYN, FIN and RST at once.
    TcpInvalid {
        /// Destination.
        port: u16,
    },
    /// SCTP (RFC 9260): an INIT chunk.
    Sctp {
        /// Destination.
        port: u16,
    },
    /// Any other IP protocol (47 GRE, 50 ESP, 4 IP-in-IP, ...) with the id as payload.
    Protocol(u8),
    /// ICMP destination unreachable (port) about a packet from `source` to `destination`: UDP with these ports.
    Unreachable {
        /// Source of the packet that it is about.
        source: (IpAddr, u16),
        /// Destination of the packet that it is about.
        destination: (IpAddr, u16),
    },
}

/// How the packet is cut.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pieces {
    /// Not at all.
    One,
    /// In two fragments; the id is in both where it fits.
    Two,
    /// In two, the first as small as IP allows: 8 bytes behind the IP header.
    Tiny,
}

/// A packet with every header of our own, sent as a frame from the sender's `eth0` (packet(7)).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Packet {
    /// Where it is sent to on the link.
    pub to: To,
    /// Outermost first.
    pub tags: Vec<Tag>,
    /// Source address; the sender's own, or forged.
    pub source: IpAddr,
    /// Destination address.
    pub destination: IpAddr,
    /// TTL or hop limit.
    pub hops: u8,
    /// Options and extension headers.
    pub extra: IpExtra,
    /// What it holds.
    pub body: Body,
    /// How it is cut.
    pub pieces: Pieces,
}
