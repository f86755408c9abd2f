//! Names and roles: each name once, no pattern over another's interfaces, no word with two meanings.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;

use super::mistake::{Mistakes, Span, listed, quote};
use super::model::NamePattern;
use super::raw::{Name, Raw};

/// Whose a name or subnet is: an index into the list of that kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Owner {
    Network(usize),
    Flat(usize),
    Nic(usize),
}

impl Owner {
    /// "bridge `docker0`".
    pub(super) fn title(self, raw: &Raw) -> &str {
        let head = match self {
            Self::Network(index) => raw.networks.get(index).map(|network| &network.head),
            Self::Flat(index) => raw.flats.get(index).map(|flat| &flat.head),
            Self::Nic(index) => raw.nics.get(index).map(|nic| &nic.head),
        };
        head.map_or("", |head| &head.title)
    }

    pub(super) fn name(self, raw: &Raw) -> Option<&Name> {
        match self {
            Self::Network(index) => raw.networks.get(index)?.name.as_ref(),
            Self::Flat(index) => raw.flats.get(index)?.name.as_ref(),
            Self::Nic(index) => raw.nics.get(index)?.name.as_ref(),
        }
    }
}

/// The names and roles of a file.
#[derive(Debug)]
pub(super) struct Names<'r> {
    /// By name as it is written; where two have one, the first.
    owners: BTreeMap<&'r str, Owner>,
    /// The NICs of each role.
    pub(super) roles: BTreeMap<&'r str, Vec<usize>>,
    /// Stems of patterns, none of which covers another; sorted.
    prefixes: Vec<(&'r str, usize)>,
    /// What `reach` can name, for hints.
    pub(super) role_list: String,
    pub(super) network_list: String,
    pub(super) nic_list: String,
}

impl<'r> Names<'r> {
    /// Collects all names; reports those that clash.
    pub(super) fn of(raw: &'r Raw, mistakes: &mut Mistakes) -> Self {
        let mut owners: BTreeMap<&str, Owner> = BTreeMap::new();
        for (name, owner) in in_order(raw) {
            match owners.entry(name.text.as_str()) {
                Entry::Vacant(place) => _ = place.insert(owner),
                Entry::Occupied(first) => {
                    let message = format!("the name {} is used twice", quote(&name.text));
                    let found = mistakes.add(name.span, message);
                    if let Some(first) = first.get().name(raw) {
                        found.related(first.span, "first used here");
                    }
                }
            }
        }
        let mut roles: BTreeMap<&str, Vec<usize>> = BTreeMap::new();
        for (index, nic) in raw.nics.iter().enumerate() {
            if let Some(role) = &nic.role {
                roles.entry(role.value.as_str()).or_default().push(index);
            }
        }
        let of_kind = |wanted: fn(Owner) -> bool| {
            listed(owners.iter().filter(|(_, owner)| wanted(**owner)).map(|(name, _)| *name))
        };
        let names = Self {
            role_list: listed(roles.keys().copied()),
            network_list: of_kind(|owner| matches!(owner, Owner::Network(_))),
            nic_list: of_kind(|owner| matches!(owner, Owner::Nic(_))),
            prefixes: prefixes(raw, mistakes),
            owners,
            roles,
        };
        names.check_covered(raw, mistakes);
        names.check_roles(raw, mistakes);
        names
    }

    /// Whose name it is, exactly as it is written there.
    pub(super) fn owner(&self, name: &str) -> Option<Owner> {
        self.owners.get(name).copied()
    }

