//! Re-running the program inside namespaces of its own.
//!
//! A user namespace can only be made by a process with one thread, which a test is not. So the test starts its
//! own binary again under `unshare`, for that one test, and the body runs there, as the first process of a pid
//! namespace: when it ends, the kernel ends everything that it started.

use std::env;
use std::io::{self, Read};
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::process::{self, Child, Command, Output, Stdio};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use nix::mount::{MsFlags, mount};

/// Set for the process inside: the name of the test that it runs.
const INSIDE: &str = "ISOPLAN_TEST";

/// How long one test may take inside. Far above what any needs: a limit, not a measure.
const LIMIT: Duration = Duration::from_secs(240);

/// Which privilege the namespaces are made with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Privilege {
    /// A user namespace: what any user can do.
    User,
    /// Root of the machine when the test runs as that, else a user namespace.
    RootIfPossible,
}

/// Who makes the namespaces.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Way {
    /// Root of a new user namespace.
    UserNamespace,
    /// Root of the machine.
    Root,
}

/// Where the output of the process inside goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Streams {
    /// To this process's own.
    Inherited,
    /// To this process.
    Piped,
}

/// Runs the body of a test in namespaces of its own: user, network, mount and pid.
///
/// To be called as the only thing a test does; the body is run by a second process, which finds the test by
/// the name of the closure's type.
pub(crate) fn in_namespace<F: FnOnce()>(body: F) {
    in_namespace_with(Privilege::User, body);
}

/// The same with a choice of privilege.
pub(crate) fn in_namespace_with<F: FnOnce()>(privilege: Privilege, body: F) {
    let test = test_name::<F>();
    if env::var_os(INSIDE).is_some_and(|inside| inside == test) {
        prepare().expect("prepare the namespaces");
        body();
        return;
    }
    if let Some(reason) = unavailable() {
        assert!(env::var_os("CI").is_none(), "no namespaces here, and CI may not skip: {reason}");
        eprintln!("skipped: {test}: {reason}");
        return;
    }
    let child = start(&[test, "--exact", "--nocapture", "--test-threads=1"], test, privilege, Streams::Piped)
        .expect("start the test again in namespaces");
    let output = finish(child, LIMIT);
    let text = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
    eprint!("{text}");
    assert!(output.status.success(), "{test} failed inside its namespaces ({})", output.status);
    // A name that matches no test would run nothing and succeed.
    assert!(text.contains("1 passed"), "{test} did not run inside its namespaces");
}

/// Whether this process is already the one inside, for a program that is not a test.
pub(crate) fn is_inside(name: &str) -> bool {
    env::var_os(INSIDE).is_some_and(|inside| inside == name)
}

/// Starts this program again in namespaces of its own, with its output where `output` says.
pub(crate) fn start(args: &[&str], name: &str, privilege: Privilege, output: Streams) -> io::Result<Child> {
    let stream = || match output {
        Streams::Inherited => Stdio::inherit(),
        Streams::Piped => Stdio::piped(),
    };
    let way = match way() {
        Ok(_) if privilege == Privilege::RootIfPossible && is_real_root() => Way::Root,
        Ok(way) => *way,
        Err(reason) => return Err(io::Error::other(reason.as_str())),
    };
    unshare(way)
        // A shell starts what runs in the background with these ignored, and a test sends them.
        .args(["env", "--default-signal=HUP,INT,QUIT"])
        .arg(env::current_exe()?)
        .args(args)
        .env(INSIDE, name)
        .env(isoplan::lab::isolate::MARK, network_namespace()?.to_string())
        .stdin(Stdio::piped())
        .stdout(stream())
        .stderr(stream())
        .spawn()
}

/// Why namespaces cannot be made here, if so.
pub(crate) fn unavailable() -> Option<&'static str> {
    way().as_ref().err().map(String::as_str)
}

/// How namespaces can be made here.
fn way() -> &'static Result<Way, String> {
    static WAY: OnceLock<Result<Way, String>> = OnceLock::new();
    WAY.get_or_init(|| {
        let works = |way| match unshare(way).arg("true").stdin(Stdio::null()).output() {
            Ok(output) if output.status.success() => Ok(way),
            Ok(output) => Err(String::from_utf8_lossy(&output.stderr).trim().to_owned()),
            Err(error) => Err(format!("cannot run unshare: {error}")),
        };
        works(Way::UserNamespace)
            .or_else(|reason| if is_real_root() { works(Way::Root) } else { Err(reason) })
    })
}

