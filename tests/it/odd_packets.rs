//! Packets that hosts do not send every day, each of which has found a hole in some way of isolating.

use std::net::IpAddr;

use crate::lab::packet::{Forged, Kind, send_bytes};
use crate::lab::probe::Tag;
use crate::lab::{Family, HostSpec, Lab, Outcome, PORT, in_namespace};
use crate::start;

/// Protocol numbers of IANA's registry.
const HOP_BY_HOP: u8 = 0;
const ICMP: u8 = 1;
const TCP: u8 = 6;
const UDP: u8 = 17;
const FRAGMENT: u8 = 44;
const GRE: u8 = 47;
const ICMPV6: u8 = 58;

/// One or more packets from container `web`.
struct Odd {
    name: String,
    /// Where they would be seen.
    at: &'static str,
    kind: Kind,
    destination: IpAddr,
    packets: Vec<Vec<u8>>,
    tag: Tag,
}

impl Odd {
    fn run(&self, lab: &Lab) -> Outcome {
        let (from, at) = (lab.node("web"), lab.node(self.at));
        let mark = lab.journal.mark();
        for packet in &self.packets {
            if let Err(error) = send_bytes(from, self.destination, packet) {
                return Outcome::CouldNotTest(format!("cannot send: {error}"));
            }
        }
        lab.decide(mark, from, at, self.kind, Family::of(self.destination), &self.tag)
    }
}

/// The part of an IP header that says which piece of a packet this is.
#[derive(Clone, Copy)]
struct Piece {
    /// In bytes, a multiple of 8.
    offset: u16,
    is_last: bool,
}

impl Piece {
    const WHOLE: Self = Self { offset: 0, is_last: true };
}

/// An IPv4 packet; the kernel fills in length and checksum. `options` are a multiple of 4 bytes.
fn ipv4(ends: (IpAddr, IpAddr), protocol: u8, options: &[u8], piece: Piece, payload: &[u8]) -> Vec<u8> {
    let (IpAddr::V4(source), IpAddr::V4(destination)) = ends else { panic!("IPv4 addresses") };
    let words = u8::try_from(5 + options.len() / 4).expect("a short header");
    let more = if piece.is_last { 0 } else { 0x2000 };
    let fragment = (more | (piece.offset / 8)).to_be_bytes();
    let mut bytes = vec![0x40 | words, 0, 0, 0, 0x12, 0x34, fragment[0], fragment[1], 64, protocol, 0, 0];
    bytes.extend(source.octets());
    bytes.extend(destination.octets());
    bytes.extend(options);
    bytes.extend(payload);
    bytes
}

/// An IPv6 packet. `next` is the protocol of `rest`.
fn ipv6(ends: (IpAddr, IpAddr), next: u8, rest: &[u8]) -> Vec<u8> {
    let (IpAddr::V6(source), IpAddr::V6(destination)) = ends else { panic!("IPv6 addresses") };
    let length = u16::try_from(rest.len()).expect("a short packet").to_be_bytes();
    let mut bytes = vec![0x60, 0, 0, 0, length[0], length[1], next, 64];
    bytes.extend(source.octets());
    bytes.extend(destination.octets());
    bytes.extend(rest);
    bytes
}

/// A packet with that payload in one IP header.
fn ip(ends: (IpAddr, IpAddr), protocol: u8, payload: &[u8]) -> Vec<u8> {
    if ends.0.is_ipv4() {
        ipv4(ends, protocol, &[], Piece::WHOLE, payload)
    } else {
        ipv6(ends, protocol, payload)
    }
}

/// The same in two pieces, the first of that many bytes, a multiple of 8.
fn in_two(ends: (IpAddr, IpAddr), protocol: u8, payload: &[u8], first: u16) -> Vec<Vec<u8>> {
    let (head, tail) = payload.split_at(usize::from(first));
    let pieces =
        [(Piece { offset: 0, is_last: false }, head), (Piece { offset: first, is_last: true }, tail)];
    pieces
        .into_iter()
        .map(|(piece, part)| {
            if ends.0.is_ipv4() {
                return ipv4(ends, protocol, &[], piece, part);
            }
            let place = (piece.offset | u16::from(!piece.is_last)).to_be_bytes();
            let mut rest = vec![protocol, 0, place[0], place[1], 0, 0, 0x12, 0x34];
            rest.extend(part);
            ipv6(ends, FRAGMENT, &rest)
        })
        .collect()
}

/// A UDP or TCP segment with a right checksum, without its IP header.
fn segment(kind: Kind, ends: (IpAddr, IpAddr), payload: &[u8]) -> Vec<u8> {
    let forged = Forged {
        kind,
        source: ends.0,
        source_port: 31_000,
        destination: ends.1,
        destination_port: PORT,
        payload,
    };
    let bytes = forged.to_bytes().expect("build a packet");
    bytes[if ends.0.is_ipv4() { 20 } else { 40 }..].to_vec()
}

