//! Container networks: their links, and the containers on them.

use std::collections::BTreeSet;

use ipnet::IpNet;

use super::layout::Layout;
use super::{HostLinkRole, NodeRole, Place, Tunnel, first_address};
use crate::intent::IpFamily;
use crate::topology::{NamePattern, NetworkKind};

/// How many links of a pattern there are.
const LINKS: usize = 2;
/// Numbers within a network's subnet.
const GATEWAY: u32 = 1;
pub(super) const CONTAINERS: [u32; 2] = [2, 3];

impl Layout<'_, '_> {
    /// The links of networks, with their subnets.
    pub(super) fn add_network_links(&mut self) {
        for (index, network) in self.topology.networks.iter().enumerate() {
            let names = match &network.name {
                NamePattern::Exact(name) => vec![name.to_string()],
                NamePattern::Prefix(stem) => self.names.of_pattern(stem.as_str(), LINKS),
            };
            let shares = share_out(&network.subnets, names.len());
            for (name, share) in names.into_iter().zip(shares) {
                let subnets = match (network.subnets.is_empty(), share.is_empty()) {
                    (true, _) => self.fresh_subnets(),
                    // A pattern with a single address: its second bridge would have nobody on it.
                    (false, true) => continue,
                    (false, false) => share,
                };
                let link = self.push_link(name, HostLinkRole::Network(index));
                self.world.host_links[link].subnets = subnets;
            }
        }
    }

    pub(super) fn add_containers(&mut self) {
        for link in 0..self.world.host_links.len() {
            let HostLinkRole::Network(network) = self.world.host_links[link].role else { continue };
            let mut addresses: [Vec<IpNet>; 2] = Default::default();
            for net in self.world.host_links[link].subnets.clone() {
                // Whoever comes first gets an address where there are few.
                addresses[0].extend(self.pick_main(net, CONTAINERS[0]));
                let gateway = self.space.pick(net, GATEWAY);
                self.world.host_links[link].addresses.extend(gateway);
                addresses[1].extend(self.space.pick(net, CONTAINERS[1]));
            }
            self.add_gateways(link);
            for (number, addresses) in (1_u8..).zip(addresses) {
                if addresses.is_empty() {
                    continue;
                }
                let name = format!("{}-c{number}", self.world.host_links[link].name);
                let role = NodeRole::Container { network, link, number, is_remote: false };
                let place = self.push_node(name, role, link);
                let port = self.names.unknown();
                let node = self.node(place);
                node.port = (Place::HOST, port);
                node.addresses = addresses;
            }
        }
    }

    /// Puts the second container of each overlay on another host, where its underlay has addresses for that.
    /// One tunnel for each identifier and port: of a pattern, or of two entries that have the same, the others
    /// stay here.
    pub(super) fn add_tunnels(&mut self) {
        let mut used = BTreeSet::new();
        for place in (0..self.world.nodes.len()).map(Place) {
            let NodeRole::Container { network, link, number: 2, .. } = self.world.node(place).role else {
                continue;
            };
            let NetworkKind::Overlay { underlay, vni, port } = &self.topology.networks[network].kind else {
                continue;
            };
            let Some(nic) = self.topology.nics.iter().position(|nic| nic.name == *underlay) else { continue };
            let underlay = self.link_of_nic(nic);
            let Some(server) = self.world.server(nic) else { continue };
            let ends = IpFamily::BOTH.into_iter().find_map(|family| {
                let host = self.world.host_links[underlay].address(family)?;
                Some((host, first_address(&self.world.node(server).addresses, family)?))
            });
            let Some((host, remote)) = ends else { continue };
            if !used.insert((*vni, *port)) {
                continue;
            }
            let tunnel = Tunnel { server, underlay, host, remote, vni: *vni, port: *port };
            let node = self.node(place);
            node.role = NodeRole::Container { network, link, number: 2, is_remote: true };
            node.tunnel = Some(tunnel);
        }
    }
}

/// The subnets of a network for each of its links. Of a family with several, every other one; a single one is
/// halved.
fn share_out(subnets: &[IpNet], links: usize) -> Vec<Vec<IpNet>> {
    let mut shares = vec![Vec::new(); links];
    if links == 0 {
        return shares;
    }
    for family in IpFamily::BOTH {
        let nets: Vec<IpNet> = subnets.iter().filter(|net| IpFamily::of(net) == family).copied().collect();
        let nets = match nets.as_slice() {
            [net] if links > 1 => match net.subnets(net.prefix_len() + 1) {
                Ok(halves) => halves.collect(),
                // An address alone.
                Err(_) => nets,
            },
            _ => nets,
        };
        for (number, net) in nets.into_iter().enumerate() {
            shares[number % links].push(net);
        }
    }
    shares
}
