//! Small changes to a large policy: there, and back again.

use std::path::PathBuf;
use std::time::Duration;

use isoplan::diff::ops_between;
use isoplan::ruleset::{Op, Ruleset};

use super::super::floor::{self, Role};
use super::super::ground::{self, Ground, Restore, in_turns, settle};
use super::super::measure::{Bench, Took, key};
use super::super::report::Unit;
use super::super::rivals::difference;
use super::super::{Result, sizes};

const SECTION: &str = "change";

/// Who makes the change, or does a part of what it takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Who {
    /// Both by the generation of its last apply, and reading, because somebody else committed something.
    Isoplan,
    Nft,
    NftWhole,
    Floor,
    Dump,
    Parse,
}

const CONTENDERS: [(&str, Who); 6] = [
    ("isoplan", Who::Isoplan),
    ("floor", Who::Floor),
    ("dump", Who::Dump),
    ("parse", Who::Parse),
    ("nft", Who::Nft),
    ("nft -f", Who::NftWhole),
];

/// Whether iptables-restore replaces everything.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Iptables {
    Whole,
    NoFlush,
}

const IPTABLES: [(&str, Iptables); 2] =
    [("iptables-restore", Iptables::Whole), ("iptables-restore --noflush", Iptables::NoFlush)];

/// What is changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Subject {
    Bridge,
    Subnet,
    Exception,
}

impl Subject {
    const ALL: [Self; 3] = [Self::Bridge, Self::Subnet, Self::Exception];

    const fn work(self, way: Way) -> &'static str {
        match (self, way) {
            (Self::Bridge, Way::Added) => "bridge added",
            (Self::Bridge, Way::Removed) => "bridge removed",
            (Self::Subnet, Way::Added) => "subnet added",
            (Self::Subnet, Way::Removed) => "subnet removed",
            (Self::Exception, Way::Added) => "exception added",
            (Self::Exception, Way::Removed) => "exception removed",
        }
    }

    /// A topology of that size, with one more of it.
    fn with_one_more(self, size: usize) -> String {
        let mut text = sizes::topology(size);
        match self {
            Self::Bridge => sizes::bridge(&mut text, size),
            Self::Subnet => {
                let [first, _] = sizes::subnets(0);
                let more = format!("\"10.255.0.0/24\", \"{first}\"");
                text = text.replacen(&format!("\"{first}\""), &more, 1);
            }
            Self::Exception => text.push_str(
                "[[allow]]\nfrom = \"br-00000\"\nto = \"192.168.1.9\"\nprotocol = \"tcp\"\nports = [2049]\n",
            ),
        }
        text
    }
}

/// Which way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Way {
    Added,
    Removed,
}

pub(super) fn run(bench: &mut Bench) -> Result<()> {
    let mut ground = Ground::new(bench)?;
    for &size in bench.sizes() {
        if !ground.can(size) {
            bench.note(&format!("change at {size}"), "not measured: only root can send a batch of this size");
            continue;
        }
        // A subnet is a part of what a bridge brings.
        let subjects = Subject::ALL.into_iter().filter(|subject| !bench.quick || *subject != Subject::Subnet);
        for subject in subjects.collect::<Vec<_>>() {
            eprintln!("   {size} bridges, one {subject:?} more");
            let change = Change::new(bench, &mut ground, size, subject)?;
            change.measure(bench, &mut ground)?;
            ground.clear(size)?;
            // A whole rule set is the same work whatever has changed in it.
            if !bench.quick || subject == Subject::Bridge {
                change.measure_iptables(bench, &ground)?;
                ground.clear(size)?;
            }
        }
    }
    Ok(())
}

/// A policy before and after, in every form.
struct Change {
    size: usize,
    subject: Subject,
    without: Side,
    with: Side,
}

/// One of the two.
struct Side {
    /// The file, in the directory that isoplan is run in.
    topology: &'static str,
    nft: PathBuf,
    iptables: Restore,
    /// From the other to this one.
    noflush: Restore,
    /// What isoplan makes of it.
    tables: Ruleset,
}

