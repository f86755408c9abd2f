//! What is drawn: nodes, and what each may do towards each other.

use std::collections::{BTreeMap, BTreeSet};

use ipnet::IpNet;

use crate::intent::{Guard, Intent, IpFamily, Party, Way};
use crate::meaning::service;
use crate::topology::{Allow, ApproachName, NetworkKind};

/// More boxes than this on one side are counted instead.
pub(super) const NODES: usize = 40;

/// Longest list of subnets in a box.
const SUBNETS: usize = 4;

/// Networks that mean the same, a flat, or a NIC.
#[derive(Debug)]
pub(super) struct Node {
    /// The first of them.
    pub party: Party,
    /// Of no meaning, and unlike those of others: `n0`, `f0`, `i0`.
    pub id: String,
    /// Of the first.
    pub name: String,
    /// `docker0`, `docker0, br-web`, `docker0 and 3 more`; of a NIC `eth1 (storage)`.
    pub label: String,
    /// What kind of thing it is, in a few words; of a NIC its role.
    pub kind: String,
    /// How many networks.
    pub members: usize,
    /// Of all members, as many as are shown, and `and 3 more`.
    pub subnets: Vec<String>,
    /// What is to be said of it besides.
    pub notes: Vec<String>,
}

impl Node {
    /// What the SVG says of it for programs: its name, and for how many it stands.
    pub(super) fn attributes(&self) -> [(&'static str, String); 2] {
        [("data-node", self.name.clone()), ("data-count", self.members.to_string())]
    }
}

/// An `[[allow]]` between two nodes.
#[derive(Debug)]
pub(super) struct Exception {
    /// Into the nodes.
    pub from: usize,
    /// Into the nodes.
    pub to: usize,
    /// `tcp 2049 at 192.168.57.9`.
    pub what: String,
}

/// What a line of the picture shows at one of its ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Head {
    /// Answers at most.
    None,
    /// What was published, and answers.
    Published,
    /// Connections may be opened in this direction.
    Open,
}

impl Head {
    /// For the data attribute.
    pub(super) const fn as_str(self) -> &'static str {
        match self {
            Self::None => "answers",
            Self::Published => "published",
            Self::Open => "open",
        }
    }
}

/// A topology as a picture has it.
#[derive(Debug)]
pub(super) struct Model<'t> {
    /// The name of the file.
    pub file: &'t str,
    /// Networks and flats, then NICs.
    pub nodes: Vec<Node>,
    /// How many of the nodes are not NICs.
    pub left: usize,
    /// How many networks, flats and NICs are in no node.
    pub missing: usize,
    /// Networks of containers, flats, NICs, in the file.
    pub counts: [usize; 3],
    /// By sender and receiver.
    ways: Vec<Option<Way>>,
    /// Between nodes that are drawn.
    pub exceptions: Vec<Exception>,
    /// Whether the approach does not deliver what the picture shows.
    pub is_sysctl: bool,
}

/// Networks that reach the same, are reached by the same, and are alike in all else that the picture shows.
fn groups(intent: &Intent<'_>) -> Vec<Vec<usize>> {
    let networks = &intent.topology.networks;
    let mut reached_by = vec![Vec::new(); networks.len()];
    let senders =
        intent.network_reach.iter().enumerate().map(|(from, reached)| (Party::Network(from), reached));
    let nics = intent.nic_reach.iter().enumerate().map(|(from, reached)| (Party::Nic(from), reached));
    for (from, reached) in senders.chain(nics) {
        for to in &reached.networks {
            reached_by[*to].push(from);
        }
    }
    let excepted: BTreeSet<Party> =
        intent.exceptions.iter().flatten().flat_map(|(from, to)| [*from, *to]).collect();
    let mut groups: BTreeMap<_, Vec<usize>> = BTreeMap::new();
    for (index, network) in networks.iter().enumerate() {
        let party = Party::Network(index);
        let families = IpFamily::BOTH.map(|family| intent.speaks(party, family));
        let overlay = match &network.kind {
            NetworkKind::Bridge => None,
            NetworkKind::Overlay { underlay, .. } => Some(underlay),
        };
        let own = excepted.contains(&party).then_some(index);
        let key = (own, overlay, network.inbound, families, &intent.network_reach[index], &reached_by[index]);
        groups.entry(key).or_default().push(index);
    }
    let mut groups: Vec<_> = groups.into_values().collect();
    groups.sort();
    groups
}

/// Names in the order in which people count: `br-2` before `br-10`.
fn natural(name: &str) -> Vec<(String, u64)> {
    let mut parts = Vec::new();
    let mut rest = name;
    while !rest.is_empty() {
        let word = rest.find(|c: char| c.is_ascii_digit()).unwrap_or(rest.len());
        let end = rest[word..].find(|c: char| !c.is_ascii_digit()).map_or(rest.len(), |length| word + length);
        // A name has at most 15 digits.
        parts.push((rest[..word].to_owned(), rest[word..end].parse().unwrap_or(0)));
        rest = &rest[end..];
    }
    parts
}

