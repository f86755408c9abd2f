//! Who may talk to whom, as a table and as a list of pairs.

use std::collections::{BTreeMap, BTreeSet};

use comfy_table::{Table, presets};
use schemars::JsonSchema;
use serde::Serialize;

use crate::intent::{Intent, IpFamily, Party, Way};
use crate::meaning::service;
use crate::topology::{Allow, ApproachName, shown};

/// One pair of the list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pair {
    /// `docker0 -> eth1 (storage)`.
    pub what: String,
    /// `blocked`, or `IPv4 open, IPv6 blocked` where the families differ.
    pub way: String,
}

/// A row or column: parties that no rule tells apart, by the first of them.
struct Group {
    party: Party,
    label: String,
    /// More than one network that do not reach each other: each of them reaches only itself.
    apart: bool,
}

impl Group {
    const fn one(party: Party, label: String) -> Self {
        Self { party, label, apart: false }
    }
}

/// Networks that mean the same are shown once. More than this many groups of networks, flats or NICs are cut, each for
/// itself: many networks do not hide a NIC.
const GROUPS: usize = 40;

/// What networks of one group may do to each other: nothing, unless they are the same one.
const OWN: &str = "own only";

fn network_groups(intent: &Intent<'_>) -> Vec<Group> {
    let networks = &intent.topology.networks;
    // Told apart by what they reach, what reaches them, and what may come in.
    let mut reached_by = vec![Vec::new(); networks.len()];
    for (from, reached) in intent.network_reach.iter().enumerate() {
        for to in &reached.networks {
            reached_by[*to].push((0, from));
        }
    }
    for (from, reached) in intent.nic_reach.iter().enumerate() {
        for to in &reached.networks {
            reached_by[*to].push((1, from));
        }
    }
    let excepted: BTreeSet<Party> =
        intent.exceptions.iter().flatten().flat_map(|(from, to)| [*from, *to]).collect();
    let mut groups: BTreeMap<_, Vec<usize>> = BTreeMap::new();
    for (index, network) in networks.iter().enumerate() {
        let families = IpFamily::BOTH.map(|family| intent.speaks(Party::Network(index), family));
        let excepted = excepted.contains(&Party::Network(index));
        // One with exceptions, or that another names, stands for itself.
        let own =
            (excepted || !reached_by[index].is_empty() || !intent.network_reach[index].networks.is_empty())
                .then_some(index);
        let key = (own, intent.network_reach[index].clone(), network.inbound, families);
        groups.entry(key).or_default().push(index);
    }
    let mut groups: Vec<_> = groups.into_values().collect();
    groups.sort();
    groups
        .into_iter()
        .map(|members| {
            let name = &networks[members[0]].name;
            let label = match members.len() {
                1 => name.to_string(),
                2 => format!("{name}, {}", networks[members[1]].name),
                more => format!("{name} and {} more", more - 1),
            };
            let first = members[0];
            let several = members.len() > 1 || networks[first].name.is_prefix();
            let apart = several && !intent.network_reach[first].networks.contains(&first);
            Group { party: Party::Network(first), label, apart }
        })
        .collect()
}

fn nic_groups(intent: &Intent<'_>) -> Vec<Group> {
    let nics = intent.topology.nics.iter().enumerate();
    nics.map(|(index, nic)| Group::one(Party::Nic(index), format!("{} ({})", nic.name, nic.role))).collect()
}

/// Some of each kind, and how many are left out.
fn some(kinds: [Vec<Group>; 3]) -> (Vec<Group>, usize) {
    let cut = kinds.iter().map(|kind| kind.len().saturating_sub(GROUPS)).sum();
    (kinds.into_iter().flat_map(|kind| kind.into_iter().take(GROUPS)).collect(), cut)
}

/// Those who send, and how many more there are.
fn senders(intent: &Intent<'_>) -> (Vec<Group>, usize) {
    let flats = intent.topology.flats.iter().enumerate();
    let flats = flats.map(|(index, flat)| Group::one(Party::Flat(index), format!("{} (flat)", flat.name)));
    some([network_groups(intent), flats.collect(), nic_groups(intent)])
}

/// Those who receive, and how many more there are.
fn receivers(intent: &Intent<'_>) -> (Vec<Group>, usize) {
    let nics = intent.topology.nics.iter().enumerate();
    let hosts = nics.map(|(index, nic)| Group::one(Party::HostOn(index), format!("host on {}", nic.name)));
    some([network_groups(intent), nic_groups(intent), hosts.collect()])
}