    /// All names of some kinds.
    pub(super) fn of_kind(&self, wanted: fn(Owner) -> bool) -> impl Iterator<Item = &'r str> {
        self.owners.iter().filter(move |(_, owner)| wanted(**owner)).map(|(name, _)| *name)
    }

    /// The network whose pattern covers an interface name.
    fn covering(&self, name: &str) -> Option<usize> {
        let after = self.prefixes.partition_point(|(stem, _)| *stem <= name);
        let (stem, network) = self.prefixes.get(after.checked_sub(1)?)?;
        name.starts_with(stem).then_some(*network)
    }

    /// Reports patterns that cover a NIC or a flat.
    fn check_covered(&self, raw: &Raw, mistakes: &mut Mistakes) {
        if self.prefixes.is_empty() {
            return;
        }
        for (name, owner) in in_order(raw) {
            if matches!(owner, Owner::Network(_)) {
                continue;
            }
            let Some(pattern) = self.covering(&name.text).and_then(|index| Owner::Network(index).name(raw))
            else {
                continue;
            };
            let message = format!("the pattern {} also matches {}", quote(&pattern.text), owner.title(raw));
            let found = mistakes.add(pattern.span, message);
            found.related(name.span, "this interface").hint("a longer prefix, or the names one by one");
        }
    }

    /// Reports roles that are also the name of a network.
    fn check_roles(&self, raw: &Raw, mistakes: &mut Mistakes) {
        for (role, nics) in &self.roles {
            let Some(owner @ Owner::Network(_)) = self.owner(role) else { continue };
            let Some(name) = owner.name(raw) else { continue };
            let Some(at) = nics.first().and_then(|nic| raw.nics.get(*nic)?.role.as_ref()) else { continue };
            let message = format!("{} is a role and the name of a network", quote(role));
            let found = mistakes.add(at.span, message);
            found
                .related(name.span, "the network")
                .hint("another word for the role, so that `reach` is clear");
        }
    }

    /// Reports exact names that a pattern covers where the rules for the pattern would hold for them
    /// too. `used` has, by network, the place where a pattern is referred to.
    pub(super) fn check_shadowed(&self, raw: &Raw, used: &BTreeMap<usize, Span>, mistakes: &mut Mistakes) {
        for network in &raw.networks {
            let Some(name) = &network.name else { continue };
            if !matches!(name.value, Some(NamePattern::Exact(_))) {
                continue;
            }
            let Some(covering) = self.covering(&name.text) else { continue };
            let Some(pattern) = Owner::Network(covering).name(raw) else { continue };
            let Some(place) = used.get(&covering) else { continue };
            let pattern_text = quote(&pattern.text);
            let message = format!("{} is also matched by the pattern {pattern_text}", network.head.title);
            let found = mistakes.add(name.span, message);
            found.label(format!("an interface of {pattern_text} as well"));
            found.related(*place, format!("here {pattern_text} cannot tell them apart"));
            found.hint("name the interfaces of the pattern one by one, or give this one another name");
        }
    }
}

/// All names in the order of the file.
fn in_order(raw: &Raw) -> Vec<(&Name, Owner)> {
    let networks = (0..raw.networks.len()).map(Owner::Network);
    let flats = (0..raw.flats.len()).map(Owner::Flat);
    let nics = (0..raw.nics.len()).map(Owner::Nic);
    let owners = networks.chain(flats).chain(nics);
    let mut names: Vec<_> = owners.filter_map(|owner| Some((owner.name(raw)?, owner))).collect();
    names.sort_by_key(|(name, _)| name.span);
    names
}

/// The stems of the patterns, sorted; a pattern that another one covers is reported and left out.
fn prefixes<'r>(raw: &'r Raw, mistakes: &mut Mistakes) -> Vec<(&'r str, usize)> {
    let mut sorted: Vec<(&str, Span, usize)> = Vec::new();
    for (index, network) in raw.networks.iter().enumerate() {
        if let Some(Name { value: Some(NamePattern::Prefix(stem)), span, .. }) = &network.name {
            sorted.push((stem.as_str(), *span, index));
        }
    }
    sorted.sort();
    let mut roots: Vec<(&str, Span, usize)> = Vec::new();
    for next in sorted {
        match roots.last() {
            // The same pattern twice is reported as a name used twice.
            Some(root) if root.0 == next.0 => {}
            Some(root) if next.0.starts_with(root.0) => {
                let (earlier, later) = if root.1 < next.1 { (root.1, next.1) } else { (next.1, root.1) };
                let message = format!("the pattern `{}*` covers all of `{}*`", root.0, next.0);
                let found = mistakes.add(later, message);
                found.related(earlier, "the other pattern").hint("patterns that have no interface in common");
            }
            _ => roots.push(next),
        }
    }
    roots.into_iter().map(|(stem, _, index)| (stem, index)).collect()
}
