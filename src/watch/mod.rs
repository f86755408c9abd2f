//! The daemon: hears what changes on this host, and leads it back to what the topology asks for.
//!
//! One thread, one poll(2) over sockets of events and one of signals. Nothing is polled but the sysctls of the
//! plan, once a second: what the kernel does not tell of (`accept_redirects`, and `forwarding` written by
//! rtnetlink). What is decided is in [`crate::vigil`]; what is done goes through [`crate::apply::carry_out`].

mod held;
mod look;
mod peers;
mod remarks;
mod systemd;

use std::collections::BTreeSet;
use std::fmt;
use std::io;
use std::os::fd::AsFd as _;
use std::path::Path;
use std::time::Instant;

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{SigSet, Signal};
use nix::sys::signalfd::{SfdFlags, SignalFd};

use self::held::Held;
use self::peers::Record;
use self::systemd::Manager;
use crate::apply::state_dir::{self, Lock, StateDir};
use crate::approach::{Desired, desired};
use crate::error::Failure;
use crate::intent::Intent;
use crate::netlink::events::{RoutingEvents, RulesetEvents, SOCKET_RECEIVE_BUFFER};
use crate::netlink::{self, Nftables};
use crate::topology::Topology;
use crate::vigil::{Burst, Event, Fights, Level, Limiter, Matter, Moment, Notice, Writers};
use crate::{apply, live};

/// How often the sysctls are compared, in milliseconds.
const SYSCTLS_EVERY: u64 = 1_000;
/// So long after a link, address or route changed, remarks are worked out; more changes within are one.
const REMARKS_AFTER: u64 = 1_000;
/// How often to try for the lock that another isoplan holds.
const LOCK_EVERY: u64 = 20;
/// The first pause after something failed, and the longest.
const TROUBLE: (u64, u64) = (500, 60_000);

/// What is to be watched, and how.
pub struct Config<'w> {
    /// The topology.
    pub topology: Topology,
    /// Its text.
    pub text: String,
    /// Reads the topology again, with its text; the error is what is wrong with it.
    pub load: &'w mut dyn FnMut() -> Result<(Topology, String), String>,
    /// Where lines go.
    pub say: &'w mut dyn FnMut(&Notice),
    /// Whether to write nothing.
    pub report: bool,
    /// The state directory of this network namespace.
    pub state: StateDir,
    /// Bytes of room for events of the rule set; [`SOCKET_RECEIVE_BUFFER`] unless a test wants fewer.
    pub room: Option<usize>,
}

/// Why the watch cannot begin, or ended.
#[derive(Debug)]
#[non_exhaustive]
pub enum Error {
    /// The kernel could not be asked.
    Kernel(netlink::Error),
    /// The live state could not be read.
    Live(live::Error),
    /// The state directory could not be used.
    State(state_dir::Error),
    /// The policy could not be put in place at the start.
    Apply(apply::Error),
    /// Signals or events could not be waited for.
    Wait(io::Error),
    /// There is a watch in this network namespace already.
    AnotherWatch,
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Kernel(error) => write!(f, "{error}"),
            Self::Live(error) => write!(f, "{error}"),
            Self::State(error) => write!(f, "{error}"),
            Self::Apply(error) => write!(f, "{error}"),
            Self::Wait(_) => f.write_str("cannot wait for events"),
            Self::AnotherWatch => f.write_str("another isoplan watches this host already"),
        }
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Kernel(error) => error.source(),
            Self::Live(error) => error.source(),
            Self::State(error) => error.source(),
            Self::Apply(error) => error.source(),
            Self::Wait(error) => Some(error),
            Self::AnotherWatch => None,
        }
    }
}

impl From<Errno> for Error {
    fn from(errno: Errno) -> Self {
        Self::Wait(errno.into())
    }
}

impl From<netlink::Error> for Error {
    fn from(error: netlink::Error) -> Self {
        Self::Kernel(error)
    }
}

/// What the watch is doing.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Standing {
    /// The first look is still to come out well.
    Starting,
    /// It keeps the policy in place.
    Keeping,
    /// A change of another isoplan waits to be confirmed.
    Held,
    /// Another isoplan changed the policy, and with that has taken over.
    Down,
}

