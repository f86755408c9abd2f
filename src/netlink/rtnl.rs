//! What the kernel knows of links, addresses and routes: dumps of rtnetlink(7).
//!
//! Numbers as in `<linux/rtnetlink.h>`, `<linux/if_link.h>`, `<linux/if_addr.h>`. Everything is in host byte
//! order but addresses and the port of a VXLAN.

use std::io;
use std::net::IpAddr;
use std::os::fd::{AsRawFd as _, OwnedFd};
use std::time::{Duration, Instant};

use ipnet::IpNet;
use nix::errno::Errno;
use nix::libc;
use nix::sys::socket::{
    AddressFamily, MsgFlags, NetlinkAddr, SockFlag, SockProtocol, SockType, bind, recv, send, setsockopt,
    socket, sockopt,
};
use nix::sys::time::{TimeVal, TimeValLike as _};

use super::attr::{self, Attrs, Writer};
use super::socket::header;
use super::wire::{self, Message, Messages};
use crate::host::{Address, Host, Link, Route};

pub(super) const RTM_NEWLINK: u16 = 16;
pub(super) const RTM_GETLINK: u16 = 18;
const RTM_NEWADDR: u16 = 20;
const RTM_GETADDR: u16 = 22;
const RTM_NEWROUTE: u16 = 24;
const RTM_GETROUTE: u16 = 26;

/// `sizeof(struct ifinfomsg)`: family, type, index, flags, change.
const IFINFOMSG_LEN: usize = 16;
/// `sizeof(struct ifaddrmsg)`.
const IFADDRMSG_LEN: usize = 8;
/// `sizeof(struct rtmsg)`.
const RTMSG_LEN: usize = 12;
/// `sizeof(struct rtnexthop)`: length, flags, hops, index.
const RTNEXTHOP_LEN: usize = 8;

const IFLA_IFNAME: u16 = 3;
const IFLA_LINK: u16 = 5;
const IFLA_MASTER: u16 = 10;
const IFLA_LINKINFO: u16 = 18;
const IFLA_EXT_MASK: u16 = 29;
const IFLA_LINK_NETNSID: u16 = 37;
const IFLA_XDP: u16 = 43;
/// Of the program that runs, whichever way it is attached.
const IFLA_XDP_PROG_ID: u16 = 4;
const IFLA_INFO_KIND: u16 = 1;
const IFLA_INFO_DATA: u16 = 2;
const IFLA_VXLAN_ID: u16 = 1;
const IFLA_VXLAN_LINK: u16 = 3;
const IFLA_VXLAN_LOCAL: u16 = 4;
const IFLA_VXLAN_PORT: u16 = 15;
const IFLA_VXLAN_LOCAL6: u16 = 17;
/// Counters are most of a link's message and nobody asked for them.
const RTEXT_FILTER_SKIP_STATS: u32 = 8;

const IFA_ADDRESS: u16 = 1;
/// The address itself where `IFA_ADDRESS` is that of the other end.
const IFA_LOCAL: u16 = 2;

const RTA_DST: u16 = 1;
const RTA_OIF: u16 = 4;
const RTA_GATEWAY: u16 = 5;
const RTA_MULTIPATH: u16 = 9;
const RTA_TABLE: u16 = 15;
/// A router of another family: family in 16 bits, address.
const RTA_VIA: u16 = 18;
const RTN_UNICAST: u8 = 1;
const RT_TABLE_MAIN: u32 = 254;
/// An entry of a cache and not of the table.
const RTM_F_CLONED: u32 = 0x200;

/// The kernel fills up to 32 KiB of a dump at a time, and a single message can be longer.
const BUFFER: usize = 256 * 1024;
/// The kernel answers within send(2) or recv(2); without an answer so long something is broken.
const TIMEOUT_SECONDS: i64 = 10;
/// How long a dump is asked for again because the host changed meanwhile. Ten thousand links take some
/// 20 ms to dump.
const PATIENCE: Duration = Duration::from_secs(10);

/// Reads links, addresses, and the unicast routes of the main table, in the calling thread's network
/// namespace. Needs no privilege.
///
/// # Errors
///
/// When the kernel refuses, or when links, addresses or routes change faster than they can be read.
pub fn host() -> io::Result<Host> {
    let mut dump = Dump::open()?;
    let (links, addresses) = dump.links_and_addresses()?;
    let routes =
        dump.read(RTM_GETROUTE, &[0; RTMSG_LEN], |message, all: &mut Vec<Route>| routes(message, all))?;
    Ok(Host { links: links.into_iter().map(|link| (link.index, link)).collect(), addresses, routes })
}

