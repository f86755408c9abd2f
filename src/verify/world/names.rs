//! Names of links: those that a pattern stands for, and those that the file must not know.

use std::collections::BTreeSet;

use crate::topology::{IfName, NamePattern, Topology};

/// What a pattern's `*` may stand for.
const SUFFIXES: &str = "123456789abcdefghijklmnopqrstuvwxyz0ABCDEFGHIJKLMNOPQRSTUVWXYZ_-@.";
/// How names that the file does not know may begin; after these, with any letter.
const WORDS: [&str; 3] = ["port", "pt", "lab"];
const LETTERS: &str = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_";
/// Numbers to try with one word.
const TRIES: usize = 100_000;

/// Which names there are.
#[derive(Debug)]
pub(super) struct Names<'t> {
    exact: BTreeSet<&'t str>,
    stems: BTreeSet<&'t str>,
    words: Vec<String>,
    /// The first of `words` that may have a name left, and its next number.
    next: (usize, usize),
}

impl<'t> Names<'t> {
    pub(super) fn new(topology: &'t Topology) -> Self {
        let networks = || topology.networks.iter().map(|network| &network.name);
        let of_nics = topology.nics.iter().map(|nic| nic.name.as_str());
        let of_flats = topology.flats.iter().map(|flat| flat.name.as_str());
        let of_networks = networks().filter(|name| !name.is_prefix()).map(NamePattern::stem);
        let letters = LETTERS.chars().map(String::from);
        Self {
            exact: of_nics.chain(of_flats).chain(of_networks).collect(),
            stems: networks().filter(|name| name.is_prefix()).map(NamePattern::stem).collect(),
            words: WORDS.map(str::to_owned).into_iter().chain(letters).collect(),
            next: (0, 0),
        }
    }

    /// Up to that many names that a pattern covers and no other entry names.
    pub(super) fn of_pattern(&self, stem: &str, count: usize) -> Vec<String> {
        let names = SUFFIXES.chars().map(|suffix| format!("{stem}{suffix}"));
        let is_free = |name: &String| IfName::new(name).is_ok() && !self.exact.contains(name.as_str());
        names.filter(is_free).take(count).collect()
    }

    /// A name that no entry of the file covers.
    pub(super) fn unknown(&mut self) -> String {
        while let Some(word) = self.words.get(self.next.0) {
            while self.next.1 < TRIES && !self.covers(word) {
                let name = format!("{word}{}", self.next.1);
                self.next.1 += 1;
                if IfName::new(&name).is_ok() && !self.covers(&name) && !self.exact.contains(name.as_str()) {
                    return name;
                }
            }
            self.next = (self.next.0 + 1, 0);
        }
        // A file with a pattern for every letter leaves no name.
        self.next.1 += 1;
        format!("port{}", self.next.1)
    }

    /// Whether some pattern covers it.
    fn covers(&self, name: &str) -> bool {
        (1..=name.len()).any(|length| name.get(..length).is_some_and(|stem| self.stems.contains(stem)))
    }
}
