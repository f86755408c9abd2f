//! What an apply would do on a host whose `isoplan snapshot` is in a file: each change with the entry that it comes from.
//!
//! `cargo run --example against -- topology.toml snapshot.json`

#![expect(clippy::print_stdout, reason = "an example prints what it made")]

use std::error::Error;
use std::fmt::Write as _;
use std::{env, fs};

use isoplan::plan::Plan;
use isoplan::saved::Snapshot;
use isoplan::topology;

/// A line for each change.
pub(crate) fn against(path: &str, snapshot: &str) -> Result<String, Box<dyn Error>> {
    let topology = topology::parse(path, &fs::read(path)?).map_err(|refused| refused.render(false, 100))?;
    let snapshot = Snapshot::from_bytes(&fs::read(snapshot)?)?;
    let plan = Plan::new(&topology, &snapshot.state);
    let mut text = format!("{} changes on {}\n", plan.diff.changes.len(), snapshot.origin.host);
    for change in &plan.diff.changes {
        write!(text, "{} {} {}", change.action.as_str(), change.kind.as_str(), change.name)?;
        if let Some(origin) = change.origins().first() {
            write!(text, " ({})", topology.place(*origin))?;
        }
        text.push('\n');
    }
    Ok(text)
}

fn main() -> Result<(), Box<dyn Error>> {
    let mut args = env::args().skip(1);
    let (Some(topology), Some(snapshot)) = (args.next(), args.next()) else {
        return Err("say which topology and which snapshot".into());
    };
    print!("{}", against(&topology, &snapshot)?);
    Ok(())
}
