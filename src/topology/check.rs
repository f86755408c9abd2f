//! Entries to a topology: everything that more than one value has a say in.

use std::collections::BTreeMap;

use ipnet::IpNet;

use super::mistake::{At, Lines, Mistakes, Span, quote};
use super::model::{
    ApproachName, Entry, EntryId, EntryKind, Flat, IfName, Isolation, NamePattern, Network, NetworkKind, Nic,
    Role, Topology,
};
use super::names::{Names, Owner};
use super::raw::{Field, Head, List, Name, Raw};
use super::reach::{self, Reaches};
use super::subnets::Index;
use super::{allow, nics};

/// Checks what was read; the result is of use only where there is no mistake.
pub(super) fn check(
    file: &str,
    lines: &Lines,
    raw: &Raw,
    heads: &[Head],
    mistakes: &mut Mistakes,
) -> Option<Topology> {
    if raw.networks.is_empty() && raw.nics.is_empty() && !raw.unknown_table {
        let message = "the file describes no network";
        let hint = "it needs a `[[nic]]` with a name and a role, or a `[[bridge]]` with a name";
        mistakes.add(Span::default(), message).hint(hint);
    }
    let names = Names::of(raw, mistakes);
    let index = Index::of(raw, mistakes);
    let mut reaches = reach::resolve(raw, &names, mistakes);
    let allows = allow::check(raw, &names, &index, &mut reaches.used, mistakes);
    names.check_shadowed(raw, &reaches.used, mistakes);
    nics::check_empty(raw, &reaches, mistakes);
    check_sysctl(raw, mistakes);
    let networks = networks(raw, &names, &reaches, mistakes);
    let flats = flats(raw, &names, &reaches, mistakes);
    let nics = nics_of(raw, &reaches, mistakes);
    let mut entries: Vec<Entry> = heads.iter().map(|head| entry(head, raw, lines)).collect();
    let isolation = match &raw.isolation {
        Some(isolation) => {
            let approach = isolation.approach.given().map_or(ApproachName::Nftables, |at| at.value);
            let default = approach == ApproachName::Nftables;
            let masquerade = isolation.masquerade.given().map_or(default, |at| at.value);
            Isolation { entry: isolation.id, approach, masquerade }
        }
        None => {
            let id = EntryId(u32::try_from(entries.len()).ok()?);
            entries.push(Entry { kind: EntryKind::Isolation, name: String::new(), line: 0 });
            Isolation { entry: id, approach: ApproachName::Nftables, masquerade: true }
        }
    };
    let (mut networks, mut flats, mut nics) = (networks?, flats?, nics?);
    networks.sort_by(|a, b| a.name.cmp(&b.name));
    flats.sort_by(|a, b| a.name.cmp(&b.name));
    nics.sort_by(|a, b| a.name.cmp(&b.name));
    Some(Topology { file: file.to_owned(), entries, networks, flats, nics, allows, isolation })
}

fn entry(head: &Head, raw: &Raw, lines: &Lines) -> Entry {
    let named = |name: Option<&Name>| name.map(|name| name.text.clone()).unwrap_or_default();
    let name = match head.kind {
        EntryKind::Bridge | EntryKind::Overlay => {
            find(&raw.networks, head, |n| &n.head).and_then(|n| n.name.as_ref())
        }
        EntryKind::Flat => find(&raw.flats, head, |f| &f.head).and_then(|f| f.name.as_ref()),
        EntryKind::Nic => find(&raw.nics, head, |n| &n.head).and_then(|n| n.name.as_ref()),
        EntryKind::Allow | EntryKind::Isolation => None,
    };
    let name = match (head.kind, find(&raw.allows, head, |allow| &allow.head)) {
        (EntryKind::Allow, Some(allow)) => match (&allow.from, &allow.to) {
            (Some(from), Some(to)) => format!("{} to {}", from.value, shortest(to.value)),
            _ => String::new(),
        },
        _ => named(name),
    };
    Entry { kind: head.kind, name, line: lines.at(head.span.start).0 }
}

/// The entry with that head, in a list in the order of the file.
fn find<'r, T>(list: &'r [T], head: &Head, head_of: impl Fn(&T) -> &Head) -> Option<&'r T> {
    let at = list.binary_search_by_key(&head.id, |item| head_of(item).id).ok()?;
    list.get(at)
}

/// A network, or the address alone where it is one.
fn shortest(net: IpNet) -> String {
    if net.prefix_len() == net.max_prefix_len() { net.addr().to_string() } else { net.to_string() }
}

fn sorted(list: &List<IpNet>) -> Vec<IpNet> {
    let mut nets: Vec<IpNet> = list.items.iter().map(|at| at.value).collect();
    nets.sort();
    nets
}

fn exact(name: Option<&Name>) -> Option<IfName> {
    match &name?.value {
        Some(NamePattern::Exact(name)) => Some(name.clone()),
        _ => None,
    }
}

/// The NIC that a key names; reports that there is none.
fn nic_named(
    key: &str,
    at: Option<&At<String>>,
    title: &str,
    names: &Names<'_>,
    mistakes: &mut Mistakes,
) -> Option<IfName> {
    let at = at?;
    match names.owner(&at.value) {
        Some(Owner::Nic(_)) => IfName::new(&at.value).ok(),
        other => {
            let guess = mistakes.guess(&at.value, names.of_kind(|owner| matches!(owner, Owner::Nic(_))));
            let message = match other {
                Some(_) => format!("`{key}` of {title} names {}, which is no NIC", quote(&at.value)),
                None => format!("`{key}` of {title} names {}, and no NIC has that name", quote(&at.value)),
            };
            let exists = format!("NICs in this file: {}", names.nic_list);
            let hint = match guess {
                Some(guess) => format!("did you mean `{guess}`? {exists}"),
                None => exists,
            };
            mistakes.add(at.span, message).hint(hint);
            None
        }
    }
}

