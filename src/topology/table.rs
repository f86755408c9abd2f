//! One table of the file while its keys are read: what has the wrong type or is unknown is reported
//! here.

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::mistake::{At, Found, Mistakes, Span, quote};
use super::model::EntryKind;
use super::raw::{Field, Head, List};

pub(super) type Value<'i> = Spanned<DeValue<'i>>;

/// A table whose keys are known.
pub(super) struct Table<'t, 'm> {
    pub(super) head: Head,
    table: &'t DeTable<'t>,
    pub(super) mistakes: &'m mut Mistakes,
}

/// The keys of each kind of table.
pub(crate) const fn keys(kind: EntryKind) -> &'static [&'static str] {
    match kind {
        EntryKind::Bridge => &["name", "subnets", "reach", "inbound"],
        EntryKind::Overlay => &["name", "underlay", "vni", "port", "subnets", "reach", "inbound"],
        EntryKind::Flat => &["name", "nic", "reach"],
        EntryKind::Nic => &["name", "role", "subnets", "reach", "masquerade", "snat"],
        EntryKind::Allow => &["from", "to", "protocol", "ports", "reason"],
        EntryKind::Isolation => &["approach", "masquerade"],
    }
}

/// How the header of a kind is written.
pub(super) const fn header(kind: EntryKind) -> &'static str {
    match kind {
        EntryKind::Bridge => "[[bridge]]",
        EntryKind::Overlay => "[[overlay]]",
        EntryKind::Flat => "[[flat]]",
        EntryKind::Nic => "[[nic]]",
        EntryKind::Allow => "[[allow]]",
        EntryKind::Isolation => "[isolation]",
    }
}

/// Keys that people look for in the wrong table, and where they are.
const MISPLACED: &[(EntryKind, &str, &str)] = &[
    (EntryKind::Flat, "subnets", "a flat has the subnets of its NIC: write them in the `[[nic]]`"),
    (
        EntryKind::Flat,
        "inbound",
        "a flat is bridged, not routed: what comes in never passes this host's routing",
    ),
    (EntryKind::Flat, "role", "a flat has the role of its NIC"),
    (EntryKind::Bridge, "role", "only a `[[nic]]` has a role; others reach a bridge by its name"),
    (EntryKind::Bridge, "vni", "a network with a VNI is an `[[overlay]]`"),
    (EntryKind::Bridge, "underlay", "a network with an underlay is an `[[overlay]]`"),
    (EntryKind::Bridge, "port", "a network with an encapsulation port is an `[[overlay]]`"),
    (EntryKind::Bridge, "nic", "instances bridged onto a NIC are a `[[flat]]`"),
    (EntryKind::Bridge, "masquerade", "bridges are masqueraded by `masquerade` of `[isolation]`"),
    (EntryKind::Bridge, "snat", "only a `[[nic]]` has `snat`; bridges are masqueraded"),
    (EntryKind::Bridge, "allow", "an exception is a table of its own: `[[allow]]`"),
    (EntryKind::Overlay, "masquerade", "overlays are masqueraded by `masquerade` of `[isolation]`"),
    (EntryKind::Overlay, "nic", "the NIC that carries an overlay is its `underlay`"),
    (EntryKind::Nic, "inbound", "`inbound` is a key of `[[bridge]]` and `[[overlay]]`"),
    (EntryKind::Nic, "approach", "`approach` is a key of `[isolation]`"),
];

impl<'t, 'm> Table<'t, 'm> {
    /// Opens a table and reports the keys that its kind does not have.
    pub(super) fn open(head: Head, table: &'t DeTable<'t>, mistakes: &'m mut Mistakes) -> Self {
        let known = keys(head.kind);
        for (key, _) in table {
            let name: &str = key.get_ref();
            if known.contains(&name) {
                continue;
            }
            let guess = mistakes.guess(name, known.iter().copied());
            let misplaced = MISPLACED.iter().find(|(kind, key, _)| *kind == head.kind && *key == name);
            let hint = match (misplaced, guess) {
                (Some((_, _, hint)), _) => (*hint).to_owned(),
                (None, Some(guess)) => format!("did you mean `{guess}`?"),
                (None, None) => format!("{} has: {}", header(head.kind), known.join(", ")),
            };
            let message = format!("unknown key {} in {}", quote(name), head.title);
            mistakes.add(key.span().into(), message).hint(hint);
        }
        Self { head, table, mistakes }
    }

    pub(super) fn get(&self, key: &str) -> Option<&'t Value<'t>> {
        self.table.get(key)
    }

    /// A key that the entry must have.
    pub(super) fn required(&mut self, key: &str, example: &str) -> Option<&'t Value<'t>> {
        let value = self.table.get(key);
        if value.is_none() {
            let message = format!("{} has no `{key}`", self.head.title);
            self.mistakes.add(self.head.span, message).hint(format!("such as: {key} = {example}"));
        }
        value
    }

    /// Reports that a value is not what the key takes.
    pub(super) fn wrong(&mut self, key: &str, value: &Value<'_>, must: &str) -> &mut Found {
        let message =
            format!("`{key}` of {} must be {must}, not {}", self.head.title, described(value.get_ref()));
        self.mistakes.add(value.span().into(), message)
    }

