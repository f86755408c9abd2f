//! What a host has besides isoplan: links, addresses, routes, and the rules of others. Values only; read by
//! [`crate::live`].

use std::collections::BTreeMap;
use std::net::IpAddr;

use ipnet::IpNet;

/// A link of this network namespace: `RTM_NEWLINK` (rtnetlink(7)).
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Link {
    /// The kernel's number of it.
    pub index: u32,
    /// Its name.
    pub name: String,
    /// `IFLA_INFO_KIND`: `bridge`, `veth`, `vxlan`, `macvlan`, ...; `None` for a piece of hardware.
    pub kind: Option<String>,
    /// The link that it is a port of, by number (`IFLA_MASTER`).
    pub master: Option<u32>,
    /// The link below it, or its peer, by number (`IFLA_LINK`; `IFLA_VXLAN_LINK` of a VXLAN).
    pub lower: Option<u32>,
    /// Whether the link below it is in another namespace (`IFLA_LINK_NETNSID`).
    pub lower_is_elsewhere: bool,
    /// Whether somebody switched it on (`IFF_UP`).
    pub is_up: bool,
    /// Whether it is a loopback (`IFF_LOOPBACK`).
    pub is_loopback: bool,
    /// `IFLA_VXLAN_ID`.
    pub vni: Option<u32>,
    /// `IFLA_VXLAN_PORT`, in host order.
    pub vxlan_port: Option<u16>,
    /// The address that it sends from: `IFLA_VXLAN_LOCAL`, `IFLA_VXLAN_LOCAL6`.
    pub vxlan_local: Option<IpAddr>,
    /// The number of the XDP program that runs on it (`IFLA_XDP_PROG_ID`).
    pub xdp: Option<u32>,
}

/// An address of this host, with the length of its network: `RTM_NEWADDR`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Address {
    /// Of which link.
    pub link: u32,
    /// The address, host bits and all.
    pub address: IpNet,
}

/// A unicast route of the main table: `RTM_NEWROUTE`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Route {
    /// Where it leads; a length of 0 is the default route.
    pub to: IpNet,
    /// The next router, where there is one.
    pub via: Option<IpAddr>,
    /// The link that it leaves by.
    pub link: u32,
    /// `RTPROT_*`: 2 is the kernel's own, for the network of an address.
    pub protocol: u8,
}

/// What a host has.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Host {
    /// By number.
    pub links: BTreeMap<u32, Link>,
    /// In the kernel's order.
    pub addresses: Vec<Address>,
    /// In the kernel's order.
    pub routes: Vec<Route>,
}

impl Host {
    /// The link of that name.
    pub fn link(&self, name: &str) -> Option<&Link> {
        self.links.values().find(|link| link.name == name)
    }
}
