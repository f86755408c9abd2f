//! What happens on a host after isoplan was there: links go and come, routes move, others switch things on.
//!
//! For every change it is also seen that the packets would pass with that change but for the rules.

use crate::lab::packet::Kind;
use crate::lab::probe::Probe;
use crate::lab::{Family, HostSpec, Lab, Outcome, Program, in_namespace};
use crate::{check, is_answered, is_blocked, start};

/// A host with the rules in place.
fn start_applied() -> (Lab, Program) {
    let (lab, isoplan) = start(HostSpec::service_instance());
    isoplan.run(&["apply", "topology.toml", "--yes"]).ok();
    (lab, isoplan)
}

/// A UDP packet of each family.
fn both<'a>(make: impl Fn(Family) -> Probe<'a>) -> Vec<Probe<'a>> {
    Family::BOTH.into_iter().map(make).collect()
}

/// What every host must not let through.
fn usual(lab: &Lab) -> Vec<Probe<'_>> {
    let mut probes = to_storage(lab);
    probes.extend(both(|family| lab.probe(Kind::Udp, family, "storage", "web")));
    probes
}

/// The part of it that needs no answer of the host to storage.
fn to_storage(lab: &Lab) -> Vec<Probe<'_>> {
    let pairs = [("web", "storage"), ("service", "storage"), ("web", "storage-behind")];
    let mut probes: Vec<Probe<'_>> = pairs
        .into_iter()
        .flat_map(|(from, to)| both(|family| lab.probe(Kind::Udp, family, from, to)))
        .collect();
    let own = |family| lab.host_address("eth1", family);
    probes.extend(both(|family| lab.probe(Kind::Udp, family, "web", "host").addressed_to(own(family))));
    probes
}

/// The host's own use of storage, which no change takes away.
fn host_to_storage(lab: &Lab) -> Vec<Probe<'_>> {
    both(|family| lab.probe(Kind::Tcp, family, "host", "storage"))
}

