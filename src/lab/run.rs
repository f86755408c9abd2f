//! Many labs: running them side by side.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, Read as _};
use std::os::fd::AsFd as _;
use std::process::{ChildStderr, ChildStdout, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use super::isolate::{self, Inside, STAGE};
use super::worker::{Job, Said};
use crate::error::Failure;
use crate::topology::{Topology, parse};
use crate::verify::outcome::Observation;

/// A worker that says nothing for so long hangs: this, and as much again for every so many networks and NICs,
/// because a lab says nothing while it is being built. Far above what any step needs: a limit, not a measure.
const SILENCE: (Duration, usize) = (Duration::from_secs(60), 50);

/// What a worker may say on stderr before the rest is dropped.
const STDERR_AT_MOST: usize = 16 * 1024;

/// Runs jobs side by side, as many at a time as there are CPUs, each on another one whatever the job says;
/// calls `progress` with how many probes are done after each one. The observations of each job, by the name of
/// the probe: every probe of a job is in it, as one that could not be tested where the lab failed.
///
/// # Errors
///
/// When no lab can be made here at all: with the hint and the exit code for it.
pub fn run(
    jobs: &[Job],
    progress: &mut dyn FnMut(usize),
) -> Result<Vec<BTreeMap<String, Observation>>, Failure> {
    run_with_limit(jobs, None, progress)
}

/// The same with another limit on how long a worker may say nothing.
///
/// # Errors
///
/// As [`run`].
pub fn run_with_limit(
    jobs: &[Job],
    limit: Option<Duration>,
    progress: &mut dyn FnMut(usize),
) -> Result<Vec<BTreeMap<String, Observation>>, Failure> {
    isolate::check()?;
    let workers = thread::available_parallelism().map_or(1, usize::from).min(jobs.len());
    let next = AtomicUsize::new(0);
    let mut results: Vec<BTreeMap<String, Observation>> = vec![BTreeMap::new(); jobs.len()];
    let mut done = 0;
    thread::scope(|scope| {
        let (send, receive) = mpsc::channel();
        for cpu in 0..workers {
            let (send, next) = (send.clone(), &next);
            scope.spawn(move || {
                while let Some((index, job)) = take(jobs, next) {
                    let mut job = job.clone();
                    job.cpu = cpu;
                    // Nobody listens any more only where the whole is ending.
                    let each = |name, observation| drop(send.send((index, name, observation)));
                    one(&job, limit.unwrap_or_else(|| silence(&job)), each);
                }
            });
        }
        drop(send);
        for (index, name, observation) in receive {
            results[index].insert(name, observation);
            done += 1;
            progress(done);
        }
    });
    Ok(results)
}

fn silence(job: &Job) -> Duration {
    let (base, links) = SILENCE;
    let count = |topology: Topology| topology.networks.len() + topology.nics.len();
    let count = parse(&job.file, job.text.as_bytes()).map_or(0, count);
    base.saturating_mul(u32::try_from(1 + count / links).unwrap_or(u32::MAX))
}

fn take<'j>(jobs: &'j [Job], next: &AtomicUsize) -> Option<(usize, &'j Job)> {
    let index = next.fetch_add(1, Ordering::Relaxed);
    jobs.get(index).map(|job| (index, job))
}

/// Runs one job and tells what became of each of its probes, once each.
fn one(job: &Job, silence: Duration, mut each: impl FnMut(String, Observation)) {
    let mut missing: BTreeSet<&str> = job.probes.iter().map(String::as_str).collect();
    let ended = worker(job, silence, |name, observation| {
        // What was not asked for, or was said before, counts for nothing.
        if missing.remove(name.as_str()) {
            each(name, observation);
        }
    });
    let why = ended.err().unwrap_or_else(|| "the lab said nothing of it".to_owned());
    for name in missing {
        each(name.to_owned(), Observation::unknown(why.clone()));
    }
}

