//! JSON Schemas of what isoplan reads and prints, from the types (`docs/json.md`, `docs/topology.md`).

mod form;
mod tidy;
pub mod topology;

use schemars::JsonSchema;
use schemars::generate::SchemaSettings;
use serde_json::{Value, json};

/// The schema of the topology file.
///
/// It says that it is of draft-07, the newest one that TOML language servers know: taplo validates with a crate that
/// knows drafts 4, 6 and 7 and reads everything else as draft-07, and so does what is made of it (Even Better TOML in VS
/// Code). It has only words that draft 2020-12 reads in the same way, and no reference: taplo, as draft-07 says,
/// reads nothing beside a `$ref`, so that a key would have no description of its own.
pub fn topology() -> Value {
    let settings = SchemaSettings::draft07().with(|settings| settings.inline_subschemas = true);
    let mut schema = settings.into_generator().into_root_schema_for::<topology::File>().to_value();
    tidy::descriptions(&mut schema);
    tidy::sizes(&mut schema);
    tidy::words(&mut schema);
    title(&mut schema, "The topology file of isoplan");
    schema
}

/// The schema of a document that isoplan prints or saves, in draft 2020-12. Its `kind` and `version` are as told.
///
/// It takes fields that it does not know, because fields may be added without another version.
pub fn document<T: JsonSchema>(kind: &str, version: u32, what: &str) -> Value {
    let settings = SchemaSettings::draft2020_12().for_serialize();
    let mut schema = settings.into_generator().into_root_schema_for::<T>().to_value();
    tidy::descriptions(&mut schema);
    tidy::sizes(&mut schema);
    tidy::absent(&mut schema);
    tidy::names(&mut schema);
    title(&mut schema, what);
    head(
        &mut schema,
        "version",
        json!({
            "const": version,
            "description": "It goes up when a field changes its meaning or goes away.",
        }),
    );
    head(&mut schema, "kind", json!({"const": kind, "description": "What kind of document this is."}));
    schema
}

/// The same schema without room for fields that it does not know.
pub fn closed(mut schema: Value) -> Value {
    tidy::closed(&mut schema);
    schema
}

fn title(schema: &mut Value, title: &str) {
    if let Some(schema) = schema.as_object_mut() {
        schema.insert("title".to_owned(), json!(title));
    }
}

/// A field that every document has.
fn head(schema: &mut Value, name: &str, is: Value) {
    let Some(schema) = schema.as_object_mut() else { return };
    if let Some(properties) = schema.entry("properties").or_insert_with(|| json!({})).as_object_mut() {
        properties.insert(name.to_owned(), is);
    }
    if let Some(required) = schema.entry("required").or_insert_with(|| json!([])).as_array_mut()
        && !required.contains(&json!(name))
    {
        required.insert(0, json!(name));
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::topology::{ApproachName, EntryKind, Inbound, Protocol, keys};

    fn names(value: &Value) -> BTreeSet<&str> {
        value.as_object().into_iter().flatten().map(|(name, _)| name.as_str()).collect()
    }

    fn words(value: &Value) -> BTreeSet<&str> {
        value.as_array().into_iter().flatten().filter_map(Value::as_str).collect()
    }

    /// The schema has the tables and keys that the reader knows, and no other.
    #[test]
    fn every_key_that_is_read_is_in_the_schema() {
        let schema = topology();
        let tables = &schema["properties"];
        assert_eq!(names(tables), EntryKind::ALL.into_iter().map(EntryKind::as_str).collect());
        for kind in EntryKind::ALL {
            let table = &tables[kind.as_str()];
            let table = if kind == EntryKind::Isolation { table } else { &table["items"] };
            assert_eq!(
                names(&table["properties"]),
                keys(kind).iter().copied().collect(),
                "{}",
                kind.as_str()
            );
            assert_eq!(table["additionalProperties"], json!(false), "{}", kind.as_str());
            for name in words(&table["required"]) {
                assert!(keys(kind).contains(&name), "{}: {name}", kind.as_str());
            }
        }
    }

    /// The same of the words that a key takes.
    #[test]
    fn every_word_that_is_read_is_in_the_schema() {
        let schema = topology();
        let of = |table: &str, key: &str| {
            let found = schema["properties"][table].pointer(key);
            words(found.unwrap_or_else(|| panic!("{table} {key}")))
        };
        let inbound = [Inbound::Published, Inbound::None, Inbound::Routed].map(Inbound::as_str);
        for table in ["bridge", "overlay"] {
            assert_eq!(of(table, "/items/properties/inbound/enum"), inbound.into());
        }
        assert_eq!(
            of("allow", "/items/properties/protocol/enum"),
            Protocol::WORDS.map(|(_, word)| word).into()
        );
        assert_eq!(
            of("isolation", "/properties/approach/enum"),
            ApproachName::WORDS.map(|(_, word)| word).into()
        );
    }
}
