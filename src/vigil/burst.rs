//! When to look after something was told.

use super::Moment;

/// How long it has to be quiet before a look, in the midst of a burst.
const QUIET: u64 = 30;
/// How long a burst may put a look off.
const BOUND: u64 = 250;
/// So long after a look, what is told next is no part of a burst and looked at without delay.
const CALM: u64 = 500;

/// Puts looks together: the first thing told after a calm is looked at without delay, because what it took
/// away may be a drop; what follows it closely waits until it is quiet.
#[derive(Debug, Clone, Default)]
pub struct Burst {
    /// The first and the last thing told since the last look.
    told: Option<(Moment, Moment)>,
    looked: Option<Moment>,
}

impl Burst {
    /// Something was told.
    pub fn told(&mut self, now: Moment) {
        let first = self.told.map_or(now, |(first, _)| first);
        self.told = Some((first, now));
    }

    /// A look began that sees all that was told.
    pub fn looked(&mut self, now: Moment) {
        if self.told.take().is_some() {
            self.looked = Some(now);
        }
    }

    /// When to look; never without anything told.
    pub fn due(&self) -> Option<Moment> {
        let (first, last) = self.told?;
        let is_calm = self.looked.is_none_or(|looked| first.since(looked) >= CALM);
        Some(if is_calm { first } else { last.after(QUIET).min(first.after(BOUND)) })
    }
}
