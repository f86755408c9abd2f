//! One probe, ready to be sent: every address is known, nothing is left to look up.

use std::net::IpAddr;

use super::change::Change;
use super::outcome::Expected;
use super::packet::Packet;
use super::question::Question;
use super::world::Place;
use crate::intent::IpFamily;

/// The destination port of most probes. Whoever is to answer, answers here over UDP and TCP; on other ports
/// too where a probe of [`Sending::Socket`] or [`Sending::Session`] goes there. Behind a DNAT it is the port
/// that the packet arrives at.
pub const PORT: u16 = 9000;

/// How a probe is sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Sending {
    /// Frames with headers of our own, from a packet socket on the sender's `eth0`.
    Frame(Packet),
    /// A datagram, an echo request or a SYN from a socket of the sender, as a program would.
    Socket {
        /// With what.
        protocol: Transport,
        /// To where.
        destination: IpAddr,
        /// To which port; 0 for ICMP.
        port: u16,
    },
    /// A whole TCP connection: opened, one message each way, read at both ends.
    Session {
        /// To where.
        destination: IpAddr,
        /// To which port.
        port: u16,
    },
    /// One more packet on a flow that was opened before the approach was applied (before the change of the
    /// host, where there is one). The flow is opened by `opener`, who connects to `listener`.
    Established {
        /// UDP or TCP.
        protocol: Transport,
        /// Who opened it.
        opener: Place,
        /// Who was connected to.
        listener: Place,
        /// At which address.
        destination: IpAddr,
        /// At which port.
        port: u16,
    },
    /// An ICMP error from the sender about a UDP flow that the host itself has open to `listener`, sent to
    /// the listener: conntrack calls it RELATED.
    RelatedError {
        /// With whom the host has the flow.
        listener: Place,
        /// At which address.
        destination: IpAddr,
        /// At which port.
        port: u16,
    },
    /// The host's own proxy: the sender connects to a program on the host that relays to the destination.
    Relay {
        /// The host's address that the program listens on.
        proxy: IpAddr,
        /// Where the program connects to.
        destination: IpAddr,
        /// At which port, both.
        port: u16,
    },
}

/// What a socket sends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Transport {
    /// An echo request.
    Icmp,
    /// A datagram; whoever listens sends it back.
    Udp,
    /// A connection; its SYN is the probe, a SYN-ACK the answer.
    Tcp,
}

/// What a class of flow has in common: which path through the host it is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Class {
    /// A container to a closed NIC.
    ToGuarded,
    /// A container to the host's own addresses on a closed NIC.
    ToHost,
    /// A closed NIC to a container.
    FromGuarded,
    /// One NIC to another through the host.
    Transit,
    /// One network to another.
    BetweenNetworks,
    /// What must go on working.
    Control,
    /// Exceptions, and what is next to them.
    Exception,
    /// After a change of the host.
    Change,
    /// What no rule of this host can stop.
    Residual,
}

/// One packet, sent from one node, and where it would arrive.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Probe {
    /// `docker0:eth1/udp4`, with `+forward-toggled` behind it after a change. Never twice in a catalogue.
    pub name: String,
    /// The entry of the catalogue that it is made from: `udp`.
    pub entry: &'static str,
    /// The class of flow.
    pub class: Class,
    /// Who and whom: `docker0 -> eth1 (storage)`.
    pub pair: String,
    /// What somebody would gain by it, in one sentence.
    pub threat: &'static str,
    /// The row of the table that it counts for.
    pub question: Question,
    /// Its family.
    pub family: IpFamily,
    /// Who sends it.
    pub sender: Place,
    /// How.
    pub sending: Sending,
    /// Where it arrives if it gets through: any of these.
    pub vantage: Vec<Place>,
    /// Whether an answer can come back to the sender; not where the source is forged, or nobody answers such
    /// a packet.
    pub is_answerable: bool,
    /// By the intent.
    pub expected: Expected,
    /// The change of the host that goes before it.
    pub change: Option<Change>,
}
