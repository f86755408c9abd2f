//! Writing an installation, and taking it away.
//!
//! The manifest is on disk before the first file is written, and names what was there of isoplan's and what is to come.
//! So a run that is killed at any moment leaves nothing that the next one does not know.

mod root;
mod systemd;

use std::fmt;
use std::io;
use std::path::PathBuf;

pub use root::{Lock, Root};
pub use systemd::{Systemctl, is_running};

use crate::boot::{Action, Change, Content, Found, MANIFEST, Manifest, Unknown};

/// Why an installation could not be made or taken away.
#[derive(Debug)]
#[non_exhaustive]
pub enum Error {
    /// Something cannot be read.
    Read {
        /// Where.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// Something cannot be written or removed.
    Write {
        /// Where.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// There is a manifest that cannot be understood.
    Manifest {
        /// Where.
        path: PathBuf,
        /// What is wrong with it.
        source: Unknown,
    },
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Read { path, .. } => write!(f, "cannot read {}", path.display()),
            Self::Write { path, .. } => write!(f, "cannot write {}", path.display()),
            Self::Manifest { path, .. } => write!(f, "cannot tell what is installed by {}", path.display()),
        }
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Read { source, .. } | Self::Write { source, .. } => Some(source),
            Self::Manifest { source, .. } => Some(source),
        }
    }
}

/// What is installed; `None` where nothing is.
///
/// # Errors
///
/// When the manifest cannot be read or understood.
pub fn manifest(root: &Root) -> Result<Option<Manifest>, Error> {
    let fault = |source| Error::Manifest { path: root.full(MANIFEST), source };
    match root.found(MANIFEST)? {
        Found::Nothing => Ok(None),
        Found::Content { content: Content::File { text }, .. } => {
            Manifest::from_text(&text).map(Some).map_err(fault)
        }
        Found::Content { .. } | Found::Else(_) => Err(fault(Unknown("it is not a text file".to_owned()))),
    }
}

/// Carries out changes, all of them from what `before` says is installed.
///
/// # Errors
///
/// When something cannot be written: what was done until then stays, and the next run goes on from there.
pub fn carry_out(root: &Root, changes: &[Change], before: &Manifest) -> Result<(), Error> {
    root.remove_unfinished(MANIFEST)?;
    let is_ours = |change: &&Change| change.action != Action::Leave;
    let wanted: Vec<_> = changes.iter().filter(is_ours).filter_map(|change| change.to.clone()).collect();
    // The manifest's own directory cannot be in it: it is there before. It goes when it is empty.
    let is_around_manifest = |directory: &String| MANIFEST.starts_with(&format!("{directory}/"));
    let missing = wanted.iter().flat_map(|entry| root.missing_directories(&entry.path));
    let missing: Vec<String> = missing.filter(|directory| !is_around_manifest(directory)).collect();
    let during = before.and(&wanted, &missing);
    if !wanted.is_empty() {
        for directory in root.missing_directories(MANIFEST) {
            root.make_directory(&directory)?;
        }
        put_manifest(root, &during)?;
    }
    for change in changes {
        root.remove_unfinished(&change.path)?;
        match (change.action, &change.to) {
            (Action::Create | Action::Change | Action::Force, Some(entry)) => {
                for directory in root.missing_directories(&entry.path) {
                    root.make_directory(&directory)?;
                }
                root.put(&entry.path, &entry.content)?;
            }
            (Action::Remove | Action::Force, None) => root.remove(&change.path)?,
            _ => {}
        }
    }
    clean_up(root, changes, &during, before)
}

/// Takes an installation away. Where there is no manifest, what a run left that was killed before it had one.
///
/// # Errors
///
/// When something cannot be removed: the next run goes on from there.
pub fn take_away(root: &Root, changes: &[Change], before: &Manifest) -> Result<(), Error> {
    carry_out(root, changes, before)?;
    let stays = changes.iter().any(|change| change.action == Action::Leave);
    if let (false, Some((directory, _))) = (stays, MANIFEST.rsplit_once('/')) {
        root.remove_directory(directory)?;
    }
    Ok(())
}

/// Brings the manifest up to date, and takes away the directories that hold nothing of isoplan's any more.
fn clean_up(root: &Root, changes: &[Change], during: &Manifest, before: &Manifest) -> Result<(), Error> {
    let stays = |change: &Change| match change.action {
        // Somebody's own in the place of something of isoplan's: to be told of again next time.
        Action::Leave => before.installed.iter().any(|installed| installed.path == change.path),
        _ => change.to.is_some(),
    };
    let staying: Vec<&Change> = changes.iter().filter(|change| stays(change)).collect();
    let is_needed = |directory: &str| {
        let prefix = format!("{directory}/");
        staying.iter().any(|change| change.path.starts_with(&prefix))
    };
    let mut directories = during.directories.clone();
    for directory in during.directories.iter().rev().filter(|directory| !is_needed(directory)) {
        if root.remove_directory(directory)? {
            directories.retain(|other| other != directory);
        }
    }
    if staying.is_empty() {
        return root.remove(MANIFEST);
    }
    let mut after = Manifest { installed: Vec::new(), directories };
    for change in staying {
        let of_before = before.installed.iter().find(|installed| installed.path == change.path);
        match (change.action, &change.to, of_before) {
            (Action::Leave, _, Some(installed)) => after.installed.push(installed.clone()),
            (_, Some(entry), _) => {
                let installed = Manifest::of(std::slice::from_ref(entry), Vec::new()).installed;
                after.installed.extend(installed);
            }
            _ => {}
        }
    }
    if after != *before || *during != *before { put_manifest(root, &after) } else { Ok(()) }
}

fn put_manifest(root: &Root, manifest: &Manifest) -> Result<(), Error> {
    root.put(MANIFEST, &Content::File { text: manifest.to_text() })
}
