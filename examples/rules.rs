//! Who may talk to whom by a topology file, and the rule set that sees to it, as `nft -f` takes it.
//!
//! `cargo run --example rules -- fixtures/docker-host/topology.toml`

#![expect(clippy::print_stdout, reason = "an example prints what it made")]

use std::error::Error;
use std::{env, fs};

use isoplan::intent::Intent;
use isoplan::render;
use isoplan::topology;

/// The text for a file.
pub(crate) fn rules(path: &str) -> Result<String, Box<dyn Error>> {
    let bytes = fs::read(path)?;
    // All mistakes at once, each with its line, for a terminal without colours of 100 columns.
    let topology = topology::parse(path, &bytes).map_err(|refused| refused.render(false, 100))?;
    let intent = Intent::new(&topology);
    Ok(format!("{}\n{}", render::matrix::matrix(&intent), render::nft::file(&intent)?))
}

fn main() -> Result<(), Box<dyn Error>> {
    let path = env::args().nth(1).ok_or("say which topology file")?;
    print!("{}", rules(&path)?);
    Ok(())
}
