//! Files of elements: large, written once, and named by the records that need them. What a file has already is not
//! written again.

use std::fs;

use serde::{Deserialize, Serialize};

use super::files;
use super::state_dir::{Error, StateDir};
use crate::saved::elements::{self, BySet, Digest};

/// A file of elements, as a record names it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Stored {
    /// The number of the file.
    pub(super) file: u64,
    /// What is in it.
    digest: Digest,
}

impl Stored {
    /// Finds a file with exactly these bytes, which [`elements::encode`] made.
    pub(super) fn find(state: &StateDir, bytes: &[u8]) -> Option<Self> {
        let digest = elements::digest(bytes).ok()?;
        let has = |number: &u64| {
            let path = state.elements(*number);
            let is_as_long = fs::symlink_metadata(&path).is_ok_and(|file| file.len() == digest.bytes);
            is_as_long && files::read(&path).is_ok_and(|found| found.is_some_and(|found| found == bytes))
        };
        let file = numbers(state).into_iter().rev().find(has)?;
        Some(Self { file, digest })
    }

    /// Puts bytes on disk, unless they are there.
    pub(super) fn put(state: &StateDir, bytes: &[u8]) -> Result<Self, Error> {
        if let Some(stored) = Self::find(state, bytes) {
            return Ok(stored);
        }
        let file = numbers(state).last().map_or(1, |last| last.saturating_add(1));
        let path = state.elements(file);
        let fault = |error: elements::Broken| Error::Record { path: path.clone(), what: error.to_string() };
        let digest = elements::digest(bytes).map_err(fault)?;
        files::write(&path, bytes).map_err(|source| Error::Open { path, source })?;
        Ok(Self { file, digest })
    }

    /// The bytes.
    ///
    /// # Errors
    ///
    /// When the file is gone, or is not the one that was named.
    pub(super) fn bytes(&self, state: &StateDir) -> Result<Vec<u8>, Error> {
        let path = state.elements(self.file);
        let fault = |what: String| Error::Record { path: path.clone(), what };
        let bytes = files::read(&path).map_err(|source| Error::Open { path: path.clone(), source })?;
        let bytes = bytes.ok_or_else(|| fault("it is gone".to_owned()))?;
        match elements::digest(&bytes) {
            Ok(digest) if digest == self.digest => Ok(bytes),
            Ok(_) => Err(fault("it is another than the one that the record names".to_owned())),
            Err(error) => Err(fault(error.to_string())),
        }
    }

    /// The elements.
    ///
    /// # Errors
    ///
    /// When the file is gone, or is not what was written.
    pub(super) fn read(&self, state: &StateDir) -> Result<BySet, Error> {
        let bytes = self.bytes(state)?;
        let fault = |what: String| Error::Record { path: state.elements(self.file), what };
        elements::decode(&bytes).map_err(|error| fault(error.to_string()))
    }
}

/// The numbers of the files that there are, in order.
fn numbers(state: &StateDir) -> Vec<u64> {
    let names = fs::read_dir(state.path()).into_iter().flatten().flatten().map(|file| file.file_name());
    let number = |name: &str| name.strip_prefix("elements-")?.strip_suffix(".bin")?.parse().ok();
    let mut numbers: Vec<u64> = names.filter_map(|name| number(name.to_str()?)).collect();
    numbers.sort_unstable();
    numbers
}

/// Removes the files that nothing names any more.
pub(super) fn tidy(state: &StateDir, keep: &[u64]) {
    for number in numbers(state) {
        if !keep.contains(&number) {
            let _ = files::remove(&state.elements(number));
        }
    }
}
