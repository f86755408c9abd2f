//! What each chain and set is for, in a sentence. Text between backticks is code.

use super::group::grouped;
use crate::render::element;
use crate::ruleset::{Chain, Family, Set, Table, Verdict};

/// Chains in the order in which a packet meets them; what is not here comes last.
const ORDER: [&str; 12] = [
    "forward",
    "by_link",
    "into_guarded",
    "out_of_guarded",
    "from_",
    "to_",
    "same_bridge",
    "answers",
    "input",
    "host_from_",
    "postrouting",
    "leaving",
];

/// The chains of a table in the order of reading.
pub(in crate::render) fn in_order(table: &Table) -> Vec<&Chain> {
    let place = |chain: &Chain| {
        let is_it = |name: &&str| match name.ends_with('_') {
            true => chain.name.starts_with(*name),
            false => *chain.name == **name,
        };
        ORDER.iter().position(is_it).unwrap_or(ORDER.len())
    };
    let mut chains: Vec<&Chain> = table.chains.values().collect();
    chains.sort_by_key(|chain| place(chain));
    chains
}

/// What a chain is for. Empty for one that isoplan does not make.
pub(in crate::render) fn of_chain(table: &Table, chain: &Chain) -> String {
    let sentence = match (table.family, &*chain.name) {
        (Family::Bridge, "forward") => {
            "Frames that a bridge of a flat passes from one port to another. They are bridged and not routed, so that no \
             chain of the table `inet isoplan` sees them."
        }
        (_, "forward") => {
            "Everything that this host forwards comes here. What is about guarded NICs is decided here, whatever link and \
             route a packet takes; all else is decided by its links, in `by_link`."
        }
        (_, "by_link") => {
            "Forwarded packets, by the link that they come in on and the link that they leave by."
        }
        (_, "into_guarded") => "What would leave by a guarded NIC.",
        (_, "out_of_guarded") => "What comes in on a guarded NIC.",
        (_, "same_bridge") => {
            "Packets between two links that wildcards name. They are one bridge or two; their names cannot tell."
        }
        (_, "answers") => "The way back, between two networks of which only the other may open connections.",
        (_, "input") => "What is sent to this host itself. Such packets never see the chain `forward`.",
        (_, "postrouting") => "Source addresses: what leaves this host with another one than it came with.",
        (_, "leaving") => {
            "Packets of flat instances that this host would route back to where they came from."
        }
        (_, name) if name.starts_with("host_from_") => {
            return format!(
                "What {} may send to this host itself. All else that comes from there is dropped.",
                who(table, chain, "host_from_network")
            );
        }
        (_, name) if name.starts_with("from_") => {
            return format!(
                "What {} may send to others. All else that comes from there is dropped.",
                who(table, chain, "from_network")
            );
        }
        (_, name) if name.starts_with("to_") => {
            return format!(
                "What others may send to {}. All else is dropped.",
                who(table, chain, "to_network")
            );
        }
        _ => "",
    };
    sentence.to_owned()
}

/// The links whose packets a map sends to a chain.
fn who(table: &Table, chain: &Chain, map: &str) -> String {
    let mut links = Vec::new();
    for map in [map.to_owned(), format!("{map}_prefixes")] {
        let Some(set) = table.sets.get(map.as_str()) else { continue };
        let leads = |verdict: &Option<Verdict>| *verdict == Some(Verdict::Goto(chain.name.clone()));
        for (key, data) in set.elements.iter().filter(|(_, data)| leads(&data.verdict)) {
            let text = element(set, key, data);
            links.push(text.split(" : ").next().unwrap_or_default().to_owned());
        }
    }
    let groups = grouped(&links);
    let is_counted = groups.len() != links.len();
    let groups: Vec<_> = groups
        .into_iter()
        .map(|group| match group.split_once([':', ' ']) {
            Some((number, names)) if is_counted => {
                format!("{} networks ({})", number.trim_end_matches(','), names.trim().replace('"', "`"))
            }
            _ => group.replace('"', "`"),
        })
        .collect();
    if groups.is_empty() { "its networks".to_owned() } else { groups.join(", ") }
}

