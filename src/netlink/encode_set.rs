//! Sets to libnftnl objects, and their elements to attributes.
//!
//! An element is no object of libnftnl's on its way: there may be a hundred thousand.

use super::attr::Writer;
use super::decode_set::after;
use super::encode_expr::verdict_parts;
use super::error::Unencodable;
use super::ffi;
use super::wire::{self, nfta, set_flag, udata};
use crate::ruleset::{ElementData, ElementKey, FieldType, Set, SetData, TABLE_NAME};

/// The definition of a set; `id` is unique within its batch.
///
/// It has no size: nft and the kernel would take that for the most that it can ever hold.
pub(super) fn definition(set: &Set, id: u32) -> Result<ffi::Set, Unencodable> {
    if set.key.is_empty() || set.foreign_flags == !0 {
        return Err(Unencodable::ForeignType);
    }
    let mut flags = set.foreign_flags;
    if set.interval {
        flags |= set_flag::INTERVAL;
    }
    if set.data != SetData::None {
        flags |= set_flag::MAP;
    }
    if set.interval && set.is_concat() {
        flags |= set_flag::CONCAT;
    }
    let mut object = ffi::Set::new(TABLE_NAME, &set.name)?;
    let key_type = set.key.iter().fold(0, |number, field| (number << wire::TYPE_BITS) | field.number());
    object.definition(id, flags, key_type, set.key_len() as u32);
    let key_order = match set.key.as_slice() {
        [single] => byte_order(*single),
        // Each of its fields has a byte order of its own.
        _ => udata::BYTEORDER_INVALID,
    };
    // Without it nft prints link names as empty strings.
    let mut userdata = number(udata::SET_KEYBYTEORDER, key_order);
    match set.data {
        SetData::None => {}
        SetData::Verdict => object.data(wire::DATA_TYPE_VERDICT, 0),
        SetData::Value(field) => {
            object.data(field.number(), field.len() as u32);
            userdata.extend(number(udata::SET_DATABYTEORDER, byte_order(field)));
        }
    }
    object.userdata(&userdata)?;
    if set.interval && set.is_concat() {
        let lengths: Vec<u8> = set.key.iter().map(|field| field.len() as u8).collect();
        object.fields(&lengths)?;
    }
    Ok(object)
}

const fn byte_order(field: FieldType) -> u32 {
    if field.is_host_endian() { udata::BYTEORDER_HOST_ENDIAN } else { udata::BYTEORDER_BIG_ENDIAN }
}

/// A number in user data: type, length, 32 bits in host order.
fn number(kind: u8, number: u32) -> Vec<u8> {
    let mut userdata = vec![kind, 4];
    userdata.extend(number.to_ne_bytes());
    userdata
}

/// The most that the elements of one message may take: their nest can say 65,535 bytes.
pub(super) const CHUNK: usize = 65_000;

/// Appends the attributes of one message with elements, as many as fit into it; hands back how many. To delete
/// one takes its key alone.
pub(super) fn elements(
    writer: &mut Writer,
    set: &Set,
    elements: &[(ElementKey, ElementData)],
    with_data: bool,
) -> Result<usize, Unencodable> {
    writer.put_str(nfta::ELEM_LIST_TABLE, TABLE_NAME);
    writer.put_str(nfta::ELEM_LIST_SET, ffi::checked_name(&set.name)?);
    let mut taken = Ok(0);
    writer.nest(nfta::ELEM_LIST_ELEMENTS, |list| {
        let start = list.len();
        for (count, (key, data)) in elements.iter().enumerate() {
            let before = list.len();
            if let Err(reason) = element(list, set, key, with_data.then_some(data)) {
                taken = Err(reason);
                return;
            }
            if list.len() - start > CHUNK {
                list.truncate(before);
                return;
            }
            taken = Ok(count + 1);
        }
    });
    taken
}

/// Whether an interval of a set is two elements: where it starts, and with a flag where it is over.
pub(super) fn is_tree(set: &Set) -> bool {
    set.interval && !set.is_concat()
}

/// How many elements the kernel says that a set has which is not a concatenation of intervals: of a tree half the
/// number of ends (`nft_rbtree_usize`), and an interval that runs to the top has one only.
pub fn count_in_kernel(set: &Set) -> usize {
    let ends = |key: &ElementKey| if after(key.upper()).is_some() { 2 } else { 1 };
    if set.interval { set.elements.keys().map(ends).sum::<usize>() / 2 } else { set.elements.len() }
}

/// What one element is in netlink.
fn element(
    list: &mut Writer,
    set: &Set,
    key: &ElementKey,
    data: Option<&ElementData>,
) -> Result<(), Unencodable> {
    let first = ffi::checked_value(key.first())?;
    let last = ffi::checked_value(key.upper())?;
    let value = data.and_then(|data| data.value.as_deref()).map(ffi::checked_value).transpose()?;
    let verdict = data.and_then(|data| data.verdict.as_ref()).map(verdict_parts);
    if let Some((_, Some(chain))) = verdict {
        ffi::checked_name(chain)?;
    }
    list.nest(nfta::LIST_ELEM, |element| {
        element.nest(nfta::ELEM_KEY, |nest| nest.put(nfta::DATA_VALUE, first));
        if set.interval && !is_tree(set) {
            element.nest(nfta::ELEM_KEY_END, |nest| nest.put(nfta::DATA_VALUE, last));
        }
        if let Some((code, chain)) = verdict {
            element.nest(nfta::ELEM_DATA, |nest| {
                nest.nest(nfta::DATA_VERDICT, |verdict| {
                    verdict.put(nfta::VERDICT_CODE, &code.to_be_bytes());
                    if let Some(chain) = chain {
                        verdict.put_str(nfta::VERDICT_CHAIN, chain);
                    }
                });
            });
        } else if let Some(value) = value {
            element.nest(nfta::ELEM_DATA, |nest| nest.put(nfta::DATA_VALUE, value));
        }
    });
    // One that runs to the top has no end.
    if is_tree(set)
        && let Some(behind) = after(last)
    {
        list.nest(nfta::LIST_ELEM, |element| {
            element.put(nfta::ELEM_FLAGS, &wire::ELEM_INTERVAL_END.to_be_bytes());
            element.nest(nfta::ELEM_KEY, |nest| nest.put(nfta::DATA_VALUE, &behind));
        });
    }
    Ok(())
}

/// About how many bytes so many elements take, for room to be made once.
pub(super) fn room(set: &Set, elements: &[(ElementKey, ElementData)]) -> usize {
    /// Headers, flags, and a verdict without its chain.
    const EACH: usize = 64;
    let Some((_, data)) = elements.first() else { return 0 };
    let chain = data.verdict.as_ref().and_then(|verdict| verdict_parts(verdict).1).map_or(0, str::len);
    elements.len() * (EACH + 2 * set.key_len() + chain)
}
