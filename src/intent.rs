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
    /// Answers alone.
    Answers,
    /// What the `[[allow]]` entries say, and answers to it.
    Exceptions,
    /// Nothing.
    Blocked,
}

impl Way {
    /// The word that the matrix shows.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Open => "open",
            Self::Published => "published",
            Self::Answers => "answers",
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
    /// it. Links that the file does not know are kept out of it as well.
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
    /// Networks with the same reachable NICs: what tells most networks of a host apart is their name.
    /// The key is the set of NICs.
    pub classes: BTreeMap<BTreeSet<usize>, Vec<usize>>,
    /// Pairs with an exception.
    exceptions: BTreeSet<(Party, Party)>,
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

        let mut classes: BTreeMap<BTreeSet<usize>, Vec<usize>> = BTreeMap::new();
        for (network, reached) in network_reach.iter().enumerate() {
            classes.entry(reached.nics.clone()).or_default().push(network);
        }

        let guards = (0..topology.nics.len())
            .map(|nic| {
                let by_networks = classes
                    .iter()
                    .filter(|(nics, _)| nics.contains(&nic))
                    .map(|(_, n)| n.len())
                    .sum::<usize>();
                let by_nics = nic_reach.iter().any(|reached| reached.nics.contains(&nic));
                let reaches = nic_reach[nic] != Reached::default();
                // With bridge-nf-call-iptables on, frames within a flat pass the forward hook: its NIC
                // cannot be closed to itself.
                let is_port = topology.flat_on(&topology.nics[nic]).is_some();
                if by_networks == 0 && !by_nics && !reaches {
                    if is_port { Guard::Some } else { Guard::All }
                } else if by_networks < topology.networks.len() {
                    Guard::Some
                } else {
                    Guard::None
                }
            })
            .collect();

        let flat_open = topology
            .flats
            .iter()
            .map(|flat| {
                topology.nics.iter().any(|nic| nic.name == flat.nic && flat.reach.contains(&nic.role))
            })
            .collect();

        let exceptions = topology
            .allows
            .iter()
            .filter_map(|allow| Some((index.party(&allow.from)?, index.party(&allow.to_name)?)))
            .collect();

        Self { topology, network_reach, nic_reach, guards, flat_open, classes, exceptions }
    }

    /// What `from` may do towards `to` in one family; `None` where one of them does not have it.
    pub fn way(&self, from: Party, to: Party, family: IpFamily) -> Option<Way> {
        if !self.speaks(from, family) || !self.speaks(to, family) {
            return None;
        }
        let way = self.way_any_family(from, to);
        if way != Way::Open && self.has_exception(from, to, family) {
            return Some(Way::Exceptions);
        }
        Some(way)
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
                if self.network_reach[a].nics.contains(&n) {
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
        self.exceptions.contains(&(from, to))
            && self.topology.allows.iter().any(|allow| {
                IpFamily::of(&allow.to) == family
                    && self.names(from, &allow.from)
                    && self.names(to, &allow.to_name)
            })
    }

    /// Whether a name of the file means that party.
    fn names(&self, party: Party, name: &NamePattern) -> bool {
        match (party, name) {
            (Party::Network(a), name) => self.topology.networks[a].name == *name,
            (Party::Nic(n), NamePattern::Exact(name)) => self.topology.nics[n].name == *name,
            _ => false,
        }
    }

    /// Whether a party has addresses of a family. One without any subnet in the file may have both.
    pub fn speaks(&self, party: Party, family: IpFamily) -> bool {
        let subnets = match party {
            Party::Network(a) => &self.topology.networks[a].subnets,
            Party::Nic(n) | Party::HostOn(n) => &self.topology.nics[n].subnets,
            Party::Flat(f) => match self.nic_of_flat(f) {
                Some(nic) => &self.topology.nics[nic].subnets,
                None => return false,
            },
        };
        subnets.is_empty() || subnets.iter().any(|net| IpFamily::of(net) == family)
    }

    /// Whether anything at all is to be forwarded in a family: then the host has to forward it.
    pub fn forwards(&self, family: IpFamily) -> bool {
        let networks = self.network_reach.iter().enumerate().map(|(a, reached)| (Party::Network(a), reached));
        let nics = self.nic_reach.iter().enumerate().map(|(n, reached)| (Party::Nic(n), reached));
        let by_reach = networks.chain(nics).any(|(from, reached)| {
            self.speaks(from, family)
                && (reached.nics.iter().any(|nic| self.speaks(Party::Nic(*nic), family))
                    || reached.networks.iter().any(|network| self.speaks(Party::Network(*network), family)))
        });
        by_reach || self.topology.allows.iter().any(|allow| IpFamily::of(&allow.to) == family)
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
