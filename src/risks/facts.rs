//! What residual risks are found in: values, read by [`crate::live`].

use std::collections::BTreeMap;

use crate::host::Host;
use crate::ruleset::{Family, Policy};

/// What there is on a host besides links, addresses and routes, as far as it can go around the rules of
/// isoplan, or take them away.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Facts {
    /// Links, addresses, routes.
    pub host: Host,
    /// Other network namespaces that could be looked into.
    pub elsewhere: Vec<Elsewhere>,
    /// Virtual functions of a NIC that are not in this namespace, by the name of the NIC.
    pub functions: Vec<Function>,
    /// Processes of containers in this network namespace: one for each container.
    pub on_host_network: Vec<Process>,
    /// Programs of engines that listen for containers.
    pub relays: Vec<Relay>,
    /// Filters of tc that do something with a packet that a rule does not see.
    pub filters: Vec<Filter>,
    /// The tables that are not isoplan's.
    pub tables: Vec<ForeignTable>,
    /// Flowtables of any table.
    pub flowtables: Vec<Flowtable>,
    /// The names in `/proc/net/ip_tables_names` and `ip6_tables_names`, by file.
    pub legacy: BTreeMap<&'static str, Vec<String>>,
    /// Sysctls by path below `/proc/sys`: `forwarding` and `accept_ra` of the NICs, bridge-nf-call.
    pub sysctls: BTreeMap<String, String>,
    /// What the files of sysctl.d(5) ask for, of the same keys: the value and the file.
    pub configured: BTreeMap<String, (String, String)>,
    /// Services that empty rule sets.
    pub services: Services,
    /// A line about an `isoplan install` that did not come to its end.
    pub unfinished_install: Option<String>,
    /// What could not be looked at, a line each.
    pub unseen: Vec<String>,
}

/// Another network namespace.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Elsewhere {
    /// Who is in it: `process 4711 (nginx)`, `namespace web`.
    pub who: String,
    /// Its links.
    pub links: Vec<LinkElsewhere>,
}

/// A link of another namespace.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LinkElsewhere {
    /// Its name there.
    pub name: String,
    /// `IFLA_INFO_KIND`.
    pub kind: Option<String>,
    /// The number of the link of this namespace that is below it, or is its peer.
    pub lower_here: Option<u32>,
}

/// A virtual function of a NIC (SR-IOV).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Function {
    /// The NIC.
    pub nic: String,
    /// Its number.
    pub number: u32,
    /// The driver that it is bound to, where there is one: `vfio-pci` for one that a virtual machine has.
    pub driver: Option<String>,
}

/// A process.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Process {
    /// Its number.
    pub pid: u32,
    /// Its name (`comm`).
    pub name: String,
    /// The container, as its cgroup names it; `None` where only its namespaces tell that it is in one.
    pub container: Option<String>,
}

/// A program of an engine that listens on this host and hands on to a container what comes.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Relay {
    /// Its name (`comm`).
    pub name: String,
    /// The address that it listens on, as it was told; `None` where its arguments do not say, as for every one.
    pub address: Option<String>,
    /// The port, as it was told.
    pub port: Option<String>,
}

/// A filter of tc(8).
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Filter {
    /// The link that it is on.
    pub link: String,
    /// `ingress`, `egress`, or the handle of a queueing discipline.
    pub at: String,
    /// `u32`, `bpf`, `matchall`, `flower`, ...
    pub kind: String,
    /// What it does.
    pub does: FilterAction,
}

/// What a filter does.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum FilterAction {
    /// Sends the packet to another link (`act_mirred`, redirect).
    Redirect(String),
    /// Sends a copy to another link (`act_mirred`, mirror).
    Mirror(String),
    /// Runs an eBPF program, which may do either: its name, where it has one.
    Program(String),
}

/// A table that is not isoplan's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ForeignTable {
    /// Its family.
    pub family: Family,
    /// Its name.
    pub name: String,
    /// Its chains, with the policy of those that have one.
    pub chains: Vec<(String, Option<Policy>)>,
}

/// A flowtable of nf_tables.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Flowtable {
    /// The table: family and name.
    pub table: String,
    /// Its name.
    pub name: String,
    /// The links that it works on.
    pub links: Vec<String>,
}

/// Services that empty rule sets, their own or others'.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Services {
    /// The file with `flush ruleset` that nftables.service loads, where that service is enabled.
    pub flushes_at_boot: Option<String>,
    /// Whether isoplan is applied again behind that service: `isoplan install` made a drop-in for it.
    pub is_reapplied: bool,
    /// The same file where the service is not enabled.
    pub would_flush: Option<String>,
    /// The process of firewalld, where it runs.
    pub firewalld: Option<u32>,
    /// `FlushAllOnReload` in firewalld.conf; yes where it does not say.
    pub firewalld_flushes: bool,
    /// Whether ufw is enabled.
    pub ufw: bool,
    /// `MANAGE_BUILTINS=yes` in /etc/default/ufw: it then empties chains of others as well.
    pub ufw_flushes: bool,
}

impl Facts {
    /// The names of engines and firewalls that have tables here, as their chains and tables tell.
    pub fn engines(&self) -> Vec<&'static str> {
        const CHAINS: [(&str, &str); 6] = [
            ("DOCKER", "Docker"),
            ("NETAVARK", "Podman (netavark)"),
            ("CNI-", "CNI"),
            ("KUBE-", "kube-proxy"),
            ("cali-", "Calico"),
            ("ufw", "ufw"),
        ];
        const TABLES: [(&str, &str); 5] = [
            ("docker-bridges", "Docker"),
            ("netavark", "Podman (netavark)"),
            ("firewalld", "firewalld"),
            ("incus", "Incus"),
            ("kube-proxy", "kube-proxy"),
        ];
        let has_table = |name: &str| self.tables.iter().any(|table| table.name == name);
        let has_chain = |start: &str| {
            let mut chains = self.tables.iter().flat_map(|table| &table.chains);
            chains.any(|(chain, _)| chain.starts_with(start))
        };
        let by_chain = CHAINS.iter().filter(|(start, _)| has_chain(start)).map(|(_, engine)| *engine);
        let by_table = TABLES.iter().filter(|(name, _)| has_table(name)).map(|(_, engine)| *engine);
        let mut engines: Vec<_> = by_chain.chain(by_table).collect();
        engines.sort_unstable();
        engines.dedup();
        engines
    }

    /// Whether the policy of `ip filter FORWARD` is drop, as dockerd leaves it where it switched forwarding
    /// on.
    pub fn forward_drops(&self) -> bool {
        let filters = self.tables.iter().filter(|table| table.family == Family::Ip && table.name == "filter");
        filters
            .flat_map(|table| &table.chains)
            .any(|chain| *chain == ("FORWARD".to_owned(), Some(Policy::Drop)))
    }
}
