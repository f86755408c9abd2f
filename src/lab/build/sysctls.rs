//! Sysctls of the lab. Only rules under test are to decide about packets, whatever the namespaces took over
//! from the machine (net.core.devconf_inherit_init_net).

use std::io;

use super::super::node::{Namespace, write_sysctl};
use super::Lab;
use crate::intent::IpFamily;
use crate::verify::world::HostLinkRole;

/// For `all` and for `default`: nothing is dropped by its source, and nobody answers for others or follows
/// routes that a sender gives. What else there is as the kernel has it (net/ipv4/devinet.c).
const IPV4: [(&str, [&str; 2]); 7] = [
    ("rp_filter", ["0", "0"]),
    ("accept_local", ["0", "0"]),
    // Only where both have it.
    ("accept_source_route", ["0", "1"]),
    ("arp_ignore", ["0", "0"]),
    ("bc_forwarding", ["0", "0"]),
    ("proxy_arp", ["0", "0"]),
    ("route_localnet", ["0", "0"]),
];

/// For `all` and `default`: link-local addresses are there at once, and no link asks for routers that there are
/// not.
const IPV6: [(&str, &str); 5] = [
    ("disable_ipv6", "0"),
    ("accept_dad", "0"),
    ("router_solicitations", "0"),
    ("addr_gen_mode", "0"),
    ("proxy_ndp", "0"),
];

/// For `all` and `default` of everybody but the host: what one probe brings about is not to change the way of
/// the next.
const OF_PEERS: [(&str, &str); 3] =
    [("ipv4", "accept_redirects"), ("ipv6", "accept_redirects"), ("ipv6", "accept_ra")];

/// How long conntrack remembers a UDP flow that nobody uses, seconds: longer than any lab that probes are sent
/// in. The kernel's own 30 s would end a flow that was opened before the rules came, on a machine that is slow.
const UDP_TIMEOUT: (&[&str], &str) =
    (&["net/netfilter/nf_conntrack_udp_timeout", "net/netfilter/nf_conntrack_udp_timeout_stream"], "3600");

/// In the namespace that this thread is in, before it has a link.
pub(super) fn defaults() -> io::Result<()> {
    for (number, scope) in ["all", "default"].into_iter().enumerate() {
        for (key, values) in IPV4 {
            set(&format!("net/ipv4/conf/{scope}/{key}"), values[number])?;
        }
        for (key, value) in IPV6 {
            // A kernel may have been started without IPv6.
            if has_ipv6() {
                set(&format!("net/ipv6/conf/{scope}/{key}"), value)?;
            }
        }
    }
    for family in IpFamily::BOTH {
        if family == IpFamily::V4 || has_ipv6() {
            set(forwarding(family), "0")?;
        }
    }
    for key in UDP_TIMEOUT.0 {
        // Not there on a kernel whose conntrack is a module that nothing has asked for yet.
        match set(key, UDP_TIMEOUT.1) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
    }
    Ok(())
}

/// The same for everybody but the host.
pub(super) fn of_peer() -> io::Result<()> {
    defaults()?;
    for scope in ["all", "default"] {
        for (family, key) in OF_PEERS {
            if family == "ipv4" || has_ipv6() {
                set(&format!("net/{family}/conf/{scope}/{key}"), "0")?;
            }
        }
    }
    Ok(())
}

/// For the switches: no addresses, and frames are passed on as they are.
pub(super) fn of_wire() -> io::Result<()> {
    for scope in ["all", "default"] {
        if has_ipv6() {
            set(&format!("net/ipv6/conf/{scope}/disable_ipv6"), "1")?;
        }
    }
    for key in ["bridge-nf-call-iptables", "bridge-nf-call-ip6tables", "bridge-nf-call-arptables"] {
        match write_sysctl(&format!("net/bridge/{key}"), "0") {
            // Without br_netfilter nothing of the kind is done.
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            other => other?,
        }
    }
    Ok(())
}

/// For all links of the host, once they are there.
pub(super) fn of_host_links(lab: &Lab) -> io::Result<()> {
    (0..lab.world.host_links.len()).try_for_each(|link| of_host_link(lab, link))
}

/// For one link of the host.
pub(super) fn of_host_link(lab: &Lab, link: usize) -> io::Result<()> {
    let link = &lab.world.host_links[link];
    match link.role {
        // Lets a container send from the host's own address, which the kernel refuses by default over IPv4 and
        // never does over IPv6.
        HostLinkRole::Network(_) => {
            lab.host().sysctl(&format!("net/ipv4/conf/{}/accept_local", link.name), "1")
        }
        HostLinkRole::Nic(_) | HostLinkRole::Flat(_) => Ok(()),
    }
}

/// Switches forwarding of a family.
pub(super) fn forward(namespace: &Namespace, family: IpFamily, on: bool) -> io::Result<()> {
    namespace.sysctl(forwarding(family), if on { "1" } else { "0" })
}

const fn forwarding(family: IpFamily) -> &'static str {
    match family {
        IpFamily::V4 => "net/ipv4/ip_forward",
        IpFamily::V6 => "net/ipv6/conf/all/forwarding",
    }
}

fn has_ipv6() -> bool {
    std::path::Path::new("/proc/sys/net/ipv6").is_dir()
}

fn set(key: &str, value: &str) -> io::Result<()> {
    write_sysctl(key, value)
        .map_err(|error| io::Error::new(error.kind(), format!("cannot set {key} to {value}: {error}")))
}
