//! From a [`World`] to namespaces, links and addresses.
//!
//! One `ip -batch` for each namespace. Nothing is waited for but the links: addresses skip duplicate address
//! detection, and all neighbours are written down.

pub mod lines;
mod ready;
mod sysctls;

use std::collections::BTreeSet;
use std::fs::File;
use std::io;
use std::net::IpAddr;
use std::sync::Arc;

use ipnet::IpNet;
use nix::sched::{CpuSet, sched_getaffinity, sched_setaffinity};
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use nix::unistd::Pid;

use super::isolate;
use super::node::{self, Namespace};
use crate::intent::IpFamily;
use crate::verify::world::{HostLinkRole, Mac, NodeRole, Place, World};
use ready::{Path, Tap};

/// The index of the first link of the host (netdevice(7)). The kernel deals with the carrier of a veth device at
/// once if its index is not that of its other end (`linkwatch_urgent_event`, net/core/link_watch.c), and up to a
/// second later otherwise; other ends are numbered from 2.
const FIRST_INDEX: u32 = 1000;

/// A lab: alive, and nobody sends anything yet.
#[derive(Debug)]
pub struct Lab {
    /// Its layout.
    pub world: World,
    /// By place.
    pub namespaces: Vec<Namespace>,
    tap: Tap,
}

/// What is already there when the lab is made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Options {
    /// Whether a container engine masquerades what leaves the bridges, by every link. See [`super::protect`].
    pub engine_masquerades: bool,
    /// A CPU to stay on: the how manieth of those that are allowed.
    pub cpu: usize,
}

impl Lab {
    /// Makes it, in the namespaces that this process is in; waits until every link carries packets. Forwarding
    /// is on for both families that the topology has, as a container engine leaves it.
    ///
    /// # Errors
    ///
    /// When the kernel refuses a part of it, or outside of namespaces of our own.
    pub fn start(world: World, options: Options) -> io::Result<Self> {
        isolate::require()?;
        pin(options.cpu)?;
        raise_limit()?;
        let lab = Self { namespaces: make_namespaces(&world)?, world, tap: Tap::open()? };
        lab.make_links()?;
        sysctls::of_host_links(&lab)?;
        lab.set_forwarding(true)?;
        lab.wait_until_ready()?;
        Ok(lab)
    }

    /// The lab that another process has made in these namespaces: what a command in `isoplan lab` sees. This
    /// process stays on one CPU from then on, so that what it sends keeps its order.
    ///
    /// # Errors
    ///
    /// When there is none.
    pub fn attach(world: World) -> io::Result<Self> {
        isolate::require()?;
        pin(0)?;
        raise_limit()?;
        let host = node::own_namespace()?;
        let open = |(place, node): (usize, &crate::verify::world::Node)| {
            if Place(place) == Place::HOST {
                return Ok(Namespace::attached_host(&node.name));
            }
            Namespace::open(&node.name, &host)
        };
        let namespaces = world.nodes.iter().enumerate().map(open).collect::<io::Result<_>>()?;
        Ok(Self { world, namespaces, tap: Tap::open()? })
    }

    /// A namespace.
    pub fn at(&self, place: Place) -> &Namespace {
        &self.namespaces[place.0]
    }

    /// The host's.
    pub fn host(&self) -> &Namespace {
        self.at(Place::HOST)
    }

    /// Switches forwarding on the host, for the families that anybody in the lab speaks.
    ///
    /// # Errors
    ///
    /// When the kernel refuses it.
    pub fn set_forwarding(&self, on: bool) -> io::Result<()> {
        let spoken = IpFamily::BOTH.into_iter().filter(|family| self.world.speaks(*family));
        spoken.into_iter().try_for_each(|family| sysctls::forward(self.host(), family, on))
    }

    /// Makes the upstream forward: what comes in on its link with the host is delivered to the networks of the
    /// NICs by its feet. What it sends itself still goes to the host.
    ///
    /// # Errors
    ///
    /// When the kernel refuses it.
    pub fn upstream_forwards(&self) -> io::Result<()> {
        let Some(place) = self.world.upstream() else { return Ok(()) };
        let table = lines::FORWARDED.to_string();
        for (option, family) in [("-4", IpFamily::V4), ("-6", IpFamily::V6)] {
            if !self.world.speaks(family) {
                continue;
            }
            let args = [option, "rule", "add", "iif", "eth0", "lookup", &table];
            self.at(place).feed("ip", &args, "")?;
            sysctls::forward(self.at(place), family, true)?;
        }
        Ok(())
    }

    /// Makes a NIC that is not there (any more), with its cable, and where it has them its addresses, neighbours
    /// and routes; all that leads to it works again when this returns.
    ///
    /// # Errors
    ///
    /// When the kernel refuses it.
    pub fn attach_nic(&self, nic: usize) -> io::Result<()> {
        let is_nic = |role| role == HostLinkRole::Nic(nic);
        let Some(link) = self.world.host_links.iter().position(|link| is_nic(link.role)) else {
            return Ok(());
        };
        let (lines, remote) = self.link_again(link);
        self.host().ip(&lines)?;
        self.at(Place::WIRE).ip(&lines::plug(&self.world, nic))?;
        sysctls::of_host_link(self, link)?;
        self.wait_for(&[self.on_switch(nic), remote].concat())
    }

