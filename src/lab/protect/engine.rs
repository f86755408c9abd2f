//! The rules of a container engine: what Docker leaves on a host, in tables named engine.

use std::fmt::Write as _;

use ipnet::IpNet;

use crate::intent::IpFamily;
use crate::verify::world::{HostLinkRole, World};

/// Files that `nft -f` loads one after the other, also over what it has loaded before. For each family what
/// `iptables -t nat -S` shows of Docker: `-s 172.17.0.0/16 ! -o docker0 -j MASQUERADE`, and a DNAT of what comes
/// in on other links for a local address. The FORWARD chain accepts, and has no policy of drop: Docker sets one
/// only where it has switched forwarding on itself.
///
/// More than one only where there are many networks: in a user namespace nft cannot raise its send buffer
/// (SO_SNDBUFFORCE, socket(7)), and a transaction has to fit into the usual 208 KiB.
pub(super) fn files(world: &World, masquerades: bool) -> Vec<String> {
    let mut lines = Vec::new();
    for (table, family) in [("ip", IpFamily::V4), ("ip6", IpFamily::V6)] {
        let engine = format!("{table} engine");
        lines.extend(["add", "delete", "add"].map(|verb| format!("{verb} table {engine}")));
        let mut chain = |name: &str, kind: &str, priority: &str, rules: String| {
            let hook = format!("type {kind} hook {name} priority {priority}; policy accept;");
            lines.push(format!("add chain {engine} {name} {{ {hook} }}"));
            lines.extend(rules.lines().map(|rule| format!("add rule {engine} {name} {rule}")));
        };
        for (hook, priority) in [("prerouting", "dstnat"), ("output", "-100")] {
            chain(hook, "nat", priority, published(world, family, hook));
        }
        if masquerades {
            chain("postrouting", "nat", "srcnat", masquerade(world, table, family));
        }
        chain("forward", "filter", "filter", accepts(world));
    }
    lines.chunks(LINES).map(|lines| lines.join("\n") + "\n").collect()
}

/// Lines for one transaction. No rule here takes 1 KiB of it.
const LINES: usize = 200;

fn networks(world: &World) -> impl Iterator<Item = (&str, &[IpNet])> {
    let links = world.host_links.iter().filter(|link| matches!(link.role, HostLinkRole::Network(_)));
    links.map(|link| (link.name.as_str(), link.addresses.as_slice()))
}

fn masquerade(world: &World, table: &str, family: IpFamily) -> String {
    let mut text = String::new();
    for (link, addresses) in networks(world) {
        for net in addresses.iter().filter(|net| IpFamily::of(net) == family) {
            let _ = writeln!(text, "{table} saddr {} oifname != \"{link}\" masquerade", net.trunc());
        }
    }
    text
}

fn published(world: &World, family: IpFamily, hook: &str) -> String {
    let mut text = String::new();
    for port in &world.published {
        let container = world.node(port.container);
        let (Some(address), Some(link)) =
            (container.address(family), world.host_links.get(container.host_link))
        else {
            continue;
        };
        let address = match family {
            IpFamily::V4 => address.to_string(),
            IpFamily::V6 => format!("[{address}]"),
        };
        // What the host sends came in nowhere, and then nft has no name to compare.
        let elsewhere = match hook {
            "prerouting" => format!("iifname != \"{}\" ", link.name),
            _ => String::new(),
        };
        let _ = writeln!(
            text,
            "fib daddr type local {elsewhere}meta l4proto {{ tcp, udp }} th dport {} dnat to {address}:{}",
            port.host_port, port.port
        );
    }
    text
}

fn accepts(world: &World) -> String {
    let mut text = String::new();
    for (link, _) in networks(world) {
        let _ = writeln!(text, "oifname \"{link}\" ct state established,related accept");
        let _ = writeln!(text, "iifname \"{link}\" accept");
    }
    for port in &world.published {
        let link = world.host_links.get(world.node(port.container).host_link);
        if let Some(link) = link {
            let _ = writeln!(text, "oifname \"{}\" ct status dnat accept", link.name);
        }
    }
    text
}
