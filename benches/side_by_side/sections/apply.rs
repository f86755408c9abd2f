//! Into the kernel: a policy put there from nothing.

use super::super::Result;
use super::super::measure::Bench;

pub(super) fn run(_bench: &mut Bench) -> Result<()> {
    Ok(())
}
