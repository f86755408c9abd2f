//! Packets through the host, container to service: its rules against none, few, Docker's, and a long list.
//!
//! Each contender has a host of its own with containers and servers ([`site`]), all at once, so that they can be
//! measured in turns of a fraction of a second, and whatever the machine does meets all alike. `masquerade again`
//! tells how far two are apart who do the same. Of the networks only the last exists: in a list of rules its
//! packets pass all others.
//!
//! Of two cores, the first sends and receives, and the second is the host: it forwards what comes in on the host's
//! links (RPS). Without root the kernel does not let that be chosen, and with one core there is no choice: then one
//! core does all, and the time of sending is in each figure. Latency is always measured on one core.
//!
//! For a closer look, the environment narrows the section down: `PACKETS_SIZES=10000`, `PACKETS_WORKS=udp,latency`,
//! `PACKETS_WHO=masquerade,isoplan`, `PACKETS_CORES=1`. `PACKETS_FILES=one.nft,other.nft` measures these
//! rule sets beside the rest.

mod conntrack;
mod contender;
mod cores;
mod latency;
mod sender;
mod site;
mod works;

use std::io::Write as _;
use std::process::{Command, Stdio};
use std::time::Duration;

use super::super::Result;
use super::super::lab::isolate::is_real_root;
use super::super::lab::node::{Node, PATH};
use super::super::measure::{Bench, key};
use super::super::report::{Key, Unit, median, ratios};

use self::contender::Contender;
use self::cores::Cores;
use self::latency::FLOOD;
use self::sender::{FLOWS, FRAME};
use self::site::Site;
use self::works::Figures;

/// Something that is measured.
struct Work {
    name: &'static str,
    /// How long each turn is, and how many there are in a full run.
    slice: Duration,
    rounds: usize,
    /// Whether the host has its own core.
    apart: bool,
    run: fn(&Site, Cores, Duration) -> Result<Figures>,
}

const fn millis(number: u64) -> Duration {
    Duration::from_millis(number)
}

const WORKS: [Work; 5] = [
    Work { name: "udp", slice: millis(120), rounds: 31, apart: true, run: works::udp },
    Work { name: "tcp", slice: millis(120), rounds: 13, apart: true, run: works::tcp },
    Work { name: "latency", slice: millis(270), rounds: 13, apart: false, run: latency::latency },
    Work { name: "connections", slice: millis(200), rounds: 11, apart: true, run: works::connections },
    Work { name: "flood", slice: millis(200), rounds: 9, apart: true, run: latency::flood },
];

pub(super) fn run(bench: &mut Bench) -> Result<()> {
    let cores = Cores::choose()?;
    let sizes: &[usize] = match (bench.smoke, bench.quick) {
        (true, _) => &[10],
        (_, true) => &[1, 10_000],
        _ => &[1, 100, 1_000, 10_000],
    };
    let chosen = chosen("PACKETS_SIZES");
    for size in sizes.iter().copied() {
        // isoplan's transaction is one message, whose size is limited but for root of the machine.
        let is_possible = size < 1_000 || is_real_root();
        if is_possible && chosen.as_ref().is_none_or(|chosen| chosen.contains(&size.to_string())) {
            measure(bench, cores, size)?;
        }
    }
    Ok(())
}

fn measure(bench: &mut Bench, cores: Cores, size: usize) -> Result<()> {
    let who = chosen("PACKETS_WHO");
    let mut sites = Vec::new();
    for contender in Contender::ALL {
        if who.as_ref().is_none_or(|who| who.iter().any(|name| name == contender.name())) {
            sites.push(Site::build(bench, contender, sites.len(), size)?);
        }
    }
    for path in chosen("PACKETS_FILES").into_iter().flatten() {
        sites.push(Site::build(bench, Contender::File(path.leak()), sites.len(), size)?);
    }
    for site in &sites {
        site.check()?;
    }
    let one = chosen("PACKETS_CORES").is_some_and(|cores| cores == ["1"]);
    let apart = !one && cores.are_two() && sites.iter().all(Site::can_steer);
    let cores_do = if apart { "core 0 sends and receives, core 1 is the host" } else { "one core does all" };
    bench.note(
        "packets",
        format!(
            "{cores_do}; datagrams of {FRAME} bytes on the wire, {FLOWS} flows; a flood of {FLOOD} a second"
        ),
    );
    let works = chosen("PACKETS_WORKS");
    for work in &WORKS {
        if works.as_ref().is_none_or(|works| works.iter().any(|name| name == work.name)) {
            let cores = if apart && work.apart { cores } else { cores.together() };
            cores::pinned(cores.ends, || in_turns(bench, cores, work, &sites, size))
                .map_err(|error| format!("packets, {}, {size} networks: {error}", work.name))?;
        }
    }
    Ok(())
}

