//! Those who are measured: what each has in the host's namespace besides forwarding.

use std::fmt::Write as _;

use super::super::super::Result;
use super::super::super::lab::node::Node;
use super::super::super::measure::Bench;
use super::super::super::rivals::{self, Family};
use super::super::super::sizes;
use super::feed;

/// Who forwards.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Contender {
    /// Forwarding only: no rule, so no hook and no conntrack.
    Bare,
    /// Conntrack and one rule that masquerades, by nft.
    Masquerade,
    /// `isoplan apply`.
    Isoplan,
    /// What dockerd writes for each network, and its operator's rules against the guarded NICs.
    Docker,
    /// A rule for each network and guarded NIC in one chain, as it is written by hand, and one that masquerades.
    Linear,
    /// [`Self::Masquerade`] once more: how far two who do the same are apart.
    Control,
    /// A file for `nft -f`.
    File(&'static str),
}

impl Contender {
    pub(super) const ALL: [Self; 6] =
        [Self::Bare, Self::Masquerade, Self::Isoplan, Self::Docker, Self::Linear, Self::Control];

    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Bare => "bare",
            Self::Masquerade => "masquerade",
            Self::Isoplan => "isoplan",
            Self::Docker => "docker",
            Self::Linear => "linear",
            Self::Control => "masquerade again",
            Self::File(path) => path,
        }
    }

    /// Whether what containers send leaves with the host's address.
    pub(super) const fn translates(self) -> bool {
        !matches!(self, Self::Bare)
    }

    /// Whether containers are kept from the storage network, as far as that is known.
    pub(super) const fn isolates(self) -> Option<bool> {
        match self {
            Self::Bare | Self::Masquerade | Self::Control => Some(false),
            Self::Isoplan | Self::Docker | Self::Linear => Some(true),
            Self::File(_) => None,
        }
    }

    /// Puts its rules into the host's namespace, for that many networks.
    pub(super) fn set_up(self, bench: &Bench, host: &Node, networks: usize) -> Result<()> {
        host.sysctl("net/ipv4/ip_forward", "1")?;
        match self {
            Self::Bare => {}
            Self::Masquerade | Self::Control => host.nft_load(&masquerade())?,
            Self::Isoplan => apply(bench, host, networks)?,
            Self::Docker => feed(host, "iptables-restore", &[], rivals::docker(networks, Family::V4).text())?,
            Self::File(path) => feed(host, "nft", &["-f", "-"], &std::fs::read_to_string(path)?)?,
            Self::Linear => feed(host, "iptables-restore", &[], &linear(networks))?,
        }
        Ok(())
    }
}

/// All container networks of [`sizes::topology`] are below this.
const ALL_NETWORKS: &str = "10.0.0.0/8";

fn masquerade() -> String {
    format!(
        "table ip translation {{ chain postrouting {{ type nat hook postrouting priority srcnat;\n\
         ip saddr {ALL_NETWORKS} oifname \"eth0\" masquerade\n}}\n}}\n"
    )
}

fn apply(bench: &Bench, host: &Node, networks: usize) -> Result<()> {
    let isoplan = bench.isoplan()?;
    isoplan.write("topology.toml", &sizes::topology(networks))?;
    let ran = host.enter(|| isoplan.run(&["apply", "--yes", "topology.toml"]));
    if ran.code == Some(0) { Ok(()) } else { Err(ran.to_string().into()) }
}

fn linear(networks: usize) -> String {
    let mut text = String::from("*filter\n:FORWARD ACCEPT [0:0]\n");
    for number in 0..networks {
        for nic in ["eth1", "eth2"] {
            writeln!(text, "-A FORWARD -i br-{number:05} -o {nic} -j DROP").expect("write to a string");
        }
    }
    text.push_str("COMMIT\n*nat\n:POSTROUTING ACCEPT [0:0]\n");
    writeln!(text, "-A POSTROUTING -s {ALL_NETWORKS} -o eth0 -j MASQUERADE\nCOMMIT")
        .expect("write to a string");
    text
}
