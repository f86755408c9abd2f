//! What holds for every topology, on random ones: of the pure core, and of the kernel that is given its output.

use std::collections::BTreeSet;
use std::env;
use std::fmt::Debug;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use isoplan::approach::{Desired, desired};
use isoplan::diff::{LiveState, diff, ops_between};
use isoplan::intent::{Intent, IpFamily, Party, Way};
use isoplan::render;
use isoplan::ruleset::{
    Aside, COMMENT_MAX, Chain, ElementData, ElementKey, Elements, Expr, Family, FieldType, LookupTarget, Op,
    Policy, Reg, Rule, Ruleset, Set, SetData, Table, Verdict,
};
use isoplan::topology::{self, NamePattern, Reach, Topology};
use proptest::prelude::*;
use proptest::test_runner::{Config, RngAlgorithm, TestCaseError, TestRng, TestRunner};

use crate::draw::{self, Drawn};
use crate::lab::node::Node;
use crate::lab::{Program, in_namespace};
use crate::live::listing;
use crate::{ISOPLAN, has_namespace_of_its_own};

/// Tries a law on that many random values. The seed that a failure prints brings the same values again.
#[track_caller]
fn law<S: Strategy>(cases: u32, values: S, test: impl Fn(S::Value) -> Result<(), TestCaseError>)
where
    S::Value: Debug,
{
    law_with(cases, 2000, values, test);
}

/// The same, with a limit to how long a failure is made smaller.
#[track_caller]
pub(crate) fn law_with<S: Strategy>(
    cases: u32,
    max_shrink_iters: u32,
    values: S,
    test: impl Fn(S::Value) -> Result<(), TestCaseError>,
) where
    S::Value: Debug,
{
    let given = env::var("ISOPLAN_SEED").ok().and_then(|seed| seed.parse::<u64>().ok());
    let now = || SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |now| now.subsec_nanos().into());
    let seed = given.unwrap_or_else(now);
    eprintln!("{cases} cases, the seed is {seed}; set ISOPLAN_SEED to have it again");
    let mut bytes = [0; 32];
    bytes[..8].copy_from_slice(&seed.to_le_bytes());
    let config = Config {
        cases,
        failure_persistence: None,
        // What is thrown away is not tested.
        max_global_rejects: cases,
        max_shrink_iters,
        ..Config::default()
    };
    let rng = TestRng::from_seed(RngAlgorithm::ChaCha, &bytes);
    if let Err(error) = TestRunner::new_with_rng(config, rng).run(&values, test) {
        panic!("seed {seed}: {error}");
    }
}

fn parse(drawn: &Drawn) -> Topology {
    read(&drawn.text())
        .unwrap_or_else(|mistakes| panic!("a drawn topology was refused: {mistakes}\n{drawn:?}"))
}

fn read(text: &str) -> Result<Topology, String> {
    topology::parse("topology.toml", text.as_bytes()).map_err(|refused| refused.render(false, 100))
}

fn desired_of(topology: &Topology) -> Desired {
    desired(&Intent::new(topology))
}

/// A host on which all of it is in place. Rules have handles, counted on from the first.
fn live_of(desired: &Desired, first: u64) -> LiveState {
    let mut ruleset = desired.ruleset.clone();
    for (handle, rule) in (first..).zip(rules_of(&mut ruleset)) {
        rule.handle = Aside(Some(handle));
    }
    let sysctls = desired.sysctls.iter().map(|sysctl| (sysctl.key.clone(), sysctl.value.clone()));
    LiveState { ruleset, generation: 1, sysctls: sysctls.collect(), ..LiveState::default() }
}

fn rules_of(ruleset: &mut Ruleset) -> impl Iterator<Item = &mut Rule> {
    ruleset.values_mut().flat_map(|table| table.chains.values_mut()).flat_map(|chain| &mut chain.rules)
}

/// What the kernel would make of the steps of a transaction; a panic where it would refuse one.
struct Kernel {
    tables: Ruleset,
    next_handle: u64,
}

impl Kernel {
    fn new(tables: Ruleset) -> Self {
        let rules = tables.values().flat_map(|table| table.chains.values()).flat_map(|chain| &chain.rules);
        let next_handle = rules.filter_map(|rule| rule.handle.0).max().unwrap_or_default();
        Self { tables, next_handle }
    }

    fn carry_out(mut self, ops: &[Op]) -> Ruleset {
        for op in ops {
            self.step(op);
        }
        for table in self.tables.values() {
            assert_refers_to_what_is_there(table);
        }
        self.tables
    }

    fn table(&mut self, family: Family) -> &mut Table {
        self.tables.get_mut(&family).unwrap_or_else(|| panic!("no table {family}"))
    }

