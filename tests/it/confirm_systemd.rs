//! `apply --confirm-within` where systemd runs: a transient timer undoes what nobody confirms.

use std::fs;
use std::time::Duration;

use crate::ISOPLAN;
use crate::boot::with_systemd;
use crate::confirm::until;
use crate::lab::HostSpec;
use crate::lab::systemd::{Image, Machine};

const LIMIT: Duration = Duration::from_secs(30);

fn boot() -> (Image, Machine) {
    let image = Image::new().expect("make a root file system");
    fs::copy(ISOPLAN, image.root().join("usr/local/sbin/isoplan")).expect("copy isoplan");
    image.write("root/topology.toml", &HostSpec::service_instance().bare().topology()).expect("write a file");
    let machine = image.boot().expect("boot");
    (image, machine)
}

/// The timers that are to undo a change.
fn timers(machine: &Machine) -> Vec<String> {
    let list = machine.ok(&["systemctl", "list-units", "--plain", "--no-legend", "--type=timer"]);
    let names = list.lines().filter_map(|line| line.split_whitespace().next());
    names.filter(|name| name.starts_with("isoplan-confirm-")).map(str::to_owned).collect()
}

fn has_tables(machine: &Machine) -> bool {
    machine.ok(&["nft", "list", "tables"]).contains("isoplan")
}

fn apply(machine: &Machine, window: &str) {
    let apply = ["isoplan", "apply", "/root/topology.toml", "--yes", "--confirm-within", window];
    let said = machine.ok(&apply);
    assert!(said.contains("isoplan confirm"), "{said}");
    assert!(has_tables(machine));
    assert_eq!(timers(machine).len(), 1, "{}", machine.journal());
}

/// Ends the process that waits beside the timer, as logind does with a session's (logind.conf(5), KillUserProcesses).
fn end_session(machine: &Machine) {
    let found = "grep -lzx wait $(grep -lzx confirm-stage /proc/[0-9]*/cmdline)";
    machine.ok(&["sh", "-c", &format!("for p in $({found}); do kill -9 $(basename $(dirname $p)); done")]);
    let is_gone = || machine.run(&["sh", "-c", found]).is_ok_and(|output| output.stdout.is_empty());
    until("the process is gone", LIMIT, is_gone);
}

#[test]
fn a_timer_of_systemd_undoes_what_nobody_confirms() {
    with_systemd(|| {
        let (_image, machine) = boot();
        apply(&machine, "3s");
        end_session(&machine);
        until("undone", LIMIT, || !has_tables(&machine));
        until("no timer is left", LIMIT, || timers(&machine).is_empty());
        let late = machine.run(&["isoplan", "confirm"]).expect("run isoplan");
        assert_eq!(late.status.code(), Some(4), "{}", String::from_utf8_lossy(&late.stderr));
    });
}

#[test]
fn what_is_confirmed_has_no_timer_any_more() {
    with_systemd(|| {
        let (_image, machine) = boot();
        apply(&machine, "600s");
        machine.ok(&["isoplan", "confirm"]);
        until("no timer is left", LIMIT, || timers(&machine).is_empty());
        assert!(has_tables(&machine));
        machine.ok(&["isoplan", "rollback", "--yes"]);
        assert!(!has_tables(&machine));
    });
}

#[test]
fn it_is_undone_when_systemd_cannot_run_the_program() {
    with_systemd(|| {
        let (_image, machine) = boot();
        apply(&machine, "2s");
        machine.ok(&["mv", "/usr/local/sbin/isoplan", "/usr/local/sbin/elsewhere"]);
        until("undone", LIMIT, || !has_tables(&machine));
    });
}
