//! Changes of the host, each with what the kernel shows of it.

use std::fs;
use std::time::Instant;

use isoplan::approach::Approach;
use isoplan::intent::{Intent, IpFamily};
use isoplan::lab::build::Lab;
use isoplan::lab::{change, protect};
use isoplan::verify::change::{Change, added, applies, subject, unknown_link};
use isoplan::verify::outcome::Outcome;
use isoplan::verify::world::{Place, World};
use serde_json::Value;

use super::{SERVICE_INSTANCE, parse, read, ruleset, start};
use crate::lab::in_namespace;

/// Texts of valid fixtures, by name.
fn fixtures() -> Vec<(String, String)> {
    let directory = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures");
    let entries = fs::read_dir(directory).expect("list the fixtures");
    let paths = entries.map(|entry| entry.expect("list the fixtures").path());
    let read = |path: std::path::PathBuf| {
        let text = fs::read_to_string(path.join("topology.toml")).ok()?;
        Some((path.file_name()?.to_string_lossy().into_owned(), text))
    };
    let mut fixtures: Vec<_> = paths.filter_map(read).collect();
    fixtures.sort();
    assert!(fixtures.len() > 10, "{} fixtures", fixtures.len());
    fixtures
}

/// A lab with `nftables` applied, and a change made after that.
fn changed(change: Change) -> Lab {
    changed_with(change, Approach::Nftables).0
}

fn changed_with(change: Change, approach: Approach) -> (Lab, Vec<change::Witness>) {
    let topology = parse(SERVICE_INSTANCE);
    let intent = Intent::new(&topology);
    let mut lab = start(&intent, approach);
    assert!(applies(&intent, &lab.world, change), "{}", change.as_str());
    change::before_apply(&mut lab, &intent, change).expect("prepare the change");
    protect::apply(&lab, &intent, approach).expect("apply");
    let witnessed = change::carry_out(&mut lab, &intent, approach, change).expect("change the host");
    (lab, witnessed)
}

/// What `ip -j` shows in a namespace.
fn show(lab: &Lab, place: Place, args: &[&str]) -> Vec<Value> {
    let text = lab.at(place).feed("ip", &[&["-j"], args].concat(), "").expect("run ip");
    serde_json::from_str(&text).expect("JSON")
}

fn place(lab: &Lab, name: &str) -> Place {
    lab.world.by_name(name).unwrap_or_else(|| panic!("no node {name}"))
}

/// By which link the host sends what comes from the container to an address.
fn forwarded_by(lab: &Lab, to: &str) -> String {
    let from = if to.contains(':') { "fd17::2" } else { "172.17.0.2" };
    let routes = show(lab, Place::HOST, &["route", "get", to, "from", from, "iif", "docker0"]);
    routes[0]["dev"].as_str().expect("a route").to_owned()
}

/// The link-layer address that the host sends to for an address on a link.
fn neighbour(lab: &Lab, place: Place, of: &str, link: &str) -> String {
    let shown = show(lab, place, &["neigh", "show", "to", of, "dev", link]);
    shown
        .first()
        .map_or_else(String::new, |neighbour| neighbour["lladdr"].as_str().unwrap_or_default().to_owned())
}

fn index(lab: &Lab, link: &str) -> u64 {
    show(lab, Place::HOST, &["link", "show", "dev", link])[0]["ifindex"].as_u64().expect("an index")
}

#[test]
fn forwarding_is_toggled() {
    in_namespace(|| {
        let (lab, _) = changed_with(Change::ForwardToggled, Approach::Sysctl);
        assert_eq!(read(&lab, "net/ipv4/ip_forward"), "1");
        // What every per-interface value becomes: that is what is to be seen.
        assert_eq!(read(&lab, "net/ipv4/conf/eth1/forwarding"), "1");
        assert_eq!(read(&lab, "net/ipv6/conf/all/forwarding"), "1");
    });
}

