//! `isoplan check`

use schemars::JsonSchema;
use serde::Serialize;

use super::Output;
use super::topology::{Loaded, TopologyArg, print_refused};
use crate::error::{Exit, Failure};
use crate::intent::Intent;
use crate::plan::JSON_VERSION;
use crate::render::matrix;
use crate::topology::Remark;

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

#[derive(Serialize, JsonSchema)]
pub(super) struct CheckJson<'c> {
    /// [`JSON_VERSION`].
    version: u32,
    /// `check`.
    kind: &'static str,
    /// The file, as it was named; `<stdin>` for `-`.
    topology: &'c str,
    /// Whether the file was accepted; when not, the exit code is 65.
    ok: bool,
    /// All of them, in the order of the file; empty when `ok`.
    mistakes: Vec<MistakeJson<'c>>,
    /// Who may talk to whom; empty when not `ok`.
    matrix: Vec<matrix::PairJson>,
    /// How many rows and columns of the matrix are left out.
    matrix_cut: usize,
    /// What is right as it stands and may be a typing error, such as a role that nobody reaches and that is nearly
    /// another one.
    remarks: Vec<RemarkJson>,
}

#[derive(Serialize, JsonSchema)]
struct RemarkJson {
    /// In a sentence.
    message: String,
    /// The line of the entry that it is about, from 1.
    line: u32,
}

#[derive(Serialize, JsonSchema)]
struct MistakeJson<'c> {
    /// What is wrong.
    message: &'c str,
    /// Where, from 1.
    line: u32,
    /// Where in the line, in characters from 1.
    column: u32,
    /// What to do; absent where there is nothing to say.
    #[serde(skip_serializing_if = "Option::is_none")]
    hint: Option<&'c str>,
}

pub(super) fn run(args: &Args, output: &mut Output) -> Result<Exit, Failure> {
    match args.topology.load()?.0 {
        Loaded::Topology(topology) => {
            let intent = Intent::new(&topology);
            let remarks = topology.remarks();
            if args.json {
                output.json(&CheckJson {
                    version: JSON_VERSION,
                    kind: "check",
                    topology: &topology.file,
                    ok: true,
                    mistakes: Vec::new(),
                    matrix: matrix::pairs_json(&intent),
                    matrix_cut: matrix::cut(&intent),
                    remarks: remarks
                        .into_iter()
                        .map(|Remark { message, line }| RemarkJson { message, line })
                        .collect(),
                })?;
                return Ok(Exit::Done);
            }
            output.data(&matrix::page(&intent, output.terminal_width()))?;
            if !remarks.is_empty() {
                output.finish()?;
            }
            for Remark { message, line } in &remarks {
                output.remark(&format!("{}:{line}: {message}", topology.file));
            }
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
                remarks: Vec::new(),
            })?;
            Ok(Exit::Topology)
        }
        Loaded::Refused(refused) => Err(print_refused(&refused, output)),
    }
}
