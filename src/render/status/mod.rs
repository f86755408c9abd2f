//! The answer of `isoplan status`, for people and for Prometheus.

pub mod prometheus;
pub mod text;
