//! Time of a command in a small and in a large graph, which should be the same. The log is in memory, so that no disk
//! hides a difference.

use std::time::{Duration, Instant};

use talus_actors::{
    domain::{
        command::Command,
        ids::{NodeId, SessionId},
    },
    hub::Hub,
};

use crate::{
    table::{Table, percentile, us},
    world,
};

const TIMES: usize = 2_000;
const BATCH: usize = 1_000;
const CHILDREN: usize = 10;

/// Creates a session with a tree of `nodes` nodes, up to ten children to each.
async fn tree(hub: &Hub, nodes: usize) -> (SessionId, Vec<NodeId>) {
    let id = world::session(hub).await;
    let ids: Vec<NodeId> = (0..nodes).map(|_| world::node_id()).collect();
    let parent = |at: usize| at.checked_sub(1).map(|it| ids[it / CHILDREN]);
    let commands: Vec<Command> = (0..nodes).map(|at| world::create(ids[at], parent(at))).collect();
    for commands in commands.chunks(BATCH) {
        let commands = commands.to_vec();
        world::submit(hub, id, Command::Batch { commands }).await;
    }
    (id, ids)
}

pub async fn measure() -> Table {
    let mut table = Table::new(
        "big_graph: one command at a time, p50 in µs (memory log)",
        &["command", "10 nodes", "100000 nodes", "ratio"],
    );
    let hub = world::hub(world::memory(), u64::MAX).await;
    let trees = [tree(&hub, 10).await, tree(&hub, 100_000).await];
    for name in ["CreateNode", "UpdateProperty", "MoveNode"] {
        let mut times = [Vec::new(), Vec::new()];
        for step in 0..TIMES {
            for ((id, nodes), times) in trees.iter().zip(&mut times) {
                let leaf = nodes[nodes.len() - 1];
                let command = match name {
                    "CreateNode" => world::create(world::node_id(), Some(leaf)),
                    "UpdateProperty" => world::update(leaf),
                    // Moves a node back and forth between two parents.
                    _ => Command::MoveNode {
                        node_id: nodes[nodes.len() - 2],
                        new_parent_id: Some(nodes[step % 2]),
                        index: None,
                    },
                };
                let sent = Instant::now();
                world::submit(&hub, *id, command).await;
                times.push(sent.elapsed());
            }
        }
        let [small, large]: [Duration; 2] = times.map(|mut it| percentile(&mut it, 50));
        let ratio = large.as_secs_f64() / small.as_secs_f64();
        table.row(&[name.to_owned(), us(small), us(large), format!("{ratio:.2}")]);
    }
    table
}
