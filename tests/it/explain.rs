//! `isoplan explain`: one packet in a lab, and what decided about it.
//!
//! The program makes its own namespaces; nothing here needs a privilege.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use isoplan::approach::Approach;
use isoplan::intent::{Intent, IpFamily};
use isoplan::lab::worker::Job;
use isoplan::lab::{isolate, run};
use isoplan::topology::parse;
use isoplan::verify::catalogue::{self, Extent};
use isoplan::verify::outcome::{Observation, Outcome};
use isoplan::verify::probe::Probe;
use isoplan::verify::world::World;
use serde_json::Value;

use crate::ISOPLAN;
use crate::docs::check_json;

fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures").join(name)
}

/// Runs it beside the topology of a fixture.
fn run(fixture_name: &str, args: &str) -> Output {
    Command::new(ISOPLAN)
        .arg("explain")
        .args(args.split_whitespace())
        .current_dir(fixture(fixture_name))
        .env_remove("ISOPLAN_TOPOLOGY")
        .output()
        .expect("run isoplan")
}

/// The story as JSON; none where no lab can be made here.
#[track_caller]
fn story(fixture_name: &str, args: &str) -> Option<Value> {
    let output = run(fixture_name, &format!("{args} --json"));
    let stderr = String::from_utf8_lossy(&output.stderr);
    if output.status.code() == Some(77) && stderr.contains("cannot make a lab here") {
        assert!(std::env::var_os("CI").is_none(), "no lab here, and CI may not skip: {stderr}");
        eprintln!("skipped: {stderr}");
        return None;
    }
    assert_eq!(output.status.code(), Some(0), "{fixture_name} {args}: {stderr}");
    Some(serde_json::from_slice(&output.stdout).expect("JSON"))
}

/// The line of an entry's header in the file of a fixture.
fn line(fixture_name: &str, key: &str) -> String {
    let text = std::fs::read_to_string(fixture(fixture_name).join("topology.toml")).expect("read a fixture");
    let lines: Vec<&str> = text.lines().collect();
    let at = lines.iter().position(|line| *line == format!("name = \"{key}\"")).expect("such an entry");
    let header = lines[..at].iter().rposition(|line| line.starts_with("[[")).expect("a header");
    format!("topology.toml:{}", header + 1)
}

fn outcome(story: &Value) -> &str {
    story["observation"]["outcome"].as_str().expect("an outcome")
}

fn answer(story: &Value) -> &str {
    story["answer"].as_str().expect("an answer")
}

/// The ids of isoplan's rules that a way met.
fn ids(way: &Value) -> Vec<&str> {
    let steps = way["steps"].as_array().expect("steps").iter();
    let rules = steps.filter_map(|step| step["rules"].as_array()).flatten();
    rules.filter_map(|rule| rule["id"].as_str()).collect()
}

/// A step of a way.
#[track_caller]
fn step<'s>(way: &'s Value, kind: &str) -> &'s Value {
    let steps = way["steps"].as_array().expect("steps");
    steps.iter().find(|step| step["step"] == kind).unwrap_or_else(|| panic!("no step {kind}: {way:#}"))
}

/// Every way of asking for the same thing: each protocol in each family.
const PACKETS: [&str; 6] = [
    "--protocol icmp -4",
    "--protocol udp -4",
    "--protocol tcp -4",
    "--protocol icmp -6",
    "--protocol udp -6",
    "--protocol tcp -6",
];

