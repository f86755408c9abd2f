//! Desired and live state to changes: what a reviewer reads, and the steps that carry it out.
//!
//! Both come from one walk, so that what is printed is what is sent. Objects are matched by name, rules
//! by [`RuleId`] within their chain, elements by key.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::approach::{Desired, Sysctl, SysctlKey};
use crate::render;
use crate::ruleset::{
    Chain, ElementData, ElementKey, Family, Op, Rule, RuleId, Ruleset, Set, TABLE_NAME, Table,
};
use crate::topology::EntryId;

/// What the kernel has now, in the planner's own types.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct LiveState {
    /// All tables named isoplan.
    pub ruleset: Ruleset,
    /// The ruleset generation that they were read at.
    pub generation: u32,
    /// The sysctls that were asked for; one that does not exist is not in here.
    pub sysctls: BTreeMap<SysctlKey, String>,
    /// What isoplan wrote before, and what was there.
    pub journal: Vec<Journaled>,
    /// The names of all links; `None` where they could not be read.
    pub links: Option<BTreeSet<String>>,
}

/// A sysctl that isoplan has written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Journaled {
    /// Which.
    pub key: SysctlKey,
    /// The value before isoplan's first write.
    pub original: String,
    /// The value that isoplan wrote last.
    pub written: String,
}

/// What happens to an object.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Action {
    /// It comes into being.
    Create,
    /// It becomes something else.
    Change,
    /// It goes away.
    Delete,
}

impl Action {
    /// The sign in front of a line.
    pub const fn sign(self) -> char {
        match self {
            Self::Create => '+',
            Self::Change => '~',
            Self::Delete => '-',
        }
    }

    /// The word in JSON.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Create => "create",
            Self::Change => "change",
            Self::Delete => "delete",
        }
    }
}

/// What kind of object changes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// A table.
    Table,
    /// A set or map, by its definition.
    Set,
    /// An element of a set or map.
    Element,
    /// A chain.
    Chain,
    /// A rule.
    Rule,
    /// A sysctl.
    Sysctl,
}

impl Kind {
    /// The word in JSON.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Table => "table",
            Self::Set => "set",
            Self::Element => "element",
            Self::Chain => "chain",
            Self::Rule => "rule",
            Self::Sysctl => "sysctl",
        }
    }
}

/// One difference, ready to be read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// What happens.
    pub action: Action,
    /// To what.
    pub kind: Kind,
    /// The family of the table; `None` for a sysctl.
    pub family: Option<Family>,
    /// The set, chain or sysctl; for an element or rule the one that it is in; empty for a table.
    pub name: Arc<str>,
    /// What there is now.
    pub old: Option<String>,
    /// What there will be.
    pub new: Option<String>,
    /// The id of a rule that the plan knows.
    pub rule: Option<RuleId>,
    /// Where in the topology it comes from, most telling first.
    pub origins: Vec<EntryId>,
    /// Why, in half a sentence.
    pub why: String,
}

/// A sysctl to be written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SysctlWrite {
    /// Which.
    pub key: SysctlKey,
    /// What it is now.
    pub old: String,
    /// What it will be.
    pub new: String,
}

/// All differences, and how to remove them.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Diff {
    /// In the order in which a reader expects them: tables with sets before chains, then sysctls.
    pub changes: Vec<Change>,
    /// One transaction.
    pub ops: Vec<Op>,
    /// In the order of writing.
    pub sysctls: Vec<SysctlWrite>,
    /// Whether the sysctls are to be written before the transaction: when it only takes drops away.
    pub sysctls_first: bool,
    /// Sysctls that should have a value and do not exist.
    pub missing: Vec<Sysctl>,
    /// How many objects the desired state has, sysctls included.
    pub objects: usize,
}

impl Diff {
    /// Whether the host is what it should be. It is not while a sysctl is missing.
    pub fn is_empty(&self) -> bool {
        self.changes.is_empty() && self.missing.is_empty()
    }

    /// How many changes of one kind of action there are.
    pub fn count(&self, action: Action) -> usize {
        self.changes.iter().filter(|change| change.action == action).count()
    }
}

