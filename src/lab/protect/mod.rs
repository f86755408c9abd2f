//! An approach carried out on the host of a lab, and what a container engine has there before it comes.

mod engine;

use std::env;
use std::error::Error;
use std::io;

use super::build::Lab;
use super::isolate;
use crate::apply::state_dir::StateDir;
use crate::apply::{self, journal};
use crate::approach::{Approach, Desired, PolicyRule, compared};
use crate::diff::diff;
use crate::intent::{Intent, IpFamily};
use crate::live;
use crate::netlink::Nftables;

/// Whether a container engine has to masquerade in a lab of this approach: isoplan does it only where the
/// topology says so and the approach can.
pub fn engine_masquerades(intent: &Intent<'_>, approach: Approach) -> bool {
    let is_able = matches!(approach, Approach::Nftables | Approach::Layered);
    !(is_able && intent.topology.isolation.masquerade)
}

/// Loads what a container engine leaves on a host: masquerade for its bridges out of every other link where
/// `masquerades`, ports published by DNAT, and a FORWARD chain that accepts its bridges. May be done again.
///
/// # Errors
///
/// When nft refuses it.
pub fn load_engine(lab: &Lab, _intent: &Intent<'_>, masquerades: bool) -> io::Result<()> {
    let files = engine::files(&lab.world, masquerades);
    files.iter().try_for_each(|text| lab.host().feed("nft", &["-f", "-"], text).map(drop))
}

/// Why an approach cannot be carried out on this machine, if so: a program that is not there.
pub fn lacking(approach: Approach) -> Option<String> {
    let is_there = |program: &str| env::split_paths(&isolate::path()).any(|dir| dir.join(program).is_file());
    (approach == Approach::Iptables && !["iptables", "iptables-restore"].into_iter().all(is_there))
        .then(|| "iptables is not installed".to_owned())
}

/// Carries out an approach on the host of the lab, as its user would. May be done again.
///
/// # Errors
///
/// When the kernel refuses it.
pub fn apply(lab: &Lab, intent: &Intent<'_>, approach: Approach) -> io::Result<()> {
    let means = compared(intent, approach);
    carry_out(lab, means.desired).map_err(|error| io::Error::other(described(error.as_ref())))?;
    if approach == Approach::Iptables {
        restore(lab, &means.iptables)?;
    }
    add_rules(lab, &means.rules)
}

/// The way of `isoplan apply`, but for two things. Whatever approach was there before stays where this one has
/// nothing to say. And a sysctl that does not exist is passed over with its NIC, as systemd-sysctl does at boot;
/// `isoplan apply` would refuse and leave the host without any of it.
fn carry_out(lab: &Lab, mut desired: Desired) -> Result<(), Box<dyn Error>> {
    if desired.ruleset.is_empty() && desired.sysctls.is_empty() {
        return Ok(());
    }
    lab.host().enter(|| -> Result<(), Box<dyn Error>> {
        let state = StateDir::locate(None)?;
        let mut nftables = Nftables::open()?;
        let _lock = state.lock(|| {})?;
        let keys = desired.sysctls.iter().map(|sysctl| sysctl.key.clone());
        let before = live::read(&mut nftables, keys, journal::read(&state)?)?;
        desired.sysctls.retain(|sysctl| before.sysctls.contains_key(&sysctl.key));
        let planned = diff(&desired, &before);
        if !planned.is_empty() {
            apply::carry_out(&mut nftables, &state, &desired, &planned, &before)?;
        }
        Ok(())
    })?
}

/// An error with what brought it about.
fn described(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        text.push_str(&format!(": {error}"));
        source = error.source();
    }
    text
}

/// Docker's chain for its users' rules, entered first from FORWARD, and their rules in it.
fn restore(lab: &Lab, lines: &[String]) -> io::Result<()> {
    let host = lab.host();
    if host.feed("iptables", &["-w", "-C", "FORWARD", "-j", "DOCKER-USER"], "").is_err() {
        let chain =
            "*filter\n:DOCKER-USER - [0:0]\n-A DOCKER-USER -j RETURN\n-I FORWARD -j DOCKER-USER\nCOMMIT\n";
        host.feed("iptables-restore", &["-w", "--noflush"], chain)?;
    }
    let lines: String = lines.iter().map(|line| format!("{line}\n")).collect();
    host.feed("iptables-restore", &["-w", "--noflush"], &format!("*filter\n{lines}COMMIT\n")).map(drop)
}

/// Those that are not there yet: deleting one to add it again would leave a gap.
fn add_rules(lab: &Lab, rules: &[PolicyRule]) -> io::Result<()> {
    for (family, flag) in [(IpFamily::V4, "-4"), (IpFamily::V6, "-6")] {
        let mut missing: Vec<String> =
            rules.iter().filter(|rule| rule.family() == family).map(ToString::to_string).collect();
        if missing.is_empty() {
            continue;
        }
        let shown = lab.host().feed("ip", &[flag, "rule", "show"], "")?;
        // "32765:<tab>from 172.17.0.0/16 to 192.168.57.0/24 prohibit", whole prefixes without their length.
        let shown: Vec<&str> =
            shown.lines().filter_map(|line| Some(line.split_once(':')?.1.trim())).collect();
        missing
            .retain(|rule| !shown.contains(&rule.as_str()) && !shown.contains(&without_whole(rule).as_str()));
        let lines: String = missing.iter().map(|rule| format!("rule add {rule}\n")).collect();
        if !lines.is_empty() {
            lab.host().feed("ip", &[flag, "-batch", "-"], &lines)?;
        }
    }
    Ok(())
}

/// A rule with the prefixes of single addresses as `ip` shows them.
fn without_whole(rule: &str) -> String {
    let words = rule.split(' ').map(|word| match word.rsplit_once('/') {
        Some((address, "32")) if !address.contains(':') => address,
        Some((address, "128")) => address,
        _ => word,
    });
    words.collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rule_as_ip_shows_it() {
        let check = |typed: &str, shown: &str| assert_eq!(without_whole(typed), shown);
        check("from 10.0.0.0/8 to 10.1.0.1/32 prohibit", "from 10.0.0.0/8 to 10.1.0.1 prohibit");
        check("from fd00::/32 to fd01::1/128 prohibit", "from fd00::/32 to fd01::1 prohibit");
    }
}
