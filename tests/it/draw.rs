//! Not a test: random topologies, drawn so that every one of them is valid.
//!
//! What is drawn are plain choices; whatever would make a file that is refused (an exception to a network that
//! the drawing does not have, a pattern that cannot be told from a name within it) is left out when the choices
//! are written down. So shrinking a failure makes small files, and no draw is thrown away.

use std::collections::BTreeSet;
use std::fmt;
use std::net::IpAddr;

use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use proptest::prelude::*;
use proptest::sample::subsequence;

/// Names of bridges and overlays. Two are within `br-*`; none is within two patterns.
const NETWORKS: [&str; 10] = [
    "docker0",
    "br-web",
    "br-db",
    "br-*",
    "cni-podman*",
    "veth-long-name*",
    "fifteen-bytes-0",
    "lab.7_x@y",
    "vxlan42",
    "vx-*",
];
const NICS: [&str; 4] = ["eth0", "eth1.100", "wan-1", "enp0s31f6"];
const ROLES: [&str; 6] = ["service", "storage", "management", "nothing", "lan", "Guests_2"];
const PORTS: [&str; 5] = ["[2049]", "[111, 2049, \"20000-20100\"]", "[1]", "[\"1-65535\"]", "[65535, 53]"];

/// A topology file, entry by entry.
#[derive(Clone)]
pub(crate) struct Drawn {
    pub(crate) entries: Vec<String>,
}

impl Drawn {
    pub(crate) fn text(&self) -> String {
        self.entries.join("\n")
    }

    /// The same entries in the order of the keys.
    pub(crate) fn shuffled(&self, keys: &[u32]) -> Self {
        let mut entries: Vec<_> = self.entries.iter().cloned().enumerate().collect();
        entries.sort_by_key(|(place, _)| (keys.get(*place).copied().unwrap_or_default(), *place));
        Self { entries: entries.into_iter().map(|(_, entry)| entry).collect() }
    }
}

impl fmt::Debug for Drawn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "\n{}", self.text())
    }
}

/// Any topology.
pub(crate) fn topology() -> impl Strategy<Value = Drawn> {
    choices().prop_map(|choices| write(&choices))
}

/// Any topology of the nftables approach.
pub(crate) fn nftables() -> impl Strategy<Value = Drawn> {
    choices().prop_map(|choices| write(&Choices { is_sysctl: false, ..choices }))
}

