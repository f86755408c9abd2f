//! What the kernel refuses, and what is said about it.

use std::env;
use std::process::Command;
use std::sync::Arc;

use nix::libc;

use super::sample::{self, PLAIN, base, chain, decides, link, rule, set};
use super::{assert_same, commit, creation, read};
use crate::netlink::test_ns::{Privilege, in_namespaces};
use crate::netlink::{CommitError, Error, Nftables, Unencodable, encode};
use crate::ruleset::{
    ChainKind, ElementData, ElementKey, Expr, Family, FieldType, Hook, Op, Policy, Ruleset, SetData,
    TABLE_NAME, Table, Verdict,
};

const FAMILY: Family = Family::Inet;

#[test]
fn a_stale_generation_changes_nothing() {
    in_namespaces(module_path!(), "a_stale_generation_changes_nothing", Privilege::Rootless, || {
        let wanted = sample::ruleset();
        let mut socket = Nftables::open().unwrap();
        let empty = socket.read_tables(TABLE_NAME).unwrap();
        assert_eq!(empty.generation, socket.generation().unwrap());
        let transaction = encode(&creation(&wanted), Some(empty.generation));
        socket.commit(&transaction).unwrap();
        let made = socket.read_tables(TABLE_NAME).unwrap();
        assert_eq!(made.generation, empty.generation + 1);

        let late = encode(&[Op::DeleteTable { family: FAMILY }], Some(empty.generation));
        let error = socket.commit(&late).unwrap_err();
        assert!(matches!(error, CommitError::Moved), "{error:?}");
        assert_eq!(socket.read_tables(TABLE_NAME).unwrap(), made);

        let timely = encode(&[Op::DeleteTable { family: FAMILY }], Some(made.generation));
        socket.commit(&timely).unwrap();
        assert!(!read().tables.contains_key(&FAMILY));
    });
}

/// Set in a process that has no capabilities any more.
const POWERLESS: &str = "ISOPLAN_TEST_POWERLESS";

#[test]
fn without_privilege() {
    if env::var_os(POWERLESS).is_some() {
        let mut socket = Nftables::open().unwrap();
        let error = socket.read_tables(TABLE_NAME).unwrap_err();
        assert!(matches!(error, Error::NotPermitted), "{error:?}");
        let error = socket.generation().unwrap_err();
        assert!(matches!(error, Error::NotPermitted), "{error:?}");
        let error = socket.commit(&encode(&creation(&sample::ruleset()), None)).unwrap_err();
        assert!(matches!(error, CommitError::NotPermitted), "{error:?}");
        return;
    }
    in_namespaces(module_path!(), "without_privilege", Privilege::Rootless, || {
        let output = Command::new("setpriv")
            .args(["--inh-caps=-all", "--bounding-set=-all"])
            .arg(env::current_exe().unwrap())
            .args(["--exact", "netlink::tests::refusal::without_privilege", "--nocapture"])
            .env(POWERLESS, "1")
            .output()
            .unwrap();
        let stdout = String::from_utf8_lossy(&output.stdout);
        assert!(output.status.success() && stdout.contains("1 passed"), "{stdout}\n{output:?}");
        assert!(read().tables.is_empty());
    });
}

/// A refusal of one step.
#[track_caller]
fn refused(ops: &[Op]) -> (usize, Option<ElementKey>, i32) {
    let before = read();
    let error = commit(ops).unwrap_err();
    assert_eq!(read(), before, "a refused transaction changes nothing");
    match error {
        CommitError::Refused { op, element, errno, .. } => (op, element.map(|key| *key), errno),
        other => panic!("{other:?}"),
    }
}

