//! The document as one self-contained page: no script, no file beside it, nothing from the network.

use std::collections::BTreeMap;

use askama::Template;

use super::markup::html;
use super::{ChainPart, Document, SetPart};
use crate::intent::Intent;
use crate::render::matrix::Grid;
use crate::render::picture::{self, ForPage};

/// A page is not larger, in bytes: what repeats is told shorter, and counted in the end.
const BYTES: usize = 200 * 1024;

/// With more receivers than that, a table is wider than a window or a sheet of paper; then it is told by sender.
const COLUMNS: usize = 14;

/// So many chains and sets are told, however large the page is.
const LEAST: usize = 8;

/// As many receivers that are blocked are named, of those whom most are blocked for.
const NAMED: usize = 4;

/// So many receivers are named of one kind and sender, where all are too many.
const RECEIVERS: usize = 6;

/// How much is told of what repeats.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Detail {
    /// All.
    Full,
    /// Of a chain that is another one but for the class in its names, only that.
    Alike,
    /// Of a chain whose rules all were before, only their syntax; of a set only its elements.
    Brief,
}

#[derive(Template)]
#[template(path = "document.html")]
struct Page<'d> {
    document: Document<'d>,
    picture: ForPage,
    /// In place of the matrix, where it is too wide.
    senders: Vec<Sender>,
    detail: Detail,
    /// Of each chain, see [`Self::like`].
    alike: Vec<Option<usize>>,
    /// Of chains, and of sets.
    most: usize,
    /// Whether the picture is on the page.
    is_drawn: bool,
}

/// What one party may do towards the others.
struct Sender {
    from: String,
    /// A word of the matrix, and for whom it is.
    ways: Vec<(String, String)>,
}

impl Page<'_> {
    /// On a desk the picture is not smaller than this, in px: its letters stay readable.
    fn least(&self) -> i32 {
        self.picture.width * 17 / 20
    }

    /// Whether the matrix is better read on paper that lies on its side.
    fn is_wide(&self) -> bool {
        self.senders.is_empty() && self.document.grid.receivers.len() > 8
    }

    /// A sentence with its code; safe to be put into the page as it is.
    fn text(&self, text: &str) -> String {
        html(text)
    }

    /// How a cell of the matrix looks: a class of the style sheet. Each has a sign of its own besides its colour.
    fn look(&self, cell: &str) -> &'static str {
        match cell {
            "open" => "good",
            "blocked" => "bad",
            "-" => "plain-cell",
            _ => "half",
        }
    }

    /// The chain that another one, by its place, is like.
    fn like(&self, chain: &usize) -> Option<&usize> {
        if self.detail == Detail::Full { None } else { self.alike[*chain].as_ref() }
    }

    /// The chains that are told.
    fn chains(&self) -> &[ChainPart] {
        &self.document.chains[..self.most.min(self.document.chains.len())]
    }

    /// The sets that are told.
    fn sets(&self) -> &[SetPart] {
        &self.document.sets[..self.most.min(self.document.sets.len())]
    }

    fn chain(&self, place: &usize) -> &ChainPart {
        &self.document.chains[*place]
    }

    /// Whether a chain is told in short.
    fn is_short(&self, chain: &ChainPart) -> bool {
        self.detail == Detail::Brief
            && !chain.rules.is_empty()
            && chain.rules.iter().all(|rule| rule.reason.is_none())
    }
}

/// The class in the name of a chain, `from_CLASS`, `to_CLASS_INBOUND` or `host_from_CLASS`.
fn class(chain: &ChainPart) -> Option<&str> {
    let name = chain.name.as_str();
    if let Some(class) = name.strip_prefix("from_").or_else(|| name.strip_prefix("host_from_")) {
        return Some(class);
    }
    let (class, _) = name.strip_prefix("to_")?.rsplit_once('_')?;
    Some(class)
}

/// Of each chain, an earlier one that has the same rules when the one class is put in place of the other.
pub(super) fn alike(chains: &[ChainPart]) -> Vec<Option<usize>> {
    let mut first: BTreeMap<(&str, Vec<String>), usize> = BTreeMap::new();
    let of = |(place, chain): (usize, &'_ ChainPart)| {
        let class = class(chain).filter(|class| !class.is_empty())?.to_owned();
        let without = |text: &str| text.replace(&class, "\0");
        let mut rules: Vec<String> =
            chain.rules.iter().map(|rule| format!("{} {}", rule.id, without(&rule.syntax))).collect();
        rules.push(without(&chain.name));
        let other = *first.entry((&chains[place].table, rules)).or_insert(place);
        (other < place).then_some(other)
    };
    chains.iter().enumerate().map(of).collect()
}

/// Each sender with the words of its cells; `blocked` after what is open, and in short where it is for most.
fn by_sender(grid: &Grid, named: usize) -> Vec<Sender> {
    let sender = |(from, cells): &(String, Vec<String>)| {
        let mut words: Vec<&str> = Vec::new();
        for cell in cells {
            if !words.contains(&cell.as_str()) {
                words.push(cell);
            }
        }
        words.sort_by_key(|word| (*word == "-", *word == "blocked"));
        let told = |word: &str| {
            let to = grid.receivers.iter().zip(cells).filter(|(_, cell)| *cell == word);
            let to: Vec<&str> = to.map(|(to, _)| to.as_str()).collect();
            let is_most = to.len() > NAMED && 2 * to.len() > cells.len();
            // Those without an IP version in common would be others too.
            let is_rest = word == "blocked" && is_most && !cells.iter().any(|cell| cell == "-");
            let text = match is_rest {
                true if to.len() == cells.len() => format!("everyone, {}", to.len()),
                true => format!("all others, {}", to.len()),
                false if to.len() > named => {
                    format!("{} and {} more", to[..named].join(", "), to.len() - named)
                }
                false => to.join(", "),
            };
            (word.to_owned(), text)
        };
        Sender { from: from.clone(), ways: words.into_iter().map(told).collect() }
    };
    grid.rows.iter().map(sender).collect()
}

/// The page.
///
/// # Errors
///
/// None that input can bring about.
pub fn page(intent: &Intent<'_>) -> Result<String, askama::Error> {
    let document = Document::new(intent)?;
    let is_wide = document.grid.receivers.len() > COLUMNS;
    let senders = if is_wide { by_sender(&document.grid, usize::MAX) } else { Vec::new() };
    let picture = picture::for_page(intent);
    let alike = alike(&document.chains);
    let mut page =
        Page { document, picture, senders, detail: Detail::Full, alike, most: usize::MAX, is_drawn: true };
    let mut are_cut = false;
    loop {
        let text = page.render()?;
        if text.len() <= BYTES {
            return Ok(text);
        }
        match page.detail {
            Detail::Full => page.detail = Detail::Alike,
            _ if page.document.whole.is_some() => page.document.whole = None,
            Detail::Alike => page.detail = Detail::Brief,
            Detail::Brief => {
                let all = page.document.chains.len().max(page.document.sets.len());
                let fewer = page.most.min(all) / 4 * 3;
                if fewer >= LEAST {
                    page.most = fewer;
                } else if is_wide && !are_cut {
                    are_cut = true;
                    page.senders = by_sender(&page.document.grid, RECEIVERS);
                } else if page.is_drawn {
                    page.is_drawn = false;
                } else {
                    return Ok(text);
                }
            }
        }
    }
}
