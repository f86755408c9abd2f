//! `isoplan diff`

use std::path::PathBuf;

use super::Output;
use super::topology::TopologyArg;
use crate::error::{Exit, Failure};
use crate::intent::Intent;
use crate::meaning::Comparison;
use crate::render;

/// Compares two topology files and says first what changes in meaning: which pairs of networks gain or lose
/// which way, what opens before what closes; then the rules that do it. Needs no privilege and looks at no
/// host.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The topology file as it is now; - reads it from stdin
    #[arg(value_name = "OLD")]
    old: PathBuf,
    /// The topology file as it is meant to be; - reads it from stdin
    #[arg(value_name = "NEW")]
    new: PathBuf,
    /// Print the differences as JSON (docs/json.md)
    #[arg(long)]
    json: bool,
    /// Print Markdown, as a bot posts it below a pull request (docs/review.md)
    #[arg(long, conflicts_with = "json")]
    markdown: bool,
    /// Exit with 2 when there are differences
    #[arg(long)]
    detailed_exitcode: bool,
    /// List every pair and every element, not only the first few
    #[arg(long)]
    all: bool,
}

pub(super) fn run(args: &Args, output: &mut Output) -> Result<Exit, Failure> {
    if [&args.old, &args.new].iter().all(|file| file.as_os_str() == "-") {
        return Err(Failure::new("only one of the two files can be read from stdin")
            .exit(Exit::Usage)
            .hint("name a file for the other"));
    }
    let old = TopologyArg { topology: args.old.clone() }.checked(output);
    let new = TopologyArg { topology: args.new.clone() }.checked(output);
    let (old, new) = (old?, new?);
    let comparison = Comparison::new(&Intent::new(&old), &Intent::new(&new));
    if args.json {
        output.json(&render::meaning::json(&comparison, &old, &new))?;
    } else if args.markdown {
        output.data(&render::review::diff(&comparison, &old, &new, args.all))?;
    } else {
        output.data(&render::meaning::text(&comparison, &old, &new, output.style(args.all)))?;
    }
    let differs = args.detailed_exitcode && !comparison.is_empty();
    Ok(if differs { Exit::Differences } else { Exit::Done })
}