#[test]
fn the_step_at_fault_is_named() {
    in_namespaces(module_path!(), "the_step_at_fault_is_named", Privilege::Rootless, || {
        let (family, family_without) = (FAMILY, Family::Ip6);
        commit(&creation(&Ruleset::from([(family, Table::new(family))]))).unwrap();
        let c: Arc<str> = Arc::from("c");
        let add_chain = Op::AddChain { family, chain: Arc::clone(&c), base: None };
        let add_rule = |exprs: &[Expr]| Op::AddRule {
            family,
            chain: Arc::clone(&c),
            rule: rule("X", exprs),
            before: None,
        };
        let fine = add_rule(&[Expr::counter()]);

        let nowhere = Expr::Verdict(Verdict::Jump("nowhere".into()));
        let ops = [add_chain.clone(), fine.clone(), add_rule(&[nowhere]), fine.clone()];
        assert_eq!(refused(&ops), (2, None, libc::ENOENT));
        // Of two mistakes the first counts.
        let ops =
            [add_chain.clone(), Op::DeleteTable { family: family_without }, fine.clone(), ops[2].clone()];
        assert_eq!(refused(&ops), (1, None, libc::ENOENT));
        // The last step is the one that is acknowledged.
        let ops =
            [add_chain.clone(), fine.clone(), Op::DeleteRule { family, chain: Arc::clone(&c), handle: 99 }];
        assert_eq!(refused(&ops), (2, None, libc::ENOENT));
        // A chain with rules does not go.
        commit(&[add_chain, fine]).unwrap();
        assert_eq!(refused(&[Op::DeleteChain { family, chain: Arc::clone(&c) }]), (0, None, libc::EBUSY));
        // A set that is there already is not added again.
        let links = set("links", &[FieldType::IfName], SetData::None, false);
        let add = Op::AddSet { family, set: links };
        commit(std::slice::from_ref(&add)).unwrap();
        assert_eq!(refused(&[add]), (0, None, libc::EEXIST));
        // nat chains are not in every hook.
        let nat = base(ChainKind::Nat, Hook::Forward, 0, Policy::Accept);
        let (op, _, errno) = refused(&[Op::AddChain { family, chain: Arc::from("nat"), base: nat }]);
        assert_eq!((op, errno), (0, libc::EOPNOTSUPP));
        let error = commit(&[Op::DeleteChain { family, chain: Arc::from("d") }]).unwrap_err();
        assert_eq!(error.to_string(), "the kernel refused step 0: No such file or directory (os error 2)");
    });
}

#[test]
fn more_mistakes_than_there_is_room_for_answers() {
    let name = "more_mistakes_than_there_is_room_for_answers";
    in_namespaces(module_path!(), name, Privilege::Rootless, || {
        let family = FAMILY;
        commit(&creation(&Ruleset::from([(family, Table::new(family))]))).unwrap();
        let add = Op::AddChain { family, chain: Arc::from("d"), base: None };
        let absent = Op::DeleteChain { family, chain: Arc::from("c") };
        // How much can be sent, and how many answers can be kept, depends on `net.core.*mem_max`.
        for count in [20_000, 5_000] {
            let ops = [vec![add.clone()], vec![absent.clone(); count]].concat();
            match commit(&ops).unwrap_err() {
                CommitError::Refused { op: 1, errno: libc::ENOENT, .. } => break,
                CommitError::TooLarge { .. } if count > 5_000 => {}
                other => panic!("{other:?}"),
            }
        }
        // What is left of the answers does not disturb what comes after.
        let mut socket = Nftables::open().unwrap();
        let refused = encode(&vec![absent; 5_000], None);
        let made = encode(&[add], None);
        socket.commit(&refused).unwrap_err();
        socket.commit(&made).unwrap();
        assert!(socket.read_tables(TABLE_NAME).unwrap().tables[&family].chains.contains_key("d"));
    });
}

