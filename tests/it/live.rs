//! What the kernel holds, as the `nft` program and `/proc/sys` show it: a second opinion on isoplan's own.

use serde_json::Value;

use crate::lab::node::Node;

/// One rule of table `inet isoplan`.
#[derive(Debug, Clone)]
pub(crate) struct Rule {
    pub(crate) chain: String,
    /// The first word of the comment.
    pub(crate) id: String,
    pub(crate) handle: u64,
    /// Whether it has a verdict drop of its own.
    pub(crate) drops: bool,
}

impl Rule {
    /// Deletes it by hand.
    pub(crate) fn delete(&self, host: &Node) {
        let handle = self.handle.to_string();
        host.nft(&["delete", "rule", "inet", "isoplan", &self.chain, "handle", &handle])
            .expect("delete a rule");
    }
}

/// The objects of one kind (`rule`, `set`, `map`, `chain`) of table `inet isoplan`.
pub(crate) fn objects(host: &Node, kind: &str) -> Vec<Value> {
    let text = host.nft(&["-j", "-a", "list", "table", "inet", "isoplan"]).expect("list the table");
    let listing: Value = serde_json::from_str(&text).expect("nft prints JSON");
    let objects = listing["nftables"].as_array().expect("a list of objects");
    objects.iter().filter_map(|object| object.get(kind)).cloned().collect()
}

/// All rules, in order.
pub(crate) fn rules(host: &Node) -> Vec<Rule> {
    let read = |rule: Value| Rule {
        chain: rule["chain"].as_str().expect("a chain").to_owned(),
        id: rule["comment"].as_str().unwrap_or_default().split(' ').next().unwrap_or_default().to_owned(),
        handle: rule["handle"].as_u64().expect("a handle"),
        drops: rule["expr"].as_array().is_some_and(|all| all.iter().any(|one| one.get("drop").is_some())),
    };
    objects(host, "rule").into_iter().map(read).collect()
}

/// The tables that isoplan owns, without counters, and with sets and chains in order of their names: the kernel
/// keeps those in the order in which they came. None when there is none.
pub(crate) fn listing(host: &Node) -> Option<String> {
    let tables = host.nft(&["list", "tables"]).expect("list the tables");
    let mut text = String::new();
    for table in tables.lines().filter_map(|line| line.strip_prefix("table ")) {
        if table.ends_with(" isoplan") {
            let (family, name) = table.split_once(' ').expect("a family and a name");
            let listed = host.nft(&["-s", "list", "table", family, name]).expect("list a table");
            text.push_str(&canonical(&listed));
        }
    }
    (!text.is_empty()).then_some(text)
}

/// The same text with the blocks of each table in order.
fn canonical(text: &str) -> String {
    let mut blocks: Vec<String> = Vec::new();
    let mut current = String::new();
    for line in text.lines() {
        current.push_str(line);
        current.push('\n');
        if line == "\t}" {
            blocks.push(std::mem::take(&mut current));
        }
    }
    // Blocks are set apart by empty lines, and the first has the table's own line before it.
    let mut blocks: Vec<&str> = blocks
        .iter()
        .map(|block| block.trim_start_matches('\n'))
        .map(|block| {
            block
                .strip_prefix("table ")
                .and_then(|rest| rest.split_once('\n'))
                .map_or(block, |(_, rest)| rest)
        })
        .collect();
    blocks.sort_unstable();
    let header = text.lines().next().unwrap_or_default();
    format!("{header}\n{}", blocks.concat())
}

/// All that is not isoplan's.
pub(crate) fn foreign(host: &Node) -> String {
    let tables = host.nft(&["list", "tables"]).expect("list the tables");
    let names = tables.lines().filter_map(|line| line.strip_prefix("table "));
    names
        .filter(|table| !table.ends_with(" isoplan"))
        .map(|table| {
            let (family, name) = table.split_once(' ').expect("a family and a name");
            host.nft(&["-a", "list", "table", family, name]).expect("list a table")
        })
        .collect()
}

/// Forwarding over IPv4 and IPv6.
pub(crate) fn forwarding(host: &Node) -> [String; 2] {
    ["net/ipv4/ip_forward", "net/ipv6/conf/all/forwarding"]
        .map(|key| host.read_sysctl(key).expect("read a sysctl"))
}
