//! One network namespace, and doing things in it.

use std::env;
use std::ffi::OsString;
use std::fs::{self, File};
use std::io::{self, Seek as _, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;

use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, setns, unshare};
use nix::sys::memfd::{MFdFlags, memfd_create};

/// Where `ip netns` looks for namespaces, ip-netns(8).
const DIRECTORY: &str = "/run/netns";

/// The namespace of this thread. `/proc/self` would be that of the first thread.
const OWN: &str = "/proc/thread-self/ns/net";

/// A namespace of the lab. The process has one thread, which goes in and comes back.
#[derive(Debug)]
pub struct Namespace {
    /// Its name, for messages and below `/run/netns`.
    pub name: String,
    /// None for the host: the namespace that the process runs in.
    pub(super) file: Option<Entry>,
}

/// How to get into a namespace, and back.
#[derive(Debug)]
pub(super) struct Entry {
    own: File,
    host: Arc<File>,
}

impl Namespace {
    /// The namespace that this process is in, also as `/run/netns/NAME`.
    pub(super) fn host(name: &str) -> io::Result<Self> {
        publish(name)?;
        Ok(Self { name: name.to_owned(), file: None })
    }

    /// The one that this process is in, which has its name already.
    pub(super) fn attached_host(name: &str) -> Self {
        Self { name: name.to_owned(), file: None }
    }

    /// Makes a namespace that `ip` knows by this name, and does some first work in it. Leaves the process in
    /// the namespace of the host.
    pub(super) fn create(
        name: &str,
        host: &Arc<File>,
        first: impl FnOnce() -> io::Result<()>,
    ) -> io::Result<Self> {
        unshare(CloneFlags::CLONE_NEWNET)?;
        let made = publish(name).and_then(|()| File::open(OWN)).and_then(|own| first().map(|()| own));
        setns(host, CloneFlags::CLONE_NEWNET)?;
        let entry = Entry { own: made?, host: Arc::clone(host) };
        Ok(Self { name: name.to_owned(), file: Some(entry) })
    }

    /// Opens a namespace that another process has made.
    pub(super) fn open(name: &str, host: &Arc<File>) -> io::Result<Self> {
        let own = File::open(path_of(name))
            .map_err(|error| io::Error::new(error.kind(), format!("open the namespace {name}: {error}")))?;
        let entry = Entry { own, host: Arc::clone(host) };
        Ok(Self { name: name.to_owned(), file: Some(entry) })
    }

    /// Does some work inside; sockets that it opens and processes that it starts stay there.
    ///
    /// # Errors
    ///
    /// When the namespace cannot be entered.
    pub fn enter<T>(&self, work: impl FnOnce() -> T) -> io::Result<T> {
        let Some(entry) = &self.file else { return Ok(work()) };
        let fault = |what: &str| {
            let text = format!("cannot {what} the namespace {}", self.name);
            move |errno| io::Error::other(format!("{text}: {}", io::Error::from(errno)))
        };
        setns(&entry.own, CloneFlags::CLONE_NEWNET).map_err(fault("enter"))?;
        let result = work();
        setns(&*entry.host, CloneFlags::CLONE_NEWNET).map_err(fault("come back from"))?;
        Ok(result)
    }

    /// Runs `ip -batch` with these lines.
    ///
    /// # Errors
    ///
    /// With what it said.
    pub fn ip(&self, lines: &str) -> io::Result<()> {
        if lines.is_empty() {
            return Ok(());
        }
        self.feed("ip", &["-batch", "-"], lines).map(drop)
    }

    /// Runs a program with this on its standard input; anything but success is an error with what it said.
    ///
    /// # Errors
    ///
    /// With what it said.
    pub fn feed(&self, program: &str, args: &[&str], input: &str) -> io::Result<String> {
        // A file and not a pipe: nobody has to write it while the program runs.
        let mut stdin = File::from(memfd_create("stdin", MFdFlags::MFD_CLOEXEC)?);
        stdin.write_all(input.as_bytes())?;
        stdin.rewind()?;
        let mut command = Command::new(program);
        command.args(args).env("PATH", path()).stdin(stdin).stdout(Stdio::piped()).stderr(Stdio::piped());
        let output = self
            .enter(|| command.output())?
            .map_err(|error| io::Error::new(error.kind(), format!("cannot run {program}: {error}")))?;
        if !output.status.success() {
            let stderr = String::from_utf8_lossy(&output.stderr);
            return Err(io::Error::other(format!(
                "{program} {} failed in {} ({}): {}{}",
                args.join(" "),
                self.name,
                output.status,
                stderr.trim(),
                line_at_fault(input, &stderr),
            )));
        }
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    }

    /// Writes a sysctl, given in the form with slashes.
    ///
    /// # Errors
    ///
    /// With its path.
    pub fn sysctl(&self, key: &str, value: &str) -> io::Result<()> {
        self.enter(|| write_sysctl(key, value))?.map_err(|error| {
            io::Error::new(error.kind(), format!("cannot set {key} to {value} in {}: {error}", self.name))
        })
    }
}

/// A handle of the namespace that this thread is in.
pub(super) fn own_namespace() -> io::Result<Arc<File>> {
    File::open(OWN).map(Arc::new)
}

/// Writes a sysctl of the namespace that this thread is in.
pub(super) fn write_sysctl(key: &str, value: &str) -> io::Result<()> {
    fs::write(Path::new("/proc/sys").join(key), value)
}

/// Lets `ip` know the namespace of this thread by a name.
fn publish(name: &str) -> io::Result<()> {
    let path = path_of(name);
    File::create(&path)?;
    mount(Some(OWN), &path, None::<&str>, MsFlags::MS_BIND, None::<&str>)?;
    Ok(())
}

fn path_of(name: &str) -> PathBuf {
    Path::new(DIRECTORY).join(name)
}

/// `ip` and `nft` live in sbin, which is not on every user's path.
fn path() -> OsString {
    let mut path = env::var_os("PATH").unwrap_or_default();
    path.push(":/usr/local/sbin:/usr/sbin:/sbin:/usr/bin:/bin");
    path
}

/// The line of a batch that `ip` named as `-:NUMBER`.
fn line_at_fault(input: &str, stderr: &str) -> String {
    let number = stderr.split("-:").nth(1).map(|rest| rest.split(|c: char| !c.is_ascii_digit()));
    let number = number.and_then(|mut digits| digits.next()?.parse::<usize>().ok());
    let line = number.and_then(|number| input.lines().nth(number.checked_sub(1)?));
    line.map(|line| format!(" (line: {line})")).unwrap_or_default()
}
