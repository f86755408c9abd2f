//! The approaches that isoplan is compared with, carried out on the lab that isoplan ships.

/// Changes of the host.
mod changes;

use std::fs;

use isoplan::approach::{Approach, compared};
use isoplan::intent::Intent;
use isoplan::lab::build::{Lab, Options};
use isoplan::lab::{isolate, protect};
use isoplan::render::means;
use isoplan::topology::{self, Topology};
use isoplan::verify::world::World;

use crate::ISOPLAN;
use crate::lab::in_namespace;

const SERVICE_INSTANCE: &str = include_str!("../../fixtures/service-instance/topology.toml");

fn parse(text: &str) -> Topology {
    topology::parse("topology.toml", text.as_bytes()).expect("a valid topology")
}

fn typed(file: &str, approach: Approach) -> String {
    let topology = parse(file);
    means::text(&compared(&Intent::new(&topology), approach), "topology.toml")
}

#[test]
fn what_people_would_type_for_the_service_instance() {
    let check = |approach, expected: &str| assert_eq!(typed(SERVICE_INSTANCE, approach), expected);
    check(Approach::None, "");
    check(Approach::Iptables, "iptables -I DOCKER-USER -s 172.17.0.0/16 -d 192.168.57.0/24 -j DROP\n");
    check(
        Approach::NftablesSubnet,
        "table inet isoplan {\n\
         \tchain forward {\n\
         \t\ttype filter hook forward priority filter; policy accept;\n\
         \t\tip saddr 172.17.0.0/16 ip daddr 192.168.57.0/24 counter drop comment \"P1 docker0 to eth1 (storage)\"\n\
         \t\tip saddr 172.17.0.0/16 ip daddr 192.168.58.0/24 counter drop comment \"P2 docker0 to eth1 (storage)\"\n\
         \t\tip6 saddr fd17::/64 ip6 daddr fd57::/64 counter drop comment \"P3 docker0 to eth1 (storage)\"\n\
         \t\tip6 saddr fd17::/64 ip6 daddr fd58::/64 counter drop comment \"P4 docker0 to eth1 (storage)\"\n\
         \t}\n\
         }\n",
    );
    check(
        Approach::Sysctl,
        "sysctl -w net/ipv4/ip_forward=1\n\
         sysctl -w net/ipv6/conf/all/forwarding=1\n\
         sysctl -w net/ipv4/conf/eth1/forwarding=0\n",
    );
    check(
        Approach::Route,
        "ip rule add from 172.17.0.0/16 to 192.168.57.0/24 prohibit\n\
         ip rule add from 172.17.0.0/16 to 192.168.58.0/24 prohibit\n\
         ip -6 rule add from fd17::/64 to fd57::/64 prohibit\n\
         ip -6 rule add from fd17::/64 to fd58::/64 prohibit\n",
    );
    check(Approach::Nftables, "isoplan apply topology.toml\n");
    check(
        Approach::Layered,
        "isoplan apply topology.toml\n\
         sysctl -w net/ipv4/ip_forward=1\n\
         sysctl -w net/ipv6/conf/all/forwarding=1\n\
         sysctl -w net/ipv4/conf/eth1/forwarding=0\n",
    );
}

