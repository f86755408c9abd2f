//! From an entry and a pair to a probe with every address filled in.

mod expect;
mod goal;
mod send;

use std::net::IpAddr;

use self::send::{SCTP, TCP, UDP, is_answerable, protocol};
use super::entry::{About, Entry, Holds, Hop, Send, Shape, Source};
use super::judge::{Flow, Judge, family_of};
use super::pairs::{Object, Pair};
use super::subject::Subject;
use crate::intent::{Intent, IpFamily};
use crate::verify::change::{Added, Change};
use crate::verify::probe::Probe;
use crate::verify::world::{NodeRole, Place, World};

/// A hop limit as hosts have it.
pub(super) const HOPS: u8 = 64;

/// What probes are made from.
pub(super) struct Maker<'s> {
    pub(super) intent: &'s Intent<'s>,
    pub(super) world: &'s World,
    pub(super) judge: Judge<'s>,
    /// The sender and the closed NIC that entries about a subject are for: the one at hand, else the first.
    pub(super) subjects: Vec<Subject>,
    /// The change that goes before, and what it adds, by family.
    pub(super) change: Option<Change>,
    pub(super) added: Vec<(IpFamily, Added)>,
}

/// Where a packet goes.
struct Goal {
    /// As it is sent.
    destination: IpAddr,
    port: u16,
    /// Behind a DNAT, else the same.
    real: (IpAddr, u16),
    is_published: bool,
    vantage: Vec<Place>,
}

impl<'s> Maker<'s> {
    pub(super) fn new(
        intent: &'s Intent<'s>,
        world: &'s World,
        subjects: Vec<Subject>,
        change: Option<Change>,
    ) -> Self {
        let judge = Judge::new(intent, world);
        Self { intent, world, judge, subjects, change, added: Vec::new() }
    }

    /// The probe; `None` where somebody lacks an address that it needs, or it would say nothing.
    pub(super) fn make(&self, entry: &Entry, pair: Pair, family: IpFamily) -> Option<Probe> {
        let sender = self.actual_sender(entry, pair)?;
        let own = self.own_address(sender, family);
        let goal = self.goal(entry, pair, family)?;
        let source = match entry.send {
            Send::Frame(shape) => self.source(shape.source, pair, own, family)?,
            _ => own?,
        };
        let port = match entry.send {
            Send::Frame(Shape { holds: Holds::UdpToOverlay, .. }) => self.overlay_port()?,
            _ => goal.port,
        };
        let goal = match port == goal.port {
            true => goal,
            false => Goal { port, real: (goal.real.0, port), ..goal },
        };
        let sending = self.sending(entry, pair, sender, source, &goal, family)?;
        let flow = self.flow(entry, pair, sender, source, &goal);
        let (expected, by_exception) = self.expected(entry, &flow)?;
        let (class, question) = self.row(entry, pair, family, expected, by_exception);
        let version = if family == IpFamily::V4 { 4 } else { 6 };
        let suffix = self.change.map_or(String::new(), |change| format!("+{}", change.as_str()));
        let (from, to) = (self.label(pair.sender), self.object_label(entry, pair));
        Some(Probe {
            name: format!("{from}:{to}/{}{}{version}{suffix}", self.prefix(entry, pair), entry.name),
            entry: entry.name,
            class,
            pair: format!("{} -> {}", self.title(pair.sender), self.object_title(entry, pair)),
            threat: entry.threat,
            question,
            family,
            sender,
            is_answerable: is_answerable(entry),
            sending,
            vantage: goal.vantage,
            expected,
            change: self.change,
        })
    }

    /// Before the name of an entry: what is for containers is something else from an instance or a NIC.
    fn prefix(&self, entry: &Entry, pair: Pair) -> &'static str {
        match (entry.about, self.world.node(pair.sender).role) {
            (About::Closed, NodeRole::Instance { .. }) => "flat-",
            (About::Closed, NodeRole::Server(_)) => "transit-",
            _ => "",
        }
    }

    /// Who really sends: the router of a NIC in the place of its server, for what is behind it.
    fn actual_sender(&self, entry: &Entry, pair: Pair) -> Option<Place> {
        let Send::Frame(Shape { source: Source::Listed | Source::Unlisted, .. }) = entry.send else {
            return Some(pair.sender);
        };
        match self.world.node(pair.sender).role {
            NodeRole::Server(nic) => self.world.router(nic),
            _ => None,
        }
    }

    /// A node's own address, also after a change that gave it another one.
    fn own_address(&self, place: Place, family: IpFamily) -> Option<IpAddr> {
        if place == Place::HOST {
            return self.world.node(place).address(family);
        }
        let added = self.added.iter().find(|(of, added)| *of == family && added.place == place);
        match (self.change, added) {
            (Some(Change::NewContainer), Some((_, added))) => Some(added.peer),
            _ => self.world.node(place).address(family),
        }
    }

    fn flow(&self, entry: &Entry, pair: Pair, sender: Place, source: IpAddr, goal: &Goal) -> Flow {
        let family = family_of(goal.real.0);
        let protocol = protocol(entry.send, family);
        let is_tagged = matches!(entry.send, Send::Frame(shape) if !shape.tags.is_empty());
        let is_by_host = matches!(entry.send, Send::Frame(shape) if shape.hop == Hop::Host);
        let is_bridged =
            matches!(pair.to, Object::Node(node) if !is_by_host && self.are_neighbours(sender, node));
        Flow {
            sender,
            source,
            to: pair.to,
            destination: goal.real.0,
            protocol,
            port: matches!(protocol, TCP | UDP | SCTP).then_some(goal.real.1),
            is_reply: matches!(entry.send, Send::OnTheirFlow(_)),
            is_published: goal.is_published,
            is_bridged,
            is_tagged,
        }
    }
}
