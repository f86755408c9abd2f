//! Sets and their elements: attributes of the kernel to values.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::attr::{self, Attrs};
use super::decode_expr;
use super::wire::{self, be32, nfta, set_flag};
use crate::ruleset::{Aside, ElementData, ElementKey, FieldType, Set, SetData};

/// A set as the kernel describes it, without elements yet.
#[derive(Debug)]
pub(super) struct LiveSet {
    pub(super) set: Set,
    /// `NFT_SET_*`.
    flags: u32,
    /// How many elements it has, where the kernel tells.
    count: Option<usize>,
    /// What about it has no place in [`Set`].
    pub(super) notes: Vec<String>,
    /// The order of its elements, where it is not that of their keys.
    pub(super) order: Option<Vec<ElementKey>>,
}

/// A set, without its elements.
pub(super) fn set(attributes: &[u8]) -> Option<LiveSet> {
    let name: Arc<str> = Arc::from(attr::text(attr::find(attributes, nfta::SET_NAME)?));
    let number = |kind| attr::find(attributes, kind).and_then(be32);
    let flags = number(nfta::SET_FLAGS).unwrap_or_default();
    let key_type = number(nfta::SET_KEY_TYPE).unwrap_or_default();
    let data_type = number(nfta::SET_DATA_TYPE);

    let data = match data_type {
        _ if flags & set_flag::MAP == 0 => Some(SetData::None),
        Some(wire::DATA_TYPE_VERDICT) => Some(SetData::Verdict),
        data_type => data_type.and_then(FieldType::from_number).map(SetData::Value),
    };
    let mut set = Set {
        name: Arc::clone(&name),
        key: field_types(key_type).unwrap_or_default(),
        data: data.unwrap_or(SetData::None),
        interval: flags & set_flag::INTERVAL != 0,
        elements: BTreeMap::new(),
        foreign_flags: 0,
    };
    let key_fits = number(nfta::SET_KEY_LEN).is_some_and(|len| len as usize == set.key_len());
    let data_fits = match set.data {
        SetData::Value(field) => number(nfta::SET_DATA_LEN).is_some_and(|len| len as usize == field.len()),
        SetData::None | SetData::Verdict => true,
    };
    set.foreign_flags = if set.key.is_empty() || !key_fits || data.is_none() || !data_fits {
        !0
    } else {
        // nft sets CONCAT with intervals, newer ones with every concatenation.
        let own = set_flag::INTERVAL | set_flag::MAP | if set.is_concat() { set_flag::CONCAT } else { 0 };
        flags & !own
    };

    let mut notes = Vec::new();
    let size = attr::find(attributes, nfta::SET_DESC).and_then(|desc| attr::find(desc, nfta::SET_DESC_SIZE));
    // nft gives every set that it makes within a rule its size; nothing is ever added to those.
    if let Some(size) = size.and_then(be32)
        && set.foreign_flags == 0
    {
        notes.push(format!("set `{name}` with room for {size} elements only"));
    }
    for (kind, words) in [
        (nfta::SET_TIMEOUT, "with a timeout"),
        (nfta::SET_EXPR, "with a statement per element"),
        (nfta::SET_EXPRESSIONS, "with statements per element"),
    ] {
        if attr::find(attributes, kind).is_some() {
            notes.push(format!("set `{name}` {words}"));
        }
    }
    let count = number(nfta::SET_COUNT).map(|count| count as usize);
    Some(LiveSet { set, flags, count, notes, order: None })
}

/// nft packs the types of a concatenation into one number, the last field lowest.
fn field_types(mut number: u32) -> Option<Vec<FieldType>> {
    let mut fields = Vec::new();
    while number != 0 {
        fields.push(FieldType::from_number(number & ((1 << wire::TYPE_BITS) - 1))?);
        number >>= wire::TYPE_BITS;
    }
    fields.reverse();
    Some(fields)
}

/// One element of a dump.
#[derive(Debug)]
pub(super) struct LiveElement {
    key: Box<[u8]>,
    key_end: Option<Box<[u8]>>,
    is_end: bool,
    data: ElementData,
    note: Option<&'static str>,
}

/// The elements of one `NFT_MSG_NEWSETELEM`.
pub(super) fn elements(attributes: &[u8]) -> impl Iterator<Item = Result<LiveElement, &'static str>> {
    let list = attr::find(attributes, nfta::ELEM_LIST_ELEMENTS).unwrap_or_default();
    Attrs::new(list).map(|attr| element(attr.payload))
}

