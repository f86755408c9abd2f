//! What changes between two topologies: for people, and as JSON.

use std::fmt::Write as _;

use schemars::JsonSchema;
use serde::Serialize;

use super::plan::{Style, changes};
use super::wrap::push_wrapped;
use crate::diff::{Action, Diff};
use crate::intent::Way;
use crate::meaning::exception;
use crate::meaning::{Comparison, Exception, Fate, PartyChange, Step, WayChange};
use crate::plan::{ChangeJson, Summary, changes_json};
use crate::topology::{ApproachName, Topology};

/// How many lines of one kind are shown, and how many names in one of them.
const LINES: usize = 40;
const NAMES: usize = 3;

/// What a `-` stands for.
const ABSENT: &str = "not in the file";

/// The whole answer of `isoplan diff`.
pub fn text(comparison: &Comparison, old: &Topology, new: &Topology, style: Style) -> String {
    let Comparison { meaning, rules, loosened, .. } = comparison;
    if comparison.is_empty() {
        return format!("{} and {} mean the same, and have the same rules.\n", old.file, new.file);
    }
    let mut text = format!("{}\n", headline(comparison, new));
    let opening = meaning.ways.iter().filter(|way| way.opens());
    push_ways(&mut text, "Opens", '+', opening, style);
    let closing = meaning.ways.iter().filter(|way| way.closes() && !way.opens());
    push_ways(&mut text, "Closes", '-', closing, style);
    let links = loosened.links.iter().map(|link| (Action::Delete, format!("{link}: {GIVEN_UP}")));
    let subnets =
        loosened.subnets.iter().map(|net| (Action::Delete, format!("{net}: {GIVEN_UP}, or not all of it")));
    let given_up = links.chain(subnets);
    push_lines(&mut text, "Gives up", given_up.collect(), style);
    let exceptions = meaning.exceptions.iter().map(|exception| (exception.action, exception_line(exception)));
    let mut exceptions: Vec<_> = exceptions.collect();
    // One that is written as before lets more through where its sender has more addresses.
    for allow in widened(comparison, new) {
        exceptions.push((Action::Change, format!("{} lets more through", exception_line(&allow))));
    }
    push_lines(&mut text, "Exceptions", exceptions, style);
    let mut others: Vec<(Action, String)> = meaning.parties.iter().map(party_line).collect();
    others.extend(meaning.facts.iter().map(|fact| {
        let text = match fact.what {
            "subnets" => format!("{}: subnets{}{}", fact.of, sign('-', &fact.old), sign('+', &fact.new)),
            what => format!("{}: {what} {} -> {}", fact.of, fact.old, fact.new),
        };
        (Action::Change, text)
    }));
    push_lines(&mut text, "Also", others, style);
    if !meaning.left_out.is_empty() {
        text.push('\n');
        push_wrapped(&mut text, &not_compared(&meaning.left_out), style.width, 0);
    }
    if [old, new].iter().any(|topology| topology.isolation.approach == ApproachName::Sysctl) {
        text.push('\n');
        let remark = "This is what the files ask for. The sysctl approach does not deliver it: packets still \
                      arrive where it says blocked.";
        push_wrapped(&mut text, remark, style.width, 0);
    }
    if rules.changes.is_empty() {
        text.push_str("\nThe rules stay as they are.\n");
    } else {
        text.push_str("\nThe rules that do it:\n\n");
        text.push_str(&changes(new, rules, style));
    }
    text
}

/// ` -10.0.0.0/8`, nothing where there is nothing.
fn sign(sign: char, nets: &str) -> String {
    if nets == "-" {
        return String::new();
    }
    nets.split(", ").fold(String::new(), |mut text, net| {
        let _ = write!(text, " {sign}{net}");
        text
    })
}

/// What is said of a link that is given up.
pub(super) const GIVEN_UP: &str = "no rule names it any more";

