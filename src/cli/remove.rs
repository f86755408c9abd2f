//! `isoplan remove`

use schemars::JsonSchema;
use serde::Serialize;

use super::apply::{applying_failed, lock};
use super::host::Host;
use super::pending::{none_pending, tell_pending, tell_watch_of_remove};
use super::{Output, StateArgs};
use crate::apply::{self, Purpose, Verb, journal};
use crate::approach::{Approach, Desired};
use crate::diff::{Action, diff};
use crate::error::{Exit, Failure};
use crate::plan::{JSON_VERSION, Summary};
use crate::render::plan::changes;
use crate::topology::Topology;

/// Deletes the tables named isoplan, and gives the sysctls that isoplan changed their old values back,
/// where they still have the value that isoplan wrote. Touches nothing else.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Do not ask
    #[arg(long, short)]
    yes: bool,
    /// Show what would be removed and stop there
    #[arg(long, short = 'n')]
    dry_run: bool,
    /// Print the result as JSON (docs/json.md); needs --yes or --dry-run
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    state: StateArgs,
}

#[derive(Serialize, JsonSchema)]
pub(super) struct RemoveJson<'r> {
    /// [`JSON_VERSION`](crate::plan::JSON_VERSION).
    version: u32,
    /// `remove`.
    kind: &'static str,
    /// Whether the kernel was changed.
    removed: bool,
    /// As in a plan: `delete` counts tables, `change` sysctls that are given their old value back.
    summary: Summary,
    /// Sysctls that isoplan had changed and that have another value by now: left as they are.
    left: Vec<&'r str>,
}

pub(super) const FORWARDING_GOES_OFF: &str = "\
    Forwarding goes off, as it was before isoplan. Docker or Podman may rely on it by now:\n\
    sysctl -w net.ipv4.ip_forward=1 switches it on again.";

pub(super) fn run(args: &Args, output: &mut Output) -> Result<Exit, Failure> {
    if args.json && !args.yes && !args.dry_run {
        return Err(Failure::new("--json cannot ask").exit(Exit::Usage).hint("add --yes or --dry-run"));
    }
    let mut host = Host::open(args.state.state_dir.as_deref(), "remove")?;
    let early = if args.yes && !args.dry_run { Some(lock(&mut host, output, "remove")?) } else { None };
    let live = host.read_keys([])?;
    // A host without isoplan: nothing desired, so everything of it is to go, sysctls by the journal.
    let desired = Desired {
        approach: Approach::Nftables,
        ruleset: crate::ruleset::Ruleset::new(),
        sysctls: Vec::new(),
        not_covered: Vec::new(),
    };
    let diff = diff(&desired, &live);
    let left: Vec<_> = live
        .journal
        .iter()
        .filter(|entry| {
            live.sysctls.get(&entry.key).is_some_and(|now| *now != entry.written && *now != entry.original)
        })
        .map(|entry| entry.key.0.as_str())
        .collect();
    let topology = Topology::nothing();
    let act = !args.dry_run && !diff.is_empty();
    if act {
        none_pending(&host)?;
        if !args.yes {
            output.can_ask()?;
        }
    }
    if !args.json {
        tell_pending(&host, output);
        if diff.is_empty() {
            output.data("isoplan has nothing on this host; nothing to do.\n")?;
        } else {
            output.data(&changes(&topology, &diff, output.style(false)))?;
        }
        let off = |write: &crate::diff::SysctlWrite| write.key.switch().is_none() && write.new == "0";
        if diff.sysctls.iter().any(off) {
            output.note(FORWARDING_GOES_OFF);
        }
        for key in &left {
            output.remark(&format!("{key} is not what isoplan wrote any more; it is left as it is."));
        }
    }
    let mut held = early;
    if act {
        if !args.yes && !output.ask("\nRemove this?")? {
            output.note("Nothing has been changed.");
            return Ok(Exit::Failed);
        }
        if held.is_none() {
            held = Some(lock(&mut host, output, "remove")?);
        }
        none_pending(&host)?;
        let purpose = Purpose { verb: Verb::Remove, topology: "", text: None, confirm_within: None };
        apply::change(&mut host.nftables, &host.state, &desired, &diff, &live, purpose)
            .map_err(|error| applying_failed(&error, &topology, "remove"))?;
    }
    // What others have changed since is theirs from now on: a later remove must not touch it.
    if held.is_none() && !args.dry_run && !live.journal.is_empty() {
        held = Some(lock(&mut host, output, "remove")?);
    }
    if held.is_some() {
        let now = host.read_keys([])?;
        let mine = journal::still_mine(&now);
        if mine != now.journal {
            journal::write(&host.state, &mine).map_err(|error| Failure::from_error(&error))?;
        }
    }
    drop(held);
    if act {
        tell_watch_of_remove(&host, output);
    }
    if args.json {
        let summary = Summary {
            create: diff.count(Action::Create),
            change: diff.count(Action::Change),
            delete: diff.count(Action::Delete),
            objects: 0,
        };
        output.json(&RemoveJson { version: JSON_VERSION, kind: "remove", removed: act, summary, left })?;
    } else if act {
        output.data("\nRemoved and read back: nothing of isoplan is left.\n")?;
    } else if args.dry_run && !diff.is_empty() {
        output.data("Nothing has been changed.\n")?;
    }
    Ok(Exit::Done)
}
