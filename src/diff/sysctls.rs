//! Sysctls: what is to be written, and what isoplan wrote and nobody wants any more.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::{Action, Change, Diff, Journaled, Kind, LiveState, SysctlWrite};
use crate::approach::{Desired, SysctlKey};
use crate::topology::EntryId;

pub(super) fn compare(diff: &mut Diff, desired: &Desired, live: &LiveState) {
    let wanted: BTreeSet<&SysctlKey> = desired.sysctls.iter().map(|sysctl| &sysctl.key).collect();
    restored(diff, live, &wanted);
    // Switching forwarding on writes every per-interface key.
    let mut resets = false;
    for sysctl in &desired.sysctls {
        let is_switch = sysctl.key.0 == SysctlKey::IP_FORWARD;
        let Some(now) = live.sysctls.get(&sysctl.key) else {
            // A kernel without IPv6 forwards none.
            if sysctl.key.0 != SysctlKey::IPV6_FORWARD {
                diff.missing.push(sysctl.clone());
            }
            continue;
        };
        // What it will be by the time it is written.
        let now = if resets && sysctl.key.switch().is_some() { sysctl.key.after_switch(true) } else { now };
        if *now == sysctl.value {
            continue;
        }
        resets |= is_switch;
        let write = SysctlWrite { key: sysctl.key.clone(), old: now.to_owned(), new: sysctl.value.clone() };
        push_sysctl(diff, write, vec![sysctl.origin], sysctl.why.clone());
    }
}

/// What isoplan wrote and nobody wants any more goes back to what it was, where it still is what isoplan
/// wrote. Switches first, because they reset the keys of every interface.
fn restored(diff: &mut Diff, live: &LiveState, wanted: &BTreeSet<&SysctlKey>) {
    let why = "isoplan set it, and nothing asks for it any more";
    let mine = |entry: &&Journaled| !wanted.contains(&entry.key) && live.is_still_mine(entry);
    let (interfaces, switches): (Vec<_>, Vec<_>) =
        live.journal.iter().filter(mine).partition(|entry| entry.key.switch().is_some());
    for entry in switches.iter().filter(|entry| entry.written != entry.original) {
        let (old, new) = (entry.written.clone(), entry.original.clone());
        push_sysctl(diff, SysctlWrite { key: entry.key.clone(), old, new }, Vec::new(), why.to_owned());
    }
    for entry in interfaces {
        let is_switch = |other: &&Journaled| Some(other.key.0.as_str()) == entry.key.switch();
        let goes_back = switches.iter().copied().find(is_switch);
        let (now, target) = match goes_back {
            Some(switch) => (entry.key.after_switch(switch.original != "0"), entry.original.as_str()),
            // Forwarding stays on by isoplan's doing: then this interface has it on as well.
            None if wanted.iter().any(|key| Some(key.0.as_str()) == entry.key.switch())
                && live.journal.iter().any(|other| is_switch(&other)) =>
            {
                (entry.written.as_str(), entry.key.after_switch(true))
            }
            None => (entry.written.as_str(), entry.original.as_str()),
        };
        if now != target {
            let (old, new) = (now.to_owned(), target.to_owned());
            push_sysctl(diff, SysctlWrite { key: entry.key.clone(), old, new }, Vec::new(), why.to_owned());
        }
    }
}

pub(super) fn push_sysctl(diff: &mut Diff, write: SysctlWrite, origins: Vec<EntryId>, why: String) {
    diff.changes.push(Change {
        action: Action::Change,
        kind: Kind::Sysctl,
        family: None,
        name: Arc::from(write.key.0.as_str()),
        old: Some(write.old.clone().into()),
        new: Some(write.new.clone().into()),
        rule: None,
        entries: origins,
        why,
    });
    diff.sysctls.push(write);
}
