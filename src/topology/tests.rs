//! The format as a whole: golden mistakes, the reference file, and files nobody wrote.

use std::fs;
use std::path::Path;

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

/// Every `fixtures/invalid/<case>/` with what it is refused with; ISOPLAN_BLESS=1 rewrites.
#[test]
fn golden_mistakes() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/invalid");
    let bless = std::env::var_os("ISOPLAN_BLESS").is_some();
    let mut cases: Vec<_> = fs::read_dir(&root).unwrap().map(|entry| entry.unwrap().path()).collect();
    cases.sort();
    assert!(cases.len() >= 25, "{} has {} cases", root.display(), cases.len());
    let mut wrong = Vec::new();
    for case in &cases {
        let input = fs::read(case.join("topology.toml")).unwrap();
        let rendered = match parse("topology.toml", &input) {
            Ok(_) => "accepted\n".to_owned(),
            Err(refused) => refused.render(false, 100),
        };
        let expected = case.join("expected.stderr");
        if bless {
            fs::write(&expected, &rendered).unwrap();
        }
        match fs::read_to_string(&expected) {
            Ok(text) if text == rendered && rendered != "accepted\n" => {}
            other => wrong.push(format!("{}: {other:?}\ninstead of\n{rendered}", case.display())),
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn valid() {
    check(VALID, &[]);
}
