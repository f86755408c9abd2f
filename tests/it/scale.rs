//! Ten thousand bridges.

use std::fmt::Write as _;
use std::time::Instant;

use nix::sys::resource::{UsageWho, getrusage};

use crate::lab::isolate::is_real_root;
use crate::lab::node::Node;
use crate::lab::{Privilege, Program, in_namespace_with};
use crate::live::objects;
use crate::{ISOPLAN, has_namespace_of_its_own};

const BRIDGES: usize = 10_000;

/// Memory that isoplan may take for that many, in KiB.
const MEMORY: i64 = 300 * 1024;

/// How long the transaction may be that adds one bridge.
const ADDITION: u64 = 8 * 1024;

pub(crate) fn topology(bridges: usize) -> String {
    let mut text = String::new();
    for (number, role) in ["service", "storage", "management"].into_iter().enumerate() {
        writeln!(
            text,
            "[[nic]]\nname = \"eth{number}\"\nrole = \"{role}\"\n\
             subnets = [\"192.168.{number}.0/24\", \"fd01:{number}::/64\"]"
        )
        .expect("write to a string");
    }
    for number in 0..bridges {
        let (high, low) = (number / 256, number % 256);
        writeln!(
            text,
            "[[bridge]]\nname = \"br-{number:05}\"\nsubnets = [\"10.{high}.{low}.0/24\", \"fd02:{number:x}::/64\"]"
        )
        .expect("write to a string");
    }
    text
}

/// The length of the transaction that adds one bridge to that many.
fn addition(isoplan: &Program, bridges: usize) -> u64 {
    isoplan.write("more.toml", &topology(bridges + 1)).expect("write a topology");
    let report = isoplan.run(&["apply", "more.toml", "--yes", "--json"]);
    assert_eq!(report.code, Some(0), "{report}");
    report.json()["transaction_bytes"].as_u64().expect("a number of bytes")
}

#[test]
fn ten_thousand_bridges() {
    in_namespace_with(Privilege::RootIfPossible, || {
        let host = Node::own("host");
        has_namespace_of_its_own(&host);
        let isoplan = Program::new(ISOPLAN).expect("make a directory");
        isoplan.write("few.toml", &topology(10)).expect("write a topology");
        isoplan.write("many.toml", &topology(BRIDGES)).expect("write a topology");

        let time = |args: &[&str]| {
            let started = Instant::now();
            let ran = isoplan.run(args);
            eprintln!("isoplan {}: {} ms", args.join(" "), started.elapsed().as_millis());
            ran
        };
        time(&["check", "many.toml"]).ok();
        let few = time(&["render", "few.toml", "--format", "nft"]).ok();
        let many = time(&["render", "many.toml", "--format", "nft"]).ok();
        // Of all children that were waited for, that is of isoplan alone up to here.
        let memory = getrusage(UsageWho::RUSAGE_CHILDREN).expect("read the usage").max_rss();
        eprintln!("check and render: {} MiB", memory / 1024);
        assert!(memory < MEMORY, "check or render took {memory} KiB");
        let count = |text: &str| text.matches("counter").count();
        assert_eq!(count(&few), count(&many), "rules do not grow with bridges");

        let apply = time(&["apply", "many.toml", "--yes", "--json"]);
        if !is_real_root() && apply.code != Some(0) {
            // Without root's rights `net.core.wmem_max` bounds what can be sent at once.
            assert_eq!(apply.code, Some(1), "{apply}");
            assert!(apply.stderr.contains("send buffer"), "{apply}");
            assert_eq!(host.nft(&["list", "tables"]).expect("list the tables"), "");
            return;
        }
        assert_eq!(apply.code, Some(0), "{}", apply.stderr);
        assert_eq!(apply.json()["tries"], 1);
        let plan = time(&["plan", "many.toml", "--detailed-exitcode"]);
        assert_eq!(plan.code, Some(0), "{plan}");
        let rules_of_many = objects(&host, "rule").len();
        let to_many = addition(&isoplan, BRIDGES);
        let plan = isoplan.run(&["plan", "more.toml", "--detailed-exitcode"]);
        assert_eq!(plan.code, Some(0), "{plan}");

        isoplan.run(&["remove", "--yes"]).ok();
        isoplan.run(&["apply", "few.toml", "--yes"]).ok();
        assert_eq!(objects(&host, "rule").len(), rules_of_many);
        let to_few = addition(&isoplan, 10);
        eprintln!("one bridge more: {to_few} bytes beside 10, {to_many} beside {BRIDGES}");
        assert!(to_many <= ADDITION, "{to_many} bytes for one bridge");
        assert!(to_many.abs_diff(to_few) <= 64, "{to_few} bytes beside 10, {to_many} beside {BRIDGES}");
    });
}

/// Memory that a plan for a few networks may take beside that of the program itself, in KiB.
const LITTLE: i64 = 14 * 1024;

#[test]
fn a_few_bridges_take_little_memory() {
    in_namespace_with(Privilege::RootIfPossible, || {
        let host = Node::own("host");
        has_namespace_of_its_own(&host);
        let isoplan = Program::new(ISOPLAN).expect("make a directory");
        isoplan.write("few.toml", &topology(3)).expect("write a topology");
        let most = || getrusage(UsageWho::RUSAGE_CHILDREN).expect("read the usage").max_rss();
        // A program without optimization is large.
        isoplan.run(&["--version"]).ok();
        let program = most();
        isoplan.run(&["plan", "few.toml"]).ok();
        isoplan.run(&["apply", "few.toml", "--yes"]).ok();
        isoplan.run(&["plan", "few.toml"]).ok();
        let memory = most() - program;
        eprintln!("plan and apply: {memory} KiB beside the program's {program} KiB");
        assert!(memory < LITTLE, "plan or apply took {memory} KiB");
    });
}
