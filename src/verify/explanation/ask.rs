//! What `isoplan explain` is asked, in the words of the topology and of the lab, as a probe.

use std::collections::BTreeSet;
use std::net::IpAddr;

use ipnet::IpNet;
use serde::{Deserialize, Serialize};

use crate::intent::{Intent, IpFamily};
use crate::topology::NamePattern;
use crate::verify::outcome::Expected;
use crate::verify::packet::{Body, IpExtra, Packet, Pieces, To};
use crate::verify::probe::{Class, PORT, Probe, Sending, Transport};
use crate::verify::question::Question;
use crate::verify::world::{HostLinkRole, NodeRole, Place, World};

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
    Ok(Prepared { probe, from, to, notes: asker.notes })
}

/// Somebody at one end.
struct End {
    place: Place,
    /// The very address that was asked for.
    address: Option<IpAddr>,
    /// Into `World::host_links`: for the host, on which link.
    link: Option<usize>,
}

impl End {
    const fn node(place: Place) -> Self {
        Self { place, address: None, link: None }
    }
}

struct Asker<'a, 't> {
    intent: &'a Intent<'t>,
    world: &'a mut World,
    notes: Vec<String>,
}

impl Asker<'_, '_> {
    fn sender(&mut self, word: &str, asked: &Asked) -> Result<End, Refused> {
        let mut sender = self.end(word, None)?;
        if sender.place == Place::HOST {
            if asked.source.is_some() {
                let hint = "a program of the host has the host's addresses; name a node as the sender";
                return Err(refused("the host cannot send with --source", Some(hint)));
            }
            // Which address it sends with, the route decides.
            (sender.address, sender.link) = (None, None);
        }
        let node = self.world.node(sender.place);
        // A socket takes the first of its family by itself.
        let is_first = |address: IpAddr| node.address(family_of(address)) == Some(address);
        if sender.address.is_some_and(is_first) {
            sender.address = None;
        }
        Ok(sender)
    }

    /// Who a word means.
    fn end(&mut self, word: &str, other: Option<Place>) -> Result<End, Refused> {
        if let Ok(address) = word.parse::<IpAddr>() {
            return self.by_address(address);
        }
        if let Some(on) = word.strip_prefix("host@") {
            let link = self.link(on).ok_or_else(|| self.unknown(on, "host@"))?;
            return Ok(End { place: Place::HOST, address: None, link: Some(link) });
        }
        let place = self.world.by_name(word).filter(|place| *place != Place::WIRE);
        if let Some(place) = place {
            return Ok(End::node(place));
        }
        let link = self.link(word).ok_or_else(|| self.unknown(word, ""))?;
        self.on_link(link, other).map(End::node).ok_or_else(|| {
            refused(format!("nobody in the lab is on {word}"), Some("its subnets have no room for a node"))
        })
    }

    /// A link of the host by its name, its pattern, or its role.
    fn link(&self, word: &str) -> Option<usize> {
        let topology = self.intent.topology;
        let links = || self.world.host_links.iter().enumerate();
        let by_name = links().find(|(_, link)| link.name == word);
        let by_entry = || {
            let is_pattern = |name: &NamePattern| name.is_prefix() && name.to_string() == word;
            links().find(|(_, link)| match link.role {
                HostLinkRole::Network(network) => is_pattern(&topology.networks[network].name),
                HostLinkRole::Nic(nic) => topology.nics[nic].role.0 == word,
                HostLinkRole::Flat(_) => false,
            })
        };
        let (index, link) = by_name.or_else(by_entry)?;
        // The addresses of a NIC in a flat are the bridge's, and so are its neighbours.
        let HostLinkRole::Nic(nic) = link.role else { return Some(index) };
        let bridge = self.world.host_link_of_nic(self.intent, nic)?;
        links().find(|(_, link)| link.name == bridge.name).map(|(index, _)| index)
    }

    /// The one to ask on a link: not the other end.
    fn on_link(&self, link: usize, other: Option<Place>) -> Option<Place> {
        let neighbours = self.world.neighbours(link);
        let rank = |place: &Place| match (self.world.node(*place).role, self.world.host_links[link].role) {
            (NodeRole::Container { .. }, _) => 0,
            (NodeRole::Instance { .. }, HostLinkRole::Flat(_)) => 0,
            (NodeRole::Server(_), _) => 1,
            (NodeRole::Router(_), _) => 2,
            _ => 3,
        };
        neighbours.into_iter().filter(|place| Some(*place) != other).min_by_key(rank)
    }

    fn by_address(&mut self, address: IpAddr) -> Result<End, Refused> {
        if let Some(what) = odd(address) {
            return Err(refused(format!("{address} is {what}, not the address of one host"), None));
        }
        let nets = self.world.host_links.iter().flat_map(|link| &link.subnets);
        let is_broadcast = |net: &&IpNet| {
            net.addr().is_ipv4()
                && net.prefix_len() < 31
                && net.contains(&address)
                && net.broadcast() == address
        };
        if let Some(net) = nets.clone().find(is_broadcast) {
            let message = format!("{address} is the broadcast address of {net}, not the address of one host");
            return Err(refused(message, None));
        }
        let found = |place: Place| End { place, address: Some(address), link: None };
        if let Some(place) = self.holder(address) {
            return Ok(found(place));
        }
        let (place, how) = self.nearest(address).ok_or_else(|| {
            let message = format!("{address} is in no network of the lab, and the host has no default route");
            refused(
                message,
                Some("name an address of a subnet in the file, or a node: isoplan lab --list-peers"),
            )
        })?;
        let name = self.world.node(place).name.clone();
        self.notes.push(format!("Nobody in the lab has {address}: {name} was given it, {how}."));
        Ok(found(place))
    }