/// Reads links and addresses alone, as [`host`] does. With ten thousand links this takes a tenth of what
/// getifaddrs(3) and `/proc/net/dev` do: these ask for every counter, the one in pieces of 4 KiB.
///
/// # Errors
///
/// As those of [`host`].
pub fn links_and_addresses() -> io::Result<(Vec<Link>, Vec<Address>)> {
    Dump::open()?.links_and_addresses()
}

/// The request for all links.
pub(super) fn links_request() -> Vec<u8> {
    let mut skip_stats = Writer::default();
    skip_stats.put(IFLA_EXT_MASK, &RTEXT_FILTER_SKIP_STATS.to_ne_bytes());
    // One attribute of four bytes.
    [[0; IFINFOMSG_LEN].as_slice(), &skip_stats.finish().unwrap_or_default()].concat()
}

/// A socket to ask for dumps.
pub(super) struct Dump {
    socket: OwnedFd,
    seq: u32,
    buffer: Vec<u8>,
}

impl Dump {
    pub(super) fn open() -> io::Result<Self> {
        let protocol = SockProtocol::NetlinkRoute;
        let socket = socket(AddressFamily::Netlink, SockType::Raw, SockFlag::SOCK_CLOEXEC, protocol)?;
        setsockopt(&socket, sockopt::ReceiveTimeout, &TimeVal::seconds(TIMEOUT_SECONDS))?;
        bind(socket.as_raw_fd(), &NetlinkAddr::new(0, 0))?;
        Ok(Self { socket, seq: 0, buffer: vec![0; BUFFER] })
    }

    fn links_and_addresses(&mut self) -> io::Result<(Vec<Link>, Vec<Address>)> {
        let links = self.read(RTM_GETLINK, &links_request(), |message, links: &mut Vec<Link>| {
            links.extend(link(message));
        })?;
        let addresses =
            self.read(RTM_GETADDR, &[0; IFADDRMSG_LEN], |message, addresses: &mut Vec<Address>| {
                addresses.extend(address(message));
            })?;
        Ok((links, addresses))
    }

    /// One whole dump, asked for again until nothing changed while it was made.
    pub(super) fn read<T: Default>(
        &mut self,
        kind: u16,
        request: &[u8],
        mut each: impl FnMut(Message<'_>, &mut T),
    ) -> io::Result<T> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let mut found = T::default();
            if self.attempt(kind, request, |message| each(message, &mut found))? {
                return Ok(found);
            }
            if Instant::now() >= deadline {
                let what = "links, addresses or routes change all the time";
                return Err(io::Error::new(io::ErrorKind::ResourceBusy, what));
            }
        }
    }

    /// One question with one answer: what is behind the answer's header.
    pub(super) fn ask(&mut self, kind: u16, answer: u16, request: &[u8]) -> io::Result<Vec<u8>> {
        self.seq = self.seq.wrapping_add(1);
        let header = header(kind, wire::NLM_F_REQUEST, self.seq, wire::NLMSG_HDRLEN + request.len());
        let fd = self.socket.as_raw_fd();
        send(fd, &[header.as_slice(), request].concat(), MsgFlags::empty())?;
        loop {
            let received = match recv(fd, &mut self.buffer, MsgFlags::empty()) {
                Ok(received) => received,
                Err(Errno::EINTR) => continue,
                Err(errno) => return Err(errno.into()),
            };
            for message in Messages(&self.buffer[..received]).filter(|message| message.seq == self.seq) {
                if message.kind == answer {
                    return Ok(message.payload.to_vec());
                }
                if message.kind == wire::NLMSG_ERROR {
                    let code = message.payload.first_chunk().map_or(0, |code| i32::from_ne_bytes(*code));
                    return Err(io::Error::from_raw_os_error(code.saturating_neg()));
                }
            }
        }
    }

    /// One dump; false when something changed while it was made (`NLM_F_DUMP_INTR`).
    fn attempt(&mut self, kind: u16, request: &[u8], mut each: impl FnMut(Message<'_>)) -> io::Result<bool> {
        self.seq = self.seq.wrapping_add(1);
        let flags = wire::NLM_F_REQUEST | wire::NLM_F_DUMP;
        let header = header(kind, flags, self.seq, wire::NLMSG_HDRLEN + request.len());
        let fd = self.socket.as_raw_fd();
        send(fd, &[header.as_slice(), request].concat(), MsgFlags::empty())?;
        let mut whole = true;
        loop {
            let received = match recv(fd, &mut self.buffer, MsgFlags::empty()) {
                Ok(received) => received,
                Err(Errno::EINTR) => continue,
                Err(errno) => return Err(errno.into()),
            };
            for message in Messages(&self.buffer[..received]).filter(|message| message.seq == self.seq) {
                whole &= message.flags & wire::NLM_F_DUMP_INTR == 0;
                match message.kind {
                    wire::NLMSG_DONE | wire::NLMSG_ERROR => {
                        let code = message.payload.first_chunk().map_or(0, |code| i32::from_ne_bytes(*code));
                        return match code {
                            0 => Ok(whole),
                            // The dump of a table that somebody changed (`rtnl_dump_all`).
                            code if code == -libc::EINTR || code == -libc::EAGAIN => Ok(false),
                            code => Err(io::Error::from_raw_os_error(code.saturating_neg())),
                        };
                    }
                    _ => each(message),
                }
            }
        }
    }
}

