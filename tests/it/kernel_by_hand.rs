//! The kernel changed by hand: `plan` shows exactly that, `apply` repairs it, `remove` leaves nothing.

use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::thread;

use serde_json::Value;

use crate::lab::node::Node;
use crate::lab::{HostSpec, Program, in_namespace};
use crate::live::{foreign, forwarding, listing, objects, rules};
use crate::{ISOPLAN, has_namespace_of_its_own};

/// Tables of others, some named much like isoplan's.
const FOREIGN: &str = "
table ip engine {
  set links { type ifname; elements = { \"docker0\", \"br-app\" } }
  chain forward {
    type filter hook forward priority filter; policy accept;
    iifname @links counter packets 7 bytes 700 accept comment \"not isoplan's\"
  }
  chain postrouting {
    type nat hook postrouting priority srcnat;
    ip saddr 172.17.0.0/16 oifname != \"docker0\" masquerade
  }
}
table inet isoplan2 {
  chain forward { type filter hook forward priority filter - 10; counter comment \"F1 not ours\"; }
}
table arp other {
  chain input { type filter hook input priority filter; counter; }
}
";

/// A namespace with the topology applied.
fn start() -> (Node, Program) {
    let host = Node::own("host");
    has_namespace_of_its_own(&host);
    let isoplan = Program::new(ISOPLAN).expect("make a directory");
    let topology = HostSpec::three_nics().bare().topology();
    isoplan.write("topology.toml", &topology).expect("write a topology");
    (host, isoplan)
}

/// The changes that a plan has.
#[track_caller]
fn changes(isoplan: &Program) -> Vec<Value> {
    let plan = isoplan.run(&["plan", "topology.toml", "--json", "--detailed-exitcode"]);
    let changes = plan.json()["changes"].as_array().expect("a list of changes").clone();
    assert_eq!(plan.code, Some(if changes.is_empty() { 0 } else { 2 }), "{plan}");
    changes
}

/// Whether a change is of that action and kind.
fn is(change: &Value, action: &str, kind: &str) -> bool {
    change["action"] == action && change["kind"] == kind
}

/// Changes the kernel by hand, sees that the plan shows that, has it repaired.
#[track_caller]
fn check(
    host: &Node,
    isoplan: &Program,
    what: &str,
    by_hand: impl FnOnce(),
    shows: impl FnOnce(&[Value]) -> bool,
) {
    let before = listing(host);
    let values = forwarding(host);
    by_hand();
    let found = changes(isoplan);
    assert!(shows(&found), "{what}: the plan is {found:#?}");
    let status = isoplan.run(&["status", "topology.toml"]);
    assert_eq!(status.code, Some(2), "{what}: {status}");
    isoplan.run(&["apply", "topology.toml", "--yes"]).ok();
    assert_eq!(changes(isoplan), Vec::<Value>::new(), "{what}: after the repair");
    assert_eq!(listing(host), before, "{what}: after the repair");
    assert_eq!(forwarding(host), values, "{what}: after the repair");
    let status = isoplan.run(&["status", "topology.toml"]);
    assert_eq!(status.code, Some(0), "{what}: {status}");
}

/// A set of the table and one of its elements, as nft takes it.
fn a_set(host: &Node, key: &str) -> String {
    let sets = objects(host, "set");
    let found = sets.iter().find(|set| set["type"] == key && set.get("elem").is_some());
    let found = found.unwrap_or_else(|| panic!("no set of {key}: {sets:#?}"));
    found["name"].as_str().expect("a name").to_owned()
}

#[test]
fn the_plan_shows_what_was_changed_and_apply_repairs_it() {
    in_namespace(|| {
        let (host, isoplan) = start();
        host.nft_load(FOREIGN).expect("load tables of others");
        let others = foreign(&host);
        isoplan.run(&["apply", "topology.toml", "--yes"]).ok();
        assert_eq!(changes(&isoplan), Vec::<Value>::new());
        assert_eq!(forwarding(&host), ["1"; 2]);

        for place in 0..rules(&host).len() {
            let rule = rules(&host).swap_remove(place);
            let shows = |found: &[Value]| {
                found.len() == 1 && is(&found[0], "create", "rule") && found[0]["rule"] == rule.id.as_str()
            };
            check(&host, &isoplan, &format!("rule {rule:?} deleted"), || rule.delete(&host), shows);
        }
        let nft = |text: &str| host.nft_load(text).unwrap_or_else(|error| panic!("{error}"));
        let one = |action: &'static str, kind: &'static str| {
            move |found: &[Value]| found.len() == 1 && is(&found[0], action, kind)
        };
        let append = "add rule inet isoplan forward ip saddr 10.0.0.0/8 accept";
        check(&host, &isoplan, "a rule appended", || nft(append), one("delete", "rule"));
        let insert = "insert rule inet isoplan forward ip saddr 10.0.0.0/8 accept comment \"mine\"";
        check(&host, &isoplan, "a rule put first", || nft(insert), one("delete", "rule"));
        let first = rules(&host).swap_remove(0);
        let forge =
            format!("insert rule inet isoplan {} accept comment \"{} forged\"", first.chain, first.id);
        check(
            &host,
            &isoplan,
            "a rule put first that bears an id",
            || nft(&forge),
            |found| !found.is_empty() && found.iter().all(|change| change["kind"] == "rule"),
        );
        let replace = format!(
            "replace rule inet isoplan {} handle {} counter accept comment \"{} forged\"",
            first.chain,
            rules(&host)[0].handle,
            first.id
        );
        check(
            &host,
            &isoplan,
            "a drop turned into an accept",
            || nft(&replace),
            |found| !found.is_empty() && found.iter().all(|change| change["kind"] == "rule"),
        );

        let set = a_set(&host, "ifname");
        let add = format!("add element inet isoplan {set} {{ \"by-hand\" }}");
        check(&host, &isoplan, "a name added", || nft(&add), one("delete", "element"));
        let set = a_set(&host, "ipv4_addr");
        let add = format!("add element inet isoplan {set} {{ 203.0.113.0/24 }}");
        check(&host, &isoplan, "a prefix added", || nft(&add), one("delete", "element"));
        let set = a_set(&host, "ipv6_addr");
        let add = format!("add element inet isoplan {set} {{ 2001:db8::/32 }}");
        check(&host, &isoplan, "an IPv6 prefix added", || nft(&add), one("delete", "element"));
        let flush = format!("flush set inet isoplan {set}");
        check(
            &host,
            &isoplan,
            "a set flushed",
            || nft(&flush),
            |found| {
                !found.is_empty()
                    && found
                        .iter()
                        .all(|change| is(change, "create", "element") && change["name"] == set.as_str())
            },
        );

        let count = rules(&host).len();
        check(
            &host,
            &isoplan,
            "the table flushed",
            || nft("flush table inet isoplan"),
            |found| found.len() == count && found.iter().all(|change| is(change, "create", "rule")),
        );
        check(
            &host,
            &isoplan,
            "the table deleted",
            || nft("delete table inet isoplan"),
            |found| {
                let creates = |kind| found.iter().filter(|change| is(change, "create", kind)).count();
                creates("rule") == count
                    && creates("table") == 1
                    && found.iter().all(|change| change["action"] == "create")
            },
        );
        let add = "add chain inet isoplan mine; add set inet isoplan more { type ifname; }";
        check(
            &host,
            &isoplan,
            "a chain and a set added",
            || nft(add),
            |found| {
                found.len() == 2
                    && found.iter().any(|change| is(change, "delete", "chain") && change["name"] == "mine")
                    && found.iter().any(|change| is(change, "delete", "set") && change["name"] == "more")
            },
        );
        let flip = || host.sysctl("net/ipv4/ip_forward", "0").expect("write a sysctl");
        check(&host, &isoplan, "ip_forward flipped", flip, |found| {
            found.len() == 1
                && is(&found[0], "change", "sysctl")
                && found[0]["name"] == "net/ipv4/ip_forward"
                && found[0]["old"] == "0"
                && found[0]["new"] == "1"
        });
        assert_eq!(foreign(&host), others, "tables of others");
    });
}

#[test]
fn remove_leaves_nothing_and_restores() {
    in_namespace(|| {
        let (host, isoplan) = start();
        host.nft_load(FOREIGN).expect("load tables of others");
        let before = host.nft(&["-a", "list", "ruleset"]).expect("list the rules");
        isoplan.run(&["apply", "topology.toml", "--yes"]).ok();
        isoplan.run(&["remove", "--yes"]).ok();
        assert_eq!(host.nft(&["-a", "list", "ruleset"]).expect("list the rules"), before);
        assert_eq!(forwarding(&host), ["0"; 2]);
        // There is nothing left to remove, and that is no failure.
        isoplan.run(&["remove", "--yes"]).ok();

        // What somebody else has changed since is his.
        isoplan.run(&["apply", "topology.toml", "--yes"]).ok();
        host.sysctl("net/ipv4/ip_forward", "2").expect("write a sysctl");
        isoplan.run(&["remove", "--yes"]).ok();
        assert_eq!(forwarding(&host), ["2", "0"]);

        // What was on before isoplan came stays on.
        host.sysctl("net/ipv4/ip_forward", "1").expect("write a sysctl");
        isoplan.run(&["apply", "topology.toml", "--yes"]).ok();
        isoplan.run(&["remove", "--yes"]).ok();
        assert_eq!(forwarding(&host), ["1", "0"]);
    });
}

/// Every `forwarding` there is, by interface and family.
fn every_forwarding(host: &Node) -> Vec<(String, String)> {
    let mut all = Vec::new();
    for family in ["ipv4", "ipv6"] {
        let links = host
            .enter(|| std::fs::read_dir(format!("/proc/sys/net/{family}/conf")))
            .expect("list interfaces");
        for link in links {
            let name = link.expect("list interfaces").file_name().into_string().expect("a name of ASCII");
            let key = format!("net/{family}/conf/{name}/forwarding");
            let value = host.read_sysctl(&key).expect("read a sysctl");
            all.push((key, value));
        }
    }
    all.sort();
    all
}

/// Writing ip_forward writes the key of every interface. An interface that forwarded while the host as a whole
/// did not would come out of apply and remove with its forwarding lost.
#[test]
fn interfaces_get_their_own_forwarding_back() {
    in_namespace(|| {
        let (host, isoplan) = start();
        host.ip("link add eth1 type veth peer name eth2\nlink add own0 type veth peer name own0-peer\n")
            .expect("add links");
        for key in ["ipv4/conf/own0", "ipv6/conf/own0", "ipv4/conf/default"] {
            host.sysctl(&format!("net/{key}/forwarding"), "1").expect("write a sysctl");
        }
        let before = every_forwarding(&host);
        let topology =
            std::fs::read_to_string(isoplan.directory().join("topology.toml")).expect("read the topology");
        let (entries, _) = topology.split_once("[isolation]").expect("a topology with that table");
        let sysctls = format!("{entries}[isolation]\napproach = \"sysctl\"\n");
        isoplan.write("sysctls.toml", &sysctls).expect("write a topology");
        for order in [
            &["topology.toml"][..],
            &["sysctls.toml"],
            &["topology.toml", "sysctls.toml"],
            &["sysctls.toml", "topology.toml"],
        ] {
            for file in order {
                isoplan.run(&["apply", file, "--yes"]).ok();
            }
            assert_ne!(every_forwarding(&host), before, "{order:?}");
            isoplan.run(&["remove", "--yes"]).ok();
            assert_eq!(every_forwarding(&host), before, "{order:?}");
        }
    });
}

#[test]
fn another_writer_does_not_get_in_between() {
    in_namespace(|| {
        let (host, isoplan) = start();
        isoplan
            .write("other.toml", &HostSpec::service_instance().bare().topology())
            .expect("write a topology");
        let looks = ["topology.toml", "other.toml"].map(|file| {
            isoplan.run(&["apply", file, "--yes"]).ok();
            listing(&host)
        });
        let stop = AtomicBool::new(false);
        let commits = AtomicU32::new(0);
        let (mut done, mut refused) = (0, 0);
        thread::scope(|scope| {
            for name in ["one", "two"] {
                let (stop, commits, host) = (&stop, &commits, &host);
                scope.spawn(move || {
                    let text =
                        format!("add table ip {name}; add chain ip {name} mine; delete table ip {name}");
                    while !stop.load(Ordering::Relaxed) {
                        host.nft_load(&text).expect("add and delete a table");
                        commits.fetch_add(1, Ordering::Relaxed);
                    }
                });
            }
            for round in 0..40 {
                let file = ["topology.toml", "other.toml"][round % 2];
                let before = listing(&host);
                let ran = isoplan.run(&["apply", file, "--yes"]);
                let look = listing(&host);
                match ran.code {
                    Some(0) => {
                        done += 1;
                        assert_eq!(look, looks[round % 2], "{ran}");
                    }
                    Some(1) => {
                        refused += 1;
                        assert_eq!(look, before, "{ran}");
                        assert!(!ran.stderr.is_empty(), "{ran}");
                    }
                    _ => panic!("{ran}"),
                }
            }
            stop.store(true, Ordering::Relaxed);
        });
        let commits = commits.into_inner();
        eprintln!("{done} applied, {refused} refused, beside {commits} transactions of others");
        assert!(done > 0 && commits > 40);
    });
}

#[test]
fn two_applies_at_once_take_turns() {
    in_namespace(|| {
        let (host, isoplan) = start();
        isoplan
            .write("other.toml", &HostSpec::service_instance().bare().topology())
            .expect("write a topology");
        let files = ["topology.toml", "other.toml"];
        let looks = files.map(|file| {
            isoplan.run(&["apply", file, "--yes"]).ok();
            listing(&host)
        });
        for _ in 0..15 {
            isoplan.run(&["remove", "--yes"]).ok();
            let ran = thread::scope(|scope| {
                files
                    .map(|file| scope.spawn(|| isoplan.run(&["apply", file, "--yes"])))
                    .map(|run| run.join().expect("run"))
            });
            for ran in &ran {
                let is_told = ran.code == Some(1) && ran.stderr.contains("another isoplan");
                assert!(ran.code == Some(0) || is_told, "{ran}");
            }
            assert!(ran.iter().any(|ran| ran.code == Some(0)), "{}\n{}", ran[0], ran[1]);
            let look = listing(&host);
            assert!(looks.contains(&look), "neither the one nor the other:\n{look:#?}");
            assert_eq!(forwarding(&host), ["1"; 2]);
        }
    });
}
