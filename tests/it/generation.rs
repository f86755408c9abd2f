//! What the last change left is not read again, and nothing that anybody does by hand is hidden by it.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::lab::node::Node;
use crate::lab::{HostSpec, Program, in_namespace};
use crate::{ISOPLAN, has_namespace_of_its_own};

/// So many bridges that what they left is kept.
fn start() -> (Node, Program) {
    let host = Node::own("host");
    has_namespace_of_its_own(&host);
    let isoplan = Program::new(ISOPLAN).expect("make a directory");
    let mut topology = HostSpec::three_nics().bare().topology();
    for number in 0..300 {
        let subnet = format!("10.{}.{}.0/24", 100 + number / 256, number % 256);
        topology += &format!("\n[[bridge]]\nname = \"net{number}\"\nsubnets = [\"{subnet}\"]\n");
    }
    isoplan.write("many.toml", &topology).expect("write a topology");
    isoplan.run(&["apply", "many.toml", "--yes"]).ok();
    (host, isoplan)
}

/// Where a plan read elements, and what differs.
#[track_caller]
fn plan(isoplan: &Program) -> (String, usize) {
    let plan = isoplan.run(&["plan", "many.toml", "--json"]).json();
    let changes = plan["changes"].as_array().expect("a list of changes").len();
    (plan["read"].as_str().expect("where it read").to_owned(), changes)
}

fn kept() -> (String, usize) {
    ("generation".to_owned(), 0)
}

/// One thing done by hand is found, repaired, and what that leaves is kept again.
#[track_caller]
fn found(isoplan: &Program, what: &str, by_hand: impl FnOnce()) {
    assert_eq!(plan(isoplan), kept(), "before: {what}");
    by_hand();
    let (read, changes) = plan(isoplan);
    assert!(read == "kernel" && changes > 0, "{what}: {changes} changes by {read}");
    assert_eq!(isoplan.run(&["status", "many.toml"]).code, Some(2), "{what}");
    let repaired = isoplan.run(&["apply", "many.toml", "--yes", "--json"]).json();
    assert_eq!((&repaired["read"], &repaired["applied"]), (&"kernel".into(), &true.into()), "{what}");
    assert_eq!(plan(isoplan), kept(), "after: {what}");
}

#[test]
fn what_is_done_by_hand_is_found() {
    in_namespace(|| {
        let (host, isoplan) = start();
        let nft = |commands: &str| host.nft_load(commands).expect(commands);
        for commands in [
            "add rule inet isoplan forward accept",
            "insert rule inet isoplan input accept",
            "add element inet isoplan masquerade_from { \"more\" }",
            "delete element inet isoplan masquerade_from { \"net7\" }",
            // As many as before.
            "delete element inet isoplan masquerade_from { \"net7\" }\n\
             add element inet isoplan masquerade_from { \"net7x\" }",
            "delete element inet isoplan from_network { \"net7\" }\n\
             add element inet isoplan from_network { \"net7\" : accept }",
            "delete element inet isoplan network_nets_v4 { 10.100.7.0/24 }",
            "delete element inet isoplan network_nets_v4 { 10.100.7.0/24 }\n\
             add element inet isoplan network_nets_v4 { 10.100.7.0/25 }",
            "flush set inet isoplan masquerade_from",
            "chain inet isoplan forward { policy drop; }",
            "flush chain inet isoplan forward",
            "flush table inet isoplan",
            "delete table inet isoplan",
            "flush ruleset",
        ] {
            found(&isoplan, commands, || nft(commands));
        }
        let rule = || {
            let listing = host.nft(&["-a", "list", "chain", "inet", "isoplan", "forward"]).expect("list");
            let handle =
                listing.lines().rev().find_map(|line| line.split_once("# handle ")).expect("a rule").1;
            nft(&format!("delete rule inet isoplan forward handle {handle}"));
        };
        found(&isoplan, "a rule is deleted", rule);
        found(&isoplan, "the table is made again, but for one element", || {
            let table = host.nft(&["list", "table", "inet", "isoplan"]).expect("list");
            let other = table.replacen("\"net42\"", "\"net42x\"", 1);
            assert_ne!(other, table);
            nft(&format!("delete table inet isoplan\n{other}"));
        });
    });
}

/// What others commit changes nothing of isoplan's, and is enough to read all.
#[test]
fn what_others_commit_makes_it_read() {
    in_namespace(|| {
        let (host, isoplan) = start();
        assert_eq!(plan(&isoplan), kept());
        host.nft(&["add", "table", "ip", "other"]).expect("add a table");
        assert_eq!(plan(&isoplan), ("kernel".to_owned(), 0));
        let undone = isoplan.run(&["remove", "--yes"]);
        assert_eq!(undone.code, Some(0), "{undone}");
        let (read, changes) = plan(&isoplan);
        assert!(read == "kernel" && changes > 0, "{changes} changes by {read}");
        isoplan.run(&["rollback", "--yes"]).ok();
        assert_eq!(plan(&isoplan).1, 0);
    });
}

/// Sysctls move without a transaction, and so do links: both are read.
#[test]
fn what_needs_no_transaction_is_always_read() {
    in_namespace(|| {
        let (host, isoplan) = start();
        host.sysctl("net/ipv4/ip_forward", "0").expect("write a sysctl");
        assert_eq!(plan(&isoplan), ("generation".to_owned(), 1));
        isoplan.run(&["apply", "many.toml", "--yes"]).ok();
        assert_eq!(plan(&isoplan), kept());
        host.ip("link add net7 type bridge\n").expect("make a link");
        let plan = isoplan.run(&["plan", "many.toml", "--json"]).json();
        let absent = plan["absent_interfaces"].as_array().expect("a list");
        assert!(!absent.contains(&"net7".into()) && absent.contains(&"net8".into()), "{absent:?}");
    });
}