pub(super) fn native(bytes: &[u8]) -> Option<u32> {
    Some(u32::from_ne_bytes(bytes.try_into().ok()?))
}

/// An address of that family, `AF_*`.
fn ip(family: u8, bytes: &[u8]) -> Option<IpAddr> {
    match i32::from(family) {
        libc::AF_INET => Some(<[u8; 4]>::try_from(bytes).ok()?.into()),
        libc::AF_INET6 => Some(<[u8; 16]>::try_from(bytes).ok()?.into()),
        _ => None,
    }
}

/// The link of a message; none for one of another kind, or without what a link must have.
pub(super) fn link(message: Message<'_>) -> Option<Link> {
    if message.kind != RTM_NEWLINK {
        return None;
    }
    let (fixed, attributes) = message.payload.split_first_chunk::<IFINFOMSG_LEN>()?;
    let [_, _, _, _, i0, i1, i2, i3, f0, f1, f2, f3, ..] = *fixed;
    let flags = u32::from_ne_bytes([f0, f1, f2, f3]);
    let has = |flag: i32| flags & flag.cast_unsigned() != 0;
    let number = |kind| attr::find(attributes, kind).and_then(native);
    let info = attr::find(attributes, IFLA_LINKINFO).unwrap_or_default();
    let kind = attr::find(info, IFLA_INFO_KIND).map(attr::text);
    let vxlan = match kind.as_deref() {
        Some("vxlan") => attr::find(info, IFLA_INFO_DATA).unwrap_or_default(),
        _ => &[],
    };
    Some(Link {
        index: u32::from_ne_bytes([i0, i1, i2, i3]),
        name: attr::text(attr::find(attributes, IFLA_IFNAME)?),
        kind,
        master: number(IFLA_MASTER),
        // A tunnel without a link below it has 0.
        lower: number(IFLA_LINK)
            .or_else(|| attr::find(vxlan, IFLA_VXLAN_LINK).and_then(native))
            .filter(|index| *index != 0),
        lower_is_elsewhere: attr::find(attributes, IFLA_LINK_NETNSID).is_some(),
        is_up: has(libc::IFF_UP),
        is_loopback: has(libc::IFF_LOOPBACK),
        vni: attr::find(vxlan, IFLA_VXLAN_ID).and_then(native),
        vxlan_port: attr::find(vxlan, IFLA_VXLAN_PORT)
            .and_then(|port| Some(u16::from_be_bytes(port.try_into().ok()?))),
        vxlan_local: attr::find(vxlan, IFLA_VXLAN_LOCAL)
            .and_then(|address| ip(libc::AF_INET as u8, address))
            .or_else(|| ip(libc::AF_INET6 as u8, attr::find(vxlan, IFLA_VXLAN_LOCAL6)?)),
        xdp: attr::find(attributes, IFLA_XDP)
            .and_then(|xdp| attr::find(xdp, IFLA_XDP_PROG_ID))
            .and_then(native),
    })
}

/// The address of a message; none for one of another kind or family.
fn address(message: Message<'_>) -> Option<Address> {
    if message.kind != RTM_NEWADDR {
        return None;
    }
    let (fixed, attributes) = message.payload.split_first_chunk::<IFADDRMSG_LEN>()?;
    let [family, prefix_len, _, _, i0, i1, i2, i3] = *fixed;
    let own = attr::find(attributes, IFA_LOCAL).or_else(|| attr::find(attributes, IFA_ADDRESS))?;
    let address = IpNet::new(ip(family, own)?, prefix_len).ok()?;
    Some(Address { link: u32::from_ne_bytes([i0, i1, i2, i3]), address })
}

