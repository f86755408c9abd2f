//! What the intent says of one packet.
//!
//! The intent speaks of parties; a packet has links and addresses. This goes from one to the other: by which link
//! it comes in, whose address it has, where it would leave. It asks [`Intent`] and the subnets of the file, and
//! nothing about rules.

use std::net::IpAddr;

use super::pairs::Object;
use crate::intent::{Guard, Intent, IpFamily, Party, Way};
use crate::topology::{Allow, NetworkKind};
use crate::verify::world::{HostLinkRole, NodeRole, Place, World};

/// One packet, as the host sees it behind any DNAT.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Flow {
    /// On whose link it comes in.
    pub(super) sender: Place,
    pub(super) source: IpAddr,
    pub(super) to: Object,
    pub(super) destination: IpAddr,
    /// IANA's number.
    pub(super) protocol: u8,
    /// The destination port, where there is one; of an answer, the port of the one who answers.
    pub(super) port: Option<u16>,
    /// It belongs to a connection that the receiver has opened.
    pub(super) is_reply: bool,
    /// It belongs to a connection that a DNAT has sent there.
    pub(super) is_published: bool,
    /// Its frame is addressed to the receiver, who is on the same link, and not to the host.
    pub(super) is_bridged: bool,
    /// It has VLAN tags.
    pub(super) is_tagged: bool,
}

/// Whether it passes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Passes {
    Yes,
    /// But for an exception it would not.
    ByException,
    No,
    /// The intent has no word on it.
    Unknown,
}

impl Passes {
    fn when(passes: bool) -> Self {
        if passes { Self::Yes } else { Self::No }
    }
}

/// On which side of the host a node is, with flats as the NIC that they stand for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Side {
    Host,
    /// A container network.
    Network(usize),
    /// A NIC.
    Nic(usize),
    Nowhere,
}

impl Side {
    fn party(self) -> Option<Party> {
        match self {
            Self::Network(network) => Some(Party::Network(network)),
            Self::Nic(nic) => Some(Party::Nic(nic)),
            Self::Host | Self::Nowhere => None,
        }
    }
}

/// The parts of the intent that packets are judged by.
pub(super) struct Judge<'s> {
    intent: &'s Intent<'s>,
    world: &'s World,
}

impl<'s> Judge<'s> {
    pub(super) fn new(intent: &'s Intent<'s>, world: &'s World) -> Self {
        Self { intent, world }
    }

    /// What the intent says.
    pub(super) fn judge(&self, flow: &Flow) -> Passes {
        let from = self.side(flow.sender);
        if from == Side::Host {
            return self.by_host(flow);
        }
        match flow.to {
            Object::HostOn(link) => self.to_host(flow, from, link),
            Object::Node(node) => {
                let same_link = self.world.node(flow.sender).host_link == self.world.node(node).host_link;
                match (from, self.side(node)) {
                    // What stays on a link of containers is not routed.
                    (Side::Network(_), Side::Network(_)) if same_link => Passes::Yes,
                    (Side::Nic(nic), Side::Nic(_)) if same_link => self.on_flat(flow, nic, node),
                    (_, to) => self.forwarded(flow, from, to),
                }
            }
            Object::Internet => match self.world.default_nic {
                Some(nic) => self.forwarded(flow, from, Side::Nic(nic)),
                None => Passes::Unknown,
            },
        }
    }

    /// The host may send to everybody. Where it has no address on the link, what it sends from is another one.
    fn by_host(&self, flow: &Flow) -> Passes {
        let family = family_of(flow.destination);
        match flow.to {
            Object::Node(node) => {
                let link = self.world.host_links.get(self.world.node(node).host_link);
                match link.and_then(|link| link.address(family)) {
                    Some(_) => Passes::Yes,
                    None => Passes::Unknown,
                }
            }
            Object::HostOn(_) | Object::Internet => Passes::Yes,
        }
    }

    fn side(&self, place: Place) -> Side {
        match self.world.node(place).role {
            NodeRole::Host => Side::Host,
            NodeRole::Container { network, .. } => Side::Network(network),
            NodeRole::Instance { flat, .. } => self.intent.nic_of_flat(flat).map_or(Side::Nowhere, Side::Nic),
            NodeRole::Server(nic) | NodeRole::Router(nic) => Side::Nic(nic),
            NodeRole::Upstream => self.world.default_nic.map_or(Side::Nowhere, Side::Nic),
            NodeRole::Wire => Side::Nowhere,
        }
    }

    /// Between instances of a flat, and between them and the network of their NIC.
    fn on_flat(&self, flow: &Flow, nic: usize, to: Place) -> Passes {
        let is_instance = |place| matches!(self.world.node(place).role, NodeRole::Instance { .. });
        let flats =
            (0..self.intent.topology.flats.len()).find(|flat| self.intent.nic_of_flat(*flat) == Some(nic));
        let Some(flat) = flats else { return Passes::Yes };
        match (is_instance(flow.sender), is_instance(to)) {
            // Instances of one flat are among themselves, those on the wire too.
            (true, true) | (false, false) => Passes::Yes,
            _ if !self.intent.flat_open[flat] => Passes::No,
            // Tags would hide addresses.
            _ if flow.is_bridged && flow.is_tagged => Passes::No,
            (true, false) => Passes::when(!self.is_of_another_nic(flow.destination, nic)),
            (false, true) => Passes::when(!self.is_of_another_nic(flow.source, nic)),
        }
    }

