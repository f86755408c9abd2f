//! Who may have written a sysctl: the kernel does not tell.

use crate::approach::SysctlKey;
use crate::diff::SysctlWrite;

/// Programs that are known to write forwarding, by the name of their process (at most 15 bytes, proc(5)).
pub const KNOWN: [&str; 9] = [
    "dockerd",
    "podman",
    "netavark",
    "libvirtd",
    "systemd-network",
    "NetworkManager",
    "incusd",
    "lxd",
    "kubelet",
];

/// A guess from what changed and which of [`KNOWN`] run; none where there is nothing to go by.
pub fn guess(writes: &[SysctlWrite], running: &[&str]) -> Option<String> {
    if writes.is_empty() {
        return None;
    }
    let switch = |write: &&SysctlWrite| write.key.switch().is_some();
    let mut guesses = Vec::new();
    if let Some(write) = writes.iter().find(switch) {
        let switch = write.key.switch().unwrap_or(SysctlKey::IP_FORWARD);
        guesses.push(format!(
            "a write of {switch} resets every interface, and a new interface takes the default"
        ));
    }
    if !running.is_empty() {
        guesses.push(format!("{} may write it, and runs here", running.join(" or ")));
    }
    (!guesses.is_empty()).then(|| guesses.join("; "))
}
