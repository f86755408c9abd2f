//! What somebody else put into the table: kept, named, never taken for something that it is not.

use std::process::Command;
use std::sync::Arc;

use super::{assert_same, commit, creation, read, unknown};
use crate::netlink::test_ns::{Privilege, in_namespaces, load, nft};
use crate::ruleset::{Expr, Family, Op, Rule};

/// Rules with statements that isoplan has no type for, or with forms of known ones that it has none for.
const STATEMENTS: [&str; 18] = [
    "limit rate 10/second drop",
    "log prefix \"isoplan \" level info",
    "quota over 25 mbytes drop",
    "meta mark set 7",
    "meta skuid 0 accept",
    "ct mark 3 accept",
    "ct count over 5 drop",
    "ip daddr set 10.0.0.1",
    "tcp dport > 1024 drop",
    "tcp dport 1000-2000 drop",
    "tcp option maxseg size set 1200",
    "fib saddr oifname \"lo\" drop",
    "notrack",
    "reject with icmpx admin-prohibited",
    "jhash ip saddr mod 2 0 drop",
    "rt mtu 1500 accept",
    "ct original ip saddr 10.0.0.1 drop",
    "socket transparent 1 accept",
];

fn rules() -> Vec<Rule> {
    read().tables[&Family::Inet].chains["c"].rules.clone()
}

#[test]
fn unknown_expressions_are_kept_byte_for_byte() {
    let name = "unknown_expressions_are_kept_byte_for_byte";
    in_namespaces(module_path!(), name, Privilege::Rootless, || {
        nft(&["add table inet isoplan"]);
        nft(&["add chain inet isoplan c { type filter hook prerouting priority -300; }"]);
        let loads = |statement: &str| {
            let rule = format!("add rule inet isoplan c meta l4proto 6 counter {statement}");
            Command::new("nft").arg(&rule).output().unwrap().status.success()
        };
        // Not every kernel has every one of them.
        let statements: Vec<&str> = STATEMENTS.into_iter().filter(|statement| loads(statement)).collect();
        assert!(statements.len() > STATEMENTS.len() / 2, "only {statements:?}");
        let listing = nft(&["list", "ruleset"]);
        let live = rules();
        for (rule, statement) in live.iter().zip(&statements) {
            let is_unknown = |expr: &Expr| matches!(expr, Expr::Unknown { .. });
            assert!(rule.exprs.iter().any(is_unknown), "{statement}: {:?}", rule.exprs);
            // The known ones around them are known still.
            assert!(matches!(rule.exprs[0], Expr::Meta { .. }), "{statement}: {:?}", rule.exprs);
            assert!(rule.exprs.contains(&Expr::counter()), "{statement}: {:?}", rule.exprs);
        }
        assert_eq!(live.len(), statements.len());

        let wanted = read().tables;
        nft(&["flush", "ruleset"]);
        commit(&creation(&wanted)).unwrap();
        assert_same(&read().tables, &wanted);
        assert_eq!(nft(&["list", "ruleset"]), listing);
    });
}

