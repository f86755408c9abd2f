//! Stories made of messages by hand, and questions on topologies.

use std::collections::BTreeMap;

use super::*;
use crate::intent::Intent;
use crate::ruleset::{Family, Ruleset};
use crate::topology::{Topology, parse};
use crate::verify::packet::To;
use crate::verify::probe::{Probe, Sending, Transport};
use crate::verify::world::{Place, World};

/// A message: `ID FAMILY TABLE CHAIN KIND VERDICT [IIF>OIF] [SOURCE>DESTINATION]`, where `t` is the table of the
/// lab and KIND is `policy` or the handle of a rule.
fn event(line: &str) -> TraceEvent {
    let words: Vec<&str> = line.split_whitespace().collect();
    let [id, family, table, chain, kind, verdict, rest @ ..] = words.as_slice() else {
        panic!("too few words: {line}")
    };
    let links = rest.iter().find_map(|word| word.split_once('>').filter(|(a, _)| a.parse::<u32>().is_ok()));
    let index = |text: &str| text.parse().ok().filter(|index| *index > 0);
    let ends = rest.iter().find_map(|word| word.split_once('>').filter(|(a, _)| a.contains(['.', ':'])));
    TraceEvent {
        id: id.parse().unwrap(),
        family: Family::ALL.into_iter().find(|known| known.to_string() == *family).unwrap(),
        table: if *table == "t" { TRACE_TABLE.to_owned() } else { (*table).to_owned() },
        chain: (*chain).to_owned(),
        kind: kind.parse().map_or(TraceKind::Policy, TraceKind::Rule),
        verdict: match *verdict {
            "accept" => TraceVerdict::Accept,
            "drop" => TraceVerdict::Drop,
            "continue" => TraceVerdict::Continue,
            other => TraceVerdict::Jump(other.to_owned()),
        },
        iif: links.and_then(|(iif, _)| index(iif)),
        oif: links.and_then(|(_, oif)| index(oif)),
        header: ends.map(|(source, destination)| Header {
            source: source.parse().unwrap(),
            destination: destination.parse().unwrap(),
            protocol: 17,
            source_port: Some(40001),
            destination_port: Some(9),
            icmp: None,
        }),
    }
}

fn events(text: &str) -> Vec<TraceEvent> {
    text.lines().map(str::trim).filter(|line| !line.is_empty()).map(event).collect()
}

const LISTING: &str = r#"table inet other {
	chain forward { # handle 1
		type filter hook forward priority filter; policy drop;
		ip daddr 192.168.57.0/24 jump closed # handle 4
	}
	chain closed { # handle 2
		drop # handle 5
	}
	chain postrouting { # handle 3
		type nat hook postrouting priority srcnat; policy accept;
		masquerade # handle 6
	}
}
"#;

fn known() -> Known {
    Known::new(&Topology::nothing(), &Ruleset::new(), &[], Listing::read(LISTING))
}

fn links() -> BTreeMap<u32, String> {
    BTreeMap::from([(1, "docker0".to_owned()), (2, "eth1".to_owned())])
}

/// The way of the first packet.
fn first_way(text: &str, routing: Option<Routing>) -> Way {
    way(&packets(&events(text))[0], &known(), &links(), routing)
}

/// A step in few words.
fn short(step: &Step) -> String {
    match step {
        Step::CameIn { link, packet } => format!("in {link} {}", packet.source),
        Step::Sent { packet } => format!("sent {}", packet.source),
        Step::Chain(passed) => {
            let rules: Vec<_> = passed.rules.iter().map(|rule| rule.handle.to_string()).collect();
            format!("{} [{}] {}", passed.chain, rules.join(" "), passed.verdict)
        }
        Step::Rewritten { after, rule, .. } => {
            format!("rewritten {} {:?}", after.source, rule.as_ref().map(|rule| rule.handle))
        }
        Step::Route { route } => format!("route {route}"),
        Step::Taken => "taken".to_owned(),
        Step::Left { link, packet } => format!("left {link} {}", packet.source),
    }
}

fn steps(way: &Way) -> Vec<String> {
    way.steps.iter().map(short).collect()
}

const FORWARDED: &str = "
    7 inet t prerouting_first 1 continue 1>0 172.17.0.2>192.168.57.5
    7 inet t prerouting_first policy accept
    7 inet t prerouting_last policy accept 1>0 172.17.0.2>192.168.57.5
    7 inet t forward_first policy accept 1>2 172.17.0.2>192.168.57.5
