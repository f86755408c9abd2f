//! Named sets, maps and verdict maps, with their elements.

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize, Serializer};
use std::borrow::Cow;
use std::cmp::Ordering;
use std::fmt;
use std::sync::Arc;

use super::{Aside, Elements, Verdict, hex};
use crate::topology::EntryId;

/// The type of one field of a key, or of map data: nft's own data types.
///
/// Lengths and byte orders are those on the wire. Numbers: `enum datatypes` in nftables
/// `include/datatype.h`; they travel in `NFTA_SET_KEY_TYPE`, and only nft itself reads them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum FieldType {
    /// A link name: 16 bytes, NUL padded.
    IfName,
    /// 4 bytes, big endian.
    Ipv4Addr,
    /// 16 bytes, big endian.
    Ipv6Addr,
    /// A layer 4 protocol: 1 byte.
    InetProto,
    /// A port: 2 bytes, big endian.
    InetService,
    /// An ethertype: 2 bytes, big endian.
    EtherType,
    /// 1 byte.
    IcmpType,
    /// 1 byte.
    Icmpv6Type,
    /// `RTN_*`: 4 bytes, host order.
    FibAddrType,
}

#[expect(clippy::len_without_is_empty, reason = "the length of a kind of value, which is never zero")]
impl FieldType {
    /// Every type.
    pub const ALL: [Self; 9] = [
        Self::IfName,
        Self::Ipv4Addr,
        Self::Ipv6Addr,
        Self::InetProto,
        Self::InetService,
        Self::EtherType,
        Self::IcmpType,
        Self::Icmpv6Type,
        Self::FibAddrType,
    ];

    /// Length in bytes, unpadded.
    pub const fn len(self) -> usize {
        match self {
            Self::IfName | Self::Ipv6Addr => 16,
            Self::Ipv4Addr | Self::FibAddrType => 4,
            Self::InetService | Self::EtherType => 2,
            Self::InetProto | Self::IcmpType | Self::Icmpv6Type => 1,
        }
    }

    /// nft's number for it.
    pub const fn number(self) -> u32 {
        match self {
            Self::Ipv4Addr => 7,
            Self::Ipv6Addr => 8,
            Self::EtherType => 10,
            Self::InetProto => 12,
            Self::InetService => 13,
            Self::IcmpType => 14,
            Self::Icmpv6Type => 29,
            Self::FibAddrType => 38,
            Self::IfName => 41,
        }
    }

    /// The type of one of nft's numbers; `None` for one that isoplan does not use.
    pub fn from_number(number: u32) -> Option<Self> {
        Self::ALL.into_iter().find(|field| field.number() == number)
    }

    /// nft's name for it.
    pub const fn nft_name(self) -> &'static str {
        match self {
            Self::IfName => "ifname",
            Self::Ipv4Addr => "ipv4_addr",
            Self::Ipv6Addr => "ipv6_addr",
            Self::InetProto => "inet_proto",
            Self::InetService => "inet_service",
            Self::EtherType => "ether_type",
            Self::IcmpType => "icmp_type",
            Self::Icmpv6Type => "icmpv6_type",
            Self::FibAddrType => "fib_addrtype",
        }
    }

    /// Whether the host's byte order applies (`BYTEORDER_HOST_ENDIAN` in nft).
    pub const fn is_host_endian(self) -> bool {
        matches!(self, Self::IfName | Self::FibAddrType)
    }
}

/// What an element of a set maps to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum SetData {
    /// Nothing: a plain set.
    None,
    /// A verdict: a verdict map.
    Verdict,
    /// A value of that type: a map.
    Value(FieldType),
}

/// The key of an element, as bytes on the wire: every field of a concatenation padded to 4 bytes, a
/// single field not padded.
///
/// An interval has an inclusive upper end besides; none where it equals the lower one, so that equal
/// elements are equal values. Ordered by the bytes of the lower end, which is numeric order for big-endian
/// fields and text order for names.
///
/// In JSON: its bytes as hexadecimal digits, the ends of an interval with a `-` in between.
#[derive(Clone, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub struct ElementKey(Bytes);

/// Both ends, one behind the other. In place as long as they fit, with zeros behind them; so does all but what
/// is wider than two names or two IPv6 addresses.
#[derive(Clone, PartialEq, Eq)]
enum Bytes {
    Inline { first: u8, total: u8, bytes: [u8; INLINE] },
    Heap { first: usize, bytes: Box<[u8]> },
}

const INLINE: usize = 32;

impl ElementKey {
    /// A single value.
    pub fn value(bytes: impl AsRef<[u8]>) -> Self {
        Self::of(bytes.as_ref(), &[])
    }

    /// All values from `first` to `last`, both included; field by field in a concatenation.
    pub fn range(first: impl AsRef<[u8]>, last: impl AsRef<[u8]>) -> Self {
        let (first, last) = (first.as_ref(), last.as_ref());
        Self::of(first, if first == last { &[] } else { last })
    }

