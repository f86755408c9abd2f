//! A table in the making: sets come into being with their first element, so that no set is empty.

use std::collections::BTreeMap;
use std::sync::Arc;

use ipnet::IpNet;

use super::super::rules::{Field, RuleBuilder};
use super::suffix;
use crate::intent::IpFamily;
use crate::ruleset::{
    Aside, BaseChain, Chain, ChainKind, ElementData, ElementKey, Elements, Family, FieldType, Hook, Policy,
    Priority, Rule, Set, SetData, Table, Verdict, padded_name,
};
use crate::topology::{Allow, EntryId, NamePattern, PortRange};

/// The two sets behind a name that may end in `*`: `NAME` for exact names, `NAME_prefixes` for the rest.
///
/// Two, because a hash set cannot hold intervals, and one interval set for all would make every lookup
/// a walk through a tree with ten thousand names in it.
pub(super) fn prefixes_of(set: &str) -> String {
    format!("{set}{PREFIXES}")
}

const PREFIXES: &str = "_prefixes";

pub(super) struct TableBuilder {
    table: Table,
    sets: BTreeMap<Arc<str>, Filling>,
    /// The name of the set that was asked for last, to spare an allocation for each element.
    name: String,
}

/// A set, and its elements in the order in which they came.
struct Filling {
    set: Set,
    elements: Vec<(ElementKey, ElementData)>,
}

impl TableBuilder {
    pub(super) fn inet() -> Self {
        Self::new(Family::Inet)
    }

    pub(super) fn bridge() -> Self {
        Self::new(Family::Bridge)
    }

    fn new(family: Family) -> Self {
        Self { table: Table::new(family), sets: BTreeMap::new(), name: String::new() }
    }

    pub(super) fn finish(mut self) -> Table {
        self.table.sets = self
            .sets
            .into_iter()
            // The first one stays: it is the same decision from an entry that sorts earlier.
            .map(|(name, Filling { set, elements })| {
                (name, Set { elements: Elements::first_of_each(elements), ..set })
            })
            .collect();
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
        self.sets.contains_key(set)
    }

    /// Whether an element of a verdict map leads to a chain.
    pub(super) fn uses_chain(&self, map: &str, chain: &str) -> bool {
        self.sets.get(map).is_some_and(|map| {
            map.elements.iter().any(|(_, element)| match &element.verdict {
                Some(Verdict::Goto(target) | Verdict::Jump(target)) => **target == *chain,
                _ => false,
            })
        })
    }

    /// Adds to the set whose name has these two parts.
    fn add(
        &mut self,
        (name, suffix): (&str, &str),
        key: &[FieldType],
        fields: &[Interval],
        data: (SetData, Option<Verdict>, Option<Box<[u8]>>),
        origin: EntryId,
    ) {
        self.name.clear();
        self.name.push_str(name);
        self.name.push_str(suffix);
        if !self.sets.contains_key(self.name.as_str()) {
            let name: Arc<str> = Arc::from(self.name.as_str());
            let set = Set {
                name: Arc::clone(&name),
                key: key.to_vec(),
                data: data.0,
                interval: fields.iter().any(|field| field.interval),
                elements: Elements::new(),
                foreign_flags: 0,
            };
            self.sets.insert(name, Filling { set, elements: Vec::new() });
        }
        if let Some(filling) = self.sets.get_mut(self.name.as_str()) {
            let element = ElementData { verdict: data.1, value: data.2, origin: Aside(Some(origin)) };
            filling.elements.push((joined(fields), element));
        }
    }

    /// A link name in a plain set.
    pub(super) fn add_link(&mut self, set: &str, link: &str, origin: EntryId) {
        self.add((set, ""), &[FieldType::IfName], &[Interval::exact(&padded_name(link))], NO_DATA, origin);
    }

    /// Exact values in a plain set.
    pub(super) fn add_value(&mut self, set: &str, key: &[FieldType], fields: &[&[u8]], origin: EntryId) {
        let fields: Vec<_> = fields.iter().map(|bytes| Interval::exact(bytes)).collect();
        self.add((set, ""), key, &fields, NO_DATA, origin);
    }

    /// A subnet in `SET_v4` or `SET_v6`.
    pub(super) fn add_subnet(&mut self, set: &str, subnet: IpNet, origin: EntryId) {
        let (address, field) = address_type(&subnet);
        self.add((set, behind(address)), &[field], &[Interval::subnet(&subnet)], NO_DATA, origin);
    }

