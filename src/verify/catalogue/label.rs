//! What senders and receivers are called, in names of probes and for the reader.

use super::entry::{About, Entry};
use super::make::Maker;
use super::pairs::{Object, Pair};
use crate::verify::world::{HostLinkRole, NodeRole, Place};

impl Maker<'_> {
    /// In names of probes: the link that a node is on.
    pub(super) fn label(&self, place: Place) -> String {
        let node = self.world.node(place);
        let link = |index: usize| self.world.host_links[index].name.clone();
        match node.role {
            NodeRole::Host => "host".to_owned(),
            NodeRole::Wire => "wire".to_owned(),
            NodeRole::Upstream => "internet".to_owned(),
            NodeRole::Container { is_remote: true, .. } => format!("remote@{}", link(node.host_link)),
            NodeRole::Container { .. } => link(node.host_link),
            NodeRole::Instance { flat, .. } => self.intent.topology.flats[flat].name.to_string(),
            NodeRole::Server(nic) | NodeRole::Router(nic) => self.intent.topology.nics[nic].name.to_string(),
        }
    }

    /// The same of a receiver.
    pub(super) fn object_label(&self, entry: &Entry, pair: Pair) -> String {
        match (entry.about, pair.to) {
            (About::Added, _) => "new".to_owned(),
            (About::AddedHost, _) => "host@new".to_owned(),
            (_, Object::Node(node)) => self.label(node),
            (_, Object::HostOn(link)) => format!("host@{}", self.world.host_links[link].name),
            (_, Object::Internet) => "internet".to_owned(),
        }
    }

    /// For the reader: a NIC with its role.
    pub(super) fn title(&self, place: Place) -> String {
        match self.world.node(place).role {
            NodeRole::Server(nic) | NodeRole::Router(nic) => self.nic_title(nic),
            _ => self.label(place),
        }
    }

    /// The same of a receiver.
    pub(super) fn object_title(&self, entry: &Entry, pair: Pair) -> String {
        match (entry.about, pair.to) {
            (About::Added, _) => "what is new".to_owned(),
            (About::AddedHost, _) => "host on what is new".to_owned(),
            (_, Object::Node(node)) => self.title(node),
            (_, Object::HostOn(link)) => match self.world.host_links[link].role {
                HostLinkRole::Nic(nic) => format!("host on {}", self.nic_title(nic)),
                _ => format!("host on {}", self.world.host_links[link].name),
            },
            (_, Object::Internet) => "internet".to_owned(),
        }
    }

    fn nic_title(&self, nic: usize) -> String {
        let nic = &self.intent.topology.nics[nic];
        format!("{} ({})", nic.name, nic.role)
    }
}
