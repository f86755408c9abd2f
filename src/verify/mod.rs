//! What is to be shown with packets, as data: the lab's layout, the probes, what is expected of them, and
//! what came of them. Pure; [`crate::lab`] carries it out.

pub mod catalogue;
pub mod change;
pub mod explanation;
pub mod guarantee;
pub mod outcome;
pub mod packet;
pub mod pattern;
pub mod probe;
pub mod question;
pub mod report;
pub mod world;
