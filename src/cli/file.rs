//! Files that isoplan writes where the user says.

use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::Path;

use crate::error::{Exit, Failure};

/// Writes a file whole or not at all, readable by its owner alone. What is there is replaced when it is a plain
/// file; a symbolic link, which may lead anywhere in a directory of many users, is refused.
pub(super) fn write(path: &Path, bytes: &[u8]) -> Result<(), Failure> {
    replace(path, bytes).map_err(|error| {
        let failure = Failure::new(format!("cannot write {}", path.display())).because(error.to_string());
        match error.kind() {
            io::ErrorKind::PermissionDenied => failure.exit(Exit::NotPermitted),
            _ => failure,
        }
    })
}

fn replace(path: &Path, bytes: &[u8]) -> io::Result<()> {
    match fs::symlink_metadata(path) {
        // A device would be replaced by a file.
        Ok(there) if !there.is_file() => {
            return Err(io::Error::other("it is there, and it is not a plain file"));
        }
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let directory = match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    // With a name that nobody can guess, and mode 0600.
    let mut file = tempfile::NamedTempFile::new_in(directory)?;
    file.write_all(bytes)?;
    file.as_file().sync_all()?;
    file.persist(path).map_err(|error| error.error)?;
    File::open(directory)?.sync_all()
}
