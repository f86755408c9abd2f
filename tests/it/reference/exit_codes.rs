//! The table of exit codes by verb: the program ends as it says, and what it says happens.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::{BufRead as _, BufReader};
use std::os::unix::fs::PermissionsExt as _;
use std::process::Stdio;

use clap::CommandFactory as _;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::{function, rows, text_of};
use crate::lab::node::Node;
use crate::lab::{HostSpec, Program, in_namespace};
use crate::{ISOPLAN, has_namespace_of_its_own};

/// Codes of the table that take a terminal or a time to come to, and the tests that come to them.
const ELSEWHERE: [(&str, i32, &str); 2] =
    [("apply", 4, "confirm::asked_on_a_terminal"), ("confirm", 4, "confirm::undone_when_nobody_confirms")];

/// The codes from 0 to 4 that the table has something about, by verb.
fn table() -> BTreeMap<String, BTreeSet<i32>> {
    let document = text_of("docs/reference/exit-codes.md");
    let section = document.split("\n## By verb\n").nth(1).and_then(|rest| rest.split("\n## ").next());
    let mut table = BTreeMap::new();
    for row in rows(section.expect("a section")).skip(1) {
        let [verbs, cells @ ..] = row.as_slice() else { panic!("{row:?}") };
        // Behind the last bar is nothing.
        let codes = cells.iter().zip(0..=4).filter(|(cell, _)| !cell.is_empty()).map(|(_, code)| code);
        let codes: BTreeSet<i32> = codes.collect();
        for verb in verbs.split('`').skip(1).step_by(2) {
            assert!(table.insert(verb.to_owned(), codes.clone()).is_none(), "`{verb}` is there twice");
        }
    }
    table
}

/// The runs of a test, each with how it ended.
struct Runs {
    isoplan: Program,
    seen: BTreeMap<String, BTreeSet<i32>>,
}

impl Runs {
    /// Runs a verb, which ends with that code.
    #[track_caller]
    fn ends(&mut self, code: i32, line: &str) {
        let words: Vec<&str> = line.split(' ').collect();
        let ran = self.isoplan.run(&words);
        assert_eq!(ran.code, Some(code), "{ran}");
        self.note(words[0], code);
    }

    /// Runs a command in a lab; it ends as the verb in it does.
    #[track_caller]
    fn ends_in_lab(&mut self, code: i32, verb: &str, approach: &str, script: &str) {
        let script = script.replace("isoplan ", &format!("{ISOPLAN} "));
        let words = ["lab", "right.toml", "--approach", approach, "--", "sh", "-c", &script];
        let ran = self.isoplan.run(&words);
        assert_eq!(ran.code, Some(code), "{ran}");
        self.note(verb, code);
    }

    /// The same, and what it prints goes where no room is left.
    #[track_caller]
    fn ends_on_a_full_disk(&mut self, code: i32, line: &str) {
        let words: Vec<&str> = line.split(' ').collect();
        let full = fs::File::options().write(true).open("/dev/full").expect("open /dev/full");
        let status = self.isoplan.command(&words).stdout(full).stderr(Stdio::null()).status();
        assert_eq!(status.expect("run isoplan").code(), Some(code), "{line} >/dev/full");
        self.note(words[0], code);
    }

    fn note(&mut self, verb: &str, code: i32) {
        self.seen.entry(verb.to_owned()).or_default().insert(code);
    }

    /// A watch that a signal ends.
    fn watch_ends(&mut self) {
        let mut command = self.isoplan.command(&["watch", "right.toml", "--json"]);
        let mut child = command.stdout(Stdio::piped()).spawn().expect("start isoplan");
        let mut said = BufReader::new(child.stdout.take().expect("it is piped"));
        let mut line = String::new();
        said.read_line(&mut line).expect("read what it says");
        assert!(line.contains("started"), "{line}");
        self.ends(1, "watch right.toml");
        let pid = Pid::from_raw(i32::try_from(child.id()).expect("a pid"));
        kill(pid, Signal::SIGTERM).expect("send a signal");
        let status = child.wait().expect("wait for isoplan");
        assert_eq!(status.code(), Some(0));
        self.note("watch", 0);
    }
}

fn start() -> (Node, Runs) {
    let host = Node::own("host");
    has_namespace_of_its_own(&host);
    let isoplan = Program::new(ISOPLAN).expect("make a directory");
    let right = HostSpec::service_instance().bare().topology();
    let other = right.replacen("[\"172.17.0.0/16\", ", "[\"172.18.0.0/16\", ", 1);
    assert_ne!(right, other);
    isoplan.write("right.toml", &right).expect("write a file");
    isoplan.write("other.toml", &other).expect("write a file");
    isoplan.write("wrong.toml", "[[bridge]]\nnam = \"docker0\"\n").expect("write a file");
    let systemd = isoplan.directory().join("image/usr/lib/systemd/systemd");
    fs::create_dir_all(systemd.parent().expect("a directory")).expect("make a directory");
    fs::create_dir(isoplan.directory().join("plain")).expect("make a directory");
    fs::write(&systemd, "").expect("write a file");
    fs::set_permissions(&systemd, fs::Permissions::from_mode(0o755)).expect("set a mode");
    (host, Runs { isoplan, seen: BTreeMap::new() })
}

