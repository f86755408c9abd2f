//! The isolation of the nftables approach as a file for `iptables-restore` and `ip6tables-restore`.
//!
//! The chains mirror those of the nftables approach and carry the same ids. A verdict of "no objection"
//! is RETURN, because ACCEPT in iptables would skip the rules of everybody else in the table.

use std::fmt::{self, Write as _};

use askama::Template;
use ipnet::IpNet;

use crate::approach::with_approach;
use crate::intent::{ClassKey, Guard, Intent, IpFamily, Party};
use crate::topology::{Allow, ApproachName, Inbound, NamePattern, NetworkKind, NicNat, PortRange};

#[derive(Template)]
#[template(path = "iptables.txt")]
struct File<'f> {
    file: &'f str,
    version: &'static str,
    remarks: Vec<&'static str>,
    sysctls: Vec<super::sysctl::Line>,
    body: String,
}

/// The whole file.
///
/// # Errors
///
/// None that input can bring about.
pub fn file(intent: &Intent<'_>) -> Result<String, askama::Error> {
    let topology = intent.topology;
    let desired = with_approach(intent, ApproachName::Nftables);
    let mut remarks = Vec::new();
    if !topology.flats.is_empty() {
        remarks.push("flat instances are bridged: guarding them takes ebtables, or the nftables approach");
    }
    if topology.isolation.masquerade && topology.networks.iter().any(|net| net.subnets.is_empty()) {
        remarks.push("networks without subnets in the topology are not masqueraded");
    }
    let mut body = String::new();
    filter(&mut body, intent);
    nat(&mut body, intent);
    File {
        file: &topology.file,
        version: env!("CARGO_PKG_VERSION"),
        remarks,
        sysctls: super::sysctl::lines(intent, &desired.sysctls),
        body,
    }
    .render()
}

/// `br-+`: what iptables calls a wildcard.
fn link(name: &NamePattern) -> String {
    match name {
        NamePattern::Exact(name) => name.to_string(),
        NamePattern::Prefix(stem) => format!("{stem}+"),
    }
}

/// `-4` or `-6`: the other of the two programs skips the line.
const fn family(net: &IpNet) -> &'static str {
    match IpFamily::of(net) {
        IpFamily::V4 => "-4",
        IpFamily::V6 => "-6",
    }
}

struct Rules<'r> {
    text: &'r mut String,
    chains: Vec<String>,
    rules: String,
}

impl Rules<'_> {
    fn chain(&mut self, name: &str) {
        if !self.chains.iter().any(|chain| chain == name) {
            self.chains.push(name.to_owned());
        }
    }

    fn add(&mut self, chain: &str, id: &str, rule: fmt::Arguments<'_>) {
        self.chain(chain);
        let _ = writeln!(self.rules, "-A {chain} {rule} -m comment --comment \"{id}\"");
    }

    /// The jumps go in front of what others have; the chains are emptied by being declared.
    fn finish(self, table: &str, jumps: &[(&str, &str)]) {
        let _ = writeln!(self.text, "*{table}");
        for chain in &self.chains {
            let _ = writeln!(self.text, ":{chain} - [0:0]");
        }
        for (hook, chain) in jumps {
            let _ = writeln!(self.text, "-I {hook} 1 -j {chain}");
        }
        self.text.push_str(&self.rules);
        self.text.push_str("COMMIT\n");
    }
}

const FORWARD: &str = "ISOPLAN-FWD";
const INPUT: &str = "ISOPLAN-IN";
const POSTROUTING: &str = "ISOPLAN-POST";
const ANSWERS: &str = "ISOPLAN-ANSWERS";
const UNDERLAY: &str = "ISOPLAN-UNDERLAY";
const ANSWER: &str = "-m conntrack --ctdir REPLY";

fn filter(text: &mut String, intent: &Intent<'_>) {
    let mut rules = Rules { text, chains: Vec::new(), rules: String::new() };
    rules.chain(FORWARD);
    rules.chain(INPUT);
    for (allow, pair) in intent.topology.allows.iter().zip(&intent.exceptions) {
        exception(&mut rules, intent, allow, *pair);
    }
    guarded(&mut rules, intent);
    dispatch(&mut rules, intent);
    nics(&mut rules, intent);
    for (number, (class, members)) in intent.classes.iter().enumerate() {
        from_class(&mut rules, intent, number, class, members);
        to_class(&mut rules, intent, number, class, members);
    }
    input(&mut rules, intent);
    for (number, class) in intent.classes.keys().enumerate() {
        host_from_class(&mut rules, intent, number, class);
    }
    if rules.rules.contains(ANSWERS) {
        rules.add(ANSWERS, "R1", format_args!("{ANSWER} -j RETURN"));
        rules.add(ANSWERS, "R2", format_args!("-j DROP"));
    }
    rules.finish("filter", &[("FORWARD", FORWARD), ("INPUT", INPUT)]);
}

