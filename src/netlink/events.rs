//! What the kernel tells of changes: transactions of anybody on the rule set, and links, addresses, routes and
//! forwarding.
//!
//! Both sockets are told at once, from within the change, and lose messages when nobody reads them (`ENOBUFS`
//! of netlink(7)). A reader then knows that something happened, and has to look for itself.

use std::collections::BTreeSet;
use std::io;
use std::mem;
use std::os::fd::{AsFd, AsRawFd as _, BorrowedFd, OwnedFd};

use nix::errno::Errno;
use nix::sys::socket::{
    AddressFamily, MsgFlags, NetlinkAddr, SockFlag, SockProtocol, SockType, bind, recv, setsockopt, socket,
    sockopt,
};

use super::attr;
use super::error::Error;
use super::wire::{Message, Messages, be32, msg, nfta};
use crate::ruleset::{Family, TABLE_NAME};
use crate::vigil::{Object, Touch, Transaction, Writer};

/// `NFNLGRP_NFTABLES`, as the bit that bind(2) takes (netlink(7)).
const NFTABLES: u32 = 1 << (7 - 1);
/// `RTNLGRP_LINK`, `_IPV4_IFADDR`, `_IPV4_ROUTE`, `_IPV6_IFADDR`, `_IPV6_ROUTE`, `_IPV4_NETCONF` and
/// `_IPV6_NETCONF`. The last two tell of `forwarding`, whoever wrote it (`inet_netconf_notify_devconf`).
const ROUTING: u32 =
    bit(1) | bit(5) | bit(7) | bit(9) | bit(11) | bit(RTNLGRP_IPV4_NETCONF) | bit(RTNLGRP_IPV6_NETCONF);
const RTNLGRP_IPV4_NETCONF: u32 = 24;
const RTNLGRP_IPV6_NETCONF: u32 = 25;
/// Longer than any datagram of events (`NLMSG_GOODSIZE`, and one rule of up to 64 KiB).
const RECEIVE_BUFFER: usize = 128 * 1024;
/// Room for a burst of transactions.
pub const SOCKET_RECEIVE_BUFFER: usize = 4 * 1024 * 1024;
/// A transaction may touch more objects than anybody wants to read of.
const TOUCHES: usize = 64;

const RTM_NEWLINK: u16 = 16;
const RTM_DELLINK: u16 = 17;
const RTM_NEWADDR: u16 = 20;
const RTM_DELADDR: u16 = 21;
const RTM_NEWROUTE: u16 = 24;
const RTM_DELROUTE: u16 = 25;
const RTM_NEWNETCONF: u16 = 80;
const RTM_DELNETCONF: u16 = 81;

const fn bit(group: u32) -> u32 {
    1 << (group - 1)
}

/// A socket that listens to groups.
#[derive(Debug)]
struct Listener {
    socket: OwnedFd,
    buffer: Vec<u8>,
}

impl Listener {
    fn open(protocol: SockProtocol, groups: u32, room: usize) -> Result<Self, Error> {
        let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
        let open = || -> nix::Result<OwnedFd> {
            let fd = socket(AddressFamily::Netlink, SockType::Raw, flags, protocol)?;
            if setsockopt(&fd, sockopt::RcvBufForce, &room).is_err() {
                // Only a wish for those who may not force it: the kernel gives what `rmem_max` allows.
                setsockopt(&fd, sockopt::RcvBuf, &room)?;
            }
            bind(fd.as_raw_fd(), &NetlinkAddr::new(0, groups))?;
            Ok(fd)
        };
        match open() {
            Ok(socket) => Ok(Self { socket, buffer: vec![0; RECEIVE_BUFFER] }),
            Err(Errno::EPERM) => Err(Error::NotPermitted),
            Err(errno) => Err(Error::Open(errno.into())),
        }
    }

    /// Hands over every message that is there; whether some were lost.
    fn drain(&mut self, mut each: impl FnMut(Message<'_>)) -> Result<bool, Error> {
        let mut overrun = false;
        loop {
            match recv(self.socket.as_raw_fd(), &mut self.buffer, MsgFlags::MSG_DONTWAIT) {
                // Nobody but the kernel may send here; an empty datagram would not come from it.
                Ok(0) | Err(Errno::EAGAIN) => return Ok(overrun),
                Ok(received) => Messages(&self.buffer[..received]).for_each(&mut each),
                Err(Errno::EINTR) => {}
                Err(Errno::ENOBUFS) => overrun = true,
                Err(errno) => return Err(Error::Receive(io::Error::from(errno))),
            }
        }
    }
}

/// Listens for transactions on the rule set of the network namespace that the calling thread had when it was
/// opened.
#[derive(Debug)]
pub struct RulesetEvents {
    listener: Listener,
    /// Of a transaction whose last message is still to come.
    touches: BTreeSet<Touch>,
}

/// What was told of the rule set since the last time.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RulesetNews {
    /// In order.
    pub transactions: Vec<Transaction>,
    /// Whether some messages found no room.
    pub overrun: bool,
}