/// What one is made from.
struct Texts {
    topology: &'static str,
    nft: String,
    iptables: String,
    tables: Ruleset,
}

impl Texts {
    /// Applies a topology, and renders it.
    fn new(ground: &mut Ground, topology: &'static str, text: &str) -> Result<Self> {
        ground.file(topology, text)?;
        let rendered = |format| ground.isoplan(&["render", "--format", format, topology]);
        let (nft, iptables) = (rendered("nft")?, rendered("iptables")?);
        ground.isoplan(&["apply", "--yes", topology])?;
        Ok(Self { topology, nft, iptables, tables: ground.tables()? })
    }

    fn side(&self, ground: &Ground, other: &Self) -> Result<Side> {
        let stem = self.topology;
        let iptables = Restore::of_both(ground, &format!("{stem}.iptables"), &self.iptables)?;
        let noflush = Restore::changing(ground, &format!("{stem}.noflush"), iptables.counts, |family| {
            difference::iptables(&other.iptables, &self.iptables, family)
        })?;
        let nft = ground.file(&format!("{stem}.nft"), &self.nft)?;
        Ok(Side { topology: stem, nft, iptables, noflush, tables: self.tables.clone() })
    }
}

impl Change {
    /// Leaves the one without in the kernel.
    fn new(bench: &mut Bench, ground: &mut Ground, size: usize, subject: Subject) -> Result<Self> {
        ground.clear(0)?;
        let without = Texts::new(ground, "without.toml", &sizes::topology(size))?;
        let with = Texts::new(ground, "with.toml", &subject.with_one_more(size))?;
        if without.tables == with.tables {
            return Err(format!("one {subject:?} more makes no difference").into());
        }
        let change =
            Self { size, subject, without: without.side(ground, &with)?, with: with.side(ground, &without)? };
        for way in [Way::Removed, Way::Added] {
            let told = ground.isoplan(&["apply", "--yes", "--json", change.to(way).topology])?;
            let bytes = ground::transaction_bytes(&told)? as f64;
            for who in ["isoplan", "isoplan reading"] {
                bench.record(key(SECTION, subject.work(way), size, who, "bytes"), Unit::Bytes, bytes);
            }
        }
        ground.isoplan(&["apply", "--yes", change.without.topology])?;
        ground.expect("isoplan", &change.without.tables)?;
        Ok(change)
    }

    /// Where the change leads.
    const fn to(&self, way: Way) -> &Side {
        match way {
            Way::Added => &self.with,
            Way::Removed => &self.without,
        }
    }

    fn measure(&self, bench: &mut Bench, ground: &mut Ground) -> Result<()> {
        let rounds = bench.repetitions(if self.size >= 10_000 { 5 } else { 9 });
        let limit = Duration::from_secs(if bench.quick { 2 } else { 12 });
        let requests = ground.file("requests", floor::requests(&self.without.tables))?;
        in_turns(bench, &self.what(), rounds, limit, &CONTENDERS, |bench, who, round| {
            let is_first = round == 0;
            match who {
                Who::Isoplan => self.isoplan(bench, ground, is_first),
                Who::Nft => self.both_ways(|way| {
                    let ops = self.ops(ground, way)?;
                    let file = ground.file("change.nft", difference::nft(&ops))?;
                    self.record(bench, way, "nft", ground::nft_file(&file)?);
                    self.check(ground, "nft", way, is_first)
                }),
                Who::NftWhole => self.both_ways(|way| {
                    self.record(bench, way, "nft -f", ground::nft_file(&self.to(way).nft)?);
                    settle(self.size);
                    self.check(ground, "nft -f", way, is_first)
                }),
                Who::Floor => self.both_ways(|way| {
                    let ops = self.ops(ground, way)?;
                    let (batch, bytes) = ground.batch("batch", &ops)?;
                    let (took, timed) = floor::run(Role::Send, &batch)?;
                    self.record(bench, way, "floor", took);
                    let key = |figure| key(SECTION, self.subject.work(way), self.size, "floor", figure);
                    bench.record(key("kernel"), Unit::Microseconds, timed.as_secs_f64() * 1e6);
                    bench.record(key("bytes"), Unit::Bytes, bytes as f64);
                    self.check(ground, "floor", way, is_first)
                }),
                Who::Dump => self.both_ways(|way| {
                    self.record(bench, way, "dump", floor::run(Role::Dump, &requests)?.0);
                    Ok(())
                }),
                Who::Parse => self.both_ways(|way| {
                    let file = ground.isoplan.directory().join(self.to(way).topology);
                    let millis = ground::parse(&file)?.as_secs_f64() * 1e3;
                    let key = key(SECTION, self.subject.work(way), self.size, "parse", "wall");
                    bench.record(key, Unit::Milliseconds, millis);
                    Ok(())
                }),
            }
        })
    }