/// The links of one side of an exception: of a NIC also the flat that it is a port of.
fn links(intent: &Intent<'_>, party: Option<Party>, name: &NamePattern) -> Vec<String> {
    match party {
        Some(Party::Nic(nic)) => intent.links_of(nic).map(str::to_owned).collect(),
        _ => vec![link(name)],
    }
}

fn exception(rules: &mut Rules<'_>, intent: &Intent<'_>, allow: &Allow, pair: Option<(Party, Party)>) {
    let protocol = allow.protocol.map(|protocol| format!(" -p {}", protocol.as_str())).unwrap_or_default();
    let ports: Vec<Option<PortRange>> = match allow.ports.as_slice() {
        [] => vec![None],
        ports => ports.iter().copied().map(Some).collect(),
    };
    let (version, to) = (family(&allow.to), allow.to);
    let froms = links(intent, pair.map(|(from, _)| from), &allow.from);
    let outs = links(intent, pair.map(|(_, to)| to), &allow.to_name);
    let senders = froms.iter().flat_map(|from| allow.from_subnets.iter().map(move |source| (from, source)));
    for (from, source) in senders {
        for port in &ports {
            let port = |flag: &str| match port {
                Some(range) => format!(" --{flag} {}:{}", range.first, range.last),
                None => String::new(),
            };
            let (sport, dport) =
                (format!("{protocol}{}", port("sport")), format!("{protocol}{}", port("dport")));
            for out in &outs {
                let there = format!("{version} -i {from} -o {out} -s {source} -d {to}{dport} -j RETURN");
                rules.add(FORWARD, "E1", format_args!("{there}"));
                let back =
                    format!("{version} -i {out} -o {from} -s {to} -d {source}{sport} {ANSWER} -j RETURN");
                rules.add(FORWARD, "E2", format_args!("{back}"));
            }
            rules.add(INPUT, "E5", format_args!("{version} -i {from} -s {source} -d {to}{dport} -j RETURN"));
        }
    }
}

fn guarded(rules: &mut Rules<'_>, intent: &Intent<'_>) {
    for (index, nic) in intent.topology.nics.iter().enumerate() {
        if intent.guards[index] != Guard::All {
            continue;
        }
        for link in intent.links_of(index) {
            rules.add(FORWARD, "F3", format_args!("-o {link} -j DROP"));
            rules.add(FORWARD, "F4", format_args!("-i {link} -j DROP"));
        }
        for net in &nic.subnets {
            rules.add(FORWARD, "F5", format_args!("{} -d {net} -j DROP", family(net)));
            rules.add(FORWARD, "F7", format_args!("{} -s {net} -j DROP", family(net)));
        }
    }
}

/// Networks by exact names first: a wildcard stands for those that have no entry of their own.
fn by_exactness(intent: &Intent<'_>, members: &[usize]) -> Vec<usize> {
    let mut members = members.to_vec();
    members.sort_by_key(|net| intent.topology.networks[*net].name.is_prefix());
    members
}

/// By network: the number of its class.
fn class_numbers(intent: &Intent<'_>) -> Vec<usize> {
    let mut numbers = vec![0; intent.topology.networks.len()];
    for (number, members) in intent.classes.values().enumerate() {
        for member in members {
            numbers[*member] = number;
        }
    }
    numbers
}

fn to_chain(class: usize, inbound: Inbound) -> String {
    format!("ISOPLAN-T{class}-{}", inbound.as_str().to_uppercase())
}

fn dispatch(rules: &mut Rules<'_>, intent: &Intent<'_>) {
    let all: Vec<usize> = (0..intent.topology.networks.len()).collect();
    let class = class_numbers(intent);
    let order = by_exactness(intent, &all);
    for network in &order {
        let name = link(&intent.topology.networks[*network].name);
        rules.add(FORWARD, "F9", format_args!("-i {name} -g ISOPLAN-F{}", class[*network]));
    }
    for network in &order {
        let entry = &intent.topology.networks[*network];
        let chain = to_chain(class[*network], entry.inbound);
        rules.add(FORWARD, "F11", format_args!("-o {} -g {chain}", link(&entry.name)));
    }
}

