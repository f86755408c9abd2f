//! The modes of files: what docs/reference/files.md says is what is on disk, whatever the umask.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::fs;
use std::io::{BufRead as _, BufReader};
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, symlink};
use std::path::Path;
use std::process::{Command, Stdio};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::{rows, text_of};
use crate::lab::node::Node;
use crate::lab::{HostSpec, Program, in_namespace};
use crate::{ISOPLAN, has_namespace_of_its_own};

/// The commands that write files which the user names, each with the file behind its last word.
const WRITERS: [(&str, &str); 7] = [
    ("discover -o", "discover -o draft.toml"),
    ("plan -o", "plan topology.toml -o plan.json"),
    ("snapshot -o", "snapshot -o snapshot.json"),
    ("status -o", "status topology.toml -o status.txt"),
    ("render -o", "render topology.toml --format nft -o rules.nft"),
    (
        "compare --html",
        "compare topology.toml --approaches none,nftables --quick --probes docker0:eth1/udp4 --html a.html",
    ),
    ("verify --junit", "verify topology.toml --quick --probes docker0:eth1/udp4 --junit a.xml"),
];

const UMASKS: [u32; 3] = [0o022, 0o077, 0o000];

fn section(heading: &str) -> String {
    let document = text_of("docs/reference/files.md");
    let section = document.split(&format!("\n## {heading}\n")).nth(1).expect("a section");
    section.split("\n## ").next().expect("a section").to_owned()
}

/// isoplan with a umask.
fn with_umask(isoplan: &Program, umask: u32, line: &str) -> Command {
    let mut command = Command::new("sh");
    command.args(["-c", &format!("umask {umask:04o}; exec {ISOPLAN} {line}")]);
    let like = isoplan.command::<&str>(&[]);
    command.current_dir(isoplan.directory()).env_clear();
    command.envs(like.get_envs().filter_map(|(name, value)| Some((name, value?))));
    command
}

/// How it ends.
fn run(isoplan: &Program, umask: u32, line: &str) -> Option<i32> {
    with_umask(isoplan, umask, line).output().expect("run isoplan").status.code()
}

fn mode(path: &Path) -> u32 {
    fs::symlink_metadata(path).unwrap_or_else(|error| panic!("{}: {error}", path.display())).mode() & 0o7777
}

fn start() -> (Node, Program) {
    let host = Node::own("host");
    has_namespace_of_its_own(&host);
    host.ip("link add br-x type bridge\naddress add 10.5.0.1/24 dev br-x\n").expect("make a link");
    let isoplan = Program::new(ISOPLAN).expect("make a directory");
    let topology = HostSpec::service_instance().bare().topology();
    isoplan.write("topology.toml", &topology).expect("write a file");
    (host, isoplan)
}

/// The table of files that the user names.
#[test]
fn files_that_the_user_names_have_the_modes_of_the_table() {
    in_namespace(|| {
        let (_host, isoplan) = start();
        let section = section("Files that you name");
        let mut listed: BTreeMap<String, (u32, bool, String)> = BTreeMap::new();
        for row in rows(&section).skip(1) {
            let (digits, rest) = row[1].split_at(4);
            let digits = u32::from_str_radix(digits, 8).expect("a mode");
            assert!(["", ", less the umask"].contains(&rest), "{row:?}");
            for command in row[0].split('`').skip(1).step_by(2) {
                listed.insert(command.to_owned(), (digits, !rest.is_empty(), row[2].to_owned()));
            }
        }
        assert!(listed.keys().map(String::as_str).eq({
            let mut names = WRITERS.map(|(name, _)| name);
            names.sort_unstable();
            names
        }));
        for (name, line) in WRITERS {
            let (digits, is_masked, of_another) = &listed[name];
            let path = isoplan.directory().join(line.rsplit(' ').next().expect("a file"));
            for umask in UMASKS {
                let code = run(&isoplan, umask, line);
                // `status` says that it is not in place.
                assert!([Some(0), Some(2)].contains(&code), "{line}: {code:?}");
                let expected = if *is_masked { digits & !umask } else { *digits };
                let found = mode(&path);
                assert_eq!(found, expected, "{line} with umask {umask:04o}: {found:04o}");
                if of_another.contains("its mode kept") {
                    fs::set_permissions(&path, fs::Permissions::from_mode(0o604)).expect("set a mode");
                    assert!(run(&isoplan, umask, line).is_some_and(|code| code == 0), "{line}");
                    assert_eq!(mode(&path), 0o604, "{line}");
                }
                if of_another.contains("left alone") {
                    assert_eq!(run(&isoplan, umask, line), Some(1), "{line}");
                    assert_eq!(run(&isoplan, umask, &format!("{line} --force")), Some(0), "{line}");
                }
                fs::remove_file(&path).expect("take it away");
            }
            // A link in its place, to a file that is not to be touched.
            let target = isoplan.directory().join("target");
            fs::write(&target, "as it was").expect("write a file");
            symlink(&target, &path).expect("make a link");
            let is_replaced = of_another == "is replaced, a link as well";
            let is_refused =
                of_another.contains("a link is refused") || of_another.contains("left alone, a link as well");
            assert!(is_replaced != is_refused, "{name}: {of_another}");
            let code = run(&isoplan, UMASKS[0], line);
            assert_eq!(code == Some(1), is_refused, "{line}: {code:?}");
            assert_eq!(path.is_symlink(), is_refused, "{line}");
            assert_eq!(fs::read_to_string(&target).expect("read it"), "as it was", "{line}");
            fs::remove_file(&path).expect("take it away");
        }
    });
}

