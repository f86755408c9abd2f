//! `isoplan diff`: what changes in meaning, against every pair asked for one by one.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::time::Instant;

use isoplan::intent::{Intent, IpFamily, Party, Way};
use isoplan::meaning::{EACH_OTHER, Fate, Meaning};
use isoplan::topology::{self, NamePattern, Topology};
use proptest::prelude::*;

use crate::ISOPLAN;
use crate::docs::check_json;
use crate::draw;
use crate::lab::Program;
use crate::laws::law_with;

fn parse(text: &str) -> Topology {
    topology::parse("topology.toml", text.as_bytes())
        .unwrap_or_else(|refused| panic!("{}\n{text}", refused.render(false, 100)))
}

/// Somebody, by name: as `Meaning` calls him, but for the role of a NIC.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
enum Who {
    Network(String),
    Flat(String),
    Nic(String),
    Host(String),
}

fn everyone(topology: &Topology) -> BTreeSet<Who> {
    let networks = topology.networks.iter().map(|net| Who::Network(net.name.to_string()));
    let flats = topology.flats.iter().map(|flat| Who::Flat(flat.name.to_string()));
    let nics = topology.nics.iter().map(|nic| Who::Nic(nic.name.to_string()));
    let hosts = topology.nics.iter().map(|nic| Who::Host(nic.name.to_string()));
    networks.chain(flats).chain(nics).chain(hosts).collect()
}

/// Who that is in a file: by name, or one of a wildcard's.
fn find(topology: &Topology, who: &Who, renamed: &BTreeMap<Who, Who>) -> Option<Party> {
    let who = renamed.get(who).unwrap_or(who);
    let nic = |name: &String| topology.nics.iter().position(|nic| nic.name.as_str() == name);
    match who {
        Who::Network(name) => {
            let exact = topology.networks.iter().position(|net| net.name.to_string() == *name);
            let covers = |pattern: &NamePattern| {
                pattern.is_prefix() && !name.ends_with('*') && name.starts_with(pattern.stem())
            };
            exact.or_else(|| topology.networks.iter().position(|net| covers(&net.name))).map(Party::Network)
        }
        Who::Flat(name) => topology.flats.iter().position(|flat| flat.name.as_str() == name).map(Party::Flat),
        Who::Nic(name) => nic(name).map(Party::Nic),
        Who::Host(name) => nic(name).map(Party::HostOn),
    }
}

fn passes(way: Option<Way>, to_host: bool) -> BTreeSet<&'static str> {
    let mut passes: BTreeSet<&str> = match way {
        None | Some(Way::Blocked) => [].into(),
        Some(Way::Exceptions) => ["exceptions"].into(),
        Some(Way::Answers) => ["answers"].into(),
        Some(Way::AnswersAndExceptions) => ["answers", "exceptions"].into(),
        Some(Way::Published) => ["answers", "published"].into(),
        Some(Way::PublishedAndExceptions) => ["answers", "published", "exceptions"].into(),
        Some(Way::Open) => ["answers", "published", "exceptions", "all"].into(),
    };
    // The host answers whoever may send to it.
    if to_host {
        passes.remove("answers");
    }
    passes
}

type Changed = BTreeSet<(Who, Who, IpFamily, Option<Way>, Option<Way>)>;

