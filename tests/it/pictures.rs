//! The pictures of `isoplan render`: each way of the intent is in them, each blocked pair is not, and nothing lies over
//! anything else. Mermaid has no parser that runs without a browser and a megabyte of JavaScript: what is written is
//! held against the part of its grammar that isoplan writes. Mermaid 11.17 drew every fixture, and 40 networks, when it
//! was tried by hand.

use std::collections::{BTreeMap, BTreeSet};
use std::env;
use std::fs;
use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Stdio};

use isoplan::intent::{Intent, IpFamily, Party, Way};
use isoplan::render::picture::{self, Embed};
use isoplan::topology::{self, Topology};
use roxmltree::{Document, Node};
use serde_json::Value;

use crate::{draw, golden, laws, page};

fn parse(text: &str) -> Topology {
    topology::parse("topology.toml", text.as_bytes()).unwrap_or_else(|_| panic!("refused:\n{text}"))
}

/// Every valid fixture, by its name.
fn fixtures() -> BTreeMap<String, Topology> {
    let all = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures");
    let directories = fs::read_dir(all).expect("list the fixtures");
    let paths = directories.map(|entry| entry.expect("list the fixtures").path());
    let cases = paths.filter(|path| path.join("topology.toml").is_file()).map(|path| {
        let text = fs::read_to_string(path.join("topology.toml")).expect("read a fixture");
        (path.file_name().expect("a name").to_string_lossy().into_owned(), parse(&text))
    });
    cases.collect()
}

const NICS: &str = r#"
    [[nic]]
    name = "enp0s31f6.1000a"
    role = "service"
    subnets = ["203.0.113.0/24", "2001:db8:1234:5678:9abc:def0:1234:0/112"]
    [[nic]]
    name = "wlp123s0f1u2u3x"
    role = "storage-network"
    subnets = ["2001:db8:aaaa:5678:9abc:def0:1234:5678/128"]
    [[nic]]
    name = "eth2"
    role = "management-0123"
    subnets = ["10.9.0.0/24"]
"#;

/// That many networks with names of 15 characters, no two of which reach the same.
fn different(number: usize) -> String {
    let roles = ["service", "storage-network", "management-0123"];
    let mut text = NICS.to_owned();
    for place in 0..number {
        let mut reach: Vec<String> =
            (0..3).filter(|bit| place >> bit & 1 == 1).map(|bit| format!("\"{}\"", roles[bit])).collect();
        if place >= 8 {
            reach.push(format!("\"br-long-name{:03}\"", place - 8));
        }
        text.push_str(&format!(
            "[[bridge]]\nname = \"br-long-name{place:03}\"\n\
             subnets = [\"172.20.{place}.0/24\", \"fd20:1111:2222:3333:4444:5555:6666:{place}/128\"]\n\
             reach = [{}]\n",
            reach.join(", ")
        ));
    }
    text
}

/// That many networks, of two kinds.
fn alike(number: usize) -> String {
    let mut text = NICS.to_owned();
    for place in 0..number {
        let reach = if place % 2 == 0 { "[\"service\"]" } else { "[]" };
        let (high, low) = (place / 256 + 64, place % 256);
        text.push_str(&format!(
            "[[bridge]]\nname = \"br-{place}\"\nsubnets = [\"10.{high}.{low}.0/24\"]\nreach = {reach}\n"
        ));
    }
    text
}

/// What the pictures of a test are of.
fn samples() -> BTreeMap<String, Topology> {
    let mut samples = fixtures();
    for number in [2, 10, 40, 60] {
        samples.insert(format!("{number} different networks"), parse(&different(number)));
    }
    samples.insert("300 networks of two kinds".to_owned(), parse(&alike(300)));
    samples
}

/// Everyone in a topology who sends, by the name in the file.
fn parties(topology: &Topology) -> BTreeMap<String, Party> {
    let networks = topology.networks.iter().enumerate();
    let networks = networks.map(|(place, network)| (network.name.to_string(), Party::Network(place)));
    let flats = topology.flats.iter().enumerate();
    let flats = flats.map(|(place, flat)| (flat.name.to_string(), Party::Flat(place)));
    let nics = topology.nics.iter().enumerate();
    let nics = nics.map(|(place, nic)| (nic.name.to_string(), Party::Nic(place)));
    networks.chain(flats).chain(nics).collect()
}

