//! What a lab is made of, as values; [`super::build`] makes it.

use std::fmt::{self, Write as _};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::{Ipv4Net, Ipv6Net};

/// IPv4 or IPv6.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Family {
    V4,
    V6,
}

impl Family {
    pub(crate) const BOTH: [Self; 2] = [Self::V4, Self::V6];

    pub(crate) fn of(address: IpAddr) -> Self {
        if address.is_ipv4() { Self::V4 } else { Self::V6 }
    }
}

impl fmt::Display for Family {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::V4 => "IPv4",
            Self::V6 => "IPv6",
        })
    }
}

/// One network with a prefix of each family.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Net {
    pub(crate) v4: Ipv4Net,
    pub(crate) v6: Ipv6Net,
}

impl Net {
    fn new(v4: &str, v6: &str) -> Self {
        Self { v4: v4.parse().expect("an IPv4 prefix"), v6: v6.parse().expect("an IPv6 prefix") }
    }

    /// The network's address number `n`, n < 256.
    pub(crate) fn address(&self, family: Family, n: u8) -> IpAddr {
        match family {
            Family::V4 => Ipv4Addr::from_bits(self.v4.network().to_bits() | u32::from(n)).into(),
            Family::V6 => Ipv6Addr::from_bits(self.v6.network().to_bits() | u128::from(n)).into(),
        }
    }

    /// The same with the length of the prefix, as `ip address add` takes it.
    pub(crate) fn interface(&self, family: Family, n: u8) -> String {
        let length = match family {
            Family::V4 => self.v4.prefix_len(),
            Family::V6 => self.v6.prefix_len(),
        };
        format!("{}/{length}", self.address(family, n))
    }

    /// The prefix of one family.
    pub(crate) fn prefix(&self, family: Family) -> String {
        match family {
            Family::V4 => self.v4.to_string(),
            Family::V6 => self.v6.to_string(),
        }
    }
}

/// A bridge with containers. The host has address 1; the containers have 2, 3 and so on.
#[derive(Debug, Clone)]
pub(crate) struct BridgeSpec {
    pub(crate) name: &'static str,
    pub(crate) net: Net,
    pub(crate) containers: Vec<&'static str>,
}

/// A NIC of the host. The host has address 10; the server behind it has 5 and the role's name.
#[derive(Debug, Clone)]
pub(crate) struct NicSpec {
    pub(crate) name: &'static str,
    pub(crate) role: &'static str,
    pub(crate) net: Net,
    /// A second network that the server routes to. The server has address 1 there, a node `<role>-behind` 7.
    pub(crate) behind: Option<Net>,
    /// Whether the host's default route leads there.
    pub(crate) is_default: bool,
}

/// Who else masquerades on the host.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Masquerade {
    /// Nobody.
    None,
    /// A table like Docker's, which masquerades containers out of every link but their own bridge.
    LikeDocker,
}

/// A container host.
#[derive(Debug, Clone)]
pub(crate) struct HostSpec {
    pub(crate) bridges: Vec<BridgeSpec>,
    pub(crate) nics: Vec<NicSpec>,
    /// Whether the host forwards before isoplan came.
    pub(crate) forwards: bool,
    pub(crate) masquerade: Masquerade,
}

impl HostSpec {
    /// The service instance: one bridge, a service network and a storage network with a second subnet behind it.
    /// It forwards and masquerades as Docker leaves it.
    pub(crate) fn service_instance() -> Self {
        Self {
            bridges: vec![BridgeSpec {
                name: "docker0",
                net: Net::new("172.17.0.0/16", "fd17::/64"),
                containers: vec!["web", "db"],
            }],
            nics: vec![
                NicSpec {
                    name: "eth0",
                    role: "service",
                    net: Net::new("192.168.56.0/24", "fd56::/64"),
                    behind: None,
                    is_default: true,
                },
                NicSpec {
                    name: "eth1",
                    role: "storage",
                    net: Net::new("192.168.57.0/24", "fd57::/64"),
                    behind: Some(Net::new("192.168.58.0/24", "fd58::/64")),
                    is_default: false,
                },
            ],
            forwards: true,
            masquerade: Masquerade::LikeDocker,
        }
    }

    /// The service instance with a management network and a second bridge.
    pub(crate) fn three_nics() -> Self {
        let mut spec = Self::service_instance();
        spec.bridges.push(BridgeSpec {
            name: "br-app",
            net: Net::new("172.18.0.0/16", "fd18::/64"),
            containers: vec!["app", "cache"],
        });
        spec.nics.push(NicSpec {
            name: "eth2",
            role: "management",
            net: Net::new("10.9.0.0/24", "fd09::/64"),
            behind: None,
            is_default: false,
        });
        spec
    }

    /// A host as it is before any container engine ran: it forwards nothing and masquerades nothing.
    pub(crate) fn bare(mut self) -> Self {
        self.forwards = false;
        self.masquerade = Masquerade::None;
        self
    }

    /// The topology file of this host, with isoplan's own masquerade where nobody else does it.
    pub(crate) fn topology(&self) -> String {
        let mut text = String::new();
        let mut say = |line: String| writeln!(text, "{line}").expect("write to a string");
        for bridge in &self.bridges {
            let [v4, v6] = Family::BOTH.map(|family| bridge.net.prefix(family));
            say(format!("[[bridge]]\nname = \"{}\"\nsubnets = [\"{v4}\", \"{v6}\"]\n", bridge.name));
        }
        for nic in &self.nics {
            let nets = [Some(nic.net), nic.behind].into_iter().flatten();
            let subnets: Vec<String> = nets
                .flat_map(|net| Family::BOTH.map(|family| format!("\"{}\"", net.prefix(family))))
                .collect();
            let subnets = subnets.join(", ");
            say(format!(
                "[[nic]]\nname = \"{}\"\nrole = \"{}\"\nsubnets = [{subnets}]\n",
                nic.name, nic.role
            ));
        }
        say(format!("[isolation]\nmasquerade = {}", self.masquerade == Masquerade::None));
        text
    }
}
