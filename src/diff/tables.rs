//! Tables with their sets, elements and chains.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::text::{Listed, Text};
use super::{Action, Change, Diff, Kind, change, count, rules};
use crate::render;
use crate::ruleset::{Chain, ElementData, ElementKey, Elements, Family, Op, Set, Table};

/// A table that may be on either side.
pub(super) fn compare(diff: &mut Diff, desired: Option<&Table>, live: Option<&Table>) {
    match (desired, live) {
        (None, None) => {}
        (Some(desired), None) => {
            let family = desired.family;
            diff.changes.push(change(Action::Create, Kind::Table, family, ""));
            let nothing = Table::new(family);
            let mut steps = Steps::default();
            table_contents(diff, desired, &nothing, &mut steps);
            steps.sort(desired);
            diff.ops.extend(creation(desired, steps.add_elements));
        }
        (None, Some(live)) => {
            let family = live.family;
            let mut gone = change(Action::Delete, Kind::Table, family, "");
            gone.old = Some(match count(live) - 1 {
                1 => "1 object".to_owned().into(),
                objects => format!("{objects} objects").into(),
            });
            gone.why = "nothing asks for it any more".to_owned();
            diff.changes.push(gone);
            diff.ops.push(Op::DeleteTable { family });
        }
        (Some(desired), Some(live)) => {
            let mut steps = Steps::default();
            let why = why_created_anew(desired, live);
            if let Some(why) = &why {
                let mut anew = change(Action::Change, Kind::Table, desired.family, "");
                anew.why.clone_from(why);
                diff.changes.push(anew);
            }
            table_contents(diff, desired, live, &mut steps);
            if why.is_some() {
                diff.ops.push(Op::DeleteTable { family: desired.family });
                let elements = desired.sets.values().filter_map(|set| all_elements(desired, set)).collect();
                diff.ops.extend(creation(desired, elements));
            } else {
                diff.ops.extend(steps.in_order());
            }
        }
    }
}

/// Why a table cannot be changed in place; within one transaction no packet sees it missing.
pub(super) fn why_created_anew(desired: &Table, live: &Table) -> Option<String> {
    if live.flags != desired.flags {
        return Some("created anew: its flags differ (dormant, or owned by another program)".to_owned());
    }
    if let Some(unknown) = live.unknown.first() {
        return Some(format!("created anew: it holds {unknown}, which isoplan does not know"));
    }
    for (name, set) in &live.sets {
        match desired.sets.get(name) {
            Some(wanted) if !same_definition(wanted, set) => {
                return Some(format!("created anew: set {name} is of another type"));
            }
            _ => {}
        }
    }
    for (name, chain) in &live.chains {
        let Some(wanted) = desired.chains.get(name) else { continue };
        let hook = |chain: &Chain| {
            chain.base.as_ref().map(|base| (base.kind.clone(), base.hook, base.priority, base.device.clone()))
        };
        if hook(wanted) != hook(chain) {
            return Some(format!("created anew: chain {name} is on another hook"));
        }
    }
    None
}

pub(super) fn same_definition(a: &Set, b: &Set) -> bool {
    a.key == b.key && a.data == b.data && a.interval == b.interval && a.foreign_flags == b.foreign_flags
}

/// Whether nft made a set for a rule (`NFT_SET_ANONYMOUS`): it lives and dies with that.
pub(super) const fn is_anonymous(set: &Set) -> bool {
    set.foreign_flags & 1 != 0
}

/// The steps of one table, sorted so that whatever a step refers to is there.
#[derive(Default)]
pub(super) struct Steps {
    add_sets: Vec<Op>,
    add_chains: Vec<Op>,
    pub(super) add_rules: Vec<Op>,
    pub(super) replace_rules: Vec<Op>,
    pub(super) delete_rules: Vec<Op>,
    delete_elements: Vec<Op>,
    add_elements: Vec<Op>,
    delete_sets: Vec<Op>,
    delete_chains: Vec<Op>,
}

impl Steps {
    /// Puts what comes anew into the order that it had.
    pub(super) fn sort(&mut self, table: &Table) {
        let sets: Vec<_> = set_names(table).cloned().collect();
        let chains: Vec<_> = chain_names(table).cloned().collect();
        let place = |names: &[Arc<str>], name: &Arc<str>| names.iter().position(|other| other == name);
        self.add_sets.sort_by_key(|op| match op {
            Op::AddSet { set, .. } => place(&sets, &set.name),
            _ => None,
        });
        self.add_chains.sort_by_key(|op| match op {
            Op::AddChain { chain, .. } => place(&chains, chain),
            _ => None,
        });
        for op in &mut self.add_elements {
            if let Op::AddElements { set, elements, .. } = op {
                sort_elements(table, set, elements);
            }
        }
    }

