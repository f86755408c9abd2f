//! How an entry's packet is sent.

use std::net::IpAddr;

use super::super::entry::{Aim, Entry, Extra, Holds, Hop, Send, Shape, Source};
use super::super::pairs::{Object, Pair};
use super::{Goal, HOPS, Maker};
use crate::intent::IpFamily;
use crate::verify::packet::{Body, IpExtra, Packet, To};
use crate::verify::probe::{Sending, Transport};
use crate::verify::world::Place;

pub(super) const TCP: u8 = 6;
pub(super) const UDP: u8 = 17;
pub(super) const SCTP: u8 = 132;
const ICMP: u8 = 1;
const ICMPV6: u8 = 58;

impl Maker<'_> {
    pub(super) fn sending(
        &self,
        entry: &Entry,
        pair: Pair,
        sender: Place,
        source: IpAddr,
        goal: &Goal,
        family: IpFamily,
    ) -> Option<Sending> {
        let Goal { destination, port, .. } = *goal;
        Some(match entry.send {
            Send::Socket(Transport::Icmp) => {
                Sending::Socket { protocol: Transport::Icmp, destination, port: 0 }
            }
            Send::Socket(protocol) => Sending::Socket { protocol, destination, port },
            Send::Session => Sending::Session { destination, port },
            Send::OnOwnFlow(protocol) => {
                let listener = self.receiver(pair)?;
                Sending::Established { protocol, opener: sender, listener, destination, port }
            }
            Send::OnTheirFlow(protocol) => {
                let opener = self.receiver(pair)?;
                Sending::Established { protocol, opener, listener: sender, destination: source, port }
            }
            Send::RelatedError => Sending::RelatedError { listener: self.receiver(pair)?, destination, port },
            Send::Relay => {
                let link = self.world.host_links.get(self.world.node(sender).host_link)?;
                Sending::Relay { proxy: link.address(family)?, destination, port }
            }
            Send::Frame(shape) => {
                let via = || self.world.host_links.get(self.world.node(sender).host_link)?.address(family);
                let to = match pair.to {
                    _ if entry.aim == Aim::AllHosts => To::Group,
                    Object::Node(node) if is_to_receiver(shape.hop, self.are_neighbours(sender, node)) => {
                        To::Mac(self.world.node(node).mac)
                    }
                    _ => To::Host,
                };
                Sending::Frame(Packet {
                    to,
                    tags: shape.tags.to_vec(),
                    source,
                    destination,
                    hops: HOPS,
                    extra: match shape.extra {
                        Extra::None => IpExtra::None,
                        Extra::RecordRoute => IpExtra::RecordRoute,
                        Extra::Timestamp => IpExtra::Timestamp,
                        Extra::LooseSourceRoute => IpExtra::LooseSourceRoute { via: via()? },
                        Extra::StrictSourceRoute => IpExtra::StrictSourceRoute { via: via()? },
                        Extra::HopByHop => IpExtra::HopByHop,
                        Extra::DestinationOptions => IpExtra::DestinationOptions,
                        Extra::SegmentRouting => IpExtra::SegmentRouting { via: via()? },
                    },
                    body: match shape.holds {
                        Holds::Udp | Holds::UdpToOverlay => Body::Udp { port },
                        Holds::Syn => Body::TcpSyn { port },
                        Holds::Ack => Body::TcpAck { port },
                        Holds::Invalid => Body::TcpInvalid { port },
                        Holds::Sctp => Body::Sctp { port },
                        Holds::Protocol(..) => Body::Protocol(protocol(entry.send, family)),
                        Holds::Echo => Body::Echo,
                    },
                    pieces: shape.pieces,
                })
            }
        })
    }

    /// Whether a frame needs nobody between the two.
    pub(super) fn are_neighbours(&self, from: Place, to: Place) -> bool {
        from != Place::HOST && self.world.node(from).host_link == self.world.node(to).host_link
    }
}

/// IANA's number of what an entry sends.
pub(super) fn protocol(send: Send, family: IpFamily) -> u8 {
    let icmp = if family == IpFamily::V4 { ICMP } else { ICMPV6 };
    let of_transport = |transport| match transport {
        Transport::Icmp => icmp,
        Transport::Udp => UDP,
        Transport::Tcp => TCP,
    };
    match send {
        Send::Socket(transport) | Send::OnOwnFlow(transport) | Send::OnTheirFlow(transport) => {
            of_transport(transport)
        }
        Send::Session | Send::Relay => TCP,
        Send::RelatedError => icmp,
        Send::Frame(shape) => match shape.holds {
            Holds::Udp | Holds::UdpToOverlay => UDP,
            Holds::Syn | Holds::Ack | Holds::Invalid => TCP,
            Holds::Sctp => SCTP,
            Holds::Protocol(v4, v6) => {
                if family == IpFamily::V4 {
                    v4
                } else {
                    v6
                }
            }
            Holds::Echo => icmp,
        },
    }
}

pub(super) const fn is_on_flow(send: Send) -> bool {
    matches!(send, Send::OnOwnFlow(_) | Send::OnTheirFlow(_))
}

pub(super) const fn is_segment_routed(send: Send) -> bool {
    matches!(send, Send::Frame(Shape { extra: Extra::SegmentRouting, .. }))
}

/// Whether a source address is nobody's on the sender's side.
pub(super) const fn is_forged(send: Send) -> bool {
    match send {
        Send::Frame(shape) => !matches!(shape.source, Source::Own | Source::Listed | Source::Unlisted),
        _ => false,
    }
}

const fn is_to_receiver(hop: Hop, are_neighbours: bool) -> bool {
    match hop {
        Hop::Usual => are_neighbours,
        Hop::Receiver => true,
        Hop::Host => false,
    }
}

/// Whether somebody answers such a packet, so that its sender sees the answer.
pub(super) fn is_answerable(entry: &Entry) -> bool {
    match entry.send {
        Send::Socket(_) | Send::Session | Send::OnOwnFlow(_) | Send::Relay => true,
        Send::Frame(_) | Send::OnTheirFlow(_) | Send::RelatedError => false,
    }
}
