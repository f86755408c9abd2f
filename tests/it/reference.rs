//! The reference: the command line as the program tells it, exit codes and files as the code has them.

mod command_line;
mod counters;
mod exit_codes;
mod file_modes;

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn text_of(path: &str) -> String {
    fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("cannot read {path}: {error}"))
}

/// The exit codes that src/error.rs defines: name and number.
fn codes() -> BTreeSet<(String, u8)> {
    let source = text_of("src/error.rs");
    let body = source.split("pub enum Exit {").nth(1).and_then(|rest| rest.split("\n}").next());
    let lines =
        body.expect("the enum").lines().filter_map(|line| line.trim().strip_suffix(',')?.split_once(" = "));
    lines.map(|(name, code)| (name.to_owned(), code.parse().expect("a number"))).collect()
}

/// The cells of each row of the tables of a text.
fn rows(text: &str) -> impl Iterator<Item = Vec<&str>> {
    text.lines()
        .filter_map(|line| line.strip_prefix("| ")?.strip_suffix('|'))
        .map(|line| line.split(" |").map(str::trim).collect::<Vec<_>>())
}

/// The text of a function of a test module, up to the brace that ends it.
fn function(module: &str, name: &str) -> Option<String> {
    let source = text_of(&format!("tests/it/{module}.rs"));
    let from = source.find(&format!("\nfn {name}("))?;
    let length = source[from..].find("\n}\n")?;
    Some(source[from..from + length].to_owned())
}

/// Each code has its line, and a test that has the program end with it.
#[test]
fn every_exit_code_is_listed_and_produced_by_a_test() {
    let document = text_of("docs/reference/exit-codes.md");
    let first = document.split("\n## ").next().expect("a first section");
    let mut listed = BTreeSet::new();
    for row in rows(first).skip(1) {
        let [code, name, _, test] = row.as_slice() else { panic!("{row:?}") };
        let name = name.trim_matches('`').to_owned();
        let (module, function_name) = test.trim_matches('`').split_once("::").expect("a test");
        let body = function(module, function_name);
        let body = body.unwrap_or_else(|| panic!("there is no test {test}"));
        assert!(body.contains(&format!("Some({code})")), "{test} does not expect the code {code}");
        listed.insert((name, code.parse().expect("a code")));
    }
    assert_eq!(listed, codes());
}

/// The source of the shell that runs on a host, tests and the lab left out: file, text.
fn shell() -> Vec<(String, String)> {
    let directories = ["apply", "boot", "cli", "install", "lab", "live", "watch", "risks"];
    let mut left: Vec<PathBuf> = directories.iter().map(|name| root().join("src").join(name)).collect();
    let mut files = Vec::new();
    while let Some(path) = left.pop() {
        if path.is_dir() {
            let entries = fs::read_dir(&path).expect("list a directory");
            left.extend(entries.map(|entry| entry.expect("list a directory").path()));
            continue;
        }
        let name = path.strip_prefix(root()).expect("a path below the root").display().to_string();
        if name.ends_with("/tests.rs") || name.contains("/tests/") || !name.ends_with(".rs") {
            continue;
        }
        let text = fs::read_to_string(&path).expect("read a source file");
        let text = text.split("#[cfg(test)]\nmod tests {").next().unwrap_or_default();
        let code = text.lines().filter(|line| !line.trim_start().starts_with("//"));
        files.push((name, code.collect::<Vec<_>>().join("\n")));
    }
    files
}

/// What is between quotes.
fn literals(source: &str) -> Vec<&str> {
    source.lines().flat_map(|line| line.split('"').skip(1).step_by(2)).collect()
}

/// Every path that the source names is in the document, or lies below one that is.
#[test]
fn every_path_is_listed() {
    let document = text_of("docs/reference/files.md").replace("NUMBER", "{number}");
    let mut found = 0;
    for (file, text) in shell() {
        // A lab has a root of its own, and what is refused as a place is not used.
        if file.starts_with("src/lab/") || file == "src/boot/exec.rs" || file.starts_with("src/risks/") {
            continue;
        }
        for literal in literals(&text) {
            let path = literal.trim_start_matches('/');
            let is_path = ["etc/", "run/", "usr/", "lib/", "var/", "proc/", "sys/"]
                .iter()
                .any(|directory| path.starts_with(directory));
            if !is_path || literal.contains(' ') || path == "usr/lib" {
                continue;
            }
            found += 1;
            let path = path.replace("{who}", "1");
            // Of what differs, and of namespaces, the directory is listed.
            let path =
                path.split("{file}").next().unwrap_or_default().split("{kind}").next().unwrap_or_default();
            let path = path.trim_end_matches("net").trim_end_matches('/');
            let is_known = document.contains(&format!("/{path}"));
            assert!(is_known, "{file} has `{literal}`, and docs/reference/files.md has not");
        }
    }
    assert!(found > 40, "only {found} paths were found");
    // What is in the state directory.
    let source = text_of("src/apply/state_dir.rs");
    let names = literals(&source).into_iter().filter(|name| {
        let is_name = name.ends_with(".json") || name.ends_with(".bin") || name.ends_with("lock");
        is_name && !name.contains(' ')
    });
    let mut count = 0;
    for name in names {
        let shown = name.replace("{id}", "ID").replace("{number}", "NUMBER");
        let document = text_of("docs/reference/files.md");
        assert!(document.contains(&format!("`{shown}`")), "docs/reference/files.md has no {shown}");
        count += 1;
    }
    assert!(count >= 9, "only {count} names were found");
}

