//! The document in Markdown: one file, readable as it stands, with a picture where Mermaid is known (as on GitHub).

use askama::Template;

use super::markup::{code, escaped, markdown as marked, wrapped};
use super::page::alike;
use super::{Document, SetPart};
use crate::intent::Intent;
use crate::render::matrix::Grid;
use crate::render::picture;

/// With more receivers than that, a table is wider than anybody reads; then it is told by sender.
const COLUMNS: usize = 8;

/// With more chains than that, those that are alike are told in a line; and no more chains and sets are told.
const CHAINS: usize = 40;
const MOST: usize = 100;

#[derive(Template)]
#[template(path = "document.md", escape = "none")]
struct Markdown<'d> {
    document: Document<'d>,
    mermaid: String,
    matrix: String,
    /// Of each chain, an earlier one that it is like; empty where all are told.
    alike: Vec<Option<usize>>,
    more_chains: usize,
    more_sets: usize,
}

impl Markdown<'_> {
    /// A sentence, in lines that follow on others.
    fn text(&self, text: &str) -> String {
        wrapped(&marked(text), 0)
    }

    /// The same within an item of a list.
    fn item(&self, text: &str) -> String {
        wrapped(&marked(text), 2)
    }

    fn code(&self, text: &str) -> String {
        code(text)
    }

    fn escaped(&self, text: &str) -> String {
        escaped(text)
    }

    /// The name of the chain that another one, by its place, is like.
    fn like(&self, chain: &usize) -> Option<&str> {
        let other = (*self.alike.get(*chain)?)?;
        Some(&self.document.chains[other].name)
    }

    fn elements(&self, set: &SetPart) -> String {
        if set.is_grouped {
            let lines: Vec<_> = set.elements.iter().map(|line| format!("  - {}", escaped(line))).collect();
            return lines.join("\n");
        }
        let all: Vec<_> = set.elements.iter().map(|element| code(element)).collect();
        format!("  {}", wrapped(&all.join(", "), 2))
    }
}

/// The document.
///
/// # Errors
///
/// None that input can bring about.
pub fn markdown(intent: &Intent<'_>) -> Result<String, askama::Error> {
    let mut document = Document::new(intent)?;
    let matrix = matrix(&document.grid);
    let mermaid = picture::mermaid(intent).trim_end().to_owned();
    let alike = if document.chains.len() > CHAINS { alike(&document.chains) } else { Vec::new() };
    let more_chains = document.chains.len().saturating_sub(MOST);
    let more_sets = document.sets.len().saturating_sub(MOST);
    document.chains.truncate(MOST);
    document.sets.truncate(MOST);
    Markdown { document, mermaid, matrix, alike, more_chains, more_sets }.render()
}

fn matrix(grid: &Grid) -> String {
    if grid.receivers.len() > COLUMNS { by_sender(grid) } else { table(grid) }
}

/// Aligned, so that it is a table in plain text as well.
fn table(grid: &Grid) -> String {
    let mut lines: Vec<Vec<String>> = vec![
        std::iter::once("from \\ to").chain(grid.receivers.iter().map(String::as_str)).map(escaped).collect(),
    ];
    for (from, cells) in &grid.rows {
        lines.push(std::iter::once(from).chain(cells).map(|cell| escaped(cell)).collect());
    }
    let widths: Vec<usize> = (0..lines[0].len())
        .map(|column| lines.iter().map(|line| line[column].chars().count()).max().unwrap_or(0))
        .collect();
    let row = |cells: &[String]| {
        let cells: Vec<_> =
            cells.iter().zip(&widths).map(|(cell, width)| format!("{cell:width$}", width = *width)).collect();
        format!("| {} |", cells.join(" | "))
    };
    let rule: Vec<_> = widths.iter().map(|width| "-".repeat(*width)).collect();
    let mut text = vec![row(&lines[0]), row(&rule)];
    text.extend(lines[1..].iter().map(|line| row(line)));
    text.join("\n")
}

/// A list: of each sender, whom it may do what to.
fn by_sender(grid: &Grid) -> String {
    let mut lines = Vec::new();
    for (from, cells) in &grid.rows {
        lines.push(format!("- from {}", escaped(from)));
        let mut ways: Vec<&str> = Vec::new();
        for cell in cells {
            if !ways.contains(&cell.as_str()) {
                ways.push(cell);
            }
        }
        ways.sort_by_key(|way| *way == "blocked" || *way == "-");
        for way in ways.into_iter().filter(|way| *way != "-") {
            let to = grid.receivers.iter().zip(cells).filter(|(_, cell)| *cell == way);
            let to: Vec<_> = to.map(|(to, _)| to.replace(' ', "\u{a0}")).collect();
            let line = wrapped(&format!("- {way}: {}", escaped(&to.join(", "))), 4);
            lines.push(format!("  {}", line.replace('\u{a0}', " ")));
        }
    }
    lines.join("\n")
}
