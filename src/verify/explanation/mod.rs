//! The story of one packet: which hooks and chains of the host it passed, what decided about it, and what
//! became of the answer. As values; [`crate::render::explanation`] has the words.

mod ask;
mod ends;
mod event;
mod listing;
mod select;
mod story;

#[cfg(test)]
mod tests;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub use ask::{Asked, Prepared, Protocol, Refused, Version, prepare};
pub use event::{Header, TraceEvent, TraceKind, TraceVerdict};
pub use listing::{Known, Listing};
pub use select::{Selected, Wanted, select};
pub use story::{HOOKS, Packet, RouteQuestion, Routing, packets, way};

use super::outcome::Observation;
use crate::approach::Approach;

/// The table of the lab that switches tracing on and marks the ends of each hook; its own chains are no part
/// of the story.
pub const TRACE_TABLE: &str = "isoplan_lab_trace";

/// The story of one packet.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Explanation {
    /// The node that sent it.
    pub from: String,
    /// Where it was to arrive: a node, or `host`.
    pub to: String,
    /// What was applied before.
    pub approach: Approach,
    /// What the topology says about the two: `docker0 -> eth1 (storage): blocked`. None where it says nothing.
    pub intended: Option<String>,
    /// Whether an answer would come back to the sender: not where the source is not one of its addresses.
    pub is_answerable: bool,
    /// What was seen of it.
    pub observation: Observation,
    /// What the host did with it.
    pub told: Told,
    /// What was done to the lab to be able to ask.
    pub notes: Vec<String>,
}

/// What a host told of one packet.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Told {
    /// Its way through the host; without a step where the host saw nothing of it.
    pub way: Way,
    /// The way of the answer through the host, where one came.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub answer: Option<Way>,
    /// The ICMP error that the host itself sent back because of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub refusal: Option<Header>,
    /// Whether the kernel told more than there was room for.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub is_cut: bool,
}

/// A way through the host.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Way {
    /// In order.
    pub steps: Vec<Step>,
    /// What ended it within the host; none where it went on, or was taken by the host's sockets.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stop: Option<Stop>,
}

/// One step.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", tag = "step")]
pub enum Step {
    /// It came in.
    CameIn {
        /// By this link.
        link: String,
        /// Like this.
        packet: Header,
    },
    /// A program of the host sent it.
    Sent {
        /// Like this.
        packet: Header,
    },
    /// It passed a base chain, or ended there.
    Chain(ChainPassed),
    /// Another address took the place of the source or destination.
    Rewritten {
        /// Like this before.
        before: Header,
        /// Like this behind it.
        after: Header,
        /// The rule that said so; none where an earlier packet of the flow decided it.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        rule: Option<RuleSeen>,
    },
    /// What the routing said: `192.168.57.0/24 dev eth1`.
    Route {
        /// The route, as `ip route` shows it.
        route: String,
    },
    /// It went to the host's own sockets.
    Taken,
    /// It left.
    Left {
        /// By this link.
        link: String,
        /// Like this.
        packet: Header,
    },
}

/// What a packet met in a base chain and the chains that it jumps to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ChainPassed {
    /// `forward`; absent where the listing does not tell.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hook: Option<String>,
    /// As nft shows it: `filter - 10`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub priority: Option<String>,
    /// Family and name: `inet isoplan`.
    pub table: String,
    /// The base chain.
    pub chain: String,
    /// The rules that matched, in order.
    pub rules: Vec<RuleSeen>,
    /// `accept`, `drop`, or another verdict of netfilter. Where no rule decided, the policy.
    pub verdict: String,
    /// Whether no rule decided.
    pub is_policy: bool,
}

/// A rule that matched.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct RuleSeen {
    /// Family and name of its table: `inet isoplan`.
    pub table: String,
    /// Its chain.
    pub chain: String,
    /// The kernel's handle.
    pub handle: u64,
    /// The id of one of isoplan's rules; absent for everybody else's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
    /// In nft syntax; empty where nft does not list it.
    pub rule: String,
    /// What one of isoplan's rules is for.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub what: String,
    /// The topology entries that it comes from, most telling first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub from: Vec<Origin>,
    /// What it decided: `drop`, `accept`, `goto from_service`, `continue`.
    pub verdict: String,
}

/// A topology entry.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Origin {
    /// `nic eth1`.
    pub entry: String,
    /// `topology.toml:10`.
    pub place: String,
}

/// What ended a way.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", tag = "by")]
pub enum Stop {
    /// A rule dropped it.
    Rule(RuleSeen),
    /// The policy of a base chain dropped it.
    Policy {
        /// Family and name of the table.
        table: String,
        /// The base chain.
        chain: String,
    },
    /// A rule of the policy routing, as `ip rule` shows it: `1000: from 172.17.0.0/16 prohibit`.
    RoutingRule {
        /// The rule.
        rule: String,
    },
    /// A route of type prohibit, unreachable or blackhole.
    Route {
        /// As `ip route` shows it.
        route: String,
    },
    /// No route leads there.
    NoRoute {
        /// The destination.
        destination: std::net::IpAddr,
    },
    /// A sysctl.
    Sysctl {
        /// With slashes.
        key: String,
        /// Its value.
        value: String,
        /// What the kernel makes of it.
        why: String,
    },
    /// The kernel, and nothing that can be named: the last place where it was seen.
    Unknown {
        /// `the hook forward`.
        after: String,
        /// What is known of it; may be empty.
        #[serde(default, skip_serializing_if = "String::is_empty")]
        why: String,
    },
}

impl Way {
    /// The rules that matched, in order.
    pub fn rules(&self) -> impl Iterator<Item = &RuleSeen> {
        self.steps.iter().flat_map(|step| match step {
            Step::Chain(passed) => passed.rules.as_slice(),
            _ => &[],
        })
    }

    /// The last rule of isoplan's that let it pass, in the hooks where packets are filtered.
    pub fn accepted_by(&self) -> Option<&RuleSeen> {
        let filters = self.steps.iter().filter_map(|step| match step {
            Step::Chain(passed) if passed.hook.as_deref() != Some("postrouting") => Some(passed),
            _ => None,
        });
        let mut rules = filters.flat_map(|passed| passed.rules.last());
        rules.rfind(|rule| rule.id.is_some() && rule.verdict == "accept")
    }

    /// The route that it took.
    pub fn route(&self) -> Option<&str> {
        self.steps.iter().find_map(|step| match step {
            Step::Route { route } => Some(route.as_str()),
            _ => None,
        })
    }
}