    fn is_on_closed_flat(&self, place: Place) -> bool {
        matches!(self.world.node(place).role, NodeRole::Instance { flat, .. } if !self.intent.flat_open[flat])
    }

    fn has_closed_flat(&self, nic: usize) -> bool {
        let flats = self.intent.flat_open.iter().enumerate();
        flats.filter(|(_, is_open)| !**is_open).any(|(flat, _)| self.intent.nic_of_flat(flat) == Some(nic))
    }

    fn is_of_another_nic(&self, address: IpAddr, nic: usize) -> bool {
        self.nic_with(address).is_some_and(|other| other != nic)
    }

    /// Routed from one link to another.
    fn forwarded(&self, flow: &Flow, from: Side, to: Side) -> Passes {
        let family = family_of(flow.destination);
        let (Some(from_party), Some(to_party)) = (from.party(), to.party()) else { return Passes::Unknown };
        let Some(way) = self.way(from_party, to_party, family) else { return Passes::Unknown };
        // Not by way of the host either.
        if from == to && self.is_on_closed_flat(flow.sender) {
            return Passes::No;
        }
        // The file does not say whether others on the link of a closed flat may use the host as a router back into
        // it; the rule that holds the instances back (L1) goes by the link.
        if let (true, Side::Nic(nic)) = (from == to, from)
            && self.has_closed_flat(nic)
        {
            return Passes::Unknown;
        }
        match self.is_excepted(flow, from_party, to_party) {
            Some(true) => return Passes::ByException,
            Some(false) => {}
            None => return Passes::Unknown,
        }
        // Whatever the link: nothing that has to do with a NIC that is guarded for everyone.
        let is_guarded = |nic| self.intent.guards[nic] == Guard::All;
        let of_guarded = |address| self.nic_with(address).is_some_and(is_guarded);
        let ends = [from, to].into_iter().any(|side| matches!(side, Side::Nic(nic) if is_guarded(nic)));
        if ends || of_guarded(flow.source) || of_guarded(flow.destination) {
            return Passes::No;
        }
        match (from, to) {
            (Side::Network(a), Side::Network(b)) if a == b => {
                // Two links of one wildcard.
                Passes::when(self.intent.network_reach[a].networks.contains(&a))
            }
            (Side::Network(a), Side::Nic(_)) => {
                let elsewhere = self.is_closed_to(a, flow.destination);
                let passes = match way {
                    Way::Answers | Way::AnswersAndExceptions => flow.is_reply,
                    Way::Open => !elsewhere && !self.is_encapsulated(flow),
                    _ => false,
                };
                Passes::when(passes)
            }
            (Side::Nic(m), Side::Network(b)) => {
                // Who may open connections to a network may do so with whatever source.
                if self.intent.nic_reach[m].networks.contains(&b) {
                    return Passes::Yes;
                }
                let passes = match way {
                    Way::Open => true,
                    Way::Published | Way::PublishedAndExceptions => flow.is_published || flow.is_reply,
                    Way::Answers | Way::AnswersAndExceptions => flow.is_reply,
                    Way::Exceptions | Way::Blocked => false,
                };
                Passes::when(passes && !self.is_closed_to(b, flow.source))
            }
            (Side::Nic(m), Side::Nic(n)) => {
                let strays =
                    self.nic_with(flow.destination).is_some_and(|other| !self.intent.exchange(m, other));
                let passes = match way {
                    Way::Open => true,
                    Way::Answers | Way::AnswersAndExceptions => flow.is_reply,
                    _ => false,
                };
                Passes::when(!strays && (passes || m == n))
            }
            _ => match way {
                Way::Open => Passes::Yes,
                Way::Answers | Way::AnswersAndExceptions => Passes::when(flow.is_reply),
                _ => Passes::No,
            },
        }
    }

    /// The way in a family. A party that has no address of the family may send with a forged one: what is closed in
    /// the other family is closed all the same, for it goes by the link.
    fn way(&self, from: Party, to: Party, family: IpFamily) -> Option<Way> {
        let other = match family {
            IpFamily::V4 => IpFamily::V6,
            IpFamily::V6 => IpFamily::V4,
        };
        self.intent.way(from, to, family).or_else(|| {
            let way = self.intent.way(from, to, other)?;
            matches!(way, Way::Blocked | Way::Exceptions).then_some(Way::Blocked)
        })
    }

