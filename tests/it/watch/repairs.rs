//! What others change, one by one.

use std::time::Instant;

use nix::sys::signal::Signal;

use super::{SECOND, Watch, bare, sysctl_topology, until};
use crate::docs::check_json;
use crate::lab::in_namespace;
use crate::lab::node::Node;
use crate::live::{foreign, forwarding, listing, rules};

fn nft(host: &Node, text: &str) {
    host.nft_load(text).unwrap_or_else(|error| panic!("{error}"));
}

#[test]
fn whatever_is_changed_is_repaired_within_a_second_and_told_of() {
    in_namespace(|| {
        let (host, isoplan) = bare();
        let watch = Watch::start(&isoplan, &[]);
        let policy = listing(&host);
        assert!(policy.is_some(), "it puts the policy in place before it is ready");
        assert_eq!(forwarding(&host), ["1"; 2]);

        let check = |what: &str, by: &str, change: &dyn Fn()| {
            let mark = watch.mark();
            let started = Instant::now();
            change();
            let line = watch.wait(mark, "repaired");
            let took = started.elapsed();
            assert_eq!(
                (listing(&host), forwarding(&host)),
                (policy.clone(), ["1"; 2].map(String::from)),
                "{what}"
            );
            assert!(took < SECOND, "{what}: repaired after {took:?}");
            let message = line["message"].as_str().expect("a message");
            eprintln!("{what}: {} ms: {message}", took.as_millis());
            assert!(message.contains(by), "{what}: {message}");
            let is_sysctl = line["by"].as_array().expect("a list").is_empty();
            assert_eq!(is_sysctl, by.starts_with("sysctls"), "{line}");
            line
        };
        let flushed = check("flush", "nft (pid ", &|| nft(&host, "flush ruleset"));
        assert!(flushed["message"].as_str().is_some_and(|text| text.contains("deleted table inet isoplan")));
        check("a table deleted", "nft (pid ", &|| nft(&host, "delete table inet isoplan"));
        check("a table dormant", "nft (pid ", &|| nft(&host, "add table inet isoplan { flags dormant; }"));
        let one = check("a rule deleted", "nft (pid ", &|| rules(&host)[0].delete(&host));
        assert_eq!(one["changes"], 1);
        check("a rule put first", "wrote rules in chain forward", &|| {
            nft(&host, "insert rule inet isoplan forward accept");
        });
        check("an element deleted", "deleted elements of set guarded_links", &|| {
            nft(&host, "delete element inet isoplan guarded_links { \"eth1\" }");
        });
        check("a chain emptied", "deleted rules in chain input", &|| {
            nft(&host, "flush chain inet isoplan input")
        });
        check("a chain added", "wrote chain mine", &|| nft(&host, "add chain inet isoplan mine"));
        check("ip_forward flipped", "sysctls were changed", &|| {
            host.sysctl("net/ipv4/ip_forward", "0").expect("write a sysctl");
        });
        check("IPv6 forwarding flipped", "sysctls were changed", &|| {
            host.sysctl("net/ipv6/conf/all/forwarding", "0").expect("write a sysctl");
        });
        // The document that docs/json.md shows.
        check_json("isoplan watch --json", "watch", &[one], &[]);
        assert_eq!(watch.count(0, "backing_off"), 0, "{:#?}", watch.lines());
        assert!(watch.end().success());
        assert_eq!(listing(&host), policy, "the rules stay when it ends");
    });
}

#[test]
fn what_others_do_elsewhere_is_no_reason_to_do_anything() {
    in_namespace(|| {
        let (host, isoplan) = bare();
        let watch = Watch::start(&isoplan, &[]);
        let mark = watch.mark();
        for _ in 0..20 {
            nft(&host, "add table ip other; add chain ip other mine; add rule ip other mine accept");
        }
        let others = foreign(&host);
        // Something that it does act on, to know that it has seen the rest.
        rules(&host)[0].delete(&host);
        watch.wait(mark, "repaired");
        assert_eq!(watch.count(mark, "repaired"), 1);
        assert_eq!(foreign(&host), others);
    });
}

