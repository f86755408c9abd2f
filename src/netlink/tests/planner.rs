//! Every fixture's rule set: what isoplan writes, what it renders and what nft makes of either are one.

use std::fs;
use std::path::Path;

use super::{assert_same, commit, read};
use crate::approach;
use crate::diff;
use crate::intent::Intent;
use crate::netlink::test_ns::{Privilege, in_namespaces, load, nft};
use crate::render;
use crate::ruleset::Ruleset;
use crate::topology;

/// The rule sets of all fixtures that plan one, by the name of the fixture.
fn planned() -> Vec<(String, Ruleset)> {
    let fixtures = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures");
    let mut planned = Vec::new();
    let mut directories: Vec<_> =
        fs::read_dir(fixtures).unwrap().map(|entry| entry.unwrap().path()).collect();
    directories.sort();
    for directory in directories {
        let Ok(bytes) = fs::read(directory.join("topology.toml")) else { continue };
        let topology = topology::parse("topology.toml", &bytes).unwrap();
        let desired = approach::desired(&Intent::new(&topology));
        if !desired.ruleset.is_empty() {
            planned.push((directory.display().to_string(), desired.ruleset));
        }
    }
    assert!(planned.len() > 5, "{planned:?}");
    planned
}

#[test]
fn written_rendered_and_listed_are_one() {
    let name = "written_rendered_and_listed_are_one";
    in_namespaces(module_path!(), name, Privilege::Rootless, || {
        for (fixture, wanted) in planned() {
            commit(&diff::ops_between(&Ruleset::new(), &wanted)).unwrap();
            assert_eq!(read().tables, wanted, "{fixture}: written");
            let listing = nft(&["list", "ruleset"]);
            nft(&["flush", "ruleset"]);

            load(&listing);
            assert_eq!(read().tables, wanted, "{fixture}: listed by nft and loaded again\n{listing}");
            nft(&["flush", "ruleset"]);

            load(&render::nft::ruleset(&wanted));
            assert_eq!(read().tables, wanted, "{fixture}: rendered and loaded");
            nft(&["flush", "ruleset"]);
        }
    });
}

#[test]
fn from_every_plan_to_every_other() {
    in_namespaces(module_path!(), "from_every_plan_to_every_other", Privilege::Rootless, || {
        let planned = planned();
        let mut live = Ruleset::new();
        for (_, from) in &planned {
            for (_, to) in &planned {
                for wanted in [from, to] {
                    let ops = diff::ops_between(&live, wanted);
                    if let Err(error) = commit(&ops) {
                        panic!("{error:?} in {ops:#?}");
                    }
                    live = read().tables;
                    assert_same(&live, wanted);
                }
            }
        }
        commit(&diff::ops_between(&live, &Ruleset::new())).unwrap();
        assert!(read().tables.is_empty());
        assert_eq!(nft(&["list", "ruleset"]), "");
    });
}
