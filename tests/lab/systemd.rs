//! A real systemd as the first process of namespaces of its own, to see what units do at boot.
//!
//! Its root is an overlay over this machine's, which nothing is written through; its `/run`, `/tmp`, `/dev` and cgroups
//! are its own. Its network is the one of the process that boots it, which is a lab's host. Making cgroups needs root.

use std::fs;
use std::io;
use std::os::fd::{AsRawFd as _, OwnedFd};
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant, SystemTime};

use nix::fcntl::{FcntlArg, FdFlag, fcntl};
use nix::mount::{MsFlags, mount};
use nix::pty::openpty;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::isolate;
use super::node::PATH;

/// How long anything may take. Only a test that fails waits that long.
const LIMIT: Duration = Duration::from_secs(60);

/// What cgroups of tests are called; a test that was killed leaves an empty one.
const CGROUP: &str = "isoplan-test-";

/// What this machine has enabled for itself, beside `/etc/systemd/system`, and a test has no use for.
const MASKED: [&str; 12] = [
    "console-getty.service",
    "dbus.service",
    "dbus.socket",
    "getty.target",
    "systemd-hwdb-update.service",
    "systemd-journal-catalog-update.service",
    "systemd-logind.service",
    "systemd-machine-id-commit.service",
    "systemd-tmpfiles-clean.timer",
    "systemd-update-utmp-runlevel.service",
    "systemd-update-utmp.service",
    "systemd-user-sessions.service",
];

/// Goes into a cgroup, and onto every CPU: a lab keeps itself on one.
const APART: &str =
    "echo $$ > \"$1/cgroup.procs\"; taskset -p ffffffff $$ >/dev/null; shift; exec unshare \"$@\"";

/// The last thing that is not systemd: makes what a container has, and becomes systemd.
const START: &str = r#"
set -e
R=$1
CONSOLE=$2
mount -t proc proc $R/proc
# Of what belongs to the whole machine, nothing is written.
mount --bind $R/proc/sys $R/proc/sys; mount -o remount,bind,ro $R/proc/sys
mount --bind $R/proc/sys/net $R/proc/sys/net; mount -o remount,bind,rw $R/proc/sys/net
mount -t sysfs -o ro sysfs $R/sys
mount -t cgroup2 cgroup2 $R/sys/fs/cgroup
mount -t tmpfs -o mode=755 tmpfs $R/dev
for n in null zero full random urandom tty; do touch $R/dev/$n; mount --bind /dev/$n $R/dev/$n; done
touch $R/dev/console; mount --bind $CONSOLE $R/dev/console
touch $R/dev/kmsg; mount --bind /dev/null $R/dev/kmsg
mkdir $R/dev/pts $R/dev/shm; mount -t devpts -o newinstance,ptmxmode=666 devpts $R/dev/pts
ln -s pts/ptmx $R/dev/ptmx; ln -s /proc/self/fd $R/dev/fd
mount -t tmpfs -o mode=755 tmpfs $R/run
mkdir $R/run/netns; mount --rbind /run/netns $R/run/netns
mount -t tmpfs -o mode=1777 tmpfs $R/tmp
hostname booted
mkdir -p $R/.old; cd $R; pivot_root . .old; umount -l /.old; rmdir /.old; cd /
export container=isoplan-test
exec /lib/systemd/systemd --system --unit=multi-user.target --log-target=console --log-color=no --show-status=no
"#;

/// A root file system that a systemd can be booted from.
pub(crate) struct Image {
    /// A mount with the layers of the overlay. Its files end with the namespaces.
    directory: PathBuf,
}

/// A machine that was booted; it ends with this value, or with the process.
pub(crate) struct Machine {
    unshare: Child,
    systemd: Pid,
    cgroup: PathBuf,
    /// What is its console, kept open: without that, what is read from it ends whenever nobody writes.
    _console: OwnedFd,
    log: PathBuf,
}

/// Why this cannot be done here, if so.
pub(crate) fn unavailable() -> Option<String> {
    if !isolate::is_real_root() {
        return Some("making cgroups needs root".to_owned());
    }
    if !Path::new("/lib/systemd/systemd").exists() {
        return Some("there is no systemd on this machine".to_owned());
    }
    cgroups().err().map(|error| format!("no cgroups of version 2: {error}"))
}

