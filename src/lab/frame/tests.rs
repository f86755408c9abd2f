use std::net::IpAddr;

use etherparse::{LinkExtSlice, NetSlice, SlicedPacket, TransportSlice};
use proptest::prelude::*;

use super::mark::{self, Mark};
use super::{Id, body, frames, sentinel};
use crate::verify::packet::{Body, IpExtra, Packet, Pieces, Tag, To};
use crate::verify::world::Mac;

const FROM: Mac = [2, 0, 0, 0, 0, 1];
const HOST: Mac = [2, 0, 0, 0, 0, 2];
const ID: Id = Id(0x1234_abcd);
const PORT: u16 = 40_001;

fn address(text: &str) -> IpAddr {
    text.parse().expect("an address")
}

fn packet(is_v4: bool, body: Body) -> Packet {
    let [source, destination] = if is_v4 { ["172.17.0.2", "192.168.57.5"] } else { ["fd17::2", "fd57::5"] };
    Packet {
        to: To::Host,
        tags: Vec::new(),
        source: address(source),
        destination: address(destination),
        hops: 64,
        extra: IpExtra::None,
        body,
        pieces: Pieces::One,
    }
}

/// The only frame.
fn one(packet: &Packet) -> Vec<u8> {
    let [frame] = frames(packet, ID, FROM, HOST, PORT).try_into().expect("one frame");
    frame
}

fn ends(packet: &SlicedPacket<'_>) -> (IpAddr, IpAddr) {
    match packet.net.as_ref().expect("IP") {
        NetSlice::Ipv4(ip) => (ip.header().source_addr().into(), ip.header().destination_addr().into()),
        NetSlice::Ipv6(ip) => (ip.header().source_addr().into(), ip.header().destination_addr().into()),
        NetSlice::Arp(_) => panic!("ARP"),
    }
}

/// Whether the checksum behind the IP header is right, for a packet to `destination`.
#[track_caller]
fn check_sum(packet: &SlicedPacket<'_>, destination: IpAddr) {
    let source = ends(packet).0;
    match (packet.transport.as_ref(), source, destination) {
        (Some(TransportSlice::Udp(udp)), IpAddr::V4(source), IpAddr::V4(destination)) => {
            let sum =
                udp.to_header().calc_checksum_ipv4_raw(source.octets(), destination.octets(), udp.payload());
            assert_eq!(sum.expect("short"), udp.checksum());
        }
        (Some(TransportSlice::Udp(udp)), IpAddr::V6(source), IpAddr::V6(destination)) => {
            let sum =
                udp.to_header().calc_checksum_ipv6_raw(source.octets(), destination.octets(), udp.payload());
            assert_eq!(sum.expect("short"), udp.checksum());
        }
        (Some(TransportSlice::Tcp(tcp)), IpAddr::V4(source), IpAddr::V4(destination)) => {
            let sum = tcp.calc_checksum_ipv4(source.octets(), destination.octets());
            assert_eq!(sum.expect("short"), tcp.checksum());
        }
        (Some(TransportSlice::Tcp(tcp)), IpAddr::V6(source), IpAddr::V6(destination)) => {
            let sum = tcp.calc_checksum_ipv6(source.octets(), destination.octets());
            assert_eq!(sum.expect("short"), tcp.checksum());
        }
        (Some(TransportSlice::Icmpv4(icmp)), _, _) => {
            let mut header = icmp.header();
            header.update_checksum(icmp.payload());
            assert_eq!(header.checksum, icmp.checksum());
        }
        (Some(TransportSlice::Icmpv6(icmp)), IpAddr::V6(source), IpAddr::V6(destination)) => {
            let mut header = icmp.header();
            header.update_checksum(source.octets(), destination.octets(), icmp.payload()).expect("short");
            assert_eq!(header.checksum, icmp.checksum());
        }
        _ => {}
    }
    if let Some(NetSlice::Ipv4(ip)) = &packet.net {
        let header = ip.header().to_header();
        assert_eq!(header.calc_header_checksum(), header.header_checksum);
    }
}

