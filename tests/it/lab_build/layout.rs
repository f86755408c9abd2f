//! What holds for the layout of every topology.

use std::collections::BTreeSet;
use std::net::IpAddr;

use ipnet::IpNet;
use isoplan::intent::{Intent, IpFamily, Party};
use isoplan::topology::{IfName, NamePattern, Topology};
use isoplan::verify::world::{HostLinkRole, NodeRole, Place, World};
use proptest::prelude::*;

use super::{fixtures, odd_files, parse};
use crate::draw;

/// Every subnet of a file.
fn subnets(topology: &Topology) -> Vec<IpNet> {
    let networks = topology.networks.iter().flat_map(|network| &network.subnets);
    networks.chain(topology.nics.iter().flat_map(|nic| &nic.subnets)).copied().collect()
}

fn overlap(a: &IpNet, b: &IpNet) -> bool {
    a.contains(b) || b.contains(a)
}

/// The subnets of a party.
fn subnets_of(intent: &Intent<'_>, party: Party) -> Vec<IpNet> {
    match party {
        Party::Network(network) => intent.topology.networks[network].subnets.clone(),
        Party::Nic(nic) | Party::HostOn(nic) => intent.topology.nics[nic].subnets.clone(),
        Party::Flat(flat) => {
            let nic = intent.nic_of_flat(flat).expect("a flat has a NIC");
            intent.topology.nics[nic].subnets.clone()
        }
    }
}

fn names_are_told_apart(topology: &Topology, world: &World) -> Result<(), TestCaseError> {
    let names: BTreeSet<_> = world.nodes.iter().map(|node| node.name.as_str()).collect();
    prop_assert_eq!(names.len(), world.nodes.len(), "a name for each node");
    let macs: BTreeSet<_> = world
        .nodes
        .iter()
        .skip(2)
        .map(|node| node.mac)
        .chain(world.host_links.iter().map(|link| link.mac))
        .chain(world.feet.iter().map(|foot| foot.mac))
        .collect();
    let ends = world.nodes.len() - 2 + world.host_links.len() + world.feet.len();
    prop_assert_eq!(macs.len(), ends, "a link-layer address for each end");
    let entries = |name: &str| -> Vec<String> {
        let name = NamePattern::Exact(IfName::new(name).expect("the name of a link"));
        let networks = topology.networks.iter().map(|network| &network.name);
        let others = topology.flats.iter().map(|flat| &flat.name);
        let others = others.chain(topology.nics.iter().map(|nic| &nic.name)).cloned().map(NamePattern::Exact);
        networks.cloned().chain(others).filter(|of| of.covers(&name)).map(|of| of.to_string()).collect()
    };
    let mut on_host = BTreeSet::new();
    for link in &world.host_links {
        prop_assert!(on_host.insert(link.name.clone()), "{} twice", link.name);
        let of_role = match link.role {
            HostLinkRole::Network(network) => topology.networks[network].name.clone(),
            HostLinkRole::Nic(nic) => NamePattern::Exact(topology.nics[nic].name.clone()),
            HostLinkRole::Flat(flat) => NamePattern::Exact(topology.flats[flat].name.clone()),
        };
        let entries = entries(&link.name);
        prop_assert!(entries.contains(&of_role.to_string()), "{} is no {of_role}", link.name);
        // A name that a pattern covers as well stands for itself.
        prop_assert!(!of_role.is_prefix() || entries.len() == 1, "{} is {entries:?}", link.name);
    }
    for node in world.nodes.iter().skip(2) {
        match &node.port {
            (Place::HOST, port) => {
                prop_assert!(on_host.insert(port.clone()), "{port} twice");
                prop_assert!(entries(port).is_empty(), "{port} is {:?}", entries(port));
            }
            (place, port) => {
                prop_assert_eq!(*place, Place::WIRE);
                prop_assert!(port.len() <= 15);
            }
        }
    }
    let ports: BTreeSet<_> = world.published.iter().map(|published| published.host_port).collect();
    prop_assert_eq!(ports.len(), world.published.len());
    Ok(())
}

