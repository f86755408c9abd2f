use std::net::IpAddr;

use etherparse::PacketBuilder;
use proptest::prelude::*;

use super::super::frame::mark::{self, Mark};
use super::super::frame::{Id, frames, sentinel};
use super::{Identity, Read, Role, Seen, What, frame, read};
use crate::verify::packet::{Body, IpExtra, Packet, Pieces, Tag, To};

const ID: Id = Id(0xdead_0001);
const OTHER: Id = Id(0xdead_0002);
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

fn bytes(packet: &Packet) -> Vec<Vec<u8>> {
    frames(packet, ID, [2, 0, 0, 0, 0, 1], [2, 0, 0, 0, 0, 2], PORT)
}

fn seen(frame_bytes: &[u8]) -> Seen {
    match frame(frame_bytes) {
        Some(Read::Packet(seen)) => seen,
        other => panic!("no packet: {other:?}"),
    }
}

const BODIES: [fn(IpAddr, IpAddr) -> Body; 9] = [
    |_, _| Body::Echo,
    |_, _| Body::Udp { port: 9 },
    |_, _| Body::TcpSyn { port: 9 },
    |_, _| Body::TcpAck { port: 9 },
    |_, _| Body::TcpInvalid { port: 9 },
    |_, _| Body::Sctp { port: 9 },
    |_, _| Body::Protocol(47),
    |_, _| Body::Protocol(253),
    |a, b| Body::Unreachable { source: (b, 5), destination: (a, 6) },
];

/// Every packet that can be sent, with its extras, tags and pieces.
fn all_packets() -> Vec<Packet> {
    let mut all = Vec::new();
    for is_v4 in [true, false] {
        let via = packet(is_v4, Body::Echo).source;
        let extras = if is_v4 {
            vec![IpExtra::None, IpExtra::RecordRoute, IpExtra::Timestamp, IpExtra::LooseSourceRoute { via }]
        } else {
            vec![
                IpExtra::None,
                IpExtra::HopByHop,
                IpExtra::DestinationOptions,
                IpExtra::SegmentRouting { via },
            ]
        };
        for make in BODIES {
            let plain = packet(is_v4, Body::Echo);
            let plain = Packet { body: make(plain.source, plain.destination), ..plain };
            for extra in &extras {
                for pieces in [Pieces::One, Pieces::Two, Pieces::Tiny] {
                    for tags in
                        [vec![], vec![Tag { ethertype: 0x88a8, vlan: 3 }, Tag { ethertype: 0x8100, vlan: 0 }]]
                    {
                        all.push(Packet { tags, pieces, extra: extra.clone(), ..plain.clone() });
                    }
                }
            }
        }
    }
    all
}

#[test]
fn a_probe_is_known_in_every_form() {
    for packet in all_packets() {
        let is_segment =
            matches!(packet.body, Body::TcpSyn { .. } | Body::TcpAck { .. } | Body::TcpInvalid { .. });
        let identity = Identity { is_segment, ..Identity::marked(ID) };
        let stranger = Identity { id: OTHER, ..identity };
        let frames = bytes(&packet);
        let roles: Vec<_> = frames.iter().map(|frame| identity.role(&seen(frame))).collect();
        // 8 bytes of a header show ports and sequence number, and nothing of a payload.
        let is_bare = packet.pieces == Pieces::Tiny && !is_segment;
        let expected = if is_bare { Role::Other } else { Role::Probe };
        assert_eq!(roles[0], expected, "{packet:?}");
        assert!(roles[1..].iter().all(|role| *role == Role::Probe), "{packet:?}: {roles:?}");
        for frame in &frames {
            let seen = seen(frame);
            assert_eq!(stranger.role(&seen), Role::Other, "{packet:?}");
            assert_eq!(seen.source, packet.source);
            assert_eq!(seen.from, Some([2, 0, 0, 0, 0, 1]));
            // Also without the link's header, as on the host.
            let start = frame.len().min(14 + 4 * packet.tags.len());
            let Some(Read::Packet(raw)) = read::ip(&frame[start..]) else { panic!("no packet") };
            assert_eq!(raw, Seen { from: None, ..seen });
        }
        let first = seen(&frames[0]);
        let has_ports = is_segment || matches!(packet.body, Body::Udp { .. } | Body::Sctp { .. });
        assert_eq!(first.source_port, has_ports.then_some(PORT), "{packet:?}");
        assert_eq!(first.destination_port, has_ports.then_some(9), "{packet:?}");
    }
}

