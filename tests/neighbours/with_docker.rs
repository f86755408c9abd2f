//! dockerd with either back end of iptables.

use std::net::SocketAddr;
use std::time::Duration;

use crate::docker::{Docker, IMAGE, docker, live_restore};
use crate::host::{on_a_host, use_iptables};
use crate::look::{Isoplan, Seen, look};
use crate::others::{Others, isoplan_tables};
use crate::sender::{Sender, arrived, pings};
use crate::site::{HOST_ON_SERVICE, HOST_ON_STORAGE_V6, Outcome, STORAGE, Site, address, wait_until};

/// A Docker host: docker0, and whatever networks users make.
pub(crate) const TOPOLOGY: &str = r#"
[[bridge]]
name = "docker0"
subnets = ["172.17.0.0/16", "fd17::/64"]

[[bridge]]
name = "br-*"
subnets = ["172.18.0.0/15", "172.20.0.0/14", "172.24.0.0/13"]

[[nic]]
name = "eth0"
role = "service"
subnets = ["10.20.0.0/24", "fd20::/64"]

[[nic]]
name = "eth1"
role = "storage"
subnets = ["10.99.0.0/24", "fd99::/64"]

[isolation]
masquerade = false
"#;

/// What Debian's dockerd needs to serve IPv6 at all.
pub(crate) const WITH_IPV6: [&str; 5] =
    ["--ipv6", "--fixed-cidr-v6", "fd17::/64", "--ip6tables", "--experimental"];

/// Applies that topology; isoplan's tables as they are then.
#[track_caller]
pub(crate) fn apply(site: &Site) -> String {
    site.isoplan.run(&["apply", "topology.toml", "--yes"]).ok();
    let tables = isoplan_tables();
    assert!(tables.contains("drop"), "isoplan's tables are there");
    tables
}

/// Adds an exception to that topology, for a change while packets flow.
const EXCEPTION: &str = r#"
[[allow]]
from = "docker0"
to = "10.99.0.77"
protocol = "tcp"
ports = [443]
reason = "a second topology"
"#;

/// A container that sends echo requests to storage from its first moment on, some hundred per second.
const PINGER: [&str; 5] = ["ping", "-q", "-i", "0.001", STORAGE];

fn run_pinger(restart: &str) {
    let mut args =
        vec!["run", "--detach", "--stop-signal", "KILL", "--name", "pinger", "--restart", restart, IMAGE];
    args.extend(PINGER);
    docker(&args);
}

/// Waits until echo requests arrive at storage.
fn wait_for_pings(site: &Site) {
    let mark = site.journal.mark();
    wait_until("echo requests at storage", Duration::from_secs(10), || pings(site, mark) > 10);
}

