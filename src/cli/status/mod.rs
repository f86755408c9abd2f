//! `isoplan status`

mod live_view;
mod write;

use std::path::PathBuf;

use clap::ValueEnum;

use super::host::Host;
use super::pending;
use super::topology::TopologyArg;
use super::{Output, StateArgs, file};
use crate::apply::{self, journal};
use crate::diff::Journaled;
use crate::error::{Exit, Failure};
use crate::live;
use crate::plan::Plan;
use crate::render::status as render;
use crate::risks::{LastChange, LastEnd};
use crate::status::{Beside, Status};
use crate::topology::Topology;

/// Tells whether isoplan's tables are in place, what their drop rules have counted, and what goes around
/// them.
///
/// With a topology it tells what differs from it and who probably did that, counts drops by pairs of
/// networks, and lists the residual risks of this host: docs/operate.md has what each means. Exits with 2
/// when it is not in place, or when a change is overdue that nobody confirmed and nothing undoes.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Compare with this topology file
    #[arg(value_name = "TOPOLOGY")]
    topology: Option<PathBuf>,
    /// Print the result as JSON (docs/json.md)
    #[arg(long, conflicts_with = "format")]
    json: bool,
    /// Print it as text, as JSON, or for the textfile collector of Prometheus' node_exporter
    #[arg(long, value_enum, value_name = "FORMAT", default_value = "text")]
    format: Format,
    /// Write it to this file, replaced whole, and not to stdout
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
    /// Look again every second: on a terminal redrawn until q or Ctrl-C, else a line for each change
    #[arg(long, conflicts_with_all = ["json", "format", "output"])]
    watch: bool,
    /// Exit with 2 when there are residual risks as well
    #[arg(long)]
    strict: bool,
    #[command(flatten)]
    state: StateArgs,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Format {
    /// For people
    Text,
    /// docs/json.md
    Json,
    /// Metrics, in the text format of Prometheus
    Prometheus,
}

pub(super) fn run(args: &Args, output: &mut Output) -> Result<Exit, Failure> {
    let topology = match &args.topology {
        Some(path) => Some(TopologyArg { topology: path.clone() }.checked(output)?),
        None => None,
    };
    let command = match &args.topology {
        Some(path) => format!("status {}", path.display()),
        None => "status".to_owned(),
    };
    if let Some(path) = &args.output {
        file::not_input(path, args.topology.as_deref())?;
    }
    let mut reader = Reader { host: Host::open(args.state.state_dir.as_deref(), &command)?, topology };
    if args.watch {
        return live_view::run(&mut reader, args.strict, output);
    }
    let read = reader.read()?;
    let text = match if args.json { Format::Json } else { args.format } {
        Format::Json => {
            let text = serde_json::to_string_pretty(&read.status)
                .map_err(|error| Failure::new("cannot write JSON").because(error.to_string()))?;
            text + "\n"
        }
        Format::Prometheus => render::prometheus::text(&read.status),
        Format::Text => render::text::text(&read.status, &read.still_mine, output.style(false).width),
    };
    match &args.output {
        Some(path) => write::replaced(path, &text)?,
        None => output.data(&text)?,
    }
    Ok(exit(&read.status, args.strict))
}

fn exit(status: &Status, strict: bool) -> Exit {
    let at_risk = strict && !(status.risks.is_empty() && status.unseen.is_empty());
    let is_overdue = status.pending.as_ref().is_some_and(|pending| pending.overdue);
    if status.in_place && !at_risk && !is_overdue { Exit::Done } else { Exit::Differences }
}

/// Reads a status again and again.
struct Reader {
    host: Host,
    topology: Option<Topology>,
}

/// A status, and what its text needs besides.
struct Read {
    status: Status,
    still_mine: Vec<Journaled>,
}

impl Reader {
    fn read(&mut self) -> Result<Read, Failure> {
        let live = match &self.topology {
            Some(topology) => self.host.read(topology)?,
            None => self.host.read_keys([])?,
        };
        let plan = self.topology.as_ref().map(|topology| Plan::new(topology, &live));
        let still_mine = journal::still_mine(&live);
        let facts = live::facts(&mut self.host.nftables, self.topology.as_ref());
        let mut beside = Beside { facts, still_mine: still_mine.clone(), ..Beside::default() };
        match apply::last(&self.host.state) {
            Ok(last) => beside.last = last.as_ref().map(last_change),
            Err(error) => beside.facts.unseen.push(format!("the record of the last change: {error}")),
        }
        beside.pending = apply::pending(&self.host.state).ok().flatten().as_ref().map(pending::json);
        beside.watch = self.host.state.is_watched();
        Ok(Read { status: Status::new(plan.as_ref(), &live, beside), still_mine })
    }
}

fn last_change(change: &apply::Change) -> LastChange {
    LastChange {
        verb: change.verb.as_str(),
        topology: change.topology.as_str().to_owned(),
        end: match change.phase {
            apply::Phase::Begun => LastEnd::Begun,
            apply::Phase::Done => LastEnd::Done,
            apply::Phase::Undoing { .. } => LastEnd::Undone,
            apply::Phase::Undone { overdue: false, .. } => LastEnd::Undone,
            apply::Phase::Undone { overdue: true, .. } => LastEnd::Overdue,
        },
    }
}
