//! Waiting until links carry packets: the kernel lets nothing through a link until it has dealt with its
//! carrier, a little after the link was made.
//!
//! And until namespaces know their IPv6 addresses: the kernel routes them a little after they were added, also
//! without duplicate address detection (`addrconf_dad_start`, net/ipv6/addrconf.c).
//!
//! What is sent is IPv4 multicast on the link: it needs no address and no route, and no rule of the host sees it
//! before the tap does. At the nodes it is received by raw sockets, for the kernel takes about ten milliseconds
//! to close a packet socket (`synchronize_net` in `packet_release`, net/packet/af_packet.c).

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::{self, Read as _};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddrV4};
use std::os::fd::{AsFd as _, AsRawFd as _};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use etherparse::{EtherType, Ethernet2Header, IpNumber, Ipv4Header};
use nix::ifaddrs::getifaddrs;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::socket::{AddressFamily, LinkAddr, MsgFlags, SockaddrLike as _, recvfrom, sendto};
use socket2::{Domain, Protocol, SockFilter, Socket, Type};

use super::super::node::Namespace;
use crate::verify::world::Mac;

/// For experiments (RFC 3692): nobody takes it.
const PROTOCOL: IpNumber = IpNumber(253);
/// All hosts on the link, RFC 1112. Every host is a member, and no router forwards it.
const EVERYONE: Ipv4Addr = Ipv4Addr::new(224, 0, 0, 1);
const MARK: [u8; 8] = *b"isoplan?";
/// The IPv6 routes of the namespace that this thread is in, proc_pid_net(5).
const ROUTES: &str = "/proc/thread-self/net/ipv6_route";
/// Far above what anything here needs: a limit, not a measure.
const LIMIT: Duration = Duration::from_secs(30);
/// How long to wait for an arrival before everything that is missing is sent again, ms.
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

/// Returns when a namespace takes packets to these addresses; those of IPv4 it does at once.
pub(super) fn wait_for_addresses(namespace: &Namespace, addresses: &[IpAddr]) -> io::Result<()> {
    let mut missing: BTreeSet<Ipv6Addr> = addresses.iter().filter_map(v6).collect();
    let deadline = Instant::now() + LIMIT;
    while !missing.is_empty() {
        let routes = namespace.enter(|| fs::read_to_string(ROUTES))??;
        for local in routes.lines().filter_map(local_address) {
            missing.remove(&local);
        }
        let Some(late) = missing.first() else { break };
        if Instant::now() > deadline {
            return Err(io::Error::other(format!("{} does not take {late} for its own", namespace.name)));
        }
        poll(&mut [], PollTimeout::from(AGAIN))?;
    }
    Ok(())
}

fn v6(address: &IpAddr) -> Option<Ipv6Addr> {
    match address {
        IpAddr::V4(_) => None,
        IpAddr::V6(address) => Some(*address),
    }
}

/// The address of a line of [`ROUTES`] that is the route of an own one. The fields: destination, its length,
/// source, its length, next hop, metric, two counters, flags, device; all but the last in hexadecimal
/// (`rt6_info_route`, net/ipv6/route.c).
fn local_address(line: &str) -> Option<Ipv6Addr> {
    /// `RTF_LOCAL`, <linux/ipv6_route.h>.
    const LOCAL: u32 = 0x8000_0000;
    let mut fields = line.split_ascii_whitespace();
    let destination = u128::from_str_radix(fields.next()?, 16).ok()?;
    let flags = u32::from_str_radix(fields.nth(7)?, 16).ok()?;
    (flags & LOCAL != 0).then(|| Ipv6Addr::from_bits(destination))
}

/// The host's end of all paths: a packet socket that sees nothing but what is sent here.
#[derive(Debug)]
pub(super) struct Tap {
    socket: Socket,
}

/// Tells one call of [`Tap::wait`] from those before.
static ROUND: AtomicU32 = AtomicU32::new(0);

