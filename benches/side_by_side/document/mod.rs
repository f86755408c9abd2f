//! `docs/performance.md` and its plots, made from what was measured and from words written by hand.
//!
//! The words are in `templates/performance/`: `document.md` is the whole, and the files beside it are the parts
//! that people write. Nothing here knows when or where it runs: the same JSON gives the same bytes.

mod plots;
mod tables;

use std::error::Error;

use askama::Template;

use self::plots::{Line, Plot};
use self::tables::{Figures, grouped, markdown, spread};
use super::bars;
use super::report::{Key, Quartiles, Report};

/// A document: files by their paths from the directory of the JSON.
pub(crate) type Files = Vec<(String, String)>;

#[derive(Template)]
#[template(path = "performance/document.md")]
struct Document<'r> {
    report: &'r Report,
    /// How many bars hold, and how many were measured.
    held: (usize, usize),
}

/// Everything that is made of a report.
///
/// # Errors
///
/// None that a report could bring about.
pub(crate) fn files(report: &Report) -> Result<Files, Box<dyn Error>> {
    let standings = bars::standings(report);
    let measured = standings.iter().filter_map(|standing| standing.worst.as_ref());
    let held = measured.clone().filter(|worst| worst.holds).count();
    let document = Document { report, held: (held, measured.count()) };
    let mut files = vec![("performance.md".to_owned(), document.render()? + "\n")];
    for (name, _) in PLOTS {
        if let Some(plot) = document.plot(name) {
            files.push((format!("performance/{name}.svg"), plot.svg()?));
        }
    }
    Ok(files)
}

/// The plots, and what is on each, for those who do not see it.
const PLOTS: [(&str, &str); 7] = [
    ("apply", "Time of an apply from nothing over the number of networks, for each contender"),
    ("change", "Time of one bridge added over the number of networks, for each contender"),
    (
        "change-kernel",
        "Time that the kernel takes for the batch over the number of networks, for each change",
    ),
    ("nothing", "Time to find nothing to do over the number of networks, for each contender"),
    ("packets", "UDP packets per second over the number of networks, for each rule set"),
    ("latency", "99th percentile of latency over the number of networks, for each rule set"),
    ("memory", "Peak memory over the number of networks, for each verb"),
];

