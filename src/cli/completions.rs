//! `isoplan completions`, and what the scripts that it prints ask.

mod answer;
mod names;

use clap::CommandFactory as _;
use clap_complete::Shell;

use super::{Cli, Output};
use crate::error::{Exit, Failure};

pub(super) use answer::stage;

/// Prints a completion script. Those for bash, zsh and fish ask isoplan itself while you type, so that commands, flags
/// and files are completed as well as the names in your topology: bridges, NICs, roles, peers of a lab, probes. They
/// are from the file that --topology names, else from topology.toml, else from /etc/isoplan/topology.toml. Only that file is
/// read. Those for other shells know commands and flags.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The shell
    #[arg(value_enum)]
    shell: Shell,
}

/// The first word of a command line by which a script asks. Not for users, so neither in the help nor in the
/// completions.
///
/// `clap_complete` has scripts of its own that ask by an environment variable. This is a word because a variable that
/// somebody exports would turn `isoplan apply` into a completion that ends well; and because its script for bash
/// does not put together what bash takes apart at the colons in names of probes.
pub(super) const STAGE: &str = "complete-stage";

pub(super) fn run(args: &Args, output: &mut Output) -> Result<Exit, Failure> {
    let own = match args.shell {
        Shell::Bash => Some(include_str!("completions/isoplan.bash")),
        Shell::Zsh => Some(include_str!("completions/isoplan.zsh")),
        Shell::Fish => Some(include_str!("completions/isoplan.fish")),
        _ => None,
    };
    if let Some(script) = own {
        output.data(script)?;
    } else {
        let mut script = Vec::new();
        clap_complete::generate(args.shell, &mut Cli::command(), "isoplan", &mut script);
        output.data(&String::from_utf8_lossy(&script))?;
    }
    Ok(Exit::Done)
}
