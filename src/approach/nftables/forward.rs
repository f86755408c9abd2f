//! The forward hook: from one link to another.
//!
//! The order is the policy. Exceptions first, because they are narrower than what follows; then the
//! guarded drops, before any word about connection state: an answer accepted earlier would keep a flow
//! alive that was open before the rules came. Then the networks, each on an allowlist, then NICs.
//!
//! Almost every packet is one that none of the rules up to the guarded drops is about. [`guarded::shortcut`] tells so by a few
//! comparisons and sends it on to where the links decide; every other packet meets these rules one by one.

use super::super::rules::{Field, RuleBuilder};
use super::guarded::{CHAIN_BY_LINK, CHAIN_FROM_GUARDED, CHAIN_TO_GUARDED};
use super::table::{TableBuilder, prefixes_of};
use super::{CHAIN_FORWARD, Class, Scene, exact, guarded};
use crate::intent::{Guard, Party};
use crate::ruleset::{SetData, Verdict};
use crate::topology::Inbound;

pub(super) fn fill(scene: &Scene<'_, '_>, table: &mut TableBuilder) {
    fill_maps(scene, table);
    let in_front = guarded::exceptions_are_guarded(scene);
    if in_front {
        guarded::shortcut(scene, table);
    }
    guarded::source_routing(scene, table);
    exceptions(scene, table);
    if !in_front {
        guarded::shortcut(scene, table);
    }
    guarded::guarded(scene, table);
    guarded::by_link(scene, table);
    dispatch(scene, table);
    nics(scene, table);
    for class in &scene.classes {
        from_class(scene, class, table);
        for inbound in [Inbound::None, Inbound::Published, Inbound::Routed] {
            to_class(scene, class, inbound, table);
        }
    }
    same_bridge(scene, table);
    answers(scene, table);
}

fn from_chain(class: &Class<'_>) -> String {
    format!("from_{}", class.name)
}

fn to_chain(class: &Class<'_>, inbound: Inbound) -> String {
    format!("to_{}_{}", class.name, inbound.as_str())
}

fn links_set(class: &Class<'_>) -> String {
    format!("links_{}", class.name)
}

/// Links of NICs that the networks of a class reach.
fn links_reached<'i>(scene: &Scene<'i, '_>, class: &Class<'i>) -> Vec<&'i str> {
    class.key.reaches.iter().flat_map(|nic| scene.intent.links_of(*nic)).collect()
}

/// The link is one of a NIC that the class reaches: compared with the only one, which costs half of a lookup.
fn reached(scene: &Scene<'_, '_>, class: &Class<'_>, rule: RuleBuilder, field: Field) -> RuleBuilder {
    match links_reached(scene, class)[..] {
        [link] => rule.link(field, link),
        _ => rule.within(&[field], &links_set(class)),
    }
}

/// Links of NICs that reach the networks of a class.
fn openers_set(class: &Class<'_>) -> String {
    format!("openers_{}", class.name)
}

const CHAIN_ANSWERS: &str = "answers";
const CHAIN_SAME_BRIDGE: &str = "same_bridge";
/// Pairs of links with a verdict of their own.
const MAP_PAIRS: &str = "pairs";

pub(super) fn goto(chain: &str) -> Verdict {
    Verdict::Goto(chain.into())
}