/// Every program that the source runs is listed, and no other.
#[test]
fn every_program_is_listed() {
    let document = text_of("docs/reference/files.md");
    let section =
        document.split("\n## Programs that it runs\n").nth(1).and_then(|rest| rest.split("\n## ").next());
    let mut listed = BTreeSet::new();
    for row in rows(section.expect("a section")).skip(1) {
        listed.extend(row[0].split('`').skip(1).step_by(2).map(str::to_owned));
    }
    // It stands for isoplan itself, by a name of its own.
    let mut runs = BTreeSet::from(["/proc/self/exe".to_owned()]);
    // A man page is made of commands of clap.
    for (_, text) in shell().iter().filter(|(file, _)| !file.starts_with("src/cli/man/")) {
        for start in ["Command::new(\"", ".feed(\""] {
            let names = text.split(start).skip(1).filter_map(|rest| rest.split('"').next());
            runs.extend(names.map(str::to_owned));
        }
    }
    assert_eq!(listed, runs);
}

/// Variables that libraries read, which the source does not name.
const OF_LIBRARIES: [&str; 5] = ["NO_COLOR", "CLICOLOR", "CLICOLOR_FORCE", "TERM", "COLUMNS"];

/// Every variable that the source reads is listed, and no other.
#[test]
fn every_variable_is_listed() {
    let document = text_of("docs/reference/files.md");
    let (_, section) = document.split_once("\n## Environment\n").expect("a section");
    let mut listed = BTreeSet::new();
    for row in rows(section).skip(1) {
        listed.extend(row[0].split('`').skip(1).step_by(2).map(str::to_owned));
    }
    let mut read: BTreeSet<String> = OF_LIBRARIES.iter().map(|&name| name.to_owned()).collect();
    for (_, text) in shell() {
        if !text.contains("env::") && !text.contains("env = \"") {
            continue;
        }
        for (at, _) in text.match_indices('"').step_by(2) {
            let literal = text[at + 1..].split('"').next().unwrap_or_default();
            let is_name = !literal.is_empty()
                && literal.chars().all(|c| c.is_ascii_uppercase() || c.is_ascii_digit() || c == '_');
            let before = text[..at].trim_end();
            // What takes the name of a variable: functions of std and clap, and the two of ours that pass it on.
            let reads = ["env =", "var(", "var_os(", "socket(", "number(", "MARK: &str =", ".env("];
            if is_name && reads.iter().any(|reads| before.ends_with(reads)) {
                read.insert(literal.to_owned());
            }
        }
    }
    assert_eq!(listed, read);
}

/// Every whole topology that a guide shows is one: `isoplan check` takes it. A part of one says that it is.
#[test]
fn every_topology_of_a_guide_is_right() {
    let mut checked = 0;
    for entry in fs::read_dir(root().join("docs/how-to")).expect("list guides") {
        let path = entry.expect("list guides").path();
        let text = fs::read_to_string(&path).expect("read a guide");
        let mut before = "";
        let mut lines = text.lines().enumerate();
        while let Some((number, line)) = lines.next() {
            if line == "```toml" && before.trim() != "<!-- fragment -->" {
                let block = lines.by_ref().map(|(_, line)| line).take_while(|line| *line != "```");
                let block = block.collect::<Vec<_>>().join("\n") + "\n";
                let parsed = isoplan::topology::parse("topology.toml", block.as_bytes());
                if let Err(refused) = parsed {
                    panic!("{}:{}:\n{}", path.display(), number + 1, refused.render(false, 100));
                }
                checked += 1;
            }
            // What is run says so between the two.
            if !line.starts_with("<!-- console:") {
                before = line;
            }
        }
    }
    assert!(checked > 3, "only {checked} topologies were found");
}
