//! What is done to a schema after it was derived.

use serde_json::{Map, Value, json};

/// Every object in a schema, from the inside out.
fn each(value: &mut Value, change: &mut impl FnMut(&mut Map<String, Value>)) {
    match value {
        Value::Object(object) => {
            object.values_mut().for_each(|value| each(value, change));
            change(object);
        }
        Value::Array(list) => list.iter_mut().for_each(|value| each(value, change)),
        _ => {}
    }
}

/// Descriptions come from doc comments: paragraphs in place of lines, and names in place of links to code.
pub(super) fn descriptions(schema: &mut Value) {
    each(schema, &mut |object| {
        if let Some(Value::String(text)) = object.get_mut("description") {
            *text = plain(text);
        }
    });
}

/// A doc comment as text. The target of a link is left out, and so are the brackets around its words.
fn plain(text: &str) -> String {
    let lines = text.replace("\n\n", "\u{b6}").replace('\n', " ").replace('\u{b6}', "\n\n");
    let mut plain = String::with_capacity(lines.len());
    let mut rest = lines.as_str();
    while let Some((before, after)) = rest.split_once("[`") {
        let Some((words, after)) = after.split_once("`]") else { break };
        plain.push_str(before);
        plain.push_str(&format!("`{words}`"));
        let target = after.strip_prefix('(').and_then(|after| after.split_once(')'));
        rest = target.map_or(after, |(_, after)| after);
    }
    plain + rest
}

/// The size of a number in memory is no matter of its own: the limits say what it can be.
pub(super) fn sizes(schema: &mut Value) {
    each(schema, &mut |object| {
        let is_size =
            |format: &str| ["int", "uint", "float", "double"].iter().any(|size| format.starts_with(size));
        if object.get("format").and_then(Value::as_str).is_some_and(is_size) {
            object.remove("format");
        }
    });
}

/// A field that can be absent is absent where there is nothing to say, and never null.
pub(super) fn absent(schema: &mut Value) {
    each(schema, &mut |object| {
        let required: Vec<String> = match object.get("required") {
            Some(Value::Array(list)) => list.iter().filter_map(Value::as_str).map(str::to_owned).collect(),
            _ => Vec::new(),
        };
        let Some(Value::Object(properties)) = object.get_mut("properties") else { return };
        for (_, property) in properties.iter_mut().filter(|(name, _)| !required.contains(name)) {
            not_null(property);
        }
    });
}

fn not_null(schema: &mut Value) {
    let Some(object) = schema.as_object_mut() else { return };
    if let Some(Value::Array(types)) = object.get_mut("type") {
        types.retain(|name| name != "null");
        if let [only] = types.as_slice() {
            let only = only.clone();
            object.insert("type".to_owned(), only);
        }
    }
    if let Some(Value::Array(words)) = object.get_mut("enum") {
        words.retain(|word| !word.is_null());
    }
    let Some(Value::Array(any)) = object.get_mut("anyOf") else { return };
    any.retain(|one| one.get("type") != Some(&json!("null")));
    if let [Value::Object(only)] = any.as_slice() {
        let only = only.clone();
        object.remove("anyOf");
        for (key, value) in only {
            object.entry(key).or_insert(value);
        }
    }
}

/// Words, each with its description, as a list of words: a message of a validator then names the words, and taplo,
/// which has a key of its own for it, shows the description of each.
pub(super) fn words(schema: &mut Value) {
    each(schema, &mut |object| {
        let Some(Value::Array(choices)) = object.get("oneOf") else { return };
        let word = |choice: &Value| Some((choice.get("const")?.clone(), choice.get("description").cloned()));
        let Some(pairs) = choices.iter().map(word).collect::<Option<Vec<_>>>() else { return };
        let (words, about): (Vec<Value>, Vec<Option<Value>>) = pairs.into_iter().unzip();
        object.remove("oneOf");
        object.insert("type".to_owned(), json!("string"));
        object.insert("enum".to_owned(), json!(words));
        object.insert("x-taplo".to_owned(), json!({"docs": {"enumValues": about}}));
    });
}

