//! The record of the last change: what was there before it, and how far it has come.
//!
//! `before-ID.json` has all that it takes to go back, but for the elements of sets, which are in files of their own
//! (`elements-NUMBER.bin`): what the last change made is what there is before the next one, and is not written again.
//! All of them are on disk before the first change and are never written again. `change.json` names them and says how
//! far the change has come; it is small, and replaced whole at each step.

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use nix::time::{ClockId, clock_gettime};
use serde::{Deserialize, Serialize};

use super::before::{self, Body, check_values};
use super::state_dir::{Error, StateDir};
use super::{files, stored};
use crate::approach::SysctlKey;
use crate::saved::{self, Text};

/// `version` of the document.
const VERSION: u32 = 1;

/// What made a change.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Verb {
    /// `isoplan apply`.
    Apply,
    /// `isoplan remove`.
    Remove,
}

impl Verb {
    /// The word in text and JSON.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Apply => "apply",
            Self::Remove => "remove",
        }
    }
}

/// How far a change has come.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Phase {
    /// It is under way, or was cut short.
    Begun,
    /// It is done.
    Done,
    /// It is being undone, or that was cut short.
    Undoing {
        /// Where the sysctls are to go.
        targets: BTreeMap<SysctlKey, String>,
    },
    /// It was undone.
    Undone {
        /// When, in seconds since 1970-01-01 00:00 UTC.
        at: u64,
        /// Whether because nobody confirmed it in time.
        overdue: bool,
    },
}

/// That a change waits to be confirmed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Confirm {
    /// How long it waits, in milliseconds.
    pub window: u64,
    /// When it is to be undone, in milliseconds of `CLOCK_BOOTTIME` (`clock_gettime(2)`): the clock that nobody
    /// sets, and that goes on while the machine sleeps.
    pub deadline: u64,
    /// Who undoes it.
    pub watcher: Text,
    /// Why the watcher could not undo it, where it has tried.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failed: Option<Text>,
}

/// The last change.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Change {
    /// No two changes of a boot have the same.
    pub id: u64,
    /// What made it.
    pub verb: Verb,
    /// The topology, as the user named it; empty for a `remove`.
    pub topology: Text,
    /// When, in seconds since 1970-01-01 00:00 UTC.
    pub time: u64,
    /// How far it has come.
    pub phase: Phase,
    /// Present while it waits to be confirmed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub confirm: Option<Confirm>,
}

impl Change {
    /// Whether there is something to undo.
    pub const fn is_undoable(&self) -> bool {
        !matches!(self.phase, Phase::Undone { .. })
    }

    /// Whether it waits to be confirmed, or is overdue.
    pub const fn is_pending(&self) -> bool {
        self.confirm.is_some() && self.is_undoable()
    }

    /// Whether its time has been over for a while, so that whoever was to undo it is gone or has failed.
    pub fn is_overdue(&self) -> bool {
        let over = |confirm: &Confirm| boot_time() >= confirm.deadline.saturating_add(GRACE);
        self.is_pending() && self.confirm.as_ref().is_some_and(over)
    }
}

/// A change that waits to be confirmed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pending {
    /// Which.
    pub change: Change,
    /// How long it still waits, 0 while it is being undone; `None` when it is overdue, because its watcher was
    /// killed or could not undo it.
    pub left: Option<Duration>,
}

/// So many milliseconds after its time, a change that is still there is overdue. Whoever is set to undo it is
/// through by then.
const GRACE: u64 = 3_000;

/// `CLOCK_BOOTTIME`, in milliseconds.
pub fn boot_time() -> u64 {
    let now = clock_gettime(ClockId::CLOCK_BOOTTIME).map(Duration::from).unwrap_or_default();
    u64::try_from(now.as_millis()).unwrap_or(u64::MAX)
}

/// The time for people, in seconds since 1970-01-01 00:00 UTC. Nothing is decided by it.
pub fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |now| now.as_secs())
}

/// The last change of this boot, if any.
///
/// # Errors
///
/// When there is a record that cannot be read or understood.
pub fn last(state: &StateDir) -> Result<Option<Change>, Error> {
    let path = state.change();
    let Some(bytes) = files::read(&path).map_err(|source| Error::Open { path: path.clone(), source })? else {
        return Ok(None);
    };
    let document: ChangeDocument = saved::read(CHANGE, VERSION, &bytes)
        .map_err(|error| Error::Record { path: path.clone(), what: error.to_string() })?;
    if let Phase::Undoing { targets } = &document.change.phase {
        check_values(targets.iter()).map_err(|what| Error::Record { path, what })?;
    }
    // A reboot has undone it.
    Ok((document.boot_id.as_str() == files::boot_id()).then_some(document.change))
}

