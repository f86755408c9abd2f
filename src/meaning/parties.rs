//! Who is who in two files.

use std::collections::{BTreeMap, BTreeSet};

use ipnet::IpNet;

use super::{Fate, PartyChange};
use crate::intent::{Guard, Intent};
use crate::topology::{Network, NetworkKind, Topology};

/// One network, flat or NIC, in both files.
#[derive(Debug, Clone)]
pub(super) struct Subject {
    /// Its name in the new file, or the only one that it has.
    pub(super) name: String,
    /// Its place in the old file.
    pub(super) old: Option<usize>,
    /// Its place in the new file.
    pub(super) new: Option<usize>,
    /// What happened to it, and its old name or its wildcard.
    pub(super) fate: Option<(Fate, Option<String>)>,
}

/// Everyone who is in one of two files.
pub(super) struct Parties {
    pub(super) networks: Vec<Subject>,
    pub(super) flats: Vec<Subject>,
    pub(super) nics: Vec<Subject>,
}

/// What tells a party that was renamed: what it is, and its addresses.
type Likeness<'t> = (String, &'t [IpNet]);

impl Parties {
    pub(super) fn new(old: &Topology, new: &Topology) -> Self {
        let names = |topology: &Topology| -> Vec<String> {
            topology.networks.iter().map(|net| net.name.to_string()).collect()
        };
        let (old_names, new_names) = (names(old), names(new));
        let (like_old, like_new) = (like_networks(old, new), like_networks(new, old));
        let mut networks = matched((&old_names, &like_old), (&new_names, &like_new));
        for subject in &mut networks {
            fold(subject, old, new);
        }
        let nic = |topology: &Topology| -> Vec<String> {
            topology.nics.iter().map(|nic| nic.name.to_string()).collect()
        };
        let like = |nic: &crate::topology::Nic| nic.role.to_string();
        let like_old: Vec<_> = old.nics.iter().map(|nic| (like(nic), nic.subnets.as_slice())).collect();
        let like_new: Vec<_> = new.nics.iter().map(|nic| (like(nic), nic.subnets.as_slice())).collect();
        let nics = matched((&nic(old), &like_old), (&nic(new), &like_new));
        let flat = |topology: &Topology| -> Vec<String> {
            topology.flats.iter().map(|flat| flat.name.to_string()).collect()
        };
        // A flat has no addresses of its own.
        let nothing = |topology: &Topology| vec![(String::new(), [].as_slice()); topology.flats.len()];
        let flats = matched((&flat(old), &nothing(old)), (&flat(new), &nothing(new)));
        Self { networks, flats, nics }
    }

    /// What became of them, in the order of their names.
    pub(super) fn changes(&self, old: &Intent<'_>, new: &Intent<'_>) -> Vec<PartyChange> {
        let mut changes = Vec::new();
        for subject in &self.nics {
            let nic = |intent: &Intent<'_>, at: usize| {
                let guard = match intent.guards[at] {
                    Guard::All => ", guarded for everyone",
                    Guard::Some => ", guarded for some",
                    Guard::None => "",
                };
                format!("{}{guard}", intent.topology.nics[at].role)
            };
            let detail = subject.new.map(|at| nic(new, at)).or_else(|| subject.old.map(|at| nic(old, at)));
            changes.extend(subject.change("nic", detail.unwrap_or_default()));
        }
        for subject in &self.networks {
            let kind = subject.new.map(|at| &new.topology.networks[at].kind);
            let kind = kind.or_else(|| subject.old.map(|at| &old.topology.networks[at].kind));
            changes.extend(subject.change(kind.map_or("bridge", kind_of), String::new()));
        }
        for subject in &self.flats {
            let nic = subject.new.map(|at| &new.topology.flats[at].nic);
            let nic = nic.or_else(|| subject.old.map(|at| &old.topology.flats[at].nic));
            changes.extend(subject.change("flat", nic.map(|nic| format!("on {nic}")).unwrap_or_default()));
        }
        changes
    }
}