    fn handle(&mut self) -> Aside<Option<u64>> {
        self.next_handle += 1;
        Aside(Some(self.next_handle))
    }

    fn step(&mut self, op: &Op) {
        match op {
            Op::AddTable { family } => {
                assert!(self.tables.insert(*family, Table::new(*family)).is_none(), "{family} is there");
            }
            Op::DeleteTable { family } => {
                assert!(self.tables.remove(family).is_some(), "{family} is not there");
            }
            Op::AddSet { family, set } => {
                let set = Set { elements: Elements::new(), ..set.clone() };
                let name = Arc::clone(&set.name);
                let old = self.table(*family).sets.insert(Arc::clone(&name), set);
                assert!(old.is_none(), "set {name} is there");
            }
            Op::DeleteSet { family, set } => {
                let table = self.table(*family);
                assert!(table.sets.remove(set).is_some(), "set {set} is not there");
                assert!(!sets_in_use(table).contains(set), "set {set} is in use");
            }
            Op::AddChain { family, chain, base } => self.add_chain(*family, chain, base),
            Op::DeleteChain { family, chain } => {
                let table = self.table(*family);
                let old = table.chains.remove(chain).unwrap_or_else(|| panic!("chain {chain} is not there"));
                assert!(old.rules.is_empty(), "chain {chain} has rules");
                assert!(!chains_in_use(table).contains(chain), "chain {chain} is in use");
            }
            Op::AddElements { family, set, elements } => self.add_elements(*family, set, elements),
            Op::DeleteElements { family, set, elements } => {
                let live = self.set(*family, set);
                for (key, _) in elements {
                    assert!(live.elements.remove(key).is_some(), "no element {key:?} in {}", set.name);
                }
            }
            Op::AddRule { family, chain, rule, before } => {
                let handle = self.handle();
                let rule = Rule { handle, ..rule.clone() };
                let table = self.table(*family);
                let chain = table.chains.get_mut(chain).unwrap_or_else(|| panic!("no chain {chain}"));
                let place = match before {
                    None => chain.rules.len(),
                    Some(handle) => place_of(chain, *handle),
                };
                chain.rules.insert(place, rule.clone());
                assert_rule_refers_to_what_is_there(table, &rule);
            }
            Op::ReplaceRule { family, chain, handle, rule } => {
                // The kernel gives the new rule a handle of its own.
                let rule = Rule { handle: self.handle(), ..rule.clone() };
                let table = self.table(*family);
                let chain = table.chains.get_mut(chain).unwrap_or_else(|| panic!("no chain {chain}"));
                let place = place_of(chain, *handle);
                chain.rules[place] = rule.clone();
                assert_rule_refers_to_what_is_there(table, &rule);
            }
            Op::DeleteRule { family, chain, handle } => {
                let table = self.table(*family);
                let chain = table.chains.get_mut(chain).unwrap_or_else(|| panic!("no chain {chain}"));
                let place = place_of(chain, *handle);
                chain.rules.remove(place);
                drop_unused_anonymous_sets(table);
            }
        }
    }

    fn add_chain(&mut self, family: Family, name: &Arc<str>, base: &Option<isoplan::ruleset::BaseChain>) {
        let table = self.table(family);
        match table.chains.get_mut(name) {
            None => {
                let chain = Chain { name: Arc::clone(name), base: base.clone(), rules: Vec::new() };
                table.chains.insert(Arc::clone(name), chain);
            }
            Some(old) => {
                let (Some(old), Some(new)) = (&mut old.base, base) else { panic!("chain {name} is there") };
                old.policy = new.policy;
                assert_eq!(old, new, "chain {name} is on another hook");
            }
        }
    }

    /// A set of which the kernel knows the same definition.
    fn set(&mut self, family: Family, set: &Set) -> &mut Set {
        let live = self.table(family).sets.get_mut(&set.name);
        let live = live.unwrap_or_else(|| panic!("no set {}", set.name));
        assert_eq!((&live.key, live.data, live.interval), (&set.key, set.data, set.interval), "{}", set.name);
        live
    }

    fn add_elements(&mut self, family: Family, set: &Set, elements: &[(ElementKey, ElementData)]) {
        let chains: BTreeSet<_> = self.table(family).chains.keys().cloned().collect();
        let live = self.set(family, set);
        for (key, data) in elements {
            assert_eq!(key.first().len(), live.key_len(), "{}", set.name);
            assert_eq!(key.upper().len(), live.key_len(), "{}", set.name);
            assert!(live.interval || key.last().is_none(), "an interval in set {}", set.name);
            assert_eq!(data.verdict.is_some(), live.data == SetData::Verdict, "{}", set.name);
            assert_eq!(data.value.is_some(), matches!(live.data, SetData::Value(_)), "{}", set.name);
            if let Some(chain) = data.verdict.as_ref().and_then(target) {
                assert!(chains.contains(chain), "no chain {chain}");
            }
            if let Some(other) = live.elements.keys().find(|other| meet(&live.key, key, other)) {
                panic!("{key:?} and {other:?} in set {} have something in common", set.name);
            }
            live.elements.insert(key.clone(), data.clone());
        }
    }
}

