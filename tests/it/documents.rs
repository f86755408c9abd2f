//! `isoplan render --format html` in a browser, ten thousand bridges as documents, and templates of one's own.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;

use serde_json::Value;

use crate::golden::{cases, fixtures};
use crate::lab::Program;
use crate::page::browser::Browser;
use crate::page::{BYTES, SCHEMES, SIZES, accessibility, browser, keep};
use crate::{ISOPLAN, scale};

fn fixture(case: &str) -> String {
    fs::read_to_string(fixtures().join(case).join("topology.toml")).expect("read a fixture")
}

/// What isoplan prints for a topology.
fn printed(topology: &str, args: &[&str]) -> String {
    let isoplan = Program::new(ISOPLAN).expect("make a directory");
    isoplan.write("topology.toml", topology).expect("write it");
    isoplan.run(&[&["render", "topology.toml"], args].concat()).ok()
}

/// What isoplan prints for a fixture.
fn rendered(case: &str, args: &[&str]) -> String {
    printed(&fixture(case), args)
}

/// That many networks, no two of which reach the same of so many NICs, and an exception of every seventh.
fn different(number: usize, nics: usize) -> String {
    let mut text = String::new();
    for nic in 0..nics {
        text.push_str(&format!(
            "[[nic]]\nname = \"eth{nic}\"\nrole = \"role-{nic}\"\nsubnets = [\"192.168.{nic}.0/24\", \"fd{nic:02}::/64\"]\n"
        ));
    }
    for network in 0..number {
        let roles = (0..nics).filter(|nic| (network + 1) >> nic & 1 == 1);
        let roles: Vec<String> = roles.map(|nic| format!("\"role-{nic}\"")).collect();
        let (high, low) = (network / 256 + 64, network % 256);
        text.push_str(&format!(
            "[[bridge]]\nname = \"br-network-{network:04}\"\nsubnets = [\"10.{high}.{low}.0/24\"]\nreach = [{}]\n",
            roles.join(", ")
        ));
        if network % 7 == 0 {
            text.push_str(&format!(
                "[[allow]]\nfrom = \"br-network-{network:04}\"\nto = \"192.168.5.7\"\nprotocol = \"tcp\"\n\
                 ports = [443, \"9000-9100\"]\nreason = \"a test\"\n"
            ));
        }
    }
    text
}

fn examples() -> String {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("templates/examples/runbook").display().to_string()
}

#[test]
fn a_page_is_small_and_needs_nothing_else() {
    for case in cases() {
        let page = rendered(&case, &["--format", "html"]);
        assert!(page.len() <= BYTES, "{case}: {} bytes", page.len());
        // The name of a language, which nobody fetches.
        let page = page.replace("http://www.w3.org/2000/svg", "");
        for word in ["<script", "javascript:", "http://", "https://", "<link", "@import", "src="] {
            assert!(!page.contains(word), "{case} has {word}");
        }
        for word in ["default-src 'none'", "<h1>", "id=\"risks\"", "id=\"undo\"", "<svg"] {
            assert!(page.contains(word), "{case} has no {word}");
        }
        // What is linked to is there.
        for target in page.split("href=\"").skip(1).filter_map(|rest| rest.split('"').next()) {
            let id = target.strip_prefix('#').unwrap_or_else(|| panic!("{case}: {target}"));
            assert!(page.contains(&format!("id=\"{id}\"")), "{case}: {target}");
        }
    }
}

/// `lan.service` of `from_lan.service`, `host_from_lan.service` and `to_lan.service_published`.
fn class(chain: &str) -> &str {
    let inbound = |class: &'_ str| class.rsplit_once('_').map(|(class, _)| class.len());
    match chain.strip_prefix("to_") {
        Some(rest) => &rest[..inbound(rest).expect("what comes in")],
        None => chain.trim_start_matches("host_").trim_start_matches("from_"),
    }
}

