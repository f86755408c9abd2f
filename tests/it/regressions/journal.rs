//! The state directory: without room, and with journals that are not isoplan's.

use std::fs::{self, File, OpenOptions, Permissions};
use std::io::{BufRead as _, BufReader, Read as _};
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::PathBuf;
use std::process::{Child, Stdio};

use nix::fcntl::{Flock, FlockArg};
use nix::mount::{MsFlags, mount};
use nix::sys::stat::Mode;
use nix::unistd::mkfifo;
use serde_json::{Value, json};

use super::{IP_FORWARD, delete_table, journal_file, own_directory, set_forwarding, start, state};
use crate::ISOPLAN;
use crate::lab::node::Node;
use crate::lab::{Program, in_namespace};
use crate::live::{forwarding, listing};

/// A file system in memory where the state is kept.
fn mount_state(isoplan: &Program, flags: MsFlags, options: &str) -> PathBuf {
    let path = isoplan.directory().join("state");
    fs::create_dir_all(&path).expect("make a directory");
    mount(Some("tmpfs"), &path, Some("tmpfs"), flags, Some(options)).expect("mount a file system in memory");
    path
}

/// That a run failed for want of room, and that the host forwards only with tables.
#[track_caller]
fn check_no_room(isoplan: &Program, host: &Node, args: &[&str]) {
    let before = state(host);
    let ran = isoplan.run(args);
    assert_eq!(ran.code, Some(1), "{ran}");
    assert!(ran.stderr.contains("cannot use the state directory"), "{ran}");
    assert!(ran.stderr.contains("No space left on device"), "{ran}");
    assert!(ran.stderr.contains("nothing was changed"), "{ran}");
    assert!(!ran.stdout.contains("read back"), "{ran}");
    assert_eq!(state(host), before, "{ran}");
    assert!(before.0.is_some() || before.1 == ["0", "0"], "forwards without tables: {ran}");
}

/// The journal was written a second time at the end of every apply. Where that failed, the tables were taken
/// back and forwarding was left on.
#[test]
fn a_journal_that_cannot_be_replaced_takes_no_tables_away() {
    in_namespace(|| {
        let (host, isoplan) = start();
        let full = mount_state(&isoplan, MsFlags::empty(), "size=256k").join("full");
        isoplan.run(&["apply", "topology.toml", "--yes"]).ok();
        assert_eq!(forwarding(&host), ["1", "0"]);
        assert!(listing(&host).is_some());
        assert_eq!(isoplan.run(&["status", "topology.toml"]).code, Some(0));

        // What was there has to be put on record, for which there is no room.
        fs::write(&full, [0; 256 << 10]).expect_err("it is full");
        check_no_room(&isoplan, &host, &["apply", "both.toml", "--yes"]);
        fs::remove_file(&full).expect("make room");
        isoplan.run(&["apply", "both.toml", "--yes"]).ok();
        assert_eq!(forwarding(&host), ["1", "1"]);
        assert_eq!(isoplan.run(&["status", "both.toml"]).code, Some(0));

        // To take it away needs room as well: that can be undone too.
        fs::write(&full, [0; 256 << 10]).expect_err("it is full");
        check_no_room(&isoplan, &host, &["remove", "--yes"]);
        fs::remove_file(&full).expect("make room");
        isoplan.run(&["remove", "--yes"]).ok();
        assert_eq!(state(&host), (None, ["0", "0"].map(str::to_owned)));
        assert!(!journal_file(&isoplan).exists());
    });
}

/// Without a journal nothing says what there was before, so that nothing may be written.
#[test]
fn a_journal_that_cannot_be_written_changes_nothing() {
    in_namespace(|| {
        let (host, isoplan) = start();
        let full = mount_state(&isoplan, MsFlags::empty(), "size=256k").join("full");
        fs::write(&full, [0; 256 << 10]).expect("fill it");
        for approach in ["topology.toml", "both.toml"] {
            check_no_room(&isoplan, &host, &["apply", approach, "--yes"]);
            assert_eq!(state(&host), (None, ["0", "0"].map(str::to_owned)));
        }
        fs::remove_file(&full).expect("make room");
        isoplan.run(&["apply", "topology.toml", "--yes"]).ok();
        assert_eq!(isoplan.run(&["status", "topology.toml"]).code, Some(0));
        assert_eq!(forwarding(&host), ["1", "0"]);
    });
}

