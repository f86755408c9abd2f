//! Seeing that the kernel has what was meant.
//!
//! The kernel has acknowledged the transaction, and nobody else has committed one when the generation is the next
//! one. Then tables, chains, rules and the definitions of sets are read, all of them; of every set how many elements it
//! has; and of the elements that the transaction added, each is asked for, or a sample where it is many. An element was
//! added with `NLM_F_EXCL`: the kernel has said that each is there and was not before. So what is left to be seen is
//! whether it is what was meant, and all elements of a set are encoded by the same code. Sets of a kernel that does not
//! tell how many elements a set has are read whole. Where anything is not as it should be, or the generation is
//! another, everything is read and compared.

use std::sync::Arc;

use super::journal;
use super::state_dir::StateDir;
use crate::approach::Desired;
use crate::diff::{Diff, LiveState, diff};
use crate::live;
use crate::netlink::{Known, Nftables, Snapshot, Steady, count_in_kernel};
use crate::ruleset::{Elements, Family, Op, Ruleset, Set, TABLE_NAME};
use crate::saved::elements;

/// So many elements that were added to a set are asked for one by one; of more as many, evenly spread.
const ONE_BY_ONE: usize = 256;

type Failed = Box<dyn std::error::Error + Send + Sync>;

/// What was found.
pub(super) struct Found {
    /// What differs now that everything was done: nothing, if all is well.
    pub(super) left: Diff,
    pub(super) generation: u32,
    pub(super) steady: Steady,
}

/// Reads back what came of a change. `generation`: the one that its transaction, and nobody else's, has led to,
/// where it is known.
pub(super) fn read_back(
    nftables: &mut Nftables,
    state: &StateDir,
    desired: &Desired,
    ops: &[Op],
    generation: Option<u32>,
) -> Result<Found, Failed> {
    let journal = journal::read(state)?;
    let keys = || desired.sysctls.iter().map(|sysctl| sysctl.key.clone());
    if let Some(generation) = generation
        && let Some(snapshot) = quick(nftables, &desired.ruleset, ops, generation)?
    {
        let sysctls = live::sysctls(keys(), &journal)?;
        let live = LiveState { sysctls, journal, ..LiveState::default() };
        let rest = Desired {
            approach: desired.approach,
            ruleset: Ruleset::new(),
            sysctls: desired.sysctls.clone(),
            not_covered: Vec::new(),
        };
        let left = diff(&rest, &live);
        return Ok(Found { left, generation: snapshot.generation, steady: snapshot.steady });
    }
    let (after, steady) = live::read_knowing(nftables, keys(), journal, &mut ())?;
    Ok(Found { left: diff(desired, &after), generation: after.generation, steady })
}

/// The tables, if they are as desired beyond doubt. Their elements are left out.
fn quick(
    nftables: &mut Nftables,
    desired: &Ruleset,
    ops: &[Op],
    generation: u32,
) -> Result<Option<Snapshot>, Failed> {
    let mut counted = CountedOnly { desired, generation, is_now: false, counted: Vec::new() };
    let mut snapshot = nftables.read_tables_knowing(TABLE_NAME, &mut counted)?;
    let CountedOnly { counted, is_now, .. } = counted;
    if !is_now {
        return Ok(None);
    }
    for op in ops {
        if let Op::AddElements { family, set, elements } = op
            && counted.contains(&(*family, Arc::clone(&set.name)))
        {
            let step = elements.len().div_ceil(ONE_BY_ONE).max(1);
            for (key, data) in elements.iter().step_by(step).chain(elements.last()) {
                // Also where it could not be asked for: then everything is read.
                if !nftables.has_element(*family, set, (key, data), generation).unwrap_or(false) {
                    return Ok(None);
                }
            }
        }
    }
    for (family, table) in &mut snapshot.tables {
        let wanted = desired.get(family);
        for (name, set) in &mut table.sets {
            let is_read = !counted.contains(&(*family, Arc::clone(name)));
            let found = std::mem::take(&mut set.elements);
            let wanted = wanted.and_then(|table| table.sets.get(name));
            if is_read && wanted.is_none_or(|wanted| wanted.elements != found) {
                return Ok(None);
            }
        }
    }
    Ok((snapshot.tables == elements::without(desired)).then_some(snapshot))
}

/// Leaves out the elements of sets that have as many as they should.
struct CountedOnly<'d> {
    desired: &'d Ruleset,
    generation: u32,
    is_now: bool,
    counted: Vec<(Family, Arc<str>)>,
}

impl Known for CountedOnly<'_> {
    fn at(&mut self, generation: u32) {
        self.is_now = generation == self.generation;
        self.counted.clear();
    }

    fn elements(&mut self, family: Family, set: &Set, count: Option<usize>) -> Option<Elements> {
        let wanted = self.desired.get(&family)?.sets.get(&set.name)?;
        let is_right = self.is_now && count? == count_in_kernel(wanted);
        is_right.then(|| {
            self.counted.push((family, Arc::clone(&set.name)));
            Elements::new()
        })
    }
}
