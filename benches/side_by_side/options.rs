//! What the benchmark is asked for.

use std::path::PathBuf;

use clap::Parser as _;

use super::sections;

/// Measures isoplan beside its rivals, in namespaces of its own.
#[derive(Debug, clap::Parser)]
#[command(name = "side-by-side")]
pub(crate) struct Options {
    /// Fewer sizes and repetitions: under three minutes
    #[arg(long)]
    pub(crate) quick: bool,
    /// Everything once, at the smallest size: whether it works, not how fast it is
    #[arg(long, conflicts_with = "quick")]
    pub(crate) smoke: bool,
    /// Only these sections
    #[arg(long, value_delimiter = ',', value_parser = sections::NAMES)]
    only: Vec<String>,
    /// Write what was measured to this file, and a document with plots next to it
    #[arg(long, value_name = "FILE")]
    pub(crate) json: Option<PathBuf>,
    /// Measure nothing: make the document of this file again
    #[arg(long, value_name = "FILE", conflicts_with_all = ["quick", "smoke", "only", "json", "isoplan"])]
    pub(crate) document: Option<PathBuf>,
    /// The isoplan to measure, instead of the one that was built with this program
    #[arg(long, value_name = "FILE")]
    pub(crate) isoplan: Option<PathBuf>,
    /// Given by cargo
    #[arg(long, hide = true)]
    bench: bool,
}

impl Options {
    /// The command line; ends the process where it asks for help or is wrong.
    pub(crate) fn read() -> Self {
        Self::parse()
    }

    /// Whether a section is asked for.
    pub(crate) fn measures(&self, section: &str) -> bool {
        self.only.is_empty() || self.only.iter().any(|name| name == section)
    }
}