/// An anonymous set goes with its rule.
fn drop_unused_anonymous_sets(table: &mut Table) {
    let in_use = sets_in_use(table);
    table.sets.retain(|name, _| !name.starts_with("__") || in_use.contains(name));
}

fn place_of(chain: &Chain, handle: u64) -> usize {
    let place = chain.rules.iter().position(|rule| rule.handle.0 == Some(handle));
    place.unwrap_or_else(|| panic!("no rule {handle} in {}", chain.name))
}

fn target(verdict: &Verdict) -> Option<&Arc<str>> {
    match verdict {
        Verdict::Jump(chain) | Verdict::Goto(chain) => Some(chain),
        _ => None,
    }
}

/// Whether two elements have a value in common.
fn meet(fields: &[FieldType], a: &ElementKey, b: &ElementKey) -> bool {
    let mut at = 0;
    fields.iter().all(|field| {
        let part = at..at + field.len();
        at = part.end.next_multiple_of(4);
        a.first()[part.clone()] <= b.upper()[part.clone()] && b.first()[part.clone()] <= a.upper()[part]
    })
}

fn exprs(table: &Table) -> impl Iterator<Item = &Expr> {
    table.chains.values().flat_map(|chain| &chain.rules).flat_map(|rule| &rule.exprs)
}

fn sets_in_use(table: &Table) -> BTreeSet<Arc<str>> {
    let lookups = exprs(table).filter_map(|expr| match expr {
        Expr::Lookup { set, .. } => Some(Arc::clone(set)),
        _ => None,
    });
    lookups.collect()
}

fn chains_in_use(table: &Table) -> BTreeSet<Arc<str>> {
    let by_rules = exprs(table).filter_map(|expr| match expr {
        Expr::Verdict(verdict) => target(verdict),
        _ => None,
    });
    let elements = table.sets.values().flat_map(|set| set.elements.values());
    by_rules.chain(elements.filter_map(|data| target(data.verdict.as_ref()?))).cloned().collect()
}

fn assert_rule_refers_to_what_is_there(table: &Table, rule: &Rule) {
    for expr in &rule.exprs {
        match expr {
            Expr::Lookup { set, .. } => assert!(table.sets.contains_key(set), "no set {set}: {rule:?}"),
            Expr::Verdict(verdict) => {
                let found = target(verdict).is_none_or(|chain| table.chains.contains_key(chain));
                assert!(found, "no chain: {rule:?}");
            }
            _ => {}
        }
    }
}

fn assert_refers_to_what_is_there(table: &Table) {
    for set in sets_in_use(table) {
        assert!(table.sets.contains_key(&set), "no set {set}");
    }
    for chain in chains_in_use(table) {
        assert!(table.chains.contains_key(&chain), "no chain {chain}");
    }
}

/// What every rule set of a plan keeps, whatever the topology.
pub(crate) fn assert_well_formed(ruleset: &Ruleset) {
    for table in ruleset.values() {
        assert_refers_to_what_is_there(table);
        for set in table.sets.values() {
            assert!(!set.elements.is_empty(), "set {} is empty", set.name);
        }
        let used = chains_in_use(table);
        for chain in table.chains.values() {
            assert!(chain.base.is_some() || used.contains(&chain.name), "nothing leads to {}", chain.name);
            let mut ids = BTreeSet::new();
            for rule in &chain.rules {
                assert!(rule.comment.len() <= COMMENT_MAX, "{}: {}", chain.name, rule.comment);
                let id = rule.id().unwrap_or_else(|| panic!("a rule without an id in {}", chain.name)).0;
                let (letter, number) = id.split_at(1);
                let is_id =
                    letter.bytes().all(|byte| byte.is_ascii_uppercase()) && number.parse::<u8>().is_ok();
                assert!(is_id, "{}: {}", chain.name, rule.comment);
                assert!(ids.insert(id), "{}: {} twice", chain.name, rule.comment);
                if rule.exprs.last() == Some(&Expr::Verdict(Verdict::Drop)) {
                    let counter = rule.exprs.get(rule.exprs.len().wrapping_sub(2));
                    assert_eq!(counter, Some(&Expr::counter()), "{}: {}", chain.name, rule.comment);
                }
            }
        }
    }
}

