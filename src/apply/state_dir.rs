//! The state directory: one per network namespace, with the lock and the journal of sysctls.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

use nix::fcntl::{Flock, FlockArg};
use serde::{Deserialize, Serialize};

use super::files;
use crate::netlink;
use crate::saved::{self, Text};

/// Where state is kept unless the user says otherwise: a directory that a reboot empties, as a reboot
/// resets the sysctls that it is about.
pub const DEFAULT: &str = "/run/isoplan";

/// The lock that is held while the kernel is being changed.
const LOCK: &str = "lock";

/// The lock that a watch holds, and the kind of the document that names its file.
const WATCH: &str = "watch.lock";
const WATCHED: &str = "watched";

#[derive(Serialize)]
struct Watched {
    topology: Text,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct WatchedDocument {
    #[serde(rename = "version")]
    _version: u32,
    #[serde(rename = "kind")]
    _kind: String,
    topology: Text,
}

/// Why the state directory cannot be used.
#[derive(Debug)]
#[non_exhaustive]
pub enum Error {
    /// It cannot be made or opened.
    Open {
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// Others can write to it, so that what is in it proves nothing.
    Shared {
        /// Which.
        path: PathBuf,
    },
    /// The kernel does not tell which network namespace this is.
    Namespace {
        /// Why.
        source: io::Error,
    },
    /// The record of the last change is there and cannot be understood.
    Record {
        /// Which file of it.
        path: PathBuf,
        /// What is wrong with it.
        what: String,
    },
    /// The list of kept connections is there and cannot be understood.
    Kept {
        /// Which.
        path: PathBuf,
        /// What is wrong with it.
        what: String,
    },
    /// The journal is there and cannot be understood.
    Journal {
        /// Which.
        path: PathBuf,
        /// What is wrong with it.
        what: String,
    },
}

impl std::fmt::Display for Error {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Open { path, .. } => write!(f, "cannot use the state directory: {}", path.display()),
            Self::Shared { path } => {
                write!(
                    f,
                    "the state directory belongs to someone else or is open to others: {}",
                    path.display()
                )
            }
            Self::Namespace { .. } => f.write_str("cannot tell which network namespace this is"),
            Self::Record { path, what } => {
                write!(f, "cannot read the record of the last change {}: {what}", path.display())
            }
            Self::Kept { path, what } => {
                write!(f, "cannot read the list of kept connections {}: {what}", path.display())
            }
            Self::Journal { path, what } => write!(f, "cannot read the journal {}: {what}", path.display()),
        }
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Open { source, .. } | Self::Namespace { source } => Some(source),
            Self::Shared { .. } | Self::Record { .. } | Self::Kept { .. } | Self::Journal { .. } => None,
        }
    }
}

/// The state of one network namespace.
#[derive(Debug, Clone)]
pub struct StateDir {
    path: PathBuf,
}