";

#[test]
fn a_forwarded_packet() {
    let text = format!(
        "{FORWARDED}
        7 inet other forward 4 closed 1>2 172.17.0.2>192.168.57.5
        7 inet other closed 5 accept
        7 inet t forward_last policy accept 1>2 172.17.0.2>192.168.57.5
        7 inet t postrouting_first policy accept 1>2 172.17.0.2>192.168.57.5
        7 inet other postrouting 6 accept 1>2 172.17.0.2>192.168.57.5
        7 inet t postrouting_last policy accept 1>2 192.168.57.10>192.168.57.5"
    );
    let way = first_way(&text, Some(Routing::Route("192.168.57.0/24 dev eth1".to_owned())));
    assert_eq!(
        steps(&way),
        [
            "in docker0 172.17.0.2",
            "route 192.168.57.0/24 dev eth1",
            "forward [4 5] accept",
            "postrouting [6] accept",
            "rewritten 192.168.57.10 Some(6)",
            "left eth1 192.168.57.10",
        ]
    );
    assert_eq!(way.stop, None);
}

#[test]
fn what_dropped_it() {
    let dropped = |lines: &str| first_way(&format!("{FORWARDED}\n{lines}"), None).stop;
    let by_rule = dropped(
        "7 inet other forward 4 closed 1>2 172.17.0.2>192.168.57.5
         7 inet other closed 5 drop",
    );
    let Some(Stop::Rule(rule)) = by_rule else { panic!("{by_rule:?}") };
    assert_eq!((rule.chain.as_str(), rule.handle, rule.rule.as_str()), ("closed", 5, "drop"));
    let by_policy = dropped(
        "7 inet other forward 4 closed 1>2 172.17.0.2>192.168.57.5
         7 inet other forward policy drop",
    );
    assert_eq!(by_policy, Some(Stop::Policy { table: "inet other".to_owned(), chain: "forward".to_owned() }));
    let by_another = dropped("7 inet other forward policy accept 1>2 172.17.0.2>192.168.57.5");
    let Some(Stop::Unknown { after, .. }) = by_another else { panic!("{by_another:?}") };
    assert_eq!(after, "the hook forward");
    let later = dropped("7 inet t forward_last policy accept 1>2 172.17.0.2>192.168.57.5");
    assert_eq!(later, Some(Stop::Unknown { after: "the hook forward".to_owned(), why: String::new() }));
}

#[test]
fn the_routing_is_asked_and_refuses() {
    let text = "
        7 inet t prerouting_first policy accept 1>0 172.17.0.2>192.168.56.10
        7 inet t prerouting_last policy accept 1>0 172.17.0.2>172.17.0.9
    ";
    let packets = packets(&events(text));
    let question = RouteQuestion::of(&packets[0]).unwrap();
    // As it is behind a DNAT.
    assert_eq!(question.header.destination.to_string(), "172.17.0.9");
    assert_eq!((question.iif, question.went_on), (Some(1), false));
    let stop = Stop::NoRoute { destination: question.header.destination };
    let way = way(&packets[0], &known(), &links(), Some(Routing::Refused(stop.clone())));
    assert_eq!(way.stop, Some(stop));
}

#[test]
fn packets_are_told_apart() {
    let text = "
        7 inet t prerouting_first policy accept 1>0 172.17.0.2>192.168.57.5
        7 inet t prerouting_last policy accept 1>0 172.17.0.2>192.168.57.5
        9 inet t forward_first policy accept 1>2 172.17.0.2>192.168.57.5
        8 inet t prerouting_first policy accept 2>0 192.168.57.5>172.17.0.2
        9 inet t prerouting_first policy accept 1>0 172.17.0.2>192.168.57.5
    ";
    let mut events = events(text);
    // An answer: the ports the other way round.
    let answer = events[3].header.as_mut().unwrap();
    (answer.source_port, answer.destination_port) = (Some(9), Some(40001));
    let packets = packets(&events);
    assert_eq!(packets.len(), 3, "one that got another number, its answer, and one more with its number");
    let wanted = Wanted { destination_port: Some(9), ..Wanted::default() };
    let selected = select(&packets, &wanted);
    assert_eq!(selected.request, Some(&packets[0]));
    assert_eq!(selected.answer, Some(&packets[1]));
    assert_eq!(selected.refusal, None);
    let none = select(&packets, &Wanted { protocol: Some(6), ..Wanted::default() });
    assert_eq!(none.request, None);
}

