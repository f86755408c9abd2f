//! The prober that isoplan ships: what it says of packets that pass, that are dropped, and of which nothing can
//! be known.

use std::net::{IpAddr, SocketAddr};

use isoplan::intent::{Intent, IpFamily};
use isoplan::lab::build::{Lab, Options};
use isoplan::lab::capture::PacketSocket;
use isoplan::lab::prober::Prober;
use isoplan::lab::protect;
use isoplan::topology;
use isoplan::verify::outcome::{Expected, Observation, Outcome};
use isoplan::verify::packet::{Body, IpExtra, Packet, Pieces, Tag, To};
use isoplan::verify::probe::{Class, PORT, Probe, Sending, Transport};
use isoplan::verify::question::Question;
use isoplan::verify::world::{Place, World};

use crate::lab::in_namespace;

const SERVICE_INSTANCE: &str = include_str!("../../fixtures/service-instance/topology.toml");

/// A lab with what a container engine has on its host, and a prober in it.
fn start(text: &str, masquerades: bool) -> (Lab, Prober) {
    let topology = topology::parse("topology.toml", text.as_bytes()).expect("a valid topology");
    let intent = Intent::new(&topology);
    let options = Options { engine_masquerades: masquerades, cpu: 0 };
    let lab = Lab::start(World::new(&intent), options).expect("build the lab");
    protect::load_engine(&lab, &intent, masquerades).expect("load the engine's rules");
    let prober = Prober::start(&lab).expect("open the captures");
    (lab, prober)
}

fn place(lab: &Lab, name: &str) -> Place {
    lab.world.by_name(name).unwrap_or_else(|| panic!("no node {name}"))
}

fn address(lab: &Lab, name: &str, family: IpFamily) -> IpAddr {
    lab.world.node(place(lab, name)).address(family).expect("an address")
}

/// A probe from one node to where it is seen.
fn probe(name: &str, family: IpFamily, ends: (Place, Place), sending: Sending) -> Probe {
    Probe {
        name: format!("{name}, {family}"),
        entry: "test",
        class: Class::ToGuarded,
        pair: "docker0 -> eth1".to_owned(),
        threat: "",
        question: Question::SendToGuarded,
        family,
        sender: ends.0,
        sending,
        vantage: vec![ends.1],
        is_answerable: true,
        expected: Expected::Unjudged,
        change: None,
    }
}

/// A plain packet from one node to another's address.
fn packet(lab: &Lab, family: IpFamily, ends: (Place, Place), body: Body) -> Packet {
    let address = |place| lab.world.node(place).address(family).expect("an address");
    Packet {
        to: To::Host,
        tags: Vec::new(),
        source: address(ends.0),
        destination: address(ends.1),
        hops: 64,
        extra: IpExtra::None,
        body,
        pieces: Pieces::One,
    }
}

/// The outcomes that are not as they should be.
fn wrong(
    lab: &Lab,
    prober: &mut Prober,
    probes: &[Probe],
    is_right: impl Fn(&Probe, &Observation) -> bool,
) -> Vec<String> {
    let seen = prober.run_all(lab, probes);
    let seen = probes.iter().map(|probe| (probe, &seen[&probe.name]));
    seen.filter(|(probe, seen)| !is_right(probe, seen))
        .map(|(probe, seen)| format!("{}: {seen:?}", probe.name))
        .collect()
}

