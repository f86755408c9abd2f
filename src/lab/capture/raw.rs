//! What the host itself receives: raw sockets, behind its input hook (raw(7)).

use std::collections::BTreeMap;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::fd::{AsFd as _, OwnedFd};
use std::time::SystemTime;

use nix::sys::socket::{SockaddrIn, SockaddrIn6, setsockopt, sockopt};
use socket2::{Domain, Protocol, Socket, Type};

use super::super::frame::Id;
use super::super::frame::mark::{self, Mark};
use super::super::node::Namespace;
use super::read::{self, Read};
use super::wire::{receive, want_timestamps};
use crate::intent::IpFamily;

const ICMP: u8 = 1;
const TCP: u8 = 6;
const UDP: u8 = 17;
const ICMPV6: u8 = 58;

/// A socket for each IP protocol that was asked for.
#[derive(Debug, Default)]
pub struct RawSockets {
    sockets: BTreeMap<(IpFamily, u8), OwnedFd>,
}

impl RawSockets {
    /// Sees to it that what the host receives of a protocol is kept from now on.
    ///
    /// # Errors
    ///
    /// When the socket cannot be opened.
    pub fn want(&mut self, host: &Namespace, family: IpFamily, protocol: u8) -> io::Result<()> {
        if self.sockets.contains_key(&(family, protocol)) {
            return Ok(());
        }
        let domain = if family == IpFamily::V4 { Domain::IPV4 } else { Domain::IPV6 };
        let of = Some(Protocol::from(i32::from(protocol)));
        let socket = host.enter(|| Socket::new(domain, Type::RAW.nonblocking().cloexec(), of))??;
        let socket = OwnedFd::from(socket);
        want_timestamps(&socket)?;
        if family == IpFamily::V6 {
            setsockopt(&socket, sockopt::Ipv6RecvPacketInfo, &true)?;
        }
        self.sockets.insert((family, protocol), socket);
        Ok(())
    }

    /// Every packet that waits, with when it came.
    pub fn drain(&self, buffer: &mut [u8], mut each: impl FnMut(Read, SystemTime)) {
        for ((family, protocol), socket) in &self.sockets {
            if *family == IpFamily::V4 {
                while let Some((length, _, at, _)) = receive::<SockaddrIn>(socket, buffer) {
                    read::ip(&buffer[..length]).into_iter().for_each(|read| each(read, at));
                }
                continue;
            }
            // Without the IPv6 header and those behind it.
            while let Some((length, from, at, destination)) = receive::<SockaddrIn6>(socket, buffer) {
                let source = from.map_or(Ipv6Addr::UNSPECIFIED, |from| from.ip());
                let destination = destination.map(IpAddr::V6);
                each(read::packet(source.into(), destination, *protocol, false, &buffer[..length]), at);
            }
        }
    }

    /// Sends a sentinel from the host to itself, which arrives in the socket of that protocol.
    ///
    /// Nothing answers it: it is an echo reply, a reset, or a datagram with a wrong checksum, for which the
    /// kernel sends no error.
    ///
    /// # Errors
    ///
    /// When there is no such socket, or it cannot be sent.
    pub fn send_sentinel(&self, family: IpFamily, protocol: u8, id: Id) -> io::Result<()> {
        let socket = self.sockets.get(&(family, protocol));
        let socket = socket.ok_or_else(|| io::Error::other(format!("no capture of protocol {protocol}")))?;
        let payload = mark::payload(Mark::Sentinel, id);
        let wrong = 1_u16.to_be_bytes();
        let header: Vec<u8> = match (family, protocol) {
            (IpFamily::V4, ICMP) => return send(socket, family, &echo_reply(&payload)),
            // The kernel writes the checksum: RFC 3542, section 3.1.
            (IpFamily::V6, ICMPV6) => vec![129, 0, 0, 0, 0, 0, 0, 0],
            (_, UDP) => {
                let length = u16::try_from(8 + payload.len()).unwrap_or_default().to_be_bytes();
                [[0, 9], [0, 9], length, wrong].concat()
            }
            // Ports, sequence number, acknowledgement, length and RST, window, checksum, urgent pointer.
            (_, TCP) => [&[0, 9, 0, 9][..], &[0; 8], &[0x50, 0x04, 0, 0], &wrong, &[0, 0]].concat(),
            _ => Vec::new(),
        };
        send(socket, family, &[header, payload].concat())
    }
}

fn send(socket: &OwnedFd, family: IpFamily, bytes: &[u8]) -> io::Result<()> {
    let here: IpAddr =
        if family == IpFamily::V4 { Ipv4Addr::LOCALHOST.into() } else { Ipv6Addr::LOCALHOST.into() };
    let socket = socket2::SockRef::from(&socket.as_fd()).send_to(bytes, &SocketAddr::new(here, 0).into());
    socket.map(drop)
}

fn echo_reply(payload: &[u8]) -> Vec<u8> {
    let echo = etherparse::IcmpEchoHeader { id: 0, seq: 0 };
    let header = etherparse::Icmpv4Header::with_checksum(etherparse::Icmpv4Type::EchoReply(echo), payload);
    [&header.to_bytes(), payload].concat()
}
