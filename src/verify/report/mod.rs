//! Observations put together: the table of `compare`, the matrix of `verify`, what became of each claim.

mod claim;
mod document;
mod json;
mod pair;
mod words;

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

pub use claim::{ClaimStatus, Claimed, Claims, Shown};
pub use json::{
    ApproachJson, CellJson, ComparisonJson, CountsJson, GuaranteeJson, HoleJson, LeakJson, PairJson,
    ProbeJson, QuestionJson, ResultJson, UntestedJson, VerificationJson, WitnessJson,
};
pub use pair::{Combined, Pair};

use super::outcome::{Expected, Observation, Outcome, Verdict};
use super::probe::Probe;
use super::question::Question;
use crate::approach::Approach;
use crate::intent::IpFamily;

/// What was observed under one approach, by the name of the probe.
pub type Observed = BTreeMap<String, Observation>;

/// All that `compare` or `verify` has seen.
#[derive(Debug, Clone)]
pub struct Comparison {
    /// The file.
    pub topology: String,
    /// The approach that the topology names; for `verify` the one that is verified.
    pub chosen: Approach,
    /// The columns, in order.
    pub approaches: Vec<Approach>,
    /// Every probe that was sent, in order.
    pub probes: Vec<Probe>,
    /// Names of probes of the catalogue that were not sent, because the user left them out.
    pub left_out: Vec<String>,
    /// What the probes are a sample of, one sentence each.
    pub samples: Vec<String>,
    /// Names of the lab's nodes, by place.
    pub nodes: Vec<String>,
    /// The host's own addresses, on all its links.
    pub host_addresses: BTreeSet<IpAddr>,
    /// By approach.
    pub claims: BTreeMap<Approach, Claims>,
    /// By approach; `none` is always there.
    pub observed: BTreeMap<Approach, Observed>,
}

/// What a cell of the table says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Cell {
    /// Nothing arrives, and it does under `none`.
    Blocked,
    /// What must work does.
    Works,
    /// After a change of the host: what was open before it is open, and nothing else.
    AsBefore,
    /// Blocked or working, as far as it could be tested: at least one probe could not.
    PartlyTested,
    /// Nothing is known, for want of a probe that tells.
    Untested,
    /// What must work does not.
    Broken,
    /// Something arrives that gets no answer, where an answer could come back.
    OneWay,
    /// Something arrives, and is answered where it can be.
    Open,
}

impl Cell {
    /// Every word, from best to worst.
    pub const WORDS: [&'static str; 8] = [
        Self::Blocked.as_str(),
        Self::Works.as_str(),
        Self::AsBefore.as_str(),
        Self::PartlyTested.as_str(),
        Self::Untested.as_str(),
        Self::Broken.as_str(),
        Self::OneWay.as_str(),
        Self::Open.as_str(),
    ];

    /// The word in JSON and in the attributes of the page.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Blocked => "blocked",
            Self::Works => "works",
            Self::AsBefore => "as-before",
            Self::PartlyTested => "partly-tested",
            Self::Untested => "untested",
            Self::Broken => "broken",
            Self::OneWay => "one-way",
            Self::Open => "open",
        }
    }

    /// Whether it is not what was asked for, in a row that is judged.
    pub const fn is_bad(self) -> bool {
        matches!(self, Self::Broken | Self::OneWay | Self::Open)
    }
}

/// What a row says of an approach.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Answer {
    /// The worst of the row's probes.
    pub cell: Cell,
    /// The family that it is so bad in, where the other one is as it should be.
    pub family: Option<IpFamily>,
}

/// How many probes came to what.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Tally {
    /// [`Verdict::Held`].
    pub held: usize,
    /// [`Verdict::Works`].
    pub works: usize,
    /// [`Verdict::Leak`] that was answered, or that nobody could answer.
    pub open: usize,
    /// [`Verdict::Leak`] without the answer that could have come back.
    pub one_way: usize,
    /// [`Verdict::Broken`].
    pub broken: usize,
    /// [`Verdict::Vacuous`].
    pub vacuous: usize,
    /// [`Verdict::CouldNotTest`] of a probe that is judged.
    pub could_not_test: usize,
    /// Not judged: [`Verdict::Residual`] and [`Verdict::Unjudged`].
    pub not_judged: usize,
}

impl Tally {
    /// How many leak.
    pub const fn leaks(&self) -> usize {
        self.open + self.one_way
    }

    /// How many show something: the packet arrived, or was held back where it would have.
    pub const fn telling(&self) -> usize {
        self.held + self.works + self.leaks() + self.broken
    }

