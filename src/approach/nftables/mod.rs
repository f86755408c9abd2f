//! The `nftables` approach: masquerade and drop in tables of our own.
//!
//! The number of rules depends on the roles in the file and never on how many bridges or subnets it
//! has: those are elements of sets and maps. `docs/security.md` has a line for every rule id used here.

mod counted;
mod flat;
mod forward;
mod guarded;
mod input;
mod keep;
mod nat;
mod table;

use std::collections::BTreeSet;

pub(super) use self::counted::counters;
pub use self::keep::keep;
use self::table::TableBuilder;
use super::{Approach, Desired, forwarding};
use crate::intent::{ClassKey, Guard, Intent, IpFamily, Party};
use crate::ruleset::{ChainKind, FieldType, Hook, Priority, Ruleset, SetData};
use crate::topology::{EntryId, IfName, NamePattern, NetworkKind};

/// What this approach cannot stop (the residuals that were measured).
const NOT_COVERED: [&str; 6] = [
    "macvlan or ipvlan on a guarded NIC",
    "containers on the host network, and programs on the host that relay",
    "tc redirects and eBPF programs below netfilter",
    "flowtables that carry established flows past the forward hook",
    "`nft flush ruleset` by others",
    "what ARP and the TTL give away",
];

/// Desired state of the `nftables` approach.
pub(super) fn desired(intent: &Intent<'_>) -> Desired {
    Desired {
        approach: Approach::Nftables,
        ruleset: ruleset(intent),
        sysctls: forwarding(intent),
        not_covered: NOT_COVERED.to_vec(),
    }
}

/// The name of the chain that all forwarded packets enter, in either table.
const CHAIN_FORWARD: &str = "forward";
/// The name of the chain for what is sent to the host itself.
const CHAIN_INPUT: &str = "input";

/// The tables of an intent.
fn ruleset(intent: &Intent<'_>) -> Ruleset {
    let scene = Scene::new(intent);
    let mut table = TableBuilder::inet();
    common_sets(&scene, &mut table);
    table.base_chain(CHAIN_FORWARD, ChainKind::Filter, Hook::Forward, Priority::FILTER - 10);
    table.base_chain(CHAIN_INPUT, ChainKind::Filter, Hook::Input, Priority::FILTER - 10);
    forward::fill(&scene, &mut table);
    input::fill(&scene, &mut table);
    nat::fill(&scene, &mut table);
    flat::leaving(&scene, &mut table);

    let mut ruleset = Ruleset::new();
    let table = table.finish();
    ruleset.insert(table.family, table);
    if let Some(table) = flat::table(&scene) {
        ruleset.insert(table.family, table);
    }
    ruleset
}

/// How many entries a comment names.
const NAMED: usize = 3;

/// Networks with the same reachable NICs, and what the rules call them.
struct Class<'i> {
    /// `service`, `service.storage` or `_nothing`: the roles of the reachable NICs. Unique.
    name: String,
    key: &'i ClassKey,
    networks: &'i [usize],
}

/// The intent with the names that several parts of the rule set share.
struct Scene<'i, 't> {
    intent: &'i Intent<'t>,
    classes: Vec<Class<'i>>,
}

impl<'i, 't> Scene<'i, 't> {
    fn new(intent: &'i Intent<'t>) -> Self {
        let classes = intent
            .classes
            .iter()
            .map(|(key, networks)| Class { name: class_name(intent, key), key, networks })
            .collect();
        Self { intent, classes }
    }

    /// NICs guarded like that.
    fn nics_guarded(&self, guard: Guard) -> impl Iterator<Item = usize> {
        self.intent.guards.iter().enumerate().filter(move |(_, g)| **g == guard).map(|(nic, _)| nic)
    }

    /// "eth1 (storage), eth2 (management)": what a comment calls NICs.
    fn nic_names(&self, nics: impl IntoIterator<Item = usize>) -> String {
        let nics = nics.into_iter().map(|nic| &self.intent.topology.nics[nic]);
        let names: Vec<_> = nics.map(|nic| format!("nic {} ({})", nic.name, nic.role)).collect();
        names.join(", ")
    }

    /// "bridge docker0, overlay vxlan0": what a comment calls networks. Stays as it is when a network
    /// is added behind the third, so that adding one to many rewrites no rule.
    fn network_names(&self, networks: &[usize]) -> String {
        let names: Vec<_> = networks
            .iter()
            .take(NAMED)
            .map(|net| self.intent.topology.entry(self.intent.topology.networks[*net].entry).to_string())
            .collect();
        let more = if networks.len() > NAMED { " and more" } else { "" };
        format!("{}{more}", names.join(", "))
    }

    /// Networks with exact names, and those with a wildcard.
    fn networks_by_kind(&self) -> (Vec<usize>, Vec<usize>) {
        let networks = &self.intent.topology.networks;
        (0..networks.len()).partition(|net| !networks[*net].name.is_prefix())
    }

    /// "overlay vxlan42".
    fn overlay_names(&self) -> String {
        let networks = &self.intent.topology.networks;
        let is_overlay = |net: &usize| matches!(networks[*net].kind, NetworkKind::Overlay { .. });
        let overlays: Vec<_> = (0..networks.len()).filter(is_overlay).collect();
        self.network_names(&overlays)
    }

    /// "allow docker0 to 192.168.57.9": what a comment calls exceptions.
    fn allow_names(&self) -> String {
        let allows = self.intent.topology.allows.iter().take(NAMED);
        let names: Vec<_> = allows.map(|allow| self.intent.topology.entry(allow.entry).to_string()).collect();
        let more = if self.intent.topology.allows.len() > NAMED { " and more" } else { "" };
        format!("{}{more}", names.join(", "))
    }

