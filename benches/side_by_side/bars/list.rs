//! The bars, one after the other.

use super::{Bar, Limit, Term, its, of, wall};

/// What is done to a large policy.
const CHANGES: &[&str] = &[
    "bridge added",
    "bridge removed",
    "subnet added",
    "subnet removed",
    "exception added",
    "exception removed",
];
/// The sizes that packets are sent at.
const OF_PACKETS: &[usize] = &[1, 100, 1_000, 10_000];
const LARGE: &[usize] = &[1_000, 10_000];
const LARGEST: &[usize] = &[10_000];

const NONE: Bar = Bar {
    id: "",
    sentence: "",
    section: "",
    works: &[""],
    subjects: &["isoplan"],
    sizes: LARGEST,
    over: &[],
    under: &[],
    limit: Limit::AtLeast(1.0),
};

/// Every bar. The limits are those of the project's goals; where the goal has only words, the number is said in
/// the sentence.
pub(crate) const BARS: &[Bar] = &[
    Bar {
        id: "apply, nft",
        sentence: "Apply from nothing is at least 3 times as fast as `nft -f` of the same rule set.",
        section: "apply",
        sizes: LARGE,
        over: &[wall("nft -f")],
        under: &[its("wall")],
        limit: Limit::AtLeast(3.0),
        ..NONE
    },
    Bar {
        id: "apply, iptables",
        sentence: "Apply from nothing is at least 5 times as fast as `iptables-restore` of a rule per network.",
        section: "apply",
        sizes: LARGE,
        over: &[wall("iptables-restore")],
        under: &[its("wall")],
        limit: Limit::AtLeast(5.0),
        ..NONE
    },
    Bar {
        id: "apply, floor",
        sentence: "Apply from nothing takes at most 1.3 times the floor and the TOML parser together.",
        section: "apply",
        sizes: LARGE,
        over: &[its("wall")],
        under: &[wall("floor"), wall("parse")],
        limit: Limit::AtMost(1.3),
        ..NONE
    },
    Bar {
        id: "change, bytes",
        sentence: "The bytes of a small change at 10,000 networks are those at 10.",
        section: "change",
        works: CHANGES,
        over: &[its("bytes")],
        under: &[Term { who: None, figure: "bytes", at: Some(10) }],
        limit: Limit::AtMost(1.0),
        ..NONE
    },
    Bar {
        id: "change, kernel",
        sentence: "A small change takes the kernel hardly longer at 10,000 networks than at 10: at most 1.5 times.",
        section: "change",
        works: CHANGES,
        // The same batch, sent by the minimal program.
        subjects: &["floor"],
        over: &[its("kernel")],
        under: &[Term { who: None, figure: "kernel", at: Some(10) }],
        limit: Limit::AtMost(1.5),
        ..NONE
    },
    Bar {
        id: "change, reading",
        sentence: "A small change after somebody else's takes at most 1.5 times the parser, the dump and the batch.",
        section: "change",
        works: CHANGES,
        subjects: &["isoplan reading"],
        over: &[its("wall")],
        under: &[wall("parse"), wall("dump"), wall("floor")],
        limit: Limit::AtMost(1.5),
        ..NONE
    },
    Bar {
        id: "change, generation",
        sentence: "A small change after isoplan's own takes at most twice the parser and the batch.",
        section: "change",
        works: CHANGES,
        over: &[its("wall")],
        under: &[wall("parse"), wall("floor")],
        limit: Limit::AtMost(2.0),
        ..NONE
    },
    Bar {
        id: "change, nft -f",
        sentence: "A small change is at least 3 times as fast as `nft -f` of the whole.",
        section: "change",
        works: CHANGES,
        subjects: &["isoplan", "isoplan reading"],
        over: &[wall("nft -f")],
        under: &[its("wall")],
        limit: Limit::AtLeast(3.0),
        ..NONE
    },
    Bar {
        id: "change, nft",
        sentence: "A small change is at least 3 times as fast as the same few elements by `nft`.",
        section: "change",
        works: CHANGES,
        subjects: &["isoplan", "isoplan reading"],
        over: &[wall("nft")],
        under: &[its("wall")],
        limit: Limit::AtLeast(3.0),
        ..NONE
    },
    Bar {
        id: "nothing, floor",
        sentence: "To find nothing to do takes at most 1.5 times the raw dump and the TOML parser together.",
        section: "nothing",
        subjects: &["isoplan", "isoplan reading"],
        over: &[its("wall")],
        under: &[wall("floor"), wall("parse")],
        limit: Limit::AtMost(1.5),
        ..NONE
    },
    Bar {
        id: "nothing, nft -j",
        sentence: "To find nothing to do is at least 3 times as fast as `nft -j list table`.",
        section: "nothing",
        subjects: &["isoplan", "isoplan reading"],
        over: &[wall("nft -j list")],
        under: &[its("wall")],
        limit: Limit::AtLeast(3.0),
        ..NONE
    },
    Bar {
        id: "packets, udp",
        sentence: "UDP packets per second are within 3 % of connection tracking and masquerade alone.",
        section: "packets",
        works: &["udp"],
        sizes: OF_PACKETS,
        over: &[its("packets")],
        under: &[of("masquerade", "packets")],
        limit: Limit::AtLeast(0.97),
        ..NONE
    },
    Bar {
        id: "packets, tcp",
        sentence: "TCP throughput is within 3 % of connection tracking and masquerade alone.",
        section: "packets",
        works: &["tcp"],
        sizes: OF_PACKETS,
        over: &[its("throughput")],
        under: &[of("masquerade", "throughput")],
        limit: Limit::AtLeast(0.97),
        ..NONE
    },
    Bar {
        id: "packets, flat",
        sentence: "UDP packets per second, beside masquerade's, are the same at 1 and at 10,000 networks, within 3 %.",
        section: "packets",
        works: &["udp"],
        over: &[its("relative")],
        under: &[Term { who: None, figure: "relative", at: Some(1) }],
        limit: Limit::AtLeast(0.97),
        ..NONE
    },
    Bar {
        id: "packets, p99",
        sentence: "The latency that one packet in a hundred exceeds is within 5 % of masquerade alone.",
        section: "packets",
        works: &["latency"],
        sizes: OF_PACKETS,
        over: &[its("p99")],
        under: &[of("masquerade", "p99")],
        limit: Limit::AtMost(1.05),
        ..NONE
    },
    Bar {
        id: "packets, docker",
        sentence: "More UDP packets per second than with Docker's own rules, above 10 networks.",
        section: "packets",
        works: &["udp"],
        sizes: &[100, 1_000, 10_000],
        over: &[its("packets")],
        under: &[of("docker", "packets")],
        limit: Limit::MoreThan(1.0),
        ..NONE
    },
    Bar {
        id: "packets, linear",
        sentence: "More UDP packets per second than with a linear list of rules, above 10 networks.",
        section: "packets",
        works: &["udp"],
        sizes: &[100, 1_000, 10_000],
        over: &[its("packets")],
        under: &[of("linear", "packets")],
        limit: Limit::MoreThan(1.0),
        ..NONE
    },
    Bar {
        id: "verbs, small",
        sentence: "`check`, `plan` and `status` on the service instance take under 10 ms, whole process.",
        section: "verbs",
        works: &["service instance"],
        subjects: &["check", "plan", "status"],
        sizes: &[1],
        over: &[its("wall")],
        limit: Limit::Milliseconds(10.0),
        ..NONE
    },
    Bar {
        id: "verbs, planning",
        sentence: "Planning 10,000 networks takes under 200 ms, whole process.",
        section: "verbs",
        subjects: &["plan"],
        over: &[its("wall")],
        limit: Limit::Milliseconds(200.0),
        ..NONE
    },
    Bar {
        id: "verbs, memory",
        sentence: "No verb that works on 10,000 networks has more than 150 MB at once.",
        section: "verbs",
        subjects: &["check", "plan", "render", "apply", "status", "diff", "snapshot", "discover"],
        over: &[its("memory")],
        // 150 MB
        limit: Limit::Mebibytes(150e6 / 1_048_576.0),
        ..NONE
    },
];
