//! What the documents promise about the program: every rule has its line, every command and link exists.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use isoplan::approach::Approach;
use serde_json::Value;

use crate::lab::node::Node;
use crate::lab::{HostSpec, Program, in_namespace};
use crate::{ISOPLAN, has_namespace_of_its_own};

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn text_of(path: &str) -> String {
    fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("cannot read {path}: {error}"))
}

/// Files and directories in a directory, sorted.
fn listed(directory: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(directory).unwrap_or_else(|error| panic!("{}: {error}", directory.display()));
    let mut paths: Vec<_> = entries.map(|entry| entry.expect("list a directory").path()).collect();
    paths.sort();
    paths
}

/// Every document, by its path from the root.
fn documents() -> BTreeMap<String, String> {
    let mut paths = listed(root());
    let mut left = vec![root().join("docs")];
    while let Some(directory) = left.pop() {
        let entries = listed(&directory);
        left.extend(entries.iter().filter(|path| path.is_dir()).cloned());
        paths.extend(entries);
    }
    paths
        .iter()
        .filter(|path| path.extension().is_some_and(|extension| extension == "md"))
        .map(|path| path.strip_prefix(root()).expect("a path below the root").display().to_string())
        .map(|path| (path.clone(), text_of(&path)))
        .collect()
}

fn isoplan(arguments: &[&str]) -> String {
    Program::new(ISOPLAN).expect("make a directory").run(arguments).ok()
}

/// The ids that the rule sets of all fixtures have, with a fixture for each.
fn emitted() -> BTreeMap<String, String> {
    let mut ids = BTreeMap::new();
    for fixture in listed(&root().join("fixtures")) {
        let topology = fixture.join("topology.toml");
        if !topology.is_file() {
            continue;
        }
        let topology = topology.display().to_string();
        let desired: Value = serde_json::from_str(&isoplan(&["render", &topology, "--format", "json"]))
            .unwrap_or_else(|error| panic!("{topology}: {error}"));
        for table in desired["tables"].as_array().expect("tables") {
            for chain in table["chains"].as_array().expect("chains") {
                for rule in chain["rules"].as_array().expect("rules") {
                    let id = rule["id"].as_str().expect("an id").to_owned();
                    ids.insert(id, topology.clone());
                }
            }
        }
    }
    ids.extend(kept());
    ids
}

/// The ids of rules that only keep open what was open before.
fn kept() -> Vec<(String, String)> {
    use isoplan::flows::keep::{Kept, KeptTuple};
    let file = text_of("fixtures/service-instance/topology.toml");
    let topology = isoplan::topology::parse("topology.toml", file.as_bytes()).expect("a fixture");
    let tuple = |source: &str, destination: &str| KeptTuple {
        source: source.parse().expect("an address"),
        destination: destination.parse().expect("an address"),
        protocol: 6,
        ports: [1, 2],
    };
    let tuples = [tuple("172.17.0.2", "192.168.57.5"), tuple("fd17::2", "fd57::5")];
    let kept = Kept {
        from: tuples.iter().map(|t| ("docker0".to_owned(), t.source)).collect(),
        tuples: tuples.into(),
    };
    let plan = isoplan::plan::Plan::with_kept(&topology, &isoplan::diff::LiveState::default(), kept);
    let chains = plan.desired.ruleset.values().flat_map(|table| table.chains.values());
    let ids = chains.flat_map(|chain| &chain.rules).filter_map(|rule| rule.id()).map(|id| id.0);
    ids.filter(|id| id.starts_with('K')).map(|id| (id, "--keep-established".to_owned())).collect()
}

/// The ids that docs/security.md has a line for: "- **F3** ...".
fn documented() -> Vec<String> {
    let lines = text_of("docs/security.md");
    let ids = lines.lines().filter_map(|line| line.strip_prefix("- **")?.split_once("**"));
    ids.map(|(id, _)| id.to_owned()).collect()
}

#[test]
fn every_rule_has_its_line() {
    let emitted = emitted();
    let documented = documented();
    let unique: BTreeSet<&String> = documented.iter().collect();
    assert_eq!(unique.len(), documented.len(), "an id has two lines: {documented:?}");
    for (id, fixture) in &emitted {
        assert!(unique.contains(id), "{fixture} has a rule {id}, and docs/security.md has no line for it");
    }
    for id in unique {
        assert!(
            emitted.contains_key(id),
            "docs/security.md has a line for {id}, and no fixture has that rule"
        );
    }
}