/// Something that somebody did to the tables by hand: what, and where.
type Damage = (u8, usize, usize);

fn damages() -> impl Strategy<Value = Vec<Damage>> {
    prop::collection::vec((0_u8..18, any::<usize>(), any::<usize>()), 0..=6)
}

/// The tables after that; still such as a kernel can have.
fn damage(live: &mut Ruleset, (what, which, where_): Damage) {
    if what == 0 {
        let family = [Family::Inet, Family::Bridge, Family::Ip][which % 3];
        if live.remove(&family).is_none() {
            live.insert(family, Table::new(family));
        }
        return;
    }
    let tables = live.len();
    if tables == 0 {
        return;
    }
    let table = live.values_mut().nth(which % tables).expect("a table");
    match what {
        1 => table.flags ^= 1,
        2 => table.unknown.push("flowtable fast".to_owned()),
        3 => foreign_map_and_chain(table),
        4 if table.sets.contains_key("__set0") => {}
        4 => {
            // NFT_SET_ANONYMOUS
            table.sets.insert("__set0".into(), Set { foreign_flags: 1, ..plain_set("__set0") });
            rule_in(table, where_, |_| foreign_rule(7, "", Some("__set0")));
        }
        5..=8 => damage_set(table, what, where_),
        9..=11 => damage_chain(table, what, where_),
        12 => rule_in(table, where_, |_| foreign_rule(8, "", None)),
        13 => rule_in(table, where_, |_| foreign_rule(9, "somebody else's", None)),
        // One that bears an id of the plan.
        14 => rule_in(table, where_, |rules| {
            let comment = rules.first().map(|rule| rule.comment.clone()).unwrap_or_default();
            foreign_rule(10, &comment, None)
        }),
        _ => damage_rules(table, what, where_),
    }
}

fn plain_set(name: &str) -> Set {
    let elements = Elements::from_iter([(
        ElementKey::value(*b"by-hand\0\0\0\0\0\0\0\0\0"),
        ElementData { verdict: None, value: None, origin: Aside(None) },
    )]);
    Set {
        name: name.into(),
        key: vec![FieldType::IfName],
        data: SetData::None,
        interval: false,
        elements,
        foreign_flags: 0,
    }
}

/// A map, the chain that it leads to, and a rule that asks it.
fn foreign_map_and_chain(table: &mut Table) {
    if table.sets.contains_key("their_map") {
        return;
    }
    let mut map = plain_set("their_map");
    map.data = SetData::Verdict;
    for data in map.elements.values_mut() {
        data.verdict = Some(Verdict::Goto("a_chain_of_theirs".into()));
    }
    table.sets.insert(Arc::clone(&map.name), map);
    let rules = vec![foreign_rule(11, "", None)];
    let chain = Chain { name: "a_chain_of_theirs".into(), base: None, rules };
    table.chains.insert(Arc::clone(&chain.name), chain);
    rule_in(table, 0, |_| {
        let mut rule = foreign_rule(12, "", Some("their_map"));
        if let Some(Expr::Lookup { target, .. }) = rule.exprs.first_mut() {
            *target = LookupTarget::Verdict;
        }
        rule
    });
}

/// Handles below those of the plan's rules, each used once at most: a second rule takes the next one.
fn foreign_rule(handle: u64, comment: &str, set: Option<&str>) -> Rule {
    let lookup = |set: &str| Expr::Lookup { set: set.into(), sreg: Reg(0), target: LookupTarget::Match };
    let mut exprs: Vec<Expr> = set.map(lookup).into_iter().collect();
    exprs.push(Expr::Verdict(Verdict::Accept));
    Rule { comment: comment.to_owned(), exprs, handle: Aside(Some(handle)), origins: Aside(Vec::new()) }
}

/// Puts a rule somewhere.
fn rule_in(table: &mut Table, place: usize, make: impl FnOnce(&[Rule]) -> Rule) {
    let taken: BTreeSet<_> =
        table.chains.values().flat_map(|chain| &chain.rules).filter_map(|rule| rule.handle.0).collect();
    let chains = table.chains.len();
    let Some(chain) = table.chains.values_mut().nth(place.checked_rem(chains).unwrap_or_default()) else {
        return;
    };
    let mut rule = make(&chain.rules);
    while rule.handle.0.is_some_and(|handle| taken.contains(&handle)) {
        rule.handle.0 = rule.handle.0.map(|handle| handle + 10_000);
    }
    let at = (place / chains) % (chain.rules.len() + 1);
    chain.rules.insert(at, rule);
}

