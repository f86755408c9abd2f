//! Flows that conntrack knows, listed and forgotten: ctnetlink, of which no more is needed.
//!
//! Numbers as in `<linux/netfilter/nfnetlink_conntrack.h>`.

use std::io;
use std::net::IpAddr;
use std::os::fd::{AsRawFd as _, OwnedFd};

use nix::errno::Errno;
use nix::libc;
use nix::sys::socket::{AddressFamily, MsgFlags, SockFlag, SockProtocol, SockType, recv, send, socket};

use super::attr::{self, Writer};
use super::socket::header;
use super::wire::{
    Messages, NFGENMSG_LEN, NLM_F_ACK, NLM_F_DUMP, NLM_F_REQUEST, NLMSG_DONE, NLMSG_ERROR, NLMSG_HDRLEN, be32,
};
use crate::flows::{Flow as Tracked, Tuple};

const NFNL_SUBSYS_CTNETLINK: u16 = 1;
const IPCTNL_MSG_CT_NEW: u16 = 0;
const IPCTNL_MSG_CT_GET: u16 = 1;
const IPCTNL_MSG_CT_DELETE: u16 = 2;

const CTA_TUPLE_ORIG: u16 = 1;
const CTA_TUPLE_REPLY: u16 = 2;
const CTA_STATUS: u16 = 3;
const CTA_PROTOINFO: u16 = 4;
const CTA_PROTOINFO_TCP: u16 = 1;
const CTA_PROTOINFO_TCP_STATE: u16 = 1;
/// `TCP_CONNTRACK_TIME_WAIT` and `TCP_CONNTRACK_CLOSE` of `<linux/netfilter/nf_conntrack_tcp.h>`.
const CLOSED: [u8; 2] = [7, 8];
const CTA_TUPLE_IP: u16 = 1;
const CTA_TUPLE_PROTO: u16 = 2;
/// Source and destination.
const CTA_IP_V4: [u16; 2] = [1, 2];
const CTA_IP_V6: [u16; 2] = [3, 4];
const CTA_PROTO_NUM: u16 = 1;
const CTA_PROTO_SRC_PORT: u16 = 2;
const CTA_PROTO_DST_PORT: u16 = 3;
/// Identifier, type and code.
const CTA_PROTO_ICMP: [u16; 3] = [4, 5, 6];
const CTA_PROTO_ICMPV6: [u16; 3] = [7, 8, 9];

/// The kernel fills up to 32 KiB of a dump at a time.
const DUMP_BUFFER: usize = 64 * 1024;

/// ICMP(4) and ICMPv6 echo requests.
const ECHO_REQUEST: [u8; 2] = [8, 128];

/// A flow as its first packet came in, before any NAT.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Flow {
    /// Who sent the first packet.
    pub source: IpAddr,
    /// To whom; of the same family.
    pub destination: IpAddr,
    /// The IP protocol.
    pub protocol: u8,
    /// What tells flows of the protocol apart.
    pub key: FlowKey,
}

/// What tells flows of one protocol between two addresses apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FlowKey {
    /// Nothing that conntrack looks at.
    None,
    /// Source and destination port, host order. Both are 0 for GRE that is not PPTP's.
    Ports(u16, u16),
    /// The identifier of an echo request.
    Echo(u16),
}

/// A socket to the conntrack of one network namespace.
#[derive(Debug)]
pub struct Conntrack {
    socket: OwnedFd,
    seq: u32,
}

impl Conntrack {
    /// Opens it in the calling thread's network namespace.
    ///
    /// # Errors
    ///
    /// When the kernel has no nfnetlink.
    pub fn open() -> io::Result<Self> {
        let flags = SockFlag::SOCK_CLOEXEC;
        let socket = socket(AddressFamily::Netlink, SockType::Raw, flags, SockProtocol::NetlinkNetFilter)?;
        Ok(Self { socket, seq: 0 })
    }

    /// Forgets all flows. Walks the table of the whole machine, where the namespace has any flow.
    ///
    /// # Errors
    ///
    /// When the kernel refuses it, or has no ctnetlink.
    pub fn flush(&mut self) -> io::Result<()> {
        self.delete(AddressFamily::Unspec as u8, &[])
    }

