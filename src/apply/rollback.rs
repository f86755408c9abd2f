//! Undoing the last change.

use std::collections::BTreeMap;
use std::io;

use super::before::Before;
use super::kept::Listing;
use super::record::{self, Change, Phase};
use super::state_dir::{self, StateDir};
use super::{
    Error, Report, SignalsHeld, TRIES, half_done, journal, refused, settle, sysctls, undo_tables, watcher,
};
use crate::approach::SysctlKey;
use crate::diff::{Journaled, LiveState, Restoration, SysctlWrite, restoration, restoring, same_tables};
use crate::live;
use crate::netlink::{CommitError, Nftables, encode};
use crate::ruleset::Ruleset;

/// The last change as it is to be undone: what there was before it, and what there is now.
///
/// # Errors
///
/// When the record or the kernel cannot be read.
pub fn read_before(
    nftables: &mut Nftables,
    state: &StateDir,
    change: &Change,
) -> Result<(Before, LiveState), Error> {
    let before = Before::read(state, change).map_err(Error::State)?;
    let live = read(nftables, state, &before)?;
    Ok((before, live))
}

pub(super) fn read(nftables: &mut Nftables, state: &StateDir, before: &Before) -> Result<LiveState, Error> {
    let journal = journal::read(state).map_err(Error::State)?;
    live::read(nftables, before.sysctls.keys().cloned(), journal).map_err(Error::Live)
}

/// Undoes the last change, as `planned` on `live`. The caller holds the lock, and `change` was read under it.
/// `overdue`: nobody confirmed it in time. Then nothing that cannot be written to the state directory keeps
/// it from being undone.
///
/// # Errors
///
/// See [`Error`]: each says in which state the host is. The record stays, and it can be tried again.
pub fn roll_back(
    nftables: &mut Nftables,
    state: &StateDir,
    change: &Change,
    before: &Before,
    planned: &Restoration,
    live: &LiveState,
    overdue: bool,
) -> Result<Report, Error> {
    let writes = &planned.diff.sysctls;
    for write in writes {
        match sysctls::can_be_written(std::slice::from_ref(write)) {
            Err(Error::Sysctl { source, .. }) if is_gone(&source) => {}
            done => done?,
        }
    }
    let _signals = SignalsHeld::new();
    let now = read(nftables, state, before)?;
    let again = restoration(&before.past(change), &now);
    if again.diff.ops != planned.diff.ops || again.diff.sysctls != planned.diff.sysctls {
        return Err(Error::PlanIsStale);
    }
    let listing = match Listing::begin(state, before.kept.clone()) {
        Err(error) if !overdue => return Err(Error::State(error)),
        listing => listing.ok(),
    };
    let noted = note(state, change, before, planned, &now);
    if !overdue {
        noted.map_err(Error::State)?;
    }
    let report = steps(nftables, state, before, planned, &now).inspect_err(|error| {
        if error.is_old_state() {
            let _ = record::write(state, change);
            let _ = journal::write(state, &live.journal);
        }
    })?;
    if let Some(listing) = listing {
        listing.finish();
    }
    let _ = journal::write(state, &journal_after(before, planned));
    let over =
        Change { phase: Phase::Undone { at: record::now(), overdue }, confirm: None, ..change.clone() };
    if record::write(state, &over).is_ok() {
        record::tidy(state, None, &[]);
    }
    if !overdue {
        watcher::disarm(change);
    }
    let after = read(nftables, state, before).map_err(|error| Error::NotReadBack(error.into()))?;
    let left = left(before, planned, &after);
    if left == 0 { Ok(report) } else { Err(Error::NotAsBefore(left)) }
}

/// Whether the interface of a sysctl has gone meanwhile: then there is nothing to bring back.
fn is_gone(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::NotFound)
}

/// Before the first step: where everything goes, so that it can be finished by another process.
fn note(
    state: &StateDir,
    change: &Change,
    before: &Before,
    planned: &Restoration,
    now: &LiveState,
) -> Result<(), state_dir::Error> {
    let phase = Phase::Undoing { targets: planned.targets.clone() };
    record::write(state, &Change { phase, ..change.clone() })?;
    let meanwhile = journal::both(&now.journal, &journal_after(before, planned));
    journal::write(state, &meanwhile).inspect_err(|_| {
        let _ = record::write(state, change);
    })
}

