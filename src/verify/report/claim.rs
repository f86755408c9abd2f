//! What became of the claims of an approach in this run.

use super::Comparison;
use crate::approach::Approach;
use crate::verify::guarantee::{Guarantee, Hole, guarantees, holes};
use crate::verify::outcome::{Sighting, Verdict};
use crate::verify::pattern::fits;
use crate::verify::probe::Probe;

/// What an approach claims, and what it is known not to stop.
#[derive(Debug, Clone, Copy, Default)]
pub struct Claims {
    /// What it claims.
    pub guarantees: &'static [Guarantee],
    /// What it does not stop.
    pub holes: &'static [Hole],
}

impl Claims {
    /// What is written down for an approach.
    pub fn of(approach: Approach) -> Self {
        Self { guarantees: guarantees(approach), holes: holes(approach) }
    }
}

/// Whether packets bear a guarantee out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ClaimStatus {
    /// Every probe that backs it held or works, and all of them could be tested.
    Confirmed,
    /// These probes show the opposite.
    Contradicted(Vec<String>),
    /// Neither, and why.
    NotShown(String),
}

impl ClaimStatus {
    /// The word in JSON.
    pub const fn as_str(&self) -> &'static str {
        match self {
            Self::Confirmed => "confirmed",
            Self::Contradicted(_) => "contradicted",
            Self::NotShown(_) => "not-shown",
        }
    }
}

/// A guarantee, and what packets say of it.
#[derive(Debug, Clone)]
pub struct Claimed {
    /// What is claimed.
    pub guarantee: Guarantee,
    /// What was seen.
    pub status: ClaimStatus,
    /// How many probes held or work as it says.
    pub confirmed: usize,
}

/// A hole, and what went through it.
#[derive(Debug, Clone)]
pub struct Shown<'c> {
    /// What is not stopped.
    pub hole: Hole,
    /// The probes that arrived or broke, each with where it was seen.
    pub probes: Vec<(&'c Probe, Option<&'c Sighting>)>,
    /// Whether a probe that belongs to it was left out by the user.
    pub is_left_out: bool,
}

fn fits_any(patterns: &[&str], name: &str) -> bool {
    patterns.iter().any(|pattern| fits(pattern, name))
}

impl Comparison {
    fn claims_of(&self, approach: Approach) -> Claims {
        self.claims.get(&approach).copied().unwrap_or_default()
    }

    /// What an approach guarantees, and whether this run bears it out.
    pub fn guarantees(&self, approach: Approach) -> Vec<Claimed> {
        self.claims_of(approach)
            .guarantees
            .iter()
            .map(|guarantee| self.claimed(*guarantee, approach))
            .collect()
    }

    fn claimed(&self, guarantee: Guarantee, approach: Approach) -> Claimed {
        let backing = self.probes.iter().filter(|probe| fits_any(guarantee.probes, &probe.name));
        let (mut confirmed, mut unknown, mut against) = (0, 0, Vec::new());
        for probe in backing {
            match self.verdict(approach, probe) {
                Verdict::Held | Verdict::Works => confirmed += 1,
                Verdict::Leak | Verdict::Broken => against.push(probe.name.clone()),
                Verdict::CouldNotTest => unknown += 1,
                Verdict::Vacuous | Verdict::Residual | Verdict::Unjudged => {}
            }
        }
        let left_out = self.left_out.iter().filter(|name| fits_any(guarantee.probes, name)).count();
        let status = if !against.is_empty() {
            ClaimStatus::Contradicted(against)
        } else if unknown > 0 {
            ClaimStatus::NotShown(format!("{unknown} of its probes could not be tested"))
        } else if left_out > 0 {
            ClaimStatus::NotShown(match left_out {
                1 => "1 of its probes was left out of this run".to_owned(),
                more => format!("{more} of its probes were left out of this run"),
            })
        } else if confirmed == 0 {
            ClaimStatus::NotShown("no probe on this topology tells".to_owned())
        } else {
            ClaimStatus::Confirmed
        };
        Claimed { guarantee, status, confirmed }
    }

    /// What an approach does not stop, and the probes of this run that show it.
    pub fn holes(&self, approach: Approach) -> Vec<Shown<'_>> {
        let shown = |hole: &Hole| {
            let found = self.probes.iter().filter(|probe| fits_any(hole.probes, &probe.name));
            let found = found.filter(|probe| self.is_hole(approach, probe));
            Shown {
                hole: *hole,
                probes: found.map(|probe| (probe, self.sighting(approach, probe))).collect(),
                is_left_out: self.left_out.iter().any(|name| fits_any(hole.probes, name)),
            }
        };
        self.claims_of(approach).holes.iter().map(shown).collect()
    }

    /// Whether a probe shows that something is not as one would want it: also a residual that gets through.
    fn is_hole(&self, approach: Approach, probe: &Probe) -> bool {
        match self.verdict(approach, probe) {
            Verdict::Leak | Verdict::Broken => true,
            Verdict::Residual | Verdict::Unjudged => {
                self.observation(approach, probe).is_some_and(|seen| seen.outcome.arrived())
            }
            Verdict::Held | Verdict::Works | Verdict::Vacuous | Verdict::CouldNotTest => false,
        }
    }

    /// Leaks that no hole of the approach speaks of.
    pub fn unexplained(&self, approach: Approach) -> Vec<&Probe> {
        let known = self.claims_of(approach).holes;
        let mut probes = self.leaks(approach);
        probes.retain(|probe| !known.iter().any(|hole| fits_any(hole.probes, &probe.name)));
        probes
    }

    /// Where the packet of a probe was seen first.
    pub fn sighting(&self, approach: Approach, probe: &Probe) -> Option<&Sighting> {
        self.observation(approach, probe)?.seen.first()
    }
}
