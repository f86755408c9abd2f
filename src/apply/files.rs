//! Files of the state directory: whole or not there, for their owner alone, and never through a symlink.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::Path;

use crate::saved;

/// The boot that this is: `/proc/sys/kernel/random/boot_id` (random(4)); empty where it cannot be read. A
/// reboot resets every sysctl and every rule.
pub fn boot_id() -> String {
    fs::read_to_string("/proc/sys/kernel/random/boot_id").map(|id| id.trim().to_owned()).unwrap_or_default()
}

/// Reads a file of ours; `None` where there is none.
pub(super) fn read(path: &Path) -> io::Result<Option<Vec<u8>>> {
    match open_own(path).and_then(read_all) {
        Ok(bytes) => Ok(Some(bytes)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        // Somebody else's directory, as seen from a user namespace: what is in it is not about this one.
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => Ok(None),
        Err(error) => Err(error),
    }
}

/// Opens what is a plain file of ours: what is in it decides what is written to the kernel.
fn open_own(path: &Path) -> io::Result<File> {
    let flags = nix::libc::O_NOFOLLOW | nix::libc::O_NONBLOCK | nix::libc::O_CLOEXEC;
    let file = OpenOptions::new().read(true).custom_flags(flags).open(path)?;
    let metadata = file.metadata()?;
    let ours = metadata.uid() == nix::unistd::geteuid().as_raw();
    if metadata.is_file() && ours && metadata.mode() & 0o022 == 0 {
        Ok(file)
    } else {
        Err(io::Error::other("it is not a plain file that you own and nobody else can write"))
    }
}

fn read_all(file: File) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    // One byte more than is allowed, so that what is too long is refused and not cut.
    file.take(saved::LONGEST as u64 + 1).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// Replaces a file: whoever reads it, also after a crash, finds the old one or the new one. It is made with
/// mode 0600, by a name that nobody knows before, in the directory that it stays in.
pub(super) fn write(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let directory = path.parent().unwrap_or_else(|| Path::new("/"));
    let mut file = tempfile::NamedTempFile::new_in(directory)?;
    file.write_all(bytes)?;
    file.as_file().sync_all()?;
    file.persist(path).map_err(|error| error.error)?;
    // The new name is on disk once the directory is (fsync(2)).
    File::open(directory)?.sync_all()
}

/// Removes a file; none is as good.
pub(super) fn remove(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}
