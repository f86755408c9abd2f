//! The tree of a TOML file to entries: tables, their keys, and the type and form of each value.

use toml::de::{DeTable, DeValue};

use super::address::{self, Subnet};
use super::limits::{ENTRIES_MAX, REASON_MAX, ROLE_MAX, VNI_MAX, VXLAN_PORT};
use super::mistake::{At, Mistakes, Span, quote};
use super::model::{
    ApproachName, EntryId, EntryKind, IF_NAME_MAX, IfName, IfNameFault, Inbound, NamePattern,
};
use super::raw::{
    Field, Head, List, Name, Raw, RawAllow, RawFlat, RawIsolation, RawNetwork, RawNic, RawOverlay, Subnets,
};
use super::table::{Table, Value, described, header, span_of};
use super::{ports, table};

/// Every kind of table.
const KINDS: [EntryKind; 6] = EntryKind::ALL;

/// The words of `inbound`.
const INBOUND: [(Inbound, &str); 3] = [
    (Inbound::Published, Inbound::Published.as_str()),
    (Inbound::None, Inbound::None.as_str()),
    (Inbound::Routed, Inbound::Routed.as_str()),
];

/// Approaches that are there to be compared with, not to be applied.
const COMPARED: [&str; 5] = ["nftables-subnet", "route", "iptables", "layered", "none"];

/// Reads all entries; returns with them each one's kind, title and header, in the order of the file.
pub(super) fn document<'t>(root: &'t DeTable<'t>, mistakes: &mut Mistakes) -> (Raw, Vec<Head>) {
    let mut raw = Raw::default();
    let mut tables: Vec<(Span, EntryKind, &'t DeTable<'t>)> = Vec::new();
    for (key, value) in root {
        let name: &str = key.get_ref();
        match KINDS.into_iter().find(|kind| kind.as_str() == name) {
            Some(kind) => tables_of(kind, key.span().into(), value, &mut tables, mistakes),
            None => {
                raw.unknown_table = true;
                unknown_table(name, key.span().into(), mistakes);
            }
        }
    }
    tables.sort_by_key(|(span, kind, _)| (*span, *kind));
    if let Some((span, ..)) = tables.get(ENTRIES_MAX) {
        let message = format!("the file has {} entries, more than {ENTRIES_MAX}", tables.len());
        mistakes.add(*span, message).hint("is this a topology file?");
        return (Raw { unknown_table: true, ..Raw::default() }, Vec::new());
    }
    let mut heads = Vec::with_capacity(tables.len());
    for (index, (span, kind, table)) in tables.into_iter().enumerate() {
        let id = EntryId(u32::try_from(index).unwrap_or(u32::MAX));
        let head = Head { id, kind, span, title: title(kind, table) };
        heads.push(head.clone());
        let table = Table::open(head, table, mistakes);
        match kind {
            EntryKind::Bridge | EntryKind::Overlay => raw.networks.push(network(table)),
            EntryKind::Flat => raw.flats.push(flat(table)),
            EntryKind::Nic => raw.nics.push(nic(table)),
            EntryKind::Allow => raw.allows.push(allow(table)),
            EntryKind::Isolation => raw.isolation = Some(isolation(table)),
        }
    }
    (raw, heads)
}

/// How messages call an entry.
fn title<'t>(kind: EntryKind, table: &'t DeTable<'t>) -> String {
    let text = |key: &str| table.get(key).and_then(|value| value.get_ref().as_str());
    match kind {
        EntryKind::Isolation => "`[isolation]`".to_owned(),
        EntryKind::Allow => match (text("from"), text("to")) {
            (Some(from), Some(to)) => format!("the exception {}", quote(&format!("{from} to {to}"))),
            (Some(from), None) => format!("the exception from {}", quote(from)),
            (None, Some(to)) => format!("the exception to {}", quote(to)),
            (None, None) => "this `[[allow]]`".to_owned(),
        },
        _ => match text("name") {
            Some(name) => format!("{} {}", kind.as_str(), quote(name)),
            None => format!("this `{}`", header(kind)),
        },
    }
}

