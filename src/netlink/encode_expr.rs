//! Expressions to libnftnl objects.

use super::error::Unencodable;
use super::ffi;
use super::wire::{self, verdict};
use crate::ruleset::{
    CmpOp, CtDirection, CtKey, Expr, ExthdrProtocol, FibResult, LookupTarget, MetaKey, PayloadBase, Reg,
    Verdict,
};

/// Compares what `fib ... exists` loads in the way of nft up to 1.1.5, which all but the latest
/// distributions have: it cannot read its own listing of the shorter way. See `shorten_presence`.
pub(super) fn lengthen_presence(exprs: &mut [Expr]) {
    for index in 1..exprs.len() {
        if let [Expr::Fib { present: true, dreg, .. }, Expr::Cmp { sreg, data, .. }] =
            &mut exprs[index - 1..=index]
            && dreg == sreg
            && cfg!(target_endian = "little")
            && data.len() == 1
        {
            data.resize(4, 0);
        }
    }
}

/// Compares an IPv4 address under a mask instead of its first three bytes. The kernel evaluates loads of 1, 2 or 4 bytes,
/// a mask of 4 and a comparison in `nft_do_chain` itself; for 3 bytes it calls a function, which costs 25 to 30 ns more.
/// See `shorten_prefix`. Only where it is to differ, as in the shortcut that most packets take: a rule that drops by
/// prefix is sent as nft sends it.
pub(super) fn widen_prefix(exprs: &mut Vec<Expr>) {
    let mut index = 1;
    while index < exprs.len() {
        if let [
            Expr::Payload { base: PayloadBase::Network, offset: 12 | 16, len, dreg },
            Expr::Cmp { op: CmpOp::Neq, sreg, data },
        ] = &mut exprs[index - 1..=index]
            && *len == 3
            && data.len() == 3
            && dreg == sreg
        {
            *len = 4;
            data.push(0);
            let (sreg, dreg) = (*sreg, *dreg);
            exprs.insert(
                index,
                Expr::Bitwise { sreg, dreg, mask: vec![0xff, 0xff, 0xff, 0], xor: vec![0; 4] },
            );
        }
        index += 1;
    }
}

/// A register by its number on the wire.
const fn reg(reg: Reg) -> u32 {
    wire::REG32_00 + reg.0 as u32
}

/// The code of a verdict, and the chain that goes with it.
pub(super) fn verdict_parts(verdict: &Verdict) -> (i32, Option<&str>) {
    match verdict {
        Verdict::Accept => (verdict::ACCEPT, None),
        Verdict::Drop => (verdict::DROP, None),
        Verdict::Continue => (verdict::CONTINUE, None),
        Verdict::Return => (verdict::RETURN, None),
        Verdict::Jump(chain) => (verdict::JUMP, Some(chain)),
        Verdict::Goto(chain) => (verdict::GOTO, Some(chain)),
    }
}

pub(super) fn expression(expr: &Expr) -> Result<ffi::Expr, Unencodable> {
    match expr {
        Expr::Meta { key, dreg } => ffi::Expr::meta(number_of(&MetaKey::NUMBERS, *key), reg(*dreg)),
        Expr::Ct { key, direction, dreg } => {
            let direction = direction.map(|direction| match direction {
                CtDirection::Original => 0,
                CtDirection::Reply => 1,
            });
            ffi::Expr::ct(number_of(&CtKey::NUMBERS, *key), direction, reg(*dreg))
        }
        Expr::Payload { base, offset, len, dreg } => {
            let base = match base {
                PayloadBase::Link => 0,
                PayloadBase::Network => 1,
                PayloadBase::Transport => 2,
            };
            ffi::Expr::payload(base, *offset, *len, reg(*dreg))
        }
        Expr::Exthdr { protocol, kind, offset, len, present, dreg } => {
            let op = match protocol {
                ExthdrProtocol::Ipv6 => 0,
                ExthdrProtocol::Ipv4 => 2,
            };
            let flags = if *present { wire::EXTHDR_PRESENT } else { 0 };
            ffi::Expr::exthdr(op, *kind, *offset, *len, flags, reg(*dreg))
        }
        Expr::Fib { flags, result, present, dreg } => {
            let result = match result {
                FibResult::Oif => 1,
                FibResult::AddrType => 3,
            };
            let flags = flags | if *present { wire::FIB_PRESENT } else { 0 };
            ffi::Expr::fib(flags, result, reg(*dreg))
        }
        Expr::Bitwise { sreg, dreg, mask, xor } => ffi::Expr::bitwise(reg(*sreg), reg(*dreg), mask, xor),
        Expr::Cmp { op, sreg, data } => {
            let op = match op {
                CmpOp::Eq => 0,
                CmpOp::Neq => 1,
            };
            ffi::Expr::cmp(op, reg(*sreg), data)
        }
        Expr::Lookup { set, sreg, target } => {
            let (dreg, flags) = match target {
                LookupTarget::Match => (None, 0),
                LookupTarget::NoMatch => (None, wire::LOOKUP_INV),
                LookupTarget::Verdict => (Some(wire::REG_VERDICT), 0),
                LookupTarget::Reg(dreg) => (Some(reg(*dreg)), 0),
            };
            ffi::Expr::lookup(set, reg(*sreg), dreg, flags)
        }
        Expr::Counter { counts } => ffi::Expr::counter(counts.0.0, counts.0.1),
        Expr::Verdict(verdict) => {
            let (code, chain) = verdict_parts(verdict);
            ffi::Expr::verdict(wire::REG_VERDICT, code, chain)
        }
        Expr::Masquerade => ffi::Expr::masquerade(),
        Expr::Snat { nfproto, address } => {
            /// `NFT_NAT_SNAT`.
            const SNAT: u32 = 0;
            ffi::Expr::nat(SNAT, u32::from(*nfproto), reg(*address))
        }
        // `with_unknown` writes those.
        Expr::Unknown { .. } => Err(Unencodable::ForeignType),
    }
}

/// The number of a key in the table of its type, which has them all.
fn number_of<T: PartialEq>(numbers: &[(T, u32)], key: T) -> u32 {
    numbers.iter().find(|(known, _)| *known == key).map_or(u32::MAX, |(_, number)| *number)
}
