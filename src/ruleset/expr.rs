//! Expressions: the kernel's own steps, one level below nft syntax.
//!
//! They are what netlink carries (`NFTA_RULE_EXPRESSIONS`) and what nft compiles its syntax to, so that
//! a rule of the planner, one read back from the kernel and one that somebody loaded with `nft -f` from
//! rendered text are equal when they do the same.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::sync::Arc;

use super::Verdict;

/// A 32-bit register, counted from 0 to 15: `NFT_REG32_00` (8) plus this number on the wire.
///
/// A value longer than 4 bytes starts at its register and takes as many as it needs. The kernel hands
/// back the older 16-byte registers 1 to 4 where they fit; the reader maps those to 0, 4, 8 and 12.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
pub struct Reg(pub u8);

/// What `meta` loads: `enum nft_meta_keys`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum MetaKey {
    /// `skb->protocol`, the ethertype: 2 bytes, big endian.
    Protocol,
    /// The name of the link that a packet came in on: 16 bytes, NUL padded.
    IifName,
    /// The name of the link that a packet leaves by: 16 bytes, NUL padded.
    OifName,
    /// `NFPROTO_IPV4` (2) or `NFPROTO_IPV6` (10): 1 byte.
    NfProto,
    /// The layer 4 protocol number: 1 byte.
    L4Proto,
}

#[expect(clippy::len_without_is_empty, reason = "the length of a kind of value, which is never zero")]
impl MetaKey {
    /// Every key, with its number in `enum nft_meta_keys`.
    pub const NUMBERS: [(Self, u32); 5] = [
        (Self::Protocol, 1),
        (Self::IifName, 6),
        (Self::OifName, 7),
        (Self::NfProto, 15),
        (Self::L4Proto, 16),
    ];

    /// How many bytes it loads.
    pub const fn len(self) -> usize {
        match self {
            Self::Protocol => 2,
            Self::IifName | Self::OifName => 16,
            Self::NfProto | Self::L4Proto => 1,
        }
    }
}

/// What `ct` loads: `enum nft_ct_keys`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum CtKey {
    /// `NF_CT_STATE_BIT`s: 4 bytes, host order.
    State,
    /// 0 original, 1 reply: 1 byte.
    Direction,
    /// `IPS_*` bits: 4 bytes, host order.
    Status,
}

impl CtKey {
    /// Every key, with its number in `enum nft_ct_keys`.
    pub const NUMBERS: [(Self, u32); 3] = [(Self::State, 0), (Self::Direction, 1), (Self::Status, 2)];
}

/// Which tuple of a connection a `ct` key is about: `enum ip_conntrack_dir`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum CtDirection {
    /// From the one who opened it.
    Original,
    /// From the one who answered.
    Reply,
}

/// Where `payload` counts from: `enum nft_payload_bases`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum PayloadBase {
    /// The Ethernet header.
    Link,
    /// The IPv4, IPv6 or ARP header.
    Network,
    /// The TCP, UDP, ... header.
    Transport,
}

/// Which headers `exthdr` looks into: `enum nft_exthdr_op`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ExthdrProtocol {
    /// IPv6 extension headers.
    Ipv6,
    /// IPv4 options.
    Ipv4,
}

/// `NFTA_FIB_F_SADDR`: look up the source address.
pub const FIB_SADDR: u32 = 1;
/// `NFTA_FIB_F_DADDR`: look up the destination address.
pub const FIB_DADDR: u32 = 2;
/// `NFTA_FIB_F_IIF`: restrict the lookup to the link that the packet came in on.
pub const FIB_IIF: u32 = 8;

/// What `fib` hands back: `enum nft_fib_result`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum FibResult {
    /// The index of the outgoing link, or with `present` whether there is one.
    Oif,
    /// `RTN_*`: 4 bytes, host order.
    AddrType,
}

/// `enum nft_cmp_ops`, the two that isoplan uses. Others read as [`Expr::Unknown`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum CmpOp {
    /// Equal.
    Eq,
    /// Not equal.
    Neq,
}

