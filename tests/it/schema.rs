//! JSON Schemas: that of the topology against the reader of topologies, those of documents against docs/json.md.

use std::cell::Cell;
use std::collections::BTreeSet;
use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use isoplan::topology;
use jsonschema::{Draft, Validator};
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use serde_json::{Map, Value, json};
use toml::de::{DeTable, DeValue};

use crate::ISOPLAN;
use crate::draw;
use crate::lab::Program;

/// What only the reader can find: each of these fixtures is refused by it, and the schema takes it.
const ONLY_THE_READER: [(&str, &str); 8] = [
    ("allow-twice", "two exceptions that cover the same packets"),
    ("guarded-without-subnets", "whether a NIC needs subnets depends on whom all others reach"),
    ("names-twice", "names are compared with each other"),
    ("pattern-shadow", "a name within a pattern that has to be told from it"),
    ("patterns", "patterns are compared with each other and with names"),
    ("subnet-overlap-far", "subnets are compared with each other"),
    ("subnet-special", "loopback, multicast and others are known by their bits"),
    ("tabs", "bits behind the prefix"),
];

fn fixtures() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures")
}

/// The topologies below a directory, by the name of the directory that each is in.
fn topologies(directory: &Path) -> Vec<(String, PathBuf)> {
    let entries =
        fs::read_dir(directory).expect("list fixtures").map(|entry| entry.expect("list fixtures").path());
    let name = |path: &Path| path.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let mut found: Vec<_> = entries
        .map(|path| (name(&path), path.join("topology.toml")))
        .filter(|(_, path)| path.is_file())
        .collect();
    found.sort();
    found
}

fn validator() -> Validator {
    jsonschema::validator_for(&isoplan::schema::topology()).expect("a schema")
}

/// A TOML file as the JSON that language servers make of it; none where it is no TOML.
fn as_json(bytes: &[u8]) -> Option<Value> {
    fn json(value: &DeValue<'_>) -> Value {
        match value {
            DeValue::String(text) => json!(text),
            DeValue::Integer(number) => i64::from_str_radix(number.as_str(), number.radix())
                .map_or_else(|_| json!(f64::MAX), |n| json!(n)),
            DeValue::Float(number) => json!(number.as_str().parse::<f64>().unwrap_or_default()),
            DeValue::Boolean(on) => json!(on),
            DeValue::Datetime(time) => json!(time.to_string()),
            DeValue::Array(array) => array.iter().map(|item| json(item.get_ref())).collect(),
            DeValue::Table(inner) => table(inner),
        }
    }
    fn table(table: &DeTable<'_>) -> Value {
        let pairs = table.iter().map(|(key, value)| (key.get_ref().to_string(), json(value.get_ref())));
        Value::Object(pairs.collect::<Map<_, _>>())
    }
    let text = std::str::from_utf8(bytes).ok()?;
    let tree = DeTable::parse(text.strip_prefix('\u{feff}').unwrap_or(text)).ok()?;
    Some(table(tree.get_ref()))
}

fn mistakes(validator: &Validator, value: &Value) -> Vec<String> {
    validator.iter_errors(value).map(|error| format!("{}: {error}", error.instance_path())).collect()
}

/// The program prints what the library makes.
#[test]
fn it_is_printed() {
    let isoplan = Program::new(ISOPLAN).expect("make a directory");
    let printed = isoplan.run(&["schema"]).json();
    assert_eq!(printed, isoplan::schema::topology());
    assert_eq!(isoplan.run(&["schema", "topology"]).json(), printed);
    assert_eq!(Some(isoplan.run(&["schema", "plan"]).json()), isoplan::cli::schema_of("plan"));
    let list = isoplan.run(&["schema", "--list"]).ok();
    let kinds: Vec<&str> = list.lines().filter_map(|line| line.split_whitespace().next()).collect();
    assert_eq!(kinds, isoplan::cli::schema_kinds().map(|(kind, _)| kind).collect::<Vec<_>>());
    assert_eq!(isoplan.run(&["schema", "nonsense"]).code, Some(64));
}

