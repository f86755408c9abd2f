use super::*;
use crate::topology;
use crate::verify::outcome::Expected;
use crate::verify::probe::Class;
use crate::verify::question::Question;

/// The probes of a fixture.
fn of(fixture: &str, extent: Extent) -> Vec<Probe> {
    let path = format!("{}/fixtures/{fixture}/topology.toml", env!("CARGO_MANIFEST_DIR"));
    of_text(&std::fs::read_to_string(path).expect("a fixture"), extent)
}

fn of_text(text: &str, extent: Extent) -> Vec<Probe> {
    let topology = topology::parse("topology.toml", text.as_bytes()).expect("a topology");
    let intent = Intent::new(&topology);
    probes(&intent, &World::new(&intent), extent)
}

/// One bridge, and a NIC for each purpose.
const PLAIN: &str = r#"
[[bridge]]
name = "docker0"
subnets = ["172.17.0.0/16", "fd17::/64"]
[[nic]]
name = "eth0"
role = "service"
subnets = ["192.168.56.0/24", "fd56::/64"]
[[nic]]
name = "eth1"
role = "storage"
subnets = ["192.168.57.0/24", "fd57::/64"]
[[nic]]
name = "eth2"
role = "management"
subnets = ["10.9.0.0/24", "fd09::/64"]
"#;

#[test]
fn there_are_many() {
    for probes in [of("three-nics", Extent::Quick), of_text(PLAIN, Extent::Quick)] {
        assert!(probes.len() >= 110, "{}", probes.len());
        let blocked = probes.iter().filter(|probe| probe.expected == Expected::Blocked).count();
        assert!(blocked >= 110, "{blocked} to be blocked");
    }
}

/// Every question has its probes in each family; those that a topology does not ask are named here.
#[test]
fn every_question_is_asked() {
    let all = of_text(PLAIN, Extent::Full);
    for question in Question::all() {
        let families: BTreeSet<IpFamily> =
            all.iter().filter(|probe| probe.question == question).map(|probe| probe.family).collect();
        let expected: &[IpFamily] = match question {
            Question::BetweenNetworks | Question::Exceptions => &[],
            Question::SendToGuarded | Question::After(Change::BroadcastForwarding) => &[IpFamily::V4],
            Question::SendToGuardedV6 => &[IpFamily::V6],
            _ => &IpFamily::BOTH,
        };
        assert!(families.iter().eq(expected), "{question:?}: {families:?}");
    }
    let of_fixtures = [of("three-nics", Extent::Quick), of("exceptions", Extent::Quick)].concat();
    for question in [Question::BetweenNetworks, Question::Exceptions] {
        assert!(of_fixtures.iter().any(|probe| probe.question == question), "{question:?}");
    }
}

/// After every change something must be blocked and something must work, but for those that nothing stops.
#[test]
fn every_change_has_its_probes() {
    let all = of("service-instance", Extent::Full);
    for change in Change::ALL {
        let count = |expected: &[Expected]| {
            all.iter()
                .filter(|probe| probe.change == Some(change) && expected.contains(&probe.expected))
                .count()
        };
        let residuals = count(&[Expected::Residual]);
        if change.is_residual() {
            assert!(residuals > 0, "{change:?}");
            continue;
        }
        assert!(residuals == 0 && count(&[Expected::Blocked]) >= 5, "{change:?}");
        assert!(count(&[Expected::Answered, Expected::Delivered]) >= 1, "{change:?}");
    }
    assert!(all.iter().all(|probe| probe.change.is_none() || probe.name.contains('+')));
}

/// What has found a hole in some way of isolating, in the families that it exists in.
#[test]
fn no_class_of_packet_is_left_out() {
    let all = of("service-instance", Extent::Full);
    let names: BTreeSet<&str> = all.iter().map(|probe| probe.name.as_str()).collect();
    let both = [
        "docker0:eth1/udp",
        "docker0:eth1/icmp",
        "docker0:eth1/tcp",
        "docker0:eth1/session",
        "docker0:eth1/fragments",
        "docker0:eth1/tiny-fragments",
        "docker0:eth1/gre",
        "docker0:eth1/ack",
        "docker0:eth1/invalid",
        "docker0:eth1/priority-tag",
        "docker0:eth1/double-tag",
        "docker0:eth1/forged-neighbour",
        "docker0:eth1/forged-host",
        "docker0:eth1/forged-service",
        "docker0:eth1/forged-loopback",
        "docker0:eth1/behind-udp",
        "docker0:eth1/unlisted-udp",
        "docker0:eth1/established-udp",
        "docker0:eth1/established-tcp",
        "docker0:eth1/related-error",
        "docker0:host@eth1/udp",
        "docker0:host@eth1/host-forged-neighbour",
        "eth1:docker0/udp",
        "eth1:docker0/published-tcp",
        "eth1:docker0/back-answer-udp",
        "eth0:docker0/back-forged-closed",
        "eth0:eth1/udp",
        "eth1:eth0/udp",
        "eth0:host@eth1/udp",
        "docker0:eth0/session",
        "docker0:internet/udp",
        "docker0:docker0/tcp",
        "docker0:host@docker0/icmp",
        "host:eth1/session",
        "eth1:host@eth1/tcp",
        "eth0:docker0/published-tcp",
    ];
    let v4 = [
        "record-route4",
        "timestamp4",
        "loose-source-route4+source-routing",
        "strict-source-route4+source-routing",
    ];
    let v6 = ["hop-by-hop6", "destination-options6", "segment-routing6+source-routing"];
    let of_one = v4.into_iter().chain(v6).map(|name| format!("docker0:eth1/{name}"));
    let one = ["docker0:host@eth1/host-broadcast4", "docker0:eth1/broadcast4+broadcast-forwarding"];
    let wanted = both.into_iter().flat_map(|name| [format!("{name}4"), format!("{name}6")]);
    for name in wanted.chain(of_one).chain(one.map(str::to_owned)) {
        assert!(names.contains(name.as_str()), "{name}");
    }
    let classes: BTreeSet<&str> = all.iter().map(|probe| probe.entry).collect();
    assert!(classes.len() > 60, "{}", classes.len());
    assert!(all.iter().any(|probe| probe.class == Class::Residual));
}