/// Every way of sending from a container to the storage server, by the kernel forwarded or not.
fn every_sending(lab: &Lab, family: IpFamily) -> Vec<Probe> {
    let ends = (place(lab, "docker0-c1"), place(lab, "eth1-server"));
    let destination = address(lab, "eth1-server", family);
    let gateway = lab.world.host_links.iter().find(|link| link.name == "docker0").expect("docker0");
    let via = gateway.address(family).expect("an address");
    let plain = |body| packet(lab, family, ends, body);
    let mut all = Vec::new();
    let mut add = |name: &str, sending| all.push(probe(name, family, ends, sending));
    let bodies = [
        ("echo", Body::Echo),
        ("UDP", Body::Udp { port: PORT }),
        ("SYN", Body::TcpSyn { port: PORT }),
        ("ACK", Body::TcpAck { port: PORT }),
        ("INVALID", Body::TcpInvalid { port: PORT }),
        ("SCTP", Body::Sctp { port: PORT }),
        ("IP in IP", Body::Protocol(if family == IpFamily::V4 { 4 } else { 41 })),
        ("GRE", Body::Protocol(47)),
        ("ESP", Body::Protocol(50)),
        ("protocol 253", Body::Protocol(253)),
    ];
    for (name, body) in bodies {
        add(name, Sending::Frame(plain(body.clone())));
        for (cut, pieces) in [("two", Pieces::Two), ("tiny", Pieces::Tiny)] {
            add(&format!("{name} {cut}"), Sending::Frame(Packet { pieces, ..plain(body.clone()) }));
        }
    }
    let extras = match family {
        IpFamily::V4 => vec![
            ("record route", IpExtra::RecordRoute),
            ("timestamp", IpExtra::Timestamp),
            ("LSRR", IpExtra::LooseSourceRoute { via }),
            ("SSRR", IpExtra::StrictSourceRoute { via }),
        ],
        IpFamily::V6 => vec![
            ("hop-by-hop", IpExtra::HopByHop),
            ("destination options", IpExtra::DestinationOptions),
            ("SRH", IpExtra::SegmentRouting { via }),
        ],
    };
    for (name, extra) in extras {
        add(name, Sending::Frame(Packet { extra, ..plain(Body::Udp { port: PORT }) }));
    }
    let tag = |ethertype, vlan| Tag { ethertype, vlan };
    let tags = [
        ("VLAN 0", vec![tag(0x8100, 0)]),
        ("802.1ad VLAN 0", vec![tag(0x88a8, 0)]),
        ("VLAN 0 twice", vec![tag(0x88a8, 0), tag(0x8100, 0)]),
        ("VLAN 5", vec![tag(0x8100, 5)]),
    ];
    for (name, tags) in tags {
        add(name, Sending::Frame(Packet { tags, ..plain(Body::Udp { port: PORT }) }));
    }
    add("to everyone", Sending::Frame(Packet { to: To::Broadcast, ..plain(Body::Udp { port: PORT }) }));
    for (name, protocol, port) in [
        ("socket ICMP", Transport::Icmp, 0),
        ("socket UDP", Transport::Udp, PORT),
        ("socket TCP", Transport::Tcp, 81),
    ] {
        add(name, Sending::Socket { protocol, destination, port });
    }
    add("session", Sending::Session { destination, port: 82 });
    for (name, protocol) in [("flow UDP", Transport::Udp), ("flow TCP", Transport::Tcp)] {
        let (opener, listener) = ends;
        add(name, Sending::Established { protocol, opener, listener, destination, port: PORT });
    }
    add("related error", Sending::RelatedError { listener: ends.1, destination, port: PORT });
    add("relay", Sending::Relay { proxy: via, destination, port: 83 });
    all
}

/// What the kernel of a host does not forward by itself.
const NOT_FORWARDED: [&str; 5] = ["LSRR", "SSRR", "SRH", "VLAN 5", "to everyone"];

/// What nobody answers: there is no such service, or it is no question. A first fragment that has not the whole
/// header is thrown away by who puts it together: RFC 7112, section 5.
const NOT_ANSWERED: [&str; 8] =
    ["ACK", "INVALID", "SCTP", "IP in IP", "GRE", "ESP", "protocol 253", "related error"];

