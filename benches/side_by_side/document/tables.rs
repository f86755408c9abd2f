//! Tables for the document.

use std::collections::BTreeSet;

use comfy_table::{CellAlignment, Table, presets};

use super::super::bars::significant;
use super::super::report::{Key, Quartiles, Report, ratios};

/// Contenders in the order that they are shown in; others follow.
const ORDER: [&str; 17] = [
    "isoplan",
    "isoplan reading",
    "nft",
    "nft -f",
    "nft list",
    "nft -j list",
    "iptables-restore",
    "iptables-restore --noflush",
    "docker",
    "ufw",
    "firewalld",
    "linear",
    "masquerade",
    "masquerade again",
    "bare",
    "dump",
    "floor",
];

/// A figure of a section, with everyone it was measured for.
#[derive(Debug, Clone, Copy)]
pub(super) struct Figures<'r> {
    pub(super) report: &'r Report,
    pub(super) section: &'r str,
    /// One work alone.
    pub(super) work: Option<&'r str>,
    pub(super) figure: &'r str,
}

impl<'r> Figures<'r> {
    fn keys(self) -> impl Iterator<Item = &'r Key> {
        let keys = self.report.series.iter().map(|series| &series.key);
        keys.filter(move |key| {
            key.section == self.section
                && key.figure == self.figure
                && self.work.is_none_or(|work| key.work == work)
        })
    }

    /// Who does it.
    pub(super) fn contenders(self) -> Vec<&'r str> {
        let mut found: Vec<&str> = Vec::new();
        for key in self.keys() {
            if !found.contains(&key.who.as_str()) {
                found.push(&key.who);
            }
        }
        found.sort_by_key(|who| ORDER.iter().position(|known| known == who).unwrap_or(ORDER.len()));
        found
    }

    /// What they do.
    pub(super) fn works(self) -> Vec<&'r str> {
        let mut found: Vec<&str> = Vec::new();
        for key in self.keys() {
            if !found.contains(&key.work.as_str()) {
                found.push(&key.work);
            }
        }
        found
    }

    /// With how many networks.
    pub(super) fn sizes(self) -> BTreeSet<usize> {
        self.keys().map(|key| key.size).collect()
    }

    pub(super) fn samples(self, work: &str, size: usize, who: &str) -> &'r [f64] {
        self.report.samples(self.section, work, size, who, self.figure)
    }

    /// Each contender's figure divided by that of one of them; a row for each work and size.
    pub(super) fn ratios(self, base: &str) -> String {
        let others: Vec<_> = self.contenders().into_iter().filter(|who| *who != base).collect();
        self.table(&others, |work, size, who| {
            let mut ratio = ratios(self.samples(work, size, who), self.samples(work, size, base));
            // Nothing can be said beside nothing.
            ratio.retain(|ratio| ratio.is_finite());
            Quartiles::of(&ratio).map(|ratio| format!("{}x", significant(ratio.median)))
        })
    }

    /// Each contender's median and quartiles.
    pub(super) fn medians(self) -> String {
        self.table(&self.contenders(), |work, size, who| spread(self.samples(work, size, who)))
    }

    fn table(self, contenders: &[&str], cell: impl Fn(&str, usize, &str) -> Option<String>) -> String {
        let works = self.works();
        let has_works = works.len() > 1;
        let mut header: Vec<&str> = if has_works { vec!["work", "networks"] } else { vec!["networks"] };
        header.extend(contenders);
        let rows = works.iter().flat_map(|work| self.sizes().into_iter().map(move |size| (*work, size)));
        let rows = rows.filter_map(|(work, size)| {
            let cells: Vec<_> = contenders.iter().map(|who| cell(work, size, who)).collect();
            if cells.iter().all(Option::is_none) {
                return None;
            }
            let mut row = if has_works { vec![work.to_owned(), grouped(size)] } else { vec![grouped(size)] };
            row.extend(cells.into_iter().map(Option::unwrap_or_default));
            Some(row)
        });
        markdown(&header, rows, usize::from(has_works))
    }
}

/// A median with its quartiles; `None` without samples.
pub(super) fn spread(samples: &[f64]) -> Option<String> {
    let Quartiles { low, median, high } = Quartiles::of(samples)?;
    let [median, low, high] = [median, low, high].map(significant);
    // What never differs has no spread worth reading.
    Some(if low == high { median } else { format!("{median} ({low} to {high})") })
}

/// With a comma between thousands.
pub(crate) fn grouped(number: usize) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// A table as Markdown; columns from that one on are of numbers.
pub(super) fn markdown(
    header: &[&str],
    rows: impl Iterator<Item = Vec<String>>,
    numbers_from: usize,
) -> String {
    let mut table = Table::new();
    table.load_style(presets::ASCII_MARKDOWN).set_header(header.iter().copied());
    table.add_rows(rows);
    for column in table.column_iter_mut().skip(numbers_from) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    table.to_string()
}
