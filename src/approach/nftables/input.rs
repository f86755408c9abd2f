//! The input hook: to the host's own addresses. These bypass the forward hook altogether.

use super::super::rules::{Field, RuleBuilder};
use super::table::{TableBuilder, prefixes_of};
use super::{Class, Scene, exact, suffix};
use crate::intent::{Guard, IpFamily};
use crate::ruleset::{FieldType, SetData, Verdict};

const CHAIN: &str = "input";

/// `ND_ROUTER_ADVERT` and `ND_REDIRECT` (RFC 4861, 4.2 and 4.5).
const ICMPV6_ROUTING: [u8; 2] = [134, 137];
/// `ND_NEIGHBOR_SOLICIT` and `ND_NEIGHBOR_ADVERT` (RFC 4861, 4.3 and 4.4).
const NEIGHBOUR_DISCOVERY: [u8; 2] = [135, 136];
/// `ICMP_REDIRECT` (RFC 792).
const ICMP_ROUTING: u8 = 5;
/// `RTN_LOCAL`, `RTN_BROADCAST`, `RTN_MULTICAST` in `<linux/rtnetlink.h>`.
const OWN_ADDRESS_TYPES: [u32; 3] = [2, 3, 5];

pub(super) fn fill(scene: &Scene<'_, '_>, table: &mut TableBuilder) {
    fill_sets(scene, table);
    let origin = vec![scene.intent.topology.isolation.entry];
    let loopback = RuleBuilder::inet().incoming("lo").accept();
    table.push(CHAIN, loopback.rule("I1", "isolation: the host talks to itself", origin.clone()));
    exceptions(scene, table);
    if scene.has_overlays() {
        let rule = RuleBuilder::inet()
            .within(&[Field::UdpDport], "overlay_ports")
            .outside(&[Field::Iif, Field::UdpDport], "overlay_underlays")
            .drop();
        let what = format!("{}: encapsulated packets come in on the underlay alone", scene.overlay_names());
        table.push(CHAIN, rule.rule("I2", &what, origin.clone()));
    }
    let (exact, prefixes) = scene.networks_by_kind();
    let maps =
        [("I3", "host_from_network".to_owned(), &exact), ("I4", prefixes_of("host_from_network"), &prefixes)];
    for (id, map, networks) in maps {
        if table.has(&map) {
            let names = scene.network_names(networks);
            let what = format!("{names}: what they send to this host goes to their allowlist");
            let rule = RuleBuilder::inet().vmap(&[Field::Iif], &map);
            table.push(CHAIN, rule.rule(id, &what, scene.network_entries(networks)));
        }
    }
    // Before the drops: it keeps this host's own storage sessions alive when the NIC is renamed or
    // becomes the port of a bond. Containers have been decided about above.
    let answers = RuleBuilder::inet().answer().accept();
    table.push(CHAIN, answers.rule("I5", "isolation: answers to this host's own connections", origin));
    // Neighbour discovery is not tracked, so that the rule above does not know its answers: without this a
    // renamed NIC would keep its IPv4 sessions and lose those of IPv6.
    let discovery = RuleBuilder::inet().within(&[Field::Icmpv6Type], "neighbour_discovery").accept();
    let origin = vec![scene.intent.topology.isolation.entry];
    table.push(CHAIN, discovery.rule("I14", "isolation: IPv6 neighbour discovery", origin));
    home(scene, table);
    gateways(scene, table);
    for class in &scene.classes {
        host_from_class(scene, class, table);
    }
}

fn host_chain(class: &Class<'_>) -> String {
    format!("host_from_{}", class.name)
}

