//! What the approaches claim that isoplan is compared with.

use super::{Guarantee, Hole};

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

pub(super) const SUBNET: &[Guarantee] = &[Guarantee {
    says: "What has the source prefix of a network and the destination prefix of a closed NIC is not forwarded.",
    probes: BY_PREFIX,
}];

pub(super) const ROUTE: &[Guarantee] = &[Guarantee {
    says: "What has the source prefix of a network and the destination prefix of a closed NIC has no route.",
    probes: BY_PREFIX,
}];

pub(super) const IPTABLES: &[Guarantee] = &[Guarantee {
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

pub(super) const SYSCTL: &[Guarantee] = &[Guarantee {
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

pub(super) const SUBNET_HOLES: &[Hole] = &[FORGED, UNLISTED, HOST, BACK, ELSEWHERE, LATER, SOURCE_ROUTED];

pub(super) const ROUTE_HOLES: &[Hole] = &[
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

pub(super) const IPTABLES_HOLES: &[Hole] = &[
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

pub(super) const SYSCTL_HOLES: &[Hole] = &[
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
