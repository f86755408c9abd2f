//! What arrived where: one journal for a lab, written by a capture thread per namespace.
//!
//! In a container or a server a capture is a packet socket, which sees what comes in on the wire. On the host a
//! packet socket would also see what the input hook drops afterwards, so there the capture is a set of raw
//! sockets, which get only what the host itself receives.

use std::fmt;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::os::fd::{AsRawFd, OwnedFd};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use etherparse::{
    Icmpv4Slice, Icmpv4Type, Icmpv6Slice, Icmpv6Type, NetSlice, SlicedPacket, TcpSlice, TransportSlice,
    UdpSlice,
};
use nix::sys::socket::{
    AddressFamily, LinkAddr, SockFlag, SockProtocol, SockType, SockaddrIn, SockaddrIn6, recvfrom, socket,
};

use super::node::Node;

/// How a packet was marked as one of a probe's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum What {
    Udp {
        source_port: u16,
        destination_port: u16,
    },
    Tcp {
        source_port: u16,
        destination_port: u16,
        is_syn: bool,
        is_ack: bool,
    },
    EchoRequest,
    EchoReply,
    /// Not a packet: a server of the lab has sent its answer.
    Answer,
    Other,
}

/// One packet that arrived at a node.
#[derive(Debug, Clone)]
pub(crate) struct Seen {
    /// The node's index.
    pub(crate) node: usize,
    pub(crate) source: IpAddr,
    /// Unspecified where the host's raw IPv6 sockets do not tell it.
    pub(crate) destination: IpAddr,
    pub(crate) what: What,
    /// What comes after the transport header.
    pub(crate) payload: Vec<u8>,
}

impl fmt::Display for Seen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { source, destination, what, .. } = self;
        match what {
            What::Udp { source_port, destination_port } => {
                write!(f, "{source}:{source_port} -> {destination}:{destination_port}  UDP")
            }
            What::Tcp { source_port, destination_port, .. } => {
                write!(f, "{source}:{source_port} -> {destination}:{destination_port}  TCP")
            }
            other => write!(f, "{source} -> {destination}  {other:?}"),
        }
    }
}

/// All that was seen, in the order in which the captures took it from the kernel.
#[derive(Debug, Default)]
pub(crate) struct Journal {
    seen: Mutex<Vec<Seen>>,
    grew: Condvar,
}

impl Journal {
    /// How much there is; a place to look from later.
    pub(crate) fn mark(&self) -> usize {
        self.lock().len()
    }

    pub(crate) fn push(&self, seen: Seen) {
        self.lock().push(seen);
        self.grew.notify_all();
    }

    /// The first one after a mark that matches.
    pub(crate) fn find(&self, mark: usize, matches: impl Fn(&Seen) -> bool) -> Option<Seen> {
        self.lock()[mark..].iter().find(|seen| matches(seen)).cloned()
    }

    /// How many after a mark match.
    pub(crate) fn count(&self, mark: usize, matches: impl Fn(&Seen) -> bool) -> usize {
        self.lock()[mark..].iter().filter(|seen| matches(seen)).count()
    }