#[test]
fn a_nic_goes_down() {
    in_namespace(|| {
        let lab = changed(Change::NicDown);
        for to in ["192.168.57.5", "fd57::5"] {
            assert_eq!(forwarded_by(&lab, to), "eth0", "{to}");
        }
        let upstream = place(&lab, "upstream");
        let foot = lab.world.feet[0].link.clone();
        for (to, from) in [("192.168.57.5", "192.168.56.10"), ("fd57::5", "fd56::a")] {
            let route = show(&lab, upstream, &["route", "get", to, "from", from, "iif", "eth0"]);
            assert_eq!(route[0]["dev"], foot.as_str(), "{route:?}");
        }
    });
}

#[test]
fn a_nic_is_made_again() {
    in_namespace(|| {
        let (lab, _) = changed_with(Change::NicRecreated, Approach::Sysctl);
        for to in ["192.168.57.5", "fd57::5", "192.168.58.1", "fd58::1"] {
            assert_eq!(forwarded_by(&lab, to), "eth1", "{to}");
        }
        assert_eq!(neighbour(&lab, Place::HOST, "192.168.57.5", "eth1").len(), 17);
        assert_eq!(read(&lab, "net/ipv4/conf/eth1/forwarding"), "1", "a new link takes the default");
    });
}

#[test]
fn a_nic_is_not_there_at_first() {
    in_namespace(|| {
        let topology = parse(SERVICE_INSTANCE);
        let intent = Intent::new(&topology);
        let mut lab = start(&intent, Approach::Layered);
        change::before_apply(&mut lab, &intent, Change::NicAbsentAtApply).expect("take it away");
        assert!(lab.host().feed("ip", &["link", "show", "dev", "eth1"], "").is_err());
        protect::apply(&lab, &intent, Approach::Layered).expect("apply without the NIC");
        assert!(ruleset(&lab).contains("table inet isoplan"));
        change::carry_out(&mut lab, &intent, Approach::Layered, Change::NicAbsentAtApply).expect("make it");
        assert_eq!(forwarded_by(&lab, "192.168.57.5"), "eth1");
        assert_eq!(read(&lab, "net/ipv4/conf/eth1/forwarding"), "1");
    });
}

#[test]
fn a_nic_gets_another_name() {
    in_namespace(|| {
        let lab = changed(Change::NicRenamed);
        for to in ["192.168.57.5", "fd57::5", "192.168.58.1", "fd58::1"] {
            assert_eq!(forwarded_by(&lab, to), "stor0", "{to}");
        }
        assert_eq!(neighbour(&lab, Place::HOST, "fd57::5", "stor0").len(), 17);
    });
}

#[test]
fn a_nic_becomes_a_port() {
    in_namespace(|| {
        let lab = changed(Change::NicEnslaved);
        for to in ["192.168.57.5", "fd57::5", "192.168.58.1", "fd58::1"] {
            assert_eq!(forwarded_by(&lab, to), "br-stor", "{to}");
        }
        assert_eq!(show(&lab, Place::HOST, &["link", "show", "dev", "eth1"])[0]["master"], "br-stor");
        assert_eq!(show(&lab, Place::HOST, &["address", "show", "dev", "br-stor"])[0]["ifname"], "br-stor");
    });
}

#[test]
fn the_bridge_is_made_again() {
    in_namespace(|| {
        let topology = parse(SERVICE_INSTANCE);
        let intent = Intent::new(&topology);
        let mut lab = start(&intent, Approach::None);
        let before = index(&lab, "docker0");
        change::carry_out(&mut lab, &intent, Approach::None, Change::BridgeRecreated).expect("make it again");
        assert_ne!(before, index(&lab, "docker0"));
        assert_eq!(show(&lab, Place::HOST, &["link", "show", "master", "docker0"]).len(), 2);
        assert_eq!(neighbour(&lab, Place::HOST, "172.17.0.2", "docker0").len(), 17);
        assert_eq!(read(&lab, "net/ipv4/conf/docker0/accept_local"), "1");
    });
}

