//! The lab: a topology as throw-away network namespaces, and the probes sent in it.
//!
//! Everything happens in namespaces of this program's own making (user, network, mount, pid) and ends with the
//! process, also on `kill -9`. The process in the lab has one thread and stays on one CPU, so that packets keep
//! their order; see [`prober`].

pub mod build;
pub mod capture;
pub mod change;
pub mod flood;
pub mod frame;
pub mod isolate;
pub mod node;
pub mod prober;
pub mod protect;
pub mod run;
pub mod serve;
pub mod session;
pub mod trace;
pub mod worker;