fn addresses_are_right(intent: &Intent<'_>, world: &World) -> Result<(), TestCaseError> {
    let topology = intent.topology;
    let listed = subnets(topology);
    let mut all = BTreeSet::new();
    let mut check = |who: &str, address: IpAddr| {
        prop_assert!(all.insert(address), "{address} of {who} is somebody else's as well");
        Ok(())
    };
    let within = |who: &str, address: IpAddr, subnets: &[IpNet]| {
        let is_there = |subnets: &[IpNet]| subnets.iter().any(|net| net.contains(&address));
        prop_assert!(is_there(subnets) || (subnets.is_empty() && !is_there(&listed)), "{address} of {who}");
        Ok(())
    };
    let never: Vec<IpNet> =
        ["127.0.0.0/8", "169.254.0.0/16", "224.0.0.0/3", "0.0.0.0/8", "fe80::/10", "ff00::/8"]
            .map(|net| net.parse().expect("a network"))
            .into();
    for link in &world.host_links {
        let party = match link.role {
            HostLinkRole::Network(network) => Party::Network(network),
            HostLinkRole::Nic(nic) => Party::Nic(nic),
            HostLinkRole::Flat(flat) => Party::Flat(flat),
        };
        let own = subnets_of(intent, party);
        for net in &link.addresses {
            check(&link.name, net.addr())?;
            within(&link.name, net.addr(), &own)?;
            prop_assert!(link.subnets.contains(&net.trunc()));
        }
        for gateway in &link.gateways {
            if link.addresses.iter().all(|net| net.addr() != *gateway) {
                check(&link.name, *gateway)?;
                within(&link.name, *gateway, &[])?;
            }
        }
        let families = |family: &IpFamily| link.subnets.iter().any(|net| IpFamily::of(net) == *family);
        let families = IpFamily::BOTH.into_iter().filter(families).count();
        prop_assert_eq!(link.gateways.len(), families, "{}", link.name);
    }
    for (place, node) in world.nodes.iter().enumerate().skip(2) {
        let default = world.default_nic.map(Party::Nic);
        let party = world.party(Place(place)).or(default).expect("only the host and the wire have none");
        let own = subnets_of(intent, party);
        for net in &node.addresses {
            check(&node.name, net.addr())?;
            within(&node.name, net.addr(), &own)?;
            prop_assert!(world.host_links[node.host_link].subnets.contains(&net.trunc()), "{}", node.name);
            let is_single = net.prefix_len() + 1 >= net.max_prefix_len();
            prop_assert!(is_single || net.addr() != net.broadcast() || net.addr().is_ipv6(), "{net}");
        }
        for address in &node.behind_listed {
            check(&node.name, *address)?;
            within(&node.name, *address, &own)?;
            prop_assert!(node.routed.iter().any(|net| net.contains(address)));
        }
        for address in &node.behind_unlisted {
            check(&node.name, *address)?;
            within(&node.name, *address, &[])?;
            prop_assert!(node.routed.iter().any(|net| net.contains(address)));
        }
        for next_hop in &node.next_hops {
            if node.addresses.iter().all(|net| net.addr() != *next_hop) {
                check(&node.name, *next_hop)?;
                within(&node.name, *next_hop, &[])?;
            }
        }
        prop_assert!(
            !node.addresses.is_empty() || matches!(node.role, NodeRole::Router(_) | NodeRole::Upstream),
            "{} has no address",
            node.name
        );
    }
    for address in &world.internet {
        check("the internet", *address)?;
        within("the internet", *address, &[])?;
    }
    for address in &all {
        prop_assert!(never.iter().all(|net| !net.contains(address)), "{address}");
    }
    let routed: Vec<&IpNet> = world.nodes.iter().flat_map(|node| &node.routed).collect();
    for (index, net) in routed.iter().enumerate() {
        prop_assert!(listed.contains(net) || listed.iter().all(|other| !overlap(net, other)), "{net}");
        prop_assert!(routed[..index].iter().all(|other| !overlap(net, other)), "{net}");
    }
    Ok(())
}

