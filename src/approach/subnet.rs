//! The `nftables-subnet` approach: the textbook's drop by source and destination prefix, to compare with.

use std::sync::Arc;

use super::means::closed_pairs;
use super::rules::RuleBuilder;
use crate::intent::Intent;
use crate::ruleset::{BaseChain, Chain, ChainKind, Family, Hook, Policy, Priority, Ruleset, Table};

/// One drop for each pair of prefixes that the file lists, in a chain of its own on the forward hook. Nothing
/// guards the host's own addresses.
pub(super) fn ruleset(intent: &Intent<'_>) -> Ruleset {
    let topology = intent.topology;
    let rules = closed_pairs(intent).into_iter().zip(1..).map(|(pair, number)| {
        let (network, nic) = (&topology.networks[pair.network], &topology.nics[pair.nic]);
        let what = format!("{} to {} ({})", network.name, nic.name, nic.role);
        let origins = vec![network.entry, nic.entry];
        let rule = RuleBuilder::inet().source_in(pair.from).destination_in(pair.to).drop();
        rule.rule(&format!("P{number}"), &what, origins)
    });
    let chain = Chain {
        name: Arc::from("forward"),
        base: Some(BaseChain {
            kind: ChainKind::Filter,
            hook: Hook::Forward,
            priority: Priority(Priority::FILTER),
            policy: Policy::Accept,
            device: None,
        }),
        rules: rules.collect(),
    };
    let mut table = Table::new(Family::Inet);
    table.chains.insert(Arc::clone(&chain.name), chain);
    Ruleset::from([(table.family, table)])
}