    /// Who has an address.
    fn holder(&self, address: IpAddr) -> Option<Place> {
        let of_host = self.world.host_links.iter().any(|link| {
            let addresses = link.addresses.iter().map(IpNet::addr);
            addresses.chain(link.gateways.iter().copied()).any(|known| known == address)
        });
        if of_host {
            return Some(Place::HOST);
        }
        if self.world.internet.contains(&address) {
            return self.world.upstream();
        }
        let has = |place: &usize| {
            let node = &self.world.nodes[*place];
            let behind = node.behind_listed.iter().chain(&node.behind_unlisted).copied();
            node.addresses.iter().map(IpNet::addr).chain(behind).any(|known| known == address)
        };
        (Place::WIRE.0 + 1..self.world.nodes.len()).find(has).map(Place)
    }

    /// Gives an address to the one who would have it, and tells in which way.
    fn nearest(&mut self, address: IpAddr) -> Option<(Place, String)> {
        let links = self.world.host_links.iter().enumerate();
        let on_link = links
            .flat_map(|(index, link)| link.subnets.iter().map(move |net| (index, *net)))
            .filter(|(index, net)| net.contains(&address) && self.on_link(*index, None).is_some())
            .max_by_key(|(_, net)| net.prefix_len());
        if let Some((link, net)) = on_link {
            let place = self.on_link(link, None)?;
            let own = IpNet::new(address, net.prefix_len()).unwrap_or_else(|_| IpNet::from(address));
            self.world.nodes[place.0].addresses.push(own);
            let link = &self.world.host_links[link].name;
            return Some((place, format!("because it is in {net} on {link}")));
        }
        let behind = self.world.nodes.iter().enumerate().find_map(|(place, node)| {
            let net = node.routed.iter().find(|net| net.contains(&address))?;
            Some((Place(place), *net))
        });
        if let Some((place, net)) = behind {
            self.world.nodes[place.0].behind_listed.push(address);
            return Some((place, format!("because {net} is routed behind it")));
        }
        let upstream = self.world.upstream()?;
        let speaks = self.world.node(upstream).next_hops.iter().any(|hop| hop.is_ipv4() == address.is_ipv4());
        if !speaks {
            return None;
        }
        self.world.internet.push(address);
        Some((
            upstream,
            "because it is in no network of the file and the default route leads there".to_owned(),
        ))
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

    fn unknown(&self, word: &str, prefix: &str) -> Refused {
        let topology = self.intent.topology;
        let mut names: BTreeSet<String> =
            self.world.host_links.iter().map(|link| link.name.clone()).collect();
        names.extend(topology.nics.iter().map(|nic| nic.role.0.clone()));
        names.extend(topology.networks.iter().map(|network| network.name.to_string()));
        if prefix.is_empty() {
            let nodes = self.world.nodes.iter().filter(|node| node.role != NodeRole::Wire);
            names.extend(nodes.map(|node| node.name.clone()));
        }
        let limit = (word.chars().count() / 3).max(1);
        let near = names.iter().map(|name| (strsim::damerau_levenshtein(word, name), name));
        let near = near.filter(|(distance, _)| *distance <= limit).min();
        let hint = match near {
            Some((_, name)) => format!("did you mean `{prefix}{name}`?"),
            None => {
                const SHOWN: usize = 12;
                let shown: Vec<&str> = names.iter().take(SHOWN).map(String::as_str).collect();
                let more = if names.len() > SHOWN { ", ..." } else { "" };
                format!(
                    "there is {}{more}; isoplan lab --list-peers TOPOLOGY lists all nodes",
                    shown.join(", ")
                )
            }
        };
        refused(format!("nothing in the lab is called `{word}`"), Some(&hint))
    }
}

fn refused(message: impl Into<String>, hint: Option<&str>) -> Refused {
    Refused { message: message.into(), hint: hint.map(str::to_owned) }
}

const fn family_of(address: IpAddr) -> IpFamily {
    match address {
        IpAddr::V4(_) => IpFamily::V4,
        IpAddr::V6(_) => IpFamily::V6,
    }
}

/// What an address is that no single host has on a link.
fn odd(address: IpAddr) -> Option<&'static str> {
    match address {
        _ if address.is_unspecified() => Some("the unspecified address"),
        _ if address.is_loopback() => Some("a loopback address"),
        _ if address.is_multicast() => Some("a multicast address"),
        IpAddr::V4(address) if address.is_broadcast() => Some("the broadcast address"),
        IpAddr::V6(address) if address.is_unicast_link_local() => Some("a link-local address"),
        _ => None,
    }
}
