//! The names in a topology that a command takes.

use std::env;
use std::ffi::OsString;
use std::fs::OpenOptions;
use std::io::Read as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use nix::libc;

use crate::boot::TOPOLOGY;
use crate::intent::Intent;
use crate::lab::session::Session;
use crate::topology::{Topology, parse};
use crate::verify::catalogue::{self, Extent};
use crate::verify::world::{NodeRole, World};

/// Names, each with what it is.
pub(super) type Names = Vec<(String, String)>;

/// As long as a topology can be.
const READ_AT_MOST: u64 = 17 * 1024 * 1024;
/// Laying out a lab of more networks would take longer than somebody waits who pressed TAB.
const LAID_OUT_AT_MOST: usize = 300;

/// Where names are from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Source {
    /// Who can send and receive: links and roles of the file, the host, nodes of its lab.
    Ends,
    /// Probes of the lab that this is run in.
    ProbesHere,
    /// Probes of the topology on the command line.
    ProbesOfFile,
}

impl Source {
    /// The names; none where the file cannot be read or is wrong.
    pub(super) fn names(self, words: &[OsString], current: &str) -> Names {
        match self {
            Self::Ends => topology(words).map(|topology| ends(&topology, current)).unwrap_or_default(),
            Self::ProbesHere => Session::current()
                .ok()
                .and_then(|session| parse(&session.file, session.text.as_bytes()).ok())
                .map(|topology| probes(&topology, current))
                .unwrap_or_default(),
            Self::ProbesOfFile => {
                let is_topology =
                    |word: &&OsString| Path::new(word).extension().is_some_and(|end| end == "toml");
                let file = words.iter().rev().skip(1).find(is_topology).map(PathBuf::from);
                let topology = file.and_then(|file| read(&file));
                topology.map(|topology| probes(&topology, current)).unwrap_or_default()
            }
        }
    }
}

/// The topology that a command line is about.
fn topology(words: &[OsString]) -> Option<Topology> {
    let mut named = None;
    for (at, word) in words.iter().enumerate() {
        let word = word.to_string_lossy();
        if let Some(file) = word.strip_prefix("--topology=") {
            named = Some(PathBuf::from(file));
        } else if word == "--topology" && at + 2 < words.len() {
            named = Some(PathBuf::from(&words[at + 1]));
        }
    }
    let named = named.or_else(|| env::var_os("ISOPLAN_TOPOLOGY").map(PathBuf::from));
    match named {
        Some(file) => read(&file),
        None => read(Path::new("topology.toml")).or_else(|| read(&Path::new("/").join(TOPOLOGY))),
    }
}

/// A topology from a plain file: a pipe would be empty for the command that is being typed, and a device has no end.
fn read(file: &Path) -> Option<Topology> {
    // The shell has not put the home directory in.
    let file = match file.strip_prefix("~") {
        Ok(below) => PathBuf::from(env::var_os("HOME")?).join(below),
        Err(_) => file.to_owned(),
    };
    let opened = OpenOptions::new().read(true).custom_flags(libc::O_NONBLOCK).open(&file).ok()?;
    if !opened.metadata().ok()?.is_file() {
        return None;
    }
    let mut bytes = Vec::new();
    opened.take(READ_AT_MOST).read_to_end(&mut bytes).ok()?;
    parse(&file.display().to_string(), &bytes).ok()
}

fn ends(topology: &Topology, current: &str) -> Names {
    let mut names = Names::new();
    let mut links = Names::new();
    for network in topology.networks.iter().filter(|network| !network.name.is_prefix()) {
        let kind = topology.entries[network.entry.0 as usize].kind.as_str();
        links.push((network.name.to_string(), kind.to_owned()));
    }
    links.extend(topology.flats.iter().map(|flat| (flat.name.to_string(), format!("flat on {}", flat.nic))));
    links.extend(topology.nics.iter().map(|nic| (nic.name.to_string(), format!("NIC, {}", nic.role))));
    if current.starts_with("host") {
        let on = |(link, _): &(String, String)| (format!("host@{link}"), format!("this host on {link}"));
        names.extend(links.iter().map(on));
    }
    names.extend(links);
    names.push(("host".to_owned(), "this host".to_owned()));
    names.extend(topology.nics.iter().map(|nic| (nic.role.to_string(), "role".to_owned())));
    // Nodes come when somebody has begun to type: their names begin as those of their links do.
    if !current.is_empty() && topology.networks.len() <= LAID_OUT_AT_MOST {
        let world = World::new(&Intent::new(topology));
        let nodes = world.nodes.iter().filter(|node| !matches!(node.role, NodeRole::Host | NodeRole::Wire));
        names.extend(nodes.map(|node| {
            let link = world.host_links.get(node.host_link).map_or("", |link| &link.name);
            (node.name.clone(), format!("in the lab, on {link}"))
        }));
    }
    names
}

/// Probes, part by part, as shells do with paths: up to the colon, then up to the slash, then whole.
fn probes(topology: &Topology, current: &str) -> Names {
    if topology.networks.len() > LAID_OUT_AT_MOST {
        return Names::new();
    }
    let intent = Intent::new(topology);
    let world = World::new(&intent);
    let probes = catalogue::probes(&intent, &world, Extent::Full);
    let fitting = probes.iter().filter_map(|probe| Some((probe, probe.name.strip_prefix(current)?)));
    let mut names: Names = fitting
        .map(|(probe, rest)| match rest.find([':', '/']) {
            Some(end) => (format!("{current}{}\u{2}", &rest[..=end]), String::new()),
            None => (probe.name.clone(), probe.pair.clone()),
        })
        .collect();
    names.dedup();
    names
}
