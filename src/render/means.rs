//! What carries out an approach, as a person would have typed it.

use std::fmt::Write as _;

use super::nft;
use crate::approach::{Approach, Means};
use crate::intent::IpFamily;

/// Commands, a line each, and for tables the file that `nft -f` loads. Empty for the approach that does nothing.
/// `file` is the topology.
pub fn text(means: &Means, file: &str) -> String {
    let mut text = String::new();
    match means.approach {
        Approach::Nftables | Approach::Layered => {
            let _ = writeln!(text, "isoplan apply {file}");
        }
        _ if !means.desired.ruleset.is_empty() => text.push_str(&nft::tables(&means.desired.ruleset)),
        _ => {}
    }
    if means.approach != Approach::Nftables {
        for sysctl in &means.desired.sysctls {
            let _ = writeln!(text, "sysctl -w {}={}", sysctl.key, sysctl.value);
        }
    }
    for line in &means.iptables {
        let _ = writeln!(text, "iptables {line}");
    }
    for rule in &means.rules {
        let family = match rule.family() {
            IpFamily::V4 => "",
            IpFamily::V6 => "-6 ",
        };
        let _ = writeln!(text, "ip {family}rule add {rule}");
    }
    text
}
