use std::collections::BTreeMap;
use isoplan::approach::Approach;
use isoplan::intent::Intent;
use isoplan::lab::worker::Job;
use isoplan::lab::{isolate, run};
use isoplan::topology;
use isoplan::verify::catalogue::{Extent, probes};
use isoplan::verify::change::Change;
use isoplan::verify::outcome::{Outcome, Verdict};
use isoplan::verify::world::World;

#[test]
fn matrix() {
    isolate::use_program(crate::ISOPLAN);
    let file = std::env::var("FIX").unwrap_or_else(|_| "fixtures/service-instance/topology.toml".into());
    let text = std::fs::read_to_string(&file).unwrap();
    let topology = topology::parse("topology.toml", text.as_bytes()).unwrap();
    let intent = Intent::new(&topology);
    let world = World::new(&intent);
    let all = probes(&intent, &world, Extent::Full);
    let only = std::env::var("ONLY").unwrap_or_default();
    let changes: Vec<Option<Change>> = if std::env::var("BASE").is_ok() { vec![None] } else { Change::ALL.into_iter().map(Some).collect() };
    let mut jobs = Vec::new();
    for change in &changes {
        let names: Vec<String> = all.iter().filter(|p| p.change == *change && p.name.contains(&only)).map(|p| p.name.clone()).collect();
        if names.is_empty() { continue }
        for approach in Approach::ALL {
            jobs.push(Job { file: "topology.toml".into(), text: text.clone(), approach, change: *change, probes: names.clone(), is_traced: false, cpu: 0 });
        }
    }
    let t = std::time::Instant::now();
    let results = run::run(&jobs, &mut |_| {}).unwrap();
    eprintln!("{} jobs in {:?}", jobs.len(), t.elapsed());
    let mut rows: BTreeMap<(usize, String), Vec<(Approach, isoplan::verify::outcome::Observation)>> = BTreeMap::new();
    for (job, result) in jobs.iter().zip(&results) {
        for (name, obs) in result {
            let i = all.iter().position(|p| p.name == *name).unwrap();
            rows.entry((i, name.clone())).or_default().push((job.approach, obs.clone()));
        }
    }
    let mut whys: BTreeMap<String, usize> = BTreeMap::new();
    for ((i, name), cells) in &rows {
        let none = &cells.iter().find(|c| c.0 == Approach::None).unwrap().1.outcome;
        let mut line = format!("{name:60} {:?} ", all[*i].expected);
        for (_, obs) in cells {
            let v = Verdict::of(all[*i].expected, &obs.outcome, Some(none));
            let o = match &obs.outcome { Outcome::Answered => "A", Outcome::Delivered => "D", Outcome::Blocked => "b", Outcome::CouldNotTest(why) => { *whys.entry(format!("{name}: {why}")).or_default() += 1; "?" } };
            line += &format!("{o}:{v:?} ");
        }
        eprintln!("{line}");
    }
    for (why, n) in whys { eprintln!("{n} x {why}"); }
}
