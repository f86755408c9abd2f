//! A host with a service NIC and a storage NIC, a server behind each, and probes.
//!
//! That nothing arrived is known by order, never by waiting. A probe is sent by a thread that stays on one CPU. A
//! veth hands its frames to the backlog of the CPU that it is used on, which is first in, first out. So when the
//! host sends one packet after the other to the same place from the same thread, and each has arrived before the
//! next goes, the probe moves on by one link at least with each of them. After more of them than there are links
//! and lookups of neighbours on the way, the probe has arrived or never will.

use std::fmt;
use std::fs::File;
use std::io::{self, Read as _, Write as _};
use std::net::{IpAddr, SocketAddr, TcpListener, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sched::{CpuSet, sched_getaffinity, sched_setaffinity};
use nix::unistd::Pid;
use socket2::{Domain, Protocol, Socket, Type};
use std::os::fd::AsFd as _;

use crate::lab::capture::{self, Journal, Seen, What};
use crate::lab::node::Node;
use crate::lab::program::Program;

pub(crate) const HOST_ON_SERVICE: &str = "10.20.0.1";
pub(crate) const HOST_ON_STORAGE: &str = "10.99.0.1";
pub(crate) const SERVICE: &str = "10.20.0.2";
pub(crate) const STORAGE: &str = "10.99.0.2";
pub(crate) const HOST_ON_SERVICE_V6: &str = "fd20::1";
pub(crate) const HOST_ON_STORAGE_V6: &str = "fd99::1";
pub(crate) const SERVICE_V6: &str = "fd20::2";
pub(crate) const STORAGE_V6: &str = "fd99::2";
/// What the servers listen on: a web server and NFS.
pub(crate) const SERVICE_PORT: u16 = 80;
pub(crate) const STORAGE_PORT: u16 = 2049;
/// Where what only shows the way goes. Nobody listens there.
const SENTINEL_PORT: u16 = 9;

/// How long to wait for what must come. Only a test that fails waits that long.
const LIMIT: Duration = Duration::from_secs(5);
/// How long a program of the host may take to hand a connection on.
const BY_PROXY: Duration = Duration::from_secs(2);
/// More than the links and the lookups of neighbours on any way here: container, bridge, host, NIC, each twice.
const ROUNDS: u32 = 10;

/// What became of a probe.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// The server answered, with this: whom it takes the sender for.
    Answered(String),
    /// It arrived, with this source; no answer was asked for or came.
    Arrived(IpAddr),
    /// It did not arrive, and what was sent behind it did.
    Blocked,
    /// It was refused before it arrived: an answer came, and not from there.
    Refused,
    /// The host itself took the connection, nothing arrived there, and no answer came: without its proxy, dockerd
    /// holds a published port by listening on it, and accepts nothing.
    Unanswered,
    /// Nothing is known.
    CouldNotTest(String),
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Answered(text) => write!(f, "answered ({text})"),
            Self::Arrived(source) => write!(f, "arrived from {source}"),
            Self::Blocked => f.write_str("blocked"),
            Self::Refused => f.write_str("refused"),
            Self::Unanswered => f.write_str("taken by the host, and not answered"),
            Self::CouldNotTest(why) => write!(f, "could not be tested: {why}"),
        }
    }
}

/// The host and its neighbours.
pub(crate) struct Site {
    pub(crate) host: Node,
    pub(crate) storage: Node,
    pub(crate) service: Node,
    pub(crate) journal: Arc<Journal>,
    pub(crate) isoplan: Program,
    cpu: usize,
}

