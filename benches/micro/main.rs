//! Reading, planning, diffing, encoding and decoding alone, without the kernel.
//!
//! A host of 10, 1,000 and 10,000 bridges with a subnet of either family each, and three NICs. `toml` is the share
//! of the parser that isoplan did not write.

#[path = "../side_by_side/sizes.rs"]
#[allow(dead_code, reason = "a part of what the side-by-side benchmark uses")]
mod sizes;

use std::hint::black_box;
use std::time::Duration;

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use isoplan::approach::{Desired, desired};
use isoplan::diff::{LiveState, diff};
use isoplan::intent::Intent;
use isoplan::netlink;
use isoplan::ruleset::Aside;
use isoplan::topology::{Topology, parse};

/// Bridges.
const SIZES: [usize; 3] = [10, 1_000, 10_000];

fn planned(text: &str) -> (Topology, Desired) {
    let topology = parse("topology.toml", text.as_bytes()).expect("what sizes writes is right");
    let desired = desired(&Intent::new(&topology));
    (topology, desired)
}

/// A host that has been given this rule set, and nothing to do for its sysctls.
fn host_with(desired: &Desired) -> LiveState {
    let sysctls = desired.sysctls.iter().map(|sysctl| (sysctl.key.clone(), sysctl.value.clone())).collect();
    let mut ruleset = desired.ruleset.clone();
    // Live rules are known by their handles.
    let chains = ruleset.values_mut().flat_map(|table| table.chains.values_mut());
    for (handle, rule) in (1..).zip(chains.flat_map(|chain| &mut chain.rules)) {
        rule.handle = Aside(Some(handle));
    }
    LiveState { ruleset, sysctls, ..LiveState::default() }
}

fn micro(criterion: &mut Criterion) {
    for bridges in SIZES {
        let text = sizes::topology(bridges);
        let (topology, wanted) = planned(&text);
        let host = host_with(&wanted);
        let one_more = planned(&sizes::topology(bridges + 1)).1;
        let creation = diff(&wanted, &LiveState::default()).ops;
        let batch = netlink::encode(&creation, None);
        let sets: usize = wanted.ruleset.values().map(|table| table.sets.len()).sum();
        assert_eq!(netlink::sets_of(batch.bytes()).len(), sets, "what is encoded is decoded");

        let mut group = criterion.benchmark_group("bridges");
        group
            .sample_size(10)
            .warm_up_time(Duration::from_millis(300))
            .measurement_time(Duration::from_secs(1));
        group.throughput(Throughput::Elements(bridges as u64));
        let mut time = |what: &str, work: &mut dyn FnMut()| {
            group.bench_function(BenchmarkId::new(what, bridges), |bencher| bencher.iter(&mut *work));
        };
        time("toml", &mut || _ = black_box(toml::de::DeTable::parse(&text)));
        time("read", &mut || _ = black_box(parse("topology.toml", text.as_bytes())));
        time("plan", &mut || _ = black_box(desired(&Intent::new(&topology))));
        time("diff, nothing there", &mut || _ = black_box(diff(&wanted, &LiveState::default())));
        time("diff, nothing to do", &mut || assert!(black_box(diff(&wanted, &host)).is_empty()));
        time("diff, one bridge more", &mut || assert!(!black_box(diff(&one_more, &host)).is_empty()));
        time("encode", &mut || _ = black_box(netlink::encode(&creation, None)));
        time("decode", &mut || _ = black_box(netlink::sets_of(batch.bytes())));
        group.finish();
    }
}

criterion_group!(benches, micro);
criterion_main!(benches);
