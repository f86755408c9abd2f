//! What `compare` and `verify` share: which probes are sent under which approaches, and sending them.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::approach::Approach;
use crate::error::{Exit, Failure};
use crate::intent::Intent;
use crate::lab::run;
use crate::lab::worker::Job;
use crate::topology::Topology;
use crate::verify::catalogue::{Extent, probes, samples};
use crate::verify::change::Change;
use crate::verify::outcome::Observation;
use crate::verify::pattern::fits;
use crate::verify::probe::Probe;
use crate::verify::report::{Claims, Comparison, Observed};
use crate::verify::world::World;

/// Which probes.
#[derive(Debug, clap::Args)]
pub(super) struct ProbeArgs {
    /// Send only probes with a name that fits: * for any characters, ? for one; may be given again
    #[arg(long, value_name = "PATTERN")]
    probes: Vec<String>,
    /// Leave out what comes after a change of the host
    #[arg(long)]
    quick: bool,
}

/// A topology and its text: a lab is made from the text.
pub(super) struct Source<'s> {
    pub(super) topology: &'s Topology,
    pub(super) text: &'s str,
}

/// Sends the probes under every one of the approaches, and under `none`, which tells whether a packet would
/// have arrived.
pub(super) fn observe(
    source: &Source<'_>,
    which: &ProbeArgs,
    approaches: &[Approach],
    chosen: Approach,
) -> Result<Comparison, Failure> {
    let intent = Intent::new(source.topology);
    let world = World::new(&intent);
    let (sent, left_out) = chosen_probes(&intent, &world, which)?;
    let mut run_under: Vec<Approach> = vec![Approach::None];
    run_under.extend(approaches.iter().filter(|approach| **approach != Approach::None));
    let jobs: Vec<Job> =
        run_under.iter().flat_map(|approach| jobs(source, *approach, &sent, false)).collect();
    let results = run_jobs(&jobs)?;
    let mut observed: BTreeMap<Approach, Observed> = BTreeMap::new();
    for (job, result) in jobs.iter().zip(results) {
        observed.entry(job.approach).or_default().extend(result);
    }
    Ok(Comparison {
        topology: source.topology.file.clone(),
        chosen,
        approaches: approaches.to_vec(),
        probes: sent,
        left_out,
        samples: samples(&intent, &world),
        nodes: world.nodes.iter().map(|node| node.name.clone()).collect(),
        host_addresses: host_addresses(&world),
        claims: approaches.iter().map(|approach| (*approach, Claims::of(*approach))).collect(),
        observed,
    })
}

/// Sends probes again under one approach, traced, and notes what decided about each. That a probe comes to
/// something else this time is noted as well.
pub(super) fn trace(
    source: &Source<'_>,
    comparison: &mut Comparison,
    names: &[String],
) -> Result<(), Failure> {
    let probes: Vec<Probe> =
        comparison.probes.iter().filter(|probe| names.contains(&probe.name)).cloned().collect();
    let jobs = jobs(source, comparison.chosen, &probes, true);
    let Some(observed) = comparison.observed.get_mut(&comparison.chosen) else { return Ok(()) };
    for (name, again) in run_jobs(&jobs)?.into_iter().flatten() {
        let Some(first) = observed.get_mut(&name) else { continue };
        if first.outcome != again.outcome {
            first.decided_by = vec!["sent again to be traced, it came to something else".to_owned()];
        } else {
            first.decided_by = again.decided_by;
        }
    }
    Ok(())
}

fn host_addresses(world: &World) -> BTreeSet<std::net::IpAddr> {
    world.host_links.iter().flat_map(|link| &link.addresses).map(ipnet::IpNet::addr).collect()
}

/// The probes that the arguments ask for, and the names of the others.
fn chosen_probes(
    intent: &Intent<'_>,
    world: &World,
    which: &ProbeArgs,
) -> Result<(Vec<Probe>, Vec<String>), Failure> {
    let all = probes(intent, world, Extent::Full);
    let quick: BTreeSet<String> = match which.quick {
        true => probes(intent, world, Extent::Quick).into_iter().map(|probe| probe.name).collect(),
        false => BTreeSet::new(),
    };
    for pattern in &which.probes {
        if !all.iter().any(|probe| fits(pattern, &probe.name)) {
            let example = all.first().map_or("none", |probe| probe.name.as_str());
            return Err(Failure::new(format!("no probe has a name that fits `{pattern}`"))
                .exit(Exit::Usage)
                .hint(format!("a name is, for example, `{example}`; --details lists all")));
        }
    }
    let is_asked = |probe: &Probe| {
        let fits = which.probes.is_empty() || which.probes.iter().any(|pattern| fits(pattern, &probe.name));
        fits && (!which.quick || quick.contains(&probe.name))
    };
    let (sent, left_out): (Vec<_>, Vec<_>) = all.into_iter().partition(is_asked);
    if sent.is_empty() {
        let failure = match which.probes.is_empty() {
            true => Failure::new("there is no probe for this topology"),
            false => Failure::new("--quick leaves out every probe that fits"),
        };
        return Err(failure.exit(Exit::Usage));
    }
    Ok((sent, left_out.into_iter().map(|probe| probe.name).collect()))
}

/// One lab for everything that needs no change of the host, and one for each change.
fn jobs(source: &Source<'_>, approach: Approach, probes: &[Probe], is_traced: bool) -> Vec<Job> {
    let mut by_change: BTreeMap<Option<Change>, Vec<String>> = BTreeMap::new();
    for probe in probes {
        by_change.entry(probe.change).or_default().push(probe.name.clone());
    }
    by_change
        .into_iter()
        .map(|(change, probes)| Job {
            file: source.topology.file.clone(),
            text: source.text.to_owned(),
            approach,
            change,
            probes,
            is_traced,
            cpu: 0,
        })
        .collect()
}

/// Runs labs, with a bar on stderr where that is a terminal.
fn run_jobs(jobs: &[Job]) -> Result<Vec<BTreeMap<String, Observation>>, Failure> {
    let all: usize = jobs.iter().map(|job| job.probes.len()).sum();
    let bar = ProgressBar::with_draw_target(Some(all as u64), ProgressDrawTarget::stderr());
    let style = ProgressStyle::with_template("{pos}/{len} probes [{bar:40}] {elapsed}");
    if let Ok(style) = style {
        bar.set_style(style.progress_chars("=> "));
    }
    bar.enable_steady_tick(Duration::from_millis(200));
    let result = run::run(jobs, &mut |done| bar.set_position(done as u64));
    bar.finish_and_clear();
    result
}
