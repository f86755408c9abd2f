//! `isoplan confirm`

use std::io::{self, BufRead as _, Write as _};
use std::os::fd::AsFd as _;
use std::path::Path;

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{SigSet, Signal};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use schemars::JsonSchema;
use serde::Serialize;

use super::apply::{lock, lock_saying};
use super::host::Host;
use super::pending::{in_words, pending, tell_pending};
use super::rollback::{OfJson, failed, named, record_failed};
use super::{Output, StateArgs};
use crate::apply::state_dir::Lock;
use crate::apply::{self, Change, Confirmed, Phase};
use crate::diff::restoration;
use crate::error::{Exit, Failure};
use crate::live;
use crate::plan::JSON_VERSION;

/// Keeps the change that `apply --confirm-within` made, if its time is not over. Ends with 4 when it is: then
/// the change is undone, by whoever was set to do so or, where that one is gone, by this run. Ends with 2 when it
/// is kept and somebody has changed it since.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Print the result as JSON (docs/json.md)
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    state: StateArgs,
}

#[derive(Serialize, JsonSchema)]
pub(super) struct ConfirmJson<'c> {
    /// [`JSON_VERSION`](crate::plan::JSON_VERSION).
    version: u32,
    /// `confirm`.
    kind: &'static str,
    /// Whether the change stays.
    confirmed: bool,
    /// Whether it stays and is there.
    in_place: bool,
    /// Whether it was undone because its time was over.
    rolled_back: bool,
    /// The change.
    of: OfJson<'c>,
}

pub(super) fn run(args: &Args, output: &mut Output) -> Result<Exit, Failure> {
    let mut host = Host::open(args.state.state_dir.as_deref(), "confirm")?;
    let lock = lock(&mut host, output, "confirm")?;
    settle(&mut host, output, &lock, args.json)
}

/// Confirms, and says what became of the change.
fn settle(host: &mut Host, output: &mut Output, lock: &Lock, json: bool) -> Result<Exit, Failure> {
    let done = apply::confirm(&mut host.nftables, &host.state, lock).map_err(failed)?;
    let (change, confirmed) = match &done {
        Confirmed::Kept(change) => (change, true),
        Confirmed::RolledBack { change, .. } => (change, false),
        Confirmed::CutShort(change) => {
            return Err(Failure::new(format!(
                "{} was cut short: there is nothing whole to be kept",
                named(change)
            ))
            .hint("undo it: isoplan rollback"));
        }
        Confirmed::Nothing => {
            return Err(Failure::new("nothing waits to be confirmed").hint(
                "only what `isoplan apply --confirm-within TIME` made waits, until its time is over or somebody \
                 undoes it; isoplan status TOPOLOGY tells what is in place",
            ));
        }
    };
    let left = if confirmed { not_in_place(host, change) } else { Ok(None) };
    if json {
        let of = OfJson::new(change);
        let (rolled_back, in_place) = (!confirmed, confirmed && matches!(left, Ok(None)));
        output.json(&ConfirmJson {
            version: JSON_VERSION,
            kind: "confirm",
            confirmed,
            in_place,
            rolled_back,
            of,
        })?;
    }
    if let Confirmed::RolledBack { change, now } = done {
        return Err(late(&change, now));
    }
    let what = named(change);
    let hint = match change.topology.as_str() {
        "" => "see what is left: isoplan remove --dry-run".to_owned(),
        topology => format!("put it in place again: isoplan apply {topology}"),
    };
    match left {
        Ok(None) if json => {}
        Ok(None) => output.tell(&format!("Kept: {what}."))?,
        Ok(Some(left)) => {
            return Err(Failure::new(format!("kept, but it is not in place: {what}"))
                .because(left)
                .exit(Exit::Differences)
                .hint(hint));
        }
        Err(error) => {
            let mut failure = failed(error);
            failure.message = format!("kept, but reading it back failed: {what}");
            return Err(failure.exit(Exit::Differences).hint(hint));
        }
    }
    Ok(Exit::Done)
}

/// Reads back what was kept: in how much it is not what the change made.
fn not_in_place(host: &mut Host, change: &Change) -> Result<Option<String>, apply::Error> {
    let before = apply::Before::read(&host.state, change).map_err(apply::Error::State)?;
    let journal = apply::journal::read(&host.state).map_err(apply::Error::State)?;
    let keys = before.sysctls.keys().chain(before.wanted.keys()).cloned();
    let live = live::read(&mut host.nftables, keys, journal).map_err(apply::Error::Live)?;
    let tables = restoration(&before.past(change), &live).changed_since;
    let differs = |(key, value): &(_, &String)| live.sysctls.get(*key) != Some(*value);
    let sysctls = before.wanted.iter().filter(differs).count();
    let counted = |number: usize, one: &str, more: &str| match number {
        0 => None,
        1 => Some(format!("one {one}")),
        _ => Some(format!("{number} {more}")),
    };
    let left: Vec<String> = [
        counted(tables, "difference in its tables", "differences in its tables"),
        counted(sysctls, "sysctl", "sysctls"),
    ]
    .into_iter()
    .flatten()
    .collect();
    Ok((!left.is_empty()).then(|| format!("somebody has changed it since: {}", left.join(", "))))
}