/// What is said of wildcards whose networks were not compared.
pub(super) fn not_compared(wildcards: &[String]) -> String {
    format!(
        "Not compared: ways among the networks of {}, because one of the files has too many entries for it.",
        wildcards.join(", ")
    )
}

fn headline(comparison: &Comparison, new: &Topology) -> String {
    let (opens, closes) = (comparison.opens(), comparison.closes());
    let given_up =
        comparison.loosened.counted().map_or_else(String::new, |what| format!(" GIVES UP {what}."));
    let pairs = |number: usize| format!("{number} pair{}", if number == 1 { "" } else { "s" });
    let ways = match (opens, closes) {
        // Whatever the files ask for, packets pass.
        (0, _) if comparison.loosened.rules => format!("{} TAKES EVERY RULE AWAY.", new.file),
        (opens, _) if comparison.loosened.rules => {
            format!("{} TAKES EVERY RULE AWAY and OPENS ways of {}.", new.file, pairs(opens))
        }
        (0, 0) => format!("{} neither opens nor closes a way between two.", new.file),
        (0, closes) => format!("{} opens nothing and closes ways of {}.", new.file, pairs(closes)),
        (opens, 0) => format!("{} OPENS ways of {} and closes nothing.", new.file, pairs(opens)),
        (opens, closes) => {
            format!("{} OPENS ways of {} and closes ways of {}.", new.file, pairs(opens), pairs(closes))
        }
    };
    ways + &given_up
}

fn word(way: Option<Way>) -> &'static str {
    way.map_or(ABSENT, Way::as_str)
}

fn step(step: Step) -> String {
    format!("{} -> {}", word(step.old), word(step.new))
}

/// `blocked -> open`, or one for each family where they differ.
fn steps(way: &WayChange) -> String {
    match (way.ipv4, way.ipv6) {
        (Some(v4), Some(v6)) if v4 == v6 => step(v4),
        _ => {
            let families = way.steps().map(|(family, changed)| format!("{family} {}", step(changed)));
            families.collect::<Vec<_>>().join(", ")
        }
    }
}

fn names(names: &[String], all: bool) -> String {
    let shown = if all || names.len() <= NAMES { names.len() } else { NAMES - 1 };
    let text = names[..shown].join(", ");
    if shown == names.len() { text } else { format!("{text} and {} more", names.len() - shown) }
}

fn push_ways<'m>(
    text: &mut String,
    heading: &str,
    sign: char,
    ways: impl Iterator<Item = &'m WayChange>,
    style: Style,
) {
    let pair = |way: &WayChange| format!("{} -> {}", names(&way.from, style.all), names(&way.to, style.all));
    let lines: Vec<_> = ways.map(|way| (pair(way), steps(way))).collect();
    if lines.is_empty() {
        return;
    }
    let _ = writeln!(text, "\n{heading}:");
    let shown = if style.all { lines.len() } else { lines.len().min(LINES) };
    // Beside each other as far as that leaves room for both.
    let column =
        lines[..shown].iter().map(|(pair, _)| pair.chars().count()).filter(|width| *width < 48).max();
    let column = column.unwrap_or_default();
    let (on, off) = match (style.color, sign) {
        (false, _) => ("", ""),
        (true, '+') => ("\u{1b}[32m", "\u{1b}[0m"),
        (true, _) => ("\u{1b}[31m", "\u{1b}[0m"),
    };
    for (pair, steps) in &lines[..shown] {
        if pair.chars().count() <= column {
            let _ = writeln!(text, "{on}{sign}{off} {pair:column$}  {steps}");
        } else {
            let _ = writeln!(text, "{on}{sign}{off} {pair}\n      {steps}");
        }
    }
    if shown < lines.len() {
        let _ = writeln!(text, "  and {} more (--all lists them)", lines.len() - shown);
    }
}