    /// New rules first: their place is given by handles that later steps may take away. Chains last: the
    /// verdicts of a map that goes away refer to them until it is gone.
    pub(super) fn in_order(self) -> impl Iterator<Item = Op> {
        [
            self.add_sets,
            self.add_chains,
            self.add_rules,
            self.replace_rules,
            self.delete_rules,
            self.delete_elements,
            self.add_elements,
            self.delete_sets,
            self.delete_chains,
        ]
        .into_iter()
        .flatten()
    }
}

/// Everything for a table that is not there, with the steps that add its elements.
fn creation(table: &Table, elements: Vec<Op>) -> Vec<Op> {
    let family = table.family;
    let mut ops = vec![Op::AddTable { family }];
    ops.extend(set_names(table).map(|name| Op::AddSet { family, set: definition(&table.sets[name]) }));
    ops.extend(chain_names(table).map(|name| add_chain(family, &table.chains[name])));
    ops.extend(elements);
    ops.extend(table.chains.values().flat_map(|chain| all_rules(family, chain)));
    ops
}

/// The names of all sets, as the kernel had them or will have them.
pub(super) fn set_names(table: &Table) -> impl Iterator<Item = &Arc<str>> {
    ordered(&table.order.0.sets, table.sets.keys())
}

/// The same of all chains. Base chains come first, so that none of them ever has to make room for another
/// when an old order is restored: two base chains that take turns are two, for a packet in between.
pub(super) fn chain_names(table: &Table) -> impl Iterator<Item = &Arc<str>> {
    let (base, regular): (Vec<_>, Vec<_>) =
        table.chains.keys().partition(|name| table.chains[*name].base.is_some());
    ordered(&table.order.0.chains, base.into_iter().chain(regular))
}

/// Those with a place in their order, then the others.
fn ordered<'t>(
    order: &'t [Arc<str>],
    names: impl Iterator<Item = &'t Arc<str>>,
) -> impl Iterator<Item = &'t Arc<str>> {
    let names: Vec<_> = names.collect();
    let there: BTreeSet<_> = names.iter().copied().collect();
    let placed: Vec<_> = order.iter().filter(|name| there.contains(name)).collect();
    let with_place: BTreeSet<_> = placed.iter().copied().collect();
    let others: Vec<_> = names.into_iter().filter(|name| !with_place.contains(name)).collect();
    placed.into_iter().chain(others)
}

/// The elements of a set that has none yet, in their order.
pub(super) fn all_elements(table: &Table, set: &Set) -> Option<Op> {
    let mut elements: Vec<_> = set.elements.iter().map(|(key, data)| (key.clone(), data.clone())).collect();
    sort_elements(table, set, &mut elements);
    let set = definition(set);
    (!elements.is_empty()).then_some(Op::AddElements { family: table.family, set, elements })
}

fn sort_elements(table: &Table, set: &Set, elements: &mut [(ElementKey, ElementData)]) {
    if let Some(order) = table.order.0.elements.get(&set.name) {
        let places: BTreeMap<_, _> = order.iter().zip(0..).collect();
        elements.sort_by_key(|(key, _)| places.get(key).copied().unwrap_or(usize::MAX));
    }
}

/// The rules of a chain that has none yet.
pub(super) fn all_rules(family: Family, chain: &Chain) -> impl Iterator<Item = Op> {
    chain.rules.iter().map(move |rule| Op::AddRule {
        family,
        chain: Arc::clone(&chain.name),
        rule: rule.clone(),
        before: None,
    })
}

pub(super) fn definition(set: &Set) -> Set {
    Set { elements: Elements::new(), key: set.key.clone(), name: Arc::clone(&set.name), ..*set }
}

pub(super) fn add_chain(family: Family, chain: &Chain) -> Op {
    Op::AddChain { family, chain: Arc::clone(&chain.name), base: chain.base.clone() }
}

