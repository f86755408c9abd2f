//! `isoplan lab`: a command on the host of a lab, and all that goes on around it.

use std::ffi::OsString;
use std::fs::{self, File};
use std::io::{self, Read as _, Write as _};
use std::os::fd::{AsFd as _, AsRawFd as _, RawFd};
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Command, Stdio};

use nix::errno::Errno;
use nix::fcntl::OFlag;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sched::{sched_getaffinity, sched_setaffinity};
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use nix::sys::signal::{SigSet, Signal, kill};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::{Pid, getpgrp, pipe2, setpgid, tcgetpgrp, tcsetpgrp};
use serde::{Deserialize, Serialize};

use super::build::{Lab, Options};
use super::isolate::{self, DIRECTORY, Inside, STAGE, THIS};
use super::protect;
use super::serve::Servers;
use crate::approach::Approach;
use crate::intent::Intent;
use crate::verify::world::World;

/// What a lab was made from. A copy is left inside.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Session {
    /// The name of the topology file, for messages.
    pub file: String,
    /// The text of it.
    pub text: String,
    /// What was applied.
    pub approach: Approach,
}

/// A lab with a command on its host, as the process outside sees it.
#[derive(Debug)]
pub struct Running {
    inside: Inside,
    /// One byte comes when the command is about to start, which it does when this is closed.
    starts: File,
    /// The group of this process, where it has the terminal.
    foreground: Option<Pid>,
}

/// The word for a process that has the terminal.
pub const FOREGROUND: &str = "foreground";

impl Session {
    /// Starts a lab with a command on its host, or a shell where the command is empty. The streams of this
    /// process are those of the command.
    ///
    /// # Errors
    ///
    /// When it cannot be started.
    pub fn start(&self, command: &[OsString]) -> io::Result<Running> {
        let document = isolate::document("session", self)?;
        let (starts, tell) = pipe2(OFlag::O_CLOEXEC)?;
        let numbers = [document.as_raw_fd(), tell.as_raw_fd()].map(|fd| OsString::from(fd.to_string()));
        let stdin = io::stdin();
        let foreground = tcgetpgrp(&stdin).ok().filter(|group| *group == getpgrp());
        let mut args = vec![OsString::from(STAGE), "host".into()];
        args.extend(numbers);
        args.push(if foreground.is_some() { FOREGROUND } else { "background" }.into());
        args.push("--".into());
        args.extend_from_slice(command);
        let along = [document.as_fd(), tell.as_fd()];
        let inside =
            isolate::start_with(&args, Stdio::inherit(), Stdio::inherit(), Stdio::inherit(), &along)?;
        Ok(Running { inside, starts: File::from(starts), foreground })
    }

    /// The one that this process is in.
    ///
    /// # Errors
    ///
    /// Outside of a lab, and away from its host.
    pub fn current() -> io::Result<Self> {
        isolate::require()?;
        Ok(serde_json::from_slice(&fs::read(Path::new(DIRECTORY).join("session.json"))?)?)
    }
}

impl Running {
    /// Waits for the command and gives its exit code, 128 and the signal where it was killed. While it runs,
    /// Ctrl-C is for the command alone; while the lab is being built, it ends everything.
    ///
    /// # Errors
    ///
    /// When the kernel does not let it wait.
    pub fn wait(mut self) -> io::Result<u8> {
        // Nothing comes where the lab could not be built.
        let _ = self.starts.read_exact(&mut [0]);
        let signals = SigSet::from_iter([Signal::SIGINT, Signal::SIGQUIT]);
        signals.thread_block()?;
        // The first process inside sees that nobody listens any more, and starts the command.
        drop(self.starts);
        let code = isolate::code(self.inside.child.wait()?);
        // A shell took the terminal for itself, and may have had no time to give it back.
        if let Some(group) = self.foreground {
            SigSet::from_iter([Signal::SIGTTOU]).thread_block()?;
            let _ = tcsetpgrp(io::stdin(), group);
        }
        // A command that ended by Ctrl-C: so does this process, for the sake of the shell that waits for it.
        if code == 128 + Signal::SIGINT as u8 {
            signals.thread_unblock()?;
        }
        Ok(code)
    }
}

/// The lab, seen by its first process.
#[derive(Debug)]
pub struct Host {
    /// The lab.
    pub lab: Lab,
    servers: Servers,
    /// As they are outside.
    open_files: u64,
    starts: File,
}

/// Takes over what [`Session::start`] has sent along.
///
/// # Errors
///
/// When that is not there.
pub fn receive(document: RawFd, starts: RawFd) -> io::Result<(Session, File)> {
    isolate::require()?;
    let session = serde_json::from_reader(isolate::take_over(document, OFlag::O_RDONLY)?)?;
    Ok((session, isolate::take_over(starts, OFlag::O_WRONLY)?))
}