/// Whether a probe of [`every_sending`] did what it does where no rule is in the way.
fn passes(probe: &Probe, seen: &Observation) -> bool {
    let is = |names: &[&str]| names.iter().any(|name| probe.name.starts_with(name));
    let is_thrown_away = probe.name == "SYN tiny, IPv6";
    let expected = match () {
        () if is(&NOT_FORWARDED) => Outcome::Blocked,
        () if is(&NOT_ANSWERED) || is_thrown_away => Outcome::Delivered,
        () => Outcome::Answered,
    };
    seen.outcome == expected
}

fn is_blocked(_: &Probe, seen: &Observation) -> bool {
    seen.outcome == Outcome::Blocked && seen.seen.iter().all(|sighting| sighting.node == "host")
}

fn nft(lab: &Lab, text: &str) {
    lab.host().feed("nft", &["-f", "-"], text).expect("load rules");
}

/// Drops what goes to storage: what is forwarded, and the connections of a program on the host.
const DROP: &str = "
table inet wall {
  chain forward {
    type filter hook forward priority 0
    oifname eth1 drop
  }
  chain output {
    type filter hook output priority 0
    oifname eth1 tcp dport 83 drop
  }
}
";

#[test]
fn every_way_of_sending_passes_or_is_blocked() {
    in_namespace(|| {
        let (lab, mut prober) = start(SERVICE_INSTANCE, true);
        let mut probes = Vec::new();
        for family in IpFamily::BOTH {
            probes.extend(every_sending(&lab, family));
        }
        prober.prepare(&lab, &probes);
        assert_eq!(wrong(&lab, &mut prober, &probes, passes), NONE, "without rules");
        nft(&lab, DROP);
        assert_eq!(wrong(&lab, &mut prober, &probes, is_blocked), NONE, "with a drop");
        nft(&lab, "delete table inet wall");
        // What is stuck in a connection is sent again only later.
        let is_stuck = |probe: &Probe| probe.name.starts_with("flow TCP");
        let passes = |probe: &Probe, seen: &Observation| match is_stuck(probe) {
            true => matches!(seen.outcome, Outcome::CouldNotTest(_)),
            false => passes(probe, seen),
        };
        assert_eq!(wrong(&lab, &mut prober, &probes, passes), NONE, "without rules again");
    });
}

/// What is told of a packet: its way through the host, and the addresses that it arrives with.
#[test]
fn what_is_told_survives_nat() {
    in_namespace(|| {
        let (lab, mut prober) = start(SERVICE_INSTANCE, true);
        let (container, server) = (place(&lab, "docker0-c1"), place(&lab, "eth1-server"));
        let ends = (container, server);
        for family in IpFamily::BOTH {
            let to = address(&lab, "eth1-server", family);
            let host = lab.world.host_links.iter().find(|link| link.name == "eth1").expect("eth1");
            let masqueraded = host.address(family).expect("an address");
            for protocol in [Transport::Icmp, Transport::Udp, Transport::Tcp] {
                let port = if protocol == Transport::Icmp { 0 } else { PORT };
                let probe = probe("out", family, ends, Sending::Socket { protocol, destination: to, port });
                let told = prober.run(&lab, &probe);
                assert_eq!(told.outcome, Outcome::Answered, "{told:?}");
                assert_eq!(
                    (told.came_in.as_deref(), told.left_by.as_slice()),
                    (Some("docker0"), &["eth1".to_owned()][..])
                );
                let [sighting] = told.seen.as_slice() else { panic!("one sighting: {told:?}") };
                assert_eq!((sighting.node.as_str(), sighting.source), ("eth1-server", masqueraded));
                assert_eq!(sighting.destination, Some(to));
                assert_eq!(sighting.destination_port, Some(port).filter(|port| *port != 0));
                let from = address(&lab, "docker0-c1", family);
                let (from, to) = match sighting.source_port {
                    Some(own) => {
                        (SocketAddr::new(from, own).to_string(), SocketAddr::new(to, port).to_string())
                    }
                    None => (from.to_string(), to.to_string()),
                };
                assert!(told.sent.starts_with(&format!("{from} -> {to}, ")), "{}", told.sent);
            }
        }
        // A published port, from outside.
        let published = lab.world.published.first().expect("a published port");
        let ends = (place(&lab, "eth0-server"), published.container);
        let host = lab.world.host_links.iter().find(|link| link.name == "eth0").expect("eth0");
        for family in IpFamily::BOTH {
            let destination = host.address(family).expect("an address");
            let port = published.host_port;
            for sending in [
                Sending::Socket { protocol: Transport::Udp, destination, port },
                Sending::Session { destination, port },
                Sending::Frame(Packet { destination, ..packet(&lab, family, ends, Body::TcpSyn { port }) }),
            ] {
                let told = prober.run(&lab, &probe("published", family, ends, sending));
                assert_eq!(told.outcome, Outcome::Answered, "{told:?}");
                let [sighting] = told.seen.as_slice() else { panic!("one sighting: {told:?}") };
                assert_eq!(sighting.destination_port, Some(published.port), "{told:?}");
                assert_eq!(told.came_in.as_deref(), Some("eth0"));
            }
        }
    });
}

