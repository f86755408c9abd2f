//! Who gains or loses which way.

use std::collections::{BTreeMap, BTreeSet};

use ipnet::IpNet;

use super::moved::{Holder, Move, moves};
use super::parties::{Parties, Subject};
use super::{ANSWERS, EACH_OTHER, Step, WayChange, passes};
use crate::intent::{Intent, IpFamily, Party, Way};

/// What changes in IPv4 and in IPv6.
type Steps = [Option<Step>; 2];

/// Somebody, by the place in the list of the kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Who {
    Network(usize),
    /// The other networks of the same wildcard.
    Each(usize),
    /// Hosts behind the same NIC, by way of this host.
    EachBehind(usize),
    Flat(usize),
    Nic(usize),
    Host(usize),
    /// Addresses that went from one entry to another, by the place in the list of moves.
    Moved(usize),
    /// This host's own address among them.
    HostIn(usize),
}

/// So many networks with entries of their own in one file may be one wildcard's in the other until their pairs
/// among each other are not asked for any more.
const ASKED: usize = 300;

struct Walk<'w> {
    old: &'w Intent<'w>,
    new: &'w Intent<'w>,
    parties: &'w Parties,
    /// Senders by receiver and what changes for them.
    found: BTreeMap<(Who, Steps), BTreeSet<Who>>,
    /// Networks that had or have to do with each other, both ways around.
    pairs: BTreeSet<(usize, usize)>,
    moves: Vec<Move>,
    /// Wildcards whose networks were not asked for among each other.
    left_out: BTreeSet<String>,
}

/// What changes, and the wildcards of one file whose networks are so many in the other that pairs of them were not
/// compared.
pub(super) fn changes(
    old: &Intent<'_>,
    new: &Intent<'_>,
    parties: &Parties,
) -> (Vec<WayChange>, BTreeSet<String>) {
    let moves = moves(old.topology, new.topology, parties);
    let (found, pairs, left_out) = (BTreeMap::new(), BTreeSet::new(), BTreeSet::new());
    let mut walk = Walk { old, new, parties, found, pairs, moves, left_out };
    walk.with_nics();
    walk.between_networks();
    walk.with_moved();
    let left_out = std::mem::take(&mut walk.left_out);
    (walk.finish(), left_out)
}

