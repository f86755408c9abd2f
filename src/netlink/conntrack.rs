//! Flows that conntrack knows, forgotten: ctnetlink, of which no more is needed.
//!
//! Numbers as in `<linux/netfilter/nfnetlink_conntrack.h>`.

use std::io;
use std::net::IpAddr;
use std::os::fd::{AsRawFd as _, OwnedFd};

use nix::errno::Errno;
use nix::libc;
use nix::sys::socket::{AddressFamily, MsgFlags, SockFlag, SockProtocol, SockType, recv, send, socket};

use super::attr::Writer;
use super::socket::header;
use super::wire::{Messages, NFGENMSG_LEN, NLM_F_ACK, NLM_F_REQUEST, NLMSG_ERROR, NLMSG_HDRLEN};

const NFNL_SUBSYS_CTNETLINK: u16 = 1;
const IPCTNL_MSG_CT_DELETE: u16 = 2;

const CTA_TUPLE_ORIG: u16 = 1;
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
