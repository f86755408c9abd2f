//! Frames sent as fast as the host forwards them.

use std::io::IoSlice;
use std::net::Ipv4Addr;
use std::os::fd::{AsRawFd as _, OwnedFd};
use std::time::{Duration, Instant};

use etherparse::PacketBuilder;
use nix::errno::Errno;
use nix::ifaddrs::getifaddrs;
use nix::sys::socket::{
    AddressFamily, MsgFlags, MultiHeaders, SockFlag, SockType, SockaddrLike as _, bind, sendmmsg, setsockopt,
    socket, sockopt,
};
use nix::time::{ClockId, clock_gettime};

use super::super::super::Result;
use super::super::super::lab::node::Node;
use super::site::{Counter, SINK};

/// Frames in one call.
pub(super) const BATCH: usize = 32;
/// Flows that are sent in turn.
pub(super) const FLOWS: usize = 64;
/// Length of a frame as the kernel sees it: without preamble and checksum.
pub(super) const FRAME: usize = 64;
/// How many may be on their way. The queue of a core holds 1000 (net.core.netdev_max_backlog) and drops what is more,
/// wherever on its way through the host it was: then the work that was done on it is lost.
const WINDOW: u64 = 256;
/// How long nothing need arrive until what was sent is held to be lost. A core that others want, too, may do
/// nothing for the host for a while.
const PATIENCE: Duration = Duration::from_secs(2);
/// How long nothing need arrive until nothing is held to be on its way any more.
const SILENCE: Duration = Duration::from_millis(200);

/// What is sent.
#[derive(Debug, Clone, Copy)]
pub(super) struct Flow {
    /// Source and destination.
    pub(super) macs: ([u8; 6], [u8; 6]),
    pub(super) from: Ipv4Addr,
    pub(super) to: Ipv4Addr,
    /// The destination port.
    pub(super) port: u16,
}

/// A packet socket with frames that are ready.
pub(super) struct Sender {
    socket: OwnedFd,
    frames: Vec<Vec<u8>>,
    next: usize,
    headers: MultiHeaders<()>,
    /// Where each datagram is a connection of its own: how many there were, and how many there may be.
    fresh: Option<(u64, u64)>,
}

impl Sender {
    /// One on a link, with [`FLOWS`] frames of different source ports.
    pub(super) fn open(node: &Node, link: &str, flow: Flow) -> Result<Self> {
        let socket = node.enter(|| open(link))?;
        let frames = (0..FLOWS).map(|number| frame(flow, 10_000 + number as u16, flow.port)).collect();
        Ok(Self { socket, frames, next: 0, headers: MultiHeaders::preallocate(BATCH, None), fresh: None })
    }

    /// Has each datagram from now on be of a connection of its own, so many at most.
    pub(super) fn each_is_new(&mut self, limit: u64) {
        self.fresh = Some((0, limit));
    }

    /// Sends the next frames in turn and says how many the kernel took.
    pub(super) fn send(&mut self, count: usize) -> Result<u64> {
        let count = count.min(BATCH).min(self.frames.len() - self.next);
        let frames = &mut self.frames[self.next..self.next + count];
        if let Some((number, _)) = self.fresh {
            for (frame, number) in frames.iter_mut().zip(number..) {
                let (source, destination) = ports(number);
                set_ports(frame, source, destination);
            }
        }
        let sent = send(&self.socket, &mut self.headers, frames)?;
        if let Some((number, _)) = &mut self.fresh {
            *number += sent as u64;
        }
        self.next = (self.next + sent) % self.frames.len();
        Ok(sent as u64)
    }

    /// Sends for some time, no more ahead of what arrives than the host can keep in its queue.
    pub(super) fn run(&mut self, time: Duration, arrivals: &Counter) -> Result<Run> {
        let first = arrivals.read()?;
        let (start, start_work) = (Instant::now(), own_time()?);
        let (mut sent, mut arrived) = (0_u64, 0_u64);
        let mut progress = start;
        loop {
            let now = Instant::now();
            if now - start >= time || self.fresh.is_some_and(|(number, limit)| number >= limit) {
                break;
            }
            // A host that is slow is not to be busy long after its turn.
            let window = WINDOW.min(BATCH as u64 + arrived / 4);
            // Neighbours and routers are asked for now and then, which arrives as well.
            if sent.saturating_sub(arrived) + BATCH as u64 <= window {
                sent += self.send(BATCH)?;
                continue;
            }
            let total = arrivals.read()? - first;
            if total > arrived {
                (arrived, progress) = (total, now);
            } else if now - progress > PATIENCE {
                return Err(format!("only {arrived} of {sent} packets arrive").into());
            }
            // Each look takes the counter from the core that counts.
            pause(Duration::from_micros(2));
        }
        let arrived = arrivals.read()? - first;
        let run = Run { arrived, took: start.elapsed(), work: own_time()? - start_work };
        // What is still on its way is not to be counted for another.
        let (mut last, mut progress) = (0, Instant::now());
        while last < sent && progress.elapsed() < SILENCE {
            pause(Duration::from_micros(20));
            let total = arrivals.read()? - first;
            if total > last {
                (last, progress) = (total, Instant::now());
            }
        }
        if arrived == 0 {
            return Err("nothing arrives".into());
        }
        Ok(run)
    }
}

