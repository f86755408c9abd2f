//! `apply --confirm-within` and `confirm`: a change that nobody confirms is undone, whatever happens to those
//! who made it.

use std::fs;
use std::os::unix::process::CommandExt as _;
use std::process::Stdio;
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::ISOPLAN;
use crate::lab::node::Node;
use crate::lab::terminal::Terminal;
use crate::lab::{HostSpec, Privilege, Program, in_namespace, in_namespace_with};
use crate::rollback::{everything, host};

/// Waits until it is so.
#[track_caller]
pub(crate) fn until(what: &str, limit: Duration, mut is_so: impl FnMut() -> bool) {
    let started = Instant::now();
    while !is_so() {
        assert!(started.elapsed() < limit, "{what}: not within {limit:?}");
        thread::sleep(Duration::from_millis(10));
    }
}

const LIMIT: Duration = Duration::from_secs(30);

/// The processes that wait to undo a change.
pub(crate) fn watchers() -> Vec<i32> {
    let mut found = Vec::new();
    for entry in fs::read_dir("/proc").expect("list /proc").flatten() {
        let Some(pid) = entry.file_name().to_str().and_then(|name| name.parse().ok()) else { continue };
        let command = fs::read_to_string(entry.path().join("cmdline")).unwrap_or_default();
        if command.contains("confirm-stage\0wait\0") {
            found.push(pid);
        }
    }
    found
}

#[test]
fn undone_when_nobody_confirms() {
    in_namespace(|| {
        let (host, isoplan) = host();
        let before = everything(&host);
        let ran = isoplan.run(&["apply", "a.toml", "--yes", "--confirm-within", "1h"]);
        assert!(ran.clone().ok().contains("isoplan confirm"), "{ran}");
        let applied = everything(&host);
        assert_ne!(applied, before);

        // Nobody makes another change meanwhile.
        for other in [
            &["apply", "b.toml", "--yes"][..],
            &["apply", "b.toml", "--yes", "--confirm-within", "9s"],
            &["remove", "--yes"],
        ] {
            let ran = isoplan.run(other);
            assert_eq!(ran.code, Some(1), "{ran}");
            assert!(
                ran.stderr.contains("waits to be confirmed") && ran.stderr.contains("isoplan confirm"),
                "{ran}"
            );
            assert_eq!(everything(&host), applied);
        }
        isoplan.run(&["rollback", "--yes"]).ok();
        assert_eq!(everything(&host), before);

        let ran = isoplan.run(&["apply", "a.toml", "--yes", "--confirm-within", "2s"]);
        assert!(ran.clone().ok().contains("Applied and read back"), "{ran}");
        until("undone", LIMIT, || watchers().is_empty());
        assert_eq!(everything(&host), before);
        // Nobody confirms it behind that, and is told so each time.
        for _ in 0..2 {
            let late = isoplan.run(&["confirm"]);
            assert_eq!(late.code, Some(4), "{late}");
            assert!(late.stderr.contains("it was rolled back"), "{late}");
        }
        isoplan.run(&["apply", "b.toml", "--yes"]).ok();
        assert_eq!(isoplan.run(&["confirm"]).code, Some(1));
    });
}

#[test]
fn kept_when_confirmed() {
    in_namespace(|| {
        let (host, isoplan) = host();
        let before = everything(&host);
        isoplan.run(&["apply", "a.toml", "--yes", "--confirm-within", "1h"]).ok();
        let applied = everything(&host);
        assert_eq!(watchers().len(), 1);
        let confirm = isoplan.run(&["confirm", "--json"]);
        assert_eq!((confirm.code, &confirm.json()["confirmed"]), (Some(0), &true.into()), "{confirm}");
        until("the watcher goes", LIMIT, || watchers().is_empty());
        assert_eq!(everything(&host), applied);
        // It can still be undone, by hand.
        isoplan.run(&["rollback", "--yes"]).ok();
        assert_eq!(everything(&host), before);

        // And before its time is over.
        isoplan.run(&["apply", "b.toml", "--yes", "--confirm-within", "1h"]).ok();
        isoplan.run(&["rollback", "--yes"]).ok();
        assert_eq!(everything(&host), before);
        until("the watcher goes", LIMIT, || watchers().is_empty());
        assert_eq!(isoplan.run(&["confirm"]).code, Some(1), "nothing waits any more");
    });
}

