//! From one rule set to another in the languages of others, as small as they can say it.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use isoplan::render::{self, element};
use isoplan::ruleset::{
    Chain, ElementData, ElementKey, Elements, Family, Op, Rule, Ruleset, Set, TABLE_NAME, Table,
};

/// The steps of a transaction as a file for `nft -f`.
pub(crate) fn nft(ops: &[Op]) -> String {
    let mut text = String::new();
    for op in ops {
        statement(&mut text, op).expect("write to a string");
    }
    text
}

fn statement(text: &mut String, op: &Op) -> std::fmt::Result {
    let with_comment = |rule: &Rule| match rule.comment.as_ref() {
        "" => render::rule(rule),
        comment => format!("{} comment \"{comment}\"", render::rule(rule)),
    };
    match op {
        Op::AddTable { family } => writeln!(text, "add table {family} {TABLE_NAME}"),
        Op::DeleteTable { family } => writeln!(text, "delete table {family} {TABLE_NAME}"),
        Op::AddSet { family, set } => {
            let set = Set { elements: Elements::new(), ..set.clone() };
            let mut table = Table::new(*family);
            table.sets.insert(set.name.clone(), set);
            text.push_str(&declared(*family, table));
            Ok(())
        }
        Op::DeleteSet { family, set } => writeln!(text, "delete set {family} {TABLE_NAME} {set}"),
        Op::AddChain { family, chain, base } => {
            let chain = Chain { name: chain.clone(), base: base.clone(), rules: Vec::new() };
            let mut table = Table::new(*family);
            table.chains.insert(chain.name.clone(), chain);
            text.push_str(&declared(*family, table));
            Ok(())
        }
        Op::DeleteChain { family, chain } => writeln!(text, "delete chain {family} {TABLE_NAME} {chain}"),
        Op::AddElements { family, set, elements: list } => elements(text, "add", *family, set, list),
        Op::DeleteElements { family, set, elements: list } => elements(text, "delete", *family, set, list),
        Op::AddRule { family, chain, rule, before: None } => {
            writeln!(text, "add rule {family} {TABLE_NAME} {chain} {}", with_comment(rule))
        }
        Op::AddRule { family, chain, rule, before: Some(handle) } => {
            writeln!(text, "insert rule {family} {TABLE_NAME} {chain} handle {handle} {}", with_comment(rule))
        }
        Op::ReplaceRule { family, chain, handle, rule } => {
            writeln!(
                text,
                "replace rule {family} {TABLE_NAME} {chain} handle {handle} {}",
                with_comment(rule)
            )
        }
        Op::DeleteRule { family, chain, handle } => {
            writeln!(text, "delete rule {family} {TABLE_NAME} {chain} handle {handle}")
        }
    }
}

/// What a table declares, beside what it has.
fn declared(family: Family, table: Table) -> String {
    render::nft::tables(&Ruleset::from([(family, table)]))
}

fn elements(
    text: &mut String,
    verb: &str,
    family: Family,
    set: &Set,
    list: &[(ElementKey, ElementData)],
) -> std::fmt::Result {
    let list: Vec<String> = list.iter().map(|(key, data)| element(set, key, data)).collect();
    writeln!(text, "{verb} element {family} {TABLE_NAME} {} {{ {} }}", set.name, list.join(", "))
}

/// From one file for iptables-restore to another, for `--noflush`, in one family.
pub(crate) fn iptables(from: &str, to: &str, family: super::Family) -> String {
    let (from, to) = (File::read(from, family), File::read(to, family));
    let mut text = String::new();
    for (name, to) in &to.0 {
        let from = &from.0[name];
        let _ = writeln!(text, "*{name}");
        for chain in to.chains.difference(&from.chains) {
            let _ = writeln!(text, ":{chain} - [0:0]");
        }
        let nothing = Vec::new();
        for (chain, rules) in &from.rules {
            let kept: BTreeSet<&str> = to.rules.get(chain).unwrap_or(&nothing).iter().copied().collect();
            for rule in rules.iter().filter(|rule| !kept.contains(*rule)) {
                let _ = writeln!(text, "-D {chain} {rule}");
            }
        }
        for (chain, rules) in &to.rules {
            let there: BTreeSet<&str> = from.rules.get(chain).unwrap_or(&nothing).iter().copied().collect();
            for (index, rule) in rules.iter().enumerate().filter(|(_, rule)| !there.contains(*rule)) {
                let _ = writeln!(text, "-I {chain} {} {rule}", index + 1);
            }
        }
        for chain in from.chains.difference(&to.chains) {
            let _ = writeln!(text, "-X {chain}");
        }
        text.push_str("COMMIT\n");
    }
    text
}

/// A file for iptables-restore: tables by name.
struct File<'f>(BTreeMap<&'f str, Part<'f>>);

#[derive(Default)]
struct Part<'f> {
    chains: BTreeSet<&'f str>,
    /// By chain, without it.
    rules: BTreeMap<&'f str, Vec<&'f str>>,
}

impl<'f> File<'f> {
    fn read(text: &'f str, family: super::Family) -> Self {
        let mut file = Self(BTreeMap::new());
        let mut part = "";
        for line in text.lines() {
            if let Some(name) = line.strip_prefix('*') {
                part = name;
                file.0.entry(name).or_default();
            } else if let Some(chain) = line.strip_prefix(':').and_then(|line| line.split(' ').next()) {
                file.0.entry(part).or_default().chains.insert(chain);
            } else if let Some((chain, rule)) = line.strip_prefix("-A ").and_then(|line| line.split_once(' '))
                && super::is_of(line, family)
            {
                file.0.entry(part).or_default().rules.entry(chain).or_default().push(rule);
            }
        }
        file
    }
}
