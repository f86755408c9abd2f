//! Expressions: bytes of the kernel to values.
//!
//! An expression becomes a typed value only when every attribute of it was understood. Anything else
//! stays [`Expr::Unknown`], byte for byte, so that nothing is lost and nothing is taken for something
//! that it is not.

use std::sync::Arc;

use super::attr::{self, Attrs};
use super::wire::{self, be32, be64, nfta, verdict};
use crate::ruleset::{
    Aside, CmpOp, CtDirection, CtKey, Expr, ExthdrProtocol, FibResult, LookupTarget, MetaKey, PayloadBase,
    Reg, Verdict,
};

/// The expressions of `NFTA_RULE_EXPRESSIONS`.
pub(super) fn expressions(list: &[u8]) -> Vec<Expr> {
    let elements = Attrs::new(list).filter(|attr| attr.kind == nfta::LIST_ELEM);
    let mut exprs = Vec::new();
    for mut expr in elements.filter_map(|attr| expression(attr.payload)) {
        if let Some(previous) = exprs.last() {
            shorten_presence(previous, &mut expr);
        }
        exprs.push(expr);
        shorten_prefix(&mut exprs);
    }
    exprs
}

/// A difference from the first three bytes of an IPv4 address, where the kernel has the four of them under a mask; see
/// `widen_prefix`. nft lists both alike, and writes the shorter one when it loads its listing.
fn shorten_prefix(exprs: &mut Vec<Expr>) {
    let at = exprs.len().saturating_sub(3);
    if let [
        Expr::Payload { base: PayloadBase::Network, offset: 12 | 16, len, dreg: loaded },
        Expr::Bitwise { sreg, dreg, mask, xor },
        Expr::Cmp { op: CmpOp::Neq, sreg: compared, data },
    ] = &mut exprs[at..]
        && *len == 4
        && [*sreg, *dreg, *compared] == [*loaded; 3]
        && *mask == [0xff, 0xff, 0xff, 0]
        && *xor == [0; 4]
        && matches!(data.as_slice(), [_, _, _, 0])
    {
        *len = 3;
        data.truncate(3);
        exprs.remove(at + 1);
    }
}

/// `fib ... exists` loads one byte, and zeros the rest of the register. nft up to 1.1.5 compares all four
/// bytes, in host order; later ones compare the byte. Where the first byte is the lowest, both mean the
/// same; the value is the shorter one.
fn shorten_presence(previous: &Expr, expr: &mut Expr) {
    if let (Expr::Fib { present: true, dreg, .. }, Expr::Cmp { sreg, data, .. }) = (previous, expr)
        && dreg == sreg
        && cfg!(target_endian = "little")
        && matches!(data.as_slice(), [_, 0, 0, 0])
    {
        data.truncate(1);
    }
}

/// One expression; `None` for one that does nothing.
fn expression(bytes: &[u8]) -> Option<Expr> {
    let name = attr::text(attr::find(bytes, nfta::EXPR_NAME).unwrap_or_default());
    let data = attr::find(bytes, nfta::EXPR_DATA).unwrap_or_default();
    if name == "byteorder" && is_idle_byteorder(data) {
        return None;
    }
    let known = match name.as_str() {
        "meta" => meta(data),
        "ct" => ct(data),
        "payload" => payload(data),
        "exthdr" => exthdr(data),
        "fib" => fib(data),
        "bitwise" => bitwise(data),
        "cmp" => cmp(data),
        "lookup" => lookup(data),
        "counter" => counter(data),
        "immediate" => immediate(data),
        "masq" => data.is_empty().then_some(Expr::Masquerade),
        "nat" => snat(data),
        _ => None,
    };
    Some(known.unwrap_or_else(|| Expr::Unknown { name, data: data.to_vec() }))
}

