//! Podman with netavark, alone and beside dockerd.

use crate::docker::Docker;
use crate::host::on_a_host;
use crate::look::{Isoplan, Seen, look};
use crate::others::{Others, isoplan_tables};
use crate::podman::{podman, prepare, run};
use crate::sender::Sender;
use crate::site::Site;
use crate::with_docker::apply;

/// Podman's default network and those that users make, and docker0.
const TOPOLOGY: &str = r#"
[[bridge]]
name = "podman*"
subnets = ["10.88.0.0/16", "10.89.0.0/16", "fd89::/64"]

[[bridge]]
name = "docker0"
subnets = ["172.17.0.0/16"]

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

#[test]
fn netavark() {
    on_a_host(|| {
        let site = Site::start(false).expect("make the site");
        site.isoplan.write("topology.toml", TOPOLOGY).expect("write the topology");
        prepare();
        let version = podman(&["version", "--format", "podman {{.Client.Version}}"]);
        println!(
            "  {}, {}",
            version.trim(),
            podman(&["info", "--format", "{{.Host.NetworkBackend}}"]).trim()
        );
        let first = run(&site, 3, "first", &["--publish", "8080:80"]);
        look(&site, "before isoplan", Isoplan::Absent, &Seen::v4(&first, Some(8080)));
        let before = Others::read();
        assert!(before.text("iptables-nft-save").contains("NETAVARK"), "netavark has its rules there");
        let mut sender = Sender::start(&site, &first.node, false).expect("start a sender");
        apply(&site);
        sender.is_closed_from_now(&site);
        before.clone().rules().assert_same("apply", &Others::read().rules());
        look(&site, "after apply", Isoplan::Present, &Seen::v4(&first, Some(8080)));
        sender.check(&site, "after apply");
        site.isoplan.run(&["remove", "--yes"]).ok();
        sender.wait_until_open(&site);
        before.assert_same("apply and remove", &Others::read());
        println!("  {} lines of others are the same before apply and after remove", before.lines());

        let tables = apply(&site);
        sender.is_closed_from_now(&site);
        podman(&["network", "create", "--ipv6", "--subnet", "10.89.7.0/24", "--subnet", "fd89::/64", "own"]);
        let second = run(&site, 4, "second", &["--publish", "8081:80", "--network", "own"]);
        look(&site, "a new network", Isoplan::Present, &Seen::both(&second, Some(8081)));
        look(&site, "a new network", Isoplan::Present, &Seen::v4(&first, Some(8080)));
        podman(&["network", "reload", "--all"]);
        look(&site, "network reload", Isoplan::Present, &Seen::both(&second, Some(8081)));
        look(&site, "network reload", Isoplan::Present, &Seen::v4(&first, Some(8080)));

        let daemon = Docker::start(&[]);
        Docker::import_image();
        let web = Docker::run(&site, 5, "web", &["--publish", "8082:80"]);
        look(&site, "beside dockerd", Isoplan::Present, &Seen::v4(&web, Some(8082)));
        look(&site, "beside dockerd", Isoplan::Present, &Seen::v4(&first, Some(8080)));
        look(&site, "beside dockerd", Isoplan::Present, &Seen::both(&second, Some(8081)));
        sender.check(&site, "new networks, reload, dockerd");
        assert_eq!(isoplan_tables(), tables, "nothing of isoplan's tables has changed");

        let before = Others::read();
        site.isoplan.run(&["remove", "--yes"]).ok();
        sender.wait_until_open(&site);
        before.rules().assert_same("the last remove", &Others::read().rules());
        look(&site, "after the last remove", Isoplan::Absent, &Seen::v4(&web, Some(8082)));
        daemon.stop();
    });
}
