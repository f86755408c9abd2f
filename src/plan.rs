//! A plan: what a topology means, and the changes that make this host agree with it.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::Serialize;

use crate::approach::{Approach, Desired, SysctlKey, desired, keep};
use crate::diff::{Action, Diff, LiveState, diff};
use crate::flows::keep::Kept;
use crate::flows::{Cuts, CutsJson};
use crate::intent::Intent;
use crate::topology::{EntryId, Network, NetworkKind, Topology};

/// The changes for one topology on one host.
#[derive(Debug, Clone)]
pub struct Plan<'t> {
    /// Whose.
    pub topology: &'t Topology,
    /// What it means.
    pub intent: Intent<'t>,
    /// What should be there.
    pub desired: Desired,
    /// What is to be done.
    pub diff: Diff,
    /// The ruleset generation that the changes were worked out against.
    pub generation: u32,
    /// Interfaces of the topology that the host does not have now. Rules go by name and hold as soon as
    /// they appear.
    pub absent: Vec<String>,
    /// This host's addresses on links of the file that are in no subnet of it, so that no rule closes them.
    pub uncovered: Vec<String>,
    /// Links of this host that have an address and are not in the file.
    pub unknown: Vec<String>,
    /// Connections that were open before and stay open by rules of their own.
    pub kept: Kept,
    /// Open connections that the changes cut, or with rules of their own keep; an error where they could not be
    /// looked at. None where nobody looked.
    pub open: Option<Result<Cuts, String>>,
}

impl<'t> Plan<'t> {
    /// Works out the changes. What an earlier apply kept open stays so.
    pub fn new(topology: &'t Topology, live: &LiveState) -> Self {
        Self::with_kept(topology, live, Kept::in_place(live))
    }

    /// Works out the changes, with these connections kept open and no other. An approach without rules keeps none.
    pub fn with_kept(topology: &'t Topology, live: &LiveState, kept: Kept) -> Self {
        let intent = Intent::new(topology);
        let mut desired = desired(&intent);
        let kept = if desired.approach == Approach::Nftables { kept } else { Kept::default() };
        keep(&mut desired, &kept);
        let diff = diff(&desired, live);
        let Surroundings { absent, uncovered, unknown } = Surroundings::new(&intent, live);
        let generation = live.generation;
        Self { topology, intent, desired, diff, generation, absent, uncovered, unknown, kept, open: None }
    }

    /// How many connections are kept open.
    pub fn kept_connections(&self) -> usize {
        self.kept.connections()
    }

    /// What becomes of open connections.
    fn open_connections(&self) -> Vec<String> {
        let mut told = Vec::new();
        let kept = self.kept_connections();
        let plural = if kept == 1 { "" } else { "s" };
        let is_are = if kept == 1 { "is" } else { "are" };
        match &self.open {
            Some(Ok(cuts)) if kept > 0 && cuts.connections() > 0 => {
                told.extend(cuts.text("Would cut"));
                told.push(format!(
                    "{kept} of them {is_are} kept: who is in stays in until the connection ends, however long that \
                     is. `isoplan apply` without --keep-established ends what is kept."
                ));
                return told;
            }
            Some(Ok(cuts)) => told.extend(cuts.text("Cuts")),
            Some(Err(why)) => {
                told.push(format!(
                    "Open connections could not be looked at, so what this cuts is not known: {why}."
                ));
            }
            None => {}
        }
        if kept > 0 {
            told.push(format!(
                "{kept} connection{plural} that {was} open before {is_are} kept until {they} end{s}; `isoplan apply` \
                 without --keep-established ends what is kept.",
                was = if kept == 1 { "was" } else { "were" },
                they = if kept == 1 { "it" } else { "they" },
                s = if kept == 1 { "s" } else { "" },
            ));
        }
        told
    }
}

/// What a topology and a host do not have in common: for remarks, not for changes.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Surroundings {
    /// As [`Plan::absent`].
    pub absent: Vec<String>,
    /// As [`Plan::uncovered`].
    pub uncovered: Vec<String>,
    /// As [`Plan::unknown`].
    pub unknown: Vec<String>,
}

impl Surroundings {
    /// Works them out; of the live state only links and addresses matter.
    pub fn new(intent: &Intent<'_>, live: &LiveState) -> Self {
        let (uncovered, unknown) = beside(intent, live);
        Self { absent: absent(intent.topology, live), uncovered, unknown }
    }
}

fn absent(topology: &Topology, live: &LiveState) -> Vec<String> {
    let Some(links) = &live.links else { return Vec::new() };
    let networks = topology.networks.iter().map(|net| (net.name.to_string(), net.name.is_prefix()));
    let nics = topology.nics.iter().map(|nic| (nic.name.to_string(), false));
    let flats = topology.flats.iter().map(|flat| (flat.name.to_string(), false));
    networks
        .chain(nics)
        .chain(flats)
        .filter(|(name, prefix)| {
            let stem = name.trim_end_matches('*');
            if *prefix { !links.iter().any(|link| link.starts_with(stem)) } else { !links.contains(stem) }
        })
        .map(|(name, _)| name)
        .collect()
}

