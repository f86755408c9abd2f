//! Asking the kernel for the route of a packet: RTM_GETROUTE of rtnetlink(7), what `ip route get` sends.

use std::io;
use std::net::IpAddr;
use std::os::fd::AsRawFd as _;

use ipnet::IpNet;
use nix::errno::Errno;
use nix::sys::socket::{
    AddressFamily, MsgFlags, NetlinkAddr, SockFlag, SockProtocol, SockType, bind, recv, send, setsockopt,
    socket, sockopt,
};
use nix::sys::time::{TimeVal, TimeValLike as _};

use super::attr::{self, Writer};
use super::socket::header;
use super::wire::{self, Message, Messages};

const RTM_NEWROUTE: u16 = 24;
const RTM_GETROUTE: u16 = 26;
const RTMSG_LEN: usize = 12;
const RTA_DST: u16 = 1;
const RTA_SRC: u16 = 2;
const RTA_IIF: u16 = 3;
const RTA_OIF: u16 = 4;
const RTA_GATEWAY: u16 = 5;
const RTA_TABLE: u16 = 15;
/// The route of the table and not what was made of it for this destination.
const RTM_F_FIB_MATCH: u32 = 0x2000;

/// The packet that a route is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RouteQuery {
    /// Its source; none lets the kernel choose.
    pub source: Option<IpAddr>,
    /// Its destination.
    pub destination: IpAddr,
    /// The index of the link that it came in on; none for one that the host sends.
    pub iif: Option<u32>,
}

/// A route.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RouteFound {
    /// `RTN_*`: 1 unicast, 2 local, 3 broadcast, 5 multicast.
    pub kind: u8,
    /// What it leads to; none for the default route.
    pub prefix: Option<IpNet>,
    /// The index of the link that it leaves by.
    pub oif: Option<u32>,
    /// The next hop.
    pub gateway: Option<IpAddr>,
    /// The routing table: 254 main, 255 local.
    pub table: u32,
}

/// Asks for the route of a packet in the calling thread's network namespace.
///
/// # Errors
///
/// What the kernel would tell the sender: `EHOSTUNREACH`, `ENETUNREACH`, `EACCES` (prohibit), `EINVAL`
/// (blackhole, an address that cannot be, rp_filter), `EXDEV` (rp_filter of older kernels).
pub fn route(query: RouteQuery) -> io::Result<RouteFound> {
    const SEQ: u32 = 1;
    // The answer comes within send(2); without one so long something is broken.
    const TIMEOUT_SECONDS: i64 = 10;
    let protocol = SockProtocol::NetlinkRoute;
    let fd = socket(AddressFamily::Netlink, SockType::Raw, SockFlag::SOCK_CLOEXEC, protocol)?;
    setsockopt(&fd, sockopt::ReceiveTimeout, &TimeVal::seconds(TIMEOUT_SECONDS))?;
    bind(fd.as_raw_fd(), &NetlinkAddr::new(0, 0))?;
    let request = request(query, SEQ);
    send(fd.as_raw_fd(), &request, MsgFlags::empty())?;
    let mut buffer = [0; 8192];
    loop {
        let received = match recv(fd.as_raw_fd(), &mut buffer, MsgFlags::empty()) {
            Ok(received) => received,
            Err(Errno::EINTR) => continue,
            Err(errno) => return Err(errno.into()),
        };
        for message in Messages(&buffer[..received]).filter(|message| message.seq == SEQ) {
            if let Some(answer) = answer(message) {
                return answer;
            }
        }
    }
}

fn request(query: RouteQuery, seq: u32) -> Vec<u8> {
    let mut attributes = Writer::default();
    let mut put = |kind, address| match address {
        IpAddr::V4(address) => attributes.put(kind, &address.octets()),
        IpAddr::V6(address) => attributes.put(kind, &address.octets()),
    };
    put(RTA_DST, query.destination);
    if let Some(source) = query.source {
        put(RTA_SRC, source);
    }
    if let Some(iif) = query.iif {
        attributes.put(RTA_IIF, &iif.to_ne_bytes());
    }
    // A few addresses fit into every attribute.
    let attributes = attributes.finish().unwrap_or_default();
    let (family, bits) = match query.destination {
        IpAddr::V4(_) => (nix::libc::AF_INET, 32),
        IpAddr::V6(_) => (nix::libc::AF_INET6, 128),
    };
    let source_bits = if query.source.is_some() { bits } else { 0 };
    let length = wire::NLMSG_HDRLEN + RTMSG_LEN + attributes.len();
    let mut bytes = header(RTM_GETROUTE, wire::NLM_F_REQUEST, seq, length).to_vec();
    bytes.extend_from_slice(&[family as u8, bits, source_bits, 0, 0, 0, 0, 0]);
    bytes.extend_from_slice(&RTM_F_FIB_MATCH.to_ne_bytes());
    bytes.extend_from_slice(&attributes);
    bytes
}

/// What a message answers; none for one that is no answer.
fn answer(message: Message<'_>) -> Option<io::Result<RouteFound>> {
    let payload = message.payload;
    if message.kind == wire::NLMSG_ERROR {
        let errno = i32::from_ne_bytes(payload.get(..4)?.try_into().ok()?).saturating_neg();
        return Some(Err(io::Error::from_raw_os_error(errno)));
    }
    if message.kind != RTM_NEWROUTE {
        return None;
    }
    let (&[family, prefix_len, _, _, table, _, _, kind, ..], attributes) =
        payload.split_first_chunk::<RTMSG_LEN>()?;
    let address = |kind| {
        let bytes = attr::find(attributes, kind)?;
        match i32::from(family) {
            nix::libc::AF_INET => Some(IpAddr::from(<[u8; 4]>::try_from(bytes).ok()?)),
            nix::libc::AF_INET6 => Some(IpAddr::from(<[u8; 16]>::try_from(bytes).ok()?)),
            _ => None,
        }
    };
    let number = |kind| Some(u32::from_ne_bytes(attr::find(attributes, kind)?.try_into().ok()?));
    Some(Ok(RouteFound {
        kind,
        prefix: address(RTA_DST).and_then(|address| IpNet::new(address, prefix_len).ok()),
        oif: number(RTA_OIF),
        gateway: address(RTA_GATEWAY),
        table: number(RTA_TABLE).unwrap_or_else(|| u32::from(table)),
    }))
}
