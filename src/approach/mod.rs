//! Approaches: pure functions from an intent to desired state, one file each.

mod counted;
mod iptables_rules;
mod layered;
mod means;
mod nftables;
mod route;
mod rules;
mod subnet;
mod sysctl;

pub use counted::{Counted, Side};
pub use means::{Means, PolicyRule, compared};
pub use nftables::keep;

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::intent::{Intent, IpFamily};
use crate::ruleset::{Family, Ruleset};
use crate::topology::{ApproachName, EntryId};

/// An approach that packets are sent against: those that isoplan applies, and those to compare with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Approach {
    /// The host as it is without any: the control.
    None,
    /// Drops by source and destination prefix in Docker's chain, IPv4, as most people write them.
    Iptables,
    /// The textbook drop by source and destination prefix in nftables, both families.
    NftablesSubnet,
    /// Per-interface `forwarding`.
    Sysctl,
    /// Policy routing: `prohibit` for each pair of prefixes.
    Route,
    /// Drops and masquerade in tables named isoplan.
    Nftables,
    /// `nftables` and `sysctl` together.
    Layered,
}

impl Approach {
    /// All, in the order of the table.
    pub const ALL: [Self; 7] = [
        Self::None,
        Self::Iptables,
        Self::NftablesSubnet,
        Self::Sysctl,
        Self::Route,
        Self::Nftables,
        Self::Layered,
    ];

    /// Its word on the command line and in the table.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Iptables => "iptables",
            Self::NftablesSubnet => "nftables-subnet",
            Self::Sysctl => "sysctl",
            Self::Route => "route",
            Self::Nftables => "nftables",
            Self::Layered => "layered",
        }
    }
}

impl From<ApproachName> for Approach {
    fn from(name: ApproachName) -> Self {
        match name {
            ApproachName::Nftables => Self::Nftables,
            ApproachName::Sysctl => Self::Sysctl,
        }
    }
}

/// A sysctl by its path below `/proc/sys`, for example `net/ipv4/conf/eth1.100/forwarding`.
///
/// Slashes and not dots, because the name of an interface may hold dots (sysctl.d(5)).
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(transparent)]
pub struct SysctlKey(pub String);

impl SysctlKey {
    /// Whether the host forwards IPv4. Equals `conf/all/forwarding`; writing 1 over 0 sets
    /// `forwarding` on every interface (devinet_sysctl_forward).
    pub const IP_FORWARD: &'static str = "net/ipv4/ip_forward";
    /// Whether the host forwards IPv6. Every write resets the per-interface values.
    pub const IPV6_FORWARD: &'static str = "net/ipv6/conf/all/forwarding";

    /// Whether the host takes ICMP redirects. The IPv4 switch sets it to the opposite of itself
    /// (inet_forward_change in net/ipv4/devinet.c).
    pub const REDIRECTS: &'static str = "net/ipv4/conf/all/accept_redirects";

    /// What a key that a switch resets is after that switch was written.
    pub fn after_switch(&self, on: bool) -> &'static str {
        if on == (self.0 == Self::REDIRECTS) { "0" } else { "1" }
    }

    /// For the `forwarding` of one interface, or of those to come (`default`), and for [`Self::REDIRECTS`]:
    /// the switch that resets it.
    pub fn switch(&self) -> Option<&'static str> {
        if self.0 == Self::REDIRECTS {
            return Some(Self::IP_FORWARD);
        }
        [Self::IP_FORWARD, Self::IPV6_FORWARD].into_iter().find(|switch| {
            let rest = self.0.strip_prefix(Self::interfaces(switch)).and_then(|rest| rest.strip_prefix('/'));
            rest.and_then(|rest| rest.strip_suffix("/forwarding")).is_some_and(|link| link != "all")
        })
    }

    /// The directory with the keys that a switch resets.
    pub fn interfaces(switch: &str) -> &'static str {
        if switch == Self::IP_FORWARD { "net/ipv4/conf" } else { "net/ipv6/conf" }
    }
}

impl std::fmt::Display for SysctlKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

/// A sysctl and the value that it should have.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sysctl {
    /// Which.
    pub key: SysctlKey,
    /// As `/proc/sys` shows it, without the newline.
    pub value: String,
    /// Why, in half a sentence.
    pub why: String,
    /// The topology entry that asks for it.
    pub origin: EntryId,
}

/// The state that a topology asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Desired {
    /// Which approach made it.
    pub approach: Approach,
    /// All tables named isoplan that should be there.
    pub ruleset: Ruleset,
    /// In the order of writing. After the tables, so that drops are in place before forwarding is on.
    pub sysctls: Vec<Sysctl>,
    /// What this approach does not stop, one sentence each: printed with every plan.
    pub not_covered: Vec<&'static str>,
}

/// Works out the desired state with the approach that the topology names.
pub fn desired(intent: &Intent<'_>) -> Desired {
    with_approach(intent, intent.topology.isolation.approach)
}

/// Works out the desired state with an approach of the caller's choice.
pub fn with_approach(intent: &Intent<'_>, approach: ApproachName) -> Desired {
    match approach {
        ApproachName::Nftables => nftables::desired(intent),
        ApproachName::Sysctl => sysctl::desired(intent),
    }
}

/// The sysctls of the desired state alone: what of a host they are to be compared with is known before the
/// tables are.
pub fn sysctls(intent: &Intent<'_>) -> Vec<Sysctl> {
    match intent.topology.isolation.approach {
        ApproachName::Nftables => forwarding(intent),
        ApproachName::Sysctl => sysctl::desired(intent).sysctls,
    }
}

/// What the counters of the drop rules stand for, by family, chain and id of the rule. An approach without rules
/// of its own has none.
pub fn counted(intent: &Intent<'_>) -> BTreeMap<(Family, String, &'static str), Counted> {
    match intent.topology.isolation.approach {
        ApproachName::Nftables => nftables::counters(intent),
        ApproachName::Sysctl => BTreeMap::new(),
    }
}

/// The forwarding switches that an intent needs, both approaches alike.
fn forwarding(intent: &Intent<'_>) -> Vec<Sysctl> {
    let key = |family| match family {
        IpFamily::V4 => SysctlKey::IP_FORWARD,
        IpFamily::V6 => SysctlKey::IPV6_FORWARD,
    };
    IpFamily::BOTH
        .into_iter()
        .filter(|family| intent.forwards(*family))
        .map(|family| Sysctl {
            key: SysctlKey(key(family).to_owned()),
            value: "1".to_owned(),
            why: format!("{family} is forwarded to where the topology lets it"),
            origin: intent.topology.isolation.entry,
        })
        .collect()
}
