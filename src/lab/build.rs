//! From a [`World`] to namespaces, links and addresses.

use std::io;

use super::node::Namespace;
use crate::verify::world::{Place, World};

/// A lab: alive, and nobody sends anything yet.
#[derive(Debug)]
pub struct Lab {
    /// Its layout.
    pub world: World,
    /// By place.
    pub namespaces: Vec<Namespace>,
}

/// What is already there when the lab is made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Options {
    /// Whether a container engine masquerades what leaves the bridges, by every link. See [`super::protect`].
    pub engine_masquerades: bool,
    /// A CPU to stay on: the how manieth of those that are allowed.
    pub cpu: usize,
}

impl Lab {
    /// Makes it, in the namespaces that this process is in; waits until every link carries packets. Forwarding
    /// is on for both families that the topology has, as a container engine leaves it.
    ///
    /// # Errors
    ///
    /// When the kernel refuses a part of it, or outside of namespaces of our own.
    pub fn start(_world: World, _options: Options) -> io::Result<Self> {
        todo!()
    }

    /// The lab that another process has made in these namespaces: what a command in `isoplan lab` sees.
    ///
    /// # Errors
    ///
    /// When there is none.
    pub fn attach(_world: World) -> io::Result<Self> {
        todo!()
    }

    /// A namespace.
    pub fn at(&self, place: Place) -> &Namespace {
        &self.namespaces[place.0]
    }

    /// The host's.
    pub fn host(&self) -> &Namespace {
        self.at(Place::HOST)
    }
}
