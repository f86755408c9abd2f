//! `isoplan plan`

use std::path::PathBuf;

use schemars::JsonSchema;
use serde::Serialize;

use super::file::{self, Replace};
use super::host::Host;
use super::saved::{self, Given};
use super::topology::TopologyArg;
use super::{Output, StateArgs, open};
use crate::apply::Pending;
use crate::diff::LiveState;
use crate::error::{Exit, Failure};
use crate::plan::{Plan, PlanJson};
use crate::render;
use crate::render::wrap::push_wrapped;
use crate::saved::{Origin, SavedPlan};

/// Compares the topology with the live rule set and sysctls of this host (or of the network namespace
/// that it runs in) and prints what `apply` would do. Changes nothing.
///
/// With --against it compares with a snapshot of another host, and needs no privilege. In place of a topology
/// it takes a saved plan, which it shows again.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(flatten)]
    topology: TopologyArg,
    /// Save the plan for `isoplan apply FILE`, with the state that it was worked out from
    #[arg(long, short, value_name = "FILE")]
    output: Option<PathBuf>,
    /// Replace the file when it exists
    #[arg(long, requires = "output")]
    force: bool,
    /// Compare with what `isoplan snapshot` saved, not with this host
    #[arg(long, value_name = "SNAPSHOT")]
    against: Option<PathBuf>,
    /// Print the plan as JSON (docs/json.md)
    #[arg(long)]
    json: bool,
    /// Print Markdown, as a bot posts it below a pull request (docs/review.md)
    #[arg(long, conflicts_with = "json")]
    markdown: bool,
    /// Exit with 2 when there are differences
    #[arg(long)]
    detailed_exitcode: bool,
    /// Plan for `isoplan apply --keep-established`
    #[arg(long, conflicts_with_all = ["output", "against"])]
    keep_established: bool,
    /// List every element, not only the first few of each set
    #[arg(long)]
    all: bool,
    #[command(flatten)]
    state: StateArgs,
}

/// The JSON of a plan against a snapshot, or of a saved one, says where its state is from.
#[derive(Serialize, JsonSchema)]
pub(super) struct Json<'a> {
    /// The plan.
    #[serde(flatten)]
    plan: PlanJson<'a>,
    /// Where and when the state was read that the plan is against; absent where that is this host, now.
    #[serde(skip_serializing_if = "Option::is_none")]
    against: Option<&'a Origin>,
    /// A change that waits to be confirmed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pending: Option<crate::status::Pending>,
    /// Where the elements of sets were read.
    #[serde(skip_serializing_if = "Option::is_none")]
    read: Option<&'static str>,
}

/// What is known of the host, where the plan is of this one.
#[derive(Clone, Copy, Default)]
struct Here<'h> {
    pending: Option<&'h Pending>,
    read: Option<&'static str>,
}

pub(super) fn run(args: &Args, output: &mut Output) -> Result<Exit, Failure> {
    match (&args.against, &args.output) {
        (Some(_), Some(_)) => {
            return Err(Failure::new("a plan against a snapshot cannot be saved").exit(Exit::Usage).hint(
                "a saved plan is carried out on the host that it was worked out on, where nothing has changed \
                 since: run `isoplan plan -o FILE TOPOLOGY` there",
            ));
        }
        (_, Some(path)) if path.as_os_str() == "-" => {
            return Err(Failure::new("a plan is saved in a file").exit(Exit::Usage));
        }
        (_, Some(path)) => file::free(path, replace(args))?,
        _ => {}
    }
    let given = args.topology.given(output)?;
    if let Some(saved) = &given.saved {
        if args.against.is_some() || args.output.is_some() || args.keep_established {
            return Err(Failure::new("this is a saved plan, which has its own state and is saved already")
                .exit(Exit::Usage)
                .hint("name a topology"));
        }
        let plan = saved::again(saved, &given.topology)?;
        return shown(
            args,
            output,
            (&plan, &saved.state),
            Some((&saved.origin, "Saved plan")),
            Here::default(),
        );
    }
    if let Some(path) = &args.against {
        let snapshot = saved::snapshot(path)?;
        let plan = Plan::new(&given.topology, &snapshot.state);
        let from = Some((&snapshot.origin, "Against a snapshot"));
        return shown(args, output, (&plan, &snapshot.state), from, Here::default());
    }
    let command = format!("plan {}", args.topology.as_typed());
    let mut host = Host::open(args.state.state_dir.as_deref(), &command)?;
    let live = host.read_what_moved(&given.topology)?;
    let plan = match args.keep_established {
        true => open::keeping(&given.topology, &live)?,
        false => {
            let mut plan = Plan::new(&given.topology, &live);
            open::look(&mut plan, &live);
            plan
        }
    };
    let pending = super::pending::pending(&host)?;
    if !args.json && !plan.diff.is_empty() {
        super::pending::tell_pending(&host, output);
    }
    if let Some(path) = &args.output {
        file::write(path, &document(&host, &plan, &given, live.clone())?, replace(args))?;
    }
    let here = Here { pending: pending.as_ref(), read: Some(host.read) };
    shown(args, output, (&plan, &live), None, here)
}