#[test]
fn every_body_is_read_back() {
    for is_v4 in [true, false] {
        let quoted = packet(is_v4, Body::Echo);
        let bodies = [
            Body::Echo,
            Body::Udp { port: 9 },
            Body::TcpSyn { port: 9 },
            Body::TcpAck { port: 9 },
            Body::TcpInvalid { port: 9 },
            Body::Protocol(47),
            Body::Protocol(50),
            Body::Sctp { port: 9 },
            Body::Unreachable { source: (quoted.destination, 5), destination: (quoted.source, 6) },
        ];
        for body in bodies {
            let packet = packet(is_v4, body.clone());
            let frame = one(&packet);
            let read = SlicedPacket::from_ethernet(&frame).expect("a packet");
            assert_eq!(ends(&read), (packet.source, packet.destination));
            check_sum(&read, packet.destination);
            let protocol = read.ip_payload().expect("a payload").ip_number.0;
            match (body, read.transport.as_ref()) {
                (Body::Echo, Some(TransportSlice::Icmpv4(_) | TransportSlice::Icmpv6(_))) => {
                    assert_eq!(mark::find(&frame), Some((Mark::Probe, ID)));
                }
                (Body::Unreachable { .. }, Some(TransportSlice::Icmpv4(_) | TransportSlice::Icmpv6(_))) => {
                    assert_eq!(mark::find(&frame), Some((Mark::Error, ID)));
                }
                (Body::Udp { port }, Some(TransportSlice::Udp(udp))) => {
                    assert_eq!((udp.source_port(), udp.destination_port()), (PORT, port));
                    assert_eq!(mark::find(udp.payload()), Some((Mark::Probe, ID)));
                }
                (Body::TcpSyn { port }, Some(TransportSlice::Tcp(tcp))) => {
                    assert_eq!((tcp.source_port(), tcp.destination_port()), (PORT, port));
                    assert_eq!((tcp.sequence_number(), tcp.syn(), tcp.ack()), (ID.0, true, false));
                    assert!(tcp.payload().is_empty());
                }
                (Body::TcpAck { .. }, Some(TransportSlice::Tcp(tcp))) => {
                    assert_eq!((tcp.sequence_number(), tcp.syn(), tcp.ack()), (ID.0, false, true));
                }
                (Body::TcpInvalid { .. }, Some(TransportSlice::Tcp(tcp))) => {
                    assert_eq!(
                        (tcp.sequence_number(), tcp.syn(), tcp.fin(), tcp.rst()),
                        (ID.0, true, true, true)
                    );
                }
                (Body::Sctp { port }, None) => {
                    let bytes = read.ip_payload().expect("a payload").payload;
                    assert_eq!(bytes[..4], [PORT.to_be_bytes(), port.to_be_bytes()].concat());
                    let without = [&bytes[..8], &[0; 4], &bytes[12..]].concat();
                    assert_eq!(bytes[8..12], body::crc32c(&without).to_le_bytes());
                    // The one chunk is as long as it says.
                    assert_eq!(usize::from(u16::from_be_bytes([bytes[14], bytes[15]])), bytes.len() - 12);
                    assert_eq!(mark::find(bytes), Some((Mark::Probe, ID)));
                }
                (Body::Protocol(number), None) => {
                    assert_eq!(protocol, number);
                    assert_eq!(mark::find(&frame), Some((Mark::Probe, ID)));
                }
                (body, other) => panic!("{body:?} is read as {other:?}"),
            }
        }
    }
}

/// The check value of CRC-32C, RFC 3720, section B.4: 32 bytes of zeros.
#[test]
fn the_checksum_of_sctp() {
    assert_eq!(body::crc32c(&[0; 32]), 0x8a91_36aa);
    assert_eq!(body::crc32c(b"123456789"), 0xe306_9283);
}

