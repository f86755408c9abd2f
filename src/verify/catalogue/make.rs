//! From an entry and a pair to a probe with every address filled in.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::IpNet;

use super::entry::{About, Aim, Entry, Extra, Holds, Hop, Rule, Send, Shape, Source};
use super::judge::{Flow, Judge, Passes};
use super::pairs::{Object, Pair, link_of_nic};
use super::subject::Subject;
use crate::intent::{Intent, IpFamily, Party};
use crate::topology::NetworkKind;
use crate::verify::change::{Added, Change, DNAT_TO_HOST, DNAT_TO_SERVER};
use crate::verify::outcome::Expected;
use crate::verify::packet::{Body, IpExtra, Packet, To};
use crate::verify::probe::{Class, PORT, Probe, Sending, Transport};
use crate::verify::question::Question;
use crate::verify::world::{HostLinkRole, NodeRole, Place, World};

/// All-hosts group (RFC 1112), and all nodes on the link (RFC 4291, 2.7.1).
const ALL_HOSTS: (Ipv4Addr, Ipv6Addr) =
    (Ipv4Addr::new(224, 0, 0, 1), Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 1));

/// A hop limit as hosts have it.
pub(super) const HOPS: u8 = 64;

const ICMP: u8 = 1;
const TCP: u8 = 6;
const UDP: u8 = 17;
const ICMPV6: u8 = 58;
const SCTP: u8 = 132;

/// What probes are made from.
pub(super) struct Maker<'s> {
    pub(super) intent: &'s Intent<'s>,
    pub(super) world: &'s World,
    pub(super) judge: Judge<'s>,
    /// The sender and the closed NIC that entries about a subject are for: the one at hand, else the first.
    pub(super) subjects: Vec<Subject>,
    /// The change that goes before, and what it adds, by family.
    pub(super) change: Option<Change>,
    pub(super) added: Vec<(IpFamily, Added)>,
}

/// Where a packet goes.
struct Goal {
    /// As it is sent.
    destination: IpAddr,
    port: u16,
    /// Behind a DNAT, else the same.
    real: (IpAddr, u16),
    is_published: bool,
    vantage: Vec<Place>,
}

impl<'s> Maker<'s> {
    pub(super) fn new(
        intent: &'s Intent<'s>,
        world: &'s World,
        subjects: Vec<Subject>,
        change: Option<Change>,
    ) -> Self {
        let judge = Judge::new(intent, world);
        Self { intent, world, judge, subjects, change, added: Vec::new() }
    }

    /// The probe; `None` where somebody lacks an address that it needs, or it would say nothing.
    pub(super) fn make(&self, entry: &Entry, pair: Pair, family: IpFamily) -> Option<Probe> {
        let sender = self.actual_sender(entry, pair)?;
        let own = self.own_address(sender, family);
        let goal = self.goal(entry, pair, family)?;
        let source = match entry.send {
            Send::Frame(shape) => self.source(shape.source, pair, own, family)?,
            _ => own?,
        };
        let port = match entry.send {
            Send::Frame(Shape { holds: Holds::UdpToOverlay, .. }) => self.overlay_port()?,
            _ => goal.port,
        };
        let goal = match port == goal.port {
            true => goal,
            false => Goal { port, real: (goal.real.0, port), ..goal },
        };
        let sending = self.sending(entry, pair, sender, source, &goal, family)?;
        let flow = self.flow(entry, pair, sender, source, &goal);
        let (expected, by_exception) = self.expected(entry, &flow)?;
        let (class, question) = self.row(entry, pair, family, expected, by_exception);
        let version = if family == IpFamily::V4 { 4 } else { 6 };
        let suffix = self.change.map_or(String::new(), |change| format!("+{}", change.as_str()));
        let (from, to) = (self.label(pair.sender), self.object_label(entry, pair));
        Some(Probe {
            name: format!("{from}:{to}/{}{}{version}{suffix}", self.prefix(entry, pair), entry.name),
            entry: entry.name,
            class,
            pair: format!("{} -> {}", self.title(pair.sender), self.object_title(entry, pair)),
            threat: entry.threat,
            question,
            family,
            sender,
            is_answerable: is_answerable(entry),
            sending,
            vantage: goal.vantage,
            expected,
            change: self.change,
        })
    }

