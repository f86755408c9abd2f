//! Knowing that everything in flight has arrived.
//!
//! Whatever is sent goes to the backlog of this CPU, and what a hop sends on goes there again (`veth_xmit`,
//! `loopback_xmit`, net/core/dev.c: `enqueue_to_backlog`). The kernel works the queue off while it sends, or
//! leaves the rest to a thread of its own. A frame on the host's loopback takes its turn in the same queue: when
//! it is seen, everything that was in the queue before it is one hop further. After more of them than there are
//! hops on the longest way, there and back, nothing is in flight any more.
//!
//! That a probe did not arrive is believed only where two more frames did: one from the sender's own link,
//! seen at the host, and one on the last hop to where the probe would be seen, in that capture. A capture that
//! was too full for the probe is too full for the frame behind it. And the kernel must not have thrown anything
//! out of a backlog that was full.

use std::fs;
use std::os::fd::AsFd as _;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::net::if_::if_nametoindex;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use super::super::build::Lab;
use super::super::capture::{Direction, PacketSocket, frame};
use super::super::frame::{self, Id};
use super::send::protocol_of;
use super::trial::Trial;
use super::{Prober, Stop};
use crate::verify::world::{Mac, Place};

/// Container to host, switch, upstream, switch and server makes five; a tunnel adds an own queue and a second way
/// through a switch to either end. There and back.
const HOPS: usize = 16;

/// The last hop: a link, or a tunnel.
const LAST_HOP: usize = 6;

/// How long to wait for what the kernel does in any case. Only a machine that stands still takes so long.
const LIMIT: Duration = Duration::from_secs(5);

/// Of no node: switches are to learn nothing by it.
const NOBODY: Mac = [0x02, 0xff, 0, 0, 0, 0];

impl Prober {
    /// Lets everything in flight arrive.
    pub(super) fn settle(&mut self, trial: &mut Trial<'_>) -> Result<(), Stop> {
        self.settle_for(trial, HOPS)
    }

    fn settle_for(&mut self, trial: &mut Trial<'_>, hops: usize) -> Result<(), Stop> {
        let loopback = self.link(trial.lab, Place::HOST, "lo")?;
        let deadline = Instant::now() + LIMIT;
        // Room for what is sent now.
        self.drain_host(trial);
        for _ in 0..hops {
            let id = self.next_id();
            let frame = frame::sentinel([0; 6], [0; 6], id);
            loop {
                let cannot = Stop::cannot("the host's loopback carries nothing");
                self.sockets[Place::HOST.0].send(loopback, &frame).map_err(cannot)?;
                self.drain_host(trial);
                if trial.has_passed(id) {
                    break;
                }
                wait_for(&self.sockets[Place::HOST.0], deadline)?;
                self.drain_host(trial);
                if trial.has_passed(id) {
                    break;
                }
            }
        }
        Ok(())
    }

    /// Sends a frame from the sender's link to the host; its id. None where the host is the sender.
    pub(super) fn send_from_sender(&mut self, trial: &Trial<'_>) -> Result<Option<Id>, Stop> {
        let world = &trial.lab.world;
        let sender = trial.probe.sender;
        if sender == Place::HOST {
            return Ok(None);
        }
        let node = world.node(sender);
        let id = self.next_id();
        let frame = frame::sentinel(world.host_links[node.host_link].mac, node.mac, id);
        let link = self.link(trial.lab, sender, "eth0")?;
        let cannot = Stop::cannot(format!("{} cannot send", node.name));
        self.sockets[sender.0].send(link, &frame).map_err(cannot)?;
        Ok(Some(id))
    }

    /// Takes what waits in the captures at these nodes, once a sentinel is behind it. An error where one of them
    /// has lost that, or cannot be sent any; the others are drained in any case.
    ///
    /// Nothing may be taken out of a capture between the probe and this: it would have room again for a sentinel
    /// that it did not have for the probe.
    pub(super) fn drain_surely(&mut self, trial: &mut Trial<'_>, places: &[Place]) -> Result<(), Stop> {
        let sent: Vec<_> = places.iter().map(|place| self.send_to_capture(trial, *place)).collect();
        self.settle_for(trial, LAST_HOP)?;
        self.drain(trial, places);
        for (place, id) in places.iter().zip(sent) {
            if !trial.has_sentinel(*place, id?) {
                let name = &trial.lab.world.node(*place).name;
                return Err(Stop::Lost(format!("the capture at {name} does not see what is sent there")));
            }
        }
        Ok(())
    }

