//! A NIC that one bridge reaches and others do not.

use super::{
    apply, between, cases, check, check_blocked, check_none, closed, closed_by_family, each, each_to,
    from_source, host_ip, ip, is_answered, of, program,
};
use crate::lab::{Family, Lab, in_namespace};

const TOPOLOGY: &str = r#"
[[bridge]]
name = "docker0"
subnets = ["172.17.0.0/16", "fd17::/64"]

[[bridge]]
name = "br-backup"
subnets = ["172.20.0.0/24", "fd20::/64"]
reach = ["service", "storage"]
inbound = "none"

[[nic]]
name = "eth0"
role = "service"
subnets = ["192.168.56.0/24", "fd56::/64"]

[[nic]]
name = "eth1"
role = "storage"
subnets = ["192.168.57.0/24", "fd57::/64"]
"#;

fn host() -> std::io::Result<Lab> {
    let mut lab = Lab::start_empty()?;
    // The last one is not in the file.
    for (bridge, container, number) in
        [("docker0", "web", 17), ("br-backup", "backup", 20), ("br-unknown", "unknown", 40)]
    {
        lab.add_bridge(bridge, &[&format!("172.{number}.0.1/24"), &format!("fd{number}::1/64")])?;
        let own = [format!("172.{number}.0.2/24"), format!("fd{number}::2/64")];
        lab.add_container(container, bridge, &[&own[0], &own[1]])?;
    }
    let service = ["192.168.56.5/24", "fd56::5/64"];
    lab.add_nic("eth0", "service", &["192.168.56.10/24", "fd56::10/64"], &service)?;
    let storage = ["192.168.57.5/24", "fd57::5/64"];
    lab.add_nic("eth1", "storage", &["192.168.57.10/24", "fd57::10/64"], &storage)?;
    Ok(lab)
}

#[test]
fn storage_is_open_to_one_bridge_alone() {
    in_namespace(|| {
        let lab = host().expect("build the lab");
        let isoplan = program(TOPOLOGY);
        let own = |family| of(family, "192.168.57.10", "fd57::10");
        let mut shut = vec![
            closed("T8", between(&lab, &[("storage", "backup"), ("service", "backup")])),
            closed("F14|F21|F22", between(&lab, &[("service", "storage"), ("storage", "service")])),
            closed("F15", between(&lab, &[("unknown", "storage")])),
            closed("F16", between(&lab, &[("storage", "unknown")])),
            closed("N8", between(&lab, &[("web", "backup"), ("backup", "web"), ("web", "unknown")])),
            closed("T8", between(&lab, &[("unknown", "web"), ("unknown", "backup")])),
        ];
        shut.extend(closed_by_family(["N1", "N2"], |family| each(&lab, family, "web", "storage")));
        shut.extend(closed_by_family(["T1", "T2"], |family| each(&lab, family, "storage", "web")));
        shut.extend(closed_by_family(["H3", "H4"], |family| each_to(&lab, "web", "host", own(family))));
        shut.extend(closed_by_family(["I8", "I9"], |family| {
            let mut probes = each_to(&lab, "service", "host", own(family));
            probes.extend(each_to(&lab, "unknown", "host", own(family)));
            probes
        }));
        // The gateway of the containers is theirs.
        let gateway = |family| of(family, "172.17.0.1", "fd17::1");
        shut.extend(closed_by_family(["I12", "I13"], |family| {
            let mut probes = each_to(&lab, "unknown", "host", gateway(family));
            probes.extend(each_to(&lab, "service", "host", gateway(family)));
            probes.extend(each_to(&lab, "storage", "host", gateway(family)));
            probes
        }));
        // A network behind storage that the file does not list: by link.
        let behind = |family| ip(of(family, "198.51.100.9", "2001:db8:9::9"));
        let to_behind = |from: &str| {
            Family::BOTH
                .into_iter()
                .flat_map(|family| {
                    each(&lab, family, from, "storage")
                        .into_iter()
                        .map(move |probe| probe.addressed_to(behind(family)))
                })
                .collect::<Vec<_>>()
        };
        let from_behind = |to: &str| {
            Family::BOTH
                .into_iter()
                .flat_map(|family| {
                    each(&lab, family, "storage", to)
                        .into_iter()
                        .map(move |probe| probe.forging(behind(family)))
                })
                .collect::<Vec<_>>()
        };
        shut.push(closed("N8", to_behind("web")));
        shut.push(closed("T8", from_behind("web")));
        shut.push(closed("F15", to_behind("unknown")));
        shut.push(closed("F16", from_behind("unknown")));
        host_ip(&lab, "route add 198.51.100.0/24 via 192.168.57.5\nroute add 2001:db8:9::/64 via fd57::5\n");

        let open = [
            ("backup", "service"),
            ("web", "service"),
            ("host", "storage"),
            ("host", "backup"),
            ("unknown", "service"),
        ];
        let mut open = cases(between(&lab, &open));
        for family in Family::BOTH {
            open.extend(cases(each_to(&lab, "storage", "host", own(family))));
            open.extend(cases(each_to(&lab, "backup", "host", own(family))));
            open.extend(cases(each_to(&lab, "unknown", "host", of(family, "172.40.0.1", "fd40::1"))));
            open.extend(cases(each_to(&lab, "web", "host", gateway(family))));
        }
        check_none(&shut);
        check("without isoplan", &open, is_answered);
        apply(&isoplan);
        check_blocked(&lab, &shut);
        check("after apply", &open, is_answered);
        for family in Family::BOTH {
            let probes = cases(each(&lab, family, "backup", "storage"));
            check("open to one", &probes, from_source(own(family)));
        }
    });
}

#[test]
fn storage_is_closed_by_its_prefix_on_any_route() {
    in_namespace(|| {
        let lab = host().expect("build the lab");
        let isoplan = program(TOPOLOGY);
        // Storage is behind the upstream router of the service network now.
        host_ip(
            &lab,
            "route del 192.168.57.0/24 dev eth1\nroute add 192.168.57.0/24 via 192.168.56.5\n\
             route del fd57::/64 dev eth1\nroute add fd57::/64 via fd56::5\n",
        );
        let storage = |family| of(family, "192.168.57.77", "fd57::77");
        let to = |from: &str, family| {
            let probes = each_to(&lab, from, "service", storage(family)).into_iter();
            probes.map(|probe| probe.one_way()).collect::<Vec<_>>()
        };
        let from = |to: &str, family| {
            let probes = each(&lab, family, "service", to).into_iter();
            probes.map(|probe| probe.forging(ip(storage(family)))).collect::<Vec<_>>()
        };
        let mut shut = Vec::new();
        shut.extend(closed_by_family(["N1", "N2"], |family| to("web", family)));
        shut.extend(closed_by_family(["T1", "T2"], |family| from("web", family)));
        shut.extend(closed_by_family(["F17", "F18"], |family| to("unknown", family)));
        shut.extend(closed_by_family(["F19", "F20"], |family| from("unknown", family)));
        let open = cases(between(&lab, &[("web", "service"), ("backup", "service"), ("unknown", "service")]));
        let reached = cases(Family::BOTH.into_iter().flat_map(|family| to("backup", family)));
        check_none(&shut);
        apply(&isoplan);
        check_blocked(&lab, &shut);
        check("after apply", &open, is_answered);
        check("after apply", &reached, super::Outcome::is_delivered);
    });
}
