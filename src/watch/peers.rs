//! Other runs of isoplan on the same host, as the record of the last change tells of them.

use crate::apply::state_dir::{Error, StateDir};
use crate::apply::{self, Before, Change, Phase, Verb};

/// The last change that a verb made, so that another is known. Repairs are not on record.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Record(Option<Change>);

impl Record {
    pub(super) fn read(state: &StateDir) -> Result<Self, Error> {
        apply::last(state).map(Self)
    }

    /// Whether a change waits to be confirmed, or is overdue.
    pub(super) fn is_pending(&self) -> bool {
        self.0.as_ref().is_some_and(Change::is_pending)
    }

    /// Whether it waits no more, and nothing has undone it.
    pub(super) fn is_overdue(&self) -> bool {
        self.0.as_ref().is_some_and(Change::is_overdue)
    }

    /// The change itself.
    pub(super) const fn change(&self) -> Option<&Change> {
        self.0.as_ref()
    }

    /// The text of the topology that was applied, all of it or cut short.
    pub(super) fn text_applied(&self, state: &StateDir) -> Result<Option<String>, Error> {
        let is_apply = |change: &&Change| {
            change.verb == Verb::Apply && matches!(change.phase, Phase::Begun | Phase::Done)
        };
        let applied = self.0.as_ref().filter(is_apply);
        Ok(applied.map(|change| Before::read(state, change)).transpose()?.and_then(|before| before.text))
    }

    /// Whether nothing that was applied stands: then what is put in place is a change, to be undone by
    /// `isoplan rollback`.
    pub(super) fn is_blank(&self) -> bool {
        self.0.as_ref().is_none_or(|change| change.verb == Verb::Remove || !change.is_undoable())
    }
}
