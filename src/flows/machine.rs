//! The rules of isoplan's tables, carried out on a packet of a flow: `nft_do_chain` in small.
//!
//! It knows the expressions that isoplan uses. A rule with any other does not match: whoever added it to a live table
//! is not judged here.

use std::net::IpAddr;

use super::Flow;
use super::paths::Paths;
use crate::ruleset::{
    Chain, ChainKind, CmpOp, CtKey, ElementData, ElementKey, Expr, FIB_DADDR, FIB_IIF, Family, FibResult,
    Hook, LookupTarget, MetaKey, PayloadBase, Policy, Reg, Rule, Ruleset, Set, Table, Verdict, padded_name,
};

/// Which way a packet goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Direction {
    Original,
    Reply,
}

/// A packet of an established flow, between destination and source NAT.
pub(super) struct Packet<'p> {
    flow: &'p Flow,
    direction: Direction,
    source: IpAddr,
    destination: IpAddr,
    ports: [u16; 2],
    icmp_type: u8,
    iif: &'p str,
    oif: &'p str,
}

impl<'p> Packet<'p> {
    pub(super) fn new(flow: &'p Flow, direction: Direction, paths: &Paths<'p>) -> Self {
        let (there, back) = (&flow.original, &flow.reply);
        // Destination NAT is done and source NAT is not, or undone already.
        let ends = [(there.source, there.source_port), (back.source, back.source_port)];
        let [(source, sport), (destination, dport)] = match direction {
            Direction::Original => ends,
            Direction::Reply => [ends[1], ends[0]],
        };
        let icmp_type = if direction == Direction::Original { there.icmp_type } else { back.icmp_type };
        let (iif, oif) = (paths.name_to(source), paths.name_to(destination));
        Self { flow, direction, source, destination, ports: [sport, dport], icmp_type, iif, oif }
    }

    pub(super) fn incoming(&self) -> &'p str {
        self.iif
    }

    fn network_header(&self) -> Vec<u8> {
        match (self.source, self.destination) {
            (IpAddr::V4(source), IpAddr::V4(destination)) => [
                &[0x45, 0, 0, 0, 0, 0, 0, 0, 64, self.flow.protocol, 0, 0][..],
                &source.octets(),
                &destination.octets(),
            ]
            .concat(),
            (source, destination) => {
                let octets = |address: IpAddr| match address {
                    IpAddr::V4(address) => address.to_ipv6_mapped().octets(),
                    IpAddr::V6(address) => address.octets(),
                };
                [&[0x60, 0, 0, 0, 0, 0, self.flow.protocol, 64][..], &octets(source), &octets(destination)]
                    .concat()
            }
        }
    }

    fn transport_header(&self) -> Vec<u8> {
        match self.flow.protocol {
            1 | 58 => vec![self.icmp_type, 0, 0, 0],
            6 | 17 | 33 | 132 | 136 => [self.ports[0].to_be_bytes(), self.ports[1].to_be_bytes()].concat(),
            _ => Vec::new(),
        }
    }
}

/// Whether the base chains of a hook drop a packet, of all tables of a rule set that see routed packets.
pub(super) fn is_dropped(ruleset: &Ruleset, hook: Hook, packet: &Packet<'_>, paths: &Paths<'_>) -> bool {
    let tables = ruleset.values().filter(|table| table.family == Family::Inet && table.flags & 1 == 0);
    tables.into_iter().any(|table| {
        let at_hook = |chain: &&Chain| {
            let base = chain.base.as_ref();
            base.is_some_and(|base| base.hook == hook && base.kind == ChainKind::Filter)
        };
        let mut chains: Vec<&Chain> = table.chains.values().filter(at_hook).collect();
        chains.sort_by_key(|chain| chain.base.as_ref().map(|base| base.priority));
        chains.into_iter().any(|chain| {
            let decided = Machine { table, packet, paths, registers: [0; 64] }.chain(chain, 0);
            let policy = chain.base.as_ref().map(|base| base.policy);
            match decided {
                Some(decided) => decided == Decided::Drop,
                None => policy == Some(Policy::Drop),
            }
        })
    })
}

