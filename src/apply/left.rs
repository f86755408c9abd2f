//! What the last change left in the kernel: elements that need not be read as long as the rule set is of the same
//! generation. See "Why what is kept of a generation hides nothing" in docs/architecture.md.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::sync::Arc;

use nix::sys::statfs::{TMPFS_MAGIC, statfs};
use serde::{Deserialize, Serialize};

use super::files;
use super::state_dir::StateDir;
use super::stored::Stored;
use crate::netlink::{self, Known, Steady};
use crate::ruleset::{Elements, Family, Set};
use crate::saved::elements::BySet;
use crate::saved::{self, Text};

/// `kind` of the document.
const KIND: &str = "generation";
/// `version` of the document.
const VERSION: u32 = 1;
/// With fewer elements all are read: that takes no time, and nothing is kept.
const LEAST: usize = 1000;

/// Which rule set it is. Within a boot and a network namespace every transaction of anybody counts the generation up.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Moment {
    /// Another one has another kernel, which counts anew.
    boot_id: Text,
    /// The cookie of the network namespace, which the kernel never gives twice between boots.
    netns: u64,
    /// nf_tables as a module: loaded again, it counts anew. 0 where it is part of the kernel.
    module: u64,
    /// What is kept is for the isoplan that kept it.
    isoplan: Text,
    /// 32 bits: after 4,294,967,295 transactions of others it is the same again.
    generation: u32,
}

impl Moment {
    /// None where one of it cannot be told.
    fn now(generation: u32) -> Option<Self> {
        let boot_id = files::boot_id();
        (!boot_id.is_empty()).then_some(())?;
        let netns = netlink::netns_cookie().ok()?;
        let isoplan = Text::new(env!("CARGO_PKG_VERSION"));
        Some(Self { boot_id: Text::new(&boot_id), netns, module: module()?, isoplan, generation })
    }
}

/// The inode of the module in sysfs: kernfs gives each a new one.
fn module() -> Option<u64> {
    let modules = Path::new("/sys/module");
    match fs::metadata(modules.join("nf_tables")) {
        Ok(module) => Some(module.ino()),
        Err(_) => modules.is_dir().then_some(0),
    }
}

/// A set as the kernel counted it.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Counted {
    family: Family,
    set: Arc<str>,
    count: Option<usize>,
}

#[derive(Serialize)]
struct Body<'b> {
    moment: &'b Moment,
    sets: Vec<Counted>,
    elements: Stored,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Document {
    #[serde(rename = "version")]
    _version: u32,
    #[serde(rename = "kind")]
    _kind: String,
    moment: Moment,
    sets: Vec<Counted>,
    elements: Stored,
}

/// Whether the directory goes with the kernel's memory: what is on a disk can be older or newer than the kernel,
/// where a virtual machine was set back.
fn is_in_memory(state: &StateDir) -> bool {
    statfs(state.path()).is_ok_and(|statfs| statfs.filesystem_type() == TMPFS_MAGIC)
}

/// Keeps what a change left, after it was seen to be in place. Failing is as good: then all is read.
pub(super) fn keep(
    state: &StateDir,
    generation: u32,
    steady: &Steady,
    elements: Option<Stored>,
    many: usize,
) {
    let path = state.generation();
    let moment = Moment::now(generation).filter(|_| many >= LEAST && is_in_memory(state));
    let (Some(moment), Some(elements)) = (moment, elements) else {
        let _ = files::remove(&path);
        return;
    };
    let sets = steady.iter().map(|((family, set), count)| Counted {
        family: *family,
        set: Arc::clone(set),
        count: *count,
    });
    let body = Body { moment: &moment, sets: sets.collect(), elements };
    if let Ok(bytes) = saved::write(KIND, VERSION, &body) {
        let _ = files::write(&path, &bytes);
    }
}

/// What the last change left, where it is still there.
#[derive(Debug)]
pub struct Left<'s> {
    state: &'s StateDir,
    document: Option<Document>,
    /// How the kernel counted each set.
    counts: BTreeMap<(Family, Arc<str>), Option<usize>>,
    elements: BySet,
    is_used: bool,
}

impl<'s> Left<'s> {
    /// Nothing that is wrong with it is an error: then all is read from the kernel.
    pub fn new(state: &'s StateDir) -> Self {
        let document = || -> Option<Document> {
            let bytes = files::read(&state.generation()).ok()??;
            let document: Document = saved::read(KIND, VERSION, &bytes).ok()?;
            let now = Moment::now(document.moment.generation)?;
            (document.moment == now && is_in_memory(state)).then_some(document)
        };
        let document = document();
        Self { state, document, counts: BTreeMap::new(), elements: BySet::new(), is_used: false }
    }

    /// Whether elements were taken from it.
    pub const fn is_used(&self) -> bool {
        self.is_used
    }
}

impl Known for Left<'_> {
    fn at(&mut self, generation: u32) {
        self.counts.clear();
        self.is_used = false;
        let document = self.document.as_ref().filter(|document| document.moment.generation == generation);
        let Some(document) = document else { return };
        // Whole, or not at all.
        let Ok(elements) = document.elements.read(self.state) else { return };
        self.elements = elements;
        let counts = document.sets.iter();
        self.counts = counts.map(|set| ((set.family, Arc::clone(&set.set)), set.count)).collect();
    }

    fn elements(&mut self, family: Family, set: &Set, count: Option<usize>) -> Option<Elements> {
        let key = (family, Arc::clone(&set.name));
        (*self.counts.get(&key)? == count).then_some(())?;
        let elements = self.elements.remove(&key).unwrap_or_default();
        let fits = elements.keys().next().is_none_or(|key| key.first().len() == set.key_len());
        self.is_used |= fits;
        fits.then_some(elements)
    }
}