/// A TCP segment of no connection, with flags of one's choice.
fn stray(ends: (IpAddr, IpAddr), change: impl FnOnce(&mut etherparse::TcpHeader), payload: &[u8]) -> Vec<u8> {
    let mut header = etherparse::TcpHeader::new(31_001, PORT, 77, 1024);
    change(&mut header);
    header.checksum = match ends {
        (IpAddr::V4(source), IpAddr::V4(destination)) => {
            header.calc_checksum_ipv4_raw(source.octets(), destination.octets(), payload)
        }
        (IpAddr::V6(source), IpAddr::V6(destination)) => {
            header.calc_checksum_ipv6_raw(source.octets(), destination.octets(), payload)
        }
        _ => panic!("addresses of one family"),
    }
    .expect("a short packet");
    [header.to_bytes().as_slice(), payload].concat()
}

/// An ICMP error about a packet, as a router on the way would send it.
fn icmp_error(ends: (IpAddr, IpAddr), about: &[u8]) -> Vec<u8> {
    if let (IpAddr::V6(source), IpAddr::V6(destination)) = ends {
        use etherparse::{Icmpv6Header, Icmpv6Type, icmpv6::DestUnreachableCode};
        let kind = Icmpv6Type::DestinationUnreachable(DestUnreachableCode::NoRoute);
        let header = Icmpv6Header::with_checksum(kind, source.octets(), destination.octets(), about);
        return ipv6(ends, ICMPV6, &[header.expect("a short packet").to_bytes().as_slice(), about].concat());
    }
    use etherparse::{Icmpv4Header, Icmpv4Type, icmpv4::DestUnreachableHeader};
    let kind = Icmpv4Type::DestinationUnreachable(DestUnreachableHeader::Host);
    let header = Icmpv4Header::with_checksum(kind, about);
    ipv4(ends, ICMP, &[], Piece::WHOLE, &[header.to_bytes().as_slice(), about].concat())
}

fn inside() -> Tag {
    match Tag::unique() {
        Tag::Payload(text) => Tag::Inside(text),
        other => other,
    }
}

/// Everything odd that goes to the storage server, or to the host's address on that network. `ports` are those
/// of a connection, for each family, that the host has to storage.
fn odd_packets(lab: &Lab, ports: [(u16, u16); 2]) -> Vec<Odd> {
    let mut all = Vec::new();
    for (family, (own_port, storage_port)) in Family::BOTH.into_iter().zip(ports) {
        let web = lab.node("web").address(family);
        let storage = lab.node("storage").address(family);
        let host = lab.host_address("eth1", family);
        let ends = (web, storage);
        let mut odd = |name: &str, at, kind, destination, make: &dyn Fn(&[u8]) -> Vec<Vec<u8>>| {
            let tag = inside();
            // Long enough to be cut, and known by what comes last.
            let payload = [&[b'.'; 64], tag.bytes()].concat();
            let packets = make(&payload);
            all.push(Odd { name: format!("{name}, {family}"), at, kind, destination, packets, tag });
        };
        odd("GRE", "storage", Kind::Udp, storage, &|payload| {
            vec![ip(ends, GRE, &[&[0, 0, 0x88, 0xb5], payload].concat())]
        });
        odd("a protocol that nobody knows", "storage", Kind::Udp, storage, &|payload| {
            vec![ip(ends, 253, payload)]
        });
        odd("UDP in two fragments", "storage", Kind::Udp, storage, &|payload| {
            in_two(ends, UDP, &segment(Kind::Udp, ends, payload), 32)
        });
        odd("UDP with a tiny first fragment", "storage", Kind::Udp, storage, &|payload| {
            in_two(ends, UDP, &segment(Kind::Udp, ends, payload), 8)
        });
        odd("a bare ACK", "storage", Kind::Tcp, storage, &|payload| {
            vec![ip(ends, TCP, &stray(ends, |tcp| tcp.ack = true, payload))]
        });
        odd("a SYN/ACK of nothing", "storage", Kind::Tcp, storage, &|payload| {
            let change = |tcp: &mut etherparse::TcpHeader| (tcp.syn, tcp.ack) = (true, true);
            vec![ip(ends, TCP, &stray(ends, change, payload))]
        });
        odd("all flags at once", "storage", Kind::Tcp, storage, &|payload| {
            let change = |tcp: &mut etherparse::TcpHeader| {
                (tcp.syn, tcp.fin, tcp.rst, tcp.psh) = (true, true, true, true)
            };
            vec![ip(ends, TCP, &stray(ends, change, payload))]
        });
        if family == Family::V4 {
            // Over IPv6 such a first fragment goes no further than the next host: RFC 7112, section 5.
            odd("TCP with its flags in the second fragment", "storage", Kind::Tcp, storage, &|payload| {
                in_two(ends, TCP, &stray(ends, |tcp| tcp.syn = true, payload), 8)
            });
            // Record route with room for one address, and an end of options: RFC 791, section 3.1.
            odd("IP options", "storage", Kind::Udp, storage, &|payload| {
                let options = [7, 7, 4, 0, 0, 0, 0, 0];
                vec![ipv4(ends, UDP, &options, Piece::WHOLE, &segment(Kind::Udp, ends, payload))]
            });
        } else {
            // Six bytes of padding: RFC 8200, section 4.2.
            odd("a hop-by-hop header", "storage", Kind::Udp, storage, &|payload| {
                let header = [UDP, 0, 1, 4, 0, 0, 0, 0];
                vec![ipv6(
                    ends,
                    HOP_BY_HOP,
                    &[&header, segment(Kind::Udp, ends, payload).as_slice()].concat(),
                )]
            });
        }
        // About the host's own connection to storage: RELATED, for who looks at connections first.
        let own = (host, storage);
        let there = |tcp: &mut etherparse::TcpHeader| {
            (tcp.source_port, tcp.destination_port, tcp.ack) = (own_port, storage_port, true);
        };
        let back = |tcp: &mut etherparse::TcpHeader| {
            (tcp.source_port, tcp.destination_port, tcp.ack) = (storage_port, own_port, true);
        };
        odd("a forged error to the host", "host", Kind::Icmp, host, &|payload| {
            let about = [ip(own, TCP, &stray(own, there, &[])).as_slice(), payload].concat();
            vec![icmp_error((storage, host), &about)]
        });
        odd("a forged error to storage", "storage", Kind::Icmp, storage, &|payload| {
            let ends = (storage, host);
            let about = [ip(ends, TCP, &stray(ends, back, &[])).as_slice(), payload].concat();
            vec![icmp_error((web, storage), &about)]
        });
    }
    all
}

