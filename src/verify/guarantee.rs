//! What each approach claims, and the probes that back each claim.
//!
//! A claim is about the topologies that an approach has something for: rules by prefix, for instance, say nothing
//! about a network without `subnets`. Packets decide; a claim that they contradict is shown as such.

use crate::approach::Approach;

/// Something that an approach claims.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Guarantee {
    /// What, in one sentence.
    pub says: &'static str,
    /// Patterns of names of probes (`*/udp?`): under the approach, every one of them is held or works.
    pub probes: &'static [&'static str],
}

/// Something that an approach does not stop.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Hole {
    /// What, in one sentence.
    pub says: &'static str,
    /// Why, in one line: the kernel's reason.
    pub why: &'static str,
    /// Patterns of names of probes: under the approach, at least one of each pattern arrives, where the topology
    /// has such probes at all.
    pub probes: &'static [&'static str],
}

/// What an approach claims.
pub const fn guarantees(approach: Approach) -> &'static [Guarantee] {
    match approach {
        Approach::None => &[],
        Approach::Iptables => IPTABLES,
        Approach::NftablesSubnet => SUBNET,
        Approach::Sysctl => SYSCTL,
        Approach::Route => ROUTE,
        Approach::Nftables | Approach::Layered => NFTABLES,
    }
}

/// What it does not stop.
pub const fn holes(approach: Approach) -> &'static [Hole] {
    match approach {
        Approach::None => &[],
        Approach::Iptables => IPTABLES_HOLES,
        Approach::NftablesSubnet => SUBNET_HOLES,
        Approach::Sysctl => SYSCTL_HOLES,
        Approach::Route => ROUTE_HOLES,
        Approach::Nftables | Approach::Layered => NFTABLES_HOLES,
    }
}

const NFTABLES: &[Guarantee] = &[
    Guarantee {
        says: "Containers and instances send nothing to a closed network, in whatever packet.",
        probes: &[
            "*/udp?",
            "*/icmp?",
            "*/tcp?",
            "*/session?",
            "*/fragments?",
            "*/tiny-fragments?",
            "*/tiny-fragments-tcp4",
            "*/gre?",
            "*/esp?",
            "*/sctp?",
            "*/ip-in-ip?",
            "*/unknown-protocol?",
            "*/ack?",
            "*/invalid?",
            "*/record-route4",
            "*/timestamp4",
            "*/hop-by-hop6",
            "*/destination-options6",
            "*/priority-tag?",
            "*/double-tag?",
            "*/overlay-port?",
            "*/flat-*-nic*",
            "*/flat-*tagged?",
        ],
    },
    Guarantee {
        says: "Neither a forged source nor a network routed behind the closed one changes that.",
        probes: &["*/forged-*", "*/behind-*", "*/unlisted-*"],
    },
    Guarantee {
        says: "Connections that were open before the rules came are cut where they are closed now.",
        probes: &["*/established-*", "*/answer-*", "*/related-error?"],
    },
    Guarantee {
        says: "The host's own addresses on a closed network are closed, its broadcast address too.",
        probes: &["*:host@*"],
    },
    Guarantee {
        says: "A closed network reaches no container: not directly, by a published port, or with answers.",
        probes: &["*/back-*", "*/guarded-*", "*/published-*"],
    },
    Guarantee {
        says: "The host carries nothing between networks but what the file opens, exceptions as narrow as written.",
        probes: &["*/transit-*", "*/between-*", "*/allow*"],
    },
    Guarantee {
        says: "All of it holds when links, routes, switches or the rules of others change.",
        probes: &[
            "*+forward-toggled",
            "*+nic-*",
            "*+bridge-*",
            "*+new-*",
            "*+subnet-added",
            "*+default-route-moved",
            "*+upstream-hairpin",
            "*+proxy-arp",
            "*+source-routing",
            "*+broadcast-forwarding",
            "*+accept-first",
            "*+applied-under-flood",
            "*+dnat",
        ],
    },
    Guarantee {
        says: "What the file opens goes on working, and the host keeps what it uses.",
        probes: &["*:internet/*", "host:*", "*/all-hosts?", "*/published-*", "*/session?", "*/established-*"],
    },
];

