//! `isoplan render`

use std::path::PathBuf;

use clap::ValueEnum;

use super::topology::TopologyArg;
use super::{Output, file};
use crate::error::{Exit, Failure};
use crate::intent::Intent;
use crate::render;

/// Prints what a topology asks for as text: complete files that `nft -f`, `iptables-restore --noflush`
/// and sysctl.d take, or JSON. Needs no privilege and reads nothing of this host.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(flatten)]
    topology: TopologyArg,
    /// What to print
    #[arg(long, short, value_enum, value_name = "FORMAT")]
    format: Format,
    /// Write to this file instead of stdout
    #[arg(long, short, value_name = "FILE")]
    output: Option<PathBuf>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Format {
    /// For nft -f: the nftables approach
    #[value(alias = "nftables")]
    Nft,
    /// For iptables-restore and ip6tables-restore: the same isolation, a rule per network
    Iptables,
    /// For /etc/sysctl.d: the sysctl approach
    Sysctl,
    /// The desired state with the approach of the topology, for programs (docs/json.md)
    Json,
}

pub(super) fn run(args: &Args, output: &mut Output) -> Result<Exit, Failure> {
    let topology = args.topology.checked(output)?;
    let intent = Intent::new(&topology);
    let text = match args.format {
        Format::Nft => render::nft::file(&intent),
        Format::Iptables => render::iptables::file(&intent),
        Format::Sysctl => render::sysctl::file(&intent),
        Format::Json => render::json::file(&intent),
    }
    .map_err(|error| Failure::new("cannot render").because(error.to_string()))?;
    match &args.output {
        None => output.data(&text)?,
        Some(path) => {
            file::not_input(path, Some(&args.topology.topology))?;
            std::fs::write(path, text).map_err(|error| {
                Failure::new(format!("cannot write {}", path.display())).because(error.to_string())
            })?;
        }
    }
    Ok(Exit::Done)
}