#[test]
fn fragments_are_told_as_what_they_make() {
    let text = format!(
        "5 inet t prerouting_first policy accept 1>0 172.17.0.2>192.168.57.5
        {FORWARDED}"
    );
    let mut events = events(&text);
    let second = events[1].header.as_mut().unwrap();
    (second.source_port, second.destination_port) = (None, None);
    let packets = packets(&events);
    assert_eq!(packets.len(), 2);
    let wanted = Wanted { destination_port: Some(9), ..Wanted::default() };
    assert_eq!(select(&packets, &wanted).request, Some(&packets[1]));
    assert_eq!(select(&packets[..1], &wanted).request, Some(&packets[0]), "the other never came");
}

#[test]
fn a_packet_is_known_by_the_source_that_it_was_sent_with() {
    let (prepared, world) = ask(&Asked { port: Some(9000), ..asked("docker0", "service") }).unwrap();
    let wanted = |sent: &str| Wanted::of(&world, &prepared.probe, sent);
    let sources = |sent: &str| (wanted(sent).sources, wanted(sent).source_port);
    let address = |text: &str| text.parse().unwrap();
    assert_eq!(
        sources("172.17.0.2:12000 -> 192.168.56.5:9000, TCP SYN"),
        (vec![address("172.17.0.2")], Some(12000))
    );
    assert_eq!(sources("[fd17::2]:12000 -> x"), (vec![address("fd17::2")], Some(12000)));
    assert_eq!(sources("fd17::2 -> fd56::5, ICMPv6"), (vec![address("fd17::2")], None));
    assert_eq!(sources(""), (vec![address("172.17.0.2"), address("fd17::2")], None));
    assert_eq!(wanted("").destination_port, Some(9000));
}

#[test]
fn a_number_that_is_used_again_within_the_host() {
    // The first packet was 7 all the way; the next one of the flow becomes 7 once it is past the bridge.
    let text = format!(
        "{FORWARDED}
        8 inet t prerouting_first policy accept 1>0 172.17.0.2>192.168.57.5
        8 inet t prerouting_last policy accept 1>0 172.17.0.2>192.168.57.5
        7 inet t forward_first policy accept 1>2 172.17.0.2>192.168.57.5"
    );
    let packets = packets(&events(&text));
    assert_eq!(packets.len(), 2);
    assert_eq!(packets[0], packets_of(FORWARDED));
}

fn packets_of(text: &str) -> Packet {
    packets(&events(text)).remove(0)
}

#[test]
fn a_frame_within_a_bridge() {
    let text = "
        7 bridge t prerouting_first policy accept 1>0 192.168.56.21>192.168.56.5
        7 bridge t prerouting_last policy accept 1>0 192.168.56.21>192.168.56.5
        7 bridge t forward_first policy accept 1>2 192.168.56.21>192.168.56.5
        7 bridge t forward_last policy accept 1>2 192.168.56.21>192.168.56.5
        7 bridge t postrouting_first policy accept 1>2 192.168.56.21>192.168.56.5
        7 bridge t postrouting_last policy accept 1>2 192.168.56.21>192.168.56.5
    ";
    let way = first_way(text, None);
    assert_eq!(steps(&way), ["in docker0 192.168.56.21", "left eth1 192.168.56.21"]);
    assert_eq!(way.stop, None);
    // With its hooks the packet of a routed frame is one, too, and only told once.
    let routed = format!(
        "3 bridge t prerouting_first policy accept 1>0 172.17.0.2>192.168.57.5
        3 bridge t input_last policy accept 1>0 172.17.0.2>192.168.57.5
        {FORWARDED}"
    );
    let told = first_way(&routed, None);
    assert_eq!(steps(&told), ["in docker0 172.17.0.2"]);
}

#[test]
fn messages_without_a_beginning_are_left_out() {
    let text = "
        7 inet other closed 5 drop
        7 inet other forward policy drop
    ";
    assert_eq!(packets(&events(text)), []);
}