/// Which chain a network's packets go to, and which pairs of links have a verdict of their own.
fn fill_maps(scene: &Scene<'_, '_>, table: &mut TableBuilder) {
    let intent = scene.intent;
    let topology = intent.topology;
    // Before the networks: of two elements with one key, the first stays.
    for nic in scene.nics_guarded(Guard::All) {
        for link in intent.links_of(nic).filter_map(exact) {
            for (map, chain) in [("from_network", CHAIN_FROM_GUARDED), ("to_network", CHAIN_TO_GUARDED)] {
                let entry = topology.nics[nic].entry;
                table.add_name(map, &link, SetData::Verdict, Some(goto(chain)), entry);
            }
        }
    }
    for class in &scene.classes {
        for nic in class.key.reaches.iter().filter(|_| links_reached(scene, class).len() > 1) {
            for link in intent.links_of(*nic) {
                table.add_link(&links_set(class), link, topology.nics[*nic].entry);
            }
        }
        for nic in &class.key.reached_by {
            for link in intent.links_of(*nic) {
                table.add_link(&openers_set(class), link, topology.nics[*nic].entry);
            }
        }
        for nic in intent.closed_to(class.key) {
            for subnet in &topology.nics[nic].subnets {
                table.add_subnet(&format!("closed_{}", class.name), *subnet, topology.nics[nic].entry);
            }
        }
        for (index, network) in intent.networks_of(class.networks) {
            let from = goto(&from_chain(class));
            table.add_name("from_network", &network.name, SetData::Verdict, Some(from), network.entry);
            let to = goto(&to_chain(class, network.inbound));
            table.add_name("to_network", &network.name, SetData::Verdict, Some(to), network.entry);

            // With bridge-nf-call-iptables on, frames within one bridge pass here too. A prefix cannot
            // say "the same link" as a pair; `same_bridge` does that for those.
            if !network.name.is_prefix() {
                table.add_pair(MAP_PAIRS, &network.name, &network.name, Verdict::Accept, network.entry);
            }
            for reached in &intent.network_reach[index].networks {
                let other = &topology.networks[*reached];
                table.add_pair(MAP_PAIRS, &network.name, &other.name, Verdict::Accept, network.entry);
                if !intent.network_reach[*reached].networks.contains(&index) {
                    table.add_pair(MAP_PAIRS, &other.name, &network.name, goto(CHAIN_ANSWERS), network.entry);
                }
            }
        }
    }
    for (from, nic) in topology.nics.iter().enumerate() {
        for to in 0..topology.nics.len() {
            let guarded = intent.guards[from] == Guard::All || intent.guards[to] == Guard::All;
            let verdict = match () {
                () if guarded => continue,
                () if from == to || intent.nic_reach[from].nics.contains(&to) => Verdict::Accept,
                () if intent.nic_reach[to].nics.contains(&from) => goto(CHAIN_ANSWERS),
                () => continue,
            };
            for a in intent.links_of(from).filter_map(exact) {
                for b in intent.links_of(to).filter_map(exact) {
                    table.add_pair(MAP_PAIRS, &a, &b, verdict.clone(), nic.entry);
                }
            }
        }
    }
    // By which links exceptions have to leave. The whole subnet and not the exception's own address: two
    // exceptions may lie within each other's targets.
    for (allow, pair) in topology.allows.iter().zip(&intent.exceptions) {
        let (subnets, links) = match pair {
            Some((_, Party::Network(to))) => {
                (&topology.networks[*to].subnets, vec![topology.networks[*to].name.clone()])
            }
            Some((_, Party::Nic(to))) => {
                (&topology.nics[*to].subnets, intent.links_of(*to).filter_map(exact).collect())
            }
            _ => continue,
        };
        for subnet in subnets.iter().filter(|subnet| subnet.contains(&allow.to)) {
            for link in &links {
                table.add_link_subnet("allow_links", link, *subnet, allow.entry);
            }
        }
    }
}

/// Exceptions and their answers. Never wider than written: the incoming link, the sender's subnet, the
/// target, protocol and port, and the link that the target's network is on.
fn exceptions(scene: &Scene<'_, '_>, table: &mut TableBuilder) {
    let origins = scene.allow_entries();
    let names = scene.allow_names();
    let families =
        [("v4", Field::Saddr4, Field::Daddr4, "E1", "E2"), ("v6", Field::Saddr6, Field::Daddr6, "E3", "E4")];
    for (suffix, saddr, daddr, out, back) in families {
        let (allow, links) = (format!("allow_{suffix}"), format!("allow_links_{suffix}"));
        if !table.has(&allow) {
            continue;
        }
        let rule = RuleBuilder::inet()
            .within(&[Field::Iif, saddr, daddr, Field::L4Proto, Field::Dport], &allow)
            .within(&[Field::Oif, daddr], &links)
            .counted()
            .accept();
        table.push(CHAIN_FORWARD, rule.rule(out, &names, origins.clone()));
        let rule = RuleBuilder::inet()
            .answer()
            .within(&[Field::Oif, daddr, saddr, Field::L4Proto, Field::Sport], &allow)
            .within(&[Field::Iif, saddr], &links)
            .counted()
            .accept();
        table.push(CHAIN_FORWARD, rule.rule(back, &format!("answers to {names}"), origins.clone()));
    }
}

