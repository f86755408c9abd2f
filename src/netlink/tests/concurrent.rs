//! Reading while somebody else writes.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::thread;
use std::time::Duration;

use super::sample::{PLAIN, chain, rule, set};
use super::{commit, creation};
use crate::netlink::test_ns::{Privilege, in_namespaces};
use crate::netlink::{Error, Nftables, encode};
use crate::ruleset::{ElementKey, Expr, Family, FieldType, Op, Ruleset, SetData, TABLE_NAME, Table};

const FAMILY: Family = Family::Inet;

/// A table whose parts all have as many members as the number says.
fn table_of(count: u32) -> Ruleset {
    let mut table = Table::new(FAMILY);
    for (name, interval) in [("hash", false), ("tree", true)] {
        let mut set = set(name, &[FieldType::Ipv4Addr], SetData::None, interval);
        set.elements =
            (0..count).map(|number| (ElementKey::value((number * 2).to_be_bytes()), PLAIN)).collect();
        table.sets.insert(set.name.clone(), set);
    }
    let mut rules = chain("c", None);
    rules.rules = (0..count).map(|number| rule(&format!("R{number}"), &[Expr::counter()])).collect();
    table.chains.insert(rules.name.clone(), rules);
    Ruleset::from([(FAMILY, table)])
}

#[test]
fn a_snapshot_is_of_one_moment() {
    in_namespaces(module_path!(), "a_snapshot_is_of_one_moment", Privilege::Rootless, || {
        commit(&creation(&table_of(100))).unwrap();
        let stop = AtomicBool::new(false);
        let written = AtomicU32::new(0);
        thread::scope(|scope| {
            scope.spawn(|| {
                let mut socket = Nftables::open().unwrap();
                let mut count = 100;
                while !stop.load(Ordering::Relaxed) {
                    count = if count == 100 { 300 } else { 100 };
                    let mut ops = vec![Op::DeleteTable { family: FAMILY }];
                    ops.extend(creation(&table_of(count)));
                    socket.commit(&encode(&ops, None)).unwrap();
                    written.fetch_add(1, Ordering::Relaxed);
                    thread::sleep(Duration::from_millis(15));
                }
            });
            let mut socket = Nftables::open().unwrap();
            let mut sizes = [0; 2];
            while sizes.contains(&0) || written.load(Ordering::Relaxed) < 40 {
                let live = socket.read_tables(TABLE_NAME).unwrap();
                let count = live.tables[&FAMILY].chains["c"].rules.len() as u32;
                assert_eq!(live.tables, table_of(count), "a mixture of two generations");
                sizes[usize::from(count == 300)] += 1;
            }
            stop.store(true, Ordering::Relaxed);
        });
    });
}

#[test]
fn a_writer_without_a_pause() {
    in_namespaces(module_path!(), "a_writer_without_a_pause", Privilege::Rootless, || {
        commit(&creation(&table_of(2_000))).unwrap();
        let stop = AtomicBool::new(false);
        thread::scope(|scope| {
            scope.spawn(|| {
                let mut socket = Nftables::open().unwrap();
                let chain: Arc<str> = Arc::from("d");
                let change = encode(
                    &[
                        Op::AddChain { family: FAMILY, chain: Arc::clone(&chain), base: None },
                        Op::DeleteChain { family: FAMILY, chain },
                    ],
                    None,
                );
                while !stop.load(Ordering::Relaxed) {
                    socket.commit(&change).unwrap();
                }
            });
            let mut socket = Nftables::open().unwrap();
            for _ in 0..2 {
                match socket.read_tables(TABLE_NAME) {
                    Ok(live) => assert_eq!(live.tables, table_of(2_000)),
                    Err(Error::KeepsChanging { tries: 64 }) => {}
                    Err(error) => panic!("{error:?}"),
                }
            }
            stop.store(true, Ordering::Relaxed);
            while !scope_is_quiet(&mut socket) {}
            // The socket is as good as new after all that.
            assert_eq!(socket.read_tables(TABLE_NAME).unwrap().tables, table_of(2_000));
        });
    });
}

/// Whether nothing changes any more.
fn scope_is_quiet(socket: &mut Nftables) -> bool {
    let before = socket.generation().unwrap();
    thread::sleep(Duration::from_millis(20));
    socket.generation().unwrap() == before
}
