//! What one rule set lets pass that another did not, besides the ways between parties: links and addresses that it does
//! not name any more, and exceptions that let more through. It is read from the rules themselves, so that it holds for
//! those of a file and for those of a host.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::IpNet;

use super::WayChange;
use crate::diff::{Change, Kind};
use crate::flows::link_of_key;
use crate::intent::{Intent, Party};
use crate::ruleset::{ElementKey, FieldType, Ruleset, Set};
use crate::topology::{Allow, EntryId, Topology};

/// What is let go.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Loosened {
    /// Whether there were rules, and there are none any more.
    pub rules: bool,
    /// Links, and wildcards with their `*`, that no rule names any more: what they send and get is nobody's business
    /// but that of guarded NICs and of those that are named.
    pub links: Vec<String>,
    /// Addresses, most often whole subnets, that sets of the rules named as those of a network or NIC, and do not any
    /// more, or not all of them: what leads there by another link is nobody's business any more.
    pub subnets: Vec<String>,
    /// The `[[allow]]` entries of the new file that let through what no single one did before, in the order of the file.
    pub exceptions: Vec<EntryId>,
}

/// The names of sets of exceptions start so.
const EXCEPTIONS: &str = "allow_v";

/// And those of addresses; a set has the name and `_v4` or `_v6`.
const ADDRESSES: [&str; 2] = ["network_nets", "nic_nets"];

impl Loosened {
    /// Compares the rules of two files, or of a host and a file, with what changes from one to the other.
    pub fn new(old: &Ruleset, new: &Ruleset, changes: &[Change]) -> Self {
        let (before, after) = (links(old), links(new));
        let stems: BTreeSet<&str> = after.iter().filter_map(|name| name.strip_suffix('*')).collect();
        let is_named = |name: &String| {
            let stem = name.strip_suffix('*').unwrap_or(name);
            let starts = stem.char_indices().map(|(at, _)| &stem[..at]).chain([stem]);
            after.contains(name) || starts.into_iter().any(|start| stems.contains(start))
        };
        let freed = changes.iter().filter_map(freed).filter(|name| !is_named(name));
        let links: BTreeSet<String> =
            before.iter().filter(|name| !is_named(name)).cloned().chain(freed).collect();
        let subnets: BTreeSet<Range> = lost(old, new).into_iter().collect();
        let exceptions: BTreeSet<EntryId> = new
            .iter()
            .flat_map(|(family, table)| table.sets.values().map(move |set| (family, set)))
            .filter(|(_, set)| set.name.starts_with(EXCEPTIONS))
            // Where there was no table, nothing was dropped that could be let through.
            .filter_map(|(family, set)| Some((old.get(family)?.sets.get(&set.name), set)))
            .flat_map(|(old, set)| widened(old, set))
            .collect();
        Self {
            rules: !old.is_empty() && new.is_empty(),
            links: links.into_iter().collect(),
            subnets: subnets.into_iter().map(Range::text).collect(),
            exceptions: exceptions.into_iter().collect(),
        }
    }

    /// Whether nothing is.
    pub fn is_empty(&self) -> bool {
        !self.rules && self.given_up().next().is_none() && self.exceptions.is_empty()
    }

    /// The links, then the addresses.
    pub fn given_up(&self) -> impl Iterator<Item = &str> {
        self.links.iter().chain(&self.subnets).map(String::as_str)
    }

    /// `1 link and 2 subnets`; nothing where nothing is given up.
    pub fn counted(&self) -> Option<String> {
        let count = |number: usize, one: &str| match number {
            0 => None,
            1 => Some(format!("1 {one}")),
            number => Some(format!("{number} {one}s")),
        };
        match (count(self.links.len(), "link"), count(self.subnets.len(), "subnet")) {
            (Some(links), Some(subnets)) => Some(format!("{links} and {subnets}")),
            (links, subnets) => links.or(subnets),
        }
    }

    /// The entries of the file that let more through.
    pub fn allows<'t>(&self, topology: &'t Topology) -> Vec<&'t Allow> {
        topology.allows.iter().filter(|allow| self.exceptions.contains(&allow.entry)).collect()
    }

    /// For how many pairs exceptions let more through that no way tells of, because there were exceptions before. Which
    /// ways count is up to the caller: from the new rules to the old ones it is those that close.
    pub fn pairs_besides(
        &self,
        intent: &Intent<'_>,
        ways: &[WayChange],
        counts: fn(&WayChange) -> bool,
    ) -> usize {
        let topology = intent.topology;
        let label = |party: Party| match party {
            Party::Network(at) => topology.networks[at].name.to_string(),
            Party::Flat(at) => format!("{} (flat)", topology.flats[at].name),
            Party::Nic(at) | Party::HostOn(at) => {
                format!("{} ({})", topology.nics[at].name, topology.nics[at].role)
            }
        };
        let entries = topology.allows.iter().zip(&intent.exceptions);
        let more = entries.filter(|(allow, _)| self.exceptions.contains(&allow.entry));
        let pairs: BTreeSet<(Party, Party)> = more.filter_map(|(_, ends)| *ends).collect();
        let is_told = |(from, to): &(Party, Party)| {
            let (from, to) = (label(*from), label(*to));
            ways.iter().any(|way| counts(way) && way.from.contains(&from) && way.to.contains(&to))
        };
        pairs.iter().filter(|pair| !is_told(pair)).count()
    }
}

