//! What is sent to a closed NIC, to the host's address on it, and back: every kind of packet that has found a hole
//! in some way of isolating.

use std::net::{Ipv4Addr, Ipv6Addr};

use super::super::entry::{About, Aim, Entry, Extra, Holds, Hop, Kind, Rule, Send, Source, UDP};
use crate::verify::packet::{Pieces, Tag};
use crate::verify::probe::{Class, Transport};
use crate::verify::question::Question;

/// IEEE 802.1Q, and 802.1ad for the outer one of two tags.
const C_TAG: u16 = 0x8100;
const S_TAG: u16 = 0x88a8;
/// VLAN 0 is no VLAN, only a priority: the kernel takes it off and goes on.
const PRIORITY: &[Tag] = &[Tag { ethertype: C_TAG, vlan: 0 }];
const TWO_TAGS: &[Tag] = &[Tag { ethertype: S_TAG, vlan: 0 }, Tag { ethertype: C_TAG, vlan: 0 }];

/// IANA's protocol numbers.
const GRE: Holds = Holds::Protocol(47, 47);
const ESP: Holds = Holds::Protocol(50, 50);
const IP_IN_IP: Holds = Holds::Protocol(4, 41);
/// For experiments (RFC 3692).
const NOBODYS: Holds = Holds::Protocol(253, 253);

const LOOPBACK: Source = Source::Fixed(Ipv4Addr::LOCALHOST, Ipv6Addr::LOCALHOST);
const MULTICAST: Source =
    Source::Fixed(Ipv4Addr::new(224, 0, 0, 1), Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 1));
/// Reserved (RFC 1112, section 4), and of a range that IANA has given to nobody.
const RESERVED: Source =
    Source::Fixed(Ipv4Addr::new(240, 0, 0, 1), Ipv6Addr::new(0x4000, 0, 0, 0, 0, 0, 0, 1));

const TO_CLOSED: Kind = Kind::new(About::Closed, Class::ToGuarded, Question::SendToGuarded);
const FRAGMENTS: &str = "A rule that looks at ports does not see those of a fragment.";
const PROTOCOLS: &str = "A rule about TCP and UDP lets every other protocol through, a tunnel for instance.";
const STRAY: &str = "A rule about new connections lets a segment of none through.";
const OPTIONS: &str = "A packet with options takes another way through the kernel.";
const HEADERS: &str = "A rule that looks behind the IP header finds an extension header there.";
const TAGS: &str = "A hook below the bridge sees a tag where it expects addresses.";
const FORGED: &str = "A rule that goes by the source address does not know this one.";
const MARTIAN: &str = "An address that cannot be anybody's is in no rule.";
const BEHIND: &str = "A rule that goes by the prefix on the link does not cover what is routed behind it.";
const OLD_FLOW: &str = "A rule that accepts established connections first keeps old ones alive.";

