//! `isoplan compare` and `isoplan verify`: what they make of what was seen, and the whole way with real packets.

use std::path::Path;

use isoplan::approach::Approach;
use isoplan::render::comparison::{details, markdown, page, text};
use isoplan::render::plan::Style;
use isoplan::render::{junit, verification};
use isoplan::verify::probe::Probe;

use crate::golden::compare;
use crate::made_up;

const NARROW: Style = Style { color: false, width: 80, all: false };

/// Every format of a comparison with every state, against the text that was read and agreed to.
#[test]
fn every_format_is_what_was_agreed_to() {
    let comparison = made_up::comparison(Approach::Nftables);
    let document = comparison.json();
    let mut of_sysctl = made_up::comparison(Approach::Sysctl);
    for (name, seen) in of_sysctl.observed.get_mut(&Approach::Sysctl).expect("observations") {
        if name.starts_with("docker0:eth1/") {
            seen.decided_by = vec![
                "route 192.168.57.0/24 dev eth1; no rule dropped it".to_owned(),
                "masqueraded by ip engine postrouting handle 7 (not isoplan's)".to_owned(),
            ];
        }
    }
    let again = |probe: &Probe| {
        Some(format!("isoplan lab topology.toml --approach sysctl -- isoplan probe {}", probe.name))
    };
    let of_sysctl = of_sysctl.verification_json(again);
    let of_nftables = comparison.verification_json(again);
    let all = Style { all: true, ..NARROW };
    let outputs = [
        ("compare.txt", text(&document, NARROW)),
        ("compare-wide.txt", text(&document, Style { width: 120, ..NARROW })),
        ("compare-colour.txt", text(&document, Style { color: true, ..NARROW })),
        ("compare-details.txt", details(&document, NARROW)),
        ("compare.md", markdown(&document)),
        ("compare.html", page(&document).expect("make the page")),
        ("compare.json", serde_json::to_string_pretty(&document).expect("JSON") + "\n"),
        ("verify.txt", verification::text(&of_sysctl, NARROW)),
        ("verify-details.txt", verification::text(&of_sysctl, all)),
        ("verify-nftables.txt", verification::text(&of_nftables, NARROW)),
        ("verify.json", serde_json::to_string_pretty(&of_sysctl).expect("JSON") + "\n"),
        ("verify.xml", junit::file(&of_sysctl).expect("make the XML")),
    ];
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/comparison");
    let wrong: Vec<_> =
        outputs.iter().filter_map(|(name, found)| compare(&directory.join(name), found)).collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    let files = std::fs::read_dir(directory).expect("list tests/comparison").count();
    assert_eq!(files, outputs.len(), "a file that nothing is compared with");
    for (name, found) in outputs.iter().filter(|(name, _)| name.ends_with(".txt")) {
        let width = if name.contains("wide") { 120 } else { 80 };
        let is_long = |line: &&str| line.chars().count() > width && !line.contains(['\u{1b}', '$']);
        let long: Vec<_> =
            found.lines().filter(is_long).filter(|line| !line.trim_start().starts_with("again ")).collect();
        assert!(long.is_empty(), "{name}: longer than {width} columns: {long:#?}");
    }
}
