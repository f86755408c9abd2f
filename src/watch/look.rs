//! Reading, comparing, repairing.

use std::collections::{BTreeMap, BTreeSet};

use super::{Error, LOCK_EVERY, Standing, Watch, systemd};
use crate::apply::{self, Purpose, Verb, journal};
use crate::approach::{self, Approach, Desired, SysctlKey, desired};
use crate::diff::{Action, Diff, Journaled, LiveState, diff};
use crate::error::Failure;
use crate::flows::keep::Kept;
use crate::intent::Intent;
use crate::live;
use crate::vigil::{
    Event, Fight, Judgement, KNOWN, Level, Matter, Moment, Notice, Writers, first_changes, guess, matters,
};

impl Watch<'_> {
    /// Reads everything, and does what is to be done about it.
    pub(super) fn look(&mut self) -> Result<(), Error> {
        self.again = None;
        // With it, the tables alone are repaired: what is missing of them needs no state directory.
        let mut trouble = None;
        let lock = if self.config.report {
            None
        } else {
            match self.config.state.try_lock() {
                Ok(Some(lock)) => Some(lock),
                Ok(None) => {
                    if !self.waits_for_lock && self.standing == Standing::Starting {
                        self.line(
                            Level::Notice,
                            Event::Held,
                            "another isoplan is changing this host; waiting for it",
                        );
                    }
                    self.waits_for_lock = true;
                    self.again = Some(self.now().after(LOCK_EVERY));
                    return Ok(());
                }
                Err(error) => {
                    trouble = Some(Error::State(error));
                    None
                }
            }
        };
        self.waits_for_lock = false;
        // What others did under the lock has been told by now.
        self.hear();
        let now = self.now();
        self.burst.looked(now);
        let journal = journal::read(&self.config.state).unwrap_or_else(|error| {
            trouble.get_or_insert(Error::State(error));
            Vec::new()
        });
        let is_table = self.desired.approach == Approach::Nftables && !self.config.report;
        if !is_table && let Some(error) = trouble {
            return self.failed(error);
        }
        let live = match self.read_for(&self.desired.clone(), journal) {
            Ok(live) => live,
            Err(error) => return self.failed(error),
        };
        if let Some(lock) = &lock {
            let record = self.read_record();
            if record.is_pending() {
                // What is there afterwards is isoplan's own doing, and is judged then: the record is another.
                return self.hold(record, &live, lock);
            }
        }
        if !self.config.report && self.read_record().is_pending() {
            // Without the lock a change that waits is left alone.
            return trouble.map_or(Ok(()), |error| self.failed(error));
        }
        self.held = None;
        let mut wanted = present(&self.desired, &live);
        if trouble.is_some() {
            wanted.sysctls.clear();
        }
        let diff = diff(&wanted, &live);
        if !self.config.report && self.is_for_another(&live, &diff) {
            return Ok(());
        }
        let matters = matters(&diff);
        if diff.is_empty() {
            return match trouble {
                Some(error) => self.failed(error),
                None => self.in_place(&diff),
            };
        }
        if self.config.report {
            self.report(&diff, matters);
            return self.ready(&diff);
        }
        if let Judgement::NotBefore(due) = self.fights.judge(now, &matters) {
            self.again = Some(due);
            self.drift = matters;
            self.tell_status();
            return Ok(());
        }
        self.repair(&wanted, &diff, &live, &matters, trouble)
    }

    pub(super) fn read_for(
        &mut self,
        desired: &Desired,
        journal: Vec<Journaled>,
    ) -> Result<LiveState, Error> {
        let keys: Vec<SysctlKey> = desired.sysctls.iter().map(|sysctl| sysctl.key.clone()).collect();
        let live = live::read(&mut self.nftables, keys, journal).map_err(|error| match error {
            live::Error::Ruleset(error) => Error::Kernel(error),
            error => Error::Live(error),
        })?;
        // Without the list nothing is kept.
        let kept = apply::kept(&self.config.state);
        Ok(LiveState { kept: self.heeded("kept", kept).unwrap_or_default(), ..live })
    }

    /// Whether the host is in the hands of another isoplan: then nothing is repaired.
    fn is_for_another(&mut self, live: &LiveState, diff: &Diff) -> bool {
        let record = self.read_record();
        if self.standing == Standing::Starting {
            self.on_record |= record.is_blank();
            self.record = record;
            return false;
        }
        let was_away = matches!(self.standing, Standing::Held | Standing::Down);
        let is_new = record != self.record;
        if diff.is_empty() {
            self.record = record;
            if was_away {
                let file = &self.config.topology.file;
                let message = format!("{file} is in place again by isoplan itself, and kept from now on");
                self.resume(&message);
            }
            return false;
        }
        // What is applied again as it was leaves no record of its own, but the file may be another by then.
        if !is_new && !was_away {
            return false;
        }
        // One that cannot be read proves nothing.
        let applied = record.text_applied(&self.config.state).unwrap_or_default();
        self.record = record;
        if let Some(taken) = self.taken_over(live, applied.as_deref()) {
            // What was compared is not what is kept any more: it is looked at again.
            self.resume(&taken);
            return true;
        }
        self.stand_down();
        true
    }

    fn stand_down(&mut self) {
        if self.standing != Standing::Down {
            self.standing = Standing::Down;
            let message = format!(
                "isoplan itself changed the policy to something else than {} asks for: nothing is repaired any more. \
                 To have it kept again: systemctl reload isoplan-watch (SIGHUP), or apply it",
                self.config.topology.file
            );
            self.line(Level::Warning, Event::StoodDown, message);
        }
        self.forget_suspects();
        self.tell_status();
    }

    /// Another isoplan has changed the policy: perhaps to what the file asks for by now, or back to what was
    /// kept before that. Files are told by the text that was applied, never by their names, and never by what is
    /// on disk since. An apply of the very text is taken also where it was cut short, or somebody was quick to
    /// undo some of it; anything else only where it is exactly what is in place.
    fn taken_over(&mut self, live: &LiveState, applied: Option<&str>) -> Option<String> {
        let is_it = |text: &str, wanted: &Desired| {
            applied == Some(text) || diff(&present(wanted, live), live).changes.is_empty()
        };
        let file = self.config.topology.file.clone();
        if applied == Some(self.config.text.as_str()) {
            return Some(format!("{file} was applied by isoplan itself, and is kept from now on"));
        }
        if let Some(before) = self.previous.take_if(|before| is_it(&before.text, &before.desired)) {
            self.take_back(before);
            let message = "what was kept before is in place again by isoplan itself, and kept from now on";
            return Some(message.to_owned());
        }
        let (topology, text) = (self.config.load)().ok()?;
        if !is_it(&text, &desired(&Intent::new(&topology))) {
            return None;
        }
        self.take(topology, text);
        Some(format!("{file} was applied by isoplan itself, as it is now, and is kept from now on"))
    }

    fn resume(&mut self, message: &str) {
        self.standing = Standing::Keeping;
        self.drift.clear();
        self.line(Level::Notice, Event::Resumed, message);
        let now = self.now();
        self.remarks_at.get_or_insert(now);
        self.again = Some(now);
    }

    /// Everything is as it should be.
    fn in_place(&mut self, diff: &Diff) -> Result<(), Error> {
        if self.config.report && !self.drift.is_empty() {
            let message =
                format!("{} is in place again: {} objects", self.config.topology.file, diff.objects);
            self.line(Level::Notice, Event::InPlace, message);
        }
        self.drift.clear();
        self.forget_suspects();
        self.trouble = None;
        self.failure = None;
        self.on_record = false;
        self.ready(diff)
    }

    pub(super) fn forget_suspects(&mut self) {
        self.suspects = Writers::default();
        self.story = None;
        self.since = None;
    }

    /// The first look came out: the manager may go on.
    fn ready(&mut self, diff: &Diff) -> Result<(), Error> {
        if self.standing == Standing::Starting {
            self.standing = Standing::Keeping;
            let file = &self.config.topology.file;
            let message = match (self.config.report, diff.is_empty()) {
                (true, true) => format!(
                    "watching {file}: {} objects in place; nothing is repaired (--report)",
                    diff.objects
                ),
                (true, false) => format!(
                    "watching {file}: {} differences; nothing is repaired (--report)",
                    diff.changes.len()
                ),
                _ => format!("watching {file}: {} objects in place", diff.objects),
            };
            self.line(Level::Notice, Event::Started, message);
            self.tell_status();
            self.manager.tell("READY=1");
        }
        self.tell_status();
        Ok(())
    }

    fn report(&mut self, diff: &Diff, matters: BTreeSet<Matter>) {
        if matters != self.drift {
            let notice = Notice::new(Level::Warning, Event::Drift, self.told(diff, "not repaired"));
            let notice = notice.about(diff, &self.suspects);
            self.drift = matters;
            self.say(notice);
        }
        self.forget_suspects();
    }

    /// Leads back to what is wanted. `trouble`: why that can only be done with the tables.
    pub(super) fn repair(
        &mut self,
        wanted: &Desired,
        diff: &Diff,
        live: &LiveState,
        matters: &BTreeSet<Matter>,
        trouble: Option<Error>,
    ) -> Result<(), Error> {
        let since = self.since;
        let (nftables, state) = (&mut self.nftables, &self.config.state);
        let done = if trouble.is_some() {
            apply::carry_out_tables(nftables, wanted, diff, live)
        } else if self.on_record {
            let topology = &self.config.topology.file;
            let text = Some(self.config.text.as_str());
            let purpose = Purpose { verb: Verb::Apply, topology, text, confirm_within: None };
            apply::change(nftables, state, wanted, diff, live, purpose)
        } else {
            apply::carry_out(nftables, state, wanted, diff, live)
        };
        let now = self.now();
        match done {
            Ok(_) => {}
            // It was done; somebody was quick to undo it, which is the next thing to be told of.
            Err(apply::Error::ReadsBackDifferently(_) | apply::Error::NotReadBack(_)) => self.burst.told(now),
            // Nothing was done, because others went on writing: what there is now is looked at.
            Err(apply::Error::PlanIsStale | apply::Error::KeepsMoving) => {
                self.burst.told(now);
                return Ok(());
            }
            // Drops do not wait for the state directory, nor for a sysctl.
            Err(error @ (apply::Error::State(_) | apply::Error::Sysctl { .. })) if trouble.is_none() => {
                let error = Error::Apply(error);
                let wanted = Desired { sysctls: Vec::new(), ..wanted.clone() };
                let live = LiveState { journal: Vec::new(), ..live.clone() };
                let tables = crate::diff::diff(&wanted, &live);
                if tables.ops.is_empty() || wanted.approach != Approach::Nftables {
                    return self.failed(error);
                }
                return self.repair(&wanted, &tables, &live, &crate::vigil::matters(&tables), Some(error));
            }
            Err(error) => return self.failed(Error::Apply(error)),
        }
        self.repairs += 1;
        if trouble.is_none() {
            self.on_record = false;
            self.trouble = None;
            self.failure = None;
        }
        self.drift.clear();
        self.record = self.read_record();
        let fights = self.fights.repaired(now, matters, &self.suspects);
        let took = since.map(|since| now.since(since));
        let how = took.map_or_else(|| "repaired".to_owned(), |took| format!("repaired in {took} ms"));
        let mut notice = Notice::new(Level::Notice, Event::Repaired, self.told(diff, &how));
        notice.took_ms = took;
        let notice = notice.about(diff, &self.suspects);
        // In a fight it is the fight that is told of.
        if fights.iter().all(|fight| fight.is_new) {
            self.say(notice);
        }
        self.forget_suspects();
        if let Some(fight) = fights.into_iter().min_by_key(|fight| fight.pause) {
            self.tell_of(&fight);
        }
        if let Some(error) = trouble {
            return self.failed(error);
        }
        self.ready(diff)
    }

    fn tell_of(&mut self, fight: &Fight) {
        let message = format!(
            "{} keeps undoing {}: repaired {} times, and the next time not before {} s have passed",
            fight.writers,
            fight.matter,
            fight.repairs,
            fight.pause / 1_000
        );
        let mut notice = Notice::new(Level::Warning, Event::BackingOff, message);
        notice.writers = fight.writers.each().collect();
        self.say(notice);
        self.tell_status();
    }

    /// Who did what, what came of it, and which changes that means.
    fn told(&self, diff: &Diff, outcome: &str) -> String {
        let who = match (&self.story, self.standing == Standing::Starting) {
            (Some(story), _) => story.clone(),
            (None, true) => "not in place at the start".to_owned(),
            (None, false) if diff.ops.is_empty() => match guess(&diff.sysctls, &systemd::running(&KNOWN)) {
                Some(guess) => format!("sysctls were changed ({guess})"),
                None => "sysctls were changed by somebody".to_owned(),
            },
            (None, false) => format!("not what {} asks for", self.config.topology.file),
        };
        let counts =
            [(Action::Create, "to create"), (Action::Change, "to change"), (Action::Delete, "to delete")];
        let counts: Vec<String> = counts
            .into_iter()
            .map(|(action, words)| (diff.count(action), words))
            .filter(|(count, _)| *count > 0)
            .map(|(count, words)| format!("{count} {words}"))
            .collect();
        let changes = first_changes(diff);
        let more = diff.changes.len() - changes.len();
        let more = if more > 0 { format!(" and {more} more") } else { String::new() };
        format!("{who}; {outcome}: {} ({}{more})", counts.join(", "), changes.join(", "))
    }

    /// Before it is ready a failure ends it; then it is said, once while it lasts, and tried again.
    pub(super) fn failed(&mut self, error: Error) -> Result<(), Error> {
        if self.standing == Standing::Starting {
            return Err(error);
        }
        let failure = Failure::from_error(&error);
        let mut message = failure.message;
        for cause in failure.causes {
            message.push_str(": ");
            message.push_str(&cause);
        }
        let now = self.now();
        self.in_trouble(now);
        self.manager.status(&format!("Failed: {message}"));
        if self.failure.as_ref() != Some(&message) {
            self.line(Level::Error, Event::Failed, &message);
            self.failure = Some(message);
        }
        Ok(())
    }

    /// Whether a sysctl of the plan has another value than it should, and that is news.
    pub(super) fn compare_sysctls(&mut self) {
        let wanted = match self.standing {
            Standing::Starting => return,
            Standing::Held => match self.kept_while_held() {
                Some(wanted) => wanted.sysctls.clone(),
                None => return,
            },
            Standing::Keeping | Standing::Down => self.desired.sysctls.clone(),
        };
        let keys = wanted.iter().map(|sysctl| sysctl.key.clone());
        let now: BTreeMap<SysctlKey, String> = live::sysctls(keys, &[]).unwrap_or_default();
        let is_off = |sysctl: &&crate::approach::Sysctl| {
            now.get(&sysctl.key).is_some_and(|value| *value != sysctl.value)
        };
        let off = wanted.iter().filter(is_off);
        let off: BTreeSet<Matter> = off.map(|sysctl| Matter::Sysctl(sysctl.key.0.clone())).collect();
        let of_the_plan = |matter: &&Matter| {
            wanted.iter().any(|sysctl| matches!(matter, Matter::Sysctl(key) if *key == sysctl.key.0))
        };
        let differs = !off.iter().eq(self.drift.iter().filter(of_the_plan));
        if differs && self.standing != Standing::Down {
            let now: Moment = self.now();
            self.since.get_or_insert(now);
            self.burst.told(now);
        }
    }

    /// The state in a line, for `systemctl status`.
    pub(super) fn tell_status(&mut self) {
        let file = &self.config.topology.file;
        let status = match self.standing {
            Standing::Starting => return,
            Standing::Held => "Held: a change by isoplan waits to be confirmed".to_owned(),
            Standing::Down => {
                format!("Standing down: isoplan itself changed the policy to something else than {file}")
            }
            Standing::Keeping if self.config.report && !self.drift.is_empty() => {
                format!("Not in place: {file} (--report)")
            }
            Standing::Keeping => match self.fights.each().max_by_key(|fight| fight.repairs) {
                Some(fight) => format!(
                    "Backing off: {} keeps undoing {}, repaired {} times, at most every {} s",
                    fight.writers,
                    fight.matter,
                    fight.repairs,
                    fight.pause / 1_000
                ),
                None => format!("In place: {file}; {} repairs", self.repairs),
            },
        };
        self.manager.status(&status);
    }
}

/// The desired state without sysctls of interfaces that are not there: the rest is not to wait for them, and
/// they are written when the interface appears. With the connections that an apply kept open.
fn present(desired: &Desired, live: &LiveState) -> Desired {
    let mut desired = desired.clone();
    approach::keep(&mut desired, &Kept::in_place(live));
    desired.sysctls.retain(|sysctl| live.sysctls.contains_key(&sysctl.key));
    desired
}
