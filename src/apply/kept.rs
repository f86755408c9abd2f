//! The list of connections that an apply keeps open: what sets of the live table keep besides is not isoplan's.

use serde::{Deserialize, Serialize};

use super::files;
use super::state_dir::{Error, StateDir};
use crate::flows::keep::Kept;
use crate::saved::{self, Text};

/// `kind` of the document.
const KIND: &str = "kept";
/// `version` of the document.
const VERSION: u32 = 1;

#[derive(Serialize)]
struct Body<'k> {
    boot_id: String,
    kept: &'k Kept,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Document {
    #[serde(rename = "version")]
    _version: u32,
    #[serde(rename = "kind")]
    _kind: String,
    boot_id: Text,
    kept: Kept,
}

/// The list. There being none, or one of an earlier boot, is an empty one.
///
/// # Errors
///
/// When there is one that cannot be read or understood.
pub fn kept(state: &StateDir) -> Result<Kept, Error> {
    let path = state.kept();
    let Some(bytes) = files::read(&path).map_err(|source| Error::Open { path: path.clone(), source })? else {
        return Ok(Kept::default());
    };
    let document: Document =
        saved::read(KIND, VERSION, &bytes).map_err(|error| Error::Kept { path, what: error.to_string() })?;
    Ok(if document.boot_id.as_str() == files::boot_id() { document.kept } else { Kept::default() })
}

/// Replaces the list, or removes an empty one.
fn write(state: &StateDir, kept: &Kept) -> Result<(), Error> {
    let path = state.kept();
    let open = |source| Error::Open { path: path.clone(), source };
    if kept.is_empty() {
        return files::remove(&path).map_err(open);
    }
    let bytes = saved::write(KIND, VERSION, &Body { boot_id: files::boot_id(), kept });
    bytes.map_err(Into::into).and_then(|bytes| files::write(&path, &bytes)).map_err(open)
}

/// The list through a change: meanwhile what was kept and what is to be. It is as it was when this ends without
/// [`Listing::finish`].
pub(super) struct Listing<'s> {
    state: &'s StateDir,
    before: Kept,
    meanwhile: Kept,
    after: Kept,
}

impl<'s> Listing<'s> {
    /// Before the first step, so that a process that dies in between leaves nothing that is kept and not listed.
    pub(super) fn begin(state: &'s StateDir, after: Kept) -> Result<Self, Error> {
        // From one that cannot be read nothing is kept.
        let before = kept(state).unwrap_or_default();
        let meanwhile = before.with(&after);
        if meanwhile != before {
            write(state, &meanwhile)?;
        }
        Ok(Self { state, before, meanwhile, after })
    }

    /// It is done. Failing here must not undo anything: what is listed and not there is not kept.
    pub(super) fn finish(mut self) {
        if self.after != self.meanwhile {
            let _ = write(self.state, &self.after);
        }
        self.before = self.meanwhile.clone();
    }
}

impl Drop for Listing<'_> {
    fn drop(&mut self) {
        if self.before != self.meanwhile {
            let _ = write(self.state, &self.before);
        }
    }
}
