//! A verification as text: every leak as a counterexample, the matrix, and what is claimed.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use comfy_table::{ColumnConstraint, ContentArrangement, Table, presets};

use super::comparison::said::said;
use super::comparison::text::{hanging, loud, push_said};
use super::comparison::{came_to, clause, count, end, first, probes, vacuous};
use super::plan::Style;
use super::wrap::push_wrapped;
use crate::verify::report::{LeakJson, ProbeJson, ResultJson, VerificationJson};

/// Counterexamples to so many questions are shown in full, one for each; `--details` shows all.
const BLOCKS: usize = 5;
/// So many more are named.
const NAMES: usize = 12;
/// Where the second column of a counterexample begins.
const COLUMN: usize = 12;

/// The whole of it. `all` in the style: every counterexample in full, and every probe.
pub fn text(verification: &VerificationJson<'_>, style: Style) -> String {
    let mut text = String::new();
    counterexamples(&mut text, verification, style);
    text.push_str(&matrix(verification, style));
    if style.all {
        text.push_str("\nEvery probe\n");
        text.push_str(&probes(verification.probes.iter(), style));
    }
    text.push('\n');
    let result = &verification.result;
    for said in said(result) {
        push_said(&mut text, &said, style);
    }
    remarks(&mut text, verification, style);
    text.push('\n');
    let how = match result.conclusion {
        Some("holds") => "holds",
        Some("leaks") => "does NOT hold",
        _ => "is NOT shown to hold",
    };
    let sentence =
        format!("{} for {} {how}: {}.", result.approach, verification.topology, came_to(&result.counts));
    let mut wrapped = String::new();
    push_wrapped(&mut wrapped, &sentence, style.width, 0);
    text.push_str(&loud(&wrapped, &["NOT"], style));
    text
}

fn counterexamples(text: &mut String, verification: &VerificationJson<'_>, style: Style) {
    let probe_of = |leak: &LeakJson<'_>| verification.probes.iter().find(|probe| probe.probe == leak.probe);
    // One of each question says more than five of the first.
    let mut asked = BTreeSet::new();
    let (shown, rest): (Vec<_>, Vec<_>) = verification.leaks.iter().partition(|leak| {
        let question = probe_of(leak).map(|probe| probe.question.as_str());
        style.all || (asked.len() < BLOCKS && asked.insert(question))
    });
    for leak in shown {
        let probe = probe_of(leak);
        let result = probe.and_then(|probe| {
            let mut results = probe.results.iter();
            Some((probe, results.find(|result| result.approach == verification.result.approach)?))
        });
        if let Some((probe, result)) = result {
            counterexample(text, leak, probe, result, style);
        }
    }
    let rest: Vec<&str> = rest.iter().map(|leak| leak.probe).collect();
    if !rest.is_empty() {
        let sentence = format!("{} more, in full with --details: {}.", rest.len(), first(&rest, NAMES));
        push_wrapped(text, &sentence, style.width, 0);
        text.push('\n');
    }
}

