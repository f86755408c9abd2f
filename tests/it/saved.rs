//! Snapshots and saved plans: what is read back, what is refused, what makes a plan stale.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::Path;
use std::sync::Arc;

use isoplan::approach::SysctlKey;
use isoplan::diff::{Journaled, LiveState};
use isoplan::ruleset::{
    Aside, BaseChain, Chain, ChainKind, CmpOp, CtDirection, CtKey, ElementData, ElementKey, Elements, Expr,
    ExthdrProtocol, Family, FibResult, FieldType, Hook, LookupTarget, MetaKey, PayloadBase, Policy, Priority,
    Reg, Rule, Ruleset, Set, SetData, TABLE_NAME, Table, TableOrder, Verdict,
};
use isoplan::saved::{Origin, Snapshot, Text};
use proptest::prelude::*;
use proptest::sample::select;
use serde_json::Value;

use crate::docs::check_json;
use crate::lab::node::Node;
use crate::lab::{Program, Ran, in_namespace};
use crate::laws::law_with;
use crate::live::{forwarding, listing};
use crate::{ISOPLAN, has_namespace_of_its_own};

// What the reader can yield.

fn bytes() -> impl Strategy<Value = Vec<u8>> {
    prop::collection::vec(any::<u8>(), 0..20)
}

fn name() -> impl Strategy<Value = Arc<str>> {
    prop_oneof!["[a-z_]{1,12}", "\\PC{1,8}", ".{1,8}"].prop_map(|name: String| Arc::from(name.as_str()))
}

fn reg() -> impl Strategy<Value = Reg> {
    (0_u8..16).prop_map(Reg)
}

fn verdict() -> impl Strategy<Value = Verdict> {
    prop_oneof![
        select(vec![Verdict::Accept, Verdict::Drop, Verdict::Continue, Verdict::Return]),
        name().prop_map(Verdict::Jump),
        name().prop_map(Verdict::Goto),
    ]
}

fn expr() -> impl Strategy<Value = Expr> {
    let metas: Vec<MetaKey> = MetaKey::NUMBERS.iter().map(|(key, _)| *key).collect();
    let cts: Vec<CtKey> = CtKey::NUMBERS.iter().map(|(key, _)| *key).collect();
    let directions = vec![None, Some(CtDirection::Original), Some(CtDirection::Reply)];
    let bases = vec![PayloadBase::Link, PayloadBase::Network, PayloadBase::Transport];
    let target = prop_oneof![
        select(vec![LookupTarget::Match, LookupTarget::NoMatch, LookupTarget::Verdict]),
        reg().prop_map(LookupTarget::Reg),
    ];
    prop_oneof![
        (select(metas), reg()).prop_map(|(key, dreg)| Expr::Meta { key, dreg }),
        (select(cts), select(directions), reg()).prop_map(|(key, direction, dreg)| Expr::Ct {
            key,
            direction,
            dreg
        }),
        (select(bases), any::<u32>(), any::<u32>(), reg())
            .prop_map(|(base, offset, len, dreg)| Expr::Payload { base, offset, len, dreg }),
        (select(vec![ExthdrProtocol::Ipv4, ExthdrProtocol::Ipv6]), any::<(u8, u32, u32, bool)>(), reg())
            .prop_map(|(protocol, (kind, offset, len, present), dreg)| Expr::Exthdr {
                protocol,
                kind,
                offset,
                len,
                present,
                dreg
            }),
        (any::<u32>(), select(vec![FibResult::Oif, FibResult::AddrType]), any::<bool>(), reg())
            .prop_map(|(flags, result, present, dreg)| Expr::Fib { flags, result, present, dreg }),
        (reg(), reg(), bytes(), bytes()).prop_map(|(sreg, dreg, mask, xor)| Expr::Bitwise {
            sreg,
            dreg,
            mask,
            xor
        }),
        (select(vec![CmpOp::Eq, CmpOp::Neq]), reg(), bytes()).prop_map(|(op, sreg, data)| Expr::Cmp {
            op,
            sreg,
            data
        }),
        (name(), reg(), target).prop_map(|(set, sreg, target)| Expr::Lookup { set, sreg, target }),
        any::<(u64, u64)>().prop_map(|counts| Expr::Counter { counts: Aside(counts) }),
        verdict().prop_map(Expr::Verdict),
        Just(Expr::Masquerade),
        (any::<u8>(), reg()).prop_map(|(nfproto, address)| Expr::Snat { nfproto, address }),
        (".{0,12}", bytes()).prop_map(|(name, data)| Expr::Unknown { name, data }),
    ]
}