/// The tables of a kind: `[[bridge]]` or a list of inline tables; of `[isolation]` one.
fn tables_of<'t>(
    kind: EntryKind,
    key: Span,
    value: &'t Value<'t>,
    tables: &mut Vec<(Span, EntryKind, &'t DeTable<'t>)>,
    mistakes: &mut Mistakes,
) {
    let once = kind == EntryKind::Isolation;
    match value.get_ref() {
        DeValue::Table(table) => {
            let mut span = span_of(value);
            if span == Span::default() || span.start < key.start {
                // A table that only dotted keys or sub-tables make has no header of its own.
                span = key;
            }
            if !once {
                let message = format!("`{}` is a list of tables", kind.as_str());
                mistakes.add(span, message).hint(format!("in double brackets: {}", header(kind)));
            }
            tables.push((span, kind, table));
        }
        DeValue::Array(array) => {
            let mut first = None;
            for item in array.iter() {
                let span = span_of(item);
                let DeValue::Table(table) = item.get_ref() else {
                    let message =
                        format!("`{}` is a list of tables, not {}", kind.as_str(), described(item.get_ref()));
                    mistakes.add(span, message).hint(format!("such as: {} and its keys below", header(kind)));
                    continue;
                };
                if once && first.is_none() {
                    let found = mistakes.add(span, "`isolation` is one table, not a list");
                    found.hint("in single brackets, once: [isolation]");
                }
                if !once || first.is_none() {
                    tables.push((span, kind, table));
                }
                first.get_or_insert(span);
            }
        }
        other => {
            let message = format!("`{}` must be a table, not {}", kind.as_str(), described(other));
            mistakes
                .add(span_of(value), message)
                .hint(format!("such as: {} and its keys below", header(kind)));
        }
    }
}

fn unknown_table(name: &str, span: Span, mistakes: &mut Mistakes) {
    let guess = mistakes.guess(name, KINDS.iter().map(|kind| kind.as_str()));
    let guess = KINDS.into_iter().find(|kind| Some(kind.as_str()) == guess);
    let within = KINDS.into_iter().rev().find(|kind| table::keys(*kind).contains(&name));
    let hint = match (guess, within) {
        (Some(kind), _) => format!("did you mean `{}`?", header(kind)),
        (None, Some(EntryKind::Isolation)) => format!("`{name}` belongs below `[isolation]`"),
        (None, Some(_)) => format!("`{name}` belongs below the header of its entry, such as `[[bridge]]`"),
        (None, None) => {
            "a topology has: [[bridge]], [[overlay]], [[flat]], [[nic]], [[allow]], [isolation]".to_owned()
        }
    };
    mistakes.add(span, format!("unknown key {}", quote(name))).hint(hint);
}

fn network(mut table: Table<'_, '_>) -> RawNetwork {
    let overlay = (table.head.kind == EntryKind::Overlay).then(|| {
        let underlay = table.required("underlay", "\"eth0\"");
        let underlay = underlay.and_then(|value| table.string("underlay", value)).map(owned);
        let vni = table.required("vni", "42").and_then(|value| table.integer("vni", value, 1, VNI_MAX));
        let port = match table.get("port") {
            Some(value) => {
                table.integer("port", value, 1, u32::from(u16::MAX)).and_then(|n| u16::try_from(n).ok())
            }
            None => Some(VXLAN_PORT),
        };
        RawOverlay { underlay, vni, port }
    });
    let inbound = match table.word("inbound", &INBOUND) {
        Field::Absent => Some(Inbound::Published),
        Field::Faulty => None,
        Field::Given(at) => Some(at.value),
    };
    RawNetwork {
        overlay,
        name: name(&mut table, true),
        subnets: subnets(&mut table),
        reach: table.strings("reach", "[\"service\"]"),
        inbound,
        head: table.head,
    }
}

