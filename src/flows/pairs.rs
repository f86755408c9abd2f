//! What the rules and sysctls of a host let pass between the parties of a topology: as they are there, and as they
//! are planned.
//!
//! A packet of each kind is sent through the rules (`machine`), of a host with addresses and routes as the topology
//! says. Rules of others are not in it: what passes here may still be dropped by them. What is looked at are new
//! connections, published ones (a DNAT rule sent them there) and those of the exceptions; answers follow them. Frames
//! of flat instances are not looked at.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::{IpAdd as _, IpNet};

use super::machine::{Direction, Packet, is_dropped};
use super::paths::Paths;
use super::{DST_NAT, Flow, Policy, Tuple, keep, link_of_key};
use crate::approach::SysctlKey;
use crate::diff::LiveState;
use crate::host::{Address, Host, Link, Route};
use crate::intent::{Intent, Party, Way};
use crate::meaning::{EACH_OTHER, Step, WayChange};
use crate::plan::Plan;
use crate::topology::{NamePattern, Topology};

/// What a plan changes between the parties of its topology.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct PairChanges {
    /// Who may do what to whom: what opens first.
    pub ways: Vec<WayChange>,
    /// How many pairs were looked at.
    pub looked_at: usize,
    /// Whether pairs of networks were left out: of more than 64 only those are looked at among each other
    /// that one of them reaches.
    pub is_partial: bool,
}

/// Numbers of protocols with ports (IANA).
const TCP: u8 = 6;
const UDP: u8 = 17;
const SCTP: u8 = 132;

/// Up to so many networks every pair of them is looked at.
const NETWORKS: usize = 64;

impl PairChanges {
    /// For how many pairs something opens.
    pub fn opens(&self) -> usize {
        self.ways.iter().filter(|way| way.opens()).map(WayChange::pairs).sum()
    }

    /// For how many pairs something closes.
    pub fn closes(&self) -> usize {
        self.ways.iter().filter(|way| way.closes()).map(WayChange::pairs).sum()
    }
}

/// Somebody who sends or receives, with an address for each family.
struct Stand {
    party: Party,
    addresses: [Option<IpAddr>; 2],
    /// As a receiver, one address of each other subnet that no exception leads to: rules may tell them apart.
    others: Vec<IpAddr>,
    label: String,
}

/// What changes in IPv4 and in IPv6.
type Steps = [Option<Step>; 2];

/// The state of a host, before or after.
struct Side<'s> {
    policy: Policy<'s>,
    forwards: [bool; 2],
}

impl<'s> Side<'s> {
    fn new(ruleset: &'s crate::ruleset::Ruleset, sysctls: &'s BTreeMap<&'s SysctlKey, &'s str>) -> Self {
        let is_on = |name: &str| {
            sysctls.iter().any(|(key, value)| key.0 == name && !value.is_empty() && *value != "0")
        };
        let closed = sysctls.iter().filter(|(_, value)| **value == "0");
        let closed_links = closed.filter_map(|(key, _)| link_of_key(&key.0)).collect();
        Self {
            policy: Policy { ruleset, closed_links, has_kept: keep::is_in(ruleset) },
            forwards: [is_on(SysctlKey::IP_FORWARD), is_on(SysctlKey::IPV6_FORWARD)],
        }
    }
}

/// The scene that packets are sent in.
struct Scene {
    stands: Vec<Stand>,
    /// The other of two of one wildcard, or behind one NIC.
    others: BTreeMap<Party, Stand>,
    host: Host,
    /// The same with one address more, by the NIC that it is on. A network with room for one is either that of a
    /// neighbour or that of this host; both are asked for.
    only_here: BTreeMap<usize, Host>,
    /// One that no exception names.
    port: u16,
    /// Places of exceptions in the file, by sender and receiver.
    exceptions: BTreeMap<(Party, Party), Vec<usize>>,
}

