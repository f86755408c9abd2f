//! What goes into a package: man pages, completions, licences.

use std::collections::BTreeSet;
use std::fs;
use std::path::PathBuf;
use std::process::Command;

use clap::CommandFactory as _;

use crate::ISOPLAN;
use crate::lab::Program;
use crate::lab::isolate::has_program;

/// The verbs that `isoplan --help` lists.
fn verbs() -> Vec<clap::Command> {
    let mut program = isoplan::cli::Cli::command().disable_help_subcommand(true);
    program.build();
    program.get_subcommands().filter(|verb| !verb.is_hide_set()).cloned().collect()
}

/// The man pages, and the directory that they are in.
fn pages(program: &Program) -> PathBuf {
    program.run(&["man", "share/man1"]).ok();
    program.directory().join("share/man1")
}

/// The flags that a page lists, hyphens as they are read.
fn flags_of(page: &str) -> BTreeSet<String> {
    let (_, options) = page.split_once("\n.SH OPTIONS\n").expect("a section of options");
    let options = options.split("\n.SH ").next().unwrap_or_default();
    let mut lines = options.lines();
    let mut flags = BTreeSet::new();
    while let Some(line) = lines.next() {
        if line == ".TP" {
            let header = lines.next().unwrap_or_default().replace("\\-", "-");
            let bold = header.split("\\fB").skip(1).filter_map(|rest| rest.split("\\fR").next());
            flags.extend(bold.filter(|word| word.starts_with('-')).map(|word| word.trim().to_owned()));
        }
    }
    flags
}

#[test]
fn every_verb_has_a_man_page_with_its_flags() {
    let program = Program::new(ISOPLAN).expect("make a directory");
    let directory = pages(&program);
    let verbs = verbs();
    assert!(verbs.len() > 20, "{} verbs", verbs.len());
    let main = fs::read_to_string(directory.join("isoplan.1")).expect("a page of isoplan itself");
    for verb in &verbs {
        let name = verb.get_name();
        let page = fs::read_to_string(directory.join(format!("isoplan-{name}.1")))
            .unwrap_or_else(|error| panic!("isoplan-{name}.1: {error}"));
        let arguments = verb.get_arguments().filter(|argument| !argument.is_hide_set());
        let flags: BTreeSet<String> = arguments
            .flat_map(|argument| {
                let short = argument.get_short().map(|short| format!("-{short}"));
                short.into_iter().chain(argument.get_long().map(|long| format!("--{long}")))
            })
            .collect();
        assert_eq!(flags_of(&page), flags, "isoplan-{name}.1");
        for section in
            ["NAME", "SYNOPSIS", "DESCRIPTION", "EXAMPLES", "\"EXIT STATUS\"", "ENVIRONMENT", "\"SEE ALSO\""]
        {
            assert!(
                page.contains(&format!("\n.SH {section}\n")),
                "isoplan-{name}.1 has no {section}; what clap does not know is in src/cli/man/texts.rs"
            );
        }
        assert!(
            main.contains(&format!("isoplan\\-{name}\\fR(1)")),
            "isoplan.1 does not refer to isoplan-{name}(1)"
        );
    }
    let files = fs::read_dir(&directory).expect("list the pages").count();
    assert_eq!(files, verbs.len() + 1, "a page of no verb");
}

/// Every example on a page is a command that clap takes.
#[test]
fn every_example_of_a_man_page_parses() {
    let program = Program::new(ISOPLAN).expect("make a directory");
    let directory = pages(&program);
    let mut examples = 0;
    for page in fs::read_dir(directory).expect("list the pages") {
        let page = page.expect("list the pages").path();
        let text = fs::read_to_string(&page).expect("read a page");
        let shown = text.split("\n.nf\n").skip(1).filter_map(|rest| rest.split("\n.fi").next());
        for line in shown.flat_map(str::lines) {
            let line = line.replace("\\-", "-").replace("\\*(Aq", "'");
            // What follows two blanks is a remark; what follows these signs is for the shell.
            let line = line.split("  ").next().unwrap_or_default();
            let words = line.split_whitespace().take_while(|word| ![">", "&&", "|"].contains(word));
            let words: Vec<&str> = words.map(|word| word.trim_matches('\'')).collect();
            let Some(at) = words.iter().position(|word| *word == "isoplan") else {
                panic!("{}: {line}", page.display());
            };
            let parsed = isoplan::cli::Cli::command().try_get_matches_from(&words[at..]);
            assert!(parsed.is_ok(), "{}: {line}: {}", page.display(), parsed.unwrap_err());
            examples += 1;
        }
    }
    assert!(examples > 40, "only {examples} examples");
}

