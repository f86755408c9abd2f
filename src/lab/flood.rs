//! A sender that never stops, in a process of its own: `isoplan lab-stage flood ADDRESS:PORT...`.

use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::time::Duration;

use nix::sched::{CpuSet, sched_getaffinity, sched_setaffinity};
use nix::unistd::Pid;

/// Sends UDP packets from the namespace that it is in to these addresses and ports, one after the other, until it
/// is killed. It stays off the CPU that it was started on, where another one is allowed: packets and a change of
/// the rules then really meet.
///
/// # Errors
///
/// When an argument is not an address with a port, no socket can be opened, or this is not in a lab.
pub fn send(args: &[String]) -> io::Result<()> {
    super::isolate::require_any()?;
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
    let turn = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0))?;
    turn.connect(turn.local_addr()?)?;
    turn.set_read_timeout(Some(PATIENCE))?;
    move_to_another_cpu()?;
    loop {
        for _ in 0..AT_ONCE {
            for (socket, target) in &sockets {
                // A full queue is no reason to stop, nor is a host that forbids it.
                let _ = socket.send_to(b"flood", target);
            }
        }
        // Goes through the same queue of this CPU. That holds a thousand packets by default
        // (net.core.netdev_max_backlog), of every lab on this machine: what is beyond is dropped.
        let _ = turn.send(&[]);
        let _ = turn.recv(&mut []);
    }
}

/// How many packets to each target are sent before they are let through. Each is in the queue once for every hop.
const AT_ONCE: usize = 32;
/// When what was sent to oneself is given up.
const PATIENCE: Duration = Duration::from_millis(100);

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