/// What is open in one direction, by the intent: `open`, `published`, `exceptions`.
fn expected(intent: &Intent<'_>, from: Party, to: Party) -> BTreeSet<&'static str> {
    let mut words = BTreeSet::new();
    // The address of a flat is one of its NIC's.
    if from == to || matches!(to, Party::Flat(_)) {
        return words;
    }
    for way in IpFamily::BOTH.into_iter().filter_map(|family| intent.way(from, to, family)) {
        words.extend(match way {
            Way::Open => &["open"][..],
            Way::Published => &["published"],
            Way::PublishedAndExceptions => &["published", "exceptions"],
            Way::AnswersAndExceptions | Way::Exceptions => &["exceptions"],
            Way::Answers | Way::Blocked => &[],
        });
    }
    words
}

/// What a picture shows: by sender and receiver, the words of the lines between them.
type Lines = BTreeMap<(String, String), BTreeSet<String>>;

fn push(lines: &mut Lines, from: &str, to: &str, word: &str) {
    if word != "answers" {
        lines.entry((from.to_owned(), to.to_owned())).or_default().insert(word.to_owned());
    }
}

fn svg_lines(document: &Document<'_>) -> Lines {
    let mut lines = Lines::new();
    for line in document.descendants().filter(|node| node.has_attribute("data-from")) {
        let value = |name: &str| line.attribute(name).unwrap_or("answers");
        let (from, to) = (value("data-from"), value("data-to"));
        push(&mut lines, from, to, value("data-way"));
        push(&mut lines, to, from, value("data-back"));
        let class = |node: Node<'_, '_>| node.attribute("class").unwrap_or_default().to_owned();
        let drawn: Vec<String> = line.descendants().map(class).collect();
        let heads =
            drawn.iter().filter(|class| class.ends_with("-head") || class.ends_with("-hollow")).count();
        let ends = ["data-way", "data-back"].iter().filter(|name| value(name) != "answers").count();
        assert_eq!(heads, ends, "{from} to {to}: as many heads as directions");
    }
    lines
}

/// Those who are in the picture by name, with how many they stand for.
fn svg_nodes(document: &Document<'_>) -> BTreeMap<String, usize> {
    let nodes = document.descendants().filter(|node| node.has_attribute("data-node"));
    let nodes = nodes.map(|node| {
        let name = node.attribute("data-node").unwrap_or_default().to_owned();
        let words: Vec<&str> = node.descendants().filter_map(|node| node.text()).collect();
        assert!(words.iter().any(|text| text.starts_with(&name)), "{name} is not said: {words:?}");
        (name, node.attribute("data-count").and_then(|count| count.parse().ok()).expect("a count"))
    });
    nodes.collect()
}

/// What the intent says of pairs that are in a picture.
fn intended(intent: &Intent<'_>, shown: &BTreeMap<String, Party>) -> Lines {
    let mut lines = Lines::new();
    for (from, a) in shown {
        for (to, b) in shown {
            for word in expected(intent, *a, *b) {
                push(&mut lines, from, to, word);
            }
        }
    }
    lines
}

/// Everyone who is not shown by name is counted with one who may and may not do the same.
fn check_counted(intent: &Intent<'_>, nodes: &BTreeMap<String, usize>) {
    let all = parties(intent.topology);
    let shown: Vec<Party> = nodes.keys().map(|name| all[name]).collect();
    let drawn = |party: &Party| shown.contains(party);
    let same = |a: Party, b: Party| {
        shown.iter().all(|other| {
            let apart = *other == a || *other == b;
            IpFamily::BOTH.into_iter().all(|family| {
                intent.speaks(a, family) == intent.speaks(b, family)
                    && (apart
                        || (intent.way(a, *other, family) == intent.way(b, *other, family)
                            && intent.way(*other, a, family) == intent.way(*other, b, family)))
            })
        })
    };
    let mut counts: BTreeMap<Party, usize> = shown.iter().map(|party| (*party, 1)).collect();
    for (name, party) in all.iter().filter(|(_, party)| !drawn(party)) {
        let stands = shown.iter().find(|other| {
            matches!((party, other), (Party::Network(_), Party::Network(_))) && same(*party, **other)
        });
        let stands = stands.unwrap_or_else(|| panic!("nobody in the picture stands for {name}"));
        *counts.entry(*stands).or_default() += 1;
    }
    let total: usize = nodes.values().sum();
    assert_eq!(total, all.len(), "everyone is named or counted: {nodes:?}");
}

fn check_svg(topology: &Topology, embed: Embed) -> bool {
    let intent = Intent::new(topology);
    let svg = picture::svg(&intent, embed);
    let document = Document::parse(&svg).unwrap_or_else(|error| panic!("{error}:\n{svg}"));
    let root = document.root_element();
    assert_eq!(root.tag_name().namespace(), Some("http://www.w3.org/2000/svg"));
    let ids: Vec<&str> = root.attribute("aria-labelledby").expect("a label").split(' ').collect();
    for (id, tag) in ids.into_iter().zip(["title", "desc"]) {
        let label = root.descendants().find(|node| node.attribute("id") == Some(id)).expect("the label");
        assert!(label.has_tag_name(("http://www.w3.org/2000/svg", tag)) && label.text().is_some(), "{id}");
    }
    let nodes = svg_nodes(&document);
    let all = parties(topology);
    let shown: BTreeMap<String, Party> = nodes.keys().map(|name| (name.clone(), all[name])).collect();
    let missing = all.len() > nodes.values().sum();
    if missing {
        assert!(svg.contains(" more are not drawn."), "who is left out is counted");
    } else {
        check_counted(&intent, &nodes);
    }
    assert_eq!(svg_lines(&document), intended(&intent, &shown), "{svg}");
    !missing
}

#[test]
fn every_way_has_its_line_and_nothing_blocked_has_one() {
    for (name, topology) in samples() {
        eprintln!("{name}");
        let is_whole = check_svg(&topology, Embed::Alone);
        assert_eq!(is_whole, !name.starts_with("60"), "{name}");
        check_svg(&topology, Embed::Inline);
    }
    laws::law_with(150, 200, draw::topology(), |drawn| {
        check_svg(&parse(&drawn.text()), Embed::Alone);
        Ok(())
    });
}

/// The name of whoever an id stands for.
fn by_id(topology: &Topology) -> BTreeMap<String, String> {
    let id = |party: &Party| match party {
        Party::Network(place) => format!("n{place}"),
        Party::Flat(place) => format!("f{place}"),
        Party::Nic(place) | Party::HostOn(place) => format!("i{place}"),
    };
    parties(topology).iter().map(|(name, party)| (id(party), name.clone())).collect()
}

/// Reads what isoplan writes of Mermaid's language; anything else is a failure. Gives the nodes and the lines.
fn read_mermaid(text: &str, names: &BTreeMap<String, String>) -> (BTreeSet<String>, Lines) {
    let is_label = |text: &str| {
        let inner = text.strip_prefix('"').and_then(|text| text.strip_suffix('"'));
        inner.is_some_and(|inner| {
            !inner.replace("<br/>", "").contains(['"', '<', '>', '`', '\\', '&']) && !inner.is_empty()
        })
    };
    let (mut nodes, mut lines) = (BTreeSet::new(), Lines::new());
    let mut depth = 0;
    let mut rows = text.lines();
    assert!(rows.next().is_some_and(|row| row.starts_with("%% ")));
    assert_eq!(rows.next(), Some("flowchart LR"));
    for row in rows.map(str::trim) {
        let words: Vec<&str> = row.split(' ').collect();
        if row.starts_with("accTitle: ") || row.starts_with("accDescr: ") || row == "direction LR" {
            continue;
        }
        if row.starts_with("classDef guarded ") || (row.starts_with("class ") && words.len() == 3) {
            continue;
        }
        if row.starts_with("subgraph host [") {
            depth += 1;
            continue;
        }
        if row == "end" {
            depth -= 1;
            continue;
        }
        let id: String = row.chars().take_while(char::is_ascii_alphanumeric).collect();
        let rest = &row[id.len()..];
        let shapes = [("[[", "]]"), ("([", "])"), ("[", "]"), (">", "]")];
        let label = shapes
            .iter()
            .find_map(|(open, close)| rest.strip_prefix(open).and_then(|rest| rest.strip_suffix(close)));
        if let Some(label) = label {
            assert!(is_label(label), "a label: {row}");
            if let Some(name) = names.get(&id) {
                assert!(label[1..].starts_with(name.as_str()), "{row} names {name}");
                nodes.insert(name.clone());
            }
            continue;
        }
        let (arrow, rest) = rest.trim_start().split_once('|').unwrap_or_else(|| panic!("a line: {row}"));
        let (label, to) = rest.rsplit_once("| ").unwrap_or_else(|| panic!("a line: {row}"));
        let word = match (arrow, label) {
            ("-->", "open") | ("-.->", "published") => label,
            ("-.->", label) => {
                assert!(is_label(label), "a label: {row}");
                "exceptions"
            }
            _ => panic!("an arrow: {row}"),
        };
        push(&mut lines, &names[&id], &names[to], word);
    }
    assert_eq!(depth, 0, "every subgraph ends");
    (nodes, lines)
}

fn check_mermaid(topology: &Topology) {
    let intent = Intent::new(topology);
    let text = picture::mermaid(&intent);
    let (nodes, lines) = read_mermaid(&text, &by_id(topology));
    let all = parties(topology);
    let shown = nodes.iter().map(|name| (name.clone(), all[name])).collect();
    assert_eq!(lines, intended(&intent, &shown), "{text}");
    for nic in topology.nics.iter().take(40) {
        assert!(nodes.contains(nic.name.as_str()), "{} is there", nic.name);
    }
}

#[test]
fn mermaid_says_the_same() {
    for (name, topology) in samples() {
        eprintln!("{name}");
        check_mermaid(&topology);
    }
    laws::law_with(150, 200, draw::topology(), |drawn| {
        check_mermaid(&parse(&drawn.text()));
        Ok(())
    });
}

/// What Graphviz reads of a graph, as it tells it itself; nothing where it is not there and need not be.
fn graphviz(source: &str) -> Option<Value> {
    let child = Command::new("dot")
        .args(["-Tdot_json"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn();
    let mut child = match child {
        Ok(child) => child,
        Err(error) => {
            assert!(env::var_os("CI").is_none(), "CI has to have graphviz: {error}");
            eprintln!("skipped: no graphviz here: {error}");
            return None;
        }
    };
    let mut pipe = child.stdin.take().expect("stdin is a pipe");
    let source = source.to_owned();
    let writer = std::thread::spawn(move || pipe.write_all(source.as_bytes()));
    let output = child.wait_with_output().expect("wait for dot");
    writer.join().expect("join").expect("write to dot");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert_eq!(String::from_utf8_lossy(&output.stderr), "", "dot has nothing to say");
    Some(serde_json::from_slice(&output.stdout).expect("JSON"))
}

#[test]
fn graphviz_reads_the_same() {
    for (name, topology) in samples() {
        eprintln!("{name}");
        let intent = Intent::new(&topology);
        let Some(graph) = graphviz(&picture::dot(&intent)) else { return };
        let names = by_id(&topology);
        let all = parties(&topology);
        let objects = graph["objects"].as_array().expect("objects");
        let ids: Vec<&str> = objects.iter().map(|node| node["name"].as_str().expect("a name")).collect();
        let mut shown = BTreeMap::new();
        for (id, node) in ids.iter().zip(objects) {
            if let Some(name) = names.get(*id) {
                let label = node["label"].as_str().expect("a label");
                assert!(label.starts_with(name.as_str()), "{label} names {name}");
                shown.insert(name.clone(), all[name]);
            }
        }
        let mut lines = Lines::new();
        for edge in graph["edges"].as_array().unwrap_or(&Vec::new()) {
            let end = |which: &str| {
                let place = edge[which].as_u64().and_then(|place| usize::try_from(place).ok());
                names[ids[place.expect("a place")]].as_str()
            };
            let word = match edge["label"].as_str() {
                Some("open") => "open",
                Some("published") => "published",
                _ => "exceptions",
            };
            assert_eq!(edge["style"] == "dashed", word == "exceptions", "{edge}");
            push(&mut lines, end("tail"), end("head"), word);
        }
        assert_eq!(lines, intended(&intent, &shown), "{name}");
    }
}

#[test]
fn ten_thousand_networks_are_a_handful_of_boxes() {
    let topology = parse(&alike(10_000));
    let intent = Intent::new(&topology);
    for text in [picture::svg(&intent, Embed::Alone), picture::mermaid(&intent), picture::dot(&intent)] {
        assert!(text.len() < 20_000, "{} bytes", text.len());
        assert_eq!(text.matches("br-0 and 4,999 more").count().min(1), 1, "{text}");
        assert!(text.contains("br-1 and 4,999 more"), "{text}");
    }
}

/// The picture in the documents.
#[test]
fn the_documents_have_a_picture_of_today() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/reference/three-nics.svg");
    let picture = picture::svg(&Intent::new(&fixtures()["three-nics"]), Embed::Alone);
    let wrong = golden::compare(&path, &picture);
    assert!(wrong.is_none(), "{}", wrong.unwrap_or_default());
}

/// The name of a file may be anything.
#[test]
fn what_is_a_sign_elsewhere_is_text() {
    let name = "a<b>&\"'\u{1}\u{1b}\n%%{x}`;#\\]|é漢.toml";
    let topology = topology::parse(name, NICS.as_bytes()).unwrap_or_else(|_| panic!("refused"));
    let intent = Intent::new(&topology);
    for embed in [Embed::Alone, Embed::Inline] {
        let svg = picture::svg(&intent, embed);
        let document = Document::parse(&svg).unwrap_or_else(|error| panic!("{error}:\n{svg}"));
        let said =
            |text: &str| document.descendants().any(|node| node.text().is_some_and(|one| one.contains(text)));
        assert!(said("a<b>&\"'") && said("é漢.toml"), "{svg}");
    }
    read_mermaid(&picture::mermaid(&intent), &by_id(&topology));
    if let Some(graph) = graphviz(&picture::dot(&intent)) {
        assert!(graph["label"].as_str().is_some_and(|label| label.contains("a<b>&\"'")), "{graph}");
    }
}

/// What a browser makes of pictures: whatever overlaps, sticks out or runs through words.
const MEASURE: &str = include_str!("pictures/measure.js");

#[test]
fn nothing_lies_over_anything_else() {
    let Some(browser) = page::browser() else { return };
    let directory = tempfile::tempdir().expect("make a directory");
    let mut pictures: Vec<(String, String)> = samples()
        .iter()
        .map(|(name, topology)| (name.clone(), picture::svg(&Intent::new(topology), Embed::Inline)))
        .collect();
    // The same ones each time: what is measured takes a browser, and no shrinking.
    let drawn = std::cell::RefCell::new(Vec::new());
    laws::law_with(12, 0, draw::topology(), |one| {
        drawn.borrow_mut().push(one.text());
        Ok(())
    });
    for text in drawn.into_inner() {
        let topology = parse(&text);
        pictures.push((text, picture::svg(&Intent::new(&topology), Embed::Inline)));
    }
    let path = directory.path().join("pictures.html");
    let all: String = pictures.iter().map(|(_, svg)| format!("<div>{svg}</div>\n")).collect();
    fs::write(&path, format!("<!doctype html><meta charset=\"utf-8\"><body>{all}")).expect("write the page");
    for fonts in ["", "serif", "DejaVu Sans", "Liberation Sans"] {
        browser.open(&path, (1280, 800), "light", "screen");
        let found = browser.run(&format!("const fonts = '{fonts}';\n{MEASURE}"));
        let found = found.as_array().expect("a list");
        assert_eq!(found.len(), pictures.len(), "every picture was measured");
        for (found, (name, _)) in found.iter().zip(&pictures) {
            assert!(found["texts"].as_u64() > Some(5), "{name}: no text");
            assert_eq!(found["wrong"], Value::Array(Vec::new()), "{name} in {fonts}");
        }
    }
}

/// Alone it has its own colours, in the dark and on paper; within a page it has those of the page.
#[test]
fn colours_are_those_of_the_reader() {
    let Some(browser) = page::browser() else { return };
    let directory = tempfile::tempdir().expect("make a directory");
    let topology = &fixtures()["exceptions"];
    let alone = directory.path().join("alone.svg");
    fs::write(&alone, picture::svg(&Intent::new(topology), Embed::Alone)).expect("write a picture");
    let colour = |class: &str| {
        let found = browser
            .run(&format!("return getComputedStyle(document.querySelector('.isop .isop-{class}')).fill"));
        found.as_str().expect("a colour").to_owned()
    };
    let mut looks = BTreeMap::new();
    for (scheme, medium) in [("light", "screen"), ("dark", "screen"), ("dark", "print")] {
        browser.open(&alone, (1280, 800), scheme, medium);
        page::keep(&browser, &format!("picture-{scheme}-{medium}"));
        looks.insert((scheme, medium), (colour("paper"), colour("name")));
    }
    let light = &looks[&("light", "screen")];
    assert_eq!(light, &("rgb(255, 255, 255)".to_owned(), "rgb(27, 31, 36)".to_owned()));
    assert_eq!(looks[&("dark", "screen")].0, "rgb(20, 23, 27)");
    assert_eq!(&looks[&("dark", "print")], light, "paper is white");

    let inline = directory.path().join("inline.html");
    let svg = picture::svg(&Intent::new(topology), Embed::Inline);
    assert!(!svg.contains("<?xml"));
    let style = "<style>:root{--text:rgb(1, 2, 3)}</style>";
    fs::write(&inline, format!("<!doctype html>{style}{svg}")).expect("write a page");
    browser.open(&inline, (1280, 800), "light", "screen");
    assert_eq!(colour("name"), "rgb(1, 2, 3)", "the page's");
    assert_eq!(colour("note"), "rgb(76, 85, 95)", "its own, where the page has none");
}
