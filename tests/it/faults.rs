//! Faults, each made for real: what is left is the old state or the new one, and the message says which.

use std::fs;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use nix::mount::{MsFlags, mount, umount};

use crate::confirm::{until, watchers};
use crate::lab::{Program, Ran, in_namespace};
use crate::rollback::{everything, host};

/// It failed, and says that nothing was changed.
#[track_caller]
fn failed(ran: &Ran) {
    assert!(![Some(0), None].contains(&ran.code), "{ran}");
    assert!(ran.stderr.contains("nothing was changed") || ran.stderr.contains("was undone"), "{ran}");
}

/// The directory with the state of this namespace.
fn state_of(isoplan: &Program) -> PathBuf {
    let base = isoplan.directory().join("state");
    let mut found = fs::read_dir(base).expect("list the state").flatten();
    found.next().expect("a state directory").path()
}

fn read_only(path: &Path) {
    let none = None::<&str>;
    mount(Some(path), path, none, MsFlags::MS_BIND, none).expect("bind");
    let flags = MsFlags::MS_BIND | MsFlags::MS_REMOUNT | MsFlags::MS_RDONLY;
    mount(none, path, none, flags, none).expect("make it read-only");
}

/// Every change is refused, and one that waits to be confirmed is undone all the same.
fn without_a_state_directory(break_it: impl Fn(&Path), mend_it: impl Fn(&Path)) {
    let (host, isoplan) = host();
    let none = everything(&host);
    isoplan.run(&["apply", "a.toml", "--yes"]).ok();
    let state = state_of(&isoplan);
    let before = everything(&host);
    break_it(&state);
    for change in [
        &["apply", "b.toml", "--yes"][..],
        &["apply", "b.toml", "--yes", "--confirm-within", "1h"],
        &["remove", "--yes"],
        &["rollback", "--yes"],
    ] {
        let ran = isoplan.run(change);
        assert_eq!(ran.code, Some(1), "{ran}");
        assert!(ran.stderr.contains("state directory"), "{ran}");
        assert_eq!(everything(&host), before, "{ran}");
    }
    assert_eq!(watchers(), [0; 0]);
    mend_it(&state);
    isoplan.run(&["rollback", "--yes"]).ok();
    assert_eq!(everything(&host), none);

    isoplan.run(&["apply", "a.toml", "--yes", "--confirm-within", "2s"]).ok();
    break_it(&state);
    until("undone", Duration::from_secs(30), || watchers().is_empty());
    assert_eq!(everything(&host), none);
    mend_it(&state);
}

#[test]
fn a_read_only_state_directory() {
    in_namespace(|| without_a_state_directory(read_only, |state| umount(state).expect("unmount")));
}

#[test]
fn a_full_state_directory() {
    in_namespace(|| {
        without_a_state_directory(
            |state| {
                // As large as what is in it, so that nothing more fits.
                let copy = state.with_extension("copy");
                fs::rename(state, &copy).expect("move");
                fs::create_dir(state).expect("make a directory");
                mount(Some("tmpfs"), state, Some("tmpfs"), MsFlags::empty(), Some("size=1m,mode=700"))
                    .expect("mount");
                for file in fs::read_dir(&copy).expect("list").flatten() {
                    fs::copy(file.path(), state.join(file.file_name())).expect("copy");
                }
                let filler = fs::write(state.join("filler"), vec![1; 2 << 20]);
                assert!(filler.is_err(), "it is full");
            },
            |state| {
                umount(state)
                    .or_else(|_| nix::mount::umount2(state, nix::mount::MntFlags::MNT_DETACH))
                    .expect("unmount");
                fs::remove_dir(state).expect("remove");
                fs::rename(state.with_extension("copy"), state).expect("move back");
            },
        );
    });
}

