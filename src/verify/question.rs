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
    /// The questions about the host as it is, in the order of the table: what must be closed, what must be
    /// just so, what must work.
    const PLAIN: [Self; 13] = [
        Self::SendToGuarded,
        Self::SendToGuardedV6,
        Self::ForgedSource,
        Self::BehindGuarded,
        Self::OddPackets,
        Self::EstablishedBefore,
        Self::HostAddress,
        Self::FromGuarded,
        Self::Unpublished,
        Self::Transit,
        Self::BetweenNetworks,
        Self::Exceptions,
        Self::Works,
    ];

    /// As the table asks it: at most 42 columns. What starts with dots goes on from the question before it.
    pub const fn text(self) -> &'static str {
        match self {
            Self::SendToGuarded => "Can a container send to a closed network?",
            Self::SendToGuardedV6 => "... over IPv6?",
            Self::ForgedSource => "... with a forged source address?",
            Self::BehindGuarded => "... to a network routed behind it?",
            Self::OddPackets => "... with fragments, options, tags, GRE?",
            Self::EstablishedBefore => "... on a connection opened before?",
            Self::HostAddress => "... to the host's own address there?",
            Self::FromGuarded => "Can a closed network reach a container?",
            Self::Unpublished => "Can neighbours reach unpublished ports?",
            Self::Transit => "Does the host route between its NICs?",
            Self::BetweenNetworks => "Do container networks reach each other?",
            Self::After(change) => after(change),
            Self::Exceptions => "Do exceptions open just what they say?",
            Self::Works => "Does what must work go on working?",
        }
    }

    /// All, in the order of the table: the plain ones, then one for each change of the host.
    pub fn all() -> Vec<Self> {
        let [before @ .., exceptions, works] = Self::PLAIN;
        let changes = Change::ALL.into_iter().map(Self::After);
        before.into_iter().chain(changes).chain([exceptions, works]).collect()
    }
}

const fn after(change: Change) -> &'static str {
    match change {
        Change::ForwardToggled => "After ip_forward is toggled",
        Change::NicDown => "With the NIC down, by way of upstream",
        Change::NicRecreated => "After the NIC is made again",
        Change::NicRenamed => "After the NIC is renamed",
        Change::NicEnslaved => "After the NIC is put into a bridge",
        Change::BridgeRecreated => "After the containers' bridge is made again",
        Change::NewContainer => "From a container that came later",
        Change::NewNic => "To a NIC that came later",
        Change::SubnetAdded => "To a subnet added on the NIC",
        Change::DefaultRouteMoved => "With the default route over the NIC",
        Change::UpstreamHairpin => "By way of a router upstream",
        Change::ProxyArp => "With proxy ARP and proxy NDP",
        Change::SourceRouting => "With source routing accepted",
        Change::BroadcastForwarding => "With directed broadcasts forwarded",
        Change::AcceptFirst => "With ACCEPT first in FORWARD",
        Change::NicAbsentAtApply => "When the NIC comes after the rules",
        Change::BridgeNfCallOff => "With bridge-nf-call off",
        Change::AppliedUnderFlood => "While it is applied again under traffic",
        Change::Dnat => "By a DNAT on the host",
        Change::Macvlan => "With a macvlan on the NIC",
        Change::TcRedirect => "By a tc redirect",
        Change::Relay => "By a program on the host that relays",
        Change::RulesetFlushed => "After somebody flushes the ruleset",
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn texts_are_short_and_differ() {
        let all = Question::all();
        assert_eq!(all.len(), Question::PLAIN.len() + Change::ALL.len());
        let texts: BTreeSet<&str> = all.iter().map(|question| question.text()).collect();
        assert_eq!(texts.len(), all.len());
        for text in texts {
            assert!(text.len() <= 42, "{} columns: {text}", text.len());
        }
    }
}
