//! Masquerade and snat, by incoming link, and only out of NICs that may be reached.

use std::collections::BTreeSet;

use ipnet::IpNet;

use super::super::rules::{Field, RuleBuilder};
use super::Scene;
use super::table::{TableBuilder, prefixes_of};
use crate::intent::Party;
use crate::ruleset::{ChainKind, FieldType, Hook, Priority, SetData, padded_name};
use crate::topology::NicNat;

const CHAIN: &str = "postrouting";

/// Before Docker's and Podman's source NAT at srcnat: whoever rewrites a connection first wins, and at
/// the same priority that would be whoever registered last.
const PRIORITY: i32 = Priority::SRCNAT - 5;

/// For networks the two sets need not be pairs: what may not pass was dropped in the forward hook, and no
/// network leaves by its own link among `masquerade_to`. For NICs they are pairs.
pub(super) fn fill(scene: &Scene<'_, '_>, table: &mut TableBuilder) {
    let intent = scene.intent;
    let topology = intent.topology;
    let mut to = BTreeSet::new();
    if topology.isolation.masquerade {
        to.extend(intent.classes.keys().flat_map(|key| &key.reaches).copied());
        to.extend(intent.exceptions.iter().filter_map(|pair| match pair {
            Some((Party::Network(_), Party::Nic(nic))) => Some(*nic),
            _ => None,
        }));
        for network in topology.networks.iter().filter(|_| !to.is_empty()) {
            table.add_name("masquerade_from", &network.name, SetData::None, None, network.entry);
        }
    }
    for (index, nic) in topology.nics.iter().enumerate() {
        let out = intent.nic_reach[index].nics.iter().flat_map(|other| intent.links_of(*other));
        for (from, out) in out.flat_map(|out| intent.links_of(index).map(move |from| (from, out))) {
            match &nic.nat {
                NicNat::None => {}
                NicNat::Masquerade => {
                    let (from, out) = (padded_name(from), padded_name(out));
                    table.add_value("masquerade_pairs", &[FieldType::IfName; 2], &[&from, &out], nic.entry);
                }
                NicNat::Snat(addresses) => {
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
    if table.has("masquerade_pairs") {
        let nics: Vec<usize> =
            (0..topology.nics.len()).filter(|nic| topology.nics[*nic].nat == NicNat::Masquerade).collect();
        let what = format!("with this host's address, from {}", scene.nic_names(nics.iter().copied()));
        let rule = RuleBuilder::inet().within(&[Field::Iif, Field::Oif], "masquerade_pairs").masquerade();
        rules.push(rule.rule("M5", &what, scene.nic_entries(nics)));
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