/// What is sent: in which round, on which path, which way.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Token {
    round: u32,
    path: u32,
    is_from_host: bool,
}

impl Token {
    const LENGTH: usize = MARK.len() + 9;

    fn to_bytes(self) -> Vec<u8> {
        let way = [u8::from(self.is_from_host)];
        [&MARK[..], &self.round.to_be_bytes(), &self.path.to_be_bytes(), &way].concat()
    }

    /// Of an IPv4 packet.
    fn find(packet: &[u8]) -> Option<Self> {
        let (_, payload) = Ipv4Header::from_slice(packet).ok()?;
        let (round, path) = payload.strip_prefix(&MARK)?.split_first_chunk::<4>()?;
        let (path, way) = path.split_first_chunk::<4>()?;
        Some(Self {
            round: u32::from_be_bytes(*round),
            path: u32::from_be_bytes(*path),
            is_from_host: *way.first()? == 1,
        })
    }
}

/// A path that is waited for.
struct Waiting<'a> {
    path: &'a Path<'a>,
    socket: Socket,
    host_address: LinkAddr,
    token: Token,
    is_there: bool,
    is_back: bool,
}

impl Tap {
    /// In the namespace of the host.
    pub(super) fn open() -> io::Result<Self> {
        /// `ETH_P_ALL`, in the order of the wire as socket(2) wants it.
        const ALL: i32 = 0x0003_u16.to_be() as i32;
        let socket = Socket::new(Domain::PACKET, Type::RAW, Some(Protocol::from(ALL)))?;
        socket.set_nonblocking(true)?;
        socket.attach_filter(&FILTER)?;
        Ok(Self { socket })
    }

