//! `isoplan compare` and `isoplan verify`: what they make of what was seen, and the whole way with real packets.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use isoplan::approach::Approach;
use isoplan::render::comparison::{details, markdown, page, text};
use isoplan::render::plan::Style;
use isoplan::render::{junit, verification};
use isoplan::verify::probe::Probe;

use serde_json::Value;

use crate::golden::compare;
use crate::{ISOPLAN, made_up};

const NARROW: Style = Style { color: false, width: 80, all: false };

/// Every format of a comparison with every state, against the text that was read and agreed to.
#[test]
fn every_format_is_what_was_agreed_to() {
    let comparison = made_up::comparison(Approach::Nftables);
    let document = comparison.json();
    let mut of_sysctl = made_up::comparison(Approach::Sysctl);
    for (name, seen) in of_sysctl.observed.get_mut(&Approach::Sysctl).expect("observations") {
        if name.starts_with("docker0:eth1/") {
            seen.decided_by = vec![
                "route 192.168.57.0/24 dev eth1; no rule dropped it".to_owned(),
                "masqueraded by ip engine postrouting handle 7 (not isoplan's)".to_owned(),
            ];
        }
    }
    let again = |probe: &Probe| {
        Some(format!("isoplan lab topology.toml --approach sysctl -- isoplan probe {}", probe.name))
    };
    let of_sysctl = of_sysctl.verification_json(again);
    let of_nftables = comparison.verification_json(again);
    let all = Style { all: true, ..NARROW };
    let outputs = [
        ("compare.txt", text(&document, NARROW)),
        ("compare-wide.txt", text(&document, Style { width: 120, ..NARROW })),
        ("compare-colour.txt", text(&document, Style { color: true, ..NARROW })),
        ("compare-details.txt", details(&document, NARROW)),
        ("compare.md", markdown(&document)),
        ("compare.html", page(&document).expect("make the page")),
        ("compare.json", serde_json::to_string_pretty(&document).expect("JSON") + "\n"),
        ("verify.txt", verification::text(&of_sysctl, NARROW)),
        ("verify-details.txt", verification::text(&of_sysctl, all)),
        ("verify-nftables.txt", verification::text(&of_nftables, NARROW)),
        ("verify.json", serde_json::to_string_pretty(&of_sysctl).expect("JSON") + "\n"),
        ("verify.xml", junit::file(&of_sysctl).expect("make the XML")),
    ];
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/comparison");
    let wrong: Vec<_> =
        outputs.iter().filter_map(|(name, found)| compare(&directory.join(name), found)).collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    let files = std::fs::read_dir(directory).expect("list tests/comparison").count();
    assert_eq!(files, outputs.len(), "a file that nothing is compared with");
    for (name, found) in outputs.iter().filter(|(name, _)| name.ends_with(".txt")) {
        let width = if name.contains("wide") { 120 } else { 80 };
        let is_long = |line: &&str| line.chars().count() > width && !line.contains(['\u{1b}', '$']);
        let long: Vec<_> =
            found.lines().filter(is_long).filter(|line| !line.trim_start().starts_with("again ")).collect();
        assert!(long.is_empty(), "{name}: longer than {width} columns: {long:#?}");
    }
}

/// What each cell says, by question, in the order of the columns.
fn cells(document: &Value) -> BTreeMap<String, Vec<String>> {
    let words = |question: &Value| {
        let cells = question["cells"].as_array().expect("cells");
        cells
            .iter()
            .map(|cell| match cell["family"].as_str() {
                Some(family) => format!("{} {family}", cell["cell"].as_str().expect("a word")),
                None => cell["cell"].as_str().expect("a word").to_owned(),
            })
            .collect()
    };
    let questions = document["questions"].as_array().expect("questions");
    questions
        .iter()
        .map(|question| (question["question"].as_str().expect("an id").to_owned(), words(question)))
        .collect()
}

#[test]
fn a_cell_says_the_worst_of_its_probes() {
    let document = serde_json::to_value(made_up::comparison(Approach::Nftables).json()).expect("JSON");
    let cells = cells(&document);
    // Under none, sysctl, route and nftables.
    for (question, expected) in [
        ("send-to-guarded", ["open", "one-way", "blocked", "blocked"]),
        ("send-to-guarded-v6", ["open", "open", "open", "blocked"]),
        // Nobody answers a forged source: there is no way that is only half open.
        ("forged-source", ["open", "open", "open", "blocked"]),
        // What could not be tested is no blocked, and a leak in one family says so.
        ("odd-packets", ["open", "open IPv6", "partly-tested", "blocked"]),
        // Blocked under all, and nobody knows whether it would arrive.
        ("from-guarded", ["untested"; 4]),
        // Not answered before either; answered now.
        ("after-nic-down", ["open", "as-before", "blocked", "blocked"]),
        ("after-nic-recreated", ["open", "open", "blocked", "blocked"]),
        ("after-macvlan", ["open"; 4]),
        ("works", ["works", "works", "broken", "works"]),
    ] {
        assert_eq!(cells[question], expected, "{question}");
    }
    let results = document["results"].as_array().expect("results");
    let conclusions: Vec<&Value> = results.iter().map(|result| &result["conclusion"]).collect();
    // One probe could not be tested without rules: nothing is known of it under any approach.
    assert_eq!(conclusions, [&Value::Null, &"leaks".into(), &"leaks".into(), &"unknown".into()]);
    let statuses = |approach: usize| -> Vec<&str> {
        let guarantees = results[approach]["guarantees"].as_array().expect("guarantees");
        guarantees.iter().map(|guarantee| guarantee["status"].as_str().expect("a status")).collect()
    };
    assert_eq!(statuses(1), ["confirmed", "not-shown"]);
    assert_eq!(statuses(2), ["contradicted"]);
    assert_eq!(statuses(3), ["confirmed", "confirmed", "not-shown", "not-shown"]);
}

fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures").join(name)
}

/// Runs isoplan beside the topology of a fixture; none where no lab can be made here.
pub(crate) fn run(fixture_name: &str, args: &[&str]) -> Option<Output> {
    let output =
        Command::new(ISOPLAN).args(args).current_dir(fixture(fixture_name)).output().expect("run isoplan");
    let stderr = String::from_utf8_lossy(&output.stderr);
    if output.status.code() == Some(77) && stderr.contains("cannot make a lab here") {
        assert!(std::env::var_os("CI").is_none(), "no lab here, and CI may not skip: {stderr}");
        eprintln!("skipped: {stderr}");
        return None;
    }
    Some(output)
}

/// The same, with its standard output and the exit code that it must have.
#[track_caller]
fn said(fixture_name: &str, args: &[&str], code: i32) -> Option<String> {
    let output = run(fixture_name, args)?;
    let (stdout, stderr) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert_eq!(output.status.code(), Some(code), "{args:?}\n{stdout}{stderr}");
    assert_eq!(stderr, "", "{args:?}");
    Some(stdout.into_owned())
}

#[test]
fn real_packets_tell_the_approaches_apart() {
    let Some(text) = said("service-instance", &["compare", "topology.toml", "--quick", "--json"], 0) else {
        return;
    };
    let document: Value = serde_json::from_str(&text).expect("JSON");
    let approaches = ["none", "iptables", "nftables-subnet", "sysctl", "route", "nftables", "layered"];
    assert_eq!(document["approaches"], Value::from(approaches.to_vec()));
    let cells = cells(&document);
    for (question, expected) in [
        ("send-to-guarded", ["open", "blocked", "blocked", "one-way", "blocked", "blocked", "blocked"]),
        ("send-to-guarded-v6", ["open", "open", "blocked", "open", "blocked", "blocked", "blocked"]),
        ("forged-source", ["open", "open", "open", "open", "open", "blocked", "blocked"]),
        ("behind-guarded", ["open", "open", "open", "open", "open", "blocked", "blocked"]),
        ("established-before", ["open", "open IPv6", "blocked", "open", "blocked", "blocked", "blocked"]),
        ("host-address", ["open", "open", "open", "open", "open", "blocked", "blocked"]),
        ("works", ["works"; 7]),
    ] {
        assert_eq!(cells[question], expected, "{question}");
    }
    let probes = document["probes"].as_array().expect("probes");
    assert!(probes.len() >= 110, "{} probes", probes.len());
    for result in document["results"].as_array().expect("results") {
        assert_eq!(result["counts"]["could_not_test"], 0, "{result:#}");
        assert!(result["counts"]["vacuous"].as_u64() < Some(30), "{}", result["counts"]);
        for guarantee in result["guarantees"].as_array().expect("guarantees") {
            assert_ne!(guarantee["status"], "contradicted", "{guarantee:#}");
        }
        for hole in result["holes"].as_array().expect("holes") {
            let is_known = hole["shown"] == true || hole["left_out"] == true;
            assert!(is_known, "{}: {hole:#}", result["approach"]);
        }
    }
    // Storage takes what comes from a container for the host's own.
    let udp = probes.iter().find(|probe| probe["probe"] == "docker0:eth1/udp4").expect("such a probe");
    let of_sysctl = udp["results"]
        .as_array()
        .and_then(|results| results.iter().find(|result| result["approach"] == "sysctl"));
    let of_sysctl = of_sysctl.expect("a result");
    assert_eq!((&of_sysctl["as_host"], &of_sysctl["outcome"]), (&true.into(), &"delivered".into()));
    assert_eq!(of_sysctl["seen"][0]["source"], "192.168.57.10");
}