/// The journal as it was, without what is somebody else's by now.
fn journal_after(before: &Before, planned: &Restoration) -> Vec<Journaled> {
    let entries = before.journal.iter().filter(|entry| !planned.overtaken.contains(&entry.key));
    entries.cloned().collect()
}

/// What closes, then the tables, then what opens.
fn steps(
    nftables: &mut Nftables,
    state: &StateDir,
    before: &Before,
    planned: &Restoration,
    now: &LiveState,
) -> Result<Report, Error> {
    let (closing, opening) = planned.diff.sysctls.split_at(planned.closing);
    // What a switch resets has its own value again when the switch is put back.
    let reset: Vec<(SysctlKey, String)> =
        planned.targets.keys().filter_map(|key| Some((key.clone(), now.sysctls.get(key)?.clone()))).collect();
    let reset: Vec<_> = reset.into_iter().filter(|(key, _)| key.switch().is_some()).collect();
    write(closing, &reset)?;
    let report = commit(nftables, state, before, planned, now).or_else(|error| {
        // Forwarding goes back on only if the drops are still there.
        match nftables.read_tables(crate::ruleset::TABLE_NAME) {
            Ok(tables) if tables.tables == now.ruleset => {
                sysctls::undo(closing, &reset).map_err(|undo| half_done(&error, undo.into()))?;
                Err(error)
            }
            _ if closing.is_empty() => Err(error),
            _ => Err(half_done(&error, "the tables are not what they were".into())),
        }
    })?;
    if let Err(error) = write(opening, &reset) {
        let undone = undo_tables(nftables, &now.ruleset)
            .and_then(|()| sysctls::undo(closing, &reset).map_err(Into::into));
        undone.map_err(|undo| half_done(&error, undo))?;
        return Err(error);
    }
    Ok(report)
}

/// Writes sysctls; on a refusal, those already written are put back.
fn write(writes: &[SysctlWrite], reset: &[(SysctlKey, String)]) -> Result<(), Error> {
    for (index, one) in writes.iter().enumerate() {
        match sysctls::write(std::slice::from_ref(one)) {
            Err((_, Error::Sysctl { source, .. })) if is_gone(&source) => {}
            Err((_, error)) => {
                sysctls::undo(&writes[..index], reset).map_err(|undo| half_done(&error, undo.into()))?;
                return Err(error);
            }
            Ok(()) => {}
        }
    }
    Ok(())
}

/// Sends the transaction, guarded by the generation that it was worked out against.
fn commit(
    nftables: &mut Nftables,
    state: &StateDir,
    before: &Before,
    planned: &Restoration,
    now: &LiveState,
) -> Result<Report, Error> {
    let ops = &planned.diff.ops;
    if ops.is_empty() {
        return Ok(Report { transaction_bytes: 0, tries: 0 });
    }
    let mut generation = now.generation;
    for tries in 1..=TRIES {
        let transaction = encode(ops, Some(generation));
        match nftables.commit(&transaction) {
            Ok(()) => return Ok(Report { transaction_bytes: transaction.len_bytes(), tries }),
            Err(CommitError::Moved) => {}
            Err(source @ CommitError::Unknown { .. }) => {
                let is_done = |now: &Ruleset| restoring(&before.ruleset, now).is_empty();
                settle(nftables, ops, source, &now.ruleset, is_done)?;
                return Ok(Report { transaction_bytes: transaction.len_bytes(), tries });
            }
            Err(source) => return Err(refused(ops, source)),
        }
        // If it was not about isoplan's tables, the steps are the same.
        let moved = read(nftables, state, before)?;
        if !same_tables(&moved.ruleset, &now.ruleset) {
            return Err(Error::PlanIsStale);
        }
        generation = moved.generation;
    }
    Err(Error::KeepsMoving)
}

/// In how much the host is not what it was.
fn left(before: &Before, planned: &Restoration, now: &LiveState) -> usize {
    let mut wanted = before.ruleset.clone();
    if !planned.lost.is_empty() {
        for table in wanted.values_mut() {
            (table.unknown, table.flags) = (Vec::new(), 0);
        }
    }
    let tables = usize::from(!same_tables(&wanted, &now.ruleset));
    let values: &BTreeMap<SysctlKey, String> = &planned.targets;
    let differs =
        |(key, value): &(&SysctlKey, &String)| now.sysctls.get(*key).is_some_and(|now| now != *value);
    tables + values.iter().filter(differs).count()
}
