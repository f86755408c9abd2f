//! The process inside a lab that carries out one job and tells what it saw: `isoplan lab-stage work`.

use std::io;

use serde::{Deserialize, Serialize};

use crate::approach::Approach;
use crate::verify::change::Change;
use crate::verify::outcome::Observation;

/// One lab: an approach, a change of the host, and probes. Goes to the worker's stdin as one line of JSON.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Job {
    /// The name of the topology file, for messages.
    pub file: String,
    /// The text of it. Layout and probes are computed from it again, and come out the same.
    pub text: String,
    /// Which approach is applied.
    pub approach: Approach,
    /// Which change goes before the probes.
    pub change: Option<Change>,
    /// The names of the probes, in the order of sending.
    pub probes: Vec<String>,
    /// Whether what decided about each probe is traced.
    pub is_traced: bool,
    /// A CPU to stay on: the how manieth of those that are allowed.
    pub cpu: usize,
}

/// What a worker says, a line of JSON each.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Said {
    /// What became of a probe.
    Observed {
        /// Its name.
        probe: String,
        /// What was seen of it.
        observation: Observation,
    },
    /// It is over; `None` when nothing failed.
    Ended(Option<String>),
}

/// Reads a job from stdin, does it, and writes what it saw to stdout.
///
/// # Errors
///
/// When stdin or stdout fails; a lab that fails is said on stdout.
pub fn work() -> io::Result<()> {
    todo!()
}