/// A packet of the other side to the one who sent the probe.
fn back(make: impl FnOnce(PacketBuilderStep) -> Vec<u8>) -> Seen {
    let ip = PacketBuilder::ethernet2([2; 6], [4; 6]).ipv4([192, 168, 57, 5], [172, 17, 0, 2], 64);
    seen(&make(ip))
}

type PacketBuilderStep = etherparse::PacketBuilderStep<etherparse::IpHeaders>;

fn written(step: etherparse::PacketBuilderStep<etherparse::UdpHeader>, payload: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    step.write(&mut bytes, payload).expect("a short packet");
    bytes
}

#[test]
fn an_answer_is_known() {
    let identity = Identity::marked(ID);
    let (probe, answer) = (mark::payload(Mark::Probe, ID), mark::payload(Mark::Answer, ID));
    let udp = back(|ip| written(ip.udp(9, PORT), &answer));
    assert_eq!(identity.role(&udp), Role::Answer);
    let echo = back(|ip| {
        let mut bytes = Vec::new();
        ip.icmpv4_echo_reply(PORT, 1).write(&mut bytes, &probe).expect("a short packet");
        bytes
    });
    assert_eq!(identity.role(&echo), Role::Answer);
    let tcp = |ack: u32, is_ack: bool| {
        back(|ip| {
            let step = ip.tcp(9, PORT, 77, 1000).syn();
            let mut bytes = Vec::new();
            if is_ack { step.ack(ack) } else { step }.write(&mut bytes, &[]).expect("a short packet");
            bytes
        })
    };
    let segment = Identity { is_segment: true, ..identity };
    assert_eq!(segment.role(&tcp(ID.0 + 1, true)), Role::Answer);
    assert_eq!(segment.role(&tcp(ID.0, true)), Role::Other);
    assert_eq!(segment.role(&tcp(ID.0 + 1, false)), Role::Other);
    let syn = Identity { syn_from: Some(PORT), ..identity };
    assert_eq!(syn.role(&tcp(5, true)), Role::Answer);
    assert_eq!(syn.role(&tcp(5, false)), Role::Other, "a SYN to the port");
    let syn = Identity { syn_from: Some(9), ..identity };
    assert_eq!(syn.role(&tcp(5, false)), Role::Probe, "a SYN from the port");
    assert_eq!(syn.role(&tcp(5, true)), Role::Other);
}

/// An error about the probe is not the probe; the error that is the probe is.
#[test]
fn an_error_about_a_probe_is_nothing() {
    for is_v4 in [true, false] {
        for make in BODIES {
            let plain = packet(is_v4, Body::Echo);
            let about =
                bytes(&Packet { body: make(plain.source, plain.destination), ..plain.clone() }).remove(0);
            let mut error = bytes(&packet(is_v4, Body::Echo)).remove(0);
            let header = if is_v4 { 34 } else { 54 };
            error.truncate(header);
            // Destination unreachable, with the packet that it is about.
            error.extend([if is_v4 { 3 } else { 1 }, 3, 0, 0, 0, 0, 0, 0]);
            error.extend(&about[14..]);
            let length =
                u16::try_from(error.len() - if is_v4 { 14 } else { 54 }).expect("short").to_be_bytes();
            let at = if is_v4 { 16 } else { 18 };
            error[at..at + 2].copy_from_slice(&length);
            let seen = seen(&error);
            assert_eq!(seen.what, What::Icmp);
            // No kernel sends an error about an error: RFC 1122, section 3.2.2; RFC 4443, section 2.4.
            let is_error = matches!(make(plain.source, plain.destination), Body::Unreachable { .. });
            let identity = Identity { id: ID, is_segment: true, syn_from: Some(PORT) };
            let expected = if is_error { Role::Probe } else { Role::Other };
            assert_eq!(identity.role(&seen), expected, "{:?}", make(plain.source, plain.destination));
        }
    }
}

