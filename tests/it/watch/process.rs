//! The daemon as a process: signals, the service manager, privilege, what it takes.

use std::collections::BTreeSet;
use std::fs;
use std::io::{BufRead as _, BufReader};
use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use nix::unistd::{SysconfVar, sysconf};

use super::{LIMIT, SECOND, Watch, bare, topology, until};
use crate::ISOPLAN;
use crate::lab::{Privilege, in_namespace, in_namespace_with};
use crate::live::{forwarding, listing, rules};

/// The file with one bridge more.
fn with_more() -> String {
    format!("[[bridge]]\nname = \"br-more\"\nsubnets = [\"172.19.0.0/16\"]\n{}", topology())
}

#[test]
fn sighup_takes_the_file_if_it_is_right_and_nothing_else_does() {
    in_namespace(|| {
        let (host, isoplan) = bare();
        isoplan.write("topology.toml", &with_more()).expect("write a topology");
        isoplan.run(&["apply", "topology.toml", "--yes"]).ok();
        let more = listing(&host);
        isoplan.write("topology.toml", &topology()).expect("write a topology");
        let watch = Watch::start(&isoplan, &[]);
        let policy = listing(&host);
        assert_ne!(more, policy);

        // A change of the file alone is not taken.
        isoplan.write("topology.toml", &with_more()).expect("write a topology");
        let mark = watch.mark();
        rules(&host)[0].delete(&host);
        watch.wait(mark, "repaired");
        assert_eq!(listing(&host), policy);

        // A broken file is refused, and the old one goes on being kept.
        for (text, says) in [("[[bridge]]\nnam = \"docker0\"\n", "line 2"), ("not TOML at all", "line 1")] {
            isoplan.write("topology.toml", text).expect("write a topology");
            let mark = watch.mark();
            watch.signal(Signal::SIGHUP);
            let line = watch.wait(mark, "reload_refused");
            assert!(line["message"].as_str().is_some_and(|text| text.contains(says)), "{line}");
            rules(&host)[0].delete(&host);
            watch.wait(mark, "repaired");
            assert_eq!(listing(&host), policy);
        }
        fs::remove_file(isoplan.directory().join("topology.toml")).expect("remove the file");
        let mark = watch.mark();
        watch.signal(Signal::SIGHUP);
        watch.wait(mark, "reload_refused");

        isoplan.write("topology.toml", &with_more()).expect("write a topology");
        let mark = watch.mark();
        watch.signal(Signal::SIGHUP);
        watch.wait(mark, "reloaded");
        until("the changed file is in place", LIMIT, || listing(&host) == more);
        assert!(watch.end().success());
    });
}

/// The messages of a service manager's socket, one by one.
fn next(socket: &UnixDatagram) -> String {
    let mut buffer = [0; 4096];
    let received = socket.recv(&mut buffer).expect("a message in time");
    String::from_utf8_lossy(&buffer[..received]).into_owned()
}

/// The next message that is neither a status nor a sign of life; those are collected.
fn next_state(socket: &UnixDatagram, others: &mut Vec<String>) -> String {
    loop {
        let message = next(socket);
        if message.starts_with("STATUS=") || message == "WATCHDOG=1" {
            others.push(message);
        } else {
            return message;
        }
    }
}

#[test]
fn the_service_manager_is_told_in_order() {
    in_namespace(|| {
        let (host, isoplan) = bare();
        let path = isoplan.directory().join("notify");
        let named = (UnixDatagram::bind(&path).expect("bind"), path.display().to_string());
        let address = SocketAddr::from_abstract_name(b"isoplan-test").expect("a name");
        let unnamed = (UnixDatagram::bind_addr(&address).expect("bind"), "@isoplan-test".to_owned());
        for (socket, name) in [named, unnamed] {
            socket.set_read_timeout(Some(LIMIT)).expect("set a limit");
            let environment = [("NOTIFY_SOCKET", name.as_str()), ("WATCHDOG_USEC", "200000")];
            let started = Instant::now();
            let watch = Watch::spawn(&isoplan, &[], &environment);
            let mut others = Vec::new();
            assert_eq!(next_state(&socket, &mut others), "READY=1", "{name}");
            assert!(listing(&host).is_some(), "ready means in place");
            assert!(
                others.iter().any(|text| text.starts_with("STATUS=In place: topology.toml")),
                "{others:?}"
            );

            // Signs of life come about every half of the time.
            let mut alive = others.iter().filter(|text| *text == "WATCHDOG=1").count();
            while alive < 5 {
                alive += usize::from(next(&socket) == "WATCHDOG=1");
            }
            let took = started.elapsed();
            assert!(took > Duration::from_millis(300) && took < Duration::from_secs(5), "{took:?}");

            watch.signal(Signal::SIGHUP);
            let reloading = next_state(&socket, &mut others);
            let usec = reloading.strip_prefix("RELOADING=1\nMONOTONIC_USEC=").expect("what systemd wants");
            assert!(usec.parse::<u64>().is_ok_and(|usec| usec > 0), "{reloading}");
            assert_eq!(next_state(&socket, &mut others), "READY=1");

            let mark = watch.mark();
            host.nft_load("delete table inet isoplan").expect("delete the table");
            watch.wait(mark, "repaired");
            watch.signal(Signal::SIGTERM);
            assert_eq!(next_state(&socket, &mut others), "STOPPING=1");
            assert!(others.iter().any(|text| text.contains("repairs")), "{others:?}");
            // What is meant for another process is not taken.
            drop(watch);
            let environment =
                [("NOTIFY_SOCKET", name.as_str()), ("WATCHDOG_USEC", "1000"), ("WATCHDOG_PID", "1")];
            let _watch = Watch::spawn(&isoplan, &[], &environment);
            others.clear();
            assert_eq!(next_state(&socket, &mut others), "READY=1");
            assert!(!others.contains(&"WATCHDOG=1".to_owned()), "{others:?}");
        }
    });
}

