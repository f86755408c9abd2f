//! firewalld and ufw.

use std::fs;
use std::path::Path;
use std::process::{Child, Stdio};
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::docker::{command, run_ok};
use crate::site::wait_until;

/// The system's message bus, for this host alone.
pub(crate) struct Bus(Child);

impl Bus {
    /// Starts it; dockerd hears of firewalld by it.
    pub(crate) fn start() -> Self {
        let bus = command("dbus-daemon")
            .args(["--system", "--nofork", "--nopidfile"])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("start dbus-daemon");
        wait_until("the message bus is there", Duration::from_secs(10), || {
            Path::new("/run/dbus/system_bus_socket").exists()
        });
        Self(bus)
    }
}

impl Drop for Bus {
    fn drop(&mut self) {
        end(&mut self.0);
    }
}

/// A firewalld that runs.
pub(crate) struct Firewalld(Child);

impl Firewalld {
    /// Starts it and waits until its rules are loaded.
    pub(crate) fn start() -> Self {
        let log = fs::File::create("/var/log/firewalld.out").expect("make a log");
        let mut firewalld = Self(
            command("firewalld")
                .args(["--nofork", "--nopid"])
                .stdout(log.try_clone().expect("copy a descriptor"))
                .stderr(log)
                .spawn()
                .expect("start firewalld"),
        );
        wait_until("firewalld runs", Duration::from_secs(20), || {
            if let Ok(Some(status)) = firewalld.0.try_wait() {
                panic!(
                    "firewalld ended ({status}): {}",
                    fs::read_to_string("/var/log/firewalld.out").unwrap_or_default()
                );
            }
            command("firewall-cmd")
                .arg("--state")
                .output()
                .is_ok_and(|output| output.stdout.starts_with(b"running"))
        });
        firewalld
    }

    /// Ends it; it takes its rules away.
    pub(crate) fn stop(mut self) {
        end(&mut self.0);
    }
}

/// Tells firewalld something.
#[track_caller]
pub(crate) fn firewall_cmd(args: &[&str]) -> String {
    run_ok(command("firewall-cmd").args(args))
}

/// Tells ufw something.
#[track_caller]
pub(crate) fn ufw(args: &[&str]) -> String {
    run_ok(command("ufw").args(args))
}

fn end(child: &mut Child) {
    let pid = Pid::from_raw(i32::try_from(child.id()).expect("a process id"));
    kill(pid, Signal::SIGTERM).expect("end a daemon");
    child.wait().expect("wait for a daemon");
}