fn nics(rules: &mut Rules<'_>, intent: &Intent<'_>) {
    let open: Vec<usize> =
        (0..intent.topology.nics.len()).filter(|nic| intent.guards[*nic] != Guard::All).collect();
    for from in &open {
        for to in (0..intent.topology.nics.len()).filter(|to| !intent.exchange(*from, *to)) {
            for (link, net) in intent
                .links_of(*from)
                .flat_map(|link| intent.topology.nics[to].subnets.iter().map(move |net| (link, net)))
            {
                rules.add(FORWARD, "F21", format_args!("{} -i {link} -d {net} -j DROP", family(net)));
            }
        }
    }
    for from in &open {
        for to in &open {
            let (id, verdict) = if from == to || intent.nic_reach[*from].nics.contains(to) {
                ("F13", "-j RETURN".to_owned())
            } else if intent.nic_reach[*to].nics.contains(from) {
                ("F13", format!("-g {ANSWERS}"))
            } else {
                ("F14", "-j DROP".to_owned())
            };
            for a in intent.links_of(*from) {
                for b in intent.links_of(*to) {
                    rules.add(FORWARD, id, format_args!("-i {a} -o {b} {verdict}"));
                }
            }
        }
    }
    for nic in open.into_iter().filter(|nic| intent.guards[*nic] == Guard::Some) {
        for link in intent.links_of(nic) {
            rules.add(FORWARD, "F15", format_args!("-o {link} -j DROP"));
            rules.add(FORWARD, "F16", format_args!("-i {link} -j DROP"));
        }
        for net in &intent.topology.nics[nic].subnets {
            rules.add(FORWARD, "F17", format_args!("{} -d {net} -j DROP", family(net)));
            rules.add(FORWARD, "F19", format_args!("{} -s {net} -j DROP", family(net)));
        }
    }
}

/// Subnets of NICs that a class may not reach, besides those guarded for everyone.
fn closed_to<'t>(intent: &'t Intent<'_>, class: &'t ClassKey) -> impl Iterator<Item = &'t IpNet> {
    intent.closed_to(class).flat_map(|nic| &intent.topology.nics[nic].subnets)
}

fn from_class(
    rules: &mut Rules<'_>,
    intent: &Intent<'_>,
    number: usize,
    class: &ClassKey,
    members: &[usize],
) {
    let chain = format!("ISOPLAN-F{number}");
    let topology = intent.topology;
    for link in class.reached_by.iter().flat_map(|nic| intent.links_of(*nic)) {
        rules.add(&chain, "N9", format_args!("-o {link} {ANSWER} -j RETURN"));
    }
    for net in closed_to(intent, class) {
        rules.add(&chain, "N1", format_args!("{} -d {net} -j DROP", family(net)));
    }
    for port in overlay_ports(intent) {
        for link in (0..topology.nics.len()).flat_map(|nic| intent.links_of(nic)) {
            rules.add(&chain, "N3", format_args!("-o {link} -p udp --dport {port} -j DROP"));
        }
    }
    for link in class.reaches.iter().flat_map(|nic| intent.links_of(*nic)) {
        rules.add(&chain, "N4", format_args!("-o {link} -j RETURN"));
    }
    for network in by_exactness(intent, members) {
        let name = link(&topology.networks[network].name);
        let prefix = topology.networks[network].name.is_prefix();
        for reached in &intent.network_reach[network].networks {
            let to = link(&topology.networks[*reached].name);
            rules.add(&chain, "N5", format_args!("-i {name} -o {to} -j RETURN"));
        }
        if !prefix {
            rules.add(&chain, "N5", format_args!("-i {name} -o {name} -j RETURN"));
        } else if !intent.network_reach[network].networks.contains(&network) {
            rules.add(
                &chain,
                "N7",
                format_args!("-i {name} -o {name} -m physdev --physdev-is-bridged -j RETURN"),
            );
        }
        for (other, reached) in intent.network_reach.iter().enumerate() {
            if reached.networks.contains(&network) && other != network {
                let to = link(&topology.networks[other].name);
                rules.add(&chain, "N5", format_args!("-i {name} -o {to} -g {ANSWERS}"));
            }
        }
    }
    rules.add(&chain, "N8", format_args!("-j DROP"));
}

