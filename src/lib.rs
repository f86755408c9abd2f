//! isoplan plans, proves and applies network isolation on a container host.
//!
//! A pure core turns a [`topology`] into an intent, an approach turns that into desired state, and a
//! diff against the live state becomes a plan. Only the shell around it reads or writes the kernel.
//! `docs/architecture.md` has the map.

pub mod apply;
pub mod approach;
pub mod boot;
pub mod cli;
pub mod diff;
pub mod draft;
pub mod error;
pub mod flows;
pub mod host;
pub mod install;
pub mod intent;
pub mod lab;
pub mod live;
pub mod meaning;
pub mod netlink;
pub mod plan;
pub mod render;
pub mod risks;
pub mod ruleset;
pub mod saved;
pub mod status;
pub mod topology;
pub mod verify;
pub mod vigil;
pub mod watch;
