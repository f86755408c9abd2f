//! What was measured, as values: what is written as JSON, and what the document and the bars are made from.
//!
//! The names that sections and bars agree on:
//!
//! | section | work | who | figures |
//! |---|---|---|---|
//! | apply | | isoplan, nft -f, iptables-restore, docker, ufw, firewalld, floor, parse | wall, user, system, cpu, memory, bytes, kernel |
//! | change | bridge added, bridge removed, subnet added, subnet removed, exception added, exception removed | isoplan, isoplan reading, nft, nft -f, iptables-restore, floor, dump, parse | as above |
//! | nothing | | isoplan, isoplan reading, nft list, nft -j list, floor, parse | as above |
//! | packets | udp | bare, masquerade, isoplan, docker, linear | packets, cpu, core 0, core 1 |
//! | packets | tcp | | throughput, cpu |
//! | packets | latency | | p50, p99, p99.9 |
//! | packets | connections | | connections |
//! | packets | flood | | p50, p99, dropped |
//! | verbs | service instance, or empty | the verb | wall, cpu, memory |
//! | lab | build, tear down, compare, verify | the topology | wall, probes |
//!
//! `floor` is a minimal program that sends the batch already encoded (for `nothing`: that reads the raw dump),
//! `parse` the TOML parser alone, timed within its process. `isoplan` goes by the generation that its last apply
//! left behind, `isoplan reading` cannot, because somebody else committed something since. `kernel` is the time
//! from sending a batch to its answer. docker, ufw and firewalld are one rule or more for each network, in the
//! way that these write them.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::Result;

/// A run of the benchmark.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Report {
    /// The format of this document.
    pub(crate) version: u32,
    /// Whether it was the short run.
    pub(crate) quick: bool,
    /// Where it was measured: `kernel`, `cpu`, `cores`, `memory`, `date`, `isoplan`, `nft`, `iptables`, ...
    pub(crate) machine: BTreeMap<String, String>,
    pub(crate) series: Vec<Series>,
}

/// Measurements of one thing, in the order they were taken.
///
/// Those who are compared were measured in turns: sample `n` of one is to be seen beside sample `n` of the other.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Series {
    #[serde(flatten)]
    pub(crate) key: Key,
    pub(crate) unit: Unit,
    pub(crate) samples: Vec<f64>,
}

/// What is measured.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(crate) struct Key {
    /// The section of the benchmark, such as `apply`.
    pub(crate) section: String,
    /// What is done, where a section does several things, such as `bridge added`; otherwise empty.
    pub(crate) work: String,
    /// How many networks there are.
    pub(crate) size: usize,
    /// Who does it, such as `isoplan`, `nft -f` or `floor`.
    pub(crate) who: String,
    /// What of it, such as `wall`, `cpu`, `memory` or `packets`.
    pub(crate) figure: String,
}

/// What a figure is counted in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Unit {
    /// Milliseconds.
    Milliseconds,
    /// Microseconds.
    Microseconds,
    /// Nanoseconds.
    Nanoseconds,
    /// MiB.
    Mebibytes,
    /// Bytes.
    Bytes,
    /// So many in a second.
    PerSecond,
    /// Gbit/s.
    Gigabits,
    /// A part of a whole, from 0 to 1.
    Share,
    /// A number of things.
    Count,
}

impl Report {
    /// The samples of one thing; empty where it was not measured.
    pub(crate) fn samples(&self, section: &str, work: &str, size: usize, who: &str, figure: &str) -> &[f64] {
        let is = |key: &Key| {
            key.section == section
                && key.work == work
                && key.size == size
                && key.who == who
                && key.figure == figure
        };
        self.series.iter().find(|series| is(&series.key)).map_or(&[], |series| &series.samples)
    }

    pub(crate) fn write(&self, path: &Path) -> Result<()> {
        fs::write(path, serde_json::to_string_pretty(self)? + "\n")?;
        Ok(())
    }

    pub(crate) fn read(path: &Path) -> Result<Self> {
        Ok(serde_json::from_str(&fs::read_to_string(path)?)?)
    }
}

/// The middle of some samples; the mean of the two in the middle where they are even in number.
pub(crate) fn median(samples: &[f64]) -> Option<f64> {
    let mut sorted = samples.to_vec();
    sorted.sort_by(f64::total_cmp);
    let middle = sorted.len() / 2;
    match sorted.len() {
        0 => None,
        odd if odd % 2 == 1 => Some(sorted[middle]),
        _ => Some(f64::midpoint(sorted[middle - 1], sorted[middle])),
    }
}

/// `a / b`, sample by sample, as they were taken in turns.
pub(crate) fn ratios(a: &[f64], b: &[f64]) -> Vec<f64> {
    a.iter().zip(b).map(|(a, b)| a / b).collect()
}
