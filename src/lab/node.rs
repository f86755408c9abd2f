//! One network namespace, and doing things in it.

use std::fs::File;
use std::io;

/// A namespace of the lab. The process has one thread, which goes in and comes back.
#[derive(Debug)]
pub struct Namespace {
    /// Its name, for messages and below `/run/netns`.
    pub name: String,
    /// None for the host: the namespace that the process runs in.
    pub(super) file: Option<File>,
}

impl Namespace {
    /// Does some work inside; sockets that it opens and processes that it starts stay there.
    ///
    /// # Errors
    ///
    /// When the namespace cannot be entered.
    pub fn enter<T>(&self, _work: impl FnOnce() -> T) -> io::Result<T> {
        todo!()
    }

    /// Runs `ip -batch` with these lines.
    ///
    /// # Errors
    ///
    /// With what it said.
    pub fn ip(&self, _lines: &str) -> io::Result<()> {
        todo!()
    }

    /// Runs a program with this on its standard input; anything but success is an error with what it said.
    ///
    /// # Errors
    ///
    /// With what it said.
    pub fn feed(&self, _program: &str, _args: &[&str], _input: &str) -> io::Result<String> {
        todo!()
    }

    /// Writes a sysctl, given in the form with slashes.
    ///
    /// # Errors
    ///
    /// With its path.
    pub fn sysctl(&self, _key: &str, _value: &str) -> io::Result<()> {
        todo!()
    }
}
