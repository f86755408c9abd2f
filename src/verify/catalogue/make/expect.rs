//! What is expected of an entry's packet, and what the probe counts for.

use super::super::entry::{About, Aim, Entry, Rule, Send};
use super::super::judge::{Flow, Passes};
use super::super::pairs::{Object, Pair};
use super::Maker;
use super::send::{is_answerable, is_forged, is_on_flow, is_segment_routed};
use crate::intent::{IpFamily, Party};
use crate::verify::change::Change;
use crate::verify::outcome::Expected;
use crate::verify::probe::Class;
use crate::verify::question::Question;
use crate::verify::world::{HostLinkRole, NodeRole};

impl Maker<'_> {
    /// What is expected, and whether an exception is why. `None` for a probe that would say nothing here.
    pub(super) fn expected(&self, entry: &Entry, flow: &Flow) -> Option<(Expected, bool)> {
        let passing = if is_answerable(entry) { Expected::Answered } else { Expected::Delivered };
        let plain = |expected| Some((expected, false));
        match entry.rule {
            Rule::Residual => return plain(Expected::Residual),
            Rule::Never => return plain(Expected::Blocked),
            Rule::Intent => {}
        }
        // What a change adds is in no rule, so that nothing opens it to containers.
        if matches!(entry.about, About::Added | About::AddedHost) {
            return plain(Expected::Blocked);
        }
        // By the closed NIC and out of it.
        if self.change == Some(Change::DefaultRouteMoved) && flow.to == Object::Internet {
            return plain(Expected::Blocked);
        }
        // Groups are for who is on the link.
        if entry.aim == Aim::AllHosts {
            return plain(Expected::Delivered);
        }
        let is_control = entry.class == Class::Control;
        match self.judge.judge(flow) {
            Passes::No if is_control => None,
            Passes::No => plain(Expected::Blocked),
            // After a change only what was closed before it tells something, but for controls.
            _ if self.change.is_some() && !is_control => None,
            // An error about a connection may count as an answer on it.
            Passes::Unknown => plain(Expected::Unjudged),
            _ if entry.send == Send::RelatedError => plain(Expected::Unjudged),
            // The host takes it apart only where segment routing is on.
            _ if is_segment_routed(entry.send) => plain(Expected::Unjudged),
            // A forged source where the way is open with one's own. Nobody promises that it gets through; that it
            // does from a NIC that may open connections is written down as a residual.
            _ if is_forged(entry.send) => match self.world.node(flow.sender).role {
                NodeRole::Server(_) | NodeRole::Router(_) => plain(Expected::Residual),
                _ => plain(Expected::Unjudged),
            },
            // A host without a container engine has not tracked the connection from its start: what answers is
            // not known until the opener has sent again.
            _ if is_on_flow(entry.send) && self.intent.topology.networks.is_empty() => {
                plain(Expected::Unjudged)
            }
            Passes::Yes => plain(passing),
            Passes::ByException => Some((passing, true)),
        }
    }

    /// What a probe counts for.
    pub(super) fn row(
        &self,
        entry: &Entry,
        pair: Pair,
        family: IpFamily,
        expected: Expected,
        by_exception: bool,
    ) -> (Class, Question) {
        if by_exception {
            return (Class::Exception, Question::Exceptions);
        }
        if let (Some(change), Class::Change | Class::Residual) = (self.change, entry.class) {
            return (entry.class, Question::After(change));
        }
        match (expected, entry.question) {
            (Expected::Answered | Expected::Delivered, _) => (Class::Control, Question::Works),
            _ if self.is_transit(pair) => (Class::Transit, Question::Transit),
            (_, Question::SendToGuarded) if family == IpFamily::V6 => {
                (entry.class, Question::SendToGuardedV6)
            }
            (_, Question::FromGuarded) if !self.is_from_closed(pair) => (entry.class, Question::Unpublished),
            (_, question) => (entry.class, question),
        }
    }

    /// Whether it is from one NIC to another, or to the host's address there: no container has a part in it.
    fn is_transit(&self, pair: Pair) -> bool {
        let is_of_nic = |place| {
            let role = self.world.node(place).role;
            matches!(role, NodeRole::Server(_) | NodeRole::Router(_) | NodeRole::Upstream)
        };
        let is_to_nic = match pair.to {
            Object::Node(node) => is_of_nic(node),
            Object::HostOn(link) => matches!(self.world.host_links[link].role, HostLinkRole::Nic(_)),
            Object::Internet => true,
        };
        is_of_nic(pair.sender) && is_to_nic
    }

    /// Whether the sender is of a NIC that is closed to the receiver's network.
    fn is_from_closed(&self, pair: Pair) -> bool {
        let nic = match self.world.party(pair.sender) {
            Some(Party::Nic(nic)) => Some(nic),
            Some(Party::Flat(flat)) => self.intent.nic_of_flat(flat),
            _ => self.world.default_nic,
        };
        let network = match pair.to {
            Object::Node(node) => match self.world.party(node) {
                Some(Party::Network(network)) => Some(network),
                _ => None,
            },
            Object::HostOn(link) => match self.world.host_links[link].role {
                HostLinkRole::Network(network) => Some(network),
                HostLinkRole::Nic(_) | HostLinkRole::Flat(_) => None,
            },
            Object::Internet => None,
        };
        match (network, nic) {
            (Some(network), Some(nic)) => self.intent.is_closed(network, nic),
            _ => true,
        }
    }
}
