//! Changes of sysctls and of other people's rules.

use std::fmt::Write as _;
use std::fs;
use std::io;

use super::scene::Scene;
use crate::approach::{Approach, SysctlKey};
use crate::intent::IpFamily;
use crate::lab::node::Namespace;
use crate::lab::protect;
use crate::verify::change::{DNAT_TO_HOST, DNAT_TO_SERVER};
use crate::verify::probe::PORT;

/// What a bridge hands to the hooks of IP.
const BRIDGE_KEYS: [&str; 2] = ["net/bridge/bridge-nf-call-iptables", "net/bridge/bridge-nf-call-ip6tables"];

/// Off and on again, of the families that it is on for.
pub(super) fn toggle_forwarding(host: &Namespace) -> io::Result<()> {
    for key in [SysctlKey::IP_FORWARD, SysctlKey::IPV6_FORWARD] {
        if read(host, key)? == "1" {
            host.sysctl(key, "0")?;
            host.sysctl(key, "1")?;
        }
    }
    Ok(())
}

/// IPv4 source routes are obeyed on every link; so is segment routing of IPv6, where the kernel has it.
pub(super) fn source_routing(host: &Namespace) -> io::Result<()> {
    everywhere(host, "ipv4", "accept_source_route", Kernel::HasIt)?;
    everywhere(host, "ipv6", "seg6_enabled", Kernel::MayLackIt)
}

/// Directed broadcasts are forwarded on every link.
pub(super) fn broadcast_forwarding(host: &Namespace) -> io::Result<()> {
    everywhere(host, "ipv4", "bc_forwarding", Kernel::HasIt)
}

/// What bridges hand to the hooks of IP: on or off. Without br_netfilter there are no keys, and it is off.
pub(super) fn bridge_nf_call(host: &Namespace, value: &str) -> io::Result<()> {
    for key in BRIDGE_KEYS {
        if host.enter(|| fs::exists(format!("/proc/sys/{key}")))?? {
            host.sysctl(key, value)?;
        }
    }
    Ok(())
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kernel {
    HasIt,
    MayLackIt,
}

/// Sets a switch to 1 for all links, those to come, and each.
fn everywhere(host: &Namespace, family: &str, key: &str, kernel: Kernel) -> io::Result<()> {
    let directory = format!("net/{family}/conf");
    let links = host.enter(|| -> io::Result<Vec<String>> {
        let entries = fs::read_dir(format!("/proc/sys/{directory}"))?;
        entries.map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned())).collect()
    })??;
    for link in links {
        let path = format!("{directory}/{link}/{key}");
        if kernel == Kernel::HasIt || host.enter(|| fs::exists(format!("/proc/sys/{path}")))?? {
            host.sysctl(&path, "1")?;
        }
    }
    Ok(())
}

fn read(host: &Namespace, key: &str) -> io::Result<String> {
    Ok(host.enter(|| fs::read_to_string(format!("/proc/sys/{key}")))??.trim().to_owned())
}

/// An accept for everything at the head of the engine's FORWARD chain, and of that of iptables where it is the
/// one that drops.
pub(super) fn accept_first(scene: &Scene<'_, '_>, approach: Approach) -> io::Result<()> {
    let host = scene.lab.host();
    let lines =
        "insert rule ip engine forward counter accept\ninsert rule ip6 engine forward counter accept\n";
    host.feed("nft", &["-f", "-"], lines)?;
    if approach == Approach::Iptables {
        host.feed("iptables", &["-w", "-I", "FORWARD", "-j", "ACCEPT"], "")?;
    }
    Ok(())
}

/// Flushes the whole ruleset; the engine then starts anew and loads its own.
pub(super) fn flush_ruleset(scene: &Scene<'_, '_>, approach: Approach) -> io::Result<()> {
    scene.lab.host().feed("nft", &["flush", "ruleset"], "")?;
    let masquerades = protect::engine_masquerades(scene.intent, approach);
    protect::load_engine(scene.lab, scene.intent, masquerades)
}

/// Two ports of the gateway lead to the closed network: to the server there, and to the host's own address.
pub(super) fn dnat(scene: &Scene<'_, '_>) -> io::Result<()> {
    let (bridge, own) = (scene.bridge(), scene.link_of_nic()?);
    let server = scene.lab.world.node(scene.server()?);
    let mut text = String::new();
    for family in &scene.families {
        let (table, open, close) = match family {
            IpFamily::V4 => ("ip", "", ""),
            IpFamily::V6 => ("ip6", "[", "]"),
        };
        let _ = writeln!(
            text,
            "table {table} somebody {{\nchain prerouting {{\ntype nat hook prerouting priority dstnat - 5;"
        );
        let targets = [(DNAT_TO_SERVER, server.address(*family)), (DNAT_TO_HOST, own.address(*family))];
        for (port, target) in targets {
            if let (Some(gateway), Some(target)) = (bridge.address(*family), target) {
                let _ = writeln!(
                    text,
                    "{table} daddr {gateway} meta l4proto {{ tcp, udp }} th dport {port} \
                     dnat to {open}{target}{close}:{PORT}"
                );
            }
        }
        text.push_str("}\n}\n");
    }
    scene.lab.host().feed("nft", &["-f", "-"], &text).map(drop)
}