    fn allow_entries(&self) -> Vec<EntryId> {
        self.intent.topology.allows.iter().take(NAMED).map(|allow| allow.entry).collect()
    }

    fn nic_entries(&self, nics: impl IntoIterator<Item = usize>) -> Vec<EntryId> {
        nics.into_iter().map(|nic| self.intent.topology.nics[nic].entry).collect()
    }

    /// The entries behind a rule for a class: at most a few, for the reader.
    fn network_entries(&self, networks: &[usize]) -> Vec<EntryId> {
        networks.iter().take(NAMED).map(|net| self.intent.topology.networks[*net].entry).collect()
    }

    fn has_overlays(&self) -> bool {
        self.intent.topology.networks.iter().any(|net| matches!(net.kind, NetworkKind::Overlay { .. }))
    }
}

/// The roles of a class, as part of the name of a chain or set. Roles start with a letter and hold no
/// dot, so that no two classes share a name.
fn class_name(intent: &Intent<'_>, key: &ClassKey) -> String {
    /// Leaves room for the longest prefix and suffix within what `nft list` shows on one line.
    const LONGEST: usize = 96;
    let roles: BTreeSet<&str> =
        key.reaches.iter().map(|nic| intent.topology.nics[*nic].role.0.as_str()).collect();
    let mut name = roles.iter().copied().collect::<Vec<_>>().join(".");
    if name.is_empty() {
        "_nothing".clone_into(&mut name);
    }
    let reached_by: Vec<&str> =
        key.reached_by.iter().map(|nic| intent.topology.nics[*nic].name.as_str()).collect();
    if name.len() <= LONGEST && reached_by.is_empty() {
        return name;
    }
    // Names of links hold characters that nft does not take in a name of its own.
    let hash = fnv(&format!("{name} {}", reached_by.join(" ")));
    format!("{}..{hash:016x}", &name[..name.len().min(LONGEST)])
}

/// FNV-1a: stable across builds, which std's hasher does not promise.
fn fnv(text: &str) -> u64 {
    text.bytes()
        .fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3))
}

/// Sets that more than one chain uses.
fn common_sets(scene: &Scene<'_, '_>, table: &mut TableBuilder) {
    let topology = scene.intent.topology;
    for (index, nic) in topology.nics.iter().enumerate() {
        let guard = scene.intent.guards[index];
        for link in scene.intent.links_of(index) {
            table.add_link("nic_links", link, nic.entry);
            match guard {
                Guard::All => table.add_link("guarded_links", link, nic.entry),
                Guard::Some => table.add_link("restricted_links", link, nic.entry),
                Guard::None => {}
            }
        }
        let nets = match guard {
            Guard::All => "guarded",
            Guard::Some => "restricted",
            Guard::None => continue,
        };
        for subnet in &nic.subnets {
            table.add_subnet(nets, *subnet, nic.entry);
        }
    }

    // What one NIC may send to the network of another, if only answers.
    let several = topology.nics.len() > 1;
    for (index, nic) in topology.nics.iter().enumerate().filter(|_| several) {
        for subnet in &nic.subnets {
            table.add_subnet("nic_nets", *subnet, nic.entry);
        }
        let others = (0..topology.nics.len()).filter(|other| scene.intent.exchange(*other, index));
        for link in others.flat_map(|other| scene.intent.links_of(other)).filter_map(exact) {
            for subnet in &nic.subnets {
                table.add_link_subnet("routes", &link, *subnet, nic.entry);
            }
        }
    }

    for (index, network) in topology.networks.iter().enumerate() {
        for subnet in &network.subnets {
            table.add_subnet("network_nets", *subnet, network.entry);
            for nic in scene.intent.opens_into(index) {
                for link in scene.intent.links_of(nic).filter_map(exact) {
                    table.add_link_subnet("network_home", &link, *subnet, network.entry);
                }
            }
        }
        if network.name.is_prefix() {
            table.add_name("network", &network.name, SetData::None, None, network.entry);
        }
        if let NetworkKind::Overlay { underlay, port, .. } = &network.kind {
            table.add_value(
                "overlay_ports",
                &[FieldType::InetService],
                &[&port.to_be_bytes()],
                network.entry,
            );
            let nic = topology.nics.iter().position(|nic| nic.name == *underlay);
            for link in nic.into_iter().flat_map(|nic| scene.intent.links_of(nic)) {
                table.add_value(
                    "overlay_underlays",
                    &[FieldType::IfName, FieldType::InetService],
                    &[&crate::ruleset::padded_name(link), &port.to_be_bytes()],
                    network.entry,
                );
            }
        }
    }

    for (allow, pair) in topology.allows.iter().zip(&scene.intent.exceptions) {
        let from = match pair {
            Some((Party::Nic(nic), _)) => scene.intent.links_of(*nic).filter_map(exact).collect(),
            _ => vec![allow.from.clone()],
        };
        table.add_exception(allow, &from);
    }
}

/// A link of the topology as a pattern. Its names have been checked, so that there always is one.
fn exact(link: &str) -> Option<NamePattern> {
    IfName::new(link).ok().map(NamePattern::Exact)
}

/// The suffix of a set that holds addresses of a family.
const fn suffix(family: IpFamily) -> &'static str {
    match family {
        IpFamily::V4 => "v4",
        IpFamily::V6 => "v6",
    }
}