#[derive(Debug, Clone)]
struct Choices {
    nics: Vec<NicChoice>,
    networks: Vec<(&'static str, NetworkChoice)>,
    /// For each NIC, whether it has a flat and what that reaches.
    flats: Vec<(bool, Option<u32>)>,
    allows: Vec<AllowChoice>,
    masquerade: Option<bool>,
    is_sysctl: bool,
}

#[derive(Debug, Clone)]
struct NicChoice {
    role: &'static str,
    subnets: Vec<Slot>,
    reach: Option<u32>,
    nat: Nat,
}

#[derive(Debug, Clone, Copy)]
enum Nat {
    None,
    Masquerade,
    Snat,
}

#[derive(Debug, Clone)]
struct NetworkChoice {
    subnets: Vec<Slot>,
    reach: Option<u32>,
    inbound: Option<&'static str>,
    /// Of an overlay: which NIC, the VNI, the port.
    overlay: Option<(usize, u32, Option<u16>)>,
}

/// One of the places for a subnet that each entry has: four of a family.
#[derive(Debug, Clone, Copy)]
struct Slot {
    is_ipv4: bool,
    place: u8,
    /// From 0, the widest, to 14, an address alone.
    narrow: u8,
}

#[derive(Debug, Clone)]
struct AllowChoice {
    from: usize,
    to: usize,
    subnet: usize,
    /// The target within the subnet; nothing is all of it.
    within: Option<(u8, u8)>,
    protocol: u8,
    ports: Option<&'static str>,
}

fn choices() -> impl Strategy<Value = Choices> {
    let networks = subsequence(NETWORKS.to_vec(), 0..=8)
        .prop_flat_map(|names| names.into_iter().map(|name| (Just(name), network())).collect::<Vec<_>>());
    (
        prop::collection::vec(nic(), 1..=4),
        networks,
        prop::collection::vec((prop::bool::weighted(0.25), reach()), 4),
        prop::collection::vec(allow(), 0..=5),
        prop::option::of(any::<bool>()),
        prop::bool::weighted(0.1),
    )
        .prop_map(|(nics, networks, flats, allows, masquerade, is_sysctl)| Choices {
            nics,
            networks,
            flats,
            allows,
            masquerade,
            is_sysctl,
        })
}

/// Which words of a list; fewer of the many.
fn reach() -> impl Strategy<Value = Option<u32>> {
    let few = (any::<u32>(), any::<u32>()).prop_map(|(a, b)| a & b);
    prop::option::of(few)
}

fn slots() -> impl Strategy<Value = Vec<Slot>> {
    let places: Vec<(bool, u8)> = (0..8).map(|number: u8| (number.is_multiple_of(2), number / 2)).collect();
    (0_u8..4, subsequence(places, 0..=3), prop::collection::vec(0_u8..=14, 3)).prop_map(
        |(families, places, narrow)| {
            let slots = places.into_iter().zip(narrow);
            let slots = slots.map(|((is_ipv4, place), narrow)| Slot { is_ipv4, place, narrow });
            // One in two entries has both families, one in four each alone.
            slots.filter(|slot| families >= 2 || slot.is_ipv4 == (families == 0)).collect()
        },
    )
}

fn nic() -> impl Strategy<Value = NicChoice> {
    let nat = prop_oneof![Just(Nat::None), Just(Nat::Masquerade), Just(Nat::Snat)];
    let reach = prop_oneof![2 => Just(None), 1 => reach()];
    (prop::sample::select(&ROLES[..]), slots(), reach, nat)
        .prop_map(|(role, subnets, reach, nat)| NicChoice { role, subnets, reach, nat })
}

fn network() -> impl Strategy<Value = NetworkChoice> {
    let inbound = prop::option::of(prop::sample::select(&["published", "none", "routed"][..]));
    let port = prop::option::of(prop_oneof![Just(1_u16), Just(8472), Just(65535)]);
    let overlay = prop::option::weighted(0.25, (0_usize..4, 1_u32..0x100_0000, port));
    (slots(), reach(), inbound, overlay).prop_map(|(subnets, reach, inbound, overlay)| NetworkChoice {
        subnets,
        reach,
        inbound,
        overlay,
    })
}

fn allow() -> impl Strategy<Value = AllowChoice> {
    let within = prop::option::of((any::<u8>(), 0_u8..=8));
    (
        0_usize..12,
        0_usize..12,
        0_usize..3,
        within,
        0_u8..6,
        prop::option::of(prop::sample::select(&PORTS[..])),
    )
        .prop_map(|(from, to, subnet, within, protocol, ports)| AllowChoice {
            from,
            to,
            subnet,
            within,
            protocol,
            ports,
        })
}

impl Slot {
    /// No two owners and no two places have an address in common.
    fn net(self, owner: usize) -> IpNet {
        let owner = u8::try_from(owner).expect("few owners");
        if self.is_ipv4 {
            let address = [10, owner, self.place * 64, 0].into();
            IpNet::V4(Ipv4Net::new_assert(address, 18 + self.narrow).trunc())
        } else {
            let address = [0xfd00, owner.into(), self.place.into(), 0, 0, 0, 0, 0].into();
            let length = if self.narrow == 14 { 128 } else { 48 + self.narrow * 5 };
            IpNet::V6(Ipv6Net::new_assert(address, length).trunc())
        }
    }
}

/// The addresses at one end of an exception.
fn nets_of(choices: &Choices, owner: usize) -> Vec<IpNet> {
    let nics = choices.nics.len();
    let slots = match choices.nics.get(owner) {
        Some(nic) => &nic.subnets,
        None => &choices.networks[owner - nics].1.subnets,
    };
    // Owners are numbered NICs first; the addresses of networks do not move when there is a NIC more.
    let number = if owner < nics { owner } else { 100 + owner - nics };
    slots.iter().map(|slot| slot.net(number)).collect()
}

fn quoted<T: fmt::Display>(items: impl IntoIterator<Item = T>) -> String {
    let items: Vec<_> = items.into_iter().map(|item| format!("\"{item}\"")).collect();
    format!("[{}]", items.join(", "))
}

/// The words that a mask picks.
fn picked<'w>(words: &[&'w str], mask: u32) -> Vec<&'w str> {
    words.iter().enumerate().filter(|(place, _)| mask >> place & 1 == 1).map(|(_, word)| *word).collect()
}

struct Writer<'c> {
    choices: &'c Choices,
    roles: Vec<&'c str>,
    /// Patterns that a name of the file is within: rules cannot tell the two apart everywhere.
    shadowed: BTreeSet<&'c str>,
}

