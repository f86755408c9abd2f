//! Who masquerades, and that it is done once: by Docker, by isoplan, by both or by nobody.

use std::net::SocketAddr;

use crate::docker::{Container, Docker, command, run_ok};
use crate::host::on_a_host;
use crate::look::{Isoplan, Seen, look};
use crate::others::Others;
use crate::site::{
    HOST_ON_SERVICE, HOST_ON_SERVICE_V6, Outcome, SERVICE, SERVICE_PORT, SERVICE_V6, Site, address,
};
use crate::with_docker::{TOPOLOGY, WITH_IPV6};

/// How many connections rules that masquerade have translated, everybody's rules together. A connection meets each chain
/// for nat once, and the first rule that translates it is the last that it meets.
fn translated() -> u64 {
    // `nft list ruleset` of Debian 12 prints no more than one of Docker's MASQUERADE rules as what it is.
    let dockers: u64 = ["iptables-nft-save", "ip6tables-nft-save"]
        .iter()
        .flat_map(|save| rules(&run_ok(command(save).args(["-c", "-t", "nat"])), "MASQUERADE"))
        .map(|rule| number_after(&rule, "["))
        .sum();
    let tables = run_ok(command("nft").args(["list", "ruleset"]));
    let own = tables.split_once("table inet isoplan").map_or("", |(_, own)| own);
    dockers
        + rules(own, " masquerade comment")
            .iter()
            .map(|rule| number_after(rule, "counter packets "))
            .sum::<u64>()
}

/// The lines that have this word in them.
fn rules(listing: &str, word: &str) -> Vec<String> {
    listing.lines().filter(|line| line.contains(word)).map(str::to_owned).collect()
}

/// The number that stands there.
fn number_after(line: &str, mark: &str) -> u64 {
    let number = line.split_once(mark).and_then(|(_, rest)| rest.split(|c: char| !c.is_ascii_digit()).next());
    number
        .and_then(|number| number.parse().ok())
        .unwrap_or_else(|| panic!("no number after `{mark}` in: {line}"))
}

/// Opens a connection over each family: whom does the service see, and how many translations were that?
fn check(site: &Site, container: &Container, when: &str, by_docker: bool, by_isoplan: bool) {
    let is_masqueraded = by_docker || by_isoplan;
    for (service, host) in [(SERVICE, HOST_ON_SERVICE), (SERVICE_V6, HOST_ON_SERVICE_V6)] {
        let to = SocketAddr::new(address(service), SERVICE_PORT);
        let source = if is_masqueraded { address(host) } else { container.direct(address(host), 0).ip() };
        let before = translated();
        assert_eq!(
            site.tcp(&container.node, to, &site.service),
            Outcome::Answered(source.to_string()),
            "{when}"
        );
        assert_eq!(site.udp(&container.node, to, &site.service), Outcome::Arrived(source), "{when}");
        let times = translated() - before;
        assert_eq!(times, if is_masqueraded { 2 } else { 0 }, "{when}: translations of two flows");
        println!("  {when}: the service sees {source}; 2 flows, {times} translations");
    }
    let seen = Seen { is_masqueraded, ..Seen::both(container, None) };
    look(site, when, Isoplan::Present, &seen);
}

#[test]
fn done_once() {
    on_a_host(|| {
        let site = Site::start(false).expect("make the site");
        site.isoplan.write("dockers.toml", TOPOLOGY).expect("write a topology");
        let own = TOPOLOGY.replace("masquerade = false", "masquerade = true");
        assert_ne!(own, TOPOLOGY);
        site.isoplan.write("own.toml", &own).expect("write a topology");
        let apply = |name: &str| site.isoplan.run(&["apply", name, "--yes"]).ok();

        let daemon = Docker::start(&WITH_IPV6);
        Docker::import_image();
        let web = Docker::run(&site, 3, "web", &["--restart", "always"]);
        let before = Others::read().rules();
        apply("dockers.toml");
        check(&site, &web, "Docker masquerades", true, false);
        apply("own.toml");
        check(&site, &web, "Docker and isoplan masquerade", true, true);
        before.assert_same("both masquerade", &Others::read().rules());

        daemon.stop();
        let off = [WITH_IPV6.as_slice(), &["--ip-masq=false"]].concat();
        let daemon = Docker::start(&off);
        let web = Docker::find_other_than(&site, 4, "web", web.process);
        // It takes away what the earlier one has made.
        let rules = Others::read();
        assert!(
            !rules.text("iptables-nft-save").contains("! -o docker0 -j MASQUERADE"),
            "Docker's rule is gone"
        );
        check(&site, &web, "dockerd restarted with --ip-masq=false", false, true);
        apply("dockers.toml");
        check(&site, &web, "nobody masquerades", false, false);
        apply("own.toml");
        check(&site, &web, "isoplan masquerades again", false, true);

        daemon.stop();
        let daemon = Docker::start(&WITH_IPV6);
        let web = Docker::find_other_than(&site, 5, "web", web.process);
        check(&site, &web, "dockerd restarted and masquerades, and so does isoplan", true, true);
        let before = Others::read().rules();
        site.isoplan.run(&["remove", "--yes"]).ok();
        before.assert_same("remove", &Others::read().rules());
        look(&site, "after remove", Isoplan::Absent, &Seen::both(&web, None));
        daemon.stop();
    });
}
