//! The bars that isoplan is measured by, as data, and whether a run clears them.
//!
//! Each divides samples by samples that were taken beside them, so that what slows both down drops out; its verdict
//! is the median of these. A timing never decides how the benchmark ends.

use super::report::{Quartiles, Report};

/// Something that is to hold.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Bar {
    /// What it is called, in the table and in the document.
    pub(crate) id: &'static str,
    /// What holds, in a sentence.
    pub(crate) sentence: &'static str,
    /// The section that measures it.
    pub(crate) section: &'static str,
    /// The works that it is to hold for, each.
    works: &'static [&'static str],
    /// Those of isoplan that it is to hold for, each.
    subjects: &'static [&'static str],
    /// The sizes that it is to hold at, each.
    sizes: &'static [usize],
    /// What is divided: the sum of these.
    over: &'static [Term],
    /// By what; the figure itself is judged where there is nothing.
    under: &'static [Term],
    limit: Limit,
}

/// One figure of one contender, at the size and for the work that are judged.
#[derive(Debug, Clone, Copy)]
struct Term {
    /// Who; `None` for the subject.
    who: Option<&'static str>,
    figure: &'static str,
    /// At this size, whatever is judged.
    at: Option<usize>,
}

/// What the quotient has to be.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Limit {
    AtLeast(f64),
    AtMost(f64),
    MoreThan(f64),
    /// In milliseconds, not a quotient.
    Milliseconds(f64),
    /// In MiB, not a quotient.
    Mebibytes(f64),
}

impl Limit {
    fn holds(self, value: f64) -> bool {
        match self {
            Self::AtLeast(limit) => value >= limit,
            Self::AtMost(limit) => value <= limit,
            Self::MoreThan(limit) => value > limit,
            Self::Milliseconds(limit) | Self::Mebibytes(limit) => value < limit,
        }
    }

    /// How far a value is on the wrong side; smaller is better.
    fn badness(self, value: f64) -> f64 {
        match self {
            Self::AtLeast(limit) | Self::MoreThan(limit) => limit / value,
            Self::AtMost(limit) | Self::Milliseconds(limit) | Self::Mebibytes(limit) => value / limit,
        }
    }

    /// The limit in words.
    pub(crate) fn words(self) -> String {
        match self {
            Self::AtLeast(limit) => format!("at least {limit}x"),
            Self::AtMost(limit) => format!("at most {limit}x"),
            Self::MoreThan(limit) => format!("more than {limit}x"),
            Self::Milliseconds(limit) => format!("under {limit} ms"),
            Self::Mebibytes(limit) => format!("under {limit:.0} MiB"),
        }
    }

    /// A value that is held against it, with its unit.
    pub(crate) fn value(self, value: f64) -> String {
        match self {
            Self::Milliseconds(_) => format!("{} ms", significant(value)),
            Self::Mebibytes(_) => format!("{} MiB", significant(value)),
            // Quotients near one differ in the third place.
            _ if (0.5..2.0).contains(&value) => format!("{value:.3}x"),
            _ => format!("{}x", significant(value)),
        }
    }
}

/// A number with three digits that count, or all before the point.
pub(crate) fn significant(value: f64) -> String {
    let places = match value.abs() {
        magnitude if magnitude >= 99.95 => 0,
        magnitude if magnitude >= 9.995 => 1,
        magnitude if magnitude >= 0.9995 => 2,
        _ => 3,
    };
    format!("{value:.places$}")
}

/// How a bar stands at one size.
#[derive(Debug, Clone)]
pub(crate) struct Standing {
    pub(crate) bar: &'static Bar,
    pub(crate) size: usize,
    /// The worst of all subjects and works; `None` where it was not measured.
    pub(crate) worst: Option<Worst>,
}

/// The subject and work that a bar holds least for.
#[derive(Debug, Clone)]
pub(crate) struct Worst {
    /// Which, where there are several.
    pub(crate) which: String,
    pub(crate) quartiles: Quartiles,
    pub(crate) holds: bool,
}

impl Standing {
    pub(crate) fn verdict(&self) -> &'static str {
        match &self.worst {
            None => "not measured",
            Some(worst) if worst.holds => "holds",
            Some(_) => "does not hold",
        }
    }

    pub(crate) fn limit(&self) -> Limit {
        self.bar.limit
    }
}

/// How every bar stands, at each of its sizes.
pub(crate) fn standings(report: &Report) -> Vec<Standing> {
    let each = BARS.iter().flat_map(|bar| bar.sizes.iter().map(move |&size| (bar, size)));
    each.map(|(bar, size)| Standing { bar, size, worst: bar.worst(report, size) }).collect()
}

