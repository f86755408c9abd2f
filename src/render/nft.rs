//! A rule set as a file that `nft -f` loads.

use std::fmt::Write as _;

use askama::Template;

use super::{element, rule};
use crate::approach::with_approach;
use crate::intent::Intent;
use crate::ruleset::{BaseChain, Chain, Family, FieldType, Policy, Priority, Ruleset, Set, SetData, Table};
use crate::topology::ApproachName;

#[derive(Template)]
#[template(path = "nft.txt")]
struct File<'f> {
    file: &'f str,
    version: &'static str,
    sysctls: Vec<super::sysctl::Line>,
    body: String,
}

/// A complete file of the nftables approach, with a header that says where it comes from.
///
/// # Errors
///
/// None that input can bring about.
pub fn file(intent: &Intent<'_>) -> Result<String, askama::Error> {
    let desired = with_approach(intent, ApproachName::Nftables);
    File {
        file: &intent.topology.file,
        version: env!("CARGO_PKG_VERSION"),
        sysctls: super::sysctl::lines(intent, &desired.sysctls),
        body: ruleset(&desired.ruleset),
    }
    .render()
}

/// The rule set alone. Loading it replaces the tables named isoplan in one transaction and touches
/// nothing else.
pub fn ruleset(ruleset: &Ruleset) -> String {
    let mut text = String::new();
    for table in ruleset.values() {
        let (family, name) = (table.family, &table.name);
        // Declaring a table before deleting it makes the deletion work whether or not it is there.
        let _ = writeln!(text, "table {family} {name}\ndelete table {family} {name}");
    }
    for table in ruleset.values() {
        text.push('\n');
        push_table(&mut text, table);
    }
    text
}

/// The tables as they are, without what makes loading them replace others.
pub fn tables(ruleset: &Ruleset) -> String {
    let mut text = String::new();
    for table in ruleset.values() {
        push_table(&mut text, table);
    }
    text
}

fn push_table(text: &mut String, table: &Table) {
    let _ = writeln!(text, "table {} {} {{", table.family, table.name);
    let mut first = true;
    for set in table.sets.values() {
        if !std::mem::take(&mut first) {
            text.push('\n');
        }
        push_set(text, set);
    }
    for chain in table.chains.values() {
        if !std::mem::take(&mut first) {
            text.push('\n');
        }
        push_chain(text, table.family, chain);
    }
    text.push_str("}\n");
}

/// `type ifname . ipv4_addr : verdict`.
pub fn set_type(set: &Set) -> String {
    let key: Vec<_> = set.key.iter().map(|field: &FieldType| field.nft_name()).collect();
    let data = match set.data {
        SetData::None => String::new(),
        SetData::Verdict => " : verdict".to_owned(),
        SetData::Value(field) => format!(" : {}", field.nft_name()),
    };
    format!("type {}{data}", key.join(" . "))
}

/// `set` or `map`.
pub const fn set_word(set: &Set) -> &'static str {
    match set.data {
        SetData::None => "set",
        SetData::Verdict | SetData::Value(_) => "map",
    }
}

fn push_set(text: &mut String, set: &Set) {
    let _ = writeln!(text, "\t{} {} {{\n\t\t{}", set_word(set), set.name, set_type(set));
    if set.interval {
        text.push_str("\t\tflags interval\n");
    }
    let mut elements = set.elements.iter().peekable();
    if elements.peek().is_some() {
        text.push_str("\t\telements = { ");
        while let Some((key, data)) = elements.next() {
            text.push_str(&element(set, key, data));
            text.push_str(if elements.peek().is_some() { ",\n\t\t             " } else { " }\n" });
        }
    }
    text.push_str("\t}\n");
}

/// `type filter hook forward priority filter - 10; policy accept;`.
pub fn base_chain(family: Family, base: &BaseChain) -> String {
    let hook = match base.hook {
        crate::ruleset::Hook::Other(number) => number.to_string(),
        hook => format!("{hook:?}").to_lowercase(),
    };
    let policy = match base.policy {
        Policy::Accept => "accept",
        Policy::Drop => "drop",
    };
    let priority = priority(family, base.priority);
    format!("type {} hook {hook} priority {priority}; policy {policy};", base.kind.as_str())
}

/// A priority by the name that is nearest below or above, as nft lists it.
fn priority(family: Family, priority: Priority) -> String {
    let filter = if family == Family::Bridge { Priority::BRIDGE_FILTER } else { Priority::FILTER };
    let named = [("filter", filter), ("srcnat", Priority::SRCNAT)];
    for (name, at) in named {
        if family == Family::Bridge && name == "srcnat" {
            continue;
        }
        match i64::from(priority.0) - i64::from(at) {
            0 => return name.to_owned(),
            over @ 1..=10 => return format!("{name} + {over}"),
            under @ -10..=-1 => return format!("{name} - {}", -under),
            _ => {}
        }
    }
    priority.0.to_string()
}

fn push_chain(text: &mut String, family: Family, chain: &Chain) {
    let _ = writeln!(text, "\tchain {} {{", chain.name);
    if let Some(base) = &chain.base {
        let _ = writeln!(text, "\t\t{}", base_chain(family, base));
    }
    for line in &chain.rules {
        let _ = write!(text, "\t\t{}", rule(line));
        if !line.comment.is_empty() {
            let _ = write!(text, " comment \"{}\"", line.comment);
        }
        text.push('\n');
    }
    text.push_str("\t}\n");
}
