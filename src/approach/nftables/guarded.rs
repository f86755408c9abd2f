//! What is dropped whatever the links of a network may do: source routing, and guarded NICs; and the way past it for
//! packets that it is not about.

use std::fmt::Write as _;

use ipnet::IpNet;

use super::super::rules::{Field, RuleBuilder};
use super::forward::goto;
use super::table::TableBuilder;
use super::{CHAIN_FORWARD, Scene, suffix};
use crate::intent::{Guard, IpFamily};

/// IPv4 options that make routers along the way forget the rules of routing (RFC 791, 3.1).
const IPOPT_LSRR: u8 = 131;
const IPOPT_SSRR: u8 = 137;

/// Where the links of a packet decide, and its addresses no more.
pub(super) const CHAIN_BY_LINK: &str = "by_link";
pub(super) const CHAIN_TO_GUARDED: &str = "into_guarded";
pub(super) const CHAIN_FROM_GUARDED: &str = "out_of_guarded";
/// Whether every exception leads to an address of a guarded NIC, so that no packet of one takes the shortcut.
pub(super) fn exceptions_are_guarded(scene: &Scene<'_, '_>) -> bool {
    let topology = scene.intent.topology;
    let nics: Vec<_> = scene.nics_guarded(Guard::All).collect();
    let is_guarded = |to: &IpNet| {
        nics.iter().flat_map(|nic| &topology.nics[*nic].subnets).any(|subnet| subnet.contains(to))
    };
    topology.allows.iter().all(|allow| is_guarded(&allow.to))
}

/// Past the rules about options and addresses, for packets that these say nothing about.
///
/// The condition is the contrary of all of them together; what is left of them is what they say about links, and
/// [`CHAIN_BY_LINK`] says that as well. A packet for which any part cannot be told takes the long way.
pub(super) fn shortcut(scene: &Scene<'_, '_>, table: &mut TableBuilder) {
    /// More subnets than that are looked up in their set: twice 100 to 150 ns, against 7 ns for a comparison with an
    /// IPv4 subnet and 40 ns with one of IPv6, each subnet twice.
    const FEW: usize = 4;
    let topology = scene.intent.topology;
    let nics: Vec<_> = scene.nics_guarded(Guard::All).collect();
    let families = [
        (IpFamily::V4, "F23", [Field::Daddr4, Field::Saddr4]),
        (IpFamily::V6, "F24", [Field::Daddr6, Field::Saddr6]),
    ];
    for (family, id, ends) in families {
        let set = format!("guarded_{}", suffix(family));
        let mut rule = RuleBuilder::inet();
        let mut what = "IPv6".to_owned();
        if family == IpFamily::V4 {
            rule = rule.no_options();
            what = "IPv4 without options".to_owned();
        } else if !table.has(&set) {
            continue;
        }
        if table.has(&set) {
            let subnets = nics.iter().flat_map(|nic| &topology.nics[*nic].subnets);
            let subnets: Vec<IpNet> = subnets.filter(|net| IpFamily::of(net) == family).copied().collect();
            let can_be_compared = subnets.len() <= FEW && subnets.iter().all(|net| net.prefix_len() > 0);
            rule = if can_be_compared {
                rule.outside_subnets(&ends, &subnets)
            } else {
                rule.outside(&ends[..1], &set).outside(&ends[1..], &set)
            };
            let _ = write!(what, ", neither end in a subnet of {}", scene.nic_names(nics.iter().copied()));
        }
        let rule = rule.verdict(goto(CHAIN_BY_LINK));
        let origins = if nics.is_empty() {
            vec![topology.isolation.entry]
        } else {
            scene.nic_entries(nics.iter().copied())
        };
        table.push(CHAIN_FORWARD, rule.rule(id, &what, origins));
    }
}

/// On to where the links decide, for what came the long way, and what guarded NICs have there.
pub(super) fn by_link(scene: &Scene<'_, '_>, table: &mut TableBuilder) {
    let rule = RuleBuilder::inet().verdict(goto(CHAIN_BY_LINK));
    let origins = vec![scene.intent.topology.isolation.entry];
    table.push(CHAIN_FORWARD, rule.rule("F25", "isolation: now by the links", origins));
    table.chain(CHAIN_BY_LINK);
    let nics: Vec<_> = scene.nics_guarded(Guard::All).collect();
    if nics.is_empty() {
        return;
    }
    let names = scene.nic_names(nics.iter().copied());
    let origins = scene.nic_entries(nics);
    for (chain, id, what) in [
        (CHAIN_TO_GUARDED, "F26", "whatever the address, nothing is forwarded to"),
        (CHAIN_FROM_GUARDED, "F27", "whatever the address, nothing is forwarded from"),
    ] {
        table.push(chain, RuleBuilder::inet().drop().rule(id, &format!("{what} {names}"), origins.clone()));
    }
}

pub(super) fn source_routing(scene: &Scene<'_, '_>, table: &mut TableBuilder) {
    let origin = vec![scene.intent.topology.isolation.entry];
    for (id, option) in [("F1", IPOPT_LSRR), ("F2", IPOPT_SSRR)] {
        let rule = RuleBuilder::inet().ipv4_option(option).drop();
        table.push(
            CHAIN_FORWARD,
            rule.rule(id, "isolation: no source-routed packet is forwarded", origin.clone()),
        );
    }
}

/// Unconditional drops for NICs that are guarded for everyone: by link, because a network may be
/// routed behind the NIC that the file does not list; by prefix, because a route may change.
pub(super) fn guarded(scene: &Scene<'_, '_>, table: &mut TableBuilder) {
    let nics: Vec<_> = scene.nics_guarded(Guard::All).collect();
    if nics.is_empty() {
        return;
    }
    let names = scene.nic_names(nics.iter().copied());
    let origins = scene.nic_entries(nics);
    for (id, field, what) in
        [("F3", Field::Oif, "nothing is forwarded to"), ("F4", Field::Iif, "nothing is forwarded from")]
    {
        let rule = RuleBuilder::inet().within(&[field], "guarded_links").drop();
        table.push(CHAIN_FORWARD, rule.rule(id, &format!("{what} {names}"), origins.clone()));
    }
    let what = format!("whatever the route, nothing is forwarded to {names}");
    table.drop_per_family(
        CHAIN_FORWARD,
        ["F5", "F6"],
        "guarded",
        [Field::Daddr4, Field::Daddr6],
        &what,
        &origins,
    );
    let what = format!("whatever the link, nothing is forwarded from {names}");
    table.drop_per_family(
        CHAIN_FORWARD,
        ["F7", "F8"],
        "guarded",
        [Field::Saddr4, Field::Saddr6],
        &what,
        &origins,
    );
}