/// One element, or why it is none.
fn element(attributes: &[u8]) -> Result<LiveElement, &'static str> {
    let find = |kind| attr::find(attributes, kind);
    let Some(key) = find(nfta::ELEM_KEY) else { return Err("an element that matches everything else") };
    let key = decode_expr::value(key).ok_or("an element whose key is no value")?;
    let key_end = find(nfta::ELEM_KEY_END).and_then(decode_expr::value);
    let flags = find(nfta::ELEM_FLAGS).and_then(be32).unwrap_or_default();
    let mut note = None;
    for (kind, words) in [
        (nfta::ELEM_TIMEOUT, "an element with a timeout"),
        (nfta::ELEM_EXPR, "an element with a statement"),
        (nfta::ELEM_EXPRESSIONS, "an element with statements"),
        (nfta::ELEM_OBJREF, "an element that names an object"),
    ] {
        if find(kind).is_some() {
            note = Some(words);
        }
    }
    let data = find(nfta::ELEM_DATA);
    let verdict = data.and_then(decode_expr::verdict);
    let value = data.and_then(decode_expr::value).map(Box::from);
    if data.is_some() && verdict.is_none() && value.is_none() {
        note = Some("an element with data of an unknown form");
    }
    Ok(LiveElement {
        key: Box::from(key),
        key_end: key_end.map(Box::from),
        is_end: flags & wire::ELEM_INTERVAL_END != 0,
        data: ElementData { verdict, value, origin: Aside(None) },
        note,
    })
}

/// How many elements a set handed out, and how many it says that it has.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Shortfall {
    pub(super) found: usize,
    pub(super) count: usize,
}

impl LiveSet {
    /// Whether the kernel keeps its elements in a hash table, whose dump can miss some while it grows.
    pub(super) fn is_hash(&self) -> bool {
        !self.set.interval
    }

    /// Whether the number of its elements is known, so that one dump is enough.
    pub(super) const fn is_counted(&self) -> bool {
        self.count.is_some()
    }

    /// Whether packets and time change its elements, so that counting them proves nothing.
    pub(super) const fn is_dynamic(&self) -> bool {
        self.flags & (set_flag::TIMEOUT | set_flag::EVAL) != 0
    }

    /// Takes over the elements of a whole dump.
    pub(super) fn fill(&mut self, dump: Vec<Result<LiveElement, &'static str>>) -> Result<(), Shortfall> {
        self.set.elements.clear();
        let mut elements = Vec::with_capacity(dump.len());
        let mut notes = BTreeMap::new();
        for element in dump {
            let note = match &element {
                Ok(element) => element.note,
                Err(words) => Some(*words),
            };
            if let Some(words) = note {
                *notes.entry(words).or_insert(0_usize) += 1;
            }
            elements.extend(element);
        }
        if self.set.interval && self.flags & set_flag::CONCAT == 0 {
            self.set.elements = intervals(elements);
        } else {
            let elements = elements.into_iter().map(|element| {
                let last = element.key_end.unwrap_or_else(|| element.key.clone());
                (ElementKey::range(element.key, last), element.data)
            });
            let elements: Vec<_> = elements.collect();
            self.order = self.set.interval.then(|| elements.iter().map(|(key, _)| key.clone()).collect());
            self.set.elements = elements.into_iter().collect();
        }
        if self.is_hash() && !self.is_dynamic() && notes.is_empty() {
            let found = self.set.elements.len();
            if let Some(count) = self.count.filter(|count| *count > found) {
                return Err(Shortfall { found, count });
            }
        }
        let name = &self.set.name;
        self.notes.extend(notes.iter().map(|(words, times)| match times {
            1 => format!("{words} of set `{name}`"),
            _ => format!("{words} of set `{name}`, {times} times"),
        }));
        Ok(())
    }
}

/// The intervals of a tree: an element is the first key of an interval, or with the flag the first key
/// behind one. The kernel hands them out from the top down; where one interval ends and the next
/// starts, both elements have the same key. nft puts an end at zero below the lowest interval.
fn intervals(mut elements: Vec<LiveElement>) -> BTreeMap<ElementKey, ElementData> {
    elements.sort_by(|a, b| (&a.key, !a.is_end).cmp(&(&b.key, !b.is_end)));
    elements.dedup_by(|b, a| a.key == b.key && a.is_end == b.is_end);
    let mut intervals = BTreeMap::new();
    let mut open: Option<(Box<[u8]>, ElementData)> = None;
    for element in elements {
        if let Some((first, data)) = open.take() {
            // The end itself is above `first`, so that there is a key before it.
            intervals.insert(ElementKey::range(first, before(&element.key)), data);
        }
        if !element.is_end {
            open = Some((element.key, element.data));
        }
    }
    if let Some((first, data)) = open {
        let top = vec![0xff; first.len()];
        intervals.insert(ElementKey::range(first, top), data);
    }
    intervals
}