/// Whatever is told in short: a page of 40 networks that are all different has every chain, every set and every party,
/// and of a chain that is like another one it is true.
#[test]
fn forty_different_networks_are_all_on_a_small_page() {
    let topology = different(40, 6);
    let page = printed(&topology, &["--format", "html"]);
    assert!(page.len() <= BYTES, "{} bytes", page.len());
    for word in ["more chains", "more sets", "more rows", "more are not drawn"] {
        assert!(!page.contains(word), "{word}: nothing is left out");
    }
    let json: Value = serde_json::from_str(&printed(&topology, &["--format", "json"])).expect("JSON");
    let mut short = 0;
    for table in json["tables"].as_array().expect("tables") {
        let family = table["family"].as_str().expect("a family");
        let chains = table["chains"].as_array().expect("chains");
        let syntax = |name: &str| {
            let chain = chains.iter().find(|chain| chain["name"] == name).expect("a chain");
            let rules = chain["rules"].as_array().expect("rules").iter();
            rules.map(|rule| rule["rule"].as_str().expect("syntax").to_owned()).collect::<Vec<_>>()
        };
        for chain in chains {
            let name = chain["name"].as_str().expect("a name");
            let (_, rest) =
                page.split_once(&format!(" id=\"{family}-{name}\">")).expect("the chain is there");
            let line = rest.lines().next().unwrap_or_default();
            let Some((_, other)) = line.split_once("Rules as in <a href=") else { continue };
            let (_, other) = other.split_once('>').expect("a link");
            let other = other.split('<').next().expect("a name");
            short += 1;
            let like: Vec<String> =
                syntax(other).iter().map(|rule| rule.replace(class(other), class(name))).collect();
            assert_eq!(like, syntax(name), "{name}");
        }
        for set in table["sets"].as_array().expect("sets") {
            let name = set["name"].as_str().expect("a name");
            assert!(page.contains(&format!("<code>{name}</code>")), "{name}");
        }
    }
    assert!(short > 20, "{short} chains in short");
    for name in
        (0..40).map(|network| format!("br-network-{network:04}")).chain((0..6).map(|nic| format!("eth{nic}")))
    {
        assert!(page.contains(&format!("<th role=\"rowheader\" scope=\"row\">{name}")), "a row of {name}");
    }
    assert!(page.contains("host on eth5"), "receivers are not cut");
}

/// Many NICs and flats make a matrix and a picture that no page holds.
#[test]
fn many_of_everything_still_fit_on_a_page() {
    let mut topology = different(60, 40);
    for flat in 0..40 {
        topology.push_str(&format!("[[flat]]\nname = \"instance-{flat:04}\"\nnic = \"eth{flat}\"\n"));
    }
    let page = printed(&topology, &["--format", "html"]);
    assert!(page.len() <= BYTES, "{} bytes", page.len());
    assert!(page.contains(" more</span>"), "receivers are counted");
    assert!(page.contains("<svg") != page.contains("--format svg"), "what is left out is said");
}

#[test]
fn a_thousand_different_networks_are_counted() {
    let page = printed(&different(1000, 10), &["--format", "html"]);
    assert!(page.len() <= BYTES, "{} bytes", page.len());
    for part in ["more chains of the same kinds", "more sets", "more rows and columns", "more are not drawn"]
    {
        assert!(page.contains(part), "nothing of: {part}");
    }
}

/// Contrast of what axe leaves open.
const CONTRAST: &str = include_str!("documents/contrast.js");

