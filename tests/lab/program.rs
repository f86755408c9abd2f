//! Running isoplan in the host's namespace, and reading what it left in the kernel.

use std::ffi::OsStr;
use std::fmt;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_json::Value;

use super::node::{Node, PATH};

/// The program, with a directory of its own for its state and its input.
pub(crate) struct Program {
    path: PathBuf,
    directory: tempfile::TempDir,
}

/// How a run ended.
#[derive(Debug, Clone)]
pub(crate) struct Ran {
    pub(crate) command: String,
    pub(crate) code: Option<i32>,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl fmt::Display for Ran {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let code = self.code.map_or_else(|| "a signal".to_owned(), |code| code.to_string());
        write!(f, "$ {}\n{}{}(exit {code})", self.command, self.stdout, self.stderr)
    }
}

impl Ran {
    /// The output of a run that ended well; panics with all of it otherwise.
    #[track_caller]
    pub(crate) fn ok(self) -> String {
        assert_eq!(self.code, Some(0), "{self}");
        self.stdout
    }

    /// The output as JSON.
    #[track_caller]
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.stdout).unwrap_or_else(|error| panic!("no JSON: {error}\n{self}"))
    }
}

impl Program {
    /// The program at that path. Its directory ends with the namespaces, see [`super::isolate`].
    pub(crate) fn new(path: impl Into<PathBuf>) -> io::Result<Self> {
        Ok(Self { path: path.into(), directory: tempfile::tempdir_in("/run")? })
    }

    /// A command with a clean environment and this program's state directory.
    pub(crate) fn command<S: AsRef<OsStr>>(&self, args: &[S]) -> Command {
        let mut command = Command::new(&self.path);
        command
            .args(args)
            .current_dir(self.directory.path())
            .env_clear()
            .env("PATH", PATH)
            .env("LC_ALL", "C.UTF-8")
            .env("ISOPLAN_STATE_DIR", self.directory.path().join("state"))
            .stdin(Stdio::null());
        command
    }

    /// Runs it and waits for it. A document that it prints is held against its schema.
    pub(crate) fn run(&self, args: &[&str]) -> Ran {
        let output =
            self.command(args).output().unwrap_or_else(|error| panic!("cannot run isoplan: {error}"));
        let ran = Ran {
            command: format!("isoplan {}", args.join(" ")),
            code: output.status.code(),
            stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        };
        #[cfg(test)]
        super::schema::check(&ran.command, &ran.stdout);
        ran
    }

    /// Writes a file into the directory that it is run in.
    pub(crate) fn write(&self, name: &str, text: &str) -> io::Result<()> {
        std::fs::File::create(self.directory.path().join(name))?.write_all(text.as_bytes())
    }

    /// The directory that it is run in.
    pub(crate) fn directory(&self) -> &Path {
        self.directory.path()
    }
}

/// A drop rule's counter.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct DropCounter {
    /// The chain that it is in.
    pub(crate) chain: String,
    /// The comment, which begins with the rule's id.
    pub(crate) comment: String,
    pub(crate) packets: u64,
}

/// The counters of every rule of a table that drops.
pub(crate) fn drop_counters(host: &Node, table: &str) -> io::Result<Vec<DropCounter>> {
    let text = host.nft(&["-j", "list", "table", "inet", table])?;
    let listing: Value = serde_json::from_str(&text).map_err(io::Error::other)?;
    let objects = listing["nftables"].as_array().cloned().unwrap_or_default();
    let counters = objects.iter().filter_map(|object| {
        let rule = object.get("rule")?;
        let statements = rule["expr"].as_array()?;
        statements.iter().find(|statement| statement.get("drop").is_some())?;
        let packets = statements.iter().find_map(|statement| statement["counter"]["packets"].as_u64())?;
        let text = |key: &str| rule[key].as_str().unwrap_or_default().to_owned();
        Some(DropCounter { chain: text("chain"), comment: text("comment"), packets })
    });
    Ok(counters.collect())
}

/// How many packets the rules of a table have dropped.
pub(crate) fn dropped(host: &Node, table: &str) -> io::Result<u64> {
    Ok(drop_counters(host, table)?.iter().map(|counter| counter.packets).sum())
}
