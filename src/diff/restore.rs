//! The way back: from what is there now to what was there before a change, the order of things included.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::sysctls::push_sysctl;
use super::tables::{self, Steps};
use super::{Action, Diff, Kind, LiveState, SysctlWrite, change, rules, table_name};
use crate::approach::SysctlKey;
use crate::ruleset::{Chain, ElementKey, Expr, Family, Op, Rule, Ruleset, Set, SetData, Table};

/// What a change did to a sysctl, by writing it or by writing the switch that resets it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Passed {
    /// The value before the change.
    pub before: String,
    /// The values on the way.
    pub between: Vec<String>,
    /// The value after it.
    pub after: String,
}

/// A change that is over, or was cut short.
#[derive(Debug, Clone, Copy)]
pub struct Past<'p> {
    /// The tables before it.
    pub before: &'p Ruleset,
    /// The tables after it.
    pub after: &'p Ruleset,
    /// The sysctls that it changed.
    pub sysctls: &'p BTreeMap<SysctlKey, Passed>,
    /// Whether it came to its end.
    pub complete: bool,
    /// Where the sysctls were to go when it was begun to be undone.
    pub targets: Option<&'p BTreeMap<SysctlKey, String>>,
}

/// How to undo a change.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Restoration {
    /// What differs, and the steps.
    pub diff: Diff,
    /// How many of the sysctls are written before the transaction: those that close. The others open, and
    /// have to wait until the drops are in place.
    pub closing: usize,
    /// Where each sysctl of the change goes.
    pub targets: BTreeMap<SysctlKey, String>,
    /// Sysctls that have another value than the change gave them: they keep it.
    pub overtaken: Vec<SysctlKey>,
    /// In how much the tables are not what the change made of them.
    pub changed_since: usize,
    /// What was there and cannot be brought back, one clause each.
    pub lost: Vec<String>,
}

/// What writing these sysctls does to them and to those that a switch resets. `before`: each of them.
pub fn passed(before: &BTreeMap<SysctlKey, String>, writes: &[SysctlWrite]) -> BTreeMap<SysctlKey, Passed> {
    let passed = before.iter().map(|(key, value)| {
        let values = Passed { before: value.clone(), between: Vec::new(), after: value.clone() };
        (key.clone(), values)
    });
    let mut passed: BTreeMap<SysctlKey, Passed> = passed.collect();
    let pass = |values: &mut Passed, value: &str| {
        let left = std::mem::replace(&mut values.after, value.to_owned());
        if left != values.before && !values.between.contains(&left) {
            values.between.push(left);
        }
    };
    for write in writes {
        for (key, values) in &mut passed {
            if *key == write.key {
                pass(values, &write.new);
            } else if key.switch() == Some(write.key.0.as_str()) {
                pass(values, key.after_switch(write.new != "0"));
            }
        }
    }
    passed
}

/// Works out how to undo a change. `live`: with the sysctls of the change.
pub fn restoration(past: &Past<'_>, live: &LiveState) -> Restoration {
    let mut back = Restoration::default();
    let families: BTreeSet<Family> = past.before.keys().chain(live.ruleset.keys()).copied().collect();
    for family in families {
        table(&mut back, past.before.get(&family), live.ruleset.get(&family));
    }
    if past.complete && past.targets.is_none() {
        let mut since = Diff::default();
        let families: BTreeSet<Family> = past.after.keys().chain(live.ruleset.keys()).copied().collect();
        for family in families {
            let (made, now) = (past.after.get(&family), live.ruleset.get(&family));
            if made != now {
                tables::compare(&mut since, made, now);
            }
        }
        back.changed_since = since.changes.len();
    }
    for change in back.diff.changes.iter_mut().filter(|change| change.action == Action::Delete) {
        // No topology is compared with here: what goes was simply not there.
        change.why = "it was not there before".to_owned();
        change.rule = None;
    }
    sysctls(&mut back, past, live);
    back.diff.objects = past.before.values().map(super::count).sum::<usize>() + back.targets.len();
    back
}

/// The steps that bring tables back, their order included.
pub fn restoring(to: &Ruleset, live: &Ruleset) -> Vec<Op> {
    let mut back = Restoration::default();
    let families: BTreeSet<Family> = to.keys().chain(live.keys()).copied().collect();
    for family in families {
        table(&mut back, to.get(&family), live.get(&family));
    }
    back.diff.ops
}

/// Whether tables are the same, their order included.
pub fn same_tables(a: &Ruleset, b: &Ruleset) -> bool {
    a == b && a.values().zip(b.values()).all(|(a, b)| same_order(a, b))
}

fn same_order(a: &Table, b: &Table) -> bool {
    tables::chain_names(a).eq(tables::chain_names(b))
        && named_sets(a).eq(&named_sets(b))
        && elements(a) == elements(b)
}

/// Sets that nft lists: those that it made for a rule are shown in that.
fn named_sets(table: &Table) -> Vec<&Arc<str>> {
    tables::set_names(table).filter(|name| !tables::is_anonymous(&table.sets[*name])).collect()
}

