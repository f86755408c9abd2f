//! `isoplan install`

use std::path::{Path, PathBuf};

use schemars::JsonSchema;
use serde::Serialize;

use super::Output;
use super::topology::TopologyArg;
use crate::boot::{
    self, Action, Change, Content, ExecPath, Found, Manifest, TOPOLOGY, UNIT, UnitName, WATCH_UNIT,
};
use crate::error::{Exit, Failure};
use crate::install::{self, Root, Systemctl};
use crate::intent::Intent;
use crate::plan::JSON_VERSION;
use crate::topology::Topology;

/// Has a topology applied at every boot, before the network is up and before containers start, and again
/// whenever nftables.service flushes the rule set. The file is checked and copied; units of systemd apply
/// it. Shows every file before it writes any, of long ones the beginning. The rules of this host stay as they are until the next boot,
/// or --now.
///
/// Without systemd nothing is written: it prints what to do instead.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(flatten)]
    topology: TopologyArg,
    /// Do not ask
    #[arg(long, short)]
    yes: bool,
    /// Show every file, or what changes in it, and stop there
    #[arg(long, short = 'n')]
    dry_run: bool,
    /// Show long files whole as well, as --dry-run does
    #[arg(long)]
    all: bool,
    /// Print the result as JSON (docs/json.md); needs --yes or --dry-run
    #[arg(long)]
    json: bool,
    /// Start the units as well: apply the topology to this host at once
    #[arg(long, conflicts_with = "root")]
    now: bool,
    /// Write into the root file system of an image, and run nothing
    #[arg(long, value_name = "DIR")]
    root: Option<PathBuf>,
    /// The isoplan that the units run [default: this one]
    #[arg(long, value_name = "PATH")]
    exec_path: Option<String>,
    /// Do not keep `isoplan watch` running
    #[arg(long)]
    no_watch: bool,
    /// A unit that is not to start when the topology could not be applied, such as docker.service; can be
    /// given more than once
    #[arg(long, value_name = "UNIT", value_parser = UnitName::new)]
    require_for: Vec<UnitName>,
    /// Replace files that somebody edited or put there
    #[arg(long)]
    force: bool,
}

#[derive(Serialize, JsonSchema)]
pub(super) struct FileJson<'c> {
    /// Below the root.
    path: String,
    /// What it is.
    #[schemars(extend("enum" = ["file", "link"]))]
    kind: &'static str,
    /// What is done, or would be.
    #[schemars(extend("enum" = ["create", "change", "keep", "remove", "gone", "leave", "force"]))]
    action: &'static str,
    /// What it is for; absent of what goes.
    #[serde(skip_serializing_if = "Option::is_none")]
    why: Option<&'c str>,
    /// What is to be there: the text of a file or the target of a link; absent of what goes.
    #[serde(skip_serializing_if = "Option::is_none")]
    content: Option<&'c str>,
    /// Octal digits; absent of links.
    #[serde(skip_serializing_if = "Option::is_none")]
    mode: Option<String>,
}

#[derive(Serialize, JsonSchema)]
pub(super) struct InstallJson<'c> {
    /// [`JSON_VERSION`](crate::plan::JSON_VERSION).
    version: u32,
    /// `install` or `uninstall`.
    kind: &'static str,
    /// Whether it is in place, or gone, at the end of this run.
    done: bool,
    /// Where: `/`, or what `--root` says.
    root: String,
    /// Every place that is of isoplan, or is to be, in the order of writing.
    files: Vec<FileJson<'c>>,
    /// What was run afterwards, or would be.
    commands: Vec<String>,
}

