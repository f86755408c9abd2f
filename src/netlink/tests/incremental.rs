//! Small changes to a rule set that is there.

use std::sync::Arc;

use super::sample::{self, PLAIN, chain, decides, link, prefix_in_tree, rule, set};
use super::{assert_same, commit, creation, read};
use crate::netlink::test_ns::{Privilege, in_namespaces, load};
use crate::ruleset::{
    ElementData, ElementKey, Expr, Family, FieldType, Op, Rule, Ruleset, Set, SetData, Table, Verdict,
};

const FAMILY: Family = Family::Inet;

/// One more element for each set of the sample.
fn additions(ruleset: &Ruleset) -> Vec<(Set, ElementKey, ElementData)> {
    let pair = |a: &str, b: &str| [link(a), link(b)].concat();
    let allow = |port: u8, last: u8| {
        let end = |host: u8, port| {
            [&link("br-x")[..], &[10, 0, 0, host], &[10, 9, 0, 0], &[17, 0, 0, 0], &[0, port, 0, 0]].concat()
        };
        ElementKey::range(end(0, port), end(127, last))
    };
    let wanted: Vec<(&str, ElementKey, ElementData)> = vec![
        ("links", ElementKey::value(link("eth9")), PLAIN),
        // Between two others, touching both.
        ("v4", ElementKey::range([10, 0, 2, 0], [192, 0, 2, 0]), PLAIN),
        ("top_v4", ElementKey::range([255, 255, 255, 0], [255, 255, 255, 254]), PLAIN),
        ("v6", ElementKey::value([0; 16]), PLAIN),
        ("ports", ElementKey::range([255, 0], [255, 254]), PLAIN),
        ("protocols", ElementKey::value([58]), PLAIN),
        ("icmp_types", ElementKey::value([13]), PLAIN),
        ("types", ElementKey::value(1_u32.to_ne_bytes()), PLAIN),
        ("pairs", ElementKey::value(pair("br-a", "br-b")), decides(Verdict::Goto("common".into()))),
        ("prefixes", prefix_in_tree("tap"), decides(Verdict::Jump("common".into()))),
        ("prefix_pairs", ElementKey::value(pair("eth0", "eth1")), decides(Verdict::Drop)),
        (
            "snat_v4",
            ElementKey::value(pair("eth3", "eth0")),
            ElementData { value: Some(Box::new([203, 0, 113, 6])), ..PLAIN },
        ),
        ("allow_v4", allow(53, 60), PLAIN),
        ("sockets", ElementKey::value([link("eth1"), vec![0, 53, 0, 0]].concat()), PLAIN),
    ];
    let table = &ruleset[&FAMILY];
    wanted.into_iter().map(|(name, key, data)| (table.sets[name].clone(), key, data)).collect()
}

#[test]
fn one_element_more_and_less() {
    in_namespaces(module_path!(), "one_element_more_and_less", Privilege::Rootless, || {
        let before = sample::ruleset();
        commit(&creation(&before)).unwrap();

        for (set, key, data) in additions(&before) {
            let mut after = before.clone();
            let table = after.get_mut(&FAMILY).unwrap();
            table.sets.get_mut(&set.name).unwrap().elements.insert(key.clone(), data.clone());
            let elements = vec![(key, data)];
            commit(&[Op::AddElements { family: FAMILY, set: set.clone(), elements: elements.clone() }])
                .unwrap();
            assert_same(&read().tables, &after);
            commit(&[Op::DeleteElements { family: FAMILY, set, elements }]).unwrap();
            assert_same(&read().tables, &before);
        }

        out_and_in_again(&before);
    });
}

#[test]
fn elements_that_nft_made() {
    in_namespaces(module_path!(), "elements_that_nft_made", Privilege::Rootless, || {
        load(include_str!("listing.nft"));
        let mut before = read().tables;
        out_and_in_again(&before);

        // nft puts an end at zero below the lowest interval, and one may start right there.
        let ports = &mut before.get_mut(&FAMILY).unwrap().sets;
        let ports = ports.get_mut("ports").unwrap();
        let elements = vec![(ElementKey::value([0, 0]), PLAIN)];
        commit(&[Op::AddElements { family: FAMILY, set: ports.clone(), elements: elements.clone() }])
            .unwrap();
        ports.elements.extend(elements);
        assert_same(&read().tables, &before);
    });
}