/// Everything between backticks, and every line of code.
fn code_of(document: &str) -> Vec<String> {
    let mut code = Vec::new();
    let mut fenced = false;
    for line in document.lines() {
        if line.trim_start().starts_with("```") {
            fenced = !fenced;
        } else if fenced {
            code.push(line.to_owned());
        } else {
            code.extend(line.split('`').skip(1).step_by(2).map(str::to_owned));
        }
    }
    code
}

/// The words behind the `isoplan` of a command line, up to what a shell would cut off; `None` for other text.
fn command_of(code: &str) -> Option<Vec<&str>> {
    let line = code.trim_start_matches(['$', '#', ' ']);
    let line = line.strip_prefix("unshare -rn ").unwrap_or(line);
    let words = line.strip_prefix("isoplan ")?.split_whitespace();
    Some(words.take_while(|word| !["|", ">", "#", "&&"].contains(word)).collect())
}

#[test]
fn every_command_exists() {
    let overview = isoplan(&["--help"]);
    let verbs: BTreeSet<&str> = overview
        .lines()
        .skip_while(|line| *line != "Commands:")
        .skip(1)
        .take_while(|line| !line.is_empty())
        .filter_map(|line| line.split_whitespace().next())
        .collect();
    assert!(verbs.contains("apply"), "{overview}");
    let mut commands = 0;
    for (path, document) in documents() {
        for code in code_of(&document) {
            let Some(words) = command_of(&code) else { continue };
            let Some(verb) = words.first().filter(|word| word.chars().all(|c| c.is_ascii_lowercase())) else {
                assert!(["VERB", "--help", "--version"].contains(&words[0]), "{path}: {code}");
                continue;
            };
            assert!(verbs.contains(verb), "{path}: {code}");
            commands += 1;
            let help = isoplan(&["help", verb]);
            for flag in words.iter().filter(|word| word.starts_with("--")) {
                let known = help.split(|c: char| !c.is_ascii_alphanumeric() && c != '-');
                assert!(known.into_iter().any(|word| word == *flag), "{path}: {code}: no {flag}");
            }
        }
    }
    assert!(commands > 20, "only {commands} commands were found");
    let readme = text_of("README.md");
    for verb in verbs {
        assert!(readme.contains(&format!("`isoplan {verb}")), "README.md does not name `isoplan {verb}`");
    }
    for command in ["make demo", "make test"] {
        assert!(readme.contains(command), "README.md does not name `{command}`");
    }
}

/// What a heading is called in a link.
fn anchor(heading: &str) -> String {
    let kept = heading.chars().filter(|c| c.is_alphanumeric() || " -_".contains(*c));
    kept.collect::<String>().to_lowercase().replace(' ', "-")
}

#[test]
fn every_link_resolves() {
    let documents = documents();
    for (path, document) in &documents {
        for target in document.split("](").skip(1).filter_map(|rest| rest.split(')').next()) {
            if target.starts_with("https://") {
                continue;
            }
            let (file, fragment) = target.split_once('#').unwrap_or((target, ""));
            let directory = Path::new(path).parent().expect("a directory");
            let linked = if file.is_empty() { PathBuf::from(path) } else { directory.join(file) };
            assert!(root().join(&linked).is_file(), "{path}: {target}");
            if !fragment.is_empty() {
                let text = text_of(&linked.display().to_string());
                let mut headings = text.lines().filter(|line| line.starts_with('#'));
                let found = headings.any(|line| anchor(line.trim_start_matches('#').trim()) == fragment);
                assert!(found, "{path}: {target}");
            }
        }
    }
    for name in ["topology", "security", "json", "architecture"] {
        assert!(documents["README.md"].contains(&format!("](docs/{name}.md)")), "README.md has no {name}.md");
    }
}

/// A path of the code that a document names is there.
#[test]
fn every_named_file_exists() {
    for (path, document) in documents() {
        for code in code_of(&document) {
            let is_path = ["src/", "tests/", "fixtures/", "docs/", "templates/"]
                .iter()
                .any(|directory| code.starts_with(directory));
            if is_path && !code.contains([' ', '*', '<']) {
                assert!(root().join(&code).exists(), "{path}: {code}");
            }
        }
    }
}

