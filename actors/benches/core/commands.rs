//! Time to decide and apply each command, in graphs of three sizes. Each command is undone outside of the measured
//! time, so that the graph keeps its size.

use std::{hint::black_box, time::Duration};

use criterion::{BenchmarkId, Criterion};
use talus_actors::clock::instant;

use crate::{
    cases::{Case, cases},
    group,
    subject::Subject,
};

const SIZES: [usize; 3] = [10, 1_000, 100_000];

pub fn measure(criterion: &mut Criterion) {
    let mut group = group(criterion, "decide_and_apply");
    for size in SIZES {
        let mut subject = Subject::tree(size);
        for case in cases(&subject.nodes) {
            group.bench_function(BenchmarkId::new(case.name, size), |bencher| {
                bencher.iter_custom(|times| (0..times).map(|_| time(&mut subject, &case)).sum());
            });
        }
    }
    group.finish();
}

fn time(subject: &mut Subject, case: &Case) -> Duration {
    for command in &case.before {
        subject.submit(command);
    }
    let began = instant();
    black_box(subject.submit(black_box(&case.command)));
    let took = began.elapsed();
    for command in &case.after {
        subject.submit(command);
    }
    took
}
