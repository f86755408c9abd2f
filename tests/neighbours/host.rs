//! A host of one's own for real daemons: network, mount, pid, ipc and uts namespaces, with the machine's files as the
//! lower layer of an overlay in memory. Whatever dockerd, podman, firewalld or ufw write is written there.
//!
//! A test starts its own binary again, twice: as the first process of the pid namespace, which makes the root,
//! waits for the orphans of others and ends when the test ends, also by `kill -9`; and below it as the one that
//! runs the body. When the first process ends, the kernel ends everything in there. A shell around all of it,
//! in a process group of its own, takes away the control groups that the containers leave behind.

use std::env;
use std::fs::{self, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::symlink;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{self, Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Condvar, Mutex, PoisonError, mpsc};
use std::thread;
use std::time::{Duration, Instant};

use nix::mount::{MntFlags, MsFlags, mount, umount2};
use nix::sys::wait::{WaitStatus, wait};
use nix::unistd::{Pid, chdir, pivot_root};

use crate::lab::isolate::{has_program, is_real_root};
use crate::lab::node::PATH;

/// What the process inside is: `init:TEST` or `body:TEST`.
const ROLE: &str = "ISOPLAN_NEIGHBOURS";
/// The name of the host: of its control groups, and in the environment of everything that it runs.
pub(crate) const NAME: &str = "ISOPLAN_NEIGHBOURS_HOST";
/// How long one host may live. Far above what any needs: a limit, not a measure.
const LIMIT: Duration = Duration::from_secs(150);
/// How many hosts there are at a time.
const AT_ONCE: usize = 2;
/// Where `packages.sh` has unpacked what is not installed.
pub(crate) const PACKAGES: &str = concat!(env!("CARGO_TARGET_TMPDIR"), "/neighbours/root");
/// What has to be there.
const PROGRAMS: [&str; 12] = [
    "dockerd",
    "docker",
    "containerd",
    "podman",
    "firewalld",
    "ufw",
    "busybox",
    "dbus-daemon",
    "iptables-nft",
    "iptables-legacy",
    "nft",
    "unshare",
];

/// Runs the rest, and takes away the control groups of that name when it has ended.
const AROUND: &str = r#"
name=$1; shift
"$@"
code=$?
for top in "/sys/fs/cgroup/$name" /sys/fs/cgroup/*/"$name"; do
    for _ in 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20; do
        [ -d "$top" ] || break
        find "$top" -depth -type d -exec rmdir '{}' ';' 2>/dev/null
        [ -d "$top" ] && sleep 0.1
    done
done
exit $code
"#;

/// Runs the body of a test on a host of its own. To be called as the only thing a test does.
pub(crate) fn on_a_host<F: FnOnce()>(body: F) {
    let test = test_name::<F>();
    match env::var(ROLE).ok().as_deref().and_then(|role| role.split_once(':')) {
        Some(("body", name)) if name == test => return body(),
        Some(("init", name)) if name == test => be_the_first(test),
        _ => {}
    }
    if let Some(reason) = unavailable() {
        assert!(env::var_os("CI").is_none(), "no real daemons here, and CI may not skip: {reason}");
        eprintln!("skipped: {test}: {reason}");
        return;
    }
    let _turn = Turn::take();
    let before = fs::read_to_string("/proc/self/mountinfo").expect("read the mounts");
    let started = Instant::now();
    let mut running = Running::start(test).expect("start a host");
    let (ended_well, text) = running.finish();
    eprint!("{text}");
    eprintln!("{test}: {:.1} s", started.elapsed().as_secs_f64());
    assert!(ended_well, "{test} failed on its host");
    // A name that matches no test would run nothing and succeed.
    assert!(text.contains("1 passed"), "{test} did not run on its host");
    assert_eq!(running.left(), Vec::<String>::new(), "{test} left something behind");
    let after = fs::read_to_string("/proc/self/mountinfo").expect("read the mounts");
    assert_eq!(before, after, "{test} changed the mounts of the machine");
}

/// Why there can be no such host here, if so.
pub(crate) fn unavailable() -> Option<String> {
    let sudo =
        || Command::new("sudo").args(["-n", "true"]).output().is_ok_and(|output| output.status.success());
    if !is_real_root() && !sudo() {
        return Some("this needs root, or sudo without a password".to_owned());
    }
    let unpacked = |name: &str| {
        ["usr/bin", "usr/sbin"].iter().any(|bin| Path::new(PACKAGES).join(bin).join(name).exists())
    };
    let installed = |name: &str| PATH.split(':').any(|bin| Path::new(bin).join(name).exists());
    let missing: Vec<_> = PROGRAMS
        .into_iter()
        .filter(|name| !has_program(name) && !installed(name) && !unpacked(name))
        .collect();
    if missing.is_empty() {
        return None;
    }
    Some(format!("{} not found; `make install-deps` unpacks them below target/", missing.join(", ")))
}

/// A host that is there, seen from outside.
struct Running {
    child: Child,
    name: String,
    /// The pid namespace, `pid:[4026532000]`; known once the host has said it.
    pid_namespace: Option<String>,
}

impl Running {
    /// Starts this binary again on a host of its own, for that test.
    fn start(test: &str) -> io::Result<Self> {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let name = name_of(process::id(), NUMBER.fetch_add(1, Ordering::Relaxed));
        let mut command = Command::new(if is_real_root() { "env" } else { "sudo" });
        if !is_real_root() {
            command.args(["-n", "env"]);
        }
        let child = command
            .arg(format!("{ROLE}=init:{test}"))
            .arg(format!("{NAME}={name}"))
            .arg(format!("PATH={PATH}"))
            .args(["sh", "-c", AROUND, "sh", &name])
            .args([
                "unshare",
                "--net",
                "--mount",
                "--uts",
                "--ipc",
                "--pid",
                "--fork",
                "--kill-child",
                "--mount-proc",
            ])
            .arg(env::current_exe()?)
            .args([test, "--exact", "--include-ignored", "--nocapture", "--test-threads=1"])
            .process_group(0)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()?;
        Ok(Self { child, name, pid_namespace: None })
    }

    /// Waits for its end and gives what it said; ends it at the limit.
    fn finish(&mut self) -> (bool, String) {
        let stdin = self.child.stdin.take();
        let (send, receive) = mpsc::channel();
        let pipes: [Option<Box<dyn io::Read + Send>>; 2] = [
            self.child.stdout.take().map(|pipe| Box::new(pipe) as _),
            self.child.stderr.take().map(|pipe| Box::new(pipe) as _),
        ];
        let readers = pipes.map(|pipe| {
            let send = send.clone();
            thread::spawn(move || {
                let mut bytes = Vec::new();
                if let Some(mut pipe) = pipe {
                    // What came before an error is worth more than the error.
                    let _ = pipe.read_to_end(&mut bytes);
                }
                let _ = send.send(());
                String::from_utf8_lossy(&bytes).into_owned()
            })
        });
        let deadline = Instant::now() + LIMIT;
        let in_time = (0..readers.len())
            .all(|_| receive.recv_timeout(deadline.saturating_duration_since(Instant::now())).is_ok());
        // The first process follows this pipe; when it is closed, it ends, and all the others with it.
        drop(stdin);
        let ended_well = self.child.wait().is_ok_and(|status| status.success());
        let mut text: String = readers.map(|reader| reader.join().unwrap_or_default()).concat();
        self.pid_namespace =
            text.lines().find_map(|line| line.split_once("pid namespace ")).map(|(_, name)| name.to_owned());
        if !in_time {
            text += &format!("ended after {} s\n", LIMIT.as_secs());
        }
        (ended_well && in_time, text)
    }

    /// What is still there of it, in words.
    fn left(&self) -> Vec<String> {
        let mut left = what_is_left(&self.name, self.pid_namespace.as_deref().map(Path::new));
        if self.pid_namespace.is_none() {
            left.push("it did not say which pid namespace it had".to_owned());
        }
        left
    }
}

/// The name of the nth host that a process makes.
pub(crate) fn name_of(process: u32, number: u32) -> String {
    format!("isoplan-neighbours-{process}-{number}")
}

/// What is there of a host of that name, in words: control groups, and processes by their environment or their pid
/// namespace. Only root sees those of others.
pub(crate) fn what_is_left(name: &str, pid_namespace: Option<&Path>) -> Vec<String> {
    let groups = control_groups(name).into_iter().map(|path| format!("control group {}", path.display()));
    let processes = fs::read_dir("/proc").into_iter().flatten().flatten().filter_map(|process| {
        let path = process.path();
        let is_inside =
            pid_namespace.is_some() && fs::read_link(path.join("ns/pid")).ok().as_deref() == pid_namespace;
        let environment = fs::read(path.join("environ")).unwrap_or_default();
        let has_name =
            environment.split(|byte| *byte == 0).any(|entry| entry == format!("{NAME}={name}").as_bytes());
        let command = fs::read_to_string(path.join("cmdline")).unwrap_or_default().replace('\0', " ");
        (is_inside || has_name).then(|| format!("process {}: {command}", path.display()))
    });
    groups.chain(processes).collect()
}

/// The control groups of the host of that name, in every hierarchy.
pub(crate) fn control_groups(name: &str) -> Vec<PathBuf> {
    let top = Path::new("/sys/fs/cgroup");
    let hierarchies = fs::read_dir(top).into_iter().flatten().flatten().map(|entry| entry.path());
    std::iter::once(top.to_owned())
        .chain(hierarchies)
        .map(|path| path.join(name))
        .filter(|path| path.exists())
        .collect()
}

/// One of the hosts that may be there at a time.
struct Turn;

static TURNS: (Mutex<usize>, Condvar) = (Mutex::new(AT_ONCE), Condvar::new());

impl Turn {
    fn take() -> Self {
        let mut free = TURNS.0.lock().unwrap_or_else(PoisonError::into_inner);
        while *free == 0 {
            free = TURNS.1.wait(free).unwrap_or_else(PoisonError::into_inner);
        }
        *free -= 1;
        Self
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        *TURNS.0.lock().unwrap_or_else(PoisonError::into_inner) += 1;
        TURNS.1.notify_one();
    }
}

/// What the first process of the pid namespace does.
#[expect(clippy::exit, reason = "the harness that this process began in has nothing to report")]
#[expect(clippy::zombie_processes, reason = "this process waits for all that are there, the body among them")]
fn be_the_first(test: &str) -> ! {
    assert_eq!(process::id(), 1, "a host is made in namespaces of its own only");
    thread::spawn(|| {
        let mut nothing = [0_u8; 1];
        while matches!(io::stdin().read(&mut nothing), Ok(1)) {}
        process::exit(1);
    });
    let namespace = fs::read_link("/proc/self/ns/pid").expect("read the pid namespace");
    println!("\npid namespace {}", namespace.display());
    make_root().expect("make the root of the host");
    let body = Command::new("/proc/self/exe")
        .args([test, "--exact", "--include-ignored", "--nocapture", "--test-threads=1"])
        .env(ROLE, format!("body:{test}"))
        .stdin(Stdio::null())
        .spawn()
        .expect("start the body");
    let body = Pid::from_raw(i32::try_from(body.id()).expect("a process id"));
    // What loses its parent in here becomes a child of this process: containerd's shims, conmon.
    loop {
        match wait() {
            Ok(WaitStatus::Exited(pid, code)) if pid == body => process::exit(code),
            Ok(WaitStatus::Signaled(pid, signal, _)) if pid == body => {
                eprintln!("the body was ended by {signal}");
                process::exit(1);
            }
            _ => {}
        }
    }
}

/// Makes a root in memory above the machine's and the unpacked packages, and goes there.
fn make_root() -> io::Result<()> {
    let tmpfs = |path: &str| mount(Some("tmpfs"), path, Some("tmpfs"), MsFlags::empty(), Some("mode=0755"));
    tmpfs("/run")?;
    for directory in ["empty", "packages", "up", "work", "root"] {
        fs::create_dir(Path::new("/run").join(directory))?;
    }
    let overlay = |options: &str, at: &str| {
        mount(Some("overlay"), at, Some("overlay"), MsFlags::empty(), Some(options))
            .map_err(|error| io::Error::other(format!("mount an overlay with {options}: {error}")))
    };
    let mut lower = "/".to_owned();
    if Path::new(PACKAGES).is_dir() {
        // Below `/` already, and so no second layer beside it; as an overlay of its own it may be one.
        overlay(&format!("lowerdir={PACKAGES}:/run/empty"), "/run/packages")?;
        "/run/packages:/".clone_into(&mut lower);
    }
    overlay(&format!("lowerdir={lower},upperdir=/run/up,workdir=/run/work"), "/run/root")?;
    let root = |path: &str| format!("/run/root{path}");
    for path in [
        "/proc",
        "/sys",
        "/dev",
        "/run",
        "/tmp",
        "/.old",
        "/usr/local/bin",
        "/var/lib/docker",
        "/var/lib/containers",
    ] {
        fs::create_dir_all(root(path))?;
    }
    let none = None::<&str>;
    mount(Some("proc"), root("/proc").as_str(), Some("proc"), MsFlags::empty(), none)?;
    mount(Some("sysfs"), root("/sys").as_str(), Some("sysfs"), MsFlags::empty(), none)?;
    let bind = MsFlags::MS_BIND | MsFlags::MS_REC;
    mount(Some("/dev"), root("/dev").as_str(), none, bind, none)?;
    mount(Some("/sys/fs/cgroup"), root("/sys/fs/cgroup").as_str(), none, bind, none)?;
    // crun refuses a hierarchy that is half v1 and half v2.
    let _ = umount2(root("/sys/fs/cgroup/unified").as_str(), MntFlags::MNT_DETACH);
    // What the daemons keep must not be on an overlay: they make overlays of it.
    for path in ["/run", "/tmp", "/var/lib/docker", "/var/lib/containers"] {
        tmpfs(&root(path))?;
    }
    for path in ["/run/netns", "/run/lock", "/run/dbus", "/run/firewalld"] {
        fs::create_dir(root(path))?;
    }
    fs::write(root("/usr/local/bin/isoplan"), "")?;
    mount(Some(crate::ISOPLAN), root("/usr/local/bin/isoplan").as_str(), none, MsFlags::MS_BIND, none)?;
    pivot_root("/run/root", "/run/root/.old")?;
    chdir("/")?;
    umount2("/.old", MntFlags::MNT_DETACH)?;
    fs::remove_dir("/.old")?;
    fs::write("/proc/sys/kernel/hostname", "isoplan-host")?;
    configure()
}

/// What the packages' scripts would have done where they were only unpacked.
fn configure() -> io::Result<()> {
    if !fs::read_to_string("/etc/passwd")?.contains("messagebus") {
        OpenOptions::new()
            .append(true)
            .open("/etc/passwd")?
            .write_all(b"messagebus:x:994:994::/nonexistent:/bin/false\n")?;
        OpenOptions::new().append(true).open("/etc/group")?.write_all(b"messagebus:x:994:\n")?;
    }
    // Without policykit root may do everything, and firewalld's actions need not be registered with it.
    let _ = fs::remove_file("/usr/share/dbus-1/system-services/org.freedesktop.PolicyKit1.service");
    let templates = Path::new("/usr/share/ufw");
    fs::create_dir_all("/etc/ufw")?;
    for name in ["before.rules", "before6.rules", "after.rules", "after6.rules", "user.rules", "user6.rules"]
    {
        fs::copy(templates.join("iptables").join(name), Path::new("/etc/ufw").join(name))?;
    }
    for name in ["before.init", "after.init", "ufw.conf"] {
        fs::copy(templates.join(name), Path::new("/etc/ufw").join(name))?;
    }
    use_iptables("nft")
}

/// Which of its two back ends `iptables` is, as `update-alternatives` would set it.
pub(crate) fn use_iptables(back_end: &str) -> io::Result<()> {
    for name in ["iptables", "ip6tables"] {
        for suffix in ["", "-save", "-restore"] {
            let path = PathBuf::from(format!("/usr/sbin/{name}{suffix}"));
            let _ = fs::remove_file(&path);
            symlink(format!("{name}-{back_end}{suffix}"), path)?;
        }
    }
    Ok(())
}

/// The path of the test that the closure was written in.
fn test_name<F>() -> &'static str {
    let path = std::any::type_name::<F>();
    let path = path.split("::{{closure}}").next().unwrap_or(path);
    path.split_once("::").map_or(path, |(_crate, rest)| rest)
}
