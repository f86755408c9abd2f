//! What the nodes answer: listeners in their namespaces, worked by this thread.
//!
//! A datagram that carries a probe's mark is answered, from the address that it was sent to, with the mark of an
//! answer, so that neither is ever taken for the other. The same goes for what comes on a connection.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, IoSlice, IoSliceMut, Read as _, Write as _};
use std::net::{
    IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV4, SocketAddrV6, TcpListener, TcpStream, UdpSocket,
};
use std::os::fd::{AsRawFd as _, OwnedFd};

use nix::libc;
use nix::sys::socket::{
    ControlMessage, ControlMessageOwned, MsgFlags, RecvMsg, SockaddrIn, SockaddrIn6, SockaddrLike, recvmsg,
    sendmsg, setsockopt, sockopt,
};
use socket2::{Domain, Protocol, Socket, Type};

use super::super::build::Lab;
use super::super::frame::mark::{self, Mark};
use crate::intent::IpFamily;
use crate::verify::packet::Body;
use crate::verify::probe::{PORT, Probe, Sending};
use crate::verify::world::Place;

/// Where something listens, on every address of the node.
type Spot = (Place, IpFamily, u16);

/// How many listeners are kept for later probes.
const KEPT: usize = 256;

/// How many connections may wait, those too of which only a SYN came, with a forged source.
const BACKLOG: i32 = 1024;

/// Listeners, and the connections of the current probe.
#[derive(Debug, Default)]
pub(super) struct Servers {
    spots: BTreeMap<Spot, Spoken>,
    /// Where the current probe may arrive.
    current: Vec<Spot>,
    connections: Vec<(Place, TcpStream)>,
}

/// The listeners of one spot; none where the port is somebody else's.
#[derive(Debug)]
struct Spoken {
    udp: Option<OwnedFd>,
    tcp: Option<TcpListener>,
}

impl Servers {
    /// Listens wherever a probe may be answered, and forgets the connections of the one before.
    pub(super) fn listen_for(&mut self, lab: &Lab, probe: &Probe) {
        self.connections.clear();
        self.current.clear();
        if self.spots.len() > KEPT {
            self.spots.clear();
        }
        let port = match &probe.sending {
            Sending::Frame(packet) => match packet.body {
                Body::Udp { port } | Body::TcpSyn { port } => Some(port),
                _ => None,
            },
            Sending::Socket { port, .. }
            | Sending::Session { port, .. }
            | Sending::Established { port, .. }
            | Sending::RelatedError { port, .. }
            | Sending::Relay { port, .. } => Some(*port),
        };
        let Some(port) = port.filter(|port| *port != 0) else { return };
        for place in &probe.vantage {
            // Behind a DNAT of the lab, and behind a published port.
            let published = lab.world.published.iter();
            let published =
                published.filter(|of| of.container == *place && of.host_port == port).map(|of| of.port);
            for port in [port, PORT].into_iter().chain(published) {
                self.listen(lab, (*place, probe.family, port));
            }
        }
        if matches!(probe.sending, Sending::Relay { .. }) {
            self.listen(lab, (Place::HOST, probe.family, port));
        }
        if let Sending::Established { listener, .. } | Sending::RelatedError { listener, .. } = probe.sending
        {
            self.listen(lab, (listener, probe.family, port));
        }
    }

    fn listen(&mut self, lab: &Lab, spot: Spot) {
        if !self.current.contains(&spot) {
            self.current.push(spot);
        }
        self.spots.entry(spot).or_insert_with(|| {
            let open = || Spoken { udp: open_udp(spot).ok(), tcp: open_tcp(spot).ok() };
            lab.at(spot.0).enter(open).unwrap_or(Spoken { udp: None, tcp: None })
        });
    }

