//! The format as a whole: golden mistakes, the reference file, and files nobody wrote.

use std::fs;
use std::path::Path;

use super::*;

mod rules;
mod strange;

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
    check("[[nic]]\nname = \"eth0\"\nrole = \"service\"\n", &[]);
    // Nobody to reach, nobody who could be reached.
    check("[[bridge]]\nname = \"docker0\"\n", &[]);
}

fn parsed(input: &str) -> Topology {
    match parse("topology.toml", input.as_bytes()) {
        Ok(topology) => topology,
        Err(refused) => panic!("{}", refused.render(false, 100)),
    }
}

#[test]
fn reads_what_is_written() {
    let topology = parsed(VALID);
    let names: Vec<String> = topology.networks.iter().map(|network| network.name.to_string()).collect();
    assert_eq!(names, ["docker0", "vx0", "br-*"]);
    let docker0 = &topology.networks[0];
    assert_eq!(docker0.reach, [Reach::Role(Role("service".to_owned()))]);
    assert_eq!(docker0.inbound, Inbound::Published);
    assert_eq!(topology.entry(docker0.entry).to_string(), "bridge docker0");
    assert_eq!(topology.place(docker0.entry), "topology.toml:3");
    let overlay = NetworkKind::Overlay { underlay: IfName::new("eth0").unwrap(), vni: 42, port: 4789 };
    assert_eq!(topology.networks[1].kind, overlay);
    let own = Reach::Network(NamePattern::Prefix(IfName::new("br-").unwrap()));
    assert!(topology.networks[2].reach.contains(&own));
    assert_eq!(topology.nics[0].nat, NicNat::Snat(vec!["192.0.2.1".parse().unwrap()]));
    assert_eq!(topology.flats[0].reach, [Role("service".to_owned())]);
    let allow = &topology.allows[0];
    assert_eq!(allow.ports, [(2049, 2050), (8000, 8010)].map(|(first, last)| PortRange { first, last }));
    assert_eq!(allow.from_subnets, ["172.17.0.0/16".parse().unwrap()]);
    assert_eq!(allow.to_name.to_string(), "eth1");
    assert_eq!(topology.entry(allow.entry).name, "docker0 to 192.168.57.9");
    assert!(topology.isolation.masquerade);
}

#[test]
fn defaults_of_isolation() {
    let isolation = |text: &str| {
        let topology = parsed(&format!("{text}\n[[nic]]\nname = \"eth0\"\nrole = \"service\"\n"));
        let Isolation { approach, masquerade, entry } = topology.isolation;
        (approach, masquerade, topology.entry(entry).line)
    };
    assert_eq!(isolation(""), (ApproachName::Nftables, true, 0));
    assert_eq!(isolation("[isolation]"), (ApproachName::Nftables, true, 1));
    assert_eq!(isolation("[isolation]\nmasquerade = false"), (ApproachName::Nftables, false, 1));
    assert_eq!(isolation("[isolation]\napproach = \"sysctl\""), (ApproachName::Sysctl, false, 1));
}

#[test]
fn inline_tables_are_entries() {
    let topology = parsed("bridge = [\n  { name = \"docker0\" },\n  { name = \"docker1\" },\n]\n");
    let lines: Vec<_> = topology.networks.iter().map(|n| topology.entry(n.entry).line).collect();
    assert_eq!(lines, [2, 3]);
}

/// The order of the entries has no effect but on their ids and lines.
#[test]
fn order_has_no_effect() {
    let values = |t: &Topology| {
        let networks = t.networks.iter().map(|n| (n.name.to_string(), n.subnets.clone(), n.reach.clone()));
        let nics = t.nics.iter().map(|n| (n.name.to_string(), n.subnets.clone(), n.reach.clone()));
        networks.chain(nics).collect::<Vec<_>>()
    };
    let expected = values(&parsed(VALID));
    let mut blocks: Vec<&str> = VALID.trim().split("\n\n").collect();
    for _ in 0..blocks.len() {
        blocks.rotate_left(1);
        assert_eq!(values(&parsed(&blocks.join("\n\n"))), expected);
    }
}

/// What a file of `[[allow]]`s is refused with, with NICs and bridges before them.
fn check_allows(allows: &[&str], expected: &[&str]) {
    let mut input = String::from(
        "bridge = [{ name = 'b0', subnets = ['10.1.0.0/16', 'fd01::/64'] }, \
         { name = 'b1', subnets = ['10.2.0.0/16'] }]\n\
         nic = [{ name = 'e0', role = 'service', subnets = ['10.8.0.0/16'] }, \
         { name = 'e1', role = 'storage', subnets = ['10.9.0.0/16', 'fd09::/64'] }]\n",
    );
    for allow in allows {
        input.push_str(&format!("[[allow]]\n{}\n", allow.replace("; ", "\n")));
    }
    let found: Vec<String> = match parse("topology.toml", input.as_bytes()) {
        Ok(_) => Vec::new(),
        Err(refused) => refused.mistakes.into_iter().map(|mistake| mistake.message).collect(),
    };
    assert_eq!(found, expected, "in:\n{input}");
}

