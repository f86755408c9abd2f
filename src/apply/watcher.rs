//! Whoever undoes a change that nobody confirms: armed before the change is made, and alive without the
//! process, the terminal and the session that made it.
//!
//! A process of its own, and where systemd runs a transient timer as well. The process has a session of its own
//! and is a child of nobody, so that no hangup reaches it, and it blocks every signal that can be blocked. It
//! holds all that it needs in memory: the record, the socket, the lock's file. A state directory that is
//! full, read-only or gone does not keep it from undoing the change.

use std::env;
use std::fs::{self, File, OpenOptions};
use std::io::{self, BufRead as _, BufReader};
use std::os::fd::AsFd as _;
use std::os::unix::fs::MetadataExt as _;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread;
use std::time::Duration;

use nix::fcntl::{Flock, FlockArg};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::inotify::{AddWatchFlags, InitFlags, Inotify};
use nix::sys::signal::{SigSet, SigmaskHow, sigprocmask};
use nix::sys::time::{TimeSpec, TimeValLike as _};
use nix::sys::timer::TimerSetTimeFlags;
use nix::sys::timerfd::{ClockId, Expiration, TimerFd, TimerFlags};

use super::before::Before;
use super::record::{self, Change};
use super::rollback::{read_before, roll_back};
use super::state_dir::StateDir;
use super::{Error, Lock};
use crate::diff::restoration;
use crate::netlink::Nftables;
use crate::saved::Text;

/// The word that a process of the watcher is started with.
pub const STAGE: &str = "confirm-stage";

/// What the watcher says once nothing can keep it from undoing the change.
const ARMED: &str = "armed\n";

/// How long to wait between attempts to undo a change: twice as long each time. There is no last one.
const BETWEEN_ATTEMPTS: std::ops::RangeInclusive<Duration> = Duration::from_secs(1)..=Duration::from_secs(30);

/// After how many attempts the record says why.
const TOLD_AFTER: u32 = 5;

/// The watcher of a change, as its record names it.
pub(super) fn kind(id: u64) -> Text {
    if has_systemd() { Text::new(&unit(id)) } else { process() }
}

/// A process of its own, in the record.
fn process() -> Text {
    Text::new("process")
}

/// Whether systemd runs services in this network namespace (`sd_booted(3)`).
fn has_systemd() -> bool {
    let namespace = |who: &str| fs::metadata(format!("/proc/{who}/ns/net")).map(|file| file.ino()).ok();
    Path::new("/run/systemd/system").is_dir()
        && namespace("self").is_some()
        && namespace("self") == namespace("1")
}

/// The name of the timer.
fn unit(id: u64) -> String {
    let cookie = crate::netlink::netns_cookie().unwrap_or_default();
    format!("isoplan-confirm-{cookie}-{id}")
}

/// Starts the watcher of a change that is on record. When this returns, the change will be undone, whatever
/// happens to this process.
pub(super) fn arm(state: &StateDir, change: &mut Change, window: Duration) -> io::Result<()> {
    let directory = fs::canonicalize(state.path())?;
    let has_timer = has_systemd() && by_systemd(&directory, change.id, window).is_ok();
    if !has_timer && change.confirm.as_ref().is_some_and(|confirm| confirm.watcher != process()) {
        // There may be no bus.
        if let Some(confirm) = &mut change.confirm {
            confirm.watcher = process();
        }
        record::write(state, change).map_err(io::Error::other)?;
    }
    // Beside the timer as well: that outlives the session, and this needs no program that systemd can find and may
    // run. Whoever comes second finds the change settled.
    by_process(&directory, change.id)
}

fn by_systemd(directory: &Path, id: u64, window: Duration) -> io::Result<()> {
    let done = Command::new("systemd-run")
        .args(["--quiet", "--collect", "--timer-property=AccuracySec=100ms"])
        .args(["--property=Restart=on-failure", "--property=RestartSec=5s"])
        .arg(format!("--unit={}", unit(id)))
        // Of the monotonic clock (systemd.timer(5)).
        .arg(format!("--on-active={}ms", window.as_millis()))
        .arg("--description=Undo a change of isoplan's that nobody confirmed")
        .arg(env::current_exe()?)
        .args([STAGE, "due"])
        .arg(directory)
        .arg(id.to_string())
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()?;
    if done.success() { Ok(()) } else { Err(io::Error::other("systemd-run failed")) }
}

/// The change was confirmed or is undone: a timer of systemd's has nothing more to do. Should it fire, it
/// finds nothing.
pub(super) fn disarm(change: &Change) {
    let watcher = change.confirm.as_ref().map(|confirm| confirm.watcher.as_str()).unwrap_or_default();
    if watcher.starts_with("isoplan-confirm-") {
        let mut stop = Command::new("systemctl");
        stop.args(["stop", "--no-block", &format!("{watcher}.timer")]);
        let _ = stop.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).status();
    }
}

