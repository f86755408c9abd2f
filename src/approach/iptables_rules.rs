//! The `iptables` approach, to compare with: drops in Docker's chain for its users' rules, the way most people write
//! them (Docker's documentation, "Packet filtering and firewalls"). IPv4 alone.

use super::means::closed_pairs;
use crate::intent::{Intent, IpFamily};

/// What is typed behind `iptables`: one drop for each subnet of a network and the first subnet of a NIC that is
/// closed to it. What is routed behind the NIC is forgotten, as most people do.
pub(super) fn lines(intent: &Intent<'_>) -> Vec<String> {
    let mut pairs = closed_pairs(intent);
    pairs.retain(|pair| IpFamily::of(pair.to) == IpFamily::V4);
    pairs.dedup_by_key(|pair| (pair.network, pair.nic, pair.from));
    pairs.iter().map(|pair| format!("-I DOCKER-USER -s {} -d {} -j DROP", pair.from, pair.to)).collect()
}
