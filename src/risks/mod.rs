//! Residual risks: what goes around the rules of isoplan on this host now, or may take them away.
//!
//! Pure functions from what is meant ([`Intent`]) and what was found ([`Facts`]). What a risk is called does not
//! change; `docs/operate.md` has a row for each.

mod facts;
mod guess;
mod links;
mod others;

pub use facts::{
    Elsewhere, Facts, Filter, FilterAction, Flowtable, ForeignTable, Function, LinkElsewhere, Process, Relay,
    Services,
};
pub use guess::{Guess, LastChange, LastEnd, guesses};

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::Serialize;

use crate::host::Link;
use crate::intent::{Guard, Intent};

/// How much a risk matters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// Packets go around the rules.
    High,
    /// They can, or the rules may be taken away.
    Medium,
    /// Good to know.
    Low,
}

impl Severity {
    /// The word.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::High => "high",
            Self::Medium => "medium",
            Self::Low => "low",
        }
    }
}

macro_rules! names {
    ($($(#[$doc:meta])* $name:ident = $word:literal, $why:literal, $todo:literal;)*) => {
        /// What a risk is called.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
        pub enum Name {
            $($(#[$doc])* $name,)*
        }

        impl Name {
            /// Every one.
            pub const ALL: &[Self] = &[$(Self::$name,)*];

            /// The word, which stays the same.
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$name => $word,)* }
            }

            /// Why rules do not see it, in a sentence.
            pub const fn why(self) -> &'static str {
                match self { $(Self::$name => $why,)* }
            }

            /// What to do about it, in a sentence.
            pub const fn what_to_do(self) -> &'static str {
                match self { $(Self::$name => $todo,)* }
            }
        }
    };
}

names! {
    /// A macvlan, macvtap, ipvlan or ipvtap above a guarded NIC.
    StackedOnGuardedNic = "stacked-on-guarded-nic",
        "Its packets go out by the NIC below the hooks of this host.",
        "Take it away, or put it on a NIC that may be reached; a firewall on the guarded network has to do the rest.";
    /// A guarded NIC is in a bridge that the file does not know.
    GuardedNicInBridge = "guarded-nic-in-bridge",
        "Frames between the ports of a bridge are not routed, so that no rule of the forward hook sees them.",
        "Take the NIC out of the bridge, or say it in the file with a [[flat]].";
    /// A NIC of the file is in another namespace.
    NicElsewhere = "nic-elsewhere",
        "The rules of this namespace hold for this namespace alone.",
        "Give the NIC back, or guard the namespace that it is in.";
    /// A virtual function of a guarded NIC is somewhere else.
    FunctionElsewhere = "function-elsewhere",
        "A virtual function sends by the wire of the NIC and not through this host's network stack.",
        "Take it away from whoever has it, or filter on the switch.";
    /// A container uses the network of the host.
    ContainerOnHostNetwork = "container-on-host-network",
        "To the kernel it is the host itself, which may send by every NIC.",
        "Run it on a bridge of its own.";
    /// A program of an engine that hands on to containers what comes to this host.
    RelayOnHost = "relay-on-host",
        "Where no DNAT rule catches a connection the program takes it, and its own connection to the container is the host's.",
        "Set userland-proxy to false in /etc/docker/daemon.json, or publish at an address: -p 192.0.2.1:8080:80.";
    /// Tables of xtables-legacy.
    LegacyTables = "legacy-tables",
        "nft does not list them; their drops and rewrites come on top of isoplan's, which hold whatever they accept.",
        "Look at them with iptables-legacy-save, and move whoever wrote them to iptables-nft.";
    /// A per-interface `forwarding` that is configured off is on.
    ForwardingReset = "forwarding-reset",
        "A write to conf/all/forwarding or ip_forward sets the key of every interface; it is no rule and gates no IPv6.",
        "Write it again after forwarding is switched on, and do not rely on it: the drops of approach nftables do not.";
    /// A bridge that no entry of the file names.
    UnknownBridge = "unknown-bridge",
        "The rules keep it out of guarded NICs; between it and NICs that every network reaches they decide nothing.",
        "Add a [[bridge]] for it to the file: `isoplan discover` drafts one.";
    /// An entry of the file names what is not here.
    AbsentInterface = "absent-interface",
        "Rules go by name: what goes by another name on this host is not closed by them.",
        "Compare the name with `ip link`; where the interface comes later, leave the file as it is.";
    /// A link with an address that no entry of the file names.
    UnknownLink = "unknown-link",
        "The networks of the file do not reach what is behind it; whether others do is decided by no rule of it.",
        "Add a [[nic]] for it to the file: `isoplan discover` drafts one.";
    /// A network on a guarded NIC that the file does not list.
    UnlistedSubnet = "unlisted-subnet",
        "By its link it is guarded; by its prefix it is not: by another route, or at this host's own address there, it is open.",
        "Add it to the subnets of the NIC in the file.";
    /// A filter of tc that redirects or copies packets.
    TcRedirect = "tc-redirect",
        "tc redirects packets before netfilter sees them on their way in, and after it on their way out.",
        "Take the filter away (tc filter del), or keep guarded NICs out of it.";
    /// An eBPF program of tc.
    TcProgram = "tc-program",
        "A program can redirect packets past netfilter, and what it does cannot be read from outside.",
        "Ask whoever loaded it (bpftool prog show) whether it redirects.";
    /// An XDP program.
    XdpProgram = "xdp-program",
        "A program at the driver can send packets on before the network stack sees them.",
        "Ask whoever loaded it (bpftool net show) whether it redirects.";
    /// A flowtable.
    Flowtable = "flowtable",
        "A flow that it has taken over does not pass the forward hook any more, so that a new drop does not end it.",
        "Take guarded NICs and the bridges of containers out of its devices.";
    /// A rule set file with `flush ruleset` is loaded at boot and on reload.
    FlushRuleset = "flush-ruleset",
        "`flush ruleset` takes away the tables of everybody, isoplan's among them.",
        "Have isoplan re-applied behind it (isoplan install), or replace that line by deletions of its own tables.";
    /// firewalld runs and empties the rules of others.
    Firewalld = "firewalld-flush",
        "It leaves tables named isoplan alone; on reload it can empty the rules of Docker and Podman.",
        "Set FlushAllOnReload=no in firewalld.conf, or restart the engine after each reload.";
    /// ufw is enabled.
    Ufw = "ufw-flush",
        "It leaves tables named isoplan alone; its own rules on a guarded NIC do not stop what is forwarded to it.",
        "Leave MANAGE_BUILTINS=no in /etc/default/ufw, and do not take `ufw deny out` for isolation.";
    /// Frames within a bridge pass the rules, and wildcards cannot tell that they are within one.
    BridgeNfCall = "bridge-nf-call",
        "bridge-nf-call sends frames within one bridge through the forward hook, where S4 drops those of a wildcard without a route.",
        "Give the bridge an address, or name it in the file without a wildcard.";
    /// `isoplan install` did not come to its end.
    UnfinishedInstall = "unfinished-install",
        "Until it is finished, the isolation may not be there after the next boot.",
        "Run isoplan install again, or isoplan uninstall.";
}

