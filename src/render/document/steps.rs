//! How to look at what is in place, and how to take it back, with commands to be copied.

use crate::approach::{Approach, Desired, SysctlKey};
use crate::topology::Topology;

/// A command, and what it does.
pub(in crate::render) struct Step {
    /// A sentence. Text between backticks is code.
    pub(in crate::render) what: String,
    /// A line for a shell.
    pub(in crate::render) command: String,
}

fn step(command: impl Into<String>, what: impl Into<String>) -> Step {
    Step { what: what.into(), command: command.into() }
}

/// The file as an argument of a shell command.
fn argument(topology: &Topology) -> String {
    let file = if topology.file == "<stdin>" { "topology.toml" } else { topology.file.as_str() };
    let plain = |c: char| c.is_ascii_alphanumeric() || "/._-+@%".contains(c);
    if file.chars().all(plain) { file.to_owned() } else { format!("'{}'", file.replace('\'', "'\\''")) }
}

/// How to see by hand whether it is in place, and whether it holds.
pub(in crate::render) fn check(topology: &Topology, desired: &Desired) -> Vec<Step> {
    let file = argument(topology);
    let mut steps = Vec::new();
    steps.push(step(
        format!("isoplan status {file}"),
        "Tells whether all of this is in place, what was dropped, and by whom a difference may be. Ends with 2 where \
         something differs.",
    ));
    for table in desired.ruleset.values() {
        steps.push(step(
            format!("nft list table {} {}", table.family, table.name),
            "Lists the rules as they are in the kernel, each with its id at the start of its comment.",
        ));
    }
    if !desired.ruleset.is_empty() {
        steps.push(step(
            "nft list ruleset | grep 'counter packets' | grep -v 'packets 0 '",
            "Shows the rules that have counted something. A drop that counts is a packet that was kept out, or a way that \
             somebody misses.",
        ));
    }
    for sysctl in &desired.sysctls {
        steps.push(step(format!("sysctl {}", sysctl.key), format!("Has to say {}.", sysctl.value)));
    }
    let verify = match desired.approach {
        Approach::Sysctl => {
            "Sends packets of every kind in a lab made from the file, and shows those that get through all the same. \
             Nothing changes on this host."
        }
        _ => {
            "Sends packets of every kind in a lab made from the file, and looks for them on the wires of the receivers. \
             Nothing changes on this host."
        }
    };
    steps.push(step(format!("isoplan verify {file}"), verify));
    steps
}

/// How to take it back: with isoplan, and without.
pub(in crate::render) fn undo(desired: &Desired) -> Vec<Step> {
    let mut steps = vec![
        step("isoplan rollback", "Undoes the last `isoplan apply`: what was there before it is there again."),
        step(
            "isoplan remove",
            "Takes away the tables named isoplan and gives every sysctl the value that it had before isoplan.",
        ),
    ];
    // As isoplan does: forwarding is off before the drops go. A NIC comes first, because writing ip_forward sets the
    // keys of all links (ip-sysctl, "ip_forward"): after it, this one alone would forward.
    let (links, all): (Vec<_>, Vec<_>) =
        desired.sysctls.iter().partition(|sysctl| sysctl.key.switch().is_some());
    for sysctl in links.into_iter().chain(all) {
        let (value, what) = if sysctl.key.switch().is_some() {
            ("1", "Lets the NIC forward again, as `ip_forward` would have it.")
        } else if sysctl.key.0 == SysctlKey::IP_FORWARD {
            ("0", "Only where nobody else needs it: without forwarding, containers reach nothing over IPv4.")
        } else {
            ("0", "Only where nobody else needs it: without forwarding, containers reach nothing over IPv6.")
        };
        steps.push(step(format!("sysctl -w {}={value}", sysctl.key), what));
    }
    for table in desired.ruleset.values() {
        steps.push(step(
            format!("nft delete table {} {}", table.family, table.name),
            "Without isoplan: takes the table away, with all that is in it. Everything that it kept out is let in.",
        ));
    }
    steps
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::approach::desired;
    use crate::intent::Intent;
    use crate::topology::parse;

    #[test]
    fn a_nic_is_given_back_before_forwarding_as_a_whole() {
        let text = "[[bridge]]\nname = \"docker0\"\nsubnets = [\"172.17.0.0/16\"]\n\
            [[nic]]\nname = \"eth0\"\nrole = \"service\"\nsubnets = [\"192.168.56.0/24\"]\n\
            [[nic]]\nname = \"eth1\"\nrole = \"storage\"\nsubnets = [\"192.168.57.0/24\"]\n\
            [isolation]\napproach = \"sysctl\"\n";
        let topology = parse("a b.toml", text.as_bytes()).unwrap();
        let desired = desired(&Intent::new(&topology));
        let commands: Vec<_> = undo(&desired).into_iter().map(|step| step.command).collect();
        assert_eq!(
            commands[2..],
            ["sysctl -w net/ipv4/conf/eth1/forwarding=1", "sysctl -w net/ipv4/ip_forward=0"]
        );
        assert_eq!(check(&topology, &desired)[0].command, "isoplan status 'a b.toml'");
    }
}
