//! Open connections that are to stay open: as elements of sets, and back from those of a live table.

use std::collections::BTreeSet;
use std::net::IpAddr;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Flow;
use crate::diff::LiveState;
use crate::ruleset::{ElementKey, Family, Ruleset, padded_name};

/// The packets of one direction of a flow, as the input and forward hooks see them: after destination NAT, before
/// source NAT.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct KeptTuple {
    /// Who sends.
    pub source: IpAddr,
    /// To whom; of the same family.
    pub destination: IpAddr,
    /// The IP protocol: one with ports.
    pub protocol: u8,
    /// Source and destination port.
    pub ports: [u16; 2],
}

/// Connections to keep. Two sets for each family, because nft takes no concatenation of more than five fields
/// (`TYPE_BITS` 6 of 32).
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Kept {
    /// Two for each connection, one for each direction.
    pub tuples: BTreeSet<KeptTuple>,
    /// By which link each of their sources comes in.
    pub from: BTreeSet<(String, IpAddr)>,
}

/// Protocols whose packets start with two ports.
const WITH_PORTS: [u8; 5] = [6, 17, 33, 132, 136];

/// The names of the sets of a family: of tuples, and of links with sources.
pub const fn sets(v4: bool) -> [&'static str; 2] {
    if v4 { ["kept_v4", "kept_from_v4"] } else { ["kept_v6", "kept_from_v6"] }
}

fn push(bytes: &mut Vec<u8>, address: IpAddr) {
    match address {
        IpAddr::V4(address) => bytes.extend_from_slice(&address.octets()),
        IpAddr::V6(address) => bytes.extend_from_slice(&address.octets()),
    }
}

fn address(bytes: &[u8]) -> Option<IpAddr> {
    let v4 = <[u8; 4]>::try_from(bytes).ok().map(IpAddr::from);
    v4.or_else(|| <[u8; 16]>::try_from(bytes).ok().map(IpAddr::from))
}

impl KeptTuple {
    /// As the key of an element: source, destination, protocol, source port, destination port, each padded to 4 bytes.
    pub fn key(&self) -> ElementKey {
        let mut bytes = Vec::with_capacity(44);
        push(&mut bytes, self.source);
        push(&mut bytes, self.destination);
        bytes.extend_from_slice(&[self.protocol, 0, 0, 0]);
        for port in self.ports {
            bytes.extend_from_slice(&port.to_be_bytes());
            bytes.extend_from_slice(&[0, 0]);
        }
        ElementKey::value(bytes)
    }

    fn from_key(key: &ElementKey) -> Option<Self> {
        let (addresses, rest) = key.first().split_at_checked(key.first().len().checked_sub(12)?)?;
        let (source, destination) = addresses.split_at(addresses.len() / 2);
        let &[protocol, _, _, _, s0, s1, _, _, d0, d1, _, _] = rest else { return None };
        let ports = [u16::from_be_bytes([s0, s1]), u16::from_be_bytes([d0, d1])];
        Some(Self { source: address(source)?, destination: address(destination)?, protocol, ports })
    }
}

impl Kept {
    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.tuples.is_empty()
    }

    /// How many connections.
    pub fn connections(&self) -> usize {
        self.tuples.len() / 2
    }

    /// Adds a flow, by the links of who opened it and of the other end; false for a protocol without ports, whose flows
    /// are one question and its answer.
    pub(super) fn add(&mut self, flow: &Flow, links: (&str, &str)) -> bool {
        if !WITH_PORTS.contains(&flow.protocol) || links.0.is_empty() || links.1.is_empty() {
            return false;
        }
        let (there, back) = (&flow.original, &flow.reply);
        let (near, far) = ((there.source, there.source_port), (back.source, back.source_port));
        for (link, from, to) in [(links.0, near, far), (links.1, far, near)] {
            let ports = [from.1, to.1];
            self.tuples.insert(KeptTuple {
                source: from.0,
                destination: to.0,
                protocol: flow.protocol,
                ports,
            });
            self.from.insert((link.to_owned(), from.0));
        }
        true
    }

    /// The key of an element of the set of links and sources.
    pub fn from_key(link: &str, source: IpAddr) -> ElementKey {
        let mut bytes = padded_name(link).to_vec();
        push(&mut bytes, source);
        ElementKey::value(bytes)
    }

    /// What an apply has kept and is still in place: anybody could have made sets of these names.
    pub fn in_place(live: &LiveState) -> Self {
        let Self { mut tuples, mut from } = Self::live(&live.ruleset);
        tuples.retain(|tuple| live.kept.tuples.contains(tuple));
        from.retain(|source| live.kept.from.contains(source));
        Self { tuples, from }
    }

    /// Both together.
    pub fn with(&self, other: &Self) -> Self {
        Self { tuples: &self.tuples | &other.tuples, from: &self.from | &other.from }
    }

    /// What a rule set keeps.
    pub fn live(ruleset: &Ruleset) -> Self {
        let mut kept = Self::default();
        let Some(table) = ruleset.get(&Family::Inet) else { return kept };
        for [tuples, from] in [sets(true), sets(false)] {
            let keys = |set: &str| table.sets.get(set).into_iter().flat_map(|set| set.elements.keys());
            kept.tuples.extend(keys(tuples).filter_map(KeptTuple::from_key));
            kept.from.extend(keys(from).filter_map(|key| {
                let (link, source) = key.first().split_first_chunk::<16>()?;
                let link = std::str::from_utf8(link).ok()?.trim_end_matches('\0').to_owned();
                Some((link, address(source)?))
            }));
        }
        kept
    }
}

/// Whether a rule set keeps anything.
pub(super) fn is_in(ruleset: &Ruleset) -> bool {
    let table = ruleset.get(&Family::Inet);
    let names = || [sets(true), sets(false)].into_iter().flatten();
    table.is_some_and(|table| names().any(|set| table.sets.contains_key(set)))
}