fn to_class(rules: &mut Rules<'_>, intent: &Intent<'_>, number: usize, class: &ClassKey, members: &[usize]) {
    for inbound in [Inbound::None, Inbound::Published, Inbound::Routed] {
        let members: Vec<usize> =
            members.iter().copied().filter(|net| intent.topology.networks[*net].inbound == inbound).collect();
        if members.is_empty() {
            continue;
        }
        let chain = to_chain(number, inbound);
        for link in class.reached_by.iter().flat_map(|nic| intent.links_of(*nic)) {
            rules.add(&chain, "T9", format_args!("-i {link} -j RETURN"));
        }
        for net in closed_to(intent, class) {
            rules.add(&chain, "T1", format_args!("{} -s {net} -j DROP", family(net)));
        }
        for link in class.reaches.iter().flat_map(|nic| intent.links_of(*nic)) {
            match inbound {
                Inbound::Routed => rules.add(&chain, "T5", format_args!("-i {link} -j RETURN")),
                Inbound::None => rules.add(&chain, "T3", format_args!("-i {link} {ANSWER} -j RETURN")),
                Inbound::Published => {
                    rules.add(&chain, "T3", format_args!("-i {link} {ANSWER} -j RETURN"));
                    rules.add(&chain, "T4", format_args!("-i {link} -m conntrack --ctstate DNAT -j RETURN"));
                }
            }
        }
        rules.add(&chain, "T8", format_args!("-j DROP"));
    }
}

fn overlay_ports(intent: &Intent<'_>) -> NicPorts {
    intent
        .topology
        .networks
        .iter()
        .filter_map(|network| match network.kind {
            NetworkKind::Overlay { port, .. } => Some(port),
            NetworkKind::Bridge => None,
        })
        .collect()
}

type NicPorts = std::collections::BTreeSet<u16>;

fn input(rules: &mut Rules<'_>, intent: &Intent<'_>) {
    let topology = intent.topology;
    // In front of the exceptions, which were added above, there is no harm: loopback is not theirs.
    rules.add(INPUT, "I1", format_args!("-i lo -j RETURN"));
    for network in &topology.networks {
        let NetworkKind::Overlay { underlay, port, .. } = &network.kind else { continue };
        rules.add(INPUT, "I2", format_args!("-p udp --dport {port} -j {UNDERLAY}-{port}"));
        let nic = topology.nics.iter().position(|nic| nic.name == *underlay);
        for link in nic.into_iter().flat_map(|nic| intent.links_of(nic)) {
            rules.add(&format!("{UNDERLAY}-{port}"), "I2", format_args!("-i {link} -j RETURN"));
        }
    }
    for port in overlay_ports(intent) {
        rules.add(&format!("{UNDERLAY}-{port}"), "I2", format_args!("-j DROP"));
    }
    let all: Vec<usize> = (0..topology.networks.len()).collect();
    let class = class_numbers(intent);
    for network in by_exactness(intent, &all) {
        let name = link(&topology.networks[network].name);
        rules.add(INPUT, "I3", format_args!("-i {name} -g ISOPLAN-H{}", class[network]));
    }
    rules.add(INPUT, "I5", format_args!("{ANSWER} -j RETURN"));
    for kind in ["neighbour-solicitation", "neighbour-advertisement"] {
        rules.add(INPUT, "I14", format_args!("-6 -p icmpv6 --icmpv6-type {kind} -j RETURN"));
    }
    for (index, nic) in topology.nics.iter().enumerate() {
        let chain = format!("ISOPLAN-HOME{index}");
        let id = match intent.guards[index] {
            Guard::All => "I6",
            Guard::Some => "I8",
            Guard::None => "I10",
        };
        for net in &nic.subnets {
            rules.add(INPUT, id, format_args!("{} -d {net} -j {chain}", family(net)));
        }
        if nic.subnets.is_empty() {
            continue;
        }
        rules.chain(&chain);
        let may = |other: &usize| *other == index || intent.nic_reach[*other].nics.contains(&index);
        let (home, away): (Vec<usize>, Vec<usize>) = (0..topology.nics.len()).partition(may);
        if intent.guards[index] == Guard::None {
            for link in away.iter().flat_map(|other| intent.links_of(*other)) {
                rules.add(&chain, "I10", format_args!("-i {link} -j DROP"));
            }
        } else {
            for link in home.iter().flat_map(|other| intent.links_of(*other)) {
                rules.add(&chain, id, format_args!("-i {link} -j RETURN"));
            }
            rules.add(&chain, id, format_args!("-j DROP"));
        }
    }
    for (index, network) in topology.networks.iter().enumerate() {
        for net in &network.subnets {
            for link in intent.opens_into(index).flat_map(|nic| intent.links_of(nic)) {
                rules.add(INPUT, "I12", format_args!("{} -i {link} -d {net} -j RETURN", family(net)));
            }
            rules.add(INPUT, "I12", format_args!("{} -d {net} -j DROP", family(net)));
        }
    }
}

