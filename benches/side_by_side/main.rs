//! isoplan and its rivals, side by side: the same work in the same namespaces, in turns, as ratios.
//!
//! `make bench` runs all of it and writes `docs/performance.json`, from which `docs/performance.md` and its plots
//! are made; `make bench-quick` measures less of it. Nothing of the machine's own network is touched.
//!
//! ```text
//! sections (apply, change, nothing, packets, verbs, lab) --record--> Report --bars--> verdicts
//!                                                                       \--document--> docs/performance.md
//! ```

#![expect(
    clippy::print_stderr,
    clippy::print_stdout,
    reason = "a benchmark says what it does and what it found"
)]

mod bars;
mod document;
mod floor;
mod ground;
#[path = "../../tests/lab/mod.rs"]
#[allow(dead_code, unused_imports, reason = "the benchmarks and the tests each use a part of it")]
mod lab;
mod machine;
mod measure;
mod options;
mod print;
mod report;
mod rivals;
mod sections;
mod sizes;

use std::error::Error;
use std::fs;
use std::path::Path;
use std::process::ExitCode;
use std::time::Instant;

use nix::sched::{CloneFlags, unshare};

use lab::isolate::{self, Privilege, Streams};

use self::measure::Bench;
use self::options::Options;
use self::report::Report;

/// What the process inside its namespaces is called.
const NAME: &str = "side-by-side";

/// What a section returns: a benchmark that cannot measure says why, and nothing is written.
type Result<T> = std::result::Result<T, Box<dyn Error>>;

fn main() -> ExitCode {
    let mut arguments = std::env::args_os().skip(1);
    let result = match arguments.next() {
        Some(first) if first == floor::FLOOR => floor::main(arguments),
        Some(first) if first == measure::REAP => measure::reap(arguments),
        _ if isolate::is_inside(NAME) => run_inside(),
        _ => run_isolated(),
    };
    result.unwrap_or_else(|error| {
        eprintln!("error: {error}");
        ExitCode::FAILURE
    })
}

/// Starts this program again in namespaces of its own.
fn run_isolated() -> Result<ExitCode> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    // Before anything is made: help and mistakes.
    let options = Options::read();
    if let Some(path) = &options.document {
        write_document(path)?;
        return Ok(ExitCode::SUCCESS);
    }
    machine::check()?;
    if let Some(reason) = isolate::unavailable() {
        return Err(format!("cannot make namespaces: {reason}\n\nhint: run it as root").into());
    }
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let mut child = isolate::start(&arguments, NAME, Privilege::RootIfPossible, Streams::Inherited)?;
    // The process inside lives as long as this pipe is open; `wait` alone would close it.
    let _held = child.stdin.take();
    Ok(if child.wait()?.success() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn run_inside() -> Result<ExitCode> {
    let options = Options::read();
    isolate::prepare()?;
    let mut bench = Bench::new(&options)?;
    machine::note(&mut bench)?;
    let started = Instant::now();
    for section in sections::ALL {
        if options.measures(section.name) {
            let seconds = started.elapsed().as_secs();
            eprintln!("== {}: {} ({seconds} s)", section.name, section.title);
            // What one section leaves in the kernel slows down no other.
            unshare(CloneFlags::CLONE_NEWNET)?;
            (section.run)(&mut bench).map_err(|error| format!("{}: {error}", section.name))?;
        }
    }
    bench.note("took", format!("{} s", started.elapsed().as_secs()));
    let report = bench.finish();
    if let Some(path) = &options.json {
        report.write(path)?;
        write_document(path)?;
    }
    println!("{}\n\n{}", print::times(&report), print::bars(&report));
    Ok(ExitCode::SUCCESS)
}

/// Writes the document of a JSON file next to it, and its plots into a directory of the same name.
fn write_document(json: &Path) -> Result<()> {
    let directory = json.parent().unwrap_or(Path::new(""));
    for (name, text) in document::files(&Report::read(json)?)? {
        let path = directory.join(name);
        if let Some(directory) = path.parent() {
            fs::create_dir_all(directory)?;
        }
        fs::write(path, text)?;
    }
    Ok(())
}
