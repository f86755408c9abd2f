//! Carrying out a plan: one netlink transaction, then sysctls with their undo.
//!
//! Nothing is decided here. The steps come from a [`Diff`] that was printed; if the rule set moves before
//! they are committed they are worked out again, and carried out only when they come out the same.

mod before;
mod error;
mod files;
pub mod journal;
mod kept;
mod ledger;
mod left;
mod read_back;
mod record;
mod rollback;
pub mod state_dir;
mod stored;
mod sysctls;
mod tables;
mod watcher;

pub use before::Before;
pub use error::Error;
pub use kept::kept;
pub use left::Left;
pub use record::{Change, Confirm, Pending, Phase, Verb, boot_time, last, now, pending};
pub use rollback::{read_before, roll_back};
pub use tables::carry_out_tables;
pub use watcher::{Confirmed, STAGE, confirm, run as stage, undo_overdue};

use std::time::Duration;

use nix::sys::signal::{SigSet, SigmaskHow, Signal, sigprocmask};

use self::kept::Listing;
use self::ledger::Ledger;
use self::state_dir::{Lock, StateDir};
use self::stored::Stored;
use crate::approach::Desired;
use crate::diff::{Diff, LiveState, SysctlWrite, diff, restoring, same_tables, table_name};
use crate::flows::keep::Kept;
use crate::live;
use crate::netlink::{CommitError, Nftables, encode};
use crate::ruleset::{Expr, Op, Ruleset};
use crate::saved::elements;

/// How often a transaction is tried when others keep changing the rule set.
const TRIES: u32 = 32;

/// What was done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Report {
    /// Length of the transaction, in bytes; 0 when there was none.
    pub transaction_bytes: usize,
    /// How many times it was sent.
    pub tries: u32,
}

/// What a change is for: what its record tells of it.
#[derive(Debug, Clone, Copy)]
pub struct Purpose<'p> {
    /// Which verb.
    pub verb: Verb,
    /// The topology, as the user named it; empty for a `remove`.
    pub topology: &'p str,
    /// What is in it; None for a `remove`.
    pub text: Option<&'p str>,
    /// How long it waits to be confirmed before it is undone; without it, it stays.
    pub confirm_within: Option<Duration>,
}

/// Carries out exactly `planned`, which leads from `before` to `desired`, and reads back what came of it. It is
/// on record as the last change, for [`roll_back`]. The caller holds the lock, and has seen that no change is
/// [`pending`].
///
/// # Errors
///
/// See [`Error`]: each says in which state the host is.
pub fn change(
    nftables: &mut Nftables,
    state: &StateDir,
    desired: &Desired,
    planned: &Diff,
    before: &LiveState,
    purpose: Purpose<'_>,
) -> Result<Report, Error> {
    carry_out_as(nftables, state, desired, planned, before, Some(purpose))
}

/// The same without a record, for what only brings back what a change before has made: to undo that is what
/// a `rollback` then does, still.
///
/// # Errors
///
/// See [`Error`]: each says in which state the host is.
pub fn carry_out(
    nftables: &mut Nftables,
    state: &StateDir,
    desired: &Desired,
    planned: &Diff,
    before: &LiveState,
) -> Result<Report, Error> {
    carry_out_as(nftables, state, desired, planned, before, None)
}

