//! Where exceptions lead: addresses that somebody in the lab must have.

use std::net::IpAddr;

use ipnet::IpNet;

use super::layout::Layout;
use super::networks::CONTAINERS;
use super::space::{self, address, bits, family_of, numbered, usable};
use super::{HostLinkRole, NodeRole, Place, Target};
use crate::intent::Party;

/// A subnet with the number of the one who gets the targets there by default.
type Sited = (IpNet, u32);

impl Layout<'_, '_> {
    /// Keeps everybody else off the addresses that exceptions lead to.
    pub(super) fn reserve_targets(&mut self) {
        for (allow, pair) in self.topology.allows.iter().zip(&self.intent.exceptions) {
            let Some((_, party)) = pair else { continue };
            for (net, number) in self.sites(*party) {
                let Some(both) = intersection(net, allow.to) else { continue };
                if allow.to.contains(&numbered(net, number)) && space::room(net) > u128::from(number) {
                    continue;
                }
                if let Some(address) = targets(net, both).next() {
                    self.space.reserve(address);
                    self.wanted.push((net, address));
                }
            }
        }
    }

    /// Finds or makes the target of every exception.
    pub(super) fn find_targets(&mut self) {
        let pairs: Vec<_> = self.topology.allows.iter().zip(&self.intent.exceptions).collect();
        for (allow, pair) in pairs {
            let target = pair.and_then(|(_, party)| {
                self.found(party, allow.to).or_else(|| {
                    let sites = self.sites(party);
                    sites.into_iter().find_map(|(net, _)| self.made(party, net, allow.to))
                })
            });
            self.world.targets.push(target);
        }
    }

    /// Somebody of a party who has an address within `to` already.
    fn found(&self, party: Party, to: IpNet) -> Option<Target> {
        let nodes = self.world.nodes.iter().enumerate();
        nodes.filter(|(place, _)| self.world.party(Place(*place)) == Some(party)).find_map(|(place, node)| {
            let mut addresses =
                node.addresses.iter().map(IpNet::addr).chain(node.behind_listed.iter().copied());
            let address = addresses.find(|address| to.contains(address))?;
            Some(Target { place: Place(place), address })
        })
    }

    /// Gives somebody of a party one more address, of a subnet and within `to`.
    fn made(&mut self, party: Party, net: IpNet, to: IpNet) -> Option<Target> {
        let both = intersection(net, to)?;
        let is_link = |link: &super::HostLink| link.subnets.contains(&net);
        let link = self.world.host_links.iter().position(is_link);
        let is_his = |role| match (role, party, link) {
            (
                NodeRole::Container { network, link: of, is_remote: false, .. },
                Party::Network(this),
                Some(link),
            ) => network == this && of == link,
            (NodeRole::Server(nic), Party::Nic(this), Some(_)) => nic == this,
            (NodeRole::Router(nic), Party::Nic(this), None) => nic == this,
            _ => false,
        };
        let place = self.world.places(is_his).first().copied()?;
        let address = targets(net, both).find(|address| !self.space.is_taken(*address))?;
        let taken = self.space.take(address, net)?;
        let node = self.node(place);
        match link {
            Some(_) => node.addresses.push(taken),
            None => node.behind_listed.push(address),
        }
        Some(Target { place, address })
    }

    /// The subnets of the file where a party has somebody.
    fn sites(&self, party: Party) -> Vec<Sited> {
        let links = self.world.host_links.iter().enumerate();
        match party {
            Party::Network(network) => {
                let links = links.filter(|(_, link)| link.role == HostLinkRole::Network(network));
                links.flat_map(|(_, link)| link.subnets.iter().map(|net| (*net, CONTAINERS[0]))).collect()
            }
            Party::Nic(nic) => {
                let on_link: Vec<IpNet> = links
                    .filter(|(index, _)| self.nic_of_link(*index) == Some(nic))
                    .flat_map(|(_, link)| link.subnets.iter().copied())
                    .collect();
                let number = |net: &IpNet| {
                    if on_link.contains(net) { super::nics::SERVER } else { super::nics::BEHIND }
                };
                self.topology.nics[nic].subnets.iter().map(|net| (*net, number(net))).collect()
            }
            Party::Flat(_) | Party::HostOn(_) => Vec::new(),
        }
    }
}

/// What two networks have in common: the smaller one, or nothing.
fn intersection(a: IpNet, b: IpNet) -> Option<IpNet> {
    if a.contains(&b) {
        Some(b)
    } else if b.contains(&a) {
        Some(a)
    } else {
        None
    }
}

/// The addresses of a part of a subnet that a packet can be sent to, the lowest first. The lowest one of an IPv4
/// subnet is among them where it alone is asked for: an address like others since Linux 5.14.
fn targets(net: IpNet, part: IpNet) -> impl Iterator<Item = IpAddr> {
    let (first, last) = usable(net);
    let lowest = bits(net.network());
    let is_lowest = matches!(part, IpNet::V4(_)) && part == IpNet::from(net.network());
    let first = if is_lowest { lowest } else { first.max(bits(part.network())) };
    let last = if is_lowest { lowest } else { last.min(bits(part.broadcast())) };
    (first..=last).map(move |bits| address(family_of(net), bits))
}
