//! A file that is replaced whole, as node_exporter asks of what its textfile collector reads.

use std::fs::{File, Permissions};
use std::io::{self, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use crate::cli::file;
use crate::error::Failure;

/// Read by everybody: node_exporter runs as a user of its own.
const MODE: u32 = 0o644;

/// Replaces the file: who reads it sees the old text or the new. It is on disk when this returns. A symbolic
/// link of that name is replaced, not followed.
pub(super) fn replaced(path: &Path, text: &str) -> Result<(), Failure> {
    write(path, text).map_err(|error| {
        file::cannot_write(path, &error).hint("the directory has to be there, and be writable")
    })
}

fn write(path: &Path, text: &str) -> io::Result<()> {
    let directory = match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    // The collector reads what ends in `.prom`, which this name does not.
    let mut file = tempfile::Builder::new().prefix(".isoplan-").suffix(".new").tempfile_in(directory)?;
    file.write_all(text.as_bytes())?;
    file.as_file().set_permissions(Permissions::from_mode(MODE))?;
    file.as_file().sync_all()?;
    file.persist(path).map_err(|error| error.error)?;
    File::open(directory)?.sync_all()
}
