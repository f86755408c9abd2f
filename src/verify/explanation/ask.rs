//! What `isoplan explain` is asked, in the words of the topology and of the lab, as a probe.

use std::collections::BTreeSet;
use std::net::IpAddr;

use serde::{Deserialize, Serialize};

use super::ends::{Asker, End};
use crate::intent::{Intent, IpFamily, Party};
use crate::verify::outcome::Expected;
use crate::verify::packet::{Body, IpExtra, Packet, Pieces, To};
use crate::verify::probe::{Class, PORT, Probe, Sending, Transport};
use crate::verify::question::Question;
use crate::verify::world::{NodeRole, Place, World};

/// A question as the user put it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Asked {
    /// `docker0-c1`, `docker0`, `storage`, `host`, or an address.
    pub from: String,
    /// The same, or `host@eth1`.
    pub to: String,
    /// With what; an echo request where there is neither this nor a port, TCP where there is a port.
    pub protocol: Option<Protocol>,
    /// To which port.
    pub port: Option<u16>,
    /// Only this family.
    pub family: Option<Version>,
    /// With this source address.
    pub source: Option<IpAddr>,
}

/// A protocol that a question can be about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Protocol {
    /// TCP.
    Tcp,
    /// UDP.
    Udp,
    /// An echo request.
    Icmp,
}

/// A version of IP.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Version {
    /// IPv4.
    V4,
    /// IPv6.
    V6,
}

impl From<Version> for IpFamily {
    fn from(version: Version) -> Self {
        match version {
            Version::V4 => Self::V4,
            Version::V6 => Self::V6,
        }
    }
}

/// A question that can be asked in a lab.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Prepared {
    /// What is sent.
    pub probe: Probe,
    /// The name of the sender.
    pub from: String,
    /// The name of the receiver.
    pub to: String,
    /// What the topology says about the two: `docker0 -> eth1 (storage): blocked`. None where it says nothing,
    /// as about a network's own gateway.
    pub intended: Option<String>,
    /// What was done to the lab to be able to ask, a sentence each.
    pub notes: Vec<String>,
}

/// A question that makes no sense here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refused {
    /// Why, as a clause.
    pub message: String,
    /// What to do about it.
    pub hint: Option<String>,
}

/// Makes a probe of a question. Somebody in the lab gets an address that nobody has, where one is asked for:
/// the layout has it afterwards.
///
/// # Errors
///
/// When a name is not known, or the two have no family in common.
pub fn prepare(intent: &Intent<'_>, world: &mut World, asked: &Asked) -> Result<Prepared, Refused> {
    let mut asker = Asker { intent, world, notes: Vec::new() };
    let sender = asker.sender(&asked.from, asked)?;
    let receiver = asker.end(&asked.to, Some(sender.place))?;
    let family = asker.family(&sender, &receiver, asked)?;
    let destination = asker.destination(&receiver, &sender, family)?;
    let source = asked.source.or(sender.address);
    let transport = match (asked.protocol, asked.port) {
        (Some(Protocol::Icmp), Some(_)) => {
            return Err(refused("an echo request has no port", Some("leave --port out, or name tcp or udp")));
        }
        (Some(Protocol::Icmp), None) | (None, None) => Transport::Icmp,
        (Some(Protocol::Udp), _) => Transport::Udp,
        (Some(Protocol::Tcp), _) | (None, Some(_)) => Transport::Tcp,
    };
    let port = if transport == Transport::Icmp { 0 } else { asked.port.unwrap_or(PORT) };
    let sending = match source {
        None => Sending::Socket { protocol: transport, destination, port },
        Some(source) => Sending::Frame(asker.frame(&sender, &receiver, source, destination, transport, port)),
    };
    let node = asker.world.node(sender.place);
    let is_own = |source: IpAddr| node.addresses.iter().any(|net| net.addr() == source);
    let (from, to) = (node.name.clone(), asker.world.node(receiver.place).name.clone());
    let mut vantage = vec![receiver.place];
    if receiver.place == Place::HOST && transport != Transport::Icmp {
        // A container engine may send it on.
        let published = asker.world.published.iter().filter(|published| published.host_port == port);
        vantage.extend(published.map(|published| published.container));
    }
    let probe = Probe {
        name: "explain".to_owned(),
        entry: "explain",
        class: Class::Control,
        pair: format!("{from} -> {to}"),
        threat: "",
        question: Question::Works,
        family,
        sender: sender.place,
        sending,
        vantage,
        is_answerable: source.is_none_or(is_own),
        expected: Expected::Unjudged,
        change: None,
    };
    let intended = asker.intended(&sender, &receiver, destination, family);
    Ok(Prepared { probe, from, to, intended, notes: asker.notes })
}

impl Asker<'_, '_> {
    /// What the topology says about the two.
    fn intended(
        &self,
        sender: &End,
        receiver: &End,
        destination: IpAddr,
        family: IpFamily,
    ) -> Option<String> {
        let from = self.party(sender.place)?;
        let to = match receiver.place {
            Place::HOST => Party::HostOn(self.nic_of(destination)?),
            place => self.party(place)?,
        };
        let way = self.intent.way(from, to, family)?;
        Some(format!("{} -> {}: {}", self.name(from), self.name(to), way.as_str()))
    }