/// Where cgroups of version 2 are: alone, or beside those of version 1.
fn cgroups() -> io::Result<PathBuf> {
    let mounts = fs::read_to_string("/proc/self/mounts")?;
    let mut mounts = mounts.lines().map(|line| line.split(' ').collect::<Vec<_>>());
    let found =
        mounts.find(|mount| mount.get(2) == Some(&"cgroup2") && mount[3].split(',').any(|o| o == "rw"));
    found.map(|mount| PathBuf::from(mount[1])).ok_or_else(|| io::Error::other("none is mounted"))
}

impl Image {
    /// This machine's files, without what its administrator enabled.
    pub(crate) fn new() -> io::Result<Self> {
        isolate::require();
        // Not removed: that would go through all files of the machine, to mark each as gone.
        let image = Self { directory: tempfile::tempdir_in("/run")?.keep() };
        let layers = image.directory.as_path();
        mount(Some("tmpfs"), layers, Some("tmpfs"), MsFlags::empty(), None::<&str>)?;
        for name in ["upper", "work", "root"] {
            fs::create_dir(layers.join(name))?;
        }
        let shown = layers.display();
        let options = format!("lowerdir=/,upperdir={shown}/upper,workdir={shown}/work");
        let root = image.root();
        mount(Some("overlay"), &root, Some("overlay"), MsFlags::empty(), Some(options.as_str()))?;
        for path in ["etc/systemd/system", "etc/init.d", "etc/sysctl.d", "usr/lib/sysctl.d", "etc/isoplan"] {
            match fs::remove_dir_all(root.join(path)) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
        }
        for path in ["etc/systemd/system", "etc/sysctl.d"] {
            fs::create_dir_all(root.join(path))?;
        }
        for unit in MASKED {
            symlink("/dev/null", root.join("etc/systemd/system").join(unit))?;
        }
        // Nothing of this machine is mounted, and its clock is not set.
        image.write("etc/fstab", "")?;
        image.write("etc/machine-id", "0123456789abcdef0123456789abcdef\n")?;
        image.write("etc/sysctl.conf", "")?;
        Ok(image)
    }

    /// Where its files are.
    pub(crate) fn root(&self) -> PathBuf {
        self.directory.join("root")
    }

    /// Writes a file, and the directories around it.
    pub(crate) fn write(&self, path: &str, text: &str) -> io::Result<()> {
        let path = self.root().join(path);
        if let Some(parent) = path.parent() {
            fs::create_dir_all(parent)?;
        }
        // Not through a link of this machine's.
        let _ = fs::remove_file(&path);
        fs::write(path, text)
    }

    /// Enables a unit as `systemctl enable` does.
    pub(crate) fn enable(&self, unit: &str) -> io::Result<()> {
        let root = format!("--root={}", self.root().display());
        let output = Command::new("systemctl").args([root.as_str(), "enable", unit]).output()?;
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        if output.status.success() { Ok(()) } else { Err(io::Error::other(said)) }
    }

    /// Boots it; does not wait for it.
    pub(crate) fn start(&self) -> io::Result<Machine> {
        let cgroup = make_cgroup()?;
        let log = self.directory.join("console");
        let console = fs::File::create(&log)?;
        let terminal = terminal(console.try_clone()?)?;
        let device = fs::read_link(format!("/proc/self/fd/{}", terminal.as_raw_fd()))?;
        let mut unshare = Command::new("sh")
            .args(["-c", APART, "sh"])
            .arg(&cgroup)
            .args(["--mount", "--uts", "--ipc", "--pid", "--cgroup", "--fork", "--", "sh", "-c", START, "sh"])
            .arg(self.root())
            .arg(device)
            .env_clear()
            .env("PATH", PATH)
            .stdin(Stdio::null())
            .stdout(console.try_clone()?)
            .stderr(console)
            .spawn()?;
        let children = format!("/proc/{0}/task/{0}/children", unshare.id());
        let deadline = Instant::now() + LIMIT;
        loop {
            let child = fs::read_to_string(&children).unwrap_or_default();
            let child = child.split_whitespace().next().and_then(|child| child.parse().ok());
            let name =
                child.map(|child: i32| fs::read_to_string(format!("/proc/{child}/comm")).unwrap_or_default());
            if let (Some(child), Some("systemd\n")) = (child, name.as_deref()) {
                let systemd = Pid::from_raw(child);
                return Ok(Machine { unshare, systemd, cgroup, _console: terminal, log });
            }
            let has_ended = unshare.try_wait()?.is_some();
            if has_ended || Instant::now() > deadline {
                let said = fs::read_to_string(&log).unwrap_or_default();
                return Err(io::Error::other(format!("systemd does not start: {said}")));
            }
            std::thread::sleep(Duration::from_millis(2));
        }
    }

