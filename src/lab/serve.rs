//! What answers at the peers while somebody works in a lab: echo on UDP and TCP port 7, and HTTP on port 80.
//! No thread: whoever waits, serves.

use std::io::{self, Read as _, Write as _};
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::os::fd::{AsFd, BorrowedFd};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use socket2::{Domain, Protocol, Socket, Type};

use super::build::Lab;
use crate::verify::world::{Node, NodeRole};

/// Of the echo (RFC 862).
pub const ECHO: u16 = 7;

/// Of HTTP.
pub const HTTP: u16 = 80;

/// Whoever comes after so many at once takes the place of the first.
const CONNECTIONS: usize = 512;

/// A request is not read further than this.
const REQUEST_AT_MOST: usize = 16 * 1024;

/// What a listener does for those who connect.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Service {
    /// Sends back what comes.
    Echo,
    /// Says who is asked and who asks.
    Http,
}

#[derive(Debug)]
struct Listener {
    listener: TcpListener,
    service: Service,
    /// The name of the node.
    node: String,
}

/// How far a connection is.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Stage {
    Echoing,
    /// The name of the node that is asked.
    Asked(String),
    /// The connection ends when everything is written and the other side has read it.
    Answering,
}

#[derive(Debug)]
struct Connection {
    stream: TcpStream,
    stage: Stage,
    /// Read so far, of a request.
    request: Vec<u8>,
    /// Still to be written.
    pending: Vec<u8>,
}

/// The sockets at all peers.
#[derive(Debug, Default)]
pub struct Servers {
    datagrams: Vec<UdpSocket>,
    listeners: Vec<Listener>,
    connections: Vec<Connection>,
}

impl Servers {
    /// Opens them at every node but the host.
    ///
    /// # Errors
    ///
    /// When one cannot be opened.
    pub fn start(lab: &Lab) -> io::Result<Self> {
        let mut servers = Self::default();
        for (node, namespace) in lab.world.nodes.iter().zip(&lab.namespaces) {
            if !matches!(node.role, NodeRole::Host | NodeRole::Wire) {
                namespace.enter(|| servers.open(node)).and_then(|opened| opened).map_err(|error| {
                    io::Error::new(error.kind(), format!("cannot listen at {}: {error}", node.name))
                })?;
            }
        }
        Ok(servers)
    }

    /// One socket for each address: an answer to a datagram then has the source that was asked.
    fn open(&mut self, node: &Node) -> io::Result<()> {
        let own = node.addresses.iter().map(ipnet::IpNet::addr);
        for address in
            own.chain(node.behind_listed.iter().copied()).chain(node.behind_unlisted.iter().copied())
        {
            let datagrams = socket(address, ECHO, Type::DGRAM)?;
            self.datagrams.push(datagrams.into());
            for (port, service) in [(ECHO, Service::Echo), (HTTP, Service::Http)] {
                let listener = socket(address, port, Type::STREAM)?;
                listener.listen(64)?;
                self.listeners.push(Listener { listener: listener.into(), service, node: node.name.clone() });
            }
        }
        Ok(())
    }

    /// Serves until `wake` is readable.
    ///
    /// # Errors
    ///
    /// When the kernel does not let it wait.
    pub fn serve_until(&mut self, wake: BorrowedFd<'_>) -> io::Result<()> {
        loop {
            let mut waited = vec![PollFd::new(wake, PollFlags::POLLIN)];
            let input = |fd| PollFd::new(fd, PollFlags::POLLIN);
            waited.extend(self.datagrams.iter().map(|socket| input(socket.as_fd())));
            waited.extend(self.listeners.iter().map(|listener| input(listener.listener.as_fd())));
            waited.extend(self.connections.iter().map(|connection| {
                let events =
                    if connection.pending.is_empty() { PollFlags::POLLIN } else { PollFlags::POLLOUT };
                PollFd::new(connection.stream.as_fd(), events)
            }));
            match poll(&mut waited, PollTimeout::NONE) {
                Ok(_) | Err(Errno::EINTR) => {}
                Err(error) => return Err(error.into()),
            }
            let mut ready = waited.iter().map(|fd| fd.any() == Some(true)).collect::<Vec<_>>().into_iter();
            drop(waited);
            if ready.next() == Some(true) {
                return Ok(());
            }
            for (socket, _) in self.datagrams.iter().zip(ready.by_ref()).filter(|(_, is_ready)| *is_ready) {
                echo(socket);
            }
            let mut accepted = Vec::new();
            for (listener, _) in self.listeners.iter().zip(ready.by_ref()).filter(|(_, is_ready)| *is_ready) {
                accepted.extend(listener.accept());
            }
            self.connections
                .retain_mut(|connection| ready.next() != Some(true) || connection.go_on().is_ok());
            self.connections.extend(accepted);
            let too_many = self.connections.len().saturating_sub(CONNECTIONS);
            self.connections.drain(..too_many);
        }
    }
}

fn socket(address: IpAddr, port: u16, kind: Type) -> io::Result<Socket> {
    let address = SocketAddr::new(address, port);
    let protocol = if kind == Type::DGRAM { Protocol::UDP } else { Protocol::TCP };
    let socket = Socket::new(Domain::for_address(address), kind, Some(protocol))?;
    socket.set_reuse_address(true)?;
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    Ok(socket)
}

/// Sends back what waits. Whoever cannot be reached gets nothing.
fn echo(socket: &UdpSocket) {
    let mut bytes = vec![0; 64 * 1024];
    while let Ok((length, from)) = socket.recv_from(&mut bytes) {
        // Two echoes would talk to each other for ever.
        if ![ECHO, HTTP].contains(&from.port()) {
            let _ = socket.send_to(&bytes[..length], from);
        }
    }
}

impl Listener {
    /// Who waits first; the next time tells of others.
    fn accept(&self) -> Option<Connection> {
        let (stream, from) = self.listener.accept().ok()?;
        stream.set_nonblocking(true).ok()?;
        let stage = match self.service {
            Service::Echo => Stage::Echoing,
            Service::Http => Stage::Asked(format!("{} answers {}\n", self.node, from.ip())),
        };
        Some(Connection { stream, stage, request: Vec::new(), pending: Vec::new() })
    }
}

impl Connection {
    /// Reads or writes once. An error is the end of it, be it a good one.
    fn go_on(&mut self) -> io::Result<()> {
        let over = || io::Error::from(io::ErrorKind::ConnectionReset);
        if !self.pending.is_empty() {
            let written = self.stream.write(&self.pending)?;
            self.pending.drain(..written);
            if self.pending.is_empty() && self.stage == Stage::Answering {
                self.stream.shutdown(std::net::Shutdown::Write)?;
            }
            return Ok(());
        }
        let mut bytes = [0; 4096];
        let length = self.stream.read(&mut bytes)?;
        if length == 0 {
            return Err(over());
        }
        match &self.stage {
            Stage::Echoing => self.pending.extend_from_slice(&bytes[..length]),
            Stage::Asked(answer) => {
                self.request.extend_from_slice(&bytes[..length]);
                let is_whole = self.request.windows(4).any(|window| window == b"\r\n\r\n");
                if is_whole {
                    let head = format!(
                        "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
                        answer.len()
                    );
                    let with_body = if self.request.starts_with(b"HEAD ") { "" } else { answer };
                    self.pending = [head.as_bytes(), with_body.as_bytes()].concat();
                    self.stage = Stage::Answering;
                } else if self.request.len() > REQUEST_AT_MOST {
                    return Err(over());
                }
            }
            // What comes after the request is read away, so that the other side is not reset before it has read.
            Stage::Answering => {}
        }
        Ok(())
    }
}
