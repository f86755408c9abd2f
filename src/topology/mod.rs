//! A topology file: read, checked whole, every mistake reported at once.
//!
//! [`parse`] goes from bytes to a [`Topology`] in three steps: `text` and `syntax` make a tree of
//! tables whose values know their place, `read` makes entries of it (one by one: keys, types, forms),
//! and `check` compares the entries with each other. Each step notes what is wrong and goes on, so
//! that one run shows everything; what a mistake leaves unclear is not reported a second time.

mod address;
mod allow;
mod check;
pub(crate) mod limits;
mod mistake;
mod model;
mod names;
mod nics;
mod ports;
mod raw;
mod reach;
mod read;
mod remark;
mod render;
mod subnets;
mod syntax;
mod table;
#[cfg(test)]
mod tests;

pub(crate) use address::is_special;
pub use mistake::{Mistake, Refused, Related};
pub use model::{
    Allow, ApproachName, Entry, EntryId, EntryKind, Flat, IF_NAME_MAX, IfName, IfNameFault, Inbound,
    Isolation, NamePattern, Network, NetworkKind, Nic, NicNat, PortRange, Protocol, Reach, Role, Topology,
};

pub use remark::Remark;

pub(crate) use render::shown;
#[cfg(test)]
pub(crate) use table::keys;

use mistake::{Lines, Mistakes, Span};

/// Reads and checks a topology file. `file` is its name, for messages: [`Topology::file`] has it in one line, so that a
/// name cannot end a comment in a rule set or say something to a terminal.
///
/// # Errors
///
/// Every mistake in it.
pub fn parse(file: &str, bytes: &[u8]) -> Result<Topology, Refused> {
    let source = syntax::text(file, bytes)?;
    let mut mistakes = Mistakes::default();
    let Some(tree) = syntax::tree(source, &mut mistakes) else {
        return Err(mistakes.refuse(file, source));
    };
    let (raw, heads) = read::document(tree.get_ref(), &mut mistakes);
    let topology = check::check(&shown(file), &Lines::of(source), &raw, &heads, &mut mistakes);
    match topology {
        Some(topology) if mistakes.is_empty() => Ok(topology),
        None if mistakes.is_empty() => {
            // Every step that gives up has noted why, so this is a mistake of isoplan's.
            let found = mistakes.add(Span::default(), "isoplan cannot make sense of this file");
            found.hint("this is a fault in isoplan: please report it with the file");
            Err(mistakes.refuse(file, source))
        }
        _ => Err(mistakes.refuse(file, source)),
    }
}
