//! Flows that were opened before the approach was applied.

use std::io;
use std::net::{SocketAddr, TcpStream, UdpSocket};

use socket2::Socket;

use super::super::build::Lab;
use super::super::frame::Id;
use super::super::frame::mark::{self, Mark};
use super::serve::answer_to;
use super::trial::Trial;
use super::{Prober, Stop, describe, tcp};
use crate::verify::outcome::Outcome;
use crate::verify::packet::{Body, IpExtra, Packet, Pieces, To};
use crate::verify::probe::{Probe, Sending, Transport};
use crate::verify::world::Place;

/// Both ends of a flow.
#[derive(Debug)]
pub(super) struct Flow {
    opener: End,
    listener: End,
    /// Whether something is stuck in it: what is written behind that is not sent.
    is_stuck: bool,
}

/// One end.
#[derive(Debug)]
enum End {
    Udp(UdpSocket),
    Tcp(TcpStream),
}

impl End {
    fn send(&mut self, bytes: &[u8]) {
        match self {
            // Whether it gets anywhere is for the captures to see.
            Self::Udp(socket) => drop(send(socket, bytes)),
            Self::Tcp(stream) => tcp::write(stream, bytes),
        }
    }

    /// Reads what is there, and answers it.
    fn answer(&mut self) {
        match self {
            Self::Udp(socket) => {
                for message in received(socket) {
                    answer_to(&message).into_iter().for_each(|answer| drop(send(socket, &answer)));
                }
            }
            Self::Tcp(stream) => tcp::answer(stream),
        }
    }

    /// Reads what is there.
    fn skip(&mut self) {
        match self {
            Self::Udp(socket) => drop(received(socket)),
            Self::Tcp(stream) => tcp::skip(stream),
        }
    }

    fn has_answer(&mut self, id: Id) -> bool {
        match self {
            Self::Udp(socket) => {
                received(socket).iter().any(|message| mark::find(message) == Some((Mark::Answer, id)))
            }
            Self::Tcp(stream) => tcp::has_answer(stream, id),
        }
    }

    fn addresses(&self) -> Option<(SocketAddr, SocketAddr)> {
        match self {
            Self::Udp(socket) => socket.local_addr().ok().zip(socket.peer_addr().ok()),
            Self::Tcp(stream) => stream.local_addr().ok().zip(stream.peer_addr().ok()),
        }
    }
}

impl Prober {
    /// Opens the flow of a probe, with one message each way.
    pub(super) fn open_flow(&mut self, lab: &Lab, probe: &Probe) -> Result<Flow, Stop> {
        let (protocol, opener, listener, to) = match probe.sending {
            Sending::Established { protocol, opener, listener, destination, port } => {
                (protocol, opener, listener, SocketAddr::new(destination, port))
            }
            Sending::RelatedError { listener, destination, port } => {
                (Transport::Udp, Place::HOST, listener, SocketAddr::new(destination, port))
            }
            _ => return Err(Stop::Cannot("it has no flow of its own".to_owned())),
        };
        self.refresh_if_grown(lab)?;
        self.servers.listen_for(lab, probe);
        let mut trial = Trial::new(lab, probe, self.next_id());
        let cannot = || Stop::cannot("cannot open the flow");
        let (socket, _) = self.open_socket(&trial, opener, protocol, to).map_err(cannot())?;
        let hello = mark::payload(Mark::Probe, trial.identity.id);
        let (mut opener, mut listener) = match protocol {
            Transport::Icmp => return Err(Stop::Cannot("an echo request opens no flow".to_owned())),
            Transport::Udp => {
                socket.connect(&to.into()).and_then(|()| socket.send(&hello)).map_err(cannot())?;
                self.settle(&mut trial)?;
                let accepted = self.servers.accept_datagram(lab, listener).ok_or_else(no_flow)?;
                // The first one was read already.
                drop(accepted.send(&mark::payload(Mark::Answer, trial.identity.id)));
                (End::Udp(into_udp(socket)), End::Udp(accepted))
            }
            Transport::Tcp => {
                // In progress until the other side has answered.
                let _ = socket.connect(&to.into());
                self.settle(&mut trial)?;
                let accepted = self.servers.take_connections(listener).pop().ok_or_else(no_flow)?;
                let mut stream = TcpStream::from(socket);
                let _ = stream.set_nodelay(true);
                tcp::write(&mut stream, &hello);
                (End::Tcp(stream), End::Tcp(accepted))
            }
        };
        self.settle(&mut trial)?;
        listener.answer();
        self.settle(&mut trial)?;
        if !opener.has_answer(trial.identity.id) {
            return Err(no_flow());
        }
        Ok(Flow { opener, listener, is_stuck: false })
    }

    /// One more packet on a flow.
    pub(super) fn run_established(&mut self, trial: &mut Trial<'_>) -> Result<Outcome, Stop> {
        let mut flow = self.take_flow(trial)?;
        let outcome = self.on_flow(trial, &mut flow);
        self.flows.insert(trial.probe.name.clone(), Ok(flow));
        outcome
    }

