//! Connections that were open before and are to stay open, until they end by themselves.
//!
//! Much narrower than an accept for all that is established: a packet has to come in on the link of the very flow, with
//! its addresses, protocol and ports, and conntrack has to call it established. When the flow has ended, the first
//! packet of another one with the same ports is new, and no ICMP error is established.

use std::net::IpAddr;
use std::sync::Arc;

use super::super::Desired;
use super::super::rules::{Field, RuleBuilder};
use super::{CHAIN_FORWARD, CHAIN_INPUT};
use crate::flows::keep::{Kept, sets};
use crate::ruleset::{Aside, ElementData, ElementKey, Family, FieldType, Rule, Set, SetData, Table};
use crate::topology::EntryId;

/// Rules that stay in front: source routing, and the host with itself.
const IN_FRONT: [&str; 3] = ["F1", "F2", "I1"];

/// Adds what keeps these flows to a desired state of the nftables approach; no other has rules that could.
pub fn keep(desired: &mut Desired, kept: &Kept) {
    let origin = Aside(None);
    let Some(table) = desired.ruleset.get_mut(&Family::Inet) else { return };
    for (v4, address, [saddr, daddr], ids) in [
        (true, FieldType::Ipv4Addr, [Field::Saddr4, Field::Daddr4], ["K1", "K3"]),
        (false, FieldType::Ipv6Addr, [Field::Saddr6, Field::Daddr6], ["K2", "K4"]),
    ] {
        let is_of_family = |source: &IpAddr| source.is_ipv4() == v4;
        let tuples: Vec<ElementKey> =
            kept.tuples.iter().filter(|tuple| is_of_family(&tuple.source)).map(|tuple| tuple.key()).collect();
        if tuples.is_empty() {
            continue;
        }
        let from = kept.from.iter().filter(|(_, source)| is_of_family(source));
        let from: Vec<ElementKey> = from.map(|(link, source)| Kept::from_key(link, *source)).collect();
        let [tuples_set, from_set] = sets(v4);
        let port = FieldType::InetService;
        add_set(table, tuples_set, vec![address, address, FieldType::InetProto, port, port], tuples, origin);
        add_set(table, from_set, vec![FieldType::IfName, address], from, origin);
        for (chain, id) in [CHAIN_FORWARD, CHAIN_INPUT].into_iter().zip(ids) {
            let Some(chain) = table.chains.get_mut(chain) else { continue };
            let rule = RuleBuilder::inet()
                .established()
                .within(&[Field::Iif, saddr], from_set)
                .within(&[saddr, daddr, Field::L4Proto, Field::Sport, Field::Dport], tuples_set)
                .counted()
                .accept();
            let what = "isolation: connections that were open before, until they end";
            // Behind those in front, and behind the one of the other family. The shortcut comes after them all.
            let in_front = |rule: &Rule| {
                rule.id().is_some_and(|id| IN_FRONT.contains(&id.0.as_str()) || id.0.starts_with('K'))
            };
            chain.rules.sort_by_key(|rule| !in_front(rule));
            let at = chain.rules.iter().take_while(|rule| in_front(rule)).count();
            chain.rules.insert(at, rule.rule(id, what, Vec::new()));
        }
    }
}

fn add_set(
    table: &mut Table,
    name: &str,
    key: Vec<FieldType>,
    keys: Vec<ElementKey>,
    origin: Aside<Option<EntryId>>,
) {
    let data = || ElementData { verdict: None, value: None, origin };
    let elements = keys.into_iter().map(|key| (key, data())).collect();
    let name: Arc<str> = Arc::from(name);
    let set = Set {
        name: Arc::clone(&name),
        key,
        data: SetData::None,
        interval: false,
        elements,
        foreign_flags: 0,
    };
    table.sets.insert(name, set);
}
