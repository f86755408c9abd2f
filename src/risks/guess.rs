//! Who probably made a host differ from its topology. A guess, told as one, with what it stands on.

use schemars::JsonSchema;
use serde::Serialize;

use super::Facts;
use crate::approach::SysctlKey;
use crate::diff::{Action, Kind, LiveState};
use crate::plan::Plan;

/// A guess at who did it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Guess {
    /// `flush`, `removed`, `rolled-back`, `cut-short`, `docker`, `forwarding-reset`, `chain-emptied`, `by-hand`,
    /// `file-changed` or `never-applied`.
    pub who: &'static str,
    /// The guess, in a sentence that says "probably".
    pub says: String,
    /// What it stands on.
    pub evidence: String,
}

/// What is on record of isoplan's last change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LastChange {
    /// `apply` or `remove`.
    pub verb: &'static str,
    /// The topology, as it was named; empty for a removal.
    pub topology: String,
    /// How it ended.
    pub end: LastEnd,
}

/// How a change ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LastEnd {
    /// It was done.
    Done,
    /// It was cut short, or is under way.
    Begun,
    /// It was undone by `isoplan rollback`.
    Undone,
    /// It was undone because nobody confirmed it in time.
    Overdue,
}

/// Guesses at why the plan has anything to do.
pub fn guesses(plan: &Plan<'_>, live: &LiveState, facts: &Facts, last: Option<&LastChange>) -> Vec<Guess> {
    let mut guesses = Vec::new();
    if plan.diff.is_empty() {
        return guesses;
    }
    if live.ruleset.is_empty() && !plan.desired.ruleset.is_empty() {
        guesses.push(gone(live, facts, last));
    } else {
        guesses.extend(edited(plan, live, last));
    }
    guesses.extend(forwarding(plan, live, facts));
    guesses
}

/// All tables of isoplan are gone.
fn gone(live: &LiveState, facts: &Facts, last: Option<&LastChange>) -> Guess {
    if let Some(guess) = last.and_then(own_doing) {
        return guess;
    }
    let traces = match (last, live.journal.first()) {
        (Some(last), _) => format!("the last change on record is an apply of {}", last.topology),
        (None, Some(entry)) => format!("isoplan's journal has {}", entry.key),
        (None, None) => {
            let evidence =
                "there is no table of isoplan, and no trace of an apply since the host was started";
            return guess(
                "never-applied",
                "Probably it was never applied since this host was started.",
                evidence,
            );
        }
    };
    if facts.tables.is_empty() {
        let who = match &facts.services.flushes_at_boot {
            Some(file) => format!("`nft flush ruleset`, for example by nftables.service, which loads {file}"),
            None => "`nft flush ruleset`".to_owned(),
        };
        return guess(
            "flush",
            &format!("Probably somebody ran {who}."),
            &format!("{traces}, and no table of anybody is left"),
        );
    }
    let engines = facts.engines();
    if engines.is_empty() && facts.services.flushes_at_boot.is_none() && facts.services.would_flush.is_none()
    {
        let says = "Probably somebody deleted isoplan's tables, or flushed the rule set and loaded another.";
        return guess("removed", says, &format!("{traces}; there are {} other tables", facts.tables.len()));
    }
    let others = if engines.is_empty() {
        "other tables".to_owned()
    } else {
        format!("tables of {}", engines.join(", "))
    };
    let by = match (&facts.services.flushes_at_boot, &facts.services.would_flush) {
        (Some(file), _) => format!("nftables.service was started or reloaded ({file} has `flush ruleset`)"),
        (None, Some(file)) => format!("somebody loaded {file}, which has `flush ruleset`"),
        (None, None) => "somebody flushed the rule set".to_owned(),
    };
    let says = format!("Probably {by}, and others made their tables again since.");
    guess("flush", &says, &format!("{traces}; there are {others} and none of isoplan"))
}

