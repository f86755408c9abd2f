//! Open connections against a policy: which of them a change would cut.
//!
//! A flow of conntrack is made into the packets that it consists of, as the input and forward hooks see them, and
//! these are judged by the very rules of a table (`machine`): those that are planned and those that are there.
//! What the planned ones drop and the present ones do not is cut.

pub mod keep;
mod machine;
pub mod pairs;
mod paths;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::net::IpAddr;

use schemars::JsonSchema;
use serde::Serialize;

use self::keep::Kept;
use self::machine::{Direction, Packet, is_dropped};
use self::paths::Paths;
use crate::approach::{Desired, SysctlKey};
use crate::diff::LiveState;
use crate::host::Host;
use crate::intent::Intent;
use crate::ruleset::{Hook, Ruleset};
use crate::topology::Topology;

/// One direction of a flow.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Tuple {
    /// Who sends.
    pub source: IpAddr,
    /// To whom; of the same family.
    pub destination: IpAddr,
    /// Source port, or the identifier of an echo request; 0 where the protocol has none.
    pub source_port: u16,
    /// Destination port; 0 where the protocol has none.
    pub destination_port: u16,
    /// The type of an ICMP message; 0 for other protocols.
    pub icmp_type: u8,
}

/// A flow that conntrack knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Flow {
    /// The IP protocol.
    pub protocol: u8,
    /// As its first packet came in, before any NAT.
    pub original: Tuple,
    /// As answers come in: with DNAT the source is not whom the first packet was for, with SNAT the destination not
    /// who sent it.
    pub reply: Tuple,
    /// `IPS_*` bits of `<linux/netfilter/nf_conntrack_common.h>`.
    pub status: u32,
    /// Whether it is over: a TCP connection that waits for its last packets, or was reset.
    pub is_closed: bool,
}

impl Flow {
    /// `IPS_SEEN_REPLY`.
    const SEEN_REPLY: u32 = 2;

    /// Whether conntrack has seen packets in both directions, so that it calls what follows established.
    pub const fn is_established(&self) -> bool {
        self.status & Self::SEEN_REPLY != 0
    }
}

/// What decides about packets.
struct Policy<'a> {
    ruleset: &'a Ruleset,
    /// Links from which no IPv4 is forwarded (`forwarding` of the sysctl approach).
    closed_links: BTreeSet<&'a str>,
    has_kept: bool,
}

/// The link of a key `net/ipv4/conf/LINK/forwarding`.
pub(crate) fn link_of_key(key: &str) -> Option<&str> {
    let link = key.strip_prefix("net/ipv4/conf/")?.strip_suffix("/forwarding")?;
    (!matches!(link, "all" | "default")).then_some(link)
}

/// Looks at flow after flow.
pub struct Judge<'a> {
    topology: &'a Topology,
    intent: &'a Intent<'a>,
    after: Policy<'a>,
    before: Policy<'a>,
    paths: Paths<'a>,
    /// Verdicts by what rules look at; which of many connections it is does not matter to them.
    known: BTreeMap<Likeness, bool>,
    cuts: Cuts,
    keeps: bool,
}

/// What rules tell flows apart by.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct Likeness {
    ends: [IpAddr; 2],
    protocol: u8,
    port: u16,
    icmp_types: [u8; 2],
    is_published: bool,
}

/// `IPS_DST_NAT`.
const DST_NAT: u32 = 1 << 5;
/// Verdicts that are remembered.
const REMEMBERED: usize = 100_000;

impl<'a> Judge<'a> {
    /// Judges by what is planned for a topology and what there is. With `keeps`, what is cut is also collected to
    /// be kept.
    pub fn new(
        intent: &'a Intent<'a>,
        desired: &'a Desired,
        live: &'a LiveState,
        host: &'a Host,
        keeps: bool,
    ) -> Self {
        let closed = |key: &'a SysctlKey, value: &str| link_of_key(&key.0).filter(|_| value == "0");
        let after = Policy {
            ruleset: &desired.ruleset,
            closed_links: desired
                .sysctls
                .iter()
                .filter_map(|sysctl| closed(&sysctl.key, &sysctl.value))
                .collect(),
            has_kept: keep::is_in(&desired.ruleset),
        };
        let before = Policy {
            ruleset: &live.ruleset,
            closed_links: live.sysctls.iter().filter_map(|(key, value)| closed(key, value)).collect(),
            has_kept: keep::is_in(&live.ruleset),
        };
        let paths = Paths::new(host);
        let topology = intent.topology;
        Self { topology, intent, after, before, paths, known: BTreeMap::new(), cuts: Cuts::default(), keeps }
    }

