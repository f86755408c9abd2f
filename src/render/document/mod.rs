//! A topology as a document, for a runbook or an auditor: in Markdown, or as a page that needs no other file.
//!
//! Both say the same, from one `Document`. Sentences have code between backticks; `markup` makes text of either
//! kind of them.

mod custom;
mod group;
mod markdown;
mod markup;
mod page;
mod parties;
mod purpose;
mod reason;
mod risks;
mod steps;

pub use custom::custom;
pub(super) use group::grouped;
pub use markdown::markdown;
pub use page::page;
pub(super) use purpose::{of_chain, of_set};
pub(super) use reason::reason;
pub(super) use risks::residual;
pub(super) use steps::{Step, check, undo};

use std::collections::BTreeSet;

use super::matrix::{self, Grid};
use super::{element, nft, rule, sysctl};
use crate::approach::{Approach, Desired, desired};
use crate::intent::Intent;
use crate::ruleset::{Rule, Ruleset};
use crate::topology::Topology;
use group::thousands;

/// With more elements than that the whole file is left out: nobody reads it, and isoplan prints it.
const WHOLE: usize = 500;

/// As many exceptions are told, and as many entries that a rule comes from.
const EXCEPTIONS: usize = 100;
const ENTRIES: usize = 6;

/// What both documents say.
struct Document<'d> {
    file: &'d str,
    version: &'static str,
    approach: &'static str,
    /// What it is.
    sentence: String,
    /// Who there is.
    parties: Vec<String>,
    grid: Grid,
    legend: Vec<(&'static str, &'static str)>,
    exceptions: Vec<String>,
    /// How many there are besides.
    more_exceptions: usize,
    /// The sysctl approach does not deliver the matrix.
    is_less: bool,
    /// How much there is.
    amount: String,
    chains: Vec<ChainPart>,
    sets: Vec<SetPart>,
    sysctls: Vec<SysctlPart>,
    risks: Vec<String>,
    check: Vec<Step>,
    undo: Vec<Step>,
    /// The file that `nft -f` or sysctl.d takes, unless it is too long to be read.
    whole: Option<String>,
    format: &'static str,
}

struct ChainPart {
    /// Unique in the document.
    id: String,
    table: String,
    name: String,
    base: Option<String>,
    what: String,
    rules: Vec<RulePart>,
}

struct RulePart {
    id: String,
    syntax: String,
    what: String,
    from: String,
    /// Where the id comes first.
    reason: Option<String>,
}

struct SetPart {
    table: String,
    name: String,
    word: &'static str,
    kind: String,
    what: String,
    count: String,
    /// One by one, or as lines with how many there are.
    elements: Vec<String>,
    is_grouped: bool,
}

struct SysctlPart {
    line: String,
    why: String,
    from: String,
}

impl<'d> Document<'d> {
    fn new(intent: &Intent<'d>) -> Result<Self, askama::Error> {
        let topology = intent.topology;
        let desired = desired(intent);
        let grid = matrix::grid(intent);
        let elements: usize = desired
            .ruleset
            .values()
            .flat_map(|table| table.sets.values())
            .map(|set| set.elements.len())
            .sum();
        let (format, whole) = match desired.approach {
            Approach::Sysctl => ("sysctl", Some(sysctl::file(intent)?)),
            _ if elements <= WHOLE => ("nft", Some(nft::file(intent)?)),
            _ => ("nft", None),
        };
        Ok(Self {
            file: &topology.file,
            version: env!("CARGO_PKG_VERSION"),
            approach: desired.approach.as_str(),
            sentence: summary(topology, &desired),
            parties: parties::parties(topology),
            legend: matrix::legend(&grid),
            grid,
            exceptions: topology.allows.iter().take(EXCEPTIONS).map(matrix::exception).collect(),
            more_exceptions: topology.allows.len().saturating_sub(EXCEPTIONS),
            is_less: desired.approach == Approach::Sysctl,
            amount: amount(&desired.ruleset, elements),
            chains: chains(topology, &desired.ruleset),
            sets: sets(&desired.ruleset),
            sysctls: desired
                .sysctls
                .iter()
                .map(|sysctl| SysctlPart {
                    line: format!("{} = {}", sysctl.key, sysctl.value),
                    why: risks::sentence(&sysctl.why),
                    from: topology.place(sysctl.origin),
                })
                .collect(),
            risks: residual(&desired).iter().map(|risk| risks::sentence(risk)).collect(),
            check: check(topology, &desired),
            undo: undo(&desired),
            whole,
            format,
        })
    }
}

