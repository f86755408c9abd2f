//! Changes of the containers' bridge and of what is plugged into it.

use std::io;
use std::time::{Duration, Instant};

use ipnet::IpNet;
use serde_json::Value;

use super::nic::NEW;
use super::scene::{Scene, nodad};
use crate::approach::Approach;
use crate::intent::IpFamily;
use crate::lab::build::lines::mac_text;
use crate::lab::node::Namespace;
use crate::verify::change::{Added, Change};
use crate::verify::world::Place;

/// Deletes the bridge and makes it again with all that it had; its ports are put back.
pub(super) fn recreate(scene: &Scene<'_, '_>) -> io::Result<()> {
    scene.lab.host().ip(&format!("link del dev {}\n", scene.bridge().name))?;
    scene.lab.attach_bridge(scene.bridge_index())
}

/// Makes the second container again, with another port on the bridge and other addresses.
pub(super) fn new_container(scene: &mut Scene<'_, '_>) -> io::Result<()> {
    let added = scene.added(Change::NewContainer);
    let place = added.first().map(|added| added.place);
    let place = place.ok_or_else(|| io::Error::other("there is no address left for a new container"))?;
    let port = scene.unknown("vnew0")?;
    scene.lab.at(place).ip("link del dev eth0\n")?;
    let node = &mut scene.lab.world.nodes[place.0];
    let own = mac_text(node.mac);
    node.port = (Place::HOST, port);
    node.addresses.clear();
    let bridge = &scene.bridge().name;
    let line = |new: &Added| format!("neigh replace {} lladdr {own} dev {bridge} nud permanent\n", new.peer);
    let lines: Vec<String> = added.iter().map(line).collect();
    scene.lab.host().ip(&lines.concat())?;
    added.into_iter().for_each(|added| scene.has_address(added));
    scene.lab.attach_container(place)
}

/// The host answers for the server on the bridge, and the container believes the server to be on its link.
///
/// Without any approach it is waited for the host's answers. With one, rules may keep the questions from it; the
/// container sends to it all the same as long as it asks (`NUD_VALID` in include/net/neighbour.h).
pub(super) fn proxy_arp(scene: &Scene<'_, '_>, approach: Approach) -> io::Result<()> {
    let (host, container) = (scene.lab.host(), scene.lab.at(scene.container));
    let bridge = scene.bridge();
    for scope in ["all", &bridge.name] {
        host.sysctl(&format!("net/ipv4/conf/{scope}/proxy_arp"), "1")?;
        host.sysctl(&format!("net/ipv6/conf/{scope}/proxy_ndp"), "1")?;
    }
    for (server, _) in servers(scene)? {
        let server = server.addr();
        if server.is_ipv6() {
            host.ip(&format!("neigh replace proxy {server} dev {}\n", bridge.name))?;
        }
        // Asked of the host alone, so that it answers at once: what is asked of all it answers after a random
        // time (arp_process in net/ipv4/arp.c, ndisc_recv_ns in net/ipv6/ndisc.c).
        container.ip(&format!(
            "route replace {server} dev eth0\n\
             neigh replace {server} lladdr {} dev eth0 nud probe\n",
            mac_text(bridge.mac)
        ))?;
        if approach == Approach::None {
            wait_until_believed(scene, &server.to_string())?;
        }
    }
    Ok(())
}

fn wait_until_believed(scene: &Scene<'_, '_>, server: &str) -> io::Result<()> {
    let deadline = Instant::now() + Duration::from_secs(5);
    while Instant::now() < deadline {
        let shown = show(scene.lab.at(scene.container), &["neigh", "show", "to", server, "dev", "eth0"])?;
        let states: Vec<&str> = shown
            .iter()
            .flat_map(|neighbour| neighbour["state"].as_array().into_iter().flatten())
            .filter_map(|state| state.as_str())
            .collect();
        if states.contains(&"REACHABLE") {
            return Ok(());
        }
    }
    Err(io::Error::other(format!("the host does not answer for {server}")))
}

/// A macvlan on the closed NIC for the container: `eth1`, with an address of the NIC's network.
pub(super) fn macvlan(scene: &Scene<'_, '_>) -> io::Result<()> {
    let (host, container) = (scene.lab.host(), scene.lab.at(scene.container));
    let (nic, name, own) = (&scene.nic_link()?.name, scene.unknown("mv0")?, mac_text(NEW[0]));
    host.ip(&format!(
        "link add link {nic} name {name} address {own} type macvlan mode bridge\n\
         link set dev {name} netns {} name eth1\n",
        container.name
    ))?;
    container.ip("link set dev eth1 up\n")?;
    for Added { peer, host, .. } in scene.added(Change::Macvlan) {
        container.ip(&format!("address add {peer}/{} dev eth1{}\n", host.prefix_len(), nodad(peer)))?;
        let line = format!("neigh replace {peer} lladdr {own} dev eth0 nud permanent\n");
        scene.lab.at(scene.server()?).ip(&line)?;
        scene.lab.wait_for_addresses(scene.container, &[peer])?;
    }
    container.ip(&neighbours(scene, "eth1")?)
}

/// tc takes what the container sends to the closed network at its port, and puts it out of the NIC. For that it
/// is addressed to the server's link-layer address.
pub(super) fn tc_redirect(scene: &Scene<'_, '_>) -> io::Result<()> {
    let (host, container) = (scene.lab.host(), scene.lab.at(scene.container));
    let (_, port) = &scene.lab.world.node(scene.container).port;
    let nic = &scene.link_of_nic()?.name;
    let tc = |args: &[&str]| host.feed("tc", args, "").map(drop);
    tc(&["qdisc", "add", "dev", port, "clsact"])?;
    for (_, net) in servers(scene)? {
        let (protocol, selector) = match net {
            IpNet::V4(_) => ("ip", "ip"),
            IpNet::V6(_) => ("ipv6", "ip6"),
        };
        let net = net.to_string();
        tc(&[
            "filter", "add", "dev", port, "ingress", "protocol", protocol, "u32", "match", selector, "dst",
            &net, "action", "mirred", "egress", "redirect", "dev", nic,
        ])?;
        container.ip(&format!("route replace {net} dev eth0\n"))?;
    }
    container.ip(&neighbours(scene, "eth0")?)
}

/// The server's addresses with the network on its link, in the families of the change.
fn servers(scene: &Scene<'_, '_>) -> io::Result<Vec<(IpNet, IpNet)>> {
    let server = scene.lab.world.node(scene.server()?);
    let first = |family: &IpFamily| server.addresses.iter().find(|net| IpFamily::of(net) == *family);
    Ok(scene.families.iter().filter_map(first).map(|net| (*net, net.trunc())).collect())
}

/// Writes down on a link of the container who the server is.
fn neighbours(scene: &Scene<'_, '_>, device: &str) -> io::Result<String> {
    let own = mac_text(scene.lab.world.node(scene.server()?).mac);
    let line = |(server, _): (IpNet, IpNet)| {
        format!("neigh replace {} lladdr {own} dev {device} nud permanent\n", server.addr())
    };
    Ok(servers(scene)?.into_iter().map(line).collect())
}

/// What `ip -j` shows.
fn show(namespace: &Namespace, args: &[&str]) -> io::Result<Vec<Value>> {
    let text = namespace.feed("ip", &[&["-j"], args].concat(), "")?;
    Ok(serde_json::from_str(&text)?)
}
