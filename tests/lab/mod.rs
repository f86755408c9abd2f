//! Support for tests with packets: a container host and its servers as throw-away namespaces, probes that are
//! sent from one of them, and captures that say what arrived at another.
//!
//! Nothing here touches the machine's own network. [`isolate`] re-runs the program inside namespaces of its own
//! first, and every namespace, link, process and file made there ends with it, also on `kill -9`.

pub(crate) mod build;
pub(crate) mod capture;
pub(crate) mod flood;
pub(crate) mod frame;
pub(crate) mod isolate;
pub(crate) mod node;
pub(crate) mod packet;
pub(crate) mod probe;
pub(crate) mod program;
#[cfg(test)]
pub(crate) mod schema;
pub(crate) mod session;
pub(crate) mod spec;
pub(crate) mod systemd;
pub(crate) mod terminal;

pub(crate) use build::Lab;
pub(crate) use isolate::{Privilege, in_namespace, in_namespace_with};
pub(crate) use probe::Outcome;
pub(crate) use program::{Program, Ran};
pub(crate) use spec::{Family, HostSpec, Masquerade};

/// The port that every node of a lab answers on, over UDP and TCP.
pub(crate) const PORT: u16 = 9000;