fn beside_docker(iptables: &str, forwards: bool) {
    use_iptables(iptables).expect("choose a back end of iptables");
    let site = Site::start(forwards).expect("make the site");
    site.isoplan.write("topology.toml", TOPOLOGY).expect("write the topology");
    // Containers go on without dockerd, and so does what one of them sends.
    live_restore(true);
    let daemon = Docker::start(&WITH_IPV6);
    let version = docker(&["version", "--format", "dockerd {{.Server.Version}}"]);
    println!("  {}, iptables-{iptables}, ip_forward {} before it", version.trim(), u8::from(forwards));
    Docker::import_image();
    let web = Docker::run(&site, 3, "web", &["--publish", "8080:80", "--restart", "always"]);
    look(&site, "before isoplan", Isoplan::Absent, &Seen::both(&web, Some(8080)));
    run_pinger("no");
    wait_for_pings(&site);
    docker(&["rm", "--force", "pinger"]);
    let mut sender = Sender::start(&site, &web.node, true).expect("start a sender");
    let before = Others::read();
    assert!(
        before.text(&format!("iptables-{iptables}-save")).contains("DOCKER"),
        "Docker has its rules there"
    );

    apply(&site);
    sender.is_closed_from_now(&site);
    before.clone().rules().assert_same("apply", &Others::read().rules());
    look(&site, "after apply", Isoplan::Present, &Seen::both(&web, Some(8080)));
    sender.check(&site, "after apply");
    site.isoplan.run(&["remove", "--yes"]).ok();
    sender.wait_until_open(&site);
    before.assert_same("apply and remove", &Others::read());
    println!("  {} lines of others are the same before apply and after remove", before.lines());
    look(&site, "after remove", Isoplan::Absent, &Seen::both(&web, Some(8080)));

    let tables = apply(&site);
    sender.is_closed_from_now(&site);
    let closed = site.journal.mark();
    // With ip6tables-legacy, Docker 20.10 writes the IPv6 DNAT rule of the first container alone. Its proxy serves the
    // others' ports then, which is the host's own doing: see `what_docker_proxy_serves`.
    let v6_works = iptables == "nft";
    let late = Docker::run(&site, 4, "late", &["--publish", "8081:80", "--restart", "always"]);
    look(&site, "a new container", Isoplan::Present, &Seen { v6: v6_works, ..Seen::v4(&late, Some(8081)) });
    docker(&["network", "create", "app"]);
    let app =
        Docker::run(&site, 5, "app", &["--publish", "8082:80", "--network", "app", "--restart", "always"]);
    look(&site, "a new network", Isoplan::Present, &Seen::v4(&app, Some(8082)));
    run_pinger("always");
    sender.check(&site, "a new container, a new network");

    let daemon = {
        daemon.stop();
        Docker::start(&WITH_IPV6)
    };
    look(&site, "dockerd restarted", Isoplan::Present, &Seen { v6: v6_works, ..Seen::v4(&web, Some(8080)) });
    look(&site, "dockerd restarted", Isoplan::Present, &Seen::v4(&app, Some(8082)));
    sender.check(&site, "a restart of dockerd");
    assert_eq!(isoplan_tables(), tables, "nothing of isoplan's tables has changed");
    changes_under_traffic(&site);
    sender.check(&site, "re-applied and repaired");
    assert_eq!(isoplan_tables(), tables, "repaired, and as it was");

    // Now the containers are made anew, and dockerd finds forwarding switched off and switches it on.
    daemon.live_restore(false);
    daemon.stop();
    site.host.sysctl("net/ipv4/ip_forward", "0").expect("switch forwarding off");
    let daemon = Docker::start(&WITH_IPV6);
    assert_eq!(
        site.host.read_sysctl("net/ipv4/ip_forward").expect("read a sysctl"),
        "1",
        "dockerd switches it on"
    );
    for (index, container, port) in [(6, &web, 8080), (7, &late, 8081)] {
        let again = Docker::find_other_than(&site, index, &container.name, container.process);
        look(
            &site,
            "containers anew",
            Isoplan::Present,
            &Seen { v6: v6_works, ..Seen::v4(&again, Some(port)) },
        );
    }
    let again = Docker::find_other_than(&site, 8, "app", app.process);
    look(&site, "containers anew", Isoplan::Present, &Seen::v4(&again, Some(8082)));
    assert_eq!(isoplan_tables(), tables, "nothing of isoplan's tables has changed");
    site.isoplan.run(&["status", "topology.toml"]).ok();
    assert_eq!(arrived(&site, closed), 0, "packets from containers at storage since the second apply");

    let before = Others::read();
    site.isoplan.run(&["remove", "--yes"]).ok();
    before.rules().assert_same("the last remove", &Others::read().rules());
    // The pings of a container that dockerd has started again: they were sent all the time.
    wait_for_pings(&site);
    look(&site, "after the last remove", Isoplan::Absent, &Seen::v4(&again, Some(8082)));
    daemon.stop();
}

/// One topology after the other, and single rules taken away and repaired, each one of which another stands in for.
fn changes_under_traffic(site: &Site) {
    site.isoplan.write("other.toml", &format!("{TOPOLOGY}{EXCEPTION}")).expect("write a topology");
    for _ in 0..5 {
        site.isoplan.run(&["apply", "other.toml", "--yes"]).ok();
        site.isoplan.run(&["apply", "topology.toml", "--yes"]).ok();
    }
    let rules =
        [("forward", "F3"), ("forward", "F5"), ("forward", "F6"), ("forward", "F23"), ("by_link", "F9")];
    for (chain, id) in rules {
        let listed = site.host.nft(&["-a", "list", "chain", "inet", "isoplan", chain]).expect("list a chain");
        let rule = listed
            .lines()
            .find(|line| line.contains(&format!("\"{id} ")))
            .unwrap_or_else(|| panic!("no {id}:\n{listed}"));
        let handle = rule.rsplit(' ').next().expect("a handle");
        site.host
            .nft(&["delete", "rule", "inet", "isoplan", chain, "handle", handle])
            .expect("delete a rule");
        site.isoplan.run(&["apply", "topology.toml", "--yes"]).ok();
    }
}