    /// Answers what has come in.
    pub(super) fn serve(&mut self) {
        self.accept_all();
        for spot in &self.current {
            let Some(udp) = self.spots.get(spot).and_then(|spoken| spoken.udp.as_ref()) else { continue };
            let mut buffer = [0_u8; 2048];
            let answer = if spot.1 == IpFamily::V4 { answer_v4 } else { answer_v6 };
            // An error is what an ICMP message about an earlier answer said.
            while let Ok(()) = answer(udp, &mut buffer) {}
        }
        for (_, stream) in &mut self.connections {
            let mut buffer = [0_u8; 2048];
            while let Ok(length @ 1..) = stream.read(&mut buffer) {
                if let Some(answer) = answer_to(&buffer[..length]) {
                    let _ = stream.write(&answer);
                }
            }
        }
    }

    fn accept_all(&mut self) {
        let places: BTreeSet<Place> = self.current.iter().map(|spot| spot.0).collect();
        places.into_iter().for_each(|place| self.accept(place));
    }

    /// Accepts the connections that wait at a node.
    fn accept(&mut self, place: Place) {
        let spots = self.current.iter().filter(|spot| spot.0 == place);
        for listener in spots.filter_map(|spot| self.spots.get(spot)?.tcp.as_ref()) {
            while let Ok((stream, _)) = listener.accept() {
                if stream.set_nonblocking(true).and_then(|()| stream.set_nodelay(true)).is_ok() {
                    self.connections.push((place, stream));
                }
            }
        }
    }

    /// Takes over the flow of the datagram that waits at a node, with a socket of its own.
    pub(super) fn accept_datagram(&mut self, lab: &Lab, place: Place) -> Option<UdpSocket> {
        let spots = self.current.iter().filter(|spot| spot.0 == place);
        spots.filter_map(|spot| Some((*spot, self.spots.get(spot)?.udp.as_ref()?))).find_map(|(spot, udp)| {
            let mut buffer = [0_u8; 2048];
            let (peer, local): (SocketAddr, IpAddr) = match spot.1 {
                IpFamily::V4 => {
                    let (peer, _, info) = take::<SockaddrIn>(udp, &mut buffer).ok()?;
                    let local = Ipv4Addr::from_bits(u32::from_be(info.v4?.ipi_spec_dst.s_addr));
                    (SocketAddrV4::from(peer?).into(), local.into())
                }
                IpFamily::V6 => {
                    let (peer, _, info) = take::<SockaddrIn6>(udp, &mut buffer).ok()?;
                    (SocketAddrV6::from(peer?).into(), Ipv6Addr::from(info.v6?.ipi6_addr.s6_addr).into())
                }
            };
            let open = || {
                let socket =
                    Socket::new(Domain::for_address(peer), Type::DGRAM.nonblocking().cloexec(), None)?;
                socket.set_reuse_address(true)?;
                socket.bind(&SocketAddr::new(local, spot.2).into())?;
                socket.connect(&peer.into())?;
                io::Result::Ok(UdpSocket::from(socket))
            };
            lab.at(place).enter(open).ok()?.ok()
        })
    }

    /// Accepts the connections that wait at a node, and hands over all that it has.
    pub(super) fn take_connections(&mut self, place: Place) -> Vec<TcpStream> {
        self.accept(place);
        let (taken, left) = self.connections.drain(..).partition(|(at, _)| *at == place);
        self.connections = left;
        let taken: Vec<(Place, TcpStream)> = taken;
        taken.into_iter().map(|(_, stream)| stream).collect()
    }
}

/// What is said to somebody who sent this; nothing where it is no probe.
pub(super) fn answer_to(bytes: &[u8]) -> Option<Vec<u8>> {
    match mark::find(bytes)? {
        (Mark::Probe, id) => Some(mark::payload(Mark::Answer, id)),
        _ => None,
    }
}

fn open((_, family, port): Spot, kind: Type, protocol: Protocol) -> io::Result<Socket> {
    let (domain, any) = match family {
        IpFamily::V4 => (Domain::IPV4, SocketAddr::from((Ipv4Addr::UNSPECIFIED, port))),
        IpFamily::V6 => (Domain::IPV6, SocketAddr::from((Ipv6Addr::UNSPECIFIED, port))),
    };
    let socket = Socket::new(domain, kind.nonblocking().cloexec(), Some(protocol))?;
    if family == IpFamily::V6 {
        socket.set_only_v6(true)?;
    }
    // Over TCP, for what is left of earlier connections; over UDP, for the flows that are taken over.
    socket.set_reuse_address(true)?;
    socket.bind(&any.into())?;
    Ok(socket)
}