fn fill_sets(scene: &Scene<'_, '_>, table: &mut TableBuilder) {
    let topology = scene.intent.topology;
    for (index, nic) in topology.nics.iter().enumerate() {
        let may_arrive = (0..topology.nics.len())
            .filter(|other| *other == index || scene.intent.nic_reach[*other].nics.contains(&index));
        for other in may_arrive {
            for link in scene.intent.links_of(other).filter_map(exact) {
                for subnet in &nic.subnets {
                    table.add_link_subnet("home", &link, *subnet, nic.entry);
                }
            }
        }
    }
    for class in &scene.classes {
        let verdict = Verdict::Goto(host_chain(class).into());
        for (_, network) in scene.intent.networks_of(class.networks) {
            let verdict = Some(verdict.clone());
            table.add_name("host_from_network", &network.name, SetData::Verdict, verdict, network.entry);
        }
        for nic in &class.key.reaches {
            for subnet in &topology.nics[*nic].subnets {
                table.add_subnet(&format!("reach_{}", class.name), *subnet, topology.nics[*nic].entry);
            }
        }
    }
    for kind in NEIGHBOUR_DISCOVERY {
        let entry = topology.isolation.entry;
        table.add_value("neighbour_discovery", &[FieldType::Icmpv6Type], &[&[kind]], entry);
    }
    if !topology.networks.is_empty() {
        let entry = topology.isolation.entry;
        for kind in ICMPV6_ROUTING {
            table.add_value("icmpv6_routing", &[FieldType::Icmpv6Type], &[&[kind]], entry);
        }
        table.add_value("icmp_routing", &[FieldType::IcmpType], &[&[ICMP_ROUTING]], entry);
        for kind in OWN_ADDRESS_TYPES {
            table.add_value("own_types", &[FieldType::FibAddrType], &[&kind.to_ne_bytes()], entry);
        }
    }
}

/// An exception to an address that happens to be the host's own holds as well.
fn exceptions(scene: &Scene<'_, '_>, table: &mut TableBuilder) {
    let origins = scene.allow_entries();
    let what = format!("to an address of this host: {}", scene.allow_names());
    let families = [("v4", Field::Saddr4, Field::Daddr4, "E5"), ("v6", Field::Saddr6, Field::Daddr6, "E6")];
    for (suffix, saddr, daddr, id) in families {
        let allow = format!("allow_{suffix}");
        if table.has(&allow) {
            let key = [Field::Iif, saddr, daddr, Field::L4Proto, Field::Dport];
            let rule = RuleBuilder::inet().within(&key, &allow).counted().accept();
            table.push(CHAIN, rule.rule(id, &what, origins.clone()));
        }
    }
}

/// The host's address on a NIC is for those who are on that NIC, or who may reach it. The kernel would
/// take it from any link (weak host model, RFC 1122 3.3.4.2).
fn home(scene: &Scene<'_, '_>, table: &mut TableBuilder) {
    let topology = scene.intent.topology;
    let fields = [(IpFamily::V4, Field::Daddr4), (IpFamily::V6, Field::Daddr6)];
    let guards = [(Guard::All, "guarded", ["I6", "I7"]), (Guard::Some, "restricted", ["I8", "I9"])];
    for (guard, nets, ids) in guards {
        let nics: Vec<_> = scene.nics_guarded(guard).collect();
        let names = scene.nic_names(nics.iter().copied());
        let what = format!("by no other link to this host's addresses on {names}");
        let origins = scene.nic_entries(nics);
        for ((family, daddr), id) in fields.into_iter().zip(ids) {
            let nets = format!("{nets}_{}", suffix(family));
            let home = format!("home_{}", suffix(family));
            if table.has(&nets) && table.has(&home) {
                let rule = RuleBuilder::inet().within(&[daddr], &nets).outside(&[Field::Iif, daddr], &home);
                table.push(CHAIN, rule.drop().rule(id, &what, origins.clone()));
            }
        }
    }
    for ((family, daddr), id) in fields.into_iter().zip(["I10", "I11"]) {
        let nets = format!("nic_nets_{}", suffix(family));
        let home = format!("home_{}", suffix(family));
        if table.has(&nets) && table.has(&home) {
            let rule = RuleBuilder::inet()
                .within(&[Field::Iif], "nic_links")
                .within(&[daddr], &nets)
                .outside(&[Field::Iif, daddr], &home);
            let all = 0..topology.nics.len();
            let what =
                format!("this host's address on one is not for another, of {}", scene.nic_names(all.clone()));
            table.push(CHAIN, rule.drop().rule(id, &what, scene.nic_entries(all.take(super::NAMED))));
        }
    }
}