/// Who speaks a family has an address of it, as far as there are any.
fn parties_have_addresses(intent: &Intent<'_>, world: &World) -> Result<(), TestCaseError> {
    let topology = intent.topology;
    let parties = (0..topology.networks.len()).map(Party::Network);
    let parties = parties.chain((0..topology.nics.len()).map(Party::Nic));
    let parties: Vec<Party> = parties.chain((0..topology.flats.len()).map(Party::Flat)).collect();
    for (party, family) in parties.iter().flat_map(|party| IpFamily::BOTH.map(|family| (*party, family))) {
        let nodes = world.nodes.iter().enumerate();
        let mut nodes = nodes.filter(|(place, _)| world.party(Place(*place)) == Some(party));
        let has = nodes.any(|(_, node)| node.address(family).is_some());
        // Where there are few addresses, the host, the server and the targets of exceptions may have all.
        let is_narrow =
            |net: &IpNet| IpFamily::of(net) == family && net.max_prefix_len() - net.prefix_len() < 4;
        if !matches!(party, Party::Nic(_)) && !has && subnets_of(intent, party).iter().any(is_narrow) {
            continue;
        }
        prop_assert_eq!(has, intent.speaks(party, family), "{:?} {}", party, family);
    }
    for (nic, entry) in topology.nics.iter().enumerate() {
        for family in IpFamily::BOTH {
            let nets = || entry.subnets.iter().filter(move |net| IpFamily::of(net) == family);
            let is_wide = nets().any(|net| net.max_prefix_len() - net.prefix_len() >= 3);
            if intent.speaks(Party::Nic(nic), family) && (is_wide || entry.subnets.is_empty()) {
                let link = world.host_link_of_nic(intent, nic).expect("a link");
                prop_assert!(link.address(family).is_some(), "the host on {}", entry.name);
                let router = world.router(nic).expect("a router");
                prop_assert!(world.node(router).address(family).is_some(), "the router on {}", entry.name);
            }
        }
        let router = world.node(world.router(nic).expect("a router"));
        let spoken = IpFamily::BOTH.into_iter().filter(|family| intent.speaks(Party::Nic(nic), *family));
        prop_assert_eq!(router.behind_unlisted.len(), spoken.count());
        let on_link =
            entry.subnets.len().min(world.host_link_of_nic(intent, nic).expect("a link").subnets.len());
        let behind: BTreeSet<_> = router
            .behind_listed
            .iter()
            .filter_map(|a| entry.subnets.iter().find(|net| net.contains(a)))
            .collect();
        prop_assert_eq!(behind.len(), entry.subnets.len() - on_link, "behind {}", entry.name);
    }
    for (network, entry) in topology.networks.iter().enumerate() {
        let links: BTreeSet<_> =
            world.containers(network).iter().map(|place| world.node(*place).host_link).collect();
        let is_single = entry.subnets.iter().all(|net| net.prefix_len() == net.max_prefix_len());
        let has_two = entry.name.is_prefix() && (entry.subnets.is_empty() || !is_single);
        let is_right = links.len() == if has_two { 2 } else { 1 } || (entry.name.is_prefix() && is_single);
        // What an exception leads to has its address first; there may be none left.
        let is_narrow = |net: &IpNet| net.max_prefix_len() - net.prefix_len() < 3;
        let is_full = links.is_empty() && !entry.subnets.is_empty() && entry.subnets.iter().all(is_narrow);
        prop_assert!(is_right || is_full, "{} links of {}", links.len(), entry.name);
        let has_room = entry.subnets.iter().all(|net| net.max_prefix_len() - net.prefix_len() >= 4);
        prop_assert!(!has_room || world.containers(network).len() == 2 * links.len(), "{}", entry.name);
    }
    Ok(())
}

fn exceptions_lead_somewhere(intent: &Intent<'_>, world: &World) -> Result<(), TestCaseError> {
    prop_assert_eq!(world.targets.len(), intent.topology.allows.len());
    for (number, (allow, target)) in intent.topology.allows.iter().zip(&world.targets).enumerate() {
        let Some(target) = target else {
            // Nobody can have the last address of an IPv4 subnet or the first of an IPv6 one.
            let is_edge =
                |net: &IpNet| net.network() == allow.to.addr() || net.broadcast() == allow.to.addr();
            let mut nets =
                world.host_links.iter().flat_map(|link| &link.subnets).copied().collect::<Vec<_>>();
            nets.extend(world.nodes.iter().flat_map(|node| &node.routed));
            let is_single = allow.to.prefix_len() == allow.to.max_prefix_len();
            // Or all addresses are taken, by those whom other exceptions lead to.
            let is_narrow = |net: &&IpNet| net.max_prefix_len() - net.prefix_len() < 3;
            prop_assert!(
                is_single && nets.iter().any(is_edge)
                    || nets.iter().filter(is_narrow).any(|net| net.contains(&allow.to)),
                "nobody for {}",
                allow.to
            );
            continue;
        };
        let (_, party) = intent.exceptions[number].expect("an exception has two ends");
        prop_assert!(allow.to.contains(&target.address));
        prop_assert_eq!(world.party(target.place), Some(party));
        let node = world.node(target.place);
        let is_his = node.addresses.iter().any(|net| net.addr() == target.address);
        prop_assert!(is_his || node.behind_listed.contains(&target.address));
    }
    Ok(())
}

fn is_a_right_layout(text: &str) -> Result<(), TestCaseError> {
    let topology = parse(text);
    let intent = Intent::new(&topology);
    let world = World::new(&intent);
    prop_assert_eq!(&world, &World::new(&intent), "the same each time");
    names_are_told_apart(&topology, &world)?;
    addresses_are_right(&intent, &world)?;
    parties_have_addresses(&intent, &world)?;
    exceptions_lead_somewhere(&intent, &world)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn every_topology_has_a_layout(drawn in draw::topology()) {
        is_a_right_layout(&drawn.text())?;
    }
}

#[test]
fn every_fixture_has_a_layout() {
    for (name, text) in fixtures() {
        is_a_right_layout(&text).unwrap_or_else(|error| panic!("{name}: {error}"));
    }
}

#[test]
fn odd_files_have_a_layout() {
    for file in odd_files() {
        is_a_right_layout(&file).unwrap_or_else(|error| panic!("{file}\n{error}"));
    }
}
