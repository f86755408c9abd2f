//! A terminal for tests: what is typed on it, and what is shown.

use std::fs::File;
use std::io::{Read as _, Write as _};
use std::os::fd::AsFd as _;
use std::process::{Child, Command, ExitStatus};
use std::time::{Duration, Instant};

use nix::fcntl::{FcntlArg, FdFlag, fcntl};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::pty::openpty;

use super::program::Program;

/// How long anything may take that is waited for. Far above what it needs.
const LIMIT: Duration = Duration::from_secs(60);

/// A terminal with isoplan on it, as a session of its own.
pub(crate) struct Terminal {
    pub(crate) child: Child,
    pub(crate) master: File,
    /// What was shown and not waited for yet.
    pub(crate) shown: String,
}

impl Terminal {
    /// Starts it in the directory of the program, with those variables besides its own.
    pub(crate) fn start(program: &Program, variables: &[(&str, &str)], args: &[&str]) -> Self {
        let terminal = openpty(None, None).expect("open a terminal");
        for fd in [&terminal.master, &terminal.slave] {
            fcntl(fd, FcntlArg::F_SETFD(FdFlag::FD_CLOEXEC)).expect("keep a file");
        }
        let (slave, other) = (terminal.slave.try_clone().expect("a file"), terminal.slave);
        // Whatever runs the tests may ignore signals of terminals, as a shell lets its jobs in the background.
        let isoplan = program.command(args);
        let mut command = Command::new("setsid");
        command.args(["--ctty", "--wait", "env", "--default-signal"]).arg(isoplan.get_program());
        command.args(isoplan.get_args()).current_dir(program.directory()).env_clear();
        command.envs(isoplan.get_envs().filter_map(|(name, value)| Some((name, value?))));
        command.envs([("TERM", "dumb"), ("HOME", "/nowhere")]).envs(variables.iter().copied());
        let streams = command.stdin(slave).stdout(other.try_clone().expect("a file")).stderr(other);
        let child = streams.spawn().expect("start isoplan");
        Self { child, master: File::from(terminal.master), shown: String::new() }
    }

    /// Types that.
    pub(crate) fn types(&mut self, keys: &str) {
        self.master.write_all(keys.as_bytes()).expect("type");
    }

    /// Types that, once a second, until that is shown, as a person does.
    #[track_caller]
    pub(crate) fn types_until(&mut self, keys: &str, text: &str) {
        let deadline = Instant::now() + LIMIT;
        loop {
            self.types(keys);
            if self.is_shown(text, Instant::now() + Duration::from_secs(1)) {
                return;
            }
            assert!(Instant::now() < deadline, "{text:?} is not shown: {}", self.shown);
        }
    }

    /// Reads until that was shown, after what was waited for before.
    #[track_caller]
    pub(crate) fn shows(&mut self, text: &str) {
        let is_shown = self.is_shown(text, Instant::now() + LIMIT);
        assert!(is_shown, "{text:?} is not shown: {}", self.shown);
    }

    #[track_caller]
    fn is_shown(&mut self, text: &str, deadline: Instant) -> bool {
        loop {
            if let Some(at) = self.shown.find(text) {
                self.shown.drain(..at + text.len());
                return true;
            }
            let mut waited = [PollFd::new(self.master.as_fd(), PollFlags::POLLIN)];
            poll(&mut waited, PollTimeout::from(200_u16)).expect("wait for the terminal");
            let is_ready = waited[0].any() == Some(true);
            if !is_ready && Instant::now() > deadline {
                return false;
            }
            if is_ready {
                let mut bytes = [0; 4096];
                match self.master.read(&mut bytes) {
                    Ok(length) => self.shown += &String::from_utf8_lossy(&bytes[..length]),
                    // Nobody has the other end any more.
                    Err(error) => panic!("{text:?} is not shown ({error}): {}", self.shown),
                }
            }
        }
    }

    /// How it ended. What it still shows is read meanwhile, so that it is not held up.
    pub(crate) fn ends(mut self) -> ExitStatus {
        self.ends_saying().0
    }

    /// How it ended, and what it showed after what was waited for before.
    pub(crate) fn ends_saying(&mut self) -> (ExitStatus, String) {
        let mut bytes = [0; 4096];
        // A terminal that nobody has open any more ends with an error.
        while let Ok(length @ 1..) = self.master.read(&mut bytes) {
            self.shown += &String::from_utf8_lossy(&bytes[..length]);
        }
        (self.child.wait().expect("wait for isoplan"), std::mem::take(&mut self.shown))
    }
}
