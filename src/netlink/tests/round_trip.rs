//! What is written reads back equal, and so does what nft makes of its own listing.

use super::{commit, creation, read};
use crate::netlink::test_ns::{Privilege, in_namespaces, load, nft};
use crate::ruleset::{Expr, Ruleset};

fn unknown(ruleset: &Ruleset) -> Vec<String> {
    let mut found = Vec::new();
    for table in ruleset.values() {
        found.extend(table.unknown.iter().cloned());
        for rule in table.chains.values().flat_map(|chain| &chain.rules) {
            found.extend(
                rule.exprs
                    .iter()
                    .filter(|expr| matches!(expr, Expr::Unknown { .. }))
                    .map(|expr| format!("{expr:?}")),
            );
        }
    }
    found
}

#[test]
fn what_nft_made() {
    in_namespaces(module_path!(), "what_nft_made", Privilege::Rootless, || {
        load(include_str!("planner.nft"));
        let listing = nft(&["list", "ruleset"]);
        let read_first = read().tables;
        assert_eq!(unknown(&read_first), [""; 0]);

        nft(&["flush", "ruleset"]);
        commit(&creation(&read_first)).unwrap();
        assert_eq!(nft(&["list", "ruleset"]), listing);
        assert_eq!(read().tables, read_first);
    });
}