/// A topology that was kept in place.
struct Kept {
    topology: Topology,
    text: String,
    desired: Desired,
}

struct Watch<'w> {
    config: Config<'w>,
    nftables: Nftables,
    rules: RulesetEvents,
    routing: RoutingEvents,
    signals: SignalFd,
    manager: Manager,
    _only: Option<Lock>,
    began: Instant,

    desired: Desired,
    /// What was kept before that: a rollback leads back to it.
    previous: Option<Kept>,
    standing: Standing,
    /// The change that waits to be confirmed.
    held: Option<Held>,
    /// The last change on record, when it was last agreed with.
    record: Record,
    /// Whether the next repair is a change of its own, to be undone by `isoplan rollback`: what a start or
    /// SIGHUP puts in place.
    on_record: bool,

    burst: Burst,
    /// Who touched isoplan's tables since the last time that they were as they should be, and the first to do so.
    suspects: Writers,
    story: Option<String>,
    since: Option<Moment>,
    fights: Fights,
    limiter: Limiter,
    repairs: u64,
    /// What is known to differ and is not repaired: reported, or fought over.
    drift: BTreeSet<Matter>,
    /// When to look although nothing was told.
    again: Option<Moment>,
    waits_for_lock: bool,
    trouble: Option<u64>,
    /// What was said last of why something failed, until all is well.
    failure: Option<String>,
    said: BTreeSet<String>,
    /// The files of the state directory that cannot be read, which was said.
    unread: BTreeSet<&'static str>,
    sysctls_at: Moment,
    remarks_at: Option<Moment>,
    alive_at: Option<Moment>,
}

/// Watches until SIGTERM or SIGINT.
///
/// # Errors
///
/// When it cannot begin; once it is ready, failures are said, and tried again.
pub fn run(config: Config<'_>) -> Result<(), Error> {
    let mut watch = Watch::begin(config)?;
    loop {
        watch.wait()?;
        while let Some(signal) = watch.signals.read_signal()? {
            if signal.ssi_signo == Signal::SIGHUP as u32 {
                watch.reload();
            } else {
                watch.end(&signal_name(signal.ssi_signo));
                return Ok(());
            }
        }
        watch.turn()?;
    }
}

fn signal_name(number: u32) -> String {
    let signal = i32::try_from(number).ok().and_then(|number| Signal::try_from(number).ok());
    signal.map_or_else(|| format!("signal {number}"), |signal| signal.as_str().to_owned())
}

impl<'w> Watch<'w> {
    fn begin(config: Config<'w>) -> Result<Self, Error> {
        let nftables = Nftables::open()?;
        let room = config.room.unwrap_or(SOCKET_RECEIVE_BUFFER);
        // Before the first look: what changes from then on is told.
        let rules = RulesetEvents::open(room)?;
        let routing = RoutingEvents::open()?;
        let only = match config.report {
            true => None,
            false => {
                Some(config.state.try_lock_of_watch().map_err(Error::State)?.ok_or(Error::AnotherWatch)?)
            }
        };
        if only.is_some() {
            config.state.tell_watched(Path::new(&config.topology.file));
        }
        let mask = SigSet::from_iter([Signal::SIGHUP, Signal::SIGTERM, Signal::SIGINT]);
        mask.thread_block()?;
        let signals = SignalFd::with_flags(&mask, SfdFlags::SFD_NONBLOCK | SfdFlags::SFD_CLOEXEC)?;
        let manager = Manager::from_environment();
        let desired = desired(&Intent::new(&config.topology));
        let start = Moment::default();
        Ok(Self {
            alive_at: manager.watchdog.map(|_| start),
            config,
            nftables,
            rules,
            routing,
            signals,
            manager,
            _only: only,
            began: Instant::now(),
            desired,
            previous: None,
            standing: Standing::Starting,
            held: None,
            record: Record::default(),
            on_record: false,
            burst: Burst::default(),
            suspects: Writers::default(),
            story: None,
            since: None,
            fights: Fights::default(),
            limiter: Limiter::default(),
            repairs: 0,
            drift: BTreeSet::new(),
            again: Some(start),
            waits_for_lock: false,
            trouble: None,
            failure: None,
            said: BTreeSet::new(),
            unread: BTreeSet::new(),
            sysctls_at: start.after(SYSCTLS_EVERY),
            remarks_at: Some(start),
        })
    }

