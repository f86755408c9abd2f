//! Sets and elements.

use std::ffi::c_void;
use std::mem;
use std::ptr::NonNull;

use nftnl::nftnl_sys as sys;

use super::{Header, NAME_MAX, NUMBER_BOUND, USERDATA_MAX, build, copied, name, userdata, value};
use crate::netlink::error::Unencodable;

object!(
    /// A set or map with the elements that one message carries.
    Set(nftnl_set, nftnl_set_alloc, nftnl_set_free)
);

impl Set {
    pub(in crate::netlink) fn new(table: &str, set: &str) -> Result<Self, Unencodable> {
        let mut object = Self::alloc()?;
        for (attr, text) in [(sys::NFTNL_SET_TABLE, table), (sys::NFTNL_SET_NAME, set)] {
            let text = name(text)?;
            // SAFETY: two string attributes; the string ends in NUL and is copied.
            copied(unsafe { sys::nftnl_set_set_str(object.raw.as_ptr(), attr as u16, text.as_ptr()) })?;
            object.bound += NUMBER_BOUND + NAME_MAX;
        }
        Ok(object)
    }

    /// `id` is unique within a batch.
    pub(in crate::netlink) fn definition(&mut self, id: u32, flags: u32, key_type: u32, key_len: u32) {
        for (attr, number) in [
            (sys::NFTNL_SET_ID, id),
            (sys::NFTNL_SET_FLAGS, flags),
            (sys::NFTNL_SET_KEY_TYPE, key_type),
            (sys::NFTNL_SET_KEY_LEN, key_len),
        ] {
            self.set_u32(attr, number);
        }
    }

    /// Makes it a map.
    pub(in crate::netlink) fn data(&mut self, data_type: u32, data_len: u32) {
        self.set_u32(sys::NFTNL_SET_DATA_TYPE, data_type);
        self.set_u32(sys::NFTNL_SET_DATA_LEN, data_len);
    }

    /// Lengths of the fields of a concatenation of intervals.
    pub(in crate::netlink) fn fields(&mut self, lengths: &[u8]) -> Result<(), Unencodable> {
        // libnftnl has room for 16 and looks for a zero behind the last.
        if lengths.len() > 15 || lengths.contains(&0) {
            return Err(Unencodable::TooLong { what: "a concatenation", max: 15 });
        }
        // SAFETY: at most 15 of the 16 bytes that the attribute has room for; they are copied, and the
        // sixteenth stays the zero that libnftnl stops counting at.
        copied(unsafe {
            sys::nftnl_set_set_data(
                self.raw.as_ptr(),
                sys::NFTNL_SET_DESC_CONCAT as u16,
                lengths.as_ptr().cast::<c_void>(),
                lengths.len() as u32,
            )
        })?;
        self.bound += NUMBER_BOUND + lengths.len() * NUMBER_BOUND;
        Ok(())
    }

    pub(in crate::netlink) fn userdata(&mut self, bytes: &[u8]) -> Result<(), Unencodable> {
        let len = userdata(bytes)?;
        // SAFETY: `len` bytes that libnftnl copies into memory of its own.
        copied(unsafe {
            sys::nftnl_set_set_data(
                self.raw.as_ptr(),
                sys::NFTNL_SET_USERDATA as u16,
                bytes.as_ptr().cast::<c_void>(),
                len,
            )
        })?;
        self.bound += NUMBER_BOUND + USERDATA_MAX;
        Ok(())
    }

    /// Appends an element.
    pub(in crate::netlink) fn push(&mut self, element: Element) {
        self.bound += element.bound;
        let element = mem::ManuallyDrop::new(element);
        // SAFETY: both are live; the set owns the element from here on and frees it, and `ManuallyDrop`
        // keeps us from doing so.
        unsafe { sys::nftnl_set_elem_add(self.raw.as_ptr(), element.raw.as_ptr()) }
    }

