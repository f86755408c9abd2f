//! What a NIC is probably for, and what to look at before a draft is applied.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use super::evidence::shown;
use super::{Draft, Evidence, RoleGuess};

/// Ports of storage servers: NFS, iSCSI, NVMe over TCP, SMB, Ceph's monitors, GlusterFS.
const STORAGE_PORTS: [(u16, &str); 7] = [
    (2049, "NFS"),
    (3260, "iSCSI"),
    (4420, "NVMe over TCP"),
    (445, "SMB"),
    (3300, "Ceph"),
    (6789, "Ceph"),
    (24007, "GlusterFS"),
];
const SSH: u16 = 22;
/// Bridges that an engine or a hypervisor makes, with masquerading of its own.
const ENGINE_BRIDGES: [(&str, &str); 7] = [
    ("docker0", "Docker"),
    ("podman", "Podman"),
    ("cni-podman", "Podman"),
    ("virbr", "libvirt"),
    ("lxcbr", "LXC"),
    ("lxdbr", "LXD"),
    ("incusbr", "Incus"),
];

/// The link that the default route leaves by: the one of the lowest metric, which the kernel dumps first; of IPv6
/// only where IPv4 has none. A router advertisement on another NIC does not make that one the service NIC.
pub(super) fn service_link(seen: &Evidence) -> Option<u32> {
    let default = |v4: bool| {
        let mut routes = seen.host.routes.iter().filter(|route| route.to.prefix_len() == 0);
        routes.find(|route| route.to.addr().is_ipv4() == v4).map(|route| route.link)
    };
    default(true).or_else(|| default(false))
}

/// The entry that packets to an address leave by.
fn way_to(seen: &Evidence, to: IpAddr, owner_of_link: &BTreeMap<u32, usize>) -> Option<usize> {
    let routes = seen.host.routes.iter().filter(|route| route.to.contains(&to));
    // Of routes that are as long the first: it has the lowest metric.
    let route = routes.rev().max_by_key(|route| route.to.prefix_len())?;
    owner_of_link.get(&route.link).copied()
}

/// The entry that has an address of this host.
fn home_of(seen: &Evidence, address: IpAddr, owner_of_link: &BTreeMap<u32, usize>) -> Option<usize> {
    let has = seen.host.addresses.iter().find(|has| has.address.addr() == address)?;
    owner_of_link.get(&has.link).copied()
}

/// What a NIC is for, with what tells.
pub(super) fn guess(
    seen: &Evidence,
    owner: usize,
    service: Option<usize>,
    owner_of_link: &BTreeMap<u32, usize>,
) -> (RoleGuess, Vec<String>) {
    let mut storage = BTreeSet::new();
    for mount in &seen.mounts {
        if way_to(seen, mount.server, owner_of_link) == Some(owner) {
            storage.insert(format!("{} is mounted from {} over it", mount.kind, mount.server));
        }
    }
    let mut management = BTreeSet::new();
    for session in &seen.sessions {
        if home_of(seen, session.local.ip(), owner_of_link) != Some(owner) {
            continue;
        }
        let (remote, port) = (session.remote.ip(), session.remote.port());
        if let Some((_, what)) = STORAGE_PORTS.iter().find(|(storage, _)| *storage == port) {
            storage.insert(format!("a session ({what}) with {remote} is open over it"));
        }
        if session.local.port() == SSH {
            management.insert("somebody is logged in by SSH over it".to_owned());
        }
    }
    let mut evidence = Vec::new();
    let role = if service == Some(owner) {
        evidence.push("the default route leaves by it".to_owned());
        RoleGuess::Service
    } else if !storage.is_empty() {
        RoleGuess::Storage
    } else if !management.is_empty() {
        RoleGuess::Management
    } else {
        evidence.push("nothing tells what it is for, so that nobody reaches it".to_owned());
        RoleGuess::Unknown
    };
    evidence.extend(storage.into_iter().chain(management));
    let ports: BTreeSet<String> = seen
        .published
        .iter()
        .filter(|port| home_of(seen, port.address, owner_of_link) == Some(owner))
        .map(|port| format!("{} has published port {} on it", port.container, port.port))
        .collect();
    if ports.is_empty() && !seen.published.is_empty() && role != RoleGuess::Service {
        evidence.push("no container has published a port on its address alone".to_owned());
    }
    evidence.extend(ports);
    (role, evidence)
}