/// Works out what leads from one state to the other.
pub fn diff(desired: &Desired, live: &LiveState) -> Diff {
    let mut diff = Diff::default();
    let families: BTreeSet<Family> = desired.ruleset.keys().chain(live.ruleset.keys()).copied().collect();
    for family in families {
        table(&mut diff, desired.ruleset.get(&family), live.ruleset.get(&family));
    }
    sysctls(&mut diff, desired, live);
    diff.sysctls_first = desired.ruleset.is_empty();
    diff.objects = desired.ruleset.values().map(count).sum::<usize>() + desired.sysctls.len();
    diff
}

/// The steps that lead from one rule set to another: for undoing.
pub fn ops_between(from: &Ruleset, to: &Ruleset) -> Vec<Op> {
    let mut diff = Diff::default();
    let families: BTreeSet<Family> = from.keys().chain(to.keys()).copied().collect();
    for family in families {
        table(&mut diff, to.get(&family), from.get(&family));
    }
    diff.ops
}

fn count(table: &Table) -> usize {
    1 + table.sets.values().map(|set| 1 + set.elements.len()).sum::<usize>()
        + table.chains.len()
        + table.rule_count()
}

/// A table that may be on either side.
fn table(diff: &mut Diff, desired: Option<&Table>, live: Option<&Table>) {
    match (desired, live) {
        (None, None) => {}
        (Some(desired), None) => {
            let family = desired.family;
            diff.changes.push(change(Action::Create, Kind::Table, family, ""));
            let nothing = Table::new(family);
            table_contents(diff, desired, &nothing, &mut Steps::default());
            diff.ops.extend(creation(desired));
        }
        (None, Some(live)) => {
            let family = live.family;
            let mut gone = change(Action::Delete, Kind::Table, family, "");
            gone.old = Some(format!("{} objects", count(live) - 1));
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
                diff.ops.extend(creation(desired));
            } else {
                diff.ops.extend(steps.in_order());
            }
        }
    }
}

