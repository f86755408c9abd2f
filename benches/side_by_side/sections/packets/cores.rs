//! Which core does what, and how busy each is.

use std::fs;
use std::time::{Duration, Instant};

use nix::sched::{CpuSet, sched_getaffinity, sched_setaffinity};
use nix::unistd::{Pid, SysconfVar, sysconf};

use super::super::super::Result;
use super::super::super::lab::build::pin_thread;

/// The cores that the benchmark uses; one and the same where there is no other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Cores {
    /// Where containers and servers send and receive.
    pub(super) ends: usize,
    /// Where the host forwards.
    pub(super) host: usize,
}

impl Cores {
    /// The first two that this process may run on.
    pub(super) fn choose() -> Result<Self> {
        let allowed = sched_getaffinity(Pid::from_raw(0))?;
        let mut cores = (0..CpuSet::count()).filter(|core| allowed.is_set(*core).unwrap_or(false));
        let ends = cores.next().ok_or("no core to run on")?;
        Ok(Self { ends, host: cores.next().unwrap_or(ends) })
    }

    /// Whether the host has one of its own.
    pub(super) const fn are_two(self) -> bool {
        self.ends != self.host
    }

    /// All on one.
    pub(super) const fn together(self) -> Self {
        Self { ends: self.ends, host: self.ends }
    }

    /// The host's core as a CPU mask in the form of sysfs: groups of 32 bits in hexadecimal, the highest first.
    pub(super) fn host_mask(self) -> String {
        format!("{:x}{}", 1_u32 << (self.host % 32), ",00000000".repeat(self.host / 32))
    }
}

/// Does some work on one core, then lets the thread run where it could before.
pub(super) fn pinned<T>(core: usize, work: impl FnOnce() -> Result<T>) -> Result<T> {
    let before = sched_getaffinity(Pid::from_raw(0))?;
    pin_thread(core)?;
    let result = work();
    sched_setaffinity(Pid::from_raw(0), &before)?;
    result
}

/// How long a core was idle up to a moment.
#[derive(Debug, Clone, Copy)]
struct Idle {
    idle: Duration,
    /// Taken by the hypervisor for others.
    stolen: Duration,
}

/// The load of both cores over a stretch of time.
#[derive(Debug)]
pub(super) struct Load {
    cores: Cores,
    since: Instant,
    ends: Idle,
    host: Idle,
}

/// What became of it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Busy {
    pub(super) wall: Duration,
    /// The part of the time that each was busy: with anything, interrupts included.
    pub(super) ends: f64,
    pub(super) host: f64,
}

impl Busy {
    /// Time of the host's core.
    pub(super) fn host_time(&self) -> Duration {
        self.wall.mul_f64(self.host)
    }
}

impl Load {
    pub(super) fn start(cores: Cores) -> Result<Self> {
        let (ends, host) = read(cores)?;
        Ok(Self { cores, since: Instant::now(), ends, host })
    }

    pub(super) fn stop(self) -> Result<Busy> {
        let (ends, host) = read(self.cores)?;
        let wall = self.since.elapsed();
        let busy = |before: Idle, after: Idle| {
            let away = after.idle.saturating_sub(before.idle) + after.stolen.saturating_sub(before.stolen);
            (1.0 - away.as_secs_f64() / wall.as_secs_f64()).max(0.0)
        };
        Ok(Busy { wall, ends: busy(self.ends, ends), host: busy(self.host, host) })
    }
}

/// From /proc/stat, proc_stat(5). What is busy is counted there by ticks, to which short work can fall through; what
/// is idle, by a clock. So busy is what is not idle. Both are shown in hundredths of a second.
fn read(cores: Cores) -> Result<(Idle, Idle)> {
    let text = fs::read_to_string("/proc/stat")?;
    let ticks = sysconf(SysconfVar::CLK_TCK)?.ok_or("no CLK_TCK")? as f64;
    let of = |core: usize| {
        let name = format!("cpu{core}");
        let line = text.lines().find(|line| line.split_whitespace().next() == Some(name.as_str()));
        let line = line.ok_or_else(|| format!("no {name} in /proc/stat"))?;
        // user nice system idle iowait irq softirq steal
        let fields: Vec<f64> = line.split_whitespace().skip(1).filter_map(|word| word.parse().ok()).collect();
        let &[_, _, _, idle, waiting, _, _, stolen, ..] = fields.as_slice() else {
            return Err(format!("cannot read {line:?} of /proc/stat"));
        };
        let time = |count: f64| Duration::from_secs_f64(count / ticks);
        Ok(Idle { idle: time(idle + waiting), stolen: time(stolen) })
    };
    Ok((of(cores.ends)?, of(cores.host)?))
}
