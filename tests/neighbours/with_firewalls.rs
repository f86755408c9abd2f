//! firewalld and ufw, with dockerd beside them.

use std::net::SocketAddr;
use std::time::Duration;

use crate::docker::Docker;
use crate::firewalls::{Bus, Firewalld, firewall_cmd, ufw};
use crate::host::on_a_host;
use crate::look::{Isoplan, Seen, look, open_ways};
use crate::others::{Others, isoplan_tables};
use crate::sender::Sender;
use crate::site::{HOST_ON_STORAGE, Outcome, STORAGE, STORAGE_PORT, Site, address, wait_until};
use crate::with_docker::{TOPOLOGY, apply};

/// Waits until Docker has heard that firewalld reloaded and has put its own rules back: until nothing changes.
fn settle() {
    let mut last = Others::read().rules();
    let mut same = 0;
    wait_until("the rules of others stay as they are", Duration::from_secs(10), || {
        let now = Others::read().rules();
        same = if now == last { same + 1 } else { 0 };
        last = now.clone();
        same == 3
    });
}

#[test]
fn firewalld() {
    on_a_host(|| {
        let site = Site::start(false).expect("make the site");
        site.isoplan.write("topology.toml", TOPOLOGY).expect("write the topology");
        let _bus = Bus::start();
        // firewalld takes Docker's DNAT rules away. With eth1 trusted, dockerd's proxy would serve storage then: see
        // `with_docker::what_docker_proxy_serves`.
        let daemon = Docker::start(&["--userland-proxy=false"]);
        Docker::import_image();
        let web = Docker::run(&site, 3, "web", &["--publish", "8080:80", "--restart", "always"]);
        let seen = Seen::v4(&web, Some(8080));
        look(&site, "before isoplan", Isoplan::Absent, &seen);
        let mut sender = Sender::start(&site, &web.node, false).expect("start a sender");
        let tables = apply(&site);
        sender.is_closed_from_now(&site);

        // After isoplan, and after Docker.
        let firewalld = Firewalld::start();
        println!("  firewalld {}, started after isoplan and Docker", firewall_cmd(&["--version"]).trim());
        look(&site, "firewalld started", Isoplan::PresentAmongOthers, &seen);
        firewall_cmd(&["--reload"]);
        look(&site, "reload", Isoplan::PresentAmongOthers, &seen);
        firewall_cmd(&["--complete-reload"]);
        look(&site, "complete-reload", Isoplan::PresentAmongOthers, &seen);
        settle();
        look(&site, "complete-reload, settled", Isoplan::PresentAmongOthers, &seen);
        firewall_cmd(&["--zone", "trusted", "--change-interface", "eth1"]);
        look(&site, "eth1 trusted", Isoplan::PresentAmongOthers, &seen);
        sender.check(&site, "firewalld started, reloaded, reloaded completely, eth1 trusted");
        assert_eq!(isoplan_tables(), tables, "nothing of isoplan's tables has changed");
        site.isoplan.run(&["status", "topology.toml"]).ok();

        // What is open and what firewalld has closed is the same without isoplan.
        settle();
        let before = Others::read();
        let ways = open_ways(&site, &seen);
        site.isoplan.run(&["remove", "--yes"]).ok();
        before.clone().rules().assert_same("remove beside firewalld", &Others::read().rules());
        assert_eq!(ways, open_ways(&site, &seen), "what is open does not depend on isoplan");
        println!("  open beside firewalld, with isoplan and without: {ways:?}");

        // Before isoplan. eth1 is trusted, and dockerd puts docker0 into a zone of its own: all is open.
        daemon.stop();
        let daemon = Docker::start(&["--userland-proxy=false"]);
        assert!(
            firewall_cmd(&["--get-active-zones"]).contains("docker0"),
            "dockerd and firewalld know of each other"
        );
        let web = Docker::find_other_than(&site, 4, "web", web.process);
        let seen = Seen::v4(&web, Some(8080));
        drop(sender);
        look(&site, "firewalld, no isoplan", Isoplan::Absent, &seen);
        // What people take for isolation: it is not.
        firewall_cmd(&["--zone", "drop", "--change-interface", "eth1"]);
        let storage = SocketAddr::new(address(STORAGE), STORAGE_PORT);
        let outcome = site.tcp(&web.node, storage, &site.storage);
        println!("  eth1 in the zone drop, no isoplan: container to storage {outcome}");
        assert_eq!(outcome, Outcome::Answered(HOST_ON_STORAGE.to_owned()), "documented: see docs/operate.md");
        firewall_cmd(&["--zone", "trusted", "--change-interface", "eth1"]);
        let mut sender = Sender::start(&site, &web.node, false).expect("start a sender");
        settle();
        let before = Others::read();
        apply(&site);
        sender.is_closed_from_now(&site);
        before.clone().rules().assert_same("apply beside firewalld", &Others::read().rules());
        look(&site, "isoplan after firewalld", Isoplan::PresentAmongOthers, &seen);
        firewall_cmd(&["--reload"]);
        look(&site, "reload", Isoplan::PresentAmongOthers, &seen);
        sender.check(&site, "isoplan after firewalld, reload");
        settle();
        println!("  open when Docker has heard of the reload: {:?}", open_ways(&site, &seen));
        let before = Others::read();
        site.isoplan.run(&["remove", "--yes"]).ok();
        before.rules().assert_same("remove", &Others::read().rules());
        sender.wait_until_open(&site);
        apply(&site);
        sender.is_closed_from_now(&site);
        firewalld.stop();
        look(&site, "firewalld stopped", Isoplan::PresentAmongOthers, &seen);
        sender.check(&site, "firewalld stopped");
        daemon.stop();
    });
}

