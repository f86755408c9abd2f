//! Whole frames: sent from a node as they are, and seen at another whatever is in them.

use std::io;
use std::os::fd::{AsRawFd, OwnedFd};

use nix::ifaddrs::getifaddrs;
use nix::sys::socket::{
    AddressFamily, LinkAddr, MsgFlags, SockFlag, SockProtocol, SockType, SockaddrLike as _, bind, recvfrom,
    send, socket,
};

use super::node::Node;

/// Every frame that comes in on a node's link, kept by the kernel until it is asked for.
#[derive(Debug)]
pub(crate) struct Tap {
    socket: OwnedFd,
}

impl Tap {
    /// Live when this returns.
    pub(crate) fn open(node: &Node, link: &str) -> io::Result<Self> {
        Ok(Self { socket: open(node, link)? })
    }

    /// What came in since the last time. Whatever passed before now is in it.
    pub(crate) fn drain(&self) -> Vec<Vec<u8>> {
        /// `PACKET_OUTGOING`, packet(7).
        const OUTGOING: u8 = 4;
        let mut frames = Vec::new();
        let mut buffer = vec![0_u8; 65_536];
        while let Ok((length, from)) = recvfrom::<LinkAddr>(self.socket.as_raw_fd(), &mut buffer) {
            if from.is_none_or(|from| from.pkttype() != OUTGOING) {
                frames.push(buffer[..length].to_vec());
            }
        }
        frames
    }
}

/// Sends a frame from a node's link.
pub(crate) fn send_frame(node: &Node, link: &str, frame: &[u8]) -> io::Result<()> {
    let socket = open(node, link)?;
    Ok(send(socket.as_raw_fd(), frame, MsgFlags::empty()).map(drop)?)
}

/// A packet socket on one link.
fn open(node: &Node, link: &str) -> io::Result<OwnedFd> {
    node.enter(|| {
        let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
        let socket = socket(AddressFamily::Packet, SockType::Raw, flags, SockProtocol::EthAll)?;
        // The one place where the kernel gives a link's address as bind takes it.
        let address = getifaddrs()?
            .filter(|interface| interface.interface_name == link)
            .filter_map(|interface| interface.address)
            .find(|address| address.family() == Some(AddressFamily::Packet))
            .ok_or_else(|| io::Error::other(format!("{} has no link {link}", node.name)))?;
        let address = address.as_link_addr().expect("a link's address");
        bind(socket.as_raw_fd(), address)?;
        Ok(socket)
    })
}
