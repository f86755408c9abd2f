//! What a service manager is told: sd_notify(3).
//!
//! Twenty lines of our own: the crate `sd-notify` 0.5 does not know abstract sockets, which systemd gives in
//! containers.

use std::env;
use std::fs;
use std::io;
use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::path::Path;
use std::time::Duration;

use nix::time::{ClockId, clock_gettime};

/// Tells the service manager, where there is one.
#[derive(Debug)]
pub(super) struct Manager {
    socket: Option<(UnixDatagram, SocketAddr)>,
    /// How often it wants to hear that this program is alive (`WATCHDOG_USEC`).
    pub(super) watchdog: Option<Duration>,
    status: String,
}

impl Manager {
    pub(super) fn from_environment() -> Self {
        let address = env::var_os("NOTIFY_SOCKET").and_then(|path| match path.as_bytes() {
            [b'@', name @ ..] => SocketAddr::from_abstract_name(name).ok(),
            _ => SocketAddr::from_pathname(Path::new(&path)).ok(),
        });
        let socket = address.and_then(|address| Some((UnixDatagram::unbound().ok()?, address)));
        if let Some((socket, _)) = &socket {
            // A manager that does not read must not stop the watch.
            let _ = socket.set_nonblocking(true);
        }
        let number = |name| env::var(name).ok().and_then(|text| text.parse::<u64>().ok());
        // Meant for another process when it names one (sd_watchdog_enabled(3)).
        let is_meant = number("WATCHDOG_PID").is_none_or(|pid| pid == u64::from(std::process::id()));
        let watchdog =
            number("WATCHDOG_USEC").filter(|usec| is_meant && *usec > 0).map(Duration::from_micros);
        Self { socket, watchdog, status: String::new() }
    }

    /// Sends a message; a manager that cannot be reached misses it.
    pub(super) fn tell(&self, message: &str) {
        if let Some((socket, address)) = &self.socket {
            let _ = socket.send_to_addr(message.as_bytes(), address);
        }
    }

    /// Tells the state, once.
    pub(super) fn status(&mut self, status: &str) {
        if self.status != status {
            status.clone_into(&mut self.status);
            self.tell(&format!("STATUS={status}"));
        }
    }

    /// The file is about to be read again. A manager that waits for it wants the time (systemd 253).
    pub(super) fn reloading(&self) {
        let now = clock_gettime(ClockId::CLOCK_MONOTONIC).ok();
        let usec =
            now.map_or(0, |now| i128::from(now.tv_sec()) * 1_000_000 + i128::from(now.tv_nsec()) / 1_000);
        self.tell(&format!("RELOADING=1\nMONOTONIC_USEC={usec}"));
    }
}

/// Which of these names a process on this host has, as far as this one may see them.
pub(super) fn running(names: &[&'static str]) -> Vec<&'static str> {
    let comm = |entry: io::Result<fs::DirEntry>| {
        let path = entry.ok()?.path();
        path.file_name()?.to_str()?.parse::<u32>().ok()?;
        fs::read_to_string(path.join("comm")).ok()
    };
    let comms: Vec<String> = fs::read_dir("/proc").into_iter().flatten().filter_map(comm).collect();
    names.iter().copied().filter(|name| comms.iter().any(|comm| comm.trim_end() == *name)).collect()
}