    fn of(first: &[u8], last: &[u8]) -> Self {
        let total = first.len() + last.len();
        if total > INLINE {
            return Self(Bytes::Heap {
                first: first.len(),
                bytes: [first, last].concat().into_boxed_slice(),
            });
        }
        let mut bytes = [0; INLINE];
        bytes[..first.len()].copy_from_slice(first);
        bytes[first.len()..total].copy_from_slice(last);
        Self(Bytes::Inline { first: first.len() as u8, total: total as u8, bytes })
    }

    fn ends(&self) -> (&[u8], &[u8]) {
        match &self.0 {
            Bytes::Inline { first, total, bytes } => {
                bytes[..usize::from(*total)].split_at(usize::from(*first))
            }
            Bytes::Heap { first, bytes } => bytes.split_at(*first),
        }
    }

    /// The first 16 bytes of the lower end as a number, zeros behind a shorter one: keys that differ in it are in
    /// its order.
    pub(super) fn head(&self) -> u128 {
        let mut head = [0; 16];
        let first = self.first();
        let length = first.len().min(head.len());
        head[..length].copy_from_slice(&first[..length]);
        u128::from_be_bytes(head)
    }

    /// The lower end.
    pub fn first(&self) -> &[u8] {
        self.ends().0
    }

    /// The upper end, inclusive, where it differs.
    pub fn last(&self) -> Option<&[u8]> {
        Some(self.ends().1).filter(|last| !last.is_empty())
    }

    /// The upper end, inclusive.
    pub fn upper(&self) -> &[u8] {
        self.last().unwrap_or(self.first())
    }
}

impl Ord for ElementKey {
    fn cmp(&self, other: &Self) -> Ordering {
        match (&self.0, &other.0) {
            // All keys of a set are of one length. The zeros behind a single value sort it before intervals.
            (
                Bytes::Inline { first: a, total, bytes },
                Bytes::Inline { first: b, total: other_total, bytes: other },
            ) if a == b => words(bytes).cmp(&words(other)).then(total.cmp(other_total)),
            _ => self.ends().cmp(&other.ends()),
        }
    }
}

/// Bytes as two numbers that compare alike.
fn words(bytes: &[u8; INLINE]) -> [u128; 2] {
    let (high, low) = bytes.split_at(INLINE / 2);
    [high, low].map(|half| half.try_into().map_or(0, u128::from_be_bytes))
}

impl PartialOrd for ElementKey {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl fmt::Debug for ElementKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ElementKey").field("first", &self.first()).field("last", &self.last()).finish()
    }
}

impl JsonSchema for ElementKey {
    fn schema_name() -> Cow<'static, str> {
        "ElementKey".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "description": "The bytes of a key as hexadecimal digits; the ends of an interval with a `-` in between.",
            "type": "string",
            "pattern": "^(?:[0-9a-f]{2})*(?:-(?:[0-9a-f]{2})+)?$",
        })
    }
}

impl Serialize for ElementKey {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut text = hex::encode(self.first());
        if let Some(last) = self.last() {
            text.push('-');
            text.push_str(&hex::encode(last));
        }
        serializer.serialize_str(&text)
    }
}

impl TryFrom<String> for ElementKey {
    type Error = &'static str;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        let (first, last) = match text.split_once('-') {
            Some((first, last)) => (hex::decode::<Vec<u8>>(first), Some(hex::decode::<Vec<u8>>(last))),
            None => (hex::decode(&text), None),
        };
        let first = first.ok_or(hex::WRONG)?;
        match last.map(|last| last.ok_or(hex::WRONG)).transpose()? {
            Some(last) if last.len() != first.len() => Err("the ends of an interval differ in length"),
            Some(last) => Ok(Self::range(first, last)),
            None => Ok(Self::value(first)),
        }
    }
}

/// What comes with the key of an element.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ElementData {
    /// In a verdict map.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub verdict: Option<Verdict>,
    /// In a map, as bytes on the wire.
    #[serde(default, with = "hex::optional", skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<String>")]
    pub value: Option<Box<[u8]>>,
    /// The topology entry that a planned element comes from.
    #[serde(skip)]
    pub origin: Aside<Option<EntryId>>,
}

/// A named set, map or verdict map.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Set {
    /// Unique within its table.
    pub name: Arc<str>,
    /// The fields of its key; more than one is a concatenation.
    pub key: Vec<FieldType>,
    /// What the key maps to.
    pub data: SetData,
    /// Whether keys are intervals (prefixes, ranges, name prefixes).
    pub interval: bool,
    /// By key.
    pub elements: Elements,
    /// Flags of a live set that the planner never sets (`NFT_SET_TIMEOUT`, `NFT_SET_EVAL`, ...), and
    /// `!0` when its key or data type is not one of [`FieldType`]. Zero in a plan.
    pub foreign_flags: u32,
}

impl Set {
    /// Length of a key on the wire, in bytes.
    pub fn key_len(&self) -> usize {
        match self.key.as_slice() {
            [single] => single.len(),
            fields => fields.iter().map(|field| field.len().next_multiple_of(4)).sum(),
        }
    }

    /// Whether the key is a concatenation.
    pub fn is_concat(&self) -> bool {
        self.key.len() > 1
    }
}