fn rule() -> impl Strategy<Value = Rule> {
    (".{0,20}", prop::collection::vec(expr(), 0..5), any::<Option<u64>>()).prop_map(
        |(comment, exprs, handle)| Rule { comment, exprs, handle: Aside(handle), origins: Aside(Vec::new()) },
    )
}

fn chain() -> impl Strategy<Value = Chain> {
    let kind =
        prop_oneof![select(vec![ChainKind::Filter, ChainKind::Nat]), ".{0,6}".prop_map(ChainKind::Other),];
    let hook = any::<u32>().prop_map(Hook::from_number);
    let policy = select(vec![Policy::Accept, Policy::Drop]);
    let base = (kind, hook, any::<i32>(), policy, prop::option::of(".{0,15}")).prop_map(
        |(kind, hook, priority, policy, device)| BaseChain {
            kind,
            hook,
            priority: Priority(priority),
            policy,
            device,
        },
    );
    (name(), prop::option::of(base), prop::collection::vec(rule(), 0..4))
        .prop_map(|(name, base, rules)| Chain { name, base, rules })
}

fn set() -> impl Strategy<Value = Set> {
    let data = prop_oneof![
        Just(SetData::None),
        Just(SetData::Verdict),
        select(FieldType::ALL.to_vec()).prop_map(SetData::Value),
    ];
    let key = prop::collection::vec(select(FieldType::ALL.to_vec()), 1..4);
    let seeds = prop::collection::vec((any::<[u8; 60]>(), any::<Option<[u8; 60]>>(), verdict()), 0..6);
    (name(), key, data, any::<bool>(), prop_oneof![Just(0_u32), any::<u32>()], seeds).prop_map(
        |(name, key, data, interval, foreign_flags, seeds)| {
            let mut set = Set { name, key, data, interval, elements: Elements::new(), foreign_flags };
            let length = set.key_len();
            for (first, last, verdict) in seeds {
                let key = match last {
                    Some(last) => ElementKey::range(&first[..length], &last[..length]),
                    None => ElementKey::value(&first[..length]),
                };
                let value = match data {
                    SetData::Value(field) => Some(Box::from(&first[..field.len()])),
                    SetData::None | SetData::Verdict => None,
                };
                let verdict = (data == SetData::Verdict).then_some(verdict);
                set.elements.insert(key, ElementData { verdict, value, origin: Aside(None) });
            }
            set
        },
    )
}

fn state() -> impl Strategy<Value = LiveState> {
    let table = (
        select(Family::ALL.to_vec()),
        prop::collection::vec(set(), 0..4),
        prop::collection::vec(chain(), 0..4),
        prop::collection::vec(".{0,20}", 0..3),
        any::<u32>(),
    )
        .prop_map(|(family, sets, chains, unknown, flags)| {
            let order = TableOrder {
                sets: sets.iter().map(|set| Arc::clone(&set.name)).collect(),
                chains: chains.iter().map(|chain| Arc::clone(&chain.name)).collect(),
                elements: sets
                    .iter()
                    .map(|set| (Arc::clone(&set.name), set.elements.keys().rev().cloned().collect()))
                    .collect(),
            };
            Table {
                family,
                name: TABLE_NAME.to_owned(),
                sets: sets.into_iter().map(|set| (Arc::clone(&set.name), set)).collect(),
                chains: chains.into_iter().map(|chain| (Arc::clone(&chain.name), chain)).collect(),
                unknown,
                flags,
                order: Aside(order),
            }
        });
    let sysctls = prop::collection::btree_map(".{1,20}".prop_map(SysctlKey), ".{0,5}", 0..5);
    let addresses = prop::collection::btree_map(
        ".{1,15}",
        prop::collection::btree_set(any::<std::net::IpAddr>(), 0..3),
        0..3,
    );
    (
        prop::collection::vec(table, 0..3),
        any::<u32>(),
        sysctls,
        prop::option::of(prop::collection::btree_set(".{1,15}", 0..4)),
        addresses,
    )
        .prop_map(|(tables, generation, sysctls, links, addresses)| {
            let ruleset: Ruleset = tables.into_iter().map(|table| (table.family, table)).collect();
            let journal = sysctls.iter().map(|(key, value)| Journaled {
                key: key.clone(),
                original: value.clone(),
                written: value.clone(),
            });
            let journal = journal.take(2).collect();
            LiveState { ruleset, generation, sysctls, journal, links, addresses, ..LiveState::default() }
        })
}

