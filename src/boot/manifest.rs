//! What an installation consists of, kept beside the topology.

use serde::{Deserialize, Serialize};

use super::{Content, Entry, MANIFEST_DIRECTORY};

/// Where the manifest is, below the root file system.
pub const MANIFEST: &str = "etc/isoplan/installed.json";

/// The version of the file.
const VERSION: u32 = 1;

/// Why a manifest cannot be used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unknown(pub String);

impl std::fmt::Display for Unknown {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Unknown {}

/// One place, and what isoplan put or may have put there: more than one where a run did not come to its end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Installed {
    /// Below the root file system, no slash in front.
    pub path: String,
    /// Each is isoplan's.
    pub contents: Vec<Content>,
}

/// Everything that an installation made. It is written before the first change and after the last, so that whatever
/// is found in between is known to be isoplan's.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Manifest {
    /// In the order of writing.
    pub installed: Vec<Installed>,
    /// Directories that isoplan made, outer ones first.
    pub directories: Vec<String>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Document {
    version: u32,
    made_by: String,
    files: Vec<FileJson>,
    directories: Vec<String>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct FileJson {
    path: String,
    contents: Vec<ContentJson>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "snake_case")]
enum ContentJson {
    Text(String),
    Link(String),
}

/// Only the version: what else is there depends on it.
#[derive(Deserialize)]
struct VersionOnly {
    version: u32,
}

impl Manifest {
    /// Of an installation that is complete.
    pub fn of(entries: &[Entry], directories: Vec<String>) -> Self {
        let installed = entries
            .iter()
            .map(|entry| Installed { path: entry.path.clone(), contents: vec![entry.content.clone()] });
        Self { installed: installed.collect(), directories }
    }

    /// Of one that is being made over this one: what was isoplan's still is, and what is to come is as well.
    #[must_use]
    pub fn and(&self, entries: &[Entry], directories: &[String]) -> Self {
        let mut both = self.clone();
        for entry in entries {
            match both.installed.iter_mut().find(|installed| installed.path == entry.path) {
                Some(installed) if installed.contents.contains(&entry.content) => {}
                Some(installed) => installed.contents.push(entry.content.clone()),
                None => both
                    .installed
                    .push(Installed { path: entry.path.clone(), contents: vec![entry.content.clone()] }),
            }
        }
        for directory in directories {
            if !both.directories.contains(directory) {
                both.directories.push(directory.clone());
            }
        }
        // An outer one comes before what is in it.
        both.directories.sort();
        both
    }

    /// As it is kept.
    pub fn to_text(&self) -> String {
        let files = self.installed.iter().map(|installed| FileJson {
            path: installed.path.clone(),
            contents: installed.contents.iter().map(ContentJson::from).collect(),
        });
        let document = Document {
            version: VERSION,
            made_by: format!("isoplan {}", env!("CARGO_PKG_VERSION")),
            files: files.collect(),
            directories: self.directories.clone(),
        };
        // Strings and lists of strings can always be written.
        serde_json::to_string_pretty(&document).unwrap_or_default() + "\n"
    }

    /// Reads what [`to_text`](Self::to_text) wrote.
    ///
    /// # Errors
    ///
    /// When it is of another version, damaged, or names a place that no installation has: what it names is deleted.
    pub fn from_text(text: &str) -> Result<Self, Unknown> {
        let unknown = |error: serde_json::Error| Unknown(error.to_string());
        let VersionOnly { version } = serde_json::from_str(text).map_err(unknown)?;
        if version != VERSION {
            return Err(Unknown(format!("it has version {version}, and this isoplan knows {VERSION}")));
        }
        let document: Document = serde_json::from_str(text).map_err(unknown)?;
        let mut manifest = Self::default();
        for file in document.files {
            if !is_place_of_ours(&file.path) {
                return Err(Unknown(format!("`{}` is not a file that isoplan writes", file.path)));
            }
            let contents = file.contents.into_iter().map(Content::from).collect();
            manifest.installed.push(Installed { path: file.path, contents });
        }
        for directory in document.directories {
            if !is_plain(&directory) || !directory.starts_with("etc") {
                return Err(Unknown(format!("`{directory}` is not a directory that isoplan makes")));
            }
            manifest.directories.push(directory);
        }
        Ok(manifest)
    }
}

/// Whether a path goes down only.
fn is_plain(path: &str) -> bool {
    path.split('/').all(|name| !["", ".", ".."].contains(&name)) && !path.contains('\0')
}

/// Whether isoplan, this version or another, may have written a file there.
fn is_place_of_ours(path: &str) -> bool {
    let below = |directory: &str| path.strip_prefix(directory).is_some_and(|rest| rest.starts_with('/'));
    let of_ours = |name: &str| name.contains("isoplan");
    let name = path.rsplit('/').next().unwrap_or_default();
    is_plain(path)
        && path != MANIFEST
        && (below(MANIFEST_DIRECTORY)
            || (of_ours(name)
                && ["etc/sysctl.d", "etc/udev/rules.d", "etc/systemd/system"]
                    .iter()
                    .any(|directory| below(directory))))
}

impl From<&Content> for ContentJson {
    fn from(content: &Content) -> Self {
        match content {
            Content::File { text } => Self::Text(text.clone()),
            Content::Link { target } => Self::Link(target.clone()),
        }
    }
}

impl From<ContentJson> for Content {
    fn from(content: ContentJson) -> Self {
        match content {
            ContentJson::Text(text) => Self::File { text },
            ContentJson::Link(target) => Self::Link { target },
        }
    }
}
