//! What a draft is made from, and the files of `/proc` that tell of it.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use super::engine::{EngineNetwork, Published};
use crate::host::Host;

/// Everything that a draft is made from.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Evidence {
    /// Links, addresses and routes.
    pub host: Host,
    /// Networks of Docker and Podman, in the order of asking.
    pub engines: Vec<EngineNetwork>,
    /// Ports that containers have published.
    pub published: Vec<Published>,
    /// Containers that use the network of the host.
    pub on_host_network: Vec<String>,
    /// Storage that is mounted from elsewhere.
    pub mounts: BTreeSet<Mount>,
    /// Established TCP connections of this host.
    pub sessions: BTreeSet<Session>,
    /// Tables in which somebody masquerades.
    pub nat: Vec<String>,
    /// Whether IPv4 or IPv6 is forwarded now.
    pub forwards: bool,
    /// What could not be read: a clause each.
    pub unseen: Vec<String>,
}

/// A file system from elsewhere.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Mount {
    /// Its server.
    pub server: IpAddr,
    /// Its type: `nfs4`.
    pub kind: String,
}

/// An established TCP connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Session {
    /// This host's end.
    pub local: SocketAddr,
    /// The other one.
    pub remote: SocketAddr,
}

/// File systems that come over the network.
const NETWORK_FILE_SYSTEMS: [&str; 8] =
    ["nfs", "nfs4", "cifs", "smb3", "ceph", "fuse.glusterfs", "afs", "lustre"];

/// The servers in `/proc/mounts` (proc_pid_mounts(5)): by the option `addr`, else in front of the path. One that is
/// a name is left out: no address is asked for it.
pub fn mounts(text: &str) -> BTreeSet<Mount> {
    let mut mounts = BTreeSet::new();
    for line in text.lines() {
        let mut words = line.split(' ');
        let (Some(source), _, Some(kind), options) = (words.next(), words.next(), words.next(), words.next())
        else {
            continue;
        };
        if !NETWORK_FILE_SYSTEMS.contains(&kind) {
            continue;
        }
        let options = options.unwrap_or_default().split(',');
        let by_option = options.filter_map(|option| option.strip_prefix("addr=")).find_map(address);
        let servers: Vec<IpAddr> = match by_option {
            Some(server) => vec![server],
            None => source.split(',').filter_map(server).collect(),
        };
        mounts.extend(servers.into_iter().map(|server| Mount { server, kind: kind.to_owned() }));
    }
    mounts
}

/// An address, in brackets or with a zone or not.
fn address(text: &str) -> Option<IpAddr> {
    let text = text.strip_prefix('[').and_then(|rest| rest.split(']').next()).unwrap_or(text);
    text.split('%').next()?.parse().ok()
}

/// `192.168.57.5:/export`, `//192.168.57.5/share`, `[fd57::5]:/export`, `192.168.57.5:6789:/`.
fn server(source: &str) -> Option<IpAddr> {
    if let Some(share) = source.strip_prefix("//") {
        return address(share.split('/').next()?);
    }
    if source.starts_with('[') {
        return address(source);
    }
    address(source.split(':').next()?)
}

/// The established connections in `/proc/net/tcp` or `tcp6` (proc_net(5)): addresses as 32-bit words in host
/// order, ports in hexadecimal.
pub fn sessions(text: &str) -> BTreeSet<Session> {
    const ESTABLISHED: &str = "01";
    let session = |line: &str| {
        let mut words = line.split_ascii_whitespace().skip(1);
        let (local, remote, state) = (words.next()?, words.next()?, words.next()?);
        let session = Session { local: socket(local)?, remote: socket(remote)? };
        (state == ESTABLISHED && !session.local.ip().is_loopback()).then_some(session)
    };
    text.lines().filter_map(session).collect()
}

fn socket(text: &str) -> Option<SocketAddr> {
    let (address, port) = text.split_once(':')?;
    let port = u16::from_str_radix(port, 16).ok()?;
    let mut bytes = Vec::with_capacity(16);
    for word in 0..address.len() / 8 {
        let word = u32::from_str_radix(address.get(word * 8..word * 8 + 8)?, 16).ok()?;
        bytes.extend_from_slice(&word.to_ne_bytes());
    }
    let address = match <[u8; 4]>::try_from(bytes.as_slice()) {
        Ok(bytes) => IpAddr::V4(Ipv4Addr::from(bytes)),
        Err(_) => Ipv6Addr::from(<[u8; 16]>::try_from(bytes).ok()?).to_canonical(),
    };
    Some(SocketAddr::new(address, port))
}

/// A text of somebody else's as a terminal and a comment can show it.
pub(super) fn shown(text: &str) -> String {
    const LONGEST: usize = 60;
    let mut shown = String::new();
    for c in text.chars().take(LONGEST) {
        if c == ' ' || c.is_alphanumeric() || c.is_ascii_graphic() {
            shown.push(c);
        } else {
            shown.extend(c.escape_default());
        }
    }
    if text.chars().nth(LONGEST).is_some() {
        shown.push_str("...");
    }
    shown
}