/// The source of the tests, all in one.
fn tests() -> String {
    let mut left = vec![root().join("src"), root().join("tests")];
    let mut text = String::new();
    while let Some(path) = left.pop() {
        if path.is_dir() {
            left.extend(listed(&path));
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            text += &fs::read_to_string(&path).expect("read a source file");
        }
    }
    text
}

/// A test that docs/architecture.md names ("`kill::...`") is there.
#[test]
fn every_named_test_exists() {
    let tests = tests();
    let document = text_of("docs/architecture.md");
    let invariants = document.split("## Invariants").nth(1).and_then(|rest| rest.split("\n## ").next());
    let mut named = 0;
    for code in code_of(invariants.expect("a section about invariants")) {
        let Some((_module, name)) = code.split_once("::") else { continue };
        let function = format!("fn {name}(");
        assert!(tests.contains(&function), "docs/architecture.md names `{code}`, and there is none");
        named += 1;
    }
    assert!(named > 20, "only {named} tests are named");
}

#[test]
fn no_document_knows_where_it_was_written() {
    let home = std::env::var("HOME").unwrap_or_default();
    let mut places = vec!["/home/".to_owned(), "/tmp/".to_owned()];
    places.extend(
        [root().display().to_string(), home].into_iter().filter(|path| path.matches('/').count() > 1),
    );
    for (path, document) in documents() {
        for place in &places {
            assert!(!document.contains(place), "{path} has a path of a build machine: {place}");
        }
    }
}

/// The names of all fields of a document, however deep.
fn fields(value: &Value, into: &mut BTreeSet<String>) {
    match value {
        Value::Object(object) => {
            for (key, value) in object {
                into.insert(key.clone());
                fields(value, into);
            }
        }
        Value::Array(list) => list.iter().for_each(|value| fields(value, into)),
        _ => {}
    }
}

/// The part of docs/json.md about one document: from its heading to the next.
fn json_section(heading: &str) -> String {
    let text = text_of("docs/json.md");
    let lines = text.lines().skip_while(|line| *line != format!("## `{heading}`")).skip(1);
    let section: Vec<_> = lines.take_while(|line| !line.starts_with("## ")).collect();
    assert!(!section.is_empty(), "docs/json.md has no heading {heading}");
    section.join("\n")
}

/// What a document has and what docs/json.md says that it has.
#[track_caller]
pub(crate) fn check_json(heading: &str, kind: &str, documents: &[Value], also: &[&str]) {
    let mut found = BTreeSet::new();
    for document in documents {
        assert_eq!(crate::lab::schema::mistakes(document), Vec::<String>::new());
        assert_eq!((&document["kind"], &document["version"]), (&Value::from(kind), &Value::from(1)));
        fields(document, &mut found);
    }
    let section = json_section(heading) + &also.iter().map(|other| json_section(other)).collect::<String>();
    for field in found.iter().filter(|field| !["version", "kind"].contains(&field.as_str())) {
        assert!(section.contains(&format!("`{field}`")), "docs/json.md, {heading}: nothing about `{field}`");
    }
    // The example is JSON, and has no field that the program does not have.
    let example = json_section(heading);
    let example = example.split("```json\n").nth(1).and_then(|rest| rest.split("```").next());
    let example: Value = serde_json::from_str(example.expect("an example"))
        .unwrap_or_else(|error| panic!("docs/json.md, {heading}: {error}"));
    let mut shown = BTreeSet::new();
    fields(&example, &mut shown);
    let strange: Vec<_> = shown.difference(&found).collect();
    assert!(strange.is_empty(), "docs/json.md, {heading}: the program has no {strange:?}");
    let top = |value: &Value| value.as_object().map(|object| object.keys().cloned().collect::<BTreeSet<_>>());
    assert_eq!(top(&example), documents.first().and_then(top), "docs/json.md, {heading}");
}