/// The first words of each are those of `Desired::not_covered`.
const NFTABLES_HOLES: &[Hole] = &[
    Hole {
        says: "A macvlan or ipvlan on a guarded NIC.",
        why: "Its packets go from the container to the NIC's driver, past every hook of the host (macvlan_start_xmit).",
        probes: &["*+macvlan"],
    },
    Hole {
        says: "Containers on the host network, and programs on the host that relay.",
        why: "What they send is the host's own: it comes in on no link, and the host may use the network.",
        probes: &["*+relay"],
    },
    Hole {
        says: "tc redirects and eBPF programs below netfilter.",
        why: "They run where a packet comes in, before any hook, and hand it to the NIC (tcf_mirred_act).",
        probes: &["*+tc-redirect"],
    },
    Hole {
        says: "`nft flush ruleset` by others.",
        why: "It deletes all tables, whoever made them; isoplan status sees it afterwards.",
        probes: &["*+ruleset-flushed"],
    },
];

/// Packets of every kind with the container's own source.
const BY_PREFIX: &[&str] = &[
    "*/session?",
    "*/fragments?",
    "*/tiny-fragments?",
    "*/tiny-fragments-tcp4",
    "*/gre?",
    "*/esp?",
    "*/sctp?",
    "*/ip-in-ip?",
    "*/unknown-protocol?",
    "*/ack?",
    "*/invalid?",
    "*/record-route4",
    "*/timestamp4",
    "*/hop-by-hop6",
    "*/destination-options6",
    "*/priority-tag?",
    "*/double-tag?",
    "*/behind-*",
    "*/established-*",
    "*/answer-*",
    "*/related-error?",
];

const SUBNET: &[Guarantee] = &[Guarantee {
    says: "What has the source prefix of a network and the destination prefix of a closed NIC is not forwarded.",
    probes: BY_PREFIX,
}];

const ROUTE: &[Guarantee] = &[Guarantee {
    says: "What has the source prefix of a network and the destination prefix of a closed NIC has no route.",
    probes: BY_PREFIX,
}];

const IPTABLES: &[Guarantee] = &[Guarantee {
    says: "IPv4 packets from a network's prefix to the first prefix of a closed NIC are not forwarded.",
    probes: &[
        "*/session4",
        "*/fragments4",
        "*/tiny-fragments4",
        "*/tiny-fragments-tcp4",
        "*/gre4",
        "*/esp4",
        "*/sctp4",
        "*/ip-in-ip4",
        "*/unknown-protocol4",
        "*/ack4",
        "*/invalid4",
        "*/record-route4",
        "*/timestamp4",
        "*/priority-tag4",
        "*/double-tag4",
        "*/established-*4",
        "*/answer-*4",
        "*/related-error4",
    ],
}];

const SYSCTL: &[Guarantee] = &[Guarantee {
    says: "Over IPv4 nothing that comes in on a NIC that nobody reaches is forwarded, answers included.",
    probes: &["*/guarded-*4"],
}];

/// Holes that several approaches have.
const FORGED: Hole = Hole {
    says: "A packet with any other source passes.",
    why: "The rule compares the source with a prefix, and a container writes what it likes (packet(7)).",
    probes: &["*/forged-*", "*/unlisted-forged?"],
};
const UNLISTED: Hole = Hole {
    says: "A network behind the closed NIC that no rule has the prefix of is open.",
    why: "The rule compares the destination with a prefix, and not by which link the packet leaves.",
    probes: &["*/unlisted-*"],
};
const HOST: Hole = Hole {
    says: "The host's own addresses on a closed network are open to containers and to other networks.",
    why: "What is for the host goes to the input hook; it is not forwarded (ip_local_deliver).",
    probes: &["*:host@*"],
};
const BACK: Hole = Hole {
    says: "What comes from a closed network reaches containers, published or not.",
    why: "The rule is for one direction, and nothing stands against the other.",
    probes: &["*/back-*", "*/published-*", "*/guarded-*"],
};
const ELSEWHERE: Hole = Hole {
    says: "The host routes between its NICs, and unpublished ports are open to every neighbour.",
    why: "Forwarding is on for containers, and the kernel forwards for everybody then.",
    probes: &["*/transit-*", "*/between-*", "*/udp?", "*/icmp?", "*/tcp?"],
};
const LATER: Hole = Hole {
    says: "A NIC, a subnet or a default route that comes later is open.",
    why: "The rule has the prefixes that were there when it was written.",
    probes: &["*+new-nic", "*+subnet-added", "*:internet/*+default-route-moved"],
};
const SOURCE_ROUTED: Hole = Hole {
    says: "A packet that brings its own route passes, where the host accepts such.",
    why: "The destination is that of the next hop until behind the forward hook (ip_forward_options).",
    probes: &["*-source-route4+source-routing"],
};

