//! What must be closed and what open around containers, whoever runs them.

use std::net::{IpAddr, SocketAddr};

use crate::docker::{Container, PORT, UNPUBLISHED};
use crate::lab::node::Node;
use crate::site::{
    HOST_ON_SERVICE, HOST_ON_SERVICE_V6, HOST_ON_STORAGE, HOST_ON_STORAGE_V6, Outcome, SERVICE, SERVICE_PORT,
    SERVICE_V6, STORAGE, STORAGE_PORT, STORAGE_V6, Site, address,
};

/// Whether isoplan's rules are there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Isoplan {
    /// Not yet, or not any more: the control. What is closed later has to be seen open.
    Absent,
    /// They are.
    Present,
}

/// A container with what is published of it, and the families that it has.
pub(crate) struct Seen<'c> {
    pub(crate) container: &'c Container,
    /// The port of the host at which its port is published.
    pub(crate) published: Option<u16>,
    /// Whether it reaches others over IPv6 too.
    pub(crate) v6: bool,
    /// Whom the service peer sees: the host, where somebody masquerades.
    pub(crate) is_masqueraded: bool,
}

impl<'c> Seen<'c> {
    pub(crate) fn v4(container: &'c Container, published: Option<u16>) -> Self {
        Self { container, published, v6: false, is_masqueraded: true }
    }

    pub(crate) fn both(container: &'c Container, published: Option<u16>) -> Self {
        Self { container, published, v6: true, is_masqueraded: true }
    }
}

/// The addresses of one family.
struct Addresses {
    service: IpAddr,
    storage: IpAddr,
    on_service: IpAddr,
    on_storage: IpAddr,
}

/// What was found, for one line of output.
#[derive(Default)]
struct Tally {
    /// Of what is added now.
    family: &'static str,
    open: usize,
    blocked: usize,
    undecided: Vec<String>,
    wrong: Vec<String>,
}

impl Tally {
    fn add(&mut self, what: &str, outcome: &Outcome, is_right: bool) {
        if !is_right {
            self.wrong.push(format!("    {what}, {}: {outcome}", self.family));
        }
        if *outcome == Outcome::Blocked { self.blocked += 1 } else { self.open += 1 }
    }

    /// The server answered, and said this.
    fn answered(&mut self, what: &str, outcome: &Outcome, with: &str) {
        self.add(what, outcome, *outcome == Outcome::Answered(with.to_owned()));
    }

    fn closed(&mut self, what: &str, outcome: &Outcome, isoplan: Isoplan) {
        let is_right = match isoplan {
            Isoplan::Present => *outcome == Outcome::Blocked,
            Isoplan::Absent => is_open(outcome),
        };
        self.add(what, outcome, is_right);
    }

    /// Closed with isoplan; without it, it depends on what else there is.
    fn closed_with_isoplan(&mut self, what: &str, outcome: &Outcome, isoplan: Isoplan) {
        let is_right =
            if isoplan == Isoplan::Present { *outcome == Outcome::Blocked } else { is_known(outcome) };
        if isoplan == Isoplan::Absent {
            self.undecided.push(format!("{what}, {}: {outcome}", self.family));
        }
        self.add(what, outcome, is_right);
    }
}

/// Sends every probe around a container and panics with all that came out other than it should.
#[track_caller]
pub(crate) fn look(site: &Site, when: &str, isoplan: Isoplan, seen: &Seen<'_>) {
    let mut tally = Tally::default();
    let families = [
        Addresses {
            service: address(SERVICE),
            storage: address(STORAGE),
            on_service: address(HOST_ON_SERVICE),
            on_storage: address(HOST_ON_STORAGE),
        },
        Addresses {
            service: address(SERVICE_V6),
            storage: address(STORAGE_V6),
            on_service: address(HOST_ON_SERVICE_V6),
            on_storage: address(HOST_ON_STORAGE_V6),
        },
    ];
    for family in &families[..if seen.v6 { 2 } else { 1 }] {
        one_family(site, isoplan, seen, family, &mut tally);
    }
    let undecided =
        if tally.undecided.is_empty() { String::new() } else { format!("; {}", tally.undecided.join(", ")) };
    println!(
        "  {when}: {}: {} open, {} blocked, {} wrong{undecided}",
        seen.container.name,
        tally.open,
        tally.blocked,
        tally.wrong.len()
    );
    assert!(tally.wrong.is_empty(), "{when}, {}:\n{}", seen.container.name, tally.wrong.join("\n"));
}

fn one_family(site: &Site, isoplan: Isoplan, seen: &Seen<'_>, on: &Addresses, tally: &mut Tally) {
    tally.family = if on.service.is_ipv4() { "IPv4" } else { "IPv6" };
    let container = seen.container;
    let from = &container.node;
    let storage = SocketAddr::new(on.storage, STORAGE_PORT);
    tally.closed("container to storage, TCP", &site.tcp(from, storage, &site.storage), isoplan);
    tally.closed("container to storage, UDP", &site.udp(from, storage, &site.storage), isoplan);
    let host = SocketAddr::new(on.on_storage, STORAGE_PORT);
    tally.closed("container to the host's storage address", &site.udp(from, host, &site.host), isoplan);

    let service = SocketAddr::new(on.service, SERVICE_PORT);
    let source = if seen.is_masqueraded { on.on_service } else { container.direct(on.service, 0).ip() };
    tally.answered("container to service", &site.tcp(from, service, &site.service), &source.to_string());
    let mount = site.tcp(&site.host, storage, &site.storage);
    tally.answered("host to storage", &mount, &on.on_storage.to_string());

    let unpublished = container.direct(on.service, UNPUBLISHED);
    for (peer, who) in [(&site.storage, "storage"), (&site.service, "service")] {
        let what = format!("{who} to an unpublished port");
        tally.closed_with_isoplan(&what, &site.tcp(peer, unpublished, from), isoplan);
    }
    let Some(port) = seen.published else { return };
    let from_service = published(site, &site.service, SocketAddr::new(on.on_service, port), container);
    tally.answered("service to a published port", &from_service, &container.name);
    let from_storage = published(site, &site.storage, SocketAddr::new(on.on_storage, port), container);
    tally.closed("storage to a published port", &from_storage, isoplan);
    let direct = site.tcp(&site.storage, container.direct(on.service, PORT), from);
    tally.closed_with_isoplan("storage straight to a published port", &direct, isoplan);
}

fn published(site: &Site, from: &Node, to: SocketAddr, container: &Container) -> Outcome {
    site.tcp(from, to, &container.node)
}

pub(crate) fn is_open(outcome: &Outcome) -> bool {
    matches!(outcome, Outcome::Answered(_) | Outcome::Arrived(_))
}

fn is_known(outcome: &Outcome) -> bool {
    !matches!(outcome, Outcome::CouldNotTest(_))
}
