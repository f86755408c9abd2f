//! What carries out an approach: that of isoplan, and those to compare it with.

use std::fmt;

use ipnet::IpNet;

use super::{Approach, Desired, iptables_rules, layered, nftables, route, subnet, sysctl};
use crate::intent::{Intent, IpFamily};
use crate::ruleset::Ruleset;

/// What is done on a host for an approach.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Means {
    /// Which approach.
    pub approach: Approach,
    /// Tables named isoplan and sysctls; empty where the approach has none.
    pub desired: Desired,
    /// Arguments for `iptables` (IPv4), a line each, in the order of typing.
    pub iptables: Vec<String>,
    /// Rules of policy routing.
    pub rules: Vec<PolicyRule>,
}

/// A rule of policy routing: packets from one prefix to another are prohibited (ip-rule(8)).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct PolicyRule {
    /// Source prefix.
    pub from: IpNet,
    /// Destination prefix, of the same family.
    pub to: IpNet,
}

impl PolicyRule {
    /// Its family.
    pub const fn family(&self) -> IpFamily {
        IpFamily::of(&self.to)
    }
}

/// The selector and the action, as `ip rule` takes and shows them.
impl fmt::Display for PolicyRule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "from {} to {} prohibit", self.from, self.to)
    }
}

/// Works out what an approach does for an intent.
pub fn compared(intent: &Intent<'_>, approach: Approach) -> Means {
    let nothing = Desired { approach, ruleset: Ruleset::new(), sysctls: Vec::new(), not_covered: Vec::new() };
    let mut means = Means { approach, desired: nothing, iptables: Vec::new(), rules: Vec::new() };
    match approach {
        Approach::None => {}
        Approach::Iptables => means.iptables = iptables_rules::lines(intent),
        Approach::NftablesSubnet => means.desired.ruleset = subnet::ruleset(intent),
        Approach::Sysctl => means.desired = sysctl::desired(intent),
        Approach::Route => means.rules = route::rules(intent),
        Approach::Nftables => means.desired = nftables::desired(intent),
        Approach::Layered => means.desired = layered::desired(intent),
    }
    means
}

/// A prefix of a network, and one of a NIC that is closed to it.
pub(super) struct ClosedPair<'t> {
    /// Into `Topology::networks`.
    pub(super) network: usize,
    /// Into `Topology::nics`.
    pub(super) nic: usize,
    pub(super) from: &'t IpNet,
    pub(super) to: &'t IpNet,
}

/// Every prefix of a network with every prefix of a NIC that is closed to it, within a family. A network or NIC
/// without subnets in the file has none: that is a hole of all approaches by prefix.
pub(super) fn closed_pairs<'t>(intent: &Intent<'t>) -> Vec<ClosedPair<'t>> {
    let topology = intent.topology;
    let mut pairs = Vec::new();
    for (network, sender) in topology.networks.iter().enumerate() {
        for (nic, closed) in topology.nics.iter().enumerate() {
            if !intent.is_closed(network, nic) {
                continue;
            }
            for from in &sender.subnets {
                let same = closed.subnets.iter().filter(|to| IpFamily::of(to) == IpFamily::of(from));
                pairs.extend(same.map(|to| ClosedPair { network, nic, from, to }));
            }
        }
    }
    pairs
}
