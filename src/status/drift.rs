//! What a plan would change, said as what is missing, foreign or different.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::Serialize;

use crate::diff::{Action, Change, Kind, table_name};
use crate::plan::Plan;

/// One difference.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Drift {
    /// `missing`, `foreign` or `different`.
    #[schemars(extend("enum" = ["missing", "foreign", "different"]))]
    pub what: &'static str,
    /// `table`, `set`, `element`, `chain`, `rule` or `sysctl`.
    #[schemars(extend("enum" = crate::diff::Kind::WORDS))]
    pub object: &'static str,
    /// The set, chain or sysctl that it is, or is in; the table for a table.
    pub name: String,
    /// The id of a rule that the topology asks for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rule: Option<String>,
    /// In words.
    pub says: String,
}

/// Every difference. What is in a table, set or chain that is missing or foreign as a whole is not listed again.
pub fn drift(plan: &Plan<'_>) -> Vec<Drift> {
    let mut drift: Vec<Drift> = Vec::new();
    let mut whole: Option<&Change> = None;
    let mut rules: BTreeMap<usize, usize> = BTreeMap::new();
    for change in &plan.diff.changes {
        let is_within = whole.is_some_and(|whole| {
            whole.family == change.family
                && match (whole.kind, change.kind) {
                    (Kind::Table, kind) => kind != Kind::Sysctl,
                    (Kind::Set, Kind::Element) | (Kind::Chain, Kind::Rule) => whole.name == change.name,
                    _ => false,
                }
        });
        if is_within {
            if change.kind == Kind::Rule && drift.last().is_some_and(|last| last.object == "table") {
                *rules.entry(drift.len() - 1).or_default() += 1;
            }
            continue;
        }
        if matches!(change.kind, Kind::Table | Kind::Set | Kind::Chain) && change.action != Action::Change {
            whole = Some(change);
        }
        drift.push(one(plan, change));
    }
    for (index, rules) in rules {
        if let Some(table) = drift.get_mut(index) {
            table.says += &format!(", with {rules} rule{}", if rules == 1 { "" } else { "s" });
        }
    }
    drift.extend(plan.diff.missing.iter().map(|sysctl| Drift {
        what: "missing",
        object: "sysctl",
        name: sysctl.key.0.clone(),
        rule: None,
        says: format!("{} does not exist here; it should be {}", sysctl.key, sysctl.value),
    }));
    drift
}

fn one(plan: &Plan<'_>, change: &Change) -> Drift {
    let (what, value) = match change.action {
        Action::Create => ("missing", change.new.as_deref()),
        Action::Delete => ("foreign", change.old.as_deref()),
        Action::Change => ("different", change.old.as_deref()),
    };
    let value = value.unwrap_or_default();
    let table = change.family.map(table_name).unwrap_or_default();
    let name = if change.kind == Kind::Table { table } else { change.name.to_string() };
    let object = match (change.kind, &change.rule) {
        (Kind::Rule, Some(id)) => format!("rule {id} of chain {name}"),
        (Kind::Rule, None) => format!("rule `{value}` in chain {name}"),
        (Kind::Element, _) => format!("element {value} of set {name}"),
        (Kind::Table, _) => name.clone(),
        (kind, _) => format!("{} {name}", kind.as_str()),
    };
    let mut says = object;
    if change.action == Action::Change {
        let new = change.new.as_deref().unwrap_or_default();
        match change.kind {
            Kind::Sysctl => says += &format!(" is {value} and should be {new}"),
            _ => says += &format!(": `{value}` should be `{new}`"),
        }
    }
    if !change.why.is_empty() {
        says += &format!(" ({})", change.why);
    }
    if let Some(origin) = change.origins().first() {
        let entry = plan.topology.entry(*origin);
        if change.why.is_empty() {
            says += &format!(" ({entry})");
        }
    }
    Drift {
        what,
        object: change.kind.as_str(),
        name,
        rule: change.rule.as_ref().map(|id| id.0.clone()),
        says,
    }
}
