//! What is sent after a change of the host.

use super::super::entry::{About, Aim, Entry, Extra, Hop, Kind, Rule, Send, Source, UDP};
use crate::verify::change::Change;
use crate::verify::probe::{Class, Transport};
use crate::verify::question::Question;

/// Entries, and the changes that they are for.
pub(in super::super) struct After {
    pub(in super::super) changes: &'static [Change],
    pub(in super::super) entries: &'static [Entry],
}

/// The question is filled in with the change.
const fn after(about: About) -> Kind {
    Kind::new(about, Class::Change, Question::Works)
}

const fn works(about: About) -> Kind {
    Kind::new(about, Class::Control, Question::Works)
}

const fn residual(name: &'static str, threat: &'static str) -> Entry {
    Kind::new(About::Closed, Class::Residual, Question::Works).entry(name, threat).ruled(Rule::Residual)
}

const LOST: &str = "A change that somebody makes on the host some day undoes the isolation.";
const SWITCH: &str = "A switch that somebody turns on the host some day undoes the isolation.";
const LATER: &str = "What comes later is in no rule.";
const BROKEN: &str = "The rules outlive what they were made for, and break it.";
const HOPS_OF_SENDER: &str =
    "The sender names the hops, and a rule that looks at the destination sees a hop.";
const DETOUR: &str = "Somebody's DNAT leads around a rule that looks before it.";
const MACVLAN: &str =
    "A container with a macvlan on the NIC is on its network; its packets pass none of the host's hooks.";
const REDIRECT: &str = "A tc redirect or an eBPF program carries packets out below every rule.";
const RELAY: &str = "A program on the host, or a container on the host network, sends in the host's name.";
const FLUSH: &str =
    "Whoever flushes the whole ruleset takes the isolation along; isoplan status sees it afterwards.";

/// All but the residuals.
const JUDGED: &[Change] = &[
    Change::ForwardToggled,
    Change::NicDown,
    Change::NicRecreated,
    Change::NicRenamed,
    Change::NicEnslaved,
    Change::BridgeRecreated,
    Change::NewContainer,
    Change::NewNic,
    Change::SubnetAdded,
    Change::DefaultRouteMoved,
    Change::UpstreamHairpin,
    Change::ProxyArp,
    Change::SourceRouting,
    Change::BroadcastForwarding,
    Change::AcceptFirst,
    Change::NicAbsentAtApply,
    Change::BridgeNfCallOff,
    Change::AppliedUnderFlood,
    Change::Dnat,
];
/// Those with the NIC up, so that its network can send.
const NIC_UP: &[Change] = &[
    Change::ForwardToggled,
    Change::NicRecreated,
    Change::NicRenamed,
    Change::NicEnslaved,
    Change::BridgeRecreated,
    Change::NewContainer,
    Change::NewNic,
    Change::SubnetAdded,
    Change::DefaultRouteMoved,
    Change::UpstreamHairpin,
    Change::ProxyArp,
    Change::SourceRouting,
    Change::BroadcastForwarding,
    Change::AcceptFirst,
    Change::NicAbsentAtApply,
    Change::BridgeNfCallOff,
    Change::AppliedUnderFlood,
    Change::Dnat,
];
/// Those after which a container can send to the host's IPv6 address on the NIC.
const HOST_V6: &[Change] = &[
    Change::ForwardToggled,
    Change::NicRecreated,
    Change::NicRenamed,
    Change::NicEnslaved,
    Change::BridgeRecreated,
    Change::NewContainer,
    Change::NewNic,
    Change::SubnetAdded,
    Change::DefaultRouteMoved,
    Change::UpstreamHairpin,
    Change::SourceRouting,
    Change::BroadcastForwarding,
    Change::AcceptFirst,
    Change::NicAbsentAtApply,
    Change::BridgeNfCallOff,
    Change::AppliedUnderFlood,
    Change::Dnat,
];
/// Those with the host's way to the NIC's network as it was.
const NIC_ROUTED: &[Change] = &[
    Change::ForwardToggled,
    Change::NicRecreated,
    Change::NicRenamed,
    Change::NicEnslaved,
    Change::BridgeRecreated,
    Change::NewContainer,
    Change::NewNic,
    Change::SubnetAdded,
    Change::DefaultRouteMoved,
    Change::ProxyArp,
    Change::SourceRouting,
    Change::BroadcastForwarding,
    Change::AcceptFirst,
    Change::NicAbsentAtApply,
    Change::BridgeNfCallOff,
    Change::AppliedUnderFlood,
    Change::Dnat,
];

