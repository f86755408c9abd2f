//! Desired and live state to changes: what a reviewer reads, and the steps that carry it out.
//!
//! Both come from one walk, so that what is printed is what is sent. Objects are matched by name, rules
//! by [`RuleId`] within their chain, elements by key.

mod restore;
mod rules;
mod sysctls;
mod tables;
mod text;

pub use restore::{Passed, Past, Restoration, passed, restoration, restoring, same_tables};
pub use text::Text;

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::approach::{Desired, Sysctl, SysctlKey};
use crate::flows::keep::Kept;
use crate::ruleset::{Family, Op, RuleId, Ruleset, TABLE_NAME, Table};
use crate::topology::EntryId;

/// What the kernel has now, in the planner's own types.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
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
    /// This host's own addresses, by link, those that are only ever used on the link left out.
    pub addresses: BTreeMap<String, BTreeSet<IpAddr>>,
    /// The connections that an apply noted as kept open.
    #[serde(default, skip_serializing_if = "Kept::is_empty")]
    pub kept: Kept,
}

impl LiveState {
    /// Whether a sysctl still has the value that isoplan wrote. What somebody else has changed since is
    /// theirs.
    pub fn is_still_mine(&self, entry: &Journaled) -> bool {
        self.sysctls.get(&entry.key) == Some(&entry.written)
    }
}

/// A sysctl that isoplan has written.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
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

    /// Every word in JSON.
    pub const WORDS: [&'static str; 3] =
        [Self::Create.as_str(), Self::Change.as_str(), Self::Delete.as_str()];

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
    /// Every word in JSON.
    pub const WORDS: [&'static str; 6] = [
        Self::Table.as_str(),
        Self::Set.as_str(),
        Self::Element.as_str(),
        Self::Chain.as_str(),
        Self::Rule.as_str(),
        Self::Sysctl.as_str(),
    ];

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
    pub old: Option<Text>,
    /// What there will be.
    pub new: Option<Text>,
    /// The id of a rule that the plan knows.
    pub rule: Option<RuleId>,
    /// Where in the topology a rule or sysctl comes from.
    pub entries: Vec<EntryId>,
    /// Why, in half a sentence.
    pub why: String,
}

impl Change {
    /// Where in the topology it comes from, most telling first.
    pub fn origins(&self) -> &[EntryId] {
        match &self.new {
            Some(element) if self.kind == Kind::Element => element.origin(),
            _ => &self.entries,
        }
    }
}

/// A sysctl to be written.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
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
        tables::compare(&mut diff, desired.ruleset.get(&family), live.ruleset.get(&family));
    }
    sysctls::compare(&mut diff, desired, live);
    diff.sysctls_first = desired.ruleset.is_empty();
    diff.objects = desired.ruleset.values().map(count).sum::<usize>() + desired.sysctls.len();
    diff
}

/// The steps that lead from one rule set to another: for undoing.
pub fn ops_between(from: &Ruleset, to: &Ruleset) -> Vec<Op> {
    let mut diff = Diff::default();
    let families: BTreeSet<Family> = from.keys().chain(to.keys()).copied().collect();
    for family in families {
        tables::compare(&mut diff, to.get(&family), from.get(&family));
    }
    diff.ops
}

fn count(table: &Table) -> usize {
    1 + table.sets.values().map(|set| 1 + set.elements.len()).sum::<usize>()
        + table.chains.len()
        + table.rule_count()
}

/// `table inet isoplan`.
pub fn table_name(family: Family) -> String {
    format!("table {family} {TABLE_NAME}")
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
        entries: Vec::new(),
        why: String::new(),
    }
}