/// One that the other file has a wildcard for is one of that, whoever else has its addresses there; unless it is that
/// wildcard itself, by its addresses.
fn like_networks<'t>(of: &'t Topology, other: &Topology) -> Vec<Likeness<'t>> {
    let wildcards: Vec<&Network> = other.networks.iter().filter(|network| network.name.is_prefix()).collect();
    let like = |network: &'t Network| {
        let covers =
            |wildcard: &&Network| wildcard.name.covers(&network.name) && wildcard.subnets != network.subnets;
        let is_folded = !network.name.is_prefix() && wildcards.iter().any(covers);
        let subnets = if is_folded { &[][..] } else { network.subnets.as_slice() };
        (kind_of(&network.kind).to_owned(), subnets)
    };
    of.networks.iter().map(like).collect()
}

impl Subject {
    fn change(&self, kind: &'static str, detail: String) -> Option<PartyChange> {
        let (fate, other) = self.fate.clone()?;
        Some(PartyChange { fate, kind, name: self.name.clone(), other, detail })
    }
}

/// The key in the file.
pub(super) const fn kind_of(kind: &NetworkKind) -> &'static str {
    match kind {
        NetworkKind::Bridge => "bridge",
        NetworkKind::Overlay { .. } => "overlay",
    }
}

/// By name; then those that are left over, by what they are and their addresses.
fn matched(
    (old_names, like_old): (&[String], &[Likeness<'_>]),
    (new_names, like_new): (&[String], &[Likeness<'_>]),
) -> Vec<Subject> {
    let old_by_name: BTreeMap<&String, usize> =
        old_names.iter().enumerate().map(|(at, name)| (name, at)).collect();
    let known: BTreeSet<&String> = new_names.iter().collect();
    let mut left: BTreeMap<&Likeness<'_>, usize> = BTreeMap::new();
    for (at, name) in old_names.iter().enumerate() {
        if !known.contains(name) && !like_old[at].1.is_empty() {
            left.insert(&like_old[at], at);
        }
    }
    let mut subjects = Vec::new();
    let mut taken = BTreeSet::new();
    for (new, name) in new_names.iter().enumerate() {
        let same = old_by_name.get(name).copied();
        let mut renamed = || left.remove(&like_new[new]);
        let (old, fate) = match same {
            Some(old) => (Some(old), None),
            None => match renamed() {
                Some(old) => (Some(old), Some((Fate::Renamed, Some(old_names[old].clone())))),
                None => (None, Some((Fate::New, None))),
            },
        };
        taken.extend(old);
        subjects.push(Subject { name: name.clone(), old, new: Some(new), fate });
    }
    let gone = old_names.iter().enumerate().filter(|(at, _)| !taken.contains(at));
    subjects.extend(gone.map(|(at, name)| Subject {
        name: name.clone(),
        old: Some(at),
        new: None,
        fate: Some((Fate::Removed, None)),
    }));
    subjects.sort_by(|a, b| a.name.cmp(&b.name));
    subjects
}

/// A name that a file has no entry for may be one of a wildcard's there.
fn fold(subject: &mut Subject, old: &Topology, new: &Topology) {
    let wildcard = |of: &Topology, other: &Topology, at: usize| {
        let name = &of.networks[at].name;
        let covers = |net: &Network| !name.is_prefix() && net.name.is_prefix() && net.name.covers(name);
        other.networks.iter().position(covers)
    };
    match (subject.old, subject.new) {
        (None, Some(at)) => {
            if let Some(within) = wildcard(new, old, at) {
                subject.old = Some(within);
                subject.fate = Some((Fate::Split, Some(old.networks[within].name.to_string())));
            }
        }
        (Some(at), None) => {
            if let Some(within) = wildcard(old, new, at) {
                subject.new = Some(within);
                subject.fate = Some((Fate::Joined, Some(new.networks[within].name.to_string())));
            }
        }
        _ => {}
    }
}