impl<'c> Writer<'c> {
    fn new(choices: &'c Choices) -> Self {
        let roles: BTreeSet<_> = choices.nics.iter().map(|nic| nic.role).collect();
        let names = || choices.networks.iter().map(|(name, _)| *name);
        let is_shadowed = |pattern: &&str| {
            let stem = pattern.strip_suffix('*');
            stem.is_some_and(|stem| names().any(|name| name.starts_with(stem) && !name.ends_with('*')))
        };
        let shadowed = names().filter(is_shadowed).collect();
        Self { choices, roles: roles.into_iter().collect(), shadowed }
    }

    /// What somebody can reach, all words. `this` is his own name.
    fn words(&self, this: &str) -> Vec<&'c str> {
        let mut words = self.roles.clone();
        if !self.shadowed.contains(this) {
            let names = self.choices.networks.iter().map(|(name, _)| *name);
            words.extend(
                names.filter(|name| !self.shadowed.contains(name) && (*name != this || name.ends_with('*'))),
            );
        }
        words
    }

    /// The `reach` of a network; nothing where it is left to its default.
    fn network_reach(&self, name: &str, choice: &NetworkChoice) -> Option<Vec<&'c str>> {
        choice.reach.map(|mask| picked(&self.words(name), mask))
    }

    fn nic_reach(&self, place: usize) -> Vec<&'c str> {
        let nic = &self.choices.nics[place];
        let Some(mask) = nic.reach else { return Vec::new() };
        let is_alone = self.choices.nics.iter().filter(|other| other.role == nic.role).count() == 1;
        let mut words = picked(&self.words(NICS[place]), mask);
        words.retain(|word| *word != nic.role || !is_alone);
        words
    }

    fn flat_reach(&self, place: usize) -> Option<Vec<&'c str>> {
        self.choices.flats[place].1.map(|mask| picked(&self.roles, mask))
    }

    /// Whether nothing of the file is kept away from a NIC: then it may have no subnets.
    fn is_open(&self, place: usize) -> bool {
        let role = self.choices.nics[place].role;
        let by_default = |reach: Option<Vec<&str>>| match reach {
            Some(reach) => reach.contains(&role),
            None => role == "service",
        };
        self.choices.networks.iter().all(|(name, choice)| by_default(self.network_reach(name, choice)))
            && (0..self.choices.nics.len())
                .filter(|other| *other != place)
                .all(|other| self.nic_reach(other).contains(&role))
            && (0..self.choices.nics.len())
                .filter(|other| *other != place && self.choices.flats[*other].0)
                .all(|other| by_default(self.flat_reach(other)))
    }

    fn nic(&self, place: usize) -> String {
        let nic = &self.choices.nics[place];
        let mut text = format!("[[nic]]\nname = \"{}\"\nrole = \"{}\"\n", NICS[place], nic.role);
        let nets = nets_of(self.choices, place);
        if !nets.is_empty() {
            text.push_str(&format!("subnets = {}\n", quoted(&nets)));
        }
        let reach = self.nic_reach(place);
        if nic.reach.is_some() {
            text.push_str(&format!("reach = {}\n", quoted(&reach)));
        }
        if reach.is_empty() || self.choices.is_sysctl {
            return text;
        }
        match nic.nat {
            Nat::None => {}
            Nat::Masquerade => text.push_str("masquerade = true\n"),
            Nat::Snat => {
                let addresses = ["203.0.113.5", "2001:db8::5"].map(|text| text.parse().expect("an address"));
                let has = |address: &IpAddr| nets.iter().any(|net| net.addr().is_ipv4() == address.is_ipv4());
                let addresses: Vec<IpAddr> = addresses.into_iter().filter(has).collect();
                if !addresses.is_empty() {
                    text.push_str(&format!("snat = {}\n", quoted(addresses)));
                }
            }
        }
        text
    }

    fn network(&self, place: usize) -> String {
        let (name, choice) = &self.choices.networks[place];
        let mut text = match choice.overlay {
            None => format!("[[bridge]]\nname = \"{name}\"\n"),
            Some((nic, vni, port)) => {
                let underlay = NICS[nic % self.choices.nics.len()];
                let port = port.map(|port| format!("port = {port}\n")).unwrap_or_default();
                format!("[[overlay]]\nname = \"{name}\"\nunderlay = \"{underlay}\"\nvni = {vni}\n{port}")
            }
        };
        let nets = nets_of(self.choices, self.choices.nics.len() + place);
        if !nets.is_empty() {
            text.push_str(&format!("subnets = {}\n", quoted(nets)));
        }
        if let Some(reach) = self.network_reach(name, choice) {
            text.push_str(&format!("reach = {}\n", quoted(reach)));
        }
        if let Some(inbound) = choice.inbound {
            text.push_str(&format!("inbound = \"{inbound}\"\n"));
        }
        text
    }

    fn flat(&self, place: usize) -> String {
        let mut text = format!("[[flat]]\nname = \"flat{place}\"\nnic = \"{}\"\n", NICS[place]);
        if let Some(reach) = self.flat_reach(place) {
            text.push_str(&format!("reach = {}\n", quoted(reach)));
        }
        text
    }

    fn name(&self, owner: usize) -> &'static str {
        match owner.checked_sub(self.choices.nics.len()) {
            None => NICS[owner],
            Some(network) => self.choices.networks[network].0,
        }
    }

    /// The exceptions that are between two entries, for packets that can exist, and each packet once.
    fn allows(&self) -> Vec<String> {
        let owners = self.choices.nics.len() + self.choices.networks.len();
        let mut written = Vec::new();
        let mut taken: Vec<(usize, IpNet)> = Vec::new();
        for allow in &self.choices.allows {
            let (from, to) = (allow.from % owners, allow.to % owners);
            let nets = nets_of(self.choices, to);
            if from == to
                || nets.is_empty()
                || [from, to].iter().any(|end| self.shadowed.contains(self.name(*end)))
            {
                continue;
            }
            let subnet = nets[allow.subnet % nets.len()];
            let target = match allow.within {
                None => subnet,
                Some((number, wider)) => part_of(subnet, number, wider),
            };
            let is_ipv4 = target.addr().is_ipv4();
            let has_source = nets_of(self.choices, from).iter().any(|net| net.addr().is_ipv4() == is_ipv4);
            let meets = |other: &IpNet| target.contains(other) || other.contains(&target);
            if !has_source || taken.iter().any(|(other, net)| *other == from && meets(net)) {
                continue;
            }
            taken.push((from, target));
            let protocol = match (allow.protocol, is_ipv4) {
                (0, _) => None,
                (1, _) => Some("tcp"),
                (2, _) => Some("udp"),
                (3, _) => Some("sctp"),
                (_, true) => Some("icmp"),
                (_, false) => Some("icmpv6"),
            };
            let mut text = format!("[[allow]]\nfrom = \"{}\"\nto = \"{target}\"\n", self.name(from));
            if let Some(protocol) = protocol {
                text.push_str(&format!("protocol = \"{protocol}\"\n"));
                if let (Some(ports), 1..=3) = (allow.ports, allow.protocol) {
                    text.push_str(&format!("ports = {ports}\n"));
                }
            }
            written.push(text);
        }
        written
    }
}

