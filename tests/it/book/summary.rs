//! The book: docs/SUMMARY.md, as mdBook reads it.

use std::collections::BTreeSet;

use super::{paths, read, root};

/// The documents that the summary has, by their paths from the root.
fn listed() -> Vec<String> {
    let summary = read("docs/SUMMARY.md");
    let targets = summary.lines().filter_map(|line| line.split_once("](")?.1.split(')').next());
    targets.map(|target| format!("docs/{target}")).collect()
}

#[test]
fn the_summary_lists_every_document_once() {
    let listed = listed();
    let unique: BTreeSet<&String> = listed.iter().collect();
    assert_eq!(unique.len(), listed.len(), "docs/SUMMARY.md lists a document twice: {listed:?}");
    for path in &listed {
        assert!(root().join(path).is_file(), "docs/SUMMARY.md lists {path}, and there is none");
    }
    for path in paths().iter().filter(|path| path.starts_with("docs/") && *path != "docs/SUMMARY.md") {
        assert!(unique.contains(path), "docs/SUMMARY.md does not list {path}");
    }
}

/// mdBook takes the lines of a list, headings and links that stand alone, and nothing else.
#[test]
fn the_summary_is_one_that_mdbook_reads() {
    let summary = read("docs/SUMMARY.md");
    for line in summary.lines().map(str::trim).filter(|line| !line.is_empty()) {
        let is_link = |line: &str| line.starts_with('[') && line.ends_with(".md)") && line.contains("](");
        let is_right = line.starts_with("# ") || line == "---" || is_link(line.trim_start_matches("- "));
        assert!(is_right, "docs/SUMMARY.md: {line}");
    }
    let settings = read("docs/book.toml");
    let settings = toml::de::DeTable::parse(&settings).expect("docs/book.toml is TOML").into_inner();
    let src = settings
        .get("book")
        .and_then(|book| book.get_ref().get("src"))
        .and_then(|src| src.get_ref().as_str());
    assert_eq!(src, Some("."), "the documents are beside it");
}

/// Where a relative link of a document leads, from the root; without what is behind `#`.
fn targets(path: &str) -> Vec<String> {
    let text = read(path);
    let links = text.split("](").skip(1).filter_map(|rest| rest.split([')', '#']).next());
    let relative = links.filter(|link| !link.is_empty() && !link.contains("://"));
    let mut targets = Vec::new();
    for link in relative {
        let mut parts: Vec<&str> = path.split('/').collect();
        parts.pop();
        for part in link.split('/') {
            match part {
                ".." => drop(parts.pop()),
                "." => {}
                part => parts.push(part),
            }
        }
        targets.push(parts.join("/"));
    }
    targets
}

/// mdBook copies what is below docs/, and nothing else: a link to elsewhere would lead nowhere.
#[test]
fn no_link_leads_out_of_the_book() {
    let mut found = 0;
    for path in paths().iter().filter(|path| path.starts_with("docs/")) {
        for target in targets(path) {
            found += 1;
            // It is beside the book and not in it: that link leads somewhere on a forge alone.
            let is_right = target.starts_with("docs/") || target == "README.md";
            assert!(is_right, "{path} links to {target}, which is not in the book");
        }
    }
    assert!(found > 100, "only {found} links were found");
}

#[test]
fn what_the_settings_name_is_there() {
    let settings = read("docs/book.toml");
    let settings = toml::de::DeTable::parse(&settings).expect("docs/book.toml is TOML").into_inner();
    let html = settings.get("output").and_then(|output| output.get_ref().get("html")).expect("[output.html]");
    let styles = html.get_ref().get("additional-css").and_then(|styles| styles.get_ref().as_array());
    for style in styles.expect("additional-css").iter() {
        let name = style.get_ref().as_str().expect("a name");
        assert!(root().join("docs").join(name).is_file(), "docs/book.toml names {name}, and there is none");
    }
}
