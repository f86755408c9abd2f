//! Seeing that the kernel has what was meant.

use super::journal;
use super::state_dir::StateDir;
use crate::approach::Desired;
use crate::diff::{Diff, diff};
use crate::live;
use crate::netlink::Nftables;

/// What differs now that everything was done: nothing, if all is well.
pub(super) fn read_back(
    nftables: &mut Nftables,
    state: &StateDir,
    desired: &Desired,
) -> Result<Diff, Box<dyn std::error::Error + Send + Sync>> {
    let keys = desired.sysctls.iter().map(|sysctl| sysctl.key.clone());
    let after = live::read(nftables, keys, journal::read(state)?)?;
    Ok(diff(desired, &after))
}
