//! A plan as text for people: the meaning first, then the changes, then what to do.

use std::fmt::Write as _;

use super::matrix;
use super::wrap::push_wrapped;
use crate::diff::{Action, Change, Diff, Kind, Text, table_name};
use crate::plan::Plan;
use crate::topology::Topology;

/// How to lay it out.
#[derive(Debug, Clone, Copy)]
pub struct Style {
    /// Whether to use ANSI colours. Nothing needs them to be understood.
    pub color: bool,
    /// In columns.
    pub width: usize,
    /// Whether to list every element instead of the first few of each set.
    pub all: bool,
}

/// How many elements of one set are listed, and how many pairs of networks.
const LISTED: usize = 8;
/// Up to so many rules that change their comment only are listed.
const COMMENTS: usize = 3;
/// Up to so many elements a new set is shown on one line.
const INLINE: usize = 2;

/// The whole plan, without the last line that says what to do next.
pub fn plan(plan: &Plan<'_>, style: Style) -> String {
    if plan.diff.is_empty() {
        let mut text =
            format!("In place: {} objects match {}; nothing to do.\n", plan.diff.objects, plan.topology.file);
        push_remarks(&mut text, plan, style);
        return text;
    }
    let mut text = String::new();
    Writer { text: &mut text, style, topology: plan.topology }.meaning(plan);
    text.push_str(&changes(plan.topology, &plan.diff, style));
    push_remarks(&mut text, plan, style);
    text
}

/// The changes alone, with a line that counts them.
pub fn changes(topology: &Topology, diff: &Diff, style: Style) -> String {
    let mut text = String::new();
    let mut writer = Writer { text: &mut text, style, topology };
    let comments = diff.changes.iter().filter(|change| is_of_comment(change)).count();
    if comments > COMMENTS && !style.all {
        let others: Vec<Change> =
            diff.changes.iter().filter(|change| !is_of_comment(change)).cloned().collect();
        writer.changes(&others);
        let _ = writeln!(text, "{comments} rules change their comment only (--all lists them)");
    } else {
        writer.changes(&diff.changes);
    }
    let _ = writeln!(
        text,
        "\n{} to add, {} to change, {} to remove. (+ create, ~ change, - delete)",
        diff.count(Action::Create),
        diff.count(Action::Change),
        diff.count(Action::Delete),
    );
    text
}

/// Whether a rule does the same as before, and says it otherwise. No rule begins with its comment.
pub(super) fn is_of_comment(change: &Change) -> bool {
    let is_comment = |text: &Option<Text>| text.as_ref().is_some_and(|text| text.starts_with("comment \""));
    change.kind == Kind::Rule && is_comment(&change.old) && is_comment(&change.new)
}

fn push_remarks(text: &mut String, plan: &Plan<'_>, style: Style) {
    for remark in plan.remarks() {
        push_wrapped(text, &printable(&remark), style.width, 0);
    }
    // Phrases go on one line, sentences on one each.
    if plan.desired.not_covered.iter().all(|what| what.len() < 70) {
        let not_covered = format!("Not covered: {}.", plan.desired.not_covered.join("; "));
        push_wrapped(text, &not_covered, style.width, 0);
    } else {
        text.push_str("Not covered:\n");
        for what in &plan.desired.not_covered {
            text.push_str("- ");
            let mut sentence = String::new();
            push_wrapped(&mut sentence, what, style.width, 2);
            text.push_str(&sentence[2..]);
        }
    }
}

/// A text for a terminal.
fn printable(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { '?' } else { c }).collect()
}

/// The elements of one set that a list of changes starts with.
fn run_of_elements<'c>(changes: &'c [Change], of: &Change) -> &'c [Change] {
    let run = changes
        .iter()
        .take_while(|next| next.kind == Kind::Element && next.name == of.name && next.family == of.family);
    &changes[..run.count()]
}

struct Writer<'w> {
    text: &'w mut String,
    style: Style,
    topology: &'w Topology,
}

