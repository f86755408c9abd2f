//! Namespaces of our own: how a process gets into them, and how it ends with the one that started it.
//!
//! Three processes take part. The outer one calls [`start`] and holds the write end of a pipe, the lifeline.
//! The first stage ([`enter`]) makes the namespaces and waits, outside of the pid namespace, for the second
//! stage or for the end of the lifeline. The second stage ([`settle`]) is the first process of the pid
//! namespace; it gets SIGKILL when the first stage goes (PR_SET_PDEATHSIG), and the kernel ends with it
//! everything that was started inside (pid_namespaces(7)). So nobody inside has to watch anything, and no way
//! of ending any of the three leaves something behind.

mod namespaces;

pub use namespaces::map;

use std::env;
use std::ffi::{OsStr, OsString};
use std::fmt;
use std::fs::{self, File};
use std::io::{self, Read as _, Seek as _, Write as _};
use std::os::fd::{AsFd as _, AsRawFd as _, BorrowedFd, RawFd};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::os::unix::process::ExitStatusExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::OnceLock;

use nix::errno::Errno;
use nix::fcntl::{FcntlArg, FdFlag, OFlag, fcntl};
use nix::mount::{MsFlags, mount};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::memfd::{MFdFlags, memfd_create};
use nix::sys::prctl::set_pdeathsig;
use nix::sys::signal::{SigSet, Signal};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use nix::unistd::{geteuid, pipe2};
use serde::Serialize;

use crate::error::{Exit, Failure};

/// The hidden verb that makes the namespaces: `isoplan lab-stage enter FD -- ARGS...`.
pub const STAGE: &str = "lab-stage";

/// Set for every process inside: the inode of the network namespace outside.
pub const MARK: &str = "ISOPLAN_LAB";

/// What a lab keeps about itself, inside only.
pub const DIRECTORY: &str = "/run/isoplan-lab";

/// Where isoplan keeps its state when it runs inside.
const STATE_DIRECTORY: &str = "/run/isoplan";

/// This program, also when its file was replaced meanwhile.
pub(super) const THIS: &str = "/proc/self/exe";

static PROGRAM: OnceLock<PathBuf> = OnceLock::new();

/// Labs are made with this program from now on, where the one that calls is not isoplan: a test. The first call
/// counts.
pub fn use_program(path: impl Into<PathBuf>) {
    let _ = PROGRAM.set(path.into());
}

/// The program that stages are started with.
pub(super) fn program() -> &'static Path {
    PROGRAM.get().map_or(Path::new(THIS), PathBuf::as_path)
}

/// A process inside the lab's namespaces, as the one outside sees it. When this is dropped, or the process that
/// holds it ends in whatever way, everything inside ends.
#[derive(Debug)]
pub struct Inside {
    /// The first of two processes; its exit code is that of the one inside.
    pub child: Child,
    /// The write end of the lifeline. Nobody else has it: it closes on exec.
    lifeline: Option<File>,
}

impl Drop for Inside {
    fn drop(&mut self) {
        // The first stage ends what is inside and waits for the end of it.
        drop(self.lifeline.take());
        let _ = self.child.wait();
    }
}

/// Starts this program again with `args` as the first process of new user, network, mount, pid, IPC and UTS
/// namespaces.
///
/// # Errors
///
/// When the program cannot be started. That namespaces cannot be made shows in the exit code and on stderr.
pub fn start<S: AsRef<OsStr>>(args: &[S], stdin: Stdio, stdout: Stdio, stderr: Stdio) -> io::Result<Inside> {
    start_with(args, stdin, stdout, stderr, &[])
}

