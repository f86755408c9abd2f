//! The catalogue of probes, on random topologies: every probe can be sent, no closed way is without one, and what
//! is expected is what the rules of the `nftables` approach do.

mod rules;
mod seen;

use std::cell::Cell;
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

/// A rule set without the rules of these ids.
fn without(ruleset: &Ruleset, ids: &[&str]) -> Ruleset {
    let mut less = ruleset.clone();
    for chain in less.values_mut().flat_map(|table| table.chains.values_mut()) {
        chain.rules.retain(|rule| rule.id().is_none_or(|id| !ids.contains(&id.0.as_str())));
    }
    less
}

/// Packets from anywhere to anywhere: links and addresses of the file and of nobody, in every combination.
fn any_packets(topology: &Topology, count: u64) -> impl Iterator<Item = Packet> {
    let networks = topology.networks.iter();
    let names = networks.clone().map(|network| match &network.name {
        name if name.is_prefix() => format!("{}7", name.stem()),
        name => name.to_string(),
    });
    let flats = topology.flats.iter().map(|flat| flat.name.to_string());
    let nics = topology.nics.iter().map(|nic| nic.name.to_string());
    let links: Vec<String> = names.chain(nics).chain(flats).chain(["unknown0".to_owned()]).collect();
    let subnets = networks.flat_map(|network| &network.subnets);
    let subnets = subnets.chain(topology.nics.iter().flat_map(|nic| &nic.subnets)).copied();
    let elsewhere =
        ["203.0.113.0/24", "2001:db8:ffff::/64"].map(|net| net.parse::<IpNet>().expect("a subnet"));
    let ends = subnets.chain(elsewhere).flat_map(|net| [net.network(), net.broadcast()]);
    let ends = ends.chain(topology.allows.iter().map(|allow| allow.to.addr()));
    let (v4, v6): (Vec<IpAddr>, Vec<IpAddr>) = ends.partition(IpAddr::is_ipv4);
    let allowed = topology.allows.iter().flat_map(|allow| &allow.ports).map(|range| range.first);
    let ports: Vec<u16> = allowed.chain([4789, 8472, 80]).collect();
    (0..count).map(move |number| {
        // splitmix64: the same packets in every run.
        let mut state = number;
        let mut below = |count: usize| {
            state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
            let mixed = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
            usize::try_from((mixed ^ (mixed >> 31)) >> 32).expect("32 bits fit") % count
        };
        let addresses = if below(2) == 0 { &v4 } else { &v6 };
        Packet {
            iif: links[below(links.len())].clone(),
            oif: links[below(links.len())].clone(),
            source: addresses[below(addresses.len())],
            destination: addresses[below(addresses.len())],
            protocol: [6, 17][below(2)],
            source_port: ports[below(ports.len())],
            destination_port: ports[below(ports.len())],
            is_reply: below(2) == 0,
            is_published: below(3) == 0,
            option: [None, None, None, Some(131), Some(137), Some(7)][below(6)],
            is_tagged: false,
            type_on_iif: [1, 1, 3, 5][below(4)],
            stays: below(4) == 0,
        }
    })
}

#[test]
fn the_shortcut_is_no_way_around() {
    const SHORTCUT: [&str; 2] = ["F23", "F24"];
    let (by_address, by_link) = (Cell::new(0), Cell::new(0));
    on_random_topologies(250, |topology| {
        let ruleset = with_approach(&Intent::new(topology), ApproachName::Nftables).ruleset;
        let the_long_way = without(&ruleset, &SHORTCUT);
        let gaping = without(&ruleset, &["F26", "F27", "N10"]);
        let short_alone = without(&ruleset, &["F1", "F2", "F3", "F4", "F5", "F6", "F7", "F8"]);
        for packet in any_packets(topology, 2000) {
            let dropped = |ruleset| dropped_by(ruleset, Family::Inet, "forward", &packet);
            let (short, long) = (dropped(&ruleset), dropped(&the_long_way));
            if short.is_some() != long.is_some() {
                return Err(TestCaseError::fail(format!("{short:?} and not {long:?}: {packet:?}")));
            }
            by_link.set(by_link.get() + usize::from(short.is_some() && dropped(&gaping).is_none()));
            by_address
                .set(by_address.get() + usize::from(short.is_some() && dropped(&short_alone).is_none()));
        }
        Ok(())
    });
    // Both ways are gone, and the rules that each of them needs stop something.
    assert!(by_link.get() > 100 && by_address.get() > 100, "{by_link:?} {by_address:?}");
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
