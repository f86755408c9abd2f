//! Sends probes and says what became of them.
//!
//! That nothing arrived is known by order, never by waiting. The process has one thread on one CPU, and every
//! link of the lab hands its frames to that CPU's backlog, which is a queue. So a frame that is sent behind the
//! probe on the same path comes out behind it: when it is there and the probe is not, the probe was blocked.
//! `settle` has the details. Where that frame does not come out, nothing is known, and the outcome says so.
//!
//! What nodes answer, they answer in this same thread: see `serve`.

mod decide;
mod describe;
mod flows;
mod send;
mod serve;
mod settle;
mod tcp;
mod trial;

use std::collections::BTreeMap;
use std::io;
use std::thread;

use nix::sched::{CpuSet, sched_getcpu, sched_setaffinity};
use nix::unistd::Pid;

use self::flows::Flow;
use self::serve::Servers;
use self::trial::Trial;
use super::build::Lab;
use super::capture::{PacketSocket, RawSockets};
use super::frame::Id;
use crate::intent::IpFamily;
use crate::netlink::conntrack::Conntrack;
use crate::verify::outcome::{Expected, Observation, Outcome};
use crate::verify::probe::{Probe, Sending};
use crate::verify::world::Place;

/// How often a probe is sent when what is sent behind it gets lost: a capture that was full of other packets is
/// empty the next time.
const TRIES: usize = 3;

/// The largest frame that a capture shows whole.
const BUFFER: usize = 65_536;

/// Source ports of probes: none twice in a lab of any size that is tested, and for sockets out of the range that
/// the kernel takes ports from by itself (ip_local_port_range: 32768 to 60999 by default).
const PORTS: std::ops::Range<u16> = 12_000..32_000;

/// Captures at every node, sockets for answers, and flows that were opened early.
#[derive(Debug)]
pub struct Prober {
    /// By place. The host's is evidence only; the wire's only sends.
    sockets: Vec<PacketSocket>,
    /// What the host itself receives.
    raw: RawSockets,
    servers: Servers,
    /// By the name of the probe that they were opened for, or why they could not be.
    flows: BTreeMap<String, Result<Flow, String>>,
    /// Indices of links, by place and name.
    links: BTreeMap<(Place, String), u32>,
    /// None where the kernel has no ctnetlink.
    conntrack: Option<Conntrack>,
    buffer: Vec<u8>,
    /// The one that this process is on.
    cpu: usize,
    /// What `settle::overruns` said the last time.
    overruns: Option<u64>,
    /// How many ids were given.
    ids: u32,
    /// How many ports.
    ports: u16,
}

/// Why a probe has no outcome.
#[derive(Debug)]
enum Stop {
    /// It never will.
    Cannot(String),
    /// What was sent behind it got lost.
    Lost(String),
}

impl Stop {
    fn cannot(what: impl std::fmt::Display) -> impl Fn(io::Error) -> Self {
        move |error| Self::Cannot(format!("{what}: {error}"))
    }
}

impl Prober {
    /// Opens the captures at every node and in the host's sockets.
    ///
    /// # Errors
    ///
    /// When a socket cannot be opened.
    pub fn start(lab: &Lab) -> io::Result<Self> {
        let cpu = stay_on_this_cpu()?;
        let mut prober = Self {
            sockets: Vec::new(),
            raw: RawSockets::default(),
            servers: Servers::default(),
            flows: BTreeMap::new(),
            links: BTreeMap::new(),
            conntrack: lab.host().enter(Conntrack::open)?.ok(),
            buffer: vec![0; BUFFER],
            cpu,
            overruns: settle::overruns(cpu),
            ids: 0,
            ports: 0,
        };
        prober.refresh(lab)?;
        for (family, icmp) in [(IpFamily::V4, 1), (IpFamily::V6, 58)] {
            for protocol in [icmp, 6, 17] {
                prober.raw.want(lab.host(), family, protocol)?;
            }
        }
        Ok(prober)
    }

    /// Opens what a probe needs before the approach is applied: the flow of `Sending::Established`.
    /// A flow that cannot be opened makes the probe one that could not be tested.
    pub fn prepare(&mut self, lab: &Lab, probes: &[Probe]) {
        for probe in probes {
            if matches!(probe.sending, Sending::Established { .. } | Sending::RelatedError { .. }) {
                let flow = self.open_flow(lab, probe).map_err(|stop| match stop {
                    Stop::Cannot(why) | Stop::Lost(why) => why,
                });
                self.flows.insert(probe.name.clone(), flow);
            }
        }
    }

    /// Sends one probe and says what became of it.
    pub fn run(&mut self, lab: &Lab, probe: &Probe) -> Observation {
        let mut observation = Observation::unknown("it was not sent");
        for _ in 0..TRIES {
            let mut trial = Trial::new(lab, probe, self.next_id());
            let ended = self.attempt(&mut trial);
            self.drain_all(&mut trial);
            self.forget(&trial);
            let (outcome, mut again) = match ended {
                Ok(outcome) => (outcome, false),
                // Whether it was answered is not known. That it arrived is, and is one too many.
                Err(_) if trial.has_arrived() && probe.expected == Expected::Blocked => {
                    (Outcome::Delivered, false)
                }
                Err(Stop::Cannot(why)) => (Outcome::CouldNotTest(why), false),
                Err(Stop::Lost(why)) => (Outcome::CouldNotTest(why), true),
            };
            observation = trial.observation(outcome);
            // What never left its sender was stopped by nobody.
            let is_from_host = probe.sender == Place::HOST;
            if observation.outcome == Outcome::Blocked && !is_from_host && observation.came_in.is_none() {
                observation.outcome = Outcome::CouldNotTest("the host did not see it come in".to_owned());
                again = true;
            }
            if !again {
                break;
            }
        }
        observation
    }

