//! What a NIC needs: addresses where it is guarded, and somebody to translate for.

use std::collections::BTreeMap;
use std::net::IpAddr;

use super::mistake::{Mistakes, quote};
use super::model::{NicNat, Reach, Role};
use super::names::Owner;
use super::raw::{Field, Raw, RawNic};
use super::reach::Reaches;
use super::subnets::is_ipv4;

/// The translation of a NIC; nothing where it was refused.
pub(super) fn nat(nic: &RawNic, mistakes: &mut Mistakes) -> Option<NicNat> {
    let title = &nic.head.title;
    let masquerade = nic.masquerade.given().filter(|at| at.value);
    if let (Some(masquerade), Some(snat)) = (masquerade, nic.snat.span) {
        let message = format!("{title} has both `masquerade` and `snat`");
        mistakes
            .add(masquerade.span, message)
            .related(snat, "addresses to translate to")
            .hint("leave one out");
        return None;
    }
    let key = masquerade.map(|at| ("masquerade", at.span)).or(nic.snat.span.map(|span| ("snat", span)));
    let Some((key, span)) = key else {
        return (!matches!(nic.masquerade, Field::Faulty)).then_some(NicNat::None);
    };
    if key == "snat" && nic.snat.items.is_empty() {
        return None;
    }
    if nic.reach.items.is_empty() && !nic.reach.faulty {
        let message = format!("{title} has `{key}` but reaches nobody");
        let hint =
            "`reach` of a NIC names whom hosts behind it may open connections to, such as [\"service\"]";
        mistakes.add(span, message).label("nothing would be translated").hint(hint);
        return None;
    }
    if masquerade.is_some() {
        return Some(NicNat::Masquerade);
    }
    let mut addresses: Vec<IpAddr> = Vec::new();
    let mut complete = !nic.snat.faulty;
    for address in &nic.snat.items {
        let ipv4 = address.value.is_ipv4();
        let nets = nic.subnets.list.items.iter().map(|at| at.value).chain(nic.subnets.vague.iter().copied());
        if !nets.map(is_ipv4).any(|net| net == ipv4) && !nic.subnets.list.faulty {
            let family = if ipv4 { "IPv4" } else { "IPv6" };
            let message =
                format!("{title} has no {family} subnet for `snat` {}", quote(&address.value.to_string()));
            let found = mistakes.add(address.span, message);
            found.label("nothing would be translated").hint("add the subnet, or leave the address out");
            complete = false;
        }
        addresses.push(address.value);
    }
    addresses.sort();
    complete.then_some(NicNat::Snat(addresses))
}

/// Who does not reach a role: the first such network, the first two NICs, the first flats.
#[derive(Debug, Default, Clone, Copy)]
struct Barred {
    network: Option<usize>,
    nics: [Option<usize>; 2],
    flats: [Option<usize>; 2],
}

/// Reports NICs without subnets that somebody of the file may not reach: by the interface alone the
/// host's own address there, and detours to it, would stay open.
pub(super) fn check_empty(raw: &Raw, reaches: &Reaches, mistakes: &mut Mistakes) {
    let mut by_role: BTreeMap<&str, Barred> = BTreeMap::new();
    let empty = |nic: &&RawNic| nic.subnets.list.items.is_empty() && !nic.subnets.list.faulty;
    for nic in raw.nics.iter().filter(empty) {
        let Some(role) = &nic.role else { continue };
        by_role.entry(&role.value).or_default();
    }
    if by_role.is_empty() {
        return;
    }
    for (role, barred) in &mut by_role {
        *barred = barred_from(role, reaches);
    }
    for (index, nic) in raw.nics.iter().enumerate().filter(|(_, nic)| empty(nic)) {
        let Some(role) = &nic.role else { continue };
        let Some(barred) = by_role.get(role.value.as_str()) else { continue };
        let other = barred.nics.into_iter().flatten().find(|other| *other != index).map(Owner::Nic);
        let own_flat = |flat: &usize| {
            let nic_of = raw.flats.get(*flat).and_then(|flat| flat.nic.as_ref());
            nic_of.map(|at| &at.value) == nic.name.as_ref().map(|name| &name.text)
        };
        let flat = barred.flats.into_iter().flatten().find(|flat| !own_flat(flat)).map(Owner::Flat);
        let Some(who) = barred.network.map(Owner::Network).or(other).or(flat) else { continue };
        let message = format!("{} has no subnets, but is guarded from {}", nic.head.title, who.title(raw));
        let span = nic.subnets.list.span.unwrap_or(nic.head.span);
        let found = mistakes.add(span, message);
        found.label("guarded by the interface only; the host's own address on it could not be closed");
        found.hint("add `subnets`: the networks on the link and those routed behind it");
    }
}

fn barred_from(role: &str, reaches: &Reaches) -> Barred {
    let role = Role(role.to_owned());
    let word = Reach::Role(role.clone());
    // The lists are sorted. Where a word was refused there is none: it may have been this one.
    let lacks = |reach: &Option<Vec<Reach>>| reach.as_ref().is_some_and(|r| r.binary_search(&word).is_err());
    let flat_lacks =
        |reach: &Option<Vec<Role>>| reach.as_ref().is_some_and(|r| r.binary_search(&role).is_err());
    let mut nics = reaches.nics.iter().enumerate().filter(|(_, reach)| lacks(reach)).map(|(index, _)| index);
    let mut flats =
        reaches.flats.iter().enumerate().filter(|(_, reach)| flat_lacks(reach)).map(|(index, _)| index);
    Barred {
        network: reaches.networks.iter().position(lacks),
        nics: [nics.next(), nics.next()],
        flats: [flats.next(), flats.next()],
    }
}