/// With what is never compared: handles and counters.
fn all_of(state: &LiveState) -> String {
    format!("{state:?}")
}

#[test]
fn a_snapshot_reads_back_as_it_was_written() {
    law_with(300, 500, (state(), any::<(u64, u64)>(), ".{0,80}"), |(state, (netns, taken), host)| {
        let origin = Origin { host: Text::new(&host), netns, taken, ..Origin::default() };
        let snapshot = Snapshot { origin, state };
        let bytes = snapshot.to_bytes().expect("write it");
        let read = Snapshot::from_bytes(&bytes);
        let read = read.map_err(|error| TestCaseError::fail(format!("{error}")))?;
        prop_assert_eq!(&read, &snapshot);
        prop_assert_eq!(all_of(&read.state), all_of(&snapshot.state));
        prop_assert_eq!(read.to_bytes().expect("write it again"), bytes);
        Ok(())
    });
}

// Through the program.

/// A namespace with the links of the topology.
fn start() -> (Node, Program) {
    let host = Node::own("host");
    has_namespace_of_its_own(&host);
    for link in ["docker0", "eth0", "eth1"] {
        host.ip(&format!("link add {link} type bridge\nlink set {link} up\n")).expect("add a link");
    }
    let isoplan = Program::new(ISOPLAN).expect("make a directory");
    isoplan.write("topology.toml", TOPOLOGY).expect("write a topology");
    (host, isoplan)
}

const TOPOLOGY: &str = "[[bridge]]\nname = \"docker0\"\nsubnets = [\"172.17.0.0/16\"]\n\
    [[nic]]\nname = \"eth0\"\nrole = \"service\"\nsubnets = [\"192.168.56.0/24\"]\n\
    [[nic]]\nname = \"eth1\"\nrole = \"storage\"\nsubnets = [\"192.168.57.0/24\"]\n";

fn save(isoplan: &Program, topology: &str) {
    isoplan.run(&["plan", "--force", "-o", "plan.json", topology]).ok();
}

/// What a saved plan or a snapshot is, as JSON to be edited.
fn document(isoplan: &Program, name: &str) -> Value {
    serde_json::from_slice(&fs::read(isoplan.directory().join(name)).expect("read it")).expect("JSON")
}

#[track_caller]
fn refused(ran: &Ran, code: i32, words: &[&str]) {
    assert_eq!(ran.code, Some(code), "{ran}");
    assert_eq!(ran.stdout, "", "{ran}");
    for word in words {
        assert!(ran.stderr.replace("\n  ", " ").contains(word), "no `{word}`: {ran}");
    }
}

/// Refused as stale, and nothing was changed.
#[track_caller]
fn stale(host: &Node, isoplan: &Program, words: &[&str]) {
    let before = (listing(host), forwarding(host));
    for args in [&["apply", "--yes", "plan.json"][..], &["apply", "--dry-run", "plan.json"]] {
        let ran = isoplan.run(args);
        refused(&ran, 1, &[&["the saved plan is stale; nothing was changed"], words].concat());
    }
    assert_eq!((listing(host), forwarding(host)), before, "a stale plan changed something");
}

