//! Nothing is left: no process, no control group, no mount, also when the test is killed. Every other test makes sure of
//! that for itself when it ends, see [`crate::host::on_a_host`].

use std::fs;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::Duration;

use crate::docker::Docker;
use crate::host::{control_groups, name_of, on_a_host, unavailable, what_is_left};
use crate::lab::isolate::is_real_root;
use crate::site::{Site, wait_until};

/// A host with a container, which waits to be killed.
#[test]
#[ignore = "a part of `killed_it_leaves_nothing`"]
fn a_host_that_waits() {
    on_a_host(|| {
        let site = Site::start(false).expect("make the site");
        let _daemon = Docker::start(&[]);
        Docker::import_image();
        let _web = Docker::run(&site, 3, "web", &["--publish", "8080:80"]);
        loop {
            std::thread::park();
        }
    });
}

#[test]
fn killed_it_leaves_nothing() {
    if unavailable().is_some() || !is_real_root() {
        assert!(std::env::var_os("CI").is_none(), "CI may not skip: only root sees the processes of others");
        eprintln!("skipped: only root sees the processes of others");
        return;
    }
    let mounts = || fs::read_to_string("/proc/self/mountinfo").expect("read the mounts");
    let before = mounts();
    let mut test = Command::new(std::env::current_exe().expect("this program"))
        .args(["left::a_host_that_waits", "--exact", "--include-ignored", "--test-threads=1"])
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("start a test");
    let name = name_of(test.id(), 0);
    wait_until("a container runs", Duration::from_secs(60), || control_groups(&name).iter().any(has_process));
    let there = what_is_left(&name, None);
    for program in ["dockerd", "containerd-shim", "docker-proxy"] {
        assert!(there.iter().any(|line| line.contains(program)), "{program} runs: {there:#?}");
    }
    test.kill().expect("kill the test");
    test.wait().expect("wait for the test");
    println!("  killed with {} processes and control groups", there.len());
    wait_until("everything has ended", Duration::from_secs(20), || what_is_left(&name, None).is_empty());
    assert_eq!(before, mounts(), "the mounts of the machine");
}

/// Whether there is a process in a control group or below it.
fn has_process(group: &PathBuf) -> bool {
    let here = fs::read_to_string(group.join("cgroup.procs")).is_ok_and(|processes| !processes.is_empty());
    let below = fs::read_dir(group).into_iter().flatten().flatten().map(|entry| entry.path());
    here || below.filter(|path| path.is_dir()).any(|path| has_process(&path))
}
