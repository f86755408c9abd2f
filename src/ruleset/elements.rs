//! The elements of a set: a map by key in one stretch of memory.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;

use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::de::{MapAccess, Visitor};
use serde::ser::SerializeMap as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::{ElementData, ElementKey};

/// A key and what comes with it.
type Item = (ElementKey, ElementData);

/// A map of elements, kept sorted by key.
///
/// A host with ten thousand networks has seventy thousand elements, which are made once, compared once and
/// written once. One sorted vector does all of it without an allocation for each element. To look one up takes a
/// binary search; to put one in between others moves those behind it, so that many are to be collected at once.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Elements {
    items: Vec<Item>,
}

impl Elements {
    /// None.
    pub const fn new() -> Self {
        Self { items: Vec::new() }
    }

    /// Elements in any order; of those with the same key the first stays.
    pub fn first_of_each(items: Vec<Item>) -> Self {
        let mut items = sorted(items);
        items.dedup_by(|later, earlier| later.0 == earlier.0);
        Self { items }
    }

    /// How many there are.
    pub const fn len(&self) -> usize {
        self.items.len()
    }

    /// Whether there is none.
    pub const fn is_empty(&self) -> bool {
        self.items.is_empty()
    }

    /// All, sorted by key.
    pub fn iter(&self) -> Iter<'_> {
        self.items.iter().map(|(key, data)| (key, data))
    }

    /// All keys, sorted.
    pub fn keys(&self) -> impl DoubleEndedIterator<Item = &ElementKey> + ExactSizeIterator {
        self.items.iter().map(|(key, _)| key)
    }

    /// What comes with the keys, in their order.
    pub fn values(&self) -> impl DoubleEndedIterator<Item = &ElementData> + ExactSizeIterator {
        self.items.iter().map(|(_, data)| data)
    }

    /// The same, to be changed.
    pub fn values_mut(&mut self) -> impl DoubleEndedIterator<Item = &mut ElementData> + ExactSizeIterator {
        self.items.iter_mut().map(|(_, data)| data)
    }

    /// All as a slice, sorted by key.
    pub fn as_slice(&self) -> &[(ElementKey, ElementData)] {
        &self.items
    }

    /// What comes with a key.
    pub fn get(&self, key: &ElementKey) -> Option<&ElementData> {
        Some(&self.items[self.find(key).ok()?].1)
    }

    /// Whether there is an element with that key.
    pub fn contains_key(&self, key: &ElementKey) -> bool {
        self.find(key).is_ok()
    }

    /// The last element whose key is not behind that one.
    pub fn last_up_to(&self, key: &ElementKey) -> Option<(&ElementKey, &ElementData)> {
        let behind = self.items.partition_point(|(other, _)| other <= key);
        let (key, data) = self.items.get(behind.checked_sub(1)?)?;
        Some((key, data))
    }

    /// Puts an element in; hands back what came with its key before.
    pub fn insert(&mut self, key: ElementKey, data: ElementData) -> Option<ElementData> {
        match self.find(&key) {
            Ok(at) => Some(std::mem::replace(&mut self.items[at].1, data)),
            Err(at) => {
                self.items.insert(at, (key, data));
                None
            }
        }
    }

    /// Takes an element out.
    pub fn remove(&mut self, key: &ElementKey) -> Option<ElementData> {
        let at = self.find(key).ok()?;
        Some(self.items.remove(at).1)
    }

    /// Keeps those elements for which the condition holds.
    pub fn retain(&mut self, mut keep: impl FnMut(&ElementKey, &mut ElementData) -> bool) {
        self.items.retain_mut(|(key, data)| keep(key, data));
    }

    fn find(&self, key: &ElementKey) -> Result<usize, usize> {
        self.items.binary_search_by(|(other, _)| other.cmp(key))
    }

    /// Of those with the same key the last stays, as in every map.
    fn last_of_each(items: Vec<Item>) -> Self {
        let mut items = sorted(items);
        items.dedup_by(|later, earlier| {
            let same = later.0 == earlier.0;
            if same {
                std::mem::swap(later, earlier);
            }
            same
        });
        Self { items }
    }
}