fn replace(args: &Args) -> Replace<'_> {
    Replace { force: args.force, input: Some(&args.topology.topology) }
}

fn document(host: &Host, plan: &Plan<'_>, given: &Given, live: LiveState) -> Result<Vec<u8>, Failure> {
    let saved = SavedPlan::new(plan, &given.text, live, host.origin()?);
    saved.to_bytes().map_err(|error| Failure::from_error(&error))
}

fn shown(
    args: &Args,
    output: &mut Output,
    (plan, live): (&Plan<'_>, &LiveState),
    from: Option<(&Origin, &str)>,
    here: Here<'_>,
) -> Result<Exit, Failure> {
    let pending = here.pending;
    if args.json {
        let against = from.map(|(origin, _)| origin);
        output.json(&Json {
            plan: plan.json(),
            against,
            pending: pending.map(super::pending::json),
            read: here.read,
        })?;
    } else if args.markdown {
        let words = from.map(|(origin, words)| format!("{words}: {}", saved::whose(origin, plan.generation)));
        let host = from.map(|(origin, _)| origin.host.to_string());
        let seen = render::review::Seen { host: host.as_deref(), words: words.as_deref() };
        output.data(&render::review::plan(plan, live, seen, args.all))?;
    } else {
        if let Some((origin, words)) = from {
            let mut note = String::new();
            let sentence = format!("{words}: {}.", saved::whose(origin, plan.generation));
            push_wrapped(&mut note, &sentence, output.style(false).width, 0);
            output.note(note.trim_end());
        }
        output.data(&render::plan::plan(plan, output.style(args.all)))?;
        if let Some(pending) = pending.filter(|_| plan.diff.is_empty()) {
            output.tell(&super::pending::words(pending))?;
        }
        let what_next = what_next(args, plan);
        if !what_next.is_empty() {
            output.data(&format!("{what_next}\n"))?;
        }
    }
    let differs = args.detailed_exitcode && !plan.diff.is_empty();
    Ok(if differs { Exit::Differences } else { Exit::Done })
}

fn what_next(args: &Args, plan: &Plan<'_>) -> String {
    let file = args.topology.as_typed();
    let saved = args.output.as_ref().map(|path| path.display().to_string());
    match (plan.diff.is_empty(), saved) {
        (true, None) => String::new(),
        (true, Some(saved)) => format!("Saved in {saved}."),
        _ if !plan.diff.missing.is_empty() => {
            "Nothing has been changed. `isoplan apply` refuses until what is missing exists.".to_owned()
        }
        (false, Some(saved)) => {
            format!("Nothing has been changed; `isoplan apply {saved}` does exactly this, or refuses.")
        }
        (false, None) if args.against.is_some() => "Nothing has been changed.".to_owned(),
        (false, None) => {
            let keep = if args.keep_established { "--keep-established " } else { "" };
            format!("Nothing has been changed; `isoplan apply {keep}{file}` does it.")
        }
    }
}