/// On paper: all is there, nothing is wider than a sheet, a picture that is higher than one is cut between rows.
fn check_print(browser: &Browser, path: &Path, case: &str) {
    // A sheet of A4 or Letter with margins, upright; what is `wide` lies on its side.
    browser.open(path, (680, 900), "dark", "print");
    keep(browser, &format!("document-{case}-print"));
    let wide = browser.run(
        "return [...document.querySelectorAll('main p, main li, main td, main th, main pre, main svg')]
           .filter(element => element.getClientRects().length > 0 && !element.closest('.wide, svg svg'))
           .filter(element => element.getBoundingClientRect().right > innerWidth + 1)
           .map(element => element.outerHTML.slice(0, 200))",
    );
    assert_eq!(wide, Value::Array(Vec::new()), "{case}: wider than a sheet");
    let hidden = browser.run(
        "return [...document.querySelectorAll('details pre')]
           .filter(element => !element.checkVisibility({ contentVisibilityAuto: true })).length",
    );
    assert_eq!(hidden, 0, "{case}: not on paper");
    let sheets = browser.run(
        "const all = document.querySelector('#isop-all');
         const rows = [...all.querySelectorAll('[data-node]')].map(node => node.getBBox());
         const height = all.ownerSVGElement.viewBox.baseVal.height;
         // The last of the parts of a sheet is its own, one before it is the head.
         const sheets = [...document.querySelectorAll('.isop-sheet')].map(sheet => {
           const { y, height } = sheet.lastElementChild.viewBox.baseVal;
           return { y, bottom: y + height, high: sheet.getBoundingClientRect().height };
         });
         return {
           sheets: sheets.length,
           follow: sheets.every((sheet, at) => sheet.y === (at ? sheets[at - 1].bottom : 0)),
           whole: sheets.length === 0 || sheets[sheets.length - 1].bottom === height,
           cut: rows.filter(row => sheets.some(sheet => row.y < sheet.bottom && row.y + row.height > sheet.bottom)).length,
           high: Math.max(0, ...sheets.map(sheet => sheet.high)),
           shown: [...document.querySelectorAll('.picture > svg')].filter(svg => svg.getBoundingClientRect().width > 99).length,
           // The style sheet of what `use` shows looks no further than the element itself.
           styled: all.matches('.isop'),
         };",
    );
    let count = sheets["sheets"].as_u64().expect("a number");
    assert_eq!(count > 0, case == "forty", "{case}: {sheets}");
    for word in ["follow", "whole", "styled"] {
        assert_eq!(sheets[word], true, "{case}: {word}: {sheets}");
    }
    assert_eq!(sheets["cut"], 0, "{case}: {sheets}");
    assert_eq!(sheets["shown"].as_u64(), Some(count.max(1)), "{case}: either is shown: {sheets}");
    assert!(sheets["high"].as_f64() < Some(900.0), "{case}: {sheets}");
}

