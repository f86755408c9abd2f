//! The bars that isoplan is measured by, as data, and whether a run clears them.
//!
//! Each divides samples by samples that were taken beside them, so that what slows both down drops out; its verdict
//! is the median of these. A timing never decides how the benchmark ends.

mod list;

pub(crate) use list::BARS;

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