    /// Boots it and waits until everything that was asked for was started, or failed.
    pub(crate) fn boot(&self) -> io::Result<Machine> {
        let machine = self.start()?;
        machine.wait_until_up()?;
        Ok(machine)
    }
}

impl Machine {
    /// Waits until the first transaction is done.
    pub(crate) fn wait_until_up(&self) -> io::Result<()> {
        let deadline = Instant::now() + LIMIT;
        while Instant::now() < deadline {
            let state = self.run(&["systemctl", "is-system-running"])?;
            if ["running", "degraded"].contains(&String::from_utf8_lossy(&state.stdout).trim()) {
                return Ok(());
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        Err(io::Error::other(format!("the machine does not come up: {}", self.console())))
    }

    /// Runs a command on it.
    pub(crate) fn run(&self, command: &[&str]) -> io::Result<Output> {
        Command::new("nsenter")
            .args(["--target", &self.systemd.to_string()])
            .args(["--mount", "--uts", "--ipc", "--pid", "--cgroup", "--wdns=/", "--"])
            .args(command)
            .env_clear()
            .env("PATH", PATH)
            .env("LC_ALL", "C.UTF-8")
            .stdin(Stdio::null())
            .output()
    }

    /// The output of a command that ends well; panics with all that it said otherwise.
    #[track_caller]
    pub(crate) fn ok(&self, command: &[&str]) -> String {
        let output = self.run(command).expect("run a command on the machine");
        let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        assert!(
            output.status.success(),
            "{command:?} ended with {}\n{out}{err}\n{}",
            output.status,
            self.journal()
        );
        out.into_owned()
    }

    /// A property of a unit, such as `ActiveState`.
    #[track_caller]
    pub(crate) fn property(&self, unit: &str, property: &str) -> String {
        self.ok(&["systemctl", "show", "--value", "--property", property, unit]).trim().to_owned()
    }

    /// What its services said.
    pub(crate) fn journal(&self) -> String {
        let output = self.run(&["journalctl", "--boot", "--no-pager", "--output=short-monotonic"]);
        output.map(|output| String::from_utf8_lossy(&output.stdout).into_owned()).unwrap_or_default()
    }

    /// What systemd itself said.
    pub(crate) fn console(&self) -> String {
        fs::read_to_string(&self.log).unwrap_or_default()
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        // The kernel ends everything in a pid namespace with its first process.
        let _ = kill(self.systemd, Signal::SIGKILL);
        let _ = self.unshare.wait();
        let deadline = Instant::now() + Duration::from_secs(5);
        while remove_cgroup(&self.cgroup).is_err() && Instant::now() < deadline {
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}

/// A terminal, which systemd wants its console to be; what is written there goes into the log until it is closed.
fn terminal(mut log: fs::File) -> io::Result<OwnedFd> {
    let terminal = openpty(None, None)?;
    for fd in [&terminal.master, &terminal.slave] {
        fcntl(fd, FcntlArg::F_SETFD(FdFlag::FD_CLOEXEC))?;
    }
    let mut master = fs::File::from(terminal.master);
    std::thread::spawn(move || io::copy(&mut master, &mut log));
    Ok(terminal.slave)
}

fn make_cgroup() -> io::Result<PathBuf> {
    let all = cgroups()?;
    for old in fs::read_dir(&all)?.flatten() {
        let is_old = old.metadata().and_then(|metadata| metadata.modified()).is_ok_and(|modified| {
            SystemTime::now().duration_since(modified).is_ok_and(|age| age > Duration::from_secs(600))
        });
        if is_old && old.file_name().to_string_lossy().starts_with(CGROUP) {
            let _ = remove_cgroup(&old.path());
        }
    }
    // Process ids are not unique among pid namespaces.
    let name = tempfile::Builder::new().prefix(CGROUP).tempdir_in(all)?;
    Ok(name.keep())
}

/// Removes a cgroup with those in it; fails while a process is in one.
fn remove_cgroup(path: &Path) -> io::Result<()> {
    for entry in fs::read_dir(path)?.flatten() {
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            remove_cgroup(&entry.path())?;
        }
    }
    fs::remove_dir(path)
}