/// Measures all, in turns.
fn in_turns(bench: &mut Bench, cores: Cores, work: &Work, sites: &[Site], size: usize) -> Result<()> {
    let rounds = match (bench.smoke, bench.quick) {
        (true, _) => 1,
        (_, true) => work.rounds.div_ceil(4),
        _ => work.rounds,
    };
    let slice = match (bench.smoke, bench.quick) {
        (true, _) => millis(20),
        (_, true) => work.slice / 2,
        _ => work.slice,
    };
    for site in sites {
        site.steer(cores.are_two().then_some(cores))?;
        // What is not in any cache yet.
        (work.run)(site, cores, slice / 4)?;
    }
    for round in 0..rounds {
        // Nobody always comes after the same one.
        for place in 0..sites.len() {
            let site = &sites[if round % 2 == 0 { place } else { sites.len() - 1 - place }];
            for (figure, unit, value) in (work.run)(site, cores, slice)? {
                bench.record(key("packets", work.name, size, site.who.name(), figure), unit, value);
            }
        }
    }
    for site in sites {
        let samples = |who| bench.report().samples("packets", work.name, size, who, "packets");
        let who = site.who.name();
        for ratio in ratios(samples(who), samples(Contender::Masquerade.name())) {
            bench.record(key("packets", work.name, size, who, "relative"), Unit::Share, ratio);
        }
        tell(bench, work, size, site.who.name());
    }
    Ok(())
}

/// Says what came out: each figure's median, and how it compares.
#[expect(clippy::print_stderr, reason = "progress of a benchmark")]
fn tell(bench: &Bench, work: &Work, size: usize, who: &str) {
    let mut line = format!("   {size:>6} {:<12} {who:<17}", work.name);
    let report = bench.report();
    for series in &report.series {
        let Key { section, work: name, size: networks, who: own, figure } = &series.key;
        if figure == "relative"
            || (section.as_str(), name.as_str(), *networks, own.as_str()) != ("packets", work.name, size, who)
        {
            continue;
        }
        line += &format!("  {figure} {:.2}", median(&series.samples).unwrap_or_default());
        let base = report.samples("packets", work.name, size, Contender::Masquerade.name(), figure);
        if let Some(ratio) = median(&ratios(&series.samples, base)) {
            line += &format!(" ({ratio:.3})");
        }
    }
    eprintln!("{line}");
}

/// What an environment variable chooses, if it is set.
fn chosen(variable: &str) -> Option<Vec<String>> {
    let text = std::env::var(variable).ok()?;
    Some(text.split(',').map(str::to_owned).collect())
}

/// Runs a program in a namespace with this on its standard input.
fn feed(node: &Node, program: &str, args: &[&str], input: &str) -> Result<()> {
    let output = node.enter(|| {
        let mut command = Command::new(program);
        command
            .args(args)
            .env("PATH", PATH)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::piped());
        let mut child = command.spawn()?;
        // A program that ends early closes the pipe; its status then says why.
        let _ = child.stdin.take().expect("stdin is a pipe").write_all(input.as_bytes());
        child.wait_with_output()
    })?;
    if !output.status.success() {
        let error = String::from_utf8_lossy(&output.stderr);
        return Err(format!("{program} failed in {}: {}", node.name, error.trim()).into());
    }
    Ok(())
}
