//! Nothing to do: the difference is found to be none.

use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use super::super::floor::{self, Role};
use super::super::ground::{self, Ground, in_turns, settle};
use super::super::measure::{self, Bench, Took, key};
use super::super::report::Unit;
use super::super::{Result, sizes};

const SECTION: &str = "nothing";

/// Who finds it out, or reads as much.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Who {
    Isoplan,
    Reading,
    List,
    Json,
    Floor,
    Parse,
}

const CONTENDERS: [(&str, Who); 6] = [
    ("isoplan", Who::Isoplan),
    ("isoplan reading", Who::Reading),
    ("floor", Who::Floor),
    ("parse", Who::Parse),
    ("nft list", Who::List),
    ("nft -j list", Who::Json),
];

/// isoplan fails where anything differs.
const PLAN: [&str; 3] = ["plan", "--detailed-exitcode", "topology.toml"];

pub(super) fn run(bench: &mut Bench) -> Result<()> {
    let mut ground = Ground::new(bench)?;
    for &size in bench.sizes() {
        if !ground.can(size) {
            bench
                .note(&format!("nothing at {size}"), "not measured: only root can send a batch of this size");
            continue;
        }
        eprintln!("   {size} bridges");
        let topology = ground.file("topology.toml", sizes::topology(size))?;
        apply(&ground, size)?;
        let requests = floor::requests(&ground.tables()?);
        let requests = ground.file("requests", requests)?;
        let files = Files { size, topology, requests };
        let rounds = bench.repetitions(if size >= 10_000 { 9 } else { 15 });
        let limit = Duration::from_secs(if bench.quick { 4 } else { 15 });
        in_turns(bench, &format!("nothing at {size}"), rounds, limit, &CONTENDERS, |bench, who, _| {
            files.turn(bench, &ground, who)
        })?;
        ground.clear(size)?;
    }
    Ok(())
}

/// Puts the policy in place anew, so that nobody has committed anything since isoplan.
fn apply(ground: &Ground, size: usize) -> Result<()> {
    ground.clear(size)?;
    ground.isoplan(&["apply", "--yes", "topology.toml"])?;
    settle(size);
    Ok(())
}

struct Files {
    size: usize,
    topology: PathBuf,
    requests: PathBuf,
}

impl Files {
    fn turn(&self, bench: &mut Bench, ground: &Ground, who: Who) -> Result<()> {
        let size = self.size;
        let mut process = |who: &str, took: Took| bench.record_process(SECTION, "", size, who, took);
        match who {
            Who::Isoplan => process("isoplan", ground.time_isoplan(&PLAN)?),
            Who::Reading => {
                ground.somebody_commits()?;
                settle(0);
                process("isoplan reading", ground.time_isoplan(&PLAN)?);
                apply(ground, size)?;
            }
            Who::List => process("nft list", list(&[])?),
            Who::Json => process("nft -j list", list(&["-j"])?),
            Who::Floor => {
                let (took, timed) = floor::run(Role::Dump, &self.requests)?;
                process("floor", took);
                let micros = timed.as_secs_f64() * 1e6;
                bench.record(key(SECTION, "", size, "floor", "kernel"), Unit::Microseconds, micros);
            }
            Who::Parse => {
                let millis = ground::parse(&self.topology)?.as_secs_f64() * 1e3;
                bench.record(key(SECTION, "", size, "parse", "wall"), Unit::Milliseconds, millis);
            }
        }
        Ok(())
    }
}

fn list(flags: &[&str]) -> Result<Took> {
    measure::run(Command::new("nft").args(flags).args(["list", "table", "inet", "isoplan"]))
}
