//! Who may talk to whom, per family. No firewall syntax here.
//!
//! The intent is the meaning of a topology, independent of how it is carried out. It is asked, not
//! stored: with ten thousand networks the matrix would have a hundred million cells.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use ipnet::IpNet;

use crate::topology::{Inbound, NamePattern, Network, Nic, Reach, Topology};

/// An IP family.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum IpFamily {
    /// IPv4.
    V4,
    /// IPv6.
    V6,
}

impl IpFamily {
    /// Both.
    pub const BOTH: [Self; 2] = [Self::V4, Self::V6];

    /// The family of a network.
    pub const fn of(net: &IpNet) -> Self {
        match net {
            IpNet::V4(_) => Self::V4,
            IpNet::V6(_) => Self::V6,
        }
    }
}

impl fmt::Display for IpFamily {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::V4 => "IPv4",
            Self::V6 => "IPv6",
        })
    }
}

/// Somebody who sends or receives: an index into the topology's lists.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Party {
    /// `Topology::networks[_]`.
    Network(usize),
    /// `Topology::flats[_]`; only ever a sender, for its address is one of its NIC's network.
    Flat(usize),
    /// `Topology::nics[_]`: the hosts on the link and behind it.
    Nic(usize),
    /// The host's own addresses on `Topology::nics[_]`; only ever a receiver.
    HostOn(usize),
}

/// What one party may do towards another.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Way {
    /// Open connections and send anything.
    Open,
    /// What was published (a DNAT), and answers.
    Published,
    /// What was published, answers, and what the `[[allow]]` entries say.
    PublishedAndExceptions,
    /// Answers alone.
    Answers,
    /// Answers, and what the `[[allow]]` entries say.
    AnswersAndExceptions,
    /// What the `[[allow]]` entries say, and answers to it.
    Exceptions,
    /// Nothing.
    Blocked,
}

impl Way {
    /// Every way.
    pub const ALL: [Self; 7] = [
        Self::Open,
        Self::Published,
        Self::PublishedAndExceptions,
        Self::Answers,
        Self::AnswersAndExceptions,
        Self::Exceptions,
        Self::Blocked,
    ];

    /// The word that the matrix shows.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Open => "open",
            Self::Published => "published",
            Self::PublishedAndExceptions => "published, exceptions",
            Self::Answers => "answers",
            Self::AnswersAndExceptions => "answers, exceptions",
            Self::Exceptions => "exceptions",
            Self::Blocked => "blocked",
        }
    }
}

/// For whom a NIC is guarded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Guard {
    /// For everyone: nothing of the file reaches it, and it reaches nothing.
    All,
    /// For some networks, or for all of them while another NIC reaches it or instances are bridged onto
    /// it; without any network in the file, for a NIC that reaches others. Links that the file does not
    /// know are kept out of it as well.
    Some,
    /// For no network of the file.
    None,
}

/// What a network or NIC reaches, by index.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Reached {
    /// Into `Topology::nics`.
    pub nics: BTreeSet<usize>,
    /// Into `Topology::networks`. Never the network itself, unless it is a prefix whose members reach
    /// each other.
    pub networks: BTreeSet<usize>,
}

/// What tells networks apart for the rules of a host: which NICs they reach, and which NICs reach them.
/// By index into `Topology::nics`.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct ClassKey {
    /// NICs that the networks reach.
    pub reaches: BTreeSet<usize>,
    /// NICs whose `reach` names the networks.
    pub reached_by: BTreeSet<usize>,
}

/// The meaning of a topology.
#[derive(Debug, Clone)]
pub struct Intent<'t> {
    /// What it is the meaning of.
    pub topology: &'t Topology,
    /// By network.
    pub network_reach: Vec<Reached>,
    /// By NIC.
    pub nic_reach: Vec<Reached>,
    /// By NIC.
    pub guards: Vec<Guard>,
    /// By flat: whether its instances may use the link of its NIC.
    pub flat_open: Vec<bool>,
    /// Networks that mean the same to every NIC: what tells most networks of a host apart is their name.
    pub classes: BTreeMap<ClassKey, Vec<usize>>,
    /// By exception: from whom to whom.
    pub exceptions: Vec<Option<(Party, Party)>>,
    /// Pairs with an exception, by family.
    excepted: BTreeSet<(Party, Party, IpFamily)>,
}