/// The change that waits to be confirmed, if any.
///
/// # Errors
///
/// See [`last`].
pub fn pending(state: &StateDir) -> Result<Option<Pending>, Error> {
    Ok(last(state)?.and_then(|change| {
        let deadline = change.confirm.as_ref().filter(|_| change.is_pending())?.deadline;
        let left = (!change.is_overdue()).then(|| deadline.saturating_sub(boot_time()));
        Some(Pending { change, left: left.map(Duration::from_millis) })
    }))
}

/// A number that no change of this boot has had, also where the record of them was lost.
pub(super) fn next_id(state: &StateDir) -> Result<u64, Error> {
    let last = last(state)?.map_or(0, |last| last.id);
    Ok(boot_time().max(last + 1))
}

/// `kind` of the document.
const CHANGE: &str = "change";

#[derive(Serialize)]
struct ChangeBody<'c> {
    boot_id: String,
    change: &'c Change,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ChangeDocument {
    #[serde(rename = "version")]
    _version: u32,
    #[serde(rename = "kind")]
    _kind: String,
    boot_id: Text,
    change: Change,
}

/// Replaces `change.json`.
///
/// # Errors
///
/// When it cannot be written; the old one is then still there.
pub(super) fn write(state: &StateDir, change: &Change) -> Result<(), Error> {
    let path = state.change();
    let body = ChangeBody { boot_id: files::boot_id(), change };
    saved::write(CHANGE, VERSION, &body)
        .map_err(Into::into)
        .and_then(|bytes| files::write(&path, &bytes))
        .map_err(|source| Error::Open { path, source })
}

/// A change that is under way.
#[derive(Debug)]
pub(super) struct Entry<'s> {
    state: &'s StateDir,
    pub(super) change: Change,
    /// What `change.json` was before.
    previous: Option<Vec<u8>>,
    /// The files of elements that it needs.
    files: [u64; 2],
}

impl<'s> Entry<'s> {
    /// Puts the record of a change on disk, before its first step.
    pub(super) fn begin(state: &'s StateDir, change: Change, body: &Body<'_>) -> Result<Self, Error> {
        let previous =
            files::read(&state.change()).map_err(|source| Error::Open { path: state.change(), source })?;
        let entry = Self { state, change, previous, files: body.elements.numbers() };
        before::write(state, body)
            .and_then(|()| write(state, &entry.change))
            .inspect_err(|_| entry.forget())?;
        Ok(entry)
    }

    /// Nothing of it was done: the change before it is the last one again. Failing here must not undo anything;
    /// what is left then is a change that was cut short.
    pub(super) fn forget(&self) {
        let path = self.state.change();
        // Never without one: a watcher takes a record that is gone for an accident.
        let over = Phase::Undone { at: self.change.time, overdue: false };
        let done = match &self.previous {
            Some(previous) => files::write(&path, previous).is_ok(),
            None => write(self.state, &Change { phase: over, confirm: None, ..self.change.clone() }).is_ok(),
        };
        if done {
            let _ = files::remove(&self.state.before(self.change.id));
        }
    }

    /// It is done. What is on disk already leads back, so failing here must not undo anything.
    pub(super) fn finish(mut self) -> Result<(), Error> {
        self.change.phase = Phase::Done;
        write(self.state, &self.change)?;
        tidy(self.state, Some(self.change.id), &self.files);
        Ok(())
    }
}

/// Removes what was there before older changes, and the elements that no record needs.
pub(super) fn tidy(state: &StateDir, keep: Option<u64>, elements: &[u64]) {
    stored::tidy(state, elements);
    let keep: Option<PathBuf> = keep.map(|id| state.before(id));
    for file in fs::read_dir(state.path()).into_iter().flatten().flatten() {
        let name = file.file_name();
        let of_a_change = name.to_str().is_some_and(|name| name.starts_with("before-"));
        if of_a_change && Some(file.path()) != keep {
            let _ = files::remove(&file.path());
        }
    }
}
