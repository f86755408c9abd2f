//! What changes besides ways: of the whole file, and of each party that both files have.

use std::collections::{BTreeMap, BTreeSet};

use ipnet::IpNet;

use super::parties::{Parties, Subject, kind_of};
use super::{Exception, Fact, Fate};
use crate::diff::Action;
use crate::intent::{Guard, Intent};
use crate::topology::{Allow, NetworkKind, NicNat, Topology};

pub(super) fn facts(old: &Intent<'_>, new: &Intent<'_>, parties: &Parties) -> Vec<Fact> {
    let mut facts = Vec::new();
    let mut note = |of: &str, what: &'static str, old: String, new: String| {
        if old != new {
            facts.push(Fact { of: of.to_owned(), what, old, new });
        }
    };
    let (a, b) = (old.topology, new.topology);
    let approach = |topology: &Topology| topology.isolation.approach.as_str().to_owned();
    note("isolation", "approach", approach(a), approach(b));
    let masquerade = |topology: &Topology| topology.isolation.masquerade.to_string();
    note("isolation", "masquerade", masquerade(a), masquerade(b));
    for (subject, i, j) in both(&parties.nics) {
        let of = format!("nic {}", subject.name);
        let (x, y) = (&a.nics[i], &b.nics[j]);
        note(&of, "role", x.role.to_string(), y.role.to_string());
        note(&of, "guarded", guard(old.guards[i]), guard(new.guards[j]));
        let [lost, gained] = subnets(&x.subnets, &y.subnets);
        note(&of, "subnets", lost, gained);
        note(&of, "nat", nat(&x.nat), nat(&y.nat));
    }
    for (subject, i, j) in both(&parties.networks) {
        let (x, y) = (&a.networks[i], &b.networks[j]);
        let of = format!("{} {}", kind_of(&y.kind), subject.name);
        note(&of, "kind", kind_of(&x.kind).to_owned(), kind_of(&y.kind).to_owned());
        note(&of, "underlay", underlay(&x.kind), underlay(&y.kind));
        let [lost, gained] = subnets(&x.subnets, &y.subnets);
        note(&of, "subnets", lost, gained);
    }
    for (subject, i, j) in both(&parties.flats) {
        let of = format!("flat {}", subject.name);
        note(&of, "nic", a.flats[i].nic.to_string(), b.flats[j].nic.to_string());
    }
    facts
}

/// Those that have an entry in each file.
fn both(subjects: &[Subject]) -> impl Iterator<Item = (&Subject, usize, usize)> {
    let is_one = |subject: &&Subject| !matches!(subject.fate, Some((Fate::Joined | Fate::Split, _)));
    subjects.iter().filter(is_one).filter_map(|subject| Some((subject, subject.old?, subject.new?)))
}

fn guard(guard: Guard) -> String {
    let words = match guard {
        Guard::All => "for everyone",
        Guard::Some => "for some",
        Guard::None => "for nobody",
    };
    words.to_owned()
}

/// What only the one has, and what only the other has.
fn subnets(old: &[IpNet], new: &[IpNet]) -> [String; 2] {
    let (a, b): (BTreeSet<_>, BTreeSet<_>) = (old.iter().collect(), new.iter().collect());
    [a.difference(&b), b.difference(&a)].map(|nets| {
        let nets: Vec<String> = nets.map(ToString::to_string).collect();
        if nets.is_empty() { "-".to_owned() } else { nets.join(", ") }
    })
}

fn nat(nat: &NicNat) -> String {
    match nat {
        NicNat::None => "none".to_owned(),
        NicNat::Masquerade => "masquerade".to_owned(),
        NicNat::Snat(addresses) => {
            let addresses: Vec<String> = addresses.iter().map(ToString::to_string).collect();
            format!("snat {}", addresses.join(", "))
        }
    }
}

fn underlay(kind: &NetworkKind) -> String {
    match kind {
        NetworkKind::Bridge => "-".to_owned(),
        NetworkKind::Overlay { underlay, vni, port } => format!("{underlay}, VNI {vni}, UDP port {port}"),
    }
}

/// Exceptions that only one file has. Where only the reason is another, nothing changes.
pub(super) fn exceptions(old: &Topology, new: &Topology, parties: &Parties) -> Vec<Exception> {
    // By what the new file calls them.
    let mut renamed: BTreeMap<&str, &str> = BTreeMap::new();
    for subject in parties.networks.iter().chain(&parties.nics) {
        if let Some((Fate::Renamed, Some(before))) = &subject.fate {
            renamed.insert(before, &subject.name);
        }
    }
    let name = |name: String| renamed.get(name.as_str()).map_or(name.clone(), |now| (*now).to_owned());
    let list = |topology: &Topology, action| -> Vec<Exception> {
        topology.allows.iter().map(|allow| exception(allow, action)).collect()
    };
    let mut gone: BTreeSet<Exception> = BTreeSet::new();
    for other in list(old, Action::Create) {
        gone.insert(Exception { from: name(other.from), to: name(other.to), ..other });
    }
    let mut come: BTreeSet<Exception> = list(new, Action::Create).into_iter().collect();
    let same: Vec<Exception> = gone.intersection(&come).cloned().collect();
    for other in &same {
        gone.remove(other);
        come.remove(other);
    }
    let gone = gone.into_iter().map(|other| Exception { action: Action::Delete, ..other });
    come.into_iter().chain(gone).collect()
}

/// `tcp 111, 2049`; `any protocol`.
pub(crate) fn service(allow: &Allow) -> String {
    let ports: Vec<String> = allow
        .ports
        .iter()
        .map(|ports| match (ports.first, ports.last) {
            (first, last) if first == last => first.to_string(),
            (first, last) => format!("{first}-{last}"),
        })
        .collect();
    let protocol = allow.protocol.map_or("any protocol", |protocol| protocol.as_str());
    let (ports, space) = (ports.join(", "), if ports.is_empty() { "" } else { " " });
    format!("{protocol}{space}{ports}")
}

/// An entry as one that comes or goes.
pub(crate) fn exception(allow: &Allow, action: Action) -> Exception {
    Exception {
        action,
        from: allow.from.to_string(),
        to: allow.to_name.to_string(),
        address: allow.to.to_string(),
        service: service(allow),
    }
}
