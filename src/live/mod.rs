//! The live state of this host, in the planner's own types.

mod evidence;
mod facts;
mod host;
mod neighbours;
mod processes;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io;
use std::net::IpAddr;
use std::path::PathBuf;

use crate::approach::SysctlKey;
use crate::diff::{Journaled, LiveState};
use crate::flows::keep::Kept;
use crate::netlink::{self, Known, Nftables, Steady};
use crate::ruleset::TABLE_NAME;

pub use evidence::evidence;
pub use facts::facts;
pub use host::{flows, host};

/// Why the live state could not be read.
#[derive(Debug)]
#[non_exhaustive]
pub enum Error {
    /// The rule set.
    Ruleset(netlink::Error),
    /// A sysctl.
    Sysctl {
        /// Which.
        key: SysctlKey,
        /// Why.
        source: io::Error,
    },
}

impl std::fmt::Display for Error {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Ruleset(_) => f.write_str("cannot read the live rule set"),
            Self::Sysctl { key, .. } => write!(f, "cannot read sysctl `{key}`"),
        }
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Ruleset(source) => Some(source),
            Self::Sysctl { source, .. } => Some(source),
        }
    }
}

/// Reads the tables named isoplan, the sysctls of a plan and those in the journal, and the links, of
/// the network namespace that the calling thread is in. What is kept open is in the state directory, and left out.
///
/// # Errors
///
/// When the kernel refuses one of them. A sysctl that does not exist is not an error.
pub fn read(
    nftables: &mut Nftables,
    keys: impl IntoIterator<Item = SysctlKey>,
    journal: Vec<Journaled>,
) -> Result<LiveState, Error> {
    read_knowing(nftables, keys, journal, &mut ()).map(|(live, _)| live)
}

/// The same without asking for elements that are known; hands back as well which sets are steady.
///
/// # Errors
///
/// When the kernel refuses one of them. A sysctl that does not exist is not an error.
pub fn read_knowing(
    nftables: &mut Nftables,
    keys: impl IntoIterator<Item = SysctlKey>,
    journal: Vec<Journaled>,
    known: &mut dyn Known,
) -> Result<(LiveState, Steady), Error> {
    let snapshot = nftables.read_tables_knowing(TABLE_NAME, known).map_err(Error::Ruleset)?;
    let sysctls = sysctls(keys, &journal)?;
    let (links, addresses) = links_and_addresses();
    let live = LiveState {
        ruleset: snapshot.tables,
        generation: snapshot.generation,
        sysctls,
        journal,
        links,
        addresses,
        kept: Kept::default(),
    };
    Ok((live, snapshot.steady))
}

/// The values of sysctls, those in the journal among them. One that does not exist is left out.
///
/// # Errors
///
/// When one exists and cannot be read.
pub fn sysctls(
    keys: impl IntoIterator<Item = SysctlKey>,
    journal: &[Journaled],
) -> Result<BTreeMap<SysctlKey, String>, Error> {
    let keys: BTreeSet<SysctlKey> =
        keys.into_iter().chain(journal.iter().map(|entry| entry.key.clone())).collect();
    let mut sysctls = BTreeMap::new();
    for key in keys {
        if let Some(value) = sysctl(&key)? {
            sysctls.insert(key, value);
        }
    }
    Ok(sysctls)
}

/// The file of a sysctl. `/proc/sys/net` follows the calling thread's network namespace.
pub fn sysctl_path(key: &SysctlKey) -> PathBuf {
    PathBuf::from("/proc/sys").join(&key.0)
}

/// The value of a sysctl, without the newline; `None` where there is no such key.
///
/// # Errors
///
/// When it exists and cannot be read.
pub fn sysctl(key: &SysctlKey) -> Result<Option<String>, Error> {
    match fs::read_to_string(sysctl_path(key)) {
        Ok(value) => Ok(Some(value.trim_end().to_owned())),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(source) => Err(Error::Sysctl { key: key.clone(), source }),
    }
}

/// Every sysctl that a plan for any topology could ask for, of the links that there are.
pub fn every_key() -> Vec<SysctlKey> {
    let interfaces = [SysctlKey::IP_FORWARD, SysctlKey::IPV6_FORWARD].map(SysctlKey::interfaces);
    let links = interfaces.into_iter().flat_map(|directory| {
        let links = fs::read_dir(PathBuf::from("/proc/sys").join(directory)).into_iter().flatten().flatten();
        links.filter_map(move |link| Some(format!("{directory}/{}/forwarding", link.file_name().to_str()?)))
    });
    let switches = [SysctlKey::IP_FORWARD, SysctlKey::IPV6_FORWARD, SysctlKey::REDIRECTS];
    links.chain(switches.map(str::to_owned)).map(SysctlKey).collect()
}

/// Keys that are not what the switch made of them, with their values: writing the switch would lose them. Those that vanish meanwhile, or cannot be read, are left out.
pub fn deviating(switch: &str, value: &str) -> Vec<(SysctlKey, String)> {
    let directory = SysctlKey::interfaces(switch);
    let links = fs::read_dir(PathBuf::from("/proc/sys").join(directory)).into_iter().flatten().flatten();
    links
        .filter_map(|link| Some(format!("{directory}/{}/forwarding", link.file_name().to_str()?)))
        .chain([SysctlKey::REDIRECTS.to_owned()])
        .map(SysctlKey)
        .filter(|key| key.switch() == Some(switch))
        .filter_map(|key| sysctl(&key).ok().flatten().map(|now| (key, now)))
        .filter(|(key, now)| now != key.after_switch(value != "0"))
        .collect()
}

/// The names of all links, and this host's own addresses by link but for loopback and link-local ones. No names and
/// no addresses where they cannot be read: only remarks depend on them.
pub(crate) fn links_and_addresses() -> (Option<BTreeSet<String>>, BTreeMap<String, BTreeSet<IpAddr>>) {
    let Ok((links, all)) = netlink::links_and_addresses() else { return Default::default() };
    let names: BTreeMap<u32, &str> = links.iter().map(|link| (link.index, link.name.as_str())).collect();
    let on_link_only = |address: IpAddr| match address {
        IpAddr::V4(address) => address.is_link_local() || address.is_loopback(),
        IpAddr::V6(address) => address.is_unicast_link_local() || address.is_loopback(),
    };
    let mut addresses: BTreeMap<String, BTreeSet<IpAddr>> = BTreeMap::new();
    for found in all.iter().filter(|found| !on_link_only(found.address.addr())) {
        // A link that came since the links were read has no name yet.
        if let Some(name) = names.get(&found.link) {
            addresses.entry((*name).to_owned()).or_default().insert(found.address.addr());
        }
    }
    (Some(links.into_iter().map(|link| link.name).collect()), addresses)
}