#[test]
fn options_and_extension_headers() {
    let via = address("172.17.0.1");
    let v4 = [
        (IpExtra::RecordRoute, 7, false),
        (IpExtra::Timestamp, 68, false),
        (IpExtra::LooseSourceRoute { via }, 131, true),
        (IpExtra::StrictSourceRoute { via }, 137, true),
    ];
    for (extra, number, is_routed) in v4 {
        let packet = Packet { extra, ..packet(true, Body::Udp { port: 9 }) };
        let frame = one(&packet);
        let read = SlicedPacket::from_ethernet(&frame).expect("a packet");
        let Some(NetSlice::Ipv4(ip)) = &read.net else { panic!("IPv4") };
        assert_eq!(ip.header().options()[0], number);
        assert_eq!(ends(&read).1, if is_routed { via } else { packet.destination });
        if is_routed {
            let IpAddr::V4(destination) = packet.destination else { panic!("IPv4") };
            assert_eq!(ip.header().options()[3..7], destination.octets());
        }
        check_sum(&read, packet.destination);
    }
    let via = address("fd17::1");
    for extra in [IpExtra::HopByHop, IpExtra::DestinationOptions, IpExtra::SegmentRouting { via }] {
        let packet = Packet { extra: extra.clone(), ..packet(false, Body::Udp { port: 9 }) };
        let frame = one(&packet);
        let read = SlicedPacket::from_ethernet(&frame).expect("a packet");
        let is_routed = matches!(extra, IpExtra::SegmentRouting { .. });
        assert_eq!(ends(&read).1, if is_routed { via } else { packet.destination });
        // Found behind the extension header.
        assert!(matches!(read.transport, Some(TransportSlice::Udp(_))), "{extra:?}");
        check_sum(&read, packet.destination);
        if let (Some(NetSlice::Ipv6(ip)), true) = (&read.net, is_routed) {
            let bytes = ip.extensions().slice();
            assert_eq!(bytes.len(), 40);
            assert_eq!(bytes[1..5], [4, 4, 1, 1]);
        }
    }
}

#[test]
fn tags_and_link_layer_addresses() {
    let tags = vec![Tag { ethertype: 0x88a8, vlan: 5 }, Tag { ethertype: 0x8100, vlan: 0 }];
    let frame = one(&Packet { tags, ..packet(true, Body::Udp { port: 9 }) });
    let read = SlicedPacket::from_ethernet(&frame).expect("a packet");
    let [LinkExtSlice::Vlan(outer), LinkExtSlice::Vlan(inner)] = read.link_exts.as_slice() else {
        panic!("two tags: {:?}", read.link_exts)
    };
    assert_eq!((outer.vlan_identifier().value(), inner.vlan_identifier().value()), (5, 0));
    let to = |to, destination: &str| {
        let destination = address(destination);
        let source = packet(destination.is_ipv4(), Body::Echo).source;
        one(&Packet { to, source, destination, ..packet(true, Body::Echo) })[..6].to_vec()
    };
    assert_eq!(to(To::Host, "192.168.57.5"), HOST);
    assert_eq!(to(To::Broadcast, "192.168.57.255"), [0xff; 6]);
    assert_eq!(to(To::Group, "224.129.2.3"), [1, 0, 0x5e, 1, 2, 3]);
    assert_eq!(to(To::Group, "ff02::1:2"), [0x33, 0x33, 0, 1, 0, 2]);
    assert_eq!(to(To::Mac([7; 6]), "192.168.57.5"), [7; 6]);
}

#[test]
fn what_there_is_not() {
    let v4 = packet(true, Body::Echo);
    let mixed = Packet { destination: address("fd57::5"), ..v4.clone() };
    let hop_by_hop = Packet { extra: IpExtra::HopByHop, ..v4.clone() };
    let route = Packet { extra: IpExtra::RecordRoute, ..packet(false, Body::Echo) };
    let via = Packet { extra: IpExtra::LooseSourceRoute { via: address("fd17::1") }, ..v4 };
    for none in [mixed, hop_by_hop, route, via] {
        assert_eq!(frames(&none, ID, FROM, HOST, PORT), Vec::<Vec<u8>>::new());
    }
}

#[test]
fn a_sentinel_has_its_mark() {
    let frame = sentinel(HOST, FROM, ID);
    assert_eq!(frame[12..14], [0x88, 0xb5]);
    assert_eq!(mark::find(&frame), Some((Mark::Sentinel, ID)));
}

