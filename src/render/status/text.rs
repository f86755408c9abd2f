//! For people: the answer first, reasons after.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use crate::diff::Journaled;
use crate::render::wrap::push_wrapped;
use crate::status::Status;

/// How many differences are listed.
const LISTED: usize = 12;

/// The whole text, in lines of so many columns where words allow.
pub fn text(status: &Status, still_mine: &[Journaled], width: usize) -> String {
    let mut text = String::new();
    push_wrapped(&mut text, &answer(status, still_mine), width, 0);
    if let Some(pending) = &status.pending {
        let of = if pending.of.is_empty() {
            "the removal".to_owned()
        } else {
            format!("the apply of {}", pending.of)
        };
        let line = match pending.seconds_left {
            _ if pending.overdue => format!(
                "Overdue: {of} was not confirmed in time, and nothing is undoing it. `isoplan rollback` does."
            ),
            0 => format!("Not confirmed in time: {of} is being undone."),
            left => {
                format!("Waiting to be confirmed: {of} is undone in {left} s unless `isoplan confirm` comes.")
            }
        };
        push_wrapped(&mut text, &line, width, 0);
    }
    drift(&mut text, status, width);
    if status.watch {
        text.push_str("isoplan watch runs here.\n");
    } else if status.topology.is_some() {
        text.push_str("No isoplan watch runs here that would repair it.\n");
    }
    for table in &status.tables {
        let _ = writeln!(
            text,
            "table {}: {} rules, {} sets, {} elements",
            table.table, table.rules, table.sets, table.elements
        );
        for unknown in &table.unknown {
            let _ = writeln!(text, "  holds {unknown}, which isoplan does not know");
        }
    }
    for sysctl in &status.sysctls {
        let now = sysctl.now.as_deref().unwrap_or("gone");
        let _ = writeln!(
            text,
            "{} was {}, isoplan wrote {}, is {now} now",
            sysctl.key, sysctl.original, sysctl.written
        );
    }
    drops(&mut text, status, width);
    risks(&mut text, status, width);
    text
}

fn answer(status: &Status, still_mine: &[Journaled]) -> String {
    match (&status.topology, status.in_place) {
        (Some(topology), true) => format!("In place: {} objects match {topology}.", status.objects),
        (Some(topology), false) => {
            let differences = status.differences.unwrap_or_default();
            let s = if differences == 1 { "" } else { "s" };
            format!("Not in place: {differences} difference{s} from {topology}.")
        }
        (None, true) => {
            "isoplan is on this host. Name a topology to see whether it is what it should be.".to_owned()
        }
        (None, false) if status.has_left_sysctls(still_mine) => {
            "isoplan's tables are gone, and sysctls that it changed are still changed.".to_owned()
        }
        (None, false) => "isoplan has nothing on this host.".to_owned(),
    }
}

fn drift(text: &mut String, status: &Status, width: usize) {
    for guess in &status.probably {
        push_wrapped(text, &format!("{} Evidence: {}.", guess.says, guess.evidence), width, 2);
    }
    for drift in status.drift.iter().take(LISTED) {
        push_hanging(text, &format!("  {:<9}  ", drift.what), &drift.says, width);
    }
    if let (Some(more @ 1..), Some(topology)) = (status.drift.len().checked_sub(LISTED), &status.topology) {
        let _ = writeln!(text, "  and {more} more: isoplan plan {topology}");
    }
}

fn drops(text: &mut String, status: &Status, width: usize) {
    if status.drops.is_empty() {
        return;
    }
    if status.drops.iter().all(|drop| drop.packets == 0) {
        let _ = writeln!(text, "Nothing dropped so far by {} drop rules.", status.drops.len());
        return;
    }
    text.push_str("Dropped so far:\n");
    let mut lines: Vec<(u64, String)> = Vec::new();
    for pair in status.pairs.iter().filter(|pair| pair.packets > 0) {
        lines.push((pair.packets, format!("{} -> {} ({})", pair.from, pair.to, pair.rules.join(", "))));
    }
    for drop in status.drops.iter().filter(|drop| drop.packets > 0 && drop.from.is_none()) {
        lines.push((drop.packets, format!("{} {} ({})", drop.rule, drop.what, drop.chain)));
    }
    lines.sort_by(|a, b| b.cmp(a));
    for (packets, line) in lines {
        push_hanging(text, &format!("{packets:>12} packets  "), &line, width);
    }
}

fn risks(text: &mut String, status: &Status, width: usize) {
    if status.topology.is_none() {
        return;
    }
    if status.risks.is_empty() {
        text.push_str("No residual risk found on this host now.\n");
    } else {
        text.push_str("Residual risks on this host now:\n");
    }
    // What is said of a risk is said once, however often it is there.
    let mut groups: BTreeMap<_, Vec<&crate::status::RiskStatus>> = BTreeMap::new();
    for risk in &status.risks {
        groups.entry((risk.severity, risk.name)).or_default().push(risk);
    }
    /// Of one kind.
    const SHOWN: usize = 4;
    for ((severity, name), risks) in groups {
        let _ = writeln!(text, "  {:<6}  {}", severity.as_str(), name.as_str());
        for risk in risks.iter().take(SHOWN) {
            push_wrapped(text, &risk.evidence, width, 10);
        }
        if let Some(more @ 1..) = risks.len().checked_sub(SHOWN) {
            let _ = writeln!(text, "          And {more} more of the kind: --json lists them.");
        }
        push_wrapped(text, &format!("{} {}", name.why(), name.what_to_do()), width, 10);
    }
    for unseen in &status.unseen {
        push_wrapped(text, &format!("Not looked at: {unseen}."), width, 2);
    }
}

/// A line with something in front of it; what does not fit goes on below the sentence.
fn push_hanging(text: &mut String, front: &str, sentence: &str, width: usize) {
    let mut lines = String::new();
    push_wrapped(&mut lines, sentence, width, front.len());
    text.push_str(front);
    text.push_str(lines.get(front.len()..).unwrap_or_default());
}
