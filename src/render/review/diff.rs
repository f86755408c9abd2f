//! `isoplan diff --markdown`.

use std::collections::BTreeSet;

use super::escape::{code, marker, sentence};
use super::rules::push_rules;
use super::ways::{Words, tables};
use super::{Closes, Page, allow, count, file, items, push_given_up, verdict};
use crate::approach::{SysctlKey, desired};
use crate::diff::{Action, Change, Kind};
use crate::intent::{Intent, Way};
use crate::meaning::{Comparison, Exception, Fate, PartyChange, WayChange};
use crate::render::meaning::not_compared;
use crate::topology::{ApproachName, Topology};

/// What stands for a party that a file does not have.
const WORDS: Words = Words { heads: ["From", "To"], absent: "not in the file" };

/// What changes from one topology to another, as Markdown. With `all`, every pair and every element that fits.
pub fn diff(comparison: &Comparison, old: &Topology, new: &Topology, all: bool) -> String {
    let Comparison { meaning, rules, loosened, .. } = comparison;
    let mut page = Page::new(marker("diff", &[&new.file]), all);
    let name = file(&new.file);
    if comparison.is_empty() {
        page.paragraph(&format!("### {name} changes nothing"));
        page.paragraph(&format!("It means the same as {}, and has the same rules.", file(&old.file)));
        return page.text;
    }
    let (opens, closes) = (comparison.opens(), comparison.closes());
    page.paragraph(&format!("### {name} {}", verdict(opens, Closes::Pairs(closes), loosened)));
    if old.file != new.file && old.file != "<stdin>" {
        page.paragraph(&format!("Compared with {}.", file(&old.file)));
    }
    tables(&mut page, &meaning.ways, &WORDS);
    push_given_up(&mut page, loosened, 18_000);

    let (come, gone): (Vec<_>, Vec<_>) =
        meaning.exceptions.iter().partition(|exception| exception.action == Action::Create);
    let mut lines: Vec<_> = come.iter().map(|exception| exception_line(exception, new)).collect();
    // One that is written as before lets more through where its sender has more addresses.
    lines.extend(loosened.allows(new).into_iter().map(allow));
    let mut told = BTreeSet::new();
    lines.retain(|line| told.insert(line.clone()));
    page.lines("**New exceptions**, which let through what would be dropped\n", &lines, 14_000);
    let lines: Vec<_> = gone.iter().map(|exception| exception_line(exception, old)).collect();
    page.lines("Exceptions that go\n", &lines, 12_000);
    let mut also: Vec<String> = meaning.parties.iter().map(party_line).collect();
    also.extend(meaning.facts.iter().map(|fact| {
        let of = code(&fact.of);
        match fact.what {
            "subnets" => format!("- {of}: subnets{}{}", nets('-', &fact.old), nets('+', &fact.new)),
            what => format!("- {of}: {what} {} → {}", code(&fact.old), code(&fact.new)),
        }
    }));
    page.lines("Also\n", &also, 9_000);
    page.lines("To know\n", &to_know(comparison, old, new, closes), 6_000);
    let not_covered = desired(&Intent::new(new)).not_covered;
    page.fold("What no rule of this closes", &items(not_covered), 3_000);
    if rules.changes.is_empty() {
        page.paragraph("The rules stay as they are.");
    } else {
        push_rules(&mut page, new, rules);
    }
    page.text
}

fn exception_line(exception: &Exception, topology: &Topology) -> String {
    let Exception { from, to, address, service, .. } = exception;
    let is_it = |allow: &&crate::topology::Allow| {
        allow.from.to_string() == *from
            && allow.to_name.to_string() == *to
            && allow.to.to_string() == *address
            && crate::meaning::service(allow) == *service
    };
    let reason = topology.allows.iter().find(is_it).and_then(|allow| allow.reason.as_deref());
    super::exception([from, address, to, service], reason)
}

