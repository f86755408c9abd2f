//! What `ip -batch` is told: the links, addresses, neighbours and routes of each namespace.
//!
//! Every name is behind a keyword (`dev`, `name`), for it may be one itself. Neighbours are written down on both
//! sides, so that no packet waits for an answer of ARP or neighbour discovery.

use std::fmt::{self, Write as _};
use std::net::IpAddr;

use ipnet::IpNet;

use crate::intent::IpFamily;
use crate::verify::world::{HostLink, HostLinkRole, Mac, Node, NodeRole, Place, World};

/// The routing table of what the upstream forwards. Its own packets are routed by the host.
pub(super) const FORWARDED: u32 = 100;

/// The lines for one namespace.
#[derive(Debug, Default)]
pub(super) struct Lines(pub(super) String);

impl Lines {
    pub(super) fn say(&mut self, line: fmt::Arguments<'_>) {
        let _ = self.0.write_fmt(line);
        self.0.push('\n');
    }

    fn neighbour(&mut self, address: IpAddr, mac: Mac, device: &str) {
        self.say(format_args!("neigh replace {address} lladdr {} dev {device} nud permanent", mac_text(mac)));
    }

    fn address(&mut self, interface: IpNet, device: &str) {
        // No duplicate address detection: the address is of use at once.
        let nodad = if interface.addr().is_ipv6() { " nodad" } else { "" };
        self.say(format_args!("address replace {interface} dev {device}{nodad}"));
    }
}

/// A link-layer address as `ip` takes it.
pub fn mac_text(mac: Mac) -> String {
    mac.map(|byte| format!("{byte:02x}")).join(":")
}

/// On the host: makes a link of the topology, without addresses. A NIC comes with its cable to the wire, and is
/// a port of its flat's bridge where it has one. A bridge has no ports. The kernel chooses the index where none
/// is given.
pub fn host_link(world: &World, link: usize, index: Option<u32>) -> String {
    let mut lines = Lines::default();
    let index = index_text(index);
    let HostLink { name, mac, role, cable, .. } = &world.host_links[link];
    let mac = mac_text(*mac);
    match (role, cable) {
        (HostLinkRole::Nic(nic), Some(cable)) => {
            let wire = &world.node(Place::WIRE).name;
            lines.say(format_args!(
                "link add name {name} {index}address {mac} type veth peer name {cable} netns {wire}"
            ));
            if let Some(bridge) = world.host_links.iter().find(|other| is_flat_of(world, other, *nic)) {
                lines.say(format_args!("link set dev {name} addrgenmode none master {}", bridge.name));
            }
        }
        _ => {
            lines.say(format_args!("link add name {name} {index}address {mac} type bridge mcast_snooping 0"))
        }
    }
    lines.say(format_args!("link set dev {name} up"));
    lines.0
}

fn index_text(index: Option<u32>) -> String {
    index.map(|index| format!("index {index} ")).unwrap_or_default()
}

/// Whether a link is the bridge of the flat that a NIC is a port of.
fn is_flat_of(world: &World, link: &HostLink, nic: usize) -> bool {
    let server = world.server(nic).map(|place| world.node(place).host_link);
    matches!(link.role, HostLinkRole::Flat(_))
        && server.is_some_and(|index| world.host_links[index].name == link.name)
}

/// On the wire: plugs in the cable of a NIC.
pub fn plug(world: &World, nic: usize) -> String {
    let mut lines = Lines::default();
    if let Some(cable) = world.nic_link(nic).and_then(|link| link.cable.as_ref()) {
        lines.say(format_args!("link set dev {cable} master {} up", World::switch(nic)));
    }
    lines.0
}