/// Addresses of this host on closed links that are in no subnet of the file, and links that are not in it.
fn beside(intent: &Intent<'_>, live: &LiveState) -> (Vec<String>, Vec<String>) {
    let topology = intent.topology;
    let nics: BTreeMap<&str, usize> =
        (0..topology.nics.len()).flat_map(|nic| intent.links_of(nic).map(move |link| (link, nic))).collect();
    let exact: BTreeMap<&str, &Network> = topology
        .networks
        .iter()
        .filter(|net| !net.name.is_prefix())
        .map(|net| (net.name.stem(), net))
        .collect();
    let prefixes: Vec<&Network> = topology.networks.iter().filter(|net| net.name.is_prefix()).collect();
    let (mut uncovered, mut unknown) = (Vec::new(), Vec::new());
    for (link, addresses) in &live.addresses {
        let network = exact.get(link.as_str()).copied();
        let network =
            network.or_else(|| prefixes.iter().copied().find(|net| link.starts_with(net.name.stem())));
        let subnets = match (nics.get(link.as_str()), network) {
            (Some(nic), _) => match &topology.nics[*nic].subnets {
                // Open to everyone, or the only one: nothing is to be closed to others.
                subnets if subnets.is_empty() || topology.nics.len() == 1 => continue,
                subnets => subnets,
            },
            (None, Some(network)) => &network.subnets,
            (None, None) if link == "lo" => &Vec::new(),
            (None, None) => {
                unknown.push(link.clone());
                continue;
            }
        };
        let outside = addresses.iter().filter(|address| !subnets.iter().any(|net| net.contains(*address)));
        uncovered.extend(outside.map(|address| format!("{address} on {link}")));
    }
    (uncovered, unknown)
}

/// The version of the JSON below; it changes when a field changes its meaning or goes away.
pub const JSON_VERSION: u32 = 1;

/// A plan as JSON: `docs/json.md`.
#[derive(Debug, Serialize, JsonSchema)]
pub struct PlanJson<'p> {
    /// [`JSON_VERSION`].
    pub version: u32,
    /// `plan`.
    pub kind: &'static str,
    /// The file.
    pub topology: &'p str,
    /// The approach.
    #[schemars(extend("enum" = ["nftables", "sysctl"]))]
    pub approach: &'static str,
    /// Whether anything differs.
    pub differs: bool,
    /// The ruleset generation of the host.
    pub generation: u32,
    /// How many of each.
    pub summary: Summary,
    /// One by one.
    pub changes: Vec<ChangeJson<'p>>,
    /// Sysctls that should have a value and do not exist on this host.
    pub missing_sysctls: Vec<&'p str>,
    /// Interfaces that the host does not have now.
    pub absent_interfaces: &'p [String],
    /// Links of the host that have an address and are not in the file.
    pub unknown_interfaces: &'p [String],
    /// Addresses of the host on closed links that are in no subnet of the file.
    pub uncovered_addresses: &'p [String],
    /// What the approach does not stop.
    pub not_covered: &'p [&'static str],
    /// Open connections that the changes cut, or that are kept instead; absent where nobody looked.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cuts: Option<CutsJson>,
    /// Why open connections could not be looked at.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cuts_unseen: Option<&'p str>,
    /// How many connections are kept open by rules of their own.
    pub kept_connections: usize,
}

/// Numbers of changes.
#[derive(Debug, Serialize, JsonSchema)]
pub struct Summary {
    /// To create.
    pub create: usize,
    /// To change.
    pub change: usize,
    /// To delete.
    pub delete: usize,
    /// Objects that the desired state has in all.
    pub objects: usize,
}

/// One change.
#[derive(Debug, Serialize, JsonSchema)]
pub struct ChangeJson<'p> {
    /// `create`, `change` or `delete`.
    #[schemars(extend("enum" = Action::WORDS))]
    pub action: &'static str,
    /// `table`, `set`, `element`, `chain`, `rule` or `sysctl`.
    #[schemars(extend("enum" = crate::diff::Kind::WORDS))]
    pub kind: &'static str,
    /// `inet isoplan`; absent for a sysctl.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub table: Option<String>,
    /// The set, chain or sysctl that it is, or is in.
    pub name: &'p str,
    /// The id of a rule.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rule: Option<&'p str>,
    /// What there is now.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub old: Option<&'p str>,
    /// What there will be.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub new: Option<&'p str>,
    /// Why.
    pub why: &'p str,
    /// The topology entries that it comes from.
    pub from: Vec<OriginJson>,
}