impl Walk<'_> {
    /// Everything that a NIC or flat is one side of, by groups of networks.
    fn with_nics(&mut self) {
        let groups = self.groups();
        let nics = 0..self.parties.nics.len();
        for nic in nics.clone() {
            for members in &groups {
                let first = Who::Network(members[0]);
                for (from, to) in [(first, Who::Nic(nic)), (first, Who::Host(nic)), (Who::Nic(nic), first)] {
                    let steps = self.steps(from, to);
                    let all = members.iter().map(|member| Who::Network(*member));
                    for member in all.filter(|_| steps != [None, None]) {
                        match from == first {
                            true => self.note(member, to, steps),
                            false => self.note(from, member, steps),
                        }
                    }
                }
            }
            for other in nics.clone() {
                let to = if nic == other { Who::EachBehind(other) } else { Who::Nic(other) };
                self.ask(Who::Nic(nic), to);
                self.ask(Who::Nic(nic), Who::Host(other));
            }
        }
        for flat in 0..self.parties.flats.len() {
            let flat = Who::Flat(flat);
            for nic in nics.clone() {
                self.ask(flat, Who::Nic(nic));
                self.ask(flat, Who::Host(nic));
            }
            for members in &groups {
                let steps = self.steps(flat, Who::Network(members[0]));
                for member in members.iter().filter(|_| steps != [None, None]) {
                    self.note(flat, Who::Network(*member), steps);
                }
            }
        }
    }

    /// Networks that no NIC and no flat can tell apart, neither in the old file nor in the new one.
    fn groups(&self) -> Vec<Vec<usize>> {
        let sides = [self.old, self.new].map(|intent| {
            let mut reached_by = vec![BTreeSet::new(); intent.network_reach.len()];
            for (nic, reached) in intent.nic_reach.iter().enumerate() {
                for network in &reached.networks {
                    reached_by[*network].insert(nic);
                }
            }
            let ends = intent.exceptions.iter().flatten().flat_map(|(from, to)| [*from, *to]);
            (intent, reached_by, ends.collect::<BTreeSet<Party>>())
        });
        let mut groups: BTreeMap<_, Vec<usize>> = BTreeMap::new();
        for (index, subject) in self.parties.networks.iter().enumerate() {
            let mut alone = None;
            let mut key = Vec::new();
            for ((intent, reached_by, excepted), at) in sides.iter().zip([subject.old, subject.new]) {
                key.push(at.map(|at| {
                    if excepted.contains(&Party::Network(at)) {
                        alone = Some(index);
                    }
                    let families = IpFamily::BOTH.map(|family| intent.speaks(Party::Network(at), family));
                    let inbound = intent.topology.networks[at].inbound;
                    (&intent.network_reach[at].nics, &reached_by[at], inbound, families)
                }));
            }
            groups.entry((alone, key)).or_default().push(index);
        }
        groups.into_values().collect()
    }

    /// Two networks have nothing to do with each other unless one reaches the other, or an exception names both.
    fn between_networks(&mut self) {
        let mut pairs = BTreeSet::new();
        for (intent, is_old) in [(self.old, true), (self.new, false)] {
            let mut subjects = vec![Vec::new(); intent.network_reach.len()];
            for (index, subject) in self.parties.networks.iter().enumerate() {
                if let Some(at) = if is_old { subject.old } else { subject.new } {
                    subjects[at].push(index);
                }
            }
            let reach = intent.network_reach.iter().enumerate();
            let reach = reach.flat_map(|(from, reached)| reached.networks.iter().map(move |to| (from, *to)));
            let excepted = intent.exceptions.iter().flatten().filter_map(|pair| match pair {
                (Party::Network(from), Party::Network(to)) => Some((*from, *to)),
                _ => None,
            });
            for (from, to) in reach.chain(excepted) {
                let cut = if from == to { ASKED } else { usize::MAX };
                if from == to && subjects[from].len() > cut {
                    self.left_out.insert(intent.topology.networks[from].name.to_string());
                }
                for from in subjects[from].iter().take(cut) {
                    for to in subjects[to].iter().take(cut) {
                        pairs.extend([(*from, *to), (*to, *from)]);
                    }
                }
            }
        }
        for (from, to) in pairs.iter().copied() {
            let to = if from == to { Who::Each(to) } else { Who::Network(to) };
            self.ask(Who::Network(from), to);
        }
        self.pairs = pairs;
    }

    /// Addresses that went to somebody whom others may reach who could not reach them before. What closes for them
    /// closes for nobody who is there.
    fn with_moved(&mut self) {
        let groups = if self.moves.is_empty() { Vec::new() } else { self.groups() };
        for (at, moved) in self.moves.clone().into_iter().enumerate() {
            let who = |holder: Holder| match holder {
                Holder::Network(at) => Who::Network(at),
                Holder::Nic(at) => Who::Nic(at),
            };
            // This host's own address there; that on a network is nobody's but the network's.
            let host = |holder: Holder| match holder {
                Holder::Network(_) => None,
                Holder::Nic(at) => Some(Who::Host(at)),
            };
            let family = usize::from(matches!(moved.net, IpNet::V6(_)));
            let (before, after) = (who(moved.from), who(moved.to));
            let partners = |at: usize| {
                let pairs = self.pairs.range((at, 0)..=(at, usize::MAX));
                pairs.map(|(_, other)| vec![Who::Network(*other)]).collect::<Vec<_>>()
            };
            // Networks that no NIC can tell apart may be told apart by a network.
            let networks: Vec<_> = match moved.to {
                Holder::Network(at) => partners(at).into_iter().chain([vec![after]]).collect(),
                Holder::Nic(_) => {
                    let members = groups.iter().map(|members| members.iter().map(|at| Who::Network(*at)));
                    members.map(Iterator::collect).collect()
                }
            };
            let others = (0..self.parties.nics.len()).map(Who::Nic);
            let others = others.chain((0..self.parties.flats.len()).map(Who::Flat));
            let senders: Vec<Vec<Who>> =
                networks.into_iter().chain(others.map(|other| vec![other])).collect();
            for mut members in senders {
                // Who had them talked to them without this host, and to its address there.
                members.retain(|member| *member != before);
                let Some(first) = members.first() else { continue };
                let of = IpFamily::BOTH[family];
                // Among those who have them now there may be leave to talk to each other, or none.
                let (among, is_theirs) = match after {
                    Who::Network(at) => (Who::Each(at), *first == after),
                    Who::Nic(at) => (Who::EachBehind(at), *first == after),
                    _ => (after, false),
                };
                let old = |to| self.way(self.old, |subject| subject.old, *first, to, of);
                let new = |to| self.way(self.new, |subject| subject.new, *first, to, of);
                let hosts = Step { old: host(moved.from).and_then(old), new: host(moved.to).and_then(new) };
                let found = [
                    (
                        Who::Moved(at),
                        Step { old: old(before), new: new(if is_theirs { among } else { after }) },
                        !0,
                    ),
                    (Who::HostIn(at), hosts, if is_theirs { 0 } else { !ANSWERS }),
                ];
                for (to, step, counts) in found {
                    if passes(step.new) & !passes(step.old) & counts != 0 {
                        let mut steps = [None, None];
                        steps[family] = Some(step);
                        members.iter().for_each(|member| self.note(*member, to, steps));
                    }
                }
            }
        }
    }

    fn ask(&mut self, from: Who, to: Who) {
        let steps = self.steps(from, to);
        if steps != [None, None] {
            self.note(from, to, steps);
        }
    }

    fn note(&mut self, from: Who, to: Who, steps: Steps) {
        self.found.entry((to, steps)).or_default().insert(from);
    }

    /// What changes for a pair.
    fn steps(&self, from: Who, to: Who) -> Steps {
        // With a NIC come its own hosts, who need nobody's leave.
        let own = matches!((from, to), (Who::Nic(a), Who::EachBehind(b) | Who::Host(b)) if a == b);
        let is_one = |nic: &Subject| nic.old.is_none() || nic.new.is_none();
        if own && matches!(from, Who::Nic(at) if is_one(&self.parties.nics[at])) {
            return [None, None];
        }
        // Whoever has addresses gets answers.
        let counts = if matches!(to, Who::Host(_)) { !ANSWERS } else { !0 };
        IpFamily::BOTH.map(|family| {
            let step = Step {
                old: self.way(self.old, |subject| subject.old, from, to, family),
                new: self.way(self.new, |subject| subject.new, from, to, family),
            };
            (passes(step.old) & counts != passes(step.new) & counts).then_some(step)
        })
    }

    fn way(
        &self,
        intent: &Intent<'_>,
        place: impl Fn(&Subject) -> Option<usize>,
        from: Who,
        to: Who,
        family: IpFamily,
    ) -> Option<Way> {
        let party = |who: Who| {
            let Parties { networks, flats, nics } = self.parties;
            Some(match who {
                Who::Network(at) | Who::Each(at) => Party::Network(place(&networks[at])?),
                Who::Flat(at) => Party::Flat(place(&flats[at])?),
                Who::Nic(at) | Who::EachBehind(at) => Party::Nic(place(&nics[at])?),
                Who::Host(at) => Party::HostOn(place(&nics[at])?),
                Who::Moved(_) | Who::HostIn(_) => return None,
            })
        };
        match (party(from)?, party(to)?) {
            // Two of one wildcard.
            (Party::Network(a), Party::Network(b)) if a == b => {
                let among = intent.network_reach[a].networks.contains(&a);
                intent.speaks(Party::Network(a), family).then_some(if among {
                    Way::Open
                } else {
                    Way::Blocked
                })
            }
            (from, to) => intent.way(from, to, family),
        }
    }

    /// Puts together what changes alike: senders of one receiver, then receivers of the same senders.
    fn finish(self) -> Vec<WayChange> {
        let mut receivers: BTreeMap<(Vec<Who>, Steps), Vec<Who>> = BTreeMap::new();
        for ((to, steps), from) in &self.found {
            receivers.entry((from.iter().copied().collect(), *steps)).or_default().push(*to);
        }
        let mut changes: Vec<WayChange> = receivers
            .into_iter()
            .map(|((from, [ipv4, ipv6]), to)| WayChange {
                from: from.into_iter().map(|who| self.label(who)).collect(),
                to: to.into_iter().map(|who| self.label(who)).collect(),
                ipv4,
                ipv6,
            })
            .collect();
        changes.sort_by_key(|change| (!change.opens(), change.from.len() == 1));
        changes
    }

    fn label(&self, who: Who) -> String {
        let Parties { networks, flats, nics } = self.parties;
        match who {
            Who::Network(at) => networks[at].name.clone(),
            Who::Each(_) | Who::EachBehind(_) => EACH_OTHER.to_owned(),
            Who::Flat(at) => format!("{} (flat)", flats[at].name),
            Who::Host(at) => format!("host on {}", nics[at].name),
            Who::Moved(at) => self.moves[at].net.to_string(),
            Who::HostIn(at) => format!("host on {}", self.moves[at].net),
            Who::Nic(at) => {
                let role = match (nics[at].old, nics[at].new) {
                    (_, Some(new)) => &self.new.topology.nics[new].role,
                    (Some(old), None) => &self.old.topology.nics[old].role,
                    (None, None) => return nics[at].name.clone(),
                };
                format!("{} ({role})", nics[at].name)
            }
        }
    }
}
