//! isoplan beside the rule sets of real engines and firewalls, of versions that are not installed here: it reads past
//! them, tells whose they are, and leaves every byte of them as it was.

use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_json::Value;

use crate::lab::node::{Node, PATH};
use crate::lab::{Program, in_namespace};
use crate::{ISOPLAN, has_namespace_of_its_own};

/// What each host was like: the capture, whose tables there are, and the bridges besides docker0.
const CAPTURES: [(&str, &[&str], &[&str]); 15] = [
    ("cni-bridge-firewall-iptables-same-bridge", &["CNI"], &["cni0"]),
    ("docker20-legacy-one-container", &[], &[]),
    ("docker20-nft-one-container", &["Docker"], &[]),
    ("docker20-podman43-both", &["Docker", "Podman (netavark)"], &["podman0"]),
    ("docker26-nft-one-container", &["Docker"], &[]),
    ("docker26-podman54-both", &["Docker", "Podman (netavark)"], &["podman0"]),
    ("docker28-nft-one-container", &["Docker"], &[]),
    ("docker28-podman58-both", &["Docker", "Podman (netavark)"], &["podman0"]),
    ("firewalld13-docker20-1", &["Docker", "firewalld"], &[]),
    ("firewalld23-docker26-1", &["Docker", "firewalld"], &[]),
    ("firewalld25-docker28-1", &["Docker", "firewalld"], &[]),
    ("podman43-netavark-isolate", &["Podman (netavark)"], &["podman0", "podman1", "podman2", "podman3"]),
    ("podman54-netavark-isolate", &["Podman (netavark)"], &["podman0", "podman1", "podman2", "podman3"]),
    ("podman58-netavark-isolate", &["Podman (netavark)"], &["podman0", "podman1", "podman2", "podman3"]),
    ("ufw036-docker20", &["Docker", "ufw"], &[]),
];

const TOPOLOGY: &str = "\
[[bridge]]\nname = \"docker0\"\nsubnets = [\"172.17.0.0/16\"]\n
[[nic]]\nname = \"eth0\"\nrole = \"service\"\nsubnets = [\"10.20.0.0/24\"]\n
[[nic]]\nname = \"eth1\"\nrole = \"storage\"\nsubnets = [\"10.99.0.0/24\"]\n
[isolation]\nmasquerade = false\n";

fn directory() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/captures")
}

fn read(capture: &str, extension: &str) -> Option<String> {
    fs::read_to_string(directory().join(format!("{capture}.{extension}"))).ok()
}

/// The links of a capture, with their addresses.
fn make_links(host: &Node, capture: &str) -> Vec<String> {
    let text = read(capture, "links").expect("the links of a capture");
    let mut names = Vec::new();
    let mut lines = String::new();
    for line in text.lines() {
        let mut words = line.split(' ');
        let name = words.next().expect("a name");
        let addresses: Vec<&str> = words.collect();
        match name.starts_with("eth") || addresses.is_empty() {
            true => lines.push_str(&format!("link add {name} type veth peer name p{}\n", names.len())),
            false => lines.push_str(&format!("link add {name} type bridge\n")),
        }
        for address in addresses {
            lines.push_str(&format!("address add {address} dev {name}\n"));
        }
        lines.push_str(&format!("link set {name} up\n"));
        names.push(name.to_owned());
    }
    host.ip(&lines).expect("make the links of a capture");
    names
}

