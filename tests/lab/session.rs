//! A TCP connection between two nodes that outlives a change of the rules.

use std::io::{self, Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::time::Duration;

use super::build::Lab;
use super::node::Node;
use super::packet::Kind;
use super::probe::{Outcome, Tag};
use super::spec::Family;

/// How long an answer may take.
const LIMIT: Duration = Duration::from_secs(5);

/// Both ends of a connection.
pub(crate) struct Session<'a> {
    lab: &'a Lab,
    family: Family,
    client: (&'a Node, TcpStream),
    server: (&'a Node, TcpStream),
}

impl Lab {
    /// Opens a connection from one node to a listener of its own at another.
    pub(crate) fn connect_session(&self, family: Family, from: &str, to: &str) -> io::Result<Session<'_>> {
        let (from, to) = (self.node(from), self.node(to));
        let address = to.address(family);
        let listener = to.enter(|| TcpListener::bind((address, 0)))?;
        let port = listener.local_addr()?.port();
        let client = from.enter(|| TcpStream::connect_timeout(&SocketAddr::new(address, port), LIMIT))?;
        let (server, _) = listener.accept()?;
        for stream in [&client, &server] {
            stream.set_nodelay(true)?;
            stream.set_read_timeout(Some(LIMIT))?;
        }
        Ok(Session { lab: self, family, client: (from, client), server: (to, server) })
    }
}

impl Session<'_> {
    /// The port at the client and at the server.
    pub(crate) fn ports(&self) -> io::Result<(u16, u16)> {
        let port = |stream: &TcpStream| stream.local_addr().map(|address| address.port());
        Ok((port(&self.client.1)?, port(&self.server.1)?))
    }

    /// Reads away what [`Self::send_there`] and [`Self::send_back`] have sent.
    pub(crate) fn skip(&mut self) -> io::Result<()> {
        for (_, stream) in [&mut self.client, &mut self.server] {
            stream.set_nonblocking(true)?;
            let mut buffer = [0_u8; 2048];
            while let Ok(1..) = stream.read(&mut buffer) {}
            stream.set_nonblocking(false)?;
        }
        Ok(())
    }

    /// Sends something each way and reads it at the other end.
    pub(crate) fn exchange(&mut self) -> io::Result<()> {
        let mut buffer = [0_u8; 5];
        self.client.1.write_all(b"there")?;
        self.server.1.read_exact(&mut buffer)?;
        self.server.1.write_all(b"again")?;
        self.client.1.read_exact(&mut buffer)
    }

    /// Sends from the client; what arrives at the server's wire.
    pub(crate) fn send_there(&mut self) -> Outcome {
        send(self.lab, self.family, &mut self.client, self.server.0)
    }

    /// Sends from the server; what arrives at the client's wire.
    pub(crate) fn send_back(&mut self) -> Outcome {
        send(self.lab, self.family, &mut self.server, self.client.0)
    }
}

fn send(lab: &Lab, family: Family, from: &mut (&Node, TcpStream), at: &Node) -> Outcome {
    let (mark, tag) = (lab.journal.mark(), Tag::unique());
    match from.1.write_all(tag.bytes()) {
        Ok(()) => lab.decide(mark, from.0, at, Kind::Tcp, family, &tag),
        Err(error) => Outcome::CouldNotTest(format!("cannot write: {error}")),
    }
}
