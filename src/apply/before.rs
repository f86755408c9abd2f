//! What there was before a change, and what the change was to make: all that it takes to undo it.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::record::{Change, Phase};
use super::state_dir::{Error, StateDir};
use super::stored::Stored;
use super::{files, journal};
use crate::approach::{Desired, SysctlKey};
use crate::diff::{Journaled, LiveState, Passed, Past};
use crate::flows::keep::Kept;
use crate::ruleset::Ruleset;
use crate::saved::{self, Text, elements};

/// `kind` of the document.
const KIND: &str = "before";
/// `version` of the document. In version 1 it had the elements of sets.
const VERSION: u32 = 2;

/// All that it takes to undo a change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Before {
    /// The tables, with their order and what their rules had counted.
    pub ruleset: Ruleset,
    /// The journal of sysctls.
    pub journal: Vec<Journaled>,
    /// What the change made of the tables.
    pub after: Ruleset,
    /// The sysctls that it wrote, and those that a switch reset.
    pub sysctls: BTreeMap<SysctlKey, Passed>,
    /// The text of the topology that was applied, whole: by it, and not by a file's name, others know what it
    /// was. None for a `remove`, and in a record of an isoplan that did not write it.
    pub text: Option<String>,
    /// The connections that were kept open.
    pub kept: Kept,
    /// The sysctls that it was to leave, written or not, with their values.
    pub wanted: BTreeMap<SysctlKey, String>,
}

/// The same as it is written: rule sets without elements, and files that have those.
#[derive(Debug, Serialize)]
pub(super) struct Body<'b> {
    pub(super) id: u64,
    pub(super) ruleset: Ruleset,
    pub(super) journal: &'b [Journaled],
    pub(super) after: Ruleset,
    pub(super) elements: Files,
    pub(super) sysctls: BTreeMap<SysctlKey, Passed>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) text: Option<&'b str>,
    #[serde(skip_serializing_if = "Kept::is_empty")]
    pub(super) kept: &'b Kept,
    pub(super) wanted: BTreeMap<SysctlKey, String>,
}

/// Which files have the elements.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Files {
    /// Those before the change.
    pub(super) ruleset: Stored,
    /// Those that it was to make.
    pub(super) after: Stored,
}

impl Files {
    /// Their numbers.
    pub(super) const fn numbers(&self) -> [u64; 2] {
        [self.ruleset.file, self.after.file]
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Document {
    #[serde(rename = "version")]
    _version: u32,
    #[serde(rename = "kind")]
    _kind: String,
    id: u64,
    ruleset: Ruleset,
    journal: Vec<Journaled>,
    after: Ruleset,
    elements: Files,
    sysctls: BTreeMap<SysctlKey, Passed>,
    #[serde(default)]
    text: Option<String>,
    #[serde(default)]
    kept: Kept,
    wanted: BTreeMap<SysctlKey, String>,
}

/// Puts it on disk.
pub(super) fn write(state: &StateDir, body: &Body<'_>) -> Result<(), Error> {
    let path = state.before(body.id);
    saved::write(KIND, VERSION, body)
        .map_err(Into::into)
        .and_then(|bytes| files::write(&path, &bytes))
        .map_err(|source| Error::Open { path, source })
}

fn document(state: &StateDir, change: &Change) -> Result<Document, Error> {
    let path = state.before(change.id);
    let fault = |what: String| Error::Record { path: path.clone(), what };
    let bytes = files::read(&path).map_err(|source| Error::Open { path: path.clone(), source })?;
    let bytes = bytes.ok_or_else(|| fault("it is gone".to_owned()))?;
    let document: Document = saved::read(KIND, VERSION, &bytes).map_err(|error| fault(error.to_string()))?;
    if document.id != change.id {
        return Err(fault(format!("it is of change {} and not of {}", document.id, change.id)));
    }
    Ok(document)
}

/// Whether a change was to make exactly that, without reading what there was before it. `made`: the elements of it.
pub(super) fn was_to_make(
    state: &StateDir,
    change: &Change,
    desired: &Desired,
    made: &[u8],
) -> Result<bool, Error> {
    let document = document(state, change)?;
    Ok(document.wanted == wanted(desired)
        && document.after == elements::without(&desired.ruleset)
        && document.elements.after.bytes(state)? == made)
}

impl Before {
    /// Whether the change was to make exactly that: then to put it in place again changes nothing of what the
    /// change is, and undoing it still leads back to what was before.
    pub fn was_to_make(&self, desired: &Desired) -> bool {
        self.after == desired.ruleset && self.wanted == wanted(desired)
    }

    /// What there was before a change.
    ///
    /// # Errors
    ///
    /// When it is gone, cannot be read, or is not what isoplan writes.
    pub fn read(state: &StateDir, change: &Change) -> Result<Self, Error> {
        let path = state.before(change.id);
        let fault = |what: String| Error::Record { path: path.clone(), what };
        let Document { ruleset, journal, after, elements, sysctls, text, kept, wanted, .. } =
            document(state, change)?;
        let whole = |mut ruleset: Ruleset, stored: Stored| {
            elements::put(&mut ruleset, stored.read(state)?).map_err(|error| fault(error.to_string()))?;
            Ok(ruleset)
        };
        let ruleset = whole(ruleset, elements.ruleset)?;
        let mut checked = LiveState { ruleset, journal, ..LiveState::default() };
        saved::check(&checked).map_err(fault)?;
        let ruleset = std::mem::replace(&mut checked.ruleset, whole(after, elements.after)?);
        saved::check(&checked).map_err(fault)?;
        let LiveState { ruleset: after, journal, .. } = checked;
        let values = sysctls.iter().flat_map(|(key, passed)| {
            [&passed.before, &passed.after].into_iter().chain(&passed.between).map(move |value| (key, value))
        });
        let entries =
            journal.iter().flat_map(|entry| [(&entry.key, &entry.original), (&entry.key, &entry.written)]);
        check_values(values.chain(entries).chain(&wanted)).map_err(fault)?;
        Ok(Self { ruleset, journal, after, sysctls, text, kept, wanted })
    }

    /// The change as what is to be undone.
    pub const fn past<'p>(&'p self, change: &'p Change) -> Past<'p> {
        Past {
            before: &self.ruleset,
            after: &self.after,
            sysctls: &self.sysctls,
            complete: matches!(change.phase, Phase::Done),
            targets: match &change.phase {
                Phase::Undoing { targets } => Some(targets),
                _ => None,
            },
        }
    }
}

/// The sysctls of a desired state.
pub(super) fn wanted(desired: &Desired) -> BTreeMap<SysctlKey, String> {
    desired.sysctls.iter().map(|sysctl| (sysctl.key.clone(), sysctl.value.clone())).collect()
}

/// A record decides what is written to `/proc/sys`.
pub(super) fn check_values<'v>(
    values: impl Iterator<Item = (&'v SysctlKey, &'v String)>,
) -> Result<(), String> {
    for (key, value) in values {
        if !journal::is_sysctl_of_ours(&key.0) {
            return Err(format!("`{}` is not a sysctl that isoplan writes", Text::new(&key.0)));
        }
        if !journal::is_number(value) {
            return Err(format!("a value of `{key}` is not a number"));
        }
    }
    Ok(())
}
