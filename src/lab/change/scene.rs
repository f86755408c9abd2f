//! What a change is carried out on.

use std::io;
use std::net::IpAddr;

use ipnet::IpNet;

use crate::intent::{Intent, IpFamily};
use crate::lab::build::Lab;
use crate::verify::change::{Added, Change, Subject, added, families, subject, unknown_link};
use crate::verify::world::{HostLink, Place};

/// The lab, and what the change is about.
pub(super) struct Scene<'l, 't> {
    pub(super) lab: &'l mut Lab,
    pub(super) intent: &'l Intent<'t>,
    pub(super) subject: Subject,
    /// In which families.
    pub(super) families: Vec<IpFamily>,
    /// The container that sends.
    pub(super) container: Place,
}

impl<'l, 't> Scene<'l, 't> {
    pub(super) fn new(lab: &'l mut Lab, intent: &'l Intent<'t>, change: Change) -> io::Result<Self> {
        let families = families(intent, &lab.world, change);
        let subject = subject(intent).filter(|_| !families.is_empty());
        let scene = subject.and_then(|subject| Some((subject, subject.container(&lab.world)?)));
        let Some((subject, container)) = scene else {
            return Err(io::Error::other(format!("{} cannot be done on this host", change.as_str())));
        };
        Ok(Self { lab, intent, subject, families, container })
    }

    /// The closed NIC itself.
    pub(super) fn nic_link(&self) -> io::Result<&HostLink> {
        self.lab.world.nic_link(self.subject.nic).ok_or_else(|| absent("closed NIC"))
    }

    /// The link with the host's addresses for the closed NIC's network.
    pub(super) fn link_of_nic(&self) -> io::Result<&HostLink> {
        self.lab.world.host_link_of_nic(self.intent, self.subject.nic).ok_or_else(|| absent("closed NIC"))
    }

    /// The bridge of the container that sends, into `World::host_links`.
    pub(super) fn bridge_index(&self) -> usize {
        self.lab.world.node(self.container).host_link
    }

    /// The bridge of the container that sends.
    pub(super) fn bridge(&self) -> &HostLink {
        &self.lab.world.host_links[self.bridge_index()]
    }

    pub(super) fn server(&self) -> io::Result<Place> {
        self.lab.world.server(self.subject.nic).ok_or_else(|| absent("server"))
    }

    pub(super) fn router(&self) -> io::Result<Place> {
        self.lab.world.router(self.subject.nic).ok_or_else(|| absent("router"))
    }

    pub(super) fn upstream(&self) -> io::Result<Place> {
        self.lab.world.upstream().ok_or_else(|| absent("upstream"))
    }

    /// What the change adds, in every family that it is possible in.
    pub(super) fn added(&self, change: Change) -> Vec<Added> {
        let families = self.families.iter();
        families.filter_map(|family| added(self.intent, &self.lab.world, change, *family)).collect()
    }

    /// Writes down that a node has one more address.
    pub(super) fn has_address(&mut self, added: Added) {
        let nodes = &mut self.lab.world.nodes;
        nodes[added.place.0].addresses.extend(IpNet::new(added.peer, added.host.prefix_len()).ok());
        let own = &mut nodes[Place::HOST.0].addresses;
        if !own.contains(&added.host) {
            own.push(added.host);
        }
    }

    /// A name for a link that no entry of the file covers.
    pub(super) fn unknown(&self, word: &str) -> io::Result<String> {
        unknown_link(self.intent, word).ok_or_else(|| {
            io::Error::other("the file has a pattern for every name that a new link could have")
        })
    }
}

fn absent(what: &str) -> io::Error {
    io::Error::other(format!("the lab has no {what}"))
}

/// ` nodad` for an IPv6 address: it is there at once.
pub(super) const fn nodad(address: IpAddr) -> &'static str {
    if address.is_ipv6() { " nodad" } else { "" }
}
