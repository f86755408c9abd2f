//! `isoplan apply`

use std::time::Duration;

use schemars::JsonSchema;
use serde::Serialize;

use super::host::Host;
use super::pending::{self, Meanwhile};
use super::rollback::record_failed;
use super::saved;
use super::topology::TopologyArg;
use super::{Output, StateArgs, not_permitted, open};
use crate::apply::state_dir::{self, Lock};
use crate::apply::{self, Purpose, Report, Verb};
use crate::diff::table_name;
use crate::error::{Exit, Failure};
use crate::flows::keep::Kept;
use crate::netlink::CommitError;
use crate::plan::{JSON_VERSION, Plan, PlanJson};
use crate::render;
use crate::ruleset::Op;
use crate::topology::{EntryId, Topology};

/// Shows the plan, asks, applies it in one transaction, writes the sysctls, and reads everything back.
/// Either all of it is done or nothing. Drops are in place before forwarding is switched on. `isoplan rollback`
/// undoes it.
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
    /// Undo it again after this time (90s, 5m, 1h; from 1s to 24h), unless `isoplan confirm` comes
    ///
    /// On a terminal without --yes it stays and asks. With --yes it returns at once.
    #[arg(long, value_name = "TIME", value_parser = window, allow_hyphen_values = true)]
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

#[derive(Serialize, JsonSchema)]
pub(super) struct ApplyJson<'a> {
    /// [`JSON_VERSION`](crate::plan::JSON_VERSION).
    version: u32,
    /// `apply`.
    kind: &'static str,
    /// Whether the kernel was changed.
    applied: bool,
    /// Length of the transaction, in bytes.
    transaction_bytes: usize,
    /// How many times it was sent until nobody else came in between.
    tries: u32,
    /// Where the elements of sets were read.
    read: &'static str,
    /// In how many seconds it is undone unless it is confirmed.
    #[serde(skip_serializing_if = "Option::is_none")]
    confirm_within: Option<f64>,
    /// A change that waits to be confirmed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pending: Option<crate::status::Pending>,
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
    let live = host.read_what_moved(topology)?;
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
    let act = !args.dry_run && !plan.diff.is_empty();
    // What is known to be in the way is said before the plan.
    let (plan, again) = if act {
        let fixed = given.saved.is_some() || args.keep_established;
        let found = pending::meanwhile(&host, plan, &live, fixed)?;
        if !args.yes {
            output.can_ask()?;
        }
        match found {
            Meanwhile::Free(plan) => (plan, None),
            Meanwhile::Again(plan, change) => (plan, Some(change)),
        }
    } else {
        (plan, None)
    };
    if !args.json {
        if !plan.diff.is_empty() {
            pending::tell_pending(&host, output);
        }
        let text = render::plan::plan(&plan, output.style(args.all));
        let text = if is_again { text.replacen("In place:", "In place already:", 1) } else { text };
        output.data(&text)?;
    }
    let nothing = Report { transaction_bytes: 0, tries: 0 };
    if !act {
        return finish(args, output, &host, &plan, Done::Nothing, nothing);
    }
    let question = match &again {
        Some(_) => "\nPut this in place again?".to_owned(),
        None if plan.kept.is_empty() => "\nApply this?".to_owned(),
        None => {
            format!("\nApply this, and leave {} open connections past it?", plan.kept_connections())
        }
    };
    if !args.yes && !output.ask(&question)? {
        output.note("Nothing has been changed.");
        return Ok(Exit::Failed);
    }
    let held = match early {
        Some(lock) => lock,
        None => lock(&mut host, output, &command)?,
    };
    let (nftables, state) = (&mut host.nftables, &host.state);
    let done = match &again {
        // It may have been kept or undone while this one was asking.
        Some(change)
            if apply::last(state).map_err(|error| record_failed(&error))?.as_ref() != Some(change) =>
        {
            Err(apply::Error::PlanIsStale)
        }
        Some(_) => apply::carry_out(nftables, state, &plan.desired, &plan.diff, &live),
        None => {
            pending::none_pending(&host)?;
            let purpose = Purpose {
                verb: Verb::Apply,
                topology: &topology.file,
                text: Some(&given.text),
                confirm_within: args.confirm_within,
            };
            apply::change(&mut host.nftables, &host.state, &plan.desired, &plan.diff, &live, purpose)
        }
    };
    let report = done.map_err(|error| applying_failed(&error, topology, &command))?;
    // Whoever confirms it takes the lock.
    drop(held);
    let done = if again.is_some() { Done::Again } else { Done::Applied };
    if done == Done::Applied {
        let file = given.saved.is_none().then_some(args.topology.topology.as_path());
        pending::tell_watch(&host, output, file, &plan, &live);
    }
    finish(args, output, &host, &plan, done, report)
}

