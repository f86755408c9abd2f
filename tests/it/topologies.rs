//! What packets show on hosts of every kind that a topology can say.
//!
//! Each host is built link by link, its file written as a user would. What is to be blocked is first seen to
//! arrive without isoplan, and then counted by the very rule that is to drop it.

mod bridges;
mod changes;
mod exceptions;
mod flat;
mod gateway;
mod ipv6_only;
mod nic_reach;
mod overlay;
mod partly_guarded;
mod router;
mod wildcard;

use std::collections::BTreeMap;
use std::io;
use std::net::IpAddr;

use serde_json::Value;

use crate::ISOPLAN;
use crate::lab::frame::{Tap, send_frame};
use crate::lab::node::Node;
use crate::lab::packet::Kind;
use crate::lab::probe::{Probe, Tag};
use crate::lab::{Family, Lab, Outcome, Program};

const KINDS: [Kind; 3] = [Kind::Icmp, Kind::Udp, Kind::Tcp];

/// One packet with a name, and a way to learn what became of it.
struct Case<'a> {
    name: String,
    run: Box<dyn Fn() -> Outcome + 'a>,
}

impl<'a> From<Probe<'a>> for Case<'a> {
    fn from(probe: Probe<'a>) -> Self {
        Self { name: probe.to_string(), run: Box::new(move || probe.run()) }
    }
}

/// Packets that one rule is to drop, known by its id; or one of several, `N1|N8`.
struct Closed<'a> {
    rule: &'static str,
    cases: Vec<Case<'a>>,
}

/// Only to arrive, or not: nobody has to answer.
fn closed<'a>(rule: &'static str, probes: impl IntoIterator<Item = Probe<'a>>) -> Closed<'a> {
    Closed { rule, cases: probes.into_iter().map(|probe| probe.one_way().into()).collect() }
}

/// The same for a pair of rules, one for each family.
fn closed_by_family<'a, I: IntoIterator<Item = Probe<'a>>>(
    rules: [&'static str; 2],
    probes: impl Fn(Family) -> I,
) -> [Closed<'a>; 2] {
    [closed(rules[0], probes(Family::V4)), closed(rules[1], probes(Family::V6))]
}

fn cases<'a>(probes: impl IntoIterator<Item = Probe<'a>>) -> Vec<Case<'a>> {
    probes.into_iter().map(Into::into).collect()
}

fn has(node: &Node, family: Family) -> bool {
    node.addresses.iter().any(|address| Family::of(*address) == family)
}

/// Every kind of packet of one family from one node to another.
fn each<'a>(lab: &'a Lab, family: Family, from: &str, to: &str) -> Vec<Probe<'a>> {
    KINDS.into_iter().map(|kind| lab.probe(kind, family, from, to)).collect()
}

/// The same to an address of the host, or that is said to be behind a node.
fn each_to<'a>(lab: &'a Lab, from: &str, to: &str, address: &str) -> Vec<Probe<'a>> {
    let address = ip(address);
    let probes = each(lab, Family::of(address), from, to).into_iter();
    probes.map(|probe| probe.addressed_to(address)).collect()
}

/// Every kind of packet of every family that both nodes have, for these pairs.
fn between<'a>(lab: &'a Lab, pairs: &[(&str, &str)]) -> Vec<Probe<'a>> {
    let mut probes = Vec::new();
    for (from, to) in pairs {
        let families = Family::BOTH
            .into_iter()
            .filter(|family| has(lab.node(from), *family) && has(lab.node(to), *family));
        probes.extend(families.flat_map(|family| each(lab, family, from, to)));
    }
    assert!(!probes.is_empty(), "no probes");
    probes
}

/// A TCP probe to a port of an address that a node has.
fn tcp<'a>(lab: &'a Lab, from: &str, to: &str, address: &str, port: u16) -> Probe<'a> {
    let address = ip(address);
    lab.probe(Kind::Tcp, Family::of(address), from, to).addressed_to(address).on_port(port)
}

