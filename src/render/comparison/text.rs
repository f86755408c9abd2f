//! The table for a terminal, and what is said of each approach under it.

use std::collections::BTreeMap;

use comfy_table::{CellAlignment, Table, presets};

use super::said::{OPEN, Said, UNTRUE, said};
use super::{came_to, cell_word, count, first, legend, vacuous, verdict_on_chosen};
use crate::render::plan::Style;
use crate::render::wrap::push_wrapped;
use crate::verify::report::{ApproachJson, ComparisonJson, QuestionJson};

/// Questions are not cut shorter than this for the sake of a narrow terminal, and not stretched beyond that.
const QUESTION: std::ops::RangeInclusive<usize> = 20..=58;

/// The table and what is under it.
pub fn text(comparison: &ComparisonJson<'_>, style: Style) -> String {
    let mut text = table(comparison, style);
    let legend = legend(comparison);
    if !legend.is_empty() {
        text.push('\n');
        push_wrapped(&mut text, &legend, style.width, 0);
    }
    for result in &comparison.results {
        approach(&mut text, comparison, result, style);
    }
    untested(&mut text, comparison, style.width);
    text.push('\n');
    let verdict = verdict_on_chosen(comparison);
    let mut wrapped = String::new();
    push_wrapped(&mut wrapped, &verdict, style.width, 0);
    text.push_str(&loud(&wrapped, &["NOT"], style));
    text
}

/// A sentence over some lines, all but the first indented. Ends with a newline.
pub(in crate::render) fn hanging(sentence: &str, width: usize, indent: usize) -> String {
    let mut wrapped = String::new();
    push_wrapped(&mut wrapped, sentence, width, indent);
    wrapped.split_off(indent)
}

/// The words in bold red, where there are colours.
pub(in crate::render) fn loud(text: &str, words: &[&str], style: Style) -> String {
    if !style.color {
        return text.to_owned();
    }
    let paint = |text: String, word: &&str| text.replace(*word, &format!("\u{1b}[1;31m{word}\u{1b}[0m"));
    words.iter().fold(text.to_owned(), paint)
}

/// `nftables-subnet` in two lines.
fn head(approach: &str) -> String {
    match approach.split_once('-') {
        Some((first, second)) => format!("{first}\n-{second}"),
        None => approach.to_owned(),
    }
}

fn table(comparison: &ComparisonJson<'_>, style: Style) -> String {
    let mut columns: Vec<Vec<String>> = comparison.approaches.iter().map(|name| vec![head(name)]).collect();
    for question in &comparison.questions {
        for (column, cell) in columns.iter_mut().zip(&question.cells) {
            column.push(cell_word(cell));
        }
    }
    let widest = |column: &Vec<String>| column.iter().flat_map(|cell| cell.lines()).map(str::len).max();
    let taken: usize = columns.iter().filter_map(widest).map(|width| width + 1).sum();
    let width = style.width.saturating_sub(taken + 1).clamp(*QUESTION.start(), *QUESTION.end());

    let mut table = Table::new();
    table.load_style(presets::NOTHING);
    table.set_header(
        std::iter::once(String::new()).chain(comparison.approaches.iter().map(|name| head(name))),
    );
    let (judged, residual): (Vec<_>, Vec<_>) =
        comparison.questions.iter().partition(|question| question.judged);
    let row = |question: &QuestionJson| {
        let cells = question.cells.iter().map(cell_word);
        std::iter::once(question_lines(question.text, width)).chain(cells).collect::<Vec<_>>()
    };
    judged.into_iter().for_each(|question| {
        table.add_row(row(question));
    });
    if !residual.is_empty() {
        let empty = vec![String::new()];
        table.add_row(empty);
        table.add_row(vec![question_lines("No rule of this host stops these; not judged:", width)]);
    }
    residual.into_iter().for_each(|question| {
        table.add_row(row(question));
    });
    for column in table.column_iter_mut() {
        column.set_padding((0, 1));
        column.set_cell_alignment(CellAlignment::Left);
    }
    let mut text = String::new();
    for line in table.to_string().lines() {
        text.push_str(line.trim_end());
        text.push('\n');
    }
    loud(&text, &["ONE-WAY", "OPEN", "BROKEN"], style)
}

fn question_lines(question: &str, width: usize) -> String {
    hanging(question, width, 2).trim_end().to_owned()
}

fn approach(text: &mut String, comparison: &ComparisonJson<'_>, result: &ApproachJson<'_>, style: Style) {
    text.push('\n');
    let chosen = match result.approach == comparison.chosen {
        true => format!(", chosen in {}", comparison.topology),
        false => String::new(),
    };
    let title = match result.conclusion {
        None => format!("{}, the host without any rules of isoplan", result.approach),
        Some(_) => format!("{}{chosen}: {}", result.approach, came_to(&result.counts)),
    };
    push_wrapped(text, &format!("{title}."), style.width, 0);
    for said in said(result) {
        push_said(text, &said, style);
    }
}

/// Wide enough for the longest label.
const LABEL: usize = 10;

/// A label, what is said, and why.
pub(in crate::render) fn push_said(text: &mut String, said: &Said, style: Style) {
    let label = format!("  {:8}", said.label);
    let label = loud(&label, &[OPEN, UNTRUE], style);
    text.push_str(&label);
    let sentences: Vec<&str> = std::iter::once(&said.says).chain(&said.why).map(String::as_str).collect();
    text.push_str(&hanging(&sentences.join(" "), style.width, LABEL));
}

/// How many names of probes are listed before the rest is counted.
const NAMES: usize = 4;

/// What this run does not tell.
fn untested(text: &mut String, comparison: &ComparisonJson<'_>, width: usize) {
    let vacuous = vacuous(&comparison.probes);
    let mut remarks = Vec::new();
    if !vacuous.is_empty() {
        remarks.push(format!(
            "Shows nothing: {} blocked without any rules as well, {}.",
            match vacuous.len() {
                1 => "1 probe is".to_owned(),
                more => format!("{more} probes are"),
            },
            first(&vacuous, NAMES)
        ));
    }
    let mut reasons: BTreeMap<(&str, Vec<&str>), Vec<&str>> = BTreeMap::new();
    let mut by_probe: BTreeMap<(&str, &str), Vec<&str>> = BTreeMap::new();
    for result in &comparison.results {
        for untested in &result.untested {
            by_probe.entry((untested.why, untested.probe)).or_default().push(result.approach);
        }
    }
    for ((why, probe), approaches) in by_probe {
        reasons.entry((why, approaches)).or_default().push(probe);
    }
    for ((why, approaches), probes) in reasons {
        let under = match approaches.len() == comparison.results.len() {
            true => String::new(),
            false => format!(" under {}", approaches.join(", ")),
        };
        remarks.push(format!(
            "Could not test {}{under}: {} ({}).",
            count(probes.len(), "probe"),
            super::clause(why),
            first(&probes, NAMES)
        ));
    }
    remarks.extend(comparison.samples.iter().cloned());
    if comparison.left_out > 0 {
        let left_out = comparison.left_out;
        remarks.push(format!("Left out of this run: {}.", count(left_out, "probe")));
    }
    if !remarks.is_empty() {
        text.push('\n');
    }
    for remark in remarks {
        push_wrapped(text, &remark, width, 0);
    }
}
