//! Sets and their elements: attributes of the kernel to values.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::attr::{self, Attrs};
use super::decode_expr;
use super::wire::{self, be32, nfta, set_flag};
use crate::ruleset::{Aside, ElementData, ElementKey, Elements, FieldType, Set, SetData, Verdict};

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
        elements: Elements::new(),
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

/// What a dump of the elements of one set says.
#[derive(Debug, Default)]
pub(super) struct Dump {
    /// Whether the set is a tree, which has the ends of its intervals as elements of their own.
    is_tree: bool,
    elements: Vec<(ElementKey, ElementData)>,
    /// In a tree: the first keys behind intervals.
    ends: Vec<ElementKey>,
    /// What about the elements has no place in [`ElementData`], and how often it was found.
    notes: BTreeMap<&'static str, usize>,
    /// The verdict that was read last. Next to all verdicts of a map are the same.
    verdict: Option<(Vec<u8>, Verdict)>,
}

impl Dump {
    /// Takes over the elements of one `NFT_MSG_NEWSETELEM`.
    pub(super) fn add(&mut self, attributes: &[u8]) {
        let list = attr::find(attributes, nfta::ELEM_LIST_ELEMENTS).unwrap_or_default();
        for element in Attrs::new(list) {
            if let Some(note) = self.element(element.payload) {
                *self.notes.entry(note).or_insert(0) += 1;
            }
        }
    }

    /// What asks for one element: of a tree, or not.
    pub(super) fn of_one(set: &Set) -> Self {
        Self { is_tree: set.interval, ..Self::default() }
    }

    /// Whether all it says is one element that starts at that key, and where it is said maps to just that.
    pub(super) fn is(&self, key: &[u8], data: Option<&ElementData>) -> bool {
        let is_one = self.ends.is_empty() && self.notes.is_empty();
        let [(found, with)] = self.elements.as_slice() else { return false };
        is_one && *found == ElementKey::value(key) && data.is_none_or(|data| with == data)
    }

    /// Whether all it says is that intervals are over at that key.
    pub(super) fn is_end_at(&self, key: &[u8]) -> bool {
        self.elements.is_empty() && self.notes.is_empty() && self.ends == [ElementKey::value(key)]
    }

    /// Takes over one element; hands back what about it could not be.
    fn element(&mut self, attributes: &[u8]) -> Option<&'static str> {
        let (mut key, mut key_end, mut flags, mut data) = (None, None, None, None);
        let mut noted = None;
        for attr in Attrs::new(attributes) {
            match attr.kind {
                nfta::ELEM_KEY => _ = key.get_or_insert(attr.payload),
                nfta::ELEM_KEY_END => _ = key_end.get_or_insert(attr.payload),
                nfta::ELEM_FLAGS => _ = flags.get_or_insert(attr.payload),
                nfta::ELEM_DATA => _ = data.get_or_insert(attr.payload),
                kind => noted = noted.max(NOTED.iter().position(|(noted, _)| *noted == kind)),
            }
        }
        let mut note = noted.map(|place| NOTED[place].1);
        let Some(key) = key else { return Some("an element that matches everything else") };
        let Some(key) = decode_expr::value(key) else { return Some("an element whose key is no value") };
        if self.is_tree && flags.and_then(be32).unwrap_or_default() & wire::ELEM_INTERVAL_END != 0 {
            self.ends.push(ElementKey::value(key));
            return note;
        }
        let verdict = data.and_then(|data| self.verdict(data));
        let value = data.and_then(decode_expr::value).map(Box::from);
        if data.is_some() && verdict.is_none() && value.is_none() {
            note = Some("an element with data of an unknown form");
        }
        let key = match key_end.and_then(decode_expr::value) {
            Some(last) => ElementKey::range(key, last),
            None => ElementKey::value(key),
        };
        self.elements.push((key, ElementData { verdict, value, origin: Aside(None) }));
        note
    }

    fn verdict(&mut self, data: &[u8]) -> Option<Verdict> {
        if let Some((same, verdict)) = &self.verdict
            && same == data
        {
            return Some(verdict.clone());
        }
        let verdict = decode_expr::verdict(data)?;
        self.verdict = Some((data.to_vec(), verdict.clone()));
        Some(verdict)
    }
}

/// The element that holds a byte of the attributes of a message with elements, of a tree or not.
pub(super) fn element_at(attributes: &[u8], is_tree: bool, offset: usize) -> Option<ElementKey> {
    let list = Attrs::new(attributes).find(|attr| attr.kind == nfta::ELEM_LIST_ELEMENTS)?;
    let offset = offset.checked_sub(list.offset + attr::HEADER)?;
    let mut dump = Dump { is_tree, ..Dump::default() };
    let mut first = None;
    for element in Attrs::new(list.payload) {
        dump.element(element.payload);
        if element.offset <= offset {
            first = dump.elements.last().map(|(key, _)| key.clone());
        }
    }
    let first = first?;
    if !is_tree {
        return Some(first);
    }
    intervals(dump.elements, dump.ends).keys().find(|key| key.first() == first.first()).cloned()
}

