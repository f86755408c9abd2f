//! Desired state as text, one file per format. Pure: what is rendered comes in, a `String` goes out.

pub mod comparison;
pub mod document;
mod element;
pub mod explanation;
pub mod iptables;
pub mod json;
pub mod junit;
pub mod matrix;
pub mod meaning;
pub mod means;
pub mod nft;
pub mod picture;
pub mod plan;
pub mod review;
mod rule;
pub mod status;
pub mod sysctl;
pub mod verification;
pub mod wrap;

pub use element::element;
pub use rule::rule;
