//! The rule set as values: what the planner wants and what the kernel has, in one type.
//!
//! No kernel handles here that matter to equality: two tables are equal when a packet and a reader
//! could not tell them apart. What is only ever informative (a kernel handle, the topology entry that
//! an object comes from) sits in an [`Aside`], which never takes part in a comparison.

mod elements;
mod expr;
mod hex;
mod op;
mod set;

pub use elements::Elements;
pub use expr::{
    CmpOp, CtDirection, CtKey, Expr, ExthdrProtocol, FIB_DADDR, FIB_IIF, FIB_SADDR, FibResult, LookupTarget,
    MetaKey, PayloadBase, Reg,
};
pub use op::Op;
pub use set::{ElementData, ElementKey, FieldType, Set, SetData};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::cmp::Ordering;
use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use crate::topology::EntryId;

/// The name of every table that isoplan owns, whatever its family.
pub const TABLE_NAME: &str = "isoplan";

/// A value that is carried along but never compared: two [`Aside`]s are always equal.
#[derive(Debug, Clone, Copy, Default, Serialize, Deserialize, JsonSchema)]
#[serde(transparent)]
pub struct Aside<T>(pub T);

impl<T: Default + PartialEq> Aside<T> {
    fn is_default(&self) -> bool {
        self.0 == T::default()
    }
}

impl<T> Aside<Option<T>> {
    const fn is_none(&self) -> bool {
        self.0.is_none()
    }
}

impl<T> PartialEq for Aside<T> {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}
impl<T> Eq for Aside<T> {}
impl<T> PartialOrd for Aside<T> {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}
impl<T> Ord for Aside<T> {
    fn cmp(&self, _: &Self) -> Ordering {
        Ordering::Equal
    }
}

/// The protocol family of a table: `NFPROTO_*` in `<linux/netfilter.h>`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Family {
    /// IPv4 and IPv6 together.
    Inet,
    /// IPv4 alone.
    Ip,
    /// IPv6 alone.
    Ip6,
    /// ARP.
    Arp,
    /// Per-device ingress and egress.
    Netdev,
    /// Frames that a Linux bridge forwards.
    Bridge,
}

impl Family {
    /// Every family that can hold a table.
    pub const ALL: [Self; 6] = [Self::Inet, Self::Ip, Self::Ip6, Self::Arp, Self::Netdev, Self::Bridge];

    /// The number that netlink carries in `nfgenmsg.nfgen_family`.
    pub const fn number(self) -> u8 {
        match self {
            Self::Inet => 1,
            Self::Ip => 2,
            Self::Arp => 3,
            Self::Netdev => 5,
            Self::Bridge => 7,
            Self::Ip6 => 10,
        }
    }

    /// The family of a netlink number; `None` for one that nf_tables does not have.
    pub fn from_number(number: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|family| family.number() == number)
    }
}

impl fmt::Display for Family {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Inet => "inet",
            Self::Ip => "ip",
            Self::Ip6 => "ip6",
            Self::Arp => "arp",
            Self::Netdev => "netdev",
            Self::Bridge => "bridge",
        })
    }
}

/// Where a base chain is attached: `NF_INET_*` (and `NF_BR_*`, which count alike).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Hook {
    /// Before routing.
    Prerouting,
    /// To a local address.
    Input,
    /// From one link to another.
    Forward,
    /// From a local process.
    Output,
    /// After routing.
    Postrouting,
    /// A hook that isoplan has no word for (netdev ingress counts from 0 again).
    Other(u32),
}

impl Hook {
    /// The number that netlink carries in `NFTA_HOOK_HOOKNUM`.
    pub const fn number(self) -> u32 {
        match self {
            Self::Prerouting => 0,
            Self::Input => 1,
            Self::Forward => 2,
            Self::Output => 3,
            Self::Postrouting => 4,
            Self::Other(number) => number,
        }
    }

    /// The hook of a netlink number, in the families inet, ip, ip6 and bridge.
    pub const fn from_number(number: u32) -> Self {
        match number {
            0 => Self::Prerouting,
            1 => Self::Input,
            2 => Self::Forward,
            3 => Self::Output,
            4 => Self::Postrouting,
            other => Self::Other(other),
        }
    }
}

/// Where a base chain runs among all chains on its hook; lower runs first.
///
/// A drop is final. An accept is not: a chain that runs later may still drop the packet.
/// Source: nft(8), "Verdict statement"; values from `<linux/netfilter_ipv4.h>` and
/// `<linux/netfilter_bridge.h>`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
pub struct Priority(pub i32);

impl Priority {
    /// `filter` in the families inet, ip and ip6.
    pub const FILTER: i32 = 0;
    /// `filter` in the family bridge.
    pub const BRIDGE_FILTER: i32 = -200;
    /// `srcnat` in the families inet, ip and ip6.
    pub const SRCNAT: i32 = 100;
}

/// What happens to a packet that no rule of a base chain decided about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Policy {
    /// It goes on to the next base chain.
    Accept,
    /// It is dropped.
    Drop,
}

/// The type of a base chain.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ChainKind {
    /// `type filter`.
    Filter,
    /// `type nat`: sees the first packet of each connection.
    Nat,
    /// `type route`, or one that isoplan does not know.
    Other(String),
}

