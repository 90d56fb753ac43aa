//! Time to replay a session from its log without a snapshot, as at a restart.

use std::{hint::black_box, sync::Arc};

use criterion::{BenchmarkId, Criterion, Throughput};
use talus_actors::domain::{record::CommandRecord, session::Session, testing::sample};

use crate::{
    group,
    subject::{Subject, create, node_id, rules, update},
};

const EVENTS: u64 = 100_000;
/// Number of events that is measured as well if [`MANY`] is set. Takes several gigabytes of memory and a long time.
const MANY_EVENTS: u64 = 1_000_000;
const MANY: &str = "TALUS_BENCH_MANY";

/// Interval of creations: one command in ten creates a node, and the others set a property.
const CREATES: usize = 10;

pub fn measure(criterion: &mut Criterion) {
    let mut group = group(criterion, "replay");
    group.sample_size(10);
    let many = std::env::var_os(MANY).map(|_| MANY_EVENTS);
    for events in [EVENTS].into_iter().chain(many) {
        // Lazily created, because a filter may skip the measurement.
        let mut log = None;
        group.throughput(Throughput::Elements(events));
        group.bench_function(BenchmarkId::from_parameter(events), |bencher| {
            let log = log.get_or_insert_with(|| history(events));
            bencher.iter_with_large_drop(|| replayed(black_box(log)));
        });
    }
    group.finish();
}

fn history(events: u64) -> Vec<Arc<CommandRecord>> {
    let mut subject = Subject::empty();
    let mut log = vec![subject.submit(&create(node_id(0), None))];
    for number in 1.. {
        if subject.session.seq().0 >= events {
            break;
        }
        let newest = number / CREATES;
        let command = match number % CREATES {
            0 => create(node_id(newest), Some(node_id(newest / CREATES))),
            _ => update(node_id(newest * (number % CREATES) / CREATES), number),
        };
        log.push(subject.submit(&command));
    }
    log
}

fn replayed(log: &[Arc<CommandRecord>]) -> Session {
    let session = Session::replay(sample::header(), rules(), None, log.iter().cloned());
    session.expect("commands wrote it")
}
