//! The rows of the comparison, in plain words.

use serde::{Deserialize, Serialize};

use super::change::Change;

/// A question that a person has; the probes that count for it answer it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Question {
    /// Can a container send to a closed network?
    SendToGuarded,
    /// The same over IPv6.
    SendToGuardedV6,
    /// With a forged source?
    ForgedSource,
    /// To networks routed behind it?
    BehindGuarded,
    /// With odd packets: fragments, options, tags, other protocols?
    OddPackets,
    /// On a connection that was open before the rules came?
    EstablishedBefore,
    /// To the host's own address there?
    HostAddress,
    /// Can the closed network reach a container?
    FromGuarded,
    /// Can a neighbour of the host reach a port that was not published?
    Unpublished,
    /// Can it reach other networks through the host?
    Transit,
    /// Can one container network reach another?
    BetweenNetworks,
    /// After a change of the host, does it hold?
    After(Change),
    /// Do exceptions open what they say and nothing beside it?
    Exceptions,
    /// Does what must work go on working?
    Works,
}

impl Question {
    /// As the table asks it.
    pub fn text(self) -> &'static str {
        todo!()
    }

    /// All, in the order of the table.
    pub fn all() -> Vec<Self> {
        todo!()
    }
}
