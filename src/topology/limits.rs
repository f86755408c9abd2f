//! What a file can hold, for the reader and for the schema.

/// Names that mean something else in sysctl paths or in rules.
pub(crate) const RESERVED: [&str; 5] = [".", "..", "all", "default", "lo"];

/// The UDP port of VXLAN, as IANA assigns it.
pub(crate) const VXLAN_PORT: u16 = 4789;
/// The highest VXLAN network identifier: it has 24 bits.
pub(crate) const VNI_MAX: u32 = (1 << 24) - 1;
/// The most entries that a file can have.
pub(crate) const ENTRIES_MAX: usize = 100_000;
/// The longest reason, in characters.
pub(crate) const REASON_MAX: usize = 200;
/// The longest role, in characters.
pub(crate) const ROLE_MAX: usize = 15;