/// Whether a `byteorder` swaps nothing: it works on `len / size` numbers, and nft 1.0.6 puts one with
/// length 1 and size 2 behind each `meta l4proto` in a concatenation.
fn is_idle_byteorder(data: &[u8]) -> bool {
    let idle = || {
        let [sreg, dreg, op, len, size] = attr::only(data, [1, 2, 3, 4, 5])?;
        (sreg? == dreg? && op.is_some()).then_some(())?;
        Some(be32(len?)? < be32(size?)?)
    };
    idle().unwrap_or(false)
}

/// A register as the kernel numbers it: 1 to 4 of 16 bytes, 8 to 23 of 4 bytes.
fn reg(bytes: &[u8]) -> Option<Reg> {
    match be32(bytes)? {
        old @ 1..=4 => Some(Reg((old as u8 - 1) * 4)),
        new @ wire::REG32_00..=23 => Some(Reg((new - wire::REG32_00) as u8)),
        _ => None,
    }
}

fn meta(data: &[u8]) -> Option<Expr> {
    let [dreg, key] = attr::only(data, [1, 2])?;
    let number = be32(key?)?;
    let (key, _) = MetaKey::NUMBERS.into_iter().find(|(_, known)| *known == number)?;
    Some(Expr::Meta { key, dreg: reg(dreg?)? })
}

fn ct(data: &[u8]) -> Option<Expr> {
    let [dreg, key, direction] = attr::only(data, [1, 2, 3])?;
    let number = be32(key?)?;
    let (key, _) = CtKey::NUMBERS.into_iter().find(|(_, known)| *known == number)?;
    let direction = match direction {
        None => None,
        Some([0]) => Some(CtDirection::Original),
        Some([1]) => Some(CtDirection::Reply),
        Some(_) => return None,
    };
    Some(Expr::Ct { key, direction, dreg: reg(dreg?)? })
}

fn payload(data: &[u8]) -> Option<Expr> {
    let [dreg, base, offset, len] = attr::only(data, [1, 2, 3, 4])?;
    let base = match be32(base?)? {
        0 => PayloadBase::Link,
        1 => PayloadBase::Network,
        2 => PayloadBase::Transport,
        _ => return None,
    };
    Some(Expr::Payload { base, offset: be32(offset?)?, len: be32(len?)?, dreg: reg(dreg?)? })
}

fn exthdr(data: &[u8]) -> Option<Expr> {
    let [dreg, kind, offset, len, flags, op] = attr::only(data, [1, 2, 3, 4, 5, 6])?;
    let protocol = match op.map_or(Some(0), be32)? {
        0 => ExthdrProtocol::Ipv6,
        2 => ExthdrProtocol::Ipv4,
        _ => return None,
    };
    let present = match flags.map_or(Some(0), be32)? {
        0 => false,
        wire::EXTHDR_PRESENT => true,
        _ => return None,
    };
    let [kind] = *kind? else { return None };
    let (offset, len) = (be32(offset?)?, be32(len?)?);
    Some(Expr::Exthdr { protocol, kind, offset, len, present, dreg: reg(dreg?)? })
}

fn fib(data: &[u8]) -> Option<Expr> {
    let [dreg, result, flags] = attr::only(data, [1, 2, 3])?;
    let result = match be32(result?)? {
        1 => FibResult::Oif,
        3 => FibResult::AddrType,
        _ => return None,
    };
    let flags = be32(flags?)?;
    Some(Expr::Fib {
        flags: flags & !wire::FIB_PRESENT,
        result,
        present: flags & wire::FIB_PRESENT != 0,
        dreg: reg(dreg?)?,
    })
}

fn bitwise(data: &[u8]) -> Option<Expr> {
    let [sreg, dreg, len, mask, xor, op] = attr::only(data, [1, 2, 3, 4, 5, 6])?;
    if op.map_or(Some(0), be32)? != 0 {
        return None;
    }
    let (mask, xor) = (value(mask?)?, value(xor?)?);
    let len = be32(len?)? as usize;
    if mask.len() != len || xor.len() != len {
        return None;
    }
    Some(Expr::Bitwise { sreg: reg(sreg?)?, dreg: reg(dreg?)?, mask: mask.to_vec(), xor: xor.to_vec() })
}