/// Every pair of every two, one by one.
fn by_force(old: &Topology, new: &Topology, meaning: &Meaning) -> Changed {
    let mut renamed = BTreeMap::new();
    let mut gone = BTreeSet::new();
    for party in meaning.parties.iter().filter(|party| party.fate == Fate::Renamed) {
        let before = party.other.clone().expect("an old name");
        let pairs = match party.kind {
            "nic" => vec![
                (Who::Nic(party.name.clone()), Who::Nic(before.clone())),
                (Who::Host(party.name.clone()), Who::Host(before.clone())),
            ],
            _ => vec![(Who::Network(party.name.clone()), Who::Network(before.clone()))],
        };
        for (now, before) in pairs {
            gone.insert(before.clone());
            renamed.insert(now, before);
        }
    }
    let (old_intent, new_intent) = (Intent::new(old), Intent::new(new));
    let nobody = BTreeMap::new();
    let all: BTreeSet<Who> = everyone(old).difference(&gone).cloned().chain(everyone(new)).collect();
    let mut changed = Changed::new();
    for from in &all {
        for to in &all {
            let own_nic = match (from, to) {
                (Who::Nic(a), Who::Nic(b) | Who::Host(b)) => a == b,
                _ => false,
            };
            let sides = [(old, &old_intent, &renamed), (new, &new_intent, &nobody)];
            let sides = sides.map(|(topology, intent, renamed)| {
                Some((find(topology, from, renamed)?, find(topology, to, renamed)?, intent))
            });
            if own_nic && sides.iter().any(Option::is_none) {
                continue;
            }
            for family in IpFamily::BOTH {
                let [before, after] = sides.map(|side| {
                    let (from, to, intent) = side?;
                    match (from, to) {
                        // One network with itself is always open; members of one wildcard are not.
                        (Party::Network(a), Party::Network(b)) if a == b => {
                            let way = match intent.network_reach[a].networks.contains(&a) {
                                true => Way::Open,
                                false => Way::Blocked,
                            };
                            intent.speaks(from, family).then_some(way)
                        }
                        _ => intent.way(from, to, family),
                    }
                });
                let to_host = matches!(to, Who::Host(_));
                if passes(before, to_host) != passes(after, to_host) {
                    changed.insert((from.clone(), to.clone(), family, before, after));
                }
            }
        }
    }
    changed
}

/// What the program tells, one by one.
fn told(meaning: &Meaning) -> Changed {
    let who = |label: &str| match label.strip_prefix("host on ") {
        Some(nic) => Who::Host(nic.to_owned()),
        None => match label.split_once(" (") {
            Some((name, "flat)")) => Who::Flat(name.to_owned()),
            Some((name, _)) => Who::Nic(name.to_owned()),
            None => Who::Network(label.to_owned()),
        },
    };
    let mut told = Changed::new();
    for change in &meaning.ways {
        for from in &change.from {
            for to in change.to.iter().filter(|to| !is_subnet(to)) {
                let to = if to == EACH_OTHER { from } else { to };
                for (family, step) in change.steps() {
                    let is_new = told.insert((who(from), who(to), family, step.old, step.new));
                    assert!(is_new, "{from} -> {to} is told twice");
                }
            }
        }
    }
    told
}

/// Addresses that another entry has now, which `loosened` asks for: what they gain nobody loses on the way back.
fn is_subnet(to: &str) -> bool {
    to.contains('/')
}

fn meaning(old: &Topology, new: &Topology) -> Meaning {
    Meaning::new(&Intent::new(old), &Intent::new(new))
}

#[test]
fn every_pair_that_changes_is_told_and_no_other() {
    law_with(400, 200, (draw::topology(), draw::topology()), |(old, new)| {
        let (old, new) = (parse(&old.text()), parse(&new.text()));
        let meaning = meaning(&old, &new);
        prop_assert_eq!(told(&meaning), by_force(&old, &new, &meaning));
        Ok(())
    });
}

/// Most drawn files have nothing in common; here an entry comes or goes.
#[test]
fn every_pair_that_one_entry_changes_is_told() {
    law_with(400, 200, (draw::topology(), any::<prop::sample::Index>()), |(drawn, index)| {
        let mut fewer = drawn.clone();
        fewer.entries.remove(index.index(drawn.entries.len()));
        let old = parse(&drawn.text());
        // Without that entry others may refer to nothing.
        let Ok(new) = topology::parse("topology.toml", fewer.text().as_bytes()) else { return Ok(()) };
        for (old, new) in [(&old, &new), (&new, &old)] {
            let meaning = meaning(old, new);
            prop_assert_eq!(told(&meaning), by_force(old, new, &meaning));
        }
        Ok(())
    });
}

#[test]
fn a_file_differs_in_nothing_from_itself() {
    law_with(200, 200, (draw::topology(), prop::collection::vec(any::<u32>(), 0..20)), |(drawn, keys)| {
        let (old, new) = (parse(&drawn.text()), parse(&drawn.shuffled(&keys).text()));
        let comparison = isoplan::meaning::Comparison::new(&Intent::new(&old), &Intent::new(&new));
        prop_assert!(comparison.is_empty(), "{:?}", comparison);
        Ok(())
    });
}

