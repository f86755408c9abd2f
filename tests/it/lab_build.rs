//! The lab that isoplan ships: its layout for every topology, and the namespaces that come of it.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::AsFd as _;
use std::time::{Duration, Instant};

use ipnet::IpNet;
use isoplan::intent::{Intent, IpFamily};
use isoplan::lab::build::{Lab, Options};
use isoplan::topology::{self, Topology};
use isoplan::verify::world::{Place, World};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use socket2::{Domain, Protocol, Socket, Type};

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
fn build_and_ping(name: &str, text: &str) {
    let topology = parse(text);
    let intent = Intent::new(&topology);
    let before = Instant::now();
    let lab = Lab::start(World::new(&intent), OPTIONS).unwrap_or_else(|error| panic!("{name}: {error}"));
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
    assert!(failed.is_empty(), "{name}: {} of {sent} echoes\n{}", failed.len(), failed.join("\n"));
    assert!(sent > 0, "{name}: no echo");
}

/// One test for each fixture: each needs namespaces of its own.
macro_rules! builds {
    ($($name:ident: $fixture:literal,)*) => {
        $(#[test]
        fn $name() {
            in_namespace(|| {
                build_and_ping($fixture, include_str!(concat!("../../fixtures/", $fixture, "/topology.toml")));
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
