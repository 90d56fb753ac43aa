//! Time to hash a value, as for each change, and a whole graph, as for each snapshot that is read.

use std::hint::black_box;

use criterion::{BenchmarkId, Criterion, Throughput};
use talus_actors::domain::{graph::Graph, ids::PropertyId, siblings::Siblings, state_hash::StateHash, value::Value};

use crate::{
    group,
    subject::{Subject, node_id},
};

const VALUE_BYTES: [usize; 3] = [10, 1_000, 60_000];
const NODES: [usize; 3] = [10, 1_000, 100_000];

pub fn measure(criterion: &mut Criterion) {
    let mut group = group(criterion, "state_hash");
    let property = PropertyId::new("description");
    for bytes in VALUE_BYTES {
        let value = Value::text("x".repeat(bytes));
        group.throughput(Throughput::Bytes(bytes as u64));
        group.bench_function(BenchmarkId::new("value of bytes", bytes), |bencher| {
            bencher.iter(|| StateHash::of_property(node_id(0), &property, black_box(&value)));
        });
    }
    for nodes in NODES {
        let graph = Subject::tree(nodes).session.document().graph.clone();
        assert_eq!(whole(&graph), graph.state_hash(), "it is the whole of it");
        group.throughput(Throughput::Elements(nodes as u64));
        group.bench_function(BenchmarkId::new("graph of nodes", nodes), |bencher| {
            bencher.iter(|| whole(black_box(&graph)));
        });
    }
    group.finish();
}

/// Computes the hash of a whole graph, as a client does. The hub updates the sum instead.
fn whole(graph: &Graph) -> StateHash {
    let mut sum = StateHash::default();
    for parent in std::iter::once(None).chain(graph.nodes().map(|(id, _)| Some(id))) {
        let mut previous = None;
        for id in graph.children(parent).into_iter().flat_map(Siblings::iter) {
            sum += StateHash::of_place(id, parent, previous.replace(id));
        }
    }
    for (id, node) in graph.nodes() {
        sum += StateHash::of_content(id, &node.content);
    }
    sum
}
