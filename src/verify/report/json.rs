//! The documents of `compare --json` and `verify --json` (docs/json.md). The text, the Markdown and the page are
//! made from the same values, so that they cannot say anything else.

use schemars::JsonSchema;
use serde::Serialize;

use super::{Cell, Tally};
use crate::verify::outcome::Sighting;

/// `isoplan compare --json`.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub struct ComparisonJson<'c> {
    /// [`crate::plan::JSON_VERSION`].
    pub version: u32,
    /// `compare`.
    pub kind: &'static str,
    /// The file.
    pub topology: &'c str,
    /// The approach that the file names.
    pub chosen: &'static str,
    /// The columns.
    pub approaches: Vec<&'static str>,
    /// How many probes of the catalogue were not sent, because the user left them out.
    pub left_out: usize,
    /// What the probes are a sample of, one sentence each; empty where every pair was looked at in full.
    pub samples: &'c [String],
    /// The rows.
    pub questions: Vec<QuestionJson>,
    /// By approach: what all probes came to, and its claims.
    pub results: Vec<ApproachJson<'c>>,
    /// Every probe that was sent.
    pub probes: Vec<ProbeJson<'c>>,
}

/// A row of the table.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub struct QuestionJson {
    /// `send-to-guarded`, `after-nic-down`.
    pub question: String,
    /// As the table asks it.
    pub text: &'static str,
    /// Whether anything is expected; false for known residuals.
    pub judged: bool,
    /// How many probes count for it.
    pub probes: usize,
    /// By column.
    pub cells: Vec<CellJson>,
}

/// A cell of the table.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub struct CellJson {
    /// The column.
    pub approach: &'static str,
    /// `blocked`, `works`, `one-way`, `open`, `broken`, `as-before`, `untested` or `partly-tested`.
    #[schemars(extend("enum" = Cell::WORDS))]
    pub cell: &'static str,
    /// Whether it is what the topology asks for; absent where nothing is asked or nothing is known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub as_intended: Option<bool>,
    /// `IPv4` or `IPv6` where only this one is not as intended.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub family: Option<String>,
    /// What it is made of.
    pub counts: CountsJson,
}

/// How many probes came to what.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, JsonSchema)]
pub struct CountsJson {
    /// Blocked as expected, and not without rules.
    pub held: usize,
    /// Arrived as expected.
    pub works: usize,
    /// Arrived, and must not.
    pub leaks: usize,
    /// Did not arrive, and must.
    pub broken: usize,
    /// Blocked as expected, and without rules as well.
    pub vacuous: usize,
    /// Judged, and nothing is known.
    pub could_not_test: usize,
    /// Nothing is expected of them.
    pub not_judged: usize,
}

impl From<Tally> for CountsJson {
    fn from(tally: Tally) -> Self {
        Self {
            held: tally.held,
            works: tally.works,
            leaks: tally.leaks(),
            broken: tally.broken,
            vacuous: tally.vacuous,
            could_not_test: tally.could_not_test,
            not_judged: tally.not_judged,
        }
    }
}

/// What all probes say of one approach.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub struct ApproachJson<'c> {
    /// Which.
    pub approach: &'static str,
    /// `holds`, `leaks` or `unknown`; for `none` absent, for it claims nothing.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(extend("enum" = ["holds", "leaks", "unknown"]))]
    pub conclusion: Option<&'static str>,
    /// In all.
    pub counts: CountsJson,
    /// What it claims.
    pub guarantees: Vec<GuaranteeJson>,
    /// What it is known not to stop.
    pub holes: Vec<HoleJson<'c>>,
    /// Probes that leak and that none of the holes speaks of.
    pub unexplained: Vec<&'c str>,
    /// Judged probes of which nothing is known.
    pub untested: Vec<UntestedJson<'c>>,
}

/// A probe of which nothing is known.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub struct UntestedJson<'c> {
    /// Its name.
    pub probe: &'c str,
    /// Why.
    pub why: &'c str,
}

/// A claim.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub struct GuaranteeJson {
    /// In one sentence.
    pub says: &'static str,
    /// `confirmed`, `contradicted` or `not-shown`.
    #[schemars(extend("enum" = ["confirmed", "contradicted", "not-shown"]))]
    pub status: &'static str,
    /// How many probes bear it out.
    pub confirmed: usize,
    /// Probes that show the opposite.
    pub contradicted_by: Vec<String>,
    /// Why it is not shown.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub why: Option<String>,
}

