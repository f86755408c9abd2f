//! What is said of each approach under the table: a label and a few sentences, for every format.

use super::{clause, count, first, sighting};
use crate::verify::report::{ApproachJson, GuaranteeJson, HoleJson};

/// One thing that is said.
pub(in crate::render) struct Said {
    /// One of the constants below.
    pub(in crate::render) label: &'static str,
    /// What it is about, and how many probes show it.
    pub(in crate::render) says: String,
    /// The reason, or why nothing is known.
    pub(in crate::render) why: Option<String>,
    /// One of the probes, with what was seen of it.
    pub(in crate::render) example: Option<String>,
}

/// A guarantee that packets bear out.
pub(in crate::render) const HOLDS: &str = "holds";
/// A hole that packets went through, and must not.
pub(in crate::render) const OPEN: &str = "OPEN";
/// The same where nothing was promised: under `none`, and what no rule of a host stops.
pub(in crate::render) const QUIETLY_OPEN: &str = "open";
/// What this run does not show.
pub(in crate::render) const UNSURE: &str = "unsure";
/// A guarantee that packets contradict.
pub(in crate::render) const UNTRUE: &str = "UNTRUE";

/// All that is said of an approach: what is wrong first, then what holds, then what nobody judges or knows.
pub(in crate::render) fn said(result: &ApproachJson<'_>) -> Vec<Said> {
    let shown: Vec<Said> =
        result.holes.iter().filter(|hole| hole.shown).map(|hole| shown(hole, result.approach)).collect();
    let (open, quiet): (Vec<_>, Vec<_>) = shown.into_iter().partition(|said| said.label == OPEN);
    let mut said: Vec<Said> = result.guarantees.iter().filter_map(untrue).collect();
    said.extend(open);
    if !result.unexplained.is_empty() {
        said.push(Said {
            label: OPEN,
            says: format!("More leaks ({}).", count(result.unexplained.len(), "probe")),
            why: Some(format!("{}.", first(&result.unexplained, 3))),
            example: None,
        });
    }
    said.extend(result.guarantees.iter().filter_map(confirmed));
    said.extend(quiet);
    said.extend(result.guarantees.iter().filter_map(unsure));
    said.extend(result.holes.iter().filter(|hole| !hole.shown).map(not_shown));
    said
}

fn untrue(guarantee: &GuaranteeJson) -> Option<Said> {
    let probes: Vec<&str> = guarantee.contradicted_by.iter().map(String::as_str).collect();
    (guarantee.status == "contradicted").then(|| Said {
        label: UNTRUE,
        says: guarantee.says.to_owned(),
        why: Some(format!("The opposite is shown by {}.", first(&probes, 3))),
        example: None,
    })
}

fn confirmed(guarantee: &GuaranteeJson) -> Option<Said> {
    (guarantee.status == "confirmed").then(|| Said {
        label: HOLDS,
        says: format!("{} ({}).", clause(guarantee.says), count(guarantee.confirmed, "probe")),
        why: None,
        example: None,
    })
}

fn unsure(guarantee: &GuaranteeJson) -> Option<Said> {
    (guarantee.status == "not-shown").then(|| Said {
        label: UNSURE,
        says: guarantee.says.to_owned(),
        why: guarantee.why.as_ref().map(|why| format!("Not shown: {why}.")),
        example: None,
    })
}

fn shown(hole: &HoleJson<'_>, approach: &str) -> Said {
    let as_host = hole.shown_by.iter().filter(|witness| witness.as_host).count();
    let masked = match as_host {
        0 => String::new(),
        some => format!(", {some} with an address of the host"),
    };
    // One that was seen says more than one that did not get through.
    let mut seen = hole.shown_by.iter().filter_map(|witness| witness.seen.map(|seen| (witness, seen)));
    let first = seen.clone().next();
    let best = seen.find(|(witness, _)| witness.as_host).or(first);
    Said {
        label: if hole.judged && approach != "none" { OPEN } else { QUIETLY_OPEN },
        says: format!("{} ({}{masked}).", clause(hole.says), count(hole.shown_by.len(), "probe")),
        why: Some(format!("{}.", clause(hole.why))),
        example: best.map(|(witness, seen)| {
            format!("Such as {}: seen {}.", witness.probe, sighting(seen, witness.as_host))
        }),
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
        why: Some(why.to_owned()),
        example: None,
    }
}