/// Enough networks for all of the state to be kept.
fn many() -> String {
    let mut text = HostSpec::service_instance().bare().topology();
    for number in 0..500 {
        write!(
            text,
            "\n[[bridge]]\nname = \"br-{number}\"\nsubnets = [\"10.{}.{}.0/24\"]\n",
            100 + number / 250,
            number % 250
        )
        .expect("a string");
    }
    text
}

/// Runs a watch until it has started.
fn watch(isoplan: &Program, umask: u32) {
    let mut command = with_umask(isoplan, umask, "watch many.toml --json");
    let mut child = command.stdout(Stdio::piped()).spawn().expect("start isoplan");
    let mut said = BufReader::new(child.stdout.take().expect("it is piped"));
    let mut line = String::new();
    said.read_line(&mut line).expect("read what it says");
    assert!(line.contains("started"), "{line}");
    // The shell is isoplan by now.
    kill(Pid::from_raw(i32::try_from(child.id()).expect("a pid")), Signal::SIGTERM).expect("send a signal");
    assert!(child.wait().expect("wait for isoplan").success());
}

/// What is in the state directory after the verbs that write there.
#[test]
fn state_is_for_its_owner_alone() {
    let section = section("State");
    let said = "Directories have mode 0700, files 0600";
    assert!(section.contains(said), "docs/reference/files.md does not say: {said}");
    in_namespace(|| {
        let (_host, isoplan) = start();
        isoplan.write("many.toml", &many()).expect("write a file");
        for umask in UMASKS {
            for line in ["apply topology.toml --yes", "apply many.toml --yes --confirm-within 1h", "confirm"]
            {
                assert_eq!(run(&isoplan, umask, line), Some(0), "{line}");
            }
            watch(&isoplan, umask);
            let state = isoplan.directory().join("state");
            let mut names = BTreeSet::new();
            let mut left = vec![state.clone()];
            while let Some(path) = left.pop() {
                let is_directory = path.is_dir();
                let (found, expected) = (mode(&path), if is_directory { 0o700 } else { 0o600 });
                assert_eq!(found, expected, "{} with umask {umask:04o}: {found:04o}", path.display());
                if is_directory {
                    let entries = fs::read_dir(&path).expect("list it");
                    left.extend(entries.map(|entry| entry.expect("list it").path()));
                } else {
                    let name = path.file_name().unwrap_or_default().to_string_lossy();
                    // The numbers differ.
                    names.insert(
                        name.split(|c: char| c.is_ascii_digit()).next().unwrap_or_default().to_owned(),
                    );
                }
            }
            // All but what takes an open connection.
            for name in
                rows(&section).skip(1).map(|row| row[0].trim_matches('`')).filter(|name| *name != "kept.json")
            {
                let start = name.split("ID").next().and_then(|name| name.split("NUMBER").next());
                let start = start.unwrap_or_default();
                assert!(names.contains(start), "no {name} among {names:?}");
            }
            assert_eq!(run(&isoplan, umask, "remove --yes"), Some(0));
            fs::remove_dir_all(state).expect("take it away");
        }
    });
}
