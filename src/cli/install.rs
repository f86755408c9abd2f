//! `isoplan install`

use super::{Output, StateArgs};
use crate::error::{Exit, Failure};

/// Have a topology applied at boot, before the network is up.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(flatten)]
    state: StateArgs,
}

pub(super) fn run(args: &Args, _output: &mut Output) -> Result<Exit, Failure> {
    let _ = &args.state;
    Err(Failure::new("not built yet"))
}