/// Whoever made the change is gone with terminal, session and process group, and the watcher is sent every
/// signal that can be blocked.
#[test]
fn the_watcher_outlives_those_who_started_it() {
    in_namespace(|| {
        let (host, isoplan) = host();
        let before = everything(&host);
        let mut apply = isoplan.command(&["apply", "a.toml", "--yes", "--confirm-within", "3s"]);
        // A group of its own, to be killed whole.
        let mut child = apply
            .process_group(0)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("start isoplan");
        let group = Pid::from_raw(-i32::try_from(child.id()).expect("a pid"));
        let output = |pid: &i32| fs::read_link(format!("/proc/{pid}/fd/1")).unwrap_or_default();
        until("a watcher", LIMIT, || watchers().first().is_some_and(|pid| output(pid).ends_with("null")));
        // The change may be made by now or not: then the watcher finds that there is nothing to undo.
        for signal in [Signal::SIGHUP, Signal::SIGTERM, Signal::SIGKILL] {
            let _ = kill(group, signal);
        }
        child.wait().expect("wait for isoplan");
        let watcher = watchers()[0];
        let status = fs::read_to_string(format!("/proc/{watcher}/stat")).expect("read the watcher's state");
        let fields: Vec<&str> = status.rsplit(") ").next().unwrap_or_default().split(' ').collect();
        let (parent, group, session) = (fields[1], fields[2], fields[3]);
        let own = nix::unistd::getsid(None).expect("this session").to_string();
        assert_eq!(parent, "1", "the child of nobody");
        assert_eq!(group, session, "in a session that nobody else is in");
        assert_ne!(session, own);
        let link = |name: &str| fs::read_link(format!("/proc/{watcher}/{name}")).expect("read a link");
        assert_eq!(link("cwd").to_str(), Some("/"));
        for descriptor in 0..3 {
            assert_eq!(link(&format!("fd/{descriptor}")).to_str(), Some("/dev/null"));
        }
        for signal in Signal::iterator().filter(|signal| ![Signal::SIGKILL, Signal::SIGSTOP].contains(signal))
        {
            kill(Pid::from_raw(watcher), signal).expect("send a signal");
        }
        assert_eq!(watchers(), [watcher]);
        until("undone", LIMIT, || watchers().is_empty());
        assert_eq!(everything(&host), before);
    });
}

/// The watcher waits by the clock that nobody can set, for a fixed moment of it, and for nothing else but the
/// state directory: `fdinfo` of proc(5) shows what a timer was made with.
#[test]
fn no_clock_that_can_be_set_is_asked() {
    in_namespace(|| {
        let (_, isoplan) = host();
        isoplan.run(&["apply", "a.toml", "--yes", "--confirm-within", "1h"]).ok();
        let watcher = watchers()[0];
        let mut timers = Vec::new();
        for entry in fs::read_dir(format!("/proc/{watcher}/fdinfo")).expect("list descriptors").flatten() {
            let text = fs::read_to_string(entry.path()).unwrap_or_default();
            if text.contains("clockid:") {
                timers.push(text);
            }
        }
        assert_eq!(timers.len(), 1, "{timers:?}");
        // CLOCK_BOOTTIME, TFD_TIMER_ABSTIME, once.
        for line in ["clockid: 7\n", "settime flags: 01\n", "it_interval: (0, 0)\n"] {
            assert!(timers[0].contains(line), "{line} {}", timers[0]);
        }
        isoplan.run(&["rollback", "--yes"]).ok();
    });
}

/// The same policy once more is no other change: it repairs, and to undo it still leads back to what was before.
#[test]
fn what_waits_is_put_in_place_again() {
    in_namespace(|| {
        let (host, isoplan) = host();
        let before = everything(&host);
        let policy = || host.nft(&["list", "table", "inet", "isoplan"]);
        let apply = ["apply", "a.toml", "--yes", "--confirm-within", "1h"];
        isoplan.run(&apply).ok();
        let applied = policy().expect("list");
        let ran = isoplan.run(&["apply", "a.toml", "--yes"]);
        let said = ran.clone().ok().replace('\n', " ");
        assert!(said.contains("nothing to do") && said.contains("waits to be confirmed"), "{ran}");
        assert!(said.contains("undone in"), "{ran}");
        for verb in [&["plan", "a.toml", "--json"][..], &["apply", "a.toml", "--yes", "--json"]] {
            let json = isoplan.run(verb).json();
            assert_eq!(json["pending"]["of"], "a.toml", "{json}");
            assert_eq!(json["pending"]["overdue"], false, "{json}");
        }
        for json in [false, true] {
            host.nft_load("delete table inet isoplan").expect("delete it");
            let other = isoplan.run(&["apply", "b.toml", "--yes"]);
            assert_eq!(other.code, Some(1), "{other}");
            assert!(other.stdout.is_empty(), "refused before the plan: {other}");
            assert!(policy().is_err(), "{other}");
            if json {
                let again = isoplan.run(&["apply", "a.toml", "--yes", "--json"]);
                let said = again.json();
                assert_eq!(
                    (said["applied"].as_bool(), &said["pending"]["of"]),
                    (Some(true), &"a.toml".into())
                );
            } else {
                let again = isoplan.run(&["apply", "a.toml", "--yes"]);
                let said = again.clone().ok().replace('\n', " ");
                assert!(said.contains("waits to be confirmed"), "{again}");
            }
            assert_eq!(policy().expect("list"), applied);
        }
        assert_eq!(watchers().len(), 1);
        let back = isoplan.run(&["rollback", "--yes"]);
        let said = back.clone().ok().replace('\n', " ");
        assert!(said.contains("it was not there before"), "{back}");
        assert!(!said.contains("asks for it"), "{back}");
        assert_eq!(everything(&host), before);

        // Kept, and not there any more: both are said.
        isoplan.run(&apply).ok();
        host.nft_load("delete table inet isoplan").expect("delete it");
        let confirm = isoplan.run(&["confirm"]);
        assert_eq!(confirm.code, Some(2), "{confirm}");
        let said = confirm.stderr.replace('\n', " ");
        assert!(said.contains("kept, but it is not in place"), "{confirm}");
        assert!(said.contains("isoplan apply a.toml"), "{confirm}");
        isoplan.run(&["apply", "a.toml", "--yes"]).ok();
        assert_eq!(isoplan.run(&["confirm"]).code, Some(1), "it was kept");
        isoplan.run(&["remove", "--yes"]).ok();
        assert_eq!(everything(&host), before);
    });
}