pub(super) fn run(args: &Args, output: &mut Output) -> Result<Exit, Failure> {
    if args.json && !args.yes && !args.dry_run {
        return Err(Failure::new("--json cannot ask").exit(Exit::Usage).hint("add --yes or --dry-run"));
    }
    let (source, topology) = args.topology.with_text(output)?;
    let exec = exec_path(args)?;
    let root = open(args.root.as_deref())?;
    if !has_systemd(args.root.as_deref(), &root) {
        return Err(by_hand(args, &exec, output));
    }
    let _lock = if args.dry_run { None } else { Some(lock(&root, output)?) };
    let manifest = manifest(&root)?.unwrap_or_default();
    let entries = entries(args, &topology, &source, exec, &root)?;
    let changes = all_found(&root, |found| boot::changes(&entries, &manifest, args.force, found))?;
    let in_the_way = changes.iter().any(|change| change.action == Action::Leave && change.to.is_some());
    let commands = commands(args, &changes);
    if !args.json {
        output.data(&listing(&root, &changes, &commands, args.all || args.dry_run))?;
        warn(args, &root, &changes, output);
    }
    if in_the_way && !args.dry_run {
        return Err(refused(&root, &changes));
    }
    if !args.dry_run {
        let is_done = changes.iter().all(|change| matches!(change.action, Action::Keep | Action::Leave));
        if !args.yes && !is_done {
            output.data(&in_short(&root, &changes))?;
            if !output.ask("\nInstall this?")? {
                output.note("Nothing has been changed.");
                return Ok(Exit::Failed);
            }
        }
        install::carry_out(&root, &changes, &manifest).map_err(|error| failed(&error))?;
        run_all(&commands, "the files are in place")?;
    }
    finish(args, output, &root, &changes, &commands)
}

fn finish(
    args: &Args,
    output: &mut Output,
    root: &Root,
    changes: &[Change],
    commands: &[Systemctl],
) -> Result<Exit, Failure> {
    if args.json {
        output.json(&json("install", !args.dry_run, root, changes, commands))?;
    } else if args.dry_run {
        output.data("Nothing has been changed.\n")?;
    } else if args.root.is_some() {
        output.data("Installed; the image applies it when it boots.\n")?;
    } else if args.now {
        output.data("Installed and applied.\n")?;
    } else {
        let file = root.full(TOPOLOGY);
        output.data(&format!(
            "Installed; it is applied at the next boot. To apply it now: isoplan apply {}\n",
            file.display()
        ))?;
    }
    Ok(Exit::Done)
}

/// The isoplan that the units are to run.
fn exec_path(args: &Args) -> Result<ExecPath, Failure> {
    let path = match &args.exec_path {
        Some(path) => path.clone(),
        None => std::env::current_exe()
            .map(|path| path.display().to_string())
            .map_err(|error| Failure::new("cannot tell where this isoplan is").because(error.to_string()))?,
    };
    let hint = "put it into /usr/local/sbin, or name one that stays: --exec-path /usr/local/sbin/isoplan";
    let exec = ExecPath::new(&path).map_err(|path| {
        Failure::new(format!("a unit cannot run `{path}`"))
            .exit(Exit::Usage)
            .because("it must be an absolute path of letters, digits and ._+@:,=%-")
            .hint(hint)
    })?;
    if exec.is_in_a_home() {
        return Err(Failure::new(format!("{path} is in a home directory, which the units do not see"))
            .exit(Exit::Usage)
            .hint(hint));
    }
    if args.exec_path.is_none() && exec.is_passing() {
        return Err(Failure::new(format!("{path} is in a directory whose files do not stay"))
            .exit(Exit::Usage)
            .hint(hint));
    }
    Ok(exec)
}

pub(super) fn open(root: Option<&Path>) -> Result<Root, Failure> {
    Root::open(root.unwrap_or(Path::new("/"))).map_err(|error| failed(&error))
}

/// Whether files for systemd are of use: where it runs, or in an image that has it.
fn has_systemd(root: Option<&Path>, opened: &Root) -> bool {
    match root {
        None => install::is_running(),
        Some(_) => ["usr/lib/systemd/systemd", "lib/systemd/systemd"].iter().any(|path| opened.has(path)),
    }
}

fn by_hand(args: &Args, exec: &ExecPath, output: &mut Output) -> Failure {
    let printed = boot::by_hand(exec, &args.topology.as_typed())
        .map_err(|error| Failure::new("cannot render").because(error.to_string()))
        .and_then(|text| if args.json { Ok(()) } else { output.data(&text) });
    if let Err(failure) = printed {
        return failure;
    }
    match &args.root {
        None => Failure::new("systemd does not run here; nothing was installed")
            .hint("what is printed above does it by hand; for an image: --root DIR"),
        Some(root) => {
            Failure::new(format!("there is no systemd in {}; nothing was installed", root.display()))
                .hint("what is printed above does it by hand")
        }
    }
}

pub(super) fn lock(root: &Root, output: &mut Output) -> Result<install::Lock, Failure> {
    let waiting = || output.note("Another isoplan is writing here; waiting for it.");
    root.lock(waiting).map_err(|error| failed(&error))
}