#[test]
fn lines_have_a_level_in_front_in_the_journal_alone() {
    in_namespace(|| {
        let (_host, isoplan) = bare();
        // A pipe stands for the journal's socket: what counts is that stdout is what the variable names.
        for is_journal in [true, false] {
            let (reader, writer) = std::io::pipe().expect("make a pipe");
            let status = nix::sys::stat::fstat(&writer).expect("look at it");
            let inode = if is_journal { status.st_ino } else { status.st_ino + 1 };
            let mut command = isoplan.command(&["watch", "topology.toml"]);
            command.env("JOURNAL_STREAM", format!("{}:{inode}", status.st_dev)).stdout(writer);
            let mut child = command.spawn().expect("start isoplan");
            drop(command);
            let mut line = String::new();
            BufReader::new(reader).read_line(&mut line).expect("read a line");
            assert_eq!(line.starts_with("<5>"), is_journal, "{line}");
            child.kill().expect("kill it");
            child.wait().expect("wait for it");
        }
    });
}

#[test]
fn there_is_one_watch_at_a_time() {
    in_namespace(|| {
        let (_host, isoplan) = bare();
        let watch = Watch::start(&isoplan, &[]);
        let second = isoplan.run(&["watch", "topology.toml"]);
        assert_eq!(second.code, Some(1), "{second}");
        assert!(second.stderr.contains("another isoplan watches this host already"), "{second}");
        drop(watch);
        // However it ended.
        assert!(Watch::start(&isoplan, &[]).end().success());
    });
}

#[test]
fn it_needs_cap_net_admin_and_nothing_else() {
    in_namespace(|| {
        let (host, isoplan) = bare();
        let none = isoplan.command(&["watch", "topology.toml"]);
        let with = |set: &str| {
            let mut command = Command::new("setpriv");
            command.args(["--bounding-set", set, "--inh-caps", set, "--no-new-privs", "--"]);
            command.arg(ISOPLAN).args(none.get_args()).current_dir(isoplan.directory()).env_clear();
            command
                .envs(none.get_envs().filter_map(|(name, value)| Some((name, value?))))
                .stdin(Stdio::null());
            command
        };
        let without = with("-all").output().expect("run setpriv");
        let says = String::from_utf8_lossy(&without.stderr).into_owned();
        assert_eq!(without.status.code(), Some(77), "{says}");
        assert!(says.contains("run it as root"), "{says}");
        assert_eq!(listing(&host), None);

        let mut child = with("-all,+net_admin").stdout(Stdio::piped()).spawn().expect("run setpriv");
        let mut lines = BufReader::new(child.stdout.take().expect("it is piped")).lines();
        let mut hears = |text: &str| {
            let found = lines.by_ref().map(|line| line.expect("read")).find(|line| line.contains(text));
            assert!(found.is_some(), "{text}");
        };
        hears("watching topology.toml");
        host.nft_load("flush ruleset").expect("flush");
        hears("repaired in");
        host.sysctl("net/ipv4/ip_forward", "0").expect("write a sysctl");
        hears("ip_forward = 1");
        assert_eq!(forwarding(&host), ["1"; 2]);
        child.kill().expect("kill it");
        child.wait().expect("wait for it");
    });
}

