//! Risks of links: what is above, beside or inside a guarded NIC.

use std::collections::{BTreeMap, BTreeSet};

use ipnet::IpNet;

use super::{Elsewhere, FilterAction, Name, Risk, Scene, Severity, few, named};
use crate::host::Link;

/// Kinds of links that send by the link below them, past the hooks of its namespace.
const STACKED: [&str; 4] = ["macvlan", "macvtap", "ipvlan", "ipvtap"];

pub(super) fn find(scene: &Scene<'_, '_>, risks: &mut Vec<Risk>) {
    stacked(scene, risks);
    in_bridge(scene, risks);
    elsewhere(scene, risks);
    unknown_bridges(scene, risks);
    unknown_and_absent(scene, risks);
    unlisted_subnets(scene, risks);
    filters(scene, risks);
    bridge_nf_call(scene, risks);
}

fn is_stacked(kind: Option<&String>) -> bool {
    kind.is_some_and(|kind| STACKED.contains(&kind.as_str()))
}

fn stacked(scene: &Scene<'_, '_>, risks: &mut Vec<Risk>) {
    let mut push = |link: &str, kind: &str, whose: &str, lower: u32| {
        let Some(lower) = scene.link(lower) else { return };
        let Some(role) = scene.role(&lower.name) else { return };
        let nic = named(&lower.name, role);
        risks.push(Risk {
            severity: Severity::High,
            name: Name::StackedOnGuardedNic,
            subject: format!("{link}{whose}"),
            evidence: format!("{kind} {link}{whose} is on nic {nic}."),
        });
    };
    for link in scene.facts.host.links.values() {
        if let (true, Some(lower), false) =
            (is_stacked(link.kind.as_ref()), link.lower, link.lower_is_elsewhere)
        {
            push(&link.name, link.kind.as_deref().unwrap_or_default(), "", lower);
        }
    }
    for other in &scene.facts.elsewhere {
        for link in other.links.iter().filter(|link| is_stacked(link.kind.as_ref())) {
            if let Some(lower) = link.lower_here {
                let whose = format!(" of {}", other.who);
                push(&link.name, link.kind.as_deref().unwrap_or_default(), &whose, lower);
            }
        }
    }
}

/// A guarded NIC that is a port of a bridge, other than the flat that the file says it is in.
fn in_bridge(scene: &Scene<'_, '_>, risks: &mut Vec<Risk>) {
    for (name, role) in &scene.guarded {
        let Some(link) = scene.facts.host.link(name) else { continue };
        let Some(bridge) = link.master.and_then(|master| scene.link(master)) else { continue };
        let flats = &scene.intent.topology.flats;
        let is_flat =
            flats.iter().any(|flat| flat.name.as_str() == bridge.name && flat.nic.as_str() == *name);
        if bridge.kind.as_deref() != Some("bridge") || is_flat {
            continue;
        }
        let ports = scene.facts.host.links.values();
        let ports = ports.filter(|port| port.master == Some(bridge.index) && port.name != *name);
        let ports = few(ports.map(|port| port.name.as_str()));
        let beside = if ports.is_empty() { String::new() } else { format!(", beside {ports}") };
        risks.push(Risk {
            severity: Severity::High,
            name: Name::GuardedNicInBridge,
            subject: (*name).to_owned(),
            evidence: format!("nic {} is a port of bridge {}{beside}.", named(name, role), bridge.name),
        });
    }
}

/// NICs of the file that are not here, and are in another namespace; virtual functions of guarded ones.
fn elsewhere(scene: &Scene<'_, '_>, risks: &mut Vec<Risk>) {
    for nic in &scene.intent.topology.nics {
        let name = nic.name.as_str();
        if scene.facts.host.link(name).is_some() {
            continue;
        }
        if let Some(other) = holder(scene, name) {
            let severity = if scene.role(name).is_some() { Severity::High } else { Severity::Low };
            risks.push(Risk {
                severity,
                name: Name::NicElsewhere,
                subject: name.to_owned(),
                evidence: format!(
                    "nic {} is not here, and {} has a link of that name.",
                    named(name, &nic.role.0),
                    other.who
                ),
            });
        }
    }
    for function in &scene.facts.functions {
        let Some(role) = scene.role(&function.nic) else { continue };
        let driver = function.driver.as_deref().map_or(String::new(), |driver| format!(" (driver {driver})"));
        let nic = named(&function.nic, role);
        risks.push(Risk {
            severity: Severity::High,
            name: Name::FunctionElsewhere,
            subject: format!("{} {}", function.nic, function.number),
            evidence: format!(
                "Virtual function {} of nic {nic}{driver} has no link in this namespace.",
                function.number
            ),
        });
    }
}

/// The namespace that has a link of the file. A container's own eth1 is a veth whose other end is here, or above
/// a link that is here.
fn holder<'s>(scene: &Scene<'s, '_>, name: &str) -> Option<&'s Elsewhere> {
    scene.facts.elsewhere.iter().find(|other| {
        let mut links = other.links.iter();
        links.any(|link| link.name == name && link.lower_here.is_none() && !is_stacked(link.kind.as_ref()))
    })
}