/// The same with files that go along: what is inside finds them by the numbers that they have here, and calls
/// [`take_over`].
pub(super) fn start_with<S: AsRef<OsStr>>(
    args: &[S],
    stdin: Stdio,
    stdout: Stdio,
    stderr: Stdio,
    along: &[BorrowedFd<'_>],
) -> io::Result<Inside> {
    let (read, write) = pipe2(OFlag::O_CLOEXEC)?;
    let mut command = Command::new(program());
    command.args([STAGE, "enter", &read.as_raw_fd().to_string(), "--"]).args(args);
    let closes_on_exec = |flag| {
        let mut along = along.iter().copied().chain([read.as_fd()]);
        along.try_for_each(|fd| fcntl(fd, FcntlArg::F_SETFD(flag)).map(drop))
    };
    // A read end that some other child takes along at this moment does no harm.
    closes_on_exec(FdFlag::empty())?;
    let child = command.stdin(stdin).stdout(stdout).stderr(stderr).spawn();
    closes_on_exec(FdFlag::FD_CLOEXEC)?;
    let child = child?;
    Ok(Inside { child, lifeline: Some(File::from(write)) })
}

/// A step that the kernel refused.
#[derive(Debug)]
pub struct Refused {
    step: &'static str,
    source: io::Error,
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.step, self.source)
    }
}

impl std::error::Error for Refused {}

fn step<T, E: Into<io::Error>>(step: &'static str, result: Result<T, E>) -> Result<T, Refused> {
    result.map_err(|source| Refused { step, source: source.into() })
}

/// The first stage: makes the namespaces, starts the second stage, waits for it and gives its exit code, 128
/// and the signal where it was killed. When the lifeline ends first, so does all inside.
///
/// # Errors
///
/// When the kernel refuses a step.
pub fn enter(lifeline: RawFd, args: &[OsString]) -> Result<u8, Refused> {
    let lifeline = step("cannot hold the lifeline", take_over(lifeline, OFlag::O_RDONLY))?;
    let outside = step("cannot tell the network namespace", network_namespace())?;
    namespaces::make()?;
    // Its write end is this process's alone; the second stage sees by it whether this one is still there.
    let (alive, _held) = step("cannot make a pipe", pipe2(OFlag::O_CLOEXEC))?;
    step("cannot make a pipe", fcntl(&alive, FcntlArg::F_SETFD(FdFlag::empty())))?;
    let mut command = Command::new(THIS);
    command.args([STAGE, "settle", &alive.as_raw_fd().to_string(), "--"]).args(args);
    command.env(MARK, outside.to_string()).env("ISOPLAN_STATE_DIR", STATE_DIRECTORY).env("PATH", path());
    let mut child = step("cannot start this program again", command.spawn())?;
    drop(alive);
    // Blocked only now, so that the second stage has not taken it over. A signal from the terminal is meant for
    // the command inside, or ends the process outside, and then the lifeline.
    let mut signals = SigSet::empty();
    signals.add(Signal::SIGINT);
    signals.add(Signal::SIGQUIT);
    signals.add(Signal::SIGCHLD);
    step("cannot block signals", signals.thread_block())?;
    let children = SigSet::from_iter([Signal::SIGCHLD]);
    let flags = SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK;
    let ended = step("cannot wait for children", SignalFd::with_flags(&children, flags))?;
    loop {
        // Asked first: it may have ended before its signal was blocked.
        if let Some(status) = step("cannot wait for children", child.try_wait())? {
            return Ok(code(status));
        }
        let mut waited = [
            PollFd::new(ended.as_fd(), PollFlags::POLLIN),
            // Nothing is ever written to it: it is readable when its last write end is closed.
            PollFd::new(lifeline.as_fd(), PollFlags::POLLIN),
        ];
        match poll(&mut waited, PollTimeout::NONE) {
            Ok(_) | Err(Errno::EINTR) => {}
            Err(error) => return step("cannot wait for children", Err(error)),
        }
        let is_cut = waited[1].any() == Some(true);
        let _ = ended.read_signal();
        if is_cut {
            let _ = child.kill();
            // Returns when the last process of the pid namespace is gone.
            let status = step("cannot wait for children", child.wait())?;
            return Ok(code(status));
        }
    }
}