#[derive(PartialEq, Eq)]
enum Decided {
    Accept,
    Drop,
}

/// What a rule says to do next.
enum Next {
    Rule,
    Back,
    Decided(Decided),
    Jump(String, bool),
}

struct Machine<'m> {
    table: &'m Table,
    packet: &'m Packet<'m>,
    paths: &'m Paths<'m>,
    registers: [u8; 64],
}

impl Machine<'_> {
    /// `NFT_JUMP_STACK_SIZE`.
    const DEPTH: usize = 16;

    fn chain(&mut self, chain: &Chain, depth: usize) -> Option<Decided> {
        for rule in &chain.rules {
            match self.rule(rule) {
                Next::Rule => {}
                Next::Back => return None,
                Next::Decided(decided) => return Some(decided),
                Next::Jump(target, comes_back) => {
                    let target = self.table.chains.get(target.as_str()).filter(|_| depth < Self::DEPTH)?;
                    let decided = self.chain(target, depth + 1);
                    if decided.is_some() || !comes_back {
                        return decided;
                    }
                }
            }
        }
        None
    }

    fn rule(&mut self, rule: &Rule) -> Next {
        for expr in &rule.exprs {
            match self.step(expr) {
                Some(None) => {}
                None => return Next::Rule,
                Some(Some(verdict)) => match verdict {
                    Verdict::Accept => return Next::Decided(Decided::Accept),
                    Verdict::Drop => return Next::Decided(Decided::Drop),
                    Verdict::Continue => return Next::Rule,
                    Verdict::Return => return Next::Back,
                    Verdict::Jump(chain) => return Next::Jump(chain.to_string(), true),
                    Verdict::Goto(chain) => return Next::Jump(chain.to_string(), false),
                },
            }
        }
        Next::Rule
    }

    /// One expression: nothing where it does not match, else the verdict where it has one.
    fn step(&mut self, expr: &Expr) -> Option<Option<Verdict>> {
        match expr {
            Expr::Meta { key, dreg } => {
                let bytes = match key {
                    MetaKey::IifName => padded_name(self.packet.iif).to_vec(),
                    MetaKey::OifName => padded_name(self.packet.oif).to_vec(),
                    MetaKey::NfProto => vec![if self.packet.source.is_ipv4() { 2 } else { 10 }],
                    MetaKey::L4Proto => vec![self.packet.flow.protocol],
                    MetaKey::Protocol => {
                        if self.packet.source.is_ipv4() {
                            vec![0x08, 0x00]
                        } else {
                            vec![0x86, 0xdd]
                        }
                    }
                };
                self.load(*dreg, &bytes)
            }
            Expr::Ct { key, dreg, .. } => {
                let bytes = self.conntrack(*key);
                self.load(*dreg, &bytes)
            }
            Expr::Payload { base, offset, len, dreg } => {
                let header = match base {
                    PayloadBase::Link => return None,
                    PayloadBase::Network => self.packet.network_header(),
                    PayloadBase::Transport => self.packet.transport_header(),
                };
                let (offset, len) = (*offset as usize, *len as usize);
                let bytes = header.get(offset..offset.checked_add(len)?)?.to_vec();
                self.load(*dreg, &bytes)
            }
            // Extension headers and options: a packet of a flow has none that rules ask for.
            Expr::Exthdr { present: true, dreg, .. } => self.load(*dreg, &[0]),
            Expr::Exthdr { .. } => None,
            Expr::Fib { flags, result, present, dreg } => {
                let address =
                    if flags & FIB_DADDR != 0 { self.packet.destination } else { self.packet.source };
                let on = (flags & FIB_IIF != 0).then_some(self.packet.iif);
                let bytes = match result {
                    FibResult::AddrType => self.paths.kind(address, on).to_ne_bytes().to_vec(),
                    FibResult::Oif if *present => {
                        let leaves_by = self.paths.name_to(address);
                        vec![u8::from(on.is_none_or(|on| on == leaves_by))]
                    }
                    FibResult::Oif => return None,
                };
                self.load(*dreg, &bytes)
            }
            Expr::Bitwise { sreg, dreg, mask, xor } => {
                let value = self.value(*sreg, mask.len())?;
                let bytes: Vec<u8> =
                    value.iter().zip(mask).zip(xor).map(|((byte, mask), xor)| (byte & mask) ^ xor).collect();
                self.load(*dreg, &bytes)
            }
            Expr::Cmp { op, sreg, data } => {
                let is_equal = self.value(*sreg, data.len())? == data.as_slice();
                (is_equal == (*op == CmpOp::Eq)).then_some(None)
            }
            Expr::Lookup { set, sreg, target } => {
                let set = self.table.sets.get(set)?;
                let found = find(set, self.value(*sreg, set.key_len())?);
                match target {
                    LookupTarget::Match => found.is_some().then_some(None),
                    LookupTarget::NoMatch => found.is_none().then_some(None),
                    LookupTarget::Verdict => Some(Some(found?.verdict.clone()?)),
                    LookupTarget::Reg(dreg) => {
                        let value = found?.value.clone()?;
                        self.load(*dreg, &value)
                    }
                }
            }
            Expr::Counter { .. } => Some(None),
            Expr::Verdict(verdict) => Some(Some(verdict.clone())),
            Expr::Masquerade | Expr::Snat { .. } => Some(Some(Verdict::Accept)),
            Expr::Unknown { .. } => None,
        }
    }

    fn conntrack(&self, key: CtKey) -> Vec<u8> {
        /// `NF_CT_STATE_BIT(IP_CT_NEW)` and of `IP_CT_ESTABLISHED`.
        const NEW: u32 = 8;
        const ESTABLISHED: u32 = 2;
        let is_reply = self.packet.direction == Direction::Reply;
        match key {
            CtKey::State if self.packet.flow.is_established() || is_reply => {
                ESTABLISHED.to_ne_bytes().to_vec()
            }
            CtKey::State => NEW.to_ne_bytes().to_vec(),
            CtKey::Direction => vec![u8::from(is_reply)],
            CtKey::Status => self.packet.flow.status.to_ne_bytes().to_vec(),
        }
    }

    /// Loads bytes from a register on; the rest of the last register is zero, as the kernel leaves it.
    fn load(&mut self, dreg: Reg, bytes: &[u8]) -> Option<Option<Verdict>> {
        let start = usize::from(dreg.0) * 4;
        let room = self.registers.get_mut(start..start + bytes.len().next_multiple_of(4))?;
        room.fill(0);
        room[..bytes.len()].copy_from_slice(bytes);
        Some(None)
    }

    fn value(&self, sreg: Reg, len: usize) -> Option<&[u8]> {
        let start = usize::from(sreg.0) * 4;
        self.registers.get(start..start.checked_add(len)?)
    }
}

/// The element that a key is in.
fn find<'s>(set: &'s Set, key: &[u8]) -> Option<&'s ElementData> {
    if let Some(data) = set.elements.get(&ElementKey::value(key)) {
        return Some(data);
    }
    if !set.interval {
        return None;
    }
    if set.is_concat() {
        let within = |element: &ElementKey| {
            let mut start = 0;
            set.key.iter().all(|field| {
                let part = start..start + field.len();
                start += field.len().next_multiple_of(4);
                let ends =
                    (element.first().get(part.clone()), element.upper().get(part.clone()), key.get(part));
                matches!(ends, (Some(first), Some(last), Some(key)) if first <= key && key <= last)
            })
        };
        return set.elements.iter().find(|(element, _)| within(element)).map(|(_, data)| data);
    }
    // No two intervals of such a set overlap.
    let last = ElementKey::range(key, vec![u8::MAX; key.len()]);
    let (element, data) = set.elements.last_up_to(&last)?;
    (element.upper() >= key).then_some(data)
}