fn damage_set(table: &mut Table, what: u8, place: usize) {
    let sets = table.sets.len();
    let Some(name) = table.sets.keys().nth(place.checked_rem(sets).unwrap_or_default()).cloned() else {
        return;
    };
    let set = table.sets.get_mut(&name).expect("a set");
    match what {
        5 => {
            let elements = set.elements.len();
            let key = set.elements.keys().nth((place / sets).checked_rem(elements).unwrap_or_default());
            if let Some(key) = key.cloned() {
                set.elements.remove(&key);
            }
        }
        6 => {
            let key = ElementKey::value(vec![203; set.key_len()]);
            let verdict = (set.data == SetData::Verdict).then_some(Verdict::Drop);
            let value = match set.data {
                SetData::Value(field) => Some(vec![203; field.len()].into()),
                _ => None,
            };
            if !set.elements.keys().any(|other| meet(&set.key, &key, other)) {
                set.elements.insert(key, ElementData { verdict, value, origin: Aside(None) });
            }
        }
        7 => {
            for data in set.elements.values_mut().filter(|data| data.verdict.is_some()) {
                data.verdict = Some(Verdict::Drop);
            }
        }
        _ => {
            if place.is_multiple_of(2) {
                // NFT_SET_TIMEOUT
                set.foreign_flags |= 0x10;
                return;
            }
            table.sets.remove(&name);
            for chain in table.chains.values_mut() {
                chain.rules.retain(|rule| {
                    !rule.exprs.iter().any(|expr| matches!(expr, Expr::Lookup { set, .. } if *set == name))
                });
            }
        }
    }
}

fn damage_chain(table: &mut Table, what: u8, place: usize) {
    let chains = table.chains.len();
    let Some(name) = table.chains.keys().nth(place.checked_rem(chains).unwrap_or_default()).cloned() else {
        return;
    };
    let chain = table.chains.get_mut(&name).expect("a chain");
    match (what, &mut chain.base) {
        (9, Some(base)) => base.policy = Policy::Drop,
        (10, Some(base)) => base.priority.0 += 1,
        _ => {
            table.chains.remove(&name);
            let leads_there = |verdict: &Verdict| target(verdict) == Some(&name);
            for set in table.sets.values_mut() {
                set.elements.retain(|_, data| !data.verdict.as_ref().is_some_and(leads_there));
            }
            for chain in table.chains.values_mut() {
                chain.rules.retain(|rule| {
                    !rule.exprs.iter().any(|expr| matches!(expr, Expr::Verdict(v) if leads_there(v)))
                });
            }
        }
    }
}

fn damage_rules(table: &mut Table, what: u8, place: usize) {
    let chains = table.chains.len();
    let Some(chain) = table.chains.values_mut().nth(place.checked_rem(chains).unwrap_or_default()) else {
        return;
    };
    let Some(at) = (place / chains).checked_rem(chain.rules.len()) else { return };
    match what {
        15 => drop(chain.rules.remove(at)),
        16 => chain.rules.rotate_left(at),
        _ => {
            chain.rules[at].exprs.insert(0, Expr::counter());
            chain.rules.reverse();
        }
    }
}

#[test]
fn nearly_every_drawn_topology_is_valid() {
    let (drawn, refused) = (std::cell::Cell::new(0), std::cell::Cell::new(0));
    law(500, draw::topology(), |topology| {
        drawn.set(drawn.get() + 1);
        if read(&topology.text()).is_err() {
            refused.set(refused.get() + 1);
        }
        Ok(())
    });
    assert!(drawn.get() >= 500 && refused.get() == 0, "{} of {} refused", refused.get(), drawn.get());
}

#[test]
fn a_host_that_has_it_all_differs_in_nothing() {
    law(400, draw::topology(), |drawn| {
        let topology = parse(&drawn);
        let desired = desired_of(&topology);
        assert_well_formed(&desired.ruleset);
        let diff = diff(&desired, &live_of(&desired, 1));
        prop_assert!(diff.is_empty() && diff.changes.is_empty(), "{diff:#?}");
        prop_assert!(diff.ops.is_empty() && diff.sysctls.is_empty(), "{diff:#?}");
        prop_assert_eq!(parse(&drawn), topology);
        Ok(())
    });
}

#[test]
fn the_order_of_entries_has_no_effect() {
    law(400, (draw::topology(), prop::collection::vec(any::<u32>(), 24)), |(drawn, keys)| {
        let (one, other) = (parse(&drawn), parse(&drawn.shuffled(&keys)));
        let (one, other) = (desired_of(&one), desired_of(&other));
        prop_assert_eq!(&one.ruleset, &other.ruleset);
        // Their origin is the place of an entry in the file, which is another one.
        let values = |desired: &Desired| -> Vec<_> {
            let sysctls = desired.sysctls.iter();
            sysctls.map(|sysctl| (sysctl.key.clone(), sysctl.value.clone(), sysctl.why.clone())).collect()
        };
        prop_assert_eq!(values(&one), values(&other));
        prop_assert_eq!(render::nft::ruleset(&one.ruleset), render::nft::ruleset(&other.ruleset));
        Ok(())
    });
}

