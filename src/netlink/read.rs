//! Reading tables whole and consistent.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use super::attr::{self, Writer};
use super::decode_set::{Dump, LiveSet, Shortfall};
use super::error::Error;
use super::socket::{DumpError, Nftables, Request};
use super::wire::{msg, nfta};
use super::{decode, decode_set};
use crate::ruleset::{Elements, Family, Ruleset, Set, Table};

/// Tables as they all were at one moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Snapshot {
    /// By family.
    pub tables: Ruleset,
    /// The rule set's generation at that moment: what a transaction based on it names, so that the
    /// kernel refuses it once anything changed.
    pub generation: u32,
    /// The sets whose elements nothing but a transaction changes.
    pub steady: Steady,
}

/// Sets whose elements are in the order of their keys and change by transactions alone: neither time nor packets
/// do. With the number of elements of each, where the kernel tells (since Linux 6.17).
pub type Steady = BTreeMap<(Family, Arc<str>), Option<usize>>;

/// What is known of the elements of steady sets without asking for them.
pub trait Known {
    /// The generation that is about to be read. It is told again where a change overtook the read.
    fn at(&mut self, generation: u32);

    /// The elements of a set, by its definition and the number of its elements as [`Steady`] has it; `None` to have
    /// them read.
    fn elements(&mut self, family: Family, set: &Set, count: Option<usize>) -> Option<Elements>;
}

/// Nothing is known.
impl Known for () {
    fn at(&mut self, _: u32) {}

    fn elements(&mut self, _: Family, _: &Set, _: Option<usize>) -> Option<Elements> {
        None
    }
}

/// How often to start over because somebody changed the rule set meanwhile.
const TRIES: u32 = 64;
/// How often to read a set again that hands out fewer elements than it has.
const SET_TRIES: u32 = 32;
/// `NFPROTO_UNSPEC`: every family.
const EVERY_FAMILY: u8 = 0;

impl Nftables {
    /// Reads every table of that name, whatever its family.
    ///
    /// All of it is of one generation: a read that was overtaken by a change starts over. Needs
    /// `CAP_NET_ADMIN`.
    pub fn read_tables(&mut self, name: &str) -> Result<Snapshot, Error> {
        self.read_tables_knowing(name, &mut ())
    }

    /// The same without asking for the elements that are known. All else is read.
    pub fn read_tables_knowing(&mut self, name: &str, known: &mut dyn Known) -> Result<Snapshot, Error> {
        for attempt in 0..TRIES {
            match self.read_once(name, known) {
                Ok(snapshot) => return Ok(snapshot),
                Err(DumpError::Failed(error)) => return Err(error),
                Err(DumpError::Moved) => thread::sleep(Duration::from_millis(u64::from(attempt.min(20)))),
            }
        }
        Err(Error::KeepsChanging { tries: TRIES })
    }

    fn read_once(&mut self, name: &str, known: &mut dyn Known) -> Result<Snapshot, DumpError> {
        let generation = self.generation()?;
        known.at(generation);
        let mut steady = Steady::new();
        let mut tables = Ruleset::new();
        let request = Request {
            what: "tables",
            kind: msg::GETTABLE,
            answer: msg::NEWTABLE,
            family: EVERY_FAMILY,
            filter: &[],
        };
        self.dump(request, generation, |family, attributes| {
            if let Some(family) = Family::from_number(family)
                && let Some((found, flags)) = decode::table(attributes)
                && found == name
            {
                tables.insert(family, Table { name: found, flags, ..Table::new(family) });
            }
        })?;
        for table in tables.values_mut() {
            self.read_chains(table, generation)?;
            self.read_sets(table, generation, known, &mut steady)?;
            self.read_rules(table, generation)?;
            self.read_unknown(table, generation)?;
        }
        if self.generation()? != generation {
            return Err(DumpError::Moved);
        }
        Ok(Snapshot { tables, generation, steady })
    }

    fn read_chains(&mut self, table: &mut Table, generation: u32) -> Result<(), DumpError> {
        // The kernel does not filter chains by table.
        let request = Request {
            what: "chains",
            kind: msg::GETCHAIN,
            answer: msg::NEWCHAIN,
            family: table.family.number(),
            filter: &[],
        };
        self.dump(request, generation, |_, attributes| {
            if attr::find(attributes, nfta::CHAIN_TABLE).map(attr::text).as_ref() == Some(&table.name)
                && let Some((chain, note)) = decode::chain(table.family, attributes)
            {
                table.order.0.chains.push(Arc::clone(&chain.name));
                table.chains.insert(Arc::clone(&chain.name), chain);
                table.unknown.extend(note);
            }
        })
    }

