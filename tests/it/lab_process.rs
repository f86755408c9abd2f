//! `isoplan lab` as a process: what passes through it, and that nothing is left however it ends.

use std::ffi::OsStr;
use std::fmt::Write as _;
use std::fs::{self};
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::process::ExitStatusExt as _;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use isoplan::approach::Approach;
use isoplan::intent::Intent;
use isoplan::lab::isolate::use_program;
use isoplan::lab::run::{run, run_with_limit};
use isoplan::lab::worker::Job;
use isoplan::topology;
use isoplan::verify::catalogue::{self, Extent};
use isoplan::verify::outcome::{Observation, Outcome};
use isoplan::verify::world::{NodeRole, World};
use nix::errno::Errno;
use nix::sys::signal::{Signal, kill};
use nix::sys::wait::waitpid;
use nix::unistd::Pid;

use crate::ISOPLAN;
use crate::docs::check_json;
use crate::lab::node::{Node, PATH};
use crate::lab::terminal::Terminal;
use crate::lab::{Privilege, Program, in_namespace, in_namespace_with};

/// How long anything may take that is waited for with a limit. Far above what it needs.
const LIMIT: Duration = Duration::from_secs(60);

const TOPOLOGY: &str = include_str!("../../fixtures/service-instance/topology.toml");

/// isoplan in a directory with a topology, in a namespace that has something to be changed.
fn start() -> (Outside, Program) {
    let host = Node::own("host");
    host.ip("link set lo up\nlink add veth0 type veth peer name veth1\naddr add 192.0.2.1/24 dev veth0\n")
        .expect("make a link");
    host.nft_load("table inet t { chain c { type filter hook forward priority 0; drop; }; }\n")
        .expect("load a table");
    let program = Program::new(ISOPLAN).expect("make a directory");
    program.write("topology.toml", TOPOLOGY).expect("write a topology");
    (Outside::look(&host), program)
}

/// What a lab must not change.
#[derive(Debug, PartialEq, Eq)]
struct Outside(String);

impl Outside {
    fn look(host: &Node) -> Self {
        let mut text = String::new();
        for args in [&["-br", "addr"][..], &["rule"], &["route", "show", "table", "all"], &["netns"]] {
            let output = Command::new("ip").args(args).env("PATH", PATH).output().expect("run ip");
            assert!(output.status.success(), "ip {args:?}: {output:?}");
            text += &String::from_utf8_lossy(&output.stdout);
        }
        text += &host.nft(&["list", "ruleset"]).expect("run nft");
        for file in ["/proc/sys/net/ipv4/ip_forward", "/proc/self/mountinfo"] {
            text += &fs::read_to_string(file).expect("read a file");
        }
        list(Path::new("/run"), &mut text);
        Self(text)
    }

    /// Waits for all processes that were left to this one, which is the first of its pid namespace: whoever
    /// loses its parent becomes its child. Then there is no other, and everything else is as before.
    #[track_caller]
    fn is_all_that_is_left(&self) {
        while waitpid(None, None) != Err(Errno::ECHILD) {}
        let names =
            fs::read_dir("/proc").expect("list processes").map(|entry| entry.expect("a name").file_name());
        let others: Vec<String> = names
            .filter_map(|name| name.to_str()?.parse::<u32>().ok())
            .filter(|pid| *pid != std::process::id())
            .map(|pid| fs::read_to_string(format!("/proc/{pid}/cmdline")).unwrap_or_default())
            .collect();
        assert!(others.is_empty(), "left behind: {others:?}");
        assert_eq!(*self, Self::look(&Node::own("host")));
    }
}

/// The paths below a directory.
fn list(directory: &Path, text: &mut String) {
    let entries = fs::read_dir(directory).expect("list a directory");
    let mut paths: Vec<_> = entries.map(|entry| entry.expect("list a directory").path()).collect();
    paths.sort();
    for path in paths {
        writeln!(text, "{}", path.display()).expect("write to a string");
        // What the test itself writes.
        let is_own = path.file_name().is_some_and(|name| name.as_bytes().starts_with(b".tmp"));
        if path.is_dir() && !path.is_symlink() && !is_own {
            list(&path, text);
        }
    }
}

/// A lab whose command has started, and waits.
fn waiting(program: &Program) -> (Child, BufReader<std::process::ChildStdout>) {
    let args = ["lab", "topology.toml", "--", "sh", "-c", "setsid sleep 1000 & echo ready; exec sleep 1000"];
    let mut child = program.command(&args).stdout(Stdio::piped()).spawn().expect("start isoplan");
    let mut stdout = BufReader::new(child.stdout.take().expect("a pipe"));
    let mut line = String::new();
    stdout.read_line(&mut line).expect("hear the command");
    assert_eq!(line, "ready\n");
    (child, stdout)
}