/// The host's address on a container network is for that network: it has been decided about above. NICs
/// have it only where they may open connections into the network.
fn gateways(scene: &Scene<'_, '_>, table: &mut TableBuilder) {
    let networks: Vec<_> = (0..scene.intent.topology.networks.len()).collect();
    let what = format!("this host's addresses on {} are not for others", scene.network_names(&networks));
    let fields = [(IpFamily::V4, Field::Daddr4, "I12"), (IpFamily::V6, Field::Daddr6, "I13")];
    for (family, daddr, id) in fields {
        let nets = format!("network_nets_{}", suffix(family));
        let home = format!("network_home_{}", suffix(family));
        if !table.has(&nets) {
            continue;
        }
        let mut rule = RuleBuilder::inet().within(&[daddr], &nets);
        if table.has(&home) {
            rule = rule.outside(&[Field::Iif, daddr], &home);
        }
        table.push(CHAIN, rule.drop().rule(id, &what, scene.network_entries(&networks)));
    }
}

/// The allowlist of what networks of a class may send to the host.
fn host_from_class(scene: &Scene<'_, '_>, class: &Class<'_>, table: &mut TableBuilder) {
    let chain = host_chain(class);
    let names = scene.network_names(class.networks);
    let origins = scene.network_entries(class.networks);
    let guarded: Vec<_> = scene.nics_guarded(Guard::All).collect();
    let what = format!("{names}: not this host's addresses on {}", scene.nic_names(guarded.iter().copied()));
    let daddr = [Field::Daddr4, Field::Daddr6];
    let nic_origins = scene.nic_entries(guarded);
    table.drop_per_family(&chain, ["H1", "H2"], "guarded", daddr, &what, &nic_origins);

    let closed: Vec<_> = scene.intent.closed_to(class.key).collect();
    let what = format!("{names}: not this host's addresses on {}", scene.nic_names(closed.iter().copied()));
    let closed_origins = scene.nic_entries(closed);
    let set = format!("closed_{}", class.name);
    table.drop_per_family(&chain, ["H3", "H4"], &set, daddr, &what, &closed_origins);

    let routing = [("H5", Field::Icmpv6Type, "icmpv6_routing"), ("H6", Field::IcmpType, "icmp_routing")];
    for (id, field, set) in routing {
        let rule = RuleBuilder::inet().within(&[field], set).drop();
        table.push(
            &chain,
            rule.rule(id, &format!("{names} may not change this host's routes"), origins.clone()),
        );
    }
    let rule = RuleBuilder::inet().answer().accept();
    let what = format!("{names}: answers to this host's own connections");
    table.push(&chain, rule.rule("H7", &what, origins.clone()));
    let rule = RuleBuilder::inet().within(&[Field::DaddrTypeOnIif], "own_types").accept();
    table.push(&chain, rule.rule("H8", &format!("the gateway address of {names}"), origins.clone()));
    let what =
        format!("{names}: this host's addresses on {}", scene.nic_names(class.key.reaches.iter().copied()));
    for (family, (id, field)) in IpFamily::BOTH.into_iter().zip(["H9", "H10"].into_iter().zip(daddr)) {
        let set = format!("reach_{}_{}", class.name, suffix(family));
        if table.has(&set) {
            let rule = RuleBuilder::inet().within(&[field], &set).accept();
            table.push(&chain, rule.rule(id, &what, origins.clone()));
        }
    }
    let what = format!("no other address of this host for {names}");
    table.push(&chain, RuleBuilder::inet().drop().rule("H11", &what, origins));
}