    /// Sends them one after the other; conntrack forgets all flows in between but those that were prepared.
    pub fn run_all(&mut self, lab: &Lab, probes: &[Probe]) -> BTreeMap<String, Observation> {
        probes.iter().map(|probe| (probe.name.clone(), self.run(lab, probe))).collect()
    }

    /// A namespace's links were made again, or a new node came: captures are opened again where needed.
    ///
    /// # Errors
    ///
    /// When a socket cannot be opened.
    pub fn refresh(&mut self, lab: &Lab) -> io::Result<()> {
        // Captures see every link of their namespace, also those that come later.
        for place in self.sockets.len()..lab.namespaces.len() {
            let namespace = lab.at(Place(place));
            let socket = match Place(place) {
                Place::WIRE => PacketSocket::open_to_send(namespace),
                _ => PacketSocket::open(namespace),
            }?;
            self.sockets.push(socket);
        }
        // What a change has sent itself would leave no room for a probe.
        for socket in &self.sockets {
            while socket.receive(&mut self.buffer).is_some() {}
        }
        self.raw.drain(&mut self.buffer, |_, _| ());
        self.links.clear();
        Ok(())
    }

    /// Sends one probe once.
    fn attempt(&mut self, trial: &mut Trial<'_>) -> Result<Outcome, Stop> {
        let probe = trial.probe;
        self.refresh_if_grown(trial.lab)?;
        self.servers.listen_for(trial.lab, probe);
        match &probe.sending {
            Sending::Frame(packet) => self.run_frame(trial, packet),
            Sending::Socket { protocol, destination, port } => {
                self.run_socket(trial, *protocol, (*destination, *port).into())
            }
            Sending::Session { destination, port } => self.run_session(trial, (*destination, *port).into()),
            Sending::Established { .. } => self.run_established(trial),
            Sending::RelatedError { .. } => self.run_related(trial),
            Sending::Relay { proxy, destination, port } => {
                self.run_relay(trial, (*proxy, *port).into(), (*destination, *port).into())
            }
        }
    }

    fn refresh_if_grown(&mut self, lab: &Lab) -> Result<(), Stop> {
        if self.sockets.len() < lab.namespaces.len() {
            self.refresh(lab).map_err(Stop::cannot("cannot open a capture"))?;
        }
        Ok(())
    }

    /// Conntrack forgets the flow of the probe. That matters only to protocols without ports and identifiers:
    /// those differ from probe to probe, also where there is no ctnetlink. A flush of all flows would take the
    /// prepared ones along, and walks a table of the whole machine.
    fn forget(&mut self, trial: &Trial<'_>) {
        if let (Some(conntrack), Some(flow)) = (&mut self.conntrack, &trial.tracked) {
            let _ = conntrack.forget(flow);
        }
    }

    /// One that differs from all others in many bits, so that no number that a kernel derives from it (the next
    /// sequence number, 16 bits of it) is that of another.
    fn next_id(&mut self) -> Id {
        /// Odd, so that no id comes twice: Knuth, The Art of Computer Programming, section 6.4.
        const STEP: u32 = 0x9e37_79b1;
        self.ids = self.ids.wrapping_add(1);
        Id(self.ids.wrapping_mul(STEP))
    }

    fn next_port(&mut self) -> u16 {
        let port = PORTS.start + self.ports;
        self.ports = (self.ports + 1) % (PORTS.end - PORTS.start);
        port
    }
}

/// The kernel takes up to some twenty milliseconds to close a packet socket: it waits until no CPU can be looking
/// at it any more (`synchronize_net` in `packet_release`, net/packet/af_packet.c). Waits side by side are one.
impl Drop for Prober {
    fn drop(&mut self) {
        /// What 400 nodes need is a tenth of a second then.
        const CLOSERS: usize = 64;
        let mut sockets = std::mem::take(&mut self.sockets);
        let share = sockets.len().div_ceil(CLOSERS).max(1);
        thread::scope(|scope| {
            while !sockets.is_empty() {
                let rest = sockets.split_off(share.min(sockets.len()));
                let closed = std::mem::replace(&mut sockets, rest);
                // What has no thread is closed here.
                let _ = thread::Builder::new().spawn_scoped(scope, move || drop(closed));
            }
        });
    }
}

/// In a lab that another process has made, this one is not on one CPU yet.
fn stay_on_this_cpu() -> io::Result<usize> {
    let cpu = sched_getcpu()?;
    let mut cpus = CpuSet::new();
    cpus.set(cpu)?;
    sched_setaffinity(Pid::from_raw(0), &cpus)?;
    Ok(cpu)
}
