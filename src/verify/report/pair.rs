//! The matrix of `verify`: what was expected between two parties, what was seen, and both together.

use std::collections::BTreeMap;

use super::{Comparison, Tally, is_judged};
use crate::approach::Approach;
use crate::verify::outcome::Expected;
use crate::verify::probe::Probe;

/// Expected and observed between two parties, put together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Combined {
    /// Everything is as expected.
    AsExpected,
    /// Something arrived that must not.
    Leak,
    /// Something did not arrive that must.
    Broken,
    /// Nothing is against it, and something could not be tested.
    Untested,
    /// Blocked as expected, and nothing passes without rules either.
    Vacuous,
}

impl Combined {
    /// The word in JSON and in the table.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::AsExpected => "as expected",
            Self::Leak => "leak",
            Self::Broken => "broken",
            Self::Untested => "untested",
            Self::Vacuous => "shows nothing",
        }
    }
}

/// One line of the matrix.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pair {
    /// `docker0 -> eth1 (storage)`.
    pub what: String,
    /// `blocked`, `open`, or both with their numbers.
    pub expected: String,
    /// `blocked`, `open`, `one-way`, or what there was of each.
    pub observed: String,
    /// Both together.
    pub combined: Combined,
    /// How many probes it is made of.
    pub probes: usize,
}

/// `blocked`, or `4 blocked, 1 open` where there is more than one word.
fn words(counts: &[(&str, usize)]) -> String {
    let some: Vec<_> = counts.iter().filter(|(_, count)| *count > 0).collect();
    match some.as_slice() {
        [] => "-".to_owned(),
        [(word, _)] => (*word).to_owned(),
        several => {
            let several: Vec<_> = several.iter().map(|(word, count)| format!("{count} {word}")).collect();
            several.join(", ")
        }
    }
}

fn combined(tally: &Tally) -> Combined {
    match tally {
        tally if tally.leaks() > 0 => Combined::Leak,
        tally if tally.broken > 0 => Combined::Broken,
        tally if tally.could_not_test > 0 => Combined::Untested,
        tally if tally.telling() == 0 => Combined::Vacuous,
        _ => Combined::AsExpected,
    }
}

impl Comparison {
    /// The matrix of one approach: pairs of parties with judged probes, in the order of the probes.
    pub fn pairs(&self, approach: Approach) -> Vec<Pair> {
        let mut places: BTreeMap<&str, usize> = BTreeMap::new();
        let mut pairs: Vec<(&str, Vec<&Probe>)> = Vec::new();
        for probe in self.probes.iter().filter(|probe| is_judged(probe)) {
            let place = *places.entry(&probe.pair).or_insert(pairs.len());
            if place == pairs.len() {
                pairs.push((&probe.pair, Vec::new()));
            }
            pairs[place].1.push(probe);
        }
        pairs.into_iter().map(|(name, probes)| self.pair(name, &probes, approach)).collect()
    }

    fn pair(&self, name: &str, probes: &[&Probe], approach: Approach) -> Pair {
        let tally = self.tally(probes.iter().copied(), approach);
        let blocked = probes.iter().filter(|probe| probe.expected == Expected::Blocked).count();
        Pair {
            what: name.to_owned(),
            expected: words(&[("blocked", blocked), ("open", probes.len() - blocked)]),
            observed: words(&[
                ("open", tally.works + tally.open),
                ("one-way", tally.one_way),
                ("blocked", tally.held + tally.broken + tally.vacuous),
                ("untested", tally.could_not_test),
            ]),
            combined: combined(&tally),
            probes: probes.len(),
        }
    }
}
