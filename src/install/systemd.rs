//! Telling the systemd that runs on this machine.

use std::path::Path;
use std::process::{Command, Stdio};

/// Whether systemd is the init system here (sd_booted(3)).
pub fn is_running() -> bool {
    Path::new("/run/systemd/system").is_dir()
}

/// One run of systemctl.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Systemctl(pub Vec<String>);

impl Systemctl {
    /// With those arguments.
    pub fn new(arguments: &[&str]) -> Self {
        Self(arguments.iter().map(|argument| (*argument).to_owned()).collect())
    }

    /// As it can be typed.
    pub fn as_typed(&self) -> String {
        format!("systemctl {}", self.0.join(" "))
    }

    /// Runs it and waits for it.
    ///
    /// # Errors
    ///
    /// What it said, or why it could not be run.
    pub fn run(&self) -> Result<(), String> {
        let output = Command::new("systemctl")
            .args(["--no-ask-password", "--no-pager"])
            .args(&self.0)
            .stdin(Stdio::null())
            .output()
            .map_err(|error| error.to_string())?;
        if output.status.success() {
            return Ok(());
        }
        let said = String::from_utf8_lossy(&output.stderr).trim().replace('\n', "; ");
        Err(if said.is_empty() { format!("it ended with {}", output.status) } else { said })
    }
}
