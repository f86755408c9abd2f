//! Rules and expressions.

use std::ffi::{CStr, c_void};
use std::mem;
use std::ptr::NonNull;

use nftnl::nftnl_sys as sys;

use super::{
    Header, MESSAGE_MAX, NAME_MAX, NUMBER_BOUND, USERDATA_MAX, build, copied, name, userdata, value,
};
use crate::netlink::error::Unencodable;

object!(
    /// A rule.
    Rule(nftnl_rule, nftnl_rule_alloc, nftnl_rule_free)
);

impl Rule {
    pub(in crate::netlink) fn new(table: &str, chain: &str) -> Result<Self, Unencodable> {
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
    pub(in crate::netlink) fn handle(&mut self, handle: u64) {
        self.set_u64(sys::NFTNL_RULE_HANDLE, handle);
    }

    /// The handle of the live rule that it goes before.
    pub(in crate::netlink) fn position(&mut self, handle: u64) {
        self.set_u64(sys::NFTNL_RULE_POSITION, handle);
    }

    pub(in crate::netlink) fn userdata(&mut self, bytes: &[u8]) -> Result<(), Unencodable> {
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
    pub(in crate::netlink) fn push(&mut self, expr: Expr) -> Result<(), Unencodable> {
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

    pub(in crate::netlink) fn message(&self, header: Header) -> Vec<u8> {
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
pub(in crate::netlink) struct Expr {
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
    pub(in crate::netlink) fn meta(key: u32, dreg: u32) -> Result<Self, Unencodable> {
        // SAFETY: both are attributes of 32 bits of `meta`.
        unsafe {
            Self::numbers(c"meta", &[(sys::NFTNL_EXPR_META_KEY, key), (sys::NFTNL_EXPR_META_DREG, dreg)])
        }
    }

    /// `ct`: loads a key into a register.
    pub(in crate::netlink) fn ct(key: u32, direction: Option<u8>, dreg: u32) -> Result<Self, Unencodable> {
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
    pub(in crate::netlink) fn payload(
        base: u32,
        offset: u32,
        len: u32,
        dreg: u32,
    ) -> Result<Self, Unencodable> {
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
    pub(in crate::netlink) fn exthdr(
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
    pub(in crate::netlink) fn fib(flags: u32, result: u32, dreg: u32) -> Result<Self, Unencodable> {
        let numbers = [
            (sys::NFTNL_EXPR_FIB_FLAGS, flags),
            (sys::NFTNL_EXPR_FIB_RESULT, result),
            (sys::NFTNL_EXPR_FIB_DREG, dreg),
        ];
        // SAFETY: all are attributes of 32 bits of `fib`.
        unsafe { Self::numbers(c"fib", &numbers) }
    }

    /// `bitwise`: masks and inverts bits of a register.
    pub(in crate::netlink) fn bitwise(
        sreg: u32,
        dreg: u32,
        mask: &[u8],
        xor: &[u8],
    ) -> Result<Self, Unencodable> {
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
    pub(in crate::netlink) fn cmp(op: u32, sreg: u32, data: &[u8]) -> Result<Self, Unencodable> {
        // SAFETY: both are attributes of 32 bits of `cmp`, and its data holds a register value.
        unsafe {
            let numbers = [(sys::NFTNL_EXPR_CMP_OP, op), (sys::NFTNL_EXPR_CMP_SREG, sreg)];
            let mut expr = Self::numbers(c"cmp", &numbers)?;
            expr.set_value(sys::NFTNL_EXPR_CMP_DATA, data)?;
            Ok(expr)
        }
    }

    /// `lookup`: looks a register up in a set; `dreg` takes the data of the element.
    pub(in crate::netlink) fn lookup(
        set: &str,
        sreg: u32,
        dreg: Option<u32>,
        flags: u32,
    ) -> Result<Self, Unencodable> {
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
    pub(in crate::netlink) fn counter(packets: u64, bytes: u64) -> Result<Self, Unencodable> {
        // SAFETY: both are attributes of 64 bits of `counter`.
        unsafe {
            let mut expr = Self::numbers(c"counter", &[])?;
            expr.set_u64(sys::NFTNL_EXPR_CTR_PACKETS, packets);
            expr.set_u64(sys::NFTNL_EXPR_CTR_BYTES, bytes);
            Ok(expr)
        }
    }

    /// `immediate` into the verdict register `dreg`.
    pub(in crate::netlink) fn verdict(
        dreg: u32,
        code: i32,
        chain: Option<&str>,
    ) -> Result<Self, Unencodable> {
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
    pub(in crate::netlink) fn masquerade() -> Result<Self, Unencodable> {
        // SAFETY: sets nothing.
        unsafe { Self::numbers(c"masq", &[]) }
    }

    /// `nat`: rewrites an address to the one in a register.
    pub(in crate::netlink) fn nat(kind: u32, family: u32, address: u32) -> Result<Self, Unencodable> {
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