impl JsonSchema for Name {
    fn schema_name() -> Cow<'static, str> {
        "RiskName".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        let words: Vec<&str> = Self::ALL.iter().map(|name| name.as_str()).collect();
        json_schema!({"description": "What a risk is called.", "type": "string", "enum": words})
    }
}

impl Serialize for Name {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

/// One risk.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Risk {
    /// How much it matters.
    pub severity: Severity,
    /// What it is called.
    pub name: Name,
    /// The link, process, table or file that it is about: with the name it tells one from another.
    pub subject: String,
    /// What was found, in a sentence.
    pub evidence: String,
}

/// Every risk that the facts tell of, the worst first.
pub fn risks(intent: &Intent<'_>, facts: &Facts) -> Vec<Risk> {
    let scene = Scene::new(intent, facts);
    let mut risks = Vec::new();
    links::find(&scene, &mut risks);
    others::find(&scene, &mut risks);
    risks.sort();
    risks.dedup();
    risks
}

/// What finders ask for.
struct Scene<'s, 't> {
    intent: &'s Intent<'t>,
    facts: &'s Facts,
    /// NICs that somebody in the file may not reach, by the name of their link: the role.
    guarded: BTreeMap<&'s str, &'s str>,
    /// Exact names of the networks of the file.
    networks: BTreeSet<&'s str>,
    /// What the names of networks begin with, where the file has a wildcard.
    prefixes: Vec<&'s str>,
}

impl<'s, 't> Scene<'s, 't> {
    fn new(intent: &'s Intent<'t>, facts: &'s Facts) -> Self {
        let nics = intent.topology.nics.iter().zip(&intent.guards);
        let guarded = nics
            .filter(|(_, guard)| **guard != Guard::None)
            .map(|(nic, _)| (nic.name.as_str(), nic.role.0.as_str()))
            .collect();
        let names = || intent.topology.networks.iter().map(|network| &network.name);
        let networks = names().filter(|name| !name.is_prefix()).map(|name| name.stem()).collect();
        let prefixes = names().filter(|name| name.is_prefix()).map(|name| name.stem()).collect();
        Self { intent, facts, guarded, networks, prefixes }
    }

    /// The role of a guarded NIC, by the name of its link.
    fn role(&self, link: &str) -> Option<&'s str> {
        self.guarded.get(link).copied()
    }

    fn link(&self, index: u32) -> Option<&'s Link> {
        self.facts.host.links.get(&index)
    }

    fn is_network(&self, link: &str) -> bool {
        self.networks.contains(link) || self.prefixes.iter().any(|prefix| link.starts_with(prefix))
    }

    fn is_flat(&self, link: &str) -> bool {
        self.intent.topology.flats.iter().any(|flat| flat.name.as_str() == link)
    }
}

/// `eth1 (storage)`.
fn named(link: &str, role: &str) -> String {
    format!("{link} ({role})")
}

/// The first few of a list, and how many more there are.
fn few<'a>(names: impl IntoIterator<Item = &'a str>) -> String {
    const SHOWN: usize = 4;
    let names: Vec<_> = names.into_iter().collect();
    let shown = names.iter().take(SHOWN).copied().collect::<Vec<_>>().join(", ");
    match names.len().saturating_sub(SHOWN) {
        0 => shown,
        more => format!("{shown} and {more} more"),
    }
}