#[test]
fn a_saved_plan_does_what_its_topology_does() {
    in_namespace(|| {
        let (host, isoplan) = start();
        isoplan.run(&["apply", "--yes", "topology.toml"]).ok();
        let by_topology = (listing(&host), forwarding(&host));
        isoplan.run(&["remove", "--yes"]).ok();
        let shown = isoplan.run(&["plan", "topology.toml"]).ok();
        let saved = isoplan.run(&["plan", "-o", "plan.json", "topology.toml"]).ok();
        let changes = |text: &str| text.lines().take_while(|line| !line.starts_with("Not")).count();
        assert!(changes(&shown) > 10);
        let first = |text: &str| text.lines().take(changes(&shown)).map(str::to_owned).collect::<Vec<_>>();
        assert_eq!(first(&saved), first(&shown));
        assert_eq!(first(&isoplan.run(&["plan", "plan.json"]).ok()), first(&shown));
        // An edit after the review has no effect.
        isoplan.write("topology.toml", "nonsense").expect("write a file");
        let dry = isoplan.run(&["apply", "--dry-run", "plan.json"]).ok();
        assert_eq!(first(&dry), first(&shown));
        let text = fs::read(isoplan.directory().join("plan.json")).expect("read it");
        let asks = isoplan.run(&["apply", "plan.json"]);
        assert_eq!(asks.code, Some(64), "{asks}");
        let result = isoplan.run(&["apply", "--yes", "--json", "plan.json"]);
        assert_eq!((result.code, &result.json()["applied"]), (Some(0), &Value::from(true)), "{result}");
        assert_eq!((listing(&host), forwarding(&host)), by_topology);
        // Everything is in place; the plan is over.
        assert_eq!(fs::read(isoplan.directory().join("plan.json")).expect("read it"), text);
        let again = isoplan.run(&["apply", "--yes", "plan.json"]).ok();
        assert!(again.starts_with("In place already: ") && again.contains("nothing to do."), "{again}");
        let again = isoplan.run(&["apply", "--yes", "--json", "plan.json"]);
        assert_eq!((again.code, &again.json()["applied"]), (Some(0), &Value::from(false)), "{again}");
        assert_eq!((listing(&host), forwarding(&host)), by_topology);
        // In part is not in place.
        host.sysctl("net/ipv4/ip_forward", "0").expect("write a sysctl");
        stale(&host, &isoplan, &["in the plan and not needed any more: + table inet isoplan", "more"]);
    });
}

/// One error says what it is, not one for each of its lines.
#[test]
fn a_document_is_no_topology() {
    in_namespace(|| {
        let (_host, isoplan) = start();
        save(&isoplan, "topology.toml");
        isoplan.run(&["snapshot", "-o", "snapshot.json"]).ok();
        for (file, words) in [
            ("plan.json", ["the file is a saved plan, not a topology", "`isoplan plan FILE` shows it"]),
            (
                "snapshot.json",
                ["the file is a snapshot of a host, not a topology", "--against FILE TOPOLOGY"],
            ),
        ] {
            for args in [&["check", file][..], &["diff", "topology.toml", file], &["status", file]] {
                let ran = isoplan.run(args);
                refused(&ran, 65, &words);
                assert!(ran.stderr.contains("1 error; nothing was planned."), "{ran}");
            }
        }
        let ran = isoplan.run(&["apply", "missing.json"]);
        refused(&ran, 1, &["`isoplan plan -o FILE TOPOLOGY` saves a plan"]);
        assert!(!ran.stderr.contains("fixtures"), "{ran}");
        let ran = isoplan.run(&["check", "missing"]);
        refused(&ran, 1, &["isoplan discover"]);
        assert!(!ran.stderr.contains("fixtures"), "{ran}");
    });
}

/// What is there is replaced where the user says so, and the file that is read not even then.
#[test]
fn a_file_that_is_there_is_left_alone() {
    in_namespace(|| {
        let (_host, isoplan) = start();
        let text = |name: &str| fs::read_to_string(isoplan.directory().join(name)).expect("read it");
        for args in [&["snapshot", "-o", "mine"][..], &["plan", "topology.toml", "-o", "mine"]] {
            isoplan.write("mine", "untouched").expect("write a file");
            refused(&isoplan.run(args), 1, &["mine exists; it was left alone", "--force replaces it"]);
            assert_eq!(text("mine"), "untouched");
            isoplan.run(&[args, &["--force"]].concat()).ok();
            assert!(text("mine").starts_with('{'));
        }
        fs::hard_link(isoplan.directory().join("topology.toml"), isoplan.directory().join("same.toml"))
            .expect("make a link");
        for output in ["topology.toml", "./topology.toml", "same.toml"] {
            for args in [
                &["plan", "topology.toml", "-o", output][..],
                &["plan", "topology.toml", "--force", "-o", output],
                &["render", "topology.toml", "--format", "nft", "-o", output],
                &["status", "topology.toml", "-o", output],
                &["compare", "topology.toml", "--html", output],
                &["verify", "topology.toml", "--junit", output],
            ] {
                refused(&isoplan.run(args), 64, &["is the file that is read; it was left alone"]);
                assert_eq!(text("topology.toml"), TOPOLOGY);
            }
        }
        for args in [
            &["plan", "topology.toml", "-o", "nowhere/p.json"][..],
            &["snapshot", "-o", "nowhere/p.json"],
            &["discover", "-o", "nowhere/p.json"],
            &["status", "topology.toml", "-o", "nowhere/p.json"],
        ] {
            let ran = isoplan.run(args);
            refused(
                &ran,
                1,
                &["cannot write nowhere/p.json", "No such file", "the directory has to be there"],
            );
            assert!(!ran.stderr.contains("nowhere/."), "{ran}");
        }
    });
}