impl RulesetEvents {
    /// Starts to listen, with so many bytes of room. Needs `CAP_NET_ADMIN`.
    ///
    /// # Errors
    ///
    /// When the kernel does not let it.
    pub fn open(room: usize) -> Result<Self, Error> {
        let listener = Listener::open(SockProtocol::NetlinkNetFilter, NFTABLES, room)?;
        Ok(Self { listener, touches: BTreeSet::new() })
    }

    /// Everything that was told up to now; does not wait.
    ///
    /// # Errors
    ///
    /// When receiving fails other than for want of room.
    pub fn drain(&mut self) -> Result<RulesetNews, Error> {
        let mut transactions = Vec::new();
        let touches = &mut self.touches;
        let overrun = self.listener.drain(|message| transactions.extend(transaction(message, touches)))?;
        if overrun {
            // Their ends may be among what was lost.
            touches.clear();
        }
        Ok(RulesetNews { transactions, overrun })
    }
}

impl AsFd for RulesetEvents {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.listener.socket.as_fd()
    }
}

/// Takes one message in; the whole transaction when it was its last, which tells the new generation and who
/// made it (`nf_tables_gen_notify`).
pub(super) fn transaction(message: Message<'_>, touches: &mut BTreeSet<Touch>) -> Option<Transaction> {
    let kind = message.nft_type()?;
    let (family, _, attributes) = message.nfgen()?;
    if kind != msg::NEWGEN {
        if let Some(touch) = touch(kind, family, attributes)
            && touches.len() < TOUCHES
        {
            touches.insert(touch);
        }
        return None;
    }
    let number = |kind| attr::find(attributes, kind).and_then(be32);
    let name = attr::find(attributes, nfta::GEN_PROC_NAME).map(attr::text);
    let writer = number(nfta::GEN_PROC_PID).zip(name).map(|(pid, name)| Writer { name, pid });
    Some(Transaction {
        generation: number(nfta::GEN_ID)?,
        port: message.port,
        writer,
        touches: mem::take(touches),
    })
}

/// What a message says about a table of isoplan's; none for tables of others.
fn touch(kind: u16, family: u8, attributes: &[u8]) -> Option<Touch> {
    let name = |kind| attr::find(attributes, kind).map(attr::text).unwrap_or_default();
    if name(nfta::ANY_TABLE) != TABLE_NAME {
        return None;
    }
    let (deleted, object) = match kind {
        msg::NEWTABLE => (false, Object::Table),
        msg::DELTABLE => (true, Object::Table),
        msg::NEWCHAIN => (false, Object::Chain(name(nfta::CHAIN_NAME))),
        msg::DELCHAIN => (true, Object::Chain(name(nfta::CHAIN_NAME))),
        msg::NEWRULE => (false, Object::Rules(name(nfta::RULE_CHAIN))),
        msg::DELRULE => (true, Object::Rules(name(nfta::RULE_CHAIN))),
        msg::NEWSET => (false, Object::Set(name(nfta::SET_NAME))),
        msg::DELSET => (true, Object::Set(name(nfta::SET_NAME))),
        msg::NEWSETELEM => (false, Object::Elements(name(nfta::ELEM_LIST_SET))),
        msg::DELSETELEM => (true, Object::Elements(name(nfta::ELEM_LIST_SET))),
        msg::NEWOBJ | msg::NEWFLOWTABLE => (false, Object::Other(name(nfta::OBJ_NAME))),
        msg::DELOBJ | msg::DELFLOWTABLE => (true, Object::Other(name(nfta::OBJ_NAME))),
        _ => return None,
    };
    Some(Touch { object, deleted, family: Family::from_number(family)? })
}

/// Listens for links, addresses, routes and forwarding of the network namespace that the calling thread had
/// when it was opened. Needs no privilege.
#[derive(Debug)]
pub struct RoutingEvents(Listener);

/// What was told of links, addresses and routes since the last time.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct RoutingNews {
    /// Whether a link came, went or changed.
    pub links: bool,
    /// Whether an address or a route did.
    pub addresses: bool,
    /// Whether somebody wrote a `forwarding`.
    pub forwarding: bool,
}

impl RoutingEvents {
    /// Starts to listen.
    ///
    /// # Errors
    ///
    /// When the kernel does not let it.
    pub fn open() -> Result<Self, Error> {
        Listener::open(SockProtocol::NetlinkRoute, ROUTING, SOCKET_RECEIVE_BUFFER).map(Self)
    }

    /// Everything that was told up to now; does not wait. What was lost counts as everything.
    ///
    /// # Errors
    ///
    /// When receiving fails other than for want of room.
    pub fn drain(&mut self) -> Result<RoutingNews, Error> {
        let mut news = RoutingNews::default();
        let overrun = self.0.drain(|message| match message.kind {
            RTM_NEWLINK | RTM_DELLINK => news.links = true,
            RTM_NEWADDR | RTM_DELADDR | RTM_NEWROUTE | RTM_DELROUTE => news.addresses = true,
            RTM_NEWNETCONF | RTM_DELNETCONF => news.forwarding = true,
            _ => {}
        })?;
        if overrun {
            news = RoutingNews { links: true, addresses: true, forwarding: true };
        }
        Ok(news)
    }
}

impl AsFd for RoutingEvents {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.socket.as_fd()
    }
}
