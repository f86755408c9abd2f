//! `isoplan uninstall`

use std::path::PathBuf;

use super::Output;
use super::install::{all_found, failed, json, listing, lock, manifest, open, run_all};
use crate::boot::{self, Action, UNIT, WATCH_UNIT};
use crate::error::{Exit, Failure};
use crate::install::{self, Systemctl};

/// Takes away exactly the files that `install` made, and stops the units. A file that somebody edited
/// since stays. The rules of this host stay as they are: `isoplan remove` takes those away.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Do not ask
    #[arg(long, short)]
    yes: bool,
    /// Show what would go and stop there
    #[arg(long, short = 'n')]
    dry_run: bool,
    /// Print the result as JSON (docs/json.md); needs --yes or --dry-run
    #[arg(long)]
    json: bool,
    /// Take it out of the root file system of an image, and run nothing
    #[arg(long, value_name = "DIR")]
    root: Option<PathBuf>,
    /// Take away files that somebody edited as well
    #[arg(long)]
    force: bool,
}

pub(super) fn run(args: &Args, output: &mut Output) -> Result<Exit, Failure> {
    if args.json && !args.yes && !args.dry_run {
        return Err(Failure::new("--json cannot ask").exit(Exit::Usage).hint("add --yes or --dry-run"));
    }
    let root = open(args.root.as_deref())?;
    let _lock = if args.dry_run { None } else { Some(lock(&root, output)?) };
    let manifest = manifest(&root)?.unwrap_or_default();
    let changes = all_found(&root, |found| boot::changes(&[], &manifest, args.force, found))?;
    let has_units = args.root.is_none() && install::is_running();
    let of_systemd = |commands: &[&[&str]]| -> Vec<Systemctl> {
        let commands: &[&[&str]] = if has_units && !changes.is_empty() { commands } else { &[] };
        commands.iter().map(|command| Systemctl::new(command)).collect()
    };
    // Before its file goes, it would start again; and what requires isoplan.service would stop with it.
    let before = of_systemd(&[&["stop", WATCH_UNIT]]);
    let after = of_systemd(&[&["daemon-reload"], &["stop", UNIT]]);
    let commands: Vec<Systemctl> = before.iter().chain(&after).cloned().collect();
    if !args.json && !changes.is_empty() {
        output.data(&listing(&root, &changes, &commands, true))?;
    }
    if args.dry_run {
        if args.json {
            output.json(&json("uninstall", false, &root, &changes, &commands))?;
        } else if changes.is_empty() {
            output.data("Nothing is installed.\n")?;
        } else {
            output.data("Nothing has been changed.\n")?;
        }
        return Ok(Exit::Done);
    }
    if !changes.is_empty() && !args.yes && !output.ask("\nTake this away?")? {
        output.note("Nothing has been changed.");
        return Ok(Exit::Failed);
    }
    // A unit that is not loaded cannot be stopped, and need not be.
    for command in &before {
        let _ = command.run();
    }
    install::take_away(&root, &changes, &manifest).map_err(|error| failed(&error))?;
    for command in &after {
        if command.0[0] == "stop" {
            let _ = command.run();
        } else {
            run_all(std::slice::from_ref(command), "the files are gone")?;
        }
    }
    let left = changes.iter().filter(|change| change.action == Action::Leave).count();
    if args.json {
        output.json(&json("uninstall", left == 0, &root, &changes, &commands))?;
    } else if changes.is_empty() {
        output.data("Nothing is installed.\n")?;
    } else if left > 0 {
        output.data("Taken away, but for what was edited; --force takes that as well.\n")?;
    } else if args.root.is_some() {
        output.data("Taken away.\n")?;
    } else {
        output.data("Taken away. The rules of this host are as they were: isoplan remove\n")?;
    }
    Ok(Exit::Done)
}