#[test]
fn what_moved_makes_a_plan_stale_and_is_told() {
    in_namespace(|| {
        let (host, isoplan) = start();
        isoplan.run(&["apply", "--yes", "topology.toml"]).ok();
        host.nft(&["add", "rule", "inet", "isoplan", "input", "accept"]).expect("add a rule");
        save(&isoplan, "topology.toml");
        // By hand, beside what the plan repairs.
        host.nft(&["delete", "element", "inet", "isoplan", "guarded_links", "{ \"eth1\" }"]).expect("delete");
        stale(&host, &isoplan, &["needed now and not in the plan: + element \"eth1\" in guarded_links"]);
        host.nft(&["add", "element", "inet", "isoplan", "guarded_links", "{ \"eth1\" }"]).expect("add");
        host.sysctl("net/ipv4/ip_forward", "0").expect("write a sysctl");
        stale(&host, &isoplan, &["needed now and not in the plan: ~ sysctl net/ipv4/ip_forward 0 -> 1"]);
        host.sysctl("net/ipv4/ip_forward", "1").expect("write a sysctl");
        // The same text under another handle: what would be deleted is not what was reviewed.
        host.nft(&["flush", "chain", "inet", "isoplan", "input"]).expect("flush");
        isoplan.run(&["apply", "--yes", "topology.toml"]).ok();
        host.nft(&["add", "rule", "inet", "isoplan", "input", "accept"]).expect("add a rule");
        stale(&host, &isoplan, &[]);
    });
}

#[test]
fn what_others_change_does_not_matter_to_a_plan() {
    in_namespace(|| {
        let (host, isoplan) = start();
        save(&isoplan, "topology.toml");
        host.nft(&["add", "table", "ip", "engine"]).expect("add a table");
        host.sysctl("net/ipv4/conf/eth0/forwarding", "1").expect("write a sysctl");
        let text = isoplan.run(&["apply", "--yes", "plan.json"]).ok();
        assert!(text.contains("Applied and read back"), "{text}");
    });
}

#[test]
fn an_interface_that_vanished_is_told_where_rules_go_by_name() {
    in_namespace(|| {
        let (host, isoplan) = start();
        save(&isoplan, "topology.toml");
        host.ip("link del eth1\n").expect("delete a link");
        let ran = isoplan.run(&["apply", "--yes", "plan.json"]);
        assert_eq!(ran.code, Some(0), "{ran}");
        assert!(ran.stderr.contains("Since the plan was saved, eth1 has gone from this host."), "{ran}");
    });
}

#[test]
fn an_interface_that_vanished_makes_a_plan_of_its_sysctl_stale() {
    in_namespace(|| {
        let (host, isoplan) = start();
        let sysctl = format!("{TOPOLOGY}[isolation]\napproach = \"sysctl\"\n");
        isoplan.write("sysctl.toml", &sysctl).expect("write a topology");
        save(&isoplan, "sysctl.toml");
        host.ip("link del eth1\n").expect("delete a link");
        stale(&host, &isoplan, &["sysctl net/ipv4/conf/eth1/forwarding does not exist any more"]);
    });
}

