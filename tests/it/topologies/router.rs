//! A plain router between NICs.

use super::{
    apply, between, cases, check, check_blocked, check_none, closed, closed_by_family, each, each_to,
    from_source, is_answered, of, program, remove,
};
use crate::lab::packet::Kind;
use crate::lab::{Family, Lab, in_namespace};

const TOPOLOGY: &str = include_str!("../../../fixtures/router/topology.toml");

fn host() -> std::io::Result<Lab> {
    let mut lab = Lab::start_empty()?;
    for (nic, node, number) in [("eth0", "office", 56), ("eth1", "storage", 57), ("eth2", "lab", 60)] {
        let own = [format!("192.168.{number}.10/24"), format!("fd{number}::10/64")];
        let server = [format!("192.168.{number}.5/24"), format!("fd{number}::5/64")];
        lab.add_nic(nic, node, &[&own[0], &own[1]], &[&server[0], &server[1]])?;
    }
    Ok(lab)
}

#[test]
fn the_lab_reaches_the_office_and_nobody_storage() {
    in_namespace(|| {
        let lab = host().expect("build the lab");
        let isoplan = program(TOPOLOGY);
        let known = Family::BOTH.into_iter().zip([4441, 4442]);
        let known =
            known.map(|(family, port)| lab.probe(Kind::Udp, family, "office", "lab").with_source_port(port));
        let mut shut = vec![
            closed("R2", between(&lab, &[("office", "lab")])),
            closed("R2", known),
            closed("F3", between(&lab, &[("lab", "storage"), ("office", "storage")])),
            closed("F4", between(&lab, &[("storage", "lab"), ("storage", "office")])),
            closed(
                "I6",
                ["lab", "office"].into_iter().flat_map(|from| each_to(&lab, from, "host", "192.168.57.10")),
            ),
        ];
        shut.extend(closed_by_family(["I8|I10", "I9|I11"], |family| {
            let mut probes = each_to(&lab, "office", "host", of(family, "192.168.60.10", "fd60::10"));
            probes.extend(each_to(&lab, "storage", "host", of(family, "192.168.60.10", "fd60::10")));
            probes.extend(each_to(&lab, "storage", "host", of(family, "192.168.56.10", "fd56::10")));
            probes
        }));
        let mut open = cases(between(&lab, &[("host", "lab"), ("host", "office"), ("host", "storage")]));
        for family in Family::BOTH {
            for (from, v4, v6) in [
                ("lab", "192.168.60.10", "fd60::10"),
                ("lab", "192.168.56.10", "fd56::10"),
                ("office", "192.168.56.10", "fd56::10"),
                ("storage", "192.168.57.10", "fd57::10"),
            ] {
                open.extend(cases(each_to(&lab, from, "host", of(family, v4, v6))));
            }
        }
        check_none(&shut);
        check("without isoplan", &open, is_answered);
        apply(&isoplan);
        check_blocked(&lab, &shut);
        check("after apply", &open, is_answered);
        for family in Family::BOTH {
            let source = of(family, "192.168.60.5", "fd60::5");
            check("routed", &cases(each(&lab, family, "lab", "office")), from_source(source));
        }
    });
}

/// Storage is open to a bridge, and so guarded for the rest only.
const WITH_BACKUP: &str = r#"
[[bridge]]
name = "br-backup"
subnets = ["172.20.0.0/24", "fd20::/64"]
reach = ["storage"]
inbound = "none"

[[nic]]
name = "eth0"
role = "office"
subnets = ["192.168.56.0/24", "fd56::/64"]

[[nic]]
name = "eth1"
role = "storage"
subnets = ["192.168.57.0/24", "fd57::/64"]

[[nic]]
name = "eth2"
role = "lab"
subnets = ["192.168.60.0/24", "fd60::/64"]
reach = ["office"]
"#;

#[test]
fn partly_guarded_storage_is_closed_to_the_lab_on_any_route() {
    in_namespace(|| {
        let mut lab = host().expect("build the lab");
        lab.add_bridge("br-backup", &["172.20.0.1/24", "fd20::1/64"]).expect("add a bridge");
        lab.add_container("backup", "br-backup", &["172.20.0.2/24", "fd20::2/64"]).expect("add a container");
        let lab = lab;
        let isoplan = program(WITH_BACKUP);
        apply(&isoplan);
        let pairs = [("lab", "storage"), ("office", "storage"), ("storage", "lab"), ("storage", "office")];
        let direct = [closed("F14|F21|F22", between(&lab, &pairs))];
        check_blocked(&lab, &direct);
        check("after apply", &cases(between(&lab, &[("backup", "storage"), ("lab", "office")])), is_answered);
        remove(&isoplan);
        check_none(&direct);

        // Storage is behind a router in the office now.
        super::host_ip(
            &lab,
            "route del 192.168.57.0/24 dev eth1\nroute add 192.168.57.0/24 via 192.168.56.5\n\
             route del fd57::/64 dev eth1\nroute add fd57::/64 via fd56::5\n",
        );
        let to = |family| each_to(&lab, "lab", "office", of(family, "192.168.57.77", "fd57::77"));
        let detour = closed_by_family(["F21", "F22"], to);
        check_none(&detour);
        apply(&isoplan);
        check_blocked(&lab, &detour);
    });
}
