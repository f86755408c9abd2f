//! What a run prints at its end.

use comfy_table::{CellAlignment, Table, presets};

use super::bars::{self, Standing};
use super::report::{Quartiles, Report, ratios};

/// How every bar stands, as a table for a terminal.
pub(crate) fn bars(report: &Report) -> String {
    let mut table = Table::new();
    table.load_style(presets::NOTHING);
    table.set_header(["bar", "networks", "verdict", "is", "quartiles", "limit", "least for"]);
    let standings = bars::standings(report);
    for standing in standings.iter().filter(|standing| standing.worst.is_some()) {
        table.add_row(row(standing));
    }
    for column in [1, 3] {
        if let Some(column) = table.column_mut(column) {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    let missing = standings.iter().filter(|standing| standing.worst.is_none());
    let missing: Vec<_> =
        missing.map(|standing| format!("{} at {}", standing.bar.id, standing.size)).collect();
    if missing.is_empty() {
        lines(&table)
    } else {
        format!("{}\n\nnot measured: {}", lines(&table), missing.join("; "))
    }
}

fn row(standing: &Standing) -> [String; 7] {
    let limit = standing.limit();
    let worst = standing.worst.as_ref();
    [
        standing.bar.id.to_owned(),
        standing.size.to_string(),
        standing.verdict().to_owned(),
        worst.map_or_else(String::new, |worst| limit.value(worst.quartiles.median)),
        worst.map_or_else(String::new, |worst| {
            format!("{} to {}", limit.value(worst.quartiles.low), limit.value(worst.quartiles.high))
        }),
        limit.words(),
        worst.map_or_else(String::new, |worst| worst.which.clone()),
    ]
}

/// Times of every contender beside isoplan's, as a table for a terminal.
pub(crate) fn times(report: &Report) -> String {
    let mut table = Table::new();
    table.load_style(presets::NOTHING);
    table.set_header(["section", "work", "networks", "who", "times isoplan's", "median ms", "quartiles"]);
    for series in report.series.iter().filter(|series| series.key.figure == "wall") {
        let key = &series.key;
        let Some(Quartiles { low, median, high }) = Quartiles::of(&series.samples) else { continue };
        let base = report.samples(&key.section, &key.work, key.size, "isoplan", "wall");
        let ratio = Quartiles::of(&ratios(&series.samples, base));
        table.add_row([
            key.section.clone(),
            key.work.clone(),
            key.size.to_string(),
            key.who.clone(),
            ratio.map_or_else(String::new, |ratio| format!("{:.2}", ratio.median)),
            bars::significant(median),
            format!("{} to {}", bars::significant(low), bars::significant(high)),
        ]);
    }
    for column in [2, 4, 5] {
        if let Some(column) = table.column_mut(column) {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    lines(&table)
}

/// A table without spaces at the ends of lines.
fn lines(table: &Table) -> String {
    table.lines().map(|line| line.trim_end().to_owned()).collect::<Vec<_>>().join("\n")
}
