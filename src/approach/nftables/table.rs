//! A table in the making: sets come into being with their first element, so that no set is empty.

use std::collections::BTreeMap;
use std::sync::Arc;

use ipnet::IpNet;

use super::super::rules::{Field, RuleBuilder};
use super::suffix;
use crate::intent::IpFamily;
use crate::ruleset::{
    Aside, BaseChain, Chain, ChainKind, ElementData, ElementKey, Family, FieldType, Hook, Policy, Priority,
    Rule, Set, SetData, Table, Verdict, padded_name,
};
use crate::topology::{Allow, EntryId, NamePattern, PortRange};

/// The two sets behind a name that may end in `*`: `NAME` for exact names, `NAME_prefixes` for the rest.
///
/// Two, because a hash set cannot hold intervals, and one interval set for all would make every lookup
/// a walk through a tree with ten thousand names in it.
pub(super) fn prefixes_of(set: &str) -> String {
    format!("{set}_prefixes")
}

pub(super) struct TableBuilder {
    table: Table,
}

impl TableBuilder {
    pub(super) fn inet() -> Self {
        Self { table: Table::new(Family::Inet) }
    }

    pub(super) fn bridge() -> Self {
        Self { table: Table::new(Family::Bridge) }
    }

    pub(super) fn finish(self) -> Table {
        self.table
    }

    pub(super) fn base_chain(&mut self, name: &str, kind: ChainKind, hook: Hook, priority: i32) {
        // The policy is accept: isoplan drops what it names, and leaves the rest to other tables.
        let base =
            BaseChain { kind, hook, priority: Priority(priority), policy: Policy::Accept, device: None };
        self.chain(name).base = Some(base);
    }

    pub(super) fn chain(&mut self, name: &str) -> &mut Chain {
        let name: Arc<str> = Arc::from(name);
        self.table.chains.entry(Arc::clone(&name)).or_insert_with(|| Chain {
            name,
            base: None,
            rules: Vec::new(),
        })
    }

    pub(super) fn push(&mut self, chain: &str, rule: Rule) {
        self.chain(chain).rules.push(rule);
    }

    pub(super) fn has(&self, set: &str) -> bool {
        self.table.sets.contains_key(set)
    }

    /// Whether an element of a verdict map leads to a chain.
    pub(super) fn uses_chain(&self, map: &str, chain: &str) -> bool {
        self.table.sets.get(map).is_some_and(|map| {
            map.elements.values().any(|element| match &element.verdict {
                Some(Verdict::Goto(target) | Verdict::Jump(target)) => **target == *chain,
                _ => false,
            })
        })
    }

    fn set(&mut self, name: &str, key: &[FieldType], data: SetData, interval: bool) -> &mut Set {
        let name: Arc<str> = Arc::from(name);
        self.table.sets.entry(Arc::clone(&name)).or_insert_with(|| Set {
            name,
            key: key.to_vec(),
            data,
            interval,
            elements: BTreeMap::new(),
            foreign_flags: 0,
        })
    }

    fn add(
        &mut self,
        set: &str,
        key: &[FieldType],
        fields: &[Interval],
        data: (SetData, Option<Verdict>, Option<Box<[u8]>>),
        origin: EntryId,
    ) {
        let interval = fields.iter().any(|field| field.interval);
        let set = self.set(set, key, data.0, interval);
        let pad = set.is_concat();
        let key = ElementKey::range(joined(fields, pad, |f| &f.first), joined(fields, pad, |f| &f.last));
        let element = ElementData { verdict: data.1, value: data.2, origin: Aside(Some(origin)) };
        // The first one stays: it is the same decision from an entry that sorts earlier.
        set.elements.entry(key).or_insert(element);
    }

    /// A link name in a plain set.
    pub(super) fn add_link(&mut self, set: &str, link: &str, origin: EntryId) {
        self.add(set, &[FieldType::IfName], &[Interval::exact(&padded_name(link))], NO_DATA, origin);
    }

    /// Exact values in a plain set.
    pub(super) fn add_value(&mut self, set: &str, key: &[FieldType], fields: &[&[u8]], origin: EntryId) {
        let fields: Vec<_> = fields.iter().map(|bytes| Interval::exact(bytes)).collect();
        self.add(set, key, &fields, NO_DATA, origin);
    }

    /// A subnet in `SET_v4` or `SET_v6`.
    pub(super) fn add_subnet(&mut self, set: &str, subnet: IpNet, origin: EntryId) {
        let (address, field) = address_type(&subnet);
        let name = format!("{set}_{}", suffix(address));
        self.add(&name, &[field], &[Interval::subnet(&subnet)], NO_DATA, origin);
    }

    /// A link and a subnet in `SET_v4` or `SET_v6`.
    pub(super) fn add_link_subnet(&mut self, set: &str, link: &NamePattern, subnet: IpNet, origin: EntryId) {
        let (address, field) = address_type(&subnet);
        let name = format!("{set}_{}", suffix(address));
        let mut link = Interval::name(link);
        link.interval = true;
        self.add(&name, &[FieldType::IfName, field], &[link, Interval::subnet(&subnet)], NO_DATA, origin);
    }