fn carry_out_as(
    nftables: &mut Nftables,
    state: &StateDir,
    desired: &Desired,
    planned: &Diff,
    before: &LiveState,
    purpose: Option<Purpose<'_>>,
) -> Result<Report, Error> {
    if !planned.missing.is_empty() {
        return Err(Error::Missing(planned.missing.iter().map(|sysctl| sysctl.key.clone()).collect()));
    }
    if purpose.is_some_and(|purpose| purpose.confirm_within.is_some()) {
        let held = before.ruleset.values().flat_map(|table| {
            let flags = (table.flags != 0).then(|| format!("flags {:#x}", table.flags));
            table
                .unknown
                .iter()
                .cloned()
                .chain(flags)
                .map(|what| format!("{} has {what}", table_name(table.family)))
        });
        if let Some(what) = held.into_iter().next() {
            return Err(Error::NotUndoable(what));
        }
    }
    let made = elements::encode(&desired.ruleset);
    let purpose =
        purpose.filter(|purpose| purpose.confirm_within.is_some() || !is_repair(state, desired, &made));
    // What can be known to fail is tried before anything is changed.
    sysctls::can_be_written(&planned.sysctls)?;
    let _signals = SignalsHeld::new();
    // The plan may have been made before the lock was taken, and then somebody was asked about it.
    let moved = still_so(nftables, state, desired, planned, before)?;
    let before = moved.as_ref().unwrap_or(before);
    // Before the first change: if this process dies now, the values that were there are known.
    let ledger = Ledger::new(planned, before);
    let listing = Listing::begin(state, Kept::live(&desired.ruleset)).map_err(Error::State)?;
    let record = |purpose| ledger.record(state, (desired, &made), planned, before, purpose);
    let entry = purpose.map(record).transpose();
    let mut entry = entry.map_err(Error::State)?;
    if let Some(window) = purpose.and_then(|purpose| purpose.confirm_within)
        && let Some(entry) = &mut entry
    {
        watcher::arm(state, &mut entry.change, window).map_err(|source| {
            entry.forget();
            Error::NotArmed(source)
        })?;
    }
    let done = steps(nftables, state, desired, planned, before, &ledger);
    let (report, generation) = done.inspect_err(|error| {
        if let Some(entry) = entry.as_ref().filter(|_| error.is_old_state()) {
            entry.forget();
            watcher::disarm(&entry.change);
        }
    })?;
    listing.finish();
    ledger.close(state);
    if let Some(entry) = entry {
        let _ = entry.finish();
    }
    // A rule that isoplan does not know may have changed elements until the transaction took it away.
    let generation = generation.filter(|_| !has_unknown_rules(&before.ruleset));
    let found = read_back::read_back(nftables, state, desired, &planned.ops, generation);
    let found = found.map_err(Error::NotReadBack)?;
    if !found.left.is_empty() {
        return Err(Error::ReadsBackDifferently(Box::new(found.left)));
    }
    let many = desired.ruleset.values().flat_map(|table| table.sets.values());
    let many = many.map(|set| set.elements.len()).sum();
    left::keep(state, found.generation, &found.steady, Stored::find(state, &made), many);
    Ok(report)
}

/// Whether a rule has an expression that isoplan does not know, such as nft's `add @SET { … }`, by which packets
/// change elements without a transaction.
fn has_unknown_rules(ruleset: &Ruleset) -> bool {
    let chains = ruleset.values().flat_map(|table| table.chains.values());
    let mut exprs = chains.flat_map(|chain| &chain.rules).flat_map(|rule| &rule.exprs);
    exprs.any(|expr| matches!(expr, Expr::Unknown { .. }))
}

/// Whether the last change made this very policy: what others have taken away since is put back. The way back
/// from there leads to what was before that change, not to the hole.
fn is_repair(state: &StateDir, desired: &Desired, made: &[u8]) -> bool {
    let Ok(Some(last)) = record::last(state) else { return false };
    let is_done = last.phase == Phase::Done && last.verb == Verb::Apply && !last.is_pending();
    is_done && before::was_to_make(state, &last, desired, made).unwrap_or_default()
}

/// What was done, and the generation that it has led to, where that is known.
type Done = (Report, Option<u32>);