/// Starts a worker for a job and listens to it until it ends. The error is why it did not do all of it.
fn worker(job: &Job, silence: Duration, observed: impl FnMut(String, Observation)) -> Result<(), String> {
    let stdin = isolate::document("job", job).map_err(|error| format!("cannot start a lab: {error}"))?;
    let started = isolate::start(&[STAGE, "work"], stdin.into(), Stdio::piped(), Stdio::piped());
    let mut inside = started.map_err(|error| format!("cannot start a lab: {error}"))?;
    let (Some(stdout), Some(stderr)) = (inside.child.stdout.take(), inside.child.stderr.take()) else {
        return Err("cannot hear the lab".to_owned());
    };
    let mut heard = Heard { lines: Vec::new(), ended: None, stderr: Vec::new(), observed };
    heard.listen(stdout, stderr, silence).map_err(|error| format!("cannot hear the lab: {error}"))?;
    let Heard { ended, stderr, .. } = heard;
    match ended {
        Some(ended) => ended,
        None => Err(how_it_ended(inside, &stderr)),
    }
}

fn how_it_ended(mut inside: Inside, stderr: &[u8]) -> String {
    let said = String::from_utf8_lossy(stderr).trim().to_owned();
    match inside.child.wait() {
        Ok(status) if said.is_empty() => format!("the lab ended with code {}", isolate::code(status)),
        Ok(_) => said,
        Err(error) => format!("the lab ended: {error}"),
    }
}

/// What a worker has said so far.
struct Heard<F> {
    /// Bytes of a line that is not complete.
    lines: Vec<u8>,
    ended: Option<Result<(), String>>,
    stderr: Vec<u8>,
    observed: F,
}

impl<F: FnMut(String, Observation)> Heard<F> {
    /// Until stdout ends, or nothing comes for so long.
    fn listen(
        &mut self,
        mut stdout: ChildStdout,
        stderr: ChildStderr,
        silence: Duration,
    ) -> Result<(), io::Error> {
        let mut stderr = Some(stderr);
        let mut last = Instant::now();
        let mut bytes = vec![0; 64 * 1024];
        loop {
            let left = silence.saturating_sub(last.elapsed());
            let mut waited = vec![PollFd::new(stdout.as_fd(), PollFlags::POLLIN)];
            waited.extend(stderr.as_ref().map(|pipe| PollFd::new(pipe.as_fd(), PollFlags::POLLIN)));
            // Rounded up, so that no time is left when it returns without an event.
            let timeout = PollTimeout::try_from(left + Duration::from_millis(1)).unwrap_or(PollTimeout::MAX);
            match poll(&mut waited, timeout) {
                Ok(_) | Err(Errno::EINTR) => {}
                Err(error) => return Err(error.into()),
            }
            let [said, complained] = [0, 1].map(|at| waited.get(at).and_then(PollFd::any) == Some(true));
            drop(waited);
            if complained && let Some(pipe) = &mut stderr {
                match pipe.read(&mut bytes)? {
                    0 => stderr = None,
                    length => {
                        let room = STDERR_AT_MOST.saturating_sub(self.stderr.len());
                        self.stderr.extend_from_slice(&bytes[..length.min(room)]);
                    }
                }
            }
            if said {
                let length = stdout.read(&mut bytes)?;
                if length == 0 {
                    // What it complained of last is there by now: the same process wrote it before it ended.
                    if let Some(mut pipe) = stderr {
                        let room = STDERR_AT_MOST.saturating_sub(self.stderr.len());
                        pipe.by_ref().take(room as u64).read_to_end(&mut self.stderr)?;
                    }
                    return Ok(());
                }
                last = Instant::now();
                self.take(&bytes[..length]);
            } else if last.elapsed() >= silence {
                let why = format!("the lab said nothing for {} s", silence.as_secs());
                self.ended = Some(Err(why));
                return Ok(());
            }
        }
    }

    fn take(&mut self, bytes: &[u8]) {
        self.lines.extend_from_slice(bytes);
        while let Some(end) = self.lines.iter().position(|byte| *byte == b'\n') {
            let line: Vec<u8> = self.lines.drain(..=end).collect();
            match serde_json::from_slice(&line) {
                Ok(Said::Observed { probe, observation }) => (self.observed)(probe, observation),
                Ok(Said::Ended(why)) => self.ended = Some(why.map_or(Ok(()), Err)),
                Err(error) => self.ended = Some(Err(format!("the lab said something else: {error}"))),
            }
        }
    }
}