/// A container to the server of a NIC that is closed to it.
pub(in super::super) const CLOSED: &[Entry] = &[
    TO_CLOSED
        .entry("session", "A container works with a share that only the host should mount.")
        .sent(Send::Session),
    odd("fragments", FRAGMENTS).frame(UDP.cut(Pieces::Two)),
    odd("tiny-fragments", FRAGMENTS).frame(UDP.cut(Pieces::Tiny)),
    // Over IPv6 such a first fragment goes no further than the next host (RFC 7112, section 5).
    odd("tiny-fragments-tcp", FRAGMENTS).v4().frame(UDP.holding(Holds::Syn).cut(Pieces::Tiny)),
    odd("gre", PROTOCOLS).frame(UDP.holding(GRE)),
    odd("esp", PROTOCOLS).frame(UDP.holding(ESP)),
    odd("sctp", PROTOCOLS).frame(UDP.holding(Holds::Sctp)),
    odd("ip-in-ip", PROTOCOLS).frame(UDP.holding(IP_IN_IP)),
    odd("unknown-protocol", PROTOCOLS).frame(UDP.holding(NOBODYS)),
    odd("ack", STRAY).frame(UDP.holding(Holds::Ack)),
    odd("invalid", STRAY).frame(UDP.holding(Holds::Invalid)),
    odd("record-route", OPTIONS).v4().frame(UDP.with(Extra::RecordRoute)),
    odd("timestamp", OPTIONS).v4().frame(UDP.with(Extra::Timestamp)),
    odd("loose-source-route", SOURCE_ROUTE).v4().frame(UDP.with(Extra::LooseSourceRoute)).ruled(Rule::Never),
    odd("strict-source-route", SOURCE_ROUTE)
        .v4()
        .frame(UDP.with(Extra::StrictSourceRoute))
        .ruled(Rule::Never),
    odd("hop-by-hop", HEADERS).v6().frame(UDP.with(Extra::HopByHop)),
    odd("destination-options", HEADERS).v6().frame(UDP.with(Extra::DestinationOptions)),
    odd("segment-routing", SOURCE_ROUTE).v6().frame(UDP.with(Extra::SegmentRouting)),
    odd("priority-tag", TAGS).frame(UDP.tagged(PRIORITY)),
    odd("double-tag", TAGS).frame(UDP.tagged(TWO_TAGS)),
    forged("forged-other-network", FORGED).frame(UDP.from(Source::OtherNetwork)),
    forged("forged-neighbour", "A rule for what comes from the closed network lets its addresses through.")
        .frame(UDP.from(Source::Neighbour)),
    forged("forged-host", "A rule for the host's own packets lets its address through.")
        .frame(UDP.from(Source::HostThere)),
    forged("forged-service", FORGED).frame(UDP.from(Source::Service)),
    forged("forged-internet", FORGED).frame(UDP.from(Source::Internet)),
    forged("forged-tcp", FORGED).frame(UDP.from(Source::Neighbour).holding(Holds::Syn)),
    forged("forged-icmp", FORGED).frame(UDP.from(Source::HostThere).holding(Holds::Echo)),
    forged("forged-gre", FORGED).frame(UDP.from(Source::OtherNetwork).holding(GRE)),
    forged("forged-reserved", MARTIAN).frame(UDP.from(RESERVED)),
    forged("forged-loopback", MARTIAN).frame(UDP.from(LOOPBACK)).ruled(Rule::Never),
    forged("forged-multicast", MARTIAN).frame(UDP.from(MULTICAST)).ruled(Rule::Never),
    behind("behind-udp", Aim::Listed),
    behind("behind-tcp", Aim::Listed).tcp(),
    behind("behind-icmp", Aim::Listed).icmp(),
    behind("unlisted-udp", Aim::Unlisted),
    behind("unlisted-tcp", Aim::Unlisted).tcp(),
    behind("unlisted-icmp", Aim::Unlisted).icmp(),
    behind("unlisted-forged", Aim::Unlisted).frame(UDP.from(Source::Neighbour)),
    old("established-udp", OLD_FLOW).sent(Send::OnOwnFlow(Transport::Udp)),
    old("established-tcp", OLD_FLOW).sent(Send::OnOwnFlow(Transport::Tcp)),
    old("answer-udp", OLD_FLOW).sent(Send::OnTheirFlow(Transport::Udp)),
    old("answer-tcp", OLD_FLOW).sent(Send::OnTheirFlow(Transport::Tcp)),
    old(
        "related-error",
        "A rule that accepts related packets lets a container cut the host's own connections.",
    )
    .sent(Send::RelatedError),
];

const SOURCE_ROUTE: &str = "The sender names the hops, and a rule that looks at the destination sees a hop.";

const fn odd(name: &'static str, threat: &'static str) -> Entry {
    TO_CLOSED.entry(name, threat).asks(Question::OddPackets)
}

const fn forged(name: &'static str, threat: &'static str) -> Entry {
    TO_CLOSED.entry(name, threat).asks(Question::ForgedSource)
}

const fn behind(name: &'static str, aim: Aim) -> Entry {
    TO_CLOSED.entry(name, BEHIND).asks(Question::BehindGuarded).at(aim)
}

const fn old(name: &'static str, threat: &'static str) -> Entry {
    TO_CLOSED.entry(name, threat).asks(Question::EstablishedBefore)
}

const TO_HOST: Kind = Kind::new(About::ClosedHost, Class::ToHost, Question::HostAddress);
const HOST_FORGED: &str =
    "The host takes a packet for any of its addresses from any link, whatever its source.";

