//! From trace messages to the way of a packet.

use super::event::{Header, TraceEvent, TraceKind, TraceVerdict};
use super::listing::Known;
use super::{ChainPassed, Step, Stop, TRACE_TABLE, Way};
use crate::ruleset::Family;
use std::collections::BTreeMap;

/// What one packet met, in order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Packet {
    pub(super) passages: Vec<Passage>,
}

/// One base chain, and the chains that it jumps to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Passage {
    family: Family,
    table: String,
    chain: String,
    iif: Option<u32>,
    oif: Option<u32>,
    pub(super) header: Header,
    events: Vec<TraceEvent>,
}

/// The ends of a hook, by the names of the chains that mark them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Mark {
    First(&'static str),
    Last(&'static str),
}

/// The hooks that the trace table marks: a chain `NAME_first` and one `NAME_last` in each.
pub const HOOKS: [&str; 5] = ["prerouting", "input", "forward", "output", "postrouting"];

impl Passage {
    fn mark(&self) -> Option<Mark> {
        if self.table != TRACE_TABLE {
            return None;
        }
        let (hook, end) = self.chain.rsplit_once('_')?;
        let hook = HOOKS.into_iter().find(|known| *known == hook)?;
        match end {
            "first" => Some(Mark::First(hook)),
            "last" => Some(Mark::Last(hook)),
            _ => None,
        }
    }

    /// The verdict, and whether it is the policy's.
    fn verdict(&self) -> (TraceVerdict, bool) {
        match self.events.last() {
            Some(TraceEvent { kind: TraceKind::Policy, verdict, .. }) => (verdict.clone(), true),
            Some(event) => (event.verdict.clone(), false),
            None => (TraceVerdict::Continue, true),
        }
    }
}

impl Packet {
    /// Its headers as they were first seen.
    pub fn first(&self) -> &Header {
        &self.passages[0].header
    }

    fn latest(&self) -> &Header {
        &self.passages[self.passages.len() - 1].header
    }

    fn has(&self, family: Family, chain: &str) -> bool {
        self.marked(family, chain).is_some()
    }

    fn marked(&self, family: Family, chain: &str) -> Option<&Passage> {
        let is = |passage: &&Passage| {
            passage.family == family && passage.table == TRACE_TABLE && passage.chain == chain
        };
        self.passages.iter().find(is)
    }

    /// Whether it came in and no further, as a fragment does that waits for others.
    pub(super) fn is_held(&self) -> bool {
        let mut inet = self.passages.iter().filter(|passage| passage.family == Family::Inet);
        inet.next().is_some_and(|first| first.mark() == Some(Mark::First("prerouting")))
            && inet.next().is_none()
    }

    /// Whether the host sent it itself.
    pub(super) fn is_own(&self) -> bool {
        self.has(Family::Inet, "output_first") && !self.has(Family::Inet, "prerouting_first")
    }
}

/// Sorts trace messages by packet. The kernel's number for a packet changes where it is passed on within the
/// host, and is used again: what counts is where packets were already and what their headers are.
pub fn packets(events: &[TraceEvent]) -> Vec<Packet> {
    let mut packets: Vec<Packet> = Vec::new();
    let mut by_id: BTreeMap<u32, usize> = BTreeMap::new();
    for event in events {
        let Some(header) = event.header else {
            // A later message of the base chain that is being passed.
            if let Some(packet) = by_id.get(&event.id)
                && let Some(passage) = packets[*packet].passages.last_mut()
            {
                passage.events.push(event.clone());
            }
            continue;
        };
        let passage = Passage {
            family: event.family,
            table: event.table.clone(),
            chain: event.chain.clone(),
            iif: event.iif,
            oif: event.oif,
            header,
            events: vec![event.clone()],
        };
        // A packet comes to either end of a hook once.
        let is_new = |packet: &Packet| passage.mark().is_some() && packet.has(passage.family, &passage.chain);
        let known = by_id.get(&event.id).copied().filter(|known| !is_new(&packets[*known]));
        let known = known.or_else(|| {
            let is_it = |packet: &Packet| is_same(packet.latest(), &header) && !is_new(packet);
            packets.iter().rposition(is_it)
        });
        let index = known.unwrap_or_else(|| {
            packets.push(Packet { passages: Vec::new() });
            packets.len() - 1
        });
        by_id.insert(event.id, index);
        packets[index].passages.push(passage);
    }
    packets
}

/// The fragment header of IPv6 (RFC 8200, 4.5).
const FRAGMENT: u8 = 44;

/// Whether two headers are of one packet that nobody rewrote. Ports are not in every fragment.
fn is_same(a: &Header, b: &Header) -> bool {
    let port = |a: Option<u16>, b: Option<u16>| a.is_none() || b.is_none() || a == b;
    // A fragment of IPv6 has a header of its own in front, which goes when it comes together with others.
    let is_fragment = |header: &Header| header.protocol == FRAGMENT;
    (a.source, a.destination) == (b.source, b.destination)
        && (a.protocol == b.protocol && a.icmp == b.icmp || is_fragment(a) || is_fragment(b))
        && port(a.source_port, b.source_port)
        && port(a.destination_port, b.destination_port)
}

/// What is to be asked of the routing about a packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RouteQuestion {
    /// The index of the link that it came in on; none for one that the host sent.
    pub iif: Option<u32>,
    /// As it was when it was routed: behind DNAT, before SNAT.
    pub header: Header,
    /// Whether it was routed on: it is seen in a hook behind the routing.
    pub went_on: bool,
}