#[test]
fn storage_is_closed_by_a_rule_with_its_place() {
    for packet in PACKETS {
        let Some(story) = story("service-instance", &format!("docker0 storage {packet}")) else { return };
        assert_eq!(outcome(&story), "blocked", "{story:#}");
        let stop = &story["told"]["way"]["stop"];
        assert_eq!((&stop["by"], &stop["id"]), (&"rule".into(), &"F3".into()), "{story:#}");
        assert_eq!(stop["rule"], "oifname @guarded_links counter drop");
        assert_eq!(stop["from"][0]["entry"], "nic eth1");
        let place = line("service-instance", "eth1");
        assert_eq!(stop["from"][0]["place"], place.as_str());
        assert_eq!(
            answer(&story),
            format!(
                "blocked: dropped by rule F3 in inet isoplan forward: nothing is forwarded to nic eth1 (storage) ({place})"
            )
        );
        assert_eq!(step(&story["told"]["way"], "came-in")["link"], "docker0");
        assert!(step(&story["told"]["way"], "route")["route"].as_str().unwrap().ends_with("dev eth1"));
    }
}

#[test]
fn service_is_open_and_masqueraded() {
    for packet in PACKETS {
        let Some(story) = story("service-instance", &format!("docker0-c2 service {packet}")) else { return };
        assert_eq!(outcome(&story), "answered", "{story:#}");
        let way = &story["told"]["way"];
        let shortcut = if packet.ends_with("-4") { "F23" } else { "F24" };
        assert_eq!(ids(way), [shortcut, "F9", "N4", "M1"], "{story:#}");
        let host = if packet.ends_with("-4") { "192.168.56.10" } else { "fd56::a" };
        let rewritten = step(way, "rewritten");
        assert_eq!((&rewritten["rule"]["id"], &rewritten["after"]["source"]), (&"M1".into(), &host.into()));
        assert_eq!(story["observation"]["seen"][0]["source"], host);
        assert_eq!(step(way, "left")["link"], "eth0");
        assert_eq!(ids(&story["told"]["answer"]), [shortcut, "F11", "T3"], "{story:#}");
        let starts = format!("answered: it arrived at eth0-server with the source {host}");
        assert!(answer(&story).starts_with(&starts), "{}", answer(&story));
        assert!(answer(&story).contains("accepted by rule N4 in inet isoplan from_service"));
    }
}

#[test]
fn the_hosts_own_storage_address_is_closed_in_the_input_hook() {
    for (to, rule) in
        [("host@eth1", "H1"), ("host@storage", "H1"), ("192.168.57.10", "H1"), ("fd57::a", "H2")]
    {
        let Some(story) = story("service-instance", &format!("docker0 {to} --port 22")) else { return };
        assert_eq!(outcome(&story), "blocked", "{story:#}");
        let stop = &story["told"]["way"]["stop"];
        assert_eq!((&stop["id"], &stop["chain"]), (&rule.into(), &"host_from_service".into()), "{story:#}");
        assert_eq!(ids(&story["told"]["way"]), ["I3", rule]);
    }
}

#[test]
fn the_gateway_is_taken_by_the_host() {
    let Some(story) = story("service-instance", "docker0 host --protocol udp") else { return };
    assert_eq!(outcome(&story), "answered", "{story:#}");
    step(&story["told"]["way"], "taken");
    step(&story["told"]["answer"], "sent");
}

#[test]
fn under_sysctl_the_answer_is_stopped_by_the_sysctl() {
    for packet in &PACKETS[..3] {
        let args = format!("docker0 storage {packet} --approach sysctl");
        let Some(story) = story("service-instance", &args) else { return };
        assert_eq!(outcome(&story), "delivered", "{story:#}");
        // With the host's own address.
        assert_eq!(story["observation"]["seen"][0]["source"], "192.168.57.10");
        let masquerade = &step(&story["told"]["way"], "rewritten")["rule"];
        assert_eq!(
            (&masquerade["table"], &masquerade["id"]),
            (&"ip engine".into(), &Value::Null),
            "{story:#}"
        );
        let stop = &story["told"]["answer"]["stop"];
        assert_eq!(stop["by"], "sysctl", "{story:#}");
        assert_eq!((&stop["key"], &stop["value"]), (&"net/ipv4/conf/eth1/forwarding".into(), &"0".into()));
        assert!(
            answer(&story).starts_with("one-way: it arrived at eth1-server with the source 192.168.57.10")
        );
        assert!(answer(&story).contains("the answer was stopped by net/ipv4/conf/eth1/forwarding = 0"));
    }
    // The same key does not gate IPv6.
    let Some(story) = story("service-instance", "docker0 storage -6 --approach sysctl") else { return };
    assert_eq!(outcome(&story), "answered", "{story:#}");
}