    /// Forgets one flow; false where there is none.
    ///
    /// # Errors
    ///
    /// When the kernel refuses it, or has no ctnetlink.
    pub fn forget(&mut self, flow: &Flow) -> io::Result<bool> {
        let family = if flow.source.is_ipv4() { AddressFamily::Inet } else { AddressFamily::Inet6 };
        match self.delete(family as u8, &tuple(flow)) {
            Ok(()) => Ok(true),
            Err(error) if error.raw_os_error() == Some(libc::ENOENT) => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Hands over every flow of this network namespace, as it comes: a table of any size takes no more memory
    /// than one part of the dump. A flow that begins or ends meanwhile may be missing or told of.
    ///
    /// # Errors
    ///
    /// When the kernel refuses it, which it does without CAP_NET_ADMIN, or has no ctnetlink.
    pub fn dump(&mut self, mut each: impl FnMut(Tracked)) -> io::Result<()> {
        self.seq = self.seq.wrapping_add(1);
        let kind = (NFNL_SUBSYS_CTNETLINK << 8) | IPCTNL_MSG_CT_GET;
        let len = NLMSG_HDRLEN + NFGENMSG_LEN;
        let header = header(kind, NLM_F_REQUEST | NLM_F_DUMP, self.seq, len);
        let family = AddressFamily::Unspec as u8;
        let fd = self.socket.as_raw_fd();
        send(fd, &[header.as_slice(), &[family, 0, 0, 0]].concat(), MsgFlags::empty())?;
        let mut buffer = vec![0_u8; DUMP_BUFFER];
        let answer = (NFNL_SUBSYS_CTNETLINK << 8) | IPCTNL_MSG_CT_NEW;
        loop {
            let received = match recv(fd, &mut buffer, MsgFlags::empty()) {
                Ok(received) => received,
                Err(Errno::EINTR) => continue,
                Err(error) => return Err(error.into()),
            };
            for message in Messages(&buffer[..received]).filter(|message| message.seq == self.seq) {
                if message.kind == NLMSG_DONE || message.kind == NLMSG_ERROR {
                    let code = message.payload.first_chunk().map_or(0, |code| i32::from_ne_bytes(*code));
                    return match code.saturating_neg() {
                        0 => Ok(()),
                        errno => Err(io::Error::from_raw_os_error(errno)),
                    };
                }
                if message.kind == answer
                    && let Some(flow) = message.payload.get(NFGENMSG_LEN..).and_then(tracked)
                {
                    each(flow);
                }
            }
        }
    }

    fn delete(&mut self, family: u8, attributes: &[u8]) -> io::Result<()> {
        self.seq = self.seq.wrapping_add(1);
        let kind = (NFNL_SUBSYS_CTNETLINK << 8) | IPCTNL_MSG_CT_DELETE;
        let len = NLMSG_HDRLEN + NFGENMSG_LEN + attributes.len();
        let header = header(kind, NLM_F_REQUEST | NLM_F_ACK, self.seq, len);
        let message = [header.as_slice(), &[family, 0, 0, 0], attributes].concat();
        let fd = self.socket.as_raw_fd();
        send(fd, &message, MsgFlags::empty())?;
        let mut buffer = [0_u8; 4096];
        loop {
            // Carried out within `send`, so that the answer is there.
            let received = match recv(fd, &mut buffer, MsgFlags::MSG_DONTWAIT) {
                Ok(received) => received,
                Err(Errno::EINTR) => continue,
                Err(error) => return Err(error.into()),
            };
            let mut messages = Messages(&buffer[..received]);
            let answer = messages.find(|message| message.kind == NLMSG_ERROR && message.seq == self.seq);
            let Some(answer) = answer else { continue };
            let code = answer.payload.get(..4).and_then(|code| code.try_into().ok());
            return match code.map_or(libc::EPROTO, |code| i32::from_ne_bytes(code).saturating_neg()) {
                0 => Ok(()),
                errno => Err(io::Error::from_raw_os_error(errno)),
            };
        }
    }
}

/// The flow of a message: nothing else of it is read.
fn tracked(attributes: &[u8]) -> Option<Tracked> {
    let (protocol, original) = tuple_of(attr::find(attributes, CTA_TUPLE_ORIG)?)?;
    let (_, reply) = tuple_of(attr::find(attributes, CTA_TUPLE_REPLY)?)?;
    let status = attr::find(attributes, CTA_STATUS).and_then(be32)?;
    let tcp = attr::find(attributes, CTA_PROTOINFO).and_then(|info| attr::find(info, CTA_PROTOINFO_TCP));
    let state = tcp.and_then(|tcp| attr::find(tcp, CTA_PROTOINFO_TCP_STATE)?.first().copied());
    let is_closed = state.is_some_and(|state| CLOSED.contains(&state));
    Some(Tracked { protocol, original, reply, status, is_closed })
}

fn tuple_of(tuple: &[u8]) -> Option<(u8, Tuple)> {
    let ip = attr::find(tuple, CTA_TUPLE_IP)?;
    let proto = attr::find(tuple, CTA_TUPLE_PROTO)?;
    let address = |end: usize| {
        let v4 = attr::find(ip, CTA_IP_V4[end]).and_then(|bytes| <[u8; 4]>::try_from(bytes).ok());
        let v6 = || attr::find(ip, CTA_IP_V6[end]).and_then(|bytes| <[u8; 16]>::try_from(bytes).ok());
        v4.map(IpAddr::from).or_else(|| v6().map(IpAddr::from))
    };
    let number = |kind| Some(u16::from_be_bytes(attr::find(proto, kind)?.try_into().ok()?));
    let byte = |kind| attr::find(proto, kind)?.first().copied();
    let echo = |at: usize| number(CTA_PROTO_ICMP[at]).or_else(|| number(CTA_PROTO_ICMPV6[at]));
    let icmp_type = byte(CTA_PROTO_ICMP[1]).or_else(|| byte(CTA_PROTO_ICMPV6[1]));
    let tuple = Tuple {
        source: address(0)?,
        destination: address(1)?,
        source_port: number(CTA_PROTO_SRC_PORT).or_else(|| echo(0)).unwrap_or_default(),
        destination_port: number(CTA_PROTO_DST_PORT).unwrap_or_default(),
        icmp_type: icmp_type.unwrap_or_default(),
    };
    Some((byte(CTA_PROTO_NUM)?, tuple))
}

fn tuple(flow: &Flow) -> Vec<u8> {
    let mut writer = Writer::default();
    writer.nest(CTA_TUPLE_ORIG, |tuple| {
        tuple.nest(CTA_TUPLE_IP, |ip| {
            for (at, address) in [flow.source, flow.destination].into_iter().enumerate() {
                match address {
                    IpAddr::V4(address) => ip.put(CTA_IP_V4[at], &address.octets()),
                    IpAddr::V6(address) => ip.put(CTA_IP_V6[at], &address.octets()),
                }
            }
        });
        tuple.nest(CTA_TUPLE_PROTO, |proto| {
            proto.put(CTA_PROTO_NUM, &[flow.protocol]);
            match flow.key {
                FlowKey::None => {}
                FlowKey::Ports(source, destination) => {
                    proto.put(CTA_PROTO_SRC_PORT, &source.to_be_bytes());
                    proto.put(CTA_PROTO_DST_PORT, &destination.to_be_bytes());
                }
                FlowKey::Echo(id) => {
                    let is_v4 = flow.source.is_ipv4();
                    let [number, kind, code] = if is_v4 { CTA_PROTO_ICMP } else { CTA_PROTO_ICMPV6 };
                    proto.put(number, &id.to_be_bytes());
                    proto.put(kind, &[ECHO_REQUEST[usize::from(!is_v4)]]);
                    proto.put(code, &[0]);
                }
            }
        });
    });
    // A few dozen bytes: no attribute of it can be too long.
    writer.finish().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn any_bytes_are_survived(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = tracked(&bytes);
            // As the attributes of a tuple, with lengths and numbers that are right more often.
            let mut nested = Vec::new();
            for (at, chunk) in bytes.chunks(5).enumerate() {
                let length = 4 + chunk.len() as u16;
                nested.extend_from_slice(&length.to_ne_bytes());
                nested.extend_from_slice(&(1 + at as u16 % 4).to_ne_bytes());
                nested.extend_from_slice(chunk);
                nested.resize(nested.len().next_multiple_of(4), 0);
            }
            let _ = (tracked(&nested), tuple_of(&nested));
        }
    }
}
