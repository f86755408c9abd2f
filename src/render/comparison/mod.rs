//! A comparison as text, as Markdown and as a page. All three are made from the values of `compare --json`.

mod details;
mod markdown;
mod page;
mod patterns;
pub(super) mod said;
pub(super) mod text;

pub use details::details;
pub(super) use details::probes;
pub use markdown::markdown;
pub use page::page;
pub use text::text;

use crate::verify::outcome::Sighting;
use crate::verify::report::{CellJson, ComparisonJson, CountsJson, ProbeJson, ResultJson};

/// What a cell says to the reader. Capitals: not what the topology asks for. Nothing is asked of `none`, nor in
/// a row of known residuals.
pub(super) fn word(cell: &str, is_bad: bool) -> &str {
    match (cell, is_bad) {
        ("partly-tested", _) => "in part",
        ("as-before", _) => "same",
        ("open", true) => "OPEN",
        ("one-way", true) => "ONE-WAY",
        ("broken", true) => "BROKEN",
        (word, _) => word,
    }
}

fn cell_word(cell: &CellJson) -> String {
    let word = word(cell.cell, cell.as_intended == Some(false));
    match cell.family.as_deref() {
        Some(family) => format!("{word} {}", family.replace("IP", "")),
        None => word.to_owned(),
    }
}

/// What the words of this table mean, as far as they need telling.
fn legend(comparison: &ComparisonJson<'_>) -> String {
    let cells: Vec<&CellJson> = comparison.questions.iter().flat_map(|question| &question.cells).collect();
    let has = |word: &str| cells.iter().any(|cell| cell.cell == word);
    let family = match cells.iter().any(|cell| cell.family.is_some()) {
        true => "; with v4 or v6, in that family alone",
        false => "",
    };
    let bad = cells.iter().any(|cell| cell.as_intended == Some(false));
    let bad = bad.then(|| format!("In capitals: not what {} asks for{family}.", comparison.topology));
    let others = [
        ("one-way", "One-way: it arrives, and no answer comes back."),
        ("as-before", "Same: what was open before the change is open, and nothing else."),
        ("untested", "Untested: no probe tells."),
        ("partly-tested", "In part: as asked for, and not all of it could be tested."),
    ];
    let others = others.into_iter().filter(|(word, _)| has(word)).map(|(_, sentence)| sentence.to_owned());
    bad.into_iter().chain(others).collect::<Vec<_>>().join(" ")
}

/// Whether a probe is not as it was asked for. Nothing is asked of `none`.
fn is_bad(result: &ResultJson<'_>) -> bool {
    ["leak", "broken"].contains(&result.verdict) && result.approach != "none"
}

/// What one probe under one approach says to the reader.
pub(super) fn result_word<'r>(result: &'r ResultJson<'_>) -> &'r str {
    if result.verdict == "vacuous" {
        return "blocked without rules";
    }
    word(result.cell, is_bad(result))
}

/// `1 probe`, `2 probes`.
pub(super) fn count(number: usize, one: &str) -> String {
    format!("{number} {one}{}", if number == 1 { "" } else { "s" })
}

/// `at eth1-server from 192.168.57.10:40001, an address of the host`.
pub(super) fn sighting(seen: &Sighting, as_host: bool) -> String {
    let host = if as_host { ", an address of the host" } else { "" };
    format!("at {} from {}{host}", seen.node, end(seen.source, seen.source_port))
}

/// An address, with its port where there is one.
pub(super) fn end(address: std::net::IpAddr, port: Option<u16>) -> String {
    match port {
        Some(port) => std::net::SocketAddr::new(address, port).to_string(),
        None => address.to_string(),
    }
}

/// A sentence without its full stop, to go on with.
pub(super) fn clause(sentence: &str) -> &str {
    sentence.strip_suffix('.').unwrap_or(sentence)
}

fn was(number: usize) -> &'static str {
    if number == 1 { "was" } else { "were" }
}

/// What all probes came to, in one sentence without the name of the approach.
pub(super) fn came_to(counts: &CountsJson) -> String {
    let blocked = counts.held + counts.leaks;
    let must = counts.works + counts.broken;
    let mut parts = Vec::new();
    match (counts.leaks, blocked) {
        (_, 0) => {}
        (0, all) => parts.push(format!("{} that must be blocked {} blocked", count(all, "probe"), was(all))),
        (leaks, all) => {
            parts.push(format!("{leaks} of {} that must be blocked arrived", count(all, "probe")))
        }
    }
    match (counts.broken, must) {
        (_, 0) => {}
        (0, all) => parts.push(format!("{all} that must arrive did")),
        (broken, all) => parts.push(format!("{broken} of {all} that must arrive did not")),
    }
    if counts.could_not_test > 0 {
        parts.push(format!("{} could not be tested", counts.could_not_test));
    }
    if parts.is_empty() {
        parts.push("no probe tells anything".to_owned());
    }
    parts.join(", ")
}

/// Probes that are blocked without any rules as well: they show nothing, under no approach.
pub(super) fn vacuous<'c>(probes: &'c [ProbeJson<'c>]) -> Vec<&'c str> {
    let is_vacuous = |probe: &&ProbeJson<'_>| probe.results.iter().any(|result| result.verdict == "vacuous");
    probes.iter().filter(is_vacuous).map(|probe| probe.probe).collect()
}

/// The first few of a list, and how many more there are.
pub(super) fn first(names: &[&str], most: usize) -> String {
    let more = names.len().saturating_sub(most);
    let shown = names[..names.len() - more].join(", ");
    if more == 0 { shown } else { format!("{shown} and {more} more") }
}

/// How the approach that the topology names did, in one sentence; or that it was not looked at.
pub(super) fn verdict_on_chosen(comparison: &ComparisonJson<'_>) -> String {
    let chosen = comparison.chosen;
    let file = comparison.topology;
    let Some(result) = comparison.results.iter().find(|result| result.approach == chosen) else {
        return format!("{chosen}, which {file} chooses, is not among these.");
    };
    let how = match result.conclusion {
        Some("holds") => "holds",
        Some("leaks") => "does NOT hold",
        _ => "is not shown to hold",
    };
    format!("{chosen}, which {file} chooses, {how}: {}.", came_to(&result.counts))
}
