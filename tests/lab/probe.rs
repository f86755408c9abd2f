//! Probes: one packet sent from one node, and what became of it.
//!
//! That nothing arrived is known by order, never by waiting. All threads of a lab run on one CPU, so that every
//! packet goes through that CPU's backlog, in the order in which it was sent. After the probe the sender has
//! three echoes answered, one after the other, by the host's address on its own link: when the last answer is
//! there, the probe has passed the host if it ever will. Then the host sends an echo request of the same family
//! to where the probe was to arrive, the same way that the probe takes from the host on, so that it also queues
//! behind the probe where a neighbour is still being asked for. When the capture has that one and not the
//! probe, the probe was blocked. Without the one or the other nothing is known, and the outcome says so.

use std::fmt;
use std::io;
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use nix::errno::Errno;
use socket2::{Domain, Protocol, Socket, Type};

use super::PORT;
use super::build::Lab;
use super::capture::{Seen, What};
use super::node::Node;
use super::packet::{self, Forged, Kind};
use super::spec::Family;

/// How long to wait for what must come. Only a test that fails waits that long.
const LIMIT: Duration = Duration::from_secs(5);

/// What became of a probe.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// It arrived, with this source, and no answer came back.
    Delivered { source: IpAddr },
    /// It arrived, with this source, and its sender got an answer.
    Answered { source: IpAddr },
    /// It did not arrive, and what was sent after it did.
    Blocked,
    /// The lab cannot tell.
    CouldNotTest(String),
}

impl Outcome {
    /// Whether the packet arrived.
    pub(crate) fn is_delivered(&self) -> bool {
        self.source().is_some()
    }

    /// The source that it arrived with.
    pub(crate) fn source(&self) -> Option<IpAddr> {
        match self {
            Self::Delivered { source } | Self::Answered { source } => Some(*source),
            Self::Blocked | Self::CouldNotTest(_) => None,
        }
    }
}

/// One packet to be sent.
#[derive(Clone)]
pub(crate) struct Probe<'a> {
    lab: &'a Lab,
    from: &'a Node,
    at: &'a Node,
    kind: Kind,
    destination: IpAddr,
    port: u16,
    source: Option<IpAddr>,
    source_port: Option<u16>,
    is_one_way: bool,
}

impl fmt::Display for Probe<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { from, at, kind, destination, .. } = self;
        write!(f, "{} -> {}, {kind:?} to {destination}", from.name, at.name)?;
        if self.kind != Kind::Icmp {
            write!(f, " port {}", self.port)?;
        }
        if let Some(source) = self.source {
            write!(f, " from {source}")?;
        }
        Ok(())
    }
}

/// What a packet of a probe is known by.
#[derive(Debug, Clone)]
pub(crate) enum Tag {
    /// Its payload has this text.
    Payload(String),
    /// A SYN from this port.
    Syn(u16),
    /// This text is anywhere in it, whatever the protocol.
    Inside(String),
}

impl Tag {
    /// A text that no other packet has.
    pub(crate) fn unique() -> Self {
        Self::Payload(format!("isoplan lab packet {:06}", next_number()))
    }

    pub(crate) fn bytes(&self) -> &[u8] {
        match self {
            Self::Payload(text) => text.as_bytes(),
            Self::Inside(text) => text.as_bytes(),
            Self::Syn(_) => &[],
        }
    }

    /// Whether a packet that was seen is the one sent.
    pub(crate) fn is_on(&self, seen: &Seen) -> bool {
        match (self, &seen.what) {
            (_, What::Answer) => false,
            (Self::Inside(text), _) => seen.payload.windows(text.len()).any(|part| part == text.as_bytes()),
            (_, What::EchoReply | What::Other) => false,
            (Self::Payload(text), _) => seen.payload.starts_with(text.as_bytes()),
            (Self::Syn(port), What::Tcp { source_port, is_syn: true, is_ack: false, .. }) => {
                port == source_port
            }
            (Self::Syn(_), _) => false,
        }
    }

    /// Whether a packet that was seen is the answer to the one sent.
    pub(crate) fn is_answered_by(&self, seen: &Seen) -> bool {
        match (self, &seen.what) {
            (Self::Payload(text), What::EchoReply | What::Udp { .. }) => {
                seen.payload.starts_with(text.as_bytes())
            }
            (Self::Syn(port), What::Tcp { destination_port, is_syn: true, is_ack: true, .. }) => {
                port == destination_port
            }
            _ => false,
        }
    }
}

fn next_number() -> u32 {
    static LAST: AtomicU32 = AtomicU32::new(0);
    LAST.fetch_add(1, Ordering::Relaxed)
}

