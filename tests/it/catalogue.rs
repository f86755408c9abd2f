//! The catalogue of probes, on random topologies: every probe can be sent, no closed way is without one, and what
//! is expected is what the rules of the `nftables` approach do.

mod rules;
mod seen;

use std::collections::BTreeSet;
use std::env;
use std::fmt::Write as _;
use std::net::IpAddr;
use std::time::{SystemTime, UNIX_EPOCH};

use ipnet::IpNet;
use isoplan::approach::with_approach;
use isoplan::intent::{Intent, IpFamily, Party, Way};
use isoplan::ruleset::{Family, Ruleset};
use isoplan::topology::{self, ApproachName, Topology};
use isoplan::verify::catalogue::{Extent, probes};
use isoplan::verify::change;
use isoplan::verify::outcome::Expected;
use isoplan::verify::probe::{Probe, Sending};
use isoplan::verify::world::{NodeRole, Place, World};
use proptest::test_runner::{Config, RngAlgorithm, TestCaseError, TestRng, TestRunner};

use self::rules::{Packet, dropped_by};
use self::seen::{bridged, packet};
use crate::draw::{self, Drawn};

/// Tries something on that many random topologies. The seed that a failure prints brings the same ones again.
#[track_caller]
fn on_random_topologies(cases: u32, test: impl Fn(&Topology) -> Result<(), TestCaseError>) {
    let given = env::var("ISOPLAN_SEED").ok().and_then(|seed| seed.parse::<u64>().ok());
    let now = || SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |now| now.subsec_nanos().into());
    let seed = given.unwrap_or_else(now);
    eprintln!("{cases} cases, the seed is {seed}; set ISOPLAN_SEED to have it again");
    let mut bytes = [0; 32];
    bytes[..8].copy_from_slice(&seed.to_le_bytes());
    let config = Config { cases, failure_persistence: None, max_shrink_iters: 400, ..Config::default() };
    let rng = TestRng::from_seed(RngAlgorithm::ChaCha, &bytes);
    let ran = TestRunner::new_with_rng(config, rng).run(&draw::nftables(), |drawn: Drawn| {
        let text = drawn.text();
        test(&topology::parse("topology.toml", text.as_bytes()).expect("a drawn topology is valid"))
    });
    if let Err(error) = ran {
        panic!("seed {seed}: {error}");
    }
}

/// Every address that somebody in a lab has, or that stands for somebody.
fn known(intent: &Intent<'_>, world: &World) -> BTreeSet<IpAddr> {
    let nodes = world.nodes.iter().flat_map(|node| {
        let behind = node.behind_listed.iter().chain(&node.behind_unlisted).copied();
        node.addresses.iter().map(IpNet::addr).chain(behind)
    });
    let links = || world.host_links.iter().flat_map(|link| &link.addresses);
    let groups = ["224.0.0.1", "ff02::1"].map(|group| group.parse().expect("an address"));
    let added = change::Change::ALL
        .into_iter()
        .flat_map(|change| IpFamily::BOTH.map(|family| change::added(intent, world, change, family)))
        .flatten()
        .flat_map(|added| [added.peer, added.host.addr()]);
    nodes
        .chain(links().flat_map(|net| [net.addr(), net.broadcast()]))
        .chain(world.internet.iter().copied())
        .chain(groups)
        .chain(added)
        .collect()
}

/// Where a probe is sent to, and with which address where that is not left to the kernel.
fn ends(probe: &Probe) -> (IpAddr, Option<IpAddr>) {
    match &probe.sending {
        Sending::Frame(packet) => (packet.destination, Some(packet.source)),
        Sending::Socket { destination, .. }
        | Sending::Session { destination, .. }
        | Sending::Established { destination, .. }
        | Sending::RelatedError { destination, .. } => (*destination, None),
        Sending::Relay { destination, proxy, .. } => (*destination, Some(*proxy)),
    }
}

const MARTIANS: [&str; 6] = ["127.0.0.1", "::1", "224.0.0.1", "ff02::1", "240.0.0.1", "4000::1"];

