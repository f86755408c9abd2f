//! `isoplan lab`

use std::env;
use std::ffi::{OsStr, OsString};
use std::fs;
use std::io::{self, IsTerminal as _};
use std::os::fd::RawFd;
use std::path::{Path, PathBuf};
use std::process::Command;

use clap::builder::{PossibleValuesParser, TypedValueParser as _};
use comfy_table::{Table, presets};
use schemars::JsonSchema;
use serde::Serialize;

use super::Output;
use super::topology::{STDIN, TopologyArg};
use crate::approach::Approach;
use crate::error::{Exit, Failure};
use crate::intent::Intent;
use crate::lab::session::{self, Host, Session};
use crate::lab::{isolate, serve};
use crate::plan::JSON_VERSION;
use crate::topology::parse;
use crate::verify::world::{Node, NodeRole, Place, World};

/// Builds the topology as network namespaces of its own, with containers, servers and routers around
/// the host, and runs a command on the host. Without one it opens a shell.
#[derive(Debug, clap::Args)]
#[command(after_long_help = AFTER_HELP)]
pub(super) struct Args {
    #[command(flatten)]
    topology: TopologyArg,
    /// Apply this approach first
    #[arg(long, value_name = "APPROACH", default_value = "none", value_parser = approaches())]
    approach: Approach,
    /// List who is around the host, and build nothing
    #[arg(long, conflicts_with_all = ["approach", "command"])]
    list_peers: bool,
    /// Print the list as JSON (docs/json.md)
    #[arg(long, requires = "list_peers")]
    json: bool,
    /// The command, and its arguments; a shell where there is none
    #[arg(last = true, value_name = "COMMAND")]
    command: Vec<OsString>,
}

const AFTER_HELP: &str = "\
The host has the links and addresses of the topology. Each network has two containers on it, each
NIC a server and a router on its network. The container engine's rules are there; isoplan's are not
before they are applied inside, or with --approach. Each peer answers on port 7 (echo, UDP and TCP)
and port 80 (HTTP). ISOPLAN_TOPOLOGY is the file, for `isoplan explain`. Nothing of this machine's
own network is touched, and everything ends with the command. Root is not needed where user
namespaces are allowed.

Examples:
  isoplan lab topology.toml
  isoplan lab topology.toml -- isoplan plan topology.toml
  isoplan lab topology.toml -- ip netns exec docker0-c1 ping -c 1 192.168.57.5
  isoplan lab topology.toml --approach nftables -- isoplan probe 'docker0:eth1/*'

The exit code is that of the command; 128 and the number of the signal where one killed it.";

/// The words for approaches.
fn approaches() -> impl clap::builder::TypedValueParser<Value = Approach> {
    PossibleValuesParser::new(Approach::ALL.map(Approach::as_str)).map(|word| {
        let found = Approach::ALL.into_iter().find(|approach| approach.as_str() == word);
        found.unwrap_or(Approach::None)
    })
}

#[derive(Serialize, JsonSchema)]
pub(super) struct PeersJson<'p> {
    /// [`JSON_VERSION`](crate::plan::JSON_VERSION).
    version: u32,
    /// `lab`.
    kind: &'static str,
    /// The file, as it was named.
    topology: &'p str,
    /// Everybody but the host.
    peers: Vec<PeerJson<'p>>,
}

#[derive(Serialize, JsonSchema)]
struct PeerJson<'p> {
    /// Its name, also of its namespace.
    name: &'p str,
    /// What it is, in words.
    what: String,
    /// Its own, with the length of the prefix; the ones to use by default first.
    addresses: Vec<String>,
    /// Routed behind it.
    behind: Vec<String>,
    /// The host's link that it is reached by.
    host_link: &'p str,
    /// The host's addresses there.
    host_addresses: Vec<String>,
}

#[expect(clippy::exit, reason = "the exit code is the command's, and may be any")]
pub(super) fn run(args: &Args, output: &mut Output) -> Result<Exit, Failure> {
    let (text, topology) = args.topology.with_text(output)?;
    let intent = Intent::new(&topology);
    if args.list_peers {
        return list(&intent, args.json, output).map(|()| Exit::Done);
    }
    // The world outside of a lab inside of it would be the lab.
    isolate::check()?;
    let session = Session { file: topology.file.clone(), text, approach: args.approach };
    output.finish()?;
    let running = session.start(&args.command);
    let code = running
        .and_then(session::Running::wait)
        .map_err(|error| Failure::new("cannot start the lab").because(error.to_string()))?;
    std::process::exit(code.into())
}