fn elements(table: &Table) -> BTreeMap<&Arc<str>, &Vec<ElementKey>> {
    table.order.0.elements.iter().filter(|(_, keys)| keys.len() > 1).collect()
}

fn table(back: &mut Restoration, to: Option<&Table>, live: Option<&Table>) {
    if let Some(to) = to
        && live != Some(to)
    {
        let name = table_name(to.family);
        back.lost.extend(to.unknown.iter().map(|what| format!("{name} had {what}")));
        if to.flags != 0 {
            back.lost.push(format!("{name} had the flags {:#x}", to.flags));
        }
    }
    let (Some(to), Some(live)) = (to, live) else {
        tables::compare(&mut back.diff, to, live);
        return;
    };
    if to == live && same_order(to, live) {
        return;
    }
    // What isoplan has no type for, it cannot take away one by one.
    if !live.unknown.is_empty() || live.flags != 0 {
        let mut wanted = to.clone();
        (wanted.unknown, wanted.flags) = (Vec::new(), 0);
        if wanted != *live {
            tables::compare(&mut back.diff, Some(&wanted), Some(live));
        }
        return;
    }
    let mut steps = Steps::default();
    let mut contents = Diff::default();
    tables::table_contents(&mut contents, to, live, &mut steps);
    steps.sort(to);
    let ops: Vec<Op> = steps.in_order().collect();
    if tables::why_created_anew(to, live).is_none() && leads_to_order(to, live, &ops) {
        back.diff.changes.append(&mut contents.changes);
        back.diff.ops.extend(ops);
        return;
    }
    let mut anew = change(Action::Change, Kind::Table, to.family, "");
    anew.why = "put together anew, in the order that it had".to_owned();
    back.diff.changes.push(anew);
    back.diff.changes.append(&mut contents.changes);
    back.diff.ops.extend(rebuilt(to, live));
}

/// Whether the order is right once these steps were taken: what comes anew comes last.
fn leads_to_order(to: &Table, live: &Table, ops: &[Op]) -> bool {
    let mut sets = named_sets(live);
    let mut chains: Vec<_> = tables::chain_names(live).collect();
    let mut elements: BTreeMap<&Arc<str>, Vec<&ElementKey>> =
        live.order.0.elements.iter().map(|(name, keys)| (name, keys.iter().collect())).collect();
    for op in ops {
        match op {
            Op::AddSet { set, .. } => sets.push(&set.name),
            Op::DeleteSet { set, .. } => sets.retain(|name| *name != set),
            Op::AddChain { chain, .. } if !chains.contains(&chain) => chains.push(chain),
            Op::DeleteChain { chain, .. } => chains.retain(|name| *name != chain),
            Op::AddElements { set, elements: added, .. } => {
                elements.entry(&set.name).or_default().extend(added.iter().map(|(key, _)| key));
            }
            Op::DeleteElements { set, elements: deleted, .. } => {
                let deleted: BTreeSet<_> = deleted.iter().map(|(key, _)| key).collect();
                elements.entry(&set.name).or_default().retain(|key| !deleted.contains(key));
            }
            _ => {}
        }
    }
    let in_place = |(name, keys): (&Arc<str>, &Vec<ElementKey>)| {
        elements.get(name).map_or(keys.is_empty(), |now| now.iter().copied().eq(keys))
    };
    sets == named_sets(to)
        && chains.into_iter().eq(tables::chain_names(to))
        && to.order.0.elements.iter().all(in_place)
}

/// How many are the same from the first on.
fn common<'t>(a: &[&'t Arc<str>], b: &[&'t Arc<str>], same: impl Fn(&Arc<str>) -> bool) -> usize {
    a.iter().zip(b).take_while(|(a, b)| a == b && same(a)).count()
}

