//! `isoplan rollback`

use schemars::JsonSchema;
use serde::Serialize;

use super::apply::{applying_failed, lock};
use super::host::Host;
use super::{Output, StateArgs};
use crate::apply::{self, Change, Phase, Verb, state_dir};
use crate::diff::{Action, Restoration, restoration};
use crate::error::{Exit, Failure};
use crate::plan::{ChangeJson, JSON_VERSION, Summary, changes_json};
use crate::render::plan::changes;
use crate::saved::utc;
use crate::topology::Topology;

/// Undoes the last `apply` or `remove`: the tables named isoplan, in their old order and with what their rules
/// had counted, and every sysctl that it wrote or that a switch reset. What others have written to a
/// sysctl since stays theirs. Drops are in place as long as forwarding is on.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Do not ask
    #[arg(long, short)]
    yes: bool,
    /// Show what would be undone and stop there
    #[arg(long, short = 'n')]
    dry_run: bool,
    /// Print the result as JSON (docs/json.md); needs --yes or --dry-run
    #[arg(long)]
    json: bool,
    /// List every element, not only the first few of each set
    #[arg(long)]
    all: bool,
    #[command(flatten)]
    state: StateArgs,
}

#[derive(Serialize, JsonSchema)]
pub(super) struct RollbackJson<'r> {
    /// [`JSON_VERSION`](crate::plan::JSON_VERSION).
    version: u32,
    /// `rollback`.
    kind: &'static str,
    /// Whether the kernel was changed.
    rolled_back: bool,
    /// What was undone, or would be; absent when there is nothing to undo.
    #[serde(skip_serializing_if = "Option::is_none")]
    of: Option<OfJson<'r>>,
    /// As in a plan.
    summary: Summary,
    /// As in a plan.
    changes: Vec<ChangeJson<'r>>,
    /// In how many places somebody else has changed isoplan's tables since.
    changed_since: usize,
    /// Sysctls that somebody else has written since: they keep their value.
    left: Vec<&'r str>,
    /// What was there and cannot be brought back.
    lost: &'r [String],
}

/// A change that is on record.
#[derive(Serialize, JsonSchema)]
pub(super) struct OfJson<'r> {
    /// Which verb made it.
    #[schemars(extend("enum" = ["apply", "remove"]))]
    verb: &'static str,
    /// The file, as it was named; empty for a removal.
    topology: &'r str,
    /// When, in seconds since 1970-01-01 00:00 UTC.
    time: u64,
}

impl<'r> OfJson<'r> {
    pub(super) fn new(change: &'r Change) -> Self {
        Self { verb: change.verb.as_str(), topology: change.topology.as_str(), time: change.time }
    }
}

/// "the apply of topology.toml of 2026-11-23 14:05 UTC".
pub(super) fn named(change: &Change) -> String {
    let time = utc(change.time);
    match change.verb {
        Verb::Apply => format!("the apply of {} of {time}", change.topology),
        Verb::Remove => format!("the remove of {time}"),
    }
}

/// What to do about a record that cannot be read.
pub(super) fn record_failed(error: &state_dir::Error) -> Failure {
    let failure = Failure::from_error(error);
    match error {
        state_dir::Error::Record { .. } => failure.hint(
            "without it the last change cannot be undone; move it away to go on, and `isoplan remove` still takes all away",
        ),
        _ => failure,
    }
}

