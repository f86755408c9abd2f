//! What a counter stands for.

use serde::Serialize;

/// One end of what a counter stands for.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Side {
    /// `docker0`, `eth1 (storage)`, `br-0 and 9 more`, `anyone`.
    pub label: String,
    /// Whether it is a single network, NIC or address group of this host.
    pub is_one: bool,
}

impl Side {
    /// These, by their names.
    pub(super) fn of(names: impl IntoIterator<Item = String>) -> Self {
        let mut names = names.into_iter();
        let (first, second) = (names.next(), names.next());
        let more = names.count();
        match (first, second) {
            (None, _) => Self::many("nobody"),
            (Some(first), None) => Self { label: first, is_one: true },
            (Some(first), Some(second)) if more == 0 => {
                Self { label: format!("{first}, {second}"), is_one: false }
            }
            (Some(first), Some(_)) => Self { label: format!("{first} and {} more", more + 1), is_one: false },
        }
    }

    /// A group with a name of its own.
    pub(super) fn many(label: &str) -> Self {
        Self { label: label.to_owned(), is_one: false }
    }

    /// The same as a group: for a rule that is about several of them, however many the file has.
    pub(super) fn several(&self) -> Self {
        Self { label: self.label.clone(), is_one: false }
    }
}

/// From whom to whom the packets were that a rule has dropped.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Counted {
    /// Who sent them.
    pub from: Side,
    /// For whom they were.
    pub to: Side,
}

impl Counted {
    /// Whether it is a single pair.
    pub const fn is_pair(&self) -> bool {
        self.from.is_one && self.to.is_one
    }

    /// `docker0 -> eth1 (storage)`.
    pub fn label(&self) -> String {
        format!("{} -> {}", self.from.label, self.to.label)
    }
}
