//! The checked topology: what a file says once every mistake in it was refused.

use std::fmt;
use std::net::IpAddr;

use ipnet::IpNet;
use schemars::JsonSchema;
use serde::Serialize;

use super::limits::RESERVED;

/// The longest name of a Linux interface, in bytes: `IFNAMSIZ` (16) less the NUL.
pub const IF_NAME_MAX: usize = 15;

/// The name of a Linux interface: 1 to 15 bytes, as `dev_valid_name` (net/core/dev.c) takes it, and
/// of characters that nft, sysctl paths and shells can carry.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct IfName(String);

/// Why a text is not the name of an interface.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum IfNameFault {
    /// It has no character.
    Empty,
    /// It has that many bytes, more than 15.
    TooLong(usize),
    /// It has a character that the kernel or nft does not take.
    Character(char),
    /// It is `.`, `..`, `all`, `default` or `lo`, which mean something else in sysctl paths or rules.
    Reserved,
}

impl IfName {
    /// Checks a name.
    ///
    /// # Errors
    ///
    /// The first thing that is wrong with it.
    pub fn new(text: &str) -> Result<Self, IfNameFault> {
        if text.is_empty() {
            return Err(IfNameFault::Empty);
        }
        let allowed = |c: char| c.is_ascii_alphanumeric() || "._-@".contains(c);
        if let Some(c) = text.chars().find(|c| !allowed(*c)) {
            return Err(IfNameFault::Character(c));
        }
        if text.len() > IF_NAME_MAX {
            return Err(IfNameFault::TooLong(text.len()));
        }
        if RESERVED.contains(&text) {
            return Err(IfNameFault::Reserved);
        }
        Ok(Self(text.to_owned()))
    }

    /// As text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for IfName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The name of a bridge or overlay in the file: one interface, or all whose names start alike.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum NamePattern {
    /// That interface.
    Exact(IfName),
    /// `br-*`: the part before the `*`, 1 to 14 bytes.
    Prefix(IfName),
}

impl NamePattern {
    /// The name, or what comes before the `*`.
    pub fn stem(&self) -> &str {
        match self {
            Self::Exact(name) | Self::Prefix(name) => name.as_str(),
        }
    }

    /// Whether it names more than one interface.
    pub const fn is_prefix(&self) -> bool {
        matches!(self, Self::Prefix(_))
    }

    /// Whether every interface that `other` names is one of these.
    pub fn covers(&self, other: &Self) -> bool {
        match self {
            Self::Exact(_) => self == other,
            Self::Prefix(stem) => other.stem().starts_with(stem.as_str()),
        }
    }
}

impl fmt::Display for NamePattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Exact(name) => write!(f, "{name}"),
            Self::Prefix(stem) => write!(f, "{stem}*"),
        }
    }
}

/// What a NIC is for: `service`, `storage`, `management` or a word of the user's own. 1 to 15
/// characters, of a-z, A-Z, 0-9, `-` and `_`, the first one a letter.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Role(pub String);

impl Role {
    /// What a bridge reaches unless it says otherwise.
    pub const SERVICE: &'static str = "service";

    /// The roles that have a meaning to readers; every other word is as good to isoplan.
    pub const KNOWN: [&'static str; 3] = [Self::SERVICE, "storage", "management"];
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// An entry of the file, by its place in [`Topology::entries`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize)]
pub struct EntryId(pub u32);

/// What kind of table an entry is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum EntryKind {
    /// `[[bridge]]`
    Bridge,
    /// `[[overlay]]`
    Overlay,
    /// `[[flat]]`
    Flat,
    /// `[[nic]]`
    Nic,
    /// `[[allow]]`
    Allow,
    /// `[isolation]`, also where the file has none.
    Isolation,
}

impl EntryKind {
    /// Every kind.
    pub(crate) const ALL: [Self; 6] =
        [Self::Bridge, Self::Overlay, Self::Flat, Self::Nic, Self::Allow, Self::Isolation];

    /// The key in the file.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Bridge => "bridge",
            Self::Overlay => "overlay",
            Self::Flat => "flat",
            Self::Nic => "nic",
            Self::Allow => "allow",
            Self::Isolation => "isolation",
        }
    }
}

