//! `isoplan discover`

use super::{Output, StateArgs};
use crate::error::{Exit, Failure};

/// Draft a topology from what this host has now.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(flatten)]
    state: StateArgs,
}

pub(super) fn run(args: &Args, _output: &mut Output) -> Result<Exit, Failure> {
    let _ = &args.state;
    Err(Failure::new("not built yet"))
}
