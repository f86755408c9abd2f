//! Everything against a real kernel.

mod broken;
mod concurrent;
mod conntrack;
mod foreign;
mod incremental;
mod known;
mod large;
mod planner;
mod refusal;
mod round_trip;
mod route;
mod rtnl;
mod sample;
mod trace;

use std::sync::Arc;
use std::thread;

use super::{CommitError, Nftables, Snapshot, encode, netns_cookie, test_ns};
use crate::ruleset::{Expr, Op, Ruleset, TABLE_NAME};

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

/// Everything in tables that isoplan has no type for.
fn unknown(ruleset: &Ruleset) -> Vec<String> {
    let mut found = Vec::new();
    for table in ruleset.values() {
        found.extend(table.unknown.iter().cloned());
        let rules = table.chains.values().flat_map(|chain| &chain.rules);
        for expr in rules.flat_map(|rule| &rule.exprs) {
            if let Expr::Unknown { name, .. } = expr {
                found.push(name.clone());
            }
        }
    }
    found
}

/// Fails with the first object that differs, which is easier to read than both rule sets.
#[track_caller]
fn assert_same(found: &Ruleset, wanted: &Ruleset) {
    assert_eq!(found.keys().collect::<Vec<_>>(), wanted.keys().collect::<Vec<_>>());
    for (found, wanted) in found.values().zip(wanted.values()) {
        for (found, wanted) in found.sets.values().zip(wanted.sets.values()) {
            assert_eq!(found, wanted);
        }
        for (found, wanted) in found.chains.values().zip(wanted.chains.values()) {
            for (found, wanted) in found.rules.iter().zip(&wanted.rules) {
                assert_eq!(found, wanted);
            }
            assert_eq!(found, wanted);
        }
    }
    assert_eq!(found, wanted);
}

#[test]
fn each_network_namespace_has_a_cookie() {
    let outside = netns_cookie().unwrap();
    assert_eq!(netns_cookie().unwrap(), outside);
    let name = "each_network_namespace_has_a_cookie";
    test_ns::in_namespaces(module_path!(), name, test_ns::Privilege::Rootless, || {
        let first = netns_cookie().unwrap();
        let second = thread::spawn(|| {
            nix::sched::unshare(nix::sched::CloneFlags::CLONE_NEWNET).unwrap();
            netns_cookie().unwrap()
        });
        assert_ne!(second.join().unwrap(), first, "a thread in a namespace of its own");
        assert_eq!(netns_cookie().unwrap(), first);
    });
}