/// Where an entry stands, for reasons and error messages.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Which table.
    pub kind: EntryKind,
    /// Its name; for an `[[allow]]` "FROM to TO"; empty for `[isolation]`.
    pub name: String,
    /// The line of its header, from 1; 0 where the file has no such entry.
    pub line: u32,
}

impl fmt::Display for Entry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.kind {
            EntryKind::Isolation => f.write_str("isolation"),
            kind => write!(f, "{} {}", kind.as_str(), self.name),
        }
    }
}

/// What may come into a bridge from the NICs that it reaches, besides answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Inbound {
    /// Nothing.
    None,
    /// Connections that a DNAT rule (Docker's, Podman's, anyone's) sent there.
    Published,
    /// Every connection.
    Routed,
}

impl Inbound {
    /// The word in the file.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Published => "published",
            Self::Routed => "routed",
        }
    }
}

/// One word of a `reach` list, resolved.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Reach {
    /// All NICs with that role.
    Role(Role),
    /// A bridge or overlay, as its own entry writes it.
    Network(NamePattern),
}

/// What kind of container network a [`Network`] is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NetworkKind {
    /// A Linux bridge.
    Bridge,
    /// A VXLAN device, or the bridge that it is a port of.
    Overlay {
        /// The NIC that carries the encapsulated packets.
        underlay: IfName,
        /// The VXLAN network identifier, 1 to 2^24 - 1.
        vni: u32,
        /// The UDP port of the encapsulation.
        port: u16,
    },
}

/// A `[[bridge]]` or an `[[overlay]]`: a network of containers that this host routes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Network {
    /// Its entry.
    pub entry: EntryId,
    /// Bridge or overlay.
    pub kind: NetworkKind,
    /// Its interface or interfaces.
    pub name: NamePattern,
    /// Its addresses; sorted, no two overlap. May be empty.
    pub subnets: Vec<IpNet>,
    /// Whom it may open connections to; sorted, without repeats. Never refers to nothing.
    pub reach: Vec<Reach>,
    /// What may come in.
    pub inbound: Inbound,
}

/// A `[[flat]]`: instances bridged onto a NIC's own subnet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Flat {
    /// Its entry.
    pub entry: EntryId,
    /// The bridge whose port the NIC is. No wildcard: it stands for the NIC.
    pub name: IfName,
    /// A NIC of this file; no two flats share one.
    pub nic: IfName,
    /// Roles whose NICs the instances may exchange frames with or reach through an upstream router.
    pub reach: Vec<Role>,
}

/// How a NIC's forwarded traffic leaves by the NICs that it reaches.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NicNat {
    /// With its own source address: a plain router.
    None,
    /// With the address of the outgoing NIC.
    Masquerade,
    /// With these addresses: at most one per family, at least one.
    Snat(Vec<IpAddr>),
}

/// A `[[nic]]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Nic {
    /// Its entry.
    pub entry: EntryId,
    /// Its interface.
    pub name: IfName,
    /// What it is for.
    pub role: Role,
    /// On the link, and routed behind it; sorted, no two overlap. Never empty for a NIC that some
    /// network or NIC of the file may not reach.
    pub subnets: Vec<IpNet>,
    /// Whom hosts behind it may open connections to.
    pub reach: Vec<Reach>,
    /// Only ever other than `None` where `reach` is not empty.
    pub nat: NicNat,
}

/// A transport protocol of an exception.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Protocol {
    /// IPPROTO_TCP, 6.
    Tcp,
    /// IPPROTO_UDP, 17.
    Udp,
    /// IPPROTO_SCTP, 132.
    Sctp,
    /// IPPROTO_ICMP, 1; IPv4 only, has no ports.
    Icmp,
    /// IPPROTO_ICMPV6, 58; IPv6 only, has no ports.
    Icmpv6,
}

impl Protocol {
    /// Every protocol, with its word in the file.
    pub const WORDS: [(Self, &'static str); 5] = [
        (Self::Tcp, "tcp"),
        (Self::Udp, "udp"),
        (Self::Sctp, "sctp"),
        (Self::Icmp, "icmp"),
        (Self::Icmpv6, "icmpv6"),
    ];

    /// The IANA protocol number.
    pub const fn number(self) -> u8 {
        match self {
            Self::Icmp => 1,
            Self::Tcp => 6,
            Self::Udp => 17,
            Self::Icmpv6 => 58,
            Self::Sctp => 132,
        }
    }

    /// Whether it has ports.
    pub const fn has_ports(self) -> bool {
        matches!(self, Self::Tcp | Self::Udp | Self::Sctp)
    }

    /// The word in the file.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Tcp => "tcp",
            Self::Udp => "udp",
            Self::Sctp => "sctp",
            Self::Icmp => "icmp",
            Self::Icmpv6 => "icmpv6",
        }
    }
}