    pub(super) fn string(&mut self, key: &str, value: &'t Value<'t>) -> Option<At<&'t str>> {
        if let DeValue::String(text) = value.get_ref() {
            return Some(At { value: text, span: value.span().into() });
        }
        let hint = match value.get_ref() {
            DeValue::Integer(number) if key == "name" => Some(format!("in quotes: {key} = \"{number}\"")),
            DeValue::Array(_) => Some(format!("`{key}` is one value: without the brackets")),
            _ => None,
        };
        let found = self.wrong(key, value, "a string");
        if let Some(hint) = hint {
            found.hint(hint);
        }
        None
    }

    pub(super) fn boolean(&mut self, key: &str) -> Field<bool> {
        match self.get(key) {
            None => Field::Absent,
            Some(value) => match value.get_ref() {
                DeValue::Boolean(on) => Field::Given(At { value: *on, span: value.span().into() }),
                other => {
                    let quoted = other.as_str().is_some_and(|text| matches!(text, "true" | "false"));
                    let found = self.wrong(key, value, "true or false");
                    if quoted {
                        found.hint("without the quotes");
                    }
                    Field::Faulty
                }
            },
        }
    }

    pub(super) fn integer(&mut self, key: &str, value: &'t Value<'t>, least: u32, most: u32) -> Option<u32> {
        let number = match value.get_ref() {
            DeValue::Integer(_) => integer_of(value.get_ref()),
            _ => None,
        };
        let number = number.and_then(|n| u32::try_from(n).ok()).filter(|n| (least..=most).contains(n));
        if number.is_none() {
            let found = self.wrong(key, value, &format!("an integer from {least} to {most}"));
            if value.get_ref().as_str().is_some_and(|text| text.parse::<u32>().is_ok()) {
                found.hint("without the quotes");
            }
        }
        number
    }

    /// One of a few words.
    pub(super) fn word<T: Copy>(&mut self, key: &str, words: &[(T, &str)]) -> Field<T> {
        let Some(value) = self.get(key) else { return Field::Absent };
        let names: Vec<&str> = words.iter().map(|(_, word)| *word).collect();
        let there_are = format!("there are: {}", names.join(", "));
        let Some(text) = value.get_ref().as_str() else {
            self.wrong(key, value, "a word").hint(there_are);
            return Field::Faulty;
        };
        let span = value.span().into();
        if let Some((meaning, _)) = words.iter().find(|(_, word)| *word == text) {
            return Field::Given(At { value: *meaning, span });
        }
        let message = format!("{} has no such `{key}`: {}", self.head.title, quote(text));
        let hint = match self.mistakes.guess(text, names.iter().copied()) {
            Some(guess) => format!("did you mean `{guess}`? {there_are}"),
            None => there_are,
        };
        self.mistakes.add(span, message).hint(hint);
        Field::Faulty
    }

    /// The elements of a list; nothing and a mistake where it is something else.
    pub(super) fn list(&mut self, key: &str, of: &str, example: &str) -> Option<List<&'t Value<'t>>> {
        let Some(value) = self.get(key) else { return Some(List::absent()) };
        let span = Some(value.span().into());
        if let DeValue::Array(array) = value.get_ref() {
            let at = |item: &'t Value<'t>| At { value: item, span: item.span().into() };
            return Some(List { span, items: array.iter().map(at).collect(), faulty: false });
        }
        let hint = match value.get_ref() {
            DeValue::String(text) if text.len() <= 40 && !text.contains(['"', '\\']) => {
                format!("in brackets: {key} = [\"{text}\"]")
            }
            DeValue::Integer(number) => format!("in brackets: {key} = [{number}]"),
            _ => format!("such as: {key} = {example}"),
        };
        self.wrong(key, value, &format!("a list of {of}")).hint(hint);
        None
    }

    /// A list of strings.
    pub(super) fn strings(&mut self, key: &str, example: &str) -> List<String> {
        let Some(list) = self.list(key, "strings", example) else {
            return List { span: self.get(key).map(|v| v.span().into()), items: Vec::new(), faulty: true };
        };
        let mut strings = List { span: list.span, items: Vec::new(), faulty: false };
        for item in list.items {
            match item.value.get_ref() {
                DeValue::String(text) => {
                    strings.items.push(At { value: text.clone().into_owned(), span: item.span });
                }
                _ => {
                    self.wrong(key, item.value, "a list of strings only");
                    strings.faulty = true;
                }
            }
        }
        strings
    }
}

/// An integer of TOML, where 64 bits hold it.
pub(super) fn integer_of(value: &DeValue<'_>) -> Option<i64> {
    let DeValue::Integer(number) = value else { return None };
    i64::from_str_radix(number.as_str(), number.radix()).ok()
}

/// What a value is, for a message.
pub(super) fn described(value: &DeValue<'_>) -> String {
    match value {
        DeValue::String(text) => format!("the string {}", quote(text)),
        DeValue::Integer(number) => quote(&number.to_string()),
        DeValue::Float(number) => quote(&number.to_string()),
        DeValue::Boolean(on) => format!("`{on}`"),
        DeValue::Datetime(_) => "a date".to_owned(),
        DeValue::Array(_) => "a list".to_owned(),
        DeValue::Table(_) => "a table".to_owned(),
    }
}

/// The span of a value.
pub(super) fn span_of(value: &Value<'_>) -> Span {
    value.span().into()
}