impl<'t> Intent<'t> {
    /// Works out the meaning of a topology. Cannot fail: what could be wrong was refused before.
    pub fn new(topology: &'t Topology) -> Self {
        let index = Index::new(topology);
        let network_reach: Vec<Reached> =
            topology.networks.iter().map(|network| index.reached(&network.reach, None)).collect();
        let nic_reach: Vec<Reached> = topology
            .nics
            .iter()
            .enumerate()
            .map(|(this, nic)| index.reached(&nic.reach, Some(this)))
            .collect();

        let mut keys: Vec<ClassKey> = network_reach
            .iter()
            .map(|reached| ClassKey { reaches: reached.nics.clone(), reached_by: BTreeSet::new() })
            .collect();
        for (nic, reached) in nic_reach.iter().enumerate() {
            for network in &reached.networks {
                keys[*network].reached_by.insert(nic);
            }
        }
        let mut classes: BTreeMap<ClassKey, Vec<usize>> = BTreeMap::new();
        for (network, key) in keys.into_iter().enumerate() {
            classes.entry(key).or_default().push(network);
        }

        let guards = (0..topology.nics.len()).map(|nic| guard(topology, &classes, &nic_reach, nic)).collect();

        let flat_open = topology
            .flats
            .iter()
            .map(|flat| {
                topology.nics.iter().any(|nic| nic.name == flat.nic && flat.reach.contains(&nic.role))
            })
            .collect();

        let exceptions: Vec<_> = topology
            .allows
            .iter()
            .map(|allow| Some((index.party(&allow.from)?, index.party(&allow.to_name)?)))
            .collect();
        let excepted = topology
            .allows
            .iter()
            .zip(&exceptions)
            .filter_map(|(allow, pair)| pair.map(|(from, to)| (from, to, IpFamily::of(&allow.to))))
            .collect();

        Self { topology, network_reach, nic_reach, guards, flat_open, classes, exceptions, excepted }
    }

    /// What `from` may do towards `to` in one family; `None` where one of them does not have it.
    pub fn way(&self, from: Party, to: Party, family: IpFamily) -> Option<Way> {
        if !self.speaks(from, family) || !self.speaks(to, family) {
            return None;
        }
        let way = self.way_any_family(from, to);
        if !self.has_exception(from, to, family) {
            return Some(way);
        }
        Some(match way {
            Way::Blocked => Way::Exceptions,
            Way::Answers => Way::AnswersAndExceptions,
            Way::Published => Way::PublishedAndExceptions,
            more => more,
        })
    }

    /// The same for either family, exceptions left aside.
    fn way_any_family(&self, from: Party, to: Party) -> Way {
        match (from, to) {
            (Party::Network(a), Party::Network(b)) => {
                if a == b || self.network_reach[a].networks.contains(&b) {
                    Way::Open
                } else if self.network_reach[b].networks.contains(&a) {
                    Way::Answers
                } else {
                    Way::Blocked
                }
            }
            (Party::Network(a), Party::Nic(n)) => {
                if self.network_reach[a].nics.contains(&n) {
                    Way::Open
                } else if self.nic_reach[n].networks.contains(&a) {
                    Way::Answers
                } else {
                    Way::Blocked
                }
            }
            (Party::Nic(n), Party::Network(a)) => {
                if self.nic_reach[n].networks.contains(&a) {
                    return Way::Open;
                }
                if !self.network_reach[a].nics.contains(&n) {
                    return Way::Blocked;
                }
                match self.topology.networks[a].inbound {
                    Inbound::None => Way::Answers,
                    Inbound::Published => Way::Published,
                    Inbound::Routed => Way::Open,
                }
            }
            (Party::Nic(m), Party::Nic(n)) if m == n => match self.guards[n] {
                Guard::All => Way::Blocked,
                Guard::Some | Guard::None => Way::Open,
            },
            (Party::Nic(m), Party::Nic(n)) => {
                if self.nic_reach[m].nics.contains(&n) {
                    Way::Open
                } else if self.nic_reach[n].nics.contains(&m) {
                    Way::Answers
                } else {
                    Way::Blocked
                }
            }
            (Party::Flat(f), to) => match self.nic_of_flat(f) {
                Some(nic) if to == Party::Nic(nic) => {
                    if self.flat_open[f] {
                        Way::Open
                    } else {
                        Way::Blocked
                    }
                }
                Some(nic) => self.way_any_family(Party::Nic(nic), to),
                None => Way::Blocked,
            },
            (Party::Network(a), Party::HostOn(n)) => {
                // Which addresses those are, only the subnets tell.
                if self.network_reach[a].nics.contains(&n) && !self.topology.nics[n].subnets.is_empty() {
                    Way::Open
                } else {
                    Way::Blocked
                }
            }
            (Party::Nic(m), Party::HostOn(n)) => {
                if m == n || self.nic_reach[m].nics.contains(&n) {
                    Way::Open
                } else {
                    Way::Answers
                }
            }
            (_, Party::Flat(_)) | (Party::HostOn(_), _) => Way::Blocked,
        }
    }