/// The only child of a process.
fn child_of(pid: Pid) -> Pid {
    let text = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).expect("read the children");
    let pids: Vec<_> = text.split_whitespace().collect();
    let [pid] = pids[..] else { panic!("{pid} has the children {text}") };
    Pid::from_raw(pid.parse().expect("a number"))
}

fn pid_of(child: &Child) -> Pid {
    Pid::from_raw(child.id().cast_signed())
}

#[test]
fn a_command_passes_through() {
    in_namespace(|| {
        let (outside, program) = start();
        let command = ["lab", "topology.toml", "--", "sh", "-c", "cat; echo aside >&2; exit 42"];
        let mut child = program
            .command(&command)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("start isoplan");
        child.stdin.take().expect("a pipe").write_all(b"from outside\n").expect("write");
        let output = child.wait_with_output().expect("wait for isoplan");
        assert_eq!(String::from_utf8_lossy(&output.stdout), "from outside\n");
        assert_eq!(String::from_utf8_lossy(&output.stderr), "aside\n");
        assert_eq!(output.status.code(), Some(42));

        for (script, code) in [
            ("true", 0),
            ("exit 3", 3),
            ("exit 255", 255),
            ("kill -TERM $$", 143),
            ("kill -KILL $$", 137),
            // The first process is out of reach from inside (pid_namespaces(7)).
            ("kill -KILL $PPID; kill -INT 1; kill -TERM 1; exit 5", 5),
            // Whoever is left to the first process is waited for by it, and the command goes on.
            ("(sh -c 'sh -c : & exec true' &) & wait; exit 6", 6),
        ] {
            let ran = program.run(&["lab", "topology.toml", "--", "sh", "-c", script]);
            assert_eq!((ran.code, ran.stdout.as_str(), ran.stderr.as_str()), (Some(code), "", ""), "{ran}");
        }
        outside.is_all_that_is_left();
    });
}

#[test]
fn arguments_and_environment_pass_through() {
    in_namespace(|| {
        let (outside, program) = start();
        // No text in UTF-8, options like isoplan's own, and nothing at all.
        let odd = OsStr::from_bytes(b"\xff\xfe");
        let words = ["lab", "topology.toml", "--", "printf", "%s|", "--approach", "a b", ""].map(OsStr::new);
        let words: Vec<_> = words.into_iter().chain([odd]).collect();
        let output = program.command(&words).output().expect("run isoplan");
        assert_eq!(output.stdout, b"--approach|a b||\xff\xfe|", "{output:?}");

        let script =
            "echo $ISOPLAN_STATE_DIR; pwd; ulimit -n; grep -c Cpus_allowed: /proc/self/status; exec env";
        let ran = program.run(&["lab", "topology.toml", "--", "sh", "-c", script]).ok();
        let lines: Vec<&str> = ran.lines().collect();
        let directory = program.directory().to_str().expect("UTF-8");
        assert_eq!(lines[0], "/run/isoplan", "{ran}");
        assert_eq!(lines[1], directory, "{ran}");
        let own =
            nix::sys::resource::getrlimit(nix::sys::resource::Resource::RLIMIT_NOFILE).expect("a limit");
        assert_eq!(lines[2], own.0.to_string(), "{ran}");
        assert!(ran.contains("\nLC_ALL=C.UTF-8\n"), "{ran}");

        // It gets no file, and keeps no CPU from it, that it would not have outside.
        let script =
            "for fd in /proc/$$/fd/*; do echo ${fd##*/}; done; grep Cpus_allowed_list /proc/self/status";
        let ran = program.run(&["lab", "topology.toml", "--", "sh", "-c", script]).ok();
        let without = Command::new("sh").args(["-c", script]).stdin(Stdio::null()).output().expect("run sh");
        assert_eq!(ran, String::from_utf8_lossy(&without.stdout));
        outside.is_all_that_is_left();
    });
}

#[test]
fn explain_reads_the_file_of_the_lab() {
    in_namespace(|| {
        let (outside, program) = start();
        // Beside a topology.toml, which would be read elsewhere.
        program.write("other.toml", TOPOLOGY).expect("write a topology");
        let explained = program.run(&["lab", "other.toml", "--", "isoplan", "explain", "docker0", "storage"]);
        assert!(explained.clone().ok().contains("(other.toml:13)"), "{explained}");
        outside.is_all_that_is_left();
    });
}