fn stage(words: &[&str], directory: &Path, id: u64) -> Command {
    // Also where the file has been replaced or deleted since.
    let mut command = Command::new("/proc/self/exe");
    command.arg0("isoplan").arg(STAGE).args(words).arg(directory).arg(id.to_string());
    command.current_dir("/").stdin(Stdio::null()).stderr(Stdio::null());
    command
}

fn by_process(directory: &Path, id: u64) -> io::Result<()> {
    let mut child = stage(&["detach"], directory, id).stdout(Stdio::piped()).spawn()?;
    let mut said = String::new();
    if let Some(stdout) = child.stdout.take() {
        BufReader::new(stdout).read_line(&mut said)?;
    }
    child.wait()?;
    match said.as_str() {
        ARMED => Ok(()),
        "" => Err(io::Error::other("the process that was to undo it ended at once")),
        why => Err(io::Error::other(why.trim_end().to_owned())),
    }
}

/// What a process that was started with [`STAGE`] does. It says on `said` that it is armed, or why not.
///
/// # Errors
///
/// What went wrong, for the process that started it.
pub fn run(
    word: &str,
    directory: &Path,
    id: u64,
    said: &mut impl io::Write,
) -> Result<(), Box<dyn std::error::Error>> {
    let state = StateDir::at(PathBuf::from(directory));
    match word {
        "detach" => {
            block_signals()?;
            // No terminal any more, and no session that could end.
            nix::unistd::setsid()?;
            stage(&["wait"], directory, id).stdout(Stdio::inherit()).spawn()?;
            Ok(())
        }
        "wait" => {
            block_signals()?;
            wait(&state, id, said)
        }
        "due" => {
            let watch = Watch::new(&state, id)?;
            watch.undo(&state)
        }
        _ => Err("there is no such stage".into()),
    }
}

/// Nothing but `kill -9` ends the watcher.
fn block_signals() -> nix::Result<()> {
    sigprocmask(SigmaskHow::SIG_SETMASK, Some(&SigSet::all()), None)
}

/// All that it takes to undo a change, held in memory.
struct Watch {
    id: u64,
    lock: File,
    change: Change,
    before: Before,
    nftables: Nftables,
}

impl Watch {
    fn new(state: &StateDir, id: u64) -> Result<Self, Box<dyn std::error::Error>> {
        let flags = nix::libc::O_NOFOLLOW | nix::libc::O_CLOEXEC;
        let mut open = OpenOptions::new();
        std::os::unix::fs::OpenOptionsExt::custom_flags(open.read(true), flags);
        let lock = open.open(state.lock_file())?;
        let change = record::last(state)?.filter(|change| change.id == id && change.is_pending());
        let change = change.ok_or("the change is not on record")?;
        let before = Before::read(state, &change)?;
        let nftables = Nftables::open()?;
        Ok(Self { id, lock, change, before, nftables })
    }

    /// Whether the change is settled: confirmed, undone, or another has been made since. A record that is gone
    /// or cannot be read settles nothing.
    fn is_settled(&self, state: &StateDir) -> bool {
        let last = record::last(state);
        matches!(last, Ok(Some(change)) if change.id != self.id || !change.is_pending())
    }

    /// Undoes the change, unless it is settled by the time that the lock is free.
    fn undo(mut self, state: &StateDir) -> Result<(), Box<dyn std::error::Error>> {
        let mut tried = 0;
        let mut pause = *BETWEEN_ATTEMPTS.start();
        loop {
            // Somebody may see to it in between.
            let lock =
                Flock::lock(self.lock.try_clone()?, FlockArg::LockExclusive).map_err(|(_, errno)| errno)?;
            if self.is_settled(state) {
                return Ok(());
            }
            if let Ok(Some(change)) = record::last(state) {
                self.change = change;
            }
            let error = match undo_now(&mut self.nftables, state, &self.change, &self.before) {
                Ok(()) => return Ok(()),
                Err(error) => error,
            };
            tried += 1;
            if tried == TOLD_AFTER {
                if let Some(confirm) = &mut self.change.confirm {
                    confirm.failed = Some(Text::new(&error.to_string()));
                }
                let _ = record::write(state, &self.change);
            }
            drop(lock);
            thread::sleep(pause);
            pause = (pause * 2).min(*BETWEEN_ATTEMPTS.end());
        }
    }
}

/// Undoes a change that is overdue. The caller holds the lock.
fn undo_now(
    nftables: &mut Nftables,
    state: &StateDir,
    change: &Change,
    before: &Before,
) -> Result<(), Error> {
    let live = super::rollback::read(nftables, state, before)?;
    let planned = restoration(&before.past(change), &live);
    match roll_back(nftables, state, change, before, &planned, &live, true) {
        // It is done, and what is not as it was is not for another try.
        Ok(_) | Err(Error::NotAsBefore(_) | Error::NotReadBack(_)) => Ok(()),
        Err(error) => Err(error),
    }
}