/// `open`, or one word per family where they differ; `-` where no family has both.
fn cell(intent: &Intent<'_>, from: Party, to: Party) -> String {
    let ways = IpFamily::BOTH.map(|family| intent.way(from, to, family));
    match ways {
        [None, None] => "-".to_owned(),
        [Some(way), None] | [None, Some(way)] => way.as_str().to_owned(),
        [Some(v4), Some(v6)] if v4 == v6 => v4.as_str().to_owned(),
        [Some(v4), Some(v6)] => format!("IPv4 {}, IPv6 {}", v4.as_str(), v6.as_str()),
    }
}

/// The matrix as cells: rows send, columns receive.
pub struct Grid {
    /// Who receives: the columns.
    pub receivers: Vec<String>,
    /// Who sends, with a cell for each receiver.
    pub rows: Vec<(String, Vec<String>)>,
    /// How many rows and columns are left out.
    pub cut: usize,
}

/// Works out the cells, up to a limit.
pub fn grid(intent: &Intent<'_>) -> Grid {
    let ((senders, more_senders), (receivers, more_receivers)) = (senders(intent), receivers(intent));
    let rows = senders.iter().map(|from| {
        let cells = receivers.iter().map(|to| match to.apart && from.party == to.party {
            true => OWN.to_owned(),
            false => cell(intent, from.party, to.party),
        });
        (from.label.clone(), cells.collect())
    });
    Grid {
        rows: rows.collect(),
        cut: more_senders + more_receivers,
        receivers: receivers.into_iter().map(|to| to.label).collect(),
    }
}

/// The matrix: rows send, columns receive.
pub fn matrix(intent: &Intent<'_>) -> String {
    let grid = grid(intent);
    let mut table = Table::new();
    table.load_style(presets::NOTHING);
    table.set_header(std::iter::once("from \\ to").chain(grid.receivers.iter().map(String::as_str)));
    for (from, cells) in grid.rows {
        table.add_row(std::iter::once(from).chain(cells));
    }
    let mut text = String::new();
    for line in table.to_string().lines() {
        text.push_str(line.trim_end());
        text.push('\n');
    }
    if grid.cut > 0 {
        text.push_str(&format!("and {} more rows and columns\n", grid.cut));
    }
    text
}

/// What the words of a grid mean, those that it has.
pub fn legend(grid: &Grid) -> Vec<(&'static str, &'static str)> {
    let words = [
        ("open", "may open connections."),
        ("published", "answers, and what a DNAT rule sends there."),
        ("answers", "only within connections that the other side opened."),
        ("exceptions", "what the exceptions below say, and answers to it."),
        ("blocked", "nothing passes."),
        (OWN, "within one bridge, not from one of them to another."),
        ("-", "the two have no IP version in common."),
    ];
    let has = |word: &str| grid.rows.iter().flat_map(|(_, cells)| cells).any(|cell| cell.contains(word));
    words.into_iter().filter(|(word, _)| has(word)).collect()
}

/// An exception in one line: `docker0 -> 192.168.57.9/32 tcp 2049 (NFS gateway)`.
pub fn exception(allow: &Allow) -> String {
    let service = service(allow);
    // Without what turns the order of letters around: a reader has to see what is there.
    let reason = allow.reason.as_ref().map(|reason| format!(" ({})", shown(reason))).unwrap_or_default();
    format!("{} -> {} {service}{reason}", allow.from, allow.to)
}

/// The matrix is what was asked for; with the sysctl approach it is not what one gets.
const SYSCTL_IS_LESS: &str = "\nThis is what the topology asks for. The sysctl approach does not deliver it: packets from\n\
    containers still arrive where it says blocked. `isoplan plan` lists what it leaves open.\n";

