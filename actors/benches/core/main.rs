//! Time of single operations of the core: `cargo bench -p talus-actors --bench core -- [filter]`.

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

/// Creates a group with shorter times than criterion's defaults: there are many benches, and on a shared machine a
/// longer measurement is no steadier.
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
