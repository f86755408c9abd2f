//! Sending: frames of our own, and packets from sockets as a program would send them.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use etherparse::{IcmpEchoHeader, Icmpv4Header, Icmpv4Type, IpNumber};
use nix::errno::Errno;
use socket2::{Domain, Protocol, Socket, Type};

use super::super::frame::mark::{self, Mark};
use super::super::frame::{self, Id};
use super::describe;
use super::trial::Trial;
use super::{Prober, Stop};
use crate::intent::IpFamily;
use crate::netlink::conntrack::{Flow, FlowKey};
use crate::verify::outcome::Outcome;
use crate::verify::packet::{Body, IpExtra, Packet};
use crate::verify::probe::{Probe, Sending, Transport};
use crate::verify::world::Place;

/// How many ports are tried for one that is free.
const PORT_TRIES: usize = 64;

impl Prober {
    /// Sends frames, and says what became of them.
    pub(super) fn run_frame(&mut self, trial: &mut Trial<'_>, packet: &Packet) -> Result<Outcome, Stop> {
        let behind = self.send_frames(trial, packet)?;
        self.decide(trial, behind)
    }

    /// Sends frames, and one behind them.
    pub(super) fn send_frames(&mut self, trial: &mut Trial<'_>, packet: &Packet) -> Result<Option<Id>, Stop> {
        let world = &trial.lab.world;
        let sender = trial.probe.sender;
        let node = world.node(sender);
        if matches!(sender, Place::HOST | Place::WIRE) {
            return Err(Stop::Cannot(format!("{} has no link of its own to send a frame from", node.name)));
        }
        let port = self.next_port();
        let host = world.host_links[node.host_link].mac;
        let frames = frame::frames(packet, trial.identity.id, node.mac, host, port);
        if frames.is_empty() {
            return Err(Stop::Cannot("there is no such packet".to_owned()));
        }
        trial.identity.is_segment =
            matches!(packet.body, Body::TcpSyn { .. } | Body::TcpAck { .. } | Body::TcpInvalid { .. });
        trial.tracked = tracked(packet, port);
        let wanted = self.raw.want(trial.lab.host(), trial.probe.family, protocol_of(trial.probe));
        wanted.map_err(Stop::cannot("cannot open a capture on the host"))?;
        let link = self.link(trial.lab, sender, "eth0")?;
        trial.start(describe::packet(packet, port, node));
        for frame in &frames {
            let cannot = Stop::cannot(format!("{} cannot send", node.name));
            self.sockets[sender.0].send(link, frame).map_err(cannot)?;
        }
        self.send_from_sender(trial)
    }

    /// Sends one packet from a socket, and says what became of it.
    pub(super) fn run_socket(
        &mut self,
        trial: &mut Trial<'_>,
        transport: Transport,
        to: SocketAddr,
    ) -> Result<Outcome, Stop> {
        // Open until all is decided, so that no answer meets a closed port.
        let (_socket, behind) = self.send_from_socket(trial, transport, to)?;
        self.decide(trial, behind)
    }

    /// Sends one packet from a socket of the sender, and a frame behind it.
    pub(super) fn send_from_socket(
        &mut self,
        trial: &mut Trial<'_>,
        transport: Transport,
        to: SocketAddr,
    ) -> Result<(Socket, Option<Id>), Stop> {
        let sender = trial.probe.sender;
        let node = trial.lab.world.node(sender);
        let family = family_of(to.ip());
        if node.address(family).is_none() {
            return Err(Stop::Cannot(format!("{} has no {family} address", node.name)));
        }
        let cannot = || Stop::cannot(format!("{} cannot send", node.name));
        let (socket, port) = self.open_socket(trial, sender, transport, to).map_err(cannot())?;
        if transport == Transport::Tcp {
            trial.identity.syn_from = Some(port);
        }
        trial.start(describe::socket(transport, None, port, to));
        let sent = socket.connect(&to.into()).and_then(|()| match transport {
            Transport::Icmp => {
                socket.send(&echo_request(family, port, &mark::payload(Mark::Probe, trial.identity.id)))
            }
            Transport::Udp => socket.send(&mark::payload(Mark::Probe, trial.identity.id)),
            Transport::Tcp => Ok(0),
        });
        let source = socket.local_addr().ok().and_then(|local| local.as_socket()).map(|local| local.ip());
        let source = source.filter(|source| !source.is_unspecified());
        trial.sent = describe::socket(transport, source, port, to);
        trial.tracked = source.map(|source| Flow {
            source,
            destination: to.ip(),
            protocol: protocol_of(trial.probe),
            key: if transport == Transport::Icmp {
                FlowKey::Echo(port)
            } else {
                FlowKey::Ports(port, to.port())
            },
        });
        match sent {
            Ok(_) => {}
            Err(error) if error.raw_os_error() == Some(Errno::EINPROGRESS as i32) => {}
            // The host's own routes and rules refuse it: that is what is asked for.
            Err(error) if sender == Place::HOST && is_refusal(&error) => {}
            Err(error) => return Err(cannot()(error)),
        }
        let behind = self.send_from_sender(trial)?;
        Ok((socket, behind))
    }

