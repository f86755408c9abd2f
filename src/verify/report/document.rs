//! From what was seen to the documents.

use super::json::{
    ApproachJson, CellJson, ComparisonJson, GuaranteeJson, HoleJson, LeakJson, PairJson, ProbeJson,
    QuestionJson, ResultJson, UntestedJson, VerificationJson, WitnessJson,
};
use super::{Cell, ClaimStatus, Comparison, Conclusion, is_judged, words};
use crate::approach::Approach;
use crate::plan::JSON_VERSION;
use crate::verify::outcome::{Outcome, Verdict};
use crate::verify::probe::Probe;
use crate::verify::question::Question;

impl Comparison {
    /// The document of `compare`.
    pub fn json(&self) -> ComparisonJson<'_> {
        ComparisonJson {
            version: JSON_VERSION,
            kind: "compare",
            topology: &self.topology,
            chosen: self.chosen.as_str(),
            approaches: self.approaches.iter().map(|approach| approach.as_str()).collect(),
            left_out: self.left_out.len(),
            samples: &self.samples,
            questions: self.questions().into_iter().map(|question| self.question_json(question)).collect(),
            results: self.approaches.iter().map(|approach| self.approach_json(*approach)).collect(),
            probes: self.probes.iter().map(|probe| self.probe_json(probe, &self.approaches)).collect(),
        }
    }

    /// The document of `verify`. `again` has a command for a probe.
    pub fn verification_json(&self, again: impl Fn(&Probe) -> Option<String>) -> VerificationJson<'_> {
        let approach = self.chosen;
        let bad = |probe: &&Probe| matches!(self.verdict(approach, probe), Verdict::Leak | Verdict::Broken);
        let pairs = self.pairs(approach).into_iter().map(|pair| PairJson {
            pair: pair.what,
            expected: pair.expected,
            observed: pair.observed,
            combined: pair.combined.as_str(),
            probes: pair.probes,
        });
        let leaks = self.probes.iter().filter(bad).map(|probe| LeakJson {
            probe: &probe.name,
            verdict: words::verdict(self.verdict(approach, probe)),
            again: again(probe),
        });
        let both = [Approach::None, approach];
        VerificationJson {
            version: JSON_VERSION,
            kind: "verify",
            topology: &self.topology,
            left_out: self.left_out.len(),
            samples: &self.samples,
            result: self.approach_json(approach),
            pairs: pairs.collect(),
            leaks: leaks.collect(),
            probes: self.probes.iter().map(|probe| self.probe_json(probe, &both)).collect(),
        }
    }

    fn question_json(&self, question: Question) -> QuestionJson {
        let judged = self.is_judged(question);
        let cells = self.approaches.iter().map(|approach| {
            let answer = self.answer(question, *approach);
            let cell = answer.cell;
            let is_known = !matches!(cell, Cell::Untested | Cell::PartlyTested | Cell::AsBefore);
            let is_asked = judged && *approach != Approach::None && is_known;
            CellJson {
                approach: approach.as_str(),
                cell: cell.as_str(),
                as_intended: is_asked.then_some(!cell.is_bad()),
                family: answer.family.filter(|_| is_asked).map(|family| family.to_string()),
                counts: self.tally(self.probes_of(question), *approach).into(),
            }
        });
        QuestionJson {
            question: words::question(question),
            text: question.text(),
            judged,
            probes: self.probes_of(question).count(),
            cells: cells.collect(),
        }
    }

    fn approach_json(&self, approach: Approach) -> ApproachJson<'_> {
        let conclusion = self.conclusion(approach);
        ApproachJson {
            approach: approach.as_str(),
            conclusion: (approach != Approach::None).then_some(Conclusion::as_str(conclusion)),
            counts: self.total(approach).into(),
            guarantees: self.guarantees_json(approach),
            holes: self.holes_json(approach),
            unexplained: match approach {
                Approach::None => Vec::new(),
                _ => self.unexplained(approach).into_iter().map(|probe| probe.name.as_str()).collect(),
            },
            untested: self.untested_json(approach),
        }
    }

    fn untested_json(&self, approach: Approach) -> Vec<UntestedJson<'_>> {
        let untested = self.untested(approach);
        untested.into_iter().map(|(probe, why)| UntestedJson { probe: &probe.name, why }).collect()
    }

    fn guarantees_json(&self, approach: Approach) -> Vec<GuaranteeJson> {
        let claimed = self.guarantees(approach).into_iter().map(|claimed| GuaranteeJson {
            says: claimed.guarantee.says,
            status: claimed.status.as_str(),
            confirmed: claimed.confirmed,
            why: match &claimed.status {
                ClaimStatus::NotShown(why) => Some(why.clone()),
                _ => None,
            },
            contradicted_by: match claimed.status {
                ClaimStatus::Contradicted(probes) => probes,
                _ => Vec::new(),
            },
        });
        claimed.collect()
    }

    fn holes_json(&self, approach: Approach) -> Vec<HoleJson<'_>> {
        let holes = self.holes(approach).into_iter().map(|shown| HoleJson {
            says: shown.hole.says,
            why: shown.hole.why,
            shown: !shown.probes.is_empty(),
            judged: shown.probes.iter().any(|(probe, _)| is_judged(probe)),
            left_out: shown.is_left_out,
            shown_by: shown
                .probes
                .into_iter()
                .map(|(probe, seen)| WitnessJson {
                    probe: &probe.name,
                    seen,
                    as_host: seen.is_some_and(|seen| self.host_addresses.contains(&seen.source)),
                })
                .collect(),
        });
        holes.collect()
    }

    fn probe_json<'c>(&'c self, probe: &'c Probe, approaches: &[Approach]) -> ProbeJson<'c> {
        let node = |place: usize| self.nodes.get(place).map_or("?", String::as_str);
        ProbeJson {
            probe: &probe.name,
            entry: probe.entry,
            class: words::class(probe.class),
            question: words::question(probe.question),
            pair: &probe.pair,
            threat: probe.threat,
            family: probe.family.to_string(),
            sender: node(probe.sender.0),
            sending: words::sending(&probe.sending),
            vantage: probe.vantage.iter().map(|place| node(place.0)).collect(),
            expected: words::expected(probe.expected),
            change: probe.change.map(|change| change.as_str()),
            results: approaches.iter().map(|approach| self.result_json(probe, *approach)).collect(),
        }
    }

    fn result_json<'c>(&'c self, probe: &Probe, approach: Approach) -> ResultJson<'c> {
        let seen = self.observation(approach, probe);
        let verdict = words::verdict(self.verdict(approach, probe));
        let cell = self.probe_cell(approach, probe).as_str();
        let mut result = ResultJson {
            approach: approach.as_str(),
            verdict,
            cell,
            outcome: "could-not-test",
            why: Some("it was not sent"),
            sent: "",
            came_in: None,
            left_by: &[],
            seen: &[],
            as_host: false,
            decided_by: &[],
        };
        if let Some(seen) = seen {
            result.outcome = words::outcome(&seen.outcome);
            result.why = match &seen.outcome {
                Outcome::CouldNotTest(why) => Some(why),
                _ => None,
            };
            result.sent = &seen.sent;
            result.came_in = seen.came_in.as_deref();
            result.left_by = &seen.left_by;
            result.seen = &seen.seen;
            result.as_host = seen.seen.iter().any(|seen| self.host_addresses.contains(&seen.source));
            result.decided_by = &seen.decided_by;
        }
        result
    }
}
