//! `CreateProject`, `SaveProject` and `LoadGraph`

use std::{collections::BTreeMap, sync::Arc};

use serde_json::json;
use talus_actors::domain::{
    command::Command,
    document::{Document, Extras},
    graph::Graph,
    testing::sample::{self, Setting},
    value::Value,
};

use super::{
    case::{check, check_with_template, event_lines, free_session, given, record},
    commands::{child, load, node, redo, root, save, set, undo},
};

/// Returns the graph after the commands.
fn graph(commands: &[Command]) -> Graph {
    free_session(commands).session().document().graph.clone()
}

fn extras(view: &str) -> Extras {
    Arc::new(BTreeMap::from([("expanded".into(), Value::text(view))]))
}

/// A project begins with the template's root type and its default properties.
#[test]
fn project_begins_with_root_type() {
    check_with_template([given([])
        .when(sample::begin_project())
        .then([r#"created <1.0> at roots[0]: {project} "Demo""#])]);
    let harness = Setting::Project.harness();
    let begun = &harness.log()[0];
    assert_eq!(begun.outcome.node_ids.len(), 1, "the answer names the root");
}

/// A save emits an event with the file's name and changes no node.
#[test]
fn save_emits_event() {
    check([
        given([root("a")])
            .when(save("demo.json", 2))
            .then(["saved demo.json through 2"]),
        given([root("a"), save("demo.json", 2)])
            .when(save("demo.json", 2))
            .then(["saved demo.json through 2"]),
    ]);
}

/// A session is dirty if there are changes after the saved state, including changes during the write of the file.
#[test]
fn dirty_flag_follows_unsaved_changes() {
    let mut harness = free_session(&[]);
    assert!(!harness.session().is_dirty(), "there is nothing to write");
    for (command, dirty) in [
        (root("a"), true),
        (save("demo.json", 2), false),
        (set("a", "x", json!(1)), true),
        (set("a", "x", json!(2)), true),
        (save("demo.json", 6), true),
        (save("demo.json", 8), false),
        (undo(), true),
        (redo(), true),
        (save("demo.json", 14), true),
        (save("demo.json", 16), false),
        (save("demo.json", 0), true),
        (load(Graph::default()), true),
    ] {
        let recorded = record(&mut harness, &command);
        assert_eq!(
            (recorded.outcome.is_dirty, harness.session().is_dirty()),
            (dirty, dirty),
            "{command:?}"
        );
    }
}

/// A load replaces the whole graph. Undo restores the previous graph, and redo the loaded one.
#[test]
fn load_replaces_document_and_is_undone() {
    let loaded = graph(&[root("x"), child("y", "x"), root("z")]);
    check([
        given([]).when(load(loaded.clone())).then(["loaded 3 nodes"]),
        given([root("a"), child("b", "a")])
            .when(load(loaded.clone()))
            .then(["loaded 3 nodes"]),
        given([root("a")]).when(load(Graph::default())).then(["loaded 0 nodes"]),
    ]);
    let mut harness = free_session(&[root("a"), child("b", "a")]);
    let recorded = record(&mut harness, &load(loaded.clone()));
    assert!(recorded.outcome.node_ids.is_empty());
    assert_eq!(harness.session().document().graph, loaded);
    assert_eq!(event_lines(&record(&mut harness, &undo()).events), ["loaded 2 nodes"]);
    assert_eq!(harness.session().document().graph, graph(&[root("a"), child("b", "a")]));
    assert_eq!(event_lines(&record(&mut harness, &redo()).events), ["loaded 3 nodes"]);
    record(&mut harness, &undo());
    assert_eq!(
        event_lines(&record(&mut harness, &undo()).events),
        [r#"deleted b at a[0]: t "b""#],
        "steps before the load can be undone after its undo"
    );
}

/// Extras of a file replace the session's extras. A load without extras keeps them.
#[test]
fn load_replaces_or_keeps_extras() {
    let mut harness = free_session(&[root("a")]);
    let with = |extras| Command::LoadGraph {
        graph: graph(&[root("x")]),
        extras,
        from_file: false,
        template_id: None,
    };
    let document = |extras| Document {
        graph: graph(&[root("x")]),
        extras,
        template_id: None,
    };
    record(&mut harness, &with(Some(extras("one"))));
    assert_eq!(*harness.session().document(), document(extras("one")));
    record(&mut harness, &with(None));
    assert_eq!(*harness.session().document(), document(extras("one")));
    record(&mut harness, &with(Some(extras("two"))));
    record(&mut harness, &undo());
    assert_eq!(*harness.session().document(), document(extras("one")));
    record(&mut harness, &redo());
    assert_eq!(*harness.session().document(), document(extras("two")));
    record(&mut harness, &root("b"));
    record(&mut harness, &undo());
    assert_eq!(
        harness.session().document().extras,
        extras("two"),
        "nothing else touches it"
    );
}

/// Nodes of a loaded graph accept commands.
#[test]
fn loaded_graph_accepts_commands() {
    let loaded = || load(graph(&[root("x"), child("y", "x")]));
    check([
        given([loaded()])
            .when(child("z", "y"))
            .then([r#"created z at y[0]: t "z""#]),
        given([loaded()])
            .when(root("y"))
            .refused("NODE_EXISTS", "node y exists already"),
        given([root("a"), loaded()])
            .when(child("b", "a"))
            .refused("NODE_NOT_FOUND", "node a does not exist"),
    ]);
    let mut harness = free_session(&[root("a")]);
    let seq = harness.session().seq();
    record(&mut harness, &loaded());
    assert_eq!(
        harness.session().changed(node("y")),
        seq.plus(1),
        "a load changes every node"
    );
    assert_eq!(harness.session().last_change_of_roots(), seq.plus(1));
}
