//! What each module may touch: the core does no I/O, `unsafe` is in one module, and only the command line prints.
//!
//! Read from the source, word by word, comments and strings left out.

use std::fs;
use std::path::{Path, PathBuf};

/// The modules above the line of `docs/architecture.md`.
const CORE: [&str; 18] = [
    "topology", "intent", "ruleset", "approach", "boot", "diff", "plan", "render", "verify", "host", "saved",
    "vigil", "meaning", "draft", "risks", "status", "flows", "schema",
];

/// The modules below it.
const SHELL: [&str; 7] = ["live", "apply", "install", "watch", "netlink", "lab", "cli"];

/// Modules of std that read or change the world, or the clock, or make another order each time.
const STD: [&str; 7] = ["fs", "process", "env", "time", "thread", "io", "os"];

/// Types of modules that are otherwise harmless.
const TYPES: [&str; 11] = [
    "HashMap",
    "HashSet",
    "RandomState",
    "Instant",
    "SystemTime",
    "TcpStream",
    "TcpListener",
    "UdpSocket",
    "UnixStream",
    "UnixListener",
    "UnixDatagram",
];

/// The words and signs of a source, without comments, strings and the tests in it.
fn tokens(source: &str) -> Vec<&str> {
    let source = source.split("#[cfg(test)]\nmod tests {").next().unwrap_or_default();
    let mut tokens = Vec::new();
    let mut rest = source;
    while let Some(first) = rest.chars().next() {
        let length = if rest.starts_with("//") {
            let length = rest.find('\n').unwrap_or(rest.len());
            rest = &rest[length..];
            continue;
        } else if let Some(hashes) = raw_string(rest) {
            let start = hashes + 2;
            let end = format!("\"{}", "#".repeat(hashes));
            let length = rest[start..].find(&end).map_or(rest.len(), |at| start + at + end.len());
            rest = &rest[length..];
            continue;
        } else if first == '"' {
            let mut escaped = false;
            let end = rest[1..].find(|c| {
                let ends = c == '"' && !escaped;
                escaped = c == '\\' && !escaped;
                ends
            });
            rest = &rest[end.map_or(rest.len(), |at| at + 2)..];
            continue;
        } else if rest.starts_with("'\"'") || rest.starts_with("'\\") {
            // Characters that would look like the start or end of a string.
            rest = &rest[3..];
            continue;
        } else if first.is_alphabetic() || first == '_' {
            rest.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(rest.len())
        } else if rest.starts_with("::") {
            2
        } else {
            first.len_utf8()
        };
        let (token, after) = rest.split_at(length);
        if !token.trim().is_empty() {
            tokens.push(token);
        }
        rest = after;
    }
    tokens
}

/// How many hashes a raw string that starts here has.
fn raw_string(text: &str) -> Option<usize> {
    let rest = text.strip_prefix('r')?;
    let hashes = rest.len() - rest.trim_start_matches('#').len();
    rest[hashes..].starts_with('"').then_some(hashes)
}

/// What follows `root::`, directly or in braces: `fs` in `std::fs::read` and in `std::{fs, io}`.
fn children<'s>(tokens: &[&'s str], root: &str) -> Vec<&'s str> {
    let mut found = Vec::new();
    for at in 0..tokens.len().saturating_sub(2) {
        if tokens[at] != root || tokens[at + 1] != "::" || (at > 0 && tokens[at - 1] == "::") {
            continue;
        }
        if tokens[at + 2] != "{" {
            found.push(tokens[at + 2]);
            continue;
        }
        let mut depth = 0;
        let mut is_first = true;
        for token in &tokens[at + 2..] {
            match *token {
                "{" => depth += 1,
                "}" => depth -= 1,
                "," => is_first = depth == 1,
                word => {
                    if is_first && depth == 1 {
                        found.push(word);
                    }
                    is_first = false;
                }
            }
            if depth == 0 {
                break;
            }
            if *token == "{" && depth == 1 {
                is_first = true;
            }
        }
    }
    found
}

/// What a module of the core has that it may not have.
fn impure(source: &str) -> Vec<String> {
    let tokens = tokens(source);
    let mut found = Vec::new();
    for module in children(&tokens, "std") {
        if STD.contains(&module) {
            found.push(format!("std::{module}"));
        }
    }
    for module in children(&tokens, "crate") {
        if SHELL.contains(&module) {
            found.push(format!("crate::{module}"));
        }
    }
    found.extend(tokens.iter().filter(|token| TYPES.contains(token)).map(|token| (*token).to_owned()));
    // Crates that do I/O.
    found.extend(["nix", "mnl", "nftnl", "tempfile", "anstream", "terminal_size"].iter().filter_map(
        |name| {
            let is_used = tokens.windows(2).any(|pair| pair == [*name, "::"]);
            is_used.then(|| format!("{name}::"))
        },
    ));
    found
}

