//! Addresses: numbers within a subnet, and networks that the file does not have.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::{IpNet, Ipv4Net, Ipv6Net};

use crate::intent::IpFamily;
use crate::topology::{NicNat, Topology};

/// Where networks that nobody knows are taken from, the first that has room.
const V4: [IpNet; 6] = [
    // Benchmarks between networks (RFC 2544).
    v4([198, 18, 0, 0], 15),
    v4([10, 0, 0, 0], 8),
    v4([172, 16, 0, 0], 12),
    v4([192, 168, 0, 0], 16),
    v4([100, 64, 0, 0], 10),
    v4([128, 0, 0, 0], 2),
];
const V6: [IpNet; 3] = [
    // Unique local (RFC 4193).
    v6([0xfd15, 0x0b1a, 0x5eed, 0], 48),
    v6([0xfc00, 0, 0, 0], 7),
    v6([0x2000, 0, 0, 0], 3),
];
/// Where addresses out in the internet are taken from: documentation (RFC 5737, RFC 3849).
const INTERNET_V4: [IpNet; 3] = [v4([203, 0, 113, 0], 24), v4([198, 51, 100, 0], 24), v4([192, 0, 2, 0], 24)];
const INTERNET_V6: [IpNet; 1] = [v6([0x2001, 0xdb8, 0, 0], 32)];
/// Within those, but never on a link.
const NEVER: [IpNet; 1] = [v4([169, 254, 0, 0], 16)];

const fn v4([a, b, c, d]: [u8; 4], length: u8) -> IpNet {
    IpNet::V4(Ipv4Net::new_assert(Ipv4Addr::new(a, b, c, d), length))
}

const fn v6([a, b, c, d]: [u16; 4], length: u8) -> IpNet {
    IpNet::V6(Ipv6Net::new_assert(Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0), length))
}

/// What is taken, and what is free.
#[derive(Debug)]
pub(super) struct Space {
    /// Networks by their first address, with their last; of no two has one a part of the other.
    nets: [BTreeMap<u128, u128>; 2],
    /// Addresses that somebody in the lab has.
    taken: BTreeSet<IpAddr>,
    /// Addresses that only [`Self::take`] gives away.
    reserved: BTreeSet<IpAddr>,
}

impl Space {
    /// With everything of the file taken.
    pub(super) fn new(topology: &Topology) -> Self {
        let mut space = Self {
            nets: [BTreeMap::new(), BTreeMap::new()],
            taken: BTreeSet::new(),
            reserved: BTreeSet::new(),
        };
        let networks = topology.networks.iter().flat_map(|network| &network.subnets);
        let nics = topology.nics.iter().flat_map(|nic| &nic.subnets);
        // Wide ones first, so that what is within another is known when it comes.
        for net in networks.chain(nics).chain(&NEVER) {
            space.occupy(*net);
        }
        for nic in &topology.nics {
            let NicNat::Snat(addresses) = &nic.nat else { continue };
            for address in addresses {
                space.occupy(IpNet::from(*address));
                space.reserved.insert(*address);
            }
        }
        space
    }

    /// Keeps an address from [`Self::pick`].
    pub(super) fn reserve(&mut self, address: IpAddr) {
        self.reserved.insert(address);
    }

    /// A network of this length that overlaps with none of the file and none given before.
    pub(super) fn fresh(&mut self, family: IpFamily, length: u8) -> Option<IpNet> {
        let from: &[IpNet] = if family == IpFamily::V4 { &V4 } else { &V6 };
        self.fresh_of(from, length)
    }

    /// An address that has no network, as [`Self::fresh`].
    pub(super) fn stray(&mut self, family: IpFamily) -> Option<IpAddr> {
        self.fresh(family, max_length(family)).map(|net| net.addr())
    }

    /// An address out in the internet.
    pub(super) fn internet(&mut self, family: IpFamily) -> Option<IpAddr> {
        let (from, length): (&[IpNet], u8) =
            if family == IpFamily::V4 { (&INTERNET_V4, 24) } else { (&INTERNET_V6, 64) };
        let net = self.fresh_of(from, length).or_else(|| self.fresh(family, length))?;
        self.pick(net, 9).map(|net| net.addr())
    }

