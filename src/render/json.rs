//! The desired state of a topology as JSON: `docs/json.md`.

use serde::Serialize;

use super::matrix::{PairJson, cut, pairs_json};
use super::{element, nft, rule};
use crate::approach::desired;
use crate::intent::Intent;
use crate::plan::JSON_VERSION;
use crate::ruleset::{Rule, Table};
use crate::topology::Topology;

#[derive(Serialize)]
struct DesiredJson<'d> {
    version: u32,
    kind: &'static str,
    topology: &'d str,
    approach: &'static str,
    matrix: Vec<PairJson>,
    matrix_cut: usize,
    tables: Vec<TableJson<'d>>,
    sysctls: Vec<SysctlJson<'d>>,
    not_covered: &'d [&'static str],
}

#[derive(Serialize)]
struct TableJson<'d> {
    family: String,
    name: &'d str,
    sets: Vec<SetJson<'d>>,
    chains: Vec<ChainJson<'d>>,
}

#[derive(Serialize)]
struct SetJson<'d> {
    name: &'d str,
    #[serde(rename = "type")]
    kind: String,
    interval: bool,
    elements: Vec<String>,
}

#[derive(Serialize)]
struct ChainJson<'d> {
    name: &'d str,
    #[serde(skip_serializing_if = "Option::is_none")]
    base: Option<String>,
    rules: Vec<RuleJson>,
}

#[derive(Serialize)]
struct RuleJson {
    id: String,
    rule: String,
    what: String,
    from: Vec<String>,
}

#[derive(Serialize)]
struct SysctlJson<'d> {
    key: &'d str,
    value: &'d str,
    why: &'d str,
}

/// The whole document.
///
/// # Errors
///
/// None that input can bring about.
pub fn file(intent: &Intent<'_>) -> Result<String, askama::Error> {
    let desired = desired(intent);
    let topology = intent.topology;
    let document = DesiredJson {
        version: JSON_VERSION,
        kind: "desired",
        topology: &topology.file,
        approach: desired.approach.as_str(),
        matrix: pairs_json(intent),
        matrix_cut: cut(intent),
        tables: desired.ruleset.values().map(|table| table_json(topology, table)).collect(),
        sysctls: desired
            .sysctls
            .iter()
            .map(|sysctl| SysctlJson { key: &sysctl.key.0, value: &sysctl.value, why: &sysctl.why })
            .collect(),
        not_covered: &desired.not_covered,
    };
    let mut text = serde_json::to_string_pretty(&document).map_err(askama::Error::custom)?;
    text.push('\n');
    Ok(text)
}

fn table_json<'d>(topology: &Topology, table: &'d Table) -> TableJson<'d> {
    let sets = table.sets.values().map(|set| SetJson {
        name: &set.name,
        kind: nft::set_type(set),
        interval: set.interval,
        elements: set.elements.iter().map(|(key, data)| element(set, key, data)).collect(),
    });
    let chains = table.chains.values().map(|chain| ChainJson {
        name: &chain.name,
        base: chain.base.as_ref().map(|base| nft::base_chain(table.family, base)),
        rules: chain.rules.iter().map(|line| rule_json(topology, line)).collect(),
    });
    TableJson {
        family: table.family.to_string(),
        name: &table.name,
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
    RuleJson { id: id.to_owned(), rule: rule(line), what: what.to_owned(), from: from.collect() }
}
