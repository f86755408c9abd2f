//! Who the words of a question mean, in a lab.

use std::collections::BTreeSet;
use std::net::IpAddr;

use ipnet::IpNet;

use super::ask::{Asked, Refused, family_of, refused};
use crate::intent::Intent;
use crate::topology::NamePattern;
use crate::verify::world::{HostLinkRole, NodeRole, Place, World};

/// Somebody at one end.
pub(super) struct End {
    pub(super) place: Place,
    /// The very address that was asked for.
    pub(super) address: Option<IpAddr>,
    /// Into `World::host_links`: for the host, on which link.
    pub(super) link: Option<usize>,
}

impl End {
    const fn node(place: Place) -> Self {
        Self { place, address: None, link: None }
    }
}

/// A link that a word names.
#[derive(Clone, Copy)]
struct Named {
    /// Into `World::host_links`.
    link: usize,
    /// Whether the word is of a NIC: in a flat, the link is the bridge that it is a port of.
    is_nic: bool,
}

pub(super) struct Asker<'a, 't> {
    pub(super) intent: &'a Intent<'t>,
    pub(super) world: &'a mut World,
    pub(super) notes: Vec<String>,
}

impl Asker<'_, '_> {
    pub(super) fn sender(&mut self, word: &str, asked: &Asked) -> Result<End, Refused> {
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
    pub(super) fn end(&mut self, word: &str, other: Option<Place>) -> Result<End, Refused> {
        if let Ok(address) = word.parse::<IpAddr>() {
            return self.by_address(address);
        }
        if let Some(on) = word.strip_prefix("host@") {
            let named = self.link(on).ok_or_else(|| self.unknown(on, "host@"))?;
            return Ok(End { place: Place::HOST, address: None, link: Some(named.link) });
        }
        let place = self.world.by_name(word).filter(|place| *place != Place::WIRE);
        if let Some(place) = place {
            return Ok(End::node(place));
        }
        let named = self.link(word).ok_or_else(|| self.unknown(word, ""))?;
        self.on_link(named, other).map(End::node).ok_or_else(|| {
            refused(format!("nobody in the lab is on {word}"), Some("its subnets have no room for a node"))
        })
    }

    /// A link of the host by its name, its pattern, or its role.
    fn link(&self, word: &str) -> Option<Named> {
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
        let HostLinkRole::Nic(nic) = link.role else { return Some(Named { link: index, is_nic: false }) };
        let bridge = self.world.host_link_of_nic(self.intent, nic)?;
        let bridge = links().find(|(_, link)| link.name == bridge.name)?;
        Some(Named { link: bridge.0, is_nic: true })
    }

    /// The one to ask on a link: not the other end.
    fn on_link(&self, named: Named, other: Option<Place>) -> Option<Place> {
        let neighbours = self.world.neighbours(named.link);
        let rank = |place: &Place| match (self.world.node(*place).role, named.is_nic) {
            (NodeRole::Container { .. }, _) | (NodeRole::Instance { .. }, false) => 0,
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
            let family = family_of(address);
            let message =
                format!("{address} is in no network of the lab, and the host has no {family} default route");
            refused(
                message,
                Some("name an address of a subnet in the file, or a node: isoplan lab TOPOLOGY --list-peers"),
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
        let someone = |link| self.on_link(Named { link, is_nic: true }, None);
        let on_link = links
            .flat_map(|(index, link)| link.subnets.iter().map(move |net| (index, *net)))
            .filter(|(_, net)| net.contains(&address))
            .filter_map(|(index, net)| Some((index, net, someone(index)?)))
            .max_by_key(|(_, net, _)| net.prefix_len());
        if let Some((link, net, place)) = on_link {
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
                    "there is {}{more}; isoplan lab TOPOLOGY --list-peers lists all nodes",
                    shown.join(", ")
                )
            }
        };
        refused(format!("nothing in the lab is called `{word}`"), Some(&hint))
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
