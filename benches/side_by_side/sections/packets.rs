//! Packets through the host, container to service.

use super::super::Result;
use super::super::measure::Bench;

pub(super) fn run(_bench: &mut Bench) -> Result<()> {
    Ok(())
}
