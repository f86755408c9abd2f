//! The least that the work takes: minimal processes that send what is already encoded, or only receive.
//!
//! They are this program again, so that nothing has to be installed. What they time within themselves they write
//! into a file, in nanoseconds, because their standard output is nobody's.

use std::ffi::OsString;
use std::fs;
use std::os::fd::{AsRawFd as _, OwnedFd};
use std::path::Path;
use std::process::{Command, ExitCode};
use std::time::{Duration, Instant};

use isoplan::ruleset::{Family, Ruleset};
use nix::errno::Errno;
use nix::sys::socket::{
    AddressFamily, MsgFlags, SockFlag, SockProtocol, SockType, recv, send, setsockopt, socket, sockopt,
};

use super::Result;
use super::measure::{self, Bench, Took};

/// The first argument of such a process; its role, its input and the file for its time follow.
pub(crate) const FLOOR: &str = "floor";

/// What such a process does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Role {
    /// Sends the batch in a file and waits for the answer, which it times.
    Send,
    /// Sends the requests in a file one by one and receives each dump to its end; times all of it.
    Dump,
    /// Parses the TOML in a file, which it times.
    Parse,
}

impl Role {
    const ALL: [Self; 3] = [Self::Send, Self::Dump, Self::Parse];

    const fn name(self) -> &'static str {
        match self {
            Self::Send => "send",
            Self::Dump => "dump",
            Self::Parse => "parse",
        }
    }
}

/// Runs such a process; hands back what it took and what it timed.
pub(crate) fn run(role: Role, input: &Path) -> Result<(Took, Duration)> {
    let time = input.with_extension("time");
    let mut command = Command::new(Bench::own_path()?);
    let took = measure::run(command.arg(FLOOR).arg(role.name()).arg(input).arg(&time))?;
    let timed = Duration::from_nanos(fs::read_to_string(&time)?.parse()?);
    fs::remove_file(time)?;
    Ok((took, timed))
}

/// Such a process.
pub(crate) fn main(mut arguments: impl Iterator<Item = OsString>) -> Result<ExitCode> {
    let mut next = || arguments.next().ok_or("a role, a file and a file for the time");
    let (role, input, time) = (next()?, next()?, next()?);
    let role = Role::ALL.into_iter().find(|known| role == known.name()).ok_or("no such role")?;
    let input = fs::read(input)?;
    let timed = match role {
        Role::Send => send_batch(&input)?,
        Role::Dump => receive_dumps(&input)?,
        Role::Parse => parse(&input)?,
    };
    fs::write(time, timed.as_nanos().to_string())?;
    Ok(ExitCode::SUCCESS)
}

fn parse(text: &[u8]) -> Result<Duration> {
    let text = std::str::from_utf8(text)?;
    let started = Instant::now();
    // As isoplan reads a topology: a tree that borrows from the text.
    let tree = toml::de::DeTable::parse(text)?;
    let timed = started.elapsed();
    drop(tree);
    Ok(timed)
}

/// The room for an answer. The kernel fills at most 32 KiB of a dump at a time (`netlink_dump`).
const RECEIVE_BUFFER: usize = 64 * 1024;

fn open() -> Result<OwnedFd> {
    let netfilter = SockProtocol::NetlinkNetFilter;
    Ok(socket(AddressFamily::Netlink, SockType::Raw, SockFlag::SOCK_CLOEXEC, netfilter)?)
}

fn send_batch(batch: &[u8]) -> Result<Duration> {
    let socket = open()?;
    // The kernel doubles it for its own bookkeeping (socket(7)).
    let room = batch.len().max(4096);
    if setsockopt(&socket, sockopt::SndBufForce, &room).is_err() {
        // Not root of the machine: what `wmem_max` allows. A batch that does not fit is refused when it is sent.
        setsockopt(&socket, sockopt::SndBuf, &room)?;
    }
    let mut buffer = [0; 4096];
    let started = Instant::now();
    send(socket.as_raw_fd(), batch, MsgFlags::empty())?;
    let received = receive(&socket, &mut buffer)?;
    let timed = started.elapsed();
    match Messages(&buffer[..received]).next() {
        Some(answer) if answer.error() == Some(0) => Ok(timed),
        Some(answer) => Err(format!("the kernel refused the batch: error {:?}", answer.error()).into()),
        None => Err("no answer".into()),
    }
}

fn receive_dumps(requests: &[u8]) -> Result<Duration> {
    let socket = open()?;
    let mut buffer = vec![0; RECEIVE_BUFFER];
    let started = Instant::now();
    for request in Messages(requests) {
        dump(&socket, request, &mut buffer, |_| {})?;
    }
    Ok(started.elapsed())
}

