use uuid::Uuid;

use super::*;
use crate::{ids::TypeId, properties::Properties};

fn id(number: u128) -> NodeId {
    NodeId::new(Uuid::from_u128(number))
}

fn content(name: &str) -> NodeContent {
    NodeContent {
        name: name.into(),
        type_id: TypeId::new("t"),
        properties: Properties::new(),
        metadata: None,
    }
}

/// Forest `1 ─ 2 ─ 3, 1 ─ 4, 5`.
fn sample() -> Graph {
    let mut graph = Graph::default();
    for (number, parent, index) in [
        (1, None, 0),
        (2, Some(1), 0),
        (3, Some(2), 0),
        (4, Some(1), 1),
        (5, None, 1),
    ] {
        graph
            .insert(id(number), content(&number.to_string()), parent.map(id), index)
            .expect("fits");
    }
    graph
}

fn order(graph: &Graph) -> Vec<String> {
    graph
        .walk(None)
        .nodes()
        .map(|(_, node)| node.content.name.to_string())
        .collect()
}

/// Metadata `null` is preserved through serialization and differs from absent metadata.
#[test]
fn metadata_null_survives_round_trip() {
    for metadata in [None, Some(Value::Null)] {
        let content = NodeContent {
            metadata: metadata.map(Box::new),
            ..content("a")
        };
        let text = serde_json::to_string(&content).expect("JSON");
        assert_eq!(serde_json::from_str::<NodeContent>(&text).expect("it is read"), content);
    }
}

#[test]
fn walk_visits_nodes_in_document_order() {
    assert_eq!(order(&sample()), ["1", "2", "3", "4", "5"]);
    let steps: String = sample()
        .walk(Some(id(2)))
        .map(|step| match step {
            WalkEvent::Enter(_, node) => format!("<{}", node.content.name),
            WalkEvent::Leave(_, node) => format!("{}>", node.content.name),
        })
        .collect();
    assert_eq!(steps, "<2<33>2>");
}

#[test]
fn is_within_holds_for_node_and_ancestors() {
    let graph = sample();
    for (one, other) in (1..=6).flat_map(|one| (1..=6).map(move |other| (one, other))) {
        let above: &[u128] = match one {
            2 | 4 => &[1],
            3 => &[2, 1],
            _ => &[],
        };
        let expected = one == other || above.contains(&other);
        assert_eq!(graph.is_within(id(one), id(other)), expected, "{one} in {other}");
    }
}

#[test]
fn heights_follow_every_change() {
    let mut graph = sample();
    assert_eq!((graph.height(id(1)), graph.depth(id(3))), (3, 3));
    graph.unlink(Some(id(2)), id(3)).expect("fits");
    assert_eq!(
        (graph.height(id(1)), graph.height(id(2)), graph.depth(id(3))),
        (2, 1, 1)
    );
    graph.link(Some(id(4)), id(3), 0).expect("fits");
    graph.link(Some(id(3)), id(5), 0).expect("fits");
    assert_eq!(
        (graph.height(id(1)), graph.height(id(5)), graph.depth(id(5))),
        (4, 1, 4)
    );
    graph.remove(id(5)).expect("fits");
    assert_eq!(graph.height(id(1)), 3);
}

/// Equal graphs are equal in memory, in whichever order their children were removed.
#[test]
fn graph_equality_ignores_former_children() {
    let mut graph = sample();
    graph.remove(id(4)).expect("fits");
    graph.unlink(Some(id(1)), id(2)).expect("fits");
    graph.link(None, id(2), 1).expect("fits");
    let mut fresh = Graph::default();
    for (number, parent, index) in [(1, None, 0), (2, None, 1), (3, Some(2), 0), (5, None, 2)] {
        fresh
            .insert(id(number), content(&number.to_string()), parent.map(id), index)
            .expect("fits");
    }
    assert_eq!(graph, fresh);
    assert!(graph.node(id(1)).is_some_and(Node::is_leaf));
}

#[test]
fn invalid_operation_is_refused_without_change() {
    let mut graph = sample();
    let before = graph.clone();
    assert_eq!(
        graph.insert(id(1), content("x"), None, 0),
        Err(GraphError::NodeExists(id(1)))
    );
    assert_eq!(
        graph.insert(id(9), content("x"), Some(id(8)), 0),
        Err(GraphError::NoSuchNode(id(8)))
    );
    assert_eq!(
        graph.insert(id(9), content("x"), None, 3),
        Err(GraphError::IndexOutOfRange { index: 3, len: 2 })
    );
    assert_eq!(graph.remove(id(2)), Err(GraphError::HasChildren(id(2))));
    assert_eq!(graph.remove(id(9)), Err(GraphError::NoSuchNode(id(9))));
    assert_eq!(
        graph.unlink(None, id(2)),
        Err(GraphError::NotAChild {
            parent: None,
            child: id(2)
        })
    );
    assert_eq!(graph.link(Some(id(3)), id(1), 0), Err(GraphError::Cycle(id(1))));
    assert_eq!(graph.link(Some(id(1)), id(1), 0), Err(GraphError::Cycle(id(1))));
    assert_eq!(
        graph.link(None, id(1), 2),
        Err(GraphError::IndexOutOfRange { index: 2, len: 1 })
    );
    assert_eq!(graph.rename(id(9), "x".into()), Err(GraphError::NoSuchNode(id(9))));
    assert_eq!(graph, before);
}