/// A topology entry.
#[derive(Debug, Serialize, JsonSchema)]
pub struct OriginJson {
    /// `nic eth1`.
    pub entry: String,
    /// From 1; absent for what the file leaves to its default.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub line: Option<u32>,
}

/// The changes of a diff, whose origins are entries of that topology.
pub fn changes_json<'p>(topology: &Topology, diff: &'p Diff) -> Vec<ChangeJson<'p>> {
    let origin = |id: EntryId| {
        let entry = topology.entry(id);
        OriginJson { entry: entry.to_string(), line: (entry.line > 0).then_some(entry.line) }
    };
    diff.changes
        .iter()
        .map(|change| ChangeJson {
            action: change.action.as_str(),
            kind: change.kind.as_str(),
            table: change.family.map(|family| format!("{family} {}", crate::ruleset::TABLE_NAME)),
            name: &change.name,
            rule: change.rule.as_ref().map(|id| id.0.as_str()),
            old: change.old.as_deref(),
            new: change.new.as_deref(),
            why: &change.why,
            from: change.origins().iter().map(|id| origin(*id)).collect(),
        })
        .collect()
}

/// The first few of a list, and how many more there are.
fn first(names: &[String]) -> String {
    const SHOWN: usize = 6;
    let more = names.len().saturating_sub(SHOWN);
    let shown = names[..names.len() - more].join(", ");
    if more == 0 { shown } else { format!("{shown} and {more} more") }
}

impl Plan<'_> {
    /// The documented JSON form.
    pub fn json(&self) -> PlanJson<'_> {
        PlanJson {
            version: JSON_VERSION,
            kind: "plan",
            topology: &self.topology.file,
            approach: self.desired.approach.as_str(),
            differs: !self.diff.is_empty(),
            generation: self.generation,
            summary: Summary {
                create: self.diff.count(Action::Create),
                change: self.diff.count(Action::Change),
                delete: self.diff.count(Action::Delete),
                objects: self.diff.objects,
            },
            changes: changes_json(self.topology, &self.diff),
            missing_sysctls: self.diff.missing.iter().map(|sysctl| sysctl.key.0.as_str()).collect(),
            absent_interfaces: &self.absent,
            unknown_interfaces: &self.unknown,
            uncovered_addresses: &self.uncovered,
            not_covered: &self.desired.not_covered,
            cuts: self.open.as_ref().and_then(|open| open.as_ref().ok()).map(Cuts::json),
            cuts_unseen: self.open.as_ref().and_then(|open| open.as_ref().err()).map(String::as_str),
            kept_connections: self.kept_connections(),
        }
    }

    /// What this host has and the file does not tell of.
    fn beside_the_file(&self) -> impl Iterator<Item = String> {
        let uncovered = (!self.uncovered.is_empty()).then(|| {
            format!(
                "In no subnet of the file, so that no rule closes them to others: {}.",
                first(&self.uncovered)
            )
        });
        let unknown = (!self.unknown.is_empty()).then(|| {
            format!(
                "On this host and not in the file: {}. The networks of the file do not reach what is behind them.",
                first(&self.unknown)
            )
        });
        uncovered.into_iter().chain(unknown)
    }

    /// Remarks that a reader should see besides the changes.
    pub fn remarks(&self) -> Vec<String> {
        let mut remarks = self.open_connections();
        let of_the_file = self.topology.remarks();
        remarks.extend(
            of_the_file.into_iter().map(|remark| format!("Line {}: {}", remark.line, remark.message)),
        );
        if !self.absent.is_empty() {
            let names = first(&self.absent);
            let rules = match self.desired.approach {
                Approach::Nftables => " Rules go by name and hold as soon as there is one.",
                _ => "",
            };
            remarks.push(format!("Not on this host now: {names}.{rules}"));
        }
        for sysctl in &self.diff.missing {
            remarks.push(format!("{} does not exist here, so it cannot be {}.", sysctl.key, sysctl.value));
        }
        let ipv6 =
            |write: &crate::diff::SysctlWrite| write.key.0 == SysctlKey::IPV6_FORWARD && write.new != "0";
        if self.diff.sysctls.iter().any(ipv6) {
            remarks.push(
                "With IPv6 forwarding on, the kernel ignores router advertisements where accept_ra is 1: set it to 2 \
                 first on a NIC that has its address or route from them."
                    .to_owned(),
            );
        }
        if self.desired.approach == Approach::Nftables {
            remarks.extend(self.beside_the_file());
        }
        if !self.topology.flats.is_empty() {
            remarks.push(
                "Flat instances are bridged, not routed: table bridge isoplan guards their frames."
                    .to_owned(),
            );
        }
        if self.topology.networks.iter().any(|net| matches!(net.kind, NetworkKind::Overlay { .. })) {
            remarks
                .push("Encapsulated packets of overlays are taken from the underlay NIC alone.".to_owned());
        }
        remarks
    }
}
