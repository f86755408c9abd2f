//! dockerd and its containers.

use std::fs;
use std::io::{self, Read as _, Write as _};
use std::net::{IpAddr, SocketAddr, TcpStream};
use std::os::unix::net::UnixStream;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::host::NAME;
use crate::lab::node::{Node, PATH};
use crate::site::{Site, wait_until};

const SOCKET: &str = "/run/docker.sock";
const LOG: &str = "/var/log/dockerd.log";
/// What the containers serve on, and publish where they publish something.
pub(crate) const PORT: u16 = 80;
/// What they serve on as well, and never publish.
pub(crate) const UNPUBLISHED: u16 = 81;
/// The image: busybox, and nothing else.
pub(crate) const IMAGE: &str = "box";

/// A dockerd that runs.
pub(crate) struct Docker {
    child: Child,
}

/// A container that runs, and answers on [`PORT`].
pub(crate) struct Container {
    pub(crate) node: Node,
    pub(crate) name: String,
    /// Its first process.
    pub(crate) process: u32,
}

impl Container {
    /// Whether both of its servers answer the host at each of its addresses, which are ready to use then.
    pub(crate) fn serves(&self) -> bool {
        let all = self
            .node
            .addresses
            .iter()
            .flat_map(|own| [PORT, UNPUBLISHED].map(|port| SocketAddr::new(*own, port)));
        all.into_iter().all(|to| TcpStream::connect_timeout(&to, Duration::from_millis(200)).is_ok())
    }

    /// Its own address of the family of another, with a port.
    pub(crate) fn direct(&self, like: IpAddr, port: u16) -> SocketAddr {
        let own = self.node.addresses.iter().find(|own| own.is_ipv4() == like.is_ipv4());
        SocketAddr::new(*own.unwrap_or_else(|| panic!("{} has no address like {like}", self.name)), port)
    }
}

