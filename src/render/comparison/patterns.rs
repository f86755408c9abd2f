//! Probes for the page: those that fare alike stand together, so that what they came to is said once.

use std::net::IpAddr;

use super::{clause, is_bad, result_word};
use crate::verify::report::{ProbeJson, ResultJson};

/// Probes that came to the same under every approach.
pub(super) struct Pattern<'p> {
    /// What they came to.
    pub(super) states: Vec<State<'p>>,
    /// The probes.
    pub(super) lines: Vec<Line<'p>>,
}

/// What probes came to under some approaches.
#[derive(PartialEq, Eq)]
pub(super) struct State<'p> {
    /// As the table would say it.
    pub(super) word: &'p str,
    /// A class of the style sheet.
    pub(super) look: &'static str,
    /// Under these, or under all.
    pub(super) under: String,
}

/// One probe.
pub(super) struct Line<'p> {
    pub(super) name: &'p str,
    /// What was sent, where something leaks or breaks.
    pub(super) sent: Option<&'p str>,
    /// What was seen of it then, or why it could not be tested.
    pub(super) seen: Vec<String>,
}

impl Line<'_> {
    pub(super) fn is_told(&self) -> bool {
        self.sent.is_some() || !self.seen.is_empty()
    }
}

fn look(result: &ResultJson<'_>) -> &'static str {
    match (is_bad(result), result.cell) {
        (true, "one-way") => "half",
        (true, _) => "bad",
        (false, _) if result.verdict == "vacuous" => "unknown",
        (false, "blocked" | "works") => "good",
        (false, "untested" | "partly-tested") => "unknown",
        (false, _) => "plain",
    }
}

/// The approaches that share a value, in the order of the columns; values in the order of their first approach.
fn together<T: PartialEq>(pairs: impl Iterator<Item = (T, &'static str)>) -> Vec<(T, Vec<&'static str>)> {
    let mut groups: Vec<(T, Vec<&'static str>)> = Vec::new();
    for (value, approach) in pairs {
        match groups.iter_mut().find(|(other, _)| *other == value) {
            Some((_, approaches)) => approaches.push(approach),
            None => groups.push((value, vec![approach])),
        }
    }
    groups
}

fn states<'p>(probe: &'p ProbeJson<'p>) -> Vec<State<'p>> {
    let results = probe.results.iter();
    let groups = together(results.map(|result| ((result_word(result), look(result)), result.approach)));
    let all = groups.len() == 1;
    groups
        .into_iter()
        .map(|((word, look), approaches)| State {
            word,
            look,
            under: if all { "under all".to_owned() } else { approaches.join(", ") },
        })
        .collect()
}

/// Where a packet was seen and from whom; without ports, which say nothing and differ.
fn sighting(result: &ResultJson<'_>) -> Option<String> {
    if let Some(why) = result.why {
        return Some(clause(why).to_owned());
    }
    let mut seen: Vec<String> = Vec::new();
    for at in result.seen {
        let host = if result.as_host { " (the host's)" } else { "" };
        // Only where it is not the one that it was sent to.
        let elsewhere = |to: &IpAddr| !result.sent.contains(&to.to_string());
        let to = at.destination.filter(elsewhere).map(|to| format!(" to {to}")).unwrap_or_default();
        let line = format!("seen at {} from {}{to}{host}", at.node, at.source);
        if !seen.contains(&line) {
            seen.push(line);
        }
    }
    (!seen.is_empty()).then(|| seen.join("; "))
}

fn line<'p>(probe: &'p ProbeJson<'p>) -> Line<'p> {
    let told = probe.results.iter().filter(|result| is_bad(result) || result.why.is_some());
    let told: Vec<_> = told.collect();
    let sent = told.iter().map(|result| result.sent).find(|sent| !sent.is_empty());
    let groups = together(told.iter().filter_map(|result| Some((sighting(result)?, result.approach))));
    let alone = groups.len() == 1;
    let seen = groups.into_iter().map(|(seen, approaches)| match alone {
        true => seen,
        false => format!("{seen} ({})", approaches.join(", ")),
    });
    Line { name: probe.probe, sent, seen: seen.collect() }
}

/// The probes in groups, in the order of the first of each.
pub(super) fn patterns<'p>(probes: impl Iterator<Item = &'p ProbeJson<'p>>) -> Vec<Pattern<'p>> {
    let mut patterns: Vec<Pattern<'p>> = Vec::new();
    for probe in probes {
        let states = states(probe);
        let line = line(probe);
        match patterns.iter_mut().find(|pattern| pattern.states == states) {
            Some(pattern) => pattern.lines.push(line),
            None => patterns.push(Pattern { states, lines: vec![line] }),
        }
    }
    patterns
}

/// What each kind of probe is about: its entry of the catalogue, and what somebody would gain.
pub(super) fn threats<'p>(probes: &'p [ProbeJson<'p>]) -> Vec<(&'p str, &'p str)> {
    let mut threats: Vec<(&str, &str)> = Vec::new();
    for probe in probes {
        let threat = (probe.entry, probe.threat);
        if !threats.contains(&threat) {
            threats.push(threat);
        }
    }
    threats
}
