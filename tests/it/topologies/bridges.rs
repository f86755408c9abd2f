//! Reach between bridges, and what comes in from NICs.

use super::{
    apply, between, cases, check, check_blocked, check_none, closed, closed_by_family, each, from_source, ip,
    is_answered, of, program, tcp,
};
use crate::lab::packet::Kind;
use crate::lab::{Family, Lab, in_namespace};

const TOPOLOGY: &str = r#"
[[bridge]]
name = "br-a"
subnets = ["172.21.0.0/24", "fd21::/64"]
reach = ["service", "br-b"]

[[bridge]]
name = "br-b"
subnets = ["172.22.0.0/24", "fd22::/64"]
inbound = "none"

[[bridge]]
name = "br-c"
subnets = ["172.23.0.0/24", "fd23::/64"]
inbound = "routed"

[[bridge]]
name = "br-d"
subnets = ["172.24.0.0/24", "fd24::/64"]
reach = []

[[nic]]
name = "eth0"
role = "service"
subnets = ["192.168.56.0/24", "fd56::/64"]
"#;

/// Ports of the host that lead to containers, as an engine publishes them.
const PUBLISHED: &str = "
table ip published {
  chain prerouting {
    type nat hook prerouting priority dstnat;
    ip daddr 192.168.56.10 dnat to tcp dport map {
      8081 : 172.21.0.2 . 9000, 8082 : 172.22.0.2 . 9000, 8083 : 172.23.0.2 . 9000, 8084 : 172.24.0.2 . 9000
    }
  }
}
table ip6 published {
  chain prerouting {
    type nat hook prerouting priority dstnat;
    ip6 daddr fd56::10 dnat to tcp dport map {
      8081 : fd21::2 . 9000, 8082 : fd22::2 . 9000, 8083 : fd23::2 . 9000, 8084 : fd24::2 . 9000
    }
  }
}
";

fn host() -> std::io::Result<Lab> {
    let mut lab = Lab::start_empty()?;
    for (number, name) in [(21, "a"), (22, "b"), (23, "c"), (24, "d")] {
        let bridge = format!("br-{name}");
        lab.add_bridge(&bridge, &[&format!("172.{number}.0.1/24"), &format!("fd{number}::1/64")])?;
        lab.add_container(name, &bridge, &[&format!("172.{number}.0.2/24"), &format!("fd{number}::2/64")])?;
    }
    let server = ["192.168.56.5/24", "fd56::5/64"];
    lab.add_nic("eth0", "service", &["192.168.56.10/24", "fd56::10/64"], &server)?;
    lab.host().nft_load(PUBLISHED)?;
    Ok(lab)
}

#[test]
fn bridges_reach_what_they_say_and_take_what_they_say() {
    in_namespace(|| {
        let lab = host().expect("build the lab");
        let isoplan = program(TOPOLOGY);
        let published = |node, port| {
            Family::BOTH.map(|family| {
                let own = of(family, "192.168.56.10", "fd56::10");
                tcp(&lab, "service", node, own, port)
            })
        };
        // A flow that is known before apply, and that B began.
        let known = Family::BOTH.into_iter().zip([4441, 4442]);
        let known = known.map(|(family, port)| lab.probe(Kind::Udp, family, "b", "a").with_source_port(port));
        let no_reach = [("a", "c"), ("c", "a"), ("b", "c"), ("c", "b"), ("a", "d"), ("d", "a"), ("d", "b")];
        let shut = [
            closed("R2", between(&lab, &[("b", "a")])),
            closed("R2", known),
            closed("N8", between(&lab, &no_reach)),
            closed("T8", between(&lab, &[("service", "a"), ("service", "b")])),
            closed("T8", published("b", 8082)),
        ];
        // What reaches no NIC is closed to it by its prefix already.
        let shut: Vec<_> = shut
            .into_iter()
            .chain(closed_by_family(["N1", "N2"], |family| each(&lab, family, "d", "service")))
            .chain(closed_by_family(["T1", "T2"], |family| {
                let mut probes = each(&lab, family, "service", "d");
                probes.push(tcp(&lab, "service", "d", of(family, "192.168.56.10", "fd56::10"), 8084));
                probes
            }))
            .collect();
        let open = cases(between(
            &lab,
            &[("a", "service"), ("b", "service"), ("c", "service"), ("host", "a"), ("host", "d")],
        ));
        let routed = cases(between(&lab, &[("a", "b"), ("service", "c")]));
        let inward = cases([published("a", 8081), published("c", 8083)].concat());
        check_none(&shut);
        check("without isoplan", &inward, is_answered);

        apply(&isoplan);
        check_blocked(&lab, &shut);
        check("after apply", &open, is_answered);
        check("after apply", &inward, is_answered);
        check("after apply", &routed, is_answered);
        for (family, source) in Family::BOTH.into_iter().zip(["172.21.0.2", "fd21::2"]) {
            // Nothing is translated between bridges.
            let probes = cases(each(&lab, family, "a", "b"));
            check("between bridges", &probes, from_source(source));
        }
        for (family, source) in Family::BOTH.into_iter().zip(["192.168.56.10", "fd56::10"]) {
            let probes = cases(each(&lab, family, "a", "service"));
            check("masqueraded", &probes, from_source(source));
        }
        // An answer is no way in for what is none: the same ports, begun by B.
        let forged = Family::BOTH.map(|family| {
            let probe = lab.probe(Kind::Tcp, family, "b", "a");
            probe.forging(ip(of(family, "172.22.0.2", "fd22::2"))).with_source_port(9000)
        });
        check_blocked(&lab, &[closed("R2", forged)]);
    });
}
