//! What the sections that change the kernel share: an empty host, a policy of a size in every form, turns.

use std::fs;
use std::path::PathBuf;
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use isoplan::netlink::{Nftables, encode};
use isoplan::ruleset::{Op, Ruleset, TABLE_NAME};

use super::Result;
use super::floor::{self, Role};
use super::lab::isolate::is_real_root;
use super::lab::program::Program;
use super::measure::{self, Bench, Took};
use super::rivals::{self, Family};

/// The host that all of it happens on: this process's own namespace.
pub(crate) struct Ground {
    pub(crate) isoplan: Program,
    pub(crate) nftables: Nftables,
}

impl Ground {
    pub(crate) fn new(bench: &Bench) -> Result<Self> {
        Ok(Self { isoplan: bench.isoplan()?, nftables: Nftables::open()? })
    }

    /// Whether this may be tried at all. The send buffer of a socket is limited but for root of the machine
    /// (socket(7), `SO_SNDBUFFORCE`), and a transaction is one message in it.
    pub(crate) fn can(&self, size: usize) -> bool {
        size < 1_000 || is_real_root()
    }

    /// A file in isoplan's directory, which is in memory.
    pub(crate) fn file(&self, name: &str, text: impl AsRef<[u8]>) -> Result<PathBuf> {
        let path = self.isoplan.directory().join(name);
        fs::write(&path, text)?;
        Ok(path)
    }

    /// Takes away every rule, and what isoplan knows of it; `size` says how much there was.
    pub(crate) fn clear(&self, size: usize) -> Result<()> {
        shell("nft", &["flush", "ruleset"])?;
        match fs::remove_dir_all(self.isoplan.directory().join("state")) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error.into()),
            _ => {}
        }
        for switch in ["net/ipv4/ip_forward", "net/ipv6/conf/all/forwarding"] {
            fs::write(format!("/proc/sys/{switch}"), "0")?;
        }
        settle(size);
        Ok(())
    }

    /// isoplan, not timed; hands back its standard output.
    pub(crate) fn isoplan(&self, arguments: &[&str]) -> Result<String> {
        let ran = self.isoplan.run(arguments);
        if ran.code == Some(0) { Ok(ran.stdout) } else { Err(ran.to_string().into()) }
    }

    /// isoplan, timed.
    pub(crate) fn time_isoplan(&self, arguments: &[&str]) -> Result<Took> {
        measure::run(&mut self.isoplan.command(arguments))
    }

    /// The tables that isoplan has in the kernel.
    pub(crate) fn tables(&mut self) -> Result<Ruleset> {
        Ok(self.nftables.read_tables(TABLE_NAME)?.tables)
    }

    /// An error unless exactly these tables are there.
    pub(crate) fn expect(&mut self, who: &str, tables: &Ruleset) -> Result<()> {
        if self.tables()? == *tables {
            return Ok(());
        }
        Err(format!("{who} did not bring about the tables that it was to").into())
    }

    /// Somebody else changes the rule set, in a table of their own.
    pub(crate) fn somebody_commits(&self) -> Result<()> {
        shell("nft", &["add table ip somebody; delete table ip somebody"])
    }

    /// A batch for the floor.
    pub(crate) fn batch(&self, name: &str, ops: &[Op]) -> Result<(PathBuf, usize)> {
        let batch = encode(ops, None);
        let path = self.file(name, batch.bytes())?;
        Ok((path, batch.len_bytes()))
    }
}

/// Lets the machine come to rest before the next turn.
///
/// The kernel frees what was deleted in the background, after a grace period of RCU. Whoever closes a netlink socket
/// meanwhile waits for it (`nft_rcv_nl_event`), nft after a `flush ruleset` among them, so that little is left to
/// wait for here. It also means that a process which deletes anything ends only after such a period.
pub(crate) fn settle(size: usize) {
    thread::sleep(Duration::from_millis(10) + Duration::from_micros(4) * size as u32);
}

/// A program that is not timed.
pub(crate) fn shell(program: &str, arguments: &[&str]) -> Result<()> {
    let output = Command::new(program).env("PATH", super::lab::node::PATH).args(arguments).output()?;
    if output.status.success() {
        return Ok(());
    }
    Err(format!("{program} {}: {}", arguments.join(" "), String::from_utf8_lossy(&output.stderr).trim())
        .into())
}