fn check_probes(topology: &Topology) -> Result<(), TestCaseError> {
    let intent = Intent::new(topology);
    let world = World::new(&intent);
    let full = probes(&intent, &world, Extent::Full);
    assert_eq!(full, probes(&intent, &world, Extent::Full), "a second time it is another");
    let quick = probes(&intent, &world, Extent::Quick);
    let without_change: Vec<&Probe> = full.iter().filter(|probe| probe.change.is_none()).collect();
    assert_eq!(quick.iter().collect::<Vec<_>>(), without_change, "quick is full without the changes");

    let known = known(&intent, &world);
    let martians = MARTIANS.map(|address| address.parse::<IpAddr>().expect("an address"));
    let mut names = BTreeSet::new();
    for probe in &full {
        let Probe { name, family, .. } = probe;
        assert!(names.insert(name.as_str()), "{name} twice");
        let (destination, source) = ends(probe);
        for address in source.into_iter().chain([destination]) {
            assert_eq!(address.is_ipv4(), *family == IpFamily::V4, "{name}: {address}");
            assert!(known.contains(&address) || martians.contains(&address), "{name}: {address}");
        }
        assert!(!probe.vantage.is_empty(), "{name} arrives nowhere");
        for place in probe.vantage.iter().chain([&probe.sender]) {
            assert!(place.0 < world.nodes.len() && world.node(*place).role != NodeRole::Wire, "{name}");
        }
        assert!(!probe.vantage.contains(&probe.sender), "{name} is sent to its sender");
        assert!(probe.expected != Expected::Answered || probe.is_answerable, "{name} cannot be answered");
        assert!(probe.threat.ends_with('.'), "{name}: {}", probe.threat);
        let sends = probe.sender == Place::HOST
            || matches!(&probe.sending, Sending::Frame(_))
            || world.node(probe.sender).address(*family).is_some();
        assert!(sends, "{name}: its sender has no address");
    }
    Ok(())
}

#[test]
fn every_probe_can_be_sent() {
    on_random_topologies(60, check_probes);
}

/// Every way that the intent closes between two parties that have addresses of a family.
fn closed_ways(intent: &Intent<'_>, world: &World) -> Vec<(Place, Vec<Place>, IpAddr, String)> {
    let of = |party: Party| {
        world.places(|_| true).into_iter().filter(move |place| world.party(*place) == Some(party))
    };
    let networks = (0..intent.topology.networks.len()).map(Party::Network);
    let nics = (0..intent.topology.nics.len()).map(Party::Nic);
    let senders: Vec<Party> = networks.chain(nics).collect();
    let hosts = (0..intent.topology.nics.len()).map(Party::HostOn);
    let receivers: Vec<Party> = senders.iter().copied().chain(hosts).collect();
    let mut ways = Vec::new();
    for from in &senders {
        for to in receivers.iter().filter(|to| *to != from) {
            for family in IpFamily::BOTH {
                if intent.way(*from, *to, family) != Some(Way::Blocked) {
                    continue;
                }
                let Some(sender) = of(*from).find(|place| world.node(*place).address(family).is_some())
                else {
                    continue;
                };
                let (vantage, address) = match to {
                    Party::HostOn(nic) => {
                        let address =
                            world.host_link_of_nic(intent, *nic).and_then(|link| link.address(family));
                        (vec![Place::HOST], address)
                    }
                    party => {
                        let receiver = of(*party).find(|place| world.node(*place).address(family).is_some());
                        let address = receiver.and_then(|place| world.node(place).address(family));
                        (receiver.into_iter().collect(), address)
                    }
                };
                if let Some(address) = address {
                    ways.push((sender, vantage, address, format!("{from:?} -> {to:?}, {family}")));
                }
            }
        }
    }
    ways
}

#[test]
fn every_closed_way_has_a_probe() {
    on_random_topologies(100, |topology| {
        let intent = Intent::new(topology);
        let world = World::new(&intent);
        let containers = world.places(|role| matches!(role, NodeRole::Container { number: 1, .. }));
        let all = probes(&intent, &world, Extent::Quick);
        for (sender, vantage, address, what) in closed_ways(&intent, &world) {
            // Of many networks, not every pair.
            let between = matches!(world.node(sender).role, NodeRole::Container { .. })
                && vantage.iter().any(|place| matches!(world.node(*place).role, NodeRole::Container { .. }));
            if between && containers.len() > 8 {
                continue;
            }
            let shows = |probe: &Probe| {
                probe.expected == Expected::Blocked
                    && world.party(probe.sender) == world.party(sender)
                    && ends(probe).0 == address
            };
            assert!(all.iter().any(shows), "no probe of {what}");
        }
        Ok(())
    });
}