    /// A link and a subnet in `SET_v4` or `SET_v6`.
    pub(super) fn add_link_subnet(&mut self, set: &str, link: &NamePattern, subnet: IpNet, origin: EntryId) {
        let (address, field) = address_type(&subnet);
        let mut link = Interval::name(link);
        link.interval = true;
        let fields = [link, Interval::subnet(&subnet)];
        self.add((set, behind(address)), &[FieldType::IfName, field], &fields, NO_DATA, origin);
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
        let suffix = if name.is_prefix() { PREFIXES } else { "" };
        let fields = [Interval::name(name)];
        self.add((set, suffix), &[FieldType::IfName], &fields, (kind, verdict, None), origin);
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
        let suffix = if prefix { PREFIXES } else { "" };
        let fields = [Interval::name(from), Interval::name(to)];
        let key = [FieldType::IfName, FieldType::IfName];
        self.add((set, suffix), &key, &fields, (SetData::Verdict, Some(verdict), None), origin);
    }

    /// A pair of links and the address that it is rewritten to.
    pub(super) fn add_pair_address(&mut self, set: &str, pair: [&str; 2], address: IpNet, origin: EntryId) {
        let (_, field) = address_type(&address);
        let fields = pair.map(|link| Interval::exact(&padded_name(link)));
        let value = Box::from(Interval::subnet(&address).first());
        let key = [FieldType::IfName, FieldType::IfName];
        self.add((set, ""), &key, &fields, (SetData::Value(field), None, Some(value)), origin);
    }

    /// An exception: who sends what to whom, and by which link it has to leave.
    pub(super) fn add_exception(&mut self, allow: &Allow, from: &[NamePattern]) {
        let (family, address) = address_type(&allow.to);
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
                    protocol,
                    Interval::between(&port.first.to_be_bytes(), &port.last.to_be_bytes()),
                ];
                self.add(("allow", behind(family)), &key, &fields, NO_DATA, allow.entry);
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
#[derive(Clone, Copy)]
struct Interval {
    first: [u8; FIELD_MAX],
    last: [u8; FIELD_MAX],
    /// In bytes.
    length: usize,
    /// Whether the field is of a kind that may be an interval, even where this one is a single value.
    interval: bool,
}

/// The longest field: a name, or an IPv6 address.
const FIELD_MAX: usize = 16;

impl Interval {
    fn exact(bytes: &[u8]) -> Self {
        Self { interval: false, ..Self::between(bytes, bytes) }
    }

    fn between(first: &[u8], last: &[u8]) -> Self {
        let length = first.len();
        let mut ends = [[0; FIELD_MAX]; 2];
        ends[0][..length].copy_from_slice(first);
        ends[1][..length].copy_from_slice(last);
        Self { first: ends[0], last: ends[1], length, interval: true }
    }

    fn name(name: &NamePattern) -> Self {
        let first = padded_name(name.stem());
        let mut last = first;
        if name.is_prefix() {
            let stem = name.stem().len().min(last.len());
            last[stem..].fill(0xff);
        }
        Self { first, last, length: first.len(), interval: name.is_prefix() }
    }

    fn subnet(subnet: &IpNet) -> Self {
        match subnet {
            IpNet::V4(net) => Self::between(&net.network().octets(), &net.broadcast().octets()),
            IpNet::V6(net) => Self::between(&net.network().octets(), &net.broadcast().octets()),
        }
    }

    fn first(&self) -> &[u8] {
        &self.first[..self.length]
    }

    fn last(&self) -> &[u8] {
        &self.last[..self.length]
    }
}

/// The key that fields make: in a concatenation each is padded to 4 bytes.
fn joined(fields: &[Interval]) -> ElementKey {
    /// Five fields, as an exception has.
    const MAX: usize = 5 * FIELD_MAX;
    if let [field] = fields {
        return ElementKey::range(field.first(), field.last());
    }
    let mut ends = [[0; MAX]; 2];
    let mut length = 0;
    for field in fields {
        ends[0][length..length + field.length].copy_from_slice(field.first());
        ends[1][length..length + field.length].copy_from_slice(field.last());
        length += field.length.next_multiple_of(4);
    }
    ElementKey::range(&ends[0][..length], &ends[1][..length])
}

/// What stands behind the name of a set of addresses.
const fn behind(family: IpFamily) -> &'static str {
    match family {
        IpFamily::V4 => "_v4",
        IpFamily::V6 => "_v6",
    }
}

const fn address_type(subnet: &IpNet) -> (IpFamily, FieldType) {
    match subnet {
        IpNet::V4(_) => (IpFamily::V4, FieldType::Ipv4Addr),
        IpNet::V6(_) => (IpFamily::V6, FieldType::Ipv6Addr),
    }
}
