//! Whether a packet that was seen belongs to a probe.

use super::super::frame::Id;
use super::super::frame::mark::Mark;
use super::read::{Seen, TCP_ACK, TCP_SYN, What};

/// What the packets of one probe are known by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Identity {
    /// In marks.
    pub id: Id,
    /// Whether the id is also the sequence number of a segment.
    pub is_segment: bool,
    /// The source port of a connection that the kernel opens: nobody else in the lab has the same. A NAT changes
    /// it only where it is taken.
    pub syn_from: Option<u16>,
}

/// What a packet is to a probe.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// What was sent.
    Probe,
    /// What the other side answered.
    Answer,
    /// Nothing: also an error that quotes what was sent.
    Other,
}

impl Identity {
    /// Known by marks alone.
    pub const fn marked(id: Id) -> Self {
        Self { id, is_segment: false, syn_from: None }
    }

    /// What a packet is to the probe.
    pub fn role(&self, seen: &Seen) -> Role {
        match (seen.what, seen.mark) {
            (What::Tunnel, _) => Role::Other,
            // Nobody sends an error about an error: RFC 1122, section 3.2.2; RFC 4443, section 2.4.
            (_, Some((Mark::Error, id))) if id == self.id => Role::Probe,
            // About a packet of this probe, or of nobody.
            (What::Icmp, _) | (_, Some((Mark::Error, _))) => Role::Other,
            (What::EchoReply, Some((Mark::Probe, id))) if id == self.id => Role::Answer,
            (What::EchoReply, _) => Role::Other,
            (_, Some((Mark::Probe, id))) if id == self.id => Role::Probe,
            (_, Some((Mark::Answer, id))) if id == self.id => Role::Answer,
            (What::Tcp { seq, ack, flags }, _) => self.role_of_segment(seen, seq, ack, flags),
            _ => Role::Other,
        }
    }

    fn role_of_segment(&self, seen: &Seen, seq: u32, ack: u32, flags: u8) -> Role {
        let has = |flag| flags & flag != 0;
        let is_answer = has(TCP_SYN) && has(TCP_ACK);
        if self.is_segment && is_answer && ack == self.id.0.wrapping_add(1) {
            return Role::Answer;
        }
        if self.is_segment && seq == self.id.0 {
            return Role::Probe;
        }
        match self.syn_from {
            Some(port) if is_answer && seen.destination_port == Some(port) => Role::Answer,
            Some(port) if has(TCP_SYN) && !has(TCP_ACK) && seen.source_port == Some(port) => Role::Probe,
            _ => Role::Other,
        }
    }
}