/// A source port that no other probe of this process has.
fn next_port() -> u16 {
    const FIRST: u32 = 20_000;
    const COUNT: u32 = 10_000;
    u16::try_from(FIRST + next_number() % COUNT).unwrap_or(u16::MAX)
}

impl Lab {
    /// A probe from one node to another node's address.
    pub(crate) fn probe(&self, kind: Kind, family: Family, from: &str, to: &str) -> Probe<'_> {
        let (from, at) = (self.node(from), self.node(to));
        let destination = at.address(family);
        Probe {
            lab: self,
            from,
            at,
            kind,
            destination,
            port: PORT,
            source: None,
            source_port: None,
            is_one_way: false,
        }
    }

    /// Says what became of a packet that was sent, known by `tag`, from one node to another.
    pub(crate) fn decide(
        &self,
        mark: usize,
        from: &Node,
        at: &Node,
        kind: Kind,
        family: Family,
        tag: &Tag,
    ) -> Outcome {
        let decided = self.settle(from, family).and_then(|()| self.check_capture(at, kind, family));
        if let Err(reason) = decided {
            return Outcome::CouldNotTest(reason);
        }
        let arrived = self.journal.find(mark, |seen| seen.node == at.index && tag.is_on(seen));
        arrived.map_or(Outcome::Blocked, |seen| Outcome::Delivered { source: seen.source })
    }

    /// Waits until everything that the node has sent went as far as it can.
    pub(crate) fn settle(&self, node: &Node, family: Family) -> Result<(), String> {
        /// Under a flood an echo can be lost in a full queue; one that is sent later says as much.
        const PATIENCE: Duration = Duration::from_millis(250);
        let partner = node.partner(family);
        for _ in 0..3 {
            let answered = (0..LIMIT.as_millis() / PATIENCE.as_millis()).any(|_| {
                let (mark, tag) = (self.journal.mark(), Tag::unique());
                packet::send_echo(node, partner, 1, tag.bytes()).is_ok()
                    && self
                        .journal
                        .wait(mark, PATIENCE, |seen| seen.node == node.index && tag.is_answered_by(seen))
                        .is_some()
            });
            if !answered {
                return Err(format!("{} gets no echo from {partner}", node.name));
            }
        }
        Ok(())
    }

    /// Waits until the capture at a node has shown all that came before now.
    fn check_capture(&self, at: &Node, kind: Kind, family: Family) -> Result<(), String> {
        let fault = |error: io::Error| format!("the host cannot send to {}: {error}", at.name);
        let (mark, mut tag) = (self.journal.mark(), Tag::unique());
        let mut held = None;
        if at.is_host() {
            // The host has a queue per protocol, so the packet must be of the same.
            let own = at.address(family);
            match kind {
                Kind::Icmp => packet::send_echo(at, own, 1, tag.bytes()).map_err(fault)?,
                Kind::Udp => {
                    UdpSocket::bind((own, 0))
                        .and_then(|socket| socket.send_to(tag.bytes(), (own, PORT)))
                        .map_err(fault)?;
                }
                Kind::Tcp => {
                    let (socket, port) = self.connect(at, own, PORT, None).map_err(fault)?;
                    held = Some(socket);
                    tag = Tag::Syn(port);
                }
            }
        } else {
            // Other labs share this CPU's queue, and one of them may flood it: a later echo says as much.
            for _ in 0..20 {
                packet::send_echo(self.host(), at.address(family), 1, tag.bytes()).map_err(fault)?;
                let is_there = |seen: &Seen| seen.node == at.index && tag.is_on(seen);
                if self.journal.wait(mark, Duration::from_millis(250), is_there).is_some() {
                    break;
                }
            }
        }
        self.journal
            .wait(mark, LIMIT, |seen| seen.node == at.index && tag.is_on(seen))
            .ok_or_else(|| format!("the capture at {} does not see what the host sends there", at.name))?;
        drop(held);
        Ok(())
    }

    /// Begins a connection from a source port of its own, and does not wait for it.
    fn connect(
        &self,
        from: &Node,
        destination: IpAddr,
        port: u16,
        source_port: Option<u16>,
    ) -> io::Result<(Socket, u16)> {
        let to = SocketAddr::new(destination, port);
        let local_port = source_port.unwrap_or_else(next_port);
        let any: IpAddr = match Family::of(destination) {
            Family::V4 => std::net::Ipv4Addr::UNSPECIFIED.into(),
            Family::V6 => std::net::Ipv6Addr::UNSPECIFIED.into(),
        };
        let socket =
            from.enter(|| Socket::new(Domain::for_address(to), Type::STREAM, Some(Protocol::TCP)))?;
        socket.set_reuse_address(true)?;
        socket.set_nonblocking(true)?;
        socket.bind(&SocketAddr::new(any, local_port).into())?;
        match socket.connect(&to.into()) {
            Err(error) if error.raw_os_error() != Some(Errno::EINPROGRESS as i32) => Err(error),
            _ => Ok((socket, local_port)),
        }
    }
}