/// What a plan changes on the host whose state that is.
pub fn pair_changes(plan: &Plan<'_>, live: &LiveState) -> PairChanges {
    let before: BTreeMap<&SysctlKey, &str> =
        live.sysctls.iter().map(|(key, value)| (key, value.as_str())).collect();
    let mut after = before.clone();
    after.extend(plan.diff.sysctls.iter().map(|write| (&write.key, write.new.as_str())));
    let sides = [Side::new(&live.ruleset, &before), Side::new(&plan.desired.ruleset, &after)];
    let intent = &plan.intent;
    let scene = Scene::new(intent, live);
    let paths = Paths::new(&scene.host);
    let only_here: BTreeMap<usize, Paths<'_>> =
        scene.only_here.iter().map(|(nic, host)| (*nic, Paths::new(host))).collect();
    let pairs = pairs(intent, &scene);
    let is_partial = intent.topology.networks.len() > NETWORKS;
    let mut changes = PairChanges { ways: Vec::new(), looked_at: pairs.len(), is_partial };
    let mut found: BTreeMap<(String, Steps), Vec<String>> = BTreeMap::new();
    for (from, to) in pairs {
        let paths = match to.party {
            Party::HostOn(nic) => only_here.get(&nic).unwrap_or(&paths),
            _ => &paths,
        };
        let steps = [0, 1].map(|family| {
            let other = to.others.iter().copied().filter(|address| usize::from(address.is_ipv6()) == family);
            let step = |target| {
                let [old, new] = [&sides[0], &sides[1]]
                    .map(|side| way(side, intent, (from, to), target, family, (&scene, paths)));
                (old != new).then_some(Step { old, new })
            };
            let steps: Vec<Step> = to.addresses[family].into_iter().chain(other).filter_map(step).collect();
            steps.iter().find(|step| step.opens()).or(steps.first()).copied()
        });
        if steps != [None, None] {
            let is_same = std::ptr::eq(from, to) || from.party == to.party;
            let to = if is_same { EACH_OTHER.to_owned() } else { to.label.clone() };
            found.entry((to, steps)).or_default().push(from.label.clone());
        }
    }
    let mut receivers: BTreeMap<(Vec<String>, Steps), Vec<String>> = BTreeMap::new();
    for ((to, steps), from) in found {
        receivers.entry((from, steps)).or_default().push(to);
    }
    changes.ways =
        receivers.into_iter().map(|((from, [ipv4, ipv6]), to)| WayChange { from, to, ipv4, ipv6 }).collect();
    changes.ways.sort_by_key(|change| (!change.opens(), change.from.len() == 1));
    changes
}

/// Who is asked for with whom.
fn pairs<'s>(intent: &Intent<'_>, scene: &'s Scene) -> Vec<(&'s Stand, &'s Stand)> {
    let is_network = |stand: &Stand| matches!(stand.party, Party::Network(_));
    let many = scene.stands.iter().filter(|stand| is_network(stand)).count() > NETWORKS;
    let mut pairs = Vec::new();
    let by_party: BTreeMap<Party, &Stand> = scene.stands.iter().map(|stand| (stand.party, stand)).collect();
    let senders = scene.stands.iter().filter(|stand| !matches!(stand.party, Party::HostOn(_)));
    for from in senders {
        let receivers: Vec<&Stand> = if many && is_network(from) {
            let Party::Network(at) = from.party else { continue };
            let reached = intent.network_reach[at].networks.iter();
            let mut networks: BTreeSet<usize> = reached.copied().collect();
            let ends = (from.party, Party::Network(0))..=(from.party, Party::Network(usize::MAX));
            networks.extend(scene.exceptions.range(ends).filter_map(|((_, to), _)| match to {
                Party::Network(to) => Some(*to),
                _ => None,
            }));
            let networks = networks.into_iter().filter_map(|to| by_party.get(&Party::Network(to)).copied());
            let others = scene.stands.iter().filter(|stand| !is_network(stand));
            networks.chain(others).collect()
        } else {
            scene.stands.iter().collect()
        };
        for to in receivers {
            // A NIC's own hosts need nobody's leave to talk to this host there.
            let own = matches!((from.party, to.party), (Party::Nic(a), Party::HostOn(b)) if a == b);
            if from.party == to.party {
                pairs.extend(scene.others.get(&to.party).map(|other| (from, other)));
            } else if !own {
                pairs.push((from, to));
            }
        }
    }
    pairs
}

