//! The netlink socket: dumps, and one transaction at a time.

use std::io;
use std::os::fd::AsRawFd as _;

use nix::errno::Errno;
use nix::libc;
use nix::sys::socket::{MsgFlags, getsockopt, recv, setsockopt, sockopt};
use nix::sys::time::{TimeVal, TimeValLike as _};

use super::attr::{self, Writer};
use super::encode::Transaction;
use super::error::{CommitError, Error};
use super::ffi;
use super::wire::{self, Message, Messages, msg, nfta};

/// A netlink socket to nf_tables in the network namespace that the thread had when it was opened.
pub struct Nftables {
    socket: mnl::Socket,
    /// What is received into: 64-bit words, because netlink headers want to be aligned.
    buffer: Vec<u64>,
    /// Of the last request. Requests count in the upper half of the numbers, transactions in the lower,
    /// so that an answer to one is never taken for an answer to the other.
    seq: u32,
}

/// Each part of a dump walks a set from its start; the kernel fills up to 32 KiB at a time, and a single
/// rule can be longer.
const RECEIVE_BUFFER: usize = 256 * 1024;
/// Room for the answers to a transaction with many mistakes in it: one each.
const SOCKET_RECEIVE_BUFFER: usize = 4 * 1024 * 1024;
/// The kernel answers at once; without an answer for so long something is broken.
const RECEIVE_TIMEOUT_SECONDS: i64 = 60;
const FIRST_SEQ: u32 = 0x8000_0000;
/// What the kernel sets aside of the send buffer (`netlink_sendmsg`).
const SEND_OVERHEAD: usize = 32;

/// What a dump shows besides its messages.
pub(super) enum DumpError {
    /// The rule set changed while it was dumped, or what was asked for is gone.
    Moved,
    /// It failed.
    Failed(Error),
}

impl From<Error> for DumpError {
    fn from(error: Error) -> Self {
        Self::Failed(error)
    }
}

/// One kind of request for a dump.
#[derive(Debug, Clone, Copy)]
pub(super) struct Request<'a> {
    /// What is asked for, for messages.
    pub(super) what: &'static str,
    /// `NFT_MSG_GET*`.
    pub(super) kind: u16,
    /// `NFT_MSG_NEW*`, the type of the answers.
    pub(super) answer: u16,
    /// `NFPROTO_*`, or 0 for all.
    pub(super) family: u8,
    /// Attributes that narrow it down.
    pub(super) filter: &'a [u8],
}

impl Nftables {
    /// Opens a socket in the calling thread's network namespace.
    ///
    /// Needs no privilege; reading and writing do.
    pub fn open() -> Result<Self, Error> {
        let socket = mnl::Socket::new(mnl::Bus::Netfilter).map_err(Error::Open)?;
        let fd = ffi::descriptor(&socket);
        let or_open = |errno: Errno| Error::Open(errno.into());
        if setsockopt(&fd, sockopt::RcvBufForce, &SOCKET_RECEIVE_BUFFER).is_err() {
            // Only a wish for those who may not force it: the kernel gives what `rmem_max` allows.
            setsockopt(&fd, sockopt::RcvBuf, &SOCKET_RECEIVE_BUFFER).map_err(or_open)?;
        }
        let timeout = TimeVal::seconds(RECEIVE_TIMEOUT_SECONDS);
        setsockopt(&fd, sockopt::ReceiveTimeout, &timeout).map_err(or_open)?;
        for option in [libc::NETLINK_EXT_ACK, libc::NETLINK_CAP_ACK] {
            ffi::enable_netlink_option(fd, option).map_err(Error::Open)?;
        }
        Ok(Self { socket, buffer: vec![0; RECEIVE_BUFFER / 8], seq: FIRST_SEQ })
    }

    /// The port of the socket: what the kernel names as the origin of its transactions.
    pub fn port(&self) -> u32 {
        self.socket.portid()
    }

