//! Every fixture in every format, against the text that was read and agreed to; and what those texts make of a
//! kernel.

use std::collections::BTreeSet;
use std::env;
use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use isoplan::approach;
use isoplan::intent::Intent;
use isoplan::topology::{self, ApproachName};
use serde_json::Value;

use crate::lab::isolate::has_program;
use crate::lab::node::{Node, PATH};
use crate::lab::{Program, in_namespace};
use crate::laws::{assert_well_formed, listed, table_changes};
use crate::{ISOPLAN, has_namespace_of_its_own};

/// At least these; others are found by themselves.
const CASES: [&str; 11] = [
    "exceptions",
    "flat",
    "ipv6-only",
    "nat-gateway",
    "no-bridge",
    "overlay",
    "router",
    "service-instance",
    "sysctl",
    "three-nics",
    "wildcard",
];

/// Extensions of the expected files, with the arguments that print them.
const OUTPUTS: [(&str, &[&str]); 5] = [
    ("nft", &["render", "topology.toml", "--format", "nft"]),
    ("iptables", &["render", "topology.toml", "--format", "iptables"]),
    ("sysctl", &["render", "topology.toml", "--format", "sysctl"]),
    ("json", &["render", "topology.toml", "--format", "json"]),
    ("check", &["check", "topology.toml"]),
];

pub(crate) fn fixtures() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures")
}

/// The valid cases, by the names of their directories.
pub(crate) fn cases() -> BTreeSet<String> {
    let entries = fs::read_dir(fixtures()).expect("list the fixtures");
    let names = entries.map(|entry| entry.expect("list the fixtures").file_name().into_string());
    let names = names.map(|name| name.expect("a name in UTF-8")).filter(|name| name != "invalid");
    names.filter(|name| fixtures().join(name).is_dir()).collect()
}

fn topology_text(case: &str) -> String {
    fs::read_to_string(fixtures().join(case).join("topology.toml")).expect("read a topology")
}

