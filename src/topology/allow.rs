//! Exceptions: between two entries of the file, for packets that can exist, and each packet once.

use std::collections::BTreeMap;

use ipnet::IpNet;

use super::mistake::{At, Mistakes, Span, listed, quote};
use super::model::{Allow, NamePattern, PortRange, Protocol};
use super::names::{Names, Owner};
use super::ports::merged;
use super::raw::{Field, Raw, RawAllow};
use super::subnets::{Index, family, is_ipv4};

/// Subnets that a hint lists.
const LISTED: usize = 9;

/// Checks all exceptions. Adds to `used` the patterns that they need to tell from other names.
pub(super) fn check(
    raw: &Raw,
    names: &Names<'_>,
    index: &Index,
    used: &mut BTreeMap<usize, Span>,
    mistakes: &mut Mistakes,
) -> Vec<Allow> {
    let mut allows = Vec::with_capacity(raw.allows.len());
    let mut covers = Vec::with_capacity(raw.allows.len());
    for allow in &raw.allows {
        let from = allow.from.as_ref().and_then(|from| source(from, allow, raw, names, mistakes));
        let to = allow.to.as_ref().and_then(|to| target(to, allow, raw, index, mistakes));
        let service = service(allow, mistakes);
        let ends = [from, to.map(|(to, owner)| (owner, to.span))];
        for (owner, span) in ends.into_iter().flatten() {
            if let Owner::Network(network) = owner {
                used.entry(network).or_insert(span);
            }
        }
        let (Some((from, from_at)), Some((to, to_owner))) = (from, to) else { continue };
        if from == to_owner {
            let message = format!("{} is behind {} itself", shortest(to.value), from.title(raw));
            let hint = match pattern(from, raw) {
                Some(pattern) if pattern.is_prefix() => {
                    format!("interfaces of a pattern reach each other by `reach`: \"{pattern}\"")
                }
                _ => "an exception leads from one network to another".to_owned(),
            };
            mistakes.add(to.span, message).related(from_at, "the source").hint(hint);
            continue;
        }
        let Some((protocol, ports)) = service else { continue };
        covers.push(Cover { from, to, protocol, ports: ports.clone() });
        let from_subnets = subnets_of(from, raw, is_ipv4(to.value));
        let Some(from_subnets) = from_subnets else { continue };
        if from_subnets.is_empty() {
            let family = family(to.value);
            let message = format!("{} has no {family} subnet, and `to` is {family}", from.title(raw));
            let found = mistakes.add(from_at, message);
            found.related(to.span, family);
            found.hint("an exception is for the addresses in `subnets` of its source: add one there");
            continue;
        }
        let (Some(from), Some(to_name)) = (pattern(from, raw), pattern(to_owner, raw)) else { continue };
        allows.push(Allow {
            entry: allow.head.id,
            from,
            from_subnets,
            to: to.value,
            to_name,
            protocol,
            ports,
            reason: allow.reason.clone(),
        });
    }
    check_covered_twice(&mut covers, mistakes);
    allows.sort_by(|a, b| (&a.from, a.to, a.protocol, &a.ports).cmp(&(&b.from, b.to, b.protocol, &b.ports)));
    allows
}

fn pattern(owner: Owner, raw: &Raw) -> Option<NamePattern> {
    owner.name(raw)?.value.clone()
}

/// The subnets of a family, sorted; nothing where some were refused.
fn subnets_of(owner: Owner, raw: &Raw, ipv4: bool) -> Option<Vec<IpNet>> {
    let list = match owner {
        Owner::Network(index) => &raw.networks.get(index)?.subnets.list,
        Owner::Nic(index) => &raw.nics.get(index)?.subnets.list,
        Owner::Flat(_) => return None,
    };
    let mut nets: Vec<IpNet> =
        list.items.iter().map(|at| at.value).filter(|net| is_ipv4(*net) == ipv4).collect();
    nets.sort();
    (!list.faulty).then_some(nets)
}

/// Whom the exception is for.
fn source(
    from: &At<String>,
    allow: &RawAllow,
    raw: &Raw,
    names: &Names<'_>,
    mistakes: &mut Mistakes,
) -> Option<(Owner, Span)> {
    let quoted = quote(&from.value);
    match names.owner(&from.value) {
        Some(owner @ (Owner::Network(_) | Owner::Nic(_))) => Some((owner, from.span)),
        Some(flat @ Owner::Flat(_)) => {
            let found =
                mistakes.add(from.span, format!("{} cannot be the source of an exception", flat.title(raw)));
            found.hint(
                "a flat is bridged onto its NIC: its packets are not routed here, so none can be let through",
            );
            None
        }
        None => {
            let candidates = names.of_kind(|owner| !matches!(owner, Owner::Flat(_)));
            let guess = mistakes.guess(&from.value, candidates);
            let found = if names.roles.contains_key(from.value.as_str()) {
                mistakes.add(from.span, format!("{quoted} is a role, and `from` takes a name"))
            } else {
                mistakes.add(from.span, format!("no bridge, overlay or NIC has the name {quoted}"))
            };
            found.label(format!("{} would be for nobody", allow.head.title));
            let exists = format!("networks in this file: {}; NICs: {}", names.network_list, names.nic_list);
            match guess {
                Some(guess) => found.hint(format!("did you mean `{guess}`? {exists}")),
                None => found.hint(exists),
            };
            None
        }
    }
}

