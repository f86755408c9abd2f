//! What a review says where no way between two parties tells it: exceptions that let more through, and links that no
//! rule names any more.

use isoplan::approach::{SysctlKey, desired};
use isoplan::diff::LiveState;
use isoplan::flows::pairs::pair_changes;
use isoplan::intent::Intent;
use isoplan::meaning::{Comparison, Loosened};
use isoplan::plan::Plan;
use isoplan::render::review;
use isoplan::topology::{self, Topology};
use proptest::prelude::*;

use crate::draw;
use crate::laws::law_with;

const OLD: &str = r#"
[[bridge]]
name = "docker0"
subnets = ["172.17.0.0/16"]
[[bridge]]
name = "br-web"
subnets = ["172.18.0.0/16"]
[[nic]]
name = "eth0"
role = "service"
subnets = ["192.168.56.0/24"]
[[nic]]
name = "eth1"
role = "storage"
subnets = ["192.168.57.0/24"]
[[allow]]
from = "docker0"
to = "192.168.57.8/29"
protocol = "tcp"
ports = [111, "2049-2050"]
"#;

fn parse(text: &str) -> Topology {
    topology::parse("new.toml", text.as_bytes())
        .unwrap_or_else(|refused| panic!("{}\n{text}", refused.render(false, 100)))
}

/// The review of two files, and that of the new one on a host where the old one is in place.
fn reviews(old: &Topology, new: &Topology) -> [String; 2] {
    let (old_intent, new_intent) = (Intent::new(old), Intent::new(new));
    let comparison = Comparison::new(&old_intent, &new_intent);
    let in_place = desired(&old_intent);
    let live = LiveState {
        ruleset: in_place.ruleset,
        sysctls: [(SysctlKey("net/ipv4/ip_forward".to_owned()), "1".to_owned())].into(),
        ..LiveState::default()
    };
    let seen = review::Seen { host: Some("web1"), words: None };
    [review::diff(&comparison, old, new, false), review::plan(&Plan::new(new, &live), &live, seen, false)]
}

/// `opens` and `gives up` as the heading of both says them, for a change of one text.
#[track_caller]
fn check(before: &str, after: &str, opens: Option<usize>, gives_up: &[&str]) {
    assert!(OLD.contains(before), "{before}");
    let (old, new) = (parse(OLD), parse(&OLD.replace(before, after)));
    let comparison = Comparison::new(&Intent::new(&old), &Intent::new(&new));
    assert_eq!(comparison.opens(), opens.unwrap_or(0), "{after}");
    assert_eq!(comparison.loosened.given_up().collect::<Vec<_>>(), gives_up, "{after}");
    for review in reviews(&old, &new) {
        let heading = review.lines().find(|line| line.starts_with("### ")).expect("a heading");
        // On a host, its own address within the target is a pair of its own.
        assert_eq!(heading.contains("**opens ways of "), opens.is_some(), "{review}");
        assert_eq!(heading.contains("**gives up "), !gives_up.is_empty(), "{review}");
        for link in gives_up {
            assert!(review.contains(&format!("\n- `{link}`\n")), "{review}");
            assert!(!heading.contains("opens nothing") || heading.contains("gives up"), "{review}");
        }
    }
}

#[test]
fn exceptions_that_let_more_through_open() {
    let end = "ports = [111, \"2049-2050\"]\n";
    let second = format!("{end}[[allow]]\nfrom = \"docker0\"\nto = \"192.168.57.20\"\n");
    check(end, &second, Some(1), &[]);
    check(end, "ports = [111, \"2049-2051\"]\n", Some(1), &[]);
    check(end, "ports = [112]\n", Some(1), &[]);
    check(&format!("protocol = \"tcp\"\n{end}"), "", Some(1), &[]);
    check("192.168.57.8/29", "192.168.57.0/28", Some(1), &[]);
    check("172.17.0.0/16", "172.16.0.0/15", Some(1), &[]);
}

#[test]
fn exceptions_that_let_less_through_do_not() {
    check("ports = [111, \"2049-2050\"]\n", "ports = [2049]\n", None, &[]);
    check("192.168.57.8/29", "192.168.57.9", None, &[]);
    check("tcp\"\n", "tcp\"\nreason = \"NFS\"\n", None, &[]);
}

#[test]
fn who_is_not_in_the_file_any_more_is_given_up() {
    let bridge = "[[bridge]]\nname = \"br-web\"\nsubnets = [\"172.18.0.0/16\"]\n";
    check(bridge, "", None, &["br-web", "172.18.0.0/16"]);
    // A wildcard in its place is as good.
    check("\"br-web\"", "\"br-*\"", None, &[]);
    check("\"br-web\"", "\"br-web0\"", None, &["br-web"]);
    let old = OLD.replace("eth1", "eth9");
    let other = parse(&old);
    assert_eq!(Comparison::new(&Intent::new(&parse(OLD)), &Intent::new(&other)).loosened.links, ["eth1"]);
}

