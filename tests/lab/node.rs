//! One network namespace, and running things in it.

use std::fs::File;
use std::io::{self, Write as _};
use std::net::IpAddr;
use std::process::{Command, Stdio};
use std::thread;

use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, setns, unshare};

use super::spec::Family;

/// Where programs are found: `nft` and `ip` are in sbin, which is not on every user's path.
pub(crate) const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// A namespace with a name and its addresses.
#[derive(Debug)]
pub(crate) struct Node {
    pub(crate) name: String,
    /// Its place in the lab; what the captures call it.
    pub(crate) index: usize,
    /// The addresses that it answers on, the one to use by default first.
    pub(crate) addresses: Vec<IpAddr>,
    /// The host's addresses on the link that this node shares with it; for the host, a server's.
    pub(crate) partners: Vec<IpAddr>,
    /// None for the host: that is the namespace which the process runs in.
    namespace: Option<File>,
}

impl Node {
    /// The namespace that the process itself runs in.
    pub(crate) fn own(name: &str) -> Self {
        Self { name: name.to_owned(), index: 0, addresses: Vec::new(), partners: Vec::new(), namespace: None }
    }

    /// Makes a namespace that `ip` knows by that name.
    pub(crate) fn create(name: &str, index: usize) -> io::Result<Self> {
        let path = format!("/run/netns/{name}");
        File::create(&path)?;
        let namespace = thread::scope(|scope| {
            let made = scope.spawn(|| -> io::Result<File> {
                unshare(CloneFlags::CLONE_NEWNET)?;
                let own = "/proc/thread-self/ns/net";
                mount(Some(own), path.as_str(), None::<&str>, MsFlags::MS_BIND, None::<&str>)?;
                File::open(own)
            });
            made.join().expect("make a namespace")
        })?;
        Ok(Self {
            name: name.to_owned(),
            index,
            addresses: Vec::new(),
            partners: Vec::new(),
            namespace: Some(namespace),
        })
    }

    /// The namespace of a process, a container's for example.
    pub(crate) fn of_process(name: &str, index: usize, process: u32) -> io::Result<Self> {
        let namespace = File::open(format!("/proc/{process}/ns/net"))?;
        Ok(Self {
            name: name.to_owned(),
            index,
            addresses: Vec::new(),
            partners: Vec::new(),
            namespace: Some(namespace),
        })
    }

    pub(crate) fn is_host(&self) -> bool {
        self.namespace.is_none()
    }

    /// Its address of a family.
    pub(crate) fn address(&self, family: Family) -> IpAddr {
        let first = self.addresses.iter().find(|address| Family::of(**address) == family);
        *first.unwrap_or_else(|| panic!("{} has no {family} address", self.name))
    }

    /// The address that it can always talk to, blocked or not.
    pub(crate) fn partner(&self, family: Family) -> IpAddr {
        let first = self.partners.iter().find(|address| Family::of(**address) == family);
        *first.unwrap_or_else(|| panic!("{} has no {family} partner", self.name))
    }

    /// Does some work on a thread inside the namespace; sockets that it opens and processes that it starts stay
    /// there.
    pub(crate) fn enter<T: Send>(&self, work: impl FnOnce() -> T + Send) -> T {
        let Some(namespace) = &self.namespace else { return work() };
        thread::scope(|scope| {
            let worker = scope.spawn(|| {
                setns(namespace, CloneFlags::CLONE_NEWNET).expect("enter a namespace");
                work()
            });
            worker.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
        })
    }

    /// Runs `ip -batch` with these lines.
    pub(crate) fn ip(&self, lines: &str) -> io::Result<()> {
        self.feed("ip", &["-batch", "-"], lines).map(drop)
    }

    /// Loads this nft text.
    pub(crate) fn nft_load(&self, text: &str) -> io::Result<()> {
        self.feed("nft", &["-f", "-"], text).map(drop)
    }

    /// Runs `nft` and gives its output.
    pub(crate) fn nft(&self, args: &[&str]) -> io::Result<String> {
        self.feed("nft", args, "")
    }

    /// Writes a sysctl, given in the form with slashes.
    pub(crate) fn sysctl(&self, key: &str, value: &str) -> io::Result<()> {
        let path = format!("/proc/sys/{key}");
        self.enter(|| std::fs::write(&path, value))
            .map_err(|error| io::Error::other(format!("write {value} to {path} in {}: {error}", self.name)))
    }

    /// Reads a sysctl.
    pub(crate) fn read_sysctl(&self, key: &str) -> io::Result<String> {
        let text = self.enter(|| std::fs::read_to_string(format!("/proc/sys/{key}")))?;
        Ok(text.trim().to_owned())
    }

    /// Runs a program in the namespace with this on its standard input; anything but success is an error.
    fn feed(&self, program: &str, args: &[&str], input: &str) -> io::Result<String> {
        let output = self.enter(|| {
            let mut child = Command::new(program)
                .args(args)
                .env("PATH", PATH)
                .stdin(Stdio::piped())
                .stdout(Stdio::piped())
                .stderr(Stdio::piped())
                .spawn()
                .map_err(|error| io::Error::other(format!("cannot run {program}: {error}")))?;
            let mut stdin = child.stdin.take().expect("stdin is a pipe");
            // A program that ends early closes the pipe; its status then says why.
            let _ = stdin.write_all(input.as_bytes());
            drop(stdin);
            child.wait_with_output()
        })?;
        if !output.status.success() {
            let error = String::from_utf8_lossy(&output.stderr);
            return Err(io::Error::other(format!(
                "{program} {} failed in {}: {}\n{input}",
                args.join(" "),
                self.name,
                error.trim()
            )));
        }
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    }
}
