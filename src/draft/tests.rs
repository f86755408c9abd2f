//! Hosts of every kind: the draft is a file that is accepted, and nothing in it is wider than it must be.

use std::collections::BTreeSet;

use ipnet::IpNet;
use proptest::prelude::*;

use super::engine::{Engine, EngineNetwork};
use super::evidence::{Mount, Session, mounts, sessions};
use super::{Draft, Evidence, RoleGuess, draft};
use crate::host::{Address, Link, Route};
use crate::intent::{Guard, Intent};
use crate::topology::{Topology, parse};

/// A host, link by link.
#[derive(Default)]
struct Build(Evidence);

impl Build {
    fn link(mut self, name: &str, kind: Option<&str>, addresses: &[&str]) -> Self {
        let index = self.0.host.links.len() as u32 + 1;
        let link = Link {
            index,
            name: name.to_owned(),
            kind: kind.map(str::to_owned),
            is_up: true,
            is_loopback: name == "lo",
            ..Link::default()
        };
        self.0.host.links.insert(index, link);
        for address in addresses {
            let address: IpNet = address.parse().unwrap();
            self.0.host.addresses.push(Address { link: index, address });
            let route = Route { to: address.trunc(), via: None, link: index, protocol: 2 };
            self.0.host.routes.push(route);
        }
        self
    }

    fn index(&self, name: &str) -> u32 {
        self.0.host.link(name).unwrap().index
    }

    fn port(mut self, port: &str, bridge: &str) -> Self {
        let (port, bridge) = (self.index(port), self.index(bridge));
        self.0.host.links.get_mut(&port).unwrap().master = Some(bridge);
        self
    }

    fn route(mut self, to: &str, via: &str, link: &str) -> Self {
        let via = (!via.is_empty()).then(|| via.parse().unwrap());
        let route = Route { to: to.parse().unwrap(), via, link: self.index(link), protocol: 3 };
        self.0.host.routes.push(route);
        self
    }

    fn draft(&self) -> (Draft, Topology) {
        let draft = draft(&self.0);
        let text = draft.toml();
        let topology = parse("draft.toml", text.as_bytes())
            .unwrap_or_else(|refused| panic!("{}\n{text}", refused.render(false, 120)));
        (draft, topology)
    }
}

/// docker0, a service NIC and another one.
fn common() -> Build {
    Build::default()
        .link("lo", None, &["127.0.0.1/8", "::1/128"])
        .link("eth0", None, &["192.168.56.10/24", "fd56::a/64", "fe80::1/64"])
        .link("eth1", None, &["192.168.57.10/24"])
        .link("docker0", Some("bridge"), &["172.17.0.1/16"])
        .route("0.0.0.0/0", "192.168.56.1", "eth0")
}

fn role(draft: &Draft, name: &str) -> RoleGuess {
    draft.nics.iter().find(|nic| nic.name.as_str() == name).unwrap().role
}

fn subnets(draft: &Draft, name: &str) -> Vec<String> {
    let nic = draft.nics.iter().find(|nic| nic.name.as_str() == name).map(|nic| &nic.subnets);
    let network = || draft.networks.iter().find(|net| net.name.to_string() == name).map(|net| &net.subnets);
    nic.or_else(network).unwrap().iter().map(ToString::to_string).collect()
}

fn has(list: &[String], part: &str) -> bool {
    list.iter().any(|line| line.contains(part))
}

#[test]
fn what_nothing_tells_of_is_closed() {
    let (draft, topology) = common().draft();
    assert_eq!(role(&draft, "eth0"), RoleGuess::Service);
    assert_eq!(role(&draft, "eth1"), RoleGuess::Unknown);
    let intent = Intent::new(&topology);
    assert_eq!(intent.guards, [Guard::None, Guard::All]);
    assert!(draft.masquerades.is_some());
}

