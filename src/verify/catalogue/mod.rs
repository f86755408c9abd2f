//! Every probe that isoplan knows, and what the intent expects of it.
//!
//! The catalogue is data: `table` has its entries, each with what somebody would gain by it. An entry becomes a
//! probe for every pair of sender and receiver that it is about, in each family that both have; every address is
//! filled in from the [`World`], and what is expected comes from the [`Intent`]. Where the intent opens what an
//! entry tries, the probe is a control: it has to pass.

mod entry;
mod exceptions;
mod judge;
mod label;
mod make;
mod pairs;
mod subject;
mod table;
#[cfg(test)]
mod tests;

use std::collections::BTreeSet;

use self::entry::Entry;
use self::make::Maker;
use self::pairs::{Amount, Pairs};
use self::subject::Subject;
use super::change::{self, Change};
use super::probe::Probe;
use super::world::World;
use crate::intent::{Intent, IpFamily};

/// Which probes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Extent {
    /// Without changes of the host.
    Quick,
    /// All.
    Full,
}

/// The probes of a topology, in the order in which they are sent. Those of one change are together, behind those
/// without any.
pub fn probes(intent: &Intent<'_>, world: &World, extent: Extent) -> Vec<Probe> {
    let pairs = Pairs::new(intent, world);
    let (subjects, _) = subject::subjects(intent, world);
    let maker = Maker::new(intent, world, subjects.clone(), None);
    let mut list = List::default();
    for entries in table::EVERY {
        list.add_every(&maker, &pairs, entries);
    }
    let whole = [table::CLOSED, table::CLOSED_HOST, table::BACK, table::TRANSIT, table::BETWEEN, table::FLAT];
    for entries in whole {
        list.add(&maker, &pairs, &subjects, entries, &IpFamily::BOTH);
    }
    for entries in table::WORKS {
        list.add(&maker, &pairs, &subjects, entries, &IpFamily::BOTH);
    }
    list.extend(exceptions::probes(&maker));
    if extent == Extent::Full {
        for change in Change::ALL {
            list.add_change(intent, world, &pairs, change);
        }
    }
    list.probes
}

/// What the probes of a topology are a sample of, one sentence each; none where every pair is looked at in full.
pub fn samples(intent: &Intent<'_>, world: &World) -> Vec<String> {
    let pairs = Pairs::new(intent, world);
    let (subjects, more) = subject::subjects(intent, world);
    let mut said = Vec::new();
    if more > 0 {
        said.push(format!(
            "The whole list of packets was sent to {} closed NICs; {more} more got plain ones.",
            subjects.len()
        ));
    }
    let sparse = |amount: fn(&Amount) -> bool| {
        let is_so = |entries: &&[Entry]| {
            entries
                .iter()
                .any(|entry| pairs.about(entry.about, &subjects).iter().any(|pair| amount(&pair.amount)))
        };
        table::EVERY.iter().any(is_so)
    };
    if sparse(|amount| matches!(amount, Amount::OneFamily(_))) {
        said.push(
            "There are many pairs: UDP alone was sent between most, over IPv4 or IPv6 in turns.".to_owned(),
        );
    } else if sparse(|amount| *amount == Amount::Udp) {
        said.push("There are many pairs: UDP alone was sent between most.".to_owned());
    }
    said.extend(pairs.sample());
    said
}

/// Probes, and the names that are taken.
#[derive(Default)]
struct List {
    probes: Vec<Probe>,
    names: BTreeSet<String>,
}

impl List {
    fn extend(&mut self, probes: impl IntoIterator<Item = Probe>) {
        for probe in probes {
            // The same packet for two reasons is one probe.
            if self.names.insert(probe.name.clone()) {
                self.probes.push(probe);
            }
        }
    }

    /// What every pair has, as much of it as there is room for.
    fn add_every(&mut self, maker: &Maker<'_>, pairs: &Pairs<'_>, entries: &[Entry]) {
        let Some(first) = entries.first() else { return };
        for pair in pairs.about(first.about, &[]) {
            let (entries, families): (&[Entry], &[IpFamily]) = match pair.amount {
                Amount::All => (entries, &IpFamily::BOTH),
                Amount::Udp => (&entries[..1], &IpFamily::BOTH),
                Amount::OneFamily(IpFamily::V4) => (&entries[..1], &[IpFamily::V4, IpFamily::V6]),
                Amount::OneFamily(IpFamily::V6) => (&entries[..1], &[IpFamily::V6, IpFamily::V4]),
            };
            for entry in entries {
                let mut made = families
                    .iter()
                    .filter(|family| entry.families.has(**family))
                    .filter_map(|family| maker.make(entry, pair, *family));
                match pair.amount {
                    Amount::OneFamily(_) => self.extend(made.next()),
                    Amount::All | Amount::Udp => self.extend(made),
                }
            }
        }
    }

    /// All of a table, in these families.
    fn add(
        &mut self,
        maker: &Maker<'_>,
        pairs: &Pairs<'_>,
        subjects: &[Subject],
        entries: &[Entry],
        families: &[IpFamily],
    ) {
        for entry in entries {
            for pair in pairs.about(entry.about, subjects) {
                let families = families.iter().filter(|family| entry.families.has(**family));
                self.extend(families.filter_map(|family| maker.make(entry, pair, *family)));
            }
        }
    }

    /// What is sent after a change, where the change can be made.
    fn add_change(&mut self, intent: &Intent<'_>, world: &World, pairs: &Pairs<'_>, change: Change) {
        let families = change::families(intent, world, change);
        let Some(of_change) = change::subject(intent) else { return };
        let sender = match change {
            Change::NewContainer => of_change.second_container(world),
            _ => of_change.container(world),
        };
        let Some(sender) = sender else { return };
        let subjects = vec![Subject { sender, nic: of_change.nic }];
        let mut maker = Maker::new(intent, world, subjects.clone(), Some(change));
        let added = families
            .iter()
            .filter_map(|family| Some((*family, change::added(intent, world, change, *family)?)));
        maker.added = added.collect();
        for after in table::AFTER.iter().filter(|after| after.changes.contains(&change)) {
            self.add(&maker, pairs, &subjects, after.entries, &families);
        }
    }
}