    /// The number of the current rule set; every transaction of anybody counts it up.
    pub fn generation(&mut self) -> Result<u32, Error> {
        const WHAT: &str = "the generation of the rule set";
        let request = Request { what: WHAT, kind: msg::GETGEN, answer: msg::NEWGEN, family: 0, filter: &[] };
        let seq = self.send(request, 0)?;
        loop {
            let received = self.receive()?;
            for message in Messages(&ffi::as_bytes_mut(&mut self.buffer)[..received]) {
                if message.seq != seq {
                    continue;
                }
                if message.kind == wire::NLMSG_ERROR {
                    return Err(refusal(WHAT, message));
                }
                let id = message.nfgen().and_then(|(_, _, attributes)| attr::find(attributes, nfta::GEN_ID));
                return id.and_then(wire::be32).ok_or(Error::Malformed { request: WHAT });
            }
        }
    }

    /// Asks for a dump and hands over family and attributes of each answer, as long as all are of
    /// that generation.
    pub(super) fn dump(
        &mut self,
        request: Request<'_>,
        generation: u32,
        mut each: impl FnMut(u8, &[u8]),
    ) -> Result<(), DumpError> {
        let seq = self.send(request, wire::NLM_F_DUMP)?;
        let mut moved = false;
        loop {
            let received = self.receive()?;
            for message in Messages(&ffi::as_bytes_mut(&mut self.buffer)[..received]) {
                if message.seq != seq {
                    continue;
                }
                moved |= message.flags & wire::NLM_F_DUMP_INTR != 0;
                match message.kind {
                    wire::NLMSG_DONE => {
                        return match done_status(message) {
                            0 if moved => Err(DumpError::Moved),
                            0 => Ok(()),
                            errno => Err(failure(request.what, errno, None)),
                        };
                    }
                    wire::NLMSG_ERROR => {
                        let answer = Answer::read(message);
                        return Err(failure(request.what, answer.errno, answer.message));
                    }
                    _ if message.nft_type() == Some(request.answer) => {
                        let Some((family, res_id, attributes)) = message.nfgen() else {
                            return Err(Error::Malformed { request: request.what }.into());
                        };
                        // Element dumps never say that they were interrupted; this does.
                        moved |= res_id != generation as u16;
                        if !moved {
                            each(family, attributes);
                        }
                    }
                    _ => {}
                }
            }
        }
    }

    /// Asks for single things and hands over `res_id` and attributes of each answer; whether all were there.
    pub(super) fn ask(
        &mut self,
        request: Request<'_>,
        mut each: impl FnMut(u16, &[u8]),
    ) -> Result<bool, Error> {
        // The acknowledgement comes behind all answers.
        let seq = self.send(request, wire::NLM_F_ACK)?;
        loop {
            let received = self.receive()?;
            for message in Messages(&ffi::as_bytes_mut(&mut self.buffer)[..received]) {
                if message.seq != seq {
                    continue;
                }
                if message.kind == wire::NLMSG_ERROR {
                    return match Answer::read(message).errno {
                        0 => Ok(true),
                        libc::ENOENT => Ok(false),
                        _ => Err(refusal(request.what, message)),
                    };
                }
                if message.nft_type() == Some(request.answer)
                    && let Some((_, res_id, attributes)) = message.nfgen()
                {
                    each(res_id, attributes);
                }
            }
        }
    }

    /// Carries a transaction out, or nothing of it.
    pub fn commit(&mut self, transaction: &Transaction) -> Result<(), CommitError> {
        if let Some((op, reason)) = transaction.unencodable() {
            return Err(CommitError::Unencodable { op, reason });
        }
        if transaction.is_empty() {
            return Ok(());
        }
        let bytes = transaction.len_bytes();
        let limit = self.send_limit(bytes);
        if bytes > limit {
            return Err(CommitError::TooLarge { bytes, limit });
        }
        self.discard_pending();
        match self.socket.send(transaction.bytes()) {
            Ok(_) => {}
            Err(error) if error.raw_os_error() == Some(libc::EMSGSIZE) => {
                return Err(CommitError::TooLarge { bytes, limit });
            }
            Err(error) => return Err(CommitError::Send(error)),
        }
        self.outcome(transaction)
    }