fn udp<'a>(lab: &'a Lab, from: &str, to: &str, address: &str, port: u16) -> Probe<'a> {
    let address = ip(address);
    lab.probe(Kind::Udp, Family::of(address), from, to).addressed_to(address).on_port(port)
}

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap_or_else(|error| panic!("{text}: {error}"))
}

/// One of two texts.
fn of<'t>(family: Family, v4: &'t str, v6: &'t str) -> &'t str {
    if family == Family::V4 { v4 } else { v6 }
}

/// A packet that `send` sends with the text that it is given, looked for at another node by that text.
fn packet<'a>(
    lab: &'a Lab,
    what: &str,
    (from, at): (&str, &str),
    family: Family,
    send: impl Fn(&Node, &[u8]) -> io::Result<()> + 'a,
) -> Case<'a> {
    let (from, at) = (lab.node(from), lab.node(at));
    let run = move || {
        let (mark, tag) = (lab.journal.mark(), Tag::unique());
        match send(from, tag.bytes()) {
            Ok(()) => lab.decide(mark, from, at, Kind::Udp, family, &tag),
            Err(error) => Outcome::CouldNotTest(format!("cannot send: {error}")),
        }
    };
    Case { name: format!("{} -> {}, {what}", from.name, at.name), run: Box::new(run) }
}

/// A frame from a node's `eth0`, looked for on the wire of another's: whatever is in it.
///
/// `build` gets a text that no other frame has, and `is_it` tells the frame by it.
fn frame<'a>(
    lab: &'a Lab,
    what: &str,
    (from, at): (&str, &str),
    family: Family,
    build: impl Fn(&[u8]) -> Vec<u8> + 'a,
) -> Case<'a> {
    let (from, at) = (lab.node(from), lab.node(at));
    let run = move || {
        let tag = Tag::unique();
        let sent = build(tag.bytes());
        // Told by its end, since a link may take a tag off its front.
        let is_it = |seen: &Vec<u8>| {
            seen.windows(tag.bytes().len()).any(|part| part == tag.bytes()) || seen.ends_with(&sent[14..])
        };
        let outcome = Tap::open(at, "eth0").and_then(|tap| {
            let mark = lab.journal.mark();
            send_frame(from, "eth0", &sent)?;
            let outcome = lab.decide(mark, from, at, Kind::Icmp, family, &tag);
            Ok((outcome, tap.drain().iter().any(is_it)))
        });
        match outcome {
            Err(error) => Outcome::CouldNotTest(error.to_string()),
            Ok((outcome @ Outcome::CouldNotTest(_), _)) => outcome,
            Ok((_, true)) => Outcome::Delivered { source: from.address(family) },
            Ok((outcome, false)) if outcome.is_delivered() => {
                Outcome::CouldNotTest("the two captures disagree".to_owned())
            }
            Ok((_, false)) => Outcome::Blocked,
        }
    };
    Case { name: format!("{} -> {}, {what}", from.name, at.name), run: Box::new(run) }
}

/// The packets that each rule of isoplan with a counter has counted, by its id.
fn counters(host: &Node) -> io::Result<BTreeMap<String, u64>> {
    let listing: Value = serde_json::from_str(&host.nft(&["-j", "list", "ruleset"])?)?;
    let mut counters = BTreeMap::new();
    for object in listing["nftables"].as_array().into_iter().flatten() {
        let rule = &object["rule"];
        let Some(id) = rule["comment"].as_str().and_then(|comment| comment.split(' ').next()) else {
            continue;
        };
        let statements = rule["expr"].as_array().into_iter().flatten();
        for packets in statements.filter_map(|statement| statement["counter"]["packets"].as_u64()) {
            if rule["table"] == "isoplan" {
                *counters.entry(id.to_owned()).or_insert(0) += packets;
            }
        }
    }
    Ok(counters)
}

