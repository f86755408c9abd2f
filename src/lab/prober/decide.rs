//! From packets that were seen, or not, to an outcome.

use super::super::frame::Id;
use super::settle::overruns;
use super::trial::Trial;
use super::{Prober, Stop};
use crate::verify::outcome::Outcome;

impl Prober {
    /// Whether what was sent has arrived; `behind` is the frame that was sent behind it on the sender's link.
    pub(super) fn has_arrived(&mut self, trial: &mut Trial<'_>, behind: Option<Id>) -> Result<bool, Stop> {
        self.settle(trial)?;
        let drained = self.drain_surely(trial, &trial.probe.vantage);
        if trial.has_arrived() {
            return Ok(true);
        }
        if let Some(id) = behind
            && !trial.has_passed(id)
        {
            let name = &trial.lab.world.node(trial.probe.sender).name;
            return Err(Stop::Lost(format!("what {name} sends does not come in at the host")));
        }
        drained?;
        let before = std::mem::replace(&mut self.overruns, overruns(self.cpu));
        if before != self.overruns {
            return Err(Stop::Lost("the kernel threw packets away: its backlog was full".to_owned()));
        }
        Ok(false)
    }

    /// The outcome of a packet that was sent, and that somebody may answer.
    pub(super) fn decide(&mut self, trial: &mut Trial<'_>, behind: Option<Id>) -> Result<Outcome, Stop> {
        if !self.has_arrived(trial, behind)? {
            return Ok(Outcome::Blocked);
        }
        self.decide_answer(trial)
    }

    /// The outcome of a packet that has arrived.
    pub(super) fn decide_answer(&mut self, trial: &mut Trial<'_>) -> Result<Outcome, Stop> {
        if !trial.probe.is_answerable {
            return Ok(Outcome::Delivered);
        }
        self.servers.serve();
        self.settle(trial)?;
        let drained = self.drain_surely(trial, &[trial.probe.sender]);
        if trial.is_answered() {
            return Ok(Outcome::Answered);
        }
        let unknown = |why| format!("it arrived; whether it is answered is not known: {why}");
        drained.map(|()| Outcome::Delivered).map_err(|stop| match stop {
            Stop::Cannot(why) => Stop::Cannot(unknown(why)),
            Stop::Lost(why) => Stop::Lost(unknown(why)),
        })
    }
}
