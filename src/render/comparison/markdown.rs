//! The comparison as Markdown: the table, and what is said of each approach as lists.

use std::fmt::Write as _;

use super::said::{OPEN, UNTRUE, said};
use super::{came_to, cell_word, legend, vacuous, verdict_on_chosen};
use crate::verify::report::{CellJson, ComparisonJson};

/// What stands for something else in Markdown, escaped (CommonMark, "Backslash escapes").
fn escaped(text: &str) -> String {
    let mut out = String::new();
    for c in text.chars() {
        if "\\`*_[]<>|".contains(c) {
            out.push('\\');
        }
        out.push(c);
    }
    out
}

fn cell(cell: &CellJson) -> String {
    match cell.as_intended {
        Some(false) => format!("**{}**", cell_word(cell)),
        _ => cell_word(cell),
    }
}

/// The whole of it, without the single probes.
pub fn markdown(comparison: &ComparisonJson<'_>) -> String {
    let mut text = format!("# {}: approaches compared\n\n", escaped(comparison.topology));
    let _ = writeln!(text, "{}\n", escaped(&verdict_on_chosen(comparison)));
    let (judged, residual): (Vec<_>, Vec<_>) =
        comparison.questions.iter().partition(|question| question.judged);
    for (title, questions) in [("Question", judged), ("Known residuals, not judged", residual)] {
        if questions.is_empty() {
            continue;
        }
        let _ = writeln!(text, "| {title} | {} |", comparison.approaches.join(" | "));
        let _ = writeln!(text, "|---|{}", "---|".repeat(comparison.approaches.len()));
        for question in questions {
            let cells: Vec<_> = question.cells.iter().map(cell).collect();
            let _ = writeln!(text, "| {} | {} |", escaped(question.text), cells.join(" | "));
        }
        text.push('\n');
    }
    let _ = writeln!(text, "{}", escaped(&legend(comparison)));
    for result in &comparison.results {
        let _ = writeln!(text, "\n## {}\n", result.approach);
        match result.conclusion {
            None => text.push_str("The host without any rules of isoplan.\n"),
            Some(_) => {
                let _ = writeln!(text, "{}.", escaped(&came_to(&result.counts)));
            }
        }
        let said = said(result);
        if !said.is_empty() {
            text.push('\n');
        }
        for said in said {
            let label = match said.label {
                OPEN | UNTRUE => format!("**{}**", said.label),
                label => label.to_owned(),
            };
            let _ = writeln!(text, "- {label}: {}", escaped(&said.says));
            for reason in said.why.iter().chain(&said.example) {
                let _ = writeln!(text, "  {}", escaped(reason));
            }
        }
        for untested in &result.untested {
            let _ = writeln!(text, "- could not test {}: {}", escaped(untested.probe), escaped(untested.why));
        }
    }
    let vacuous = vacuous(&comparison.probes);
    if !vacuous.is_empty() {
        let _ = writeln!(
            text,
            "\nBlocked without any rules as well, so that they show nothing: {}.",
            escaped(&vacuous.join(", "))
        );
    }
    for sample in comparison.samples {
        let _ = writeln!(text, "\n{}", escaped(sample));
    }
    if comparison.left_out > 0 {
        let _ = writeln!(text, "\nProbes left out of this run: {}.", comparison.left_out);
    }
    text
}
