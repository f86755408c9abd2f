//! A topology drafted from what a host has: who is a NIC, who a network of containers, and what each NIC is
//! probably for.
//!
//! A guess must not widen. So nobody reaches a NIC whose role is not known, no bridge reaches more than
//! `service`, `service` is one NIC only, the one that the default route leaves by, and what cannot be said in a
//! file is left out and told.

pub mod engine;
pub mod evidence;
mod links;
mod roles;
mod subnets;
#[cfg(test)]
mod tests;
mod write;

use std::collections::{BTreeMap, BTreeSet};

use ipnet::IpNet;

pub use self::evidence::Evidence;
use self::links::{Found, Sorted};
use self::subnets::{Claim, resolve};
use crate::topology::{IfName, NamePattern};

/// What a NIC is for, in the words of the file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum RoleGuess {
    /// The default route leaves by it.
    Service,
    /// Storage is mounted over it.
    Storage,
    /// People log in over it.
    Management,
    /// Nothing tells.
    Unknown,
}

impl RoleGuess {
    /// The role in the file.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Service => "service",
            Self::Storage => "storage",
            Self::Management => "management",
            Self::Unknown => "unknown",
        }
    }
}

/// A `[[nic]]` of the draft.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DraftNic {
    /// Its interface.
    pub name: IfName,
    /// What it is probably for.
    pub role: RoleGuess,
    /// Why, and what else is to be known of it: a clause each.
    pub evidence: Vec<String>,
    /// On the link and behind it; sorted. Never empty.
    pub subnets: Vec<IpNet>,
}

/// A `[[bridge]]` or an `[[overlay]]` of the draft.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DraftNetwork {
    /// Its interface or interfaces.
    pub name: NamePattern,
    /// What is to be known of it: a clause each.
    pub evidence: Vec<String>,
    /// Sorted; may be empty.
    pub subnets: Vec<IpNet>,
    /// Whether it is to reach `service`, as a file does that says nothing about it.
    pub reaches_service: bool,
    /// Of an overlay: the NIC below it, its VNI and its port.
    pub overlay: Option<(IfName, u32, u16)>,
}

/// A `[[flat]]` of the draft.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DraftFlat {
    /// The bridge.
    pub name: IfName,
    /// The NIC that is a port of it.
    pub nic: IfName,
}

/// A draft.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Draft {
    /// Sorted by name, as the other lists.
    pub nics: Vec<DraftNic>,
    /// Bridges and overlays.
    pub networks: Vec<DraftNetwork>,
    /// Flats.
    pub flats: Vec<DraftFlat>,
    /// Who masquerades already; then isoplan does not.
    pub masquerades: Option<String>,
    /// What of this host is not in the draft, and why: a sentence each.
    pub left_out: Vec<String>,
    /// What to look at before it is applied: a sentence each.
    pub remarks: Vec<String>,
    /// What could not be read: a clause each.
    pub unseen: Vec<String>,
}

