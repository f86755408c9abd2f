//! Building rules: fields of packets, lookups, and the dependencies that nft would add.
//!
//! The expressions come out exactly as nft compiles the same syntax, so that a rendered rule set that
//! somebody loads with `nft -f` reads back as no difference.

use std::net::IpAddr;
use std::sync::Arc;

use ipnet::IpNet;

use crate::ruleset::{
    Aside, COMMENT_MAX, CmpOp, CtKey, Expr, ExthdrProtocol, FIB_DADDR, FIB_IIF, FIB_SADDR, FibResult,
    LookupTarget, MetaKey, PayloadBase, Reg, Rule, Verdict,
};
use crate::topology::EntryId;

/// A packet field that can be (part of) the key of a lookup.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Field {
    Iif,
    Oif,
    Saddr4,
    Daddr4,
    Saddr6,
    Daddr6,
    /// The target address of an ARP packet, in the bridge family.
    ArpTarget,
    L4Proto,
    /// Destination port of whatever transport protocol there is.
    Dport,
    Sport,
    /// Destination port of UDP; other protocols do not match.
    UdpDport,
    EtherType,
    IcmpType,
    Icmpv6Type,
    /// The type that the destination address has on the incoming link.
    DaddrTypeOnIif,
}

/// What has to be matched before a field may be loaded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Needs {
    /// An NFPROTO, or in the bridge family the ethertype of it.
    Ipv4,
    Ipv6,
    Arp,
    Udp,
    Icmp,
    Icmpv6,
}

impl Field {
    fn needs(self) -> &'static [Needs] {
        match self {
            Self::Saddr4 | Self::Daddr4 => &[Needs::Ipv4],
            Self::Saddr6 | Self::Daddr6 => &[Needs::Ipv6],
            Self::ArpTarget => &[Needs::Arp],
            Self::UdpDport => &[Needs::Udp],
            Self::IcmpType => &[Needs::Ipv4, Needs::Icmp],
            Self::Icmpv6Type => &[Needs::Ipv6, Needs::Icmpv6],
            _ => &[],
        }
    }

    /// Length in a register, padded to whole registers.
    fn registers(self) -> u8 {
        match self {
            Self::Iif | Self::Oif | Self::Saddr6 | Self::Daddr6 => 4,
            _ => 1,
        }
    }

    fn load(self, dreg: Reg) -> Expr {
        let payload = |base, offset, len| Expr::Payload { base, offset, len, dreg };
        match self {
            Self::Iif => Expr::Meta { key: MetaKey::IifName, dreg },
            Self::Oif => Expr::Meta { key: MetaKey::OifName, dreg },
            Self::L4Proto => Expr::Meta { key: MetaKey::L4Proto, dreg },
            Self::Saddr4 => payload(PayloadBase::Network, 12, 4),
            Self::Daddr4 => payload(PayloadBase::Network, 16, 4),
            Self::Saddr6 => payload(PayloadBase::Network, 8, 16),
            Self::Daddr6 => payload(PayloadBase::Network, 24, 16),
            Self::ArpTarget => payload(PayloadBase::Network, 24, 4),
            Self::Sport => payload(PayloadBase::Transport, 0, 2),
            Self::Dport | Self::UdpDport => payload(PayloadBase::Transport, 2, 2),
            Self::EtherType => payload(PayloadBase::Link, 12, 2),
            Self::IcmpType | Self::Icmpv6Type => payload(PayloadBase::Transport, 0, 1),
            Self::DaddrTypeOnIif => {
                Expr::Fib { flags: FIB_DADDR | FIB_IIF, result: FibResult::AddrType, present: false, dreg }
            }
        }
    }
}

/// `RTN_UNICAST` of <linux/rtnetlink.h>: a gateway or direct route.
const RTN_UNICAST: u32 = 1;