    fn on_flow(&mut self, trial: &mut Trial<'_>, flow: &mut Flow) -> Result<Outcome, Stop> {
        let is_backwards = matches!(trial.probe.sending, Sending::Established { opener, listener, .. }
            if trial.probe.sender == listener && opener != listener);
        let is_tcp = matches!(flow.opener, End::Tcp(_));
        if is_backwards {
            // A flow that lives: its opener goes on sending. Where conntrack did not look before the approach
            // came, it would take the next packet for the first of a flow the other way round.
            flow.opener.send(&mark::payload(Mark::Probe, self.next_id()));
            self.settle(trial)?;
            flow.listener.skip();
        }
        let (from, to) = match is_backwards {
            false => (&mut flow.opener, &mut flow.listener),
            true => (&mut flow.listener, &mut flow.opener),
        };
        let sent = from.addresses().map(|(near, far)| {
            let ends = describe::ends(near.ip(), Some(near.port()), far.ip(), Some(far.port()));
            format!("{ends}, {} on a flow that was open before", if is_tcp { "TCP" } else { "UDP" })
        });
        trial.start(sent.unwrap_or_default());
        // Set until all that was written has arrived: the kernel holds back what is written behind that.
        flow.is_stuck = is_tcp;
        from.send(&mark::payload(Mark::Probe, trial.identity.id));
        let behind = self.send_from_sender(trial)?;
        // A second attempt would find it stuck.
        let only_once = |stop| match stop {
            Stop::Lost(why) if is_tcp => Stop::Cannot(why),
            stop => stop,
        };
        if !self.has_arrived(trial, behind).map_err(only_once)? {
            return Ok(Outcome::Blocked);
        }
        if !trial.probe.is_answerable {
            flow.is_stuck = false;
            return Ok(Outcome::Delivered);
        }
        to.answer();
        let outcome = self.decide_answer(trial).map_err(only_once)?;
        flow.is_stuck &= outcome != Outcome::Answered;
        Ok(outcome)
    }

    /// An error about a flow of the host, sent by somebody else.
    pub(super) fn run_related(&mut self, trial: &mut Trial<'_>) -> Result<Outcome, Stop> {
        let mut flow = self.take_flow(trial)?;
        let outcome = self.about_flow(trial, &mut flow);
        self.flows.insert(trial.probe.name.clone(), Ok(flow));
        outcome
    }

    fn about_flow(&mut self, trial: &mut Trial<'_>, flow: &mut Flow) -> Result<Outcome, Stop> {
        let node = trial.lab.world.node(trial.probe.sender);
        let family = trial.probe.family;
        let source = node.address(family);
        let source = source.ok_or_else(|| Stop::Cannot(format!("{} has no {family} address", node.name)))?;
        // Conntrack may not have looked at the flow before the approach came.
        let again = self.next_id();
        flow.opener.send(&mark::payload(Mark::Probe, again));
        self.settle(trial)?;
        flow.listener.answer();
        self.settle(trial)?;
        if !flow.opener.has_answer(again) {
            return Err(Stop::Cannot("the host's own flow does not work".to_owned()));
        }
        let ends = flow.opener.addresses();
        let (near, far) = ends.ok_or_else(|| Stop::Cannot("the host's flow has no addresses".to_owned()))?;
        // As if the listener had sent something that cannot be delivered.
        let packet = Packet {
            to: To::Host,
            tags: Vec::new(),
            source,
            destination: far.ip(),
            hops: 64,
            extra: IpExtra::None,
            body: Body::Unreachable { source: (far.ip(), far.port()), destination: (near.ip(), near.port()) },
            pieces: Pieces::One,
        };
        let behind = self.send_frames(trial, &packet)?;
        self.decide(trial, behind)
    }

    /// The flow that was opened for a probe.
    fn take_flow(&mut self, trial: &Trial<'_>) -> Result<Flow, Stop> {
        let name = &trial.probe.name;
        match self.flows.remove(name) {
            None => Err(Stop::Cannot("its flow was not opened".to_owned())),
            Some(Err(why)) => {
                self.flows.insert(name.clone(), Err(why.clone()));
                Err(Stop::Cannot(why))
            }
            Some(Ok(flow)) if flow.is_stuck => {
                self.flows.insert(name.clone(), Ok(flow));
                Err(Stop::Cannot("its flow was used before, and is stuck".to_owned()))
            }
            Some(Ok(flow)) => Ok(flow),
        }
    }
}

/// Sends a datagram. An ICMP error about an earlier one is told first, in its place, udp(7).
fn send(socket: &UdpSocket, bytes: &[u8]) -> io::Result<usize> {
    socket.send(bytes).or_else(|_| socket.send(bytes))
}

/// Every datagram that waits.
fn received(socket: &UdpSocket) -> Vec<Vec<u8>> {
    let mut messages = Vec::new();
    let mut buffer = [0_u8; 2048];
    // Errors are about what was sent before; each is told once.
    let mut errors = 0;
    while errors < 10 {
        match socket.recv(&mut buffer) {
            Ok(length) => messages.push(buffer[..length].to_vec()),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
            Err(_) => errors += 1,
        }
    }
    messages
}

fn no_flow() -> Stop {
    Stop::Cannot("the flow cannot be opened: nothing comes back".to_owned())
}

fn into_udp(socket: Socket) -> UdpSocket {
    socket.into()
}