/// Why a table cannot be changed in place; within one transaction no packet sees it missing.
fn why_created_anew(desired: &Table, live: &Table) -> Option<String> {
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

fn same_definition(a: &Set, b: &Set) -> bool {
    a.key == b.key && a.data == b.data && a.interval == b.interval && a.foreign_flags == b.foreign_flags
}

/// Whether nft made a set for a rule (`NFT_SET_ANONYMOUS`): it lives and dies with that.
const fn is_anonymous(set: &Set) -> bool {
    set.foreign_flags & 1 != 0
}

/// The steps of one table, sorted so that whatever a step refers to is there.
#[derive(Default)]
struct Steps {
    add_sets: Vec<Op>,
    add_chains: Vec<Op>,
    add_rules: Vec<Op>,
    replace_rules: Vec<Op>,
    delete_rules: Vec<Op>,
    delete_elements: Vec<Op>,
    add_elements: Vec<Op>,
    delete_sets: Vec<Op>,
    delete_chains: Vec<Op>,
}

impl Steps {
    /// New rules first: their place is given by handles that later steps may take away. Chains last: the
    /// verdicts of a map that goes away refer to them until it is gone.
    fn in_order(self) -> impl Iterator<Item = Op> {
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

/// Everything for a table that is not there.
fn creation(table: &Table) -> Vec<Op> {
    let family = table.family;
    let mut ops = vec![Op::AddTable { family }];
    ops.extend(table.sets.values().map(|set| Op::AddSet { family, set: definition(set) }));
    ops.extend(table.chains.values().map(|chain| add_chain(family, chain)));
    for set in table.sets.values().filter(|set| !set.elements.is_empty()) {
        let elements = set.elements.iter().map(|(key, data)| (key.clone(), data.clone())).collect();
        ops.push(Op::AddElements { family, set: definition(set), elements });
    }
    for chain in table.chains.values() {
        ops.extend(chain.rules.iter().map(|rule| Op::AddRule {
            family,
            chain: Arc::clone(&chain.name),
            rule: rule.clone(),
            before: None,
        }));
    }
    ops
}

fn definition(set: &Set) -> Set {
    Set { elements: BTreeMap::new(), key: set.key.clone(), name: Arc::clone(&set.name), ..*set }
}

fn add_chain(family: Family, chain: &Chain) -> Op {
    Op::AddChain { family, chain: Arc::clone(&chain.name), base: chain.base.clone() }
}

fn change(action: Action, kind: Kind, family: Family, name: &str) -> Change {
    Change {
        action,
        kind,
        family: Some(family),
        name: Arc::from(name),
        old: None,
        new: None,
        rule: None,
        origins: Vec::new(),
        why: String::new(),
    }
}

fn table_contents(diff: &mut Diff, desired: &Table, live: &Table, steps: &mut Steps) {
    let family = desired.family;
    let names: BTreeSet<_> = desired.sets.keys().chain(live.sets.keys()).collect();
    for name in names {
        match (desired.sets.get(name), live.sets.get(name)) {
            (Some(set), None) => {
                let mut new = change(Action::Create, Kind::Set, family, name);
                new.new = Some(render::nft::set_type(set));
                diff.changes.push(new);
                steps.add_sets.push(Op::AddSet { family, set: definition(set) });
                elements(diff, family, set, &BTreeMap::new(), steps);
            }
            (None, Some(set)) if !is_anonymous(set) => {
                let mut gone = change(Action::Delete, Kind::Set, family, name);
                gone.old = Some(format!("{}, {} elements", render::nft::set_type(set), set.elements.len()));
                diff.changes.push(gone);
                steps.delete_sets.push(Op::DeleteSet { family, set: Arc::clone(name) });
            }
            (Some(set), Some(old)) => {
                if same_definition(set, old) {
                    elements(diff, family, set, &old.elements, steps);
                } else {
                    let mut other = change(Action::Change, Kind::Set, family, name);
                    other.old = Some(render::nft::set_type(old));
                    other.new = Some(render::nft::set_type(set));
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
                new.new = chain.base.as_ref().map(|base| render::nft::base_chain(family, base));
                diff.changes.push(new);
                steps.add_chains.push(add_chain(family, chain));
                rules(diff, family, chain, &[], steps);
            }
            (None, Some(chain)) => {
                let mut gone = change(Action::Delete, Kind::Chain, family, name);
                gone.old = Some(format!("{} rules", chain.rules.len()));
                diff.changes.push(gone);
                steps
                    .delete_rules
                    .extend(chain.rules.iter().filter_map(|rule| delete_rule(family, name, rule)));
                steps.delete_chains.push(Op::DeleteChain { family, chain: Arc::clone(name) });
            }
            (Some(chain), Some(old)) => {
                if chain.base != old.base {
                    let mut other = change(Action::Change, Kind::Chain, family, name);
                    let text =
                        |chain: &Chain| chain.base.as_ref().map(|base| render::nft::base_chain(family, base));
                    (other.old, other.new) = (text(old), text(chain));
                    diff.changes.push(other);
                    steps.add_chains.push(add_chain(family, chain));
                }
                rules(diff, family, chain, &old.rules, steps);
            }
            (None, None) => {}
        }
    }
}

fn elements(
    diff: &mut Diff,
    family: Family,
    set: &Set,
    live: &BTreeMap<ElementKey, ElementData>,
    steps: &mut Steps,
) {
    let mut added = Vec::new();
    let mut deleted = Vec::new();
    for (key, data) in &set.elements {
        let old = live.get(key);
        if old == Some(data) {
            continue;
        }
        let action = if old.is_some() { Action::Change } else { Action::Create };
        let mut other = change(action, Kind::Element, family, "");
        other.name = Arc::clone(&set.name);
        other.new = Some(render::element(set, key, data));
        other.old = old.map(|old| render::element(set, key, old));
        other.origins.extend(data.origin.0);
        diff.changes.push(other);
        deleted.extend(old.map(|old| (key.clone(), old.clone())));
        added.push((key.clone(), data.clone()));
    }
    for (key, data) in live.iter().filter(|(key, _)| !set.elements.contains_key(*key)) {
        let mut gone = change(Action::Delete, Kind::Element, family, "");
        gone.name = Arc::clone(&set.name);
        gone.old = Some(render::element(set, key, data));
        gone.why = "not in the topology".to_owned();
        diff.changes.push(gone);
        deleted.push((key.clone(), data.clone()));
    }
    if !deleted.is_empty() {
        let set = definition(set);
        steps.delete_elements.push(Op::DeleteElements { family, set, elements: deleted });
    }
    if !added.is_empty() {
        steps.add_elements.push(Op::AddElements { family, set: definition(set), elements: added });
    }
}

fn delete_rule(family: Family, chain: &Arc<str>, rule: &Rule) -> Option<Op> {
    Some(Op::DeleteRule { family, chain: Arc::clone(chain), handle: rule.handle.0? })
}

fn rules(diff: &mut Diff, family: Family, chain: &Chain, live: &[Rule], steps: &mut Steps) {
    let wanted: BTreeMap<RuleId, usize> =
        chain.rules.iter().enumerate().filter_map(|(index, rule)| Some((rule.id()?, index))).collect();
    // Which desired rule a live one is, each at most once.
    let mut taken = BTreeSet::new();
    let matched: Vec<Option<usize>> = live
        .iter()
        .map(|rule| {
            let index = *wanted.get(&rule.id()?)?;
            (rule.handle.0.is_some() && taken.insert(index)).then_some(index)
        })
        .collect();
    // Those that are in the right order stay; the others are deleted and added where they belong.
    let kept = longest_increasing(&matched);
    let by_wanted: BTreeMap<usize, &Rule> =
        kept.iter().filter_map(|position| Some((matched[*position]?, &live[*position]))).collect();

    for (index, rule) in chain.rules.iter().enumerate() {
        let old = by_wanted.get(&index);
        match old {
            Some(old) if *old == rule => {}
            Some(old) => {
                let mut other = rule_change(Action::Change, family, chain, rule);
                other.new = Some(render::rule(rule));
                other.old = Some(render::rule(old));
                if other.old == other.new {
                    other.old = Some(format!("{} comment \"{}\"", render::rule(old), old.comment));
                    other.new = Some(format!("{} comment \"{}\"", render::rule(rule), rule.comment));
                }
                diff.changes.push(other);
                if let Some(handle) = old.handle.0 {
                    let (chain, rule) = (Arc::clone(&chain.name), rule.clone());
                    steps.replace_rules.push(Op::ReplaceRule { family, chain, handle, rule });
                }
            }
            None => {
                let mut new = rule_change(Action::Create, family, chain, rule);
                new.new = Some(render::rule(rule));
                diff.changes.push(new);
                let before = by_wanted.range(index + 1..).next().and_then(|(_, next)| next.handle.0);
                let (chain, rule) = (Arc::clone(&chain.name), rule.clone());
                steps.add_rules.push(Op::AddRule { family, chain, rule, before });
            }
        }
    }
    let kept: BTreeSet<usize> = kept.into_iter().collect();
    for (position, rule) in live.iter().enumerate().filter(|(position, _)| !kept.contains(position)) {
        let mut gone = change(Action::Delete, Kind::Rule, family, "");
        gone.name = Arc::clone(&chain.name);
        gone.old = Some(render::rule(rule));
        let handle = rule.handle.0.map(|handle| format!(" (handle {handle})")).unwrap_or_default();
        gone.why = match (matched[position], rule.id()) {
            (Some(_), _) => format!("out of order{handle}"),
            (None, Some(id)) if wanted.contains_key(&id) => format!("a second {id}{handle}"),
            _ => format!("not the topology's{handle}"),
        };
        diff.changes.push(gone);
        steps.delete_rules.extend(delete_rule(family, &chain.name, rule));
    }
}

fn rule_change(action: Action, family: Family, chain: &Chain, rule: &Rule) -> Change {
    let mut change = change(action, Kind::Rule, family, "");
    change.name = Arc::clone(&chain.name);
    change.rule = rule.id();
    change.origins.clone_from(&rule.origins.0);
    change.why = rule.comment.split_once(' ').map(|(_, what)| what.to_owned()).unwrap_or_default();
    change
}

/// The positions of a longest run of matches that increases (patience sorting).
fn longest_increasing(matched: &[Option<usize>]) -> Vec<usize> {
    // tails[n]: position of the smallest last match of a run of length n + 1.
    let mut tails: Vec<usize> = Vec::new();
    let mut previous = vec![None; matched.len()];
    for (position, value) in matched.iter().enumerate() {
        let Some(value) = value else { continue };
        let length = tails.partition_point(|tail| matched[*tail] < Some(*value));
        previous[position] = length.checked_sub(1).map(|last| tails[last]);
        if length == tails.len() {
            tails.push(position);
        } else {
            tails[length] = position;
        }
    }
    let mut run = Vec::new();
    let mut next = tails.last().copied();
    while let Some(position) = next {
        run.push(position);
        next = previous[position];
    }
    run.reverse();
    run
}

/// What a per-interface key becomes when forwarding is switched on (devinet_sysctl_forward).
const RESET_TO: &str = "1";

fn sysctls(diff: &mut Diff, desired: &Desired, live: &LiveState) {
    let wanted: BTreeSet<&SysctlKey> = desired.sysctls.iter().map(|sysctl| &sysctl.key).collect();
    restored(diff, live, &wanted);
    // Switching forwarding on writes every per-interface key.
    let mut resets = false;
    for sysctl in &desired.sysctls {
        let is_switch = sysctl.key.0 == SysctlKey::IP_FORWARD;
        let Some(now) = live.sysctls.get(&sysctl.key) else {
            // A kernel without IPv6 forwards none.
            if sysctl.key.0 != SysctlKey::IPV6_FORWARD {
                diff.missing.push(sysctl.clone());
            }
            continue;
        };
        // What it will be by the time it is written.
        let now = if resets && sysctl.key.0.starts_with("net/ipv4/conf/") { RESET_TO } else { now };
        if *now == sysctl.value {
            continue;
        }
        resets |= is_switch;
        let write = SysctlWrite { key: sysctl.key.clone(), old: now.to_owned(), new: sysctl.value.clone() };
        push_sysctl(diff, write, vec![sysctl.origin], sysctl.why.clone());
    }
}

/// What isoplan wrote and nobody wants any more goes back to what it was, where it still is what isoplan
/// wrote. Switches first, because they reset the keys of every interface.
fn restored(diff: &mut Diff, live: &LiveState, wanted: &BTreeSet<&SysctlKey>) {
    let why = "isoplan set it, and nothing asks for it any more";
    let mine = |entry: &&Journaled| {
        !wanted.contains(&entry.key) && live.sysctls.get(&entry.key) == Some(&entry.written)
    };
    let (interfaces, switches): (Vec<_>, Vec<_>) =
        live.journal.iter().filter(mine).partition(|entry| entry.key.switch().is_some());
    for entry in switches.iter().filter(|entry| entry.written != entry.original) {
        let (old, new) = (entry.written.clone(), entry.original.clone());
        push_sysctl(diff, SysctlWrite { key: entry.key.clone(), old, new }, Vec::new(), why.to_owned());
    }
    for entry in interfaces {
        let is_switch = |other: &&Journaled| Some(other.key.0.as_str()) == entry.key.switch();
        let goes_back = switches.iter().copied().find(is_switch);
        let (now, target) = match goes_back {
            Some(switch) => (switch.original.as_str(), entry.original.as_str()),
            // Forwarding stays on by isoplan's doing: then this interface has it on as well.
            None if live.journal.iter().any(|other| is_switch(&other)) => (entry.written.as_str(), RESET_TO),
            None => (entry.written.as_str(), entry.original.as_str()),
        };
        if now != target {
            let (old, new) = (now.to_owned(), target.to_owned());
            push_sysctl(diff, SysctlWrite { key: entry.key.clone(), old, new }, Vec::new(), why.to_owned());
        }
    }
}

fn push_sysctl(diff: &mut Diff, write: SysctlWrite, origins: Vec<EntryId>, why: String) {
    diff.changes.push(Change {
        action: Action::Change,
        kind: Kind::Sysctl,
        family: None,
        name: Arc::from(write.key.0.as_str()),
        old: Some(write.old.clone()),
        new: Some(write.new.clone()),
        rule: None,
        origins,
        why,
    });
    diff.sysctls.push(write);
}

/// `table inet isoplan`.
pub fn table_name(family: Family) -> String {
    format!("table {family} {TABLE_NAME}")
}