#[test]
fn a_sysctl_that_refuses() {
    in_namespace(|| {
        let (host, isoplan) = host();
        let none = everything(&host);
        let key = Path::new("/proc/sys/net/ipv6/conf/all/forwarding");
        read_only(key);
        failed(&isoplan.run(&["apply", "a.toml", "--yes"]));
        assert_eq!(everything(&host), none);
        umount(key).expect("unmount");
        isoplan.run(&["apply", "a.toml", "--yes"]).ok();
        let applied = everything(&host);
        read_only(key);
        for change in ["rollback", "remove"] {
            failed(&isoplan.run(&[change, "--yes"]));
            assert_eq!(everything(&host), applied);
        }
        umount(key).expect("unmount");
        isoplan.run(&["rollback", "--yes"]).ok();
        assert_eq!(everything(&host), none);
    });
}

#[test]
fn without_the_privilege() {
    in_namespace(|| {
        let (host, isoplan) = host();
        isoplan.run(&["apply", "a.toml", "--yes"]).ok();
        let applied = everything(&host);
        for change in
            [&["apply", "b.toml", "--yes"][..], &["rollback", "--yes"], &["confirm"], &["remove", "--yes"]]
        {
            let template = isoplan.command(change);
            let mut dropped = Command::new("setpriv");
            dropped
                .args(["--bounding-set=-net_admin", "--inh-caps=-net_admin"])
                .arg(template.get_program())
                .args(change);
            dropped
                .current_dir(isoplan.directory())
                .env("ISOPLAN_STATE_DIR", isoplan.directory().join("state"));
            let output = dropped.output().expect("run setpriv");
            let said = String::from_utf8_lossy(&output.stderr);
            assert_eq!(output.status.code(), Some(77), "{change:?}: {said}");
            assert_eq!(everything(&host), applied);
        }
    });
}

/// Somebody else commits all the time.
#[test]
fn a_rule_set_that_keeps_moving() {
    in_namespace(|| {
        let (host, isoplan) = host();
        let looks = |host| crate::live::listing(host);
        let none = looks(&host);
        isoplan.run(&["apply", "a.toml", "--yes"]).ok();
        let applied = looks(&host);
        let stop = AtomicBool::new(false);
        thread::scope(|scope| {
            for name in ["one", "two"] {
                let (stop, host) = (&stop, &host);
                scope.spawn(move || {
                    while !stop.load(Ordering::Relaxed) {
                        host.nft(&["add", "table", "ip", name]).expect("add a table");
                        host.nft(&["delete", "table", "ip", name]).expect("delete a table");
                    }
                });
            }
            let mut now = applied.clone();
            for _ in 0..10 {
                let to_none = now.is_some();
                let ran = if to_none {
                    isoplan.run(&["remove", "--yes"])
                } else {
                    isoplan.run(&["rollback", "--yes"])
                };
                let expected = if to_none { &none } else { &applied };
                match ran.code {
                    Some(0) => now.clone_from(expected),
                    _ => assert!(
                        ran.stderr.contains("nothing was changed") || ran.stderr.contains("cannot read"),
                        "{ran}"
                    ),
                }
                assert_eq!(looks(&host), now, "{ran}");
            }
            stop.store(true, Ordering::Relaxed);
        });
    });
}