fn only_file(directory: &Path, starts: &str) -> PathBuf {
    let files = fs::read_dir(directory).expect("list").flatten().map(|file| file.path());
    let is_it = |path: &PathBuf| {
        path.file_name().and_then(|name| name.to_str()).is_some_and(|name| name.starts_with(starts))
    };
    let mut found: Vec<_> = files.filter(is_it).collect();
    found.sort();
    found.pop().unwrap_or_else(|| panic!("no {starts} in {}", directory.display()))
}

/// What is not whole, of another version, another boot, another namespace or another generation is not believed.
#[test]
fn what_is_not_of_this_moment_is_not_believed() {
    in_namespace(|| {
        let (_, isoplan) = start();
        let state = only_file(&isoplan.directory().join("state"), "netns-");
        let (moment, elements) = (only_file(&state, "generation.json"), only_file(&state, "elements-"));
        let (good, bytes) = (fs::read(&moment).expect("read"), fs::read(&elements).expect("read"));
        let document: Value = serde_json::from_slice(&good).expect("JSON");
        let kernel = ("kernel".to_owned(), 0);
        let changed = |path: &[&str], to: Value| {
            let mut other = document.clone();
            let place = path.iter().fold(&mut other, |place, key| &mut place[*key]);
            assert_ne!(*place, to, "{path:?}");
            *place = to;
            fs::write(&moment, serde_json::to_vec(&other).expect("JSON")).expect("write");
            assert_eq!(plan(&isoplan), kernel, "{path:?}");
        };
        let number = |key: &str| document["moment"][key].as_u64().expect("a number");
        changed(&["version"], 2.into());
        changed(&["moment", "boot_id"], "00000000-0000-0000-0000-000000000000".into());
        changed(&["moment", "netns"], (number("netns") + 1).into());
        changed(&["moment", "module"], (number("module") + 1).into());
        changed(&["moment", "isoplan"], "0.0.1".into());
        changed(&["moment", "generation"], (number("generation") - 1).into());
        changed(&["elements", "digest", "crc"], 1.into());
        changed(&["elements", "digest", "bytes"], 20.into());
        changed(&["elements", "file"], 99.into());
        for broken in [&b""[..], b"{}", &good[..good.len() / 2]] {
            fs::write(&moment, broken).expect("write");
            assert_eq!(plan(&isoplan), kernel);
        }
        fs::write(&moment, &good).expect("write");
        assert_eq!(plan(&isoplan), kept(), "the control");
        let mut flipped = bytes.clone();
        flipped[bytes.len() / 2] ^= 1;
        let mut older = bytes.clone();
        older[8] += 1;
        for broken in [&b""[..], &bytes[..bytes.len() - 1], &bytes[..19], &flipped, &older] {
            fs::write(&elements, broken).expect("write");
            assert_eq!(plan(&isoplan), kernel);
        }
        fs::write(&elements, &bytes).expect("write");
        assert_eq!(plan(&isoplan), kept(), "the control");
        fs::remove_file(&elements).expect("remove");
        assert_eq!(plan(&isoplan), kernel);
    });
}

/// A small change takes what was left, and so does the one after it; the way back is exact.
#[test]
fn a_small_change_reads_no_elements() {
    in_namespace(|| {
        let (host, isoplan) = start();
        let before = crate::rollback::everything(&host);
        let many = fs::read_to_string(isoplan.directory().join("many.toml")).expect("read");
        for name in ["one", "two"] {
            let other = format!("{many}\n[[bridge]]\nname = \"{name}\"\nsubnets = [\"10.99.0.0/24\"]\n");
            isoplan.write("many.toml", &other).expect("write a topology");
            let applied = isoplan.run(&["apply", "many.toml", "--yes", "--json"]).json();
            assert_eq!((&applied["read"], &applied["applied"]), (&"generation".into(), &true.into()));
            assert_eq!(plan(&isoplan), kept());
            assert_eq!(isoplan.run(&["status", "many.toml"]).code, Some(0));
        }
        let listed = host.nft(&["list", "set", "inet", "isoplan", "masquerade_from"]).expect("list");
        assert!(listed.contains("\"two\"") && !listed.contains("\"one\""), "{listed}");
        isoplan.write("many.toml", &many).expect("write a topology");
        isoplan.run(&["apply", "many.toml", "--yes"]).ok();
        assert_eq!(crate::rollback::everything(&host), before);
        isoplan.run(&["rollback", "--yes"]).ok();
        let listed = host.nft(&["list", "set", "inet", "isoplan", "masquerade_from"]).expect("list");
        assert!(listed.contains("\"two\""), "{listed}");
    });
}

/// A policy of a few networks is read whole each time.
#[test]
fn few_elements_are_always_read() {
    in_namespace(|| {
        let (_, isoplan) = start();
        isoplan.write("many.toml", &HostSpec::three_nics().bare().topology()).expect("write a topology");
        isoplan.run(&["apply", "many.toml", "--yes"]).ok();
        assert_eq!(plan(&isoplan), ("kernel".to_owned(), 0));
    });
}
