//! What each approach claims, and the probes that back each claim.

use crate::approach::Approach;

/// Something that an approach claims.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Guarantee {
    /// What, in one sentence.
    pub says: &'static str,
    /// Patterns of names of probes (`*/udp?`): under the approach, every one of them is held or works.
    pub probes: &'static [&'static str],
}

/// Something that an approach does not stop.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Hole {
    /// What, in one sentence.
    pub says: &'static str,
    /// Why, in one line: the kernel's reason.
    pub why: &'static str,
    /// Patterns of names of probes: under the approach, at least one of each pattern arrives.
    pub probes: &'static [&'static str],
}

/// What an approach claims.
pub fn guarantees(_approach: Approach) -> &'static [Guarantee] {
    &[]
}

/// What it does not stop.
pub fn holes(_approach: Approach) -> &'static [Hole] {
    &[]
}