#[test]
fn a_plan_of_another_boot_namespace_or_isoplan_is_refused() {
    in_namespace(|| {
        let (host, isoplan) = start();
        save(&isoplan, "topology.toml");
        let plan = document(&isoplan, "plan.json");
        let with = |path: &str, value: Value| {
            let mut other = plan.clone();
            *other.pointer_mut(path).expect(path) = value;
            isoplan.write("plan.json", &other.to_string()).expect("write a plan");
        };
        with("/origin/boot_id", "another".into());
        stale(&host, &isoplan, &["this host was started anew since"]);
        with("/origin/netns", 1_000_000_000.into());
        stale(&host, &isoplan, &["it was made in another network namespace"]);
        // Other steps than this isoplan works out: one is left out.
        let mut steps = plan["steps"]["ops"].clone();
        steps.as_array_mut().expect("a list").pop();
        with("/steps/ops", steps);
        let words = ["works out other steps than the saved plan has; nothing was changed", "was changed, or"];
        refused(&isoplan.run(&["apply", "--yes", "plan.json"]), 1, &words);
        refused(&isoplan.run(&["plan", "plan.json"]), 1, &words);
        // Another state, from which other steps would follow.
        with("/state/sysctls", serde_json::json!({ "net/ipv4/ip_forward": "1" }));
        refused(&isoplan.run(&["apply", "--yes", "plan.json"]), 1, &words);
        with("/topology/text", TOPOLOGY.replace("eth1", "eth2").into());
        refused(&isoplan.run(&["apply", "--yes", "plan.json"]), 1, &words);
        isoplan.write("plan.json", &plan.to_string()).expect("write a plan");
        isoplan.run(&["apply", "--yes", "plan.json"]).ok();
    });
}

#[test]
fn a_damaged_document_is_refused_with_its_fault() {
    in_namespace(|| {
        let (_host, isoplan) = start();
        save(&isoplan, "topology.toml");
        isoplan.run(&["apply", "--yes", "topology.toml"]).ok();
        isoplan.run(&["snapshot", "-o", "snapshot.json"]).ok();
        for (name, args) in [
            ("plan.json", &["apply", "--yes", "bad.json"][..]),
            ("snapshot.json", &["plan", "--against", "bad.json", "topology.toml"]),
        ] {
            let good = document(&isoplan, name);
            let try_with = |edit: &dyn Fn(&mut Value), words: &[&str]| {
                let mut other = good.clone();
                edit(&mut other);
                isoplan
                    .write("bad.json", &serde_json::to_string_pretty(&other).expect("JSON"))
                    .expect("write");
                refused(&isoplan.run(args), 65, &[&["cannot use bad.json"], words].concat());
            };
            try_with(&|v| v["version"] = 2.into(), &["of version 2, and this isoplan knows version 1"]);
            try_with(
                &|v| {
                    v["version"] = 2.into();
                    v["more"] = 1.into();
                },
                &["of version 2"],
            );
            try_with(&|v| v["kind"] = "plan".into(), &["it is a `plan`", "hint"]);
            try_with(
                &|v| v["more"] = 1.into(),
                &["unknown field `more`", "line", "hint: save it again: isoplan "],
            );
            try_with(&|v| v["state"]["more"] = 1.into(), &["unknown field `more`"]);
            try_with(&|v| v["origin"]["host"] = "a\u{1b}[31m".into(), &["control characters"]);
            try_with(&|v| v["state"]["generation"] = (-1).into(), &["line"]);
            try_with(&|v| drop(v.as_object_mut().expect("an object").remove("state")), &["`state`"]);
            let text = fs::read_to_string(isoplan.directory().join(name)).expect("read it");
            isoplan.write("bad.json", &format!("{text}{{}}")).expect("write");
            refused(&isoplan.run(args), 65, &["trailing characters"]);
            isoplan
                .write("bad.json", &text.replacen("\"version\": 1,", "\"version\": 1, \"version\": 1,", 1))
                .expect("write");
            refused(&isoplan.run(args), 65, &["duplicate field"]);
        }
        let good = document(&isoplan, "snapshot.json");
        for (from, to, words) in [
            ("\"name\": \"isoplan\"", "\"name\": \"other\"", "is not isoplan's"),
            ("\"family\": \"inet\"", "\"family\": \"ip\"", "is listed as one of"),
            ("\"first\"", "\"first\"", ""),
            ("\"dreg\": 0", "\"dreg\": 16", "register 16"),
        ] {
            let text = serde_json::to_string_pretty(&good).expect("JSON");
            let other = text.replace(from, to);
            if other == text {
                continue;
            }
            isoplan.write("bad.json", &other).expect("write");
            refused(&isoplan.run(&["plan", "--against", "bad.json", "topology.toml"]), 65, &[words]);
        }
        // What is not JSON is a topology, for plan and apply.
        isoplan.write("bad.json", "").expect("write");
        refused(
            &isoplan.run(&["plan", "--against", "bad.json", "topology.toml"]),
            65,
            &["not a JSON document"],
        );
    });
}