#[test]
fn carrying_out_the_difference_leads_to_what_is_desired() {
    law(1500, (draw::topology(), draw::topology(), damages()), |(from, to, by_hand)| {
        let (from, to) = (parse(&from), parse(&to));
        let mut live = live_of(&desired_of(&from), 100);
        for step in by_hand {
            damage(&mut live.ruleset, step);
        }
        for table in live.ruleset.values_mut() {
            drop_unused_anonymous_sets(table);
        }
        for table in live.ruleset.values() {
            assert_refers_to_what_is_there(table);
        }
        let desired = desired_of(&to);
        let found = diff(&desired, &live);
        let after = Kernel::new(live.ruleset.clone()).carry_out(&found.ops);
        prop_assert_eq!(&after, &desired.ruleset);
        prop_assert_eq!(
            found.changes.is_empty(),
            live.ruleset == desired.ruleset && found.sysctls.is_empty()
        );

        // The way back, which undoing takes. What isoplan has no words for it does not bring back.
        let has_words = |table: &Table| {
            table.flags == 0
                && table.unknown.is_empty()
                && table.sets.values().all(|set| set.foreign_flags == 0 && !set.name.starts_with("__"))
        };
        if live.ruleset.values().all(has_words) {
            let back = Kernel::new(after.clone()).carry_out(&ops_between(&after, &live.ruleset));
            let text = render::nft::ruleset;
            prop_assert!(back == live.ruleset, "{}\nis not\n{}", text(&back), text(&live.ruleset));
        }
        Ok(())
    });
}

#[test]
fn a_difference_sends_no_element_that_stays() {
    law(400, (draw::nftables(), draw::nftables()), |(from, to)| {
        let (from, to) = (desired_of(&parse(&from)), desired_of(&parse(&to)));
        let elements = |desired: &Desired| -> BTreeSet<_> {
            let sets = desired
                .ruleset
                .iter()
                .flat_map(|(family, table)| table.sets.values().map(move |set| (*family, set)));
            sets.flat_map(|(family, set)| {
                set.elements.iter().map(move |(key, data)| {
                    (family, Arc::clone(&set.name), key.clone(), data.verdict.clone(), data.value.clone())
                })
            })
            .collect()
        };
        let (old, new) = (elements(&from), elements(&to));
        let found = diff(&to, &live_of(&from, 100));
        if found.ops.iter().any(|op| matches!(op, Op::DeleteTable { .. })) {
            return Err(TestCaseError::reject("a table that goes or is created anew"));
        }
        let sent = found.ops.iter().filter_map(|op| match op {
            Op::AddElements { elements, .. } => Some(elements.len()),
            _ => None,
        });
        prop_assert_eq!(sent.sum::<usize>(), new.difference(&old).count());
        Ok(())
    });
}

#[test]
fn what_nobody_asked_for_is_blocked() {
    let blocked = std::cell::Cell::new(0);
    law(400, draw::topology(), |drawn| {
        let topology = parse(&drawn);
        let intent = Intent::new(&topology);
        for (a, network) in topology.networks.iter().enumerate() {
            for (n, nic) in topology.nics.iter().enumerate() {
                let name = NamePattern::Exact(nic.name.clone());
                let between = |from: &NamePattern, to: &NamePattern| {
                    topology.allows.iter().any(|allow| allow.from == *from && allow.to_name == *to)
                };
                if network.reach.contains(&Reach::Role(nic.role.clone()))
                    || nic.reach.contains(&Reach::Network(network.name.clone()))
                    || between(&network.name, &name)
                    || between(&name, &network.name)
                {
                    continue;
                }
                let (network, nic, host) = (Party::Network(a), Party::Nic(n), Party::HostOn(n));
                for family in IpFamily::BOTH {
                    for way in [(network, nic), (nic, network), (network, host)] {
                        let way = intent.way(way.0, way.1, family);
                        prop_assert!(matches!(way, None | Some(Way::Blocked)), "{:?}", way);
                        blocked.set(blocked.get() + usize::from(way.is_some()));
                    }
                }
            }
        }
        Ok(())
    });
    assert!(blocked.get() > 1000, "only {} ways were looked at", blocked.get());
}