#[test]
fn a_new_container() {
    in_namespace(|| {
        let lab = changed(Change::NewContainer);
        let (new, topology) = (place(&lab, "docker0-c2"), parse(SERVICE_INSTANCE));
        let ports = show(&lab, Place::HOST, &["link", "show", "master", "docker0"]);
        assert!(ports.iter().any(|port| port["ifname"] == "vnew0"), "{ports:?}");
        let intent = Intent::new(&topology);
        for family in IpFamily::BOTH {
            let added =
                added(&intent, &World::new(&intent), Change::NewContainer, family).expect("an address");
            assert_eq!(added.place, new);
            let shown = show(&lab, new, &["address", "show", "dev", "eth0", "to", &added.peer.to_string()]);
            assert_eq!(shown[0]["addr_info"][0]["local"], added.peer.to_string(), "{family}");
            let mac = neighbour(&lab, Place::HOST, &added.peer.to_string(), "docker0");
            assert_eq!(show(&lab, new, &["link", "show", "dev", "eth0"])[0]["address"], mac.as_str());
        }
    });
}

#[test]
fn a_new_nic_and_a_new_subnet() {
    for change in [Change::NewNic, Change::SubnetAdded] {
        let topology = parse(SERVICE_INSTANCE);
        let intent = Intent::new(&topology);
        let world = World::new(&intent);
        let nets = IpFamily::BOTH.map(|family| added(&intent, &world, change, family).expect("a subnet"));
        assert_eq!(nets.map(|added| added.host.to_string()), ["198.19.0.10/24", "fdce:15::a/64"]);
        assert_eq!(nets.map(|added| added.peer.to_string()), ["198.19.0.5", "fdce:15::5"]);
    }
}

#[test]
fn a_nic_is_new() {
    in_namespace(|| {
        let lab = changed(Change::NewNic);
        for to in ["198.19.0.5", "fdce:15::5"] {
            assert_eq!(forwarded_by(&lab, to), "enp9s0", "{to}");
        }
        assert_eq!(neighbour(&lab, place(&lab, "upstream"), "198.19.0.10", "new0").len(), 17);
    });
}

#[test]
fn a_subnet_is_added() {
    in_namespace(|| {
        let lab = changed(Change::SubnetAdded);
        for to in ["198.19.0.5", "fdce:15::5"] {
            assert_eq!(forwarded_by(&lab, to), "eth1", "{to}");
        }
        assert_eq!(neighbour(&lab, Place::HOST, "fdce:15::5", "eth1").len(), 17);
        assert_eq!(neighbour(&lab, place(&lab, "eth1-server"), "fdce:15::a", "eth0").len(), 17);
    });
}

#[test]
fn the_default_route_moves() {
    in_namespace(|| {
        let lab = changed(Change::DefaultRouteMoved);
        assert_eq!(lab.world.internet.len(), 2);
        for to in &lab.world.internet {
            assert_eq!(forwarded_by(&lab, &to.to_string()), "eth1", "{to}");
            let shown = show(&lab, place(&lab, "eth1-router"), &["route", "get", &to.to_string()]);
            assert_eq!(shown[0]["dev"], "lo", "{to}");
        }
    });
}

#[test]
fn the_way_by_the_upstream() {
    in_namespace(|| {
        let lab = changed(Change::UpstreamHairpin);
        for to in ["192.168.57.5", "192.168.57.250", "fd57::5", "fd57:0:0:0:8000::5"] {
            assert_eq!(forwarded_by(&lab, to), "eth0", "{to}");
        }
    });
}

#[test]
fn the_host_answers_for_the_server() {
    in_namespace(|| {
        let (lab, _) = changed_with(Change::ProxyArp, Approach::None);
        let container = place(&lab, "docker0-c1");
        for server in ["192.168.57.5", "fd57::5"] {
            let shown = show(&lab, container, &["neigh", "show", "to", server, "dev", "eth0"]);
            assert_eq!(shown[0]["state"][0], "REACHABLE", "{shown:?}");
        }
    });
}

#[test]
fn source_routes_are_obeyed() {
    in_namespace(|| {
        let lab = changed(Change::SourceRouting);
        for scope in ["all", "docker0", "eth1"] {
            assert_eq!(read(&lab, &format!("net/ipv4/conf/{scope}/accept_source_route")), "1");
            assert_eq!(read(&lab, &format!("net/ipv6/conf/{scope}/seg6_enabled")), "1");
        }
    });
}

#[test]
fn broadcasts_are_forwarded() {
    in_namespace(|| {
        let lab = changed(Change::BroadcastForwarding);
        for scope in ["all", "docker0", "eth1"] {
            assert_eq!(read(&lab, &format!("net/ipv4/conf/{scope}/bc_forwarding")), "1");
        }
    });
}

