//! Probes of exceptions: what each opens, and what is next to it.
//!
//! These depend on what the file says, so that they are not in the table: each exception has a packet that it lets
//! through, and one that differs from it in each thing that an exception is narrow in.

use std::net::IpAddr;

use super::judge::{Flow, Passes, family_of};
use super::make::{HOPS, Maker};
use super::pairs::Object;
use crate::intent::{IpFamily, Party};
use crate::topology::{Allow, NetworkKind, PortRange, Protocol};
use crate::verify::outcome::Expected;
use crate::verify::packet::{Body, IpExtra, Packet, Pieces, To};
use crate::verify::probe::{Class, PORT, Probe, Sending, Transport};
use crate::verify::question::Question;
use crate::verify::world::{NodeRole, Place};

/// Of how many exceptions.
const MOST: usize = 12;

const OPENED: &str = "What the file lets through on purpose does not get through.";
const PORTS: &str = "An exception for one port opens the one next to it.";
const PROTOCOL: &str = "An exception for one protocol opens another.";
const ADDRESS: &str = "An exception for one server opens its neighbour.";
const NETWORK: &str = "An exception for one network opens the way to another.";
const SOURCE: &str = "A container gets through an exception with an address that is not of its network.";
const BORROWED: &str = "Another network gets through an exception with an address of the one it is for.";
const BACK: &str = "An exception is for connections in one direction, and opens the other.";

/// One packet that is like what an exception is for, or almost.
struct Case {
    /// As in the table of entries.
    name: &'static str,
    threat: &'static str,
    sender: Place,
    /// Other than the sender's own address.
    forged: Option<IpAddr>,
    receiver: Place,
    destination: IpAddr,
    protocol: Protocol,
    port: u16,
}

pub(super) fn probes(maker: &Maker<'_>) -> Vec<Probe> {
    let allows = maker.intent.topology.allows.iter().zip(&maker.intent.exceptions).zip(&maker.world.targets);
    let allows = (1..).zip(allows).take(MOST);
    let made = allows.flat_map(|(number, ((allow, pair), target))| {
        let cases = match (pair, target) {
            (Some((from, to)), Some(target)) => {
                cases(maker, allow, *from, *to, (target.place, target.address))
            }
            _ => None,
        };
        cases.into_iter().flatten().filter_map(move |case| probe(maker, number, &case))
    });
    made.collect()
}

/// The packets of an exception.
fn cases(
    maker: &Maker<'_>,
    allow: &Allow,
    from: Party,
    to: Party,
    (receiver, destination): (Place, IpAddr),
) -> Option<Vec<Case>> {
    let family = family_of(destination);
    let covered = |place: &Place| {
        let address = maker.world.node(*place).address(family);
        address.is_some_and(|address| allow.from_subnets.iter().any(|net| net.contains(&address)))
    };
    let of_party = |party: Party| {
        maker.world.places(|_| true).into_iter().filter(move |place| maker.world.party(*place) == Some(party))
    };
    let sender = of_party(from).find(covered)?;
    // Where any protocol may pass, one of them.
    let protocol = allow.protocol.unwrap_or(Protocol::Udp);
    let first = allow.ports.first().map_or(PORT, |range| range.first);
    let plain = |name, threat| Case {
        name,
        threat,
        sender,
        forged: None,
        receiver,
        destination,
        protocol,
        port: first,
    };
    let mut cases = vec![plain("allowed", OPENED)];
    if let (true, Some(PortRange { last, .. })) = (allow.ports.len() > 1, allow.ports.last()) {
        cases.push(Case { port: *last, ..plain("allowed-last", OPENED) });
    }
    if let Some(PortRange { last, .. }) = allow.ports.last() {
        let beside = [("port-above", last.checked_add(1)), ("port-below", first.checked_sub(1))];
        let beside =
            beside.into_iter().filter_map(|(name, port)| Some((name, port.filter(|port| *port > 0)?)));
        cases.extend(beside.map(|(name, port)| Case { port, ..plain(name, PORTS) }));
    }
    if allow.protocol.is_some() {
        let other = if protocol == Protocol::Udp { Protocol::Tcp } else { Protocol::Udp };
        cases.push(Case { protocol: other, ..plain("other-protocol", PROTOCOL) });
    }
    // Somebody else on that side.
    let beside = of_party(to).find_map(|place| {
        let mut addresses = maker.world.node(place).addresses.iter().map(ipnet::IpNet::addr);
        let is_other = |address: &IpAddr| family_of(*address) == family && !allow.to.contains(address);
        addresses.find(is_other).map(|address| (place, address))
    });
    if let Some((receiver, destination)) = beside {
        cases.push(Case { receiver, destination, ..plain("other-address", ADDRESS) });
    }
    let own = maker.world.node(sender).address(family)?;
    let is_stranger = |place: &Place| {
        let role = maker.world.node(*place).role;
        let party = maker.world.party(*place);
        matches!(role, NodeRole::Container { number: 1, .. } | NodeRole::Server(_))
            && party != Some(from)
            && party != Some(to)
            && maker.world.node(*place).address(family).is_some()
    };
    let stranger = maker.world.places(|_| true).into_iter().find(is_stranger);
    if let Some(stranger) = stranger {
        cases.push(Case { sender: stranger, ..plain("other-network", NETWORK) });
        cases.push(Case { sender: stranger, forged: Some(own), ..plain("borrowed", BORROWED) });
        let theirs = maker.world.node(stranger).address(family);
        cases.push(Case { forged: theirs, ..plain("forged", SOURCE) });
    }
    cases.push(Case { sender: receiver, receiver: sender, destination: own, ..plain("reversed", BACK) });
    Some(cases)
}

