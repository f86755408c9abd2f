//! Masquerade and snat, by incoming link, and only out of NICs that may be reached.

use std::collections::BTreeSet;

use ipnet::IpNet;

use super::super::rules::{Field, RuleBuilder};
use super::Scene;
use super::table::{TableBuilder, prefixes_of};
use crate::ruleset::{ChainKind, Hook, Priority, SetData};
use crate::topology::NicNat;

const CHAIN: &str = "postrouting";

/// Before Docker's and Podman's source NAT at srcnat: whoever rewrites a connection first wins, and at
/// the same priority that would be whoever registered last.
const PRIORITY: i32 = Priority::SRCNAT - 5;

/// The two sets need not be pairs: what may not pass was dropped in the forward hook, so that a packet
/// from the first set that leaves by the second is one that may.
pub(super) fn fill(scene: &Scene<'_, '_>, table: &mut TableBuilder) {
    let intent = scene.intent;
    let topology = intent.topology;
    let mut to = BTreeSet::new();
    if topology.isolation.masquerade {
        to.extend(intent.classes.keys().flatten().copied());
        for allow in &topology.allows {
            if topology.networks.iter().any(|net| net.name == allow.from) {
                to.extend(topology.nics.iter().position(|nic| nic.name.as_str() == allow.to_name.stem()));
            }
        }
        for network in topology.networks.iter().filter(|_| !to.is_empty()) {
            table.add_name("masquerade_from", &network.name, SetData::None, None, network.entry);
        }
    }
    for (index, nic) in topology.nics.iter().enumerate() {
        let reached = intent.nic_reach[index].nics.iter().copied();
        match &nic.nat {
            NicNat::None => {}
            NicNat::Masquerade => {
                for link in intent.links_of(index) {
                    table.add_link("masquerade_from", link, nic.entry);
                }
                to.extend(reached);
            }
            NicNat::Snat(addresses) => {
                for (from, out) in reached.flat_map(|other| {
                    intent
                        .links_of(index)
                        .flat_map(move |from| intent.links_of(other).map(move |out| (from, out)))
                }) {
                    for address in addresses {
                        let set = if address.is_ipv6() { "snat_v6" } else { "snat_v4" };
                        table.add_pair_address(set, [from, out], IpNet::from(*address), nic.entry);
                    }
                }
            }
        }
    }
    for nic in &to {
        for link in intent.links_of(*nic) {
            table.add_link("masquerade_to", link, topology.nics[*nic].entry);
        }
    }

    let mut rules = Vec::new();
    let origin = vec![topology.isolation.entry];
    let names = scene.nic_names(to.iter().copied());
    for (id, set) in [("M1", "masquerade_from".to_owned()), ("M2", prefixes_of("masquerade_from"))] {
        if table.has(&set) && table.has("masquerade_to") {
            let rule = RuleBuilder::inet()
                .within(&[Field::Iif], &set)
                .within(&[Field::Oif], "masquerade_to")
                .masquerade();
            rules.push(rule.rule(id, &format!("with this host's address out of {names}"), origin.clone()));
        }
    }
    let snat: Vec<usize> =
        (0..topology.nics.len()).filter(|nic| matches!(topology.nics[*nic].nat, NicNat::Snat(_))).collect();
    let snat_names =
        format!("with the address that snat gives, from {}", scene.nic_names(snat.iter().copied()));
    let snat_entries = scene.nic_entries(snat);
    for (id, set, ipv6) in [("M3", "snat_v4", false), ("M4", "snat_v6", true)] {
        if table.has(set) {
            let rule = RuleBuilder::inet().snat(ipv6, set);
            rules.push(rule.rule(id, &snat_names, snat_entries.clone()));
        }
    }
    if !rules.is_empty() {
        table.base_chain(CHAIN, ChainKind::Nat, Hook::Postrouting, PRIORITY);
        for rule in rules {
            table.push(CHAIN, rule);
        }
    }
}