/// What the fragments hold, put together; with whether each has a mark.
fn put_together(frames: &[Vec<u8>]) -> (Vec<u8>, Vec<bool>) {
    let mut whole = Vec::new();
    let mut marked = Vec::new();
    for frame in frames {
        let read = SlicedPacket::from_ethernet(frame).expect("a packet");
        let payload = read.ip_payload().expect("a payload").payload;
        whole.extend_from_slice(payload);
        marked.push(mark::find(payload).is_some());
    }
    (whole, marked)
}

fn bodies() -> impl Strategy<Value = Body> {
    let port = any::<u16>();
    prop_oneof![
        Just(Body::Echo),
        port.prop_map(|port| Body::Udp { port }),
        port.prop_map(|port| Body::TcpSyn { port }),
        port.prop_map(|port| Body::TcpAck { port }),
        port.prop_map(|port| Body::TcpInvalid { port }),
        // None that is an extension header.
        prop::sample::select(vec![4_u8, 47, 50, 253]).prop_map(Body::Protocol),
        port.prop_map(|port| Body::Sctp { port }),
        any::<[u16; 2]>().prop_map(|[a, b]| Body::Unreachable {
            source: (address("192.0.2.1"), a),
            destination: (address("192.0.2.2"), b)
        }),
    ]
}

proptest! {
    #[test]
    fn fragments_are_the_packet(
        is_v4 in any::<bool>(),
        body in bodies(),
        pieces in prop::sample::select(vec![Pieces::Two, Pieces::Tiny]),
        extra in prop::sample::select(vec![IpExtra::None, IpExtra::RecordRoute, IpExtra::HopByHop]),
        id in any::<u32>(),
        hops in 1..=255_u8,
    ) {
        let cut = Packet { pieces, extra, hops, ..packet(is_v4, body.clone()) };
        let (frames, id) = (frames(&cut, Id(id), FROM, HOST, PORT), Id(id));
        let has_extra = match cut.extra {
            IpExtra::RecordRoute => is_v4,
            IpExtra::HopByHop => !is_v4,
            _ => true,
        };
        prop_assert_eq!(frames.len(), if has_extra { 2 } else { 0 });
        if has_extra {
            let (whole, marked) = put_together(&frames);
            let (_, expected) = body::bytes(&cut, id, PORT).expect("a body");
            prop_assert_eq!(&whole, &expected);
            prop_assert!(marked[1]);
            if cut.pieces == Pieces::Two {
                prop_assert!(marked[0]);
            }
            let kind = if matches!(body, Body::Unreachable { .. }) { Mark::Error } else { Mark::Probe };
            prop_assert_eq!(mark::find(&whole), Some((kind, id)));
        }
    }

    #[test]
    fn random_packets_are_read_back(
        is_v4 in any::<bool>(),
        body in bodies(),
        tags in prop::collection::vec((prop::sample::select(vec![0x8100_u16, 0x88a8]), 0..4095_u16), 0..3),
        ends in any::<[u128; 2]>(),
        id in any::<u32>(),
        source_port in any::<u16>(),
    ) {
        let [source, destination] = ends.map(|bits| -> IpAddr {
            if is_v4 { std::net::Ipv4Addr::from(bits as u32).into() } else { std::net::Ipv6Addr::from(bits).into() }
        });
        let tags: Vec<_> = tags.into_iter().map(|(ethertype, vlan)| Tag { ethertype, vlan }).collect();
        let packet = Packet { tags: tags.clone(), source, destination, ..packet(is_v4, body) };
        let frames = frames(&packet, Id(id), FROM, HOST, source_port);
        prop_assert_eq!(frames.len(), 1);
        let read = SlicedPacket::from_ethernet(&frames[0]).expect("a packet");
        prop_assert_eq!(super::tests::ends(&read), (source, destination));
        prop_assert_eq!(read.link_exts.len(), tags.len());
        check_sum(&read, destination);
    }
}
