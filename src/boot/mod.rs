//! The files of an installation as values: what has to be where for isolation from boot on.
//!
//! Paths are below the root file system and have no slash in front. The order is the order of writing: what a file
//! refers to comes before it, and what enables it comes last, so that a machine that stops in between boots.

mod changes;
mod exec;
mod manifest;

use askama::Template;

pub use changes::{Action, Change, Found, changes, text_changes};
pub use exec::{ExecPath, UnitName};
pub use manifest::{Installed, MANIFEST, Manifest, Unknown};

use crate::intent::Intent;
use crate::render;
use crate::topology::ApproachName;

/// The topology that is applied at boot.
pub const TOPOLOGY: &str = "etc/isoplan/topology.toml";
/// The rule set as text, for `include "/etc/isoplan/*.nft"` at the end of nftables.conf: then it is in the transaction that
/// flushes, and there is no gap. A pattern that matches nothing is no error (nft(8), "Include files").
const NFT: &str = "etc/isoplan/isoplan.nft";
/// The unit that applies it.
pub const UNIT: &str = "isoplan.service";
/// The unit that repairs it.
pub const WATCH_UNIT: &str = "isoplan-watch.service";

/// systemd-sysctl keeps a key at the place of its first file when both files say the same. So this file has to be the
/// last that says anything about forwarding; Debian's own last one is `99-sysctl.conf` (sysctl.d(5)).
const SYSCTL: &str = "etc/sysctl.d/99-zz-isoplan.conf";
/// After `99-systemd.rules`, which runs systemd-sysctl on all files.
const UDEV: &str = "etc/udev/rules.d/99-zz-isoplan.rules";
const UNITS: &str = "etc/systemd/system";
/// Where the topology and the manifest are.
const MANIFEST_DIRECTORY: &str = "etc/isoplan";

/// What is in a place.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Content {
    /// A file.
    File {
        /// All of it.
        text: String,
    },
    /// A symbolic link to an absolute path.
    Link {
        /// Where it leads.
        target: String,
    },
}

/// The permissions of every file: anybody may know the policy, only root may change it.
pub const FILE_MODE: u32 = 0o644;
/// The permissions of every directory that is made.
pub const DIRECTORY_MODE: u32 = 0o755;

/// One file or link of an installation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Below the root file system, no slash in front.
    pub path: String,
    /// What is to be there.
    pub content: Content,
    /// What it is for, as a clause.
    pub why: &'static str,
}

/// How to install.
#[derive(Debug, Clone)]
pub struct Options {
    /// The program that the units run.
    pub exec: ExecPath,
    /// Whether to keep `isoplan watch` running.
    pub watch: bool,
    /// Units that are not to start when isolation could not be applied.
    pub require_for: Vec<UnitName>,
    /// systemd-sysctl of this system, an absolute path.
    pub systemd_sysctl: String,
}

#[derive(Template)]
#[template(path = "boot/isoplan.service", escape = "none")]
struct ServiceFile<'s> {
    version: &'static str,
    topology: String,
    mounts: String,
    before: String,
    exec_start: String,
    hardening: &'static str,
    require_for: Vec<&'s str>,
}

#[derive(Template)]
#[template(path = "boot/isoplan-watch.service", escape = "none")]
struct WatchFile {
    version: &'static str,
    topology: String,
    mounts: String,
    exec_watch: String,
    hardening: &'static str,
}

#[derive(Template)]
#[template(path = "boot/nftables-drop-in.conf", escape = "none")]
struct DropInFile {
    version: &'static str,
    exec_apply: String,
}

#[derive(Template)]
#[template(path = "boot/udev.rules", escape = "none")]
struct UdevFile<'s> {
    version: &'static str,
    sysctl_file: &'static str,
    systemd_sysctl: &'s str,
}

#[derive(Template)]
#[template(path = "boot/by-hand.txt", escape = "none")]
struct ByHand<'s> {
    exec: &'s str,
    topology: &'static str,
    source: &'s str,
}

const VERSION: &str = env!("CARGO_PKG_VERSION");
const HARDENING: &str = include_str!("../../templates/boot/hardening.txt");

