//! The story of a packet in words: the answer first, then its way.

use super::wrap::push_wrapped;
use crate::verify::explanation::{ChainPassed, Explanation, Header, RuleSeen, Step, Stop, Told, Way};
use crate::verify::outcome::{Observation, Outcome, Sighting};

/// Where the text behind the labels starts.
const INDENT: usize = 14;

/// The whole story, in lines of so many columns where words allow.
pub fn page(explanation: &Explanation, width: usize) -> String {
    let mut text = String::new();
    push_wrapped(&mut text, &headline(explanation), width, 0);
    if let Some(intended) = &explanation.intended {
        push_wrapped(&mut text, &format!("By the topology, {intended}."), width, 0);
    }
    for note in &explanation.notes {
        push_wrapped(&mut text, note, width, 0);
    }
    text.push('\n');
    let mut page = Page { text, width, label: "" };
    let Observation { sent, seen, outcome, .. } = &explanation.observation;
    if !sent.is_empty() {
        page.line("sent", &format!("{sent}, by {}", explanation.from));
    }
    page.way(&explanation.told.way);
    for sighting in seen {
        page.line("seen", &format!("at {}", sighted(sighting)));
    }
    match (outcome, &explanation.told.way.stop) {
        (Outcome::Blocked, None) => page.line("not seen", &format!("at {}", explanation.to)),
        (_, Some(stop)) => page.end(stop),
        _ => {}
    }
    if let Some(refusal) = &explanation.told.refusal {
        page.line("refused", &format!("the host sent back {}", icmp(refusal)));
    }
    if let Some(answer) = &explanation.told.answer {
        page.text.push_str("\nThe answer:\n\n");
        page.label = "";
        page.way(answer);
        if let Some(stop) = &answer.stop {
            page.end(stop);
        }
    }
    if explanation.told.is_cut {
        page.text.push('\n');
        let cut = "The kernel told more than there was room for: some of the way may be missing.";
        push_wrapped(&mut page.text, cut, width, 0);
    }
    page.text
}

/// The answer to the question, in one sentence.
pub fn headline(explanation: &Explanation) -> String {
    let Explanation { observation, told, .. } = explanation;
    let arrived = || match observation.seen.first() {
        Some(seen) => format!("it arrived at {} with the source {}", seen.node, seen.source),
        None => "it arrived".to_owned(),
    };
    match &observation.outcome {
        Outcome::CouldNotTest(why) => format!("not tested: {why}"),
        Outcome::Blocked => format!("blocked: {}", why_blocked(explanation)),
        Outcome::Answered => {
            let by = match told.way.accepted_by() {
                Some(rule) => format!("accepted by {}", named(rule)),
                None => "no rule dropped it".to_owned(),
            };
            format!("answered: {}, and the answer came back; {by}", arrived())
        }
        Outcome::Delivered if !explanation.is_answerable => {
            format!("delivered: {}; an answer would go to whoever has that address", arrived())
        }
        Outcome::Delivered => {
            format!("one-way: {}, and no answer came back: {}", arrived(), why_unanswered(told))
        }
    }
}

fn why_blocked(explanation: &Explanation) -> String {
    let told = &explanation.told;
    let last = told.way.steps.last();
    match (&told.way.stop, last) {
        (Some(stop), _) => stopped(stop),
        (None, Some(Step::Left { link, .. })) => {
            format!("it left the host by {link}, and did not arrive at {}", explanation.to)
        }
        (None, Some(Step::Taken)) => "no rule dropped it, and no program of the host took it".to_owned(),
        (None, _) => match &explanation.observation.came_in {
            Some(link) => format!("it came in on {link}, and the host did not take it for IP"),
            None => "it did not come to the host".to_owned(),
        },
    }
}

fn why_unanswered(told: &Told) -> String {
    match &told.answer {
        Some(Way { stop: Some(stop), .. }) => format!("the answer was {}", stopped(stop)),
        Some(_) => "the answer left the host and did not arrive at the sender".to_owned(),
        None => "none came to the host".to_owned(),
    }
}