/// Into the chain of the network that a packet comes from, else of the one that it goes to. The links of guarded NICs
/// are in the same maps, so that they cost no lookup of their own.
fn dispatch(scene: &Scene<'_, '_>, table: &mut TableBuilder) {
    let (exact, prefixes) = scene.networks_by_kind();
    let maps = [
        ("F9", Field::Iif, "from_network".to_owned(), "what they send goes to their allowlist", &exact),
        ("F10", Field::Iif, prefixes_of("from_network"), "what they send goes to their allowlist", &prefixes),
        ("F11", Field::Oif, "to_network".to_owned(), "what others send to them", &exact),
        ("F12", Field::Oif, prefixes_of("to_network"), "what others send to them", &prefixes),
    ];
    for (id, field, map, what, networks) in maps {
        if table.has(&map) {
            let (what, origins) = if networks.is_empty() {
                let nics: Vec<_> = scene.nics_guarded(Guard::All).collect();
                (
                    format!("{}: nothing is forwarded", scene.nic_names(nics.iter().copied())),
                    scene.nic_entries(nics),
                )
            } else {
                (format!("{}: {what}", scene.network_names(networks)), scene.network_entries(networks))
            };
            let rule = RuleBuilder::inet().vmap(&[field], &map);
            table.push(CHAIN_BY_LINK, rule.rule(id, &what, origins));
        }
    }
}

/// Between NICs, and between NICs and links that the file does not know.
fn nics(scene: &Scene<'_, '_>, table: &mut TableBuilder) {
    let pair = [Field::Iif, Field::Oif];
    let all = 0..scene.intent.topology.nics.len();
    let names = scene.nic_names(all.clone());
    let origins = scene.nic_entries(all.take(super::NAMED));
    // In front of the pairs: a changed route must not lead from one NIC to the network of another by a
    // third.
    let open = scene.intent.guards.iter().filter(|guard| **guard != Guard::All).count();
    for (id, suffix, daddr) in [("F21", "v4", Field::Daddr4), ("F22", "v6", Field::Daddr6)] {
        let (nets, routes) = (format!("nic_nets_{suffix}"), format!("routes_{suffix}"));
        if open > 1 && table.has(&nets) && table.has(&routes) {
            let rule = RuleBuilder::inet()
                .within(&[Field::Iif], "nic_links")
                .within(&[daddr], &nets)
                .outside(&[Field::Iif, daddr], &routes);
            let what = format!("whatever the route, no other routing between {names}");
            table.push(CHAIN_BY_LINK, rule.drop().rule(id, &what, origins.clone()));
        }
    }
    if table.has(MAP_PAIRS) {
        let rule = RuleBuilder::inet().vmap(&pair, MAP_PAIRS);
        let what = format!("pairs that may reach each other, of {names}");
        table.push(CHAIN_BY_LINK, rule.rule("F13", &what, origins.clone()));
    }
    if table.has("nic_links") {
        let rule = RuleBuilder::inet().within(&[Field::Iif], "nic_links").within(&[Field::Oif], "nic_links");
        let what = format!("no other routing between {names}");
        table.push(CHAIN_BY_LINK, rule.drop().rule("F14", &what, origins));
    }
    let restricted: Vec<_> = scene.nics_guarded(Guard::Some).collect();
    if restricted.is_empty() || !table.has("restricted_links") {
        return;
    }
    let names = scene.nic_names(restricted.iter().copied());
    let origins = scene.nic_entries(restricted);
    for (id, field, what) in [("F15", Field::Oif, "to"), ("F16", Field::Iif, "from")] {
        let rule = RuleBuilder::inet().within(&[field], "restricted_links").drop();
        let what = format!("no link that the file does not know: {what} {names}");
        table.push(CHAIN_BY_LINK, rule.rule(id, &what, origins.clone()));
    }
    let what = format!("nor by another route: to {names}");
    table.drop_per_family(
        CHAIN_BY_LINK,
        ["F17", "F18"],
        "restricted",
        [Field::Daddr4, Field::Daddr6],
        &what,
        &origins,
    );
    let what = format!("nor by another route: from {names}");
    table.drop_per_family(
        CHAIN_BY_LINK,
        ["F19", "F20"],
        "restricted",
        [Field::Saddr4, Field::Saddr6],
        &what,
        &origins,
    );
}