    /// Reads the answers to a transaction.
    ///
    /// The kernel carries a batch out within `sendmsg`, so that every answer is there by now and an
    /// empty queue means that no more will come.
    fn outcome(&mut self, transaction: &Transaction) -> Result<(), CommitError> {
        let mut acknowledged = false;
        let mut first = None;
        let mut lost = None;
        loop {
            let fd = self.socket.as_raw_fd();
            let buffer = ffi::as_bytes_mut(&mut self.buffer);
            let received = match recv(fd, buffer, MsgFlags::MSG_DONTWAIT) {
                Ok(received) => received,
                Err(Errno::EINTR) => continue,
                Err(Errno::EAGAIN) => break,
                Err(errno) if lost.is_none() => {
                    // ENOBUFS: some answers did not fit. Those that did are still to be read.
                    lost = Some(io::Error::from(errno));
                    continue;
                }
                Err(_) => break,
            };
            for message in Messages(&buffer[..received]) {
                if message.kind != wire::NLMSG_ERROR || !transaction.contains(message.seq) {
                    continue;
                }
                let answer = Answer::read(message);
                if answer.errno != 0 {
                    first.get_or_insert((message.seq, answer));
                } else if message.seq == transaction.acknowledged_seq() {
                    acknowledged = true;
                }
            }
        }
        match (first, lost) {
            (Some((seq, answer)), _) => Err(explain(transaction, seq, answer)),
            (None, Some(source)) => Err(CommitError::Unknown { source: Some(source) }),
            (None, None) if acknowledged => Ok(()),
            (None, None) => Err(CommitError::Unknown { source: None }),
        }
    }

    /// Makes the send buffer large enough if it can be, and tells what it holds.
    fn send_limit(&self, bytes: usize) -> usize {
        let fd = ffi::descriptor(&self.socket);
        let limit = || getsockopt(&fd, sockopt::SndBuf).unwrap_or_default().saturating_sub(SEND_OVERHEAD);
        // The kernel doubles what it is asked for, for its own bookkeeping.
        let wish = bytes.min(i32::MAX as usize / 2);
        if limit() < bytes && setsockopt(&fd, sockopt::SndBufForce, &wish).is_err() {
            let _ = setsockopt(&fd, sockopt::SndBuf, &wish);
        }
        limit()
    }

    /// Throws away what earlier requests left behind, for example after an error in the middle.
    fn discard_pending(&mut self) {
        let fd = self.socket.as_raw_fd();
        let buffer = ffi::as_bytes_mut(&mut self.buffer);
        while let Ok(_) | Err(Errno::EINTR | Errno::ENOBUFS) = recv(fd, buffer, MsgFlags::MSG_DONTWAIT) {}
    }

    /// Sends a request; hands back its sequence number.
    fn send(&mut self, request: Request<'_>, flags: u16) -> Result<u32, Error> {
        self.seq = self.seq.wrapping_add(1).max(FIRST_SEQ);
        let mut writer = Writer::default();
        let kind = (wire::NFNL_SUBSYS_NFTABLES << 8) | request.kind;
        let len = wire::NLMSG_HDRLEN + wire::NFGENMSG_LEN + request.filter.len();
        writer.raw(&header(kind, wire::NLM_F_REQUEST | flags, self.seq, len));
        writer.raw(&[request.family, 0, 0, 0]);
        writer.raw(request.filter);
        let bytes = writer.finish().unwrap_or_default();
        self.socket.send(&bytes).map_err(Error::Send)?;
        Ok(self.seq)
    }

    /// Receives one datagram into the buffer; hands back its length.
    fn receive(&mut self) -> Result<usize, Error> {
        loop {
            match self.socket.recv_raw(ffi::as_bytes_mut(&mut self.buffer)) {
                Ok(received) => return Ok(received),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(Error::Receive(error)),
            }
        }
    }
}

