//! What it takes somebody's word for: neither a file's name, nor sets of a name, nor a state directory that works.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;

use super::{Watch, bare, topology};
use crate::lab::{HostSpec, Program, in_namespace};
use crate::live::{forwarding, listing, rules};

/// A file that was edited since a plan was reviewed is not what was applied.
#[test]
fn a_reviewed_plan_is_not_replaced_by_the_file_on_disk() {
    in_namespace(|| {
        let (host, isoplan) = bare();
        let watch = Watch::start(&isoplan, &[]);
        let reviewed = HostSpec::three_nics().bare().topology();
        isoplan.write("topology.toml", &reviewed).expect("write a topology");
        isoplan.run(&["plan", "-o", "plan.json", "topology.toml"]).ok();
        let open = topology().replacen("subnets", "reach = [\"service\", \"storage\"]\nsubnets", 1);
        isoplan.write("topology.toml", &open).expect("write a topology");
        isoplan.run(&["check", "topology.toml"]).ok();
        isoplan.run(&["apply", "plan.json", "--yes"]).ok();
        watch.wait(0, "stood_down");
        isoplan.write("reviewed.toml", &reviewed).expect("write a topology");
        let plan = isoplan.run(&["plan", "reviewed.toml", "--detailed-exitcode"]);
        assert_eq!(plan.code, Some(0), "{plan}");
        assert_eq!(watch.count(0, "repaired"), 1, "the start alone: {:#?}", watch.lines());

        // The very text is followed.
        let mark = watch.mark();
        isoplan.write("topology.toml", &topology()).expect("write a topology");
        isoplan.run(&["apply", "topology.toml", "--yes"]).ok();
        watch.wait(mark, "resumed");
        let policy = listing(&host);
        rules(&host)[0].delete(&host);
        watch.wait(mark, "repaired");
        assert_eq!(listing(&host), policy);
    });
}

/// The same name in another directory is another file.
#[test]
fn a_name_as_it_was_typed_is_no_file() {
    in_namespace(|| {
        let (host, isoplan) = bare();
        let watch = Watch::start(&isoplan, &[]);
        let other = isoplan.directory().join("other");
        fs::create_dir(&other).expect("make a directory");
        isoplan.write("other/topology.toml", &HostSpec::three_nics().bare().topology()).expect("write it");
        let policy = listing(&host);
        let mut apply = isoplan.command(&["apply", "topology.toml", "--yes"]);
        let applied = apply.current_dir(&other).output().expect("run isoplan");
        assert!(applied.status.success(), "{}", String::from_utf8_lossy(&applied.stderr));
        let others = listing(&host);
        assert_ne!(others, policy);
        watch.wait(0, "stood_down");
        assert_eq!((listing(&host), watch.count(0, "repaired")), (others, 1), "the start alone");
    });
}

/// Sets by the names of `--keep-established`, with a connection to storage.
const FORGED: &str = "
add set inet isoplan kept_v4 { type ipv4_addr . ipv4_addr . inet_proto . inet_service . inet_service; }
add set inet isoplan kept_from_v4 { type ifname . ipv4_addr; }
add element inet isoplan kept_from_v4 { \"docker0\" . 172.17.0.2, \"eth1\" . 192.168.57.5 }
add element inet isoplan kept_v4 { 172.17.0.2 . 192.168.57.5 . tcp . 40000 . 2049, 192.168.57.5 . 172.17.0.2 . tcp . 2049 . 40000 }
";

/// What is kept open is what isoplan noted, and not what is in sets of that name.
#[test]
fn sets_of_kept_connections_that_others_made_are_drift() {
    in_namespace(|| {
        let (host, isoplan) = bare();
        isoplan.run(&["apply", "topology.toml", "--yes"]).ok();
        let policy = listing(&host);
        host.nft_load(FORGED).expect("forge");
        let status = isoplan.run(&["status", "topology.toml"]);
        assert_eq!(status.code, Some(2), "{status}");
        let plan = isoplan.run(&["plan", "topology.toml", "--json"]);
        assert_eq!(plan.json()["kept_connections"], 0, "{plan}");
        isoplan.run(&["apply", "topology.toml", "--yes"]).ok();
        assert_eq!(listing(&host), policy);

        let watch = Watch::start(&isoplan, &[]);
        host.nft_load(FORGED).expect("forge");
        watch.wait(0, "repaired");
        assert_eq!(listing(&host), policy);
    });
}

/// The directory with the state of this namespace.
fn state_of(isoplan: &Program) -> PathBuf {
    let mut found = fs::read_dir(isoplan.directory().join("state")).expect("list the state").flatten();
    found.next().expect("a state directory").path()
}

#[test]
fn a_broken_state_directory_keeps_no_drop_from_coming_back() {
    in_namespace(|| {
        let (host, isoplan) = bare();
        isoplan.run(&["apply", "topology.toml", "--yes"]).ok();
        let policy = listing(&host);
        let state = state_of(&isoplan);
        for file in ["sysctls.json", "change.json", "kept.json"] {
            // Each its own, so that none takes this for a fight.
            let watch = Watch::start(&isoplan, &[]);
            let path = state.join(file);
            let good = fs::read(&path).ok();
            fs::write(&path, "{\"version\": 99, \"kind\": \"other\"}").expect("write");
            fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).expect("chmod");
            let broken = watch.mark();
            for _ in 0..2 {
                let mark = watch.mark();
                host.nft_load("flush ruleset").expect("flush");
                watch.wait(mark, "repaired");
                assert_eq!(listing(&host), policy, "{file}");
            }
            assert_eq!(forwarding(&host), ["1"; 2]);
            watch.wait(broken, "failed");
            assert_eq!(watch.count(broken, "failed"), 1, "{file}: {:#?}", &watch.lines()[broken..]);
            match good {
                Some(good) => fs::write(&path, good).expect("write"),
                None => fs::remove_file(&path).expect("remove"),
            }
            // Sysctls again as well, as soon as it can.
            let mark = watch.mark();
            host.sysctl("net/ipv4/ip_forward", "0").expect("write a sysctl");
            watch.wait(mark, "repaired");
            assert_eq!(forwarding(&host), ["1"; 2]);
        }

        // A start puts the tables in place, and fails.
        fs::write(state.join("sysctls.json"), "{}").expect("write");
        host.nft_load("flush ruleset").expect("flush");
        let started = isoplan.run(&["watch", "topology.toml"]);
        assert!(started.stderr.contains("sysctls.json"), "{started}");
        assert_eq!(listing(&host), policy);
    });
}