#[test]
fn roles_by_what_they_rest_on() {
    let mut host =
        common().link("eth2", None, &["10.9.0.10/24"]).route("10.50.0.0/16", "192.168.57.1", "eth1");
    host.0.mounts = [Mount { server: "10.50.1.5".parse().unwrap(), kind: "nfs4".to_owned() }].into();
    host.0.sessions =
        [Session { local: "10.9.0.10:22".parse().unwrap(), remote: "10.9.0.77:50000".parse().unwrap() }]
            .into();
    let (draft, _) = host.draft();
    assert_eq!(role(&draft, "eth1"), RoleGuess::Storage);
    assert_eq!(role(&draft, "eth2"), RoleGuess::Management);
    assert_eq!(subnets(&draft, "eth1"), ["10.50.0.0/16", "192.168.57.0/24"]);
    // Whoever logs in by the service NIC or mounts over it does not change what it is for.
    host.0.mounts.insert(Mount { server: "8.8.8.8".parse().unwrap(), kind: "nfs".to_owned() });
    let (draft, _) = host.draft();
    assert_eq!(role(&draft, "eth0"), RoleGuess::Service);
    assert!(has(&draft.remarks, "eth0 has the default route and carries storage"));
}

#[test]
fn a_second_default_route_opens_nothing() {
    for (to, via) in [("0.0.0.0/0", "192.168.57.1"), ("::/0", "fe80::9")] {
        let (draft, topology) = common().route(to, via, "eth1").draft();
        assert_eq!(role(&draft, "eth1"), RoleGuess::Unknown, "{to}");
        assert_eq!(Intent::new(&topology).guards, [Guard::None, Guard::All]);
        assert!(has(&draft.remarks, "Default routes leave by eth0 and eth1"));
    }
    let without = Build::default().link("eth0", None, &["192.168.56.10/24"]).link(
        "docker0",
        Some("bridge"),
        &["172.17.0.1/16"],
    );
    let (draft, topology) = without.draft();
    assert_eq!(Intent::new(&topology).guards, [Guard::All]);
    assert!(has(&draft.remarks, "No NIC has a default route"));
}

#[test]
fn overlaps_are_cut_as_routing_does() {
    let host = common()
        .link("eth2", None, &["10.0.0.5/8"])
        .link("br-inside", Some("bridge"), &["10.88.0.1/16"])
        .link("eth3", None, &["192.168.56.11/24", "10.99.0.1/32"])
        .route("10.88.5.0/24", "10.0.0.9", "eth2");
    let (draft, topology) = host.draft();
    assert_eq!(subnets(&draft, "eth0"), ["192.168.56.0/24", "fd56::/64"]);
    assert_eq!(subnets(&draft, "eth3"), ["10.99.0.1/32"]);
    assert!(has(&draft.left_out, "192.168.56.0/24 of eth3: eth0 has the same network"));
    let of = |name: &str| {
        subnets(&draft, name).iter().map(|net| net.parse::<IpNet>().unwrap()).collect::<Vec<_>>()
    };
    let whose = |address: &str| {
        let address: std::net::IpAddr = address.parse().unwrap();
        let all = ["eth2", "br-inside", "eth3"];
        all.into_iter().filter(|name| of(name).iter().any(|net| net.contains(&address))).collect::<Vec<_>>()
    };
    assert_eq!(whose("10.1.2.3"), ["eth2"]);
    assert_eq!(whose("10.88.4.1"), ["br-inside"]);
    assert_eq!(whose("10.88.5.1"), ["eth2"]);
    assert_eq!(whose("10.99.0.1"), ["eth3"]);
    assert_eq!(topology.nics.len(), 4);
}

#[test]
fn odd_hosts() {
    let mut host = common()
        .link("we ird", None, &["10.1.0.1/24"])
        .link("ümlaut", Some("bridge"), &["10.2.0.1/24"])
        .link("ppp0", Some("ppp"), &["10.64.0.1/32"])
        .route("10.64.0.2/32", "", "ppp0")
        .link("eth4", None, &["fe80::4/64", "169.254.1.1/16"])
        .link("eth5", None, &[])
        .link("cali123", Some("veth"), &[])
        .route("10.65.0.7/32", "", "cali123")
        .link("service", Some("bridge"), &["172.31.0.1/24"])
        .link("eth1.100", Some("vlan"), &["10.100.0.1/24"]);
    let down = host.index("eth5");
    host.0.host.links.get_mut(&down).unwrap().is_up = false;
    let (draft, topology) = host.draft();
    for part in ["we ird: a file cannot have a name", "`", "eth5: down", "eth4: no address", "cali123: links"]
    {
        assert!(has(&draft.left_out, part) != (part == "`"), "{part}: {:?}", draft.left_out);
    }
    assert!(has(&draft.left_out, "ümlaut"), "{:?}", draft.left_out);
    assert_eq!(subnets(&draft, "ppp0"), ["10.64.0.1/32", "10.64.0.2/32"]);
    // A bridge is called like the role: the role gets another word, and reaches no more.
    let eth0 = topology.nics.iter().find(|nic| nic.name.as_str() == "eth0").unwrap();
    assert_eq!(eth0.role.0, "serv1");
    let intent = Intent::new(&topology);
    let open = intent.guards.iter().filter(|guard| **guard == Guard::None).count();
    assert_eq!(open, 1);
}