#[test]
fn a_command_that_cannot_be_run() {
    in_namespace(|| {
        let (outside, program) = start();
        for (command, code) in [("no-such-program", 127), ("/etc/passwd", 126)] {
            let ran = program.run(&["lab", "topology.toml", "--", command]);
            assert_eq!((ran.code, ran.stdout.as_str()), (Some(code), ""), "{ran}");
            assert!(ran.stderr.contains(&format!("cannot run `{command}`")), "{ran}");
        }
        for args in [
            &["lab"][..],
            &["lab", "topology.toml", "true"],
            &["lab", "topology.toml", "--json"],
            &["lab", "topology.toml", "--list-peers", "--", "true"],
            &["lab", "topology.toml", "--approach", "ebpf", "--", "true"],
            &["probe"],
            &["lab-stage"],
            &["lab-stage", "enter", "x", "--", "lab-stage", "try"],
            &["lab-stage", "host", "3", "4", "--"],
        ] {
            let ran = program.run(args);
            assert_eq!((ran.code, ran.stdout.as_str()), (Some(64), ""), "{ran}");
        }
        let ran = program.run(&["lab", "none.toml", "--", "true"]);
        assert_eq!(ran.code, Some(1), "{ran}");
        program.write("wrong.toml", "version = 1\n[[nic]]\n").expect("write a topology");
        let ran = program.run(&["lab", "wrong.toml", "--", "true"]);
        assert_eq!(ran.code, Some(65), "{ran}");
        outside.is_all_that_is_left();
    });
}

#[test]
fn the_command_is_on_the_host_of_the_topology() {
    in_namespace(|| {
        let (outside, program) = start();
        let lab = |script: &str| program.run(&["lab", "topology.toml", "--", "sh", "-c", script]);
        let links = lab("ip -br link").ok();
        for link in ["docker0", "eth0", "eth1"] {
            assert!(links.lines().any(|line| line.starts_with(link)), "{links}");
        }
        assert!(!links.contains("veth"), "{links}");
        // Only those inside are seen, and the first is isoplan.
        let processes = lab("for pid in /proc/[0-9]*; do tr '\\0' ' ' <$pid/cmdline; echo; done").ok();
        let processes: Vec<&str> = processes.lines().collect();
        assert!(processes[0].contains("lab-stage") && processes.len() == 2, "{processes:?}");
        // Changed inside, and nowhere else.
        lab("ip link del eth1; nft flush ruleset; echo 0 > /proc/sys/net/ipv4/ip_forward; \
             echo x > /run/x; ip netns add more; hostname lab 2>/dev/null; mount -t tmpfs tmpfs /mnt")
        .ok();
        // isoplan itself is found, and keeps its state inside.
        let applied =
            lab("isoplan apply topology.toml --yes >/dev/null && isoplan status topology.toml | head -n 1");
        assert!(applied.clone().ok().starts_with("In place"), "{applied}");
        let state = program.directory().join("state");
        assert!(!state.exists(), "state of a lab in {}", state.display());
        // A lab in a lab.
        let inner = lab(
            "isoplan lab topology.toml -- sh -c 'ip link del eth0; exit 9'; echo $?; ip -br link show eth0",
        );
        assert!(inner.clone().ok().starts_with("9\neth0"), "{inner}");
        outside.is_all_that_is_left();
    });
}

/// Says a line to a port and takes the answer, in bash.
fn echo(protocol: &str, to: &str) -> String {
    format!("exec 3<>/dev/{protocol}/{to}/7; echo {protocol} >&3; timeout 10 head -n 1 <&3; ")
}

#[test]
fn peers_answer() {
    in_namespace(|| {
        let (outside, program) = start();
        let request = "exec 3<>/dev/tcp/192.168.57.5/80; printf 'GET / HTTP/1.1\\r\\n\\r\\n' >&3; cat <&3; ";
        let from_container = echo("udp", "192.168.57.5") + &echo("tcp", "fd57::5") + request;
        program.write("ask", &from_container).expect("write a script");
        let ask = ["lab", "topology.toml", "--", "ip", "netns", "exec", "docker0-c1", "bash", "ask"];
        let ran = program.run(&ask);
        let lines: Vec<&str> = ran.stdout.lines().map(str::trim_end).collect();
        assert_eq!(ran.code, Some(0), "{ran}");
        assert_eq!(lines.first_chunk(), Some(&["udp", "tcp", "HTTP/1.1 200 OK"]), "{ran}");
        // The container engine's masquerade.
        assert_eq!(lines.last(), Some(&"eth1-server answers 192.168.57.10"), "{ran}");

        // An approach that closes the way: nothing comes back, and from the host it does.
        let script = "ip netns exec docker0-c1 timeout 1 bash ask; echo code-$?; exec bash ask";
        let ran =
            program.run(&["lab", "topology.toml", "--approach", "nftables", "--", "bash", "-c", script]);
        assert!(ran.stdout.starts_with("code-124\nudp\ntcp\nHTTP/1.1 200 OK"), "{ran}");
        outside.is_all_that_is_left();
    });
}

