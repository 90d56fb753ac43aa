//! The invariant checks detect violations, as far as violations can be produced through the public interface.

use std::sync::Arc;

use talus_actors::domain::{
    content::NodeContent,
    graph::Graph,
    ids::{PropertyId, TypeId},
    invariants,
    properties::Properties,
    record::CommandRecord,
    session::Session,
    testing::sample::{self, Setting},
    value::Value,
};

use super::{
    case::free_session,
    commands::{child, load, node, root},
};

/// Returns the violated invariant of a session with an unchecked, loaded graph.
fn broken_by(setting: Setting, graph: Graph) -> &'static str {
    let mut harness = setting.harness();
    harness.submit(&load(graph)).expect("loading is always allowed");
    invariants::check(harness.session())
        .expect_err("it is broken")
        .invariant
}

fn graph_of(content: NodeContent) -> Graph {
    let mut graph = Graph::default();
    graph.insert(node("a"), content, None, 0).expect("it fits");
    graph
}

fn content(name: &str, node_type: &str, property: &str) -> NodeContent {
    NodeContent {
        name: name.into(),
        type_id: TypeId::new(node_type),
        properties: Properties::from([(PropertyId::new(property), Value::text("x"))]),
        metadata: None,
    }
}

#[test]
fn check_detects_invalid_name() {
    let blueprint = sample::blueprint();
    let project = blueprint.root_type();
    let name = project.name_property().expect("it has one").id.clone();
    assert_eq!(broken_by(Setting::Free, graph_of(content(" ", "t", "x"))), "GR-9");
    assert_eq!(broken_by(Setting::Free, graph_of(content("a", "t", "name"))), "GR-9");
    let twice = content("a", project.id.as_str(), name.as_str());
    assert_eq!(broken_by(Setting::Project, graph_of(twice)), "GR-9");
}

#[test]
fn check_detects_exceeded_limits() {
    let long = content("a name of more than a dozen", "t", "x");
    assert_eq!(broken_by(Setting::TightFree, graph_of(long)), "LI-1");
    let line = ["b", "c", "d", "e", "f"].iter().zip(["a", "b", "c", "d", "e"]);
    let line: Vec<_> = std::iter::once(root("a"))
        .chain(line.map(|(one, parent)| child(one, parent)))
        .collect();
    let deep = free_session(&line).session().document().graph.clone();
    assert_eq!(broken_by(Setting::TightFree, deep), "LI-1");
}

#[test]
fn check_detects_false_outcome() {
    let check_outcome = |change: fn(&mut CommandRecord)| {
        let harness = free_session(&[root("a")]);
        let mut recorded = CommandRecord::clone(&harness.log()[0]);
        change(&mut recorded);
        let (header, rules) = (harness.session().header().clone(), harness.session().rules().clone());
        let session = Session::replay(header, rules, None, [Arc::new(recorded)]).expect("it fits");
        invariants::check(&session).map_err(|broken| broken.invariant)
    };
    assert_eq!(check_outcome(|_| {}), Ok(()));
    assert_eq!(
        check_outcome(|recorded| recorded.outcome.redo_available = true),
        Err("SE-3")
    );
    assert_eq!(
        check_outcome(|recorded| recorded.outcome.undo_available = false),
        Err("SE-3")
    );
    assert_eq!(check_outcome(|recorded| recorded.outcome.is_dirty = false), Err("SE-3"));
}