    /// Whether something is shown, and nothing bad.
    const fn is_good(&self) -> bool {
        self.telling() > 0 && self.leaks() + self.broken == 0
    }

    /// How many have something that is expected of them.
    pub const fn judged(&self) -> usize {
        self.telling() + self.vacuous + self.could_not_test
    }
}

/// What all probes together say of an approach.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Conclusion {
    /// No leak, nothing broken, and everything could be tested.
    Holds,
    /// A leak, or something that must work does not.
    Leaks,
    /// Neither is known: a probe could not be tested, or none tells anything.
    Unknown,
}

impl Conclusion {
    /// The word in JSON.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Holds => "holds",
            Self::Leaks => "leaks",
            Self::Unknown => "unknown",
        }
    }
}

impl Comparison {
    /// What was seen of a probe under an approach.
    pub fn observation(&self, approach: Approach, probe: &Probe) -> Option<&Observation> {
        self.observed.get(&approach)?.get(&probe.name)
    }

    /// The verdict of a probe under an approach.
    pub fn verdict(&self, approach: Approach, probe: &Probe) -> Verdict {
        let under_none = self.observation(Approach::None, probe).map(|observation| &observation.outcome);
        match self.observation(approach, probe) {
            Some(observation) => Verdict::of(probe.expected, &observation.outcome, under_none),
            None => Verdict::CouldNotTest,
        }
    }

    /// How one probe alone would look in the table.
    pub fn probe_cell(&self, approach: Approach, probe: &Probe) -> Cell {
        self.cell_of(&self.tally([probe], approach), [probe], approach)
    }