    fn now(&self) -> Moment {
        Moment(u64::try_from(self.began.elapsed().as_millis()).unwrap_or(u64::MAX))
    }

    /// Says a line, unless too many like it were said.
    fn say(&mut self, mut notice: Notice) {
        let Some(left_out) = self.limiter.admit(self.now(), notice.event) else { return };
        if left_out > 0 {
            notice.message.push_str(&format!(" (after {left_out} lines like it that were left out)"));
        }
        (self.config.say)(&notice);
    }

    fn line(&mut self, level: Level, event: Event, message: impl Into<String>) {
        self.say(Notice::new(level, event, message));
    }

    /// Waits until something is told or due.
    fn wait(&mut self) -> Result<(), Error> {
        let now = self.now();
        // With the lock in other hands, events are no reason to look.
        let told = if self.waits_for_lock { None } else { self.burst.due() };
        let due = [told, self.again, self.remarks_at, self.alive_at, self.fights.next_end()];
        let next = due.into_iter().flatten().chain([self.sysctls_at]).min().unwrap_or(self.sysctls_at);
        let timeout = PollTimeout::try_from(next.since(now)).unwrap_or(PollTimeout::MAX);
        let mut fds = [self.rules.as_fd(), self.routing.as_fd(), self.signals.as_fd()]
            .map(|fd| PollFd::new(fd, PollFlags::POLLIN));
        match poll(&mut fds, timeout) {
            Ok(_) | Err(Errno::EINTR) => Ok(()),
            Err(errno) => Err(errno.into()),
        }
    }

    /// Does everything that is due.
    fn turn(&mut self) -> Result<(), Error> {
        self.hear();
        let now = self.now();
        if now >= self.sysctls_at {
            self.sysctls_at = now.after(SYSCTLS_EVERY);
            self.compare_sysctls();
            // There may be nothing else to tell of another isoplan: the sysctl approach has no transactions.
            if matches!(self.standing, Standing::Held | Standing::Down) && self.is_news_of_held() {
                self.again.get_or_insert(now);
            }
        }
        let told = self.burst.due().is_some_and(|due| due <= now) && !self.waits_for_lock;
        if told || self.again.is_some_and(|again| again <= now) {
            self.look()?;
        }
        if self.remarks_at.is_some_and(|at| at <= now) && self.standing != Standing::Starting {
            self.remarks_at = None;
            self.remark();
        }
        for matter in self.fights.forget(now) {
            let message = format!("nobody has undone {matter} for a while; it is repaired at once again");
            self.line(Level::Notice, Event::FightOver, message);
            self.tell_status();
        }
        if let (Some(at), Some(every)) = (self.alive_at, self.manager.watchdog)
            && at <= now
        {
            self.manager.tell("WATCHDOG=1");
            self.alive_at = Some(now.after(u64::try_from(every.as_millis() / 2).unwrap_or(u64::MAX).max(1)));
        }
        Ok(())
    }

    /// Takes in everything that was told.
    fn hear(&mut self) {
        let now = self.now();
        match self.rules.drain() {
            Ok(news) => {
                for transaction in &news.transactions {
                    self.heard(now, transaction);
                }
                if news.overrun {
                    self.since.get_or_insert(now);
                    self.burst.told(now);
                    let message = "more transactions than could be followed; everything is read again";
                    self.line(Level::Info, Event::Overrun, message);
                }
            }
            Err(error) => self.socket_failed(&error),
        }
        match self.routing.drain() {
            Ok(news) => {
                if news.links || news.addresses {
                    self.remarks_at.get_or_insert(now.after(REMARKS_AFTER));
                }
                if news.links || news.forwarding {
                    self.compare_sysctls();
                }
            }
            Err(error) => self.socket_failed(&error),
        }
    }

    fn heard(&mut self, now: Moment, transaction: &crate::vigil::Transaction) {
        let Some(story) = transaction.story() else { return };
        if transaction.port == self.nftables.port() {
            return;
        }
        self.since.get_or_insert(now);
        self.burst.told(now);
        if let Some(writer) = &transaction.writer {
            self.suspects.saw(writer);
        }
        self.story.get_or_insert(story);
    }