#[test]
fn bridges_hand_nothing_over() {
    in_namespace(|| {
        let lab = changed(Change::BridgeNfCallOff);
        assert_eq!(read(&lab, "net/bridge/bridge-nf-call-iptables"), "0");
        assert_eq!(read(&lab, "net/bridge/bridge-nf-call-ip6tables"), "0");
    });
}

#[test]
fn an_accept_goes_first() {
    in_namespace(|| {
        let (lab, _) = changed_with(Change::AcceptFirst, Approach::Iptables);
        let saved = lab.host().feed("iptables-save", &["-t", "filter"], "").expect("save the rules");
        let first = saved.lines().find(|line| line.starts_with("-A FORWARD"));
        assert_eq!(first, Some("-A FORWARD -j ACCEPT"), "{saved}");
        for family in ["ip", "ip6"] {
            let listed = lab.host().feed("nft", &["-s", "list", "chain", family, "engine", "forward"], "");
            let listed = listed.expect("list the chain");
            assert_eq!(listed.lines().nth(3).map(str::trim), Some("counter accept"), "{listed}");
        }
    });
}

#[test]
fn somebody_publishes_storage() {
    in_namespace(|| {
        let lab = changed(Change::Dnat);
        let rules = ruleset(&lab);
        for part in
            ["ip daddr 172.17.0.1", "th dport 7001 dnat to 192.168.57.5:9000", "dnat to [fd57::a]:9000"]
        {
            assert!(rules.contains(part), "{part}: {rules}");
        }
    });
}

#[test]
fn the_ruleset_is_flushed() {
    in_namespace(|| {
        let (lab, _) = changed_with(Change::RulesetFlushed, Approach::NftablesSubnet);
        let rules = ruleset(&lab);
        assert!(!rules.contains("isoplan") && rules.contains("masquerade"), "{rules}");
    });
}

#[test]
fn a_macvlan_is_given_away() {
    in_namespace(|| {
        let lab = changed(Change::Macvlan);
        let (container, server) = (place(&lab, "docker0-c1"), place(&lab, "eth1-server"));
        for to in ["192.168.57.5", "fd57::5"] {
            let shown = show(&lab, container, &["route", "get", to]);
            assert_eq!(shown[0]["dev"], "eth1", "{shown:?}");
            let own = shown[0]["prefsrc"].as_str().expect("a source");
            assert_eq!(neighbour(&lab, server, own, "eth0").len(), 17);
        }
    });
}

#[test]
fn tc_redirects() {
    in_namespace(|| {
        let lab = changed(Change::TcRedirect);
        let port = lab.world.node(place(&lab, "docker0-c1")).port.1.clone();
        let filters =
            lab.host().feed("tc", &["filter", "show", "dev", &port, "ingress"], "").expect("run tc");
        assert_eq!(filters.matches("Egress Redirect to device eth1").count(), 2, "{filters}");
    });
}

#[test]
fn applied_under_flood_nothing_arrives() {
    in_namespace(|| {
        let (_, witnessed) = changed_with(Change::AppliedUnderFlood, Approach::Nftables);
        assert_eq!(witnessed, []);
    });
}

#[test]
fn without_rules_the_flood_arrives() {
    in_namespace(|| {
        let (_, witnessed) = changed_with(Change::AppliedUnderFlood, Approach::None);
        assert_eq!(witnessed.len(), 2, "{witnessed:?}");
        for (witness, source) in witnessed.iter().zip(["192.168.57.10", "fd57::a"]) {
            assert_eq!(witness.observation.outcome, Outcome::Delivered);
            assert_eq!(witness.observation.seen[0].source.to_string(), source);
        }
    });
}

