//! Faults that isoplan once had. Each test fails where its fault comes back.

mod files;
mod journal;
mod packets;
mod prompt;
mod sysctls;

use std::fs;
use std::path::PathBuf;

use crate::lab::Program;
use crate::lab::node::Node;
use crate::live::{forwarding, listing};
use crate::{ISOPLAN, has_namespace_of_its_own};

/// A service instance, with IPv4 alone.
const V4: &str = r#"
[[bridge]]
name = "docker0"
subnets = ["172.17.0.0/16"]

[[nic]]
name = "eth0"
role = "service"
subnets = ["192.168.56.0/24"]

[[nic]]
name = "eth1"
role = "storage"
subnets = ["192.168.57.0/24"]
"#;

/// The same with both families.
fn both_families() -> String {
    V4.replace("172.17.0.0/16\"", "172.17.0.0/16\", \"fd17::/64\"")
        .replace("192.168.56.0/24\"", "192.168.56.0/24\", \"fd56::/64\"")
        .replace("192.168.57.0/24\"", "192.168.57.0/24\", \"fd57::/64\"")
}

/// An empty namespace, and isoplan with these topologies.
fn start() -> (Node, Program) {
    let host = Node::own("host");
    has_namespace_of_its_own(&host);
    let isoplan = Program::new(ISOPLAN).expect("make a directory");
    isoplan.write("topology.toml", V4).expect("write a topology");
    isoplan.write("both.toml", &both_families()).expect("write a topology");
    let sysctl = format!("{V4}\n[isolation]\napproach = \"sysctl\"\n");
    isoplan.write("sysctl.toml", &sysctl).expect("write a topology");
    (host, isoplan)
}

/// The tables of isoplan, and forwarding of each family.
fn state(host: &Node) -> (Option<String>, [String; 2]) {
    (listing(host), forwarding(host))
}

const IP_FORWARD: &str = "net/ipv4/ip_forward";

fn set_forwarding(host: &Node, value: &str) {
    host.sysctl(IP_FORWARD, value).expect("write a sysctl");
}

fn delete_table(host: &Node) {
    host.nft_load("delete table inet isoplan").expect("delete the table");
}

/// What is kept for this namespace below a state directory.
fn own_directory(isoplan: &Program, base: &str) -> PathBuf {
    let entries = fs::read_dir(isoplan.directory().join(base)).expect("list the state");
    let paths = entries.map(|entry| entry.expect("list the state").path());
    let names: Vec<_> = paths.filter(|path| path.is_dir()).collect();
    assert_eq!(names.len(), 1, "{names:?}");
    names[0].clone()
}

/// The journal of sysctls.
fn journal_file(isoplan: &Program) -> PathBuf {
    own_directory(isoplan, "state").join("sysctls.json")
}
