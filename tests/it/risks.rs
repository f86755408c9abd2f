//! Residual risks, each made on a host of namespaces and found by `isoplan status`, and gone again without it.
//!
//! What this kernel cannot make (ipvlan, flowtables, eBPF programs, virtual functions) is tested with made-up
//! values here, and with made-up messages and directories beside the readers.

use std::collections::BTreeSet;
use std::fs;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use isoplan::host::Link;
use isoplan::intent::Intent;
use isoplan::risks::{
    Elsewhere, Facts, Filter, FilterAction, Flowtable, Function, LinkElsewhere, Name, Severity, risks,
};
use nix::mount::{MsFlags, mount};
use serde_json::Value;

use crate::lab::isolate::has_program;
use crate::lab::node::{Node, PATH};
use crate::lab::{HostSpec, Program, in_namespace};
use crate::{ISOPLAN, has_namespace_of_its_own};

/// A host with the links of the service instance, and isoplan in place on it.
fn start() -> (Node, Program) {
    let host = Node::own("host");
    has_namespace_of_its_own(&host);
    host.ip("link add eth0 type veth peer name wire0\nlink add eth1 type veth peer name wire1\n\
         link add docker0 type bridge\naddress add 172.17.0.1/16 dev docker0\n\
         address add 192.168.56.10/24 dev eth0\naddress add 192.168.57.10/24 dev eth1\n\
         link set docker0 up\nlink set eth0 up\nlink set wire0 up\nlink set eth1 up\nlink set wire1 up\n")
        .expect("make links");
    let isoplan = Program::new(ISOPLAN).expect("make a directory");
    isoplan.write("topology.toml", &HostSpec::service_instance().bare().topology()).expect("write a file");
    isoplan.run(&["apply", "topology.toml", "--yes"]).ok();
    (host, isoplan)
}

fn status(isoplan: &Program) -> Value {
    let ran = isoplan.run(&["status", "topology.toml", "--json"]);
    assert_eq!(ran.code, Some(0), "a risk alone is no difference: {ran}");
    let status = ran.json();
    assert_eq!(status["unseen"], serde_json::json!([]), "{status:#}");
    status
}

/// What was found: name, severity, evidence.
fn found(isoplan: &Program) -> Vec<(String, String, String)> {
    let status = status(isoplan);
    let risks = status["risks"].as_array().expect("a list of risks").iter();
    let text = |risk: &Value, key: &str| risk[key].as_str().expect("a text").to_owned();
    risks.map(|risk| (text(risk, "name"), text(risk, "severity"), text(risk, "evidence"))).collect()
}

/// Exactly these risks, by name, severity, and a part of the evidence.
#[track_caller]
fn check(isoplan: &Program, expected: &[(&str, &str, &str)]) {
    let found = found(isoplan);
    let is = |(name, severity, evidence): &(String, String, String), expected: &(&str, &str, &str)| {
        name == expected.0 && severity == expected.1 && evidence.contains(expected.2)
    };
    assert_eq!(found.len(), expected.len(), "{found:#?}\n{expected:#?}");
    for expected in expected {
        assert!(found.iter().any(|found| is(found, expected)), "no {expected:?} in {found:#?}");
    }
}

/// An `/etc` of this test's own, in its own mount namespace.
fn own_etc() {
    mount(Some("tmpfs"), "/etc", Some("tmpfs"), MsFlags::empty(), None::<&str>).expect("mount /etc");
}

fn write(path: &str, text: &str) {
    let path = std::path::Path::new(path);
    fs::create_dir_all(path.parent().expect("a directory")).expect("make a directory");
    fs::write(path, text).expect("write a file");
}

/// A process that lives until it is dropped.
struct Guest(Child);

impl Guest {
    fn start(program: &str, args: &[&str]) -> Self {
        let mut command = Command::new(program);
        command.args(args).env("PATH", PATH).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        Self(command.spawn().expect("start a process"))
    }
}