/// Held while the kernel is being changed; the kernel gives it back however the process ends.
#[derive(Debug)]
pub struct Lock(#[expect(dead_code, reason = "held for its Drop")] Flock<File>);

impl StateDir {
    /// Below a directory of the user's choice, or [`DEFAULT`], the part that belongs to the calling
    /// thread's network namespace. Nothing is created.
    ///
    /// The namespace is named by its cookie, which the kernel never gives twice between boots; the inode
    /// of `/proc/self/ns/net` is reused.
    ///
    /// # Errors
    ///
    /// When the kernel does not tell the cookie (before Linux 5.14).
    pub fn locate(base: Option<&Path>) -> Result<Self, Error> {
        let cookie = netlink::netns_cookie().map_err(|source| Error::Namespace { source })?;
        let base = base.map_or_else(|| PathBuf::from(DEFAULT), Path::to_owned);
        Ok(Self { path: base.join(format!("netns-{cookie}")) })
    }

    /// A directory that belongs to this network namespace already.
    pub(super) const fn at(path: PathBuf) -> Self {
        Self { path }
    }

    /// The file that is locked while the kernel is being changed.
    pub(super) fn lock_file(&self) -> PathBuf {
        self.path.join("lock")
    }

    /// The directory.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The journal of sysctls.
    pub fn journal(&self) -> PathBuf {
        self.path.join("sysctls.json")
    }

    /// Which connections an apply keeps open.
    pub fn kept(&self) -> PathBuf {
        self.path.join("kept.json")
    }

    /// What the last change is, and how far it has come.
    pub fn change(&self) -> PathBuf {
        self.path.join("change.json")
    }

    /// What there was before a change.
    pub fn before(&self, id: u64) -> PathBuf {
        self.path.join(format!("before-{id}.json"))
    }

    /// Elements of sets, by the number of the file.
    pub fn elements(&self, number: u64) -> PathBuf {
        self.path.join(format!("elements-{number}.bin"))
    }

    /// What the last change left in the kernel.
    pub fn generation(&self) -> PathBuf {
        self.path.join("generation.json")
    }

    /// Creates the directory where it is missing.
    ///
    /// # Errors
    ///
    /// When it cannot be made, or is not ours alone.
    pub fn create(&self) -> Result<(), Error> {
        let open = |source| Error::Open { path: self.path.clone(), source };
        DirBuilder::new().recursive(true).mode(0o700).create(&self.path).map_err(open)?;
        let metadata = fs::symlink_metadata(&self.path).map_err(open)?;
        let ours = metadata.uid() == nix::unistd::geteuid().as_raw();
        if !metadata.is_dir() || !ours || metadata.mode() & 0o022 != 0 {
            return Err(Error::Shared { path: self.path.clone() });
        }
        Ok(())
    }

    /// Takes the lock; waits for another isoplan to finish, after saying so.
    ///
    /// # Errors
    ///
    /// When the directory cannot be used.
    pub fn lock(&self, mut on_wait: impl FnMut()) -> Result<Lock, Error> {
        let (path, file) = self.open_lock(LOCK)?;
        let open = |source: io::Error| Error::Open { path: path.clone(), source };
        match Flock::lock(file, FlockArg::LockExclusiveNonblock) {
            Ok(lock) => Ok(Lock(lock)),
            Err((file, nix::errno::Errno::EWOULDBLOCK)) => {
                on_wait();
                let lock = Flock::lock(file, FlockArg::LockExclusive);
                lock.map(Lock).map_err(|(_, errno)| open(errno.into()))
            }
            Err((_, errno)) => Err(open(errno.into())),
        }
    }

    /// Takes the lock if nobody holds it.
    ///
    /// # Errors
    ///
    /// When the directory cannot be used.
    pub fn try_lock(&self) -> Result<Option<Lock>, Error> {
        self.try_lock_of(LOCK)
    }

    /// Takes the lock that a watch holds as long as it runs, if there is no other.
    ///
    /// # Errors
    ///
    /// When the directory cannot be used.
    pub fn try_lock_of_watch(&self) -> Result<Option<Lock>, Error> {
        // Whoever asks whether a watch runs holds it for a moment.
        const TRIES: u32 = 5;
        for _ in 1..TRIES {
            if let Some(lock) = self.try_lock_of(WATCH)? {
                return Ok(Some(lock));
            }
            thread::sleep(Duration::from_millis(20));
        }
        self.try_lock_of(WATCH)
    }

    /// Whether a watch runs in this network namespace that repairs. Nothing is created.
    pub fn is_watched(&self) -> bool {
        let flags = nix::libc::O_NOFOLLOW | nix::libc::O_CLOEXEC;
        let file = OpenOptions::new().read(true).custom_flags(flags).open(self.path.join(WATCH));
        let held = |file| matches!(Flock::lock(file, FlockArg::LockSharedNonblock), Err((_, errno)) if errno == nix::errno::Errno::EWOULDBLOCK);
        file.is_ok_and(held)
    }

    /// Says which file the watch keeps, for [`Self::watched`]. Without it the watch does all the same.
    pub fn tell_watched(&self, topology: &Path) {
        let topology = std::path::absolute(topology).unwrap_or_else(|_| topology.to_owned());
        let body = Watched { topology: Text::new(&topology.to_string_lossy()) };
        if let Ok(bytes) = saved::write(WATCHED, 1, &body) {
            let _ = files::write(&self.path.join("watch.json"), &bytes);
        }
    }

    /// The file that the watch keeps, as far as it is known.
    pub fn watched(&self) -> Option<PathBuf> {
        let bytes = files::read(&self.path.join("watch.json")).ok().flatten()?;
        let document: WatchedDocument = saved::read(WATCHED, 1, &bytes).ok()?;
        Some(PathBuf::from(document.topology.as_str()))
    }

    fn try_lock_of(&self, name: &str) -> Result<Option<Lock>, Error> {
        let (path, file) = self.open_lock(name)?;
        match Flock::lock(file, FlockArg::LockExclusiveNonblock) {
            Ok(lock) => Ok(Some(Lock(lock))),
            Err((_, nix::errno::Errno::EWOULDBLOCK)) => Ok(None),
            Err((_, errno)) => Err(Error::Open { path, source: errno.into() }),
        }
    }

    fn open_lock(&self, name: &str) -> Result<(PathBuf, File), Error> {
        self.create()?;
        let path = self.path.join(name);
        let file = OpenOptions::new()
            .create(true)
            .truncate(false)
            .write(true)
            .mode(0o600)
            .custom_flags(nix::libc::O_NOFOLLOW | nix::libc::O_CLOEXEC)
            .open(&path)
            .map_err(|source| Error::Open { path: path.clone(), source })?;
        Ok((path, file))
    }
}
