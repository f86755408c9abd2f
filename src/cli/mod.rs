//! The command line: one file per verb. The only code that prints.

mod apply;
mod check;
mod compare;
mod completions;
mod confirm;
mod diff;
mod discover;
mod explain;
mod file;
mod host;
mod install;
mod lab;
mod man;
mod open;
mod output;
mod packets;
mod pending;
mod plan;
mod probe;
mod remove;
mod render;
mod rollback;
mod saved;
mod schema;
mod snapshot;
mod stage;
mod status;
mod template;
mod topology;
mod uninstall;
mod verify;
mod watch;

use std::path::PathBuf;

use clap::{Parser, Subcommand, ValueEnum};

use crate::error::{Exit, Failure};
pub use output::Output;
pub use schema::{schema_kinds, schema_of};
pub use stage::stage;

/// Plans, proves and applies network isolation on a container host.
///
/// A container host forwards between all its NICs: a container can reach the network that the host
/// mounts its storage from, with the host's own address. isoplan takes a file that says what each
/// bridge and NIC is for, and closes what nobody asked for.
#[derive(Debug, Parser)]
#[command(
    name = "isoplan",
    version,
    max_term_width = 100,
    arg_required_else_help = true,
    after_long_help = AFTER_HELP
)]
pub struct Cli {
    /// When to use colours
    #[arg(long, global = true, value_enum, value_name = "WHEN", default_value = "auto")]
    color: ColorWhen,

    #[command(subcommand)]
    verb: Verb,
}

const AFTER_HELP: &str = "\
A first session:
  isoplan discover -o topology.toml  draft it from this host; read it, mend it
  isoplan check topology.toml        is it right? who may talk to whom?
  isoplan plan topology.toml         what would change? (changes nothing)
  isoplan apply topology.toml        show it, ask, do it, read it back
  isoplan status topology.toml       is it still in place? what was dropped?
  isoplan rollback                   undo the last apply
  isoplan remove                     take it all away again

With real packets, in throw-away namespaces; nothing changes on this host:
  isoplan lab topology.toml          a shell on such a host: try plan and apply in it
  isoplan compare topology.toml      what does each approach stop?
  isoplan verify topology.toml       does this one do what the file asks for?

Without root, in an empty network namespace that ends with the command:
  unshare -rn isoplan plan topology.toml

Exit codes:
  0 done and clean   1 failed, or answered no   64 usage
  2 differences (plan --detailed-exitcode, status)
  3 a leak, or something broken (compare, verify)
  4 rolled back: not confirmed in time (apply --confirm-within, confirm)
  65 topology refused   77 not permitted

A ping is no proof of isolation: see README.md for why.";

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum ColorWhen {
    /// On a terminal, unless NO_COLOR is set
    Auto,
    /// Always
    Always,
    /// Never
    Never,
}

#[derive(Debug, Subcommand)]
enum Verb {
    // In attributes, because a doc comment here would take away that of the arguments, which is the long help.
    #[command(about = "Check a topology file and show who may talk to whom")]
    Check(check::Args),
    #[command(about = "Show what would change on this host, and change nothing")]
    Plan(plan::Args),
    #[command(about = "Carry out a plan: show it, ask, apply it in one transaction, read it back")]
    Apply(apply::Args),
    #[command(about = "Tell whether the policy is in place, and what it has dropped")]
    Status(status::Args),
    #[command(about = "Take away what isoplan owns and restore the sysctls that it changed")]
    Remove(remove::Args),
    #[command(about = "Print the rule set of a topology as text or as a document; needs no privilege")]
    Render(render::Args),
    #[command(about = "Show with real packets what each approach stops and what it does not")]
    Compare(compare::Args),
    #[command(about = "Show with real packets that one approach does what the topology asks for")]
    Verify(verify::Args),
    #[command(about = "Open a shell, or run a command, on the host of a lab made from a topology")]
    Lab(lab::Args),
    #[command(about = "Send probes in the lab that this is run in")]
    Probe(probe::Args),
    #[command(about = "Send one packet in a lab made from a topology, and tell what decided about it")]
    Explain(explain::Args),
    #[command(about = "Save what plans depend on of this host, for `plan --against`")]
    Snapshot(snapshot::Args),
    #[command(about = "Show what changes in meaning between two topology files, and the rules that do it")]
    Diff(diff::Args),
    #[command(about = "Keep the change that `apply --confirm-within` made")]
    Confirm(confirm::Args),
    #[command(about = "Undo the last apply: tables and sysctls, exactly")]
    Rollback(rollback::Args),
    #[command(about = "Have a topology applied at boot, before the network is up")]
    Install(install::Args),
    #[command(about = "Take away what `install` made")]
    Uninstall(uninstall::Args),
    #[command(about = "Listen for changes by others, and repair or report them")]
    Watch(watch::Args),
    #[command(about = "Draft a topology from what this host has now")]
    Discover(discover::Args),
    #[command(about = "Print a JSON Schema of the topology file, or of a --json output")]
    Schema(schema::Args),
    #[command(about = "Print a completion script for a shell")]
    Completions(completions::Args),
    /// Write the man pages into a directory
    Man(man::Args),
}