/// Whether the forward or the input hook lets a probe through, and its answer; the rule that does not.
fn dropped(probe: &Probe, world: &World, ruleset: &Ruleset) -> Option<String> {
    let there = packet(probe, world);
    let at = probe.vantage[0];
    let is_local = at == Place::HOST;
    let mut ways = vec![(there.clone(), is_local)];
    if probe.expected == Expected::Answered && !is_local {
        let back = Packet {
            iif: there.oif.clone(),
            oif: there.iif.clone(),
            source: there.destination,
            destination: there.source,
            source_port: there.destination_port,
            destination_port: there.source_port,
            is_reply: !there.is_reply,
            ..there.clone()
        };
        ways.push((back, probe.sender == Place::HOST));
    }
    if probe.sender == Place::HOST {
        // What the host sends passes no rule.
        ways.remove(0);
    }
    for (packet, is_local) in ways {
        // What is routed leaves by another hook; what is bridged passes it without an incoming link.
        let chains: &[&str] = match (is_local, bridged(probe, world)) {
            (true, _) => &["input"],
            (false, None) => &["forward", "leaving"],
            (false, Some(_)) => &["forward"],
        };
        let rule = chains.iter().find_map(|chain| dropped_by(ruleset, Family::Inet, chain, &packet));
        if rule.is_some() {
            return rule;
        }
        if let (Some(ports), false) = (bridged(probe, world), is_local) {
            // By the ports of the bridge, in the direction of this packet.
            let [iif, oif] =
                if packet.source == there.source { ports } else { [ports[1].clone(), ports[0].clone()] };
            let packet = Packet { iif, oif, ..packet };
            if let Some(rule) = dropped_by(ruleset, Family::Bridge, "forward", &packet) {
                return Some(rule);
            }
        }
    }
    None
}

/// What the intent says of a probe, and what the rules do to it.
fn wrong(topology: &Topology) -> String {
    let intent = Intent::new(topology);
    let world = World::new(&intent);
    let ruleset = with_approach(&intent, ApproachName::Nftables).ruleset;
    let mut wrong = String::new();
    for probe in probes(&intent, &world, Extent::Quick) {
        let is_blocked = match probe.expected {
            Expected::Blocked => true,
            Expected::Answered | Expected::Delivered => false,
            Expected::Residual | Expected::Unjudged => continue,
        };
        let rule = dropped(&probe, &world, &ruleset);
        if rule.is_some() != is_blocked {
            let _ = writeln!(wrong, "{}: {:?}, and dropped by {rule:?}", probe.name, probe.expected);
        }
    }
    wrong
}

#[test]
fn what_is_expected_is_what_the_rules_do() {
    on_random_topologies(250, |topology| {
        let wrong = wrong(topology);
        if wrong.is_empty() { Ok(()) } else { Err(TestCaseError::fail(wrong)) }
    });
}

/// Two hundred networks.
#[test]
fn many_networks_do_not_make_too_many_probes() {
    let mut text = String::new();
    for (nic, role) in ["service", "storage", "management"].iter().enumerate() {
        let _ = writeln!(
            text,
            "[[nic]]\nname = \"eth{nic}\"\nrole = \"{role}\"\nsubnets = [\"192.168.{nic}.0/24\", \"fd00:{nic}::/64\"]"
        );
    }
    for number in 0..200 {
        let _ = writeln!(
            text,
            "[[bridge]]\nname = \"br{number}\"\nsubnets = [\"10.{number}.0.0/24\", \"fd01:{number}::/64\"]"
        );
    }
    let topology = topology::parse("topology.toml", text.as_bytes()).expect("a topology");
    let intent = Intent::new(&topology);
    let world = World::new(&intent);
    let count = probes(&intent, &world, Extent::Quick).len();
    assert!((1800..=2600).contains(&count), "{count} probes");
}