/// isoplan at boot, before dockerd: it switches forwarding on behind its drops, and so dockerd leaves the policy of FORWARD
/// as it is. What that policy would have closed is closed all the same.
#[test]
fn isoplan_is_first() {
    on_a_host(|| {
        let site = Site::start(false).expect("make the site");
        site.isoplan.write("topology.toml", TOPOLOGY).expect("write the topology");
        let mark = site.journal.mark();
        let tables = apply(&site);
        let daemon = Docker::start(&WITH_IPV6);
        Docker::import_image();
        run_pinger("always");
        let web = Docker::run(&site, 3, "web", &["--publish", "8080:80"]);
        let saved = Others::read();
        let policy = saved
            .text("iptables-nft-save")
            .lines()
            .find(|line| line.starts_with(":FORWARD"))
            .unwrap_or_default();
        println!("  dockerd after isoplan: {policy}");
        assert_eq!(policy, ":FORWARD ACCEPT", "dockerd found forwarding switched on");
        look(&site, "dockerd after isoplan", Isoplan::Present, &Seen::both(&web, Some(8080)));
        assert_eq!(isoplan_tables(), tables, "nothing of isoplan's tables has changed");
        assert_eq!(arrived(&site, mark), 0, "packets of containers at storage, from their first moment on");

        // Forwarding was off when isoplan came, and is off again; isoplan says so.
        let removed = site.isoplan.run(&["remove", "--yes"]);
        assert!(removed.stderr.contains("Forwarding goes off"), "{removed}");
        assert_eq!(site.host.read_sysctl("net/ipv4/ip_forward").expect("read a sysctl"), "0");
        saved.rules().assert_same("remove", &Others::read().rules());
        site.host.sysctl("net/ipv4/ip_forward", "1").expect("switch forwarding on");
        wait_for_pings(&site);
        look(&site, "after remove", Isoplan::Absent, &Seen::v4(&web, Some(8080)));
        daemon.stop();
    });
}

/// Where no DNAT rule is, dockerd's proxy takes connections to published ports: as a program of the host, which isoplan
/// leaves alone. Without the proxy, or with an address in `--publish`, nobody takes them.
#[test]
fn what_docker_proxy_serves() {
    on_a_host(|| {
        let site = Site::start(false).expect("make the site");
        site.isoplan.write("topology.toml", TOPOLOGY).expect("write the topology");
        // Docker's default: IPv6 is none of its business, and its proxy listens there nevertheless.
        let to = |port| SocketAddr::new(address(HOST_ON_STORAGE_V6), port);
        let daemon = Docker::start(&[]);
        Docker::import_image();
        apply(&site);
        let any = Docker::run(&site, 3, "any", &["--publish", "8080:80"]);
        look(&site, "with the proxy", Isoplan::Present, &Seen::v4(&any, Some(8080)));
        let outcome = site.tcp(&site.storage, to(8080), &any.node);
        println!("  storage to a published port by way of the proxy, IPv6: {outcome}");
        assert_eq!(outcome, Outcome::Answered("any".to_owned()), "documented: see docs/operate.md");
        let one = Docker::run(&site, 4, "one", &["--publish", "10.20.0.1:8081:80"]);
        look(&site, "published at an address", Isoplan::Present, &Seen::v4(&one, None));
        assert_eq!(site.tcp(&site.storage, to(8081), &one.node), Outcome::Refused, "published at an address");
        let service = SocketAddr::new(address(HOST_ON_SERVICE), 8081);
        assert_eq!(site.tcp(&site.service, service, &one.node), Outcome::Answered("one".to_owned()));
        daemon.stop();
        let daemon = Docker::start(&["--userland-proxy=false"]);
        docker(&["start", "any"]);
        let any = Docker::find(&site, 5, "any");
        look(&site, "without the proxy", Isoplan::Present, &Seen::v4(&any, Some(8080)));
        assert_eq!(site.tcp(&site.storage, to(8080), &any.node), Outcome::Refused, "without the proxy");
        daemon.stop();
    });
}

#[test]
fn iptables_nft() {
    on_a_host(|| beside_docker("nft", false));
}

#[test]
fn iptables_legacy() {
    on_a_host(|| beside_docker("legacy", true));
}