/// Whose subnet the target is in.
fn target(
    to: &At<IpNet>,
    allow: &RawAllow,
    raw: &Raw,
    index: &Index,
    mistakes: &mut Mistakes,
) -> Option<(At<IpNet>, Owner)> {
    if let Some(around) = index.around(to.value) {
        return Some((*to, around.owner));
    }
    let text = shortest(to.value);
    if let Some(first) = index.within(to.value).next() {
        let title = first.owner.title(raw);
        let subnets = index.within(to.value).take(LISTED);
        let subnets: Vec<String> = subnets.map(|owned| owned.net.to_string()).collect();
        let message = format!("{text} is wider than the subnet `{}` of {title}", first.net);
        let hint = format!("an exception within one of: {}", listed(subnets.iter().map(String::as_str)));
        mistakes.add(to.span, message).hint(hint);
        return None;
    }
    if index.may_contain(to.value) {
        return None;
    }
    let family_name = family(to.value);
    let subnets = index.family(is_ipv4(to.value)).take(LISTED);
    let subnets: Vec<String> =
        subnets.map(|owned| format!("{} ({})", owned.net, owned.owner.title(raw).replace('`', ""))).collect();
    let found = mistakes.add(to.span, format!("no NIC or network of this file has {text}"));
    found.label(format!("{} would lead nowhere", allow.head.title));
    found.hint(format!("{family_name} subnets in this file: {}", listed(subnets.iter().map(String::as_str))));
    None
}

/// A network, or the address alone where it is one, in backticks.
fn shortest(net: IpNet) -> String {
    let alone = net.prefix_len() == net.max_prefix_len();
    quote(&if alone { net.addr().to_string() } else { net.to_string() })
}

/// Protocol and ports; nothing where they were refused.
fn service(allow: &RawAllow, mistakes: &mut Mistakes) -> Option<(Option<Protocol>, Vec<PortRange>)> {
    let title = &allow.head.title;
    let protocol = match allow.protocol {
        Field::Absent => None,
        Field::Faulty => return None,
        Field::Given(at) => Some(at),
    };
    if let Some(ports) = allow.ports.span {
        match protocol {
            None => {
                let found = mistakes.add(ports, format!("{title} has `ports` but no `protocol`"));
                found.hint("such as: protocol = \"tcp\"; ports belong to tcp, udp or sctp");
                return None;
            }
            Some(at) if !at.value.has_ports() => {
                let message = format!("{title} has `ports`, and `{}` has none", at.value.as_str());
                mistakes.add(ports, message).related(at.span, "no ports").hint("leave `ports` out");
                return None;
            }
            Some(_) => {}
        }
    }
    if let (Some(at), Some(to)) = (protocol, &allow.to) {
        let (wrong, right) = match (at.value, to.value) {
            (Protocol::Icmp, IpNet::V6(_)) => ("`icmp` is IPv4 only", "for IPv6: protocol = \"icmpv6\""),
            (Protocol::Icmpv6, IpNet::V4(_)) => ("`icmpv6` is IPv6 only", "for IPv4: protocol = \"icmp\""),
            _ => ("", ""),
        };
        if !wrong.is_empty() {
            let message = format!("{wrong}, and `to` of {title} is {}", family(to.value));
            mistakes.add(at.span, message).related(to.span, family(to.value)).hint(right);
            return None;
        }
    }
    (!allow.ports.faulty).then(|| (protocol.map(|at| at.value), merged(&allow.ports.items)))
}

/// The packets of an exception.
struct Cover {
    from: Owner,
    to: At<IpNet>,
    protocol: Option<Protocol>,
    ports: Vec<PortRange>,
}

impl Cover {
    /// Protocol number and ports, as pieces of which no two have a packet in common. 0 stands for all
    /// protocols without a word in the file.
    fn pieces(&self) -> Vec<(u8, PortRange)> {
        let all = PortRange { first: 0, last: u16::MAX };
        match self.protocol {
            None => {
                let named = Protocol::WORDS.iter().map(|(protocol, _)| protocol.number());
                std::iter::once(0).chain(named).map(|number| (number, all)).collect()
            }
            Some(protocol) if self.ports.is_empty() => vec![(protocol.number(), all)],
            Some(protocol) => self.ports.iter().map(|range| (protocol.number(), *range)).collect(),
        }
    }
}

/// Reports exceptions that have a packet in common.
///
/// Sorted by target, an exception can only meet those whose target is around its own, and these are
/// the ones on a stack. What lies on the stack has nothing in common, so one look into a sorted map
/// finds what the next one meets.
fn check_covered_twice(covers: &mut [Cover], mistakes: &mut Mistakes) {
    covers.sort_by_key(|cover| (cover.from, cover.to.value, cover.to.span));
    let mut stack: Vec<&Cover> = Vec::new();
    let mut taken: BTreeMap<(u8, u16), (u16, Span)> = BTreeMap::new();
    for cover in covers.iter() {
        while let Some(top) =
            stack.pop_if(|top| top.from != cover.from || !top.to.value.contains(&cover.to.value))
        {
            for (number, range) in top.pieces() {
                taken.remove(&(number, range.first));
            }
        }
        let pieces = cover.pieces();
        let met = pieces.iter().find_map(|(number, range)| {
            let (key, (last, span)) = taken.range(..=(*number, range.last)).next_back()?;
            (key.0 == *number && *last >= range.first).then_some(*span)
        });
        if let Some(other) = met {
            let (earlier, later) = (other.min(cover.to.span), other.max(cover.to.span));
            let found = mistakes.add(later, "two exceptions cover the same packets");
            found.label("this exception").related(earlier, "and this one");
            found.hint("leave one out, or give them different protocols or ports");
            continue;
        }
        taken.extend(
            pieces.into_iter().map(|(number, range)| ((number, range.first), (range.last, cover.to.span))),
        );
        stack.push(cover);
    }
}
