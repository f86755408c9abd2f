//! Other runs of isoplan beside it.

use nix::sys::signal::Signal;

use super::{LIMIT, Watch, bare, sysctl_topology, topology, until};
use crate::lab::{HostSpec, in_namespace};
use crate::live::{forwarding, listing, rules};

#[test]
fn after_a_remove_it_stands_down_until_it_is_told_otherwise() {
    in_namespace(|| {
        let (host, isoplan) = bare();
        let watch = Watch::start(&isoplan, &[]);
        let policy = listing(&host);
        for resume in ["SIGHUP", "apply"] {
            let mark = watch.mark();
            isoplan.run(&["remove", "--yes"]).ok();
            let line = watch.wait(mark, "stood_down");
            assert!(line["message"].as_str().is_some_and(|text| text.contains("systemctl reload")), "{line}");
            // Whatever others do now, isoplan was removed.
            host.nft_load("add table inet isoplan; delete table inet isoplan").expect("touch its table");
            host.sysctl("net/ipv4/ip_forward", "1").expect("write a sysctl");
            host.sysctl("net/ipv4/ip_forward", "0").expect("write a sysctl");
            if resume == "SIGHUP" {
                watch.signal(Signal::SIGHUP);
                until("the policy is back", LIMIT, || {
                    listing(&host) == policy && forwarding(&host)[0] == "1"
                });
                watch.wait(mark, "repaired");
            } else {
                isoplan.run(&["apply", "topology.toml", "--yes"]).ok();
                watch.wait(mark, "resumed");
            }
            assert_eq!(watch.count(mark, "stood_down"), 1, "{:#?}", watch.lines());
            let before = watch.lines();
            let repaired = before[mark..].iter().filter(|line| line["event"] == "repaired").count();
            assert_eq!(repaired, usize::from(resume == "SIGHUP"), "{before:#?}");
            let mark = watch.mark();
            rules(&host)[0].delete(&host);
            watch.wait(mark, "repaired");
            assert_eq!(listing(&host), policy);
        }
    });
}

#[test]
fn another_topology_is_left_alone_and_an_edited_one_is_taken() {
    in_namespace(|| {
        let (host, isoplan) = bare();
        let other = HostSpec::three_nics().bare().topology();
        isoplan.write("other.toml", &other).expect("write a topology");
        let watch = Watch::start(&isoplan, &[]);
        let policy = listing(&host);
        isoplan.run(&["apply", "other.toml", "--yes"]).ok();
        watch.wait(0, "stood_down");
        let others = listing(&host);
        assert_ne!(others, policy);
        rules(&host)[0].delete(&host);

        // The same file as the watch's, edited and applied.
        let mark = watch.mark();
        isoplan.write("topology.toml", &other).expect("write a topology");
        isoplan.run(&["apply", "topology.toml", "--yes"]).ok();
        watch.wait(mark, "resumed");
        assert_eq!(listing(&host), others);
        let mark = watch.mark();
        rules(&host)[0].delete(&host);
        watch.wait(mark, "repaired");
        assert_eq!(listing(&host), others);

        // And again without standing down in between.
        let mark = watch.mark();
        isoplan.write("topology.toml", &topology()).expect("write a topology");
        isoplan.run(&["apply", "topology.toml", "--yes"]).ok();
        watch.wait(mark, "resumed");
        assert_eq!(watch.count(mark, "stood_down"), 0);
        assert_eq!(listing(&host), policy);
    });
}

/// The sysctl approach has no transaction that would tell of isoplan.
#[test]
fn a_remove_of_sysctls_is_known_as_well() {
    in_namespace(|| {
        let (host, isoplan) = bare();
        host.ip("link add eth1 type veth peer name eth1-peer\n").expect("add a link");
        isoplan.write("topology.toml", &sysctl_topology()).expect("write a topology");
        let watch = Watch::start(&isoplan, &[]);
        assert_eq!(forwarding(&host), ["1"; 2]);
        let mark = watch.mark();
        isoplan.run(&["remove", "--yes"]).ok();
        watch.wait(mark, "stood_down");
        assert_eq!(forwarding(&host), ["0"; 2]);
        assert_eq!(watch.count(mark, "repaired"), 0);
    });
}

/// What a rollback leads back to is kept, if it was kept before; else it has gone, and stays so.
#[test]
fn a_rollback_is_not_undone() {
    in_namespace(|| {
        let (host, isoplan) = bare();
        let watch = Watch::start(&isoplan, &[]);
        let policy = listing(&host);
        isoplan.write("topology.toml", &HostSpec::three_nics().bare().topology()).expect("write a topology");
        isoplan.run(&["apply", "topology.toml", "--yes"]).ok();
        watch.wait(0, "resumed");
        let others = listing(&host);
        assert_ne!(others, policy);
        let mark = watch.mark();
        isoplan.run(&["rollback", "--yes"]).ok();
        watch.wait(mark, "resumed");
        assert_eq!(listing(&host), policy);
        let mark = watch.mark();
        rules(&host)[0].delete(&host);
        watch.wait(mark, "repaired");
        assert_eq!(listing(&host), policy);

        // SIGHUP is a change of its own, and undone like one.
        let mark = watch.mark();
        watch.signal(Signal::SIGHUP);
        watch.wait(mark, "repaired");
        assert_eq!(listing(&host), others);
        isoplan.run(&["rollback", "--yes"]).ok();
        watch.wait(mark, "resumed");
        assert_eq!(listing(&host), policy);
        drop(watch);
        isoplan.run(&["remove", "--yes"]).ok();

        // So is a start on a host without isoplan.
        let watch = Watch::start(&isoplan, &[]);
        assert_eq!(listing(&host), others);
        isoplan.run(&["rollback", "--yes"]).ok();
        watch.wait(0, "stood_down");
        assert_eq!((listing(&host), forwarding(&host)), (None, ["0"; 2].map(String::from)));
        assert_eq!(watch.count(0, "repaired"), 1, "the start alone");
    });
}