    /// What probes came to under an approach.
    pub fn tally<'p>(&self, probes: impl IntoIterator<Item = &'p Probe>, approach: Approach) -> Tally {
        let mut tally = Tally::default();
        for probe in probes {
            let count = match self.verdict(approach, probe) {
                Verdict::Held => &mut tally.held,
                Verdict::Works => &mut tally.works,
                Verdict::Leak if self.is_one_way(approach, probe) => &mut tally.one_way,
                Verdict::Leak => &mut tally.open,
                Verdict::Broken => &mut tally.broken,
                Verdict::Vacuous => &mut tally.vacuous,
                Verdict::CouldNotTest if is_judged(probe) => &mut tally.could_not_test,
                Verdict::CouldNotTest | Verdict::Residual | Verdict::Unjudged => &mut tally.not_judged,
            };
            *count += 1;
        }
        tally
    }

    /// Whether a probe arrived without the answer that it could have had.
    fn is_one_way(&self, approach: Approach, probe: &Probe) -> bool {
        let outcome = self.observation(approach, probe).map(|observation| &observation.outcome);
        probe.is_answerable && outcome == Some(&Outcome::Delivered)
    }

    /// What all judged probes came to under an approach.
    pub fn total(&self, approach: Approach) -> Tally {
        self.tally(&self.probes, approach)
    }

    /// The rows that have a probe, in the order of the table.
    pub fn questions(&self) -> Vec<Question> {
        let mut questions = Question::all();
        questions.retain(|question| self.probes_of(*question).next().is_some());
        questions
    }

    /// The probes that count for a row.
    pub fn probes_of(&self, question: Question) -> impl Iterator<Item = &Probe> {
        self.probes.iter().filter(move |probe| probe.question == question)
    }

    /// Whether something is expected of a row; otherwise it is shown and not judged.
    pub fn is_judged(&self, question: Question) -> bool {
        self.probes_of(question).any(is_judged)
    }

    /// A cell of the table.
    ///
    /// After a change of the host, a probe that fares as badly without the change tells nothing of the change:
    /// where there is nothing worse, the cell is [`Cell::AsBefore`].
    pub fn answer(&self, question: Question, approach: Approach) -> Answer {
        let all: Vec<&Probe> = self.probes_of(question).collect();
        let (before, telling): (Vec<&Probe>, Vec<&Probe>) =
            all.iter().partition(|probe| self.is_as_before(approach, probe));
        let tally = self.tally(telling.iter().copied(), approach);
        let cell = match self.cell_of(&tally, telling.iter().copied(), approach) {
            // What is left may be nothing at all.
            cell if !before.is_empty() && (telling.is_empty() || cell < Cell::PartlyTested) => Cell::AsBefore,
            // Where both are asked for, `works` says that both are so.
            Cell::Blocked
                if matches!(question, Question::Exceptions | Question::Works) && tally.works > 0 =>
            {
                Cell::Works
            }
            cell => cell,
        };
        let of_family = |family| {
            let probes = telling.iter().copied().filter(move |probe| probe.family == family);
            self.tally(probes, approach)
        };
        let [v4, v6] = IpFamily::BOTH.map(of_family);
        let family = match cell.is_bad() && self.is_judged(question) {
            true if v4.is_good() && !v6.is_good() => Some(IpFamily::V6),
            true if v6.is_good() && !v4.is_good() => Some(IpFamily::V4),
            _ => None,
        };
        Answer { cell, family }
    }

    /// Whether a probe that follows a change of the host fares badly, and no worse than without the change.
    fn is_as_before(&self, approach: Approach, probe: &Probe) -> bool {
        let is_bad = |probe| matches!(self.verdict(approach, probe), Verdict::Leak | Verdict::Broken);
        if approach == Approach::None || probe.change.is_none() || !is_bad(probe) {
            return false;
        }
        let base = probe.name.split('+').next();
        let is_named_so = |other: &&Probe| Some(other.name.as_str()) == base;
        // An entry may have another name after a change.
        let is_same = |other: &&Probe| {
            other.change.is_none()
                && (other.sender, &other.vantage, &other.sending)
                    == (probe.sender, &probe.vantage, &probe.sending)
        };
        let before = self.probes.iter().find(is_named_so).or_else(|| self.probes.iter().find(is_same));
        before.is_some_and(|before| {
            is_bad(before) && self.probe_cell(approach, before) >= self.probe_cell(approach, probe)
        })
    }

    fn cell_of<'p>(
        &self,
        tally: &Tally,
        probes: impl IntoIterator<Item = &'p Probe>,
        approach: Approach,
    ) -> Cell {
        if tally.judged() == 0 {
            let cells = probes.into_iter().map(|probe| match self.observation(approach, probe) {
                Some(seen) if self.is_one_way(approach, probe) && seen.outcome.arrived() => Cell::OneWay,
                Some(seen) if seen.outcome.arrived() => Cell::Open,
                Some(seen) if seen.outcome == Outcome::Blocked => Cell::Blocked,
                Some(_) | None => Cell::Untested,
            });
            return cells.max().unwrap_or(Cell::Untested);
        }
        match tally {
            tally if tally.open > 0 => Cell::Open,
            tally if tally.one_way > 0 => Cell::OneWay,
            tally if tally.broken > 0 => Cell::Broken,
            tally if tally.telling() == 0 => Cell::Untested,
            tally if tally.could_not_test > 0 => Cell::PartlyTested,
            tally if tally.held > 0 => Cell::Blocked,
            _ => Cell::Works,
        }
    }

    /// The probes with a verdict under an approach, in the order of sending.
    pub fn with_verdict(&self, approach: Approach, verdict: Verdict) -> Vec<&Probe> {
        self.probes.iter().filter(|probe| self.verdict(approach, probe) == verdict).collect()
    }

    /// Probes that were to be blocked and arrived.
    pub fn leaks(&self, approach: Approach) -> Vec<&Probe> {
        self.with_verdict(approach, Verdict::Leak)
    }

    /// Judged probes of which nothing is known, with the reason.
    pub fn untested(&self, approach: Approach) -> Vec<(&Probe, &str)> {
        let probes = self.with_verdict(approach, Verdict::CouldNotTest);
        let why = |approach, probe| match self.observation(approach, probe).map(|seen| &seen.outcome) {
            Some(Outcome::CouldNotTest(why)) => Some(why.as_str()),
            Some(_) => None,
            None => Some("it was not sent"),
        };
        probes
            .into_iter()
            .filter(|probe| is_judged(probe))
            .map(|probe| {
                let own = why(approach, probe);
                let without = || why(Approach::None, probe).unwrap_or("nothing is known without rules");
                (probe, own.unwrap_or_else(without))
            })
            .collect()
    }

    /// What all probes together say of an approach. Nothing is claimed for `none`, and its answer means that
    /// the lab lets packets through.
    pub fn conclusion(&self, approach: Approach) -> Conclusion {
        let total = self.total(approach);
        if total.leaks() + total.broken > 0 {
            Conclusion::Leaks
        } else if total.could_not_test > 0 || total.telling() == 0 {
            Conclusion::Unknown
        } else {
            Conclusion::Holds
        }
    }
}

/// Whether something is expected of a probe.
pub const fn is_judged(probe: &Probe) -> bool {
    matches!(probe.expected, Expected::Blocked | Expected::Answered | Expected::Delivered)
}