/// The host sends and receives, and rules of its own hooks are what blocks it.
#[test]
fn the_host_as_either_end() {
    const CLOSED: &str = "
table inet wall {
  chain input {
    type filter hook input priority 0
    iifname != lo drop
  }
  chain output {
    type filter hook output priority 0
    oifname != lo drop
  }
}
";
    in_namespace(|| {
        let (lab, mut prober) = start(SERVICE_INSTANCE, true);
        let (container, server) = (place(&lab, "docker0-c1"), place(&lab, "eth1-server"));
        let gateway = lab.world.host_links.iter().find(|link| link.name == "docker0").expect("docker0");
        let (mut answered, mut delivered) = (Vec::new(), Vec::new());
        for family in IpFamily::BOTH {
            let destination = address(&lab, "eth1-server", family);
            let from_host = (Place::HOST, server);
            let to_host = (container, Place::HOST);
            let host = gateway.address(family).expect("an address");
            for (name, ends, destination) in [("from", from_host, destination), ("to", to_host, host)] {
                for (protocol, port) in [(Transport::Icmp, 0), (Transport::Udp, PORT), (Transport::Tcp, PORT)]
                {
                    let sending = Sending::Socket { protocol, destination, port };
                    answered.push(probe(&format!("{name} {protocol:?}"), family, ends, sending));
                }
                let session = Sending::Session { destination, port: 84 };
                answered.push(probe(&format!("{name} session"), family, ends, session));
            }
            let plain =
                |body| Packet { destination: host, ..packet(&lab, family, (container, server), body) };
            for pieces in [Pieces::One, Pieces::Two, Pieces::Tiny] {
                for body in [Body::Echo, Body::Udp { port: PORT }] {
                    let name = format!("{body:?} {pieces:?}");
                    let frame = Sending::Frame(Packet { pieces, ..plain(body) });
                    answered.push(probe(&name, family, to_host, frame));
                }
            }
            let bodies = [
                Body::TcpAck { port: PORT },
                Body::TcpInvalid { port: PORT },
                Body::Sctp { port: PORT },
                Body::Protocol(47),
                Body::Protocol(253),
            ];
            for body in bodies {
                delivered.push(probe(&format!("{body:?}"), family, to_host, Sending::Frame(plain(body))));
            }
            let group = if family == IpFamily::V4 { "224.0.0.1" } else { "ff02::1" };
            let destination = group.parse().expect("an address");
            let group = Packet { to: To::Group, destination, hops: 1, ..plain(Body::Protocol(253)) };
            delivered.push(probe("group", family, to_host, Sending::Frame(group)));
        }
        let is = |outcome: Outcome| move |_: &Probe, seen: &Observation| seen.outcome == outcome;
        assert_eq!(wrong(&lab, &mut prober, &answered, is(Outcome::Answered)), NONE);
        assert_eq!(wrong(&lab, &mut prober, &delivered, is(Outcome::Delivered)), NONE);
        nft(&lab, CLOSED);
        assert_eq!(wrong(&lab, &mut prober, &answered, is(Outcome::Blocked)), NONE);
        assert_eq!(wrong(&lab, &mut prober, &delivered, is(Outcome::Blocked)), NONE);
    });
}

