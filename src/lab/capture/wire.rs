//! Packet sockets: frames in and out of one namespace (packet(7)).

use std::io::{self, IoSliceMut};
use std::os::fd::{AsFd, AsRawFd as _, BorrowedFd, OwnedFd};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use nix::errno::Errno;
use nix::sys::socket::{
    AddressFamily, ControlMessageOwned, LinkAddr, MsgFlags, RecvMsg, SockFlag, SockProtocol, SockType,
    SockaddrLike, recvmsg, sendto, setsockopt, socket, sockopt,
};
use nix::sys::time::TimeSpec;

use super::super::node::Namespace;
use crate::netlink::link_address;

/// A packet socket for all links of a namespace.
#[derive(Debug)]
pub struct PacketSocket {
    socket: OwnedFd,
}

/// Which way a frame passes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Direction {
    /// It came in, for this node or for everyone.
    In,
    /// It came in only because it was flooded: it is for somebody else.
    Elsewhere,
    /// It was sent from here.
    Out,
}

/// One frame that a packet socket saw.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Received {
    /// How many bytes of the buffer it has.
    pub length: usize,
    /// The index of the link.
    pub link: u32,
    /// Which way.
    pub direction: Direction,
    /// When, by the kernel.
    pub at: SystemTime,
}

impl PacketSocket {
    /// One that sees every frame and can send.
    ///
    /// # Errors
    ///
    /// When it cannot be opened.
    pub fn open(namespace: &Namespace) -> io::Result<Self> {
        let socket = Self::with(namespace, Some(SockProtocol::EthAll))?;
        want_timestamps(&socket.socket)?;
        Ok(socket)
    }

    /// One that can only send.
    ///
    /// # Errors
    ///
    /// When it cannot be opened.
    pub fn open_to_send(namespace: &Namespace) -> io::Result<Self> {
        Self::with(namespace, None)
    }

    fn with(namespace: &Namespace, protocol: Option<SockProtocol>) -> io::Result<Self> {
        let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
        let socket = namespace.enter(|| socket(AddressFamily::Packet, SockType::Raw, flags, protocol))??;
        Ok(Self { socket })
    }

    /// Sends a frame from a link.
    ///
    /// # Errors
    ///
    /// When the link is down or gone, or its queue is full.
    pub fn send(&self, link: u32, frame: &[u8]) -> io::Result<()> {
        let to = link_address(link);
        Ok(sendto(self.socket.as_raw_fd(), frame, &to, MsgFlags::empty()).map(drop)?)
    }

    /// The next frame that waits; none when there is no more.
    pub fn receive(&self, buffer: &mut [u8]) -> Option<Received> {
        /// `PACKET_OTHERHOST` and `PACKET_OUTGOING`.
        const OTHERHOST: u8 = 3;
        const OUTGOING: u8 = 4;
        let (length, from, at, _) = receive::<LinkAddr>(&self.socket, buffer)?;
        let from = from?;
        let direction = match from.pkttype() {
            OUTGOING => Direction::Out,
            OTHERHOST => Direction::Elsewhere,
            _ => Direction::In,
        };
        Some(Received { length, link: u32::try_from(from.ifindex()).unwrap_or_default(), direction, at })
    }
}

impl AsFd for PacketSocket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

/// Has the kernel say when each packet came.
pub(super) fn want_timestamps(socket: &OwnedFd) -> io::Result<()> {
    Ok(setsockopt(socket, sockopt::ReceiveTimestampns, &true)?)
}

/// Length, sender, time, and the destination where the socket tells it.
pub(super) type Taken<A> = (usize, Option<A>, SystemTime, Option<std::net::Ipv6Addr>);

/// The next packet that waits in a non-blocking socket; none when there is no more.
pub(super) fn receive<A: SockaddrLike + Copy>(socket: &OwnedFd, buffer: &mut [u8]) -> Option<Taken<A>> {
    let mut control = nix::cmsg_space!(TimeSpec, nix::libc::in6_pktinfo);
    loop {
        let mut parts = [IoSliceMut::new(buffer)];
        let taken: RecvMsg<'_, '_, A> =
            match recvmsg(socket.as_raw_fd(), &mut parts, Some(&mut control), MsgFlags::empty()) {
                Ok(taken) => taken,
                // What an earlier packet has brought about; the next call is free of it.
                Err(Errno::EINTR | Errno::ENETDOWN | Errno::ECONNREFUSED | Errno::EHOSTUNREACH) => continue,
                Err(_) => return None,
            };
        let mut at = UNIX_EPOCH;
        let mut destination = None;
        for message in taken.cmsgs().into_iter().flatten() {
            match message {
                ControlMessageOwned::ScmTimestampns(time) => at = UNIX_EPOCH + Duration::from(time),
                ControlMessageOwned::Ipv6PacketInfo(info) => {
                    destination = Some(info.ipi6_addr.s6_addr.into())
                }
                _ => {}
            }
        }
        return Some((taken.bytes, taken.address, at, destination));
    }
}