/// What a set is for. Empty for one that isoplan does not make.
pub(in crate::render) fn of_set(table: &Table, set: &Set) -> String {
    let (stem, family) = match (set.name.strip_suffix("_v4"), set.name.strip_suffix("_v6")) {
        (Some(stem), _) => (stem, " IPv4."),
        (_, Some(stem)) => (stem, " IPv6."),
        _ => (&*set.name, ""),
    };
    let (stem, prefixes) = match stem.strip_suffix("_prefixes") {
        Some(stem) => (stem, " Names with a wildcard."),
        None => (stem, ""),
    };
    let class = ["closed_", "links_", "reach_", "openers_"].into_iter().find(|start| stem.starts_with(start));
    let sentence = match (stem, class) {
        ("guarded_links", _) => "Guarded NICs: nothing of the file reaches them, and they reach nothing.",
        ("guarded", _) => "Subnets of the guarded NICs.",
        ("restricted_links", _) => "NICs that are not open to every network of the file.",
        ("restricted", _) => "Subnets of those NICs.",
        ("nic_links", _) => "Every NIC of the file, and the bridge that it is a port of.",
        ("nic_nets", _) => "Subnets of every NIC.",
        ("routes", _) => "Which NIC may send to which subnet behind another.",
        ("home", _) => "On which NIC packets for this host's address in a subnet may come in.",
        ("network", _) => "Container networks.",
        ("network_nets", _) => "Subnets of container networks.",
        ("network_home", _) => {
            "On which NIC packets for this host's address on a container network may come in."
        }
        ("from_network", _) => "Which chain decides about what a link sends.",
        ("to_network", _) => "Which chain decides about what is sent to a link.",
        ("host_from_network", _) => "Which chain decides about what a network sends to this host.",
        ("pairs", _) => "Pairs of links, from the first to the second: what may pass, or answers alone.",
        ("masquerade_from", _) => "What comes in here leaves with an address of this host,",
        ("masquerade_to", _) => "where it leaves by one of these.",
        ("masquerade_pairs", _) => {
            "What comes in by the first and leaves by the second gets an address of this host."
        }
        ("snat", _) => "The source address that packets get, by the links that they come in on and leave by.",
        ("neighbour_discovery", _) => "ICMPv6 types of neighbour discovery, which conntrack does not follow.",
        ("icmp_routing" | "icmpv6_routing", _) => "ICMP types that change the routes of who takes them.",
        ("own_types", _) => "Kinds of addresses that are this host's on a link, or everybody's there.",
        ("overlay_ports", _) => "UDP ports of overlays.",
        ("overlay_underlays", _) => "On which NIC encapsulated packets of an overlay may come in.",
        ("link_scope", _) => "Addresses that no router forwards.",
        ("allow", _) => "Exceptions: from a link and its addresses to an address, a protocol and a port.",
        ("allow_links", _) => "By which link the target of an exception is reached.",
        ("closed_ports", _) => "NICs whose flat does not reach them.",
        ("open_ports", _) => "NICs whose flat reaches them.",
        ("closed_bridges", _) => "Bridges of flats that do not reach their NIC, each with itself.",
        ("ether_types", _) => "IPv4, ARP and IPv6: what the rules of flats can look into.",
        ("closed", _) if table.family == Family::Bridge => {
            "By which NIC no frame of a flat passes to or from which subnet."
        }
        (_, Some("closed_")) => "Subnets of NICs that the networks of this class do not reach.",
        (_, Some("links_")) => "NICs that the networks of this class reach.",
        (_, Some("reach_")) => "Subnets of NICs that the networks of this class reach.",
        (_, Some("openers_")) => "NICs that may open connections to the networks of this class.",
        _ => return String::new(),
    };
    format!("{sentence}{prefixes}{family}")
}
