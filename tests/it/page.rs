//! The page of `isoplan compare --html`, opened in a browser: nothing is wrong with it, nothing sticks out, it says
//! what the JSON of the same run says, and it passes an accessibility check. By phone and on a desk, in light and
//! dark.

use std::collections::BTreeMap;
use std::env;
use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

use serde_json::Value;

use crate::{compare, made_up};

#[path = "../page/browser.rs"]
pub(crate) mod browser;

use browser::Browser;

/// axe-core, see tests/page/README.md.
const AXE: &str = include_str!("../page/axe.min.js");

pub(crate) const SIZES: [(u32, u32); 2] = [(360, 740), (1280, 800)];
pub(crate) const SCHEMES: [&str; 2] = ["light", "dark"];

/// A page must not be larger.
pub(crate) const BYTES: usize = 200 * 1024;

/// A browser, unless there is none and there need not be.
pub(crate) fn browser() -> Option<Browser> {
    match Browser::start() {
        Ok(browser) => Some(browser),
        Err(error) => {
            assert!(env::var_os("CI").is_none(), "CI has to have chromium and chromedriver: {error}");
            eprintln!("skipped: no browser here: {error}");
            None
        }
    }
}

/// By question and approach, what the page or the document says.
type Cells = BTreeMap<(String, String), String>;

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_else(|| panic!("no text: {value}")).to_owned()
}

/// The cells of the document.
fn documented(document: &Value) -> Cells {
    let questions = document["questions"].as_array().expect("questions");
    let cells = questions.iter().flat_map(|question| {
        let cells = question["cells"].as_array().expect("cells");
        cells.iter().map(|cell| ((text(&question["question"]), text(&cell["approach"])), text(&cell["cell"])))
    });
    cells.collect()
}

/// What a reader of the page sees, for what the document says; capitals where it is not as intended.
fn visible(document: &Value) -> Cells {
    let questions = document["questions"].as_array().expect("questions");
    let cells = questions.iter().flat_map(|question| {
        let cells = question["cells"].as_array().expect("cells");
        cells.iter().map(|cell| {
            let word = text(&cell["cell"]).replace("partly-tested", "in part").replace("as-before", "same");
            let word = if cell["as_intended"] == false { word.to_uppercase() } else { word };
            let family = cell["family"].as_str().map(|family| format!(" {}", family.replace("IP", "")));
            let word = word + &family.unwrap_or_default();
            ((text(&question["question"]), text(&cell["approach"])), word)
        })
    });
    cells.collect()
}

fn shown(browser: &Browser, what: &str) -> Cells {
    let script = format!(
        "return [...document.querySelectorAll('td')].map(td => \
         [td.dataset.question, td.dataset.approach, {what}])"
    );
    let cells = browser.run(&script);
    let cells = cells.as_array().expect("a list of cells");
    let all: Cells = cells.iter().map(|cell| ((text(&cell[0]), text(&cell[1])), text(&cell[2]))).collect();
    assert_eq!(all.len(), cells.len(), "a cell is there twice");
    all
}

/// Keeps a picture for people where `ISOPLAN_PICTURES` names a directory.
pub(crate) fn keep(browser: &Browser, name: &str) {
    let Some(directory) = env::var_os("ISOPLAN_PICTURES") else { return };
    let path = Path::new(&directory).join(format!("{name}.png"));
    let png = fs::File::create(&path).expect("write a picture");
    let mut decoder =
        Command::new("base64").arg("-d").stdin(Stdio::piped()).stdout(png).spawn().expect("start base64");
    let mut pipe = decoder.stdin.take().expect("stdin is a pipe");
    std::io::Write::write_all(&mut pipe, browser.picture().as_bytes()).expect("write a picture");
    drop(pipe);
    assert!(decoder.wait().expect("wait for base64").success());
}

/// Everything that is wrong by axe's rules, and what it could not decide about contrast.
pub(crate) fn accessibility(browser: &Browser) -> Vec<String> {
    browser.run(AXE);
    let found = browser.run_async(
        "const done = arguments[arguments.length - 1];
         axe.run(document, { runOnly: ['wcag2a', 'wcag2aa', 'wcag21a', 'wcag21aa', 'wcag22aa', 'best-practice'] })
           .then(result => {
             const told = (rule, node) => rule.id + ': ' + node.target.join(' ') + ': ' + node.html.slice(0, 160) + ': ' +
               (node.any.concat(node.all, node.none)[0] || {}).message;
             const nodes = rules => rules.flatMap(rule => rule.nodes.map(node => told(rule, node)));
             const contrast = result.passes.filter(rule => rule.id === 'color-contrast');
             done({
               wrong: nodes(result.violations).concat(nodes(result.incomplete)),
               checked: result.passes.length,
               contrast: contrast.flatMap(rule => rule.nodes).length,
             });
           }, error => done({ wrong: [String(error)], checked: 0, contrast: 0 }))",
    );
    assert!(found["checked"].as_u64() > Some(15), "axe checked next to nothing: {found}");
    assert!(found["contrast"].as_u64() > Some(30), "axe saw next to no text: {found}");
    found["wrong"].as_array().expect("a list").iter().map(text).collect()
}

