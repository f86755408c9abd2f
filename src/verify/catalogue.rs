//! Every probe that isoplan knows, and what the intent expects of it.

use super::probe::Probe;
use super::world::World;
use crate::intent::Intent;

/// Which probes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Extent {
    /// Without changes of the host.
    Quick,
    /// All.
    Full,
}

/// The probes of a topology, in the order in which they are sent.
pub fn probes(_intent: &Intent<'_>, _world: &World, _extent: Extent) -> Vec<Probe> {
    todo!()
}
