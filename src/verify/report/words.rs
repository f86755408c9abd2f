//! Words of the JSON documents for what has none of its own.

use crate::verify::outcome::{Expected, Outcome, Verdict};
use crate::verify::probe::{Class, Sending, Transport};
use crate::verify::question::Question;

/// `send-to-guarded`, `after-nic-down`.
pub(super) fn question(question: Question) -> String {
    let word = match question {
        Question::SendToGuarded => "send-to-guarded",
        Question::SendToGuardedV6 => "send-to-guarded-v6",
        Question::ForgedSource => "forged-source",
        Question::BehindGuarded => "behind-guarded",
        Question::OddPackets => "odd-packets",
        Question::EstablishedBefore => "established-before",
        Question::HostAddress => "host-address",
        Question::FromGuarded => "from-guarded",
        Question::Unpublished => "unpublished",
        Question::Transit => "transit",
        Question::BetweenNetworks => "between-networks",
        Question::After(change) => return format!("after-{}", change.as_str()),
        Question::Exceptions => "exceptions",
        Question::Works => "works",
    };
    word.to_owned()
}

pub(super) const fn class(class: Class) -> &'static str {
    match class {
        Class::ToGuarded => "to-guarded",
        Class::ToHost => "to-host",
        Class::FromGuarded => "from-guarded",
        Class::Transit => "transit",
        Class::BetweenNetworks => "between-networks",
        Class::Control => "control",
        Class::Exception => "exception",
        Class::Change => "change",
        Class::Residual => "residual",
    }
}

pub(super) const fn expected(expected: Expected) -> &'static str {
    match expected {
        Expected::Blocked => "blocked",
        Expected::Answered => "answered",
        Expected::Delivered => "delivered",
        Expected::Residual => "residual",
        Expected::Unjudged => "unjudged",
    }
}

pub(super) const fn outcome(outcome: &Outcome) -> &'static str {
    match outcome {
        Outcome::Answered => "answered",
        Outcome::Delivered => "delivered",
        Outcome::Blocked => "blocked",
        Outcome::CouldNotTest(_) => "could-not-test",
    }
}

pub(super) const fn verdict(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::Held => "held",
        Verdict::Works => "works",
        Verdict::Leak => "leak",
        Verdict::Broken => "broken",
        Verdict::Vacuous => "vacuous",
        Verdict::CouldNotTest => "could-not-test",
        Verdict::Residual => "residual",
        Verdict::Unjudged => "unjudged",
    }
}

/// How a probe is sent.
pub(super) const fn sending(sending: &Sending) -> &'static str {
    match sending {
        Sending::Frame(_) => "frame",
        Sending::Socket { protocol: Transport::Icmp, .. } => "icmp-socket",
        Sending::Socket { protocol: Transport::Udp, .. } => "udp-socket",
        Sending::Socket { protocol: Transport::Tcp, .. } => "tcp-socket",
        Sending::Session { .. } => "session",
        Sending::Established { .. } => "established",
        Sending::RelatedError { .. } => "related-error",
        Sending::Relay { .. } => "relay",
    }
}
