//! Which pairs of sender and receiver there are in a lab, for each thing that an entry can be about.

use super::entry::About;
use super::subject::Subject;
use crate::intent::{Guard, Intent, IpFamily, Party, Way};
use crate::topology::Inbound;
use crate::verify::world::{NodeRole, Place, World};

/// Who or what a packet is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Object {
    /// A node.
    Node(Place),
    /// The host, at its address on a link: an index into [`World::host_links`].
    HostOn(usize),
    /// The internet.
    Internet,
}

/// Sender and receiver.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Pair {
    pub(super) sender: Place,
    pub(super) to: Object,
    /// How much is sent of what every pair has.
    pub(super) amount: Amount,
}

/// How much is sent of what every pair has: less where there are many pairs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Amount {
    /// ICMP, UDP and TCP over both families.
    All,
    /// UDP over both families.
    Udp,
    /// UDP over one family, this one where both have it.
    OneFamily(IpFamily),
}

impl Amount {
    /// By how many pairs there are; the families take turns.
    fn of(pairs: usize, turn: usize) -> Self {
        match pairs {
            0..=40 => Self::All,
            41..=120 => Self::Udp,
            _ => Self::OneFamily(IpFamily::BOTH[turn % 2]),
        }
    }
}

/// Up to how many networks every pair of them is looked at; of more, neighbours in the order of their names and
/// what they reach.
const ALL_PAIRS: usize = 8;
/// Of how many networks and published ports everything else is looked at, where there are few, and where many.
const SOME: [usize; 2] = [12, 3];
/// Of how many reaches between networks, where there are more networks than [`ALL_PAIRS`].
const REACHES: usize = 120;

/// The pairs of a lab.
pub(super) struct Pairs<'s> {
    intent: &'s Intent<'s>,
    world: &'s World,
    /// One container of each link, and one instance of each flat.
    inside: Vec<Place>,
    /// The server of each NIC, with the NIC.
    servers: Vec<(usize, Place)>,
}

impl<'s> Pairs<'s> {
    pub(super) fn new(intent: &'s Intent<'s>, world: &'s World) -> Self {
        let is_first = |role| {
            matches!(role, NodeRole::Container { number: 1, .. } | NodeRole::Instance { number: 1, .. })
        };
        let nics = 0..intent.topology.nics.len();
        let servers = nics.filter_map(|nic| Some((nic, world.server(nic)?))).collect();
        Self { intent, world, inside: world.places(is_first), servers }
    }