fn push_lines(text: &mut String, heading: &str, lines: Vec<(Action, String)>, style: Style) {
    if lines.is_empty() {
        return;
    }
    let _ = writeln!(text, "\n{heading}:");
    let shown = if style.all { lines.len() } else { lines.len().min(LINES) };
    for (action, line) in &lines[..shown] {
        let _ = writeln!(text, "{} {line}", action.sign());
    }
    if shown < lines.len() {
        let _ = writeln!(text, "  and {} more (--all lists them)", lines.len() - shown);
    }
}

/// Exceptions that both files have and that let more through than before.
fn widened(comparison: &Comparison, new: &Topology) -> Vec<Exception> {
    let come = &comparison.meaning.exceptions;
    let allows = comparison.loosened.allows(new).into_iter();
    allows.map(|allow| exception(allow, Action::Create)).filter(|allow| !come.contains(allow)).collect()
}

fn exception_line(exception: &Exception) -> String {
    let Exception { from, to, address, service, .. } = exception;
    format!("{from} -> {address} ({to}), {service}")
}

fn party_line(party: &PartyChange) -> (Action, String) {
    let PartyChange { fate, kind, name, other, detail } = party;
    let detail = if detail.is_empty() { String::new() } else { format!(" ({detail})") };
    let other = other.as_deref().unwrap_or_default();
    match fate {
        Fate::New => (Action::Create, format!("{kind} {name}{detail}")),
        Fate::Removed => (Action::Delete, format!("{kind} {name}{detail}")),
        Fate::Renamed => (Action::Change, format!("{kind} {name}{detail} was called {other}")),
        Fate::Joined => {
            (Action::Delete, format!("{kind} {name} has no entry of its own: {other} stands for it"))
        }
        Fate::Split => {
            (Action::Create, format!("{kind} {name} has an entry of its own: {other} stood for it"))
        }
    }
}

/// The answer as JSON: `docs/json.md`.
#[derive(Debug, Serialize, JsonSchema)]
pub struct DiffJson<'d> {
    /// [`crate::plan::JSON_VERSION`].
    version: u32,
    /// `diff`.
    kind: &'static str,
    /// The old file, as it was named.
    old: &'d str,
    /// The new file, as it was named.
    new: &'d str,
    /// Whether anything does, in meaning or in rules.
    differs: bool,
    /// For how many pairs something passes that did not: a way opens, or an exception lets more through.
    opens: usize,
    /// For how many pairs something passes no more.
    closes: usize,
    /// Links, and wildcards with their `*`, and addresses that rules named and that no rule names any more, or not all
    /// of them.
    gives_up: Vec<&'d str>,
    /// Groups of pairs that gain or lose the same, those that open first.
    ways: Vec<WayJson<'d>>,
    /// Wildcards of one file for which the other has so many entries that ways among those were not all compared.
    not_compared: &'d [String],
    /// `[[allow]]` entries that come, go, or let more through.
    exceptions: Vec<ExceptionJson>,
    /// Networks, flats and NICs that come, go, or have another name.
    parties: Vec<PartyJson<'d>>,
    /// What else is otherwise.
    facts: Vec<FactJson<'d>>,
    /// How many objects change from the rules and sysctls of the old file to those of the new one.
    summary: Summary,
    /// One by one; `line` is of the new file.
    changes: Vec<ChangeJson<'d>>,
}

#[derive(Debug, Serialize, JsonSchema)]
struct WayJson<'d> {
    /// Whether something passes that did not.
    opens: bool,
    /// Whether something passes no more; both can be.
    closes: bool,
    /// Senders: networks, `NAME (flat)`, `NIC (role)`.
    from: &'d [String],
    /// Receivers: the same, `host on NIC`, `each other`, or a subnet that another entry has now, with `host on` for
    /// this host's own address in it. It stands for every
    /// pair of a sender with a receiver.
    to: &'d [String],
    /// What changes in IPv4; absent where nothing does.
    #[serde(skip_serializing_if = "Option::is_none")]
    ipv4: Option<StepJson>,
    /// The same for IPv6.
    #[serde(skip_serializing_if = "Option::is_none")]
    ipv6: Option<StepJson>,
}

