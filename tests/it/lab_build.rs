//! The lab that isoplan ships: its layout for every topology, and the namespaces that come of it.

mod layout;

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::AsFd as _;
use std::os::unix::fs::MetadataExt as _;
use std::time::{Duration, Instant};

use ipnet::IpNet;
use isoplan::intent::{Intent, IpFamily};
use isoplan::lab::build::{Lab, Options};
use isoplan::lab::isolate;
use isoplan::topology::{self, Topology};
use isoplan::verify::world::{HostLinkRole, Place, World};
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

/// Builds a lab and sends echoes through all of it.
fn build_and_ping(name: &str, text: &str) -> Result<(), TestCaseError> {
    let topology = parse(text);
    let intent = Intent::new(&topology);
    let before = Instant::now();
    let lab = Lab::start(World::new(&intent), OPTIONS)
        .map_err(|error| TestCaseError::fail(format!("{name}: {error}")))?;
    eprintln!("{name}: {} nodes in {:?}", lab.world.nodes.len(), before.elapsed());
    ping_all(name, &lab)
}

/// Sends echoes from everywhere to the host and to the internet, and from the host to everywhere.
fn ping_all(name: &str, lab: &Lab) -> Result<(), TestCaseError> {
    let world = &lab.world;
    let mut failed = Vec::new();
    let mut sent = 0;
    let mut check = |from: Place, to: IpAddr| {
        sent += 1;
        if let Err(error) = ping(lab, from, to) {
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
        let config = ProptestConfig { cases: 16, failure_persistence: None, ..ProptestConfig::default() };
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

/// Two flats, one of which carries an overlay; a NIC alone, which carries another.
const ALL_KINDS: &str = r#"
[[nic]]
name = "eth0"
role = "service"
subnets = ["192.168.56.0/24", "fd56::/64", "192.168.156.0/24"]
[[nic]]
name = "eth1"
role = "storage"
subnets = ["192.168.57.0/24", "fd57::/64"]
[[nic]]
name = "eth2"
role = "guests"
subnets = ["fd58::/64"]
[[flat]]
name = "br-flat"
nic = "eth1"
[[flat]]
name = "br-guests"
nic = "eth2"
[[bridge]]
name = "docker0"
subnets = ["172.17.0.0/16", "fd17::/64"]
[[bridge]]
name = "net-*"
subnets = ["172.18.0.0/16", "fd18::/64"]
[[overlay]]
name = "vxlan42"
subnets = ["10.42.0.0/16", "fd42::/64"]
underlay = "eth0"
vni = 42
[[overlay]]
name = "vxlan43"
subnets = ["10.43.0.0/16"]
underlay = "eth1"
vni = 43
[[overlay]]
name = "vxlan44"
subnets = ["fd44::/64"]
underlay = "eth2"
vni = 44
"#;

#[test]
fn links_are_made_again() {
    in_namespace(|| {
        let (lab, _) = lab_of(ALL_KINDS);
        let world = &lab.world;
        let remote = world.nodes.iter().filter(|node| node.tunnel.is_some()).count();
        assert_eq!(remote, 3, "a container on another host for each overlay");
        let again = |what: &str, made: io::Result<()>| {
            made.unwrap_or_else(|error| panic!("{what}: {error}"));
            ping_all(what, &lab).unwrap_or_else(|error| panic!("{what}: {error}"));
        };
        let delete = |link: &str| lab.host().ip(&format!("link delete dev {link}\n")).expect("delete a link");
        ping_all("new", &lab).unwrap_or_else(|error| panic!("{error}"));
        for (index, link) in world.host_links.iter().enumerate() {
            delete(&link.name);
            match link.role {
                HostLinkRole::Nic(nic) => again(&link.name, lab.attach_nic(nic)),
                HostLinkRole::Network(_) | HostLinkRole::Flat(_) => {
                    again(&link.name, lab.attach_bridge(index))
                }
            }
        }
        for (index, node) in world.nodes.iter().enumerate() {
            if let (Place::HOST, port) = &node.port
                && index > Place::WIRE.0
            {
                delete(port);
                again(&node.name, lab.attach_container(Place(index)));
            }
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

/// Answers to the addresses of `snat` come back: within a NIC's subnet, and out of all of them.
#[test]
fn translated_addresses_lead_to_the_host() {
    in_namespace(|| {
        let fixture = include_str!("../../fixtures/nat-gateway/topology.toml");
        let elsewhere =
            fixture.replace("203.0.113.5", "192.0.2.55").replace("2001:db8:1::5", "2001:db8:9::5");
        assert_ne!(elsewhere, fixture);
        for (text, [v4, v6]) in [
            (fixture, ["203.0.113.5", "2001:db8:1::5"]),
            (elsewhere.as_str(), ["192.0.2.55", "2001:db8:9::5"]),
        ] {
            on_fresh_host(|| {
                let (lab, at) = lab_of(text);
                let rules = format!(
                    "table inet nat {{ chain out {{ type nat hook postrouting priority srcnat;\n\
                     iifname dmz0 oifname wan0 snat ip to {v4}\niifname dmz0 oifname wan0 snat ip6 to {v6}\n}}\n}}\n"
                );
                lab.host().feed("nft", &["-f", "-"], &rules).expect("load the rules");
                let [server, router] = ["wan0-server", "wan0-router"].map(|name| lab.world.node(at(name)));
                let own = server.addresses.iter().chain(&router.addresses).map(IpNet::addr);
                let behind = router.behind_unlisted.iter().chain(&lab.world.internet).copied();
                for to in own.chain(behind) {
                    ping(&lab, at("dmz0-server"), to)
                        .unwrap_or_else(|error| panic!("{v4}, {v6} -> {to}: {error}"));
                }
            });
        }
    });
}