#[test]
fn every_json_field_is_described() {
    in_namespace(|| {
        let host = Node::own("host");
        has_namespace_of_its_own(&host);
        let isoplan = Program::new(ISOPLAN).expect("make a directory");
        isoplan
            .write("topology.toml", &HostSpec::service_instance().bare().topology())
            .expect("write a file");
        isoplan.write("wrong.toml", "[[bridge]]\nnam = \"docker0\"\n").expect("write a file");
        let json = |arguments: &[&str]| isoplan.run(arguments).json();

        let check = [json(&["check", "topology.toml", "--json"]), json(&["check", "wrong.toml", "--json"])];
        check_json("isoplan check --json", "check", &check, &[]);
        let render = json(&["render", "topology.toml", "--format", "json"]);
        let of_check = "isoplan check --json";
        check_json("isoplan render --format json", "desired", &[render], &[of_check]);
        let of_plan = "isoplan plan --json";
        let apply = json(&["apply", "topology.toml", "--json", "--yes"]);
        assert_eq!(apply["applied"], true);
        check_json("isoplan apply --json", "apply", &[apply], &[of_plan]);
        host.nft(&["add", "rule", "inet", "isoplan", "input", "accept"]).expect("add a rule");
        host.nft(&["delete", "element", "inet", "isoplan", "guarded_links", "{ \"eth1\" }"])
            .expect("delete an element");
        host.sysctl("net/ipv4/ip_forward", "0").expect("write a sysctl");
        let plan = json(&["plan", "topology.toml", "--json"]);
        host.nft(&["flush", "chain", "inet", "isoplan", "forward"]).expect("delete rules");
        let rules = json(&["plan", "topology.toml", "--json"]);
        check_json(of_plan, "plan", &[plan, rules], &[]);
        host.ip("link add br-x type bridge\naddress add 10.5.0.1/24 dev br-x\n").expect("make a risk");
        let status = json(&["status", "topology.toml", "--json"]);
        check_json("isoplan status --json", "status", &[status], &[]);
        let rollback = json(&["rollback", "--yes", "--json"]);
        assert_eq!(rollback["rolled_back"], true);
        check_json("isoplan rollback --json", "rollback", &[rollback], &[of_plan]);
        let within = ["apply", "topology.toml", "--json", "--yes", "--confirm-within", "1h"];
        let apply = json(&within);
        assert_eq!(apply["confirm_within"], 3600.0);
        let confirm = json(&["confirm", "--json"]);
        check_json("isoplan confirm --json", "confirm", &[confirm], &["isoplan rollback --json"]);
        let remove = json(&["remove", "--yes", "--json"]);
        check_json("isoplan remove --json", "remove", &[remove], &[of_plan]);
        let mut seen = crate::made_up::comparison(Approach::Sysctl);
        seen.observed.values_mut().flat_map(|observed| observed.values_mut()).for_each(|seen| {
            seen.decided_by = vec!["a route".to_owned()];
        });
        let of_compare = "isoplan compare --json";
        let compare = serde_json::to_value(seen.json()).expect("JSON");
        check_json(of_compare, "compare", &[compare], &[]);
        let verify = seen.verification_json(|_| Some("a command".to_owned()));
        let verify = serde_json::to_value(verify).expect("JSON");
        check_json("isoplan verify --json", "verify", &[verify], &[of_compare]);
    });
}

/// README.md shows a run of the demo. Whatever it shows, but for the port that the kernel chose, the demo prints.
#[test]
fn the_session_is_what_the_demo_prints() {
    let built = std::env::current_exe().expect("find this test");
    let demo = built.ancestors().nth(2).expect("a build directory").join("examples/demo");
    let ran = std::process::Command::new(&demo).env("ISOPLAN", super::ISOPLAN).output();
    let ran = ran.unwrap_or_else(|error| panic!("{}: {error}", demo.display()));
    let printed = String::from_utf8_lossy(&ran.stdout).into_owned();
    if !ran.status.success() && std::env::var_os("CI").is_none() {
        eprintln!("skipped: the demo cannot run here: {}", String::from_utf8_lossy(&ran.stderr));
        return;
    }
    let masked = |line: &str| match line.split_once("192.168.57.10:") {
        Some((before, after)) => {
            format!("{before}{}", after.trim_start_matches(|c: char| c.is_ascii_digit()))
        }
        None => line.to_owned(),
    };
    let printed: BTreeSet<String> = printed.lines().map(masked).collect();
    let readme = fs::read_to_string(root().join("README.md")).expect("read README.md");
    let (_, session) = readme.split_once("From `make demo`").expect("a session");
    let (session, _) = session.split_once("Somebody takes an element").expect("the end of the session");
    let shown = session.lines().skip_while(|line| *line != "```console").skip(1);
    let shown: Vec<&str> =
        shown.take_while(|line| *line != "```").filter(|line| line.trim() != "[...]").collect();
    assert!(shown.len() > 50, "only {} lines", shown.len());
    for line in shown {
        assert!(
            printed.contains(&masked(line)),
            "README.md shows a line that the demo does not print:\n{line}"
        );
    }
}