/// Every link that an element of a set names.
fn links(ruleset: &Ruleset) -> BTreeSet<String> {
    let sets = ruleset.values().flat_map(|table| table.sets.values());
    let of_links = sets.filter(|set| set.key.first() == Some(&FieldType::IfName));
    of_links.flat_map(|set| set.elements.keys()).map(link).collect()
}

fn link(key: &ElementKey) -> String {
    let length = FieldType::IfName.len();
    let name = |bytes: &[u8]| {
        let bytes = &bytes[..length.min(bytes.len())];
        let end = bytes.iter().position(|byte| *byte == 0).unwrap_or(bytes.len());
        String::from_utf8_lossy(&bytes[..end]).into_owned()
    };
    let is_prefix = key.first().get(..length) != key.upper().get(..length);
    name(key.first()) + if is_prefix { "*" } else { "" }
}

/// The link whose forwarding was off and is not any more.
fn freed(change: &Change) -> Option<String> {
    let is_freed = change.kind == Kind::Sysctl
        && change.old.as_deref() == Some("0")
        && change.new.as_deref() != Some("0");
    link_of_key(&change.name).filter(|_| is_freed).map(str::to_owned)
}

/// Addresses from the first to the last, in network byte order; those of IPv4 come first.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Range {
    length: usize,
    first: u128,
    last: u128,
}

impl Range {
    fn new(key: &ElementKey) -> Option<Self> {
        let number = |bytes: &[u8]| bytes.iter().fold(0, |number, byte| number << 8 | u128::from(*byte));
        let length = key.first().len();
        matches!(length, 4 | 16).then(|| Self {
            length,
            first: number(key.first()),
            last: number(key.upper()),
        })
    }

    /// The prefix that it is, or its ends.
    fn text(self) -> String {
        let address = |number: u128| match self.length {
            4 => IpAddr::from(Ipv4Addr::from_bits(u32::try_from(number).unwrap_or(u32::MAX))),
            _ => IpAddr::from(Ipv6Addr::from_bits(number)),
        };
        let (first, last) = (address(self.first), address(self.last));
        let free = (self.first ^ self.last).count_ones();
        let length = u8::try_from(8 * self.length - free as usize).unwrap_or(0);
        let net = IpNet::new(first, length).ok().map(|net| net.trunc());
        match net.filter(|net| net.network() == first && net.broadcast() == last) {
            Some(net) => net.to_string(),
            None => format!("{first}-{last}"),
        }
    }
}

/// The elements of the old sets of addresses that the new ones do not hold, or not all of.
fn lost(old: &Ruleset, new: &Ruleset) -> Vec<Range> {
    let ranges = |ruleset: &Ruleset| -> BTreeSet<Range> {
        let sets = ruleset.values().flat_map(|table| table.sets.values());
        let is_one =
            |set: &&Set| set.name.rsplit_once("_v").is_some_and(|(name, _)| ADDRESSES.contains(&name));
        sets.filter(is_one).flat_map(|set| set.elements.keys()).filter_map(Range::new).collect()
    };
    // Ends of ranges by their beginnings, those that touch as one.
    let mut whole: BTreeMap<(usize, u128), u128> = BTreeMap::new();
    let mut last: Option<Range> = None;
    for range in ranges(new) {
        let (length, end) = (range.length, range.last);
        match &mut last {
            Some(open) if open.length == length && range.first <= open.last.saturating_add(1) => {
                open.last = open.last.max(end);
            }
            _ => last = Some(range),
        }
        if let Some(open) = &last {
            whole.insert((open.length, open.first), open.last);
        }
    }
    let is_held = |range: &Range| {
        let below = whole.range(..=(range.length, range.first)).next_back();
        below.is_some_and(|((length, _), last)| *length == range.length && range.last <= *last)
    };
    ranges(old).into_iter().filter(|range| !is_held(range)).collect()
}

/// The entries of elements that lie within no single one of the other set.
fn widened(old: Option<&Set>, new: &Set) -> Vec<EntryId> {
    // By link, which is the first field and the same in both.
    let mut by_link: BTreeMap<String, Vec<&ElementKey>> = BTreeMap::new();
    for key in old.into_iter().flat_map(|set| set.elements.keys()) {
        by_link.entry(link(key)).or_default().push(key);
    }
    let is_covered = |key: &ElementKey| {
        old.is_some_and(|old| old.key == new.key && old.elements.contains_key(key))
            || by_link
                .get(&link(key))
                .is_some_and(|keys| keys.iter().any(|other| within(key, other, &new.key)))
    };
    let all = new.elements.iter().filter(|(key, _)| !is_covered(key));
    all.filter_map(|(_, data)| data.origin.0).collect()
}

/// Whether every field of the one lies within that of the other.
fn within(inner: &ElementKey, outer: &ElementKey, fields: &[FieldType]) -> bool {
    let mut at = 0;
    fields.iter().all(|field| {
        let end = at + field.len();
        let part = |bytes: &[u8]| bytes.get(at..end).map(<[u8]>::to_vec);
        let [low, high] = [part(outer.first()), part(outer.upper())];
        let is_in = low.is_some() && low <= part(inner.first()) && part(inner.upper()) <= high;
        at = end.next_multiple_of(4);
        is_in
    })
}
