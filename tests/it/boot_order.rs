//! The commands of the units in the order of the units, without systemd and without root.
//!
//! `boot.rs` has systemd start them. Here their files are read: what runs is what `ExecStart=` says, and when is what
//! `Before=` and `After=` say.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;
use std::process::Command;

use crate::ISOPLAN;
use crate::boot::{DOCKER_UNIT, NICS_UNIT, docker, keep_gateways, nics, switch_off};
use crate::lab::flood::Flood;
use crate::lab::{Family, HostSpec, Lab, Program, in_namespace};

/// A unit: the values of each key, in order.
struct Unit(BTreeMap<String, Vec<String>>);

impl Unit {
    /// Of a file and its drop-ins (systemd.unit(5)); nothing here resets a list.
    fn parse(texts: &[String]) -> Self {
        let lines = texts.iter().flat_map(|text| text.lines()).filter(|line| !line.starts_with('#'));
        let mut keys: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for (key, value) in lines.filter_map(|line| line.split_once('=')) {
            keys.entry(key.to_owned()).or_default().push(value.to_owned());
        }
        Self(keys)
    }

    fn all(&self, key: &str) -> &[String] {
        self.0.get(key).map_or(&[], Vec::as_slice)
    }

    fn words<'u>(&'u self, key: &str) -> impl Iterator<Item = &'u str> {
        self.all(key).iter().flat_map(|value| value.split_whitespace())
    }
}

/// The names in an order that every `Before=` and `After=` allows; of those that could come next, the one that is best
/// for a leak: what brings links up and runs containers comes as early as it may.
fn ordered(units: &BTreeMap<&'static str, Unit>) -> Vec<&'static str> {
    let eager = [
        "docker.service",
        "lab-nics.service",
        "network-online.target",
        "network.target",
        "network-pre.target",
    ];
    let mut left: BTreeSet<&'static str> = units.keys().copied().collect();
    let mut order = Vec::new();
    while !left.is_empty() {
        let is_free = |name: &&&'static str| {
            let waits_for = |other: &&'static str| {
                units[**name].words("After").any(|after| after == *other)
                    || units[*other].words("Before").any(|before| before == **name)
            };
            !left.iter().any(|other| *other != **name && waits_for(other))
        };
        let free: Vec<_> = left.iter().filter(is_free).copied().collect();
        let rank = |name: &&'static str| eager.iter().position(|other| other == name).unwrap_or(eager.len());
        let next = *free.iter().min_by_key(|name| rank(name)).expect("no cycle");
        left.remove(next);
        order.push(next);
    }
    order
}

/// Debian's, but for the path of the rules.
const NFTABLES_UNIT: &str = "[Unit]
Wants=network-pre.target
Before=network-pre.target shutdown.target
[Service]
ExecStart=/usr/sbin/nft -f /etc/nftables.conf
";

/// The targets that NICs and containers wait for (systemd.special(7)).
const TARGETS: [(&str, &str); 3] = [
    ("network-pre.target", "Before=network.target\n"),
    ("network.target", "Before=network-online.target\n"),
    ("network-online.target", "After=network.target\n"),
];

/// Boots the host of a lab by hand, with or without an installation; how many packets arrived.
fn boot(is_installed: bool) -> usize {
    let lab = Lab::start(HostSpec::service_instance()).expect("build the lab");
    keep_gateways(&lab);
    switch_off(&lab);
    let isoplan = Program::new(ISOPLAN).expect("make a directory");
    isoplan.write("topology.toml", &lab.spec.topology()).expect("write the topology");
    isoplan.write("nics", &nics(&lab)).expect("write a script");
    isoplan.write("docker", &docker(&lab)).expect("write a script");
    let root = isoplan.directory().join("image");
    fs::create_dir_all(root.join("usr/lib/systemd")).expect("make a directory");
    fs::write(root.join("usr/lib/systemd/systemd"), "").expect("write a file");
    fs::create_dir(root.join("etc")).expect("make a directory");
    fs::write(root.join("etc/nftables.conf"), "flush ruleset\ntable inet filter {\n}\n")
        .expect("write a file");

    let units_of = root.join("etc/systemd/system");
    let read = |path: &Path| fs::read_to_string(path).unwrap_or_default();
    let mut units = BTreeMap::from([
        ("lab-nics.service", Unit::parse(&[NICS_UNIT.to_owned()])),
        ("docker.service", Unit::parse(&[DOCKER_UNIT.to_owned()])),
    ]);
    units.extend(TARGETS.map(|(name, text)| (name, Unit::parse(&[text.to_owned()]))));
    if is_installed {
        let image = root.display().to_string();
        let arguments = ["--yes", "--root", &image, "--exec-path", "/usr/sbin/isoplan"];
        isoplan.run(&[&["install", "topology.toml"], &arguments[..]].concat()).ok();
        units.insert("isoplan.service", Unit::parse(&[read(&units_of.join("isoplan.service"))]));
    }
    let drop_in = read(&units_of.join("nftables.service.d/50-isoplan.conf"));
    assert_eq!(drop_in.is_empty(), !is_installed);
    units.insert("nftables.service", Unit::parse(&[NFTABLES_UNIT.to_owned(), drop_in]));

    let mark = lab.journal.mark();
    let floods =
        Family::BOTH.map(|family| Flood::start(&lab, family, "web", "storage").expect("start the flood"));
    let order = ordered(&units);
    eprintln!("{}", order.join(", "));
    for name in order {
        let unit = &units[name];
        for line in unit.all("ExecStart").iter().chain(unit.all("ExecStartPost")) {
            // The image is no root to be in; what it has there is found by its path here.
            let line = line.trim_start_matches('-').replace("/usr/sbin/isoplan", ISOPLAN);
            let line = line.replace("/etc/lab", &isoplan.directory().display().to_string());
            let line = line.replace(" /etc/", &format!(" {}/etc/", root.display()));
            let words: Vec<&str> = line.split(' ').collect();
            let mut command = Command::new(words[0]);
            command.args(&words[1..]).env("ISOPLAN_STATE_DIR", isoplan.directory().join("state"));
            let output = command.output().unwrap_or_else(|error| panic!("{line}: {error}"));
            assert!(output.status.success(), "{line}: {}", String::from_utf8_lossy(&output.stderr));
        }
    }
    floods.iter().for_each(|flood| flood.wait_for(500));
    for flood in floods {
        flood.stop();
    }
    for family in Family::BOTH {
        let web = lab.node("web");
        lab.wait_for_echo(web, lab.node("service").address(family)).expect("reach service");
        lab.settle(web, family).expect("settle");
    }
    let storage = lab.node("storage").index;
    lab.journal.count(mark, |seen| seen.node == storage && Flood::number(seen).is_some())
}

#[test]
fn in_the_order_of_the_units_not_one_packet_passes() {
    in_namespace(|| assert_eq!(boot(true), 0));
}

#[test]
fn without_an_installation_packets_pass() {
    in_namespace(|| assert!(boot(false) > 0));
}