fn networks(
    raw: &Raw,
    names: &Names<'_>,
    reaches: &Reaches,
    mistakes: &mut Mistakes,
) -> Option<Vec<Network>> {
    let mut networks = Some(Vec::with_capacity(raw.networks.len()));
    for (network, reach) in raw.networks.iter().zip(&reaches.networks) {
        let kind = match &network.overlay {
            None => Some(NetworkKind::Bridge),
            Some(overlay) => {
                let title = &network.head.title;
                let underlay = nic_named("underlay", overlay.underlay.as_ref(), title, names, mistakes);
                let parts = (underlay, overlay.vni, overlay.port);
                match parts {
                    (Some(underlay), Some(vni), Some(port)) => {
                        Some(NetworkKind::Overlay { underlay, vni, port })
                    }
                    _ => None,
                }
            }
        };
        let name = network.name.as_ref().and_then(|name| name.value.clone());
        let parts = (kind, name, reach.clone(), network.inbound);
        let whole = match parts {
            (Some(kind), Some(name), Some(reach), Some(inbound)) => {
                let subnets = sorted(&network.subnets.list);
                Some(Network { entry: network.head.id, kind, name, subnets, reach, inbound })
            }
            _ => None,
        };
        push(&mut networks, whole);
    }
    networks
}

fn flats(raw: &Raw, names: &Names<'_>, reaches: &Reaches, mistakes: &mut Mistakes) -> Option<Vec<Flat>> {
    let mut flats = Some(Vec::with_capacity(raw.flats.len()));
    let mut taken: BTreeMap<&str, Span> = BTreeMap::new();
    for (flat, reach) in raw.flats.iter().zip(&reaches.flats) {
        let nic = nic_named("nic", flat.nic.as_ref(), &flat.head.title, names, mistakes);
        if let Some(at) = &flat.nic {
            if let Some(first) = taken.get(at.value.as_str()) {
                let message = format!("nic {} already has a flat", quote(&at.value));
                let found = mistakes.add(at.span, message);
                found.related(*first, "the other flat").hint("a NIC is the port of one bridge only");
            } else {
                taken.insert(&at.value, at.span);
            }
        }
        let whole = match (exact(flat.name.as_ref()), nic, reach.clone()) {
            (Some(name), Some(nic), Some(reach)) => Some(Flat { entry: flat.head.id, name, nic, reach }),
            _ => None,
        };
        push(&mut flats, whole);
    }
    flats
}

fn nics_of(raw: &Raw, reaches: &Reaches, mistakes: &mut Mistakes) -> Option<Vec<Nic>> {
    let mut all = Some(Vec::with_capacity(raw.nics.len()));
    for (nic, reach) in raw.nics.iter().zip(&reaches.nics) {
        let nat = nics::nat(nic, mistakes);
        let role = nic.role.as_ref().map(|role| Role(role.value.clone()));
        let whole = match (exact(nic.name.as_ref()), role, reach.clone(), nat) {
            (Some(name), Some(role), Some(reach), Some(nat)) => {
                let subnets = sorted(&nic.subnets.list);
                Some(Nic { entry: nic.head.id, name, role, subnets, reach, nat })
            }
            _ => None,
        };
        push(&mut all, whole);
    }
    all
}

/// Appends an entry; one that is not whole leaves no list.
fn push<T>(list: &mut Option<Vec<T>>, item: Option<T>) {
    match (list.as_mut(), item) {
        (Some(list), Some(item)) => list.push(item),
        _ => *list = None,
    }
}

/// Reports what sysctls cannot do: they know interfaces, but no addresses, protocols or ports.
fn check_sysctl(raw: &Raw, mistakes: &mut Mistakes) {
    let Some(isolation) = &raw.isolation else { return };
    let Field::Given(At { value: ApproachName::Sysctl, span: approach }) = isolation.approach else { return };
    let hint = "approach = \"nftables\"";
    if let Some(masquerade) = isolation.masquerade.given().filter(|at| at.value) {
        let found = mistakes.add(masquerade.span, "approach `sysctl` cannot masquerade");
        found.related(approach, "the approach").hint(format!("masquerade = false, or {hint}"));
    }
    for allow in &raw.allows {
        let message = format!("approach `sysctl` cannot make {}", allow.head.title.replacen("this", "an", 1));
        let found = mistakes.add(allow.head.span, message);
        found
            .label("sysctls know no addresses, protocols or ports")
            .related(approach, "the approach")
            .hint(hint);
    }
    for nic in &raw.nics {
        let masquerade = nic.masquerade.given().filter(|at| at.value).map(|at| ("masquerade", at.span));
        for (key, span) in masquerade.into_iter().chain(nic.snat.span.map(|span| ("snat", span))) {
            let message = format!("approach `sysctl` cannot do `{key}` of {}", nic.head.title);
            let found = mistakes.add(span, message);
            found.label("sysctls know no addresses").related(approach, "the approach").hint(hint);
        }
    }
}
