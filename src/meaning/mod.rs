//! What changes in meaning between two topologies: who gains or loses which way, and what else a reader has to
//! know; then the rules that do it.
//!
//! Pairs are asked for by group, never one by one: with ten thousand networks there are a hundred million.
//! Networks that no NIC can tell apart in either file are one group, and ways between networks change only where
//! a `reach` or an exception names both.

mod facts;
mod loosened;
mod moved;
mod parties;
mod rules;
mod ways;

use crate::diff::{Action, Diff};
use crate::intent::{Intent, IpFamily, Way};

pub(crate) use facts::{exception, service};
pub use loosened::Loosened;
pub use rules::rules;

/// All that changes in meaning. Empty for two files that mean the same.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Meaning {
    /// Networks, flats and NICs that come, go, or are called something else.
    pub parties: Vec<PartyChange>,
    /// Who may do what to whom: what opens first.
    pub ways: Vec<WayChange>,
    /// Exceptions that come or go, in the order of the files.
    pub exceptions: Vec<Exception>,
    /// Everything else.
    pub facts: Vec<Fact>,
    /// Wildcards of one file for which the other has so many entries that ways among those were not all compared.
    pub left_out: Vec<String>,
}

impl Meaning {
    /// Compares what two topologies mean.
    pub fn new(old: &Intent<'_>, new: &Intent<'_>) -> Self {
        let parties = parties::Parties::new(old.topology, new.topology);
        let (ways, left_out) = ways::changes(old, new, &parties);
        Self {
            ways,
            left_out: left_out.into_iter().collect(),
            exceptions: facts::exceptions(old.topology, new.topology, &parties),
            facts: facts::facts(old, new, &parties),
            parties: parties.changes(old, new),
        }
    }

    /// Whether nothing changes.
    pub fn is_empty(&self) -> bool {
        self.parties.is_empty() && self.ways.is_empty() && self.exceptions.is_empty() && self.facts.is_empty()
    }
}

/// What became of a party.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Fate {
    /// Only the new file has it.
    New,
    /// Only the old file has it.
    Removed,
    /// It has the same subnets and another name.
    Renamed,
    /// It had an entry of its own, and is one of a wildcard's now.
    Joined,
    /// It was one of a wildcard's, and has an entry of its own now.
    Split,
}

impl Fate {
    /// The word in JSON and in text.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::New => "new",
            Self::Removed => "removed",
            Self::Renamed => "renamed",
            Self::Joined => "joined",
            Self::Split => "split",
        }
    }
}

/// A network, flat or NIC that comes, goes, or is called something else.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PartyChange {
    /// What happened.
    pub fate: Fate,
    /// `bridge`, `overlay`, `flat` or `nic`.
    pub kind: &'static str,
    /// Its name, in the new file where that has it.
    pub name: String,
    /// Its old name, or the wildcard that it joins or was one of.
    pub other: Option<String>,
    /// What a reader wants to know of it: the role of a NIC, and for whom it is guarded.
    pub detail: String,
}

/// What a pair may do in one family, before and after. `None` where a file does not have one of the two, or not
/// in that family.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Step {
    /// In the old file.
    pub old: Option<Way>,
    /// In the new file.
    pub new: Option<Way>,
}

/// The bit of [`passes`] for answers.
const ANSWERS: u8 = 2;

/// What passes on a way, as bits.
fn passes(way: Option<Way>) -> u8 {
    const EXCEPTIONS: u8 = 1;
    const PUBLISHED: u8 = 4;
    const ALL: u8 = 15;
    match way {
        None | Some(Way::Blocked) => 0,
        Some(Way::Exceptions) => EXCEPTIONS,
        Some(Way::Answers) => ANSWERS,
        Some(Way::AnswersAndExceptions) => ANSWERS | EXCEPTIONS,
        Some(Way::Published) => PUBLISHED | ANSWERS,
        Some(Way::PublishedAndExceptions) => PUBLISHED | ANSWERS | EXCEPTIONS,
        Some(Way::Open) => ALL,
    }
}