fn open_udp(spot: Spot) -> io::Result<OwnedFd> {
    let socket = OwnedFd::from(open(spot, Type::DGRAM, Protocol::UDP)?);
    match spot.1 {
        IpFamily::V4 => setsockopt(&socket, sockopt::Ipv4PacketInfo, &true)?,
        IpFamily::V6 => setsockopt(&socket, sockopt::Ipv6RecvPacketInfo, &true)?,
    }
    Ok(socket)
}

fn open_tcp(spot: Spot) -> io::Result<TcpListener> {
    let socket = open(spot, Type::STREAM, Protocol::TCP)?;
    socket.listen(BACKLOG)?;
    Ok(socket.into())
}

/// Answers one datagram from the address that it was sent to, ip(7). An error when none waits.
fn answer_v4(socket: &OwnedFd, buffer: &mut [u8]) -> io::Result<()> {
    let (peer, bytes, info) = take::<SockaddrIn>(socket, buffer)?;
    let Some((peer, answer)) = peer.zip(answer_to(bytes)) else { return Ok(()) };
    let info = info.v4.map(|info| libc::in_pktinfo { ipi_ifindex: 0, ..info });
    let control: Vec<_> = info.iter().map(ControlMessage::Ipv4PacketInfo).collect();
    put(socket, &answer, &control, &peer);
    Ok(())
}

/// The same, ipv6(7). A group is nobody's source.
fn answer_v6(socket: &OwnedFd, buffer: &mut [u8]) -> io::Result<()> {
    let (peer, bytes, info) = take::<SockaddrIn6>(socket, buffer)?;
    let Some((peer, answer)) = peer.zip(answer_to(bytes)) else { return Ok(()) };
    let is_group = |info: &libc::in6_pktinfo| Ipv6Addr::from(info.ipi6_addr.s6_addr).is_multicast();
    let info = info.v6.filter(|info| !is_group(info));
    let control: Vec<_> = info.iter().map(ControlMessage::Ipv6PacketInfo).collect();
    put(socket, &answer, &control, &peer);
    Ok(())
}

/// What a datagram was sent to.
#[derive(Debug, Default)]
struct PacketInfo {
    v4: Option<libc::in_pktinfo>,
    v6: Option<libc::in6_pktinfo>,
}

fn take<'b, A: SockaddrLike + Copy>(
    socket: &OwnedFd,
    buffer: &'b mut [u8],
) -> io::Result<(Option<A>, &'b [u8], PacketInfo)> {
    let mut control = nix::cmsg_space!(libc::in_pktinfo, libc::in6_pktinfo);
    let mut info = PacketInfo::default();
    let (peer, length) = {
        let mut parts = [IoSliceMut::new(buffer)];
        let taken: RecvMsg<'_, '_, A> =
            recvmsg(socket.as_raw_fd(), &mut parts, Some(&mut control), MsgFlags::empty())?;
        for message in taken.cmsgs().into_iter().flatten() {
            match message {
                ControlMessageOwned::Ipv4PacketInfo(found) => info.v4 = Some(found),
                ControlMessageOwned::Ipv6PacketInfo(found) => info.v6 = Some(found),
                _ => {}
            }
        }
        (taken.address, taken.bytes)
    };
    Ok((peer, &buffer[..length], info))
}

/// Whether it gets anywhere is for the captures to see.
fn put<A: SockaddrLike>(socket: &OwnedFd, bytes: &[u8], control: &[ControlMessage<'_>], peer: &A) {
    let _ = sendmsg(socket.as_raw_fd(), &[IoSlice::new(bytes)], control, MsgFlags::empty(), Some(peer));
}
