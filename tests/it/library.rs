//! The programs in `examples/`, which use isoplan as a crate.

use std::fs;

use crate::lab::node::Node;
use crate::lab::{Program, in_namespace};
use crate::{ISOPLAN, has_namespace_of_its_own};

#[path = "../../examples/against.rs"]
#[allow(dead_code, reason = "its main is not run here")]
mod against;
#[path = "../../examples/review.rs"]
#[allow(dead_code, reason = "its main is not run here")]
mod review;
#[path = "../../examples/rules.rs"]
#[allow(dead_code, reason = "its main is not run here")]
mod rules;

#[test]
fn the_examples_run() {
    in_namespace(|| {
        has_namespace_of_its_own(&Node::own("host"));
        let isoplan = Program::new(ISOPLAN).expect("make a directory");
        let file = concat!(env!("CARGO_MANIFEST_DIR"), "/fixtures/docker-host/topology.toml");
        let text = fs::read_to_string(file).expect("read a fixture");
        let at = |name: &str| isoplan.directory().join(name).display().to_string();
        isoplan.write("old.toml", &text).expect("write a file");
        let opening = text.replace("\"docker0\"\n", "\"docker0\"\nreach = [\"service\", \"storage\"]\n");
        isoplan.write("new.toml", &opening).expect("write a file");

        let printed = rules::rules(&at("old.toml")).expect("the rules");
        let (matrix, rules) = printed.split_once("\n\n").expect("a matrix and rules");
        assert!(matrix.contains("docker0") && matrix.contains("blocked"), "{printed}");
        assert!(rules.contains("table inet isoplan"), "{printed}");
        assert!(rules::rules(&at("none.toml")).is_err());

        let (opens, text) = review::review(&at("old.toml"), &at("new.toml")).expect("a review");
        assert!(opens && text.contains("**opens ways of 4 pairs**"), "{text}");
        assert_eq!(
            text.replace(&isoplan.directory().display().to_string(), ""),
            isoplan
                .run(&["diff", "--markdown", &at("old.toml"), &at("new.toml")])
                .ok()
                .replace(&isoplan.directory().display().to_string(), "")
        );
        assert!(!review::review(&at("new.toml"), &at("old.toml")).expect("a review").0);

        isoplan.run(&["snapshot", "-o", "snapshot.json"]).ok();
        let text = against::against(&at("old.toml"), &at("snapshot.json")).expect("a plan");
        assert!(text.contains("create table") && text.contains("old.toml:"), "{text}");
    });
}
