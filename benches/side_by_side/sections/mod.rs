//! The sections of the benchmark, in the order they are run.

mod apply;
mod change;
mod lab;
mod nothing;
mod packets;
mod verbs;

use super::Result;
use super::measure::Bench;

/// A part of the benchmark that can be run alone.
pub(crate) struct Section {
    pub(crate) name: &'static str,
    pub(crate) title: &'static str,
    pub(crate) run: fn(&mut Bench) -> Result<()>,
}

/// Their names.
pub(crate) const NAMES: [&str; 6] = ["apply", "change", "nothing", "packets", "verbs", "lab"];

/// All of them.
pub(crate) const ALL: [Section; 6] = [
    Section { name: "apply", title: "into the kernel, from nothing", run: apply::run },
    Section { name: "change", title: "small changes", run: change::run },
    Section { name: "nothing", title: "nothing to do", run: nothing::run },
    Section { name: "packets", title: "packets through the host", run: packets::run },
    Section { name: "verbs", title: "start-up and memory of every verb", run: verbs::run },
    Section { name: "lab", title: "lab and compare", run: lab::run },
];
