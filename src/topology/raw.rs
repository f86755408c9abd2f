//! The entries of a file as they were read: each value well formed, none compared with another yet.

use std::net::IpAddr;

use ipnet::IpNet;

use super::mistake::{At, Span};
use super::model::{ApproachName, EntryId, EntryKind, Inbound, NamePattern, PortRange, Protocol};

/// What every entry has.
#[derive(Debug, Clone)]
pub(super) struct Head {
    pub(super) id: EntryId,
    pub(super) kind: EntryKind,
    /// Its header, or its braces.
    pub(super) span: Span,
    /// "bridge `docker0`", for messages.
    pub(super) title: String,
}

/// A key of an entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Field<T> {
    /// The entry does not have it.
    Absent,
    /// What it has was refused.
    Faulty,
    /// It has that.
    Given(At<T>),
}

impl<T> Field<T> {
    pub(super) fn given(&self) -> Option<&At<T>> {
        match self {
            Self::Given(at) => Some(at),
            Self::Absent | Self::Faulty => None,
        }
    }
}

/// A key that is a list.
#[derive(Debug, Clone)]
pub(super) struct List<T> {
    /// The whole list; nothing where the entry does not have it.
    pub(super) span: Option<Span>,
    /// What could be read.
    pub(super) items: Vec<At<T>>,
    /// Whether something of it was refused, so that items may be missing.
    pub(super) faulty: bool,
}

impl<T> List<T> {
    pub(super) const fn absent() -> Self {
        Self { span: None, items: Vec::new(), faulty: false }
    }
}

/// A name; `value` is nothing where no interface can have it.
#[derive(Debug, Clone)]
pub(super) struct Name {
    pub(super) text: String,
    pub(super) span: Span,
    pub(super) value: Option<NamePattern>,
}

/// The subnets of an entry.
#[derive(Debug, Clone)]
pub(super) struct Subnets {
    /// Those that could be read, or guessed from what was refused.
    pub(super) list: List<IpNet>,
    /// What a refused one may have meant.
    pub(super) vague: Vec<IpNet>,
}

/// What only an overlay has.
#[derive(Debug, Clone)]
pub(super) struct RawOverlay {
    pub(super) underlay: Option<At<String>>,
    pub(super) vni: Option<u32>,
    pub(super) port: Option<u16>,
}

#[derive(Debug, Clone)]
pub(super) struct RawNetwork {
    pub(super) head: Head,
    pub(super) overlay: Option<RawOverlay>,
    pub(super) name: Option<Name>,
    pub(super) subnets: Subnets,
    pub(super) reach: List<String>,
    pub(super) inbound: Option<Inbound>,
}

#[derive(Debug, Clone)]
pub(super) struct RawFlat {
    pub(super) head: Head,
    pub(super) name: Option<Name>,
    pub(super) nic: Option<At<String>>,
    pub(super) reach: List<String>,
}

#[derive(Debug, Clone)]
pub(super) struct RawNic {
    pub(super) head: Head,
    pub(super) name: Option<Name>,
    /// Also a text that no role can have, so that who reaches it is not reported again.
    pub(super) role: Option<At<String>>,
    pub(super) subnets: Subnets,
    pub(super) reach: List<String>,
    pub(super) masquerade: Field<bool>,
    pub(super) snat: List<IpAddr>,
}

#[derive(Debug, Clone)]
pub(super) struct RawAllow {
    pub(super) head: Head,
    pub(super) from: Option<At<String>>,
    pub(super) to: Option<At<IpNet>>,
    pub(super) protocol: Field<Protocol>,
    pub(super) ports: List<PortRange>,
    pub(super) reason: Option<String>,
}

#[derive(Debug, Clone)]
pub(super) struct RawIsolation {
    pub(super) id: EntryId,
    pub(super) approach: Field<ApproachName>,
    pub(super) masquerade: Field<bool>,
}

/// All entries, each kind in the order of the file.
#[derive(Debug, Default)]
pub(super) struct Raw {
    pub(super) networks: Vec<RawNetwork>,
    pub(super) flats: Vec<RawFlat>,
    pub(super) nics: Vec<RawNic>,
    pub(super) allows: Vec<RawAllow>,
    pub(super) isolation: Option<RawIsolation>,
    /// Whether the file has a table that isoplan does not know, which may have meant any of these.
    pub(super) unknown_table: bool,
}
