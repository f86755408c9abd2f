//! Namespaces of our own: how a process gets into them, and how it ends with the one that started it.

use std::io;
use std::process::{Child, Stdio};

/// The hidden verb that makes the namespaces: `isoplan lab-stage enter FD -- ARGS...`.
pub const STAGE: &str = "lab-stage";

/// A process inside the lab's namespaces, as the one outside sees it. When this is dropped, or the process that
/// holds it ends in whatever way, everything inside ends.
#[derive(Debug)]
pub struct Inside {
    /// The first of two processes; its exit code is that of the one inside.
    pub child: Child,
    /// The write end of the lifeline; the process inside exits when it closes.
    _lifeline: std::fs::File,
}

/// Starts this program again with `args` as the first process of new user, network, mount and pid namespaces.
///
/// # Errors
///
/// When the program cannot be started. That namespaces cannot be made shows in the exit code and on stderr.
pub fn start(_args: &[String], _stdin: Stdio, _stdout: Stdio, _stderr: Stdio) -> io::Result<Inside> {
    todo!()
}

/// Why namespaces cannot be made here, if so, with what to do about it.
pub fn unavailable() -> Option<String> {
    todo!()
}

/// Fails in a process that is not the first in namespaces made by [`start`]: nothing may be changed there.
///
/// # Errors
///
/// When that is so.
pub fn require() -> io::Result<()> {
    todo!()
}