#[test]
fn a_dynamic_set_and_named_objects_are_reported() {
    let name = "a_dynamic_set_and_named_objects_are_reported";
    in_namespaces(module_path!(), name, Privilege::Rootless, || {
        load(
            "table inet isoplan {
                counter hits { }
                quota volume { over 1 mbytes }
                limit slow { rate 5/second }
                set seen { type ipv4_addr; size 100; flags dynamic,timeout; timeout 1h; }
                set small { type ipv4_addr; size 3; elements = { 10.0.0.1 } }
                set counted { type ipv4_addr; counter; elements = { 10.0.0.2 } }
                set marks { type mark; elements = { 1, 2 } }
                map objects { type ipv4_addr : counter; elements = { 10.0.0.3 : \"hits\" } }
                set rest { type ipv4_addr; flags interval; elements = { 10.0.0.0/8, * } }
                set ours { type ipv4_addr; elements = { 10.0.0.4 comment \"why\" } }
                chain c { counter name hits; update @seen { ip saddr }; jump { drop; }; }
            }",
        );
        let live = read().tables;
        let table = &live[&Family::Inet];
        for line in [
            "counter `hits`",
            "quota `volume`",
            "limit `slow`",
            "set `seen` with a timeout",
            "set `small` with room for 3 elements only",
            "set `counted` with a statement per element",
            "an element with a statement of set `counted`",
            "an element that names an object of set `objects`",
            "an element that matches everything else of set `rest`",
            "objref",
            "dynset",
        ] {
            assert!(unknown(&live).iter().any(|found| found == line), "{line}: {:?}", unknown(&live));
        }
        let bound = unknown(&live)
            .iter()
            .any(|line| line.starts_with("chain `__chain") && line.ends_with("` with flags 0x4"));
        assert!(bound, "{:?}", unknown(&live));
        assert_eq!(table.sets["seen"].foreign_flags, 0x30);
        assert_eq!(table.sets["marks"].foreign_flags, !0);
        assert_eq!(table.sets["marks"].elements.len(), 2);
        assert_eq!(table.sets["ours"].foreign_flags, 0);
        assert_eq!(table.sets["ours"].elements.len(), 1);
        assert_eq!(table.sets["rest"].elements.len(), 1);
    });
}

#[test]
fn other_tables_are_left_alone() {
    in_namespaces(module_path!(), "other_tables_are_left_alone", Privilege::Rootless, || {
        load(
            "table inet other {
                chain isoplan { type filter hook input priority 0; }
            }
            table ip isoplan {
                chain c { type nat hook prerouting priority dstnat; drop comment \"x\"; }
            }
            table arp isoplan {
                chain c { type filter hook input priority 7; policy drop; }
            }
            table netdev isoplan {
                chain c { type filter hook ingress device lo priority 3; }
            }
            table ip6 isoplan {
                flags dormant
            }",
        );
        let others = nft(&["list", "table", "inet", "other"]);
        let live = read().tables;
        assert_eq!(
            live.keys().copied().collect::<Vec<_>>(),
            [Family::Ip, Family::Ip6, Family::Arp, Family::Netdev]
        );
        assert_eq!(live[&Family::Ip6].flags, 1);
        let base = live[&Family::Netdev].chains["c"].base.as_ref().unwrap();
        assert_eq!((base.device.as_deref(), base.hook.number(), base.priority.0), (Some("lo"), 0, 3));
        let base = live[&Family::Arp].chains["c"].base.as_ref().unwrap();
        assert_eq!((base.hook.number(), base.priority.0), (0, 7));

        let chains: Vec<Op> = live
            .values()
            .filter(|table| table.family != Family::Ip6)
            .flat_map(|table| [Op::DeleteTable { family: table.family }])
            .collect();
        commit(&chains).unwrap();
        assert_eq!(read().tables.keys().copied().collect::<Vec<_>>(), [Family::Ip6]);
        let mut again = live.clone();
        again.remove(&Family::Ip6);
        commit(&creation(&again)).unwrap();
        assert_same(&read().tables, &live);
        assert_eq!(nft(&["list", "table", "inet", "other"]), others);
    });
}

#[test]
fn the_comparison_that_nft_makes_of_existence() {
    let name = "the_comparison_that_nft_makes_of_existence";
    in_namespaces(module_path!(), name, Privilege::Rootless, || {
        load(
            "table inet isoplan { chain c { fib daddr . iif oif exists accept; fib daddr . iif oif missing drop; }; }",
        );
        let listing = nft(&["list", "ruleset"]);
        let before = read().tables;
        let compared: Vec<Vec<u8>> = rules()
            .iter()
            .flat_map(|rule| &rule.exprs)
            .filter_map(|expr| match expr {
                Expr::Cmp { data, .. } => Some(data.clone()),
                _ => None,
            })
            .collect();
        if cfg!(target_endian = "little") {
            assert_eq!(compared, [[1], [0]]);
        }
        commit(&[Op::DeleteTable { family: Family::Inet }]).unwrap();
        commit(&creation(&before)).unwrap();
        assert_eq!(nft(&["list", "ruleset"]), listing);
        let chain: Arc<str> = Arc::from("c");
        assert!(before[&Family::Inet].chains.contains_key(&chain));
    });
}