#[test]
fn every_valid_fixture_is_taken() {
    let validator = validator();
    let valid = topologies(&fixtures());
    assert!(valid.len() > 10, "{valid:?}");
    for (name, path) in valid {
        let value = as_json(&fs::read(path).expect("read a fixture")).expect("TOML");
        assert_eq!(mistakes(&validator, &value), Vec::<String>::new(), "{name}");
    }
}

#[test]
fn every_invalid_fixture_is_refused_or_known() {
    let validator = validator();
    let invalid = topologies(&fixtures().join("invalid"));
    assert!(invalid.len() > 30, "{invalid:?}");
    let is_taken = |path: &Path| {
        as_json(&fs::read(path).expect("read a fixture")).is_some_and(|value| validator.is_valid(&value))
    };
    let taken: Vec<String> =
        invalid.into_iter().filter(|(_, path)| is_taken(path)).map(|(name, _)| name).collect();
    assert_eq!(taken, ONLY_THE_READER.map(|(name, _)| name.to_owned()));
}

/// It says draft-07, and a validator of draft 2020-12 finds the same.
#[test]
fn drafts_agree() {
    let schema = isoplan::schema::topology();
    jsonschema::draft7::meta::validate(&schema).unwrap_or_else(|error| panic!("{error}"));
    let mut newer = schema.clone();
    newer["$schema"] = json!("https://json-schema.org/draft/2020-12/schema");
    jsonschema::draft202012::meta::validate(&newer).unwrap_or_else(|error| panic!("{error}"));
    let older = jsonschema::options().with_draft(Draft::Draft7).build(&schema).expect("a schema");
    let newer = jsonschema::options().with_draft(Draft::Draft202012).build(&newer).expect("a schema");
    let mut both = topologies(&fixtures());
    both.extend(topologies(&fixtures().join("invalid")));
    for (name, path) in both {
        let Some(value) = as_json(&fs::read(path).expect("read a fixture")) else { continue };
        assert_eq!(older.is_valid(&value), newer.is_valid(&value), "{name}");
    }
}

/// taplo: what `ISOPLAN_TAPLO` names, what is on the path, or what `make install-deps` has put here.
fn taplo() -> Option<OsString> {
    let here = concat!(env!("CARGO_TARGET_TMPDIR"), "/taplo/bin/taplo");
    let named = std::env::var_os("ISOPLAN_TAPLO");
    let mut all = named.into_iter().chain(["taplo".into(), here.into()]);
    all.find(|program| Command::new(program).arg("--version").output().is_ok())
}

/// taplo, which is the language server of most editors for TOML, finds the same.
#[test]
fn taplo_finds_the_same() {
    let Some(taplo) = taplo() else {
        assert!(std::env::var_os("CI").is_none(), "there is no taplo");
        eprintln!("skipped: there is no taplo; make install-deps puts one here");
        return;
    };
    let directory = tempfile::tempdir().expect("make a directory");
    let schema = directory.path().join("isoplan.schema.json");
    fs::write(&schema, isoplan::schema::topology().to_string()).expect("write the schema");
    let takes = |file: &Path, arguments: &[String]| {
        let mut command = Command::new(&taplo);
        command.arg("lint").args(arguments).arg(file).current_dir(directory.path());
        let output = command.output().expect("run taplo");
        (output.status.success(), String::from_utf8_lossy(&output.stderr).into_owned())
    };
    let by_name = ["--schema".to_owned(), format!("file://{}", schema.display())];
    for (name, path) in topologies(&fixtures()) {
        let (is_taken, said) = takes(&path, &by_name);
        assert!(is_taken, "{name}: {said}");
    }
    let invalid = topologies(&fixtures().join("invalid"));
    let taken: Vec<String> =
        invalid.into_iter().filter(|(_, path)| takes(path, &by_name).0).map(|(name, _)| name).collect();
    assert_eq!(taken, ONLY_THE_READER.map(|(name, _)| name.to_owned()));
    // As docs/topology.md says: a comment in the file.
    let file = directory.path().join("topology.toml");
    for (role, is_right) in [("\"service\"", true), ("5", false)] {
        let text = format!("#:schema ./isoplan.schema.json\n[[nic]]\nname = \"eth0\"\nrole = {role}\n");
        fs::write(&file, text).expect("write a topology");
        let (is_taken, said) = takes(&file, &[]);
        assert_eq!(is_taken, is_right, "{role}: {said}");
    }
}