    /// Waits until there is one that matches, but not for longer than `limit`.
    pub(crate) fn wait(&self, mark: usize, limit: Duration, matches: impl Fn(&Seen) -> bool) -> Option<Seen> {
        let deadline = Instant::now() + limit;
        let mut from = mark;
        let mut seen = self.lock();
        loop {
            if let Some(found) = seen[from..].iter().find(|seen| matches(seen)) {
                return Some(found.clone());
            }
            from = seen.len();
            let left = deadline.checked_duration_since(Instant::now())?;
            seen = self.grew.wait_timeout(seen, left).unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Vec<Seen>> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Starts the capture of a node; it is live when this returns.
pub(crate) fn start(node: &Node, journal: &Arc<Journal>) -> io::Result<()> {
    if node.is_host() { start_host(node, journal) } else { start_wire(node, journal) }
}

/// Packets that come in on any link of the node.
fn start_wire(node: &Node, journal: &Arc<Journal>) -> io::Result<()> {
    /// `PACKET_OUTGOING` and `PACKET_OTHERHOST`, packet(7): sent from here, or seen only since it was flooded.
    const NOT_FOR_HERE: [u8; 2] = [4, 3];
    let socket = open(node, AddressFamily::Packet, SockProtocol::EthAll)?;
    let (index, journal) = (node.index, Arc::clone(journal));
    thread::spawn(move || {
        let mut buffer = vec![0_u8; 65_536];
        while let Ok((length, from)) = recvfrom::<LinkAddr>(socket.as_raw_fd(), &mut buffer) {
            if from.is_some_and(|from| NOT_FOR_HERE.contains(&from.pkttype())) {
                continue;
            }
            if let Some(seen) =
                SlicedPacket::from_ethernet(&buffer[..length]).ok().and_then(|packet| read(index, &packet))
            {
                journal.push(seen);
            }
        }
    });
    Ok(())
}

/// What the host receives itself, behind its input hook.
fn start_host(node: &Node, journal: &Arc<Journal>) -> io::Result<()> {
    let protocols = [
        (AddressFamily::Inet, SockProtocol::Icmp),
        (AddressFamily::Inet, SockProtocol::Udp),
        (AddressFamily::Inet, SockProtocol::Tcp),
        (AddressFamily::Inet6, SockProtocol::IcmpV6),
        (AddressFamily::Inet6, SockProtocol::Udp),
        (AddressFamily::Inet6, SockProtocol::Tcp),
    ];
    for (family, protocol) in protocols {
        let socket = open(node, family, protocol)?;
        let (index, journal) = (node.index, Arc::clone(journal));
        thread::spawn(move || {
            let mut buffer = vec![0_u8; 65_536];
            while let Some(seen) = receive_raw(&socket, family, protocol, index, &mut buffer) {
                seen.into_iter().for_each(|seen| journal.push(seen));
            }
        });
    }
    Ok(())
}

fn open(node: &Node, family: AddressFamily, protocol: SockProtocol) -> io::Result<OwnedFd> {
    Ok(node.enter(|| socket(family, SockType::Raw, SockFlag::SOCK_CLOEXEC, protocol))?)
}

/// One packet from a raw socket: None when the socket failed, `Some(None)` when it is of no use.
fn receive_raw(
    socket: &OwnedFd,
    family: AddressFamily,
    protocol: SockProtocol,
    node: usize,
    buffer: &mut [u8],
) -> Option<Option<Seen>> {
    if family == AddressFamily::Inet {
        let (length, _) = recvfrom::<SockaddrIn>(socket.as_raw_fd(), buffer).ok()?;
        return Some(SlicedPacket::from_ip(&buffer[..length]).ok().and_then(|packet| read(node, &packet)));
    }
    // A raw IPv6 socket gives what follows the IPv6 header.
    let (length, from) = recvfrom::<SockaddrIn6>(socket.as_raw_fd(), buffer).ok()?;
    let bytes = &buffer[..length];
    let transport = match protocol {
        SockProtocol::IcmpV6 => Icmpv6Slice::from_slice(bytes).ok().map(TransportSlice::Icmpv6),
        SockProtocol::Udp => UdpSlice::from_slice(bytes).ok().map(TransportSlice::Udp),
        _ => TcpSlice::from_slice(bytes).ok().map(TransportSlice::Tcp),
    };
    let source = IpAddr::V6(from.map_or(Ipv6Addr::UNSPECIFIED, |from| from.ip()));
    Some(transport.map(|transport| {
        let (what, payload) = read_transport(&transport);
        Seen { node, source, destination: Ipv6Addr::UNSPECIFIED.into(), what, payload }
    }))
}

fn read(node: usize, packet: &SlicedPacket<'_>) -> Option<Seen> {
    let (source, destination): (IpAddr, IpAddr) = match packet.net.as_ref()? {
        NetSlice::Ipv4(ip) => {
            (Ipv4Addr::from(ip.header().source()).into(), Ipv4Addr::from(ip.header().destination()).into())
        }
        NetSlice::Ipv6(ip) => (ip.header().source_addr().into(), ip.header().destination_addr().into()),
        NetSlice::Arp(_) => return None,
    };
    let unknown = || (What::Other, packet.ip_payload().map(|ip| ip.payload.to_vec()).unwrap_or_default());
    let (what, payload) = packet.transport.as_ref().map_or_else(unknown, read_transport);
    Some(Seen { node, source, destination, what, payload })
}

fn read_transport(transport: &TransportSlice<'_>) -> (What, Vec<u8>) {
    match transport {
        TransportSlice::Udp(udp) => {
            let (source_port, destination_port) = (udp.source_port(), udp.destination_port());
            (What::Udp { source_port, destination_port }, udp.payload().to_vec())
        }
        TransportSlice::Tcp(tcp) => {
            let (source_port, destination_port) = (tcp.source_port(), tcp.destination_port());
            let (is_syn, is_ack) = (tcp.syn(), tcp.ack());
            (What::Tcp { source_port, destination_port, is_syn, is_ack }, tcp.payload().to_vec())
        }
        TransportSlice::Icmpv4(icmp) => {
            let what = match icmp.icmp_type() {
                Icmpv4Type::EchoRequest(_) => What::EchoRequest,
                Icmpv4Type::EchoReply(_) => What::EchoReply,
                _ => What::Other,
            };
            (what, icmp.payload().to_vec())
        }
        TransportSlice::Icmpv6(icmp) => {
            let what = match icmp.icmp_type() {
                Icmpv6Type::EchoRequest(_) => What::EchoRequest,
                Icmpv6Type::EchoReply(_) => What::EchoReply,
                _ => What::Other,
            };
            (what, icmp.payload().to_vec())
        }
        TransportSlice::Igmp(_) => (What::Other, Vec::new()),
    }
}
