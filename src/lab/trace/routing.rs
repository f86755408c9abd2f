//! What the routing of the host says to a packet, and which sysctl or rule makes it say that.

use std::collections::BTreeMap;
use std::io;
use std::net::IpAddr;

use nix::libc;
use serde_json::Value;

use crate::lab::build::Lab;
use crate::netlink::{RouteFound, RouteQuery, route};
use crate::verify::explanation::{RouteQuestion, Routing, Stop};
use crate::verify::packet::IpExtra;
use crate::verify::probe::{Probe, Sending};

/// `RTN_LOCAL`, `RTN_BROADCAST` and `RTN_MULTICAST`: to the host itself.
const LOCAL: u8 = 2;
const BROADCAST: u8 = 3;
const MULTICAST: u8 = 5;

/// Asks the kernel what becomes of a packet, and looks for the reason where it goes nowhere.
pub(super) fn ask(
    lab: &Lab,
    links: &BTreeMap<u32, String>,
    probe: &Probe,
    question: RouteQuestion,
) -> Routing {
    let header = question.header;
    let query =
        RouteQuery { source: Some(header.source), destination: header.destination, iif: question.iif };
    let asker = Asker { lab, links, question };
    if !question.went_on && is_impossible(header.source) {
        return Routing::Refused(asker.unknown(IMPOSSIBLE));
    }
    let answer = match lab.host().enter(|| route(query)) {
        Ok(answer) => answer,
        Err(error) => Err(error),
    };
    if answer.is_ok()
        && !question.went_on
        && is_source_routed(probe)
        && let Some(key) = asker.iif().and_then(|link| switched_off(lab, "ipv4", link, "accept_source_route"))
    {
        let why = "the host takes no source-routed packet".to_owned();
        return Routing::Refused(Stop::Sysctl { key, value: "0".to_owned(), why });
    }
    match answer {
        Ok(found) if question.went_on || asker.is_for_host(&found) => Routing::Route(asker.line(&found)),
        Ok(found) => {
            asker.not_forwarded().map_or_else(|| Routing::Route(asker.line(&found)), Routing::Refused)
        }
        Err(error) => Routing::Refused(asker.refused(&error)),
    }
}

/// What the kernel makes of [`is_impossible`].
pub(super) const IMPOSSIBLE: &str = "the kernel takes no packet from a link with such a source";

/// Whether no packet from a link can have that source (ip_route_input_slow, ip6_rcv_core).
pub(super) const fn is_impossible(source: IpAddr) -> bool {
    match source {
        IpAddr::V4(source) => source.is_loopback() || source.is_multicast() || source.is_broadcast(),
        IpAddr::V6(source) => source.is_loopback() || source.is_multicast(),
    }
}

/// Why a packet with a segment routing header that came to the host goes no further, where that is so.
pub(super) fn segments_refused(lab: &Lab, probe: &Probe, came_in: Option<&str>) -> Option<Stop> {
    let Sending::Frame(packet) = &probe.sending else { return None };
    if !matches!(packet.extra, IpExtra::SegmentRouting { .. }) {
        return None;
    }
    let key = switched_off(lab, "ipv6", came_in?, "seg6_enabled")?;
    let why = "the host takes no segment routing header from this link".to_owned();
    Some(Stop::Sysctl { key, value: "0".to_owned(), why })
}

/// Of a sysctl that counts only where it is on for the link and for all: the one that is off.
fn switched_off(lab: &Lab, family: &str, link: &str, name: &str) -> Option<String> {
    let keys = [link, "all"].map(|scope| format!("net/{family}/conf/{scope}/{name}"));
    keys.into_iter().find(|key| sysctl(lab, key).is_some_and(|value| value == "0"))
}

/// A sysctl of the host.
fn sysctl(lab: &Lab, key: &str) -> Option<String> {
    let path = format!("/proc/sys/{key}");
    let value = lab.host().enter(|| std::fs::read_to_string(path)).ok()?.ok()?;
    Some(value.trim_end().to_owned())
}

fn is_source_routed(probe: &Probe) -> bool {
    let Sending::Frame(packet) = &probe.sending else { return false };
    matches!(packet.extra, IpExtra::LooseSourceRoute { .. } | IpExtra::StrictSourceRoute { .. })
}

struct Asker<'l> {
    lab: &'l Lab,
    links: &'l BTreeMap<u32, String>,
    question: RouteQuestion,
}