/// Sorts by key, those with the same key as they came.
///
/// Elements are large and a hash table hands them out in no order: their places are sorted instead, by the first
/// bytes of their keys, which decide for next to all.
fn sorted(items: Vec<Item>) -> Vec<Item> {
    if items.is_sorted_by(|(a, _), (b, _)| a <= b) {
        return items;
    }
    let mut places: Vec<(u128, usize)> =
        items.iter().zip(0..).map(|((key, _), at)| (key.head(), at)).collect();
    places.sort_unstable_by(|(a, a_at), (b, b_at)| {
        a.cmp(b).then_with(|| items[*a_at].0.cmp(&items[*b_at].0)).then(a_at.cmp(b_at))
    });
    let mut items: Vec<Option<Item>> = items.into_iter().map(Some).collect();
    places.into_iter().filter_map(|(_, at)| items[at].take()).collect()
}

/// A walk over elements.
type Iter<'e> = std::iter::Map<std::slice::Iter<'e, Item>, fn(&'e Item) -> (&'e ElementKey, &'e ElementData)>;

impl<'e> IntoIterator for &'e Elements {
    type Item = (&'e ElementKey, &'e ElementData);
    type IntoIter = Iter<'e>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

impl IntoIterator for Elements {
    type Item = Item;
    type IntoIter = std::vec::IntoIter<Item>;

    fn into_iter(self) -> Self::IntoIter {
        self.items.into_iter()
    }
}

impl FromIterator<Item> for Elements {
    fn from_iter<I: IntoIterator<Item = Item>>(items: I) -> Self {
        Self::last_of_each(items.into_iter().collect())
    }
}

impl Extend<Item> for Elements {
    fn extend<I: IntoIterator<Item = Item>>(&mut self, items: I) {
        let mut all = std::mem::take(&mut self.items);
        all.extend(items);
        *self = Self::last_of_each(all);
    }
}

impl JsonSchema for Elements {
    fn schema_name() -> Cow<'static, str> {
        "Elements".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        BTreeMap::<String, ElementData>::json_schema(generator)
    }
}

impl Serialize for Elements {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(self.len()))?;
        for (key, data) in self {
            map.serialize_entry(key, data)?;
        }
        map.end()
    }
}

impl<'de> Deserialize<'de> for Elements {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Map;

        impl<'de> Visitor<'de> for Map {
            type Value = Elements;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a map")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Elements, A::Error> {
                let mut items = Vec::new();
                while let Some(item) = map.next_entry()? {
                    items.push(item);
                }
                Ok(Elements::last_of_each(items))
            }
        }

        deserializer.deserialize_map(Map)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ruleset::Aside;

    /// The same as in a map of the standard library, whatever the keys and their order.
    #[test]
    fn it_is_a_map() {
        let mut random = 0x1505_1a17_u32;
        let mut next = |below: u32| {
            random = random.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (random >> 8) % below
        };
        for _ in 0..500 {
            let items: Vec<Item> = (0..next(60))
                .map(|number| {
                    // Of few bytes, so that there are equal ones; of all lengths, shorter and longer than in place.
                    let mut end = |length| (0..length).map(|_| next(3) as u8).collect::<Vec<_>>();
                    let (first, last) = (end(20), end(20));
                    let length = [0, 1, 2, 3, 16, 20][next(6) as usize];
                    let key = match next(2) {
                        0 => ElementKey::value(&first[..length]),
                        _ => ElementKey::range(&first[..length], &last[..length]),
                    };
                    (
                        key,
                        ElementData {
                            verdict: None,
                            value: Some([number as u8].into()),
                            origin: Aside(None),
                        },
                    )
                })
                .collect();
            let map: std::collections::BTreeMap<_, _> =
                items.iter().map(|(key, data)| ((key.first(), key.last()), (key, data))).collect();
            let elements: Elements = items.iter().cloned().collect();
            assert!(elements.iter().eq(map.values().copied()));
            let reversed: Vec<Item> = items.iter().rev().cloned().collect();
            assert_eq!(Elements::first_of_each(reversed), elements);
            for (key, data) in map.values() {
                assert_eq!(elements.get(key), Some(*data));
                assert_eq!(elements.last_up_to(key), Some((*key, *data)));
            }
        }
    }
}
