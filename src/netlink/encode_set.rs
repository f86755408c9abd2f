//! Sets and their elements to libnftnl objects.

use super::attr::{self, Attrs};
use super::decode_set::after;
use super::encode_expr::verdict_parts;
use super::error::Unencodable;
use super::ffi::{self, Header};
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

/// The elements of one message.
pub(super) struct Chunk {
    object: ffi::Set,
    /// The key behind each element that was pushed; an interval in a tree is pushed as two.
    keys: Vec<ElementKey>,
}

impl Chunk {
    /// The message, and where in it each element starts.
    pub(super) fn message(self, header: Header) -> (Vec<u8>, Vec<(usize, ElementKey)>) {
        const ATTRIBUTES: usize = wire::NLMSG_HDRLEN + wire::NFGENMSG_LEN;
        let message = self.object.elements_message(header);
        let attributes = message.get(ATTRIBUTES..).unwrap_or_default();
        let list = Attrs::new(attributes).find(|attr| attr.kind == nfta::ELEM_LIST_ELEMENTS);
        let starts = list.iter().flat_map(|list| {
            let start = ATTRIBUTES + list.offset + attr::HEADER;
            Attrs::new(list.payload).map(move |element| start + element.offset)
        });
        let elements = starts.zip(self.keys).collect();
        (message, elements)
    }
}

/// The most that the elements of one message may take: their nest can say 65,535 bytes. Bounds are
/// generous, so that messages come out well below it.
const CHUNK: usize = 65_000;

/// Elements in messages of bounded length. To delete one takes its key alone.
pub(super) fn chunks<'a>(
    set: &'a Set,
    elements: &'a [(ElementKey, ElementData)],
    with_data: bool,
) -> impl Iterator<Item = Result<Chunk, Unencodable>> + 'a {
    let mut elements = elements.iter().peekable();
    std::iter::from_fn(move || {
        elements.peek()?;
        let mut chunk = match ffi::Set::new(TABLE_NAME, &set.name) {
            Ok(object) => Chunk { object, keys: Vec::new() },
            Err(reason) => return Some(Err(reason)),
        };
        let mut room = CHUNK;
        while let Some((key, data)) = elements.peek() {
            let objects = match objects(set, key, with_data.then_some(data)) {
                Ok(objects) => objects,
                Err(reason) => {
                    // No more than one error for a list.
                    elements.by_ref().for_each(drop);
                    return Some(Err(reason));
                }
            };
            let bound: usize = objects.iter().map(ffi::Element::bound).sum();
            if bound > room {
                break;
            }
            room -= bound;
            for object in objects {
                chunk.object.push(object);
                chunk.keys.push(key.clone());
            }
            elements.next();
        }
        Some(Ok(chunk))
    })
}

/// How many elements the kernel says that a set has which is not a concatenation of intervals: of a tree half the
/// number of ends (`nft_rbtree_usize`), and an interval that runs to the top has one only.
pub fn count_in_kernel(set: &Set) -> usize {
    let ends = |key: &ElementKey| if after(key.upper()).is_some() { 2 } else { 1 };
    if set.interval { set.elements.keys().map(ends).sum::<usize>() / 2 } else { set.elements.len() }
}

/// What one element is in netlink.
fn objects(
    set: &Set,
    key: &ElementKey,
    data: Option<&ElementData>,
) -> Result<Vec<ffi::Element>, Unencodable> {
    let mut element = ffi::Element::new(key.first())?;
    if let Some(data) = data {
        if let Some(verdict) = &data.verdict {
            let (code, chain) = verdict_parts(verdict);
            element.verdict(code, chain)?;
        }
        if let Some(value) = &data.value {
            element.data(value)?;
        }
    }
    if !set.interval {
        return Ok(vec![element]);
    }
    if set.is_concat() {
        element.key_end(key.upper())?;
        return Ok(vec![element]);
    }
    // A tree holds where an interval starts and where it is over. One that runs to the top has no end.
    let mut elements = vec![element];
    if let Some(end) = after(key.upper()) {
        let mut end = ffi::Element::new(&end)?;
        end.flags(wire::ELEM_INTERVAL_END);
        elements.push(end);
    }
    Ok(elements)
}