impl Asker<'_> {
    /// `ipv4`, as in sysctls.
    fn family(&self) -> &'static str {
        if self.question.header.destination.is_ipv4() { "ipv4" } else { "ipv6" }
    }

    /// `-4`, as `ip` takes it.
    fn flag(&self) -> &'static str {
        if self.question.header.destination.is_ipv4() { "-4" } else { "-6" }
    }

    fn iif(&self) -> Option<&str> {
        self.links.get(&self.question.iif?).map(String::as_str)
    }

    fn read(&self, key: &str) -> Option<String> {
        sysctl(self.lab, key)
    }

    /// A sysctl of the link that the packet came in on.
    fn read_iif(&self, name: &str) -> Option<String> {
        self.read(&format!("net/{}/conf/{}/{name}", self.family(), self.iif()?))
    }

    fn sysctl(&self, name: &str, value: &str, why: &str) -> Stop {
        let link = self.iif().unwrap_or("all");
        let key = format!("net/{}/conf/{link}/{name}", self.family());
        Stop::Sysctl { key, value: value.to_owned(), why: why.to_owned() }
    }

    /// `192.168.57.0/24 dev eth1`, in the words of `ip route`.
    fn line(&self, found: &RouteFound) -> String {
        let mut line = match found.kind {
            LOCAL => "local ".to_owned(),
            BROADCAST => "broadcast ".to_owned(),
            MULTICAST => "multicast ".to_owned(),
            _ => String::new(),
        };
        match found.prefix {
            Some(net) if net.prefix_len() == net.max_prefix_len() => line.push_str(&net.addr().to_string()),
            Some(net) if net.prefix_len() > 0 => line.push_str(&net.to_string()),
            _ => line.push_str("default"),
        }
        if let Some(gateway) = found.gateway {
            line.push_str(&format!(" via {gateway}"));
        }
        if let Some(link) = found.oif.and_then(|oif| self.links.get(&oif)) {
            line.push_str(&format!(" dev {link}"));
        }
        // The kernel takes local and main together where no rule of policy routing comes between them.
        if !matches!(found.table, 0 | 254 | 255) {
            line.push_str(&format!(" table {}", found.table));
        }
        line
    }

    fn is_for_host(&self, found: &RouteFound) -> bool {
        matches!(found.kind, LOCAL | BROADCAST | MULTICAST)
    }

    /// Why a packet with a route is not forwarded. IPv4 finds out while it looks for the route, by the link that
    /// the packet came in on (ip_route_input_slow); IPv6 afterwards, by the switch for all (ip6_forward).
    fn not_forwarded(&self) -> Option<Stop> {
        self.iif()?;
        const WHY: &str = "the host does not forward IPv6";
        let key = "net/ipv6/conf/all/forwarding";
        let is_off = self.family() == "ipv6"
            && self.read(key).as_deref() == Some("0")
            && self.read_iif("force_forwarding").is_none_or(|value| value == "0");
        is_off.then(|| Stop::Sysctl { key: key.to_owned(), value: "0".to_owned(), why: WHY.to_owned() })
    }

    /// Why the routing refuses a packet.
    fn refused(&self, error: &io::Error) -> Stop {
        let destination = self.question.header.destination;
        if let Some(stop) = self.by_rule() {
            return stop;
        }
        let errno = error.raw_os_error().unwrap_or_default();
        if self.family() == "ipv4"
            && matches!(errno, libc::EHOSTUNREACH | libc::ENETUNREACH)
            && self.read_iif("forwarding").as_deref() == Some("0")
        {
            let why = "the kernel asks the link that a packet comes in on whether to forward it";
            if self.read("net/ipv4/ip_forward").as_deref() == Some("0") {
                let key = "net/ipv4/ip_forward".to_owned();
                let why = "the host does not forward IPv4".to_owned();
                return Stop::Sysctl { key, value: "0".to_owned(), why };
            }
            return self.sysctl("forwarding", "0", why);
        }
        match errno {
            libc::EHOSTUNREACH | libc::ENETUNREACH => Stop::NoRoute { destination },
            libc::EXDEV | libc::EINVAL => self.by_source(),
            _ => self.unknown(&error.to_string()),
        }
    }

    fn unknown(&self, why: &str) -> Stop {
        Stop::Unknown { after: "the routing".to_owned(), why: why.to_owned() }
    }

    /// Why a source is refused (fib_validate_source).
    fn by_source(&self) -> Stop {
        let source = self.question.header.source;
        let back = RouteQuery { source: None, destination: source, iif: None };
        let back = match self.lab.host().enter(|| route(back)) {
            Ok(Ok(found)) => Some(found),
            _ => None,
        };
        let is_own = back.as_ref().is_some_and(|found| found.kind == LOCAL);
        if is_own && self.read_iif("accept_local").as_deref() == Some("0") {
            let why = "the host takes no packet from a link with one of its own addresses as the source";
            return self.sysctl("accept_local", "0", why);
        }
        // The stricter of the two counts.
        let scopes = [self.iif().unwrap_or("all"), "all"];
        let keys = scopes.map(|scope| format!("net/{}/conf/{scope}/rp_filter", self.family()));
        let filters = keys.into_iter().filter_map(|key| Some((self.read(&key)?, key)));
        match filters.max() {
            Some((value, key)) if value != "0" && back.is_none_or(|found| found.oif != self.question.iif) => {
                let why = "the route back to the source leads by another link".to_owned();
                Stop::Sysctl { key, value, why }
            }
            _ => self.unknown("the kernel takes no packet with such an address"),
        }
    }

    /// The rule of the policy routing, or the route, that refuses the packet.
    fn by_rule(&self) -> Option<Stop> {
        let listed = self.list(&["rule", "list"]);
        for (rule, line) in listed.iter().filter(|(rule, _)| self.is_selected(rule)) {
            let line = line.replace('\t', " ");
            match rule["action"].as_str() {
                Some("prohibit" | "unreachable" | "blackhole") => {
                    return Some(Stop::RoutingRule { rule: line });
                }
                Some(_) => continue,
                None => {}
            }
            let Some(table) = rule["table"].as_str() else { continue };
            let destination = self.question.header.destination.to_string();
            let routes = self.list(&["route", "show", "table", table, "match", &destination]);
            let length = |route: &Value| {
                let net = route["dst"].as_str().and_then(|dst| dst.split_once('/'));
                match (route["dst"].as_str(), net) {
                    (_, Some((_, length))) => length.parse().unwrap_or(0),
                    (Some("default") | None, None) => 0,
                    // An address alone.
                    (Some(_), None) => 128,
                }
            };
            let Some((route, line)) = routes.into_iter().max_by_key(|(route, _)| length(route)) else {
                continue;
            };
            match route["type"].as_str() {
                Some("prohibit" | "unreachable" | "blackhole") => {
                    let table = if table == "main" { String::new() } else { format!(" table {table}") };
                    return Some(Stop::Route { route: format!("{}{table}", line.trim()) });
                }
                Some("throw") => {}
                // This table has a route: it is not for a rule that the packet goes nowhere.
                _ => return None,
            }
        }
        None
    }

    /// What `ip` lists, as values and as lines.
    fn list(&self, words: &[&str]) -> Vec<(Value, String)> {
        let run = |first: &[&str]| {
            let args: Vec<&str> = first.iter().chain(words).copied().collect();
            // A table without any route is one that `ip` does not know.
            self.lab.host().feed("ip", &args, "").unwrap_or_default()
        };
        let values: Vec<Value> = serde_json::from_str(&run(&["-j", self.flag()])).unwrap_or_default();
        let lines = run(&[self.flag()]);
        values.into_iter().zip(lines.lines().map(str::to_owned)).collect()
    }

    /// Whether a rule of the policy routing is for the packet, as far as addresses and links tell.
    fn is_selected(&self, rule: &Value) -> bool {
        let header = self.question.header;
        let within = |prefix: &str, length: &str, address: IpAddr| match rule[prefix].as_str() {
            None | Some("all") => true,
            Some(text) => {
                let Ok(base) = text.parse::<IpAddr>() else { return false };
                let whole = if base.is_ipv4() { 32 } else { 128 };
                let length =
                    rule[length].as_u64().and_then(|length| u8::try_from(length).ok()).unwrap_or(whole);
                ipnet::IpNet::new(base, length).is_ok_and(|net| net.contains(&address))
            }
        };
        let link =
            |key: &str, name: Option<&str>| rule[key].as_str().is_none_or(|wanted| Some(wanted) == name);
        // Marks, ports and the rest are nothing that a probe has.
        let others = ["fwmark", "ipproto", "sport", "dport", "uid_start", "tos", "not", "oif"];
        within("src", "srclen", header.source)
            && within("dst", "dstlen", header.destination)
            && link("iif", self.iif().or(Some("lo")))
            && others.iter().all(|key| rule.get(*key).is_none())
    }
}
