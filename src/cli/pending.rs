//! What other runs of isoplan mean for this one: a change that waits to be confirmed, and a watch.

use std::fs;
use std::path::Path;
use std::time::Duration;

use super::Output;
use super::host::Host;
use super::rollback::{named, record_failed};
use super::topology::{Loaded, TopologyArg};
use crate::apply::{self, Before, Change, Phase};
use crate::diff::LiveState;
use crate::error::Failure;
use crate::flows::keep::Kept;
use crate::plan::Plan;
use crate::status;

/// The change that waits to be confirmed, or should have been undone.
pub(super) fn pending(host: &Host) -> Result<Option<apply::Pending>, Failure> {
    apply::pending(&host.state).map_err(|error| record_failed(&error))
}

/// It as JSON.
pub(super) fn json(pending: &apply::Pending) -> status::Pending {
    status::Pending {
        of: pending.change.topology.as_str().to_owned(),
        seconds_left: pending.left.map_or(0, |left| left.as_secs_f64().ceil() as u64),
        overdue: pending.left.is_none(),
    }
}

/// It in a sentence or two.
pub(super) fn words(pending: &apply::Pending) -> String {
    let what = named(&pending.change).replacen("the ", "The ", 1);
    match pending.left {
        Some(Duration::ZERO) => format!("{what} was not confirmed in time, and is being undone."),
        Some(left) => {
            let left = in_words(left);
            format!(
                "{what} waits to be confirmed. It is undone in {left} unless somebody does: isoplan confirm"
            )
        }
        None => {
            format!("{what} was not confirmed in time, and nothing is undoing it. Undo it: isoplan rollback")
        }
    }
}

/// Tells of a change that waits to be confirmed, or should have been undone.
pub(super) fn tell_pending(host: &Host, output: &mut Output) {
    match pending(host) {
        Ok(Some(pending)) => output.remark(&words(&pending)),
        Ok(None) => {}
        Err(failure) => output.remark(&format!("{}.", failure.message)),
    }
}

/// Refuses to change anything while a change waits to be confirmed: what there was before it would be lost.
pub(super) fn none_pending(host: &Host) -> Result<(), Failure> {
    pending(host)?.map_or(Ok(()), |pending| Err(refused(&pending)))
}

fn refused(pending: &apply::Pending) -> Failure {
    let what = named(&pending.change);
    match pending.left {
        Some(Duration::ZERO) => Failure::new(format!(
            "{what} was not confirmed in time, and is being undone; nothing was changed"
        ))
        .hint("run it again in a moment; if it stays so: isoplan rollback"),
        Some(left) => Failure::new(format!("{what} waits to be confirmed; nothing was changed"))
            .because(format!("it is undone in {} unless somebody confirms it", in_words(left)))
            .hint("keep it: isoplan confirm\nundo it: isoplan rollback"),
        None => Failure::new(format!("{what} was not confirmed in time; nothing was changed"))
            .because("it should have been undone, and whoever was to do so is gone or has failed".to_owned())
            .hint("undo it: isoplan rollback"),
    }
}

/// What is to be done while a change waits to be confirmed.
pub(super) enum Meanwhile<'t> {
    /// None waits.
    Free(Plan<'t>),
    /// One waits that was to make the same: the plan puts that in place again.
    Again(Plan<'t>, Change),
}

/// Refuses a plan while a change waits to be confirmed, unless it asks for exactly what that change was to make.
/// `fixed`: the plan says itself which connections it keeps.
pub(super) fn meanwhile<'t>(
    host: &Host,
    plan: Plan<'t>,
    live: &LiveState,
    fixed: bool,
) -> Result<Meanwhile<'t>, Failure> {
    let Some(pending) = pending(host)? else { return Ok(Meanwhile::Free(plan)) };
    if pending.change.phase != Phase::Done {
        return Err(refused(&pending));
    }
    let before = Before::read(&host.state, &pending.change).map_err(|error| record_failed(&error))?;
    if before.was_to_make(&plan.desired) {
        return Ok(Meanwhile::Again(plan, pending.change));
    }
    // Connections that the change kept open are part of it.
    if !fixed {
        let plan = Plan::with_kept(plan.topology, live, Kept::live(&before.after));
        if before.was_to_make(&plan.desired) {
            return Ok(Meanwhile::Again(plan, pending.change));
        }
    }
    Err(refused(&pending))
}

/// A time that is left, in whole seconds: `1 min 5 s`.
pub(super) fn in_words(left: Duration) -> String {
    let seconds = left.as_secs_f64().ceil() as u64;
    let (hours, minutes, seconds) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
    let parts =
        [(hours, "h"), (minutes, "min"), (seconds, "s")].into_iter().filter(|(number, _)| *number > 0);
    let words: Vec<_> = parts.map(|(number, unit)| format!("{number} {unit}")).collect();
    if words.is_empty() { "0 s".to_owned() } else { words.join(" ") }
}

/// Says that a watch does not follow what was applied. `file`: where the plan came from, unless it was saved.
pub(super) fn tell_watch(
    host: &Host,
    output: &mut Output,
    file: Option<&Path>,
    plan: &Plan<'_>,
    live: &LiveState,
) {
    if !host.state.is_watched() {
        return;
    }
    let watched = host.state.watched();
    if let Some(watched) = &watched {
        let is_same = |file: &Path| {
            fs::canonicalize(file).ok().is_some_and(|file| fs::canonicalize(watched).ok() == Some(file))
        };
        if file.is_some_and(is_same) || asks_for_the_same(watched, plan, live) {
            return;
        }
    }
    let of = watched.map_or_else(|| "its own file".to_owned(), |watched| watched.display().to_string());
    output.remark(&format!(
        "isoplan watch runs here, and keeps {of}: it stands down, and repairs nothing of this. To have it follow, \
         put this into its file and apply that."
    ));
}

fn asks_for_the_same(watched: &Path, plan: &Plan<'_>, live: &LiveState) -> bool {
    let Ok((Loaded::Topology(topology), _)) = (TopologyArg { topology: watched.to_owned() }).load() else {
        return false;
    };
    let other = Plan::with_kept(&topology, live, plan.kept.clone());
    let sysctls = |plan: &Plan<'_>| -> Vec<_> {
        plan.desired.sysctls.iter().map(|sysctl| (sysctl.key.clone(), sysctl.value.clone())).collect()
    };
    other.desired.ruleset == plan.desired.ruleset && sysctls(&other) == sysctls(plan)
}

/// Says that a watch does not put back what was removed.
pub(super) fn tell_watch_of_remove(host: &Host, output: &mut Output) {
    if host.state.is_watched() {
        output.remark(
            "isoplan watch runs here: it stands down, and repairs nothing until its file is applied again, or it is \
             told to read it (systemctl reload isoplan-watch). To end it: systemctl stop isoplan-watch",
        );
    }
}