pub(crate) fn expected(case: &str, extension: &str) -> String {
    let path = fixtures().join(case).join(format!("expected.{extension}"));
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// Compares a text with a file that was agreed to, or writes it there when `ISOPLAN_BLESS` is set. What is wrong
/// with it, if anything.
pub(crate) fn compare(path: &Path, found: &str) -> Option<String> {
    if env::var_os("ISOPLAN_BLESS").is_some() {
        fs::write(path, found).expect("write an expected file");
        return None;
    }
    let how = "ISOPLAN_BLESS=1 cargo test writes it anew";
    let Ok(expected) = fs::read_to_string(path) else {
        return Some(format!("{} is missing; {how}", path.display()));
    };
    if expected == found {
        return None;
    }
    let mut lines = (1..).zip(expected.lines().map(Some).chain(std::iter::repeat(None)));
    let mut found = found.lines().map(Some).chain(std::iter::repeat(None));
    let differing = lines.find_map(|(number, wanted)| {
        let is = found.next().flatten();
        (wanted != is || wanted.is_none()).then_some((number, wanted, is))
    });
    let (number, wanted, is) = differing?;
    Some(format!(
        "{}:{number} differs; {how}\n  expected: {}\n  found:    {}",
        path.display(),
        wanted.unwrap_or("(end of file)"),
        is.unwrap_or("(end of file)")
    ))
}

#[test]
fn the_cases_that_must_exist_do() {
    let cases = cases();
    let missing: Vec<_> = CASES.iter().filter(|case| !cases.contains(**case)).collect();
    assert!(missing.is_empty(), "{missing:?} not in fixtures/");
}

#[test]
fn every_output_is_what_was_agreed_to() {
    in_namespace(|| {
        let isoplan = Program::new(ISOPLAN).expect("make a directory");
        let mut wrong = Vec::new();
        for case in cases() {
            let directory = fixtures().join(&case);
            for (extension, args) in OUTPUTS {
                let output = isoplan.command(args).current_dir(&directory).output().expect("run isoplan");
                let stderr = String::from_utf8_lossy(&output.stderr);
                assert!(output.status.success() && stderr.is_empty(), "{case}: {}: {stderr}", args.join(" "));
                let text = String::from_utf8(output.stdout).expect("UTF-8");
                if extension == "json" {
                    let value: Value = serde_json::from_str(&text).expect("JSON");
                    assert_eq!((&value["version"], &value["kind"]), (&1.into(), &"desired".into()), "{case}");
                }
                wrong.extend(compare(&directory.join(format!("expected.{extension}")), &text));
            }
        }
        assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    });
}

/// A file that nothing compares would look agreed to.
#[test]
fn every_expected_file_is_compared() {
    for case in cases() {
        let entries = fs::read_dir(fixtures().join(&case)).expect("list a fixture");
        let names = entries.map(|entry| entry.expect("list a fixture").file_name().into_string());
        let names: BTreeSet<String> = names.map(|name| name.expect("a name in UTF-8")).collect();
        let outputs = OUTPUTS.iter().map(|(extension, _)| format!("expected.{extension}"));
        let known: BTreeSet<String> = outputs.chain(["topology.toml".to_owned()]).collect();
        assert_eq!(names, known, "fixtures/{case}");
    }
}

#[test]
fn every_rule_has_an_id_and_every_drop_a_counter() {
    for case in cases() {
        let topology = topology::parse("topology.toml", topology_text(&case).as_bytes());
        let topology = topology.unwrap_or_else(|refused| panic!("{case}: {}", refused.render(false, 100)));
        let desired = approach::with_approach(&Intent::new(&topology), ApproachName::Nftables);
        assert!(!desired.ruleset.is_empty(), "{case}");
        assert_well_formed(&desired.ruleset);
    }
    // The same of the text, where a rule could be written without what it has.
    for case in cases() {
        let text = expected(&case, "nft");
        let mut rules = 0;
        for line in text.lines().filter(|line| line.starts_with("\t\t") && line.contains(" comment \"")) {
            let (rule, comment) = line.rsplit_once(" comment \"").expect("a comment");
            let comment = comment.strip_suffix('"').unwrap_or_else(|| panic!("{case}: {line}"));
            assert!(comment.len() <= 125, "{case}: {line}");
            assert!(!rule.ends_with("drop") || rule.ends_with("counter drop"), "{case}: {line}");
            rules += 1;
        }
        assert!(rules > 3, "{case}: {rules} rules");
    }
}

/// A namespace of one's own, and isoplan in a directory that has the topology of a case for the nftables approach.
pub(crate) fn start(host: &Node, case: &str) -> Program {
    host.nft(&["flush", "ruleset"]).expect("flush the rules");
    let isoplan = Program::new(ISOPLAN).expect("make a directory");
    // What `render --format nft` prints does not depend on the approach, masquerade does.
    let text = topology_text(case).replace("approach = \"sysctl\"", "masquerade = false");
    isoplan.write("topology.toml", &text).expect("write a topology");
    isoplan
}

#[test]
fn nft_loads_every_expected_file_and_isoplan_finds_no_difference() {
    in_namespace(|| {
        let host = Node::own("host");
        has_namespace_of_its_own(&host);
        for case in cases() {
            let isoplan = start(&host, &case);
            let text = expected(&case, "nft");
            host.nft_load(&text).unwrap_or_else(|error| panic!("{case}: {error}"));
            assert_eq!(table_changes(&isoplan, "topology.toml"), Vec::<Value>::new(), "{case}");
            let loaded = listed(&host);
            assert!(loaded.len() > 10, "{case}: {loaded:#?}");
            // Every rule of the file is there, each with its comment.
            let comments = |text: &str| {
                let found = text.lines().filter_map(|line| line.rsplit_once(" comment \""));
                found.map(|(_, comment)| comment.to_owned()).collect::<BTreeSet<String>>()
            };
            assert_eq!(comments(&loaded.join("\n")), comments(&text), "{case}");

            let isoplan = start(&host, &case);
            isoplan.run(&["apply", "topology.toml", "--yes"]).ok();
            assert_eq!(listed(&host), loaded, "{case}: applied and loaded");
        }
    });
}

/// The output of a program that must succeed.
fn run(case: &str, program: &str, args: &[&str], input: &str) -> String {
    let mut command = Command::new(program);
    command.args(args).env("PATH", PATH).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().expect("start a program");
    let mut stdin = child.stdin.take().expect("stdin is a pipe");
    // A program that ends early closes the pipe; its status then says why.
    let _ = stdin.write_all(input.as_bytes());
    drop(stdin);
    let output = child.wait_with_output().expect("wait for a program");
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{case}: {program}: {stderr}\n{input}");
    String::from_utf8(output.stdout).expect("UTF-8")
}

#[test]
fn iptables_loads_every_expected_file() {
    if !has_program("iptables-restore") || !has_program("ip6tables-restore") {
        assert!(env::var_os("CI").is_none(), "CI has to have iptables");
        eprintln!("skipped: no iptables here");
        return;
    }
    in_namespace(|| {
        let host = Node::own("host");
        has_namespace_of_its_own(&host);
        for case in cases() {
            let text = expected(&case, "iptables");
            for (restore, save, skipped) in
                [("iptables-restore", "iptables-save", "-6"), ("ip6tables-restore", "ip6tables-save", "-4")]
            {
                host.nft(&["flush", "ruleset"]).expect("flush the rules");
                run(&case, restore, &["--noflush"], &text);
                let saved = run(&case, save, &[], "");
                // Every rule for this family is there, under its id.
                let ids = |text: &str| {
                    let rules = text.lines().filter(|line| line.starts_with("-A ISOPLAN"));
                    let rules = rules.filter(|line| !line.split(' ').any(|word| word == skipped));
                    let mut ids: Vec<String> = rules
                        .map(|rule| {
                            let chain = rule.split(' ').nth(1).unwrap_or_default();
                            let (_, id) = rule.rsplit_once("--comment ").expect("a comment");
                            format!(
                                "{chain} {}",
                                id.trim_matches('"').split(['"', ' ']).next().unwrap_or_default()
                            )
                        })
                        .collect();
                    ids.sort_unstable();
                    ids
                };
                assert_eq!(ids(&saved), ids(&text), "{case}: {restore}");
                assert!(!ids(&text).is_empty(), "{case}: {restore}");
                for hook in ["FORWARD", "INPUT"] {
                    let jumps =
                        saved.lines().filter(|line| line.starts_with(&format!("-A {hook} -j ISOPLAN")));
                    assert_eq!(jumps.count(), 1, "{case}: {restore}: {hook}");
                }
            }
        }
    });
}