/// The second stage, at its very beginning: makes sure that it ends with the first, and makes `/proc` and
/// `/run` its own.
///
/// # Errors
///
/// When the kernel refuses a step, or the first stage is gone.
pub fn settle(alive: RawFd) -> Result<(), Refused> {
    step("cannot ask for a signal at the parent's end", set_pdeathsig(Signal::SIGKILL))?;
    // Who ended before that was asked for sends no signal.
    let mut alive = step("cannot see the parent", take_over(alive, OFlag::O_RDONLY | OFlag::O_NONBLOCK))?;
    if !matches!(alive.read(&mut [0]), Err(error) if error.kind() == io::ErrorKind::WouldBlock) {
        return step("the parent is gone", Err(io::Error::from(io::ErrorKind::BrokenPipe)));
    }
    if std::process::id() != 1 {
        return step("not the first process of a pid namespace", Err(io::Error::from(Errno::EPERM)));
    }
    // Where parts of /proc are covered, as in many containers, a new one is refused. The old one shows the
    // processes of outside, and does for the rest.
    let flags = MsFlags::MS_NOSUID | MsFlags::MS_NODEV | MsFlags::MS_NOEXEC;
    let _ = mount(Some("proc"), "/proc", Some("proc"), flags, None::<&str>);
    // `ip netns` and isoplan keep files under /run; these are to be seen by nobody else.
    let flags = MsFlags::MS_NOSUID | MsFlags::MS_NODEV;
    step(
        "cannot mount a tmpfs on /run",
        mount(Some("tmpfs"), "/run", Some("tmpfs"), flags, Some("mode=755")),
    )?;
    step("cannot make /run/netns", fs::create_dir("/run/netns"))?;
    step("cannot make /run/isoplan-lab", fs::create_dir(DIRECTORY))?;
    let own = step("cannot tell the network namespace", network_namespace())?;
    step("cannot write below /run", fs::write(Path::new(DIRECTORY).join("namespace"), own.to_string()))
}

/// Why namespaces cannot be made here, if so, with what to do about it.
pub fn unavailable() -> Option<String> {
    check().err().map(|failure| failure.to_string())
}

/// Tries whether a lab can be made here at all.
///
/// # Errors
///
/// With the reason, [`Exit::NotPermitted`] and a hint, when not.
pub fn check() -> Result<(), Failure> {
    let failed = |why: String| {
        Failure::new("cannot make a lab here").because(why).exit(Exit::NotPermitted).hint(hint())
    };
    if !env::split_paths(&path()).any(|directory| directory.join("ip").is_file()) {
        return Err(Failure::new("there is no `ip` on the path, which makes the lab")
            .hint("install the package iproute2 (iproute on some systems)"));
    }
    let tried = start(&[STAGE, "try"], Stdio::null(), Stdio::null(), Stdio::piped());
    let mut inside = tried.map_err(|error| failed(error.to_string()))?;
    let mut said = String::new();
    if let Some(mut stderr) = inside.child.stderr.take() {
        let _ = stderr.read_to_string(&mut said);
    }
    match inside.child.wait() {
        Ok(status) if status.success() => Ok(()),
        Ok(status) if said.trim().is_empty() => Err(failed(format!("the attempt ended with {status}"))),
        Ok(_) => Err(failed(said.trim().to_owned())),
        Err(error) => Err(failed(error.to_string())),
    }
}

/// What to do where namespaces are refused.
fn hint() -> String {
    let is = |key: &str, value: &str| {
        fs::read_to_string(Path::new("/proc/sys").join(key)).is_ok_and(|text| text.trim() == value)
    };
    let kinds = ["user", "net", "mnt", "pid", "ipc", "uts"];
    let (why, command) = if let Some(kind) =
        kinds.into_iter().find(|kind| is(&format!("user/max_{kind}_namespaces"), "0"))
    {
        let command = format!("sysctl -w user.max_{kind}_namespaces=10000");
        ("namespaces are switched off here", command)
    } else if is("kernel/unprivileged_userns_clone", "0") {
        ("user namespaces are for root only here", "sysctl -w kernel.unprivileged_userns_clone=1".to_owned())
    } else if is("kernel/apparmor_restrict_unprivileged_userns", "1") {
        let command = "sysctl -w kernel.apparmor_restrict_unprivileged_userns=0";
        ("AppArmor restricts user namespaces here", command.to_owned())
    } else {
        (
            "a container has to be started with more privilege for that",
            "docker run --privileged ...".to_owned(),
        )
    };
    let root = if geteuid().is_root() { "" } else { "run it as root; " };
    format!("{root}{why}:\n        {command}")
}

