//! One rule in nft syntax, from the kernel's expressions.
//!
//! nft compiles `ip daddr` to a check of the protocol, a load and a comparison; this goes back. What it
//! has no syntax for it shows with the expression's name and bytes, so that nothing is left out.

use std::collections::BTreeMap;

use super::element::{hex, value, verdict};
use crate::ruleset::{
    CmpOp, CtKey, Expr, ExthdrProtocol, FIB_DADDR, FIB_IIF, FIB_SADDR, FibResult, FieldType, LookupTarget,
    MetaKey, PayloadBase, Reg, Rule,
};

/// The statements of a rule, without its comment: `oifname @guarded_links counter drop`.
pub fn rule(rule: &Rule) -> String {
    let mut reader =
        Reader { exprs: &rule.exprs, registers: BTreeMap::new(), network: None, transport: None };
    let mut words = Vec::new();
    for index in 0..rule.exprs.len() {
        words.extend(reader.statement(index));
    }
    words.join(" ")
}

/// What a register holds: nft's words for it, and how its values are written.
#[derive(Clone)]
struct Loaded {
    words: String,
    field: Option<FieldType>,
    meaning: Meaning,
    registers: u8,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Meaning {
    Plain,
    NfProto,
    Protocol,
    L4Proto,
    EtherType,
    Exists,
    Direction,
    Status,
    State,
    /// A byte that is a number.
    Number,
    /// The first bytes of an address: what nft loads for a prefix of whole bytes.
    PrefixBytes,
    /// An address under the mask of a prefix of so many bits.
    PrefixBits(u32),
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Network {
    Ipv4,
    Ipv6,
    Arp,
}

struct Reader<'r> {
    exprs: &'r [Expr],
    registers: BTreeMap<Reg, Loaded>,
    /// The network protocol that the rule has checked for.
    network: Option<Network>,
    /// The transport protocol that the rule has checked for.
    transport: Option<u8>,
}

impl Reader<'_> {
    fn statement(&mut self, index: usize) -> Option<String> {
        let expr = &self.exprs[index];
        match expr {
            Expr::Meta { key, dreg } => {
                let (words, field, meaning) = match key {
                    MetaKey::IifName => ("iifname", Some(FieldType::IfName), Meaning::Plain),
                    MetaKey::OifName => ("oifname", Some(FieldType::IfName), Meaning::Plain),
                    MetaKey::NfProto => ("meta nfproto", None, Meaning::NfProto),
                    MetaKey::L4Proto => ("meta l4proto", Some(FieldType::InetProto), Meaning::L4Proto),
                    MetaKey::Protocol => ("meta protocol", Some(FieldType::EtherType), Meaning::Protocol),
                };
                self.load(*dreg, words.to_owned(), field, meaning, key.len());
                None
            }
            Expr::Ct { key, direction, dreg } => {
                let (words, meaning) = match key {
                    CtKey::Direction => ("ct direction", Meaning::Direction),
                    CtKey::Status => ("ct status", Meaning::Status),
                    CtKey::State => ("ct state", Meaning::State),
                };
                let words = match direction {
                    Some(direction) => format!("{words} {direction:?}").to_lowercase(),
                    None => words.to_owned(),
                };
                self.load(*dreg, words, None, meaning, 4);
                None
            }
            Expr::Payload { base, offset, len, dreg } => {
                let (words, field, meaning) = self.payload(*base, *offset, *len);
                self.load(*dreg, words, field, meaning, *len as usize);
                None
            }
            Expr::Exthdr { protocol, kind, offset, len, present, dreg } => {
                let words = match (protocol, kind) {
                    (ExthdrProtocol::Ipv4, 131) => "ip option lsrr".to_owned(),
                    (ExthdrProtocol::Ipv4, 137) => "ip option ssrr".to_owned(),
                    (ExthdrProtocol::Ipv6, 43) => "exthdr rt".to_owned(),
                    (protocol, kind) => format!("exthdr {protocol:?} {kind}").to_lowercase(),
                };
                let words = if *present { words } else { format!("{words} @{offset},{len}") };
                let meaning = if *present { Meaning::Exists } else { Meaning::Plain };
                self.load(*dreg, words, None, meaning, *len as usize);
                None
            }
            Expr::Fib { flags, result, present, dreg } => {
                let key = match *flags & !32 {
                    flags if flags == FIB_SADDR => "saddr".to_owned(),
                    flags if flags == FIB_DADDR => "daddr".to_owned(),
                    flags if flags == FIB_DADDR | FIB_IIF => "daddr . iif".to_owned(),
                    flags => format!("{flags:#x}"),
                };
                let (result, field) = match result {
                    FibResult::Oif => ("oif", None),
                    FibResult::AddrType => ("type", Some(FieldType::FibAddrType)),
                };
                let meaning = if *present { Meaning::Exists } else { Meaning::Plain };
                self.load(*dreg, format!("fib {key} {result}"), field, meaning, 4);
                None
            }
            Expr::Bitwise { sreg, dreg, mask, xor } => {
                let loaded = self.loaded(*sreg);
                if loaded.words == "@nh,0,8"
                    && self.network == Some(Network::Ipv4)
                    && *mask == [0x0f]
                    && *xor == [0]
                {
                    let words = "ip hdrlength".to_owned();
                    self.registers.insert(*dreg, Loaded { words, meaning: Meaning::Number, ..loaded });
                    return None;
                }
                if let Some(bits) = prefix_bits(&loaded, mask, xor) {
                    self.registers.insert(*dreg, Loaded { meaning: Meaning::PrefixBits(bits), ..loaded });
                    return None;
                }
                let is_xor = xor.iter().any(|byte| *byte != 0);
                let words = match (loaded.meaning, is_xor) {
                    (Meaning::Status, false) => loaded.words.clone(),
                    (Meaning::State, false) if u32_of(mask) == Some(2) => {
                        format!("{} established", loaded.words)
                    }
                    (_, false) => format!("{} & {}", loaded.words, hex(mask)),
                    (_, true) => format!("({} & {}) ^ {}", loaded.words, hex(mask), hex(xor)),
                };
                let words = match (loaded.meaning, u32_of(mask)) {
                    (Meaning::Status, Some(0x20)) if !is_xor => format!("{words} dnat"),
                    (Meaning::Status, Some(bits)) if !is_xor => format!("{words} {bits:#x}"),
                    _ => words,
                };
                self.registers.insert(*dreg, Loaded { words, field: None, ..loaded });
                None
            }
            Expr::Cmp { op, sreg, data } => self.comparison(index, *op, *sreg, data),
            Expr::Lookup { set, sreg, target } => {
                let key = self.key(*sreg, index);
                match target {
                    LookupTarget::Match => Some(format!("{key} @{set}")),
                    LookupTarget::NoMatch => Some(format!("{key} != @{set}")),
                    LookupTarget::Verdict => Some(format!("{key} vmap @{set}")),
                    LookupTarget::Reg(dreg) => {
                        self.registers.clear();
                        self.load(*dreg, format!("{key} map @{set}"), None, Meaning::Plain, 16);
                        None
                    }
                }
            }
            Expr::Counter { .. } => Some("counter".to_owned()),
            Expr::Verdict(decision) => Some(verdict(decision)),
            Expr::Masquerade => Some("masquerade".to_owned()),
            Expr::Snat { nfproto, address } => {
                let family = if *nfproto == 10 { "ip6" } else { "ip" };
                Some(format!("snat {family} to {}", self.loaded(*address).words))
            }
            Expr::Unknown { name, data } => Some(format!("[{} {}]", printable(name), hex(data))),
        }
    }

