//! From a topology to a [`World`], step by step.

use std::collections::BTreeSet;
use std::net::IpAddr;

use ipnet::IpNet;

use super::names::Names;
use super::nics::NicParts;
use super::space::{self, Space};
use super::{Foot, HostLink, HostLinkRole, Mac, Node, NodeRole, Place, Published, World};
use crate::intent::{Intent, IpFamily};
use crate::topology::Topology;

/// The port that the first published one has on the host.
const FIRST_PUBLISHED: u16 = 8001;
/// The port of every published service in its container.
const SERVICE: u16 = 80;

/// Whose link-layer address it is: the second byte of it.
#[derive(Debug, Clone, Copy)]
enum Kind {
    Node,
    HostLink,
    Foot,
}

/// What the steps have in common.
pub(super) struct Layout<'i, 't> {
    pub(super) intent: &'i Intent<'t>,
    pub(super) topology: &'t Topology,
    pub(super) space: Space,
    pub(super) names: Names<'t>,
    /// Addresses that an exception needs somebody to have, with the subnet they are in.
    pub(super) wanted: Vec<(IpNet, IpAddr)>,
    pub(super) world: World,
}

pub(super) fn lay_out(intent: &Intent<'_>) -> World {
    let topology = intent.topology;
    let mut layout = Layout {
        intent,
        topology,
        space: Space::new(topology),
        names: Names::new(topology),
        wanted: Vec::new(),
        world: World {
            nodes: Vec::new(),
            host_links: Vec::new(),
            default_nic: default_nic(intent),
            internet: Vec::new(),
            published: Vec::new(),
            feet: Vec::new(),
            targets: Vec::new(),
        },
    };
    layout.push_node("host".to_owned(), NodeRole::Host, 0);
    layout.push_node("wire".to_owned(), NodeRole::Wire, 0);
    layout.add_network_links();
    for nic in 0..topology.nics.len() {
        let link = layout.push_link(topology.nics[nic].name.to_string(), HostLinkRole::Nic(nic));
        layout.world.host_links[link].cable = Some(format!("{}h", World::switch(nic)));
    }
    for (flat, entry) in topology.flats.iter().enumerate() {
        layout.push_link(entry.name.to_string(), HostLinkRole::Flat(flat));
    }
    layout.share_out_subnets();
    layout.reserve_targets();
    let parts: Vec<NicParts> = (0..topology.nics.len()).map(|nic| layout.parts_of(nic)).collect();
    layout.add_containers();
    layout.add_instances(&parts);
    layout.add_servers_and_routers(&parts);
    layout.add_upstream(&parts);
    layout.add_tunnels();
    layout.find_targets();
    layout.publish();
    let of_host = layout.world.host_links.iter().flat_map(|link| link.addresses.iter().copied()).collect();
    layout.world.nodes[Place::HOST.0].addresses = of_host;
    layout.world
}

/// The NIC of the default route.
fn default_nic(intent: &Intent<'_>) -> Option<usize> {
    let count = intent.topology.nics.len();
    let reached =
        intent.network_reach.iter().chain(&intent.nic_reach).flat_map(|reached| &reached.nics).min();
    reached.copied().or((count > 0).then_some(0))
}

impl Layout<'_, '_> {
    /// A node without addresses; its place.
    pub(super) fn push_node(&mut self, name: String, role: NodeRole, host_link: usize) -> Place {
        let place = Place(self.world.nodes.len());
        let is_peer = !matches!(role, NodeRole::Host | NodeRole::Wire);
        self.world.nodes.push(Node {
            name,
            role,
            mac: if is_peer { mac(Kind::Node, place.0) } else { Mac::default() },
            addresses: Vec::new(),
            behind_listed: Vec::new(),
            behind_unlisted: Vec::new(),
            routed: Vec::new(),
            next_hops: Vec::new(),
            host_link,
            port: (place, String::new()),
            tunnel: None,
        });
        place
    }

    pub(super) fn node(&mut self, place: Place) -> &mut Node {
        &mut self.world.nodes[place.0]
    }