/// The change itself.
fn steps(
    nftables: &mut Nftables,
    state: &StateDir,
    desired: &Desired,
    planned: &Diff,
    before: &LiveState,
    ledger: &Ledger,
) -> Result<Done, Error> {
    ledger.open(state, before).map_err(Error::State)?;
    if planned.sysctls_first {
        write_sysctls(state, planned, before, ledger)?;
        return commit(nftables, state, desired, planned, before)
            .or_else(|error| reopen(nftables, state, planned, before, ledger, error));
    }
    let done = commit(nftables, state, desired, planned, before).inspect_err(|_| {
        let _ = journal::write(state, &before.journal);
    })?;
    if let Err(error) = write_sysctls(state, planned, before, ledger) {
        undo_tables(nftables, &before.ruleset).map_err(|undo| half_done(&error, undo))?;
        return Err(error);
    }
    Ok(done)
}

/// Checks that what was planned is still exactly what is to be done. Hands back the live state as it is now
/// where it is not the one that was planned on.
fn still_so(
    nftables: &mut Nftables,
    state: &StateDir,
    desired: &Desired,
    planned: &Diff,
    before: &LiveState,
) -> Result<Option<LiveState>, Error> {
    let keys = || desired.sysctls.iter().map(|sysctl| sysctl.key.clone());
    let journal = journal::read(state).map_err(Error::State)?;
    let ruleset = |error| Error::Live(live::Error::Ruleset(error));
    if nftables.generation().map_err(ruleset)? == before.generation
        && journal == before.journal
        && live::sysctls(keys(), &journal).map_err(Error::Live)? == before.sysctls
    {
        return Ok(None);
    }
    let now = live::read(nftables, keys(), journal).map_err(Error::Live)?;
    let now = LiveState { kept: before.kept.clone(), ..now };
    let again = diff(desired, &now);
    if again.ops == planned.ops && again.sysctls == planned.sysctls {
        Ok(Some(now))
    } else {
        Err(Error::PlanIsStale)
    }
}

/// A transaction that takes drops away was not committed, after forwarding was restored: forwarding goes
/// back on only if the drops are still there.
fn reopen(
    nftables: &mut Nftables,
    state: &StateDir,
    planned: &Diff,
    before: &LiveState,
    ledger: &Ledger,
    error: Error,
) -> Result<Done, Error> {
    match nftables.read_tables(crate::ruleset::TABLE_NAME) {
        Ok(now) if now.tables == before.ruleset => {
            undo_sysctls(state, &planned.sysctls, before, ledger).map_err(|undo| half_done(&error, undo))?;
            Err(error)
        }
        _ => Err(half_done(&error, "the tables are not what they were".into())),
    }
}

fn half_done(error: &Error, undo: Box<dyn std::error::Error + Send + Sync>) -> Error {
    let what = match error {
        Error::Sysctl { key, .. } => format!("cannot write sysctl `{key}`"),
        Error::Commit { .. } => "cannot change the rule set".to_owned(),
        _ => "somebody else changed the rule set meanwhile".to_owned(),
    };
    Error::HalfDone { what, undo }
}

/// Sends the transaction, guarded by the generation that it was worked out against.
fn commit(
    nftables: &mut Nftables,
    state: &StateDir,
    desired: &Desired,
    planned: &Diff,
    before: &LiveState,
) -> Result<Done, Error> {
    if planned.ops.is_empty() {
        return Ok((Report { transaction_bytes: 0, tries: 0 }, Some(before.generation)));
    }
    let mut generation = before.generation;
    for tries in 1..=TRIES {
        let transaction = encode(&planned.ops, Some(generation));
        let report = Report { transaction_bytes: transaction.len_bytes(), tries };
        match nftables.commit(&transaction) {
            Ok(()) => return Ok((report, Some(next(generation)))),
            Err(CommitError::Moved) => {}
            Err(source @ CommitError::Unknown { .. }) => {
                let is_done = |now: &Ruleset| {
                    let now = LiveState { ruleset: now.clone(), ..before.clone() };
                    diff(desired, &now).ops.is_empty()
                };
                settle(nftables, &planned.ops, source, &before.ruleset, is_done)?;
                return Ok((report, None));
            }
            Err(source) => return Err(refused(&planned.ops, source)),
        }
        // Somebody committed something. If it was not about isoplan's tables, the steps are the same. With
        // sysctls already written, only the tables are still to be compared.
        generation = if planned.sysctls_first {
            let journal = journal::read(state).map_err(Error::State)?;
            let now = live::read(nftables, [], journal).map_err(Error::Live)?;
            if diff(desired, &now).ops != planned.ops {
                return Err(Error::PlanIsStale);
            }
            now.generation
        } else {
            let now = still_so(nftables, state, desired, planned, before)?;
            now.map_or(generation, |now| now.generation)
        };
    }
    Err(Error::KeepsMoving)
}

