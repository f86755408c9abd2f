//! The `route` approach, to compare with: policy routing that prohibits each pair of prefixes.

use super::means::{PolicyRule, closed_pairs};
use crate::intent::Intent;

/// One rule for each pair, both families.
pub(super) fn rules(intent: &Intent<'_>) -> Vec<PolicyRule> {
    let pairs = closed_pairs(intent).into_iter();
    pairs.map(|pair| PolicyRule { from: *pair.from, to: *pair.to }).collect()
}