/// In the order of sending, for each change.
pub(in super::super) const AFTER: &[After] = &[
    After {
        changes: &[Change::NewNic, Change::SubnetAdded],
        entries: &[
            after(About::Added).entry("udp", LATER),
            after(About::Added).entry("icmp", LATER).icmp(),
            after(About::Added).entry("tcp", LATER).tcp(),
            after(About::AddedHost).entry("udp", LATER),
        ],
    },
    After {
        changes: &[Change::DefaultRouteMoved],
        entries: &[
            after(About::SubjectToInternet).entry("udp", LOST),
            after(About::SubjectToInternet).entry("tcp", LOST).tcp(),
        ],
    },
    After {
        changes: &[Change::SourceRouting],
        entries: &[
            after(About::Closed)
                .entry("loose-source-route", HOPS_OF_SENDER)
                .v4()
                .frame(UDP.with(Extra::LooseSourceRoute))
                .ruled(Rule::Never),
            after(About::Closed)
                .entry("strict-source-route", HOPS_OF_SENDER)
                .v4()
                .frame(UDP.with(Extra::StrictSourceRoute))
                .ruled(Rule::Never),
            after(About::Closed)
                .entry("segment-routing", HOPS_OF_SENDER)
                .v6()
                .frame(UDP.with(Extra::SegmentRouting)),
        ],
    },
    After {
        changes: &[Change::BroadcastForwarding],
        entries: &[after(About::Closed).entry("broadcast", SWITCH).v4().frame(UDP).at(Aim::BroadcastOnLink)],
    },
    After {
        changes: &[Change::Dnat],
        entries: &[
            after(About::Closed).entry("dnat-udp", DETOUR).at(Aim::Dnat),
            after(About::Closed).entry("dnat-tcp", DETOUR).tcp().at(Aim::Dnat),
            after(About::ClosedHost).entry("dnat-udp", DETOUR).at(Aim::Dnat),
        ],
    },
    After {
        changes: JUDGED,
        entries: &[
            after(About::Closed).entry("udp", LOST),
            after(About::Closed).entry("tcp", LOST).tcp(),
            after(About::Closed).entry("forged-neighbour", LOST).frame(UDP.from(Source::Neighbour)),
            after(About::ClosedHost).entry("udp", LOST).v4(),
        ],
    },
    After {
        // A NIC that is down has no IPv6 address, and to a container that takes the NIC's network for its own link
        // nobody tells who has it.
        changes: HOST_V6,
        entries: &[after(About::ClosedHost).entry("udp", LOST).v6()],
    },
    After {
        changes: NIC_UP,
        entries: &[
            after(About::ClosedBack).entry("back-udp", LOST),
            after(About::ClosedBack).entry("back-tcp", LOST).tcp(),
        ],
    },
    After {
        changes: &[Change::BridgeNfCallOff, Change::BridgeRecreated],
        entries: &[
            works(About::SubjectNeighbour).entry("udp", BROKEN),
            works(About::SubjectNeighbour).entry("tcp", BROKEN).tcp(),
        ],
    },
    After { changes: JUDGED, entries: &[works(About::Service).entry("tcp", BROKEN).tcp()] },
    After { changes: NIC_ROUTED, entries: &[works(About::HostToClosed).entry("tcp", BROKEN).tcp()] },
    After {
        // By another link than the file says, the address is closed: only answers come in.
        changes: &[
            Change::ForwardToggled,
            Change::NicRecreated,
            Change::BridgeRecreated,
            Change::DefaultRouteMoved,
            Change::NicAbsentAtApply,
            Change::AppliedUnderFlood,
        ],
        entries: &[works(About::ClosedOwnHost).entry("tcp", BROKEN).tcp()],
    },
    After {
        changes: &[Change::Macvlan],
        entries: &[residual("udp", MACVLAN), residual("tcp", MACVLAN).tcp()],
    },
    After {
        changes: &[Change::TcRedirect],
        entries: &[residual("udp", REDIRECT).frame(UDP.hopping(Hop::Receiver))],
    },
    After { changes: &[Change::Relay], entries: &[residual("relay", RELAY).sent(Send::Relay)] },
    After {
        changes: &[Change::RulesetFlushed],
        entries: &[
            residual("udp", FLUSH),
            residual("icmp", FLUSH).sent(Send::Socket(Transport::Icmp)),
            residual("tcp", FLUSH).tcp(),
        ],
    },
];
