//! The same isolation the way that others write it: one rule or more for each network.
//!
//! They are the forms that these programs leave in the kernel, as read from them with `iptables-save` and
//! `nft list ruleset`, and not the programs themselves: what those need besides, a daemon and its language, is not
//! counted against them. The topology is that of [`super::sizes`].

pub(crate) mod difference;
mod docker;
mod firewalld;
mod ufw;

pub(crate) use docker::docker;
pub(crate) use firewalld::firewalld;
pub(crate) use ufw::ufw;

use super::sizes;

/// Rules for iptables-restore, or for `nft -f`.
#[derive(Debug, Clone, Default)]
pub(crate) struct Rules {
    text: String,
    count: usize,
}

impl Rules {
    pub(crate) fn text(&self) -> &str {
        &self.text
    }

    /// How many rules it makes.
    pub(crate) const fn count(&self) -> usize {
        self.count
    }

    fn line(&mut self, line: &str) {
        self.text.push_str(line);
        self.text.push('\n');
    }

    fn lines(&mut self, lines: &str) {
        for line in lines.lines().map(str::trim).filter(|line| !line.is_empty()) {
            self.rule_or_line(line);
        }
    }

    /// A rule, in either language.
    fn rule(&mut self, rule: &str) {
        self.count += 1;
        self.line(rule);
    }

    fn rule_or_line(&mut self, line: &str) {
        if line.starts_with("-A ") { self.rule(line) } else { self.line(line) }
    }
}

/// An address family, as iptables has a program for each.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Family {
    V4,
    V6,
}

impl Family {
    pub(crate) const ALL: [Self; 2] = [Self::V4, Self::V6];

    pub(crate) const fn restore(self) -> &'static str {
        match self {
            Self::V4 => "iptables-restore",
            Self::V6 => "ip6tables-restore",
        }
    }

    /// The one that the kernel has its rules in.
    pub(crate) const fn table(self) -> isoplan::ruleset::Family {
        match self {
            Self::V4 => isoplan::ruleset::Family::Ip,
            Self::V6 => isoplan::ruleset::Family::Ip6,
        }
    }

    /// The flag of a line that is for this family alone, in a file for both.
    const fn flag(self) -> &'static str {
        match self {
            Self::V4 => "-4",
            Self::V6 => "-6",
        }
    }
}

/// How many rules a file for both families makes in one of them.
pub(crate) fn count(text: &str, family: Family) -> usize {
    text.lines()
        .filter(|line| line.starts_with("-A ") || line.starts_with("-I "))
        .filter(|line| is_of(line, family))
        .count()
}

/// Whether a line of such a file is for this family.
fn is_of(line: &str, family: Family) -> bool {
    let other = if family == Family::V4 { Family::V6 } else { Family::V4 }.flag();
    !line.split(' ').any(|word| word == other)
}

/// A bridge's name and its subnet of a family.
fn network(number: usize, family: Family) -> (String, String) {
    let [v4, v6] = sizes::subnets(number);
    (sizes::name(number), if family == Family::V4 { v4 } else { v6 })
}