/// The contents of a table in another order, the table itself left where it is among the tables of others.
/// As much as is in its place from the first on stays: above all the base chains.
fn rebuilt(to: &Table, live: &Table) -> Vec<Op> {
    let family = to.family;
    let (sets, live_sets) = (named_sets(to), named_sets(live));
    let kept_sets = common(&sets, &live_sets, |name| {
        tables::same_definition(&to.sets[name], &live.sets[name])
            && to.order.0.elements.get(name) == live.order.0.elements.get(name)
    });
    let (chains, live_chains): (Vec<_>, Vec<_>) =
        (tables::chain_names(to).collect(), tables::chain_names(live).collect());
    let hook =
        |chain: &Chain| chain.base.clone().map(|base| (base.kind, base.hook, base.priority, base.device));
    let kept_chains =
        common(&chains, &live_chains, |name| hook(&to.chains[name]) == hook(&live.chains[name]));

    // Out: rules, then what they refer to, then what the verdicts of maps refer to.
    let mut ops = Vec::new();
    for chain in live.chains.values() {
        ops.extend(chain.rules.iter().filter_map(|rule| rules::deletion(family, &chain.name, rule)));
    }
    let mut added = Vec::new();
    for name in &live_sets[..kept_sets] {
        let (wanted, set) = (&to.sets[*name], &live.sets[*name]);
        // A chain that goes has to be let go by the maps that jump to it.
        let all = wanted.data == SetData::Verdict;
        let pairs = |from: &Set, other: &Set| -> Vec<_> {
            let pairs =
                from.elements.iter().filter(|(key, data)| all || other.elements.get(key) != Some(*data));
            pairs.map(|(key, data)| (key.clone(), data.clone())).collect()
        };
        let (gone, new) = (pairs(set, wanted), pairs(wanted, set));
        let set = tables::definition(wanted);
        if !gone.is_empty() {
            ops.push(Op::DeleteElements { family, set: set.clone(), elements: gone });
        }
        if !new.is_empty() {
            added.push(Op::AddElements { family, set, elements: new });
        }
    }
    let gone = live_sets[kept_sets..].iter();
    ops.extend(gone.map(|name| Op::DeleteSet { family, set: Arc::clone(name) }));
    let gone = live_chains[kept_chains..].iter();
    ops.extend(gone.map(|name| Op::DeleteChain { family, chain: Arc::clone(name) }));

    // In: the other way around.
    let stays: BTreeSet<_> = sets[..kept_sets].iter().copied().collect();
    let new_sets: Vec<_> = tables::set_names(to).filter(|name| !stays.contains(name)).collect();
    ops.extend(new_sets.iter().map(|name| Op::AddSet { family, set: tables::definition(&to.sets[*name]) }));
    for (place, name) in chains.iter().enumerate() {
        let chain = &to.chains[*name];
        if place >= kept_chains || chain.base != live.chains[*name].base {
            ops.push(tables::add_chain(family, chain));
        }
    }
    ops.append(&mut added);
    ops.extend(new_sets.iter().filter_map(|name| tables::all_elements(to, &to.sets[*name])));
    for chain in to.chains.values() {
        let counted = with_counts(chain, live.chains.get(&chain.name));
        ops.extend(tables::all_rules(family, &counted));
    }
    ops
}

/// A chain with what its rules have counted so far, where they are there now.
fn with_counts(chain: &Chain, live: Option<&Chain>) -> Chain {
    let mut chain = chain.clone();
    let Some(live) = live else { return chain };
    let mut there: BTreeMap<_, &Rule> = BTreeMap::new();
    for rule in &live.rules {
        if let Some(id) = rule.id() {
            there.entry(id).or_insert(rule);
        }
    }
    for rule in &mut chain.rules {
        let now = rule.id().and_then(|id| there.get(&id).copied()).filter(|now| *now == rule);
        let Some(now) = now else { continue };
        let counts: Vec<_> = now.exprs.iter().filter(|expr| matches!(expr, Expr::Counter { .. })).collect();
        let counters = rule.exprs.iter_mut().filter(|expr| matches!(expr, Expr::Counter { .. }));
        for (counter, counted) in counters.zip(counts) {
            *counter = counted.clone();
        }
    }
    chain
}

/// Where each sysctl of the change goes, and in which order.
fn sysctls(back: &mut Restoration, past: &Past<'_>, live: &LiveState) {
    for (key, values) in past.sysctls {
        // Its interface is gone.
        let Some(now) = live.sysctls.get(key) else { continue };
        let decided = past.targets.and_then(|targets| targets.get(key));
        let of_the_change = *now == values.after || (!past.complete && values.between.contains(now));
        let target = match decided {
            Some(target) => target,
            None if of_the_change => &values.before,
            None => now,
        };
        if decided.is_none() && *target != values.before {
            back.overtaken.push(key.clone());
        }
        back.targets.insert(key.clone(), target.clone());
    }
    let (mut closing, mut opening) = (Vec::new(), Vec::new());
    for switch in [SysctlKey::IP_FORWARD, SysctlKey::IPV6_FORWARD] {
        let of = |key: &SysctlKey| key.switch() == Some(switch);
        let goes =
            back.targets.iter().find(|(key, target)| key.0 == switch && live.sysctls[*key] != **target);
        let Some((key, target)) = goes else {
            for (key, target) in back.targets.iter().filter(|(key, _)| of(key)) {
                let now = &live.sysctls[key];
                if now != target {
                    let closes = target == "0" && key.0 != SysctlKey::REDIRECTS;
                    let write = SysctlWrite { key: key.clone(), old: now.clone(), new: target.clone() };
                    if closes { &mut closing } else { &mut opening }.push(write);
                }
            }
            continue;
        };
        // The switch resets the others, which are written behind it.
        let on = target != "0";
        let writes = if on { &mut opening } else { &mut closing };
        let now = live.sysctls[key].clone();
        writes.push(SysctlWrite { key: key.clone(), old: now, new: target.clone() });
        for (key, target) in back.targets.iter().filter(|(key, _)| of(key)) {
            let reset = key.after_switch(on);
            if reset != target {
                writes.push(SysctlWrite { key: key.clone(), old: reset.to_owned(), new: target.clone() });
            }
        }
    }
    back.closing = closing.len();
    for write in closing.into_iter().chain(opening) {
        push_sysctl(&mut back.diff, write, Vec::new(), "what it was before".to_owned());
    }
}