    fn read_rules(&mut self, table: &mut Table, generation: u32) -> Result<(), DumpError> {
        let filter = names(&[(nfta::RULE_TABLE, &table.name)]);
        let request = Request {
            what: "rules",
            kind: msg::GETRULE,
            answer: msg::NEWRULE,
            family: table.family.number(),
            filter: &filter,
        };
        self.dump(request, generation, |_, attributes| {
            let Some((chain, rule)) = decode::rule(attributes) else { return };
            match table.chains.get_mut(chain.as_str()) {
                Some(chain) => chain.rules.push(rule),
                None => table.unknown.push(format!("rule in chain `{chain}`, which is not there")),
            }
        })
    }

    fn read_sets(
        &mut self,
        table: &mut Table,
        generation: u32,
        known: &mut dyn Known,
        steady: &mut Steady,
    ) -> Result<(), DumpError> {
        let filter = names(&[(nfta::SET_TABLE, &table.name)]);
        let request = Request {
            what: "sets",
            kind: msg::GETSET,
            answer: msg::NEWSET,
            family: table.family.number(),
            filter: &filter,
        };
        let mut sets = Vec::new();
        self.dump(request, generation, |_, attributes| sets.extend(decode_set::set(attributes)))?;
        for mut live in sets {
            let elements = if live.is_steady() {
                steady.insert((table.family, Arc::clone(&live.set.name)), live.count());
                known.elements(table.family, &live.set, live.count())
            } else {
                None
            };
            match elements {
                Some(elements) => live.set.elements = elements,
                None => self.read_elements(table, &mut live, generation)?,
            }
            table.unknown.append(&mut live.notes);
            table.order.0.sets.push(Arc::clone(&live.set.name));
            if let Some(order) = live.order.take() {
                table.order.0.elements.insert(Arc::clone(&live.set.name), order);
            }
            table.sets.insert(Arc::clone(&live.set.name), live.set);
        }
        Ok(())
    }

    /// Reads the elements of a set, and again where some are missing.
    ///
    /// A hash table that is being resized hands out only some of its elements, and says nothing of it.
    /// Kernels since 6.17 tell how many there should be; with older ones two reads in a row must agree.
    fn read_elements(&mut self, table: &Table, live: &mut LiveSet, generation: u32) -> Result<(), DumpError> {
        let mut shortfall = Shortfall { found: 0, count: 0 };
        for attempt in 0..SET_TRIES {
            let elements = self.dump_elements(table, live, generation)?;
            match live.fill(elements) {
                Ok(()) if !live.is_hash() || live.is_counted() || live.is_dynamic() => return Ok(()),
                Ok(()) => {
                    let before = live.set.elements.clone();
                    let again = self.dump_elements(table, live, generation)?;
                    // The notes were taken the first time.
                    let notes = live.notes.clone();
                    let _ = live.fill(again);
                    live.notes = notes;
                    if live.set.elements == before {
                        return Ok(());
                    }
                    shortfall = Shortfall { found: before.len(), count: live.set.elements.len() };
                }
                Err(short) => shortfall = short,
            }
            // The kernel moves elements to the larger table in the background.
            thread::sleep(Duration::from_millis(u64::from(attempt.min(20))));
        }
        let Shortfall { found, count } = shortfall;
        Err(Error::Incomplete { set: live.set.name.to_string(), found, count }.into())
    }

    fn dump_elements(&mut self, table: &Table, live: &LiveSet, generation: u32) -> Result<Dump, DumpError> {
        let filter = names(&[(nfta::ELEM_LIST_TABLE, &table.name), (nfta::ELEM_LIST_SET, &live.set.name)]);
        let request = Request {
            what: "elements",
            kind: msg::GETSETELEM,
            answer: msg::NEWSETELEM,
            family: table.family.number(),
            filter: &filter,
        };
        let mut elements = live.dump();
        self.dump(request, generation, |_, attributes| elements.add(attributes))?;
        Ok(elements)
    }

    /// Notes stateful objects and flowtables, for which there is no type.
    fn read_unknown(&mut self, table: &mut Table, generation: u32) -> Result<(), DumpError> {
        let filter = names(&[(nfta::OBJ_TABLE, &table.name)]);
        let family = table.family.number();
        let objects = Request {
            what: "stateful objects",
            kind: msg::GETOBJ,
            answer: msg::NEWOBJ,
            family,
            filter: &filter,
        };
        self.dump(objects, generation, |_, attributes| table.unknown.extend(decode::object(attributes)))?;
        let flowtables = Request {
            what: "flowtables",
            kind: msg::GETFLOWTABLE,
            answer: msg::NEWFLOWTABLE,
            family,
            filter: &filter,
        };
        self.dump(flowtables, generation, |_, attributes| table.unknown.extend(decode::flowtable(attributes)))
    }
}

/// Attributes that name what to dump.
fn names(names: &[(u16, &str)]) -> Vec<u8> {
    let mut writer = Writer::default();
    for (kind, name) in names {
        writer.put_str(*kind, name);
    }
    writer.finish().unwrap_or_default()
}