    /// Sends a sentinel on the last hop to a capture.
    fn send_to_capture(&mut self, trial: &Trial<'_>, place: Place) -> Result<Id, Stop> {
        let id = self.next_id();
        if place == Place::HOST {
            let (family, protocol) = (trial.probe.family, protocol_of(trial.probe));
            let cannot = Stop::cannot("the host receives nothing from itself");
            self.raw.send_sentinel(family, protocol, id).map_err(cannot)?;
            return Ok(id);
        }
        let node = trial.lab.world.node(place);
        let (at, port) = &node.port;
        let link = self.link(trial.lab, *at, port)?;
        let cannot = Stop::cannot(format!("nothing can be sent to {}", node.name));
        let frame = frame::sentinel(frame::BROADCAST, NOBODY, id);
        self.sockets[at.0].send(link, &frame).map_err(cannot)?;
        Ok(id)
    }

    /// Takes what waits in the captures at these nodes.
    fn drain(&mut self, trial: &mut Trial<'_>, places: &[Place]) {
        for place in places {
            match *place {
                Place::HOST => self.drain_host_itself(trial),
                Place::WIRE => {}
                place => {
                    let socket = &self.sockets[place.0];
                    while let Some(received) = socket.receive(&mut self.buffer) {
                        if received.direction == Direction::In
                            && let Some(read) = frame(&self.buffer[..received.length])
                        {
                            trial.received(place, read, received.at);
                        }
                    }
                }
            }
        }
    }

    /// Takes what waits in every capture, of the host's links too.
    pub(super) fn drain_all(&mut self, trial: &mut Trial<'_>) {
        self.drain_host(trial);
        self.drain_host_itself(trial);
        let peers = Place::WIRE.0 + 1;
        let sockets = self.sockets.iter().skip(peers);
        let mut ready: Vec<_> =
            sockets.map(|socket| PollFd::new(socket.as_fd(), PollFlags::POLLIN)).collect();
        let places: Vec<Place> = match poll(&mut ready, PollTimeout::ZERO) {
            Ok(0) => return,
            Ok(_) => {
                let ready = ready.iter().enumerate().filter(|(_, fd)| fd.any() == Some(true));
                ready.map(|(index, _)| Place(index + peers)).collect()
            }
            Err(_) => (peers..self.sockets.len()).map(Place).collect(),
        };
        self.drain(trial, &places);
    }

    /// What the host itself received.
    fn drain_host_itself(&mut self, trial: &mut Trial<'_>) {
        self.raw.drain(&mut self.buffer, |read, at| trial.received(Place::HOST, read, at));
    }

    /// What crossed the host's links.
    fn drain_host(&mut self, trial: &mut Trial<'_>) {
        let socket = &self.sockets[Place::HOST.0];
        while let Some(received) = socket.receive(&mut self.buffer) {
            if let Some(read) = frame(&self.buffer[..received.length]) {
                trial.crossed(&read, received.link, received.direction);
            }
        }
    }

    /// The index of a link.
    pub(super) fn link(&mut self, lab: &Lab, place: Place, name: &str) -> Result<u32, Stop> {
        let key = (place, name.to_owned());
        if let Some(index) = self.links.get(&key) {
            return Ok(*index);
        }
        let namespace = lab.at(place);
        let index = namespace.enter(|| if_nametoindex(name));
        let index = index.and_then(|index| index.map_err(|errno: Errno| errno.into()));
        let index = index.map_err(Stop::cannot(format!("no link {name} at {}", namespace.name)))?;
        self.links.insert(key, index);
        Ok(index)
    }
}

/// Waits until a socket has something, or for long enough that what it waits for may have been lost.
fn wait_for(socket: &PacketSocket, deadline: Instant) -> Result<(), Stop> {
    const PATIENCE: u8 = 50;
    if Instant::now() >= deadline {
        return Err(Stop::Cannot("the lab stands still".to_owned()));
    }
    // Whatever it says, the socket is looked at again.
    let _ = poll(&mut [PollFd::new(socket.as_fd(), PollFlags::POLLIN)], PATIENCE);
    Ok(())
}

/// How many packets the backlog of a CPU had no room for so far: the second number of its line, in hexadecimal;
/// the CPU is the thirteenth (`softnet_seq_show`, net/core/net-procfs.c). None where that is not told.
pub(super) fn overruns(cpu: usize) -> Option<u64> {
    let text = fs::read_to_string("/proc/thread-self/net/softnet_stat").ok()?;
    let number = |line: &str, at| u64::from_str_radix(line.split_whitespace().nth(at)?, 16).ok();
    let is_own = |line: &&str| number(line, 12) == u64::try_from(cpu).ok();
    number(text.lines().find(is_own)?, 1)
}
