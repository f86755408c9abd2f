//! Many elements in one transaction.

use std::sync::Arc;

use super::sample::{PLAIN, link, rule, set};
use super::{assert_same, commit, creation, read};
use crate::netlink::test_ns::{Privilege, in_namespaces, skip};
use crate::netlink::{CommitError, encode};
use crate::ruleset::{ElementKey, Expr, Family, FieldType, Op, Ruleset, Set, SetData, Table};

/// A table with a hash, a tree and a concatenation of intervals of `count` elements each.
fn table_with(count: u32) -> Ruleset {
    let filled = |mut set: Set, key: &dyn Fn(u32) -> ElementKey| {
        set.elements = (0..count).map(|number| (key(number), PLAIN)).collect();
        set
    };
    let plain = SetData::None;
    let sets = [
        filled(set("hash", &[FieldType::Ipv4Addr], plain, false), &|number| {
            ElementKey::value((0x0a00_0000 + number * 7).to_be_bytes())
        }),
        filled(set("names", &[FieldType::IfName], plain, false), &|number| {
            ElementKey::value(link(&format!("veth{number}")))
        }),
        filled(set("tree", &[FieldType::Ipv4Addr], plain, true), &|number| {
            // Every other one touches the next.
            let first = number / 2 * 1024 + number % 2 * 256;
            ElementKey::range(first.to_be_bytes(), (first + 255).to_be_bytes())
        }),
        filled(set("pairs", &[FieldType::Ipv4Addr, FieldType::InetService], plain, true), &|number| {
            let [first, last] = [80_u16, 90]
                .map(|port| [&(number * 256).to_be_bytes()[..], &port.to_be_bytes(), &[0; 2]].concat());
            ElementKey::range(first, last)
        }),
    ];
    let mut table = Table::new(Family::Inet);
    table.sets.extend(sets.map(|set| (set.name.clone(), set)));
    Ruleset::from([(Family::Inet, table)])
}

#[test]
fn as_much_as_an_ordinary_user_can_send() {
    let name = "as_much_as_an_ordinary_user_can_send";
    in_namespaces(module_path!(), name, Privilege::Rootless, || {
        let wanted = table_with(12_000);
        let whole = encode(&creation(&wanted), None);
        match commit(&creation(&wanted)) {
            // Where `net.core.wmem_max` is that large.
            Ok(()) => {
                assert_same(&read().tables, &wanted);
                commit(&[Op::DeleteTable { family: Family::Inet }]).unwrap();
            }
            Err(CommitError::TooLarge { bytes, .. }) => assert_eq!(bytes, whole.len_bytes()),
            Err(other) => panic!("{other:?}"),
        }
        assert!(read().tables.is_empty());

        // In several transactions each is small enough.
        for op in creation(&wanted) {
            if let Op::AddElements { family, set, elements } = op {
                for elements in elements.chunks(3_000) {
                    let (set, elements) = (set.clone(), elements.to_vec());
                    commit(&[Op::AddElements { family, set, elements }]).unwrap();
                }
            } else {
                commit(&[op]).unwrap();
            }
        }
        assert_same(&read().tables, &wanted);
    });
}

#[test]
fn more_than_an_ordinary_user_can_send() {
    let name = "more_than_an_ordinary_user_can_send";
    in_namespaces(module_path!(), name, Privilege::Rootless, || {
        let wmem_max = std::fs::read_to_string("/proc/sys/net/core/wmem_max").unwrap();
        let possible = 2 * wmem_max.trim().parse::<usize>().unwrap();
        if possible > 64 << 20 {
            return skip(name, "the send buffer has room for more than 64 MiB");
        }
        let chain: Arc<str> = Arc::from("c");
        let mut ops = vec![
            Op::AddTable { family: Family::Inet },
            Op::AddChain { family: Family::Inet, chain: Arc::clone(&chain), base: None },
        ];
        let long = rule(&"x".repeat(250), &[Expr::counter()]);
        let add = Op::AddRule { family: Family::Inet, chain, rule: long, before: None };
        ops.extend(std::iter::repeat_n(add, possible / 250));
        match commit(&ops).unwrap_err() {
            CommitError::TooLarge { bytes, limit } => {
                assert_eq!(bytes, encode(&ops, None).len_bytes());
                assert!((possible / 2..=possible).contains(&limit), "{limit} of {possible}");
            }
            other => panic!("{other:?}"),
        }
        assert!(read().tables.is_empty());
    });
}

#[test]
fn as_much_as_root_wants() {
    in_namespaces(module_path!(), "as_much_as_root_wants", Privilege::Root, || {
        let wanted = table_with(25_000);
        commit(&creation(&wanted)).unwrap();
        // Right after a large insertion a hash table is still growing, and its dump has holes.
        assert_same(&read().tables, &wanted);

        // They go again, in one transaction as well. Of the concatenation only some: for each element
        // that goes from one of those, the kernel walks all the others.
        let gone = |set: &Set| if set.is_concat() { 1_000 } else { usize::MAX };
        let deletions: Vec<Op> = wanted[&Family::Inet]
            .sets
            .values()
            .map(|set| Op::DeleteElements {
                family: Family::Inet,
                set: set.clone(),
                elements: set.elements.clone().into_iter().take(gone(set)).collect(),
            })
            .collect();
        commit(&deletions).unwrap();
        let mut rest = wanted;
        for set in rest.values_mut().flat_map(|table| table.sets.values_mut()) {
            let gone = gone(set);
            set.elements = std::mem::take(&mut set.elements).into_iter().skip(gone).collect();
        }
        assert_same(&read().tables, &rest);
    });
}
