//! What a rule set of the plan does to a packet, worked out without a kernel.
//!
//! Only the expressions that isoplan writes are known here; anything else is a panic.

use std::net::IpAddr;

use isoplan::ruleset::{
    CmpOp, CtKey, Expr, Family, FibResult, FieldType, LookupTarget, MetaKey, PayloadBase, Ruleset, Set,
    Table, Verdict,
};

/// A packet at a hook.
#[derive(Debug, Clone)]
pub(super) struct Packet {
    pub(super) iif: String,
    pub(super) oif: String,
    pub(super) source: IpAddr,
    pub(super) destination: IpAddr,
    pub(super) protocol: u8,
    pub(super) source_port: u16,
    pub(super) destination_port: u16,
    pub(super) is_reply: bool,
    pub(super) is_published: bool,
    /// An IPv4 option that it has.
    pub(super) option: Option<u8>,
    pub(super) is_tagged: bool,
    /// `RTN_*` of the destination on the incoming link.
    pub(super) type_on_iif: u32,
    /// Whether the route to the destination leaves by the incoming link.
    pub(super) stays: bool,
}

const REGISTERS: usize = 16 * 4;

/// The id of the rule that drops a packet in a chain of a base hook; nothing where it is let through.
pub(super) fn dropped_by(ruleset: &Ruleset, family: Family, chain: &str, packet: &Packet) -> Option<String> {
    let table = ruleset.get(&family)?;
    match run(table, chain, packet)? {
        (Verdict::Drop, id) => Some(id),
        _ => None,
    }
}

/// The verdict that ends it, with the id of its rule; nothing at the end of the chain.
fn run(table: &Table, chain: &str, packet: &Packet) -> Option<(Verdict, String)> {
    for rule in &table.chains.get(chain)?.rules {
        let id = || rule.comment.split(' ').next().unwrap_or_default().to_owned();
        match verdict(table, &rule.exprs, packet) {
            None => {}
            Some(Verdict::Goto(target)) => return run(table, &target, packet),
            Some(Verdict::Jump(target)) => {
                if let Some(ended) = run(table, &target, packet) {
                    return Some(ended);
                }
            }
            Some(verdict) => return Some((verdict, id())),
        }
    }
    None
}

fn verdict(table: &Table, exprs: &[Expr], packet: &Packet) -> Option<Verdict> {
    let mut registers = [0_u8; REGISTERS];
    for expr in exprs {
        match expr {
            Expr::Counter { .. } => {}
            Expr::Verdict(verdict) => return Some(verdict.clone()),
            Expr::Cmp { op, sreg, data } => {
                let at = usize::from(sreg.0) * 4;
                let is_equal = registers[at..at + data.len()] == data[..];
                if is_equal != (*op == CmpOp::Eq) {
                    return None;
                }
            }
            Expr::Bitwise { sreg, dreg, mask, xor } => {
                let (from, to) = (usize::from(sreg.0) * 4, usize::from(dreg.0) * 4);
                for (place, (mask, xor)) in mask.iter().zip(xor).enumerate() {
                    registers[to + place] = registers[from + place] & mask ^ xor;
                }
            }
            Expr::Lookup { set, sreg, target } => {
                let set = &table.sets[set];
                let at = usize::from(sreg.0) * 4;
                let found = find(set, &registers[at..]);
                match (target, found) {
                    (LookupTarget::Match, Some(_)) | (LookupTarget::NoMatch, None) => {}
                    (LookupTarget::Verdict, Some(verdict)) => return verdict,
                    _ => return None,
                }
            }
            load => {
                let (dreg, bytes) = loaded(load, packet)?;
                let at = usize::from(dreg) * 4;
                let end = (at + bytes.len()).next_multiple_of(4).min(REGISTERS);
                registers[at..end].fill(0);
                registers[at..at + bytes.len()].copy_from_slice(&bytes);
            }
        }
    }
    None
}

