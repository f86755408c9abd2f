//! Processes and network namespaces: who of a container is in this one, and what is in the others.
//!
//! Looking into another namespace needs `CAP_SYS_ADMIN` in the user namespace that owns it (setns(2)), and seeing
//! which one a process is in the right to trace it (proc(5), `/proc/pid/ns`). Where either is missing, that is said.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::thread;

use nix::sched::{CloneFlags, setns};

use super::facts::{is_denied, names};
use crate::netlink;
use crate::risks::{Elsewhere, Process, Relay};

/// Where programs keep namespaces that no process is in: ip-netns(8), Docker, CRI-O and containerd.
const MOUNTED: [&str; 2] = ["/run/netns", "/run/docker/netns"];

/// Programs that take connections for containers: Docker's, and that of rootless Docker and Podman.
const RELAYS: [&str; 2] = ["docker-proxy", "rootlessport"];

/// What there is of processes and namespaces.
#[derive(Debug, Default)]
pub(super) struct Found {
    /// One process for each container in this network namespace.
    pub(super) on_host_network: Vec<Process>,
    /// Programs of engines in this network namespace that hand on to containers.
    pub(super) relays: Vec<Relay>,
    /// The other network namespaces.
    pub(super) elsewhere: Vec<Elsewhere>,
    /// The process of firewalld.
    pub(super) firewalld: Option<u32>,
    /// What could not be looked at.
    pub(super) unseen: Vec<String>,
}

/// The inodes of the namespaces that this thread is in.
struct Own {
    net: u64,
    pid: u64,
    mount: u64,
    container: Option<String>,
}

pub(super) fn read() -> Found {
    let mut found = Found::default();
    let inode = |path: &str| fs::metadata(path).map(|metadata| metadata.ino());
    let (Ok(net), Ok(pid), Ok(mount)) =
        (inode("/proc/thread-self/ns/net"), inode("/proc/self/ns/pid"), inode("/proc/self/ns/mnt"))
    else {
        found.unseen.push("processes and other namespaces: /proc does not tell".to_owned());
        return found;
    };
    let container = fs::read_to_string("/proc/self/cgroup").ok().and_then(|text| container_of(&text));
    let own = Own { net, pid, mount, container };
    let mut containers: BTreeMap<String, Process> = BTreeMap::new();
    let mut namespaces: BTreeMap<u64, (String, PathBuf)> = BTreeMap::new();
    let mut denied = 0_usize;
    let mut numbers: Vec<u32> =
        names(Path::new("/proc")).iter().filter_map(|name| name.parse().ok()).collect();
    numbers.sort_unstable();
    for number in numbers {
        let path = PathBuf::from(format!("/proc/{number}/ns/net"));
        let net = match fs::metadata(&path) {
            Ok(metadata) => metadata.ino(),
            Err(error) => {
                // One that ended meanwhile, or a thread of the kernel, is nobody.
                denied += usize::from(is_denied(&error));
                continue;
            }
        };
        let name =
            || fs::read_to_string(format!("/proc/{number}/comm")).unwrap_or_default().trim_end().to_owned();
        if net == own.net {
            let name = name();
            if name == "firewalld" {
                found.firewalld.get_or_insert(number);
            }
            if RELAYS.contains(&name.as_str()) {
                found.relays.push(relay(number, &name));
            }
            if let Some((key, container)) = guest(number, &own) {
                containers.entry(key).or_insert(Process { pid: number, name, container });
            }
        } else {
            namespaces.entry(net).or_insert_with(|| (format!("process {number} ({})", name()), path));
        }
    }
    for directory in MOUNTED {
        for name in names(Path::new(directory)) {
            let path = Path::new(directory).join(&name);
            if let Ok(metadata) = fs::metadata(&path)
                && metadata.ino() != own.net
            {
                namespaces.entry(metadata.ino()).or_insert_with(|| (format!("namespace {name}"), path));
            }
        }
    }
    found.on_host_network = containers.into_values().collect();
    if denied > 0 {
        found.unseen.push(format!("the namespaces of {denied} processes: permission denied"));
    }
    look_into(namespaces.into_values().collect(), &mut found);
    found
}

/// What a relay was told, in its arguments: docker-proxy has `-host-ip ADDRESS -host-port PORT`.
fn relay(number: u32, name: &str) -> Relay {
    let arguments = fs::read(format!("/proc/{number}/cmdline")).unwrap_or_default();
    let arguments: Vec<_> = arguments.split(|byte| *byte == 0).map(String::from_utf8_lossy).collect();
    let after = |option: &str| {
        let at = arguments.iter().position(|argument| argument == option)?;
        // It goes to a terminal.
        let word = arguments.get(at + 1)?;
        word.chars().all(|c| c.is_ascii_hexdigit() || ".:%".contains(c)).then(|| word.to_string())
    };
    Relay { name: name.to_owned(), address: after("-host-ip"), port: after("-host-port") }
}

