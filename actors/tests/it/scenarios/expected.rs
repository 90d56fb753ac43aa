//! `expected_seq`: a command is refused exactly if one of its dependencies changed since.

use serde_json::json;
use talus_actors::domain::{command::Command, graph::Graph, ids::Seq, rejection::Rejection};

use super::{
    case::{Case, check, free_session, given},
    commands::{
        CommandExt, batch, child, delete, link, load, move_node, reorder, root, save, set, to_roots, undo, unlink,
        unset,
    },
};

/// Forest that the client saw at `seq` 14:
///
/// ```text
///  a ─┬─ b ─── d      x
///     └─ c            y
/// ```
const SEEN: u64 = 14;

fn seen() -> Vec<Command> {
    vec![
        root("a"),
        child("b", "a").with("color", json!("red")),
        child("c", "a"),
        child("d", "b"),
        root("x"),
        root("y"),
        set("a", "name", json!("A")),
    ]
}

/// Sends a command with `expected_seq` 14 after another change.
fn after(since: Command, command: Command) -> super::case::When {
    given([seen(), vec![since]].concat()).when(command).expecting_seq(SEEN)
}

fn fine(since: Command, command: Command) -> Case {
    after(since, command).accepted()
}

/// Expects a conflict. The change is the event at 15, and the session is at 16.
fn conflict(since: Command, command: Command, what: &str) -> Case {
    after(since, command).refused("CONFLICT", &format!("{what} changed at 15, after 14"))
}

/// Setting and deleting a property depends on the node: its properties, name, place and children.
#[test]
fn property_commands_depend_on_node() {
    check([
        conflict(set("b", "size", json!(1)), set("b", "color", json!("blue")), "node b"),
        conflict(set("b", "name", json!("B")), unset("b", "color"), "node b"),
        conflict(unlink("b", "a"), set("b", "color", json!("blue")), "node b"),
        conflict(unlink("d", "b"), set("b", "color", json!("blue")), "node b"),
        fine(set("a", "size", json!(1)), set("b", "color", json!("blue"))),
        fine(set("c", "size", json!(1)), unset("b", "color")),
        fine(set("d", "size", json!(1)), set("b", "color", json!("blue"))),
    ]);
}

/// Creating a node depends on the parent, or on the list of roots.
#[test]
fn create_depends_on_parent() {
    check([
        conflict(child("n", "a"), child("m", "a"), "node a"),
        conflict(set("a", "size", json!(1)), child("m", "a"), "node a"),
        conflict(root("n"), root("m"), "the order of the roots"),
        conflict(unlink("d", "b"), root("m"), "the order of the roots"),
        conflict(link("x", "c"), root("m"), "the order of the roots"),
        fine(child("n", "a"), root("m")),
        fine(root("n"), child("m", "a")),
        fine(child("n", "b"), child("m", "a")),
    ]);
}

/// Deleting and reordering depend on the node and its parent.
#[test]
fn delete_and_reorder_depend_on_node_and_parent() {
    check([
        conflict(set("b", "size", json!(1)), delete("b"), "node b"),
        conflict(child("n", "b"), delete("b"), "node b"),
        conflict(child("n", "a"), delete("b"), "node a"),
        conflict(root("n"), delete("x"), "the order of the roots"),
        conflict(set("b", "size", json!(1)), reorder("b", 1), "node b"),
        conflict(child("n", "a"), reorder("b", 1), "node a"),
        conflict(root("n"), reorder("x", 0), "the order of the roots"),
        fine(set("c", "size", json!(1)), delete("b")),
        fine(root("n"), delete("b")),
        fine(child("n", "x"), reorder("b", 1)),
    ]);
}

/// Linking and unlinking depend on the child and the named parent.
#[test]
fn link_depends_on_child_and_parent() {
    check([
        conflict(set("x", "size", json!(1)), link("x", "c"), "node x"),
        conflict(child("n", "c"), link("x", "c"), "node c"),
        conflict(set("b", "size", json!(1)), unlink("b", "a"), "node b"),
        conflict(child("n", "a"), unlink("b", "a"), "node a"),
        fine(child("n", "b"), link("x", "c")),
        fine(child("n", "c"), unlink("b", "a")),
    ]);
}

