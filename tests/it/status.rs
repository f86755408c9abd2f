//! `isoplan status`: what differs and who did it, counters by pairs, metrics, and the live view.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, symlink};
use std::process::Stdio;
use std::time::Instant;

use nix::pty::openpty;
use nix::sys::termios::tcgetattr;
use serde_json::Value;

use crate::lab::isolate::is_real_root;
use crate::lab::node::Node;
use crate::lab::{HostSpec, Privilege, Program, in_namespace, in_namespace_with};
use crate::{ISOPLAN, has_namespace_of_its_own};

fn start() -> (Node, Program) {
    let host = Node::own("host");
    has_namespace_of_its_own(&host);
    let isoplan = Program::new(ISOPLAN).expect("make a directory");
    isoplan.write("topology.toml", &HostSpec::service_instance().bare().topology()).expect("write a file");
    isoplan.run(&["apply", "topology.toml", "--yes"]).ok();
    (host, isoplan)
}

#[track_caller]
fn status(isoplan: &Program, code: i32) -> Value {
    let ran = isoplan.run(&["status", "topology.toml", "--json"]);
    assert_eq!(ran.code, Some(code), "{ran}");
    ran.json()
}

/// The word of the first guess.
fn who(status: &Value) -> &str {
    status["probably"][0]["who"].as_str().unwrap_or_default()
}

fn drift(status: &Value) -> Vec<String> {
    let list = status["drift"].as_array().expect("a list").iter();
    list.map(|one| {
        format!("{} {}", one["what"].as_str().unwrap_or_default(), one["says"].as_str().unwrap_or_default())
    })
    .collect()
}

#[test]
fn what_differs_is_said_and_who_did_it_guessed() {
    in_namespace(|| {
        let (host, isoplan) = start();
        let nft = |line: &str| host.nft(&line.split(' ').collect::<Vec<_>>()).expect("change the rule set");
        let again = || isoplan.run(&["apply", "topology.toml", "--yes"]).ok();
        let clean = status(&isoplan, 0);
        assert_eq!((&clean["probably"], &clean["drift"]), (&serde_json::json!([]), &serde_json::json!([])));

        nft("delete element inet isoplan guarded_links { \"eth1\" }");
        nft("add rule inet isoplan input accept");
        let by_hand = status(&isoplan, 2);
        assert_eq!(who(&by_hand), "by-hand", "{by_hand:#}");
        let said = drift(&by_hand).join("\n");
        assert!(said.contains("missing element \"eth1\" of set guarded_links (nic eth1)"), "{said}");
        assert!(said.contains("foreign rule `accept` in chain input"), "{said}");
        again();

        nft("flush chain inet isoplan forward");
        let emptied = status(&isoplan, 2);
        assert_eq!(who(&emptied), "chain-emptied", "{emptied:#}");
        let text = isoplan.run(&["status", "topology.toml"]).stdout;
        assert!(text.contains("Probably somebody ran `nft flush chain"), "{text}");
        again();

        nft("flush ruleset");
        let flushed = status(&isoplan, 2);
        assert_eq!(who(&flushed), "flush", "{flushed:#}");
        let said = drift(&flushed);
        let whole = said.len() == 1 && said[0].starts_with("missing table inet isoplan, with ");
        assert!(whole && said[0].ends_with(" rules"), "what is in it is not listed again: {said:?}");
        host.nft_load("table ip filter {\n chain DOCKER {\n }\n}\n").expect("load a table");
        let made_again = status(&isoplan, 2);
        assert_eq!(who(&made_again), "flush", "{made_again:#}");
        assert!(
            made_again["probably"][0]["evidence"].as_str().is_some_and(|text| text.contains("Docker")),
            "{made_again:#}"
        );
        again();

        host.sysctl("net/ipv4/ip_forward", "0").expect("write a sysctl");
        let sysctl = status(&isoplan, 2);
        assert_eq!(who(&sysctl), "by-hand", "{sysctl:#}");
        assert!(
            drift(&sysctl)[0].starts_with("different sysctl net/ipv4/ip_forward is 0 and should be 1"),
            "{sysctl:#}"
        );
        again();

        isoplan.run(&["remove", "--yes"]).ok();
        let removed = status(&isoplan, 2);
        assert_eq!(who(&removed), "removed", "{removed:#}");
    });
}