/// What `isoplan check` answers to a right file. A matrix that is wider than the terminal is told as a list.
pub fn page(intent: &Intent<'_>, width: Option<usize>) -> String {
    let topology = intent.topology;
    // What there is; nobody has to know the word for what there is none of.
    let counts: Vec<String> = [
        (topology.networks.len(), "container network"),
        (topology.flats.len(), "flat"),
        (topology.nics.len(), "NIC"),
        (topology.allows.len(), "exception"),
    ]
    .into_iter()
    .filter(|(number, _)| *number > 0)
    .map(|(number, one)| format!("{number} {one}{}", if number == 1 { "" } else { "s" }))
    .collect();
    let mut text = format!("{} is right: {}.\n\n", topology.file, counts.join(", "));
    let matrix = matrix(intent);
    if width.is_some_and(|width| matrix.lines().any(|line| line.chars().count() > width)) {
        push_pairs(&mut text, &pairs(intent, usize::MAX));
    } else {
        text.push_str(&matrix);
    }
    text.push_str("\nopen: may open connections. blocked: nothing passes.\n");
    text.push_str("answers: only within connections that the other side opened.\n");
    text.push_str("published: answers, and what a DNAT rule sends there.\n");
    if text.contains(OWN) {
        text.push_str("own only: within one bridge, not from one of them to another.\n");
    }
    if !topology.allows.is_empty() {
        text.push_str("exceptions: what [[allow]] says, and answers to it.\n");
    }
    if topology.isolation.approach == ApproachName::Sysctl {
        text.push_str(SYSCTL_IS_LESS);
    }
    for allow in &topology.allows {
        text.push_str(&format!("exception: {}\n", exception(allow)));
    }
    text
}

/// The words for what a pair may do.
fn words() -> Vec<&'static str> {
    Way::ALL.into_iter().map(Way::as_str).chain([OWN]).collect()
}

/// One pair as JSON. A family that one of the two does not have is absent.
#[derive(Debug, Serialize, JsonSchema)]
pub struct PairJson {
    /// The sender: a network, a flat, or a NIC with its role. Networks that mean the same stand together.
    from: String,
    /// The receiver: the same, or `host on NIC` for this host's own address there.
    to: String,
    /// Which way is open in IPv4; absent where one of the two has no IPv4.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(extend("enum" = words()))]
    ipv4: Option<&'static str>,
    /// The same for IPv6.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(extend("enum" = words()))]
    ipv6: Option<&'static str>,
}

/// How many rows and columns the matrix leaves out.
pub fn cut(intent: &Intent<'_>) -> usize {
    senders(intent).1 + receivers(intent).1
}

/// All pairs up to a limit (see [`cut`]); networks that mean the same stand together.
pub fn pairs_json(intent: &Intent<'_>) -> Vec<PairJson> {
    let (receivers, _) = receivers(intent);
    let mut pairs = Vec::new();
    for from in &senders(intent).0 {
        for to in &receivers {
            let way = |family| intent.way(from.party, to.party, family).map(Way::as_str);
            let (ipv4, ipv6) = (way(IpFamily::V4), way(IpFamily::V6));
            let own = to.apart && from.party == to.party;
            let (ipv4, ipv6) = if own { (ipv4.and(Some(OWN)), ipv6.and(Some(OWN))) } else { (ipv4, ipv6) };
            pairs.push(PairJson { from: from.label.clone(), to: to.label.clone(), ipv4, ipv6 });
        }
    }
    pairs
}

/// Pairs as aligned lines.
pub fn push_pairs(text: &mut String, pairs: &[Pair]) {
    let longest = pairs.iter().map(|pair| pair.what.chars().count()).max().unwrap_or(0);
    for pair in pairs {
        text.push_str(&format!("  {:longest$}  {}\n", pair.what, pair.way));
    }
}

/// The pairs that a reader of a plan wants to see: blocked ones first, at most so many.
pub fn pairs(intent: &Intent<'_>, most: usize) -> Vec<Pair> {
    let mut pairs = Vec::new();
    let ((senders, _), (receivers, _)) = (senders(intent), receivers(intent));
    for from in &senders {
        for to in &receivers {
            let same_nic =
                matches!((from.party, to.party), (Party::Nic(a), Party::Nic(b) | Party::HostOn(b)) if a == b);
            if from.party == to.party || same_nic {
                continue;
            }
            let way = cell(intent, from.party, to.party);
            if way != "-" {
                let rank = match way.as_str() {
                    word if word == Way::Blocked.as_str() => 0,
                    word if word == Way::Open.as_str() => 2,
                    _ => 1,
                };
                pairs.push((rank, Pair { what: format!("{} -> {}", from.label, to.label), way }));
            }
        }
    }
    pairs.sort_by_key(|(rank, _)| *rank);
    let all = pairs.len();
    let mut shown: Vec<_> = pairs.into_iter().map(|(_, pair)| pair).take(most).collect();
    if all > most {
        shown.push(Pair {
            what: format!("and {} more pairs", all - most),
            way: "(isoplan check shows the matrix)".to_owned(),
        });
    }
    shown
}
