//! How long a request of a container to the service server takes, alone and beside a flood.

use std::net::UdpSocket;
use std::time::{Duration, Instant};

use super::super::super::Result;
use super::super::super::report::Unit;
use super::cores::Cores;
use super::site::{ECHO, SERVICE, Site};
use super::works::Figures;

/// Packets of the flood in a second: what a host without isolation can still forward.
pub(super) const FLOOD: f64 = 200_000.0;
/// Packets of it in one call.
const BURST: u64 = 8;
/// How long an answer may take. Beside a flood, one that takes longer counts as this long.
const PATIENCE: Duration = Duration::from_millis(100);
/// How long the host may take until it has dealt with all that it was sent.
const LIMIT: Duration = Duration::from_secs(20);

/// Requests and answers, one at a time, on one core: whoever sends carries the packet to where it arrives, and
/// nobody has to be woken. What is left is the way through the host and back.
pub(super) fn latency(site: &Site, _: Cores, slice: Duration) -> Result<Figures> {
    let mut pair = Pair::open(site)?;
    let start = Instant::now();
    let mut times = Vec::new();
    while start.elapsed() < slice {
        times.push(pair.round_trip()?);
    }
    times.sort_unstable();
    let at = |share: f64| micros(percentile(&times, share));
    Ok(vec![
        ("p50", Unit::Microseconds, at(0.5)),
        ("p99", Unit::Microseconds, at(0.99)),
        ("p99.9", Unit::Microseconds, at(0.999)),
    ])
}

fn micros(time: Duration) -> f64 {
    time.as_secs_f64() * 1e6
}

/// The time that this share of all stays below; of at least one, sorted.
fn percentile(sorted: &[Duration], share: f64) -> Duration {
    sorted[((sorted.len() - 1) as f64 * share).round() as usize]
}

/// A flood from another container to the closed storage network, at a fixed rate, and requests beside it.
///
/// One thread does both, so that no scheduler decides who comes when: it sends what is due of the flood, then looks
/// for the answer.
pub(super) fn flood(site: &Site, _: Cores, slice: Duration) -> Result<Figures> {
    let (mut pair, mut attack) = (Pair::open(site)?, site.attack()?);
    let before = site.at_storage.read()?;
    let start = Instant::now();
    let (mut sent, mut times) = (0, Vec::new());
    while start.elapsed() < slice {
        pair.ask()?;
        let asked = Instant::now();
        let took = loop {
            let due = (start.elapsed().as_secs_f64() * FLOOD) as u64;
            if due >= sent + BURST {
                sent += attack.send(BURST as usize)?;
            }
            if pair.is_answered()? {
                break asked.elapsed();
            }
            if asked.elapsed() > PATIENCE {
                break PATIENCE;
            }
        };
        times.push(took);
    }
    // What comes after all that waits in the queue comes when it is empty.
    let end = Instant::now();
    while pair.round_trip().is_err() {
        if end.elapsed() > LIMIT {
            return Err("the host does not recover from the flood".into());
        }
    }
    // Now and then the host asks for neighbours and routers, which counts as well.
    let arrived = (site.at_storage.read()? - before).min(sent);
    if site.who.isolates() == Some(true) && arrived > sent / 1000 + 10 {
        return Err(format!("{}: {arrived} packets arrive at the closed network", site.who.name()).into());
    }
    times.sort_unstable();
    Ok(vec![
        ("p50", Unit::Microseconds, micros(percentile(&times, 0.5))),
        ("p99", Unit::Microseconds, micros(percentile(&times, 0.99))),
        ("dropped", Unit::Share, 1.0 - arrived as f64 / sent.max(1) as f64),
    ])
}

/// A container's socket and a server's that answers it.
struct Pair {
    client: UdpSocket,
    server: UdpSocket,
    number: u64,
}

impl Pair {
    fn open(site: &Site) -> Result<Self> {
        let client = site.container.enter(|| UdpSocket::bind((site.container_address(), 0)))?;
        let server = site.service.enter(|| UdpSocket::bind((SERVICE, ECHO)))?;
        client.connect((SERVICE, ECHO))?;
        client.set_nonblocking(true)?;
        server.set_nonblocking(true)?;
        Ok(Self { client, server, number: 0 })
    }

    fn ask(&mut self) -> Result<()> {
        self.number += 1;
        self.client.send(&self.number.to_be_bytes())?;
        Ok(())
    }

    /// Has the server answer, and looks whether the container has that.
    fn is_answered(&self) -> Result<bool> {
        let mut buffer = [0; 64];
        if let Ok((length, source)) = self.server.recv_from(&mut buffer) {
            self.server.send_to(&buffer[..length], source)?;
        }
        // The answer to an earlier one may come late.
        let answer = self.client.recv(&mut buffer);
        Ok(answer.is_ok_and(|length| buffer[..length] == self.number.to_be_bytes()))
    }

    fn round_trip(&mut self) -> Result<Duration> {
        let start = Instant::now();
        self.ask()?;
        while !self.is_answered()? {
            if start.elapsed() > PATIENCE {
                return Err("a request has no answer".into());
            }
        }
        Ok(start.elapsed())
    }
}
