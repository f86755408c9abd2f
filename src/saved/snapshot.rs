//! What plans depend on of one host.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::consistent::check;
use super::document::{self, Error, Text};
use crate::diff::LiveState;

/// Where and when a state was read.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Origin {
    /// The version of the isoplan that read it.
    pub isoplan: Text,
    /// The name of the host.
    pub host: Text,
    /// The release of its kernel.
    pub kernel: Text,
    /// The boot: `/proc/sys/kernel/random/boot_id` (random(4)).
    pub boot_id: Text,
    /// The cookie of the network namespace, which the kernel does not give twice within a boot.
    pub netns: u64,
    /// When, in seconds since 1970-01-01 00:00 UTC.
    pub taken: u64,
}

/// The state of a host, with all that a plan for any topology asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Snapshot {
    /// Where and when.
    pub origin: Origin,
    /// What was there.
    pub state: LiveState,
}

/// `kind` of the document.
const KIND: &str = "snapshot";
/// `version` of the document.
const VERSION: u32 = 1;

#[derive(Serialize, JsonSchema)]
pub(crate) struct Body<'s> {
    /// Where and when it was taken.
    origin: &'s Origin,
    /// What was there.
    state: &'s LiveState,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Document {
    #[serde(rename = "version")]
    _version: u32,
    #[serde(rename = "kind")]
    _kind: String,
    origin: Origin,
    state: LiveState,
}

impl Snapshot {
    /// As a document.
    ///
    /// # Errors
    ///
    /// See [`document::write`].
    pub fn to_bytes(&self) -> Result<Vec<u8>, serde_json::Error> {
        document::write(KIND, VERSION, &Body { origin: &self.origin, state: &self.state })
    }

    /// From a document.
    ///
    /// # Errors
    ///
    /// When it is not one that isoplan of this version wrote.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, Error> {
        let Document { origin, state, .. } = document::read(KIND, VERSION, bytes)?;
        check(&state).map_err(|what| Error::Impossible { kind: KIND, what })?;
        Ok(Self { origin, state })
    }
}