    fn has_exception(&self, from: Party, to: Party, family: IpFamily) -> bool {
        let to = match to {
            Party::HostOn(nic) => Party::Nic(nic),
            other => other,
        };
        self.excepted.contains(&(from, to, family))
    }

    /// The subnets of a party; none where its NIC is not in the file.
    fn subnets(&self, party: Party) -> &'t [IpNet] {
        match party {
            Party::Network(a) => &self.topology.networks[a].subnets,
            Party::Nic(n) | Party::HostOn(n) => &self.topology.nics[n].subnets,
            Party::Flat(f) => self.nic_of_flat(f).map_or(&[], |nic| &self.topology.nics[nic].subnets),
        }
    }

    /// Whether a party has addresses of a family. One without any subnet in the file may have both.
    pub fn speaks(&self, party: Party, family: IpFamily) -> bool {
        let subnets = self.subnets(party);
        subnets.is_empty() || subnets.iter().any(|net| IpFamily::of(net) == family)
    }

    /// Whether anything at all is to be forwarded in a family: then the host has to forward it.
    ///
    /// For IPv6 both sides need a subnet in the file: switching it on changes how the host takes router
    /// advertisements, which a file without a word of IPv6 has not asked for.
    pub fn forwards(&self, family: IpFamily) -> bool {
        let has = |party: Party| match family {
            IpFamily::V4 => self.speaks(party, family),
            IpFamily::V6 => self.subnets(party).iter().any(|net| IpFamily::of(net) == family),
        };
        let networks = self.network_reach.iter().enumerate().map(|(a, reached)| (Party::Network(a), reached));
        let nics = self.nic_reach.iter().enumerate().map(|(n, reached)| (Party::Nic(n), reached));
        let by_reach = networks.chain(nics).any(|(from, reached)| {
            has(from)
                && (reached.nics.iter().any(|nic| has(Party::Nic(*nic)))
                    || reached.networks.iter().any(|network| has(Party::Network(*network))))
        });
        by_reach || self.topology.allows.iter().any(|allow| IpFamily::of(&allow.to) == family)
    }

    /// Whether a network may open nothing to a NIC but what exceptions say.
    pub fn is_closed(&self, network: usize, nic: usize) -> bool {
        let way = |family| self.way(Party::Network(network), Party::Nic(nic), family);
        let mut ways = IpFamily::BOTH.into_iter().filter_map(way).peekable();
        ways.peek().is_some() && ways.all(|way| !matches!(way, Way::Open | Way::Published))
    }

    /// NICs that networks of a class may send nothing to but answers, besides those guarded for everyone.
    pub fn closed_to<'a>(&'a self, key: &'a ClassKey) -> impl Iterator<Item = usize> + 'a {
        (0..self.guards.len()).filter(|nic| self.guards[*nic] != Guard::All && !key.reaches.contains(nic))
    }

    /// NICs from which any connection may be opened to a network.
    pub fn opens_into(&self, network: usize) -> impl Iterator<Item = usize> {
        let routed = self.topology.networks[network].inbound == Inbound::Routed;
        (0..self.nic_reach.len()).filter(move |nic| {
            self.nic_reach[*nic].networks.contains(&network)
                || (routed && self.network_reach[network].nics.contains(nic))
        })
    }

    /// Whether packets from one NIC may be for the network of another, if only as answers.
    pub fn exchange(&self, a: usize, b: usize) -> bool {
        a == b || self.nic_reach[a].nics.contains(&b) || self.nic_reach[b].nics.contains(&a)
    }

    /// The NIC that is a port of a flat.
    pub fn nic_of_flat(&self, flat: usize) -> Option<usize> {
        self.topology.nics.iter().position(|nic| nic.name == self.topology.flats[flat].nic)
    }

    /// The interfaces that stand for a NIC: itself, and the flat that it is a port of.
    pub fn links_of(&self, nic: usize) -> impl Iterator<Item = &'t str> {
        let nic: &Nic = &self.topology.nics[nic];
        std::iter::once(nic.name.as_str()).chain(self.topology.flat_on(nic).map(|flat| flat.name.as_str()))
    }

    /// The networks of a class, with their place in `Topology::networks`.
    pub fn networks_of<'a>(
        &'a self,
        members: &'a [usize],
    ) -> impl Iterator<Item = (usize, &'t Network)> + 'a {
        members.iter().map(|member| (*member, &self.topology.networks[*member]))
    }
}