/// Who masquerades already.
pub(super) fn masquerades(seen: &Evidence) -> Option<String> {
    if let Some(table) = seen.nat.first() {
        return Some(format!("{} masquerades", shown(table)));
    }
    if let Some(network) = seen.engines.first() {
        return Some(format!("{} is here and masquerades by itself", network.engine.as_str()));
    }
    let bridges = seen.host.links.values().filter(|link| link.kind.as_deref() == Some("bridge"));
    let mut names: Vec<&str> = bridges.map(|link| link.name.as_str()).collect();
    names.sort_unstable();
    names.iter().find_map(|name| {
        let (_, engine) = ENGINE_BRIDGES.iter().find(|(prefix, _)| name.starts_with(prefix))?;
        Some(format!("{name} looks like {engine}'s, which masquerades by itself"))
    })
}

/// What the reader of a draft should look at first.
pub(super) fn remarks(
    seen: &Evidence,
    draft: &mut Draft,
    owner_of_link: &BTreeMap<u32, usize>,
    names: &[String],
) {
    let mut remarks = Vec::new();
    let has_service = draft.nics.iter().any(|nic| nic.role == RoleGuess::Service);
    if !has_service && !draft.nics.is_empty() {
        remarks.push(
            "No NIC has a default route, so that none has the role service and containers reach none. Give \
             the role to the NIC that they are to use."
                .to_owned(),
        );
    }
    for nic in &draft.nics {
        if nic.role == RoleGuess::Unknown {
            remarks.push(format!(
                "{} is closed to containers and to other NICs: nothing tells what it is for.",
                nic.name
            ));
        }
        let has_storage =
            nic.evidence.iter().any(|text| text.contains("mounted from") || text.starts_with("a session ("));
        if nic.role == RoleGuess::Service && has_storage {
            remarks.push(format!(
                "{} has the default route and carries storage: containers reach the storage servers behind it. \
                 Isolation needs another NIC, or a subnet of its own, for one of the two.",
                nic.name
            ));
        }
    }
    let defaults: BTreeSet<usize> = seen
        .host
        .routes
        .iter()
        .filter(|route| route.to.prefix_len() == 0)
        .filter_map(|route| owner_of_link.get(&route.link).copied())
        .collect();
    if defaults.len() > 1 {
        let all: Vec<&str> = defaults.iter().map(|owner| names[*owner].as_str()).collect();
        remarks.push(format!(
            "Default routes leave by {}: only the preferred one got the role service.",
            all.join(" and ")
        ));
    }
    for flat in &draft.flats {
        let reaches = draft.nics.iter().any(|nic| nic.name == flat.nic && nic.role == RoleGuess::Service);
        if !reaches {
            remarks.push(format!(
                "Machines on {} would lose the link of {}: name its role in `reach` of the flat if they are to use it.",
                flat.name, flat.nic
            ));
        }
    }
    for network in
        seen.engines.iter().filter(|network| matches!(network.driver.as_str(), "macvlan" | "ipvlan"))
    {
        let parent = network.parent.as_deref().map(|parent| format!(" on {}", shown(parent)));
        remarks.push(format!(
            "{} is a {}{}: its containers pass by every rule of this host.",
            network.title(),
            network.driver,
            parent.unwrap_or_default()
        ));
    }
    if !seen.on_host_network.is_empty() {
        remarks.push(format!(
            "On the host's own network, beyond every rule: {}.",
            seen.on_host_network.join(", ")
        ));
    }
    for port in &seen.published {
        let nic = home_of(seen, port.address, owner_of_link).map(|owner| names[owner].as_str());
        let is_closed = |nic: &&str| {
            draft.nics.iter().any(|other| other.name.as_str() == *nic && other.role != RoleGuess::Service)
        };
        if let Some(nic) = nic.filter(is_closed) {
            remarks.push(format!(
                "{} has published port {} on {nic}, which the draft closes.",
                port.container, port.port
            ));
        }
    }
    if seen.forwards && draft.nics.len() > 1 && draft.networks.is_empty() && draft.flats.is_empty() {
        remarks.push(
            "This host forwards. The draft lets no NIC reach another: a router or NAT gateway needs `reach`, \
             and `masquerade` or `snat`, in its [[nic]] entries."
                .to_owned(),
        );
    }
    draft.remarks = remarks;
}
