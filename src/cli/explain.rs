//! `isoplan explain`

use std::net::IpAddr;
use std::path::PathBuf;

use clap::builder::{PossibleValuesParser, TypedValueParser as _};
use schemars::JsonSchema;
use serde::Serialize;

use super::Output;
use super::topology::TopologyArg;
use crate::approach::Approach;
use crate::error::{Exit, Failure};
use crate::intent::Intent;
use crate::lab::protect;
use crate::lab::trace::explain::{Request, explain};
use crate::plan::JSON_VERSION;
use crate::render;
use crate::verify::explanation::{Asked, Explanation, Protocol, Version, prepare};
use crate::verify::world::World;

/// Builds the topology as network namespaces of its own, applies the approach, sends one packet there, and tells
/// its way through the host: the hooks and chains that it passed, the rule, route or sysctl that decided, where it
/// was seen and with which source, and what became of the answer.
#[derive(Debug, clap::Args)]
#[command(after_long_help = AFTER_HELP)]
pub(super) struct Args {
    /// Who sends: a node of the lab (isoplan lab TOPOLOGY --list-peers), a link or a role of the file
    /// (somebody on it), an address, or `host`
    from: String,
    /// To whom: the same; `host@eth1` is the host's own address on a link. Somebody in the lab is given an
    /// address that nobody has
    to: String,
    /// The port; TCP unless --protocol says otherwise
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..))]
    port: Option<u16>,
    /// The protocol [default: icmp, an echo request; with --port, tcp]
    #[arg(long, value_enum, value_name = "PROTOCOL")]
    protocol: Option<ProtocolArg>,
    /// IPv4 alone
    #[arg(short = '4', conflicts_with = "v6")]
    v4: bool,
    /// IPv6 alone
    #[arg(short = '6')]
    v6: bool,
    /// Send with this source address, the sender's own or not
    #[arg(long, value_name = "ADDRESS")]
    source: Option<IpAddr>,
    /// The topology file; - reads it from stdin
    #[arg(
        long,
        value_name = "FILE",
        env = "ISOPLAN_TOPOLOGY",
        hide_env_values = true,
        default_value = "topology.toml"
    )]
    topology: PathBuf,
    /// Apply this approach [default: the topology's]
    #[arg(long, value_name = "APPROACH", value_parser = approaches())]
    approach: Option<Approach>,
    /// Print the story as JSON (docs/json.md)
    #[arg(long)]
    json: bool,
}

const AFTER_HELP: &str = "\
Examples:
  isoplan explain docker0 storage
  isoplan explain docker0-c1 192.168.57.5 --port 2049
  isoplan explain docker0 host@eth1 --protocol udp -6
  isoplan explain docker0 storage --source 192.168.57.77 --approach sysctl

The exit code is 0 whatever became of the packet.";

#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum ProtocolArg {
    Tcp,
    Udp,
    Icmp,
}

/// The words for approaches.
fn approaches() -> impl clap::builder::TypedValueParser<Value = Approach> {
    PossibleValuesParser::new(Approach::ALL.map(Approach::as_str)).map(|word| {
        let found = Approach::ALL.into_iter().find(|approach| approach.as_str() == word);
        found.unwrap_or(Approach::None)
    })
}

#[derive(Serialize, JsonSchema)]
pub(super) struct ExplainJson<'e> {
    /// [`JSON_VERSION`].
    version: u32,
    /// `explain`.
    kind: &'static str,
    /// The file, as it was named.
    topology: &'e str,
    /// The answer in one sentence.
    answer: String,
    /// All of it.
    #[serde(flatten)]
    explanation: &'e Explanation,
}

pub(super) fn run(args: &Args, output: &mut Output) -> Result<Exit, Failure> {
    let asked = Asked {
        from: args.from.clone(),
        to: args.to.clone(),
        protocol: args.protocol.map(|protocol| match protocol {
            ProtocolArg::Tcp => Protocol::Tcp,
            ProtocolArg::Udp => Protocol::Udp,
            ProtocolArg::Icmp => Protocol::Icmp,
        }),
        port: args.port,
        family: match (args.v4, args.v6) {
            (true, _) => Some(Version::V4),
            (_, true) => Some(Version::V6),
            _ => None,
        },
        source: args.source,
    };
    let (text, topology) = TopologyArg { topology: args.topology.clone() }.with_text(output)?;
    let intent = Intent::new(&topology);
    // Asked in the lab again; here, so that a question that makes no sense needs no lab.
    prepare(&intent, &mut World::new(&intent), &asked).map_err(|refused| {
        let failure = Failure::new(refused.message).exit(Exit::Usage);
        match refused.hint {
            Some(hint) => failure.hint(hint),
            None => failure,
        }
    })?;
    let approach = args.approach.unwrap_or_else(|| topology.isolation.approach.into());
    if let Some(why) = protect::lacking(approach) {
        return Err(
            Failure::new(format!("the approach {} cannot be shown here", approach.as_str())).because(why)
        );
    }
    let explanation = explain(&Request { file: topology.file.clone(), text, approach, asked })?;
    if args.json {
        output.json(&ExplainJson {
            version: JSON_VERSION,
            kind: "explain",
            topology: &topology.file,
            answer: render::explanation::headline(&explanation),
            explanation: &explanation,
        })?;
    } else {
        output.data(&render::explanation::page(&explanation, output.style(false).width))?;
    }
    Ok(Exit::Done)
}
