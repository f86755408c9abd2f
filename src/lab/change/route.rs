//! Changes of where the host routes to.

use std::io;

use ipnet::IpNet;

use super::scene::{Scene, nodad};
use crate::intent::IpFamily;

/// The default route leaves by the closed NIC, and the router there has the addresses of the internet.
pub(super) fn default_moved(scene: &Scene<'_, '_>) -> io::Result<()> {
    let lab = &*scene.lab;
    let (router, link) = (lab.world.node(scene.router()?), scene.link_of_nic()?);
    let gateways = scene.families.iter().filter_map(|family| router.address(*family));
    let lines: Vec<String> =
        gateways.map(|gateway| format!("route replace default via {gateway} dev {}\n", link.name)).collect();
    lab.host().ip(&lines.concat())?;
    let internet = lab.world.internet.iter();
    let lines: Vec<String> =
        internet.map(|address| format!("address replace {address} dev lo{}\n", nodad(*address))).collect();
    lab.at(scene.router()?).ip(&lines.concat())?;
    lab.wait_for_addresses(scene.router()?, &lab.world.internet)
}

/// The halves of the closed network, which go before the whole, are routed to the upstream.
pub(super) fn upstream_hairpin(scene: &Scene<'_, '_>) -> io::Result<()> {
    let lab = &*scene.lab;
    let (upstream, link) = (lab.world.node(scene.upstream()?), scene.link_of_nic()?);
    let mut lines = String::new();
    for family in &scene.families {
        let Some(gateway) = upstream.address(*family) else { continue };
        for net in link.subnets.iter().filter(|net| IpFamily::of(net) == *family) {
            for half in halves(*net) {
                lines.push_str(&format!("route replace {half} via {gateway}\n"));
            }
        }
    }
    lab.host().ip(&lines)?;
    lab.upstream_forwards()
}

/// A network in two, or a single address as it is.
fn halves(net: IpNet) -> Vec<IpNet> {
    net.subnets(net.prefix_len() + 1).map_or_else(|_| vec![net], Iterator::collect)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn halves_of_networks() {
        let check = |net: &str, expected: &[&str]| {
            let found: Vec<String> =
                halves(net.parse().expect("a network")).iter().map(ToString::to_string).collect();
            assert_eq!(found, expected);
        };
        check("192.168.57.0/24", &["192.168.57.0/25", "192.168.57.128/25"]);
        check("fd57::1/128", &["fd57::1/128"]);
    }
}