/// `IPS_DST_NAT` in `enum ip_conntrack_status`: the connection was rewritten to its destination.
const IPS_DST_NAT: u32 = 1 << 5;
/// `NF_CT_STATE_BIT(IP_CT_ESTABLISHED)`.
const STATE_ESTABLISHED: u32 = 1 << 1;
/// `IP_CT_DIR_REPLY`.
const DIRECTION_REPLY: u8 = 1;

/// A rule in the making.
pub(super) struct RuleBuilder {
    exprs: Vec<Expr>,
    met: Vec<Needs>,
    bridge: bool,
}

impl RuleBuilder {
    pub(super) const fn inet() -> Self {
        Self { exprs: Vec::new(), met: Vec::new(), bridge: false }
    }

    pub(super) const fn bridge() -> Self {
        Self { exprs: Vec::new(), met: Vec::new(), bridge: true }
    }

    fn cmp(&mut self, data: &[u8]) {
        self.exprs.push(Expr::Cmp { op: CmpOp::Eq, sreg: Reg(0), data: data.to_vec() });
    }

    fn need(&mut self, need: Needs) {
        if self.met.contains(&need) {
            return;
        }
        self.met.push(need);
        let (load, value): (Expr, &[u8]) = match (need, self.bridge) {
            (Needs::Ipv4, false) => (Expr::Meta { key: MetaKey::NfProto, dreg: Reg(0) }, &[2]),
            (Needs::Ipv6, false) => (Expr::Meta { key: MetaKey::NfProto, dreg: Reg(0) }, &[10]),
            (Needs::Ipv4, true) => (Expr::Meta { key: MetaKey::Protocol, dreg: Reg(0) }, &[0x08, 0x00]),
            (Needs::Ipv6, true) => (Expr::Meta { key: MetaKey::Protocol, dreg: Reg(0) }, &[0x86, 0xdd]),
            (Needs::Arp, _) => (Field::EtherType.load(Reg(0)), &[0x08, 0x06]),
            (Needs::Udp, _) => (Expr::Meta { key: MetaKey::L4Proto, dreg: Reg(0) }, &[17]),
            (Needs::Icmp, _) => (Expr::Meta { key: MetaKey::L4Proto, dreg: Reg(0) }, &[1]),
            (Needs::Icmpv6, _) => (Expr::Meta { key: MetaKey::L4Proto, dreg: Reg(0) }, &[58]),
        };
        self.exprs.push(load);
        self.cmp(value);
    }

    fn lookup(mut self, fields: &[Field], set: &str, target: LookupTarget) -> Self {
        for need in fields.iter().flat_map(|field| field.needs()) {
            self.need(*need);
        }
        let mut register = 0;
        for field in fields {
            self.exprs.push(field.load(Reg(register)));
            register += field.registers();
        }
        self.exprs.push(Expr::Lookup { set: Arc::from(set), sreg: Reg(0), target });
        self
    }

    /// The fields together are in the set.
    pub(super) fn within(self, fields: &[Field], set: &str) -> Self {
        self.lookup(fields, set, LookupTarget::Match)
    }

    /// The fields together are not in the set.
    pub(super) fn outside(self, fields: &[Field], set: &str) -> Self {
        self.lookup(fields, set, LookupTarget::NoMatch)
    }

    /// Carry out the verdict that the map has for the fields, if any.
    pub(super) fn vmap(self, fields: &[Field], map: &str) -> Self {
        self.lookup(fields, map, LookupTarget::Verdict)
    }

    /// The source address is in the subnet.
    pub(super) fn source_in(self, subnet: &IpNet) -> Self {
        let field = if subnet.addr().is_ipv4() { Field::Saddr4 } else { Field::Saddr6 };
        self.in_subnet(field, subnet)
    }

    /// The destination address is in the subnet.
    pub(super) fn destination_in(self, subnet: &IpNet) -> Self {
        let field = if subnet.addr().is_ipv4() { Field::Daddr4 } else { Field::Daddr6 };
        self.in_subnet(field, subnet)
    }

