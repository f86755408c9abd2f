//! What a draft is made from: what can be read of this host, by whoever asks.

use std::env;
use std::ffi::OsStr;
use std::fs;
use std::io::{self, Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use socket2::{Domain, SockAddr, Socket, Type};

use super::sysctl;
use crate::approach::SysctlKey;
use crate::draft::Evidence;
use crate::draft::engine::{self, EngineNetwork};
use crate::draft::evidence::{mounts, sessions};
use crate::netlink::{self, Nftables};
use crate::ruleset::{Expr, Table};

/// Where the engines listen, unless `DOCKER_HOST` or `CONTAINER_HOST` says otherwise.
const DOCKER: &str = "/var/run/docker.sock";
const PODMAN: &str = "/run/podman/podman.sock";
/// Podman's networks as files, the only place that has them while nothing serves its API (podman-network(1)).
const PODMAN_FILES: &str = "/etc/containers/networks";
/// An engine that does not answer within this is taken for one that is not there.
const PATIENCE: Duration = Duration::from_secs(3);
/// The longest answer that is read; ten thousand networks take some 10 MB.
const LONGEST: u64 = 64 << 20;
/// Tables in which engines and firewalls masquerade.
const NAT_TABLES: [&str; 4] = ["nat", "netavark", "docker-bridges", "firewalld"];

/// Reads everything that a draft is made from, of the network namespace that the calling thread is in. What
/// cannot be read is named in it.
///
/// # Errors
///
/// When links, addresses and routes cannot be read: without them there is nothing to draft.
pub fn evidence() -> io::Result<Evidence> {
    let mut seen = Evidence { host: super::host()?, ..Evidence::default() };
    docker(&mut seen);
    podman(&mut seen);
    let read = |path: &str| fs::read_to_string(path);
    match read("/proc/thread-self/mounts") {
        Ok(text) => seen.mounts = mounts(&text),
        Err(error) => seen.unseen.push(format!("mounts: {error}")),
    }
    for path in ["/proc/thread-self/net/tcp", "/proc/thread-self/net/tcp6"] {
        match read(path) {
            Ok(text) => seen.sessions.extend(sessions(&text)),
            // A kernel without IPv6.
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => seen.unseen.push(format!("TCP connections: {error}")),
        }
    }
    nat(&mut seen);
    let is_on =
        |key: &str| sysctl(&SysctlKey(key.to_owned())).ok().flatten().is_some_and(|value| value != "0");
    seen.forwards = is_on(SysctlKey::IP_FORWARD) || is_on(SysctlKey::IPV6_FORWARD);
    Ok(seen)
}

fn docker(seen: &mut Evidence) {
    let Some(socket) = socket("DOCKER_HOST", DOCKER, seen) else { return };
    let asked = get(&socket, "/networks").and_then(|body| parsed(engine::docker_networks(&body)));
    match asked {
        Ok(networks) => seen.engines.extend(networks),
        Err(error) if error.kind() == io::ErrorKind::NotFound => return,
        Err(error) => {
            seen.unseen.push(format!("Docker's networks ({}): {error}", socket.display()));
            return;
        }
    }
    match get(&socket, "/containers/json").and_then(|body| parsed(engine::containers(&body))) {
        Ok((published, on_host)) => {
            seen.published.extend(published);
            seen.on_host_network.extend(on_host);
        }
        Err(error) => seen.unseen.push(format!("Docker's containers: {error}")),
    }
}

fn podman(seen: &mut Evidence) {
    let mut networks: Vec<EngineNetwork> = Vec::new();
    if let Some(socket) = socket("CONTAINER_HOST", PODMAN, seen) {
        match get(&socket, "/v4.0.0/libpod/networks/json")
            .and_then(|body| parsed(engine::podman_networks(&body)))
        {
            Ok(found) => {
                networks = found;
                if let Ok((published, on_host)) =
                    get(&socket, "/containers/json").and_then(|body| parsed(engine::containers(&body)))
                {
                    seen.published.extend(published);
                    seen.on_host_network.extend(on_host);
                }
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => seen.unseen.push(format!("Podman's networks ({}): {error}", socket.display())),
        }
    }
    if networks.is_empty() {
        networks = podman_files(seen);
    }
    seen.engines.extend(networks);
}

fn podman_files(seen: &mut Evidence) -> Vec<EngineNetwork> {
    let entries = match fs::read_dir(PODMAN_FILES) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Vec::new(),
        Err(error) => {
            seen.unseen.push(format!("{PODMAN_FILES}: {error}"));
            return Vec::new();
        }
    };
    let mut paths: Vec<PathBuf> = entries.flatten().map(|entry| entry.path()).collect();
    paths.retain(|path| path.extension() == Some(OsStr::new("json")));
    paths.sort();
    let mut networks = Vec::new();
    for path in paths {
        match read_file(&path).and_then(|bytes| parsed(engine::podman_network(&bytes))) {
            Ok(network) => networks.push(network),
            Err(error) => seen.unseen.push(format!("{}: {error}", path.display())),
        }
    }
    networks
}

fn read_file(path: &Path) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    fs::File::open(path)?.take(LONGEST).read_to_end(&mut bytes)?;
    Ok(bytes)
}