/// The tables are there, and something in them differs.
fn edited(plan: &Plan<'_>, live: &LiveState, last: Option<&LastChange>) -> Option<Guess> {
    let in_tables: Vec<_> = plan.diff.changes.iter().filter(|change| change.kind != Kind::Sysctl).collect();
    if in_tables.is_empty() {
        return None;
    }
    if let Some(guess) = last.and_then(own_doing) {
        return Some(guess);
    }
    if let Some(last) = last
        && file_name(&last.topology) != file_name(&plan.topology.file)
    {
        let evidence = format!("the last change on record is an apply of {}", last.topology);
        let says = format!("Probably it differs because {} was applied, and not this file.", last.topology);
        return Some(guess("file-changed", &says, &evidence));
    }
    // A chain that lost every rule.
    let desired = plan
        .desired
        .ruleset
        .values()
        .flat_map(|table| table.chains.values().map(move |chain| (table.family, chain)));
    let emptied = desired.filter(|(family, chain)| {
        let now = live.ruleset.get(family).and_then(|table| table.chains.get(&chain.name));
        chain.rules.len() > 1 && now.is_some_and(|now| now.rules.is_empty())
    });
    let emptied: Vec<_> = emptied.map(|(family, chain)| format!("{family} isoplan {}", chain.name)).collect();
    if !emptied.is_empty() {
        let evidence = "the chain is there, and has no rules";
        let says = format!("Probably somebody ran `nft flush chain {}`.", emptied[0]);
        return Some(guess("chain-emptied", &says, evidence));
    }
    let count = |kind, action| {
        in_tables.iter().filter(|change| (change.kind, change.action) == (kind, action)).count()
    };
    let mut parts = Vec::new();
    for (kind, one, many) in [
        (Kind::Rule, "rule", "rules"),
        (Kind::Element, "element", "elements"),
        (Kind::Set, "set", "sets"),
        (Kind::Chain, "chain", "chains"),
    ] {
        for (action, word) in
            [(Action::Create, "missing"), (Action::Delete, "foreign"), (Action::Change, "different")]
        {
            match count(kind, action) {
                0 => {}
                1 => parts.push(format!("1 {one} {word}")),
                more => parts.push(format!("{more} {many} {word}")),
            }
        }
    }
    if parts.is_empty() {
        parts.push("the table itself is different".to_owned());
    }
    // Most of it is as it should be: nobody replaced it.
    if in_tables.len() * 2 > plan.diff.objects {
        let says =
            "Probably another topology, or another version of isoplan, was applied, or the file was changed.";
        return Some(guess("file-changed", says, &parts.join(", ")));
    }
    let says = "Probably somebody changed it by hand with nft, or the file was changed and not applied.";
    Some(guess("by-hand", says, &format!("{} of {} objects", parts.join(", "), plan.diff.objects)))
}

/// Sysctls that are not as isoplan wrote them.
fn forwarding(plan: &Plan<'_>, live: &LiveState, facts: &Facts) -> Option<Guess> {
    let written: Vec<&str> = plan.diff.sysctls.iter().map(|write| write.key.0.as_str()).collect();
    if written.is_empty() {
        return None;
    }
    let interface = plan.diff.sysctls.iter().find(|write| write.key.switch().is_some());
    let docker = facts.engines().contains(&"Docker");
    if let Some(write) = interface {
        let switch = write.key.switch().unwrap_or_default();
        let mine = live.journal.iter().any(|entry| entry.key == write.key);
        if !mine {
            return None;
        }
        let evidence = format!("{} is {} again", write.key, write.old);
        if docker && switch == SysctlKey::IP_FORWARD {
            let policy = if facts.forward_drops() {
                ", and the policy of FORWARD is drop, as dockerd sets both together"
            } else {
                ""
            };
            let says = "Probably Docker was restarted: it switches ip_forward on, which sets the key of every interface.";
            return Some(guess("docker", says, &format!("{evidence}; there are chains of Docker{policy}")));
        }
        let says =
            format!("Probably somebody switched {switch} off and on, which sets the key of every interface.");
        return Some(guess("forwarding-reset", &says, &evidence));
    }
    let write = plan.diff.sysctls.first()?;
    if !live.journal.iter().any(|entry| entry.key == write.key) {
        return None;
    }
    let says = "Probably somebody wrote it by hand, or sysctl --system did.";
    Some(guess(
        "by-hand",
        says,
        &format!("{} is {}, and isoplan had written {}", write.key, write.old, write.new),
    ))
}

/// The same file is named in more than one way.
fn file_name(path: &str) -> &str {
    path.rsplit('/').next().unwrap_or_default()
}

/// A state that isoplan itself left.
fn own_doing(last: &LastChange) -> Option<Guess> {
    let (who, says, evidence) = match (last.end, last.verb) {
        (LastEnd::Done, "remove") => {
            ("removed", "Probably by isoplan remove.", "the last change on record is a removal")
        }
        (LastEnd::Done, _) => return None,
        (LastEnd::Begun, _) => (
            "cut-short",
            "Probably isoplan was killed in the middle.",
            "the last change on record was begun and not ended",
        ),
        (LastEnd::Undone, _) => {
            ("rolled-back", "Probably by isoplan rollback.", "the last change on record was undone")
        }
        (LastEnd::Overdue, _) => (
            "rolled-back",
            "Probably because nobody confirmed it in time.",
            "the last change on record was undone when its time was over",
        ),
    };
    Some(guess(who, says, evidence))
}

fn guess(who: &'static str, says: &str, evidence: &str) -> Guess {
    Guess { who, says: says.to_owned(), evidence: evidence.to_owned() }
}
