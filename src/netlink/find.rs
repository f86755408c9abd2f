//! Asking for single elements of a set.

use super::attr::Writer;
use super::decode_set::{Dump, after};
use super::error::Error;
use super::socket::{Nftables, Request};
use super::wire::{ELEM_INTERVAL_END, msg, nfta};
use crate::ruleset::{ElementData, ElementKey, Family, Set, TABLE_NAME};

impl Nftables {
    /// Whether the kernel has exactly this element in a set, at that generation, with what it maps to. An interval
    /// is asked for by both its ends. Not for concatenations of intervals.
    ///
    /// # Errors
    ///
    /// When the kernel cannot be asked. That it is not there is no error.
    pub fn has_element(
        &mut self,
        family: Family,
        set: &Set,
        (key, data): (&ElementKey, &ElementData),
        generation: u32,
    ) -> Result<bool, Error> {
        let mut at = |key: &[u8], flags| self.element(family, set, key, flags, generation);
        if !at(key.first(), 0)?.is(key.first(), Some(data)) {
            return Ok(false);
        }
        let Some(end) = after(key.upper()).filter(|_| set.interval) else { return Ok(true) };
        // Where the next one starts right there, the kernel does not find the end, and none is needed.
        Ok(at(&end, ELEM_INTERVAL_END)?.is_end_at(&end) || at(&end, 0)?.is(&end, None))
    }

    /// The element at a key. In a tree, where there is none, the kernel answers with the one that is nearest.
    fn element(
        &mut self,
        family: Family,
        set: &Set,
        key: &[u8],
        flags: u32,
        generation: u32,
    ) -> Result<Dump, Error> {
        let mut writer = Writer::default();
        writer.put_str(nfta::ELEM_LIST_TABLE, TABLE_NAME);
        writer.put_str(nfta::ELEM_LIST_SET, &set.name);
        writer.nest(nfta::ELEM_LIST_ELEMENTS, |list| {
            list.nest(nfta::LIST_ELEM, |element| {
                element.nest(nfta::ELEM_KEY, |value| value.put(nfta::DATA_VALUE, key));
                element.put(nfta::ELEM_FLAGS, &flags.to_be_bytes());
            });
        });
        let mut found = Dump::of_one(set);
        let Some(filter) = writer.finish() else { return Ok(found) };
        let request = Request {
            what: "an element",
            kind: msg::GETSETELEM,
            answer: msg::NEWSETELEM,
            family: family.number(),
            filter: &filter,
        };
        let mut is_now = true;
        let is_there = self.ask(request, |res_id, attributes| {
            is_now &= res_id == generation as u16;
            found.add(attributes);
        })?;
        Ok(if is_there && is_now { found } else { Dump::default() })
    }
}
