//! `isoplan completions`

use clap::CommandFactory as _;
use clap_complete::Shell;

use super::{Cli, Output};
use crate::error::{Exit, Failure};

/// Prints a completion script. For bash: `isoplan completions bash > /etc/bash_completion.d/isoplan`
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The shell
    #[arg(value_enum)]
    shell: Shell,
}

pub(super) fn run(args: &Args, output: &mut Output) -> Result<Exit, Failure> {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut Cli::command(), "isoplan", &mut script);
    output.data(&String::from_utf8_lossy(&script))?;
    Ok(Exit::Done)
}