#[test]
fn under_route_the_rule_of_the_policy_routing_is_named() {
    for (family, prefixes) in
        [("-4", "from 172.17.0.0/16 to 192.168.57.0/24"), ("-6", "from fd17::/64 to fd57::/64")]
    {
        let args = format!("docker0 storage {family} --approach route");
        let Some(story) = story("service-instance", &args) else { return };
        assert_eq!(outcome(&story), "blocked", "{story:#}");
        let stop = &story["told"]["way"]["stop"];
        assert_eq!(stop["by"], "routing-rule", "{story:#}");
        let rule = stop["rule"].as_str().expect("a rule");
        assert!(rule.ends_with(&format!("{prefixes} prohibit")), "{rule}");
        assert!(story["told"]["refusal"]["icmp"].is_array(), "the host says so by ICMP: {story:#}");
    }
}

#[test]
fn a_forged_source_gets_by_rules_that_go_by_it() {
    let args = "docker0 storage --protocol udp --source 192.168.56.77 --approach nftables-subnet";
    let Some(story) = story("service-instance", args) else { return };
    assert_eq!(outcome(&story), "delivered", "{story:#}");
    assert!(answer(&story).ends_with("an answer would go to whoever has that address"), "{}", answer(&story));
    assert_eq!(story["intended"], "docker0 -> eth1 (storage): blocked");
    let own = "docker0 storage --protocol udp --source 172.17.0.2 --approach nftables-subnet";
    let Some(own) = self::story("service-instance", own) else { return };
    assert_eq!(outcome(&own), "blocked", "{own:#}");
    assert_eq!(own["told"]["way"]["stop"]["by"], "rule");
}

#[test]
fn under_iptables_the_rule_in_dockers_chain_is_named() {
    let output = run("service-instance", "docker0 storage --approach iptables --json");
    if String::from_utf8_lossy(&output.stderr).contains("iptables is not installed") {
        assert!(std::env::var_os("CI").is_none(), "CI has iptables");
        eprintln!("skipped: iptables is not installed");
        return;
    }
    let Some(story) = story("service-instance", "docker0 storage --approach iptables") else { return };
    assert_eq!(outcome(&story), "blocked", "{story:#}");
    let stop = &story["told"]["way"]["stop"];
    if stop["by"] == "rule" {
        assert_eq!(
            (&stop["table"], &stop["chain"]),
            (&"ip filter".into(), &"DOCKER-USER".into()),
            "{story:#}"
        );
        assert!(stop["rule"].as_str().unwrap().contains("ip daddr 192.168.57.0/24"), "{story:#}");
    } else {
        // Legacy iptables is not of nf_tables, which then tells nothing.
        assert_eq!(stop["by"], "unknown", "{story:#}");
        assert_eq!(stop["after"], "the hook forward");
    }
}

#[test]
fn without_rules_the_route_is_what_there_is_to_tell() {
    let Some(story) = story("service-instance", "docker0 storage --approach none --port 2049") else {
        return;
    };
    assert_eq!(outcome(&story), "answered", "{story:#}");
    assert_eq!(step(&story["told"]["way"], "route")["route"], "192.168.57.0/24 dev eth1");
    assert_eq!(ids(&story["told"]["way"]), Vec::<&str>::new());
    assert!(answer(&story).ends_with("no rule dropped it"), "{}", answer(&story));
}

