//! `isoplan apply`

use std::time::Duration;

use serde::Serialize;

use super::host::Host;
use super::rollback::{named, record_failed};
use super::saved;
use super::topology::TopologyArg;
use super::{Output, StateArgs, not_permitted, open};
use crate::apply::state_dir::{self, Lock};
use crate::apply::{self, Purpose, Report, Verb};
use crate::diff::{LiveState, table_name};
use crate::error::{Exit, Failure};
use crate::flows::keep::Kept;
use crate::netlink::CommitError;
use crate::plan::{JSON_VERSION, Plan, PlanJson};
use crate::render;
use crate::ruleset::Op;
use crate::topology::{EntryId, Topology};

/// Shows the plan, asks, applies it in one transaction, writes the sysctls, and reads everything back.
/// Either all of it is done or nothing. Drops are in place before forwarding is switched on.
///
/// In place of a topology it takes a plan that `isoplan plan -o FILE` saved: then it does exactly that, or
/// refuses because it is not what is to be done any more.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(flatten)]
    topology: TopologyArg,
    /// Do not ask
    #[arg(long, short)]
    yes: bool,
    /// Show the plan and stop there
    #[arg(long, short = 'n')]
    dry_run: bool,
    /// Undo it again after this time (60s, 5m, 1h), unless `isoplan confirm` comes
    #[arg(long, value_name = "TIME", value_parser = window)]
    confirm_within: Option<Duration>,
    /// Print the result as JSON (docs/json.md); needs --yes or --dry-run
    #[arg(long)]
    json: bool,
    /// Leave open TCP, UDP, SCTP and DCCP connections alone that the change would cut, until they end
    ///
    /// Dangerous: whoever is connected to storage now stays connected, for as long as he likes. Only those very
    /// connections are kept, by link, addresses, protocol and ports; new ones are dropped. The next apply without
    /// this ends them. Not with approach "sysctl".
    #[arg(long)]
    keep_established: bool,
    /// List every element, not only the first few of each set
    #[arg(long)]
    all: bool,
    #[command(flatten)]
    state: StateArgs,
}

#[derive(Serialize)]
struct ApplyJson<'a> {
    version: u32,
    kind: &'static str,
    /// Whether the kernel was changed.
    applied: bool,
    /// Length of the transaction, in bytes.
    transaction_bytes: usize,
    /// How many times it was sent until nobody else came in between.
    tries: u32,
    /// In how many seconds it is undone unless it is confirmed.
    #[serde(skip_serializing_if = "Option::is_none")]
    confirm_within: Option<f64>,
    /// What was done, or with --dry-run would be.
    plan: PlanJson<'a>,
}

pub(super) fn run(args: &Args, output: &mut Output) -> Result<Exit, Failure> {
    if args.json && !args.yes && !args.dry_run {
        return Err(Failure::new("--json cannot ask").exit(Exit::Usage).hint("add --yes or --dry-run"));
    }
    let given = args.topology.given(output)?;
    let topology = &given.topology;
    let command = format!("apply {}", args.topology.as_typed());
    let mut host = Host::open(args.state.state_dir.as_deref(), &command)?;
    // Whoever is not asked waits for his turn before he looks. Whoever is asked looks first, and what
    // changes until he has answered makes the plan stale.
    let early = if args.yes && !args.dry_run { Some(lock(&mut host, output, &command)?) } else { None };
    let live = host.read(topology)?;
    let mut is_again = false;
    let plan = match &given.saved {
        None if args.keep_established => open::keeping(topology, &live)?,
        None => {
            // What an earlier apply kept open ends with this one.
            let mut plan = Plan::with_kept(topology, &live, Kept::default());
            open::look(&mut plan, &live);
            plan
        }
        Some(_) if args.keep_established => {
            return Err(Failure::new("a saved plan says itself which connections it keeps")
                .exit(Exit::Usage)
                .hint("name a topology, or leave --keep-established out"));
        }
        Some(saved) => {
            let plan = saved::again(saved, topology)?;
            if let Some(in_place) = saved::still(saved, &plan, &live)? {
                is_again = true;
                in_place
            } else {
                for what in saved::beside(&plan, &live) {
                    output.note(&what);
                }
                plan
            }
        }
    };
    if !args.json {
        let text = render::plan::plan(&plan, output.style(args.all));
        let text = if is_again { text.replacen("In place:", "In place already:", 1) } else { text };
        output.data(&text)?;
    }
    let nothing = Report { transaction_bytes: 0, tries: 0 };
    if args.dry_run || plan.diff.is_empty() {
        return finish(args, output, &plan, None, nothing);
    }
    none_pending(&host)?;
    let question = if plan.kept.is_empty() {
        "\nApply this?".to_owned()
    } else {
        format!("\nApply this, and leave {} open connections past it?", plan.kept_connections())
    };
    if !args.yes && !output.ask(&question)? {
        output.note("Nothing has been changed.");
        return Ok(Exit::Failed);
    }
    let held = match early {
        Some(lock) => lock,
        None => lock(&mut host, output, &command)?,
    };
    none_pending(&host)?;
    let purpose = Purpose {
        verb: Verb::Apply,
        topology: &topology.file,
        text: Some(&given.text),
        confirm_within: args.confirm_within,
    };
    let report = apply::change(&mut host.nftables, &host.state, &plan.desired, &plan.diff, &live, purpose)
        .map_err(|error| applying_failed(&error, topology, &command))?;
    // Whoever confirms it takes the lock.
    drop(held);
    finish(args, output, &plan, Some(&live), report)
}