    /// The message that creates or deletes the set.
    pub(in crate::netlink) fn message(&self, header: Header) -> Vec<u8> {
        // SAFETY: `bound` covers every attribute that was set; the object is live during the call.
        unsafe {
            build(header, self.bound, |message| {
                sys::nftnl_set_nlmsg_build_payload(message.cast(), self.raw.as_ptr());
            })
        }
    }

    /// The message that adds or deletes its elements.
    pub(in crate::netlink) fn elements_message(&self, header: Header) -> Vec<u8> {
        // SAFETY: `bound` covers the names and every element; the object is live during the call.
        unsafe {
            build(header, self.bound + NUMBER_BOUND, |message| {
                sys::nftnl_set_elems_nlmsg_build_payload(message.cast(), self.raw.as_ptr());
            })
        }
    }

    fn set_u32(&mut self, attr: u32, number: u32) {
        // SAFETY: every caller passes an attribute of 32 bits; a live set.
        unsafe { sys::nftnl_set_set_u32(self.raw.as_ptr(), attr as u16, number) }
        self.bound += NUMBER_BOUND;
    }
}

object!(
    /// An element of a set.
    Element(nftnl_set_elem, nftnl_set_elem_alloc, nftnl_set_elem_free)
);

impl Element {
    /// An element with that key.
    pub(in crate::netlink) fn new(key: &[u8]) -> Result<Self, Unencodable> {
        let mut object = Self::alloc()?;
        object.bound = NUMBER_BOUND;
        object.set_value(sys::NFTNL_SET_ELEM_KEY, key)?;
        Ok(object)
    }

    /// Upper bound of its bytes in a message.
    pub(in crate::netlink) const fn bound(&self) -> usize {
        self.bound
    }

    /// The inclusive upper end of its key, in a concatenation.
    pub(in crate::netlink) fn key_end(&mut self, key: &[u8]) -> Result<(), Unencodable> {
        self.set_value(sys::NFTNL_SET_ELEM_KEY_END, key)
    }

    /// `NFT_SET_ELEM_*`.
    pub(in crate::netlink) fn flags(&mut self, flags: u32) {
        self.set_u32(sys::NFTNL_SET_ELEM_FLAGS, flags);
    }

    /// What it maps to.
    pub(in crate::netlink) fn data(&mut self, data: &[u8]) -> Result<(), Unencodable> {
        self.set_value(sys::NFTNL_SET_ELEM_DATA, data)
    }

    /// The verdict that it maps to.
    pub(in crate::netlink) fn verdict(&mut self, code: i32, chain: Option<&str>) -> Result<(), Unencodable> {
        self.set_u32(sys::NFTNL_SET_ELEM_VERDICT, code.cast_unsigned());
        if let Some(chain) = chain {
            let chain = name(chain)?;
            // SAFETY: a string attribute; the string ends in NUL and is copied.
            copied(unsafe {
                sys::nftnl_set_elem_set_str(
                    self.raw.as_ptr(),
                    sys::NFTNL_SET_ELEM_CHAIN as u16,
                    chain.as_ptr(),
                )
            })?;
            self.bound += NUMBER_BOUND + chain.as_bytes_with_nul().len();
        }
        Ok(())
    }

    fn set_u32(&mut self, attr: u32, number: u32) {
        // SAFETY: every caller passes an attribute of 32 bits; a live element.
        unsafe { sys::nftnl_set_elem_set_u32(self.raw.as_ptr(), attr as u16, number) }
        self.bound += NUMBER_BOUND;
    }

    fn set_value(&mut self, attr: u32, bytes: &[u8]) -> Result<(), Unencodable> {
        let len = value(bytes)?;
        // SAFETY: every caller passes an attribute that holds a register value; at most the 64 bytes that
        // it has room for are copied.
        copied(unsafe {
            sys::nftnl_set_elem_set(self.raw.as_ptr(), attr as u16, bytes.as_ptr().cast(), len)
        })?;
        self.bound += NUMBER_BOUND + bytes.len();
        Ok(())
    }
}