/// `nft -f`, timed.
pub(crate) fn nft_file(path: &std::path::Path) -> Result<Took> {
    measure::run(Command::new("nft").arg("-f").arg(path))
}

/// The files of a policy for iptables-restore, one for each family, and how many rules they make.
pub(crate) struct Restore {
    pub(crate) files: [PathBuf; 2],
    pub(crate) counts: [usize; 2],
}

impl Restore {
    /// Both programs one after the other, as one.
    pub(crate) fn run(&self, flags: &[&str]) -> Result<Took> {
        let mut both: Option<Took> = None;
        for (family, file) in Family::ALL.into_iter().zip(&self.files) {
            let took = measure::run(Command::new(family.restore()).args(flags).arg(file))?;
            both = Some(both.map_or(took, |first| Took {
                wall: first.wall + took.wall,
                user: first.user + took.user,
                system: first.system + took.system,
                memory: first.memory.max(took.memory),
            }));
        }
        both.ok_or_else(|| "no family".into())
    }

    /// An error unless exactly so many rules are there.
    pub(crate) fn expect(&self, who: &str) -> Result<()> {
        for (family, expected) in Family::ALL.into_iter().zip(self.counts) {
            let found = floor::count_rules(family.table())?;
            if found != expected {
                return Err(format!("{who} left {found} {family:?} rules, not {expected}").into());
            }
        }
        Ok(())
    }

    /// From one text for both, which is what isoplan renders.
    pub(crate) fn of_both(ground: &Ground, name: &str, text: &str) -> Result<Self> {
        let file = ground.file(name, text)?;
        let counts = Family::ALL.map(|family| rivals::count(text, family));
        Ok(Self { files: [file.clone(), file], counts })
    }

    /// What changes one into another that has so many rules.
    pub(crate) fn changing(
        ground: &Ground,
        name: &str,
        counts: [usize; 2],
        text: impl Fn(Family) -> String,
    ) -> Result<Self> {
        let write = |family: Family| ground.file(&format!("{name}-{family:?}"), text(family));
        Ok(Self { files: [write(Family::V4)?, write(Family::V6)?], counts })
    }

    /// From one text each.
    pub(crate) fn of_each(
        ground: &Ground,
        name: &str,
        rules: impl Fn(Family) -> rivals::Rules,
    ) -> Result<Self> {
        let write = |family: Family| -> Result<(PathBuf, usize)> {
            let rules = rules(family);
            Ok((ground.file(&format!("{name}-{family:?}"), rules.text())?, rules.count()))
        };
        let [v4, v6] = [write(Family::V4)?, write(Family::V6)?];
        Ok(Self { files: [v4.0, v6.0], counts: [v4.1, v6.1] })
    }
}

/// Lets everyone have a turn in each round, the next one first each time.
///
/// Who has used up `limit` sits out the rounds that are left: the note says how many it had.
pub(crate) fn in_turns<C: Copy>(
    bench: &mut Bench,
    what: &str,
    rounds: usize,
    limit: Duration,
    contenders: &[(&str, C)],
    mut turn: impl FnMut(&mut Bench, C, usize) -> Result<()>,
) -> Result<()> {
    let mut spent = vec![(Duration::ZERO, 0_usize); contenders.len()];
    for round in 0..rounds {
        for at in 0..contenders.len() {
            let index = (at + round) % contenders.len();
            if spent[index].0 >= limit {
                continue;
            }
            let started = Instant::now();
            turn(bench, contenders[index].1, round)
                .map_err(|error| format!("{what}: {}: {error}", contenders[index].0))?;
            spent[index].0 += started.elapsed();
            spent[index].1 += 1;
        }
    }
    for ((who, _), (_, turns)) in contenders.iter().zip(spent) {
        if turns < rounds {
            bench.note(&format!("{what}: {who}"), format!("{turns} of {rounds} rounds, for its time was up"));
        }
    }
    Ok(())
}

/// The TOML parser alone: its own time as `wall`.
pub(crate) fn parse(file: &std::path::Path) -> Result<Duration> {
    Ok(floor::run(Role::Parse, file)?.1)
}

/// How long the transaction was that `isoplan apply --json` tells of.
pub(crate) fn transaction_bytes(json: &str) -> Result<usize> {
    let told: serde_json::Value = serde_json::from_str(json)?;
    Ok(told["transaction_bytes"].as_u64().ok_or("no transaction_bytes")? as usize)
}