#[test]
fn many_connections_and_odd_requests() {
    in_namespace(|| {
        let (outside, program) = start();
        let script = "\
            for n in $(seq 700); do exec {fd}<>/dev/tcp/172.17.0.2/7; done 2>&1 | tail -n 1\n\
            head -c 100000 /dev/zero | timeout 10 bash -c 'exec 3<>/dev/tcp/172.17.0.2/80; cat >&3' 2>/dev/null\n\
            exec 4<>/dev/tcp/172.17.0.2/7\n\
            (head -c 3000000 /dev/zero; echo end) >&4 & head -c 3000004 <&4 | tail -c 4\n\
            exec 5<>/dev/tcp/172.17.0.2/80; printf 'HEAD / HTTP/1.0\\r\\n' >&5; printf '\\r\\n' >&5; grep -c answers <&5\n\
            exit 0\n";
        program.write("many", script).expect("write a script");
        let ran =
            program.run(&["lab", "topology.toml", "--", "bash", "-c", "ulimit -n 2000; exec bash many"]);
        assert_eq!((ran.code, ran.stdout.as_str()), (Some(0), "end\n0\n"), "{ran}");
        outside.is_all_that_is_left();
    });
}

/// Whom a signal is sent to.
#[derive(Debug, Clone, Copy)]
enum Whom {
    Outer,
    FirstStage,
    SecondStage,
}

#[test]
fn killed_it_leaves_nothing() {
    in_namespace(|| {
        let (outside, program) = start();
        for (whom, signal, code) in [
            (Whom::Outer, Signal::SIGKILL, None),
            (Whom::Outer, Signal::SIGTERM, None),
            (Whom::Outer, Signal::SIGHUP, None),
            (Whom::FirstStage, Signal::SIGKILL, Some(137)),
            (Whom::FirstStage, Signal::SIGTERM, Some(143)),
            (Whom::SecondStage, Signal::SIGKILL, Some(137)),
        ] {
            let (mut child, mut stdout) = waiting(&program);
            let outer = pid_of(&child);
            let pid = match whom {
                Whom::Outer => outer,
                Whom::FirstStage => child_of(outer),
                Whom::SecondStage => child_of(child_of(outer)),
            };
            kill(pid, signal).expect("send a signal");
            let status = child.wait().expect("wait for isoplan");
            match code {
                Some(code) => assert_eq!(status.code(), Some(code), "{signal} to {whom:?}"),
                None => assert_eq!(status.signal(), Some(signal as i32), "{signal} to {whom:?}"),
            }
            outside.is_all_that_is_left();
            // The other end of the pipe is gone with the last who had it.
            assert_eq!(stdout.read_to_end(&mut Vec::new()).expect("read"), 0);
        }
    });
}

/// Kills at moments spread over the whole life of a lab, most of them while it is being built.
#[test]
fn killed_at_any_moment_it_leaves_nothing() {
    in_namespace(|| {
        let (outside, program) = start();
        let args = ["lab", "topology.toml", "--approach", "nftables", "--", "true"];
        let started = Instant::now();
        program.run(&args).ok();
        let whole = started.elapsed();
        let (mut killed, turns) = (0, 45);
        for turn in 0..turns {
            let signal = [Signal::SIGKILL, Signal::SIGINT, Signal::SIGTERM][turn as usize % 3];
            let started = Instant::now();
            let mut child = program.command(&args).stderr(Stdio::null()).spawn().expect("start isoplan");
            while started.elapsed() < whole * turn / turns {
                std::hint::spin_loop();
            }
            // It is still there to be killed until it was waited for.
            kill(pid_of(&child), signal).expect("send a signal");
            killed += u32::from(child.wait().expect("wait for isoplan").signal().is_some());
            outside.is_all_that_is_left();
        }
        assert!(killed > turns / 4, "only {killed} of {turns} were killed before they ended");
    });
}