fn party_line(party: &PartyChange) -> String {
    let PartyChange { fate, kind, name, other, detail } = party;
    let name = code(&format!("{kind} {name}"));
    let detail = if detail.is_empty() { String::new() } else { format!(" ({})", sentence(detail)) };
    let other = code(other.as_deref().unwrap_or_default());
    match fate {
        Fate::New => format!("- new: {name}{detail}"),
        Fate::Removed => format!("- gone: {name}{detail}"),
        Fate::Renamed => format!("- {name}{detail} was called {other}"),
        Fate::Joined => format!("- {name} has no entry of its own any more: {other} stands for it"),
        Fate::Split => format!("- {name} has an entry of its own now: {other} stood for it"),
    }
}

/// ` -10.0.0.0/8`, nothing where there is nothing.
fn nets(sign: char, nets: &str) -> String {
    if nets == "-" {
        return String::new();
    }
    format!(" {}", code(&nets.split(", ").map(|net| format!("{sign}{net}")).collect::<Vec<_>>().join(" ")))
}

/// What a reader could take otherwise, or would not see in the tables.
fn to_know(comparison: &Comparison, old: &Topology, new: &Topology, closes: usize) -> Vec<String> {
    let Comparison { meaning, rules, .. } = comparison;
    let mut told = Vec::new();
    if !meaning.left_out.is_empty() {
        told.push(format!("- **{}**", sentence(&not_compared(&meaning.left_out))));
    }
    if [old, new].iter().any(|topology| topology.isolation.approach == ApproachName::Sysctl) {
        told.push(
            "- **The sysctl approach does not deliver this**: packets still arrive where it says blocked."
                .to_owned(),
        );
    }
    let opening = || meaning.ways.iter().filter(|way| way.opens());
    let patterns: BTreeSet<&String> =
        opening().flat_map(|way| way.from.iter().chain(&way.to)).filter(|name| name.ends_with('*')).collect();
    for pattern in patterns.iter().take(super::LINES) {
        told.push(format!(
            "- {} is every bridge whose name starts so: what opens for it opens for those that are made later as well.",
            code(pattern)
        ));
    }
    for fact in &meaning.facts {
        if fact.what == "guarded" && fact.new == "for nobody" {
            told.push(format!(
                "- {} is guarded from nobody any more, so that links which are not in the file may use it too.",
                code(&fact.of)
            ));
        }
    }
    let new_ways = || opening().flat_map(WayChange::steps).filter_map(|(_, step)| step.new);
    if new_ways().any(|way| matches!(way, Way::Published | Way::PublishedAndExceptions)) {
        told.push(
            "- published: what a DNAT rule sends there, such as that of a published port, and answers. Which ports, \
             the container engine decides."
                .to_owned(),
        );
    }
    if new_ways().any(|way| matches!(way, Way::Answers | Way::AnswersAndExceptions)) {
        told.push("- answers: only within connections that the other side opened.".to_owned());
    }
    told.extend(switches(&rules.changes));
    let ipv6 =
        |change: &Change| &*change.name == SysctlKey::IPV6_FORWARD && change.new.as_deref() == Some("1");
    if rules.changes.iter().any(ipv6) {
        told.push(
            "- With IPv6 forwarding on, the kernel ignores router advertisements where `accept_ra` is 1: a NIC that \
             has its address or route from them needs 2 first."
                .to_owned(),
        );
    }
    if closes > 0 {
        told.push(format!(
            "- Connections that are open now end with the apply where a way closes ({}). This compares two files and \
             sees none; `isoplan plan` on the host counts them.",
            count(closes, "pair")
        ));
    }
    told
}

/// Forwarding that is switched on.
pub(super) fn switches(changes: &[Change]) -> Vec<String> {
    let is_switch = |change: &&Change| {
        let is_one = [SysctlKey::IP_FORWARD, SysctlKey::IPV6_FORWARD].contains(&&*change.name);
        change.kind == Kind::Sysctl && is_one && change.new.as_deref() == Some("1")
    };
    let switches = changes.iter().filter(is_switch);
    switches
        .map(|change| format!("- {} is switched on, for every link of the host.", code(&change.name)))
        .collect()
}
