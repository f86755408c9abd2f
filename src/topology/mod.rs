//! A topology file: read, checked whole, every mistake reported at once.

mod model;

pub use model::{
    Allow, ApproachName, Entry, EntryId, EntryKind, Flat, IF_NAME_MAX, IfName, IfNameFault, Inbound,
    Isolation, NamePattern, Network, NetworkKind, Nic, NicNat, PortRange, Protocol, Reach, Role, Topology,
};
