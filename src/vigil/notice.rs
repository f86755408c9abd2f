//! What is said, a line each.

use schemars::JsonSchema;
use serde::Serialize;

use super::{Writer, Writers};
use crate::diff::{Change, Diff, Kind, table_name};
use crate::plan::JSON_VERSION;

/// How much a line matters, as in syslog(3).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub enum Level {
    /// Something failed: the policy may not be in place.
    Error = 3,
    /// Somebody has to look at it.
    Warning = 4,
    /// Worth knowing.
    Notice = 5,
    /// For the record.
    Info = 6,
}

/// What a line is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Event {
    /// It watches now.
    Started,
    /// The host was led back to what the topology asks for.
    Repaired,
    /// The host differs, and is not repaired (`--report`, or while it is held).
    Drift,
    /// The host is again what the topology asks for, and not by this program.
    InPlace,
    /// Somebody undoes repairs again and again.
    BackingOff,
    /// A fight is over.
    FightOver,
    /// Another isoplan changed the policy: nothing is repaired any more.
    StoodDown,
    /// The policy of another isoplan is waiting to be confirmed: until then nothing is repaired but that very policy,
    /// where it is what the file asks for.
    Held,
    /// A change that nobody confirmed, and nothing undid, was undone.
    Undone,
    /// It repairs again.
    Resumed,
    /// The file was read again.
    Reloaded,
    /// The file was read again and refused; the old one stays.
    ReloadRefused,
    /// Something on this host that no rule is about.
    Remark,
    /// Messages of the kernel were lost, and everything was read again.
    Overrun,
    /// Something failed.
    Failed,
    /// It ends.
    Ended,
}

impl Event {
    /// Whether it happens only when somebody asks for it, so that it cannot flood a log.
    pub const fn is_rare(self) -> bool {
        matches!(self, Self::Started | Self::Reloaded | Self::ReloadRefused | Self::Ended)
    }
}

/// A line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Notice {
    /// How much it matters.
    pub level: Level,
    /// What it is about.
    pub event: Event,
    /// In words, one line.
    pub message: String,
    /// The first few changes, and how many there are.
    pub changes: (Vec<String>, usize),
    /// Who was seen.
    pub writers: Vec<Writer>,
    /// From the first sign of it to its repair.
    pub took_ms: Option<u64>,
}

impl Notice {
    /// A line without more.
    pub fn new(level: Level, event: Event, message: impl Into<String>) -> Self {
        let message = message.into();
        Self { level, event, message, changes: (Vec::new(), 0), writers: Vec::new(), took_ms: None }
    }

    /// With the changes.
    #[must_use]
    pub fn about(mut self, diff: &Diff, writers: &Writers) -> Self {
        self.changes = (first_changes(diff), diff.changes.len());
        self.writers = writers.each().collect();
        self
    }

    /// With the time that it took.
    #[must_use]
    pub fn took(mut self, milliseconds: u64) -> Self {
        self.took_ms = Some(milliseconds);
        self
    }

    /// The documented JSON form.
    pub fn json<'n>(&'n self, topology: &'n str, time_ms: u64) -> NoticeJson<'n> {
        NoticeJson {
            version: JSON_VERSION,
            kind: "watch",
            time_ms,
            topology,
            event: self.event,
            level: self.level as u8,
            message: &self.message,
            changes: self.changes.1,
            first_changes: &self.changes.0,
            by: self.writers.iter().map(|writer| ByJson { name: &writer.name, pid: writer.pid }).collect(),
            took_ms: self.took_ms,
        }
    }
}

/// A line as JSON: `docs/json.md`.
#[derive(Debug, Serialize, JsonSchema)]
pub struct NoticeJson<'n> {
    /// [`JSON_VERSION`].
    version: u32,
    /// `watch`.
    kind: &'static str,
    /// When it was said: milliseconds since 1970-01-01 00:00 UTC, by the clock of the host.
    time_ms: u64,
    /// The file, as it was named.
    topology: &'n str,
    /// What it is about.
    event: Event,
    /// How much it matters, as in syslog: 3 error, 4 warning, 5 notice, 6 information.
    level: u8,
    /// In words, for people.
    message: &'n str,
    /// How many changes were made, or with `--report` would be; 0 where it is not about changes.
    changes: usize,
    /// The first few of them in words.
    first_changes: &'n [String],
    /// The processes that were seen at it; empty where the kernel does not tell.
    by: Vec<ByJson<'n>>,
    /// Milliseconds from the first sign of the change to its repair; null where nothing was repaired, or nothing told of it.
    took_ms: Option<u64>,
}

/// A process.
#[derive(Debug, Serialize, JsonSchema)]
pub struct ByJson<'n> {
    /// Its name, which a process may choose freely.
    name: &'n str,
    /// Its number in the first pid namespace of the machine.
    pid: u32,
}

/// So many changes are named in a line.
const NAMED: usize = 4;

/// The first changes of a difference, each in a few words.
pub fn first_changes(diff: &Diff) -> Vec<String> {
    diff.changes.iter().take(NAMED).map(in_words).collect()
}

fn in_words(change: &Change) -> String {
    let sign = change.action.sign();
    let value = || change.new.as_deref().or(change.old.as_deref()).unwrap_or_default();
    let place = || change.family.map(table_name).unwrap_or_default();
    let text = match (change.kind, &change.rule) {
        (Kind::Table, _) => format!("{sign} {}", place()),
        (Kind::Chain | Kind::Set, _) => {
            format!("{sign} {} {} of {}", change.kind.as_str(), change.name, place())
        }
        (Kind::Rule, Some(id)) => format!("{sign} rule {id} in chain {}", change.name),
        (Kind::Rule, None) => format!("{sign} rule `{}` in chain {}", value(), change.name),
        (Kind::Element, _) => format!("{sign} element {} in set {}", value(), change.name),
        (Kind::Sysctl, _) => format!("{sign} {} = {}", change.name, value()),
    };
    super::plain(&text)
}