    fn load(&mut self, dreg: Reg, words: String, field: Option<FieldType>, meaning: Meaning, len: usize) {
        // Whatever else overlaps is overwritten.
        let registers = u8::try_from(len.div_ceil(4)).unwrap_or(u8::MAX);
        self.registers.retain(|reg, loaded| {
            reg.0.saturating_add(loaded.registers) <= dreg.0 || reg.0 >= dreg.0.saturating_add(registers)
        });
        self.registers.insert(dreg, Loaded { words, field, meaning, registers });
    }

    fn loaded(&self, sreg: Reg) -> Loaded {
        self.registers.get(&sreg).cloned().unwrap_or(Loaded {
            words: format!("reg {}", sreg.0),
            field: None,
            meaning: Meaning::Plain,
            registers: 1,
        })
    }

    /// All fields from a register on, up to the first gap: the key of a lookup. Only what was loaded
    /// since the last statement counts, because nft loads the fields of a key afresh.
    fn key(&self, sreg: Reg, index: usize) -> String {
        let fields = self.exprs[..index]
            .iter()
            .rev()
            .take_while(|expr| {
                matches!(
                    expr,
                    Expr::Meta { .. }
                        | Expr::Ct { .. }
                        | Expr::Payload { .. }
                        | Expr::Exthdr { .. }
                        | Expr::Fib { .. }
                        | Expr::Bitwise { .. }
                )
            })
            .count()
            .max(1);
        let mut words = Vec::new();
        let mut next = sreg.0;
        while let Some(loaded) = self.registers.get(&Reg(next)) {
            words.push(loaded.words.as_str());
            next = next.saturating_add(loaded.registers);
            if words.len() == fields {
                break;
            }
        }
        if words.is_empty() { format!("reg {}", sreg.0) } else { words.join(" . ") }
    }