/// What a change is about is there, and what it adds is new, whatever the topology.
#[test]
fn what_changes_are_about() {
    let mut applicable = 0;
    for (name, text) in fixtures() {
        let topology = parse(&text);
        let intent = Intent::new(&topology);
        let world = World::new(&intent);
        for change in Change::ALL {
            if !applies(&intent, &world, change) {
                continue;
            }
            applicable += 1;
            let subject = subject(&intent).unwrap_or_else(|| panic!("{name}: {}", change.as_str()));
            assert!(intent.is_closed(subject.network, subject.nic), "{name}");
            let container = subject.container(&world).expect("a container");
            assert!(world.containers(subject.network).contains(&container), "{name}");
            for family in IpFamily::BOTH {
                if let Some(added) = added(&intent, &world, change, family) {
                    let old = world.nodes.iter().flat_map(|node| &node.addresses);
                    assert!(old.clone().all(|net| net.addr() != added.peer), "{name}: {}", added.peer);
                }
            }
        }
        let link = unknown_link(&intent, "br-stor").expect("a name");
        assert!(world.host_links.iter().all(|known| known.name != link), "{name}: {link}");
    }
    assert!(applicable > 100, "{applicable}");
}

/// Carries out one change after the other on one host, those that apply to it.
fn all_on(text: &str, changes: &[Change]) {
    let topology = parse(text);
    let intent = Intent::new(&topology);
    let approach = Approach::Layered;
    let mut lab = start(&intent, approach);
    protect::apply(&lab, &intent, approach).expect("apply");
    for change in changes {
        if applies(&intent, &lab.world, *change) {
            let before = Instant::now();
            let made = change::before_apply(&mut lab, &intent, *change)
                .and_then(|()| change::carry_out(&mut lab, &intent, approach, *change));
            made.unwrap_or_else(|error| panic!("{}: {error}", change.as_str()));
            eprintln!("{} in {:?}", change.as_str(), before.elapsed());
        }
    }
}

/// All but three that leave a NIC on which no other change can be made, in an order in which none takes from the
/// next what it needs.
const ONE_AFTER_THE_OTHER: [Change; 20] = [
    Change::AppliedUnderFlood,
    Change::ForwardToggled,
    Change::NicRecreated,
    Change::NicAbsentAtApply,
    Change::BridgeRecreated,
    Change::NewContainer,
    Change::NewNic,
    Change::SubnetAdded,
    Change::ProxyArp,
    Change::SourceRouting,
    Change::BroadcastForwarding,
    Change::BridgeNfCallOff,
    Change::AcceptFirst,
    Change::Dnat,
    Change::TcRedirect,
    Change::Relay,
    Change::RulesetFlushed,
    Change::NicRenamed,
    Change::DefaultRouteMoved,
    Change::UpstreamHairpin,
];

/// Tests for each fixture: each lab needs namespaces of its own.
macro_rules! carried_out {
    ($($name:ident: $fixture:literal,)*) => {
        $(mod $name {
            use super::{Change, ONE_AFTER_THE_OTHER, all_on, in_namespace};

            const TEXT: &str = include_str!(concat!("../../../fixtures/", $fixture, "/topology.toml"));

            #[test]
            fn changes() {
                in_namespace(|| all_on(TEXT, &ONE_AFTER_THE_OTHER));
            }

            #[test]
            fn enslaved() {
                in_namespace(|| all_on(TEXT, &[Change::NicEnslaved]));
            }

            #[test]
            fn down() {
                in_namespace(|| all_on(TEXT, &[Change::Macvlan, Change::NicDown]));
            }
        })*

        #[test]
        fn changes_are_made_on_every_fixture() {
            let made = [$($fixture),*];
            for (name, _) in fixtures() {
                assert!(made.contains(&name.as_str()), "no test changes {name}");
            }
        }

        #[test]
        fn every_change_is_made() {
            let alone = [Change::NicEnslaved, Change::Macvlan, Change::NicDown];
            let made: Vec<Change> = ONE_AFTER_THE_OTHER.into_iter().chain(alone).collect();
            assert!(Change::ALL.iter().all(|change| made.contains(change)), "{made:?}");
        }
    };
}

carried_out! {
    on_docker_host: "docker-host",
    on_exceptions: "exceptions",
    on_flat: "flat",
    on_ipv6_only: "ipv6-only",
    on_nat_gateway: "nat-gateway",
    on_nic_reach: "nic-reach",
    on_no_bridge: "no-bridge",
    on_overlay: "overlay",
    on_router: "router",
    on_service_instance: "service-instance",
    on_sysctl: "sysctl",
    on_three_nics: "three-nics",
    on_wildcard: "wildcard",
}