#[test]
fn root_of_the_machine_leaves_nothing() {
    in_namespace_with(Privilege::RootIfPossible, || {
        let (outside, program) = start();
        // Whoever the lab is started by keeps all its users, and every file its owner.
        let ran = program.run(&["lab", "topology.toml", "--", "cat", "/proc/self/uid_map"]);
        let own = fs::read_to_string("/proc/self/uid_map").expect("read the map");
        let of = |map: &str| map.split_whitespace().map(str::to_owned).collect::<Vec<_>>();
        assert_eq!(of(&ran.clone().ok())[0], "0", "{ran}");
        assert_eq!(of(&ran.ok())[2], of(&own)[2]);
        let (mut child, _stdout) = waiting(&program);
        child.kill().expect("kill isoplan");
        child.wait().expect("wait for isoplan");
        outside.is_all_that_is_left();
    });
}

#[test]
fn nobody_can_make_a_lab() {
    in_namespace_with(Privilege::RootIfPossible, || {
        let (outside, program) = start();
        // Nobody reads the directory of the build.
        let copy = program.directory().join("isoplan");
        fs::copy(ISOPLAN, &copy).expect("copy the program");
        fs::set_permissions(program.directory(), fs::Permissions::from_mode(0o755))
            .expect("open the directory");
        let whole = fs::read_to_string("/proc/self/uid_map").expect("read the map");
        let is_root = whole.split_whitespace().nth(2) == Some("4294967295");
        // Where the test is not run by root, it is an ordinary user's already.
        let mut command = if is_root { Command::new("setpriv") } else { Command::new(&copy) };
        if is_root {
            command.args(["--reuid=65534", "--regid=65534", "--clear-groups"]).arg(&copy);
        }
        let output = command
            .args(["lab", "topology.toml", "--", "bash", "-c"])
            .arg(echo("udp", "172.17.0.2") + "cat /proc/self/uid_map; id -u; exit 8")
            .current_dir(program.directory())
            .env_clear()
            // Where sbin is not on the path, as for most users.
            .env("PATH", "/usr/bin:/bin")
            .stdin(Stdio::null())
            .output()
            .expect("run isoplan");
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        assert_eq!(output.status.code(), Some(8), "{output:?}");
        let [said, map, user] = text.lines().collect::<Vec<_>>()[..] else { panic!("{output:?}") };
        assert_eq!((said, user), ("udp", "0"), "{output:?}");
        if is_root {
            assert_eq!(map.split_whitespace().collect::<Vec<_>>(), ["0", "65534", "1"]);
        }
        fs::remove_file(copy).expect("remove the copy");
        outside.is_all_that_is_left();
    });
}

#[test]
fn where_namespaces_are_refused() {
    in_namespace(|| {
        let (outside, program) = start();
        let limit = |kind: &str, value: &str| {
            fs::write(format!("/proc/sys/user/max_{kind}_namespaces"), value).expect("set a limit");
        };
        let lab = || program.run(&["lab", "topology.toml", "--", "cat", "/proc/self/uid_map"]);
        // Root can do without a user namespace.
        limit("user", "0");
        let own = fs::read_to_string("/proc/self/uid_map").expect("read the map");
        assert_eq!(lab().ok(), own);
        outside.is_all_that_is_left();
        limit("user", "100");
        limit("net", "0");
        let ran = lab();
        assert_eq!((ran.code, ran.stdout.as_str()), (Some(77), ""), "{ran}");
        assert!(
            ran.stderr.starts_with("error: cannot make a lab here\n  caused by: cannot make namespaces"),
            "{ran}"
        );
        assert!(ran.stderr.contains("sysctl -w user.max_net_namespaces="), "{ran}");
        outside.is_all_that_is_left();
    });
}

/// A shell that works, under which Ctrl-C ends what it runs and nothing else.
fn has_a_shell(shell: &str, prompt: &str) {
    let (outside, program) = start();
    let mut terminal = Terminal::start(&program, &[("SHELL", shell)], &["lab", "topology.toml"]);
    terminal.shows("docker0-c1");
    terminal.shows("ip netns exec docker0-c1 ping 192.168.57.5");
    terminal.shows(prompt);
    terminal.types("echo in-$((40 + 2))\n");
    terminal.shows("in-42");
    terminal.shows(prompt);
    // A shell that has begun its prompt and not yet its line notes the key and goes on reading.
    terminal.types_until("\x03", prompt);
    terminal.types("sh -c 'echo started-$((40 + 3)); exec sleep 1000'\n");
    terminal.shows("started-43");
    terminal.types("\x03");
    terminal.shows(prompt);
    terminal.types("echo code-$?-; sleep 1000 & ip -br link show eth1\n");
    terminal.shows("code-130-");
    terminal.shows("UP");
    terminal.types("exit 6\n");
    assert_eq!(terminal.ends().code(), Some(6));
    outside.is_all_that_is_left();
}

