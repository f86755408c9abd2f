//! Desired state as text, one file per format. Pure: what is rendered comes in, a `String` goes out.

mod element;
pub mod nft;
mod rule;

pub use element::element;
pub use rule::rule;
