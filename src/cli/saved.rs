//! Saved plans and snapshots on the command line.

use std::env;
use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

use super::Output;
use super::host::Host;
use super::topology::{TopologyArg, print_refused, text};
use crate::apply::journal;
use crate::diff::LiveState;
use crate::error::{Exit, Failure};
use crate::netlink;
use crate::plan::Plan;
use crate::saved::{self, Origin, SavedPlan, Snapshot, Text};
use crate::topology::{Topology, parse};

/// What was given where a topology is asked for.
pub(super) struct Given {
    /// The text of the topology.
    pub(super) text: String,
    /// What it says.
    pub(super) topology: Topology,
    /// The saved plan that it is from.
    pub(super) saved: Option<SavedPlan>,
}

impl TopologyArg {
    /// A topology file or a saved plan, told by what is in it.
    pub(super) fn given(&self, output: &mut Output) -> Result<Given, Failure> {
        let (name, bytes) = text(&self.topology)?;
        let (name, bytes, saved) = if saved::is_document(&bytes) {
            let saved = SavedPlan::from_bytes(&bytes).map_err(|error| refused(&name, &error))?;
            (saved.topology.file.to_string(), saved.topology.text.clone().into_bytes(), Some(saved))
        } else {
            (name, bytes, None)
        };
        let topology = parse(&name, &bytes).map_err(|refused| print_refused(&refused, output))?;
        // The parser takes nothing but UTF-8.
        let text = String::from_utf8_lossy(&bytes).into_owned();
        Ok(Given { text, topology, saved })
    }
}

/// A snapshot that was given to `--against`.
pub(super) fn snapshot(path: &Path) -> Result<Snapshot, Failure> {
    let (name, bytes) = text(path)?;
    Snapshot::from_bytes(&bytes).map_err(|error| refused(&name, &error))
}

fn refused(name: &str, error: &saved::Error) -> Failure {
    let failure = Failure::new(format!("cannot use {name}")).because(error.to_string()).exit(Exit::Topology);
    match error {
        saved::Error::Kind { found, .. } => match found.as_str() {
            "plan" => failure.hint(
                "that is what `plan --json` prints, to be read; `isoplan plan -o FILE TOPOLOGY` saves a plan",
            ),
            "snapshot" => failure.hint("a snapshot is planned against: isoplan plan --against FILE TOPOLOGY"),
            "saved-plan" => failure.hint("a saved plan is carried out: isoplan apply FILE"),
            _ => failure,
        },
        saved::Error::Version { .. } => failure.hint("make it again with this isoplan"),
        saved::Error::NotJson => failure.hint("`isoplan snapshot -o FILE` writes one"),
        saved::Error::Malformed { kind, .. } | saved::Error::Impossible { kind, .. } => {
            failure.hint(match *kind {
                "snapshot" => "save it again: isoplan snapshot -o FILE",
                _ => "save it again: isoplan plan -o FILE TOPOLOGY",
            })
        }
        _ => failure,
    }
}

/// A saved plan, worked out again from what it was worked out from.
pub(super) fn again<'t>(saved: &SavedPlan, topology: &'t Topology) -> Result<Plan<'t>, Failure> {
    let plan = Plan::new(topology, &saved.state);
    if saved.steps.are_those_of(&plan.diff) {
        return Ok(plan);
    }
    let (made, this) = (&saved.origin.isoplan, version());
    let who = if *made == this {
        "the file was changed, or another build of isoplan made it".to_owned()
    } else {
        format!("isoplan {made} made it, and this is isoplan {this}")
    };
    Err(Failure::new("this isoplan works out other steps than the saved plan has; nothing was changed")
        .because(who)
        .hint("save it anew with this isoplan, and review that"))
}

/// Checks that a saved plan is still exactly what is to be done on this host, or that nothing is to be done any
/// more: then it returns the plan that says so.
pub(super) fn still<'t>(
    saved: &SavedPlan,
    plan: &Plan<'t>,
    live: &LiveState,
) -> Result<Option<Plan<'t>>, Failure> {
    let stale = |why: String| {
        Failure::new("the saved plan is stale; nothing was changed")
            .because(why)
            .hint(format!("plan again: isoplan plan -o FILE {}", plan.topology.file))
    };
    let here = here()?;
    let there = &saved.origin;
    if here.boot_id != there.boot_id {
        return Err(stale(if here.host == there.host {
            "this host was started anew since".to_owned()
        } else {
            format!("it was made on host {}, and this is {}", there.host, here.host)
        }));
    }
    if here.netns != there.netns {
        return Err(stale("it was made in another network namespace".to_owned()));
    }
    let now = Plan::new(plan.topology, live);
    if saved.steps.are_those_of(&now.diff) {
        return Ok(None);
    }
    if now.diff.is_empty() {
        return Ok(Some(now));
    }
    let mut failure = Failure::new("the saved plan is stale; nothing was changed");
    failure.causes = saved::moved(&plan.diff, &now.diff);
    Err(failure.hint(format!("see what is to be done now: isoplan plan {}", plan.topology.file)))
}

/// What is otherwise than when a plan was saved, and changes nothing about its steps.
pub(super) fn beside(plan: &Plan<'_>, live: &LiveState) -> Vec<String> {
    let now = Plan::new(plan.topology, live);
    let gone = now.absent.iter().filter(|name| !plan.absent.contains(name));
    let gone = gone.map(|name| format!("Since the plan was saved, {name} has gone from this host."));
    let new = now.unknown.iter().filter(|name| !plan.unknown.contains(name));
    let new = new.map(|name| format!("Since the plan was saved, {name} has come, and is not in the file."));
    let open = now.uncovered.iter().filter(|address| !plan.uncovered.contains(address));
    let open = open
        .map(|address| format!("Since the plan was saved, {address} has come, in no subnet of the file."));
    gone.chain(new).chain(open).collect()
}

impl Host {
    /// Where and when a state was read.
    pub(super) fn origin(&self) -> Result<Origin, Failure> {
        here()
    }
}

/// This host, now.
fn here() -> Result<Origin, Failure> {
    let name = nix::sys::utsname::uname()
        .map_err(|error| Failure::new("cannot tell which host this is").because(error.to_string()))?;
    let netns = netlink::netns_cookie().map_err(|error| {
        Failure::new("cannot tell which network namespace this is").because(error.to_string())
    })?;
    Ok(Origin {
        isoplan: version(),
        host: Text::new(&name.nodename().to_string_lossy()),
        kernel: Text::new(&name.release().to_string_lossy()),
        boot_id: Text::new(&journal::boot_id()),
        netns,
        taken: now(),
    })
}

fn version() -> Text {
    Text::new(env!("CARGO_PKG_VERSION"))
}

/// Seconds since 1970. `SOURCE_DATE_EPOCH` stands in for the clock where the same bytes are wanted twice
/// (<https://reproducible-builds.org/specs/source-date-epoch/>).
pub(super) fn now() -> u64 {
    let told = env::var("SOURCE_DATE_EPOCH").ok().and_then(|seconds| seconds.parse().ok());
    told.unwrap_or_else(|| SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |now| now.as_secs()))
}

/// Whose snapshot it is and how old.
pub(super) fn whose(origin: &Origin, generation: u32) -> String {
    format!(
        "host {}, Linux {}, generation {generation}, {} ({})",
        origin.host,
        origin.kernel,
        saved::utc(origin.taken),
        saved::age(origin.taken, now()),
    )
}