/// The key right below another; wraps below zero.
fn before(key: &[u8]) -> Box<[u8]> {
    let mut key: Box<[u8]> = Box::from(key);
    for byte in key.iter_mut().rev() {
        let borrow = *byte == 0;
        *byte = byte.wrapping_sub(1);
        if !borrow {
            break;
        }
    }
    key
}

/// The key right above another; `None` at the top.
pub(super) fn after(key: &[u8]) -> Option<Box<[u8]>> {
    let mut key: Box<[u8]> = Box::from(key);
    for byte in key.iter_mut().rev() {
        *byte = byte.wrapping_add(1);
        if *byte != 0 {
            return Some(key);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn element(key: [u8; 2], is_end: bool) -> LiveElement {
        LiveElement {
            key: Box::new(key),
            key_end: None,
            is_end,
            data: ElementData { verdict: None, value: None, origin: Aside(None) },
            note: None,
        }
    }

    fn check(elements: &[([u8; 2], bool)], expected: &[([u8; 2], [u8; 2])]) {
        let elements = elements.iter().map(|(key, is_end)| element(*key, *is_end)).collect();
        let expected: Vec<_> =
            expected.iter().map(|(first, last)| ElementKey::range(*first, *last)).collect();
        assert_eq!(intervals(elements).into_keys().collect::<Vec<_>>(), expected);
    }

    #[test]
    fn intervals_come_from_the_top_down() {
        check(&[([3, 0], true), ([2, 0], false), ([0, 0], true)], &[([2, 0], [2, 255])]);
    }

    #[test]
    fn adjacent_intervals_share_a_key() {
        let adjacent = [([4, 0], true), ([3, 0], false), ([3, 0], true), ([2, 0], false)];
        check(&adjacent, &[([2, 0], [2, 255]), ([3, 0], [3, 255])]);
    }

    #[test]
    fn an_interval_without_an_end_runs_to_the_top() {
        check(&[([255, 0], false)], &[([255, 0], [255, 255])]);
        check(&[([255, 255], false)], &[([255, 255], [255, 255])]);
        check(&[([0, 0], false)], &[([0, 0], [255, 255])]);
    }

    #[test]
    fn single_keys_have_no_last() {
        check(&[([1, 1], true), ([1, 0], false)], &[([1, 0], [1, 0])]);
        assert!(ElementKey::range([1], [1]).last.is_none());
    }

    #[test]
    fn a_hash_with_holes_is_noticed() {
        let mut writer = attr::Writer::default();
        writer.put_str(nfta::SET_NAME, "links");
        for (kind, number) in [(nfta::SET_KEY_TYPE, 13), (nfta::SET_KEY_LEN, 2), (nfta::SET_COUNT, 2)] {
            writer.put(kind, &u32::to_be_bytes(number));
        }
        let mut live = set(&writer.finish().unwrap()).unwrap();
        assert_eq!(live.set.foreign_flags, 0);
        let dump = |keys: &[[u8; 2]]| keys.iter().map(|key| Ok(element(*key, false))).collect();
        // The same element twice is one element: a dump that was overtaken by a resize can repeat some.
        let shortfall = Shortfall { found: 1, count: 2 };
        assert_eq!(live.fill(dump(&[[0, 1], [0, 1]])), Err(shortfall));
        assert_eq!(live.fill(dump(&[[0, 1], [0, 2], [0, 1]])), Ok(()));
        assert_eq!(live.set.elements.len(), 2);
    }

    #[test]
    fn types_of_concatenations() {
        assert_eq!(field_types(41 << 6 | 7), Some(vec![FieldType::IfName, FieldType::Ipv4Addr]));
        assert_eq!(field_types(7), Some(vec![FieldType::Ipv4Addr]));
        assert_eq!(field_types(63), None);
        assert_eq!(field_types(0), Some(vec![]));
    }

    #[test]
    fn neighbours() {
        assert_eq!(*before(&[1, 0]), [0, 255]);
        assert_eq!(after(&[0, 255]).as_deref(), Some(&[1, 0][..]));
        assert_eq!(after(&[255, 255]), None);
    }
}
