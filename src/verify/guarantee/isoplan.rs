//! What the tables of isoplan claim: `nftables`, and with the keys of `sysctl` besides `layered`.

use super::{Guarantee, Hole};

pub(super) const NFTABLES: &[Guarantee] = &[
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
            "*/flat-*",
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
pub(super) const NFTABLES_HOLES: &[Hole] = &[
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
