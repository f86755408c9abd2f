use super::*;
use crate::topology;
use crate::verify::outcome::Expected;
use crate::verify::probe::Class;

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
    assert!(of_text(PLAIN, Extent::Full).iter().any(|probe| probe.class == Class::Residual));
}
