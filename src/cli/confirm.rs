//! `isoplan confirm`

use std::io::{self, BufRead as _, Write as _};
use std::os::fd::AsFd as _;
use std::path::Path;

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use serde::Serialize;

use super::apply::{in_words, lock};
use super::host::Host;
use super::rollback::{OfJson, failed, named};
use super::{Output, StateArgs};
use crate::apply::{self, Change, Confirmed};
use crate::diff::restoration;
use crate::error::{Exit, Failure};
use crate::plan::JSON_VERSION;

/// Keeps the change that `apply --confirm-within` made, if its time is not over. Ends with 4 when it is: then
/// the change is undone, by whoever was set to do so or, where that one is gone, by this run.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Print the result as JSON (docs/json.md)
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    state: StateArgs,
}

#[derive(Serialize)]
struct ConfirmJson<'c> {
    version: u32,
    kind: &'static str,
    /// Whether the change stays.
    confirmed: bool,
    /// Whether it was undone because its time was over.
    rolled_back: bool,
    of: OfJson<'c>,
}

pub(super) fn run(args: &Args, output: &mut Output) -> Result<Exit, Failure> {
    let mut host = Host::open(args.state.state_dir.as_deref(), "confirm")?;
    settle(&mut host, output, args.json)
}

/// Confirms, and says what became of the change.
fn settle(host: &mut Host, output: &mut Output, json: bool) -> Result<Exit, Failure> {
    let lock = lock(host, output, "confirm")?;
    let done = apply::confirm(&mut host.nftables, &host.state, &lock).map_err(failed)?;
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
        Confirmed::Nothing => return Err(Failure::new("nothing waits to be confirmed")),
    };
    if json {
        let of = OfJson::new(change);
        let rolled_back = !confirmed;
        output.json(&ConfirmJson { version: JSON_VERSION, kind: "confirm", confirmed, rolled_back, of })?;
    }
    match done {
        Confirmed::RolledBack { change, now } => Err(rolled_back(&change, now)),
        _ if json => Ok(Exit::Done),
        _ => {
            output.data(&format!("Kept: {}.\n", named(change)))?;
            Ok(Exit::Done)
        }
    }
}

fn rolled_back(change: &Change, now: bool) -> Failure {
    let what = named(change);
    let message = if now {
        format!("{what} was not confirmed in time; it was still there, and is rolled back now")
    } else {
        format!("{what} was not confirmed in time; it was rolled back")
    };
    Failure::new(message)
        .exit(Exit::RolledBack)
        .hint("everything is what it was before it; apply it again to have it")
}

/// Stays on the terminal until the change is confirmed, undone, or its time is over.
pub(super) fn stay(state_dir: Option<&Path>, output: &mut Output) -> Result<Exit, Failure> {
    let mut host = Host::open(state_dir, "confirm")?;
    output.finish()?;
    loop {
        let pending = apply::pending(&host.state).map_err(|error| super::rollback::record_failed(&error))?;
        let Some(pending) = pending else {
            // Somebody has confirmed it elsewhere, or undone it.
            output.note("");
            return match apply::last(&host.state) {
                Ok(Some(change)) if change.is_undoable() => {
                    output.data(&format!("Kept: {}.\n", named(&change)))?;
                    Ok(Exit::Done)
                }
                Ok(Some(change)) => Err(rolled_back(&change, false)),
                _ => Err(Failure::new("the record of the change is gone")),
            };
        };
        let Some(left) = pending.left else {
            output.note("");
            return settle(&mut host, output, false);
        };
        let mut stderr = io::stderr();
        let _ = write!(stderr, "\r\x1b[KKeep this change? It is undone in {}. [y/N] ", in_words(left));
        let _ = stderr.flush();
        let stdin = io::stdin();
        let mut waited = [PollFd::new(stdin.as_fd(), PollFlags::POLLIN)];
        let second = u16::try_from(left.as_millis().min(1000)).unwrap_or(1000);
        if poll(&mut waited, PollTimeout::from(second.max(1))).unwrap_or_default() == 0 {
            continue;
        }
        let mut answer = String::new();
        let read = stdin.lock().read_line(&mut answer).unwrap_or_default();
        return match answer.trim().to_ascii_lowercase().as_str() {
            "y" | "yes" => settle(&mut host, output, false),
            _ if read == 0 => {
                output.note("\nIt still waits to be confirmed: isoplan confirm");
                Ok(Exit::Done)
            }
            _ => undo(&mut host, output),
        };
    }
}

/// The answer was no.
fn undo(host: &mut Host, output: &mut Output) -> Result<Exit, Failure> {
    let _lock = lock(host, output, "rollback")?;
    let last = apply::last(&host.state).map_err(|error| super::rollback::record_failed(&error))?;
    let Some(change) = last.filter(Change::is_undoable) else {
        return Err(Failure::new("it was rolled back already").exit(Exit::RolledBack));
    };
    let (before, live) = apply::read_before(&mut host.nftables, &host.state, &change).map_err(failed)?;
    let planned = restoration(&before.past(&change), &live);
    apply::roll_back(&mut host.nftables, &host.state, &change, &before, &planned, &live, false)
        .map_err(failed)?;
    output.data("Undone and read back: everything is what it was before.\n")?;
    Ok(Exit::RolledBack)
}