/// An ICMP error about a probe carries the probe, and may be sent to where the probe was not.
#[test]
fn an_error_about_a_probe_is_no_arrival() {
    const REFUSE: &str = "
table inet wall {
  chain forward {
    type filter hook forward priority 0
    oifname eth1 reject with icmpx port-unreachable
  }
}
";
    in_namespace(|| {
        let (lab, mut prober) = start(SERVICE_INSTANCE, true);
        let names = ["docker0-c1", "docker0-c2", "eth1-server"];
        let [sender, other, server] = names.map(|name| place(&lab, name));
        let mut probes = Vec::new();
        for family in IpFamily::BOTH {
            let source = address(&lab, "docker0-c2", family);
            for body in
                [Body::Echo, Body::Udp { port: PORT }, Body::TcpSyn { port: PORT }, Body::Protocol(253)]
            {
                let name = format!("{body:?}");
                let forged = Packet { source, ..packet(&lab, family, (sender, server), body) };
                let mut probe = probe(&name, family, (sender, server), Sending::Frame(forged));
                // The error goes to the other container.
                probe.vantage.push(other);
                probe.is_answerable = false;
                probes.push(probe);
            }
        }
        let is_told = |_: &Probe, seen: &Observation| {
            seen.outcome == Outcome::Delivered && seen.sent.ends_with("(forged source)")
        };
        assert_eq!(wrong(&lab, &mut prober, &probes, is_told), NONE);
        nft(&lab, REFUSE);
        assert_eq!(wrong(&lab, &mut prober, &probes, is_blocked), NONE);
    });
}

/// Where nothing can be known, nothing is said.
#[test]
fn a_link_that_is_down_is_not_a_block() {
    in_namespace(|| {
        let (lab, mut prober) = start(SERVICE_INSTANCE, true);
        let names = ["docker0-c1", "docker0-c2", "eth1-server"];
        let [sender, other, server] = names.map(|name| place(&lab, name));
        let family = IpFamily::V4;
        let both = |ends: (Place, Place)| {
            let destination = address(&lab, "eth1-server", family);
            let socket = Sending::Socket { protocol: Transport::Udp, destination, port: PORT };
            let frame = Sending::Frame(packet(&lab, family, (ends.0, server), Body::Udp { port: PORT }));
            [probe("socket", family, ends, socket), probe("frame", family, ends, frame)]
        };
        let probes = [both((sender, server)), both((other, server))].concat();
        let probes: Vec<Probe> =
            probes.into_iter().enumerate().map(|(n, probe)| Probe { name: n.to_string(), ..probe }).collect();
        let is_answered = |_: &Probe, seen: &Observation| seen.outcome == Outcome::Answered;
        assert_eq!(wrong(&lab, &mut prober, &probes, is_answered), NONE);
        // The sender's own end, and the host's.
        lab.at(sender).ip("link set dev eth0 down").expect("take a link down");
        let (_, port) = &lab.world.node(other).port;
        lab.host().ip(&format!("link set dev {port} down")).expect("take a link down");
        let could_not = |what: &'static str| move |_: &Probe, seen: &Observation| matches!(&seen.outcome, Outcome::CouldNotTest(why) if why.contains(what));
        assert_eq!(wrong(&lab, &mut prober, &probes[..2], could_not("docker0-c1")), NONE);
        assert_eq!(wrong(&lab, &mut prober, &probes[2..], could_not("docker0-c2")), NONE);
        // The vantage: its own end, with what leads there dropped or not.
        lab.host().ip(&format!("link set dev {port} up")).expect("bring a link up");
        lab.wait_for(&[other]).expect("the link carries packets");
        assert_eq!(wrong(&lab, &mut prober, &probes[2..], is_answered), NONE);
        lab.at(server).ip("link set dev eth0 down").expect("take a link down");
        assert_eq!(wrong(&lab, &mut prober, &probes[2..], could_not("eth1-server")), NONE);
        nft(&lab, DROP);
        assert_eq!(wrong(&lab, &mut prober, &probes[2..], could_not("eth1-server")), NONE);
    });
}