/// `struct nlmsghdr` of a message of `len` bytes.
pub(super) fn header(kind: u16, flags: u16, seq: u32, len: usize) -> [u8; wire::NLMSG_HDRLEN] {
    let mut header = [0; wire::NLMSG_HDRLEN];
    header[..4].copy_from_slice(&(len as u32).to_ne_bytes());
    header[4..6].copy_from_slice(&kind.to_ne_bytes());
    header[6..8].copy_from_slice(&flags.to_ne_bytes());
    header[8..12].copy_from_slice(&seq.to_ne_bytes());
    header
}

/// An error message of netlink; with `errno` 0 an acknowledgement.
struct Answer {
    errno: i32,
    message: Option<String>,
    /// Where the attribute at fault is, from the start of the message that was answered.
    offset: Option<usize>,
}

impl Answer {
    /// Reads `struct nlmsgerr`: the error number, the header of the message that it answers, that
    /// message's payload unless the answer is capped, and attributes.
    fn read(message: Message<'_>) -> Self {
        let payload = message.payload;
        let number = |range: std::ops::Range<usize>| {
            payload.get(range).and_then(|bytes| bytes.try_into().ok()).map(u32::from_ne_bytes)
        };
        let errno = number(0..4).map_or(libc::EPROTO, |number| number.cast_signed().saturating_neg());
        let mut answer = Self { errno, message: None, offset: None };
        if message.flags & wire::NLM_F_ACK_TLVS == 0 {
            return answer;
        }
        let answered = match number(4..8) {
            Some(len) if message.flags & wire::NLM_F_CAPPED == 0 => {
                (len as usize).next_multiple_of(4).max(wire::NLMSG_HDRLEN)
            }
            _ => wire::NLMSG_HDRLEN,
        };
        let attributes = payload.get(4 + answered..).unwrap_or_default();
        answer.message = attr::find(attributes, wire::NLMSGERR_ATTR_MSG).map(attr::text);
        answer.offset = attr::find(attributes, wire::NLMSGERR_ATTR_OFFS)
            .and_then(|bytes| bytes.try_into().ok())
            .map(|bytes| u32::from_ne_bytes(bytes) as usize);
        answer
    }
}

/// The error number with which a dump ended, or 0.
fn done_status(message: Message<'_>) -> i32 {
    let status = message.payload.get(..4).and_then(|bytes| bytes.try_into().ok());
    status.map_or(0, |bytes| i32::from_ne_bytes(bytes).saturating_neg())
}

fn refusal(request: &'static str, message: Message<'_>) -> Error {
    let answer = Answer::read(message);
    match answer.errno {
        libc::EPERM => Error::NotPermitted,
        errno => Error::Refused { request, errno, message: answer.message },
    }
}

fn failure(request: &'static str, errno: i32, message: Option<String>) -> DumpError {
    match errno {
        libc::EPERM => DumpError::Failed(Error::NotPermitted),
        // The table or set was there a moment ago, and EINTR is how newer kernels end a dump that was
        // overtaken.
        libc::ENOENT | libc::EINTR | libc::EAGAIN => DumpError::Moved,
        _ => DumpError::Failed(Error::Refused { request, errno, message }),
    }
}

/// What an error about one message of a transaction means.
fn explain(transaction: &Transaction, seq: u32, answer: Answer) -> CommitError {
    let Answer { errno, message, offset } = answer;
    match transaction.ops_of(seq) {
        Some(op) => {
            let element = offset.and_then(|offset| transaction.element_at(seq, offset)).map(Box::new);
            CommitError::Refused { op, element, errno, message }
        }
        // The batch as a whole answers with the number of its first message.
        None if errno == libc::EPERM => CommitError::NotPermitted,
        None if errno == libc::ERESTART => CommitError::Moved,
        None => CommitError::RefusedWhole { errno, message },
    }
}