impl Site {
    /// Makes the links, addresses, servers and captures in the namespace of this process. The host forwards
    /// IPv4 before any daemon comes if `forwards`.
    pub(crate) fn start(forwards: bool) -> io::Result<Self> {
        assert!(File::open("/run/netns").is_ok(), "a site is made in namespaces of its own only");
        let mut host = Node::own("host");
        let mut storage = Node::create("storage", 1)?;
        let mut service = Node::create("service", 2)?;
        host.sysctl("net/ipv4/ip_forward", if forwards { "1" } else { "0" })?;
        host.sysctl("net/ipv6/conf/all/forwarding", "0")?;
        // Who may have echo requests answered without a raw socket: everybody.
        host.sysctl("net/ipv4/ping_group_range", "0 2147483647")?;
        for node in [&host, &storage, &service] {
            node.sysctl("net/ipv6/conf/default/accept_dad", "0")?;
            node.ip("link set lo up\n")?;
        }
        host.ip("link add eth0 type veth peer name eth0 netns service\n\
                 link add eth1 type veth peer name eth0 netns storage\n")?;
        host.ip(&format!(
            "address add {HOST_ON_SERVICE}/24 dev eth0\naddress add {HOST_ON_SERVICE_V6}/64 dev eth0 nodad\n\
             address add {HOST_ON_STORAGE}/24 dev eth1\naddress add {HOST_ON_STORAGE_V6}/64 dev eth1 nodad\n\
             link set eth0 up\nlink set eth1 up\n"
        ))?;
        for (node, v4, v6, v4_gateway, v6_gateway) in [
            (&service, SERVICE, SERVICE_V6, HOST_ON_SERVICE, HOST_ON_SERVICE_V6),
            (&storage, STORAGE, STORAGE_V6, HOST_ON_STORAGE, HOST_ON_STORAGE_V6),
        ] {
            // A server that routes to everything by way of the host is the worst case: answers find their way.
            node.ip(&format!(
                "address add {v4}/24 dev eth0\naddress add {v6}/64 dev eth0 nodad\nlink set eth0 up\n\
                 route add default via {v4_gateway}\nroute add default via {v6_gateway}\n"
            ))?;
        }
        host.ip(&format!("route add default via {SERVICE}\nroute add default via {SERVICE_V6}\n"))?;
        storage.addresses = vec![address(STORAGE), address(STORAGE_V6)];
        service.addresses = vec![address(SERVICE), address(SERVICE_V6)];
        host.addresses = vec![address(HOST_ON_SERVICE), address(HOST_ON_SERVICE_V6)];
        serve(&storage, STORAGE_PORT)?;
        serve(&service, SERVICE_PORT)?;
        let journal = Arc::default();
        capture::start(&host, &journal)?;
        capture::start(&storage, &journal)?;
        capture::start(&service, &journal)?;
        let allowed = sched_getaffinity(Pid::from_raw(0))?;
        let cpu = (0..CpuSet::count()).find(|cpu| allowed.is_set(*cpu).unwrap_or(false)).unwrap_or(0);
        Ok(Self { host, storage, service, journal, isoplan: Program::new("/usr/local/bin/isoplan")?, cpu })
    }

    /// Starts a capture at one more node, a container's.
    pub(crate) fn watch(&self, node: &Node) -> io::Result<()> {
        capture::start(node, &self.journal)
    }

    /// One UDP packet: does it arrive there?
    pub(crate) fn udp(&self, from: &Node, to: SocketAddr, at: &Node) -> Outcome {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let tag = format!("probe {}.", NUMBER.fetch_add(1, Ordering::Relaxed));
        self.probe(from, to, at, || {
            let socket = from.enter(|| UdpSocket::bind(any(to)))?;
            let mark = self.journal.mark();
            // A route that is missing, or an earlier refusal, is not a block.
            socket.send_to(tag.as_bytes(), to)?;
            let mut way = Way::to(self, to, at)?;
            way.clear()?;
            let arrived =
                self.journal.find(mark, |seen| seen.node == at.index && seen.payload == tag.as_bytes());
            Ok(arrived.map_or(Outcome::Blocked, |seen| Outcome::Arrived(seen.source)))
        })
    }

    /// One TCP connection: does its first packet arrive there, and does the server answer?
    pub(crate) fn tcp(&self, from: &Node, to: SocketAddr, at: &Node) -> Outcome {
        self.probe(from, to, at, || {
            let socket =
                from.enter(|| Socket::new(Domain::for_address(to), Type::STREAM, Some(Protocol::TCP)))?;
            socket.set_nonblocking(true)?;
            let mark = self.journal.mark();
            match socket.connect(&to.into()) {
                Ok(()) => {}
                Err(error) if error.raw_os_error() == Some(nix::libc::EINPROGRESS) => {}
                Err(error) => return Err(error),
            }
            Way::to(self, to, at)?.clear()?;
            let is_syn = |seen: &Seen| {
                seen.node == at.index && matches!(seen.what, What::Tcp { is_syn: true, is_ack: false, .. })
            };
            let arrived = self.journal.find(mark, is_syn);
            let is_done = |limit: PollTimeout| -> io::Result<bool> {
                let mut ready = [PollFd::new(socket.as_fd(), PollFlags::POLLOUT)];
                Ok(poll(&mut ready, limit)? == 1)
            };
            if arrived.is_none() && !is_done(PollTimeout::ZERO)? {
                return Ok(Outcome::Blocked);
            }
            if !is_done(PollTimeout::try_from(LIMIT).expect("a limit that fits"))? {
                return Ok(arrived.map_or(Outcome::Blocked, |seen| Outcome::Arrived(seen.source)));
            }
            if socket.take_error()?.is_some() {
                return Ok(arrived.map_or(Outcome::Refused, |seen| Outcome::Arrived(seen.source)));
            }
            socket.set_nonblocking(false)?;
            socket.set_read_timeout(Some(if arrived.is_some() { LIMIT } else { BY_PROXY }))?;
            let mut text = String::new();
            let mut stream = std::net::TcpStream::from(socket);
            match stream.read_to_string(&mut text) {
                Ok(_) => Ok(Outcome::Answered(text.trim().to_owned())),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock && arrived.is_none() => {
                    Ok(Outcome::Unanswered)
                }
                Err(error) => Err(error),
            }
        })
    }

