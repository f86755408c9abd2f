//! The layout of a lab: which namespaces there are, and what their links and addresses are.
//!
//! Computed from the topology alone, so that a probe can be written down before there is a lab.

use std::net::IpAddr;

use ipnet::IpNet;

use crate::intent::{Intent, IpFamily, Party};

/// A node of the lab: an index into [`World::nodes`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Place(pub usize);

impl Place {
    /// The container host itself.
    pub const HOST: Self = Self(0);
}

/// A link-layer address, in the order of the wire.
pub type Mac = [u8; 6];

/// What a node is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum NodeRole {
    /// The container host: the namespace that isoplan runs in.
    Host,
    /// A container on one of the links of `Topology::networks[network]`.
    Container {
        /// Into `Topology::networks`.
        network: usize,
        /// Into [`World::host_links`]: the bridge that it is on. A wildcard has two.
        link: usize,
        /// 1 or 2.
        number: u8,
        /// Of an overlay: on another host, reached through the VXLAN tunnel.
        is_remote: bool,
    },
    /// An instance bridged onto a NIC's own network: `Topology::flats[_]`.
    Instance {
        /// Into `Topology::flats`.
        flat: usize,
        /// 1 or 2.
        number: u8,
    },
    /// A server on the network of `Topology::nics[_]`.
    Server(usize),
    /// A router on the network of `Topology::nics[_]`, with networks behind it.
    Router(usize),
    /// Where the host's default route leads, with a foot on every NIC's network; it forwards nothing unless
    /// a change of the host says so.
    Upstream,
    /// The switches: one bridge for each NIC. Nothing is captured and nothing has an address here.
    Wire,
}

/// One namespace of the lab. But for the host, the wire and the upstream's feet it has one link, `eth0`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Node {
    /// `host`, `wire`, `upstream`, `docker0-c1`, `br0-i1`, `eth1-server`, `eth1-router`.
    pub name: String,
    /// What it is.
    pub role: NodeRole,
    /// Of its `eth0`; zero for host and wire.
    pub mac: Mac,
    /// Of its `eth0`, the ones to use by default first; for the host, those of all its links.
    pub addresses: Vec<IpNet>,
    /// Addresses that it answers on as well, routed behind it: in a subnet of its NIC that the file lists
    /// after the first, where there is one.
    pub behind_listed: Vec<IpAddr>,
    /// The same, in no subnet of the file.
    pub behind_unlisted: Vec<IpAddr>,
    /// The link of the host that its frames come in on, into [`World::host_links`]; 0 for host and wire.
    pub host_link: usize,
    /// The other end of its `eth0`: the node and the name of the link there.
    pub port: (Place, String),
}

impl Node {
    /// Its first address of a family.
    pub fn address(&self, family: IpFamily) -> Option<IpAddr> {
        self.addresses.iter().find(|net| IpFamily::of(net) == family).map(IpNet::addr)
    }
}

/// What a link of the host is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum HostLinkRole {
    /// The bridge of a network.
    Network(usize),
    /// A NIC.
    Nic(usize),
    /// The bridge of a flat; the host's addresses of the NIC's network are here.
    Flat(usize),
}

/// A link of the host that the topology has, or an instance of one of its patterns.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HostLink {
    /// Its name: the topology's own.
    pub name: String,
    /// What it is.
    pub role: HostLinkRole,
    /// Its link-layer address: where its neighbours send what is to be routed.
    pub mac: Mac,
    /// The host's addresses on it, with the length of the link's prefix. None for a NIC in a flat.
    pub addresses: Vec<IpNet>,
}

impl HostLink {
    /// The host's first address on it of a family.
    pub fn address(&self, family: IpFamily) -> Option<IpAddr> {
        self.addresses.iter().find(|net| IpFamily::of(net) == family).map(IpNet::addr)
    }
}

/// A container port that the container engine publishes on every address of the host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Published {
    /// Into `Topology::networks`.
    pub network: usize,
    /// The port on the host, TCP and UDP.
    pub host_port: u16,
    /// The container.
    pub container: Place,
    /// The port in the container.
    pub port: u16,
}

/// The layout of a lab.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct World {
    /// The host is the first, the wire the second.
    pub nodes: Vec<Node>,
    /// By kind and name.
    pub host_links: Vec<HostLink>,
    /// The NIC that the host's default route leaves by: the first that some network or NIC reaches, else the
    /// first. None where there is no NIC.
    pub default_nic: Option<usize>,
    /// Addresses out in the internet, one for each family that the default NIC has: the upstream answers there.
    pub internet: Vec<IpAddr>,
    /// What the container engine publishes: one port for each network with an exact name.
    pub published: Vec<Published>,
}

impl World {
    /// Lays out the lab of a topology.
    pub fn new(_intent: &Intent<'_>) -> Self {
        todo!()
    }

    /// A node.
    pub fn node(&self, place: Place) -> &Node {
        &self.nodes[place.0]
    }

    /// The nodes with a role that matches.
    pub fn places(&self, matches: impl Fn(NodeRole) -> bool) -> Vec<Place> {
        let roles = self.nodes.iter().enumerate();
        roles.filter(|(_, node)| matches(node.role)).map(|(index, _)| Place(index)).collect()
    }

    /// A node by its name.
    pub fn by_name(&self, name: &str) -> Option<Place> {
        self.nodes.iter().position(|node| node.name == name).map(Place)
    }

    /// Containers of a network, those on its first link first.
    pub fn containers(&self, network: usize) -> Vec<Place> {
        self.places(|role| matches!(role, NodeRole::Container { network: of, .. } if of == network))
    }

    /// The server on a NIC's network.
    pub fn server(&self, nic: usize) -> Option<Place> {
        self.places(|role| role == NodeRole::Server(nic)).first().copied()
    }

    /// The router on a NIC's network.
    pub fn router(&self, nic: usize) -> Option<Place> {
        self.places(|role| role == NodeRole::Router(nic)).first().copied()
    }

    /// Instances of a flat.
    pub fn instances(&self, flat: usize) -> Vec<Place> {
        self.places(|role| matches!(role, NodeRole::Instance { flat: of, .. } if of == flat))
    }

    /// Where the default route leads.
    pub fn upstream(&self) -> Option<Place> {
        self.places(|role| role == NodeRole::Upstream).first().copied()
    }

    /// Links of the host that carry its own addresses for a NIC's network: the NIC, or the bridge of its flat.
    pub fn host_link_of_nic(&self, _intent: &Intent<'_>, _nic: usize) -> Option<&HostLink> {
        todo!()
    }

    /// Whose side of the host a node is on; none for host, wire and upstream.
    pub fn party(&self, place: Place) -> Option<Party> {
        match self.node(place).role {
            NodeRole::Container { network, .. } => Some(Party::Network(network)),
            NodeRole::Instance { flat, .. } => Some(Party::Flat(flat)),
            NodeRole::Server(nic) | NodeRole::Router(nic) => Some(Party::Nic(nic)),
            NodeRole::Host | NodeRole::Upstream | NodeRole::Wire => None,
        }
    }
}
