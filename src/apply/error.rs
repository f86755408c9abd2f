//! Why a change was not made, and in which state the host is.

use std::fmt;
use std::io;

use super::{TRIES, state_dir};
use crate::approach::SysctlKey;
use crate::diff::Diff;
use crate::live;
use crate::netlink::CommitError;
use crate::ruleset::{ElementKey, Op};

/// Why a plan was not carried out, or not as planned.
#[derive(Debug)]
#[non_exhaustive]
pub enum Error {
    /// The live state could not be read.
    Live(live::Error),
    /// The state directory could not be used.
    State(state_dir::Error),
    /// The transaction was not committed; nothing was changed.
    Commit {
        /// The kernel's refusal.
        source: CommitError,
        /// The step at fault, where one is known.
        op: Option<Box<Op>>,
        /// The element of it at fault, where one is known.
        element: Option<Box<ElementKey>>,
    },
    /// The kernel's answer to the transaction was lost, and reading back shows that nothing was changed.
    AnswerLost(CommitError),
    /// The rule set moved at every try; nothing was changed.
    KeepsMoving,
    /// What would have to be done is not what was printed any more; nothing was changed.
    PlanIsStale,
    /// Sysctls that the approach depends on do not exist; nothing was changed.
    Missing(Vec<SysctlKey>),
    /// A sysctl was refused; everything before it was undone.
    Sysctl {
        /// Which.
        key: SysctlKey,
        /// Why.
        source: io::Error,
    },
    /// There is something that could not be brought back; nothing was changed.
    NotUndoable(String),
    /// Nobody could be found to undo it; nothing was changed.
    NotArmed(io::Error),
    /// Something failed, and undoing what was done before failed as well.
    HalfDone {
        /// What failed first.
        what: String,
        /// Why undoing failed.
        undo: Box<dyn std::error::Error + Send + Sync>,
    },
    /// It was carried out, and reading it back failed.
    NotReadBack(Box<dyn std::error::Error + Send + Sync>),
    /// It was carried out, and the kernel has something else.
    ReadsBackDifferently(Box<Diff>),
    /// A change was undone, and so many things are not what they were before it.
    NotAsBefore(usize),
}

impl Error {
    /// Whether the host is what it was before it was tried.
    pub const fn is_old_state(&self) -> bool {
        match self {
            Self::Commit { source: CommitError::Unknown { .. }, .. }
            | Self::HalfDone { .. }
            | Self::NotReadBack(_)
            | Self::ReadsBackDifferently(_)
            | Self::NotAsBefore(_) => false,
            Self::Live(_)
            | Self::State(_)
            | Self::Commit { .. }
            | Self::AnswerLost(_)
            | Self::KeepsMoving
            | Self::PlanIsStale
            | Self::Missing(_)
            | Self::NotUndoable(_)
            | Self::NotArmed(_)
            | Self::Sysctl { .. } => true,
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Live(error) => write!(f, "{error}; nothing was changed"),
            Self::State(error) => write!(f, "{error}; nothing was changed"),
            Self::Commit { source: CommitError::Unknown { .. }, .. } => {
                f.write_str("cannot tell whether the change was made")
            }
            Self::Commit { .. } => f.write_str("cannot change the rule set; nothing was changed"),
            Self::AnswerLost(_) => f.write_str("cannot change the rule set; nothing was changed"),
            Self::KeepsMoving => write!(
                f,
                "somebody else changed the rule set during each of {TRIES} tries; nothing was changed"
            ),
            Self::PlanIsStale => f.write_str(
                "isoplan's own tables or sysctls changed after the plan was made; nothing was changed",
            ),
            Self::Missing(keys) => {
                let keys: Vec<_> = keys.iter().map(ToString::to_string).collect();
                write!(f, "these sysctls do not exist: {}; nothing was changed", keys.join(", "))
            }
            Self::Sysctl { key, .. } => {
                write!(f, "cannot write sysctl `{key}`; everything before it was undone")
            }
            Self::NotUndoable(what) => {
                write!(f, "{what}, which could not be brought back; nothing was changed")
            }
            Self::NotArmed(_) => f.write_str("cannot start what would undo the change; nothing was changed"),
            Self::HalfDone { what, .. } => {
                write!(f, "{what}; it could not be undone whole: see `isoplan plan` for what is left")
            }
            Self::NotReadBack(_) => f.write_str("the change was made, but reading it back failed"),
            Self::ReadsBackDifferently(diff) => {
                write!(f, "done, but the kernel reads back differently ({} of it)", diff.changes.len())
            }
            Self::NotAsBefore(1) => f.write_str("undone, but one thing is not what it was"),
            Self::NotAsBefore(left) => write!(f, "undone, but {left} things are not what they were"),
        }
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Live(error) => error.source(),
            Self::State(error) => error.source(),
            Self::Commit { source, .. } | Self::AnswerLost(source) => Some(source),
            Self::Sysctl { source, .. } | Self::NotArmed(source) => Some(source),
            Self::HalfDone { undo, .. } => Some(undo.as_ref()),
            Self::NotReadBack(error) => Some(error.as_ref()),
            Self::KeepsMoving
            | Self::PlanIsStale
            | Self::Missing(_)
            | Self::NotUndoable(_)
            | Self::ReadsBackDifferently(_)
            | Self::NotAsBefore(_) => None,
        }
    }
}
