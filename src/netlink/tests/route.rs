//! Routes that a real kernel finds or refuses.

use std::net::IpAddr;
use std::process::Command;

use crate::netlink::test_ns::{Privilege, in_namespaces};
use crate::netlink::{RouteFound, RouteQuery, route};

fn ip(line: &str) {
    let output = Command::new("ip").args(line.split(' ')).output().unwrap();
    assert!(output.status.success(), "ip {line}: {}", String::from_utf8_lossy(&output.stderr));
}

fn address(text: &str) -> IpAddr {
    text.parse().unwrap()
}

#[test]
fn routes_and_refusals() {
    in_namespaces(module_path!(), "routes_and_refusals", Privilege::Rootless, || {
        for line in [
            "link set lo up",
            "link add in type veth peer name in-peer",
            "link add out type veth peer name out-peer",
            "address add 10.1.0.1/24 dev in",
            "address add fd01::1/64 dev in nodad",
            "address add 10.2.0.1/24 dev out",
            "address add fd02::1/64 dev out nodad",
            "link set in up",
            "link set in-peer up",
            "link set out up",
            "link set out-peer up",
            "route add 10.3.0.0/16 via 10.2.0.9",
            "route add prohibit 10.4.0.0/16",
            "route add unreachable 10.5.0.0/16",
            "route add blackhole 10.6.0.0/16",
            "-6 route add prohibit fd04::/64",
            "rule add from 10.1.0.66 prohibit",
        ] {
            ip(line);
        }
        let index = |name: &str| nix::net::if_::if_nametoindex(name).unwrap();
        let forwarding = |value: &str| std::fs::write("/proc/sys/net/ipv4/ip_forward", value).unwrap();
        let from = |source: &str, destination: &str| {
            let query = RouteQuery {
                source: Some(address(source)),
                destination: address(destination),
                iif: Some(index("in")),
            };
            route(query)
        };
        let refused =
            |source: &str, destination: &str| from(source, destination).unwrap_err().raw_os_error().unwrap();
        forwarding("1");
        let found = from("10.1.0.2", "10.3.4.5").unwrap();
        let expected = RouteFound {
            kind: 1,
            prefix: Some("10.3.0.0/16".parse().unwrap()),
            oif: Some(index("out")),
            gateway: Some(address("10.2.0.9")),
            table: 254,
        };
        assert_eq!(found, expected);
        let local = from("10.1.0.2", "10.2.0.1").unwrap();
        assert_eq!((local.kind, local.prefix), (2, Some("10.2.0.1/32".parse().unwrap())));
        assert_eq!(refused("10.1.0.2", "10.4.0.1"), nix::libc::EACCES);
        assert_eq!(refused("10.1.0.2", "10.5.0.1"), nix::libc::EHOSTUNREACH);
        assert_eq!(refused("10.1.0.2", "10.6.0.1"), nix::libc::EINVAL);
        assert_eq!(refused("10.1.0.66", "10.2.0.5"), nix::libc::EACCES);
        assert_eq!(refused("10.1.0.2", "10.9.0.1"), nix::libc::ENETUNREACH);
        std::fs::write("/proc/sys/net/ipv4/conf/in/rp_filter", "1").unwrap();
        // EINVAL since Linux 6.14.
        assert!([nix::libc::EXDEV, nix::libc::EINVAL].contains(&refused("10.2.0.77", "10.3.0.1")));
        forwarding("0");
        assert_eq!(refused("10.1.0.2", "10.2.0.5"), nix::libc::EHOSTUNREACH);

        let found = from("fd01::2", "fd02::5").unwrap();
        assert_eq!((found.kind, found.oif), (1, Some(index("out"))));
        assert_eq!(found.prefix, Some("fd02::/64".parse().unwrap()));
        assert_eq!(refused("fd01::2", "fd04::1"), nix::libc::EACCES);

        let own = RouteQuery { source: None, destination: address("10.2.0.5"), iif: None };
        assert_eq!(route(own).unwrap().oif, Some(index("out")));
    });
}
