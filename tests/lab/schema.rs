//! Every JSON document that isoplan prints is held against its schema.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use jsonschema::Validator;
use serde_json::Value;

/// Longer documents are those of hosts with thousands of networks: each of their entries is like another.
const LONGEST: usize = 1 << 20;

/// The schema of a kind, compiled once in each process, without room for fields that it does not know.
fn validator(kind: &str) -> Option<Arc<Validator>> {
    static COMPILED: Mutex<BTreeMap<String, Arc<Validator>>> = Mutex::new(BTreeMap::new());
    let mut compiled = COMPILED.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(validator) = compiled.get(kind) {
        return Some(validator.clone());
    }
    let schema = isoplan::schema::closed(isoplan::cli::schema_of(kind)?);
    let validator = jsonschema::validator_for(&schema).unwrap_or_else(|error| panic!("{kind}: {error}"));
    let validator = Arc::new(validator);
    compiled.insert(kind.to_owned(), validator.clone());
    Some(validator)
}

/// What is wrong with a document of isoplan's, a line each. Of a kind that has no schema, that.
pub(crate) fn mistakes(document: &Value) -> Vec<String> {
    let kind = document["kind"].as_str().unwrap_or_default();
    let Some(validator) = validator(kind) else {
        return vec![format!("there is no schema of kind {kind:?}")];
    };
    let errors = validator.iter_errors(document);
    errors.map(|error| format!("{kind}: {}: {error}", error.instance_path())).collect()
}

/// Panics when what a command printed is a document of isoplan's that is not as its schema says.
#[track_caller]
pub(crate) fn check(command: &str, printed: &str) {
    let is_document = printed.starts_with('{') && printed.len() <= LONGEST;
    let Ok(document) = (if is_document { serde_json::from_str::<Value>(printed) } else { return }) else {
        return;
    };
    // A schema is JSON as well.
    if document.get("kind").is_none() || document.get("version").is_none() {
        return;
    }
    let mistakes = mistakes(&document);
    assert!(mistakes.is_empty(), "$ {command}\n{}", mistakes.join("\n"));
}