const SUBNET_HOLES: &[Hole] = &[FORGED, UNLISTED, HOST, BACK, ELSEWHERE, LATER, SOURCE_ROUTED];

const ROUTE_HOLES: &[Hole] = &[
    FORGED,
    UNLISTED,
    Hole {
        why: "The table of local addresses is asked before the rules (fib_rules_lookup, priority 0).",
        ..HOST
    },
    BACK,
    ELSEWHERE,
    LATER,
    Hole {
        says: "Directed broadcasts pass, where the host forwards them.",
        why: "Broadcast addresses are in the table of local addresses, which is asked before the rules.",
        probes: &["*/broadcast4+broadcast-forwarding"],
    },
];

const IPTABLES_HOLES: &[Hole] = &[
    Hole {
        says: "IPv6 is open.",
        why: "iptables is for IPv4; ip6tables has tables of its own, in which nobody wrote the rule.",
        probes: &["*/udp6", "*/session6", "*/*6+*", "*/*6"],
    },
    FORGED,
    UNLISTED,
    Hole {
        says: "The second network of a closed NIC is open.",
        why: "The rule has the prefix on the link, and not those that are routed behind it.",
        probes: &["*/behind-*"],
    },
    HOST,
    BACK,
    ELSEWHERE,
    LATER,
    SOURCE_ROUTED,
    Hole {
        says: "An ACCEPT that is put first in FORWARD, by Docker or firewalld, opens everything.",
        why: "In one base chain the first verdict ends it: DOCKER-USER is not asked any more.",
        probes: &["*+accept-first"],
    },
];

