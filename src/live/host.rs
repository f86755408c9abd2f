//! What this host has besides isoplan.

use std::{fs, io};

use crate::flows::Flow;
use crate::host::Host;
use crate::netlink::{self, conntrack::Conntrack};

/// Links, addresses, and the unicast routes of the main table, of the network namespace that the calling
/// thread is in. Needs no privilege.
///
/// # Errors
///
/// When the kernel refuses, or when links, addresses or routes change faster than they can be read.
pub fn host() -> io::Result<Host> {
    netlink::host()
}

/// Hands over every flow that conntrack knows, of the network namespace that the calling thread is in.
///
/// # Errors
///
/// When the kernel refuses it, which it does without CAP_NET_ADMIN, or has no conntrack.
pub fn flows(each: impl FnMut(Flow)) -> io::Result<()> {
    /// Of this namespace. A dump of no flows walks the whole table all the same, that all namespaces share: 10 ms and
    /// more.
    const COUNT: &str = "/proc/sys/net/netfilter/nf_conntrack_count";
    if fs::read_to_string(COUNT).is_ok_and(|count| count.trim_end() == "0") {
        return Ok(());
    }
    Conntrack::open()?.dump(each)
}