fn plural(number: usize, one: &str, more: &str) -> String {
    if number == 1 { format!("1 {one}") } else { format!("{} {more}", thousands(number)) }
}

/// `10,000`.
pub(super) fn thousands(number: usize) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

fn subnets<'n>(nets: impl ExactSizeIterator<Item = &'n IpNet>) -> Vec<String> {
    let all = nets.len();
    let shown = if all > SUBNETS { SUBNETS - 1 } else { all };
    let mut lines: Vec<String> = nets.take(shown).map(ToString::to_string).collect();
    if all > shown {
        lines.push(format!("and {} more", thousands(all - shown)));
    }
    lines
}

fn network_node(intent: &Intent<'_>, members: &[usize]) -> Node {
    let first = members[0];
    let network = &intent.topology.networks[first];
    let name = network.name.to_string();
    let label = match members.len() {
        1 => name.clone(),
        2 => format!("{name}, {}", intent.topology.networks[members[1]].name),
        more => format!("{name} and {} more", thousands(more - 1)),
    };
    let mut kind = match (&network.kind, members.len()) {
        (NetworkKind::Bridge, 1) if network.name.is_prefix() => "bridges by name".to_owned(),
        (NetworkKind::Bridge, 1) => "bridge".to_owned(),
        (NetworkKind::Bridge, number) => plural(number, "bridge", "bridges"),
        (NetworkKind::Overlay { underlay, vni, .. }, 1) => format!("overlay {vni} over {underlay}"),
        (NetworkKind::Overlay { underlay, .. }, number) => {
            format!("{} over {underlay}", plural(number, "overlay", "overlays"))
        }
    };
    let nets: Vec<&IpNet> =
        members.iter().take(1000).flat_map(|member| &intent.topology.networks[*member].subnets).collect();
    let all: usize = members.iter().map(|member| intent.topology.networks[*member].subnets.len()).sum();
    let mut lines = subnets(nets.iter().copied());
    if all > nets.len() {
        lines.pop();
        lines.push(format!("and {} more", thousands(all - lines.len())));
    }
    let mut notes = Vec::new();
    if members.len() > 1 || network.name.is_prefix() {
        if intent.network_reach[first].networks.contains(&first) {
            notes.push("open to each other".to_owned());
        } else {
            kind.push_str(", each on its own");
        }
    }
    Node {
        party: Party::Network(first),
        id: format!("n{first}"),
        name,
        label,
        kind,
        members: members.len(),
        subnets: lines,
        notes,
    }
}

fn flat_node(intent: &Intent<'_>, index: usize) -> Node {
    let flat = &intent.topology.flats[index];
    Node {
        party: Party::Flat(index),
        id: format!("f{index}"),
        name: flat.name.to_string(),
        label: flat.name.to_string(),
        kind: format!("flat, bridged onto {}", flat.nic),
        members: 1,
        subnets: Vec::new(),
        notes: vec![format!("addresses of {}", flat.nic)],
    }
}

fn nic_node(intent: &Intent<'_>, index: usize) -> Node {
    let nic = &intent.topology.nics[index];
    let mut notes = Vec::new();
    if nic.subnets.is_empty() {
        notes.push("any network".to_owned());
    }
    Node {
        party: Party::Nic(index),
        id: format!("i{index}"),
        name: nic.name.to_string(),
        label: format!("{} ({})", nic.name, nic.role),
        kind: nic.role.to_string(),
        members: 1,
        subnets: subnets(nic.subnets.iter()),
        notes,
    }
}

/// `tcp 2049, 20000-20100 at 192.168.57.9`.
fn exception(allow: &Allow) -> String {
    let service = service(allow);
    let to = match allow.to.prefix_len() == allow.to.max_prefix_len() {
        true => allow.to.addr().to_string(),
        false => allow.to.to_string(),
    };
    format!("{service} at {to}")
}

/// The stronger of what two families have; they differ by exceptions alone.
fn either(intent: &Intent<'_>, from: Party, to: Party) -> Option<Way> {
    let ways = IpFamily::BOTH.map(|family| intent.way(from, to, family));
    let has_more =
        |way: &Way| matches!(way, Way::Exceptions | Way::AnswersAndExceptions | Way::PublishedAndExceptions);
    let mut ways = ways.into_iter().flatten();
    let first = ways.next()?;
    Some(ways.find(has_more).unwrap_or(first))
}

