//! Flows that are forgotten, one and all.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::process::Command;

use socket2::{Domain, Protocol, Socket, Type};

use crate::netlink::conntrack::{Conntrack, Flow, FlowKey};
use crate::netlink::test_ns::{self, Privilege};

/// Conntrack looks at packets only where a rule asks for it.
const TRACKS: &str = "table inet t {
  chain c {
    type filter hook output priority 0
    ct state new counter
  }
}
";

/// Whether a flow was there and is forgotten now.
fn forget(conntrack: &mut Conntrack, flow: &Flow) -> bool {
    conntrack.forget(flow).expect("forget a flow")
}

fn send_echo(to: IpAddr, id: u16) {
    let to = SocketAddr::new(to, 0);
    // For ICMPv6 the kernel writes the checksum.
    let (kind, protocol) = if to.is_ipv4() { (8, Protocol::ICMPV4) } else { (128, Protocol::ICMPV6) };
    let [high, low] = id.to_be_bytes();
    let sum = !(0x800 + id + 1);
    let [sum_high, sum_low] = sum.to_be_bytes();
    let socket = Socket::new(Domain::for_address(to), Type::RAW, Some(protocol)).expect("open a raw socket");
    socket.send_to(&[kind, 0, sum_high, sum_low, high, low, 0, 1], &to.into()).expect("send");
}

#[test]
fn one_flow_and_all() {
    test_ns::in_namespaces(module_path!(), "one_flow_and_all", Privilege::Rootless, || {
        let up = Command::new("ip").args(["link", "set", "lo", "up"]).status().expect("ip starts");
        assert!(up.success());
        test_ns::load(TRACKS);
        let mut conntrack = Conntrack::open().expect("open a socket");
        let here = [Ipv4Addr::LOCALHOST.into(), Ipv6Addr::LOCALHOST.into()];
        let flows = here.map(|address: IpAddr| {
            let [near, far] = [(); 2].map(|()| UdpSocket::bind((address, 0)).expect("bind"));
            let to = far.local_addr().expect("an address");
            near.send_to(b"x", to).expect("send");
            let from = near.local_addr().expect("an address");
            let key = FlowKey::Ports(from.port(), to.port());
            Flow { source: address, destination: address, protocol: 17, key }
        });
        let [v4, v6] = flows;
        let other = Flow { key: FlowKey::Ports(1, 1), ..v4 };
        assert!(!forget(&mut conntrack, &other), "there is no such flow");
        assert!(forget(&mut conntrack, &v4));
        assert!(!forget(&mut conntrack, &v4), "it is forgotten already");
        conntrack.flush().expect("flush");
        assert!(!forget(&mut conntrack, &v6), "all are forgotten");
        // Protocols without ports, and echo requests.
        let echo = Flow { protocol: 1, key: FlowKey::Echo(7), ..v4 };
        let bare = Flow { protocol: 253, key: FlowKey::None, ..v6 };
        let gre = Flow { protocol: 47, key: FlowKey::Ports(0, 0), ..v6 };
        assert!(![echo, bare, gre].iter().any(|flow| forget(&mut conntrack, flow)));
        for (flow, id) in [
            (Flow { key: FlowKey::Echo(77), protocol: 1, ..v4 }, 77),
            (Flow { protocol: 58, key: FlowKey::Echo(78), ..v6 }, 78),
        ] {
            send_echo(flow.destination, id);
            assert!(forget(&mut conntrack, &flow), "an echo request to {}", flow.destination);
        }
    });
}
