//! Whether the policy is in place, what it has dropped, and what goes around it: the answer of `isoplan status`.

mod drift;

pub use drift::{Drift, drift};

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::Serialize;

use crate::approach::{Counted, SysctlKey, counted};
use crate::diff::{Journaled, LiveState};
use crate::plan::{JSON_VERSION, Plan};
use crate::risks::{self, Facts, Guess, LastChange, Name, Risk, Severity};
use crate::ruleset::{Expr, Rule, TABLE_NAME, Verdict};

/// The answer, and its JSON form: `docs/json.md`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Status {
    /// [`JSON_VERSION`].
    pub version: u32,
    /// `status`.
    pub kind: &'static str,
    /// The file; absent without one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub topology: Option<String>,
    /// Its approach; absent without a topology.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(extend("enum" = ["nftables", "sysctl"]))]
    pub approach: Option<&'static str>,
    /// Whether nothing differs; without a topology, whether anything of isoplan is there.
    pub in_place: bool,
    /// The generation of the kernel's rule set.
    pub generation: u32,
    /// A change that waits to be confirmed.
    pub pending: Option<Pending>,
    /// Whether a watch runs here that repairs.
    pub watch: bool,
    /// The tables named isoplan.
    pub tables: Vec<TableStatus>,
    /// Every rule that drops.
    pub drops: Vec<DropStatus>,
    /// The same by pairs of networks. Empty without a topology.
    pub pairs: Vec<PairStatus>,
    /// Sysctls that isoplan has written.
    pub sysctls: Vec<SysctlStatus>,
    /// How many changes a plan would list; absent without a topology.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub differences: Option<usize>,
    /// How many objects the topology asks for.
    #[serde(skip)]
    pub objects: usize,
    /// Each difference, in words. Empty without a topology.
    pub drift: Vec<Drift>,
    /// Who probably did it.
    pub probably: Vec<Guess>,
    /// Engines and firewalls that have tables here.
    pub engines: Vec<&'static str>,
    /// What goes around the rules now. Empty without a topology.
    pub risks: Vec<RiskStatus>,
    /// What could not be looked at.
    pub unseen: Vec<String>,
}

/// A change that waits to be confirmed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Pending {
    /// The topology that was applied; empty for a removal.
    pub of: String,
    /// How long it still waits; 0 when that is over.
    pub seconds_left: u64,
    /// Whether it should have been undone, and nothing is undoing it.
    pub overdue: bool,
}

/// A table named isoplan.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct TableStatus {
    /// `inet isoplan`.
    pub table: String,
    /// How many it has.
    pub rules: usize,
    /// How many it has.
    pub sets: usize,
    /// In all sets together.
    pub elements: usize,
    /// What isoplan has no type for, a line each.
    pub unknown: Vec<String>,
}

/// A rule that drops.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct DropStatus {
    /// `inet isoplan`.
    pub table: String,
    /// Its chain.
    pub chain: String,
    /// Its id.
    pub rule: String,
    /// What it is for.
    pub what: String,
    /// What it has dropped.
    pub packets: u64,
    /// The same in bytes.
    pub bytes: u64,
    /// Who sent them; absent without a topology, and for a rule that it does not ask for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub from: Option<String>,
    /// For whom they were.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub to: Option<String>,
}

/// What was dropped from one side to the other.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct PairStatus {
    /// Who sent it.
    pub from: String,
    /// For whom it was.
    pub to: String,
    /// Whether both are a single one; else the counter stands for a group of pairs.
    pub one_pair: bool,
    /// What was dropped.
    pub packets: u64,
    /// The same in bytes.
    pub bytes: u64,
    /// The rules that counted it.
    pub rules: Vec<String>,
}

/// A sysctl that isoplan has written.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct SysctlStatus {
    /// Which.
    pub key: String,
    /// Before isoplan.
    pub original: String,
    /// By isoplan.
    pub written: String,
    /// Now; none when it is gone.
    pub now: Option<String>,
}

/// A residual risk, with all that there is to say of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct RiskStatus {
    /// What it is called.
    pub name: Name,
    /// How much it matters.
    pub severity: Severity,
    /// What it is about.
    pub subject: String,
    /// What was found.
    pub evidence: String,
    /// Why rules do not see it.
    pub why: &'static str,
    /// What to do about it.
    pub what_to_do: &'static str,
}

impl From<Risk> for RiskStatus {
    fn from(risk: Risk) -> Self {
        let Risk { severity, name, subject, evidence } = risk;
        Self { name, severity, subject, evidence, why: name.why(), what_to_do: name.what_to_do() }
    }
}

/// What else is known when a status is worked out.
#[derive(Debug, Clone, Default)]
pub struct Beside {
    /// What risks are found in.
    pub facts: Facts,
    /// isoplan's last change of this boot.
    pub last: Option<LastChange>,
    /// What waits to be confirmed.
    pub pending: Option<Pending>,
    /// Whether a watch runs here that repairs.
    pub watch: bool,
    /// Entries of the journal that are still as isoplan wrote them.
    pub still_mine: Vec<Journaled>,
}

