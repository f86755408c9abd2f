//! Subnets that one entry had and another has: whoever may talk to the new one may talk to them.

use std::collections::{BTreeMap, BTreeSet};

use ipnet::IpNet;

use super::parties::{Parties, Subject};
use crate::topology::Topology;

/// A network or NIC, by its place in the list of its kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Holder {
    Network(usize),
    Nic(usize),
}

/// A subnet, or the part of it, that one had and another has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Move {
    pub(super) net: IpNet,
    pub(super) from: Holder,
    pub(super) to: Holder,
}

/// Every one of them. One that its holder still has, whole, has not gone to another.
pub(super) fn moves(old: &Topology, new: &Topology, parties: &Parties) -> Vec<Move> {
    let (before, after) =
        (held(parties, |subject| subject.old, old), held(parties, |subject| subject.new, new));
    let mut holders: BTreeMap<IpNet, BTreeSet<Holder>> = BTreeMap::new();
    for (holder, net) in &after {
        holders.entry(*net).or_default().insert(*holder);
    }
    let kept: BTreeSet<(Holder, IpNet)> = after.iter().copied().collect();
    // Several subjects may share an entry of the old file, when a wildcard is split.
    let place = |holder: Holder| match holder {
        Holder::Network(at) => (0, parties.networks[at].old),
        Holder::Nic(at) => (1, parties.nics[at].old),
    };
    let mut told = BTreeSet::new();
    let mut moves = Vec::new();
    for (from, net) in before {
        if kept.contains(&(from, net)) {
            continue;
        }
        let inner = holders.range(net..).take_while(|(other, _)| net.contains(&other.network()));
        let inner = inner.filter(|(other, _)| net.contains(*other));
        let outer = (0..net.prefix_len()).filter_map(|length| {
            let outer = IpNet::new(net.addr(), length).ok()?.trunc();
            holders.get_key_value(&outer)
        });
        for (other, to) in inner.chain(outer) {
            let part = if net.contains(other) { *other } else { net };
            for to in to.iter().filter(|to| place(**to) != place(from)) {
                if told.insert((part, place(from), *to)) {
                    moves.push(Move { net: part, from, to: *to });
                }
            }
        }
    }
    moves
}

fn held(
    parties: &Parties,
    place: impl Fn(&Subject) -> Option<usize>,
    topology: &Topology,
) -> Vec<(Holder, IpNet)> {
    let networks = parties.networks.iter().enumerate().flat_map(|(at, subject)| {
        let nets = place(subject).map_or(&[][..], |entry| &topology.networks[entry].subnets);
        nets.iter().map(move |net| (Holder::Network(at), net.trunc()))
    });
    let nics = parties.nics.iter().enumerate().flat_map(|(at, subject)| {
        let nets = place(subject).map_or(&[][..], |entry| &topology.nics[entry].subnets);
        nets.iter().map(move |net| (Holder::Nic(at), net.trunc()))
    });
    networks.chain(nics).collect()
}