impl Writer<'_> {
    fn meaning(&mut self, plan: &Plan<'_>) {
        if plan.desired.ruleset.is_empty() {
            self.text.push_str("The sysctl approach stops answers, not packets: see below.\n\n");
            return;
        }
        let pairs = matrix::pairs(&plan.intent, LISTED * 2);
        self.text.push_str("With this plan:\n\n");
        matrix::push_pairs(self.text, &pairs);
        if pairs.is_empty() {
            self.text.push_str("  nothing is forwarded that the topology does not name\n");
        }
        self.text.push('\n');
    }

    fn changes(&mut self, changes: &[Change]) {
        let mut open_table = None;
        let mut open_container = None;
        let mut index = 0;
        while index < changes.len() {
            let change = &changes[index];
            if change.kind != Kind::Sysctl && open_table != change.family {
                open_table = change.family;
                open_container = None;
                if change.kind != Kind::Table
                    && let Some(family) = change.family
                {
                    self.line(0, Action::Change, &table_name(family), "");
                }
            }
            match change.kind {
                Kind::Table => {
                    let name = change.family.map(table_name).unwrap_or_default();
                    let old = change.old.as_ref().map(|old| format!(" ({old})")).unwrap_or_default();
                    self.line(0, change.action, &format!("{name}{old}"), &change.why);
                }
                Kind::Set | Kind::Chain => {
                    open_container = Some((change.kind, change.name.clone()));
                    let elements = run_of_elements(&changes[index + 1..], change);
                    if change.action == Action::Create && (1..=INLINE).contains(&elements.len()) {
                        self.small_set(change, elements);
                        index += elements.len();
                    } else {
                        self.container(change);
                    }
                }
                Kind::Element | Kind::Rule => {
                    let kind = if change.kind == Kind::Element { Kind::Set } else { Kind::Chain };
                    let container = Some((kind, change.name.clone()));
                    if open_container != container {
                        open_container = container;
                        let name = format!("{} {}", kind.as_str(), change.name);
                        self.line(2, Action::Change, &name, "");
                    }
                    if change.kind == Kind::Element {
                        let run = run_of_elements(&changes[index..], change);
                        self.elements(run);
                        index += run.len();
                        continue;
                    }
                    self.change(4, change);
                }
                Kind::Sysctl => {
                    open_table = None;
                    let (old, new) = (change.old.as_deref(), change.new.as_deref());
                    let values = format!("{} {} -> {}", change.name, old.unwrap_or("-"), new.unwrap_or("-"));
                    self.line(0, change.action, &values, &self.reason(change));
                }
            }
            index += 1;
        }
    }

    /// A new set with few elements on one line: `set guarded_links { "eth1" }`.
    fn small_set(&mut self, set: &Change, elements: &[Change]) {
        let texts: Vec<_> = elements.iter().filter_map(|element| element.new.as_deref()).collect();
        let text = format!("set {} {{ {} }}", set.name, texts.join(", "));
        let reason = self.reason(&elements[0]);
        self.line(2, set.action, &text, &reason);
    }

    fn container(&mut self, change: &Change) {
        let detail = match (&change.old, &change.new) {
            (Some(old), Some(new)) => format!("  {old} -> {new}"),
            (Some(only), None) | (None, Some(only)) => format!("  {only}"),
            (None, None) => String::new(),
        };
        let text = format!("{} {}{detail}", change.kind.as_str(), change.name);
        self.line(2, change.action, &text, &change.why);
    }

    fn elements(&mut self, changes: &[Change]) {
        let shown = if self.style.all || changes.len() <= LISTED { changes.len() } else { LISTED };
        for change in &changes[..shown] {
            self.change(4, change);
        }
        if shown < changes.len() {
            let _ =
                writeln!(self.text, "      and {} more elements (--all lists them)", changes.len() - shown);
        }
    }

    fn change(&mut self, indent: usize, change: &Change) {
        match (&change.old, &change.new) {
            (Some(old), Some(new)) => {
                self.line(indent, change.action, old, "");
                let _ = write!(self.text, "{:indent$}  becomes\n{:indent$}  ", "", "");
                let reason = self.reason(change);
                self.finish(indent + 2, new, &reason);
            }
            (Some(only), None) | (None, Some(only)) => {
                self.line(indent, change.action, only, &self.reason(change));
            }
            (None, None) => {}
        }
    }

    /// The topology's file without its directories: there is only one, and the lines are narrow.
    fn file(&self) -> &str {
        self.topology.file.rsplit('/').next().unwrap_or_default()
    }

    /// "F3 nothing is forwarded to nic eth1 (storage), topology.toml:14".
    fn reason(&self, change: &Change) -> String {
        let mut reason = String::new();
        if let Some(id) = &change.rule {
            let _ = write!(reason, "{id} ");
        }
        reason.push_str(&change.why);
        if let Some(origin) = change.origins().first() {
            let entry = self.topology.entry(*origin);
            if change.why.is_empty() {
                let _ = write!(reason, "{entry}");
            }
            if entry.line > 0 {
                let _ = write!(reason, ", {}:{}", self.file(), entry.line);
            }
        }
        reason
    }

    fn line(&mut self, indent: usize, action: Action, what: &str, reason: &str) {
        let (on, off) = match (self.style.color, action) {
            (false, _) => ("", ""),
            (true, Action::Create) => ("\u{1b}[32m", "\u{1b}[0m"),
            (true, Action::Change) => ("\u{1b}[33m", "\u{1b}[0m"),
            (true, Action::Delete) => ("\u{1b}[31m", "\u{1b}[0m"),
        };
        let _ = write!(self.text, "{:indent$}{on}{}{off} ", "", action.sign());
        self.finish(indent + 2, what, reason);
    }

    /// The reason goes behind where it fits, else below.
    fn finish(&mut self, column: usize, what: &str, reason: &str) {
        const REASON_AT: usize = 44;
        // Names and comments of others come from the kernel, or from a file.
        let what = &printable(what);
        let reason = &printable(reason);
        let used = column + what.chars().count();
        if reason.is_empty() {
            let _ = writeln!(self.text, "{what}");
            return;
        }
        let at = used.max(REASON_AT) + 2;
        if at + reason.chars().count() <= self.style.width {
            let _ = writeln!(self.text, "{what}{:pad$}{reason}", "", pad = at - used);
        } else {
            let _ = writeln!(self.text, "{what}");
            push_wrapped(self.text, reason, self.style.width, column + 4);
        }
    }
}