impl Docker {
    /// Starts it and waits until it answers.
    pub(crate) fn start(args: &[&str]) -> Self {
        let log =
            fs::OpenOptions::new().create(true).append(true).open(LOG).expect("open the log of dockerd");
        let name = std::env::var(NAME).expect("the name of this host");
        let child = Command::new("dockerd")
            .args(["--host", &format!("unix://{SOCKET}"), "--storage-driver", "overlay2", "--group", "root"])
            .args(["--exec-opt", "native.cgroupdriver=cgroupfs", "--cgroup-parent", &format!("/{name}")])
            .args(args)
            .env("PATH", PATH)
            .stdin(Stdio::null())
            .stdout(log.try_clone().expect("copy a descriptor"))
            .stderr(log)
            .spawn()
            .expect("start dockerd");
        let mut docker = Self { child };
        for _ in 0..2000 {
            if answers() {
                return docker;
            }
            if let Ok(Some(status)) = docker.child.try_wait() {
                panic!("dockerd ended ({status}):\n{}", Self::log());
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        panic!("dockerd does not answer:\n{}", Self::log());
    }

    /// Whether containers go on without it; the one that runs takes it over.
    pub(crate) fn live_restore(&self, is_on: bool) {
        live_restore(is_on);
        let log = fs::read_to_string(LOG).unwrap_or_default().len();
        let pid = Pid::from_raw(i32::try_from(self.child.id()).expect("a process id"));
        kill(pid, Signal::SIGHUP).expect("have dockerd read its configuration");
        wait_until("dockerd has read its configuration", Duration::from_secs(10), || {
            fs::read_to_string(LOG).unwrap_or_default()[log..].contains("Reloaded configuration")
        });
    }

    /// Ends it as systemd would, and waits for that.
    pub(crate) fn stop(mut self) {
        let pid = Pid::from_raw(i32::try_from(self.child.id()).expect("a process id"));
        kill(pid, Signal::SIGTERM).expect("end dockerd");
        self.child.wait().expect("wait for dockerd");
    }

    /// The last lines that it wrote.
    pub(crate) fn log() -> String {
        let text = fs::read_to_string(LOG).unwrap_or_default();
        let lines: Vec<_> = text.lines().collect();
        lines[lines.len().saturating_sub(20)..].join("\n")
    }

    /// Makes the image, without a registry.
    pub(crate) fn import_image() {
        let archive = rootfs();
        let mut import = command("docker")
            .args(["import", "-", IMAGE])
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .spawn()
            .expect("run docker");
        import.stdin.take().expect("stdin is a pipe").write_all(&archive).expect("write the image");
        assert!(import.wait().expect("wait for docker").success(), "docker import failed");
    }

    /// Runs a container that serves, with these options, and waits until it does.
    pub(crate) fn run(site: &Site, index: usize, name: &str, options: &[&str]) -> Container {
        let serve = format!("nc -ll -p {UNPUBLISHED} -e echo {name} & exec nc -ll -p {PORT} -e echo {name}");
        // A shell that is the first process of a container ignores SIGTERM, and Docker would wait 10 s for it.
        let mut args = vec!["run", "--detach", "--stop-signal", "KILL", "--name", name];
        args.extend(options);
        args.extend([IMAGE, "sh", "-c", &serve]);
        docker(&args);
        Self::find(site, index, name)
    }

    /// A container that runs already; its capture is started.
    pub(crate) fn find(site: &Site, index: usize, name: &str) -> Container {
        Self::find_other_than(site, index, name, 0)
    }

    /// The same of a container that is started again: not yet the one with this process, which may still be there.
    pub(crate) fn find_other_than(site: &Site, index: usize, name: &str, process: u32) -> Container {
        let format =
            "{{.State.Pid}}{{range .NetworkSettings.Networks}} {{.IPAddress}} {{.GlobalIPv6Address}}{{end}}";
        let mut found = None;
        wait_until(&format!("{name} serves"), Duration::from_secs(20), || {
            let text = docker(&["inspect", "--format", format, name]);
            // Its address may come a moment after its process.
            let container =
                container(&text, index, name).ok().filter(|container| container.process != process);
            found = container.filter(Container::serves);
            found.is_some()
        });
        let container = found.expect("it was found");
        site.watch(&container.node).expect("capture at a container");
        container
    }
}

/// Whether containers go on without dockerd, for the next one that starts.
pub(crate) fn live_restore(is_on: bool) {
    fs::create_dir_all("/etc/docker").expect("make a directory");
    fs::write("/etc/docker/daemon.json", format!("{{\"live-restore\": {is_on}}}\n")).expect("write a file");
}

/// A container from its process id and its addresses.
pub(crate) fn container(text: &str, index: usize, name: &str) -> io::Result<Container> {
    let mut words = text.split_whitespace();
    let pid = words.next().and_then(|pid| pid.parse().ok()).filter(|pid| *pid != 0);
    let pid: u32 = pid.ok_or_else(|| io::Error::other("it does not run"))?;
    let mut node = Node::of_process(name, index, pid)?;
    node.addresses = words.filter_map(|word| word.parse::<IpAddr>().ok()).collect();
    if node.addresses.is_empty() {
        return Err(io::Error::other("it has no address"));
    }
    Ok(Container { node, name: name.to_owned(), process: pid })
}

/// Runs the client; anything but success is a failure of the test.
#[track_caller]
pub(crate) fn docker(args: &[&str]) -> String {
    run_ok(command("docker").args(args))
}

/// A command with a clean environment.
pub(crate) fn command(program: &str) -> Command {
    let mut command = Command::new(program);
    command.env_clear().env("PATH", PATH).env("HOME", "/root").env("LC_ALL", "C.UTF-8").stdin(Stdio::null());
    if let Some(name) = std::env::var_os(NAME) {
        command.env(NAME, name);
    }
    command
}

/// Runs it and gives its output; panics with what it said if it fails.
#[track_caller]
pub(crate) fn run_ok(command: &mut Command) -> String {
    let output = command.output().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    assert!(
        output.status.success(),
        "{command:?}: {}\n{}{}",
        output.status,
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// The root of the image, as a tar archive.
pub(crate) fn rootfs() -> Vec<u8> {
    let directory = tempfile::tempdir().expect("make a directory");
    let bin = directory.path().join("bin");
    for name in ["bin", "etc", "proc", "sys", "dev", "tmp", "run"] {
        fs::create_dir(directory.path().join(name)).expect("make a directory");
    }
    fs::copy(
        ["/bin/busybox", "/usr/bin/busybox"]
            .into_iter()
            .find(|path| fs::exists(path).unwrap_or(false))
            .expect("busybox"),
        bin.join("busybox"),
    )
    .expect("copy busybox");
    for name in ["sh", "nc", "echo", "sleep", "ping", "ip", "cat"] {
        std::os::unix::fs::symlink("busybox", bin.join(name)).expect("make a link");
    }
    let output = command("tar").arg("-C").arg(directory.path()).args(["-c", "."]).output().expect("run tar");
    assert!(output.status.success(), "tar failed");
    output.stdout
}

/// Whether the API answers.
fn answers() -> bool {
    let ask = || -> io::Result<String> {
        let mut stream = UnixStream::connect(SOCKET)?;
        stream.set_read_timeout(Some(Duration::from_secs(2)))?;
        stream.write_all(b"GET /_ping HTTP/1.0\r\n\r\n")?;
        let mut text = String::new();
        stream.read_to_string(&mut text)?;
        Ok(text)
    };
    ask().is_ok_and(|text| text.contains("200 OK"))
}
