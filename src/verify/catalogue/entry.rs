//! What an entry of the catalogue is made of.

use std::net::{Ipv4Addr, Ipv6Addr};

use crate::intent::IpFamily;
use crate::verify::packet::{Pieces, Tag};
use crate::verify::probe::{Class, Transport};
use crate::verify::question::Question;

/// Which pairs of sender and receiver an entry is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum About {
    /// Every container network (and flat) to the server of every NIC.
    NetworkToNic,
    /// Every container network (and flat) to the host's address on every NIC.
    NetworkToHost,
    /// Every NIC's server to a container of every network, and to an instance of every flat.
    NicToNetwork,
    /// Every NIC's server to that of every other.
    NicToNic,
    /// Every NIC's server to the host's address on every NIC, its own and others.
    NicToHost,
    /// Every container network to every other, and the links of one wildcard to each other.
    NetworkToNetwork,
    /// Every container network to the host's address on every other.
    NetworkToGateway,
    /// Every NIC's server to the host's address on every container network.
    NicToGateway,
    /// Every container network, and every NIC but the default one, to the internet.
    ToInternet,
    /// The internet to every container network.
    FromInternet,
    /// One container to the other on the same link.
    SameLink,
    /// A container to the host's address on its own link.
    OwnGateway,
    /// The host to every server, container and instance.
    FromHost,
    /// Every NIC's server to every container with a published port, by the host's address on the NIC.
    Published,
    /// A subject's sender to the server of the NIC that is closed to it.
    Closed,
    /// A subject's sender to the host's address on that NIC.
    ClosedHost,
    /// The server of a closed NIC to the subject's sender.
    ClosedBack,
    /// The same where the NIC is closed to everybody.
    GuardedBack,
    /// The server of another NIC to the subject's sender.
    Beside,
    /// The server of another NIC to that of the closed one, for the first subject.
    Transit,
    /// The same the other way.
    TransitBack,
    /// From a container to one of a network that it may not reach: the first such pair.
    Networks,
    /// An instance of every flat to the server of its NIC.
    FlatOut,
    /// The server of a flat's NIC to an instance.
    FlatBack,
    /// A subject's sender to the server of a NIC that it may reach.
    Service,
    /// The server of a NIC that may open connections to a network, to a container there: the first such pair.
    Opener,
    /// The host to the server of the closed NIC.
    HostToClosed,
    /// The server of the closed NIC to the host's address there.
    ClosedOwnHost,
    /// A subject's sender to the internet.
    SubjectToInternet,
    /// A subject's sender to the other container on its link.
    SubjectNeighbour,
    /// A subject's sender to the host's address on its own link.
    SubjectGateway,
    /// What a change of the host adds: see [`crate::verify::change::added`].
    Added,
    /// The host's address on what a change of the host adds.
    AddedHost,
}

/// Which addresses of the receiver a packet goes to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Aim {
    /// Its own.
    Own,
    /// One behind the router of its NIC, in a subnet that the file lists.
    Listed,
    /// One behind the router of its NIC, in no subnet of the file.
    Unlisted,
    /// The address of the server of another NIC, in a frame to the receiver: a router would deliver it.
    OtherNic,
    /// The broadcast address of the host's link there (RFC 922); seen by the host where the kernel takes it as its
    /// own.
    Broadcast,
    /// The same, seen on the link itself.
    BroadcastOnLink,
    /// The group of all hosts on the sender's own link.
    AllHosts,
    /// The published port, at the host's address on the sender's NIC.
    PublishedHere,
    /// The published port, at the host's address on a NIC that the container may reach.
    PublishedAtService,
    /// The port of the sender's gateway that [`crate::verify::change::Change::Dnat`] leads there.
    Dnat,
}

/// Whose source address a packet has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Source {
    /// The sender's own.
    Own,
    /// A container's on another network.
    OtherNetwork,
    /// A neighbour's of the receiver.
    Neighbour,
    /// The host's own, on the receiver's link.
    HostThere,
    /// One of a NIC that the containers may reach.
    Service,
    /// One of the NIC that is closed to the subject.
    ClosedNic,
    /// The server's of another NIC than the sender's.
    OtherNic,
    /// One of the internet.
    Internet,
    /// One behind the sender, in a subnet that the file lists; sent by the router of its NIC.
    Listed,
    /// One behind the sender, in no subnet of the file; sent by the router of its NIC.
    Unlisted,
    /// These.
    Fixed(Ipv4Addr, Ipv6Addr),
}

/// What an IP packet holds; the port is filled in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Holds {
    Udp,
    /// To the port of an overlay.
    UdpToOverlay,
    Syn,
    Ack,
    Invalid,
    Sctp,
    /// Of that number over IPv4 and over IPv6.
    Protocol(u8, u8),
    Echo,
}

/// Options and extension headers; the first hop of a source route is the host's address on the sender's link.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Extra {
    None,
    RecordRoute,
    Timestamp,
    LooseSourceRoute,
    StrictSourceRoute,
    HopByHop,
    DestinationOptions,
    SegmentRouting,
}