fn host_from_class(rules: &mut Rules<'_>, intent: &Intent<'_>, number: usize, class: &ClassKey) {
    let chain = format!("ISOPLAN-H{number}");
    let nics = intent.topology.nics.iter().enumerate();
    let guarded = nics.filter(|(nic, _)| intent.guards[*nic] == Guard::All).flat_map(|(_, nic)| &nic.subnets);
    for net in guarded {
        rules.add(&chain, "H1", format_args!("{} -d {net} -j DROP", family(net)));
    }
    for net in closed_to(intent, class) {
        rules.add(&chain, "H3", format_args!("{} -d {net} -j DROP", family(net)));
    }
    for kind in ["router-advertisement", "redirect"] {
        rules.add(&chain, "H5", format_args!("-6 -p icmpv6 --icmpv6-type {kind} -j DROP"));
    }
    rules.add(&chain, "H6", format_args!("-4 -p icmp --icmp-type redirect -j DROP"));
    rules.add(&chain, "H7", format_args!("{ANSWER} -j RETURN"));
    rules.add(&chain, "H8", format_args!("-m addrtype --dst-type LOCAL --limit-iface-in -j RETURN"));
    for kind in ["-4 -m addrtype --dst-type BROADCAST", "-m addrtype --dst-type MULTICAST"] {
        rules.add(&chain, "H8", format_args!("{kind} -j RETURN"));
    }
    for net in class.reaches.iter().flat_map(|nic| &intent.topology.nics[*nic].subnets) {
        rules.add(&chain, "H9", format_args!("{} -d {net} -j RETURN", family(net)));
    }
    rules.add(&chain, "H11", format_args!("-j DROP"));
}

fn nat(text: &mut String, intent: &Intent<'_>) {
    let topology = intent.topology;
    let mut rules = Rules { text, chains: Vec::new(), rules: String::new() };
    if topology.isolation.masquerade {
        for (network, reached) in topology.networks.iter().zip(&intent.network_reach) {
            for net in &network.subnets {
                for link in reached.nics.iter().flat_map(|nic| intent.links_of(*nic)) {
                    rules.add(
                        POSTROUTING,
                        "M1",
                        format_args!("{} -s {net} -o {link} -j MASQUERADE", family(net)),
                    );
                }
            }
        }
        for (allow, pair) in topology.allows.iter().zip(&intent.exceptions) {
            let Some((Party::Network(_), Party::Nic(nic))) = pair else { continue };
            for net in &allow.from_subnets {
                for link in intent.links_of(*nic) {
                    let rule = format!("{} -s {net} -d {} -o {link} -j MASQUERADE", family(net), allow.to);
                    rules.add(POSTROUTING, "M1", format_args!("{rule}"));
                }
            }
        }
    }
    for (nic, reached) in topology.nics.iter().zip(&intent.nic_reach) {
        for net in &nic.subnets {
            for link in reached.nics.iter().flat_map(|nic| intent.links_of(*nic)) {
                let (id, target) = match &nic.nat {
                    NicNat::None => continue,
                    NicNat::Masquerade => ("M5", "MASQUERADE".to_owned()),
                    NicNat::Snat(addresses) => {
                        let same = |address: &&std::net::IpAddr| address.is_ipv6() == net.addr().is_ipv6();
                        match addresses.iter().find(same) {
                            Some(address) => ("M3", format!("SNAT --to-source {address}")),
                            None => continue,
                        }
                    }
                };
                rules.add(POSTROUTING, id, format_args!("{} -s {net} -o {link} -j {target}", family(net)));
            }
        }
    }
    if !rules.chains.is_empty() {
        rules.finish("nat", &[("POSTROUTING", POSTROUTING)]);
    }
}