/// What came of sending for some time.
#[derive(Debug, Clone, Copy)]
pub(super) struct Run {
    pub(super) arrived: u64,
    pub(super) took: Duration,
    /// What the kernel charges the sending thread. Where there is one core that is the forwarding, too.
    pub(super) work: Duration,
}

/// How long this thread was on a core.
fn own_time() -> Result<Duration> {
    Ok(clock_gettime(ClockId::CLOCK_THREAD_CPUTIME_ID)?.into())
}

/// Waits without leaving the core.
pub(super) fn pause(time: Duration) {
    let start = Instant::now();
    while start.elapsed() < time {
        std::hint::spin_loop();
    }
}

/// Sends frames in one call and says how many the kernel took.
fn send(socket: &OwnedFd, headers: &mut MultiHeaders<()>, frames: &[Vec<u8>]) -> Result<usize> {
    let slices: Vec<[IoSlice<'_>; 1]> = frames.iter().map(|frame| [IoSlice::new(frame)]).collect();
    let addresses = vec![None; slices.len()];
    match sendmmsg(socket.as_raw_fd(), headers, &slices, &addresses, [], MsgFlags::MSG_DONTWAIT) {
        Ok(results) => Ok(results.count()),
        Err(Errno::EAGAIN | Errno::ENOBUFS) => Ok(0),
        Err(error) => Err(error.into()),
    }
}

/// A packet socket that only sends.
fn open(link: &str) -> std::io::Result<OwnedFd> {
    let socket = socket(AddressFamily::Packet, SockType::Raw, SockFlag::SOCK_CLOEXEC, None)?;
    let address = getifaddrs()?
        .filter(|interface| interface.interface_name == link)
        .filter_map(|interface| interface.address)
        .find(|address| address.family() == Some(AddressFamily::Packet))
        .ok_or_else(|| std::io::Error::other(format!("no link {link}")))?;
    bind(socket.as_raw_fd(), address.as_link_addr().expect("a link's address"))?;
    // Enough for a window, whatever a frame takes in the kernel.
    setsockopt(&socket, sockopt::SndBuf, &(1 << 20))?;
    Ok(socket)
}

/// A frame of [`FRAME`] bytes.
fn frame(flow: Flow, source_port: u16, port: u16) -> Vec<u8> {
    const HEADERS: usize = 14 + 20 + 8;
    let builder = PacketBuilder::ethernet2(flow.macs.0, flow.macs.1)
        .ipv4(flow.from.octets(), flow.to.octets(), 64)
        .udp(source_port, port);
    let payload = [0; FRAME - HEADERS];
    let mut bytes = Vec::with_capacity(FRAME);
    builder.write(&mut bytes, &payload).expect("a payload that fits, written to memory");
    bytes
}

/// Where the ports are in such a frame, and the checksum that covers them.
const PORTS: usize = 14 + 20;
const CHECKSUM: usize = PORTS + 6;

/// Ports for the connection of that number: as many are different as there are of both together.
fn ports(number: u64) -> (u16, u16) {
    const SOURCES: u64 = 60_000;
    let destinations = SINK.end() - SINK.start() + 1;
    let source = 1024 + (number % SOURCES) as u16;
    (source, SINK.start() + (number / SOURCES % u64::from(destinations)) as u16)
}

/// Changes the ports and the checksum with them (RFC 1624, equation 3).
fn set_ports(frame: &mut [u8], source: u16, destination: u16) {
    let word = |frame: &[u8], at: usize| u32::from(u16::from_be_bytes([frame[at], frame[at + 1]]));
    let mut sum = !word(frame, CHECKSUM) & 0xffff;
    for (at, port) in [(PORTS, source), (PORTS + 2, destination)] {
        sum += (!word(frame, at) & 0xffff) + u32::from(port);
        frame[at..at + 2].copy_from_slice(&port.to_be_bytes());
    }
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    // Zero would say that there is none (RFC 768).
    let checksum = if sum == 0xffff { 0xffff } else { !(sum as u16) };
    frame[CHECKSUM..CHECKSUM + 2].copy_from_slice(&checksum.to_be_bytes());
}