    fn payload(&self, base: PayloadBase, offset: u32, len: u32) -> (String, Option<FieldType>, Meaning) {
        use FieldType::{EtherType, IcmpType, Icmpv6Type, InetService, Ipv4Addr, Ipv6Addr};
        let known = match (base, offset, len, self.network, self.transport) {
            (PayloadBase::Network, 12, 4, None | Some(Network::Ipv4), _) => Some(("ip saddr", Ipv4Addr)),
            (PayloadBase::Network, 16, 4, None | Some(Network::Ipv4), _) => Some(("ip daddr", Ipv4Addr)),
            (PayloadBase::Network, 8, 16, None | Some(Network::Ipv6), _) => Some(("ip6 saddr", Ipv6Addr)),
            (PayloadBase::Network, 24, 16, None | Some(Network::Ipv6), _) => Some(("ip6 daddr", Ipv6Addr)),
            (PayloadBase::Network, 24, 4, Some(Network::Arp), _) => Some(("arp daddr ip", Ipv4Addr)),
            (PayloadBase::Transport, 0, 1, _, Some(1)) => Some(("icmp type", IcmpType)),
            (PayloadBase::Transport, 0, 1, _, Some(58)) => Some(("icmpv6 type", Icmpv6Type)),
            (PayloadBase::Transport, 0, 2, _, Some(6)) => Some(("tcp sport", InetService)),
            (PayloadBase::Transport, 2, 2, _, Some(6)) => Some(("tcp dport", InetService)),
            (PayloadBase::Transport, 0, 2, _, Some(17)) => Some(("udp sport", InetService)),
            (PayloadBase::Transport, 2, 2, _, Some(17)) => Some(("udp dport", InetService)),
            (PayloadBase::Transport, 0, 2, _, _) => Some(("th sport", InetService)),
            (PayloadBase::Transport, 2, 2, _, _) => Some(("th dport", InetService)),
            (PayloadBase::Link, 12, 2, _, _) => {
                return ("ether type".to_owned(), Some(EtherType), Meaning::EtherType);
            }
            _ => None,
        };
        if let Some((words, field)) = known {
            return (words.to_owned(), Some(field), Meaning::Plain);
        }
        let part = match (base, offset, self.network) {
            (PayloadBase::Network, 12, Some(Network::Ipv4)) => Some(("ip saddr", Ipv4Addr)),
            (PayloadBase::Network, 16, Some(Network::Ipv4)) => Some(("ip daddr", Ipv4Addr)),
            (PayloadBase::Network, 8, Some(Network::Ipv6)) => Some(("ip6 saddr", Ipv6Addr)),
            (PayloadBase::Network, 24, Some(Network::Ipv6)) => Some(("ip6 daddr", Ipv6Addr)),
            _ => None,
        };
        if let Some((words, field)) = part.filter(|(_, field)| (len as usize) < field.len()) {
            return (words.to_owned(), Some(field), Meaning::PrefixBytes);
        }
        let base = match base {
            PayloadBase::Link => "ll",
            PayloadBase::Network => "nh",
            PayloadBase::Transport => "th",
        };
        let bits = |bytes: u32| u64::from(bytes) * 8;
        (format!("@{base},{},{}", bits(offset), bits(len)), None, Meaning::Plain)
    }