/// A capture that is full of something else says so, or is asked again.
#[test]
fn a_full_capture_is_not_a_block() {
    in_namespace(|| {
        let (lab, mut prober) = start(SERVICE_INSTANCE, true);
        let names = ["docker0-c1", "docker0-c2", "eth1-server"];
        let [container, other, server] = names.map(|name| place(&lab, name));
        let destination = address(&lab, "eth1-server", IpFamily::V4);
        let sending = Sending::Socket { protocol: Transport::Udp, destination, port: PORT };
        let probe = probe("x", IpFamily::V4, (container, server), sending);
        let port_of = |place: Place| lab.world.node(place).port.clone();
        // Where it arrives, where the answer does, and the host between.
        for (at, link) in [port_of(server), port_of(container), (other, "eth0".to_owned())] {
            let flood = PacketSocket::open_to_send(lab.at(at)).expect("open a socket");
            let index = lab.at(at).enter(|| nix::net::if_::if_nametoindex(link.as_str()));
            let index = index.expect("enter").expect("a link");
            let mut frame = vec![0xff; 1400];
            frame[12..14].copy_from_slice(&0x88b6_u16.to_be_bytes());
            for _ in 0..20_000 {
                flood.send(index, &frame).expect("send");
            }
            assert_eq!(prober.run(&lab, &probe).outcome, Outcome::Answered, "after a flood at {link}");
        }
    });
}

/// A flow of a protocol without ports is the same flow the next time, unless conntrack forgets it.
#[test]
fn conntrack_takes_nothing_along() {
    const OUT_AND_BACK: &str = "
table inet wall {
  chain forward {
    type filter hook forward priority 0
    ct state established accept
    iifname eth1 drop
  }
}
";
    in_namespace(|| {
        let (lab, mut prober) = start(SERVICE_INSTANCE, false);
        nft(&lab, OUT_AND_BACK);
        let (container, server) = (place(&lab, "docker0-c1"), place(&lab, "eth1-server"));
        let mut flows = Vec::new();
        for prepared in [false, true] {
            for family in IpFamily::BOTH {
                for number in [47, 50, 253] {
                    let send = |name: &str, ends| {
                        let packet = packet(&lab, family, ends, Body::Protocol(number));
                        Probe { is_answerable: false, ..probe(name, family, ends, Sending::Frame(packet)) }
                    };
                    let there = send("there", (container, server));
                    let back = send("back", (server, container));
                    assert_eq!(prober.run(&lab, &there).outcome, Outcome::Delivered, "{number} {prepared}");
                    assert_eq!(prober.run(&lab, &back).outcome, Outcome::Blocked, "{number} {prepared}");
                }
            }
            if !prepared {
                // From here on single flows are forgotten, for these must not be.
                for family in IpFamily::BOTH {
                    for protocol in [Transport::Udp, Transport::Tcp] {
                        let destination = address(&lab, "eth1-server", family);
                        let flow = Sending::Established {
                            protocol,
                            opener: container,
                            listener: server,
                            destination,
                            port: PORT,
                        };
                        let there =
                            probe(&format!("{protocol:?} there"), family, (container, server), flow.clone());
                        let back = probe(&format!("{protocol:?} back"), family, (server, container), flow);
                        flows.extend([there, Probe { is_answerable: false, ..back }]);
                    }
                }
                prober.prepare(&lab, &flows);
            }
        }
        let seen = prober.run_all(&lab, &flows);
        for flow in &flows {
            let expected = if flow.is_answerable { Outcome::Answered } else { Outcome::Delivered };
            assert_eq!(seen[&flow.name].outcome, expected, "{}: {:?}", flow.name, seen[&flow.name]);
        }
    });
}

