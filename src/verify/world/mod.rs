//! The layout of a lab: which namespaces there are, and what their links and addresses are.
//!
//! Computed from the topology alone, so that a probe can be written down before there is a lab.
//!
//! - The host has the links of the topology, by their names. A pattern has two, with the subnets shared out.
//! - On each link of a network are two containers, in as far as its subnets have room for them.
//! - Each NIC leads to a switch of its own, with a server and a router on it. The first subnet of a family that
//!   has room for all is the one on the link, else the widest; all others are routed, by way of the router. Behind the router is
//!   also one network of each family that the file does not know.
//! - A NIC in a flat is a port of the flat's bridge, which carries the host's addresses. Instances have addresses
//!   of the NIC's network, and the host is their router: what they send to other networks then passes the host,
//!   which is the harder case for its rules. An instance with another router gets there all the same, by frames
//!   to the host's link-layer address.
//! - The upstream is where the host's default route leads. It has one more link, a foot, on every other NIC's
//!   switch, so that it can deliver there once it forwards (`Lab::upstream_forwards`).
//! - Everybody's default route is the host.
//! - Where the file gives a party no subnet, it gets addresses that are in no subnet of the file.

mod layout;
mod names;
mod networks;
mod nics;
mod space;
mod targets;

use std::net::IpAddr;

use ipnet::IpNet;

use crate::intent::{Intent, IpFamily, Party};

/// A node of the lab: an index into [`World::nodes`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Place(pub usize);

impl Place {
    /// The container host itself.
    pub const HOST: Self = Self(0);
    /// The switches.
    pub const WIRE: Self = Self(1);
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

/// The way of a container on another host: a VXLAN device at either end (RFC 7348).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tunnel {
    /// The server that is the other host. The container's `eth0` is made there.
    pub server: Place,
    /// The link of the host that carries the encapsulated packets, into [`World::host_links`].
    pub underlay: usize,
    /// The host's end.
    pub host: IpAddr,
    /// The server's end.
    pub remote: IpAddr,
    /// The VXLAN network identifier.
    pub vni: u32,
    /// The UDP port at both ends.
    pub port: u16,
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
    /// Of its `eth0`, the ones to use by default first; for the host, those of all its links. Routers and the
    /// upstream may have none of a family: a narrow subnet is for the server and the host.
    pub addresses: Vec<IpNet>,
    /// Addresses that it answers on as well, routed behind it: in the subnets of its NIC that are not the one
    /// on the link.
    pub behind_listed: Vec<IpAddr>,
    /// The same, in no subnet of the file.
    pub behind_unlisted: Vec<IpAddr>,
    /// The networks that the host routes by way of this node; those of the addresses behind it.
    pub routed: Vec<IpNet>,
    /// By which address the host routes to what is behind it, one of each family: its own, or where it has none
    /// on the link, one that nobody has.
    pub next_hops: Vec<IpAddr>,
    /// The link of the host that its frames come in on, into [`World::host_links`]; 0 for host and wire. On the
    /// network of a NIC in a flat this is the flat's bridge.
    pub host_link: usize,
    /// The other end of its `eth0`: the node and the name of the link there. For a container on another host it
    /// is the VXLAN device of this one.
    pub port: (Place, String),
    /// Of a container on another host.
    pub tunnel: Option<Tunnel>,
}

impl Node {
    /// Its first address of a family.
    pub fn address(&self, family: IpFamily) -> Option<IpAddr> {
        first_address(&self.addresses, family)
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
    /// The host's addresses on it, with the length of the link's prefix. None for a NIC in a flat, and none of
    /// a family where the subnet is too narrow. Always in a subnet of the file where the file has any for it.
    pub addresses: Vec<IpNet>,
    /// The networks on the link, of the file where it has any.
    pub subnets: Vec<IpNet>,
    /// The default routes of those on the link, one of each family: the host's first address, or where it has
    /// none, one outside of the file that it has besides.
    pub gateways: Vec<IpAddr>,
    /// `snat` addresses of the file within the networks on the link: neighbours know the host by them.
    pub translated: Vec<IpAddr>,
    /// Of a NIC: the name of the other end of the cable, in the namespace of the wire.
    pub cable: Option<String>,
}

impl HostLink {
    /// The host's first address on it of a family.
    pub fn address(&self, family: IpFamily) -> Option<IpAddr> {
        first_address(&self.addresses, family)
    }
}

fn first_address(addresses: &[IpNet], family: IpFamily) -> Option<IpAddr> {
    addresses.iter().find(|net| IpFamily::of(net) == family).map(IpNet::addr)
}

/// A link of the upstream on the network of a NIC that is not the default one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Foot {
    /// Into `Topology::nics`.
    pub nic: usize,
    /// The name of the link in the upstream's namespace.
    pub link: String,
    /// Its link-layer address.
    pub mac: Mac,
    /// The other end, in the namespace of the wire.
    pub port: String,
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

/// Where an exception leads, in the lab.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Target {
    /// Who has the address.
    pub place: Place,
    /// An address within the `to` of the exception.
    pub address: IpAddr,
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
    /// The upstream's links on the networks of the other NICs.
    pub feet: Vec<Foot>,
    /// By exception, in the order of `Topology::allows`. `None` where no node can have an address of its `to`:
    /// a broadcast address, or the anycast address that the host takes as a router (RFC 4291, 2.6.1).
    pub targets: Vec<Option<Target>>,
}

impl World {
    /// Lays out the lab of a topology.
    pub fn new(intent: &Intent<'_>) -> Self {
        layout::lay_out(intent)
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
    pub fn host_link_of_nic(&self, intent: &Intent<'_>, nic: usize) -> Option<&HostLink> {
        let flat = (0..intent.topology.flats.len()).find(|flat| intent.nic_of_flat(*flat) == Some(nic));
        let role = flat.map_or(HostLinkRole::Nic(nic), HostLinkRole::Flat);
        self.host_links.iter().find(|link| link.role == role)
    }

    /// The name of the switch that a NIC leads to: a bridge in the namespace of the wire.
    pub fn switch(nic: usize) -> String {
        format!("n{nic}")
    }

    /// The NIC itself, also where it is a port of a flat's bridge.
    pub fn nic_link(&self, nic: usize) -> Option<&HostLink> {
        self.host_links.iter().find(|link| link.role == HostLinkRole::Nic(nic))
    }

    /// Who is on a link of the host; of a NIC's network without the upstream's feet.
    pub fn neighbours(&self, link: usize) -> Vec<Place> {
        let nodes = self.nodes.iter().enumerate();
        let on_link = nodes.filter(|(index, node)| *index > Place::WIRE.0 && node.host_link == link);
        on_link.map(|(index, _)| Place(index)).collect()
    }

    /// Whether anybody in the lab has an address of a family.
    pub fn speaks(&self, family: IpFamily) -> bool {
        let gateways = self.host_links.iter().flat_map(|link| &link.gateways);
        gateways.into_iter().any(|address| address.is_ipv4() == (family == IpFamily::V4))
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
