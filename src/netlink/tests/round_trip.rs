//! What is written reads back equal, and so does what nft makes of its own listing.

use super::{assert_same, commit, creation, read, sample, unknown};
use crate::netlink::test_ns::{Privilege, in_namespaces, load, nft};

/// A listing as nft prints it, of everything that the planner writes and some more.
const LISTING: &str = include_str!("listing.nft");

#[test]
fn what_nft_made() {
    in_namespaces(module_path!(), "what_nft_made", Privilege::Rootless, || {
        load(LISTING);
        assert_eq!(nft(&["list", "ruleset"]), LISTING, "nft reads its own listing");
        let first = read().tables;
        assert_eq!(unknown(&first), [""; 0]);

        nft(&["flush", "ruleset"]);
        commit(&creation(&first)).unwrap();
        assert_eq!(nft(&["list", "ruleset"]), LISTING);
        assert_same(&read().tables, &first);
    });
}

#[test]
fn what_isoplan_made() {
    in_namespaces(module_path!(), "what_isoplan_made", Privilege::Rootless, || {
        let wanted = sample::ruleset();
        commit(&creation(&wanted)).unwrap();
        let live = read();
        assert_same(&live.tables, &wanted);
        for rule in
            live.tables.values().flat_map(|table| table.chains.values()).flat_map(|chain| &chain.rules)
        {
            assert!(rule.handle.0.is_some());
        }

        let listing = nft(&["list", "ruleset"]);
        nft(&["flush", "ruleset"]);
        assert!(read().tables.is_empty());
        load(&listing);
        assert_same(&read().tables, &wanted);
    });
}