impl Host {
    /// Builds the lab, applies the approach, and opens the servers.
    ///
    /// # Errors
    ///
    /// With the step that failed.
    pub fn build(session: &Session, intent: &Intent<'_>, starts: File) -> io::Result<Self> {
        let failed = |what: &str, error: &io::Error| io::Error::new(error.kind(), format!("{what}: {error}"));
        // The lab is built on one CPU and opens many files. A command has what it would have outside.
        let (open_files, _) = getrlimit(Resource::RLIMIT_NOFILE)?;
        let all = sched_getaffinity(Pid::from_raw(0))?;
        let masquerades = protect::engine_masquerades(intent, session.approach);
        let options = Options { engine_masquerades: masquerades, cpu: 0 };
        let lab = Lab::start(World::new(intent), options)
            .map_err(|error| failed("cannot build the lab", &error))?;
        sched_setaffinity(Pid::from_raw(0), &all)?;
        protect::load_engine(&lab, intent, masquerades)
            .map_err(|error| failed("cannot load the container engine's rules", &error))?;
        if session.approach != Approach::None {
            protect::apply(&lab, intent, session.approach).map_err(|error| {
                failed(&format!("cannot apply the approach {}", session.approach.as_str()), &error)
            })?;
        }
        fs::write(Path::new(DIRECTORY).join("session.json"), serde_json::to_vec(session)?)?;
        let servers = Servers::start(&lab)?;
        Ok(Self { lab, servers, open_files, starts })
    }

    /// A command for [`Self::run`], by way of [`become_command`].
    pub fn command(&self, words: &[OsString]) -> Command {
        let mut command = Command::new(THIS);
        command.args([STAGE, "run", &self.open_files.to_string(), "--"]).args(words);
        command
    }

    /// Runs a command on the host and serves until it ends. Its exit code, 128 and the signal where it was
    /// killed. Whatever else still runs inside ends with this process.
    ///
    /// A shell that `takes_terminal` gets it as a group that it can see. The group that had it is outside of the
    /// pid namespace, and sh would end with an error when it cannot give the terminal back. Other commands stay in
    /// that group, so that Ctrl-Z stops them and the processes outside together.
    ///
    /// # Errors
    ///
    /// When the command cannot be started.
    pub fn run(mut self, command: &mut Command, takes_terminal: bool) -> io::Result<u8> {
        // Ctrl-C is for the command once the process outside has closed its end.
        self.starts.write_all(b".")?;
        while let Err(Errno::EINTR) =
            poll(&mut [PollFd::new(self.starts.as_fd(), PollFlags::empty())], PollTimeout::NONE)
        {}
        drop(self.starts);
        if takes_terminal {
            take_terminal()?;
        }
        let child = command.spawn()?;
        let child = Pid::from_raw(child.id().cast_signed());
        // Blocked only now, so that the command has not taken it over.
        let children = SigSet::from_iter([Signal::SIGCHLD]);
        children.thread_block()?;
        let ended = SignalFd::with_flags(&children, SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK)?;
        loop {
            let _ = ended.read_signal();
            // Before anything is waited for: it may have ended before its signal was blocked. The first process
            // inherits everyone whose parent has ended.
            loop {
                match waitpid(None, Some(WaitPidFlag::WNOHANG | WaitPidFlag::WUNTRACED)) {
                    Ok(WaitStatus::Exited(pid, code)) if pid == child => {
                        return Ok(u8::try_from(code).unwrap_or(1));
                    }
                    Ok(WaitStatus::Signaled(pid, signal, _)) if pid == child => {
                        return Ok(128 + signal as u8);
                    }
                    // `suspend` in a shell: nobody outside would let it go on.
                    Ok(WaitStatus::Stopped(pid, _)) if pid == child && takes_terminal => {
                        let _ = kill(child, Signal::SIGCONT);
                    }
                    Ok(WaitStatus::StillAlive) => break,
                    // Killed by a signal that has no name here (signal(7), real-time signals).
                    Err(_) if kill(child, None).is_err() => return Ok(1),
                    _ => {}
                }
            }
            self.servers.serve_until(ended.as_fd())?;
        }
    }
}

/// Makes a process group of this process, and gives it the terminal on stdin.
fn take_terminal() -> io::Result<()> {
    let before = SigSet::thread_get_mask()?;
    // Who does that in the background is stopped otherwise.
    SigSet::from_iter([Signal::SIGTTOU]).thread_block()?;
    setpgid(Pid::from_raw(0), Pid::from_raw(0))?;
    let _ = tcsetpgrp(io::stdin(), getpgrp());
    before.thread_set_mask()?;
    Ok(())
}

/// Makes this process a command that may open so many files: fewer than the first process has open in a large lab,
/// which therefore cannot take the limit on itself before it starts one.
pub fn become_command(open_files: u64, words: &[OsString]) -> io::Error {
    let [program, args @ ..] = words else { return io::Error::from(io::ErrorKind::InvalidInput) };
    let limited = getrlimit(Resource::RLIMIT_NOFILE)
        .and_then(|(_, hard)| setrlimit(Resource::RLIMIT_NOFILE, open_files.min(hard), hard));
    match limited {
        Ok(()) => Command::new(program).args(args).exec(),
        Err(error) => error.into(),
    }
}