/// Whether this process has root's rights over the machine, not only over a user namespace.
pub(crate) fn is_real_root() -> bool {
    let whole = |map: String| map.split_whitespace().eq(["0", "0", "4294967295"]);
    nix::unistd::geteuid().is_root() && std::fs::read_to_string("/proc/self/uid_map").is_ok_and(whole)
}

/// Whether this process was [`prepare`]d.
static IS_ISOLATED: AtomicBool = AtomicBool::new(false);

/// Panics in a process that is not in namespaces of its own: nothing may be changed there.
pub(crate) fn require() {
    assert!(IS_ISOLATED.load(Ordering::Relaxed), "a lab is made in namespaces of its own only");
}

/// Makes the namespaces ready for the body.
pub(crate) fn prepare() -> io::Result<()> {
    // The first process of a pid namespace: what `start` makes, and nothing else is.
    if process::id() != 1 || env::var_os(INSIDE).is_none() {
        return Err(io::Error::other("not in namespaces of its own"));
    }
    // The process outside holds the other end of stdin. When it is gone, however it went, this one follows.
    thread::spawn(follow_stdin);
    // `ip netns` and isoplan keep files under /run; these are to be seen by nobody else.
    mount(Some("tmpfs"), "/run", Some("tmpfs"), MsFlags::empty(), None::<&str>)?;
    std::fs::create_dir("/run/netns")?;
    // A lab of isoplan's own may be made here as well.
    let directory = Path::new(isoplan::lab::isolate::DIRECTORY);
    std::fs::create_dir(directory)?;
    std::fs::write(directory.join("namespace"), network_namespace()?.to_string())?;
    IS_ISOLATED.store(true, Ordering::Relaxed);
    Ok(())
}

/// The inode of the network namespace of this thread.
fn network_namespace() -> io::Result<u64> {
    Ok(std::fs::metadata("/proc/thread-self/ns/net")?.ino())
}

#[expect(clippy::exit, reason = "the body runs on another thread and knows nothing of the process outside")]
fn follow_stdin() {
    let mut nothing = [0_u8; 1];
    while matches!(io::stdin().read(&mut nothing), Ok(1)) {}
    process::exit(1);
}

fn unshare(way: Way) -> Command {
    let mut command = Command::new("unshare");
    if way == Way::UserNamespace {
        command.args(["--user", "--map-root-user"]);
    }
    command.args(["--net", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc"]);
    command
}

/// Waits for a child and takes its output; kills it at the limit.
fn finish(mut child: Child, limit: Duration) -> Output {
    let stdin = child.stdin.take();
    let (mut stdout, mut stderr) = (child.stdout.take(), child.stderr.take());
    let (send, receive) = mpsc::channel();
    let reader = thread::spawn(move || {
        let read = |pipe: Option<&mut dyn Read>| {
            let mut bytes = Vec::new();
            if let Some(pipe) = pipe {
                // What came before an error is worth more than the error.
                let _ = pipe.read_to_end(&mut bytes);
            }
            bytes
        };
        let (out, err) = thread::scope(|scope| {
            let out = scope.spawn(|| read(stdout.as_mut().map(|pipe| pipe as &mut dyn Read)));
            let err = scope.spawn(|| read(stderr.as_mut().map(|pipe| pipe as &mut dyn Read)));
            (out.join().unwrap_or_default(), err.join().unwrap_or_default())
        });
        let _ = send.send(());
        (out, err)
    });
    let in_time = receive.recv_timeout(limit).is_ok();
    if !in_time {
        child.kill().expect("kill a test that takes too long");
    }
    let status = child.wait().expect("wait for the test");
    drop(stdin);
    let (stdout, mut stderr) = reader.join().expect("read the test's output");
    if !in_time {
        stderr.extend_from_slice(format!("killed after {} s\n", limit.as_secs()).as_bytes());
    }
    Output { status, stdout, stderr }
}

/// The path of the test that the closure was written in: `packets::storage_is_closed`.
fn test_name<F>() -> &'static str {
    let path = std::any::type_name::<F>();
    let path = path.split("::{{closure}}").next().unwrap_or(path);
    path.split_once("::").map_or(path, |(_crate, rest)| rest)
}

/// Whether a program is on the path.
pub(crate) fn has_program(name: &str) -> bool {
    let path = env::var_os("PATH").unwrap_or_default();
    env::split_paths(&path).any(|directory| Path::new(&directory).join(name).is_file())
}
