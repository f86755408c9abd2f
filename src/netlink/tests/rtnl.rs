//! Links, addresses and routes, against what `ip` says of them.

use std::collections::BTreeMap;
use std::io::Write as _;
use std::process::{Command, Stdio};

use serde_json::Value;

use crate::host::{Address, Host, Link, Route};
use crate::netlink::host;
use crate::netlink::test_ns::{Privilege, in_namespaces};

/// What `ip -j -d ...` prints.
fn ip(arguments: &str) -> Vec<Value> {
    let output = Command::new("ip").args(["-j", "-d"]).args(arguments.split(' ')).output().unwrap();
    assert!(output.status.success(), "ip {arguments}: {}", String::from_utf8_lossy(&output.stderr));
    if output.stdout.trim_ascii().is_empty() {
        return Vec::new();
    }
    serde_json::from_slice(&output.stdout).unwrap()
}

/// Carries out a line each.
fn batch(lines: &str) {
    let mut child = Command::new("ip").args(["-batch", "-"]).stdin(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(lines.as_bytes()).unwrap();
    assert!(child.wait().unwrap().success(), "ip -batch");
}

fn number(value: &Value) -> Option<u32> {
    value.as_u64().and_then(|number| u32::try_from(number).ok())
}

/// The same as `host()`, out of the mouth of iproute2.
fn as_ip_says() -> Host {
    let links = ip("link show");
    let indices: BTreeMap<String, u32> = links
        .iter()
        .map(|link| (link["ifname"].as_str().unwrap().to_owned(), number(&link["ifindex"]).unwrap()))
        .collect();
    let index = |value: &Value| value.as_str().map(|name| indices[name]);
    let mut host = Host::default();
    for link in &links {
        let flags = link["flags"].as_array().unwrap();
        let info = &link["linkinfo"];
        let found = Link {
            index: number(&link["ifindex"]).unwrap(),
            name: link["ifname"].as_str().unwrap().to_owned(),
            kind: info["info_kind"].as_str().map(str::to_owned),
            master: index(&link["master"]),
            lower: index(&link["link"]).or(number(&link["link_index"])).or(index(&info["info_data"]["link"])),
            lower_is_elsewhere: !link["link_netnsid"].is_null(),
            is_up: flags.contains(&"UP".into()),
            is_loopback: flags.contains(&"LOOPBACK".into()),
            vni: number(&info["info_data"]["id"]).filter(|_| info["info_kind"] == "vxlan"),
            vxlan_port: number(&info["info_data"]["port"])
                .filter(|_| info["info_kind"] == "vxlan")
                .map(|port| port as u16),
            vxlan_local: ["local", "local6"]
                .iter()
                .find_map(|key| info["info_data"][key].as_str())
                .filter(|_| info["info_kind"] == "vxlan")
                .map(|address| address.parse().unwrap()),
            xdp: number(&link["xdp"]["prog"]["id"]),
        };
        host.links.insert(found.index, found);
    }
    for link in ip("address show") {
        for address in link["addr_info"].as_array().unwrap() {
            let text = format!("{}/{}", address["local"].as_str().unwrap(), address["prefixlen"]);
            let link = number(&link["ifindex"]).unwrap();
            host.addresses.push(Address { link, address: text.parse().unwrap() });
        }
    }
    for family in ["-4", "-6"] {
        for route in ip(&format!("-N {family} route show table main type unicast")) {
            let to = match route["dst"].as_str().unwrap() {
                "default" if family == "-4" => "0.0.0.0/0".to_owned(),
                "default" => "::/0".to_owned(),
                to if to.contains('/') => to.to_owned(),
                to if family == "-4" => format!("{to}/32"),
                to => format!("{to}/128"),
            };
            let protocol = route["protocol"].as_str().unwrap().parse().unwrap();
            let hops = route["nexthops"].as_array().cloned().unwrap_or_else(|| vec![route.clone()]);
            for hop in hops {
                let via = hop["gateway"].as_str().or(hop["via"]["host"].as_str());
                let via = via.map(|via| via.parse().unwrap());
                let link = index(&hop["dev"]).unwrap();
                host.routes.push(Route { to: to.parse().unwrap(), via, link, protocol });
            }
        }
    }
    host
}

fn sorted(mut host: Host) -> Host {
    host.addresses.sort_by_key(|address| (address.link, address.address));
    host.routes.sort_by_key(|route| (route.to, route.link, route.via));
    host
}

#[test]
fn what_ip_says() {
    in_namespaces(module_path!(), "what_ip_says", Privilege::Rootless, || {
        batch(
            "link set lo up
             link add docker0 type bridge
             link add br-0123456789ab type bridge
             link add far0 type veth peer name eth0
             link add eth1 type veth peer name far1
             link add port type veth peer name eth9
             link set port master docker0
             link add vx1 type vxlan id 42 dstport 4789 dev eth1
             link add vx2 type vxlan id 16777215 dstport 8472 local 10.1.0.1
             link add vx3 type vxlan id 7 dstport 4789 local fd01::1
             link add mac0 link eth1 type macvlan mode bridge
             link add name eth1.100 type veth peer name far100
             address add 10.1.0.1/24 dev eth1
             address add 10.1.0.9/24 dev eth1
             address add 10.7.0.1/16 dev docker0
             address add 10.66.0.1 peer 10.66.0.2/32 dev eth0
             address add fd01::1/64 dev eth1 nodad
             address add fd02::1/128 dev eth1.100 nodad
             link set eth0 up
             link set eth1 up
             link set far1 up
             link set docker0 up
             route add 10.3.0.0/16 via 10.1.0.7 proto static
             route add default via 10.1.0.254
             route add 10.4.0.0/16 nexthop via 10.1.0.7 nexthop via 10.1.0.8 weight 3
             route add 10.5.0.0/16 via inet6 fd01::9 dev eth1
             route add unreachable 10.6.0.0/16
             route add 10.8.0.0/16 via 10.1.0.7 table 7
             route add fd03::/48 via fd01::9
             route add ::/0 via fd01::fe
             ",
        );
        // The other end in a namespace that lives as long as this process waits for it.
        let mut elsewhere = Command::new("unshare")
            .args(["--net", "sh", "-c", "echo; read end"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        std::io::Read::read_exact(elsewhere.stdout.as_mut().unwrap(), &mut [0]).unwrap();
        batch(&format!("link set far0 netns {}\n", elsewhere.id()));

        let found = sorted(host().unwrap());
        let said = sorted(as_ip_says());
        for (found, said) in found.links.values().zip(said.links.values()) {
            assert_eq!(found, said);
        }
        assert_eq!(found, said);
        // Not all of it can be missed by both.
        let eth0 = found.link("eth0").unwrap();
        assert!(eth0.lower_is_elsewhere && eth0.kind.as_deref() == Some("veth"));
        assert_eq!(found.link("vx2").unwrap().vni, Some(16_777_215));
        assert_eq!(found.link("vx1").unwrap().lower, found.link("eth1").map(|link| link.index));
        assert_eq!(found.link("vx3").unwrap().vxlan_local, Some("fd01::1".parse().unwrap()));
        assert_eq!(found.link("mac0").unwrap().lower, found.link("eth1").map(|link| link.index));
        let via = |to: &str| found.routes.iter().filter(|route| route.to.to_string() == to).count();
        let counts = ["0.0.0.0/0", "::/0", "10.4.0.0/16", "10.6.0.0/16", "10.8.0.0/16"].map(via);
        assert_eq!(counts, [1, 1, 2, 0, 0]);
        drop(elsewhere.stdin.take());
        elsewhere.wait().unwrap();
    });
}

#[test]
fn ten_thousand_links_while_others_come_and_go() {
    let name = "ten_thousand_links_while_others_come_and_go";
    in_namespaces(module_path!(), name, Privilege::Rootless, || {
        const LINKS: u32 = 10_000;
        std::fs::write("/proc/sys/net/ipv6/conf/default/disable_ipv6", "1").unwrap();
        let many: String = (0..LINKS).map(|n| format!("link add ifb-{n} type ifb\n")).collect();
        batch(&many);
        // More changes than one dump lasts; each dump that one of them falls into is asked for again.
        let (started, is_started) = std::sync::mpsc::channel();
        let writer = std::thread::spawn(move || {
            let change = "link add coming type bridge\naddress add 10.9.0.1/24 dev coming\nlink del coming\n";
            batch(change);
            started.send(()).unwrap();
            batch(&change.repeat(20));
        });
        is_started.recv().unwrap();
        let mut reads = 0;
        while !writer.is_finished() || reads == 0 {
            let found = host().unwrap();
            let kept = found.links.values().filter(|link| link.name.starts_with("ifb-")).count();
            assert_eq!(kept, LINKS as usize);
            reads += 1;
        }
        writer.join().unwrap();
    });
}