/// Whom a frame is addressed to on its link.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Hop {
    /// The receiver where it is on the link, else the host.
    Usual,
    /// The receiver, wherever it is.
    Receiver,
    /// The host, also where the receiver is on the link.
    Host,
}

/// A frame with every header of our own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Shape {
    pub(super) source: Source,
    pub(super) holds: Holds,
    pub(super) extra: Extra,
    pub(super) pieces: Pieces,
    pub(super) tags: &'static [Tag],
    pub(super) hop: Hop,
}

/// UDP as any host sends it.
pub(super) const UDP: Shape = Shape {
    source: Source::Own,
    holds: Holds::Udp,
    extra: Extra::None,
    pieces: Pieces::One,
    tags: &[],
    hop: Hop::Usual,
};

impl Shape {
    pub(super) const fn from(mut self, source: Source) -> Self {
        self.source = source;
        self
    }

    pub(super) const fn holding(mut self, holds: Holds) -> Self {
        self.holds = holds;
        self
    }

    pub(super) const fn with(mut self, extra: Extra) -> Self {
        self.extra = extra;
        self
    }

    pub(super) const fn cut(mut self, pieces: Pieces) -> Self {
        self.pieces = pieces;
        self
    }

    pub(super) const fn tagged(mut self, tags: &'static [Tag]) -> Self {
        self.tags = tags;
        self
    }

    pub(super) const fn hopping(mut self, hop: Hop) -> Self {
        self.hop = hop;
        self
    }
}

/// How an entry's packet is sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Send {
    /// From a socket.
    Socket(Transport),
    /// A TCP connection with a message each way.
    Session,
    /// A frame.
    Frame(Shape),
    /// One more packet on a flow that the sender has opened before the rules came.
    OnOwnFlow(Transport),
    /// One more packet on a flow that the receiver has opened before.
    OnTheirFlow(Transport),
    /// An ICMP error about the host's own flow with the receiver.
    RelatedError,
    /// By a program on the host that relays.
    Relay,
}

/// Where the expectation comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Rule {
    /// The intent.
    Intent,
    /// It must never arrive. Most kernels see to that themselves, so that it does not arrive without rules either.
    Never,
    /// It is known to get through.
    Residual,
}

/// Which families an entry has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Families {
    Both,
    V4,
    V6,
}

impl Families {
    pub(super) fn has(self, family: IpFamily) -> bool {
        match self {
            Self::Both => true,
            Self::V4 => family == IpFamily::V4,
            Self::V6 => family == IpFamily::V6,
        }
    }
}

/// One entry: a probe for each pair that it is about, in each of its families.
#[derive(Debug, Clone, Copy)]
pub(super) struct Entry {
    /// In names of probes.
    pub(super) name: &'static str,
    /// Of a probe that is to be blocked; one that is to pass is a control.
    pub(super) class: Class,
    /// Likewise.
    pub(super) question: Question,
    /// What somebody would gain by it, in one sentence.
    pub(super) threat: &'static str,
    pub(super) about: About,
    pub(super) families: Families,
    pub(super) aim: Aim,
    pub(super) send: Send,
    pub(super) rule: Rule,
}

/// What the entries of a table have in common.
#[derive(Debug, Clone, Copy)]
pub(super) struct Kind {
    pub(super) about: About,
    pub(super) class: Class,
    pub(super) question: Question,
}

impl Kind {
    pub(super) const fn new(about: About, class: Class, question: Question) -> Self {
        Self { about, class, question }
    }

    /// An entry of the table: UDP from a socket over both families, unless more is said.
    pub(super) const fn entry(self, name: &'static str, threat: &'static str) -> Entry {
        Entry {
            name,
            class: self.class,
            question: self.question,
            threat,
            about: self.about,
            families: Families::Both,
            aim: Aim::Own,
            send: Send::Socket(Transport::Udp),
            rule: Rule::Intent,
        }
    }

    /// The three that every pair of parties has.
    pub(super) const fn basic(self, threat: &'static str) -> [Entry; 3] {
        [
            self.entry("udp", threat),
            self.entry("icmp", threat).sent(Send::Socket(Transport::Icmp)),
            self.entry("tcp", threat).sent(Send::Socket(Transport::Tcp)),
        ]
    }
}

impl Entry {
    pub(super) const fn sent(mut self, send: Send) -> Self {
        self.send = send;
        self
    }

    pub(super) const fn frame(self, shape: Shape) -> Self {
        self.sent(Send::Frame(shape))
    }

    pub(super) const fn tcp(self) -> Self {
        self.sent(Send::Socket(Transport::Tcp))
    }

    pub(super) const fn icmp(self) -> Self {
        self.sent(Send::Socket(Transport::Icmp))
    }

    pub(super) const fn at(mut self, aim: Aim) -> Self {
        self.aim = aim;
        self
    }

    pub(super) const fn asks(mut self, question: Question) -> Self {
        self.question = question;
        self
    }

    pub(super) const fn v4(mut self) -> Self {
        self.families = Families::V4;
        self
    }

    pub(super) const fn v6(mut self) -> Self {
        self.families = Families::V6;
        self
    }

    pub(super) const fn ruled(mut self, rule: Rule) -> Self {
        self.rule = rule;
        self
    }
}
