//! `isoplan check`

use serde::Serialize;

use super::Output;
use super::topology::{Loaded, TopologyArg, print_refused};
use crate::error::{Exit, Failure};
use crate::intent::Intent;
use crate::plan::JSON_VERSION;
use crate::render::matrix;

/// Checks the whole file and reports every mistake at once, with its place and a hint. A right file is
/// answered with the matrix of who may talk to whom. Needs no privilege and reads nothing of this host.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(flatten)]
    topology: TopologyArg,
    /// Print the result as JSON (docs/json.md)
    #[arg(long)]
    json: bool,
}

#[derive(Serialize)]
struct CheckJson<'c> {
    version: u32,
    kind: &'static str,
    topology: &'c str,
    ok: bool,
    mistakes: Vec<MistakeJson<'c>>,
    matrix: Vec<matrix::PairJson>,
    /// How many rows and columns of the matrix are left out.
    matrix_cut: usize,
}

#[derive(Serialize)]
struct MistakeJson<'c> {
    message: &'c str,
    line: u32,
    column: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    hint: Option<&'c str>,
}

pub(super) fn run(args: &Args, output: &mut Output) -> Result<Exit, Failure> {
    match args.topology.load()?.0 {
        Loaded::Topology(topology) => {
            let intent = Intent::new(&topology);
            if args.json {
                output.json(&CheckJson {
                    version: JSON_VERSION,
                    kind: "check",
                    topology: &topology.file,
                    ok: true,
                    mistakes: Vec::new(),
                    matrix: matrix::pairs_json(&intent),
                    matrix_cut: matrix::cut(&intent),
                })?;
                return Ok(Exit::Done);
            }
            output.data(&matrix::page(&intent, output.terminal_width()))?;
            Ok(Exit::Done)
        }
        Loaded::Refused(refused) if args.json => {
            output.json(&CheckJson {
                version: JSON_VERSION,
                kind: "check",
                topology: &refused.file,
                ok: false,
                mistakes: refused
                    .mistakes
                    .iter()
                    .map(|mistake| MistakeJson {
                        message: &mistake.message,
                        line: mistake.line,
                        column: mistake.column,
                        hint: mistake.hint.as_deref(),
                    })
                    .collect(),
                matrix: Vec::new(),
                matrix_cut: 0,
            })?;
            Ok(Exit::Topology)
        }
        Loaded::Refused(refused) => Err(print_refused(&refused, output)),
    }
}
