//! `isoplan man`

mod page;
mod texts;

use std::fs;
use std::path::PathBuf;

use super::install::failed;
use super::{Output, file};
use crate::boot::Content;
use crate::error::{Exit, Failure};
use crate::install::Root;

/// Writes the man pages of this isoplan, isoplan.1 and one for each command, into a directory; it is made where
/// it is missing. Pages of the same names are replaced. To read one in place: `man -l DIR/isoplan-plan.1`
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The directory, such as /usr/local/share/man/man1
    #[arg(value_name = "DIR")]
    directory: PathBuf,
}

pub(super) fn run(args: &Args, output: &mut Output) -> Result<Exit, Failure> {
    let pages = page::pages();
    fs::create_dir_all(&args.directory).map_err(|error| file::cannot_write(&args.directory, &error))?;
    let root = Root::open(&args.directory).map_err(|error| failed(&error))?;
    for page in &pages {
        // Whole or not at all, mode 0644, and in place of a link, not through it.
        root.put(&page.name, &Content::File { text: page.text.clone() }).map_err(|error| failed(&error))?;
    }
    output.tell(&format!("{} man pages are in {}.", pages.len(), args.directory.display()))?;
    Ok(Exit::Done)
}
