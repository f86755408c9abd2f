//! A probe with tracing on: which hooks and chains its packet passed, and what the routing said.
//!
//! A table of its own marks every packet for tracing before anybody else sees it, and has a chain at either end
//! of each hook: where a packet reached the first and not the last, it ended in that hook, whoever ended it. The
//! kernel tells of a packet while it processes it, so that everything is there to be read once the probe is
//! decided.

pub mod explain;
mod routing;

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io;

use super::build::Lab;
use super::prober::Prober;
use crate::approach::{Approach, compared};
use crate::intent::Intent;
use crate::netlink::{Nftables, TraceSocket};
use crate::render;
use crate::ruleset::TABLE_NAME;
use crate::verify::explanation::{
    HOOKS, Known, Listing, Packet, RouteQuestion, Step, Stop, TRACE_TABLE, Told, Wanted, packets, select, way,
};
use crate::verify::outcome::{Observation, Outcome};
use crate::verify::probe::{Probe, Sending};
use crate::verify::world::{Place, World};

/// Sends one probe and says what became of it, and which route, sysctl or rule decided: the same as
/// [`Prober::run`], with `decided_by` filled in. Where tracing fails, it says so there.
pub fn traced(lab: &Lab, prober: &mut Prober, intent: &Intent<'_>, probe: &Probe) -> Observation {
    match told(lab, prober, intent, probe) {
        Ok((observation, told)) => {
            let decided_by = render::explanation::decided_by(&observation, &told);
            Observation { decided_by, ..observation }
        }
        Err(Failed::Before(error)) => {
            let mut observation = prober.run(lab, probe);
            observation.decided_by = vec![format!("nothing could be traced: {error}")];
            observation
        }
        Err(Failed::After(observation, error)) => {
            Observation { decided_by: vec![format!("nothing could be traced: {error}")], ..*observation }
        }
    }
}

/// Why there is no story.
#[derive(Debug)]
pub enum Failed {
    /// Nothing was sent.
    Before(io::Error),
    /// The probe was sent, and this was seen of it.
    After(Box<Observation>, io::Error),
}

/// Sends one probe and tells its story.
///
/// # Errors
///
/// When the kernel refuses to trace.
pub fn told(
    lab: &Lab,
    prober: &mut Prober,
    intent: &Intent<'_>,
    probe: &Probe,
) -> Result<(Observation, Told), Failed> {
    let mut trace = start(lab).map_err(Failed::Before)?;
    let observation = prober.run(lab, probe);
    let read = read(lab, intent, &mut trace);
    // The answer of a later probe is not to meet these chains.
    let stopped = lab.host().feed("nft", &["-f", "-"], &deletion());
    let (events, known) = match read.and_then(|read| stopped.map(|_| read)) {
        Ok(read) => read,
        Err(error) => return Err(Failed::After(Box::new(observation), error)),
    };
    let links = match lab.host().enter(links) {
        Ok(Ok(links)) => links,
        Ok(Err(error)) | Err(error) => return Err(Failed::After(Box::new(observation), error)),
    };
    let shown = with_nodes(&links, &lab.world);
    let packets = packets(&events.events);
    let wanted = Wanted::of(&lab.world, probe, &observation.sent);
    let selected = select(&packets, &wanted);
    let way = |packet: Option<&Packet>| {
        packet.map(|packet| {
            let question = RouteQuestion::of(packet);
            let routing = question.map(|question| routing::ask(lab, &links, probe, question));
            way(packet, &known, &shown, routing)
        })
    };
    let mut told = Told {
        way: way(selected.request).unwrap_or_default(),
        answer: way(selected.answer),
        refusal: selected.refusal.map(|packet| *packet.first()),
        is_cut: events.is_cut,
    };
    if told.way.stop.is_none() && observation.outcome == Outcome::Blocked {
        let came_in = observation.came_in.as_deref();
        told.way.stop = match told.way.steps.last() {
            None => refused_at_once(probe, came_in),
            Some(Step::Taken) => routing::segments_refused(lab, probe, came_in),
            Some(_) => None,
        };
    }
    Ok((observation, told))
}

