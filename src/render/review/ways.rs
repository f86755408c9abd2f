//! Who gains or loses which way, as tables.

use super::escape::cell;
use super::{LINES, Page};
use crate::intent::Way;
use crate::meaning::{EACH_OTHER, Step, WayChange};

/// How many names are listed in one cell, and how many where all are asked for.
const NAMES: usize = 4;
const ALL_NAMES: usize = 60;

/// What stands for a way that there is none of.
pub(super) struct Words {
    /// The two columns.
    pub(super) heads: [&'static str; 2],
    /// For a party that one of the two does not have.
    pub(super) absent: &'static str,
}

/// Both tables: what opens, then what closes. A pair of which one family opens and the other closes is in the
/// first.
pub(super) fn tables(page: &mut Page, ways: &[WayChange], words: &Words) {
    let opening: Vec<_> = ways.iter().filter(|way| way.opens()).collect();
    let closing: Vec<_> = ways.iter().filter(|way| way.closes() && !way.opens()).collect();
    table(page, "**Opens**", &opening, words, 28_000);
    table(page, "Closes", &closing, words, 20_000);
}

fn table(page: &mut Page, title: &str, ways: &[&WayChange], words: &Words, later: usize) {
    if ways.is_empty() {
        return;
    }
    let [from, to] = words.heads;
    let heading = format!("{title}\n\n| {from} | {to} | IPv4 | IPv6 |\n|---|---|---|---|");
    let most = if page.all { ways.len() } else { LINES };
    let all = page.all;
    let rows: Vec<String> = ways.iter().take(most).map(|way| row(way, words, all)).collect();
    let shown = page.lines(&heading, &rows, later);
    // Rows that were not even made are counted in pairs as well.
    let left: usize = ways[shown..].iter().map(|way| way.pairs()).sum();
    if ways.len() > rows.len() {
        page.paragraph(&format!("And {} more rows.", ways.len() - rows.len()));
    }
    if left > 0 {
        page.paragraph(&format!("These stand for {left} more pairs; `--json` has them all."));
    }
}

fn row(way: &WayChange, words: &Words, all: bool) -> String {
    let step = |step: Option<Step>| step.map_or_else(String::new, |step| step_cell(step, words));
    let (from, to) = (names(&way.from, all), names(&way.to, all));
    format!("| {from} | {to} | {} | {} |", step(way.ipv4), step(way.ipv6))
}

/// `blocked → **open**`.
fn step_cell(step: Step, words: &Words) -> String {
    let word = |way: Option<Way>| way.map_or(words.absent, Way::as_str);
    match step.opens() {
        true => format!("{} → **{}**", word(step.old), word(step.new)),
        false => format!("{} → {}", word(step.old), word(step.new)),
    }
}

fn names(names: &[String], all: bool) -> String {
    let most = if all { ALL_NAMES } else { NAMES };
    let shown = if names.len() <= most { names.len() } else { most - 1 };
    let name = |name: &String| if name == EACH_OTHER { EACH_OTHER.to_owned() } else { cell(name) };
    let text = names[..shown].iter().map(name).collect::<Vec<_>>().join(", ");
    if shown == names.len() { text } else { format!("{text} and {} more", names.len() - shown) }
}