#[test]
fn report_says_what_differs_and_writes_nothing() {
    in_namespace(|| {
        let (host, isoplan) = bare();
        let watch = Watch::start(&isoplan, &["--report"]);
        watch.wait(0, "drift");
        assert_eq!((listing(&host), forwarding(&host)), (None, ["0"; 2].map(String::from)));
        assert!(!isoplan.directory().join("state").exists(), "not even a lock");

        isoplan.run(&["apply", "topology.toml", "--yes"]).ok();
        watch.wait(0, "in_place");
        let mark = watch.mark();
        let policy = listing(&host);
        let rule = rules(&host).swap_remove(0);
        rule.delete(&host);
        let drift = watch.wait(mark, "drift");
        assert!(drift["message"].as_str().is_some_and(|text| text.starts_with("nft (pid ")), "{drift}");
        assert_eq!(drift["changes"], 1);
        let mark = watch.mark();
        host.sysctl("net/ipv4/ip_forward", "0").expect("write a sysctl");
        watch.wait(mark, "drift");
        assert_ne!(listing(&host), policy);
        assert_eq!(forwarding(&host), ["0", "1"]);
        assert_eq!(watch.count(0, "repaired"), 0);
        assert!(watch.end().success());
    });
}

/// The sysctl approach: a NIC that is made anew has `forwarding` of `default`, that is 1.
#[test]
fn a_nic_that_comes_back_is_closed_at_once() {
    const KEY: &str = "net/ipv4/conf/eth1/forwarding";
    in_namespace(|| {
        let (host, isoplan) = bare();
        isoplan.write("topology.toml", &sysctl_topology()).expect("write a topology");
        // Not there at the start: the rest does not wait for it.
        let watch = Watch::start(&isoplan, &[]);
        assert_eq!(forwarding(&host), ["1"; 2]);
        let value = || host.read_sysctl(KEY).unwrap_or_default();
        for round in 0..3 {
            host.ip("link add eth1 type veth peer name eth1-peer\n").expect("add a link");
            let took = until("forwarding of the new NIC is 0", SECOND, || value() == "0");
            eprintln!("{round}: closed after {} ms", took.as_millis());
            if round < 2 {
                host.ip("link del eth1\n").expect("delete a link");
            }
        }
        // The switch resets every interface.
        host.sysctl("net/ipv4/ip_forward", "0").expect("write a sysctl");
        host.sysctl("net/ipv4/ip_forward", "1").expect("write a sysctl");
        until("forwarding is 0 again", SECOND, || value() == "0" && forwarding(&host)[0] == "1");
        assert!(watch.end().success());
    });
}

#[test]
fn what_no_rule_is_about_is_remarked_once() {
    in_namespace(|| {
        let (host, isoplan) = bare();
        host.ip("link add eth1 type veth peer name eth1-peer\nlink set eth1 up\n").expect("add a link");
        let watch = Watch::start(&isoplan, &[]);
        let remarks = |text: &str| {
            let is_it = |line: &&serde_json::Value| {
                line["event"] == "remark"
                    && line["message"].as_str().is_some_and(|message| message.contains(text))
            };
            watch.lines().iter().filter(is_it).count()
        };
        until("what is absent is told", super::LIMIT, || remarks("eth0") == 1);
        assert_eq!(remarks("eth1"), 0);
        host.ip("addr add 192.0.2.7/24 dev eth1\n").expect("add an address");
        until("the address is told", super::LIMIT, || remarks("192.0.2.7 on eth1") == 1);
        host.ip("addr add 192.0.2.8/24 dev eth1\nlink set eth1 down\nlink set eth1 up\n").expect("change");
        until("the other address is told", super::LIMIT, || remarks("192.0.2.8 on eth1") == 1);
        assert_eq!(remarks("192.0.2.7 on eth1"), 1);
        watch.signal(Signal::SIGTERM);
    });
}
