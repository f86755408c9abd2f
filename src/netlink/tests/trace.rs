//! Trace messages of a real kernel, and bytes that no kernel sends.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, UdpSocket};
use std::process::Command;
use std::time::{Duration, Instant};

use crate::netlink::TraceSocket;
use crate::netlink::test_ns::{Privilege, in_namespaces, load};
use crate::netlink::trace::events;
use crate::ruleset::Family;
use crate::verify::explanation::{TraceEvent, TraceKind, TraceVerdict};

const RULES: &str = r#"
table inet t {
	chain out {
		type filter hook output priority -450
		meta nftrace set 1
	}
	chain in {
		type filter hook input priority 0; policy drop
		udp dport 9 jump regular
		udp dport 10 goto regular
	}
	chain regular {
		ip daddr 127.0.0.1 counter accept
		ip6 daddr ::1 return
	}
}
"#;

/// What the kernel tells of three datagrams to this host, as it comes.
fn datagrams() -> Vec<Vec<u8>> {
    let output = Command::new("ip").args(["link", "set", "lo", "up"]).output().unwrap();
    assert!(output.status.success(), "{output:?}");
    load(RULES);
    let mut trace = TraceSocket::open().unwrap();
    for (address, port) in [
        (IpAddr::from(Ipv4Addr::LOCALHOST), 9),
        (IpAddr::from(Ipv6Addr::LOCALHOST), 10),
        (IpAddr::from(Ipv4Addr::LOCALHOST), 11),
    ] {
        UdpSocket::bind((address, 0)).unwrap().send_to(b"isoplan", (address, port)).unwrap();
    }
    let mut datagrams: Vec<Vec<u8>> = Vec::new();
    // Another CPU may do the receiving. The last thing to be told is known; the deadline is for a kernel that
    // never tells it.
    let deadline = Instant::now() + Duration::from_secs(10);
    let is_last = |event: TraceEvent| {
        event.chain == "in" && event.header.is_some_and(|header| header.destination_port == Some(11))
    };
    while !datagrams.iter().flat_map(|datagram| events(datagram)).any(is_last)
        || !datagrams
            .last()
            .is_some_and(|datagram| events(datagram).all(|event| event.kind == TraceKind::Policy))
    {
        assert!(Instant::now() < deadline, "the last datagram was not seen");
        match trace.datagram() {
            Ok(datagram) => datagrams.push(datagram.to_vec()),
            Err(_) => std::thread::yield_now(),
        }
    }
    datagrams
}

#[test]
fn what_packets_met_is_told_in_order() {
    let name = "what_packets_met_is_told_in_order";
    in_namespaces(module_path!(), name, Privilege::Rootless, || {
        let told: Vec<TraceEvent> = datagrams().iter().flat_map(|datagram| events(datagram)).collect();
        // Neighbour discovery of IPv6 may be between them.
        let is_ours = |id: u32| {
            let header = told.iter().find(|event| event.id == id).and_then(|event| event.header);
            header.is_some_and(|header| header.protocol == 17)
        };
        let ours: Vec<&TraceEvent> = told.iter().filter(|event| is_ours(event.id)).collect();
        assert!(ours.iter().all(|event| (event.family, event.table.as_str()) == (Family::Inet, "t")));
        let met = ours.iter().filter_map(|event| match event.kind {
            TraceKind::Rule(handle) => {
                assert!(handle > 0);
                Some(format!("{} rule {}", event.chain, event.verdict))
            }
            TraceKind::Policy => Some(format!("{} policy {}", event.chain, event.verdict)),
            // Newer kernels tell of it, and of the return from a chain.
            TraceKind::End | TraceKind::Return => None,
        });
        assert_eq!(
            met.collect::<Vec<_>>(),
            [
                "out rule continue",
                "out policy accept",
                "in rule jump regular",
                "regular rule accept",
                "out rule continue",
                "out policy accept",
                "in rule goto regular",
                "regular rule return",
                "in policy drop",
                "out rule continue",
                "out policy accept",
                "in policy drop",
            ]
        );
        // Once in each base chain.
        let headers = ours.iter().filter_map(|event| Some((event.chain.as_str(), event.header?)));
        let headers: Vec<String> = headers
            .map(|(chain, header)| {
                format!("{chain} {} {}", header.destination, header.destination_port.unwrap_or_default())
            })
            .collect();
        assert_eq!(
            headers,
            [
                "out 127.0.0.1 9",
                "in 127.0.0.1 9",
                "out ::1 10",
                "in ::1 10",
                "out 127.0.0.1 11",
                "in 127.0.0.1 11"
            ]
        );
    });
}