    /// Does it on one CPU, after the host has had an answer from the sender, and has reached the node where it would arrive:
    /// both have what they need to know of their neighbours.
    fn probe(
        &self,
        from: &Node,
        to: SocketAddr,
        at: &Node,
        work: impl FnOnce() -> io::Result<Outcome> + Send,
    ) -> Outcome {
        let result = thread::scope(|scope| {
            let worker = scope.spawn(|| {
                let mut one = CpuSet::new();
                one.set(self.cpu)?;
                sched_setaffinity(Pid::from_raw(0), &one)?;
                if !from.is_host() {
                    ping(of_family(from, to))?;
                }
                Way::to(self, to, at)?.send_one()?;
                work()
            });
            worker.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
        });
        result.unwrap_or_else(|error| Outcome::CouldNotTest(error.to_string()))
    }
}

/// Packets from the host straight to a node, which show that the way to it is clear.
struct Way<'s> {
    site: &'s Site,
    socket: UdpSocket,
    to: SocketAddr,
    at: usize,
    number: u32,
}

impl<'s> Way<'s> {
    /// To that node, in the family of what goes ahead: the host has a capture for each.
    fn to(site: &'s Site, like: SocketAddr, at: &Node) -> io::Result<Self> {
        let to = SocketAddr::new(of_family(at, like), SENTINEL_PORT);
        // A new socket for each: an earlier one may have a refusal of that port on it.
        Ok(Self { site, socket: UdpSocket::bind(any(to))?, to, at: at.index, number: 0 })
    }

    /// Sends as many as it takes for what is ahead to arrive.
    fn clear(&mut self) -> io::Result<()> {
        (0..ROUNDS).try_for_each(|_| self.send_one())
    }

    fn send_one(&mut self) -> io::Result<()> {
        self.number += 1;
        let port = self.socket.local_addr()?.port();
        let payload = format!("sentinel {port} {}", self.number).into_bytes();
        let mark = self.site.journal.mark();
        self.socket.send_to(&payload, self.to)?;
        let is_it = |seen: &Seen| seen.node == self.at && seen.payload == payload;
        match self.site.journal.wait(mark, LIMIT, is_it) {
            Some(_) => Ok(()),
            None => Err(io::Error::other(format!("what the host sends to {} does not arrive", self.to))),
        }
    }
}

/// The address of a node of the family of another, or another one where it has none.
fn of_family(node: &Node, like: SocketAddr) -> IpAddr {
    *node.addresses.iter().find(|own| own.is_ipv4() == like.is_ipv4()).unwrap_or(&node.addresses[0])
}

/// Has a node answer the host. The answer is never a new connection, and no firewall here drops it.
fn ping(to: IpAddr) -> io::Result<()> {
    const ECHO_REQUEST: [u8; 2] = [8, 128];
    let to = SocketAddr::new(to, 0);
    let protocol = if to.is_ipv4() { Protocol::ICMPV4 } else { Protocol::ICMPV6 };
    // Such a socket has the kernel fill in the rest, and gets the answers to its own requests alone: icmp(7).
    let socket = Socket::new(Domain::for_address(to), Type::DGRAM, Some(protocol))?;
    socket.set_read_timeout(Some(LIMIT))?;
    let kind = ECHO_REQUEST[usize::from(to.is_ipv6())];
    socket.send_to(&[kind, 0, 0, 0, 0, 0, 0, 1], &to.into())?;
    let mut buffer = [0_u8; 64];
    let answer = (&socket).read(&mut buffer);
    answer
        .map(drop)
        .map_err(|error| io::Error::other(format!("{} does not answer the host: {error}", to.ip())))
}

/// Answers every connection with the address of its sender.
fn serve(node: &Node, port: u16) -> io::Result<()> {
    for any in ["0.0.0.0", "::"] {
        let listener = node.enter(|| {
            let socket = Socket::new(
                if any == "::" { Domain::IPV6 } else { Domain::IPV4 },
                Type::STREAM,
                Some(Protocol::TCP),
            )?;
            if any == "::" {
                socket.set_only_v6(true)?;
            }
            socket.bind(&SocketAddr::new(address(any), port).into())?;
            socket.listen(128)?;
            io::Result::Ok(TcpListener::from(socket))
        })?;
        thread::spawn(move || {
            for stream in listener.incoming() {
                let Ok(mut stream) = stream else { continue };
                if let Ok(peer) = stream.peer_addr() {
                    let _ = stream.write_all(peer.ip().to_string().as_bytes());
                }
            }
        });
    }
    Ok(())
}

/// An address that is known to be one.
pub(crate) fn address(text: &str) -> IpAddr {
    text.parse().unwrap_or_else(|_| panic!("`{text}` is no address"))
}

/// The unspecified address of the same family.
fn any(to: SocketAddr) -> SocketAddr {
    SocketAddr::new(address(if to.is_ipv4() { "0.0.0.0" } else { "::" }), 0)
}

/// Waits until something is so.
#[track_caller]
pub(crate) fn wait_until(what: &str, limit: Duration, mut is_so: impl FnMut() -> bool) {
    let deadline = Instant::now() + limit;
    while !is_so() {
        assert!(Instant::now() < deadline, "{what}: not within {} s", limit.as_secs());
        thread::sleep(Duration::from_millis(10));
    }
}