#[test]
fn the_element_at_fault_is_named() {
    in_namespaces(module_path!(), "the_element_at_fault_is_named", Privilege::Rootless, || {
        let family = FAMILY;
        commit(&[Op::AddTable { family }, Op::AddChain { family, chain: Arc::from("here"), base: None }])
            .unwrap();

        // One of 5,000 overlaps another one, in the middle of several messages.
        let pairs = set("pairs", &[FieldType::Ipv4Addr, FieldType::InetService], SetData::None, true);
        let key = |number: u32, last: u16| {
            let [a, b] =
                [0, last].map(|port| [&number.to_be_bytes()[..], &port.to_be_bytes(), &[0; 2]].concat());
            ElementKey::range(a, b)
        };
        let mut elements: Vec<_> = (0..5_000).map(|number| (key(number, 80), PLAIN)).collect();
        let overlapping = key(7, 443);
        elements[3_210].0 = overlapping.clone();
        let ops = [
            Op::AddSet { family, set: pairs.clone() },
            Op::AddElements { family, set: pairs.clone(), elements },
        ];
        let (op, element, errno) = refused(&ops);
        assert_eq!((op, element, errno), (1, Some(overlapping), libc::EEXIST));

        // A verdict that leads to no chain.
        let verdicts = set("verdicts", &[FieldType::IfName], SetData::Verdict, false);
        let elements: Vec<(ElementKey, ElementData)> = (0..1_000)
            .map(|number| {
                let chain = if number == 777 { "nowhere" } else { "here" };
                let key = ElementKey::value(link(&format!("veth{number}")));
                (key, decides(Verdict::Goto(chain.into())))
            })
            .collect();
        let at_fault = elements[777].0.clone();
        let ops = [
            Op::AddSet { family, set: verdicts.clone() },
            Op::AddElements { family, set: verdicts, elements },
        ];
        assert_eq!(refused(&ops), (1, Some(at_fault), libc::ENOENT));

        // One that is there already, in a tree; one that is not there, to be deleted.
        let tree = set("tree", &[FieldType::Ipv4Addr], SetData::None, true);
        let range = |first: [u8; 4], last: [u8; 4]| ElementKey::range(first, last);
        let present = range([10, 0, 0, 0], [10, 0, 0, 255]);
        let absent = range([10, 0, 2, 0], [10, 0, 2, 255]);
        commit(&[
            Op::AddSet { family, set: tree.clone() },
            Op::AddElements { family, set: tree.clone(), elements: vec![(present.clone(), PLAIN)] },
        ])
        .unwrap();
        let elements = vec![(absent.clone(), PLAIN), (present.clone(), PLAIN)];
        let ops = [Op::AddElements { family, set: tree.clone(), elements }];
        assert_eq!(refused(&ops), (0, Some(present.clone()), libc::EEXIST));
        let elements = vec![(present, PLAIN), (absent.clone(), PLAIN)];
        let ops = [Op::DeleteElements { family, set: tree, elements }];
        assert_eq!(refused(&ops), (0, Some(absent), libc::ENOENT));
    });
}

#[test]
fn what_does_not_fit_into_a_message() {
    in_namespaces(module_path!(), "what_does_not_fit_into_a_message", Privilege::Rootless, || {
        let family = FAMILY;
        let wanted = Ruleset::from([(family, Table::new(family))]);
        commit(&creation(&wanted)).unwrap();
        let add_rule = |comment: &str| Op::AddRule {
            family,
            chain: Arc::from("c"),
            rule: rule(comment, &[Expr::counter()]),
            before: None,
        };
        let mut foreign = set("foreign", &[], SetData::None, false);
        foreign.foreign_flags = !0;
        let long = vec![(ElementKey::value(vec![0; 65]), PLAIN)];
        let links = set("links", &[FieldType::IfName], SetData::None, false);
        for (op, expected) in [
            (add_rule(&"x".repeat(254)), Unencodable::TooLong { what: "a comment", max: 253 }),
            (add_rule("a\0b"), Unencodable::Nul),
            (Op::AddChain { family, chain: Arc::from("a\0b"), base: None }, Unencodable::Nul),
            (
                Op::AddChain { family, chain: Arc::from("x".repeat(256)), base: None },
                Unencodable::TooLong { what: "a name", max: 255 },
            ),
            (Op::AddSet { family, set: foreign }, Unencodable::ForeignType),
            (
                Op::AddElements { family, set: links, elements: long },
                Unencodable::TooLong { what: "a value", max: 64 },
            ),
        ] {
            let ops = [Op::AddChain { family, chain: Arc::from("c"), base: None }, op];
            match commit(&ops).unwrap_err() {
                CommitError::Unencodable { op: 1, reason } => assert_eq!(reason, expected),
                other => panic!("{other:?}"),
            }
        }
        assert_same(&read().tables, &wanted);

        // The longest that does.
        let mut table = Table::new(family);
        let name = "c".repeat(255);
        let mut longest = chain(&name, None);
        longest.rules = vec![rule(&"x".repeat(253), &vec![Expr::counter(); 127])];
        table.chains.insert(Arc::clone(&longest.name), longest);
        let wanted = Ruleset::from([(family, table)]);
        commit(&[Op::DeleteTable { family }]).unwrap();
        commit(&creation(&wanted)).unwrap();
        assert_same(&read().tables, &wanted);
    });
}