/// Feeds text to a program of iptables.
fn restore(program: &str, text: &str) {
    let mut child = Command::new(program)
        .env("PATH", PATH)
        .stdin(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap_or_else(|error| panic!("start {program}: {error}"));
    child.stdin.take().expect("it is piped").write_all(text.as_bytes()).expect("feed it");
    let output = child.wait_with_output().expect("wait for it");
    assert!(output.status.success(), "{program}: {}", String::from_utf8_lossy(&output.stderr));
}

fn load(host: &Node, capture: &str) {
    if let Some(text) = read(capture, "nft") {
        host.nft_load(&text).unwrap_or_else(|error| panic!("load {capture}: {error}"));
    }
    for (extension, program) in [
        ("save", "iptables-nft-restore"),
        ("save6", "ip6tables-nft-restore"),
        ("legacy-save", "iptables-legacy-restore"),
    ] {
        if let Some(text) = read(capture, extension) {
            restore(program, &text);
        }
    }
}

/// Every table that is not isoplan's, with its handles and without what it counted: links that come up send packets.
fn others(host: &Node) -> String {
    let tables = host.nft(&["list", "tables"]).expect("list the tables");
    let names = tables
        .lines()
        .filter_map(|line| line.strip_prefix("table "))
        .filter(|table| !table.ends_with(" isoplan"));
    let listed = names.map(|table| {
        let (family, name) = table.split_once(' ').expect("a family and a name");
        host.nft(&["-s", "-a", "list", "table", family, name]).expect("list a table")
    });
    listed.collect()
}

fn legacy_rules(capture: &str) -> String {
    if read(capture, "legacy-save").is_none() {
        return String::new();
    }
    let output =
        Command::new("iptables-legacy-save").env("PATH", PATH).output().expect("start iptables-legacy-save");
    // Comments have the time in them, policies what they counted.
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let lines = text
        .lines()
        .filter(|line| !line.starts_with('#'))
        .map(|line| line.split(" [").next().unwrap_or_default());
    lines.collect::<Vec<_>>().join("\n")
}

#[test]
fn isoplan_beside_every_capture() {
    in_namespace(|| {
        let host = Node::own("host");
        has_namespace_of_its_own(&host);
        for (capture, engines, bridges) in CAPTURES {
            let isoplan = Program::new(ISOPLAN).expect("make a directory");
            isoplan.write("topology.toml", TOPOLOGY).expect("write a file");
            // As every captured host had it.
            host.sysctl("net/ipv4/ip_forward", "1").expect("write a sysctl");
            let links = make_links(&host, capture);
            load(&host, capture);
            let before =
                (host.nft(&["-s", "list", "ruleset"]).expect("list"), others(&host), legacy_rules(capture));
            assert!(before.0.len() + before.2.len() > 1000, "{capture}: little was loaded");

            isoplan.run(&["apply", "topology.toml", "--yes"]).ok();
            assert_eq!(
                (others(&host), legacy_rules(capture)),
                (before.1.clone(), before.2.clone()),
                "{capture}: apply"
            );
            let plan = isoplan.run(&["plan", "topology.toml", "--detailed-exitcode"]);
            assert_eq!(plan.code, Some(0), "{capture}: {plan}");
            let status = isoplan.run(&["status", "topology.toml", "--json"]);
            assert_eq!(status.code, Some(0), "{capture}: {status}");
            check(capture, &status.json(), engines, bridges);

            // Its own tables alone gone: another did that, and those of the engine are the evidence.
            host.nft(&["delete", "table", "inet", "isoplan"]).expect("delete a table");
            let status = isoplan.run(&["status", "topology.toml", "--json"]);
            assert_eq!(status.code, Some(2), "{capture}: {status}");
            let guess = &status.json()["probably"][0];
            assert!(
                ["flush", "removed"].contains(&guess["who"].as_str().expect("a word")),
                "{capture}: {guess}"
            );
            for engine in engines {
                let evidence = guess["evidence"].as_str().expect("evidence");
                assert!(evidence.contains(engine), "{capture}: {guess}");
            }
            isoplan.run(&["apply", "topology.toml", "--yes"]).ok();

            isoplan.run(&["remove", "--yes"]).ok();
            let after =
                (host.nft(&["-s", "list", "ruleset"]).expect("list"), others(&host), legacy_rules(capture));
            assert_eq!(after, before, "{capture}: remove");
            host.nft(&["flush", "ruleset"]).expect("flush");
            let lines: String = links.iter().map(|link| format!("link delete {link}\n")).collect();
            host.ip(&lines).expect("delete links");
            if read(capture, "legacy-save").is_some() {
                restore("iptables-legacy-restore", "*nat\nCOMMIT\n*filter\nCOMMIT\n");
            }
        }
    });
}

fn check(capture: &str, status: &Value, engines: &[&str], bridges: &[&str]) {
    let found: Vec<&str> =
        status["engines"].as_array().expect("a list").iter().filter_map(Value::as_str).collect();
    assert_eq!(found, engines, "{capture}");
    let of = |name: &str| -> Vec<&str> {
        let risks = status["risks"].as_array().expect("a list").iter();
        risks.filter(|risk| risk["name"] == name).filter_map(|risk| risk["subject"].as_str()).collect()
    };
    assert_eq!(of("unknown-bridge"), bridges, "{capture}");
    // Once loaded, its tables stay in the kernel, empty.
    if capture.contains("legacy") {
        assert_eq!(of("legacy-tables"), ["ip_tables_names"], "{capture}");
    }
    assert_eq!(of("stacked-on-guarded-nic"), Vec::<&str>::new(), "{capture}");
    assert_eq!(status["tables"][0]["unknown"], serde_json::json!([]), "{capture}");
}

/// A capture without its line in the list would be loaded by nobody.
#[test]
fn every_capture_is_used_and_described() {
    let readme = fs::read_to_string(directory().join("README.md")).expect("a README");
    for entry in fs::read_dir(directory()).expect("list the captures") {
        let path = entry.expect("list the captures").path();
        let name = path.file_stem().expect("a name").to_string_lossy().into_owned();
        if name == "README" {
            continue;
        }
        assert!(CAPTURES.iter().any(|(capture, _, _)| *capture == name), "{name} is used by no test");
        assert!(readme.contains(&format!("`{name}`")), "{name} is not in README.md");
    }
}