/// Conntrack may see a flow only once the approach is there: what the one who was called sends on it is still an
/// answer.
#[test]
fn a_flow_that_conntrack_has_not_seen() {
    const ANSWERS: &str = "
table inet wall {
  chain forward {
    type filter hook forward priority 0
    ct direction reply accept
    iifname eth1 drop
  }
}
";
    in_namespace(|| {
        let topology =
            topology::parse("topology.toml", SERVICE_INSTANCE.as_bytes()).expect("a valid topology");
        let options = Options { engine_masquerades: false, cpu: 0 };
        // Without a container engine, so that no rule wants conntrack.
        let lab = Lab::start(World::new(&Intent::new(&topology)), options).expect("build the lab");
        let mut prober = Prober::start(&lab).expect("open the captures");
        let (container, server) = (place(&lab, "docker0-c1"), place(&lab, "eth1-server"));
        let mut probes = Vec::new();
        for family in IpFamily::BOTH {
            for protocol in [Transport::Udp, Transport::Tcp] {
                let destination = address(&lab, "eth1-server", family);
                let flow = Sending::Established {
                    protocol,
                    opener: container,
                    listener: server,
                    destination,
                    port: PORT,
                };
                let back = probe(&format!("{protocol:?}"), family, (server, container), flow);
                probes.push(Probe { is_answerable: false, ..back });
            }
        }
        prober.prepare(&lab, &probes);
        nft(&lab, ANSWERS);
        let is_delivered = |_: &Probe, seen: &Observation| seen.outcome == Outcome::Delivered;
        assert_eq!(wrong(&lab, &mut prober, &probes, is_delivered), NONE);
        nft(&lab, DROP_BOTH_WAYS);
        assert_eq!(wrong(&lab, &mut prober, &probes, is_blocked), NONE);
    });
}

const DROP_BOTH_WAYS: &str = "
table inet wall_of_both {
  chain forward {
    type filter hook forward priority 0
    oifname eth1 drop
    iifname eth1 drop
  }
}
";

/// Links that were made again are found again.
#[test]
fn links_made_again() {
    in_namespace(|| {
        let (lab, mut prober) = start(SERVICE_INSTANCE, true);
        let ends = (place(&lab, "docker0-c1"), place(&lab, "eth1-server"));
        let mut probes = Vec::new();
        for family in IpFamily::BOTH {
            let destination = address(&lab, "eth1-server", family);
            let sending = Sending::Socket { protocol: Transport::Udp, destination, port: PORT };
            probes.push(probe("socket", family, ends, sending));
            let sending = Sending::Frame(packet(&lab, family, ends, Body::Udp { port: PORT }));
            probes.push(probe("frame", family, ends, sending));
        }
        let is_answered = |_: &Probe, seen: &Observation| seen.outcome == Outcome::Answered;
        assert_eq!(wrong(&lab, &mut prober, &probes, is_answered), NONE);
        lab.host().ip("link delete dev eth1").expect("delete a NIC");
        lab.attach_nic(1).expect("make a NIC again");
        lab.host().ip(&format!("link delete dev {}", lab.world.node(ends.0).port.1)).expect("delete a port");
        lab.attach_container(ends.0).expect("make a port again");
        prober.refresh(&lab).expect("look at the links again");
        assert_eq!(wrong(&lab, &mut prober, &probes, is_answered), NONE);
        nft(&lab, DROP);
        assert_eq!(wrong(&lab, &mut prober, &probes, is_blocked), NONE);
    });
}

