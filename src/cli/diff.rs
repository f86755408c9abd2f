//! `isoplan diff`

use super::{Output, StateArgs};
use crate::error::{Exit, Failure};

/// Show what changes in meaning between two topology files, and the rules that do it.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(flatten)]
    state: StateArgs,
}

pub(super) fn run(args: &Args, _output: &mut Output) -> Result<Exit, Failure> {
    let _ = &args.state;
    Err(Failure::new("not built yet"))
}
