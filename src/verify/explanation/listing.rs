//! What the handles in trace messages mean: the rules and base chains of the host.

use std::collections::BTreeMap;

use super::{Origin, RuleSeen, TraceVerdict};
use crate::render;
use crate::ruleset::{Family, Rule, Ruleset, TABLE_NAME};
use crate::topology::Topology;

/// A base chain as nft lists it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListedChain {
    /// `filter` or `nat`.
    pub kind: String,
    /// `forward`.
    pub hook: String,
    /// `filter - 10`.
    pub priority: String,
}

/// What `nft -a -t list ruleset` prints.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Listing {
    /// By family, table and chain; base chains only.
    pub chains: BTreeMap<(Family, String, String), ListedChain>,
    /// By family, table and handle.
    pub rules: BTreeMap<(Family, String, u64), String>,
}

impl Listing {
    /// Reads it. Lines that are something else are left out.
    pub fn read(text: &str) -> Self {
        let mut listing = Self::default();
        let (mut table, mut chain) = (None, None);
        for line in text.lines() {
            let (line, handle) = split_handle(line.trim());
            if let Some(header) = line.strip_prefix("table ").and_then(|rest| rest.strip_suffix(" {")) {
                table = header.split_once(' ').and_then(|(family, name)| {
                    let family = Family::ALL.into_iter().find(|known| known.to_string() == family)?;
                    Some((family, name.to_owned()))
                });
                chain = None;
            } else if let Some(name) = line.strip_prefix("chain ").and_then(|rest| rest.strip_suffix(" {")) {
                chain = Some(name.to_owned());
            } else if line == "}" {
                chain = None;
            } else if let (Some((family, table)), Some(chain)) = (&table, &chain) {
                if let Some(base) = base_chain(line) {
                    listing.chains.insert((*family, table.clone(), chain.clone()), base);
                } else if let Some(handle) = handle {
                    listing.rules.insert((*family, table.clone(), handle), without_counts(line));
                }
            }
        }
        listing
    }
}

/// `... # handle 7`. A comment of a rule may hold the same words; the last ones count.
fn split_handle(line: &str) -> (&str, Option<u64>) {
    match line.rsplit_once(" # handle ") {
        Some((rest, number)) => match number.parse() {
            Ok(handle) => (rest, Some(handle)),
            Err(_) => (line, None),
        },
        None => (line, None),
    }
}

/// `type filter hook forward priority filter - 10; policy accept;`
fn base_chain(line: &str) -> Option<ListedChain> {
    let (kind, rest) = line.strip_prefix("type ")?.split_once(" hook ")?;
    let (hook, rest) = rest.split_once(" priority ")?;
    let (priority, _) = rest.split_once(';')?;
    // `hook ingress device "eth0"`
    let hook = hook.split(' ').next().unwrap_or(hook);
    Some(ListedChain { kind: kind.to_owned(), hook: hook.to_owned(), priority: priority.to_owned() })
}

/// Leaves the numbers of a counter out: `counter packets 3 bytes 84` is `counter`.
fn without_counts(rule: &str) -> String {
    let mut words = Vec::new();
    let mut rest = rule.split(' ');
    while let Some(word) = rest.next() {
        words.push(word);
        if word == "counter" {
            let mut ahead = rest.clone();
            let next: [Option<&str>; 4] = std::array::from_fn(|_| ahead.next());
            if let [Some("packets"), Some(_), Some("bytes"), Some(_)] = next {
                rest = ahead;
            }
        }
    }
    words.join(" ")
}

/// Everything that is known of the rules of a host.
#[derive(Debug, Clone, Default)]
pub struct Known {
    listing: Listing,
    own: BTreeMap<(Family, u64), OwnRule>,
}

#[derive(Debug, Clone)]
struct OwnRule {
    id: String,
    rule: String,
    what: String,
    from: Vec<Origin>,
}

