//! What is measured of each, in short slices.

use std::net::UdpSocket;
use std::time::{Duration, Instant};

use super::super::super::Result;
use super::super::super::report::Unit;
use super::cores::{Cores, Load};
use super::site::{ECHO, SERVICE, Site};

/// What a slice yields: a figure's name, its unit and its value.
pub(super) type Figures = Vec<(&'static str, Unit, f64)>;

/// Datagrams as fast as the host forwards them.
pub(super) fn udp(site: &Site, cores: Cores, slice: Duration) -> Result<Figures> {
    let mut sender = site.sender()?;
    let load = Load::start(cores)?;
    let run = sender.run(slice, &site.at_service)?;
    let busy = load.stop()?;
    let arrived = run.arrived as f64;
    let work = if cores.are_two() { busy.host_time() } else { run.work };
    Ok(vec![
        ("packets", Unit::PerSecond, arrived / run.took.as_secs_f64()),
        ("cpu", Unit::Nanoseconds, work.as_secs_f64() * 1e9 / arrived),
        ("core 0", Unit::Share, busy.ends),
        ("core 1", Unit::Share, busy.host),
    ])
}

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

/// A container's socket and a server's that answers it.
struct Pair {
    client: UdpSocket,
    server: UdpSocket,
    number: u64,
}

/// How long an answer may take.
const PATIENCE: Duration = Duration::from_secs(1);

impl Pair {
    fn open(site: &Site) -> Result<Self> {
        let client = site.container.enter(|| UdpSocket::bind((site.container_address(), 0)))?;
        let server = site.service.enter(|| UdpSocket::bind((SERVICE, ECHO)))?;
        client.connect((SERVICE, ECHO))?;
        client.set_nonblocking(true)?;
        server.set_nonblocking(true)?;
        Ok(Self { client, server, number: 0 })
    }

    fn round_trip(&mut self) -> Result<Duration> {
        self.number += 1;
        let mut buffer = [0; 64];
        let start = Instant::now();
        self.client.send(&self.number.to_be_bytes())?;
        loop {
            if let Ok((length, source)) = self.server.recv_from(&mut buffer) {
                self.server.send_to(&buffer[..length], source)?;
            }
            if let Ok(length) = self.client.recv(&mut buffer)
                && buffer[..length] == self.number.to_be_bytes()
            {
                return Ok(start.elapsed());
            }
            if start.elapsed() > PATIENCE {
                return Err("a request has no answer".into());
            }
        }
    }
}