    /// A name in `SET` or `SET_prefixes`, with a verdict in a verdict map.
    pub(super) fn add_name(
        &mut self,
        set: &str,
        name: &NamePattern,
        kind: SetData,
        verdict: Option<Verdict>,
        origin: EntryId,
    ) {
        let set = if name.is_prefix() { prefixes_of(set) } else { set.to_owned() };
        self.add(&set, &[FieldType::IfName], &[Interval::name(name)], (kind, verdict, None), origin);
    }

    /// A pair of links in `SET` or `SET_prefixes`, with a verdict.
    pub(super) fn add_pair(
        &mut self,
        set: &str,
        from: &NamePattern,
        to: &NamePattern,
        verdict: Verdict,
        origin: EntryId,
    ) {
        let prefix = from.is_prefix() || to.is_prefix();
        let set = if prefix { prefixes_of(set) } else { set.to_owned() };
        let fields = [Interval::name(from), Interval::name(to)];
        let key = [FieldType::IfName, FieldType::IfName];
        self.add(&set, &key, &fields, (SetData::Verdict, Some(verdict), None), origin);
    }

    /// A pair of links and the address that it is rewritten to.
    pub(super) fn add_pair_address(&mut self, set: &str, pair: [&str; 2], address: IpNet, origin: EntryId) {
        let (_, field) = address_type(&address);
        let fields = pair.map(|link| Interval::exact(&padded_name(link)));
        let value = Interval::subnet(&address).first.into_boxed_slice();
        let key = [FieldType::IfName, FieldType::IfName];
        self.add(set, &key, &fields, (SetData::Value(field), None, Some(value)), origin);
    }

    /// An exception: who sends what to whom, and by which link it has to leave.
    pub(super) fn add_exception(&mut self, allow: &Allow, from: &[NamePattern]) {
        let (family, address) = address_type(&allow.to);
        let set = format!("allow_{}", suffix(family));
        let key = [FieldType::IfName, address, address, FieldType::InetProto, FieldType::InetService];
        let protocol = match allow.protocol {
            Some(protocol) => Interval::exact(&[protocol.number()]),
            None => Interval::between(&[0], &[u8::MAX]),
        };
        let every_port = [PortRange { first: 0, last: u16::MAX }];
        let ports = if allow.ports.is_empty() { &every_port[..] } else { &allow.ports };
        let senders = from.iter().flat_map(|link| allow.from_subnets.iter().map(move |net| (link, net)));
        for (link, source) in senders {
            for port in ports {
                let fields = [
                    Interval::name(link),
                    Interval::subnet(source),
                    Interval::subnet(&allow.to),
                    protocol.clone(),
                    Interval::between(&port.first.to_be_bytes(), &port.last.to_be_bytes()),
                ];
                self.add(&set, &key, &fields, NO_DATA, allow.entry);
            }
        }
    }

    /// A drop rule for each family that has a set, with ids that count on.
    pub(super) fn drop_per_family(
        &mut self,
        chain: &str,
        ids: [&str; 2],
        set: &str,
        field: [Field; 2],
        what: &str,
        origins: &[EntryId],
    ) {
        for (family, (id, field)) in IpFamily::BOTH.into_iter().zip(ids.into_iter().zip(field)) {
            let set = format!("{set}_{}", suffix(family));
            if self.has(&set) {
                let rule = RuleBuilder::inet().within(&[field], &set).drop();
                self.push(chain, rule.rule(id, what, origins.to_vec()));
            }
        }
    }
}

const NO_DATA: (SetData, Option<Verdict>, Option<Box<[u8]>>) = (SetData::None, None, None);

/// One field of an element: a single value or an interval, both ends included.
#[derive(Clone)]
struct Interval {
    first: Vec<u8>,
    last: Vec<u8>,
    /// Whether the field is of a kind that may be an interval, even where this one is a single value.
    interval: bool,
}

impl Interval {
    fn exact(bytes: &[u8]) -> Self {
        Self { first: bytes.to_vec(), last: bytes.to_vec(), interval: false }
    }

    fn between(first: &[u8], last: &[u8]) -> Self {
        Self { first: first.to_vec(), last: last.to_vec(), interval: true }
    }

    fn name(name: &NamePattern) -> Self {
        let first = padded_name(name.stem());
        let mut last = first;
        if name.is_prefix() {
            let stem = name.stem().len().min(last.len());
            last[stem..].fill(0xff);
        }
        Self { first: first.to_vec(), last: last.to_vec(), interval: name.is_prefix() }
    }

    fn subnet(subnet: &IpNet) -> Self {
        match subnet {
            IpNet::V4(net) => Self::between(&net.network().octets(), &net.broadcast().octets()),
            IpNet::V6(net) => Self::between(&net.network().octets(), &net.broadcast().octets()),
        }
    }
}

fn joined(fields: &[Interval], pad: bool, end: impl Fn(&Interval) -> &Vec<u8>) -> Vec<u8> {
    let mut bytes = Vec::new();
    for field in fields {
        bytes.extend_from_slice(end(field));
        if pad {
            bytes.resize(bytes.len().next_multiple_of(4), 0);
        }
    }
    bytes
}

const fn address_type(subnet: &IpNet) -> (IpFamily, FieldType) {
    match subnet {
        IpNet::V4(_) => (IpFamily::V4, FieldType::Ipv4Addr),
        IpNet::V6(_) => (IpFamily::V6, FieldType::Ipv6Addr),
    }
}