/// The same file with one word more in the `reach` of an entry that has networks or NICs to reach.
fn reaching_more(drawn: &Drawn, entry: usize, word: &str) -> Option<Topology> {
    let mut drawn = drawn.clone();
    let text = &mut drawn.entries[entry];
    *text = if text.contains("reach = []") {
        text.replace("reach = []", &format!("reach = [\"{word}\"]"))
    } else if text.contains("reach = [") {
        text.replace("reach = [", &format!("reach = [\"{word}\", "))
    } else {
        let default = if text.starts_with("[[nic]]") { "" } else { ", \"service\"" };
        format!("{text}reach = [\"{word}\"{default}]\n")
    };
    // Refused: a word that is there already, or one that this entry cannot reach.
    read(&drawn.text()).ok()
}

#[test]
fn a_reach_more_closes_nothing() {
    law(300, (draw::nftables(), any::<prop::sample::Index>()), |(drawn, choice)| {
        let before = parse(&drawn);
        let roles = before.nics.iter().map(|nic| nic.role.to_string());
        let words: BTreeSet<String> =
            roles.chain(before.networks.iter().map(|net| net.name.to_string())).collect();
        let reaches = ["[[bridge]]", "[[overlay]]", "[[nic]]"];
        let entries = drawn.entries.iter().enumerate();
        let more: Vec<Topology> = entries
            .filter(|(_, text)| reaches.iter().any(|head| text.starts_with(head)))
            .flat_map(|(entry, _)| words.iter().map(move |word| (entry, word)))
            .filter_map(|(entry, word)| reaching_more(&drawn, entry, word))
            .collect();
        if more.is_empty() {
            return Err(TestCaseError::reject("everybody reaches all there is"));
        }
        let after = choice.get(&more);
        let (before, after) = (Intent::new(&before), Intent::new(after));
        let parties: Vec<Party> = (0..before.topology.networks.len())
            .map(Party::Network)
            .chain((0..before.topology.nics.len()).flat_map(|nic| [Party::Nic(nic), Party::HostOn(nic)]))
            .chain((0..before.topology.flats.len()).map(Party::Flat))
            .collect();
        for from in &parties {
            for to in &parties {
                for family in IpFamily::BOTH {
                    if before.way(*from, *to, family) == Some(Way::Open) {
                        prop_assert_eq!(
                            after.way(*from, *to, family),
                            Some(Way::Open),
                            "{:?} to {:?}",
                            from,
                            to
                        );
                    }
                }
            }
        }
        Ok(())
    });
}

/// How many rules a topology comes to.
fn rules_for(topology: &Topology) -> usize {
    desired_of(topology).ruleset.values().map(Table::rule_count).sum()
}

#[test]
fn rules_do_not_grow_with_networks_or_subnets() {
    law(300, (draw::nftables(), any::<prop::sample::Index>()), |(drawn, choice)| {
        let before = parse(&drawn);
        // What is between networks, or from a NIC to one, is theirs alone: another network does not share it.
        let has_ways_of_its_own = |text: &str| {
            before.networks.iter().any(|network| {
                let word = Reach::Network(network.name.clone());
                text.contains(&format!("name = \"{}\"", network.name))
                    && (network.reach.iter().any(|word| matches!(word, Reach::Network(_)))
                        || before.nics.iter().any(|nic| nic.reach.contains(&word)))
            })
        };
        let is_network = |text: &str| text.starts_with("[[bridge]]") || text.starts_with("[[overlay]]");
        let suits = |text: &str| match is_network(text) {
            true => !has_ways_of_its_own(text),
            false => text.starts_with("[[nic]]") && text.contains("subnets = [\"10."),
        };
        let entries: Vec<usize> =
            (0..drawn.entries.len()).filter(|entry| suits(&drawn.entries[*entry])).collect();
        if entries.is_empty() {
            return Err(TestCaseError::reject("neither such a network nor a NIC with IPv4"));
        }
        let entry = *choice.get(&entries);
        let text = &drawn.entries[entry];
        let mut more = drawn.clone();
        if is_network(text) {
            // Of families that networks of the file have: rules are per family.
            let has = |wanted: &&str| {
                let wanted = wanted.contains('.');
                before.networks.iter().flat_map(|net| &net.subnets).any(|net| net.addr().is_ipv4() == wanted)
            };
            let subnets = ["\"198.51.100.0/24\"", "\"2001:db8:51::/64\""].into_iter().filter(has);
            let subnets = format!("subnets = [{}]", subnets.collect::<Vec<_>>().join(", "));
            for number in 0..3 {
                let lines = text.lines().filter(|line| !line.starts_with("subnets"));
                let lines = lines.map(|line| match line.strip_prefix("name = ") {
                    Some(name) if name.ends_with("*\"") => format!("name = \"more{number}-*\""),
                    Some(_) => format!("name = \"more{number}\""),
                    None => line.to_owned(),
                });
                let subnets = (number == 0).then(|| subnets.clone());
                let lines: Vec<String> = lines.chain(subnets).collect();
                more.entries.push(lines.join("\n") + "\n");
            }
        } else {
            more.entries[entry] =
                text.replace("subnets = [", "subnets = [\"198.51.100.0/24\", \"192.0.2.7/32\", ");
        }
        prop_assert_eq!(rules_for(&parse(&more)), rules_for(&before), "{:?}", more);
        Ok(())
    });
}

