//! `isoplan snapshot`

use std::path::PathBuf;

use super::file::{self, Replace};
use super::host::Host;
use super::{Output, StateArgs, saved};
use crate::error::{Exit, Failure};
use crate::live;
use crate::saved::Snapshot;

/// Saves all that a plan for any topology depends on of this host: isoplan's own tables, the sysctls of
/// forwarding, links and addresses. `isoplan plan --against` plans on it elsewhere, without privilege.
/// Changes nothing.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Write it to a file, for its owner alone, instead of stdout
    #[arg(long, short, value_name = "FILE")]
    output: Option<PathBuf>,
    /// Replace the file when it exists
    #[arg(long, requires = "output")]
    force: bool,
    #[command(flatten)]
    state: StateArgs,
}

pub(super) fn run(args: &Args, output: &mut Output) -> Result<Exit, Failure> {
    let replace = Replace { force: args.force, input: None };
    if let Some(path) = &args.output {
        file::free(path, replace)?;
    }
    let mut host = Host::open(args.state.state_dir.as_deref(), "snapshot")?;
    let state = host.read_keys(live::every_key())?;
    let snapshot = Snapshot { origin: host.origin()?, state };
    let bytes = snapshot.to_bytes().map_err(|error| Failure::from_error(&error))?;
    match &args.output {
        None => output.data(&String::from_utf8_lossy(&bytes))?,
        Some(path) => {
            file::write(path, &bytes, replace)?;
            let whose = saved::whose(&snapshot.origin, snapshot.state.generation);
            output.note(&format!("Saved in {}: {whose}.", path.display()));
        }
    }
    Ok(Exit::Done)
}
