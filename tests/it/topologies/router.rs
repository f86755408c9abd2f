//! A plain router between NICs.

use super::{
    apply, between, cases, check, check_blocked, check_none, closed, closed_by_family, each, each_to,
    from_source, is_answered, of, program,
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
        shut.extend(closed_by_family(["I10", "I11"], |family| {
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
