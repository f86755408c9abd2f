//! What is on the networks of NICs.

use ipnet::IpNet;

use super::layout::Layout;
use super::space;
use super::{HostLinkRole, NodeRole, Place, World};
use crate::intent::{IpFamily, Party};
use crate::topology::{Nic, NicNat};

/// Numbers within a NIC's subnet.
const UPSTREAM: u32 = 1;
pub(super) const SERVER: u32 = 5;
const ROUTER: u32 = 6;
const HOST: u32 = 10;
const INSTANCES: [u32; 2] = [21, 22];
/// The router's number in a network behind it.
pub(super) const BEHIND: u32 = 7;
/// How many have addresses on a NIC's network, at most: all of the above.
const ALL: u128 = 6;
/// The lengths of networks that the file does not know.
const LENGTH_V4: u8 = 24;
const LENGTH_V6: u8 = 64;

/// The addresses on a NIC's network, by who has them.
#[derive(Debug, Default)]
pub(super) struct NicParts {
    pub(super) families: Vec<IpFamily>,
    server: Vec<IpNet>,
    router: Vec<IpNet>,
    pub(super) upstream: Vec<IpNet>,
    instances: [Vec<IpNet>; 2],
    /// Behind the router, of the file and not.
    listed: Vec<(IpNet, Option<IpNet>)>,
    unlisted: Vec<(IpNet, Option<IpNet>)>,
}

impl Layout<'_, '_> {
    /// Which subnets are on each link of a NIC. Needed before anybody has an address.
    pub(super) fn share_out_subnets(&mut self) {
        for (index, nic) in self.topology.nics.iter().enumerate() {
            let link = self.link_of_nic(index);
            let subnets = if nic.subnets.is_empty() { self.fresh_subnets() } else { on_link(nic) };
            let translated = self.topology.nics.iter().flat_map(|nic| match &nic.nat {
                NicNat::Snat(addresses) => addresses.as_slice(),
                NicNat::None | NicNat::Masquerade => &[],
            });
            let is_here = |address: &&std::net::IpAddr| subnets.iter().any(|net| net.contains(*address));
            let translated = translated.filter(is_here).copied().collect();
            let link = &mut self.world.host_links[link];
            link.translated = translated;
            link.subnets = subnets;
        }
    }

    /// A network of each family that the file does not have.
    pub(super) fn fresh_subnets(&mut self) -> Vec<IpNet> {
        let fresh = |family| self.space.fresh(family, unlisted_length(family));
        IpFamily::BOTH.into_iter().filter_map(fresh).collect()
    }

    /// Gives everybody on a NIC's network addresses.
    pub(super) fn parts_of(&mut self, nic: usize) -> NicParts {
        let link = self.link_of_nic(nic);
        let has_instances = self.flat_of_nic(nic).is_some();
        let is_default = self.world.default_nic == Some(nic);
        let subnets = self.world.host_links[link].subnets.clone();
        let speaks = |family: &IpFamily| self.intent.speaks(Party::Nic(nic), *family);
        let mut parts =
            NicParts { families: IpFamily::BOTH.into_iter().filter(speaks).collect(), ..NicParts::default() };
        for net in &subnets {
            // Whoever comes first gets an address where there are few.
            parts.server.extend(self.pick_main(*net, SERVER));
            if has_instances {
                parts.instances[0].extend(self.space.pick(*net, INSTANCES[0]));
            }
            let of_host = self.space.pick(*net, HOST);
            self.world.host_links[link].addresses.extend(of_host);
            parts.router.extend(self.space.pick(*net, ROUTER));
            if has_instances {
                parts.instances[1].extend(self.space.pick(*net, INSTANCES[1]));
            }
            if is_default {
                parts.upstream.extend(self.space.pick(*net, UPSTREAM));
            }
        }
        self.add_gateways(link);
        for net in self.topology.nics[nic].subnets.iter().filter(|net| !subnets.contains(net)) {
            let address = self.pick_main(*net, BEHIND);
            parts.listed.push((*net, address));
        }
        for family in parts.families.clone() {
            let Some(net) = self.space.fresh(family, unlisted_length(family)) else { continue };
            let address = self.space.pick(net, BEHIND);
            parts.unlisted.push((net, address));
        }
        parts
    }

    pub(super) fn add_instances(&mut self, parts: &[NicParts]) {
        for flat in 0..self.topology.flats.len() {
            let Some(nic) = self.intent.nic_of_flat(flat) else { continue };
            let link = self.link_of_nic(nic);
            for (number, addresses) in (1_u8..).zip(&parts[nic].instances) {
                if addresses.is_empty() {
                    continue;
                }
                let name = format!("{}-i{number}", self.topology.flats[flat].name);
                let place = self.push_node(name, NodeRole::Instance { flat, number }, link);
                let port = self.names.unknown();
                let node = self.node(place);
                node.port = (Place::HOST, port);
                node.addresses.clone_from(addresses);
            }
        }
    }

    pub(super) fn add_servers_and_routers(&mut self, parts: &[NicParts]) {
        for (nic, parts) in parts.iter().enumerate() {
            let link = self.link_of_nic(nic);
            let name = &self.topology.nics[nic].name;
            let server = self.push_node(format!("{name}-server"), NodeRole::Server(nic), link);
            let node = self.node(server);
            node.port = (Place::WIRE, format!("{}s", World::switch(nic)));
            node.addresses.clone_from(&parts.server);

            let router = self.push_node(format!("{name}-router"), NodeRole::Router(nic), link);
            let next_hops = self.next_hops(&parts.router, &parts.families);
            let node = self.node(router);
            node.port = (Place::WIRE, format!("{}r", World::switch(nic)));
            node.addresses.clone_from(&parts.router);
            node.next_hops = next_hops;
            node.routed = parts.listed.iter().chain(&parts.unlisted).map(|(net, _)| *net).collect();
            let addresses = |behind: &[(IpNet, Option<IpNet>)]| {
                behind.iter().filter_map(|(_, address)| address.map(|net| net.addr())).collect()
            };
            node.behind_listed = addresses(&parts.listed);
            node.behind_unlisted = addresses(&parts.unlisted);
        }
    }

    /// The NIC that a link of the host leads to.
    pub(super) fn nic_of_link(&self, link: usize) -> Option<usize> {
        match self.world.host_links[link].role {
            HostLinkRole::Network(_) => None,
            HostLinkRole::Nic(nic) => Some(nic),
            HostLinkRole::Flat(flat) => self.intent.nic_of_flat(flat),
        }
    }
}

const fn unlisted_length(family: IpFamily) -> u8 {
    match family {
        IpFamily::V4 => LENGTH_V4,
        IpFamily::V6 => LENGTH_V6,
    }
}

/// The subnet of each family that is on the link: the first one with room for all, else the widest.
fn on_link(nic: &Nic) -> Vec<IpNet> {
    let of_family = |family| {
        let mut subnets: Vec<IpNet> =
            nic.subnets.iter().filter(|net| IpFamily::of(net) == family).copied().collect();
        // Stable: the first of equal ones stays first.
        subnets.sort_by_key(|net| std::cmp::Reverse(space::room(*net).min(ALL)));
        subnets.first().copied()
    };
    IpFamily::BOTH.into_iter().filter_map(of_family).collect()
}