#[test]
fn the_page_in_a_browser() {
    let Some(browser) = browser() else { return };
    let directory = tempfile::tempdir().expect("make a directory");
    let cases = ["three-nics", "exceptions", "sysctl"].map(|case| (case, fixture(case)));
    for (case, topology) in cases.into_iter().chain([("forty", different(40, 6))]) {
        let path = directory.path().join(format!("{case}.html"));
        fs::write(&path, printed(&topology, &["--format", "html"])).expect("write the page");
        for (size, scheme) in SIZES.into_iter().flat_map(|size| SCHEMES.map(|scheme| (size, scheme))) {
            let what = format!("{case}, {} wide, {scheme}", size.0);
            browser.console();
            browser.open(&path, size, scheme, "screen");
            browser.run("document.querySelectorAll('details').forEach(element => element.open = true)");
            let loaded =
                browser.run("return performance.getEntriesByType('resource').map(entry => entry.name)");
            assert_eq!(loaded, Value::Array(Vec::new()), "{what}: loaded from elsewhere");
            let width = browser.run("return [document.documentElement.scrollWidth, innerWidth]");
            assert!(width[0].as_u64() <= width[1].as_u64(), "{what}: sticks out: {width}");
            // Text is in the window, unless it is in something that scrolls.
            let outside = browser.run(
                "return [...document.querySelectorAll('main p, main li, main h3, main code, main td, main dd')]
                   .filter(element => element.getClientRects().length > 0 && !element.closest('.scroll, pre'))
                   .filter(element => element.getBoundingClientRect().right > innerWidth + 1)
                   .map(element => element.outerHTML.slice(0, 200))",
            );
            assert_eq!(outside, Value::Array(Vec::new()), "{what}: sticks out");
            let headings =
                browser.run("return [...document.querySelectorAll('h1, h2, h3, h4')].map(h => h.tagName)");
            let levels: Vec<u64> = headings
                .as_array()
                .expect("a list")
                .iter()
                .filter_map(|tag| tag.as_str()?.strip_prefix('H')?.parse().ok())
                .collect();
            assert_eq!(levels.first(), Some(&1), "{what}");
            assert!(levels.windows(2).all(|pair| pair[1] <= pair[0] + 1), "{what}: {levels:?}");
            let picture = browser.run(
                "const svg = document.querySelector('main svg');
                 return [svg.getAttribute('role'), (svg.querySelector('title') || {}).textContent || '']",
            );
            assert_eq!(picture[0], "img", "{what}");
            assert!(picture[1].as_str().is_some_and(|title| !title.is_empty()), "{what}: {picture}");
            keep(&browser, &format!("document-{case}-{}-{scheme}", size.0));
            // Of contrast, axe cannot tell what is behind the text of a picture, nor of a cell that a wide matrix has
            // scrolled out of sight: that is worked out here.
            let contrast = browser.run(CONTRAST);
            assert!(contrast["count"].as_u64() > Some(30), "{what}: {contrast}");
            assert_eq!(contrast["low"], Value::Array(Vec::new()), "{what}: contrast");
            let untold = |told: &String| {
                let is_hidden = told.contains("partially obscured") && told.contains("data-to=");
                told.starts_with("color-contrast: ") && (told.contains(": <text ") || is_hidden)
            };
            let wrong: Vec<String> =
                accessibility(&browser).into_iter().filter(|told| !untold(told)).collect();
            assert!(wrong.is_empty(), "{what}: {}\n{}", wrong.len(), wrong.join("\n"));
            assert_eq!(browser.console(), Value::Array(Vec::new()), "{what}: the console");
        }
        check_print(&browser, &path, case);
    }
}

#[test]
fn ten_thousand_bridges_are_grouped_and_counted() {
    let isoplan = Program::new(ISOPLAN).expect("make a directory");
    isoplan.write("many.toml", &scale::topology(10_000)).expect("write a topology");
    let text = isoplan.run(&["render", "many.toml", "--format", "markdown"]).ok();
    let lines = text.lines().count();
    assert!(lines < 600, "{lines} lines");
    for part in [
        "10,000 container networks and 3 NICs",
        "- container networks, 10,000: `br-00000` to `br-09999`",
        "What 10,000 networks (`br-00000` to `br-09999`) may send to others.",
        "  - 10,000: \"br-00000\" to \"br-09999\" : goto from_service",
        "each with itself : accept",
        "`isoplan render --format nft` prints it.",
    ] {
        assert!(text.contains(part), "nothing of: {part}");
    }
    let page = isoplan.run(&["render", "many.toml", "--format", "html"]).ok();
    assert!(page.len() <= BYTES, "{} bytes", page.len());
}

#[test]
fn the_example_template_fills_in_for_every_fixture() {
    for case in cases() {
        let text = rendered(&case, &["--template", &examples()]);
        assert!(text.starts_with("# Runbook: topology.toml\n"), "{case}: {text}");
        let json: Value = serde_json::from_str(&rendered(&case, &["--format", "json"])).expect("JSON");
        for step in json["undo"].as_array().expect("a list") {
            assert!(text.contains(step["command"].as_str().expect("text")), "{case}: {step}");
        }
    }
}