fn runner(cases: u32) -> TestRunner {
    TestRunner::new(Config { cases, failure_persistence: None, ..Config::default() })
}

#[test]
fn every_drawn_topology_is_taken() {
    let validator = validator();
    let ran = runner(300).run(&draw::topology(), |drawn| {
        let value = as_json(drawn.text().as_bytes()).expect("TOML");
        prop_assert_eq!(mistakes(&validator, &value), Vec::<String>::new());
        Ok(())
    });
    ran.unwrap_or_else(|error| panic!("{error}"));
}

/// Values that are right somewhere, at the limits of it, or nowhere.
const VALUES: [&str; 44] = [
    "\"\"",
    "\"lo\"",
    "\"lo0\"",
    "\"l*\"",
    "\"lo*\"",
    "\"*\"",
    "\"a*\"",
    "\"abcdefghijklmno\"",
    "\"abcdefghijklmn*\"",
    "\"a._-@Z9\"",
    "\"service\"",
    "\"Guests_2\"",
    "\"1st\"",
    "0",
    "1",
    "4789",
    "65535",
    "65536",
    "16777215",
    "16777216",
    "-1",
    "0x2a",
    "1.0",
    "true",
    "false",
    "[]",
    "[1]",
    "[\"1\", 2]",
    "[\"0080-0081\"]",
    "[\"65536\"]",
    "[22, \"22\"]",
    "[\"10.250.0.0/16\"]",
    "[\"FD77::/64\"]",
    "[\"::/1\"]",
    "[\"10.250.0.0/016\"]",
    "\"fd77::1.2.3.4\"",
    "\"203.0.113.5\"",
    "[\"203.0.113.5\", \"2001:db8::5\"]",
    "\"tcp\"",
    "\"icmpv6\"",
    "\"none\"",
    "\"routed\"",
    "\"sysctl\"",
    "[\"service\"]",
];

/// What a file becomes when somebody tries things out: lines with another value, twice, or gone.
fn tried_out(text: &str, changes: &[(usize, usize)]) -> String {
    let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
    for (line, what) in changes {
        if lines.is_empty() {
            break;
        }
        let line = line % lines.len();
        let key = lines[line].split_once(" = ").map(|(key, _)| key.to_owned());
        match (what % (VALUES.len() + 3), key) {
            (what, Some(key)) if what < VALUES.len() => lines[line] = format!("{key} = {}", VALUES[what]),
            (what, _) if what % 2 == 0 => drop(lines.remove(line)),
            _ => {
                let key = [
                    "reach = []",
                    "reach = [\"service\"]",
                    "masquerade = true",
                    "inbound = \"none\"",
                    "port = 1",
                ];
                lines.insert(line + 1, key[what % key.len()].to_owned());
            }
        }
    }
    lines.join("\n")
}

/// Whatever the reader takes, the schema takes.
#[test]
fn what_the_reader_takes_the_schema_takes() {
    let validator = validator();
    let (taken, refused) = (Cell::new(0), Cell::new(0));
    let changes = prop::collection::vec((any::<usize>(), any::<usize>()), 1..4);
    let ran = runner(3_000).run(&(draw::topology(), changes), |(drawn, changes)| {
        let text = tried_out(&drawn.text(), &changes);
        if topology::parse("topology.toml", text.as_bytes()).is_err() {
            let is_refused = as_json(text.as_bytes()).is_none_or(|value| !validator.is_valid(&value));
            refused.set(refused.get() + u32::from(is_refused));
            return Ok(());
        }
        taken.set(taken.get() + 1);
        let value = as_json(text.as_bytes()).expect("TOML");
        prop_assert_eq!(mistakes(&validator, &value), Vec::<String>::new(), "{}", text);
        Ok(())
    });
    ran.unwrap_or_else(|error| panic!("{error}"));
    // Otherwise it would show nothing: one way or the other.
    assert!(taken.get() > 200 && refused.get() > 500, "{} taken, {} refused", taken.get(), refused.get());
}

