//! What was measured, as values: what is written as JSON, and what the document and the bars are made from.
//!
//! The names that sections and bars agree on:
//!
//! | section | work | who | figures |
//! |---|---|---|---|
//! | apply | | isoplan, nft -f, iptables-restore, docker, ufw, firewalld, floor, parse | wall, user, system, cpu, memory, bytes, kernel |
//! | change | bridge added, bridge removed, subnet added, subnet removed, exception added, exception removed | isoplan, isoplan reading, nft, nft -f, iptables-restore, iptables-restore --noflush, floor, dump, parse | as above |
//! | nothing | | isoplan, isoplan reading, nft list, nft -j list, floor, parse | as above |
//! | packets | udp | bare, masquerade, isoplan, docker, linear, masquerade again | packets, relative, cpu, core 0, core 1 |
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
//! way that these write them. `masquerade again` is masquerade once more, as a control. The `cpu` of packets is for
//! a packet, that of a stream for a KiB; `dropped` is the share of a flood that did not arrive. Sizes are
//! measured one after the other, so they are compared by `relative`: packets as a share of masquerade's beside it.

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

impl Unit {
    /// What a reader is told.
    pub(crate) const fn words(self) -> &'static str {
        match self {
            Self::Milliseconds => "ms",
            Self::Microseconds => "µs",
            Self::Nanoseconds => "ns",
            Self::Mebibytes => "MiB",
            Self::Bytes => "bytes",
            Self::PerSecond => "a second",
            Self::Gigabits => "Gbit/s",
            Self::Share => "of 1",
            Self::Count => "",
        }
    }
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

    /// Writes it as JSON, each series on a line of its own: a run differs from the last in numbers, not in lines.
    pub(crate) fn write(&self, path: &Path) -> Result<()> {
        let Self { version, quick, machine, series } = self;
        let lines: Vec<String> = series
            .iter()
            .map(|series| serde_json::to_string(&series.rounded()))
            .collect::<serde_json::Result<_>>()?;
        let text = format!(
            "{{\n\"version\": {version},\n\"quick\": {quick},\n\"machine\": {},\n\"series\": [\n{}\n]\n}}\n",
            serde_json::to_string_pretty(machine)?,
            lines.join(",\n")
        );
        fs::write(path, text)?;
        Ok(())
    }

    pub(crate) fn read(path: &Path) -> Result<Self> {
        let text = fs::read_to_string(path).map_err(|error| format!("{}: {error}", path.display()))?;
        let report: Self = serde_json::from_str(&text)?;
        match report.version {
            VERSION => Ok(report),
            other => Err(format!("{}: version {other}, not {VERSION}", path.display()).into()),
        }
    }
}

/// The format of a [`Report`] as JSON.
pub(crate) const VERSION: u32 = 1;

impl Series {
    /// The same with five digits that count: more are noise.
    fn rounded(&self) -> Self {
        let round = |sample: &f64| format!("{sample:.4e}").parse().unwrap_or(*sample);
        Self { key: self.key.clone(), unit: self.unit, samples: self.samples.iter().map(round).collect() }
    }
}

/// The middle of some samples, and how far they spread.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Quartiles {
    /// A quarter of the samples are not above it.
    pub(crate) low: f64,
    pub(crate) median: f64,
    /// A quarter of the samples are not below it.
    pub(crate) high: f64,
}

impl Quartiles {
    /// Of some samples, where there are any; between two of them in proportion.
    pub(crate) fn of(samples: &[f64]) -> Option<Self> {
        let mut sorted = samples.to_vec();
        sorted.sort_by(f64::total_cmp);
        let last = sorted.len().checked_sub(1)?;
        let at = |part: f64| {
            let place = part * last as f64;
            let (below, above) = (place.floor() as usize, place.ceil() as usize);
            let share = place - place.floor();
            sorted[below] * (1.0 - share) + sorted[above] * share
        };
        Some(Self { low: at(0.25), median: at(0.5), high: at(0.75) })
    }
}

/// The middle of some samples; the mean of the two in the middle where they are even in number.
pub(crate) fn median(samples: &[f64]) -> Option<f64> {
    Quartiles::of(samples).map(|quartiles| quartiles.median)
}

/// `a / b`, sample by sample, as they were taken in turns.
pub(crate) fn ratios(a: &[f64], b: &[f64]) -> Vec<f64> {
    a.iter().zip(b).map(|(a, b)| a / b).collect()
}