/// What docs/tutorial.md shows when it opens a lab is what is shown, but for the name of the file.
#[test]
fn the_tutorial_opens_this_shell() {
    in_namespace(|| {
        let (outside, program) = start();
        let tutorial = include_str!("../../docs/tutorial.md");
        let (_, shown) = tutorial.split_once("It ends with this shell.\n").expect("a shell that is opened");
        let (shown, _) = shown.split_once("```").expect("the end of a block");
        let mut terminal = Terminal::start(&program, &[("SHELL", "/bin/sh")], &["lab", "topology.toml"]);
        let lines: Vec<&str> = shown.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
        assert!(lines.len() > 10, "{lines:?}");
        for line in lines {
            terminal.shows(line);
        }
        terminal.types("exit\n");
        assert!(terminal.ends().success());
        outside.is_all_that_is_left();
    });
}

#[test]
fn a_shell_bash() {
    in_namespace(|| has_a_shell("/bin/bash", "(lab) "));
}

#[test]
fn a_shell_sh() {
    in_namespace(|| has_a_shell("/bin/sh", "(lab) # "));
}

#[test]
fn who_may_not_log_in_gets_sh() {
    in_namespace(|| has_a_shell("/usr/sbin/nologin", "(lab) # "));
}

#[test]
fn ctrl_c_is_for_the_command() {
    in_namespace(|| {
        let (outside, program) = start();
        let lab = |script: &str| {
            let args = ["lab", "topology.toml", "--", "sh", "-c", script];
            let mut terminal = Terminal::start(&program, &[("SHELL", "/bin/sh")], &args);
            terminal.shows("ready");
            terminal
        };
        let mut terminal = lab("trap 'echo caught; exit 9' INT; sleep 1000 & echo ready; wait");
        terminal.types("\x03");
        terminal.shows("caught");
        assert_eq!(terminal.ends().code(), Some(9));
        outside.is_all_that_is_left();
        // As for any other command, the shell that waits is to see that it was the signal.
        let mut terminal = lab("echo ready; exec sleep 1000");
        terminal.types("\x03");
        assert_eq!(terminal.ends().signal(), Some(Signal::SIGINT as i32));
        outside.is_all_that_is_left();
        let mut terminal = lab("trap '' INT QUIT; echo ready; read -r line; exit 4");
        terminal.types("\x03\x1c\n");
        assert_eq!(terminal.ends().code(), Some(4));
        outside.is_all_that_is_left();
        // The terminal goes away.
        let terminal = lab("trap '' HUP; echo ready; exec sleep 1000");
        let Terminal { mut child, master, .. } = terminal;
        drop(master);
        assert_eq!(child.wait().expect("wait for isoplan").signal(), Some(Signal::SIGHUP as i32));
        outside.is_all_that_is_left();
    });
}

#[test]
fn peers_of_every_fixture_are_listed() {
    in_namespace(|| {
        let program = Program::new(ISOPLAN).expect("make a directory");
        let fixtures = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures");
        let (mut listed, mut documents) = (0, Vec::new());
        for entry in fs::read_dir(fixtures).expect("list the fixtures") {
            let path = entry.expect("list the fixtures").path().join("topology.toml");
            let Ok(text) = fs::read_to_string(&path) else { continue };
            listed += 1;
            let file = path.to_str().expect("UTF-8");
            let topology = topology::parse(file, text.as_bytes()).expect("a valid topology");
            let world = World::new(&Intent::new(&topology));
            let peers =
                world.nodes.iter().filter(|node| !matches!(node.role, NodeRole::Host | NodeRole::Wire));
            let names: Vec<&str> = peers.map(|node| node.name.as_str()).collect();
            let shown = program.run(&["lab", file, "--list-peers"]).ok();
            let rows: Vec<&str> =
                shown.lines().skip(1).filter_map(|line| line.split_whitespace().next()).collect();
            assert_eq!(rows, names, "{shown}");
            let json = program.run(&["lab", file, "--list-peers", "--json"]).json();
            let peers = json["peers"].as_array().expect("a list");
            assert_eq!(
                peers.iter().map(|peer| peer["name"].as_str().expect("a name")).collect::<Vec<_>>(),
                names
            );
            documents.push(json.clone());
            for peer in peers {
                let link = peer["host_link"].as_str().expect("a name");
                assert!(world.host_links.iter().any(|other| other.name == link), "{peer}");
                assert!(
                    peer["addresses"][0].is_string() && !peer["what"].as_str().expect("words").is_empty()
                );
            }
        }
        assert!(listed > 10, "{listed} fixtures");
        check_json("isoplan lab --json", "lab", &documents, &[]);
    });
}

