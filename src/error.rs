//! What went wrong, for the user: one clause, its causes, a hint, and the exit code.

use std::error::Error as StdError;
use std::fmt;

use crate::render::wrap::push_wrapped;

/// How isoplan ends. The numbers are stable; scripts depend on them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Exit {
    /// Done, and nothing differs.
    Done = 0,
    /// It could not be done; the message says in which state the host is.
    Failed = 1,
    /// There are differences (`plan --detailed-exitcode`, `status`).
    Differences = 2,
    /// Packets arrived that should not have, or did not that should (`compare`, `verify`).
    Leak = 3,
    /// A change was undone because nobody confirmed it in time (`apply --confirm-within`, `confirm`).
    RolledBack = 4,
    /// The command line makes no sense (EX_USAGE of sysexits.h).
    Usage = 64,
    /// The topology was refused (EX_DATAERR of sysexits.h).
    Topology = 65,
    /// The kernel or the file system does not permit it (EX_NOPERM of sysexits.h).
    NotPermitted = 77,
}

/// A failure that reaches the user.
#[derive(Debug)]
pub struct Failure {
    /// The exit code.
    pub exit: Exit,
    /// A lowercase clause without a period.
    pub message: String,
    /// What led to it, outermost first.
    pub causes: Vec<String>,
    /// What to do about it.
    pub hint: Option<String>,
}

impl Failure {
    /// With [`Exit::Failed`] and nothing more.
    pub fn new(message: impl Into<String>) -> Self {
        Self { exit: Exit::Failed, message: message.into(), causes: Vec::new(), hint: None }
    }

    /// From an error and all its sources.
    pub fn from_error(error: &(dyn StdError + 'static)) -> Self {
        let mut failure = Self::new(error.to_string());
        let mut source = error.source();
        while let Some(cause) = source {
            failure.causes.push(cause.to_string());
            source = cause.source();
        }
        failure
    }

    /// Ends with another code.
    #[must_use]
    pub fn exit(mut self, exit: Exit) -> Self {
        self.exit = exit;
        self
    }

    /// Says what to do about it.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// Says what led to it.
    #[must_use]
    pub fn because(mut self, cause: impl Into<String>) -> Self {
        self.causes.push(cause.into());
        self
    }
}

impl Failure {
    /// As the user reads it, in lines of so many columns where words allow.
    pub fn text(&self, width: usize) -> String {
        let mut text = format!("error: {}", self.message);
        for cause in &self.causes {
            text.push_str("\n  caused by: ");
            text.push_str(cause);
        }
        text.push('\n');
        if let Some(hint) = &self.hint {
            text.push('\n');
            for (index, line) in hint.lines().enumerate() {
                let line = if index == 0 { format!("hint: {line}") } else { line.to_owned() };
                // A line that is indented is a command to be copied.
                let width = if line.starts_with(' ') { usize::MAX } else { width };
                push_wrapped(&mut text, &line, width, 2);
            }
        }
        text
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.text(usize::MAX).trim_end())
    }
}