fn finish(
    args: &Args,
    output: &mut Output,
    plan: &Plan<'_>,
    applied: Option<&LiveState>,
    report: Report,
) -> Result<Exit, Failure> {
    if args.json {
        output.json(&ApplyJson {
            version: JSON_VERSION,
            kind: "apply",
            applied: applied.is_some(),
            transaction_bytes: report.transaction_bytes,
            tries: report.tries,
            confirm_within: args.confirm_within.filter(|_| applied.is_some()).map(|time| time.as_secs_f64()),
            plan: plan.json(),
        })?;
    } else if applied.is_some() {
        let objects = plan.diff.objects;
        let file = &plan.topology.file;
        output.data(&format!("\nApplied and read back: {objects} objects match {file}.\n"))?;
        if let Some(window) = args.confirm_within {
            return waits(args, output, window);
        }
    } else if args.dry_run && !plan.diff.is_empty() {
        output.data("Nothing has been changed.\n")?;
    }
    Ok(Exit::Done)
}

/// A time to confirm within.
fn window(text: &str) -> Result<Duration, String> {
    const LONGEST: Duration = Duration::from_secs(24 * 60 * 60);
    let window = humantime::parse_duration(text).map_err(|error| error.to_string())?;
    if (Duration::from_secs(1)..=LONGEST).contains(&window) {
        Ok(window)
    } else {
        Err("it has to be between 1s and 24h".to_owned())
    }
}

/// Tells of a change that waits to be confirmed, or should have been undone.
pub(super) fn tell_pending(host: &Host, output: &mut Output) {
    if let Err(failure) = none_pending(host) {
        let why = failure.causes.first().map(|why| format!(": {why}")).unwrap_or_default();
        output.note(&format!("{}{why}.", failure.message.trim_end_matches("; nothing was changed")));
    }
}

/// Refuses to change anything while a change waits to be confirmed: what there was before it would be lost.
pub(super) fn none_pending(host: &Host) -> Result<(), Failure> {
    let pending = apply::pending(&host.state).map_err(|error| record_failed(&error))?;
    let Some(pending) = pending else { return Ok(()) };
    let what = named(&pending.change);
    Err(match pending.left {
        Some(left) => Failure::new(format!("{what} waits to be confirmed; nothing was changed"))
            .because(format!("it is undone in {} unless somebody confirms it", in_words(left)))
            .hint("keep it: isoplan confirm\nundo it: isoplan rollback"),
        None => Failure::new(format!("{what} was not confirmed in time; nothing was changed"))
            .because("it should have been undone, and whoever was to do so is gone or has failed".to_owned())
            .hint("undo it: isoplan rollback"),
    })
}

/// A time that is left, in whole seconds: `1 min 5 s`.
pub(super) fn in_words(left: Duration) -> String {
    let seconds = left.as_secs_f64().ceil() as u64;
    let (hours, minutes, seconds) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
    let parts =
        [(hours, "h"), (minutes, "min"), (seconds, "s")].into_iter().filter(|(number, _)| *number > 0);
    let words: Vec<_> = parts.map(|(number, unit)| format!("{number} {unit}")).collect();
    if words.is_empty() { "0 s".to_owned() } else { words.join(" ") }
}

/// What is left to do with a change that waits to be confirmed.
fn waits(args: &Args, output: &mut Output, window: Duration) -> Result<Exit, Failure> {
    output.data(&format!("It is undone in {} unless you confirm it: isoplan confirm\n", in_words(window)))?;
    if args.yes {
        return Ok(Exit::Done);
    }
    super::confirm::stay(args.state.state_dir.as_deref(), output)
}