/// The names of all properties in a schema.
fn properties(schema: &Value, into: &mut BTreeSet<String>) {
    match schema {
        Value::Object(object) => {
            if let Some(Value::Object(properties)) = object.get("properties") {
                into.extend(properties.keys().cloned());
            }
            object.values().for_each(|value| properties(value, into));
        }
        Value::Array(list) => list.iter().for_each(|value| properties(value, into)),
        _ => {}
    }
}

/// The part of docs/json.md with that heading.
fn section(text: &str, heading: &str) -> String {
    let lines = text.lines().skip_while(|line| *line != format!("## `{heading}`")).skip(1);
    lines.take_while(|line| !line.starts_with("## ")).map(|line| format!("{line}\n")).collect()
}

/// Fields in the first column of tables of fields.
fn documented(section: &str) -> BTreeSet<String> {
    let mut fields = BTreeSet::new();
    let mut is_of_fields = false;
    for line in section.lines() {
        let Some(cell) = line.strip_prefix('|').and_then(|line| line.split('|').next()) else {
            is_of_fields = false;
            continue;
        };
        match cell.trim() {
            "field" => is_of_fields = true,
            cell if is_of_fields => fields.extend(cell.split('`').skip(1).step_by(2).map(str::to_owned)),
            _ => {}
        }
    }
    fields
}

#[test]
fn documents_are_described_as_they_are() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/json.md");
    let text = fs::read_to_string(path).expect("read docs/json.md");
    // Where fields are described that a document has from another one.
    let others = |kind: &str| match kind {
        "plan" => vec!["isoplan status --json", "isoplan snapshot"],
        "apply" => vec!["isoplan plan --json", "isoplan status --json", "isoplan snapshot"],
        "remove" | "rollback" | "diff" => vec!["isoplan plan --json"],
        "confirm" => vec!["isoplan rollback --json"],
        "verify" | "explain" => vec!["isoplan compare --json", "isoplan probe --json"],
        "desired" => vec!["isoplan check --json"],
        "uninstall" => vec!["isoplan install --json"],
        "saved-plan" => vec!["isoplan snapshot"],
        _ => Vec::new(),
    };
    let mut headings = 0;
    for (kind, what) in isoplan::cli::schema_kinds().filter(|(kind, _)| *kind != "topology") {
        let heading = match kind {
            "watch" | "lab" => format!("isoplan {kind} --json"),
            "snapshot" => "isoplan snapshot".to_owned(),
            "saved-plan" => "isoplan plan -o FILE".to_owned(),
            _ => what.to_owned(),
        };
        let own = section(&text, &heading);
        assert!(!own.is_empty(), "docs/json.md has no heading `{heading}`");
        headings += 1;
        let schema = isoplan::cli::schema_of(kind).expect("a schema");
        let mut has = BTreeSet::from(["version".to_owned(), "kind".to_owned()]);
        properties(&schema, &mut has);
        for field in documented(&own) {
            assert!(has.contains(&field), "docs/json.md, {heading}: there is no `{field}`");
        }
        // The rule set in a snapshot goes down to the kernel's expressions: only the schema describes those.
        let described =
            if matches!(kind, "snapshot" | "saved-plan") { &schema["properties"] } else { &schema };
        let names: BTreeSet<String> = match described.as_object() {
            Some(top) if described != &schema => top.keys().cloned().collect(),
            _ => has,
        };
        let all = own + &others(kind).iter().map(|other| section(&text, other)).collect::<String>();
        for field in names.iter().filter(|name| !["version", "kind"].contains(&name.as_str())) {
            assert!(all.contains(&format!("`{field}`")), "docs/json.md, {heading}: nothing about `{field}`");
        }
    }
    let of_documents = |line: &&str| line.starts_with("## `isoplan ");
    assert_eq!(headings, text.lines().filter(of_documents).count(), "a document without a schema");
}