/// What tells the container that a process in this network namespace is in, and its name where it has one.
fn guest(number: u32, own: &Own) -> Option<(String, Option<String>)> {
    let container =
        fs::read_to_string(format!("/proc/{number}/cgroup")).ok().and_then(|text| container_of(&text));
    if let Some(container) = container {
        // isoplan itself may run in one; its own processes are no news.
        return (own.container.as_ref() != Some(&container)).then(|| (container.clone(), Some(container)));
    }
    let inode = |kind: &str| fs::metadata(format!("/proc/{number}/ns/{kind}")).map(|metadata| metadata.ino());
    let (pid, mount) = (inode("pid").ok()?, inode("mnt").ok()?);
    // A service of systemd may have mounts of its own; only what also counts its processes anew is a container.
    (pid != own.pid && mount != own.mount).then(|| (format!("pid:[{pid}]"), None))
}

/// The container that a cgroup is of, from `/proc/pid/cgroup` (cgroups(7)), as engines name it.
fn container_of(text: &str) -> Option<String> {
    const SCOPES: [&str; 5] = ["docker-", "libpod-", "crio-", "cri-containerd-", "nerdctl-"];
    /// The digits that engines print.
    const SHOWN: usize = 12;
    let is_id = |word: &str| word.len() == 64 && word.bytes().all(|byte| byte.is_ascii_hexdigit());
    let paths = text.lines().filter_map(|line| line.splitn(3, ':').nth(2));
    for path in paths {
        let parts: Vec<&str> = path.split('/').collect();
        for (index, part) in parts.iter().enumerate() {
            let name = part.strip_suffix(".scope").unwrap_or(part);
            let id = SCOPES.iter().find_map(|start| name.strip_prefix(start)).unwrap_or(name);
            if is_id(id) {
                return Some(id[..SHOWN].to_owned());
            }
            if let Some(name) = part.strip_prefix("lxc.payload.") {
                return Some(name.to_owned());
            }
            // LXC on cgroup v1, and systemd-nspawn.
            if *part == "lxc" && index == 1 {
                return parts.get(index + 1).map(|name| (*name).to_owned());
            }
            if parts[..index].contains(&"machine.slice")
                && let Some(name) = name.strip_prefix("machine-").filter(|name| !name.starts_with("qemu"))
            {
                return Some(name.to_owned());
            }
        }
    }
    None
}

/// Reads the links of other namespaces, on a thread of its own that enters one after the other.
fn look_into(namespaces: Vec<(String, PathBuf)>, found: &mut Found) {
    let Ok(ours) = File::open("/proc/thread-self/ns/net") else { return };
    let read = || {
        let mut elsewhere = Vec::new();
        let mut faults: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
        for (who, path) in namespaces {
            let links = File::open(&path).and_then(|namespace| {
                setns(namespace, CloneFlags::CLONE_NEWNET)?;
                netlink::links_beside(&ours)
            });
            match links {
                Ok(links) => elsewhere.push(Elsewhere { who, links }),
                // It ended meanwhile.
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
                Err(error) => {
                    faults.entry(error.to_string()).or_default().insert(who);
                }
            }
        }
        (elsewhere, faults)
    };
    let (elsewhere, faults) = thread::scope(|scope| scope.spawn(read).join().unwrap_or_default());
    found.elsewhere = elsewhere;
    for (fault, whose) in faults {
        let first = whose.first().cloned().unwrap_or_default();
        let more = if whose.len() > 1 { format!(" and {} more", whose.len() - 1) } else { String::new() };
        found.unseen.push(format!("the links of {first}{more}: {fault}"));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn containers_are_known_by_their_cgroups() {
        let id = "4f5a1c9d7e3b4f5a1c9d7e3b4f5a1c9d7e3b4f5a1c9d7e3b4f5a1c9d7e3b4f5a";
        let check = |path: &str, expected: Option<&str>| {
            let path = path.replace("ID", id);
            assert_eq!(container_of(&format!("0::{path}\n")).as_deref(), expected, "{path}");
        };
        // cgroup v2, driver systemd and driver cgroupfs; Podman; CRI-O and containerd under a kubelet.
        check("/system.slice/docker-ID.scope", Some("4f5a1c9d7e3b"));
        check("/docker/ID", Some("4f5a1c9d7e3b"));
        check("/machine.slice/libpod-ID.scope/container", Some("4f5a1c9d7e3b"));
        check("/kubepods.slice/kubepods-pod1.slice/crio-ID.scope", Some("4f5a1c9d7e3b"));
        check("/kubepods/besteffort/pod1/ID", Some("4f5a1c9d7e3b"));
        check("/lxc.payload.web/init.scope", Some("web"));
        check("/machine.slice/machine-web.scope/payload", Some("web"));
        // Not containers.
        check("/machine.slice/machine-qemu\\x2d1\\x2dvm.scope", None);
        check("/machine.slice/libpod-conmon-ID.scope", None);
        check("/system.slice/docker.service", None);
        check("/user.slice/user-1000.slice/session-1.scope", None);
        check("/", None);
        // cgroup v1 has a line for each controller.
        assert_eq!(
            container_of(&format!("12:pids:/docker/{id}\n1:name=systemd:/docker/{id}\n")).as_deref(),
            Some("4f5a1c9d7e3b")
        );
        assert_eq!(container_of("3:cpu:/lxc/web\n").as_deref(), Some("web"));
    }
}