    /// The pairs that entries are about; `subjects` are the ones that the whole list of probes is for.
    pub(super) fn about(&self, about: About, subjects: &[Subject]) -> Vec<Pair> {
        let pairs = match about {
            About::NetworkToNic => self.inside_to_nics(),
            About::NetworkToHost => {
                let mut pairs = self.to_host_on_nics(&self.inside);
                // Of many networks, all of what is closed and some of what is open.
                let some = &self.inside[..self.inside.len().min(self.some())];
                pairs.retain(|(sender, to)| some.contains(sender) || !self.may_reach_host(*sender, *to));
                pairs
            }
            About::NicToNetwork => {
                let pairs = self.servers.iter().flat_map(|(_, server)| {
                    self.inside.iter().map(move |inside| (*server, Object::Node(*inside)))
                });
                pairs.collect()
            }
            About::NicToNic => self.between_servers(),
            About::NicToHost => {
                let servers: Vec<Place> = self.servers.iter().map(|(_, server)| *server).collect();
                self.to_host_on_nics(&servers)
            }
            About::NetworkToNetwork => self.between_networks(),
            About::NetworkToGateway => {
                let pairs = self.between_networks();
                let gateway = |(sender, to)| match to {
                    Object::Node(node) if self.is_container(node) => Some((sender, self.host_on(node))),
                    _ => None,
                };
                let pairs: Vec<_> = pairs.into_iter().filter_map(gateway).collect();
                pairs.into_iter().take(self.some() * self.some()).collect()
            }
            About::NicToGateway => {
                let containers =
                    || self.inside.iter().filter(|place| self.is_container(**place)).take(self.some());
                let gateways = |(_, server): &(usize, Place)| {
                    let server = *server;
                    containers().map(move |container| (server, self.host_on(*container)))
                };
                self.servers.iter().flat_map(gateways).collect()
            }
            About::ToInternet => {
                let others = self.servers.iter().filter(|(nic, _)| self.world.default_nic != Some(*nic));
                let senders =
                    self.inside.iter().take(self.some()).copied().chain(others.map(|(_, server)| *server));
                senders.map(|sender| (sender, Object::Internet)).collect()
            }
            About::FromInternet => {
                let upstream = self.world.upstream();
                let containers =
                    self.inside.iter().filter(|place| self.is_container(**place)).take(self.some());
                let pairs = containers.filter_map(|inside| Some((upstream?, Object::Node(*inside))));
                pairs.collect()
            }
            About::SameLink => {
                let inside = self.inside.iter().take(self.some());
                inside.filter_map(|place| Some((*place, Object::Node(self.neighbour(*place)?)))).collect()
            }
            About::OwnGateway => {
                self.inside.iter().take(self.some()).map(|place| (*place, self.host_on(*place))).collect()
            }
            About::FromHost => {
                let servers = self.servers.iter().map(|(_, server)| *server);
                let nodes = servers.chain(self.inside.iter().take(self.some()).copied());
                nodes.map(|node| (Place::HOST, Object::Node(node))).collect()
            }
            About::Published => {
                let published = || self.world.published.iter().take(self.some());
                let of_server = |(_, server): &(usize, Place)| {
                    let server = *server;
                    published().map(move |port| (server, Object::Node(port.container)))
                };
                self.servers.iter().flat_map(of_server).collect()
            }
            About::FlatOut => {
                self.flats().map(|(instance, server)| (instance, Object::Node(server))).collect()
            }
            About::FlatBack => {
                self.flats().map(|(instance, server)| (server, Object::Node(instance))).collect()
            }
            about => subjects.iter().flat_map(|subject| self.of_subject(about, *subject, subjects)).collect(),
        };
        let count = pairs.len();
        let pair = |(turn, (sender, to))| Pair { sender, to, amount: Amount::of(count, turn) };
        pairs.into_iter().enumerate().map(pair).collect()
    }

    /// What is said where not all pairs of networks are looked at.
    pub(super) fn sample(&self) -> Option<String> {
        let containers = self.inside.iter().filter(|place| self.is_container(**place)).count();
        (containers > ALL_PAIRS).then(|| {
            format!(
                "Of {containers} networks, neighbours by name and up to {REACHES} ways that are open were looked at, \
                 not every two."
            )
        })
    }

    fn some(&self) -> usize {
        SOME[usize::from(self.inside.len() > 2 * ALL_PAIRS)]
    }

    fn of_subject(&self, about: About, subject: Subject, subjects: &[Subject]) -> Vec<(Place, Object)> {
        let Subject { sender, nic } = subject;
        let server = self.world.server(nic);
        let is_first = subjects.first() == Some(&subject);
        let on_nic = self.link_of_nic(nic).map(Object::HostOn);
        let one = match about {
            About::Closed => server.map(|server| (sender, Object::Node(server))),
            About::ClosedHost => on_nic.map(|host| (sender, host)),
            About::ClosedBack => server.map(|server| (server, Object::Node(sender))),
            About::GuardedBack if self.intent.guards[nic] == Guard::All => {
                server.map(|server| (server, Object::Node(sender)))
            }
            About::Service => self.service(sender, nic).map(|server| (sender, Object::Node(server))),
            About::Beside => self.beside(sender, nic).map(|server| (server, Object::Node(sender))),
            About::Transit if is_first => {
                self.beside(sender, nic).zip(server).map(|(other, server)| (other, Object::Node(server)))
            }
            About::TransitBack if is_first => {
                self.beside(sender, nic).zip(server).map(|(other, server)| (server, Object::Node(other)))
            }
            About::Networks if is_first => self.first_closed_networks(),
            About::Opener if is_first => self.opener(),
            About::HostToClosed => server.map(|server| (Place::HOST, Object::Node(server))),
            About::ClosedOwnHost => server.zip(on_nic),
            About::SubjectToInternet => Some((sender, Object::Internet)),
            About::SubjectNeighbour => self.neighbour(sender).map(|other| (sender, Object::Node(other))),
            About::SubjectGateway => Some((sender, self.host_on(sender))),
            _ => None,
        };
        one.into_iter().collect()
    }

