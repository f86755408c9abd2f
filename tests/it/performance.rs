//! The document about speed is what the numbers beside it give.

use std::fs;
use std::path::{Path, PathBuf};

#[path = "../../benches/side_by_side/bars/mod.rs"]
#[allow(dead_code, reason = "the benchmark and this test each use a part of it")]
mod bars;
#[path = "../../benches/side_by_side/document/mod.rs"]
mod document;
#[path = "../../benches/side_by_side/report.rs"]
#[allow(dead_code, reason = "the benchmark and this test each use a part of it")]
mod report;

use self::report::Report;

/// What the modules of the benchmark return.
type Result<T> = std::result::Result<T, Box<dyn std::error::Error>>;

/// `ISOPLAN_BLESS=1` writes it anew, after a change of the words in `templates/performance/`.
#[test]
fn the_document_is_what_its_numbers_give() {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs");
    let report = Report::read(&directory.join("performance.json")).expect("read the numbers");
    let files = document::files(&report).expect("make the document");
    let is_blessed = std::env::var_os("ISOPLAN_BLESS").is_some();
    for (name, text) in &files {
        let path = directory.join(name);
        if is_blessed {
            fs::write(&path, text).expect("write the document");
        }
        let written = fs::read_to_string(&path).unwrap_or_default();
        assert!(
            written == *text,
            "docs/{name} is not what docs/performance.json gives; ISOPLAN_BLESS=1 writes it anew"
        );
    }
    let plots = fs::read_dir(directory.join("performance")).expect("list the plots");
    for path in plots.map(|entry| entry.expect("list the plots").path()) {
        let is_made = files.iter().any(|(name, _)| directory.join(name) == path);
        assert!(is_made, "{} is not made from docs/performance.json", path.display());
        let size = fs::metadata(&path).expect("look at a plot").len();
        assert!(size < 60 * 1024, "{} has {size} bytes", path.display());
    }
}

/// Numbers of which nothing is missing, and some that nobody has.
#[test]
fn a_bar_that_was_not_measured_says_so() {
    let path: PathBuf = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/performance.json");
    let mut report = Report::read(&path).expect("read the numbers");
    report.series.clear();
    let standings = bars::standings(&report);
    assert!(standings.len() > 20, "only {} bars", standings.len());
    assert!(standings.iter().all(|standing| standing.verdict() == "not measured"));
    let files = document::files(&report).expect("make the document");
    assert_eq!(files.len(), 1, "a plot of nothing");
}