impl<'a> Probe<'a> {
    /// Sent to this address instead of the node's first.
    pub(crate) fn addressed_to(self, destination: IpAddr) -> Self {
        Self { destination, ..self }
    }

    /// Sent to this port.
    pub(crate) fn on_port(self, port: u16) -> Self {
        Self { port, ..self }
    }

    /// Sent with this source, whoever has that address; the answer goes there, not to the sender.
    pub(crate) fn forging(self, source: IpAddr) -> Self {
        Self { source: Some(source), is_one_way: true, ..self }
    }

    /// Sent from this port.
    pub(crate) fn with_source_port(self, port: u16) -> Self {
        Self { source_port: Some(port), ..self }
    }

    /// Nobody answers it, so that none is waited for.
    pub(crate) fn one_way(self) -> Self {
        Self { is_one_way: true, ..self }
    }

    /// The node that it is sent from.
    pub(crate) fn sender(&self) -> &'a Node {
        self.from
    }

    /// Sends it and says what became of it.
    pub(crate) fn run(&self) -> Outcome {
        let mark = self.lab.journal.mark();
        // The socket stays open until all is decided, so that no answer meets a closed port.
        let (_held, tag) = match self.send() {
            Ok(sent) => sent,
            Err(error) => return Outcome::CouldNotTest(format!("cannot send: {error}")),
        };
        let family = Family::of(self.destination);
        let outcome = self.lab.decide(mark, self.from, self.at, self.kind, family, &tag);
        let Outcome::Delivered { source } = outcome else { return outcome };
        if self.is_one_way {
            return outcome;
        }
        match self.wait_for_answer(mark, &tag) {
            Ok(true) => Outcome::Answered { source },
            Ok(false) => Outcome::Delivered { source },
            Err(reason) => Outcome::CouldNotTest(reason),
        }
    }

    /// Whether an answer came back to the sender.
    fn wait_for_answer(&self, mark: usize, tag: &Tag) -> Result<bool, String> {
        let journal = &self.lab.journal;
        if self.kind == Kind::Udp {
            // The one answer that is given by a program, and so may come late.
            let given = |seen: &Seen| {
                seen.node == self.at.index
                    && seen.what == What::Answer
                    && seen.payload.starts_with(tag.bytes())
            };
            journal
                .wait(mark, LIMIT, given)
                .ok_or_else(|| format!("the server at {} gave no answer", self.at.name))?;
        }
        let family = Family::of(self.destination);
        self.lab.settle(self.from, family)?;
        if self.from.is_host() {
            // Its echoes come through another queue than the answer does.
            self.lab.check_capture(self.from, self.kind, family)?;
        }
        let answer = journal.find(mark, |seen| seen.node == self.from.index && tag.is_answered_by(seen));
        Ok(answer.is_some())
    }

    /// Sends the packet and tells how to know it.
    fn send(&self) -> io::Result<(Option<Socket>, Tag)> {
        if let Some(source) = self.source {
            let source_port = self.source_port.unwrap_or_else(next_port);
            let tag = if self.kind == Kind::Tcp { Tag::Syn(source_port) } else { Tag::unique() };
            let forged = Forged {
                kind: self.kind,
                source,
                source_port,
                destination: self.destination,
                destination_port: self.port,
                payload: tag.bytes(),
            };
            forged.send(self.from)?;
            return Ok((None, tag));
        }
        match self.kind {
            Kind::Icmp => {
                let tag = Tag::unique();
                packet::send_echo(self.from, self.destination, next_port(), tag.bytes())?;
                Ok((None, tag))
            }
            Kind::Udp => {
                let to = SocketAddr::new(self.destination, self.port);
                let socket = self
                    .from
                    .enter(|| Socket::new(Domain::for_address(to), Type::DGRAM, Some(Protocol::UDP)))?;
                if let Some(port) = self.source_port {
                    let any = SocketAddr::new(self.from.address(Family::of(self.destination)), port);
                    socket.bind(&any.into())?;
                }
                let tag = Tag::unique();
                socket.send_to(tag.bytes(), &to.into())?;
                Ok((Some(socket), tag))
            }
            Kind::Tcp => {
                let (socket, port) =
                    self.lab.connect(self.from, self.destination, self.port, self.source_port)?;
                Ok((Some(socket), Tag::Syn(port)))
            }
        }
    }
}
