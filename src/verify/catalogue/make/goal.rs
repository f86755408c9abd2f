//! Where a packet goes, and with which source address.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::IpNet;

use super::super::entry::{About, Aim, Entry, Source};
use super::super::pairs::{Object, Pair, link_of_nic};
use super::{Goal, Maker};
use crate::intent::{IpFamily, Party};
use crate::topology::NetworkKind;
use crate::verify::change::{Change, DNAT_TO_HOST, DNAT_TO_SERVER};
use crate::verify::probe::PORT;
use crate::verify::world::{NodeRole, Place};

/// All-hosts group (RFC 1112), and all nodes on the link (RFC 4291, 2.7.1).
const ALL_HOSTS: (Ipv4Addr, Ipv6Addr) =
    (Ipv4Addr::new(224, 0, 0, 1), Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 1));

impl Maker<'_> {
    pub(super) fn goal(&self, entry: &Entry, pair: Pair, family: IpFamily) -> Option<Goal> {
        let plain = |destination: IpAddr, vantage: Vec<Place>| Goal {
            destination,
            port: PORT,
            real: (destination, PORT),
            is_published: false,
            vantage,
        };
        let added = || self.added.iter().find(|(of, _)| *of == family).map(|(_, added)| *added);
        match entry.about {
            About::Added => return added().map(|added| plain(added.peer, vec![added.place])),
            About::AddedHost => return added().map(|added| plain(added.host.addr(), vec![Place::HOST])),
            _ => {}
        }
        let of_family = |addresses: &[IpAddr]| {
            addresses.iter().find(|address| address.is_ipv4() == (family == IpFamily::V4)).copied()
        };
        match (pair.to, entry.aim) {
            (Object::Internet, _) => {
                let at = match self.change {
                    Some(Change::DefaultRouteMoved) => self.world.router(self.subjects.first()?.nic)?,
                    _ => self.world.upstream()?,
                };
                Some(plain(of_family(&self.world.internet)?, vec![at]))
            }
            (Object::HostOn(_), Aim::AllHosts) => {
                let group = match family {
                    IpFamily::V4 => IpAddr::V4(ALL_HOSTS.0),
                    IpFamily::V6 => IpAddr::V6(ALL_HOSTS.1),
                };
                Some(plain(group, vec![Place::HOST]))
            }
            (Object::HostOn(link), Aim::Broadcast) => Some(plain(self.broadcast(link)?, vec![Place::HOST])),
            (Object::HostOn(link), Aim::Dnat) => {
                let real = self.world.host_links[link].address(family)?;
                self.dnat(pair.sender, DNAT_TO_HOST, real, Place::HOST, family)
            }
            (Object::HostOn(link), _) => {
                Some(plain(self.world.host_links[link].address(family)?, vec![Place::HOST]))
            }
            (Object::Node(node), Aim::Own) => Some(plain(self.own_address(node, family)?, vec![node])),
            (Object::Node(node), Aim::Listed | Aim::Unlisted) => {
                let NodeRole::Server(nic) = self.world.node(node).role else { return None };
                let router = self.world.router(nic)?;
                let node = self.world.node(router);
                let behind =
                    if entry.aim == Aim::Listed { &node.behind_listed } else { &node.behind_unlisted };
                Some(plain(of_family(behind)?, vec![router]))
            }
            (Object::Node(node), Aim::BroadcastOnLink) => {
                let NodeRole::Server(nic) = self.world.node(node).role else { return None };
                let link = link_of_nic(self.intent, self.world, nic)?;
                let vantage = std::iter::once(node).chain(self.world.router(nic)).collect();
                Some(plain(self.broadcast(link)?, vantage))
            }
            (Object::Node(node), Aim::PublishedHere) => {
                self.published(node, self.world.node(pair.sender).host_link, family)
            }
            (Object::Node(node), Aim::PublishedAtService) => {
                let Some(Party::Network(network)) = self.world.party(node) else { return None };
                let own = self.world.node(pair.sender).host_link;
                let reached = &self.intent.network_reach[network].nics;
                let links = reached.iter().filter_map(|nic| link_of_nic(self.intent, self.world, *nic));
                let link = links.into_iter().find(|link| *link != own)?;
                self.published(node, link, family)
            }
            (Object::Node(node), Aim::Dnat) => {
                let real = self.own_address(node, family)?;
                self.dnat(pair.sender, DNAT_TO_SERVER, real, node, family)
            }
            (Object::Node(node), Aim::OtherNic) => {
                Some(plain(self.of_another_nic(self.world.node(node).host_link, family)?, vec![node]))
            }
            (Object::Node(_), Aim::Broadcast | Aim::AllHosts) => None,
        }
    }

    pub(super) fn published(&self, node: Place, link: usize, family: IpFamily) -> Option<Goal> {
        let port = self.world.published.iter().find(|port| port.container == node)?;
        let real = self.world.node(node).address(family)?;
        Some(Goal {
            destination: self.world.host_links[link].address(family)?,
            port: port.host_port,
            real: (real, port.port),
            is_published: true,
            vantage: vec![node],
        })
    }

    fn dnat(&self, sender: Place, port: u16, real: IpAddr, vantage: Place, family: IpFamily) -> Option<Goal> {
        let gateway = self.world.host_links.get(self.world.node(sender).host_link)?.address(family)?;
        Some(Goal {
            destination: gateway,
            port,
            real: (real, PORT),
            is_published: true,
            vantage: vec![vantage],
        })
    }

    /// The broadcast address of the host's link, where the link has one.
    fn broadcast(&self, link: usize) -> Option<IpAddr> {
        let nets = &self.world.host_links[link].addresses;
        nets.iter().find_map(|net| match net {
            IpNet::V4(net) if net.prefix_len() <= 30 => Some(IpAddr::V4(net.broadcast())),
            _ => None,
        })
    }

    /// The port of the first overlay of the file.
    pub(super) fn overlay_port(&self) -> Option<u16> {
        self.intent.topology.networks.iter().find_map(|network| match network.kind {
            NetworkKind::Overlay { port, .. } => Some(port),
            NetworkKind::Bridge => None,
        })
    }

    /// The source address of a frame.
    pub(super) fn source(
        &self,
        source: Source,
        pair: Pair,
        own: Option<IpAddr>,
        family: IpFamily,
    ) -> Option<IpAddr> {
        let of_family = |addresses: &[IpAddr]| {
            addresses.iter().find(|address| address.is_ipv4() == (family == IpFamily::V4)).copied()
        };
        match source {
            Source::Own => own,
            Source::OtherNetwork => {
                let parties = [
                    self.world.party(pair.sender),
                    self.receiver(pair).and_then(|node| self.world.party(node)),
                ];
                let is_other = |role| match role {
                    NodeRole::Container { network, number: 1, .. } => {
                        !parties.contains(&Some(Party::Network(network)))
                    }
                    _ => false,
                };
                self.world
                    .places(is_other)
                    .into_iter()
                    .find_map(|place| self.world.node(place).address(family))
            }
            Source::Neighbour => {
                let link = self.receiver_link(pair)?;
                let receiver = self.receiver(pair);
                let others = self.world.neighbours(link).into_iter().filter(|place| Some(*place) != receiver);
                let mut addresses = others.filter_map(|place| self.world.node(place).address(family));
                // The receiver's own address is not a stranger's, and the kernel would not take it.
                let last = addresses.next_back();
                last.filter(|address| Some(*address) != own)
            }
            // The kernel takes its own IPv4 address for a source from no link but those of containers in a lab
            // (accept_local).
            Source::HostThere if family == IpFamily::V4 && !self.is_container(pair.sender) => None,
            Source::HostThere => self.world.host_links.get(self.receiver_link(pair)?)?.address(family),
            Source::Service => {
                let ends = [Some(pair.sender), self.receiver(pair)].into_iter().flatten();
                let network = ends.into_iter().find_map(|place| match self.world.party(place) {
                    Some(Party::Network(network)) => Some(network),
                    _ => None,
                })?;
                let reached = self.intent.network_reach[network].nics.iter();
                let mut servers = reached.filter_map(|nic| self.world.server(*nic));
                servers.find_map(|server| self.world.node(server).address(family))
            }
            Source::ClosedNic => {
                let receiver = self.receiver(pair)?;
                let subject = self.subjects.iter().find(|subject| subject.sender == receiver)?;
                self.world.node(self.world.server(subject.nic)?).address(family)
            }
            Source::OtherNic => self.of_another_nic(self.world.node(pair.sender).host_link, family),
            Source::Internet => of_family(&self.world.internet),
            Source::Listed | Source::Unlisted => {
                let NodeRole::Server(nic) = self.world.node(pair.sender).role else { return None };
                let router = self.world.node(self.world.router(nic)?);
                let behind =
                    if source == Source::Listed { &router.behind_listed } else { &router.behind_unlisted };
                of_family(behind)
            }
            Source::Fixed(v4, v6) => Some(match family {
                IpFamily::V4 => IpAddr::V4(v4),
                IpFamily::V6 => IpAddr::V6(v6),
            }),
        }
    }

    /// The address of a server on another link.
    fn of_another_nic(&self, link: usize, family: IpFamily) -> Option<IpAddr> {
        let is_server = |role| matches!(role, NodeRole::Server(_));
        let servers = self.world.places(is_server).into_iter().map(|place| self.world.node(place));
        // Only what the file lists is known to be another NIC's.
        let of_file = |address: &IpAddr| {
            self.intent.topology.nics.iter().any(|nic| nic.subnets.iter().any(|net| net.contains(address)))
        };
        servers
            .filter(|server| server.host_link != link)
            .filter_map(|server| server.address(family))
            .find(of_file)
    }

    pub(super) fn is_container(&self, place: Place) -> bool {
        matches!(self.world.node(place).role, NodeRole::Container { .. })
    }

    pub(super) fn receiver(&self, pair: Pair) -> Option<Place> {
        match pair.to {
            Object::Node(node) => Some(node),
            Object::HostOn(_) | Object::Internet => None,
        }
    }

    pub(super) fn receiver_link(&self, pair: Pair) -> Option<usize> {
        match pair.to {
            Object::Node(node) => Some(self.world.node(node).host_link),
            Object::HostOn(link) => Some(link),
            Object::Internet => None,
        }
    }
}