impl Bar {
    fn worst(&self, report: &Report, size: usize) -> Option<Worst> {
        let pairs = self.works.iter().flat_map(|work| self.subjects.iter().map(move |who| (*work, *who)));
        let measured = pairs.filter_map(|(work, who)| {
            let over = sum(report, self.section, work, size, who, self.over)?;
            let values = match self.under {
                [] => over,
                under => {
                    let under = sum(report, self.section, work, size, who, under)?;
                    over.iter().zip(under).map(|(over, under)| over / under).collect()
                }
            };
            let quartiles = Quartiles::of(&values)?;
            let words = [(self.subjects.len() > 1, who), (self.works.len() > 1, work)];
            let words: Vec<_> = words.iter().filter(|(told, _)| *told).map(|(_, word)| *word).collect();
            let holds = self.limit.holds(quartiles.median);
            Some(Worst { which: words.join(", "), quartiles, holds })
        });
        let badness = |worst: &Worst| self.limit.badness(worst.quartiles.median);
        measured.max_by(|a, b| badness(a).total_cmp(&badness(b)))
    }
}

/// Samples that were taken in turns, added up; `None` where one of them is missing.
fn sum(
    report: &Report,
    section: &str,
    work: &str,
    size: usize,
    subject: &str,
    terms: &[Term],
) -> Option<Vec<f64>> {
    let mut total: Option<Vec<f64>> = None;
    for term in terms {
        let (who, size) = (term.who.unwrap_or(subject), term.at.unwrap_or(size));
        let mut samples = report.samples(section, work, size, who, term.figure);
        if samples.is_empty() {
            // What is the same for every work is measured once.
            samples = report.samples(section, "", size, who, term.figure);
        }
        if samples.is_empty() {
            return None;
        }
        total = Some(match total {
            None => samples.to_vec(),
            Some(total) => total.iter().zip(samples).map(|(a, b)| a + b).collect(),
        });
    }
    total
}

const fn its(figure: &'static str) -> Term {
    Term { who: None, figure, at: None }
}

const fn wall(who: &'static str) -> Term {
    Term { who: Some(who), figure: "wall", at: None }
}

const fn of(who: &'static str, figure: &'static str) -> Term {
    Term { who: Some(who), figure, at: None }
}

/// What is done to a large policy.
const CHANGES: &[&str] = &[
    "bridge added",
    "bridge removed",
    "subnet added",
    "subnet removed",
    "exception added",
    "exception removed",
];
const EVERY_SIZE: &[usize] = &[1, 10, 100, 1_000, 10_000];
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
        sentence: "Apply from nothing is 3 times as fast as `nft -f` of the same rule set.",
        section: "apply",
        sizes: LARGE,
        over: &[wall("nft -f")],
        under: &[its("wall")],
        limit: Limit::AtLeast(3.0),
        ..NONE
    },
    Bar {
        id: "apply, iptables",
        sentence: "Apply from nothing is 5 times as fast as `iptables-restore` of a rule per network.",
        section: "apply",
        sizes: LARGE,
        over: &[wall("iptables-restore")],
        under: &[its("wall")],
        limit: Limit::AtLeast(5.0),
        ..NONE
    },
    Bar {
        id: "apply, floor",
        sentence: "Apply from nothing takes 1.3 times the floor and the TOML parser together.",
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
        sentence: "A small change takes the kernel hardly longer at 10,000 networks than at 10: 1.5 times.",
        section: "change",
        works: CHANGES,
        over: &[its("kernel")],
        under: &[Term { who: None, figure: "kernel", at: Some(10) }],
        limit: Limit::AtMost(1.5),
        ..NONE
    },
    Bar {
        id: "change, reading",
        sentence: "A small change after somebody else's takes 1.5 times the parser, the dump and the batch.",
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
        sentence: "A small change after isoplan's own takes twice the parser and the batch.",
        section: "change",
        works: CHANGES,
        over: &[its("wall")],
        under: &[wall("parse"), wall("floor")],
        limit: Limit::AtMost(2.0),
        ..NONE
    },
    Bar {
        id: "change, nft -f",
        sentence: "A small change is 3 times as fast as `nft -f` of the whole.",
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
        sentence: "A small change is 3 times as fast as the same few elements by `nft`.",
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
        sentence: "To find nothing to do takes 1.5 times the raw dump and the TOML parser together.",
        section: "nothing",
        subjects: &["isoplan", "isoplan reading"],
        over: &[its("wall")],
        under: &[wall("floor"), wall("parse")],
        limit: Limit::AtMost(1.5),
        ..NONE
    },
    Bar {
        id: "nothing, nft -j",
        sentence: "To find nothing to do is 3 times as fast as `nft -j list table`.",
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
        sizes: EVERY_SIZE,
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
        sizes: EVERY_SIZE,
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
        sizes: EVERY_SIZE,
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