#[test]
fn man_pages_are_without_faults() {
    if !can_run("mandoc") {
        return;
    }
    let program = Program::new(ISOPLAN).expect("make a directory");
    for page in fs::read_dir(pages(&program)).expect("list the pages") {
        let page = page.expect("list the pages").path();
        // Below a warning there is style: lines of the source that are long.
        let linted = Command::new("mandoc").args(["-T", "lint", "-W", "warning"]).arg(&page).output();
        let linted = linted.expect("run mandoc");
        assert!(linted.status.success(), "{}", String::from_utf8_lossy(&linted.stdout));
    }
}

/// The same bytes each time, whatever day it is; and files that all may read, in the place of a link too.
#[test]
fn man_pages_are_the_same_each_time() {
    use std::os::unix::fs::{PermissionsExt as _, symlink};
    let program = Program::new(ISOPLAN).expect("make a directory");
    let directory = pages(&program);
    let page = directory.join("isoplan-plan.1");
    let before = fs::read(&page).expect("read a page");
    fs::remove_file(&page).expect("remove a page");
    program.write("elsewhere", "mine\n").expect("write a file");
    symlink(program.directory().join("elsewhere"), &page).expect("make a link");
    pages(&program);
    assert_eq!(fs::read(&page).expect("read a page"), before);
    let status = fs::symlink_metadata(&page).expect("look at a page");
    assert!(status.is_file());
    assert_eq!(status.permissions().mode() & 0o7777, 0o644);
    assert_eq!(fs::read_to_string(program.directory().join("elsewhere")).expect("read a file"), "mine\n");
}

/// Whether a program is here; in CI it has to be.
fn can_run(name: &str) -> bool {
    let is_here = has_program(name);
    assert!(is_here || std::env::var_os("CI").is_none(), "there is no {name}");
    if !is_here {
        eprintln!("skipped: there is no {name}");
    }
    is_here
}

/// A directory with files to complete, and isoplan on the path of a shell.
struct Shell {
    program: Program,
    path: String,
}

impl Shell {
    fn new() -> Self {
        let program = Program::new(ISOPLAN).expect("make a directory");
        let topology = include_str!("../../fixtures/docker-host/topology.toml");
        for name in ["topology.toml", "two words.toml"] {
            program.write(name, topology).expect("write a file");
        }
        for name in ["plan.json", "notes.txt"] {
            program.write(name, "").expect("write a file");
        }
        fs::create_dir(program.directory().join("sub")).expect("make a directory");
        let directory = std::path::Path::new(ISOPLAN).parent().expect("a directory").display();
        let path = format!("{directory}:{}", crate::lab::node::PATH);
        Self { program, path }
    }

    /// What a shell prints; it must have nothing to complain of.
    fn run(&self, words: &[&str]) -> String {
        let output = Command::new(words[0])
            .args(&words[1..])
            .current_dir(self.program.directory())
            .env_clear()
            .env("PATH", &self.path)
            .env("HOME", self.program.directory())
            .env("LC_ALL", "C.UTF-8")
            .env("TERM", "dumb")
            .output()
            .unwrap_or_else(|error| panic!("{}: {error}", words[0]));
        assert_eq!(String::from_utf8_lossy(&output.stderr), "", "{words:?}");
        assert!(output.status.success(), "{words:?}");
        String::from_utf8_lossy(&output.stdout).into_owned()
    }
}

/// What came before each line that begins with `-- `: the candidates of one line, each once.
fn answers(said: &str) -> Vec<BTreeSet<String>> {
    let mut answers = vec![BTreeSet::new()];
    for line in said.lines() {
        if line.starts_with("-- ") {
            answers.push(BTreeSet::new());
        } else if let (Some(answer), false) = (answers.last_mut(), line.is_empty()) {
            answer.insert(line.replace('\\', ""));
        }
    }
    answers.pop();
    answers
}

/// Lines, and what each shell completes the last word to. Bash has another list: it answers with what comes behind its
/// own cut.
const LINES: [(&str, &[&str]); 8] = [
    ("isoplan expl", &["explain"]),
    (
        "isoplan explain docker0 e",
        &["eth0", "eth0-router", "eth0-server", "eth1", "eth1-router", "eth1-server"],
    ),
    ("isoplan explain docker", &["docker0", "docker0-c1", "docker0-c2"]),
    ("isoplan check ", &["sub", "topology.toml", "two words.toml"]),
    ("isoplan plan --against p", &["plan.json"]),
    ("isoplan uninstall --root ", &["sub"]),
    ("isoplan render topology.toml --format ip", &["iptables"]),
    ("isoplan explain --topology nowhere.toml e", &[]),
];