    /// Makes the bridge of a network or flat that is not there (any more), with the ports that still are, and
    /// its addresses, neighbours and routes; all that leads to it works again when this returns.
    ///
    /// # Errors
    ///
    /// When the kernel refuses it.
    pub fn attach_bridge(&self, link: usize) -> io::Result<()> {
        let places = self.world.neighbours(link);
        let (mut lines, remote) = self.link_again(link);
        for place in &places {
            lines += &lines::enslave(&self.world, *place);
        }
        for other in &self.world.host_links {
            // A NIC that is a port of a flat.
            if let HostLinkRole::Nic(nic) = other.role
                && self.world.server(nic).is_some_and(|server| places.contains(&server))
            {
                lines +=
                    &format!("link set dev {} master {}\n", other.name, self.world.host_links[link].name);
            }
        }
        self.host().ip(&lines)?;
        sysctls::of_host_link(self, link)?;
        self.wait_for(&[places, remote].concat())
    }

    /// Gives a container or instance whose port is not there (any more) a new one, with its addresses,
    /// neighbours and routes; it can be reached again when this returns.
    ///
    /// # Errors
    ///
    /// When the kernel refuses it.
    pub fn attach_container(&self, place: Place) -> io::Result<()> {
        self.host().ip(&lines::port(&self.world, place, None))?;
        // Deleting this end of a tunnel leaves the other; of a pair, none.
        if self.world.node(place).tunnel.is_none() {
            self.at(place).ip(&lines::node(&self.world, place))?;
        }
        self.wait_for(&[place])
    }

    /// Waits until every link carries frames both ways.
    ///
    /// # Errors
    ///
    /// When one does not within ten seconds.
    pub fn wait_until_ready(&self) -> io::Result<()> {
        let all = (0..self.world.nodes.len()).map(Place).filter(|place| *place > Place::WIRE);
        self.wait_for(&all.collect::<Vec<_>>())
    }

    /// Waits until frames pass both ways between the host and some nodes. The upstream is waited for with all
    /// its feet.
    ///
    /// # Errors
    ///
    /// When they do not within ten seconds.
    pub fn wait_for(&self, places: &[Place]) -> io::Result<()> {
        let world = &self.world;
        let mut paths = Vec::new();
        for place in places {
            let node = world.node(*place);
            let host_link = &world.host_links[node.host_link];
            paths.push(Path {
                node: self.at(*place),
                link: "eth0",
                mac: node.mac,
                host_link: &host_link.name,
                host_mac: host_link.mac,
            });
            if node.role != NodeRole::Upstream {
                continue;
            }
            for foot in &world.feet {
                let Some(server) = world.server(foot.nic) else { continue };
                let host_link = &world.host_links[world.node(server).host_link];
                paths.push(Path {
                    node: self.at(*place),
                    link: &foot.link,
                    mac: foot.mac,
                    host_link: &host_link.name,
                    host_mac: host_link.mac,
                });
            }
        }
        self.tap.wait(&paths)?;
        for place in places {
            let node = world.node(*place);
            let internet = if node.role == NodeRole::Upstream { world.internet.as_slice() } else { &[] };
            let behind = node.behind_listed.iter().chain(&node.behind_unlisted).chain(internet).copied();
            let own: Vec<IpAddr> = node.addresses.iter().map(IpNet::addr).chain(behind).collect();
            self.wait_for_addresses(*place, &own)?;
        }
        let links: BTreeSet<usize> = places.iter().map(|place| world.node(*place).host_link).collect();
        let links = links.into_iter().map(|link| &world.host_links[link]);
        let of_host =
            links.flat_map(|link| link.addresses.iter().map(IpNet::addr).chain(link.gateways.clone()));
        self.wait_for_addresses(Place::HOST, &of_host.collect::<Vec<_>>())
    }

    /// Waits until a node takes packets to these addresses, which were given to it: over IPv6 the kernel needs
    /// a moment.
    ///
    /// # Errors
    ///
    /// When it does not within ten seconds.
    pub fn wait_for_addresses(&self, place: Place, addresses: &[IpAddr]) -> io::Result<()> {
        ready::wait_for_addresses(self.at(place), addresses)
    }

    /// Waits until frames pass both ways over a link between a node and the host that the layout does not know:
    /// the name and the link-layer address of either end, the node's first.
    ///
    /// # Errors
    ///
    /// When they do not within ten seconds.
    pub fn wait_for_link(&self, place: Place, (link, mac): (&str, Mac), host: (&str, Mac)) -> io::Result<()> {
        let path = Path { node: self.at(place), link, mac, host_link: host.0, host_mac: host.1 };
        self.tap.wait(&[path])
    }

