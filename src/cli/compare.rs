//! `isoplan compare`

use std::path::PathBuf;

use clap::builder::PossibleValuesParser;

use super::packets::{ProbeArgs, Source, observe};
use super::topology::TopologyArg;
use super::{Output, file};
use crate::approach::{Approach, compared};
use crate::error::{Exit, Failure};
use crate::intent::Intent;
use crate::render;
use crate::topology::Topology;
use crate::verify::report::{Comparison, Conclusion};

/// Builds the topology from throw-away network namespaces, sends the same packets under every approach,
/// captures them at both ends, and says in a table what gets through. Changes nothing on this host, and
/// needs no root where users may create user namespaces. Exits with 3 when the approach that the topology
/// chooses leaks or breaks what must work, and with 1 when one of its probes could not be tested.
#[derive(Debug, clap::Args)]
#[command(after_long_help = EXITS)]
pub(super) struct Args {
    #[command(flatten)]
    topology: TopologyArg,
    /// Compare only these, separated by commas
    #[arg(
        long,
        value_name = "APPROACHES",
        value_delimiter = ',',
        value_parser = PossibleValuesParser::new(Approach::ALL.map(Approach::as_str))
    )]
    approaches: Vec<String>,
    #[command(flatten)]
    probes: ProbeArgs,
    /// Show as well what carries out each approach, and every probe: what it is about, what was seen of it
    #[arg(long)]
    details: bool,
    /// Print the result as JSON (docs/json.md)
    #[arg(long, conflicts_with_all = ["details", "markdown"])]
    json: bool,
    /// Print the result as Markdown
    #[arg(long, conflicts_with = "details")]
    markdown: bool,
    /// Write the result to this file as well, as a page without scripts
    #[arg(long, value_name = "FILE")]
    html: Option<PathBuf>,
}

const EXITS: &str = "\
Everything happens in network namespaces of its own, which end with it; nothing changes on this
host. Root is not needed where users may create user namespaces.

Exits with 3 when the approach that the topology chooses leaks or breaks what must work, and with 1
when it does not and one of its probes could not be tested. Known residuals count for neither.";

pub(super) fn run(args: &Args, output: &mut Output) -> Result<Exit, Failure> {
    if let Some(path) = &args.html {
        file::free_for_document(path, &args.topology.topology)?;
    }
    let (text, topology) = args.topology.with_text(output)?;
    let chosen = Approach::from(topology.isolation.approach);
    let source = Source { topology: &topology, text: &text };
    let approaches = approaches(&args.approaches);
    let comparison = observe(&source, &args.probes, &approaches, chosen)?;
    let document = comparison.json();
    if let Some(path) = &args.html {
        let page = render::comparison::page(&document)
            .map_err(|error| Failure::new("cannot make the page").because(error.to_string()))?;
        file::write_document(path, &page)?;
    }
    if args.json {
        output.json(&document)?;
    } else if args.markdown {
        output.data(&render::comparison::markdown(&document))?;
    } else {
        let style = output.style(false);
        if args.details {
            output.data(&means(&topology, &comparison.approaches))?;
            output.data(&render::comparison::details(&document, style))?;
            output.data("\n")?;
        }
        output.data(&render::comparison::text(&document, style))?;
    }
    Ok(exit(&comparison, chosen))
}

/// What carries out each approach, so that a reader sees what was compared.
fn means(topology: &Topology, approaches: &[Approach]) -> String {
    /// A rule for each pair of many networks is not worth reading to the end.
    const LINES: usize = 24;
    let intent = Intent::new(topology);
    let mut text = String::new();
    for approach in approaches.iter().filter(|approach| **approach != Approach::None) {
        let typed = render::means::text(&compared(&intent, *approach), &topology.file);
        text.push_str(&format!("{} is:\n", approach.as_str()));
        for line in typed.lines().take(LINES) {
            text.push_str(&format!("    {line}\n"));
        }
        match typed.lines().count().saturating_sub(LINES) {
            0 if typed.is_empty() => {
                text.push_str("    nothing: it has nothing to say about this topology\n\n")
            }
            0 => text.push('\n'),
            more => text.push_str(&format!("    and {more} lines more\n\n")),
        }
    }
    text
}

/// The columns, in the order of the table whatever the order on the command line.
fn approaches(words: &[String]) -> Vec<Approach> {
    let is_asked =
        |approach: &Approach| words.is_empty() || words.iter().any(|word| word == approach.as_str());
    Approach::ALL.into_iter().filter(is_asked).collect()
}

/// How it ends, by the approach that was chosen. Where that was not asked for, nothing is said of it.
pub(super) fn exit(comparison: &Comparison, chosen: Approach) -> Exit {
    if !comparison.approaches.contains(&chosen) {
        return Exit::Done;
    }
    match comparison.conclusion(chosen) {
        Conclusion::Holds => Exit::Done,
        Conclusion::Leaks => Exit::Leak,
        Conclusion::Unknown => Exit::Failed,
    }
}