/// Attributes of an element for which there is no place; of several the last is told.
const NOTED: [(u16, &str); 4] = [
    (nfta::ELEM_TIMEOUT, "an element with a timeout"),
    (nfta::ELEM_EXPR, "an element with a statement"),
    (nfta::ELEM_EXPRESSIONS, "an element with statements"),
    (nfta::ELEM_OBJREF, "an element that names an object"),
];

/// How many elements a set handed out, and how many it says that it has.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Shortfall {
    pub(super) found: usize,
    pub(super) count: usize,
}

impl LiveSet {
    /// Whether the kernel keeps its elements in a tree of intervals.
    const fn is_tree(&self) -> bool {
        self.set.interval && self.flags & set_flag::CONCAT == 0
    }

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

    /// Room for the elements of a dump.
    pub(super) fn dump(&self) -> Dump {
        /// The count is the kernel's word for it, and only worth so much memory in advance.
        const MOST: usize = 1 << 16;
        let count = self.count.unwrap_or_default().min(MOST);
        Dump { is_tree: self.is_tree(), elements: Vec::with_capacity(count), ..Dump::default() }
    }

    /// Whether nothing but a transaction changes its elements, and they are in the order of their keys.
    pub(super) fn is_steady(&self) -> bool {
        let is_plain = self.set.foreign_flags == 0 && self.notes.is_empty();
        is_plain && !self.is_dynamic() && !(self.set.interval && self.set.is_concat())
    }

    /// How many elements the kernel says that it has.
    pub(super) const fn count(&self) -> Option<usize> {
        self.count
    }

    /// Takes over the elements of a whole dump.
    pub(super) fn fill(&mut self, dump: Dump) -> Result<(), Shortfall> {
        let Dump { elements, ends, notes, .. } = dump;
        if self.set.interval && !self.is_tree() {
            self.order = Some(elements.iter().map(|(key, _)| key.clone()).collect());
        }
        self.set.elements =
            if self.is_tree() { intervals(elements, ends) } else { elements.into_iter().collect() };
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

/// The intervals of a tree: an element is the first key of an interval, an end the first key behind one.
/// The kernel hands them out from the top down; where one interval ends and the next starts, both have
/// the same key. nft puts an end at zero below the lowest interval.
fn intervals(mut elements: Vec<(ElementKey, ElementData)>, mut ends: Vec<ElementKey>) -> Elements {
    elements.sort_by(|(a, _), (b, _)| a.cmp(b));
    elements.dedup_by(|(later, _), (earlier, _)| later == earlier);
    ends.sort();
    let mut ends = ends.into_iter().peekable();
    let mut last = Vec::new();
    for at in 0..elements.len() {
        let (above, next) = elements.split_at_mut(at + 1);
        let Some((key, _)) = above.last_mut() else { continue };
        while ends.next_if(|end| end <= key).is_some() {}
        let behind = ends.peek().into_iter().chain(next.first().map(|(key, _)| key)).min();
        last.clear();
        match behind {
            // It is above `first`, so that there is a key before it.
            Some(behind) => {
                last.extend_from_slice(behind.first());
                step_down(&mut last);
            }
            None => last.resize(key.first().len(), 0xff),
        }
        *key = ElementKey::range(key.first(), &last);
    }
    elements.into_iter().collect()
}

/// Makes a key the one right below it; wraps below zero.
fn step_down(key: &mut [u8]) {
    for byte in key.iter_mut().rev() {
        let borrow = *byte == 0;
        *byte = byte.wrapping_sub(1);
        if !borrow {
            break;
        }
    }
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

    const PLAIN: ElementData = ElementData { verdict: None, value: None, origin: Aside(None) };

    fn check(elements: &[([u8; 2], bool)], expected: &[([u8; 2], [u8; 2])]) {
        let (ends, elements): (Vec<_>, Vec<_>) = elements.iter().partition(|(_, is_end)| *is_end);
        let elements = elements.iter().map(|(key, _)| (ElementKey::value(key), PLAIN)).collect();
        let ends = ends.iter().map(|(key, _)| ElementKey::value(key)).collect();
        let expected: Vec<_> = expected.iter().map(|(first, last)| ElementKey::range(first, last)).collect();
        assert_eq!(intervals(elements, ends).keys().cloned().collect::<Vec<_>>(), expected);
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
        assert!(ElementKey::range([1], [1]).last().is_none());
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
        let dump = |keys: &[[u8; 2]]| {
            let elements = keys.iter().map(|key| (ElementKey::value(key), PLAIN)).collect();
            Dump { elements, ..Dump::default() }
        };
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
        let mut key = [1, 0];
        step_down(&mut key);
        assert_eq!(key, [0, 255]);
        assert_eq!(after(&[0, 255]).as_deref(), Some(&[1, 0][..]));
        assert_eq!(after(&[255, 255]), None);
    }
}