impl<'t> Model<'t> {
    /// Groups, names and counts.
    pub(super) fn new(intent: &Intent<'t>) -> Self {
        let topology = intent.topology;
        let groups = groups(intent);
        let mut nodes: Vec<Node> =
            groups.iter().take(NODES).map(|members| network_node(intent, members)).collect();
        let room = NODES - nodes.len();
        nodes.extend((0..topology.flats.len().min(room)).map(|flat| flat_node(intent, flat)));
        let flats = topology.flats.len().saturating_sub(room);
        let left = nodes.len();
        nodes.extend((0..topology.nics.len().min(NODES)).map(|nic| nic_node(intent, nic)));
        let missing = groups.iter().skip(NODES).map(Vec::len).sum::<usize>()
            + flats
            + topology.nics.len().saturating_sub(NODES);

        let place: BTreeMap<Party, usize> =
            nodes.iter().enumerate().map(|(place, node)| (node.party, place)).collect();
        let exceptions = topology
            .allows
            .iter()
            .zip(&intent.exceptions)
            .filter_map(|(allow, pair)| {
                let (from, to) = (*pair)?;
                // Where all is open it adds nothing.
                let adds = either(intent, from, to) != Some(Way::Open);
                let (from, to) = (*place.get(&from)?, *place.get(&to)?);
                adds.then(|| Exception { from, to, what: exception(allow) })
            })
            .collect();
        let ways = nodes
            .iter()
            .flat_map(|from| nodes.iter().map(move |to| (from, to)))
            .map(|(from, to)| match (from.party, to.party) {
                (_, Party::Flat(_)) => None,
                (a, b) if a == b => None,
                (a, b) => either(intent, a, b),
            })
            .collect();
        Self {
            file: &topology.file,
            nodes,
            left,
            missing,
            counts: [topology.networks.len(), topology.flats.len(), topology.nics.len()],
            ways,
            exceptions,
            is_sysctl: topology.isolation.approach == ApproachName::Sysctl,
        }
        .sorted(intent)
    }

    /// What is open to most stands first among the NICs, and senders in the order of what they reach: fewer lines
    /// cross.
    fn sorted(self, intent: &Intent<'_>) -> Self {
        let reached =
            |nic: usize| (0..self.nodes.len()).filter(|from| self.head(*from, nic) == Head::Open).count();
        let mut nics: Vec<usize> = (self.left..self.nodes.len()).collect();
        let guard = |nic: usize| match self.nodes[nic].party {
            Party::Nic(index) => intent.guards[index],
            _ => Guard::None,
        };
        nics.sort_by_cached_key(|nic| {
            (guard(*nic) == Guard::All, std::cmp::Reverse(reached(*nic)), natural(&self.nodes[*nic].name))
        });
        let level = |node: usize| {
            let lines: Vec<usize> = nics
                .iter()
                .enumerate()
                .filter(|(_, nic)| {
                    self.head(node, **nic) == Head::Open || self.head(**nic, node) != Head::None
                })
                .map(|(place, _)| place * 1000)
                .collect();
            if lines.is_empty() { usize::MAX } else { lines.iter().sum::<usize>() / lines.len() }
        };
        let mut order: Vec<usize> = (0..self.left).collect();
        order.sort_by_key(|node| level(*node));
        order.extend(nics);
        self.ordered(&order)
    }

    /// With networks in the order of their names: a long list is looked up.
    pub(super) fn by_name(self) -> Self {
        let mut order: Vec<usize> = (0..self.nodes.len()).collect();
        order[..self.left].sort_by_cached_key(|node| {
            let node = &self.nodes[*node];
            (matches!(node.party, Party::Flat(_)), natural(&node.name))
        });
        self.ordered(&order)
    }

    /// The nodes in another order.
    fn ordered(self, order: &[usize]) -> Self {
        let mut place = vec![0; order.len()];
        for (new, old) in order.iter().enumerate() {
            place[*old] = new;
        }
        let size = order.len();
        let ways = (0..size * size).map(|at| self.ways[order[at / size] * size + order[at % size]]).collect();
        let mut exceptions = self.exceptions;
        for exception in &mut exceptions {
            exception.from = place[exception.from];
            exception.to = place[exception.to];
        }
        let mut nodes: Vec<_> = self.nodes.into_iter().map(Some).collect();
        let nodes = order.iter().filter_map(|old| nodes[*old].take()).collect();
        Self { nodes, ways, exceptions, ..self }
    }

    /// What one node may do towards another; nothing where they have no family in common, or are the same, and
    /// towards a flat, whose addresses are those of its NIC.
    pub(super) fn way(&self, from: usize, to: usize) -> Option<Way> {
        self.ways[from * self.nodes.len() + to]
    }

    /// What the line from one node to another has at its end, exceptions left aside.
    pub(super) fn head(&self, from: usize, to: usize) -> Head {
        match self.way(from, to) {
            Some(Way::Open) => Head::Open,
            Some(Way::Published | Way::PublishedAndExceptions) => Head::Published,
            _ => Head::None,
        }
    }