/// What was done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Done {
    Nothing,
    Applied,
    /// What a change made that waits to be confirmed is in place again.
    Again,
}

fn finish(
    args: &Args,
    output: &mut Output,
    host: &Host,
    plan: &Plan<'_>,
    done: Done,
    report: Report,
) -> Result<Exit, Failure> {
    let pending = pending::pending(host)?;
    if args.json {
        output.json(&ApplyJson {
            version: JSON_VERSION,
            kind: "apply",
            applied: done != Done::Nothing,
            transaction_bytes: report.transaction_bytes,
            tries: report.tries,
            read: host.read,
            confirm_within: args
                .confirm_within
                .filter(|_| done == Done::Applied)
                .map(|time| time.as_secs_f64()),
            pending: pending.as_ref().map(pending::json),
            plan: plan.json(),
        })?;
        return Ok(Exit::Done);
    }
    let objects = plan.diff.objects;
    let file = &plan.topology.file;
    match done {
        Done::Applied => {
            output.tell(&format!("\nApplied and read back: {objects} objects match {file}."))?;
            if let Some(window) = args.confirm_within {
                return waits(args, output, window);
            }
        }
        Done::Again => {
            output.tell(&format!("\nIn place again and read back: {objects} objects match {file}."))?
        }
        Done::Nothing => {}
    }
    if let Some(pending) = &pending
        && (done == Done::Again || plan.diff.is_empty())
    {
        output.tell(&pending::words(pending))?;
        if done == Done::Again && args.confirm_within.is_some() {
            output.tell("Its time is not set anew.")?;
        }
    }
    if args.dry_run && !plan.diff.is_empty() {
        output.data("Nothing has been changed.\n")?;
    }
    Ok(Exit::Done)
}

/// A time to confirm within.
fn window(text: &str) -> Result<Duration, String> {
    const WORDS: &str = "say a number and a unit: 90s, 5m, 1h; from 1s to 24h";
    const LONGEST: u64 = 24 * 60 * 60;
    let units = [("s", 1), ("m", 60), ("h", 3600)];
    let number = units.into_iter().find_map(|(unit, seconds)| Some((text.strip_suffix(unit)?, seconds)));
    number
        .filter(|(number, _)| number.bytes().all(|digit| digit.is_ascii_digit()))
        .and_then(|(number, seconds)| number.parse::<u64>().ok()?.checked_mul(seconds))
        .filter(|seconds| (1..=LONGEST).contains(seconds))
        .map(Duration::from_secs)
        .ok_or_else(|| WORDS.to_owned())
}

/// What is left to do with a change that waits to be confirmed.
fn waits(args: &Args, output: &mut Output, window: Duration) -> Result<Exit, Failure> {
    let left = pending::in_words(window);
    output.tell(&format!("It is undone in {left} unless you confirm it: isoplan confirm"))?;
    if args.yes {
        return Ok(Exit::Done);
    }
    super::confirm::stay(args.state.state_dir.as_deref(), output)
}

pub(super) fn lock(host: &mut Host, output: &mut Output, command: &str) -> Result<Lock, Failure> {
    let waiting = || output.note("Another isoplan is changing this host; waiting for it.");
    lock_saying(host, waiting, command)
}

/// Takes the lock; `waiting` is called where another isoplan has it.
pub(super) fn lock_saying(host: &mut Host, waiting: impl FnMut(), command: &str) -> Result<Lock, Failure> {
    // Without privilege the lock would fail first, with a worse message.
    host.permitted()?;
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
            let (what, origins) = at_fault(op, element.as_deref());
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
