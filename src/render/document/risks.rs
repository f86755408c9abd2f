//! What is left open: the list of `docs/security.md`, or what the sysctl approach says of itself.

use super::reason::SECURITY;
use crate::approach::{Approach, Desired};

/// Every residual risk in a sentence or more. Text between backticks is code.
pub(in crate::render) fn residual(desired: &Desired) -> Vec<String> {
    match desired.approach {
        Approach::Sysctl => desired.not_covered.iter().map(|line| sentence(line)).collect(),
        _ => listed(),
    }
}

/// A clause as a sentence.
pub(in crate::render) fn sentence(clause: &str) -> String {
    let mut letters = clause.chars();
    let first: String = letters.next().into_iter().flat_map(char::to_uppercase).collect();
    let end = if clause.ends_with(['.', '?']) { "" } else { "." };
    format!("{first}{}{end}", letters.as_str())
}

/// The numbered list under "What is not covered", and what was not tested, which stands behind it.
fn listed() -> Vec<String> {
    let section =
        SECURITY.split("\n## What is not covered\n").nth(1).and_then(|rest| rest.split("\n## ").next());
    let section = section.unwrap_or_default();
    let mut found: Vec<String> = Vec::new();
    let mut open = false;
    for line in section.lines() {
        let item = line.split_once(". ").filter(|(number, _)| number.parse::<u8>().is_ok());
        if let Some((_, text)) = item {
            found.push(text.to_owned());
            open = true;
        } else if line.starts_with("Not tested: ") {
            found.push(line.to_owned());
            open = true;
        } else if line.is_empty() {
            open = false;
        } else if let (true, Some(last)) = (open, found.last_mut()) {
            last.push(' ');
            last.push_str(line.trim());
        }
    }
    found.iter().map(|text| without_links(text)).collect()
}

/// `[text](where)` as its text: the other document is not beside this one.
fn without_links(text: &str) -> String {
    let mut kept = String::new();
    let mut rest = text;
    while let Some((before, link)) = rest.split_once('[') {
        // A bracket within the text is of another link, or of none.
        let whole = link.split_once("](").filter(|(text, _)| !text.contains('['));
        match whole.and_then(|(text, after)| Some((text, after.split_once(')')?.1))) {
            Some((text, after)) => {
                kept.push_str(before);
                kept.push_str(text);
                rest = after;
            }
            None => {
                kept.push_str(before);
                kept.push('[');
                rest = link;
            }
        }
    }
    kept + rest
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_list_is_found_whole() {
        let listed = listed();
        assert!(listed.len() >= 9, "{listed:#?}");
        assert!(listed[0].starts_with("macvlan or ipvlan on a guarded NIC"), "{}", listed[0]);
        assert!(listed.last().is_some_and(|last| last.starts_with("Not tested: ")), "{listed:#?}");
        for line in &listed {
            assert!(line.ends_with('.') && !line.contains("]("), "{line}");
        }
    }

    #[test]
    fn a_clause_becomes_a_sentence() {
        assert_eq!(sentence("macvlan on a NIC"), "Macvlan on a NIC.");
        assert_eq!(sentence("`nft flush ruleset` by others"), "`nft flush ruleset` by others.");
        assert_eq!(sentence(""), ".");
    }

    #[test]
    fn links_become_their_text() {
        assert_eq!(without_links("see [this](there#x), `a[0]` and [that](b)."), "see this, `a[0]` and that.");
    }
}
