//! The host that a verb is about: its kernel and the state directory.

use std::path::Path;

use super::not_permitted;
use crate::apply::state_dir::{self, StateDir};
use crate::apply::{self, Left, journal};
use crate::approach::SysctlKey;
use crate::diff::LiveState;
use crate::error::Failure;
use crate::live;
use crate::netlink::{self, Known, Nftables};
use crate::topology::Topology;

/// The kernel and the state directory of the network namespace that this process is in.
pub(super) struct Host {
    pub(super) nftables: Nftables,
    pub(super) state: StateDir,
    /// Where the elements of sets were read, for `--json`.
    pub(super) read: &'static str,
    command: String,
}

/// They were read from the kernel.
const KERNEL: &str = "kernel";
/// The rule set is of the generation that the last change left behind: they are as they were then.
const GENERATION: &str = "generation";

impl Host {
    pub(super) fn open(state_dir: Option<&Path>, command: &str) -> Result<Self, Failure> {
        let state = StateDir::locate(state_dir).map_err(|error| Failure::from_error(&error))?;
        let nftables = Nftables::open().map_err(|error| reading_failed(&error, command))?;
        Ok(Self { nftables, state, read: KERNEL, command: command.to_owned() })
    }

    /// Reads all that a plan for the topology depends on.
    pub(super) fn read(&mut self, topology: &Topology) -> Result<LiveState, Failure> {
        let intent = crate::intent::Intent::new(topology);
        let keys = crate::approach::sysctls(&intent).into_iter().map(|sysctl| sysctl.key);
        self.read_keys(keys)
    }

    /// The same, but what the last change left in the kernel is not read again while it is sure to be there.
    pub(super) fn read_what_moved(&mut self, topology: &Topology) -> Result<LiveState, Failure> {
        let intent = crate::intent::Intent::new(topology);
        let keys = crate::approach::desired(&intent).sysctls.into_iter().map(|sysctl| sysctl.key);
        let left = self.state.clone();
        let mut left = Left::new(&left);
        let live = self.read_knowing(keys, &mut left)?;
        self.read = if left.is_used() { GENERATION } else { KERNEL };
        Ok(live)
    }

    /// Fails without the privilege to read the rule set.
    pub(super) fn permitted(&mut self) -> Result<(), Failure> {
        self.nftables.generation().map(|_| ()).map_err(|error| reading_failed(&error, &self.command))
    }

    pub(super) fn read_keys(
        &mut self,
        keys: impl IntoIterator<Item = SysctlKey>,
    ) -> Result<LiveState, Failure> {
        self.read_knowing(keys, &mut ())
    }

    fn read_knowing(
        &mut self,
        keys: impl IntoIterator<Item = SysctlKey>,
        known: &mut dyn Known,
    ) -> Result<LiveState, Failure> {
        // First, because it says so better than a journal would.
        self.permitted()?;
        let journal = journal::read(&self.state).map_err(|error| {
            let hint = match error {
                state_dir::Error::Journal { .. } => {
                    "it says which sysctls isoplan changed; move it away to go on without that knowledge"
                }
                _ => "say where state is kept: --state-dir DIR",
            };
            Failure::from_error(&error).hint(hint)
        })?;
        let kept = apply::kept(&self.state).map_err(|error| {
            Failure::from_error(&error)
                .hint("it says which open connections isoplan keeps; move it away, and none is kept")
        })?;
        let read = live::read_knowing(&mut self.nftables, keys, journal, known);
        let (live, _) = read.map_err(|error| match error {
            live::Error::Ruleset(error) => reading_failed(&error, &self.command),
            error => Failure::from_error(&error),
        })?;
        Ok(LiveState { kept, ..live })
    }
}

fn reading_failed(error: &netlink::Error, command: &str) -> Failure {
    match error {
        netlink::Error::NotPermitted => {
            not_permitted(Failure::new("cannot read the live rule set: operation not permitted"), command)
        }
        error => Failure::from_error(error),
    }
}
