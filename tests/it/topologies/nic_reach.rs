//! A NIC that reaches a bridge.

use super::{
    apply, between, cases, check, check_blocked, check_none, closed, each, each_to, from_source, host_ip,
    is_answered, of, program,
};
use crate::lab::{Family, Lab, in_namespace};

const TOPOLOGY: &str = r#"
[[bridge]]
name = "docker0"
subnets = ["172.17.0.0/16", "fd17::/64"]
inbound = "none"

[[bridge]]
name = "br-app"
subnets = ["172.18.0.0/16", "fd18::/64"]
inbound = "none"

[[nic]]
name = "eth0"
role = "service"
subnets = ["192.168.56.0/24", "fd56::/64"]

[[nic]]
name = "eth2"
role = "management"
subnets = ["10.9.0.0/24", "fd09::/64"]
reach = ["docker0"]
"#;

fn host() -> std::io::Result<Lab> {
    let mut lab = Lab::start_empty()?;
    for (bridge, container, number) in [("docker0", "web", 17), ("br-app", "app", 18)] {
        lab.add_bridge(bridge, &[&format!("172.{number}.0.1/16"), &format!("fd{number}::1/64")])?;
        let own = [format!("172.{number}.0.2/16"), format!("fd{number}::2/64")];
        lab.add_container(container, bridge, &[&own[0], &own[1]])?;
    }
    let service = ["192.168.56.5/24", "fd56::5/64"];
    lab.add_nic("eth0", "service", &["192.168.56.10/24", "fd56::10/64"], &service)?;
    lab.add_nic("eth2", "management", &["10.9.0.10/24", "fd09::10/64"], &["10.9.0.5/24", "fd09::5/64"])?;
    Ok(lab)
}

#[test]
fn management_opens_connections_to_the_one_bridge() {
    in_namespace(|| {
        let lab = host().expect("build the lab");
        let isoplan = program(TOPOLOGY);
        let own = |family| of(family, "10.9.0.10", "fd09::10");
        let shut = [
            closed("R2|N1|N2", between(&lab, &[("web", "management")])),
            closed("N1|N2|N8", between(&lab, &[("app", "management")])),
            closed("T1|T2|T8", between(&lab, &[("management", "app")])),
            closed("F14|F21|F22", between(&lab, &[("management", "service"), ("service", "management")])),
            closed(
                "H3|H4|H11",
                Family::BOTH.into_iter().flat_map(|family| {
                    [each_to(&lab, "web", "host", own(family)), each_to(&lab, "app", "host", own(family))]
                        .concat()
                }),
            ),
        ];
        check_none(&shut);
        apply(&isoplan);
        check_blocked(&lab, &shut);
        let open = between(&lab, &[("web", "service"), ("app", "service"), ("host", "management")]);
        check("after apply", &cases(open), is_answered);
        for (family, source) in Family::BOTH.into_iter().zip(["10.9.0.5", "fd09::5"]) {
            check("open", &cases(each(&lab, family, "management", "web")), from_source(source));
        }
    });
}

/// The bridges may not open connections to management: not by way of an upstream router either.
#[test]
fn management_is_closed_to_bridges_on_any_route() {
    in_namespace(|| {
        let lab = host().expect("build the lab");
        let isoplan = program(TOPOLOGY);
        host_ip(
            &lab,
            "route del 10.9.0.0/24 dev eth2\nroute add 10.9.0.0/24 via 192.168.56.5\n\
             route del fd09::/64 dev eth2\nroute add fd09::/64 via fd56::5\n",
        );
        let to = |from: &str| -> Vec<_> {
            let probes = |family| each_to(&lab, from, "service", of(family, "10.9.0.77", "fd09::77"));
            Family::BOTH.into_iter().flat_map(probes).collect()
        };
        let shut = [closed("N1|N2|N8|R2", to("app")), closed("N1|N2|N8|R2", to("web"))];
        check_none(&shut);
        apply(&isoplan);
        check_blocked(&lab, &shut);
        check("after apply", &cases(between(&lab, &[("web", "service"), ("app", "service")])), is_answered);
    });
}
