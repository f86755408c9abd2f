//! `isoplan verify`

use std::path::PathBuf;

use clap::builder::PossibleValuesParser;

use super::compare::exit;
use super::packets::{ProbeArgs, Source, observe, trace};
use super::topology::TopologyArg;
use super::{Output, file};
use crate::approach::Approach;
use crate::error::{Exit, Failure};
use crate::render;
use crate::verify::outcome::Verdict;
use crate::verify::probe::{Probe, Sending};

/// Carries out one approach in a lab of throw-away network namespaces, sends every probe with and without
/// it, and compares what arrives with what the topology asks for. A leak is shown with what was sent, where
/// and from whom it was seen, and what let it by. Exits with 3 when something leaks or breaks, and with 1
/// when nothing does and a probe could not be tested.
#[derive(Debug, clap::Args)]
#[command(after_long_help = EXITS)]
pub(super) struct Args {
    #[command(flatten)]
    topology: TopologyArg,
    /// Verify this one [default: the topology's]
    #[arg(
        long,
        value_name = "APPROACH",
        value_parser = PossibleValuesParser::new(Approach::ALL[1..].iter().map(|approach| approach.as_str()))
    )]
    approach: Option<String>,
    #[command(flatten)]
    probes: ProbeArgs,
    /// Show every probe, and every leak in full
    #[arg(long)]
    details: bool,
    /// Print the result as JSON (docs/json.md)
    #[arg(long, conflicts_with = "details")]
    json: bool,
    /// Write the result to this file as well, as JUnit XML for CI
    #[arg(long, value_name = "FILE")]
    junit: Option<PathBuf>,
}

const EXITS: &str = "\
Everything happens in network namespaces of its own, which end with it; nothing changes on this
host. Root is not needed where users may create user namespaces.

Exits with 3 when something leaks or breaks, and with 1 when nothing does and a probe could not be
tested. Known residuals count for neither.";

pub(super) fn run(args: &Args, output: &mut Output) -> Result<Exit, Failure> {
    if let Some(path) = &args.junit {
        file::free_for_document(path, &args.topology.topology)?;
    }
    let (text, topology) = args.topology.with_text(output)?;
    let named = args.approach.as_deref();
    let named = Approach::ALL.into_iter().find(|approach| Some(approach.as_str()) == named);
    let approach = named.unwrap_or_else(|| Approach::from(topology.isolation.approach));
    let source = Source { topology: &topology, text: &text };
    let mut comparison = observe(&source, &args.probes, &[approach], approach)?;
    let is_bad =
        |probe: &&Probe| matches!(comparison.verdict(approach, probe), Verdict::Leak | Verdict::Broken);
    let bad: Vec<String> = comparison.probes.iter().filter(is_bad).map(|probe| probe.name.clone()).collect();
    if !bad.is_empty() {
        trace(&source, &mut comparison, &bad)?;
    }
    let file = (args.topology.topology.as_os_str() != "-").then(|| args.topology.as_typed());
    let again = |probe: &Probe| {
        let (file, approach, name) = (file.as_deref()?, approach.as_str(), &probe.name);
        // In a lab that is already there, nothing is changed, and nothing was opened before the approach came.
        let is_early = matches!(probe.sending, Sending::Established { .. });
        Some(match probe.change.is_some() || is_early {
            true => format!("isoplan verify {file} --approach {approach} --probes {name}"),
            false => format!("isoplan lab {file} --approach {approach} -- isoplan probe {name}"),
        })
    };
    let document = comparison.verification_json(again);
    if let Some(path) = &args.junit {
        let xml = render::junit::file(&document)
            .map_err(|error| Failure::new("cannot make the JUnit file").because(error.to_string()))?;
        super::file::write_document(path, &xml)?;
    }
    if args.json {
        output.json(&document)?;
    } else {
        output.data(&render::verification::text(&document, output.style(args.details)))?;
    }
    Ok(exit(&comparison, approach))
}