const TOPOLOGY: &str = r#"
[[bridge]]
name = "docker0"
subnets = ["172.17.0.0/16", "fd17::/64"]

[[nic]]
name = "eth0"
role = "service"
subnets = ["192.168.56.0/24", "fd56::/64"]

[[nic]]
name = "eth1"
role = "storage"
subnets = ["192.168.57.0/24", "192.168.58.0/24"]
"#;

fn asked(from: &str, to: &str) -> Asked {
    let (from, to) = (from.to_owned(), to.to_owned());
    Asked { from, to, protocol: None, port: None, family: None, source: None }
}

/// Asks on the topology above; hands back what is asked, and who has which address afterwards.
fn ask(asked: &Asked) -> Result<(Prepared, World), Refused> {
    let topology = parse("topology.toml", TOPOLOGY.as_bytes()).unwrap();
    let intent = Intent::new(&topology);
    let mut world = World::new(&intent);
    prepare(&intent, &mut world, asked).map(|prepared| (prepared, world))
}

fn probe(question: &Asked) -> Probe {
    ask(question).unwrap().0.probe
}

fn refusal(question: &Asked) -> String {
    let refused = ask(question).unwrap_err();
    format!("{}; {}", refused.message, refused.hint.unwrap_or_default())
}

#[test]
fn names_are_understood() {
    let check = |from: &str, to: &str, expected: &str| {
        let (prepared, _) = ask(&asked(from, to)).unwrap();
        let Sending::Socket { destination, .. } = prepared.probe.sending else { panic!("a socket") };
        assert_eq!(format!("{} {} {destination}", prepared.from, prepared.to), expected, "{from} {to}");
        assert_eq!(prepared.notes, Vec::<String>::new());
    };
    check("docker0-c1", "eth1-server", "docker0-c1 eth1-server 192.168.57.5");
    check("docker0", "storage", "docker0-c1 eth1-server 192.168.57.5");
    check("docker0", "docker0", "docker0-c1 docker0-c2 172.17.0.3");
    check("docker0", "host", "docker0-c1 host 172.17.0.1");
    check("docker0", "host@eth1", "docker0-c1 host 192.168.57.10");
    check("docker0", "host@service", "docker0-c1 host 192.168.56.10");
    check("host", "storage", "host eth1-server 192.168.57.5");
    check("172.17.0.3", "192.168.57.10", "docker0-c2 host 192.168.57.10");
    check("service", "docker0", "eth0-server docker0-c1 172.17.0.2");
}

#[test]
fn what_the_topology_says_of_it() {
    let check = |from: &str, to: &str, expected: Option<&str>| {
        let (prepared, _) = ask(&asked(from, to)).unwrap();
        assert_eq!(prepared.intended.as_deref(), expected, "{from} {to}");
    };
    check("docker0", "storage", Some("docker0 -> eth1 (storage): blocked"));
    check("docker0", "host@eth1", Some("docker0 -> host on eth1: blocked"));
    check("docker0", "9.9.9.9", Some("docker0 -> eth0 (service): open"));
    check("service", "docker0", Some("eth0 (service) -> docker0: published"));
    check("docker0", "host", None);
    check("host", "storage", None);
}

#[test]
fn protocols_and_families() {
    let of = |probe: Probe| match probe.sending {
        Sending::Socket { protocol, destination, port } => (protocol, destination.is_ipv6(), port),
        other => panic!("{other:?}"),
    };
    let question = asked("docker0", "service");
    assert_eq!(of(probe(&question)), (Transport::Icmp, false, 0));
    assert_eq!(of(probe(&Asked { port: Some(80), ..question.clone() })), (Transport::Tcp, false, 80));
    let udp = Asked { protocol: Some(Protocol::Udp), family: Some(Version::V6), ..question.clone() };
    assert_eq!(of(probe(&udp)), (Transport::Udp, true, 9000));
    let v6 = Asked { to: "fd56::5".to_owned(), ..question.clone() };
    assert_eq!(of(probe(&v6)), (Transport::Icmp, true, 0));
    let odd = Asked { protocol: Some(Protocol::Icmp), port: Some(80), ..question.clone() };
    assert_eq!(refusal(&odd), "an echo request has no port; leave --port out, or name tcp or udp");
    let mixed = Asked { family: Some(Version::V4), ..v6 };
    assert_eq!(refusal(&mixed), "IPv4 and IPv6 do not go together in one packet; ");
    let lacking = Asked { to: "storage".to_owned(), family: Some(Version::V6), ..question };
    assert_eq!(refusal(&lacking), "eth1-server has no IPv6 address; ");
}

