//! The journal of sysctls: what was there before isoplan's first write, and what it wrote last.
//!
//! It is on disk before the first write, and it is replaced whole, so that a process that dies in
//! between leaves either the old journal or the new one.

use serde::{Deserialize, Serialize};

use super::files;
pub use super::files::boot_id;
use super::state_dir::{Error, StateDir};
use crate::approach::SysctlKey;
use crate::diff::{Journaled, LiveState, SysctlWrite};
use crate::topology::IF_NAME_MAX;

/// The version of the file.
const VERSION: u32 = 1;

/// What every version of it has.
#[derive(Deserialize)]
struct Head {
    version: u32,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Document {
    version: u32,
    /// The boot that it is about: a reboot resets every sysctl.
    boot_id: String,
    sysctls: Vec<Entry>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    key: String,
    original: String,
    written: String,
}

/// Reads the journal. There being none, or one of an earlier boot, is an empty one.
///
/// # Errors
///
/// When there is one that cannot be read or understood: then it is not known what was there before.
pub fn read(state: &StateDir) -> Result<Vec<Journaled>, Error> {
    let path = state.journal();
    let text = match files::read(&path) {
        Ok(Some(text)) => text,
        Ok(None) => return Ok(Vec::new()),
        Err(source) => return Err(Error::Open { path, source }),
    };
    parse(&text, &files::boot_id()).map_err(|what| Error::Journal { path, what })
}

/// What is in a journal; nothing for one of another boot.
///
/// # Errors
///
/// What is wrong with it. No text makes it panic.
#[doc(hidden)]
pub fn parse(text: &[u8], boot_id: &str) -> Result<Vec<Journaled>, String> {
    // First, so that a newer journal is called that, and not full of unknown fields.
    let head: Head = serde_json::from_slice(text).map_err(|error| printable(&error.to_string()))?;
    if head.version != VERSION {
        return Err(format!("it has version {}, and this isoplan knows {VERSION}", head.version));
    }
    let document: Document = serde_json::from_slice(text).map_err(|error| printable(&error.to_string()))?;
    if document.boot_id != boot_id {
        return Ok(Vec::new());
    }
    let entries = document.sysctls.into_iter().map(|entry| {
        if !is_sysctl_of_ours(&entry.key) {
            return Err(format!("`{}` is not a sysctl that isoplan writes", printable(&entry.key)));
        }
        if !is_number(&entry.original) || !is_number(&entry.written) {
            return Err(format!("the values of `{}` are not numbers", entry.key));
        }
        Ok(Journaled { key: SysctlKey(entry.key), original: entry.original, written: entry.written })
    });
    entries.collect()
}

/// Text of a file, for a terminal.
fn printable(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { '?' } else { c }).collect()
}

/// Whether a text is a value that isoplan could have read or written: it goes to a terminal and to
/// `/proc/sys`.
pub(super) fn is_number(value: &str) -> bool {
    let digits = value.strip_prefix('-').unwrap_or(value);
    (1..=10).contains(&digits.len()) && digits.bytes().all(|byte| byte.is_ascii_digit())
}

/// Whether a key is of a form that a plan can have: the journal decides what is written to `/proc/sys`.
pub(super) fn is_sysctl_of_ours(key: &str) -> bool {
    if [SysctlKey::IP_FORWARD, SysctlKey::IPV6_FORWARD, SysctlKey::REDIRECTS].contains(&key) {
        return true;
    }
    let key = SysctlKey(key.to_owned());
    let Some(switch) = key.switch() else { return false };
    let link =
        key.0.strip_prefix(SysctlKey::interfaces(switch)).and_then(|rest| rest.strip_suffix("/forwarding"));
    // The kernel's own interfaces have names that a topology's may not have.
    link.map(|link| link.trim_start_matches('/'))
        .is_some_and(|link| matches!(link, "lo" | "default") || is_link_name(link))
}

/// Whether a text is one component of a path and no longer than a name of a link may be.
fn is_link_name(link: &str) -> bool {
    (1..=IF_NAME_MAX).contains(&link.len()) && !link.contains(['/', '\0']) && !matches!(link, "." | "..")
}

/// The entries that are still isoplan's: see [`LiveState::is_still_mine`].
pub fn still_mine(live: &LiveState) -> Vec<Journaled> {
    live.journal.iter().filter(|entry| live.is_still_mine(entry)).cloned().collect()
}

/// The journal once these writes have happened. A key that was there keeps its original value.
/// `deviating`: interfaces whose own value is lost when a switch is written.
pub fn with(
    mine: &[Journaled],
    writes: &[SysctlWrite],
    live: &LiveState,
    deviating: &[(SysctlKey, String)],
) -> Vec<Journaled> {
    let mut journal = mine.to_vec();
    let mut enter = |key: &SysctlKey, original: &str, written: &str| match journal
        .iter_mut()
        .find(|entry| entry.key == *key)
    {
        Some(entry) => written.clone_into(&mut entry.written),
        None => journal.push(Journaled {
            key: key.clone(),
            original: original.to_owned(),
            written: written.to_owned(),
        }),
    };
    for (key, value) in deviating {
        let after = writes.iter().find(|write| Some(write.key.0.as_str()) == key.switch());
        if let Some(after) = after {
            enter(key, value, key.after_switch(after.new != "0"));
        }
    }
    for write in writes {
        // Where isoplan has switched forwarding before, an interface that was not noted then had the value
        // of the switch.
        let switch = mine.iter().find(|entry| Some(entry.key.0.as_str()) == write.key.switch());
        let original = switch.map(|switch| &switch.original).or_else(|| live.sysctls.get(&write.key));
        enter(&write.key, original.unwrap_or(&write.old), &write.new);
    }
    // What is back at its original value is not isoplan's any more; but while a switch is, what it resets
    // has to be known.
    let switched: Vec<String> = journal
        .iter()
        .filter(|entry| entry.key.switch().is_none() && entry.original != entry.written)
        .map(|entry| entry.key.0.clone())
        .collect();
    journal.retain(|entry| {
        entry.original != entry.written
            || entry.key.switch().is_some_and(|switch| switched.iter().any(|key| key == switch))
    });
    journal
}

/// Replaces the journal, or removes an empty one.
///
/// # Errors
///
/// When the file cannot be written; the old one is then still there.
pub fn write(state: &StateDir, journal: &[Journaled]) -> Result<(), Error> {
    let path = state.journal();
    let open = |source| Error::Open { path: path.clone(), source };
    if journal.is_empty() {
        return files::remove(&path).map_err(open);
    }
    let sysctls = journal.iter().map(|entry| Entry {
        key: entry.key.0.clone(),
        original: entry.original.clone(),
        written: entry.written.clone(),
    });
    let document = Document { version: VERSION, boot_id: files::boot_id(), sysctls: sysctls.collect() };
    let text = serde_json::to_vec_pretty(&document).map_err(|error| open(error.into()))?;
    files::write(&path, &text).map_err(open)
}

/// The journal while writes are under way: every original value of both.
pub fn both(before: &[Journaled], after: &[Journaled]) -> Vec<Journaled> {
    let mut journal = after.to_vec();
    let left = before.iter().filter(|entry| !after.iter().any(|other| other.key == entry.key));
    journal.extend(left.cloned());
    journal
}
