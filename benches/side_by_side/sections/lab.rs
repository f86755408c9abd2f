//! How long a lab takes to be built and to be gone, and how many probes it sends.

use super::super::Result;
use super::super::measure::Bench;

pub(super) fn run(_bench: &mut Bench) -> Result<()> {
    Ok(())
}