/// For whom a NIC is guarded.
fn guard(
    topology: &Topology,
    classes: &BTreeMap<ClassKey, Vec<usize>>,
    nic_reach: &[Reached],
    nic: usize,
) -> Guard {
    let reached = |key: &ClassKey| key.reaches.contains(&nic);
    let by_a_network = classes.keys().any(reached);
    let by_a_nic = nic_reach.iter().any(|reach| reach.nics.contains(&nic));
    let by_all = if classes.is_empty() {
        let mut reaching = nic_reach
            .iter()
            .enumerate()
            .filter(|(other, reach)| *other != nic && **reach != Reached::default());
        by_a_nic && reaching.all(|(_, reach)| reach.nics.contains(&nic))
    } else {
        classes.keys().all(reached)
    };
    // With bridge-nf-call-iptables on, frames within a flat pass the forward hook: its NIC cannot be
    // closed to itself.
    let is_port = topology.flat_on(&topology.nics[nic]).is_some();
    let alone = !by_a_network && !by_a_nic && nic_reach[nic] == Reached::default();
    match (alone, by_all) {
        (true, _) if is_port => Guard::Some,
        (true, _) => Guard::All,
        (false, true) => Guard::None,
        (false, false) => Guard::Some,
    }
}

/// What the words of a `reach` list mean.
struct Index<'t> {
    roles: BTreeMap<&'t str, Vec<usize>>,
    networks: BTreeMap<&'t NamePattern, usize>,
    nics: BTreeMap<&'t str, usize>,
}

impl<'t> Index<'t> {
    fn new(topology: &'t Topology) -> Self {
        let mut roles: BTreeMap<&str, Vec<usize>> = BTreeMap::new();
        for (index, nic) in topology.nics.iter().enumerate() {
            roles.entry(nic.role.0.as_str()).or_default().push(index);
        }
        Self {
            roles,
            networks: topology.networks.iter().enumerate().map(|(index, net)| (&net.name, index)).collect(),
            nics: topology.nics.iter().enumerate().map(|(index, nic)| (nic.name.as_str(), index)).collect(),
        }
    }

    fn reached(&self, words: &[Reach], this_nic: Option<usize>) -> Reached {
        let mut reached = Reached::default();
        for word in words {
            match word {
                Reach::Role(role) => {
                    let nics = self.roles.get(role.0.as_str()).into_iter().flatten();
                    reached.nics.extend(nics.filter(|nic| Some(**nic) != this_nic));
                }
                Reach::Network(name) => reached.networks.extend(self.networks.get(name)),
            }
        }
        reached
    }

    fn party(&self, name: &NamePattern) -> Option<Party> {
        if let Some(network) = self.networks.get(name) {
            return Some(Party::Network(*network));
        }
        self.nics.get(name.stem()).map(|nic| Party::Nic(*nic))
    }
}
