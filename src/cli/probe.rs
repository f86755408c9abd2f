//! `isoplan probe`

use std::collections::{BTreeMap, BTreeSet};
use std::io;

use schemars::JsonSchema;
use serde::Serialize;

use super::Output;
use crate::approach::Approach;
use crate::error::{Exit, Failure};
use crate::intent::Intent;
use crate::lab;
use crate::lab::build::Lab;
use crate::lab::prober::Prober;
use crate::lab::session::Session;
use crate::lab::worker::Job;
use crate::plan::JSON_VERSION;
use crate::topology::parse;
use crate::verify::catalogue::{self, Extent};
use crate::verify::change::Change;
use crate::verify::outcome::{Expected, Observation, Outcome, Verdict};
use crate::verify::pattern::fits;
use crate::verify::probe::{Probe, Sending};
use crate::verify::world::World;

/// Sends probes between the peers of the lab that it is run in, and tells what became of each: what was
/// sent, where it came in, and where it was seen with which source. It runs on the host of a lab only,
/// see `isoplan help lab`, and probes what is in place there at that moment.
#[derive(Debug, clap::Args)]
#[command(after_long_help = AFTER_HELP)]
pub(super) struct Args {
    /// Names of probes; * stands for any characters, ? for any one
    #[arg(value_name = "NAME", required_unless_present = "list")]
    names: Vec<String>,
    /// List the probes of this lab, those with these names or all, and send none
    #[arg(long)]
    list: bool,
    /// Print the result as JSON (docs/json.md)
    #[arg(long)]
    json: bool,
}

const AFTER_HELP: &str = "\
Examples, on the host of a lab:
  isoplan probe --list
  isoplan probe docker0:eth1/udp4
  isoplan probe 'docker0:eth1/*'
  isoplan probe '*/udp4+*'

Probes show what is in place at that moment. But a change of the host (`+` and its name) and a
connection that is open before the rules come need a lab of their own: it is made for them, with
the approach of the lab that this is run in. A pattern means probes with a change only where it fits
no others.

Exits with 3 when a probe arrives that should be blocked, or does not that should arrive; and with
1 when that is not so and one could not be tested.";

#[derive(Serialize, JsonSchema)]
pub(super) struct ProbeJson<'p> {
    /// [`JSON_VERSION`](crate::plan::JSON_VERSION).
    version: u32,
    /// `probe`.
    kind: &'static str,
    /// The file that the lab was made from, as it was named.
    topology: &'p str,
    /// In the order in which they are sent.
    probes: Vec<OneJson<'p>>,
}

#[derive(Serialize, JsonSchema)]
struct OneJson<'p> {
    /// Its name.
    name: &'p str,
    /// Who and whom.
    pair: &'p str,
    /// What somebody would gain by it.
    threat: &'static str,
    /// What should become of it, by the intent.
    expected: Expected,
    /// The change of the host that goes before it; null for none.
    change: Option<Change>,
    /// Absent with --list.
    #[serde(skip_serializing_if = "Option::is_none")]
    observed: Option<Observation>,
}

pub(super) fn run(args: &Args, output: &mut Output) -> Result<Exit, Failure> {
    let session = Session::current().map_err(|error| {
        Failure::new("probes are sent on the host of a lab only")
            .because(error.to_string())
            .exit(Exit::Usage)
            .hint(format!(
                "start a lab, and this in it:\n        isoplan lab TOPOLOGY -- isoplan probe {}",
                if args.list { "--list" } else { "NAME..." }
            ))
    })?;
    let topology = parse(&session.file, session.text.as_bytes())
        .map_err(|_| Failure::new("cannot read the topology of this lab a second time"))?;
    let intent = Intent::new(&topology);
    let world = World::new(&intent);
    let probes = chosen(args, catalogue::probes(&intent, &world, Extent::Full))?;
    let observed: Vec<Option<Observation>> = if args.list {
        probes.iter().map(|_| None).collect()
    } else {
        let mut observed = elsewhere(&session, &probes)?;
        let here: Vec<Probe> =
            probes.iter().filter(|probe| !observed.contains_key(&probe.name)).cloned().collect();
        let failed = |error: io::Error| Failure::new("cannot send probes here").because(error.to_string());
        if !here.is_empty() {
            observed.extend(send(world, &here).map_err(failed)?);
        }
        probes.iter().map(|probe| observed.remove(&probe.name)).collect()
    };
    let exit = exit(&probes, &observed);
    if args.json {
        let both = probes.iter().zip(observed);
        let each = both.map(|(probe, observed)| OneJson {
            name: &probe.name,
            pair: &probe.pair,
            threat: probe.threat,
            expected: probe.expected,
            change: probe.change,
            observed,
        });
        output.json(&ProbeJson {
            version: JSON_VERSION,
            kind: "probe",
            topology: &topology.file,
            probes: each.collect(),
        })?;
    } else {
        for (probe, observed) in probes.iter().zip(&observed) {
            output.data(&text(probe, observed.as_ref()))?;
        }
    }
    Ok(exit)
}

