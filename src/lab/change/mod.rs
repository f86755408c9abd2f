//! Changes of the host, carried out.

use std::io;

use super::build::Lab;
use super::prober::Prober;
use crate::approach::Approach;
use crate::intent::{Intent, IpFamily};
use crate::verify::change::Change;
use crate::verify::outcome::{Expected, Observation, Outcome};
use crate::verify::probe::Probe;

/// What a change keeps from before the approach is applied until after it.
#[derive(Debug, Default)]
pub struct Kept {}

/// What a change has seen itself of packets from the container to the server of the closed NIC, by family: only
/// [`Change::AppliedUnderFlood`] sends any.
pub type Witnessed = Vec<(IpFamily, Observation)>;

/// What has to be so before the approach is applied: a NIC that is not there yet, a switch that is on.
///
/// # Errors
///
/// When the kernel refuses it.
pub fn before_apply(_lab: &mut Lab, _intent: &Intent<'_>, _change: Change) -> io::Result<Kept> {
    todo!()
}

/// The change itself, after the approach was applied. Ready for probes when this returns.
///
/// # Errors
///
/// When the kernel refuses it.
pub fn after_apply(
    _lab: &mut Lab,
    _prober: &mut Prober,
    _intent: &Intent<'_>,
    _approach: Approach,
    _change: Change,
    _kept: Kept,
) -> io::Result<Witnessed> {
    todo!()
}

/// What is to be told of a probe: what was seen of it, or what the change has witnessed, where that tells more.
pub fn with_witnessed(probe: &Probe, own: Observation, witnessed: &Witnessed) -> Observation {
    let of_family = witnessed.iter().find(|(family, _)| *family == probe.family);
    match (&own.outcome, of_family) {
        (Outcome::Blocked, Some((_, seen))) if probe.expected == Expected::Blocked => seen.clone(),
        _ => own,
    }
}