/// Numbers that look random and are the same every time (xorshift).
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    fn below(&mut self, limit: usize) -> usize {
        (self.next() % limit as u64) as usize
    }
}

#[test]
fn broken_messages_are_survived() {
    let name = "broken_messages_are_survived";
    in_namespaces(module_path!(), name, Privilege::Rootless, || {
        let datagrams = datagrams();
        let whole: usize = datagrams.iter().map(|datagram| events(datagram).count()).sum();
        assert!(whole >= 12, "{whole} messages");
        let mut random = Random(0x1505_1a17);
        let mut survived = 0;
        for datagram in &datagrams {
            for len in 0..datagram.len() {
                assert_eq!(events(&datagram[..len]).count(), 0, "{len} bytes of a message");
            }
            for _ in 0..2000 {
                let mut bytes = datagram.clone();
                for _ in 0..=random.below(4) {
                    let at = random.below(bytes.len());
                    bytes[at] = random.next() as u8;
                }
                survived += events(&bytes).count();
            }
        }
        assert!(survived > 1000, "most of a scrambled message is still read");
    });
    let mut random = Random(7);
    for _ in 0..20_000 {
        let bytes: Vec<u8> = (0..random.below(200)).map(|_| (random.next() % 24) as u8).collect();
        assert_eq!(events(&bytes).count(), 0);
    }
}

#[test]
fn verdicts_that_nobody_knows_are_kept() {
    // A message as the kernel lays it out, in the byte order of this machine.
    let attribute = |kind: u16, payload: &[u8]| {
        let mut bytes = (4 + payload.len() as u16).to_ne_bytes().to_vec();
        bytes.extend_from_slice(&kind.to_ne_bytes());
        bytes.extend_from_slice(payload);
        bytes.resize(bytes.len().next_multiple_of(4), 0);
        bytes
    };
    let message = |code: i32| {
        let mut attributes = attribute(6, &7_u32.to_be_bytes());
        attributes.extend(attribute(1, b"t\0"));
        attributes.extend(attribute(2, b"c\0"));
        attributes.extend(attribute(4, &3_u32.to_be_bytes()));
        attributes.extend(attribute(3, &5_u64.to_be_bytes()));
        attributes.extend(attribute(5, &attribute(1, &code.to_be_bytes())));
        let mut bytes = (20 + attributes.len() as u32).to_ne_bytes().to_vec();
        bytes.extend_from_slice(&(10_u16 << 8 | 17).to_ne_bytes());
        bytes.extend_from_slice(&[0; 10]);
        bytes.extend_from_slice(&[1, 0, 0, 0]);
        bytes.extend(attributes);
        bytes
    };
    let verdict = |code| events(&message(code)).next().map(|event| event.verdict);
    assert_eq!(verdict(0), Some(TraceVerdict::Drop));
    assert_eq!(verdict(3 | 9 << 16).map(|verdict| verdict.to_string()).as_deref(), Some("queue"));
    assert_eq!(verdict(-77).map(|verdict| verdict.to_string()).as_deref(), Some("verdict -77"));
    let mut other = message(1);
    other[4] = 16;
    assert_eq!(events(&other).count(), 0, "another kind of message");
}