const SYSCTL_HOLES: &[Hole] = &[
    Hole {
        says: "Packets from containers still reach closed networks, with the host's own address where it masquerades.",
        why: "The kernel asks the interface that a packet came in on (ip_route_input_slow), so only answers are dropped.",
        probes: &[
            "*/udp4",
            "*/icmp4",
            "*/tcp4",
            "*/session4",
            "*/fragments4",
            "*/tiny-*4",
            "*/gre4",
            "*/esp4",
            "*/sctp4",
            "*/ip-in-ip4",
            "*/unknown-protocol4",
            "*/ack4",
            "*/invalid4",
            "*/record-route4",
            "*/timestamp4",
            "*/*-tag4",
            "*/forged-*4",
            "*/behind-*4",
            "*/unlisted-*4",
            "*/established-*4",
            "*/answer-*4",
            "*/related-error4",
            "*/published-*",
            "*/*4+*",
        ],
    },
    Hole {
        says: "IPv6 is untouched in both directions.",
        why: "The per-interface key does not gate forwarding there (ip6_forward asks conf/all alone).",
        probes: &["*/*6", "*/*6+*", "*/guarded-*6"],
    },
    HOST,
    Hole {
        says: "What goes from another NIC to a closed one still arrives, and between container networks everything.",
        why: "That packet came in on a link that forwards; only the way back is closed.",
        probes: &["*/transit-*", "*/between-*"],
    },
    Hole {
        says: "A NIC that only some networks reach is open to all, in both directions.",
        why: "It has to deliver the answers of those networks, so that its key stays on.",
        probes: &["*/back-*"],
    },
    Hole {
        says: "The next 0 -> 1 write of ip_forward, by Docker or anybody, opens it again.",
        why: "The write sets forwarding on every interface (inet_forward_change).",
        probes: &["*/back-*4+forward-toggled"],
    },
    Hole {
        says: "A NIC that is deleted and created again, comes late or is put into a bridge is open.",
        why: "A new interface takes conf/default, and a bridge has a key of its own.",
        probes: &["*/back-*4+nic-recreated", "*/back-*4+nic-absent-at-apply", "*/back-*4+nic-enslaved"],
    },
];

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::approach::compared;
    use crate::intent::Intent;
    use crate::topology;
    use crate::verify::catalogue::{Extent, probes};
    use crate::verify::pattern::fits;
    use crate::verify::world::World;

    /// The names of all probes of a fixture.
    fn names(fixture: &str) -> BTreeSet<String> {
        let path = format!("{}/fixtures/{fixture}/topology.toml", env!("CARGO_MANIFEST_DIR"));
        let text = std::fs::read(path).expect("a fixture");
        let topology = topology::parse("topology.toml", &text).expect("a topology");
        let intent = Intent::new(&topology);
        let all = probes(&intent, &World::new(&intent), Extent::Full);
        all.into_iter().map(|probe| probe.name).collect()
    }

    fn claims(approach: Approach) -> Vec<(&'static str, &'static [&'static str])> {
        let guarantees = guarantees(approach).iter().map(|claim| (claim.says, claim.probes));
        guarantees.chain(holes(approach).iter().map(|hole| (hole.says, hole.probes))).collect()
    }

    #[test]
    fn every_pattern_has_probes() {
        let usual = names("service-instance");
        let others: BTreeSet<String> =
            ["exceptions", "flat", "overlay", "three-nics"].into_iter().flat_map(names).collect();
        for approach in Approach::ALL {
            for (says, patterns) in claims(approach) {
                let has =
                    |names: &BTreeSet<String>, pattern: &str| names.iter().any(|name| fits(pattern, name));
                assert!(patterns.iter().any(|pattern| has(&usual, pattern)), "{approach:?}: {says}");
                for pattern in patterns {
                    assert!(
                        has(&usual, pattern) || has(&others, pattern),
                        "{approach:?}: {pattern} of {says}"
                    );
                }
            }
        }
    }

    #[test]
    fn sentences_are_whole() {
        for approach in Approach::ALL {
            let reasons = holes(approach).iter().map(|hole| hole.why);
            for text in claims(approach).into_iter().map(|(says, _)| says).chain(reasons) {
                assert!(text.ends_with('.') && !text.contains('\n'), "{approach:?}: {text}");
            }
            let says: BTreeSet<&str> = claims(approach).into_iter().map(|(says, _)| says).collect();
            assert_eq!(says.len(), claims(approach).len(), "{approach:?} says something twice");
        }
        assert!(claims(Approach::None).is_empty());
    }

    /// What `isoplan plan` says of an approach and what packets are sent against are the same.
    #[test]
    fn holes_are_those_that_the_plan_tells_of() {
        let topology = topology::Topology::nothing();
        let intent = Intent::new(&topology);
        let told = |approach| compared(&intent, approach).desired.not_covered.join("\n").to_lowercase();
        let nftables = told(Approach::Nftables);
        for hole in holes(Approach::Nftables) {
            let says = hole.says.trim_end_matches('.').to_lowercase();
            let says = says.trim_start_matches("a ");
            assert!(nftables.contains(says), "{says} is not in the plan");
        }
        // A word of each that both have, in the order of the plan; what no probe shows is left out there.
        let sysctl = told(Approach::Sysctl);
        let words = [
            "packets from containers still reach",
            "ipv6",
            "own addresses",
            "0 -> 1 write",
            "deleted and created again",
        ];
        for word in words {
            assert!(sysctl.contains(word), "{word} is not in the plan");
            let says = holes(Approach::Sysctl).iter().any(|hole| hole.says.to_lowercase().contains(word));
            assert!(says, "no hole speaks of {word}");
        }
    }
}