/// Sends each packet and says, all at once, which had another outcome than they should.
#[track_caller]
fn check(when: &str, cases: &[Case<'_>], is_right: impl Fn(&Outcome) -> bool) {
    let wrong = wrong(cases, is_right);
    assert!(wrong.is_empty(), "{when}: {} of {} packets\n{}", wrong.len(), cases.len(), wrong.join("\n"));
}

fn wrong(cases: &[Case<'_>], is_right: impl Fn(&Outcome) -> bool) -> Vec<String> {
    let outcomes = cases.iter().map(|case| (case, (case.run)()));
    let wrong = outcomes.filter(|(_, outcome)| !is_right(outcome));
    wrong.map(|(case, outcome)| format!("  {}: {outcome:?}", case.name)).collect()
}

/// Without isoplan, everything that is to be blocked arrives.
#[track_caller]
fn check_none(closed: &[Closed<'_>]) {
    for Closed { rule, cases } in closed {
        check(&format!("without isoplan, for {rule}"), cases, Outcome::is_delivered);
    }
}

/// With isoplan none of it arrives, and the rule that is to drop it says that it did.
#[track_caller]
fn check_blocked(lab: &Lab, closed: &[Closed<'_>]) {
    let mut faults = Vec::new();
    for Closed { rule, cases } in closed {
        let count = || counters(lab.host()).expect("read the counters");
        let before = count();
        let wrong = wrong(cases, |outcome| *outcome == Outcome::Blocked);
        let after = count();
        let sum = |counters: &BTreeMap<String, u64>, id: &str| counters.get(id).copied().unwrap_or(0);
        let ids: Vec<&str> = rule.split('|').collect();
        let dropped: u64 = ids.iter().map(|id| sum(&after, id) - sum(&before, id)).sum();
        let sent = cases.len() as u64;
        let others: Vec<String> = after
            .keys()
            .filter(|id| !ids.contains(&id.as_str()) && sum(&after, id) > sum(&before, id))
            .map(|id| format!("{id} +{}", sum(&after, id) - sum(&before, id)))
            .collect();
        if !wrong.is_empty() {
            faults.push(format!("{rule}: {} of {sent} not blocked\n{}", wrong.len(), wrong.join("\n")));
        } else if dropped < sent {
            let names: Vec<&str> = cases.iter().map(|case| case.name.as_str()).collect();
            faults.push(format!(
                "{rule} dropped {dropped} of {sent}; others: {}\n  {}",
                others.join(", "),
                names.join("\n  ")
            ));
        }
    }
    assert!(faults.is_empty(), "after apply\n{}", faults.join("\n"));
}

fn is_answered(outcome: &Outcome) -> bool {
    matches!(outcome, Outcome::Answered { .. })
}

/// Whether it was answered and arrived with that source.
fn from_source(source: &str) -> impl Fn(&Outcome) -> bool {
    let source = ip(source);
    move |outcome| *outcome == Outcome::Answered { source }
}

fn program(topology: &str) -> Program {
    let program = Program::new(ISOPLAN).expect("make a directory for the program");
    program.write("topology.toml", topology).expect("write the topology");
    program
}

fn apply(isoplan: &Program) {
    isoplan.run(&["apply", "topology.toml", "--yes", "--state-dir", "state"]).ok();
}

fn remove(isoplan: &Program) {
    isoplan.run(&["remove", "--yes", "--state-dir", "state"]).ok();
}

/// Runs `ip` commands on the host.
#[track_caller]
fn host_ip(lab: &Lab, lines: &str) {
    lab.host().ip(lines).expect("change the host");
}

/// Whether bridged frames pass the hooks of IP as well, on the host.
#[track_caller]
fn set_bridge_netfilter(lab: &Lab, value: &str) {
    for key in ["bridge-nf-call-iptables", "bridge-nf-call-ip6tables", "bridge-nf-call-arptables"] {
        lab.host().sysctl(&format!("net/bridge/{key}"), value).expect("write a sysctl");
    }
}

/// Forgets who has which hardware address, so that it has to be asked for again.
#[track_caller]
fn forget_neighbours(lab: &Lab, nodes: &[&str]) {
    for node in nodes {
        lab.node(node).ip("neigh flush all\n").expect("flush the neighbours");
    }
}