    fn comparison(&mut self, index: usize, op: CmpOp, sreg: Reg, data: &[u8]) -> Option<String> {
        let loaded = self.loaded(sreg);
        let later = |base: PayloadBase| {
            self.exprs[index..].iter().any(|expr| match expr {
                Expr::Payload { base: b, .. } => *b == base,
                Expr::Exthdr { .. } => base == PayloadBase::Network,
                _ => false,
            })
        };
        if op == CmpOp::Eq {
            let network = match (loaded.meaning, data) {
                (Meaning::NfProto, [2]) | (Meaning::Protocol, [0x08, 0x00]) => Some(Network::Ipv4),
                (Meaning::NfProto, [10]) | (Meaning::Protocol, [0x86, 0xdd]) => Some(Network::Ipv6),
                (Meaning::EtherType, [0x08, 0x06]) => Some(Network::Arp),
                _ => None,
            };
            if network.is_some() && self.network.is_none() {
                self.network = network;
                if later(PayloadBase::Network) {
                    return None;
                }
            }
            if let (Meaning::L4Proto, [protocol]) = (loaded.meaning, data) {
                self.transport = Some(*protocol);
                if later(PayloadBase::Transport) {
                    return None;
                }
            }
        }
        let sign = match op {
            CmpOp::Eq => "",
            CmpOp::Neq => "!= ",
        };
        let right = match (loaded.meaning, data) {
            (Meaning::Exists, data) if is_number(data, 1) => "exists".to_owned(),
            (Meaning::Exists, data) if is_number(data, 0) => "missing".to_owned(),
            (Meaning::NfProto, [2]) => "ipv4".to_owned(),
            (Meaning::NfProto, [10]) => "ipv6".to_owned(),
            (Meaning::Direction, [0]) => "original".to_owned(),
            (Meaning::Direction, [1]) => "reply".to_owned(),
            // `ct status dnat` is a mask and a comparison with nothing set.
            (Meaning::Status, data) if op == CmpOp::Neq && data.iter().all(|byte| *byte == 0) => {
                return Some(loaded.words);
            }
            (Meaning::State, data)
                if op == CmpOp::Neq
                    && loaded.words.ends_with(" established")
                    && data.iter().all(|byte| *byte == 0) =>
            {
                return Some(loaded.words);
            }
            (Meaning::Number, [number]) => number.to_string(),
            _ => match (loaded.field, loaded.meaning) {
                (Some(field), Meaning::PrefixBytes) => {
                    let mut address = data.to_vec();
                    address.resize(field.len(), 0);
                    format!("{}/{}", value(field, &address), data.len() * 8)
                }
                (Some(field), Meaning::PrefixBits(bits)) => format!("{}/{bits}", value(field, data)),
                (Some(field), _) => value(field, data),
                (None, _) => address_prefix(&loaded.words, data).unwrap_or_else(|| hex(data)),
            },
        };
        Some(format!("{} {sign}{right}", loaded.words))
    }
}

/// The length of the prefix that a mask leaves of an address, if it is one.
fn prefix_bits(loaded: &Loaded, mask: &[u8], xor: &[u8]) -> Option<u32> {
    let is_address = matches!(loaded.field, Some(FieldType::Ipv4Addr | FieldType::Ipv6Addr));
    let ones: u32 = mask.iter().map(|byte| byte.leading_ones()).sum();
    let set: u32 = mask.iter().map(|byte| byte.count_ones()).sum();
    // All bits that are set lead: no byte has one behind a zero, and no byte behind such a byte has any.
    let is_prefix =
        ones == set && mask.iter().skip_while(|byte| **byte == 0xff).skip(1).all(|byte| *byte == 0);
    (is_address && is_prefix && xor.iter().all(|byte| *byte == 0)).then_some(ones)
}

/// nft loads only the first bytes of an address for a prefix of 8, 16 or 24 bits.
fn address_prefix(words: &str, data: &[u8]) -> Option<String> {
    let prefix = match (words, data) {
        ("@nh,96,8" | "@nh,128,8", [a]) => format!("{a}.0.0.0/8"),
        ("@nh,96,16" | "@nh,128,16", [a, b]) => format!("{a}.{b}.0.0/16"),
        ("@nh,96,24" | "@nh,128,24", [a, b, c]) => format!("{a}.{b}.{c}.0/24"),
        _ => return None,
    };
    Some(prefix)
}

/// Whether a byte, or a word in host order, is that number.
fn is_number(data: &[u8], number: u8) -> bool {
    data == [number] || u32_of(data) == Some(u32::from(number))
}

fn u32_of(bytes: &[u8]) -> Option<u32> {
    <[u8; 4]>::try_from(bytes).ok().map(u32::from_ne_bytes)
}

/// Text from the kernel that goes to a terminal.
fn printable(text: &str) -> String {
    text.chars().map(|c| if c.is_ascii_graphic() { c } else { '?' }).collect()
}
