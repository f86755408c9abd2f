//! The only unsafe code: libnftnl objects with owners, and two socket options that no crate wraps.
//!
//! What libnftnl 1.2.4 does, and every SAFETY comment below relies on:
//! - an object comes from `nftnl_*_alloc` and goes with its `nftnl_*_free`, once;
//! - a setter copies what it is given: strings with `strdup`, user data into memory of its own, numbers
//!   and register values with `memcpy`. Numbers are copied with the size of the *field*, so a setter of
//!   another width than the attribute has reads beyond its argument. Register values are copied with the
//!   length they are given into 64 bytes, unchecked;
//! - `nftnl_rule_add_expr` and `nftnl_set_elem_add` take the object over;
//! - `*_nlmsg_build_payload` appends behind `nlmsg_len` and does not know where the buffer ends. Every
//!   wrapper therefore keeps an upper bound of what it will append, and [`build`] makes room for it.

use std::ffi::{CStr, CString, c_char, c_int, c_void};
use std::io;
use std::mem;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, RawFd};
use std::os::unix::net::UnixDatagram;
use std::ptr::NonNull;

use nftnl::nftnl_sys as sys;
use nix::libc;

use super::error::Unencodable;
use super::wire::NLMSG_HDRLEN;

/// `NFT_DATA_VALUE_MAXLEN`, the size of libnftnl's buffers for register values.
const VALUE_MAX: usize = 64;
/// `NFT_USERDATA_MAXLEN`.
const USERDATA_MAX: usize = 256;
/// The longest name: `NFT_NAME_MAXLEN` with its NUL.
const NAME_MAX: usize = 256;
/// The most that one attribute with a number needs, its header and that of a nest around it included.
const NUMBER_BOUND: usize = 16;
/// The longest message without elements: what one nest can say (65,535), less than that for expressions.
const MESSAGE_MAX: usize = 65_000;

/// The header of an nf_tables message.
#[derive(Debug, Clone, Copy)]
pub(super) struct Header {
    /// `NFT_MSG_*`.
    pub(super) kind: u16,
    /// `NFPROTO_*`.
    pub(super) family: u8,
    /// `NLM_F_*` besides `NLM_F_REQUEST`.
    pub(super) flags: u16,
    /// Sequence number.
    pub(super) seq: u32,
}

/// Builds one message whose payload takes at most `bound` bytes.
///
/// # Safety
///
/// `payload` must append at most `bound` bytes to the message that it is given, and not keep the pointer.
unsafe fn build(header: Header, bound: usize, payload: impl FnOnce(*mut libc::nlmsghdr)) -> Vec<u8> {
    // 64-bit words, so that the header in front is aligned; headers and slack for padding on top.
    let mut words = vec![0_u64; (NLMSG_HDRLEN + 16 + bound) / 8 + 2];
    // SAFETY: the buffer is aligned to 8 and holds more than the 20 bytes of the two headers.
    let message = unsafe {
        sys::nftnl_nlmsg_build_hdr(
            words.as_mut_ptr().cast::<c_char>(),
            header.kind,
            u16::from(header.family),
            header.flags,
            header.seq,
        )
    };
    payload(message.cast());
    let bytes = as_bytes(&words);
    let len = u32::from_ne_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]) as usize;
    let mut bytes = bytes[..len].to_vec();
    bytes.resize(len.next_multiple_of(4), 0);
    bytes
}

fn as_bytes(words: &[u64]) -> &[u8] {
    // SAFETY: the same memory, initialised, at a lower alignment, for as long as the borrow.
    unsafe { std::slice::from_raw_parts(words.as_ptr().cast(), mem::size_of_val(words)) }
}

/// A buffer to receive into, aligned for `struct nlmsghdr`.
pub(super) fn as_bytes_mut(words: &mut [u64]) -> &mut [u8] {
    // SAFETY: the same memory, initialised, at a lower alignment, for as long as the exclusive borrow; any
    // bytes make a valid `u64`.
    unsafe { std::slice::from_raw_parts_mut(words.as_mut_ptr().cast(), mem::size_of_val(words)) }
}

