//! What others have on the host, as text to compare: everything but tables named isoplan, and no counters.

use std::fs;
use std::path::Path;

use crate::docker::{command, run_ok};

/// The rule sets, routing rules and sysctls of a host, by the name of what prints them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Others(Vec<(&'static str, String)>);

impl Others {
    /// Reads all of it. `iptables-legacy-save` lists tables that exist, and makes none.
    pub(crate) fn read() -> Self {
        let mut all = vec![(
            "nft -s list ruleset",
            without_isoplan(&run_ok(command("nft").args(["-s", "list", "ruleset"]))),
        )];
        for save in
            ["iptables-nft-save", "ip6tables-nft-save", "iptables-legacy-save", "ip6tables-legacy-save"]
        {
            all.push((save, without_counters(&run_ok(&mut command(save)))));
        }
        for args in ["rule", "-6 rule", "route show table all", "-6 route show table all"] {
            all.push((args, run_ok(command("ip").args(args.split(' ')))));
        }
        all.push(("sysctls", sysctls()));
        Self(all)
    }

    /// The same without sysctls and routes: the rules that filter and translate.
    pub(crate) fn rules(self) -> Self {
        Self(self.0.into_iter().filter(|(name, _)| name.contains("nft") || name.contains("tables")).collect())
    }

    /// Panics with the first lines that differ.
    #[track_caller]
    pub(crate) fn assert_same(&self, when: &str, other: &Self) {
        for ((name, before), (_, after)) in self.0.iter().zip(&other.0) {
            if before != after {
                let gone: Vec<_> =
                    before.lines().filter(|line| !after.lines().any(|other| other == *line)).collect();
                let new: Vec<_> =
                    after.lines().filter(|line| !before.lines().any(|other| other == *line)).collect();
                panic!("{when}: `{name}` differs\ngone:\n{}\nnew:\n{}", gone.join("\n"), new.join("\n"));
            }
        }
    }

    /// How many lines there are in all, to show that something was compared.
    pub(crate) fn lines(&self) -> usize {
        self.0.iter().map(|(_, text)| text.lines().count()).sum()
    }

    /// One of the texts.
    pub(crate) fn text(&self, name: &str) -> &str {
        self.0.iter().find(|(of, _)| *of == name).map_or("", |(_, text)| text)
    }
}

/// isoplan's own tables, as nft lists them without counters; empty where there are none.
pub(crate) fn isoplan_tables() -> String {
    tables(&run_ok(command("nft").args(["-s", "list", "ruleset"])), true)
}

fn without_isoplan(listing: &str) -> String {
    tables(listing, false)
}

/// The tables of a listing that are isoplan's, or those that are not.
fn tables(listing: &str, of_isoplan: bool) -> String {
    let mut is_isoplan = false;
    let mut kept = String::new();
    for line in listing.lines() {
        if let Some(table) = line.strip_prefix("table ") {
            is_isoplan = table.split(' ').nth(1) == Some("isoplan");
        }
        if is_isoplan == of_isoplan {
            kept += line;
            kept.push('\n');
        }
    }
    kept
}

/// Without the counters of policies and the lines that have the time.
fn without_counters(saved: &str) -> String {
    let mut kept = String::new();
    for line in saved.lines().filter(|line| !line.starts_with('#')) {
        kept += if line.starts_with(':') { line.split(" [").next().unwrap_or(line) } else { line };
        kept.push('\n');
    }
    kept
}

/// Every sysctl of this network namespace that can be read and is not a measurement.
fn sysctls() -> String {
    fn walk(directory: &Path, lines: &mut Vec<String>) {
        for entry in fs::read_dir(directory).into_iter().flatten().flatten() {
            let path = entry.path();
            if path.is_dir() {
                walk(&path, lines);
            } else if let Ok(value) = fs::read_to_string(&path) {
                lines.push(format!("{} = {}", path.display(), value.trim()));
            }
        }
    }
    let mut lines = Vec::new();
    for directory in ["ipv4", "ipv6", "bridge", "netfilter"] {
        walk(&Path::new("/proc/sys/net").join(directory), &mut lines);
    }
    lines.retain(|line| !line.contains("nf_conntrack_count") && !line.contains("stable_secret"));
    lines.sort();
    lines.join("\n")
}