/// Of several networks and NICs, those that reach each other have no rule, and those without a subnet either.
#[test]
fn pairs_that_are_closed_and_no_others() {
    let file = "
        [[bridge]]
        name = \"br-a\"
        subnets = [\"10.1.0.0/20\", \"10.2.0.0/16\", \"fd01::/49\"]
        reach = [\"service\", \"backup\"]
        [[bridge]]
        name = \"br-b\"
        [[nic]]
        name = \"eth0\"
        role = \"service\"
        subnets = [\"192.168.56.0/24\"]
        [[nic]]
        name = \"eth1\"
        role = \"storage\"
        subnets = [\"192.168.57.128/25\", \"192.168.58.0/24\", \"fd57::1/128\"]
        [[nic]]
        name = \"eth2\"
        role = \"backup\"
        subnets = [\"192.168.59.0/24\"]";
    assert_eq!(
        typed(file, Approach::Iptables),
        "iptables -I DOCKER-USER -s 10.1.0.0/20 -d 192.168.57.128/25 -j DROP\n\
         iptables -I DOCKER-USER -s 10.2.0.0/16 -d 192.168.57.128/25 -j DROP\n"
    );
    let rules: Vec<String> = typed(file, Approach::NftablesSubnet)
        .lines()
        .filter_map(|line| Some(line.trim().split_once(" counter drop")?.0.to_owned()))
        .collect();
    assert_eq!(
        rules,
        [
            "ip saddr 10.1.0.0/20 ip daddr 192.168.57.128/25",
            "ip saddr 10.1.0.0/20 ip daddr 192.168.58.0/24",
            "ip saddr 10.2.0.0/16 ip daddr 192.168.57.128/25",
            "ip saddr 10.2.0.0/16 ip daddr 192.168.58.0/24",
            "ip6 saddr fd01::/49 ip6 daddr fd57::1",
        ]
    );
}

/// The answers to an exception come in on the NIC that would forward nothing.
#[test]
fn layered_keeps_exceptions_working() {
    let file = SERVICE_INSTANCE.to_owned()
        + "\n[[allow]]\nfrom = \"docker0\"\nto = \"192.168.57.9\"\nprotocol = \"tcp\"\nports = [2049]\n";
    assert!(
        !typed(&file, Approach::Layered).contains("eth1/forwarding"),
        "{}",
        typed(&file, Approach::Layered)
    );
}

/// A lab of a topology as it is before the approach.
fn start<'t>(intent: &Intent<'t>, approach: Approach) -> Lab {
    isolate::use_program(ISOPLAN);
    let masquerades = protect::engine_masquerades(intent, approach);
    let options = Options { engine_masquerades: masquerades, cpu: 0 };
    let lab = Lab::start(World::new(intent), options).expect("build the lab");
    protect::load_engine(&lab, intent, masquerades).expect("load the engine's rules");
    lab
}

fn ruleset(lab: &Lab) -> String {
    lab.host().feed("nft", &["--stateless", "list", "ruleset"], "").expect("list the rules")
}

/// Applies an approach twice and says what is there after that.
fn applied_twice(file: &str, approach: Approach) -> (Lab, String, String) {
    if let Some(lacking) = protect::lacking(approach) {
        panic!("{lacking}");
    }
    let topology = parse(file);
    let intent = Intent::new(&topology);
    let lab = start(&intent, approach);
    let before = ruleset(&lab);
    protect::apply(&lab, &intent, approach).expect("apply it");
    protect::apply(&lab, &intent, approach).expect("apply it again");
    let after = ruleset(&lab);
    (lab, before, after)
}

fn read(lab: &Lab, key: &str) -> String {
    fs::read_to_string(format!("/proc/sys/{key}"))
        .unwrap_or_else(|error| panic!("{key} in {}: {error}", lab.host().name))
        .trim()
        .to_owned()
}

#[test]
fn none_is_applied() {
    in_namespace(|| {
        let (_, before, after) = applied_twice(SERVICE_INSTANCE, Approach::None);
        assert_eq!(before, after);
        assert!(before.contains("ip saddr 172.17.0.0/16 oifname != \"docker0\" masquerade"), "{before}");
        assert!(before.contains("ip6 saddr fd17::/64 oifname != \"docker0\" masquerade"), "{before}");
        assert!(before.contains("dport 8001 dnat to 172.17.0.2:80"), "{before}");
    });
}

#[test]
fn iptables_is_applied() {
    in_namespace(|| {
        let (lab, _, _) = applied_twice(SERVICE_INSTANCE, Approach::Iptables);
        let saved = lab.host().feed("iptables-save", &["-t", "filter"], "").expect("save the rules");
        let rules: Vec<&str> = saved.lines().filter(|line| line.starts_with("-A")).collect();
        let jump = "-A FORWARD -j DOCKER-USER";
        let drop = "-A DOCKER-USER -s 172.17.0.0/16 -d 192.168.57.0/24 -j DROP";
        let end = "-A DOCKER-USER -j RETURN";
        // Typed twice, there twice.
        assert_eq!(rules, [jump, drop, drop, end], "{saved}");
    });
}

#[test]
fn nftables_subnet_is_applied() {
    in_namespace(|| {
        let (lab, _, after) = applied_twice(SERVICE_INSTANCE, Approach::NftablesSubnet);
        let listed =
            lab.host().feed("nft", &["list", "table", "inet", "isoplan"], "").expect("list the table");
        assert!(after.contains("ip saddr 172.17.0.0/16 ip daddr 192.168.57.0/24"), "{after}");
        assert_eq!(listed.matches("counter packets 0 bytes 0 drop").count(), 4, "{listed}");
    });
}

#[test]
fn nft_and_isoplan_write_a_drop_by_prefix_alike() {
    in_namespace(|| {
        let topology = parse(SERVICE_INSTANCE);
        let intent = Intent::new(&topology);
        let lab = start(&intent, Approach::NftablesSubnet);
        let text = means::text(&compared(&intent, Approach::NftablesSubnet), "topology.toml");
        lab.host().feed("nft", &["-f", "-"], &text).expect("load what is typed");
        let debug = ["--debug=netlink", "list", "table", "inet", "isoplan"];
        let typed = lab.host().feed("nft", &debug, "").expect("list the table");
        lab.host().feed("nft", &["delete", "table", "inet", "isoplan"], "").expect("delete the table");
        protect::apply(&lab, &intent, Approach::NftablesSubnet).expect("apply it");
        let applied = lab.host().feed("nft", &debug, "").expect("list the table");
        assert_eq!(typed, applied);
    });
}

#[test]
fn sysctl_is_applied() {
    in_namespace(|| {
        let (lab, before, after) = applied_twice(SERVICE_INSTANCE, Approach::Sysctl);
        assert_eq!(before, after);
        assert_eq!(read(&lab, "net/ipv4/conf/eth1/forwarding"), "0");
        assert_eq!(read(&lab, "net/ipv4/conf/eth0/forwarding"), "1");
    });
}

#[test]
fn route_is_applied() {
    in_namespace(|| {
        let (lab, before, after) = applied_twice(SERVICE_INSTANCE, Approach::Route);
        assert_eq!(before, after);
        for (family, rule) in [
            ("-4", "from 172.17.0.0/16 to 192.168.57.0/24 prohibit"),
            ("-6", "from fd17::/64 to fd58::/64 prohibit"),
        ] {
            let rules = lab.host().feed("ip", &[family, "rule", "show"], "").expect("show the rules");
            assert_eq!(rules.matches(rule).count(), 1, "{rules}");
            assert_eq!(rules.matches("prohibit").count(), 2, "{rules}");
        }
    });
}

#[test]
fn nftables_is_applied() {
    in_namespace(|| {
        let (lab, before, after) = applied_twice(SERVICE_INSTANCE, Approach::Nftables);
        assert!(!before.contains("masquerade"), "{before}");
        assert!(after.contains("table inet isoplan") && after.contains("masquerade"), "{after}");
        assert_eq!(read(&lab, "net/ipv4/conf/eth1/forwarding"), "1");
    });
}

#[test]
fn layered_is_applied() {
    in_namespace(|| {
        let (lab, before, after) = applied_twice(SERVICE_INSTANCE, Approach::Layered);
        assert!(!before.contains("masquerade"), "{before}");
        assert!(after.contains("table inet isoplan") && after.contains("masquerade"), "{after}");
        assert_eq!(read(&lab, "net/ipv4/conf/eth1/forwarding"), "0");
    });
}