/// Moving depends on the node, its present parent and the new parent, or on the list of roots.
#[test]
fn move_depends_on_node_and_both_parents() {
    check([
        conflict(set("b", "size", json!(1)), move_node("b", "c"), "node b"),
        conflict(child("n", "a"), move_node("b", "x"), "node a"),
        conflict(child("n", "x"), move_node("b", "x"), "node x"),
        conflict(root("n"), to_roots("b"), "the order of the roots"),
        conflict(root("n"), move_node("x", "b"), "the order of the roots"),
        fine(root("n"), move_node("b", "c")),
        fine(child("n", "y"), move_node("b", "x")),
    ]);
}

/// A batch depends on the parts that its commands depend on. Undo, redo, load and save depend on the whole session.
#[test]
fn other_commands_depend_on_session() {
    check([
        conflict(set("b", "size", json!(1)), batch([root("m"), delete("b")]), "node b"),
        fine(set("b", "size", json!(1)), batch([root("m"), delete("c")])),
        after(set("y", "size", json!(1)), undo()).refused("CONFLICT", "the session changed at 16, after 14"),
        after(set("y", "size", json!(1)), load(Graph::default()))
            .refused("CONFLICT", "the session changed at 16, after 14"),
        after(set("y", "size", json!(1)), save("demo.json", 16))
            .refused("CONFLICT", "the session changed at 16, after 14"),
        given(seen()).when(undo()).expecting_seq(SEEN).accepted(),
    ]);
}

/// A load changes every part. A save and an event before `expected_seq` change none.
#[test]
fn earlier_changes_do_not_conflict() {
    let graph = free_session(&seen()).session().document().graph.clone();
    check([
        conflict(load(graph), set("y", "size", json!(1)), "node y"),
        fine(save("demo.json", 14), set("a", "size", json!(1))),
        given(seen())
            .when(set("a", "size", json!(1)))
            .expecting_seq(SEEN)
            .accepted(),
        given(seen())
            .when(set("a", "size", json!(1)))
            .expecting_seq(13)
            .accepted(),
        given(seen())
            .when(set("a", "size", json!(1)))
            .expecting_seq(12)
            .refused("CONFLICT", "node a changed at 13, after 12"),
        given(seen())
            .when(set("c", "size", json!(1)))
            .expecting_seq(5)
            .accepted(),
        given(seen())
            .when(set("c", "size", json!(1)))
            .expecting_seq(u64::MAX)
            .accepted(),
        given(seen())
            .when(set("c", "size", json!(1)))
            .expecting_seq(0)
            .refused("CONFLICT", "node c changed at 5, after 0"),
    ]);
}

/// A conflict takes precedence over other reasons of refusal. A command on a deleted node is refused because the node
/// does not exist.
#[test]
fn conflict_takes_precedence_over_other_reasons() {
    check([
        conflict(set("b", "size", json!(1)), unset("b", "nothing"), "node b"),
        after(delete("c"), set("c", "size", json!(1))).refused("NODE_NOT_FOUND", "node c does not exist"),
    ]);
}

/// A conflict contains the present `seq` and the conflicting command, for programs.
#[test]
fn conflict_contains_seq_and_command() {
    let mut harness = free_session(&[seen(), vec![root("n"), set("n", "size", json!(1))]].concat());
    let context = talus_actors::domain::command::Context {
        expected_seq: Some(Seq(SEEN)),
        ..harness.next_context()
    };
    match harness.submit_with(&root("m"), &context) {
        Err(Rejection::Conflict {
            changed_seq,
            expected_seq,
            current_seq,
            blocked_by,
            ..
        }) => {
            assert_eq!((changed_seq, expected_seq, current_seq), (Seq(15), Seq(SEEN), Seq(18)));
            let won = &harness.accepted()[harness.accepted().len() - 2];
            let blocked_by = blocked_by.expect("remembered");
            assert_eq!(
                (blocked_by.command_id, blocked_by.seq),
                (Some(won.context.command_id), Seq(16))
            );
        }
        other => unreachable!("{other:?}"),
    }
}