impl Step {
    /// Whether something passes that did not.
    pub fn opens(self) -> bool {
        passes(self.new) & !passes(self.old) != 0
    }

    /// Whether something passes no more.
    pub fn closes(self) -> bool {
        passes(self.old) & !passes(self.new) != 0
    }
}

/// Pairs that gain or lose the same: each of `from` towards each of `to`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WayChange {
    /// Senders.
    pub from: Vec<String>,
    /// Receivers; [`EACH_OTHER`] for the networks of one wildcard, or the hosts behind one NIC; a subnet for those
    /// whose addresses another entry has now.
    pub to: Vec<String>,
    /// What changes in IPv4, if anything does.
    pub ipv4: Option<Step>,
    /// What changes in IPv6, if anything does.
    pub ipv6: Option<Step>,
}

/// Stands for the networks of one wildcard, or the hosts behind one NIC, as receivers of each other.
pub const EACH_OTHER: &str = "each other";

impl WayChange {
    /// How many pairs it stands for.
    pub fn pairs(&self) -> usize {
        self.from.len() * self.to.len()
    }

    /// What changes, by family.
    pub fn steps(&self) -> impl Iterator<Item = (IpFamily, Step)> {
        let v4 = self.ipv4.map(|step| (IpFamily::V4, step));
        v4.into_iter().chain(self.ipv6.map(|step| (IpFamily::V6, step)))
    }

    /// Whether something passes that did not.
    pub fn opens(&self) -> bool {
        self.steps().any(|(_, step)| step.opens())
    }

    /// Whether something passes no more.
    pub fn closes(&self) -> bool {
        self.steps().any(|(_, step)| step.closes())
    }
}

/// An exception that comes or goes.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Exception {
    /// Whether it comes.
    pub action: Action,
    /// Whose packets.
    pub from: String,
    /// Behind which network or NIC.
    pub to: String,
    /// To which address or network.
    pub address: String,
    /// `tcp 111, 2049`; `any protocol`.
    pub service: String,
}

/// What else changes, of the whole file or of one party.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fact {
    /// `bridge docker0`; `isolation` for the whole file.
    pub of: String,
    /// What about it: `approach`, `masquerade`, `role`, `subnets`, `guarded`, `nat`, `underlay`, `nic`, `kind`.
    pub what: &'static str,
    /// In the old file.
    pub old: String,
    /// In the new file.
    pub new: String,
}

/// What changes from one topology to another, meaning first.
#[derive(Debug, Clone)]
pub struct Comparison {
    /// In meaning.
    pub meaning: Meaning,
    /// In rules and sysctls.
    pub rules: Diff,
    /// What the new rules let go.
    pub loosened: Loosened,
    /// Pairs for which exceptions let more through, where there were exceptions before.
    pub more_exceptions: usize,
    /// Pairs for which exceptions let less through, where there are exceptions still.
    pub fewer_exceptions: usize,
}

impl Comparison {
    /// Compares two topologies.
    pub fn new(old: &Intent<'_>, new: &Intent<'_>) -> Self {
        let meaning = Meaning::new(old, new);
        let (rules, [loosened, tightened]) = rules::compared(old, new);
        let more_exceptions = loosened.pairs_besides(new, &meaning.ways, WayChange::opens);
        let fewer_exceptions = tightened.pairs_besides(old, &meaning.ways, WayChange::closes);
        Self { meaning, rules, loosened, more_exceptions, fewer_exceptions }
    }

    /// For how many pairs something passes that did not.
    pub fn opens(&self) -> usize {
        self.pairs(WayChange::opens) + self.more_exceptions
    }

    /// For how many pairs something passes no more.
    pub fn closes(&self) -> usize {
        self.pairs(WayChange::closes) + self.fewer_exceptions
    }

    fn pairs(&self, is: fn(&WayChange) -> bool) -> usize {
        self.meaning.ways.iter().filter(|way| is(way)).map(WayChange::pairs).sum()
    }

    /// Whether nothing changes.
    pub fn is_empty(&self) -> bool {
        self.meaning.is_empty() && self.rules.changes.is_empty()
    }
}