fn check(shell: &str, answers: &[BTreeSet<String>]) {
    assert_eq!(answers.len(), LINES.len(), "{shell}: {answers:?}");
    for ((line, expected), answer) in LINES.iter().zip(answers) {
        let answer: Vec<&str> = answer.iter().map(|word| word.trim_end_matches('/')).collect();
        assert_eq!(answer, *expected, "{shell}: {line}");
    }
}

#[test]
fn bash_completes_names_and_files() {
    let shell = Shell::new();
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/it/package/complete.bash");
    let run = |lines: &[&str]| {
        answers(&shell.run(&[["bash", "--norc", "--noprofile", script].as_slice(), lines].concat()))
    };
    check("bash", &run(&LINES.map(|(line, _)| line)));
    // Bash cuts at these signs, and puts the answer behind the last cut.
    let cut = run(&[
        "isoplan explain docker0 host@e",
        "isoplan explain --approach=ro",
        "isoplan verify topology.toml --probes docker0:eth1/udp4+dn",
        "isoplan verify topology.toml --probes 'docker0:eth1/udp4+dn",
    ]);
    let expected: [&[&str]; 4] =
        [&["eth0", "eth1"], &["route"], &["eth1/udp4+dnat"], &["docker0:eth1/udp4+dnat"]];
    for (answer, expected) in cut.iter().zip(expected) {
        assert_eq!(answer.iter().collect::<Vec<_>>(), expected);
    }
}

#[test]
fn fish_completes_names_and_files() {
    if !can_run("fish") {
        return;
    }
    let shell = Shell::new();
    let script =
        "isoplan completions fish | source; for line in $argv; complete -C $line; echo -- -- $line; end";
    let lines = LINES.map(|(line, _)| line);
    let said = shell.run(&[["fish", "--no-config", "-c", script].as_slice(), &lines].concat());
    // A tab and what it is follow each.
    let said: String =
        said.lines().map(|line| format!("{}\n", line.split('\t').next().unwrap_or(line))).collect();
    check("fish", &answers(&said));
}

/// As somebody types: an interactive zsh, its own completion system, the TAB key. Each way that the script is read, and a
/// new shell for each line, because what comes at the first TAB is not what comes at the second.
#[test]
fn zsh_completes_names_and_files() {
    if !can_run("zsh") {
        return;
    }
    let shell = Shell::new();
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/it/package/complete.zsh");
    for way in ["sourced", "installed"] {
        let run = |line: &str| shell.run(&["timeout", "60", "zsh", "-f", script, way, line]);
        let said = LINES.map(|(line, _)| run(line)).concat();
        let matches = said.lines().filter(|line| !line.starts_with('='));
        check("zsh", &answers(&matches.map(|line| format!("{line}\n")).collect::<String>()));
        // What becomes of the line.
        for (line, expected) in [
            ("isoplan expl", "isoplan explain "),
            ("isoplan check two", "isoplan check two\\ words.toml "),
            ("isoplan explain docker0 host@e", "isoplan explain docker0 host@eth"),
            ("isoplan explain --approach=ro", "isoplan explain --approach=route "),
            (
                "isoplan verify topology.toml --probes docker0:eth1/udp4+dn",
                "isoplan verify topology.toml --probes docker0:eth1/udp4+dnat ",
            ),
        ] {
            let said = run(line);
            let became = said.lines().find_map(|line| line.strip_prefix('='));
            assert_eq!(became, Some(expected), "{way}: {line}");
        }
    }
}

/// What is linked into the program, and under which licence: what the package says is what cargo says.
#[test]
fn the_list_of_crates_is_what_is_linked() {
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/packaging/crates.sh");
    let listed = Command::new("sh").arg(script).env("CARGO", env!("CARGO")).output().expect("run cargo");
    assert!(listed.status.success(), "{}", String::from_utf8_lossy(&listed.stderr));
    let listed = String::from_utf8_lossy(&listed.stdout).into_owned();
    let file = concat!(env!("CARGO_MANIFEST_DIR"), "/packaging/crates.txt");
    let said = fs::read_to_string(file).expect("read packaging/crates.txt");
    assert_eq!(
        said, listed,
        "packaging/crates.sh > packaging/crates.txt; has a licence changed, see packaging/debian/copyright"
    );
    // The copyright file says that this one alone keeps the whole from version 2 of the GPL.
    let apache: Vec<&str> = said.lines().filter(|line| line.ends_with("\tApache-2.0")).collect();
    assert_eq!(apache.len(), 1, "{apache:?}");
    assert!(apache[0].starts_with("minijinja "));
}