/// Why the host took a packet off the link and did not take it for IP, as far as its source tells.
fn refused_at_once(probe: &Probe, came_in: Option<&str>) -> Option<Stop> {
    let link = came_in?;
    let Sending::Frame(packet) = &probe.sending else { return None };
    routing::is_impossible(packet.source)
        .then(|| Stop::Unknown { after: format!("the link {link}"), why: routing::IMPOSSIBLE.to_owned() })
}

/// Starts to listen, then to trace.
fn start(lab: &Lab) -> io::Result<TraceSocket> {
    let socket = lab.host().enter(TraceSocket::open)?.map_err(io::Error::other)?;
    lab.host().feed("nft", &["-f", "-"], &creation())?;
    Ok(socket)
}

/// What was told, and what its handles mean.
fn read(
    lab: &Lab,
    intent: &Intent<'_>,
    trace: &mut TraceSocket,
) -> io::Result<(crate::netlink::Told, Known)> {
    let told = trace.drain().map_err(io::Error::other)?;
    let listing = lab.host().feed("nft", &["-a", "-t", "list", "ruleset"], "")?;
    let live =
        lab.host().enter(|| Nftables::open().and_then(|mut nftables| nftables.read_tables(TABLE_NAME)))?;
    let live = live.map_err(io::Error::other)?;
    let planned: Vec<_> =
        Approach::ALL.into_iter().map(|approach| compared(intent, approach).desired.ruleset).collect();
    Ok((told, Known::new(intent.topology, &live.tables, &planned, Listing::read(&listing))))
}

/// The names of the links of the namespace that the thread is in, by index.
fn links() -> io::Result<BTreeMap<u32, String>> {
    let links = nix::net::if_::if_nameindex()?;
    Ok(links.iter().map(|link| (link.index(), link.name().to_string_lossy().into_owned())).collect())
}

/// The same, with who is at the other end of a bridge's port: its name is the lab's own.
fn with_nodes(links: &BTreeMap<u32, String>, world: &World) -> BTreeMap<u32, String> {
    let ports: BTreeMap<&str, &str> = world
        .nodes
        .iter()
        .filter(|node| node.port.0 == Place::HOST)
        .map(|node| (node.port.1.as_str(), node.name.as_str()))
        .collect();
    let shown = links.iter().map(|(index, link)| {
        let node = ports.get(link.as_str());
        (*index, node.map_or_else(|| link.clone(), |node| format!("the port of {node}")))
    });
    shown.collect()
}

/// Before everybody else. Fragments come together at -400, and what they make has not the mark of all of them.
const FIRST: [i32; 2] = [-450, -399];
/// After everybody else; conntrack takes note of new flows at the last number.
const LAST: i32 = i32::MAX - 1;

/// The table, for IP and for bridges.
fn creation() -> String {
    let mut text = deletion();
    for family in ["inet", "bridge"] {
        let _ = writeln!(text, "table {family} {TRACE_TABLE} {{");
        for hook in HOOKS {
            let starts = matches!(hook, "prerouting" | "output");
            let mark = if starts { "meta nftrace set 1\n" } else { "" };
            let [first, again] = FIRST;
            let _ = writeln!(
                text,
                "chain {hook}_first {{ type filter hook {hook} priority {first}; policy accept;\n{mark}}}"
            );
            if starts && family == "inet" {
                let _ = writeln!(
                    text,
                    "chain {hook}_again {{ type filter hook {hook} priority {again}; policy accept;\n{mark}}}"
                );
            }
            let _ = writeln!(
                text,
                "chain {hook}_last {{ type filter hook {hook} priority {LAST}; policy accept;\n}}"
            );
        }
        text.push_str("}\n");
    }
    text
}

/// Declaring a table before deleting it makes the deletion work whether or not it is there.
fn deletion() -> String {
    ["inet", "bridge"]
        .map(|family| format!("table {family} {TRACE_TABLE}\ndelete table {family} {TRACE_TABLE}\n"))
        .concat()
}
