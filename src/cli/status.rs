//! `isoplan status`

use serde::Serialize;

use super::host::Host;
use super::topology::TopologyArg;
use super::{Output, StateArgs};
use crate::apply::journal;
use crate::diff::{Journaled, LiveState};
use crate::error::{Exit, Failure};
use crate::plan::{JSON_VERSION, Plan};
use crate::render::plan::changes;
use crate::ruleset::{Expr, Rule, TABLE_NAME, Verdict};

/// Tells whether isoplan's tables are in place and what their drop rules have counted. With a topology
/// it also tells whether they are what the topology asks for. Exits with 2 when they are not.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Compare with this topology file
    #[arg(value_name = "TOPOLOGY")]
    topology: Option<std::path::PathBuf>,
    /// Print the result as JSON (docs/json.md)
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    state: StateArgs,
}

#[derive(Serialize)]
struct StatusJson<'s> {
    version: u32,
    kind: &'static str,
    in_place: bool,
    generation: u32,
    tables: Vec<TableJson>,
    drops: Vec<Drop<'s>>,
    sysctls: Vec<SysctlJson<'s>>,
    /// Absent without a topology.
    #[serde(skip_serializing_if = "Option::is_none")]
    differences: Option<usize>,
}

#[derive(Serialize)]
struct TableJson {
    table: String,
    rules: usize,
    sets: usize,
    elements: usize,
    unknown: Vec<String>,
}

#[derive(Serialize)]
struct Drop<'s> {
    table: String,
    chain: &'s str,
    rule: String,
    what: &'s str,
    packets: u64,
    bytes: u64,
}

#[derive(Serialize)]
struct SysctlJson<'s> {
    key: &'s str,
    original: &'s str,
    written: &'s str,
    now: Option<&'s str>,
}

pub(super) fn run(args: &Args, output: &mut Output) -> Result<Exit, Failure> {
    let topology = match &args.topology {
        Some(path) => Some(TopologyArg { topology: path.clone() }.checked(output)?),
        None => None,
    };
    let command = match &args.topology {
        Some(path) => format!("status {}", path.display()),
        None => "status".to_owned(),
    };
    let mut host = Host::open(args.state.state_dir.as_deref(), &command)?;
    let live = match &topology {
        Some(topology) => host.read(topology)?,
        None => host.read_keys([])?,
    };
    let plan = topology.as_ref().map(|topology| Plan::new(topology, &live));
    let drops = drops(&live);
    // With the sysctl approach there is no table: what it has closed is the forwarding of interfaces.
    // Forwarding alone, switched on by isoplan, is no policy, and worse than none.
    let mine = journal::still_mine(&live);
    let closes = |entry: &Journaled| entry.key.0.ends_with("/forwarding") && entry.written == "0";
    let has_closed = mine.iter().any(closes);
    let in_place = match &plan {
        Some(plan) => plan.diff.is_empty(),
        None => !live.ruleset.is_empty() || has_closed,
    };
    if args.json {
        output.json(&StatusJson {
            version: JSON_VERSION,
            kind: "status",
            in_place,
            generation: live.generation,
            tables: tables(&live),
            drops,
            sysctls: sysctls(&live),
            differences: plan.as_ref().map(|plan| plan.diff.changes.len()),
        })?;
    } else {
        output.data(&text(&live, plan.as_ref(), &drops, in_place))?;
        if let Some(plan) = plan.as_ref().filter(|plan| !plan.diff.is_empty()) {
            output.data(&changes(plan.topology, &plan.diff, output.style(false)))?;
        }
    }
    Ok(if in_place { Exit::Done } else { Exit::Differences })
}

fn text(live: &LiveState, plan: Option<&Plan<'_>>, drops: &[Drop<'_>], in_place: bool) -> String {
    let mut text = match (plan, in_place) {
        (Some(plan), true) => {
            format!("In place: {} objects match {}.\n", plan.diff.objects, plan.topology.file)
        }
        (Some(plan), false) => {
            format!("Not in place: {} differences from {}.\n", plan.diff.changes.len(), plan.topology.file)
        }
        (None, true) => {
            "isoplan is on this host. Name a topology to see whether it is what it should be.\n".to_owned()
        }
        (None, false) if !journal::still_mine(live).is_empty() => {
            "isoplan's tables are gone, and sysctls that it changed are still changed.\n".to_owned()
        }
        (None, false) => "isoplan has nothing on this host.\n".to_owned(),
    };
    for table in tables(live) {
        text.push_str(&format!(
            "table {}: {} rules, {} sets, {} elements\n",
            table.table, table.rules, table.sets, table.elements
        ));
        for unknown in table.unknown {
            text.push_str(&format!("  holds {unknown}, which isoplan does not know\n"));
        }
    }
    for sysctl in sysctls(live) {
        text.push_str(&format!(
            "{} was {}, isoplan wrote {}, is {} now\n",
            sysctl.key,
            sysctl.original,
            sysctl.written,
            sysctl.now.unwrap_or("gone")
        ));
    }
    let counted: Vec<_> = drops.iter().filter(|drop| drop.packets > 0).collect();
    if counted.is_empty() && !drops.is_empty() {
        text.push_str(&format!("Nothing dropped so far by {} drop rules.\n", drops.len()));
    } else if !counted.is_empty() {
        text.push_str("Dropped so far:\n");
        for drop in counted {
            text.push_str(&format!(
                "{:>12} packets  {} {} ({})\n",
                drop.packets, drop.rule, drop.what, drop.chain
            ));
        }
    }
    text
}

fn tables(live: &LiveState) -> Vec<TableJson> {
    live.ruleset
        .values()
        .map(|table| TableJson {
            table: format!("{} {TABLE_NAME}", table.family),
            rules: table.rule_count(),
            sets: table.sets.len(),
            elements: table.sets.values().map(|set| set.elements.len()).sum(),
            unknown: table.unknown.clone(),
        })
        .collect()
}

fn drops(live: &LiveState) -> Vec<Drop<'_>> {
    let chains =
        live.ruleset.values().flat_map(|table| table.chains.values().map(move |chain| (table, chain)));
    chains
        .flat_map(|(table, chain)| chain.rules.iter().map(move |rule| (table, chain, rule)))
        .filter(|(_, _, rule)| rule.exprs.last() == Some(&Expr::Verdict(Verdict::Drop)))
        .filter_map(|(table, chain, rule)| {
            let (packets, bytes) = counts(rule)?;
            let (id, what) = rule.comment.split_once(' ').unwrap_or((rule.comment.as_str(), ""));
            let table = format!("{} {TABLE_NAME}", table.family);
            Some(Drop { table, chain: &chain.name, rule: id.to_owned(), what, packets, bytes })
        })
        .collect()
}

fn counts(rule: &Rule) -> Option<(u64, u64)> {
    rule.exprs.iter().find_map(|expr| match expr {
        Expr::Counter { counts } => Some(counts.0),
        _ => None,
    })
}

fn sysctls(live: &LiveState) -> Vec<SysctlJson<'_>> {
    live.journal
        .iter()
        .map(|entry| SysctlJson {
            key: &entry.key.0,
            original: &entry.original,
            written: &entry.written,
            now: live.sysctls.get(&entry.key).map(String::as_str),
        })
        .collect()
}