impl Document<'_> {
    fn plot(&self, name: &str) -> Option<Plot> {
        let by_contender = |section, work: &str, figure, unit| {
            let figures = self.figures(section, figure);
            let contenders = figures.contenders().into_iter().enumerate();
            let lines =
                contenders.map(|(place, who)| line(figures, work, who, who, style(who).unwrap_or(place)));
            plot(unit, lines.collect())
        };
        match name {
            "apply" | "nothing" => by_contender(name, "", "wall", "ms"),
            "change" => by_contender(name, "bridge added", "wall", "ms"),
            "packets" => by_contender(name, "udp", "packets", "packets per second"),
            "latency" => {
                let unit = self.unit("packets", "latency", "p99");
                by_contender("packets", "latency", "p99", unit)
            }
            "memory" => by_contender("verbs", "", "memory", "MiB"),
            "change-kernel" => {
                let figures = self.figures("change", "kernel");
                let works = figures.works().into_iter().enumerate();
                plot("µs", works.map(|(place, work)| line(figures, work, "floor", work, place)).collect())
            }
            _ => None,
        }
    }

    fn figures<'d>(&'d self, section: &'d str, figure: &'d str) -> Figures<'d> {
        Figures { report: self.report, section, work: None, figure }
    }

    /// What a figure is counted in, in words.
    fn unit(&self, section: &str, work: &str, figure: &str) -> &'static str {
        let mut series = self.report.series.iter();
        let found = series.find(|series| {
            let key = &series.key;
            key.section == section && key.work == work && key.figure == figure
        });
        found.map_or("", |series| series.unit.words())
    }

    /// A plot as Markdown; nothing where there is nothing to draw.
    fn image(&self, name: &str) -> String {
        let words = PLOTS.iter().find(|(known, _)| known == &name).map_or("", |(_, words)| words);
        match self.plot(name) {
            Some(_) => format!("![{words}](performance/{name}.svg)"),
            None => "Not measured in this run.".to_owned(),
        }
    }

    /// A note about the machine or a version.
    fn noted(&self, what: &str) -> &str {
        self.report.machine.get(what).map_or("unknown", String::as_str)
    }

    /// What else a run noted, of what it left out for one.
    fn notes(&self) -> Vec<String> {
        const SHOWN: [&str; 13] = [
            "cores", "cpu", "date", "governor", "iproute2", "iptables", "isoplan", "kernel", "load",
            "memory", "nft", "rustc", "took",
        ];
        let notes = self.report.machine.iter().filter(|(what, _)| !SHOWN.contains(&what.as_str()));
        notes.filter(|(what, _)| *what != "virtual").map(|(what, told)| format!("{what}: {told}")).collect()
    }

    fn is_measured(&self, section: &str) -> bool {
        self.report.series.iter().any(|series| series.key.section == section)
    }

    /// Every bar at each of its sizes.
    fn bars(&self) -> String {
        let rows = bars::standings(self.report).into_iter().map(|standing| {
            let limit = standing.limit();
            let worst = standing.worst.as_ref();
            let value = |value: Option<f64>| value.map_or_else(String::new, |value| limit.value(value));
            let quartiles = worst.map(|worst| worst.quartiles);
            vec![
                standing.bar.sentence.to_owned(),
                grouped(standing.size),
                limit.words(),
                value(quartiles.map(|q| q.median)),
                quartiles.map_or_else(String::new, |q| {
                    format!("{} to {}", value(Some(q.low)), value(Some(q.high)))
                }),
                standing.verdict().to_owned(),
                worst.map_or_else(String::new, |worst| worst.which.clone()),
            ]
        });
        let header = ["what is to hold", "networks", "limit", "is", "quartiles", "verdict", "least for"];
        markdown(&header, rows, header.len())
    }

    fn ratios(&self, section: &str, figure: &str, base: &str) -> String {
        self.figures(section, figure).ratios(base)
    }

    fn medians(&self, section: &str, figure: &str) -> String {
        self.figures(section, figure).medians()
    }

    /// Every work and figure of packets: beside masquerade alone, then what it was.
    fn packets(&self) -> String {
        let mut kinds: Vec<(&str, &str, &str)> = Vec::new();
        // `relative` is there for the bars: the tables show it as ratios.
        let is_shown = |key: &Key| key.section == "packets" && key.figure != "relative";
        for series in self.report.series.iter().filter(|series| is_shown(&series.key)) {
            let kind = (series.key.work.as_str(), series.key.figure.as_str(), series.unit.words());
            if !kinds.contains(&kind) {
                kinds.push(kind);
            }
        }
        let tables = kinds.into_iter().map(|(work, figure, unit)| {
            let figures = Figures { work: Some(work), ..self.figures("packets", figure) };
            let ratios = figures.ratios("masquerade");
            let medians = figures.medians();
            format!("{work}: {figure}, divided by that of masquerade alone\n\n{ratios}\n\n{work}: {figure}, {unit}\n\n{medians}")
        });
        tables.collect::<Vec<_>>().join("\n\n")
    }

    /// Time and memory of every verb on the service instance.
    fn verbs(&self) -> String {
        let [wall, cpu, memory] = ["wall", "cpu", "memory"].map(|figure| self.figures("verbs", figure));
        let work = "service instance";
        let rows = wall.contenders().into_iter().filter_map(|verb| {
            let cell = |figures: Figures<'_>| spread(figures.samples(work, 1, verb)).unwrap_or_default();
            spread(wall.samples(work, 1, verb))?;
            Some(vec![format!("`{verb}`"), cell(wall), cell(cpu), cell(memory)])
        });
        markdown(&["verb", "time, ms", "on a processor, ms", "memory, MiB"], rows, 1)
    }

    /// A figure of every verb at each size.
    fn verbs_at_sizes(&self, figure: &str) -> String {
        let figures = self.figures("verbs", figure);
        let sizes: Vec<usize> =
            figures.sizes().into_iter().filter(|size| !self.verbs_at(*size).is_empty()).collect();
        let header: Vec<String> = sizes.iter().map(|size| grouped(*size)).collect();
        let mut columns = vec!["verb"];
        columns.extend(header.iter().map(String::as_str));
        let rows = figures.contenders().into_iter().filter_map(|verb| {
            let cells: Vec<_> = sizes.iter().map(|size| spread(figures.samples("", *size, verb))).collect();
            cells.iter().any(Option::is_some).then(|| {
                let mut row = vec![format!("`{verb}`")];
                row.extend(cells.into_iter().map(Option::unwrap_or_default));
                row
            })
        });
        markdown(&columns, rows, 1)
    }

    /// The verbs that were run with so many networks.
    fn verbs_at(&self, size: usize) -> Vec<&str> {
        let figures = self.figures("verbs", "wall");
        figures.contenders().into_iter().filter(|verb| !figures.samples("", size, verb).is_empty()).collect()
    }

    /// Labs: a row for each, a column for each work.
    fn labs(&self, figure: &str) -> String {
        let figures = self.figures("lab", figure);
        let works = figures.works();
        let mut header = vec!["topology", "networks"];
        header.extend(&works);
        let rows = figures.contenders().into_iter().flat_map(|who| {
            let works = &works;
            figures.sizes().into_iter().filter_map(move |size| {
                let cells: Vec<_> =
                    works.iter().map(|work| spread(figures.samples(work, size, who))).collect();
                cells.iter().any(Option::is_some).then(|| {
                    let mut row = vec![who.to_owned(), grouped(size)];
                    row.extend(cells.into_iter().map(Option::unwrap_or_default));
                    row
                })
            })
        });
        markdown(&header, rows, 1)
    }
}

/// A plot of the lines that have points; `None` where there are none.
fn plot(unit: &'static str, lines: Vec<Line>) -> Option<Plot> {
    let lines: Vec<_> = lines.into_iter().filter(|line| !line.points.is_empty()).collect();
    (!lines.is_empty()).then_some(Plot { unit, lines })
}

fn line(figures: Figures<'_>, work: &str, who: &str, name: &str, style: usize) -> Line {
    let points = figures.sizes().into_iter().filter_map(|size| {
        let samples = figures.samples(work, size, who);
        Some((size, Quartiles::of(samples)?))
    });
    Line { name: name.to_owned(), style, points: points.collect() }
}

/// The same contender looks the same in every plot.
fn style(who: &str) -> Option<usize> {
    let alike: [&[&str]; 8] = [
        &["isoplan"],
        &["nft -f", "nft -j list", "masquerade"],
        &["nft", "nft list", "docker"],
        &["isoplan reading", "ufw", "masquerade again"],
        &["iptables-restore", "iptables-restore --noflush"],
        &["dump", "firewalld", "linear"],
        &["floor"],
        &["parse", "bare"],
    ];
    alike.iter().position(|names| names.contains(&who))
}