/// A container to the host's own address on a NIC that is closed to it. Such packets never see the forward hook.
pub(in super::super) const CLOSED_HOST: &[Entry] = &[
    TO_HOST
        .entry("host-session", "A container logs in where only administrators should.")
        .sent(Send::Session),
    TO_HOST.entry("host-fragments", FRAGMENTS).frame(UDP.cut(Pieces::Two)),
    TO_HOST.entry("host-gre", PROTOCOLS).frame(UDP.holding(GRE)),
    TO_HOST.entry("host-ack", STRAY).frame(UDP.holding(Holds::Ack)),
    TO_HOST.entry("host-invalid", STRAY).frame(UDP.holding(Holds::Invalid)),
    TO_HOST.entry("host-record-route", OPTIONS).v4().frame(UDP.with(Extra::RecordRoute)),
    TO_HOST.entry("host-hop-by-hop", HEADERS).v6().frame(UDP.with(Extra::HopByHop)),
    TO_HOST.entry("host-priority-tag", TAGS).frame(UDP.tagged(PRIORITY)),
    TO_HOST.entry("host-forged-other-network", HOST_FORGED).frame(UDP.from(Source::OtherNetwork)),
    TO_HOST.entry("host-forged-neighbour", HOST_FORGED).frame(UDP.from(Source::Neighbour)),
    TO_HOST.entry("host-forged-service", HOST_FORGED).frame(UDP.from(Source::Service)),
    TO_HOST.entry("host-forged-tcp", HOST_FORGED).frame(UDP.from(Source::Neighbour).holding(Holds::Syn)),
    TO_HOST
        .entry("host-broadcast", "The broadcast address of a network is an address of the host as well.")
        .v4()
        .frame(UDP)
        .at(Aim::Broadcast),
];

const TO_CONTAINER: Kind = Kind::new(About::ClosedBack, Class::FromGuarded, Question::FromGuarded);
const BY_ANOTHER: &str =
    "What comes from a closed network by another link looks like an answer, or like a friend.";
const ANSWER: &str = "One-way packets become a connection when the answers pass.";

/// The server of a closed NIC to a container.
pub(in super::super) const BACK: &[Entry] = &[
    TO_CONTAINER.entry("back-session", "A closed network uses a container as its way in.").sent(Send::Session),
    TO_CONTAINER.entry("back-fragments", FRAGMENTS).frame(UDP.cut(Pieces::Two)),
    TO_CONTAINER.entry("back-gre", PROTOCOLS).frame(UDP.holding(GRE)),
    TO_CONTAINER.entry("back-ack", STRAY).frame(UDP.holding(Holds::Ack)),
    TO_CONTAINER.entry("back-forged-service", FORGED).frame(UDP.from(Source::Service)),
    TO_CONTAINER.entry("back-forged-internet", FORGED).frame(UDP.from(Source::Internet)),
    TO_CONTAINER.entry("back-forged-gateway", FORGED).frame(UDP.from(Source::HostThere)),
    TO_CONTAINER.entry("back-behind-udp", BEHIND).frame(UDP.from(Source::Listed)),
    TO_CONTAINER.entry("back-unlisted-udp", BEHIND).frame(UDP.from(Source::Unlisted)),
    TO_CONTAINER.entry("back-established-udp", OLD_FLOW).sent(Send::OnOwnFlow(Transport::Udp)),
    TO_CONTAINER.entry("back-established-tcp", OLD_FLOW).sent(Send::OnOwnFlow(Transport::Tcp)),
    TO_CONTAINER.entry("back-answer-udp", ANSWER).sent(Send::OnTheirFlow(Transport::Udp)),
    TO_CONTAINER.entry("back-answer-tcp", ANSWER).sent(Send::OnTheirFlow(Transport::Tcp)),
    TO_CONTAINER
        .entry("back-published-at-service", "A closed network reaches a port by an address that is not for it.")
        .tcp()
        .at(Aim::PublishedAtService),
    Kind::new(About::GuardedBack, Class::FromGuarded, Question::FromGuarded)
        .entry("guarded-udp", "A network that nobody reaches gets at a container."),
    Kind::new(About::GuardedBack, Class::FromGuarded, Question::FromGuarded)
        .entry("guarded-answer-udp", ANSWER)
        .sent(Send::OnTheirFlow(Transport::Udp)),
    Kind::new(About::GuardedBack, Class::FromGuarded, Question::FromGuarded)
        .entry("guarded-answer-tcp", ANSWER)
        .sent(Send::OnTheirFlow(Transport::Tcp)),
    Kind::new(About::Beside, Class::FromGuarded, Question::FromGuarded)
        .entry("back-forged-closed", BY_ANOTHER)
        .frame(UDP.from(Source::ClosedNic)),
    Kind::new(About::Opener, Class::Residual, Question::ForgedSource)
        .entry(
            "opener-forged",
            "Who can send by a NIC that may open connections can do so in the name of another network; the answers \
             do not come back to him.",
        )
        .frame(UDP.from(Source::OtherNetwork)),
];

