//! The elements of all sets of a rule set as bytes: quick to write and to read, one for all others to come
//! after a small change. What is left of the rule set without them is small, whatever the number of networks.
//!
//! ```text
//! magic "isoelems", version, CRC-32 (IEEE) of the body, length of the body, body
//! body: for each set with elements: family, name, number of elements, elements
//! element: what it has (see `HAS_*`), key, upper end of an interval, verdict, chain of a jump, value
//! ```
//!
//! Numbers are of 32 bits, little endian; in front of names, keys and values there is their length in bytes.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use crate::ruleset::{Aside, ElementData, ElementKey, Elements, Family, Ruleset, Set, Table, Verdict};

const MAGIC: [u8; 8] = *b"isoelems";
const VERSION: u32 = 1;
const HEADER: usize = MAGIC.len() + 12;

const HAS_UPPER: u8 = 1;
const HAS_VERDICT: u8 = 2;
const HAS_VALUE: u8 = 4;

/// Elements by set.
pub type BySet = BTreeMap<(Family, Arc<str>), Elements>;

/// What tells one file of elements from another.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Digest {
    /// Length of the whole, in bytes.
    pub bytes: u64,
    /// CRC-32 (IEEE) of the body. It tells accidents from what was written, and nothing else: where it has to be
    /// the same, the bytes are compared.
    pub crc: u32,
}

/// Why bytes were refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Broken {
    /// They do not begin as elements do.
    Kind,
    /// They are of a version that this isoplan does not know.
    Version(u32),
    /// They are cut short, too long or damaged.
    Damaged,
    /// They are whole and mean nothing.
    Meaning,
}

impl fmt::Display for Broken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Kind => f.write_str("it does not hold elements"),
            Self::Version(found) => {
                write!(f, "it has elements of version {found}, and this isoplan knows version {VERSION}")
            }
            Self::Damaged => f.write_str("it is cut short or damaged"),
            Self::Meaning => f.write_str("it holds elements that no isoplan wrote"),
        }
    }
}

impl std::error::Error for Broken {}

/// The elements of a rule set.
pub fn encode(ruleset: &Ruleset) -> Vec<u8> {
    let sets =
        || ruleset.iter().flat_map(|(family, table)| table.sets.values().map(move |set| (family, set)));
    let elements: usize = sets().map(|(_, set)| set.elements.len()).sum();
    // A name and what goes around it.
    let mut bytes = Vec::with_capacity(HEADER + elements * 32);
    bytes.resize(HEADER, 0);
    for (family, set) in sets().filter(|(_, set)| !set.elements.is_empty()) {
        bytes.push(family.number());
        text(&mut bytes, set.name.as_bytes());
        number(&mut bytes, set.elements.len());
        for (key, data) in &set.elements {
            let (first, upper) = (key.first(), key.upper());
            let has = [(first != upper, HAS_UPPER), (data.verdict.is_some(), HAS_VERDICT)];
            let has = has.into_iter().chain([(data.value.is_some(), HAS_VALUE)]);
            bytes.push(has.filter(|(has, _)| *has).map(|(_, bit)| bit).sum());
            text(&mut bytes, first);
            if first != upper {
                text(&mut bytes, upper);
            }
            if let Some(verdict) = &data.verdict {
                let (code, chain) = of_verdict(verdict);
                bytes.push(code);
                if let Some(chain) = chain {
                    text(&mut bytes, chain.as_bytes());
                }
            }
            if let Some(value) = &data.value {
                text(&mut bytes, value);
            }
        }
    }
    let crc = crc32fast::hash(&bytes[HEADER..]);
    let length = (bytes.len() - HEADER) as u32;
    bytes[..8].copy_from_slice(&MAGIC);
    for (place, value) in [(8, VERSION), (12, crc), (16, length)] {
        bytes[place..place + 4].copy_from_slice(&value.to_le_bytes());
    }
    bytes
}

/// The digest of what [`encode`] made.
pub fn digest(bytes: &[u8]) -> Result<Digest, Broken> {
    let (head, body) = bytes.split_at_checked(HEADER).ok_or(Broken::Damaged)?;
    let (magic, mut numbers) = head.split_at(MAGIC.len());
    if magic != MAGIC {
        return Err(Broken::Kind);
    }
    let mut next = || take_number(&mut numbers).ok_or(Broken::Damaged);
    match next()? {
        VERSION => {}
        found => return Err(Broken::Version(found)),
    }
    let (crc, length) = (next()?, next()?);
    if body.len() != length as usize {
        return Err(Broken::Damaged);
    }
    Ok(Digest { bytes: bytes.len() as u64, crc })
}