    /// None of the fields is in one of the subnets, all of one family.
    pub(super) fn outside_subnets(mut self, fields: &[Field], subnets: &[IpNet]) -> Self {
        for (field, subnet) in
            fields.iter().flat_map(|field| subnets.iter().map(move |subnet| (*field, subnet)))
        {
            let data = self.prefix_of(field, subnet);
            self.exprs.push(Expr::Cmp { op: CmpOp::Neq, sreg: Reg(0), data });
        }
        self
    }

    /// An IPv4 header without options.
    pub(super) fn no_options(mut self) -> Self {
        /// In words of 32 bits: 20 bytes (RFC 791, 3.1).
        const SHORTEST: u8 = 5;
        self.need(Needs::Ipv4);
        self.exprs.push(Expr::Payload { base: PayloadBase::Network, offset: 0, len: 1, dreg: Reg(0) });
        self.exprs.push(Expr::Bitwise { sreg: Reg(0), dreg: Reg(0), mask: vec![0x0f], xor: vec![0] });
        self.cmp(&[SHORTEST]);
        self
    }

    fn in_subnet(mut self, field: Field, subnet: &IpNet) -> Self {
        let data = self.prefix_of(field, subnet);
        self.cmp(&data);
        self
    }

    /// Loads what is to be compared with a subnet, and hands back what it is compared with. nft loads the bytes of a
    /// prefix alone where it has whole ones, else the address under a mask.
    fn prefix_of(&mut self, field: Field, subnet: &IpNet) -> Vec<u8> {
        for need in field.needs() {
            self.need(*need);
        }
        let bytes = |address| match address {
            IpAddr::V4(address) => address.octets().to_vec(),
            IpAddr::V6(address) => address.octets().to_vec(),
        };
        let mut data = bytes(subnet.network());
        let bits = usize::from(subnet.prefix_len());
        let mut load = field.load(Reg(0));
        if let (Expr::Payload { len, .. }, true) = (&mut load, bits > 0 && bits % 8 == 0) {
            data.truncate(bits / 8);
            *len = u32::from(subnet.prefix_len()) / 8;
            self.exprs.push(load);
        } else {
            self.exprs.push(load);
            let (mask, xor) = (bytes(subnet.netmask()), vec![0; data.len()]);
            self.exprs.push(Expr::Bitwise { sreg: Reg(0), dreg: Reg(0), mask, xor });
        }
        data
    }

    /// The incoming link is that one.
    pub(super) fn incoming(self, name: &str) -> Self {
        self.link(Field::Iif, name)
    }

    /// The incoming or the outgoing link is that one.
    pub(super) fn link(mut self, field: Field, name: &str) -> Self {
        self.exprs.push(field.load(Reg(0)));
        self.cmp(&crate::ruleset::padded_name(name));
        self
    }

    /// The packet goes back to the one who opened its connection.
    pub(super) fn answer(mut self) -> Self {
        self.exprs.push(Expr::Ct { key: CtKey::Direction, direction: None, dreg: Reg(0) });
        self.cmp(&[DIRECTION_REPLY]);
        self
    }

    /// Conntrack has seen both directions of the packet's connection, and it is no ICMP error about it.
    pub(super) fn established(mut self) -> Self {
        self.exprs.push(Expr::Ct { key: CtKey::State, direction: None, dreg: Reg(0) });
        self.exprs.push(Expr::Bitwise {
            sreg: Reg(0),
            dreg: Reg(0),
            mask: STATE_ESTABLISHED.to_ne_bytes().to_vec(),
            xor: vec![0; 4],
        });
        self.exprs.push(Expr::Cmp { op: CmpOp::Neq, sreg: Reg(0), data: vec![0; 4] });
        self
    }

    /// The packet's connection was published: somebody's DNAT rewrote its destination.
    pub(super) fn published(mut self) -> Self {
        self.exprs.push(Expr::Ct { key: CtKey::Status, direction: None, dreg: Reg(0) });
        self.exprs.push(Expr::Bitwise {
            sreg: Reg(0),
            dreg: Reg(0),
            mask: IPS_DST_NAT.to_ne_bytes().to_vec(),
            xor: vec![0; 4],
        });
        self.exprs.push(Expr::Cmp { op: CmpOp::Neq, sreg: Reg(0), data: vec![0; 4] });
        self
    }