/// The time that a process has spent on a CPU, in ticks: fields 14 and 15 of `/proc/PID/stat` (proc(5)).
fn ticks(pid: nix::unistd::Pid) -> u64 {
    let text = fs::read_to_string(format!("/proc/{pid}/stat")).expect("read the usage");
    let (_, rest) = text.rsplit_once(')').expect("a name in brackets");
    rest.split_whitespace().skip(11).take(2).map(|field| field.parse::<u64>().expect("a number")).sum()
}

#[test]
fn nothing_is_done_while_nothing_happens() {
    const TIME: Duration = Duration::from_secs(4);
    in_namespace(|| {
        let (_host, isoplan) = bare();
        let watch = Watch::start(&isoplan, &[]);
        // The remarks of the start are behind it.
        until("remarks", LIMIT, || watch.count(0, "remark") > 0);
        let before = ticks(watch.pid());
        thread::sleep(TIME);
        let per_second = sysconf(SysconfVar::CLK_TCK).ok().flatten().expect("ticks of a second") as u64;
        let used = Duration::from_millis((ticks(watch.pid()) - before) * 1_000 / per_second);
        let status = fs::read_to_string(format!("/proc/{}/status", watch.pid())).expect("read the status");
        let field =
            |name: &str| status.lines().find(|line| line.starts_with(name)).unwrap_or_default().to_owned();
        eprintln!("{used:?} of CPU in {TIME:?}; {}; {}", field("VmRSS"), field("Threads"));
        assert!(used * 20 < TIME, "{used:?} in {TIME:?}");
        assert!(field("Threads").ends_with("\t1"), "{status}");
        assert_eq!(watch.count(0, "failed"), 0);
    });
}

/// Killed at any moment of a repair it leaves the old state or the new one, and the next one goes on.
#[test]
fn killed_in_a_repair_it_leaves_old_or_new() {
    const ROUNDS: u32 = 40;
    in_namespace(|| {
        let (host, isoplan) = bare();
        let first = Watch::start(&isoplan, &[]);
        let policy = listing(&host);
        let mark = first.mark();
        host.nft_load("flush ruleset").expect("flush");
        let took = first.wait(mark, "repaired")["took_ms"].as_u64().expect("a time");
        let mut limit = Duration::from_millis(took.max(1));
        drop(first);
        let (mut old, mut new, mut looks) = (0_u32, 0_u32, BTreeSet::new());
        for round in 0..ROUNDS {
            let watch = Watch::start(&isoplan, &[]);
            assert_eq!(listing(&host), policy, "round {round}");
            host.nft_load("flush ruleset").expect("flush");
            // From at once to the end of the repair, evenly.
            let after = limit * (round % 20) / 20;
            let started = Instant::now();
            while started.elapsed() < after {
                std::hint::spin_loop();
            }
            drop(watch);
            let look = listing(&host);
            if look.is_none() {
                old += 1;
                limit = limit.mul_f64(1.2);
            } else {
                assert_eq!(look, policy, "round {round}, killed after {after:?}");
                new += 1;
                limit = limit.mul_f64(0.9);
            }
            assert_eq!(forwarding(&host), ["1"; 2], "it was on before, and is the policy's");
            looks.insert(look.is_some());
        }
        eprintln!("killed {ROUNDS} times: {old} times old, {new} times new");
        assert_eq!(looks.len(), 2, "the kills came all too early or all too late");
    });
}

#[test]
fn among_ten_thousand_bridges_a_change_is_repaired() {
    in_namespace_with(Privilege::RootIfPossible, || {
        if !crate::lab::isolate::is_real_root() {
            // Without root's rights `net.core.wmem_max` bounds what can be sent at once.
            return;
        }
        let (host, isoplan) = bare();
        isoplan.write("topology.toml", &crate::scale::topology(10_000)).expect("write a topology");
        let started = Instant::now();
        let watch = Watch::start(&isoplan, &[]);
        eprintln!("in place after {} ms", started.elapsed().as_millis());
        for what in [
            "delete element inet isoplan from_network { \"br-00017\" }",
            "insert rule inet isoplan forward accept",
        ] {
            let mark = watch.mark();
            let started = Instant::now();
            host.nft_load(what).expect("change it");
            let line = watch.wait(mark, "repaired");
            let took = started.elapsed();
            eprintln!(
                "{what}: repaired after {} ms ({} by its own account)",
                took.as_millis(),
                line["took_ms"]
            );
            assert_eq!(line["changes"], 1);
            // A debug build beside other tests; a release build takes a tenth.
            assert!(took < 10 * SECOND, "{took:?}");
        }
        let status = fs::read_to_string(format!("/proc/{}/status", watch.pid())).expect("read the status");
        eprintln!("{}", status.lines().find(|line| line.starts_with("VmHWM")).unwrap_or_default());
    });
}
