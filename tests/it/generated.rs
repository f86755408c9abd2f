//! The documents of all fixtures, as docs/generated/ has them. Every block of nft in them is a whole file, and loads.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use serde_json::Value;

use crate::golden::{cases, compare, expected, fixtures, start};
use crate::lab::node::Node;
use crate::lab::{Program, in_namespace};
use crate::laws::{listed, table_changes};
use crate::{ISOPLAN, has_namespace_of_its_own};

fn directory() -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/generated")
}

/// The blocks of a language in a document.
fn blocks(document: &str, language: &str) -> Vec<String> {
    let mut blocks = Vec::new();
    let mut lines = document.lines();
    while let Some(line) = lines.next() {
        let Some(of) = line.strip_prefix("```") else { continue };
        let block: Vec<&str> = lines.by_ref().take_while(|line| *line != "```").collect();
        if of == language {
            blocks.push(block.join("\n") + "\n");
        }
    }
    blocks
}

#[test]
fn every_document_is_what_was_agreed_to() {
    in_namespace(|| {
        let isoplan = Program::new(ISOPLAN).expect("make a directory");
        let mut wrong = Vec::new();
        for case in cases() {
            let args = ["render", "topology.toml", "--format", "markdown"];
            let output =
                isoplan.command(&args).current_dir(fixtures().join(&case)).output().expect("run isoplan");
            assert!(output.status.success(), "{case}: {}", String::from_utf8_lossy(&output.stderr));
            let text = String::from_utf8(output.stdout).expect("UTF-8");
            wrong.extend(compare(&directory().join(format!("{case}.md")), &text));
        }
        assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    });
    let files = fs::read_dir(directory()).expect("list docs/generated");
    let files =
        files.map(|entry| entry.expect("list docs/generated").file_name().into_string().expect("UTF-8"));
    let known: BTreeSet<String> = cases().iter().map(|case| format!("{case}.md")).collect();
    assert_eq!(files.collect::<BTreeSet<_>>(), known, "docs/generated has a file that nothing makes");
}

#[test]
fn every_block_of_nft_loads_and_is_what_apply_makes() {
    in_namespace(|| {
        let host = Node::own("host");
        has_namespace_of_its_own(&host);
        let mut loaded_blocks = 0;
        for case in cases() {
            let document =
                fs::read_to_string(directory().join(format!("{case}.md"))).expect("read a document");
            let desired: Value = serde_json::from_str(&expected(&case, "json")).expect("JSON");
            let blocks = blocks(&document, "nft");
            assert_eq!(blocks.is_empty(), desired["approach"] == "sysctl", "{case}");
            for block in blocks {
                let isoplan = start(&host, &case);
                host.nft_load(&block).unwrap_or_else(|error| panic!("{case}: {error}"));
                assert_eq!(table_changes(&isoplan, "topology.toml"), Vec::<Value>::new(), "{case}");
                let loaded = listed(&host);
                let isoplan = start(&host, &case);
                isoplan.run(&["apply", "topology.toml", "--yes"]).ok();
                assert_eq!(listed(&host), loaded, "{case}: applied and loaded");
                loaded_blocks += 1;
            }
        }
        assert!(loaded_blocks > 10, "{loaded_blocks}");
    });
}

/// Every rule, with what it is for; every set and chain, with its sentence; every sysctl, risk and step.
#[test]
fn a_document_has_all_that_the_json_has() {
    for case in cases() {
        let document = fs::read_to_string(directory().join(format!("{case}.md"))).expect("read a document");
        // Wrapped lines and escapes aside.
        let plain = |text: &str| text.split_whitespace().collect::<Vec<_>>().join(" ").replace('\\', "");
        let document = plain(&document);
        let desired: Value = serde_json::from_str(&expected(&case, "json")).expect("JSON");
        let has = |text: &Value| {
            let text = plain(text.as_str().unwrap_or_else(|| panic!("{case}: {text}")));
            // A clause of a comment starts a sentence there.
            let rest = text.char_indices().nth(1).map_or("", |(at, _)| &text[at..]);
            assert!(
                !text.is_empty() && document.contains(rest),
                "docs/generated/{case}.md has nothing of: {text}"
            );
        };
        for table in desired["tables"].as_array().expect("tables") {
            for chain in table["chains"].as_array().expect("chains") {
                has(&chain["what"]);
                for rule in chain["rules"].as_array().expect("rules") {
                    assert!(
                        document.contains(&format!(
                            "**{}** `{}`",
                            rule["id"].as_str().unwrap_or("?"),
                            rule["rule"].as_str().unwrap_or("?")
                        )),
                        "{case}: {rule}"
                    );
                    has(&rule["what"]);
                    has(&rule["why"]);
                    assert_ne!(rule["class"], "none", "{case}: {rule}");
                }
            }
            for set in table["sets"].as_array().expect("sets") {
                has(&set["what"]);
                assert!(
                    document.contains(&format!("`{}`", set["name"].as_str().unwrap_or("?"))),
                    "{case}: {set}"
                );
            }
        }
        for list in ["residual_risks", "check", "undo"] {
            let list = desired[list].as_array().expect("a list");
            assert!(!list.is_empty(), "{case}");
            for item in list {
                has(if item.is_string() { item } else { &item["what"] });
            }
        }
        for sysctl in desired["sysctls"].as_array().expect("sysctls") {
            has(&sysctl["why"]);
        }
    }
}