/// The host's own doing: what a container sends to its gateway leads to storage.
const DETOUR: &str = "
table ip detour {
  chain prerouting {
    type nat hook prerouting priority dstnat;
    iifname docker0 udp dport 7001 dnat to 192.168.57.5:9000
    iifname docker0 udp dport 7002 dnat to 192.168.57.10:9000
  }
}
table ip6 detour {
  chain prerouting {
    type nat hook prerouting priority dstnat;
    iifname docker0 udp dport 7001 dnat to [fd57::5]:9000
    iifname docker0 udp dport 7002 dnat to [fd57::a]:9000
  }
}
";

/// Somebody who accepts everything, before and after.
const ACCEPTS: &str = "
table inet generous {
  chain early { type filter hook forward priority -300; accept; }
  chain late { type filter hook forward priority 300; accept; }
  chain input { type filter hook input priority -300; accept; }
}
";

#[test]
fn odd_packets_do_not_get_to_storage() {
    in_namespace(|| {
        let (lab, isoplan) = start(HostSpec::service_instance());
        lab.host().nft_load(DETOUR).expect("lead to storage");
        lab.host().nft_load(ACCEPTS).expect("accept everything");
        let mut sessions =
            Family::BOTH.map(|family| lab.connect_session(family, "host", "storage").expect("connect"));
        let ports = std::array::from_fn(|index| sessions[index].ports().expect("ports of a connection"));
        let odd = odd_packets(&lab, ports);
        let run = |is_right: &dyn Fn(&Outcome) -> bool| -> Vec<String> {
            let outcomes = odd.iter().map(|odd| (&odd.name, odd.run(&lab)));
            let wrong = outcomes.filter(|(_, outcome)| !is_right(outcome));
            wrong.map(|(name, outcome)| format!("{name}: {outcome:?}")).collect()
        };
        let detours = Family::BOTH.map(|family| {
            let gateway = lab.host_address("docker0", family);
            [("storage", 7001), ("host", 7002)]
                .map(|(at, port)| lab.probe(Kind::Udp, family, "web", at).addressed_to(gateway).on_port(port))
        });
        let detours = detours.concat();
        assert_eq!(run(&Outcome::is_delivered), Vec::<String>::new(), "without isoplan");
        crate::check("without isoplan", &detours, Outcome::is_delivered);
        isoplan.run(&["apply", "topology.toml", "--yes"]).ok();
        assert_eq!(run(&|outcome| *outcome == Outcome::Blocked), Vec::<String>::new(), "after apply");
        crate::check("after apply", &detours, crate::is_blocked);
        for session in &mut sessions {
            session.exchange().expect("the host keeps its storage");
        }
    });
}
