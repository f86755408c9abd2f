//! `isoplan discover`

use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use schemars::JsonSchema;
use serde::Serialize;

use super::{Output, file};
use crate::draft::{Draft, draft};
use crate::error::{Exit, Failure};
use crate::live;
use crate::plan::JSON_VERSION;
use crate::topology;

/// Drafts a topology from the links, addresses and routes of this host (or of the network namespace that it runs
/// in), from the networks of Docker and Podman, and from what is mounted and connected. Changes nothing.
///
/// Roles are guesses, with what they rest on in comments. A NIC of which nothing is known is closed, and what a
/// file cannot say is left out and told on stderr: read the draft before you apply it. DOCKER_HOST and
/// CONTAINER_HOST name the sockets of the engines, as unix:// addresses, where they are not at their usual place.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Write to this file instead of stdout; one that exists is left alone
    #[arg(long, short, value_name = "FILE")]
    output: Option<PathBuf>,
    /// Replace the file when it exists
    #[arg(long, requires = "output")]
    force: bool,
    /// Print the draft with its evidence as JSON (docs/json.md)
    #[arg(long)]
    json: bool,
}

#[derive(Serialize, JsonSchema)]
pub(super) struct DraftJson<'d> {
    /// [`JSON_VERSION`](crate::plan::JSON_VERSION).
    version: u32,
    /// `discover`.
    kind: &'static str,
    /// The topology file.
    draft: &'d str,
    /// Each NIC of it.
    nics: Vec<NicJson<'d>>,
    /// What of this host the file does not have, and why.
    left_out: &'d [String],
    /// What to look at before it is applied.
    remarks: &'d [String],
    /// What could not be read; what is said of it is a guess.
    unseen: &'d [String],
}

#[derive(Serialize, JsonSchema)]
struct NicJson<'d> {
    /// Its name.
    name: &'d str,
    /// The role that was guessed.
    role: String,
    /// What the guess rests on.
    evidence: &'d [String],
}

pub(super) fn run(args: &Args, output: &mut Output) -> Result<Exit, Failure> {
    if let Some(path) = args.output.as_deref().filter(|path| !args.force && path.symlink_metadata().is_ok()) {
        return Err(exists(path));
    }
    let seen = live::evidence().map_err(|error| {
        Failure::new("cannot read links, addresses and routes of this host").because(error.to_string())
    })?;
    let draft = draft(&seen);
    if draft.nics.is_empty() && draft.networks.is_empty() {
        told(&draft, output);
        return Err(Failure::new(
            "this host has neither a NIC with an address nor a bridge: nothing to draft",
        ));
    }
    let text = draft.toml();
    if let Err(refused) = topology::parse("draft.toml", text.as_bytes()) {
        return Err(Failure::new("the draft is not a valid topology")
            .because(refused.render(false, 100))
            .hint("this is a fault in isoplan: please report it with the output of `ip -d address` and `ip route`"));
    }
    if let Some(path) = &args.output {
        write(path, &text, args.force)?;
    }
    if args.json {
        let nic = |nic: &'_ crate::draft::DraftNic| (nic.name.as_str().to_owned(), draft.role(nic.role));
        let named: Vec<(String, String)> = draft.nics.iter().map(nic).collect();
        let nics = named.iter().zip(&draft.nics).map(|((name, role), nic)| NicJson {
            name,
            role: role.clone(),
            evidence: &nic.evidence,
        });
        output.json(&DraftJson {
            version: JSON_VERSION,
            kind: "discover",
            draft: &text,
            nics: nics.collect(),
            left_out: &draft.left_out,
            remarks: &draft.remarks,
            unseen: &draft.unseen,
        })?;
    } else if args.output.is_none() {
        output.data(&text)?;
    }
    told(&draft, output);
    if let Some(path) = &args.output {
        let path = path.display();
        output.note(&format!("Written to {path}: read it, then `isoplan check {path}`."));
    }
    Ok(Exit::Done)
}

/// What the file does not say, on stderr.
fn told(draft: &Draft, output: &mut Output) {
    /// Ten thousand odd links would hide the rest.
    const SHOWN: usize = 20;
    let lists = [
        ("Look at this first:", &draft.remarks),
        ("Left out:", &draft.left_out),
        ("Not seen:", &draft.unseen),
    ];
    for (title, list) in lists {
        if list.is_empty() {
            continue;
        }
        output.note(title);
        for line in list.iter().take(SHOWN) {
            output.note(&format!("- {line}"));
        }
        if list.len() > SHOWN {
            output.note(&format!("- and {} more (--json has all)", list.len() - SHOWN));
        }
    }
}

fn exists(path: &Path) -> Failure {
    file::exists(path).hint("--force replaces it; without -o the draft goes to stdout")
}

/// Writes the file whole or not at all: beside its place, then under its name.
fn write(path: &Path, text: &str, force: bool) -> Result<(), Failure> {
    let directory = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let written = (|| {
        let mut file = tempfile::Builder::new()
            .prefix(".isoplan-draft-")
            .permissions(std::os::unix::fs::PermissionsExt::from_mode(0o644))
            .tempfile_in(directory)?;
        file.write_all(text.as_bytes())?;
        file.as_file().sync_all()?;
        let persisted = if force { file.persist(path) } else { file.persist_noclobber(path) };
        persisted.map(|_| ()).map_err(|error| error.error)
    })();
    written.map_err(|error: io::Error| match error.kind() {
        io::ErrorKind::AlreadyExists => exists(path),
        _ => file::cannot_write(path, &error),
    })
}