/// dockerd switches ip_forward on, which sets the key of every interface.
#[test]
fn a_restart_of_docker_is_guessed_where_its_chains_are() {
    in_namespace(|| {
        let (host, isoplan) = start();
        isoplan.run(&["remove", "--yes"]).ok();
        host.ip("link add eth1 type veth peer name p1\n").expect("make a link");
        let text = HostSpec::service_instance().bare().topology();
        let text = text.split("[isolation]").next().unwrap_or_default().to_owned();
        isoplan
            .write("topology.toml", &(text + "[isolation]\napproach = \"sysctl\"\n"))
            .expect("write a file");
        isoplan.run(&["apply", "topology.toml", "--yes"]).ok();
        status(&isoplan, 0);
        let flip = || {
            host.sysctl("net/ipv4/ip_forward", "0").expect("write a sysctl");
            host.sysctl("net/ipv4/ip_forward", "1").expect("write a sysctl");
        };
        flip();
        let unknown = status(&isoplan, 2);
        assert_eq!(who(&unknown), "forwarding-reset", "{unknown:#}");
        host.nft_load(
            "table ip filter {\n chain DOCKER {\n }\n chain FORWARD {\n type filter hook forward priority 0; policy drop;\n }\n}\n",
        )
        .expect("load a table");
        let docker = status(&isoplan, 2);
        assert_eq!(who(&docker), "docker", "{docker:#}");
        assert!(
            docker["probably"][0]["evidence"].as_str().is_some_and(|text| text.contains("policy of FORWARD")),
            "{docker:#}"
        );
    });
}

#[test]
fn what_waits_to_be_confirmed_is_told() {
    in_namespace(|| {
        let (_host, isoplan) = start();
        isoplan.run(&["remove", "--yes"]).ok();
        isoplan.run(&["apply", "topology.toml", "--yes", "--confirm-within", "600s"]).ok();
        let waits = status(&isoplan, 0);
        assert_eq!(waits["pending"]["of"], "topology.toml", "{waits:#}");
        let left = waits["pending"]["seconds_left"].as_u64().expect("a number");
        assert!((1..=600).contains(&left), "{left}");
        let text = isoplan.run(&["status", "topology.toml"]).ok();
        assert!(text.contains("the apply of topology.toml is undone in"), "{text}");
        let metrics = parsed(&isoplan.run(&["status", "topology.toml", "--format", "prometheus"]).ok());
        let seconds = metrics[&("isoplan_pending_confirmation_seconds".to_owned(), BTreeMap::new())];
        assert!((1.0..=600.0).contains(&seconds), "{seconds}");
        isoplan.run(&["confirm"]).ok();
        assert_eq!(status(&isoplan, 0)["pending"], Value::Null);
    });
}