#[test]
fn probes_are_sent_in_a_lab_only() {
    in_namespace(|| {
        let (outside, program) = start();
        for args in [&["probe", "*"][..], &["probe", "--list"]] {
            let ran = program.run(args);
            assert_eq!((ran.code, ran.stdout.as_str()), (Some(64), ""), "{ran}");
            assert!(ran.stderr.contains("isoplan lab TOPOLOGY -- isoplan probe"), "{ran}");
        }
        // A peer is not the host; and the mark of a lab alone is not enough outside.
        let peer = "ip netns exec docker0-c1 isoplan probe --list; echo $?";
        let ran = program.run(&["lab", "topology.toml", "--", "sh", "-c", peer]);
        assert_eq!(ran.stdout, "64\n", "{ran}");
        let marked =
            program.command(&["probe", "--list"]).env("ISOPLAN_LAB", "1").output().expect("run isoplan");
        assert_eq!(marked.status.code(), Some(64), "{marked:?}");
        outside.is_all_that_is_left();
    });
}

#[test]
fn probes_tell_what_became_of_them() {
    in_namespace(|| {
        let (outside, program) = start();
        let probe = |approach: &str, args: &[&str]| {
            let mut all = vec!["lab", "topology.toml", "--approach", approach, "--", ISOPLAN, "probe"];
            all.extend(args);
            program.run(&all)
        };
        let open = probe("none", &["docker0:eth1/udp?"]);
        assert_eq!(open.code, Some(3), "{open}");
        for line in [
            "docker0:eth1/udp4: arrived, and was answered (should be blocked)",
            "  sent     172.17.0.2:",
            "  came in  docker0",
            "  left by  eth1",
            "  seen at  eth1-server: 192.168.57.10:",
        ] {
            assert!(open.stdout.lines().any(|other| other.starts_with(line)), "{line}: {open}");
        }
        let closed = probe("nftables", &["docker0:eth1/udp4", "docker0:eth0/udp4"]);
        assert_eq!(closed.code, Some(0), "{closed}");
        assert!(closed.stdout.contains("docker0:eth1/udp4: blocked (should be blocked)\n"), "{closed}");
        assert!(
            closed.stdout.contains("docker0:eth0/udp4: arrived, and was answered (should be "),
            "{closed}"
        );
        // What has to be so before, or is done to the host, is shown in a lab of its own.
        let early = probe("nftables", &["docker0:eth1/established-tcp4", "docker0:eth1/udp4+nic-renamed"]);
        assert_eq!(early.code, Some(0), "{early}");
        assert_eq!(early.stdout.matches(": blocked (should be blocked)\n").count(), 2, "{early}");
        // The rules of this very moment.
        let script = "isoplan apply topology.toml --yes > /dev/null; isoplan probe docker0:eth1/tcp4; echo code-$?; \
            isoplan remove --yes > /dev/null; isoplan probe docker0:eth1/tcp4; echo code-$?";
        let both = program.run(&["lab", "topology.toml", "--", "sh", "-c", script]);
        assert!(both.stdout.contains("tcp4: blocked") && both.stdout.contains("code-0\n"), "{both}");
        assert!(both.stdout.contains("tcp4: arrived") && both.stdout.ends_with("code-3\n"), "{both}");
        let strange = probe("none", &["docker0:eth1/udp4", "docker0:eth7/*"]);
        assert_eq!((strange.code, strange.stdout.as_str()), (Some(64), ""), "{strange}");
        assert!(strange.stderr.contains("`docker0:eth7/*`"), "{strange}");

        let listed = probe("none", &["--list"]).ok();
        let names: Vec<&str> = listed.lines().filter_map(|line| line.split_whitespace().next()).collect();
        assert!(names.len() > 110 && names.iter().any(|name| name.contains('+')), "{listed}");
        let wide = probe("none", &["--list", "docker0:*"]).ok();
        assert!(wide.lines().all(|line| line.starts_with("docker0:") && !line.contains('+')), "{wide}");

        let documents =
            [probe("none", &["docker0:*", "--json"]).json(), probe("none", &["--list", "--json"]).json()];
        for document in &documents {
            assert_eq!(document["topology"], "topology.toml");
        }
        assert!(documents[0]["probes"][0]["observed"]["outcome"].is_string());
        assert!(documents[1]["probes"][0].get("observed").is_none());
        check_json("isoplan probe --json", "probe", &documents, &[]);
        outside.is_all_that_is_left();
    });
}

