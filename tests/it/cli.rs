//! The command line: every verb, what it prints and how it ends, with and without privilege, a terminal, a reader
//! and a state directory to write to.

use std::env;
use std::fmt::Write as _;
use std::fs::{self, File, Permissions};
use std::io::{Read as _, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use nix::mount::{MsFlags, mount};
use nix::pty::openpty;
use serde_json::{Value, json};

use crate::golden::compare;
use crate::lab::isolate::has_program;
use crate::lab::node::Node;
use crate::lab::{Program, Ran, in_namespace};
use crate::laws::listed;
use crate::live::{forwarding, listing};
use crate::{ISOPLAN, has_namespace_of_its_own};

const VERBS: [&str; 15] = [
    "check",
    "plan",
    "apply",
    "status",
    "snapshot",
    "diff",
    "remove",
    "render",
    "compare",
    "verify",
    "explain",
    "lab",
    "probe",
    "schema",
    "completions",
];

/// Verbs that read a topology, with what else they need.
const READERS: [&[&str]; 4] = [&["check"], &["plan"], &["apply", "--yes"], &["render", "--format", "nft"]];

const RIGHT: &str = "[[bridge]]\nname = \"docker0\"\n\n\
    [[nic]]\nname = \"eth0\"\nrole = \"service\"\nsubnets = [\"192.168.56.0/24\"]\n\n\
    [[nic]]\nname = \"eth1\"\nrole = \"storage\"\nsubnets = [\"192.168.57.0/24\"]\n";
const WRONG: &str = "[[bridge]]\nname = \"docker0\"\nreach = [\"sevrice\"]\n\n\
    [[nic]]\nname = \"eth0\"\nrole = \"service\"\nsubnets = [\"10.0.0.1/24\"]\n";
const WITH_SYSCTLS: &str = "\n[isolation]\napproach = \"sysctl\"\n";

/// isoplan in a directory with a right and a wrong topology.
fn program() -> Program {
    let isoplan = Program::new(ISOPLAN).expect("make a directory");
    isoplan.write("right.toml", RIGHT).expect("write a topology");
    isoplan.write("wrong.toml", WRONG).expect("write a topology");
    isoplan.write("sysctl.toml", &format!("{RIGHT}{WITH_SYSCTLS}")).expect("write a topology");
    isoplan
}

/// The same, with the namespace that it is in.
fn start() -> (Node, Program) {
    let host = Node::own("host");
    has_namespace_of_its_own(&host);
    (host, program())
}

/// All that isoplan could change on a host: rules, forwarding, and that of every link.
fn state(host: &Node) -> (String, [String; 2], Vec<(String, String)>) {
    let links = fs::read_dir("/proc/sys/net/ipv4/conf").expect("list the links");
    let mut links: Vec<_> = links
        .map(|link| link.expect("list the links").file_name().into_string().expect("UTF-8"))
        .map(|link| {
            let value = host.read_sysctl(&format!("net/ipv4/conf/{link}/forwarding")).expect("read a sysctl");
            (link, value)
        })
        .collect();
    links.sort();
    (host.nft(&["-s", "list", "ruleset"]).expect("list the rules"), forwarding(host), links)
}

fn words<'a>(head: &[&'a str], tail: &[&'a str]) -> Vec<&'a str> {
    [head, tail].concat()
}

/// Runs it with that on its standard input.
fn feed(isoplan: &Program, args: &[&str], input: &[u8]) -> Ran {
    let mut command = isoplan.command(args);
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("start isoplan");
    let mut stdin = child.stdin.take().expect("stdin is a pipe");
    // It may have read enough and be gone.
    let _ = stdin.write_all(input);
    drop(stdin);
    let output = child.wait_with_output().expect("wait for isoplan");
    Ran {
        command: format!("isoplan {}", args.join(" ")),
        code: output.status.code(),
        stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
        stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
    }
}

#[test]
fn what_it_says_is_what_was_agreed_to() {
    in_namespace(|| {
        let isoplan = program();
        let mut cases: Vec<(String, Vec<&str>, i32)> =
            VERBS.iter().map(|verb| (format!("help-{verb}"), vec![*verb, "--help"], 0)).collect();
        let others: [(&str, &[&str], i32); 13] = [
            ("help", &["--help"], 0),
            ("help-short", &["-h"], 0),
            ("version", &["--version"], 0),
            ("no-arguments", &[], 64),
            ("no-topology", &["plan"], 64),
            ("no-format", &["render", "right.toml"], 64),
            ("unknown-verb", &["chek", "right.toml"], 64),
            ("unknown-flag", &["apply", "--force", "right.toml"], 64),
            ("unknown-format", &["render", "right.toml", "--format", "yaml"], 64),
            ("json-cannot-ask", &["apply", "right.toml", "--json"], 64),
            ("missing-file", &["check", "nowhere.toml"], 1),
            ("refused", &["check", "wrong.toml"], 65),
            ("right", &["check", "right.toml"], 0),
        ];
        cases.extend(others.map(|(name, args, code)| (name.to_owned(), args.to_vec(), code)));
        let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/snapshots");
        let mut wrong = Vec::new();
        for (name, args, code) in &cases {
            let ran = isoplan.run(args);
            assert_eq!(ran.code, Some(*code), "{name}: {ran}");
            let text = format!(
                "$ {}\n== stdout\n{}== stderr\n{}== exit {code}\n",
                ran.command, ran.stdout, ran.stderr
            );
            wrong.extend(compare(&directory.join(format!("{name}.txt")), &text));
        }
        assert!(wrong.is_empty(), "{}", wrong.join("\n"));
        let snapshots = fs::read_dir(directory).expect("list the snapshots").count();
        assert_eq!(snapshots, cases.len(), "a snapshot that nothing is compared with");
    });
}

#[test]
fn a_wrong_command_line_says_what_is_right() {
    in_namespace(|| {
        let isoplan = program();
        let check = |args: &[&str], code: i32, says: &[&str]| {
            let ran = isoplan.run(args);
            assert_eq!((ran.code, ran.stdout.as_str()), (Some(code), ""), "{ran}");
            for word in says {
                assert!(ran.stderr.contains(word), "no `{word}`: {ran}");
            }
        };
        check(&["chek"], 64, &["'check'", "--help"]);
        check(&["aply", "right.toml"], 64, &["'apply'"]);
        check(&["plan", "right.toml", "--josn"], 64, &["--json"]);
        check(&["render", "right.toml", "--format", "nf"], 64, &["nft, iptables, sysctl, svg"]);
        check(&["--color", "sometimes", "check", "right.toml"], 64, &["auto, always, never"]);
        check(&["remove", "--json"], 64, &["--yes or --dry-run"]);
        check(&["check", "right.toml", "wrong.toml"], 64, &["wrong.toml"]);
        for reader in READERS {
            check(&words(reader, &["nowhere.toml"]), 1, &["cannot read nowhere.toml", "hint: "]);
            check(&words(reader, &["."]), 1, &["cannot read .", "directory"]);
            check(
                &words(reader, &["wrong.toml"]),
                65,
                &["did you mean `service`?", "wrong.toml:3:10", "2 errors"],
            );
        }
        let status = isoplan.run(&["status", "wrong.toml"]);
        assert_eq!(status.code, Some(65), "{status}");
    });
}

#[test]
fn a_topology_comes_from_stdin_as_well() {
    in_namespace(|| {
        let isoplan = program();
        let check = |args: &[&str], input: &str| {
            let file = if input == RIGHT { "right.toml" } else { "wrong.toml" };
            let by_name = isoplan.run(&words(args, &[file]));
            let by_pipe = feed(&isoplan, &words(args, &["-"]), input.as_bytes());
            assert_eq!(by_pipe.code, by_name.code, "{by_pipe}");
            assert_eq!(by_pipe.stdout, by_name.stdout.replace(file, "<stdin>"), "{by_pipe}");
            assert_eq!(by_pipe.stderr, by_name.stderr.replace(file, "<stdin>"), "{by_pipe}");
            by_pipe.code
        };
        assert_eq!(check(&["check"], RIGHT), Some(0));
        assert_eq!(check(&["check", "--json"], RIGHT), Some(0));
        assert_eq!(check(&["check"], WRONG), Some(65));
        assert_eq!(check(&["render", "--format", "nft"], RIGHT), Some(0));
        assert_eq!(check(&["render", "--format", "nft"], WRONG), Some(65));
    });
}

/// Panics unless it has the head that every answer in JSON has.
#[track_caller]
fn answer(ran: &Ran, kind: &str, code: i32) -> Value {
    assert_eq!(ran.code, Some(code), "{ran}");
    assert_eq!(ran.stderr, "", "{ran}");
    let value = ran.json();
    assert_eq!((&value["version"], &value["kind"]), (&json!(1), &json!(kind)), "{ran}");
    value
}

#[test]
fn every_answer_is_there_as_json() {
    in_namespace(|| {
        let (host, isoplan) = start();
        let run = |args: &[&str]| isoplan.run(args);
        let right = answer(&run(&["check", "right.toml", "--json"]), "check", 0);
        assert_eq!((&right["ok"], &right["mistakes"]), (&json!(true), &json!([])));
        assert!(right["matrix"].as_array().is_some_and(|pairs| pairs.len() > 4), "{right:#}");
        let wrong = answer(&run(&["check", "wrong.toml", "--json"]), "check", 65);
        let mistakes = wrong["mistakes"].as_array().expect("a list of mistakes");
        let places: Vec<_> = mistakes.iter().map(|mistake| (&mistake["line"], &mistake["column"])).collect();
        assert_eq!(places, [(&json!(3), &json!(10)), (&json!(8), &json!(12))], "{wrong:#}");
        assert_eq!((&wrong["ok"], &wrong["matrix"]), (&json!(false), &json!([])));

        let nothing = answer(&run(&["status", "--json"]), "status", 2);
        assert_eq!((&nothing["in_place"], &nothing["tables"]), (&json!(false), &json!([])));
        let before = state(&host);
        let plan = answer(&run(&["plan", "right.toml", "--json"]), "plan", 0);
        assert_eq!(plan["differs"], true);
        let creates = plan["changes"].as_array().expect("a list").iter();
        let creates = creates.filter(|change| change["action"] == "create").count();
        assert_eq!(plan["summary"]["create"], creates);
        assert!(creates > 10, "{plan:#}");
        let dry = answer(&run(&["apply", "right.toml", "--json", "--dry-run"]), "apply", 0);
        assert_eq!((&dry["applied"], &dry["plan"]["changes"]), (&json!(false), &plan["changes"]));
        assert_eq!(state(&host), before, "plan and a dry run change nothing");

        let apply = answer(&run(&["apply", "right.toml", "--json", "--yes"]), "apply", 0);
        assert_eq!((&apply["applied"], &apply["plan"]["changes"]), (&json!(true), &plan["changes"]));
        let again = answer(&run(&["apply", "right.toml", "--json", "--yes"]), "apply", 0);
        assert_eq!((&again["applied"], &again["plan"]["differs"]), (&json!(false), &json!(false)));
        let status = answer(&run(&["status", "right.toml", "--json"]), "status", 0);
        assert_eq!((&status["in_place"], &status["differences"]), (&json!(true), &json!(0)));
        assert_eq!(status["sysctls"][0]["original"], "0", "{status:#}");

        let applied = state(&host);
        let dry = answer(&run(&["remove", "--json", "--dry-run"]), "remove", 0);
        assert_eq!((&dry["removed"], &dry["summary"]["delete"]), (&json!(false), &json!(1)));
        assert_eq!(state(&host), applied, "a dry run changes nothing");
        let remove = answer(&run(&["remove", "--json", "--yes"]), "remove", 0);
        assert_eq!((&remove["removed"], &remove["left"]), (&json!(true), &json!([])));
        assert_eq!(state(&host), before);
        let again = answer(&run(&["remove", "--json", "--yes"]), "remove", 0);
        assert_eq!(again["removed"], false);
    });
}

/// What it prints on a terminal that is its standard output and error.
fn on_terminal(isoplan: &Program, args: &[&str], variables: &[(&str, &str)]) -> String {
    let terminal = openpty(None, None).expect("open a terminal");
    let slave = || Stdio::from(terminal.slave.try_clone().expect("share the terminal"));
    let mut command = isoplan.command(args);
    command.env("TERM", "xterm").envs(variables.iter().copied()).stdout(slave()).stderr(slave());
    let mut child = command.spawn().expect("start isoplan");
    // Commands keep what they were given.
    drop(command);
    drop(terminal.slave);
    let mut master = File::from(terminal.master);
    let mut text = Vec::new();
    // A terminal that nobody has open any more ends with an error.
    let _ = master.read_to_end(&mut text);
    child.wait().expect("wait for isoplan");
    String::from_utf8_lossy(&text).into_owned()
}

#[test]
fn colours_are_where_they_belong() {
    in_namespace(|| {
        let isoplan = program();
        let colour = "\u{1b}[";
        let piped = |args: &[&str], no_color: Option<&str>| {
            let mut command = isoplan.command(args);
            let output =
                command.envs(no_color.map(|value| ("NO_COLOR", value))).output().expect("run isoplan");
            String::from_utf8_lossy(&output.stderr).into_owned()
        };
        assert!(!piped(&["check", "wrong.toml"], None).contains(colour));
        assert!(piped(&["check", "wrong.toml", "--color", "always"], None).contains(colour));
        assert!(piped(&["--color=always", "check", "wrong.toml"], Some("1")).contains(colour));
        assert!(!piped(&["check", "wrong.toml", "--color", "never"], None).contains(colour));

        let shown = on_terminal(&isoplan, &["check", "wrong.toml"], &[]);
        assert!(shown.contains(colour) && shown.contains("did you mean"), "{shown}");
        let shown = on_terminal(&isoplan, &["check", "wrong.toml", "--color", "never"], &[]);
        assert!(!shown.contains(colour) && shown.contains("did you mean"), "{shown}");
        let shown = on_terminal(&isoplan, &["check", "wrong.toml"], &[("NO_COLOR", "1")]);
        assert!(!shown.contains(colour) && shown.contains("did you mean"), "{shown}");
        let shown = on_terminal(&isoplan, &["check", "right.toml", "--json", "--color", "always"], &[]);
        assert!(!shown.contains(colour) && shown.contains("\"kind\": \"check\""), "{shown}");
    });
}

/// A host with that many bridges.
fn many(bridges: usize) -> String {
    let mut text = "[[nic]]\nname = \"eth0\"\nrole = \"service\"\n".to_owned();
    for number in 0..bridges {
        writeln!(text, "[[bridge]]\nname = \"br-{number}\"\nsubnets = [\"fd00:{number:x}::/64\"]")
            .expect("write to a string");
    }
    text
}

#[test]
fn a_reader_that_goes_is_no_failure() {
    in_namespace(|| {
        let isoplan = program();
        isoplan.write("many.toml", &many(10_000)).expect("write a topology");
        let check = |args: &[&str]| {
            let mut command = isoplan.command(args);
            let mut child =
                command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("start isoplan");
            let mut first = [0; 16];
            let mut stdout = child.stdout.take().expect("stdout is a pipe");
            stdout.read_exact(&mut first).expect("read the start");
            drop(stdout);
            let output = child.wait_with_output().expect("wait for isoplan");
            let stderr = String::from_utf8_lossy(&output.stderr);
            assert_eq!((output.status.code(), &*stderr), (Some(0), ""), "{args:?}");
        };
        isoplan.write("some.toml", &many(1_000)).expect("write a topology");
        check(&["render", "many.toml", "--format", "nft"]);
        check(&["render", "some.toml", "--format", "iptables"]);
        check(&["render", "some.toml", "--format", "json"]);
        check(&["check", "some.toml", "--json"]);
        check(&["completions", "bash"]);
        check(&["schema"]);
    });
}

#[test]
fn a_disk_that_is_full_is_a_failure() {
    in_namespace(|| {
        let isoplan = program();
        let full = || File::options().write(true).open("/dev/full").expect("open /dev/full");
        let output = isoplan.command(&["render", "right.toml", "--format", "nft"]).stdout(full()).output();
        let output = output.expect("run isoplan");
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{stderr}");
        assert!(stderr.contains("cannot write to stdout") && !stderr.contains("panicked"), "{stderr}");
        let file = isoplan.run(&["render", "right.toml", "--format", "nft", "--output", "/dev/full"]);
        assert_eq!(file.code, Some(1), "{file}");
        assert!(file.stderr.contains("cannot write /dev/full"), "{file}");
    });
}

#[test]
fn render_writes_a_file_like_its_output() {
    in_namespace(|| {
        let isoplan = program();
        let shown = isoplan.run(&["render", "right.toml", "--format", "nft"]).ok();
        let written = isoplan.run(&["render", "right.toml", "--format", "nft", "--output", "out.nft"]);
        assert_eq!(written.clone().ok(), "", "{written}");
        let at = |name: &str| isoplan.directory().join(name);
        assert_eq!(fs::read_to_string(at("out.nft")).expect("read a file"), shown);
        // A file is replaced whole, with the mode that it had; another name of the old one keeps the old text.
        fs::set_permissions(at("out.nft"), Permissions::from_mode(0o640)).expect("set a mode");
        fs::hard_link(at("out.nft"), at("before")).expect("make a link");
        isoplan.run(&["render", "right.toml", "--format", "sysctl", "-o", "out.nft"]).ok();
        assert_eq!(fs::read_to_string(at("before")).expect("read a file"), shown);
        assert_ne!(fs::read_to_string(at("out.nft")).expect("read a file"), shown);
        assert_eq!(fs::metadata(at("out.nft")).expect("a mode").permissions().mode() & 0o7777, 0o640);
        // What a link leads to is left alone.
        fs::write(at("precious"), "untouched").expect("write a file");
        std::os::unix::fs::symlink("precious", at("link")).expect("make a link");
        for args in [
            &["render", "right.toml", "--format", "nft", "-o", "link"][..],
            &["compare", "right.toml", "--approaches", "none", "--quick", "--html", "link"],
            &["verify", "right.toml", "--quick", "--junit", "link"],
        ] {
            let ran = isoplan.run(args);
            assert_eq!(ran.code, Some(1), "{ran}");
            assert!(
                ran.stderr.contains("cannot write link") && ran.stderr.contains("not a plain file"),
                "{ran}"
            );
            assert_eq!(fs::read_to_string(at("precious")).expect("read a file"), "untouched");
        }
    });
}

#[test]
fn completions_are_scripts() {
    in_namespace(|| {
        let isoplan = program();
        for (shell, check) in [("bash", "-n"), ("zsh", "-n"), ("fish", "--no-execute")] {
            let script = isoplan.run(&["completions", shell]).ok();
            // Which verbs there are, the program answers: `package::bash_completes_names_and_files` and its like.
            assert!(script.contains("isoplan complete-stage"), "{shell} does not ask the program");
            isoplan.write("script", &script).expect("write a script");
            if shell == "bash" || has_program(shell) {
                let path = isoplan.directory().join("script");
                let output = Command::new(shell).arg(check).arg(path).output().expect("run a shell");
                assert!(output.status.success(), "{shell}: {}", String::from_utf8_lossy(&output.stderr));
            }
        }
    });
}

#[test]
fn without_privilege_it_says_what_is_missing() {
    in_namespace(|| {
        let (host, isoplan) = start();
        // A user namespace within the one that owns the network: its root is nobody here.
        let nobody = Program::new("unshare").expect("make a directory");
        nobody.write("right.toml", RIGHT).expect("write a topology");
        let run = |args: &[&str]| nobody.run(&words(&["--user", ISOPLAN], args));
        let before = state(&host);
        for args in [&["check", "right.toml"][..], &["render", "right.toml", "--format", "nft"]] {
            let (with, without) = (isoplan.run(args), run(args));
            assert_eq!((&without.stdout, without.code), (&with.stdout, Some(0)), "{without}");
            assert_eq!(without.stderr, "", "{without}");
        }
        let verbs: [&[&str]; 7] = [
            &["plan", "right.toml"],
            &["plan", "right.toml", "--json"],
            &["apply", "right.toml", "--yes"],
            &["apply", "right.toml", "--dry-run"],
            &["status"],
            &["status", "right.toml"],
            &["remove", "--yes"],
        ];
        for args in verbs {
            let ran = run(args);
            assert_eq!((ran.code, ran.stdout.as_str()), (Some(77), ""), "{ran}");
            let plain: Vec<_> = args.iter().copied().filter(|arg| !arg.starts_with('-')).collect();
            // Nothing is to be seen or removed in an empty namespace.
            let hint = match args[0] {
                "status" | "remove" => "run it as root".to_owned(),
                _ => format!("unshare -rn isoplan {}", plain.join(" ")),
            };
            assert!(ran.stderr.contains("operation not permitted") && ran.stderr.contains(&hint), "{ran}");
            assert!(!nobody.directory().join("state").exists(), "{ran}: left something");
        }
        assert_eq!(state(&host), before);
    });
}

/// Runs it with a terminal as its standard input, on which that was typed.
fn typed(isoplan: &Program, args: &[&str], keys: &str) -> Ran {
    let terminal = openpty(None, None).expect("open a terminal");
    let mut master = File::from(terminal.master);
    master.write_all(keys.as_bytes()).expect("type");
    let output = isoplan.command(args).stdin(terminal.slave).output().expect("run isoplan");
    Ran {
        command: format!("isoplan {}, answered {keys:?}", args.join(" ")),
        code: output.status.code(),
        stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
        stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
    }
}

#[test]
fn only_a_yes_is_a_yes() {
    in_namespace(|| {
        let (host, isoplan) = start();
        let before = state(&host);
        for (verb, question) in [(&["apply", "right.toml"][..], "Apply this?"), (&["remove"], "Remove this?")]
        {
            let untouched = state(&host);
            // Nobody to ask.
            for input in ["", "y\n", "yes\n"] {
                let ran = feed(&isoplan, verb, input.as_bytes());
                assert_eq!(ran.code, Some(64), "{ran}");
                assert!(ran.stderr.contains("no terminal") && ran.stderr.contains("--yes"), "{ran}");
                assert_eq!(state(&host), untouched, "{ran}");
            }
            // The last one is the end of the input.
            for keys in ["n\n", "\n", "no\n", "yep\n", "Y E S\n", "\u{4}"] {
                let ran = typed(&isoplan, verb, keys);
                assert_eq!(ran.code, Some(1), "{ran}");
                assert!(ran.stderr.contains(&format!("{question} [y/N]")), "{ran}");
                assert!(ran.stderr.contains("Nothing has been changed."), "{ran}");
                assert_eq!(state(&host), untouched, "{ran}");
            }
            let ran = typed(&isoplan, verb, if verb.len() == 2 { "y\n" } else { "YES\n" });
            assert_eq!(ran.code, Some(0), "{ran}");
            assert!(ran.stderr.contains(question) && ran.stdout.contains("read back"), "{ran}");
            assert_ne!(state(&host), untouched, "{ran}");
        }
        assert_eq!(state(&host), before);
    });
}

#[test]
fn a_state_directory_that_cannot_be_used_changes_nothing() {
    in_namespace(|| {
        let (host, isoplan) = start();
        let before = state(&host);
        let below = |name: &str| isoplan.directory().join(name);
        for name in ["read-only", "shared"] {
            fs::create_dir(below(name)).expect("make a directory");
        }
        let read_only = MsFlags::MS_RDONLY;
        mount(Some("tmpfs"), &below("read-only"), Some("tmpfs"), read_only, None::<&str>).expect("mount");
        isoplan.write("file", "").expect("write a file");
        let check = |directory: PathBuf, code: i32, says: &str| {
            for verb in [&["apply", "right.toml", "--yes"][..], &["remove", "--yes"]] {
                let directory = directory.to_str().expect("UTF-8");
                let ran = isoplan.run(&words(verb, &["--state-dir", directory]));
                assert_eq!(ran.code, Some(code), "{ran}");
                assert!(ran.stderr.contains(says) && ran.stderr.contains(directory), "{ran}");
                assert_eq!(state(&host), before, "{ran}");
            }
        };
        check(below("read-only"), 1, "Read-only file system");
        check(below("file"), 1, "Not a directory");
        check(PathBuf::from("/sys/isoplan"), 77, "--state-dir DIR");
        // A directory of this namespace that everybody can write to.
        let shared = below("shared");
        let shared = shared.to_str().expect("UTF-8");
        isoplan.run(&["remove", "--yes", "--state-dir", shared]).ok();
        let own = fs::read_dir(shared)
            .expect("list")
            .next()
            .expect("a directory of the namespace")
            .expect("list")
            .path();
        fs::set_permissions(&own, Permissions::from_mode(0o777)).expect("open it to all");
        check(below("shared"), 1, "open to others");
        // Where it can be used, it is.
        isoplan
            .run(&["apply", "right.toml", "--yes", "--state-dir", below("new/deep").to_str().expect("UTF-8")])
            .ok();
        assert_ne!(state(&host), before);
    });
}

/// The journal that isoplan has written.
fn journal(isoplan: &Program) -> PathBuf {
    let state = isoplan.directory().join("state");
    let mut entries = fs::read_dir(state).expect("list the state").map(|entry| entry.expect("list").path());
    let (one, more) = (entries.next().expect("a directory of the namespace"), entries.next());
    assert_eq!(more, None, "one directory for one namespace");
    one.join("sysctls.json")
}

#[test]
fn a_journal_that_makes_no_sense_is_refused() {
    in_namespace(|| {
        let (host, isoplan) = start();
        isoplan.run(&["apply", "right.toml", "--yes"]).ok();
        let path = journal(&isoplan);
        let good = fs::read_to_string(&path).expect("read the journal");
        let applied = state(&host);
        let with = |key: &str, value: Value| {
            let mut journal: Value = serde_json::from_str(&good).expect("JSON");
            journal[key] = value;
            journal.to_string()
        };
        let entry = |key: &str| with("sysctls", json!([{ "key": key, "original": "0", "written": "1" }]));
        let cut = good[..good.len() / 2].to_owned();
        let journals = [
            ("", "EOF"),
            ("garbage \u{0} \u{1b}[2J", "expected value"),
            ("[1]", "invalid"),
            (&cut, "EOF"),
            (&with("version", json!(2)), "version 2"),
            (&with("version", json!("1")), "invalid type"),
            (&with("more", json!(1)), "unknown field"),
            (&entry("../../etc/passwd"), "`../../etc/passwd` is not a sysctl"),
            (&entry("net/ipv4/conf/../../../../etc/passwd/forwarding"), "is not a sysctl"),
            (&entry("net/ipv4/conf/../forwarding"), "is not a sysctl"),
            (&entry("/etc/passwd"), "is not a sysctl"),
            (&entry("kernel/core_pattern"), "is not a sysctl"),
            (&entry("net/ipv4/conf/all/forwarding"), "is not a sysctl"),
        ];
        let verbs: [&[&str]; 5] = [
            &["plan", "right.toml"],
            &["apply", "right.toml", "--yes"],
            &["apply", "wrong-order.toml", "--yes"],
            &["status", "right.toml"],
            &["remove", "--yes"],
        ];
        isoplan.write("wrong-order.toml", "[[nic]]\nname = \"eth9\"\nrole = \"service\"\n").expect("write");
        for (text, says) in journals {
            fs::write(&path, text).expect("write a journal");
            for verb in verbs {
                let ran = isoplan.run(verb);
                assert_eq!((ran.code, ran.stdout.as_str()), (Some(1), ""), "{text}\n{ran}");
                assert!(ran.stderr.contains("cannot read the journal"), "{text}\n{ran}");
                assert!(ran.stderr.contains(says) && ran.stderr.contains("hint: "), "{text}\n{ran}");
                assert!(!ran.stderr.contains('\u{1b}'), "{text}\n{ran}");
                assert_eq!(state(&host), applied, "{text}\n{ran}");
                assert_eq!(fs::read_to_string(&path).expect("read the journal"), text, "{ran}");
            }
        }
        // One of an earlier boot says nothing about this one.
        fs::write(&path, with("boot_id", json!("another"))).expect("write a journal");
        isoplan.run(&["remove", "--yes"]).ok();
        assert_eq!((listing(&host), forwarding(&host)), (None, ["1", "0"].map(str::to_owned)));
    });
}

#[test]
fn remove_restores_only_what_isoplan_wrote() {
    in_namespace(|| {
        let (host, isoplan) = start();
        let both = RIGHT
            .replace("\"docker0\"\n", "\"docker0\"\nsubnets = [\"172.17.0.0/16\", \"fd17::/64\"]\n")
            .replace(".56.0/24\"", ".56.0/24\", \"fd56::/64\"");
        isoplan.write("both.toml", &both).expect("write a topology");
        isoplan.run(&["apply", "both.toml", "--yes"]).ok();
        assert_eq!(forwarding(&host), ["1", "1"]);
        host.sysctl("net/ipv6/conf/all/forwarding", "2").expect("write a sysctl");
        let removed = answer(&isoplan.run(&["remove", "--yes", "--json"]), "remove", 0);
        assert_eq!(removed["left"], json!(["net/ipv6/conf/all/forwarding"]));
        assert_eq!(forwarding(&host), ["0", "2"]);
        assert_eq!(listing(&host), None);
    });
}

#[test]
fn remove_on_a_host_without_isoplan_does_nothing() {
    in_namespace(|| {
        let (host, isoplan) = start();
        host.nft_load("table inet other { chain isoplan { counter; }; }").expect("load a table");
        let before = state(&host);
        let ran = isoplan.run(&["remove", "--yes"]);
        assert_eq!(ran.stdout, "isoplan has nothing on this host; nothing to do.\n", "{ran}");
        assert_eq!((ran.code, ran.stderr.as_str()), (Some(0), ""));
        // Without --yes there is nothing to be asked either.
        assert_eq!(isoplan.run(&["remove"]).code, Some(0));
        let status = isoplan.run(&["status"]);
        assert_eq!((status.code, status.stdout.as_str()), (Some(2), "isoplan has nothing on this host.\n"));
        assert_eq!(state(&host), before);
    });
}

#[test]
fn interfaces_that_do_not_exist() {
    in_namespace(|| {
        let (host, isoplan) = start();
        let before = state(&host);
        let ran = isoplan.run(&["apply", "sysctl.toml", "--yes"]);
        assert_eq!(ran.code, Some(1), "{ran}");
        assert!(ran.stderr.contains("net/ipv4/conf/eth1/forwarding"), "{ran}");
        assert!(ran.stderr.contains("nothing was changed") && ran.stderr.contains("hint: "), "{ran}");
        assert_eq!(state(&host), before, "{ran}");
        let plan = isoplan.run(&["plan", "sysctl.toml", "--json"]).json();
        assert_eq!(plan["missing_sysctls"], json!(["net/ipv4/conf/eth1/forwarding"]), "{plan:#}");

        let apply = answer(&isoplan.run(&["apply", "right.toml", "--yes", "--json"]), "apply", 0);
        assert_eq!(apply["plan"]["absent_interfaces"], json!(["docker0", "eth0", "eth1"]), "{apply:#}");
        let ran = isoplan.run(&["plan", "right.toml", "--detailed-exitcode"]);
        assert_eq!(ran.code, Some(0), "{ran}");
        assert!(ran.stdout.contains("Not on this host now: docker0, eth0, eth1."), "{ran}");
    });
}

#[test]
fn from_one_approach_to_the_other_and_back() {
    in_namespace(|| {
        let (host, isoplan) = start();
        host.ip("link add eth0 type veth peer name peer0\nlink add eth1 type veth peer name peer1\n")
            .expect("add links");
        // Without the order in which sets and chains came.
        let look = || {
            let (_, forwarding, links) = state(&host);
            (listed(&host), forwarding, links)
        };
        let before = look();
        let apply = |file: &str| {
            isoplan.run(&["apply", file, "--yes"]).ok();
            let plan = isoplan.run(&["plan", file, "--detailed-exitcode"]);
            assert_eq!(plan.code, Some(0), "{plan}");
            look()
        };
        let remove = || {
            isoplan.run(&["remove", "--yes"]).ok();
            assert_eq!(look(), before, "removed");
        };
        let by_rules = apply("right.toml");
        remove();
        let by_sysctls = apply("sysctl.toml");
        assert!(by_rules.0.len() > 20 && by_sysctls.0.is_empty(), "{by_rules:#?}\n{by_sysctls:#?}");
        let value = |link: &str, value: &str| (link.to_owned(), value.to_owned());
        assert!(by_sysctls.2.contains(&value("eth1", "0")), "{by_sysctls:?}");
        assert!(by_sysctls.2.contains(&value("eth0", "1")), "{by_sysctls:?}");
        remove();
        for (first, then) in [("right.toml", "sysctl.toml"), ("sysctl.toml", "right.toml")] {
            let alone = |file: &str| if file == "right.toml" { &by_rules } else { &by_sysctls };
            for (file, when) in [(first, "first"), (then, "then"), (first, "again")] {
                let (rules, forwarding, links) = apply(file);
                let alone = alone(file);
                assert_eq!(rules, alone.0, "{file}, {when}");
                assert_eq!((forwarding, links), (alone.1.clone(), alone.2.clone()), "{file}, {when}");
            }
            remove();
        }
    });
}

#[test]
fn strange_files_get_a_clear_answer() {
    in_namespace(|| {
        let isoplan = program();
        let check = |what: &str, bytes: &[u8], code: i32, says: &str| {
            fs::write(isoplan.directory().join("strange.toml"), bytes).expect("write a file");
            // The other verbs read the same way; a large file takes them long in a debug build.
            let others: &[&[&str]] =
                if bytes.len() < 1 << 20 { &[READERS[3], &["check", "--json"]] } else { &[] };
            for reader in [&[READERS[0]], others].concat() {
                let ran = isoplan.run(&words(reader, &["strange.toml"]));
                assert_eq!(ran.code, Some(code), "{what}: {}", ran.stderr);
                assert!(!ran.stderr.contains("panicked"), "{what}: {}", ran.stderr);
                assert!(ran.stderr.len() < 100_000, "{what}: {} bytes of messages", ran.stderr.len());
                if reader.contains(&"--json") {
                    assert_eq!(ran.json()["ok"], code == 0, "{what}");
                } else if code != 0 {
                    assert!(ran.stderr.contains(says) && ran.stdout.is_empty(), "{what}: {}", ran.stderr);
                }
            }
        };
        let megabytes = 10 << 20;
        check(
            "a comment of 10 MB",
            &[b"# ", &vec![b'x'; megabytes][..], b"\n", RIGHT.as_bytes()].concat(),
            0,
            "",
        );
        check("one word of 10 MB", &vec![b'x'; megabytes], 65, "strange.toml:1");
        let many_entries = "[[nic]]\nname = \"eth0\"\nrole = \"service\"\n".repeat(megabytes / 40);
        check("10 MB of entries", many_entries.as_bytes(), 65, "more than 100000");
        check("17 MB", &vec![b'#'; 17 << 20], 65, "MiB");
        let noise: Vec<u8> = (0..megabytes).map(|at| ((at * 7919) >> 3) as u8).collect();
        check("10 MB of noise", &noise, 65, "UTF-8");
        check("a program", &fs::read(ISOPLAN).expect("read a program")[..4096], 65, "");
        check("nesting", format!("a = {}", "[".repeat(200_000)).as_bytes(), 65, "strange.toml:1");
        check("tables in tables", format!("{}b = 1", "a.".repeat(50_000)).as_bytes(), 65, "strange.toml:1");
        check("inline tables", format!("a = {}", "{ a = ".repeat(50_000)).as_bytes(), 65, "strange.toml:1");
        check("10,000 bridges", many(10_000).as_bytes(), 0, "");
        check(
            "letters of many scripts",
            RIGHT.replace("docker0", "doc\u{301}ker\u{202e}0").as_bytes(),
            65,
            "has the character",
        );
        check("JSON", b" {\"a\": 1}", 65, "the file is JSON, not a topology");
        let notes = "- a line of a text\n".repeat(300);
        check("a text", notes.as_bytes(), 65, "and 295 more; is this a topology file?");
        check("a name of 15 bytes", RIGHT.replace("docker0", "fifteen-bytes-0").as_bytes(), 0, "");
        check("a name of 16 bytes", RIGHT.replace("docker0", "sixteen-bytes-00").as_bytes(), 65, "16");
        check("a bidirectional comment", format!("# \u{202e}\u{1F980}\n{RIGHT}").as_bytes(), 0, "");
    });
}
