//! A review as Markdown: what a bot posts below a pull request. The meaning first, what opens in bold, then the
//! rules in a fold.
//!
//! The first line is a comment that nobody sees, the same for the same files, so that a bot can find what it wrote
//! before. A text has less than [`LIMIT`] bytes; what does not fit is counted.

mod diff;
mod escape;
mod plan;
mod rules;
mod ways;

pub use diff::diff;
pub use plan::{Seen, plan};

use std::fmt::Write as _;

use escape::{code, sentence};

use crate::meaning::Loosened;
use crate::topology::Allow;

/// GitHub takes a comment of 65,536 characters, GitLab one of 1,000,000. Bytes are counted, of which no text has
/// fewer than characters, and something is left for a word of the bot's own.
pub const LIMIT: usize = 65_000;

/// How many lines of one kind are shown unless all are asked for.
const LINES: usize = 40;

/// A text that grows until it is full.
struct Page {
    text: String,
    all: bool,
}

impl Page {
    fn new(first: String, all: bool) -> Self {
        Self { text: first, all }
    }

    /// Whether so much can be added, with so much left for what comes later.
    fn has_room(&self, bytes: usize, later: usize) -> bool {
        self.text.len() + bytes + later < LIMIT
    }

    fn paragraph(&mut self, text: &str) {
        let _ = write!(self.text, "\n{text}\n");
    }

    /// Lines below a heading, with a count of those that are left out. Says how many are shown.
    fn lines(&mut self, heading: &str, lines: &[String], later: usize) -> usize {
        if lines.is_empty() {
            return 0;
        }
        let _ = write!(self.text, "\n{heading}\n");
        let most = if self.all { lines.len() } else { LINES };
        let mut shown = 0;
        for line in lines.iter().take(most) {
            if !self.has_room(line.len() + 100, later) {
                break;
            }
            self.text.push_str(line);
            self.text.push('\n');
            shown += 1;
        }
        if shown < lines.len() {
            let _ = write!(self.text, "\nAnd {} more.\n", lines.len() - shown);
        }
        shown
    }

    /// A fold with a list in it.
    fn fold(&mut self, summary: &str, items: &[String], later: usize) {
        if items.is_empty() {
            return;
        }
        let _ = write!(self.text, "\n<details>\n<summary>{summary}</summary>\n");
        self.lines(&format!("{} in all\n", items.len()), items, later);
        self.text.push_str("\n</details>\n");
    }
}

/// A list of sentences.
fn items(sentences: impl IntoIterator<Item = impl AsRef<str>>) -> Vec<String> {
    sentences.into_iter().map(|text| format!("- {}", sentence(text.as_ref()))).collect()
}

/// `1 pair`, `2 pairs`.
fn count(number: usize, one: &str) -> String {
    format!("{number} {one}{}", if number == 1 { "" } else { "s" })
}

/// What closes.
#[derive(Clone, Copy)]
enum Closes {
    /// Ways of so many pairs.
    Pairs(usize),
    /// So many elements of exceptions, whose pairs are not known.
    Elements(usize),
}

/// What the heading says: what opens and what is given up stands in bold.
fn verdict(opens: usize, closes: Closes, loosened: &Loosened) -> String {
    let given_up = loosened.counted().map_or_else(String::new, |what| format!(", **gives up {what}**"));
    let closes = match closes {
        Closes::Pairs(0) => "closes nothing".to_owned(),
        Closes::Pairs(pairs) => format!("closes ways of {}", count(pairs, "pair")),
        Closes::Elements(elements) => format!("takes away {}", count(elements, "element") + " of exceptions"),
    };
    let ways = match (opens, closes) {
        // Whatever the files ask for, packets pass.
        (0, _) if loosened.rules => "**takes every rule away**".to_owned(),
        (opens, _) if loosened.rules => {
            format!("**takes every rule away**, **opens ways of {}**", count(opens, "pair"))
        }
        (0, closes) => format!("opens nothing, {closes}"),
        (opens, closes) => format!("**opens ways of {}**, {closes}", count(opens, "pair")),
    };
    ways + &given_up
}

/// Links and addresses that no rule names any more.
fn push_given_up(page: &mut Page, loosened: &Loosened, later: usize) {
    let lines: Vec<_> = loosened.given_up().map(|what| format!("- {}", code(what))).collect();
    let heading = "**Gives up**: no rule names these any more, or not all of it, so that of what they send and get only that \
                   is dropped which another rule drops\n";
    page.lines(heading, &lines, later);
}

/// An exception as its entry says it.
fn allow(allow: &Allow) -> String {
    let (from, address, to) = (allow.from.to_string(), allow.to.to_string(), allow.to_name.to_string());
    let service = crate::meaning::service(allow);
    exception([&from, &address, &to, &service], allow.reason.as_deref())
}

fn exception([from, address, to, service]: [&str; 4], reason: Option<&str>) -> String {
    let reason =
        reason.map_or_else(|| ", no reason given".to_owned(), |reason| format!(": {}", code(reason)));
    format!("- {} → {} behind {}, {}{reason}", code(from), code(address), code(to), code(service))
}

/// The name of a file without what only the machine knows.
fn file(name: &str) -> String {
    code(name)
}