#[test]
fn patterns_flats_and_overlays() {
    let mut host = common()
        .link("br-0123456789ab", Some("bridge"), &["172.18.0.1/16"])
        .link("br-abcdef012345", Some("bridge"), &["172.19.0.1/16"])
        .link("br-fedcba987654", Some("bridge"), &["172.20.0.1/16"])
        .link("br0", Some("bridge"), &["192.168.60.10/24"])
        .link("eth2", None, &[])
        .port("eth2", "br0")
        .link("vnet0", Some("tun"), &[])
        .port("vnet0", "br0")
        .link("vx7", Some("vxlan"), &["10.7.0.1/16"])
        .link("vx8", Some("vxlan"), &["10.8.0.1/16"]);
    let (eth1, vx7, vx8) = (host.index("eth1"), host.index("vx7"), host.index("vx8"));
    for (index, lower) in [(vx7, Some(eth1)), (vx8, None)] {
        let link = host.0.host.links.get_mut(&index).unwrap();
        (link.vni, link.vxlan_port, link.lower) = (Some(7), Some(4789), lower);
    }
    host.0.engines.push(EngineNetwork {
        engine: Engine::Docker,
        name: "back\u{1b}[31m\nend".to_owned(),
        driver: "bridge".to_owned(),
        interface: Some("br-fedcba987654".to_owned()),
        parent: None,
        internal: true,
        subnets: vec!["172.20.0.0/16".parse().unwrap()],
    });
    let (draft, topology) = host.draft();
    assert_eq!(subnets(&draft, "br-*"), ["172.18.0.0/16", "172.19.0.0/16"]);
    let internal = topology.networks.iter().find(|net| net.name.stem() == "br-fedcba987654").unwrap();
    assert!(internal.reach.is_empty(), "an internal network reaches nobody");
    assert!(!draft.toml().contains('\u{1b}'));
    assert_eq!(draft.flats.len(), 1);
    assert_eq!(subnets(&draft, "eth2"), ["192.168.60.0/24"]);
    assert!(topology.networks.iter().any(|net| net.name.stem() == "vx7"));
    assert!(has(&draft.left_out, "vx8: nothing tells which NIC carries its VXLAN"));
    // A NIC with such a name: no pattern that would match it.
    let (draft, _) = host.link("br-0", None, &["10.70.0.1/24"]).draft();
    assert!(draft.networks.iter().all(|net| !net.name.is_prefix()));
}

#[test]
fn files_of_proc() {
    let text = "192.168.57.5:/export /mnt nfs4 rw,vers=4.2,addr=192.168.57.6 0 0\n\
                //10.0.0.5/share /s cifs rw 0 0\n\
                [fd57::5]:/x /y nfs rw 0 0\n\
                10.1.0.1:6789,10.1.0.2:6789:/ /c ceph rw 0 0\n\
                server:/x /z nfs rw 0 0\n/dev/sda1 / ext4 rw 0 0\n\nnfs\n";
    let servers: BTreeSet<String> = mounts(text).iter().map(|mount| mount.server.to_string()).collect();
    let wanted = ["10.0.0.5", "10.1.0.1", "10.1.0.2", "192.168.57.6", "fd57::5"];
    assert_eq!(servers, wanted.map(str::to_owned).into());
    let text = "  sl  local_address rem_address   st\n\
                0: 0A39A8C0:0016 4D39A8C0:C350 01 00000000:00000000\n\
                1: 0A39A8C0:0016 00000000:0000 0A 00000000:00000000\n\
                2: 0100007F:0016 0100007F:C350 01\n\
                3: 0000000000000000FFFF00000A39A8C0:1 0000000000000000FFFF00004D39A8C0:2 01\n\
                4: zz:1 1:1 01\n5: short\n";
    if cfg!(target_endian = "little") {
        let found: Vec<String> = sessions(text).iter().map(|s| format!("{} {}", s.local, s.remote)).collect();
        assert_eq!(found, ["192.168.57.10:1 192.168.57.77:2", "192.168.57.10:22 192.168.57.77:50000"]);
    }
}

