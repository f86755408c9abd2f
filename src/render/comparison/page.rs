//! The comparison as one self-contained page: no script, no file beside it, nothing from the network.

use askama::Template;

use super::patterns::{Pattern, patterns, threats};
use super::said::{HOLDS, OPEN, QUIETLY_OPEN, Said, UNTRUE, said};
use super::{came_to, cell_word, count, legend, vacuous, verdict_on_chosen};
use crate::verify::report::{ApproachJson, CellJson, ComparisonJson, QuestionJson};

#[derive(Template)]
#[template(path = "comparison.html")]
struct Page<'p> {
    topology: &'p str,
    version: &'static str,
    verdict: String,
    /// `good`, `bad` or `unknown`.
    verdict_look: &'static str,
    approaches: Vec<Column<'p>>,
    parts: Vec<Part<'p>>,
    sections: Vec<Section<'p>>,
    vacuous: Vec<&'p str>,
    left_out: usize,
    samples: &'p [String],
    sent: usize,
    topics: Vec<Topic<'p>>,
    threats: Vec<(&'p str, &'p str)>,
}

struct Column<'p> {
    name: &'p str,
    is_chosen: bool,
}

/// Rows of one table: those that are judged, and those that are not.
struct Part<'p> {
    title: &'static str,
    id: &'static str,
    note: String,
    rows: Vec<Row<'p>>,
}

struct Row<'p> {
    question: &'p str,
    id: &'p str,
    cells: Vec<Cell<'p>>,
}

struct Cell<'p> {
    approach: &'p str,
    cell: &'p str,
    word: String,
    look: &'static str,
}

struct Section<'p> {
    approach: &'p str,
    is_chosen: bool,
    sentence: String,
    look: &'static str,
    said: Vec<Line>,
    untested: Vec<(&'p str, &'p str)>,
}

struct Line {
    look: &'static str,
    said: Said,
}

struct Topic<'p> {
    question: &'p str,
    count: String,
    patterns: Vec<Pattern<'p>>,
}

/// How a state looks: a class of the style sheet. Each has a sign of its own besides its colour.
fn look(cell: &str, as_intended: Option<bool>) -> &'static str {
    match (cell, as_intended) {
        (_, Some(true)) => "good",
        ("one-way", Some(false)) => "half",
        (_, Some(false)) => "bad",
        ("untested" | "partly-tested", None) => "unknown",
        (_, None) => "plain",
    }
}

fn cell(cell: &CellJson) -> Cell<'_> {
    Cell {
        approach: cell.approach,
        cell: cell.cell,
        word: cell_word(cell),
        look: look(cell.cell, cell.as_intended),
    }
}

fn rows<'p>(questions: impl Iterator<Item = &'p QuestionJson>) -> Vec<Row<'p>> {
    let row = |question: &'p QuestionJson| Row {
        question: question.text,
        id: &question.question,
        cells: question.cells.iter().map(cell).collect(),
    };
    questions.map(row).collect()
}

fn conclusion_look(conclusion: Option<&str>) -> &'static str {
    match conclusion {
        Some("holds") => "good",
        Some("leaks") => "bad",
        Some(_) => "unknown",
        None => "plain",
    }
}

fn section<'p>(comparison: &'p ComparisonJson<'_>, result: &'p ApproachJson<'_>) -> Section<'p> {
    let lines = said(result).into_iter().map(|said| Line {
        look: match said.label {
            HOLDS => "good",
            OPEN | UNTRUE => "bad",
            QUIETLY_OPEN => "plain",
            _ => "unknown",
        },
        said,
    });
    Section {
        approach: result.approach,
        is_chosen: result.approach == comparison.chosen,
        sentence: match result.conclusion {
            None => "The host without any rules of isoplan".to_owned(),
            Some(_) => came_to(&result.counts),
        },
        look: conclusion_look(result.conclusion),
        said: lines.collect(),
        untested: result.untested.iter().map(|untested| (untested.probe, untested.why)).collect(),
    }
}

fn topic<'p>(comparison: &'p ComparisonJson<'_>, question: &'p QuestionJson) -> Topic<'p> {
    let probes = comparison.probes.iter().filter(|probe| probe.question == question.question);
    Topic { question: question.text, count: count(question.probes, "probe"), patterns: patterns(probes) }
}

/// The page.
///
/// # Errors
///
/// None that input can bring about.
pub fn page(comparison: &ComparisonJson<'_>) -> Result<String, askama::Error> {
    let judged = comparison.questions.iter().filter(|question| question.judged);
    let residual = comparison.questions.iter().filter(|question| !question.judged);
    let mut parts = vec![Part {
        title: "What gets through",
        id: "table",
        note: format!("Every approach was sent the same packets. {}", legend(comparison)),
        rows: rows(judged),
    }];
    parts.push(Part {
        title: "What no rule of this host stops",
        id: "residuals",
        note: "Shown, and not judged.".to_owned(),
        rows: rows(residual),
    });
    parts.retain(|part| !part.rows.is_empty());
    let chosen = comparison.results.iter().find(|result| result.approach == comparison.chosen);
    Page {
        topology: comparison.topology,
        version: env!("CARGO_PKG_VERSION"),
        verdict: verdict_on_chosen(comparison),
        verdict_look: chosen.map_or("plain", |result| conclusion_look(result.conclusion)),
        approaches: comparison
            .approaches
            .iter()
            .map(|name| Column { name, is_chosen: *name == comparison.chosen })
            .collect(),
        parts,
        sections: comparison.results.iter().map(|result| section(comparison, result)).collect(),
        vacuous: vacuous(&comparison.probes),
        left_out: comparison.left_out,
        samples: comparison.samples,
        sent: comparison.probes.len(),
        topics: comparison.questions.iter().map(|question| topic(comparison, question)).collect(),
        threats: threats(&comparison.probes),
    }
    .render()
}
