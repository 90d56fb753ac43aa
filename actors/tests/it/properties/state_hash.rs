//! Properties of the state hash (P6). `invariants` checks after every command that the stored hash is the sum of the
//! records' hashes, and that each receipt contains the hash after its command.

use proptest::{prelude::*, sample::Index};
use talus_actors::domain::{
    command::{Command, Scope},
    graph::Graph,
    ids::NodeId,
    invariants,
    session::{Session, Snapshot},
    state_hash::StateHash,
    testing::{
        harness::{Accepted, Harness},
        plan::plan,
        sample::Setting,
        values::graph,
    },
};

fn hash(harness: &Harness) -> StateHash {
    harness.session().document().graph.state_hash()
}

/// Returns the hash in the receipt of a command.
fn receipt_hash(harness: &mut Harness, scope: fn() -> Command) -> Option<StateHash> {
    match harness.submit(&scope()) {
        Ok(Accepted::Change(recorded)) => recorded.outcome.state_hash,
        Ok(Accepted::Receipt(receipt)) => receipt.outcome.state_hash,
        Err(_) => None,
    }
}

/// Returns an equal graph, built without history: nodes in reverse order as roots, then moved into place.
fn built_without_history(graph: &Graph) -> Graph {
    let mut other = Graph::default();
    let nodes: Vec<_> = graph.walk(None).nodes().collect();
    for (id, node) in &nodes {
        other.insert(*id, node.content.clone(), None, 0).expect("it is new");
    }
    // Every node is a root now. From the last to the first, each becomes the first of its siblings.
    for (id, node) in nodes.iter().rev() {
        other.link(node.parent(), *id, 0).expect("it is a root");
    }
    other
}

proptest! {
    /// P6: after every command the stored hash equals the computed hash, and the record contains it.
    #[test]
    fn stored_hash_equals_computed_hash(setting in Setting::any(), plan in plan(1..40)) {
        let mut harness = setting.harness();
        for choice in &plan {
            let attempt = harness.run(choice);
            if let Some(recorded) = attempt.recorded() {
                prop_assert_eq!(recorded.outcome.state_hash, Some(hash(&harness)));
            }
            invariants::check_graph(&harness.session().document().graph)?;
        }
    }

    /// P6: the hash depends only on the graph, not on its history.
    #[test]
    fn hash_is_independent_of_history(setting in Setting::any(), plan in plan(1..40)) {
        let mut harness = setting.harness();
        for choice in &plan {
            harness.run(choice);
        }
        let graph = &harness.session().document().graph;
        let other = built_without_history(graph);
        prop_assert_eq!(&other, graph);
        let text = serde_json::to_string(graph)?;
        prop_assert_eq!(serde_json::from_str::<Graph>(&text)?.state_hash(), graph.state_hash());
    }

    /// P6: undo restores the hash before a command and redo the hash after it, and the receipts contain both.
    #[test]
    fn undo_and_redo_restore_hashes(setting in Setting::any(), plan in plan(1..30)) {
        let mut harness = setting.harness();
        for choice in &plan {
            let before = hash(&harness);
            let attempt = harness.run(choice);
            if !attempt.recorded().is_some_and(|recorded| recorded.command_type.is_undoable()) {
                continue;
            }
            let after = hash(&harness);
            prop_assert_eq!(receipt_hash(&mut harness, || Command::undo(Scope::Session)), Some(before));
            prop_assert_eq!(receipt_hash(&mut harness, || Command::redo(Scope::Session)), Some(after));
        }
    }

    /// P6: the hash depends on the order. Swapping two siblings changes it, and swapping back restores it.
    #[test]
    fn hash_depends_on_sibling_order(graph in graph(2..12, 4), at in any::<Index>()) {
        let lists = std::iter::once(graph.roots()).chain(graph.nodes().map(|(_, node)| node.children()));
        let pairs: Vec<(NodeId, NodeId)> = lists
            .flat_map(|siblings| siblings.iter().zip(siblings.iter().skip(1)))
            .collect();
        prop_assume!(!pairs.is_empty());
        let (one, other) = *at.get(&pairs);
        let parent = graph.node(one).expect("the node exists").parent();
        let mut swapped = graph.clone();
        let mut reorder = |id, index| {
            swapped.unlink(parent, id).expect("the node exists");
            swapped.link(parent, id, index).expect("there is room");
            swapped.state_hash()
        };
        let index = graph.position(one).expect("the node exists");
        prop_assert_ne!(reorder(other, index), graph.state_hash());
        prop_assert_eq!(reorder(one, index), graph.state_hash());
    }

    /// P6, P8: replay yields the same hash from the first record and from a snapshot of any time.
    #[test]
    fn replay_restores_hash(setting in Setting::any(), plan in plan(2..40), at in any::<Index>()) {
        let mut harness = setting.harness();
        let (before, after) = plan.split_at(at.index(plan.len()));
        before.iter().for_each(|choice| drop(harness.run(choice)));
        let snapshot: Snapshot = serde_json::from_str(&serde_json::to_string(&harness.session().snapshot())?)?;
        after.iter().for_each(|choice| drop(harness.run(choice)));
        let session = harness.session();
        for snapshot in [None, Some(snapshot)] {
            let log = harness.log().iter().cloned();
            let replayed = Session::replay(session.header().clone(), session.rules().clone(), snapshot, log)?;
            prop_assert_eq!(replayed.document().graph.state_hash(), hash(&harness));
        }
    }

    /// The receipt of a command without changes contains the present hash.
    #[test]
    fn command_without_changes_returns_present_hash(setting in Setting::any(), plan in plan(1..30)) {
        let mut harness = setting.harness();
        for choice in &plan {
            let before = hash(&harness);
            let attempt = harness.run(choice);
            if let Ok(Accepted::Receipt(receipt)) = &attempt.result
                && !receipt.duplicate
            {
                prop_assert_eq!(receipt.outcome.state_hash, Some(before));
            }
        }
    }
}