    /// The packet has that IPv4 option.
    pub(super) fn ipv4_option(mut self, kind: u8) -> Self {
        self.need(Needs::Ipv4);
        self.exprs.push(Expr::Exthdr {
            protocol: ExthdrProtocol::Ipv4,
            kind,
            offset: 0,
            len: 1,
            present: true,
            dreg: Reg(0),
        });
        self.cmp(&[1]);
        self
    }

    /// The route to the destination leaves by the link that the packet came in on.
    pub(super) fn stays_on_link(mut self) -> Self {
        self.exprs.push(Expr::Fib {
            flags: FIB_DADDR | FIB_IIF,
            result: FibResult::Oif,
            present: true,
            dreg: Reg(0),
        });
        self.cmp(&[1]);
        self
    }

    /// Both addresses are somebody else's: neither of this host, nor broadcast or multicast.
    pub(super) fn between_others(mut self) -> Self {
        for flags in [FIB_SADDR, FIB_DADDR] {
            let (result, dreg) = (FibResult::AddrType, Reg(0));
            self.exprs.push(Expr::Fib { flags, result, present: false, dreg });
            self.cmp(&RTN_UNICAST.to_ne_bytes());
        }
        self
    }

    pub(super) fn counted(mut self) -> Self {
        self.exprs.push(Expr::counter());
        self
    }

    /// Ends in a verdict.
    pub(super) fn verdict(mut self, verdict: Verdict) -> Self {
        self.exprs.push(Expr::Verdict(verdict));
        self
    }

    /// Count and drop: every drop of isoplan has its counter.
    pub(super) fn drop(self) -> Self {
        self.counted().verdict(Verdict::Drop)
    }

    pub(super) fn accept(self) -> Self {
        self.verdict(Verdict::Accept)
    }

    pub(super) fn masquerade(mut self) -> Self {
        self.exprs.push(Expr::Counter { counts: Aside((0, 0)) });
        self.exprs.push(Expr::Masquerade);
        self
    }

    /// Rewrite the source to the address that the map has for the links.
    pub(super) fn snat(mut self, ipv6: bool, map: &str) -> Self {
        self.need(if ipv6 { Needs::Ipv6 } else { Needs::Ipv4 });
        let mut rule = self.lookup(&[Field::Iif, Field::Oif], map, LookupTarget::Reg(Reg(0)));
        rule.exprs.push(Expr::Snat { nfproto: if ipv6 { 10 } else { 2 }, address: Reg(0) });
        rule
    }

    /// The rule, with its id and what it is for.
    pub(super) fn rule(self, id: &str, what: &str, origins: Vec<EntryId>) -> Rule {
        Rule {
            comment: clipped(&format!("{id} {what}")),
            exprs: self.exprs,
            handle: Aside(None),
            origins: Aside(origins),
        }
    }
}

/// At most [`COMMENT_MAX`] bytes, cut at a word, with `...` where something was cut.
fn clipped(comment: &str) -> String {
    const ELLIPSIS: &str = " ...";
    if comment.len() <= COMMENT_MAX {
        return comment.to_owned();
    }
    let room = COMMENT_MAX - ELLIPSIS.len();
    let end = comment.char_indices().map(|(at, _)| at).take_while(|at| *at <= room).last().unwrap_or(0);
    let end = comment[..end].rfind(' ').unwrap_or(end);
    format!("{}{ELLIPSIS}", comment[..end].trim_end_matches([',', ' ']))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_comment_fits_and_is_cut_at_a_word() {
        assert_eq!(clipped("F1 short"), "F1 short");
        let long = clipped(&format!("F1 {}", "nic eth0, ".repeat(30)));
        assert!(long.len() <= COMMENT_MAX, "{long}");
        assert!(long.ends_with("eth0, nic ..."), "{long}");
    }
}