/// What a lookup does with the data of the element that it finds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum LookupTarget {
    /// Nothing: the expression matches when the key is in the set.
    Match,
    /// Nothing: the expression matches when the key is *not* in the set.
    NoMatch,
    /// Carry out its verdict (`vmap`).
    Verdict,
    /// Put it into a register (`map`).
    Reg(Reg),
}

/// One step of a rule.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Expr {
    /// Load packet metadata.
    Meta {
        /// What.
        key: MetaKey,
        /// Where to.
        dreg: Reg,
    },
    /// Load what connection tracking knows; does not match when it knows nothing.
    Ct {
        /// What.
        key: CtKey,
        /// Which tuple, for keys that have two.
        direction: Option<CtDirection>,
        /// Where to.
        dreg: Reg,
    },
    /// Load packet bytes; does not match when there are too few.
    Payload {
        /// Where to count from.
        base: PayloadBase,
        /// In bytes.
        offset: u32,
        /// In bytes.
        len: u32,
        /// Where to.
        dreg: Reg,
    },
    /// Load from an IPv6 extension header or an IPv4 option.
    Exthdr {
        /// Which of the two.
        protocol: ExthdrProtocol,
        /// The header or option number.
        kind: u8,
        /// In bytes.
        offset: u32,
        /// In bytes.
        len: u32,
        /// Load only whether it is there: 1 byte, 0 or 1.
        present: bool,
        /// Where to.
        dreg: Reg,
    },
    /// Ask the routing table.
    Fib {
        /// `NFTA_FIB_F_*`, see [`FIB_DADDR`] and [`FIB_IIF`].
        flags: u32,
        /// What to hand back.
        result: FibResult,
        /// Hand back only whether there is an answer: 1 byte, 0 or 1.
        present: bool,
        /// Where to.
        dreg: Reg,
    },
    /// `dreg = (sreg & mask) ^ xor`.
    Bitwise {
        /// Operand.
        sreg: Reg,
        /// Result.
        dreg: Reg,
        /// As long as the operand.
        #[serde(with = "super::hex")]
        #[schemars(with = "String")]
        mask: Vec<u8>,
        /// As long as the operand.
        #[serde(with = "super::hex")]
        #[schemars(with = "String")]
        xor: Vec<u8>,
    },
    /// Match when a register compares as told.
    Cmp {
        /// How.
        op: CmpOp,
        /// Left side.
        sreg: Reg,
        /// Right side, as it lies in the register.
        #[serde(with = "super::hex")]
        #[schemars(with = "String")]
        data: Vec<u8>,
    },
    /// Look a key up in a set or map of the same table.
    Lookup {
        /// Its name.
        set: Arc<str>,
        /// Where the key starts.
        sreg: Reg,
        /// What to do with what is found.
        target: LookupTarget,
    },
    /// Count packets and bytes. The counts are read but never compared.
    Counter {
        /// Packets and bytes so far; zero in a plan.
        counts: super::Aside<(u64, u64)>,
    },
    /// Decide.
    Verdict(Verdict),
    /// Rewrite the source address to that of the outgoing link.
    Masquerade,
    /// Rewrite the source address to the one in a register.
    Snat {
        /// `NFPROTO_IPV4` (2) or `NFPROTO_IPV6` (10).
        nfproto: u8,
        /// Where the address starts.
        address: Reg,
    },
    /// An expression, or a form of one, that isoplan has no type for: kept as it came.
    Unknown {
        /// `NFTA_EXPR_NAME`.
        name: String,
        /// `NFTA_EXPR_DATA`, attribute header excluded.
        #[serde(with = "super::hex")]
        #[schemars(with = "String")]
        data: Vec<u8>,
    },
}

impl Expr {
    /// A counter at zero.
    pub const fn counter() -> Self {
        Self::Counter { counts: super::Aside((0, 0)) }
    }
}
