//! What `isoplan watch` decides: when to look, whether to repair at once or to back off, and what to say.
//!
//! Pure, so that a fight of an hour is tested in a millisecond: the time is told by the caller.

mod burst;
mod fight;
mod guess;
mod limit;
mod matter;
mod notice;
mod told;

#[cfg(test)]
mod tests;

pub use burst::Burst;
pub use fight::{Fight, Fights, Judgement};
pub use guess::{KNOWN, guess};
pub use limit::Limiter;
pub use matter::{Matter, matters};
pub use notice::{ByJson, Event, Level, Notice, NoticeJson, first_changes};
pub use told::{Object, Touch, Transaction, Writer, Writers};

/// A moment, in milliseconds since the watch began; never goes back.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct Moment(pub u64);

impl Moment {
    /// So many milliseconds later.
    #[must_use]
    pub const fn after(self, milliseconds: u64) -> Self {
        Self(self.0.saturating_add(milliseconds))
    }

    /// How many milliseconds it is later than another; 0 when it is not.
    pub const fn since(self, earlier: Self) -> u64 {
        self.0.saturating_sub(earlier.0)
    }
}

/// Text of others without what would break a line of a log: a process may call itself anything.
fn plain(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { '?' } else { c }).collect()
}