/// An apply of the watch's own file that is cut short is finished.
#[test]
fn an_apply_that_was_killed_is_finished() {
    in_namespace(|| {
        let (host, isoplan) = bare();
        let watch = Watch::start(&isoplan, &[]);
        let policy = listing(&host);
        isoplan.write("topology.toml", &HostSpec::three_nics().bare().topology()).expect("write a topology");
        for round in 0..20 {
            let mut child =
                isoplan.command(&["apply", "topology.toml", "--yes"]).spawn().expect("start isoplan");
            std::thread::sleep(std::time::Duration::from_millis(2 * round));
            child.kill().expect("kill it");
            child.wait().expect("wait for it");
        }
        isoplan.run(&["apply", "topology.toml", "--yes"]).ok();
        let wanted = listing(&host);
        assert_ne!(wanted, policy);
        assert_eq!(watch.count(0, "stood_down"), 0, "{:#?}", watch.lines());
        let mark = watch.mark();
        rules(&host)[0].delete(&host);
        watch.wait(mark, "repaired");
        assert_eq!(listing(&host), wanted);
    });
}

/// While a change waits to be confirmed that is not the file of the watch, it is nobody's but isoplan's own. That
/// somebody else touched it is told.
#[test]
fn another_policy_is_not_repaired_while_it_waits_to_be_confirmed() {
    in_namespace(|| {
        let (host, isoplan) = bare();
        let watch = Watch::start(&isoplan, &[]);
        let policy = listing(&host);
        isoplan.write("other.toml", &HostSpec::three_nics().bare().topology()).expect("write a topology");
        let mark = watch.mark();
        let apply = isoplan.run(&["apply", "other.toml", "--yes", "--confirm-within", "60s"]);
        assert!(apply.stderr.contains("isoplan watch runs here"), "{apply}");
        watch.wait(mark, "held");
        rules(&host)[0].delete(&host);
        let drift = watch.wait(mark, "drift");
        assert_eq!(drift["level"], 4, "{drift}");
        let touched = listing(&host);
        // Neither SIGHUP nor what others do makes a difference.
        watch.signal(Signal::SIGHUP);
        watch.wait(mark, "reloaded");
        host.nft_load("add chain inet isoplan mine; delete chain inet isoplan mine").expect("touch it");
        let second = isoplan.run(&["plan", "other.toml", "--detailed-exitcode"]);
        assert_eq!(second.code, Some(2), "{second}");
        assert_eq!((watch.count(mark, "repaired"), listing(&host)), (0, touched));
        isoplan.run(&["rollback", "--yes"]).ok();
        watch.wait(mark, "resumed");
        assert_eq!(listing(&host), policy);
        let mark = watch.mark();
        rules(&host)[0].delete(&host);
        watch.wait(mark, "repaired");
        assert_eq!(listing(&host), policy);
    });
}

/// A change that waits and is what the file of the watch asks for by now is kept in place, and still undone whole.
#[test]
fn its_own_file_is_repaired_while_it_waits_to_be_confirmed() {
    in_namespace(|| {
        let (host, isoplan) = bare();
        let watch = Watch::start(&isoplan, &[]);
        let policy = listing(&host);
        isoplan.write("topology.toml", &HostSpec::three_nics().bare().topology()).expect("write a topology");
        for outcome in ["rollback", "confirm"] {
            let mark = watch.mark();
            let apply = isoplan.run(&["apply", "topology.toml", "--yes", "--confirm-within", "60s"]);
            assert!(!apply.stderr.contains("isoplan watch"), "{apply}");
            let wanted = listing(&host);
            watch.wait(mark, "held");
            host.nft_load("flush ruleset").expect("flush");
            watch.wait(mark, "repaired");
            assert_eq!(listing(&host), wanted);
            isoplan
                .run(
                    &[outcome]
                        .into_iter()
                        .chain((outcome == "rollback").then_some("--yes"))
                        .collect::<Vec<_>>(),
                )
                .ok();
            watch.wait(mark, "resumed");
            let now = if outcome == "rollback" { &policy } else { &wanted };
            assert_eq!(listing(&host), *now);
            let mark = watch.mark();
            rules(&host)[0].delete(&host);
            watch.wait(mark, "repaired");
            assert_eq!(listing(&host), *now);
        }
    });
}

/// Whoever was to undo a change was killed: the watch does.
#[test]
fn what_is_overdue_is_undone() {
    in_namespace(|| {
        let (host, isoplan) = bare();
        isoplan.run(&["apply", "topology.toml", "--yes"]).ok();
        let watch = Watch::start(&isoplan, &[]);
        let status = isoplan.run(&["status", "topology.toml", "--json"]).json();
        assert_eq!(status["watch"], true, "{status}");
        let policy = listing(&host);
        isoplan.write("other.toml", &HostSpec::three_nics().bare().topology()).expect("write a topology");
        isoplan.run(&["apply", "other.toml", "--yes", "--confirm-within", "1s"]).ok();
        for watcher in crate::confirm::watchers() {
            nix::sys::signal::kill(nix::unistd::Pid::from_raw(watcher), Signal::SIGKILL).expect("kill it");
        }
        let undone = watch.wait(0, "undone");
        assert_eq!(undone["level"], 4, "{undone}");
        watch.wait(0, "resumed");
        assert_eq!(listing(&host), policy);
        drop(watch);
        let status = isoplan.run(&["status", "topology.toml", "--json"]).json();
        assert_eq!((&status["watch"], &status["pending"]), (&false.into(), &serde_json::Value::Null));
    });
}
