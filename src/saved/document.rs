//! What all documents have in common.

use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize, de::DeserializeOwned};

/// Longer than any document of a host that the topology's own limits allow.
pub const LONGEST: usize = 256 * 1024 * 1024;

/// Why a document was refused.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Error {
    /// It is longer than [`LONGEST`].
    TooLong,
    /// It does not begin like a JSON document.
    NotJson,
    /// It is of another kind.
    Kind {
        /// The one that was asked for.
        wanted: &'static str,
        /// The one that it says it is.
        found: String,
    },
    /// It is of another version.
    Version {
        /// Of which kind.
        kind: &'static str,
        /// The one that this isoplan knows.
        known: u32,
        /// The one that it says it is.
        found: u32,
    },
    /// It is not what a document of its kind is. The text says what is wrong, with line and column.
    Malformed {
        /// Of which kind.
        kind: &'static str,
        /// What is wrong.
        what: String,
    },
    /// It has something that isoplan never writes.
    Impossible {
        /// Of which kind.
        kind: &'static str,
        /// What.
        what: String,
    },
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TooLong => write!(f, "it is longer than {} MiB", LONGEST >> 20),
            Self::NotJson => f.write_str("it is not a JSON document"),
            Self::Kind { wanted, found } => write!(f, "it is a `{}`, not a `{wanted}`", plain(found)),
            Self::Version { kind, known, found } => {
                write!(f, "it is a `{kind}` of version {found}, and this isoplan knows version {known}")
            }
            Self::Malformed { kind, what } => write!(f, "it is not a whole `{kind}`: {}", plain(what)),
            Self::Impossible { kind, what } => {
                write!(f, "it is not a `{kind}` that isoplan wrote: {}", plain(what))
            }
        }
    }
}

impl std::error::Error for Error {}

/// Text that goes to a terminal.
pub(super) fn plain(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { '?' } else { c }).collect()
}

/// A word or line in a document, short and without control characters: it goes to a terminal.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(try_from = "String", into = "String")]
pub struct Text(String);

impl Text {
    /// In bytes, as a path (PATH_MAX). Host names and kernel releases have 64 at most (uname(2)).
    const LONGEST: usize = 4096;

    /// The text as far as it is fit to be one.
    pub fn new(text: &str) -> Self {
        let mut text = plain(text);
        while text.len() > Self::LONGEST {
            text.pop();
        }
        Self(text)
    }

    /// As a string.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Text {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl From<Text> for String {
    fn from(text: Text) -> Self {
        text.0
    }
}

impl TryFrom<String> for Text {
    type Error = &'static str;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        if text.len() > Self::LONGEST {
            Err("a text of more than 4096 bytes")
        } else if text.chars().any(char::is_control) {
            Err("a text with control characters")
        } else {
            Ok(Self(text))
        }
    }
}

/// What every document begins with; the rest is left aside.
#[derive(Deserialize)]
struct Head {
    version: u32,
    kind: String,
}

/// A document as it is written.
#[derive(Serialize)]
struct Written<'b, B> {
    version: u32,
    kind: &'static str,
    #[serde(flatten)]
    body: &'b B,
}

/// Whether a text is meant as a document and not as a topology: no TOML begins with a brace.
pub fn is_document(bytes: &[u8]) -> bool {
    bytes.trim_ascii_start().first() == Some(&b'{')
}

/// Writes a document: JSON in lines, a newline at the end.
///
/// # Errors
///
/// When a value has no form in JSON, which none of the types here is without.
pub fn write<B: Serialize>(kind: &'static str, version: u32, body: &B) -> Result<Vec<u8>, serde_json::Error> {
    let mut bytes = serde_json::to_vec_pretty(&Written { version, kind, body })?;
    bytes.push(b'\n');
    Ok(bytes)
}

/// Reads a document of one kind and version. `B` has the fields `version` and `kind` as well, refuses unknown
/// fields, and is checked by the caller.
///
/// # Errors
///
/// See [`Error`].
pub fn read<B: DeserializeOwned>(kind: &'static str, known: u32, bytes: &[u8]) -> Result<B, Error> {
    if bytes.len() > LONGEST {
        return Err(Error::TooLong);
    }
    if !is_document(bytes) {
        return Err(Error::NotJson);
    }
    let malformed = |error: serde_json::Error| Error::Malformed { kind, what: error.to_string() };
    // First, so that a newer document is called that, and not full of unknown fields.
    let head: Head = serde_json::from_slice(bytes).map_err(malformed)?;
    if head.kind != kind {
        return Err(Error::Kind { wanted: kind, found: head.kind });
    }
    if head.version != known {
        return Err(Error::Version { kind, known, found: head.version });
    }
    serde_json::from_slice(bytes).map_err(malformed)
}