/// Sees that the probes are blocked with the change that was made, and by nothing but the rules.
#[track_caller]
fn check_closed(lab: &Lab, isoplan: &Program, probes: &[Probe<'_>]) {
    check("with the change", probes, is_blocked);
    isoplan.run(&["remove", "--yes"]).ok();
    check("with the change, without the rules", probes, Outcome::is_delivered);
    isoplan.run(&["apply", "topology.toml", "--yes"]).ok();
    check("with the change, applied again", probes, is_blocked);
    check(
        "containers to service",
        &both(|family| lab.probe(Kind::Tcp, family, "web", "service")),
        is_answered,
    );
}

/// Lines for `ip` that give a link what the host's storage NIC had.
fn storage_addresses(link: &str) -> String {
    format!(
        "address replace 192.168.57.10/24 dev {link}\n\
         address replace fd57::a/64 dev {link} nodad\n\
         route replace 192.168.58.0/24 via 192.168.57.5 dev {link}\n\
         route replace fd58::/64 via fd57::5 dev {link}\n"
    )
}

/// Waits until the host has its storage again.
fn wait_for_storage(lab: &Lab) {
    for family in Family::BOTH {
        let storage = lab.node("storage").address(family);
        lab.wait_for_echo(lab.host(), storage).expect("the host reaches storage");
    }
}

#[test]
fn forwarding_switched_off_and_on() {
    in_namespace(|| {
        let (lab, isoplan) = start_applied();
        lab.set_forwarding(false).expect("switch forwarding off");
        lab.set_forwarding(true).expect("switch forwarding on");
        check_closed(&lab, &isoplan, &usual(&lab));
    });
}

/// Lines for `ip` that write down who the storage server is.
fn storage_neighbours(link: &str) -> String {
    ["192.168.57.5", "fd57::5"]
        .map(|address| format!("neigh replace {address} lladdr 02:00:00:00:11:02 dev {link} nud permanent\n"))
        .concat()
}

/// Renames the storage link.
fn rename(lab: &Lab) {
    let host = lab.host();
    host.ip("link set eth1 down\nlink set eth1 name stor0\nlink set stor0 up\n").expect("rename the link");
    host.ip(&storage_addresses("stor0")).expect("give it its addresses");
}

#[test]
fn storage_link_renamed() {
    in_namespace(|| {
        let (lab, isoplan) = start_applied();
        rename(&lab);
        lab.host().ip(&storage_neighbours("stor0")).expect("write down its neighbours");
        wait_for_storage(&lab);
        check("the host", &host_to_storage(&lab), is_answered);
        check_closed(&lab, &isoplan, &to_storage(&lab));
    });
}

#[test]
fn the_host_keeps_its_storage_when_the_link_is_renamed() {
    in_namespace(|| {
        let (lab, _isoplan) = start_applied();
        let mut sessions =
            Family::BOTH.map(|family| lab.connect_session(family, "host", "storage").expect("connect"));
        rename(&lab);
        // Nobody writes down who is who: the neighbours are asked for, over ARP and over ICMPv6.
        wait_for_storage(&lab);
        for session in &mut sessions {
            session.exchange().expect("the session lives on");
        }
    });
}

#[test]
fn storage_link_made_again() {
    in_namespace(|| {
        let (lab, isoplan) = start_applied();
        lab.host()
            .ip("link del eth1\nlink add eth1 type veth peer name eth0 netns storage\nlink set eth1 up\n")
            .expect("make the link again");
        lab.node("storage")
            .ip("link set eth0 up\n\
                 address add 192.168.57.5/24 dev eth0\n\
                 address add fd57::5/64 dev eth0 nodad\n\
                 route replace default via 192.168.57.10\n\
                 route replace default via fd57::a\n")
            .expect("give the server its addresses");
        lab.host().ip(&storage_addresses("eth1")).expect("give it its addresses");
        wait_for_storage(&lab);
        check("the host", &host_to_storage(&lab), is_answered);
        check_closed(&lab, &isoplan, &usual(&lab));
    });
}

#[test]
fn storage_link_put_into_a_bridge() {
    in_namespace(|| {
        let (lab, isoplan) = start_applied();
        // The bridge takes over the link's address, as the server knows it.
        lab.host()
            .ip("link add br-stor address 02:00:00:00:11:01 type bridge mcast_snooping 0\n\
                 link set br-stor up\n\
                 address flush dev eth1\n\
                 link set eth1 master br-stor\n")
            .expect("put it into a bridge");
        lab.host().ip(&storage_addresses("br-stor")).expect("give the bridge its addresses");
        lab.host().ip(&storage_neighbours("br-stor")).expect("write down its neighbours");
        wait_for_storage(&lab);
        check("the host", &host_to_storage(&lab), is_answered);
        check_closed(&lab, &isoplan, &to_storage(&lab));
    });
}

#[test]
fn container_bridge_made_again() {
    in_namespace(|| {
        let (lab, isoplan) = start_applied();
        lab.host()
            .ip("link del docker0\n\
                 link add docker0 type bridge mcast_snooping 0\n\
                 link set docker0 up\n\
                 link set v-web master docker0\n\
                 link set v-db master docker0\n\
                 address add 172.17.0.1/16 dev docker0\n\
                 address add fd17::1/64 dev docker0 nodad\n")
            .expect("make the bridge again");
        for name in ["web", "db"] {
            lab.node(name).ip("neigh flush all\n").expect("forget the old bridge");
            for family in Family::BOTH {
                let gateway = lab.host_address("docker0", family);
                lab.wait_for_echo(lab.node(name), gateway).expect("the container reaches its gateway");
            }
        }
        check_closed(&lab, &isoplan, &usual(&lab));
    });
}

#[test]
fn default_route_moved_to_storage() {
    in_namespace(|| {
        let (lab, isoplan) = start_applied();
        lab.node("storage")
            .ip("address add 203.0.113.9/32 dev lo\naddress add 2001:db8::9/128 dev lo nodad\n")
            .expect("be somebody far away");
        lab.host()
            .ip("route replace default via 192.168.57.5\nroute replace default via fd57::5\n")
            .expect("move the default route");
        let far = both(|family| {
            let address = if family == Family::V4 { "203.0.113.9" } else { "2001:db8::9" };
            lab.probe(Kind::Udp, family, "web", "storage")
                .addressed_to(address.parse().expect("an address"))
                .one_way()
        });
        check_closed(&lab, &isoplan, &far);
        check_closed(&lab, &isoplan, &usual(&lab));
    });
}

#[test]
fn subnet_added_to_storage() {
    in_namespace(|| {
        let (lab, isoplan) = start_applied();
        lab.node("storage")
            .ip("address add 192.168.59.5/24 dev eth0\naddress add fd59::5/64 dev eth0 nodad\n")
            .expect("add a subnet at storage");
        lab.host()
            .ip("address add 192.168.59.10/24 dev eth1\naddress add fd59::a/64 dev eth1 nodad\n")
            .expect("add a subnet at the host");
        let text = |family, v4: &str, v6: &str| {
            let text = if family == Family::V4 { v4 } else { v6 };
            text.parse().expect("an address")
        };
        let mut new = both(|family| {
            let server = text(family, "192.168.59.5", "fd59::5");
            lab.probe(Kind::Udp, family, "web", "storage").addressed_to(server).one_way()
        });
        new.extend(both(|family| {
            let own = text(family, "192.168.59.10", "fd59::a");
            lab.probe(Kind::Udp, family, "web", "host").addressed_to(own).one_way()
        }));
        check_closed(&lab, &isoplan, &new);
    });
}

#[test]
fn storage_link_down_and_a_router_elsewhere() {
    in_namespace(|| {
        let (lab, isoplan) = start_applied();
        lab.host().ip("link set eth1 down\n").expect("take the link down");
        // What goes to storage now leaves by the default route, where a router may send it on.
        let astray = both(|family| {
            let storage = lab.node("storage").address(family);
            lab.probe(Kind::Udp, family, "web", "service").addressed_to(storage).one_way()
        });
        check_closed(&lab, &isoplan, &astray);
    });
}

#[test]
fn proxy_arp_and_forwarded_broadcasts() {
    in_namespace(|| {
        let (lab, isoplan) = start(HostSpec::service_instance());
        for key in ["all/bc_forwarding", "docker0/bc_forwarding", "eth1/bc_forwarding", "docker0/proxy_arp"] {
            lab.host().sysctl(&format!("net/ipv4/conf/{key}"), "1").expect("write a sysctl");
        }
        let web = lab.node("web");
        web.ip("route add 192.168.57.0/24 dev eth0\n").expect("believe storage to be on the link");
        // The host answers for storage after a random time. Known once, it is not asked for again.
        lab.wait_for_echo(web, lab.node("storage").address(Family::V4))
            .expect("storage seems to be on the link");
        isoplan.run(&["apply", "topology.toml", "--yes"]).ok();
        let broadcast = "192.168.57.255".parse().expect("an address");
        let probes = [
            lab.probe(Kind::Udp, Family::V4, "web", "storage"),
            lab.probe(Kind::Udp, Family::V4, "web", "storage").forging(web.address(Family::V4)),
            lab.probe(Kind::Udp, Family::V4, "db", "storage").addressed_to(broadcast).one_way(),
        ];
        check_closed(&lab, &isoplan, &probes);
    });
}

#[test]
fn networks_that_the_file_does_not_know() {
    in_namespace(|| {
        let (lab, isoplan) = start(HostSpec::three_nics());
        // The file knows neither eth2 nor br-app.
        isoplan.write("topology.toml", &HostSpec::service_instance().topology()).expect("write a topology");
        isoplan.run(&["apply", "topology.toml", "--yes"]).ok();
        let pairs = [
            ("web", "management"),
            ("management", "web"),
            ("web", "app"),
            ("app", "web"),
            ("app", "storage"),
            ("storage", "app"),
            ("management", "storage"),
            ("storage", "management"),
        ];
        let mut unknown: Vec<Probe<'_>> = pairs
            .into_iter()
            .flat_map(|(from, to)| both(|family| lab.probe(Kind::Udp, family, from, to)))
            .collect();
        for (from, link) in [("web", "eth2"), ("web", "br-app"), ("app", "eth1"), ("management", "eth1")] {
            let own = |family| lab.host_address(link, family);
            unknown
                .extend(both(|family| lab.probe(Kind::Udp, family, from, "host").addressed_to(own(family))));
        }
        check_closed(&lab, &isoplan, &unknown);
    });
}