    /// An address of a network that nobody has: this number, or else the lowest that is free.
    pub(super) fn pick(&mut self, net: IpNet, number: u32) -> Option<IpNet> {
        let (first, last) = usable(net);
        let preferred = bits(net.network()) + u128::from(number);
        let preferred = Some(preferred).filter(|bits| (first..=last).contains(bits));
        let address = preferred
            .into_iter()
            .chain(first..=last)
            .map(|bits| address(family_of(net), bits))
            .find(|address| !self.taken.contains(address) && !self.reserved.contains(address))?;
        self.take(address, net)
    }

    /// A given address, where it is free, reserved or not.
    pub(super) fn take(&mut self, address: IpAddr, net: IpNet) -> Option<IpNet> {
        self.taken.insert(address).then(|| IpNet::new(address, net.prefix_len()).ok()).flatten()
    }

    /// Whether somebody has it.
    pub(super) fn is_taken(&self, address: IpAddr) -> bool {
        self.taken.contains(&address)
    }

    fn fresh_of(&mut self, from: &[IpNet], length: u8) -> Option<IpNet> {
        for range in from {
            let family = family_of(*range);
            let nets = &self.nets[usize::from(family == IpFamily::V6)];
            let size = 1_u128.checked_shl(u32::from(max_length(family) - length))?;
            let last = bits(range.broadcast());
            let mut start = bits(range.network());
            while start.checked_add(size - 1).is_some_and(|end| end <= last) {
                let end = start + (size - 1);
                let in_the_way = nets.range(..=end).next_back().filter(|(_, other)| **other >= start);
                match in_the_way {
                    None => {
                        let net = IpNet::new(address(family, start), length).ok()?;
                        self.occupy(net);
                        return Some(net);
                    }
                    // The next multiple of the size behind it.
                    Some((_, other)) => match (other / size + 1).checked_mul(size) {
                        Some(next) => start = next,
                        None => break,
                    },
                }
            }
        }
        None
    }

    fn occupy(&mut self, net: IpNet) {
        let nets = &mut self.nets[usize::from(family_of(net) == IpFamily::V6)];
        let (first, last) = (bits(net.network()), bits(net.broadcast()));
        let is_within = nets.range(..=first).next_back().is_some_and(|(_, other)| *other >= first);
        if !is_within {
            nets.insert(first, last);
        }
    }
}

/// The addresses of a network that a node can have, first and last: not the all-ones address of IPv4 and not the
/// lowest one, which old kernels take for a broadcast; not the lowest one of IPv6, which is the routers' anycast
/// address (RFC 4291, 2.6.1). A network of two addresses has both (RFC 3021, RFC 6164).
pub(super) fn usable(net: IpNet) -> (u128, u128) {
    let (first, last) = (bits(net.network()), bits(net.broadcast()));
    match net {
        _ if net.prefix_len() + 1 >= net.max_prefix_len() => (first, last),
        IpNet::V4(_) => (first + 1, last - 1),
        IpNet::V6(_) => (first + 1, last),
    }
}

/// How many addresses of a network nodes can have.
pub(super) fn room(net: IpNet) -> u128 {
    let (first, last) = usable(net);
    (last - first).saturating_add(1)
}

/// The network's address with a number; in the network or not.
pub(super) fn numbered(net: IpNet, number: u32) -> IpAddr {
    address(family_of(net), bits(net.network()).saturating_add(u128::from(number)))
}

pub(super) fn family_of(net: IpNet) -> IpFamily {
    IpFamily::of(&net)
}

fn max_length(family: IpFamily) -> u8 {
    if family == IpFamily::V4 { 32 } else { 128 }
}

pub(super) fn bits(address: IpAddr) -> u128 {
    match address {
        IpAddr::V4(address) => u128::from(address.to_bits()),
        IpAddr::V6(address) => address.to_bits(),
    }
}

pub(super) fn address(family: IpFamily, bits: u128) -> IpAddr {
    match family {
        IpFamily::V4 => Ipv4Addr::from_bits(u32::try_from(bits).unwrap_or(u32::MAX)).into(),
        IpFamily::V6 => Ipv6Addr::from_bits(bits).into(),
    }
}
