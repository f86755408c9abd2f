//! The catalogue itself: entries as data, a file for each path through the host. To add a probe, add an entry.

mod after;
mod closed;
mod every;
mod works;

pub(super) use after::AFTER;
pub(super) use closed::{BACK, BETWEEN, CLOSED, CLOSED_HOST, FLAT, TRANSIT};
pub(super) use every::EVERY;
pub(super) use works::WORKS;
