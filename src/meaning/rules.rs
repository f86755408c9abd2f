//! The rules that carry out a change of meaning.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::Loosened;
use crate::approach::{Desired, SysctlKey, desired};
use crate::diff::{Action, Change, Diff, Kind, LiveState, Text, diff};
use crate::intent::Intent;
use crate::ruleset::Aside;

/// What leads from the tables and sysctls that one topology asks for to those of another.
pub fn rules(old: &Intent<'_>, new: &Intent<'_>) -> Diff {
    compared(old, new).0
}

/// The same, what it lets go, and what the way back would.
pub(super) fn compared(old: &Intent<'_>, new: &Intent<'_>) -> (Diff, [Loosened; 2]) {
    let (old, new) = (desired(old), desired(new));
    let sysctls = sysctls(&old, &new);
    let loosened =
        [Loosened::new(&old.ruleset, &new.ruleset, &sysctls), Loosened::new(&new.ruleset, &old.ruleset, &[])];
    let mut ruleset = old.ruleset;
    let rules = ruleset.values_mut().flat_map(|table| table.chains.values_mut());
    // Live rules are known by their handles.
    for (handle, rule) in (1..).zip(rules.flat_map(|chain| &mut chain.rules)) {
        rule.handle = Aside(Some(handle));
    }
    let live = LiveState { ruleset, ..LiveState::default() };
    let mut diff = diff(&Desired { sysctls: Vec::new(), ..new }, &live);
    for change in diff.changes.iter_mut().filter(|change| change.kind == Kind::Rule) {
        if let Some(at) = change.why.find(" (handle ") {
            change.why.truncate(at);
        }
    }
    diff.changes.extend(sysctls);
    (diff, loosened)
}

fn sysctls(old: &Desired, new: &Desired) -> Vec<Change> {
    let mut values: BTreeMap<&SysctlKey, [Option<&crate::approach::Sysctl>; 2]> = BTreeMap::new();
    for sysctl in &old.sysctls {
        values.entry(&sysctl.key).or_default()[0] = Some(sysctl);
    }
    for sysctl in &new.sysctls {
        values.entry(&sysctl.key).or_default()[1] = Some(sysctl);
    }
    let changes = values.into_iter().filter_map(|(key, values)| {
        let [old, new] = values.map(|sysctl| sysctl.map(|sysctl| sysctl.value.clone()));
        let action = match (&old, &new) {
            (old, new) if old == new => return None,
            (None, _) => Action::Create,
            (_, None) => Action::Delete,
            _ => Action::Change,
        };
        let wanted = values[1];
        Some(Change {
            action,
            kind: Kind::Sysctl,
            family: None,
            name: Arc::from(key.0.as_str()),
            old: old.map(Text::from),
            new: new.map(Text::from),
            rule: None,
            entries: wanted.map(|sysctl| sysctl.origin).into_iter().collect(),
            why: wanted.map_or("nothing asks for it any more".to_owned(), |sysctl| sysctl.why.clone()),
        })
    });
    changes.collect()
}