/// What decided, a line each: for a counterexample.
pub fn decided_by(observation: &Observation, told: &Told) -> Vec<String> {
    let mut lines = Vec::new();
    if let Some(stop) = &told.way.stop {
        lines.push(stopped(stop));
    } else if let Some(route) = told.way.route() {
        lines.push(format!("route {route}; no rule dropped it"));
    } else if told.way.steps.is_empty() {
        lines.push(match &observation.came_in {
            Some(link) => format!("it came in on {link}, and the host did not take it for IP"),
            None => "it does not pass the host".to_owned(),
        });
    } else {
        lines.push("no rule dropped it".to_owned());
    }
    if let Some(rule) = told.way.accepted_by() {
        lines.push(format!("accepted by {}", named(rule)));
    }
    lines.extend(told.way.steps.iter().filter_map(|step| match step {
        Step::Rewritten { before, after, rule } => Some(rewritten(before, after, rule.as_ref())),
        _ => None,
    }));
    if observation.outcome == Outcome::Delivered
        && let Some(Way { stop: Some(stop), .. }) = &told.answer
    {
        lines.push(format!("the answer was {}", stopped(stop)));
    }
    lines
}

/// What ended a way.
pub fn stopped(stop: &Stop) -> String {
    match stop {
        Stop::Rule(rule) => format!("dropped by {}", named(rule)),
        Stop::Policy { table, chain } => format!("dropped by the policy of {table} {chain}"),
        Stop::RoutingRule { rule } => format!("stopped by the policy routing: ip rule {rule}"),
        Stop::Route { route } => format!("stopped by the route {route}"),
        Stop::NoRoute { destination } => format!("stopped by the routing: no route to {destination}"),
        Stop::Sysctl { key, value, why } => format!("stopped by {key} = {value}: {why}"),
        Stop::Unknown { after, why } if why.is_empty() => format!("not seen any more after {after}"),
        Stop::Unknown { after, why } => format!("not seen any more after {after}: {why}"),
    }
}

/// `rule F3 in inet isoplan forward: nothing is forwarded to nic eth1 (storage) (topology.toml:10)`.
fn named(rule: &RuleSeen) -> String {
    let RuleSeen { table, chain, handle, id, what, from, .. } = rule;
    match id {
        Some(id) => {
            let what = if what.is_empty() { String::new() } else { format!(": {what}") };
            format!("rule {id} in {table} {chain}{what}{}", places(from.iter().map(|from| &from.place)))
        }
        None => format!("{table} {chain} handle {handle} (not isoplan's)"),
    }
}

/// ` (topology.toml:10)`: the first few of them, or nothing.
fn places<'p>(places: impl Iterator<Item = &'p String>) -> String {
    const SHOWN: usize = 3;
    let mut places: Vec<&str> = places.map(String::as_str).collect();
    let more = places.len() > SHOWN;
    places.truncate(SHOWN);
    if places.is_empty() {
        return String::new();
    }
    format!(" ({}{})", places.join(", "), if more { ", ..." } else { "" })
}

fn rewritten(before: &Header, after: &Header, rule: Option<&RuleSeen>) -> String {
    let is_source = before.source != after.source || before.source_port != after.source_port;
    let word = match rule {
        Some(rule) if rule.rule.contains("masquerade") => "masqueraded",
        _ if is_source => "given another source",
        _ => "given another destination",
    };
    match rule {
        Some(rule) => format!("{word} by {}", named(rule)),
        None => format!("{word} by conntrack, which remembers the flow"),
    }
}

/// What an ICMP error says, in the words of RFC 792, RFC 1812 and RFC 4443.
fn icmp(header: &Header) -> String {
    let says = match (header.source.is_ipv4(), header.icmp) {
        (true, Some((3, 0))) => "network unreachable",
        (true, Some((3, 1))) => "host unreachable",
        (true, Some((3, 2))) => "protocol unreachable",
        (true, Some((3, 3))) | (false, Some((1, 4))) => "port unreachable",
        (true, Some((3, 9 | 10 | 13))) | (false, Some((1, 1))) => "administratively prohibited",
        (true, Some((11, _))) | (false, Some((3, _))) => "time exceeded",
        (false, Some((1, 0))) => "no route to destination",
        (false, Some((1, 3))) => "address unreachable",
        (false, Some((1, 5 | 6))) => "refused by policy",
        _ => "an error",
    };
    let (kind, code) = header.icmp.unwrap_or_default();
    format!("{} {says} ({kind}/{code}) from {}", header.protocol_word(), header.source)
}