/// Links with an address that the file does not name, and what it names that is not here: of a NIC the two may be
/// one, under another name.
fn unknown_and_absent(scene: &Scene<'_, '_>, risks: &mut Vec<Risk>) {
    let host = &scene.facts.host;
    if host.links.is_empty() {
        // They could not be read.
        return;
    }
    let topology = scene.intent.topology;
    let nics: BTreeSet<&str> = topology.nics.iter().map(|nic| nic.name.as_str()).collect();
    let mut unknown: BTreeMap<&str, Vec<String>> = BTreeMap::new();
    for address in host.addresses.iter().filter(|address| is_routable(&address.address)) {
        let Some(link) = scene.link(address.link) else { continue };
        let is_told = link.kind.as_deref() == Some("bridge")
            || (is_stacked(link.kind.as_ref()) && !link.lower_is_elsewhere && link.lower.is_some());
        let name = link.name.as_str();
        let is_named = nics.contains(name) || scene.is_network(name) || scene.is_flat(name);
        if !(link.is_loopback || is_told || is_named) {
            unknown.entry(name).or_default().push(address.address.to_string());
        }
    }
    for (name, addresses) in &unknown {
        risks.push(Risk {
            severity: Severity::Low,
            name: Name::UnknownLink,
            subject: (*name).to_owned(),
            evidence: format!(
                "Link {name}, with address {}, is in no entry of the file.",
                few(addresses.iter().map(String::as_str))
            ),
        });
    }
    let instead = few(unknown.keys().copied());
    let absent = topology.nics.iter().filter(|nic| host.link(nic.name.as_str()).is_none());
    for nic in absent.filter(|nic| holder(scene, nic.name.as_str()).is_none()) {
        let named = named(nic.name.as_str(), &nic.role.0);
        let (severity, evidence) = if unknown.is_empty() {
            (Severity::Low, format!("nic {named} is not here."))
        } else {
            (
                Severity::Medium,
                format!("nic {named} is not here, and {instead}, which is in no entry of the file, is."),
            )
        };
        risks.push(Risk {
            severity,
            name: Name::AbsentInterface,
            subject: nic.name.as_str().to_owned(),
            evidence,
        });
    }
    // Of networks, which come and go, one line.
    let networks = topology.networks.iter().filter(|network| !network.name.is_prefix());
    let networks = networks.map(|network| network.name.stem());
    let names = networks.chain(topology.flats.iter().map(|flat| flat.name.as_str()));
    let here: BTreeSet<&str> = host.links.values().map(|link| link.name.as_str()).collect();
    let absent: Vec<&str> = names.filter(|name| !here.contains(name)).collect();
    if !absent.is_empty() {
        let (are, names) = (if absent.len() == 1 { "is" } else { "are" }, few(absent));
        risks.push(Risk {
            severity: Severity::Low,
            name: Name::AbsentInterface,
            evidence: format!("{names} {are} not here."),
            subject: names,
        });
    }
}

fn unknown_bridges(scene: &Scene<'_, '_>, risks: &mut Vec<Risk>) {
    let host = &scene.facts.host;
    let mut ports: BTreeMap<u32, Vec<&str>> = BTreeMap::new();
    for link in host.links.values() {
        if let Some(master) = link.master {
            ports.entry(master).or_default().push(&link.name);
        }
    }
    let mut addresses: BTreeMap<u32, Vec<String>> = BTreeMap::new();
    for address in host.addresses.iter().filter(|address| is_routable(&address.address)) {
        addresses.entry(address.link).or_default().push(address.address.to_string());
    }
    // An overlay may be named by its VXLAN device, whose master the bridge then is.
    let is_known = |bridge: &Link| {
        scene.is_network(&bridge.name)
            || scene.is_flat(&bridge.name)
            || scene.intent.topology.nics.iter().any(|nic| nic.name.as_str() == bridge.name)
            || ports.get(&bridge.index).is_some_and(|ports| ports.iter().any(|port| scene.is_network(port)))
    };
    let bridges = host.links.values().filter(|link| link.kind.as_deref() == Some("bridge"));
    for bridge in bridges.filter(|bridge| !is_known(bridge)) {
        let (ports, addresses) = (ports.get(&bridge.index), addresses.get(&bridge.index));
        let ports = ports.map(|ports| few(ports.iter().copied()));
        let addresses = addresses.map(|addresses| few(addresses.iter().map(String::as_str)));
        let with = match (addresses, ports) {
            (Some(addresses), Some(ports)) => format!("address {addresses} and port {ports}"),
            (Some(addresses), None) => format!("address {addresses}"),
            (None, Some(ports)) => format!("port {ports}"),
            (None, None) => continue,
        };
        risks.push(Risk {
            severity: Severity::Medium,
            name: Name::UnknownBridge,
            subject: bridge.name.clone(),
            evidence: format!("Bridge {}, with {with}, is in no entry of the file.", bridge.name),
        });
    }
}

