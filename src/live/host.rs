//! What this host has besides isoplan.

use std::io;

use crate::host::Host;
use crate::netlink;

/// Links, addresses, and the unicast routes of the main table, of the network namespace that the calling
/// thread is in. Needs no privilege.
///
/// # Errors
///
/// When the kernel refuses, or when links, addresses or routes change faster than they can be read.
pub fn host() -> io::Result<Host> {
    netlink::host()
}
