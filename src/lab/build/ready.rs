//! Waiting until links carry frames: the kernel lets nothing through a link until it has dealt with its carrier,
//! a little after the link was made.

use std::collections::BTreeMap;
use std::io;
use std::os::fd::{AsFd as _, AsRawFd as _, OwnedFd};
use std::time::{Duration, Instant};

use nix::ifaddrs::getifaddrs;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::socket::{
    AddressFamily, LinkAddr, MsgFlags, SockFlag, SockProtocol, SockType, SockaddrLike as _, bind, recvfrom,
    sendto, socket,
};

use super::super::node::Namespace;
use crate::verify::world::Mac;

/// Local Experimental Ethertype 1 (IEEE 802): no stack takes such frames, and no rule of iptables or of
/// nftables' inet tables sees them.
const ETHERTYPE: [u8; 2] = [0x88, 0xb5];
const MARK: &[u8; 8] = b"isoplan?";
/// The shortest frame of Ethernet, without its checksum.
const LENGTH: usize = 60;
/// Far above what any link needs: a limit, not a measure.
const LIMIT: Duration = Duration::from_secs(10);
/// How long to wait for a frame before one is sent again, ms.
const AGAIN: u16 = 1;

/// One link between the host and a node.
#[derive(Debug)]
pub(super) struct Path<'a> {
    pub(super) node: &'a Namespace,
    /// The node's end.
    pub(super) link: &'a str,
    pub(super) mac: Mac,
    /// The host's end: the device that routes.
    pub(super) host_link: &'a str,
    pub(super) host_mac: Mac,
}

/// A path that is waited for.
struct Waiting<'a> {
    path: &'a Path<'a>,
    socket: OwnedFd,
    node_address: LinkAddr,
    host_address: LinkAddr,
    /// Seen at the host, and at the node.
    there: bool,
    back: bool,
}

/// Returns when every path has carried a frame each way.
pub(super) fn wait(host: &Namespace, paths: &[Path<'_>]) -> io::Result<()> {
    if paths.is_empty() {
        return Ok(());
    }
    let deadline = Instant::now() + LIMIT;
    let (at_host, links) = host.enter(|| io::Result::Ok((open()?, link_addresses()?)))??;
    let mut waiting = Vec::with_capacity(paths.len());
    for path in paths {
        let missing = || io::Error::other(format!("the host has no link {}", path.host_link));
        let host_address = *links.get(path.host_link).ok_or_else(missing)?;
        let (socket, node_address) = path.node.enter(|| {
            let missing = || io::Error::other(format!("{} has no link {}", path.node.name, path.link));
            let address = *link_addresses()?.get(path.link).ok_or_else(missing)?;
            let socket = open()?;
            bind(socket.as_raw_fd(), &address)?;
            io::Result::Ok((socket, address))
        })??;
        waiting.push(Waiting { path, socket, node_address, host_address, there: false, back: false });
    }
    let by_mac: BTreeMap<(usize, Mac), usize> = waiting
        .iter()
        .enumerate()
        .map(|(index, waiting)| ((waiting.host_address.ifindex(), waiting.path.mac), index))
        .collect();
    let mut seen = vec![false; waiting.len()];
    while waiting.iter().any(|waiting| !waiting.there || !waiting.back) {
        for waiting in &waiting {
            let Waiting { path, socket, node_address, host_address, .. } = waiting;
            if !waiting.there {
                send(socket, node_address, path.host_mac, path.mac);
                // At once: hundreds of frames would be more than the socket holds.
                drain(&at_host, |from, source| {
                    if let Some(index) = by_mac.get(&(from.ifindex(), source)) {
                        seen[*index] = true;
                    }
                });
            }
            if !waiting.back {
                send(&at_host, host_address, path.mac, path.host_mac);
            }
        }
        for (waiting, seen) in waiting.iter_mut().zip(&seen) {
            waiting.there |= *seen;
            let host_mac = waiting.path.host_mac;
            let back = &mut waiting.back;
            drain(&waiting.socket, |_, source| *back |= source == host_mac);
        }
        let mut late: Vec<&Waiting<'_>> =
            waiting.iter().filter(|waiting| !waiting.there || !waiting.back).collect();
        let Some(last) = late.pop() else { break };
        if Instant::now() > deadline {
            let Path { node, host_link, .. } = last.path;
            let way = if last.there { "from the host" } else { "to the host" };
            let name = &node.name;
            return Err(io::Error::other(format!(
                "the lab does not come up: no frame passes between {name} and {host_link}, {way}"
            )));
        }
        let mut waited = [
            PollFd::new(last.socket.as_fd(), PollFlags::POLLIN),
            PollFd::new(at_host.as_fd(), PollFlags::POLLIN),
        ];
        poll(&mut waited, PollTimeout::from(AGAIN)).map(drop)?;
    }
    Ok(())
}

/// A packet socket for all frames, of all links of this namespace.
fn open() -> io::Result<OwnedFd> {
    let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
    Ok(socket(AddressFamily::Packet, SockType::Raw, flags, SockProtocol::EthAll)?)
}

/// The links of this namespace. The one place where the kernel gives their addresses as bind takes them.
fn link_addresses() -> io::Result<BTreeMap<String, LinkAddr>> {
    let of_link = |interface: nix::ifaddrs::InterfaceAddress| {
        let address = interface.address.filter(|a| a.family() == Some(AddressFamily::Packet))?;
        Some((interface.interface_name, *address.as_link_addr()?))
    };
    Ok(getifaddrs()?.filter_map(of_link).collect())
}

/// Sends a frame by a link; whether it gets anywhere is for the other end to say.
fn send(socket: &OwnedFd, link: &LinkAddr, to: Mac, from: Mac) {
    let mut frame = [&to[..], &from, &ETHERTYPE, MARK].concat();
    frame.resize(LENGTH, 0);
    let _ = sendto(socket.as_raw_fd(), &frame, link, MsgFlags::empty());
}

/// Takes what has come; tells of our frames the link and the sender.
fn drain(socket: &OwnedFd, mut each: impl FnMut(LinkAddr, Mac)) {
    /// `PACKET_OUTGOING`, packet(7).
    const OUTGOING: u8 = 4;
    let mut buffer = [0_u8; 128];
    while let Ok((length, from)) = recvfrom::<LinkAddr>(socket.as_raw_fd(), &mut buffer) {
        let Some(from) = from.filter(|from| from.pkttype() != OUTGOING) else { continue };
        let frame = &buffer[..length];
        if frame.get(12..14) == Some(&ETHERTYPE) && frame.get(14..22) == Some(MARK) {
            each(from, std::array::from_fn(|at| frame[6 + at]));
        }
    }
}