/// What passes; none where one of the two does not have the family.
fn way(
    side: &Side<'_>,
    intent: &Intent<'_>,
    (from, to): (&Stand, &Stand),
    target: IpAddr,
    family: usize,
    (scene, paths): (&Scene, &Paths<'_>),
) -> Option<Way> {
    let source = from.addresses[family]?;
    let passes = |source, target, protocol, port, status| {
        let tuple = |source, destination, ports: [u16; 2]| Tuple {
            source,
            destination,
            source_port: ports[0],
            destination_port: ports[1],
            icmp_type: if matches!(protocol, 1 | 58) { 8 } else { 0 },
        };
        let flow = Flow {
            protocol,
            original: tuple(source, target, [40_000, port]),
            reply: tuple(target, source, [port, 40_000]),
            status,
            is_closed: false,
        };
        let packet = Packet::new(&flow, Direction::Original, paths);
        let dropped = |hook| is_dropped(side.policy.ruleset, hook, &packet, paths);
        if matches!(to.party, Party::HostOn(_)) {
            return !dropped(crate::ruleset::Hook::Input);
        }
        let is_closed = source.is_ipv4() && side.policy.closed_links.contains(packet.incoming());
        side.forwards[family]
            && !is_closed
            && !dropped(crate::ruleset::Hook::Forward)
            && !dropped(crate::ruleset::Hook::Postrouting)
    };
    let port = scene.port;
    // An exception may be for one of them only.
    let all_pass =
        |status| [TCP, UDP, SCTP].into_iter().all(|protocol| passes(source, target, protocol, port, status));
    if all_pass(0) {
        return Some(Way::Open);
    }
    let is_published = all_pass(DST_NAT);
    // One to this host's own address there is one to the NIC.
    let (receiver, is_here) = match to.party {
        Party::HostOn(nic) => (Party::Nic(nic), true),
        other => (other, false),
    };
    let entries = scene.exceptions.get(&(from.party, receiver)).into_iter().flatten();
    let has_exception = entries.map(|at| &intent.topology.allows[*at]).any(|allow| {
        let family_of = usize::from(matches!(allow.to, IpNet::V6(_)));
        let is_theirs = !is_here || allow.to.contains(&target);
        let port = allow.ports.first().map_or(port, |ports| ports.first);
        let protocol = allow.protocol.map_or(TCP, |protocol| protocol.number());
        let target = if is_here { target } else { allow.to.hosts().next().unwrap_or(allow.to.addr()) };
        is_theirs && family_of == family && passes(source, target, protocol, port, 0)
    });
    Some(match (is_published, has_exception) {
        (true, true) => Way::PublishedAndExceptions,
        (true, false) => Way::Published,
        (false, true) => Way::Exceptions,
        (false, false) => Way::Blocked,
    })
}

impl Scene {
    fn new(intent: &Intent<'_>, live: &LiveState) -> Self {
        let topology = intent.topology;
        let is_named = |port: &u16| {
            let mut ranges = topology.allows.iter().flat_map(|allow| &allow.ports);
            ranges.any(|ports| (ports.first..=ports.last).contains(port))
        };
        let mut scene = Self {
            stands: Vec::new(),
            others: BTreeMap::new(),
            host: Host::default(),
            only_here: BTreeMap::new(),
            exceptions: BTreeMap::new(),
            port: (47_111..=u16::MAX).chain(1..47_111).find(|port| !is_named(port)).unwrap_or(47_111),
        };
        // What exceptions lead to is not what a party is judged by.
        let mut excepted: BTreeMap<Party, Vec<IpNet>> = BTreeMap::new();
        for (at, (allow, ends)) in topology.allows.iter().zip(&intent.exceptions).enumerate() {
            if let Some((from, to)) = ends {
                excepted.entry(*to).or_default().push(allow.to);
                scene.exceptions.entry((*from, *to)).or_default().push(at);
            }
        }
        let addresses_of = |party: Party, subnets: &[IpNet]| {
            let excepted = excepted.get(&party).map_or(&[][..], Vec::as_slice);
            [0, 1].map(|family| some(subnets, family, excepted))
        };
        let mut taken: BTreeSet<String> = topology.networks.iter().map(|net| net.name.to_string()).collect();
        taken.extend(topology.nics.iter().map(|nic| nic.name.to_string()));
        taken.extend(topology.flats.iter().map(|flat| flat.name.to_string()));
        // One address of each subnet that has none of these; as of a subnet, the first may be this host's.
        let others_of = |party: Party, subnets: &[IpNet], known: &[IpAddr]| -> Vec<IpAddr> {
            let excepted = excepted.get(&party).map_or(&[][..], Vec::as_slice);
            let is_free = |address: &IpAddr| {
                !known.contains(address) && !excepted.iter().any(|to| to.contains(address))
            };
            let rest = subnets.iter().filter(|net| !known.iter().any(|address| net.contains(address)));
            rest.filter_map(|net| {
                let family = usize::from(matches!(net, IpNet::V6(_)));
                some(std::slice::from_ref(net), family, excepted).into_iter().filter(is_free).take(2).last()
            })
            .collect()
        };
        let mut spare = Spare::new(topology);
        let mut alone: Vec<(usize, Address)> = Vec::new();
        for (at, nic) in topology.nics.iter().enumerate() {
            let link = intent.links_of(at).last().unwrap_or(nic.name.as_str()).to_owned();
            let index = scene.link(&link);
            let subnets = spare.subnets(&nic.subnets);
            for net in &subnets {
                scene.host.routes.push(Route { to: *net, via: None, link: index, protocol: 2 });
            }
            // This host's own addresses there, as they are or as they might be.
            let known = live.addresses.get(&link).into_iter().flatten().copied();
            let known: Vec<IpAddr> =
                known.filter(|address| subnets.iter().any(|net| net.contains(address))).collect();
            let party = Party::Nic(at);
            let addresses = addresses_of(party, &subnets);
            let known =
                [0, 1].map(|family| known.iter().find(|one| usize::from(one.is_ipv6()) == family).copied());
            let own = [0, 1].map(|family| known[family].or_else(|| addresses[family].first().copied()));
            let is_alone = [0, 1].map(|family| known[family].is_none() && addresses[family].len() == 1);
            let of = |number| {
                [0, 1].map(|family| {
                    let all = addresses[family].iter().copied();
                    all.filter(|address| is_alone[family] || own[family] != Some(*address)).nth(number)
                })
            };
            for (address, is_alone) in own.into_iter().zip(is_alone) {
                let address = address.map(|address| Address { link: index, address: IpNet::from(address) });
                if is_alone {
                    alone.extend(address.map(|address| (at, address)))
                } else {
                    scene.host.addresses.extend(address)
                }
            }
            let label = format!("{} ({})", nic.name, nic.role);
            let stand = |party, addresses, label: &str| Stand {
                party,
                addresses,
                others: Vec::new(),
                label: label.to_owned(),
            };
            let (first, second) = (of(0), of(1));
            let known: Vec<IpAddr> = known.into_iter().chain(first).flatten().collect();
            let others = others_of(party, &subnets, &known);
            scene.stands.push(stand(Party::HostOn(at), own, &format!("host on {}", nic.name)));
            scene.others.insert(party, stand(party, second, &label));
            scene.stands.push(Stand { others, ..stand(party, first, &label) });
        }
        for (at, network) in topology.networks.iter().enumerate() {
            let subnets = spare.subnets(&network.subnets);
            let party = Party::Network(at);
            let label = network.name.to_string();
            let all = addresses_of(party, &subnets);
            let names = names(&network.name, &taken);
            for (number, link) in names.iter().enumerate() {
                let index = scene.link(link);
                // The first is the gateway's, where there are more.
                let addresses = [0, 1].map(|family| {
                    let only = || all[family].first().filter(|_| number == 0);
                    all[family].get(number + 1).or_else(only).copied()
                });
                if number == 0 {
                    for net in &subnets {
                        scene.host.routes.push(Route { to: *net, via: None, link: index, protocol: 2 });
                    }
                }
                for address in addresses.into_iter().flatten() {
                    let to = IpNet::from(address);
                    scene.host.routes.push(Route { to, via: None, link: index, protocol: 2 });
                }
                let stand = Stand { party, addresses, others: Vec::new(), label: label.clone() };
                if number == 0 {
                    let known: Vec<IpAddr> = addresses.into_iter().flatten().collect();
                    scene.stands.push(Stand { others: others_of(party, &subnets, &known), ..stand });
                } else {
                    scene.others.insert(party, stand);
                }
            }
        }
        for (nic, address) in alone {
            let host = scene.only_here.entry(nic).or_insert_with(|| scene.host.clone());
            host.addresses.push(address);
        }
        scene
    }

    fn link(&mut self, name: &str) -> u32 {
        let index = u32::try_from(self.host.links.len()).unwrap_or(u32::MAX).saturating_add(1);
        self.host.links.insert(index, Link { index, name: name.to_owned(), ..Link::default() });
        index
    }
}

/// The name of a link, and of two for a wildcard, that no other entry of the file has.
fn names(name: &NamePattern, taken: &BTreeSet<String>) -> Vec<String> {
    if !name.is_prefix() {
        return vec![name.to_string()];
    }
    let ends = ('0'..='9').chain('a'..='z').chain('A'..='Z');
    ends.map(|end| format!("{}{end}", name.stem())).filter(|name| !taken.contains(name)).take(2).collect()
}

/// Subnets for entries without, which nothing in the file overlaps with.
struct Spare {
    next: u32,
    taken: Vec<IpNet>,
}

impl Spare {
    fn new(topology: &Topology) -> Self {
        let networks = topology.networks.iter().flat_map(|network| &network.subnets);
        let nics = topology.nics.iter().flat_map(|nic| &nic.subnets);
        let taken = networks.chain(nics).chain(topology.allows.iter().map(|allow| &allow.to));
        Self { next: 0, taken: taken.copied().collect() }
    }

    /// Those of the file; some that nobody has where it names none (RFC 2544, RFC 1112 section 4 and RFC 4193 have
    /// room).
    fn subnets(&mut self, of: &[IpNet]) -> Vec<IpNet> {
        const BENCHMARKS: u32 = 0xc612_0000;
        const RESERVED: u32 = 0xf000_0000;
        /// How many prefixes of 28 bits the first of them has.
        const FIRST: u32 = 1 << 13;
        if !of.is_empty() {
            return of.to_vec();
        }
        loop {
            let number = self.next;
            self.next += 1;
            let block =
                if number < FIRST { BENCHMARKS + (number << 4) } else { RESERVED + ((number - FIRST) << 4) };
            let v4 = IpAddr::from(Ipv4Addr::from_bits(block));
            let v6 = IpAddr::from(Ipv6Addr::from_bits(0xfdfe_dcba << 96 | u128::from(number) << 64));
            let nets = [(v4, 28), (v6, 64)].map(|(address, length)| IpNet::new(address, length).ok());
            let is_taken = |net: &IpNet| {
                self.taken
                    .iter()
                    .any(|other| other.contains(&net.network()) || net.contains(&other.network()))
            };
            // No file takes all of it.
            let is_last = number == (1 << 24);
            let nets: Vec<IpNet> = nets.into_iter().flatten().collect();
            if is_last || !nets.iter().any(is_taken) {
                return nets;
            }
        }
    }
}

/// Some addresses of a family, those first that no exception leads to.
fn some(subnets: &[IpNet], family: usize, excepted: &[IpNet]) -> Vec<IpAddr> {
    const ENOUGH: usize = 4;
    let of = || subnets.iter().filter(|net| usize::from(matches!(net, IpNet::V6(_))) == family);
    let first = of().flat_map(|net| net.hosts().take(ENOUGH));
    let behind = of().flat_map(|net| {
        let last = excepted.iter().filter(|to| net.contains(*to)).map(IpNet::broadcast);
        let next = last.flat_map(|last| (1..=ENOUGH).map(move |step| after(last, step)));
        next.filter(|address| net.contains(address) && (net.prefix_len() > 30 || *address != net.broadcast()))
    });
    let is_excepted = |address: &IpAddr| excepted.iter().any(|to| to.contains(address));
    let (excepted, mut all): (Vec<IpAddr>, Vec<IpAddr>) = first.chain(behind).partition(is_excepted);
    all.extend(excepted);
    let mut seen = BTreeSet::new();
    all.retain(|address| seen.insert(*address));
    all
}

fn after(address: IpAddr, step: usize) -> IpAddr {
    let step = u32::try_from(step).unwrap_or(u32::MAX);
    match address {
        IpAddr::V4(v4) => v4.saturating_add(step).into(),
        IpAddr::V6(v6) => v6.saturating_add(u128::from(step)).into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spare_subnets_are_those_of_nobody() {
        let text = "[[nic]]\nname = \"eth0\"\nrole = \"storage\"\n\
                    subnets = [\"198.18.0.0/17\", \"fdfe:dcba:0:7::/64\"]\n";
        let topology = crate::topology::parse("t.toml", text.as_bytes()).expect("a topology");
        let mut spare = Spare::new(&topology);
        let taken = spare.taken.clone();
        let mut all = BTreeSet::new();
        for _ in 0..20_000 {
            for net in spare.subnets(&[]) {
                assert!(all.insert(net), "{net} twice");
                assert!(!taken.iter().any(|other| other.contains(&net) || net.contains(other)), "{net}");
            }
        }
        assert_eq!(all.len(), 40_000);
        assert_eq!(spare.subnets(&taken), taken);
    }
}