fn cmp(data: &[u8]) -> Option<Expr> {
    let [sreg, op, data] = attr::only(data, [1, 2, 3])?;
    let op = match be32(op?)? {
        0 => CmpOp::Eq,
        1 => CmpOp::Neq,
        _ => return None,
    };
    Some(Expr::Cmp { op, sreg: reg(sreg?)?, data: value(data?)?.to_vec() })
}

fn lookup(data: &[u8]) -> Option<Expr> {
    let [set, sreg, dreg, flags] = attr::only(data, [1, 2, 3, 5])?;
    let target = match (dreg.map(be32), flags.map_or(Some(0), be32)?) {
        (None, 0) => LookupTarget::Match,
        (None, wire::LOOKUP_INV) => LookupTarget::NoMatch,
        (Some(Some(wire::REG_VERDICT)), 0) => LookupTarget::Verdict,
        (Some(_), 0) => LookupTarget::Reg(reg(dreg?)?),
        _ => return None,
    };
    Some(Expr::Lookup { set: Arc::from(attr::exact_text(set?)?), sreg: reg(sreg?)?, target })
}

fn counter(data: &[u8]) -> Option<Expr> {
    /// `NFTA_COUNTER_PAD`, which aligns 64-bit numbers on some machines.
    const PAD: u16 = 3;
    let [bytes, packets] = [1, 2].map(|kind| attr::find(data, kind).map_or(Some(0), be64));
    let known = Attrs::new(data).all(|attr| matches!(attr.kind, 1 | 2 | PAD));
    known.then_some(Expr::Counter { counts: Aside((packets?, bytes?)) })
}

fn immediate(data: &[u8]) -> Option<Expr> {
    let [dreg, data] = attr::only(data, [1, 2])?;
    if be32(dreg?)? != wire::REG_VERDICT {
        return None;
    }
    verdict(data?).map(Expr::Verdict)
}

fn snat(data: &[u8]) -> Option<Expr> {
    /// `NFT_NAT_SNAT`.
    const SNAT: u32 = 0;
    /// `NF_NAT_RANGE_MAP_IPS`, which the kernel adds by itself when there is an address.
    const MAP_IPS: u32 = 1;
    let [kind, family, min, max, flags] = attr::only(data, [1, 2, 3, 4, 7])?;
    let flags = flags.map_or(Some(0), be32)?;
    // The kernel repeats the address where none was given for the upper end.
    if be32(kind?)? != SNAT || max.is_some_and(|max| Some(max) != min) || flags & !MAP_IPS != 0 {
        return None;
    }
    Some(Expr::Snat { nfproto: u8::try_from(be32(family?)?).ok()?, address: reg(min?)? })
}

/// The bytes in a nest of data.
pub(super) fn value(data: &[u8]) -> Option<&[u8]> {
    let [value] = attr::only(data, [nfta::DATA_VALUE])?;
    value
}

/// The verdict in a nest of data.
pub(super) fn verdict(data: &[u8]) -> Option<Verdict> {
    let [inner] = attr::only(data, [nfta::DATA_VERDICT])?;
    let [code, chain] = attr::only(inner?, [nfta::VERDICT_CODE, nfta::VERDICT_CHAIN])?;
    let code = be32(code?)?.cast_signed();
    if let Some(chain) = chain {
        let chain = Arc::from(attr::exact_text(chain)?);
        return match code {
            verdict::JUMP => Some(Verdict::Jump(chain)),
            verdict::GOTO => Some(Verdict::Goto(chain)),
            _ => None,
        };
    }
    match code {
        verdict::DROP => Some(Verdict::Drop),
        verdict::ACCEPT => Some(Verdict::Accept),
        verdict::CONTINUE => Some(Verdict::Continue),
        verdict::RETURN => Some(Verdict::Return),
        _ => None,
    }
}
