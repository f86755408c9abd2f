//! Somebody flushes every rule of the host, and `isoplan watch` puts isoplan's back.

use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::docker::{Docker, live_restore};
use crate::host::on_a_host;
use crate::look::{Isoplan, Seen, look};
use crate::others::isoplan_tables;
use crate::sender::Sender;
use crate::site::{Site, wait_until};
use crate::with_docker::{TOPOLOGY, apply};

/// How long the host may be open after a flush. Measured far below; see docs/operate.md.
const AT_MOST: Duration = Duration::from_secs(1);
/// How often it is flushed.
const FLUSHES: usize = 5;

/// `isoplan watch`, ended with the test.
struct Watch(Child);

impl Watch {
    fn start(site: &Site) -> Self {
        let log = std::fs::File::create("/var/log/isoplan-watch.log").expect("make a log");
        let mut command = site.isoplan.command(&["watch", "topology.toml"]);
        command.stdout(log.try_clone().expect("copy a descriptor")).stderr(log).stdin(Stdio::null());
        Self(command.spawn().expect("start isoplan watch"))
    }

    fn log() -> String {
        std::fs::read_to_string("/var/log/isoplan-watch.log").unwrap_or_default()
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        let pid = Pid::from_raw(i32::try_from(self.0.id()).expect("a process id"));
        let _ = kill(pid, Signal::SIGTERM);
        let _ = self.0.wait();
    }
}

#[test]
fn a_flush_is_repaired() {
    on_a_host(|| {
        let site = Site::start(false).expect("make the site");
        site.isoplan.write("topology.toml", TOPOLOGY).expect("write the topology");
        live_restore(true);
        let daemon = Docker::start(&["--userland-proxy=false"]);
        Docker::import_image();
        let web = Docker::run(&site, 3, "web", &["--publish", "8080:80"]);
        let seen = Seen::v4(&web, Some(8080));
        look(&site, "before isoplan", Isoplan::Absent, &seen);
        let mut sender = Sender::start(&site, &web.node, false).expect("start a sender");
        let tables = apply(&site);
        sender.is_closed_from_now(&site);
        let watch = Watch::start(&site);
        // It is ready when it repairs: a rule of another is nothing to it, and one of its own is.
        site.host.nft(&["flush", "chain", "inet", "isoplan", "input"]).expect("flush a chain");
        wait_until("isoplan watch repairs", Duration::from_secs(10), || isoplan_tables() == tables);
        sender.check(&site, "isoplan watch started");

        let mut gaps = Vec::new();
        for number in 0..FLUSHES {
            let mark = site.journal.mark();
            let flushed = Instant::now();
            site.host.nft(&["flush", "ruleset"]).expect("flush everything");
            wait_until("isoplan's tables are back", Duration::from_secs(10), || isoplan_tables() == tables);
            let back = flushed.elapsed();
            sender.is_closed_from_now(&site);
            // Docker's rules are gone, and so is its masquerade: what gets through has the container's address.
            let bare = Seen { is_masqueraded: false, ..Seen::v4(&web, None) };
            look(&site, &format!("flush {number}"), Isoplan::Present, &bare);
            let (got_through, gap) = Sender::got_through(&site, mark);
            println!(
                "  flush {number}: {got_through} packets got through in {gap:?}; seen to be back after {back:?}"
            );
            sender.check(&site, "after it");
            gaps.push(gap);
        }
        let longest = gaps.iter().max().expect("there was a flush");
        println!("  the longest gap of {FLUSHES}: {longest:?}");
        assert!(*longest < AT_MOST, "open for {longest:?} after a flush\n{}", Watch::log());
        assert!(gaps.iter().any(|gap| !gap.is_zero()), "no flush let a packet through: was there one?");

        // dockerd puts its own back when it is started again; isoplan's stay as they are.
        daemon.stop();
        let daemon = Docker::start(&["--userland-proxy=false"]);
        look(&site, "dockerd restarted", Isoplan::Present, &seen);
        sender.check(&site, "dockerd restarted");
        assert_eq!(isoplan_tables(), tables);
        drop(watch);
        daemon.stop();
    });
}
