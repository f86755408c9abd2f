//! Whole connections.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};

use super::super::frame::Id;
use super::super::frame::mark::{self, Mark};
use super::serve::answer_to;
use super::trial::Trial;
use super::{Prober, Stop};
use crate::verify::outcome::Outcome;
use crate::verify::probe::Transport;
use crate::verify::world::Place;

impl Prober {
    /// A connection with one message each way.
    pub(super) fn run_session(&mut self, trial: &mut Trial<'_>, to: SocketAddr) -> Result<Outcome, Stop> {
        let (socket, behind) = self.send_from_socket(trial, Transport::Tcp, to)?;
        trial.sent = trial.sent.replace("TCP SYN", "a TCP connection");
        if !self.has_arrived(trial, behind)? {
            return Ok(Outcome::Blocked);
        }
        if self.decide_answer(trial)? != Outcome::Answered {
            return Ok(Outcome::Delivered);
        }
        // The other side's SYN is there; what follows is data.
        let mut stream = TcpStream::from(socket);
        write(&mut stream, &mark::payload(Mark::Probe, trial.identity.id));
        self.settle(trial)?;
        self.servers.serve();
        self.settle(trial)?;
        if !has_answer(&mut stream, trial.identity.id) {
            return Ok(Outcome::Delivered);
        }
        Ok(Outcome::Answered)
    }

    /// A connection to a program on the host, which opens another one and passes on what it reads.
    pub(super) fn run_relay(
        &mut self,
        trial: &mut Trial<'_>,
        proxy: SocketAddr,
        to: SocketAddr,
    ) -> Result<Outcome, Stop> {
        let (socket, behind) = self.send_from_socket(trial, Transport::Tcp, proxy)?;
        trial.sent = format!("{}, relayed to {to}", trial.sent.replace("TCP SYN", "a TCP connection"));
        // Where it would be seen, it is a connection of the host.
        trial.identity.syn_from = None;
        self.settle(trial)?;
        let Some(mut near) = self.servers.take_connections(Place::HOST).pop() else {
            self.drain_surely(trial, &[Place::HOST])?;
            return if self.has_arrived(trial, behind)? {
                Err(Stop::Cannot("it arrived, and not by the program on the host".to_owned()))
            } else {
                Ok(Outcome::Blocked)
            };
        };
        let cannot = || Stop::cannot("the host cannot connect");
        let (far, _) = self.open_socket(trial, Place::HOST, Transport::Tcp, to).map_err(cannot())?;
        // Whether it gets anywhere is seen by what comes out at the other side.
        let _ = far.connect(&to.into());
        let mut far = TcpStream::from(far);
        let mut stream = TcpStream::from(socket);
        self.settle(trial)?;
        write(&mut stream, &mark::payload(Mark::Probe, trial.identity.id));
        self.settle(trial)?;
        relay(&mut near, &mut far);
        if !self.has_arrived(trial, behind)? {
            return Ok(Outcome::Blocked);
        }
        self.servers.serve();
        self.settle(trial)?;
        relay(&mut far, &mut near);
        self.decide_answer(trial)
    }
}

/// Passes on what is there.
fn relay(from: &mut TcpStream, to: &mut TcpStream) {
    let mut buffer = [0_u8; 2048];
    while let Ok(length @ 1..) = from.read(&mut buffer) {
        write(to, &buffer[..length]);
    }
}

/// Whether it gets anywhere is for the captures to see; a few bytes always fit.
pub(super) fn write(stream: &mut TcpStream, bytes: &[u8]) {
    let _ = stream.write(bytes);
}

/// Whether the answer to a probe is there to be read.
pub(super) fn has_answer(stream: &mut TcpStream, id: Id) -> bool {
    let mut buffer = [0_u8; 2048];
    match stream.read(&mut buffer) {
        Ok(length) => mark::find(&buffer[..length]) == Some((Mark::Answer, id)),
        Err(_) => false,
    }
}

/// Reads what is there, and answers it.
pub(super) fn answer(stream: &mut TcpStream) {
    let mut buffer = [0_u8; 2048];
    while let Ok(length @ 1..) = stream.read(&mut buffer) {
        if let Some(answer) = answer_to(&buffer[..length]) {
            write(stream, &answer);
        }
    }
}

/// Reads what is there.
pub(super) fn skip(stream: &mut TcpStream) {
    let mut buffer = [0_u8; 2048];
    while let Ok(1..) = stream.read(&mut buffer) {}
}