impl Known {
    /// From what is live on a host and what may have been planned there: the latter tells which entries of the
    /// topology a rule comes from.
    pub fn new(topology: &Topology, live: &Ruleset, planned: &[Ruleset], listing: Listing) -> Self {
        let mut own = BTreeMap::new();
        for (family, table) in live {
            for chain in table.chains.values() {
                let planned =
                    planned.iter().filter_map(|ruleset| ruleset.get(family)?.chains.get(&chain.name));
                let planned: Vec<&Rule> = planned.flat_map(|chain| &chain.rules).collect();
                for rule in &chain.rules {
                    let Some(found) = planned.iter().find(|planned| **planned == rule) else { continue };
                    let (Some(handle), Some(id)) = (rule.handle.0, rule.id()) else { continue };
                    let origins = found.origins.0.iter().map(|origin| Origin {
                        entry: topology.entry(*origin).to_string(),
                        place: topology.place(*origin),
                    });
                    let what = rule.comment.strip_prefix(id.0.as_str()).unwrap_or_default().trim();
                    let known = OwnRule {
                        rule: render::rule(rule),
                        what: what.to_owned(),
                        from: origins.collect(),
                        id: id.0,
                    };
                    own.insert((*family, handle), known);
                }
            }
        }
        Self { listing, own }
    }

    /// A base chain; None where the listing does not have it.
    pub fn base(&self, family: Family, table: &str, chain: &str) -> Option<&ListedChain> {
        self.listing.chains.get(&(family, table.to_owned(), chain.to_owned()))
    }

    /// A rule by its handle.
    pub fn rule(
        &self,
        family: Family,
        table: &str,
        chain: &str,
        handle: u64,
        verdict: &TraceVerdict,
    ) -> RuleSeen {
        let own = self.own.get(&(family, handle)).filter(|_| table == TABLE_NAME);
        let listed = || self.listing.rules.get(&(family, table.to_owned(), handle)).cloned();
        RuleSeen {
            table: format!("{family} {table}"),
            chain: chain.to_owned(),
            handle,
            id: own.map(|own| own.id.clone()),
            rule: own.map(|own| own.rule.clone()).or_else(listed).unwrap_or_default(),
            what: own.map(|own| own.what.clone()).unwrap_or_default(),
            from: own.map(|own| own.from.clone()).unwrap_or_default(),
            verdict: verdict.to_string(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = r#"table ip filter { # handle 1
	chain FORWARD { # handle 1
		type filter hook forward priority filter; policy accept;
		ip saddr 172.17.0.0/16 counter packets 3 bytes 84 drop # handle 2
		counter packets 0 bytes 0 jump DOCKER comment "a # handle 9 b" # handle 3
	}

	chain DOCKER { # handle 4
		counter name "odd" accept # handle 5
	}
}
table inet isoplan { # handle 2
	set s { # handle 1
		type ipv4_addr
		flags interval
	}

	chain forward { # handle 2
		type filter hook forward priority filter - 10; policy drop;
	}
}
table netdev x { # handle 3
	chain i { # handle 1
		type filter hook ingress device "docker0" priority filter; policy accept;
	}
}
"#;

    #[test]
    fn a_listing_is_read() {
        let listing = Listing::read(TEXT);
        let rule = |table: &str, handle| {
            listing.rules.get(&(Family::Ip, table.to_owned(), handle)).map(String::as_str)
        };
        assert_eq!(rule("filter", 2), Some("ip saddr 172.17.0.0/16 counter drop"));
        assert_eq!(rule("filter", 3), Some("counter jump DOCKER comment \"a # handle 9 b\""));
        assert_eq!(rule("filter", 5), Some("counter name \"odd\" accept"));
        assert_eq!(listing.rules.len(), 3, "{listing:?}");
        let chains: Vec<String> = listing
            .chains
            .iter()
            .map(|((family, table, chain), base)| {
                format!("{family} {table} {chain}: {} {} {}", base.kind, base.hook, base.priority)
            })
            .collect();
        assert_eq!(
            chains,
            [
                "inet isoplan forward: filter forward filter - 10",
                "ip filter FORWARD: filter forward filter",
                "netdev x i: filter ingress filter",
            ]
        );
    }

    #[test]
    fn anything_else_is_left_out() {
        for text in
            ["", "}", "table", "table ip {", "chain x {\n accept # handle 1", "table odd x {\nchain a {"]
        {
            let listing = Listing::read(text);
            assert_eq!(listing, Listing::default(), "{text}");
        }
        let cut = Listing::read(&TEXT[..TEXT.len() / 2]);
        assert!(!cut.rules.is_empty());
    }
}
