//! Changes of the host, each followed by probes in a lab of its own.

mod added;
mod subject;

pub use added::{Added, added, unknown_link};
pub use subject::{Subject, applies, families, subject};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What is changed on the host. "The NIC" and "the bridge" are those of `subject`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Change {
    /// ip_forward, and conf/all/forwarding of IPv6, from 1 to 0 and back.
    ForwardToggled,
    /// The NIC goes down, and its addresses are routed by the default route, upstream, which delivers them.
    NicDown,
    /// The NIC is deleted and made again with the same name, addresses and neighbours.
    NicRecreated,
    /// The NIC gets another name.
    NicRenamed,
    /// The NIC becomes a port of a bridge, which takes its addresses.
    NicEnslaved,
    /// The bridge of the containers is deleted and made again.
    BridgeRecreated,
    /// A new container gets a port on the bridge.
    NewContainer,
    /// A new NIC with a network that the file does not know.
    NewNic,
    /// A subnet that the file does not list is added to the NIC.
    SubnetAdded,
    /// The host's default route leads out of the closed NIC.
    DefaultRouteMoved,
    /// The host has a route to the closed subnet by way of the upstream router, which delivers it.
    UpstreamHairpin,
    /// Proxy ARP and proxy NDP are on.
    ProxyArp,
    /// accept_source_route is on, IPv4; segment routing, IPv6.
    SourceRouting,
    /// bc_forwarding is on, on every link (directed broadcasts are forwarded).
    BroadcastForwarding,
    /// An accept for everything is put first into the FORWARD chain of the host's own filter table.
    AcceptFirst,
    /// The rules were applied when the NIC did not exist yet.
    NicAbsentAtApply,
    /// bridge-nf-call-iptables and -ip6tables off (on before).
    BridgeNfCallOff,
    /// The approach is applied again while packets flow.
    AppliedUnderFlood,
    /// Somebody's DNAT leads from the gateway of the containers to the closed NIC, UDP and TCP: port
    /// [`DNAT_TO_SERVER`] to [`PORT`](super::probe::PORT) of the server there, port [`DNAT_TO_HOST`] to
    /// [`PORT`](super::probe::PORT) of the host's own address there.
    Dnat,
    /// A macvlan on the closed NIC is given to a container. A residual.
    Macvlan,
    /// tc redirects what the container sends out of the closed NIC. A residual.
    TcRedirect,
    /// A program on the host relays to the closed network. A residual.
    Relay,
    /// The whole ruleset is flushed by somebody. A residual.
    RulesetFlushed,
}

/// The port of the gateway that [`Change::Dnat`] leads to the server of the closed NIC.
pub const DNAT_TO_SERVER: u16 = 7001;
/// The port of the gateway that [`Change::Dnat`] leads to the host's own address on the closed NIC.
pub const DNAT_TO_HOST: u16 = 7002;

impl Change {
    /// All, in the order of the table.
    pub const ALL: [Self; 23] = [
        Self::ForwardToggled,
        Self::NicDown,
        Self::NicRecreated,
        Self::NicRenamed,
        Self::NicEnslaved,
        Self::BridgeRecreated,
        Self::NewContainer,
        Self::NewNic,
        Self::SubnetAdded,
        Self::DefaultRouteMoved,
        Self::UpstreamHairpin,
        Self::ProxyArp,
        Self::SourceRouting,
        Self::BroadcastForwarding,
        Self::AcceptFirst,
        Self::NicAbsentAtApply,
        Self::BridgeNfCallOff,
        Self::AppliedUnderFlood,
        Self::Dnat,
        Self::Macvlan,
        Self::TcRedirect,
        Self::Relay,
        Self::RulesetFlushed,
    ];

    /// Its word in names of probes.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::ForwardToggled => "forward-toggled",
            Self::NicDown => "nic-down",
            Self::NicRecreated => "nic-recreated",
            Self::NicRenamed => "nic-renamed",
            Self::NicEnslaved => "nic-enslaved",
            Self::BridgeRecreated => "bridge-recreated",
            Self::NewContainer => "new-container",
            Self::NewNic => "new-nic",
            Self::SubnetAdded => "subnet-added",
            Self::DefaultRouteMoved => "default-route-moved",
            Self::UpstreamHairpin => "upstream-hairpin",
            Self::ProxyArp => "proxy-arp",
            Self::SourceRouting => "source-routing",
            Self::BroadcastForwarding => "broadcast-forwarding",
            Self::AcceptFirst => "accept-first",
            Self::NicAbsentAtApply => "nic-absent-at-apply",
            Self::BridgeNfCallOff => "bridge-nf-call-off",
            Self::AppliedUnderFlood => "applied-under-flood",
            Self::Dnat => "dnat",
            Self::Macvlan => "macvlan",
            Self::TcRedirect => "tc-redirect",
            Self::Relay => "relay",
            Self::RulesetFlushed => "ruleset-flushed",
        }
    }

    /// Whether no rule of this host can stop what follows.
    pub const fn is_residual(self) -> bool {
        matches!(self, Self::Macvlan | Self::TcRedirect | Self::Relay | Self::RulesetFlushed)
    }
}
