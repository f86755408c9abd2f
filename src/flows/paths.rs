//! Which link an address is behind: the main table, asked without the kernel.

use std::collections::BTreeMap;
use std::net::IpAddr;

use ipnet::IpNet;

use crate::host::Host;

/// Addresses and routes of a host, for many questions.
pub(super) struct Paths<'h> {
    host: &'h Host,
    local: BTreeMap<IpAddr, u32>,
    /// By family and length, longest first when walked backwards; then by network.
    routes: BTreeMap<(bool, u8), BTreeMap<IpAddr, u32>>,
}

impl<'h> Paths<'h> {
    pub(super) fn new(host: &'h Host) -> Self {
        let mut local = BTreeMap::new();
        for address in &host.addresses {
            local.entry(address.address.addr()).or_insert(address.link);
        }
        let mut routes: BTreeMap<(bool, u8), BTreeMap<IpAddr, u32>> = BTreeMap::new();
        for route in &host.routes {
            let key = (route.to.addr().is_ipv4(), route.to.prefix_len());
            // Of routes to the same network the first has the lowest metric.
            routes.entry(key).or_default().entry(route.to.network()).or_insert(route.link);
        }
        Self { host, local, routes }
    }

    /// The link that has an address of this host.
    pub(super) fn home_of(&self, address: IpAddr) -> Option<u32> {
        let is_loopback = address.is_loopback();
        let loopback = || self.host.links.values().find(|link| link.is_loopback).map_or(0, |link| link.index);
        self.local.get(&address).copied().or_else(|| is_loopback.then(loopback))
    }

    /// The link that packets to an address leave by, and come from.
    pub(super) fn link_to(&self, address: IpAddr) -> Option<u32> {
        let is_v4 = address.is_ipv4();
        let lengths = self.routes.range((is_v4, 0)..=(is_v4, u8::MAX)).rev();
        lengths.into_iter().find_map(|((_, length), routes)| {
            let network = IpNet::new(address, *length).ok()?.network();
            routes.get(&network).copied()
        })
    }

    pub(super) fn name(&self, link: u32) -> Option<&'h str> {
        self.host.links.get(&link).map(|link| link.name.as_str())
    }

    /// The name of the link that an address is behind; empty where nothing leads there.
    pub(super) fn name_to(&self, address: IpAddr) -> &'h str {
        self.link_to(address).and_then(|link| self.name(link)).unwrap_or_default()
    }

    /// `RTN_*` of an address, seen from a link where one is given: 1 unicast, 2 local, 3 broadcast, 5 multicast.
    pub(super) fn kind(&self, address: IpAddr, on: Option<&str>) -> u32 {
        let is_here = |link: u32| on.is_none_or(|on| self.name(link) == Some(on));
        let is_broadcast = || match address {
            IpAddr::V4(v4) => {
                let ends = |has: &crate::host::Address| match has.address {
                    IpNet::V4(net) => net.prefix_len() < 31 && net.broadcast() == v4,
                    IpNet::V6(_) => false,
                };
                v4.is_broadcast() || self.host.addresses.iter().any(ends)
            }
            IpAddr::V6(_) => false,
        };
        match self.home_of(address) {
            _ if address.is_multicast() => 5,
            Some(link) if is_here(link) => 2,
            _ if is_broadcast() => 3,
            _ => 1,
        }
    }
}
