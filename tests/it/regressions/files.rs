//! Files, and what is printed about them.

use std::fmt::Write as _;

use serde_json::json;

use super::start;
use crate::lab::in_namespace;

/// In iptables a name that ends in `+` is a wildcard, so that its rules would have held for other links.
#[test]
fn a_name_with_a_plus_is_refused() {
    in_namespace(|| {
        let (_, isoplan) = start();
        let file = |bridge: &str, nic: &str| {
            let text =
                format!("[[bridge]]\nname = \"{bridge}\"\n\n[[nic]]\nname = \"{nic}\"\nrole = \"service\"\n");
            isoplan.write("file.toml", &text).expect("write a topology");
        };
        for (bridge, nic) in
            [("br+", "eth0"), ("br+0", "eth0"), ("b+*", "eth0"), ("br0", "eth+"), ("br0", "+")]
        {
            file(bridge, nic);
            for args in [&["check", "file.toml"][..], &["render", "file.toml", "--format", "iptables"]] {
                let ran = isoplan.run(args);
                assert_eq!((ran.code, ran.stdout.as_str()), (Some(65), ""), "{bridge}, {nic}: {ran}");
                assert!(ran.stderr.contains("has the character `+`"), "{bridge}, {nic}: {ran}");
            }
        }
        file("br-0._@", "eth-0");
        let ran = isoplan.run(&["check", "file.toml"]);
        assert_eq!(ran.code, Some(0), "{ran}");
    });
}

/// Who reads a stream of JSON line by line has to know first what it is that he reads.
#[test]
fn json_says_first_what_it_is() {
    in_namespace(|| {
        let (_, isoplan) = start();
        let cases: [(&str, &[&str], i32); 9] = [
            ("check", &["check", "topology.toml", "--json"], 0),
            ("desired", &["render", "topology.toml", "--format", "json"], 0),
            ("plan", &["plan", "topology.toml", "--json"], 0),
            ("status", &["status", "topology.toml", "--json"], 2),
            ("apply", &["apply", "topology.toml", "--json", "--dry-run"], 0),
            ("apply", &["apply", "topology.toml", "--json", "--yes"], 0),
            ("status", &["status", "--json"], 0),
            ("remove", &["remove", "--json", "--dry-run"], 0),
            ("remove", &["remove", "--json", "--yes"], 0),
        ];
        for (kind, args, code) in cases {
            let ran = isoplan.run(args);
            assert_eq!(ran.code, Some(code), "{ran}");
            let head = format!("{{\n  \"version\": 1,\n  \"kind\": \"{kind}\",\n");
            assert!(ran.stdout.starts_with(&head), "{ran}");
            assert!(ran.json().is_object(), "{ran}");
        }
    });
}

/// A matrix that left out rows and columns did not say so.
#[test]
fn a_matrix_that_is_cut_says_so() {
    in_namespace(|| {
        let (_, isoplan) = start();
        // Each reaches the next one, so that no two mean the same.
        let hosts = |bridges: usize| {
            let mut text = "[[nic]]\nname = \"eth0\"\nrole = \"service\"\n".to_owned();
            for number in 0..bridges {
                let next = (number + 1) % bridges;
                writeln!(text, "[[bridge]]\nname = \"br-{number}\"\nreach = [\"service\", \"br-{next}\"]")
                    .expect("write to a string");
            }
            isoplan.write("many.toml", &text).expect("write a topology");
        };
        // Senders are the bridges and the NIC, receivers these and this host's address on the NIC.
        for (bridges, pairs, cut) in [(60, 41 * 42, 20 + 20), (41, 41 * 42, 1 + 1), (40, 41 * 42, 0)] {
            hosts(bridges);
            for args in [&["check", "many.toml", "--json"][..], &["render", "many.toml", "--format", "json"]]
            {
                let ran = isoplan.run(args);
                assert_eq!(ran.code, Some(0), "{ran}");
                let found = ran.json();
                assert_eq!(found["matrix_cut"], json!(cut), "{bridges} bridges");
                assert_eq!(found["matrix"].as_array().map(Vec::len), Some(pairs), "{bridges} bridges");
            }
            let shown = isoplan.run(&["check", "many.toml"]).ok();
            assert_eq!(shown.contains(&format!("and {cut} more rows and columns")), cut > 0, "{shown}");
        }
    });
}
