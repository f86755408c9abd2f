//! What is sent between every pair of parties that the intent has a word on: open ways and closed ones alike.

use super::super::entry::{About, Aim, Entry, Kind};
use crate::verify::probe::Class;
use crate::verify::question::Question;

const fn kind(about: About, class: Class, question: Question) -> Kind {
    Kind::new(about, class, question)
}

/// In the order of sending.
pub(in super::super) const EVERY: &[&[Entry]] = &[
    &kind(About::NetworkToNic, Class::ToGuarded, Question::SendToGuarded)
        .basic("A container that was taken over reads and writes what only the host should."),
    &kind(About::NetworkToHost, Class::ToHost, Question::HostAddress)
        .basic("What the host serves on a closed network is open to its containers."),
    &kind(About::NicToNetwork, Class::FromGuarded, Question::FromGuarded)
        .basic("A neighbour of the host gets at every port of a container, published or not."),
    &kind(About::NicToNic, Class::Transit, Question::Transit).basic(
        "The host carries packets from one of its networks into another, past every firewall between.",
    ),
    &kind(About::NicToHost, Class::Transit, Question::Transit)
        .basic("What the host serves on one network is open to the neighbours on another."),
    &kind(About::NetworkToNetwork, Class::BetweenNetworks, Question::BetweenNetworks)
        .basic("A container of one project gets at the databases of another."),
    &kind(About::NetworkToGateway, Class::BetweenNetworks, Question::BetweenNetworks)
        .basic("What the host serves to one container network is open to another."),
    &kind(About::NicToGateway, Class::FromGuarded, Question::FromGuarded)
        .basic("What the host serves to its containers alone is open to its neighbours."),
    &kind(About::ToInternet, Class::ToGuarded, Question::SendToGuarded)
        .basic("Who should reach nobody sends what it found to anybody."),
    &kind(About::FromInternet, Class::FromGuarded, Question::FromGuarded)
        .basic("Whoever has a route to the host gets at every port of its containers."),
    &PUBLISHED,
];

const TO_PUBLISHED: Kind = kind(About::Published, Class::FromGuarded, Question::FromGuarded);
const REACHED: &str = "A closed network reaches a container by the port that it publishes for others.";
const PUBLISHED: [Entry; 2] = [
    TO_PUBLISHED.entry("published-udp", REACHED).at(Aim::PublishedHere),
    TO_PUBLISHED.entry("published-tcp", REACHED).tcp().at(Aim::PublishedHere),
];