    /// A link of the host by the one that has its addresses there.
    pub(super) fn link_of_nic(&self, nic: usize) -> Option<usize> {
        link_of_nic(self.intent, self.world, nic)
    }

    /// An instance of each flat, with the server of its NIC.
    fn flats(&self) -> impl Iterator<Item = (Place, Place)> {
        self.inside.iter().filter_map(|place| match self.world.node(*place).role {
            NodeRole::Instance { flat, .. } => {
                Some((*place, self.world.server(self.intent.nic_of_flat(flat)?)?))
            }
            _ => None,
        })
    }

    fn host_on(&self, place: Place) -> Object {
        Object::HostOn(self.world.node(place).host_link)
    }

    fn is_container(&self, place: Place) -> bool {
        matches!(self.world.node(place).role, NodeRole::Container { .. })
    }

    /// The other one on the same link.
    fn neighbour(&self, place: Place) -> Option<Place> {
        let node = self.world.node(place);
        let is_other = |other: &Place| {
            let role = self.world.node(*other).role;
            *other != place && matches!(role, NodeRole::Container { .. } | NodeRole::Instance { .. })
        };
        match node.role {
            // What they say to each other does not pass the host.
            NodeRole::Server(_) => None,
            _ => self.world.neighbours(node.host_link).into_iter().find(is_other),
        }
    }

    fn inside_to_nics(&self) -> Vec<(Place, Object)> {
        let to = |sender: Place| self.servers.iter().map(move |(_, server)| (sender, Object::Node(*server)));
        self.inside.iter().flat_map(|sender| to(*sender)).collect()
    }

    fn to_host_on_nics(&self, senders: &[Place]) -> Vec<(Place, Object)> {
        let links: Vec<usize> =
            (0..self.intent.topology.nics.len()).filter_map(|nic| self.link_of_nic(nic)).collect();
        senders
            .iter()
            .flat_map(|sender| links.iter().map(move |link| (*sender, Object::HostOn(*link))))
            .filter(|(sender, to)| {
                // The gateway of an instance is a matter of its own.
                let own = Object::HostOn(self.world.node(*sender).host_link);
                !matches!(self.world.node(*sender).role, NodeRole::Instance { .. }) || *to != own
            })
            .collect()
    }

    fn may_reach_host(&self, sender: Place, to: Object) -> bool {
        let Object::HostOn(link) = to else { return false };
        let nic = (0..self.intent.topology.nics.len()).find(|nic| self.link_of_nic(*nic) == Some(link));
        match (self.world.party(sender), nic) {
            (Some(Party::Network(network)), Some(nic)) => {
                self.intent.network_reach[network].nics.contains(&nic)
            }
            _ => false,
        }
    }

    fn between_servers(&self) -> Vec<(Place, Object)> {
        let pairs = self.servers.iter().flat_map(|from| self.servers.iter().map(move |to| (from, to)));
        pairs.filter(|(from, to)| from.0 != to.0).map(|(from, to)| (from.1, Object::Node(to.1))).collect()
    }