/// The allowlist of what networks of a class may send.
fn from_class(scene: &Scene<'_, '_>, class: &Class<'_>, table: &mut TableBuilder) {
    let chain = from_chain(class);
    let names = scene.network_names(class.networks);
    let origins = scene.network_entries(class.networks);
    let openers = openers_set(class);
    if table.has(&openers) {
        let rule = RuleBuilder::inet().within(&[Field::Oif], &openers).answer().accept();
        let what = format!("{names} may answer {}", scene.nic_names(class.key.reached_by.iter().copied()));
        table.push(&chain, rule.rule("N9", &what, origins.clone()));
    }
    let closed: Vec<_> = scene.intent.closed_to(class.key).collect();
    let what = format!("{names} may not reach {}", scene.nic_names(closed.iter().copied()));
    let mut closed_origins = scene.nic_entries(closed);
    closed_origins.extend(&origins);
    table.drop_per_family(
        &chain,
        ["N1", "N2"],
        &format!("closed_{}", class.name),
        [Field::Daddr4, Field::Daddr6],
        &what,
        &closed_origins,
    );
    if scene.has_overlays() {
        // By NICs only: between containers of one bridge it is nobody's overlay but theirs.
        let rule = RuleBuilder::inet()
            .within(&[Field::Oif], "nic_links")
            .within(&[Field::UdpDport], "overlay_ports")
            .drop();
        let what = format!("no container speaks the encapsulation of {}", scene.overlay_names());
        table.push(&chain, rule.rule("N3", &what, origins.clone()));
    }
    if !class.key.reaches.is_empty() {
        let rule = reached(scene, class, RuleBuilder::inet(), Field::Oif).accept();
        let what = format!("{names} may reach {}", scene.nic_names(class.key.reaches.iter().copied()));
        table.push(&chain, rule.rule("N4", &what, origins.clone()));
    }
    if table.has(MAP_PAIRS) {
        let rule = RuleBuilder::inet().vmap(&[Field::Iif, Field::Oif], MAP_PAIRS);
        let what = format!("pairs of {names} and what they reach");
        table.push(&chain, rule.rule("N5", &what, origins.clone()));
    }
    // Behind what goes by exact names, none of which is that of a guarded NIC; before what goes by a wildcard.
    if table.has("guarded_links") {
        let nics: Vec<_> = scene.nics_guarded(Guard::All).collect();
        let what = format!("{names} may not reach {}", scene.nic_names(nics.iter().copied()));
        let rule = RuleBuilder::inet().within(&[Field::Oif], "guarded_links").drop();
        table.push(&chain, rule.rule("N10", &what, origins.clone()));
    }
    if table.has(&prefixes_of(MAP_PAIRS)) {
        let rule = RuleBuilder::inet().vmap(&[Field::Iif, Field::Oif], &prefixes_of(MAP_PAIRS));
        let what = format!("pairs of {names} and what they reach");
        table.push(&chain, rule.rule("N6", &what, origins.clone()));
    }
    if table.has(&prefixes_of("network")) {
        let set = prefixes_of("network");
        let rule = RuleBuilder::inet().within(&[Field::Iif], &set).within(&[Field::Oif], &set);
        let what = format!("within one bridge of {names}");
        table.push(&chain, rule.verdict(goto(CHAIN_SAME_BRIDGE)).rule("N7", &what, origins.clone()));
    }
    let what = format!("nothing else from {names}");
    table.push(&chain, RuleBuilder::inet().drop().rule("N8", &what, origins));
}