fn flat(mut table: Table<'_, '_>) -> RawFlat {
    let nic = table.required("nic", "\"eth0\"").and_then(|value| table.string("nic", value)).map(owned);
    RawFlat {
        name: name(&mut table, false),
        nic,
        reach: table.strings("reach", "[\"service\"]"),
        head: table.head,
    }
}

fn nic(mut table: Table<'_, '_>) -> RawNic {
    let role = table.required("role", "\"service\"").and_then(|value| table.string("role", value));
    if let Some(role) = role {
        check_role(role, &mut table);
    }
    let snat = match table.get("snat").map(|value| (value, value.get_ref())) {
        Some((value, DeValue::String(text))) => {
            let span = span_of(value);
            let items = vec![At { value: text.clone().into_owned(), span }];
            List { span: Some(span), items, faulty: false }
        }
        _ => table.strings("snat", "\"203.0.113.5\""),
    };
    RawNic {
        name: name(&mut table, false),
        role: role.map(owned),
        subnets: subnets(&mut table),
        reach: table.strings("reach", "[\"service\"]"),
        masquerade: table.boolean("masquerade"),
        snat: address::snat(snat, &table.head.title, table.mistakes),
        head: table.head,
    }
}

fn allow(mut table: Table<'_, '_>) -> RawAllow {
    let from = table.required("from", "\"docker0\"").and_then(|value| table.string("from", value)).map(owned);
    let to = table.required("to", "\"192.168.57.9\"").and_then(|value| table.string("to", value));
    let to = to.and_then(|to| address::target(to, &table.head.title, table.mistakes));
    let protocol = table.word("protocol", &super::model::Protocol::WORDS);
    let ports = ports::read(&mut table);
    let reason = table.get("reason").and_then(|value| table.string("reason", value));
    if let Some(reason) = reason {
        let length = reason.value.chars().count();
        if length > REASON_MAX {
            let message = format!("`reason` of {} has {length} characters", table.head.title);
            table.mistakes.add(reason.span, message).hint(format!("at most {REASON_MAX}"));
        }
        if let Some(c) = reason.value.chars().find(|c| c.is_control()) {
            let message = format!(
                "`reason` of {} has the control character {}",
                table.head.title,
                quote(&c.to_string())
            );
            table.mistakes.add(reason.span, message).hint("one line of text");
        }
    }
    RawAllow { from, to, protocol, ports, reason: reason.map(|at| at.value.to_owned()), head: table.head }
}

fn isolation(mut table: Table<'_, '_>) -> RawIsolation {
    let compared = table.get("approach").and_then(|value| {
        let text = value.get_ref().as_str()?;
        COMPARED.contains(&text).then_some((text, span_of(value)))
    });
    let approach = match compared {
        Some((text, span)) => {
            let message = format!("approach `{text}` is one to compare with, and cannot be applied");
            let hint = "`nftables` and `sysctl` can be";
            table.mistakes.add(span, message).hint(hint);
            Field::Faulty
        }
        None => table.word("approach", &ApproachName::WORDS),
    };
    RawIsolation { id: table.head.id, approach, masquerade: table.boolean("masquerade") }
}

fn owned(at: At<&str>) -> At<String> {
    At { value: at.value.to_owned(), span: at.span }
}

fn subnets(table: &mut Table<'_, '_>) -> Subnets {
    let texts = table.strings("subnets", "[\"192.168.56.0/24\"]");
    let mut list =
        List { span: texts.span, items: Vec::with_capacity(texts.items.len()), faulty: texts.faulty };
    let mut vague = Vec::new();
    for text in texts.items {
        let before = address::subnet(&text, &table.head.title, table.mistakes);
        list.faulty |= !matches!(before, Subnet::Read(_));
        match before {
            Subnet::Read(net) | Subnet::Guessed(net) => list.items.push(At { value: net, span: text.span }),
            Subnet::Vague(net) => vague.push(net),
            Subnet::Unknown => {}
        }
    }
    Subnets { list, vague }
}

