//! What the kernel tells of a transaction.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use super::plain;
use crate::ruleset::{Family, TABLE_NAME};

/// A process that changed the rule set, as the kernel names it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Writer {
    /// The name that it has given itself (`/proc/PID/comm`): a hint, and no proof.
    pub name: String,
    /// Its number, in the first pid namespace of the machine (`nf_tables_fill_gen_info`).
    pub pid: u32,
}

impl fmt::Display for Writer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} (pid {})", plain(&self.name), self.pid)
    }
}

/// Something in a table named isoplan. The most telling first.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Object {
    /// The table itself.
    Table,
    /// A chain.
    Chain(String),
    /// Rules of a chain.
    Rules(String),
    /// A set or map.
    Set(String),
    /// Elements of a set or map.
    Elements(String),
    /// A stateful object or flowtable.
    Other(String),
}

/// What happened to it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Touch {
    /// To what.
    pub object: Object,
    /// Deleted; else added or changed.
    pub deleted: bool,
    /// In which table.
    pub family: Family,
}

impl fmt::Display for Touch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let verb = if self.deleted { "deleted" } else { "wrote" };
        match &self.object {
            Object::Table => write!(f, "{verb}")?,
            Object::Chain(name) => write!(f, "{verb} chain {} of", plain(name))?,
            Object::Rules(chain) => write!(f, "{verb} rules in chain {} of", plain(chain))?,
            Object::Set(name) => write!(f, "{verb} set {} of", plain(name))?,
            Object::Elements(set) => write!(f, "{verb} elements of set {} of", plain(set))?,
            Object::Other(name) => write!(f, "{verb} {} of", plain(name))?,
        }
        write!(f, " table {} {TABLE_NAME}", self.family)
    }
}

/// A transaction, as far as it is about tables named isoplan.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Transaction {
    /// The generation that it made.
    pub generation: u32,
    /// The port of the socket that it came from.
    pub port: u32,
    /// Who made it, where the kernel tells.
    pub writer: Option<Writer>,
    /// What it did to tables named isoplan.
    pub touches: BTreeSet<Touch>,
}

impl Transaction {
    /// Who did what, in half a sentence; none when it did nothing to isoplan's tables.
    pub fn story(&self) -> Option<String> {
        let first = self.touches.first()?;
        let who = self.writer.as_ref().map_or_else(|| "somebody".to_owned(), ToString::to_string);
        Some(format!("{who} {first}"))
    }
}

/// Who has been seen at it, by name: a script is another process each time.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Writers(BTreeMap<String, Pids>);

#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Pids {
    /// The latest few.
    latest: Vec<u32>,
    /// How many there were before those.
    earlier: u64,
}

/// How many process numbers are kept for a name.
const PIDS: usize = 3;
/// How many names are kept.
const NAMES: usize = 8;

impl Writers {
    /// Takes one in.
    pub fn saw(&mut self, writer: &Writer) {
        let name = plain(&writer.name);
        if self.0.len() >= NAMES && !self.0.contains_key(&name) {
            return;
        }
        let pids = self.0.entry(name).or_default();
        if pids.latest.contains(&writer.pid) {
            return;
        }
        pids.latest.push(writer.pid);
        if pids.latest.len() > PIDS {
            pids.latest.remove(0);
            pids.earlier += 1;
        }
    }

    /// Whether nobody was seen.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Those that are kept, one by one.
    pub fn each(&self) -> impl Iterator<Item = Writer> {
        let all = self.0.iter();
        all.flat_map(|(name, pids)| pids.latest.iter().map(|pid| Writer { name: name.clone(), pid: *pid }))
    }
}

impl fmt::Display for Writers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.is_empty() {
            return f.write_str("somebody");
        }
        for (place, (name, pids)) in self.0.iter().enumerate() {
            if place > 0 {
                f.write_str(", ")?;
            }
            let latest: Vec<String> = pids.latest.iter().map(ToString::to_string).collect();
            write!(f, "{name} (pid {}", latest.join(", "))?;
            if pids.earlier > 0 {
                write!(f, " and {} before", pids.earlier)?;
            }
            f.write_str(")")?;
        }
        Ok(())
    }
}