impl Drop for Guest {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Waits until something is so; a guest needs a moment to become what it is.
#[track_caller]
fn within(what: &str, mut is_so: impl FnMut() -> bool) {
    let until = Instant::now() + Duration::from_secs(20);
    while !is_so() {
        assert!(Instant::now() < until, "{what}: not within 20 s");
        thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn links_above_a_guarded_nic() {
    in_namespace(|| {
        own_etc();
        let (host, isoplan) = start();
        check(&isoplan, &[]);
        // A NIC that may be reached is nobody's risk.
        host.ip("link add mv9 link eth0 type macvlan\n").expect("make a macvlan");
        check(&isoplan, &[]);
        host.ip("link add mv0 link eth1 type macvlan\nlink add mt0 link eth1 type macvtap\n")
            .expect("make a macvlan");
        let name = "stacked-on-guarded-nic";
        let here = [
            (name, "high", "macvlan mv0 is on nic eth1 (storage)"),
            (name, "high", "macvtap mt0 is on nic eth1"),
        ];
        check(&isoplan, &here);
        // In the namespace of a container it is still on the NIC of this host.
        let _web = Node::create("web", 1).expect("make a namespace");
        host.ip("link set mv0 netns web\nlink delete mt0\n").expect("move it");
        check(&isoplan, &[(name, "high", "macvlan mv0 of namespace web is on nic eth1 (storage)")]);
        let text = isoplan.run(&["status", "topology.toml"]).ok();
        assert!(text.contains("high    stacked-on-guarded-nic"), "{text}");
        assert_eq!(isoplan.run(&["status", "topology.toml", "--strict"]).code, Some(2));
    });
}

#[test]
fn a_guarded_nic_in_a_bridge_and_in_another_namespace() {
    in_namespace(|| {
        own_etc();
        let (host, isoplan) = start();
        host.ip("link set eth1 master docker0\n").expect("add a port");
        check(
            &isoplan,
            &[("guarded-nic-in-bridge", "high", "nic eth1 (storage) is a port of bridge docker0")],
        );
        host.ip("link set eth1 nomaster\n").expect("take it out");
        check(&isoplan, &[]);
        // A container that calls its own link like the NIC is not the one that has it.
        let web = Node::create("web", 1).expect("make a namespace");
        let _wires = Node::create("wires", 2).expect("make a namespace");
        host.ip("link set wire1 netns wires\nlink set eth1 netns wires\nlink add veth0 type veth peer name eth1 netns web\n")
            .expect("move links");
        let found = found(&isoplan);
        assert!(found.iter().all(|(_, _, evidence)| !evidence.contains("namespace web")), "{found:?}");
        assert!(
            found.iter().any(|(name, severity, evidence)| {
                (name.as_str(), severity.as_str()) == ("nic-elsewhere", "high")
                    && evidence.contains("namespace wires")
            }),
            "{found:?}"
        );
        drop(web);
    });
}

#[test]
fn containers_on_the_host_network() {
    in_namespace(|| {
        own_etc();
        let (_host, isoplan) = start();
        // With mounts of its own, as a service of systemd may be.
        let service = Guest::start("unshare", &["--mount", "sleep", "1000"]);
        let marker = |pid: u32| fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default();
        within("the service sleeps", || marker(service.0.id()) == "sleep\n");
        check(&isoplan, &[]);
        let container =
            Guest::start("unshare", &["--mount", "--pid", "--fork", "--kill-child", "sleep", "1001"]);
        let name = "container-on-host-network";
        within("the container is found", || {
            found(&isoplan).iter().any(|risk| risk.0 == name && risk.2.contains("(sleep)"))
        });
        check(&isoplan, &[(name, "high", "pid and mount namespaces of its own")]);
        // With a network of its own it is a container like any other.
        drop(container);
        let _other = Guest::start(
            "unshare",
            &["--net", "--mount", "--pid", "--fork", "--kill-child", "sleep", "1002"],
        );
        within("it is gone", || found(&isoplan).is_empty());
    });
}

#[test]
fn bridges_and_subnets_that_the_file_does_not_list() {
    in_namespace(|| {
        own_etc();
        let (host, isoplan) = start();
        // Neither address nor port: nothing goes by it.
        host.ip("link add br-x type bridge\nlink set br-x up\n").expect("make a bridge");
        check(&isoplan, &[]);
        host.ip("link add veth9 type veth peer name veth9p\nlink set veth9 master br-x\naddress add 10.5.0.1/24 dev br-x\n")
            .expect("use it");
        check(
            &isoplan,
            &[(
                "unknown-bridge",
                "medium",
                "Bridge br-x, with address 10.5.0.1/24 and port veth9, is in no entry",
            )],
        );
        host.ip("link delete br-x\n").expect("delete it");
        host.ip("address add 10.77.0.1/24 dev eth1\nroute add 10.78.0.0/16 via 192.168.57.5 dev eth1\n")
            .expect("add an address");
        let name = "unlisted-subnet";
        check(
            &isoplan,
            &[
                (name, "medium", "has an address in 10.77.0.0/24"),
                (name, "medium", "has a route to 10.78.0.0/16"),
            ],
        );
        // The second subnet behind storage is listed.
        host.ip("address del 10.77.0.1/24 dev eth1\nroute del 10.78.0.0/16\nroute add 192.168.58.0/24 via 192.168.57.5 dev eth1\n")
            .expect("change routes");
        check(&isoplan, &[]);
    });
}

/// The file says eth1 where the host says ens5: the rules are in place and close nothing.
#[test]
fn interfaces_that_are_called_otherwise() {
    in_namespace(|| {
        own_etc();
        let (host, isoplan) = start();
        let (absent, unknown) = ("absent-interface", "unknown-link");
        // Without an address nothing is behind it.
        host.ip("link add veth9 type veth peer name veth9p\nlink set veth9 up\n").expect("make a link");
        check(&isoplan, &[]);
        host.ip("address add 10.5.0.1/24 dev veth9\naddress add 2001:db8::1/64 dev veth9\n")
            .expect("add addresses");
        let told = "Link veth9, with address 10.5.0.1/24, 2001:db8::1/64, is in no entry";
        check(&isoplan, &[(unknown, "low", told)]);
        host.ip("link delete veth9\nlink set eth1 down\nlink set eth1 name ens5\nlink set ens5 up\n")
            .expect("rename it");
        check(
            &isoplan,
            &[
                (unknown, "low", "Link ens5, with address 192.168.57.10/24, is in no entry"),
                (absent, "medium", "nic eth1 (storage) is not here, and ens5, which is in no entry"),
            ],
        );
        let text = isoplan.run(&["status", "topology.toml"]).ok();
        assert!(text.contains("medium  absent-interface") && !text.contains("No residual risk"), "{text}");
        host.ip("link delete ens5\n").expect("delete it");
        check(&isoplan, &[(absent, "low", "nic eth1 (storage) is not here.")]);
        host.ip("link delete docker0\n").expect("delete it");
        let nic = (absent, "low", "nic eth1 (storage) is not here.");
        check(&isoplan, &[nic, (absent, "low", "docker0 is not here.")]);
    });
}

#[test]
fn filters_of_tc() {
    in_namespace(|| {
        own_etc();
        let (_host, isoplan) = start();
        let tc = |line: &str| {
            let output =
                Command::new("tc").args(line.split(' ')).env("PATH", PATH).output().expect("start tc");
            assert!(output.status.success(), "tc {line}: {}", String::from_utf8_lossy(&output.stderr));
        };
        tc("qdisc add dev docker0 clsact");
        tc("qdisc add dev eth0 ingress");
        // A filter that only sorts, and a classic program, which can do no more.
        tc("filter add dev docker0 ingress prio 1 protocol all u32 match u32 0 0 classid 1:1");
        let program = ["bpf", "bytecode", "1,6 0 0 0"];
        let line = "filter add dev docker0 egress prio 1 protocol all";
        let output = Command::new("tc").args(line.split(' ')).args(program).env("PATH", PATH).output();
        assert!(output.as_ref().is_ok_and(|output| output.status.success()), "{output:?}");
        check(&isoplan, &[]);
        tc(
            "filter add dev docker0 ingress prio 2 protocol all u32 match u32 0 0 action mirred egress redirect dev eth1",
        );
        let name = "tc-redirect";
        let redirect = (
            name,
            "high",
            "u32 filter of tc on docker0 (ingress) redirects packets to eth1; eth1 is storage",
        );
        check(&isoplan, &[redirect]);
        tc(
            "filter add dev eth0 parent ffff: prio 2 protocol all u32 match u32 0 0 action mirred egress mirror dev docker0",
        );
        check(&isoplan, &[redirect, (name, "medium", "on eth0 (ingress) copies packets to docker0")]);
        tc("qdisc del dev docker0 clsact");
        tc("qdisc del dev eth0 ingress");
        // The other way: from a guarded NIC, on its way out.
        tc("qdisc add dev eth1 clsact");
        tc(
            "filter add dev eth1 egress protocol all u32 match u32 0 0 action mirred egress mirror dev docker0",
        );
        check(&isoplan, &[(name, "high", "on eth1 (egress) copies packets to docker0; eth1 is storage")]);
    });
}

#[test]
fn tables_of_xtables_legacy() {
    in_namespace(|| {
        own_etc();
        let (_host, isoplan) = start();
        if !has_program("iptables-legacy") {
            assert!(std::env::var_os("CI").is_none(), "iptables-legacy is not here");
            eprintln!("skipped: iptables-legacy is not here");
            return;
        }
        let list = Command::new("iptables-legacy").args(["-t", "nat", "-L", "-n"]).env("PATH", PATH).output();
        assert!(list.as_ref().is_ok_and(|output| output.status.success()), "{list:?}");
        check(&isoplan, &[("legacy-tables", "low", "ip_tables_names has nat")]);
    });
}

#[test]
fn forwarding_that_was_reset() {
    in_namespace(|| {
        own_etc();
        let (host, isoplan) = start();
        let key = "net/ipv6/conf/eth1/forwarding";
        write("/run/sysctl.d/50-storage.conf", "net.ipv6.conf.eth1.forwarding = 0\n");
        host.sysctl(key, "0").expect("write a sysctl");
        check(&isoplan, &[]);
        // Nothing changes by this write but that every interface forwards again.
        host.sysctl("net/ipv6/conf/all/forwarding", "1").expect("write a sysctl");
        assert_eq!(host.read_sysctl(key).expect("read a sysctl"), "1");
        check(
            &isoplan,
            &[(
                "forwarding-reset",
                "medium",
                "/run/sysctl.d/50-storage.conf sets net/ipv6/conf/eth1/forwarding to 0, and it is 1",
            )],
        );
    });
}

#[test]
fn services_that_flush() {
    in_namespace(|| {
        own_etc();
        let (_host, isoplan) = start();
        write("/etc/nftables.conf", "#!/usr/sbin/nft -f\nflush ruleset\n");
        check(&isoplan, &[]);
        write("/etc/systemd/system/sysinit.target.wants/nftables.service", "");
        check(&isoplan, &[("flush-ruleset", "medium", "/etc/nftables.conf has `flush ruleset`")]);
        write("/etc/systemd/system/nftables.service.d/50-isoplan.conf", "");
        check(&isoplan, &[("flush-ruleset", "low", "isoplan is applied again behind it")]);
        fs::remove_file("/etc/nftables.conf").expect("remove a file");
        write("/etc/ufw/ufw.conf", "ENABLED=yes\n");
        check(&isoplan, &[("ufw-flush", "low", "ufw is enabled")]);
        write("/etc/ufw/ufw.conf", "ENABLED=no\n");
        // What runs is known by its name.
        fs::copy("/bin/sleep", "/run/firewalld").expect("copy a program");
        let firewalld = Guest::start("/run/firewalld", &["1000"]);
        within("firewalld runs", || found(&isoplan).iter().any(|risk| risk.0 == "firewalld-flush"));
        write("/etc/firewalld/firewalld.conf", "FlushAllOnReload=no\n");
        check(&isoplan, &[]);
        drop(firewalld);
    });
}

#[test]
fn programs_that_relay() {
    in_namespace(|| {
        own_etc();
        let (_host, isoplan) = start();
        // What runs is known by its name, and where it listens by its arguments.
        fs::copy("/bin/bash", "/run/docker-proxy").expect("copy a program");
        let relay = |address: &str| {
            let wait = "while :; do read -rt 1000 _ <> <(:); done";
            Guest::start("/run/docker-proxy", &["-c", wait, "-host-ip", address, "-host-port", "8080"])
        };
        let is_told = || found(&isoplan).iter().any(|risk| risk.0 == "relay-on-host");
        for address in ["0.0.0.0", "::", "192.168.57.10"] {
            let proxy = relay(address);
            within("docker-proxy runs", is_told);
            check(
                &isoplan,
                &[("relay-on-host", "medium", &format!("docker-proxy listens on {address} port 8080"))],
            );
            drop(proxy);
            check(&isoplan, &[]);
        }
        // Storage does not get to another address.
        let other = relay("192.168.56.10");
        let proxy = relay("0.0.0.0");
        within("docker-proxy runs", is_told);
        drop(proxy);
        check(&isoplan, &[]);
        drop(other);
    });
}

#[test]
fn a_wildcard_bridge_without_an_address_under_bridge_nf_call() {
    in_namespace(|| {
        own_etc();
        let (host, isoplan) = start();
        let text = HostSpec::service_instance().bare().topology().replace("\"docker0\"", "\"br-*\"");
        isoplan
            .write("topology.toml", &text.replace("subnets = [\"172.17.0.0/16\", \"fd17::/64\"]\n", ""))
            .expect("write a file");
        isoplan.run(&["apply", "topology.toml", "--yes"]).ok();
        host.ip("link delete docker0\nlink add br-1 type bridge\nlink add v1 type veth peer name v1p\nlink set v1 master br-1\n")
            .expect("make a bridge");
        host.sysctl("net/bridge/bridge-nf-call-iptables", "0").expect("write a sysctl");
        host.sysctl("net/bridge/bridge-nf-call-ip6tables", "0").expect("write a sysctl");
        check(&isoplan, &[]);
        host.sysctl("net/bridge/bridge-nf-call-iptables", "1").expect("write a sysctl");
        check(&isoplan, &[("bridge-nf-call", "low", "br-1 has no address")]);
        host.ip("address add 172.18.0.1/16 dev br-1\n").expect("add an address");
        check(&isoplan, &[]);
    });
}

#[test]
fn an_installation_that_is_not_whole() {
    in_namespace(|| {
        own_etc();
        let (_host, isoplan) = start();
        fs::create_dir_all("/etc/systemd/system").expect("make a directory");
        let ran = isoplan.run(&[
            "install",
            "topology.toml",
            "--yes",
            "--root",
            "/",
            "--exec-path",
            "/usr/local/sbin/isoplan",
        ]);
        assert_eq!(ran.code, Some(0), "{ran}");
        check(&isoplan, &[]);
        fs::remove_file("/etc/systemd/system/isoplan.service").expect("remove a file");
        check(
            &isoplan,
            &[("unfinished-install", "medium", "/etc/systemd/system/isoplan.service, which is gone")],
        );
    });
}

/// What this kernel has not: values as the readers would hand them on.
#[test]
fn what_this_kernel_cannot_make() {
    let topology =
        isoplan::topology::parse("topology.toml", HostSpec::service_instance().topology().as_bytes());
    let topology = topology.expect("a topology");
    let intent = Intent::new(&topology);
    let mut facts = Facts::default();
    let mut link = |index, name: &str, kind: Option<&str>, lower, xdp| {
        let (name, kind) = (name.to_owned(), kind.map(str::to_owned));
        facts.host.links.insert(index, Link { index, name, kind, lower, xdp, ..Link::default() });
    };
    link(2, "eth0", None, None, None);
    link(3, "eth1", None, None, Some(7));
    link(4, "ipvl0", Some("ipvlan"), Some(3), None);
    facts.elsewhere.push(Elsewhere {
        who: "process 7 (web)".to_owned(),
        links: vec![LinkElsewhere {
            name: "eth0".to_owned(),
            kind: Some("ipvtap".to_owned()),
            lower_here: Some(3),
        }],
    });
    facts.functions.push(Function { nic: "eth1".to_owned(), number: 1, driver: Some("vfio-pci".to_owned()) });
    facts.flowtables.push(Flowtable {
        table: "inet filter".to_owned(),
        name: "fast".to_owned(),
        links: vec!["eth0".to_owned(), "eth1".to_owned()],
    });
    facts.filters.push(Filter {
        link: "eth0".to_owned(),
        at: "ingress".to_owned(),
        kind: "bpf".to_owned(),
        does: FilterAction::Program("cil_from_netdev".to_owned()),
    });
    let found: Vec<_> =
        risks(&intent, &facts).into_iter().map(|risk| (risk.severity, risk.name, risk.evidence)).collect();
    let expected = [
        (
            Severity::High,
            Name::StackedOnGuardedNic,
            "ipvtap eth0 of process 7 (web) is on nic eth1 (storage).",
        ),
        (Severity::High, Name::StackedOnGuardedNic, "ipvlan ipvl0 is on nic eth1 (storage)."),
        (
            Severity::High,
            Name::FunctionElsewhere,
            "Virtual function 1 of nic eth1 (storage) (driver vfio-pci) has no link in this namespace.",
        ),
        (
            Severity::High,
            Name::Flowtable,
            "Flowtable fast of table inet filter takes over flows between eth0, eth1; nic eth1 (storage) is among them.",
        ),
        (Severity::Medium, Name::XdpProgram, "nic eth1 (storage) runs XDP program 7."),
        (Severity::Low, Name::AbsentInterface, "docker0 is not here."),
        (
            Severity::Low,
            Name::TcProgram,
            "A bpf filter of tc on eth0 (ingress) runs the eBPF program cil_from_netdev.",
        ),
    ];
    assert_eq!(found, expected.map(|(severity, name, evidence)| (severity, name, evidence.to_owned())));
}

/// Every risk has its row in docs/operate.md, and is made or made up by a test of this file.
#[test]
fn every_risk_has_its_row_and_its_test() {
    let document = include_str!("../../docs/operate.md");
    let table = document.split("### Residual risks").nth(1).expect("a section about risks");
    let table = table.split("\n### ").next().unwrap_or_default();
    let rows: BTreeSet<&str> =
        table.lines().filter_map(|line| line.strip_prefix("| `")?.split('`').next()).collect();
    let names: BTreeSet<&str> = Name::ALL.iter().map(|name| name.as_str()).collect();
    assert_eq!(rows, names);
    let tests = include_str!("risks.rs");
    for name in Name::ALL {
        let (word, variant) = (format!("\"{}\"", name.as_str()), format!("Name::{name:?},"));
        assert!(tests.contains(&word) || tests.contains(&variant), "no test makes {}", name.as_str());
    }
}