/// On the host: the addresses, neighbours and routes of a link, on the device of that name: the link's own, or
/// one that has taken its place and has its link-layer address.
pub fn settle(world: &World, link: usize, device: &str) -> String {
    let mut lines = Lines::default();
    let this = &world.host_links[link];
    for address in &this.addresses {
        lines.address(*address, device);
    }
    for gateway in &this.gateways {
        if this.addresses.iter().all(|net| net.addr() != *gateway) {
            lines.address(IpNet::from(*gateway), device);
        }
    }
    for net in &this.subnets {
        if !this.addresses.iter().any(|address| address.trunc() == *net) {
            lines.say(format_args!("route replace {net} dev {device}"));
        }
    }
    for place in world.neighbours(link) {
        let node = world.node(place);
        for address in addresses_of(node) {
            lines.neighbour(address, node.mac, device);
        }
        for net in &node.routed {
            if let Some(next_hop) = same_family(&node.next_hops, *net) {
                lines.say(format_args!("route replace {net} via {next_hop} dev {device} onlink"));
            }
        }
        if node.role == NodeRole::Upstream {
            for next_hop in &node.next_hops {
                lines.say(format_args!("route replace default via {next_hop} dev {device} onlink"));
            }
        }
    }
    lines.0
}

/// On the host: the port of a container or instance on its bridge, with the other end in its namespace; for a
/// container on another host, this host's end of the tunnel.
pub fn port(world: &World, place: Place, index: Option<u32>) -> String {
    let mut lines = Lines::default();
    let index = index_text(index);
    let node = world.node(place);
    let (Place::HOST, port) = &node.port else { return String::new() };
    match &node.tunnel {
        None => {
            lines.say(format_args!(
                "link add name {port} {index}type veth peer name eth0 address {} netns {}",
                mac_text(node.mac),
                node.name
            ));
        }
        Some(tunnel) => {
            // The default destination of `remote` is all that there is in the forwarding table.
            lines.say(format_args!(
                "link add name {port} {index}type vxlan id {} dev {} local {} remote {} dstport {} nolearning",
                tunnel.vni, world.host_links[tunnel.underlay].name, tunnel.host, tunnel.remote, tunnel.port
            ));
        }
    }
    // Nobody speaks IPv6 on a port itself.
    let bridge = &world.host_links[node.host_link].name;
    lines.say(format_args!("link set dev {port} addrgenmode none master {bridge} up"));
    lines.0
}

/// On the host: puts a port that is still there back on its bridge.
pub fn enslave(world: &World, place: Place) -> String {
    let node = world.node(place);
    match &node.port {
        (Place::HOST, port) => {
            format!("link set dev {port} master {}\n", world.host_links[node.host_link].name)
        }
        _ => String::new(),
    }
}

/// In the namespace of a node on a link of the host, once its `eth0` is there: addresses, neighbours, routes.
pub fn node(world: &World, place: Place) -> String {
    let mut lines = Lines::default();
    let node = world.node(place);
    let link = &world.host_links[node.host_link];
    lines.say(format_args!("link set dev lo up"));
    lines.say(format_args!("link set dev eth0 up"));
    for address in &node.addresses {
        lines.address(*address, "eth0");
    }
    let internet = if node.role == NodeRole::Upstream { world.internet.as_slice() } else { &[] };
    for address in node.behind_listed.iter().chain(&node.behind_unlisted).chain(internet) {
        lines.address(IpNet::from(*address), "lo");
    }
    let of_host = link.addresses.iter().map(IpNet::addr).chain(link.gateways.iter().copied());
    for address in of_host.chain(link.translated.iter().copied()) {
        lines.neighbour(address, link.mac, "eth0");
    }
    for other in world.neighbours(node.host_link).into_iter().filter(|other| *other != place) {
        let other = world.node(other);
        for address in addresses_of(other) {
            lines.neighbour(address, other.mac, "eth0");
        }
    }
    for gateway in &link.gateways {
        lines.say(format_args!("route replace default via {gateway} dev eth0 onlink"));
    }
    lines.0
}

