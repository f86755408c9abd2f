//! Who is on a host, as lines: NICs with their roles, flats, and container networks, counted where they are many.

use crate::topology::{Network, NetworkKind, NicNat, Topology};

use super::group::grouped;

/// As many networks are told one by one.
const NETWORKS: usize = 20;

/// A line for each. Text between backticks is code.
pub(super) fn parties(topology: &Topology) -> Vec<String> {
    let mut lines = Vec::new();
    for nic in &topology.nics {
        let nat = match &nic.nat {
            NicNat::None => "",
            NicNat::Masquerade => "; what it sends to others gets their address",
            NicNat::Snat(_) => "; what it sends to others gets a source address of the file",
        };
        lines.push(format!(
            "NIC `{}`, {}{}{nat} ({})",
            nic.name,
            nic.role,
            subnets(&nic.subnets),
            topology.place(nic.entry)
        ));
    }
    for flat in &topology.flats {
        lines.push(format!(
            "flat network `{}`, bridged onto `{}` ({})",
            flat.name,
            flat.nic,
            topology.place(flat.entry)
        ));
    }
    if topology.networks.len() <= NETWORKS {
        lines.extend(topology.networks.iter().map(|network| line(topology, network)));
    } else {
        let names: Vec<_> = topology.networks.iter().map(|network| format!("\"{}\"", network.name)).collect();
        lines.extend(
            grouped(&names).iter().map(|group| format!("container networks, {}", group.replace('"', "`"))),
        );
    }
    lines
}

fn line(topology: &Topology, network: &Network) -> String {
    let kind = match &network.kind {
        NetworkKind::Bridge => "bridge".to_owned(),
        NetworkKind::Overlay { .. } => "overlay".to_owned(),
    };
    let under = match &network.kind {
        NetworkKind::Bridge => String::new(),
        NetworkKind::Overlay { underlay, vni, port } => {
            format!(", VNI {vni}, over `{underlay}`, UDP port {port}")
        }
    };
    format!(
        "{kind} `{}`{}{under} ({})",
        network.name,
        subnets(&network.subnets),
        topology.place(network.entry)
    )
}

fn subnets(subnets: &[ipnet::IpNet]) -> String {
    let list: Vec<_> = subnets.iter().map(ToString::to_string).collect();
    if list.is_empty() {
        ", without subnets in the file".to_owned()
    } else {
        format!(": {}", list.join(", "))
    }
}
