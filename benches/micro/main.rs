//! Planning, diffing, encoding and decoding alone, without the kernel.

use criterion::{Criterion, criterion_group, criterion_main};

fn topology(_criterion: &mut Criterion) {}

criterion_group!(micro, topology);
criterion_main!(micro);