const THROUGH: Kind = Kind::new(About::Transit, Class::Transit, Question::Transit);
const THROUGH_BACK: Kind = Kind::new(About::TransitBack, Class::Transit, Question::Transit);
const ROUTER: &str = "A host that forwards for its containers forwards for its neighbours too.";

/// From one NIC to another that is closed, through the host, and back.
pub(in super::super) const TRANSIT: &[Entry] = &[
    THROUGH.entry("transit-session", ROUTER).sent(Send::Session),
    THROUGH.entry("transit-fragments", FRAGMENTS).frame(UDP.cut(Pieces::Two)),
    THROUGH.entry("transit-gre", PROTOCOLS).frame(UDP.holding(GRE)),
    THROUGH.entry("transit-forged-neighbour", FORGED).frame(UDP.from(Source::Neighbour)),
    THROUGH.entry("transit-forged-host", FORGED).frame(UDP.from(Source::HostThere)),
    THROUGH.entry("transit-forged-container", FORGED).frame(UDP.from(Source::OtherNetwork)),
    THROUGH.entry("transit-behind-udp", BEHIND).at(Aim::Listed),
    THROUGH.entry("transit-unlisted-udp", BEHIND).at(Aim::Unlisted),
    THROUGH.entry("transit-established-udp", OLD_FLOW).sent(Send::OnOwnFlow(Transport::Udp)),
    THROUGH_BACK.entry("transit-back-session", ROUTER).sent(Send::Session),
    THROUGH_BACK.entry("transit-back-forged-internet", FORGED).frame(UDP.from(Source::Internet)),
    THROUGH_BACK.entry("transit-back-answer-udp", ANSWER).sent(Send::OnTheirFlow(Transport::Udp)),
];

const NETWORKS: Kind = Kind::new(About::Networks, Class::BetweenNetworks, Question::BetweenNetworks);

/// From one container network to another that it may not reach.
pub(in super::super) const BETWEEN: &[Entry] = &[
    NETWORKS
        .entry("between-session", "A container of one project works with the database of another.")
        .sent(Send::Session),
    NETWORKS.entry("between-fragments", FRAGMENTS).frame(UDP.cut(Pieces::Two)),
    NETWORKS.entry("between-gre", PROTOCOLS).frame(UDP.holding(GRE)),
    NETWORKS.entry("between-forged-neighbour", FORGED).frame(UDP.from(Source::Neighbour)),
    NETWORKS.entry("between-established-udp", OLD_FLOW).sent(Send::OnOwnFlow(Transport::Udp)),
    NETWORKS.entry("between-answer-udp", ANSWER).sent(Send::OnTheirFlow(Transport::Udp)),
];

const ON_FLAT: Kind = Kind::new(About::FlatOut, Class::ToGuarded, Question::SendToGuarded);
const TO_FLAT: Kind = Kind::new(About::FlatBack, Class::FromGuarded, Question::FromGuarded);
const UPSTREAM: &str = "A router upstream delivers what an instance sends past the host to a closed network.";
const HIDDEN: &str = "A tag hides the addresses from a rule in the bridge.";

/// Between instances of a flat and the network of their NIC. These frames are bridged, and no rule of routing sees
/// them.
pub(in super::super) const FLAT: &[Entry] = &[
    ON_FLAT.entry("flat-other-nic", UPSTREAM).frame(UDP).at(Aim::OtherNic),
    ON_FLAT.entry("flat-other-nic-tcp", UPSTREAM).frame(UDP.holding(Holds::Syn)).at(Aim::OtherNic),
    ON_FLAT.entry("flat-other-nic-tagged", HIDDEN).frame(UDP.tagged(PRIORITY)).at(Aim::OtherNic),
    ON_FLAT.entry("flat-tagged", HIDDEN).asks(Question::OddPackets).frame(UDP.tagged(PRIORITY)),
    ON_FLAT.entry("flat-double-tagged", HIDDEN).asks(Question::OddPackets).frame(UDP.tagged(TWO_TAGS)),
    ON_FLAT
        .entry("flat-by-host", "What the bridge keeps from an instance is routed for it by the host.")
        .frame(UDP.hopping(Hop::Host)),
    TO_FLAT.entry("flat-back-other-nic", BY_ANOTHER).frame(UDP.from(Source::OtherNic)),
    TO_FLAT.entry("flat-back-tagged", HIDDEN).asks(Question::OddPackets).frame(UDP.tagged(PRIORITY)),
    TO_FLAT
        .entry("flat-back-by-host", "What the bridge keeps from a NIC is routed for it by the host.")
        .frame(UDP.hopping(Hop::Host)),
];
