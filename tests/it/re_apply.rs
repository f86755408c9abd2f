//! Changes of the rules under traffic: from one rule set to the next there is no moment with neither.

use std::thread;

use crate::lab::flood::Flood;
use crate::lab::packet::Kind;
use crate::lab::{Family, HostSpec, Outcome, in_namespace};
use crate::live::{Rule, rules};
use crate::{check, is_answered, start};

/// What a change of the topology adds: a bridge, and a subnet to storage.
const MORE: &str = "
[[bridge]]
name = \"br-more\"
subnets = [\"172.19.0.0/16\", \"fd19::/64\"]

[[nic]]
name = \"eth7\"
role = \"backup\"
subnets = [\"192.168.77.0/24\", \"fd77::/64\"]
";

#[test]
fn not_one_ipv4_packet_passes() {
    in_namespace(|| not_one_packet_passes(Family::V4));
}

#[test]
fn not_one_ipv6_packet_passes() {
    in_namespace(|| not_one_packet_passes(Family::V6));
}

fn not_one_packet_passes(family: Family) {
    const ENOUGH: u64 = 500;
    let (lab, isoplan) = start(HostSpec::service_instance());
    let storage = lab.node("storage").index;
    isoplan.write("more.toml", &format!("{MORE}{}", lab.spec.topology())).expect("write a topology");
    let apply = |file: &str| isoplan.run(&["apply", file, "--yes"]).ok();
    let arrived = |mark: usize, from: u64| {
        lab.journal.count(mark, |seen| {
            seen.node == storage && Flood::number(seen).is_some_and(|number| number >= from)
        })
    };

    let mark = lab.journal.mark();
    let flood = Flood::start(&lab, family, "web", "storage").expect("start the flood");
    flood.wait_for(ENOUGH);
    lab.settle(lab.node("web"), family).expect("settle");
    assert!(arrived(mark, 0) > 0, "without isoplan the flood arrives");

    apply("topology.toml");
    let closed_from = flood.now();
    let mut steps = 0_u32;
    let mut step = |change: &dyn Fn()| {
        change();
        flood.wait_for(ENOUGH);
        steps += 1;
    };
    step(&|| drop(apply("topology.toml")));
    for _ in 0..5 {
        step(&|| drop(apply("more.toml")));
        step(&|| drop(apply("topology.toml")));
    }
    // Any one of the rules that drop may go: what it drops is dropped by another as well, and repairing it
    // must not open what the others close.
    let drops = |rule: &Rule| rule.drops && rule.chain == "forward";
    let count = rules(lab.host()).iter().filter(|rule| drops(rule)).count();
    assert!(count > 1, "the forward chain has more than one drop");
    for place in 0..count {
        let rule = rules(lab.host()).into_iter().filter(drops).nth(place).expect("a drop");
        step(&|| rule.delete(lab.host()));
        step(&|| drop(apply("topology.toml")));
    }
    // Many at a time, each waiting for the other.
    step(&|| {
        thread::scope(|scope| {
            for file in ["more.toml", "topology.toml", "more.toml"] {
                scope.spawn(move || apply(file));
            }
        });
    });
    let sent = flood.stop();

    // The capture lives, and has shown all that there is.
    lab.settle(lab.node("web"), family).expect("settle");
    check("the capture lives", &[lab.probe(Kind::Udp, family, "host", "storage")], is_answered);
    let passed = arrived(mark, closed_from);
    let after = sent - closed_from;
    assert_eq!(passed, 0, "{passed} of {after} packets passed in {steps} changes");
    eprintln!("{after} packets, {steps} changes");

    // And the way was open but for the rules.
    isoplan.run(&["remove", "--yes"]).ok();
    check("after remove", &[lab.probe(Kind::Udp, family, "web", "storage")], Outcome::is_delivered);
}
