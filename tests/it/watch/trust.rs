//! What it takes somebody's word for: the text that was applied, and no file's name.

use super::{Watch, bare, topology};
use crate::lab::{HostSpec, in_namespace};
use crate::live::{listing, rules};

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
        std::fs::create_dir(&other).expect("make a directory");
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
