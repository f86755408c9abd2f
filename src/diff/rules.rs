//! The rules of one chain: matched by id, kept in order.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::tables::Steps;
use super::{Action, Change, Diff, Kind, change};
use crate::render;
use crate::ruleset::{Chain, Family, Op, Rule, RuleId};

pub(super) fn compare(diff: &mut Diff, family: Family, chain: &Chain, live: &[Rule], steps: &mut Steps) {
    let wanted: BTreeMap<RuleId, usize> =
        chain.rules.iter().enumerate().filter_map(|(index, rule)| Some((rule.id()?, index))).collect();
    // Which desired rule a live one is, each at most once.
    let mut taken = BTreeSet::new();
    let matched: Vec<Option<usize>> = live
        .iter()
        .map(|rule| {
            let index = *wanted.get(&rule.id()?)?;
            (rule.handle.0.is_some() && taken.insert(index)).then_some(index)
        })
        .collect();
    // Those that are in the right order stay; the others are deleted and added where they belong.
    let kept = longest_increasing(&matched);
    let by_wanted: BTreeMap<usize, &Rule> =
        kept.iter().filter_map(|position| Some((matched[*position]?, &live[*position]))).collect();

    for (index, rule) in chain.rules.iter().enumerate() {
        let old = by_wanted.get(&index);
        match old {
            Some(old) if *old == rule => {}
            Some(old) => {
                let mut other = rule_change(Action::Change, family, chain, rule);
                other.new = Some(render::rule(rule).into());
                other.old = Some(render::rule(old).into());
                if other.old == other.new {
                    // A reader of both sees the difference; one line is enough for the plan.
                    other.old = Some(format!("comment \"{}\"", old.comment).into());
                    other.new = Some(format!("comment \"{}\"", rule.comment).into());
                }
                diff.changes.push(other);
                if let Some(handle) = old.handle.0 {
                    let (chain, rule) = (Arc::clone(&chain.name), rule.clone());
                    steps.replace_rules.push(Op::ReplaceRule { family, chain, handle, rule });
                }
            }
            None => {
                let mut new = rule_change(Action::Create, family, chain, rule);
                new.new = Some(render::rule(rule).into());
                diff.changes.push(new);
                let before = by_wanted.range(index + 1..).next().and_then(|(_, next)| next.handle.0);
                let (chain, rule) = (Arc::clone(&chain.name), rule.clone());
                steps.add_rules.push(Op::AddRule { family, chain, rule, before });
            }
        }
    }
    let kept: BTreeSet<usize> = kept.into_iter().collect();
    for (position, rule) in live.iter().enumerate().filter(|(position, _)| !kept.contains(position)) {
        let mut gone = change(Action::Delete, Kind::Rule, family, "");
        gone.name = Arc::clone(&chain.name);
        gone.old = Some(render::rule(rule).into());
        let handle = rule.handle.0.map(|handle| format!(" (handle {handle})")).unwrap_or_default();
        gone.why = match (matched[position], rule.id()) {
            (Some(_), _) => format!("out of order{handle}"),
            (None, Some(id)) if wanted.contains_key(&id) => format!("a second {id}{handle}"),
            (None, Some(id)) if is_ours(&id) => format!("not asked for by this topology{handle}"),
            _ if rule.comment.is_empty() => format!("not isoplan's{handle}"),
            _ => format!("not isoplan's: \"{}\"{handle}", printable(&rule.comment)),
        };
        diff.changes.push(gone);
        steps.delete_rules.extend(deletion(family, &chain.name, rule));
    }
}

fn rule_change(action: Action, family: Family, chain: &Chain, rule: &Rule) -> Change {
    let mut change = change(action, Kind::Rule, family, "");
    change.name = Arc::clone(&chain.name);
    change.rule = rule.id();
    change.entries.clone_from(&rule.origins.0);
    change.why = rule.comment.split_once(' ').map(|(_, what)| what.to_owned()).unwrap_or_default();
    change
}

/// The positions of a longest run of matches that increases (patience sorting).
fn longest_increasing(matched: &[Option<usize>]) -> Vec<usize> {
    // tails[n]: position of the smallest last match of a run of length n + 1.
    let mut tails: Vec<usize> = Vec::new();
    let mut previous = vec![None; matched.len()];
    for (position, value) in matched.iter().enumerate() {
        let Some(value) = value else { continue };
        let length = tails.partition_point(|tail| matched[*tail] < Some(*value));
        previous[position] = length.checked_sub(1).map(|last| tails[last]);
        if length == tails.len() {
            tails.push(position);
        } else {
            tails[length] = position;
        }
    }
    let mut run = Vec::new();
    let mut next = tails.last().copied();
    while let Some(position) = next {
        run.push(position);
        next = previous[position];
    }
    run.reverse();
    run
}

/// The step that deletes a live rule.
pub(super) fn deletion(family: Family, chain: &Arc<str>, rule: &Rule) -> Option<Op> {
    Some(Op::DeleteRule { family, chain: Arc::clone(chain), handle: rule.handle.0? })
}

/// Whether an id is of the form that isoplan gives: a capital letter and a number.
fn is_ours(id: &RuleId) -> bool {
    let mut chars = id.0.chars();
    chars.next().is_some_and(|c| c.is_ascii_uppercase())
        && !chars.as_str().is_empty()
        && chars.all(|c| c.is_ascii_digit())
}

/// A comment that somebody else wrote, for a terminal.
fn printable(comment: &str) -> String {
    comment.chars().map(|c| if c.is_control() { '?' } else { c }).collect()
}