/// The generation behind another: none is 0 (`nf_tables_commit`).
const fn next(generation: u32) -> u32 {
    match generation.wrapping_add(1) {
        0 => 1,
        next => next,
    }
}

/// The kernel's answer to a transaction was lost. What it has now tells whether it was carried out.
fn settle(
    nftables: &mut Nftables,
    ops: &[Op],
    source: CommitError,
    before: &Ruleset,
    is_done: impl Fn(&Ruleset) -> bool,
) -> Result<(), Error> {
    match nftables.read_tables(crate::ruleset::TABLE_NAME) {
        Ok(now) if is_done(&now.tables) => Ok(()),
        Ok(now) if same_tables(&now.tables, before) => Err(Error::AnswerLost(source)),
        _ => Err(refused(ops, source)),
    }
}

fn refused(ops: &[Op], source: CommitError) -> Error {
    let (op, element) = match &source {
        CommitError::Refused { op, element, .. } => (ops.get(*op), element.clone()),
        CommitError::Unencodable { op, .. } => (ops.get(*op), None),
        _ => (None, None),
    };
    let op = op.cloned().map(Box::new);
    Error::Commit { source, op, element }
}

/// Writes the sysctls in order. On a refusal, those already written are put back in reverse.
fn write_sysctls(state: &StateDir, planned: &Diff, before: &LiveState, ledger: &Ledger) -> Result<(), Error> {
    sysctls::write(&planned.sysctls).map_err(|(index, error)| {
        match undo_sysctls(state, &planned.sysctls[..index], before, ledger) {
            Ok(()) => error,
            Err(undo) => half_done(&error, undo),
        }
    })
}

fn undo_sysctls(
    state: &StateDir,
    written: &[SysctlWrite],
    before: &LiveState,
    ledger: &Ledger,
) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
    sysctls::undo(written, &ledger.lost)?;
    journal::write(state, &before.journal)?;
    Ok(())
}

/// Leads the tables back to what they were.
fn undo_tables(
    nftables: &mut Nftables,
    before: &Ruleset,
) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
    for _ in 0..TRIES {
        let now = nftables.read_tables(crate::ruleset::TABLE_NAME)?;
        let ops = restoring(before, &now.tables);
        if ops.is_empty() {
            return Ok(());
        }
        match nftables.commit(&encode(&ops, Some(now.generation))) {
            Ok(()) => return Ok(()),
            Err(CommitError::Moved) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Err(Error::KeepsMoving.into())
}

/// Keeps Ctrl-C and its like from ending the process between the transaction and the sysctls. A kill -9
/// there leaves the new rule set with forwarding as it was: closed, and finished by the next apply.
struct SignalsHeld(Option<SigSet>);

impl SignalsHeld {
    fn new() -> Self {
        let held = SigSet::from_iter([Signal::SIGINT, Signal::SIGTERM, Signal::SIGHUP, Signal::SIGQUIT]);
        let mut before = SigSet::empty();
        let done = sigprocmask(SigmaskHow::SIG_BLOCK, Some(&held), Some(&mut before));
        Self(done.is_ok().then_some(before))
    }
}

impl Drop for SignalsHeld {
    fn drop(&mut self) {
        if let Some(before) = &self.0 {
            let _ = sigprocmask(SigmaskHow::SIG_SETMASK, Some(before), None);
        }
    }
}
