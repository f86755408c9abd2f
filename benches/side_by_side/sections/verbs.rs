//! What every verb takes to start, and its memory.

use super::super::Result;
use super::super::measure::Bench;

pub(super) fn run(_bench: &mut Bench) -> Result<()> {
    Ok(())
}
