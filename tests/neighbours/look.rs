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
    /// They are, and so is a firewall that may close what else is open; that is not isoplan's doing.
    PresentAmongOthers,
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

    /// The server answered, and said this, unless another firewall keeps it from that.
    fn answered(&mut self, what: &str, outcome: &Outcome, with: &str, isoplan: Isoplan) {
        let is_right = *outcome == Outcome::Answered(with.to_owned());
        let is_cut = isoplan == Isoplan::PresentAmongOthers && is_closed(outcome, isoplan);
        if is_cut {
            self.undecided.push(format!("{what}, {}: {outcome}", self.family));
        }
        self.add(what, outcome, is_right || is_cut);
    }

    fn closed(&mut self, what: &str, outcome: &Outcome, isoplan: Isoplan) {
        let is_right =
            if isoplan == Isoplan::Absent { is_open(outcome) } else { is_closed(outcome, isoplan) };
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
    let outcome = site.tcp(from, service, &site.service);
    tally.answered("container to service", &outcome, &source.to_string(), isoplan);
    let mount = site.tcp(&site.host, storage, &site.storage);
    tally.answered("host to storage", &mount, &on.on_storage.to_string(), Isoplan::Present);

    let unpublished = container.direct(on.service, UNPUBLISHED);
    for (peer, who) in [(&site.storage, "storage"), (&site.service, "service")] {
        let what = format!("{who} to an unpublished port");
        tally.closed_with_isoplan(&what, &site.tcp(peer, unpublished, from), isoplan);
    }
    let Some(port) = seen.published else { return };
    let from_service = published(site, &site.service, SocketAddr::new(on.on_service, port), container);
    tally.answered("service to a published port", &from_service, &container.name, isoplan);
    let from_storage = published(site, &site.storage, SocketAddr::new(on.on_storage, port), container);
    tally.closed("storage to a published port", &from_storage, isoplan);
    let direct = site.tcp(&site.storage, container.direct(on.service, PORT), from);
    tally.closed_with_isoplan("storage straight to a published port", &direct, isoplan);
}

fn published(site: &Site, from: &Node, to: SocketAddr, container: &Container) -> Outcome {
    site.tcp(from, to, &container.node)
}

/// What a host beside other firewalls leaves open, over IPv4: what isoplan has no word in.
pub(crate) fn open_ways(site: &Site, seen: &Seen<'_>) -> Vec<(&'static str, String)> {
    let from = &seen.container.node;
    let to = |text: &str, port| SocketAddr::new(address(text), port);
    let mut ways = vec![
        ("container to service", site.tcp(from, to(SERVICE, SERVICE_PORT), &site.service).to_string()),
        ("host to storage", site.tcp(&site.host, to(STORAGE, STORAGE_PORT), &site.storage).to_string()),
    ];
    if let Some(port) = seen.published {
        let outcome = published(site, &site.service, to(HOST_ON_SERVICE, port), seen.container);
        ways.push(("service to a published port", outcome.to_string()));
    }
    ways
}

fn is_closed(outcome: &Outcome, isoplan: Isoplan) -> bool {
    let is_not_taken_on = matches!(outcome, Outcome::Refused | Outcome::Unanswered);
    *outcome == Outcome::Blocked || (isoplan == Isoplan::PresentAmongOthers && is_not_taken_on)
}

fn is_open(outcome: &Outcome) -> bool {
    matches!(outcome, Outcome::Answered(_) | Outcome::Arrived(_))
}

fn is_known(outcome: &Outcome) -> bool {
    !matches!(outcome, Outcome::CouldNotTest(_))
}
