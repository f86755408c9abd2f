//! Sends probes and says what became of them.
//!
//! That nothing arrived is known by order, never by waiting.

use std::collections::BTreeMap;
use std::io;

use super::build::Lab;
use crate::verify::outcome::Observation;
use crate::verify::probe::Probe;

/// Captures at every node, sockets for answers, and flows that were opened early.
#[derive(Debug)]
pub struct Prober {}

impl Prober {
    /// Opens the captures at every node and in the host's sockets.
    ///
    /// # Errors
    ///
    /// When a socket cannot be opened.
    pub fn start(_lab: &Lab) -> io::Result<Self> {
        todo!()
    }

    /// Opens what a probe needs before the approach is applied: the flow of `Sending::Established`.
    /// A flow that cannot be opened makes the probe one that could not be tested.
    pub fn prepare(&mut self, _lab: &Lab, _probes: &[Probe]) {
        todo!()
    }

    /// Sends one probe and says what became of it.
    pub fn run(&mut self, _lab: &Lab, _probe: &Probe) -> Observation {
        todo!()
    }

    /// Sends them one after the other; conntrack forgets all flows in between but those that were prepared.
    pub fn run_all(&mut self, lab: &Lab, probes: &[Probe]) -> BTreeMap<String, Observation> {
        probes.iter().map(|probe| (probe.name.clone(), self.run(lab, probe))).collect()
    }

    /// A namespace's links were made again, or a new node came: captures are opened again where needed.
    ///
    /// # Errors
    ///
    /// When a socket cannot be opened.
    pub fn refresh(&mut self, _lab: &Lab) -> io::Result<()> {
        todo!()
    }
}
