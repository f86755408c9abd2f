//! What each link of a host is.

use std::collections::{BTreeMap, BTreeSet};

use super::Evidence;
use super::evidence::shown;
use crate::host::Link;
use crate::topology::{IfName, IfNameFault};

/// What a link is to be in the file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Found {
    Nic,
    /// A bridge that a NIC is a port of.
    Flat {
        nic: u32,
    },
    /// A bridge, of containers or machines. Internal: its engine keeps it from everywhere else.
    Network {
        internal: bool,
    },
    /// A VXLAN device with an address, or the bridge that it is a port of.
    Overlay {
        vxlan: u32,
    },
}

/// The links of a host.
#[derive(Debug, Default)]
pub(super) struct Sorted {
    /// By number.
    pub(super) links: BTreeMap<u32, Found>,
    /// The bridge that has the addresses of a NIC, where it is a port of one.
    pub(super) homes: BTreeMap<u32, u32>,
    /// What is to be known of a link.
    pub(super) notes: BTreeMap<u32, Vec<String>>,
}

/// `/sys/class/net` has hardware under names of these kinds (systemd.net-naming-scheme(7)); a veth with one is
/// the NIC of a host that is itself a container or a namespace.
const NIC_NAMES: [&str; 7] = ["eth", "en", "wl", "ww", "ib", "wan", "lan"];
/// Links that are a NIC of their own, over others.
const NIC_KINDS: [&str; 4] = ["bond", "team", "vlan", "hsr"];
/// Links to one other end, or into a tunnel.
const TUNNEL_KINDS: [&str; 10] =
    ["tun", "wireguard", "gre", "gretap", "ip6gre", "ipip", "ip6tnl", "sit", "vti", "ppp"];

/// Says what each link is; those that are nothing in a file are told.
pub(super) fn sort(seen: &Evidence, left_out: &mut Vec<String>) -> Sorted {
    let mut sorted = Sorted::default();
    let links = &seen.host.links;
    let addressed: BTreeSet<u32> = seen.host.addresses.iter().map(|address| address.link).collect();
    let with_network = usable_addresses(seen);
    let mut ports: BTreeMap<u32, Vec<&Link>> = BTreeMap::new();
    for link in links.values() {
        if let Some(master) = link.master {
            ports.entry(master).or_default().push(link);
        }
    }
    let is_bridge = |link: &Link| link.kind.as_deref() == Some("bridge");
    let engine = |name: &str| seen.engines.iter().find(|network| network.interface.as_deref() == Some(name));
    for link in links.values().filter(|link| !link.is_loopback) {
        let own = if let Err(fault) = IfName::new(&link.name) {
            if with_network.contains(&link.index) || is_bridge(link) {
                left_out.push(format!("{}: {}.", shown(&link.name), odd(fault)));
            }
            continue;
        } else {
            ports.get(&link.index).map(Vec::as_slice).unwrap_or_default()
        };
        let mut note = |text: String| sorted.notes.entry(link.index).or_default().push(text);
        let is_port_of_bridge = link.master.and_then(|master| links.get(&master)).is_some_and(is_bridge);
        match link.kind.as_deref() {
            Some("bridge") => {
                let vxlan = own.iter().find(|port| port.kind.as_deref() == Some("vxlan"));
                if let Some(port) = own.iter().find(|port| is_nic(port) && IfName::new(&port.name).is_err()) {
                    let name = shown(&port.name);
                    left_out.push(format!("{}: a file cannot have the name of its port {name}.", link.name));
                    continue;
                }
                let mut nics = own.iter().filter(|port| is_nic(port));
                match (vxlan, nics.next()) {
                    (_, Some(nic)) => {
                        sorted.links.insert(link.index, Found::Flat { nic: nic.index });
                        sorted.links.insert(nic.index, Found::Nic);
                        sorted.homes.insert(nic.index, link.index);
                        for other in nics {
                            left_out.push(format!(
                                "{}: a second NIC that is a port of {}.",
                                other.name, link.name
                            ));
                        }
                    }
                    (Some(vxlan), None) => {
                        note(format!("its port {} is a VXLAN", vxlan.name));
                        sorted.links.insert(link.index, Found::Overlay { vxlan: vxlan.index });
                    }
                    (None, None) => {
                        let network = engine(&link.name);
                        if let Some(network) = network {
                            note(network.title());
                        }
                        if !with_network.contains(&link.index) {
                            note("no address of this host on it".to_owned());
                        }
                        let internal = network.is_some_and(|network| network.internal);
                        sorted.links.insert(link.index, Found::Network { internal });
                    }
                }
            }
            Some("vxlan") if !is_port_of_bridge && addressed.contains(&link.index) => {
                sorted.links.insert(link.index, Found::Overlay { vxlan: link.index });
            }
            Some("vxlan") => {}
            _ if is_port_of_bridge => {}
            _ if link.master.is_some() => {}
            Some("veth") if !with_network.contains(&link.index) => {}
            Some(kind) if TUNNEL_KINDS.contains(&kind) && with_network.contains(&link.index) => {
                note(format!("a tunnel ({kind})"));
                sorted.links.insert(link.index, Found::Nic);
            }
            Some("macvlan" | "ipvlan" | "macvtap" | "ipvtap") => {
                let below =
                    link.lower.and_then(|lower| links.get(&lower)).filter(|_| !link.lower_is_elsewhere);
                let below = below.map_or("another namespace", |below| below.name.as_str());
                if with_network.contains(&link.index) {
                    note(format!("a second link on {below}"));
                    sorted.links.insert(link.index, Found::Nic);
                }
            }
            _ if with_network.contains(&link.index) => {
                if !link.is_up {
                    note("it is down now".to_owned());
                }
                sorted.links.insert(link.index, Found::Nic);
            }
            _ if is_nic(link) => {
                let is_below = links.values().any(|other| other.lower == Some(link.index));
                if !is_below {
                    let what =
                        if link.is_up { "no address of this host" } else { "down, without an address" };
                    left_out.push(format!("{}: {what}.", link.name));
                }
            }
            _ => {}
        }
    }
    unaddressed_veths(seen, &with_network, left_out);
    sorted
}

