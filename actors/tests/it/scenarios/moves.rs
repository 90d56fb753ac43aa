//! `MoveNode` and `ReorderNode`

use super::{
    case::{check, event_lines, free_session, given, record},
    commands::{CommandExt, child, move_node, node, reorder, root, to_roots, undo},
};

/// A move emits an unlink and a link. Between both events the node is the last root.
#[test]
fn move_emits_unlink_and_link() {
    check([
        given([root("a"), child("b", "a"), root("c")])
            .when(move_node("b", "c"))
            .then(["unlinked b from a[0]", "linked b to c[0], was roots[2]"]),
        given([root("a"), root("b")])
            .when(move_node("b", "a"))
            .then(["unlinked b from roots[1]", "linked b to a[0], was roots[1]"]),
        given([root("a"), root("b")])
            .when(move_node("a", "b"))
            .then(["unlinked a from roots[0]", "linked a to b[0], was roots[1]"]),
        given([root("a"), child("b", "a"), child("c", "b")])
            .when(move_node("c", "a").at(0))
            .then(["unlinked c from b[0]", "linked c to a[0], was roots[1]"]),
        given([root("a"), child("b", "a"), child("c", "b")])
            .when(to_roots("b"))
            .then(["unlinked b from a[0]", "linked b to roots[1], was roots[1]"]),
        given([root("a"), child("b", "a")])
            .when(to_roots("b").at(0))
            .then(["unlinked b from a[0]", "linked b to roots[0], was roots[1]"]),
    ]);
}

/// The index counts the siblings without the node, so it equals the node's index after the move.
#[test]
fn move_index_excludes_node() {
    let three = || [root("a"), child("b", "a"), child("c", "a"), child("d", "a")];
    check([
        given(three())
            .when(reorder("b", 2))
            .then(["unlinked b from a[0]", "linked b to a[2], was roots[1]"]),
        given(three())
            .when(reorder("b", 1))
            .then(["unlinked b from a[0]", "linked b to a[1], was roots[1]"]),
        given(three())
            .when(reorder("d", 0))
            .then(["unlinked d from a[2]", "linked d to a[0], was roots[1]"]),
        given(three())
            .when(move_node("b", "a"))
            .then(["unlinked b from a[0]", "linked b to a[2], was roots[1]"]),
        given(three())
            .when(move_node("c", "a").at(0))
            .then(["unlinked c from a[1]", "linked c to a[0], was roots[1]"]),
        given(three())
            .when(reorder("b", 3))
            .refused("INDEX_OUT_OF_RANGE", "index 3 is not between 0 and 2"),
        given(three())
            .when(move_node("b", "a").at(3))
            .refused("INDEX_OUT_OF_RANGE", "index 3 is not between 0 and 2"),
    ]);
}

/// Roots are ordered like children.
#[test]
fn reorder_applies_to_roots() {
    let three = || [root("a"), root("b"), root("c")];
    check([
        given(three())
            .when(reorder("a", 1))
            .then(["unlinked a from roots[0]", "linked a to roots[1], was roots[2]"]),
        given(three())
            .when(reorder("c", 0))
            .then(["unlinked c from roots[2]", "linked c to roots[0], was roots[2]"]),
        given(three())
            .when(to_roots("a"))
            .then(["unlinked a from roots[0]", "linked a to roots[2], was roots[2]"]),
        given(three())
            .when(reorder("a", 3))
            .refused("INDEX_OUT_OF_RANGE", "index 3 is not between 0 and 2"),
        given(three())
            .when(to_roots("a").at(3))
            .refused("INDEX_OUT_OF_RANGE", "index 3 is not between 0 and 2"),
    ]);
}

/// A move to the present place changes nothing.
#[test]
fn move_to_present_place_is_unchanged() {
    let family = || [root("a"), child("b", "a"), child("c", "a"), root("d")];
    check([
        given(family()).when(reorder("b", 0)).unchanged(),
        given(family()).when(reorder("c", 1)).unchanged(),
        given(family()).when(reorder("a", 0)).unchanged(),
        given(family()).when(move_node("c", "a")).unchanged(),
        given(family()).when(move_node("b", "a").at(0)).unchanged(),
        given(family()).when(to_roots("d")).unchanged(),
        given(family()).when(to_roots("a").at(0)).unchanged(),
    ]);
}

/// A move below the node itself, to an unknown node or to an invalid index is refused.
#[test]
fn move_refuses_invalid_references() {
    let line = || [root("a"), child("b", "a"), child("c", "b")];
    check([
        given(line())
            .when(move_node("x", "a"))
            .refused("NODE_NOT_FOUND", "node x does not exist"),
        given(line())
            .when(move_node("a", "x"))
            .refused("NODE_NOT_FOUND", "node x does not exist"),
        given(line())
            .when(to_roots("x"))
            .refused("NODE_NOT_FOUND", "node x does not exist"),
        given(line())
            .when(reorder("x", 0))
            .refused("NODE_NOT_FOUND", "node x does not exist"),
        given(line())
            .when(move_node("a", "a"))
            .refused("CYCLE", "node a cannot go below itself, to a"),
        given(line())
            .when(move_node("a", "c"))
            .refused("CYCLE", "node a cannot go below itself, to c"),
        given(line())
            .when(move_node("b", "c"))
            .refused("CYCLE", "node b cannot go below itself, to c"),
        given(line())
            .when(move_node("c", "a").at(2))
            .refused("INDEX_OUT_OF_RANGE", "index 2 is not between 0 and 1"),
        given(line())
            .when(reorder("a", -1))
            .refused("INDEX_OUT_OF_RANGE", "index -1 is not between 0 and 0"),
        given(line())
            .when(to_roots("c").at(2))
            .refused("INDEX_OUT_OF_RANGE", "index 2 is not between 0 and 1"),
    ]);
}

/// Undo of a move is a move back to the former index, without an intermediate index among the roots.
#[test]
fn move_undo_is_a_move() {
    let mut harness = free_session(&[root("a"), child("b", "a"), child("c", "a"), root("d"), child("e", "d")]);
    record(&mut harness, &move_node("b", "d").at(0));
    assert_eq!(
        event_lines(&record(&mut harness, &undo()).events),
        ["unlinked b from d[0]", "linked b to a[0], was roots[2]"]
    );
    record(&mut harness, &move_node("a", "e"));
    assert_eq!(
        event_lines(&record(&mut harness, &undo()).events),
        ["unlinked a from e[0]", "linked a to roots[0], was roots[1]"]
    );
    let order: Vec<_> = harness
        .session()
        .document()
        .graph
        .walk(None)
        .nodes()
        .map(|(id, _)| id)
        .collect();
    assert_eq!(order, ["a", "b", "c", "d", "e"].map(node));
}

/// The receipt names the moved node.
#[test]
fn move_receipt_names_node() {
    let mut harness = free_session(&[root("a"), root("b")]);
    assert_eq!(record(&mut harness, &move_node("b", "a")).outcome.node_ids, [node("b")]);
    assert_eq!(record(&mut harness, &to_roots("b").at(0)).outcome.node_ids, [node("b")]);
    assert_eq!(record(&mut harness, &reorder("a", 0)).outcome.node_ids, [node("a")]);
}
