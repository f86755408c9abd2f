//! Tests of the program as a whole: one binary, one module per subject.

#![expect(clippy::print_stderr, reason = "a test tells why it skips or what a program said")]

#[path = "../lab/mod.rs"]
#[allow(dead_code, unused_imports, reason = "the demo and the tests each use a part of it")]
mod lab;

/// The documents: what they show is run, and they are all listed.
mod book;
/// Boot, by systemd itself.
mod boot;
/// Boot, by the commands of the units in their order.
mod boot_order;
/// Beside the rule sets of engines and firewalls that are not installed here.
mod captures;
/// The catalogue of probes.
mod catalogue;
/// The command line: every verb, what it prints and how it ends.
mod cli;
/// Every approach against the same packets: the table, and what it is made of.
mod compare;
/// The approaches to compare with, and changes of the host, on the lab that isoplan ships.
mod compared;
/// A change that waits to be confirmed.
mod confirm;
mod confirm_systemd;
/// The core does no I/O, `unsafe` is in one module, and only the command line prints.
mod core_is_pure;
/// Drafts of hosts that are known.
mod discover;
/// What the documents promise.
mod docs;
/// Rule sets as documents, and templates of one's own.
mod documents;
/// Not a test: random topologies.
mod draw;
/// One packet in a lab, and what decided about it.
mod explain;
/// Faults, made for real.
mod faults;
/// Connections that were open before.
mod flows;
/// Broken input for every reader.
mod fuzz;
/// The documents of the fixtures, in docs/generated.
mod generated;
/// What the last change left, and what is done by hand since.
mod generation;
/// Every fixture, in every format.
mod golden;
/// What happens on the host afterwards: links, routes, sysctls of others.
mod host_changes;
/// Installing and taking away, in the root file system of an image.
mod install;
/// The kernel changed by hand and by others: seen, repaired, removed.
mod kernel_by_hand;
/// `kill -9` at any moment.
mod kill;
/// The lab that isoplan ships.
mod lab_build;
/// `isoplan lab` as a process.
mod lab_process;
/// What holds for every topology.
mod laws;
/// isoplan as a crate.
mod library;
/// Not a test: what the kernel holds, as other programs show it.
mod live;
/// What a review says where no way tells it.
mod loosened;
/// Not a test: a comparison with every state that a cell can have.
mod made_up;
/// What changes in meaning from one topology to another.
mod meaning;
/// Packets that hosts do not send every day.
mod odd_packets;
/// Man pages, completions, licences.
mod package;
/// What packets show: what is closed after an apply, and what goes on working.
mod packets;
/// The page of a comparison, in a browser.
mod page;
/// The document about speed.
mod performance;
/// Pictures of hosts.
mod pictures;
/// The pipelines of docs/review.md.
mod pipelines;
/// The prober that isoplan ships.
mod prober;
/// Random topologies, and what packets show of them.
mod proven;
/// Changes under traffic.
mod re_apply;
/// The reference: the command line, exit codes, files.
mod reference;
/// Faults that isoplan once had.
mod regressions;
/// What a bot posts below a pull request.
mod review;
/// Residual risks of a host.
mod risks;
/// The last change undone.
mod rollback;
/// Snapshots and saved plans.
mod saved;
/// Ten thousand bridges.
mod scale;
/// Schemas of what isoplan reads and prints.
mod schema;
/// The answer of `isoplan status`.
mod status;
/// What the sysctl approach stops and what it does not.
mod sysctl_approach;
/// What packets show on hosts of every other kind.
mod topologies;
/// The daemon that keeps the policy in place.
mod watch;

use lab::node::Node;
use lab::probe::Probe;
use lab::{HostSpec, Lab, Outcome, Program};

/// The program under test.
const ISOPLAN: &str = env!("CARGO_BIN_EXE_isoplan");

/// A lab, and isoplan with the topology file of that lab.
fn start(spec: HostSpec) -> (Lab, Program) {
    let program = Program::new(ISOPLAN).expect("make a directory for the program");
    program.write("topology.toml", &spec.topology()).expect("write the topology");
    (Lab::start(spec).expect("build the lab"), program)
}

/// Makes sure, before anything is written, that this is not the machine's own network, and sets what a new
/// namespace may have taken over from it.
fn has_namespace_of_its_own(host: &Node) {
    assert!(
        std::path::Path::new("/run/netns").is_dir(),
        "a test changes the network in a namespace of its own only"
    );
    host.ip("link set lo up\n").expect("bring the loopback up");
    host.sysctl("net/ipv4/ip_forward", "0").expect("write a sysctl");
    host.sysctl("net/ipv6/conf/all/forwarding", "0").expect("write a sysctl");
}

/// Sends every probe and says, all at once, which had another outcome than they should.
#[track_caller]
fn check(when: &str, probes: &[Probe<'_>], is_right: impl Fn(&Outcome) -> bool) {
    let wrong: Vec<String> = probes
        .iter()
        .map(|probe| (probe, probe.run()))
        .filter(|(_, outcome)| !is_right(outcome))
        .map(|(probe, outcome)| format!("  {probe}: {outcome:?}"))
        .collect();
    assert!(wrong.is_empty(), "{when}: {} of {} probes\n{}", wrong.len(), probes.len(), wrong.join("\n"));
}

/// Whether the packet came through and its answer came back.
fn is_answered(outcome: &Outcome) -> bool {
    matches!(outcome, Outcome::Answered { .. })
}

/// Whether the packet is known not to have come through.
fn is_blocked(outcome: &Outcome) -> bool {
    *outcome == Outcome::Blocked
}

/// The probes of a document of `verify --json`.
fn probes_of(result: &serde_json::Value) -> &[serde_json::Value] {
    result["probes"].as_array().map_or(&[], Vec::as_slice)
}

/// A file without its `mod` line would be a test that never runs.
#[test]
fn every_file_is_declared() {
    let directory = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it");
    let declared = include_str!("main.rs");
    for entry in std::fs::read_dir(directory).expect("list tests/it") {
        let path = entry.expect("list tests/it").path();
        let name = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        let is_declared = declared.lines().any(|line| line == format!("mod {name};"));
        assert!(name == "main" || is_declared, "tests/it/{name} is not declared in tests/it/main.rs");
    }
}
