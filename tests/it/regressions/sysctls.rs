//! Sysctls and tables as the kernel has them, and what plan, status and apply make of them.

use serde_json::{Value, json};

use super::{IP_FORWARD, V4, both_families, set_forwarding, start, state};
use crate::lab::in_namespace;
use crate::live::{forwarding, listing};

/// Every name that begins with `__` was taken for a set that nft made for a rule, and not looked at.
#[test]
fn a_chain_and_a_set_named_like_anonymous_ones_are_seen_and_removed() {
    in_namespace(|| {
        let (host, isoplan) = start();
        isoplan.run(&["apply", "topology.toml", "--yes"]).ok();
        let before = listing(&host);
        host.nft_load(
            "add chain inet isoplan __x { type filter hook forward priority -300; policy accept; }
             add rule inet isoplan __x accept
             add set inet isoplan __s { type ifname; elements = { \"eth9\" }; }",
        )
        .expect("add a chain and a set");
        assert_ne!(listing(&host), before);
        let plan = isoplan.run(&["plan", "topology.toml", "--json", "--detailed-exitcode"]);
        assert_eq!(plan.code, Some(2), "{plan}");
        let changes = plan.json()["changes"].as_array().expect("a list of changes").clone();
        let deletes = |kind: &str, name: &str| {
            changes.iter().any(|change| {
                change["action"] == "delete" && change["kind"] == kind && change["name"] == name
            })
        };
        assert!(deletes("chain", "__x") && deletes("set", "__s") && changes.len() == 2, "{plan}");
        let status = isoplan.run(&["status", "topology.toml"]);
        assert_eq!(status.code, Some(2), "{status}");
        assert!(status.stdout.contains("__x") && status.stdout.contains("__s"), "{status}");
        isoplan.run(&["apply", "topology.toml", "--yes"]).ok();
        assert_eq!(listing(&host), before);
        assert_eq!(isoplan.run(&["status", "topology.toml"]).code, Some(0));
    });
}

/// With a sysctl missing and nothing else to be done, the host counted as being what it should be.
#[test]
fn a_missing_sysctl_is_a_difference() {
    in_namespace(|| {
        let (host, isoplan) = start();
        set_forwarding(&host, "1");
        let before = state(&host);
        let key = "net/ipv4/conf/eth1/forwarding";
        let plan = isoplan.run(&["plan", "sysctl.toml", "--json", "--detailed-exitcode"]);
        assert_eq!(plan.code, Some(2), "{plan}");
        let found = plan.json();
        assert_eq!((&found["changes"], &found["differs"]), (&json!([]), &json!(true)), "{plan}");
        assert_eq!(found["missing_sysctls"], json!([key]), "{plan}");
        let plan = isoplan.run(&["plan", "sysctl.toml", "--detailed-exitcode"]);
        assert!(plan.code == Some(2) && plan.stdout.contains(key), "{plan}");
        let status = isoplan.run(&["status", "sysctl.toml", "--json"]);
        assert_eq!((status.code, &status.json()["in_place"]), (Some(2), &json!(false)), "{status}");
        let ran = isoplan.run(&["apply", "sysctl.toml", "--yes"]);
        assert_eq!(ran.code, Some(1), "{ran}");
        assert!(ran.stderr.contains(key) && ran.stderr.contains("nothing was changed"), "{ran}");
        assert_eq!(state(&host), before, "{ran}");

        // With the NIC there it is written, and then nothing differs.
        host.ip("link add eth1 type veth peer name peer1\n").expect("add a link");
        isoplan.run(&["apply", "sysctl.toml", "--yes"]).ok();
        assert_eq!(host.read_sysctl(key).expect("read a sysctl"), "0");
        assert_eq!(isoplan.run(&["status", "sysctl.toml"]).code, Some(0));
        assert_eq!(isoplan.run(&["plan", "sysctl.toml", "--detailed-exitcode"]).code, Some(0));
    });
}

/// What a sysctl is by the time that it is written was not what the journal took for its old value: switching
/// forwarding on had reset it meanwhile. The NIC then kept `forwarding = 0` beside the other approach.
#[test]
fn a_guarded_nic_forwards_again_with_the_other_approach() {
    in_namespace(|| {
        let (host, isoplan) = start();
        host.ip("link add eth0 type veth peer name peer0\nlink add eth1 type veth peer name peer1\n")
            .expect("add links");
        let values = || {
            [IP_FORWARD, "net/ipv4/conf/eth0/forwarding", "net/ipv4/conf/eth1/forwarding"]
                .map(|key| host.read_sysctl(key).expect("read a sysctl"))
        };
        for before in ["0", "1"] {
            set_forwarding(&host, before);
            assert_eq!(values(), [before; 3]);
            isoplan.run(&["apply", "sysctl.toml", "--yes"]).ok();
            assert_eq!(values(), ["1", "1", "0"], "from {before}, by sysctls");
            isoplan.run(&["apply", "topology.toml", "--yes"]).ok();
            assert_eq!(values(), ["1", "1", "1"], "from {before}, by rules");
            assert_eq!(isoplan.run(&["status", "topology.toml"]).code, Some(0));
            isoplan.run(&["remove", "--yes"]).ok();
            assert_eq!(values(), [before; 3], "from {before}, removed");
            assert_eq!(listing(&host), None);
        }
        // Kept from it by hand, that is what comes back.
        set_forwarding(&host, "1");
        host.sysctl("net/ipv4/conf/eth1/forwarding", "0").expect("write a sysctl");
        isoplan.run(&["apply", "sysctl.toml", "--yes"]).ok();
        isoplan.run(&["remove", "--yes"]).ok();
        assert_eq!(values(), ["1", "1", "0"]);
    });
}

/// A bridge without subnets counted as one with IPv6: forwarding was switched on for a family that the file
/// has no word of, and with it router advertisements off.
#[test]
fn ipv6_is_forwarded_only_where_the_file_has_it() {
    in_namespace(|| {
        let (host, isoplan) = start();
        let bare = V4.replace("subnets = [\"172.17.0.0/16\"]\n", "");
        let no_subnet = "[[bridge]]\nname = \"docker0\"\n\n[[nic]]\nname = \"eth0\"\nrole = \"service\"\n";
        let pattern = no_subnet.replace("docker0", "br-*");
        let router = "[[nic]]\nname = \"eth0\"\nrole = \"service\"\n\n\
            [[nic]]\nname = \"lan0\"\nrole = \"lan\"\nreach = [\"service\"]\nsubnets = [\"10.0.0.0/8\"]\n";
        let one_side = V4.replace("172.17.0.0/16\"", "172.17.0.0/16\", \"fd17::/64\"");
        let key = "net/ipv6/conf/all/forwarding";
        let has = |list: &Value, name: &str| {
            list.as_array().expect("a list").iter().any(|entry| entry[name] == key)
        };
        let check = |what: &str, text: &str, is_planned: bool| {
            isoplan.write("file.toml", text).expect("write a topology");
            let desired = isoplan.run(&["render", "file.toml", "--format", "json"]).json();
            assert_eq!(has(&desired["sysctls"], "key"), is_planned, "{what}: {:#}", desired["sysctls"]);
            let plan = isoplan.run(&["plan", "file.toml", "--json"]).json();
            assert_eq!(has(&plan["changes"], "name"), is_planned, "{what}: {:#}", plan["changes"]);
            // The other family is on in each of them.
            let ipv4 = &desired["sysctls"][0];
            assert!(ipv4["key"] == IP_FORWARD && ipv4["value"] == "1", "{what}: {ipv4:#}");
            isoplan.run(&["apply", "file.toml", "--yes"]).ok();
            assert_eq!(forwarding(&host), ["1", if is_planned { "1" } else { "0" }], "{what}");
            isoplan.run(&["remove", "--yes"]).ok();
        };
        check("both families", &both_families(), true);
        check("IPv4", V4, false);
        check("a bridge without subnets", &bare, false);
        check("no subnets", no_subnet, false);
        check("a pattern without subnets", &pattern, false);
        check("a router", router, false);
        check("IPv6 on the bridge alone", &one_side, false);
        let sysctl = format!("{bare}\n[isolation]\napproach = \"sysctl\"\n");
        host.ip("link add eth1 type veth peer name peer1\n").expect("add a link");
        check("by sysctls", &sysctl, false);
    });
}

/// Forwarding that isoplan switched on, without its tables, is the worst state there is: a status that goes by
/// what isoplan once wrote would call it fine.
#[test]
fn forwarding_without_tables_is_not_in_place() {
    in_namespace(|| {
        let (host, isoplan) = start();
        isoplan.run(&["apply", "topology.toml", "--yes"]).ok();
        assert_eq!(isoplan.run(&["status"]).code, Some(0));
        host.nft(&["flush", "ruleset"]).expect("flush");
        let status = isoplan.run(&["status"]);
        assert_eq!(status.code, Some(2), "{status}");
        assert!(status.stdout.contains("tables are gone"), "{status}");
        assert_eq!(isoplan.run(&["status", "topology.toml"]).code, Some(2));
    });
}

/// What others have taken over meanwhile is not restored by halves: a guarded NIC that did not forward before
/// must not come out of `remove` forwarding.
#[test]
fn remove_opens_no_nic_when_forwarding_was_switched_off_by_others() {
    in_namespace(|| {
        let (host, isoplan) = start();
        host.ip("link add eth1 type veth peer name peer1\n").expect("add a link");
        isoplan.run(&["apply", "sysctl.toml", "--yes"]).ok();
        host.sysctl("net/ipv4/ip_forward", "0").expect("write a sysctl");
        isoplan.run(&["remove", "--yes"]).ok();
        assert_eq!(host.read_sysctl("net/ipv4/conf/eth1/forwarding").expect("read a sysctl").trim(), "0");
        let again = isoplan.run(&["remove", "--yes"]).ok();
        assert!(again.contains("nothing to do"), "{again}");
    });
}
