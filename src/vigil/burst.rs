//! When to look after something was told.

use std::collections::VecDeque;

use super::Moment;

/// How long it has to be quiet before a look, in the midst of a burst.
const QUIET: u64 = 30;
/// How long a burst may put a look off.
const BOUND: u64 = 250;
/// So many looks within [`WINDOW`] are taken without delay.
const AT_ONCE: usize = 4;
/// A second.
const WINDOW: u64 = 1_000;

/// Puts looks together: a few are taken without delay, because what was taken away may be a drop; when there
/// are many, the next waits until it is quiet.
#[derive(Debug, Clone, Default)]
pub struct Burst {
    /// The first and the last thing told since the last look.
    told: Option<(Moment, Moment)>,
    /// The last few looks that something told led to.
    looks: VecDeque<Moment>,
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
            self.looks.push_back(now);
            if self.looks.len() > AT_ONCE {
                self.looks.pop_front();
            }
        }
    }

    /// When to look; never without anything told.
    pub fn due(&self) -> Option<Moment> {
        let (first, last) = self.told?;
        let is_burst =
            self.looks.len() == AT_ONCE && self.looks.front().is_some_and(|look| first.since(*look) < WINDOW);
        Some(if is_burst { last.after(QUIET).min(first.after(BOUND)) } else { first })
    }
}
