//! For which senders and closed NICs the whole list of probes is sent.

use crate::intent::{Intent, IpFamily, Party, Way};
use crate::topology::NetworkKind;
use crate::verify::world::{NodeRole, Place, World};

/// A sender, and a NIC that is closed to him.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Subject {
    /// A container or an instance of a flat; on a host without either, the server of another NIC.
    pub(super) sender: Place,
    /// Into `Topology::nics`.
    pub(super) nic: usize,
}

/// Of how many closed NICs, at most.
const SUBJECTS: usize = 3;

/// For each NIC that is closed to somebody, the first of those. Networks go before flats; of networks, the one that Docker makes by itself goes first, a wildcard and an overlay last.
/// And how many more NICs there are.
pub(super) fn subjects(intent: &Intent<'_>, world: &World) -> (Vec<Subject>, usize) {
    let mut networks: Vec<usize> = (0..intent.topology.networks.len()).collect();
    networks.sort_by_key(|index| {
        let network = &intent.topology.networks[*index];
        (
            network.kind != NetworkKind::Bridge,
            network.name.is_prefix(),
            !network.name.stem().starts_with("docker"),
            *index,
        )
    });
    let containers = networks.into_iter().filter_map(|network| world.containers(network).first().copied());
    let instances = world.places(|role| matches!(role, NodeRole::Instance { number: 1, .. }));
    let mut senders: Vec<Place> = containers.chain(instances).collect();
    if senders.is_empty() {
        senders.extend((0..intent.topology.nics.len()).filter_map(|nic| world.server(nic)));
    }
    let closed = (0..intent.topology.nics.len()).filter_map(|nic| {
        let sender = senders.iter().find(|sender| is_closed(intent, world, **sender, nic))?;
        Some(Subject { sender: *sender, nic })
    });
    let mut closed: Vec<Subject> = closed.collect();
    let more = closed.len().saturating_sub(SUBJECTS);
    closed.truncate(SUBJECTS);
    (closed, more)
}

/// Whether a sender may open nothing to a NIC but what exceptions say, in any family that both have.
fn is_closed(intent: &Intent<'_>, world: &World, sender: Place, nic: usize) -> bool {
    let Some(party) = world.party(sender) else { return false };
    // What is between a NIC and its own network does not pass the host, nor does what is bridged.
    let own = match party {
        Party::Nic(own) => Some(own),
        Party::Flat(flat) => intent.nic_of_flat(flat),
        _ => None,
    };
    let mut ways = IpFamily::BOTH
        .into_iter()
        .filter(|family| world.node(sender).address(*family).is_some())
        .filter_map(|family| intent.way(party, Party::Nic(nic), family))
        .peekable();
    own != Some(nic) && ways.peek().is_some() && ways.all(|way| !matches!(way, Way::Open | Way::Published))
}