/// Whether more than one link can have it: neither loopback nor link-local.
fn is_routable(net: &IpNet) -> bool {
    match net {
        IpNet::V4(net) => {
            !net.addr().is_loopback() && !net.addr().is_link_local() && !net.addr().is_multicast()
        }
        IpNet::V6(net) => {
            !net.addr().is_loopback() && !net.addr().is_unicast_link_local() && !net.addr().is_multicast()
        }
    }
}

fn unlisted_subnets(scene: &Scene<'_, '_>, risks: &mut Vec<Risk>) {
    let host = &scene.facts.host;
    for nic in scene.intent.topology.nics.iter().filter(|nic| scene.role(nic.name.as_str()).is_some()) {
        let mut found: BTreeMap<IpNet, &str> = BTreeMap::new();
        let links: BTreeSet<u32> = std::iter::once(nic.name.as_str())
            .chain(scene.intent.topology.flat_on(nic).map(|flat| flat.name.as_str()))
            .filter_map(|name| host.link(name))
            .map(|link| link.index)
            .collect();
        for address in host.addresses.iter().filter(|address| links.contains(&address.link)) {
            found.entry(address.address.trunc()).or_insert("this host has an address in");
        }
        for route in host.routes.iter().filter(|route| links.contains(&route.link)) {
            found.entry(route.to.trunc()).or_insert("this host has a route to");
        }
        let is_listed = |net: &IpNet| nic.subnets.iter().any(|subnet| subnet.contains(net));
        for (net, how) in found {
            if net.prefix_len() == 0 || !is_routable(&net) || is_listed(&net) {
                continue;
            }
            risks.push(Risk {
                severity: Severity::Medium,
                name: Name::UnlistedSubnet,
                subject: format!("{} {net}", nic.name),
                evidence: format!(
                    "On nic {} {how} {net}, which the file does not list.",
                    named(nic.name.as_str(), &nic.role.0)
                ),
            });
        }
    }
}

fn filters(scene: &Scene<'_, '_>, risks: &mut Vec<Risk>) {
    for filter in &scene.facts.filters {
        let at = format!("{} ({})", filter.link, filter.at);
        let (name, target, verb) = match &filter.does {
            FilterAction::Redirect(to) => {
                (Name::TcRedirect, to.as_str(), format!("redirects packets to {to}"))
            }
            FilterAction::Mirror(to) => (Name::TcRedirect, to.as_str(), format!("copies packets to {to}")),
            FilterAction::Program(program) => {
                (Name::TcProgram, "", format!("runs the eBPF program {program}"))
            }
        };
        let touches =
            [filter.link.as_str(), target].into_iter().find_map(|link| Some((link, scene.role(link)?)));
        let severity = match (&filter.does, touches) {
            (FilterAction::Program(_), None) => Severity::Low,
            (FilterAction::Program(_), Some(_)) | (_, None) => Severity::Medium,
            (_, Some(_)) => Severity::High,
        };
        let role = touches.map_or(String::new(), |(link, role)| format!("; {link} is {role}"));
        risks.push(Risk {
            severity,
            name,
            subject: filter.link.clone(),
            evidence: format!("A {} filter of tc on {at} {verb}{role}.", filter.kind),
        });
    }
    for (link, program) in
        scene.facts.host.links.values().filter_map(|link| Some((link.name.as_str(), link.xdp?)))
    {
        let role = scene.role(link);
        risks.push(Risk {
            severity: if role.is_some() { Severity::Medium } else { Severity::Low },
            name: Name::XdpProgram,
            subject: link.to_owned(),
            evidence: match role {
                Some(role) => format!("nic {} runs XDP program {program}.", named(link, role)),
                None => format!("Link {link} runs XDP program {program}."),
            },
        });
    }
}

/// With bridge-nf-call on, whether a frame of a wildcard's bridge stays on it is asked of the routing table:
/// a bridge without an address has no answer there.
fn bridge_nf_call(scene: &Scene<'_, '_>, risks: &mut Vec<Risk>) {
    let is_on = |key: &str| scene.facts.sysctls.get(key).is_some_and(|value| value != "0");
    let keys = ["net/bridge/bridge-nf-call-iptables", "net/bridge/bridge-nf-call-ip6tables"];
    let Some(key) = keys.into_iter().find(|key| is_on(key)) else { return };
    let host = &scene.facts.host;
    let with_address: BTreeSet<u32> = host.addresses.iter().map(|address| address.link).collect();
    let with_ports: BTreeSet<u32> = host.links.values().filter_map(|link| link.master).collect();
    let bridges = host.links.values().filter(|link| {
        link.kind.as_deref() == Some("bridge")
            && !scene.networks.contains(link.name.as_str())
            && scene.prefixes.iter().any(|prefix| link.name.starts_with(prefix))
            && with_ports.contains(&link.index)
            && !with_address.contains(&link.index)
    });
    let names = few(bridges.map(|link| link.name.as_str()));
    if !names.is_empty() {
        risks.push(Risk {
            severity: Severity::Low,
            name: Name::BridgeNfCall,
            subject: names.clone(),
            evidence: format!("{key} is on, and {names} has no address."),
        });
    }
}
