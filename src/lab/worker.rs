//! The process inside a lab that carries out one job and tells what it saw: `isoplan lab-stage work`.

use std::any::Any;
use std::collections::BTreeMap;
use std::io::{self, Read, Write};
use std::panic::{AssertUnwindSafe, catch_unwind};

use serde::{Deserialize, Serialize};

use super::build::{Lab, Options};
use super::prober::Prober;
use super::{change, isolate, protect, trace};
use crate::approach::Approach;
use crate::intent::Intent;
use crate::topology::parse;
use crate::verify::catalogue::{self, Extent};
use crate::verify::change::Change;
use crate::verify::outcome::Observation;
use crate::verify::probe::Probe;
use crate::verify::world::World;

/// One lab: an approach, a change of the host, and probes. Goes to the worker's stdin as JSON.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Job {
    /// The name of the topology file, for messages.
    pub file: String,
    /// The text of it. Layout and probes are computed from it again, and come out the same.
    pub text: String,
    /// Which approach is applied.
    pub approach: Approach,
    /// Which change goes before the probes.
    pub change: Option<Change>,
    /// The names of the probes, in the order of sending.
    pub probes: Vec<String>,
    /// Whether what decided about each probe is traced.
    pub is_traced: bool,
    /// A CPU to stay on: the how manieth of those that are allowed.
    pub cpu: usize,
}

/// What a worker says, a line of JSON each.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Said {
    /// What became of a probe.
    Observed {
        /// Its name.
        probe: String,
        /// What was seen of it.
        observation: Observation,
    },
    /// It is over; `None` when nothing failed.
    Ended(Option<String>),
}

/// Reads a job, does it, and writes what it saw.
///
/// # Errors
///
/// When reading or writing fails; a lab that fails is told.
pub fn work(input: &mut dyn Read, output: &mut dyn Write) -> io::Result<()> {
    isolate::require()?;
    let mut text = Vec::new();
    input.read_to_end(&mut text)?;
    let job: Job = serde_json::from_slice(&text)?;
    // A panic says nothing about the packets.
    let ended = catch_unwind(AssertUnwindSafe(|| carry_out(&job, output)))
        .unwrap_or_else(|panic| Err(format!("isoplan failed in the lab: {}", words(panic.as_ref()))));
    say(output, &Said::Ended(ended.err()))
}

fn carry_out(job: &Job, output: &mut dyn Write) -> Result<(), String> {
    let topology = parse(&job.file, job.text.as_bytes()).map_err(|refused| {
        refused.mistakes.first().map_or_else(String::new, |first| first.message.clone())
    })?;
    let intent = Intent::new(&topology);
    let world = World::new(&intent);
    let mut known: BTreeMap<String, Probe> = catalogue::probes(&intent, &world, Extent::Full)
        .into_iter()
        .map(|probe| (probe.name.clone(), probe))
        .collect();
    let mut probes = Vec::new();
    for name in &job.probes {
        match known.remove(name) {
            Some(probe) => probes.push(probe),
            None => observed(output, name, Observation::unknown("there is no such probe"))?,
        }
    }
    let approach = job.approach;
    let masquerades = protect::engine_masquerades(&intent, approach);
    let failed = |what: &'static str| move |error: io::Error| format!("{what}: {error}");
    let options = Options { engine_masquerades: masquerades, cpu: job.cpu };
    let mut lab = Lab::start(world, options).map_err(failed("cannot build the lab"))?;
    protect::load_engine(&lab, &intent, masquerades)
        .map_err(failed("cannot load the container engine's rules"))?;
    let mut prober = Prober::start(&lab).map_err(failed("cannot open the captures"))?;
    if let Some(change) = job.change {
        change::before_apply(&mut lab, &intent, change).map_err(failed("cannot prepare the change"))?;
    }
    prober.prepare(&lab, &probes);
    protect::apply(&lab, &intent, approach).map_err(failed("cannot apply the approach"))?;
    let witnessed = match job.change {
        Some(change) => change::after_apply(&mut lab, &mut prober, &intent, approach, change)
            .map_err(failed("cannot change the host"))?,
        None => Vec::new(),
    };
    for probe in &probes {
        let observation = if job.is_traced {
            trace::traced(&lab, &mut prober, &intent, probe)
        } else {
            prober.run(&lab, probe)
        };
        observed(output, &probe.name, change::with_witnessed(probe, observation, &witnessed))?;
    }
    Ok(())
}

fn observed(output: &mut dyn Write, name: &str, observation: Observation) -> Result<(), String> {
    say(output, &Said::Observed { probe: name.to_owned(), observation }).map_err(|error| error.to_string())
}

fn say(output: &mut dyn Write, said: &Said) -> io::Result<()> {
    let mut line = serde_json::to_string(said)?;
    line.push('\n');
    output.write_all(line.as_bytes())?;
    output.flush()
}

/// The message of a panic.
fn words(panic: &(dyn Any + Send)) -> &str {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    text.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("panicked")
}
