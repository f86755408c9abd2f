//! What has to work under every approach, and what an overlay must not take.

use super::super::entry::{About, Aim, Entry, Holds, Kind, Send, UDP};
use crate::verify::packet::Pieces;
use crate::verify::probe::{Class, Transport};
use crate::verify::question::Question;

const fn works(about: About) -> Kind {
    Kind::new(about, Class::Control, Question::Works)
}

const INJECTED: &str = "A container speaks the encapsulation of an overlay and puts frames into it.";

/// In the order of sending.
pub(in super::super) const WORKS: &[&[Entry]] = &[
    &works(About::OwnGateway).basic("Containers lose DNS and whatever else the host serves on their bridge."),
    &works(About::SameLink).basic("Containers of one network lose each other."),
    &works(About::FromHost).basic("The host loses its own storage, or its containers."),
    &[
        works(About::Service).entry("session", "Containers lose the service network.").sent(Send::Session),
        works(About::Service)
            .entry("fragments", "Large datagrams to the service network are lost.")
            .frame(UDP.cut(Pieces::Two)),
        works(About::Service)
            .entry("established-udp", "Connections to the service network break when the rules come.")
            .sent(Send::OnOwnFlow(Transport::Udp)),
        works(About::Service)
            .entry("established-tcp", "Connections to the service network break when the rules come.")
            .sent(Send::OnOwnFlow(Transport::Tcp)),
        works(About::SubjectToInternet).entry("session", "Containers lose the internet.").sent(Send::Session),
        works(About::SubjectNeighbour)
            .entry("session", "Containers of one network lose each other.")
            .sent(Send::Session),
        works(About::HostToClosed)
            .entry("session", "The host loses what only it may use.")
            .sent(Send::Session),
        works(About::SubjectGateway)
            .entry("all-hosts", "Containers lose what is found by multicast on their bridge.")
            .frame(UDP)
            .at(Aim::AllHosts),
    ],
    &[
        Kind::new(About::SubjectGateway, Class::ToHost, Question::OddPackets)
            .entry("overlay-port", INJECTED)
            .frame(UDP.holding(Holds::UdpToOverlay)),
        Kind::new(About::Service, Class::ToGuarded, Question::OddPackets)
            .entry("overlay-port", INJECTED)
            .frame(UDP.holding(Holds::UdpToOverlay)),
    ],
];
