//! What is said of each approach under the table: a label and a few sentences, for every format.

use super::{clause, count, first, sighting};
use crate::verify::report::{ApproachJson, GuaranteeJson, HoleJson};

/// One thing that is said.
pub(in crate::render) struct Said {
    /// `holds`, `OPEN`, `unsure` or `UNTRUE`.
    pub(in crate::render) label: &'static str,
    /// What it is about.
    pub(in crate::render) says: String,
    /// The reason, what was seen, or why nothing is known; a line each.
    pub(in crate::render) because: Vec<String>,
}

/// A guarantee that packets bear out.
pub(in crate::render) const HOLDS: &str = "holds";
/// A hole that packets went through.
pub(in crate::render) const OPEN: &str = "OPEN";
/// The same where nothing was promised.
pub(in crate::render) const QUIETLY_OPEN: &str = "open";
/// What this run does not show.
pub(in crate::render) const UNSURE: &str = "unsure";
/// A guarantee that packets contradict.
pub(in crate::render) const UNTRUE: &str = "UNTRUE";

/// All that is said of an approach: what is open first.
pub(in crate::render) fn said(result: &ApproachJson<'_>) -> Vec<Said> {
    let mut said: Vec<Said> = result.guarantees.iter().filter_map(untrue).collect();
    said.extend(result.holes.iter().filter(|hole| hole.shown).map(|hole| shown(hole, result.approach)));
    if !result.unexplained.is_empty() {
        said.push(Said {
            label: OPEN,
            says: "More probes leak.".to_owned(),
            because: vec![format!("{}.", first(&result.unexplained, 3))],
        });
    }
    said.extend(result.guarantees.iter().filter_map(confirmed));
    said.extend(result.guarantees.iter().filter_map(unsure));
    said.extend(result.holes.iter().filter(|hole| !hole.shown).map(not_shown));
    said
}

fn untrue(guarantee: &GuaranteeJson) -> Option<Said> {
    let probes: Vec<&str> = guarantee.contradicted_by.iter().map(String::as_str).collect();
    (guarantee.status == "contradicted").then(|| Said {
        label: UNTRUE,
        says: guarantee.says.to_owned(),
        because: vec![format!("{} the opposite: {}.", shows(probes.len()), first(&probes, 3))],
    })
}

fn shows(probes: usize) -> String {
    format!("{} show{}", count(probes, "probe"), if probes == 1 { "s" } else { "" })
}

fn confirmed(guarantee: &GuaranteeJson) -> Option<Said> {
    (guarantee.status == "confirmed").then(|| Said {
        label: HOLDS,
        says: format!("{} ({}).", clause(guarantee.says), count(guarantee.confirmed, "probe")),
        because: Vec::new(),
    })
}

fn unsure(guarantee: &GuaranteeJson) -> Option<Said> {
    (guarantee.status == "not-shown").then(|| Said {
        label: UNSURE,
        says: guarantee.says.to_owned(),
        because: guarantee.why.iter().map(|why| format!("Not shown: {why}.")).collect(),
    })
}

fn shown(hole: &HoleJson<'_>, approach: &str) -> Said {
    let probes = hole.shown_by.len();
    // One that was seen says more than one that did not get through.
    let seen = hole.shown_by.iter().filter_map(|witness| witness.seen.map(|seen| (witness, seen)));
    let as_host = seen.clone().filter(|(witness, _)| witness.as_host).count();
    let best = seen.clone().find(|(witness, _)| witness.as_host).or_else(|| seen.clone().next());
    let example = match best {
        Some((witness, seen)) => {
            format!("such as {}: seen {}", witness.probe, sighting(seen, witness.as_host))
        }
        None => format!("such as {}", hole.shown_by[0].probe),
    };
    let masked = match as_host {
        0 | 1 => String::new(),
        several => format!(" {several} of them came with an address of the host."),
    };
    Said {
        label: if approach == "none" { QUIETLY_OPEN } else { OPEN },
        says: hole.says.to_owned(),
        because: vec![
            format!("{}.", clause(hole.why)),
            format!("{}, {example}.{masked}", shows(probes) + " it"),
        ],
    }
}

fn not_shown(hole: &HoleJson<'_>) -> Said {
    let why = match hole.left_out {
        true => "Not shown: its probes were left out of this run.",
        false => "Not shown: no probe of this topology went through.",
    };
    Said {
        label: UNSURE,
        says: format!("Known as open: {}.", clause(hole.says)),
        because: vec![format!("{}.", clause(hole.why)), why.to_owned()],
    }
}