/// Opens a page in every way and holds it against the document.
fn check(browser: &Browser, name: &str, page: &Path, document: &Value) {
    let source = fs::read_to_string(page).expect("read the page");
    assert!(source.len() <= BYTES, "{name}: {} bytes", source.len());
    for word in ["<script", "javascript:", "http://", "https://", "<link", "@import", "url("] {
        assert!(!source.contains(word), "{name} has {word}");
    }
    for (size, scheme) in SIZES.into_iter().flat_map(|size| SCHEMES.map(|scheme| (size, scheme))) {
        let what = format!("{name}, {} wide, {scheme}", size.0);
        browser.console();
        browser.open(page, size, scheme, "screen");
        assert_eq!(shown(browser, "td.dataset.cell"), documented(document), "{what}");
        assert_eq!(
            shown(browser, "td.querySelector('.state').innerText.trim()"),
            visible(document),
            "{what}"
        );
        let loaded = browser.run("return performance.getEntriesByType('resource').map(entry => entry.name)");
        assert_eq!(loaded, Value::Array(Vec::new()), "{what}: loaded from elsewhere");
        let dark = browser.run("return matchMedia('(prefers-color-scheme: dark)').matches");
        assert_eq!(dark, scheme == "dark", "{what}");
        for open in [false, true] {
            let what = format!("{what}, {}", if open { "all details open" } else { "details closed" });
            browser.run(&format!(
                "document.querySelectorAll('details').forEach(element => element.open = {open})"
            ));
            let width = browser
                .run("return [document.documentElement.scrollWidth, document.body.scrollWidth, innerWidth]");
            assert!(width[0].as_u64() <= width[2].as_u64(), "{what}: sticks out: {width}");
            // Nothing is cut off or lies over its neighbour: every state is in its cell, every cell in the window.
            let outside = browser.run(
                "return [...document.querySelectorAll('td .state, main p, main li, main h3, main code')]
                   .filter(element => element.getClientRects().length > 0)
                   .filter(element => {
                     const own = element.getBoundingClientRect();
                     const cell = (element.closest('td') || document.body).getBoundingClientRect();
                     return own.left < cell.left - 1 || own.right > cell.right + 1 || own.right > innerWidth;
                   })
                   .map(element => element.outerHTML.slice(0, 200))",
            );
            assert_eq!(outside, Value::Array(Vec::new()), "{what}: sticks out");
            keep(browser, &format!("{name}-{}-{scheme}-{}", size.0, if open { "open" } else { "closed" }));
            let wrong = accessibility(browser);
            assert!(wrong.is_empty(), "{what}: {}\n{}", wrong.len(), wrong.join("\n"));
        }
        assert_eq!(browser.console(), Value::Array(Vec::new()), "{what}: the console");
    }
    // On paper everything is there, whatever is folded on the screen.
    browser.open(page, SIZES[1], "dark", "print");
    assert_eq!(browser.run("return matchMedia('print').matches"), true, "{name}");
    let hidden = browser.run(
        "return [...document.querySelectorAll('details p, details li')]
           .filter(element => !element.checkVisibility({ contentVisibilityAuto: true }))
           .map(element => element.outerHTML.slice(0, 200))",
    );
    assert_eq!(hidden, Value::Array(Vec::new()), "{name}: not on paper");
    keep(browser, &format!("{name}-print"));
}

#[test]
fn a_page_with_every_state() {
    let Some(browser) = browser() else { return };
    let comparison = made_up::comparison(isoplan::approach::Approach::Nftables);
    let document = comparison.json();
    let page = isoplan::render::comparison::page(&document).expect("make the page");
    let directory = tempfile::tempdir().expect("make a directory");
    let path = directory.path().join("comparison.html");
    fs::write(&path, page).expect("write the page");
    check(&browser, "made-up", &path, &serde_json::to_value(&document).expect("JSON"));
}

#[test]
fn the_page_of_a_real_run() {
    let Some(browser) = browser() else { return };
    let directory = tempfile::tempdir().expect("make a directory");
    let path = directory.path().join("comparison.html");
    let html = path.to_str().expect("UTF-8");
    let args = ["compare", "topology.toml", "--quick", "--json", "--html", html];
    let Some(output) = compare::run("service-instance", &args) else { return };
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(0), "{stderr}");
    check(&browser, "service-instance", &path, &serde_json::from_slice(&output.stdout).expect("JSON"));
}