#[test]
fn a_time_is_a_number_and_a_unit() {
    in_namespace(|| {
        let (host, isoplan) = host();
        let before = everything(&host);
        for time in [
            "-5s",
            "5",
            "s",
            "0s",
            "1d",
            "25h",
            "1.5h",
            "1m30s",
            "90 s",
            "500ms",
            "",
            "99999999999999999999h",
        ] {
            let ran = isoplan.run(&["apply", "a.toml", "--yes", "--confirm-within", time]);
            assert_eq!(ran.code, Some(64), "{ran}");
            assert!(ran.stderr.contains("90s, 5m, 1h; from 1s to 24h"), "{ran}");
        }
        assert_eq!(everything(&host), before);
        let nothing = isoplan.run(&["rollback", "--yes"]);
        assert_eq!(nothing.clone().ok(), "There is nothing to undo.\n", "{nothing}");
    });
}

/// A watcher that was killed leaves a change that is overdue: it is told, and undone by the next who asks.
#[test]
fn overdue_without_a_watcher() {
    in_namespace(|| {
        let (host, isoplan) = host();
        let before = everything(&host);
        for how in ["confirm", "rollback"] {
            isoplan.run(&["apply", "a.toml", "--yes", "--confirm-within", "1s"]).ok();
            for watcher in watchers() {
                kill(Pid::from_raw(watcher), Signal::SIGKILL).expect("kill the watcher");
            }
            until("overdue", LIMIT, || isoplan.run(&["status", "a.toml"]).stdout.contains("Overdue: "));
            let other = isoplan.run(&["apply", "b.toml", "--yes"]);
            assert!(other.code == Some(1) && other.stderr.contains("isoplan rollback"), "{other}");
            assert_ne!(everything(&host), before, "nobody was there to undo it");
            let status = isoplan.run(&["status", "a.toml"]);
            assert_eq!(status.code, Some(2), "{status}");
            assert!(status.stdout.replace('\n', " ").contains("nothing is undoing it"), "{status}");
            let metrics = isoplan.run(&["status", "a.toml", "--format", "prometheus"]).stdout;
            assert!(metrics.contains("\nisoplan_pending_confirmation_overdue 1\n"), "{metrics}");
            let (ran, code) = match how {
                "confirm" => (isoplan.run(&["confirm"]), 4),
                _ => (isoplan.run(&["rollback", "--yes"]), 0),
            };
            assert_eq!(ran.code, Some(code), "{ran}");
            assert_eq!(everything(&host), before);
        }
    });
}

/// `confirm` and the watcher at the same moment: one of them has decided, and both say so.
#[test]
fn confirm_and_the_watcher_race() {
    in_namespace_with(Privilege::RootIfPossible, || {
        const HOSTS: usize = 10;
        const ROUNDS: usize = 12;
        /// Milliseconds between two hosts of a round, and by how much the next one is moved.
        const STEP: u64 = 8;
        const MOVE: u64 = 60;
        let (mut kept, mut undone) = (0, 0);
        let mut first = 960;
        for round in 0..ROUNDS {
            let host = |index: usize| {
                let number = round * HOSTS + index;
                let node = Node::create(&format!("h{number}"), number).expect("make a namespace");
                let isoplan = Program::new(ISOPLAN).expect("make a directory");
                isoplan
                    .write("a.toml", &HostSpec::service_instance().bare().topology())
                    .expect("write a file");
                let moment = Duration::from_millis(first + index as u64 * STEP);
                node.enter(|| race(&node, &isoplan, moment))
            };
            let host = &host;
            let outcomes: Vec<bool> = thread::scope(|scope| {
                let hosts: Vec<_> = (0..HOSTS).map(|index| scope.spawn(move || host(index))).collect();
                hosts.into_iter().map(|host| host.join().expect("a race")).collect()
            });
            let now_kept = outcomes.iter().filter(|was_kept| **was_kept).count();
            (kept, undone) = (kept + now_kept, undone + HOSTS - now_kept);
            if kept > 0 && undone > 0 {
                break;
            }
            // All were before the moment, or all behind it: how long an apply takes moves it.
            first = if undone == 0 { first + MOVE } else { first - MOVE };
        }
        eprintln!("{kept} kept, {undone} undone");
        assert!(kept > 0 && undone > 0, "{kept} kept, {undone} undone");
    });
}

