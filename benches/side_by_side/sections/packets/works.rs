//! What is measured of each, in short slices.

use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::thread;
use std::time::{Duration, Instant};

use nix::time::{ClockId, clock_gettime};

use super::super::super::Result;
use super::super::super::report::Unit;
use super::cores::{Cores, Load};
use super::site::{SERVICE, Site};

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

/// Connections of one datagram each. What the host knows of earlier ones is forgotten before.
pub(super) fn connections(site: &Site, _: Cores, slice: Duration) -> Result<Figures> {
    site.forget_connections()?;
    let mut sender = site.sender()?;
    // When the table is nearly full the kernel looks for some to drop early.
    sender.each_is_new(site.room_for_connections()? * 3 / 4);
    let run = sender.run(slice, &site.at_service)?;
    let known = site.connections()?;
    site.forget_connections()?;
    // The host asks for neighbours and routers now and then, which arrives as well.
    if site.who.translates() && known + known / 100 + 10 < run.arrived {
        return Err(format!(
            "{}: {} packets arrived, but of {known} connections",
            site.who.name(),
            run.arrived
        )
        .into());
    }
    Ok(vec![("connections", Unit::PerSecond, run.arrived as f64 / run.took.as_secs_f64())])
}

/// A TCP stream, read and written in pieces of 128 KiB, as iperf3 does.
pub(super) fn tcp(site: &Site, cores: Cores, slice: Duration) -> Result<Figures> {
    const PIECE: usize = 128 << 10;
    let listener = site.service.enter(|| TcpListener::bind((SERVICE, STREAM)))?;
    let mut client = site.container.enter(|| TcpStream::connect((SERVICE, STREAM)))?;
    let (mut server, _) = listener.accept()?;
    server.set_read_timeout(Some(Duration::from_secs(5)))?;
    // Ends when nobody reads any more.
    let sender = thread::spawn(move || while client.write_all(&[0; PIECE]).is_ok() {});
    let mut buffer = vec![0; PIECE];
    // Until the window has opened.
    receive(&mut server, &mut buffer, slice / 4)?;
    let (load, before) = (Load::start(cores)?, process_time()?);
    let (bytes, took) = receive(&mut server, &mut buffer, slice)?;
    let (busy, work) = (load.stop()?, process_time()? - before);
    drop(server);
    sender.join().map_err(|_| "the sender of a stream failed")?;
    let work = if cores.are_two() { busy.host_time() } else { work };
    Ok(vec![
        ("throughput", Unit::Gigabits, bytes as f64 * 8.0 / 1e9 / took.as_secs_f64()),
        ("cpu", Unit::Nanoseconds, work.as_secs_f64() * 1e9 / (bytes as f64 / 1024.0)),
    ])
}

/// The server's port for streams.
const STREAM: u16 = 5201;

fn receive(server: &mut TcpStream, buffer: &mut [u8], time: Duration) -> Result<(u64, Duration)> {
    let start = Instant::now();
    let mut bytes = 0;
    while start.elapsed() < time {
        bytes += server.read(buffer)? as u64;
    }
    if bytes == 0 {
        return Err("nothing comes of a stream".into());
    }
    Ok((bytes, start.elapsed()))
}

/// How long all threads together were on a core.
fn process_time() -> Result<Duration> {
    Ok(clock_gettime(ClockId::CLOCK_PROCESS_CPUTIME_ID)?.into())
}