    /// A link without addresses; its index.
    pub(super) fn push_link(&mut self, name: String, role: HostLinkRole) -> usize {
        let index = self.world.host_links.len();
        self.world.host_links.push(HostLink {
            name,
            role,
            mac: mac(Kind::HostLink, index),
            addresses: Vec::new(),
            subnets: Vec::new(),
            gateways: Vec::new(),
            translated: Vec::new(),
            cable: None,
        });
        index
    }

    /// The link with the host's addresses for a NIC's network.
    pub(super) fn link_of_nic(&self, nic: usize) -> usize {
        let carries = |role| match role {
            HostLinkRole::Flat(flat) => self.intent.nic_of_flat(flat) == Some(nic),
            HostLinkRole::Nic(this) => this == nic && self.flat_of_nic(nic).is_none(),
            HostLinkRole::Network(_) => false,
        };
        let links = &self.world.host_links;
        links.iter().position(|link| carries(link.role)).expect("every NIC has a link, or its flat has")
    }

    pub(super) fn flat_of_nic(&self, nic: usize) -> Option<usize> {
        let name = &self.topology.nics[nic].name;
        self.topology.flats.iter().position(|flat| flat.nic == *name)
    }

    /// An address of a subnet for the one who gets the targets of exceptions there: where the subnet is too
    /// small for numbers, it is such a target.
    pub(super) fn pick_main(&mut self, net: IpNet, number: u32) -> Option<IpNet> {
        let (first, last) = space::usable(net);
        let is_small = !(first..=last).contains(&space::bits(space::numbered(net, number)));
        let wanted = self.wanted.iter().find(|(of, address)| *of == net && !self.space.is_taken(*address));
        match wanted {
            Some((_, address)) if is_small => self.space.take(*address, net),
            _ => self.space.pick(net, number),
        }
    }

    /// Default routes for those on a link: the host's address, or one outside of the file.
    pub(super) fn add_gateways(&mut self, link: usize) {
        for family in IpFamily::BOTH {
            let link = &mut self.world.host_links[link];
            if !link.subnets.iter().any(|net| IpFamily::of(net) == family) {
                continue;
            }
            let gateway = link.address(family).or_else(|| self.space.stray(family));
            link.gateways.extend(gateway);
        }
    }

    fn add_upstream(&mut self, parts: &[NicParts]) {
        let Some(nic) = self.world.default_nic else { return };
        let link = self.link_of_nic(nic);
        let place = self.push_node("upstream".to_owned(), NodeRole::Upstream, link);
        let next_hops = self.next_hops(&parts[nic].upstream, &parts[nic].families);
        let node = self.node(place);
        node.port = (Place::WIRE, format!("{}u", World::switch(nic)));
        node.addresses.clone_from(&parts[nic].upstream);
        node.next_hops = next_hops;
        for family in &parts[nic].families {
            let address = self.space.internet(*family);
            self.world.internet.extend(address);
        }
        for other in (0..parts.len()).filter(|other| *other != nic) {
            self.world.feet.push(Foot {
                nic: other,
                link: format!("foot{other}"),
                mac: mac(Kind::Foot, other),
                port: format!("{}u", World::switch(other)),
            });
        }
    }

    /// By which address the host routes to a node: its own of each family, or one that nobody has.
    pub(super) fn next_hops(&mut self, addresses: &[IpNet], families: &[IpFamily]) -> Vec<IpAddr> {
        let next_hop = |family: &IpFamily| {
            super::first_address(addresses, *family).or_else(|| self.space.stray(*family))
        };
        families.iter().filter_map(next_hop).collect()
    }

    fn publish(&mut self) {
        let mut published = BTreeSet::new();
        let mut host_ports = FIRST_PUBLISHED..=u16::MAX;
        for (place, node) in self.world.nodes.iter().enumerate() {
            let NodeRole::Container { network, .. } = node.role else { continue };
            if self.topology.networks[network].name.is_prefix() || !published.insert(network) {
                continue;
            }
            let Some(host_port) = host_ports.next() else { return };
            let container = Place(place);
            self.world.published.push(Published { network, host_port, container, port: SERVICE });
        }
    }
}

/// Locally administered (IEEE 802, 0x02 in the first byte), and different for everybody.
fn mac(kind: Kind, number: usize) -> Mac {
    let [.., a, b, c, d] = number.to_be_bytes();
    [0x02, kind as u8, a, b, c, d]
}