pub(super) fn table_contents(diff: &mut Diff, desired: &Table, live: &Table, steps: &mut Steps) {
    let family = desired.family;
    let names: BTreeSet<_> = desired.sets.keys().chain(live.sets.keys()).collect();
    for name in names {
        match (desired.sets.get(name), live.sets.get(name)) {
            (Some(set), None) => {
                let mut new = change(Action::Create, Kind::Set, family, name);
                new.new = Some(render::nft::set_type(set).into());
                diff.changes.push(new);
                steps.add_sets.push(Op::AddSet { family, set: definition(set) });
                elements(diff, family, set, &Elements::new(), steps);
            }
            (None, Some(set)) if !is_anonymous(set) => {
                let mut gone = change(Action::Delete, Kind::Set, family, name);
                let set_type = render::nft::set_type(set);
                gone.old = Some(format!("{set_type}, {} elements", set.elements.len()).into());
                diff.changes.push(gone);
                steps.delete_sets.push(Op::DeleteSet { family, set: Arc::clone(name) });
            }
            (Some(set), Some(old)) => {
                if same_definition(set, old) {
                    elements(diff, family, set, &old.elements, steps);
                } else {
                    let mut other = change(Action::Change, Kind::Set, family, name);
                    other.old = Some(render::nft::set_type(old).into());
                    other.new = Some(render::nft::set_type(set).into());
                    diff.changes.push(other);
                }
            }
            (None, _) => {}
        }
    }
    let names: BTreeSet<_> = desired.chains.keys().chain(live.chains.keys()).collect();
    for name in names {
        match (desired.chains.get(name), live.chains.get(name)) {
            (Some(chain), None) => {
                let mut new = change(Action::Create, Kind::Chain, family, name);
                new.new = chain.base.as_ref().map(|base| render::nft::base_chain(family, base).into());
                diff.changes.push(new);
                steps.add_chains.push(add_chain(family, chain));
                rules::compare(diff, family, chain, &[], steps);
            }
            (None, Some(chain)) => {
                let mut gone = change(Action::Delete, Kind::Chain, family, name);
                gone.old = Some(format!("{} rules", chain.rules.len()).into());
                diff.changes.push(gone);
                steps
                    .delete_rules
                    .extend(chain.rules.iter().filter_map(|rule| rules::deletion(family, name, rule)));
                steps.delete_chains.push(Op::DeleteChain { family, chain: Arc::clone(name) });
            }
            (Some(chain), Some(old)) => {
                if chain.base != old.base {
                    let mut other = change(Action::Change, Kind::Chain, family, name);
                    let text = |chain: &Chain| {
                        chain.base.as_ref().map(|base| render::nft::base_chain(family, base).into())
                    };
                    (other.old, other.new) = (text(old), text(chain));
                    diff.changes.push(other);
                    steps.add_chains.push(add_chain(family, chain));
                }
                rules::compare(diff, family, chain, &old.rules, steps);
            }
            (None, None) => {}
        }
    }
}

/// The elements of a set that is on both sides, or new: both are sorted, so that one walk finds what differs.
fn elements(diff: &mut Diff, family: Family, set: &Set, live: &Elements, steps: &mut Steps) {
    let mut added = Vec::new();
    let mut deleted = Vec::new();
    // Of each added one, where the old one is.
    let mut replaced = Vec::new();
    let mut gone = Vec::new();
    let mut live = live.iter().peekable();
    for (key, data) in &set.elements {
        while let Some(other) = live.next_if(|(other, _)| *other < key) {
            gone.push(other);
        }
        let old = live.next_if(|(other, _)| *other == key).map(|(_, old)| old);
        if old == Some(data) {
            continue;
        }
        replaced.push(old.map(|_| deleted.len()));
        deleted.extend(old.map(|old| (key.clone(), old.clone())));
        added.push((key.clone(), data.clone()));
    }
    let first_gone = deleted.len();
    deleted.extend(gone.into_iter().chain(live).map(|(key, data)| (key.clone(), data.clone())));

    let listed = |elements: &[_]| Arc::new(Listed { set: definition(set), elements: elements.to_vec() });
    let (new, old) = (listed(&added), listed(&deleted));
    let element =
        |action| Change { name: Arc::clone(&set.name), ..change(action, Kind::Element, family, "") };
    diff.changes.reserve(added.len() + deleted.len() - first_gone);
    for (at, replaced) in replaced.into_iter().enumerate() {
        let mut other = element(if replaced.is_some() { Action::Change } else { Action::Create });
        other.new = Some(Text::element(&new, at));
        other.old = replaced.map(|at| Text::element(&old, at));
        diff.changes.push(other);
    }
    for at in first_gone..deleted.len() {
        let mut other = element(Action::Delete);
        other.old = Some(Text::element(&old, at));
        other.why = "nothing asks for it".to_owned();
        diff.changes.push(other);
    }
    if !deleted.is_empty() {
        let set = definition(set);
        steps.delete_elements.push(Op::DeleteElements { family, set, elements: deleted });
    }
    if !added.is_empty() {
        steps.add_elements.push(Op::AddElements { family, set: definition(set), elements: added });
    }
}
