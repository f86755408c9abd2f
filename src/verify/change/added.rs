//! The addresses and names of what a change adds: chosen here, so that a probe can be written down before there is
//! a lab.

use std::net::IpAddr;

use ipnet::{IpNet, Ipv4Net, Ipv6Net};

use super::{Change, subject};
use crate::intent::{Intent, IpFamily};
use crate::topology::{IfName, NamePattern};
use crate::verify::world::{Place, World};

/// What a change adds in one family.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Added {
    /// Who has the new address: the server of the closed NIC ([`Change::SubnetAdded`]), the upstream
    /// ([`Change::NewNic`]: it gets one more link), the second container of the network
    /// ([`Change::NewContainer`]: it is made again with other addresses), or the first one
    /// ([`Change::Macvlan`]).
    pub place: Place,
    /// The new address.
    pub peer: IpAddr,
    /// The host's address on that link, with the length of its prefix. New for [`Change::SubnetAdded`] and
    /// [`Change::NewNic`].
    pub host: IpNet,
}

/// What a change adds; `None` for one that adds no address, and where there is nothing left to choose.
pub fn added(intent: &Intent<'_>, world: &World, change: Change, family: IpFamily) -> Option<Added> {
    let subject = subject(intent)?;
    let (place, link) = match change {
        Change::SubnetAdded => (world.server(subject.nic)?, None),
        Change::NewNic => (world.upstream()?, None),
        Change::NewContainer => {
            let place = subject.second_container(world)?;
            (place, world.host_links.get(world.node(place).host_link))
        }
        Change::Macvlan => (subject.container(world)?, world.host_link_of_nic(intent, subject.nic)),
        _ => return None,
    };
    match link {
        Some(link) => {
            let host = *link.addresses.iter().find(|net| IpFamily::of(net) == family)?;
            Some(Added { place, peer: free_address(world, host)?, host })
        }
        None => {
            let [host, peer] = match free_subnet(intent, world, family)? {
                IpNet::V4(net) => [10, 5].map(|number| {
                    let address = net.network().to_bits() | number;
                    IpNet::V4(Ipv4Net::new_assert(address.into(), net.prefix_len()))
                }),
                IpNet::V6(net) => [10, 5].map(|number| {
                    let address = net.network().to_bits() | number;
                    IpNet::V6(Ipv6Net::new_assert(address.into(), net.prefix_len()))
                }),
            };
            Some(Added { place, peer: peer.addr(), host })
        }
    }
}

/// A name for a link of the host that no entry of the file covers: the word itself, or with a letter before it.
pub fn unknown_link(intent: &Intent<'_>, word: &str) -> Option<String> {
    let topology = intent.topology;
    let is_known = |name: &str| {
        let Ok(name) = IfName::new(name).map(NamePattern::Exact) else { return true };
        let is_nic = |nic: &crate::topology::Nic| nic.name.as_str() == name.stem();
        let is_flat = |flat: &crate::topology::Flat| flat.name.as_str() == name.stem();
        topology.networks.iter().any(|network| network.name.covers(&name))
            || topology.nics.iter().any(is_nic)
            || topology.flats.iter().any(is_flat)
    };
    let others = ('a'..='z').rev().map(|letter| format!("{letter}{word}"));
    std::iter::once(word.to_owned()).chain(others).find(|name| !is_known(name))
}

/// A subnet that overlaps with none of the file and none of the lab.
fn free_subnet(intent: &Intent<'_>, world: &World, family: IpFamily) -> Option<IpNet> {
    let topology = intent.topology;
    let listed = topology.networks.iter().flat_map(|network| &network.subnets);
    let listed = listed.chain(topology.nics.iter().flat_map(|nic| &nic.subnets)).copied();
    let nodes = world.nodes.iter().flat_map(|node| node.routed.iter().copied());
    let links = world.host_links.iter().flat_map(|link| link.subnets.iter().copied());
    let single = taken(world).into_iter().chain(world.internet.iter().copied()).map(IpNet::from);
    let used: Vec<IpNet> = listed.chain(nodes).chain(links).chain(single).map(|net| net.trunc()).collect();
    let overlaps = |a: &IpNet, b: &IpNet| a.contains(b) || b.contains(a);
    candidates(family).find(|net| !used.iter().any(|other| overlaps(net, other)))
}

/// Every address in the lab.
fn taken(world: &World) -> Vec<IpAddr> {
    let nodes = world.nodes.iter().flat_map(|node| {
        let behind = node.behind_listed.iter().chain(&node.behind_unlisted).chain(&node.next_hops).copied();
        node.addresses.iter().map(IpNet::addr).chain(behind)
    });
    let links = world.host_links.iter().flat_map(|link| {
        let others = link.gateways.iter().chain(&link.translated).copied();
        link.addresses.iter().map(IpNet::addr).chain(others)
    });
    nodes.chain(links).collect()
}

/// Of the networks for benchmarks (RFC 2544), which nobody uses, and of a unique local prefix (RFC 4193).
fn candidates(family: IpFamily) -> impl Iterator<Item = IpNet> {
    (0..=255).map(move |number: u8| match family {
        IpFamily::V4 => IpNet::V4(Ipv4Net::new_assert([198, 19, number, 0].into(), 24)),
        IpFamily::V6 => {
            IpNet::V6(Ipv6Net::new_assert([0xfdce, 0x15, 0, u16::from(number), 0, 0, 0, 0].into(), 64))
        }
    })
}

/// An address of a link's network that nobody in the lab has.
fn free_address(world: &World, link: IpNet) -> Option<IpAddr> {
    let taken = taken(world);
    // Away from the low end, where the lab counts from, unless the network is too small for that.
    let hosts = || link.trunc().hosts();
    hosts().skip(32).take(256).chain(hosts().take(32)).find(|address| !taken.contains(address))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::topology;

    #[test]
    fn a_name_that_no_entry_covers() {
        let name = |file: &str, word| {
            let topology = topology::parse("topology.toml", file.as_bytes()).expect("a topology");
            unknown_link(&Intent::new(&topology), word)
        };
        assert_eq!(
            name("[[nic]]\nname = \"eth0\"\nrole = \"service\"\n", "br-new").as_deref(),
            Some("br-new")
        );
        let file = "[[bridge]]\nname = \"br-*\"\n[[bridge]]\nname = \"z*\"\n[[nic]]\nname = \"eth0\"\nrole = \"service\"\n";
        assert_eq!(name(file, "br-new").as_deref(), Some("ybr-new"));
    }
}
