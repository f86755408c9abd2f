//! The mark that payloads carry: known wherever it is found, also in a fragment, a tunnel or a quotation.

use super::Id;

/// Comes before kind and id.
const MAGIC: [u8; 7] = *b"isoplan";
/// Magic, kind, id in network order.
pub(super) const LENGTH: usize = MAGIC.len() + 1 + 4;
/// How often a payload repeats it. Enough that each half of a packet has a whole one.
pub(super) const TIMES: usize = 6;

/// What a marked payload is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Mark {
    /// What a probe sends.
    Probe,
    /// What a listener sends back.
    Answer,
    /// What is quoted in a probe that is itself an ICMP error, so that it is not taken for an error about a
    /// probe.
    Error,
    /// What shows that everything sent before has arrived by now.
    Sentinel,
}

impl Mark {
    const fn letter(self) -> u8 {
        match self {
            Self::Probe => b'P',
            Self::Answer => b'A',
            Self::Error => b'E',
            Self::Sentinel => b'S',
        }
    }

    fn of(letter: u8) -> Option<Self> {
        [Self::Probe, Self::Answer, Self::Error, Self::Sentinel]
            .into_iter()
            .find(|mark| mark.letter() == letter)
    }
}

/// A payload with a mark, 72 bytes.
pub fn payload(mark: Mark, id: Id) -> Vec<u8> {
    let one = [&MAGIC[..], &[mark.letter()], &id.0.to_be_bytes()].concat();
    one.repeat(TIMES)
}

/// The first whole mark anywhere in these bytes.
pub fn find(bytes: &[u8]) -> Option<(Mark, Id)> {
    bytes.windows(LENGTH).find_map(|part| {
        let (magic, rest) = part.split_first_chunk()?;
        let (letter, id) = rest.split_first()?;
        let mark = if *magic == MAGIC { Mark::of(*letter) } else { None }?;
        Some((mark, Id(u32::from_be_bytes(id.try_into().ok()?))))
    })
}