fn any_host() -> impl Strategy<Value = Evidence> {
    let name = prop_oneof![
        "eth[0-5]",
        "br-[0-9a-f]{12}",
        "br-(lan|web)",
        "podman[0-9]",
        "docker0",
        "vx[0-3]",
        "(service|unknown|lo|all)",
        "[ -~é]{1,15}",
    ];
    let kind = prop_oneof![
        Just(None),
        prop::sample::select(vec!["bridge", "veth", "vxlan", "macvlan", "vlan", "wireguard", "ifb", "dummy"])
            .prop_map(|kind| Some(kind.to_owned())),
        Just(Some("bridge".to_owned())),
    ];
    let v4 = (prop::sample::select(vec![10_u8, 172, 127, 169, 224, 0, 192]), 0..3_u8, 0..3_u8, 0..=32_u8)
        .prop_map(|(a, b, c, bits)| IpNet::new([a, b, c, 1].into(), bits).unwrap());
    let v6 = (prop::sample::select(vec![0xfd00_u16, 0xfe80, 0xff02, 0x2001, 0]), 0..3_u16, 0..=128_u8)
        .prop_map(|(a, b, bits)| IpNet::new([a, b, 0, 0, 0, 0, 0, 1].into(), bits).unwrap());
    let net = prop_oneof![3 => v4, 1 => v6];
    let link = (name, kind, 0..14_u32, 0..14_u32, any::<bool>(), 0..4_u32);
    (
        prop::collection::vec(link, 0..12),
        prop::collection::vec((1..14_u32, net.clone()), 0..20),
        prop::collection::vec((1..14_u32, net.clone()), 0..12),
        prop::collection::vec(("br-[0-9a-f]{12}|podman[0-9]|docker0|eth1", any::<bool>(), net), 0..4),
    )
        .prop_map(|(links, addresses, routes, engines)| {
            let mut seen = Evidence::default();
            let mut names = BTreeSet::new();
            for (at, (name, kind, master, lower, is_up, vni)) in links.into_iter().enumerate() {
                if !names.insert(name.clone()) {
                    continue;
                }
                let index = at as u32 + 1;
                let link = Link {
                    index,
                    is_loopback: name == "lo",
                    name,
                    kind,
                    master: (master > 7).then(|| master - 7),
                    lower: (lower > 0).then_some(lower),
                    lower_is_elsewhere: false,
                    is_up,
                    vni: Some(vni),
                    vxlan_port: Some(4789),
                    vxlan_local: None,
                    xdp: None,
                };
                seen.host.links.insert(index, link);
            }
            seen.host.addresses =
                addresses.into_iter().map(|(link, address)| Address { link, address }).collect();
            let route = |(link, to): (u32, IpNet)| Route { to: to.trunc(), via: None, link, protocol: 3 };
            seen.host.routes = routes.into_iter().map(route).collect();
            seen.engines = engines
                .into_iter()
                .map(|(interface, internal, net)| EngineNetwork {
                    engine: Engine::Podman,
                    name: interface.clone(),
                    driver: "bridge".to_owned(),
                    interface: Some(interface),
                    parent: None,
                    internal,
                    subnets: vec![net],
                })
                .collect();
            seen
        })
}

proptest! {
    #[test]
    fn every_draft_is_accepted_and_opens_one_nic_at_most(seen in any_host()) {
        let first = draft(&seen);
        prop_assert_eq!(&first, &draft(&seen));
        if first.nics.is_empty() && first.networks.is_empty() {
            return Ok(());
        }
        let text = first.toml();
        let topology = parse("draft.toml", text.as_bytes());
        prop_assert!(topology.is_ok(), "{}\n{text}", topology.unwrap_err().render(false, 120));
        let topology = topology.unwrap();
        let intent = Intent::new(&topology);
        let mut open: BTreeSet<usize> = intent.network_reach.iter().flat_map(|reach| reach.nics.clone()).collect();
        open.extend(intent.nic_reach.iter().flat_map(|reach| reach.nics.clone()));
        prop_assert!(open.len() <= 1, "more than one NIC is reached\n{text}");
        prop_assert!(intent.network_reach.iter().all(|reach| reach.networks.is_empty()));
    }
}