    /// To an address of the host on a link.
    fn to_host(&self, flow: &Flow, from: Side, link: usize) -> Passes {
        let own_link = self.world.node(flow.sender).host_link == link;
        let Some(party) = from.party() else { return Passes::Unknown };
        let receiver = match self.world.host_links[link].role {
            HostLinkRole::Network(network) => Some(Party::Network(network)),
            HostLinkRole::Nic(nic) => Some(Party::Nic(nic)),
            HostLinkRole::Flat(flat) => self.intent.nic_of_flat(flat).map(Party::Nic),
        };
        // An exception to an address that happens to be the host's own holds as well.
        if receiver.is_some_and(|to| self.is_excepted(flow, party, to) == Some(true)) {
            return Passes::ByException;
        }
        if self.is_encapsulated(flow) && !self.is_underlay(from, flow.port) {
            return Passes::No;
        }
        let of_nic = self.nic_with(flow.destination);
        match from {
            Side::Network(a) => {
                if of_nic.is_some_and(|nic| !self.intent.network_reach[a].nics.contains(&nic)) {
                    return Passes::No;
                }
                Passes::when(own_link || of_nic.is_some())
            }
            Side::Nic(m) => {
                if let Some(nic) = of_nic {
                    return Passes::when(nic == m || self.intent.nic_reach[m].nics.contains(&nic));
                }
                if let Some(network) = self.network_with(flow.destination) {
                    return Passes::when(self.intent.opens_into(network).any(|nic| nic == m));
                }
                // In no subnet of the file, so that no rule closes it to others.
                if own_link { Passes::Yes } else { Passes::Unknown }
            }
            Side::Host | Side::Nowhere => Passes::Unknown,
        }
    }

    /// The NIC with a subnet that has an address.
    fn nic_with(&self, address: IpAddr) -> Option<usize> {
        let nics = &self.intent.topology.nics;
        nics.iter().position(|nic| nic.subnets.iter().any(|net| net.contains(&address)))
    }

    fn network_with(&self, address: IpAddr) -> Option<usize> {
        let networks = &self.intent.topology.networks;
        networks.iter().position(|network| network.subnets.iter().any(|net| net.contains(&address)))
    }

    /// Whether an address is of a NIC that a network does not reach.
    fn is_closed_to(&self, network: usize, address: IpAddr) -> bool {
        self.nic_with(address).is_some_and(|nic| !self.intent.network_reach[network].nics.contains(&nic))
    }

    /// Whether it would be taken for a frame of an overlay.
    fn is_encapsulated(&self, flow: &Flow) -> bool {
        const UDP: u8 = 17;
        let overlays = self.intent.topology.networks.iter().map(|network| &network.kind);
        let mut ports = overlays.filter_map(|kind| match kind {
            NetworkKind::Overlay { port, .. } => Some(*port),
            NetworkKind::Bridge => None,
        });
        // What answers has another port in the place of this one.
        flow.protocol == UDP && !flow.is_reply && flow.port.is_some_and(|port| ports.any(|of| of == port))
    }

    /// Whether a side carries the overlay of a port.
    fn is_underlay(&self, from: Side, port: Option<u16>) -> bool {
        let Side::Nic(nic) = from else { return false };
        let name = &self.intent.topology.nics[nic].name;
        self.intent.topology.networks.iter().any(|network| match &network.kind {
            NetworkKind::Overlay { underlay, port: of, .. } => underlay == name && Some(*of) == port,
            NetworkKind::Bridge => false,
        })
    }

    /// Whether an exception covers a packet, or the connection that it answers; nothing where that depends on the
    /// port that the opener happened to choose.
    fn is_excepted(&self, flow: &Flow, from: Party, to: Party) -> Option<bool> {
        let covers_answer = |allow: &Allow| {
            allow.from_subnets.iter().any(|net| net.contains(&flow.destination))
                && allow.to.contains(&flow.source)
                && covers(allow, flow.protocol, flow.port) == Some(true)
        };
        if flow.is_reply && self.exceptions(to, from).any(covers_answer) {
            return Some(true);
        }
        // The port that an answer goes to is one of many.
        let port = flow.port.filter(|_| !flow.is_reply);
        let of_pair = self.exceptions(from, to).filter(|allow| {
            allow.from_subnets.iter().any(|net| net.contains(&flow.source))
                && allow.to.contains(&flow.destination)
        });
        let mut answer = Some(false);
        for allow in of_pair {
            match covers(allow, flow.protocol, port) {
                Some(true) => return Some(true),
                Some(false) => {}
                None => answer = None,
            }
        }
        answer
    }

    fn exceptions(&self, from: Party, to: Party) -> impl Iterator<Item = &'s Allow> {
        let all = self.intent.topology.allows.iter().zip(&self.intent.exceptions);
        all.filter(move |(_, pair)| **pair == Some((from, to))).map(|(allow, _)| allow)
    }
}

/// Whether an exception is for a protocol and a port; nothing where it may be, without a known port.
fn covers(allow: &Allow, protocol: u8, port: Option<u16>) -> Option<bool> {
    if allow.protocol.is_some_and(|of| of.number() != protocol) {
        return Some(false);
    }
    match port {
        _ if allow.ports.is_empty() => Some(true),
        Some(port) => Some(allow.ports.iter().any(|range| (range.first..=range.last).contains(&port))),
        None => None,
    }
}

pub(super) const fn family_of(address: IpAddr) -> IpFamily {
    match address {
        IpAddr::V4(_) => IpFamily::V4,
        IpAddr::V6(_) => IpFamily::V6,
    }
}
