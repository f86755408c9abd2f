//! Running programs and noting what they took.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};
use std::time::{Duration, Instant};

use nix::sys::resource::{UsageWho, getrusage};
use nix::sys::time::{TimeVal, TimeValLike as _};

use super::Result;
use super::lab;
use super::lab::program::Program;
use super::options::Options;
use super::report::{Key, Report, Series, Unit, VERSION};

/// What a finished process took, by the kernel's account of it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Took {
    /// From before it was started until it was reaped.
    pub(crate) wall: Duration,
    /// In user space.
    pub(crate) user: Duration,
    /// In the kernel.
    pub(crate) system: Duration,
    /// The most memory it had at once, in KiB.
    pub(crate) memory: u64,
}

impl Took {
    /// Time on a processor.
    pub(crate) fn cpu(&self) -> Duration {
        self.user + self.system
    }
}

/// A run of the benchmark: what it measures with, and what it has measured.
pub(crate) struct Bench {
    pub(crate) quick: bool,
    pub(crate) smoke: bool,
    isoplan: PathBuf,
    report: Report,
}

impl Bench {
    pub(crate) fn new(options: &Options) -> Result<Self> {
        let isoplan = options.isoplan.clone().unwrap_or_else(|| env!("CARGO_BIN_EXE_isoplan").into());
        if !isoplan.is_file() {
            return Err(format!("there is no isoplan at {}", isoplan.display()).into());
        }
        let report = Report {
            version: VERSION,
            quick: options.quick || options.smoke,
            machine: BTreeMap::new(),
            series: Vec::new(),
        };
        Ok(Self { quick: options.quick, smoke: options.smoke, isoplan, report })
    }

    /// isoplan, in a directory of its own, which it also keeps its state in.
    pub(crate) fn isoplan(&self) -> Result<Program> {
        let path = self.isoplan.to_str().ok_or("the path of isoplan is not text")?;
        Ok(Program::new(path)?)
    }

    /// Where it is.
    pub(crate) fn isoplan_path(&self) -> &Path {
        &self.isoplan
    }

    /// This program, for parts of it that are to be processes of their own.
    pub(crate) fn own_path() -> Result<PathBuf> {
        Ok(std::env::current_exe()?)
    }

    /// The numbers of networks to measure with.
    pub(crate) const fn sizes(&self) -> &'static [usize] {
        match (self.smoke, self.quick) {
            (true, _) => &[10],
            (_, true) => &[10, 10_000],
            _ => &[1, 10, 100, 1_000, 10_000],
        }
    }

    /// How often to do something, where a full run does it that often.
    pub(crate) const fn repetitions(&self, full: usize) -> usize {
        match (self.smoke, self.quick) {
            (true, _) => 1,
            (_, true) => {
                if full > 3 {
                    3
                } else {
                    full
                }
            }
            _ => full,
        }
    }

    /// Notes one sample.
    pub(crate) fn record(&mut self, key: Key, unit: Unit, value: f64) {
        match self.report.series.iter_mut().find(|series| series.key == key) {
            Some(series) => series.samples.push(value),
            None => self.report.series.push(Series { key, unit, samples: vec![value] }),
        }
    }

    /// Notes what a process took: its `wall`, `user`, `system` and `cpu` time, and its `memory`.
    pub(crate) fn record_process(&mut self, section: &str, work: &str, size: usize, who: &str, took: Took) {
        let times = [("wall", took.wall), ("user", took.user), ("system", took.system), ("cpu", took.cpu())];
        for (figure, time) in times {
            self.record(key(section, work, size, who, figure), Unit::Milliseconds, time.as_secs_f64() * 1e3);
        }
        let memory = took.memory as f64 / 1024.0;
        self.record(key(section, work, size, who, "memory"), Unit::Mebibytes, memory);
    }

    /// Notes something about the machine or a program.
    pub(crate) fn note(&mut self, what: &str, value: impl Into<String>) {
        self.report.machine.insert(what.to_owned(), value.into());
    }

    /// What was measured so far.
    pub(crate) const fn report(&self) -> &Report {
        &self.report
    }

    pub(crate) fn finish(self) -> Report {
        self.report
    }
}

pub(crate) fn key(section: &str, work: &str, size: usize, who: &str, figure: &str) -> Key {
    let [section, work, who, figure] = [section, work, who, figure].map(str::to_owned);
    Key { section, work, size, who, figure }
}

/// Runs a program to its end and says what it took. What it prints goes nowhere but into the error when it fails.
///
/// The kernel's account of a child that was waited for (getrusage(2), `RUSAGE_CHILDREN`) is a sum, and its memory
/// the largest of all. So each is run by a process of its own, this program again, which has no other child.
pub(crate) fn run(command: &mut Command) -> Result<Took> {
    let mut reaper = Command::new(std::env::current_exe()?);
    reaper.arg(REAP).arg(command.get_program()).args(command.get_args());
    if let Some(directory) = command.get_current_dir() {
        reaper.current_dir(directory);
    }
    // A rival finds its programs as this one does.
    reaper.env_clear().env("PATH", lab::node::PATH);
    for (name, value) in command.get_envs() {
        match value {
            Some(value) => reaper.env(name, value),
            None => reaper.env_remove(name),
        };
    }
    told(reaper)
}

/// Runs a command that ends in the process that [`reap`] is, and hears from it what that took.
pub(crate) fn told(mut command: Command) -> Result<Took> {
    let output = command.stdin(Stdio::null()).output()?;
    let told = String::from_utf8_lossy(&output.stdout);
    let numbers: Vec<u64> = told.split_whitespace().filter_map(|word| word.parse().ok()).collect();
    let &[wall, user, system, memory] = numbers.as_slice() else {
        let said = String::from_utf8_lossy(&output.stderr);
        return Err(format!("{command:?} failed: {}", said.trim_end()).into());
    };
    let [wall, user, system] = [wall, user, system].map(Duration::from_nanos);
    Ok(Took { wall, user, system, memory })
}

/// The first argument of a process that runs one other and tells what that took.
pub(crate) const REAP: &str = "reap";

/// That process.
pub(crate) fn reap(mut command: impl Iterator<Item = OsString>) -> Result<ExitCode> {
    let program = command.next().ok_or("nothing to run")?;
    let started = Instant::now();
    let mut child = Command::new(program).args(command).stdin(Stdio::null()).stdout(Stdio::null()).spawn()?;
    let status = child.wait()?;
    let wall = started.elapsed();
    if !status.success() {
        return Err(status.to_string().into());
    }
    let usage = getrusage(UsageWho::RUSAGE_CHILDREN)?;
    let nanoseconds = |time: TimeVal| time.num_microseconds() * 1000;
    println!(
        "{} {} {} {}",
        wall.as_nanos(),
        nanoseconds(usage.user_time()),
        nanoseconds(usage.system_time()),
        usage.max_rss()
    );
    Ok(ExitCode::SUCCESS)
}