/// The routes of a message, one for each next hop; none for one of another kind, family or table.
fn routes(message: Message<'_>, routes: &mut Vec<Route>) {
    if message.kind != RTM_NEWROUTE {
        return;
    }
    let Some((fixed, attributes)) = message.payload.split_first_chunk::<RTMSG_LEN>() else { return };
    let [family, prefix_len, _, _, table, protocol, _, kind, f0, f1, f2, f3] = *fixed;
    let number = |kind| attr::find(attributes, kind).and_then(native);
    let is_main = number(RTA_TABLE).unwrap_or_else(|| u32::from(table)) == RT_TABLE_MAIN;
    let is_cached = u32::from_ne_bytes([f0, f1, f2, f3]) & RTM_F_CLONED != 0;
    if kind != RTN_UNICAST || !is_main || is_cached {
        return;
    }
    let to = match attr::find(attributes, RTA_DST) {
        Some(bytes) => ip(family, bytes),
        None if prefix_len > 0 => None,
        None if i32::from(family) == libc::AF_INET => Some(IpAddr::from([0; 4])),
        None if i32::from(family) == libc::AF_INET6 => Some(IpAddr::from([0; 16])),
        None => None,
    };
    let Some(to) = to.and_then(|to| IpNet::new(to, prefix_len).ok()) else { return };
    let mut add =
        |link, attributes| routes.push(Route { to, via: router(family, attributes), link, protocol });
    if let Some(link) = number(RTA_OIF) {
        add(link, attributes);
    }
    let mut hops = attr::find(attributes, RTA_MULTIPATH).unwrap_or_default();
    while let Some(([l0, l1, _, _, i0, i1, i2, i3], _)) = hops.split_first_chunk::<RTNEXTHOP_LEN>() {
        let length = usize::from(u16::from_ne_bytes([*l0, *l1]));
        let Some(attributes) = hops.get(RTNEXTHOP_LEN..length) else { break };
        add(u32::from_ne_bytes([*i0, *i1, *i2, *i3]), attributes);
        hops = hops.get(length.next_multiple_of(4)..).unwrap_or_default();
    }
}

/// The next router of a route or of one of its hops.
fn router(family: u8, attributes: &[u8]) -> Option<IpAddr> {
    Attrs::new(attributes).find_map(|attr| match attr.kind {
        RTA_GATEWAY => ip(family, attr.payload),
        RTA_VIA => {
            let (family, address) = attr.payload.split_first_chunk()?;
            ip(u8::try_from(u16::from_ne_bytes(*family)).ok()?, address)
        }
        _ => None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Every reader on the same bytes.
    fn read_all(bytes: &[u8]) {
        for kind in [RTM_NEWLINK, RTM_NEWADDR, RTM_NEWROUTE] {
            let message = Message { kind, flags: 0, seq: 0, port: 0, payload: bytes };
            let _ = (link(message), address(message));
            routes(message, &mut Vec::new());
        }
    }

    /// A nested run of attributes: their numbers small, their lengths mostly right.
    fn attributes() -> impl Strategy<Value = Vec<u8>> {
        let attribute = (0..40_u16, proptest::collection::vec(any::<u8>(), 0..24), 0..8_u16);
        proptest::collection::vec(attribute, 0..12).prop_map(|attributes| {
            let mut bytes = Vec::new();
            for (kind, payload, off) in attributes {
                let length = 4 + payload.len() as u16;
                // One in eight has a length that is wrong.
                let length = if off == 0 { length + 3 } else { length };
                bytes.extend_from_slice(&length.to_ne_bytes());
                bytes.extend_from_slice(&kind.to_ne_bytes());
                bytes.extend_from_slice(&payload);
                bytes.resize(bytes.len().next_multiple_of(4), 0);
            }
            bytes
        })
    }

    proptest! {
        #[test]
        fn any_bytes_are_survived(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            read_all(&bytes);
        }

        #[test]
        fn any_attributes_are_survived(
            family in prop_oneof![Just(libc::AF_INET as u8), Just(libc::AF_INET6 as u8), any::<u8>()],
            bits in 0..140_u8,
            mut attributes in attributes(),
            inner in attributes(),
        ) {
            for kind in [IFLA_LINKINFO, RTA_MULTIPATH] {
                attributes.extend_from_slice(&(4 + inner.len() as u16).to_ne_bytes());
                attributes.extend_from_slice(&kind.to_ne_bytes());
                attributes.extend_from_slice(&inner);
            }
            for length in [IFADDRMSG_LEN, RTMSG_LEN, IFINFOMSG_LEN] {
                let mut fixed = vec![0; length];
                fixed[0] = family;
                fixed[1] = bits;
                if length == RTMSG_LEN {
                    fixed[4] = RT_TABLE_MAIN as u8;
                    fixed[7] = RTN_UNICAST;
                }
                read_all(&[fixed, attributes.clone()].concat());
            }
        }
    }
}