    /// Takes a flow into account.
    pub fn see(&mut self, flow: &Flow) {
        if flow.is_closed || !self.is_cut(flow) {
            return;
        }
        let (source, target) = (flow.original.source, flow.reply.source);
        let from = match self.paths.home_of(source) {
            Some(_) => "this host".to_owned(),
            None => self.title(self.paths.link_to(source)),
        };
        let to = match self.paths.home_of(target) {
            Some(home) => format!("this host on {}", self.title(Some(home))),
            None => self.title(self.paths.link_to(target)),
        };
        let service = Service { protocol: flow.protocol, port: flow.reply.source_port };
        let service = if matches!(flow.protocol, 1 | 58) { Service { port: 0, ..service } } else { service };
        *self.cuts.pairs.entry((from, to)).or_default().entry(service).or_default() += 1;
        if !flow.is_established() {
            self.cuts.one_way += 1;
        } else if self.keeps {
            let links = (self.paths.name_to(source), self.paths.name_to(target));
            self.cuts.kept.add(flow, links);
        }
    }

    /// What was found.
    pub fn finish(self) -> Cuts {
        self.cuts
    }

    fn is_cut(&mut self, flow: &Flow) -> bool {
        let likeness = Likeness {
            ends: [flow.original.source, flow.reply.source],
            protocol: flow.protocol,
            port: flow.reply.source_port,
            icmp_types: [flow.original.icmp_type, flow.reply.icmp_type],
            is_published: flow.status & DST_NAT != 0,
        };
        let by_tuple = self.before.has_kept || self.after.has_kept;
        if let Some(known) = self.known.get(&likeness).filter(|_| !by_tuple) {
            return *known;
        }
        let is_cut = self.drops(&self.after, flow) && !self.drops(&self.before, flow);
        if self.known.len() >= REMEMBERED {
            self.known.clear();
        }
        self.known.insert(likeness, is_cut);
        is_cut
    }

    /// Whether a packet of a flow is dropped, in whatever direction.
    fn drops(&self, policy: &Policy<'_>, flow: &Flow) -> bool {
        let (source, target) = (flow.original.source, flow.reply.source);
        let there = Packet::new(flow, Direction::Original, &self.paths);
        let back = Packet::new(flow, Direction::Reply, &self.paths);
        let dropped = |packet: &Packet<'_>, hook| is_dropped(policy.ruleset, hook, packet, &self.paths);
        match (self.paths.home_of(source), self.paths.home_of(target)) {
            (Some(_), Some(_)) => false,
            (None, Some(_)) => dropped(&there, Hook::Input),
            (Some(_), None) => dropped(&back, Hook::Input),
            (None, None) => [there, back].iter().any(|packet| {
                let is_closed = source.is_ipv4() && policy.closed_links.contains(packet.incoming());
                is_closed || dropped(packet, Hook::Forward) || dropped(packet, Hook::Postrouting)
            }),
        }
    }

    /// What the topology calls a link.
    fn title(&self, link: Option<u32>) -> String {
        let Some(name) = link.and_then(|link| self.paths.name(link)) else { return "elsewhere".to_owned() };
        for (index, nic) in self.topology.nics.iter().enumerate() {
            if self.intent.links_of(index).any(|link| link == name) {
                return format!("{} ({})", nic.name, nic.role);
            }
        }
        let networks = &self.topology.networks;
        let exact = networks.iter().find(|network| !network.name.is_prefix() && network.name.stem() == name);
        let by_pattern = || {
            networks.iter().find(|network| network.name.is_prefix() && name.starts_with(network.name.stem()))
        };
        exact.or_else(by_pattern).map_or_else(|| name.to_owned(), |network| network.name.to_string())
    }
}