    /// Opens everything anew: a socket that fails for another reason than want of room tells nothing any more.
    fn socket_failed(&mut self, error: &netlink::Error) {
        self.line(Level::Error, Event::Failed, format!("{error}; listening anew"));
        let now = self.now();
        let opened = Nftables::open().and_then(|nftables| {
            let room = self.config.room.unwrap_or(SOCKET_RECEIVE_BUFFER);
            Ok((nftables, RulesetEvents::open(room)?, RoutingEvents::open()?))
        });
        if let Ok((nftables, rules, routing)) = opened {
            (self.nftables, self.rules, self.routing) = (nftables, rules, routing);
        }
        self.in_trouble(now);
    }

    /// Looks again after a while, longer each time.
    fn in_trouble(&mut self, now: Moment) {
        let pause = self.trouble.map_or(TROUBLE.0, |pause| (2 * pause).min(TROUBLE.1));
        self.trouble = Some(pause);
        self.again = Some(now.after(pause));
    }

    /// SIGHUP: the file is taken, if it is right.
    fn reload(&mut self) {
        self.manager.reloading();
        match (self.config.load)() {
            Ok((topology, text)) => {
                self.take(topology, text);
                let now = self.now();
                self.record = self.read_record();
                let is_other = self.previous.as_ref().is_some_and(|before| before.desired != self.desired);
                let is_change = is_other || self.standing == Standing::Down || self.record.is_blank();
                self.on_record = is_change && !self.config.report;
                self.drift.clear();
                if self.standing != Standing::Starting {
                    self.standing = Standing::Keeping;
                }
                self.again = Some(now);
                self.remarks_at.get_or_insert(now);
                let message =
                    format!("{} read again; it is what is kept from now on", self.config.topology.file);
                self.line(Level::Notice, Event::Reloaded, message);
            }
            Err(what) => {
                let message = format!(
                    "{} read again and refused; what was read before is kept: {what}",
                    self.config.topology.file
                );
                self.line(Level::Error, Event::ReloadRefused, message);
            }
        }
        if self.standing != Standing::Starting {
            self.manager.tell("READY=1");
        }
    }

    /// Another topology is what is kept from now on.
    fn take(&mut self, topology: Topology, text: String) {
        let desired = desired(&Intent::new(&topology));
        let topology = std::mem::replace(&mut self.config.topology, topology);
        let text = std::mem::replace(&mut self.config.text, text);
        let desired = std::mem::replace(&mut self.desired, desired);
        self.previous = Some(Kept { topology, text, desired });
    }

    /// What was kept before is again.
    fn take_back(&mut self, before: Kept) {
        self.config.topology = before.topology;
        self.config.text = before.text;
        self.desired = before.desired;
    }

    /// The record of the last change. One that cannot be read says nothing: the policy is kept all the same.
    fn read_record(&mut self) -> Record {
        let record = Record::read(&self.config.state);
        self.heeded("record", record).unwrap_or_else(|| self.record.clone())
    }

    /// What a file of the state directory says. That it cannot be read or understood is said once.
    fn heeded<T>(&mut self, file: &'static str, read: Result<T, state_dir::Error>) -> Option<T> {
        match read {
            Ok(value) => {
                self.unread.remove(file);
                Some(value)
            }
            Err(error) => {
                if self.unread.insert(file) {
                    let failure = Failure::from_error(&error);
                    let message = [vec![failure.message], failure.causes].concat().join(": ");
                    self.line(Level::Error, Event::Failed, message);
                }
                None
            }
        }
    }

    fn end(&mut self, why: &str) {
        self.manager.tell("STOPPING=1");
        let stays = if self.config.report { "" } else { "; the rules stay as they are" };
        let mut message = format!("{why}: ends after {} repairs{stays}", self.repairs);
        for fight in self.fights.each() {
            message.push_str(&format!(
                "; {} kept undoing {}, repaired {} times",
                fight.writers, fight.matter, fight.repairs
            ));
        }
        self.line(Level::Notice, Event::Ended, message);
    }
}
