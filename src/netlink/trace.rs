//! Trace messages: what the kernel tells of packets that a rule with `meta nftrace set 1` marked.
//!
//! They come by multicast to whoever listens, in the order in which things happened, from within the
//! processing of the packet: what a packet met is there to be read as soon as the packet is.

use std::io;
use std::os::fd::{AsRawFd as _, OwnedFd};

use nix::errno::Errno;
use nix::sys::socket::{
    AddressFamily, MsgFlags, NetlinkAddr, SockFlag, SockProtocol, SockType, bind, recv, setsockopt, socket,
    sockopt,
};

use super::attr;
use super::error::Error;
use super::wire::{Message, Messages, be32, be64, msg, nfta, verdict};
use crate::ruleset::Family;
use crate::verify::explanation::{Header, TraceEvent, TraceKind, TraceVerdict};

/// `NFNLGRP_NFTRACE`, as the bit that bind(2) takes (netlink(7)).
const GROUP: u32 = 1 << (9 - 1);
/// One message has less than 1 KiB.
const RECEIVE_BUFFER: usize = 64 * 1024;
/// Room for what a burst of packets meets.
const SOCKET_RECEIVE_BUFFER: usize = 4 * 1024 * 1024;

/// What was told since the last time.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Told {
    /// In order.
    pub events: Vec<TraceEvent>,
    /// Whether some messages found no room.
    pub is_cut: bool,
}

/// Listens for trace messages of the network namespace that the calling thread had when it was opened.
#[derive(Debug)]
pub struct TraceSocket {
    socket: OwnedFd,
    buffer: Vec<u8>,
}

impl TraceSocket {
    /// Starts to listen. Needs `CAP_NET_ADMIN`.
    ///
    /// # Errors
    ///
    /// When the kernel does not let it.
    pub fn open() -> Result<Self, Error> {
        let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
        let open = || -> nix::Result<OwnedFd> {
            let protocol = SockProtocol::NetlinkNetFilter;
            let fd = socket(AddressFamily::Netlink, SockType::Raw, flags, protocol)?;
            if setsockopt(&fd, sockopt::RcvBufForce, &SOCKET_RECEIVE_BUFFER).is_err() {
                // Only a wish for those who may not force it: the kernel gives what `rmem_max` allows.
                setsockopt(&fd, sockopt::RcvBuf, &SOCKET_RECEIVE_BUFFER)?;
            }
            bind(fd.as_raw_fd(), &NetlinkAddr::new(0, GROUP))?;
            Ok(fd)
        };
        match open() {
            Ok(socket) => Ok(Self { socket, buffer: vec![0; RECEIVE_BUFFER] }),
            Err(Errno::EPERM) => Err(Error::NotPermitted),
            Err(errno) => Err(Error::Open(errno.into())),
        }
    }

    /// Everything that was told up to now; does not wait.
    ///
    /// # Errors
    ///
    /// When receiving fails other than for want of room.
    pub fn drain(&mut self) -> Result<Told, Error> {
        let mut told = Told::default();
        loop {
            match self.datagram() {
                Ok(datagram) => told.events.extend(events(datagram)),
                Err(Errno::EAGAIN) => return Ok(told),
                Err(Errno::EINTR) => {}
                Err(Errno::ENOBUFS) => told.is_cut = true,
                Err(errno) => return Err(Error::Receive(io::Error::from(errno))),
            }
        }
    }

    /// The next datagram.
    pub(super) fn datagram(&mut self) -> nix::Result<&[u8]> {
        let received = recv(self.socket.as_raw_fd(), &mut self.buffer, MsgFlags::MSG_DONTWAIT)?;
        Ok(&self.buffer[..received])
    }
}

/// The trace messages of a datagram. Anything else is left out.
pub(super) fn events(datagram: &[u8]) -> impl Iterator<Item = TraceEvent> {
    Messages(datagram).filter_map(event)
}

fn event(message: Message<'_>) -> Option<TraceEvent> {
    if message.nft_type() != Some(msg::TRACE) {
        return None;
    }
    let (family, _, attributes) = message.nfgen()?;
    let find = |kind| attr::find(attributes, kind);
    let number = |kind| find(kind).and_then(be32);
    let kind = match number(nfta::TRACE_TYPE)? {
        1 => TraceKind::Policy,
        2 => TraceKind::Return,
        3 => match find(nfta::TRACE_RULE_HANDLE) {
            Some(handle) => TraceKind::Rule(be64(handle)?),
            None => TraceKind::End,
        },
        _ => return None,
    };
    let verdict = match kind {
        TraceKind::Policy => decision(number(nfta::TRACE_POLICY)?.cast_signed(), None),
        TraceKind::Rule(_) | TraceKind::End | TraceKind::Return => match find(nfta::TRACE_VERDICT) {
            Some(nest) => {
                let code = attr::find(nest, nfta::VERDICT_CODE).and_then(be32)?.cast_signed();
                decision(code, attr::find(nest, nfta::VERDICT_CHAIN))
            }
            None => TraceVerdict::Continue,
        },
    };
    Some(TraceEvent {
        id: number(nfta::TRACE_ID)?,
        family: Family::from_number(family)?,
        table: attr::text(find(nfta::TRACE_TABLE)?),
        chain: attr::text(find(nfta::TRACE_CHAIN)?),
        kind,
        verdict,
        iif: number(nfta::TRACE_IIF),
        oif: number(nfta::TRACE_OIF),
        header: find(nfta::TRACE_NETWORK_HEADER).and_then(|network| {
            Header::read(network, find(nfta::TRACE_TRANSPORT_HEADER).unwrap_or_default())
        }),
    })
}

/// A verdict by its code: those of nf_tables are negative, those of netfilter are not.
fn decision(code: i32, chain: Option<&[u8]>) -> TraceVerdict {
    let chain = || chain.map(attr::text).unwrap_or_default();
    match code {
        verdict::DROP => TraceVerdict::Drop,
        verdict::ACCEPT => TraceVerdict::Accept,
        verdict::CONTINUE => TraceVerdict::Continue,
        verdict::RETURN => TraceVerdict::Return,
        verdict::JUMP => TraceVerdict::Jump(chain()),
        verdict::GOTO => TraceVerdict::Goto(chain()),
        other => TraceVerdict::Other(other),
    }
}