fn name(table: &mut Table<'_, '_>, patterns: bool) -> Option<Name> {
    let example = match table.head.kind {
        EntryKind::Nic => "\"eth0\"",
        EntryKind::Flat => "\"br-ex\"",
        _ => "\"docker0\"",
    };
    let value = table.required("name", example)?;
    let text = table.string("name", value)?;
    let parsed = match text.value.strip_suffix('*') {
        Some(stem) if patterns => pattern(stem, text, table),
        _ => match IfName::new(text.value) {
            Ok(name) => Some(NamePattern::Exact(name)),
            Err(fault) => {
                refuse_name(fault, text, patterns, table);
                None
            }
        },
    };
    Some(Name { text: text.value.to_owned(), span: text.span, value: parsed })
}

/// The name of all interfaces that start alike.
fn pattern(stem: &str, text: At<&str>, table: &mut Table<'_, '_>) -> Option<NamePattern> {
    if stem.is_empty() {
        table
            .mistakes
            .add(text.span, "the name `*` matches every interface")
            .hint("a prefix, such as `br-*`");
        return None;
    }
    // `lo` itself is reserved.
    if stem == "l" {
        let message = "the name `l*` also matches the loopback interface `lo`";
        table.mistakes.add(text.span, message).hint("a longer prefix");
        return None;
    }
    match IfName::new(stem) {
        // With no character after it, the prefix would name one interface only.
        Ok(name) if name.as_str().len() < IF_NAME_MAX => Some(NamePattern::Prefix(name)),
        Ok(_) => {
            refuse_name(IfNameFault::TooLong(text.value.len()), text, true, table);
            None
        }
        Err(IfNameFault::TooLong(length)) => {
            refuse_name(IfNameFault::TooLong(length + 1), text, true, table);
            None
        }
        Err(fault) => {
            refuse_name(fault, text, true, table);
            None
        }
    }
}

fn refuse_name(fault: IfNameFault, text: At<&str>, patterns: bool, table: &mut Table<'_, '_>) {
    let kind = table.head.kind;
    let name = quote(text.value);
    let (message, hint) = match fault {
        IfNameFault::Empty => {
            (format!("the name of this `{}` is empty", header(kind)), "the name of a Linux interface")
        }
        IfNameFault::TooLong(length) => (
            format!("the name {name} has {length} bytes"),
            "a Linux interface has a name of at most 15 bytes, a pattern at most 14 and the `*`",
        ),
        IfNameFault::Character('*') if patterns => (
            format!("the name {name} has a `*` that is not at its end"),
            "one `*`, at the end, such as `br-*`",
        ),
        IfNameFault::Character('*') => (
            format!("{} {name} must be one interface, not a pattern", kind.as_str()),
            "one entry for each; only bridges and overlays may end in `*`",
        ),
        IfNameFault::Character(c) => (
            format!("the name {name} has the character {}", quote(&c.to_string())),
            "isoplan takes the letters a to z and A to Z, digits, and . _ - @",
        ),
        IfNameFault::Reserved => (
            format!("the name {name} is reserved"),
            "`lo`, `all`, `default`, `.` and `..` cannot be named here",
        ),
    };
    table.mistakes.add(text.span, message).hint(hint);
}

fn check_role(role: At<&str>, table: &mut Table<'_, '_>) {
    let mut chars = role.value.chars();
    let first = chars.next();
    let fault = match first {
        None => "is empty".to_owned(),
        Some(c) if !c.is_ascii_alphabetic() => format!("starts with {}", quote(&c.to_string())),
        Some(_) => match chars.find(|c| !c.is_ascii_alphanumeric() && !"-_".contains(*c)) {
            Some(c) => format!("has the character {}", quote(&c.to_string())),
            None if role.value.len() > ROLE_MAX => format!("has {} characters", role.value.len()),
            None => return,
        },
    };
    let message = format!("the role of {} {fault}", table.head.title);
    let hint = "1 to 15 of a to z, A to Z, 0 to 9, - and _, the first one a letter";
    table.mistakes.add(role.span, message).hint(hint);
}
