//! `isoplan rollback`: everything is what it was before the last change, byte for byte.

use std::path::{Path, PathBuf};

use crate::lab::flood::Flood;
use crate::lab::node::Node;
use crate::lab::packet::Kind;
use crate::lab::{Family, HostSpec, Outcome, Program, in_namespace};
use crate::{ISOPLAN, check, has_namespace_of_its_own, is_answered, start};

/// All that is to be byte-equal: the rule set with its counters and its order, sysctls, routing rules.
pub(crate) fn everything(host: &Node) -> String {
    let mut text = host.nft(&["list", "ruleset"]).expect("list the rule set");
    text += &sysctls();
    for family in ["-4", "-6"] {
        let rules = std::process::Command::new("ip").args([family, "rule"]).output().expect("run ip");
        text += &String::from_utf8_lossy(&rules.stdout);
    }
    text
}

/// What `sysctl -a` shows of `net.ipv4.conf`, `net.ipv6.conf` and `net.ipv4.ip_forward`. What cannot be read
/// is left out.
pub(crate) fn sysctls() -> String {
    let mut left: Vec<PathBuf> = ["ipv4/conf", "ipv6/conf", "ipv4/ip_forward"]
        .map(|path| Path::new("/proc/sys/net").join(path))
        .into();
    let mut lines = Vec::new();
    while let Some(path) = left.pop() {
        if path.is_dir() {
            let entries = std::fs::read_dir(&path).expect("list sysctls");
            left.extend(entries.map(|entry| entry.expect("list sysctls").path()));
        } else if let Ok(value) = std::fs::read_to_string(&path) {
            lines.push(format!("{} = {}", path.display(), value.trim_end()));
        }
    }
    assert!(lines.len() > 100, "only {} sysctls", lines.len());
    lines.sort();
    lines.join("\n")
}

/// A rule set of somebody else, before and behind isoplan's.
const FOREIGN: &str = "
table ip nat {
  chain POSTROUTING { type nat hook postrouting priority srcnat; policy accept; ip saddr 172.17.0.0/16 masquerade; }
}
table inet filter {
  set blocked { type ipv4_addr; elements = { 203.0.113.9 } }
  chain forward { type filter hook forward priority 0; policy accept; ip saddr @blocked counter packets 7 bytes 8 drop; }
}
";

/// A host with interfaces of which each has something of its own.
pub(crate) fn host() -> (Node, Program) {
    let host = Node::own("host");
    has_namespace_of_its_own(&host);
    let isoplan = Program::new(ISOPLAN).expect("make a directory");
    for (name, link) in [("eth0", "veth"), ("eth1", "veth"), ("docker0", "bridge"), ("eth2", "veth")] {
        let peer = if link == "veth" { format!(" peer name {name}p") } else { String::new() };
        host.ip(&format!("link add {name} type {link}{peer}\n")).expect("make a link");
    }
    host.sysctl("net/ipv4/conf/eth2/forwarding", "1").expect("write a sysctl");
    host.sysctl("net/ipv6/conf/eth0/forwarding", "1").expect("write a sysctl");
    host.sysctl("net/ipv4/conf/all/accept_redirects", "1").expect("write a sysctl");
    let write = |name: &str, text: &str| isoplan.write(name, text).expect("write a topology");
    write("a.toml", &HostSpec::service_instance().bare().topology());
    write("b.toml", &HostSpec::three_nics().bare().topology());
    write("sysctl.toml", SYSCTL);
    (host, isoplan)
}