/// In the namespace of a server: makes the `eth0` of a container that is on this other host.
pub(super) fn tunnel(world: &World, place: Place) -> String {
    let mut lines = Lines::default();
    let node = world.node(place);
    if let Some(tunnel) = &node.tunnel {
        // Where it is moved to is no matter for the packets it sends: these stay with the server.
        let first = format!("t{}", place.0);
        lines.say(format_args!(
            "link add name {first} address {} type vxlan id {} dev eth0 local {} remote {} dstport {} nolearning",
            mac_text(node.mac), tunnel.vni, tunnel.remote, tunnel.host, tunnel.port
        ));
        lines.say(format_args!("link set dev {first} netns {} name eth0", node.name));
    }
    lines.0
}

/// On the wire: a switch with its cables.
pub(super) fn switch(world: &World, nic: usize) -> String {
    let mut lines = Lines::default();
    let bridge = World::switch(nic);
    lines.say(format_args!("link add name {bridge} type bridge mcast_snooping 0"));
    lines.say(format_args!("link set dev {bridge} up"));
    let nodes = world.nodes.iter().filter(|node| is_on_switch(world, node, nic));
    let cables = nodes.map(|node| (&node.port.1, "eth0", node.mac, &node.name));
    let upstream = world.upstream().map(|place| &world.node(place).name);
    let feet = world.feet.iter().filter(|foot| foot.nic == nic);
    let feet =
        feet.zip(upstream).map(|(foot, upstream)| (&foot.port, foot.link.as_str(), foot.mac, upstream));
    for (port, far, mac, namespace) in cables.chain(feet) {
        let mac = mac_text(mac);
        lines.say(format_args!(
            "link add name {port} type veth peer name {far} address {mac} netns {namespace}"
        ));
        lines.say(format_args!("link set dev {port} master {bridge} up"));
    }
    lines.0 + &plug(world, nic)
}

fn is_on_switch(world: &World, node: &Node, nic: usize) -> bool {
    match node.role {
        NodeRole::Server(of) | NodeRole::Router(of) => of == nic,
        NodeRole::Upstream => world.default_nic == Some(nic),
        NodeRole::Host | NodeRole::Wire | NodeRole::Container { .. } | NodeRole::Instance { .. } => false,
    }
}

/// In the namespace of the upstream: its feet, and the ways to the networks of NICs for what it forwards.
pub(super) fn feet(world: &World) -> String {
    let mut lines = Lines::default();
    let on_feet = world.feet.iter().map(|foot| (foot.nic, foot.link.as_str()));
    for (nic, device) in on_feet.chain(world.default_nic.map(|nic| (nic, "eth0"))) {
        let Some(server) = world.server(nic) else { continue };
        let link = world.node(server).host_link;
        if device != "eth0" {
            lines.say(format_args!("link set dev {device} up"));
        }
        let this = &world.host_links[link];
        for net in &this.subnets {
            lines.say(format_args!("route replace {net} dev {device} table {FORWARDED}"));
        }
        for place in world.neighbours(link) {
            let node = world.node(place);
            if device != "eth0" {
                for address in addresses_of(node) {
                    lines.neighbour(address, node.mac, device);
                }
            }
            for net in &node.routed {
                if let Some(next_hop) = same_family(&node.next_hops, *net) {
                    lines.say(format_args!(
                        "route replace {net} via {next_hop} dev {device} onlink table {FORWARDED}"
                    ));
                }
            }
        }
        if device != "eth0" {
            let of_host = this.addresses.iter().map(IpNet::addr);
            for address in of_host.chain(this.translated.iter().copied()) {
                lines.neighbour(address, this.mac, device);
            }
        }
    }
    lines.0
}

/// The addresses that a node answers on at its link.
fn addresses_of(node: &Node) -> impl Iterator<Item = IpAddr> {
    let own = node.addresses.iter().map(IpNet::addr);
    let next_hops = node.next_hops.iter().copied();
    let strays = next_hops.filter(|next_hop| node.addresses.iter().all(|net| net.addr() != *next_hop));
    own.chain(strays)
}

fn same_family(addresses: &[IpAddr], net: IpNet) -> Option<IpAddr> {
    let is_v4 = IpFamily::of(&net) == IpFamily::V4;
    addresses.iter().copied().find(|address| address.is_ipv4() == is_v4)
}