/// Every file below `src`, by its path from there. Files of unit tests are not the program.
fn sources() -> Vec<(String, String)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut directories = vec![root.clone()];
    let mut sources = Vec::new();
    while let Some(directory) = directories.pop() {
        for entry in fs::read_dir(directory).expect("list a directory") {
            let path: PathBuf = entry.expect("list a directory").path();
            let name = path.strip_prefix(&root).expect("below src").display().to_string();
            if path.is_dir() {
                directories.push(path);
            } else if !name.contains("/tests") && !name.contains("/test_") {
                sources.push((name, fs::read_to_string(&path).expect("read a source")));
            }
        }
    }
    sources.sort();
    sources
}

/// The first part of a path: `topology` of `topology/read.rs` and of `topology.rs`.
fn module(name: &str) -> &str {
    name.split('/').next().unwrap_or_default().trim_end_matches(".rs")
}

#[test]
fn what_is_impure_is_found() {
    let check = |source: &str, expected: &[&str]| assert_eq!(impure(source), expected, "{source}");
    check("use std::fs;", &["std::fs"]);
    check(
        "use std::{collections::{BTreeMap, HashMap}, fs, io::{self, Read}};",
        &["std::fs", "std::io", "HashMap"],
    );
    check("let now = std::time::Instant::now();", &["std::time", "Instant"]);
    check("std::env::var(\"HOME\"); env!(\"CARGO_PKG_VERSION\")", &["std::env"]);
    check("use std::net::{IpAddr, UdpSocket};", &["UdpSocket"]);
    check("use crate::{intent, live::{self}};", &["crate::live"]);
    check("crate::netlink::open()", &["crate::netlink"]);
    check("nix::unistd::geteuid()", &["nix::"]);
    check("// std::fs\n/// crate::cli\n\"std::fs \\\" std::env\"; r#\"std::fs \"quoted\" \"#; '\"'; ok", &[]);
    check("use std::fmt::Write as _; use crate::diff::{Diff, LiveState}; self::live::x", &[]);
    check("ok();\n#[cfg(test)]\nmod tests {\n use std::fs;", &[]);
    check("'\"'; std::fs::read", &["std::fs"]);
}

#[test]
fn the_core_does_no_io() {
    let sources = sources();
    for core in CORE {
        let of_module: Vec<_> = sources.iter().filter(|(name, _)| module(name) == core).collect();
        assert!(!of_module.is_empty(), "no source of {core}");
        for (name, source) in of_module {
            assert_eq!(impure(source), Vec::<String>::new(), "src/{name}");
        }
    }
}

/// A module that is in neither list would be checked by nobody.
#[test]
fn every_module_is_core_or_shell() {
    for (name, _) in sources() {
        let module = module(&name);
        let is_known = CORE.contains(&module) || SHELL.contains(&module);
        assert!(
            is_known || ["lib", "main", "error"].contains(&module),
            "src/{name} is neither core nor shell"
        );
    }
}

#[test]
fn unsafe_is_in_one_module() {
    let has = |source: &str| tokens(source).contains(&"unsafe");
    let files: Vec<String> =
        sources().into_iter().filter(|(_, source)| has(source)).map(|(name, _)| name).collect();
    let is_ffi = |name: &String| name == "netlink/ffi.rs" || name.starts_with("netlink/ffi/");
    assert!(!files.is_empty() && files.iter().all(is_ffi), "unsafe in {files:?}");
}

#[test]
fn only_the_command_line_prints() {
    const MACROS: [&str; 5] = ["print", "println", "eprint", "eprintln", "dbg"];
    let prints = |source: &str| {
        let tokens = tokens(source);
        let by_macro = tokens.windows(2).any(|pair| MACROS.contains(&pair[0]) && pair[1] == "!");
        // With a point before it, it is where the output of another program goes.
        let streams = tokens
            .windows(3)
            .any(|three| three[0] != "." && ["stdout", "stderr"].contains(&three[1]) && three[2] == "(");
        by_macro || streams
    };
    assert!(
        prints("println!(\"x\")")
            && prints("io::stderr().lock()")
            && !prints("// println!()\nwriteln!(f)")
            && !prints("command.stdout(Stdio::piped())")
    );
    assert!(prints("let out = stdout();") && !prints("command.stdout(Stdio::piped())"));
    let files: Vec<String> =
        sources().into_iter().filter(|(_, source)| prints(source)).map(|(name, _)| name).collect();
    assert!(!files.is_empty() && files.iter().all(|name| module(name) == "cli"), "{files:?} print");
}
