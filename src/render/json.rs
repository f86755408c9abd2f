//! The desired state of a topology as JSON: `docs/json.md`.

use schemars::JsonSchema;
use serde::Serialize;

use super::document::{self, Step};
use super::matrix::{PairJson, cut, exception, pairs_json};
use super::{element, nft, rule};
use crate::approach::desired;
use crate::intent::Intent;
use crate::plan::JSON_VERSION;
use crate::ruleset::{Expr, LookupTarget, Rule, Table, Verdict};
use crate::topology::Topology;

#[derive(Serialize, JsonSchema)]
pub(crate) struct DesiredJson<'d> {
    /// [`JSON_VERSION`].
    version: u32,
    /// `desired`.
    kind: &'static str,
    /// The version of isoplan that made it.
    isoplan: &'static str,
    /// The file, as it was named.
    topology: &'d str,
    /// What it is, in a sentence.
    summary: String,
    /// `nftables` or `sysctl`.
    #[schemars(extend("enum" = ["nftables", "sysctl"]))]
    approach: &'static str,
    /// Who may talk to whom.
    matrix: Vec<PairJson>,
    /// How many senders and receivers the matrix leaves out.
    matrix_cut: usize,
    /// The `[[allow]]` entries, a line each.
    exceptions: Vec<String>,
    /// The tables.
    tables: Vec<TableJson>,
    /// The sysctls that have a value.
    sysctls: Vec<SysctlJson>,
    /// What the approach does not stop.
    not_covered: Vec<&'static str>,
    /// The same in sentences, and more of it.
    residual_risks: Vec<String>,
    /// How to see by hand whether it is in place.
    check: Vec<StepJson>,
    /// How to take it back by hand.
    undo: Vec<StepJson>,
}

#[derive(Serialize, JsonSchema)]
struct TableJson {
    /// `inet` or `bridge`.
    family: String,
    /// `isoplan`.
    name: String,
    /// Its sets and maps.
    sets: Vec<SetJson>,
    /// Its chains.
    chains: Vec<ChainJson>,
}

#[derive(Serialize, JsonSchema)]
struct SetJson {
    /// Unique within the table.
    name: String,
    /// The type, as nft writes it: `ifname . ipv4_addr`.
    #[serde(rename = "type")]
    kind: String,
    /// What it is for, in a sentence.
    what: String,
    /// Whether its keys are intervals.
    interval: bool,
    /// In nft syntax.
    elements: Vec<String>,
}

#[derive(Serialize, JsonSchema)]
struct ChainJson {
    /// Unique within the table.
    name: String,
    /// What it is for, in a sentence or two.
    what: String,
    /// Type, hook, priority and policy of a base chain, in nft syntax; absent of a regular chain.
    #[serde(skip_serializing_if = "Option::is_none")]
    base: Option<String>,
    /// In order.
    rules: Vec<RuleJson>,
}

#[derive(Serialize, JsonSchema)]
struct RuleJson {
    /// The line of docs/security.md that it carries out.
    id: String,
    /// In nft syntax.
    rule: String,
    /// What it does with what it matches; `go` leads to another chain.
    #[schemars(extend("enum" = ["drop", "accept", "go", "rewrite", "none"]))]
    class: &'static str,
    /// What it is for.
    what: String,
    /// What docs/security.md says of it.
    #[serde(skip_serializing_if = "Option::is_none")]
    why: Option<String>,
    /// The topology entries that it comes from, with their lines.
    from: Vec<String>,
}

#[derive(Serialize, JsonSchema)]
struct SysctlJson {
    /// Its path below `/proc/sys`.
    key: String,
    /// What it is to be.
    value: String,
    /// What for.
    why: String,
    /// The place in the topology that asks for it.
    from: String,
}

#[derive(Serialize, JsonSchema)]
struct StepJson {
    /// A line for a shell.
    command: String,
    /// What it does.
    what: String,
}

impl From<Step> for StepJson {
    fn from(Step { what, command }: Step) -> Self {
        Self { command, what }
    }
}

/// The whole document.
///
/// # Errors
///
/// None that input can bring about.
pub fn file(intent: &Intent<'_>) -> Result<String, askama::Error> {
    let mut text = serde_json::to_string_pretty(&document(intent)).map_err(askama::Error::custom)?;
    text.push('\n');
    Ok(text)
}

/// The whole document, before it is text.
pub(super) fn document<'d>(intent: &Intent<'d>) -> DesiredJson<'d> {
    let desired = desired(intent);
    let topology = intent.topology;
    DesiredJson {
        version: JSON_VERSION,
        kind: "desired",
        isoplan: env!("CARGO_PKG_VERSION"),
        topology: &topology.file,
        summary: document::summary(topology, &desired),
        approach: desired.approach.as_str(),
        matrix: pairs_json(intent),
        matrix_cut: cut(intent),
        exceptions: topology.allows.iter().map(exception).collect(),
        tables: desired.ruleset.values().map(|table| table_json(topology, table)).collect(),
        sysctls: desired
            .sysctls
            .iter()
            .map(|sysctl| SysctlJson {
                key: sysctl.key.to_string(),
                value: sysctl.value.clone(),
                why: sysctl.why.clone(),
                from: topology.place(sysctl.origin),
            })
            .collect(),
        residual_risks: document::residual(&desired),
        check: document::check(topology, &desired).into_iter().map(StepJson::from).collect(),
        undo: document::undo(&desired).into_iter().map(StepJson::from).collect(),
        not_covered: desired.not_covered,
    }
}

fn table_json(topology: &Topology, table: &Table) -> TableJson {
    let sets = table.sets.values().map(|set| SetJson {
        name: set.name.to_string(),
        kind: nft::set_type(set),
        what: document::of_set(table, set),
        interval: set.interval,
        elements: set.elements.iter().map(|(key, data)| element(set, key, data)).collect(),
    });
    let chains = table.chains.values().map(|chain| ChainJson {
        name: chain.name.to_string(),
        what: document::of_chain(table, chain),
        base: chain.base.as_ref().map(|base| nft::base_chain(table.family, base)),
        rules: chain.rules.iter().map(|line| rule_json(topology, line)).collect(),
    });
    TableJson {
        family: table.family.to_string(),
        name: table.name.clone(),
        sets: sets.collect(),
        chains: chains.collect(),
    }
}

fn rule_json(topology: &Topology, line: &Rule) -> RuleJson {
    let (id, what) = line.comment.split_once(' ').unwrap_or((line.comment.as_str(), ""));
    let from = line
        .origins
        .0
        .iter()
        .map(|origin| format!("{} ({})", topology.entry(*origin), topology.place(*origin)));
    RuleJson {
        id: id.to_owned(),
        rule: rule(line),
        class: class(line),
        what: what.to_owned(),
        why: document::reason(id),
        from: from.collect(),
    }
}

/// What a rule does with what it matches.
fn class(line: &Rule) -> &'static str {
    let class = line.exprs.iter().rev().find_map(|expr| match expr {
        Expr::Verdict(Verdict::Drop) => Some("drop"),
        Expr::Verdict(Verdict::Accept) => Some("accept"),
        Expr::Verdict(_) | Expr::Lookup { target: LookupTarget::Verdict, .. } => Some("go"),
        Expr::Masquerade | Expr::Snat { .. } => Some("rewrite"),
        _ => None,
    });
    class.unwrap_or("none")
}