#[test]
fn a_source_of_ones_own_choice() {
    let forged = Asked { source: "192.168.57.77".parse().ok(), ..asked("docker0", "storage") };
    let probe_of = probe(&forged);
    let Sending::Frame(packet) = &probe_of.sending else { panic!("a frame") };
    assert_eq!((packet.source.to_string(), packet.to), ("192.168.57.77".to_owned(), To::Host));
    assert!(!probe_of.is_answerable);
    let neighbour = Asked { source: "10.0.0.1".parse().ok(), ..asked("docker0", "docker0") };
    let Sending::Frame(packet) = probe(&neighbour).sending else { panic!("a frame") };
    assert!(matches!(packet.to, To::Mac(_)), "{packet:?}");
    let own = Asked { source: "172.17.0.2".parse().ok(), ..asked("docker0", "storage") };
    assert!(probe(&own).is_answerable);
    let host = Asked { source: "10.0.0.1".parse().ok(), ..asked("host", "storage") };
    assert!(refusal(&host).starts_with("the host cannot send with --source"));
}

#[test]
fn addresses_that_nobody_has() {
    let check = |to: &str, who: &str, note: &str| {
        let (prepared, world) = ask(&asked("docker0", to)).unwrap();
        assert_eq!((prepared.to.as_str(), prepared.notes.as_slice()), (who, [note.to_owned()].as_slice()));
        let node = world.node(world.by_name(who).unwrap());
        let addresses: Vec<_> = node.addresses.iter().map(ipnet::IpNet::addr).collect();
        let all = [addresses, node.behind_listed.clone(), world.internet.clone()].concat();
        assert!(all.contains(&to.parse().unwrap()), "{all:?}");
        // The first stays the one that sockets use.
        assert_ne!(node.addresses[0].addr().to_string(), to);
    };
    check(
        "192.168.57.77",
        "eth1-server",
        "Nobody in the lab has 192.168.57.77: eth1-server was given it, because it is in 192.168.57.0/24 on eth1.",
    );
    check(
        "192.168.58.77",
        "eth1-router",
        "Nobody in the lab has 192.168.58.77: eth1-router was given it, because 192.168.58.0/24 is routed behind it.",
    );
    check(
        "9.9.9.9",
        "upstream",
        "Nobody in the lab has 9.9.9.9: upstream was given it, because it is in no network of the file and the default route leads there.",
    );
    let from = probe(&asked("172.17.3.3", "service"));
    let Sending::Frame(packet) = &from.sending else { panic!("not the first address of a node") };
    assert_eq!(packet.source.to_string(), "172.17.3.3");
    assert!(from.is_answerable);
}

#[test]
fn words_that_mean_nothing() {
    let check = |from: &str, to: &str, expected: &str| {
        let refused = refusal(&asked(from, to));
        assert!(refused.starts_with(expected), "{from} {to}: {refused}");
    };
    check("docker1", "storage", "nothing in the lab is called `docker1`; did you mean `docker0`?");
    check("docker0", "sorage", "nothing in the lab is called `sorage`; did you mean `storage`?");
    check("docker0", "host@eth2", "nothing in the lab is called `eth2`; did you mean `host@eth0`?");
    check("docker0", "wire", "nothing in the lab is called `wire`; ");
    check("docker0", "", "nothing in the lab is called ``; there is docker0, docker0-c1");
    check("docker0", "224.0.0.1", "224.0.0.1 is a multicast address");
    check("docker0", "192.168.57.255", "192.168.57.255 is the broadcast address of 192.168.57.0/24");
    check("docker0", "fe80::1", "fe80::1 is a link-local address");
    check("docker0", "127.0.0.1", "127.0.0.1 is a loopback address");
    check("docker0-c1", "docker0-c1", "a node that sends to itself");
}

#[test]
fn published_ports_may_arrive_at_a_container() {
    let question = Asked { port: Some(8001), ..asked("service", "host") };
    let (prepared, world) = ask(&question).unwrap();
    assert_eq!(prepared.probe.vantage, [Place::HOST, world.by_name("docker0-c1").unwrap()]);
}