    /// Before the name of an entry: what is for containers is something else from an instance or a NIC.
    fn prefix(&self, entry: &Entry, pair: Pair) -> &'static str {
        match (entry.about, self.world.node(pair.sender).role) {
            (About::Closed, NodeRole::Instance { .. }) => "flat-",
            (About::Closed, NodeRole::Server(_)) => "transit-",
            _ => "",
        }
    }

    /// Who really sends: the router of a NIC in the place of its server, for what is behind it.
    fn actual_sender(&self, entry: &Entry, pair: Pair) -> Option<Place> {
        let Send::Frame(Shape { source: Source::Listed | Source::Unlisted, .. }) = entry.send else {
            return Some(pair.sender);
        };
        match self.world.node(pair.sender).role {
            NodeRole::Server(nic) => self.world.router(nic),
            _ => None,
        }
    }

    /// A node's own address, also after a change that gave it another one.
    fn own_address(&self, place: Place, family: IpFamily) -> Option<IpAddr> {
        if place == Place::HOST {
            return self.world.node(place).address(family);
        }
        let added = self.added.iter().find(|(of, added)| *of == family && added.place == place);
        match (self.change, added) {
            (Some(Change::NewContainer), Some((_, added))) => Some(added.peer),
            _ => self.world.node(place).address(family),
        }
    }

    fn goal(&self, entry: &Entry, pair: Pair, family: IpFamily) -> Option<Goal> {
        let plain = |destination: IpAddr, vantage: Vec<Place>| Goal {
            destination,
            port: PORT,
            real: (destination, PORT),
            is_published: false,
            vantage,
        };
        let added = || self.added.iter().find(|(of, _)| *of == family).map(|(_, added)| *added);
        match entry.about {
            About::Added => return added().map(|added| plain(added.peer, vec![added.place])),
            About::AddedHost => return added().map(|added| plain(added.host.addr(), vec![Place::HOST])),
            _ => {}
        }
        let of_family = |addresses: &[IpAddr]| {
            addresses.iter().find(|address| address.is_ipv4() == (family == IpFamily::V4)).copied()
        };
        match (pair.to, entry.aim) {
            (Object::Internet, _) => {
                let at = match self.change {
                    Some(Change::DefaultRouteMoved) => self.world.router(self.subjects.first()?.nic)?,
                    _ => self.world.upstream()?,
                };
                Some(plain(of_family(&self.world.internet)?, vec![at]))
            }
            (Object::HostOn(_), Aim::AllHosts) => {
                let group = match family {
                    IpFamily::V4 => IpAddr::V4(ALL_HOSTS.0),
                    IpFamily::V6 => IpAddr::V6(ALL_HOSTS.1),
                };
                Some(plain(group, vec![Place::HOST]))
            }
            (Object::HostOn(link), Aim::Broadcast) => Some(plain(self.broadcast(link)?, vec![Place::HOST])),
            (Object::HostOn(link), Aim::Dnat) => {
                let real = self.world.host_links[link].address(family)?;
                self.dnat(pair.sender, DNAT_TO_HOST, real, Place::HOST, family)
            }
            (Object::HostOn(link), _) => {
                Some(plain(self.world.host_links[link].address(family)?, vec![Place::HOST]))
            }
            (Object::Node(node), Aim::Own) => Some(plain(self.own_address(node, family)?, vec![node])),
            (Object::Node(node), Aim::Listed | Aim::Unlisted) => {
                let NodeRole::Server(nic) = self.world.node(node).role else { return None };
                let router = self.world.router(nic)?;
                let node = self.world.node(router);
                let behind =
                    if entry.aim == Aim::Listed { &node.behind_listed } else { &node.behind_unlisted };
                Some(plain(of_family(behind)?, vec![router]))
            }
            (Object::Node(node), Aim::BroadcastOnLink) => {
                let NodeRole::Server(nic) = self.world.node(node).role else { return None };
                let link = link_of_nic(self.intent, self.world, nic)?;
                let vantage = std::iter::once(node).chain(self.world.router(nic)).collect();
                Some(plain(self.broadcast(link)?, vantage))
            }
            (Object::Node(node), Aim::PublishedHere) => {
                self.published(node, self.world.node(pair.sender).host_link, family)
            }
            (Object::Node(node), Aim::PublishedAtService) => {
                let Some(Party::Network(network)) = self.world.party(node) else { return None };
                let own = self.world.node(pair.sender).host_link;
                let reached = &self.intent.network_reach[network].nics;
                let links = reached.iter().filter_map(|nic| link_of_nic(self.intent, self.world, *nic));
                let link = links.into_iter().find(|link| *link != own)?;
                self.published(node, link, family)
            }
            (Object::Node(node), Aim::Dnat) => {
                let real = self.own_address(node, family)?;
                self.dnat(pair.sender, DNAT_TO_SERVER, real, node, family)
            }
            (Object::Node(node), Aim::OtherNic) => {
                Some(plain(self.of_another_nic(self.world.node(node).host_link, family)?, vec![node]))
            }
            (Object::Node(_), Aim::Broadcast | Aim::AllHosts) => None,
        }
    }

    fn published(&self, node: Place, link: usize, family: IpFamily) -> Option<Goal> {
        let port = self.world.published.iter().find(|port| port.container == node)?;
        let real = self.world.node(node).address(family)?;
        Some(Goal {
            destination: self.world.host_links[link].address(family)?,
            port: port.host_port,
            real: (real, port.port),
            is_published: true,
            vantage: vec![node],
        })
    }

    fn dnat(&self, sender: Place, port: u16, real: IpAddr, vantage: Place, family: IpFamily) -> Option<Goal> {
        let gateway = self.world.host_links.get(self.world.node(sender).host_link)?.address(family)?;
        Some(Goal {
            destination: gateway,
            port,
            real: (real, PORT),
            is_published: true,
            vantage: vec![vantage],
        })
    }

    /// The broadcast address of the host's link, where the link has one.
    fn broadcast(&self, link: usize) -> Option<IpAddr> {
        let nets = &self.world.host_links[link].addresses;
        nets.iter().find_map(|net| match net {
            IpNet::V4(net) if net.prefix_len() <= 30 => Some(IpAddr::V4(net.broadcast())),
            _ => None,
        })
    }

    /// The port of the first overlay of the file.
    fn overlay_port(&self) -> Option<u16> {
        self.intent.topology.networks.iter().find_map(|network| match network.kind {
            NetworkKind::Overlay { port, .. } => Some(port),
            NetworkKind::Bridge => None,
        })
    }

    /// The source address of a frame.
    fn source(&self, source: Source, pair: Pair, own: Option<IpAddr>, family: IpFamily) -> Option<IpAddr> {
        let of_family = |addresses: &[IpAddr]| {
            addresses.iter().find(|address| address.is_ipv4() == (family == IpFamily::V4)).copied()
        };
        match source {
            Source::Own => own,
            Source::OtherNetwork => {
                let parties = [
                    self.world.party(pair.sender),
                    self.receiver(pair).and_then(|node| self.world.party(node)),
                ];
                let is_other = |role| match role {
                    NodeRole::Container { network, number: 1, .. } => {
                        !parties.contains(&Some(Party::Network(network)))
                    }
                    _ => false,
                };
                self.world
                    .places(is_other)
                    .into_iter()
                    .find_map(|place| self.world.node(place).address(family))
            }
            Source::Neighbour => {
                let link = self.receiver_link(pair)?;
                let receiver = self.receiver(pair);
                let others = self.world.neighbours(link).into_iter().filter(|place| Some(*place) != receiver);
                let mut addresses = others.filter_map(|place| self.world.node(place).address(family));
                // The receiver's own address is not a stranger's, and the kernel would not take it.
                let last = addresses.next_back();
                last.filter(|address| Some(*address) != own)
            }
            // The kernel takes its own IPv4 address for a source from no link but those of containers in a lab
            // (accept_local).
            Source::HostThere if family == IpFamily::V4 && !self.is_container(pair.sender) => None,
            Source::HostThere => self.world.host_links.get(self.receiver_link(pair)?)?.address(family),
            Source::Service => {
                let ends = [Some(pair.sender), self.receiver(pair)].into_iter().flatten();
                let network = ends.into_iter().find_map(|place| match self.world.party(place) {
                    Some(Party::Network(network)) => Some(network),
                    _ => None,
                })?;
                let reached = self.intent.network_reach[network].nics.iter();
                let mut servers = reached.filter_map(|nic| self.world.server(*nic));
                servers.find_map(|server| self.world.node(server).address(family))
            }
            Source::ClosedNic => {
                let receiver = self.receiver(pair)?;
                let subject = self.subjects.iter().find(|subject| subject.sender == receiver)?;
                self.world.node(self.world.server(subject.nic)?).address(family)
            }
            Source::OtherNic => self.of_another_nic(self.world.node(pair.sender).host_link, family),
            Source::Internet => of_family(&self.world.internet),
            Source::Listed | Source::Unlisted => {
                let NodeRole::Server(nic) = self.world.node(pair.sender).role else { return None };
                let router = self.world.node(self.world.router(nic)?);
                let behind =
                    if source == Source::Listed { &router.behind_listed } else { &router.behind_unlisted };
                of_family(behind)
            }
            Source::Fixed(v4, v6) => Some(match family {
                IpFamily::V4 => IpAddr::V4(v4),
                IpFamily::V6 => IpAddr::V6(v6),
            }),
        }
    }

    /// The address of a server on another link.
    fn of_another_nic(&self, link: usize, family: IpFamily) -> Option<IpAddr> {
        let is_server = |role| matches!(role, NodeRole::Server(_));
        let servers = self.world.places(is_server).into_iter().map(|place| self.world.node(place));
        // Only what the file lists is known to be another NIC's.
        let of_file = |address: &IpAddr| {
            self.intent.topology.nics.iter().any(|nic| nic.subnets.iter().any(|net| net.contains(address)))
        };
        servers
            .filter(|server| server.host_link != link)
            .filter_map(|server| server.address(family))
            .find(of_file)
    }

    fn is_container(&self, place: Place) -> bool {
        matches!(self.world.node(place).role, NodeRole::Container { .. })
    }

    fn receiver(&self, pair: Pair) -> Option<Place> {
        match pair.to {
            Object::Node(node) => Some(node),
            Object::HostOn(_) | Object::Internet => None,
        }
    }

    fn receiver_link(&self, pair: Pair) -> Option<usize> {
        match pair.to {
            Object::Node(node) => Some(self.world.node(node).host_link),
            Object::HostOn(link) => Some(link),
            Object::Internet => None,
        }
    }

    fn sending(
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
    fn are_neighbours(&self, from: Place, to: Place) -> bool {
        from != Place::HOST && self.world.node(from).host_link == self.world.node(to).host_link
    }

    fn flow(&self, entry: &Entry, pair: Pair, sender: Place, source: IpAddr, goal: &Goal) -> Flow {
        let family = super::judge::family_of(goal.real.0);
        let protocol = protocol(entry.send, family);
        let is_tagged = matches!(entry.send, Send::Frame(shape) if !shape.tags.is_empty());
        let is_by_host = matches!(entry.send, Send::Frame(shape) if shape.hop == Hop::Host);
        let is_bridged =
            matches!(pair.to, Object::Node(node) if !is_by_host && self.are_neighbours(sender, node));
        Flow {
            sender,
            source,
            to: pair.to,
            destination: goal.real.0,
            protocol,
            port: matches!(protocol, TCP | UDP | SCTP).then_some(goal.real.1),
            is_reply: matches!(entry.send, Send::OnTheirFlow(_)),
            is_published: goal.is_published,
            is_bridged,
            is_tagged,
        }
    }

    /// What is expected, and whether an exception is why. `None` for a probe that would say nothing here.
    fn expected(&self, entry: &Entry, flow: &Flow) -> Option<(Expected, bool)> {
        let passing = if is_answerable(entry) { Expected::Answered } else { Expected::Delivered };
        let plain = |expected| Some((expected, false));
        match entry.rule {
            Rule::Residual => return plain(Expected::Residual),
            Rule::Never => return plain(Expected::Blocked),
            Rule::Intent => {}
        }
        // What a change adds is in no rule, so that nothing opens it to containers.
        if matches!(entry.about, About::Added | About::AddedHost) {
            return plain(Expected::Blocked);
        }
        // By the closed NIC and out of it.
        if self.change == Some(Change::DefaultRouteMoved) && flow.to == Object::Internet {
            return plain(Expected::Blocked);
        }
        // Groups are for who is on the link.
        if entry.aim == Aim::AllHosts {
            return plain(Expected::Delivered);
        }
        let is_control = entry.class == Class::Control;
        match self.judge.judge(flow) {
            Passes::No if is_control => None,
            Passes::No => plain(Expected::Blocked),
            // After a change only what was closed before it tells something, but for controls.
            _ if self.change.is_some() && !is_control => None,
            // An error about a connection may count as an answer on it.
            Passes::Unknown => plain(Expected::Unjudged),
            _ if entry.send == Send::RelatedError => plain(Expected::Unjudged),
            // The host takes it apart only where segment routing is on.
            _ if is_segment_routed(entry.send) => plain(Expected::Unjudged),
            // A forged source where the way is open with one's own. Nobody promises that it gets through; that it
            // does from a NIC that may open connections is written down as a residual.
            _ if is_forged(entry.send) => match self.world.node(flow.sender).role {
                NodeRole::Server(_) | NodeRole::Router(_) => plain(Expected::Residual),
                _ => plain(Expected::Unjudged),
            },
            // A host without a container engine has not tracked the connection from its start: what answers is
            // not known until the opener has sent again.
            _ if is_on_flow(entry.send) && self.intent.topology.networks.is_empty() => {
                plain(Expected::Unjudged)
            }
            Passes::Yes => plain(passing),
            Passes::ByException => Some((passing, true)),
        }
    }

    /// What a probe counts for.
    fn row(
        &self,
        entry: &Entry,
        pair: Pair,
        family: IpFamily,
        expected: Expected,
        by_exception: bool,
    ) -> (Class, Question) {
        if by_exception {
            return (Class::Exception, Question::Exceptions);
        }
        if let (Some(change), Class::Change | Class::Residual) = (self.change, entry.class) {
            return (entry.class, Question::After(change));
        }
        match (expected, entry.question) {
            (Expected::Answered | Expected::Delivered, _) => (Class::Control, Question::Works),
            _ if self.is_transit(pair) => (Class::Transit, Question::Transit),
            (_, Question::SendToGuarded) if family == IpFamily::V6 => {
                (entry.class, Question::SendToGuardedV6)
            }
            (_, Question::FromGuarded) if !self.is_from_closed(pair) => (entry.class, Question::Unpublished),
            (_, question) => (entry.class, question),
        }
    }

    /// Whether it is from one NIC to another, or to the host's address there: no container has a part in it.
    fn is_transit(&self, pair: Pair) -> bool {
        let is_of_nic = |place| {
            let role = self.world.node(place).role;
            matches!(role, NodeRole::Server(_) | NodeRole::Router(_) | NodeRole::Upstream)
        };
        let is_to_nic = match pair.to {
            Object::Node(node) => is_of_nic(node),
            Object::HostOn(link) => matches!(self.world.host_links[link].role, HostLinkRole::Nic(_)),
            Object::Internet => true,
        };
        is_of_nic(pair.sender) && is_to_nic
    }

    /// Whether the sender is of a NIC that is closed to the receiver's network.
    fn is_from_closed(&self, pair: Pair) -> bool {
        let nic = match self.world.party(pair.sender) {
            Some(Party::Nic(nic)) => Some(nic),
            Some(Party::Flat(flat)) => self.intent.nic_of_flat(flat),
            _ => self.world.default_nic,
        };
        let network = match pair.to {
            Object::Node(node) => match self.world.party(node) {
                Some(Party::Network(network)) => Some(network),
                _ => None,
            },
            Object::HostOn(link) => match self.world.host_links[link].role {
                HostLinkRole::Network(network) => Some(network),
                HostLinkRole::Nic(_) | HostLinkRole::Flat(_) => None,
            },
            Object::Internet => None,
        };
        match (network, nic) {
            (Some(network), Some(nic)) => self.intent.is_closed(network, nic),
            _ => true,
        }
    }
}

/// IANA's number of what an entry sends.
fn protocol(send: Send, family: IpFamily) -> u8 {
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

const fn is_on_flow(send: Send) -> bool {
    matches!(send, Send::OnOwnFlow(_) | Send::OnTheirFlow(_))
}

const fn is_segment_routed(send: Send) -> bool {
    matches!(send, Send::Frame(Shape { extra: Extra::SegmentRouting, .. }))
}

/// Whether a source address is nobody's on the sender's side.
const fn is_forged(send: Send) -> bool {
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
fn is_answerable(entry: &Entry) -> bool {
    match entry.send {
        Send::Socket(_) | Send::Session | Send::OnOwnFlow(_) | Send::Relay => true,
        Send::Frame(_) | Send::OnTheirFlow(_) | Send::RelatedError => false,
    }
}