impl Status {
    /// Works it out.
    pub fn new(plan: Option<&Plan<'_>>, live: &LiveState, beside: Beside) -> Self {
        let Beside { facts, last, pending, watch, still_mine } = beside;
        // With the sysctl approach there is no table: what it has closed is the forwarding of interfaces.
        // Forwarding alone, switched on by isoplan, is no policy, and worse than none.
        let closes = |entry: &Journaled| entry.key.0.ends_with("/forwarding") && entry.written == "0";
        let has_closed = still_mine.iter().any(closes);
        let in_place = match plan {
            Some(plan) => plan.diff.is_empty(),
            None => !live.ruleset.is_empty() || has_closed,
        };
        let counted = plan.map(|plan| counted(&plan.intent)).unwrap_or_default();
        let stands = |table: &crate::ruleset::Table, chain: &str, id: &str| {
            let ids = counted.range((table.family, chain.to_owned(), "")..);
            let mut ids = ids.take_while(|((family, name, _), _)| *family == table.family && name == chain);
            ids.find(|((_, _, other), _)| *other == id).map(|(_, counted)| counted)
        };
        let mut drops = Vec::new();
        let mut pairs: BTreeMap<&Counted, PairStatus> = BTreeMap::new();
        for (table, chain, rule) in dropping(live) {
            let Some((packets, bytes)) = counts(rule) else { continue };
            let (id, what) = rule.comment.split_once(' ').unwrap_or((rule.comment.as_str(), ""));
            let pair = stands(table, chain, id);
            if let Some(counted) = pair {
                let pair = pairs.entry(counted).or_insert_with(|| PairStatus {
                    from: counted.from.label.clone(),
                    to: counted.to.label.clone(),
                    one_pair: counted.is_pair(),
                    packets: 0,
                    bytes: 0,
                    rules: Vec::new(),
                });
                pair.packets = pair.packets.saturating_add(packets);
                pair.bytes = pair.bytes.saturating_add(bytes);
                pair.rules.push(id.to_owned());
            }
            drops.push(DropStatus {
                table: format!("{} {TABLE_NAME}", table.family),
                chain: chain.to_owned(),
                rule: id.to_owned(),
                what: what.to_owned(),
                packets,
                bytes,
                from: pair.map(|counted| counted.from.label.clone()),
                to: pair.map(|counted| counted.to.label.clone()),
            });
        }
        let risks = plan.map(|plan| risks::risks(&plan.intent, &facts)).unwrap_or_default();
        Self {
            version: JSON_VERSION,
            kind: "status",
            topology: plan.map(|plan| plan.topology.file.clone()),
            approach: plan.map(|plan| plan.desired.approach.as_str()),
            in_place,
            generation: live.generation,
            pending,
            watch,
            tables: tables(live),
            drops,
            pairs: pairs.into_values().collect(),
            sysctls: sysctls(live),
            differences: plan.map(|plan| plan.diff.changes.len() + plan.diff.missing.len()),
            objects: plan.map_or(0, |plan| plan.diff.objects),
            drift: plan.map(drift).unwrap_or_default(),
            probably: plan.map(|plan| risks::guesses(plan, live, &facts, last.as_ref())).unwrap_or_default(),
            engines: facts.engines(),
            risks: risks.into_iter().map(RiskStatus::from).collect(),
            unseen: facts.unseen,
        }
    }

    /// Whether sysctls that isoplan wrote are left while its tables are gone.
    pub fn has_left_sysctls(&self, still_mine: &[Journaled]) -> bool {
        self.tables.is_empty() && !still_mine.is_empty()
    }
}

/// Every rule of the live tables that ends in a drop.
fn dropping(live: &LiveState) -> impl Iterator<Item = (&crate::ruleset::Table, &str, &Rule)> {
    let chains =
        live.ruleset.values().flat_map(|table| table.chains.values().map(move |chain| (table, chain)));
    chains
        .flat_map(|(table, chain)| chain.rules.iter().map(move |rule| (table, &*chain.name, rule)))
        .filter(|(_, _, rule)| rule.exprs.last() == Some(&Expr::Verdict(Verdict::Drop)))
}

fn counts(rule: &Rule) -> Option<(u64, u64)> {
    rule.exprs.iter().find_map(|expr| match expr {
        Expr::Counter { counts } => Some(counts.0),
        _ => None,
    })
}

fn tables(live: &LiveState) -> Vec<TableStatus> {
    let tables = live.ruleset.values().map(|table| TableStatus {
        table: format!("{} {TABLE_NAME}", table.family),
        rules: table.rule_count(),
        sets: table.sets.len(),
        elements: table.sets.values().map(|set| set.elements.len()).sum(),
        unknown: table.unknown.clone(),
    });
    tables.collect()
}

fn sysctls(live: &LiveState) -> Vec<SysctlStatus> {
    let now = |key: &SysctlKey| live.sysctls.get(key).cloned();
    let entries = live.journal.iter().map(|entry| SysctlStatus {
        key: entry.key.0.clone(),
        original: entry.original.clone(),
        written: entry.written.clone(),
        now: now(&entry.key),
    });
    entries.collect()
}
