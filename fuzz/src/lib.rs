//! What is done with bytes that nobody vouches for. Each function is a fuzz target of the same name, and what it
//! asserts holds for every input; `tests/it/fuzz.rs` of the main package runs them over the corpus as well.

use isoplan::apply::journal;
use isoplan::approach::desired;
use isoplan::diff::{LiveState, diff};
use isoplan::intent::Intent;
use isoplan::meaning::Comparison;
use isoplan::netlink;
use isoplan::plan::Plan;
use isoplan::render;
use isoplan::render::plan::Style;
use isoplan::saved::{SavedPlan, Snapshot};
use isoplan::topology::{Topology, parse};

const STYLE: Style = Style { color: false, width: 80, all: true };

/// Any text is a topology or a list of mistakes, and a topology can be planned and rendered.
pub fn topology(bytes: &[u8]) {
    match parse("topology.toml", bytes) {
        Err(refused) => {
            refused.render(false, 80);
        }
        Ok(topology) => {
            let intent = Intent::new(&topology);
            render::matrix::page(&intent, None);
            planned(&topology, &LiveState::default());
            assert!(Comparison::new(&intent, &intent).is_empty());
            let desired = desired(&intent);
            let ruleset = desired.ruleset.clone();
            let sysctls = desired.sysctls.iter().map(|sysctl| (sysctl.key.clone(), sysctl.value.clone()));
            let live = LiveState { ruleset, sysctls: sysctls.collect(), ..LiveState::default() };
            // Rules of the plan have no handle, so that they are not known again; everything else is.
            let changes = diff(&desired, &live).changes;
            assert!(changes.iter().all(|change| change.kind == isoplan::diff::Kind::Rule));
        }
    }
}

fn planned(topology: &Topology, live: &LiveState) {
    let plan = Plan::new(topology, live);
    let text = render::plan::plan(&plan, STYLE);
    assert!(text.chars().all(|c| c == '\n' || !c.is_control()), "{text:?}");
    let _ = plan.json();
}

/// Whatever a kernel may answer is read without a panic.
pub fn netlink(bytes: &[u8]) {
    netlink::take_apart(bytes);
}

/// What is read as a saved plan can be worked out again, and is written as it was read.
pub fn plan(bytes: &[u8]) {
    match SavedPlan::from_bytes(bytes) {
        Err(error) => fit_for_a_terminal(&error.to_string()),
        Ok(saved) => {
            let written = saved.to_bytes().expect("what was read can be written");
            assert_eq!(SavedPlan::from_bytes(&written).as_ref(), Ok(&saved));
            if let Ok(topology) = parse(saved.topology.file.as_str(), saved.topology.text.as_bytes()) {
                planned(&topology, &saved.state);
                saved.steps.are_those_of(&Plan::new(&topology, &saved.state).diff);
            }
        }
    }
}

/// What is read as a snapshot can be planned against, and is written as it was read.
pub fn snapshot(bytes: &[u8]) {
    match Snapshot::from_bytes(bytes) {
        Err(error) => fit_for_a_terminal(&error.to_string()),
        Ok(snapshot) => {
            let written = snapshot.to_bytes().expect("what was read can be written");
            assert_eq!(Snapshot::from_bytes(&written).as_ref(), Ok(&snapshot));
            let text = include_bytes!("../../fixtures/exceptions/topology.toml");
            let topology = parse("topology.toml", text).expect("a fixture is right");
            planned(&topology, &snapshot.state);
            planned(&Topology::nothing(), &snapshot.state);
        }
    }
}

/// What is read as a journal can be written to `/proc/sys` without harm.
pub fn journal(bytes: &[u8]) {
    match journal::parse(bytes, "17738e66-4655-456d-b6e1-22f6fddad97c") {
        Err(what) => fit_for_a_terminal(&what),
        Ok(entries) => {
            for entry in entries {
                assert!(entry.key.0.starts_with("net/ipv") && !entry.key.0.contains(".."));
                assert!(entry.original.parse::<i64>().is_ok() && entry.written.parse::<i64>().is_ok());
            }
        }
    }
}

fn fit_for_a_terminal(text: &str) {
    assert!(!text.chars().any(char::is_control), "{text:?}");
}