pub(super) fn lock(host: &mut Host, output: &mut Output, command: &str) -> Result<Lock, Failure> {
    // Without privilege the lock would fail first, with a worse message.
    host.permitted()?;
    let waiting = || output.note("Another isoplan is changing this host; waiting for it.");
    host.state.lock(waiting).map_err(|error| {
        let failure = Failure::from_error(&error);
        match &error {
            state_dir::Error::Open { source, .. }
                if source.kind() == std::io::ErrorKind::PermissionDenied =>
            {
                failure
                    .exit(Exit::NotPermitted)
                    .hint(format!("say where state may be kept: isoplan {command} --state-dir DIR"))
            }
            state_dir::Error::Shared { .. } => {
                failure.hint("it must belong to you and be writable by nobody else (chmod 700)")
            }
            _ => failure,
        }
    })
}

pub(super) fn applying_failed(error: &apply::Error, topology: &Topology, command: &str) -> Failure {
    let mut failure = Failure::from_error(error);
    match error {
        apply::Error::Commit { source: CommitError::NotPermitted, .. } => {
            return not_permitted(failure, command);
        }
        apply::Error::Commit { source: CommitError::Unknown { .. }, .. } => {
            failure = failure.hint(format!("see what is there: isoplan plan {}", topology.file));
        }
        apply::Error::Commit { op: Some(op), element, .. } => {
            let (what, origins) = at_fault(op, element.as_ref());
            failure.causes.push(format!("the kernel refused {what}"));
            if let Some(origin) = origins.first() {
                let place = topology.place(*origin);
                failure = failure.hint(format!("it comes from {} ({place})", topology.entry(*origin)));
            }
        }
        apply::Error::PlanIsStale | apply::Error::KeepsMoving => {
            failure = failure.hint("run it again; `nft monitor` shows who writes");
        }
        apply::Error::Missing(_) => {
            failure = failure.hint(
                "the interface has to exist before the sysctl approach can say anything about it; \
                 approach = \"nftables\" goes by name and does not need it",
            );
        }
        apply::Error::Sysctl { source, .. } if source.kind() == std::io::ErrorKind::PermissionDenied => {
            return not_permitted(failure, command);
        }
        apply::Error::ReadsBackDifferently(_) if topology.file.is_empty() => {
            failure = failure.hint("see what is left: isoplan remove --dry-run");
        }
        apply::Error::ReadsBackDifferently(_) => {
            failure = failure.hint(format!("see what differs: isoplan plan {}", topology.file));
        }
        _ => {}
    }
    failure
}

/// The step, or the very element, that the kernel refused.
fn at_fault(op: &Op, element: Option<&crate::ruleset::ElementKey>) -> (String, Vec<EntryId>) {
    match op {
        Op::AddElements { family, set, elements } | Op::DeleteElements { family, set, elements } => {
            let table = table_name(*family);
            let found = element.and_then(|key| elements.iter().find(|(other, _)| other == key));
            match found {
                Some((key, data)) => {
                    let text = render::element(set, key, data);
                    let origins = data.origin.0.into_iter().collect();
                    (format!("element {text} of set {} in {table}", set.name), origins)
                }
                None => (format!("elements of set {} in {table}", set.name), Vec::new()),
            }
        }
        Op::AddRule { family, chain, rule, .. } | Op::ReplaceRule { family, chain, rule, .. } => (
            format!("rule `{}` in chain {chain} of {}", render::rule(rule), table_name(*family)),
            rule.origins.0.clone(),
        ),
        Op::DeleteRule { family, chain, handle } => {
            (format!("deleting rule handle {handle} in chain {chain} of {}", table_name(*family)), Vec::new())
        }
        Op::AddSet { family, set } => (format!("set {} in {}", set.name, table_name(*family)), Vec::new()),
        Op::DeleteSet { family, set } => {
            (format!("deleting set {set} in {}", table_name(*family)), Vec::new())
        }
        Op::AddChain { family, chain, .. } => {
            (format!("chain {chain} in {}", table_name(*family)), Vec::new())
        }
        Op::DeleteChain { family, chain } => {
            (format!("deleting chain {chain} in {}", table_name(*family)), Vec::new())
        }
        Op::AddTable { family } => (table_name(*family), Vec::new()),
        Op::DeleteTable { family } => (format!("deleting {}", table_name(*family)), Vec::new()),
    }
}