/// Deletes and adds each element of each set, one at a time.
fn out_and_in_again(before: &Ruleset) {
    let family = FAMILY;
    // The sets that nft makes within a rule never change.
    for set in before[&family].sets.values().filter(|set| set.foreign_flags == 0) {
        for (key, data) in &set.elements {
            let elements = vec![(key.clone(), data.clone())];
            let mut after = before.clone();
            let table = after.get_mut(&family).unwrap();
            table.sets.get_mut(&set.name).unwrap().elements.remove(key);
            let set = set.clone();
            commit(&[Op::DeleteElements { family, set: set.clone(), elements: elements.clone() }]).unwrap();
            assert_same(&read().tables, &after);
            commit(&[Op::AddElements { family, set, elements }]).unwrap();
            assert_same(&read().tables, before);
        }
    }
}

/// A rule that is known by its comment.
fn named(name: &str) -> Rule {
    rule(name, &[Expr::counter()])
}

/// The comments in a chain, and the handles.
fn comments(name: &str) -> Vec<(String, u64)> {
    let live = read().tables;
    let rules = &live[&FAMILY].chains[name].rules;
    rules.iter().map(|rule| (rule.comment.clone(), rule.handle.0.unwrap())).collect()
}

#[test]
fn rules_before_after_and_instead() {
    in_namespaces(module_path!(), "rules_before_after_and_instead", Privilege::Rootless, || {
        let mut table = Table::new(FAMILY);
        let mut wanted = chain("c", None);
        wanted.rules = vec![named("A"), named("C"), named("D")];
        table.chains.insert(Arc::from("c"), wanted);
        commit(&creation(&Ruleset::from([(FAMILY, table)]))).unwrap();
        let live = comments("c");
        let (a, c, d) = (live[0].1, live[1].1, live[2].1);

        let (family, chain) = (FAMILY, Arc::<str>::from("c"));
        let add =
            |name: &str, before| Op::AddRule { family, chain: Arc::clone(&chain), rule: named(name), before };
        commit(&[
            // Two before the same rule keep their order.
            add("B1", Some(c)),
            add("B2", Some(c)),
            add("0", Some(a)),
            add("E", None),
            Op::ReplaceRule { family, chain: Arc::clone(&chain), handle: c, rule: named("C'") },
            Op::DeleteRule { family, chain: Arc::clone(&chain), handle: d },
        ])
        .unwrap();
        let names: Vec<String> = comments("c").into_iter().map(|(name, _)| name).collect();
        assert_eq!(names, ["0", "A", "B1", "B2", "C'", "E"]);
    });
}

#[test]
fn chains_sets_and_tables_go() {
    in_namespaces(module_path!(), "chains_sets_and_tables_go", Privilege::Rootless, || {
        let mut wanted = sample::ruleset();
        commit(&creation(&wanted)).unwrap();
        let (family, chain) = (FAMILY, Arc::<str>::from("input"));

        // A policy changes in place.
        let mut base = wanted[&FAMILY].chains["input"].base.clone().unwrap();
        base.policy = crate::ruleset::Policy::Drop;
        commit(&[Op::AddChain { family, chain: Arc::clone(&chain), base: Some(base.clone()) }]).unwrap();
        let table = wanted.get_mut(&FAMILY).unwrap();
        table.chains.get_mut("input").unwrap().base = Some(base);
        assert_same(&read().tables, &wanted);

        // A chain goes once it is empty, with a set that nothing uses any more: both have users first.
        let handle = read().tables[&FAMILY].chains["input"].rules[0].handle.0.unwrap();
        commit(&[
            Op::DeleteRule { family, chain: Arc::clone(&chain), handle },
            Op::DeleteChain { family, chain: Arc::clone(&chain) },
        ])
        .unwrap();
        let table = wanted.get_mut(&FAMILY).unwrap();
        table.chains.remove("input");
        let spare = set("spare", &[FieldType::IfName], SetData::None, false);
        let elements = vec![(ElementKey::value(link("eth7")), PLAIN)];
        commit(&[
            Op::AddSet { family, set: spare.clone() },
            Op::AddElements { family, set: spare.clone(), elements },
        ])
        .unwrap();
        assert!(read().tables[&FAMILY].sets.contains_key("spare"));
        commit(&[Op::DeleteSet { family, set: spare.name }]).unwrap();
        assert_same(&read().tables, &wanted);

        commit(&[Op::DeleteTable { family }]).unwrap();
        wanted.remove(&FAMILY);
        assert_same(&read().tables, &wanted);

        // A table made anew in one transaction: never is there none.
        let again = sample::ruleset();
        let mut ops = vec![Op::DeleteTable { family: Family::Bridge }];
        ops.extend(creation(&again));
        commit(&ops).unwrap();
        assert_same(&read().tables, &again);
    });
}

#[test]
fn nothing_to_do_is_done() {
    in_namespaces(module_path!(), "nothing_to_do_is_done", Privilege::Rootless, || {
        let before = read();
        commit(&[]).unwrap();
        assert_eq!(read(), before);
    });
}