fn late(change: &Change, now: bool) -> Failure {
    let what = named(change);
    undone(if now {
        format!("{what} was not confirmed in time; it was still there, and is rolled back now")
    } else {
        format!("{what} was not confirmed in time; it was rolled back")
    })
}

fn undone(message: String) -> Failure {
    Failure::new(message)
        .exit(Exit::RolledBack)
        .hint("everything is what it was before it; apply it again to have it")
}

/// Stays on the terminal until the change is confirmed, undone, or its time is over.
pub(super) fn stay(state_dir: Option<&Path>, output: &mut Output) -> Result<Exit, Failure> {
    let mut host = Host::open(state_dir, "confirm")?;
    output.finish()?;
    // Ctrl-C is to tell that the change still waits.
    let interrupt = SigSet::from_iter([Signal::SIGINT]);
    let flags = SfdFlags::SFD_NONBLOCK | SfdFlags::SFD_CLOEXEC;
    let interrupts = interrupt.thread_block().and_then(|()| SignalFd::with_flags(&interrupt, flags));
    let interrupts =
        interrupts.map_err(|errno| Failure::new("cannot wait for signals").because(errno.to_string()))?;
    let Some(mine) = last(&host)?.map(|change| change.id) else {
        return Err(Failure::new("the record of the change is gone"));
    };
    loop {
        let pending = pending(&host)?.filter(|pending| pending.change.id == mine);
        let Some(pending) = pending else {
            output.note("");
            return settled(&host, output, mine);
        };
        let Some(left) = pending.left else {
            output.note("");
            let lock = lock_saying(&mut host, || {}, "confirm")?;
            return settle(&mut host, output, &lock, false);
        };
        let mut stderr = io::stderr();
        let question = match left.is_zero() {
            true => "The time is over; it is being undone.".to_owned(),
            false => format!("Keep this change? It is undone in {}. [y/n] ", in_words(left)),
        };
        let _ = write!(stderr, "\r\x1b[K{question}");
        let _ = stderr.flush();
        let stdin = io::stdin();
        let mut waited = [
            PollFd::new(interrupts.as_fd(), PollFlags::POLLIN),
            PollFd::new(stdin.as_fd(), PollFlags::POLLIN),
        ];
        if left.is_zero() {
            // No answer makes a difference any more.
            let _ = poll(&mut waited[..1], PollTimeout::from(50_u8));
            continue;
        }
        let second = u16::try_from(left.as_millis().min(1000)).unwrap_or(1000);
        if poll(&mut waited, PollTimeout::from(second.max(1))).unwrap_or_default() == 0 {
            continue;
        }
        if waited[0].any().unwrap_or_default() {
            output.note("");
            tell_pending(&host, output);
            return Ok(Exit::Failed);
        }
        let mut answer = String::new();
        let read = stdin.lock().read_line(&mut answer).unwrap_or_default();
        match answer.trim().to_ascii_lowercase().as_str() {
            "y" | "yes" => {
                let lock = lock_saying(&mut host, || {}, "confirm")?;
                return settle(&mut host, output, &lock, false);
            }
            "n" | "no" => return undo(&mut host, output, mine),
            _ if read == 0 => {
                output.note("");
                tell_pending(&host, output);
                return Ok(Exit::Done);
            }
            _ => output.note("Please answer y to keep it, or n to undo it."),
        }
    }
}

fn last(host: &Host) -> Result<Option<Change>, Failure> {
    apply::last(&host.state).map_err(|error| record_failed(&error))
}

/// The change waits no more: somebody has confirmed it elsewhere, or it was undone.
fn settled(host: &Host, output: &mut Output, mine: u64) -> Result<Exit, Failure> {
    match last(host)?.filter(|change| change.id == mine) {
        Some(change) if change.is_undoable() => {
            output.tell(&format!("Kept: {}.", named(&change)))?;
            Ok(Exit::Done)
        }
        Some(change) => Err(match change.phase {
            Phase::Undone { overdue: true, .. } => late(&change, false),
            _ => undone(format!("{} was rolled back by somebody else", named(&change))),
        }),
        None => Err(Failure::new("the change was settled elsewhere, and another was made since")
            .hint("see what is there: isoplan status TOPOLOGY")),
    }
}

/// The answer was no.
fn undo(host: &mut Host, output: &mut Output, mine: u64) -> Result<Exit, Failure> {
    let _lock = lock_saying(host, || {}, "rollback")?;
    let Some(change) = last(host)?.filter(|change| change.id == mine && change.is_pending()) else {
        return settled(host, output, mine);
    };
    let (before, live) = apply::read_before(&mut host.nftables, &host.state, &change).map_err(failed)?;
    let planned = restoration(&before.past(&change), &live);
    apply::roll_back(&mut host.nftables, &host.state, &change, &before, &planned, &live, false)
        .map_err(failed)?;
    output.tell("Undone and read back: everything is what it was before.")?;
    Ok(Exit::RolledBack)
}
