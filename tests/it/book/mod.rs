//! Every command that a document shows is run, and prints what is shown below it.
//!
//! A document shows commands in blocks of ` ```console `. A line that starts with `$ ` is a command of a user, one
//! that starts with `# ` a command of root; here all are run as root of a user namespace. A `\` at the end carries a
//! command on to the next line, and `<<'END'` to the line `END`. What follows is what the command prints, on stdout
//! and stderr. A line `[...]` there stands for any lines that are left out, none among them, and `[...]` within a line
//! for any text. Numbers that are never the same twice (handles, generations, process ids, times of day,
//! milliseconds, ports that the kernel chose) need not agree, see [`shown`].
//!
//! Just before the block a comment says where it is run, in these words:
//!
//! - `<!-- console: host=FIXTURE -->`: on the host of a lab made from `fixtures/FIXTURE/topology.toml`, as
//!   `isoplan lab` makes it, containers and servers around it. That file is `topology.toml` in the current directory.
//! - `<!-- console: none -->`: in namespaces with no link but `lo`.
//! - `<!-- console: not run, REASON -->`: nowhere. The reason says what runs it instead, or why nothing can. These
//!   are counted and listed.
//!
//! In the first two the directory has a link `fixtures` to the fixtures. One shell runs all blocks of a document that
//! say the same place, so that files, variables and what was applied stay; another place is another shell. Further
//! words, in any order:
//!
//! - `new`: a fresh place, not the one of the block before.
//! - `exit=N`: the last command of the block ends with this code. Every other command ends with 0.
//! - `approach=A`: the lab has this approach applied, as `isoplan lab --approach A`.
//! - `commands`: the block shows commands alone; what they print is not compared, their exit codes are.
//! - `user`: only `$ ` starts a command; the output has lines that start with `# `.
//! - `input=TEXT`: that line is on stdin of the commands, which have nothing to read otherwise.
//! - `tty`: the commands are run on a terminal, by script(1).
//! - `file=NAME`: nothing is run. The block, of whatever language, is written to that file in the place.
//!
//! `<!-- console: run COMMAND -->` alone on a line runs a command that is not shown, in the place that the block before
//! had: what a reader would have done by other means. After `;` it is one comment: `host=FIXTURE new; run COMMAND`.
//!
//! `ISOPLAN_BLESS=1` writes what was printed below the commands, and keeps `[...]` where what is around it is still
//! there. `ISOPLAN_BOOK=TEXT` runs only the documents that have that text in their path.

mod page;
mod place;
mod shown;
mod summary;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc;
use std::thread;

use page::{Item, Page};
use place::{Printed, Session};

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// The paths of README.md and of everything in docs/, from the root.
pub(crate) fn paths() -> Vec<String> {
    let mut left = vec![root().join("docs")];
    let mut found = vec!["README.md".to_owned()];
    while let Some(directory) = left.pop() {
        for entry in fs::read_dir(&directory).expect("list docs") {
            let path: PathBuf = entry.expect("list docs").path();
            if path.is_dir() {
                left.push(path);
            } else if path.extension().is_some_and(|extension| extension == "md") {
                let path = path.strip_prefix(root()).expect("a path below the root");
                found.push(path.display().to_string());
            }
        }
    }
    found.sort();
    found
}

fn read(path: &str) -> String {
    fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("cannot read {path}: {error}"))
}

/// The documents that are asked for, and what is wrong with their comments.
fn pages() -> (Vec<Page>, Vec<String>) {
    let wanted = std::env::var("ISOPLAN_BOOK").unwrap_or_default();
    let mut wrong = Vec::new();
    let mut pages = Vec::new();
    for path in paths().into_iter().filter(|path| path.contains(&wanted)) {
        match Page::parse(&path, &read(&path)) {
            Ok(page) => pages.push(page),
            Err(mistakes) => wrong.extend(mistakes),
        }
    }
    (pages, wrong)
}