pub(super) fn run(args: &Args, output: &mut Output) -> Result<Exit, Failure> {
    if args.json && !args.yes && !args.dry_run {
        return Err(Failure::new("--json cannot ask").exit(Exit::Usage).hint("add --yes or --dry-run"));
    }
    let mut host = Host::open(args.state.state_dir.as_deref(), "rollback")?;
    host.permitted()?;
    let early = if args.yes && !args.dry_run { Some(lock(&mut host, output, "rollback")?) } else { None };
    let last = apply::last(&host.state).map_err(|error| record_failed(&error))?;
    let is_fresh = last.is_none();
    let Some(change) = last.filter(Change::is_undoable) else {
        return nothing(args, output, is_fresh);
    };
    let (before, live) = apply::read_before(&mut host.nftables, &host.state, &change).map_err(failed)?;
    let planned = restoration(&before.past(&change), &live);
    if !args.yes && !args.dry_run {
        output.can_ask()?;
    }
    if !args.json {
        show(args, output, &change, &planned)?;
    }
    if args.dry_run {
        if !args.json {
            output.data("Nothing has been changed.\n")?;
        }
        return finish(args, output, &change, &planned, false);
    }
    if !args.yes && !output.ask("\nUndo this?")? {
        output.note("Nothing has been changed.");
        return Ok(Exit::Failed);
    }
    let _lock = match early {
        Some(lock) => lock,
        None => lock(&mut host, output, "rollback")?,
    };
    // Somebody else may have undone it, or made another, while this one was asking.
    if apply::last(&host.state).map_err(|error| record_failed(&error))?.as_ref() != Some(&change) {
        return Err(failed(apply::Error::PlanIsStale));
    }
    apply::roll_back(&mut host.nftables, &host.state, &change, &before, &planned, &live, false)
        .map_err(failed)?;
    finish(args, output, &change, &planned, true)
}

pub(super) fn failed(error: apply::Error) -> Failure {
    match &error {
        apply::Error::State(source) => {
            let mut failure = record_failed(source);
            failure.message = error.to_string();
            failure
        }
        error => applying_failed(error, &Topology::nothing(), "rollback"),
    }
}

fn nothing(args: &Args, output: &mut Output, is_fresh: bool) -> Result<Exit, Failure> {
    if args.json {
        output.json(&RollbackJson {
            version: JSON_VERSION,
            kind: "rollback",
            rolled_back: false,
            of: None,
            summary: Summary { create: 0, change: 0, delete: 0, objects: 0 },
            changes: Vec::new(),
            changed_since: 0,
            left: Vec::new(),
            lost: &[],
        })?;
    } else {
        let more = if is_fresh { "" } else { " more" };
        output.data(&format!("There is nothing{more} to undo.\n"))?;
    }
    Ok(Exit::Done)
}

fn show(args: &Args, output: &mut Output, change: &Change, planned: &Restoration) -> Result<(), Failure> {
    let state = match change.phase {
        Phase::Begun => ", which was cut short",
        Phase::Undoing { .. } => ", which was begun to be undone",
        Phase::Done | Phase::Undone { .. } => "",
    };
    output.tell(&format!("Undoing {}{state}:\n", named(change)))?;
    if planned.diff.is_empty() {
        output.data("Everything is what it was before it.\n")?;
    } else {
        output.data(&changes(&Topology::nothing(), &planned.diff, output.style(args.all)))?;
    }
    if planned.changed_since > 0 {
        output.remark(&format!(
            "Somebody has changed isoplan's tables since, in {} places; that goes as well.",
            planned.changed_since
        ));
    }
    for key in &planned.overtaken {
        output.remark(&format!("{key} is not what isoplan wrote any more; it is left as it is."));
    }
    for what in &planned.lost {
        output.remark(&format!("Cannot be brought back: {what}."));
    }
    let off = |write: &crate::diff::SysctlWrite| write.key.switch().is_none() && write.new == "0";
    if planned.diff.sysctls.iter().any(off) {
        output.note(super::remove::FORWARDING_GOES_OFF);
    }
    Ok(())
}

fn finish(
    args: &Args,
    output: &mut Output,
    change: &Change,
    planned: &Restoration,
    done: bool,
) -> Result<Exit, Failure> {
    if args.json {
        let (topology, diff) = (Topology::nothing(), &planned.diff);
        output.json(&RollbackJson {
            version: JSON_VERSION,
            kind: "rollback",
            rolled_back: done,
            of: Some(OfJson::new(change)),
            summary: Summary {
                create: diff.count(Action::Create),
                change: diff.count(Action::Change),
                delete: diff.count(Action::Delete),
                objects: diff.objects,
            },
            changes: changes_json(&topology, diff),
            changed_since: planned.changed_since,
            left: planned.overtaken.iter().map(|key| key.0.as_str()).collect(),
            lost: &planned.lost,
        })?;
    } else if done {
        output.data("\nUndone and read back: everything is what it was before.\n")?;
    }
    Ok(Exit::Done)
}
