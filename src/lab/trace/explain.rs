//! A lab for one question: `isoplan lab-stage explain`.

use std::io::{self, Read as _};
use std::process::Stdio;

use serde::{Deserialize, Serialize};

use super::{Failed, told};
use crate::approach::Approach;
use crate::error::Failure;
use crate::intent::Intent;
use crate::lab::build::{Lab, Options};
use crate::lab::isolate::{self, STAGE};
use crate::lab::prober::Prober;
use crate::lab::protect;
use crate::topology::parse;
use crate::verify::explanation::{Asked, Explanation, prepare};
use crate::verify::world::World;

/// A question, and the lab to ask it in. Goes to the process inside as JSON.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Request {
    /// The name of the topology file, for places in it.
    pub file: String,
    /// The text of it, which was checked before.
    pub text: String,
    /// Which approach is applied.
    pub approach: Approach,
    /// The question, which was understood before.
    pub asked: Asked,
}

/// What the process inside says: the story, or why there is none.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Reply {
    Explained(Box<Explanation>),
    Failed(String),
}

/// Builds a lab, sends the packet, and tells its story.
///
/// # Errors
///
/// When no lab can be made here, or it failed.
pub fn explain(request: &Request) -> Result<Explanation, Failure> {
    isolate::check()?;
    let failed = |why: String| Failure::new("the lab failed; nothing is known").because(why);
    let stdin = isolate::document("request", request).map_err(|error| failed(error.to_string()))?;
    let started = isolate::start(&[STAGE, "explain"], stdin.into(), Stdio::piped(), Stdio::piped());
    let mut inside = started.map_err(|error| failed(error.to_string()))?;
    let (mut said, mut complained) = (String::new(), String::new());
    if let Some(stdout) = &mut inside.child.stdout {
        stdout.read_to_string(&mut said).map_err(|error| failed(error.to_string()))?;
    }
    if let Some(stderr) = &mut inside.child.stderr {
        // What came before an error is worth more than the error.
        let _ = stderr.read_to_string(&mut complained);
    }
    match serde_json::from_str(&said) {
        Ok(Reply::Explained(explanation)) => Ok(*explanation),
        Ok(Reply::Failed(why)) => Err(failed(why)),
        Err(_) if !complained.trim().is_empty() => Err(failed(complained.trim().to_owned())),
        Err(error) => Err(failed(format!("it said something else: {error}"))),
    }
}

/// Reads a request, carries it out, and gives the story as the process outside understands it.
///
/// # Errors
///
/// When it cannot be read, or outside of namespaces of our own; a lab that fails is a part of what it gives.
pub fn work(mut request: impl io::Read) -> io::Result<Vec<u8>> {
    isolate::require()?;
    let mut text = Vec::new();
    request.read_to_end(&mut text)?;
    let reply = match carry_out(&serde_json::from_slice(&text)?) {
        Ok(explanation) => Reply::Explained(Box::new(explanation)),
        Err(why) => Reply::Failed(why),
    };
    Ok(serde_json::to_vec(&reply)?)
}

fn carry_out(request: &Request) -> Result<Explanation, String> {
    let failed = |what: &'static str| move |error: io::Error| format!("{what}: {error}");
    let topology = parse(&request.file, request.text.as_bytes()).map_err(|refused| {
        refused.mistakes.first().map_or_else(String::new, |first| first.message.clone())
    })?;
    let intent = Intent::new(&topology);
    let mut world = World::new(&intent);
    let prepared = prepare(&intent, &mut world, &request.asked).map_err(|refused| refused.message)?;
    let masquerades = protect::engine_masquerades(&intent, request.approach);
    let options = Options { engine_masquerades: masquerades, cpu: 0 };
    let lab = Lab::start(world, options).map_err(failed("cannot build the lab"))?;
    protect::load_engine(&lab, &intent, masquerades)
        .map_err(failed("cannot load the container engine's rules"))?;
    let mut prober = Prober::start(&lab).map_err(failed("cannot open the captures"))?;
    prober.prepare(&lab, std::slice::from_ref(&prepared.probe));
    protect::apply(&lab, &intent, request.approach).map_err(failed("cannot apply the approach"))?;
    let (observation, told) =
        told(&lab, &mut prober, &intent, &prepared.probe).map_err(|failure| match failure {
            Failed::Before(error) | Failed::After(_, error) => format!("cannot trace: {error}"),
        })?;
    Ok(Explanation {
        from: prepared.from,
        to: prepared.to,
        approach: request.approach,
        intended: prepared.intended,
        is_answerable: prepared.probe.is_answerable,
        observation,
        told,
        notes: prepared.notes,
    })
}