/// The verdict of the element that has a key, where there is one.
fn find(set: &Set, registers: &[u8]) -> Option<Option<Verdict>> {
    let is_within = |first: &[u8], last: &[u8]| {
        let mut at = 0;
        set.key.iter().all(|field: &FieldType| {
            let part = at..at + field.len();
            at = part.end.next_multiple_of(4);
            let value = &registers[part.clone()];
            first[part.clone()] <= *value && *value <= last[part]
        })
    };
    let mut elements = set.elements.iter();
    let found = elements.find(|(key, _)| is_within(key.first(), key.upper()));
    found.map(|(_, data)| data.verdict.clone())
}

/// The register and what an expression loads into it; nothing where it does not match.
fn loaded(expr: &Expr, packet: &Packet) -> Option<(u8, Vec<u8>)> {
    let is_ipv4 = packet.source.is_ipv4();
    let name = |link: &str| {
        let mut bytes = link.as_bytes().to_vec();
        bytes.resize(16, 0);
        bytes
    };
    let octets = |address: IpAddr| match address {
        IpAddr::V4(address) => address.octets().to_vec(),
        IpAddr::V6(address) => address.octets().to_vec(),
    };
    Some(match expr {
        Expr::Meta { key, dreg } => (
            dreg.0,
            match key {
                MetaKey::IifName => name(&packet.iif),
                MetaKey::OifName => name(&packet.oif),
                MetaKey::NfProto => vec![if is_ipv4 { 2 } else { 10 }],
                MetaKey::L4Proto => vec![packet.protocol],
                // The kernel shows what is behind the first tag.
                MetaKey::Protocol if is_ipv4 => vec![0x08, 0x00],
                MetaKey::Protocol => vec![0x86, 0xdd],
            },
        ),
        Expr::Ct { key, dreg, .. } => (
            dreg.0,
            match key {
                CtKey::Direction => vec![u8::from(packet.is_reply)],
                // IPS_DST_NAT
                CtKey::Status => (u32::from(packet.is_published) << 5).to_ne_bytes().to_vec(),
                CtKey::State => panic!("no rule of isoplan asks for the state"),
            },
        ),
        Expr::Payload { base, offset, len, dreg } => {
            let bytes = match (base, offset, len) {
                // Version and length of the header, in words.
                (PayloadBase::Network, 0, 1) if is_ipv4 => vec![0x45 + u8::from(packet.option.is_some())],
                (PayloadBase::Network, 12, 1..=4) if is_ipv4 => octets(packet.source),
                (PayloadBase::Network, 16, 1..=4) if is_ipv4 => octets(packet.destination),
                (PayloadBase::Network, 8, 1..=16) if !is_ipv4 => octets(packet.source),
                (PayloadBase::Network, 24, 5..=16) if !is_ipv4 => octets(packet.destination),
                (PayloadBase::Transport, 0, 2) => packet.source_port.to_be_bytes().to_vec(),
                (PayloadBase::Transport, 2, 2) => packet.destination_port.to_be_bytes().to_vec(),
                // An echo, or whatever else is neither a redirect nor neighbour discovery.
                (PayloadBase::Transport, 0, 1) => vec![if is_ipv4 { 8 } else { 128 }],
                (PayloadBase::Link, 12, 2) if packet.is_tagged => vec![0x81, 0x00],
                (PayloadBase::Link, 12, 2) if is_ipv4 => vec![0x08, 0x00],
                (PayloadBase::Link, 12, 2) => vec![0x86, 0xdd],
                // The target of an ARP packet, which this is not.
                (PayloadBase::Network, 24, 4) => return None,
                other => panic!("no rule of isoplan loads {other:?}"),
            };
            // The first bytes of an address are its prefix.
            (dreg.0, bytes.into_iter().take(*len as usize).collect())
        }
        Expr::Exthdr { kind, dreg, .. } => (dreg.0, vec![u8::from(packet.option == Some(*kind))]),
        Expr::Fib { result: FibResult::Oif, dreg, .. } => (dreg.0, vec![u8::from(packet.stays)]),
        Expr::Fib { result: FibResult::AddrType, dreg, .. } => {
            (dreg.0, packet.type_on_iif.to_ne_bytes().to_vec())
        }
        other => panic!("no rule of isoplan has {other:?}"),
    })
}
