//! The rules and sysctls that change, in a fold, as a diff that forges colour.

use std::fmt::Write as _;

use super::Page;
use super::escape::{backticks, fence, line};
use crate::diff::{Action, Change, Diff, Kind, table_name};
use crate::render::plan::is_of_comment;
use crate::topology::Topology;

/// How many elements of one set are listed.
const LISTED: usize = 8;
/// Up to so many rules that change their comment only are listed.
const COMMENTS: usize = 3;

/// The fold; nothing where nothing changes.
pub(super) fn push_rules(page: &mut Page, topology: &Topology, diff: &Diff) {
    if diff.changes.is_empty() {
        return;
    }
    let (lines, comments) = lines(topology, diff, page.all);
    let _ = write!(
        page.text,
        "\n<details>\n<summary>Rules and sysctls: {} to add, {} to change, {} to remove</summary>\n",
        diff.count(Action::Create),
        diff.count(Action::Change),
        diff.count(Action::Delete),
    );
    let fence = fence(lines.iter().map(|line| backticks(line)).max().unwrap_or(0));
    let _ = write!(page.text, "\n{fence}diff\n");
    let mut shown = 0;
    for line in &lines {
        if !page.has_room(line.len() + 1, 400 + fence.len()) {
            break;
        }
        page.text.push_str(line);
        page.text.push('\n');
        shown += 1;
    }
    let _ = writeln!(page.text, "{fence}");
    if shown < lines.len() {
        page.paragraph(&format!("And {} more lines, which do not fit into a comment.", lines.len() - shown));
    }
    if comments > 0 {
        page.paragraph(&format!("{comments} rules change their comment only."));
    }
    page.text.push_str("\n</details>\n");
}

/// Every line, each with its sign in front, and how many changes of comments were left out.
fn lines(topology: &Topology, diff: &Diff, all: bool) -> (Vec<String>, usize) {
    let comments = diff.changes.iter().filter(|change| is_of_comment(change)).count();
    let hides_comments = comments > COMMENTS && !all;
    let shown = diff.changes.iter().filter(|change| !(hides_comments && is_of_comment(change)));
    let mut writer = Writer { topology, lines: Vec::new(), table: None, container: None };
    let mut run = 0;
    for change in shown {
        let again = change.kind == Kind::Element && writer.is_in(Kind::Set, change);
        run = if again { run + 1 } else { 0 };
        if change.kind == Kind::Element && run >= LISTED && !all {
            writer.one_more_element();
            continue;
        }
        writer.change(change);
    }
    (writer.lines, if hides_comments { comments } else { 0 })
}

struct Writer<'w> {
    topology: &'w Topology,
    lines: Vec<String>,
    table: Option<crate::ruleset::Family>,
    /// What the last line is in, by kind, table and name.
    container: Option<(Kind, Option<crate::ruleset::Family>, std::sync::Arc<str>)>,
}

impl Writer<'_> {
    fn is_in(&self, kind: Kind, change: &Change) -> bool {
        self.container.as_ref().is_some_and(|(open, family, name)| {
            *open == kind && *family == change.family && *name == change.name
        })
    }

    fn one_more_element(&mut self) {
        const MORE: &str = "     and ";
        if let Some(last) = self.lines.last_mut().filter(|last| last.starts_with(MORE)) {
            let number = last[MORE.len()..].split(' ').next().and_then(|number| number.parse::<usize>().ok());
            *last = format!("{MORE}{} more elements", number.unwrap_or(0) + 1);
        } else {
            self.lines.push(format!("{MORE}1 more elements"));
        }
    }

    fn change(&mut self, change: &Change) {
        if change.kind == Kind::Sysctl {
            self.container = None;
            let value = |text: &Option<crate::diff::Text>| {
                text.as_deref().map(|value| format!("{} = {value}", change.name))
            };
            self.pair(0, value(&change.old), value(&change.new), &self.reason(change));
            return;
        }
        if self.table != change.family {
            self.table = change.family;
            if let Some(family) = change.family.filter(|_| change.kind != Kind::Table) {
                self.lines.push(format!("  {}", table_name(family)));
            }
        }
        match change.kind {
            Kind::Table => {
                let name = change.family.map(table_name).unwrap_or_default();
                let detail = |text: &Option<crate::diff::Text>| {
                    text.as_deref().map_or_else(|| name.clone(), |detail| format!("{name} ({detail})"))
                };
                self.container = None;
                let (old, new) = match change.action {
                    Action::Create => (None, Some(detail(&change.new))),
                    Action::Delete => (Some(detail(&change.old)), None),
                    Action::Change => (Some(detail(&change.old)), Some(detail(&change.new))),
                };
                self.pair(0, old, new, &change.why);
            }
            Kind::Set | Kind::Chain => {
                self.container = Some((change.kind, change.family, change.name.clone()));
                let name = format!("{} {}", change.kind.as_str(), change.name);
                let detail = |text: &Option<crate::diff::Text>| {
                    text.as_deref().map_or_else(|| name.clone(), |detail| format!("{name}  {detail}"))
                };
                let (old, new) = match change.action {
                    Action::Create => (None, Some(detail(&change.new))),
                    Action::Delete => (Some(detail(&change.old)), None),
                    Action::Change => (Some(detail(&change.old)), Some(detail(&change.new))),
                };
                self.pair(2, old, new, &change.why);
            }
            _ => {
                let kind = if change.kind == Kind::Element { Kind::Set } else { Kind::Chain };
                if !self.is_in(kind, change) {
                    self.container = Some((kind, change.family, change.name.clone()));
                    self.lines.push(line(&format!("    {} {}", kind.as_str(), change.name)));
                }
                let text = |text: &Option<crate::diff::Text>| text.as_deref().map(str::to_owned);
                self.pair(4, text(&change.old), text(&change.new), &self.reason(change));
            }
        }
    }

    /// What goes, then what comes, which says why.
    fn pair(&mut self, indent: usize, old: Option<String>, new: Option<String>, why: &str) {
        let why = if why.is_empty() { String::new() } else { format!("  # {why}") };
        let last = new.is_some();
        if let Some(old) = old {
            let why = if last { "" } else { why.as_str() };
            self.lines.push(line(&format!("- {:indent$}{old}{why}", "")));
        }
        if let Some(new) = new {
            self.lines.push(line(&format!("+ {:indent$}{new}{why}", "")));
        }
    }

    /// "F3 nothing is forwarded to nic eth1 (storage), topology.toml:14".
    fn reason(&self, change: &Change) -> String {
        let mut reason = change.rule.as_ref().map_or_else(String::new, |id| format!("{} ", id.0));
        reason.push_str(&change.why);
        if let Some(origin) = change.origins().first() {
            let entry = self.topology.entry(*origin);
            if change.why.is_empty() {
                let _ = write!(reason, "{entry}");
            }
            if entry.line > 0 {
                let file = self.topology.file.rsplit('/').next().unwrap_or_default();
                let _ = write!(reason, ", {file}:{}", entry.line);
            }
        }
        reason
    }
}
