//! Elements of a set for a reader: few are listed, many are counted.

use std::collections::BTreeMap;

/// As many are listed one by one.
const LISTED: usize = 12;

/// Elements of a set in nft syntax, sorted, as a reader wants them: all where they are few, else a line for each kind
/// with how many there are. What follows a ` : ` is what a map maps to.
pub(in crate::render) fn grouped(elements: &[String]) -> Vec<String> {
    if elements.len() <= LISTED {
        return elements.to_vec();
    }
    let kinds: [fn(&str) -> Kind<'_>; 2] = [|key| Kind::of(key), |_| Kind::Other];
    for kind in kinds {
        let lines = by_kind(elements, kind);
        // Where next to every element is of a kind of its own, the kinds tell nothing.
        if lines.len() <= LISTED {
            return lines;
        }
    }
    vec![counted(elements.iter().map(String::as_str).collect::<Vec<_>>().as_slice())]
}

/// A line for all elements that map to the same and are of one kind, in the order of their first ones.
fn by_kind(elements: &[String], kind: fn(&str) -> Kind<'_>) -> Vec<String> {
    let mut order = Vec::new();
    let mut groups: BTreeMap<(&str, Kind<'_>), Vec<&str>> = BTreeMap::new();
    for element in elements {
        let (key, data) = element.split_once(" : ").unwrap_or((element, ""));
        let of = (data, kind(key));
        let members = groups.entry(of).or_default();
        if members.is_empty() {
            order.push(of);
        }
        members.push(key);
    }
    order
        .into_iter()
        .map(|of| {
            let text = counted(&groups[&of]);
            if of.0.is_empty() { text } else { format!("{text} : {}", of.0) }
        })
        .collect()
}

/// What elements that are counted together have in common.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Kind<'k> {
    /// A link, with itself or alone, by the part of its name before the number.
    Same(&'k str),
    /// A link and something else: by the link, when it is the same for many.
    Other,
}

impl<'k> Kind<'k> {
    fn of(key: &'k str) -> Self {
        match key.split_once(" . ") {
            Some((first, second)) if first == second => Self::Same(stem(first)),
            Some(_) => Self::Other,
            None if key.starts_with('"') => Self::Same(stem(key)),
            None => Self::Other,
        }
    }
}

/// A quoted name without the digits at its end.
fn stem(quoted: &str) -> &str {
    quoted.trim_end_matches('"').trim_end_matches(|c: char| c.is_ascii_digit())
}

/// The number at the end of a quoted name.
fn number(quoted: &str) -> Option<u64> {
    let name = quoted.trim_end_matches('"');
    name[stem(quoted).len()..].parse().ok()
}

/// `10,000: "br-00000" to "br-09999"`; one or two are named.
fn counted(keys: &[&str]) -> String {
    let [first, .., last] = keys else { return keys.join(", ") };
    if keys.len() == 2 {
        return keys.join(", ");
    }
    let link = |key: &&str| key.split(" . ").next().unwrap_or_default().to_owned();
    let (low, high) = (link(first), link(last));
    let numbers: Vec<Option<u64>> = keys.iter().map(|key| number(&link(key))).collect();
    let follows = numbers.windows(2).all(|pair| match pair {
        [Some(a), Some(b)] => a.checked_add(1) == Some(*b),
        _ => false,
    });
    let how_many = thousands(keys.len());
    let is_pair = keys.iter().all(|key| key.split_once(" . ").is_some_and(|(first, second)| first == second));
    let each = if is_pair { ", each with itself" } else { "" };
    if follows {
        return format!("{how_many}: {low} to {high}{each}");
    }
    let (low, high) = if is_pair { (low, high) } else { ((*first).to_owned(), (*last).to_owned()) };
    format!("{how_many}, in their order from {low} to {high}{each}")
}

/// `10,000`.
pub(in crate::render) fn thousands(number: usize) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(elements: impl IntoIterator<Item = String>, expected: &[&str]) {
        assert_eq!(grouped(&elements.into_iter().collect::<Vec<_>>()), expected);
    }

    #[test]
    fn few_are_listed_and_many_are_counted() {
        check(["\"br-1\"".to_owned(), "\"br-2\"".to_owned()], &["\"br-1\"", "\"br-2\""]);
        check((0..10_000).map(|n| format!("\"br-{n:05}\"")), &["10,000: \"br-00000\" to \"br-09999\""]);
        check(
            (0..10_000).filter(|n| *n != 17).map(|n| format!("\"br-{n:05}\"")),
            &["9,999, in their order from \"br-00000\" to \"br-09999\""],
        );
        let pairs = (0..100).map(|n| format!("\"br-{n:02}\" . \"br-{n:02}\" : accept"));
        check(
            pairs.chain(["\"eth0\" . \"eth1\" : goto answers".to_owned()]),
            &["100: \"br-00\" to \"br-99\", each with itself : accept", "\"eth0\" . \"eth1\" : goto answers"],
        );
        check(
            (0..100).map(|n| format!("10.0.{n}.0/24")),
            &["100, in their order from 10.0.0.0/24 to 10.0.99.0/24"],
        );
        check(
            (0..100).map(|n| format!("\"eth0\" . 10.0.{n}.0/24")),
            &["100, in their order from \"eth0\" . 10.0.0.0/24 to \"eth0\" . 10.0.99.0/24"],
        );
    }

    #[test]
    fn names_that_are_all_different_are_counted_once() {
        let names = (0..40u8).map(|n| format!("\"{}x\"", char::from(b'A' + n)));
        let names: Vec<String> = names.collect();
        let shown = grouped(&names);
        assert_eq!(shown.len(), 1, "{shown:?}");
        assert!(shown[0].starts_with("40, in their order"), "{shown:?}");
    }

    #[test]
    fn large_numbers_are_readable() {
        for (number, expected) in [(0, "0"), (999, "999"), (1000, "1,000"), (1_234_567, "1,234,567")] {
            assert_eq!(thousands(number), expected);
        }
    }
}