/// Ports from the first to the last, both included, host order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct PortRange {
    /// The lowest.
    pub first: u16,
    /// The highest.
    pub last: u16,
}

/// An `[[allow]]`: an exception, exactly as narrow as it is written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Allow {
    /// Its entry.
    pub entry: EntryId,
    /// The bridge, overlay or NIC it is for, as its own entry writes the name.
    pub from: NamePattern,
    /// The subnets of `from` in the family of `to`: never empty. A packet with another source is not
    /// covered.
    pub from_subnets: Vec<IpNet>,
    /// An address (as a /32 or /128) or a network, within a subnet of `to_entry`.
    pub to: IpNet,
    /// The NIC (or flat's NIC), bridge or overlay that `to` is behind; never that of `from`.
    pub to_name: NamePattern,
    /// Any, where there is none.
    pub protocol: Option<Protocol>,
    /// All, where there are none; sorted, merged, no two touch. Empty for a protocol without ports.
    pub ports: Vec<PortRange>,
    /// For the reader.
    pub reason: Option<String>,
}

/// How the topology is to be carried out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum ApproachName {
    /// Drops and masquerade in tables named isoplan.
    Nftables,
    /// Per-interface `forwarding` sysctls.
    Sysctl,
}

impl ApproachName {
    /// Every approach, with its word in the file.
    pub const WORDS: [(Self, &'static str); 2] = [(Self::Nftables, "nftables"), (Self::Sysctl, "sysctl")];

    /// The word in the file.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Nftables => "nftables",
            Self::Sysctl => "sysctl",
        }
    }
}

/// The `[isolation]` table, with its defaults filled in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Isolation {
    /// Its entry; line 0 when the file has none.
    pub entry: EntryId,
    /// `nftables` unless the file says otherwise.
    pub approach: ApproachName,
    /// Whether isoplan masquerades what leaves the bridges; true unless the file says otherwise.
    pub masquerade: bool,
}

/// A file that has been checked whole: nothing in it can be wrong any more.
///
/// Networks, flats, NICs and exceptions are sorted (networks, flats and NICs by name, exceptions by
/// from, to, protocol and ports), so that the order in the file has no effect on a plan.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Topology {
    /// The name of the file, as the user gave it but in one line, for `file:line`.
    pub file: String,
    /// Every entry, in the order of the file.
    pub entries: Vec<Entry>,
    /// Bridges and overlays. An exact name that a prefix also covers stands for itself.
    pub networks: Vec<Network>,
    /// Instances on a NIC's own subnet.
    pub flats: Vec<Flat>,
    /// The NICs.
    pub nics: Vec<Nic>,
    /// Exceptions; no two cover the same packet.
    pub allows: Vec<Allow>,
    /// How to carry it out.
    pub isolation: Isolation,
}

impl Topology {
    /// What a host without isoplan asks for: used to plan its removal.
    pub fn nothing() -> Self {
        let entry = EntryId(0);
        Self {
            file: String::new(),
            entries: vec![Entry { kind: EntryKind::Isolation, name: String::new(), line: 0 }],
            networks: Vec::new(),
            flats: Vec::new(),
            nics: Vec::new(),
            allows: Vec::new(),
            isolation: Isolation { entry, approach: ApproachName::Nftables, masquerade: false },
        }
    }

    /// The entry of an id.
    pub fn entry(&self, id: EntryId) -> &Entry {
        &self.entries[id.0 as usize]
    }

    /// `file:line` of an entry, or the file alone for an entry that it does not have.
    pub fn place(&self, id: EntryId) -> String {
        match self.entry(id).line {
            0 => self.file.clone(),
            line => format!("{}:{line}", self.file),
        }
    }

    /// The flat whose port a NIC is.
    pub fn flat_on(&self, nic: &Nic) -> Option<&Flat> {
        self.flats.iter().find(|flat| flat.nic == nic.name)
    }
}
