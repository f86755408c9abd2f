//! Everything against a real kernel.

mod round_trip;

use std::sync::Arc;

use super::{CommitError, Nftables, Snapshot, encode};
use crate::ruleset::{Op, Ruleset, TABLE_NAME};

/// Reads the tables of isoplan.
fn read() -> Snapshot {
    Nftables::open().unwrap().read_tables(TABLE_NAME).unwrap()
}

/// Carries out steps in one transaction, whatever the generation.
fn commit(ops: &[Op]) -> Result<(), CommitError> {
    Nftables::open().unwrap().commit(&encode(ops, None))
}

/// The steps that make tables out of nothing.
fn creation(ruleset: &Ruleset) -> Vec<Op> {
    let mut ops = Vec::new();
    for (&family, table) in ruleset {
        ops.push(Op::AddTable { family });
        for chain in table.chains.values() {
            let (chain, base) = (Arc::clone(&chain.name), chain.base.clone());
            ops.push(Op::AddChain { family, chain, base });
        }
        for set in table.sets.values() {
            ops.push(Op::AddSet { family, set: set.clone() });
            if !set.elements.is_empty() {
                let elements = set.elements.clone().into_iter().collect();
                ops.push(Op::AddElements { family, set: set.clone(), elements });
            }
        }
        for chain in table.chains.values() {
            for rule in &chain.rules {
                let chain = Arc::clone(&chain.name);
                ops.push(Op::AddRule { family, chain, rule: rule.clone(), before: None });
            }
        }
    }
    ops
}
