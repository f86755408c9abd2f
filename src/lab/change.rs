//! Changes of the host, carried out.

use std::io;

use super::build::Lab;
use super::prober::Prober;
use crate::approach::Approach;
use crate::intent::Intent;
use crate::verify::change::Change;

/// What has to be so before the approach is applied: a NIC that is not there yet, a switch that is on.
///
/// # Errors
///
/// When the kernel refuses it.
pub fn before_apply(_lab: &mut Lab, _intent: &Intent<'_>, _change: Change) -> io::Result<()> {
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
) -> io::Result<()> {
    todo!()
}
