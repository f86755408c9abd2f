//! How long a lab takes to be built and to be gone, and how many probes it sends.

use std::process::Stdio;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use super::super::Result;
use super::super::lab::Program;
use super::super::measure::{Bench, key};
use super::super::report::Unit;
use super::super::sizes;

/// How often a full run builds each.
const REPETITIONS: usize = 11;
/// How often it probes each, without and with changes of the host.
const REPETITIONS_OF_PROBES: (usize, usize) = (5, 3);

/// Hosts of every kind.
const FIXTURES: &[(&str, &str)] = &[
    ("service-instance", include_str!("../../../fixtures/service-instance/topology.toml")),
    ("three-nics", include_str!("../../../fixtures/three-nics/topology.toml")),
    ("overlay", include_str!("../../../fixtures/overlay/topology.toml")),
    ("flat", include_str!("../../../fixtures/flat/topology.toml")),
];

/// A host with that many bridges.
const LARGE: usize = 100;

pub(super) fn run(bench: &mut Bench) -> Result<()> {
    let isoplan = bench.isoplan()?;
    for (name, text) in FIXTURES {
        isoplan.write(&format!("{name}.toml"), text)?;
    }
    let mut labs: Vec<(String, usize)> =
        FIXTURES.iter().map(|(name, text)| ((*name).to_owned(), networks(text))).collect();
    if !bench.smoke {
        let name = format!("{LARGE} bridges");
        isoplan.write(&format!("{name}.toml"), &sizes::topology(LARGE))?;
        labs.push((name, LARGE));
    }
    for _ in 0..bench.repetitions(REPETITIONS) {
        for (name, size) in &labs {
            build(bench, &isoplan, name, *size)?;
        }
    }
    // The large one has more pairs than anybody waits for.
    let probed = if bench.smoke || bench.quick { 1 } else { FIXTURES.len() };
    let (without, with) = REPETITIONS_OF_PROBES;
    for _ in 0..bench.repetitions(without) {
        for (name, size) in &labs[..probed] {
            for verb in ["verify", "compare"] {
                probes(bench, &isoplan, verb, true, name, *size)?;
            }
        }
    }
    if bench.quick || bench.smoke {
        return Ok(());
    }
    for _ in 0..bench.repetitions(with) {
        for verb in ["verify", "compare"] {
            let (name, size) = &labs[0];
            probes(bench, &isoplan, verb, false, name, *size)?;
        }
    }
    Ok(())
}

/// How many networks a file has.
fn networks(text: &str) -> usize {
    text.lines()
        .filter(|line| {
            line.starts_with("[[bridge") || line.starts_with("[[flat") || line.starts_with("[[overlay")
        })
        .count()
}

/// From the start to the command in the lab, and from that to the end.
fn build(bench: &mut Bench, isoplan: &Program, name: &str, size: usize) -> Result<()> {
    let started = SystemTime::now();
    let topology = format!("{name}.toml");
    let command = ["lab", &topology, "--", "date", "+%s.%N"];
    let output = isoplan.command(&command).stdout(Stdio::piped()).output()?;
    let ended = SystemTime::now();
    let said = String::from_utf8_lossy(&output.stdout);
    let inside = said.trim().parse().map_err(|_| {
        format!("isoplan {} failed: {}", command.join(" "), String::from_utf8_lossy(&output.stderr))
    })?;
    let inside = UNIX_EPOCH + Duration::from_secs_f64(inside);
    for (work, time) in
        [("build", inside.duration_since(started)?), ("tear down", ended.duration_since(inside)?)]
    {
        let key = key("lab", work, size, name, "wall");
        bench.record(key, Unit::Milliseconds, time.as_secs_f64() * 1e3);
    }
    Ok(())
}

/// A whole run of `verify` or `compare`, the lab's building included.
fn probes(
    bench: &mut Bench,
    isoplan: &Program,
    verb: &str,
    quick: bool,
    name: &str,
    size: usize,
) -> Result<()> {
    let topology = format!("{name}.toml");
    let mut command = vec![verb, &topology, "--json"];
    if quick {
        command.push("--quick");
    }
    let started = SystemTime::now();
    let ran = isoplan.run(&command);
    let wall = started.elapsed()?.as_secs_f64();
    if ran.code != Some(0) {
        return Err(ran.to_string().into());
    }
    let document = ran.json();
    let probes = document["probes"].as_array().map_or(0, Vec::len);
    // Every probe is sent under every approach, and the lab of each is built anew.
    let approaches = document["approaches"].as_array().map_or(1, Vec::len);
    let work = if quick { format!("{verb} --quick") } else { verb.to_owned() };
    let key = |figure| key("lab", &work, size, name, figure);
    bench.record(key("wall"), Unit::Milliseconds, wall * 1e3);
    bench.record(key("probes"), Unit::PerSecond, (probes * approaches) as f64 / wall);
    Ok(())
}
