//! What changes in meaning between two topology files, as Markdown for a pull request. Ends with 2 when anything opens.
//!
//! `cargo run --example review -- old.toml new.toml`

#![expect(clippy::print_stdout, reason = "an example prints what it made")]

use std::error::Error;
use std::process::ExitCode;
use std::{env, fs};

use isoplan::intent::Intent;
use isoplan::meaning::{Comparison, WayChange};
use isoplan::render;
use isoplan::topology::{self, Topology};

fn read(path: &str) -> Result<Topology, Box<dyn Error>> {
    Ok(topology::parse(path, &fs::read(path)?).map_err(|refused| refused.render(false, 100))?)
}

/// Whether anything opens, and the Markdown.
pub(crate) fn review(old: &str, new: &str) -> Result<(bool, String), Box<dyn Error>> {
    let (old, new) = (read(old)?, read(new)?);
    let comparison = Comparison::new(&Intent::new(&old), &Intent::new(&new));
    let opens = comparison.meaning.ways.iter().any(WayChange::opens);
    Ok((opens, render::review::diff(&comparison, &old, &new, false)))
}

fn main() -> Result<ExitCode, Box<dyn Error>> {
    let mut args = env::args().skip(1);
    let (Some(old), Some(new)) = (args.next(), args.next()) else { return Err("say which two files".into()) };
    let (opens, text) = review(&old, &new)?;
    print!("{text}");
    Ok(if opens { ExitCode::from(2) } else { ExitCode::SUCCESS })
}