/// Every truncation, in the process; a few of them through the program.
#[test]
fn no_truncation_is_taken_for_a_document() {
    in_namespace(|| {
        let (_host, isoplan) = start();
        save(&isoplan, "topology.toml");
        isoplan.run(&["snapshot", "-o", "snapshot.json"]).ok();
        let plan = fs::read(isoplan.directory().join("plan.json")).expect("read it");
        let snapshot = fs::read(isoplan.directory().join("snapshot.json")).expect("read it");
        // All but the newline at the end.
        for end in (0..snapshot.len() - 1).step_by(7).chain([snapshot.len() - 2]) {
            assert!(Snapshot::from_bytes(&snapshot[..end]).is_err(), "{end} bytes");
        }
        for end in (0..plan.len() - 1).step_by(97).chain([plan.len() - 2]) {
            assert!(isoplan::saved::SavedPlan::from_bytes(&plan[..end]).is_err(), "{end} bytes");
        }
        for part in 1..20 {
            let end = plan.len() * part / 20;
            fs::write(isoplan.directory().join("cut.json"), &plan[..end]).expect("write");
            refused(&isoplan.run(&["apply", "--yes", "cut.json"]), 65, &["EOF while parsing", "line"]);
        }
        for part in 1..10 {
            let end = snapshot.len() * part / 10;
            fs::write(isoplan.directory().join("cut.json"), &snapshot[..end]).expect("write");
            let ran = isoplan.run(&["plan", "--against", "cut.json", "topology.toml"]);
            refused(&ran, 65, &["EOF while parsing", "line"]);
        }
    });
}

/// The same JSON, but for where the state is from.
#[test]
fn a_plan_against_a_snapshot_is_the_plan() {
    in_namespace(|| {
        let (host, isoplan) = start();
        let fixtures = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures");
        let mut tried = BTreeSet::new();
        for entry in fs::read_dir(&fixtures).expect("list the fixtures") {
            let topology = entry.expect("list the fixtures").path().join("topology.toml");
            if !topology.is_file() {
                continue;
            }
            let topology = topology.to_str().expect("UTF-8");
            for by_hand in [false, true] {
                if by_hand {
                    host.nft(&["add", "rule", "inet", "isoplan", "input", "accept"]).ok();
                    host.nft(&["add", "rule", "inet", "isoplan", "input", "tcp", "flags", "syn", "log"]).ok();
                    host.nft(&["add", "set", "inet", "isoplan", "own", "{ type mark; }"]).ok();
                    host.sysctl("net/ipv4/ip_forward", "0").expect("write a sysctl");
                }
                isoplan.run(&["snapshot", "--force", "-o", "snapshot.json"]).ok();
                let plan = isoplan.run(&["plan", "--json", topology]);
                let against = isoplan.run(&["plan", "--json", "--against", "snapshot.json", topology]);
                let (mut plan, mut against) = (plan.json(), against.json());
                // What is open on a host is not in a snapshot.
                let cuts = plan.as_object_mut().expect("an object").remove("cuts");
                assert!(cuts.is_some_and(|cuts| cuts.is_object()) && against.get("cuts").is_none());
                let read = plan.as_object_mut().expect("an object").remove("read");
                assert!(read == Some("kernel".into()) && against.get("read").is_none());
                let from = against.as_object_mut().expect("an object").remove("against");
                assert!(from.is_some_and(|from| from["host"].is_string()));
                assert_eq!(plan, against, "{topology}");
                isoplan.run(&["apply", "--yes", topology]);
            }
            tried.insert(topology.to_owned());
            isoplan.run(&["remove", "--yes"]).ok();
        }
        assert!(tried.len() > 8, "only {tried:?}");
    });
}

