//! The main job, shown: a container host in namespaces, and what its storage server sees before and after
//! `isoplan apply`. Nothing of the machine's own network is touched.

#![expect(clippy::print_stderr, reason = "a demo that cannot start says why")]

#[path = "../lab/mod.rs"]
#[allow(dead_code, unused_imports, reason = "the demo and the tests each use a part of it")]
mod lab;

use std::error::Error;
use std::fmt::Display;
use std::io::Write as _;
use std::path::PathBuf;
use std::process::ExitCode;

use lab::capture::{Seen, What};
use lab::isolate::{self, Privilege, Streams};
use lab::packet::Kind;
use lab::probe::Probe;
use lab::program;
use lab::{Family, HostSpec, Lab, Outcome, Program, Ran};

/// What the process inside its namespaces is called.
const NAME: &str = "demo";

type Result<T> = std::result::Result<T, Box<dyn Error>>;

fn main() -> ExitCode {
    let result = if isolate::is_inside(NAME) { run() } else { run_isolated() };
    match result {
        Ok(code) => code,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Starts this program again in namespaces of its own.
fn run_isolated() -> Result<ExitCode> {
    if let Some(reason) = isolate::unavailable() {
        return Err(format!("cannot make namespaces: {reason}\n\nhint: run it as root").into());
    }
    find_isoplan()?;
    let mut child = isolate::start(&[], NAME, Privilege::User, Streams::Inherited)?;
    // The process inside lives as long as this pipe is open; `wait` alone would close it.
    let _held = child.stdin.take();
    let status = child.wait()?;
    Ok(if status.success() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// The program to show: beside this one's directory, or where ISOPLAN says.
fn find_isoplan() -> Result<PathBuf> {
    if let Some(path) = std::env::var_os("ISOPLAN") {
        return Ok(path.into());
    }
    let own = std::env::current_exe()?;
    let path = own.ancestors().nth(2).map(|directory| directory.join("isoplan"));
    path.filter(|path| path.is_file()).ok_or_else(|| {
        format!("there is no isoplan beside {}\n\nhint: `make demo` builds both", own.display()).into()
    })
}

/// One packet, and what it shows.
struct Line<'a> {
    /// Who sends what, in a few words.
    says: String,
    probe: Probe<'a>,
}

/// What was promised and did not come true.
#[derive(Default)]
struct Failures(Vec<String>);

impl Failures {
    fn expect(&mut self, came_true: bool, promise: impl Into<String>) {
        if !came_true {
            self.0.push(promise.into());
        }
    }
}

fn run() -> Result<ExitCode> {
    isolate::prepare()?;
    let spec = HostSpec::service_instance();
    let lab = Lab::start(spec.clone())?;
    let isoplan = Program::new(find_isoplan()?)?;
    isoplan.write("topology.toml", &spec.topology())?;
    let mut failures = Failures::default();
    let (closed, open) = (to_be_closed(&lab), to_stay_open(&lab));
    let rules_before = lab.host().nft(&["-s", "list", "ruleset"])?;
    let forwarding_before = forwarding(&lab)?;

    say("A container host, made of network namespaces. It forwards and masquerades as");
    say("Docker leaves it. The network of this machine is not touched.");
    say("");
    say("  docker0   172.17.0.0/16     fd17::/64   containers web (.2) and db (.3)");
    say("  eth0      192.168.56.0/24   fd56::/64   service network, the default route");
    say("  eth1      192.168.57.0/24   fd57::/64   storage network, server .5, host .10");
    say("            192.168.58.0/24   fd58::/64   a second subnet behind that server");

    heading("Before: what reaches storage", "seen on arrival");
    for line in &closed {
        let outcome = show(line);
        failures.expect(outcome.is_delivered(), format!("before: {} arrives", line.says));
    }
    show_capture(&lab, &mut failures);
    for line in &open {
        let outcome = line.probe.run();
        failures.expect(is_answered(&outcome), format!("before: {} is answered", line.says));
    }

    let plan = isoplan.run(&["plan", "topology.toml"]);
    print_run(&plan);
    failures.expect(plan.code == Some(0), "isoplan plan ends well");
    let mut apply = isoplan.run(&["apply", "topology.toml", "--yes"]);
    if let Some((_plan, rest)) = apply.stdout.rsplit_once("\n\n") {
        apply.stdout = format!("(the same plan)\n\n{rest}");
    }
    print_run(&apply);
    failures.expect(apply.code == Some(0), "isoplan apply ends well");

    heading("After: the same packets", "seen on arrival");
    for line in &closed {
        let outcome = show(line);
        failures.expect(outcome == Outcome::Blocked, format!("after: {} is blocked", line.says));
    }
    heading("After: what must go on working", "seen on arrival");
    for line in &open {
        let outcome = show(line);
        failures.expect(is_answered(&outcome), format!("after: {} is answered", line.says));
    }

    say("\nPackets dropped, by rule");
    let counters = program::drop_counters(lab.host(), "isoplan").unwrap_or_default();
    for counter in counters.iter().filter(|counter| counter.packets > 0) {
        say(format_args!("{:>4}  {}", counter.packets, counter.comment));
    }
    failures.expect(counters.iter().any(|counter| counter.packets > 0), "the drop counters rise");

    let remove = isoplan.run(&["remove", "--yes"]);
    print_run(&remove);
    failures.expect(remove.code == Some(0), "isoplan remove ends well");
    let is_gone =
        lab.host().nft(&["-s", "list", "ruleset"])? == rules_before && forwarding(&lab)? == forwarding_before;
    failures.expect(is_gone, "isoplan remove leaves rules and forwarding as they were before");
    if is_gone {
        say("\nRules and forwarding are again what they were before.");
    }
    Ok(finish(&failures))
}

fn finish(failures: &Failures) -> ExitCode {
    if failures.0.is_empty() {
        say("Every packet did what was expected of it.");
        return ExitCode::SUCCESS;
    }
    say("\nNot as expected:");
    for promise in &failures.0 {
        say(format_args!("  {promise}"));
    }
    ExitCode::FAILURE
}

fn print_run(ran: &Ran) {
    say(format_args!("\n$ {}\n{}{}", ran.command, ran.stdout, ran.stderr).to_string().trim_end());
    if ran.code != Some(0) {
        say(format_args!("(ended with {:?})", ran.code));
    }
}

/// Prints a line. Nobody need read to the end: that the reader has gone changes nothing.
fn say(text: impl Display) {
    let _ = writeln!(std::io::stdout(), "{text}");
}

fn heading(left: &str, right: &str) {
    say(format_args!("\n{left:<43} {right}"));
}

/// Sends a packet and prints what became of it.
fn show(line: &Line<'_>) -> Outcome {
    let outcome = line.probe.run();
    let became = match &outcome {
        Outcome::Answered { source } => format!("from {source}, answered"),
        Outcome::Delivered { source } => format!("from {source}"),
        Outcome::Blocked => "nothing arrived".to_owned(),
        Outcome::CouldNotTest(reason) => format!("could not test: {reason}"),
    };
    say(format_args!("  {:<41} {became}", line.says));
    outcome
}

/// Sends one packet more and prints it as the storage server's wire has it.
fn show_capture(lab: &Lab, failures: &mut Failures) {
    let (web, storage) = (lab.node("web"), lab.node("storage"));
    let mark = lab.journal.mark();
    let outcome = lab.probe(Kind::Udp, Family::V4, "web", "storage").run();
    let is_it = |seen: &Seen| seen.node == storage.index && matches!(seen.what, What::Udp { .. });
    say("\nOne of them, as captured at the storage server:");
    if let Some(seen) = lab.journal.find(mark, is_it) {
        say(format_args!(
            "  sent      {} -> {}:{}  UDP",
            web.address(Family::V4),
            seen.destination,
            lab::PORT
        ));
        say(format_args!("  captured  {seen}"));
        say("Storage takes it for the host's own: its source is the host's address on eth1.");
    }
    failures.expect(outcome.is_delivered(), "before: a packet is captured at the storage server");
}

fn is_answered(outcome: &Outcome) -> bool {
    matches!(outcome, Outcome::Answered { .. })
}

/// IPv4 and IPv6 forwarding of the host.
fn forwarding(lab: &Lab) -> Result<[String; 2]> {
    let read = |key| lab.host().read_sysctl(key);
    Ok([read("net/ipv4/ip_forward")?, read("net/ipv6/conf/all/forwarding")?])
}

fn to_be_closed(lab: &Lab) -> Vec<Line<'_>> {
    let mut lines = Vec::new();
    for (kind, family) in [
        (Kind::Icmp, Family::V4),
        (Kind::Udp, Family::V4),
        (Kind::Tcp, Family::V4),
        (Kind::Udp, Family::V6),
        (Kind::Tcp, Family::V6),
    ] {
        lines.push(line(lab, kind, family, "web", "storage"));
    }
    let forged =
        |family| lab.probe(Kind::Udp, family, "web", "storage").forging(lab.host_address("eth1", family));
    for family in Family::BOTH {
        lines.push(Line {
            says: format!("web -> storage  {family} UDP, forged source"),
            probe: forged(family),
        });
    }
    lines.push(Line {
        says: "web -> behind storage  IPv4 UDP".to_owned(),
        probe: lab.probe(Kind::Udp, Family::V4, "web", "storage-behind"),
    });
    for family in Family::BOTH {
        let own = lab.host_address("eth1", family);
        lines.push(Line {
            says: format!("web -> host's {own}  {family} TCP"),
            probe: lab.probe(Kind::Tcp, family, "web", "host").addressed_to(own),
        });
    }
    lines.push(line(lab, Kind::Tcp, Family::V4, "storage", "web"));
    lines.push(line(lab, Kind::Udp, Family::V4, "service", "storage"));
    lines
}

fn to_stay_open(lab: &Lab) -> Vec<Line<'_>> {
    let mut lines = Vec::new();
    for family in Family::BOTH {
        lines.push(line(lab, Kind::Icmp, family, "web", "service"));
        lines.push(line(lab, Kind::Tcp, family, "web", "service"));
    }
    for family in Family::BOTH {
        lines.push(line(lab, Kind::Tcp, family, "host", "storage"));
    }
    let own = lab.host_address("eth1", Family::V4);
    let mut back = line(lab, Kind::Tcp, Family::V4, "storage", "host");
    back.probe = back.probe.addressed_to(own);
    lines.push(back);
    lines.push(line(lab, Kind::Udp, Family::V4, "web", "db"));
    lines
}

fn line<'a>(lab: &'a Lab, kind: Kind, family: Family, from: &str, to: &str) -> Line<'a> {
    let protocol = format!("{kind:?}").to_uppercase();
    Line { says: format!("{from} -> {to}  {family} {protocol}"), probe: lab.probe(kind, family, from, to) }
}
