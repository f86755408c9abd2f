//! What one rule set lets pass that another did not, besides the ways between parties: links that it does not name any
//! more, and exceptions that let more through. It is read from the rules themselves, so that it holds for those of a
//! file and for those of a host.

use std::collections::{BTreeMap, BTreeSet};

use super::WayChange;
use crate::intent::{Intent, Party};
use crate::ruleset::{ElementKey, FieldType, Ruleset, Set};
use crate::topology::{Allow, EntryId, Topology};

/// What is let go.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Loosened {
    /// Links, and wildcards with their `*`, that no rule names any more: what they send and get is nobody's business
    /// but that of guarded NICs and of those that are named.
    pub links: Vec<String>,
    /// The `[[allow]]` entries of the new file that let through what no single one did before, in the order of the file.
    pub exceptions: Vec<EntryId>,
}

/// The names of sets of exceptions start so.
const EXCEPTIONS: &str = "allow_v";

impl Loosened {
    /// Compares the rules of two files, or of a host and a file.
    pub fn new(old: &Ruleset, new: &Ruleset) -> Self {
        let (before, after) = (links(old), links(new));
        let stems: BTreeSet<&str> = after.iter().filter_map(|name| name.strip_suffix('*')).collect();
        let is_named = |name: &String| {
            let stem = name.strip_suffix('*').unwrap_or(name);
            let starts = stem.char_indices().map(|(at, _)| &stem[..at]).chain([stem]);
            after.contains(name) || starts.into_iter().any(|start| stems.contains(start))
        };
        let links = before.iter().filter(|name| !is_named(name)).cloned().collect();
        let exceptions: BTreeSet<EntryId> = new
            .iter()
            .flat_map(|(family, table)| table.sets.values().map(move |set| (family, set)))
            .filter(|(_, set)| set.name.starts_with(EXCEPTIONS))
            // Where there was no table, nothing was dropped that could be let through.
            .filter_map(|(family, set)| Some((old.get(family)?.sets.get(&set.name), set)))
            .flat_map(|(old, set)| widened(old, set))
            .collect();
        Self { links, exceptions: exceptions.into_iter().collect() }
    }

    /// Whether nothing is.
    pub fn is_empty(&self) -> bool {
        self.links.is_empty() && self.exceptions.is_empty()
    }

    /// The entries of the file that let more through.
    pub fn allows<'t>(&self, topology: &'t Topology) -> Vec<&'t Allow> {
        topology.allows.iter().filter(|allow| self.exceptions.contains(&allow.entry)).collect()
    }

    /// For how many pairs exceptions let more through that no way tells of, because there were exceptions before.
    pub fn pairs_besides(&self, intent: &Intent<'_>, ways: &[WayChange]) -> usize {
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
            ways.iter().any(|way| way.opens() && way.from.contains(&from) && way.to.contains(&to))
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
