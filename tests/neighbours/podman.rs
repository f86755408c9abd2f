//! Podman with netavark and its containers.

use std::fs;
use std::io::Write as _;
use std::process::{Command, Stdio};
use std::time::Duration;

use crate::docker::{Container, IMAGE, PORT, UNPUBLISHED, command, container, rootfs, run_ok};
use crate::site::{Site, wait_until};

/// Containers as root, without control groups: what containers do on the network does not depend on them, and
/// nothing of them is to be left behind.
const CONTAINERS: &str = r#"
[containers]
cgroups = "disabled"
[engine]
cgroup_manager = "cgroupfs"
events_logger = "file"
runtime = "crun"
[network]
network_backend = "netavark"
"#;

const STORAGE: &str = r#"
[storage]
driver = "overlay"
graphroot = "/var/lib/containers/storage"
runroot = "/run/containers/storage"
"#;

/// Writes its configuration and makes the image, without a registry.
pub(crate) fn prepare() {
    fs::create_dir_all("/etc/containers").expect("make a directory");
    fs::write("/etc/containers/containers.conf", CONTAINERS).expect("write a file");
    fs::write("/etc/containers/storage.conf", STORAGE).expect("write a file");
    fs::write("/etc/containers/policy.json", r#"{"default":[{"type":"insecureAcceptAnything"}]}"#)
        .expect("write a file");
    let mut import = command_of_podman()
        .args(["import", "--quiet", "-", IMAGE])
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .spawn()
        .expect("run podman");
    import.stdin.take().expect("stdin is a pipe").write_all(&rootfs()).expect("write the image");
    assert!(import.wait().expect("wait for podman").success(), "podman import failed");
}

/// Runs a container that serves, with these options, and waits until it does.
pub(crate) fn run(site: &Site, index: usize, name: &str, options: &[&str]) -> Container {
    let serve = format!("nc -ll -p {UNPUBLISHED} -e echo {name} & exec nc -ll -p {PORT} -e echo {name}");
    let mut args = vec!["run", "--detach", "--stop-signal", "KILL", "--name", name];
    args.extend(options);
    args.extend([IMAGE, "sh", "-c", &serve]);
    podman(&args);
    find(site, index, name)
}

/// A container that runs already; its capture is started.
pub(crate) fn find(site: &Site, index: usize, name: &str) -> Container {
    let format =
        "{{.State.Pid}}{{range .NetworkSettings.Networks}} {{.IPAddress}} {{.GlobalIPv6Address}}{{end}}";
    let text = podman(&["inspect", "--format", format, name]);
    let container =
        container(&text, index, name).unwrap_or_else(|error| panic!("{name}: `{}`: {error}", text.trim()));
    wait_until(&format!("{name} serves"), Duration::from_secs(20), || container.serves());
    site.watch(&container.node).expect("capture at a container");
    container
}

/// Runs it; anything but success is a failure of the test.
#[track_caller]
pub(crate) fn podman(args: &[&str]) -> String {
    run_ok(command_of_podman().args(args))
}

fn command_of_podman() -> Command {
    let mut podman = command("podman");
    podman.env("PODMAN_IGNORE_CGROUPSV1_WARNING", "1");
    podman
}
