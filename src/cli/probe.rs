//! `isoplan probe`

use std::io;

use serde::Serialize;

use super::Output;
use crate::error::{Exit, Failure};
use crate::intent::Intent;
use crate::lab::build::Lab;
use crate::lab::isolate;
use crate::lab::prober::Prober;
use crate::lab::session::Session;
use crate::plan::JSON_VERSION;
use crate::topology::parse;
use crate::verify::catalogue::{self, Extent};
use crate::verify::outcome::{Expected, Observation, Outcome};
use crate::verify::pattern::fits;
use crate::verify::probe::Probe;
use crate::verify::world::World;

/// Sends probes between the peers of the lab that it is run in, and tells what became of each: what was
/// sent, where it came in, and where it was seen with which source. It runs on the host of a lab only,
/// see `isoplan help lab`, and probes what is in place there at that moment. Exits with 3 when a probe
/// arrives that should be blocked.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Names of probes; * and ? stand for any characters and any one
    #[arg(value_name = "NAME", required_unless_present = "list")]
    names: Vec<String>,
    /// List the probes of this lab, those with these names or all, and send none
    #[arg(long)]
    list: bool,
    /// Print the result as JSON (docs/json.md)
    #[arg(long)]
    json: bool,
}

#[derive(Serialize)]
struct ProbeJson<'p> {
    version: u32,
    kind: &'static str,
    topology: &'p str,
    probes: Vec<OneJson<'p>>,
}

#[derive(Serialize)]
struct OneJson<'p> {
    name: &'p str,
    pair: &'p str,
    threat: &'static str,
    expected: Expected,
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
    let observed = if args.list {
        probes.iter().map(|_| None).collect()
    } else {
        let failed = |error: io::Error| Failure::new("cannot send probes here").because(error.to_string());
        send(world, &probes).map_err(failed)?.into_iter().map(Some).collect::<Vec<_>>()
    };
    let exit = exit(&probes, &observed);
    if args.json {
        let both = probes.iter().zip(observed);
        let each = both.map(|(probe, observed)| OneJson {
            name: &probe.name,
            pair: &probe.pair,
            threat: probe.threat,
            expected: probe.expected,
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

/// The probes that the names mean, in the order of the catalogue. Each name has to mean one.
fn chosen(args: &Args, all: Vec<Probe>) -> Result<Vec<Probe>, Failure> {
    let is_named = |probe: &Probe| args.names.iter().any(|name| fits(name, &probe.name));
    for name in &args.names {
        let mut named = all.iter().filter(|probe| fits(name, &probe.name)).peekable();
        if named.peek().is_none() {
            return Err(Failure::new(format!("no probe is named {name}"))
                .exit(Exit::Usage)
                .hint("see which there are: isoplan probe --list"));
        }
        if named.all(|probe| probe.change.is_some()) {
            return Err(Failure::new(format!(
                "{name} comes after a change of the host, which is not made here"
            ))
            .exit(Exit::Usage)
            .hint("isoplan compare makes each change in a lab of its own"));
        }
    }
    let here = all.into_iter().filter(|probe| probe.change.is_none());
    Ok(here.filter(|probe| args.names.is_empty() || is_named(probe)).collect())
}

fn send(world: World, probes: &[Probe]) -> io::Result<Vec<Observation>> {
    isolate::raise_open_files()?;
    let lab = Lab::attach(world)?;
    let mut prober = Prober::start(&lab)?;
    prober.prepare(&lab, probes);
    Ok(probes.iter().map(|probe| prober.run(&lab, probe)).collect())
}

/// What should be blocked and arrives counts more than what could not be tested.
fn exit(probes: &[Probe], observed: &[Option<Observation>]) -> Exit {
    let mut exit = Exit::Done;
    for (probe, observation) in probes.iter().zip(observed) {
        match observation.as_ref().map(|observation| &observation.outcome) {
            Some(outcome) if outcome.arrived() && probe.expected == Expected::Blocked => return Exit::Leak,
            Some(Outcome::CouldNotTest(_)) => exit = Exit::Failed,
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