fn counterexample(
    text: &mut String,
    leak: &LeakJson<'_>,
    probe: &ProbeJson<'_>,
    result: &ResultJson<'_>,
    style: Style,
) {
    let (title, is_leak) = match leak.verdict {
        "leak" => ("LEAK", true),
        _ => ("BROKEN", false),
    };
    let after = probe.change.map(|change| format!(", after {change}")).unwrap_or_default();
    let must = match (is_leak, result.outcome) {
        (true, outcome) => format!("must be blocked, and was {outcome}"),
        (false, outcome) => format!("must be {}, and was {outcome}", probe.expected),
    };
    let head = format!("{title}  {}, {}{after}: {must}", probe.pair, probe.family);
    text.push_str(&loud(&hanging(&head, style.width, 2), &[title], style));
    let line = |text: &mut String, label: &str, value: &str| {
        let _ = write!(text, "  {label:10}");
        text.push_str(&hanging(value, style.width, COLUMN));
    };
    line(text, "probe", probe.probe);
    line(text, "threat", probe.threat);
    let came_in = result.came_in.map(|link| format!(", came in on {link}")).unwrap_or_default();
    line(text, "sent", &format!("{}{came_in}", result.sent));
    for seen in result.seen {
        let to = seen.destination.map(|to| format!(" -> {}", end(to, seen.destination_port)));
        let host = if result.as_host { ", an address of the host" } else { "" };
        line(
            text,
            "seen",
            &format!(
                "{}{} at {}{host}, {}.{:02} ms later",
                end(seen.source, seen.source_port),
                to.unwrap_or_default(),
                seen.node,
                seen.after_us / 1000,
                seen.after_us % 1000 / 10
            ),
        );
    }
    if !result.left_by.is_empty() {
        line(text, "left by", &result.left_by.join(", "));
    }
    for (index, decided) in result.decided_by.iter().enumerate() {
        let label = match (index, is_leak) {
            (0, true) => "let by",
            (0, false) => "stopped",
            _ => "",
        };
        line(text, label, decided);
    }
    if let Some(again) = &leak.again {
        // A command to be copied stays on one line.
        let _ = writeln!(text, "  {:10}{again}", "again");
    }
    text.push('\n');
}

fn matrix(verification: &VerificationJson<'_>, style: Style) -> String {
    let mut table = Table::new();
    table.load_style(presets::NOTHING);
    table.set_content_arrangement(ContentArrangement::Dynamic);
    table.set_width(u16::try_from(style.width).unwrap_or(u16::MAX));
    table.set_header(["from -> to", "expected", "observed", "combined"]);
    for pair in &verification.pairs {
        let combined = match pair.combined {
            bad @ ("leak" | "broken") => bad.to_uppercase(),
            other => other.to_owned(),
        };
        // One number on a line.
        let lines = |words: &str| words.replace(", ", ",\n");
        table.add_row([pair.pair.clone(), lines(&pair.expected), lines(&pair.observed), combined]);
    }
    for (index, column) in table.column_iter_mut().enumerate() {
        column.set_padding((0, 2));
        // Parties and the result stay on one line; numbers can do with less.
        if index % 3 == 0 {
            column.set_constraint(ColumnConstraint::ContentWidth);
        }
    }
    let mut text = String::new();
    for line in table.to_string().lines() {
        text.push_str(line.trim_end());
        text.push('\n');
    }
    loud(&text, &["LEAK", "BROKEN"], style)
}

/// What this run does not tell.
fn remarks(text: &mut String, verification: &VerificationJson<'_>, style: Style) {
    let mut remarks = Vec::new();
    for untested in &verification.result.untested {
        remarks.push(format!("Could not test {}: {}.", untested.probe, clause(untested.why)));
    }
    let vacuous = vacuous(&verification.probes);
    if !vacuous.is_empty() {
        remarks.push(format!(
            "Blocked without any rules as well, so that it shows nothing: {}.",
            first(&vacuous, NAMES)
        ));
    }
    let (arrived, all) = residuals(verification);
    if all > 0 {
        remarks.push(format!(
            "Known residuals, which no rule of this host stops: {arrived} of {} got through. Not judged.",
            count(all, "probe")
        ));
    }
    remarks.extend(verification.samples.iter().cloned());
    if verification.left_out > 0 {
        remarks.push(format!("Left out of this run: {}.", count(verification.left_out, "probe")));
    }
    if !remarks.is_empty() {
        text.push('\n');
    }
    for remark in remarks {
        push_wrapped(text, &remark, style.width, 0);
    }
}

/// How many probes of known residuals arrived, and how many there are.
fn residuals(verification: &VerificationJson<'_>) -> (usize, usize) {
    let approach = verification.result.approach;
    let residuals = verification.probes.iter().filter(|probe| probe.expected == "residual");
    let arrived = residuals.clone().filter(|probe| {
        let mut results = probe.results.iter().filter(|result| result.approach == approach);
        results.any(|result| ["answered", "delivered"].contains(&result.outcome))
    });
    (arrived.count(), residuals.count())
}