/// As anybody, in the namespace of nobody's network, with the file alone.
#[test]
fn planning_against_a_snapshot_needs_no_privilege() {
    in_namespace(|| {
        let (host, isoplan) = start();
        isoplan.run(&["snapshot", "-o", "snapshot.json"]).ok();
        let text = fs::read_to_string(isoplan.directory().join("snapshot.json")).expect("read it");
        let stdout = isoplan.command(&["snapshot"]).env("SOURCE_DATE_EPOCH", "1795442940").output();
        let stdout: Value = serde_json::from_slice(&stdout.expect("run isoplan").stdout).expect("JSON");
        assert_eq!(stdout["origin"]["taken"], 1_795_442_940);
        assert_eq!(stdout["state"], serde_json::from_str::<Value>(&text).expect("JSON")["state"]);
        // Without any capability; a user namespace has no other user to be.
        let args = ["plan", "--against", "snapshot.json", "--detailed-exitcode", "topology.toml"];
        let without = |args: &[&str]| {
            let mut command = std::process::Command::new("setpriv");
            command
                .args(["--bounding-set", "-all", "--inh-caps", "-all", "--no-new-privs", ISOPLAN])
                .args(args)
                .current_dir(isoplan.directory())
                .env("PATH", crate::lab::node::PATH);
            let output = command.output().expect("run setpriv");
            let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
            (output.status.code(), text(&output.stdout), text(&output.stderr))
        };
        let (code, _, stderr) = without(&["plan", "topology.toml"]);
        assert_eq!(code, Some(77), "the control has privilege: {stderr}");
        let (code, stdout, stderr) = without(&args);
        assert_eq!(code, Some(2), "{stderr}");
        assert!(stdout.contains("+ table inet isoplan"), "{stdout}");
        assert!(stderr.starts_with("Against a snapshot: host "), "{stderr}");
        assert_eq!(listing(&host), None, "something was applied");
        let ran = isoplan.run(&[&args[..], &["-o", "plan.json"]].concat());
        refused(&ran, 64, &["a plan against a snapshot cannot be saved"]);
        assert!(!isoplan.directory().join("plan.json").exists());
    });
}

#[test]
fn files_are_made_with_care() {
    in_namespace(|| {
        let (_host, isoplan) = start();
        let at = |name: &str| isoplan.directory().join(name);
        let mode = |name: &str| fs::metadata(at(name)).expect("look at it").permissions().mode() & 0o7777;
        for args in
            [&["snapshot", "--force", "-o", "file"][..], &["plan", "--force", "-o", "file", "topology.toml"]]
        {
            isoplan.run(args).ok();
            assert_eq!(mode("file"), 0o600);
            // What is there is replaced whole; what others may read then they may not read now.
            fs::set_permissions(at("file"), fs::Permissions::from_mode(0o644)).expect("change the mode");
            isoplan.run(args).ok();
            assert_eq!(mode("file"), 0o600);
            fs::remove_file(at("file")).expect("remove it");

            fs::write(at("victim"), "untouched").expect("write a file");
            symlink(at("victim"), at("file")).expect("make a link");
            let ran = isoplan.run(args);
            assert_eq!(ran.code, Some(1), "{ran}");
            assert!(ran.stderr.contains("not a plain file"), "{ran}");
            assert_eq!(fs::read_to_string(at("victim")).expect("read it"), "untouched");
            fs::remove_file(at("file")).expect("remove it");
            fs::create_dir(at("file")).expect("make a directory");
            assert_eq!(isoplan.run(args).code, Some(1));
            fs::remove_dir(at("file")).expect("remove it");
            let left: Vec<_> = fs::read_dir(isoplan.directory()).expect("list").flatten().collect();
            let strange = left.iter().filter(|entry| entry.file_name().to_string_lossy().starts_with(".tmp"));
            assert_eq!(strange.count(), 0, "{left:?}");
        }
        let ran = isoplan.run(&["plan", "-o", "nowhere/plan.json", "topology.toml"]);
        assert_eq!(ran.code, Some(1), "{ran}");
    });
}

#[test]
fn their_json_is_described() {
    in_namespace(|| {
        let (_host, isoplan) = start();
        isoplan.run(&["snapshot", "-o", "snapshot.json"]).ok();
        save(&isoplan, "topology.toml");
        // What is below is the rule set, in the words of the code.
        let mut snapshot = document(&isoplan, "snapshot.json");
        snapshot["state"]["sysctls"] = serde_json::json!({ "net/ipv4/ip_forward": "0" });
        snapshot["state"]["addresses"] = serde_json::json!({});
        check_json("isoplan snapshot", "snapshot", &[snapshot], &[]);
        let against = isoplan.run(&["plan", "--json", "--against", "snapshot.json", "topology.toml"]).json();
        let shown = isoplan.run(&["plan", "--json", "plan.json"]).json();
        for document in [against, shown] {
            let mut plain = document.clone();
            assert!(plain.as_object_mut().expect("an object").remove("against").is_some());
            let text = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/json.md"));
            let text = text.expect("read docs/json.md");
            let fields = document["against"].as_object().expect("an object").keys();
            assert!(fields.into_iter().all(|field| text.contains(&format!("| `{field}`"))), "{document:?}");
        }
    });
}
