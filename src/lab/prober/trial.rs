//! What is known of one probe while it is being decided.

use std::collections::BTreeSet;
use std::time::{SystemTime, UNIX_EPOCH};

use nix::net::if_::if_indextoname;

use super::super::build::Lab;
use super::super::capture::{Direction, Identity, Read, Role, Seen};
use super::super::frame::Id;
use crate::netlink::conntrack::Flow;
use crate::verify::outcome::{Observation, Outcome, Sighting};
use crate::verify::probe::Probe;
use crate::verify::world::{Node, NodeRole, Place};

/// One attempt at a probe.
#[derive(Debug)]
pub(super) struct Trial<'a> {
    pub(super) lab: &'a Lab,
    pub(super) probe: &'a Probe,
    pub(super) identity: Identity,
    /// What was sent, for the reader; empty until then.
    pub(super) sent: String,
    /// What conntrack would know of it.
    pub(super) tracked: Option<Flow>,
    /// When it was sent.
    started: SystemTime,
    hits: Vec<Hit>,
    is_answered: bool,
    /// Sentinels, and where they were received.
    sentinels: BTreeSet<(Place, u32)>,
    /// Sentinels that crossed a link of the host.
    passed: BTreeSet<u32>,
    /// Links of the host that it crossed, in order; whether it left by them.
    crossings: Vec<(u32, bool)>,
}

/// A packet of the probe, seen at a node.
#[derive(Debug)]
struct Hit {
    place: Place,
    seen: Seen,
    at: SystemTime,
}

impl<'a> Trial<'a> {
    pub(super) fn new(lab: &'a Lab, probe: &'a Probe, id: Id) -> Self {
        Self {
            lab,
            probe,
            identity: Identity::marked(id),
            sent: String::new(),
            tracked: None,
            started: UNIX_EPOCH,
            hits: Vec::new(),
            is_answered: false,
            sentinels: BTreeSet::new(),
            passed: BTreeSet::new(),
            crossings: Vec::new(),
        }
    }

    /// From now on counts.
    pub(super) fn start(&mut self, sent: String) {
        self.sent = sent;
        self.started = SystemTime::now();
    }

    /// Takes note of what a node has received: at the host, of what its input hook has let through.
    pub(super) fn received(&mut self, place: Place, read: Read, at: SystemTime) {
        let seen = match read {
            Read::Sentinel(Id(id)) => {
                self.sentinels.insert((place, id));
                return;
            }
            Read::Packet(seen) => seen,
        };
        match self.identity.role(&seen) {
            Role::Probe if place != self.probe.sender && !self.is_of_the_link(place, &seen) => {
                self.hits.push(Hit { place, seen, at });
            }
            Role::Answer if place == self.probe.sender => self.is_answered = true,
            Role::Probe | Role::Answer | Role::Other => {}
        }
    }

    /// Takes note of what crossed a link of the host.
    pub(super) fn crossed(&mut self, read: &Read, link: u32, direction: Direction) {
        let is_out = direction == Direction::Out;
        match read {
            Read::Sentinel(Id(id)) if !is_out => {
                self.passed.insert(*id);
            }
            Read::Packet(seen) if self.identity.role(seen) == Role::Probe => {
                self.crossings.push((link, is_out))
            }
            Read::Sentinel(_) | Read::Packet(_) => {}
        }
    }

    /// Whether the upstream got it on the sender's own wire, where it has a foot: the host has nothing to do
    /// with that.
    fn is_of_the_link(&self, place: Place, seen: &Seen) -> bool {
        let world = &self.lab.world;
        let sender = world.node(self.probe.sender);
        world.node(place).role == NodeRole::Upstream
            && matches!(sender.role, NodeRole::Server(_) | NodeRole::Router(_))
            && seen.from == Some(sender.mac)
    }

    /// Whether a sentinel came in on a link of the host.
    pub(super) fn has_passed(&self, id: Id) -> bool {
        self.passed.contains(&id.0)
    }

    /// Whether a sentinel was received at a node.
    pub(super) fn has_sentinel(&self, place: Place, id: Id) -> bool {
        self.sentinels.contains(&(place, id.0))
    }

    /// Whether it was seen where it would arrive.
    pub(super) fn has_arrived(&self) -> bool {
        self.hits.iter().any(|hit| self.probe.vantage.contains(&hit.place))
    }

    pub(super) fn is_answered(&self) -> bool {
        self.is_answered
    }

    /// All that is to be told.
    pub(super) fn observation(self, outcome: Outcome) -> Observation {
        let (came_in, left_by) = self.ways();
        let seen = self.sightings();
        Observation { outcome, sent: self.sent, came_in, left_by, seen, decided_by: Vec::new() }
    }

    /// Of each node the first packet, and any that differs from it by its addresses.
    fn sightings(&self) -> Vec<Sighting> {
        let mut sightings: Vec<Sighting> = Vec::new();
        for Hit { place, seen, at } in self.hits.iter().filter(|hit| !self.is_own_side(hit.place)) {
            let name = &self.lab.world.node(*place).name;
            let known = sightings.iter_mut().find(|known| {
                known.node == *name && known.source == seen.source && known.destination == seen.destination
            });
            if let Some(known) = known {
                // A first fragment may be seen after a later one, which has no ports.
                known.source_port = known.source_port.or(seen.source_port);
                known.destination_port = known.destination_port.or(seen.destination_port);
                continue;
            }
            let after = at.duration_since(self.started).unwrap_or_default();
            sightings.push(Sighting {
                node: name.clone(),
                source: seen.source,
                destination: seen.destination,
                source_port: seen.source_port,
                destination_port: seen.destination_port,
                after_us: u64::try_from(after.as_micros()).unwrap_or(u64::MAX),
            });
        }
        sightings
    }

    /// Whether a node shares a link with the sender, and is not where the probe is to arrive.
    fn is_own_side(&self, place: Place) -> bool {
        let world = &self.lab.world;
        let sender = self.probe.sender;
        place != Place::HOST
            && sender != Place::HOST
            && !self.probe.vantage.contains(&place)
            && world.node(place).host_link == world.node(sender).host_link
    }

    /// The link that it came in on, and those that it left by.
    fn ways(&self) -> (Option<String>, Vec<String>) {
        let came_in = self.crossings.iter().find(|(_, is_out)| !is_out);
        let came_in = came_in.and_then(|(link, _)| self.shown(*link));
        let mut left_by: Vec<String> = Vec::new();
        for link in self.crossings.iter().filter(|(_, is_out)| *is_out) {
            let link = self.shown(link.0);
            if let Some(link) = link.filter(|link| !left_by.contains(link)) {
                left_by.push(link);
            }
        }
        (came_in, left_by)
    }

    /// The name of a link of the host: of the bridge, for the port of a container, which the topology does not
    /// know.
    fn shown(&self, link: u32) -> Option<String> {
        let name = if_indextoname(link).ok()?.into_string().ok()?;
        let world = &self.lab.world;
        let is_port = |node: &&Node| node.port.0 == Place::HOST && node.port.1 == name;
        Some(match world.nodes.iter().find(is_port) {
            Some(node) => world.host_links[node.host_link].name.clone(),
            None => name,
        })
    }
}