#[test]
fn a_frame_within_a_bridge_is_closed_by_a_rule_of_the_bridge() {
    let Some(story) = story("flat", "br-quarantine eth3 --protocol udp") else { return };
    assert_eq!(outcome(&story), "blocked", "{story:#}");
    let stop = &story["told"]["way"]["stop"];
    assert_eq!((&stop["id"], &stop["table"]), (&"B1".into(), &"bridge isoplan".into()), "{story:#}");
    assert_eq!(step(&story["told"]["way"], "came-in")["link"], "the port of br-quarantine-i1");
    let Some(open) = self::story("flat", "br-flat eth0 --protocol udp") else { return };
    assert_eq!(outcome(&open), "answered", "{open:#}");
    assert_eq!(step(&open["told"]["way"], "left")["link"], "eth0", "{open:#}");
}

#[test]
fn a_published_port_is_rewritten_and_arrives_at_the_container() {
    let Some(story) = story("service-instance", "service host --port 8001") else { return };
    assert_eq!(outcome(&story), "answered", "{story:#}");
    assert_eq!(story["observation"]["seen"][0]["node"], "docker0-c1");
    let way = &story["told"]["way"];
    assert_eq!(step(way, "rewritten")["after"]["destination"], "172.17.0.2");
    assert_eq!(ids(way), ["F23", "F11", "T4"], "{story:#}");
}

#[test]
fn somebody_is_given_an_address_that_nobody_has() {
    let Some(story) = story("service-instance", "docker0 9.9.9.9 --protocol udp") else { return };
    assert_eq!(outcome(&story), "answered", "{story:#}");
    assert_eq!(story["to"], "upstream");
    let note = story["notes"][0].as_str().expect("a note");
    assert!(note.starts_with("Nobody in the lab has 9.9.9.9: upstream was given it"), "{note}");
    assert_eq!(step(&story["told"]["way"], "route")["route"], "default via 192.168.56.1 dev eth0");
    let Some(behind) = self::story("service-instance", "docker0 192.168.58.77 --approach none") else {
        return;
    };
    assert_eq!((outcome(&behind), &behind["to"]), ("answered", &"eth1-router".into()), "{behind:#}");
}

#[test]
fn the_page_starts_with_the_answer() {
    let output = run("service-instance", "docker0 storage --protocol udp --port 9");
    if output.status.code() == Some(77) {
        return;
    }
    let page = String::from_utf8(output.stdout).expect("UTF-8");
    assert!(page.starts_with("blocked: dropped by rule F3 in inet isoplan forward:"), "{page}");
    for expected in [
        "\n  sent        172.17.0.2:",
        "\n  came in     docker0: 172.17.0.2:",
        "\n  route       192.168.57.0/24 dev eth1\n",
        "\n  forward     inet isoplan forward, filter - 10: drop\n",
        "\n                F3  oifname @guarded_links counter drop\n",
    ] {
        assert!(page.contains(expected), "{expected}\n{page}");
    }
    assert!(page.lines().all(|line| line.chars().count() <= 80), "{page}");
}

#[test]
fn a_question_that_makes_no_sense_says_what_would() {
    let check = |args: &str, code: i32, expected: &str| {
        let output = run("service-instance", args);
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(code), "{args}: {stderr}");
        assert!(stderr.contains(expected), "{args}: {stderr}");
        assert!(output.stdout.is_empty(), "{args}");
    };
    check("docker0 sorage", 64, "nothing in the lab is called `sorage`");
    check("docker0 sorage", 64, "hint: did you mean `storage`?");
    check("docker0 224.0.0.1", 64, "224.0.0.1 is a multicast address");
    check("docker0 storage --protocol icmp --port 80", 64, "an echo request has no port");
    check("docker0 storage -4 -6", 64, "cannot be used with");
    check("docker0 storage --port 0", 64, "invalid value '0'");
    check("docker0", 64, "required arguments were not provided");
    check("docker0 storage --approach magic", 64, "possible values: none, iptables");
    check("docker0 storage --topology nowhere.toml", 1, "cannot read nowhere.toml");
    check("docker0 storage --topology ../invalid/roles/topology.toml", 65, "error");
}

