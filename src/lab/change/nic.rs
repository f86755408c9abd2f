//! Changes of the closed NIC: down, made again, renamed, enslaved, with one more subnet; and a NIC that is new.

use std::io;

use super::scene::{Scene, nodad};
use crate::lab::build::lines::{mac_text, settle};
use crate::verify::change::{Added, Change};
use crate::verify::world::{Mac, Place};

/// Deletes the NIC; its cable goes with it.
pub(super) fn unplug(scene: &Scene<'_, '_>) -> io::Result<()> {
    scene.lab.host().ip(&format!("link del dev {}\n", scene.nic_link()?.name))
}

/// Makes it again, with the name, addresses, routes and neighbours that it had. Everything else is a new link's.
pub(super) fn plug(scene: &Scene<'_, '_>) -> io::Result<()> {
    scene.lab.attach_nic(scene.subject.nic)
}

/// Gives it a name that the file does not know. It has to go down for that, and loses what it had.
pub(super) fn rename(scene: &mut Scene<'_, '_>) -> io::Result<()> {
    let (old, new) = (scene.nic_link()?.name.clone(), scene.unknown("stor0")?);
    scene
        .lab
        .host()
        .ip(&format!("link set dev {old} down\nlink set dev {old} name {new}\nlink set dev {new} up\n"))?;
    take_over(scene, new)
}

/// Puts it into a bridge that has its link-layer address, and takes over all else.
pub(super) fn enslave(scene: &mut Scene<'_, '_>) -> io::Result<()> {
    let (nic, bridge) = (scene.nic_link()?, scene.unknown("br-stor")?);
    let (name, host) = (&nic.name, scene.lab.host());
    host.ip(&format!(
        "link add name {bridge} address {} type bridge mcast_snooping 0\n\
         link set dev {bridge} up\n\
         address flush dev {name}\n\
         link set dev {name} master {bridge}\n",
        mac_text(nic.mac)
    ))?;
    // The addresses took the IPv4 routes along; these are still there.
    host.feed("ip", &["-6", "route", "flush", "dev", name], "")?;
    take_over(scene, bridge)
}

/// A device gets what the NIC had, and stands for it from now on.
fn take_over(scene: &mut Scene<'_, '_>, device: String) -> io::Result<()> {
    let neighbours = [scene.server()?, scene.router()?];
    let link = scene.lab.world.node(neighbours[0]).host_link;
    scene.lab.host().ip(&settle(&scene.lab.world, link, &device))?;
    scene.lab.world.host_links[link].name = device;
    scene.lab.wait_for(&neighbours)
}

/// Takes it down. What was routed by it takes the default route, to the upstream, which delivers it; answers go
/// back the same way.
pub(super) fn down(scene: &Scene<'_, '_>) -> io::Result<()> {
    let nic = scene.nic_link()?;
    scene.lab.host().ip(&format!("link set dev {} down\n", nic.name))?;
    scene.lab.upstream_forwards()?;
    let foot = scene.lab.world.feet.iter().find(|foot| foot.nic == scene.subject.nic);
    let foot = foot.ok_or_else(|| io::Error::other("the upstream has no link there"))?;
    // Who is the router there is told by its link-layer address.
    let foot = mac_text(foot.mac);
    let line = |gateway| format!("neigh replace {gateway} lladdr {foot} dev eth0 nud permanent\n");
    let lines: Vec<String> = nic.gateways.iter().map(line).collect();
    scene.lab.at(scene.server()?).ip(&lines.concat())
}

/// Adds a subnet at both ends that the file does not know.
pub(super) fn add_subnet(scene: &mut Scene<'_, '_>) -> io::Result<()> {
    let link = scene.link_of_nic()?;
    let (name, own) = (&link.name, mac_text(link.mac));
    let added = scene.added(Change::SubnetAdded);
    for Added { place, peer, host } in &added {
        let server = mac_text(scene.lab.world.node(*place).mac);
        let (address, length, nodad) = (host.addr(), host.prefix_len(), nodad(*peer));
        scene.lab.host().ip(&format!(
            "address add {host} dev {name}{nodad}\n\
             neigh replace {peer} lladdr {server} dev {name} nud permanent\n"
        ))?;
        scene.lab.at(*place).ip(&format!(
            "address add {peer}/{length} dev eth0{nodad}\n\
             neigh replace {address} lladdr {own} dev eth0 nud permanent\n"
        ))?;
    }
    wait_for_added(scene, &added)?;
    added.into_iter().for_each(|added| scene.has_address(added));
    Ok(())
}

/// Until both ends take packets to what was added.
fn wait_for_added(scene: &Scene<'_, '_>, added: &[Added]) -> io::Result<()> {
    for Added { place, peer, host } in added {
        scene.lab.wait_for_addresses(*place, &[*peer])?;
        scene.lab.wait_for_addresses(Place::HOST, &[host.addr()])?;
    }
    Ok(())
}

/// Link-layer addresses that no one in the lab has: of what a change adds.
pub(super) const NEW: [Mac; 2] = [[0x02, 0xff, 0, 0, 0, 1], [0x02, 0xff, 0, 0, 0, 2]];

/// A NIC that the file does not know, with the upstream at its other end.
pub(super) fn add_nic(scene: &mut Scene<'_, '_>) -> io::Result<()> {
    const FAR_END: &str = "new0";
    let name = scene.unknown("enp9s0")?;
    let added = scene.added(Change::NewNic);
    let (lab, place) = (&*scene.lab, scene.upstream()?);
    let (host, upstream) = (lab.host(), lab.at(place));
    let [near, far] = NEW.map(mac_text);
    host.ip(&format!(
        "link add name {name} address {near} type veth peer name {FAR_END} address {far} netns {}\n\
         link set dev {name} up\n",
        upstream.name
    ))?;
    upstream.ip(&format!("link set dev {FAR_END} up\n"))?;
    for Added { peer, host: net, .. } in &added {
        let (address, length, nodad) = (net.addr(), net.prefix_len(), nodad(*peer));
        host.ip(&format!(
            "address add {net} dev {name}{nodad}\n\
             neigh replace {peer} lladdr {far} dev {name} nud permanent\n"
        ))?;
        upstream.ip(&format!(
            "address add {peer}/{length} dev {FAR_END}{nodad}\n\
             neigh replace {address} lladdr {near} dev {FAR_END} nud permanent\n"
        ))?;
    }
    lab.wait_for_link(place, (FAR_END, NEW[1]), (&name, NEW[0]))?;
    wait_for_added(scene, &added)?;
    added.into_iter().for_each(|added| scene.has_address(added));
    Ok(())
}