impl RouteQuestion {
    /// Of a packet; none where it did not come to the routing.
    pub fn of(packet: &Packet) -> Option<Self> {
        let inet = |chain| packet.marked(Family::Inet, chain);
        if let Some(passage) = inet("prerouting_last") {
            let went_on = packet.has(Family::Inet, "input_first")
                || packet.has(Family::Inet, "forward_first")
                // A frame that stays on its bridge is not routed.
                || packet.has(Family::Bridge, "forward_first");
            return Some(Self { iif: passage.iif, header: passage.header, went_on });
        }
        let passage = inet("output_last").filter(|_| packet.is_own())?;
        Some(Self { iif: None, header: passage.header, went_on: true })
    }
}

/// What the routing said to a packet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Routing {
    /// It takes this route.
    Route(String),
    /// It goes nowhere.
    Refused(Stop),
}

/// The way of a packet, with the names of links by index.
pub fn way(packet: &Packet, known: &Known, links: &BTreeMap<u32, String>, routing: Option<Routing>) -> Way {
    let mut builder = Builder { known, links, routing, way: Way::default(), header: *packet.first() };
    let is_bridged = !packet.has(Family::Inet, "prerouting_first") && !packet.is_own()
        || packet.has(Family::Bridge, "forward_first");
    for passage in &packet.passages {
        builder.pass(passage, is_bridged);
    }
    builder.end(packet)
}

struct Builder<'k> {
    known: &'k Known,
    links: &'k BTreeMap<u32, String>,
    routing: Option<Routing>,
    way: Way,
    /// As it was in the passage before.
    header: Header,
}