/// What opens in one direction closes in the other.
#[test]
fn swapping_the_files_swaps_gains_and_losses() {
    law_with(300, 200, (draw::topology(), draw::topology()), |(old, new)| {
        let (old, new) = (parse(&old.text()), parse(&new.text()));
        let (there, back) = (meaning(&old, &new), meaning(&new, &old));
        // A renamed party is called by its name in the new file.
        if there.parties.iter().any(|party| party.fate == Fate::Renamed) {
            return Ok(());
        }
        let swapped: Changed = told(&back)
            .into_iter()
            .map(|(from, to, family, before, after)| (from, to, family, after, before))
            .collect();
        prop_assert_eq!(told(&there), swapped);
        let pairs = |meaning: &Meaning, opens: bool| {
            let ways = meaning.ways.iter().filter(|way| if opens { way.opens() } else { way.closes() });
            let receivers = |to: &[String]| to.iter().filter(|to| !is_subnet(to)).count();
            ways.map(|way| way.from.len() * receivers(&way.to)).sum::<usize>()
        };
        prop_assert_eq!(pairs(&there, true), pairs(&back, false));
        prop_assert_eq!(pairs(&there, false), pairs(&back, true));
        prop_assert_eq!(there.exceptions.len(), back.exceptions.len());
        prop_assert_eq!(there.facts.len(), back.facts.len());
        Ok(())
    });
}

const OLD: &str = "[[bridge]]\nname = \"docker0\"\nsubnets = [\"172.17.0.0/16\"]\n\
    [[nic]]\nname = \"eth0\"\nrole = \"service\"\nsubnets = [\"192.168.56.0/24\"]\n\
    [[nic]]\nname = \"eth1\"\nrole = \"storage\"\nsubnets = [\"192.168.57.0/24\"]\n";

/// Runs `isoplan diff` on OLD and what it was edited to.
#[track_caller]
fn diff(edit: impl Fn(&str) -> String, args: &[&str]) -> crate::lab::program::Ran {
    let isoplan = Program::new(ISOPLAN).expect("make a directory");
    isoplan.write("old.toml", OLD).expect("write a file");
    let new = edit(OLD);
    assert_ne!(new, OLD, "an edit that does nothing");
    isoplan.write("new.toml", &new).expect("write a file");
    isoplan.run(&[&["diff", "old.toml", "new.toml"], args].concat())
}

#[test]
fn what_opens_stands_first_and_is_marked() {
    let edit = |old: &str| {
        old.replace("[\"172.17.0.0/16\"]", "[\"172.17.0.0/16\"]\nreach = [\"storage\"]\ninbound = \"none\"")
    };
    let text = diff(edit, &[]).ok();
    assert!(
        text.starts_with("new.toml OPENS ways of 4 pairs and closes ways of 4 pairs.\n\nOpens:\n"),
        "{text}"
    );
    assert!(text.contains("+ docker0 -> eth1 (storage), host on eth1"), "{text}");
    let (opens, rest) = text.split_once("\nCloses:\n").expect("what closes");
    assert!(opens.contains("blocked -> open") && !opens.contains("eth0"), "{text}");
    assert!(opens.contains("+ eth1 (storage) -> each other"), "{text}");
    assert!(rest.contains("- docker0 -> eth0 (service), host on eth0"), "{text}");
    assert!(rest.contains("~ nic eth1: guarded for everyone -> for nobody"), "{text}");
    assert!(rest.contains("The rules that do it:"), "{text}");
    assert_eq!(diff(edit, &["--detailed-exitcode"]).code, Some(2));
}

#[test]
fn one_stdin_is_not_two_files() {
    let isoplan = Program::new(ISOPLAN).expect("make a directory");
    let ran = isoplan.run(&["diff", "-", "-"]);
    assert_eq!(ran.code, Some(64), "{}", ran.stderr);
    assert!(ran.stderr.contains("only one of the two files can be read from stdin"), "{}", ran.stderr);
}

#[test]
fn what_has_another_name_is_the_same() {
    let text = diff(|old| old.replace("docker0", "docker1").replace("eth1", "ens1"), &[]).ok();
    // Rules go by name: who is still called so on the host is in none of them.
    let first = "new.toml neither opens nor closes a way between two. GIVES UP 2 links.\n\nGives up:\n- docker0: no rule";
    assert!(text.starts_with(first), "{text}");
    assert!(text.contains("~ bridge docker1 was called docker0"), "{text}");
    assert!(text.contains("~ nic ens1 (storage, guarded for everyone) was called eth1"), "{text}");
}