/// A network within another, that many bits longer, or an address where that is too many.
fn part_of(subnet: IpNet, number: u8, longer: u8) -> IpNet {
    let length = (subnet.prefix_len() + longer).min(subnet.max_prefix_len());
    let parts = subnet.subnets(length).expect("longer than the subnet");
    let few: Vec<IpNet> = parts.take(usize::from(number) % 7 + 1).collect();
    few.last().copied().unwrap_or(subnet)
}

fn write(choices: &Choices) -> Drawn {
    let mut choices = choices.clone();
    for place in 0..choices.nics.len() {
        if choices.nics[place].subnets.is_empty() && !Writer::new(&choices).is_open(place) {
            choices.nics[place].subnets.push(Slot { is_ipv4: true, place: 0, narrow: 6 });
        }
    }
    let writer = Writer::new(&choices);
    let mut entries: Vec<String> = (0..choices.nics.len()).map(|place| writer.nic(place)).collect();
    entries.extend((0..choices.networks.len()).map(|place| writer.network(place)));
    entries.extend((0..choices.nics.len()).filter(|nic| choices.flats[*nic].0).map(|nic| writer.flat(nic)));
    if choices.is_sysctl {
        let masquerade = choices.masquerade.map(|_| "masquerade = false\n").unwrap_or_default();
        entries.push(format!("[isolation]\napproach = \"sysctl\"\n{masquerade}"));
    } else {
        entries.extend(writer.allows());
        if let Some(masquerade) = choices.masquerade {
            entries.push(format!("[isolation]\nmasquerade = {masquerade}\n"));
        }
    }
    Drawn { entries }
}
