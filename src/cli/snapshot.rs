//! `isoplan snapshot`

use super::{Output, StateArgs};
use crate::error::{Exit, Failure};

/// Save what plans depend on of this host, for `plan --against`.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(flatten)]
    state: StateArgs,
}

pub(super) fn run(args: &Args, _output: &mut Output) -> Result<Exit, Failure> {
    let _ = &args.state;
    Err(Failure::new("not built yet"))
}