#[test]
fn ufw_on_and_off() {
    on_a_host(|| {
        let site = Site::start(false).expect("make the site");
        site.isoplan.write("topology.toml", TOPOLOGY).expect("write the topology");
        let daemon = Docker::start(&[]);
        Docker::import_image();
        let web = Docker::run(&site, 3, "web", &["--publish", "8080:80"]);
        let seen = Seen::v4(&web, Some(8080));
        look(&site, "before isoplan", Isoplan::Absent, &seen);
        let mut sender = Sender::start(&site, &web.node, false).expect("start a sender");
        let tables = apply(&site);
        sender.is_closed_from_now(&site);

        println!("  {}", ufw(&["version"]).lines().next().unwrap_or_default());
        ufw(&["--force", "enable"]);
        look(&site, "ufw enabled", Isoplan::PresentAmongOthers, &seen);
        ufw(&["reload"]);
        look(&site, "ufw reloaded", Isoplan::PresentAmongOthers, &seen);
        // What people write who want to open everything.
        ufw(&["default", "allow", "routed"]);
        for link in ["eth1", "docker0"] {
            ufw(&["allow", "in", "on", link]);
        }
        ufw(&["route", "allow", "in", "on", "docker0", "out", "on", "eth1"]);
        ufw(&["reload"]);
        look(&site, "ufw allows it", Isoplan::PresentAmongOthers, &seen);
        sender.check(&site, "ufw enabled, reloaded, told to allow it");
        assert_eq!(isoplan_tables(), tables, "nothing of isoplan's tables has changed");
        site.isoplan.run(&["status", "topology.toml"]).ok();

        let before = Others::read();
        let ways = open_ways(&site, &seen);
        site.isoplan.run(&["remove", "--yes"]).ok();
        sender.wait_until_open(&site);
        before.clone().rules().assert_same("remove beside ufw", &Others::read().rules());
        assert_eq!(ways, open_ways(&site, &seen), "what is open does not depend on isoplan");
        println!("  open beside ufw, with isoplan and without: {ways:?}");
        look(&site, "ufw, no isoplan", Isoplan::Absent, &seen);
        // What people take for isolation: it is not.
        ufw(&["deny", "in", "on", "eth1"]);
        let storage = SocketAddr::new(address(STORAGE), STORAGE_PORT);
        let outcome = site.tcp(&web.node, storage, &site.storage);
        println!("  ufw denies eth1, no isoplan: container to storage {outcome}");
        assert_eq!(outcome, Outcome::Answered(HOST_ON_STORAGE.to_owned()), "documented: see docs/operate.md");
        ufw(&["delete", "deny", "in", "on", "eth1"]);
        let before = Others::read();
        apply(&site);
        sender.is_closed_from_now(&site);
        before.rules().assert_same("apply beside ufw", &Others::read().rules());
        look(&site, "isoplan after ufw", Isoplan::PresentAmongOthers, &seen);
        ufw(&["disable"]);
        look(&site, "ufw disabled", Isoplan::PresentAmongOthers, &seen);
        sender.check(&site, "isoplan after ufw, ufw disabled");
        assert_eq!(isoplan_tables(), tables, "nothing of isoplan's tables has changed");
        daemon.stop();
    });
}
