//! What every verb takes to start and to do its ordinary work, and its memory.

use std::fs;
use std::io::{BufRead as _, BufReader};
use std::process::{Command, Stdio};
use std::time::Instant;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::super::Result;
use super::super::lab::Program;
use super::super::lab::node::Node;
use super::super::measure::{self, Bench, Took, key};
use super::super::report::Unit;
use super::super::sizes;

/// The host that most people have.
const SERVICE_INSTANCE: &str = include_str!("../../../fixtures/service-instance/topology.toml");
/// What is done on it.
const WORK: &str = "service instance";

/// How often a full run does each.
const REPETITIONS: usize = 21;
/// How often each at every size, where a run takes longer.
const REPETITIONS_AT_SIZES: usize = 7;
/// How often those that build labs.
const REPETITIONS_OF_LABS: usize = 5;

/// A run of a verb.
struct Run {
    verb: &'static str,
    arguments: &'static [&'static str],
    how: How,
}

/// How a run of a verb is measured.
#[derive(Clone, Copy, PartialEq, Eq)]
enum How {
    /// The whole process.
    Timed,
    /// Not at all: it makes what the next one needs.
    Untimed,
    /// Until it says that it watches; then it is ended.
    UntilReady,
    /// As a command in a lab, the lab not counted.
    InLab,
}

