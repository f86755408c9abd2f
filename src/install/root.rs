//! A root file system that files are written into: this one, or an image that is being built.
//!
//! Every path is resolved by the kernel as if that were `/` (openat2(2), RESOLVE_IN_ROOT), so that no link in an image
//! leads out of it. The last component is never followed.

use std::ffi::OsString;
use std::fs::File;
use std::io::{self, Read as _, Write as _};
use std::os::fd::OwnedFd;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::fcntl::{
    AtFlags, Flock, FlockArg, OFlag, OpenHow, ResolveFlag, open, openat, openat2, readlinkat, renameat,
};
use nix::sys::stat::{FileStat, Mode, SFlag, fstatat, mkdirat};
use nix::unistd::{UnlinkatFlags, fsync, symlinkat, unlinkat};

use super::Error;
use crate::boot::{Content, DIRECTORY_MODE, FILE_MODE, Found};

/// Nobody writes a longer file by hand; isoplan makes none.
const READ_AT_MOST: u64 = 64 * 1024 * 1024;

/// The root of a file system.
#[derive(Debug)]
pub struct Root {
    path: PathBuf,
    directory: OwnedFd,
}

/// Held while files are written; the kernel gives it back however the process ends.
#[derive(Debug)]
pub struct Lock(#[expect(dead_code, reason = "held for its Drop")] Flock<OwnedFd>);

/// A path below the root, taken apart.
fn split(path: &str) -> (&str, &str) {
    path.rsplit_once('/').unwrap_or(("", path))
}

/// What a file is called until it is complete. A run that is killed leaves it, and the next one takes it away; being
/// hidden and without a known suffix it means nothing to systemd, udev or sysctl.
fn unfinished(name: &str) -> String {
    format!(".{name}.isoplan-new")
}

impl Root {
    /// Opens it.
    ///
    /// # Errors
    ///
    /// When it is no directory that can be read.
    pub fn open(path: &Path) -> Result<Self, Error> {
        let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
        let directory = open(path, flags, Mode::empty())
            .map_err(|errno| Error::Read { path: path.to_owned(), source: errno.into() })?;
        Ok(Self { path: path.to_owned(), directory })
    }

    /// A path below it, for messages.
    pub fn full(&self, path: &str) -> PathBuf {
        self.path.join(path)
    }

    /// Keeps every other isoplan from writing here; waits for one that does, after saying so.
    ///
    /// # Errors
    ///
    /// When the file system has no locks.
    pub fn lock(&self, mut on_wait: impl FnMut()) -> Result<Lock, Error> {
        let error = |errno: Errno| Error::Read { path: self.path.clone(), source: errno.into() };
        // A lock belongs to an open file, and this one lives no longer than the lock.
        let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
        let own = openat(&self.directory, ".", flags, Mode::empty()).map_err(error)?;
        match Flock::lock(own, FlockArg::LockExclusiveNonblock) {
            Ok(lock) => Ok(Lock(lock)),
            Err((own, Errno::EWOULDBLOCK)) => {
                on_wait();
                Flock::lock(own, FlockArg::LockExclusive).map(Lock).map_err(|(_, errno)| error(errno))
            }
            Err((_, errno)) => Err(error(errno)),
        }
    }

    /// A directory below it; links in its path stay within the root.
    fn directory(&self, path: &str) -> Result<OwnedFd, Errno> {
        let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
        let how = OpenHow::new()
            .flags(flags)
            .resolve(ResolveFlag::RESOLVE_IN_ROOT | ResolveFlag::RESOLVE_NO_MAGICLINKS);
        openat2(&self.directory, if path.is_empty() { "." } else { path }, how)
    }

    /// Whether something is there, links followed within the root.
    pub fn has(&self, path: &str) -> bool {
        let how = OpenHow::new()
            .flags(OFlag::O_PATH | OFlag::O_CLOEXEC)
            .resolve(ResolveFlag::RESOLVE_IN_ROOT | ResolveFlag::RESOLVE_NO_MAGICLINKS);
        openat2(&self.directory, path, how).is_ok()
    }

    /// The directories of a path that are missing, outer ones first.
    pub fn missing_directories(&self, path: &str) -> Vec<String> {
        let (parents, _) = split(path);
        let ends = parents.match_indices('/').map(|(at, _)| at).chain([parents.len()]);
        let all = ends.map(|end| &parents[..end]).filter(|parent| !parent.is_empty());
        all.filter(|parent| matches!(self.directory(parent), Err(Errno::ENOENT))).map(str::to_owned).collect()
    }

    /// What is in a place.
    ///
    /// # Errors
    ///
    /// When it cannot be read.
    pub fn found(&self, path: &str) -> Result<Found, Error> {
        let error = |source: io::Error| Error::Read { path: self.full(path), source };
        let (parent, name) = split(path);
        let directory = match self.directory(parent) {
            Ok(directory) => directory,
            Err(Errno::ENOENT | Errno::ENOTDIR) => return Ok(Found::Nothing),
            Err(errno) => return Err(error(errno.into())),
        };
        let stat = match fstatat(&directory, name, AtFlags::AT_SYMLINK_NOFOLLOW) {
            Ok(stat) => stat,
            Err(Errno::ENOENT) => return Ok(Found::Nothing),
            Err(errno) => return Err(error(errno.into())),
        };
        let own = stat.st_uid == nix::unistd::geteuid().as_raw();
        let mode = stat.st_mode & 0o7777;
        match kind(&stat) {
            SFlag::S_IFLNK => {
                let target = readlinkat(&directory, name).map_err(|errno| error(errno.into()))?;
                let target = OsString::into_string(target);
                Ok(target.map_or(Found::Else("link"), |target| {
                    let content = Content::Link { target };
                    Found::Content { content, mode, own }
                }))
            }
            SFlag::S_IFREG => {
                let flags = OFlag::O_RDONLY | OFlag::O_NOFOLLOW | OFlag::O_NONBLOCK | OFlag::O_CLOEXEC;
                let file =
                    openat(&directory, name, flags, Mode::empty()).map_err(|errno| error(errno.into()))?;
                let mut bytes = Vec::new();
                File::from(file).take(READ_AT_MOST).read_to_end(&mut bytes).map_err(error)?;
                Ok(String::from_utf8(bytes).map_or(Found::Else("binary file"), |text| {
                    let content = Content::File { text };
                    Found::Content { content, mode, own }
                }))
            }
            SFlag::S_IFDIR => Ok(Found::Else("directory")),
            _ => Ok(Found::Else("special file")),
        }
    }

    /// Makes a directory, where it is missing, and puts it on disk.
    ///
    /// # Errors
    ///
    /// When it cannot be made.
    pub fn make_directory(&self, path: &str) -> Result<(), Error> {
        let error = |errno: Errno| Error::Write { path: self.full(path), source: errno.into() };
        let (parent, name) = split(path);
        let parent = self.directory(parent).map_err(error)?;
        match mkdirat(&parent, name, Mode::from_bits_truncate(DIRECTORY_MODE)) {
            Ok(()) => {
                // The umask may have taken something away.
                let made = self.directory(path).map_err(error)?;
                let permissions = std::fs::Permissions::from_mode(DIRECTORY_MODE);
                File::from(made)
                    .set_permissions(permissions)
                    .map_err(|source| Error::Write { path: self.full(path), source })?;
                fsync(&parent).map_err(error)
            }
            Err(Errno::EEXIST) => Ok(()),
            Err(errno) => Err(error(errno)),
        }
    }

    /// Puts something in a place, whole or not at all, in the stead of what is there.
    ///
    /// # Errors
    ///
    /// When it cannot be written; what was there still is.
    pub fn put(&self, path: &str, content: &Content) -> Result<(), Error> {
        let error = |source: io::Error| Error::Write { path: self.full(path), source };
        let (parent, name) = split(path);
        let directory = self.directory(parent).map_err(|errno| error(errno.into()))?;
        let unfinished = unfinished(name);
        let written = write_unfinished(&directory, &unfinished, content)
            .and_then(|()| Ok(renameat(&directory, unfinished.as_str(), &directory, name)?))
            .and_then(|()| Ok(fsync(&directory)?));
        written.map_err(|source| {
            // It was this run's own; what is left of it the next run finds.
            let _ = unlinkat(&directory, unfinished.as_str(), UnlinkatFlags::NoRemoveDir);
            error(source)
        })
    }

    /// Takes away what a run that was killed in [`put`](Self::put) left for this place.
    ///
    /// # Errors
    ///
    /// When it cannot be removed.
    pub fn remove_unfinished(&self, path: &str) -> Result<(), Error> {
        let (parent, name) = split(path);
        let unfinished = unfinished(name);
        self.remove(&if parent.is_empty() { unfinished } else { format!("{parent}/{unfinished}") })
    }

    /// Removes a file or link, if it is there.
    ///
    /// # Errors
    ///
    /// When it cannot be removed.
    pub fn remove(&self, path: &str) -> Result<(), Error> {
        self.unlink(path, UnlinkatFlags::NoRemoveDir).map(|_| ())
    }

    /// Removes a directory if it is empty. Whether it is gone.
    ///
    /// # Errors
    ///
    /// When it is empty and cannot be removed.
    pub fn remove_directory(&self, path: &str) -> Result<bool, Error> {
        self.unlink(path, UnlinkatFlags::RemoveDir)
    }

    fn unlink(&self, path: &str, flag: UnlinkatFlags) -> Result<bool, Error> {
        let error = |errno: Errno| Error::Write { path: self.full(path), source: errno.into() };
        let (parent, name) = split(path);
        let directory = match self.directory(parent) {
            Ok(directory) => directory,
            Err(Errno::ENOENT | Errno::ENOTDIR) => return Ok(true),
            Err(errno) => return Err(error(errno)),
        };
        match unlinkat(&directory, name, flag) {
            Ok(()) => fsync(&directory).map(|()| true).map_err(error),
            Err(Errno::ENOENT) => Ok(true),
            Err(Errno::ENOTEMPTY | Errno::EEXIST | Errno::EBUSY | Errno::ENOTDIR)
                if matches!(flag, UnlinkatFlags::RemoveDir) =>
            {
                Ok(false)
            }
            Err(errno) => Err(error(errno)),
        }
    }
}

fn kind(stat: &FileStat) -> SFlag {
    SFlag::from_bits_truncate(stat.st_mode & SFlag::S_IFMT.bits())
}

fn write_unfinished(directory: &OwnedFd, name: &str, content: &Content) -> io::Result<()> {
    match unlinkat(directory, name, UnlinkatFlags::NoRemoveDir) {
        Ok(()) | Err(Errno::ENOENT) => {}
        Err(errno) => return Err(errno.into()),
    }
    match content {
        Content::Link { target } => Ok(symlinkat(target.as_str(), directory, name)?),
        Content::File { text } => {
            let flags =
                OFlag::O_WRONLY | OFlag::O_CREAT | OFlag::O_EXCL | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
            let mut file = File::from(openat(directory, name, flags, Mode::S_IRUSR | Mode::S_IWUSR)?);
            file.write_all(text.as_bytes())?;
            file.set_permissions(std::fs::Permissions::from_mode(FILE_MODE))?;
            file.sync_all()
        }
    }
}
