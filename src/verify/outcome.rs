//! What came of a probe.

use std::net::IpAddr;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What became of a probe.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", tag = "outcome", content = "why")]
pub enum Outcome {
    /// It arrived, and an answer came back to its sender.
    Answered,
    /// It arrived, and no answer came back.
    Delivered,
    /// It did not arrive, and what was sent behind it did.
    Blocked,
    /// Nothing is known, and why. Never counts as blocked.
    CouldNotTest(String),
}

impl Outcome {
    /// Whether the packet arrived.
    pub const fn arrived(&self) -> bool {
        matches!(self, Self::Answered | Self::Delivered)
    }
}

/// One place where the packet of a probe was seen.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Sighting {
    /// The name of the node.
    pub node: String,
    /// With which source.
    pub source: IpAddr,
    /// With which destination.
    pub destination: Option<IpAddr>,
    /// With which source port, where the protocol has one.
    pub source_port: Option<u16>,
    /// With which destination port, where the protocol has one.
    pub destination_port: Option<u16>,
    /// How long after it was sent, in microseconds. For the reader; nothing is decided by it.
    pub after_us: u64,
}

/// What was seen of a probe.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Observation {
    /// What became of it.
    #[serde(flatten)]
    pub outcome: Outcome,
    /// What was sent, in the form `172.17.0.2:40001 -> 192.168.57.5:9, UDP`.
    pub sent: String,
    /// The link of the host that it came in on, where the host saw it.
    pub came_in: Option<String>,
    /// The links of the host that it left by.
    pub left_by: Vec<String>,
    /// Where it arrived, other than on the sender's own side.
    pub seen: Vec<Sighting>,
    /// Which route, sysctl or rule decided, a line each; filled in only where it was traced.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub decided_by: Vec<String>,
}

impl Observation {
    /// Nothing is known.
    pub fn unknown(why: impl Into<String>) -> Self {
        Self {
            outcome: Outcome::CouldNotTest(why.into()),
            sent: String::new(),
            came_in: None,
            left_by: Vec::new(),
            seen: Vec::new(),
            decided_by: Vec::new(),
        }
    }
}

/// What a probe should do, by the intent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Expected {
    /// It must not arrive.
    Blocked,
    /// It must arrive and be answered.
    Answered,
    /// It must arrive; nobody answers such a packet.
    Delivered,
    /// It is known to get through whatever isoplan does; shown, not judged.
    Residual,
    /// The intent has no word on it; shown, not judged.
    Unjudged,
}

/// Expected and observed together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Verdict {
    /// Blocked as expected, and the same probe arrives without any rules.
    Held,
    /// It works as expected.
    Works,
    /// It was to be blocked, and arrived.
    Leak,
    /// It was to work, and does not.
    Broken,
    /// Blocked as expected, but it does not arrive without any rules either: this shows nothing.
    Vacuous,
    /// Nothing is known.
    CouldNotTest,
    /// Expected to get through, and it does: a known residual.
    Residual,
    /// Not judged.
    Unjudged,
}

impl Verdict {
    /// Of an observation under an approach, with what the same probe did under `none`.
    pub fn of(expected: Expected, observed: &Outcome, under_none: Option<&Outcome>) -> Self {
        if let Outcome::CouldNotTest(_) = observed {
            return Self::CouldNotTest;
        }
        match expected {
            Expected::Blocked if observed.arrived() => Self::Leak,
            Expected::Blocked => match under_none {
                Some(outcome) if outcome.arrived() => Self::Held,
                Some(Outcome::CouldNotTest(_)) | None => Self::CouldNotTest,
                Some(_) => Self::Vacuous,
            },
            Expected::Answered if *observed == Outcome::Answered => Self::Works,
            Expected::Delivered if observed.arrived() => Self::Works,
            Expected::Answered | Expected::Delivered => Self::Broken,
            Expected::Residual => Self::Residual,
            Expected::Unjudged => Self::Unjudged,
        }
    }
}