    /// With nothing else in the namespace: what nft and isoplan read is not to be larger for its rival's tables.
    fn measure_iptables(&self, bench: &mut Bench, ground: &Ground) -> Result<()> {
        self.without.iptables.run(&[])?;
        self.without.iptables.expect("iptables-restore")?;
        settle(self.size);
        let rounds = bench.repetitions(if self.size >= 10_000 { 5 } else { 9 });
        let limit = Duration::from_secs(if bench.quick { 1 } else { 6 });
        in_turns(bench, &self.what(), rounds, limit, &IPTABLES, |bench, how, _| {
            self.both_ways(|way| {
                let to = self.to(way);
                let (who, took) = match how {
                    Iptables::Whole => ("iptables-restore", to.iptables.run(&[])?),
                    Iptables::NoFlush => ("iptables-restore --noflush", to.noflush.run(&["--noflush"])?),
                };
                self.record(bench, way, who, took);
                settle(if how == Iptables::Whole { self.size } else { 0 });
                to.iptables.expect(who)
            })
        })?;
        ground.clear(self.size)
    }

    fn isoplan(&self, bench: &mut Bench, ground: &mut Ground, check: bool) -> Result<()> {
        let steps = [
            ("isoplan reading", Way::Added),
            ("isoplan", Way::Removed),
            ("isoplan", Way::Added),
            ("isoplan reading", Way::Removed),
        ];
        for (who, way) in steps {
            if who == "isoplan reading" {
                ground.somebody_commits()?;
            }
            settle(0);
            let took = ground.time_isoplan(&["apply", "--yes", self.to(way).topology])?;
            self.record(bench, way, who, took);
            self.check(ground, who, way, check)?;
        }
        Ok(())
    }

    fn both_ways(&self, mut step: impl FnMut(Way) -> Result<()>) -> Result<()> {
        [Way::Added, Way::Removed].into_iter().try_for_each(|way| {
            settle(0);
            step(way)
        })
    }

    /// The smallest transaction that does it. One that names rules by their handles has to know those that the
    /// table has now.
    fn ops(&self, ground: &mut Ground, way: Way) -> Result<Vec<Op>> {
        let (from, to) = match way {
            Way::Added => (&self.without, &self.with),
            Way::Removed => (&self.with, &self.without),
        };
        let ops = ops_between(&from.tables, &to.tables);
        let has_handle = |op: &Op| {
            matches!(op, Op::AddRule { before: Some(_), .. } | Op::ReplaceRule { .. } | Op::DeleteRule { .. })
        };
        if ops.iter().any(has_handle) { Ok(ops_between(&ground.tables()?, &to.tables)) } else { Ok(ops) }
    }

    fn check(&self, ground: &mut Ground, who: &str, way: Way, check: bool) -> Result<()> {
        if check { ground.expect(who, &self.to(way).tables) } else { Ok(()) }
    }

    fn record(&self, bench: &mut Bench, way: Way, who: &str, took: Took) {
        bench.record_process(SECTION, self.subject.work(way), self.size, who, took);
    }

    fn what(&self) -> String {
        format!("one {:?} more at {}", self.subject, self.size).to_lowercase()
    }
}