#[test]
fn exceptions_cover_each_packet_once() {
    const TWICE: &str = "two exceptions cover the same packets";
    let a = "from = 'b0'; to = '10.9.0.1'";
    check_allows(&[a], &[]);
    check_allows(&[a, a], &[TWICE]);
    check_allows(&[a, "from = 'b1'; to = '10.9.0.1'"], &[]);
    check_allows(&[a, "from = 'b0'; to = '10.9.0.2'"], &[]);
    check_allows(&[a, "from = 'b0'; to = '10.9.0.0/24'"], &[TWICE]);
    check_allows(&["from = 'b0'; to = '10.9.0.0/24'", a], &[TWICE]);
    check_allows(&[a, "from = 'b0'; to = '10.9.0.0/24'; protocol = 'icmp'"], &[TWICE]);
    let tcp = |to: &str, ports: &str| format!("from = 'b0'; to = '{to}'; protocol = 'tcp'; ports = {ports}");
    let udp = |to: &str, ports: &str| tcp(to, ports).replace("tcp", "udp");
    check_allows(&[&tcp("10.9.0.1", "[1]"), &tcp("10.9.0.0/16", "['2-9']"), &udp("10.9.0.1", "[1]")], &[]);
    check_allows(&[&tcp("10.9.0.1", "[5]"), &tcp("10.9.0.0/16", "['2-9']")], &[TWICE]);
    check_allows(&[&tcp("10.9.0.1", "['1-5']"), &tcp("10.9.0.1", "['5-9']")], &[TWICE]);
    check_allows(&["from = 'b0'; to = '10.9.0.1'; protocol = 'tcp'", &tcp("10.9.0.1", "[7]")], &[TWICE]);
    // The stack forgets what is left: 10.9.2.7 only meets the second /24.
    let around =
        |port: &str| [tcp("10.9.1.0/24", "[5]"), tcp("10.9.2.0/24", port), tcp("10.9.0.0/16", "[7]")];
    let within = tcp("10.9.2.7", "[6]");
    let [a, b, c] = around("[5]");
    check_allows(&[&a, &b, &within, &c], &[]);
    let [a, b, c] = around("[6]");
    check_allows(&[&a, &b, &within, &c], &[TWICE]);
    // IPv4 and IPv6 have no packet in common.
    check_allows(&["from = 'b0'; to = '10.9.0.1'", "from = 'b0'; to = 'fd09::1'"], &[]);
}

/// Mistakes in every entry, and nothing but them.
#[test]
fn every_entry_is_checked() {
    let input = "[[bridge]]\nname = 'b 0'\n[[bridge]]\nname = 'b1'\nreach = ['x']\n\
        [[overlay]]\nname = 'v0'\nunderlay = 'e9'\nvni = 0\n[[flat]]\nname = 'f0'\nnic = 'e8'\n\
        [[nic]]\nname = 'e0'\nrole = 'service'\nsubnets = ['10.0.0.1/8']\n\
        [[nic]]\nname = 'e1'\nrole = '!'\nsubnets = ['10.0.0.0/9']\n\
        [[allow]]\nfrom = 'b7'\nto = '192.0.2.1'\n[[allow]]\nfrom = 'e0'\nto = '10.200.0.1'\nports = [0]\n\
        [isolation]\napproach = 'x'\n";
    let lines: Vec<u32> = match parse("f", input.as_bytes()) {
        Ok(_) => Vec::new(),
        Err(refused) => refused.mistakes.iter().map(|mistake| mistake.line).collect(),
    };
    assert_eq!(lines, [2, 5, 8, 9, 12, 16, 19, 20, 22, 23, 26, 27, 27, 29]);
}

#[test]
fn only_the_first_mistakes_are_shown() {
    let entry = |n: usize| format!("[[bridge]]\nname = \"br{n}\"\nreach = [\"nobody\"]\n");
    let input: String = (0..60).map(entry).collect();
    let Err(refused) = parse("f", input.as_bytes()) else { panic!("accepted") };
    assert_eq!(refused.mistakes.len(), 60);
    let text = refused.render(false, 80);
    assert_eq!(text.matches("error: ").count(), 50);
    assert!(text.ends_with("\n\nand 10 more\n\n60 errors; nothing was planned.\n"), "{text}");
}

#[test]
fn color_changes_nothing_but_color() {
    let Err(refused) = parse("f", b"[[nic]]\nname = 'e*'\n") else { panic!("accepted") };
    let colored = refused.render(true, 80);
    assert!(colored.contains("\u{1b}["));
    let mut plain = String::new();
    let mut rest = colored.as_str();
    while let Some((before, after)) = rest.split_once("\u{1b}[") {
        plain.push_str(before);
        rest = after.split_once('m').map_or("", |(_, text)| text);
    }
    plain.push_str(rest);
    assert_eq!(plain, refused.render(false, 80));
}

/// The examples of the documentation are one valid file together.
#[test]
fn documented_examples_are_valid() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/topology.md");
    let text = fs::read_to_string(path).unwrap();
    let blocks =
        text.split("\n\n").filter(|block| block.starts_with("    ")).map(|b| b.replace("\n    ", "\n"));
    let examples: Vec<String> =
        blocks.filter(|b| b.contains(" = ") && !b.contains("-->") && !b.contains("[[rule]]")).collect();
    let file = examples.iter().map(|block| format!("{}\n", block.trim())).collect::<String>();
    let topology = parsed(&file);
    assert_eq!((topology.networks.len(), topology.nics.len(), topology.allows.len()), (3, 3, 2), "{file}");
}