/// What may come to networks of a class from NICs, and from links that the file does not know.
fn to_class(scene: &Scene<'_, '_>, class: &Class<'_>, inbound: Inbound, table: &mut TableBuilder) {
    let topology = scene.intent.topology;
    let members: Vec<usize> =
        class.networks.iter().copied().filter(|net| topology.networks[*net].inbound == inbound).collect();
    if members.is_empty() {
        return;
    }
    let chain = to_chain(class, inbound);
    let names = scene.network_names(&members);
    let origins = scene.network_entries(&members);
    let openers = openers_set(class);
    if table.has(&openers) {
        let rule = RuleBuilder::inet().within(&[Field::Iif], &openers).accept();
        let what = format!("{} may reach {names}", scene.nic_names(class.key.reached_by.iter().copied()));
        table.push(&chain, rule.rule("T9", &what, origins.clone()));
    }
    let closed: Vec<_> = scene.intent.closed_to(class.key).collect();
    let what = format!("{} may not reach {names}", scene.nic_names(closed.iter().copied()));
    let mut closed_origins = scene.nic_entries(closed);
    closed_origins.extend(&origins);
    table.drop_per_family(
        &chain,
        ["T1", "T2"],
        &format!("closed_{}", class.name),
        [Field::Saddr4, Field::Saddr6],
        &what,
        &closed_origins,
    );
    if !class.key.reaches.is_empty() {
        // What conntrack knows first: it costs less than the name of the link.
        let from_reachable = |rule| reached(scene, class, rule, Field::Iif);
        let rule = from_reachable(RuleBuilder::inet().answer()).accept();
        table.push(&chain, rule.rule("T3", &format!("answers to {names}"), origins.clone()));
        match inbound {
            Inbound::None => {}
            Inbound::Published => {
                let what = format!("what was published of {names}");
                let rule = from_reachable(RuleBuilder::inet().published()).accept();
                table.push(&chain, rule.rule("T4", &what, origins.clone()));
            }
            Inbound::Routed => {
                let what = format!(
                    "{names} are routed: connections from {}",
                    scene.nic_names(class.key.reaches.iter().copied())
                );
                let rule = from_reachable(RuleBuilder::inet()).accept();
                table.push(&chain, rule.rule("T5", &what, origins.clone()));
            }
        }
    }
    let what = format!("nothing else to {names}");
    table.push(&chain, RuleBuilder::inet().drop().rule("T8", &what, origins));
}

/// Packets between two links that the same wildcards match. They are within one bridge when the route
/// to the destination leads back to where the packet came from, or when the destination is one that is
/// not routed: broadcast on that link, IPv6 link-local, or multicast, which crosses bridges only where a
/// multicast router runs.
fn same_bridge(scene: &Scene<'_, '_>, table: &mut TableBuilder) {
    if !table.has(&prefixes_of("network")) {
        return;
    }
    let topology = scene.intent.topology;
    let networks: Vec<_> =
        (0..topology.networks.len()).filter(|net| topology.networks[*net].name.is_prefix()).collect();
    let origins = scene.network_entries(&networks);
    if let Ok(link_local) = "fe80::/10".parse() {
        table.add_subnet("link_scope", link_local, scene.intent.topology.isolation.entry);
    }
    let names = scene.network_names(&networks);
    let rules = [
        ("S1", RuleBuilder::inet().stays_on_link().accept(), "the route stays on the bridge"),
        (
            "S2",
            RuleBuilder::inet().within(&[Field::DaddrTypeOnIif], "own_types").accept(),
            "broadcast and multicast",
        ),
        ("S3", RuleBuilder::inet().within(&[Field::Daddr6], "link_scope_v6").accept(), "IPv6 link-local"),
        ("S4", RuleBuilder::inet().drop(), "two bridges of one name do not reach each other"),
    ];
    for (id, rule, what) in rules {
        table.push(CHAIN_SAME_BRIDGE, rule.rule(id, &format!("{names}: {what}"), origins.clone()));
    }
}

/// Where a pair may only answer.
fn answers(scene: &Scene<'_, '_>, table: &mut TableBuilder) {
    let used = |map: &str| table.uses_chain(map, CHAIN_ANSWERS);
    if !used(MAP_PAIRS) && !used(&prefixes_of(MAP_PAIRS)) {
        return;
    }
    let origin = vec![scene.intent.topology.isolation.entry];
    let rule = RuleBuilder::inet().answer().accept();
    table.push(CHAIN_ANSWERS, rule.rule("R1", "isolation: answers pass", origin.clone()));
    table.push(CHAIN_ANSWERS, RuleBuilder::inet().drop().rule("R2", "isolation: reach is one way", origin));
}
