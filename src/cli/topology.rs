//! The TOPOLOGY argument of most verbs.

use std::fs::File;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};

use super::Output;
use crate::error::{Exit, Failure};
use crate::saved;
use crate::topology::{Refused, Topology, parse};

/// Nobody writes more; the parser refuses it, and reading stops there.
const READ_AT_MOST: u64 = 17 * 1024 * 1024;

/// The name of stdin as a file, for messages.
pub(super) const STDIN: &str = "<stdin>";

#[derive(Debug, clap::Args)]
pub(super) struct TopologyArg {
    /// The topology file; - reads it from stdin
    #[arg(value_name = "TOPOLOGY")]
    pub(super) topology: PathBuf,
}

/// What came of reading a file.
pub(super) enum Loaded {
    Topology(Box<Topology>),
    Refused(Box<Refused>),
}

impl TopologyArg {
    /// The argument as it can be typed again.
    pub(super) fn as_typed(&self) -> String {
        let path = self.topology.display().to_string();
        let plain = |c: char| c.is_ascii_alphanumeric() || "/._-+@%".contains(c);
        if path.chars().all(plain) { path } else { format!("'{}'", path.replace('\'', "'\\''")) }
    }

    /// The same with its text, for a lab that reads it again.
    pub(super) fn with_text(&self, output: &mut Output) -> Result<(String, Topology), Failure> {
        let (name, bytes) = text(&self.topology)?;
        match parse(&name, &bytes) {
            // The parser takes nothing but UTF-8.
            Ok(topology) => Ok((String::from_utf8_lossy(&bytes).into_owned(), topology)),
            Err(refused) => Err(print_refused(&refused, output)),
        }
    }

    /// What came of reading it, with its text.
    pub(super) fn load(&self) -> Result<(Loaded, String), Failure> {
        load(&self.topology)
    }

    /// The topology, or a failure after its mistakes were printed.
    pub(super) fn checked(&self, output: &mut Output) -> Result<Topology, Failure> {
        match self.load()?.0 {
            Loaded::Topology(topology) => Ok(*topology),
            Loaded::Refused(refused) => Err(print_refused(&refused, output)),
        }
    }
}

pub(super) fn print_refused(refused: &Refused, output: &mut Output) -> Failure {
    let style = output.style(false);
    output.note(refused.render(style.color, style.width).trim_end());
    // The mistakes are the message.
    Failure::new("").exit(Exit::Topology)
}

fn load(path: &Path) -> Result<(Loaded, String), Failure> {
    let (name, bytes) = text(path)?;
    let loaded = match parse(&name, &bytes) {
        Ok(topology) => Loaded::Topology(Box::new(topology)),
        Err(refused) => Loaded::Refused(Box::new(refused)),
    };
    // The parser takes nothing but UTF-8.
    Ok((loaded, String::from_utf8_lossy(&bytes).into_owned()))
}

/// The name of a file, for messages, and what is in it.
pub(super) fn text(path: &Path) -> Result<(String, Vec<u8>), Failure> {
    let (name, bytes) = if path.as_os_str() == "-" {
        (STDIN.to_owned(), read_from(io::stdin().lock()))
    } else {
        (path.display().to_string(), File::open(path).and_then(read_from))
    };
    let bytes = bytes.map_err(|error| {
        let failure = Failure::new(format!("cannot read {name}")).because(error.to_string());
        match error.kind() {
            io::ErrorKind::NotFound => failure.hint(match path.extension().and_then(|end| end.to_str()) {
                Some("toml") => "`isoplan discover -o FILE` drafts one; docs/topology.md describes it",
                Some("json") => {
                    "`isoplan plan -o FILE TOPOLOGY` saves a plan, `isoplan snapshot -o FILE` a snapshot"
                }
                _ => {
                    "a topology is a file that ends in .toml as a rule; `isoplan discover -o FILE` drafts one"
                }
            }),
            io::ErrorKind::PermissionDenied => failure.exit(Exit::NotPermitted),
            io::ErrorKind::IsADirectory => failure.hint("name the topology file in it"),
            _ => failure,
        }
    })?;
    Ok((name, bytes))
}

fn read_from(reader: impl io::Read) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    let mut reader = reader.take(READ_AT_MOST);
    reader.read_to_end(&mut bytes)?;
    if saved::is_document(&bytes) {
        reader.set_limit((saved::LONGEST + 1).saturating_sub(bytes.len()) as u64);
        reader.read_to_end(&mut bytes)?;
    }
    Ok(bytes)
}
