//! Files that isoplan writes where the user says.

use std::fs::{self, File, Permissions};
use std::io::{self, Write as _};
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::Path;

use crate::error::{Exit, Failure};

/// Whether a file that is there may be replaced.
#[derive(Debug, Clone, Copy)]
pub(super) struct Replace<'p> {
    /// Whether the user said `--force`.
    pub(super) force: bool,
    /// A file that is read by the same command, which nothing replaces.
    pub(super) input: Option<&'p Path>,
}

/// Checks that a file can be written without taking away another that nobody gave up.
///
/// # Errors
///
/// When a plain file is there and `--force` was not said, or it is the input. What is no plain file is left to
/// [`write`].
pub(super) fn free(path: &Path, replace: Replace<'_>) -> Result<(), Failure> {
    not_input(path, replace.input)?;
    match fs::symlink_metadata(path) {
        Ok(there) if there.is_file() && !replace.force => Err(exists(path)),
        _ => Ok(()),
    }
}

/// Checks that a file to be written is not the one that is read, under whatever name.
pub(super) fn not_input(path: &Path, input: Option<&Path>) -> Result<(), Failure> {
    let file = |path: &Path| fs::metadata(path).ok().map(|there| (there.dev(), there.ino()));
    match input.and_then(file) {
        Some(read) if file(path) == Some(read) => {
            Err(Failure::new(format!("{} is the file that is read; it was left alone", path.display()))
                .exit(Exit::Usage)
                .hint("name another file to write"))
        }
        _ => Ok(()),
    }
}

/// A file is in the way.
pub(super) fn exists(path: &Path) -> Failure {
    Failure::new(format!("{} exists; it was left alone", path.display())).hint("--force replaces it")
}

/// Writes a file whole or not at all, readable by its owner alone. A symbolic link, which may lead anywhere in a
/// directory of many users, is refused.
pub(super) fn write(path: &Path, bytes: &[u8], replace: Replace<'_>) -> Result<(), Failure> {
    free(path, replace)?;
    put(path, bytes, replace.force).map_err(|error| match error.kind() {
        io::ErrorKind::AlreadyExists => exists(path),
        _ => cannot_write(path, &error),
    })
}

/// Checks that [`write_document`] will find nothing in its way that can be seen before the work is done.
pub(super) fn free_for_document(path: &Path, input: &Path) -> Result<(), Failure> {
    not_input(path, Some(input))?;
    plain(path).map_err(|error| cannot_write(path, &error))?;
    Ok(())
}

/// Writes a document for people and for other programs, whole or not at all, in place of one that is there. Whoever
/// the umask lets may read it, or whoever could read the one before. A symbolic link is refused as by [`write`].
pub(super) fn write_document(path: &Path, text: &str) -> Result<(), Failure> {
    let put = || {
        let there = plain(path)?;
        let directory = directory_of(path);
        // tempfile hands the mode to open(2), which takes away what the umask says.
        let mode = Permissions::from_mode(0o666);
        let mut file = tempfile::Builder::new().permissions(mode).tempfile_in(directory)?;
        file.write_all(text.as_bytes())?;
        if let Some(there) = there {
            file.as_file().set_permissions(there.permissions())?;
        }
        file.as_file().sync_all()?;
        file.persist(path).map_err(|error| error.error)?;
        File::open(directory)?.sync_all()
    };
    put().map_err(|error| cannot_write(path, &error))
}

/// A file could not be written.
pub(super) fn cannot_write(path: &Path, error: &io::Error) -> Failure {
    let failure = Failure::new(format!("cannot write {}", path.display())).because(without_path(error));
    match error.kind() {
        io::ErrorKind::PermissionDenied => failure.exit(Exit::NotPermitted),
        io::ErrorKind::NotFound => failure.hint("the directory has to be there"),
        _ => failure,
    }
}

/// What went wrong, without the name of the temporary file, which tempfile adds to the words of the system.
fn without_path(error: &io::Error) -> String {
    let text = error.to_string();
    text.split_once(" at path \"").map_or(text.as_str(), |(what, _)| what).to_owned()
}

fn put(path: &Path, bytes: &[u8], force: bool) -> io::Result<()> {
    plain(path)?;
    let directory = directory_of(path);
    // With a name that nobody can guess, and mode 0600.
    let mut file = tempfile::NamedTempFile::new_in(directory)?;
    file.write_all(bytes)?;
    file.as_file().sync_all()?;
    let persisted = if force { file.persist(path) } else { file.persist_noclobber(path) };
    persisted.map_err(|error| error.error)?;
    File::open(directory)?.sync_all()
}

/// The plain file that is there, if one is.
fn plain(path: &Path) -> io::Result<Option<fs::Metadata>> {
    match fs::symlink_metadata(path) {
        // A device would be replaced by a file.
        Ok(there) if !there.is_file() => Err(io::Error::other("it is there, and it is not a plain file")),
        Ok(there) => Ok(Some(there)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

fn directory_of(path: &Path) -> &Path {
    path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."))
}