/// What somebody connects to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Service {
    protocol: u8,
    port: u16,
}

/// The name of a protocol; its number where it has none here.
fn protocol_name(protocol: u8) -> String {
    match protocol {
        1 => "icmp".to_owned(),
        6 => "tcp".to_owned(),
        17 => "udp".to_owned(),
        58 => "icmpv6".to_owned(),
        132 => "sctp".to_owned(),
        other => format!("protocol {other}"),
    }
}

/// The flows that a change would cut.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Cuts {
    pairs: BTreeMap<(String, String), BTreeMap<Service, u64>>,
    /// Those of them that have had no answer, which cannot be kept.
    pub one_way: u64,
    /// What is to be kept.
    pub kept: Kept,
}

/// Cut flows as JSON: `docs/json.md`.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub struct CutsJson {
    /// How many in all.
    pub connections: u64,
    /// How many of them have had no answer so far.
    pub one_way: u64,
    /// By pair.
    pub pairs: Vec<CutPairJson>,
}

/// A pair of [`CutsJson`].
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub struct CutPairJson {
    /// Who opened them.
    pub from: String,
    /// To whom.
    pub to: String,
    /// How many.
    pub connections: u64,
    /// By service.
    pub services: Vec<CutServiceJson>,
}

/// A service of [`CutPairJson`].
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub struct CutServiceJson {
    /// `tcp`, `udp`, `icmp`, ...
    pub protocol: String,
    /// Absent where the protocol has none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub port: Option<u16>,
    /// How many.
    pub connections: u64,
}

impl Cuts {
    /// How many.
    pub fn connections(&self) -> u64 {
        self.pairs.values().flat_map(BTreeMap::values).sum()
    }

    /// The documented JSON form.
    pub fn json(&self) -> CutsJson {
        let pair = |((from, to), services): (&(String, String), &BTreeMap<Service, u64>)| CutPairJson {
            from: from.clone(),
            to: to.clone(),
            connections: services.values().sum(),
            services: services
                .iter()
                .map(|(service, connections)| CutServiceJson {
                    protocol: protocol_name(service.protocol),
                    port: (service.port > 0).then_some(service.port),
                    connections: *connections,
                })
                .collect(),
        };
        CutsJson {
            connections: self.connections(),
            one_way: self.one_way,
            pairs: self.pairs.iter().map(pair).collect(),
        }
    }

    /// "Cuts 12 open connections: docker0 -> eth1 (storage) 12 (tcp 2049: 10, udp 53: 2)."; none where there is
    /// none. With other words for "Cuts", of what is not cut.
    pub fn text(&self, cuts: &str) -> Option<String> {
        const PAIRS: usize = 6;
        const SERVICES: usize = 4;
        let all = self.connections();
        if all == 0 {
            return None;
        }
        let plural = if all == 1 { "" } else { "s" };
        let mut text = format!("{cuts} {all} open connection{plural}: ");
        let mut pairs: Vec<_> = self.json().pairs;
        pairs.sort_by_key(|pair| std::cmp::Reverse(pair.connections));
        for (at, pair) in pairs.iter().take(PAIRS).enumerate() {
            let comma = if at == 0 { "" } else { ", " };
            let _ = write!(text, "{comma}{} -> {} {} (", pair.from, pair.to, pair.connections);
            let mut services: Vec<_> = pair.services.iter().collect();
            services.sort_by_key(|service| std::cmp::Reverse(service.connections));
            let word = |service: &&CutServiceJson| match service.port {
                Some(port) => format!("{} {port}: {}", service.protocol, service.connections),
                None => format!("{}: {}", service.protocol, service.connections),
            };
            let mut words: Vec<String> = services.iter().take(SERVICES).map(word).collect();
            if services.len() > SERVICES {
                words.push(format!("{} more services", services.len() - SERVICES));
            }
            let _ = write!(text, "{})", words.join(", "));
        }
        if pairs.len() > PAIRS {
            let _ = write!(text, ", and {} more pairs", pairs.len() - PAIRS);
        }
        text.push('.');
        Some(text)
    }
}