    /// Whether anything in the picture is blocked, exceptions left aside.
    pub(super) fn has_blocked(&self) -> bool {
        self.ways.iter().any(|way| matches!(way, Some(Way::Blocked | Way::Exceptions)))
    }

    /// Whether a node is a NIC.
    pub(super) const fn is_nic(&self, node: usize) -> bool {
        node >= self.left
    }

    /// `blocked for br-db, eth0 and 3 more`; nothing where nobody is. One with an exception is blocked, but for it.
    pub(super) fn wall(&self, node: usize) -> Option<String> {
        let others: Vec<usize> =
            (0..self.nodes.len()).filter(|other| self.way(*other, node).is_some()).collect();
        let is_blocked =
            |other: &usize| matches!(self.way(*other, node), Some(Way::Blocked | Way::Exceptions));
        let blocked: Vec<usize> = others.iter().copied().filter(is_blocked).collect();
        let aside = match blocked.iter().any(|other| self.way(*other, node) == Some(Way::Exceptions)) {
            true => ", but for exceptions",
            false => "",
        };
        match blocked.len() {
            0 => None,
            all if all == others.len() && all > 1 => Some(format!("blocked for everyone{aside}")),
            _ => Some(format!("blocked for {}{aside}", self.names(&blocked, 3))),
        }
    }

    /// The names of nodes, at most so many.
    pub(super) fn names(&self, nodes: &[usize], most: usize) -> String {
        let short = |node: usize| {
            let node = &self.nodes[node];
            if node.members == 1 { node.name.clone() } else { node.label.clone() }
        };
        let most = if nodes.len() == most + 1 { most + 1 } else { most };
        let mut names: Vec<String> = nodes.iter().take(most).map(|node| short(*node)).collect();
        let more = nodes.len().saturating_sub(most);
        if more > 0 {
            return format!("{} and {more} more", names.join(", "));
        }
        match names.pop() {
            Some(last) if !names.is_empty() => format!("{} and {last}", names.join(", ")),
            Some(last) => last,
            None => String::new(),
        }
    }

    /// The title of the picture.
    pub(super) const TITLE: &'static str = "Who may open connections to whom";

    /// What is in the picture, by number.
    pub(super) fn counted(&self) -> String {
        let [networks, flats, nics] = self.counts;
        let mut parts = vec![plural(networks, "network of containers", "networks of containers")];
        if flats > 0 {
            parts.push(plural(flats, "flat", "flats"));
        }
        parts.push(plural(nics, "NIC", "NICs"));
        parts.join(", ")
    }

    /// What is not in the picture.
    pub(super) fn left_out(&self) -> Option<String> {
        (self.missing > 0).then(|| format!("{} more are not drawn.", thousands(self.missing)))
    }

    /// Of the sysctl approach.
    pub(super) fn caveat(&self) -> Option<&'static str> {
        const LESS: &str = "This is what the topology asks for. The sysctl approach does not deliver it: packets \
            from containers still arrive where it says blocked.";
        self.is_sysctl.then_some(LESS)
    }

    /// The picture in words: what is open, what is blocked, by receiver.
    pub(super) fn in_words(&self) -> String {
        const SENTENCES: usize = 24;
        let mut text = format!("{}.", self.counted());
        let mut sentences = 0;
        for (to, node) in self.nodes.iter().enumerate() {
            let open: Vec<usize> =
                (0..self.nodes.len()).filter(|from| self.head(*from, to) == Head::Open).collect();
            let blocked = if self.is_nic(to) { self.wall(to) } else { None };
            if open.is_empty() && blocked.is_none() {
                continue;
            }
            sentences += 1;
            if sentences > SENTENCES {
                continue;
            }
            let mut parts = Vec::new();
            if !open.is_empty() {
                parts.push(format!("open for {}", self.names(&open, 4)));
            }
            parts.extend(blocked);
            text.push_str(&format!(" {}: {}.", node.label, parts.join("; ")));
        }
        if sentences > SENTENCES {
            text.push_str(&format!(" And {} more receivers.", thousands(sentences - SENTENCES)));
        }
        let most = 8;
        for exception in self.exceptions.iter().take(most) {
            text.push_str(&format!(
                " Exception: {} to {}, {}.",
                self.nodes[exception.from].name, self.nodes[exception.to].name, exception.what
            ));
        }
        if self.exceptions.len() > most {
            text.push_str(&format!(" And {} more exceptions.", thousands(self.exceptions.len() - most)));
        }
        for more in [self.left_out().as_deref(), self.caveat()].into_iter().flatten() {
            text.push(' ');
            text.push_str(more);
        }
        text
    }
}