/// The probes that the names mean, in the order of the catalogue; without names, all. Each name has to mean one.
/// A pattern that fits probes of every kind means those without a change of the host: each change takes a lab.
fn chosen(args: &Args, all: Vec<Probe>) -> Result<Vec<Probe>, Failure> {
    let mut meant: BTreeSet<&str> = BTreeSet::new();
    for name in &args.names {
        let fitting = || all.iter().filter(|probe| fits(name, &probe.name));
        if fitting().next().is_none() {
            return Err(Failure::new(format!("no probe has a name that fits `{name}`"))
                .exit(Exit::Usage)
                .hint("see which there are: isoplan probe --list"));
        }
        let has_plain = fitting().any(|probe| probe.change.is_none());
        let fitting = fitting().filter(|probe| probe.change.is_none() || !has_plain);
        meant.extend(fitting.map(|probe| probe.name.as_str()));
    }
    let is_meant: Vec<bool> =
        all.iter().map(|probe| args.names.is_empty() || meant.contains(probe.name.as_str())).collect();
    Ok(all.into_iter().zip(is_meant).filter_map(|(probe, is_meant)| is_meant.then_some(probe)).collect())
}

/// Sends those that need a lab of their own: something has to be so before the approach is applied, or the host is
/// changed, which would stay so.
fn elsewhere(session: &Session, probes: &[Probe]) -> Result<BTreeMap<String, Observation>, Failure> {
    let mut by_change: BTreeMap<Option<Change>, Vec<String>> = BTreeMap::new();
    for probe in probes {
        let is_early = matches!(probe.sending, Sending::Established { .. });
        if probe.change.is_some() || is_early && session.approach != Approach::None {
            by_change.entry(probe.change).or_default().push(probe.name.clone());
        }
    }
    if by_change.is_empty() {
        return Ok(BTreeMap::new());
    }
    let jobs: Vec<Job> = by_change
        .into_iter()
        .map(|(change, probes)| Job {
            file: session.file.clone(),
            text: session.text.clone(),
            approach: session.approach,
            change,
            probes,
            is_traced: false,
            cpu: 0,
        })
        .collect();
    Ok(lab::run::run(&jobs, &mut |_| ())?.into_iter().flatten().collect())
}

/// Sends the others here.
fn send(world: World, probes: &[Probe]) -> io::Result<BTreeMap<String, Observation>> {
    let lab = Lab::attach(world)?;
    let mut prober = Prober::start(&lab)?;
    prober.prepare(&lab, probes);
    Ok(prober.run_all(&lab, probes))
}

/// What went through or broke counts more than what could not be tested.
fn exit(probes: &[Probe], observed: &[Option<Observation>]) -> Exit {
    let mut exit = Exit::Done;
    for (probe, observation) in probes.iter().zip(observed) {
        let Some(observation) = observation else { continue };
        match Verdict::of(probe.expected, &observation.outcome, Some(&Outcome::Delivered)) {
            Verdict::Leak | Verdict::Broken => return Exit::Leak,
            Verdict::CouldNotTest => exit = Exit::Failed,
            _ => {}
        }
    }
    exit
}

fn text(probe: &Probe, observed: Option<&Observation>) -> String {
    let expected = match probe.expected {
        Expected::Blocked => "should be blocked",
        Expected::Answered => "should be answered",
        Expected::Delivered => "should arrive",
        Expected::Residual => "arrives whatever isoplan does",
        Expected::Unjudged => "not judged",
    };
    let Some(observed) = observed else {
        return format!("{}  {} ({expected})\n", probe.name, probe.pair);
    };
    let outcome = match &observed.outcome {
        Outcome::Answered => "arrived, and was answered".to_owned(),
        Outcome::Delivered => "arrived, and was not answered".to_owned(),
        Outcome::Blocked => "blocked".to_owned(),
        Outcome::CouldNotTest(why) => format!("could not test: {why}"),
    };
    let mut text = format!("{}: {outcome} ({expected})\n", probe.name);
    let mut line = |what: &str, value: &str| text.push_str(&format!("  {what:<9}{value}\n"));
    if !observed.sent.is_empty() {
        line("sent", &observed.sent);
    }
    if let Some(link) = &observed.came_in {
        line("came in", link);
    }
    if !observed.left_by.is_empty() {
        line("left by", &observed.left_by.join(", "));
    }
    for seen in &observed.seen {
        let end = |address: std::net::IpAddr, port: Option<u16>| match port {
            Some(port) => std::net::SocketAddr::new(address, port).to_string(),
            None => address.to_string(),
        };
        let to = seen.destination.map(|to| format!(" -> {}", end(to, seen.destination_port)));
        let from = end(seen.source, seen.source_port);
        let (at, after) = (&seen.node, seen.after_us);
        line("seen at", &format!("{at}: {from}{}, after {after} us", to.unwrap_or_default()));
    }
    text
}
