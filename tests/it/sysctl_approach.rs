//! What the sysctl approach stops and what it does not, so that what is said about it stays true.
//!
//! The kernel asks the NIC that a packet came *in* on whether to forward it. So `forwarding=0` on the storage
//! NIC stops what comes from storage, which are the answers, and lets everything out to it.

use crate::lab::packet::Kind;
use crate::lab::{Family, HostSpec, Lab, Outcome, Program, in_namespace};
use crate::{check, is_answered, is_blocked, start};

fn start_with_sysctl(spec: HostSpec) -> (Lab, Program) {
    // It cannot masquerade.
    let topology = spec.topology().replace("masquerade = true", "masquerade = false");
    let topology = format!("{topology}approach = \"sysctl\"\n");
    let (lab, isoplan) = start(spec);
    isoplan.write("topology.toml", &topology).expect("write the topology");
    (lab, isoplan)
}

const KINDS: [Kind; 3] = [Kind::Icmp, Kind::Udp, Kind::Tcp];

#[test]
fn it_stops_answers_only() {
    in_namespace(|| {
        let (lab, isoplan) = start_with_sysctl(HostSpec::service_instance());
        let to_storage = |family| KINDS.map(|kind| lab.probe(kind, family, "web", "storage"));
        check("before", &to_storage(Family::V4), is_answered);
        isoplan.run(&["apply", "topology.toml", "--yes"]).ok();
        assert_eq!(lab.host().read_sysctl("net/ipv4/conf/eth1/forwarding").expect("read"), "0");

        // Every packet still arrives, and storage takes it for the host's own.
        let one_way = Outcome::Delivered { source: lab.host_address("eth1", Family::V4) };
        check("IPv4, out", &to_storage(Family::V4), |outcome| *outcome == one_way);
        let behind = KINDS.map(|kind| lab.probe(kind, Family::V4, "web", "storage-behind"));
        check("IPv4, out to what is behind", &behind, |outcome| *outcome == one_way);
        let in_v4 = KINDS.map(|kind| lab.probe(kind, Family::V4, "storage", "web"));
        check("IPv4, in", &in_v4, is_blocked);
        let transit = KINDS.map(|kind| lab.probe(kind, Family::V4, "service", "storage"));
        check("IPv4, through", &transit, |outcome| matches!(outcome, Outcome::Delivered { .. }));

        // The key of IPv6 does not gate forwarding at all.
        check("IPv6, out", &to_storage(Family::V6), is_answered);
        let in_v6 = KINDS.map(|kind| lab.probe(kind, Family::V6, "storage", "web"));
        check("IPv6, in", &in_v6, is_answered);

        // The host's own address on storage is not a matter of forwarding.
        for family in Family::BOTH {
            let own = lab.host_address("eth1", family);
            let to_host = KINDS.map(|kind| lab.probe(kind, family, "web", "host").addressed_to(own));
            check("the host's storage address", &to_host, is_answered);
            let service = KINDS.map(|kind| lab.probe(kind, family, "web", "service"));
            check("service", &service, is_answered);
            let host = KINDS.map(|kind| lab.probe(kind, family, "host", "storage"));
            check("the host's own storage", &host, is_answered);
        }

        // Anybody who switches forwarding off and on undoes it.
        lab.host().sysctl("net/ipv4/ip_forward", "0").expect("switch off");
        lab.host().sysctl("net/ipv4/ip_forward", "1").expect("switch on");
        check("after ip_forward went 0, 1", &to_storage(Family::V4), is_answered);
        let status = isoplan.run(&["status", "topology.toml"]);
        assert_eq!(status.code, Some(2), "the loss is a difference\n{status}");
    });
}

#[test]
fn it_switches_forwarding_on_and_storage_off() {
    in_namespace(|| {
        let (lab, isoplan) = start_with_sysctl(HostSpec::service_instance().bare());
        let said = isoplan.run(&["apply", "topology.toml", "--yes"]);
        let read = |key: &str| lab.host().read_sysctl(key).expect("read a sysctl");
        assert_eq!(said.code, Some(0), "{said}");
        assert_eq!(read("net/ipv4/ip_forward"), "1");
        assert_eq!(read("net/ipv4/conf/eth1/forwarding"), "0");
        assert_eq!(read("net/ipv4/conf/docker0/forwarding"), "1");
        assert_eq!(read("net/ipv4/conf/eth0/forwarding"), "1");
        isoplan.run(&["remove", "--yes"]).ok();
        for link in ["eth0", "eth1", "docker0"] {
            assert_eq!(read(&format!("net/ipv4/conf/{link}/forwarding")), "0", "{link} after remove");
        }
        assert_eq!(read("net/ipv4/ip_forward"), "0");
    });
}