#[test]
fn the_topology_comes_from_the_environment_as_well() {
    let output = Command::new(ISOPLAN)
        .args(["explain", "docker0", "sorage"])
        .env("ISOPLAN_TOPOLOGY", fixture("service-instance").join("topology.toml"))
        .current_dir("/")
        .output()
        .expect("run isoplan");
    assert!(String::from_utf8_lossy(&output.stderr).contains("called `sorage`"), "{output:?}");
}

#[test]
fn every_field_of_the_json_is_described() {
    let args = [
        "docker0 storage",
        "docker0 storage --approach sysctl",
        "docker0 storage --approach route",
        "docker0 9.9.9.9 --port 80",
        "service host --port 8001",
        "docker0 host",
    ];
    let mut stories = Vec::new();
    for args in args {
        let Some(story) = story("service-instance", args) else { return };
        stories.push(story);
    }
    check_json("isoplan explain --json", "explain", &stories, &[]);
}

/// One probe of each kind, traced and not, under one approach.
fn traced_and_not(approach: Approach, family: IpFamily) -> Option<Vec<(Probe, Observation, Observation)>> {
    isolate::use_program(ISOPLAN);
    if let Err(failure) = isolate::check() {
        assert!(std::env::var_os("CI").is_none(), "no lab here, and CI may not skip: {failure}");
        eprintln!("skipped: {failure}");
        return None;
    }
    let text = std::fs::read_to_string(fixture("service-instance").join("topology.toml")).expect("read");
    let topology = parse("topology.toml", text.as_bytes()).expect("a valid topology");
    let intent = Intent::new(&topology);
    let mut kinds = BTreeSet::new();
    let mut probes = catalogue::probes(&intent, &World::new(&intent), Extent::Quick);
    probes.retain(|probe| probe.family == family && kinds.insert(probe.entry));
    let job = |is_traced| Job {
        file: "topology.toml".to_owned(),
        text: text.clone(),
        approach,
        change: None,
        probes: probes.iter().map(|probe| probe.name.clone()).collect(),
        is_traced,
        cpu: 0,
    };
    let mut observed = run::run(&[job(true), job(false)], &mut |_| {}).expect("run the labs");
    let plain = observed.pop().expect("two jobs");
    let traced = observed.pop().expect("two jobs");
    let both = probes.into_iter().map(|probe| {
        let (traced, plain) = (traced[&probe.name].clone(), plain[&probe.name].clone());
        (probe, traced, plain)
    });
    Some(both.collect())
}

#[test]
fn tracing_changes_nothing_and_tells_what_decided() {
    for (approach, family) in [(Approach::Sysctl, IpFamily::V4), (Approach::Nftables, IpFamily::V6)] {
        let Some(all) = traced_and_not(approach, family) else { return };
        assert!(all.len() > 40, "{} kinds of probes", all.len());
        for (probe, traced, plain) in &all {
            let name = format!("{} under {}", probe.name, approach.as_str());
            assert_eq!(traced.outcome, plain.outcome, "{name}: {traced:?}");
            assert_eq!((&traced.seen.len(), &traced.left_by), (&plain.seen.len(), &plain.left_by), "{name}");
            let decided = traced.decided_by.first().unwrap_or_else(|| panic!("{name}: nothing is told"));
            let starts = |words: &[&str]| words.iter().any(|word| decided.starts_with(word));
            let is_told = match traced.outcome {
                Outcome::Blocked => starts(&["dropped by", "stopped by", "not seen any more after"]),
                _ => starts(&["route", "no rule dropped it", "it does not pass the host"]),
            };
            assert!(is_told, "{name}: {traced:?}");
            // Only what the kernel gives no name for has none.
            let is_named =
                !decided.starts_with("not seen any more") || decided.contains(": the kernel takes no");
            assert!(is_named, "{name}: {decided}");
        }
    }
}