/// What each command printed, by the document and the line of the command. Sessions run side by side.
fn run(pages: &[Page]) -> BTreeMap<(usize, usize), Printed> {
    let sessions: Vec<(usize, Session<'_>)> = pages
        .iter()
        .enumerate()
        .flat_map(|(page, of)| Session::of(of).into_iter().map(move |session| (page, session)))
        .collect();
    let next = AtomicUsize::new(0);
    let mut printed = BTreeMap::new();
    thread::scope(|scope| {
        let (send, receive) = mpsc::channel();
        for _ in 0..thread::available_parallelism().map_or(2, usize::from) {
            let (send, next, sessions) = (send.clone(), &next, &sessions);
            scope.spawn(move || {
                while let Some((page, session)) = sessions.get(next.fetch_add(1, Ordering::Relaxed)) {
                    for (line, printed) in session.run() {
                        // The receiver lives as long as this scope.
                        let _ = send.send(((*page, line), printed));
                    }
                }
            });
        }
        drop(send);
        printed.extend(receive);
    });
    printed
}

#[test]
fn every_command_prints_what_is_shown() {
    if let Some(reason) = crate::lab::isolate::unavailable() {
        assert!(std::env::var_os("CI").is_none(), "no namespaces here, and CI may not skip: {reason}");
        eprintln!("skipped: {reason}");
        return;
    }
    let (pages, mut wrong) = pages();
    let printed = run(&pages);
    let is_blessing = std::env::var_os("ISOPLAN_BLESS").is_some();
    let mut lacking = Vec::new();
    for (index, page) in pages.iter().enumerate() {
        let mut blessed = page.clone();
        // From the last one, so that the lines of the others stay where they are.
        for command in page.commands().iter().rev() {
            let place = format!("{}:{}", page.path, command.line + 1);
            let Some(printed) = printed.get(&(index, command.line)) else {
                wrong.push(format!("{place}: was not run: {}", command.text));
                continue;
            };
            if printed.is_lacking(&command.text) {
                lacking.push(format!("{place}: {}", printed.text.trim_end()));
                continue;
            }
            let shown = &page.lines[command.output.clone()];
            let fits = !command.is_compared || shown::fits(shown, &printed.lines());
            let ends = printed.code == Some(command.exit);
            if !fits && is_blessing && ends {
                let lines = shown::blessed(shown, &printed.lines());
                blessed.lines.splice(command.output.clone(), lines);
            } else if !fits || !ends {
                wrong.push(format!(
                    "{place}: $ {}\n{}--- ended with {}, and should with {}; shown is:\n{}\n",
                    command.text,
                    printed.text,
                    printed.code.map_or_else(|| "nothing".to_owned(), |code| code.to_string()),
                    command.exit,
                    shown.join("\n")
                ));
            }
        }
        if blessed.lines != page.lines {
            fs::write(root().join(&page.path), blessed.lines.join("\n") + "\n").expect("write a document");
        }
    }
    let run: usize = pages.iter().map(|page| page.commands().len()).sum();
    eprintln!("{run} commands of {} documents", pages.len());
    if !lacking.is_empty() {
        let lacking = lacking.join("\n");
        assert!(std::env::var_os("CI").is_none(), "programs are missing, and CI may not skip:\n{lacking}");
        eprintln!("not compared, for want of a program:\n{lacking}");
    }
    assert!(wrong.is_empty(), "{} mistakes:\n\n{}", wrong.len(), wrong.join("\n"));
}

/// What is shown and not run has its reason, and a test that it names is there.
#[test]
fn what_is_not_run_says_why() {
    let (pages, _) = pages();
    let mut listed = Vec::new();
    for page in &pages {
        for item in &page.items {
            let Item::NotRun { line, reason, commands } = item else { continue };
            let place = format!("{}:{}", page.path, line + 1);
            assert!(reason.len() > 10, "{place}: no reason");
            for path in reason.split('`').filter(|code| code.starts_with("tests/")) {
                assert!(root().join(path).exists(), "{place}: there is no {path}");
            }
            listed.push(format!("{place}: {} commands, {reason}", commands.len()));
        }
    }
    eprintln!("{} blocks are not run:\n{}", listed.len(), listed.join("\n"));
}
