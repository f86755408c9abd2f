//! The lab that isoplan ships: its layout for every topology, and the namespaces that come of it.

use std::collections::BTreeSet;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::AsFd as _;
use std::os::unix::fs::MetadataExt as _;
use std::time::{Duration, Instant};

use ipnet::IpNet;
use isoplan::intent::{Intent, IpFamily, Party};
use isoplan::lab::build::{Lab, Options};
use isoplan::lab::isolate;
use isoplan::topology::{self, IfName, NamePattern, Topology};
use isoplan::verify::world::{HostLinkRole, NodeRole, Place, World};
use nix::mount::{MntFlags, MsFlags, mount, umount2};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sched::{CloneFlags, unshare};
use proptest::prelude::*;
use proptest::test_runner::TestRunner;
use socket2::{Domain, Protocol, Socket, Type};

use crate::draw;
use crate::lab::in_namespace;

const OPTIONS: Options = Options { engine_masquerades: false, cpu: 0 };

fn parse(text: &str) -> Topology {
    topology::parse("topology.toml", text.as_bytes()).expect("a valid topology")
}

/// Every fixture that is not one of mistakes.
fn fixtures() -> Vec<(String, String)> {
    let directory = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures");
    let mut fixtures: Vec<_> = std::fs::read_dir(directory)
        .expect("list the fixtures")
        .map(|entry| entry.expect("list the fixtures").path())
        .filter_map(|path| {
            let text = std::fs::read_to_string(path.join("topology.toml")).ok()?;
            Some((path.file_name()?.to_string_lossy().into_owned(), text))
        })
        .collect();
    fixtures.sort();
    assert!(fixtures.len() > 10, "{} fixtures", fixtures.len());
    fixtures
}

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
        // An address alone is the server's.
        let is_alone = |net: &IpNet| IpFamily::of(net) == family && net.prefix_len() == net.max_prefix_len();
        if matches!(party, Party::Flat(_)) && subnets_of(intent, party).iter().any(is_alone) {
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
        prop_assert!(is_right, "{} links of {}", links.len(), entry.name);
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
            prop_assert!(
                allow.to.prefix_len() == allow.to.max_prefix_len() && nets.iter().any(is_edge),
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
    #![proptest_config(ProptestConfig { cases: 512, ..ProptestConfig::default() })]

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

/// What random files seldom have.
fn odd_files() -> [String; 6] {
    let nic =
        |subnets: &str| format!("[[nic]]\nname = \"eth0\"\nrole = \"service\"\nsubnets = [{subnets}]\n");
    let bridge =
        |name: &str, subnets: &str| format!("[[bridge]]\nname = \"{name}\"\nsubnets = [{subnets}]\n");
    [
        // Almost all of the addresses for private use, and the ones that the lab would take.
        nic("\"198.18.0.0/15\", \"10.0.0.0/8\"")
            + &bridge("b0", "\"192.168.0.0/16\"")
            + &bridge("b1", "\"172.16.0.0/12\""),
        nic("\"203.0.113.0/24\", \"fd15:b1a:5eed::/48\"")
            + &bridge("b0", "\"198.51.100.0/24\", \"fc00::/8\""),
        // Ports would be called so.
        nic("") + &bridge("port*", "") + &bridge("pt*", "") + &bridge("lab1", "") + &bridge("lab*", ""),
        // One byte is left for the pattern, and some of them are names.
        nic("")
            + &bridge("fourteen-bytes*", "\"10.0.0.0/31\"")
            + &bridge("fourteen-bytes1", "")
            + &bridge("fourteen-bytes2", ""),
        // Narrow.
        nic("\"10.0.0.0/32\", \"10.0.1.0/32\", \"fd00::/127\"")
            + &bridge("b0", "\"10.1.0.0/31\", \"fd01::/128\""),
        nic("\"10.0.0.0/32\", \"10.0.1.0/30\"") + &bridge("b*", "\"10.1.0.0/32\", \"fd01::/127\""),
    ]
}

#[test]
fn odd_files_have_a_layout() {
    for file in odd_files() {
        is_a_right_layout(&file).unwrap_or_else(|error| panic!("{file}\n{error}"));
    }
}

/// Sends one echo request from a node and waits for the answer. Only what cannot be sent or is not answered
/// within seconds is a failure: the lab was ready.
fn ping(lab: &Lab, from: Place, to: IpAddr) -> io::Result<()> {
    const LIMIT: Duration = Duration::from_secs(5);
    let (domain, protocol, request, answer) = match to {
        IpAddr::V4(_) => (Domain::IPV4, Protocol::ICMPV4, 8, 0),
        IpAddr::V6(_) => (Domain::IPV6, Protocol::ICMPV6, 128, 129),
    };
    let socket = lab.at(from).enter(|| Socket::new(domain, Type::RAW, Some(protocol)))??;
    socket.set_nonblocking(true)?;
    socket.connect(&SocketAddr::new(to, 0).into())?;
    // Checksum and header: over IPv6 the kernel fills in the checksum.
    let mut packet = [request, 0, 0, 0, 0x15, 0x0b, 0x1a, 0x5e];
    if to.is_ipv4() {
        let sum: u32 = packet.chunks(2).map(|pair| u32::from(pair[0]) << 8 | u32::from(pair[1])).sum();
        let sum = !u16::try_from((sum & 0xffff) + (sum >> 16)).expect("a short packet");
        packet[2..4].copy_from_slice(&sum.to_be_bytes());
    }
    socket.send(&packet)?;
    let deadline = Instant::now() + LIMIT;
    while Instant::now() < deadline {
        let mut waited = [PollFd::new(socket.as_fd(), PollFlags::POLLIN)];
        poll(&mut waited, PollTimeout::from(100_u8))?;
        let mut buffer = [0_u8; 256];
        while let Ok(length) = io::Read::read(&mut &socket, &mut buffer) {
            // Over IPv4 the IP header comes along.
            let start = if to.is_ipv4() { usize::from(buffer[0] & 0xf) * 4 } else { 0 };
            if buffer[..length].get(start) == Some(&answer) && buffer[start + 4..start + 8] == packet[4..8] {
                return Ok(());
            }
        }
    }
    Err(io::Error::other(format!("no answer within {LIMIT:?}")))
}

/// Builds a lab and sends echoes from everywhere to the host, from the host to everywhere, and to the internet.
fn build_and_ping(name: &str, text: &str) -> Result<(), TestCaseError> {
    let topology = parse(text);
    let intent = Intent::new(&topology);
    let before = Instant::now();
    let lab = Lab::start(World::new(&intent), OPTIONS)
        .map_err(|error| TestCaseError::fail(format!("{name}: {error}")))?;
    eprintln!("{name}: {} nodes in {:?}", lab.world.nodes.len(), before.elapsed());
    let world = &lab.world;
    let mut failed = Vec::new();
    let mut sent = 0;
    let mut check = |from: Place, to: IpAddr| {
        sent += 1;
        if let Err(error) = ping(&lab, from, to) {
            failed.push(format!("{} -> {to}: {error}", world.node(from).name));
        }
    };
    for place in (0..world.nodes.len()).map(Place).filter(|place| *place > Place::WIRE) {
        let node = world.node(place);
        for family in IpFamily::BOTH {
            let link = &world.host_links[node.host_link];
            if node.address(family).is_none() {
                continue;
            }
            if let Some(gateway) =
                link.gateways.iter().find(|address| address.is_ipv4() == (family == IpFamily::V4))
            {
                check(place, *gateway);
            }
            for internet in world.internet.iter().filter(|to| to.is_ipv4() == (family == IpFamily::V4)) {
                check(place, *internet);
            }
        }
        let own = node.addresses.iter().map(IpNet::addr);
        for address in
            own.chain(node.behind_listed.iter().copied()).chain(node.behind_unlisted.iter().copied())
        {
            check(Place::HOST, address);
        }
    }
    for target in world.targets.iter().flatten() {
        check(Place::HOST, target.address);
    }
    prop_assert!(failed.is_empty(), "{name}: {} of {sent} echoes\n{}", failed.len(), failed.join("\n"));
    prop_assert!(sent > 0, "{name}: no echo");
    Ok(())
}

/// One test for each fixture: each needs namespaces of its own.
macro_rules! builds {
    ($($name:ident: $fixture:literal,)*) => {
        $(#[test]
        fn $name() {
            in_namespace(|| {
                let text = include_str!(concat!("../../fixtures/", $fixture, "/topology.toml"));
                build_and_ping($fixture, text).unwrap_or_else(|error| panic!("{error}"));
            });
        })*

        #[test]
        fn every_fixture_is_built() {
            let built = [$($fixture),*];
            for (name, _) in fixtures() {
                assert!(built.contains(&name.as_str()), "no test builds {name}");
            }
        }
    };
}

builds! {
    builds_docker_host: "docker-host",
    builds_exceptions: "exceptions",
    builds_flat: "flat",
    builds_ipv6_only: "ipv6-only",
    builds_nat_gateway: "nat-gateway",
    builds_nic_reach: "nic-reach",
    builds_no_bridge: "no-bridge",
    builds_overlay: "overlay",
    builds_router: "router",
    builds_service_instance: "service-instance",
    builds_sysctl: "sysctl",
    builds_three_nics: "three-nics",
    builds_wildcard: "wildcard",
}

/// Makes another network namespace for this thread, which takes the place of the host, and lets nothing of an
/// earlier lab stay.
fn on_fresh_host<T>(work: impl FnOnce() -> T) -> T {
    unshare(CloneFlags::CLONE_NEWNET).expect("make a namespace");
    // The first time there is none; a mount point with the namespaces of the last lab otherwise.
    let _ = umount2("/run/netns", MntFlags::MNT_DETACH);
    let none = None::<&str>;
    mount(Some("tmpfs"), "/run/netns", Some("tmpfs"), MsFlags::empty(), none).expect("mount a tmpfs");
    let inode = std::fs::metadata("/proc/thread-self/ns/net").expect("the own namespace").ino();
    let file = std::path::Path::new(isolate::DIRECTORY).join("namespace");
    std::fs::write(file, inode.to_string()).expect("say that this is the host");
    work()
}

#[test]
fn random_topologies_are_built() {
    in_namespace(|| {
        let config = ProptestConfig { cases: 24, failure_persistence: None, ..ProptestConfig::default() };
        let checked = TestRunner::new(config).run(&draw::topology(), |drawn| {
            on_fresh_host(|| build_and_ping("drawn", &drawn.text()))?;
            Ok(())
        });
        checked.unwrap_or_else(|error| panic!("{error}"));
    });
}

#[test]
fn odd_files_are_built() {
    in_namespace(|| {
        for (number, file) in odd_files().iter().enumerate() {
            on_fresh_host(|| build_and_ping(&format!("odd {number}"), file))
                .unwrap_or_else(|e| panic!("{file}\n{e}"));
        }
    });
}

#[test]
fn two_hundred_networks_are_built() {
    in_namespace(|| {
        let mut text = String::from(
            "[[nic]]\nname = \"eth0\"\nrole = \"service\"\nsubnets = [\"192.168.56.0/24\", \"fd56::/64\"]\n\
             [[nic]]\nname = \"eth1\"\nrole = \"storage\"\nsubnets = [\"192.168.57.0/24\", \"fd57::/64\"]\n",
        );
        for number in 0..200 {
            text += &format!(
                "[[bridge]]\nname = \"br-{number}\"\nsubnets = [\"172.17.{number}.0/24\", \"fd17:{number}::/64\"]\n"
            );
        }
        build_and_ping("200 networks", &text).unwrap_or_else(|error| panic!("{error}"));
    });
}

/// A lab of a fixture, and its place by name.
fn lab_of(text: &str) -> (Lab, impl Fn(&str) -> Place) {
    let topology = parse(text);
    let world = World::new(&Intent::new(&topology));
    let lab = Lab::start(world.clone(), OPTIONS).expect("build the lab");
    (lab, move |name| world.by_name(name).unwrap_or_else(|| panic!("no node {name}")))
}

const SERVICE_INSTANCE: &str = include_str!("../../fixtures/service-instance/topology.toml");

#[test]
fn links_are_made_again() {
    in_namespace(|| {
        let (lab, at) = lab_of(SERVICE_INSTANCE);
        let (container, storage) = (at("docker0-c1"), at("eth1-server"));
        let all = || {
            for family in IpFamily::BOTH {
                let address = |place: Place| lab.world.node(place).address(family).expect("both families");
                ping(&lab, container, address(storage)).expect("through the host");
                ping(&lab, storage, address(container)).expect("and back");
                let router = lab.world.node(at("eth1-router"));
                for behind in router.behind_listed.iter().chain(&router.behind_unlisted) {
                    if behind.is_ipv4() == (family == IpFamily::V4) {
                        ping(&lab, container, *behind).expect("behind the router");
                    }
                }
            }
        };
        all();
        lab.host().ip("link delete dev eth1\n").expect("delete the NIC");
        lab.attach_nic(1).expect("make the NIC again");
        all();
        lab.host().ip("link delete dev docker0\n").expect("delete the bridge");
        lab.attach_bridge(0).expect("make the bridge again");
        all();
        let port = &lab.world.node(container).port.1;
        lab.host().ip(&format!("link delete dev {port}\n")).expect("delete the port");
        lab.attach_container(container).expect("make the port again");
        all();
        lab.host().ip("link delete dev eth0\n").expect("delete the default NIC");
        lab.attach_nic(0).expect("make the default NIC again");
        for internet in &lab.world.internet {
            ping(&lab, container, *internet).expect("by the default route");
        }
    });
}

#[test]
fn the_upstream_delivers_once_it_forwards() {
    in_namespace(|| {
        let (lab, at) = lab_of(SERVICE_INSTANCE);
        let container = at("docker0-c1");
        let upstream = lab.world.upstream().expect("there is one");
        let storage: [IpAddr; 2] = ["192.168.57.5", "fd57::5"].map(|text| text.parse().expect("an address"));
        // By way of the upstream instead of the NIC.
        for (net, address) in [("192.168.57.5/32", storage[0]), ("fd57::5/128", storage[1])] {
            let is_same = |next_hop: &&IpAddr| next_hop.is_ipv4() == address.is_ipv4();
            let next_hop = lab.world.node(upstream).next_hops.iter().find(is_same).expect("a next hop");
            lab.host().ip(&format!("route replace {net} via {next_hop} dev eth0\n")).expect("set a route");
        }
        lab.upstream_forwards().expect("make the upstream forward");
        for address in storage {
            ping(&lab, container, address).expect("by way of the upstream");
        }
        for internet in &lab.world.internet {
            ping(&lab, container, *internet).expect("its own answers go to the host");
        }
    });
}

#[test]
fn another_process_finds_the_lab() {
    in_namespace(|| {
        let (lab, at) = lab_of(SERVICE_INSTANCE);
        let attached = Lab::attach(lab.world.clone()).expect("find the lab");
        ping(&attached, at("docker0-c1"), "192.168.56.5".parse().expect("an address")).expect("a lab alive");
        attached.wait_until_ready().expect("ready as well");
    });
}

#[test]
fn nothing_is_built_outside_of_a_lab() {
    let topology = parse(SERVICE_INSTANCE);
    let world = World::new(&Intent::new(&topology));
    let error = Lab::start(world.clone(), OPTIONS).expect_err("this is the machine's own namespace");
    assert_eq!(error.kind(), io::ErrorKind::PermissionDenied, "{error}");
    let error = Lab::attach(world).expect_err("this is the machine's own namespace");
    assert_eq!(error.kind(), io::ErrorKind::PermissionDenied, "{error}");
}