/// Whether the change was kept.
fn race(node: &Node, isoplan: &Program, moment: Duration) -> bool {
    let started = Instant::now();
    let look = || {
        (
            node.nft(&["list", "ruleset"]).expect("list"),
            node.read_sysctl("net/ipv4/ip_forward").expect("read"),
        )
    };
    let before = look();
    isoplan.run(&["apply", "a.toml", "--yes", "--confirm-within", "1s"]).ok();
    let applied = look();
    assert_ne!(applied, before);
    thread::sleep((started + moment).saturating_duration_since(Instant::now()));
    let both: Vec<_> = thread::scope(|scope| {
        let one = scope.spawn(|| isoplan.run(&["confirm"]));
        let two = scope.spawn(|| isoplan.run(&["confirm"]));
        [one, two].into_iter().map(|ran| ran.join().expect("confirm")).collect()
    });
    let codes: Vec<_> = both.iter().map(|ran| ran.code).collect();
    let is_kept = codes.contains(&Some(0));
    if is_kept {
        assert!(codes.contains(&Some(1)), "{both:?}");
        assert_eq!(look(), applied);
    } else {
        assert_eq!(codes, [Some(4), Some(4)], "{both:?}");
        until("undone", LIMIT, || look() == before);
    }
    is_kept
}

/// On a terminal `apply` stays and asks.
#[test]
fn asked_on_a_terminal() {
    in_namespace(|| {
        let (host, isoplan) = host();
        let before = everything(&host);
        // Waits for each question, and answers.
        let typed = |answers: &[(&str, &str)], window: &str| {
            let args = ["apply", "a.toml", "--confirm-within", window];
            let mut terminal = Terminal::start(&isoplan, &[], &args);
            for (question, answer) in answers {
                terminal.shows(question);
                match *answer {
                    "rollback" => drop(isoplan.run(&["rollback", "--yes"]).ok()),
                    keys => terminal.types(keys),
                }
            }
            let (status, shown) = terminal.ends_saying();
            (status.code(), shown)
        };
        let (code, shown) = typed(&[("Apply this?", "y\n"), ("Keep this change?", "y\n")], "1h");
        assert_eq!(code, Some(0), "{shown}");
        assert!(shown.contains("Kept: "), "{shown}");
        isoplan.run(&["rollback", "--yes"]).ok();
        assert_eq!(everything(&host), before);
        let (code, shown) = typed(&[("Apply this?", "y\n"), ("Keep this change?", "n\n")], "1h");
        assert_eq!(code, Some(4), "{shown}");
        assert_eq!(everything(&host), before);
        let (code, shown) = typed(&[("Apply this?", "y\n")], "2s");
        assert_eq!(code, Some(4), "{shown}");
        assert!(shown.contains("not confirmed in time"), "{shown}");
        assert!(!shown.contains("Another isoplan"), "{shown}");
        assert_eq!(everything(&host), before);
        // Enter alone decides nothing.
        let answers = [("Apply this?", "y\n"), ("Keep this change?", "\n"), ("Please answer", "no\n")];
        let (code, shown) = typed(&answers, "1h");
        assert_eq!(code, Some(4), "{shown}");
        assert_eq!(everything(&host), before);
        // Undone from elsewhere.
        let (code, shown) = typed(&[("Apply this?", "y\n"), ("Keep this change?", "rollback")], "1h");
        assert_eq!(code, Some(4), "{shown}");
        assert!(shown.contains("rolled back by somebody") && !shown.contains("in time"), "{shown}");
        assert_eq!(everything(&host), before);
        // Ctrl-C leaves it waiting.
        let (code, shown) = typed(&[("Apply this?", "y\n"), ("Keep this change?", "\u{3}")], "1h");
        assert_eq!(code, Some(1), "{shown}");
        assert!(shown.contains("waits to be confirmed") && shown.contains("isoplan confirm"), "{shown}");
        isoplan.run(&["confirm"]).ok();
    });
}