#[test]
fn what_is_in_a_tunnel_has_not_arrived_yet() {
    let tunnelled = |inner: &[u8]| {
        let payload = [&[8, 0, 0, 0, 0, 0, 42, 0], inner].concat();
        let ip = PacketBuilder::ethernet2([2; 6], [4; 6]).ipv4([192, 0, 2, 1], [192, 0, 2, 2], 64);
        frame(&written(ip.udp(50_000, 4789), &payload))
    };
    let probe = bytes(&packet(true, Body::Udp { port: 9 })).remove(0);
    let Some(Read::Packet(seen)) = tunnelled(&probe) else { panic!("a packet") };
    assert_eq!((seen.what, Identity::marked(ID).role(&seen)), (What::Tunnel, Role::Other));
    assert!(matches!(tunnelled(&sentinel([2; 6], [4; 6], ID)), Some(Read::Packet(_))));
    assert_eq!(frame(&sentinel([2; 6], [4; 6], ID)), Some(Read::Sentinel(ID)));
}

#[test]
fn what_is_neither() {
    for ethertype in [0x0806_u16, 0x88cc, 0x88b6] {
        let mut bytes = vec![2; 12];
        bytes.extend(ethertype.to_be_bytes());
        bytes.extend(mark::payload(Mark::Sentinel, ID));
        assert_eq!(frame(&bytes), None);
    }
    // A neighbour solicitation, as every link has them.
    let mut bytes = vec![0x33; 14];
    bytes[12..].copy_from_slice(&[0x86, 0xdd]);
    bytes.extend([0x60, 0, 0, 0, 0, 24, 58, 255]);
    bytes.extend([0; 32]);
    bytes.extend([135, 0, 0, 0]);
    bytes.extend([0; 20]);
    let identity = Identity { id: Id(0), is_segment: true, syn_from: Some(0) };
    assert_eq!(identity.role(&seen(&bytes)), Role::Other);
}

#[test]
fn cut_short_anywhere() {
    for packet in all_packets() {
        for whole in bytes(&packet) {
            for length in 0..whole.len() {
                let _ = frame(&whole[..length]);
                let _ = read::ip(&whole[length..]);
            }
        }
    }
}

proptest! {
    #[test]
    fn nothing_panics(bytes in prop::collection::vec(any::<u8>(), 0..200), ethertype in 0..5_usize, version in any::<u8>()) {
        let mut bytes = bytes;
        if bytes.len() > 14 {
            let ethertypes = [[0x08, 0x00], [0x86, 0xdd], [0x81, 0x00], [0x88, 0xa8], [0x88, 0xb5]];
            bytes[12..14].copy_from_slice(&ethertypes[ethertype]);
            bytes[14] = if ethertype == 0 { 0x40 } else { 0x60 } | (version & 0x0f);
        }
        if let Some(Read::Packet(seen)) = frame(&bytes) {
            let identity = Identity { id: ID, is_segment: true, syn_from: Some(PORT) };
            prop_assert_eq!(identity.role(&seen), Role::Other);
        }
        let _ = read::ip(&bytes);
        let source = address("fd17::2");
        for protocol in [1, 6, 17, 58, 132] {
            let _ = read::packet(source, None, protocol, false, &bytes);
        }
    }
}