/// What does not change the host, and what writes files.
fn read_and_write(runs: &mut Runs) {
    for verb in ["check", "plan", "diff right.toml"] {
        runs.ends(0, &format!("{verb} right.toml"));
        runs.ends(1, &format!("{verb} none.toml"));
        runs.ends(65, &format!("{verb} wrong.toml"));
    }
    runs.ends(0, "render right.toml --format nft");
    runs.ends(1, "render none.toml --format nft");
    runs.ends(64, "render right.toml");
    runs.ends(2, "plan right.toml --detailed-exitcode");
    runs.ends(0, "diff right.toml right.toml --detailed-exitcode");
    runs.ends(2, "diff right.toml other.toml --detailed-exitcode");
    runs.ends(0, "snapshot");
    runs.ends(1, "snapshot -o none/snapshot.json");
    runs.ends(0, "discover");
    runs.ends(1, "discover -o right.toml");
    for verb in ["schema", "completions bash"] {
        runs.ends(0, verb);
        runs.ends_on_a_full_disk(1, verb);
    }
    runs.ends(0, "man pages");
    runs.ends(1, "man right.toml");
    let install = "install right.toml --exec-path /usr/sbin/isoplan --root";
    runs.ends(1, &format!("{install} plain --yes"));
    runs.ends(64, &format!("{install} image"));
    runs.ends(0, &format!("{install} image --yes"));
    fs::write(runs.isoplan.directory().join("image/etc/isoplan/isoplan.nft"), "").expect("edit a file");
    runs.ends(1, &format!("{install} image --yes"));
    runs.ends(64, "uninstall --root image");
    runs.ends(0, "uninstall --root image --yes");
    runs.ends(1, "uninstall --root none --yes");
}

/// What changes the host, and what asks about it.
fn change(host: &Node, runs: &mut Runs) {
    runs.ends(2, "status");
    runs.ends(2, "status right.toml");
    runs.ends(1, "status none.toml");
    runs.ends(1, "confirm");
    runs.ends(64, "apply right.toml");
    runs.ends(1, "apply none.toml --yes");
    runs.ends(0, "apply right.toml --yes");
    runs.ends(0, "apply right.toml --yes");
    runs.ends(0, "status right.toml");
    // The NICs of the file are not here.
    runs.ends(2, "status right.toml --strict");
    runs.ends(0, "plan right.toml --detailed-exitcode");
    runs.watch_ends();
    runs.ends(1, "watch none.toml");
    runs.ends(64, "rollback");
    runs.ends(64, "remove");
    runs.ends(0, "apply other.toml --yes --confirm-within 1h");
    runs.ends(1, "remove --yes");
    host.nft(&["flush", "chain", "inet", "isoplan", "forward"]).expect("delete rules");
    runs.ends(2, "confirm");
    runs.ends(0, "apply right.toml --yes --confirm-within 1h");
    runs.ends(0, "confirm");
    runs.ends(0, "rollback --yes");
    // There is one step.
    runs.ends(0, "rollback --yes");
    runs.ends(1, "rollback --yes --state-dir right.toml");
    runs.ends(0, "remove --yes");
    runs.ends(0, "remove --yes");
}

/// What sends packets.
fn send(runs: &mut Runs) {
    let one = "--quick --probes docker0:eth1/udp4";
    for verb in ["compare", "verify"] {
        runs.ends(0, &format!("{verb} right.toml {one}"));
        runs.ends(1, &format!("{verb} none.toml"));
        runs.ends(64, &format!("{verb} right.toml --probes nothing"));
    }
    runs.ends(3, &format!("verify right.toml --approach sysctl {one}"));
    let right = HostSpec::service_instance().bare().topology();
    let sysctl = right.replace("masquerade = true", "approach = \"sysctl\"");
    assert_ne!(sysctl, right);
    runs.isoplan.write("sysctl.toml", &sysctl).expect("write a file");
    runs.ends(3, &format!("compare sysctl.toml --approaches none,sysctl {one}"));
    runs.ends(0, "explain docker0 storage --topology right.toml");
    runs.ends(1, "explain docker0 storage --topology none.toml");
    runs.ends(64, "probe docker0:eth1/udp4");
    runs.ends_in_lab(0, "probe", "nftables", "isoplan probe docker0:eth1/udp4");
    runs.ends_in_lab(3, "probe", "none", "isoplan probe docker0:eth1/udp4");
    let unable = "ip netns exec docker0-c1 ip link set eth0 down; isoplan probe docker0:eth1/udp4";
    runs.ends_in_lab(1, "probe", "none", unable);
    runs.ends_in_lab(5, "lab", "none", "exit 5");
    runs.ends_in_lab(128 + 9, "lab", "none", "kill -9 $$");
    runs.ends(1, "lab none.toml");
}

/// Every verb is in the table, or in the sentences below it. Each code that a verb is seen to end with is in its row,
/// and each code of its row is seen.
#[test]
fn verbs_end_as_the_table_says() {
    in_namespace(|| {
        let (host, mut runs) = start();
        host.ip("link add br-x type bridge\naddress add 10.5.0.1/24 dev br-x\n").expect("make a link");
        read_and_write(&mut runs);
        change(&host, &mut runs);
        send(&mut runs);
        let mut seen = runs.seen;
        for (verb, code, test) in ELSEWHERE {
            let (module, name) = test.split_once("::").expect("a test");
            let body = function(module, name).unwrap_or_else(|| panic!("there is no test {test}"));
            assert!(body.contains(&format!("Some({code})")), "{test} does not expect the code {code}");
            seen.entry(verb.to_owned()).or_default().insert(code);
        }
        // It ends as its command does.
        seen.remove("lab");
        for codes in seen.values_mut() {
            codes.retain(|code| *code < 64);
        }
        assert_eq!(table(), seen, "docs/reference/exit-codes.md on the left, what happened on the right");
        let program = isoplan::cli::Cli::command();
        let verbs: BTreeSet<&str> = program
            .get_subcommands()
            .filter(|verb| !verb.is_hide_set())
            .map(clap::Command::get_name)
            .filter(|name| !["help", "lab"].contains(name))
            .collect();
        assert_eq!(verbs, seen.keys().map(String::as_str).collect::<BTreeSet<_>>());
    });
}