/// Who an entry of the file is to be, before it is known whether it can be.
struct Candidate {
    what: What,
    name: NamePattern,
    evidence: Vec<String>,
    internal: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum What {
    /// By the number of the link; of the link that has its addresses.
    Nic {
        link: u32,
        home: u32,
    },
    Network,
    Overlay {
        vxlan: u32,
    },
}

/// Drafts a topology.
pub fn draft(seen: &Evidence) -> Draft {
    let mut draft = Draft { unseen: seen.unseen.clone(), ..Draft::default() };
    let mut sorted = links::sort(seen, &mut draft.left_out);
    let (candidates, owner_of_link) = candidates(seen, &mut sorted);
    let service = roles::service_link(seen).and_then(|link| owner_of_link.get(&link).copied());
    let claims = claims(seen, &owner_of_link, &candidates, service, &mut draft);
    let title = |owner: usize| candidates[owner].name.to_string();
    let mut resolved = resolve(claims);
    for given_up in &resolved.given_up {
        draft.left_out.push(given_up.told(&title));
    }

    let nets = |resolved: &mut subnets::Resolved, owner| resolved.nets.remove(&owner).unwrap_or_default();
    for (owner, candidate) in candidates.iter().enumerate() {
        let What::Nic { link, home } = candidate.what else { continue };
        let subnets = nets(&mut resolved, owner);
        let NamePattern::Exact(name) = &candidate.name else { continue };
        let flat = (link != home).then(|| seen.host.links.get(&home)).flatten();
        if subnets.is_empty() {
            draft.left_out.push(format!(
                "{name}: it has no network of its own, so that it cannot be guarded by address. Containers do \
                 not reach a link that the file does not have."
            ));
            continue;
        }
        let (role, mut evidence) = roles::guess(seen, owner, service, &owner_of_link);
        evidence.extend(candidate.evidence.iter().cloned());
        if let Some(flat) = flat.and_then(|flat| IfName::new(&flat.name).ok()) {
            draft.flats.push(DraftFlat { name: flat, nic: name.clone() });
        }
        draft.nics.push(DraftNic { name: name.clone(), role, evidence, subnets });
    }
    let is_there = |name: &str, nics: &[DraftNic]| nics.iter().any(|nic| nic.name.as_str() == name);
    for (owner, candidate) in candidates.iter().enumerate() {
        let subnets = nets(&mut resolved, owner);
        let overlay = match candidate.what {
            What::Nic { .. } => continue,
            What::Network => None,
            What::Overlay { vxlan } => match links::underlay(seen, vxlan, &owner_of_link) {
                Ok((underlay, vni, port)) => {
                    let nic = candidates[underlay].name.stem();
                    match IfName::new(nic) {
                        Ok(nic) if is_there(nic.as_str(), &draft.nics) => Some((nic, vni, port)),
                        _ => {
                            let why = format!("{}: the NIC below it is not in the draft.", candidate.name);
                            draft.left_out.push(why);
                            continue;
                        }
                    }
                }
                Err(why) => {
                    draft.left_out.push(format!("{}: {why}.", candidate.name));
                    continue;
                }
            },
        };
        draft.networks.push(DraftNetwork {
            name: candidate.name.clone(),
            evidence: candidate.evidence.clone(),
            subnets,
            reaches_service: !candidate.internal,
            overlay,
        });
    }
    draft.nics.sort_by(|a, b| a.name.cmp(&b.name));
    draft.flats.sort_by(|a, b| a.name.cmp(&b.name));
    draft.networks.sort_by(|a, b| a.name.cmp(&b.name));
    let has_networks = !draft.networks.is_empty();
    draft.masquerades = has_networks.then(|| roles::masquerades(seen)).flatten();
    roles::remarks(seen, &mut draft, &owner_of_link, &candidates_names(&candidates));
    draft.left_out.sort();
    draft.left_out.dedup();
    draft
}

fn candidates_names(candidates: &[Candidate]) -> Vec<String> {
    candidates.iter().map(|candidate| candidate.name.to_string()).collect()
}

/// The entries to be, and whose each link is: that of its own entry, of a pattern, or of the NIC that is a port of
/// it.
fn candidates(seen: &Evidence, sorted: &mut Sorted) -> (Vec<Candidate>, BTreeMap<u32, usize>) {
    let mut candidates = Vec::new();
    let mut owner_of_link = BTreeMap::new();
    let name_of = |link: u32| {
        seen.host.links.get(&link).and_then(|link| IfName::new(&link.name).ok()).map(NamePattern::Exact)
    };
    let mut taken: BTreeSet<String> = BTreeSet::new();
    for (link, found) in &sorted.links {
        let Some(name) = name_of(*link) else { continue };
        match found {
            Found::Nic => taken.insert(name.stem().to_owned()),
            Found::Flat { .. } => taken.insert(name.stem().to_owned()),
            _ => false,
        };
    }
    let patterns = links::patterns(seen, sorted, &taken);
    let mut by_pattern: BTreeMap<&'static str, usize> = BTreeMap::new();
    for (link, found) in &sorted.links {
        let Some(name) = name_of(*link) else { continue };
        let evidence = sorted.notes.remove(link).unwrap_or_default();
        let (what, internal) = match found {
            Found::Nic => {
                (What::Nic { link: *link, home: sorted.homes.get(link).copied().unwrap_or(*link) }, false)
            }
            Found::Flat { .. } => continue,
            Found::Network { internal } => (What::Network, *internal),
            Found::Overlay { vxlan } => (What::Overlay { vxlan: *vxlan }, false),
        };
        let stem = (what == What::Network && !internal).then(|| links::family(name.stem())).flatten();
        if let Some(stem) = stem.filter(|stem| patterns.contains(stem)) {
            let owner = *by_pattern.entry(stem).or_insert_with(|| {
                candidates.push(pattern(stem));
                candidates.len() - 1
            });
            owner_of_link.insert(*link, owner);
            continue;
        }
        owner_of_link.insert(*link, candidates.len());
        if let What::Nic { home, .. } = what {
            owner_of_link.insert(home, candidates.len());
        }
        candidates.push(Candidate { what, name, evidence, internal });
    }
    // What an engine has and did not need yet.
    for network in &seen.engines {
        let Some(interface) = network.interface.as_deref().filter(|_| network.driver == "bridge") else {
            continue;
        };
        let Ok(name) = IfName::new(interface) else { continue };
        if seen.host.link(interface).is_some() || taken.contains(interface) {
            continue;
        }
        let stem = links::family(interface).filter(|stem| !network.internal && by_pattern.contains_key(stem));
        let is_known = candidates.iter().any(|known| known.name.stem() == interface);
        if stem.is_none() && !is_known {
            let evidence = vec![format!("{}; its bridge is not there now", network.title())];
            let name = NamePattern::Exact(name);
            candidates.push(Candidate { what: What::Network, name, evidence, internal: network.internal });
        }
    }
    (candidates, owner_of_link)
}

fn pattern(stem: &'static str) -> Candidate {
    let evidence = vec![match stem {
        "br-" => "user-defined networks, also those to come".to_owned(),
        _ => format!("networks {stem}0, {stem}1 and so on, also those to come"),
    }];
    // The stems are constants that are names.
    let name = IfName::new(stem).map_or_else(|_| unreachable!("`{stem}` is a name"), NamePattern::Prefix);
    Candidate { what: What::Network, name, evidence, internal: false }
}

/// Every network that an entry says to have.
fn claims(
    seen: &Evidence,
    owner_of_link: &BTreeMap<u32, usize>,
    candidates: &[Candidate],
    service: Option<usize>,
    draft: &mut Draft,
) -> Vec<Claim> {
    let mut claims = Vec::new();
    for address in &seen.host.addresses {
        let Some(owner) = owner_of_link.get(&address.link).copied() else { continue };
        let net = address.address.trunc();
        if crate::topology::is_special(net) {
            continue;
        }
        claims.push(Claim { net, owner, rank: u8::from(service != Some(owner)) });
    }
    for route in &seen.host.routes {
        let Some(owner) = owner_of_link.get(&route.link).copied() else { continue };
        if route.to.prefix_len() == 0 {
            continue;
        }
        if crate::topology::is_special(route.to) {
            let is_local = subnets::is_link_scope(route.to);
            if !is_local {
                let name = &candidates[owner].name;
                draft.left_out.push(format!("{} behind {name}: no subnet of a file can be that.", route.to));
            }
            continue;
        }
        claims.push(Claim { net: route.to.trunc(), owner, rank: 2 });
    }
    for network in &seen.engines {
        let Some(interface) = &network.interface else { continue };
        let by_link = seen.host.link(interface).and_then(|link| owner_of_link.get(&link.index)).copied();
        let by_name = || candidates.iter().position(|known| known.name.stem() == interface);
        let by_stem = || {
            let stem = links::family(interface)?;
            candidates.iter().position(|known| known.name.is_prefix() && known.name.stem() == stem)
        };
        let Some(owner) = by_link.or_else(by_name).or_else(by_stem) else { continue };
        let nets = network.subnets.iter().filter(|net| !crate::topology::is_special(net.trunc()));
        claims.extend(nets.map(|net| Claim { net: net.trunc(), owner, rank: 3 }));
    }
    claims
}
