//! Which NIC, network and containers a change is about, and where it can be made at all.

use super::{Change, added};
use crate::intent::{Intent, IpFamily};
use crate::topology::NetworkKind;
use crate::verify::world::{NodeRole, Place, World};

/// What a change of the host is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Subject {
    /// Whose containers send: into `Topology::networks`.
    pub network: usize,
    /// The NIC that is closed to them: into `Topology::nics`.
    pub nic: usize,
}

impl Subject {
    /// The container that sends: the network's first one on this host, else its first.
    pub fn container(self, world: &World) -> Option<Place> {
        let containers = world.containers(self.network);
        let is_here =
            |place: &&Place| !matches!(world.node(**place).role, NodeRole::Container { is_remote: true, .. });
        containers.iter().find(is_here).or(containers.first()).copied()
    }

    /// Another container of this host on the same link.
    pub fn second_container(self, world: &World) -> Option<Place> {
        let first = world.node(self.container(world)?);
        let on_link = |role| match role {
            NodeRole::Container { network, link, number: 2, is_remote: false } => {
                network == self.network && link == first.host_link
            }
            _ => false,
        };
        world.places(on_link).first().copied()
    }
}

/// The first network with a NIC that is closed to it, and the first such NIC. A bridge goes before an overlay,
/// and a NIC of its own before one that is a port of a flat or carries an overlay: more can be changed there.
pub fn subject(intent: &Intent<'_>) -> Option<Subject> {
    let networks = &intent.topology.networks;
    let overlay = |network: usize| networks[network].kind != NetworkKind::Bridge;
    let pairs = (0..networks.len()).flat_map(|network| {
        let nics = 0..intent.topology.nics.len();
        nics.map(move |nic| Subject { network, nic })
    });
    let closed = pairs.filter(|pair| intent.is_closed(pair.network, pair.nic));
    // The first of equal ones (Iterator::min_by_key).
    closed.min_by_key(|pair| (overlay(pair.network), pair.network, !stands_alone(intent, pair.nic), pair.nic))
}

/// Whether a NIC has its addresses on itself and carries nothing else: it can be renamed, made again, enslaved.
fn stands_alone(intent: &Intent<'_>, nic: usize) -> bool {
    let nic = &intent.topology.nics[nic];
    let carries = |kind: &NetworkKind| match kind {
        NetworkKind::Bridge => false,
        NetworkKind::Overlay { underlay, .. } => *underlay == nic.name,
    };
    intent.topology.flat_on(nic).is_none()
        && !intent.topology.networks.iter().any(|network| carries(&network.kind))
}

/// Whether a change can be made in the lab of a topology. What the kernel of the machine cannot do is found out
/// only there.
pub fn applies(intent: &Intent<'_>, world: &World, change: Change) -> bool {
    !families(intent, world, change).is_empty()
}

/// The families in which the container of [`subject`] can send something to the closed NIC, or to what the
/// change puts in its place. Empty where the change cannot be made.
pub fn families(intent: &Intent<'_>, world: &World, change: Change) -> Vec<IpFamily> {
    let Some(subject) = subject(intent) else { return Vec::new() };
    let Some(container) = subject.container(world) else { return Vec::new() };
    let can = |family: &IpFamily| can(intent, world, change, subject, container, *family) == Some(true);
    IpFamily::BOTH.into_iter().filter(can).collect()
}

/// `None` where something that the change needs is not there.
fn can(
    intent: &Intent<'_>,
    world: &World,
    change: Change,
    subject: Subject,
    container: Place,
    family: IpFamily,
) -> Option<bool> {
    let Subject { network, nic } = subject;
    let has = |place: Place| world.node(place).address(family);
    has(container)?;
    if change != Change::NewNic {
        has(world.server(nic)?)?;
        world.host_link_of_nic(intent, nic)?.address(family)?;
    }
    let is_bridge = intent.topology.networks[network].kind == NetworkKind::Bridge;
    let alone = stands_alone(intent, nic);
    // The way round by the upstream: out of another NIC than the closed one.
    let around = |nic| {
        let default = world.default_nic.filter(|default| *default != nic)?;
        world.host_link_of_nic(intent, default)?.address(family)?;
        has(world.upstream()?)
    };
    Some(match change {
        Change::ForwardToggled
        | Change::SourceRouting
        | Change::AcceptFirst
        | Change::BridgeNfCallOff
        | Change::AppliedUnderFlood
        | Change::Dnat
        | Change::Relay
        | Change::RulesetFlushed => true,
        Change::BroadcastForwarding => family == IpFamily::V4,
        Change::NicDown => alone && around(nic).is_some(),
        Change::UpstreamHairpin => around(nic).is_some(),
        Change::NicRecreated | Change::NicRenamed | Change::NicEnslaved | Change::NicAbsentAtApply => alone,
        Change::BridgeRecreated | Change::ProxyArp | Change::TcRedirect => is_bridge,
        Change::NewContainer | Change::SubnetAdded | Change::NewNic => {
            (change != Change::NewContainer || is_bridge) && added(intent, world, change, family).is_some()
        }
        Change::Macvlan => alone && added(intent, world, change, family).is_some(),
        Change::DefaultRouteMoved => {
            world.default_nic != Some(nic)
                && world.router(nic).and_then(has).is_some()
                && world.internet.iter().any(|address| address.is_ipv4() == (family == IpFamily::V4))
        }
    })
}
