//! The bridge family: frames of flat instances, which are never routed and so never seen by the forward
//! hook of `inet`; and what this host would route out of their bridge again.

use super::super::rules::{Field, RuleBuilder};
use super::table::TableBuilder;
use super::{CHAIN_FORWARD, Scene, suffix};
use crate::intent::IpFamily;
use crate::ruleset::{ChainKind, FieldType, Hook, Priority, Table, padded_name};
use crate::topology::NamePattern;

/// IPv4, ARP and IPv6: the ethertypes that the rules below can look into.
const ETHER_TYPES: [u16; 3] = [0x0800, 0x0806, 0x86dd];

/// Where packets of the host's links leave by, after routing.
const CHAIN_LEAVING: &str = "leaving";

/// An instance that may not use the link of its NIC could have this host route its packets there: in by the
/// bridge and out by it. The forward hook cannot tell these from frames within the bridge, which pass there
/// when bridge-nf-call-iptables is on. The postrouting hook can: only what was routed has an incoming link
/// there (`ip_output` hands it on since Linux 5.7, `br_nf_post_routing` does not). Over IPv6 some of what the host
/// itself sends has one as well (`ip6_xmit` sets the device early), so that its own addresses are left out.
pub(super) fn leaving(scene: &Scene<'_, '_>, table: &mut TableBuilder) {
    /// Pairs of a bridge with itself.
    const SET: &str = "closed_bridges";
    let topology = scene.intent.topology;
    let closed: Vec<_> =
        topology.flats.iter().zip(&scene.intent.flat_open).filter(|(_, open)| !**open).collect();
    for (flat, _) in &closed {
        let name = padded_name(flat.name.as_str());
        table.add_value(SET, &[FieldType::IfName; 2], &[&name, &name], flat.entry);
    }
    if !table.has(SET) {
        return;
    }
    table.base_chain(CHAIN_LEAVING, ChainKind::Filter, Hook::Postrouting, Priority::FILTER - 10);
    let named = || closed.iter().take(super::NAMED).map(|(flat, _)| flat.entry);
    let names: Vec<_> = named().map(|entry| topology.entry(entry).to_string()).collect();
    let rule = RuleBuilder::inet().within(&[Field::Iif, Field::Oif], SET).between_others().drop();
    let what = format!("{}: nor by way of this host", names.join(", "));
    table.push(CHAIN_LEAVING, rule.rule("L1", &what, named().collect()));
}

/// The table, when there is a flat.
pub(super) fn table(scene: &Scene<'_, '_>) -> Option<Table> {
    let topology = scene.intent.topology;
    if topology.flats.is_empty() {
        return None;
    }
    let mut table = TableBuilder::bridge();
    table.base_chain(CHAIN_FORWARD, ChainKind::Filter, Hook::Forward, Priority::BRIDGE_FILTER - 10);
    for (index, flat) in topology.flats.iter().enumerate() {
        if !scene.intent.flat_open[index] {
            table.add_link("closed_ports", flat.nic.as_str(), flat.entry);
            continue;
        }
        table.add_link("open_ports", flat.nic.as_str(), flat.entry);
        let port = NamePattern::Exact(flat.nic.clone());
        let others = topology.nics.iter().filter(|nic| nic.name != flat.nic);
        for nic in others {
            for subnet in &nic.subnets {
                table.add_link_subnet("closed", &port, *subnet, nic.entry);
            }
        }
        for ether_type in ETHER_TYPES {
            table.add_value("ether_types", &[FieldType::EtherType], &[&ether_type.to_be_bytes()], flat.entry);
        }
    }
    let origins: Vec<_> = topology.flats.iter().map(|flat| flat.entry).take(super::NAMED).collect();
    let names: Vec<_> =
        topology.flats.iter().take(super::NAMED).map(|flat| topology.entry(flat.entry).to_string()).collect();
    let names = names.join(", ");
    let port_fields = [Field::Oif, Field::Iif];
    if table.has("closed_ports") {
        for (id, field) in ["B1", "B2"].into_iter().zip(port_fields) {
            let rule = RuleBuilder::bridge().within(&[field], "closed_ports").drop();
            let what = format!("{names}: not over the link of a nic that they do not reach");
            table.push(CHAIN_FORWARD, rule.rule(id, &what, origins.clone()));
        }
    }
    if table.has("open_ports") {
        // A frame with a VLAN tag, or two, would hide its addresses from the rules below.
        for (id, field) in ["B3", "B4"].into_iter().zip(port_fields) {
            let rule = RuleBuilder::bridge()
                .within(&[field], "open_ports")
                .outside(&[Field::EtherType], "ether_types");
            let what = format!("{names}: untagged IP and ARP alone between instances and nic");
            table.push(CHAIN_FORWARD, rule.drop().rule(id, &what, origins.clone()));
        }
    }
    let what = format!("{names}: no guarded network by way of the nic");
    let rules = [
        (IpFamily::V4, "B5", [Field::Oif, Field::Daddr4]),
        (IpFamily::V4, "B6", [Field::Iif, Field::Saddr4]),
        (IpFamily::V4, "B7", [Field::Oif, Field::ArpTarget]),
        (IpFamily::V6, "B8", [Field::Oif, Field::Daddr6]),
        (IpFamily::V6, "B9", [Field::Iif, Field::Saddr6]),
    ];
    for (family, id, fields) in rules {
        let set = format!("closed_{}", suffix(family));
        if table.has(&set) {
            let rule = RuleBuilder::bridge().within(&fields, &set).drop();
            table.push(CHAIN_FORWARD, rule.rule(id, &what, origins.clone()));
        }
    }
    Some(table.finish())
}