    /// A socket at a node with a source port that nobody else in the lab has; for ICMP, the identifier to use.
    pub(super) fn open_socket(
        &mut self,
        trial: &Trial<'_>,
        place: Place,
        transport: Transport,
        to: SocketAddr,
    ) -> io::Result<(Socket, u16)> {
        let is_v4 = to.is_ipv4();
        // Of several addresses the kernel takes the one that is most like the destination (RFC 6724); what is
        // expected is of the first.
        let family = if is_v4 { IpFamily::V4 } else { IpFamily::V6 };
        let node = trial.lab.world.node(place);
        let has_several = node.addresses.iter().filter(|net| IpFamily::of(net) == family).count() > 1;
        let source = node.address(family).filter(|_| has_several && place != Place::HOST);
        let any: IpAddr = if is_v4 { Ipv4Addr::UNSPECIFIED.into() } else { Ipv6Addr::UNSPECIFIED.into() };
        let source = source.unwrap_or(any);
        let (kind, protocol) = match transport {
            Transport::Icmp if is_v4 => (Type::RAW, Protocol::ICMPV4),
            Transport::Icmp => (Type::RAW, Protocol::ICMPV6),
            Transport::Udp => (Type::DGRAM, Protocol::UDP),
            Transport::Tcp => (Type::STREAM, Protocol::TCP),
        };
        let kind = kind.nonblocking().cloexec();
        let open = || Socket::new(Domain::for_address(to), kind, Some(protocol));
        let socket = trial.lab.at(place).enter(open)??;
        if transport == Transport::Icmp {
            socket.bind(&SocketAddr::new(source, 0).into())?;
            return Ok((socket, self.next_port()));
        }
        for _ in 0..PORT_TRIES {
            let port = self.next_port();
            match socket.bind(&SocketAddr::new(source, port).into()) {
                Ok(()) => return Ok((socket, port)),
                Err(error) if error.kind() == io::ErrorKind::AddrInUse => {}
                Err(error) => return Err(error),
            }
        }
        Err(io::Error::from(io::ErrorKind::AddrInUse))
    }
}

/// Whether the kernel's own decision was not to send: rules of its output hook, and routes.
pub(super) fn is_refusal(error: &io::Error) -> bool {
    let refusals = [Errno::EPERM, Errno::EACCES, Errno::EINVAL, Errno::ENETUNREACH, Errno::EHOSTUNREACH];
    refusals.iter().any(|refusal| error.raw_os_error() == Some(*refusal as i32))
}

/// For ICMPv6 the kernel writes the checksum: RFC 3542, section 3.1.
fn echo_request(family: IpFamily, id: u16, payload: &[u8]) -> Vec<u8> {
    let header = match family {
        IpFamily::V4 => {
            let echo = Icmpv4Type::EchoRequest(IcmpEchoHeader { id, seq: 1 });
            Icmpv4Header::with_checksum(echo, payload).to_bytes().to_vec()
        }
        IpFamily::V6 => [&[128, 0, 0, 0], &id.to_be_bytes()[..], &[0, 1]].concat(),
    };
    [header.as_slice(), payload].concat()
}

pub(super) fn family_of(address: IpAddr) -> IpFamily {
    if address.is_ipv4() { IpFamily::V4 } else { IpFamily::V6 }
}

/// The IP protocol of what a probe sends.
pub(super) fn protocol_of(probe: &Probe) -> u8 {
    let icmp = if probe.family == IpFamily::V4 { IpNumber::ICMP } else { IpNumber::IPV6_ICMP };
    let of_transport = |transport| match transport {
        Transport::Icmp => icmp,
        Transport::Udp => IpNumber::UDP,
        Transport::Tcp => IpNumber::TCP,
    };
    let number = match &probe.sending {
        Sending::Frame(packet) => match packet.body {
            Body::Echo | Body::Unreachable { .. } => icmp,
            Body::Udp { .. } => IpNumber::UDP,
            Body::TcpSyn { .. } | Body::TcpAck { .. } | Body::TcpInvalid { .. } => IpNumber::TCP,
            Body::Sctp { .. } => IpNumber::SCTP,
            Body::Protocol(number) => IpNumber(number),
        },
        Sending::Socket { protocol, .. } | Sending::Established { protocol, .. } => of_transport(*protocol),
        Sending::RelatedError { .. } => icmp,
        Sending::Session { .. } | Sending::Relay { .. } => IpNumber::TCP,
    };
    number.0
}

/// What conntrack makes of a packet where it comes in.
fn tracked(packet: &Packet, port: u16) -> Option<Flow> {
    let destination = match packet.extra {
        IpExtra::LooseSourceRoute { via }
        | IpExtra::StrictSourceRoute { via }
        | IpExtra::SegmentRouting { via } => via,
        _ => packet.destination,
    };
    let is_v4 = packet.source.is_ipv4();
    let (protocol, key) = match packet.body {
        Body::Echo => (if is_v4 { IpNumber::ICMP } else { IpNumber::IPV6_ICMP }, FlowKey::Echo(port)),
        Body::Udp { port: to } => (IpNumber::UDP, FlowKey::Ports(port, to)),
        Body::TcpSyn { port: to } | Body::TcpAck { port: to } => (IpNumber::TCP, FlowKey::Ports(port, to)),
        Body::Sctp { port: to } => (IpNumber::SCTP, FlowKey::Ports(port, to)),
        Body::Protocol(47) => (IpNumber::GRE, FlowKey::Ports(0, 0)),
        Body::Protocol(number) => (IpNumber(number), FlowKey::None),
        // An error belongs to another flow, and what is invalid to none.
        Body::Unreachable { .. } | Body::TcpInvalid { .. } => return None,
    };
    Some(Flow { source: packet.source, destination, protocol: protocol.0, key })
}