    /// What a link has on it; nothing where that is on its flat's bridge.
    fn settle_lines(&self, link: usize) -> String {
        lines::settle(&self.world, link, &self.world.host_links[link].name)
    }

    /// Makes a link of the host that is not there, with the tunnels that went with it, whose containers are
    /// named.
    fn link_again(&self, link: usize) -> (String, Vec<Place>) {
        let nodes = self.world.nodes.iter().enumerate();
        let carried =
            nodes.filter(|(_, node)| node.tunnel.as_ref().is_some_and(|tunnel| tunnel.underlay == link));
        let remote: Vec<Place> = carried.map(|(place, _)| Place(place)).collect();
        let mut lines = lines::host_link(&self.world, link, None) + &self.settle_lines(link);
        for place in &remote {
            lines += &lines::port(&self.world, *place, None);
        }
        (lines, remote)
    }

    /// The nodes whose frames pass a NIC's switch, but for the upstream where it has only a foot there.
    fn on_switch(&self, nic: usize) -> Vec<Place> {
        let world = &self.world;
        let upstream = world.upstream().filter(|_| world.default_nic == Some(nic));
        [world.server(nic), world.router(nic), upstream].into_iter().flatten().collect()
    }

    fn make_links(&self) -> io::Result<()> {
        let world = &self.world;
        let peers = || (0..world.nodes.len()).map(Place).filter(|place| *place > Place::WIRE);
        let mut host = String::from("link set dev lo up\n");
        // Bridges first: ports name them.
        let is_nic = |link: &usize| matches!(world.host_links[*link].role, HostLinkRole::Nic(_));
        let (nics, bridges): (Vec<usize>, Vec<usize>) = (0..world.host_links.len()).partition(is_nic);
        let mut indices = FIRST_INDEX..;
        for link in bridges.iter().chain(&nics) {
            host += &lines::host_link(world, *link, indices.next());
        }
        for link in 0..world.host_links.len() {
            host += &self.settle_lines(link);
        }
        for place in peers() {
            host += &lines::port(world, place, indices.next());
        }
        self.host().ip(&host)?;
        let nics = world.host_links.iter().filter_map(|link| match link.role {
            HostLinkRole::Nic(nic) => Some(nic),
            HostLinkRole::Network(_) | HostLinkRole::Flat(_) => None,
        });
        let wire: String = nics.map(|nic| lines::switch(world, nic)).collect();
        self.at(Place::WIRE).ip(&wire)?;
        // Containers on other hosts last: their links are made by servers.
        let (local, remote): (Vec<Place>, Vec<Place>) =
            peers().partition(|place| world.node(*place).tunnel.is_none());
        for place in local.into_iter().chain(remote.iter().copied()) {
            let mut text = lines::node(world, place);
            if world.node(place).role == NodeRole::Upstream {
                text += &lines::feet(world);
            }
            let is_here = |other: &&Place| {
                world.node(**other).tunnel.as_ref().is_some_and(|tunnel| tunnel.server == place)
            };
            for container in remote.iter().filter(is_here) {
                text += &lines::tunnel(world, *container);
            }
            self.at(place).ip(&text)?;
        }
        Ok(())
    }
}

/// Makes a namespace for each node. The host's is the one that the process is in.
fn make_namespaces(world: &World) -> io::Result<Vec<Namespace>> {
    let host: Arc<File> = node::own_namespace()?;
    let mut namespaces = Vec::with_capacity(world.nodes.len());
    for node in &world.nodes {
        namespaces.push(match node.role {
            NodeRole::Host => {
                sysctls::defaults()?;
                Namespace::host(&node.name)?
            }
            NodeRole::Wire => Namespace::create(&node.name, &host, sysctls::of_wire)?,
            _ => Namespace::create(&node.name, &host, sysctls::of_peer)?,
        });
    }
    Ok(namespaces)
}

/// Keeps the process on one CPU, so that packets keep their order; see [`super::prober`].
fn pin(cpu: usize) -> io::Result<()> {
    let allowed = sched_getaffinity(Pid::from_raw(0))?;
    let cpus: Vec<usize> = (0..CpuSet::count()).filter(|cpu| allowed.is_set(*cpu).unwrap_or(false)).collect();
    let Some(cpu) = cpu.checked_rem(cpus.len()).and_then(|place| cpus.get(place)) else {
        return Err(io::Error::other("this process may run on no CPU"));
    };
    let mut set = CpuSet::new();
    set.set(*cpu)?;
    Ok(sched_setaffinity(Pid::from_raw(0), &set)?)
}

/// Several sockets in each of hundreds of namespaces are more than the 1024 files of most shells.
fn raise_limit() -> io::Result<()> {
    let (_, hard) = getrlimit(Resource::RLIMIT_NOFILE)?;
    Ok(setrlimit(Resource::RLIMIT_NOFILE, hard, hard)?)
}
