//! `[[allow]]`: as narrow as it is written, with its answers.

use super::{
    Case, apply, between, cases, check, check_blocked, check_none, closed, closed_by_family, each, each_to,
    from_source, ip, is_answered, of, program, tcp, udp,
};
use crate::lab::packet::Kind;
use crate::lab::{Family, Lab, in_namespace};

const TOPOLOGY: &str = r#"
[[bridge]]
name = "docker0"
subnets = ["172.17.0.0/16", "fd17::/64"]

[[bridge]]
name = "br-mon"
subnets = ["172.30.0.0/24", "fd30::/64"]

[[nic]]
name = "eth0"
role = "service"
subnets = ["192.168.56.0/24", "fd56::/64"]

[[nic]]
name = "eth1"
role = "storage"
subnets = ["192.168.57.0/24", "fd57::/64"]

[[allow]]
from = "docker0"
to = "192.168.57.9"
protocol = "tcp"
ports = [2049, "8000-8010"]
reason = "NFS gateway"

[[allow]]
from = "docker0"
to = "fd57::9"
protocol = "tcp"
ports = [2049, "8000-8010"]

[[allow]]
from = "docker0"
to = "192.168.57.10"
protocol = "tcp"
ports = [2050]
reason = "the host's own address"

[[allow]]
from = "docker0"
to = "fd57::10"
protocol = "tcp"
ports = [2050]

[[allow]]
from = "br-mon"
to = "172.17.0.2"
protocol = "tcp"
ports = [9000]

[[allow]]
from = "br-mon"
to = "172.17.0.0/16"
protocol = "icmp"

[[allow]]
from = "br-mon"
to = "fd17::/64"
protocol = "udp"
ports = [9000]

[[allow]]
from = "eth0"
to = "192.168.57.9"

[[allow]]
from = "eth0"
to = "fd57::9"
protocol = "icmpv6"
"#;

fn host() -> std::io::Result<Lab> {
    let mut lab = Lab::start_empty()?;
    lab.add_bridge("docker0", &["172.17.0.1/16", "fd17::1/64"])?;
    lab.add_bridge("br-mon", &["172.30.0.1/24", "fd30::1/64"])?;
    lab.add_container("web", "docker0", &["172.17.0.2/16", "fd17::2/64"])?;
    lab.add_container("mon", "br-mon", &["172.30.0.2/24", "fd30::2/64"])?;
    lab.add_nic("eth0", "service", &["192.168.56.10/24", "fd56::10/64"], &["192.168.56.5/24", "fd56::5/64"])?;
    lab.add_nic(
        "eth1",
        "storage",
        &["192.168.57.10/24", "fd57::10/64"],
        &["192.168.57.5/24", "192.168.57.9/24", "fd57::5/64", "fd57::9/64"],
    )?;
    for port in [2049, 8000, 8005, 8010] {
        lab.serve_port("storage", port)?;
    }
    lab.serve_port("host", 2050)?;
    Ok(lab)
}

