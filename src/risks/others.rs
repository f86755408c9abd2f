//! Risks of others: containers on the host network, tables and services of other programs, sysctls.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use super::{Name, Relay, Risk, Scene, Severity, few, named};
use crate::ruleset::TABLE_NAME;

pub(super) fn find(scene: &Scene<'_, '_>, risks: &mut Vec<Risk>) {
    let mut push = |severity, name, subject: &str, evidence: String| {
        risks.push(Risk { severity, name, subject: subject.to_owned(), evidence });
    };
    let facts = scene.facts;
    for process in &facts.on_host_network {
        let (subject, evidence) = match &process.container {
            Some(container) => (
                container.clone(),
                format!(
                    "Process {} ({}) of container {container} is in this network namespace.",
                    process.pid, process.name
                ),
            ),
            None => (
                process.name.clone(),
                format!(
                    "Process {} ({}) is in this network namespace with pid and mount namespaces of its own.",
                    process.pid, process.name
                ),
            ),
        };
        push(Severity::High, Name::ContainerOnHostNetwork, &subject, evidence);
    }
    relays(scene, &mut push);
    for (file, tables) in &facts.legacy {
        let evidence = format!("{file} has {}.", few(tables.iter().map(String::as_str)));
        push(Severity::Low, Name::LegacyTables, file, evidence);
    }
    for flowtable in
        facts.flowtables.iter().filter(|flowtable| !flowtable.table.ends_with(&format!(" {TABLE_NAME}")))
    {
        let guarded = flowtable.links.iter().find_map(|link| Some(named(link, scene.role(link)?)));
        let links = few(flowtable.links.iter().map(String::as_str));
        let severity = if guarded.is_some() { Severity::High } else { Severity::Medium };
        let role = guarded.map_or(String::new(), |nic| format!("; nic {nic} is among them"));
        let evidence = format!(
            "Flowtable {} of table {} takes over flows between {links}{role}.",
            flowtable.name, flowtable.table
        );
        push(severity, Name::Flowtable, &format!("{} {}", flowtable.table, flowtable.name), evidence);
    }
    let services = &facts.services;
    // Every Debian has such a file; only who has the service enabled loses rules to it.
    if let Some(file) = &services.flushes_at_boot {
        let (severity, more) = match services.is_reapplied {
            true => (Severity::Low, "; isoplan is applied again behind it"),
            false => (Severity::Medium, ""),
        };
        let evidence = format!("nftables.service is enabled, and {file} has `flush ruleset`{more}.");
        push(severity, Name::FlushRuleset, file, evidence);
    }
    if let Some(pid) = services.firewalld.filter(|_| services.firewalld_flushes) {
        let evidence =
            format!("firewalld runs (process {pid}), and firewalld.conf does not say FlushAllOnReload=no.");
        push(Severity::Low, Name::Firewalld, "firewalld", evidence);
    }
    if services.ufw {
        let (severity, more) = match services.ufw_flushes {
            true => (
                Severity::Medium,
                ", and /etc/default/ufw says MANAGE_BUILTINS=yes: it empties chains of others",
            ),
            false => (Severity::Low, ""),
        };
        push(severity, Name::Ufw, "ufw", format!("ufw is enabled{more}."));
    }
    if let Some(what) = &facts.unfinished_install {
        push(Severity::Medium, Name::UnfinishedInstall, "install", what.clone());
    }
    forwarding(scene, &mut push);
}

/// Programs that listen where a guarded network can reach them, and hand on to containers.
fn relays(scene: &Scene<'_, '_>, push: &mut impl FnMut(Severity, Name, &str, String)) {
    let mut ports: BTreeMap<&str, BTreeSet<String>> = BTreeMap::new();
    for relay in scene.facts.relays.iter().filter(|relay| reaches_guarded(scene, relay)) {
        let address = relay.address.as_deref().unwrap_or("every address");
        let port = relay.port.as_deref().unwrap_or("a port");
        ports.entry(&relay.name).or_default().insert(format!("{address} port {port}"));
    }
    for (name, ports) in ports {
        let (Some((link, role)), count) = (scene.guarded.first_key_value(), ports.len()) else { continue };
        let evidence = format!(
            "{name} listens on {}{}, also for {}.",
            few(ports.iter().map(String::as_str)),
            if count > 1 { format!(" ({count} in all)") } else { String::new() },
            named(link, role),
        );
        push(Severity::Medium, Name::RelayOnHost, name, evidence);
    }
}

/// Whether a relay listens on every address, or on one of a guarded NIC.
fn reaches_guarded(scene: &Scene<'_, '_>, relay: &Relay) -> bool {
    let Some(Ok(address)) = relay.address.as_ref().map(|address| address.parse::<IpAddr>()) else {
        return true;
    };
    let host = &scene.facts.host;
    let is_on_guarded = |link: u32| scene.link(link).is_some_and(|link| scene.role(&link.name).is_some());
    address.is_unspecified()
        || host.addresses.iter().any(|own| own.address.addr() == address && is_on_guarded(own.link))
}

/// Per-interface forwarding that somebody configured off, and that is on; and NICs that lost their router
/// advertisements by it.
fn forwarding(scene: &Scene<'_, '_>, push: &mut impl FnMut(Severity, Name, &str, String)) {
    let facts = scene.facts;
    let is = |key: &str, value: &str| facts.sysctls.get(key).is_some_and(|now| now == value);
    for nic in &scene.intent.topology.nics {
        let name = nic.name.as_str();
        let shown = named(name, &nic.role.0);
        for family in ["ipv4", "ipv6"] {
            let key = format!("net/{family}/conf/{name}/forwarding");
            let Some((wanted, file)) = facts.configured.get(&key) else { continue };
            if wanted == "0" && is(&key, "1") {
                let severity = if scene.role(name).is_some() { Severity::Medium } else { Severity::Low };
                push(
                    severity,
                    Name::ForwardingReset,
                    &key,
                    format!("{file} sets {key} to 0, and it is 1, on nic {shown}."),
                );
            }
        }
        let conf = format!("net/ipv6/conf/{name}");
        let forwards = format!("{conf}/forwarding");
        if is(&forwards, "1") && is(&format!("{conf}/accept_ra"), "1") && lives_by_advertisements(scene, name)
        {
            let evidence = format!(
                "nic {shown} has its IPv6 default route from router advertisements and ignores new ones: {forwards} is 1, accept_ra is 1."
            );
            push(Severity::Low, Name::ForwardingReset, &forwards, evidence);
        }
    }
}

/// Whether the IPv6 default route by that link came with a router advertisement (`RTPROT_RA`).
fn lives_by_advertisements(scene: &Scene<'_, '_>, name: &str) -> bool {
    const RTPROT_RA: u8 = 9;
    let host = &scene.facts.host;
    let Some(link) = host.link(name) else { return false };
    host.routes
        .iter()
        .any(|route| route.link == link.index && route.to.prefix_len() == 0 && route.protocol == RTPROT_RA)
}
