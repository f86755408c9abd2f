//! Observations put together: the table of `compare`, the matrix of `verify`.

use std::collections::BTreeMap;

use super::outcome::{Observation, Verdict};
use super::probe::Probe;
use super::question::Question;
use crate::approach::Approach;

/// What was observed under one approach, by the name of the probe.
pub type Observed = BTreeMap<String, Observation>;

/// All that `compare` has seen.
#[derive(Debug, Clone)]
pub struct Comparison {
    /// The file.
    pub topology: String,
    /// The approach that the topology names.
    pub chosen: Approach,
    /// The columns, in order.
    pub approaches: Vec<Approach>,
    /// Every probe that was sent, in order.
    pub probes: Vec<Probe>,
    /// By approach; `none` is always there.
    pub observed: BTreeMap<Approach, Observed>,
}

/// What a cell of the table says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Cell {
    /// Nothing arrives, and it does under `none`.
    Blocked,
    /// Something arrives that gets no answer, where under `none` it does.
    OneWay,
    /// Something arrives, and is answered where it would be. For what must work: it works.
    Open,
    /// What must work does not.
    Broken,
    /// Nothing is known, for want of a probe that tells.
    Untested,
}

impl Comparison {
    /// The verdict of a probe under an approach.
    pub fn verdict(&self, approach: Approach, probe: &Probe) -> Verdict {
        let of = |approach| self.observed.get(&approach).and_then(|observed| observed.get(&probe.name));
        let under_none = of(Approach::None).map(|observation| &observation.outcome);
        match of(approach) {
            Some(observation) => Verdict::of(probe.expected, &observation.outcome, under_none),
            None => Verdict::CouldNotTest,
        }
    }

    /// A cell of the table.
    pub fn cell(&self, _question: Question, _approach: Approach) -> Cell {
        todo!()
    }
}