fn parsed<T>(value: Option<T>) -> io::Result<T> {
    value.ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, "the answer is not what it should be"))
}

/// The socket of an engine; none where a variable names something that is no socket of this host.
fn socket(variable: &str, default: &str, seen: &mut Evidence) -> Option<PathBuf> {
    let Some(value) = env::var_os(variable).filter(|value| !value.is_empty()) else {
        return Some(PathBuf::from(default));
    };
    let path = value.to_str().and_then(|value| value.strip_prefix("unix://")).map(PathBuf::from);
    if path.is_none() {
        seen.unseen.push(format!("{variable} does not name a socket of this host (unix://)"));
    }
    path
}

/// The body of an answer to a GET over a Unix socket. HTTP/1.0, so that the answer ends with the connection and is
/// never in chunks (RFC 1945).
fn get(socket: &Path, path: &str) -> io::Result<Vec<u8>> {
    let deadline = Instant::now() + PATIENCE;
    // The time limit for sending holds for connecting as well (unix_stream_connect).
    let unconnected = Socket::new(Domain::UNIX, Type::STREAM, None)?;
    unconnected.set_write_timeout(Some(PATIENCE))?;
    unconnected.connect(&SockAddr::unix(socket)?)?;
    let mut stream = UnixStream::from(std::os::fd::OwnedFd::from(unconnected));
    let request = format!("GET {path} HTTP/1.0\r\nHost: localhost\r\nAccept: application/json\r\n\r\n");
    stream.write_all(request.as_bytes())?;
    let mut answer = Vec::new();
    let mut buffer = vec![0; 64 * 1024];
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(io::Error::from(io::ErrorKind::TimedOut));
        }
        stream.set_read_timeout(Some(left))?;
        match stream.read(&mut buffer) {
            Ok(0) => break,
            Ok(length) => answer.extend_from_slice(&buffer[..length]),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            // What SO_RCVTIMEO says (socket(7)).
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                return Err(io::Error::from(io::ErrorKind::TimedOut));
            }
            Err(error) => return Err(error),
        }
        if answer.len() as u64 > LONGEST {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "the answer is too long"));
        }
    }
    let head = answer.windows(4).position(|window| window == b"\r\n\r\n");
    let (Some(head), true) = (head, answer.starts_with(b"HTTP/1.")) else {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "no answer of HTTP"));
    };
    if answer.get(9..12) != Some(b"200") {
        let status = answer.split(|byte| *byte == b'\r').next().unwrap_or_default();
        let status =
            String::from_utf8_lossy(status).chars().filter(|c| !c.is_control()).take(60).collect::<String>();
        return Err(io::Error::other(format!("it answers {status}")));
    }
    Ok(answer.split_off(head + 4))
}

/// Who masquerades now, as far as the rule set can be read.
fn nat(seen: &mut Evidence) {
    let mut nftables = match Nftables::open() {
        Ok(nftables) => nftables,
        Err(error) => {
            seen.unseen.push(format!("the rule set: {error}"));
            return;
        }
    };
    for name in NAT_TABLES {
        match nftables.read_tables(name) {
            Ok(snapshot) => {
                let tables = snapshot.tables.values().filter(|table| masquerades(table));
                seen.nat.extend(tables.map(|table| format!("table {} {name}", table.family)));
            }
            Err(netlink::Error::NotPermitted) => {
                seen.unseen
                    .push("the rule set, and whether somebody masquerades: that needs root".to_owned());
                return;
            }
            Err(error) => seen.unseen.push(format!("table {name}: {error}")),
        }
    }
}

fn masquerades(table: &Table) -> bool {
    let mut exprs = table.chains.values().flat_map(|chain| &chain.rules).flat_map(|rule| &rule.exprs);
    exprs.any(|expr| match expr {
        Expr::Masquerade => true,
        Expr::Unknown { name, data } => {
            // xt's target by its name, or one with flags.
            let target = b"MASQUERADE\0";
            name == "masq" || (name == "target" && data.windows(target.len()).any(|part| part == target))
        }
        _ => false,
    })
}
