//! What firewalld writes.

use std::collections::BTreeMap;

use super::{Family, Rules, network};

/// firewalld 2's chains with three zones: `containers` with every bridge, without forwarding within it; `service`;
/// `guarded`; and a policy that lets the first out to the second with masquerade.
///
/// A zone for each network would be about sixty chains for each network; one zone for all is the least that
/// firewalld can do, and still fifteen rules or so for each interface. Networks are closed to one another and to
/// the guarded NICs, and so is the host, as a whole: a zone knows links, not which address belongs to which.
pub(crate) fn firewalld(bridges: usize) -> Rules {
    let zones: [(&str, Vec<String>); 3] = [
        ("containers", (0..bridges).map(|number| network(number, Family::V4).0).collect()),
        ("service", vec!["eth0".to_owned()]),
        ("guarded", vec!["eth1".to_owned(), "eth2".to_owned()]),
    ];
    let mut chains = Chains::default();
    chains.base();
    for (zone, links) in &zones {
        for point in ["filter_IN", "nat_PRE", "mangle_PRE", "filter_OUT", "nat_OUT", "filter_FWD", "nat_POST"]
        {
            chains.steps(&format!("{point}_{zone}"));
        }
        chains.rules(
            &format!("filter_IN_{zone}_to_HOST"),
            &[format!("jump filter_IN_{zone}"), "reject with icmpx admin-prohibited".to_owned()],
        );
        for (chain, to) in [
            (format!("nat_PRE_{zone}_dispatch"), format!("nat_PRE_{zone}")),
            (format!("mangle_PRE_{zone}_dispatch"), format!("mangle_PRE_{zone}")),
            (format!("filter_OUT_HOST_to_{zone}"), format!("filter_OUT_{zone}")),
            (format!("nat_OUT_HOST_to_{zone}"), format!("nat_OUT_{zone}")),
        ] {
            chains.rules(&chain, &[format!("jump {to}"), "accept".to_owned()]);
        }
        for link in links {
            for (chain, side, to) in [
                ("mangle_PREROUTING", "iifname", format!("mangle_PRE_{zone}_dispatch")),
                ("nat_PREROUTING", "iifname", format!("nat_PRE_{zone}_dispatch")),
                ("nat_POSTROUTING", "iifname", format!("nat_POST_{zone}_dispatch_stage2")),
                ("nat_OUTPUT", "oifname", format!("nat_OUT_HOST_to_{zone}")),
                ("filter_INPUT", "iifname", format!("filter_IN_{zone}_to_HOST")),
                ("filter_FORWARD", "iifname", format!("filter_FWD_{zone}_dispatch_stage2")),
                ("filter_OUTPUT", "oifname", format!("filter_OUT_HOST_to_{zone}")),
            ] {
                chains.rule(&format!("{chain}_dispatch"), format!("{side} \"{link}\" jump {to}"));
            }
        }
        for (other, links) in &zones {
            for link in links {
                for point in ["filter_FWD", "nat_POST"] {
                    let rule = format!("oifname \"{link}\" jump {point}_{zone}_to_{other}");
                    chains.rule(&format!("{point}_{zone}_dispatch_stage2"), rule);
                }
            }
            let forward = format!("filter_FWD_{zone}_to_{other}");
            let post = format!("nat_POST_{zone}_to_{other}");
            if (*zone, *other) == ("containers", "service") {
                chains.rule(&forward, "jump filter_FWD_policy_out".to_owned());
                chains.rule(&post, "jump nat_POST_policy_out".to_owned());
            }
            chains.rule(&forward, format!("jump filter_FWD_{zone}"));
            chains.rule(&forward, "reject with icmpx admin-prohibited".to_owned());
            chains.rules(&post, &[format!("jump nat_POST_{other}"), "accept".to_owned()]);
        }
    }
    for point in ["filter_FWD", "nat_POST"] {
        chains.steps(&format!("{point}_policy_out"));
    }
    chains.rule("filter_FWD_policy_out", "accept".to_owned());
    chains.rule("nat_POST_policy_out_allow", "oifname != \"lo\" masquerade".to_owned());
    chains.finish()
}

/// Chains by name, each with its rules.
#[derive(Default)]
struct Chains(BTreeMap<String, Vec<String>>);

impl Chains {
    fn rule(&mut self, chain: &str, rule: String) {
        self.0.entry(chain.to_owned()).or_default().push(rule);
    }

    fn rules(&mut self, chain: &str, rules: &[String]) {
        self.0.entry(chain.to_owned()).or_default().extend_from_slice(rules);
    }

    /// A chain with the five that every zone and policy has below it.
    fn steps(&mut self, chain: &str) {
        for step in ["pre", "log", "deny", "allow", "post"] {
            self.rule(chain, format!("jump {chain}_{step}"));
            self.rules(&format!("{chain}_{step}"), &[]);
        }
    }

    fn base(&mut self) {
        let base = [
            ("mangle_PREROUTING", "type filter hook prerouting priority mangle + 10"),
            ("nat_PREROUTING", "type nat hook prerouting priority dstnat + 10"),
            ("nat_POSTROUTING", "type nat hook postrouting priority srcnat + 10"),
            ("nat_OUTPUT", "type nat hook output priority -90"),
            ("filter_INPUT", "type filter hook input priority filter + 10"),
            ("filter_FORWARD", "type filter hook forward priority filter + 10"),
            ("filter_OUTPUT", "type filter hook output priority filter + 10"),
        ];
        for (chain, definition) in base {
            let filters = chain.starts_with("filter");
            if filters {
                self.rules(
                    chain,
                    &[
                        "ct state { established, related } accept".to_owned(),
                        "ct status dnat accept".to_owned(),
                    ],
                );
            }
            self.rule(chain, format!("jump {chain}_dispatch"));
            if filters && chain != "filter_OUTPUT" {
                self.rule(chain, "reject with icmpx admin-prohibited".to_owned());
            }
            // Not a rule: what makes it a base chain comes first in its block.
            self.0.entry(chain.to_owned()).or_default().insert(0, format!("{definition}; policy accept;"));
        }
    }

    fn finish(self) -> Rules {
        let mut rules = Rules::default();
        rules.line("table inet firewalld\ndelete table inet firewalld\ntable inet firewalld {");
        for (chain, lines) in self.0 {
            rules.line(&format!("chain {chain} {{"));
            for line in lines {
                if line.starts_with("type ") { rules.line(&line) } else { rules.rule(&line) }
            }
            rules.line("}");
        }
        rules.line("}");
        rules
    }
}
