//! Many labs: which there have to be for a comparison, and running them side by side.

use std::collections::BTreeMap;
use std::io;

use super::worker::Job;
use crate::verify::outcome::Observation;

/// Runs jobs side by side, as many at a time as there are CPUs; calls `progress` with how many probes are done
/// after each one. The observations of each job, by the name of the probe: every probe of a job is in it, as
/// one that could not be tested where the lab failed.
///
/// # Errors
///
/// When no lab can be started at all.
pub fn run(
    _jobs: &[Job],
    _progress: &mut dyn FnMut(usize),
) -> io::Result<Vec<BTreeMap<String, Observation>>> {
    todo!()
}
