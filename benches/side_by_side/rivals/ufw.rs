//! What ufw writes.

use super::{Family, Rules, network};

/// ufw 0.36's chains without those that log, with `default deny routed`, and for each network `route allow in on
/// BRIDGE out on eth0`, `allow in on BRIDGE to GATEWAY`, and its masquerade in before.rules.
///
/// Networks are closed to one another and to the guarded NICs, and the host's other addresses to them, all by the
/// policy of the chain. It does not see whether an address belongs to the link that a packet came by.
pub(crate) fn ufw(bridges: usize, family: Family) -> Rules {
    let (ufw, icmp, types) = match family {
        Family::V4 => ("ufw", "icmp", "icmp --icmp-type"),
        Family::V6 => ("ufw6", "icmpv6", "icmpv6 --icmpv6-type"),
    };
    let mut rules = Rules::default();
    rules.lines("*filter\n:INPUT DROP [0:0]\n:FORWARD DROP [0:0]\n:OUTPUT ACCEPT [0:0]");
    for part in ["before", "user", "after"] {
        for hook in ["input", "forward", "output"] {
            rules.line(&format!(":{ufw}-{part}-{hook} - [0:0]"));
        }
    }
    for (chain, hook) in [("INPUT", "input"), ("FORWARD", "forward"), ("OUTPUT", "output")] {
        rules.rule(&format!("-A {chain} -j {ufw}-before-{hook}"));
        rules.rule(&format!("-A {chain} -j {ufw}-after-{hook}"));
        let before = format!("-A {ufw}-before-{hook}");
        match hook {
            "input" => rules.rule(&format!("{before} -i lo -j ACCEPT")),
            "output" => rules.rule(&format!("{before} -o lo -j ACCEPT")),
            _ => {}
        }
        rules.rule(&format!("{before} -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT"));
        if hook != "output" {
            for kind in ["echo-request", "parameter-problem", "time-exceeded"] {
                rules.rule(&format!("{before} -p {icmp} -m {types} {kind} -j ACCEPT"));
            }
        }
        rules.rule(&format!("{before} -j {ufw}-user-{hook}"));
    }
    for number in 0..bridges {
        let (name, subnet) = network(number, family);
        let gateway = match family {
            Family::V4 => subnet.replace(".0/24", ".1/32"),
            Family::V6 => subnet.replace("::/64", "::1/128"),
        };
        rules.rule(&format!("-A {ufw}-user-forward -i {name} -o eth0 -j ACCEPT"));
        rules.rule(&format!("-A {ufw}-user-input -i {name} -d {gateway} -j ACCEPT"));
    }
    rules.lines("COMMIT\n*nat\n:POSTROUTING ACCEPT [0:0]");
    for number in 0..bridges {
        let (_, subnet) = network(number, family);
        rules.rule(&format!("-A POSTROUTING -s {subnet} -o eth0 -j MASQUERADE"));
    }
    rules.line("COMMIT");
    rules
}