/// What a template sees is what `--format json` prints: field by field, however deep.
#[test]
fn a_template_sees_the_json() {
    let isoplan = Program::new(ISOPLAN).expect("make a directory");
    let topology = fs::read_to_string(fixtures().join("exceptions/topology.toml")).expect("read a fixture");
    isoplan.write("topology.toml", &topology).expect("write it");
    let json: Value =
        serde_json::from_str(&isoplan.run(&["render", "topology.toml", "--format", "json"]).ok())
            .expect("JSON");
    let fields = json.as_object().expect("an object");
    let line = |key: &String| format!("\"{key}\": {{{{ {key} | tojson }}}}");
    let template = format!("{{{}}}", fields.keys().map(line).collect::<Vec<_>>().join(","));
    isoplan.write("all.txt", &template).expect("write a template");
    let seen = isoplan.run(&["render", "topology.toml", "--template", "all.txt"]).ok();
    assert_eq!(serde_json::from_str::<Value>(&seen).expect("JSON"), json);
}

#[test]
fn what_is_wrong_with_a_template_is_told_with_its_place() {
    let isoplan = Program::new(ISOPLAN).expect("make a directory");
    let topology = fs::read_to_string(fixtures().join("three-nics/topology.toml")).expect("read a fixture");
    let secret = tempfile::tempdir().expect("make a directory");
    fs::write(secret.path().join("secret.md"), "a secret").expect("write a file");
    for directory in ["one", "none", "two"] {
        fs::create_dir(isoplan.directory().join(directory)).expect("make a directory");
    }
    symlink(secret.path().join("secret.md"), isoplan.directory().join("one/link.md")).expect("make a link");
    for (name, text) in [
        ("topology.toml", topology.as_str()),
        ("one/document.md", "first\n{% include \"part.md\" %}"),
        ("one/part.md", "\n\n{{ topology.nothing }}"),
        ("one/up.md", "{% include \"../topology.toml\" %}"),
        ("one/absolute.md", "{% include \"/etc/hostname\" %}"),
        ("one/away.md", "{% include \"link.md\" %}"),
        ("one/lost.md", "{% include \"nowhere.md\" %}"),
        ("one/open.md", "a\n{% for x in tables %}"),
        ("one/filter.md", "{{ topology | shout }}"),
        ("one/format.md", "{{ rendered(\"pdf\") }}"),
        ("two/document.md", ""),
        ("two/document.html", ""),
        ("page.html", "{{ \"<b>\" }}|{{ \"<b>\" | safe }}"),
        ("page.txt", "{{ \"<b>\" }}"),
    ] {
        isoplan.write(name, text).expect("write a file");
    }
    let check = |template: &str, parts: &[&str]| {
        let ran = isoplan.run(&["render", "topology.toml", "--template", template]);
        assert_eq!((ran.code, ran.stdout.as_str()), (Some(1), ""), "{template}: {ran}");
        for part in parts {
            assert!(ran.stderr.contains(part), "{template}: nothing of {part}: {}", ran.stderr);
        }
        assert!(!ran.stderr.contains("a secret"), "{template}");
    };
    check("one", &["part.md:3", "`topology.nothing` is undefined", "docs/json.md"]);
    check("one/up.md", &["up.md:1", "not below the directory"]);
    check("one/absolute.md", &["not below the directory"]);
    check("one/away.md", &["not below the directory"]);
    check("one/lost.md", &["lost.md:1", "nowhere.md"]);
    check("one/open.md", &["open.md:2", "Jinja"]);
    check("one/filter.md", &["shout", "docs/how-to/templates.md"]);
    check("one/format.md", &["pdf", "svg"]);
    check("none", &["has no document.EXT"]);
    check("two", &["document.html and document.md"]);
    check("nowhere", &["cannot read the template nowhere"]);
    let filled = |template: &str| isoplan.run(&["render", "topology.toml", "--template", template]).ok();
    assert_eq!(filled("page.html"), "&lt;b&gt;|<b>");
    assert_eq!(filled("page.txt"), "<b>");
    let both = ["render", "topology.toml", "--template", "page.txt", "--format", "nft"];
    assert_eq!(isoplan.run(&both).code, Some(64));
}