/// A record or journal that is not what isoplan wrote is refused, and names the file.
#[test]
fn broken_records() {
    in_namespace(|| {
        let (host, isoplan) = host();
        isoplan.run(&["apply", "a.toml", "--yes"]).ok();
        isoplan.run(&["apply", "b.toml", "--yes"]).ok();
        let before = everything(&host);
        let state = state_of(&isoplan);
        let files: Vec<PathBuf> =
            fs::read_dir(&state).expect("list").flatten().map(|file| file.path()).collect();
        let files: Vec<PathBuf> = files.into_iter().filter(|path| path.extension().is_some()).collect();
        assert_eq!(files.len(), 5, "{files:?}");
        for file in &files {
            let bytes = fs::read(file).expect("read");
            // Elements are bytes, each of which stands here for a character of its own.
            let good: String = bytes.iter().map(|byte| char::from(*byte)).collect();
            let is_elements = file.extension().is_some_and(|extension| extension == "bin");
            let name = file.file_name().and_then(|name| name.to_str()).expect("a name");
            let mut broken: Vec<(&str, String)> = vec![
                ("empty", String::new()),
                ("half", good.chars().take(bytes.len() / 2).collect()),
                ("garbage", "\0\u{1b}[2J{}".to_owned()),
            ];
            if is_elements {
                broken.push(("another version", good.replacen("isoelems\u{1}", "isoelems\u{63}", 1)));
                broken.push(("more than it was", format!("{good}\0")));
                let flipped = bytes.iter().enumerate().map(|(place, byte)| match place {
                    _ if place == bytes.len() / 2 => char::from(byte ^ 4),
                    _ => char::from(*byte),
                });
                broken.push(("a bit flipped", flipped.collect()));
            } else {
                for (what, with) in
                    [("another version", "99"), ("a field that is not known", "1, \"more\": 1")]
                {
                    let version = if name.starts_with("before") { "2" } else { "1" };
                    let with = with.replacen('1', version, 1);
                    let (old, new) = (format!("\"version\": {version}"), format!("\"version\": {with}"));
                    broken.push((what, good.replacen(&old, &new, 1)));
                }
            }
            if good.contains("net/ipv4/ip_forward") {
                broken.push((
                    "somebody else's sysctl",
                    good.replace("net/ipv4/ip_forward", "kernel/core_pattern"),
                ));
            }
            for (what, text) in broken {
                assert_ne!(text, good, "{what}");
                let text: Vec<u8> = text.chars().map(|c| u8::try_from(c).expect("a byte")).collect();
                fs::write(file, text).expect("write");
                let ran = isoplan.run(&["rollback", "--yes"]);
                assert_eq!(ran.code, Some(1), "{name}, {what}: {ran}");
                assert!(ran.stderr.contains(name) && !ran.stderr.contains('\u{1b}'), "{name}, {what}: {ran}");
                if what == "another version" {
                    assert!(ran.stderr.contains("99"), "{ran}");
                }
                assert_eq!(everything(&host), before, "{name}, {what}");
                if !name.starts_with("before") && !is_elements {
                    let ran = isoplan.run(&["apply", "a.toml", "--yes"]);
                    assert_eq!(ran.code, Some(1), "{name}, {what}: {ran}");
                    assert_eq!(everything(&host), before, "{name}, {what}");
                }
            }
            // In a directory that others could write to, a link could lead anywhere.
            let aside = isoplan.directory().join("aside");
            fs::write(&aside, &bytes).expect("write");
            fs::remove_file(file).expect("remove");
            symlink(&aside, file).expect("link");
            assert_eq!(isoplan.run(&["rollback", "--yes"]).code, Some(1), "{name}");
            fs::remove_file(file).expect("remove");
            fs::write(file, &bytes).expect("write");
            fs::set_permissions(file, fs::Permissions::from_mode(0o666)).expect("chmod");
            assert_eq!(isoplan.run(&["rollback", "--yes"]).code, Some(1), "{name}");
            fs::set_permissions(file, fs::Permissions::from_mode(0o600)).expect("chmod");
        }
        assert_eq!(everything(&host), before);
        isoplan.run(&["rollback", "--yes"]).ok();
        assert_ne!(everything(&host), before);
    });
}

/// With the sysctl approach there has to be an interface to write to.
#[test]
fn an_interface_that_vanishes() {
    in_namespace(|| {
        let (host, isoplan) = host();
        let none = crate::live::listing(&host);
        isoplan.run(&["plan", "-o", "plan.json", "sysctl.toml"]).ok();
        host.ip("link del eth1\n").expect("delete a link");
        let before = everything(&host);
        let ran = isoplan.run(&["apply", "plan.json", "--yes"]);
        assert_eq!(ran.code, Some(1), "{ran}");
        assert!(ran.stderr.contains("nothing was changed"), "{ran}");
        assert_eq!(everything(&host), before);

        // What is gone by the time of the rollback has nothing to be brought back.
        host.ip("link add eth1 type veth peer name eth1p\n").expect("make a link");
        isoplan.run(&["apply", "sysctl.toml", "--yes"]).ok();
        host.ip("link del eth1\n").expect("delete a link");
        isoplan.run(&["rollback", "--yes"]).ok();
        assert_eq!(crate::live::listing(&host), none);
        assert_eq!(everything(&host), before);
    });
}