impl Builder<'_> {
    fn link(&self, index: Option<u32>) -> String {
        let name = index.and_then(|index| self.links.get(&index)).cloned();
        name.unwrap_or_else(|| index.map_or_else(|| "?".to_owned(), |index| format!("link {index}")))
    }

    fn pass(&mut self, passage: &Passage, is_bridged: bool) {
        self.note_rewritten(passage);
        let packet = passage.header;
        // Frames on their way to or from the host itself pass the bridge's hooks too; only the chains of
        // others are of interest there, and of a bridged frame the hooks above the bridge.
        let is_side = (passage.family == Family::Bridge) != is_bridged;
        match passage.mark() {
            Some(_) if is_side => {}
            Some(Mark::First("prerouting")) => {
                let link = self.link(passage.iif);
                self.way.steps.push(Step::CameIn { link, packet });
            }
            Some(Mark::First("output")) => self.way.steps.push(Step::Sent { packet }),
            Some(Mark::Last("prerouting" | "output")) => {
                // A frame that stays on its bridge takes no route.
                if let Some(Routing::Route(route)) = self.routing.as_ref().filter(|_| !is_bridged) {
                    self.way.steps.push(Step::Route { route: route.clone() });
                }
            }
            Some(Mark::Last("input")) => self.way.steps.push(Step::Taken),
            Some(Mark::Last("postrouting")) => {
                let link = self.link(passage.oif);
                self.way.steps.push(Step::Left { link, packet });
            }
            Some(_) => {}
            None if passage.table == TRACE_TABLE => {}
            None => {
                let passed = self.chain(passage);
                if passed.verdict == "drop" {
                    let (table, chain) = (passed.table.clone(), passed.chain.clone());
                    let rule = passed.rules.last().filter(|_| !passed.is_policy).cloned();
                    self.way.stop = Some(rule.map_or(Stop::Policy { table, chain }, Stop::Rule));
                }
                self.way.steps.push(Step::Chain(passed));
            }
        }
    }

    fn chain(&self, passage: &Passage) -> ChainPassed {
        let base = self.known.base(passage.family, &passage.table, &passage.chain);
        let rules = passage.events.iter().filter_map(|event| match event.kind {
            TraceKind::Rule(handle) => {
                Some(self.known.rule(event.family, &event.table, &event.chain, handle, &event.verdict))
            }
            TraceKind::End | TraceKind::Return | TraceKind::Policy => None,
        });
        let (verdict, is_policy) = passage.verdict();
        ChainPassed {
            hook: base.map(|base| base.hook.clone()),
            priority: base.map(|base| base.priority.clone()),
            table: format!("{} {}", passage.family, passage.table),
            chain: passage.chain.clone(),
            rules: rules.collect(),
            verdict: verdict.to_string(),
            is_policy,
        }
    }

    /// Notes when another address, or another port, took the place of one.
    fn note_rewritten(&mut self, passage: &Passage) {
        let (before, after) = (self.header, passage.header);
        let changed = (before.source, before.destination) != (after.source, after.destination)
            || [(before.source_port, after.source_port), (before.destination_port, after.destination_port)]
                .iter()
                .any(|(before, after)| before.is_some() && after.is_some() && before != after);
        self.header = after;
        if !changed {
            return;
        }
        let last = self.way.steps.iter().rev().find_map(|step| match step {
            Step::Chain(passed) => passed.rules.last(),
            _ => None,
        });
        // Only a nat statement rewrites; without one it was an earlier packet of the flow.
        let rewrites = ["masquerade", "snat", "dnat", "redirect"];
        let rule = last.filter(|rule| rule.rule.split(' ').any(|word| rewrites.contains(&word))).cloned();
        self.way.steps.push(Step::Rewritten { before, after, rule });
    }

    /// What ended the way, where no rule did.
    fn end(mut self, packet: &Packet) -> Way {
        if self.way.stop.is_some() {
            return self.way;
        }
        let family = if packet.has(Family::Inet, "prerouting_first") || packet.is_own() {
            Family::Inet
        } else {
            Family::Bridge
        };
        let has = |hook: &str, end: &str| packet.has(family, &format!("{hook}_{end}"));
        let unknown = |after: &str| Some(Stop::Unknown { after: after.to_owned(), why: String::new() });
        if let Some(hook) = HOOKS.into_iter().rev().find(|hook| has(hook, "first") && !has(hook, "last")) {
            let why = "nothing that nf_tables runs dropped it: legacy iptables, or a program";
            self.way.stop = Some(Stop::Unknown { after: format!("the hook {hook}"), why: why.to_owned() });
        } else if has("input", "last") || has("postrouting", "last") {
        } else if has("forward", "last") {
            self.way.stop = unknown("the hook forward");
        } else if RouteQuestion::of(packet).is_some_and(|question| question.went_on) {
            // A frame that stays on its bridge, or a packet between two hooks.
            if !packet.has(Family::Bridge, "postrouting_last") {
                self.way.stop = unknown("the routing");
            }
        } else {
            self.way.stop = match self.routing.take() {
                Some(Routing::Refused(stop)) => Some(stop),
                _ => unknown("the routing"),
            };
        }
        self.way
    }
}
