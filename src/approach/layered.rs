//! The `layered` approach: the tables of `nftables`, and `forwarding = 0` on guarded NICs as a second line.

use super::{Approach, Desired, SysctlKey, nftables, sysctl};
use crate::intent::{Intent, Party};

/// Tables first, then the switches, then the keys that the switches reset.
pub(super) fn desired(intent: &Intent<'_>) -> Desired {
    // The answers to an exception come in on the NIC, and would not be forwarded.
    let excepted = |nic: usize| {
        let pairs = intent.exceptions.iter().flatten();
        pairs.flat_map(|(from, to)| [*from, *to]).any(|party| party == Party::Nic(nic))
    };
    let open: Vec<String> = (0..intent.topology.nics.len())
        .filter(|nic| excepted(*nic))
        .flat_map(|nic| intent.links_of(nic))
        .map(|link| format!("net/ipv4/conf/{link}/forwarding"))
        .collect();
    let is_open = |key: &SysctlKey| open.contains(&key.0);
    let mut sysctls = sysctl::desired(intent).sysctls;
    sysctls.retain(|sysctl| !is_open(&sysctl.key));
    Desired { approach: Approach::Layered, sysctls, ..nftables::desired(intent) }
}
