//! Sets.

use std::ffi::c_void;
use std::ptr::NonNull;

use nftnl::nftnl_sys as sys;

use super::{Header, NAME_MAX, NUMBER_BOUND, USERDATA_MAX, build, copied, name, userdata};
use crate::netlink::error::Unencodable;

object!(
    /// A set or map, without elements.
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

    /// The message that creates or deletes the set.
    pub(in crate::netlink) fn message(&self, header: Header) -> Vec<u8> {
        // SAFETY: `bound` covers every attribute that was set; the object is live during the call.
        unsafe {
            build(header, self.bound, |message| {
                sys::nftnl_set_nlmsg_build_payload(message.cast(), self.raw.as_ptr());
            })
        }
    }

    fn set_u32(&mut self, attr: u32, number: u32) {
        // SAFETY: every caller passes an attribute of 32 bits; a live set.
        unsafe { sys::nftnl_set_set_u32(self.raw.as_ptr(), attr as u16, number) }
        self.bound += NUMBER_BOUND;
    }
}