/// What the kernel holds of isoplan's, elements in order: it lists those of some sets as they came.
pub(crate) fn listed(host: &Node) -> Vec<String> {
    let mut lines = Vec::new();
    let mut elements: Option<Vec<String>> = None;
    for line in listing(host).unwrap_or_default().lines() {
        let start = line.trim().strip_prefix("elements = { ");
        if start.is_some() {
            elements = Some(Vec::new());
        }
        let Some(found) = &mut elements else {
            lines.push(line.to_owned());
            continue;
        };
        let text = start.unwrap_or(line.trim());
        let (text, is_last) = text.strip_suffix(" }").map_or((text, false), |text| (text, true));
        found.extend(text.split(", ").map(|element| element.trim_end_matches(',').to_owned()));
        if is_last {
            found.sort_unstable();
            lines.append(found);
            elements = None;
        }
    }
    lines
}

/// A namespace of one's own with isoplan in it.
fn start() -> (Node, Program) {
    let host = Node::own("host");
    has_namespace_of_its_own(&host);
    (host, Program::new(ISOPLAN).expect("make a directory"))
}

/// The changes of a plan, those of sysctls left out.
pub(crate) fn table_changes(isoplan: &Program, file: &str) -> Vec<serde_json::Value> {
    let plan = isoplan.run(&["plan", file, "--json"]);
    assert_eq!(plan.code, Some(0), "{plan}");
    let mut changes = plan.json()["changes"].as_array().expect("a list of changes").clone();
    changes.retain(|change| change["kind"] != "sysctl");
    changes
}

#[test]
fn what_is_rendered_loads_and_reads_back_the_same() {
    in_namespace(|| {
        let (host, isoplan) = start();
        law_with(30, 60, draw::nftables(), |drawn| {
            isoplan.write("topology.toml", &drawn.text()).expect("write a topology");
            let text = isoplan.run(&["render", "topology.toml", "--format", "nft"]).ok();
            host.nft(&["flush", "ruleset"]).expect("flush the rules");
            host.nft_load(&text).map_err(|error| TestCaseError::fail(error.to_string()))?;
            prop_assert_eq!(table_changes(&isoplan, "topology.toml"), Vec::<serde_json::Value>::new());
            let loaded = listed(&host);
            // A second time over what is there, as a service that starts again does.
            host.nft_load(&text).map_err(|error| TestCaseError::fail(error.to_string()))?;
            prop_assert_eq!(&listed(&host), &loaded);
            // And what isoplan itself makes of it is the same to the eye of nft.
            host.nft(&["flush", "ruleset"]).expect("flush the rules");
            isoplan.run(&["apply", "topology.toml", "--yes"]).ok();
            prop_assert_eq!(&listed(&host), &loaded);
            Ok(())
        });
    });
}

#[test]
fn one_apply_after_another_is_as_good_as_the_last_alone() {
    in_namespace(|| {
        let (host, isoplan) = start();
        law_with(30, 60, (draw::topology(), draw::topology()), |(a, b)| {
            isoplan.write("a.toml", &a.text()).expect("write a topology");
            isoplan.write("b.toml", &b.text()).expect("write a topology");
            // The sysctl approach says no where the interfaces are missing, as they all are here.
            for file in ["a.toml", "b.toml"] {
                let plan = isoplan.run(&["plan", file, "--json"]).json();
                let missing = plan["missing_sysctls"].as_array().expect("a list").len();
                if missing > 0 {
                    return Err(TestCaseError::reject("interfaces that do not exist"));
                }
            }
            host.nft(&["flush", "ruleset"]).expect("flush the rules");
            isoplan.run(&["apply", "b.toml", "--yes"]).ok();
            let alone = listed(&host);
            isoplan.run(&["remove", "--yes"]).ok();
            prop_assert_eq!(listed(&host), Vec::<String>::new());
            isoplan.run(&["apply", "a.toml", "--yes"]).ok();
            isoplan.run(&["apply", "b.toml", "--yes"]).ok();
            prop_assert_eq!(listed(&host), alone);
            let plan = isoplan.run(&["plan", "b.toml", "--detailed-exitcode"]);
            prop_assert_eq!(plan.code, Some(0), "{}", plan);
            Ok(())
        });
    });
}
