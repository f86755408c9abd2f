//! The format as a whole: golden mistakes, the reference file, and files nobody wrote.

use super::*;

/// The file of the documentation, with everything in it.
const VALID: &str = r#"
# a container host
[[bridge]]
name = "docker0"
subnets = ["172.17.0.0/16", "fd17::/64"]
reach = ["service"]

[[bridge]]
name = "br-*"
subnets = ["172.18.0.0/16"]
reach = ["docker0", "br-*"]
inbound = "none"

[[overlay]]
name = "vx0"
underlay = "eth0"
vni = 42
subnets = ["10.42.0.0/16"]
reach = []

[[nic]]
name = "eth0"
role = "service"
subnets = ["192.168.56.0/24", "fd56::/64"]
reach = ["management"]
snat = "192.0.2.1"

[[nic]]
name = "eth1"
role = "storage"
subnets = ["192.168.57.0/24", "fd57::/64"]

[[nic]]
name = "eth2"
role = "management"
subnets = ["192.168.58.0/24"]

[[flat]]
name = "ext0"
nic = "eth2"

[isolation]
approach = "nftables"
masquerade = true

[[allow]]
from = "docker0"
to = "192.168.57.9"
protocol = "tcp"
ports = [2049, "8000-8010", 2050]
reason = "NFS gateway"
"#;

fn check(input: &str, expected: &[&str]) {
    let found: Vec<String> = match parse("topology.toml", input.as_bytes()) {
        Ok(_) => Vec::new(),
        Err(refused) => {
            refused.mistakes.into_iter().map(|m| format!("{}:{} {}", m.line, m.column, m.message)).collect()
        }
    };
    assert_eq!(found, expected, "in:\n{input}");
}

#[test]
fn try_out() {
    let Ok(path) = std::env::var("TRY") else { return };
    let text = std::fs::read(&path).unwrap();
    let name = std::path::Path::new(&path).file_name().unwrap().to_str().unwrap();
    match parse(name, &text) {
        Ok(t) => println!("{t:#?}"),
        Err(r) => println!("{}", r.render(false, 100)),
    }
}

#[test]
fn valid() {
    check(VALID, &[]);
}
