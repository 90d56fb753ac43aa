//! `DeleteNode`

use serde_json::json;

use super::{
    case::{check, event_lines, free_session, given, record},
    commands::{CommandExt, child, delete, node, redo, root, set, undo},
};

/// A deletion emits one event for each node of the subtree: children before parents and the last sibling first, so that
/// each event states the node's original index.
#[test]
fn delete_emits_children_before_parents() {
    check([
        given([root("a")])
            .when(delete("a"))
            .then([r#"deleted a at roots[0]: t "a""#]),
        given([root("a"), root("b"), root("c")])
            .when(delete("b"))
            .then([r#"deleted b at roots[1]: t "b""#]),
        given([
            root("a"),
            child("b", "a"),
            child("c", "a"),
            child("d", "b"),
            child("e", "b"),
            child("f", "a"),
            root("g"),
        ])
        .when(delete("a"))
        .then([
            r#"deleted f at a[2]: t "f""#,
            r#"deleted c at a[1]: t "c""#,
            r#"deleted e at b[1]: t "e""#,
            r#"deleted d at b[0]: t "d""#,
            r#"deleted b at a[0]: t "b""#,
            r#"deleted a at roots[0]: t "a""#,
        ]),
        given([
            root("a"),
            child("b", "a"),
            child("c", "a"),
            child("d", "c"),
            child("e", "a"),
        ])
        .when(delete("c"))
        .then([r#"deleted d at c[0]: t "d""#, r#"deleted c at a[1]: t "c""#]),
    ]);
}

/// The event of a deletion contains the node's whole content, for undo.
#[test]
fn delete_event_contains_content() {
    check([
        given([root("a").with("color", json!("red")), set("a", "name", json!("Bolt"))])
            .when(delete("a"))
            .then([r#"deleted a at roots[0]: t "Bolt" {color: "red"}"#]),
    ]);
}

/// Undo creates the subtree again, parents first and in place. Redo deletes it again.
#[test]
fn delete_undo_restores_subtree_in_place() {
    let mut harness = free_session(&[
        root("a"),
        child("b", "a"),
        child("c", "a"),
        child("d", "b"),
        child("e", "b"),
        child("f", "a"),
    ]);
    let deleted = record(&mut harness, &delete("b"));
    assert_eq!(deleted.outcome.node_ids, [node("b")]);
    let undone = record(&mut harness, &undo());
    assert_eq!(
        event_lines(&undone.events),
        [
            r#"created b at a[0]: t "b""#,
            r#"created d at b[0]: t "d""#,
            r#"created e at b[1]: t "e""#
        ]
    );
    assert_eq!(record(&mut harness, &redo()).events, deleted.events);
}

/// Deleting an unknown or already deleted node is refused. The id of a deleted node can be used again.
#[test]
fn delete_refuses_unknown_node() {
    check([
        given([])
            .when(delete("a"))
            .refused("NODE_NOT_FOUND", "node a does not exist"),
        given([root("a"), child("b", "a"), delete("a")])
            .when(delete("b"))
            .refused("NODE_NOT_FOUND", "node b does not exist"),
        given([root("a"), delete("a")])
            .when(root("a"))
            .then([r#"created a at roots[0]: t "a""#]),
    ]);
}