impl ChainKind {
    /// The string that netlink carries in `NFTA_CHAIN_TYPE`.
    pub fn as_str(&self) -> &str {
        match self {
            Self::Filter => "filter",
            Self::Nat => "nat",
            Self::Other(other) => other,
        }
    }
}

/// What makes a chain a base chain.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct BaseChain {
    /// filter, nat or route.
    pub kind: ChainKind,
    /// Where packets enter it.
    pub hook: Hook,
    /// When it runs.
    pub priority: Priority,
    /// What happens to undecided packets.
    pub policy: Policy,
    /// The device of a netdev chain.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub device: Option<String>,
}

/// A base chain or a regular chain (`base` is `None`), with its rules in order.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Chain {
    /// Unique within its table.
    pub name: Arc<str>,
    /// Present when packets enter this chain from a hook.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub base: Option<BaseChain>,
    /// Evaluated in order.
    pub rules: Vec<Rule>,
}

/// What a rule, or an element of a verdict map, decides.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Verdict {
    /// This base chain has no objection; later base chains may still drop.
    Accept,
    /// The packet is gone.
    Drop,
    /// Go on with the next rule.
    Continue,
    /// Back to the calling chain.
    Return,
    /// Evaluate that chain, then come back.
    Jump(Arc<str>),
    /// Evaluate that chain, and do not come back.
    Goto(Arc<str>),
}

/// The stable name of a rule within its chain: the first word of its comment, for example `F3`.
///
/// It is how a rule in the kernel is known to be one of the plan's, and it is the number of the line
/// in `docs/security.md` that the rule carries out.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
pub struct RuleId(pub String);

impl fmt::Display for RuleId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// One rule: expressions that the kernel evaluates left to right until one does not match.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Rule {
    /// The comment, as nft stores it in userdata: the [`RuleId`], a space, and what the rule is for.
    /// Empty for a rule that has none (not one of isoplan's then).
    pub comment: String,
    /// In order of evaluation.
    pub exprs: Vec<Expr>,
    /// The kernel's handle of a live rule; the topology entries of a planned one.
    #[serde(default, skip_serializing_if = "Aside::is_none")]
    pub handle: Aside<Option<u64>>,
    /// The topology entries that this rule comes from, most telling first.
    #[serde(skip)]
    pub origins: Aside<Vec<EntryId>>,
}

/// The longest comment that both the kernel takes and `nft -f` reads again, in bytes without the NUL.
pub const COMMENT_MAX: usize = 125;

impl Rule {
    /// The id in the comment; `None` for a rule without one.
    pub fn id(&self) -> Option<RuleId> {
        let word = self.comment.split_whitespace().next()?;
        Some(RuleId(word.to_owned()))
    }
}

/// A table with all that is in it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Table {
    /// inet, bridge and so on.
    pub family: Family,
    /// [`TABLE_NAME`] for those that isoplan owns.
    pub name: String,
    /// By name.
    pub sets: BTreeMap<Arc<str>, Set>,
    /// By name.
    pub chains: BTreeMap<Arc<str>, Chain>,
    /// Things in a live table that isoplan has no type for (named counters, flowtables, ...), as one
    /// line each. Always empty in a plan.
    pub unknown: Vec<String>,
    /// `NFTA_TABLE_FLAGS`, for example `NFT_TABLE_F_DORMANT` (1): the kernel then skips its chains.
    pub flags: u32,
    /// The order in the kernel. Empty in a plan.
    #[serde(default, skip_serializing_if = "Aside::is_default")]
    pub order: Aside<TableOrder>,
}

/// In which order the kernel keeps what is in a table: the one in which it came. No packet sees it; a reader
/// of `nft list` does.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct TableOrder {
    /// Names of sets.
    pub sets: Vec<Arc<str>>,
    /// Names of chains.
    pub chains: Vec<Arc<str>>,
    /// By set, where nft lists elements as they come: concatenations of intervals. It sorts all others.
    pub elements: BTreeMap<Arc<str>, Vec<ElementKey>>,
}

impl Table {
    /// An empty table named [`TABLE_NAME`].
    pub fn new(family: Family) -> Self {
        Self {
            family,
            name: TABLE_NAME.to_owned(),
            sets: BTreeMap::new(),
            chains: BTreeMap::new(),
            unknown: Vec::new(),
            flags: 0,
            order: Aside(TableOrder::default()),
        }
    }

    /// How many rules there are in all chains together.
    pub fn rule_count(&self) -> usize {
        self.chains.values().map(|chain| chain.rules.len()).sum()
    }
}

/// The tables of one rule set, by family. All of them are named [`TABLE_NAME`].
pub type Ruleset = BTreeMap<Family, Table>;

/// The name of a link as it lies in a register or a key: 16 bytes, NUL padded.
///
/// A name longer than 15 bytes, which the kernel would not take either, is cut.
pub fn padded_name(name: &str) -> [u8; 16] {
    let mut bytes = [0; 16];
    let length = name.len().min(15);
    bytes[..length].copy_from_slice(&name.as_bytes()[..length]);
    bytes
}