/// A name as C has it.
fn name(text: &str) -> Result<CString, Unencodable> {
    if text.len() >= NAME_MAX {
        return Err(Unencodable::TooLong { what: "a name", max: NAME_MAX - 1 });
    }
    CString::new(text).map_err(|_| Unencodable::Nul)
}

/// Checks the length of what goes into a register.
fn value(bytes: &[u8]) -> Result<u32, Unencodable> {
    if bytes.len() > VALUE_MAX {
        return Err(Unencodable::TooLong { what: "a value", max: VALUE_MAX });
    }
    Ok(bytes.len() as u32)
}

/// Checks the length of user data.
fn userdata(bytes: &[u8]) -> Result<u32, Unencodable> {
    if bytes.len() > USERDATA_MAX {
        return Err(Unencodable::TooLong { what: "user data", max: USERDATA_MAX });
    }
    Ok(bytes.len() as u32)
}

/// What a setter that copies hands back.
fn copied(status: c_int) -> Result<(), Unencodable> {
    if status < 0 { Err(Unencodable::OutOfMemory) } else { Ok(()) }
}

/// An owned libnftnl object with an upper bound of the bytes that it takes in a message.
macro_rules! object {
    ($(#[$doc:meta])* $name:ident($raw:ident, $alloc:ident, $free:ident)) => {
        $(#[$doc])*
        pub(super) struct $name {
            raw: NonNull<sys::$raw>,
            bound: usize,
        }

        impl $name {
            fn alloc() -> Result<Self, Unencodable> {
                // SAFETY: takes nothing; hands back an object of our own or null.
                let raw = NonNull::new(unsafe { sys::$alloc() }).ok_or(Unencodable::OutOfMemory)?;
                Ok(Self { raw, bound: 0 })
            }
        }

        impl Drop for $name {
            fn drop(&mut self) {
                // SAFETY: ours, live, and never used again.
                unsafe { sys::$free(self.raw.as_ptr()) }
            }
        }
    };
}

object!(
    /// A table.
    Table(nftnl_table, nftnl_table_alloc, nftnl_table_free)
);

impl Table {
    pub(super) fn new(table: &str) -> Result<Self, Unencodable> {
        let mut object = Self::alloc()?;
        let table = name(table)?;
        // SAFETY: a string attribute; the string ends in NUL and is copied.
        copied(unsafe {
            sys::nftnl_table_set_str(object.raw.as_ptr(), sys::NFTNL_TABLE_NAME as u16, table.as_ptr())
        })?;
        object.bound += NUMBER_BOUND + NAME_MAX;
        Ok(object)
    }

    pub(super) fn message(&self, header: Header) -> Vec<u8> {
        // SAFETY: `bound` covers every attribute that was set; the object is live during the call.
        unsafe {
            build(header, self.bound, |message| {
                sys::nftnl_table_nlmsg_build_payload(message.cast(), self.raw.as_ptr());
            })
        }
    }
}

object!(
    /// A chain, without rules.
    Chain(nftnl_chain, nftnl_chain_alloc, nftnl_chain_free)
);

impl Chain {
    pub(super) fn new(table: &str, chain: &str) -> Result<Self, Unencodable> {
        let mut object = Self::alloc()?;
        object.set_name(sys::NFTNL_CHAIN_TABLE, table)?;
        object.set_name(sys::NFTNL_CHAIN_NAME, chain)?;
        Ok(object)
    }

    /// Makes it a base chain.
    pub(super) fn base(
        &mut self,
        kind: &str,
        hook: u32,
        priority: i32,
        policy: u32,
    ) -> Result<(), Unencodable> {
        self.set_name(sys::NFTNL_CHAIN_TYPE, kind)?;
        // SAFETY: three attributes of 32 bits of a live chain; the priority is the signed one.
        unsafe {
            sys::nftnl_chain_set_u32(self.raw.as_ptr(), sys::NFTNL_CHAIN_HOOKNUM as u16, hook);
            sys::nftnl_chain_set_s32(self.raw.as_ptr(), sys::NFTNL_CHAIN_PRIO as u16, priority);
            sys::nftnl_chain_set_u32(self.raw.as_ptr(), sys::NFTNL_CHAIN_POLICY as u16, policy);
        }
        self.bound += 3 * NUMBER_BOUND;
        Ok(())
    }

    /// Binds a base chain of the family netdev to a device.
    pub(super) fn device(&mut self, device: &str) -> Result<(), Unencodable> {
        self.set_name(sys::NFTNL_CHAIN_DEV, device)
    }

    pub(super) fn message(&self, header: Header) -> Vec<u8> {
        // SAFETY: `bound` covers every attribute that was set; the object is live during the call.
        unsafe {
            build(header, self.bound, |message| {
                sys::nftnl_chain_nlmsg_build_payload(message.cast(), self.raw.as_ptr());
            })
        }
    }

    /// `attr` is one of `NFTNL_CHAIN_{TABLE,NAME,TYPE,DEV}`.
    fn set_name(&mut self, attr: u32, text: &str) -> Result<(), Unencodable> {
        let text = name(text)?;
        // SAFETY: all four are string attributes; the string ends in NUL and is copied.
        copied(unsafe { sys::nftnl_chain_set_str(self.raw.as_ptr(), attr as u16, text.as_ptr()) })?;
        self.bound += NUMBER_BOUND + NAME_MAX;
        Ok(())
    }
}

object!(
    /// A set or map with the elements that one message carries.
    Set(nftnl_set, nftnl_set_alloc, nftnl_set_free)
);

impl Set {
    pub(super) fn new(table: &str, set: &str) -> Result<Self, Unencodable> {
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
    pub(super) fn definition(&mut self, id: u32, flags: u32, key_type: u32, key_len: u32) {
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
    pub(super) fn data(&mut self, data_type: u32, data_len: u32) {
        self.set_u32(sys::NFTNL_SET_DATA_TYPE, data_type);
        self.set_u32(sys::NFTNL_SET_DATA_LEN, data_len);
    }

    /// Lengths of the fields of a concatenation of intervals.
    pub(super) fn fields(&mut self, lengths: &[u8]) -> Result<(), Unencodable> {
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

    pub(super) fn userdata(&mut self, bytes: &[u8]) -> Result<(), Unencodable> {
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
    pub(super) fn push(&mut self, element: Element) {
        self.bound += element.bound;
        let element = mem::ManuallyDrop::new(element);
        // SAFETY: both are live; the set owns the element from here on and frees it, and `ManuallyDrop`
        // keeps us from doing so.
        unsafe { sys::nftnl_set_elem_add(self.raw.as_ptr(), element.raw.as_ptr()) }
    }

    /// The message that creates or deletes the set.
    pub(super) fn message(&self, header: Header) -> Vec<u8> {
        // SAFETY: `bound` covers every attribute that was set; the object is live during the call.
        unsafe {
            build(header, self.bound, |message| {
                sys::nftnl_set_nlmsg_build_payload(message.cast(), self.raw.as_ptr());
            })
        }
    }

    /// The message that adds or deletes its elements.
    pub(super) fn elements_message(&self, header: Header) -> Vec<u8> {
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
    pub(super) fn new(key: &[u8]) -> Result<Self, Unencodable> {
        let mut object = Self::alloc()?;
        object.bound = NUMBER_BOUND;
        object.set_value(sys::NFTNL_SET_ELEM_KEY, key)?;
        Ok(object)
    }

    /// Upper bound of its bytes in a message.
    pub(super) const fn bound(&self) -> usize {
        self.bound
    }

    /// The inclusive upper end of its key, in a concatenation.
    pub(super) fn key_end(&mut self, key: &[u8]) -> Result<(), Unencodable> {
        self.set_value(sys::NFTNL_SET_ELEM_KEY_END, key)
    }

    /// `NFT_SET_ELEM_*`.
    pub(super) fn flags(&mut self, flags: u32) {
        self.set_u32(sys::NFTNL_SET_ELEM_FLAGS, flags);
    }

    /// What it maps to.
    pub(super) fn data(&mut self, data: &[u8]) -> Result<(), Unencodable> {
        self.set_value(sys::NFTNL_SET_ELEM_DATA, data)
    }

    /// The verdict that it maps to.
    pub(super) fn verdict(&mut self, code: i32, chain: Option<&str>) -> Result<(), Unencodable> {
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

object!(
    /// A rule.
    Rule(nftnl_rule, nftnl_rule_alloc, nftnl_rule_free)
);

impl Rule {
    pub(super) fn new(table: &str, chain: &str) -> Result<Self, Unencodable> {
        let mut object = Self::alloc()?;
        for (attr, text) in [(sys::NFTNL_RULE_TABLE, table), (sys::NFTNL_RULE_CHAIN, chain)] {
            let text = name(text)?;
            // SAFETY: two string attributes; the string ends in NUL and is copied.
            copied(unsafe { sys::nftnl_rule_set_str(object.raw.as_ptr(), attr as u16, text.as_ptr()) })?;
            object.bound += NUMBER_BOUND + NAME_MAX;
        }
        Ok(object)
    }

    /// The handle of the live rule that it replaces or deletes.
    pub(super) fn handle(&mut self, handle: u64) {
        self.set_u64(sys::NFTNL_RULE_HANDLE, handle);
    }

    /// The handle of the live rule that it goes before.
    pub(super) fn position(&mut self, handle: u64) {
        self.set_u64(sys::NFTNL_RULE_POSITION, handle);
    }

    pub(super) fn userdata(&mut self, bytes: &[u8]) -> Result<(), Unencodable> {
        let len = userdata(bytes)?;
        // SAFETY: `len` bytes that libnftnl copies into memory of its own.
        copied(unsafe {
            sys::nftnl_rule_set_data(
                self.raw.as_ptr(),
                sys::NFTNL_RULE_USERDATA as u16,
                bytes.as_ptr().cast::<c_void>(),
                len,
            )
        })?;
        self.bound += NUMBER_BOUND + USERDATA_MAX;
        Ok(())
    }

    /// Appends an expression.
    pub(super) fn push(&mut self, expr: Expr) -> Result<(), Unencodable> {
        if self.bound + expr.bound > MESSAGE_MAX {
            return Err(Unencodable::TooLong { what: "a rule", max: MESSAGE_MAX });
        }
        self.bound += expr.bound;
        let expr = mem::ManuallyDrop::new(expr);
        // SAFETY: both are live; the rule owns the expression from here on and frees it, and
        // `ManuallyDrop` keeps us from doing so.
        unsafe { sys::nftnl_rule_add_expr(self.raw.as_ptr(), expr.raw.as_ptr()) }
        Ok(())
    }

    pub(super) fn message(&self, header: Header) -> Vec<u8> {
        // SAFETY: `bound` covers every attribute and expression; the object is live during the call.
        unsafe {
            build(header, self.bound + NUMBER_BOUND, |message| {
                sys::nftnl_rule_nlmsg_build_payload(message.cast(), self.raw.as_ptr());
            })
        }
    }

    fn set_u64(&mut self, attr: u32, number: u64) {
        // SAFETY: both callers pass an attribute of 64 bits; a live rule.
        unsafe { sys::nftnl_rule_set_u64(self.raw.as_ptr(), attr as u16, number) }
        self.bound += NUMBER_BOUND;
    }
}

/// An expression of a rule.
pub(super) struct Expr {
    raw: NonNull<sys::nftnl_expr>,
    bound: usize,
}

impl Drop for Expr {
    fn drop(&mut self) {
        // SAFETY: ours, live, and never used again.
        unsafe { sys::nftnl_expr_free(self.raw.as_ptr()) }
    }
}

impl Expr {
    /// `meta`: loads a key into a register.
    pub(super) fn meta(key: u32, dreg: u32) -> Result<Self, Unencodable> {
        // SAFETY: both are attributes of 32 bits of `meta`.
        unsafe {
            Self::numbers(c"meta", &[(sys::NFTNL_EXPR_META_KEY, key), (sys::NFTNL_EXPR_META_DREG, dreg)])
        }
    }

    /// `ct`: loads a key into a register.
    pub(super) fn ct(key: u32, direction: Option<u8>, dreg: u32) -> Result<Self, Unencodable> {
        // SAFETY: both are attributes of 32 bits of `ct`, and the direction is one of 8 bits.
        unsafe {
            let numbers = [(sys::NFTNL_EXPR_CT_KEY, key), (sys::NFTNL_EXPR_CT_DREG, dreg)];
            let mut expr = Self::numbers(c"ct", &numbers)?;
            if let Some(direction) = direction {
                expr.set_u8(sys::NFTNL_EXPR_CT_DIR, direction);
            }
            Ok(expr)
        }
    }

    /// `payload`: loads packet bytes into a register.
    pub(super) fn payload(base: u32, offset: u32, len: u32, dreg: u32) -> Result<Self, Unencodable> {
        let numbers = [
            (sys::NFTNL_EXPR_PAYLOAD_BASE, base),
            (sys::NFTNL_EXPR_PAYLOAD_OFFSET, offset),
            (sys::NFTNL_EXPR_PAYLOAD_LEN, len),
            (sys::NFTNL_EXPR_PAYLOAD_DREG, dreg),
        ];
        // SAFETY: all are attributes of 32 bits of `payload`.
        unsafe { Self::numbers(c"payload", &numbers) }
    }

    /// `exthdr`: loads from an extension header or an option into a register.
    pub(super) fn exthdr(
        op: u32,
        kind: u8,
        offset: u32,
        len: u32,
        flags: u32,
        dreg: u32,
    ) -> Result<Self, Unencodable> {
        let numbers = [
            (sys::NFTNL_EXPR_EXTHDR_OP, op),
            (sys::NFTNL_EXPR_EXTHDR_OFFSET, offset),
            (sys::NFTNL_EXPR_EXTHDR_LEN, len),
            (sys::NFTNL_EXPR_EXTHDR_FLAGS, flags),
            (sys::NFTNL_EXPR_EXTHDR_DREG, dreg),
        ];
        // SAFETY: all are attributes of 32 bits of `exthdr`, and the type is one of 8 bits.
        unsafe {
            let mut expr = Self::numbers(c"exthdr", &numbers)?;
            expr.set_u8(sys::NFTNL_EXPR_EXTHDR_TYPE, kind);
            Ok(expr)
        }
    }

    /// `fib`: asks the routing table.
    pub(super) fn fib(flags: u32, result: u32, dreg: u32) -> Result<Self, Unencodable> {
        let numbers = [
            (sys::NFTNL_EXPR_FIB_FLAGS, flags),
            (sys::NFTNL_EXPR_FIB_RESULT, result),
            (sys::NFTNL_EXPR_FIB_DREG, dreg),
        ];
        // SAFETY: all are attributes of 32 bits of `fib`.
        unsafe { Self::numbers(c"fib", &numbers) }
    }

    /// `bitwise`: masks and inverts bits of a register.
    pub(super) fn bitwise(sreg: u32, dreg: u32, mask: &[u8], xor: &[u8]) -> Result<Self, Unencodable> {
        let len = value(mask)?;
        let numbers = [
            (sys::NFTNL_EXPR_BITWISE_SREG, sreg),
            (sys::NFTNL_EXPR_BITWISE_DREG, dreg),
            (sys::NFTNL_EXPR_BITWISE_LEN, len),
        ];
        // SAFETY: all are attributes of 32 bits of `bitwise`, and mask and xor hold register values.
        unsafe {
            let mut expr = Self::numbers(c"bitwise", &numbers)?;
            expr.set_value(sys::NFTNL_EXPR_BITWISE_MASK, mask)?;
            expr.set_value(sys::NFTNL_EXPR_BITWISE_XOR, xor)?;
            Ok(expr)
        }
    }

    /// `cmp`: compares a register.
    pub(super) fn cmp(op: u32, sreg: u32, data: &[u8]) -> Result<Self, Unencodable> {
        // SAFETY: both are attributes of 32 bits of `cmp`, and its data holds a register value.
        unsafe {
            let numbers = [(sys::NFTNL_EXPR_CMP_OP, op), (sys::NFTNL_EXPR_CMP_SREG, sreg)];
            let mut expr = Self::numbers(c"cmp", &numbers)?;
            expr.set_value(sys::NFTNL_EXPR_CMP_DATA, data)?;
            Ok(expr)
        }
    }

    /// `lookup`: looks a register up in a set; `dreg` takes the data of the element.
    pub(super) fn lookup(set: &str, sreg: u32, dreg: Option<u32>, flags: u32) -> Result<Self, Unencodable> {
        let numbers = [(sys::NFTNL_EXPR_LOOKUP_SREG, sreg), (sys::NFTNL_EXPR_LOOKUP_FLAGS, flags)];
        // SAFETY: all are attributes of 32 bits of `lookup`, and the set is a string.
        unsafe {
            let mut expr = Self::numbers(c"lookup", &numbers)?;
            expr.set_name(sys::NFTNL_EXPR_LOOKUP_SET, set)?;
            if let Some(dreg) = dreg {
                expr.set_u32(sys::NFTNL_EXPR_LOOKUP_DREG, dreg);
            }
            Ok(expr)
        }
    }

    /// `counter`.
    pub(super) fn counter(packets: u64, bytes: u64) -> Result<Self, Unencodable> {
        // SAFETY: both are attributes of 64 bits of `counter`.
        unsafe {
            let mut expr = Self::numbers(c"counter", &[])?;
            expr.set_u64(sys::NFTNL_EXPR_CTR_PACKETS, packets);
            expr.set_u64(sys::NFTNL_EXPR_CTR_BYTES, bytes);
            Ok(expr)
        }
    }

    /// `immediate` into the verdict register `dreg`.
    pub(super) fn verdict(dreg: u32, code: i32, chain: Option<&str>) -> Result<Self, Unencodable> {
        let numbers = [(sys::NFTNL_EXPR_IMM_DREG, dreg), (sys::NFTNL_EXPR_IMM_VERDICT, code.cast_unsigned())];
        // SAFETY: both are attributes of 32 bits of `immediate`, and the chain is a string.
        unsafe {
            let mut expr = Self::numbers(c"immediate", &numbers)?;
            if let Some(chain) = chain {
                expr.set_name(sys::NFTNL_EXPR_IMM_CHAIN, chain)?;
            }
            Ok(expr)
        }
    }

    /// `masq` without options.
    pub(super) fn masquerade() -> Result<Self, Unencodable> {
        // SAFETY: sets nothing.
        unsafe { Self::numbers(c"masq", &[]) }
    }

    /// `nat`: rewrites an address to the one in a register.
    pub(super) fn nat(kind: u32, family: u32, address: u32) -> Result<Self, Unencodable> {
        let numbers = [
            (sys::NFTNL_EXPR_NAT_TYPE, kind),
            (sys::NFTNL_EXPR_NAT_FAMILY, family),
            (sys::NFTNL_EXPR_NAT_REG_ADDR_MIN, address),
        ];
        // SAFETY: all are attributes of 32 bits of `nat`.
        unsafe { Self::numbers(c"nat", &numbers) }
    }

    /// # Safety
    ///
    /// Every number must be an attribute of 32 bits of that kind of expression.
    unsafe fn numbers(kind: &CStr, numbers: &[(u32, u32)]) -> Result<Self, Unencodable> {
        // SAFETY: the name ends in NUL and is only read; hands back an object of our own or null.
        let raw =
            NonNull::new(unsafe { sys::nftnl_expr_alloc(kind.as_ptr()) }).ok_or(Unencodable::OutOfMemory)?;
        // A list element with a name and a nest of data.
        let mut expr = Self { raw, bound: 3 * NUMBER_BOUND + kind.to_bytes_with_nul().len() };
        for (attr, number) in numbers {
            // SAFETY: as this function demands.
            unsafe { expr.set_u32(*attr, *number) };
        }
        Ok(expr)
    }

    /// # Safety
    ///
    /// `attr` must be an attribute of 8 bits of this kind of expression.
    unsafe fn set_u8(&mut self, attr: u32, number: u8) {
        // SAFETY: as this function demands; a live expression.
        unsafe { sys::nftnl_expr_set_u8(self.raw.as_ptr(), attr as u16, number) }
        self.bound += NUMBER_BOUND;
    }

    /// # Safety
    ///
    /// `attr` must be an attribute of 32 bits of this kind of expression.
    unsafe fn set_u32(&mut self, attr: u32, number: u32) {
        // SAFETY: as this function demands; a live expression.
        unsafe { sys::nftnl_expr_set_u32(self.raw.as_ptr(), attr as u16, number) }
        self.bound += NUMBER_BOUND;
    }

    /// # Safety
    ///
    /// `attr` must be an attribute of 64 bits of this kind of expression.
    unsafe fn set_u64(&mut self, attr: u32, number: u64) {
        // SAFETY: as this function demands; a live expression.
        unsafe { sys::nftnl_expr_set_u64(self.raw.as_ptr(), attr as u16, number) }
        self.bound += NUMBER_BOUND;
    }

    /// # Safety
    ///
    /// `attr` must be a string attribute of this kind of expression.
    unsafe fn set_name(&mut self, attr: u32, text: &str) -> Result<(), Unencodable> {
        let text = name(text)?;
        // SAFETY: as this function demands; the string ends in NUL and is copied.
        copied(unsafe { sys::nftnl_expr_set_str(self.raw.as_ptr(), attr as u16, text.as_ptr()) })?;
        self.bound += NUMBER_BOUND + NAME_MAX;
        Ok(())
    }

    /// # Safety
    ///
    /// `attr` must be an attribute of this kind of expression that holds a register value.
    unsafe fn set_value(&mut self, attr: u32, bytes: &[u8]) -> Result<(), Unencodable> {
        let len = value(bytes)?;
        // SAFETY: as this function demands; at most the 64 bytes that it has room for are copied.
        copied(unsafe { sys::nftnl_expr_set(self.raw.as_ptr(), attr as u16, bytes.as_ptr().cast(), len) })?;
        self.bound += NUMBER_BOUND + bytes.len();
        Ok(())
    }
}

/// The descriptor of a socket, for as long as that is borrowed.
pub(super) fn descriptor(socket: &mnl::Socket) -> BorrowedFd<'_> {
    // SAFETY: the socket is open while it is borrowed, and closes its descriptor only when dropped.
    unsafe { BorrowedFd::borrow_raw(socket.as_raw_fd()) }
}

/// Switches on an option of the level `SOL_NETLINK`.
pub(super) fn enable_netlink_option(socket: BorrowedFd<'_>, option: c_int) -> io::Result<()> {
    let on: c_int = 1;
    // SAFETY: an open descriptor; the kernel reads the `c_int` whose address and size it is given.
    let status = unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            libc::SOL_NETLINK,
            option,
            (&raw const on).cast::<c_void>(),
            mem::size_of::<c_int>() as libc::socklen_t,
        )
    };
    if status < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

/// The cookie of the calling thread's network namespace: unique until the next boot, even when the
/// namespace is gone. Since Linux 5.14.
pub fn netns_cookie() -> io::Result<u64> {
    /// `<asm-generic/socket.h>`.
    const SO_NETNS_COOKIE: c_int = 71;
    let socket = UnixDatagram::unbound()?;
    let descriptor: RawFd = socket.as_fd().as_raw_fd();
    let mut cookie = 0_u64;
    let mut len = mem::size_of::<u64>() as libc::socklen_t;
    // SAFETY: an open descriptor; the kernel writes at most `len` bytes into the `u64`, and `len`.
    let status = unsafe {
        libc::getsockopt(
            descriptor,
            libc::SOL_SOCKET,
            SO_NETNS_COOKIE,
            (&raw mut cookie).cast::<c_void>(),
            &raw mut len,
        )
    };
    if status < 0 { Err(io::Error::last_os_error()) } else { Ok(cookie) }
}
