//! From packets that were seen, or not, to an outcome.

use super::super::frame::Id;
use super::trial::Trial;
use super::{Prober, Stop};
use crate::verify::outcome::Outcome;

impl Prober {
    /// Whether what was sent has arrived; `behind` is the frame that was sent behind it on the sender's link.
    pub(super) fn has_arrived(&mut self, trial: &mut Trial<'_>, behind: Option<Id>) -> Result<bool, Stop> {
        self.settle(trial)?;
        let vantage = &trial.probe.vantage;
        self.drain(trial, vantage);
        if trial.has_arrived() {
            return Ok(true);
        }
        if let Some(id) = behind
            && !trial.has_passed(id)
        {
            let name = &trial.lab.world.node(trial.probe.sender).name;
            return Err(Stop::Lost(format!("what {name} sends does not come in at the host")));
        }
        self.check_captures(trial, vantage)?;
        // What was late is behind nothing now.
        Ok(trial.has_arrived())
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
        let sender = [trial.probe.sender];
        self.servers.serve();
        self.settle(trial)?;
        self.drain(trial, &sender);
        if !trial.is_answered() {
            self.check_captures(trial, &sender).map_err(|stop| match stop {
                Stop::Cannot(why) => {
                    Stop::Cannot(format!("it arrived; whether it is answered is not known: {why}"))
                }
                Stop::Lost(why) => {
                    Stop::Lost(format!("it arrived; whether it is answered is not known: {why}"))
                }
            })?;
        }
        Ok(if trial.is_answered() { Outcome::Answered } else { Outcome::Delivered })
    }
}