/// One sentence about what a document is of.
pub(super) fn summary(topology: &Topology, desired: &Desired) -> String {
    let count = |number: usize, one: &str| match number {
        0 => None,
        1 => Some(format!("1 {one}")),
        more => Some(format!("{} {one}s", thousands(more))),
    };
    let parts: Vec<String> = [
        count(topology.networks.len(), "container network"),
        count(topology.flats.len(), "flat network"),
        count(topology.nics.len(), "NIC"),
        count(topology.allows.len(), "exception"),
    ]
    .into_iter()
    .flatten()
    .collect();
    let of = match parts.split_last() {
        None => "nothing".to_owned(),
        Some((last, [])) => last.clone(),
        Some((last, before)) => format!("{} and {last}", before.join(", ")),
    };
    let how = match desired.approach {
        Approach::Sysctl => "how sysctls that say which NIC forwards isolate them, and what that leaves open",
        _ => {
            "how the rules in tables named isoplan isolate them from each other and from this host's own addresses"
        }
    };
    format!("A container host with {of}: who may reach whom, and {how}.")
}

fn amount(ruleset: &Ruleset, elements: usize) -> String {
    let rules: usize = ruleset.values().map(|table| table.rule_count()).sum();
    let chains: usize = ruleset.values().map(|table| table.chains.len()).sum();
    let sets: usize = ruleset.values().map(|table| table.sets.len()).sum();
    let tables: Vec<_> = ruleset.values().map(|table| format!("`{} {}`", table.family, table.name)).collect();
    let table = if tables.len() == 1 { "table" } else { "tables" };
    format!(
        "{rules} rules in {chains} chains, and {} elements in {sets} sets, in the {table} {}.",
        thousands(elements),
        tables.join(" and ")
    )
}

fn chains(topology: &Topology, ruleset: &Ruleset) -> Vec<ChainPart> {
    let mut told = BTreeSet::new();
    let mut parts = Vec::new();
    for table in ruleset.values() {
        for chain in purpose::in_order(table) {
            let rules = chain.rules.iter().map(|line| rule_part(topology, line, &mut told));
            parts.push(ChainPart {
                id: format!("{}-{}", table.family, chain.name),
                table: format!("{} {}", table.family, table.name),
                name: chain.name.to_string(),
                base: chain.base.as_ref().map(|base| nft::base_chain(table.family, base)),
                what: of_chain(table, chain),
                rules: rules.collect(),
            });
        }
    }
    parts
}

fn rule_part(topology: &Topology, line: &Rule, told: &mut BTreeSet<String>) -> RulePart {
    let (id, what) = line.comment.split_once(' ').unwrap_or((line.comment.as_str(), ""));
    let reason = if told.insert(id.to_owned()) { reason(id) } else { None };
    RulePart {
        id: id.to_owned(),
        syntax: rule(line),
        what: risks::sentence(what),
        from: places(topology, line),
        reason,
    }
}

/// `nic eth1, nic eth2 (topology.toml:10, 14)`: the entries that a rule comes from, counted where they are many.
fn places(topology: &Topology, line: &Rule) -> String {
    let origins = &line.origins.0;
    // One more than is listed takes no more room than saying so.
    let shown = if origins.len() <= ENTRIES + 1 { origins.len() } else { ENTRIES };
    let entries: Vec<_> = origins[..shown].iter().map(|origin| topology.entry(*origin)).collect();
    let names: Vec<_> = entries.iter().map(|entry| entry.to_string()).collect();
    let lines: Vec<_> =
        entries.iter().filter(|entry| entry.line > 0).map(|entry| entry.line.to_string()).collect();
    let colon = if lines.is_empty() { "" } else { ":" };
    let text = format!("{} ({}{colon}{})", names.join(", "), topology.file, lines.join(", "));
    match origins.len() - shown {
        0 => text,
        more => format!("{text} and {} more", thousands(more)),
    }
}

fn sets(ruleset: &Ruleset) -> Vec<SetPart> {
    let mut parts = Vec::new();
    for table in ruleset.values() {
        for set in table.sets.values() {
            let all: Vec<_> = set.elements.iter().map(|(key, data)| element(set, key, data)).collect();
            let elements = grouped(&all);
            parts.push(SetPart {
                table: format!("{} {}", table.family, table.name),
                name: set.name.to_string(),
                word: nft::set_word(set),
                kind: nft::set_type(set),
                what: of_set(table, set),
                count: thousands(all.len()),
                is_grouped: elements.len() != all.len(),
                elements,
            });
        }
    }
    parts
}
