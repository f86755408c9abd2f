//! `isoplan render`

use std::path::PathBuf;

use clap::ValueEnum;

use super::topology::TopologyArg;
use super::{Output, file};
use crate::error::{Exit, Failure};
use crate::intent::Intent;
use crate::render;

/// Prints what a topology asks for as text: complete files that `nft -f`, `iptables-restore --noflush`
/// and sysctl.d take, documents for people, or JSON. Needs no privilege and reads nothing of this host.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(flatten)]
    topology: TopologyArg,
    /// What to print
    #[arg(long, short, value_enum, value_name = "FORMAT", required_unless_present = "template")]
    format: Option<Format>,
    /// Fill in a template of your own: a file, or the document.EXT of a directory
    ///
    /// It is written in the language of Jinja and sees the fields of `--format json` (docs/how-to/templates.md).
    #[arg(long, value_name = "FILE_OR_DIR", conflicts_with = "format")]
    template: Option<PathBuf>,
    /// Write to this file instead of stdout
    #[arg(long, short, value_name = "FILE")]
    output: Option<PathBuf>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Format {
    /// For `nft -f`: the nftables approach
    #[value(alias = "nftables")]
    Nft,
    /// For iptables-restore and ip6tables-restore: the same isolation, a rule per network
    Iptables,
    /// For /etc/sysctl.d: the sysctl approach
    Sysctl,
    /// The host as a picture: NICs, networks, who may reach whom, what is blocked
    Svg,
    /// The same picture as the source of a Mermaid flowchart, for Markdown on GitHub and GitLab
    Mermaid,
    /// The same picture as the source of a Graphviz graph
    Dot,
    /// The desired state with the approach of the topology, for programs (docs/json.md)
    Json,
    /// A document for a runbook or an auditor: picture, matrix, every rule with its reason, how to check and undo
    Markdown,
    /// The same as one page that needs no other file
    Html,
}

pub(super) fn run(args: &Args, output: &mut Output) -> Result<Exit, Failure> {
    let topology = args.topology.checked(output)?;
    let text = match (&args.template, args.format) {
        (Some(template), _) => super::template::fill_in(template, topology)?,
        (None, Some(format)) => text(format, &Intent::new(&topology))?,
        (None, None) => return Err(Failure::new("there is no format").exit(Exit::Usage)),
    };
    match &args.output {
        None => output.data(&text)?,
        Some(path) => {
            file::free_for_document(path, &args.topology.topology)?;
            file::write_document(path, &text)?;
        }
    }
    Ok(Exit::Done)
}

fn text(format: Format, intent: &Intent<'_>) -> Result<String, Failure> {
    match format {
        Format::Nft => render::nft::file(intent),
        Format::Iptables => render::iptables::file(intent),
        Format::Sysctl => render::sysctl::file(intent),
        Format::Svg => Ok(render::picture::svg(intent, render::picture::Embed::Alone)),
        Format::Mermaid => Ok(render::picture::mermaid(intent)),
        Format::Dot => Ok(render::picture::dot(intent)),
        Format::Json => render::json::file(intent),
        Format::Markdown => render::document::markdown(intent),
        Format::Html => render::document::page(intent),
    }
    .map_err(|error| Failure::new("cannot render").because(error.to_string()))
}