/// Where state is kept.
#[derive(Debug, clap::Args)]
struct StateArgs {
    /// Keep the lock and the journal of sysctls below this directory, the same one in every run
    /// [default: /run/isoplan]
    #[arg(long, value_name = "DIR", env = "ISOPLAN_STATE_DIR", hide_env_values = true)]
    state_dir: Option<PathBuf>,
}

/// Runs a command line, arguments parsed.
pub fn run(cli: Cli) -> Exit {
    let mut output = Output::new(match cli.color {
        ColorWhen::Auto => anstream::ColorChoice::Auto,
        ColorWhen::Always => anstream::ColorChoice::Always,
        ColorWhen::Never => anstream::ColorChoice::Never,
    });
    let result = match cli.verb {
        Verb::Check(args) => check::run(&args, &mut output),
        Verb::Plan(args) => plan::run(&args, &mut output),
        Verb::Apply(args) => apply::run(&args, &mut output),
        Verb::Status(args) => status::run(&args, &mut output),
        Verb::Remove(args) => remove::run(&args, &mut output),
        Verb::Render(args) => render::run(&args, &mut output),
        Verb::Compare(args) => compare::run(&args, &mut output),
        Verb::Verify(args) => verify::run(&args, &mut output),
        Verb::Lab(args) => lab::run(&args, &mut output),
        Verb::Probe(args) => probe::run(&args, &mut output),
        Verb::Explain(args) => explain::run(&args, &mut output),
        Verb::Snapshot(args) => snapshot::run(&args, &mut output),
        Verb::Diff(args) => diff::run(&args, &mut output),
        Verb::Confirm(args) => confirm::run(&args, &mut output),
        Verb::Rollback(args) => rollback::run(&args, &mut output),
        Verb::Install(args) => install::run(&args, &mut output),
        Verb::Uninstall(args) => uninstall::run(&args, &mut output),
        Verb::Watch(args) => watch::run(&args, &mut output),
        Verb::Discover(args) => discover::run(&args, &mut output),
        Verb::Schema(args) => schema::run(&args, &mut output),
        Verb::Completions(args) => completions::run(&args, &mut output),
        Verb::Man(args) => man::run(&args, &mut output),
    };
    let result = result.and_then(|exit| output.finish().map(|()| exit));
    result.unwrap_or_else(|failure| {
        output.failure(&failure);
        failure.exit
    })
}

/// Parses the process's arguments. clap prints help, version and usage errors; the latter end with
/// [`Exit::Usage`].
///
/// # Errors
///
/// The exit code, when there is nothing more to do.
pub fn parse() -> Result<Cli, Exit> {
    Cli::try_parse().map_err(|error| {
        let asked_for = !error.use_stderr();
        let _ = error.print();
        if asked_for { Exit::Done } else { Exit::Usage }
    })
}

/// A failure of reading or changing the kernel, with what to do about it.
fn not_permitted(failure: Failure, command: &str) -> Failure {
    let failure = failure.exit(Exit::NotPermitted);
    // In an empty namespace there is nothing to remove, to keep, to undo or to tell of.
    if ["remove", "status", "confirm", "rollback"].iter().any(|verb| command.starts_with(verb)) {
        return failure.hint("run it as root");
    }
    let state = if command.starts_with("apply") { " --yes --state-dir DIR" } else { "" };
    failure.hint(format!(
        "run it as root, or try it in an empty network namespace of your own:\n        unshare -rn isoplan {command}{state}"
    ))
}