/// A subnet that nobody has any more may be reached by way of another link.
#[test]
fn addresses_that_are_not_in_the_file_any_more_are_given_up() {
    let behind = "subnets = [\"192.168.57.0/24\"]";
    check(behind, "subnets = [\"192.168.57.0/25\"]", None, &["192.168.57.0/24"]);
    check(behind, "subnets = [\"192.168.57.0/25\", \"192.168.57.128/25\"]", None, &[]);
    check("172.17.0.0/16", "172.17.0.0/24", None, &["172.17.0.0/16"]);
    check("172.18.0.0/16", "172.19.0.0/16", None, &["172.18.0.0/16"]);
}

/// And a subnet that somebody else has now may be reached by whoever may reach that.
#[test]
fn addresses_that_another_entry_has_now_open() {
    let two = |a: &str, b: &str| OLD.replace("[\"192.168.56.0/24\"]", a).replace("[\"192.168.57.0/24\"]", b);
    let at_storage = two("[\"192.168.56.0/24\"]", "[\"192.168.57.0/24\", \"10.9.0.0/16\"]");
    let moved = [
        two("[\"192.168.56.0/24\", \"10.9.0.0/16\"]", "[\"192.168.57.0/24\"]"),
        // A part of it, and what it is a part of.
        two("[\"192.168.56.0/24\", \"10.9.7.0/24\"]", "[\"192.168.57.0/24\"]"),
        two("[\"192.168.56.0/24\", \"10.8.0.0/15\"]", "[\"192.168.57.0/24\"]"),
    ];
    let old = parse(&at_storage);
    for text in moved {
        let new = parse(&text);
        let comparison = Comparison::new(&Intent::new(&old), &Intent::new(&new));
        let opening: Vec<_> = comparison.meaning.ways.iter().filter(|way| way.opens()).collect();
        assert!(opening.iter().any(|way| way.from.contains(&"docker0".to_owned())), "{opening:?}\n{text}");
        for review in reviews(&old, &new) {
            assert!(review.contains("**opens ways of "), "{review}");
        }
    }
    // To a place that nobody reaches who did not reach it before.
    let (old, new) =
        (parse(&two("[\"192.168.56.0/24\", \"10.9.0.0/16\"]", "[\"192.168.57.0/24\"]")), parse(&at_storage));
    let comparison = Comparison::new(&Intent::new(&old), &Intent::new(&new));
    assert_eq!(comparison.opens(), 0, "{:?}", comparison.meaning.ways);
}

/// What a wildcard stands for in the other file has not another name there, whoever has its addresses.
#[test]
fn one_of_a_wildcard_is_not_renamed() {
    let wildcard =
        "[[bridge]]\nname = \"br-*\"\nreach = [\"service\", \"storage\"]\n[[nic]]\nname = \"eth0\"";
    let before = OLD.replacen("[[nic]]\nname = \"eth0\"", wildcard, 1);
    let before = before.replace("[[bridge]]\nname = \"br-web\"\nsubnets = [\"172.18.0.0/16\"]\n", "")
        + "[[bridge]]\nname = \"web\"\nsubnets = [\"172.18.0.0/16\"]\n";
    let after = before.replace("name = \"web\"", "name = \"br-web\"");
    let (old, new) = (parse(&after), parse(&before));
    // br-web has its own entry, then is one of br-*, which reaches storage.
    let comparison = Comparison::new(&Intent::new(&old), &Intent::new(&new));
    let is_told = |way: &&isoplan::meaning::WayChange| way.opens() && way.from.contains(&"br-web".to_owned());
    assert!(comparison.meaning.ways.iter().any(|way| is_told(&way)), "{:?}", comparison.meaning);
}

#[test]
fn exceptions_that_let_less_through_close() {
    let (old, new) = (parse(OLD), parse(&OLD.replace("ports = [111, \"2049-2050\"]\n", "ports = [2049]\n")));
    let comparison = Comparison::new(&Intent::new(&old), &Intent::new(&new));
    assert_eq!((comparison.opens(), comparison.closes()), (0, 1));
    let [diff, plan] = reviews(&old, &new);
    assert!(diff.contains("opens nothing, closes ways of 1 pair\n"), "{diff}");
    assert!(plan.contains("opens nothing, takes away "), "{plan}");
}

/// Of many networks not every pair is looked at, but those are that an exception is for.
#[test]
fn exceptions_between_two_of_many_networks_are_told() {
    let mut text =
        "[[nic]]\nname = \"eth1\"\nrole = \"storage\"\nsubnets = [\"192.168.57.0/24\"]\n".to_owned();
    for at in 0..80 {
        text.push_str(&format!("[[bridge]]\nname = \"br-{at:02}\"\nsubnets = [\"10.0.{at}.0/24\"]\n"));
    }
    let old = parse(&text);
    let new =
        parse(&(text + "[[allow]]\nfrom = \"br-07\"\nto = \"10.0.9.1\"\nprotocol = \"tcp\"\nports = [80]\n"));
    for review in reviews(&old, &new) {
        assert!(review.contains("**opens ways of 1 pair**"), "{review}");
        assert!(review.contains("| `br-07` | `br-09` | blocked → **exceptions** |"), "{review}");
    }
}

