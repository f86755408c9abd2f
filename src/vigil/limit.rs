//! No flood in the log.

use std::collections::{BTreeMap, VecDeque};

use super::{Event, Moment};

/// So many lines about one kind of event are said within [`WINDOW`].
const LINES: usize = 20;
/// A minute.
const WINDOW: u64 = 60_000;

/// Counts lines by their kind.
#[derive(Debug, Clone, Default)]
pub struct Limiter(BTreeMap<Event, Said>);

#[derive(Debug, Clone, Default)]
struct Said {
    recent: VecDeque<Moment>,
    left_out: u64,
}

impl Limiter {
    /// Whether a line may be said; if so, how many like it were left out before.
    pub fn admit(&mut self, now: Moment, event: Event) -> Option<u64> {
        let said = self.0.entry(event).or_default();
        said.recent.retain(|moment| now.since(*moment) < WINDOW);
        if said.recent.len() >= LINES && !event.is_rare() {
            said.left_out += 1;
            return None;
        }
        said.recent.push_back(now);
        Some(std::mem::take(&mut said.left_out))
    }
}
