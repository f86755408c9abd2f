//! Into the kernel: a policy put there from nothing.

use std::path::PathBuf;
use std::time::Duration;

use isoplan::diff::ops_between;
use isoplan::ruleset::{Family, Ruleset};

use super::super::floor::{self, Role};
use super::super::ground::{self, Ground, Restore, in_turns};
use super::super::measure::{Bench, Took, key};
use super::super::report::Unit;
use super::super::{Result, rivals, sizes};

const SECTION: &str = "apply";

/// Who puts the policy into the kernel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Who {
    Isoplan,
    Nft,
    Iptables,
    Docker,
    Ufw,
    Firewalld,
    Floor,
    Parse,
}

const CONTENDERS: [(&str, Who); 8] = [
    ("isoplan", Who::Isoplan),
    ("floor", Who::Floor),
    ("parse", Who::Parse),
    ("nft -f", Who::Nft),
    ("iptables-restore", Who::Iptables),
    ("docker", Who::Docker),
    ("ufw", Who::Ufw),
    ("firewalld", Who::Firewalld),
];

pub(super) fn run(bench: &mut Bench) -> Result<()> {
    let mut ground = Ground::new(bench)?;
    for &size in bench.sizes() {
        if !ground.can(size) {
            bench.note(&format!("apply at {size}"), "not measured: only root can send a batch of this size");
            continue;
        }
        eprintln!("   {size} bridges");
        let forms = Forms::new(&mut ground, size)?;
        bench.record(key(SECTION, "", size, "isoplan", "bytes"), Unit::Bytes, forms.bytes.0 as f64);
        bench.record(key(SECTION, "", size, "floor", "bytes"), Unit::Bytes, forms.bytes.1 as f64);
        let rounds = bench.repetitions(if size >= 10_000 { 9 } else { 15 });
        let limit = Duration::from_secs(if bench.quick { 4 } else { 8 });
        let what = format!("apply at {size}");
        in_turns(bench, &what, rounds, limit, &CONTENDERS, |bench, who, round| {
            ground.clear(size)?;
            forms.turn(bench, &mut ground, who, round == 0)
        })?;
        ground.clear(size)?;
    }
    Ok(())
}

/// A policy of a size in every form.
struct Forms {
    size: usize,
    topology: PathBuf,
    nft: PathBuf,
    iptables: Restore,
    docker: Restore,
    ufw: Restore,
    firewalld: (PathBuf, usize),
    batch: PathBuf,
    /// Of isoplan's transaction and the floor's.
    bytes: (usize, usize),
    /// What isoplan makes of it.
    tables: Ruleset,
}

impl Forms {
    fn new(ground: &mut Ground, size: usize) -> Result<Self> {
        ground.clear(0)?;
        let topology = ground.file("topology.toml", sizes::topology(size))?;
        let rendered = |format| ground.isoplan(&["render", "--format", format, "topology.toml"]);
        let (nft, iptables) = (rendered("nft")?, rendered("iptables")?);
        let applied = ground.isoplan(&["apply", "--yes", "--json", "topology.toml"])?;
        let bytes = ground::transaction_bytes(&applied)?;
        let tables = ground.tables()?;
        // The rule set that isoplan left, as one step from nothing.
        let (batch, floor_bytes) = ground.batch("batch", &ops_between(&Ruleset::new(), &tables))?;
        let firewalld = rivals::firewalld(size);
        let forms = Self {
            size,
            topology,
            nft: ground.file("policy.nft", nft)?,
            iptables: Restore::of_both(ground, "policy.iptables", &iptables)?,
            docker: Restore::of_each(ground, "docker", |family| rivals::docker(size, family))?,
            ufw: Restore::of_each(ground, "ufw", |family| rivals::ufw(size, family))?,
            firewalld: (ground.file("firewalld.nft", firewalld.text())?, firewalld.count()),
            batch,
            bytes: (bytes, floor_bytes),
            tables,
        };
        // That nothing is left to do is isoplan's word; the others are compared with what it did.
        ground.isoplan(&["plan", "--detailed-exitcode", "topology.toml"])?;
        Ok(forms)
    }

    fn turn(&self, bench: &mut Bench, ground: &mut Ground, who: Who, check: bool) -> Result<()> {
        let size = self.size;
        let mut process = |who: &str, took: Took| bench.record_process(SECTION, "", size, who, took);
        match who {
            Who::Isoplan => {
                process("isoplan", ground.time_isoplan(&["apply", "--yes", "topology.toml"])?);
                self.same(ground, "isoplan", check)
            }
            Who::Nft => {
                process("nft -f", ground::nft_file(&self.nft)?);
                self.same(ground, "nft -f", check)
            }
            Who::Floor => {
                let (took, timed) = floor::run(Role::Send, &self.batch)?;
                process("floor", took);
                let micros = timed.as_secs_f64() * 1e6;
                bench.record(key(SECTION, "", size, "floor", "kernel"), Unit::Microseconds, micros);
                self.same(ground, "floor", check)
            }
            Who::Parse => {
                let millis = ground::parse(&self.topology)?.as_secs_f64() * 1e3;
                bench.record(key(SECTION, "", size, "parse", "wall"), Unit::Milliseconds, millis);
                Ok(())
            }
            Who::Iptables => {
                process("iptables-restore", self.iptables.run(&[])?);
                self.iptables.expect("iptables-restore")
            }
            Who::Docker => {
                process("docker", self.docker.run(&[])?);
                self.docker.expect("docker")
            }
            Who::Ufw => {
                process("ufw", self.ufw.run(&[])?);
                self.ufw.expect("ufw")
            }
            Who::Firewalld => {
                let (file, expected) = &self.firewalld;
                process("firewalld", ground::nft_file(file)?);
                let found = floor::count_rules(Family::Inet)?;
                if found == *expected {
                    return Ok(());
                }
                Err(format!("firewalld left {found} rules, not {expected}").into())
            }
        }
    }

    /// An error unless the table is what isoplan makes it: whole the first time, by its rules after that.
    fn same(&self, ground: &mut Ground, who: &str, whole: bool) -> Result<()> {
        if whole {
            return ground.expect(who, &self.tables);
        }
        let expected: usize = self.tables.values().map(|table| table.rule_count()).sum();
        let found = floor::count_rules(Family::Inet)?;
        if found == expected {
            Ok(())
        } else {
            Err(format!("{who} left {found} rules, not {expected}").into())
        }
    }
}
