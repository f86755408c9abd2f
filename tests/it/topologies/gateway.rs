//! A NAT gateway: masquerade and fixed addresses.

use super::{
    apply, between, cases, check, check_blocked, check_none, closed, closed_by_family, each, each_to,
    from_source, is_answered, of, program,
};
use crate::lab::{Family, Lab, in_namespace};

const TOPOLOGY: &str = include_str!("../../../fixtures/nat-gateway/topology.toml");

fn host() -> std::io::Result<Lab> {
    let mut lab = Lab::start_empty()?;
    lab.add_bridge("docker0", &["172.17.0.1/16"])?;
    lab.add_container("web", "docker0", &["172.17.0.2/16"])?;
    lab.add_nic("lan0", "lan", &["10.0.1.1/24"], &["10.0.1.5/24"])?;
    lab.add_nic("dmz0", "dmz", &["10.0.2.1/24", "2001:db8:2::1/64"], &["10.0.2.5/24", "2001:db8:2::5/64"])?;
    let wan = ["203.0.113.99/24", "2001:db8:1::99/64"];
    lab.add_nic("wan0", "wan", &["203.0.113.10/24", "2001:db8:1::10/64"], &wan)?;
    // The address that snat gives is the host's as well, or nobody would answer for it.
    lab.add_interfaces("wan0", &["203.0.113.5/32", "2001:db8:1::5/128"])?;
    Ok(lab)
}

#[test]
fn each_network_goes_out_with_its_address_and_nothing_comes_in() {
    in_namespace(|| {
        let lab = host().expect("build the lab");
        let isoplan = program(TOPOLOGY);
        let mut shut = vec![
            closed("R2", between(&lab, &[("wan", "lan"), ("wan", "dmz")])),
            closed("T8", between(&lab, &[("wan", "web")])),
            closed("T1", between(&lab, &[("lan", "web"), ("dmz", "web")])),
            closed("F14|F21|F22", between(&lab, &[("lan", "dmz"), ("dmz", "lan")])),
            closed("N1", between(&lab, &[("web", "lan"), ("web", "dmz")])),
        ];
        shut.extend(closed_by_family(["I8", "I9"], |family| {
            let mut probes = each_to(&lab, "wan", "host", of(family, "10.0.2.1", "2001:db8:2::1"));
            if family == Family::V4 {
                probes.extend(each_to(&lab, "wan", "host", "10.0.1.1"));
                probes.extend(each_to(&lab, "dmz", "host", "10.0.1.1"));
            }
            probes
        }));
        let mut open = cases(between(&lab, &[("host", "wan"), ("host", "lan"), ("host", "dmz")]));
        open.extend(cases(each_to(&lab, "lan", "host", "10.0.1.1")));
        open.extend(cases(each_to(&lab, "lan", "host", "203.0.113.10")));
        open.extend(cases(each_to(&lab, "wan", "host", "203.0.113.10")));
        check_none(&shut);
        check("without isoplan", &open, is_answered);
        apply(&isoplan);
        for (from, family, source) in [
            ("lan", Family::V4, "203.0.113.10"),
            ("dmz", Family::V4, "203.0.113.5"),
            ("dmz", Family::V6, "2001:db8:1::5"),
            ("web", Family::V4, "203.0.113.10"),
        ] {
            check("translated", &cases(each(&lab, family, from, "wan")), from_source(source));
        }
        check_blocked(&lab, &shut);
        check("after apply", &open, is_answered);
    });
}