fn list(intent: &Intent<'_>, json: bool, output: &mut Output) -> Result<(), Failure> {
    let world = World::new(intent);
    if !json {
        return output.data(&format!("{}\n", table(intent, &world, usize::MAX)));
    }
    let peers = peers(&world).map(|(_, node)| {
        let link = world.host_links.get(node.host_link);
        let behind = node.behind_listed.iter().chain(&node.behind_unlisted);
        PeerJson {
            name: &node.name,
            what: what(intent, &world, node),
            addresses: node.addresses.iter().map(ToString::to_string).collect(),
            behind: behind.map(ToString::to_string).collect(),
            host_link: link.map_or("", |link| &link.name),
            host_addresses: link
                .map(|link| link.addresses.iter().map(ToString::to_string).collect())
                .unwrap_or_default(),
        }
    });
    output.json(&PeersJson {
        version: JSON_VERSION,
        kind: "lab",
        topology: &intent.topology.file,
        peers: peers.collect(),
    })
}

/// All nodes that somebody can be.
fn peers(world: &World) -> impl Iterator<Item = (Place, &Node)> {
    let nodes = world.nodes.iter().enumerate().map(|(index, node)| (Place(index), node));
    nodes.filter(|(_, node)| !matches!(node.role, NodeRole::Host | NodeRole::Wire))
}

/// The first so many peers as a table.
fn table(intent: &Intent<'_>, world: &World, at_most: usize) -> String {
    let mut table = Table::new();
    table.load_style(presets::NOTHING).set_header(["name", "what it is", "addresses", "on the host"]);
    for (_, node) in peers(world).take(at_most) {
        let addresses: Vec<_> = node.addresses.iter().map(|net| net.addr().to_string()).collect();
        let link = world.host_links.get(node.host_link).map_or("", |link| &link.name);
        table.add_row([&node.name, &what(intent, world, node), &addresses.join(", "), link]);
    }
    let lines = table.lines().map(|line| line.trim().to_owned()).collect::<Vec<_>>();
    lines.join("\n")
}

/// What a node is, in words.
fn what(intent: &Intent<'_>, world: &World, node: &Node) -> String {
    let topology = intent.topology;
    let nic = |nic: usize| &topology.nics[nic].name;
    match node.role {
        NodeRole::Container { network, is_remote: true, .. } => {
            format!("container of {} on another host", topology.networks[network].name)
        }
        NodeRole::Container { link, .. } => format!("container on {}", world.host_links[link].name),
        NodeRole::Instance { flat, .. } => format!("instance on {}", topology.flats[flat].name),
        NodeRole::Server(index) => format!("server on the network of {}", nic(index)),
        NodeRole::Router(index) => format!("router on the network of {}", nic(index)),
        NodeRole::Upstream => "router to the internet".to_owned(),
        NodeRole::Host | NodeRole::Wire => String::new(),
    }
}

/// What the first process inside does for [`run`].
pub(super) fn inside(document: RawFd, starts: RawFd, is_foreground: bool, command: &[OsString]) -> u8 {
    let mut output = Output::new(anstream::ColorChoice::Auto);
    host(document, starts, is_foreground, command, &mut output).unwrap_or_else(|failure| {
        output.failure(&failure);
        failure.exit as u8
    })
}

fn host(
    document: RawFd,
    starts: RawFd,
    is_foreground: bool,
    command: &[OsString],
    output: &mut Output,
) -> Result<u8, Failure> {
    let failed = |error: io::Error| Failure::new("cannot start the lab").because(error.to_string());
    let (session, starts) = session::receive(document, starts).map_err(failed)?;
    let topology = parse(&session.file, session.text.as_bytes())
        .map_err(|_| Failure::new("cannot read the topology a second time"))?;
    let intent = Intent::new(&topology);
    let host = Host::build(&session, &intent, starts).map_err(failed)?;
    // With arguments a shell runs something that ends.
    let is_shell = match command {
        [] => true,
        [program] => {
            Path::new(program).file_name().is_some_and(|name| SHELLS.iter().any(|shell| name == *shell))
        }
        _ => false,
    };
    let mut command = match command {
        [] => {
            if io::stdin().is_terminal() {
                greet(&intent, &host.lab.world, session.approach, output);
            }
            shell(&host).map_err(failed)?
        }
        words => host.command(words),
    };
    // What `isoplan explain` reads where no other file is named. The directory is the one outside.
    if session.file != STDIN {
        command.env("ISOPLAN_TOPOLOGY", &session.file);
    }
    // This very program is found inside, installed or not.
    if let Some(path) = with_own_directory() {
        command.env("PATH", path);
    }
    host.run(&mut command, is_foreground && is_shell).map_err(failed)
}