#[derive(Debug, Serialize, JsonSchema)]
struct StepJson {
    /// The way before, in the words of the matrix; null where the old file does not have one of the two, or not in that family.
    old: Option<&'static str>,
    /// The way after.
    new: Option<&'static str>,
}

#[derive(Debug, Serialize, JsonSchema)]
struct ExceptionJson {
    /// Whether it comes, goes, or (`change`) is written as before and lets more through.
    #[schemars(extend("enum" = ["create", "change", "delete"]))]
    action: &'static str,
    /// Who sends.
    from: String,
    /// The network or NIC that the address is behind.
    to: String,
    /// To which address or network.
    address: String,
    /// Protocol and ports: `tcp 2049`.
    service: String,
}

#[derive(Debug, Serialize, JsonSchema)]
struct PartyJson<'d> {
    /// What becomes of it.
    fate: &'static str,
    /// What it is: `bridge`, `overlay`, `flat` or `nic`.
    kind: &'static str,
    /// Its name.
    name: &'d str,
    /// Its old name, or the wildcard; absent where its fate has none.
    #[serde(skip_serializing_if = "Option::is_none")]
    other: Option<&'d str>,
    /// For people.
    detail: &'d str,
}

#[derive(Debug, Serialize, JsonSchema)]
struct FactJson<'d> {
    /// Whom it is about: `nic eth1`, or `isolation` for the whole file.
    of: &'d str,
    /// What about it.
    what: &'static str,
    /// How it was.
    old: &'d str,
    /// How it is.
    new: &'d str,
}

/// The answer as JSON.
pub fn json<'d>(comparison: &'d Comparison, old: &'d Topology, new: &'d Topology) -> DiffJson<'d> {
    let Comparison { meaning, rules, loosened, .. } = comparison;
    let step = |step: Step| StepJson { old: step.old.map(Way::as_str), new: step.new.map(Way::as_str) };
    let ways = meaning.ways.iter().map(|way| WayJson {
        opens: way.opens(),
        closes: way.closes(),
        from: &way.from,
        to: &way.to,
        ipv4: way.ipv4.map(step),
        ipv6: way.ipv6.map(step),
    });
    let widened = widened(comparison, new);
    let widened = widened.into_iter().map(|other| Exception { action: Action::Change, ..other });
    let exceptions = meaning.exceptions.iter().cloned().chain(widened).map(|exception| ExceptionJson {
        action: exception.action.as_str(),
        from: exception.from,
        to: exception.to,
        address: exception.address,
        service: exception.service,
    });
    let parties = meaning.parties.iter().map(|party| PartyJson {
        fate: party.fate.as_str(),
        kind: party.kind,
        name: &party.name,
        other: party.other.as_deref(),
        detail: &party.detail,
    });
    let facts = meaning.facts.iter().map(|fact| FactJson {
        of: &fact.of,
        what: fact.what,
        old: &fact.old,
        new: &fact.new,
    });
    DiffJson {
        version: crate::plan::JSON_VERSION,
        kind: "diff",
        old: &old.file,
        new: &new.file,
        differs: !comparison.is_empty(),
        opens: comparison.opens(),
        closes: comparison.closes(),
        gives_up: loosened.given_up().collect(),
        ways: ways.collect(),
        not_compared: &meaning.left_out,
        exceptions: exceptions.collect(),
        parties: parties.collect(),
        facts: facts.collect(),
        summary: summary(rules),
        changes: changes_json(new, rules),
    }
}

fn summary(rules: &Diff) -> Summary {
    Summary {
        create: rules.count(Action::Create),
        change: rules.count(Action::Change),
        delete: rules.count(Action::Delete),
        objects: rules.objects,
    }
}