#[test]
fn a_leak_is_a_counterexample_that_can_be_sent_again() {
    let directory = tempfile::tempdir().expect("make a directory");
    let junit = directory.path().join("junit.xml");
    let junit_arg = junit.to_str().expect("UTF-8");
    let args = ["verify", "topology.toml", "--approach", "sysctl", "--probes", "docker0:eth1/udp4"];
    let Some(text) = said("service-instance", &[&args[..], &["--junit", junit_arg]].concat(), 3) else {
        return;
    };
    for line in [
        "LEAK  docker0 -> eth1 (storage), IPv4: must be blocked, and was delivered",
        "  seen      192.168.57.10:",
        "  let by    ",
        "  again     isoplan lab topology.toml --approach sysctl -- isoplan probe docker0:eth1/udp4",
        "does NOT hold",
    ] {
        assert!(text.contains(line), "no `{line}`:\n{text}");
    }
    let xml = std::fs::read_to_string(junit).expect("read the XML");
    assert!(xml.contains("tests=\"1\" failures=\"1\" errors=\"0\""), "{xml}");
    // As it is printed, by a shell that finds isoplan.
    let again = text.lines().find_map(|line| line.trim_start().strip_prefix("again ")).expect("a command");
    let programs = Path::new(ISOPLAN).parent().expect("a directory").display();
    let path = format!("{programs}:{}", std::env::var("PATH").expect("a path"));
    let output = Command::new("sh")
        .args(["-c", again.trim()])
        .env("PATH", path)
        .current_dir(fixture("service-instance"))
        .output()
        .expect("run a shell");
    let stdout = String::from_utf8_lossy(&output.stdout);
    assert_eq!(output.status.code(), Some(3), "{stdout}{}", String::from_utf8_lossy(&output.stderr));
    assert!(stdout.contains("docker0:eth1/udp4: arrived, and was not answered"), "{stdout}");
}

#[test]
fn what_holds_is_verified() {
    let Some(text) = said("service-instance", &["verify", "topology.toml", "--quick"], 0) else { return };
    assert!(text.contains("nftables for topology.toml holds: "), "{text}");
    assert!(!text.contains("LEAK") && !text.contains("BROKEN") && text.contains("as expected"), "{text}");
    assert!(text.lines().all(|line| line.chars().count() <= 80), "{text}");
    let args = ["verify", "topology.toml", "--quick", "--json", "--probes", "docker0:eth1/udp?"];
    let document: Value =
        serde_json::from_str(&said("service-instance", &args, 0).expect("a lab")).expect("JSON");
    assert_eq!(document["result"]["counts"]["held"], 2, "{document:#}");
    assert_eq!(document["leaks"], Value::Array(Vec::new()));
}

/// README.md shows the table, as it is today.
#[test]
fn the_table_of_the_readme_is_what_packets_say() {
    let Some(text) = said("service-instance", &["compare", "topology.toml", "--quick"], 0) else { return };
    let readme = include_str!("../../README.md");
    let (_, section) = readme.split_once("## Which approach holds").expect("such a section");
    let shown =
        section.split("```console\n").nth(1).and_then(|rest| rest.split("```").next()).expect("a table");
    let (command, shown) = shown.split_once('\n').expect("a command");
    assert_eq!(command, "$ isoplan compare topology.toml --quick");
    let shown = shown.trim_end_matches("[...]\n");
    assert!(shown.lines().count() > 20 && text.starts_with(shown), "{shown}\n\nand not\n\n{text}");
}

/// The exit code is about the approach of the file; others may leak as they like.
#[test]
fn the_exit_code_is_about_the_approach_of_the_file() {
    let one = ["--probes", "docker0:eth1/udp4", "--quick"];
    let of = |fixture_name, more: &[&str], code| {
        said(fixture_name, &[&["compare", "topology.toml"], &one[..], more].concat(), code)
    };
    let Some(text) = of("service-instance", &[], 0) else { return };
    assert!(
        text.contains("ONE-WAY") && text.contains("nftables, which topology.toml chooses, holds"),
        "{text}"
    );
    let text = of("sysctl", &[], 3).expect("a lab");
    assert!(text.contains("sysctl, which topology.toml chooses, does NOT hold"), "{text}");
    let text = of("sysctl", &["--approaches", "nftables,none"], 0).expect("a lab");
    assert!(text.contains("sysctl, which topology.toml chooses, is not among these."), "{text}");
    assert!(text.contains("none nftables\n"), "{text}");
}

#[test]
fn a_wrong_question_is_refused_before_there_is_a_lab() {
    for (args, code, says) in [
        (
            &["compare", "topology.toml", "--probes", "nothing*"][..],
            64,
            "no probe has a name that fits `nothing*`",
        ),
        (
            &["compare", "topology.toml", "--quick", "--probes", "*+nic-down"],
            64,
            "--quick leaves out every probe",
        ),
        (
            &["compare", "topology.toml", "--approaches", "iptables,nft"],
            64,
            "possible values: none, iptables",
        ),
        (&["compare", "topology.toml", "--json", "--markdown"], 64, "cannot be used with"),
        (&["verify", "topology.toml", "--approach", "none"], 64, "possible values: iptables"),
        (&["verify", "nowhere.toml"], 1, "cannot read nowhere.toml"),
    ] {
        let output = run("service-instance", args).expect("no lab is needed");
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert_eq!((output.status.code(), output.stdout.len()), (Some(code), 0), "{args:?}: {stderr}");
        assert!(stderr.contains(says), "{args:?}: {stderr}");
    }
}
