//! Number of instructions of the core's operations, reproducible over runs: `cargo bench -p talus-actors --bench
//! instructions -- [filter]`. Running requires valgrind and its runner (`docs/PERFORMANCE.md`), building requires
//! neither.

#![allow(missing_docs, reason = "the macros make public items without any")]

#[path = "../common/cases.rs"]
mod cases;
#[path = "../common/subject.rs"]
mod subject;

use std::hint::black_box;

use gungraun::{Callgrind, LibraryBenchmarkConfig, library_benchmark, library_benchmark_group, main};
use talus_actors::domain::{
    command::Command,
    ids::{NodeId, PropertyId},
    state_hash::StateHash,
    value::Value,
};

use crate::{
    cases::{Case, cases},
    subject::{Subject, node_id},
};

/// Returns a tree of `nodes` nodes right before the named command. The command has run once and has been undone, so
/// that costs of a first command are not counted, such as the eviction of the tree's records from the replay window.
fn before(name: &str, nodes: usize) -> (Subject, Command) {
    let mut subject = Subject::tree(nodes);
    let case = cases(&subject.nodes).into_iter().find(|case| case.name == name);
    let Case {
        before, command, after, ..
    } = case.expect("there is such a case");
    let once = before.iter().chain([&command]).chain(&after);
    for command in once.chain(&before) {
        subject.submit(command);
    }
    (subject, command)
}

// Decides and applies. Returns its input, so that dropping the graph is not counted.
#[library_benchmark(setup = before)]
#[benches::create_node(("CreateNode", 10), ("CreateNode", 1_000), ("CreateNode", 100_000))]
#[benches::delete_node(("DeleteNode", 10), ("DeleteNode", 1_000), ("DeleteNode", 100_000))]
#[benches::link_node(("LinkNode", 10), ("LinkNode", 1_000), ("LinkNode", 100_000))]
#[benches::unlink_node(("UnlinkNode", 10), ("UnlinkNode", 1_000), ("UnlinkNode", 100_000))]
#[benches::move_node(("MoveNode", 10), ("MoveNode", 1_000), ("MoveNode", 100_000))]
#[benches::reorder_node(("ReorderNode", 10), ("ReorderNode", 1_000), ("ReorderNode", 100_000))]
#[benches::update_property(("UpdateProperty", 10), ("UpdateProperty", 1_000), ("UpdateProperty", 100_000))]
#[benches::delete_property(("DeleteProperty", 10), ("DeleteProperty", 1_000), ("DeleteProperty", 100_000))]
#[benches::batch(("Batch of 100", 10), ("Batch of 100", 1_000), ("Batch of 100", 100_000))]
#[benches::undo(("Undo", 10), ("Undo", 1_000), ("Undo", 100_000))]
#[benches::redo(("Redo", 10), ("Redo", 1_000), ("Redo", 100_000))]
fn submit((mut subject, command): (Subject, Command)) -> (Subject, Command) {
    black_box(subject.submit(black_box(&command)));
    (subject, command)
}

fn property(bytes: usize) -> (PropertyId, Value) {
    (PropertyId::new("description"), Value::text("x".repeat(bytes)))
}

// Cost of a property's hash, paid for the old value and for the new value of each change.
#[library_benchmark(setup = property)]
#[benches::bytes(10, 80, 1_000)]
fn of_property((property, value): (PropertyId, Value)) -> (PropertyId, Value, StateHash) {
    let hash = StateHash::of_property(node_id(0), black_box(&property), black_box(&value));
    (property, value, hash)
}

// Cost of a place's hash, paid up to three times for each insertion and each removal.
#[library_benchmark]
#[bench::child(node_id(2), node_id(0), node_id(1))]
fn of_place(id: NodeId, parent: NodeId, previous: NodeId) -> StateHash {
    StateHash::of_place(black_box(id), Some(parent), Some(previous))
}

library_benchmark_group!(name = decide_and_apply, benchmarks = submit);
library_benchmark_group!(name = state_hash, benchmarks = [of_property, of_place]);
main!(
    // Counts instructions only. Simulating caches would double the time, and the result would not be reproducible.
    config = LibraryBenchmarkConfig::default().tool(Callgrind::with_args(["--cache-sim=no"])),
    library_benchmark_groups = [decide_and_apply, state_hash]
);