/// The other approach.
const SYSCTL: &str = "
[[bridge]]
name = \"docker0\"
subnets = [\"172.17.0.0/16\"]

[[nic]]
name = \"eth0\"
role = \"service\"
subnets = [\"10.0.0.0/24\"]

[[nic]]
name = \"eth1\"
role = \"storage\"
subnets = [\"192.168.57.0/24\"]

[isolation]
approach = \"sysctl\"
";

#[test]
fn everything_is_what_it_was() {
    in_namespace(|| {
        let (host, isoplan) = host();
        let none = everything(&host);
        isoplan.run(&["apply", "a.toml", "--yes"]).ok();
        assert_ne!(everything(&host), none, "the control");
        isoplan.run(&["rollback", "--yes"]).ok();
        assert_eq!(everything(&host), none);
        let again = isoplan.run(&["rollback", "--yes"]);
        assert_eq!(
            (again.code, again.stdout.as_str()),
            (Some(0), "There is nothing more to undo.\n"),
            "{again}"
        );

        host.nft_load(FOREIGN).expect("load a rule set");
        let fixtures = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures");
        let mut files: Vec<String> = ["a.toml", "b.toml", "sysctl.toml"].map(str::to_owned).into();
        for entry in std::fs::read_dir(fixtures).expect("list the fixtures") {
            let path = entry.expect("list the fixtures").path().join("topology.toml");
            if path.is_file() {
                files.push(path.display().to_string());
            }
        }
        files.sort();
        assert!(files.len() > 5, "{files:?}");
        let mut steps = 0;
        let mut step = |first: &[&str], then: &[&str]| {
            // Some fixtures need interfaces that are not here.
            let ran = isoplan.run(first);
            if ran.code != Some(0) {
                assert!(ran.stderr.contains("do not exist"), "{ran}");
                return;
            }
            let before = everything(&host);
            if isoplan.run(then).code != Some(0) {
                assert_eq!(everything(&host), before, "{then:?} failed");
                return;
            }
            if everything(&host) == before {
                return;
            }
            let ran = isoplan.run(&["rollback", "--yes"]);
            assert_eq!(ran.code, Some(0), "{first:?}, {then:?}: {ran}");
            let after = everything(&host);
            if after != before {
                let (a, b): (Vec<_>, Vec<_>) = (before.lines().collect(), after.lines().collect());
                let at = a.iter().zip(&b).position(|(a, b)| a != b).unwrap_or_default();
                panic!(
                    "{first:?}, {then:?}: line {at}\n{:#?}\n{:#?}\n{ran}",
                    &a[at..a.len().min(at + 9)],
                    &b[at..b.len().min(at + 9)]
                );
            }
            steps += 1;
        };
        for (place, first) in files.iter().enumerate() {
            for further in [1, 4, 7] {
                let then = &files[(place + further) % files.len()];
                step(&["apply", first, "--yes"], &["apply", then, "--yes"]);
            }
            step(&["apply", first, "--yes"], &["remove", "--yes"]);
        }
        eprintln!("{steps} changes undone");
        assert!(steps > 35, "only {steps} changes were undone");
    });
}

/// What others have done since: said, and theirs where it is a sysctl.
#[test]
fn what_others_did_since_is_told() {
    in_namespace(|| {
        let (host, isoplan) = host();
        isoplan.run(&["apply", "a.toml", "--yes"]).ok();
        isoplan.run(&["apply", "sysctl.toml", "--yes"]).ok();
        isoplan.run(&["apply", "b.toml", "--yes"]).ok();
        host.nft(&["add", "rule", "inet", "isoplan", "input", "counter", "accept"]).expect("add a rule");
        // isoplan has switched it on, and somebody switches it off again.
        host.sysctl("net/ipv4/conf/eth1/forwarding", "0").expect("write a sysctl");
        let ran = isoplan.run(&["rollback", "--yes"]);
        assert_eq!(ran.code, Some(0), "{ran}");
        assert!(ran.stderr.contains("Somebody has changed isoplan's tables since"), "{ran}");
        assert_eq!(host.read_sysctl("net/ipv4/conf/eth1/forwarding").expect("read"), "0");

        // A switch that others have switched back stays as they have it.
        isoplan.run(&["remove", "--yes"]).ok();
        host.sysctl("net/ipv4/ip_forward", "0").expect("write a sysctl");
        isoplan.run(&["apply", "a.toml", "--yes"]).ok();
        host.sysctl("net/ipv4/ip_forward", "0").expect("write a sysctl");
        let dry = isoplan.run(&["rollback", "--dry-run", "--json"]).json();
        assert_eq!(dry["rolled_back"], false);
        isoplan.run(&["rollback", "--yes"]).ok();
        assert_eq!(host.read_sysctl("net/ipv4/ip_forward").expect("read"), "0");
    });
}

/// What a rule that comes back had counted, it has counted.
#[test]
fn counters_come_back() {
    in_namespace(|| {
        let (host, isoplan) = host();
        isoplan.run(&["apply", "a.toml", "--yes"]).ok();
        // As if packets had come: the same rules, with counts.
        let listing = host.nft(&["list", "table", "inet", "isoplan"]).expect("list");
        let counted = listing.replace("counter packets 0 bytes 0", "counter packets 41 bytes 4242");
        assert_ne!(counted, listing, "there are counters");
        host.nft_load(&format!("delete table inet isoplan\n{counted}")).expect("load");
        let before = everything(&host);
        assert!(before.contains("packets 41 bytes 4242"));
        for then in [&["apply", "b.toml", "--yes"][..], &["remove", "--yes"]] {
            isoplan.run(then).ok();
            assert_ne!(everything(&host), before);
            isoplan.run(&["rollback", "--yes"]).ok();
            assert_eq!(everything(&host), before, "{then:?}");
        }
    });
}

const MORE: &str = "
[[bridge]]
name = \"br-more\"
subnets = [\"172.19.0.0/16\", \"fd19::/64\"]
reach = [\"backup\"]

[[nic]]
name = \"eth7\"
role = \"backup\"
subnets = [\"192.168.77.0/24\", \"fd77::/64\"]
";

/// From one closed policy back to another, and with the tables put together anew, no packet passes.
#[test]
fn not_one_packet_passes() {
    in_namespace(|| {
        const ENOUGH: u64 = 500;
        let family = Family::V4;
        let (lab, isoplan) = start(HostSpec::service_instance());
        let storage = lab.node("storage").index;
        isoplan.write("more.toml", &format!("{MORE}{}", lab.spec.topology())).expect("write a topology");
        let arrived = |mark: usize, from: u64| {
            lab.journal.count(mark, |seen| {
                seen.node == storage && Flood::number(seen).is_some_and(|number| number >= from)
            })
        };
        let mark = lab.journal.mark();
        let flood = Flood::start(&lab, family, "web", "storage").expect("start the flood");
        flood.wait_for(ENOUGH);
        lab.settle(lab.node("web"), family).expect("settle");
        assert!(arrived(mark, 0) > 0, "without isoplan the flood arrives");

        // What it has from the start has another place when it comes back later.
        isoplan.run(&["apply", "more.toml", "--yes"]).ok();
        let closed_from = flood.now();
        let mut anew = 0;
        for _ in 0..10 {
            isoplan.run(&["apply", "topology.toml", "--yes"]).ok();
            flood.wait_for(ENOUGH);
            let ran = isoplan.run(&["rollback", "--yes"]).ok();
            anew += u32::from(ran.contains("put together anew"));
            flood.wait_for(ENOUGH);
        }
        isoplan.run(&["apply", "topology.toml", "--yes"]).ok();
        isoplan.run(&["apply", "more.toml", "--yes", "--confirm-within", "1s"]).ok();
        crate::confirm::until("undone", std::time::Duration::from_secs(20), || {
            crate::confirm::watchers().is_empty()
        });
        flood.wait_for(ENOUGH);
        let sent = flood.stop();
        lab.settle(lab.node("web"), family).expect("settle");
        check("the capture lives", &[lab.probe(Kind::Udp, family, "host", "storage")], is_answered);
        let (passed, after) = (arrived(mark, closed_from), sent - closed_from);
        assert_eq!(passed, 0, "{passed} of {after} packets passed");
        assert!(anew > 0, "no order was restored");
        eprintln!("{after} packets, {anew} times put together anew");
        isoplan.run(&["remove", "--yes"]).ok();
        check("after remove", &[lab.probe(Kind::Udp, family, "web", "storage")], Outcome::is_delivered);
    });
}

/// What a repair brings back is no change of its own: the way back does not lead to the hole.
#[test]
fn a_repair_leaves_the_way_back_as_it_was() {
    in_namespace(|| {
        let (host, isoplan) = host();
        isoplan.run(&["apply", "a.toml", "--yes"]).ok();
        let first = everything(&host);
        isoplan.run(&["apply", "b.toml", "--yes"]).ok();
        let second = everything(&host);
        assert_ne!(second, first, "the control");
        host.nft(&["flush", "ruleset"]).expect("flush");
        isoplan.run(&["apply", "b.toml", "--yes"]).ok();
        assert_eq!(everything(&host), second);
        isoplan.run(&["rollback", "--yes"]).ok();
        assert_eq!(everything(&host), first);

        // The same of sysctls alone.
        isoplan.run(&["remove", "--yes"]).ok();
        let none = everything(&host);
        isoplan.run(&["apply", "sysctl.toml", "--yes"]).ok();
        let closed = everything(&host);
        host.sysctl("net/ipv4/conf/eth1/forwarding", "1").expect("write a sysctl");
        isoplan.run(&["apply", "sysctl.toml", "--yes"]).ok();
        assert_eq!(everything(&host), closed);
        isoplan.run(&["rollback", "--yes"]).ok();
        assert_eq!(everything(&host), none);
    });
}