/// Types are called as in `docs/json.md`: `Change`, not `ChangeJson`.
pub(super) fn names(schema: &mut Value) {
    let Some(Value::Object(types)) = schema.get_mut("$defs") else { return };
    let mut renamed = Vec::new();
    for name in types.keys().cloned().collect::<Vec<_>>() {
        let short = name.strip_suffix("Json").filter(|short| !types.contains_key(*short)).map(str::to_owned);
        if let Some(short) = short {
            if let Some(one) = types.remove(&name) {
                types.insert(short.clone(), one);
            }
            renamed.push((format!("#/$defs/{name}"), format!("#/$defs/{short}")));
        }
    }
    each(schema, &mut |object| {
        if let Some(Value::String(target)) = object.get_mut("$ref")
            && let Some((_, short)) = renamed.iter().find(|(long, _)| long == target)
        {
            target.clone_from(short);
        }
    });
}

/// Everything that is described is all that there may be. A type that stands beside fields, as behind a tag, is put in
/// with them: `additionalProperties` sees only what is in the same object.
pub(super) fn closed(schema: &mut Value) {
    let types = schema.get("$defs").cloned().unwrap_or_default();
    each(schema, &mut |object| {
        if object.contains_key("properties")
            && let Some(Value::String(target)) = object.get("$ref")
            && let Some(name) = target.strip_prefix("#/$defs/")
            && let Some(Value::Object(other)) = types.get(name).cloned()
        {
            object.remove("$ref");
            for (key, value) in other {
                merge(object, &key, value);
            }
        }
    });
    each(schema, &mut |object| {
        let choices = object.get("oneOf").and_then(Value::as_array).cloned();
        // Of a type that is one of several with fields of its own, each has the fields that all have.
        if let (Some(choices), Some(Value::Object(own))) = (choices, object.get("properties").cloned()) {
            let whole = choices.into_iter().map(|mut choice| {
                if let Some(choice) = choice.as_object_mut() {
                    choice.remove("additionalProperties");
                    merge(choice, "properties", Value::Object(own.clone()));
                    choice.insert("additionalProperties".to_owned(), json!(false));
                }
                choice
            });
            let whole: Vec<Value> = whole.collect();
            object.insert("oneOf".to_owned(), json!(whole));
            return;
        }
        let is_whole = object.contains_key("properties") && !object.contains_key("additionalProperties");
        if is_whole && object.get("type") == Some(&json!("object")) {
            object.insert("additionalProperties".to_owned(), json!(false));
        }
    });
}

/// Puts in what another schema says besides.
fn merge(object: &mut Map<String, Value>, key: &str, value: Value) {
    match (object.get_mut(key), value) {
        (Some(Value::Object(own)), Value::Object(other)) => {
            for (key, value) in other {
                own.entry(key).or_insert(value);
            }
        }
        (Some(Value::Array(own)), Value::Array(other)) => own.extend(other),
        (Some(_), _) => {}
        (None, value) => {
            object.insert(key.to_owned(), value);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn descriptions_are_text() {
        assert_eq!(
            plain("One [`Name`] in\ntwo lines.\n\nNext: [`a`](b::c), end."),
            "One `Name` in two lines.\n\nNext: `a`, end."
        );
        assert_eq!(plain("[`left"), "[`left");
        assert_eq!(plain("a list [1, 2]"), "a list [1, 2]");
    }

    #[test]
    fn what_can_be_absent_is_not_null() {
        let mut schema = json!({"properties": {
            "a": {"type": ["string", "null"]},
            "b": {"anyOf": [{"$ref": "#/$defs/B"}, {"type": "null"}], "description": "B."},
            "c": {"type": ["string", "null"]},
        }, "required": ["c"]});
        absent(&mut schema);
        let expected = json!({"properties": {
            "a": {"type": "string"},
            "b": {"$ref": "#/$defs/B", "description": "B."},
            "c": {"type": ["string", "null"]},
        }, "required": ["c"]});
        assert_eq!(schema, expected);
    }
}