/// Links with an address that a file can have a network of.
fn usable_addresses(seen: &Evidence) -> BTreeSet<u32> {
    let usable = seen.host.addresses.iter().filter(|has| !crate::topology::is_special(has.address.trunc()));
    usable.map(|address| address.link).collect()
}

/// Whether a link is a piece of hardware, or stands for one.
fn is_nic(link: &Link) -> bool {
    match link.kind.as_deref() {
        None => !link.is_loopback,
        Some("veth") => NIC_NAMES.iter().any(|prefix| {
            link.name
                .strip_prefix(prefix)
                .is_some_and(|rest| rest.starts_with(|c: char| c.is_ascii_alphanumeric()))
        }),
        Some(kind) => NIC_KINDS.contains(&kind),
    }
}

fn odd(fault: IfNameFault) -> String {
    match fault {
        IfNameFault::Character(c) => {
            format!("a file cannot have a name with {} in it", shown(&c.to_string()))
        }
        _ => "a file cannot have that name".to_owned(),
    }
}

/// Ends of pairs that have neither bridge nor address: containers that routes lead to, as Calico has them.
fn unaddressed_veths(seen: &Evidence, with_network: &BTreeSet<u32>, left_out: &mut Vec<String>) {
    let routed: BTreeSet<u32> = seen.host.routes.iter().map(|route| route.link).collect();
    let bare = seen.host.links.values().filter(|link| {
        link.kind.as_deref() == Some("veth")
            && link.master.is_none()
            && !with_network.contains(&link.index)
            && routed.contains(&link.index)
    });
    let mut names: Vec<&str> = bare.map(|link| link.name.as_str()).collect();
    names.sort_unstable();
    if let [first, rest @ ..] = names.as_slice() {
        let more = if rest.is_empty() { String::new() } else { format!(" and {} more", rest.len()) };
        left_out.push(format!(
            "{}{more}: links to single containers, without a bridge. A pattern for them is yours to write.",
            shown(first)
        ));
    }
}

/// The stem of the names that an engine makes up.
pub(super) fn family(name: &str) -> Option<&'static str> {
    if let Some(id) = name.strip_prefix("br-") {
        let is_hex = id.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
        return (id.len() == 12 && is_hex).then_some("br-");
    }
    let number = name.strip_prefix("podman")?;
    (!number.is_empty() && number.bytes().all(|b| b.is_ascii_digit())).then_some("podman")
}

/// The stems of which a host has several, and that match nothing else.
pub(super) fn patterns(seen: &Evidence, sorted: &Sorted, taken: &BTreeSet<String>) -> BTreeSet<&'static str> {
    let mut counts: BTreeMap<&'static str, usize> = BTreeMap::new();
    for (link, found) in &sorted.links {
        let Some(link) = seen.host.links.get(link) else { continue };
        if let (Found::Network { internal: false }, Some(stem)) = (found, family(&link.name)) {
            *counts.entry(stem).or_default() += 1;
        }
    }
    let free = |stem: &str| !taken.iter().any(|name| name.starts_with(stem));
    counts.into_iter().filter(|(stem, count)| *count > 1 && free(stem)).map(|(stem, _)| stem).collect()
}

/// The NIC below a VXLAN by the number of its entry, the VNI and the port.
pub(super) fn underlay(
    seen: &Evidence,
    vxlan: u32,
    owner_of_link: &BTreeMap<u32, usize>,
) -> Result<(usize, u32, u16), &'static str> {
    let link = seen.host.links.get(&vxlan).ok_or("its VXLAN is gone")?;
    let vni = link.vni.filter(|vni| (1..1 << 24).contains(vni));
    let vni = vni.ok_or("its VXLAN has no VNI of its own")?;
    // 8472 is Linux's default, without a word of the user (drivers/net/vxlan).
    let port = link.vxlan_port.filter(|port| *port > 0).unwrap_or(8472);
    let by_address = || {
        let local = link.vxlan_local?;
        let home = seen.host.addresses.iter().find(|address| address.address.addr() == local)?;
        Some(home.link)
    };
    let below = link.lower.filter(|_| !link.lower_is_elsewhere).or_else(by_address);
    let below = below.ok_or("nothing tells which NIC carries its VXLAN")?;
    let owner = owner_of_link.get(&below).ok_or("what carries its VXLAN is no NIC of the draft")?;
    Ok((*owner, vni, port))
}
