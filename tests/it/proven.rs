//! What the intent expects is what packets do, on random topologies: `isoplan verify`, every pair, both families.

use std::path::Path;
use std::process::{Command, Stdio};

use isoplan::lab::isolate;
use proptest::prelude::*;
use proptest::test_runner::TestCaseError;
use serde_json::Value;

use crate::draw::{self, Drawn};
use crate::laws::law_with;
use crate::{ISOPLAN, probes_of};

/// Expected and observed, for as many topologies. Each is built twice, without and with the rules.
const TOPOLOGIES: u32 = 200;

/// How often a failing topology is made smaller: each try builds two labs.
const SHRINKS: u32 = 24;

#[test]
fn expected_is_observed_on_random_topologies() {
    let [held, shows_nothing] = [(); 2].map(|()| std::cell::Cell::new(0));
    let probes = std::cell::Cell::new(0);
    law_with(TOPOLOGIES, SHRINKS, draw::nftables(), |drawn| {
        let directory = tempfile::tempdir().expect("make a directory");
        let path = directory.path().join("topology.toml");
        std::fs::write(&path, drawn.text()).expect("write a topology");
        let Some((code, result, stderr)) = verify(&path, &["--quick"]) else { return Ok(()) };
        let wrong = wrong(&result);
        prop_assert!(wrong.is_empty(), "{}", wrong.join("\n"));
        prop_assert_eq!(code, Some(0), "{}", stderr);
        probes.set(probes.get() + probes_of(&result).len());
        let counts = &result["result"]["counts"];
        let count = |key: &str| counts[key].as_u64().unwrap_or_default();
        held.set(held.get() + count("held"));
        shows_nothing.set(shows_nothing.get() + count("vacuous") + count("not_judged"));
        Ok(())
    });
    let probes = probes.get();
    if isolate::unavailable().is_some() {
        return;
    }
    eprintln!("{probes} probes on {TOPOLOGIES} topologies did what was expected of them");
    let (held, shows_nothing) = (held.get(), shows_nothing.get());
    eprintln!("{held} were blocked that pass without rules; {shows_nothing} show nothing");
    // Nor may most be such as nothing can be said of.
    assert!(held > 5 * shows_nothing, "{held} held, {shows_nothing} show nothing");
    // A catalogue that has become empty would agree with everything.
    assert!(probes > 20 * TOPOLOGIES as usize, "only {probes} probes");
}

/// Runs `isoplan verify`: its exit code, its document and what it said besides. None where there can be no
/// namespaces; CI may not skip.
fn verify(path: &Path, options: &[&str]) -> Option<(Option<i32>, Value, String)> {
    if let Some(reason) = isolate::unavailable() {
        assert!(std::env::var_os("CI").is_none(), "no namespaces here, and CI may not skip: {reason}");
        eprintln!("skipped: {reason}");
        return None;
    }
    let output = Command::new(ISOPLAN)
        .args(["verify", "--json"])
        .args(options)
        .arg(path)
        .stdin(Stdio::null())
        .output()
        .expect("run isoplan");
    let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
    let result = serde_json::from_slice(&output.stdout)
        .unwrap_or_else(|error| panic!("no JSON: {error}\n{}: {stderr}", output.status));
    Some((output.status.code(), result, stderr))
}

/// Probes that did not do what is expected of them, or of which nothing is known.
fn wrong(result: &Value) -> Vec<String> {
    let mut wrong = Vec::new();
    for probe in probes_of(result) {
        let Some(observed) = probe["results"].as_array().and_then(|results| results.last()) else {
            wrong.push(format!("{} has no result", probe["probe"]));
            continue;
        };
        let verdict = observed["verdict"].as_str().unwrap_or_default();
        if !["held", "works", "vacuous", "residual", "unjudged"].contains(&verdict) {
            wrong.push(format!(
                "{}: expected {}, {verdict}: {}",
                probe["probe"], probe["expected"], probe["results"]
            ));
        }
    }
    wrong
}

/// The drawing is of some use: most of what is drawn has containers, a NIC, and something to block.
#[test]
fn most_drawings_have_something_to_block() {
    let with_blocked = std::cell::Cell::new(0_u32);
    law_with(TOPOLOGIES, 0, draw::nftables(), |drawn: Drawn| {
        let topology = isoplan::topology::parse("topology.toml", drawn.text().as_bytes())
            .map_err(|_| TestCaseError::fail("a drawn topology was refused"))?;
        let intent = isoplan::intent::Intent::new(&topology);
        let world = isoplan::verify::world::World::new(&intent);
        let probes =
            isoplan::verify::catalogue::probes(&intent, &world, isoplan::verify::catalogue::Extent::Quick);
        let blocks = probes.iter().any(|probe| probe.expected == isoplan::verify::outcome::Expected::Blocked);
        with_blocked.set(with_blocked.get() + u32::from(blocks));
        Ok(())
    });
    assert!(with_blocked.get() > TOPOLOGIES / 2, "only {} of {TOPOLOGIES}", with_blocked.get());
}

/// The same on every fixture that isoplan applies with rules of its own, changes of the host included.
#[test]
fn expected_is_observed_on_every_fixture() {
    let fixtures = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures");
    let mut verified = 0;
    for entry in std::fs::read_dir(fixtures).expect("list fixtures") {
        let path = entry.expect("list fixtures").path().join("topology.toml");
        let Ok(text) = std::fs::read_to_string(&path) else { continue };
        if text.contains("approach = \"sysctl\"") {
            continue;
        }
        let Some((code, result, stderr)) = verify(&path, &[]) else { return };
        let wrong = wrong(&result);
        assert!(wrong.is_empty(), "{}:\n{}", path.display(), wrong.join("\n"));
        assert_eq!(code, Some(0), "{}: {stderr}", path.display());
        verified += 1;
    }
    assert!(verified > 10, "only {verified} fixtures");
}
