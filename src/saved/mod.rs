//! Files of isoplan's own that it reads back: a snapshot of a host, and a plan with what it was worked out
//! from. Pure functions between values and bytes.
//!
//! Each is one JSON document with a `version` and a `kind`. Reading one back is strict, because what is in it
//! decides what happens to a host: another version or kind, a field that is not known, text behind the end,
//! or something that no kernel hands out is refused, with its place.

mod consistent;
mod date;
mod document;
pub mod elements;
mod plan;
mod snapshot;

pub use consistent::check;
pub use date::{age, utc};
pub use document::{Error, LONGEST, Text, is_document, read, write};
pub(crate) use plan::Body as PlanBody;
pub use plan::{SavedPlan, Source, Steps, moved};
pub(crate) use snapshot::Body as SnapshotBody;
pub use snapshot::{Origin, Snapshot};