/// What an approach does not stop.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub struct HoleJson<'c> {
    /// In one sentence.
    pub says: &'static str,
    /// The reason, in one line.
    pub why: &'static str,
    /// Whether this run shows it.
    pub shown: bool,
    /// Whether something that shows it is not as the topology asks; false for known residuals.
    pub judged: bool,
    /// Whether a probe that belongs to it was left out.
    pub left_out: bool,
    /// The probes that show it.
    pub shown_by: Vec<WitnessJson<'c>>,
}

/// A probe that shows a hole.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub struct WitnessJson<'c> {
    /// Its name.
    pub probe: &'c str,
    /// Where its packet was seen; absent where it is something that no longer works.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub seen: Option<&'c Sighting>,
    /// Whether it was seen with a source address of the host itself.
    pub as_host: bool,
}

/// A probe.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub struct ProbeJson<'c> {
    /// Never twice.
    pub probe: &'c str,
    /// The entry of the catalogue that it is made from: `udp`.
    pub entry: &'static str,
    /// The class of flow.
    pub class: &'static str,
    /// The row that it counts for.
    pub question: String,
    /// Who and whom.
    pub pair: &'c str,
    /// What somebody would gain by it.
    pub threat: &'static str,
    /// `IPv4` or `IPv6`.
    pub family: String,
    /// The node that sends it.
    pub sender: &'c str,
    /// `frame`, `udp-socket`, `session` and so on.
    pub sending: &'static str,
    /// The nodes where it would arrive.
    pub vantage: Vec<&'c str>,
    /// By the intent.
    pub expected: &'static str,
    /// The change of the host before it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub change: Option<&'static str>,
    /// By approach.
    pub results: Vec<ResultJson<'c>>,
}

/// A probe under one approach.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub struct ResultJson<'c> {
    /// Which.
    pub approach: &'static str,
    /// Expected and observed together.
    pub verdict: &'static str,
    /// As a cell of the table would say it.
    #[schemars(extend("enum" = Cell::WORDS))]
    pub cell: &'static str,
    /// `answered`, `delivered`, `blocked` or `could-not-test`.
    #[schemars(extend("enum" = ["answered", "delivered", "blocked", "could-not-test"]))]
    pub outcome: &'static str,
    /// Why it could not be tested.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub why: Option<&'c str>,
    /// What was sent.
    pub sent: &'c str,
    /// The link of the host that it came in on.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub came_in: Option<&'c str>,
    /// The links of the host that it left by.
    pub left_by: &'c [String],
    /// Where it arrived.
    pub seen: &'c [Sighting],
    /// Whether it was seen with a source address of the host itself.
    pub as_host: bool,
    /// What decided, a line each; empty where it was not traced.
    pub decided_by: &'c [String],
}

/// `isoplan verify --json`.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub struct VerificationJson<'c> {
    /// [`crate::plan::JSON_VERSION`].
    pub version: u32,
    /// `verify`.
    pub kind: &'static str,
    /// The file.
    pub topology: &'c str,
    /// How many probes of the catalogue were not sent.
    pub left_out: usize,
    /// What the probes are a sample of, one sentence each; empty where every pair was looked at in full.
    pub samples: &'c [String],
    /// The approach, what all probes came to under it, and its claims.
    pub result: ApproachJson<'c>,
    /// Who and whom: expected, observed and combined.
    pub pairs: Vec<PairJson>,
    /// What arrived and must not, or does not and must: the counterexamples.
    pub leaks: Vec<LeakJson<'c>>,
    /// Every probe that was sent, under `none` and under the approach.
    pub probes: Vec<ProbeJson<'c>>,
}

/// A line of the matrix.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub struct PairJson {
    /// Who and whom.
    pub pair: String,
    /// `blocked` or `open`, or both with their numbers.
    pub expected: String,
    /// The same, and `one-way` and `untested`.
    pub observed: String,
    /// `as expected`, `leak`, `broken`, `untested` or `shows nothing`.
    pub combined: &'static str,
    /// How many probes it is made of.
    pub probes: usize,
}

/// A counterexample.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub struct LeakJson<'c> {
    /// The name of the probe.
    pub probe: &'c str,
    /// `leak` or `broken`.
    pub verdict: &'static str,
    /// A command that sends it again; absent where the topology came from stdin.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub again: Option<String>,
}
