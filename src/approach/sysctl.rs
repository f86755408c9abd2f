//! The `sysctl` approach: per-interface `forwarding`, honest about what it does not stop.

use super::{Approach, Desired, Sysctl, SysctlKey, forwarding};
use crate::intent::{Guard, Intent, IpFamily, Party};
use crate::ruleset::Ruleset;

/// What `forwarding = 0` on a NIC leaves open. `tests/it/sysctl_approach.rs` holds each against packets.
const NOT_COVERED: [&str; 7] = [
    "packets from containers still reach guarded networks: the kernel asks the interface that a packet \
     came in on (ip_route_input_slow), so only the answers are dropped",
    "IPv6: the per-interface key does not gate forwarding",
    "the host's own addresses on guarded NICs stay open to containers",
    "the next 0 -> 1 write of net/ipv4/ip_forward sets every interface back to 1",
    "a guarded NIC that is deleted and created again takes conf/default",
    "with forwarding off a NIC accepts ICMP redirects unless accept_redirects is 0 on it and on all",
    "no exceptions, no masquerade, no publishing: use the nftables approach, or Docker's or Podman's own",
];

/// ip_forward first, because writing it resets the keys that follow; then `forwarding = 0` on every
/// NIC from which nothing may be forwarded.
pub(super) fn desired(intent: &Intent<'_>) -> Desired {
    let mut sysctls = forwarding(intent);
    let nics = intent.topology.nics.iter().enumerate();
    // The key is about packets that come in on the NIC. A NIC that some network reaches has to
    // deliver that network's answers, so it cannot be switched off.
    for (index, nic) in nics.filter(|(index, _)| intent.guards[*index] == Guard::All) {
        if !intent.speaks(Party::Nic(index), IpFamily::V4) {
            continue;
        }
        for link in intent.links_of(index) {
            sysctls.push(Sysctl {
                key: SysctlKey(format!("net/ipv4/conf/{link}/forwarding")),
                value: "0".to_owned(),
                why: format!("nothing that comes in on {} is forwarded", nic.name),
                origin: nic.entry,
            });
        }
    }
    Desired {
        approach: Approach::Sysctl,
        ruleset: Ruleset::new(),
        sysctls,
        not_covered: NOT_COVERED.to_vec(),
    }
}