    fn between_networks(&self) -> Vec<(Place, Object)> {
        let count = self.inside.len();
        let is_flat = |place: Place| !self.is_container(place);
        let pair = |from: usize, to: usize| (self.inside[from], Object::Node(self.inside[to]));
        let containers = (0..count).filter(|place| !is_flat(self.inside[*place])).count();
        if containers <= ALL_PAIRS {
            let pairs = (0..count).flat_map(|from| (0..count).map(move |to| (from, to)));
            return pairs.filter(|(from, to)| from != to).map(|(from, to)| pair(from, to)).collect();
        }
        let mut chosen: Vec<(usize, usize)> = (1..count).map(|to| (to - 1, to)).collect();
        let mut reaches = Vec::new();
        for from in 0..count {
            let Some(Party::Network(a)) = self.world.party(self.inside[from]) else { continue };
            let reached = &self.intent.network_reach[a].networks;
            let is_reached = |to: &usize| match self.world.party(self.inside[*to]) {
                Some(Party::Network(b)) => reached.contains(&b) && *to != from,
                _ => false,
            };
            reaches.extend((0..count).filter(is_reached).flat_map(|to| [(from, to), (to, from)]));
        }
        for reach in reaches {
            if chosen.len() < count + REACHES && !chosen.contains(&reach) {
                chosen.push(reach);
            }
        }
        chosen.into_iter().map(|(from, to)| pair(from, to)).collect()
    }

    /// The way between two nodes, in the first family that both have.
    fn way(&self, from: Place, to: Place) -> Option<Way> {
        let (from, to) = (self.world.party(from)?, self.world.party(to)?);
        IpFamily::BOTH.into_iter().find_map(|family| self.intent.way(from, to, family))
    }

    /// The server of another NIC that a sender may reach, not his own.
    fn service(&self, sender: Place, nic: usize) -> Option<Place> {
        self.others(sender, nic).find(|server| self.way(sender, *server) == Some(Way::Open))
    }

    /// The server of another NIC: one that the sender may reach, else any but his own.
    fn beside(&self, sender: Place, nic: usize) -> Option<Place> {
        self.service(sender, nic).or_else(|| self.others(sender, nic).next())
    }

    /// The servers of all NICs but this one and that of the sender.
    fn others(&self, sender: Place, nic: usize) -> impl Iterator<Item = Place> {
        let own = match self.world.party(sender) {
            Some(Party::Nic(own)) => Some(own),
            Some(Party::Flat(flat)) => self.intent.nic_of_flat(flat),
            _ => None,
        };
        let others = self.servers.iter().filter(move |(other, _)| *other != nic && Some(*other) != own);
        others.map(|(_, server)| *server)
    }

    /// The first pair of networks of which one may not open connections to the other.
    fn first_closed_networks(&self) -> Option<(Place, Object)> {
        let containers = self.inside.iter().filter(|place| self.is_container(**place)).take(self.some());
        let pairs = containers.clone().flat_map(|from| containers.clone().map(move |to| (*from, *to)));
        let network = |place| self.world.party(place);
        let is_closed = |(from, to): &(Place, Place)| {
            network(*from) != network(*to) && self.way(*from, *to) == Some(Way::Blocked)
        };
        pairs.into_iter().find(is_closed).map(|(from, to)| (from, Object::Node(to)))
    }

    /// A NIC whose hosts may open connections to a network, and a container there.
    fn opener(&self) -> Option<(Place, Object)> {
        let containers = self.inside.iter().filter(|place| self.is_container(**place)).take(self.some());
        let pairs = containers.flat_map(|to| self.servers.iter().map(move |(nic, from)| (*nic, *from, *to)));
        let opens = |(nic, _, to): &(usize, Place, Place)| match self.world.party(*to) {
            Some(Party::Network(network)) => {
                self.intent.nic_reach[*nic].networks.contains(&network)
                    || (self.intent.topology.networks[network].inbound == Inbound::Routed
                        && self.intent.network_reach[network].nics.contains(nic))
            }
            _ => false,
        };
        pairs.into_iter().find(opens).map(|(_, from, to)| (from, Object::Node(to)))
    }
}

/// The link of the host that has its addresses on a NIC's network: an index into [`World::host_links`].
pub(super) fn link_of_nic(intent: &Intent<'_>, world: &World, nic: usize) -> Option<usize> {
    let link = world.host_link_of_nic(intent, nic)?;
    world.host_links.iter().position(|other| std::ptr::eq(other, link))
}
