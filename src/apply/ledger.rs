//! What is written down around a change: the journal of sysctls, and the record that leads back.

use std::collections::BTreeMap;

use super::record::{Change, Confirm, Phase};
use super::state_dir::{self, StateDir};
use super::stored::Stored;
use super::{Purpose, before, journal, record, watcher};
use crate::approach::{Desired, SysctlKey};
use crate::diff::{Diff, Journaled, LiveState, SysctlWrite, passed};
use crate::live;
use crate::saved::{Text, elements};

/// The journal through a change: what it is meanwhile, and what it is when all went well.
pub(super) struct Ledger {
    meanwhile: Vec<Journaled>,
    after: Vec<Journaled>,
    /// Keys whose own value is lost when the switches of the plan are written.
    pub(super) lost: Vec<(SysctlKey, String)>,
}

impl Ledger {
    pub(super) fn new(planned: &Diff, before: &LiveState) -> Self {
        let switches = planned.sysctls.iter().filter(|write| write.key.switch().is_none());
        let deviating = |write: &SysctlWrite| live::deviating(&write.key.0, &write.old);
        let lost: Vec<_> = switches.clone().flat_map(deviating).collect();
        // On the way out the journal has them already.
        let entered: Vec<_> = switches.filter(|write| write.new != "0").flat_map(deviating).collect();
        let mine = journal::still_mine(before);
        let after = journal::with(&mine, &planned.sysctls, before, &entered);
        Self { meanwhile: journal::both(&mine, &after), after, lost }
    }

    /// Puts what there is on disk, for the way back. `made`: the elements of what is desired.
    pub(super) fn record<'s>(
        &self,
        state: &'s StateDir,
        (desired, made): (&Desired, &[u8]),
        planned: &Diff,
        before: &LiveState,
        purpose: Purpose<'_>,
    ) -> Result<record::Entry<'s>, state_dir::Error> {
        let written = planned
            .sysctls
            .iter()
            .filter_map(|write| Some((write.key.clone(), before.sysctls.get(&write.key)?.clone())));
        let values: BTreeMap<SysctlKey, String> = self.lost.iter().cloned().chain(written).collect();
        let id = record::next_id(state)?;
        let change = Change {
            id,
            verb: purpose.verb,
            topology: Text::new(purpose.topology),
            time: record::now(),
            phase: Phase::Begun,
            confirm: purpose.confirm_within.map(|window| Confirm {
                window: window.as_millis() as u64,
                deadline: record::boot_time() + window.as_millis() as u64,
                watcher: watcher::kind(id),
                failed: None,
            }),
        };
        let elements = before::Files {
            ruleset: Stored::put(state, &elements::encode(&before.ruleset))?,
            after: Stored::put(state, made)?,
        };
        let body = before::Body {
            id,
            ruleset: elements::without(&before.ruleset),
            journal: &before.journal,
            after: elements::without(&desired.ruleset),
            elements,
            sysctls: passed(&values, &planned.sysctls),
            text: purpose.text,
            kept: &before.kept,
            wanted: before::wanted(desired),
        };
        record::Entry::begin(state, change, &body)
    }

    pub(super) fn open(&self, state: &StateDir, before: &LiveState) -> Result<(), state_dir::Error> {
        if self.meanwhile == before.journal { Ok(()) } else { journal::write(state, &self.meanwhile) }
    }

    /// What is on disk already is a journal that leads back; this one only forgets what is over. Failing
    /// here must not undo anything.
    pub(super) fn close(&self, state: &StateDir) {
        if self.after != self.meanwhile {
            let _ = journal::write(state, &self.after);
        }
    }
}