fn job(text: &str, probes: &[&str]) -> Job {
    Job {
        file: "topology.toml".to_owned(),
        text: text.to_owned(),
        approach: Approach::None,
        change: None,
        probes: probes.iter().map(|probe| (*probe).to_owned()).collect(),
        is_traced: false,
        cpu: 0,
    }
}

#[test]
fn what_fails_could_not_be_tested() {
    in_namespace(|| {
        use_program(ISOPLAN);
        let (outside, _program) = start();
        let large = format!("{TOPOLOGY}{}", "# a comment\n".repeat(50_000));
        let jobs = [
            job("nonsense", &["a/b4", "c/d6"]),
            job(TOPOLOGY, &["no:such/probe4"]),
            job(TOPOLOGY, &[]),
            // More than a pipe holds.
            job(&large, &["no:such/probe4"]),
        ];
        let mut told = Vec::new();
        let results = run(&jobs, &mut |done| told.push(done)).expect("run the jobs");
        assert_eq!(told, [1, 2, 3, 4]);
        for (job, result) in jobs.iter().zip(&results) {
            let mut names: Vec<_> = job.probes.clone();
            names.sort();
            assert_eq!(result.keys().cloned().collect::<Vec<_>>(), names);
            for observation in result.values() {
                let Outcome::CouldNotTest(why) = &observation.outcome else { panic!("{observation:?}") };
                assert!(!why.is_empty());
            }
        }
        let same = run(&jobs, &mut |_| ()).expect("run the jobs");
        assert_eq!(results, same);
        outside.is_all_that_is_left();
    });
}

/// The first worker that comes, once it is there.
fn a_worker() -> Pid {
    let deadline = Instant::now() + LIMIT;
    while Instant::now() < deadline {
        for entry in fs::read_dir("/proc").expect("list processes") {
            let name = entry.expect("list processes").file_name();
            let Some(pid) = name.to_str().and_then(|name| name.parse().ok()) else { continue };
            let words = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
            let words: Vec<&[u8]> = words.split(|byte| *byte == 0).collect();
            if words.contains(&&b"settle"[..]) && words.contains(&&b"work"[..]) {
                return Pid::from_raw(pid);
            }
        }
    }
    panic!("there is no worker");
}

#[test]
fn a_worker_that_hangs_or_dies_tests_nothing() {
    in_namespace(|| {
        use_program(ISOPLAN);
        let (outside, _program) = start();
        // So many that it has not ended before the signal comes.
        let topology = topology::parse("topology.toml", TOPOLOGY.as_bytes()).expect("a valid topology");
        let intent = Intent::new(&topology);
        let probes = catalogue::probes(&intent, &World::new(&intent), Extent::Quick);
        let names: Vec<&str> = probes.iter().map(|probe| probe.name.as_str()).collect();
        let jobs = [job(TOPOLOGY, &names)];
        let whole = run(&jobs, &mut |_| ()).expect("run the jobs");
        let is_known = |observation: &Observation| !matches!(observation.outcome, Outcome::CouldNotTest(_));
        assert!(whole[0].values().filter(|observation| is_known(observation)).count() > 100, "{whole:?}");
        for (signal, limit, reason) in [
            (Signal::SIGSTOP, Some(Duration::from_millis(1500)), "the lab said nothing for 1 s"),
            (Signal::SIGKILL, None, "the lab ended with code 137"),
        ] {
            let results = std::thread::scope(|scope| {
                scope.spawn(|| kill(a_worker(), signal).expect("send a signal"));
                run_with_limit(&jobs, limit, &mut |_| ()).expect("run the jobs")
            });
            assert_eq!(results[0].len(), probes.len());
            // What it had said before counts.
            let missing = Outcome::CouldNotTest(reason.to_owned());
            let (failed, done): (Vec<_>, Vec<_>) =
                results[0].iter().partition(|(_, observation)| observation.outcome == missing);
            assert!(!failed.is_empty(), "{signal}: {results:?}");
            for (name, observation) in done {
                assert_eq!(observation.outcome, whole[0][name].outcome, "{name}");
            }
            outside.is_all_that_is_left();
        }
    });
}

#[test]
fn a_comparison_that_is_killed_leaves_nothing() {
    in_namespace(|| {
        let (outside, program) = start();
        for signal in [Signal::SIGKILL, Signal::SIGINT, Signal::SIGTERM] {
            let args = ["compare", "topology.toml"];
            let mut command = program.command(&args);
            let mut child =
                command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("start isoplan");
            a_worker();
            kill(pid_of(&child), signal).expect("send a signal");
            assert_eq!(child.wait().expect("wait for isoplan").signal(), Some(signal as i32));
            outside.is_all_that_is_left();
        }
    });
}