/// Every counter of every fixture stands for somebody, and what is one pair is said to be one.
#[test]
fn every_drop_rule_of_every_fixture_has_its_pair() {
    let mut pairs = BTreeSet::new();
    for entry in
        fs::read_dir(std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures")).expect("list")
    {
        let path = entry.expect("list").path().join("topology.toml");
        let Ok(text) = fs::read_to_string(&path) else { continue };
        let topology =
            isoplan::topology::parse(&path.display().to_string(), text.as_bytes()).expect("a topology");
        let intent = isoplan::intent::Intent::new(&topology);
        let counted = isoplan::approach::counted(&intent);
        for (family, table) in &isoplan::approach::desired(&intent).ruleset {
            for chain in table.chains.values() {
                for rule in &chain.rules {
                    use isoplan::ruleset::{Expr, Verdict};
                    if rule.exprs.last() != Some(&Expr::Verdict(Verdict::Drop)) {
                        continue;
                    }
                    let id = rule.id().expect("an id").0;
                    let mut same = counted
                        .iter()
                        .filter(|((f, c, i), _)| (f, c.as_str(), *i) == (family, &*chain.name, id.as_str()));
                    let (_, counted) =
                        same.next().unwrap_or_else(|| panic!("{}: {} {id}", path.display(), chain.name));
                    let label = counted.label();
                    assert!(!label.contains("nobody"), "{}: {} {id}: {label}", path.display(), chain.name);
                    if counted.is_pair() {
                        pairs.insert(label);
                    }
                }
            }
        }
    }
    assert!(pairs.contains("docker0 -> host on eth1"), "{pairs:?}");
}

/// A value of a sample, by name and labels.
type Samples = BTreeMap<(String, BTreeMap<String, String>), f64>;

/// Reads the text format, version 0.0.4, as strictly as Prometheus' own checker: HELP and TYPE before the samples
/// of a family, each family once and in one piece, no sample twice, names and escapes as they must be.
fn parsed(text: &str) -> Samples {
    assert!(text.ends_with('\n'), "the last line has its line feed");
    let is_name = |name: &str| {
        let mut bytes = name.bytes();
        bytes.next().is_some_and(|b| b.is_ascii_alphabetic() || b == b'_')
            && bytes.all(|b| b.is_ascii_alphanumeric() || b == b'_')
    };
    let (mut samples, mut families) = (Samples::new(), BTreeMap::new());
    let mut current = String::new();
    for line in text.lines() {
        if let Some(help) = line.strip_prefix("# HELP ") {
            let (name, help) = help.split_once(' ').expect("a text of help");
            assert!(is_name(name) && !help.is_empty() && !help.contains('\\'), "{line}");
            assert!(families.insert(name.to_owned(), None).is_none(), "{name} has two families");
            current = name.to_owned();
            continue;
        }
        if let Some(kind) = line.strip_prefix("# TYPE ") {
            let (name, kind) = kind.split_once(' ').expect("a type");
            assert!(["gauge", "counter"].contains(&kind), "{line}");
            assert_eq!((name, kind == "counter"), (current.as_str(), name.ends_with("_total")), "{line}");
            let family = families.get_mut(name).expect("help comes first");
            assert!(family.replace(kind.to_owned()).is_none(), "{line}");
            continue;
        }
        let end = line.find(['{', ' ']).expect("a value");
        let (name, mut rest) = line.split_at(end);
        assert!(is_name(name) && name == current && families[name].is_some(), "{line}");
        let mut labels = BTreeMap::new();
        if let Some(inner) = rest.strip_prefix('{') {
            rest = inner;
            loop {
                let (label, value) = rest.split_once("=\"").expect("a label");
                assert!(is_name(label) && !label.starts_with("__"), "{line}");
                let mut text = String::new();
                let mut chars = value.char_indices();
                let end = loop {
                    match chars.next().expect("a closing quote") {
                        (at, '"') => break at,
                        (_, '\\') => match chars.next().expect("what is escaped").1 {
                            'n' => text.push('\n'),
                            c @ ('\\' | '"') => text.push(c),
                            other => panic!("escaped {other}: {line}"),
                        },
                        (_, c) => text.push(c),
                    }
                };
                assert!(labels.insert(label.to_owned(), text).is_none(), "a label twice: {line}");
                rest = &value[end + 1..];
                match rest.chars().next() {
                    Some(',') => rest = &rest[1..],
                    Some('}') => break,
                    other => panic!("{other:?}: {line}"),
                }
            }
            rest = &rest[1..];
        }
        let value: f64 = rest.strip_prefix(' ').expect("one space").parse().expect("a number");
        assert!(samples.insert((name.to_owned(), labels), value).is_none(), "a sample twice: {line}");
    }
    assert!(families.values().all(Option::is_some), "a family without a type");
    samples
}

#[test]
fn metrics_are_valid_and_true() {
    in_namespace(|| {
        let (host, isoplan) = start();
        // A name that needs every escape.
        let file = "odd \"name\" \\ of\na file.toml";
        isoplan.write(file, &HostSpec::service_instance().bare().topology()).expect("write a file");
        host.ip("link add br-x type bridge\naddress add 10.5.0.1/24 dev br-x\n").expect("make a risk");
        let metrics = |code: i32, file: &str| {
            let ran = isoplan.run(&["status", file, "--format", "prometheus"]);
            assert_eq!(ran.code, Some(code), "{ran}");
            parsed(&ran.stdout)
        };
        let samples = metrics(0, file);
        let value = |samples: &Samples, name: &str| -> Vec<f64> {
            samples.iter().filter(|((other, _), _)| other == name).map(|(_, value)| *value).collect()
        };
        assert_eq!(value(&samples, "isoplan_in_place"), [1.0]);
        assert_eq!(value(&samples, "isoplan_differences"), [0.0]);
        assert_eq!(value(&samples, "isoplan_pending_confirmation_seconds"), [0.0]);
        let info: Vec<_> = samples.keys().filter(|(name, _)| name == "isoplan_info").collect();
        assert_eq!(info.len(), 1);
        let shown = &info[0].1["topology"];
        assert!(shown.starts_with("odd \"name\" \\ of"), "{shown:?}");
        let risks: Vec<_> =
            samples.keys().filter(|(name, _)| name == "isoplan_risk").map(|(_, labels)| labels).collect();
        assert!(
            risks.iter().any(|labels| labels["name"] == "unknown-bridge" && labels["subject"] == "br-x"),
            "{risks:?}"
        );
        let drops = samples.keys().filter(|(name, _)| name == "isoplan_drops_packets_total").count();
        assert_eq!(drops, status(&isoplan, 0)["drops"].as_array().map_or(0, Vec::len));
        host.nft(&["flush", "ruleset"]).expect("flush");
        assert_eq!(value(&metrics(2, "topology.toml"), "isoplan_in_place"), [0.0]);
        parsed(&isoplan.run(&["status", "--format", "prometheus"]).stdout);
    });
}

#[test]
fn the_metrics_file_is_replaced_whole() {
    in_namespace(|| {
        let (_host, isoplan) = start();
        let directory = isoplan.directory().join("textfile");
        fs::create_dir(&directory).expect("make a directory");
        let (file, other) = (directory.join("isoplan.prom"), directory.join("other"));
        fs::write(&other, "not isoplan's").expect("write a file");
        symlink(&other, &file).expect("make a link");
        let path = file.display().to_string();
        let ran = isoplan.run(&["status", "topology.toml", "--format", "prometheus", "-o", &path]);
        assert_eq!((ran.code, ran.stdout.as_str()), (Some(0), ""), "{ran}");
        assert!(file.symlink_metadata().expect("the file").is_file(), "the link was replaced, not followed");
        assert_eq!(fs::read_to_string(&other).expect("read"), "not isoplan's");
        assert_eq!(file.metadata().expect("the file").permissions().mode() & 0o7777, 0o644);
        parsed(&fs::read_to_string(&file).expect("read"));
        // Whoever has the old one open keeps it whole.
        let before = file.metadata().expect("the file").ino();
        isoplan.run(&["status", "topology.toml", "--format", "prometheus", "-o", &path]).ok();
        assert_ne!(file.metadata().expect("the file").ino(), before);
        assert_eq!(fs::read_dir(&directory).expect("list").count(), 2, "nothing else is left there");
        let ran = isoplan.run(&["status", "topology.toml", "-o", "no/such/directory/x"]);
        assert_eq!(ran.code, Some(1), "{ran}");
        assert!(ran.stderr.contains("cannot write no/such/directory/x"), "{ran}");
    });
}

#[test]
fn without_a_terminal_watch_prints_a_line_per_change() {
    in_namespace(|| {
        let (host, isoplan) = start();
        let mut child = isoplan
            .command(&["status", "topology.toml", "--watch"])
            .stdout(Stdio::piped())
            .spawn()
            .expect("start isoplan");
        let mut lines = BufReader::new(child.stdout.take().expect("it is piped"));
        let mut until = |part: &str| {
            let mut seen = String::new();
            while !seen.lines().last().is_some_and(|line| line.contains(part)) {
                let read = lines.read_line(&mut seen).expect("read a line");
                assert_ne!(read, 0, "no {part:?}:\n{seen}");
            }
            for line in seen.lines() {
                let (time, _) = line.split_once(' ').expect("a time and more");
                assert!(humantime::parse_rfc3339(time).is_ok(), "{line}");
            }
            seen
        };
        until("status: in place");
        host.nft(&["delete", "element", "inet", "isoplan", "guarded_links", "{ \"eth1\" }"])
            .expect("change it");
        until("missing element \"eth1\" of set guarded_links");
        isoplan.run(&["apply", "topology.toml", "--yes"]).ok();
        until("(nic eth1): no more");
        // The answer first, and a table that is gone is one line, whatever was said of what is in it.
        host.nft(&["delete", "element", "inet", "isoplan", "guarded_links", "{ \"eth1\" }"])
            .expect("change it");
        until("missing element \"eth1\"");
        host.nft(&["delete", "table", "inet", "isoplan"]).expect("delete it");
        let gone = until("differs");
        assert!(gone.contains(" missing table inet isoplan, with "), "{gone}");
        isoplan.run(&["apply", "topology.toml", "--yes"]).ok();
        let back = until(" rules: no more");
        let answer = back.lines().find(|line| line.contains("status: "));
        assert_eq!(back.lines().next(), answer, "{back}");
        let over = |text: &str| {
            text.lines().filter(|line| line.contains(" missing ") && line.ends_with("no more")).count()
        };
        assert_eq!([&gone, &back].map(|text| over(text)), [0, 1], "{gone}{back}");
        drop(lines);
        assert_eq!(child.wait().expect("it ends when nobody reads").code(), Some(0));
    });
}

#[test]
fn on_a_terminal_watch_leaves_with_q_and_puts_it_back() {
    in_namespace(|| {
        let (_host, isoplan) = start();
        let terminal = openpty(None, None).expect("open a terminal");
        let modes = || tcgetattr(&terminal.slave).expect("read its modes").local_flags;
        let before = modes();
        let slave = || Stdio::from(terminal.slave.try_clone().expect("share the terminal"));
        let mut master = File::from(terminal.master.try_clone().expect("share the terminal"));
        for key in [b"q", b"\x03"] {
            let mut child = isoplan
                .command(&["status", "topology.toml", "--watch"])
                .stdin(slave())
                .stdout(slave())
                .spawn()
                .expect("start isoplan");
            let mut seen = Vec::new();
            while !String::from_utf8_lossy(&seen).contains("(q leaves") {
                let mut bytes = [0; 4096];
                let length = master.read(&mut bytes).expect("read the screen");
                seen.extend_from_slice(&bytes[..length]);
            }
            assert!(
                String::from_utf8_lossy(&seen).contains("In place: "),
                "{}",
                String::from_utf8_lossy(&seen)
            );
            assert_ne!(modes(), before, "keys come at once");
            master.write_all(key).expect("press a key");
            assert_eq!(child.wait().expect("it leaves").code(), Some(0));
            assert_eq!(modes(), before);
        }
    });
}

/// Looking for risks adds little to reading ten thousand bridges' rules.
#[test]
fn with_ten_thousand_bridges() {
    in_namespace_with(Privilege::RootIfPossible, || {
        let host = Node::own("host");
        has_namespace_of_its_own(&host);
        let isoplan = Program::new(ISOPLAN).expect("make a directory");
        isoplan.write("topology.toml", &crate::scale::topology(10_000)).expect("write a file");
        let apply = isoplan.run(&["apply", "topology.toml", "--yes"]);
        if !is_real_root() && apply.code != Some(0) {
            // Without root's rights `net.core.wmem_max` bounds what can be sent at once.
            return;
        }
        let time = |args: &[&str]| {
            let started = Instant::now();
            isoplan.run(args).ok();
            started.elapsed()
        };
        let plan = time(&["plan", "topology.toml"]);
        let status = time(&["status", "topology.toml"]);
        eprintln!("plan {} ms, status {} ms", plan.as_millis(), status.as_millis());
        // A bound against another order of growth, and no measure: the machine may be busy.
        assert!(status < plan * 3 + std::time::Duration::from_secs(1), "plan {plan:?}, status {status:?}");
    });
}