/// A container on another host: what is in the tunnel is not there yet.
#[test]
fn a_tunnel() {
    in_namespace(|| {
        let overlay = include_str!("../../fixtures/overlay/topology.toml");
        let (lab, mut prober) = start(overlay, true);
        let remote =
            lab.world.nodes.iter().position(|node| node.tunnel.is_some()).expect("a remote container");
        let remote = Place(remote);
        let local = place(&lab, "docker0-c1");
        let family = IpFamily::V4;
        let address_of = |place: Place| lab.world.node(place).address(family).expect("an address");
        let mut probes = Vec::new();
        for (name, ends) in [("there", (local, remote)), ("back", (remote, local))] {
            for (protocol, port) in [(Transport::Icmp, 0), (Transport::Udp, PORT), (Transport::Tcp, PORT)] {
                let sending = Sending::Socket { protocol, destination: address_of(ends.1), port };
                probes.push(probe(&format!("{name} {protocol:?}"), family, ends, sending));
            }
        }
        let is_told = |probe: &Probe, seen: &Observation| {
            let nodes: Vec<&str> = seen.seen.iter().map(|sighting| sighting.node.as_str()).collect();
            seen.outcome == Outcome::Answered && nodes == [lab.world.node(probe.vantage[0]).name.as_str()]
        };
        assert_eq!(wrong(&lab, &mut prober, &probes, is_told), NONE);
        nft(&lab, "table inet wall {\nchain forward {\ntype filter hook forward priority 0\ndrop\n}\n}\n");
        assert_eq!(wrong(&lab, &mut prober, &probes, is_blocked), NONE);
    });
}

/// Instances on a NIC's own network: bridged to its servers, routed to others.
#[test]
fn a_flat() {
    const CLOSED: &str = "
table bridge wall {
  chain forward {
    type filter hook forward priority 0
    oifname eth0 drop
  }
}
table inet wall {
  chain forward {
    type filter hook forward priority 0
    oifname eth1 drop
  }
}
";
    in_namespace(|| {
        let (lab, mut prober) = start(include_str!("../../fixtures/flat/topology.toml"), true);
        let instance = place(&lab, "br-flat-i1");
        let mut probes = Vec::new();
        for (name, nic) in [("eth0-server", "eth0"), ("eth1-server", "eth1")] {
            for family in IpFamily::BOTH {
                let sending = Sending::Session { destination: address(&lab, name, family), port: PORT };
                let probe = probe(name, family, (instance, place(&lab, name)), sending);
                let told = prober.run(&lab, &probe);
                assert_eq!(told.outcome, Outcome::Answered, "{told:?}");
                assert_eq!(
                    (told.came_in.as_deref(), told.left_by.as_slice()),
                    (Some("br-flat"), &[nic.to_owned()][..])
                );
                probes.push(probe);
            }
        }
        nft(&lab, CLOSED);
        assert_eq!(wrong(&lab, &mut prober, &probes, is_blocked), NONE);
    });
}

/// The upstream has a foot on every wire: what it gets there did not pass the host.
#[test]
fn what_stays_on_the_wire_has_not_arrived() {
    in_namespace(|| {
        let (lab, mut prober) = start(SERVICE_INSTANCE, true);
        let upstream = lab.world.upstream().expect("an upstream");
        let (container, server) = (place(&lab, "docker0-c1"), place(&lab, "eth1-server"));
        let internet = *lab.world.internet.first().expect("an address out there");
        let family = IpFamily::V4;
        let out = Sending::Socket { protocol: Transport::Udp, destination: internet, port: PORT };
        let control = probe("out", family, (container, upstream), out);
        assert_eq!(prober.run(&lab, &control).outcome, Outcome::Answered);
        let plain = packet(&lab, family, (server, container), Body::Protocol(253));
        let flooded = Packet { to: To::Broadcast, destination: internet, ..plain };
        let flooded = probe("flooded", family, (server, upstream), Sending::Frame(flooded));
        let told = prober.run(&lab, &flooded);
        assert_eq!((told.outcome, told.seen), (Outcome::Blocked, Vec::new()));
    });
}

/// Nothing that was not said.
const NONE: Vec<String> = Vec::new();