    /// Whose side of the host a node is on; the upstream is behind the NIC that the default route leads to.
    fn party(&self, place: Place) -> Option<Party> {
        match self.world.node(place).role {
            NodeRole::Upstream => self.world.default_nic.map(Party::Nic),
            _ => self.world.party(place),
        }
    }

    /// The NIC that carries an address of the host.
    fn nic_of(&self, address: IpAddr) -> Option<usize> {
        let has = |nic: &usize| {
            let link = self.world.host_link_of_nic(self.intent, *nic);
            link.is_some_and(|link| link.addresses.iter().any(|net| net.addr() == address))
        };
        (0..self.intent.topology.nics.len()).find(has)
    }

    /// As the matrix calls it.
    fn name(&self, party: Party) -> String {
        let topology = self.intent.topology;
        match party {
            Party::Network(network) => topology.networks[network].name.to_string(),
            Party::Flat(flat) => topology.flats[flat].name.to_string(),
            Party::Nic(nic) => format!("{} ({})", topology.nics[nic].name, topology.nics[nic].role),
            Party::HostOn(nic) => format!("host on {}", topology.nics[nic].name),
        }
    }

    /// The family to ask in.
    fn family(&self, sender: &End, receiver: &End, asked: &Asked) -> Result<IpFamily, Refused> {
        let named = [asked.source, sender.address, receiver.address].into_iter().flatten().map(family_of);
        let wanted: BTreeSet<IpFamily> = named.chain(asked.family.map(IpFamily::from)).collect();
        let both = IpFamily::BOTH.into_iter().filter(|family| wanted.is_empty() || wanted.contains(family));
        if wanted.len() > 1 {
            return Err(refused("IPv4 and IPv6 do not go together in one packet", None));
        }
        let mut lacking = None;
        for family in both {
            let has = |end: &End| end.address.is_some() || self.address(end, sender, family).is_some();
            match (has(sender) || asked.source.is_some(), has(receiver)) {
                (true, true) => return Ok(family),
                (false, _) => lacking = Some((sender.place, family)),
                (_, false) => lacking = Some((receiver.place, family)),
            }
        }
        let (place, family) = lacking.unwrap_or((receiver.place, IpFamily::V4));
        let name = &self.world.node(place).name;
        Err(match (wanted.len(), receiver.link) {
            (0, _) => refused("the two have no IP version in common", None),
            (_, Some(link)) if place == Place::HOST => refused(
                format!("the host has no {family} address on {}", self.world.host_links[link].name),
                None,
            ),
            _ => refused(format!("{name} has no {family} address"), None),
        })
    }

    /// An address of somebody; of the host the one on the link in question.
    fn address(&self, end: &End, sender: &End, family: IpFamily) -> Option<IpAddr> {
        if end.place != Place::HOST {
            let node = self.world.node(end.place);
            return node.address(family).or_else(|| {
                let behind = node.behind_listed.iter().chain(&node.behind_unlisted);
                let internet =
                    if node.role == NodeRole::Upstream { self.world.internet.as_slice() } else { &[] };
                behind.chain(internet).copied().find(|address| family_of(*address) == family)
            });
        }
        let of = |link: usize| {
            let link = self.world.host_links.get(link)?;
            let gateways = || link.gateways.iter().copied().find(|address| family_of(*address) == family);
            link.address(family).or_else(gateways)
        };
        match end.link {
            Some(link) => of(link),
            None if sender.place == Place::HOST => (0..self.world.host_links.len()).find_map(of),
            None => of(self.world.node(sender.place).host_link),
        }
    }

    fn destination(&self, receiver: &End, sender: &End, family: IpFamily) -> Result<IpAddr, Refused> {
        if receiver.place == sender.place {
            return Err(refused("a node that sends to itself does not use the network", None));
        }
        let address = receiver.address.or_else(|| self.address(receiver, sender, family));
        address.ok_or_else(|| refused(format!("the receiver has no {family} address"), None))
    }

    /// A frame with a source of the user's choice.
    fn frame(
        &self,
        sender: &End,
        receiver: &End,
        source: IpAddr,
        destination: IpAddr,
        transport: Transport,
        port: u16,
    ) -> Packet {
        let (from, to) = (self.world.node(sender.place), self.world.node(receiver.place));
        // What is on the sender's own link goes there; everything else to its router, the host.
        let nets = &self.world.host_links[from.host_link].subnets;
        let is_neighbour = receiver.place != Place::HOST
            && from.host_link == to.host_link
            && nets.iter().any(|net| net.contains(&destination));
        Packet {
            to: if is_neighbour { To::Mac(to.mac) } else { To::Host },
            tags: Vec::new(),
            source,
            destination,
            hops: 64,
            extra: IpExtra::None,
            body: match transport {
                Transport::Icmp => Body::Echo,
                Transport::Udp => Body::Udp { port },
                Transport::Tcp => Body::TcpSyn { port },
            },
            pieces: Pieces::One,
        }
    }
}

pub(super) fn refused(message: impl Into<String>, hint: Option<&str>) -> Refused {
    Refused { message: message.into(), hint: hint.map(str::to_owned) }
}

pub(super) const fn family_of(address: IpAddr) -> IpFamily {
    match address {
        IpAddr::V4(_) => IpFamily::V4,
        IpAddr::V6(_) => IpFamily::V6,
    }
}
