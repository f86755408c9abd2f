//! A plan with what it was worked out from, to be carried out later.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::consistent::check;
use super::document::{self, Error, Text};
use super::snapshot::Origin;
use crate::approach::SysctlKey;
use crate::diff::{Change, Diff, LiveState, SysctlWrite, table_name};
use crate::plan::Plan;
use crate::ruleset::Op;

/// A plan that somebody reviews before it is carried out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SavedPlan {
    /// Where and when the state was read.
    pub origin: Origin,
    /// The topology, whole.
    pub topology: Source,
    /// The state that the plan was worked out from.
    pub state: LiveState,
    /// What it does. An isoplan that works out other steps from the same state and topology is another
    /// version, and may not carry it out.
    pub steps: Steps,
}

/// A topology file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Source {
    /// As it was named.
    pub file: Text,
    /// What was in it.
    pub text: String,
}

/// What carrying out a plan does.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Steps {
    /// One transaction.
    pub ops: Vec<Op>,
    /// In the order of writing.
    pub sysctls: Vec<SysctlWrite>,
    /// Whether the sysctls are written before the transaction.
    pub sysctls_first: bool,
    /// Sysctls that should have a value and do not exist.
    pub missing: Vec<SysctlKey>,
}

impl Steps {
    /// The steps of a diff.
    pub fn of(diff: &Diff) -> Self {
        Self {
            ops: diff.ops.clone(),
            sysctls: diff.sysctls.clone(),
            sysctls_first: diff.sysctls_first,
            missing: diff.missing.iter().map(|sysctl| sysctl.key.clone()).collect(),
        }
    }

    /// Whether a diff comes down to exactly these steps.
    pub fn are_those_of(&self, diff: &Diff) -> bool {
        self.ops == diff.ops
            && self.sysctls == diff.sysctls
            && self.sysctls_first == diff.sysctls_first
            && self.missing.iter().eq(diff.missing.iter().map(|sysctl| &sysctl.key))
    }
}

/// `kind` of the document. `plan` is what `isoplan plan --json` prints, for other programs to read.
const KIND: &str = "saved-plan";
/// `version` of the document.
const VERSION: u32 = 1;

#[derive(Serialize, JsonSchema)]
pub(crate) struct Body<'s> {
    /// Where and when the state was read.
    origin: &'s Origin,
    /// The topology, whole.
    topology: &'s Source,
    /// The state that the plan was worked out from.
    state: &'s LiveState,
    /// What it does.
    steps: &'s Steps,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Document {
    #[serde(rename = "version")]
    _version: u32,
    #[serde(rename = "kind")]
    _kind: String,
    origin: Origin,
    topology: Source,
    state: LiveState,
    steps: Steps,
}

impl SavedPlan {
    /// A plan, the text of its topology, and the state that it was worked out from.
    pub fn new(plan: &Plan<'_>, text: &str, state: LiveState, origin: Origin) -> Self {
        let topology = Source { file: Text::new(&plan.topology.file), text: text.to_owned() };
        Self { origin, topology, state, steps: Steps::of(&plan.diff) }
    }

    /// As a document.
    ///
    /// # Errors
    ///
    /// See [`document::write`].
    pub fn to_bytes(&self) -> Result<Vec<u8>, serde_json::Error> {
        let Self { origin, topology, state, steps } = self;
        document::write(KIND, VERSION, &Body { origin, topology, state, steps })
    }

    /// From a document.
    ///
    /// # Errors
    ///
    /// When it is not one that isoplan of this version wrote.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, Error> {
        let Document { origin, topology, state, steps, .. } = document::read(KIND, VERSION, bytes)?;
        check(&state).map_err(|what| Error::Impossible { kind: KIND, what })?;
        Ok(Self { origin, topology, state, steps })
    }
}

/// What one diff has and another has not, the first few as one line each, for whoever wonders why a saved plan
/// does not hold any more.
pub fn moved(saved: &Diff, now: &Diff) -> Vec<String> {
    const SHOWN: usize = 4;
    let mut lines = Vec::new();
    for (words, has, lacks) in
        [("needed now and not in the plan", now, saved), ("in the plan and not needed any more", saved, now)]
    {
        let known: std::collections::BTreeSet<_> = lacks.changes.iter().map(key).collect();
        let mut left: Vec<&Change> =
            has.changes.iter().filter(|other| !known.contains(&key(other))).collect();
        let more = left.len().saturating_sub(SHOWN);
        left.truncate(SHOWN);
        lines.extend(left.into_iter().map(|change| format!("{words}: {}", line(change))));
        if more > 0 {
            lines.push(format!("{words}: {more} more"));
        }
        let gone = has.missing.iter().filter(|sysctl| !lacks.missing.contains(sysctl));
        let words = if std::ptr::eq(has, now) { "does not exist any more" } else { "exists by now" };
        lines.extend(gone.map(|sysctl| format!("sysctl {} {words}", sysctl.key)));
    }
    if lines.is_empty() {
        lines.push("isoplan's rules were replaced by others that read the same".to_owned());
    }
    lines
}

/// What tells a change from others.
fn key(change: &Change) -> impl Ord {
    (change.action, change.kind, change.family, &change.name, &change.old, &change.new)
}

/// `+ rule drop in chain forward of table inet isoplan`.
fn line(change: &Change) -> String {
    let (sign, kind) = (change.action.sign(), change.kind.as_str());
    let what = match (&change.old, &change.new) {
        (Some(old), Some(new)) => format!(" {old} -> {new}"),
        (Some(only), None) | (None, Some(only)) => format!(" {only}"),
        (None, None) => String::new(),
    };
    let text = match (change.kind, change.family) {
        (crate::diff::Kind::Table, Some(family)) => format!("{sign} {}", table_name(family)),
        (crate::diff::Kind::Element | crate::diff::Kind::Rule, Some(family)) => {
            format!("{sign} {kind}{what} in {} of {}", change.name, table_name(family))
        }
        (_, Some(family)) => format!("{sign} {kind} {}{what} of {}", change.name, table_name(family)),
        (_, None) => format!("{sign} {kind} {}{what}", change.name),
    };
    document::plain(&text)
}