fn probe(maker: &Maker<'_>, number: usize, case: &Case) -> Option<Probe> {
    let Case { sender, destination, protocol, port, .. } = *case;
    let family = family_of(destination);
    // An exception for ICMP is of one family.
    let source = case.forged.or_else(|| maker.world.node(sender).address(family))?;
    let flow = Flow {
        sender,
        source,
        to: Object::Node(case.receiver),
        destination,
        protocol: protocol.number(),
        port: protocol.has_ports().then_some(port),
        is_reply: false,
        is_published: false,
        is_bridged: false,
        is_tagged: false,
    };
    let transport = match protocol {
        Protocol::Tcp => Some(Transport::Tcp),
        Protocol::Udp => Some(Transport::Udp),
        Protocol::Icmp | Protocol::Icmpv6 => Some(Transport::Icmp),
        Protocol::Sctp => None,
    };
    let sending = match transport {
        Some(protocol) if case.forged.is_none() => {
            let port = if protocol == Transport::Icmp { 0 } else { port };
            Sending::Socket { protocol, destination, port }
        }
        _ => Sending::Frame(Packet {
            to: To::Host,
            tags: Vec::new(),
            source,
            destination,
            hops: HOPS,
            extra: IpExtra::None,
            body: match protocol {
                Protocol::Tcp => Body::TcpSyn { port },
                Protocol::Udp => Body::Udp { port },
                Protocol::Sctp => Body::Sctp { port },
                Protocol::Icmp | Protocol::Icmpv6 => Body::Echo,
            },
            pieces: Pieces::One,
        }),
    };
    // The far end of a tunnel takes UDP to its port for itself.
    let is_tunnel = protocol == Protocol::Udp
        && maker.intent.topology.networks.iter().any(
            |network| matches!(network.kind, NetworkKind::Overlay { port: of_tunnel, .. } if of_tunnel == port),
        );
    let is_answerable = matches!(sending, Sending::Socket { .. }) && !is_tunnel;
    let expected = match maker.judge.judge(&flow) {
        Passes::No => Expected::Blocked,
        Passes::Unknown => Expected::Unjudged,
        // The way is open anyway; nobody promises that a forged source gets through.
        Passes::Yes if case.forged.is_some() => Expected::Unjudged,
        Passes::Yes | Passes::ByException if is_answerable => Expected::Answered,
        Passes::Yes | Passes::ByException => Expected::Delivered,
    };
    let version = if family == IpFamily::V4 { 4 } else { 6 };
    let (from, to) = (maker.label(sender), maker.label(case.receiver));
    Some(Probe {
        name: format!("{from}:{to}/allow{number}-{}{version}", case.name),
        entry: case.name,
        class: Class::Exception,
        pair: format!("{} -> {}", maker.title(sender), maker.title(case.receiver)),
        threat: case.threat,
        question: Question::Exceptions,
        family,
        sender,
        sending,
        vantage: vec![case.receiver],
        is_answerable,
        expected,
        change: None,
    })
}