/// Sends one request and receives the dump to its end.
fn dump(
    socket: &OwnedFd,
    request: Message<'_>,
    buffer: &mut [u8],
    mut each: impl FnMut(Message<'_>),
) -> Result<()> {
    send(socket.as_raw_fd(), request.0, MsgFlags::empty())?;
    loop {
        let received = receive(socket, buffer)?;
        for message in Messages(&buffer[..received]) {
            match message.kind() {
                NLMSG_DONE => return Ok(()),
                NLMSG_ERROR => return Err(format!("a dump failed: error {:?}", message.error()).into()),
                _ if message.flags() & NLM_F_DUMP_INTR != 0 => {
                    return Err("the rule set changed while it was dumped".into());
                }
                _ => each(message),
            }
        }
    }
}

fn receive(socket: &OwnedFd, buffer: &mut [u8]) -> Result<usize> {
    loop {
        match recv(socket.as_raw_fd(), buffer, MsgFlags::empty()) {
            Err(Errno::EINTR) => {}
            received => return Ok(received?),
        }
    }
}

const NLMSG_ERROR: u16 = 2;
const NLMSG_DONE: u16 = 3;
const NLM_F_REQUEST: u16 = 0x1;
const NLM_F_DUMP_INTR: u16 = 0x10;
const NLM_F_DUMP: u16 = 0x300;
const NLMSG_HDRLEN: usize = 16;
const NFNL_SUBSYS_NFTABLES: u16 = 10;
const GETTABLE: u16 = 1;
const GETCHAIN: u16 = 4;
const GETRULE: u16 = 7;
const GETSET: u16 = 10;
const GETSETELEM: u16 = 13;

/// A netlink message with its header.
#[derive(Debug, Clone, Copy)]
struct Message<'m>(&'m [u8]);

impl Message<'_> {
    fn kind(self) -> u16 {
        u16::from_ne_bytes([self.0[4], self.0[5]])
    }

    fn flags(self) -> u16 {
        u16::from_ne_bytes([self.0[6], self.0[7]])
    }

    /// The error number of an `NLMSG_ERROR`, 0 for an acknowledgement.
    fn error(self) -> Option<i32> {
        let number = self.0.get(NLMSG_HDRLEN..NLMSG_HDRLEN + 4)?;
        (self.kind() == NLMSG_ERROR).then(|| i32::from_ne_bytes(number.try_into().unwrap_or_default()))
    }
}

/// The messages of a datagram, or of a file.
struct Messages<'m>(&'m [u8]);

impl<'m> Iterator for Messages<'m> {
    type Item = Message<'m>;

    fn next(&mut self) -> Option<Message<'m>> {
        let len = u32::from_ne_bytes(self.0.get(..4)?.try_into().ok()?) as usize;
        let message = self.0.get(..len).filter(|message| message.len() >= NLMSG_HDRLEN)?;
        self.0 = self.0.get(len.next_multiple_of(4)..).unwrap_or_default();
        Some(Message(message))
    }
}

/// The requests for everything in these tables.
pub(crate) fn requests(tables: &Ruleset) -> Vec<u8> {
    let mut requests = Vec::new();
    for (family, table) in tables {
        let name = (1, table.name.as_ref());
        requests.extend(request(GETTABLE, family.number(), &[]));
        requests.extend(request(GETCHAIN, family.number(), &[]));
        requests.extend(request(GETSET, family.number(), &[name]));
        for set in table.sets.keys() {
            requests.extend(request(GETSETELEM, family.number(), &[name, (2, set)]));
        }
        requests.extend(request(GETRULE, family.number(), &[name]));
    }
    requests
}

fn request(kind: u16, family: u8, names: &[(u16, &str)]) -> Vec<u8> {
    let mut attributes = vec![family, 0, 0, 0];
    for (kind, name) in names {
        let len = 4 + name.len() + 1;
        attributes.extend((len as u16).to_ne_bytes());
        attributes.extend(kind.to_ne_bytes());
        attributes.extend(name.as_bytes());
        attributes.resize(attributes.len() + 1 + len.next_multiple_of(4) - len, 0);
    }
    let mut message = Vec::new();
    message.extend(((NLMSG_HDRLEN + attributes.len()) as u32).to_ne_bytes());
    message.extend(((NFNL_SUBSYS_NFTABLES << 8) | kind).to_ne_bytes());
    message.extend((NLM_F_REQUEST | NLM_F_DUMP).to_ne_bytes());
    message.extend([1, 0, 0, 0, 0, 0, 0, 0]);
    message.extend(attributes);
    message
}

/// How many rules a family has, of whomever.
pub(crate) fn count_rules(family: Family) -> Result<usize> {
    let (socket, mut buffer, mut count) = (open()?, vec![0; RECEIVE_BUFFER], 0);
    dump(&socket, Message(&request(GETRULE, family.number(), &[])), &mut buffer, |_| count += 1)?;
    Ok(count)
}