const fn timed(verb: &'static str, arguments: &'static [&'static str]) -> Run {
    Run { verb, arguments, how: How::Timed }
}

const fn untimed(verb: &'static str, arguments: &'static [&'static str]) -> Run {
    Run { verb, arguments, how: How::Untimed }
}

/// Every verb once, each where it finds its ordinary work.
const SESSION: &[Run] = &[
    timed("help", &[]),
    timed("completions", &["bash"]),
    timed("schema", &[]),
    timed("man", &["man"]),
    timed("check", &["t.toml"]),
    timed("render", &["t.toml", "--format", "nft"]),
    timed("diff", &["t.toml", "more.toml"]),
    timed("discover", &[]),
    timed("snapshot", &[]),
    timed("install", &["t.toml", "--yes", "--root", "image", "--exec-path", "/usr/local/sbin/isoplan"]),
    timed("uninstall", &["--yes", "--root", "image"]),
    timed("plan", &["t.toml"]),
    timed("apply", &["t.toml", "--yes"]),
    timed("status", &["t.toml"]),
    Run { verb: "watch", arguments: &["t.toml"], how: How::UntilReady },
    untimed("apply", &["more.toml", "--yes", "--confirm-within", "1h"]),
    timed("confirm", &[]),
    timed("rollback", &["--yes"]),
    timed("remove", &["--yes"]),
];

/// Those that build labs: seconds, not milliseconds.
const LABS: &[Run] = &[
    timed("lab", &["t.toml", "--", "true"]),
    Run { verb: "probe", arguments: &["docker0:eth0/udp4"], how: How::InLab },
    timed("explain", &["docker0", "eth1", "--topology", "t.toml"]),
    timed("verify", &["t.toml", "--quick"]),
    timed("compare", &["t.toml", "--quick"]),
];

/// Those whose work grows with the networks.
const AT_SIZES: &[Run] = &[
    timed("check", &["t.toml"]),
    timed("render", &["t.toml", "--format", "nft"]),
    timed("diff", &["t.toml", "more.toml"]),
    timed("discover", &[]),
    timed("snapshot", &[]),
    timed("plan", &["t.toml"]),
    timed("apply", &["t.toml", "--yes"]),
    timed("status", &["t.toml"]),
    untimed("remove", &["--yes"]),
];

pub(super) fn run(bench: &mut Bench) -> Result<()> {
    let isoplan = bench.isoplan()?;
    complete(&isoplan)?;
    let host = Node::own("host");
    host.ip("link set lo up\n")?;
    service_instance(bench, &isoplan, &host)?;
    for &size in bench.sizes() {
        eprintln!("   {size} networks");
        at_size(bench, &isoplan, &host, size)?;
    }
    Ok(())
}

/// A verb that nobody measures is a mistake here.
fn complete(isoplan: &Program) -> Result<()> {
    let help = isoplan.run(&["--help"]).ok();
    let listed = help.lines().skip_while(|line| *line != "Commands:").skip(1);
    let verbs = listed.take_while(|line| !line.is_empty()).filter_map(|line| line.split_whitespace().next());
    let is_measured =
        |verb: &str| SESSION.iter().chain(LABS).any(|run| run.how != How::Untimed && run.verb == verb);
    let missing: Vec<&str> = verbs.filter(|verb| !is_measured(verb)).collect();
    if missing.is_empty() {
        return Ok(());
    }
    Err(format!("no run is written for: {}", missing.join(", ")).into())
}

fn service_instance(bench: &mut Bench, isoplan: &Program, host: &Node) -> Result<()> {
    isoplan.write("t.toml", SERVICE_INSTANCE)?;
    let mut more = format!("{SERVICE_INSTANCE}\n");
    sizes::bridge(&mut more, 1);
    isoplan.write("more.toml", &more)?;
    let systemd = isoplan.directory().join("image/usr/lib/systemd");
    fs::create_dir_all(&systemd)?;
    fs::write(systemd.join("systemd"), "")?;
    host.ip("link add docker0 type bridge\n\
         link add eth0 type veth peer name peer0\n\
         link add eth1 type veth peer name peer1\n\
         link set docker0 up\nlink set eth0 up\nlink set eth1 up\n\
         address add 172.17.0.1/16 dev docker0\naddress add fd17::1/64 dev docker0 nodad\n\
         address add 192.168.56.10/24 dev eth0\naddress add fd56::10/64 dev eth0 nodad\n\
         address add 192.168.57.10/24 dev eth1\naddress add fd57::10/64 dev eth1 nodad\n")?;
    for _ in 0..bench.repetitions(REPETITIONS) {
        for run in SESSION {
            once(bench, isoplan, WORK, 1, run)?;
        }
    }
    for _ in 0..bench.repetitions(REPETITIONS_OF_LABS) {
        for run in LABS {
            once(bench, isoplan, WORK, 1, run)?;
        }
    }
    host.ip("link delete docker0\nlink delete eth0\nlink delete eth1\n")?;
    Ok(())
}

fn at_size(bench: &mut Bench, isoplan: &Program, host: &Node, size: usize) -> Result<()> {
    isoplan.write("t.toml", &sizes::topology(size))?;
    isoplan.write("more.toml", &sizes::topology(size + 1))?;
    host.ip(&sizes::links(size))?;
    for _ in 0..bench.repetitions(REPETITIONS_AT_SIZES) {
        for run in AT_SIZES {
            once(bench, isoplan, "", size, run)?;
        }
    }
    host.ip(sizes::NO_LINKS)?;
    Ok(())
}

fn once(bench: &mut Bench, isoplan: &Program, work: &str, size: usize, run: &Run) -> Result<()> {
    let mut arguments = vec![run.verb];
    arguments.extend(run.arguments);
    let took = match run.how {
        How::Timed => measure::run(&mut isoplan.command(&arguments))?,
        How::UntilReady => return until_ready(bench, isoplan, work, size, run.verb, &arguments),
        How::InLab => in_lab(bench, isoplan, &arguments)?,
        How::Untimed => {
            isoplan.run(&arguments).ok();
            return Ok(());
        }
    };
    bench.record_process("verbs", work, size, run.verb, took);
    Ok(())
}

/// The time from the start to the line that says it watches, and its memory then.
fn until_ready(
    bench: &mut Bench,
    isoplan: &Program,
    work: &str,
    size: usize,
    verb: &str,
    arguments: &[&str],
) -> Result<()> {
    let started = Instant::now();
    let mut child = isoplan.command(arguments).stdout(Stdio::piped()).stderr(Stdio::inherit()).spawn()?;
    let lines = BufReader::new(child.stdout.take().ok_or("no pipe")?).lines();
    let is_ready = lines.map_while(std::io::Result::ok).any(|line| line.starts_with("watching "));
    let wall = started.elapsed();
    let status = fs::read_to_string(format!("/proc/{}/status", child.id()))?;
    kill(Pid::from_raw(child.id().try_into()?), Signal::SIGTERM)?;
    child.wait()?;
    if !is_ready {
        return Err(format!("isoplan {} ended before it watched", arguments.join(" ")).into());
    }
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let kibibytes: f64 = peak.and_then(|line| line.split_whitespace().next()).ok_or("no VmHWM")?.parse()?;
    bench.record(key("verbs", work, size, verb, "wall"), Unit::Milliseconds, wall.as_secs_f64() * 1e3);
    bench.record(key("verbs", work, size, verb, "memory"), Unit::Mebibytes, kibibytes / 1024.0);
    Ok(())
}

/// What a command takes inside a lab, by a process there that runs it and nothing else.
fn in_lab(bench: &Bench, isoplan: &Program, arguments: &[&str]) -> Result<Took> {
    let mut command: Command = isoplan.command(&["lab", "t.toml", "--"]);
    command.arg(Bench::own_path()?).arg(measure::REAP).arg(bench.isoplan_path()).args(arguments);
    measure::told(command)
}
