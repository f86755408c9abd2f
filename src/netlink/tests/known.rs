//! Reading without asking for every element.

use std::sync::Arc;

use super::sample::{self, PLAIN};
use super::{assert_same, commit, creation, read};
use crate::netlink::test_ns::{Privilege, in_namespaces, nft};
use crate::netlink::{Known, Nftables, count_in_kernel};
use crate::ruleset::{ElementData, ElementKey, Elements, Family, Op, Ruleset, Set, TABLE_NAME, Verdict};

fn elements(set: &Set) -> Vec<(ElementKey, ElementData)> {
    set.elements.clone().into_iter().collect()
}

/// Has what it was told at a generation, but for one set.
struct Told<'t> {
    ruleset: &'t Ruleset,
    generation: u32,
    but: &'t str,
    is_now: bool,
    asked: usize,
}

impl Known for Told<'_> {
    fn at(&mut self, generation: u32) {
        self.is_now = generation == self.generation;
    }

    fn elements(&mut self, family: Family, set: &Set, count: Option<usize>) -> Option<Elements> {
        assert!(set.elements.is_empty());
        self.asked += 1;
        let told = &self.ruleset[&family].sets[&set.name];
        assert_eq!(count.unwrap_or_else(|| count_in_kernel(told)), count_in_kernel(told), "{}", set.name);
        (self.is_now && *set.name != *self.but).then(|| told.elements.clone())
    }
}

#[test]
fn what_is_known_is_not_asked_for() {
    in_namespaces(module_path!(), "what_is_known_is_not_asked_for", Privilege::Rootless, || {
        let wanted = sample::ruleset();
        commit(&creation(&wanted)).unwrap();
        let snapshot = read();
        let mut socket = Nftables::open().unwrap();
        // One that is told wrong shows that it is taken from what is known.
        let mut wrong = wanted.clone();
        let is_plain = |set: &&mut Set| !set.interval && set.elements.len() > 1;
        let set = wrong.values_mut().flat_map(|table| table.sets.values_mut()).find(is_plain).unwrap();
        let name = Arc::clone(&set.name);
        for data in set.elements.values_mut() {
            data.verdict = Some(Verdict::Return);
        }
        let mut told =
            Told { ruleset: &wrong, generation: snapshot.generation, but: "", is_now: false, asked: 0 };
        let found = socket.read_tables_knowing(TABLE_NAME, &mut told).unwrap();
        assert_eq!(found.tables, wrong);
        assert_eq!((found.steady.len(), &found.steady), (told.asked, &snapshot.steady));
        assert!(told.asked > 5);
        let concatenated = wanted
            .values()
            .flat_map(|table| table.sets.values())
            .filter(|set| set.interval && set.is_concat());
        assert!(concatenated.clone().count() > 0);
        for set in concatenated {
            assert!(!found.steady.keys().any(|(_, name)| *name == set.name), "its order is the kernel's");
        }
        told.but = &name;
        assert_same(&socket.read_tables_knowing(TABLE_NAME, &mut told).unwrap().tables, &wanted);
        // Anybody's transaction makes what is known old.
        told.but = "";
        nft(&["add", "table", "ip", "other"]);
        assert_same(&socket.read_tables_knowing(TABLE_NAME, &mut told).unwrap().tables, &wanted);
    });
}

/// What time or packets change is read, whatever anybody says.
#[test]
fn sets_that_change_by_themselves_are_not_steady() {
    let name = "sets_that_change_by_themselves_are_not_steady";
    in_namespaces(module_path!(), name, Privilege::Rootless, || {
        nft(&["add", "table", "inet", TABLE_NAME]);
        for (name, set) in [
            ("plain", "type ipv4_addr;"),
            ("timed", "type ipv4_addr; flags timeout;"),
            ("lapsing", "type ipv4_addr; timeout 1h;"),
            ("lively", "type ipv4_addr; flags dynamic;"),
            ("mixed", "type ipv4_addr; flags dynamic, timeout;"),
            ("counting", "type ipv4_addr; counter;"),
            ("sized", "type ipv4_addr; size 100;"),
            ("fixed", "type ipv4_addr; flags constant; elements = { 10.0.0.1 }"),
            ("unheard", "type mark;"),
        ] {
            nft(&["add", "set", "inet", TABLE_NAME, name, &format!("{{ {set} }}")]);
        }
        nft(&["add", "chain", "inet", TABLE_NAME, "c"]);
        nft(&["add", "rule", "inet", TABLE_NAME, "c", "tcp dport { 1, 2 } accept"]);
        let steady: Vec<_> = read().steady.into_keys().map(|(_, name)| name.to_string()).collect();
        assert_eq!(steady, ["plain"]);
    });
}

#[test]
fn single_elements_are_found() {
    in_namespaces(module_path!(), "single_elements_are_found", Privilege::Rootless, || {
        let wanted = sample::ruleset();
        commit(&creation(&wanted)).unwrap();
        let generation = read().generation;
        let mut socket = Nftables::open().unwrap();
        let mut has = |family, set: &Set, some: &[(ElementKey, ElementData)]| {
            some.iter().all(|(key, data)| socket.has_element(family, set, (key, data), generation).unwrap())
        };
        let mut seen = 0;
        for (&family, table) in &wanted {
            for set in table.sets.values().filter(|set| !(set.interval && set.is_concat())) {
                let all = elements(set);
                assert!(has(family, set, &all), "{}", set.name);
                for (key, data) in &all {
                    seen += 1;
                    assert!(has(family, set, &[(key.clone(), data.clone())]), "{}", set.name);
                    let other = ElementData { verdict: Some(Verdict::Return), ..PLAIN };
                    if other != *data {
                        assert!(!has(family, set, &[(key.clone(), other)]), "{}", set.name);
                    }
                    // A part of an interval, more than it, or a key that is not there.
                    let (mut first, mut upper) = (key.first().to_vec(), key.upper().to_vec());
                    *first.last_mut().unwrap() ^= 1;
                    *upper.last_mut().unwrap() ^= 1;
                    let mut others = vec![ElementKey::range(first, key.upper())];
                    if set.interval && *key.first() <= *upper {
                        others.push(ElementKey::range(key.first(), upper));
                    }
                    for other in others.into_iter().filter(|other| !set.elements.contains_key(other)) {
                        let named = format!("{} {key:?} {other:?}", set.name);
                        assert!(!has(family, set, &[(other, data.clone())]), "{named}");
                    }
                }
            }
        }
        assert!(seen > 20, "{seen}");
        let (&family, table) = wanted.iter().next().unwrap();
        let set = table.sets.values().find(|set| !set.interval && !set.elements.is_empty()).unwrap();
        let all = elements(set);
        commit(&[Op::DeleteElements { family, set: set.clone(), elements: all[..1].to_vec() }]).unwrap();
        let now = read().generation;
        let mut has = |(key, data): &(ElementKey, ElementData), generation| {
            socket.has_element(family, set, (key, data), generation).unwrap()
        };
        assert!(!has(&all[0], now));
        assert!(all[1..].iter().all(|element| has(element, now)));
        assert!(!all[1..].iter().any(|element| has(element, generation)), "of another generation");
    });
}