fn sighted(sighting: &Sighting) -> String {
    let end = |address: String, port: Option<u16>| match port {
        Some(port) if address.contains(':') => format!("[{address}]:{port}"),
        Some(port) => format!("{address}:{port}"),
        None => address,
    };
    let source = end(sighting.source.to_string(), sighting.source_port);
    let after = format!("{}.{} ms later", sighting.after_us / 1000, sighting.after_us % 1000 / 100);
    match sighting.destination {
        Some(destination) => {
            let destination = end(destination.to_string(), sighting.destination_port);
            format!("{}: {source} -> {destination}, {after}", sighting.node)
        }
        None => format!("{} with the source {source}, {after}", sighting.node),
    }
}

struct Page {
    text: String,
    width: usize,
    /// Of the line before: not said twice.
    label: &'static str,
}

impl Page {
    /// A label and what it is about; later lines stand under the first.
    fn line(&mut self, label: &'static str, content: &str) {
        let shown = if std::mem::replace(&mut self.label, label) == label { "" } else { label };
        self.push(shown, content, INDENT);
    }

    /// Without a label, further in.
    fn under(&mut self, content: &str) {
        self.push("", content, INDENT + 2);
    }

    fn push(&mut self, label: &str, content: &str, indent: usize) {
        let mut wrapped = String::new();
        push_wrapped(&mut wrapped, content, self.width, indent);
        let start = format!("  {label:width$}", width = indent - 2);
        self.text.push_str(&start);
        self.text.push_str(&wrapped[indent..]);
    }

    /// What ended a way; of a rule or a policy there is nothing more to say.
    fn end(&mut self, stop: &Stop) {
        if !matches!(stop, Stop::Rule(_) | Stop::Policy { .. }) {
            self.line("end", &stopped(stop));
        }
    }

    fn way(&mut self, way: &Way) {
        for step in &way.steps {
            self.step(step);
        }
    }

    fn step(&mut self, step: &Step) {
        match step {
            Step::CameIn { link, packet } => {
                self.line("came in", &format!("{}: {packet}", link));
            }
            Step::Sent { packet } => self.line("sent", &format!("by the host: {packet}")),
            Step::Route { route } => self.line("route", route),
            Step::Taken => self.line("taken", "by the host's own sockets"),
            Step::Left { link, packet } => self.line("left", &format!("{}: {packet}", link)),
            Step::Rewritten { before, after, rule } => {
                let by = rewritten(before, after, rule.as_ref());
                // The rule stands above, with all that there is to say of it.
                let by = by.split(": ").next().unwrap_or(&by);
                self.line("rewritten", &format!("{after}: {by}"));
            }
            Step::Chain(passed) => self.chain(passed),
        }
    }

    fn chain(&mut self, passed: &ChainPassed) {
        let ChainPassed { hook, priority, table, chain, rules, verdict, is_policy } = passed;
        let label = match hook.as_deref() {
            Some("prerouting") => "prerouting",
            Some("input") => "input",
            Some("forward") => "forward",
            Some("output") => "output",
            Some("postrouting") => "postrouting",
            _ => "chain",
        };
        let priority = priority.as_ref().map(|priority| format!(", {priority}")).unwrap_or_default();
        let end = match (is_policy, rules.is_empty()) {
            (true, true) => format!("no rule matches, policy {verdict}"),
            (true, false) => format!("policy {verdict}"),
            (false, _) => verdict.clone(),
        };
        self.line(label, &format!("{table} {chain}{priority}: {end}"));
        for rule in rules {
            self.rule(rule, chain);
        }
    }

    fn rule(&mut self, rule: &RuleSeen, base: &str) {
        let RuleSeen { chain, handle, id, rule, what, from, verdict, .. } = rule;
        let name = id.clone().unwrap_or_else(|| format!("handle {handle}"));
        let within = if chain == base { String::new() } else { format!("{chain}: ") };
        let rule = if rule.is_empty() { "not listed by nft" } else { rule };
        // Which chain a map led to, the syntax does not tell.
        let led = if rule.contains(" vmap ") { format!("  -> {verdict}") } else { String::new() };
        self.under(&format!("{name}  {within}{rule}{led}"));
        let origins = places(from.iter().map(|from| &from.place));
        if !what.is_empty() {
            self.push("", &format!("{what}{origins}"), INDENT + 4);
        }
    }
}