/// The elements that [`encode`] wrote.
///
/// # Errors
///
/// When the bytes are not exactly what it wrote. None make it panic.
pub fn decode(bytes: &[u8]) -> Result<BySet, Broken> {
    let digest = digest(bytes)?;
    let mut body = &bytes[HEADER..];
    if crc32fast::hash(body) != digest.crc {
        return Err(Broken::Damaged);
    }
    let mut sets = BySet::new();
    while !body.is_empty() {
        let (set, elements) = take_set(&mut body).ok_or(Broken::Meaning)?;
        if sets.insert(set, elements).is_some() {
            return Err(Broken::Meaning);
        }
    }
    Ok(sets)
}

type OfSet = ((Family, Arc<str>), Elements);

fn take_set(body: &mut &[u8]) -> Option<OfSet> {
    let family = Family::from_number(take(body, 1)?[0])?;
    let name = Arc::from(std::str::from_utf8(take_text(body)?).ok()?);
    let count = take_number(body)? as usize;
    // Each takes five bytes at least.
    let mut elements = Vec::with_capacity(count.min(body.len() / 5));
    // All that jump to a chain share its name.
    let mut last_chain: Arc<str> = Arc::from("");
    for _ in 0..count {
        let has = take(body, 1)?[0];
        let first = take_text(body)?;
        let key = match has & HAS_UPPER {
            0 => ElementKey::value(first),
            _ => {
                let upper = take_text(body)?;
                if upper == first || upper.len() != first.len() {
                    return None;
                }
                ElementKey::range(first, upper)
            }
        };
        let verdict = match has & HAS_VERDICT {
            0 => None,
            _ => Some(take_verdict(body, &mut last_chain)?),
        };
        let value = match has & HAS_VALUE {
            0 => None,
            _ => Some(Box::from(take_text(body)?)),
        };
        if has & !(HAS_UPPER | HAS_VERDICT | HAS_VALUE) != 0 {
            return None;
        }
        elements.push((key, ElementData { verdict, value, origin: Aside(None) }));
    }
    let elements = Elements::first_of_each(elements);
    (elements.len() == count).then_some(((family, name), elements))
}

fn of_verdict(verdict: &Verdict) -> (u8, Option<&str>) {
    match verdict {
        Verdict::Accept => (0, None),
        Verdict::Drop => (1, None),
        Verdict::Continue => (2, None),
        Verdict::Return => (3, None),
        Verdict::Jump(chain) => (4, Some(chain)),
        Verdict::Goto(chain) => (5, Some(chain)),
    }
}

fn take_verdict(body: &mut &[u8], last_chain: &mut Arc<str>) -> Option<Verdict> {
    let code = take(body, 1)?[0];
    let mut chain = || {
        let name = std::str::from_utf8(take_text(body)?).ok()?;
        if &**last_chain != name {
            *last_chain = Arc::from(name);
        }
        Some(Arc::clone(last_chain))
    };
    Some(match code {
        0 => Verdict::Accept,
        1 => Verdict::Drop,
        2 => Verdict::Continue,
        3 => Verdict::Return,
        4 => Verdict::Jump(chain()?),
        5 => Verdict::Goto(chain()?),
        _ => return None,
    })
}

fn number(bytes: &mut Vec<u8>, number: usize) {
    // Nothing that fits into a netlink message is as long.
    bytes.extend_from_slice(&u32::try_from(number).unwrap_or(u32::MAX).to_le_bytes());
}

fn text(bytes: &mut Vec<u8>, text: &[u8]) {
    number(bytes, text.len());
    bytes.extend_from_slice(text);
}

fn take<'b>(body: &mut &'b [u8], length: usize) -> Option<&'b [u8]> {
    let (taken, rest) = body.split_at_checked(length)?;
    *body = rest;
    Some(taken)
}

fn take_number(body: &mut &[u8]) -> Option<u32> {
    take(body, 4)?.try_into().ok().map(u32::from_le_bytes)
}

fn take_text<'b>(body: &mut &'b [u8]) -> Option<&'b [u8]> {
    let length = take_number(body)?;
    take(body, length as usize)
}

/// A rule set without its elements.
pub fn without(ruleset: &Ruleset) -> Ruleset {
    let tables = ruleset.iter().map(|(family, table)| {
        let sets = table.sets.values().map(|set| (Arc::clone(&set.name), definition(set))).collect();
        let (name, chains, unknown) = (table.name.clone(), table.chains.clone(), table.unknown.clone());
        (*family, Table { sets, name, chains, unknown, order: table.order.clone(), ..*table })
    });
    tables.collect()
}

fn definition(set: &Set) -> Set {
    Set { elements: Elements::new(), key: set.key.clone(), name: Arc::clone(&set.name), ..*set }
}

/// Puts elements into the sets of a rule set that has none.
///
/// # Errors
///
/// When there is no such set, or it has elements already.
pub fn put(ruleset: &mut Ruleset, elements: BySet) -> Result<(), Broken> {
    for ((family, name), elements) in elements {
        let set = ruleset.get_mut(&family).and_then(|table| table.sets.get_mut(&name));
        let set = set.filter(|set| set.elements.is_empty()).ok_or(Broken::Meaning)?;
        set.elements = elements;
    }
    Ok(())
}
