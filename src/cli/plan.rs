//! `isoplan plan`

use super::host::Host;
use super::topology::TopologyArg;
use super::{Output, StateArgs};
use crate::error::{Exit, Failure};
use crate::plan::Plan;
use crate::render;

/// Compares the topology with the live rule set and sysctls of this host (or of the network namespace
/// that it runs in) and prints what `apply` would do. Changes nothing.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(flatten)]
    topology: TopologyArg,
    /// Print the plan as JSON (docs/json.md)
    #[arg(long)]
    json: bool,
    /// Exit with 2 when there are differences
    #[arg(long)]
    detailed_exitcode: bool,
    /// List every element, not only the first few of each set
    #[arg(long)]
    all: bool,
    #[command(flatten)]
    state: StateArgs,
}

pub(super) fn run(args: &Args, output: &mut Output) -> Result<Exit, Failure> {
    let topology = args.topology.checked(output)?;
    let command = format!("plan {}", args.topology.as_typed());
    let mut host = Host::open(args.state.state_dir.as_deref(), &command)?;
    let live = host.read(&topology)?;
    let plan = Plan::new(&topology, &live);
    if args.json {
        output.json(&plan.json())?;
    } else {
        output.data(&render::plan::plan(&plan, output.style(args.all)))?;
        if !plan.diff.is_empty() {
            let file = args.topology.as_typed();
            output.data(&match plan.diff.missing.is_empty() {
                true => format!("Nothing has been changed; `isoplan apply {file}` does it.\n"),
                false => "Nothing has been changed. `isoplan apply` refuses until what is missing exists.\n"
                    .to_owned(),
            })?;
        }
    }
    let differs = args.detailed_exitcode && !plan.diff.is_empty();
    Ok(if differs { Exit::Differences } else { Exit::Done })
}
