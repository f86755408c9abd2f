//! Who reaches whom: the words of `reach` to roles and networks.

use std::collections::BTreeMap;

use super::mistake::{At, Mistakes, Span, quote};
use super::model::{NamePattern, Reach, Role};
use super::names::{Names, Owner};
use super::raw::{List, Raw};

/// The resolved `reach` of every entry, by its index; nothing where a word of it was refused.
#[derive(Debug)]
pub(super) struct Reaches {
    pub(super) networks: Vec<Option<Vec<Reach>>>,
    pub(super) flats: Vec<Option<Vec<Role>>>,
    pub(super) nics: Vec<Option<Vec<Reach>>>,
    /// Patterns that take part in reach between networks: where.
    pub(super) used: BTreeMap<usize, Span>,
}

/// What one word means.
enum Meaning {
    Role(Role),
    Network(usize, NamePattern),
    /// It was reported.
    Nothing,
}

/// Resolves all `reach` lists.
pub(super) fn resolve(raw: &Raw, names: &Names<'_>, mistakes: &mut Mistakes) -> Reaches {
    let mut used = BTreeMap::new();
    let mut all = Vec::new();
    for (index, network) in raw.networks.iter().enumerate() {
        all.push(words(&network.reach, Owner::Network(index), raw, names, &mut used, mistakes));
    }
    let networks = all;
    let nic = |(index, nic): (usize, &super::raw::RawNic)| match nic.reach.span {
        Some(_) => words(&nic.reach, Owner::Nic(index), raw, names, &mut used, mistakes),
        // Unlike a bridge's, a NIC's default is nobody.
        None => Some(Vec::new()),
    };
    let nics = raw.nics.iter().enumerate().map(nic).collect();
    let mut flats = Vec::new();
    for (index, flat) in raw.flats.iter().enumerate() {
        let reach = words(&flat.reach, Owner::Flat(index), raw, names, &mut used, mistakes);
        flats.push(reach.map(|reach| reach.into_iter().filter_map(role_of).collect()));
    }
    Reaches { networks, flats, nics, used }
}

fn role_of(reach: Reach) -> Option<Role> {
    match reach {
        Reach::Role(role) => Some(role),
        Reach::Network(_) => None,
    }
}

/// Resolves one list, sorted; nothing where a word of it was refused.
fn words(
    list: &List<String>,
    owner: Owner,
    raw: &Raw,
    names: &Names<'_>,
    used: &mut BTreeMap<usize, Span>,
    mistakes: &mut Mistakes,
) -> Option<Vec<Reach>> {
    if list.span.is_none() {
        let has_service = names.roles.contains_key(Role::SERVICE);
        return Some(has_service.then(|| Reach::Role(Role(Role::SERVICE.to_owned()))).into_iter().collect());
    }
    let mut complete = !list.faulty;
    let mut reach = Vec::with_capacity(list.items.len());
    let mut seen: BTreeMap<&str, Span> = BTreeMap::new();
    for word in &list.items {
        if let Some(first) = seen.insert(&word.value, word.span) {
            let message = format!("{} is in `reach` of {} twice", quote(&word.value), owner.title(raw));
            mistakes.add(word.span, message).related(first, "also here").hint("leave one out");
            complete = false;
            continue;
        }
        match meaning(word, owner, raw, names, mistakes) {
            Meaning::Role(role) => reach.push(Reach::Role(role)),
            Meaning::Network(index, pattern) => {
                used.entry(index).or_insert(word.span);
                if let Owner::Network(own) = owner {
                    used.entry(own).or_insert(word.span);
                }
                reach.push(Reach::Network(pattern));
            }
            Meaning::Nothing => complete = false,
        }
    }
    reach.sort();
    complete.then_some(reach)
}

fn meaning(
    word: &At<String>,
    owner: Owner,
    raw: &Raw,
    names: &Names<'_>,
    mistakes: &mut Mistakes,
) -> Meaning {
    let title = owner.title(raw);
    let quoted = quote(&word.value);
    if let Some(nics) = names.roles.get(word.value.as_str()) {
        if let (Owner::Nic(own), [only]) = (owner, nics.as_slice())
            && own == *only
        {
            let found = mistakes.add(word.span, format!("no other NIC has the role {quoted}"));
            found.label(format!("{title} reaches its own link without this"));
            found.hint("leave it out, or name the role of another NIC");
            return Meaning::Nothing;
        }
        return Meaning::Role(Role(word.value.clone()));
    }
    match names.owner(&word.value) {
        Some(Owner::Network(_)) if matches!(owner, Owner::Flat(_)) => {
            let found =
                mistakes.add(word.span, format!("{quoted} is a network, and {title} can only reach roles"));
            found.hint(format!(
                "a flat is bridged, not routed to it; roles in this file: {}",
                names.role_list
            ));
            Meaning::Nothing
        }
        Some(target @ Owner::Network(index)) => {
            let Some(pattern) = target.name(raw).and_then(|name| name.value.clone()) else {
                return Meaning::Nothing;
            };
            if target == owner && !pattern.is_prefix() {
                let found = mistakes.add(word.span, format!("{title} always reaches itself"));
                found.hint("leave it out: what stays on a bridge is never forwarded");
                return Meaning::Nothing;
            }
            Meaning::Network(index, pattern)
        }
        Some(target @ (Owner::Flat(_) | Owner::Nic(_))) => {
            let found = mistakes.add(word.span, format!("`reach` of {title} names {}", target.title(raw)));
            let role = match target {
                Owner::Nic(index) => raw.nics.get(index).and_then(|nic| nic.role.as_ref()),
                Owner::Flat(index) => raw.flats.get(index).and_then(|flat| {
                    let nic = names.owner(&flat.nic.as_ref()?.value)?;
                    let Owner::Nic(index) = nic else { return None };
                    raw.nics.get(index)?.role.as_ref()
                }),
                Owner::Network(_) => None,
            };
            match role {
                Some(role) => found.hint(format!("NICs are reached by their role: {}", quote(&role.value))),
                None => found.hint("NICs are reached by their role"),
            };
            Meaning::Nothing
        }
        None => {
            unknown(word, owner, raw, names, mistakes);
            Meaning::Nothing
        }
    }
}

fn unknown(word: &At<String>, owner: Owner, raw: &Raw, names: &Names<'_>, mistakes: &mut Mistakes) {
    let flat = matches!(owner, Owner::Flat(_));
    let networks = names.of_kind(|owner| matches!(owner, Owner::Network(_)));
    let networks = networks.take(if flat { 0 } else { usize::MAX });
    let guess = mistakes.guess(&word.value, names.roles.keys().copied().chain(networks));
    let exists = match (flat, names.network_list.as_str()) {
        (true, _) => format!("roles in this file: {}", names.role_list),
        (false, networks) => format!("roles in this file: {}; networks: {networks}", names.role_list),
    };
    let hint = match guess {
        Some(guess) => format!("did you mean `{guess}`? {exists}"),
        None => exists,
    };
    let message = format!("no NIC has the role {}, and no network that name", quote(&word.value));
    let message = if flat { format!("no NIC has the role {}", quote(&word.value)) } else { message };
    let found = mistakes.add(word.span, message);
    found.label(format!("{} would reach nothing by it", owner.title(raw))).hint(hint);
}
