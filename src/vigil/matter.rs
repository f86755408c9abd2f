//! What a difference is about, coarse enough that the same is known again.

use std::collections::BTreeSet;
use std::fmt;

use crate::diff::{Action, Change, Diff, Kind, table_name};
use crate::ruleset::Family;

/// Something that another writer may undo again and again. There are no more of them than objects in the
/// topology's rule set, whatever others come up with.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Matter {
    /// A table that is gone, or has to be made anew.
    Table(Family),
    /// Chains and sets in a table that nobody asked for.
    Foreign(Family),
    /// A chain and its rules.
    Chain(Family, String),
    /// A set and its elements.
    Set(Family, String),
    /// A sysctl.
    Sysctl(String),
}

impl Matter {
    /// Whether it is about the rule set, and with it about drops.
    pub const fn is_rules(&self) -> bool {
        !matches!(self, Self::Sysctl(_))
    }
}

impl fmt::Display for Matter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Table(family) => f.write_str(&table_name(*family)),
            Self::Foreign(family) => write!(f, "what nobody asked for in {}", table_name(*family)),
            Self::Chain(family, name) => write!(f, "chain {name} of {}", table_name(*family)),
            Self::Set(family, name) => write!(f, "set {name} of {}", table_name(*family)),
            Self::Sysctl(key) => f.write_str(key),
        }
    }
}

/// What a difference is about.
pub fn matters(diff: &Diff) -> BTreeSet<Matter> {
    let tables: BTreeSet<Family> = diff
        .changes
        .iter()
        .filter(|change| change.kind == Kind::Table)
        .filter_map(|change| change.family)
        .collect();
    let matter = |change: &Change| {
        let Some(family) = change.family else { return Matter::Sysctl(change.name.to_string()) };
        if tables.contains(&family) {
            return Matter::Table(family);
        }
        match change.kind {
            Kind::Chain | Kind::Set if change.action == Action::Delete => Matter::Foreign(family),
            Kind::Chain | Kind::Rule => Matter::Chain(family, change.name.to_string()),
            Kind::Set | Kind::Element => Matter::Set(family, change.name.to_string()),
            Kind::Table | Kind::Sysctl => Matter::Table(family),
        }
    };
    diff.changes.iter().map(matter).collect()
}
