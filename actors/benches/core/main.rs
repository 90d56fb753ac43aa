//! What the core costs, one thing at a time: `cargo bench -p talus-actors --bench core -- [filter]`.

#[path = "../common/cases.rs"]
mod cases;
mod commands;
mod fan_out;
mod hash;
mod replay;
#[path = "../common/subject.rs"]
mod subject;

use std::time::Duration;

use criterion::{BenchmarkGroup, Criterion, criterion_group, criterion_main, measurement::WallTime};

/// Shorter than usual: there are many, and a machine that others use gets no steadier in five seconds.
fn group<'a>(criterion: &'a mut Criterion, name: &str) -> BenchmarkGroup<'a, WallTime> {
    let mut group = criterion.benchmark_group(name);
    group.warm_up_time(Duration::from_millis(300));
    group.measurement_time(Duration::from_secs(1));
    group
}

criterion_group!(
    benches,
    commands::measure,
    replay::measure,
    hash::measure,
    fan_out::measure
);
criterion_main!(benches);
