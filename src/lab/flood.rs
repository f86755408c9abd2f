//! A sender that never stops, in a process of its own: `isoplan lab-stage flood ADDRESS:PORT...`.

use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};

use nix::sched::{CpuSet, sched_getaffinity, sched_setaffinity};
use nix::unistd::Pid;

/// Sends UDP packets from the namespace that it is in to these addresses and ports, one after the other, until it
/// is killed. It stays off the CPU that it was started on, where another one is allowed: packets and a change of
/// the rules then really meet.
///
/// # Errors
///
/// When an argument is not an address with a port, or no socket can be opened.
pub fn send(args: &[String]) -> io::Result<()> {
    let targets = args.iter().map(|arg| {
        arg.parse::<SocketAddr>().map_err(|error| io::Error::new(io::ErrorKind::InvalidInput, error))
    });
    let mut sockets = Vec::new();
    for target in targets {
        let target = target?;
        let any = match target {
            SocketAddr::V4(_) => SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0)),
            SocketAddr::V6(_) => SocketAddr::from((Ipv6Addr::UNSPECIFIED, 0)),
        };
        sockets.push((UdpSocket::bind(any)?, target));
    }
    if sockets.is_empty() {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "nowhere to send to"));
    }
    move_to_another_cpu()?;
    loop {
        for (socket, target) in &sockets {
            // A full queue is no reason to stop, nor is a host that forbids it.
            let _ = socket.send_to(b"flood", target);
        }
    }
}

/// To one that this process was not on; to the same where there is no other.
fn move_to_another_cpu() -> io::Result<()> {
    let this = Pid::from_raw(0);
    let own = sched_getaffinity(this)?;
    let is_set = |set: &CpuSet, cpu| set.is_set(cpu).unwrap_or(false);
    // What is not allowed here, the kernel leaves out (sched_setaffinity(2)).
    let mut all = CpuSet::new();
    for cpu in 0..CpuSet::count() {
        all.set(cpu)?;
    }
    sched_setaffinity(this, &all)?;
    let allowed = sched_getaffinity(this)?;
    let other = (0..CpuSet::count()).find(|cpu| is_set(&allowed, *cpu) && !is_set(&own, *cpu));
    let mut one = CpuSet::new();
    match other {
        Some(cpu) => one.set(cpu)?,
        None => one = own,
    }
    Ok(sched_setaffinity(this, &one)?)
}