#[test]
fn the_sysctl_approach_gives_up_everything() {
    let old = parse(OLD);
    let (before, _) = OLD.split_once("[[allow]]").expect("an exception");
    let new = parse(&format!("{before}[isolation]\napproach = \"sysctl\"\n"));
    let comparison = Comparison::new(&Intent::new(&old), &Intent::new(&new));
    assert_eq!(comparison.loosened.links, ["br-web", "docker0", "eth0", "eth1"]);
    for review in reviews(&old, &new) {
        assert!(
            review.contains(": **takes every rule away**, ")
                || review.contains("` **takes every rule away**, ")
        );
        assert!(review.contains(", **gives up 4 links and 4 subnets**\n"), "{review}");
        assert!(!review.contains("opens nothing"), "{review}");
    }
}

/// A NIC that is not in the file any more forwards again.
#[test]
fn the_sysctl_approach_gives_up_a_nic() {
    let (before, _) = OLD.split_once("[[allow]]").expect("an exception");
    let sysctl = format!("{before}[isolation]\napproach = \"sysctl\"\n");
    let (old, new) = (parse(&sysctl), parse(&sysctl.replace("\"storage\"", "\"service\"")));
    let comparison = Comparison::new(&Intent::new(&old), &Intent::new(&new));
    assert_eq!(comparison.loosened.links, ["eth1"], "{:?}", comparison.rules.changes);
}

/// Nothing is given up from a file to itself, and what has no rules has nothing to give up.
#[test]
fn a_file_gives_up_nothing_against_itself() {
    law_with(100, 100, draw::topology(), |drawn| {
        let topology = parse(&drawn.text());
        let rules = desired(&Intent::new(&topology)).ruleset;
        prop_assert!(Loosened::new(&rules, &rules, &[]).is_empty());
        prop_assert!(Loosened::new(&Default::default(), &rules, &[]).is_empty());
        Ok(())
    });
}

/// Lets two entries have each other's subnets.
fn exchange(entries: &mut [String], a: usize, b: usize) {
    let subnets =
        |entry: &String| entry.lines().find(|line| line.starts_with("subnets = ")).map(str::to_owned);
    if let (Some(first), Some(second)) = (subnets(&entries[a]), subnets(&entries[b])) {
        entries[a] = entries[a].replace(&first, &second);
        entries[b] = entries[b].replace(&second, &first);
    }
}

/// "Opens nothing" is also what the rules of both files say to packets, which know nothing of entries and names.
#[test]
fn where_nothing_opens_the_rules_let_nothing_more_pass() {
    let edits = (
        draw::nftables(),
        draw::nftables(),
        [any::<prop::sample::Index>(), any::<prop::sample::Index>()],
        0..6_u8,
    );
    law_with(600, 300, edits, |(drawn, other, [index, place], how)| {
        let mut edited = drawn.clone();
        let at = index.index(drawn.entries.len());
        match how {
            0 => drop(edited.entries.remove(at)),
            1 => edited.entries.extend(other.entries.get(at).cloned()),
            2..=4 => exchange(&mut edited.entries, at, place.index(drawn.entries.len())),
            _ => edited.entries[at] = other.entries[at % other.entries.len()].clone(),
        }
        // Without that entry others may refer to nothing, and with another one there may be two of a name.
        let Ok(new) = topology::parse("new.toml", edited.text().as_bytes()) else { return Ok(()) };
        let old = parse(&drawn.text());
        for (old, new) in [(&old, &new), (&new, &old)] {
            let (before, after) = (Intent::new(old), Intent::new(new));
            let comparison = Comparison::new(&before, &after);
            if comparison.opens() > 0 || !comparison.loosened.is_empty() {
                continue;
            }
            let on = |name: &str| (SysctlKey(name.to_owned()), "1".to_owned());
            let live = LiveState {
                ruleset: desired(&before).ruleset,
                sysctls: ["net/ipv4/ip_forward", "net/ipv6/conf/all/forwarding"].map(on).into(),
                ..LiveState::default()
            };
            let mut changes = pair_changes(&Plan::new(new, &live), &live);
            // An address of this host where another link is, which is not so on the day of the change.
            for way in &mut changes.ways {
                way.to.retain(|to| !to.starts_with("host on "));
            }
            prop_assert_eq!(
                changes.opens(),
                0,
                "{:?}\n{}\n\nbecomes\n{}",
                changes.ways,
                drawn.text(),
                edited.text()
            );
        }
        Ok(())
    });
}