fn undo_late(nftables: &mut Nftables, state: &StateDir, change: Change) -> Result<Change, Error> {
    let (before, _) = read_before(nftables, state, &change)?;
    undo_now(nftables, state, &change, &before)?;
    disarm(&change);
    Ok(record::last(state).map_err(Error::State)?.unwrap_or(change))
}

/// Undoes a change that is overdue, because whoever was to do so is gone or has failed. Hands back which.
///
/// # Errors
///
/// When the record cannot be read, or the change cannot be undone.
pub fn undo_overdue(
    nftables: &mut Nftables,
    state: &StateDir,
    _lock: &Lock,
) -> Result<Option<Change>, Error> {
    let pending = record::pending(state).map_err(Error::State)?;
    let overdue = pending.filter(|pending| pending.left.is_none());
    overdue.map(|overdue| undo_late(nftables, state, overdue.change)).transpose()
}

/// Waits until the change is settled, or its time is over.
fn wait(state: &StateDir, id: u64, said: &mut impl io::Write) -> Result<(), Box<dyn std::error::Error>> {
    let watch = Watch::new(state, id).inspect_err(|error| {
        let _ = writeln!(said, "{error}");
    })?;
    let deadline = watch.change.confirm.as_ref().map_or(0, |confirm| confirm.deadline);
    // A clock that nobody sets, and that counts the time that the machine sleeps (timerfd_create(2)).
    let timer = TimerFd::new(ClockId::CLOCK_BOOTTIME, TimerFlags::TFD_CLOEXEC | TimerFlags::TFD_NONBLOCK)?;
    let at = TimeSpec::milliseconds(i64::try_from(deadline)?.max(1));
    timer.set(Expiration::OneShot(at), TimerSetTimeFlags::TFD_TIMER_ABSTIME)?;
    let changes = Inotify::init(InitFlags::IN_CLOEXEC | InitFlags::IN_NONBLOCK)?;
    changes.add_watch(state.path(), AddWatchFlags::IN_MOVED_TO)?;
    // Whoever started this may have been killed by now; what it has begun is undone all the same.
    let _ = said.write_all(ARMED.as_bytes()).and_then(|()| said.flush());
    // Whoever waits for the end of the output has it now.
    nix::unistd::dup2_stdout(OpenOptions::new().write(true).open("/dev/null")?)?;
    loop {
        let mut waited =
            [PollFd::new(timer.as_fd(), PollFlags::POLLIN), PollFd::new(changes.as_fd(), PollFlags::POLLIN)];
        match poll(&mut waited, PollTimeout::NONE) {
            Ok(_) | Err(nix::errno::Errno::EINTR) => {}
            Err(errno) => return Err(errno.into()),
        }
        let is_due = waited[0].any().unwrap_or_default();
        while changes.read_events().is_ok_and(|events| !events.is_empty()) {}
        if watch.is_settled(state) {
            return Ok(());
        }
        if is_due {
            return watch.undo(state);
        }
    }
}

/// What became of a change that waited to be confirmed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Confirmed {
    /// It stays.
    Kept(Change),
    /// Its time was over, and it is undone: now, because nobody had done it yet, or before.
    RolledBack {
        /// Which.
        change: Change,
        /// Whether by this call.
        now: bool,
    },
    /// It was cut short, so that there is nothing whole to be kept.
    CutShort(Change),
    /// Nothing waits.
    Nothing,
}

/// Confirms the change that waits for it. Whoever has the lock first has decided: this, or the watcher.
///
/// # Errors
///
/// When the record cannot be read or written, or a change that is overdue cannot be undone.
pub fn confirm(nftables: &mut Nftables, state: &StateDir, _lock: &Lock) -> Result<Confirmed, Error> {
    let Some(change) = record::last(state).map_err(Error::State)? else { return Ok(Confirmed::Nothing) };
    if !change.is_pending() {
        return Ok(match change.phase {
            record::Phase::Undone { overdue: true, .. } => Confirmed::RolledBack { change, now: false },
            _ => Confirmed::Nothing,
        });
    }
    let is_overdue = change.confirm.as_ref().is_some_and(|confirm| confirm.deadline <= record::boot_time());
    if is_overdue {
        let change = undo_late(nftables, state, change)?;
        return Ok(Confirmed::RolledBack { change, now: true });
    }
    if change.phase != record::Phase::Done {
        return Ok(Confirmed::CutShort(change));
    }
    let kept = Change { confirm: None, ..change.clone() };
    record::write(state, &kept).map_err(Error::State)?;
    disarm(&change);
    Ok(Confirmed::Kept(kept))
}