/// What runs containers or filters packets, and is not ordered after `network-pre.target` everywhere.
const BEFORE: [&str; 6] = [
    "docker.service",
    "containerd.service",
    "podman.service",
    "podman-restart.service",
    "firewalld.service",
    "libvirtd.service",
];

/// Every file of an installation, in the order of writing. `source` is the topology file's text, kept as it is.
///
/// # Errors
///
/// None that input can bring about.
pub fn entries(intent: &Intent<'_>, source: &str, options: &Options) -> Result<Vec<Entry>, askama::Error> {
    let topology = format!("/{TOPOLOGY}");
    let exec = options.exec.as_argument();
    let exec_apply = format!("{exec} apply {topology} --yes");
    let by_sysctl = intent.topology.isolation.approach == ApproachName::Sysctl;
    let file =
        |path: &str, text: String, why| Entry { path: path.to_owned(), content: Content::File { text }, why };
    let mut entries = vec![file(TOPOLOGY, source.to_owned(), "what is applied")];
    if by_sysctl {
        entries.push(file(
            SYSCTL,
            render::sysctl::file(intent)?,
            "read by systemd-sysctl, after every other file",
        ));
        let rules =
            UdevFile { version: VERSION, sysctl_file: SYSCTL, systemd_sysctl: &options.systemd_sysctl };
        entries.push(file(
            UDEV,
            rules.render()? + "\n",
            "does the same for interfaces that appear or are renamed",
        ));
    }
    if !by_sysctl {
        let why = "for nftables.conf to include, so that a reload has no gap";
        entries.push(file(NFT, render::nft::file(intent)?, why));
    }
    let mounts = format!("{topology} {}", options.exec.as_path_list());
    let before: Vec<&str> =
        BEFORE.into_iter().chain(options.require_for.iter().map(UnitName::as_str)).collect();
    let mut seen = std::collections::BTreeSet::new();
    let before: Vec<&str> = before.into_iter().filter(|unit| seen.insert(*unit)).collect();
    let service = ServiceFile {
        version: VERSION,
        topology: topology.clone(),
        mounts: mounts.clone(),
        before: before.join(" "),
        // The interfaces may not be there yet. systemd-sysctl goes on without them, and udev does the rest.
        exec_start: if by_sysctl {
            format!("{} /{SYSCTL}", options.systemd_sysctl)
        } else {
            exec_apply.clone()
        },
        hardening: HARDENING,
        require_for: options.require_for.iter().map(UnitName::as_str).collect(),
    };
    let unit_path = |unit: &str| format!("{UNITS}/{unit}");
    entries.push(file(&unit_path(UNIT), service.render()? + "\n", "applies it before the network is up"));
    if options.watch {
        let exec_watch = format!("{exec} watch {topology}");
        let watch = WatchFile { version: VERSION, topology, mounts, exec_watch, hardening: HARDENING };
        entries.push(file(&unit_path(WATCH_UNIT), watch.render()? + "\n", "repairs what others change"));
    }
    if !by_sysctl {
        let drop_in = DropInFile { version: VERSION, exec_apply };
        let path = unit_path("nftables.service.d/50-isoplan.conf");
        entries.push(file(
            &path,
            drop_in.render()? + "\n",
            "applies it again whenever nftables.service flushes",
        ));
    }
    let link = |path: String, unit: &str, why| Entry {
        path,
        content: Content::Link { target: format!("/{}", unit_path(unit)) },
        why,
    };
    for unit in &options.require_for {
        let path = unit_path(&format!("{}.requires/{UNIT}", unit.as_str()));
        entries.push(link(path, UNIT, "keeps that unit from starting without it"));
    }
    entries.push(link(unit_path(&format!("sysinit.target.wants/{UNIT}")), UNIT, "enables it"));
    if options.watch {
        entries.push(link(
            unit_path(&format!("multi-user.target.wants/{WATCH_UNIT}")),
            WATCH_UNIT,
            "enables it",
        ));
    }
    Ok(entries)
}

/// What to do where systemd does not run, for somebody to read. `source` is the file as it was typed.
///
/// # Errors
///
/// None that input can bring about.
pub fn by_hand(exec: &ExecPath, source: &str) -> Result<String, askama::Error> {
    Ok(ByHand { exec: exec.as_str(), topology: TOPOLOGY, source }.render()? + "\n")
}

#[cfg(test)]
mod tests;
