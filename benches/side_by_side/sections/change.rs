//! Small changes to a large policy.

use super::super::Result;
use super::super::measure::Bench;

pub(super) fn run(_bench: &mut Bench) -> Result<()> {
    Ok(())
}