/// An entry stayed in the journal after somebody else had set the sysctl; had he set it to what isoplan once
/// wrote, a later remove took it from him.
#[test]
fn remove_forgets_what_somebody_else_has_overtaken() {
    in_namespace(|| {
        let (host, isoplan) = start();
        for is_table_there in [true, false] {
            set_forwarding(&host, "0");
            isoplan.run(&["apply", "topology.toml", "--yes"]).ok();
            let journal = journal_file(&isoplan);
            assert!(journal.exists());
            if !is_table_there {
                delete_table(&host);
            }
            set_forwarding(&host, "2");
            let removed = isoplan.run(&["remove", "--yes", "--json"]);
            assert_eq!(removed.code, Some(0), "{removed}");
            assert_eq!(removed.json()["left"], json!([IP_FORWARD]), "{removed}");
            assert_eq!(state(&host), (None, ["2", "0"].map(str::to_owned)), "{removed}");
            assert!(!journal.exists(), "{removed}");

            set_forwarding(&host, "1");
            let again = isoplan.run(&["remove", "--yes", "--json"]);
            assert_eq!(again.code, Some(0), "{again}");
            assert_eq!((&again.json()["removed"], &again.json()["left"]), (&json!(false), &json!([])));
            assert_eq!(forwarding(&host), ["1", "0"], "{again}");
        }
    });
}

/// The lock that every change is made under.
fn hold_lock(isoplan: &Program) -> Flock<File> {
    let path = own_directory(isoplan, "state").join("lock");
    let file = OpenOptions::new().write(true).open(path).expect("open the lock");
    Flock::lock(file, FlockArg::LockExclusiveNonblock).map_err(|(_, errno)| errno).expect("take the lock")
}

/// What another isoplan does that has its turn: the tables, the sysctl, and the journal of it.
fn apply_under_the_lock(isoplan: &Program) {
    isoplan.run(&["apply", "topology.toml", "--yes", "--state-dir", "other"]).ok();
    let journal = own_directory(isoplan, "other").join("sysctls.json");
    fs::copy(journal, journal_file(isoplan)).expect("copy the journal");
}

/// Starts it; should it wait for ever, it is ended.
fn spawn(isoplan: &Program, args: &[&str]) -> Child {
    let limited = Program::new("timeout").expect("make a directory");
    let mut command = limited.command(&[&["20", ISOPLAN], args].concat());
    command.env("ISOPLAN_STATE_DIR", isoplan.directory().join("state")).current_dir(isoplan.directory());
    command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("start isoplan")
}

/// A remove with nothing to do read the journal, waited for the lock, and then deleted the journal: also one
/// that had been written while it waited.
#[test]
fn remove_does_not_wipe_the_journal_of_another_apply() {
    in_namespace(|| {
        let (host, isoplan) = start();
        isoplan.run(&["apply", "topology.toml", "--yes"]).ok();
        delete_table(&host);
        set_forwarding(&host, "2");
        let lock = hold_lock(&isoplan);
        let mut child = spawn(&isoplan, &["remove"]);
        let mut stdout = BufReader::new(child.stdout.take().expect("stdout is a pipe"));
        let mut line = String::new();
        stdout.read_line(&mut line).expect("read its answer");
        assert_eq!(line, "isoplan has nothing on this host; nothing to do.\n");
        // It has read the journal by now.
        apply_under_the_lock(&isoplan);
        let journal = fs::read(journal_file(&isoplan)).expect("read the journal");
        let applied = state(&host);
        assert_eq!(applied.1, ["1", "0"]);
        drop(lock);
        let output = child.wait_with_output().expect("wait for isoplan");
        assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
        assert_eq!(state(&host), applied);
        assert_eq!(fs::read(journal_file(&isoplan)).expect("read the journal"), journal);
        // What that apply had found is what there is to be restored.
        isoplan.run(&["remove", "--yes"]).ok();
        assert_eq!(state(&host), (None, ["2", "0"].map(str::to_owned)));
    });
}

/// A remove that has to wait goes by what there is when it has its turn.
#[test]
fn remove_looks_when_it_has_its_turn() {
    in_namespace(|| {
        let (host, isoplan) = start();
        isoplan.run(&["apply", "topology.toml", "--yes"]).ok();
        isoplan.run(&["remove", "--yes"]).ok();
        set_forwarding(&host, "2");
        let lock = hold_lock(&isoplan);
        let mut child = spawn(&isoplan, &["remove", "--yes"]);
        let mut stderr = BufReader::new(child.stderr.take().expect("stderr is a pipe"));
        let mut said = String::new();
        stderr.read_line(&mut said).expect("read what it says");
        assert_eq!(said, "Another isoplan is changing this host; waiting for it.\n");
        apply_under_the_lock(&isoplan);
        assert_eq!(forwarding(&host), ["1", "0"]);
        drop(lock);
        stderr.read_to_string(&mut said).expect("read what it says");
        let output = child.wait_with_output().expect("wait for isoplan");
        assert_eq!(output.status.code(), Some(0), "{said}");
        assert_eq!(state(&host), (None, ["2", "0"].map(str::to_owned)), "{said}");
        assert!(!journal_file(&isoplan).exists());
    });
}

