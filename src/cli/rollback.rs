//! `isoplan rollback`

use super::{Output, StateArgs};
use crate::error::{Exit, Failure};

/// Undo the last apply: tables and sysctls, exactly.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(flatten)]
    state: StateArgs,
}

pub(super) fn run(args: &Args, _output: &mut Output) -> Result<Exit, Failure> {
    let _ = &args.state;
    Err(Failure::new("not built yet"))
}
