//! A host without IPv4.

use super::{
    apply, between, cases, check, check_blocked, check_none, closed, each_to, from_source, ip, is_answered,
    program,
};
use crate::lab::{Family, Lab, in_namespace};

const TOPOLOGY: &str = include_str!("../../../fixtures/ipv6-only/topology.toml");

fn host() -> std::io::Result<Lab> {
    let mut lab = Lab::start_empty()?;
    lab.add_bridge("docker0", &["2001:db8:17::1/64"])?;
    lab.add_container("web", "docker0", &["2001:db8:17::2/64"])?;
    lab.add_container("db", "docker0", &["2001:db8:17::3/64"])?;
    lab.add_nic("eth0", "service", &["2001:db8:56::10/64"], &["2001:db8:56::5/64"])?;
    lab.add_nic("eth1", "storage", &["fd57::10/64"], &["fd57::5/64"])?;
    Ok(lab)
}

#[test]
fn storage_is_closed_and_service_is_routed() {
    in_namespace(|| {
        let lab = host().expect("build the lab");
        lab.host().sysctl("net/ipv4/ip_forward", "0").expect("write a sysctl");
        let isoplan = program(TOPOLOGY);
        let spoofed = ["fd57::77", "2001:db8:56::77", "2001:db8:99::9"].into_iter().flat_map(|source| {
            let probes = super::each(&lab, Family::V6, "web", "storage").into_iter();
            probes.map(move |probe| probe.forging(ip(source)))
        });
        let shut = [
            closed("F3", between(&lab, &[("web", "storage"), ("service", "storage")])),
            closed("F3", spoofed),
            closed("F4", between(&lab, &[("storage", "web"), ("storage", "service")])),
            closed("H2", each_to(&lab, "web", "host", "fd57::10")),
            closed("I7", each_to(&lab, "service", "host", "fd57::10")),
        ];
        let mut open =
            cases(between(&lab, &[("web", "db"), ("host", "storage"), ("web", "host"), ("host", "web")]));
        open.extend(cases(each_to(&lab, "storage", "host", "fd57::10")));
        let routed = [("2001:db8:17::2", ("web", "service")), ("2001:db8:56::5", ("service", "web"))];
        check_none(&shut);
        check("without isoplan", &open, is_answered);
        apply(&isoplan);
        check_blocked(&lab, &shut);
        check("after apply", &open, is_answered);
        for (source, pair) in routed {
            check("routed", &cases(between(&lab, &[pair])), from_source(source));
        }
        // Not a word of IPv4: it is not switched on for a host that has none.
        assert_eq!(lab.host().read_sysctl("net/ipv4/ip_forward").expect("read a sysctl"), "0");
    });
}