/// The process that the command is to be.
pub(super) fn become_command(open_files: u64, words: &[OsString]) -> u8 {
    let error = session::become_command(open_files, words);
    let name = words.first().map(|word| word.to_string_lossy()).unwrap_or_default();
    let failure = Failure::new(format!("cannot run `{name}`")).because(error.to_string());
    Output::new(anstream::ColorChoice::Auto).failure(&failure);
    // As a shell would end.
    if error.kind() == io::ErrorKind::NotFound { 127 } else { 126 }
}

fn with_own_directory() -> Option<OsString> {
    let own = env::current_exe().ok()?;
    let path = env::var_os("PATH")?;
    let directories = env::split_paths(&path).chain([own.parent()?.to_owned()]);
    env::join_paths(directories).ok()
}

/// Programs that read commands from a terminal, and have jobs on it.
const SHELLS: [&str; 7] = ["sh", "bash", "dash", "ash", "ksh", "zsh", "fish"];

/// As many peers are named before a shell.
const GREETED: usize = 12;

fn greet(intent: &Intent<'_>, world: &World, approach: Approach, output: &mut Output) {
    let applied = match approach {
        Approach::None => "No approach is applied".to_owned(),
        approach => format!("The approach {} is applied", approach.as_str()),
    };
    let file = &intent.topology.file;
    output.note(&format!(
        "This is the host of a lab made from {file}. It ends with this shell.\n{applied}. Around the host:\n"
    ));
    output.note(&table(intent, world, GREETED));
    let left = peers(world).count().saturating_sub(GREETED);
    if left > 0 {
        output.note(&format!("and {left} more: isoplan lab {file} --list-peers"));
    }
    let (echo, http) = (serve::ECHO, serve::HTTP);
    output.note(&format!(
        "\nEach answers on port {echo} (echo, UDP and TCP) and port {http} (HTTP). To be one of them:"
    ));
    if let Some((from, to)) = example(intent, world) {
        output.note(&format!("  ip netns exec {from} ping {to}"));
    }
    output.note("  isoplan probe --list\n");
}

/// A container, and an address that would be worth trying: one that it must not reach, where there is one.
fn example(intent: &Intent<'_>, world: &World) -> Option<(String, std::net::IpAddr)> {
    let senders =
        peers(world).filter(|(_, node)| matches!(node.role, NodeRole::Container { is_remote: false, .. }));
    let mut found = None;
    for (_, from) in senders {
        let NodeRole::Container { network, .. } = from.role else { continue };
        for (_, to) in peers(world) {
            let NodeRole::Server(nic) = to.role else { continue };
            let shared =
                to.addresses.iter().find(|net| from.address(crate::intent::IpFamily::of(net)).is_some());
            let Some(address) = shared.map(ipnet::IpNet::addr) else { continue };
            let pair = (from.name.clone(), address);
            if intent.is_closed(network, nic) {
                return Some(pair);
            }
            found.get_or_insert(pair);
        }
    }
    found.or_else(|| {
        let (_, node) = peers(world).next()?;
        let address = world.host_links.get(node.host_link)?.addresses.first()?.addr();
        Some((node.name.clone(), address))
    })
}

/// The user's shell, with a prompt that says where it is.
fn shell(host: &Host) -> io::Result<Command> {
    let wanted = env::var_os("SHELL").map(PathBuf::from).filter(|shell| {
        let name = shell.file_name().unwrap_or_default();
        shell.is_file() && !["nologin", "false", "true"].iter().any(|other| name == OsStr::new(other))
    });
    let path = wanted.unwrap_or_else(|| "/bin/sh".into());
    let mut words = vec![path.clone().into_os_string()];
    if path.file_name() == Some(OsStr::new("bash")) {
        // The user's own file would set the prompt again.
        let file = Path::new(isolate::DIRECTORY).join("bashrc");
        fs::write(&file, "[ ! -r ~/.bashrc ] || . ~/.bashrc\nPS1=\"(lab) ${PS1-}\"\n")?;
        words.extend(["--rcfile".into(), file.into_os_string()]);
    }
    let mut command = host.command(&words);
    // Where a file of the user's sets none.
    command.env("PS1", "(lab) # ");
    Ok(command)
}
