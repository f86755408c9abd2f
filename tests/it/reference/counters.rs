//! The table of what each counter is about: docs/operate.md has every drop rule in it, once.

use std::collections::BTreeSet;
use std::fs;

use isoplan::ruleset::{Expr, Verdict};

use super::{root, rows, text_of};

/// `F15 to F20` is six ids, of one letter.
fn ids(cell: &str) -> Vec<String> {
    let words: Vec<&str> = cell.split([' ', ',']).filter(|word| !word.is_empty()).collect();
    let number = |word: &str| word.get(1..).and_then(|digits| digits.parse::<u32>().ok());
    let mut ids = Vec::new();
    for (at, word) in words.iter().enumerate() {
        let Some(last) = number(word) else { continue };
        let is_range = at >= 2 && words[at - 1] == "to";
        let first = if is_range { number(words[at - 2]).expect("a first one") + 1 } else { last };
        ids.extend((first..=last).map(|id| format!("{}{id}", &word[..1])));
    }
    ids
}

#[test]
fn a_range_is_all_of_its_ids() {
    assert_eq!(ids("H1 to H3 and H11, by chain"), ["H1", "H2", "H3", "H11"]);
}

#[test]
fn every_counter_is_told_of() {
    let document = text_of("docs/operate.md");
    let section =
        document.split("\n### What was dropped\n").nth(1).and_then(|rest| rest.split("\n##").next());
    let listed: Vec<String> = rows(section.expect("a section")).skip(1).flat_map(|row| ids(row[0])).collect();
    let unique: BTreeSet<&String> = listed.iter().collect();
    assert_eq!(unique.len(), listed.len(), "an id is there twice: {listed:?}");
    let mut counted = BTreeSet::new();
    for entry in fs::read_dir(root().join("fixtures")).expect("list fixtures") {
        let path = entry.expect("list fixtures").path().join("topology.toml");
        let Ok(text) = fs::read_to_string(&path) else { continue };
        let topology = isoplan::topology::parse("topology.toml", text.as_bytes()).expect("a topology");
        let desired = isoplan::approach::desired(&isoplan::intent::Intent::new(&topology));
        let chains = desired.ruleset.values().flat_map(|table| table.chains.values());
        let drops = chains
            .flat_map(|chain| &chain.rules)
            .filter(|rule| rule.exprs.last() == Some(&Expr::Verdict(Verdict::Drop)));
        counted.extend(drops.filter_map(isoplan::ruleset::Rule::id).map(|id| id.0));
    }
    assert_eq!(unique, counted.iter().collect(), "docs/operate.md on the left, the rules on the right");
}