pub(super) fn manifest(root: &Root) -> Result<Option<Manifest>, Failure> {
    install::manifest(root).map_err(|error| {
        let hint = match error {
            install::Error::Manifest { .. } => {
                "it says which files are isoplan's; move it away to go on without that knowledge"
            }
            _ => "run it as root",
        };
        failed(&error).hint(hint)
    })
}

fn entries(
    args: &Args,
    topology: &Topology,
    source: &str,
    exec: ExecPath,
    root: &Root,
) -> Result<Vec<boot::Entry>, Failure> {
    let mut require_for = args.require_for.clone();
    require_for.sort();
    require_for.dedup();
    // Debian before 12 and others have /lib apart from /usr/lib.
    let of_usr = "usr/lib/systemd/systemd-sysctl";
    let systemd_sysctl =
        if root.has(of_usr) { format!("/{of_usr}") } else { "/lib/systemd/systemd-sysctl".to_owned() };
    let options = boot::Options { exec, watch: !args.no_watch, require_for, systemd_sysctl };
    boot::entries(&Intent::new(topology), source, &options)
        .map_err(|error| Failure::new("cannot render").because(error.to_string()))
}

/// Works changes out from what is there; the first place that cannot be read ends it.
pub(super) fn all_found<T>(
    root: &Root,
    changes: impl FnOnce(&mut dyn FnMut(&str) -> Found) -> T,
) -> Result<T, Failure> {
    let mut unreadable = None;
    let mut found = |path: &str| {
        root.found(path).unwrap_or_else(|error| {
            unreadable.get_or_insert(error);
            Found::Nothing
        })
    };
    let changes = changes(&mut found);
    match unreadable {
        None => Ok(changes),
        Some(error) => Err(failed(&error)),
    }
}

/// What systemd has to be told afterwards.
fn commands(args: &Args, changes: &[Change]) -> Vec<Systemctl> {
    if args.root.is_some() {
        return Vec::new();
    }
    let moves = |change: &&Change| !matches!(change.action, Action::Keep | Action::Gone | Action::Leave);
    let mut commands = Vec::new();
    let removed = |path: &str| {
        let mut moved = changes.iter().filter(moves);
        moved.any(|change| change.to.is_none() && change.path.ends_with(path))
    };
    if removed(&format!("system/{WATCH_UNIT}")) {
        commands.push(Systemctl::new(&["stop", WATCH_UNIT]));
    }
    commands.push(Systemctl::new(&["daemon-reload"]));
    if args.now {
        // A reload applies again. A restart would take along what requires it.
        commands.push(Systemctl::new(&["reload-or-restart", UNIT]));
        if !args.no_watch {
            commands.push(Systemctl::new(&["restart", WATCH_UNIT]));
        }
    }
    commands
}

pub(super) fn run_all(commands: &[Systemctl], state: &str) -> Result<(), Failure> {
    for command in commands {
        command.run().map_err(|said| {
            Failure::new(format!("`{}` failed; {state}", command.as_typed()))
                .because(said)
                .hint(format!("see journalctl -b -u {UNIT} -u {WATCH_UNIT}"))
        })?;
    }
    Ok(())
}

/// The places that change, a line each: what scrolled by, once more.
fn in_short(root: &Root, changes: &[Change]) -> String {
    let mut text = "In short:\n".to_owned();
    for change in changes {
        let sign = match change.action {
            Action::Keep | Action::Gone | Action::Leave => continue,
            Action::Create => '+',
            Action::Change | Action::Force if change.to.is_some() => '~',
            Action::Change | Action::Force | Action::Remove => '-',
        };
        text += &format!("{sign} {}\n", root.full(&change.path).display());
    }
    text
}