/// A journal of some kind: what it is, what is said about it, and how it is made.
type Case<'a> = (&'a str, &'a str, Box<dyn Fn() + 'a>);

/// A journal was read whatever kind of file it was, and its values went to `/proc/sys` as they were.
#[test]
fn a_journal_that_is_not_isoplans_own_is_refused() {
    in_namespace(|| {
        let (host, isoplan) = start();
        // One that hangs is ended, and seen by its exit code.
        let limited = Program::new("timeout").expect("make a directory");
        for file in ["topology.toml", "both.toml"] {
            fs::copy(isoplan.directory().join(file), limited.directory().join(file)).expect("copy a file");
        }
        let run = |verb: &[&str]| limited.run(&[&["10", ISOPLAN], verb].concat());
        run(&["apply", "topology.toml", "--yes"]).ok();
        let path = journal_file(&limited);
        let good = fs::read_to_string(&path).expect("read the journal");
        let elsewhere = limited.directory().join("elsewhere.json");
        fs::write(&elsewhere, &good).expect("write a file");
        let applied = state(&host);
        let with = |key: &str, original: &str, written: &str| {
            let mut journal: Value = serde_json::from_str(&good).expect("JSON");
            journal["sysctls"] = json!([{ "key": key, "original": original, "written": written }]);
            journal.to_string()
        };

        let not_plain = "it is not a plain file that you own and nobody else can write";
        let mut cases: Vec<Case<'_>> = vec![
            (
                "a FIFO",
                not_plain,
                Box::new(|| mkfifo(&path, Mode::from_bits_truncate(0o600)).expect("mkfifo")),
            ),
            ("a symlink", "symbolic link", Box::new(|| symlink(&elsewhere, &path).expect("symlink"))),
            ("a directory", not_plain, Box::new(|| fs::create_dir(&path).expect("make a directory"))),
        ];
        for mode in [0o620, 0o602, 0o666] {
            let (path, good) = (&path, &good);
            cases.push((
                "writable by others",
                not_plain,
                Box::new(move || {
                    fs::write(path, good).expect("write a journal");
                    fs::set_permissions(path, Permissions::from_mode(mode)).expect("open it to others");
                }),
            ));
        }
        let values = [
            ("", "1"),
            ("0\n1", "1"),
            ("off", "1"),
            ("--1", "1"),
            ("\u{1b}[2J", "1"),
            ("0", "1 2"),
            ("00000000000", "1"),
        ];
        for (original, written) in values {
            let (path, text) = (&path, with(IP_FORWARD, original, written));
            let write = move || fs::write(path, &text).expect("write a journal");
            cases.push(("not a number", "are not numbers", Box::new(write)));
        }
        for key in ["kernel/core_pattern", "net/ipv4/conf/all/forwarding", "net/ipv4/conf/eth1/rp_filter"] {
            let (path, text) = (&path, with(key, "0", "1"));
            let write = move || fs::write(path, &text).expect("write a journal");
            cases.push((key, "is not a sysctl that isoplan writes", Box::new(write)));
        }
        let clear = || match fs::symlink_metadata(&path) {
            Ok(metadata) if metadata.is_dir() => fs::remove_dir(&path).expect("remove"),
            _ => fs::remove_file(&path).expect("remove"),
        };
        let verbs: [&[&str]; 4] =
            [&["plan", "topology.toml"], &["status"], &["apply", "both.toml", "--yes"], &["remove", "--yes"]];
        for (what, says, make) in &cases {
            clear();
            make();
            for verb in verbs {
                let ran = run(verb);
                assert_eq!((ran.code, ran.stdout.as_str()), (Some(1), ""), "{what}: {ran}");
                assert!(ran.stderr.contains(says), "{what}: {ran}");
                assert!(!ran.stderr.contains('\u{1b}'), "{what}: {ran}");
                assert_eq!(state(&host), applied, "{what}: {ran}");
            }
        }
        assert_eq!(fs::read_to_string(&elsewhere).expect("read a file"), good);
        // With its own journal back it knows again what there was.
        clear();
        fs::write(&path, &good).expect("write the journal");
        fs::set_permissions(&path, Permissions::from_mode(0o600)).expect("close it");
        run(&["remove", "--yes"]).ok();
        assert_eq!(state(&host), (None, ["0", "0"].map(str::to_owned)));
    });
}
