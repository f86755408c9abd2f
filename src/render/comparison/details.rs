//! Every probe with what became of it under each approach, grouped by question.

use std::fmt::Write as _;

use super::text::{hanging, loud};
use super::{clause, end, is_bad, result_word};
use crate::render::plan::Style;
use crate::render::wrap::push_wrapped;
use crate::verify::report::{ComparisonJson, ProbeJson, ResultJson};

/// Approaches under which a probe came to the same, with what was seen.
struct Group<'c> {
    /// As the table would say it.
    word: &'c str,
    /// Under these.
    approaches: Vec<&'static str>,
    /// What was seen, a line each.
    evidence: Vec<String>,
    /// Whether it is not what was asked for.
    is_bad: bool,
}

/// What was seen of a probe that arrived, without what differs from run to run.
fn evidence(result: &ResultJson<'_>) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    if let Some(why) = result.why {
        lines.push(format!("{}.", clause(why)));
    }
    let host = if result.as_host { ", an address of the host" } else { "" };
    for seen in result.seen {
        let to = seen.destination.map(|to| format!(" -> {}", end(to, seen.destination_port)));
        let line = format!(
            "seen {}{} at {}{host}",
            end(seen.source, seen.source_port),
            to.unwrap_or_default(),
            seen.node
        );
        if !lines.contains(&line) {
            lines.push(line);
        }
    }
    lines.extend(result.decided_by.iter().cloned());
    lines
}

/// The results of a probe, those that are alike together, in the order of the columns.
fn groups<'c>(probe: &'c ProbeJson<'c>) -> Vec<Group<'c>> {
    let mut groups: Vec<Group<'c>> = Vec::new();
    for result in &probe.results {
        let word = result_word(result);
        // Where it must work and does, what was seen is of no interest.
        let evidence = match result.verdict {
            "works" | "held" | "vacuous" => Vec::new(),
            _ => evidence(result),
        };
        match groups.iter_mut().find(|group| group.word == word && group.evidence == evidence) {
            Some(group) => group.approaches.push(result.approach),
            None => groups.push(Group {
                word,
                approaches: vec![result.approach],
                evidence,
                is_bad: is_bad(result),
            }),
        }
    }
    groups
}

/// What a probe is about, in half a line.
fn about(probe: &ProbeJson<'_>) -> String {
    let expected = match probe.expected {
        "blocked" => "must be blocked",
        "answered" => "must be answered",
        "delivered" => "must arrive",
        "residual" => "no rule of this host stops it",
        _ => "not judged",
    };
    format!("{}, {}; {expected}", probe.pair, probe.family)
}

/// What was sent, under the first approach where it was.
fn sent<'c>(probe: &'c ProbeJson<'c>) -> Option<&'c str> {
    probe.results.iter().map(|result| result.sent).find(|sent| !sent.is_empty())
}

/// All probes.
pub fn details(comparison: &ComparisonJson<'_>, style: Style) -> String {
    let mut text = String::new();
    for question in &comparison.questions {
        if !text.is_empty() {
            text.push('\n');
        }
        let _ = writeln!(text, "{}", question.text);
        let probes = comparison.probes.iter().filter(|probe| probe.question == question.question);
        text.push_str(&self::probes(probes, style));
    }
    text
}

/// Some probes.
pub(in crate::render) fn probes<'p>(probes: impl Iterator<Item = &'p ProbeJson<'p>>, style: Style) -> String {
    let mut text = String::new();
    probes.for_each(|probe| push_probe(&mut text, probe, style));
    text
}

fn push_probe(text: &mut String, probe: &ProbeJson<'_>, style: Style) {
    let _ = writeln!(text, "\n  {}", probe.probe);
    push_wrapped(text, &format!("{}.", about(probe)), style.width, 4);
    push_wrapped(text, probe.threat, style.width, 4);
    if let Some(sent) = sent(probe) {
        push_wrapped(text, &format!("sent {sent}"), style.width, 4);
    }
    for group in groups(probe) {
        let line = format!("{}: {}", group.word, group.approaches.join(", "));
        let line = format!("    {}", hanging(&line, style.width, 6));
        let words: &[&str] = if group.is_bad { &[group.word] } else { &[] };
        text.push_str(&loud(&line, words, style));
        for evidence in &group.evidence {
            push_wrapped(text, evidence, style.width, 6);
        }
    }
}