/// Fails in a process that is not on the host of a lab, in namespaces made by [`start`]: nothing may be
/// changed there.
///
/// # Errors
///
/// When that is so.
pub fn require() -> io::Result<()> {
    let refused = |why: &str| Err(io::Error::new(io::ErrorKind::PermissionDenied, why));
    let own = network_namespace()?;
    let Some(outside) = env::var(MARK).ok().and_then(|mark| mark.parse::<u64>().ok()) else {
        return refused("this is not in a lab");
    };
    if outside == own {
        return refused("this is the network namespace that the lab was started from");
    }
    // Only a mount namespace of a lab has this file.
    match fs::read_to_string(Path::new(DIRECTORY).join("namespace")) {
        Ok(host) if host == own.to_string() => Ok(()),
        Ok(_) => refused("this is not on the host of the lab"),
        Err(_) => refused("this is not in a lab"),
    }
}

/// Fails outside of every namespace of a lab, the host's and those of its peers.
///
/// # Errors
///
/// When that is so.
pub fn require_any() -> io::Result<()> {
    let outside = env::var(MARK).ok().and_then(|mark| mark.parse::<u64>().ok());
    let is_inside = outside.is_some_and(|outside| network_namespace().is_ok_and(|own| own != outside));
    // Only a mount namespace of a lab has this file.
    if is_inside && Path::new(DIRECTORY).join("namespace").exists() {
        return Ok(());
    }
    Err(io::Error::new(io::ErrorKind::PermissionDenied, "this is not in a lab"))
}

/// The inode of the network namespace of this thread.
fn network_namespace() -> io::Result<u64> {
    Ok(fs::metadata("/proc/thread-self/ns/net")?.ino())
}

/// The exit code of a process as a shell tells it.
pub fn code(status: ExitStatus) -> u8 {
    let code = status.code().unwrap_or_else(|| 128 + status.signal().unwrap_or(0));
    u8::try_from(code).unwrap_or(1)
}

/// `ip` and `nft` live in sbin, which is not on every user's path.
pub(super) fn path() -> OsString {
    let mut directories: Vec<_> = env::split_paths(&env::var_os("PATH").unwrap_or_default()).collect();
    for sbin in ["/usr/local/sbin", "/usr/sbin", "/sbin", "/usr/bin", "/bin"] {
        if !directories.iter().any(|directory| directory == Path::new(sbin)) {
            directories.push(sbin.into());
        }
    }
    env::join_paths(directories).unwrap_or_else(|_| "/usr/sbin:/usr/bin:/sbin:/bin".into())
}

/// Opens a file again that was inherited by its number, and closes that; nobody that this process starts gets it.
pub(super) fn take_over(fd: RawFd, flags: OFlag) -> io::Result<File> {
    // The file is closed on exec, as every one that the standard library opens.
    let mut options = fs::OpenOptions::new();
    options.read(!flags.contains(OFlag::O_WRONLY)).write(flags.contains(OFlag::O_WRONLY));
    let file =
        options.custom_flags((flags & !OFlag::O_ACCMODE).bits()).open(format!("/proc/self/fd/{fd}"))?;
    nix::unistd::close(fd)?;
    Ok(file)
}

/// A value as JSON, in a file without a name that is read from its beginning: unlike a pipe it never blocks.
pub(super) fn document(name: &str, value: &impl Serialize) -> io::Result<File> {
    let mut file = File::from(memfd_create(name, MFdFlags::MFD_CLOEXEC)?);
    file.write_all(&serde_json::to_vec(value)?)?;
    file.rewind()?;
    Ok(file)
}