#[test]
fn only_what_is_written_is_let_through() {
    in_namespace(|| {
        let lab = host().expect("build the lab");
        let isoplan = program(TOPOLOGY);
        let storage = |family| of(family, "192.168.57.9", "fd57::9");

        let mut shut = Vec::new();
        // Other ports, other addresses, other protocols.
        shut.push(closed(
            "F3",
            Family::BOTH.into_iter().flat_map(|family| {
                let nfs = storage(family);
                let other = of(family, "192.168.57.5", "fd57::5");
                vec![
                    tcp(&lab, "web", "storage", nfs, 2048),
                    tcp(&lab, "web", "storage", nfs, 2050),
                    tcp(&lab, "web", "storage", nfs, 7999),
                    tcp(&lab, "web", "storage", nfs, 8011),
                    tcp(&lab, "web", "storage", other, 2049),
                    tcp(&lab, "web", "storage", other, 8005),
                    udp(&lab, "web", "storage", nfs, 2049),
                    lab.probe(Kind::Icmp, family, "web", "storage").addressed_to(ip(nfs)),
                ]
            }),
        ));
        // Sources that the bridge's subnets do not have, and other networks.
        shut.push(closed(
            "F3",
            Family::BOTH.into_iter().flat_map(|family| {
                let nfs = storage(family);
                let sources = [
                    of(family, "172.30.0.9", "fd30::9"),
                    of(family, "172.18.0.1", "fd17:0:0:1::2"),
                    of(family, "192.168.57.77", "fd57::77"),
                    of(family, "203.0.113.9", "2001:db8::9"),
                ];
                let mut probes: Vec<_> = sources
                    .into_iter()
                    .map(|source| tcp(&lab, "web", "storage", nfs, 2049).forging(ip(source)))
                    .collect();
                probes.push(tcp(&lab, "mon", "storage", nfs, 2049));
                // With the address of a container that may.
                let borrowed = ip(of(family, "172.17.0.2", "fd17::2"));
                probes.push(tcp(&lab, "mon", "storage", nfs, 2049).forging(borrowed));
                probes.push(tcp(&lab, "service", "storage", nfs, 2049).forging(borrowed));
                probes
            }),
        ));
        // Nothing is opened from there, from the very port either.
        shut.push(closed(
            "F4",
            Family::BOTH.into_iter().flat_map(|family| {
                let from = |kind| {
                    lab.probe(kind, family, "storage", "web")
                        .forging(ip(storage(family)))
                        .with_source_port(2049)
                };
                let mut probes = each(&lab, family, "storage", "web");
                probes.extend([from(Kind::Tcp), from(Kind::Udp)]);
                probes
            }),
        ));
        // Between bridges.
        shut.push(closed(
            "N8",
            [
                tcp(&lab, "mon", "web", "172.17.0.2", 9001),
                tcp(&lab, "mon", "web", "fd17::2", 9000),
                udp(&lab, "mon", "web", "172.17.0.2", 9000),
                udp(&lab, "mon", "web", "fd17::2", 9001),
                tcp(&lab, "mon", "web", "172.17.0.2", 9000).forging(ip("172.31.0.2")),
                lab.probe(Kind::Icmp, Family::V6, "mon", "web"),
            ],
        ));
        shut.push(closed("N8", between(&lab, &[("web", "mon")])));
        // From a NIC.
        shut.push(closed("F3", each_to(&lab, "service", "storage", "192.168.57.5")));
        shut.push(closed(
            "F3",
            [
                tcp(&lab, "service", "storage", "192.168.57.9", 2049).forging(ip("203.0.113.9")),
                tcp(&lab, "service", "storage", "fd57::9", 2049),
                udp(&lab, "service", "storage", "fd57::9", 9000),
            ],
        ));
        // To the host's own address.
        shut.extend(closed_by_family(["H1", "H2"], |family| {
            let own = of(family, "192.168.57.10", "fd57::10");
            let mut probes = each_to(&lab, "web", "host", own);
            probes.extend([
                tcp(&lab, "web", "host", own, 2049),
                tcp(&lab, "web", "host", own, 2050).forging(ip(of(family, "172.30.0.9", "fd30::9"))),
                tcp(&lab, "mon", "host", own, 2050),
                udp(&lab, "web", "host", own, 2050),
            ]);
            probes
        }));
        shut.extend(closed_by_family(["I6", "I7"], |family| {
            each_to(&lab, "service", "host", of(family, "192.168.57.10", "fd57::10"))
        }));

        let open_to_storage = |family| -> Vec<Case<'_>> {
            let ports = [2049, 8000, 8005, 8010].into_iter();
            ports.map(|port| tcp(&lab, "web", "storage", storage(family), port).into()).collect()
        };
        let mut open = cases(between(&lab, &[("web", "service"), ("mon", "service"), ("host", "storage")]));
        open.extend(cases(
            Family::BOTH
                .map(|family| tcp(&lab, "web", "host", of(family, "192.168.57.10", "fd57::10"), 2050)),
        ));
        let with_own_source = [
            ("172.30.0.2", cases([tcp(&lab, "mon", "web", "172.17.0.2", 9000)])),
            ("172.30.0.2", cases([lab.probe(Kind::Icmp, Family::V4, "mon", "web")])),
            ("fd30::2", cases([udp(&lab, "mon", "web", "fd17::2", 9000)])),
            ("192.168.56.5", cases(each_to(&lab, "service", "storage", "192.168.57.9"))),
            ("fd56::5", {
                let probe = lab.probe(Kind::Icmp, Family::V6, "service", "storage");
                cases([probe.addressed_to(ip("fd57::9"))])
            }),
        ];

        check_none(&shut);
        check("without isoplan", &open, is_answered);
        for family in Family::BOTH {
            check("without isoplan", &open_to_storage(family), is_answered);
        }
        apply(&isoplan);
        check_blocked(&lab, &shut);
        check("after apply", &open, is_answered);
        for family in Family::BOTH {
            // Masqueraded, so that storage need not know the way to the containers.
            let source = of(family, "192.168.57.10", "fd57::10");
            check("an exception", &open_to_storage(family), from_source(source));
        }
        for (source, cases) in &with_own_source {
            check("an exception", cases, from_source(source));
        }
    });
}

/// The exception is for what is behind the storage NIC, not for whoever has the address elsewhere.
#[test]
fn an_exception_holds_on_the_link_of_its_network_alone() {
    in_namespace(|| {
        let lab = host().expect("build the lab");
        let isoplan = program(TOPOLOGY);
        let detour = "route del 192.168.57.0/24 dev eth1\nroute add 192.168.57.0/24 via 192.168.56.5\n\
                      route del fd57::/64 dev eth1\nroute add fd57::/64 via fd56::5\n";
        super::host_ip(&lab, detour);
        let mut shut = Vec::from(closed_by_family(["F5", "F6"], |family| {
            [tcp(&lab, "web", "service", of(family, "192.168.57.9", "fd57::9"), 2049)]
        }));
        // What has the address of the server, and comes from elsewhere, is no answer of it.
        shut.extend(closed_by_family(["F7", "F8"], |family| {
            let probe = lab.probe(Kind::Tcp, family, "service", "web");
            [probe.forging(ip(of(family, "192.168.57.9", "fd57::9"))).with_source_port(2049)]
        }));
        check_none(&shut);
        apply(&isoplan);
        check_blocked(&lab, &shut);
    });
}
