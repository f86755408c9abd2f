//! `isoplan watch`

use std::env;
use std::io;
use std::os::fd::AsFd as _;
use std::time::{SystemTime, UNIX_EPOCH};

use super::apply::applying_failed;
use super::topology::{Loaded, TopologyArg};
use super::{Output, StateArgs, not_permitted};
use crate::apply::state_dir::StateDir;
use crate::error::{Exit, Failure};
use crate::netlink;
use crate::topology::Topology;
use crate::vigil::Notice;
use crate::watch::{self, Config};

/// Puts the topology in place, stays, and repairs what others change, at once: docs/operate.md. The unit
/// that `isoplan install` makes runs this. SIGHUP reads the file again; SIGTERM ends it, and the rules stay.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(flatten)]
    topology: TopologyArg,
    /// Say what differs and write nothing
    #[arg(long)]
    report: bool,
    /// Print a JSON object for each line (docs/json.md)
    #[arg(long)]
    json: bool,
    /// Bytes of room for events of the rule set, for tests of what happens when there is too little
    #[arg(long, value_name = "BYTES", hide = true)]
    event_buffer: Option<usize>,
    #[command(flatten)]
    state: StateArgs,
}

pub(super) fn run(args: &Args, output: &mut Output) -> Result<Exit, Failure> {
    if args.topology.topology.as_os_str() == "-" {
        return Err(Failure::new("a topology from stdin cannot be read again")
            .exit(Exit::Usage)
            .hint("name a file"));
    }
    let (text, topology) = args.topology.with_text(output)?;
    let file = topology.file.clone();
    let command = format!("watch {}", args.topology.as_typed());
    let state =
        StateDir::locate(args.state.state_dir.as_deref()).map_err(|error| Failure::from_error(&error))?;
    let is_journal = is_journal();
    let mut say = |notice: &Notice| say(output, args.json, is_journal, &file, notice);
    let mut load = || load(&args.topology);
    let config = Config {
        topology,
        text,
        load: &mut load,
        say: &mut say,
        report: args.report,
        state,
        room: args.event_buffer,
    };
    match watch::run(config) {
        Ok(()) => Ok(Exit::Done),
        Err(watch::Error::Apply(error)) => Err(applying_failed(&error, &Topology::nothing(), &command)),
        Err(watch::Error::Kernel(netlink::Error::NotPermitted)) => {
            Err(not_permitted(Failure::new("cannot watch the rule set: operation not permitted"), &command))
        }
        Err(error @ watch::Error::AnotherWatch) => Err(Failure::from_error(&error)
            .hint("systemctl status isoplan-watch tells whether it is the service")),
        Err(error) => Err(Failure::from_error(&error)),
    }
}

/// Reads the file again.
fn load(topology: &TopologyArg) -> Result<(Topology, String), String> {
    match topology.load() {
        Ok((Loaded::Topology(topology), text)) => Ok((*topology, text)),
        Ok((Loaded::Refused(refused), _)) => {
            const SHOWN: usize = 3;
            let mistakes = refused.mistakes.iter().take(SHOWN);
            let mut said: Vec<_> =
                mistakes.map(|mistake| format!("line {}: {}", mistake.line, mistake.message)).collect();
            if refused.mistakes.len() > SHOWN {
                said.push("and more; isoplan check tells all".to_owned());
            }
            Err(said.join("; "))
        }
        Err(failure) => Err([vec![failure.message], failure.causes].concat().join(": ")),
    }
}

fn say(output: &mut Output, json: bool, is_journal: bool, file: &str, notice: &Notice) {
    // A reader that is gone, or a full disk below it, must not end the watch.
    let _ = if json {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let time = u64::try_from(since.as_millis()).unwrap_or(u64::MAX);
        let line = serde_json::to_string(&notice.json(file, time)).unwrap_or_default();
        output.data(&(line + "\n"))
    } else if is_journal {
        output.data(&format!("<{}>{}\n", notice.level as u8, notice.message))
    } else {
        output.data(&format!("{}\n", notice.message))
    };
    let _ = output.finish();
}

/// Whether stdout is the journal, which takes the level from the line (sd-daemon(3)): `JOURNAL_STREAM` names
/// it by device and inode (systemd.exec(5)).
fn is_journal() -> bool {
    let Ok(stream) = env::var("JOURNAL_STREAM") else { return false };
    let status = nix::sys::stat::fstat(io::stdout().as_fd());
    status.is_ok_and(|status| stream == format!("{}:{}", status.st_dev, status.st_ino))
}