/// Another role changes nothing but what is said of the rules.
#[test]
fn comments_that_change_are_counted() {
    let rename = |text: &str| text.replace("\"storage\"", "\"disks\"");
    let few = diff(rename, &[]).ok();
    let (_, number) = few.split_once("\n").expect("lines");
    assert!(number.contains(" rules change their comment only (--all lists them)\n"), "{few}");
    assert!(!few.contains("comment \""), "{few}");
    let all = diff(rename, &["--all"]).ok();
    assert!(!all.contains("change their comment only"), "{all}");
    let listed = all.matches("becomes\n").count();
    assert!(few.contains(&format!("{listed} rules change their comment only")), "{few}{all}");
}

#[test]
fn exceptions_masquerade_and_approach_are_told() {
    let allow = "[[allow]]\nfrom = \"docker0\"\nto = \"192.168.57.9\"\nprotocol = \"tcp\"\nports = [2049]\n";
    let text = diff(|old| format!("{old}{allow}[isolation]\nmasquerade = false\n"), &[]).ok();
    assert!(text.contains("+ docker0 -> eth1 (storage), host on eth1  IPv4 blocked -> exceptions"), "{text}");
    assert!(text.contains("Exceptions:\n+ docker0 -> 192.168.57.9/32 (eth1), tcp 2049\n"), "{text}");
    assert!(text.contains("~ isolation: masquerade true -> false"), "{text}");
    let text = diff(|old| format!("{old}[isolation]\napproach = \"sysctl\"\n"), &[]).ok();
    assert!(text.contains("~ isolation: approach nftables -> sysctl"), "{text}");
    assert!(text.contains("The sysctl approach does not deliver it"), "{text}");
}

#[test]
fn its_json_is_described() {
    let wild = |old: &str| {
        format!("{old}[[bridge]]\nname = \"br-*\"\nsubnets = [\"10.1.0.0/16\"]\nreach = [\"storage\"]\n")
            .replace("docker0", "br-web")
    };
    let first = diff(wild, &["--json"]).json();
    let edit = |old: &str| {
        let allow = "[[allow]]\nfrom = \"docker0\"\nto = \"192.168.57.9\"\nprotocol = \"tcp\"\nports = [1]\n";
        format!("{old}{allow}[isolation]\nmasquerade = false\n")
            .replace("172.17.0.0/16\"", "172.17.0.0/16\", \"fd17::/64\"")
            .replace("57.0/24\"", "57.0/24\", \"fd57::/64\"")
            .replace("\"docker0\"\nsubnets", "\"docker0\"\nreach = [\"service\", \"storage\"]\nsubnets")
    };
    let second = diff(edit, &["--json"]).json();
    check_json("isoplan diff --json", "diff", &[first, second], &["isoplan plan --json"]);
}

#[test]
fn ten_thousand_bridges_are_compared_in_a_second() {
    let mut text = OLD.to_owned();
    for number in 0..10_000 {
        let (high, low) = (number / 256, number % 256);
        writeln!(text, "[[bridge]]\nname = \"br-{number:05}\"\nsubnets = [\"10.{high}.{low}.0/24\"]")
            .expect("write to a string");
    }
    let old = parse(&text);
    let reach = |line: &str| {
        if line.starts_with("subnets = [\"10.") {
            format!("{line}\nreach = [\"storage\", \"docker0\"]\n")
        } else {
            format!("{line}\n")
        }
    };
    let new = parse(&text.lines().map(reach).collect::<String>());
    let started = Instant::now();
    let meaning = meaning(&old, &new);
    let took = started.elapsed();
    eprintln!("{} groups in {} ms", meaning.ways.len(), took.as_millis());
    assert!(meaning.ways.len() < 12, "{} groups", meaning.ways.len());
    let pairs: usize = meaning.ways.iter().map(isoplan::meaning::WayChange::pairs).sum();
    // To and from storage, service and docker0, to the host on both, and storage to itself.
    assert_eq!(pairs, 80_001);
    // A hundred million pairs take minutes.
    assert!(took.as_secs() < 10, "{took:?}");
}