/// Every place, what is done with it, and the text or what changes in it; of long texts the beginning, unless all
/// is asked for.
pub(super) fn listing(root: &Root, changes: &[Change], commands: &[Systemctl], all: bool) -> String {
    const LONG: usize = 40;
    const SHOWN: usize = 10;
    let mut text = String::new();
    for change in changes {
        let path = root.full(&change.path);
        let path = path.display();
        let why = change.to.as_ref().map(|entry| entry.why).unwrap_or_default();
        let new = change.to.as_ref().map(|entry| &entry.content);
        match change.action {
            Action::Keep => text += &format!("  {path}  is there already\n"),
            Action::Gone => text += &format!("  {path}  is gone already\n"),
            Action::Leave => text += &format!("! {path}  {}, and stays\n", whose(&change.was)),
            Action::Create => text += &format!("+ {path}  {why}\n"),
            Action::Change | Action::Force if new.is_some() => text += &format!("~ {path}  {why}\n"),
            Action::Change | Action::Force | Action::Remove => text += &format!("- {path}\n"),
        }
        let shown = match (change.action, &change.was, new) {
            (Action::Create, _, Some(Content::File { text })) => boot::text_changes("", text),
            (
                Action::Change | Action::Force | Action::Leave,
                Found::Content { content: Content::File { text: old }, .. },
                Some(Content::File { text }),
            ) => boot::text_changes(old, text),
            (Action::Create | Action::Change | Action::Force, _, Some(Content::Link { target })) => {
                format!("-> {target}\n")
            }
            _ => String::new(),
        };
        let lines = shown.lines().count();
        let cut = if all || lines <= LONG { 0 } else { lines - SHOWN };
        for line in shown.lines().take(lines - cut) {
            text += &format!("    {line}\n");
        }
        if cut > 0 {
            text += &format!("    {cut} lines more (--all shows them)\n");
        }
    }
    for command in commands {
        text += &format!("$ {}\n", command.as_typed());
    }
    text.push('\n');
    text
}

/// Why something is not isoplan's to change.
fn whose(found: &Found) -> &'static str {
    match found {
        Found::Content { content: Content::Link { target }, .. } if target == "/dev/null" => "is masked",
        Found::Else("directory") => "is a directory",
        _ => "is not as isoplan made it",
    }
}

fn refused(root: &Root, changes: &[Change]) -> Failure {
    let mut failure = Failure::new("there are files in the way; nothing was changed");
    for change in changes.iter().filter(|change| change.action == Action::Leave && change.to.is_some()) {
        failure = failure.because(format!("{} {}", root.full(&change.path).display(), whose(&change.was)));
    }
    failure.hint("move them away, or have them replaced: --force. Settings of your own: systemctl edit isoplan.service")
}

/// The unit that a link keeps from starting without isoplan.
fn required_for(change: &Change) -> Option<&str> {
    let (directory, _) = change.path.strip_prefix("etc/systemd/system/")?.split_once('/')?;
    directory.strip_suffix(".requires")
}

/// What is installed and will not do what it should.
fn warn(args: &Args, root: &Root, changes: &[Change], output: &mut Output) {
    // The options of an earlier run do not last, and this one fails open: said where nobody reads the list as well.
    for unit in changes.iter().filter(|change| change.action == Action::Remove).filter_map(required_for) {
        output.note(&format!(
            "{unit} will start without isolation when the topology cannot be applied; as before: --require-for {unit}"
        ));
    }
    if let Some(exec) = &args.exec_path
        && !root.has(exec.trim_start_matches('/'))
    {
        output.note(&format!(
            "There is no {} yet; the units fail until there is.",
            root.full(exec.trim_start_matches('/')).display()
        ));
    }
}

pub(super) fn json<'c>(
    kind: &'static str,
    done: bool,
    root: &Root,
    changes: &'c [Change],
    commands: &[Systemctl],
) -> InstallJson<'c> {
    let files = changes.iter().map(|change| {
        let was = match &change.was {
            Found::Content { content, .. } => Some(content),
            _ => None,
        };
        let to = change.to.as_ref();
        let content = to.map(|entry| &entry.content);
        let is_link = matches!(content.or(was), Some(Content::Link { .. }));
        FileJson {
            path: root.full(&change.path).display().to_string(),
            kind: if is_link { "link" } else { "file" },
            action: change.action.as_str(),
            why: to.map(|entry| entry.why),
            content: content.map(|content| match content {
                Content::File { text } => text.as_str(),
                Content::Link { target } => target.as_str(),
            }),
            mode: (to.is_some() && !is_link).then(|| format!("{:04o}", boot::FILE_MODE)),
        }
    });
    InstallJson {
        version: JSON_VERSION,
        kind,
        done,
        root: root.full("").display().to_string(),
        files: files.collect(),
        commands: commands.iter().map(Systemctl::as_typed).collect(),
    }
}

pub(super) fn failed(error: &install::Error) -> Failure {
    let failure = Failure::from_error(error);
    match error {
        install::Error::Read { source, .. } | install::Error::Write { source, .. }
            if source.kind() == std::io::ErrorKind::PermissionDenied =>
        {
            failure.exit(Exit::NotPermitted).hint("run it as root, or into an image of your own: --root DIR")
        }
        install::Error::Write { .. } => failure.hint("what was begun is finished by running it again"),
        _ => failure,
    }
}