    /// Returns when every path has carried a packet each way.
    pub(super) fn wait(&self, paths: &[Path<'_>]) -> io::Result<()> {
        if paths.is_empty() {
            return Ok(());
        }
        let deadline = Instant::now() + LIMIT;
        let links = link_addresses()?;
        let round = ROUND.fetch_add(1, Ordering::Relaxed);
        let mut waiting = Vec::with_capacity(paths.len());
        for (number, path) in (0..).zip(paths) {
            let missing = || io::Error::other(format!("the host has no link {}", path.host_link));
            waiting.push(Waiting {
                path,
                socket: path.node.enter(|| open_at_node(path.link))??,
                host_address: *links.get(path.host_link).ok_or_else(missing)?,
                token: Token { round, path: number, is_from_host: false },
                is_there: false,
                is_back: false,
            });
        }
        loop {
            for index in 0..waiting.len() {
                if !waiting[index].is_there {
                    waiting[index].send_there();
                    // At once: hundreds of packets would be more than the socket holds.
                    self.drain(&mut waiting);
                }
                if !waiting[index].is_back {
                    self.send_back(&waiting[index])?;
                    waiting[index].receive();
                }
            }
            let Some(late) = waiting.iter().find(|waiting| !waiting.is_there || !waiting.is_back) else {
                return Ok(());
            };
            if Instant::now() > deadline {
                let Path { node, host_link, .. } = late.path;
                let way = if late.is_there { "from the host" } else { "to the host" };
                let name = &node.name;
                return Err(io::Error::other(format!(
                    "the lab does not come up: nothing passes between {name} and {host_link}, {way}"
                )));
            }
            let ends = [late.socket.as_fd(), self.socket.as_fd()];
            poll(&mut ends.map(|end| PollFd::new(end, PollFlags::POLLIN)), PollTimeout::from(AGAIN))?;
            self.drain(&mut waiting);
            for waiting in &mut waiting {
                waiting.receive();
            }
        }
    }

    /// Takes what has come to the host.
    fn drain(&self, waiting: &mut [Waiting<'_>]) {
        let mut buffer = [0_u8; 128];
        while let Ok((length, from)) = recvfrom::<LinkAddr>(self.socket.as_raw_fd(), &mut buffer) {
            let packet = buffer.get(Ethernet2Header::LEN..length);
            let (Some(from), Some(token)) = (from, packet.and_then(Token::find)) else { continue };
            let Some(waiting) = waiting.get_mut(token.path as usize) else { continue };
            // The port of a bridge sees it as well, before the bridge does.
            waiting.is_there |= token == waiting.token && from.ifindex() == waiting.host_address.ifindex();
        }
    }

    fn send_back(&self, waiting: &Waiting<'_>) -> io::Result<()> {
        let Path { mac, host_mac, .. } = *waiting.path;
        let token = Token { is_from_host: true, ..waiting.token }.to_bytes();
        let length = u16::try_from(Token::LENGTH).unwrap_or_default();
        let unspecified = Ipv4Addr::UNSPECIFIED.octets();
        let mut ip =
            Ipv4Header::new(length, 1, PROTOCOL, unspecified, EVERYONE.octets()).map_err(io::Error::other)?;
        ip.header_checksum = ip.calc_header_checksum();
        let ethernet = Ethernet2Header { destination: mac, source: host_mac, ether_type: EtherType::IPV4 };
        let frame = [&ethernet.to_bytes()[..], &ip.to_bytes(), &token].concat();
        // Whether it gets anywhere is for the other end to say.
        let _ = sendto(self.socket.as_raw_fd(), &frame, &waiting.host_address, MsgFlags::empty());
        Ok(())
    }
}

impl Waiting<'_> {
    fn send_there(&self) {
        // Whether it gets anywhere is for the other end to say.
        let _ = self.socket.send_to(&self.token.to_bytes(), &SocketAddrV4::new(EVERYONE, 0).into());
    }

    /// Takes what has come to the node.
    fn receive(&mut self) {
        let mut buffer = [0_u8; 128];
        while let Ok(length) = (&self.socket).read(&mut buffer) {
            let token = Token { is_from_host: true, ..self.token };
            self.is_back |= Token::find(&buffer[..length]) == Some(token);
        }
    }
}

/// A raw socket on one link of the namespace that this thread is in.
fn open_at_node(link: &str) -> io::Result<Socket> {
    let protocol = Protocol::from(i32::from(PROTOCOL.0));
    let socket = Socket::new(Domain::IPV4, Type::RAW, Some(protocol))?;
    socket.set_nonblocking(true)?;
    socket.bind_device(Some(link.as_bytes()))?;
    socket.set_multicast_loop_v4(false)?;
    Ok(socket)
}

/// The links of this namespace. The one place where the kernel gives their addresses as sendto takes them.
fn link_addresses() -> io::Result<BTreeMap<String, LinkAddr>> {
    let of_link = |interface: nix::ifaddrs::InterfaceAddress| {
        let address = interface.address.filter(|a| a.family() == Some(AddressFamily::Packet))?;
        Some((interface.interface_name, *address.as_link_addr()?))
    };
    Ok(getifaddrs()?.filter_map(of_link).collect())
}

/// Passes IPv4 of [`PROTOCOL`], whole; see bpf(4) of the BSDs and Documentation/networking/filter.rst.
const FILTER: [SockFilter; 6] = {
    const LOAD_HALF: u16 = 0x28;
    const LOAD_BYTE: u16 = 0x30;
    const JUMP_EQUAL: u16 = 0x15;
    const RETURN: u16 = 0x06;
    [
        // The type of the frame.
        SockFilter::new(LOAD_HALF, 0, 0, 12),
        SockFilter::new(JUMP_EQUAL, 0, 3, 0x0800),
        // The protocol of the packet.
        SockFilter::new(LOAD_BYTE, 0, 0, 23),
        SockFilter::new(JUMP_EQUAL, 0, 1, PROTOCOL.0 as u32),
        SockFilter::new(RETURN, 0, 0, u32::MAX),
        SockFilter::new(RETURN, 0, 0, 0),
    ]
};
