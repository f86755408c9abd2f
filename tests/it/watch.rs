//! `isoplan watch`: what others change is repaired, by a daemon that behaves.

mod fights;
mod packets;
mod peers;
mod process;
mod repairs;
mod trust;

use std::io::{BufRead as _, BufReader};
use std::process::{Child, ExitStatus, Stdio};
use std::sync::{Arc, Condvar, Mutex};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;

use crate::lab::node::Node;
use crate::lab::{HostSpec, Program};
use crate::{ISOPLAN, has_namespace_of_its_own};

/// A line that is sure to come has come by then; nothing is decided by it.
const LIMIT: Duration = Duration::from_secs(30);
/// Within this a change is to be repaired.
const SECOND: Duration = Duration::from_secs(1);

/// What the daemon has said so far.
#[derive(Default)]
struct Said {
    lines: Mutex<Vec<Value>>,
    grew: Condvar,
}

/// A running `isoplan watch --json`; it ends with this.
struct Watch {
    child: Child,
    said: Arc<Said>,
    listener: Option<JoinHandle<()>>,
}

impl Watch {
    /// Starts it, and waits until it is ready.
    fn start(isoplan: &Program, args: &[&str]) -> Self {
        let watch = Self::spawn(isoplan, args, &[]);
        watch.wait(0, "started");
        watch
    }

    /// Starts it with this environment besides.
    fn spawn(isoplan: &Program, args: &[&str], environment: &[(&str, &str)]) -> Self {
        let args = [&["watch", "topology.toml", "--json"], args].concat();
        let mut command = isoplan.command(&args);
        command.envs(environment.iter().copied()).stdout(Stdio::piped()).stderr(Stdio::inherit());
        let mut child = command.spawn().expect("start isoplan");
        let stdout = child.stdout.take().expect("it is piped");
        let said = Arc::new(Said::default());
        let hears = Arc::clone(&said);
        let listener = thread::spawn(move || {
            for line in BufReader::new(stdout).lines() {
                let line = line.expect("read what it says");
                let value = serde_json::from_str(&line).unwrap_or_else(|error| panic!("{error}: {line}"));
                hears.lines.lock().expect("lock").push(value);
                hears.grew.notify_all();
            }
        });
        Self { child, said, listener: Some(listener) }
    }

    /// How many lines there are; a place to look from later.
    fn mark(&self) -> usize {
        self.said.lines.lock().expect("lock").len()
    }

    fn lines(&self) -> Vec<Value> {
        self.said.lines.lock().expect("lock").clone()
    }

    /// How many lines after a mark are about that.
    fn count(&self, mark: usize, event: &str) -> usize {
        self.lines()[mark..].iter().filter(|line| line["event"] == event).count()
    }

    /// Waits for the first line about that after a mark.
    #[track_caller]
    fn wait(&self, mark: usize, event: &str) -> Value {
        let deadline = Instant::now() + LIMIT;
        let mut lines = self.said.lines.lock().expect("lock");
        loop {
            if let Some(found) = lines[mark..].iter().find(|line| line["event"] == event) {
                return found.clone();
            }
            let left = deadline.checked_duration_since(Instant::now());
            let left = left.unwrap_or_else(|| panic!("nothing is said of {event}: {:#?}", &lines[mark..]));
            lines = self.said.grew.wait_timeout(lines, left).expect("lock").0;
        }
    }

    fn pid(&self) -> Pid {
        Pid::from_raw(i32::try_from(self.child.id()).expect("a pid"))
    }

    fn signal(&self, signal: Signal) {
        kill(self.pid(), signal).expect("send a signal");
    }

    /// Ends it as a service manager would. All that it has said was heard then.
    fn end(mut self) -> ExitStatus {
        self.signal(Signal::SIGTERM);
        let status = self.child.wait().expect("wait for isoplan");
        self.listener.take().expect("it is taken here only").join().expect("hear what it says");
        status
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A host without links, and isoplan with a topology for it.
fn bare() -> (Node, Program) {
    let host = Node::own("host");
    has_namespace_of_its_own(&host);
    let isoplan = Program::new(ISOPLAN).expect("make a directory");
    isoplan.write("topology.toml", &topology()).expect("write a topology");
    (host, isoplan)
}

fn topology() -> String {
    HostSpec::service_instance().bare().topology()
}

/// The same with the sysctl approach, which cannot masquerade.
fn sysctl_topology() -> String {
    format!("{}approach = \"sysctl\"\n", topology().replace("masquerade = true", "masquerade = false"))
}

/// Waits until something is so; how long that took.
#[track_caller]
fn until(what: &str, limit: Duration, mut is_so: impl FnMut() -> bool) -> Duration {
    let started = Instant::now();
    while !is_so() {
        assert!(started.elapsed() < limit, "after {limit:?} not yet: {what}");
        thread::sleep(Duration::from_millis(2));
    }
    started.elapsed()
}
