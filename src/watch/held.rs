//! While a change of another isoplan waits to be confirmed.

use super::peers::Record;
use super::{Error, Standing, Watch};
use crate::apply::state_dir::Lock;
use crate::apply::{self, Before, Phase, journal};
use crate::approach::{self, Desired, desired};
use crate::diff::{LiveState, diff, restoration};
use crate::flows::keep::Kept;
use crate::intent::Intent;
use crate::vigil::{Event, Judgement, Level, Notice, matters};

/// The change that waits.
#[derive(Debug)]
pub(super) struct Held {
    /// As it is on record.
    record: Record,
    /// What there was before it and what it made; none where it was cut short, or cannot be read.
    before: Option<Before>,
    /// What the file of this watch asks for, where the change was to make just that: it is kept in place. To undo
    /// the change still leads back to what was before.
    wanted: Option<Desired>,
    /// Whether it was told that the change is not in place.
    is_told: bool,
}

impl Watch<'_> {
    /// Whether there is news of the change that waits: it was settled, or is overdue.
    pub(super) fn is_news_of_held(&mut self) -> bool {
        let record = self.read_record();
        match &self.held {
            Some(held) => held.record != record || record.is_overdue(),
            None => record != self.record,
        }
    }

    /// What is kept in place while a change waits, if anything.
    pub(super) fn kept_while_held(&self) -> Option<&Desired> {
        self.held.as_ref()?.wanted.as_ref()
    }

    /// Does what is to be done while a change waits to be confirmed.
    pub(super) fn hold(&mut self, record: Record, live: &LiveState, lock: &Lock) -> Result<(), Error> {
        if self.standing != Standing::Held || self.held.as_ref().is_none_or(|held| held.record != record) {
            self.begin_to_hold(&record);
        }
        if record.is_overdue() {
            return match apply::undo_overdue(&mut self.nftables, &self.config.state, lock) {
                Ok(undone) => {
                    if let Some(change) = undone {
                        let message = format!(
                            "the {} of {} was not confirmed in time, and nothing was undoing it; it is undone now",
                            change.verb.as_str(),
                            change.topology
                        );
                        self.line(Level::Warning, Event::Undone, message);
                    }
                    self.again = Some(self.now());
                    Ok(())
                }
                Err(error) => self.failed(Error::Apply(error)),
            };
        }
        let Some(mut held) = self.held.take() else { return Ok(()) };
        let done = match &held.wanted {
            Some(wanted) => self.keep_held(wanted),
            None => {
                self.tell_of_held(&mut held, live);
                Ok(())
            }
        };
        self.held = Some(held);
        done
    }

    fn begin_to_hold(&mut self, record: &Record) {
        let is_start = self.standing == Standing::Starting;
        self.standing = Standing::Held;
        self.on_record = false;
        let before = record.change().filter(|change| change.phase == Phase::Done);
        let before = before.and_then(|change| Before::read(&self.config.state, change).ok());
        let wanted = before.as_ref().and_then(|before| self.wanted_by(before));
        let message = match wanted {
            Some(_) => format!(
                "an apply of {} waits to be confirmed; it is kept in place until it is kept or undone",
                self.config.topology.file
            ),
            None => {
                "a change by isoplan waits to be confirmed; nothing is repaired until it is kept or undone"
                    .to_owned()
            }
        };
        self.held = Some(Held { record: record.clone(), before, wanted, is_told: false });
        self.line(Level::Warning, Event::Held, message);
        self.tell_status();
        if is_start {
            self.manager.tell("READY=1");
        }
    }

    /// What the file asks for, as it was read or as it is by now, if the change was to make just that.
    fn wanted_by(&mut self, before: &Before) -> Option<Desired> {
        let kept = Kept::live(&before.after);
        let with_kept = |mut desired: Desired| {
            approach::keep(&mut desired, &kept);
            before.was_to_make(&desired).then_some(desired)
        };
        with_kept(self.desired.clone()).or_else(|| {
            let (topology, _) = (self.config.load)().ok()?;
            with_kept(desired(&Intent::new(&topology)))
        })
    }

    fn keep_held(&mut self, wanted: &Desired) -> Result<(), Error> {
        let journal = match journal::read(&self.config.state) {
            Ok(journal) => journal,
            Err(error) => return self.failed(Error::State(error)),
        };
        let live = match self.read_for(wanted, journal) {
            Ok(live) => live,
            Err(error) => return self.failed(error),
        };
        let mut wanted = wanted.clone();
        wanted.sysctls.retain(|sysctl| live.sysctls.contains_key(&sysctl.key));
        let diff = diff(&wanted, &live);
        let matters = matters(&diff);
        if diff.is_empty() {
            self.drift.clear();
            self.forget_suspects();
            self.trouble = None;
            return Ok(());
        }
        if let Judgement::NotBefore(due) = self.fights.judge(self.now(), &matters) {
            self.again = Some(due);
            self.drift = matters;
            return Ok(());
        }
        self.repair(&wanted, &diff, &live, &matters, None)
    }

    /// Says once that the tables are not what the change made of them.
    fn tell_of_held(&mut self, held: &mut Held, live: &LiveState) {
        let (Some(before), Some(change)) = (&held.before, held.record.change()) else { return };
        let since = restoration(&before.past(change), live).changed_since;
        if since > 0 && !held.is_told {
            let who = self.story.clone().unwrap_or_else(|| "somebody changed isoplan's tables".to_owned());
            let message = format!(
                "{who}; {since} differences from what the change made that waits to be confirmed. Nothing is repaired \
                 until it is kept or undone: isoplan apply {} puts it in place again",
                change.topology
            );
            let mut notice = Notice::new(Level::Warning, Event::Drift, message);
            notice.changes.1 = since;
            notice.writers = self.suspects.each().collect();
            self.say(notice);
        }
        held.is_told = since > 0;
        self.forget_suspects();
    }
}
